"""`fleetloop hub retention`: what is beyond the caps, its tombstones, and which releases nobody needs."""

from itertools import groupby

from fleetloop.cli import tables
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk, alone
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.place import holds_catalog, no_catalog, place_of, sole_hub
from fleetloop.hub.options import LOCK, HubOptions
from fleetloop.hub.releases.helm import existing
from fleetloop.hub.releases.needed import surplus
from fleetloop.hub.retention import Excess, excess
from fleetloop.hub.service import HubService

MANY = 1_000_000


def show(options: HubOptions) -> None:
    """Print what is to go, by task and cap, and what is on its way. Raises DiskTrouble."""
    place = place_of(options)
    if not holds_catalog(place):
        raise no_catalog(place)
    catalog = Catalog(place)
    try:
        with catalog.reading() as records:
            found = excess(records, options.retention, Wall().wall(), MANY)
            count, size = records.holdings.to_remove()
            going = _going(records, options.releases.keep)
    finally:
        catalog.close()
    rows = tables.table("task", "beyond", "episodes", "GB", "from", "to", title="beyond the caps")
    for (task, why), group in groupby(sorted(found, key=_cap), _cap):
        items = list(group)
        total = sum(item.bytes for item in items)
        rows.add_row(task, why, str(len(items)), f"{total / 1e9:.3f}", items[0].id, items[-1].id)
    tables.show(rows if found else "nothing is beyond the caps")
    tables.show(f"{count} episodes have a tombstone and still their bytes, {size / 1e9:.3f} GB")
    tables.show(going)


def _going(records: Records, keep: int | None) -> str:
    """Of the releases, in a line. What robots run is known to the running hub alone."""
    held = records.versions()
    if keep is None:
        return f"all weights of {len(held)} releases are kept: hub.releases.keep is null"
    going = set(surplus(records, (), keep))
    blobs = {version: {blob.hash: blob.size for blob in existing(records, version).blobs} for version in held}
    leaving = {hash: size for version in going for hash, size in blobs[version].items()}
    staying = {hash for version in held if version not in going for hash in blobs[version]}
    size = sum(leaving[hash] for hash in leaving.keys() - staying)
    which = f", {min(going)} to {max(going)}" if going else ""
    said = f"{len(going)} of {len(held)} releases are to be collected{which}, {size / 1e9:.3f} GB"
    return f"{said}; what robots run, a running hub keeps"


def bury(options: HubOptions) -> int:
    """Give all of it a tombstone; returns how many. Raises DiskTrouble if a hub runs on the directory."""
    remedy = f"it sees to it by itself, every {options.retention.every_s:g} s; or stop it first"
    with (
        alone(options.directory / LOCK, str(options.directory), "belongs to a running hub", remedy),
        sole_hub(place_of(options), remedy),
    ):
        hub = HubService.open(options, Wall(), RealDisk())
        try:
            return sum(iter(hub.retention.bury, 0))
        finally:
            hub.close()


def _cap(item: Excess) -> tuple[str, str]:
    return item.task, item.why
