"""What publishing costs the training loop: the built-in policy as it comes, and one of more than 30 M parameters.

A real learner's trainer and publisher, a real hub in another process, one thread for torch. `snapshot`: the copy that
the loop makes itself, beside an optimizer step (medians). In pairs, the loop takes its steps while a release is encoded
and sent in the background, and as many without; the median of the differences is what one release took from the loop.
It is told apart by what Linux counts for the training thread: `no core`, it could have run and had none, which on a
machine that others use says more about them; `lost`, everything else: it waited for the interpreter, or computed more
slowly. `share`: snapshot and loss, of the steps from one release to the next (25). The weights move by AdamW as they
do; the experience is a few demonstrations.
"""

import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from fleetloop.algorithms.bc import BehaviourCloning, BehaviourCloningOptions
from fleetloop.core.clock import Wall
from fleetloop.core.robot import RobotKind
from fleetloop.hub.http.client import HttpHub
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.learner.arrival import prepare
from fleetloop.learner.assemble import identity, open_demonstrations
from fleetloop.learner.base import Base
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.export import release_weights
from fleetloop.learner.holder import Holder
from fleetloop.learner.options import LearnerOptions, SamplerOptions
from fleetloop.learner.pretrain import statistics_batch
from fleetloop.learner.publisher import Publisher, Snapshot
from fleetloop.learner.run import SWITCH_S
from fleetloop.learner.sampler import AdaptiveSampler
from fleetloop.learner.trainer import Trainer
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.plugin import SimOptions
from fleetloop.sim.robot import sim_spec
from fleetloop.sim.scene import CALM
from fleetloop.sim.tasks import sim_task
from fleetloop.weights.blocks import cores
from fleetloop.weights.codec import Blocks
from fleetloop.weights.ladder import Ladder
from shared.hub import running
from shared.report import arguments, show, write

TASK = "box/walls"
POLICIES: Mapping[str, Mapping[str, Any]] = {"demo": {}, "large": {"width": 2048, "depth": 8}}
EVERY_STEPS = LearnerOptions().publish_every_steps
WALL = Wall()


class Bench:
    """A training loop and its publisher."""

    def __init__(self, url: str, config: Mapping[str, Any], batch: int) -> None:
        algorithm, options = BehaviourCloning(BehaviourCloningOptions()), LearnerOptions(batch=batch)
        torch.manual_seed(0)
        self.policy = FlowPolicy.build(dict(config), sim_spec())
        self._buffer, self._batch = ExperienceBuffer(self.policy.spec, max_replay=1 << 30), batch
        with tempfile.TemporaryDirectory() as directory:
            record_demonstrations(
                Path(directory), {sim_task(TASK).task: 4}, RobotKind("sim", SimOptions.under(CALM)), processes=1
            )
            for episode in open_demonstrations(Path(directory)):
                self._buffer.ingest(prepare(episode, algorithm, self.policy.spec))
        self.policy.fit_statistics(statistics_batch(self._buffer, 2048, 0))
        base = Base(self.policy, "flow", sim_spec())
        self._sampler = AdaptiveSampler(SamplerOptions(), 0)
        self._trainer = Trainer(self.policy, algorithm, options.optimizer, 0)
        self._publisher = Publisher(
            HttpHub(url),
            WALL,
            identity("bench", base, algorithm),
            Holder("bench"),
            ladder=Ladder(codec=Blocks(max(1, cores() - 1))),
        )

    def step(self) -> None:
        """One optimizer step, with its batch."""
        draw = self._sampler.draw(self._buffer, self._trainer.step, self._batch)
        batch = self._buffer.gather(draw.samples, draw.task, draw.online)
        self._trainer.train(batch, lambda where: "the bench")

    def snapshot(self) -> tuple[Snapshot, float]:
        """What the loop hands to the publisher, and the seconds that it took."""
        started = time.perf_counter()
        weights = release_weights(self._trainer.average.state_dict())
        return Snapshot(self._trainer.step, 0, (), weights), time.perf_counter() - started

    def release(self) -> dict[str, float]:
        """Seconds of a snapshot, of its release beside the loop, and of what that took from the loop's steps."""
        snapshot, spent = self.snapshot()
        self._publisher.offer(snapshot)
        took: list[float] = []
        thread = threading.Thread(target=lambda: took.append(_timed(self._publisher)))
        marks, steps = [_spent()], 0
        thread.start()
        while thread.is_alive():
            self.step()
            steps += 1
        thread.join()
        marks.append(_spent())
        assert self._publisher.take_published(), self._publisher.alarm
        for _ in range(steps):
            self.step()
        marks.append(_spent())
        beside, alone = np.diff(np.array(marks), axis=0)
        return {
            "snapshot": spent,
            "release": took[0],
            "step": float(alone[0] / steps),
            "lost": float(beside[0] - alone[0]),
            "no core": float(beside[1] - alone[1]),
        }


def _spent() -> tuple[float, float]:
    """Seconds until now: without those in which this thread was ready and had no core, and those."""
    ready = 0.0
    if (counts := Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")).exists():
        ready = int(counts.read_text().split()[1]) / 1e9
    return time.perf_counter() - ready, ready


def _timed(publisher: Publisher) -> float:
    started = time.perf_counter()
    publisher.work(WALL.now())
    return time.perf_counter() - started


def _row(name: str, releases: int, batch: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory, running(Path(directory) / "hub") as url:
        bench = Bench(url, POLICIES[name], batch)
        bench.release()  # the first has no base, and numba's loops are compiled
        rows = [bench.release() for _ in range(releases)]
        took = {key: median(row[key] for row in rows) for key in rows[0]}
    between = EVERY_STEPS * took["step"]
    return {
        "policy": name,
        "parameters": sum(weight.numel() for weight in bench.policy.parameters()),
        "step ms": 1e3 * took["step"],
        "snapshot ms": 1e3 * took["snapshot"],
        "snapshot/step": took["snapshot"] / took["step"],
        "release ms": 1e3 * took["release"],
        "no core ms": 1e3 * took["no core"],
        "lost ms": 1e3 * took["lost"],
        "share %": 100 * (took["snapshot"] + took["lost"]) / between,
    }


def main() -> None:
    given = arguments(__doc__ or "", releases=15, batch=LearnerOptions().batch)
    given.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    said = given.parse_args()
    torch.set_num_threads(1)
    sys.setswitchinterval(SWITCH_S)
    rows = [_row(name, said.releases, said.batch) for name in said.policies]
    show(f"publishing every {EVERY_STEPS} steps, batch {said.batch}", rows)
    write(said.report, {"batch": said.batch, "publisher": rows})


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
