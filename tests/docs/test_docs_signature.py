"""What the page says of signatures: its example holds, and its rules are enough to write what robots check."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from snippets import blocks, without_blocks

from fleetloop.core.errors import FleetLoopError
from fleetloop.core.release import Release
from fleetloop.weights.signature import Signer, Trust

PAGE = "docs/reference/release.md"
KEY, STATEMENT = (text.strip() for text in blocks(PAGE, "text"))
NUMBERS = re.findall(r"^\| `(\S+)` \| `(\S+)` \|$", without_blocks(PAGE), re.MULTILINE)
SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@pytest.fixture
def example() -> dict[str, Any]:
    (text,) = blocks(PAGE, "json")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def test_the_example_is_taken_by_its_key_and_has_the_statement_that_is_shown(example: dict[str, Any]) -> None:
    release, statement = Release.from_json(example), STATEMENT.replace("\n", "")
    assert release.statement().decode() == statement
    assert f"{len(statement)} bytes" in without_blocks(PAGE)
    Trust("run-1", (KEY,)).check(release)
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    assert (signer.public, signer.sign(release).signature) == (KEY, example["signature"])


def test_a_stranger_writes_the_examples_statement_by_the_rules(example: dict[str, Any]) -> None:
    said = {"covers": [], "condition": "", "held_out": {}} | example
    for left_out in ("version", "collected_wall_s", "signature"):
        said.pop(left_out, None)
    assert written(said) == STATEMENT.replace("\n", "")


def test_what_the_page_says_may_be_left_out_may_be_and_nothing_else(example: dict[str, Any]) -> None:
    said = re.search(r"((?:`\w+`(?:,| and)?\s)+)may be left out", without_blocks(PAGE))
    assert said
    optional, names = set(re.findall(r"`(\w+)`", said[1])), set(Release.__dataclass_fields__)
    whole = Release.from_json(example).to_json()
    for name in names:
        less = {key: value for key, value in whole.items() if key != name}
        assert (name in optional) == _is_read(less), name


@pytest.mark.parametrize(("given", "expected"), NUMBERS)
def test_the_numbers_of_the_page_are_written_so(given: str, expected: str) -> None:
    assert json.dumps(json.loads(given)) == expected == written(json.loads(given))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_the_rules_of_the_page_are_what_robots_go_by(value: Any) -> None:
    assert json.dumps(value, sort_keys=True, separators=(",", ":")) == written(value)


def _is_read(manifest: dict[str, Any]) -> bool:
    try:
        Release.from_json(manifest)
    except FleetLoopError:
        return False
    return True


def written(value: Any) -> str:
    """By the words of the page alone."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return '"' + "".join(map(_character, value)) + '"'
        case int():
            return str(value)
        case float():
            return _number(value)
        case list():
            return "[" + ",".join(map(written, value)) + "]"
    return "{" + ",".join(f"{written(key)}:{written(value[key])}" for key in sorted(value)) + "}"


def _character(one: str) -> str:
    if one in SHORT:
        return SHORT[one]
    if " " <= one <= "~":
        return one
    units = one.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _number(value: float) -> str:
    negative, given, last = Decimal(repr(value)).as_tuple()  # the digits alone are taken from there
    assert isinstance(last, int)
    digits = "".join(map(str, given)).rstrip("0") or "0"
    exponent = len(given) + last - 1 if value else 0
    sign = "-" if negative else ""
    if value and not 1e-4 <= abs(value) < 1e16:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{sign}{digits[: exponent + 1].ljust(exponent + 1, '0')}.{digits[exponent + 1 :] or '0'}"
