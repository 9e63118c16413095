"""The configuration: what is in force, and what a wrong one is told."""

import platform

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from fleetloop.cli import wiring
from fleetloop.cli.config import FleetConfig, chosen_options, load_config
from fleetloop.cli.config_text import to_yaml, with_plugin_options
from fleetloop.cli.main import app
from fleetloop.cli.wiring import disturbed, robot_kind, tasks_named
from fleetloop.core.errors import ConfigInvalid, UnknownName
from fleetloop.core.robot import RobotKind


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_flags_override_sets_and_sets_the_file_and_the_file_the_defaults(tmp_path):
    (tmp_path / "fleet.yaml").write_text("run: kitchen\nlearner: {batch: 8, seed: 7}\nhub: {port: 9000}\n")
    config = load_config(None, ["learner.batch=16", "hub.port=9001"], {"hub.port": 9002, "seed": None})
    assert (config.run, config.learner.seed, config.learner.batch) == ("kitchen", 7, 16)
    assert config.url == "http://127.0.0.1:9002"
    assert config.courier == FleetConfig().courier


@pytest.mark.parametrize("named", [["algorithm.name=recap"], ["algorithm.options.bins=101", "algorithm.name=recap"]])
def test_where_another_plug_in_is_named_the_files_options_do_not_count(tmp_path, named):
    """`config show` writes all of them, and what they mean may be another thing to the other one."""
    (tmp_path / "fleet.yaml").write_text(
        "algorithm: {options: {intervention_weight: 1.0, successful_autonomous: true}}"
    )
    assert load_config(None, ["algorithm.name=hg_dagger"]).algorithm.options["intervention_weight"] == 1
    config = load_config(None, named)
    assert set(config.algorithm.options) == {text.split("=")[0].rpartition(".")[2] for text in named[:-1]}
    assert chosen_options("algorithms", config.algorithm).intervention_weight == 12


def test_options_that_were_left_in_the_file_say_so(tmp_path):
    (tmp_path / "fleet.yaml").write_text("algorithm: {name: recap, options: {successful_autonomous: false}}")
    with pytest.raises(ConfigInvalid, match=r"is unknown; .*; if it is of another than 'recap', remove it"):
        chosen_options("algorithms", load_config().algorithm)


def test_a_file_to_copy_to_other_machines_names_none_that_is_not_asked_for():
    shown, named = (CliRunner().invoke(app, ["config", "show", *more]).stdout for more in ((), ("--set", "host=third")))
    assert "host" not in yaml.safe_load(shown)
    assert f"\n# host: {platform.node()}\n" in shown
    assert yaml.safe_load(named)["host"] == "third"


def test_without_a_file_the_defaults_are_a_fleet_that_could_start():
    config = load_config()
    assert len(config.robots) == 4
    assert len(config.tasks) == 3


def test_setting_one_of_a_group_leaves_the_defaults_of_the_others():
    before = FleetConfig().pretrain.optimizer
    config = load_config(None, ["pretrain.optimizer.warmup_steps=7", "learner.optimizer.warmup_steps=8"])
    assert config.pretrain.optimizer == before.model_copy(update={"warmup_steps": 7})
    assert before.rate != config.learner.optimizer.rate == FleetConfig().learner.optimizer.rate
    assert load_config(None, ["pretrain.optimizer.rate=0.1"]).pretrain.optimizer.rate == 0.1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learner: {bach: 3}", "learner.bach: is unknown; did you mean learner.batch?"),
        ("learnr: {batch: 3}", "learnr: is unknown; did you mean learner?"),
        ("learner: {sampler: {windw: 3}}", "learner.sampler.windw: is unknown; did you mean learner.sampler.window?"),
        ("robots: [{name: a, site: 1, taks: []}]", "robots.0.taks: is unknown; did you mean robots.0.tasks?"),
        ("hub: {attention: {xyz: 1}}", "hub.attention.xyz: is unknown; known here: operators, robots_per_operator"),
        ("learner: {held_out: 2}", "learner.held_out: is 2; allowed: at least 0 and below 1 (share of the demonstr"),
        ("learner: {batch: many}", "learner.batch: is 'many'; allowed: at least 1 (samples per optimizer step)"),
        ("learner: {sampler: {across_tasks: all}}", "learner.sampler.across_tasks: is 'all'; it must be 'uniform', "),
        ("learner: {sampler: {least_online: 0.9}}", "learner.sampler: least_online is above most_online"),
        ("robots: [{name: a, site: 1}, {name: a, site: 2}]", "robots: two are called 'a'"),
        ("robots: [{name: a}]", "robots.0.site: is missing"),
        ("tasks: []", "tasks: is []"),
        ("courier: {beat_wall_s: 5}", "actor.hub_silent_wall_s: is no longer than courier.beat_wall_s; make it longer"),
        (
            "hub: {retention: {tasks: {box/walls: {max_epsodes: 3}}}}",
            "hub.retention.tasks.box/walls.max_epsodes: is unknown; did you mean hub.retention.tasks.box/walls.max_ep",
        ),
        ("own_tasks: {wipe: {instructon: go}}", "own_tasks.wipe.instructon: is unknown; did you mean own_tasks.wipe.i"),
        (
            "hub: {port: 1}\nrun: a\nhub: {insecure: true}",
            "fleet.yaml: is no YAML ('hub' stands on lines 1 and 3: keep one, ",
        ),
        ("- a\n- b", "fleet.yaml: is no mapping"),
        ("a: [", "fleet.yaml: is no YAML"),
    ],
)
def test_a_wrong_entry_is_named_with_what_would_be_right(tmp_path, text, told):
    (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        load_config()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_persons_token_goes_before_the_machines(tmp_path, monkeypatch):
    (tmp_path / "robot.token").write_text("robots-secret")
    config = load_config(None, ["hub_token_file=robot.token"])
    asked = []
    monkeypatch.setattr(wiring, "HttpHub", lambda url, *, token, **others: asked.append(token))
    wiring.open_hub(config)
    monkeypatch.setenv("FLEETLOOP_TOKEN", "persons-secret")
    wiring.open_hub(config)
    assert asked == ["robots-secret", "persons-secret"]


def test_several_mistakes_are_counted(tmp_path):
    (tmp_path / "fleet.yaml").write_text("learner: {batch: 0}\nhub: {prt: 1}\n")
    with pytest.raises(ConfigInvalid, match=r"hub.prt: .*did you mean hub.port\? \(1 more to mend"):
        load_config()


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        ("learner.batch", "is no assignment"),
        ("run.name=x", "run: is a value and has no keys"),
        ("robots.3.site=x", "is no index of this list; use 0 to 0"),
        ("learner.batch=[", "--set learner.batch: is no YAML"),
    ],
)
def test_a_wrong_override_is_told_so(tmp_path, sets, told):
    (tmp_path / "fleet.yaml").write_text("run: r\nrobots: [{name: a, site: 1}]\n")
    with pytest.raises(ConfigInvalid) as caught:
        load_config(None, [sets])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("sets", "known"),
    [("policy.name=flo", "flow"), ("algorithm.name=dagger", "hg_dagger"), ("operator.name=robot", "scripted")],
)
def test_an_unknown_plug_in_lists_the_known_ones(sets, known):
    with pytest.raises(UnknownName, match=known):
        load_config(None, [sets])


def test_the_options_of_a_plug_in_are_checked_too():
    with pytest.raises(ConfigInvalid, match="patiense: is unknown; did you mean"):
        with_plugin_options(load_config(None, ["operator.options.patiense=3"]))
    with pytest.raises(ConfigInvalid, match="'none' takes none"):
        with_plugin_options(load_config(None, ["operator.name=none", "operator.options.patience=3"]))


def test_a_robot_is_found_by_name_or_placed_by_site():
    config = load_config()
    assert config.member("robot-2").site == 2
    assert config.member("robot-2", new_at=9).site == 9
    assert config.member("new", new_at=9).tasks is None
    with pytest.raises(UnknownName, match="known: robot-1, robot-2"):
        config.member("new")
    with pytest.raises(ConfigInvalid, match="is 'a/b'"):
        config.member("a/b", new_at=1)


def test_the_hub_takes_what_single_robots_are_to_do_too(tmp_path, monkeypatch):
    file, served = tmp_path / "fleet.yaml", []
    own = {"name": "a", "site": 1, "tasks": ["restock/shelf", "box/walls"]}
    file.write_text(yaml.safe_dump({"tasks": ["box/walls"], "robots": [own, {"name": "b", "site": 2}]}))
    monkeypatch.setattr("fleetloop.hub.run.serve", lambda options, clock, *, tasks, ready: served.append(tasks))
    result = CliRunner().invoke(app, ["hub", "-c", str(file)])
    assert (result.exit_code, served) == (0, [("box/walls", "restock/shelf")]), result.stderr


@pytest.mark.parametrize("docs", [True, False])
def test_what_is_shown_reads_back_to_the_same(tmp_path, docs):
    config = with_plugin_options(load_config(None, ["learner.batch=3", "algorithm.options.intervention_weight=2"]))
    (tmp_path / "shown.yaml").write_text(to_yaml(config, docs))
    assert to_yaml(with_plugin_options(load_config(tmp_path / "shown.yaml")), docs) == to_yaml(config, docs)
    assert load_config(tmp_path / "shown.yaml").algorithm.options["intervention_weight"] == 2


def test_config_show_prints_what_is_in_force_with_its_meaning():
    result = CliRunner().invoke(app, ["config", "show", "--docs", "--set", "learner.batch=3"])
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["learner"]["batch"] == 3
    assert "# samples per optimizer step (at least 1)" in result.stdout


def test_config_show_knows_the_tasks():
    result = CliRunner().invoke(app, ["config", "show", "--set", "tasks=[restock/shel]"])
    assert result.exit_code == 1
    assert "restock/shelf" in result.stderr


def test_every_field_says_what_it_means():
    def fields(model: type[BaseModel], path: str):
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner, f"{path}{name}.")
            else:
                yield f"{path}{name}", field.description

    silent = [path for path, description in fields(FleetConfig, "") if not description]
    assert not silent


@pytest.mark.parametrize(("sets", "known"), [("robot.name=arm", "sim"), ("judge.name=jury", "simulator")])
def test_robots_and_judges_are_chosen_by_name_too(sets, known):
    with pytest.raises(UnknownName, match=known):
        load_config(None, [sets])


def test_a_robot_may_differ_in_its_options(tmp_path):
    (tmp_path / "fleet.yaml").write_text(
        "robot: {options: {events: 0, reset_s: 3}}\n"
        "robots:\n  - {name: a, site: 1}\n  - {name: b, site: 2, options: {reset_s: 9}}\n"
        "  - {name: c, site: 3, options: {rest_s: 1}}\n"
    )
    config = load_config()
    plain, own = (robot_kind(config, config.member(name)).options for name in "ab")
    assert (plain.reset_s, plain.events) == (3, 0)
    assert (own.reset_s, own.events) == (9, 0)
    with pytest.raises(
        ConfigInvalid, match=r"robots.c.options.rest_s: is unknown; did you mean robots.c.options.reset_s\?"
    ):
        robot_kind(config, config.member("c"))
    assert config.member("b", new_at=7).options == {"reset_s": 9}


def test_tasks_are_the_robots_or_the_configurations_own(tmp_path):
    (tmp_path / "fleet.yaml").write_text(
        "own_tasks:\n"
        "  kitchen/wipe: {instruction: wipe the table, time_limit_s: 40}\n"
        "  box/walls: {instruction: set the walls up, time_limit_s: 9}\n"
    )
    wipe, walls, fold = tasks_named(load_config(), ["kitchen/wipe", "box/walls", "laundry/fold"])
    assert (wipe.instruction, wipe.time_limit_s) == ("wipe the table", 40)
    assert walls.instruction == "set the walls up", "what the configuration says of a task holds"
    assert fold.success
    with pytest.raises(UnknownName, match="kitchen/wash: is not known to the robot 'sim'; known: restock/shelf"):
        tasks_named(load_config(), ["kitchen/wash"])


def test_flags_of_the_simulation_are_for_simulated_robots():
    kind = robot_kind(load_config())
    assert disturbed(kind, None) == kind
    calm = disturbed(kind, False, 0.01).options
    assert (calm.initial_ticks, calm.events, calm.noise_m) == (0, 0, 0.01)
    with pytest.raises(ConfigInvalid, match="are of the built-in simulation"):
        disturbed(RobotKind("gymnasium"), True)
