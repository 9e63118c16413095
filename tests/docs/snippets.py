"""What the documentation shows, as the tests read it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for kind, text in _BLOCK.findall((ROOT / page).read_text()) if kind == language]


def without_blocks(page: str) -> str:
    return _BLOCK.sub("", (ROOT / page).read_text())


def run(source: str, name: str) -> dict[str, object]:
    """Execute a block of Python as a module of this name; returns what it defines."""
    space: dict[str, object] = {"__name__": name}
    exec(compile(source, name, "exec", dont_inherit=True), space)
    return space
