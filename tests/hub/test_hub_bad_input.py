"""Whatever comes over the wire: a 4xx that names the field, and nothing stored."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from blake3 import blake3
from hub_world import World, behind_http, fresh_id, manifest, registration, sealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetloop.core.clock import Virtual
from fleetloop.core.episode import META_KEY
from fleetloop.core.errors import (
    EpisodeInvalid,
    FleetLoopError,
    HubFailed,
    HubRefused,
    HubUnavailable,
    LeaseLost,
    NotTheHub,
    ReleaseInvalid,
    SpecMismatch,
    UnknownName,
)
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

slow_fixture = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One hub for all that is refused: it must still be empty after the last of them."""
    options = HubOptions(directory=tmp_path_factory.mktemp("bad") / "hub", max_episode_mb=0.2)
    with behind_http(options, Virtual(1000)) as world:
        yield world


@pytest.fixture(scope="module")
def http(world: World) -> Iterator[httpx.Client]:
    assert isinstance(world.hub, HttpHub)
    with httpx.Client(base_url=world.hub.url, trust_env=False) as client:
        yield client


def upload(http: httpx.Client, id: str, data: bytes, hash: str = "") -> httpx.Response:
    headers = {wire.HASH_HEADER: hash or blake3(data).hexdigest()}
    return http.put(f"/v1/episodes/{id}", content=data, headers=headers)


def assert_refused(said: httpx.Response, status: int, field: str) -> None:
    assert said.status_code == status, said.text
    error = said.json()["error"]
    assert set(error) == {"type", "field", "problem", "remedy"}
    assert error["field"] == field
    assert "Traceback" not in said.text


def nothing_stored(world: World) -> bool:
    return world.kept.names() == [] and world.hub.episodes() == [] and world.hub.events(0) == []


def rewritten(path: Path, meta: dict[str, Any] | None = None, without: str = "") -> bytes:
    """The bytes of a sealed episode with other metadata or one column less."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    said = {**json.loads(table.schema.metadata[META_KEY]), **(meta or {})}
    table = table.drop_columns([without] if without else []).replace_schema_metadata({META_KEY: json.dumps(said)})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table.combine_chunks().to_batches()[0])
    return sink.getvalue()


@pytest.mark.parametrize(
    ("field", "meta"),
    [
        ("task", {"task": "laundry/iron"}),
        ("task", {"task": 7}),
        ("purpose", {"purpose": "fun"}),
        ("robot", {"robot": ""}),
        ("instruction", {"instruction": 5}),
        ("seed", {"seed": "one"}),
        ("reset_s", {"reset_s": float("nan")}),
        ("format", {"format": 99}),
        ("spec_hash", {"spec_hash": "0" * 64}),
        ("ending", {"ending": None}),
        ("metadata", {"ending": {"outcome": "won"}}),
        ("metadata", {"spec": {"state": 3}}),
        ("metadata", {"colour": "blue"}),
        ("metadata.instruction", {"instruction": "pick \ud83d"}),
        ("metadata.spec.state.0.name", {"spec": {"state": [{"name": "\udfff"}]}}),
    ],
)
def test_wrong_metadata(world: World, http: httpx.Client, outbox: Path, field: str, meta: dict[str, Any]) -> None:
    episode = sealed(outbox)
    assert_refused(upload(http, episode.meta.id, rewritten(episode.path, meta)), 422, field)
    assert nothing_stored(world)


@pytest.mark.parametrize("format", [0, 9, "1.5", None])
def test_another_format_is_refused_and_told_which_is_read(
    world: World, http: httpx.Client, outbox: Path, format: Any
) -> None:
    """Whatever else has changed in it: that is what a sender of another version can go by."""
    episode = sealed(outbox)
    said = upload(http, episode.meta.id, rewritten(episode.path, {"format": format, "task": None, "weather": "rain"}))
    assert_refused(said, 422, "format")
    assert said.json()["error"]["remedy"] == "this version reads format 1"
    release = {**manifest()[0].to_json(), "format": format, "weather": "rain"}
    del release["encodings"]
    lease = {"holder": "learner", "fence": 1, "until": 1.0}
    said = http.post("/v1/releases", json={"release": release, "lease": lease})
    assert_refused(said, 422, "format")
    assert said.json()["error"]["remedy"] == "this version reads format 2"
    assert nothing_stored(world)


def test_a_missing_column(world: World, http: httpx.Client, outbox: Path) -> None:
    episode = sealed(outbox)
    assert_refused(upload(http, episode.meta.id, rewritten(episode.path, without="action")), 422, "action")
    assert nothing_stored(world)


def test_a_wrong_id_or_hash(world: World, http: httpx.Client, outbox: Path) -> None:
    episode = sealed(outbox)
    data = episode.path.read_bytes()
    assert_refused(upload(http, fresh_id(), data), 422, "id")
    assert_refused(upload(http, "not-a-ulid", data), 422, "id")
    assert_refused(upload(http, episode.meta.id, data, "0" * 64), 422, "hash")
    assert_refused(http.put(f"/v1/episodes/{episode.meta.id}", content=data), 400, wire.HASH_HEADER)
    assert nothing_stored(world)


@slow_fixture
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_episode(world: World, http: httpx.Client, outbox: Path, keep: float) -> None:
    """Its sender hashed what it had, so that the hash alone does not give it away."""
    episode = sealed(outbox)
    data = episode.path.read_bytes()
    said = upload(http, episode.meta.id, data[: int(len(data) * keep)])
    assert said.status_code == 422
    assert said.json()["error"]["type"] == "EpisodeInvalid"
    assert nothing_stored(world)


@slow_fixture
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit(world: World, http: httpx.Client, outbox: Path, where: float, bit: int) -> None:
    episode = sealed(outbox)
    data = bytearray(episode.path.read_bytes())
    data[int(len(data) * where)] ^= 1 << bit
    assert_refused(upload(http, episode.meta.id, bytes(data), episode.hash), 422, "hash")
    assert nothing_stored(world)


@pytest.mark.parametrize("megabytes", [0.3, 3])
def test_an_oversized_episode(world: World, http: httpx.Client, megabytes: float) -> None:
    assert_refused(upload(http, fresh_id(), bytes(int(megabytes * 1e6))), 413, "body")
    assert nothing_stored(world)


def test_an_oversized_request(http: httpx.Client) -> None:
    assert_refused(http.post("/v1/beats", content=b" " * 17_000_000), 413, "body")


@pytest.mark.parametrize("path", ["annotations", "lease", "releases", "robots", "beats", "learner"])
@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b"7", b'"text"', b"null"])
def test_malformed_json(http: httpx.Client, path: str, body: bytes) -> None:
    said = http.post(f"/v1/{path}", content=body)
    assert said.status_code in (400, 422)
    assert set(said.json()["error"]) == {"type", "field", "problem", "remedy"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("beats", [{"robot": "a"}], "statuses.0.phase"),
        ("beats", [{"robot": "a", "phase": "running", "release": "new"}], "statuses.0.release"),
        ("learner", {"run": "r"}, "learner.step"),
        ("lease", {"holder": 5}, "holder"),
        ("annotations", {"id": "x"}, "annotation.episode"),
        ("robots", {**wire.registration_to_json(registration()), "spec": {}}, "registration.spec.embodiment"),
        ("robots", {**wire.registration_to_json(registration()), "host": None}, "registration.host"),
        ("releases", {"release": {}, "lease": {"holder": "a", "fence": 1, "until": 0}}, "release.run"),
        ("releases", {"release": manifest()[0].to_json()}, "lease"),
        ("drafts", {"draft": {"codec": "blocks/1"}, "lease": {"holder": "a", "fence": 1, "until": 0}}, "draft.base"),
        ("drafts", {"draft": asdict(manifest()[0].encodings[0])}, "lease"),
    ],
)
def test_a_wrong_field_is_named(http: httpx.Client, path: str, body: object, field: str) -> None:
    assert_refused(http.post(f"/v1/{path}", json=body), 422 if path != "lease" else 400, field)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("beats", [{"robot": "a", "phase": "running", "alarm": "\ud83d"}], "body.0.alarm"),
        ("annotations", {"id": "x", "author": "ann\udc80"}, "body.author"),
        ("robots", {"site": {"\ud83d": 1}}, "body.site"),
        ("learner", {"figures": {"loss": "\udfff"}}, "body.figures.loss"),
        ("lease", {"holder": "\ud83d\ud83d"}, "body.holder"),
    ],
)
def test_half_a_character_is_refused_by_name(http: httpx.Client, path: str, body: object, field: str) -> None:
    assert_refused(http.post(f"/v1/{path}", content=json.dumps(body)), 400, field)
    said = http.post(f"/v1/{path}", content=json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass"))
    assert_refused(said, 400, "body")


def test_a_text_with_nul_is_refused_by_name(http: httpx.Client) -> None:
    assert_refused(http.post("/v1/lease", json={"holder": "ann\0"}), 400, "body.holder")


def test_a_whole_character_may_be_written_as_two_halves(http: httpx.Client) -> None:
    body = json.dumps({"holder": "ann \U0001f984"})
    assert "\\ud83e\\udd84" in body
    assert http.post("/v1/lease", content=body).json()["holder"] == "ann \U0001f984"


def test_half_a_character_that_was_let_in_once_holds_up_nobody(
    tmp_path: Path, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind_http(HubOptions(directory=tmp_path / "hub"), Virtual(1000)) as world:
        with monkeypatch.context() as before:
            for module in ("core.episode", "hub.http.wire"):
                before.setattr(f"fleetloop.{module}.torn", lambda *_: "")
            episode = sealed(outbox, instruction="pick \ud83d")
            world.hub.put_episode(episode.meta.id, episode.path, episode.hash)
            said = Annotation(fresh_id(), episode.meta.id, "\udc80", Judge.PERSON, 1.0, Outcome.FAILURE)
            world.service.annotate(said)
        assert [event.kind for event in world.hub.events(0)] == ["episode", "annotation"]
        assert world.hub.episodes()[0]["instruction"] == "pick \ud83d"
        assert [item.author for item in world.hub.annotations(episode.meta.id)] == ["\udc80"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("events?after=x", "after"),
        ("events?after=" + "9" * 30, "after"),
        ("events?wait=nan", "wait"),
        ("events?limit=0", "limit"),
        ("episodes?limit=-1", "limit"),
        ("releases/latest", "version"),
    ],
)
def test_a_wrong_parameter_is_named(http: httpx.Client, path: str, field: str) -> None:
    assert_refused(http.get(f"/v1/{path}"), 400, field)


TEXTS = {"step": "5", "clock_s": "12.5", "trained_through": "3", "parent": "1", "version": True}


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        *((name, lambda said, name=name: said.update({name: TEXTS[name]})) for name in TEXTS),
        ("held_out.box", lambda said: said.update(held_out={"box": "0.5"})),
        ("tensors.0.shape.0", lambda said: said["tensors"][0].update(shape=["1"])),
        ("encodings.0.blobs.0.size", lambda said: said["encodings"][0]["blobs"][0].update(size="1")),
    ],
)
def test_a_manifest_in_which_a_text_stands_for_a_number(
    world: World, http: httpx.Client, field: str, changed: Callable[[dict[str, Any]], None]
) -> None:
    said = json.loads(json.dumps(manifest()[0].to_json()))
    changed(said)
    lease = {"holder": "a", "fence": 1, "until": 0}
    assert_refused(http.post("/v1/releases", json={"release": said, "lease": lease}), 422, f"release.{field}")
    assert nothing_stored(world)


def test_a_registration_in_which_a_text_stands_for_a_number(http: httpx.Client) -> None:
    said = wire.registration_to_json(registration())
    said["spec"] = {**said["spec"], "cameras": [{"name": "top", "height": "480", "width": 640}]}
    assert_refused(http.post("/v1/robots", json=said), 422, "registration.spec.cameras.0.height")


def test_an_unknown_path_or_method_is_json_too(http: httpx.Client) -> None:
    assert_refused(http.get("/v1/elephants"), 404, "/v1/elephants")
    assert_refused(http.delete("/v1/episodes"), 405, "/v1/episodes")


def test_figures_that_are_no_numbers_do_not_break_the_view(world: World, http: httpx.Client) -> None:
    body = '{"run": "r", "step": 1, "release": 0, "cursor": 0, "parked": false, "lag_s": 0, "figures": {"loss": %s}}'
    for odd in ("NaN", "Infinity", "-1e999"):
        assert http.post("/v1/learner", content=body % odd).is_success
        learner = world.hub.fleet().learner
        assert learner
        assert learner.figures == {"loss": None}
    for odd in ('"nan"', "1e999", '"-inf"'):
        said = http.post("/v1/learner", content=(body % 1).replace('"lag_s": 0', f'"lag_s": {odd}'))
        assert_refused(said, 422, "learner.lag_s")


def test_a_registration_says_no_more_than_it_may(http: httpx.Client) -> None:
    data = wire.registration_to_json(registration())
    assert http.post("/v1/robots", json={**data, "from a later version": 1}).is_success
    strange = {**data, "spec": {**data["spec"], "cameras": [{"name": "top", "height": 1, "width": 1, "depth": 1}]}}
    assert_refused(http.post("/v1/robots", json=strange), 422, "registration.spec")


_errors = st.builds(
    lambda kind, texts: kind(*texts),
    st.sampled_from(
        [EpisodeInvalid, SpecMismatch, ReleaseInvalid, UnknownName, HubRefused, LeaseLost, HubFailed, HubUnavailable]
    ),
    st.tuples(st.text(), st.text(), st.text()),
)


@given(_errors)
def test_errors_keep_their_type_and_words_over_the_wire(error: FleetLoopError) -> None:
    status, body = wire.error_to_json(error)
    came = wire.error_from_json(status, json.dumps(body).encode(), "http://hub")
    assert (came.field, came.problem, came.remedy) == (error.field, error.problem, error.remedy)
    assert type(came) is type(error)


def test_a_fault_of_the_hubs_own_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a courier may send another episode first."""

    def fault(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(HubService, "register", fault)
    with (
        behind_http(HubOptions(directory=tmp_path / "hub"), Virtual(1000)) as world,
        pytest.raises(HubFailed, match="see the hub's log") as raised,
    ):
        world.hub.register(registration())
    assert "ZeroDivision" not in str(raised.value)


def test_what_is_no_hub_is_named_by_its_address() -> None:
    error = wire.error_from_json(418, b"<html>teapot</html>", "http://teapot")
    assert (error.field, type(error)) == ("http://teapot", NotTheHub)


def test_asdict_of_a_fleet_view_survives_the_wire(world: World) -> None:
    world.hub.register(registration())
    fleet = world.hub.fleet()
    assert wire.fleet_from_json(json.loads(json.dumps(wire.fleet_to_json(fleet)))) == fleet
    assert asdict(fleet.members[0].registration.spec) == registration().spec.to_json()
