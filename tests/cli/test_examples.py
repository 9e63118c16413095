"""The examples as their readers use them: installed from their folders, checked, and run as a whole fleet."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fleet_world import ROBOT, FleetProcesses, until
from typer.testing import CliRunner

from fleetloop.cli.main import app

pytestmark = pytest.mark.xdist_group("examples")

EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST = {"filtered_bc": 100, "mlp_policy": 100, "point_robot": 60}
SETTINGS = {
    "tasks": ["point/red", "point/blue"],
    "robot": {"name": "point"},
    "robots": [{"name": ROBOT, "site": 1}],
    "policy": {"name": "mlp", "options": {"width": 32}},
    "algorithm": {"name": "filtered_bc"},
    "operator": {"name": "scripted", "options": {"full_disagreement": [0.1, 0.1]}},
    "pretrain": {"steps": 200, "batch": 32},
    "courier": {"retry_longest_wall_s": 0.5},
    "learner": {"steps_per_s": 4, "batch": 32, "publish_every_steps": 10, "report_every_s": 1, "tensorboard": False},
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The directory where the examples are installed; they are found here and, by its path, in other processes."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    folders = [str(EXAMPLES / name) for name in LONGEST]
    subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(target), *folders], check=True, timeout=120
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(target)
        yield target
    for name in LONGEST:
        sys.modules.pop(name, None)


def told(command: str, directory: Path, status: int = 0) -> str:
    """What a command says, started in this directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        result = CliRunner().invoke(app, command.split())
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize(("name", "longest"), LONGEST.items())
def test_an_example_fits_on_a_page(name, longest):
    assert len((EXAMPLES / name / f"{name}.py").read_text().splitlines()) < longest


def test_plugins_lists_the_examples_and_a_broken_one_says_why_while_the_rest_works(installed, tmp_path, monkeypatch):
    broken = tmp_path / "broken-0.3.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.3\n")
    (broken / "entry_points.txt").write_text("[fleetloop.algorithms]\nbroken = broken_algorithm:Broken\n")
    (tmp_path / "broken_algorithm.py").write_text("raise RuntimeError('no licence found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = {tuple(line.split()[:2]): line for line in told("plugins", tmp_path).splitlines() if line.strip()}
    for kind, name in (("algorithms", "filtered_bc"), ("policies", "mlp"), ("robots", "point")):
        assert "0.1" in rows[kind, name]
        assert rows[kind, name].rstrip().endswith("ok")
    assert "broken 0.3" in rows["algorithms", "broken"]
    assert "RuntimeError: no licence found" in rows["algorithms", "broken"]
    assert rows["algorithms", "bc"].rstrip().endswith("ok")
    said = told("config show --set algorithm.name=broken", tmp_path, status=1)
    assert "algorithms: broken: can't be imported from broken 0.3 (RuntimeError: no licence found)" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "what",
    [
        "algorithm filtered_bc",
        "policy mlp --set robot.name=point",
        "robot point",
        "operator scripted --set robot.name=point --set operator.options.full_disagreement=[0.1,0.1]",
        "judge simulator --set robot.name=point",
    ],
)
def test_the_examples_keep_their_contracts(installed, tmp_path, what):
    assert "✗" not in told(f"check {what}", tmp_path)


@pytest.fixture(scope="module")
def fleet(installed, tmp_path_factory):
    directory = tmp_path_factory.mktemp("points")
    world = FleetProcesses(directory, SETTINGS, {"PYTHONPATH": str(installed)})
    told("demos record --episodes 8 -j 1", directory)
    told("pretrain", directory)
    try:
        world.start("hub")
        until(lambda: "serves" in world.said("hub"), "the hub serves")
        for name in ("learner", "courier", "actor"):
            world.start(name)
        yield world
    finally:
        world.clean_up()


def test_a_robot_a_policy_and_an_algorithm_of_ones_own_make_a_fleet_that_learns(fleet):
    until(lambda: fleet.hub.episodes(outcome="success"), "an episode succeeds")
    until(lambda: fleet.view().learner and fleet.view().learner.cursor >= 1, "the learner has taken it in")
    until(lambda: any(release.covers for release in fleet.hub.releases()), "a release covers it")
    until(lambda: (robot := fleet.robot()) and robot.release > 1, "it reaches the robot")
    release = fleet.hub.releases()[0].version
    figures = told(f"eval --release {release} --episodes 2 -j 1", fleet.directory)
    assert "point/red" in figures


def test_another_algorithm_is_one_line_of_the_configuration(fleet):
    file = fleet.directory / "fleet.yaml"
    fleet.end("learner")
    newest = fleet.view().edge
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "algorithm": {"name": "hg_dagger"}}))
    fleet.start("learner")
    until(lambda: fleet.view().edge > newest, "the learner goes on under the other algorithm")


def test_the_built_in_policy_heeds_words_without_any_entities(installed, tmp_path):
    """Both tasks look alike, so only the instruction says which spot is meant."""
    (tmp_path / "fleet.yaml").write_text(
        "robot: {name: point}\ntasks: [point/red, point/blue]\nrobots: [{name: a, site: 0}]\n"
        "policy: {options: {width: 64, depth: 2, execute: 4}}\n"
        "pretrain: {steps: 800, batch: 64, optimizer: {rate: 3.0e-3}}\n"
    )
    (tmp_path / "misled.yaml").write_text(
        (tmp_path / "fleet.yaml").read_text()
        + "own_tasks: {point/red: {instruction: go to the blue spot, time_limit_s: 4}}\n"
    )
    told("demos record --episodes 40 -j 1", tmp_path)
    told("pretrain", tmp_path)
    for name in ("fleet", "misled"):
        what = f"-c {name}.yaml --base base --tasks point/red --episodes 20 -j 1 --report {name}.json"
        told(f"eval {what}", tmp_path)
    heeded, misled = (json.loads((tmp_path / f"{name}.json").read_text())["average"] for name in ("fleet", "misled"))
    assert heeded >= 0.7, (heeded, misled)
    assert misled <= 0.3
