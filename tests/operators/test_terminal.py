"""The terminal itself: how it is taken, how a process of any ending gives it back, and a person driving through it."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal_reading import PATIENCE_S, eventually, read_all, wait_for

from fleetloop.core.errors import SystemMissing
from fleetloop.operators.terminal import Terminal


@pytest.fixture
def far_and_near() -> Iterator[tuple[int, int]]:
    files = pty.openpty()
    yield files
    for file in files:
        os.close(file)


def test_keys_are_neither_echoed_nor_held_back_and_all_is_restored(far_and_near):
    far, near = far_and_near
    before = termios.tcgetattr(near)
    with Terminal(os.ttyname(near)) as terminal:
        during = termios.tcgetattr(near)
        os.write(far, b"x")
        eventually(lambda: terminal.read() == b"x")
        assert not during[3] & (termios.ECHO | termios.ICANON)
        assert during[3] & termios.ISIG
        assert (during[6][termios.VQUIT], during[6][termios.VSUSP]) == (b"\0", b"\0")
        assert read_all(far) == b""
    assert termios.tcgetattr(near) == before
    terminal.close()


def test_a_terminal_that_goes_away_is_told():
    far, near = pty.openpty()
    with Terminal(os.ttyname(near)) as terminal:
        os.close(far)
        with pytest.raises(SystemMissing, match="the terminal is gone") as raised:
            eventually(lambda: terminal.read() != b"")
    assert "\n" not in str(raised.value)
    os.close(near)


@pytest.mark.parametrize("path", ["/dev/null", "/no/such/terminal"])
def test_what_is_no_terminal_is_told(path):
    with pytest.raises(SystemMissing, match="terminal") as raised:
        Terminal(path)
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------------- processes

DRIVE = Path(__file__).with_name("drive_by_keyboard.py")
OPEN = "from fleetloop.operators.terminal import Terminal; Terminal().say('ready'); "


def at_terminal(near: int, *arguments: str) -> subprocess.Popen[bytes]:
    """Python in a session of its own at the terminal `near`, as after a login; its output comes through a pipe."""
    open_terminal = f"import os; os.close(os.open({os.ttyname(near)!r}, os.O_RDWR)); "
    run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    code = open_terminal + (run if arguments[0].endswith(".py") else arguments[0])
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdin=near, stdout=subprocess.PIPE, stderr=near, start_new_session=True)


def test_a_person_drives_a_simulated_robot_and_marks_the_end(far_and_near):
    far, near = far_and_near
    before = termios.tcgetattr(near)
    child = at_terminal(near, str(DRIVE))
    assert child.stdout
    wait_for(far, "t takes over")
    os.write(far, b"t")
    wait_for(far, "you drive gripper 1, open")
    for _ in range(5):
        os.write(far, b"d")
    driven = json.loads(child.stdout.readline())
    assert (driven["outcome"], driven["judge"]) == ("success", "simulator")
    assert driven["driven"] > 1
    wait_for(far, "t takes over")
    os.write(far, b"n")
    assert json.loads(child.stdout.readline()) == {"outcome": "failure", "judge": "person", "driven": 0}
    assert child.wait(PATIENCE_S) == 0
    child.stdout.close()
    assert termios.tcgetattr(near) == before


@pytest.mark.parametrize("end", ["", "raise RuntimeError", "import sys; sys.exit(3)", "import time; time.sleep(60)"])
def test_the_terminal_is_restored_however_the_process_ends(far_and_near, end):
    far, near = far_and_near
    before = termios.tcgetattr(near)
    child = at_terminal(near, OPEN + end)
    wait_for(far, "ready")
    if "sleep" in end:
        os.write(far, b"\x03")  # Ctrl-C
    code = child.wait(PATIENCE_S)
    assert code == {"": 0, "import sys; sys.exit(3)": 3}.get(end, -signal.SIGINT if "sleep" in end else 1)
    assert termios.tcgetattr(near) == before


def test_a_process_without_a_terminal_is_told_so_in_one_line():
    show = "try: Terminal()\nexcept Exception as error: print(error)"
    code = f"from fleetloop.operators.terminal import Terminal\n{show}"
    command = [sys.executable, "-c", code]
    said = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True, check=True
    )
    assert said.stdout.startswith("terminal: there is no terminal")
    assert said.stdout.count("\n") == 1


def test_in_the_background_of_a_terminal_it_refuses(far_and_near):
    _, near = far_and_near
    # A new process group that the terminal does not belong to: what `&` makes in a shell.
    code = "os.setpgid(0, 0) if os.fork() == 0 else os._exit(os.waitstatus_to_exitcode(os.wait()[1])); " + OPEN
    child = at_terminal(near, code)
    assert child.wait(PATIENCE_S) == 1
    wait_for(far_and_near[0], "in the background of its terminal")
