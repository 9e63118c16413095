"""How many threads numpy may use is settled before it is imported: afterwards it would not hear of it."""

import os
import subprocess
import sys

import pytest

from fleetloop.cli.threads import VARIABLES

STOPS_AT_NUMPY = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            sys.stdout.write(os.environ.get("OPENBLAS_NUM_THREADS", "all"))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Watch())
from fleetloop.cli.main import main
main()
"""


def threads_of_numpy(command: str, directory, **environment: str) -> str:
    """As the environment says when a command first imports numpy."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    program = [sys.executable, "-c", STOPS_AT_NUMPY, *command.split()]
    ended = subprocess.run(
        program, cwd=directory, env=inherited | environment, capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout


@pytest.mark.parametrize(
    ("command", "threads"),
    [
        ("actor --robot robot-1", "1"),
        ("actor --robot robot-1 --set actor.threads=3", "3"),
        ("learner --set learner.threads=1", "1"),
        ("learner --set learner.threads=2", "all"),
        ("pretrain --set pretrain.threads=1", "1"),
        ("eval --expert", "1"),
        ("demos record", "1"),
        ("check robot sim", "1"),
        ("lab run main", "1"),
        ("replay 01JD0000000000000000000000 --release 1", "1"),
    ],
)
def test_a_command_settles_it_in_time(command, threads, tmp_path):
    assert threads_of_numpy(command, tmp_path) == threads


def test_what_the_environment_says_holds(tmp_path):
    assert threads_of_numpy("actor --robot robot-1", tmp_path, OPENBLAS_NUM_THREADS="5") == "5"
