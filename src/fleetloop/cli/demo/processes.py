"""The fleet's processes: started with the documented commands, watched, and always stopped again."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fleetloop.core.errors import FleetLoopError

TAIL_LINES = 8
PATIENCE_S = 25.0  # real seconds for an orderly end


class ProcessDied(FleetLoopError):
    """A process of the fleet ended although nobody told it to, or failed to end in order."""


@dataclass(frozen=True)
class Child:
    """One process, and the file that everything it says goes to."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def ended_badly(self, problem: str) -> ProcessDied:
        written = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = written.splitlines()[-TAIL_LINES:]
        said = " | ".join(line.strip() for line in lines if line.strip()) or "nothing"
        return ProcessDied(self.name, f"{problem}; the last that it said: {said}", f"see {self.log}")


class FleetProcesses:
    """Children by name. Leaving the block stops those that are left, the youngest first."""

    def __init__(self, config: Path, logs: Path) -> None:
        self._config, self._logs = config, logs
        self._children: dict[str, Child] = {}

    def start(self, name: str, *command: str) -> None:
        """Run `fleetloop COMMAND --config …`; it is called `name`, and so is its log."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "fleetloop", *command, "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                process_group=0,  # so that Ctrl-C in the terminal reaches the demo alone, which stops them in order
            )
        self._children[name] = Child(name, process, log)

    def kill(self, name: str) -> None:
        """As the machine does that runs out of memory: kill -9."""
        child = self._children.pop(name)
        child.process.kill()
        child.process.wait()

    def ended(self) -> list[str]:
        """Those that have ended by themselves; they may be started anew."""
        return [name for name, child in self._children.items() if child.process.poll() is not None]

    def check(self) -> None:
        """Raise ProcessDied if one has ended."""
        for child in self._children.values():
            if (code := child.process.poll()) is not None:
                raise child.ended_badly(f"has ended with code {code}")

    def stop(self, *names: str) -> None:
        """Ask these to end, and wait for it. Raises ProcessDied if one fails to end in order."""
        children = [self._children.pop(name) for name in names]
        codes = _end(children)
        for child, code in zip(children, codes, strict=True):
            if code is None:
                raise child.ended_badly(f"did not stop within {PATIENCE_S:.0f} s and was killed")
            if code not in (0, -signal.SIGTERM):  # it may still have been starting, with nothing to end in order
                raise child.ended_badly(f"has ended with code {code}")

    def __enter__(self) -> "FleetProcesses":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(list(reversed(self._children.values())))
        self._children.clear()


def _end(children: list[Child]) -> list[int | None]:
    """SIGTERM to all, then SIGKILL to who is still there; returns the exit codes, None for who was killed."""
    for child in children:
        child.process.terminate()
    codes: list[int | None] = []
    for child in children:
        try:
            codes.append(child.process.wait(PATIENCE_S))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
            codes.append(None)
        except BaseException:  # a second Ctrl-C: no more patience
            for impatient in children:
                impatient.process.kill()
                impatient.process.wait()
            raise
    return codes
