"""Figures as cells of Markdown tables."""

from collections.abc import Sequence

from fleetloop.lab.statistics import Estimate

NOTHING = "–"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def said(estimate: Estimate | None) -> str:
    return str(estimate) if estimate else NOTHING
