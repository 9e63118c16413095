"""The contract of a robot. Its checks reset it; a simulated one they move too, a real one they leave where it is."""

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fleetloop.actor.options import ActorOptions
from fleetloop.actor.rollout import rollout
from fleetloop.cli.check.findings import Broken, expect
from fleetloop.core.clock import Clock
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.judge import SIMULATOR
from fleetloop.core.operator import Expert
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import OffersExpert, OffersOutcome, OffersStill, Robot, simulated, unfit
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.core.task import Task
from fleetloop.lab.stage import ExpertOperator

SEEDS = (1, 2, 3)
TICKS = 20
ALONG = 50  # ticks of an episode along which it is looked at: some break only on their way
LONGEST = 1000  # ticks that an episode is given to come to its end
UNMEASURED = "give the two one name, shape, unit and fields; or clear the room around it, and `--move` sends zeros"


@dataclass(frozen=True)
class RobotSubject:
    """A robot, and what may be sent to it.

    Attributes:
        clock: the one that it was made with; ticks are as far apart by it as the robot's `control_hz` says.
        move: whether a robot that is not simulated may be sent what moves it.
    """

    robot: Robot
    task: Task
    clock: Clock
    move: bool = False

    @property
    def simulated(self) -> bool:
        return simulated(self.robot)

    def fresh(self, seed: int = SEEDS[0]) -> Observation:
        """What is observed right after a reset."""
        self.robot.reset(self.task, seed)
        return self.robot.observe()

    def ticks(self, count: int) -> Iterator[int]:
        """0, 1, …, each when it is due."""
        began = self.clock.now()
        for tick in range(count):
            self.clock.sleep_until(began + tick / self.robot.spec.control_hz)
            yield tick

    def still(self, seen: Observation) -> FloatArray | None:
        """(A,) the action that leaves the robot as it was `seen`; None where it does not measure what it is sent.

        Raises Broken if what it measures is no action.
        """
        action = self.robot.spec.action
        if _quantity(action) not in map(_quantity, self.robot.spec.state):
            return None
        measured = np.array(seen.state[action.name], np.float32)
        fine = measured.shape == action.shape and bool(np.isfinite(measured).all())
        expect(fine, f"it measures {action.name} as {measured}, which can't be sent", "mend the driver")
        return measured

    def action(self, seen: Observation, seed: int = 0) -> FloatArray:
        """(A,) what is sent: to a simulated robot its expert's or a small one, to a real one what leaves it as `seen`.

        Raises Broken where that is not known and the robot may not be moved.
        """
        if self.simulated and isinstance(self.robot, OffersExpert):
            return self.robot.expert().action()
        feature = self.robot.spec.action
        if self.simulated:
            return _small(feature, seed)
        still = self.still(seen)
        if still is not None:
            return still
        expect(self.move, f"nothing was sent: no state feature is measured as {feature.name} is sent", UNMEASURED)
        return np.clip(np.zeros(feature.shape, np.float32), *_limits(feature))


def specification(subject: RobotSubject) -> None:
    """Its specification can be written into every episode and read back."""
    spec = subject.robot.spec
    expect(isinstance(spec, RobotSpec), f"`spec` is a {type(spec).__name__}", "make it a RobotSpec")
    again = RobotSpec.from_json(json.loads(json.dumps(spec.to_json())))
    expect(again == spec, "it reads back as another", "use plain numbers, texts and tuples in the specification")
    names = [feature.name for feature in spec.state] + [camera.name for camera in spec.cameras]
    expect(len(set(names)) == len(names), f"two features or cameras share a name: {names}", "give each its own")
    expect(len(spec.action.shape) == 1, f"the action has the shape {list(spec.action.shape)}", "flatten it to one axis")


def resetting(subject: RobotSubject) -> None:
    """A reset says what the robot is told and how long it took."""
    start = subject.robot.reset(subject.task, SEEDS[0])
    told = getattr(start, "instruction", "")
    expect(isinstance(told, str) and bool(told), f"it returned {start!r}", "return EpisodeStart(instruction, seconds)")
    expect(start.reset_s >= 0, f"it took {start.reset_s} s", "say clock seconds, 0 or more")


def observing(subject: RobotSubject) -> None:
    """What it observes is what its specification says: names, shapes, dtypes, finite numbers."""
    robot, seen = subject.robot, subject.fresh()
    _fits(seen, robot.spec)
    for number in subject.ticks(ALONG):
        if subject.simulated:  # a real one is looked at where it stands
            robot.act(subject.action(seen, number))
        seen = robot.observe()
        try:
            _fits(seen, robot.spec)
        except Broken as broken:
            raise Broken(f"{broken.problem}, {number + 1} ticks after a reset", broken.remedy) from broken


def _fits(seen: Observation, spec: RobotSpec) -> None:
    """Raise Broken unless it does."""
    expect(bool(np.isfinite(seen.taken)), f"`taken` is {seen.taken}", "say the clock seconds at which it was observed")
    expected = {feature.name for feature in spec.state}
    expect(
        set(seen.state) == expected, f"state holds {sorted(seen.state)}", f"the specification says {sorted(expected)}"
    )
    for feature in spec.state:
        array = np.asarray(seen.state[feature.name])
        given = f"{feature.name} is {array.dtype}{list(array.shape)}"
        expect((array.shape, array.dtype.name) == (feature.shape, feature.dtype), given, f"say {feature.describe()}")
        expect(bool(np.isfinite(array).all()), f"{feature.name} holds numbers that are not finite", "mend the driver")
    expect(set(seen.images) == {item.name for item in spec.cameras}, f"images: {sorted(seen.images)}", "one per camera")
    for camera in spec.cameras:
        image, wanted = np.asarray(seen.images[camera.name]), (camera.height, camera.width, 3)
        given = f"{camera.name} is {image.dtype}{list(image.shape)}"
        expect((image.shape, image.dtype.name) == (wanted, "uint8"), given, f"it must be uint8{list(wanted)}")
        expect(
            camera.name in seen.images_taken, f"{camera.name} has no time in `images_taken`", "say when it was taken"
        )


def handing_out(subject: RobotSubject) -> None:
    """Arrays that it hands out are never written to again."""
    seen = subject.fresh()
    kept = {name: np.array(array) for name, array in (*seen.state.items(), *seen.images.items())}
    for number in subject.ticks(3):
        subject.robot.act(subject.action(seen, number))
        subject.robot.observe()
    for name, array in (*seen.state.items(), *seen.images.items()):
        expect(np.array_equal(kept[name], array), f"{name} changed after it was handed out", "hand out copies")


def acting(subject: RobotSubject) -> None:
    """`act` returns what was really sent: float32, finite, within the stated limits."""
    seen = subject.fresh()
    feature, action = subject.robot.spec.action, subject.action(seen)
    before = action.copy()
    sent = subject.robot.act(action)
    expect(isinstance(sent, np.ndarray), f"it returned {type(sent).__name__}", "return the action that was sent")
    given = f"it returned {sent.dtype}{list(sent.shape)}"
    expect((sent.shape, sent.dtype.name) == (feature.shape, "float32"), given, f"return float32{list(feature.shape)}")
    expect(bool(np.isfinite(sent).all()), "it returned numbers that are not finite", "return what was sent")
    low, high = _limits(feature)
    inside = bool(((sent >= low - 1e-5) & (sent <= high + 1e-5)).all())
    expect(inside, f"it says that it sent {sent}, outside of {low} to {high}", "limit first, and return what is left")
    expect(np.array_equal(before, action), "it wrote to the action that it was given", "work on a copy")


def standing_still(subject: RobotSubject) -> None:
    """What it would be sent while nobody acts, if it says so, can be sent."""
    if not isinstance(subject.robot, OffersStill):
        return
    subject.robot.act(subject.action(subject.fresh()))
    still, shape = subject.robot.still(), subject.robot.spec.action.shape
    expect(not unfit(still, shape), f"`still` {unfit(still, shape)}", "return what leaves it where it is, float32[A]")
    sent = subject.robot.act(np.asarray(still, np.float32))
    expect(np.allclose(sent, still), f"it sends {sent} for it, not {still}", "say what lies within the limits")


def limiting(subject: RobotSubject) -> None:
    """A simulated robot limits an action that is far too large."""
    feature = subject.robot.spec.action
    if not subject.simulated or feature.low is None or feature.high is None:
        return
    subject.fresh()
    sent = subject.robot.act(np.full(feature.shape, 1e3, np.float32))
    expect(bool((sent <= feature.high + 1e-5).all()), f"1000 was sent as {sent.max():.3g}", "clip before you send")


def seeding(subject: RobotSubject) -> str | None:
    """A simulated reset repeats under the same seed."""
    if not subject.simulated:
        return None
    first, again, *others = (subject.fresh(seed) for seed in (SEEDS[0], *SEEDS))
    expect(_alike(first, again), "the same seed gave another start", "draw everything from `seed`")
    if all(_alike(first, other) for other in others):
        return f"the seeds {SEEDS} all gave the same start; if it is not meant to be fixed, draw it from `seed`"
    return None


def keeping_up(subject: RobotSubject) -> None:
    """Observing and acting together take less than a tick, in the median."""
    seen = subject.fresh()
    took = statistics.median(_tick_s(subject, seen) for _ in subject.ticks(TICKS))
    tick = 1 / subject.robot.spec.control_hz
    expect(
        took < tick, f"they take {took * 1e3:.1f} ms of {tick * 1e3:.1f} ms", "wait for nothing, or lower control_hz"
    )


def knowing_the_end(subject: RobotSubject) -> None:
    """Its own rule says nothing right after a reset."""
    robot = subject.robot
    if not isinstance(robot, OffersOutcome):
        return
    seen = subject.fresh()
    said = robot.outcome()
    expect(said is None or isinstance(said, Outcome), f"it says {said!r}", "say None, or one of core's Outcome")
    expect(said is None, f"it says {said!r}", "forget the last episode in `reset`")
    if not subject.simulated or isinstance(robot, OffersExpert):  # an expert's attempts come to an end below
        return
    for number in subject.ticks(min(LONGEST, round(subject.task.time_limit_s * robot.spec.control_hz))):
        robot.act(subject.action(seen, number))
        said = robot.outcome()
        expect(said is None or isinstance(said, Outcome), f"it says {said!r}", "say None, or one of core's Outcome")
        if said is not None:
            return


def having_an_expert(subject: RobotSubject) -> None:
    """Its expert, if it has one, says actions and progress; a simulated robot's does the task in one of a few tries."""
    robot = subject.robot
    if not isinstance(robot, OffersExpert):
        return
    subject.fresh()
    expert: Expert = robot.expert()
    action, progress = expert.action(), expert.progress()
    given = f"it says {action.dtype}{list(action.shape)}"
    wanted = robot.spec.action.shape
    expect((action.shape, action.dtype.name) == (wanted, "float32"), given, f"say float32{list(wanted)}")
    expect(isinstance(progress, float), f"progress is a {type(progress).__name__}", "say a float that grows")
    if subject.simulated and isinstance(robot, OffersOutcome):
        ended = [_attempt(subject, seed) for seed in SEEDS]
        said = robot.outcome()  # the last attempt is over
        expect(said is None or isinstance(said, Outcome), f"it says {said!r}", "say None, or one of core's Outcome")
        expect(Outcome.SUCCESS in ended, f"it ended in {', '.join(ended)}", "mend the expert or the success rule")


CHECKS = (
    specification,
    resetting,
    observing,
    handing_out,
    acting,
    standing_still,
    limiting,
    seeding,
    keeping_up,
    knowing_the_end,
    having_an_expert,
)


def _quantity(feature: FeatureSpec) -> tuple[object, ...]:
    return feature.name, feature.shape, feature.unit, feature.fields


def _limits(feature: FeatureSpec) -> tuple[float, float]:
    return (-np.inf if feature.low is None else feature.low), (np.inf if feature.high is None else feature.high)


def _small(feature: FeatureSpec, seed: int) -> FloatArray:
    low, high = (-1.0 if feature.low is None else feature.low), (1.0 if feature.high is None else feature.high)
    middle, reach = (low + high) / 2, 0.1 * (high - low)
    return (middle + reach * np.random.default_rng(seed).uniform(-1, 1, feature.shape)).astype(np.float32)


def _attempt(subject: RobotSubject, seed: int) -> Outcome:
    robot = subject.robot
    judge, operator = SIMULATOR.build(robot), ExpertOperator(robot)
    options = ActorOptions(takeover_grace=1)
    return rollout(robot, None, subject.task, seed, judge=judge, operator=operator, options=options).outcome


def _tick_s(subject: RobotSubject, fresh: Observation) -> float:
    action = subject.action(fresh)
    began = time.perf_counter()
    subject.robot.observe()
    subject.robot.act(action)
    return time.perf_counter() - began


def _alike(one: Observation, other: Observation) -> bool:
    """By the state; by the pictures where there is nothing else."""
    ours, theirs = (seen.state or seen.images for seen in (one, other))
    return ours.keys() == theirs.keys() and all(np.array_equal(array, theirs[name]) for name, array in ours.items())
