"""What a person at a terminal wants of the running episode: to watch it, to drive, or to end it."""

from collections.abc import Mapping

from fleetloop.core.operator import Mark
from fleetloop.core.outcome import Outcome
from fleetloop.operators.keys import KEYS, Wish, decode
from fleetloop.operators.terminal import Terminal

MARKS: Mapping[Wish, Mark] = {Wish.SUCCESS: Mark(Outcome.SUCCESS), Wish.FAILURE: Mark(Outcome.FAILURE)}


class Person:
    """Whoever sits at the terminal: t is a wish to drive, b to watch, y and n to end the episode.

    Args:
        terminal: by default the one that this process was started in.

    Attributes:
        wish: the last one.

    Raises:
        SystemMissing: if there is no terminal.
    """

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._terminal = terminal or Terminal()
        self._unfinished, self._shown = b"", ""
        self.wish = Wish.WATCH

    def begin(self) -> None:
        """A new episode: what was typed before it was meant for the last one."""
        self._terminal.read()
        self._unfinished, self.wish = b"", Wish.WATCH

    def listen(self) -> Wish:
        """Take in what was typed; never waits. Raises SystemMissing if the terminal is gone."""
        keys, self._unfinished = decode(self._unfinished + self._terminal.read())
        for key in keys:
            meaning = KEYS.get(key)
            self.wish = meaning if isinstance(meaning, Wish) else self.wish
        return self.wish

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self._terminal.say(line)

    def show(self, line: str) -> None:
        """Write one line in place of the last one."""
        if line != self._shown:
            self._shown = line
            self._terminal.show(line)

    def close(self) -> None:
        """Give the terminal back."""
        self._terminal.close()
