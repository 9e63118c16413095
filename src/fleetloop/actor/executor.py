"""Plays chunks by the tick that each action was meant for, and has the next chunk ready in time."""

from dataclasses import dataclass

from fleetloop.actor.inference import Inference, Pilot, Request
from fleetloop.core.frame import Chunk, FloatArray, Observation


@dataclass(frozen=True)
class Due:
    """The policy's action for a tick: (A,), and where it comes from."""

    action: FloatArray
    chunk_id: int
    chunk_index: int
    release: int


class ChunkExecutor:
    """What the policy wants sent at each tick.

    An action is played at the tick that it was made for or never: a chunk that arrives late is entered late. A chunk
    that is ready waits until `execute` actions of the one before it are used up, so that a jitter of the inference time
    below `lead` ticks changes nothing in what the robot does; a chunk that is late finds the robot playing on in the
    old one, up to its horizon.

    The epoch counts takeovers, resets and swaps. Whatever was asked for in an earlier epoch is dropped. One thread, the
    control loop's, raises it and accepts chunks: nothing can come in between.

    Attributes:
        epoch: never falls, so that an answer from the episode before is recognised.
    """

    def __init__(self, inference: Inference, lead: int) -> None:
        self.epoch = 0
        self._inference, self._lead = inference, lead
        self._pilot: Pilot | None = None
        self._instruction = ""
        self._asked = 0
        self._delay = 0
        self._playing: Chunk | None = None
        self._next: Chunk | None = None

    def start(self, pilot: Pilot | None, instruction: str) -> None:
        """A new episode, driven by `pilot`; by nobody but an operator if it is None."""
        self._pilot, self._instruction, self._asked = pilot, instruction, 0
        self.raise_epoch()

    def swap(self, pilot: Pilot) -> None:
        """Go on under another release: at the boundary of the chunk that is being played, or when that is used up.

        What the one before has been asked for, or has ready, is dropped.
        """
        self.epoch += 1
        self._pilot, self._next = pilot, None

    def raise_epoch(self) -> None:
        """Drop every chunk there is and every answer still to come."""
        self.epoch += 1
        self._playing = self._next = None

    def advance(self, tick: int, observation: Observation) -> Due | None:
        """Take in what has arrived, ask for more if it is time, and say what is due at `tick`; None: nothing is."""
        self._collect(tick)
        self._take_over(tick)  # before asking, which waits until the last answer is in use
        self._ask(tick, observation)
        self._collect(tick)
        self._take_over(tick)
        return self._due(tick)

    def await_first(self, waited: int, observation: Observation) -> bool:
        """Whether the first chunk of an episode, made for tick 0, is there after `waited` ticks of standing still."""
        self._collect(waited)
        self._ask(0, observation)
        self._collect(waited)
        self._delay = 0  # nothing was played meanwhile
        return self._pilot is None or self._next is not None

    def _collect(self, tick: int) -> None:
        answer = self._inference.poll(tick)
        if answer is not None and answer.epoch == self.epoch:
            self._next = answer.chunk
            self._delay = tick - answer.chunk.tick

    def _take_over(self, tick: int) -> None:
        if self._next is not None and (self._playing is None or self._used(tick) >= self._execute):
            self._playing, self._next = self._next, None
        if self._playing is not None and self._used(tick) >= len(self._playing.actions):
            self._playing = None

    def _due(self, tick: int) -> Due | None:
        if self._playing is None:
            return None
        index = self._used(tick)
        return Due(self._playing.actions[index], self._playing.id, index, self._playing.release)

    def _ask(self, tick: int, observation: Observation) -> None:
        if self._pilot is None or self._next is not None or self._inference.busy:
            return
        if self._playing is not None and self._used(tick) < self._execute - self._lead:
            return
        prefix = self._under_way(tick)
        delay = 0 if prefix is None else min(max(self._lead, self._delay), len(prefix))
        request = Request(self._pilot, self.epoch, self._asked, tick, observation, self._instruction, prefix, delay)
        self._asked += 1
        self._inference.request(request)

    def _under_way(self, tick: int) -> FloatArray | None:
        """The actions of the chunk being played that are still to come, (K, A) with K > 0."""
        if self._playing is None:
            return None
        return self._playing.actions[self._used(tick) :]

    def _used(self, tick: int) -> int:
        assert self._playing is not None
        return tick - self._playing.tick

    @property
    def _execute(self) -> int:
        assert self._pilot is not None
        return self._pilot.policy.spec.execute
