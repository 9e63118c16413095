"""A bench's outcome: a table on stdout, and the same figures as JSON where a file was named."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def arguments(description: str, **numbers: float) -> argparse.ArgumentParser:
    """A parser with `--report` and one option per number, whose default it is."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--report", type=Path, help="write the figures to this JSON file")
    return parser


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows that have the same keys as a table."""
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    print(f"\n{title}")
    for line in [names, ["-" * width for width in widths], *cells]:
        first, *others = zip(line, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]))


def write(path: Path | None, figures: Row) -> None:
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")
        print(f"\n{path}")


def _cell(value: object) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
