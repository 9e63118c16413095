"""What a user may set of RECAP."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


@dataclass(frozen=True)
class TaskNumbers:
    """What holds for one task; null where it follows from the experience."""

    horizon_s: float
    c_fail_s: float | None
    t_max_s: float | None
    positives: float


class TaskOptions(BaseModel):
    """One task's own numbers; null: as for all tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_s: float | None = Field(default=None, gt=0, description="N of this task")
    c_fail_s: float | None = Field(default=None, ge=0, description="C_fail of this task")
    t_max_s: float | None = Field(default=None, gt=0, description="T_max of this task")
    positives: float | None = Field(default=None, gt=0, lt=1, description="target share of positives of this task")


class RecapOptions(BaseModel):
    """RECAP; times are seconds of an episode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Literal["frozen", "live"] = Field(
        default="live",
        description="frozen: values come from value_file and stay; live: they are refreshed behind the running learner",
    )
    value_file: Path | None = Field(
        default=None, description="made by `fleetloop recap fit`; frozen needs one, live starts from it"
    )
    horizon_s: float = Field(default=1.0, gt=0, description="N, how far an advantage looks ahead")
    c_fail_s: float | None = Field(
        default=None, ge=0, description="C_fail, what a failure costs; null: as much as T_max"
    )
    t_max_s: float | None = Field(
        default=None, gt=0, description="T_max, the longest attempt; null: the longest one seen"
    )
    positives: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="share of a task's online draws that is to be positive, corrections included",
    )
    tasks: Mapping[str, TaskOptions] = Field(default_factory=dict, description="a task's own numbers, by its id")
    drop: float = Field(default=0.3, ge=0, le=1, description="share of samples that train without their indicator")
    intervention_weight: float = Field(
        default=12.0,
        gt=0,
        description="how often a human frame of an online episode is drawn for every draw of another one (IWR); "
        "1 is the paper's",
    )
    bins: int = Field(default=201, ge=2, description="bins of the value distribution")
    value_steps: int = Field(default=1500, ge=1, description="optimizer steps of the first fit of the value function")
    value_batch: int = Field(default=256, ge=1, description="frames per such step")
    value_rate: float = Field(default=1e-3, gt=0, description="its learning rate, which ends in a cosine")
    value_decay: float = Field(default=1e-2, ge=0, description="its decoupled weight decay")
    value_frames: int = Field(
        default=50_000, ge=1, description="frames that it is fitted to at most, spread over all episodes"
    )
    value_bytes: int = Field(
        default=2 << 30, ge=1, description="of what it sees in them, in memory; beyond, every other frame is left out"
    )
    refresh_every: int = Field(
        default=1000, ge=1, description="live: optimizer steps of the policy between the beginnings of two refreshes"
    )
    refresh_steps: int = Field(
        default=400, ge=1, description="live: optimizer steps by which a refresh goes on from the value function before"
    )
    seed: int = Field(default=0, ge=0, lt=1 << 31, description="decides the value function's draws")

    @model_validator(mode="after")
    def _frozen_needs_values(self) -> "RecapOptions":
        if self.value == "frozen" and self.value_file is None:
            raise ValueError("value: frozen needs value_file; make one with `fleetloop recap fit`")
        return self

    def of(self, task: str) -> TaskNumbers:
        """The numbers that hold for this task."""
        own = self.tasks.get(task, TaskOptions())
        return TaskNumbers(
            horizon_s=own.horizon_s or self.horizon_s,
            c_fail_s=self.c_fail_s if own.c_fail_s is None else own.c_fail_s,
            t_max_s=own.t_max_s or self.t_max_s,
            positives=own.positives or self.positives,
        )
