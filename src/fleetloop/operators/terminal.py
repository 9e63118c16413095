"""A terminal that is read key by key and never waited for."""

import atexit
import os
import termios
from types import TracebackType
from typing import Any, Self

from fleetloop.core.errors import SystemMissing

READ_AT_ONCE = 1024
FALLBACK_COLUMNS = 80
_REMEDY = "start it in the foreground of a terminal, or choose another operator"


class Terminal:
    """The terminal that this process was started in, from now on without line editing and echo.

    `close`, the end of a `with`, or the end of the process gives it back as it was (kill -9 doesn't: `stty sane` does).
    Ctrl-C still interrupts. Reading and writing never wait: what can't be written at once is left out.

    Raises:
        SystemMissing: if there is none, or the process is in its background.
    """

    def __init__(self, path: str = "/dev/tty") -> None:
        try:
            # An opening of our own: non-blocking here leaves the shell's and the log's untouched.
            self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise SystemMissing("terminal", f"there is no terminal ({error.strerror})", _REMEDY) from error
        try:
            if _in_background(self._file):
                raise SystemMissing("terminal", "the process is in the background of its terminal", _REMEDY)
            self._before = termios.tcgetattr(self._file)
        except termios.error as error:
            os.close(self._file)
            raise SystemMissing("terminal", f"{path} is no terminal", _REMEDY) from error
        except SystemMissing:
            os.close(self._file)
            raise
        self._open = True
        atexit.register(self.close)
        termios.tcsetattr(self._file, termios.TCSANOW, _key_by_key(self._before))

    def read(self) -> bytes:
        """What was typed since the last call.

        Raises:
            SystemMissing: if the terminal is gone: its window was closed, or the connection is lost.
        """
        try:
            typed = os.read(self._file, READ_AT_ONCE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise SystemMissing("terminal", f"the terminal is gone ({error.strerror})", _REMEDY) from error
        if not typed:
            raise SystemMissing("terminal", "the terminal is gone", _REMEDY)
        return typed

    def show(self, line: str) -> None:
        """Write one line in place of the last one, cut to the terminal's width."""
        self._write(f"\r\x1b[K{line[: self._columns() - 1]}")

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self._write(f"\r\x1b[K{line}\n")

    def close(self) -> None:
        """Give the terminal back as it was. Nothing happens the second time."""
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        self._write("\n")
        try:
            termios.tcsetattr(self._file, termios.TCSANOW, self._before)
        except termios.error:
            return  # the terminal is gone, and its settings with it
        finally:
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._file).columns or FALLBACK_COLUMNS
        except OSError:
            return FALLBACK_COLUMNS  # the terminal is gone, which `read` reports

    def _write(self, text: str) -> None:
        try:
            os.write(self._file, text.encode())
        except OSError:
            return  # nobody reads it, or the terminal is gone, which `read` reports


NO_KEY = b"\0"


def _key_by_key(attributes: list[Any]) -> list[Any]:
    """Without echo, line editing, the Ctrl-S that stops all output, and the keys that kill or stop a process."""
    changed = [*attributes]
    changed[0] &= ~termios.IXON
    changed[3] &= ~(termios.ECHO | termios.ICANON)
    changed[6] = [*attributes[6]]
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    changed[6][termios.VQUIT] = changed[6][termios.VSUSP] = NO_KEY  # a robot must not be left in mid-motion
    return changed


def _in_background(file: int) -> bool:
    """Whether reading would stop this process. Only its controlling terminal does that."""
    try:
        return os.tcgetpgrp(file) != os.getpgrp()
    except OSError:
        return False
