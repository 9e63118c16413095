"""Recording demonstrations, and the base that is made of them: on the real simulator, few episodes."""

from dataclasses import replace

import numpy as np
import pytest
from shelf import CALM, SHELF
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import RobotKind
from fleetloop.lab.demonstrations import ExpertFails, record_demonstrations
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.sim import scene
from fleetloop.sim.plugin import SimOptions

DISTURBED = RobotKind("sim", SimOptions.under(scene.DISTURBED))


def test_a_base_is_two_files_and_leaves_nothing_else_behind(room):
    assert {path.name for path in (room / "base").iterdir()} == {"base.json", "weights.safetensors"}


def test_demonstrations_are_sealed_successes_driven_by_the_expert(room):
    episodes = open_demonstrations(room / "demonstrations")
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.meta.purpose == "demonstration"
        assert episode.meta.outcome is Outcome.SUCCESS
        assert (episode.source == Source.HUMAN).all()
        assert episode.meta.instruction.startswith("put the ")
    assert episodes[0].meta.seed != episodes[1].meta.seed


def test_an_expert_that_never_succeeds_says_how_its_tries_ended(tmp_path):
    hurried = replace(SHELF, time_limit_s=0.1)
    with pytest.raises(ExpertFails, match=r"did not succeed in 10 tries at site-0 \(timeout 10 times\)"):
        record_demonstrations(tmp_path, {hurried: 1}, CALM, processes=1)
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_records_the_same_in_any_number_of_processes(room, tmp_path):
    record_demonstrations(tmp_path, {SHELF: 2}, CALM, processes=2)
    first, second = sorted((room / "demonstrations").iterdir()), sorted(tmp_path.iterdir())
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(Episode.open(one).action, Episode.open(other).action)


def test_another_disturbance_records_under_other_ids(room, tmp_path):
    record_demonstrations(tmp_path, {SHELF: 1}, DISTURBED, processes=1)
    assert not {path.name for path in tmp_path.iterdir()} & {path.name for path in (room / "demonstrations").iterdir()}


def test_a_learner_does_not_start_from_a_base_that_the_configuration_contradicts(room):
    result = CliRunner().invoke(app, ["learner", "--base", str(room / "base"), "--set", "policy.options.width=64"])
    assert result.exit_code == 1
    assert "policy.options.width: is 64, but" in result.stderr
    assert "was made with 16" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("learner.sampler.task_weight", "0.5"), ("algorithm.options.tasks", "{horizon_s: 2}")],
)
def test_an_option_that_names_an_unknown_task_is_refused(room, option, value):
    command = ["learner", "--base", str(room / "base"), "--demonstrations", str(room / "demonstrations")]
    sets = ["--set", "algorithm.name=recap", "--set", f"{option}={{restock/shelv: {value}}}"]
    result = CliRunner().invoke(app, [*command, *sets])
    assert result.exit_code == 1
    assert f"{option}: names 'restock/shelv', which is neither worked at nor" in result.stderr
