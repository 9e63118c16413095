"""`fleetloop releases` and `fleetloop keys` as a person uses them, against a hub behind HTTP."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_world import POLICY, World, behind_http, manifest, publish, put, put_blobs, registration, sealed
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.hub import LearnerStatus
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.weights.codec import BLOCKS, decode, encode
from fleetloop.weights.signature import open_key
from fleetloop.weights.verified import Known
from manifests import manifest_of

Told = Callable[..., str]


@pytest.fixture
def world(options: HubOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    with behind_http(options, Virtual()) as world:
        for seed in (1, 2, 3):
            publish(world.hub, seed, parent=seed - 1)
        yield world


@pytest.fixture
def told(world: World) -> Told:
    """What a command says, on both channels; it must end with this status."""

    def tell(command: str, status: int = 0) -> str:
        assert isinstance(world.hub, HttpHub)
        words = command.split() + ([] if command.startswith("keys") else ["--hub", world.hub.url])
        result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
        assert result.exit_code == status, result.output
        return result.output + result.stderr

    return tell


def row(table: str, version: int) -> str:
    return next(line for line in table.splitlines() if line.split()[:1] == [str(version)])


def test_back_and_forth_in_one_command_each(world: World, told: Told) -> None:
    assert "from release 3 to 2, and is held" in told("releases rollback")
    assert "stable (held)" in row(told("releases ls"), 2)
    assert "rolled back to 2" in row(told("releases ls"), 3)
    assert "stable 2 (held)" in told("status --once")
    assert "newer than stable" in told("releases rollback 3", status=1)
    resumed = told("releases resume")
    assert "stable is release 3, and moves again" in resumed
    assert "of release 3 was said before: rolled back to 2. `rollback 2` goes back" in resumed
    assert "said before" not in told("releases resume")
    assert "stable is held at release 3" in told("releases hold")
    assert "stable is release 1" in told("releases promote 1")
    assert "stable" in row(told("releases ls -n 3"), 1)
    assert "no release 9" in told("releases promote 9", status=1)


def test_the_learner_is_told_to_go_back_and_it_is_shown_until_it_answers(world: World, told: Told) -> None:
    said = told("releases rollback --reset-learner")
    assert "from release 3 to 2, and is held" in said
    assert "the learner was told to go back to 2" in said
    assert "stable stays at 2, and is held" in told("releases rollback 2 --reset-learner")
    pending = ("releases ls", "releases show 2", "status --once")
    assert all("told to go back to" in told(command) for command in pending)
    assert "told to go back to" not in told("releases show 3")
    order = world.hub.steering().learner_order
    world.hub.report_learner(LearnerStatus("run-1", 5, 2, 1, False, 0.0, answered=order))
    assert not any("told to go back to" in told(command) for command in pending)
    assert "told to go back" not in told("releases rollback 1")


def test_one_robot_is_pinned_and_let_go(world: World, told: Told) -> None:
    world.hub.register(registration())
    assert "robot-1 at 2" in told("releases pin robot-1 2")
    assert "robot-1 is pinned to release 2" in told("releases ls")
    assert "pinned: no robot" in told("releases pin robot-1 0")
    assert "robot-9" in told("releases pin robot-9 2", status=1)


def test_success_is_shown_by_release_with_its_interval(world: World, told: Told, outbox: Path) -> None:
    for sources in ("pppp", "pppp", "phhp"):
        put(world.hub, sealed(outbox, sources, release=2))
    shown = row(told("releases ls"), 2)
    assert "1.00 [0.44, 1.00]" in shown
    assert "0.67 [0.21, 0.94]" in shown
    assert "33%" in shown
    assert "0.67 [0.21, 0.94]" in told("releases show 2")


def test_the_held_out_loss_is_shown_by_release(world: World, told: Told) -> None:
    publish(world.hub, 4, parent=3, held_out={"box/walls": 0.25, "restock/shelf": 0.75})
    assert "0.5" in row(told("releases ls"), 4).split(), "the mean over the tasks"
    assert "0.5" not in row(told("releases ls"), 3).split()
    shown = told("releases show 4")
    assert all(word in shown for word in ("held-out loss, box/walls", "0.25", "held-out loss, restock/shelf", "0.75"))


def test_two_releases_are_compared(told: Told) -> None:
    shown = told("releases diff 1 3")
    assert "1 of 1 tensors differ: head.weight" in shown
    assert "0 of 1 tensors differ" in told("releases diff 1 1")


def test_a_release_is_checked_as_a_robot_would(world: World, told: Told, tmp_path: Path) -> None:
    made = told("keys make")
    public = next(line for line in made.splitlines() if line.startswith("ed25519:"))
    assert public in told("keys show release.key")
    assert "is there already" in told("keys make", status=1)
    (tmp_path / "fleet.yaml").write_text(f"run: run-1\nrelease_keys: ['{public}']\n")
    assert "signature: is missing" in told("releases verify 3", status=1)
    release, encoded = manifest(4, parent=3)
    put_blobs(world.hub, encoded)
    world.hub.publish(open_key(tmp_path / "release.key", "key").sign(release), world.hub.claim_lease("learner"))
    assert "all 1 blobs of 1 encodings are whole; signed by a pinned key" in told("releases verify 4")
    (tmp_path / "fleet.yaml").write_text("run: another\n")
    assert "run: is 'run-1', not 'another'" in told("releases verify 4", status=1)


@pytest.mark.parametrize("damage", ["damage", "remove"])
@pytest.mark.parametrize(("which", "named"), [(0, "blocks/1 from 3"), (1, "full/1 that stands alone")])
def test_of_all_ways_to_a_release_the_damaged_one_is_named(
    world: World, told: Told, which: int, named: str, damage: str
) -> None:
    """Whichever one a robot would take, and although the hub still holds in memory what robots have just fetched."""
    base = Known.of(decode(world.hub.release(3), world.hub.get_blob))
    weights = Known.of({name: array + array for name, array in base.weights.items()})
    ways = encode(weights, BLOCKS, base), encode(weights)
    for encoded in ways:
        put_blobs(world.hub, encoded)
    encodings = ways[0].encoding(3), ways[1].encoding()
    release = manifest_of(ways[0], POLICY, run="run-1", parent=3, encodings=encodings)
    world.hub.publish(release, world.hub.claim_lease("learner"))
    for encoding in encodings:
        assert [len(world.hub.get_blob(blob)) for blob in encoding.blobs] == [blob.size for blob in encoding.blobs]
    getattr(world.kept, damage)(f"blobs/{encodings[which].blobs[0].hash}")
    said = told("releases verify 4 --set run=run-1", status=1)
    assert f"release 4: has 1 of 2 encodings damaged: {named} (" in said
