"""From the newest release on the host's disk to a policy that may drive."""

from collections.abc import Callable
from dataclasses import dataclass

from fleetloop.core.alarm import Alarms
from fleetloop.core.errors import FleetLoopError, ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.policy import ActingPolicy, under_robot_names
from fleetloop.core.release import Release
from fleetloop.core.spec import RobotSpec, check_fit
from fleetloop.weights.codec import Weights, from_safetensors, verify

PART = "release"
LoadPolicy = Callable[[Release, Weights], ActingPolicy]


@dataclass(frozen=True)
class Loaded:
    """A verified release, its policy, and what that is to be conditioned on here; None for nothing."""

    release: Release
    policy: ActingPolicy
    condition: str | None = None


class Loader:
    """Loads the current release, or keeps the one before it and says why.

    Args:
        condition: what the policy is to be conditioned on; empty for nothing, None for what the release says.
    """

    def __init__(
        self, host: HostDirectory, robot: RobotSpec, load_policy: LoadPolicy, condition: str | None, alarms: Alarms
    ) -> None:
        self._host, self._robot, self._load_policy, self._alarms = host, robot, load_policy, alarms
        self._condition = condition
        self._loaded: Loaded | None = None

    def newest(self) -> Loaded | None:
        """The current release if it is sound, else the last sound one; None before the first.

        Raises whatever `load_policy` raises that is no FleetLoopError.
        """
        kept = self._loaded.release.version if self._loaded else 0
        if self._host.current_version() == kept:
            return self._loaded
        try:
            self._loaded = self._load() or self._loaded
            self._alarms.clear(PART)
        except FileNotFoundError:
            return self._loaded  # the courier has moved on between two reads; the next look finds the newer one
        except (FleetLoopError, ValueError) as error:
            self._alarms.set(
                PART, f"release {self._host.current_version()} is unusable, keeps {kept or 'none'}: {error}"
            )
        return self._loaded

    def _load(self) -> Loaded | None:
        current = self._host.current()
        if current is None:
            return None
        release, data = current
        weights = from_safetensors(data)
        verify(release, weights)
        check_fit(self._robot, release.policy_spec())
        condition = release.condition if self._condition is None else self._condition
        if condition and condition not in release.conditions:
            known = ", ".join(release.conditions) or "none"
            raise ReleaseInvalid("conditions", f"lack {condition!r}", f"its policy knows: {known}")
        return Loaded(release, under_robot_names(self._load_policy(release, weights)), condition or None)
