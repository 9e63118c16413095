"""Rules of the whole test suite: its options, and what becomes of tests that need what this machine may lack."""

import os
import shutil
from collections.abc import Generator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seed", type=int, default=None, help="tests/faults: play this seed, and tell all of it")


def pytest_configure() -> None:
    """Processes that tests start find what stands beside this file, as the tests themselves do."""
    already = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([already] if already else [])])


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, missing in NEEDS.items():
        if item.get_closest_marker(mark) and (reason := missing()):
            pytest.skip(f"{item.name}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true, a skipped test of these kinds is a failure: what CI has passed was seen."""
    report = yield
    needs = any(item.get_closest_marker(mark) for mark in NEEDS)
    forbidden = os.environ.get("CI", "").lower() in ("1", "true") and needs
    if forbidden and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.nodeid} may not be skipped where CI=true\n{why}"
    return report


@cache
def missing_gl() -> str:
    """Why nothing can be rendered on this machine; empty where it can. Renders one small picture."""
    from fleetloop.sim.box import WallsScene
    from fleetloop.sim.render import Cameras, NoGL
    from fleetloop.sim.site import site_parameters

    try:
        with Cameras(WallsScene(site_parameters(0))) as cameras:
            cameras.images(px=8)
    except NoGL as error:
        return str(error)
    return ""


def missing_nginx() -> str:
    return "" if shutil.which("nginx") else "there is no nginx (apt-get install nginx-light)"


def missing_extras() -> str:
    lacking = [name for name in ("metaworld", "rerun") if find_spec(name) is None]
    return f"not installed: {', '.join(lacking)} (make test-extras)" if lacking else ""


def missing_postgres() -> str:
    there = any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return "" if there else "there is no PostgreSQL (apt-get install postgresql)"


NEEDS = {"gl": missing_gl, "nginx": missing_nginx, "postgres": missing_postgres, "extras": missing_extras}
"""Marker -> why a test that has it can't run here; empty where it can."""
