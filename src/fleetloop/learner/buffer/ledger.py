"""Which samples a checkpoint counted: found again though some episodes can't be read any more, or can again."""

from collections import defaultdict, deque

import numpy as np
import numpy.typing as npt

from fleetloop.learner.buffer.samples import Ids

Ledger = npt.NDArray[np.int64]
"""(rows, 2), as `Table.ledger` tells it: an episode's key and how many samples it has."""


def carried_over(draws: Ids, then: Ledger, now: Ledger) -> tuple[Ids, int, int]:
    """The counts of the samples that are held now, 0 for those that were not then; how many rows are new, and gone.

    `draws`: (samples,) counts, in the order of the rows of `then`.
    """
    counted = defaultdict[int, deque[tuple[int, int]]](deque)
    start = 0
    for key, count in then.tolist():
        counted[key].append((start, count))
        start += count
    found, at, new = np.zeros(int(now[:, 1].sum()), np.int32), 0, 0
    for key, count in now.tolist():
        if counted[key] and counted[key][0][1] == count:
            start, _ = counted[key].popleft()
            found[at : at + count] = draws[start : start + count]
        else:
            new += 1
        at += count
    return found, new, sum(map(len, counted.values()))
