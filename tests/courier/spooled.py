"""Sealed and unsealed episodes, releases, and a hub in memory that can be away or say no."""

import shutil
import threading

import numpy as np
from ulid import ULID

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.hub import Acknowledgement, Orders, never
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording
from fleetloop.core.spec import FeatureSpec, PolicySpec, RobotSpec
from fleetloop.weights.codec import encode
from manifests import manifest_of

COUNT, ACTION = FeatureSpec("count", (1,)), FeatureSpec("target", (2,))
ROBOT = RobotSpec("slider", (COUNT,), ACTION, 20.0)
POLICY = PolicySpec((COUNT,), ACTION, horizon=8, execute=4, control_hz=20.0)

SUCCESS = Ending(Outcome.SUCCESS, Judge.SIMULATOR)


def episode_id(number: int) -> str:
    return str(ULID.from_bytes((1_700_000_000_000 + number).to_bytes(6, "big") + bytes(10)))


def record(host, number, *, frames=5, ending=SUCCESS, source=Source.POLICY):
    """A recording in the spool; with `ending=None` its writer died after the last whole batch."""
    meta = EpisodeMeta(episode_id(number), "run", "robot-1", "site-1", "slide/far", "slide", "online", ROBOT)
    recording = Recording(RealDisk(), host.spool, meta)
    for tick in range(frames):
        observation = Observation({"count": np.array([tick], np.float32)}, taken=tick / 20)
        action = np.array([tick, 0], np.float32)
        recording.add(Frame(tick, tick / 20, tick / 20, observation, action, action, source, 1, 0, tick))
    if ending is None:
        recording.flush()
        recording.abandon()
    else:
        recording.finish(ending)
    return meta.id


def release(version: int, mark: float):
    """A manifest, and the blobs that belong to it."""
    encoded = encode({"mark": np.array([mark], np.float32)})
    manifest = manifest_of(
        encoded, POLICY, policy={"name": "counting"}, step=version, parent=max(version - 1, 0), version=version
    )
    return manifest, dict(encoded.blobs)


class FakeHub:
    """What couriers ask of a hub. Thread-safe; `away` and `refuse` are the test's."""

    def __init__(self, directory):
        directory.mkdir(exist_ok=True)
        self.directory, self.away, self.refuse = directory, False, {}
        self.received, self.blobs, self.releases, self.stable = [], {}, {}, None
        self.registered, self.beaten, self.misfit = {}, [], None
        self.beat_s = self.clock_s = 0.0
        self.cut_after, self.fetched = None, 0
        self._lock = threading.Lock()

    def _here(self):
        if self.away:
            raise HubUnavailable("http://hub", "can't be reached", "is the hub running?")

    def put_episode(self, id, path, hash, *, gives_way=never):
        self._here()
        if id in self.refuse:
            raise self.refuse[id]
        with self._lock:
            known = id in self.received
            if not known:
                shutil.copy(path, self.directory / path.name)
                self.received.append(id)
            return Acknowledgement(id, self.received.index(id) + 1, known)

    def publish(self, version, mark):
        manifest, blobs = release(version, mark)
        self.blobs.update(blobs)
        self.stable = self.releases[version] = manifest
        return manifest

    def release(self, version):
        self._here()
        if version not in self.releases:
            raise HubRefused("release", f"there is no release {version}", status=404)
        return self.releases[version]

    def channel(self, name, *, after=0, wait_s=0.0):
        self._here()
        assert name == "stable"
        return self.stable if self.stable and self.stable.version != after else None

    def coming(self, name, *, after=0, blobs=0, wait_s=0.0):
        return self.channel(name, after=after, wait_s=wait_s)

    def fetch_blob(self, blob, file, *, gives_way=never):
        """After `cut_after` bytes, if that is set, the line breaks for good."""
        self._here()
        rest = self.blobs[blob.hash][file.tell() :]
        if not rest:
            raise HubRefused("Range", "begins past the object's end", status=416)
        file.write(rest if self.cut_after is None else rest[: self.cut_after])
        self.fetched += len(rest)
        if self.cut_after is not None:
            raise HubUnavailable("http://hub", "hung up")

    def register(self, registration):
        self._here()
        if self.misfit:
            raise self.misfit
        self.registered[registration.robot] = registration

    def beat(self, statuses):
        self._here()
        for status in statuses:
            if status.robot not in self.registered:
                raise HubRefused("robot", f"{status.robot!r} is not registered", status=404)
        self.beaten.append(list(statuses))
        told = {"beat_s": self.beat_s, "clock_s": self.clock_s}
        return [Orders(status.robot, 42.0, "pool/1", **told) for status in statuses]
