"""Who may do what: every route against every scope, what a robot's token is good for, and TLS."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from certificates import certificate
from hub_world import TASKS, HubProcess, launch, put, registration, sealed, wants
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual, Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import ConfigInvalid, HubRefused, HubUnavailable
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import check_binding
from fleetloop.hub.service import HubService
from fleetloop.hub.tokens import Scope, Tokens

ROBOT, LEARNER, OPERATOR = Scope
HOME = "http://127.0.0.1:8787"
HEALTH = ("GET", "/v1/health")
ALLOWED = {
    ("GET", "/v1/episodes"): {LEARNER, OPERATOR},
    ("PUT", "/v1/episodes/{id}"): {ROBOT, OPERATOR},
    ("GET", "/v1/episodes/{id}"): {LEARNER, OPERATOR},
    ("POST", "/v1/episodes/{id}/check"): {LEARNER, OPERATOR},
    ("PUT", "/v1/uploads/{id}/{hash}"): {ROBOT, OPERATOR},
    ("PATCH", "/v1/uploads/{id}/{hash}"): {ROBOT, OPERATOR},
    ("POST", "/v1/uploads/{id}/{hash}"): {ROBOT, OPERATOR},
    ("GET", "/v1/episodes/{id}/annotations"): {LEARNER, OPERATOR},
    ("POST", "/v1/annotations"): {OPERATOR},
    ("GET", "/v1/events"): {LEARNER, OPERATOR},
    ("POST", "/v1/lease"): {LEARNER},
    ("PUT", "/v1/lease"): {LEARNER},
    ("PUT", "/v1/blobs/{hash}"): {LEARNER},
    ("GET", "/v1/blobs/{hash}"): set(Scope),
    ("POST", "/v1/drafts"): {LEARNER},
    ("POST", "/v1/releases"): {LEARNER},
    ("GET", "/v1/releases"): set(Scope),
    ("GET", "/v1/releases/{version}"): set(Scope),
    ("GET", "/v1/steering"): {LEARNER, OPERATOR},
    ("PUT", "/v1/channels/stable"): {OPERATOR},
    ("PUT", "/v1/pins/{robot}"): {OPERATOR},
    ("GET", "/v1/tallies"): {LEARNER, OPERATOR},
    ("GET", "/v1/channels/{name}"): set(Scope),
    ("GET", "/v1/channels/{name}/coming"): set(Scope),
    ("POST", "/v1/robots"): {ROBOT},
    ("DELETE", "/v1/robots/{robot}"): {OPERATOR},
    ("POST", "/v1/beats"): {ROBOT},
    ("POST", "/v1/learner"): {LEARNER},
    ("GET", "/v1/fleet"): {LEARNER, OPERATOR},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[HubService]:
    service = HubService.open(HubOptions(directory=tmp_path / "hub"), Virtual(start=1000), RealDisk(), TASKS)
    yield service
    service.close()


@pytest.fixture
def client(service: HubService) -> Iterator[TestClient]:
    with TestClient(Face(service, HubOptions(require_tokens=True)).app) as client:
        yield client


def call(client: TestClient, route: tuple[str, str], secret: str = "") -> tuple[int, str]:
    method, path = route
    filled = path.format(id="0" * 26, hash="0" * 64, version="1", name="edge", robot="robot-1")
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    said = client.request(method, filled, headers=headers, content=None if method == "GET" else b"{}")
    return said.status_code, said.text


def test_the_table_above_names_every_route_of_the_hub(service: HubService) -> None:
    routes = [route for route in Face(service, HubOptions()).app.routes if isinstance(route, Route)]
    served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert served == {*ALLOWED, HEALTH}


@pytest.mark.parametrize("route", ALLOWED, ids=" ".join)
@pytest.mark.parametrize("scope", Scope)
def test_a_route_serves_its_scopes_and_names_them_to_others(
    service: HubService, client: TestClient, route: tuple[str, str], scope: Scope
) -> None:
    token, secret = service.tokens.issue(scope)
    status, text = call(client, route, secret)
    if scope in ALLOWED[route]:
        assert status not in (401, 403), text
        service.tokens.revoke(token.id)
        assert call(client, route, secret)[0] == 401
    else:
        assert status == 403
        assert f"needs {' or '.join(sorted(ALLOWED[route]))}" in text


@pytest.mark.parametrize("route", ALLOWED, ids=" ".join)
@pytest.mark.parametrize("secret", ["", "fleetloop_guess"])
def test_without_a_valid_token_nothing_is_served(client: TestClient, route: tuple[str, str], secret: str) -> None:
    status, text = call(client, route, secret)
    assert status == 401
    assert "fleetloop tokens issue" in text


def test_whether_it_lives_is_told_to_anybody(client: TestClient) -> None:
    assert call(client, HEALTH)[0] == 200


def test_this_machines_own_processes_are_asked_for_no_token_by_default(service: HubService) -> None:
    with TestClient(Face(service, HubOptions()).app, base_url=HOME) as client:
        assert call(client, ("GET", "/v1/fleet"))[0] == 200


def test_pages_in_a_browser_of_this_machine_may_ask_nothing_of_a_hub_without_tokens(service: HubService) -> None:
    with TestClient(Face(service, HubOptions()).app, base_url=HOME) as client:

        def asked(**headers: str) -> int:
            return client.post("/v1/lease", json={"holder": "me"}, headers=headers).status_code

        for name in ("localhost:8787", "127.0.0.1", "[::1]:8787"):
            assert asked(Host=name) == 200
            assert asked(Host=name, Origin="http://localhost:8888") == 403
        assert asked(Origin="https://evil.example") == asked(Origin="null") == asked(Origin="http://[") == 403
        assert asked(Host="evil.example:8787") == asked(Host="[") == asked(Host="") == 403
        refusal = client.get("/v1/fleet", headers={"Host": "rebound.example"}).json()["error"]
        assert "rebound.example" in refusal["problem"]
        assert "hub.require_tokens" in refusal["remedy"]


def test_where_tokens_or_everybody_is_asked_for_any_name_will_do(service: HubService) -> None:
    bearer = {"Authorization": f"Bearer {service.tokens.issue(LEARNER)[1]}", "Host": "hub.lab"}
    for options in (HubOptions(require_tokens=True), HubOptions(host="0.0.0.0", insecure=True)):
        with TestClient(Face(service, options).app) as client:
            assert client.get("/v1/fleet", headers=bearer).status_code == 200


# ---------------------------------------------------------------------- a robot's token


def test_a_robot_speaks_for_itself_alone(service: HubService, client: TestClient, outbox: Path) -> None:
    episode = sealed(outbox)
    me = episode.meta.robot
    mine, others = ({"Authorization": f"Bearer {service.tokens.issue(ROBOT, [name])[1]}"} for name in (me, "another"))

    def upload(bearer: dict[str, str]) -> int:
        headers = {wire.HASH_HEADER: episode.hash, **bearer}
        body = episode.path.read_bytes()
        return client.put(f"/v1/episodes/{episode.meta.id}", content=body, headers=headers).status_code

    assert upload(others) == 403
    assert service.episodes() == []
    assert upload(mine) == 201
    for path, body in (
        ("/v1/robots", wire.registration_to_json(registration(me))),
        ("/v1/beats", [asdict(wants(me))]),
    ):
        assert client.post(path, json=body, headers=others).status_code == 403
        assert client.post(path, json=body, headers=mine).is_success


def test_no_secret_is_kept(service: HubService, tmp_path: Path) -> None:
    token, secret = service.tokens.issue(LEARNER, note="the big machine")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "hub").glob("catalog*"))
    assert token.id.encode() in stored
    assert secret.removeprefix(f"fleetloop_{token.id}_").encode() not in stored


def test_tokens_are_listed_and_stay_revoked(service: HubService) -> None:
    first, _ = service.tokens.issue(ROBOT, ["arm-1", "arm-2"], note="bench 3")
    second, _ = service.tokens.issue(OPERATOR)
    revoked = service.tokens.revoke(second.id)
    assert revoked.revoked_wall_s is not None
    assert service.tokens.revoke(second.id) == revoked
    assert {token.id: token for token in service.tokens.all()} == {first.id: first, second.id: revoked}
    assert replace(revoked, revoked_wall_s=None) == second
    with pytest.raises(HubRefused, match="'nobody' is not known here"):
        service.tokens.revoke("nobody")


def test_where_there_is_no_hub_none_is_made_without_a_word(tmp_path: Path) -> None:
    hub, run = tmp_path / "hub", CliRunner(env={"COLUMNS": "500"})
    for words in (["ls"], ["revoke", "5f1c09aa"]):
        said = run.invoke(app, ["tokens", *words, "--directory", str(hub)])
        assert said.exit_code != 0
        assert f"{hub}: holds no catalog" in said.stderr
        assert not hub.exists()
    for made in (True, False):
        said = run.invoke(app, ["tokens", "issue", "learner", "--directory", str(hub)])
        assert (said.exit_code, f"{hub} held no hub: made a new one there" in said.stderr) == (0, made)
        catalog = Catalog(hub / CATALOG)
        assert Tokens(catalog, Wall()).holder(said.stdout.strip()).scope is LEARNER
        catalog.close()


def test_no_token_hides_that_a_catalog_is_gone(service: HubService, tmp_path: Path, outbox: Path) -> None:
    put(service, sealed(outbox))
    service.close()
    for path in (tmp_path / "hub").glob(f"{CATALOG}*"):
        path.unlink()
    said = CliRunner().invoke(app, ["tokens", "issue", "learner", "--directory", str(tmp_path / "hub")])
    assert said.exit_code != 0
    assert not (tmp_path / "hub" / CATALOG).exists()


# ---------------------------------------------------------------------- TLS


def test_over_tls_with_a_token_an_episode_arrives(tmp_path: Path, outbox: Path) -> None:
    shown, kept = certificate(tmp_path / "tls")
    hub = HubProcess.start(tmp_path / "hub", tls_certificate=str(shown), tls_key=str(kept), require_tokens=True)
    assert hub.url.startswith("https://")
    catalog = Catalog(tmp_path / "hub" / "catalog.sqlite")  # as `fleetloop tokens` does, while the hub runs
    tokens = Tokens(catalog, Wall())
    token, secret = tokens.issue(ROBOT)

    trusting, doubting = HttpHub(hub.url, token=secret, ca=shown), HttpHub(hub.url, token=secret)
    assert put(trusting, sealed(outbox)) == 1
    with pytest.raises(HubRefused, match="needs learner or operator"):
        trusting.fleet()
    with pytest.raises(HubUnavailable, match="name its certificate as hub_ca"):
        doubting.fleet()
    tokens.revoke(token.id)
    with pytest.raises(HubRefused, match="was revoked"):
        put(trusting, sealed(outbox))
    for end in (trusting, doubting, catalog):
        end.close()
    assert hub.stop() == 0


def test_off_this_machine_a_hub_needs_tls_and_then_asks_for_tokens(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"hub\.host.*no TLS"):
        check_binding(HubOptions(host="0.0.0.0"))
    shown, kept = certificate(tmp_path)
    safe = HubOptions(host="0.0.0.0", tls_certificate=shown, tls_key=kept)
    check_binding(safe)
    assert safe.asks_for_tokens
    assert not HubOptions(host="0.0.0.0", insecure=True).asks_for_tokens


def test_a_certificate_that_does_not_fit_is_refused_in_a_line(tmp_path: Path) -> None:
    shown, _ = certificate(tmp_path / "one")
    _, other = certificate(tmp_path / "two")
    process = launch(tmp_path / "hub", tls_certificate=str(shown), tls_key=str(other))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "hub.tls_certificate: can't be used with hub.tls_key" in said
    with pytest.raises(ConfigInvalid, match="hub_ca"):
        HttpHub("https://127.0.0.1:1", ca=tmp_path / "missing.pem")


def test_a_token_never_travels_in_the_clear() -> None:
    for url in ("http://10.0.0.5:8787", "HTTP://10.0.0.5:8787"):
        with pytest.raises(ConfigInvalid, match=r"(?i)hub_url: http://10\.0\.0\.5:8787 would show the token"):
            HttpHub(url, token="secret")
    HttpHub("http://127.0.0.1:8787", token="secret").close()
