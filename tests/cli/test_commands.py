"""The commands as a user meets them: help, errors in one line, a quick start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from fleetloop.cli.main import app


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def commands() -> list[tuple[str, ...]]:
    def walk(command, path):
        subcommands = getattr(command, "commands", None)
        if not subcommands:
            return [path]
        return [found for name, inner in subcommands.items() for found in walk(inner, (*path, name))]

    return walk(get_command(app), ())


def test_help_reads_like_a_table_of_contents():
    text = invoke("--help").output
    for chapter in ("Run a fleet", "Make and measure policies", "Look inside"):
        assert chapter in text
    for name in ("hub", "learner", "courier", "actor", "status", "pretrain", "demos", "eval", "replay", "sim"):
        assert f" {name} " in text


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_says_what_it_does_and_shows_examples(path):
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"fleetloop {' '.join(path)}" in result.output.partition("Examples")[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("hub --directory mine rebuild", "--directory: stands before rebuild"),
        ("pretrain --set encoder.steps=7 encoder", "--set: stands before encoder"),
    ],
)
def test_an_option_before_a_command_of_the_hub_is_not_dropped(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    result = invoke(*words.split())
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())


def test_where_an_encoder_can_not_be_written_nothing_is_rendered_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    monkeypatch.setattr("fleetloop.cli.encoder.make_encoder", lambda *_, **__: pytest.fail("it has begun"))
    result = invoke("pretrain", "encoder", "--out", "file/eyes")
    assert (result.exit_code, "file" in result.stderr) == (1, True)


def test_help_imports_nothing_heavy():
    code = (
        "import sys, json\n"
        "sys.argv = ['fleetloop', '--help']\n"
        "from fleetloop.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in ('torch', 'mujoco', 'pyarrow', 'pydantic') if name in sys.modules]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == []


def test_a_couriers_host_needs_neither_torch_nor_a_simulator():
    code = (
        "import sys\n"
        "for name in ('torch', 'mujoco', 'sqlalchemy', 'starlette', 'uvicorn'): sys.modules[name] = None\n"
        "from fleetloop.cli.main import main\n"
        "import fleetloop.courier.run\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "courier", "--home", "host", "--set", "courier.drain_wall_s=-1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "courier.drain_wall_s: is -1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("status --once --hub http://127.0.0.1:9", "http://127.0.0.1:9: can't be reached"),
        ("learner", "base: holds no base policy"),
        ("pretrain", "demonstrations: is no directory"),
        ("actor --robot robot-9", "robot robot-9: is not in the configuration; known: robot-1"),
        ("actor --robot robot-1 --clock-file nowhere --tasks restock/shelf", "clock file nowhere: can't be used"),
        (
            "actor --robot robot-1 --tasks restock/shop",
            "task restock/shop: is not known to the robot 'sim'; known: restock/shelf",
        ),
        ("hub --host 0.0.0.0", "hub.host: 0.0.0.0 can be reached by others"),
        ("eval --tasks restock/shelf", "policy: it takes exactly one to be measured"),
        ("eval --base b --sites one", "--sites: 'one' is no list of numbers"),
        ("replay nowhere.arrow --base nowhere", "nowhere: holds no base policy"),
        ("demos record --tasks restock/shelf=x", "--tasks: 'restock/shelf=x' has no number after the ="),
        ("sim view restock/shelf --out film.avi", "--out: film.avi is no film"),
        ("sim view restock/shelf --out film.gif --cameras side", "--cameras: 'side' is unknown; known: front"),
        ("sim experts --tasks nothing", "task nothing: is not known"),
        ("episodes annotate 01", "annotation: says nothing"),
        ("config show -c nowhere.yaml", "nowhere.yaml: can't be read"),
    ],
)
def test_an_error_is_one_clear_line_and_status_1(arguments, told):
    result = invoke(*arguments.split())
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


def test_wrong_usage_is_status_2():
    assert invoke("actor").exit_code == 2
    assert invoke("nonsense").exit_code == 2
    assert invoke("eval", "--episodes", "0").exit_code == 2


def test_a_port_that_is_taken_is_one_line(tmp_path):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = invoke("hub", "--port", str(other.getsockname()[1]))
    assert result.exit_code == 1
    assert "stop the program that uses it" in result.stderr


def test_the_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setenv("FLEETLOOP_DEBUG", "1")
    from fleetloop.core.errors import ConfigInvalid

    assert isinstance(invoke("config", "show", "-c", "nowhere.yaml").exception, ConfigInvalid)
