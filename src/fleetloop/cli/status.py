"""`fleetloop status`: the fleet as it is now."""

from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from fleetloop.core.hub import Fleet, LearnerStatus, Member

EXAMPLES = flags.examples("fleetloop status", "fleetloop status --once --hub http://127.0.0.1:8900")


def status(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once instead of watching.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Real seconds between two looks.")] = 1.0,
) -> None:
    """Show who is in the fleet, what they do and what they run. Live, until Ctrl-C."""
    from rich.live import Live
    from rich.text import Text

    from fleetloop.cli import tables
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub
    from fleetloop.core.clock import Wall
    from fleetloop.core.errors import HubUnavailable

    chosen = load_config(config, sets or (), {"hub_url": hub})
    client, wall = open_hub(chosen), Wall()
    if once:
        tables.show(fleet_view(client.fleet()))
        return
    shown: RenderableType = fleet_view(client.fleet())
    try:
        with Live(shown, console=tables.console(), auto_refresh=False) as live:
            while True:
                wall.sleep_until(wall.now() + every)
                try:
                    shown = fleet_view(client.fleet())
                    live.update(shown, refresh=True)
                except HubUnavailable as error:
                    live.update(Text(str(error), "red"), refresh=True)
    except KeyboardInterrupt:
        return


def fleet_view(fleet: "Fleet") -> "RenderableType":
    """The fleet as a table, with a line about the learner beneath."""
    from rich.console import Group
    from rich.text import Text

    from fleetloop.cli import tables

    rows = tables.table(
        "robot",
        "site",
        "phase",
        "task",
        "release",
        "behind",
        "episodes",
        "team success",
        "takeovers",
        "human",
        "missed",
        "chunk",
        "operator",
        "heard",
        title=f"clock {fleet.clock_s:.0f} s · {fleet.episodes} episodes · {_channels(fleet)}",
    )
    alarms = [("hub", fleet.alarm)]
    for member in fleet.members:
        rows.add_row(*_row(member, fleet))
        if member.status:
            alarms.append((member.registration.robot, member.status.alarm))
    if fleet.learner:
        alarms.append(("learner", fleet.learner.alarm))
    lines = [Text(f"{who}: {alarm}", "red") for who, alarm in alarms if alarm]
    return Group(rows, _learner_line(fleet), *lines)


def _channels(fleet: "Fleet") -> str:
    held, candidate = " (held)" if fleet.held else "", f" · candidate {fleet.candidate}" if fleet.candidate else ""
    return f"edge {fleet.edge} · stable {fleet.stable}{held}{candidate}"


def _row(member: "Member", fleet: "Fleet") -> "list[str | Text]":
    from rich.text import Text

    name, site, status = member.registration.robot, member.registration.site, member.status
    if status is None:
        return [name, site, Text("never heard", "red")]
    colour = {"running": "green", "offline": "red", "stopped": "dim"}.get(status.phase, "yellow")
    return [
        name,
        site,
        Text(status.phase, colour),
        status.task,
        str(status.release or "–"),
        str(fleet.stable - status.release),
        str(status.episodes),
        f"{status.successes / status.episodes:.2f}" if status.episodes else "–",
        str(status.interventions),
        f"{status.frames_human / status.frames:.0%}" if status.frames else "–",
        str(status.ticks_missed),
        f"{status.chunk_s * 1e3:.0f} ms" if status.chunk_s else "–",
        member.orders.attendant or ("waits" if status.wants_attention else ""),
        f"{member.silent_s:.0f} s ago",
    ]


def _learner_line(fleet: "Fleet") -> "str | Text":
    from rich.text import Text

    learner = fleet.learner
    told = f"; told to go back to release {fleet.learner_to}" if fleet.learner_to else ""
    if learner is None:
        return Text(f"no learner has reported yet{told}", "yellow")
    state = "parked" if learner.parked else f"at step {learner.step}"
    how = f"lags {learner.lag_s:.1f} s, heard {fleet.learner_silent_s:.0f} s ago"
    return f"learner: run {learner.run}, {state}, release {learner.release}, {how}{told}{_left_out(learner)}"


def _left_out(learner: "LearnerStatus") -> str:
    """What its filters keep from training."""
    parts = learner.figures.get("left_out", {})
    said = [
        f"{count} {part} for {reason}" for part, reasons in parts.items() for reason, count in sorted(reasons.items())
    ]
    return f"; episodes left out: {', '.join(said)}" if said else ""
