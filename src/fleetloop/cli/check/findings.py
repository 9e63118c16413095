"""What a contract is made of: checks, each a function whose docstring says what must hold."""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fleetloop.core.errors import DEBUG, FleetLoopError
from fleetloop.core.frame import Observation

Subject = TypeVar("Subject")


class Broken(Exception):
    """A check's way to say what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(problem)


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        holds: what must hold, in words.
        problem: what is wrong; empty if it does hold.
        remedy: what to do.
        note: where it does hold, what may still surprise.
    """

    holds: str
    problem: str = ""
    remedy: str = ""
    note: str = ""


def findings(checks: Iterable[Callable[[Subject], str | None]], subject: Subject) -> Iterator[Finding]:
    """The checks in their order; one that fails does not keep the others from being made."""
    for check in checks:
        yield finding(check.__doc__ or check.__name__, lambda check=check: check(subject))  # type: ignore[misc]


def finding(holds: str, check: Callable[[], str | None]) -> Finding:
    """One check, which may return a note. Whatever it raises is a finding: it is other people's code that is called."""
    sentence = holds.strip().splitlines()[0].rstrip(".")
    try:
        note = check()
    except Broken as broken:
        return Finding(sentence, broken.problem, broken.remedy)
    except FleetLoopError as error:
        return Finding(sentence, f"{error.field}: {error.problem}", error.remedy)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        if os.environ.get(DEBUG):
            traceback.print_exc()
        words = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return Finding(sentence, words, f"{DEBUG}=1 shows where")
    return Finding(sentence, note=note or "")


@contextmanager
def left_alone(seen: Observation) -> Iterator[None]:
    """Raises Broken if what was observed is another afterwards: it is what gets recorded."""
    arrays = {**seen.state, **seen.images}
    kept = {name: np.array(array) for name, array in arrays.items()}
    yield
    changed = [name for name, array in arrays.items() if not np.array_equal(kept[name], array, equal_nan=True)]
    expect(not changed, f"it wrote to what was observed: {changed}", "work on a copy")


def expect(true: bool, problem: str, remedy: str) -> None:
    """Raise Broken unless it is so."""
    if not true:
        raise Broken(problem, remedy)
