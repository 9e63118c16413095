"""Synthetic metadata: what the buffer knows of an episode, without a file."""

from typing import Any

import numpy as np

from fleetloop.core.outcome import Judge, Outcome
from fleetloop.learner.buffer.entry import Entry
from fleetloop.learner.buffer.samples import FACTS


def entry(id: str, frames: Any, *, weight: Any = 1.0, indicator: Any = -1, **changes: Any) -> Entry:
    """An online episode of `task` that starts a sample at each of these frames."""
    facts = np.zeros(len(frames), FACTS)
    facts["frame"], facts["targets"], facts["human"], facts["indicator"] = frames, 1, True, indicator
    values = {
        "task": "task",
        "purpose": "online",
        "instruction": "do it",
        "site": "site-1",
        "robot": "robot-1",
        "outcome": Outcome.SUCCESS,
        "judge": Judge.SIMULATOR,
        "quality": None,
        "release": 1,
    }
    return Entry(id=id, facts=facts, weight=np.broadcast_to(np.float32(weight), len(frames)), **(values | changes))
