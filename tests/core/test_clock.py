"""Three clocks, one behaviour."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetloop.core.clock import Clock, Scaled, Virtual, Wall


@pytest.fixture(params=["wall", "scaled", "virtual"])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Clock:
    if request.param == "scaled":
        return Scaled.create(tmp_path / "clock", 50)
    return Wall() if request.param == "wall" else Virtual()


def test_sleep_until_is_never_early_and_the_past_is_no_wait(clock: Clock) -> None:
    deadline = clock.now() + 0.02
    clock.sleep_until(deadline)
    assert clock.now() >= deadline
    before = clock.now()
    clock.sleep_until(before - 1000)
    assert clock.now() >= before


@given(st.lists(st.floats(0.1, 1000), max_size=20))
def test_time_is_continuous_through_changes_of_pace(
    tmp_path_factory: pytest.TempPathFactory, factors: list[float]
) -> None:
    clock = Scaled.create(tmp_path_factory.mktemp("clock") / "clock", 1)
    before = clock.now()
    for factor in factors:
        clock.set_factor(factor)
        assert clock.factor == factor
        after = clock.now()
        assert after >= before
        before = after


def test_processes_share_one_scaled_time(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock = Scaled.create(path, 3)
    clock.set_factor(7)
    before = clock.now()
    script = "import sys, pathlib; from fleetloop.core.clock import Scaled; "
    script += "clock = Scaled(pathlib.Path(sys.argv[1])); print(clock.factor, clock.now())"
    said = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=True, text=True)
    factor, now = map(float, said.stdout.split())
    assert factor == 7
    assert before <= now <= clock.now()
