"""What a user may set of the learner."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fleetloop.core.outcome import Judge, Outcome

BASE_RATE = 3e-3  # learning rate of a base, which begins with nothing, unless told otherwise


class SamplerOptions(BaseModel):
    """The adaptive sampler; `sampler.py` says what each number does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int = Field(default=200, ge=1, description="loss records kept per task and buffer (W of the SOP paper)")
    boost: float = Field(
        default=1.2,
        gt=1,
        description="a in exp(a*l_on) / (exp(a*l_on) + exp(l_off)); with task_mean losses, 1.2 gives equal losses a "
        "share of 0.55 online and reaches the upper clip only when the online loss is twice the offline one",
    )
    least_online: float = Field(default=0.2, ge=0, le=1, description="lower clip of the online share")
    most_online: float = Field(default=0.8, ge=0, le=1, description="upper clip of the online share")
    cold_start_records: int = Field(
        default=10,
        ge=1,
        description="records that both windows of a task must hold before their losses decide its share",
    )
    cold_start_online: float = Field(default=0.5, ge=0, le=1, description="the online share until then")
    loss_scale: Literal["task_mean", "raw"] = Field(
        default="task_mean",
        description="task_mean: losses are divided by the mean of the task's offline window; raw: as is",
    )
    max_replay: int = Field(
        default=200, ge=1, description="draws of one online frame over the run; surplus goes offline"
    )
    across_tasks: Literal["uniform", "experience", "loss", "success"] = Field(
        default="experience",
        description="how tasks share a batch: equally, or half of it more to tasks that hold much, have high losses or "
        "low success",
    )
    success_window: int = Field(
        default=30, ge=1, description="online episodes per task that its success rate is taken over"
    )

    least_offline: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="task -> least share of its samples that is drawn from its demonstrations, whatever the losses say",
    )
    task_weight: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="task -> its weight when tasks share a batch, all others having 1; for tasks that are not worked "
        "at online their demonstrations are replayed with it, and 0 leaves a task out",
    )

    @model_validator(mode="after")
    def _clip_in_order(self) -> "SamplerOptions":
        if self.least_online > self.most_online:
            raise ValueError("least_online is above most_online")
        return self


class OptimizerOptions(BaseModel):
    """AdamW: warm-up, then a constant rate; an anneal only where the number of steps is known beforehand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=1.5e-3, gt=0, description="learning rate after the warm-up")
    warmup_steps: int = Field(default=100, ge=0, description="steps over which the rate rises linearly from 0")
    total_steps: int | None = Field(
        default=None, ge=1, description="steps of the whole run, if known: needed to anneal"
    )
    anneal_from: float = Field(
        default=1.0, ge=0, le=1, description="share of total_steps after which a cosine lowers the rate"
    )
    anneal_to: float = Field(default=0.05, ge=0, le=1, description="share of the rate that is left at the end")
    weight_decay: float = Field(default=1e-4, ge=0, description="AdamW's decoupled weight decay")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean gradient")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="decay of the mean squared gradient")
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient over all parameters")
    ema: float = Field(
        default=0.995, ge=0, lt=1, description="decay of the averaged weights, which are what is published"
    )

    @model_validator(mode="after")
    def _anneal_needs_an_end(self) -> "OptimizerOptions":
        if self.anneal_from < 1 and self.total_steps is None:
            raise ValueError("anneal_from needs total_steps")
        return self


class AnchorOptions(BaseModel):
    """What holds the policy near its base; `anchor.py` says what each number weighs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    l2: float = Field(default=0.0, ge=0, description="weight of half the squared distance to the base's weights")
    kl: float = Field(
        default=0.0,
        ge=0,
        description="weight of the policy's distance to the base in what both answer on the batch; the built-in policy "
        "has no KL in closed form: its distance is the squared one of the predicted clean chunks, on the same noise",
    )


class FilterOptions(BaseModel):
    """Which of the episodes that are held train; judged anew whenever something is said about one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcomes: tuple[Outcome, ...] = Field(default=(), description="only those that ended so; empty: however they ended")
    least_judge: Judge | None = Field(
        default=None,
        description="only those whose outcome was judged by this rank or a higher one: classifier, simulator, person",
    )
    least_quality: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="only those of at least this quality; one whose quality nobody spoke of stays in",
    )
    sites: tuple[str, ...] = Field(default=(), description="only those from these sites; empty: from all")
    except_sites: tuple[str, ...] = Field(default=(), description="none from these sites")
    robots: tuple[str, ...] = Field(default=(), description="only those of these robots; empty: of all")
    except_robots: tuple[str, ...] = Field(default=(), description="none of these robots")


class OnlineFilterOptions(FilterOptions):
    """The same for the fleet's episodes, which also grow old."""

    most_staleness: int | None = Field(
        default=None,
        ge=0,
        description="only those of which some frame ran under one of so many newest releases, beside the newest itself",
    )


class FiltersOptions(BaseModel):
    """What trains, by buffer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    online: OnlineFilterOptions = Field(default_factory=OnlineFilterOptions, description="of the fleet's episodes")
    offline: FilterOptions = Field(default_factory=FilterOptions, description="of the demonstrations")


class CacheOptions(BaseModel):
    """What of the experience is kept on the learner's disk. Beyond a limit, what was not used for the longest goes, and
    is fetched or decoded again when it is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    episode_bytes: int = Field(
        default=32 << 30, ge=0, description="of episode files as they came from the hub; the newest is always kept"
    )
    decoded_bytes: int = Field(
        default=16 << 30,
        ge=0,
        description="of what batches are made of: images at the policy's resolution or its features of them, state, "
        "actions",
    )
    picture_bytes: int = Field(
        default=8 << 30,
        ge=0,
        description="of decoded images of whole episodes, for an algorithm that looks at them again with every label "
        "version (recap with `value: live`, on images)",
    )


class LearnerOptions(BaseModel):
    """The learner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, lt=1 << 31, description="decides every draw of the run")
    holder: str | None = Field(
        default=None,
        min_length=1,
        description="the name under which the publishing lease is held; null: one that is kept in its directory, so "
        "that no second learner is taken for it",
    )
    signing_key: Path | None = Field(
        default=None,
        description="PEM file with the private key that releases are signed by (`fleetloop keys make`); "
        "null: they are not",
    )
    batch: int = Field(default=256, ge=1, description="samples per optimizer step")
    steps_per_s: float | None = Field(
        default=10.0,
        gt=0,
        description="optimizer steps per clock second, however large the fleet; null: as fast as it goes",
    )
    most_debt_s: float = Field(
        default=5.0,
        gt=0,
        description="clock seconds of steps that may be made up for after a delay; beyond that they are lost",
    )
    park_after_s: float | None = Field(
        default=300.0,
        gt=0,
        description="clock seconds without new trainable online frames after which the learner parks",
    )
    publish_every_steps: int = Field(default=25, ge=1, description="steps between releases")
    publish_every_s: float | None = Field(
        default=None, gt=0, description="clock seconds between releases, if that is sooner"
    )
    publish_grid: int | None = Field(
        default=None,
        ge=0,
        le=8,
        description="round what is published to a grid, for fewer bytes: to multiples of 2 to this power times bf16's "
        "step at a tensor's RMS; null: every bf16 value",
    )
    publish_profile: Literal["small", "fast"] = Field(
        default="small",
        description="small: the fewest bytes; fast: some percent more, encoded a little sooner, for robots whose lines "
        "are much faster than 100 Mb/s",
    )
    checkpoint_every_s: float = Field(default=30.0, gt=0, description="clock seconds between checkpoints")
    keep_checkpoints: int = Field(default=3, ge=1, description="checkpoints kept on disk")
    metrics_every_steps: int = Field(default=25, ge=1, description="steps between rows of metrics.jsonl")
    report_every_s: float = Field(default=2.0, gt=0, description="clock seconds between reports to the hub")
    held_out: float = Field(
        default=0.05, ge=0, lt=1, description="share of the demonstrations that is never trained on"
    )
    held_out_every_steps: int = Field(default=250, ge=1, description="steps between measurements of the held-out loss")
    inbox: int = Field(
        default=64, ge=1, description="fetched episodes that may wait for the next step; then fetching pauses"
    )
    inbox_bytes: int = Field(
        default=1 << 30, ge=1, description="of decoded images that may wait so; then fetching pauses too"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads that torch may use")
    tensorboard: bool = Field(default=True, description="also write the metrics for TensorBoard, if it is installed")
    sampler: SamplerOptions = Field(default_factory=SamplerOptions, description="which samples make a batch")
    optimizer: OptimizerOptions = Field(default_factory=OptimizerOptions, description="how weights are changed")
    anchor: AnchorOptions = Field(default_factory=AnchorOptions, description="what holds the policy near its base")
    filters: FiltersOptions = Field(default_factory=FiltersOptions, description="which episodes train")
    cache: CacheOptions = Field(default_factory=CacheOptions, description="what is kept on the learner's disk")


class PretrainOptions(BaseModel):
    """Behaviour cloning on demonstrations: warm-up, then a cosine down to `optimizer.anneal_to`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, lt=1 << 31, description="decides every draw")
    steps: int = Field(default=3000, ge=0, description="optimizer steps; 0: only the statistics are computed")
    batch: int = Field(default=256, ge=1, description="samples per optimizer step")
    statistics_samples: int = Field(default=8192, ge=1, description="samples that the normalisation is computed from")
    held_out: float = Field(
        default=0.05, ge=0, lt=1, description="share of the demonstrations that is never trained on"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads that torch may use")
    decoded_bytes: int = Field(
        default=16 << 30, ge=0, description="of what batches are made of, as `learner.cache.decoded_bytes`"
    )
    optimizer: OptimizerOptions = Field(
        default_factory=lambda: OptimizerOptions(rate=BASE_RATE), description="how weights are changed"
    )

    @field_validator("optimizer", mode="before")
    @classmethod
    def _rate_of_a_base(cls, given: Any) -> Any:
        """Whoever sets something else leaves the rate as it is."""
        return {"rate": BASE_RATE, **given} if isinstance(given, Mapping) else given
