"""Tables as the commands print them. What robots, people and gates wrote is text, whatever brackets it has: colours are
`rich.text.Text`."""

from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

UNBOUNDED = 160  # columns, where the output is no terminal and nobody has to fold it


def table(*heads: str, title: str | None = None) -> Table:
    """An empty table; its first column is never cut."""
    made = Table(*heads, title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    made.columns[0].no_wrap = True
    made.columns[0].overflow = "ignore"
    return made


def console(**options: Any) -> Console:
    """Where anything is printed: rich's, which takes no text for markup or an emoji."""
    return Console(markup=False, emoji=False, **options)


def show(what: RenderableType) -> None:
    """Print it on stdout."""
    terminal = console()
    (terminal if terminal.is_terminal else console(width=UNBOUNDED)).print(what)


def rounded(value: float | None) -> str:
    """A count, or nothing where there is none."""
    return "–" if value is None else f"{value:.0f}"
