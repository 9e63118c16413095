"""The lab's pages are those of the results beside them."""

import json
from pathlib import Path

import pytest

from fleetloop.lab.experiments import EXPERIMENTS
from fleetloop.lab.results import Results

LAB = Path(__file__).parents[2] / "docs" / "results" / "lab"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_page_tells_of_all_results_that_are_there(name: str) -> None:
    """Where it fails, `fleetloop lab report` writes the page anew."""
    results = Results.load(EXPERIMENTS[name], LAB)
    summary = json.loads((LAB / f"{name}.json").read_text())
    told = {arm: (found["seeds"], found["average"]) for arm, found in summary["arms"].items()}
    assert told == {arm: (list(found.seeds), results.average(arm).to_json()) for arm, found in results.arms.items()}
    page = (LAB / f"{name}.md").read_text()
    assert all(f"| {arm} |" in page for arm in told)
    assert ("Not yet run" in page) == bool(results.missing)
