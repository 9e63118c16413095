"""The experiments, as data: what is asked, under which setting, and which arms are set side by side."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from fleetloop.core.errors import PluginBroken, UnknownName
from fleetloop.core.plugins import plugin
from fleetloop.lab.arms import (
    RECAP,
    Expert,
    MoreDemonstrations,
    MoreSteps,
    OfflineRounds,
    Online,
    Pretrained,
    Watch,
)
from fleetloop.lab.experiment import Claim, Experiment, Setting
from fleetloop.lab.plan import Choice, RobotPlan

RESTOCK = ("restock/shelf", "restock/misplaced", "restock/freezer", "restock/cooler")
LAUNDRY = ("laundry/fold",)
BOX = ("box/walls", "box/assemble")
THREE = ("restock/shelf", "laundry/fold", "box/walls")
SITES = tuple(range(1, 9))
TINY_POLICY = Choice("flow", {"width": 32, "depth": 1, "words": 8})
# Enough for a base of .5 to .7, far from enough for a good policy.
WHOLE: Mapping[str, int] = {
    "restock/shelf": 60,
    "restock/misplaced": 80,
    "restock/freezer": 120,
    "restock/cooler": 60,
    "laundry/fold": 40,
    "box/walls": 48,
    "box/assemble": 320,
}
WHOLE_OF_THREE: Mapping[str, int] = {"restock/shelf": 80, "laundry/fold": 24, "box/walls": 24}


def _turned(tasks: tuple[str, ...], turn: int) -> tuple[str, ...]:
    """Robots begin with different tasks, so that all tasks are worked at from the start."""
    return tasks[turn % len(tasks) :] + tasks[: turn % len(tasks)]


def _robots(*families: tuple[tuple[str, ...], int]) -> tuple[RobotPlan, ...]:
    """So many robots of each family, every one at a site of its own."""
    entries = [(tasks, turn) for tasks, number in families for turn in range(number)]
    return tuple(
        RobotPlan(f"robot-{site}", site, _turned(tasks, turn)) for site, (tasks, turn) in enumerate(entries, start=1)
    )


def _places(robots: tuple[RobotPlan, ...]) -> dict[str, tuple[int, ...]]:
    """Each task is evaluated where robots work at it."""
    tasks = sorted({task for robot in robots for task in robot.tasks}, key=list(WHOLE).index)
    return {task: tuple(robot.site for robot in robots if task in robot.tasks) for task in tasks}


def quick(setting: Setting) -> Setting:
    """The same, in seconds: it shows that everything works, and nothing else."""
    return replace(
        setting,
        demonstrations=dict.fromkeys(setting.demonstrations, 4),
        minutes=0.25,
        episodes=2,
        watch_every_s=5.0,
        watch_episodes=1,
        pretrain_steps=20,
        batch=16,
        policy=TINY_POLICY,
        algorithms={"recap": {"value_steps": 10, "refresh_every": 20, "refresh_steps": 5}},
    )


# One robot brings so little that its samples reach `max_replay` within the hour, and then nobody draws them any more.
UNLIMITED = {"sampler": {"max_replay": 1_000_000}}
TEN = _robots((RESTOCK, 4), (LAUNDRY, 3), (BOX, 3))
LIVE = Choice("recap", {"value": "live"})
ROLLOUTS = 0.1
# Beside `positive` at 1, which is what robots do.
GUIDANCE = (("negative", 1.0), ("", 1.0), ("positive", 1.5), ("positive", 2.0), ("positive", 2.5))
# At 4 steps a second seven tasks are learned too slowly for an hour: .957 in place of .971 (HG-DAgger, seed 0).
_ten = Setting(
    robots=TEN,
    places=_places(TEN),
    demonstrations=WHOLE,
    pretrain_steps=5000,
    steps_per_s=8.0,
    algorithms={"recap": {"refresh_every": 2000}},  # every 250 s, as at 4 steps a second
)
MAIN = Experiment(
    "main",
    "What is each way of post-training worth, for ten robots with seven tasks?",
    _ten,
    quick(_ten),
    (
        Expert(),
        Pretrained(),
        MoreSteps(),
        Online("fleet-hg-dagger"),
        Online("fleet-two-hours", times=2.0),
        MoreDemonstrations(needs="fleet-hg-dagger"),
        MoreDemonstrations(needs="fleet-hg-dagger", name="demonstrations-at-sites", deployed=True),
        Online("single-hg-dagger", robots=1, generalist=True),
        Online("single-unlimited", robots=1, generalist=True, learner=UNLIMITED),
        OfflineRounds(),
        Online("fleet-recap-frozen", algorithm=RECAP, rollouts=ROLLOUTS),
        Online("fleet-recap-live", algorithm=LIVE, acts=GUIDANCE),
        Online("recap-unaided", algorithm=LIVE, helped=False),
        Online("own-successes", algorithm=Choice("bc", {"successful_online": True}), helped=False),
    ),
    claims=(
        Claim("more-steps", "pretrained"),
        Claim("more-demonstrations", "pretrained"),
        Claim("fleet-hg-dagger", "pretrained"),
        Claim("fleet-hg-dagger", "more-steps"),
        Claim("fleet-hg-dagger", "more-demonstrations"),
        Claim("fleet-hg-dagger", "demonstrations-at-sites"),
        Claim("fleet-two-hours", "fleet-hg-dagger"),
        Claim("fleet-hg-dagger", "single-hg-dagger"),
        Claim("fleet-hg-dagger", "single-unlimited"),
        Claim("offline-recap", "pretrained"),
        Claim("fleet-recap-frozen", "offline-recap"),
        Claim("fleet-recap-live", "offline-recap"),
        Claim("fleet-recap-live", "fleet-recap-frozen"),
        Claim("recap-unaided", "pretrained"),
        Claim("recap-unaided", "more-steps"),
        Claim("own-successes", "pretrained"),
        Claim("own-successes", "more-steps"),
        Claim("own-successes", "recap-unaided"),
    ),
)

_eight = tuple(RobotPlan(f"robot-{site}", site, _turned(THREE, site - 1)) for site in SITES)
_three = Setting(
    robots=_eight,
    places=dict.fromkeys(THREE, SITES),
    demonstrations=WHOLE_OF_THREE,
    anneal_from=1.0,  # how long a run lasts is what is asked: its rate must not depend on that
)
TARGET = 0.8
FLEET = Experiment(
    "fleet",
    "Does a larger fleet learn faster, at the same learner's budget per time?",
    _three,
    quick(_three),
    (
        Expert(),
        Pretrained(),
        MoreSteps(),
        Online("robots-1", robots=1, watch=Watch(until=TARGET, longest=3.0)),
        Online("robots-1-unlimited", robots=1, learner=UNLIMITED, watch=Watch(until=TARGET, longest=3.0)),
        *(Online(f"robots-{number}", robots=number, watch=Watch()) for number in (2, 4, 8)),
    ),
    claims=(
        *(Claim(f"robots-{number}", "pretrained") for number in (1, 2, 4, 8)),
        *(Claim(f"robots-{number}", "more-steps") for number in (1, 2, 4, 8)),
        *(Claim(f"robots-{number}", "robots-1") for number in (2, 4, 8)),
        Claim("robots-4", "robots-1-unlimited"),
        Claim("robots-8", "robots-4"),
    ),
)

_four = replace(_three, robots=_eight[:4], places=dict.fromkeys(THREE, SITES[:4]), anneal_from=0.6)
SHARES = (("1-8", 1 / 8), ("1-2", 1 / 2), ("1", 1.0), ("2", 2.0), ("4", 4.0), ("8", 8.0))
"""Of the demonstrations; past the last doublings they bring as little as the reference's last one."""
DOUBLINGS = (("1-2", "1"), ("1", "2"), ("2", "4"), ("4", "8"))
PRETRAINING = Experiment(
    "pretraining",
    "How does what comes online depend on the base, and are more demonstrations worth as much?",
    _four,
    quick(_four),
    (
        Expert(),
        *(Pretrained(f"base-{name}", share=share) for name, share in SHARES),
        *(MoreSteps(f"longer-{name}", share=share) for name, share in SHARES[2:]),
        *(Online(f"online-{name}", share=share) for name, share in SHARES[:-1]),
    ),
    claims=(
        *(Claim(f"base-{twice}", f"base-{once}") for once, twice in DOUBLINGS),
        *(Claim(f"longer-{twice}", f"longer-{once}") for once, twice in DOUBLINGS[1:]),
        *(Claim(f"online-{name}", f"base-{name}") for name, _ in SHARES[:-1]),
        *(Claim(f"online-{name}", f"longer-{name}") for name, _ in SHARES[2:-1]),
    ),
)

_half = replace(_four, minutes=30.0)  # half as long: many arms, and samplers differ most while there is much to learn


def _sampled(name: str, **options: Any) -> Online:
    """By a sampler with other options."""
    return Online(name, learner={"sampler": options})


SAMPLER = Experiment(
    "sampler",
    "What is the adaptive sampler worth, and what should its numbers be?",
    _half,
    quick(_half),
    (
        Expert(),
        Pretrained(),
        MoreSteps(),
        Online("adaptive"),
        *(
            _sampled(f"fixed-{share}", least_online=share, most_online=share, cold_start_online=share)
            for share in (0.2, 0.5, 0.8)
        ),
        Online("uniform", uniform=True),
        *(_sampled(f"tasks-{across}", across_tasks=across) for across in ("uniform", "success")),
        *(_sampled(f"a-{boost}", boost=boost) for boost in (1.05, 1.5, 2.0, 4.0)),
        *(_sampled(f"w-{window}", window=window) for window in (50, 800)),
        *(_sampled(f"replay-{most}", max_replay=most) for most in (50, 1000)),
    ),
    claims=(
        Claim("adaptive", "pretrained"),
        Claim("adaptive", "more-steps"),
        *(Claim("adaptive", f"fixed-{share}") for share in (0.2, 0.5, 0.8)),
        Claim("adaptive", "uniform"),
        *(Claim("adaptive", f"tasks-{across}") for across in ("uniform", "success")),
        *(Claim("adaptive", f"a-{boost}") for boost in (1.05, 1.5, 2.0, 4.0)),
        *(Claim("adaptive", f"w-{window}") for window in (50, 800)),
        *(Claim("adaptive", f"replay-{most}") for most in (50, 1000)),
    ),
)

GRIDS = (0, 2, 4)
GRID = Experiment(
    "grid",
    "What do weights that are published on a grid cost in success?",
    _half,
    quick(_half),
    (
        Expert(),
        Pretrained(),
        Online("every-bf16"),
        *(Online(f"grid-{exponent}", learner={"publish_grid": exponent}) for exponent in GRIDS),
    ),
    claims=tuple(Claim(f"grid-{exponent}", "every-bf16") for exponent in GRIDS),
)

KEPT = ("restock/cooler", "box/walls")
"""What nobody works at online."""
_five = (
    RobotPlan("robot-1", 1, ("restock/shelf", "restock/misplaced", "restock/freezer")),
    RobotPlan("robot-2", 2, ("restock/freezer", "restock/shelf", "restock/misplaced")),
    RobotPlan("robot-5", 5, LAUNDRY),
    RobotPlan("robot-8", 8, ("box/assemble",)),
)
_kept = replace(
    _ten,
    robots=_five,
    places={**_places(_five), "restock/cooler": (1, 2), "box/walls": (8,)},
    episodes=200,
)
RETENTION = Experiment(
    "retention",
    "What does a policy lose of the tasks that nobody works at any more?",
    _kept,
    quick(_kept),
    (Pretrained(), Online("replayed"), Online("not-replayed", without=KEPT)),
    claims=(Claim("replayed", "pretrained"), Claim("not-replayed", "pretrained"), Claim("replayed", "not-replayed")),
)

EXPERIMENTS = {item.name: item for item in (MAIN, FLEET, PRETRAINING, SAMPLER, GRID, RETENTION)}
"""Ours."""


def names() -> list[str]:
    """Of all experiments: ours, and those of other packages, the entry points `fleetloop.experiments`."""
    others = {point.name for point in entry_points(group="fleetloop.experiments")}
    return [*EXPERIMENTS, *sorted(others - EXPERIMENTS.keys())]


def experiment(name: str) -> Experiment:
    """Of ours, or of another package.

    Raises:
        UnknownName: naming the experiments there are.
        PluginBroken: if another package's can't be imported, or is none of that name.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    if name not in names():
        raise UnknownName(f"experiment {name}", "does not exist", f"known: {', '.join(names())}")
    found = plugin("experiments", name)
    if not isinstance(found, Experiment) or found.name != name:
        problem = f"is {f'called {found.name!r}' if isinstance(found, Experiment) else 'no Experiment'}"
        raise PluginBroken(f"experiments: {name}", problem, "let the entry point and the Experiment have one name")
    return found
