"""The directory that the actors of one host share with their courier.

    spool/ID.partial, spool/ID.arrow    episodes being recorded, and sealed ones waiting for the hub
    spool/refused/                      those that the hub will not have, each with its reason
    releases/VERSION.json, .safetensors verified weights; releases/current names the version to run,
                                        releases/installed says when each was verified, installed.old said it before
    releases/ROBOT.trial                what the robot's actor is loading, and what it died of;  written by the actor
    downloads/HASH                      blobs that have come, whole or in part, of releases that are not yet here
    mail/ROBOT.registration.json        who the robot is;   written by the actor
    mail/ROBOT.status.json              how it is;          written by the actor
    mail/ROBOT.orders.json              the hub's answer;   written by the courier
    courier.lock, mail/ROBOT.lock       held by the one courier, and by the one actor of a robot

Mail is the latest word, not a queue: each file is replaced as a whole, so either side may die and return at any moment.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from fleetloop.core.disk import Disk, disk_trouble
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.hub import Orders, Registration, RobotStatus
from fleetloop.core.release import Release
from fleetloop.core.spec import RobotSpec

LOG_BYTES = 1_000_000
_orders, _statuses = TypeAdapter(Orders), TypeAdapter(RobotStatus)
T = TypeVar("T")

log = logging.getLogger(__name__)

SPOOL = "spool"


class HostDirectory:
    """Paths and mail of one host."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self.root, self._disk = root, disk
        self.spool, self.releases, self.mail = root / SPOOL, root / "releases", root / "mail"
        self.downloads = root / "downloads"
        self._damaged = set[Path]()
        for directory in (self.spool, self.releases, self.mail, self.downloads):
            disk.make(directory)

    # ------------------------------------------------------------------ releases

    def install(self, release: Release, safetensors: bytes) -> None:
        """Keep verified weights and make them the ones to run."""
        self.keep(release, safetensors)
        self.choose(release.version)

    def keep(self, release: Release, safetensors: bytes) -> None:
        """Keep verified weights beside the ones to run."""
        self._disk.write(self._weights(release.version), safetensors)
        self._disk.write(self._manifest(release.version), json.dumps(release.to_json()).encode())

    def choose(self, version: int) -> None:
        """Make weights that are kept the ones to run."""
        self._disk.write(self.releases / "current", str(version).encode())

    def log_installed(self, version: int, clock_s: float, fetched_bytes: int) -> None:
        """Note when a release was verified here, and what it cost; one JSON object a line in `releases/installed`.

        A long file becomes `installed.old`, in place of the one before. Raises DiskTrouble.
        """
        log = self.releases / "installed"
        try:
            if log.exists() and log.stat().st_size > LOG_BYTES:
                log.replace(log.with_suffix(".old"))
            with log.open("a") as file:
                file.write(json.dumps({"version": version, "clock_s": clock_s, "bytes": fetched_bytes}) + "\n")
        except OSError as error:
            raise disk_trouble(log, error) from error

    def current_version(self) -> int:
        """The version to run; 0 before the first, and where a disk that lied about its writes has lost the number."""
        try:
            return int((self.releases / "current").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def manifest(self, version: int) -> Release:
        """Of a release that is kept. Raises FileNotFoundError for any other."""
        return Release.from_json(json.loads(self._manifest(version).read_bytes()))

    def weights(self, version: int) -> bytes:
        """Its safetensors bytes. Raises FileNotFoundError if it is not kept."""
        return self._weights(version).read_bytes()

    def release_stamp(self, version: int) -> int:
        """A number that changes whenever this version is kept anew; 0 while it is not."""
        return _stamp(self._manifest(version))

    def versions(self) -> list[int]:
        """Of all releases that are kept, newest first."""
        stems = (path.stem for path in self.releases.glob("*.json"))
        return sorted((int(stem) for stem in stems if stem.isdecimal()), reverse=True)  # an editor may leave a copy

    def release_files(self, version: int) -> Sequence[tuple[int, int, int] | None]:
        """What changes whenever a file of this release is replaced, changed, or comes or goes."""
        return [_identity(path) for path in (self._manifest(version), self._weights(version))]

    def forget_releases(self, keep: int) -> None:
        """Remove all but the newest `keep`, those that robots are pinned to, and the current one.

        A rollback may have made that an old one.
        """
        for version in set(self.versions()[keep:]) - {self.current_version()} - self.pinned():
            self._disk.remove(self._manifest(version))
            self._disk.remove(self._weights(version))

    def forget_halves(self) -> None:
        """Remove weights that a crash left half written or half removed. For the courier, before it installs any."""
        for weights in self.releases.glob("*.safetensors"):
            if not weights.with_suffix(".json").exists():
                self._disk.remove(weights)
        for half in self.releases.glob(".*.tmp"):
            self._disk.remove(half)

    def trial_file(self, robot: str) -> Path:
        return self.releases / f"{robot}.trial"

    def note_trial(self, robot: str, data: Mapping[str, Any]) -> None:
        """Durably, so that it outlives whatever happens next."""
        self._disk.write(self.trial_file(robot), json.dumps(data).encode())

    def trial(self, robot: str) -> Mapping[str, Any]:
        """What was noted last; empty if nothing was, or if it can't be read."""
        try:
            noted = json.loads(self.trial_file(robot).read_bytes())
            deaths = {str(hash): int(count) for hash, count in noted["deaths"].items()}
            return {"loading": str(noted["loading"]), "deaths": deaths}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s is damaged, and forgotten: %s", self.trial_file(robot), error)
            return {}

    def _manifest(self, version: int) -> Path:
        return self.releases / f"{version:08d}.json"

    def _weights(self, version: int) -> Path:
        return self.releases / f"{version:08d}.safetensors"

    # ------------------------------------------------------------------ mail

    def post_registration(self, registration: Registration) -> None:
        data = {**asdict(registration), "spec": registration.spec.to_json()}
        self._post(f"{registration.robot}.registration.json", data)

    def registrations(self) -> Iterator[Registration]:
        return self._mail("registration", _registration)

    def post_status(self, status: RobotStatus) -> None:
        self._post(f"{status.robot}.status.json", asdict(status))

    def statuses(self) -> Iterator[RobotStatus]:
        return self._mail("status", _statuses.validate_python)

    def status_stamp(self, robot: str) -> int:
        """A number that changes whenever the robot posts its status, so that a dead actor's last word is told apart."""
        return (self.mail / f"{robot}.status.json").stat().st_mtime_ns

    def post_orders(self, orders: Orders) -> None:
        self._post(f"{orders.robot}.orders.json", asdict(orders))

    def orders(self, robot: str) -> Orders:
        """The newest orders; none at all before the courier has spoken to the hub."""
        return self._letter(self.mail / f"{robot}.orders.json", _orders.validate_python) or Orders(robot)

    def pinned(self) -> set[int]:
        """The versions that robots of this host are to run in place of the current one."""
        return {orders.release for orders in self._mail("orders", _orders.validate_python) if orders.release}

    def orders_stamp(self, robot: str) -> int:
        """A number that changes whenever orders arrive for the robot; 0 before the first."""
        return _stamp(self.mail / f"{robot}.orders.json")

    def _post(self, name: str, data: Mapping[str, Any]) -> None:
        # Replaced at once but not fsynced: mail is worth nothing after a power cut.
        temporary = self.mail / f".{name}.{os.getpid()}"
        try:
            temporary.write_text(json.dumps(data))
            temporary.replace(self.mail / name)
        except OSError as error:
            raise disk_trouble(self.mail / name, error) from error

    def _mail(self, kind: str, read: Callable[[Any], T]) -> Iterator[T]:
        letters = (self._letter(path, read) for path in sorted(self.mail.glob(f"*.{kind}.json")))
        return (letter for letter in letters if letter is not None)

    def _letter(self, path: Path, read: Callable[[Any], T]) -> T | None:
        """None if there is none, or if a power cut or another version has left something else; the next one comes."""
        try:
            return read(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, FleetLoopError) as error:
            if path not in self._damaged:
                log.warning("%s is damaged, and left out: %s", path, error)
            self._damaged.add(path)
            return None


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _registration(data: Any) -> Registration:
    return Registration(**{**data, "spec": RobotSpec.from_json(data["spec"]), "tasks": tuple(data["tasks"])})
