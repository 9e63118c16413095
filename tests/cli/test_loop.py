"""The whole loop as a user runs it: four processes, killed one after the other. The fleet carries on.

The tests share one fleet and run in the order in which they stand; each leaves it complete.
"""

import json
import re

import pytest
from fleet_world import ROBOT, FleetProcesses, until
from typer.testing import CliRunner

from fleetloop.cli.main import app

pytestmark = pytest.mark.xdist_group("loop")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A fleet in which a first release drives the robot."""
    directory = tmp_path_factory.mktemp("fleet")
    world = FleetProcesses(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for command in ("demos record --episodes 3 --noise 0.003 -j 1", "pretrain"):
            result = CliRunner().invoke(app, command.split())
            assert result.exit_code == 0, result.output
    try:
        world.start("hub")
        until(lambda: "serves" in world.said("hub"), "the hub serves")
        for name in ("actor", "courier", "learner"):
            world.start(name)
        yield world
    finally:
        world.clean_up()


def test_an_episode_reaches_the_learner_and_a_release_the_actor(fleet):
    first = until(lambda: (status := fleet.robot()) and status.release, "the actor runs a release")
    until(lambda: fleet.hub.episodes(outcome="success") or fleet.hub.episodes(outcome="timeout"), "an episode arrives")
    until(lambda: fleet.view().learner.cursor >= 1, "the learner has taken it in")
    until(lambda: fleet.robot().release > first, "a newer release reaches the actor")
    until(lambda: any(release.covers for release in fleet.hub.releases()), "a release covers the corrections")
    assert sum(row["frames_human"] for row in fleet.hub.episodes()) > 0


def test_a_killed_learner_goes_on_from_its_checkpoint(fleet):
    until(lambda: list((fleet.directory / "learner" / "checkpoints").glob("step-*")), "a checkpoint is there")
    fleet.kill("learner")
    before, newest = fleet.episodes(), fleet.view().edge
    until(lambda: set(fleet.episodes()) - set(before), "robots go on without a learner")

    fleet.start("learner")
    until(lambda: "going on from step" in fleet.said("learner"), "the learner goes on")
    release = until(lambda: (edge := fleet.view().edge) > newest and fleet.hub.release(edge), "it publishes again")
    assert release.parent >= 1
    until(lambda: fleet.view().learner.cursor >= len(before), "what came meanwhile is taken in")
    rows = map(json.loads, (fleet.directory / "learner" / "metrics.jsonl").open())
    steps = [row["step"] for row in rows if row["kind"] == "step"]
    assert steps == sorted(set(steps)), "the curve goes on where it was"


def test_an_actor_killed_mid_episode_leaves_it_aborted_and_goes_on(fleet):
    def kill_in_an_episode() -> bool:
        """False if it happened to end in that very instant."""
        status = until(lambda: (now := fleet.robot()) and now.phase == "running" and now, "an episode is under way")
        partial = fleet.spool / f"{status.episode}.partial"
        until(lambda: partial.exists() or status.episode in fleet.episodes(), "it is on the disk")
        fleet.kill("actor")
        outcome = until(lambda: fleet.episodes().get(status.episode), "what there is of it arrives")
        before = fleet.episodes()
        fleet.start("actor")
        until(lambda: set(fleet.episodes()) - set(before), "the robot goes on")
        return outcome == "aborted"

    until(kill_in_an_episode, "an episode is cut off")


def test_a_killed_courier_loses_nothing_of_the_spool(fleet):
    fleet.kill("courier")
    waiting = until(lambda: len(paths := list(fleet.spool.glob("*.partial"))) >= 2 and paths, "the robot records on")

    fleet.start("courier")
    until(lambda: {path.stem for path in waiting} <= set(fleet.episodes()), "what waited arrives")


def test_a_killed_hub_comes_back_with_all_that_it_acknowledged(fleet):
    acknowledged, release = fleet.episodes(), fleet.view().stable
    fleet.kill("hub")
    mail = fleet.directory / "host" / "mail" / f"{ROBOT}.status.json"

    def count() -> int:
        return json.loads(mail.read_text())["episodes"]

    so_far = count()
    until(lambda: count() > so_far, "the robot drives on without a hub")

    fleet.start("hub")
    until(lambda: fleet.said("hub").count("serves") == 2, "the hub serves again")
    known = fleet.episodes()
    assert {id: known[id] for id in acknowledged} == acknowledged
    assert fleet.view().stable >= release
    until(lambda: len(set(fleet.episodes()) - set(acknowledged)) >= 2, "what was recorded meanwhile arrives")
    until(lambda: fleet.view().stable > release, "releases come out again")
    until(lambda: (robot := fleet.robot()) and robot.release > release, "and reach the robot")


def test_people_can_look_into_it_and_say_something(fleet, monkeypatch):
    monkeypatch.chdir(fleet.directory)

    def told(command: str) -> str:
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.output
        return result.output

    assert ROBOT in told("status --once")
    episode = fleet.hub.episodes()[0]["id"]
    assert episode in told("episodes ls")
    fleet.annotated = episode
    told(f"episodes annotate {episode} --outcome failure --author ada")
    assert "outcome failure (ada, person" in told(f"episodes show {episode}")
    assert episode in told("episodes ls --outcome failure")
    version = fleet.view().stable
    assert str(version) in told("releases ls")
    assert "right.grip" in told(f"replay {episode} --release {version}")
    assert "restock/shelf" in told(f"eval --release {version} --episodes 1 -j 1 --report figures.json")
    figures = json.loads((fleet.directory / "figures.json").read_text())
    assert figures["tasks"]["restock/shelf"]["episodes"] == 1


def test_an_actor_that_evaluates_measures_a_release_and_nobody_learns_from_it(fleet, monkeypatch):
    monkeypatch.chdir(fleet.directory)
    assert fleet.end("actor") == 0, fleet.said("actor")
    fleet.hub.pin(ROBOT, 1)
    fleet.start("actor", "--evaluate")
    (tally,) = until(lambda: fleet.hub.tallies("evaluation"), "the hub counts an evaluation")
    assert tally.release == 1
    until(lambda: fleet.view().learner.cursor >= fleet.hub.episodes()[0]["seq"], "the learner has passed it by")
    learned = set((fleet.directory / "learner" / "episodes").iterdir())
    tried = {row["id"] for row in fleet.hub.episodes() if row["purpose"] == "evaluation"}
    assert tried
    assert not tried & {path.stem for path in learned}
    shown = CliRunner().invoke(app, ["releases", "show", "1"], env={"COLUMNS": "200"}).output
    (count,) = re.findall(r"evaluated: episodes +│? *(\d+)", shown)
    (later,) = fleet.hub.tallies("evaluation")
    assert tally.episodes <= int(count) <= later.episodes
    assert "evaluated" in CliRunner().invoke(app, ["releases", "ls"], env={"COLUMNS": "250"}).output


def test_all_end_in_order_and_nothing_is_lost_or_doubled(fleet):
    running = until(lambda: fleet.robot().episode, "an episode is under way")
    for name in ("actor", "courier"):
        assert fleet.end(name) == 0, fleet.said(name)
    rows = fleet.hub.episodes()
    assert running in {row["id"] for row in rows}, "the courier has uploaded what the actor ended with"
    assert len({row["id"] for row in rows}) == len(rows)
    for id, outcome in fleet.acknowledged.items():
        assert fleet.episodes()[id] == outcome or id == fleet.annotated
    assert not list(fleet.spool.glob("*.*")), "nothing is left behind"
    for name in ("learner", "hub"):
        assert fleet.end(name) == 0, fleet.said(name)
