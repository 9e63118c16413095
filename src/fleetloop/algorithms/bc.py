"""Behaviour cloning: do as the demonstrations do."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.algorithms.segments import segment_stops, takeovers
from fleetloop.core.algorithm import FixedLabels, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome


class BehaviourCloningOptions(BaseModel):
    """What of the fleet's own experience is cloned, beside the demonstrations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    successful_online: bool = Field(
        default=False,
        description="also train on online episodes that ended in success: on what people drove, and on what the policy "
        "did without anybody taking over after it",
    )


class BehaviourCloning(FixedLabels):
    """Whatever somebody drove in a demonstration trains; online experience does not, unless the options say so."""

    name: ClassVar[str] = "bc"
    Options: ClassVar[type[BehaviourCloningOptions]] = BehaviourCloningOptions

    def __init__(self, options: BehaviourCloningOptions) -> None:
        self.options = options

    def label(self, episode: Episode) -> FrameLabels:
        """Which frames train; a target is the action that was really sent, and it stops where the driver changes."""
        tick = episode.column("tick")
        own, others = self._train(episode)
        return FrameLabels(
            train=own | others,
            stop=np.where(own, segment_stops(own, tick), segment_stops(others, tick)),
            weight=np.ones(len(episode), np.float32),
            indicator=np.full(len(episode), -1, np.int8),
        )

    def _train(self, episode: Episode) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """(T,) twice: the policy's own frames that train, and those of others."""
        nothing, purpose, source = np.zeros(len(episode), bool), episode.meta.purpose, episode.source
        # What was held or blended is nobody's choice.
        if purpose == "demonstration":
            return source == Source.POLICY, source == Source.HUMAN
        if not self.options.successful_online or purpose != "online" or episode.meta.outcome is not Outcome.SUCCESS:
            return nothing, nothing
        # What made a takeover necessary is no part of the success.
        return (source == Source.POLICY) & (takeovers(source) == len(episode)), source == Source.HUMAN
