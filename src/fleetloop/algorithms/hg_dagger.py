"""HG-DAgger (Kelly et al. 2019, arXiv 1810.02890): the person, not the policy, decides when to take over.

While the policy drives, a person watches. When the gate opens (g = 1) the person takes over, keeps uninterrupted
control until the state is safe again, and hands back. The data set is

    D  <-  D_demonstrations  +  every (o_t, a_t) with g_t = 1

and the policy is trained on all of D by behaviour cloning. What the policy did by itself never becomes a target: that
is what keeps its mistakes out of D. The paper's doubt score (ensemble variance) estimates risk; it is not the gate.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.algorithms.segments import segment_stops, takeovers
from fleetloop.core.algorithm import FixedLabels, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome


class HGDaggerOptions(BaseModel):
    """The defaults are the paper's; each option is a common variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    successful_autonomous: bool = Field(
        default=False,
        description="also train on the policy's own frames of online episodes that ended in success without anybody "
        "taking over after them",
    )
    intervention_weight: float = Field(
        default=1.0,
        gt=0,
        description="how often a human frame of an online episode is drawn for every draw of another one (IWR); there "
        "is none without successful_autonomous",
    )


class HGDagger(FixedLabels):
    """Human segments of online episodes, and demonstrations (the human frames of them)."""

    name: ClassVar[str] = "hg_dagger"
    Options: ClassVar[type[HGDaggerOptions]] = HGDaggerOptions

    def __init__(self, options: HGDaggerOptions) -> None:
        self.options = options

    def label(self, episode: Episode) -> FrameLabels:
        """A sample starts at a human frame, and its targets end where the person handed back."""
        gate = episode.source == Source.HUMAN
        tick = episode.column("tick")
        train, stop = gate, segment_stops(gate, tick)
        online = episode.meta.purpose == "online"
        if self.options.successful_autonomous and online and episode.meta.outcome is Outcome.SUCCESS:
            autonomous = (episode.source == Source.POLICY) & (takeovers(episode.source) == len(episode))
            train = gate | autonomous
            stop = np.where(autonomous, segment_stops(autonomous, tick), stop)
        weight = np.where(gate & online, self.options.intervention_weight, 1.0)
        return FrameLabels(
            train=train,
            stop=stop.astype(np.int32),
            weight=weight.astype(np.float32),
            indicator=np.full(len(episode), -1, np.int8),
        )
