"""One arm under one seed: the unit that is run, kept and skipped."""

import json
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fleetloop.core.disk import RealDisk, check_writable
from fleetloop.core.errors import ConfigInvalid
from fleetloop.lab.bench import EVALUATION_SEED, Bench
from fleetloop.lab.experiment import Arm, Setting
from fleetloop.lab.experiments import experiment
from fleetloop.lab.storage import Cache, scratch

FORMAT = 1
NECESSARY = frozenset(
    {"format", "experiment", "arm", "seed", "quick", "evaluation", "evaluation_seed", "setting", "options", "versions"}
    | {"commit", "cpu_s", "minutes", "command", "privileged"}
)
"""What every result has."""
MAPPINGS = frozenset({"evaluation", "setting", "options", "versions", "fleet", "facts"})
PACKAGES = ("fleetloop", "mujoco", "numpy", "pyarrow", "torch")
PRIVILEGED = "scripted, privileged: operator, expert and judge read the simulator's true state"


@dataclass(frozen=True)
class Job:
    """Attributes:
    experiment, arm: by name; another process finds the rest.
    results: the experiment's own directory; cache: see `Cache`.
    minutes: of the fleet's clock, in place of the setting's; None to leave them.
    """

    experiment: str
    arm: str
    seed: int
    results: Path
    cache: Path
    quick: bool = False
    minutes: float | None = None

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        return self.results / f"{self.arm}-{self.seed}.json"

    @property
    def done(self) -> bool:
        """Raises ConfigInvalid if there is a file, but not the job's result."""
        return self.file.exists() and bool(read(self.file, self.experiment))

    @property
    def needs(self) -> "Job | None":
        """The job whose result this one builds on."""
        needed = self._arm().needs
        return replace(self, arm=needed) if needed else None

    @property
    def setting(self) -> Setting:
        found = experiment(self.experiment)
        setting = found.quick if self.quick else found.setting
        return setting if self.minutes is None else replace(setting, minutes=self.minutes)

    def run(self) -> None:
        """Do it, and keep the result. Raises whatever goes wrong; then nothing is kept."""
        RealDisk().make(self.results)
        check_writable(self.file.with_suffix(".probe"))  # now, rather than when there is something to keep
        began, began_cpu = time.monotonic(), time.process_time()
        with scratch() as directory:
            bench = Bench(self.setting, self.seed, directory, Cache(self.cache), self._needed())
            result = self._arm().run(bench)
        facts = {
            "format": FORMAT,
            "experiment": self.experiment,
            "arm": self.arm,
            "seed": self.seed,
            "quick": self.quick,
            "minutes": self.setting.minutes,
            "evaluation_seed": EVALUATION_SEED,
            "privileged": PRIVILEGED,
            "command": self.command,
            "commit": commit(),
            "versions": versions(),
            "setting": as_json(self.setting),
            "options": as_json(self._arm()),
            "needed": self._needed().get("weights"),
            "wall_s": round(time.monotonic() - began, 1),
            "cpu_s": round(time.process_time() - began_cpu, 1),
        }
        RealDisk().write(self.file, (json.dumps({**facts, **result}, separators=(",", ":")) + "\n").encode())

    @property
    def command(self) -> str:
        """What runs this job, and the others of its seed."""
        extra = " --quick" * self.quick + (f" --minutes {self.minutes:g}" if self.minutes is not None else "")
        return f"fleetloop lab run {self.experiment} --seeds {self.seed + 1}{extra}"

    def _arm(self) -> Arm:
        return next(arm for arm in experiment(self.experiment).arms if arm.name == self.arm)

    def _needed(self) -> Mapping[str, Any]:
        return read(self.needs.file, self.experiment) if self.needs else {}


def read(file: Path, experiment: str) -> Mapping[str, Any]:
    """A result of that experiment, of the arm and the seed that the file's name says.

    Raises ConfigInvalid if the file does not hold it.
    """
    remedy = "remove it, and run its job again"
    try:
        found = json.loads(file.read_bytes())
        if lacks := sorted(NECESSARY - found.keys()):
            raise ValueError(f"it lacks {', '.join(lacks)}")
        counts = {len(tried) for tried in found["evaluation"].values()}
        if odd := [name for name in MAPPINGS & found.keys() if not isinstance(found[name], Mapping)]:
            raise ValueError(f"its {min(odd)} is none")
        if len(counts) != 1 or not all(len(one) == 3 for tried in found["evaluation"].values() for one in tried):
            raise ValueError("its evaluation is not as many episodes of each task, each [site, success, ticks]")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigInvalid(str(file), f"is no result of the lab ({error})", remedy) from error
    if found["format"] != FORMAT:
        problem = f"is of format {found['format']!r}, and this version reads {FORMAT}"
        raise ConfigInvalid(str(file), problem, remedy)
    is_of = found["experiment"], f"{found['arm']}-{found['seed']}"
    if is_of != (experiment, file.stem):
        raise ConfigInvalid(str(file), f"is the result of {is_of[0]}, {is_of[1]}", remedy)
    return found  # type: ignore[no-any-return]


def as_json(value: Any) -> Any:
    """Dataclasses and options as plain JSON."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def versions() -> dict[str, str]:
    """Of Python and of the packages that the results depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # it may run from a source tree
            found[package] = "unknown"
    return found


def commit() -> str | None:
    """Of the source tree that this file lies in; None if it is in none, with `+` if the tree has been changed."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip() + "+" * bool(git("status", "--porcelain", "--", str(here.parent)))
    except (OSError, subprocess.CalledProcessError):
        return None
