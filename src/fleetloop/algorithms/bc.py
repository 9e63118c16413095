"""Behaviour cloning: do as the demonstrations do."""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.algorithms.segments import segment_stops
from fleetloop.core.algorithm import FixedLabels, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.outcome import Outcome


class BehaviourCloningOptions(BaseModel):
    """What of the fleet's own experience is cloned, beside the demonstrations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    successful_online: bool = Field(
        default=False, description="also train on every frame of online episodes that ended in success, whoever drove"
    )


class BehaviourCloning(FixedLabels):
    """Every frame of a demonstration trains; online experience does not, unless the options say so."""

    name: ClassVar[str] = "bc"
    Options: ClassVar[type[BehaviourCloningOptions]] = BehaviourCloningOptions

    def __init__(self, options: BehaviourCloningOptions) -> None:
        self.options = options

    def label(self, episode: Episode) -> FrameLabels:
        """Which frames train; a target is the action that was really sent."""
        demonstration = episode.meta.purpose == "demonstration"
        successful = episode.meta.purpose == "online" and episode.meta.outcome is Outcome.SUCCESS
        train = np.full(len(episode), demonstration or (successful and self.options.successful_online))
        return FrameLabels(
            train=train,
            stop=segment_stops(train, episode.column("tick")),
            weight=np.ones(len(episode), np.float32),
            indicator=np.full(len(episode), -1, np.int8),
        )
