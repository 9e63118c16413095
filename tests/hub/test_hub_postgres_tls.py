"""A catalog in a PostgreSQL that speaks TLS: to whom the hub talks, and whom it will not have."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from certificates import certificate
from hub_world import TASKS

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from postgres import Postgres

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("server"))[0]


@pytest.fixture(scope="module")
def server(shown: Path) -> Iterator[Postgres]:
    server = Postgres()
    server.speak_tls(shown, shown.with_suffix(".key"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Someone else's certificate, for the same address."""
    return certificate(tmp_path_factory.mktemp("stranger"))[0]


def opened(directory: Path, url: str) -> HubService:
    options = HubOptions(directory=directory, catalog=url)
    return HubService.open(options, Virtual(1000), RealDisk(), TASKS)


@pytest.mark.parametrize("mode", ["require", "verify-full&sslrootcert={shown}"])
def test_over_tls_the_hub_opens(server: Postgres, shown: Path, tmp_path: Path, mode: str) -> None:
    with closing(opened(tmp_path, f"{server.emptied()}?sslmode={mode.format(shown=shown)}")) as hub:
        assert hub.fleet().episodes == 0
        assert server.encrypted() > 0


@pytest.mark.parametrize("root", ["", "&sslrootcert={stranger}"])
def test_a_server_that_nobody_vouches_for_gets_nothing(
    server: Postgres, stranger: Path, tmp_path: Path, root: str
) -> None:
    with pytest.raises(DiskTrouble, match=r"(?i)certificate.verify.failed"):
        opened(tmp_path, f"{server.emptied()}?sslmode=verify-full{root.format(stranger=stranger)}")


def test_a_server_by_another_name_than_its_certificates_gets_nothing(
    server: Postgres, shown: Path, tmp_path: Path
) -> None:
    url = server.emptied().replace("127.0.0.1", "localhost")
    with pytest.raises(DiskTrouble, match="localhost"):
        opened(tmp_path, f"{url}?sslmode=verify-full&sslrootcert={shown}")
