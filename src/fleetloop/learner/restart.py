"""Going on from a checkpoint: the same experience in the same order, then the same numbers."""

import logging
from collections import Counter

import numpy as np

from fleetloop.learner.buffer.ledger import Ledger, carried_over
from fleetloop.learner.buffer.samples import Ids
from fleetloop.learner.checkpoint import Checkpoint
from fleetloop.learner.errors import RESTORED, CheckpointInvalid
from fleetloop.learner.export import config_hash, tensors
from fleetloop.learner.loop import Learner

log = logging.getLogger(__name__)


def catch_up(learner: Learner, checkpoint: Checkpoint, wait_s: float = 0.0) -> None:
    """Take in what the checkpoint's learner had taken in, from the hub's events and the local cache.

    Raises:
        CheckpointInvalid: if the hub's releases or events end before the checkpoint's.
        HubUnavailable: call again; what was taken in so far stays.
    """
    feeder = learner.parts.feeder
    learner.parts.publisher.check_parent()
    for task in checkpoint.tasks:  # in the order of then, though the episodes that began them may be gone
        learner.parts.buffer.number(task)
    while learner.cursor < checkpoint.cursor:
        fetched = feeder.pull(wait_s)
        learner.admit(feeder.take(until=checkpoint.cursor), learner.parts.clock.now())
        if not fetched and learner.cursor < checkpoint.cursor:
            raise CheckpointInvalid(
                "cursor",
                f"is {checkpoint.cursor}, but the hub's events end at {learner.cursor}",
                RESTORED,
            )


def restore(learner: Learner, checkpoint: Checkpoint) -> None:
    """Put a learner that has caught up where the checkpoint was taken.

    Under another algorithm than the checkpoint's, weights, optimizer and place in the stream go on; the algorithm, the
    sampler's windows and the draw counters begin anew.

    Raises:
        CheckpointInvalid: if the checkpoint is another run's or policy's, or its experience was another one.
    """
    parts = learner.parts
    if checkpoint.run != learner.run:
        raise CheckpointInvalid("run", f"is {checkpoint.run!r}, not {learner.run!r}", "start in a new directory")
    if checkpoint.config_hash != config_hash(parts.trainer.policy.config):
        raise CheckpointInvalid("policy", "has another configuration than this one", "start in a new directory")
    same = checkpoint.algorithm_name == parts.algorithm.name
    # Another algorithm makes other samples and other losses of the same episodes: those are counted from here on.
    draws = _counted(learner, checkpoint) if same else np.zeros_like(parts.buffer.all_draws())
    parts.buffer.restore(draws, checkpoint.uncovered)
    if same:
        parts.sampler.restore(checkpoint.under("sampler."))
    parts.trainer.restore(tensors(checkpoint.under("trainer.")), checkpoint.step)
    parts.metrics.rewind(checkpoint.step)
    learner.resume(checkpoint)


def _counted(learner: Learner, checkpoint: Checkpoint) -> Ids:
    """The checkpoint's draw counters for the samples that are held now.

    An episode of the hub that could be read then may be damaged now, or the other way round, and demonstrations may
    have been added: the others keep theirs.
    """
    draws, episodes = checkpoint.arrays["draws"], learner.parts.buffer.episodes
    now = episodes.ledger()
    then = checkpoint.arrays.get("ledger", now)  # those from before it have the same, or are refused
    shown = _rows(then[: int(checkpoint.arrays.get("demonstrated", learner.intake.demonstrated))])
    missing = shown - _rows(episodes.ledger(learner.intake.demonstrated))
    if len(draws) != then[:, 1].sum() or missing:
        raise CheckpointInvalid(
            "draws",
            f"count samples of {missing.total()} demonstrations, of {shown.total()}, that are missing or otherwise",
            "bring back the demonstrations and the algorithm's options of that run, or start in a new directory",
        )
    found, new, gone = carried_over(draws, then, now)
    if new or gone:
        log.warning(
            "%d episodes are new or otherwise than at the checkpoint, %d not held any more; others keep counts",
            new,
            gone,
        )
    return found


def _rows(ledger: Ledger) -> Counter[tuple[int, int]]:
    return Counter((key, count) for key, count in ledger.tolist())
