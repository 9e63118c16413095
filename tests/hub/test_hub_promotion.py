"""From edge to stable, one candidate at a time: gates, the user's command, and a hub process that does it."""

import sys

import psutil
import pytest
from hub_world import HubProcess, publish, until
from promoting import promoting

from fleetloop.core.errors import HubUnavailable
from fleetloop.core.hub import EDGE, STABLE
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.releases.helm import Helm


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
    fleet.step()
    assert fleet.at(STABLE) == 1
    assert "box/walls is 0.16" in fleet.verdicts[2]
    fleet.step(100)
    assert fleet.hub.steering().candidate == 0, "what was refused is not tried again"
    fleet.publish(held_out={"box/walls": 0.14})
    fleet.step(60)
    fleet.step()
    assert "no held-out loss on restock/shelf" in fleet.verdicts[3], "what can't be checked does not pass"
    fleet.publish(held_out={"box/walls": 0.14, "restock/shelf": 0.2})
    fleet.step(60)
    fleet.step()
    assert fleet.at(STABLE) == 4


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "is killed"])
def test_a_refusal_that_could_not_be_written_is_a_refusal_all_the_same(fleet, monkeypatch, killed):
    fleet.publish(held_out={"box/walls": 0.1})
    fleet.step()
    fleet.publish(held_out={"box/walls": 1e6})

    def away(*args: object) -> None:
        raise HubUnavailable("catalog", "is locked")

    with monkeypatch.context() as patched:
        patched.setattr(Helm, "refuse", away)
        with pytest.raises(HubUnavailable):
            until(fleet.step)
    assert fleet.hub.steering().candidate == 2
    if killed:
        fleet.close()
        fleet.open()
    fleet.step()
    assert fleet.at(STABLE) == 1
    assert "box/walls is 1e+06" in fleet.verdicts[2]


def test_a_verdict_says_on_how_many_tasks_held_out_losses_were_compared(fleet):
    fleet.publish()
    fleet.step()
    for held_out in ({"box/walls": 0.1}, {"box/walls": 0.1}):
        fleet.publish(held_out=held_out)
        fleet.step(60)
        fleet.step()
    assert fleet.verdicts[2] == "passed its gates; no held-out loss to compare"
    assert fleet.verdicts[3] == "passed its gates; held-out losses compared: 1"


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


@pytest.mark.parametrize("word", ["roll_back", "hold", "promote"])
def test_a_persons_word_stands_though_the_gates_decide_at_the_same_moment(fleet, word):
    """They looked at the steering before it was said, and write their verdict after it."""
    for _ in range(3):
        fleet.publish()
    fleet.hub.promote(1)
    fleet.hub.promote(2)
    fleet.step(100)
    helm = fleet.hub.publishing.helm
    assert helm.steering.candidate == 3
    said = {"roll_back": fleet.hub.roll_back, "hold": fleet.hub.hold, "promote": lambda: fleet.hub.promote(1)}[word]()
    for late in (
        lambda: helm.accept(3, "passed its gates"),
        lambda: helm.refuse(3, "its canary"),
        lambda: helm.enter("canary", 200.0, after=3, robots=("robot-1",)),
    ):
        late()
        assert helm.steering == said
        assert fleet.at(STABLE) == {"roll_back": 1, "hold": 2, "promote": 1}[word]


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


ONCE_UNDECIDED = """
import pathlib, sys
tried = pathlib.Path(sys.argv[1] + ".tried")
print("no camera")
sys.exit(0 if tried.exists() else tried.touch() or 75)
"""


@promoting(command=(sys.executable, "-c", ONCE_UNDECIDED, "{hub}"))
def test_a_command_that_can_not_tell_now_is_asked_again_later(fleet, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet.promoter._trial_run, "_hub_url", str(tmp_path / "hub"))
    fleet.publish()
    fleet.step()
    fleet.publish()
    fleet.step(60)
    until(lambda: fleet.step(0.01) or fleet.promoter._undecided)
    assert (fleet.verdicts.get(2), fleet.at(STABLE)) == (None, 1)
    fleet.step(1)
    assert not fleet.promoter._trial_run.running, "not at once"
    fleet.step(30)
    until(lambda: fleet.step(0.01) or 2 in fleet.verdicts)
    assert fleet.at(STABLE) == 2


@promoting(command=("sh", "-c", "echo no camera; exit 75"), patience_s=100)
def test_patience_with_a_command_that_can_never_tell_ends_and_says_why(fleet):
    fleet.publish()
    fleet.step()
    fleet.publish()
    fleet.step()
    until(lambda: fleet.step(0.01) or fleet.promoter._undecided)
    fleet.step(101)
    assert "within 100 s (exit status 75: no camera)" in fleet.verdicts[2]
    fleet.publish()
    fleet.step()
    fleet.step(60)
    assert fleet.promoter._undecided == "", "what was said of the one before is not said of the next"


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


@promoting(command=("sh", "-c", "sleep 600 & echo $! > {hub}; wait"), patience_s=100)
def test_what_a_command_has_started_ends_with_it(fleet, tmp_path):
    told = tmp_path / "child"
    fleet.promoter._trial_run._hub_url = str(told)
    for _ in range(2):
        fleet.publish()
        fleet.step()
    fleet.step()
    until(lambda: told.exists() and told.read_text().strip() != "")
    child = psutil.Process(int(told.read_text()))
    fleet.step(101)
    psutil.wait_procs([child], 10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


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


def test_promotion_that_is_switched_off_leaves_no_robot_on_the_candidate(tmp_path):
    promote = {"every_s": 0.0, "command": [sys.executable, "-c", "import time; time.sleep(30)"]}
    hub = HubProcess.start(tmp_path / "hub", stable_follows_edge=False, promote=promote)
    try:
        client = HttpHub(hub.url)
        publish(client, 1)
        until(lambda: client.fleet().stable == 1)
        publish(client, 2, parent=1)
        until(lambda: client.steering().candidate == 2)
        hub.kill()
        hub = HubProcess.start(tmp_path / "hub", stable_follows_edge=False)
        steering = HttpHub(hub.url).steering()
        assert (steering.candidate, steering.robots) == (0, ())
        assert "switched off" in steering.verdicts["2"]
    finally:
        hub.kill()
