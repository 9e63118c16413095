"""Text that came as JSON, where a `\\ud83d` may stand alone: half of a character, which nothing can write as UTF-8.

A `\\u0000` is as little use: a database may take it for the end of the text, or not at all.
"""

from collections.abc import Iterable
from typing import Any


def torn(data: Any, name: str) -> str:
    """The dotted name of the first text in this JSON value that can't be kept; empty if there is none."""
    if isinstance(data, str):
        return "" if _whole(data) else name
    if isinstance(data, dict) and not all(map(_whole, data)):
        return name
    inner: Iterable[tuple[Any, Any]] = enumerate(data) if isinstance(data, list) else ()
    if isinstance(data, dict):
        inner = data.items()
    return next((found for key, value in inner if (found := torn(value, f"{name}.{key}"))), "")


def _whole(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def tellable(text: str) -> str:
    """The text with a ? for whatever of it can't be kept: a driver's error may say anything."""
    return text.encode(errors="replace").decode().replace("\0", "?")
