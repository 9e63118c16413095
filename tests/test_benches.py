"""Every bench still runs, small: two had gone stale unseen after what they use had changed."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fleetloop.weights.codec import to_safetensors

BENCHES = Path(__file__).parents[1] / "bench"
SMALL = {
    "control": "--seconds 2 --px 32 --publish-every 1 --upload-every 1",
    "fleet": "--robots 5 --seconds 3 --every 1 --publish-every 2",
    "ingest": "--episodes 2",
    "learning": "--steps 5",
    "links": "--layers 1 --repeats 1 --lines loopback --couriers 2 --snapshots .",
    "loader": "--episodes 2000 --samples 10 --frames 1000 --batch 16 --seconds 0.05",
    "publisher": "--releases 2 --batch 16 --policies demo",
    "recorder": "--frames 20 --seconds 0.5 --rounds 1",
    "releases": "--releases 2 --couriers 2",
    "simulation": "--cpu-seconds 0.05",
    "weights": "--rates 1e-5 --steps 1 25 --repeats 1 --snapshots .",
}
ELSEWHERE = {"loader_lerobot"}  # needs the real LeRobot


def test_no_bench_is_forgotten():
    assert {script.stem for script in BENCHES.glob("*.py")} == SMALL.keys() | ELSEWHERE


@pytest.mark.long
@pytest.mark.parametrize(
    "bench", [pytest.param(one, marks=pytest.mark.gl if one == "simulation" else ()) for one in SMALL]
)
def test_a_bench_runs_and_writes_its_figures(tmp_path, bench):
    if bench == "weights":
        _make_up_snapshots(tmp_path)
    report = tmp_path / "report.json"
    command = [sys.executable, str(BENCHES / f"{bench}.py"), *SMALL[bench].split(), "--report", str(report)]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert figures
    assert "Traceback" not in done.stderr


def _make_up_snapshots(directory):
    """What `bench/weights.py` trains for minutes where it does not find it."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.03, (64, 64))
    for step in (0, 1, 25):
        moved = values + rng.normal(0, 1e-5 * step, values.shape)
        path = directory / f"rate-1e-05-step-{step}.safetensors"
        path.write_bytes(to_safetensors({"weight": moved.astype(ml_dtypes.bfloat16)}))
