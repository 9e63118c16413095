"""Milliseconds per optimizer step, by part, and per chunk of actions, with the built-in policy as it comes.

`data` draws and gathers a batch, `forward` computes its losses, `backward` their gradient; `rest` is what remains of a
whole step: clipping, AdamW, the moving average, checks. One thread. Medians.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fleetloop.algorithms.bc import BehaviourCloning, BehaviourCloningOptions
from fleetloop.core.clock import Virtual
from fleetloop.core.robot import RobotKind
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.learner.arrival import prepare
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.options import LearnerOptions, SamplerOptions
from fleetloop.learner.pretrain import statistics_batch
from fleetloop.learner.sampler import AdaptiveSampler
from fleetloop.learner.trainer import Trainer
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.plugin import SimOptions
from fleetloop.sim.robot import SimRobot, sim_spec
from fleetloop.sim.scene import CALM
from fleetloop.sim.tasks import sim_task
from shared.report import arguments, show, write

TASKS = ("restock/shelf", "box/walls")
DEMONSTRATIONS = 4
WARM_UP = 10


class Bench:
    """A policy, a little experience, and the stop-watch."""

    def __init__(self, options: LearnerOptions) -> None:
        self._options, self._algorithm = options, BehaviourCloning(BehaviourCloningOptions())
        torch.manual_seed(0)
        self.policy = FlowPolicy.build({}, sim_spec())
        self._buffer = ExperienceBuffer(self.policy.spec, max_replay=1 << 30)
        with tempfile.TemporaryDirectory() as directory:
            counts = {sim_task(id).task: DEMONSTRATIONS for id in TASKS}
            record_demonstrations(Path(directory), counts, RobotKind("sim", SimOptions.under(CALM)), processes=1)
            for episode in open_demonstrations(Path(directory)):
                self._buffer.ingest(prepare(episode, self._algorithm, self.policy.spec))
        self.policy.fit_statistics(statistics_batch(self._buffer, 2048, 0))
        self._sampler = AdaptiveSampler(SamplerOptions(), 0)
        self._trainer = Trainer(self.policy, self._algorithm, options.optimizer, 0)

    def step(self) -> dict[str, float]:
        """Milliseconds of one step's parts."""
        number, marks = self._trainer.step, [time.perf_counter()]
        draw = self._sampler.draw(self._buffer, number, self._options.batch)
        batch = self._buffer.gather(draw.samples, draw.task, draw.online)
        marks.append(time.perf_counter())
        losses = self._algorithm.loss(self.policy.train(), batch, rng=torch.Generator().manual_seed(number))
        marks.append(time.perf_counter())
        losses.mean().backward()
        marks.append(time.perf_counter())
        self._trainer.train(batch, lambda where: "the bench")
        marks.append(time.perf_counter())
        data, forward, backward, train = (1e3 * np.diff(marks)).tolist()
        return {
            "data": data,
            "forward": forward,
            "backward": backward,
            "rest": train - forward - backward,
            "step": data + train,
        }


def chunks(policy: FlowPolicy, count: int) -> list[float]:
    """Milliseconds of each chunk for one robot."""
    robot, task, rng = SimRobot(Virtual(), reset_s=0.0), sim_task(TASKS[0]).task, np.random.default_rng(0)
    start = robot.reset(task, 0)
    observation, spent = robot.observe(), []
    policy.eval()
    for _ in range(count):
        started = time.perf_counter()
        policy.chunk(observation, start.instruction, rng=rng)
        spent.append(1e3 * (time.perf_counter() - started))
    return spent


def main() -> None:
    said = arguments(__doc__ or "", steps=200, batch=LearnerOptions().batch).parse_args()
    torch.set_num_threads(1)
    bench = Bench(LearnerOptions(batch=said.batch))
    taken = [bench.step() for _ in range(WARM_UP + said.steps)][WARM_UP:]
    parts = {name: float(np.median([row[name] for row in taken])) for name in taken[0]}
    spent = chunks(bench.policy, WARM_UP + said.steps)[WARM_UP:]
    per_chunk: dict[str, Any] = {
        "p50": float(np.percentile(spent, 50)),
        "p99": float(np.percentile(spent, 99)),
        "ticks_played": bench.policy.spec.execute,
    }
    parameters = sum(weight.numel() for weight in bench.policy.parameters())
    show(f"ms per optimizer step, batch {said.batch}, {parameters:,} parameters", [parts])
    show("ms per chunk of actions, one robot", [per_chunk])
    write(said.report, {"batch": said.batch, "parameters": parameters, "step_ms": parts, "chunk_ms": per_chunk})


if __name__ == "__main__":
    main()
