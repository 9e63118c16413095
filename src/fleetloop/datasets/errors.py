"""What can be wrong with a data set."""

from fleetloop.core.errors import FleetLoopError


class DatasetInvalid(FleetLoopError):
    """A data set's file is missing, damaged, or of another version."""
