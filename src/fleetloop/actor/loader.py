"""From the release that the robot is to run, on the host's disk, to a policy that may drive."""

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass

from fleetloop.actor.trial import Trial
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import DiskTrouble, FleetLoopError, ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.policy import ActingPolicy, check_conditions, under_robot_names
from fleetloop.core.release import Release
from fleetloop.core.spec import RobotSpec, check_fit
from fleetloop.weights.codec import Weights, from_safetensors, verify
from fleetloop.weights.signature import ANYBODYS, Trust

PART, TRIAL = "release", "trial"
AGAIN_S = 30.0
"""Clock seconds after which a refused release is tried again as it is: what its policy needs beside it may be there."""
LoadPolicy = Callable[[Release, Weights], ActingPolicy]


@dataclass(frozen=True)
class Loaded:
    """A verified release, its policy, and what that is to be conditioned on here; None for nothing."""

    release: Release
    policy: ActingPolicy
    condition: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a release can't be used, and how long (clock seconds) that is taken for granted while its files are these."""

    files: object
    until: float
    error: Exception


class Loader:
    """Loads the release that is to be run, or keeps the one before it and says why.

    Args:
        robot: its name; a release on which its actor dies is refused when it starts again.
        condition: what the policy is to be conditioned on; empty for nothing, None for what the release says.
        trust: which releases it takes.

    Attributes:
        refused: the version that it was to load last and will not; 0 for none.
    """

    def __init__(
        self,
        host: HostDirectory,
        robot: str,
        spec: RobotSpec,
        load_policy: LoadPolicy,
        clock: Clock,
        *,
        condition: str | None,
        alarms: Alarms,
        trust: Trust = ANYBODYS,
    ) -> None:
        self._host, self._spec, self._load_policy, self._clock, self._alarms = host, spec, load_policy, clock, alarms
        self._condition, self._trust = condition, trust
        self._trial = Trial(host, robot)
        self._refusals: dict[tuple[int, bool], Refusal] = {}  # by the arguments of `_load`
        self._loaded: Loaded | None = None
        self._stamp = 0  # of what was loaded: the same version may be kept anew, and be another one
        self.refused = 0

    def newest(self, pinned: int = 0) -> Loaded | None:
        """The release to run, `pinned` or else the current one, if it is sound; else what was loaded before.

        Where nothing was, the newest sound one on the disk that is older; where there is none, one on which the actor
        died is given a second chance. None if there is none yet.
        Raises whatever `load_policy` raises that is no FleetLoopError.
        """
        wanted = pinned or self._host.current_version()
        if not wanted or (wanted, self._host.release_stamp(wanted)) == (self._version, self._stamp):
            self._accepted()
            return self._loaded
        try:
            self._loaded = self._load(wanted)
            self._accepted()
        except (OSError, FleetLoopError, ValueError) as error:
            if isinstance(error, FileNotFoundError) and self._is_on_its_way(wanted, pinned):
                return self._loaded or (self.newest() if pinned else None)
            self._refuse(wanted, error)
        return self._loaded

    def _is_on_its_way(self, wanted: int, pinned: int) -> bool:
        """Whether the courier is still fetching what is pinned, or has moved on between two reads."""
        return self._host.release_stamp(pinned) == 0 if pinned else self._host.current_version() != wanted

    def _accepted(self) -> None:
        self.refused = 0
        self._refusals.clear()
        self._alarms.clear(PART)

    def _refuse(self, wanted: int, error: Exception) -> None:
        before = self._loaded
        self._loaded = before or self._fallback(wanted)
        if before or self._version != wanted:
            self.refused = wanted
            self._alarms.set(PART, f"release {wanted} is unusable, keeps {self._version or 'none'}: {error}")

    def prove(self, version: int) -> None:
        """The policy of this release has made a chunk: what is on trial, if it is that one, has stood it."""
        if version and version == self._version:
            self._note(self._trial.prove)

    def close(self) -> None:
        """The actor ends in order: not of what it was loading."""
        self._note(self._trial.end)

    @property
    def _version(self) -> int:
        return self._loaded.release.version if self._loaded else 0

    def _fallback(self, wanted: int) -> Loaded | None:
        older = [version for version in self._host.versions() if version < wanted]
        for version in (*older, wanted):
            with suppress(OSError, FleetLoopError, ValueError):  # the alarm is about the one that was wanted
                return self._load(version, last_resort=version == wanted)
        return None

    def _load(self, version: int, *, last_resort: bool = False) -> Loaded:
        """What was refused is so again without being read: between chunks it is asked for many times a second."""
        files, now = self._host.release_files(version), self._clock.now()
        known = self._refusals.get((version, last_resort))
        if known and known.files == files and now < known.until:
            raise copy(known.error)
        try:
            return self._read(version, last_resort=last_resort)
        except (OSError, FleetLoopError, ValueError) as error:
            # A copy, for the error itself holds on to all that was read.
            self._refusals[version, last_resort] = Refusal(files, now + AGAIN_S, copy(error))
            raise

    def _read(self, version: int, *, last_resort: bool) -> Loaded:
        stamp, release = self._host.release_stamp(version), self._host.manifest(version)
        self._trust.check(release)
        check_fit(self._spec, release.policy_spec())
        condition = self._condition_under(release)
        self._trial.check(release, last_resort=last_resort)
        self._note(lambda: self._trial.begin(release))
        try:
            loaded = Loaded(release, self._policy(release, condition), condition)
        except (OSError, FleetLoopError, ValueError):
            self._note(self._trial.end)
            raise
        self._stamp = stamp
        return loaded

    def _policy(self, release: Release, condition: str | None) -> ActingPolicy:
        weights = from_safetensors(self._host.weights(release.version))
        verify(release, weights)
        policy = self._load_policy(release, weights)
        check_conditions(policy, [condition] if condition else [])
        return under_robot_names(policy)

    def _condition_under(self, release: Release) -> str | None:
        condition = release.condition if self._condition is None else self._condition
        if condition and condition not in release.conditions:
            known = ", ".join(release.conditions) or "none"
            raise ReleaseInvalid("conditions", f"lack {condition!r}", f"its policy knows: {known}")
        return condition or None

    def _note(self, note: Callable[[], None]) -> None:
        """A full disk is no reason not to drive."""
        try:
            note()
            self._alarms.clear(TRIAL)
        except DiskTrouble as error:
            self._alarms.set(TRIAL, str(error))
