"""`fleetloop hub retention`: what is beyond the caps, and its tombstones."""

from itertools import groupby

from fleetloop.cli import tables
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk, alone
from fleetloop.core.errors import DiskTrouble
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.options import LOCK, HubOptions
from fleetloop.hub.retention import Excess, excess
from fleetloop.hub.service import HubService

MANY = 1_000_000


def show(options: HubOptions) -> None:
    """Print what is to go, by task and cap, and what is on its way. Raises DiskTrouble."""
    if not (options.directory / CATALOG).exists():
        raise DiskTrouble(str(options.directory), "holds no catalog", "name the hub's directory with --directory")
    catalog = Catalog(options.directory / CATALOG)
    try:
        with catalog.reading() as records:
            found = excess(records, options.retention, Wall().wall(), MANY)
            count, size = records.holdings.to_remove()
    finally:
        catalog.close()
    rows = tables.table("task", "beyond", "episodes", "GB", "from", "to", title="beyond the caps")
    for (task, why), group in groupby(sorted(found, key=_cap), _cap):
        items = list(group)
        total = sum(item.bytes for item in items)
        rows.add_row(task, why, str(len(items)), f"{total / 1e9:.3f}", items[0].id, items[-1].id)
    tables.show(rows if found else "nothing is beyond the caps")
    tables.show(f"{count} episodes have a tombstone and still their bytes, {size / 1e9:.3f} GB")


def bury(options: HubOptions) -> int:
    """Give all of it a tombstone; returns how many. Raises DiskTrouble if a hub runs on the directory."""
    remedy = f"it sees to it by itself, every {options.retention.every_s:g} s; or stop it first"
    with alone(options.directory / LOCK, str(options.directory), "belongs to a running hub", remedy):
        hub = HubService.open(options, Wall(), RealDisk())
        try:
            return sum(iter(hub.retention.bury, 0))
        finally:
            hub.close()


def _cap(item: Excess) -> tuple[str, str]:
    return item.task, item.why
