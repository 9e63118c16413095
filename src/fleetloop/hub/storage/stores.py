"""Which store the hub's objects are kept in."""

from fleetloop.core.disk import Disk
from fleetloop.hub.options import HubOptions
from fleetloop.hub.storage.directory import INCOMING, DirectoryStore
from fleetloop.hub.storage.objects import ObjectStore
from fleetloop.hub.storage.s3 import S3Store


def open_store(options: HubOptions, disk: Disk) -> ObjectStore:
    """What `hub.store` names; by default the hub's directory.

    Raises:
        ConfigInvalid: if it can't be used.
        DiskTrouble: if the hub's directory can't be written.
    """
    if options.store:
        return S3Store(options.store, options.directory / INCOMING, disk)
    return DirectoryStore(options.directory, disk, most_waiting=options.max_waiting_bytes)
