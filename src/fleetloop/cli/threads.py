"""How many threads numpy and torch may use. They read that once, from the environment, when they are first imported.

So this module imports nothing of ours: almost all of it imports numpy.
"""

import os

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(count: int = 1) -> None:
    """Keep numpy and torch to so many threads here and in child processes; what the environment says already holds.

    A small policy gains nothing from more than one, and the processes of a fleet would take the cores from each other.
    """
    for name in VARIABLES:
        os.environ.setdefault(name, str(count))
