"""A command of the user's that says whether a candidate may go on: a simulated evaluation, for example."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO

LAST_WORDS = 300  # characters
UNDECIDED = 75  # EX_TEMPFAIL of sysexits.h


class TrialRun:
    """Runs the command, one at a time, without anybody waiting for it.

    `{release}` and `{hub}` in its arguments are replaced by the version and the hub's URL. Exit status 0 lets the
    candidate pass, UNDECIDED says that it could not be measured now, anything else that it has failed.
    """

    def __init__(self, command: Sequence[str], hub_url: str) -> None:
        self._command, self._hub_url = tuple(command), hub_url
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether one was started and its result not yet taken."""
        return self._process is not None

    def start(self, version: int) -> None:
        """Raises OSError if there is no such program."""
        filled: Mapping[str, str] = {"{release}": str(version), "{hub}": self._hub_url}
        arguments = [_filled(argument, filled) for argument in self._command]
        self._said = TemporaryFile()  # noqa: SIM115 -- open for as long as the process runs
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it starts can be ended with it
        )

    def result(self) -> tuple[bool | None, str] | None:
        """Whether it passed, None for undecided, and the last that it said; None while it runs."""
        assert self._process is not None
        assert self._said is not None
        status = self._process.poll()
        if status is None:
            return None
        self._said.seek(0)
        said = " ".join(self._said.read().decode(errors="replace").split())[-LAST_WORDS:]
        self.stop()
        return None if status == UNDECIDED else status == 0, f"exit status {status}: {said}"

    def stop(self) -> None:
        """End it, if it runs, and all that it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._said is not None:
            self._said.close()
        self._process = self._said = None


def _filled(argument: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        argument = argument.replace(name, value)
    return argument
