"""Every bench still runs, small: two had gone stale unseen after what they use had changed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = Path(__file__).parents[1] / "bench"
SMALL = {
    "control": "--seconds 2 --px 32 --publish-every 1 --upload-every 1",
    "fleet": "--robots 5 --seconds 3 --every 1 --publish-every 2",
    "ingest": "--episodes 2",
    "learning": "--steps 5",
    "links": "--layers 1 --lines loopback --couriers 2 --snapshots .",
    "loader": "--episodes 2000 --samples 10 --frames 1000 --batch 16 --seconds 0.05",
    "publisher": "--releases 2 --batch 16 --policies demo",
    "recorder": "--frames 20 --seconds 0.5 --rounds 1",
    "releases": "--releases 2 --couriers 2",
    "simulation": "--cpu-seconds 0.05",
}
ELSEWHERE = {"loader_lerobot", "weights"}  # one needs the real LeRobot, the other trains for minutes before it measures


def test_no_bench_is_forgotten():
    assert {script.stem for script in BENCHES.glob("*.py")} == SMALL.keys() | ELSEWHERE


@pytest.mark.long
@pytest.mark.parametrize(
    "bench", [pytest.param(one, marks=pytest.mark.gl if one == "simulation" else ()) for one in SMALL]
)
def test_a_bench_runs_and_writes_its_figures(tmp_path, bench):
    report = tmp_path / "report.json"
    command = [sys.executable, str(BENCHES / f"{bench}.py"), *SMALL[bench].split(), "--report", str(report)]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert figures
    assert "Traceback" not in done.stderr
