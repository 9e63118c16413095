"""What can be wrong with a data set."""

import pyarrow as pa

from fleetloop.core.errors import FleetLoopError


class DatasetInvalid(FleetLoopError):
    """A data set's file is missing, damaged, or of another version."""


UNREADABLE = (AttributeError, LookupError, OSError, TypeError, ValueError, pa.ArrowException)
"""What reading a data set raises that is not as its format says."""
