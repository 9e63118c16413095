"""A whole demo, stage by stage. The edge of its process: signals, workers, and what is left at the end."""

import json
import platform
import resource
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from types import FrameType
from typing import Any

from fleetloop.cli.config import FleetConfig
from fleetloop.cli.config_text import to_yaml
from fleetloop.cli.demo import figures, jobs
from fleetloop.cli.demo.crew import Crew, gather
from fleetloop.cli.demo.figures import Lived, Scores
from fleetloop.cli.demo.fleet import DemoFleet
from fleetloop.cli.demo.place import cleared
from fleetloop.cli.demo.plan import (
    EVALUATION_SEED,
    DemoPlan,
    demonstration_counts,
    evaluation_counts,
    fleet_config,
    free_port,
)
from fleetloop.cli.demo.view import View
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.lab.candidate import Candidate
from fleetloop.lab.evaluation import Tried, score
from fleetloop.weights.signature import make_key

OPERATOR = "scripted (privileged)"
PACKAGES = ("fleetloop", "mujoco", "numpy", "pyarrow", "torch")


class Stages:
    """What a demo spent its time on."""

    def __init__(self, view: View) -> None:
        self.wall_s: dict[str, float] = {}
        self._view, self._clock = view, Wall()

    @contextmanager
    def __call__(self, name: str, words: str) -> Iterator[None]:
        self._view.say(f"{words} …")
        began = self._clock.now()
        yield
        self.wall_s[name] = self._clock.now() - began


def run_demo(plan: DemoPlan, view: View) -> dict[str, Any]:
    """Do it all; returns the report, which is also in the directory. To be called in the main thread.

    Raises:
        ConfigInvalid, DiskTrouble: about the directory.
        ProcessDied, WorkerDied, FleetSlow: if something broke on the way. Nothing is left running.
    """
    clock, disk = Wall(), RealDisk()
    began, stages = clock.now(), Stages(view)
    with _termination_like_ctrl_c(), cleared(plan.directory):
        config, file = _signed(fleet_config(plan, free_port()), plan), plan.directory / "fleet.yaml"
        disk.write(file, to_yaml(config, docs=True).encode())
        with Crew() as crew:
            measured = _prepare(crew, plan, config, stages, view)
            with stages("fleet", f"{plan.robots} robots, a hub, a courier and a learner start"):
                lived, newest = DemoFleet(plan, config, file, view).run()
            measured |= _judge(crew, plan, config, newest, lived, stages)
        with stages("outputs", "drawing the curve"):
            _draw(plan, lived, measured)
        report = _report(plan, lived, measured, stages)
        report |= {"wall_s": clock.now() - began, "cpu_s": _cpu_s()}
        disk.write(plan.directory / "report.json", json.dumps(report, indent=1).encode() + b"\n")
    return report


# ---------------------------------------------------------------------- before and after the fleet


def _signed(config: FleetConfig, plan: DemoPlan) -> FleetConfig:
    """The same with a key of its own: its robots take no release that its learner has not signed."""
    path = plan.directory / "release.key"
    public = make_key(path).public
    return config.model_copy(
        update={"release_keys": (public,), "learner": config.learner.model_copy(update={"signing_key": path})}
    )


def _prepare(crew: Crew, plan: DemoPlan, config: FleetConfig, stages: Stages, view: View) -> dict[str, Scores]:
    counts = demonstration_counts(plan)
    if plan.observe == "images":
        with stages(
            "encoder", "a frozen image encoder learns from rendered frames where things are (privileged labels)"
        ):
            eyes = gather([crew.submit(jobs.train_eyes, config)])[0]
            for task, held in eyes.items():
                view.say(f"  {task}: {100 * held['position_m_median']:.1f} cm off, median, at sites held out")
    with stages("demonstrations", f"the scripted expert (privileged) records {sum(counts.values())} demonstrations"):
        frames = gather([crew.submit(jobs.record, config, task, count) for task, count in counts.items()])
        view.say(f"  {sum(frames)} frames at the nominal site")
    words = (
        f"a base learns from them, {plan.pretrain_steps} steps; base and expert are evaluated where the robots will be"
    )
    with stages("base_expert_before", words):
        training = crew.submit(jobs.train_base, config)
        trying = _try(crew, plan, config, None)
        base = gather([training])[0]
        before, expert = _try(crew, plan, config, base), _scores(trying)
        measured = {"before": _scores(before), "expert": expert}
        view.say(f"  success: base {_average(measured['before']):.2f}, expert {_average(expert):.2f}")
    return measured


def _judge(
    crew: Crew, plan: DemoPlan, config: FleetConfig, newest: Candidate, lived: Lived, stages: Stages
) -> dict[str, Scores]:
    steps = lived.releases[0].step
    words = f"release {newest.release} is evaluated; a control takes the same {steps} steps on the demonstrations alone"
    with stages("after_control", words):
        # A release before the learner's first step leaves the control where the base is.
        training = crew.submit(jobs.train_control, config, plan.directory / "control", max(steps, 1))
        after = _try(crew, plan, config, newest)
        control = _try(crew, plan, config, gather([training])[0])
        return {"after": _scores(after), "control_after": _scores(control)}


Trying = Mapping[str, "list[Future[list[Tried]]]"]


def _try(crew: Crew, plan: DemoPlan, config: FleetConfig, candidate: Candidate | None) -> Trying:
    """A job for each task and site; no candidate: the expert."""
    return {
        task: [
            crew.submit(jobs.try_at_site, config, candidate, task, site, episodes, EVALUATION_SEED + site)
            for site, episodes in evaluation_counts(plan).items()
            if episodes
        ]
        for task in plan.tasks
    }


def _scores(trying: Trying) -> Scores:
    done = {task: gather(futures) for task, futures in trying.items()}
    return {task: score(list(chain.from_iterable(sites))) for task, sites in done.items()}


def _average(scores: Scores) -> float:
    return sum(item.rate for item in scores.values()) / len(scores)


# ---------------------------------------------------------------------- outputs


def _draw(plan: DemoPlan, lived: Lived, measured: Mapping[str, Scores]) -> None:
    from fleetloop.cli.demo.curve import draw  # slow to import

    draw(
        plan.directory / "curve.png",
        list(lived.rows),
        measured,
        began_s=lived.began_s,
        minutes=plan.minutes,
        clock=lived.clock,
    )


def _report(plan: DemoPlan, lived: Lived, measured: Mapping[str, Scores], stages: Stages) -> dict[str, Any]:
    return {
        "tasks": figures.task_figures(measured),
        "average": figures.average_figures(measured),
        **figures.fleet_figures(lived),
        "operator": OPERATOR,
        "seed": plan.seed,
        "options": plan.options(),
        "versions": _versions(),
        "stages_wall_s": stages.wall_s,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # it may run from a source tree
            found[package] = "unknown"
    return found


def _cpu_s() -> float:
    """CPU seconds of this process and of all that it has started and seen end."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def _termination_like_ctrl_c() -> Iterator[None]:
    """A closed terminal or a `kill` unwinds the demo as Ctrl-C does, so that nothing stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
