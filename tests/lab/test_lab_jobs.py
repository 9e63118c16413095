"""Jobs: kept when they are done, skipped afterwards, and none is lost with another."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.lab.comparison import BEGIN, END
from fleetloop.lab.experiments import EXPERIMENTS
from fleetloop.lab.job import Job, read
from fleetloop.lab.runner import run_jobs
from fleetloop.lab.storage import MEMORY

QUICK = ["--quick", "--seeds", "1"]


@pytest.fixture
def job(tmp_path):
    return Job("fleet", "expert", 0, tmp_path / "results" / "fleet", tmp_path / "cache", quick=True)


def test_a_job_that_dies_loses_nothing_but_itself(job, tmp_path):
    blocked = tmp_path / "cache-that-is-a-file"
    blocked.write_text("")
    broken = Job("fleet", "pretrained", 0, job.results, blocked, quick=True)
    assert run_jobs([broken, job], processes=1) == [broken]
    result = read(job.file, "fleet")
    assert result["evaluation"].keys() == job.setting.places.keys()
    assert all(len(episodes) == job.setting.episodes for episodes in result["evaluation"].values())
    assert {"command", "versions", "commit", "setting", "options", "seed", "evaluation_seed"} <= result.keys()
    assert not broken.file.exists()


def test_what_is_done_is_not_done_again(job):
    assert run_jobs([job], processes=1) == []
    kept, said = job.file.read_bytes(), []
    assert run_jobs([job], say=said.append) == []
    assert job.file.read_bytes() == kept
    assert said == ["1 of 1 are done"]


def test_being_stopped_leaves_nothing_running_and_nothing_in_memory(tmp_path):
    command = [sys.executable, "-m", "fleetloop", "lab", "run", "sampler", *QUICK, "--arms", "adaptive", "-j", "1"]
    places = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    with subprocess.Popen([*command, *places], stderr=subprocess.DEVNULL) as process:
        children = []
        while not any(_scratches(child.pid) for child in children):
            assert process.poll() is None
            children = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
    psutil.wait_procs(children, 30)
    assert not any(child.is_running() for child in children)
    assert not any(_scratches(child.pid) for child in children)


def _scratches(pid):
    """What a job's process keeps for itself."""
    return [place for root in (MEMORY, Path(tempfile.gettempdir())) for place in root.glob(f"fleetloop-lab-{pid}-*")]


def test_what_builds_on_a_failure_is_not_begun(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    needed = Job("main", "fleet-hg-dagger", 0, tmp_path, blocked, quick=True)
    builds_on_it = Job("main", "more-demonstrations", 0, tmp_path, blocked, quick=True)
    assert run_jobs([builds_on_it, needed], processes=1) == [needed, builds_on_it]


def test_what_builds_on_an_arm_that_was_not_asked_for_says_so(tmp_path):
    places = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(app, ["lab", "run", "main", *QUICK, "--arms", "more-demonstrations", *places])
    assert result.exit_code == 1
    assert "more-demonstrations, seed 0: not begun, it waits for fleet-hg-dagger, seed 0" in result.stderr
    assert "--arms fleet-hg-dagger,more-demonstrations" in result.stderr


def test_a_report_leaves_pages_without_its_marks_alone(tmp_path):
    """The comparison with the reference goes into the page that has a place for it, and into no other."""
    results, page = tmp_path / "results", tmp_path / "README.md"
    for text, written in ("# My project\n", False), (f"# Results\n{BEGIN}\nold\n{END}\nafter\n", True):
        page.write_text(text)
        results.mkdir(exist_ok=True)
        reported = CliRunner().invoke(app, ["lab", "report", "sampler", "--results", str(results)])
        assert reported.exit_code == 0, reported.output + reported.stderr
        assert (str(page) in reported.stdout) == written
        assert ("SOP restock" in page.read_text()) == written
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in page.read_text()


def test_every_arm_that_is_named_exists():
    for experiment in EXPERIMENTS.values():
        names = [arm.name for arm in experiment.arms]
        assert len(set(names)) == len(names)
        assert {arm.needs for arm in experiment.arms if arm.needs} <= set(names)
        assert {name for claim in experiment.claims for name in (claim.arm, claim.control)} <= set(names)
        assert set(experiment.setting.demonstrations) == set(experiment.setting.tasks)


def test_a_page_outlives_its_results(tmp_path):
    """They may lie elsewhere; what was said of them is not replaced by nothing."""
    (tmp_path / "sampler.md").write_text("what was found")
    said = CliRunner().invoke(app, ["lab", "report", "sampler", "--results", str(tmp_path)])
    assert "sampler: no result in" in said.stdout
    assert (tmp_path / "sampler.md").read_text() == "what was found"


def test_an_unknown_arm_lists_the_known_ones(tmp_path):
    result = CliRunner().invoke(app, ["lab", "run", "main", "--arms", "magic", "--cache", str(tmp_path)])
    assert result.exit_code == 1
    assert "fleet-hg-dagger" in result.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_quick_experiments_from_end_to_end(tmp_path):
    places = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    kept = tmp_path / "cache" / "quick"
    for name, experiment in EXPERIMENTS.items():
        result = CliRunner().invoke(app, ["lab", "run", name, *QUICK, *places])
        assert result.exit_code == 0, result.output + result.stderr
        assert {file.name for file in (kept / name).iterdir()} == {f"{arm.name}-0.json" for arm in experiment.arms}
    before = {file: file.stat().st_mtime_ns for file in kept.rglob("*-0.json")}
    assert CliRunner().invoke(app, ["lab", "run", "main", *QUICK, *places]).exit_code == 0
    assert before == {file: file.stat().st_mtime_ns for file in kept.rglob("*-0.json")}, "a second run does nothing"
    listed = CliRunner().invoke(app, ["lab", "ls", *QUICK, *places])
    assert "fleet-hg-dagger" in listed.stdout
    reported = CliRunner().invoke(app, ["lab", "report", "--quick", *places])
    assert reported.exit_code == 0, reported.output
    for name, experiment in EXPERIMENTS.items():
        summary = json.loads((kept / f"{name}.json").read_bytes())
        assert summary["missing"] == []
        assert summary["arms"].keys() == {arm.name for arm in experiment.arms}
        assert len(summary["claims"]) == len(experiment.claims)
        page = (kept / f"{name}.md").read_text()
        assert "A quick run" in page
        assert all(arm.name in page for arm in experiment.arms)
        assert (kept / f"{name}.png").stat().st_size > 1000
    guidance = (kept / "main.md").read_text().partition("## Guidance")[2].partition("##")[0]
    assert [row.count("fleet-recap-live") for row in guidance.splitlines() if "fleet-recap" in row] == [1] * 6


@pytest.mark.parametrize("torn", ["", "{}", '{"format": 1, "arm": "fixed', "[1]"])
def test_a_result_that_is_torn_is_named(tmp_path, torn):
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler" / "adaptive-0.json").write_text(torn)
    for command in (["report"], ["run", "sampler", "--arms", "adaptive", "--seeds", "1"], ["ls"]):
        said = CliRunner().invoke(app, ["lab", *command, "--results", str(tmp_path)])
        assert said.exit_code == 1
        assert "adaptive-0.json: is no result of the lab" in " ".join(said.stderr.split())
