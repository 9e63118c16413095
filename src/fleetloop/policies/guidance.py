"""Acting on a condition, and on more of it than there is in the data: classifier-free guidance.

    a = a_uncond + beta (a_cond − a_uncond)

of the estimates of the clean chunk. For the velocity v = (a − x) / (1 − t), which is linear in a, that is the same as
v_uncond + beta (v_cond − v_uncond), the form in which RECAP states it (π*0.6, arXiv 2511.14759). beta = 1 is plain
conditioning and costs one pass of the network instead of two.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.frame import FloatArray
from fleetloop.policies.flow_options import CONDITIONS

Estimate = TypeVar("Estimate", bound=Any)


def condition_rows(condition: str | None, beta: float) -> list[FloatArray]:
    """One-hot (conditions,) rows of the passes that a chunk takes: conditioned, and unconditioned if beta needs it.

    Raises:
        ConfigInvalid: naming a condition that the policy does not know.
    """
    none = np.zeros(len(CONDITIONS), np.float32)
    if condition is None:
        return [none]
    if condition not in CONDITIONS:
        raise ConfigInvalid(
            "condition", f"{condition!r} is unknown to this policy", f"known: {', '.join(sorted(CONDITIONS))}"
        )
    conditioned = none.copy()
    conditioned[CONDITIONS[condition]] = 1
    return [conditioned] if beta == 1 else [conditioned, none]


def guided(estimate: Callable[[Any], Estimate], passes: list[Any], beta: float) -> Estimate:
    """The estimate of one pass, or of two under guidance."""
    conditioned, *others = [estimate(one) for one in passes]
    for unconditioned in others:
        conditioned = unconditioned + beta * (conditioned - unconditioned)
    return conditioned
