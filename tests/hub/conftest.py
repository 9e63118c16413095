"""Fixtures of the hub's tests."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from bucket import Kept, S3Server
from hub_world import TASKS, World, behind_http, fresh_id, in_process
from promoting import Fleet

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import AttentionOptions, HubOptions, RetentionOptions
from fleetloop.hub.service import HubService
from postgres import Postgres


@pytest.fixture(params=[in_process, behind_http], ids=["in-process", "http"])
def opened(request: pytest.FixtureRequest) -> Callable[[HubOptions, Virtual], AbstractContextManager[World]]:
    """The two ways to reach a hub; what holds for one holds for the other."""
    opener: Callable[[HubOptions, Virtual], AbstractContextManager[World]] = request.param
    return opener


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["directory", "s3", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> str:
    """As `hub.store` names it: the two stores, and the directory beside a catalog in PostgreSQL."""
    return request.getfixturevalue("bucket") if request.param == "s3" else ""


@pytest.fixture
def catalog(request: pytest.FixtureRequest) -> str | None:
    """As `hub.catalog` names it."""
    variants = getattr(request.node, "callspec", None)
    if variants is None or variants.params.get("store") != "postgres":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.emptied()


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in a bucket of its own."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    name = f"fleet-{fresh_id().lower()}"
    httpx.put(f"{s3.environment['AWS_ENDPOINT_URL']}/{name}", trust_env=False).raise_for_status()
    return f"s3://{name}/below/a/prefix"


@pytest.fixture
def options(tmp_path: Path, store: str, catalog: str | None) -> HubOptions:
    attention = AttentionOptions(operators=1, robots_per_operator=2, lease_s=10)
    return HubOptions(
        directory=tmp_path / "hub",
        store=store,
        catalog=catalog,
        max_episode_mb=4,
        learner_lease_s=60,
        attention=attention,
    )


@pytest.fixture
def kept(options: HubOptions) -> Kept:
    """What lies in the store, seen past the hub."""
    return Kept(options)


@pytest.fixture
def world(
    opened: Callable[[HubOptions, Virtual], AbstractContextManager[World]], options: HubOptions
) -> Iterator[World]:
    with opened(options, Virtual(start=1000)) as world:
        yield world


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Where a robot's sealed episodes lie."""
    directory = tmp_path / "outbox"
    directory.mkdir()
    return directory


@pytest.fixture
def served(options: HubOptions) -> Iterator[World]:
    """Behind HTTP, by this machine's clock."""
    with behind_http(options, Virtual(time.time())) as world:
        yield world


@pytest.fixture
def http(served: World) -> Iterator[httpx.Client]:
    assert isinstance(served.hub, HttpHub)
    with httpx.Client(base_url=served.hub.url, trust_env=False) as client:
        yield client


@pytest.fixture
def clock() -> Virtual:
    return Virtual(1e6)


@pytest.fixture
def retaining(tmp_path: Path, clock: Virtual) -> Iterator[Callable[..., HubService]]:
    """Opens the hub, anew if it runs, with these options of retention."""
    running: list[HubService] = []

    def opened(disk: RealDisk | None = None, **options: Any) -> HubService:
        while running:
            running.pop().close()
        chosen = HubOptions(
            directory=tmp_path / "hub", retention=RetentionOptions.model_validate({"grace_wall_s": 0, **options})
        )
        running.append(HubService.open(chosen, clock, disk or RealDisk(), TASKS))
        return running[-1]

    yield opened
    running.pop().close()


@pytest.fixture
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, **getattr(request, "param", {}))
    yield fleet
    fleet.close()
