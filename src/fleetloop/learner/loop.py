"""The learner: at every beat it admits what has arrived, trains if a step is due, and offers what is to go out."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from fleetloop.core.errors import HubUnavailable
from fleetloop.core.hub import LearnerStatus
from fleetloop.core.policy import Batch
from fleetloop.learner.arrival import Arrival
from fleetloop.learner.checkpoint import Checkpoint, divided
from fleetloop.learner.errors import PayloadLost
from fleetloop.learner.export import config_hash, exact_weights, release_weights
from fleetloop.learner.figures import Journey, Tally, task_figures, weightless
from fleetloop.learner.held_out import measure_held_out
from fleetloop.learner.intake import Intake
from fleetloop.learner.loader import origin
from fleetloop.learner.options import LearnerOptions
from fleetloop.learner.pace import Pace
from fleetloop.learner.parts import Parts
from fleetloop.learner.publisher import Snapshot
from fleetloop.learner.sampler import Draw
from fleetloop.learner.trainer import Losses

IDLE_S = 0.1


class Learner:
    """Advanced by `step`. It never waits: fetching, publishing and writing happen elsewhere.

    Attributes:
        intake: what has come in.
        release: the version published last; 0 before the first.
        parked: whether there is nothing to learn from at the moment.
    """

    def __init__(self, run: str, options: LearnerOptions, parts: Parts) -> None:
        now = parts.clock.now()
        self.run, self.options, self.parts = run, options, parts
        self.intake, self.release, self.parked = Intake(parts), 0, False
        self._pace = Pace(options.steps_per_s, options.most_debt_s, now)
        self._tally = Tally()
        self._last_release = self._last_checkpoint = now
        self._checkpointed = False
        self._last_report = -np.inf
        self._published_step = self._out_step = -1  # of the release that was made last, and that is out
        self._online_draws = 0
        self._held_out: dict[str, float] = {}
        self._row: dict[str, Any] = {}  # the last one written
        self._stalled = ""  # why no batch could be made at the last beat

    @property
    def cursor(self) -> int:
        """The last event that the buffer has taken in."""
        return self.intake.cursor

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self.parts.trainer.step

    # ------------------------------------------------------------------ the beat

    def step(self, now: float) -> float:
        """Do what is due at `now` (clock seconds): at most one optimizer step. Returns when to call again.

        Raises:
            LossInvalid: the loss can't be trained on.
            DiskTrouble: the metrics can't be written.
        """
        self.note_published()
        self.admit(self.parts.feeder.take(), now)
        self._relabel(now)
        self.parked = self._has_nothing_new(now)
        self._pace.advance(now, idle=self.parked)
        if self._pace.due and not self.parked:
            self._train()
        self._publish_if_due(now)
        self._checkpoint_if_due(now)
        self._report_if_due(now)
        return now + IDLE_S if self.parked or self._stalled else self._pace.next_at(now)

    def _has_nothing_new(self, now: float) -> bool:
        """Nothing came in for long, or there is nothing at all.

        Online samples that are used up don't park it: their draws go to the demonstrations until news comes.
        """
        patience = self.options.park_after_s
        if not self.parts.sampler.can_draw(self.parts.buffer):
            return True
        return patience is not None and now - self.intake.last_news > patience

    # ------------------------------------------------------------------ experience in

    def admit(self, arrivals: Sequence[Arrival], now: float) -> None:
        """Make what has arrived visible to the next draw."""
        self.intake.admit(arrivals, self.steps, now)

    # ------------------------------------------------------------------ label versions

    def work(self) -> bool:
        """One slice, some tens of milliseconds, of what makes the next label version; False if there is none to make.

        May be called from another thread than `step`. Raises HubUnavailable: call again later.
        """
        return self.parts.relabelling.work()

    def _relabel(self, now: float) -> None:
        if self.parts.relabelling.step(self.steps):
            version = self.parts.algorithm.version
            self.parts.metrics.write({"kind": "labels", "step": self.steps, "version": version, "clock_s": now})

    # ------------------------------------------------------------------ one optimizer step

    def _train(self) -> None:
        """Draw, train, record."""
        parts, started = self.parts, self.parts.clock.now()
        draw = parts.loader.draw(partial(self._draw, self.steps))
        batch = self._at_hand(draw)
        if batch is None:
            return
        drawn = parts.clock.now()
        trained = parts.trainer.train(batch, origin(parts.buffer, draw), partial(self._record, draw))
        stepped = parts.clock.now()
        parts.loader.settle()
        data_s = drawn - started + parts.clock.now() - stepped
        self._pace.spend()
        self._online_draws += int(draw.online.sum())
        staleness = int((self.release - parts.buffer.releases(draw.samples[draw.online])).clip(0).sum())
        if self.steps % self.options.held_out_every_steps == 0:
            self._measure_held_out()
        self._tally.add(draw, trained, staleness, data_s, parts.clock.now() - started)
        if self.steps % self.options.metrics_every_steps == 0:
            self._row = self.figures()
            parts.metrics.write({"kind": "step", "step": self.steps, **self._row})
            self._tally = Tally()

    def _record(self, draw: Draw, losses: Losses) -> None:
        """In the midst of a step: what the next draw depends on is known now, but for what may come in meanwhile."""
        self.parts.sampler.record(draw.task, draw.online, losses)
        self._note_first_draws(draw)
        self.parts.buffer.count(draw.samples, draw.online)
        self.parts.loader.expect(partial(self._draw, self.steps + 1))

    def _draw(self, step: int) -> Draw:
        return self.parts.sampler.draw(self.parts.buffer, step, self.options.batch)

    def _measure_held_out(self) -> None:
        """While the hub is away and a held-out episode is there alone, what was measured last stands."""
        while True:
            try:
                self._held_out = measure_held_out(self.parts.trainer, self.parts.buffer, self.options.batch)
                return
            except PayloadLost as error:
                self.intake.lose(error.episode, str(error))
            except HubUnavailable:
                return  # whoever feeds says so

    def _at_hand(self, draw: Draw) -> Batch | None:
        """What was drawn, if every episode of it can be read; the next beat tries again."""
        self._stalled = ""
        try:
            return self.parts.loader.batch(draw)
        except PayloadLost as error:
            self.intake.lose(error.episode, str(error))
        except HubUnavailable as error:
            self._stalled = f"training waits for an episode that is not on this machine any more: {error}"
        return None

    def _note_first_draws(self, draw: Draw) -> None:
        now = self.parts.clock.now()
        for episode, latency in self.intake.journey.first_draws(draw, self.parts.buffer, now).items():
            row = {"kind": "first_draw", "step": self.steps + 1, "episode": episode, "episode_to_batch_s": latency}
            self.parts.metrics.write({**row, "clock": self.parts.clock.name, "clock_s": now})

    # ------------------------------------------------------------------ releases out

    def _publish_if_due(self, now: float) -> None:
        options = self.options
        first = self.release == 0 and self._published_step < 0
        new = self.steps - max(self._published_step, 0)
        soon = options.publish_every_s is not None and now - self._last_release >= options.publish_every_s
        if first or new >= options.publish_every_steps or (new > 0 and soon):
            self.publish(now)

    def publish(self, now: float) -> None:
        """Offer the averaged weights as they are now to the publisher."""
        if not self._held_out:  # later ones are held to what the first one says, and a restarted learner's are, too
            self._measure_held_out()
        average = self.parts.trainer.average
        weights = release_weights(average.state_dict(), self.parts.grid, dict(average.named_buffers()))
        covered, held_out = self.parts.buffer.coverage.covered(), dict(self._held_out)
        self.parts.publisher.offer(Snapshot(self.steps, self.cursor, covered, weights, held_out))
        self._published_step, self._last_release = self.steps, now

    def note_published(self) -> None:
        """Take note of the releases that have gone out."""
        for release in self.parts.publisher.take_published():
            self.release, self._out_step = release.version, release.step
            self.parts.buffer.selection.note_release(release.version)
            self.parts.buffer.coverage.announce(release.covers)
            row = {"kind": "release", "step": release.step, "version": release.version, "covers": release.covers}
            self.parts.metrics.write({**row, "trained_through": release.trained_through, "clock_s": release.clock_s})

    # ------------------------------------------------------------------ figures out

    def figures(self) -> dict[str, Any]:
        """What a row of the metrics and the report to the hub say."""
        return {
            "clock_s": self.parts.clock.now(),
            "tasks": task_figures(self._tally, self.parts.buffer, self.parts.sampler, self._held_out),
            "left_out": self.parts.buffer.selection.left_out,
            "label_version": self.parts.algorithm.version,
            "replay_ratio": self._online_draws / self.intake.frames if self.intake.frames else 0.0,
            "rate": self.parts.trainer.rate(self.steps),
            "lag_s": self._pace.lag_s,
            "steps_lost": self._pace.lost,
            **self._tally.row(),
        }

    def _report_if_due(self, now: float) -> None:
        if now - self._last_report < self.options.report_every_s:
            return
        self._last_report = now
        self.parts.publisher.report(self.status())

    def status(self) -> LearnerStatus:
        """For the fleet view."""
        parts = self.parts
        lost = (self.intake.lost, parts.relabelling.alarm, parts.feeder.alarm)
        heard = (parts.publisher.alarm, parts.recall.alarm, *lost, str(parts.algorithm.alarm), weightless(parts.buffer))
        return LearnerStatus(
            run=self.run,
            step=self.steps,
            release=self.release,
            cursor=self.cursor,
            parked=self.parked,
            lag_s=self._pace.lag_s,
            figures=self._row or self.figures(),
            alarm=next(filter(None, (self._stalled, *heard)), ""),
            # A parked learner makes no newer ones: their age must not keep the hub's disk full.
            checkpoint=parts.checkpoints.newest if self.parked else parts.checkpoints.cursor,
            answered=parts.recall.answered,
        )

    # ------------------------------------------------------------------ restart

    def _checkpoint_if_due(self, now: float) -> None:
        # The first one as soon as robots run a release: a learner without any starts over from the base.
        first = not self._checkpointed and self.release > 0
        if first or now - self._last_checkpoint >= self.options.checkpoint_every_s:
            self._last_checkpoint, self._checkpointed = now, True
            self.parts.checkpoints.offer(self.checkpoint())

    def checkpoint(self) -> Checkpoint:
        """Copies of everything that the rest of the run depends on.

        Raises CheckpointInvalid for a state of the algorithm that can't be kept.
        """
        parts = self.parts
        arrays = {f"trainer.{name}": array for name, array in exact_weights(parts.trainer.state()).items()}
        arrays |= {f"sampler.{name}": array for name, array in parts.sampler.state().items()}
        arrays |= {"draws": parts.buffer.all_draws(), "epoch": np.array(self.intake.epoch)}
        arrays |= {"ledger": parts.buffer.episodes.ledger(), "online_draws": np.array(self._online_draws)}
        arrays["demonstrated"] = np.array(len(parts.buffer.episodes.ledger(self.intake.demonstrated)))
        own_arrays, own = divided(parts.algorithm.state_dict())
        arrays |= {f"algorithm.{name}": value for name, value in own_arrays.items()}
        return Checkpoint(
            run=self.run,
            step=self.steps,
            cursor=self.cursor,
            release=self.release,
            config_hash=config_hash(parts.trainer.policy.config),
            arrays=arrays,
            uncovered=tuple(parts.buffer.coverage.ids),
            algorithm=own,
            algorithm_name=parts.algorithm.name,
            tasks=tuple(parts.buffer.tasks),
            publishing=self._published_step > self._out_step,
            quiet_s=parts.clock.now() - self.intake.last_news,
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take back the counters, once the parts are restored (see `restart.py`)."""
        self.release = checkpoint.release
        self.parts.buffer.selection.note_release(checkpoint.release)
        self._published_step = self._out_step = checkpoint.step if checkpoint.release else -1
        self.intake.epoch = tuple(checkpoint.arrays.get("epoch", self.intake.epoch))
        self._last_checkpoint, self._checkpointed = self.parts.clock.now(), True
        self.intake.last_news = self.parts.clock.now() - checkpoint.quiet_s
        self._online_draws = int(checkpoint.arrays["online_draws"])
        self.intake.journey = Journey(self.parts.clock)
