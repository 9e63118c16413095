"""Tokens of many calls at once: looked up together, each for itself, and anew for every call."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from anyio import CapacityLimiter

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.hub.catalog.catalog import Catalog
from fleetloop.hub.http.doorman import AT_ONCE, Doorman
from fleetloop.hub.tokens import Scope, Token, Tokens


class Counted(Tokens):
    """Notes how many were looked up at once. The first look waits until it may go on."""

    looks: list[int]
    go_on: Event

    def holders(self, secrets: Sequence[str]) -> Sequence[Token | HubRefused]:
        self.looks.append(len(secrets))
        assert self.go_on.wait(20)
        return super().holders(secrets)


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Counted]:
    catalog = Catalog(tmp_path / "catalog.sqlite")
    tokens = Counted(catalog, Virtual(1000.0))
    tokens.looks, tokens.go_on = [], Event()
    yield tokens
    catalog.close()


Asked = list["asyncio.Task[Token]"]


def asked(tokens: Counted, secrets: Sequence[str], meanwhile: Callable[[Asked], object] = lambda _: None) -> list[Any]:
    """What a doorman says of them, the first of whom he looks up while all others come."""

    async def ask() -> list[Any]:
        doorman = Doorman(tokens, CapacityLimiter(8))
        calls = [asyncio.ensure_future(doorman.holder(secrets[0]))]
        while not tokens.looks:
            await asyncio.sleep(0.001)
        for secret in secrets[1:]:
            calls.append(asyncio.ensure_future(doorman.holder(secret)))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        meanwhile(calls)
        tokens.go_on.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(ask())


def test_who_comes_meanwhile_is_looked_up_together_and_each_is_told_of_his_own(tokens: Counted) -> None:
    issued = [tokens.issue(Scope.ROBOT, [f"robot-{number}"]) for number in range(20)]
    said = asked(tokens, [*(secret for _, secret in issued), "fleetloop_guess", ""])
    assert said[:20] == [token for token, _ in issued]
    assert [(type(refusal), refusal.status) for refusal in said[20:]] == [(HubRefused, 401)] * 2
    assert tokens.looks == [1, 21]


def test_what_is_revoked_before_a_call_is_not_let_in_with_the_others(tokens: Counted) -> None:
    (first, one), (second, other) = tokens.issue(Scope.ROBOT), tokens.issue(Scope.ROBOT)
    said = asked(tokens, [one, other], lambda _: tokens.revoke(second.id))
    assert said[0] == first
    assert "was revoked" in str(said[1])
    with pytest.raises(HubRefused, match="was revoked"):
        tokens.holder(other)


def test_who_calls_later_is_looked_up_anew(tokens: Counted) -> None:
    token, secret = tokens.issue(Scope.ROBOT)
    tokens.go_on.set()

    async def ask() -> None:
        doorman = Doorman(tokens, CapacityLimiter(8))
        assert await doorman.holder(secret) == token
        await asyncio.sleep(0)
        assert await asyncio.wait_for(doorman.holder(secret), 20) == token
        tokens.revoke(token.id)
        with pytest.raises(HubRefused, match="was revoked"):
            await doorman.holder(secret)

    asyncio.run(ask())
    assert tokens.looks == [1, 1, 1]


def test_who_hangs_up_takes_nobody_along(tokens: Counted) -> None:
    token, secret = tokens.issue(Scope.ROBOT)
    first, *others = asked(tokens, [secret] * 3, lambda calls: calls[0].cancel())
    assert isinstance(first, asyncio.CancelledError)
    assert others == [token, token]


def test_a_catalog_that_fails_is_told_to_all_and_asked_again(tokens: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    token, secret = tokens.issue(Scope.ROBOT)

    def away() -> None:
        raise HubUnavailable("hub catalog", "can't serve now")

    with monkeypatch.context() as patched:
        patched.setattr(tokens._catalog, "reading", away)
        said = asked(tokens, [secret] * 3)
    assert [type(error) for error in said] == [HubUnavailable] * 3
    assert asked(tokens, [secret]) == [token]


def test_a_question_does_not_grow_with_the_fleet(tokens: Counted) -> None:
    token, secret = tokens.issue(Scope.ROBOT)
    assert asked(tokens, [secret] * (AT_ONCE + 2)) == [token] * (AT_ONCE + 2)
    assert tokens.looks == [1, AT_ONCE, 1]
