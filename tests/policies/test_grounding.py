"""What the pointers find: by the words of an instruction, and by how the entities' names and places relate."""

from dataclasses import replace

import numpy as np
import torch
from toys import GRIPPERS, NAMES, THINGS, fresh, scenes

from fleetloop.core.policy import Batch
from fleetloop.policies.flow import FlowPolicy
from fleetloop.policies.grounding import grounding_loss
from fleetloop.policies.words import padded_ids

SHELVES = np.array([[-0.2, 0.3, 0.0], [0.2, 0.3, 0.0], [-0.2, 0.3, 0.3], [0.2, 0.3, 0.3]], np.float32)


def pointers(policy: FlowPolicy, batch: Batch) -> torch.Tensor:
    state = {name: torch.from_numpy(array) for name, array in batch.state.items()}
    said = torch.from_numpy(batch.instruction)
    return policy.encoder(state, {}, padded_ids(batch.instructions), said).log_pointers


def misplaced(rng: np.random.Generator, size: int) -> Batch:
    """Four labelled shelves, three things on them: the first of the things stands where nothing of its name does."""
    batch = scenes(rng, size)
    names, mask, named = (np.zeros_like(batch.state[name]) for name in ("names", "mask", "named"))
    entities = batch.state["entities"].copy()
    numbers = np.array([NAMES.index(thing) for thing in THINGS])
    for row in range(size):
        labels, order, slots = rng.permutation(numbers)[:4], rng.permutation(3), 3 + rng.permutation(4)
        standing = SHELVES[[3, 1, 2]] + rng.uniform(-0.02, 0.02, (3, 3))  # shelf 0 is the first thing's, and empty
        entities[row, order, :3], names[row, order, 0] = standing, labels[:3]
        entities[row, slots, :3], names[row, slots, 0] = SHELVES, labels
        names[row, slots, 1] = NAMES.index("shelf")
        named[row, order[0]], named[row, slots[0]] = 1, 2
    mask[:, :7] = 1
    state = {**batch.state, "entities": entities, "names": names, "mask": mask, "named": named}
    return replace(batch, state=state, instructions=("put it right",), instruction=np.zeros(size, np.int64))


def test_untrained_no_word_means_anything():
    policy, batch = fresh(GRIPPERS), scenes(np.random.default_rng(0), 200)
    found = pointers(policy, batch)[:, 0].argmax(1).numpy()
    assert np.mean(found == batch.state["named"].argmax(1)) < 0.6, "matching words to things is learned"


def test_where_the_instruction_names_nothing_names_and_places_say_what_is_meant():
    policy, rng = fresh(GRIPPERS), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(policy.encoder.parameters(), lr=3e-3)
    for _ in range(150):
        batch = misplaced(rng, 64)
        loss = grounding_loss(pointers(policy, batch), torch.from_numpy(batch.state["named"])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = misplaced(rng, 200)
    found = pointers(policy, batch).argmax(2).numpy()
    for head in (0, 1):
        assert np.mean(found[:, head] == (batch.state["named"] == head + 1).argmax(1)) > 0.9
