"""A learner put together from its options: everything but threads, which are `run.py`'s."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Clock
from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.hub import Hub
from fleetloop.core.policy import check_conditions
from fleetloop.core.recording import SEALED
from fleetloop.learner.anchor import anchor_of
from fleetloop.learner.arrival import features_of, prepare
from fleetloop.learner.base import Base
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.buffer.cache import EpisodeCache
from fleetloop.learner.buffer.pictures import PictureCache
from fleetloop.learner.checkpoint import Checkpoint, CheckpointWriter
from fleetloop.learner.export import check_release, config_hash, statistics_hash
from fleetloop.learner.feeder import Feeder
from fleetloop.learner.grid import grid_of
from fleetloop.learner.holder import holder_of
from fleetloop.learner.loader import OnTime
from fleetloop.learner.loop import Learner
from fleetloop.learner.metrics import Metrics
from fleetloop.learner.options import LearnerOptions
from fleetloop.learner.parts import Parts
from fleetloop.learner.publisher import Identity, Publisher
from fleetloop.learner.recall import Recall
from fleetloop.learner.relabelling import Archive, Relabelling
from fleetloop.learner.sampler import AdaptiveSampler
from fleetloop.learner.trainer import Trainer
from fleetloop.weights.block import PROFILES
from fleetloop.weights.blocks import cores
from fleetloop.weights.codec import Blocks
from fleetloop.weights.ladder import Ladder
from fleetloop.weights.signature import Signer, open_key


@dataclass(frozen=True)
class Surroundings:
    """What is handed to a learner.

    Attributes:
        directory: the learner's own: checkpoints, cached episodes, metrics.
    """

    hub: Hub
    clock: Clock
    disk: Disk
    directory: Path

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"


def assemble(
    run: str,
    options: LearnerOptions,
    base: Base,
    algorithm: Algorithm,
    around: Surroundings,
    *,
    demonstrations: Sequence[Episode] = (),
    checkpoint: Checkpoint | None = None,
    begins_anew: bool = False,
) -> Learner:
    """A learner at step 0 that holds the demonstrations.

    With a `checkpoint` that it is to go on from (see `restart.py`), its first release descends from the checkpoint's,
    and its labels are those that the checkpoint's algorithm made, if that is the same one. Without one it publishes
    where there are no releases yet; where there are, only if it `begins_anew` (see `holder.py`).

    Raises:
        CheckpointInvalid: if the note of the last order that was obeyed is damaged.
        ConfigInvalid: if the algorithm can't do with this policy (which may not know its conditions) or with the
            checkpoint's state, or the signing key can't be used.
        ReleaseInvalid: if the policy has a tensor that no robot would take.
        SpecMismatch, LabelsInvalid: if a demonstration can't be used.
        DiskTrouble: if the directory can't be.
    """
    policy, directory = base.policy, around.directory
    check_release(policy.state_dict())
    if algorithm.condition not in {"", *algorithm.conditions}:
        problem = f"{algorithm.condition!r} is none of its conditions, {sorted(algorithm.conditions)}"
        raise ConfigInvalid("Algorithm.condition", problem, "no robot would take its releases: name one of them")
    check_conditions(policy, algorithm.conditions)
    algorithm.setup(policy)
    if checkpoint is not None and checkpoint.algorithm_name == algorithm.name:
        algorithm.load_state_dict({**checkpoint.algorithm, **checkpoint.under("algorithm.")})
    scratch = directory / "scratch"
    around.disk.make(scratch)
    parent = checkpoint.release if checkpoint else 0
    cache = EpisodeCache(around.hub, around.disk, directory / "episodes", options.cache.episode_bytes)
    feeder = Feeder(
        around.hub,
        cache,
        algorithm,
        policy.spec,
        inbox=options.inbox,
        inbox_bytes=options.inbox_bytes,
        features=features_of(policy),
    )
    pictures = PictureCache(around.disk, directory / "pictures", options.cache.picture_bytes)
    archive = Archive(feeder.episode, pictures)
    buffer = ExperienceBuffer(
        policy.spec,
        max_replay=options.sampler.max_replay,
        held_out=options.held_out,
        scratch=scratch,
        most_bytes=options.cache.decoded_bytes,
        fetch=archive.open,
        features=features_of(policy),
        filters=options.filters,
    )
    recall = Recall(around.disk, directory, around.checkpoints)
    parts = Parts(
        clock=around.clock,
        algorithm=algorithm,
        trainer=Trainer(policy, algorithm, options.optimizer, options.seed, anchor_of(policy, options.anchor)),
        sampler=AdaptiveSampler(options.sampler, options.seed),
        buffer=buffer,
        loader=OnTime(buffer),
        feeder=feeder,
        relabelling=Relabelling(algorithm, buffer, archive),
        publisher=Publisher(
            around.hub,
            around.clock,
            identity(run, base, algorithm),
            holder_of(around.disk, directory, options.holder, goes_on=begins_anew or checkpoint is not None),
            parent,
            signer=_signer(options),
            ladder=Ladder(PROFILES[options.publish_profile], Blocks(max(1, cores() - options.threads))),
            told=recall.hear,
        ),
        recall=recall,
        grid=grid_of(policy, options.publish_grid),
        checkpoints=CheckpointWriter(around.disk, around.checkpoints, options.keep_checkpoints),
        metrics=Metrics(
            directory / "metrics.jsonl", around.disk, directory / "tensorboard" if options.tensorboard else None
        ),
    )
    learner = Learner(run, options, parts)
    for task in checkpoint.tasks if checkpoint else ():  # in the order of then, which demonstrations may be added to
        buffer.number(task)
    ordered = sorted(demonstrations, key=lambda item: item.meta.id)
    learner.intake.admit_demonstrations(
        prepare(episode, algorithm, policy.spec, features_of(policy)) for episode in ordered
    )
    return learner


def _signer(options: LearnerOptions) -> Signer | None:
    key = options.signing_key
    return open_key(key, "learner.signing_key") if key else None


def identity(run: str, base: Base, algorithm: Algorithm) -> Identity:
    """What all releases of this run have in common."""
    return Identity(
        run=run,
        policy=base.manifest(),
        spec=base.policy.spec.to_json(),
        spec_hash=base.policy.spec.hash(),
        config_hash=config_hash(base.policy.config),
        statistics_hash=statistics_hash(base.policy.state_dict()),
        conditions=tuple(sorted(algorithm.conditions)),
        condition=algorithm.condition,
    )


def open_demonstrations(directory: Path) -> list[Episode]:
    """Every sealed episode in a directory, oldest first, but for evaluations: nobody learns from those.

    Raises EpisodeInvalid.
    """
    found = (Episode.open(path) for path in sorted(directory.glob(f"*{SEALED}")))
    return [episode for episode in found if episode.meta.purpose != "evaluation"]
