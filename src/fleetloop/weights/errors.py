"""What can be wrong with weights on their way. All are ReleaseInvalid: the robot keeps what it has."""

from fleetloop.core.errors import ReleaseInvalid


class BlobDamaged(ReleaseInvalid):
    """A blob is missing bytes, has other bytes than its hash says, or breaks the format."""


class BaseMissing(ReleaseInvalid):
    """An encoding is relative to weights that are not here."""


class BaseMismatch(ReleaseInvalid):
    """An encoding is relative to other weights than the ones at hand."""


class TensorMismatch(ReleaseInvalid):
    """A tensor's name, type, shape or content is not the manifest's."""


class NameRefused(ReleaseInvalid):
    """A tensor's name could mean something to a file system, or to a terminal."""


class TooLarge(ReleaseInvalid):
    """Decoding would take more memory than is allowed; nothing was allocated."""


class CodecUnknown(ReleaseInvalid):
    """The encoding's codec, or its version, is not one that this version reads."""
