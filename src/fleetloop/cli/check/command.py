"""`fleetloop check KIND NAME`: is a plug-in what its kind must be?"""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

if TYPE_CHECKING:
    from fleetloop.cli.check.findings import Finding

EXAMPLES = flags.examples(
    "fleetloop check algorithm hg_dagger",
    "fleetloop check policy flow --set policy.options.width=64",
    "fleetloop check robot my_arm                        resets it, and leaves it where it is",
    "fleetloop check robot my_arm --robot arm-2          under that one's options, while no actor drives it",
    "fleetloop check operator scripted --set robot.name=my_arm",
)


class Kind(StrEnum):
    ALGORITHM = "algorithm"
    POLICY = "policy"
    ROBOT = "robot"
    OPERATOR = "operator"
    JUDGE = "judge"


def check(
    kind: Annotated[Kind, typer.Argument(help="What kind of plug-in.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its name; see `fleetloop plugins`.", show_default=False)],
    config: flags.Config = None,
    sets: flags.Sets = None,
    robot: Annotated[
        str | None,
        typer.Option(
            help="The fleet's robot that is opened: its options count, and no actor may drive it meanwhile.",
            show_default=False,
        ),
    ] = None,
    move: Annotated[
        bool,
        typer.Option(
            "--move",
            help="Let a real robot be moved: by what an operator drives, by zeros where nothing else is known.",
        ),
    ] = False,
) -> None:
    """Run the contract of its kind against a plug-in, and say in words what is wrong.

    What else it takes (a robot for an operator, a policy for an algorithm) is the configuration's. Robots are reset:
    for a robot, an operator and a judge. Exit status 1 if anything is wrong.
    """
    limit_threads()
    from fleetloop.cli.config import SECTIONS, load_config

    section = str(kind)
    chosen = load_config(config, sets or (), {f"{section}.name": name})
    from fleetloop.cli.check.subjects import checked

    plural = next(key for key, place in SECTIONS.items() if place == section)
    causes: set[tuple[str, str]] = set()
    for found in checked(plural, chosen, member=robot, move=move):
        cause = found.problem, found.remedy
        typer.echo(_line(replace(found, problem="as above", remedy="") if cause in causes else found))
        if found.problem:
            causes.add(cause)
    if causes:
        raise typer.Exit(1)


def _line(found: "Finding") -> str:
    if not found.problem:
        note = f"; note: {found.note}" if found.note else ""
        return f"{typer.style('✓', fg='green')} {found.holds}{note}"
    remedy = f"; {found.remedy}" if found.remedy else ""
    return f"{typer.style('✗', fg='red')} {found.holds}: {found.problem}{remedy}"
