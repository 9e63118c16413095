"""Toy robots and toy experience for policies: quick to learn, and only learnable by what the test is about."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fleetloop.core.frame import Observation
from fleetloop.core.policy import Batch
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.robot import sim_spec

GRIPPERS = sim_spec()
NAMES = next(feature.categories for feature in GRIPPERS.state if feature.name == "names")
THINGS = ("milk", "soup", "cereal", "soap", "juice", "coffee")
VECTOR = RobotSpec(
    "vector",
    (FeatureSpec("joints", (3,)), FeatureSpec("forces", (2, 2))),
    FeatureSpec("action", (2,)),
    10.0,
)
SMALL = {"width": 64, "depth": 2, "horizon": 4, "execute": 2}


def fresh(robot: RobotSpec, seed: int = 0, **config: Any) -> FlowPolicy:
    torch.manual_seed(seed)
    return FlowPolicy.build({**SMALL, **config}, robot)


def batch_of(state: dict[str, np.ndarray], actions: np.ndarray, **changes: Any) -> Batch:
    """All of it training fully, under one instruction."""
    size, horizon = actions.shape[:2]
    batch = Batch(
        state=state,
        seen={},
        instructions=("do it",),
        instruction=np.zeros(size, np.int64),
        actions=actions.astype(np.float32),
        mask=np.ones((size, horizon), np.float32),
        indicator=np.full(size, -1, np.int8),
        task=np.zeros(size, np.int64),
        online=np.zeros(size, bool),
    )
    return replace(batch, **changes)


def vectors(rng: np.random.Generator, size: int, **changes: Any) -> Batch:
    """Of VECTOR: each action is a mix of the state, larger the later its tick."""
    joints = rng.uniform(-1, 1, (size, 3)).astype(np.float32)
    forces = rng.uniform(-1, 1, (size, 2, 2)).astype(np.float32)
    aim = np.stack([joints[:, 0] - joints[:, 1], joints[:, 2] + forces[:, 1, 0]], 1)
    actions = aim[:, None] * np.array([0.7, 0.8, 0.9, 1.0])[:, None]
    return batch_of({"joints": joints, "forces": forces}, actions, **changes)


def scenes(rng: np.random.Generator, size: int, *, labels: bool = True) -> Batch:
    """Of GRIPPERS: four things lie about, and the left gripper goes to the one that the instruction names."""
    hands = np.zeros((size, 2, 8), np.float32)
    hands[:, :, :3] = rng.uniform(-0.3, 0.3, (size, 2, 3))
    hands[:, :, 4], hands[:, :, 6] = 1, -1
    entities = np.zeros((size, 12, 15), np.float32)
    entities[:, :, 3] = entities[:, :, 8] = 1
    entities[:, :4, :3] = rng.uniform(-0.3, 0.3, (size, 4, 3))
    mask = np.zeros((size, 12), np.float32)
    mask[:, :4] = 1
    things = np.array([rng.permutation(len(THINGS))[:4] for _ in range(size)])
    names = np.zeros((size, 12, 2), np.int32)
    names[:, :4, 0] = np.array([NAMES.index(thing) for thing in THINGS])[things]
    slot = rng.integers(0, 4, size)
    rows = np.arange(size)
    goal = np.concatenate([entities[rows, slot, :3], np.zeros((size, 2))], 1)
    stay = np.concatenate([hands[:, 1, :3], np.zeros((size, 2))], 1)
    actions = np.concatenate([goal, stay], 1)[:, None].repeat(4, 1)
    state = {"hands": hands, "entities": entities, "mask": mask, "names": names}
    if labels:
        state["named"] = np.zeros((size, 12), np.int32)
        state["named"][rows, slot] = 1
    instructions = tuple(f"Fetch the {thing}, please" for thing in THINGS)
    return batch_of(state, actions, instructions=instructions, instruction=things[rows, slot].astype(np.int64))


def observation(batch: Batch, row: int) -> Observation:
    return Observation({name: values[row] for name, values in batch.state.items()}, 0.0)


def instruction(batch: Batch, row: int) -> str:
    return batch.instructions[batch.instruction[row]]


def train(policy: FlowPolicy, draw: Any, steps: int, *, rate: float = 3e-3) -> list[float]:
    """Fit the statistics, then take optimizer steps on fresh draws; returns the losses."""
    policy.fit_statistics(draw(2048))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng, losses = torch.Generator().manual_seed(0), []
    policy.train()
    for _ in range(steps):
        loss = policy.loss(draw(128), rng=rng).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    policy.eval()
    return losses
