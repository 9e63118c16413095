"""Asking the policy for chunks without waiting for them."""

import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fleetloop.core.clock import Clock
from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.frame import Chunk, FloatArray, Observation
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.spec import PolicySpec


@dataclass(frozen=True)
class Pilot:
    """A policy ready to act.

    Attributes:
        release: the version of its weights.
        rng: where it draws from; one episode's own, so that a seeded run repeats.
        condition: what it is conditioned on; None for nothing.
    """

    policy: ActingPolicy
    release: int
    rng: np.random.Generator
    condition: str | None = None


@dataclass(frozen=True)
class Request:
    """One question to the policy. `prefix` and `delay` are those of `ActingPolicy.chunk`."""

    pilot: Pilot
    epoch: int
    chunk_id: int
    tick: int
    observation: Observation
    instruction: str
    prefix: FloatArray | None
    delay: int


@dataclass(frozen=True)
class Answer:
    """A chunk, and the epoch in which it was asked for."""

    epoch: int
    chunk: Chunk


class Inference(Protocol):
    """One request at a time. The control loop alone calls it.

    Attributes:
        took_s: clock seconds that the last answer took; 0 before the first, and where nothing is measured.
    """

    took_s: float

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or its answer not yet fetched."""
        ...

    def request(self, request: Request) -> None:
        """Ask; only while not busy. Returns at once."""
        ...

    def poll(self, tick: int) -> Answer | None:
        """The answer, once, when it is there at `tick`. Raises what the policy raised."""
        ...


class ImmediateInference:
    """Computes in the caller's thread; the answer counts as there `delay_ticks` after the request's tick."""

    took_s = 0.0

    def __init__(self, delay_ticks: int = 1) -> None:
        self._delay_ticks = delay_ticks
        self._answer: Answer | None = None

    @property
    def busy(self) -> bool:
        return self._answer is not None

    def request(self, request: Request) -> None:
        self._answer = infer(request)

    def poll(self, tick: int) -> Answer | None:
        answer = self._answer
        if answer is None or 0 <= tick - answer.chunk.tick < self._delay_ticks:
            return None
        self._answer = None  # one asked for at a later tick is of the episode before: it comes, to be dropped
        return answer


class ThreadInference:
    """Computes wherever `work` is called: in a thread of its own, which `run.py` starts."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.took_s = clock, 0.0
        self._changed = threading.Condition()
        self._request: Request | None = None
        self._answer: Answer | Exception | None = None
        self._busy = False

    @property
    def busy(self) -> bool:
        return self._busy

    def request(self, request: Request) -> None:
        with self._changed:
            self._request, self._busy = request, True
            self._changed.notify()

    def poll(self, tick: int) -> Answer | None:
        with self._changed:
            answer, self._answer = self._answer, None
            if answer is not None:
                self._busy = False
        if isinstance(answer, Exception):
            raise answer
        return answer

    def work(self, timeout_s: float) -> None:
        """Answer one request; return without one after `timeout_s` real seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._request is not None, timeout_s)
            request, self._request = self._request, None
        if request is None:
            return
        answer: Answer | Exception
        asked = self._clock.now()
        try:
            answer = infer(request)
        except Exception as error:  # noqa: BLE001 -- raised again in the control loop, by `poll`
            answer = error
        self.took_s = self._clock.now() - asked
        with self._changed:
            self._answer = answer


def infer(request: Request) -> Answer:
    """Ask the policy now.

    Raises:
        ReleaseInvalid: if what it says can't be sent to a robot: another shape than its spec's, or not finite.
    """
    pilot = request.pilot
    actions = pilot.policy.chunk(
        request.observation,
        request.instruction,
        pilot.condition,
        rng=pilot.rng,
        prefix=request.prefix,
        delay=request.delay,
    )
    checked = checked_chunk(actions, pilot.policy.spec, f"release {pilot.release}" if pilot.release else "policy")
    return Answer(request.epoch, Chunk(request.chunk_id, request.tick, checked, pilot.release))


def checked_chunk(actions: FloatArray, spec: PolicySpec, named: str) -> FloatArray:
    """(H, A) of a policy that is so `named`. Raises ReleaseInvalid as `infer`."""
    expected = (spec.horizon, *spec.action.shape)
    if actions.shape != expected:
        raise ReleaseInvalid(named, f"its chunk has the shape {actions.shape}, not {expected}")
    if not np.isfinite(actions).all():
        raise ReleaseInvalid(named, "its chunk holds numbers that are not finite")
    return np.asarray(actions, np.float32)
