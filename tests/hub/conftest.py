"""Fixtures of the hub's tests."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hub_world import World, behind_http, in_process

from fleetloop.core.clock import Virtual
from fleetloop.hub.options import AttentionOptions, HubOptions


@pytest.fixture(params=[in_process, behind_http], ids=["in-process", "http"])
def opened(request: pytest.FixtureRequest) -> Callable[[HubOptions, Virtual], AbstractContextManager[World]]:
    """The two ways to reach a hub; what holds for one holds for the other."""
    opener: Callable[[HubOptions, Virtual], AbstractContextManager[World]] = request.param
    return opener


@pytest.fixture
def options(tmp_path: Path) -> HubOptions:
    attention = AttentionOptions(operators=1, robots_per_operator=2, lease_s=10)
    return HubOptions(directory=tmp_path / "hub", max_episode_mb=0.2, learner_lease_s=60, attention=attention)


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
