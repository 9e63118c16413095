"""What a person sees while a demo runs: a live screen on a terminal, now and then a line elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fleetloop.cli.demo.experience import ended, human_share, rolling
from fleetloop.cli.demo.moment import Moment
from fleetloop.core.clock import Clock
from fleetloop.core.hub import LearnerStatus, Member

BLOCKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 16
LINE_EVERY_S = 10.0  # real seconds


class View(Protocol):
    """Where a demo shows what it does."""

    def say(self, line: str) -> None:
        """A stage begins or has ended."""
        ...

    @contextmanager
    def fleet(self) -> "Iterator[Screen]":
        """Show the running fleet."""
        ...


class Screen(Protocol):
    """Shows one moment after the other."""

    def show(self, moment: Moment) -> None: ...


class PlainView:
    """Lines."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console, self._clock, self._due = console, clock, -float("inf")

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    @contextmanager
    def fleet(self) -> "Iterator[PlainView]":
        yield self

    def show(self, moment: Moment) -> None:
        if self._clock.now() >= self._due:
            self._due = self._clock.now() + LINE_EVERY_S
            self.say(status_line(moment))


class LiveView:
    """The fleet on a screen of its own lines, rewritten in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False)

    @contextmanager
    def fleet(self) -> "Iterator[LiveView]":
        with self._live:
            yield self

    def show(self, moment: Moment) -> None:
        self._live.update(screen(moment), refresh=True)


def status_line(moment: Moment) -> str:
    """A moment in one line."""
    success = ", ".join(f"{task} {_recent(moment, task)}" for task in moment.tasks)
    learner = moment.fleet.learner
    parts = [
        f"{moment.elapsed_s / 60:.1f} of {moment.total_s / 60:g} min",
        f"success alone: {success}",
        f"{len(ended(moment.rows))} episodes, {sum(row['interventions'] for row in moment.rows)} interventions",
        f"step {learner.step if learner else 0}, release {moment.fleet.edge}",
        f"clock {moment.factor:.1f}x",
        *(f"ALARM {alarm}" for alarm in moment.alarms()),
    ]
    return " · ".join(parts)


def screen(moment: Moment) -> RenderableType:
    """A moment as a screen."""
    alarms = [Text(line, "red") for line in moment.alarms()]
    return Group(_progress(moment), _tasks(moment), _robots(moment), _learner_line(moment), *alarms)


def _progress(moment: Moment) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    done = min(moment.elapsed_s, moment.total_s)
    grid.add_row(
        ProgressBar(total=moment.total_s, completed=done, width=40),
        f"{done / 60:.1f} of {moment.total_s / 60:g} simulated minutes",
        f"clock {moment.factor:.1f}x",
        f"{moment.fleet.episodes} episodes",
    )
    return grid


def _tasks(moment: Moment) -> RenderableType:
    table = Table("task", "success alone", "", "episodes", "interventions", "human share")
    for task in moment.tasks:
        rows = ended(moment.rows, task)
        table.add_row(
            task,
            _recent(moment, task),
            sparkline(rolling(rows)),
            str(len(rows)),
            str(sum(row["interventions"] for row in rows)),
            f"{human_share(rows):.0%}",
        )
    return table


def _recent(moment: Moment, task: str) -> str:
    values = rolling(ended(moment.rows, task))
    return f"{values[-1]:.2f}" if values else "–"


def sparkline(values: list[float]) -> str:
    """Values from 0 to 1, the last ones or evenly thinned, as a row of blocks."""
    if len(values) > SPARK_WIDTH:
        step = (len(values) - 1) / (SPARK_WIDTH - 1)
        values = [values[round(index * step)] for index in range(SPARK_WIDTH)]
    return "".join(BLOCKS[min(int(value * len(BLOCKS)), len(BLOCKS) - 1)] for value in values)


def _robots(moment: Moment) -> RenderableType:
    table = Table("robot", "site", "phase", "task", "who drives", "release", "behind", "ticks missed")
    for member in moment.fleet.members:
        table.add_row(*_robot_row(member, moment.fleet.edge))
    return table


def _robot_row(member: Member, edge: int) -> list[str | Text]:
    name, site, status = member.registration.robot, member.registration.site, member.status
    if status is None:
        return [name, site, Text("silent", "red")]
    colour = {"running": "green", "offline": "red", "stopped": "dim"}.get(status.phase, "yellow")
    return [
        name,
        site,
        Text(status.phase, colour),
        status.task,
        _driver(member),
        str(status.release or "–"),
        str(max(edge - status.release, 0)) if status.release else "–",
        str(status.ticks_missed),
    ]


def _driver(member: Member) -> str | Text:
    assert member.status is not None
    if member.status.phase != "running":
        return ""
    if member.status.wants_attention:
        attendant = member.orders.attendant
        return Text(attendant, "cyan") if attendant else Text("waits for an operator", "yellow")
    return "policy"


def _learner_line(moment: Moment) -> str:
    learner = moment.fleet.learner
    if learner is None:
        return "learner: starting"
    figures = learner.figures
    parts = [
        f"learner: step {learner.step}{', parked' if learner.parked else ''}",
        f"release {learner.release}",
        f"loss online {_mean_loss(learner, 'loss_online')}, offline {_mean_loss(learner, 'loss_offline')}",
        f"replay ratio {figures.get('replay_ratio', 0.0):.1f}",
        f"lags {learner.lag_s:.1f} s",
    ]
    return " · ".join(parts)


def _mean_loss(learner: LearnerStatus, name: str) -> str:
    tasks = learner.figures.get("tasks", {}).values()
    losses = [task[name] for task in tasks if task.get(name) is not None]
    return f"{sum(losses) / len(losses):.3f}" if losses else "–"
