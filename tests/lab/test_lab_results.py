"""What may stand in one table: results of one experiment, each under its own name, on the same resets."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.errors import ConfigInvalid
from fleetloop.lab.experiments import FLEET
from fleetloop.lab.job import Job, as_json
from fleetloop.lab.report import write_report
from fleetloop.lab.results import Results
from fleetloop.lab.runner import run_jobs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two results."""
    place = tmp_path_factory.mktemp("results")
    jobs = [Job("fleet", "expert", seed, place / "fleet", place / "cache", quick=True) for seed in (0, 1)]
    assert run_jobs(jobs, processes=1) == []
    return place


@pytest.fixture
def place(made, tmp_path):
    shutil.copytree(made / "fleet", tmp_path / "fleet")
    return tmp_path


def change(place, **values):
    """Of the result of seed 1."""
    file = place / "fleet" / "expert-1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def page(place):
    found = write_report(FLEET, place)
    assert found is not None
    return found.read_text()


def test_results_under_the_names_of_others_are_refused(place):
    shutil.copy(place / "fleet" / "expert-0.json", place / "fleet" / "expert-1.json")
    with pytest.raises(ConfigInvalid, match=r"expert-1.json: is the result of fleet, expert-0"):
        Results.load(FLEET, place)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"format": 99}, "is of format 99"),
        ({"experiment": "sampler"}, "is the result of sampler"),
        ({"evaluation_seed": 7}, "other tasks, sites or resets"),
        ({"evaluation": {"restock/shelf": [[1, 1, 9]]}}, "other tasks, sites or resets"),
        ({"evaluation": {}}, "is no result of the lab"),
        ({"evaluation": {"restock/shelf": [[1, 1]]}}, "is no result of the lab"),
        ({"evaluation": {"restock/shelf": [], "box/walls": [[1, 1, 9]]}}, "is no result of the lab"),
    ],
)
def test_what_can_not_be_set_beside_the_others_is_refused_by_name(place, values, told):
    change(place, **values)
    said = CliRunner().invoke(app, ["lab", "report", "fleet", "--results", str(place)])
    assert said.exit_code == 1
    assert f"expert-1.json: {told}" in " ".join(said.stderr.split()) or told in " ".join(said.stderr.split())


def test_other_sites_are_other_resets(place):
    evaluation = json.loads((place / "fleet" / "expert-1.json").read_text())["evaluation"]
    moved = {task: [[site + 50, *rest] for site, *rest in tried] for task, tried in evaluation.items()}
    change(place, evaluation=moved)
    with pytest.raises(ConfigInvalid, match="other tasks, sites or resets"):
        Results.load(FLEET, place)


def test_what_was_made_otherwise_is_named(place):
    assert "changed since" not in page(place)
    setting = as_json(FLEET.quick)
    change(place, commit="another", setting={**setting, "batch": 9}, versions={"torch": "1.0"}, options={"name": "x"})
    told = page(place)
    assert "Made under settings that were changed since: expert of seed 1 (batch, name)." in told
    assert "Made at 2 commits of the code" in told
    assert "torch 1.0 and 2" in told


def test_a_result_of_one_that_was_made_anew_since_is_named(place):
    shared = json.loads((place / "fleet" / "expert-0.json").read_text())
    (place / "main").mkdir()
    for arm, more in (("fleet-hg-dagger", {"weights": "new"}), ("more-demonstrations", {"needed": "old"})):
        told = {**shared, "experiment": "main", "arm": arm, "options": {}, **more}
        (place / "main" / f"{arm}-0.json").write_text(json.dumps(told))
    from fleetloop.lab.experiments import MAIN

    results = Results.load(MAIN, place)
    told = results.otherwise("more-demonstrations", results.arms["more-demonstrations"].by_seed[0])
    assert "the fleet-hg-dagger that it builds on" in told


def test_one_damaged_result_keeps_no_other_page_from_being_written(place):
    (place / "sampler").mkdir()
    (place / "sampler" / "expert-0.json").write_text("torn")
    said = CliRunner().invoke(app, ["lab", "report", "--results", str(place)])
    assert said.exit_code == 1
    assert "sampler/expert-0.json" in " ".join(said.stderr.split())
    assert (place / "fleet.md").exists()
