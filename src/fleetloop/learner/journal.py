"""What a person reads in a learner's terminal: how it began, whether the hub is there, and a line a minute."""

from collections.abc import Callable, Sequence

from fleetloop.core.errors import HubUnavailable

Say = Callable[[str], None]
EVERY_WALL_S = 60.0


class Journal:
    """Says what has changed, once."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._away = False
        self._due: float | None = None
        self._slow = False

    def begins(self, run: str, step: int, release: int, demonstrations: int) -> None:
        held = f"{demonstrations} demonstrations at hand"
        where = f"going on from step {step}, release {release}" if step else "beginning at step 0"
        self._say(f"run {run}: {where}; {held}")

    def measures_nothing_of(self, tasks: Sequence[str]) -> None:
        self._say(
            f"no demonstration of {', '.join(tasks)} is held out, so no release is bound by its loss there: "
            "record more, or raise learner.held_out and pretrain.held_out and pretrain anew"
        )

    def changed_algorithm(self, before: str, now: str) -> None:
        self._say(f"the algorithm was {before}, it is {now}: all experience is labelled anew, the weights go on")

    def goes_back(self, release: int) -> None:
        self._say(f"told to go back: on from the newest checkpoint that is no later than release {release}")

    def checkpointed(self, took_s: float, every_s: float) -> None:
        """`took_s`: real seconds that writing a checkpoint took at least."""
        if took_s > every_s / 10 and not self._slow:
            self._slow = True
            self._say(
                f"a checkpoint takes {took_s:.0f} s to write, and there is one every {every_s:.0f} s: "
                "raise learner.checkpoint_every_s, or train fewer parameters"
            )

    def waits(self, error: HubUnavailable) -> None:
        """Nothing can begin without the hub."""
        self._lost(f"waiting for the hub: {error}")

    def hub_is_away(self, error: HubUnavailable) -> None:
        self._lost(f"the hub is away, training goes on: {error}")

    def hub_is_there(self) -> None:
        if self._away:
            self._away = False
            self._say("the hub is there again")

    def progress(self, wall_s: float, *, step: int, release: int, episodes: int, parked: bool) -> None:
        """`wall_s`: real seconds on any steady clock."""
        if self._due is None:
            self._due = wall_s + EVERY_WALL_S
        if wall_s < self._due:
            return
        self._due = wall_s + EVERY_WALL_S
        state = "parked: nothing new to learn from" if parked else f"step {step}"
        self._say(f"{state}, release {release}, {episodes} episodes held")

    def _lost(self, line: str) -> None:
        if not self._away:
            self._away = True
            self._say(line)
