"""From simulated frames to a base that sees, by the commands."""

import json

import pytest
from typer.testing import CliRunner

from fleetloop.cli.encoder import FIRST_SITE, NOMINAL_SITE, views
from fleetloop.cli.main import app
from fleetloop.learner.base import load_base
from fleetloop.policies.sight_options import EncoderOptions


def test_frames_are_shared_out_over_the_sites():
    options = EncoderOptions(frames=1000, sites=22, held_out_sites=2, nominal=0.1)
    of_one = [view for view in views(["a", "b"], options) if view.task == "a"]
    learned, held_out = ([view for view in of_one if view.held_out == held] for held in (False, True))
    assert sum(view.frames for view in learned) == 1000
    assert sum(view.frames for view in learned if view.site == NOMINAL_SITE) == 100
    assert {view.site for view in held_out} == {FIRST_SITE + 20, FIRST_SITE + 21}
    assert not {view.site for view in learned} & {view.site for view in held_out}
    assert len({(view.site, view.seed) for view in of_one}) == len(of_one)


@pytest.mark.gl
def test_an_encoder_and_a_base_that_sees_through_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result

    small = [
        "encoder.frames=20",
        "encoder.sites=2",
        "encoder.held_out_sites=1",
        "encoder.steps=2",
        "encoder.image_px=48",
    ]
    result = run(
        "pretrain", "encoder", "--tasks", "box/walls", "-j", "1", *(word for item in small for word in ("--set", item))
    )
    assert "box/walls" in result.stdout
    facts = json.loads((tmp_path / "encoder" / "encoder.json").read_text())["facts"]
    assert facts["tasks"] == ["box/walls"]
    assert "privileged" in facts["labels"]

    sighted = ["--episodes", "1", "-j", "1", "--set", "robot.options.image_px=48"]
    run("demos", "record", "--tasks", "box/walls,restock/shelf", *sighted)
    seeing = ["policy.options.observe=images", "policy.options.image_px=48", "pretrain.steps=2", "pretrain.batch=8"]
    said = run("pretrain", "--encoder", "encoder", *(word for item in seeing for word in ("--set", item))).stderr
    assert "encoder was never shown restock/shelf" in said
    assert "box/walls: the policy may be blind" not in said
    policy = load_base(tmp_path / "base").policy
    assert policy.encoder.sight is not None
    assert "left wall" in policy.config["sight"]["things"]
