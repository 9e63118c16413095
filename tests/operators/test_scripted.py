"""The scripted operator beside a fake expert: when it takes over, how long it drives, when it lets go."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from fleetloop.core.errors import ConfigInvalid, SpecMismatch
from fleetloop.core.frame import Observation
from fleetloop.core.operator import Drive, HandBack, View
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.operators.scripted import ScriptedOperator, ScriptedOptions, disagreement

OPTIONS = ScriptedOptions(
    reaction=3, patience=5, stall_ticks=10, least_ticks=8, most_ticks=40, takeovers=2, smoothing=0.5
)
RIGHT = np.zeros(10, np.float32)
SPEC = RobotSpec("grippers", (), FeatureSpec("action", (10,)), 20.0)
FULL = np.array(OPTIONS.full_disagreement, np.float32)
WRONG = np.array([0.03, 0.03, 0.03, 0.15, 1, 0, 0, 0, 0, 0], np.float32)


@dataclass
class FixedExpert:
    """Always wants the same, and sees the task come 0.02 closer at each tick, unless the robot is `stuck`."""

    stuck: bool
    asked: int = 0

    def action(self) -> np.ndarray:
        self.asked += 1
        return RIGHT

    def progress(self) -> float:
        return 0.0 if self.stuck else 0.02 * self.asked


@dataclass
class Gripper:
    """A robot of which the operator needs no more than this."""

    mind: FixedExpert
    spec: RobotSpec = SPEC

    def expert(self) -> FixedExpert:
        return self.mind


@dataclass
class Episode:
    """An operator watching a robot."""

    options: ScriptedOptions = OPTIONS
    attention: bool = True
    stuck: bool = False
    elapsed: float = 0.1
    said: list[Drive | HandBack | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.operator = ScriptedOperator(self.options, Gripper(FixedExpert(self.stuck)))
        self.operator.start("put it there")

    @property
    def driving(self) -> bool:
        return bool(self.said) and isinstance(self.said[-1], Drive)

    def ticks(self, count: int, proposed: np.ndarray | None = RIGHT) -> list[Drive | HandBack | None]:
        """So many more ticks; returns what was said at each."""
        for _ in range(count):
            nothing = Observation({}, 0.0)
            view = View(len(self.said), nothing, proposed, self.attention, self.driving, self.elapsed)
            self.said.append(self.operator.watch(view))
        return self.said[-count:]

    def first(self, kind: type) -> int:
        """The tick at which it first said something of this kind."""
        return next(tick for tick, said in enumerate(self.said) if isinstance(said, kind))


def test_it_leaves_a_policy_alone_that_does_as_the_expert_would():
    episode = Episode()
    assert episode.ticks(200) == [None] * 200
    assert not episode.operator.wants_attention


def test_it_takes_over_from_a_policy_that_errs_and_sends_what_the_expert_wants():
    episode = Episode()
    episode.ticks(30, WRONG)
    assert episode.first(Drive) <= OPTIONS.patience + OPTIONS.reaction + 1
    assert np.array_equal(episode.said[episode.first(Drive)].action, RIGHT)


def test_it_needs_its_reaction_time():
    slow = OPTIONS.model_copy(update={"reaction": OPTIONS.reaction + 4})
    episodes = [Episode(), Episode(slow)]
    for episode in episodes:
        episode.ticks(30, WRONG)
    assert episodes[1].first(Drive) == episodes[0].first(Drive) + 4


def test_a_moment_of_disagreement_shorter_than_its_reaction_passes():
    episode = Episode()
    episode.ticks(20)
    episode.ticks(2, WRONG)
    assert episode.ticks(40) == [None] * 40


def test_the_policy_gets_its_patience_at_the_start():
    patient = Episode(OPTIONS.model_copy(update={"patience": 20}))
    assert patient.ticks(20, WRONG) == [None] * 20
    assert any(patient.ticks(10, WRONG))


def test_without_attention_it_asks_and_waits():
    episode = Episode(attention=False)
    assert episode.ticks(60, WRONG) == [None] * 60
    assert episode.operator.wants_attention
    episode.attention = True
    assert isinstance(episode.ticks(1, WRONG)[0], Drive)


def test_it_no_longer_asks_once_the_policy_is_right_again():
    episode = Episode(attention=False)
    episode.ticks(30, WRONG)
    episode.ticks(10)
    assert not episode.operator.wants_attention


def test_it_takes_over_a_robot_that_makes_no_progress():
    episode = Episode(stuck=True)
    episode.ticks(30)
    assert OPTIONS.stall_ticks < episode.first(Drive) <= OPTIONS.stall_ticks + OPTIONS.reaction


def test_it_goes_on_until_the_task_has_come_closer():
    episode = Episode(stuck=True)
    episode.ticks(40)
    assert episode.driving, "the policy agrees, but nothing has happened yet"
    episode.operator._expert.stuck = False
    episode.ticks(5)
    assert not episode.driving


def test_it_hands_back_when_the_policy_agrees_but_not_before_its_least_time():
    episode = Episode()
    while not episode.driving:
        episode.ticks(1, WRONG)
    start = episode.first(Drive)
    episode.ticks(60)
    assert episode.first(HandBack) - start == OPTIONS.least_ticks
    assert not episode.operator.wants_attention
    assert episode.said[episode.first(HandBack) + 1 :] == [None] * (len(episode.said) - episode.first(HandBack) - 1)


def test_it_goes_on_while_the_policy_disagrees_up_to_its_most_time():
    episode = Episode()
    episode.ticks(80, WRONG)
    assert episode.first(HandBack) - episode.first(Drive) == OPTIONS.most_ticks


def test_after_handing_back_the_policy_gets_its_patience_again():
    episode = Episode()
    episode.ticks(100, WRONG)
    back = episode.first(HandBack)
    silence = next(index for index, said in enumerate(episode.said[back + 1 :]) if isinstance(said, Drive))
    assert silence >= OPTIONS.patience


def test_its_last_takeover_is_driven_to_the_end():
    episode = Episode()
    episode.ticks(400, WRONG)
    assert sum(isinstance(said, HandBack) for said in episode.said) == OPTIONS.takeovers - 1
    assert all(isinstance(said, Drive) for said in episode.ticks(300))


def test_late_in_an_episode_it_finishes_itself():
    episode = Episode(elapsed=OPTIONS.late + 0.01)
    episode.ticks(OPTIONS.reaction + 2)
    assert episode.driving
    assert all(isinstance(said, Drive) for said in episode.ticks(300))


def test_a_new_episode_begins_with_a_clean_slate():
    episode = Episode()
    episode.ticks(400, WRONG)
    episode.operator.start("the next")
    episode.said.clear()
    assert not episode.operator.wants_attention
    assert not any(episode.ticks(100))


def test_a_policy_that_proposes_nothing_is_judged_by_progress_alone():
    moving, stuck = Episode(), Episode(stuck=True)
    assert not any(moving.ticks(100, None))
    assert any(stuck.ticks(100, None))


def test_losing_the_robot_it_takes_it_back_only_for_a_reason():
    episode = Episode()
    episode.ticks(20, WRONG)
    assert episode.driving
    episode.said[-1] = None  # attention was lost: the view says that it no longer drives
    assert not isinstance(episode.ticks(1)[0], HandBack)


@pytest.mark.parametrize(
    ("proposed", "expected"),
    [
        (RIGHT, 0.0),
        (WRONG, (1 + 1 + 1 + 1 + 0.5) / 5),
        (WRONG * 100, 1.0),
        (np.roll(WRONG, 5), 0.9),
        (np.concatenate([WRONG[:5], WRONG[:5]]), 0.9),
    ],
)
def test_disagreement_is_that_of_the_worse_gripper(proposed, expected):
    assert disagreement(proposed.astype(np.float32), RIGHT, FULL) == pytest.approx(expected)


def test_a_robot_without_an_expert_is_refused():
    with pytest.raises(SpecMismatch, match="no expert"):
        ScriptedOperator(OPTIONS, object())


def test_full_disagreement_must_fit_the_action():
    options = OPTIONS.model_copy(update={"full_disagreement": (1.0, 1.0, 1.0, 1.0)})
    with pytest.raises(ConfigInvalid, match="has 4 numbers, and the robot's action 10 axes; say for each axis"):
        ScriptedOperator(options, Gripper(FixedExpert(stuck=False)))
