"""The options of Gymnasium environments as robots."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class GymnasiumTask(BaseModel):
    """An environment, and what its robot is told there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(description="its id; `module:Id-v0` imports the module that registers it")
    kwargs: Mapping[str, Any] = Field(default_factory=dict, description="what `gymnasium.make` gets beside the id")
    instruction: str = Field(description="what the robot is told")
    time_limit_s: float = Field(gt=0, description="clock seconds after which an attempt ends as a timeout")
    success: str = Field(default="", description="the success rule in words")


class EpisodeRules(BaseModel):
    """How an environment's episodes begin, pass and end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control_hz: float = Field(default=20.0, gt=0, description="steps of the environment per clock second")
    reset_s: float = Field(default=1.0, ge=0, description="clock seconds that a reset takes")
    success_key: str = Field(
        default="success", description="entry of `info` that is true (an array: throughout) when the task is done"
    )
    terminated: Literal["success", "failure"] = Field(
        default="failure", description="what it means that the environment terminates an episode that is no success yet"
    )
    truncated: Literal["timeout", "success"] = Field(
        default="timeout", description="what it means that the environment cuts an episode off that is no success yet"
    )
    success_return: float | None = Field(
        default=None, description="sum of an episode's rewards from which on it is a success; null: rewards don't count"
    )

    @property
    def success_needs_info(self) -> bool:
        """Whether nothing but `info` can make an episode a success."""
        return self.success_return is None and "success" not in (self.terminated, self.truncated)


class GymnasiumOptions(EpisodeRules):
    """Which environments, and what of their observations is what."""

    tasks: Mapping[str, GymnasiumTask] = Field(min_length=1, description="by id, the tasks; all of one embodiment")
    embodiment: str = Field(default="gymnasium", min_length=1, description="robots of one share statistics")
    state: Mapping[str, str] | None = Field(
        default=None,
        description="feature -> key of the observation, '' for all of it; null: every key that is no camera's",
    )
    images: Mapping[str, str] = Field(
        default_factory=dict,
        description="camera -> key of the observation, '' for all of it, `render` for the rendering",
    )
    displacements: tuple[int, ...] = Field(
        default=(),
        description="places in an action of what moves the robot on while it is not 0, as displacements and velocities "
        "do: they are 0 while nobody acts, and all others what they were last",
    )
    scale_actions: bool = Field(
        default=False, description="policies act in -1 to 1, which is stretched to the limits of the action space"
    )
