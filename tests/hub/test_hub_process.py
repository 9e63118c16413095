"""A hub in a process of its own: killed, restarted, refused a place."""

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread

import httpx
import pytest
from hub_world import HubProcess, launch, manifest, publish, put, put_blobs, registration, sealed, until, wants

from fleetloop.core.clock import Wall
from fleetloop.core.errors import FleetLoopError, HubRefused, HubUnavailable, LeaseLost
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.catalog.schema import LAYOUT
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import check_binding, serve


def test_killed_in_the_middle_of_an_upload(tmp_path: Path, outbox: Path) -> None:
    """Nothing half stored, what was acknowledged is there, and the upload succeeds when it is tried again."""
    directory = tmp_path / "hub"
    safe, torn = sealed(outbox), sealed(outbox, "p" * 45_000)
    hub = HubProcess.start(directory)
    client = HttpHub(hub.url)
    put(client, safe)
    data = torn.path.read_bytes()

    def slow_body():  # type: ignore[no-untyped-def]
        half = len(data) // 2
        for start in range(0, half, 65536):
            yield data[start : min(start + 65536, half)]
        until(lambda: any(path.stat().st_size for path in (directory / "incoming").iterdir()))
        hub.kill()
        yield data[half:]

    headers = {wire.HASH_HEADER: torn.hash, "Content-Length": str(len(data))}
    with pytest.raises(httpx.TransportError):
        httpx.put(
            f"{hub.url}/v1/episodes/{torn.meta.id}", content=slow_body(), headers=headers, trust_env=False, timeout=30
        )
    assert list((directory / "incoming").iterdir())
    with pytest.raises(HubUnavailable):
        client.episodes()
    client.close()

    again = HubProcess.start(directory)
    client = HttpHub(again.url)
    assert list((directory / "incoming").iterdir()) == []
    assert [row["id"] for row in client.episodes()] == [safe.meta.id]
    assert put(client, torn) == 2
    assert client.put_episode(safe.meta.id, safe.path, safe.hash).known
    client.close()
    assert again.stop() == 0


def test_an_upload_on_a_capped_uplink_arrives_whole(tmp_path: Path, outbox: Path) -> None:
    hub = HubProcess.start(tmp_path / "hub")
    client = HttpHub(hub.url, uplink_mbps=50)
    large = sealed(outbox, "p" * 45_000)
    assert put(client, large) == 1
    copy = tmp_path / "copy.arrow"
    client.get_episode(large.meta.id, copy)
    assert copy.read_bytes() == large.path.read_bytes()
    client.close()
    assert hub.stop() == 0


def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path, outbox: Path) -> None:
    directory = tmp_path / "hub"
    hub = HubProcess.start(directory, attention={"operators": 1, "robots_per_operator": 1, "lease_s": 600})
    client = HttpHub(hub.url)
    client.register(registration("robot-1"))
    client.register(registration("robot-2"))
    first, second = client.beat([wants("robot-1"), wants("robot-2")])
    assert (first.attendant, second.attendant) == ("shift-1", "")
    episode = sealed(outbox)
    put(client, episode)
    verdict = Annotation(episode.meta.id, episode.meta.id, "ann", Judge.PERSON, 1.7e9, Outcome.FAILURE)
    client.annotate(verdict)
    release = publish(client)
    lease = client.claim_lease("learner")
    events = client.events(0)
    hub.kill()
    client.close()

    hub = HubProcess.start(directory, attention={"operators": 1, "robots_per_operator": 1, "lease_s": 600})
    client = HttpHub(hub.url)
    assert client.events(0) == events
    assert [row["outcome"] for row in client.episodes()] == ["failure"]
    assert client.annotations(episode.meta.id) == [verdict]
    assert client.channel("stable") == release
    assert client.renew_lease(lease).fence == lease.fence
    with pytest.raises(HubRefused, match="is the learner"):
        client.claim_lease("another")
    renewed = client.claim_lease("learner")
    assert renewed.fence == lease.fence + 1
    other, encoded = manifest(2)
    put_blobs(client, encoded)
    with pytest.raises(LeaseLost):
        client.publish(other, lease)
    assert client.publish(other, renewed).version == 2
    second, first = client.beat([wants("robot-2"), wants("robot-1")])
    assert (first.attendant, second.attendant) == ("shift-1", "")
    client.close()
    assert hub.stop() == 0


def test_a_stopping_hub_ends_its_long_polls(tmp_path: Path) -> None:
    hub = HubProcess.start(tmp_path / "hub")
    client = HttpHub(hub.url)
    assert client.events(0) == []
    said: list[object] = []

    def poll() -> None:
        try:
            said.append(list(client.events(0, wait_s=60)))
        except HubUnavailable as error:  # it asked after the door was shut
            said.append(error)

    waiting = Thread(target=poll)
    waiting.start()
    assert hub.stop() == 0
    waiting.join(timeout=30)
    assert len(said) == 1
    client.close()


# ---------------------------------------------------------------------- refused a place, in one line


def refusal(directory: Path, **options: object) -> str:
    with pytest.raises(FleetLoopError) as error:
        serve(HubOptions.model_validate({"directory": directory, "port": 0, **options}), Wall())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "hub.example.org", "::"])
def test_an_open_address_needs_to_be_asked_for(tmp_path: Path, host: str) -> None:
    assert "insecure" in refusal(tmp_path / "hub", host=host)
    assert not (tmp_path / "hub").exists()
    check_binding(HubOptions(host=host, insecure=True))


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(tmp_path / "hub", port=port)
    assert str(port) in said
    assert "hub.port" in said


def test_a_directory_that_another_hub_serves(tmp_path: Path) -> None:
    hub = HubProcess.start(tmp_path / "hub")
    assert "another running hub" in refusal(tmp_path / "hub")
    assert hub.stop() == 0


def test_a_directory_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in refusal(tmp_path / "file" / "hub")


def test_a_foreign_catalog(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(os.urandom(8192))
    assert "catalog.sqlite" in refusal(tmp_path)


def test_a_catalog_from_another_version(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as catalog:
        catalog.execute("PRAGMA user_version = 99")
    assert f"layout 0099; this version reads {LAYOUT}" in refusal(tmp_path)


def test_a_refused_hub_says_so_and_exits_with_an_error(tmp_path: Path) -> None:
    process = launch(tmp_path / "hub", host="0.0.0.0")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("\n") == 1


def test_no_hub_at_all_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(HubUnavailable, match=r"can't be reached.*running"):
        HttpHub(f"http://127.0.0.1:{port}").fleet()
