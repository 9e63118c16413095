"""What the documentation points to is there: files, headings, commands with their options, targets of make."""

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from snippets import NAMES, ROOT, blocks, without_blocks

from fleetloop.cli.main import app

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TESTS = re.compile(r"`((?:tests|bench|src|docs)/[\w./-]+)`")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
SHOWN = re.compile(r"`(fleetloop [^`]*)`")


@pytest.mark.parametrize("page", NAMES)
def test_relative_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(without_blocks(page)):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if heading:
            assert heading in _headings(target), f"{page}: {link}"


@pytest.mark.parametrize("page", NAMES)
def test_paths_that_are_named_exist(page: str) -> None:
    for path in TESTS.findall(without_blocks(page)):
        assert (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize("page", [name for name in NAMES if blocks(name, "bash") or SHOWN.search(without_blocks(name))])
def test_commands_exist_with_their_options(page: str) -> None:
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["fleetloop"]:
            _parse(_redirected(words[1:]), f"{page}: {line}")
        elif words[:1] == ["make"]:
            wanted = [word for word in words[1:] if "=" not in word]
            assert set(wanted) <= set(TARGET.findall((ROOT / "Makefile").read_text())), f"{page}: {line}"
    for shown in SHOWN.findall(without_blocks(page)):
        _exists(shlex.split(shown)[1:], f"{page}: {shown}")


def test_the_configuration_page_is_up_to_date() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "write_config.py"))
    assert written["PAGE"].read_text() == written["page"](), "run: python docs/write_config.py"


def _parse(words: list[str], where: str) -> None:
    """Let the command line's own parser read a whole command, without running it."""
    command, words, context = _resolved(words, where)
    if words != ["--help"]:
        command.make_context(command.name, list(words), parent=context)


def _exists(words: list[str], where: str) -> None:
    """Whether a mention in running text, which may leave arguments out, names commands and options that are there."""
    command, words, _ = _resolved(words, where)
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known | {"--help"}, where


def _resolved(words: list[str], where: str) -> tuple[Any, list[str], Any]:
    """The command that these words name, the words after it, and its parent's context."""
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="fleetloop")
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{where}: no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words, context


def _redirected(words: list[str]) -> list[str]:
    return words[: words.index(">")] if ">" in words else words


def _headings(page: Path) -> set[str]:
    lines = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
