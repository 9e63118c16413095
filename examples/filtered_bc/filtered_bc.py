"""Filtered behaviour cloning: do as the episodes that went well do, whoever drove in them."""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.algorithms.segments import segment_stops, takeovers
from fleetloop.core.algorithm import FixedLabels, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome


class FilteredCloningOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    own_weight: float = Field(default=1.0, gt=0, description="weight of the policy's own frames beside people's")


class FilteredCloning(FixedLabels):
    """Demonstrations and successes train; failures, timeouts and what was cut off do not."""

    name: ClassVar[str] = "filtered_bc"
    Options: ClassVar[type[FilteredCloningOptions]] = FilteredCloningOptions

    def __init__(self, options: FilteredCloningOptions) -> None:
        self.options = options

    def label(self, episode: Episode) -> FrameLabels:
        went_well = episode.meta.purpose == "demonstration" or episode.meta.outcome is Outcome.SUCCESS
        # What made a takeover necessary is no part of what went well.
        own = (episode.source == Source.POLICY) & went_well & (takeovers(episode.source) == len(episode))
        human = (episode.source == Source.HUMAN) & went_well
        tick = episode.column("tick")
        return FrameLabels(
            train=own | human,  # what was held or blended is nobody's choice
            # A target stops where somebody else takes over: the two had different things in mind.
            stop=np.where(own, segment_stops(own, tick), segment_stops(human, tick)),
            weight=np.where(own, self.options.own_weight, 1).astype(np.float32),
            indicator=np.full(len(episode), -1, np.int8),
        )
