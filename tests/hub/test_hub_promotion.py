"""From edge to stable: gates, a canary and its sequential test under a virtual clock; a hub process that does it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hub_world import TASKS, HubProcess, fresh_id, publish, put, registration, sealed, until

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.hub import EDGE, STABLE, RobotStatus
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import CanaryOptions, HubOptions, PromotionOptions
from fleetloop.hub.releases.promotion import Promoter
from fleetloop.hub.releases.sequential import SequentialTest
from fleetloop.hub.releases.trial_run import TrialRun
from fleetloop.hub.service import HubService

CANARY = CanaryOptions(robots=1, baseline=8, episodes=20, worse_by=0.4, false_alarm=0.1, miss=0.1)


class Fleet:
    """A hub in this process with its promoter; it can be opened again."""

    def __init__(self, root: Path, **promote: object) -> None:
        self.root, self.clock, self.released = root, Virtual(start=1000), 0
        options = PromotionOptions(**{"every_s": 60, **promote})  # type: ignore[arg-type]
        self.options = HubOptions(directory=root / "hub", stable_follows_edge=False, promote=options, silent_s=1e9)
        self.open()

    def open(self) -> None:
        self.hub = HubService.open(self.options, self.clock, RealDisk(), TASKS)
        promote = self.options.promote
        trial_run = TrialRun(promote.command, "http://hub")
        self.promoter = Promoter(self.hub.publishing, self.hub.book, promote, trial_run, self.clock)

    def close(self) -> None:
        self.promoter.close()
        self.hub.close()

    def publish(self, **changes: object) -> int:
        self.released += 1
        return publish(self.hub, self.released, parent=self.released - 1, **changes).version

    def step(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.promoter.step(self.clock.now())

    def at(self, channel: str) -> int:
        release = self.hub.channel(channel)
        return release.version if release else 0

    def join(self, *robots: str) -> None:
        for robot in robots:
            self.hub.register(registration(robot))
        self.hub.beat([RobotStatus(robot, "running") for robot in robots])

    def runs(self, robot: str) -> int:
        (orders,) = self.hub.beat([RobotStatus(robot, "running")])
        return orders.release or self.at(STABLE)

    def drive(self, release: int, sources: str = "pppp", count: int = 1, outcome: Outcome | None = None) -> None:
        outbox = self.root / "outbox"
        outbox.mkdir(exist_ok=True)
        for _ in range(count):
            episode = sealed(outbox, sources, release=release)
            put(self.hub, episode)
            if outcome:
                self.hub.annotate(Annotation(fresh_id(), episode.meta.id, "ann", Judge.PERSON, 1.0, outcome=outcome))

    @property
    def verdicts(self) -> dict[int, str]:
        return {int(version): verdict for version, verdict in self.hub.steering().verdicts.items()}


@pytest.fixture
def fleet(tmp_path: Path, request: pytest.FixtureRequest):
    fleet = Fleet(tmp_path, **getattr(request, "param", {}))
    yield fleet
    fleet.close()


def promoting(**options: object):
    return pytest.mark.parametrize("fleet", [options], indirect=True, ids=[""])


# ---------------------------------------------------------------------- one candidate at a time


def test_the_first_release_is_stable_at_once_and_the_next_ones_come_at_most_every_so_often(fleet):
    fleet.publish()
    fleet.step()
    assert fleet.at(STABLE) == 1
    fleet.publish()
    fleet.step()
    fleet.step()
    assert fleet.at(STABLE) == 2
    fleet.publish()
    fleet.step(30)
    assert (fleet.at(STABLE), fleet.at(EDGE)) == (2, 3)
    fleet.publish()
    fleet.step(30)
    fleet.step()
    assert fleet.at(STABLE) == 4, "a newer one supersedes what nobody has looked at"
    assert 3 not in fleet.verdicts


def test_a_held_out_loss_beyond_its_bound_is_refused_by_task_and_a_better_release_may_follow(fleet):
    fleet.publish(held_out={"box/walls": 0.1, "restock/shelf": 0.2})
    fleet.step()
    fleet.publish(held_out={"box/walls": 0.16, "restock/shelf": 0.2})
    fleet.step()
    assert fleet.at(STABLE) == 1
    assert "box/walls is 0.16" in fleet.verdicts[2]
    fleet.step(100)
    assert fleet.hub.steering().candidate == 0, "what was refused is not tried again"
    fleet.publish(held_out={"box/walls": 0.14})
    fleet.step(60)
    fleet.step()
    assert fleet.at(STABLE) == 3


def test_while_stable_is_held_nothing_becomes_a_candidate(fleet):
    fleet.publish()
    fleet.step()
    fleet.hub.hold()
    fleet.publish()
    for _ in range(3):
        fleet.step(100)
    assert fleet.at(STABLE) == 1
    fleet.hub.resume()
    fleet.step(100)
    fleet.step()
    assert fleet.at(STABLE) == 2


def test_what_was_rolled_back_is_not_promoted_again_when_the_hold_ends(fleet):
    for _ in range(2):
        fleet.publish()
        fleet.step(100)
        fleet.step()
    assert fleet.at(STABLE) == 2
    fleet.hub.roll_back()
    fleet.hub.resume()
    for _ in range(3):
        fleet.step(100)
    assert fleet.at(STABLE) == 1
    assert fleet.verdicts[2] == "rolled back to 1"


# ---------------------------------------------------------------------- the user's command


SECOND_FAILS = "import sys; print('seen', sys.argv); sys.exit(int(sys.argv[1]) == 2)"


@promoting(command=(sys.executable, "-c", SECOND_FAILS, "{release}"))
def test_a_command_decides_by_its_exit_status(fleet):
    fleet.publish()
    fleet.step()
    for version, stable in ((2, 1), (3, 3)):
        assert fleet.publish() == version
        fleet.step(60)
        until(lambda wanted=version: fleet.step(0.01) or wanted in fleet.verdicts)
        assert fleet.at(STABLE) == stable
    assert "exit status 1: seen ['-c', '2']" in fleet.verdicts[2]


@promoting(command=("/no/such/program",))
def test_a_command_that_can_not_be_run_promotes_nothing(fleet):
    fleet.publish()
    fleet.step()
    fleet.publish()
    fleet.step()
    fleet.step()
    assert fleet.at(STABLE) == 1
    assert "can't be run" in fleet.verdicts[2]


@promoting(command=(sys.executable, "-c", "import time; time.sleep(600)"), patience_s=100)
def test_patience_with_a_command_ends(fleet):
    fleet.publish()
    fleet.step()
    fleet.publish()
    fleet.step()
    fleet.step()
    assert fleet.promoter._trial_run.running
    fleet.step(101)
    assert "within 100 s" in fleet.verdicts[2]
    assert not fleet.promoter._trial_run.running


# ---------------------------------------------------------------------- the canary


def on_canary(fleet):
    """Release 2 is tried by robot-1, release 1 is stable."""
    fleet.join("robot-1", "robot-2")
    fleet.publish()
    fleet.step()
    fleet.publish()
    fleet.drive(1, count=7)
    fleet.step(60)
    assert fleet.hub.steering().candidate == 0, "there is too little to measure it by"
    fleet.drive(1)
    fleet.step()
    fleet.step()
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (2, 1)


@promoting(canary=CANARY)
def test_a_candidate_that_does_as_well_becomes_stable(fleet):
    on_canary(fleet)
    fleet.drive(2, count=3)
    fleet.step()
    assert fleet.at(STABLE) == 1
    fleet.drive(2, count=3)
    fleet.step()
    assert fleet.at(STABLE) == 2
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (2, 2)
    assert "passed its canary: 6 of 6 without help" in fleet.verdicts[2]


@promoting(canary=CANARY)
@pytest.mark.parametrize("how", [{"outcome": Outcome.FAILURE}, {"sources": "phhp"}], ids=["fails", "needs help"])
def test_a_candidate_that_does_worse_is_refused_and_its_robot_goes_back(fleet, how):
    on_canary(fleet)
    fleet.publish()
    fleet.drive(2, count=3, **how)
    fleet.step()
    assert (fleet.at(STABLE), fleet.runs("robot-1")) == (1, 1)
    assert "refused: its canary: 0 of 3" in fleet.verdicts[2]
    fleet.step(60)
    fleet.step()
    assert fleet.runs("robot-1") == 3, "the next one is tried"


@promoting(canary=CANARY)
def test_a_robot_that_can_not_run_the_candidate_ends_its_trial_at_once(fleet):
    on_canary(fleet)
    fleet.hub.beat([RobotStatus("robot-2", "running", refused=2), RobotStatus("robot-1", "running", refused=1)])
    fleet.step()
    assert fleet.runs("robot-1") == 2, "neither another robot's word counts, nor a word about another release"
    fleet.hub.beat([RobotStatus("robot-1", "running", refused=2, alarm="release 2 is unusable: two arms missing")])
    fleet.step()
    assert fleet.runs("robot-1") == 1
    assert "robot-1 can't run it: release 2 is unusable: two arms missing" in fleet.verdicts[2]


@promoting(canary=CANARY)
def test_a_canary_goes_on_where_it_was_when_the_hub_is_opened_again(fleet):
    on_canary(fleet)
    fleet.drive(2, sources="phhp")
    fleet.step()
    fleet.close()
    fleet.open()
    fleet.join("robot-1", "robot-2")
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (2, 1)
    fleet.drive(2, sources="phhp")
    fleet.step()
    assert "0 of 2" in fleet.verdicts[2]


@promoting(canary=CANARY)
def test_a_clock_that_has_restarted_with_the_hub_stops_nothing(fleet):
    on_canary(fleet)
    fleet.close()
    fleet.clock = Virtual()
    fleet.open()
    fleet.join("robot-1", "robot-2")
    fleet.step(CANARY.robots)
    assert fleet.runs("robot-1") == 2
    fleet.drive(2, count=6)
    fleet.step()
    fleet.publish()
    fleet.drive(2, count=8)
    fleet.step(61)
    fleet.step()
    assert fleet.runs("robot-1") == 3


@promoting(canary=CANARY)
def test_a_rollback_ends_a_canary(fleet):
    on_canary(fleet)
    fleet.hub.roll_back(1)
    assert fleet.runs("robot-1") == 1
    fleet.step(100)
    assert fleet.runs("robot-1") == 1


@promoting(canary=CANARY)
def test_a_pinned_robot_tries_no_candidate(fleet):
    fleet.join("robot-1", "robot-2")
    fleet.publish()
    fleet.step()
    fleet.hub.pin("robot-1", 1)
    fleet.publish()
    fleet.drive(1, count=8)
    for _ in range(3):
        fleet.step(60)
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (1, 2)


@promoting(canary=CANARY, patience_s=100)
def test_a_candidate_under_which_nothing_comes_in_is_refused(fleet):
    on_canary(fleet)
    fleet.step(101)
    assert fleet.runs("robot-1") == 1
    assert "no verdict of its canary within 100 s" in fleet.verdicts[2]


# ---------------------------------------------------------------------- the test itself


@pytest.mark.parametrize("expected", [0.5, 0.7, 0.9])
def test_the_stated_chances_of_error_hold_where_the_expected_rate_is_right(expected):
    rng, runs, test = np.random.default_rng(0), 800, SequentialTest(expected, 0.2, 0.05, 0.05, most=100)

    def share_refused(rate: float) -> float:
        refused = 0
        for successes in np.cumsum(rng.random((runs, test.most)) < rate, axis=1).tolist():
            verdicts = (test.verdict(count, tries) for tries, count in enumerate(successes, 1))
            refused += next(verdict for verdict in verdicts if verdict is not None) is False
        return refused / runs

    slack = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert share_refused(expected) <= 0.05 + slack
    assert share_refused(expected - 0.2) >= 0.95 - slack
    assert share_refused(expected - 0.4) >= 0.99


# ---------------------------------------------------------------------- in a process


def test_a_hub_process_lets_candidates_go_their_way_by_itself(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit(sys.argv[1] == '2')", "{release}"]
    promote = {"every_s": 0.0, "command": command}
    hub = HubProcess.start(tmp_path / "hub", stable_follows_edge=False, promote=promote)
    try:
        client = HttpHub(hub.url)
        for seed in (1, 2):
            publish(client, seed, parent=seed - 1)
            until(lambda version=str(seed): version in client.steering().verdicts)
        assert client.fleet().stable == 1
        assert "exit status 1" in client.steering().verdicts["2"]
        publish(client, 3, parent=2)
        until(lambda: client.fleet().stable == 3)
        assert hub.stop() == 0
    finally:
        hub.kill()
