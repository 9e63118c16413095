"""The seam to the hub: experience in, releases out. The service itself offers it, and so does its HTTP client."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from fleetloop.core.outcome import Annotation
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.core.spec import RobotSpec

EDGE, STABLE = "edge", "stable"


@dataclass(frozen=True)
class Registration:
    """A robot that joins: where it is, what it offers, what it is to do."""

    robot: str
    host: str
    site: str
    tasks: tuple[str, ...]
    spec: RobotSpec


@dataclass(frozen=True)
class RobotStatus:
    """What a robot's courier tells the hub at every beat. Counts are since the actor started.

    Attributes:
        phase: `waiting` (for a first release), `resetting`, `running` or `stopped`; the fleet view shows `offline`
            for a robot that has gone silent.
        release: the version that it runs.
        wants_attention: its operator asks for the attention lease.
        operator: the pool that its operator belongs to.
        refused: the version that it is to run and can't: it is not verified, not loaded, or does not fit; 0 for none.
        alarm: what is wrong, in a line; empty if nothing is.
        chunk_s: clock seconds that its policy took for the last chunk; 0 if it does not say.
        host: the machine that it is said from; its courier adds that.
    """

    robot: str
    phase: str
    task: str = ""
    episode: str = ""
    release: int = 0
    episodes: int = 0
    successes: int = 0
    interventions: int = 0
    frames: int = 0
    frames_human: int = 0
    ticks_missed: int = 0
    lateness_s: float = 0.0
    wants_attention: bool = False
    operator: str = ""
    alarm: str = ""
    refused: int = 0
    chunk_s: float = 0.0
    host: str = ""


@dataclass(frozen=True)
class Orders:
    """The hub's answer to a beat, for one robot.

    Attributes:
        attention_until: clock seconds until which its operator holds it; 0 for not at all.
        clock_s: what the clock by which that is told shows: the hub's, or, once a courier has brought it, its host's.
        attendant: who of the pool attends.
        release: the version that it is to run, in place of the stable channel's; 0 for that one.
        alarm: why the hub will not have this robot; empty if it does.
        beat_s: real seconds until which the hub need not hear of the robot again, unless it wants attention.
    """

    robot: str
    attention_until: float = 0.0
    attendant: str = ""
    alarm: str = ""
    beat_s: float = 0.0
    release: int = 0
    clock_s: float = 0.0


@dataclass(frozen=True)
class LearnerStatus:
    """What the learner tells the hub: how far it is, and its per-task figures for the fleet view.

    Attributes:
        cursor: the last event that it has taken in.
        checkpoint: the cursor of its oldest checkpoint, to which a restart may take it back (while it is parked, of its
            newest); 0: it has none, or does not say. What lies at or before it, it can do without.
        answered: the order that it has obeyed, or refused, last; empty for none.
    """

    run: str
    step: int
    release: int
    cursor: int
    parked: bool
    lag_s: float
    figures: Mapping[str, Any] = field(default_factory=dict)
    alarm: str = ""
    checkpoint: int = 0
    answered: str = ""


@dataclass(frozen=True)
class LearnerOrders:
    """The hub's answer to a learner's report.

    Attributes:
        order: the id of an order that has not been answered; empty for none.
        back_to: the release to go back to: on from the newest checkpoint that is no later.
    """

    order: str = ""
    back_to: int = 0


@dataclass(frozen=True)
class Member:
    """One row of the fleet view: a registered robot, its last status, and how long ago that came (clock seconds)."""

    registration: Registration
    status: RobotStatus | None
    silent_s: float
    orders: Orders


@dataclass(frozen=True)
class Fleet:
    """Who is there and what they run.

    Attributes:
        edge, stable: the versions that the channels point to; 0 before the first.
        held: `stable` stays where it is until a person says otherwise.
        alarm: what is wrong with the hub itself, in a line; empty if nothing is.
        candidate: the version on its way from edge to stable; 0 for none.
        learner_to: the release that the learner was told to go back to and has not answered; 0 for none.
    """

    clock_s: float
    members: tuple[Member, ...]
    learner: LearnerStatus | None
    learner_silent_s: float
    episodes: int
    edge: int
    stable: int
    alarm: str = ""
    held: bool = False
    candidate: int = 0
    learner_to: int = 0


@dataclass(frozen=True)
class Acknowledgement:
    """The hub has the episode durably. `seq` is its place in the event order; `known` if it was there already."""

    id: str
    seq: int
    known: bool


@dataclass(frozen=True)
class Event:
    """Something new for the learner: its kind, the id, and what the catalog knows of it.

    Kinds: `episode`; `annotation`; `tombstone` (`ref` is the episode's id): nobody is to learn from that episode any
    more, and its bytes will go. The `data` of an episode's own event names the seq of its `tombstone`, once it has one.
    """

    seq: int
    kind: str
    ref: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class LearnerLease:
    """The right to publish. A publish under an older fence than the newest is refused."""

    holder: str
    fence: int
    until: float


def never() -> bool:
    """What gives way to nothing."""
    return False


class Hub(Protocol):
    """Every call may raise HubRefused (don't repeat it) or HubUnavailable (try again later)."""

    # experience
    def put_episode(self, id: str, path: Path, hash: str, *, gives_way: Callable[[], bool] = never) -> Acknowledgement:
        """Hand over a sealed episode. The same id and bytes again is the same entry; other bytes are refused.

        `gives_way` is asked now and then while a large one is under way, where it can go on later.

        Raises:
            GaveWay: if that was answered with yes.
        """
        ...

    def get_episode(self, id: str, path: Path) -> None:
        """Fetch the sealed file to `path`, verified. Raises HubRefused (410) for one that was damaged at the hub."""
        ...

    def episodes(self, *, task: str = "", outcome: str = "", limit: int = 1000) -> Sequence[Mapping[str, Any]]:
        """Catalog rows, newest first: id, seq, robot, site, task, purpose, outcome, frames, interventions, …"""
        ...

    def annotate(self, annotation: Annotation) -> int: ...

    def annotations(self, episode: str) -> Sequence[Annotation]: ...

    def events(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> Sequence[Event]:
        """Events in commit order with seq > after; waits up to `wait_s` real seconds for the first one."""
        ...

    # releases
    def claim_lease(self, holder: str) -> LearnerLease:
        """Become the one learner, under a new fence. Raises LeaseLost while another holder's has not run out."""
        ...

    def renew_lease(self, lease: LearnerLease) -> LearnerLease: ...

    def put_blob(self, hash: str, data: bytes) -> None: ...

    def get_blob(self, blob: BlobEntry) -> bytes:
        """What is there under its hash: to be checked. Of more than its size, at most one byte too many comes."""
        ...

    def fetch_blob(self, blob: BlobEntry, file: BinaryIO, *, gives_way: Callable[[], bool] = never) -> None:
        """`get_blob`'s, appended to a file that is at its end and lacks the rest. What has come stays in it, whatever
        is raised: GaveWay if `gives_way`, asked as it comes, said yes."""
        ...

    def draft(self, draft: Encoding, lease: LearnerLease) -> None:
        """Tell robots that have the draft's base of blobs that are here, of a release that is still being made.

        Raises LeaseLost for a stale fence.
        """
        ...

    def publish(self, release: Release, lease: LearnerLease) -> Release:
        """Number a release and move the channels. Its blobs must be there. Raises LeaseLost for a stale fence."""
        ...

    def release(self, version: int) -> Release: ...

    def releases(self, *, limit: int = 1000) -> Sequence[Release]:
        """Newest first."""
        ...

    def channel(self, name: str, *, after: int = 0, wait_s: float = 0.0) -> Release | None:
        """The channel's release if its version is not `after`; waits up to `wait_s` real seconds for one."""
        ...

    def coming(self, name: str, *, after: int = 0, blobs: int = 0, wait_s: float = 0.0) -> Release | Encoding | None:
        """As `channel`; or the draft on top of release `after`, once it has more than so many blobs.

        There is no draft where the channel would not move to its release by itself.
        """
        ...

    # fleet
    def register(self, registration: Registration) -> None:
        """Join. Raises SpecMismatch (both sides named) if the run's policy does not fit the robot."""
        ...

    def beat(self, statuses: Sequence[RobotStatus]) -> Sequence[Orders]: ...

    def report_learner(self, status: LearnerStatus) -> LearnerOrders: ...

    def fleet(self) -> Fleet: ...
