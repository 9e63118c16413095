"""`fleetloop dataset`: demonstrations from a LeRobotDataset, and everything that the fleet lived through as one."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from fleetloop.cli.outgoing import Place
    from fleetloop.core.disk import Disk

app = typer.Typer(no_args_is_help=True, help="LeRobotDataset v3.0, in and out.")


class Cameras(StrEnum):
    """How a data set keeps what cameras saw."""

    VIDEO = "video"
    IMAGE = "image"


@app.command(
    "import",
    epilog=flags.examples(
        "fleetloop dataset import ~/datasets/cups --tasks 'Put the cup on the shelf.=restock/shelf'",
        "fleetloop dataset import ~/datasets/cups --rename observation.state=joints --out demonstrations",
    ),
)
def import_dataset(
    directory: Annotated[Path, typer.Argument(help="Where the data set lies.", show_default=False)],
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="INSTRUCTION=TASK; again for each. Others become imported/their-words.", show_default=False),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=NAME of the robot's feature or camera; again for each.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the episodes are written, sealed.", show_default=False)
    ] = None,
    robot: Annotated[
        str | None, typer.Option(help="Which robot they are put down to; by default imported.", show_default=False)
    ] = None,
    site: Annotated[str | None, typer.Option(help="Which site; by default imported.", show_default=False)] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also write episodes that are there with other content.")
    ] = False,
    config: flags.Config = None,
    sets: flags.Sets = None,
) -> None:
    """Turn a LeRobotDataset into demonstrations; an export of FleetLoop's comes back as it was.

    Importing twice adds nothing. To mend an import, repeat it with other options and --replace.
    """
    from fleetloop.cli.config import load_config
    from fleetloop.cli.progress import counting
    from fleetloop.core.disk import RealDisk
    from fleetloop.core.errors import ConfigInvalid
    from fleetloop.core.recording import SEALED
    from fleetloop.datasets.foreign import Naming
    from fleetloop.datasets.reader import DatasetReader

    target = load_config(config, sets or (), {"directories.demonstrations": out}).directories.demonstrations
    features = _pairs("--rename", rename)
    naming = Naming(_pairs("--tasks", tasks), features, robot=robot or "imported", site=site or "imported")
    reader, disk, done = DatasetReader(directory, naming), RealDisk(), Counter[str]()
    for option, given in {"--tasks": tasks, "--rename": rename, "--robot": robot, "--site": site}.items():
        if given and reader.own:
            raise ConfigInvalid(option, f"{directory} is an export of ours and has its own names", "leave it out")
    disk.make(target)
    with counting("importing", len(reader)) as progress:
        for id, data in reader.episodes():
            done[_write(disk, target / f"{id}{SEALED}", data, replace=replace)] += 1
            progress(1)
    for what in reader.left_out:
        typer.echo(f"left out: {what}", err=True)
    replaced = f", {done['replaced']} replaced" if done["replaced"] else ""
    typer.echo(f"{target}: {done['added']} episodes added{replaced}, {done['there']} were there")


def _write(disk: "Disk", path: Path, data: bytes, *, replace: bool) -> str:
    """Returns what that was: `added`, `replaced`, or nothing, for it was `there`."""
    from fleetloop.core.errors import ConfigInvalid

    there = path.read_bytes() if path.exists() else None
    if there == data:
        return "there"
    if there is not None and not replace:
        problem = "is there and differs from what would be written"
        raise ConfigInvalid(str(path), problem, "take the new one with --replace, or another directory with --out")
    disk.write(path, data)
    return "added" if there is None else "replaced"


@app.command(
    epilog=flags.examples(
        "fleetloop dataset export fleet-dataset --hub http://localhost:8787",
        "fleetloop dataset export fleet-dataset --from demonstrations --cameras image",
        "fleetloop dataset export shelf --task restock/shelf --robot robot-1",
    ),
)
def export(
    directory: Annotated[Path, typer.Argument(help="Where the data set is, or is to be.", show_default=False)],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A directory of sealed episodes, in place of the hub.", show_default=False),
    ] = None,
    task: Annotated[str, typer.Option(help="Only this task.", show_default=False)] = "",
    robot: Annotated[str, typer.Option(help="Only this robot.", show_default=False)] = "",
    spec: Annotated[
        str, typer.Option(metavar="HASH", help="Only robots of this specification.", show_default=False)
    ] = "",
    cameras: Annotated[Cameras, typer.Option(help="As videos, or as images byte for byte.")] = Cameras.VIDEO,
) -> None:
    """Write a LeRobotDataset v3.0, or add to one what is new since the last export.

    A crash leaves it as it was, or one batch further; the next export goes on from there.
    """
    import tempfile

    from fleetloop.cli.config import load_config
    from fleetloop.cli.outgoing import SHORT, AtHub, InDirectory, chosen_by, of_one_kind
    from fleetloop.cli.wiring import open_hub
    from fleetloop.core.disk import RealDisk, alone
    from fleetloop.datasets.writer import DatasetWriter

    with tempfile.TemporaryDirectory() as fetched:
        if source:
            place: Place = InDirectory(source)
        else:
            place = AtHub(open_hub(load_config(config, sets or (), {"hub_url": hub})), Path(fetched))
        chosen = chosen_by(place.known, task=task, robot=robot, spec=spec)
        disk = RealDisk()
        disk.make(directory)
        with alone(directory / ".lock", str(directory), "another export is writing here", "wait for it"):
            writer = DatasetWriter(directory, disk, video=cameras is Cameras.VIDEO)
            new, held = [one for one in chosen if one.id not in writer.held.ids], writer.held.spec
            kind = held.hash()[:SHORT] if held else next((one.spec for one in new), "")
            added = writer.append(place.episodes(of_one_kind(new, kind)))
    typer.echo(f"{directory}: {added} episodes added, {len(writer.held.ids)} in all")


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    from fleetloop.core.errors import ConfigInvalid

    pairs = {}
    for entry in given or ():
        name, equals, value = entry.rpartition("=")
        if not (name and equals and value):
            raise ConfigInvalid(option, f"{entry!r} has nothing on one side of its =", "write NAME=NAME")
        pairs[name] = value
    return pairs
