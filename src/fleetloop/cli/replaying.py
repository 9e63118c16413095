"""Open-loop error: what a policy would have done at the frames of a recorded episode, against what was done."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetloop.actor.inference import checked_chunk
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Observation, Source
from fleetloop.core.policy import ActingPolicy, under_robot_names
from fleetloop.core.spec import check_fit

DRIVERS = {"human": Source.HUMAN, "policy": Source.POLICY}


@dataclass(frozen=True)
class FieldErrors:
    """Mean absolute errors by the field of the action, in its own units.

    Attributes:
        fields: the names of the action's entries.
        by_driver: who drove the recorded frame -> (A,) mean absolute errors; only who drove at all.
        frames: who drove -> how many recorded actions were compared.
    """

    fields: tuple[str, ...]
    by_driver: Mapping[str, npt.NDArray[np.float64]]
    frames: Mapping[str, int]


def open_loop_errors(
    policy: ActingPolicy, episode: Episode, condition: str | None = None, *, seed: int = 0
) -> FieldErrors:
    """Ask for a chunk at every `execute`-th frame and compare what would be played with what was sent.

    An action is compared with the frame of its own tick; frames that the robot missed are left out.

    Raises:
        SpecMismatch: if the policy can't see what this robot recorded.
        ReleaseInvalid: if it says what can't be sent to a robot.
    """
    check_fit(episode.meta.spec, policy.spec)
    policy = under_robot_names(policy)
    rng, ticks = np.random.default_rng(seed), episode.column("tick")
    row_of = {int(tick): row for row, tick in enumerate(ticks)}
    errors = np.full((len(episode), *episode.action.shape[1:]), np.nan)
    for start in range(0, len(episode), policy.spec.execute):
        said = policy.chunk(_observation(episode, start), episode.meta.instruction, condition, rng=rng)
        chunk = checked_chunk(said, policy.spec, f"the policy at frame {start}")
        for ahead in range(policy.spec.execute):
            row = row_of.get(int(ticks[start]) + ahead)
            if row is not None:
                errors[row] = np.abs(chunk[ahead] - episode.action[row])
    compared = ~np.isnan(errors).any(axis=1)
    members = {name: compared & (episode.source == source) for name, source in DRIVERS.items()}
    drove = {name: member for name, member in members.items() if member.any()}
    action = episode.meta.spec.action
    return FieldErrors(
        fields=action.fields or tuple(f"{action.name}[{index}]" for index in range(action.shape[0])),
        by_driver={name: errors[member].mean(axis=0) for name, member in drove.items()},
        frames={name: int(member.sum()) for name, member in drove.items()},
    )


def _observation(episode: Episode, row: int) -> Observation:
    spec = episode.meta.spec
    state = {feature.name: episode.state(feature.name)[row].copy() for feature in spec.state}
    images = {camera.name: episode.picture(camera.name, row) for camera in spec.cameras}
    return Observation(state, float(episode.column("clock_s")[row]), images)
