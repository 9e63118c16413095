"""`fleetloop dataset` as a user types it, against a hub and against directories."""

import json
from dataclasses import replace
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from recorded import BLIND, record
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

WORDS = "put the cup away"


class Refused(Exception):
    """With what the command said on stderr."""


def run(*arguments):
    """What the command said. Raises Refused if it failed with a message, and its error if it had none."""
    result = CliRunner().invoke(app, ["dataset", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise Refused(result.stderr)
    return result.output


class Listening(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.port = self.servers[0].sockets[0].getsockname()[1]


@pytest.fixture
def hub(tmp_path):
    """A hub and its address."""
    options = HubOptions(directory=tmp_path / "hub")
    service = HubService.open(options, Wall(), RealDisk())
    server = Listening(uvicorn.Config(Face(service, options).app, port=0, log_level="critical"))
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield service, f"http://127.0.0.1:{server.port}"
    server.should_exit = True
    thread.join()
    service.close()


def sealed_bytes(directory):
    return {path.name: path.read_bytes() for path in directory.glob("*.arrow")}


def test_a_directory_goes_out_and_comes_back_byte_for_byte(tmp_path):
    for number in range(3):
        record(tmp_path / "recorded", number)
    said = run("export", tmp_path / "dataset", "--from", tmp_path / "recorded", "--cameras", "image")
    assert "3 episodes added, 3 in all" in said
    assert "3 episodes added, 0 were there" in run("import", tmp_path / "dataset", "--out", tmp_path / "back")
    assert sealed_bytes(tmp_path / "back") == sealed_bytes(tmp_path / "recorded")
    assert "0 episodes added, 3 were there" in run("import", tmp_path / "dataset", "--out", tmp_path / "back")


@pytest.fixture
def anothers(tmp_path):
    """A data set that somebody else made."""
    for number in range(2):
        record(tmp_path / "recorded", number, spec=BLIND)
    run("export", tmp_path / "anothers", "--from", tmp_path / "recorded")
    for file in (tmp_path / "anothers").glob("meta/episodes/*/*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["fleetloop.meta"]), file)
    return tmp_path / "anothers"


def test_an_import_under_wrong_names_can_be_mended(tmp_path, anothers):
    out = ("--out", tmp_path / "back")
    run("import", anothers, *out)
    before = sealed_bytes(tmp_path / "back")
    mended = ("import", anothers, *out, "--tasks", f"{WORDS}=cups/away", "--robot", "arm")
    with pytest.raises(Refused, match=f"{min(before)}.*--replace"):
        run(*mended)
    assert sealed_bytes(tmp_path / "back") == before
    assert "0 episodes added, 2 replaced, 0 were there" in run(*mended, "--replace")
    after = [Episode.open(path).meta for path in (tmp_path / "back").glob("*.arrow")]
    assert [(meta.task, meta.robot) for meta in after] == [("cups/away", "arm")] * 2
    assert "0 episodes added, 2 were there" in run(*mended)


@pytest.mark.parametrize(
    ("option", "had"),
    [(("--tasks", "Put the cup away.=a/b"), WORDS), (("--rename", "state=joints"), "observation.state")],
)
def test_a_name_that_the_data_set_lacks_is_refused_with_those_it_has(tmp_path, anothers, option, had):
    with pytest.raises(Refused, match=had):
        run("import", anothers, "--out", tmp_path / "back", *option)
    assert not (tmp_path / "back").exists()


def test_depth_maps_are_left_out_by_name(tmp_path, anothers):
    """They have 16 bits; squeezed into a JPEG, all is white."""
    info = json.loads((anothers / "meta/info.json").read_bytes())
    depth = {"dtype": "image", "shape": [4, 4, 1], "names": None, "info": {"is_depth_map": True}}
    info["features"]["observation.images.depth"] = depth
    (anothers / "meta/info.json").write_text(json.dumps(info))
    said = run("import", anothers, "--out", tmp_path / "back")
    assert "left out: observation.images.depth" in said
    assert "2 episodes added" in said
    assert all(not Episode.open(path).meta.spec.cameras for path in (tmp_path / "back").glob("*.arrow"))


def test_an_episode_of_several_instructions_is_left_out_by_number(tmp_path, anothers):
    """Under the first of them alone, the policy would learn the others' motions."""
    (file,) = anothers.glob("data/*/*.parquet")
    table = pq.read_table(file)
    numbers = pa.array([0] * 5 + [1] + [0] * 6, pa.int64())  # episode 0 ends under another instruction
    pq.write_table(table.set_column(table.column_names.index("task_index"), "task_index", numbers), file)
    pq.write_table(pa.table({"task_index": [0, 1], "task": [WORDS, "let go"]}), anothers / "meta/tasks.parquet")
    said = run("import", anothers, "--out", tmp_path / "back")
    assert "left out: episode 0: 2 instructions" in said
    assert "1 episodes added, 0 were there" in said


@pytest.mark.parametrize("option", ["--tasks=a=b", "--rename=a=b", "--robot=a", "--site=a"])
def test_an_export_of_ours_takes_no_other_names(tmp_path, option):
    record(tmp_path / "recorded", 0, spec=BLIND)
    run("export", tmp_path / "dataset", "--from", tmp_path / "recorded")
    with pytest.raises(Refused, match=option.partition("=")[0]):
        run("import", tmp_path / "dataset", "--out", tmp_path / "back", option)


def test_the_hubs_episodes_go_out_as_people_judged_them(tmp_path, hub):
    service, url = hub
    episodes = [record(tmp_path / "recorded", number, spec=BLIND) for number in range(4)]
    for one in episodes[:3]:
        path = tmp_path / "recorded" / f"{one.meta.id}.arrow"
        put(service, path, one)
    said = {"author": "ann", "judge": Judge.PERSON, "wall_s": 1.0}
    service.annotate(
        Annotation(new_id(1.0, np.random.default_rng(1)), episodes[0].meta.id, **said, outcome=Outcome.FAILURE)
    )
    service.annotate(Annotation(new_id(2.0, np.random.default_rng(2)), episodes[1].meta.id, **said, exclude=True))
    assert "2 episodes added, 2 in all" in run("export", tmp_path / "dataset", "--hub", url)
    put(service, tmp_path / "recorded" / f"{episodes[3].meta.id}.arrow", episodes[3])
    assert "1 episodes added, 3 in all" in run("export", tmp_path / "dataset", "--hub", url)

    run("import", tmp_path / "dataset", "--out", tmp_path / "back")
    back = {path.stem: Episode.open(path).meta for path in (tmp_path / "back").glob("*.arrow")}
    assert set(back) == {episodes[number].meta.id for number in (0, 2, 3)}
    assert back[episodes[0].meta.id].outcome is Outcome.FAILURE
    assert back[episodes[2].meta.id] == episodes[2].meta


def test_what_the_hub_has_no_more_is_left_out(tmp_path, hub):
    service, url = hub
    episodes = [record(tmp_path / "recorded", number, spec=BLIND) for number in range(3)]
    for one in episodes:
        put(service, tmp_path / "recorded" / f"{one.meta.id}.arrow", one)
    forgotten, lost, there = (one.meta.id for one in episodes)
    with service._catalog.writing() as records:
        records.add_tombstone(forgotten, {"wall_s": 0.0})
    (tmp_path / "hub" / "episodes" / f"{lost}.arrow").unlink()
    said = run("export", tmp_path / "dataset", "--hub", url)
    assert "1 episodes added, 1 in all" in said
    run("import", tmp_path / "dataset", "--out", tmp_path / "back")
    assert list(sealed_bytes(tmp_path / "back")) == [f"{there}.arrow"]


def put(service, path, episode):
    from blake3 import blake3

    service.put_episode(episode.meta.id, path, blake3(path.read_bytes()).hexdigest())


def test_one_task_or_one_robot_can_be_chosen(tmp_path):
    for number, (task, robot) in enumerate((("cups/away", "a"), ("cups/fetch", "a"), ("cups/away", "b"))):
        record(tmp_path / "recorded", number, spec=BLIND, task=task, robot=robot)
    chosen = ("--from", tmp_path / "recorded", "--task", "cups/away")
    assert "2 in all" in run("export", tmp_path / "task", *chosen)
    assert "1 in all" in run("export", tmp_path / "robot", *chosen, "--robot", "b")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("import", "nowhere"), "nowhere"),
        (("import", "nowhere", "--tasks", "fetch"), "--tasks"),
        (("export", "dataset", "--from", "nowhere"), "--from"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=named):
        run(*arguments)


def test_without_pyav_videos_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    record(tmp_path / "recorded", 0)
    with pytest.raises(Refused, match=r"fleetloop\[video\]"):
        run("export", tmp_path / "dataset", "--from", tmp_path / "recorded")


def test_robots_of_other_kinds_stay_out_and_hold_up_nobody(tmp_path):
    other = replace(BLIND, control_hz=20.0)
    for number, spec in enumerate((BLIND, other, BLIND)):
        record(tmp_path / "recorded", number, spec=spec)
    chosen = ("--from", tmp_path / "recorded")
    said = run("export", tmp_path / "dataset", *chosen)
    assert "2 episodes added, 2 in all" in said
    assert f"1 episodes of robots of specification {other.hash()[:12]}" in said
    assert "1 in all" in run("export", tmp_path / "others", *chosen, "--spec", other.hash())
    assert "left out: 2 episodes" in run("export", tmp_path / "others", *chosen)


@pytest.mark.parametrize(
    ("option", "had"),
    [(("--task", "cups"), "cups/away, cups/fetch"), (("--robot", "b"), "known: a"), (("--spec", "f00"), "known")],
)
def test_what_nobody_did_is_refused_and_leaves_nothing_behind(tmp_path, option, had):
    for number, task in enumerate(("cups/away", "cups/fetch")):
        record(tmp_path / "recorded", number, spec=BLIND, task=task, robot="a")
    with pytest.raises(Refused, match=had):
        run("export", tmp_path / "dataset", "--from", tmp_path / "recorded", *option)
    assert not (tmp_path / "dataset").exists()


def test_only_what_is_chosen_is_fetched(tmp_path, hub):
    service, url = hub
    for number, task in enumerate(("cups/away", "cups/fetch")):
        one = record(tmp_path / "recorded", number, spec=BLIND, task=task)
        put(service, tmp_path / "recorded" / f"{one.meta.id}.arrow", one)
    (tmp_path / "hub" / "episodes" / f"{one.meta.id}.arrow").unlink()
    said = run("export", tmp_path / "dataset", "--hub", url, "--task", "cups/away")
    assert "1 episodes added" in said
    assert "left out" not in said
