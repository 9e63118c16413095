"""The lab's pages are those of the results beside them, and what they show of experiments of one's own works."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from snippets import blocks
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.plugins import plugin
from fleetloop.lab.experiments import EXPERIMENTS, names
from fleetloop.lab.results import Results

LAB = Path(__file__).parents[2] / "docs" / "results" / "lab"
PAGE = "docs/concepts/lab.md"


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


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packages are found; here, and in the processes of jobs."""
    site = tmp_path / "site"
    (site / "mine-0.1.dist-info").mkdir(parents=True)
    (site / "mine-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    plugin.cache_clear()
    return site


def test_an_experiment_of_ones_own_runs_as_ours_do(site: Path, tmp_path: Path) -> None:
    (site / "my_package").mkdir()
    (site / "my_package" / "lab.py").write_text(blocks(PAGE, "python")[0])
    ((group, points),) = tomllib.loads(blocks(PAGE, "toml")[0])["project"]["entry-points"].items()
    said_there = "".join(f"{name} = {where}\n" for name, where in points.items())
    (site / "mine-0.1.dist-info" / "entry_points.txt").write_text(f"[{group}]\n{said_there}")
    places = ["--quick", "--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    arms = ["--seeds", "1", "--arms", "pretrained,own-successes", "-j", "1"]
    for command in (["run", "mine", *arms, *places], ["report", "mine", *places]):
        words = [sys.executable, "-m", "fleetloop", "lab", *command]
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
    page = (tmp_path / "cache" / "quick" / "mine.md").read_text()
    assert "| own-successes | pretrained |" in page
    assert "mine" in names()


@pytest.mark.parametrize(
    ("source", "told"),
    [("MINE = 3", "is no Experiment"), ("from fleetloop.lab.experiments import MAIN as MINE", "main")],
)
def test_what_is_no_experiment_of_that_name_is_refused(site: Path, source: str, told: str) -> None:
    (site / "odd_lab.py").write_text(source)
    (site / "mine-0.1.dist-info" / "entry_points.txt").write_text("[fleetloop.experiments]\nmine = odd_lab:MINE\n")
    said = CliRunner().invoke(app, ["lab", "run", "mine"])
    listed = CliRunner().invoke(app, ["lab", "ls", "--results", str(site / "none")])
    sys.modules.pop("odd_lab")
    plugin.cache_clear()
    assert "fleet-hg-dagger" in listed.stdout, "ours are shown all the same"
    assert "experiments: mine: is" in listed.stderr
    assert said.exit_code == 1
    assert "experiments: mine: is" in said.stderr
    assert told in said.stderr
