"""Flags that several commands share, and how a help page shows examples. Light: `fleetloop --help` imports it."""

import logging
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from fleetloop.core.disk import disk_trouble
from fleetloop.core.errors import ConfigInvalid

Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration; by default fleet.yaml, if there is one.", show_default=False
    ),
]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one entry, e.g. learner.batch=128. Repeatable.", show_default=False),
]
HubUrl: TypeAlias = Annotated[
    str | None, typer.Option("--hub", help="Where the hub is, e.g. http://127.0.0.1:8787.", show_default=False)
]
Home: TypeAlias = Annotated[
    Path | None,
    typer.Option("--home", help="The directory that a host's actors and courier share.", show_default=False),
]
ClockFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--clock-file", help="The file of a scaled clock; by default time is real.", show_default=False),
]
Tasks: TypeAlias = Annotated[
    str | None, typer.Option("--tasks", help="Comma-separated, e.g. restock/shelf,box/walls.", show_default=False)
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", min=0, help="Decides every draw.")]
BaseDirectory: TypeAlias = Annotated[
    Path | None, typer.Option("--base", help="A pretrained policy's directory.", show_default=False)
]
ReleaseVersion: TypeAlias = Annotated[
    int | None, typer.Option("--release", min=1, help="A release of the hub, by version.", show_default=False)
]
Processes: TypeAlias = Annotated[
    int | None,
    typer.Option("--processes", "-j", min=1, help="How many to work in; by default one per core.", show_default=False),
]

FLEET, LEARN, LOOK = "Run a fleet", "Make and measure policies", "Look inside"
"""The chapters of `fleetloop --help`."""


def examples(*lines: str) -> str:
    """The end of a help page. Blank lines keep rich from joining the lines."""
    return "\n\n".join(["[bold]Examples[/bold]", *lines])


def goes_to_subcommand(context: typer.Context) -> bool:
    """Whether a command of its own follows. Raises ConfigInvalid for options before it, which it would not hear."""
    command = context.invoked_subcommand
    if command and (said := [name for name, value in context.params.items() if value]):
        option = f"--{said[0].replace('_', '-').replace('sets', 'set')}"
        raise ConfigInvalid(option, f"stands before {command}, which does not hear it", f"put it behind {command}")
    return bool(command)


def split(text: str | None, flag: str) -> tuple[str, ...] | None:
    """The parts of a comma-separated flag, each once; None if it was not given. Raises ConfigInvalid if it names
    nothing."""
    if text is None:
        return None
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise ConfigInvalid(flag, f"{text!r} names nothing", "leave it away, or name one or more, separated by commas")
    return parts


def numbers(text: str, flag: str) -> tuple[int, ...]:
    """The numbers in a comma-separated flag. Raises ConfigInvalid."""
    parts = split(text, flag) or ()
    if not parts or not all(part.isdecimal() for part in parts):
        raise ConfigInvalid(flag, f"{text!r} is no list of numbers", "write it as 1,2,3")
    return tuple(map(int, parts))


def write_text(path: Path, text: str) -> None:
    """Raises DiskTrouble."""
    try:
        path.write_text(text)
    except OSError as error:
        raise disk_trouble(path, error) from error


def log_to_terminal() -> None:
    """Processes of the fleet say what they do on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
