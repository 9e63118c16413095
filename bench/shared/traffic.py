"""What goes on around a robot while it drives: releases come, and episodes of others go up."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fleetloop.actor.recorder import encode_jpeg
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import LearnerLease
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording
from fleetloop.core.release import Release
from fleetloop.core.spec import CameraSpec, RobotSpec
from fleetloop.hub.http.client import HttpHub
from fleetloop.learner.export import config_hash, release_weights, statistics_hash
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.robot import sim_spec
from fleetloop.weights.codec import encode

NEIGHBOUR_FRAMES, NEIGHBOUR_PX = 200, 224


class Traffic:
    """Publishes releases as a learner would, and records large episodes as another robot of the host would."""

    def __init__(self, url: str, host: Path, run: str, task: str, hz: float) -> None:
        self._run, self._task, self._rng = run, task, np.random.default_rng(0)
        self._hub, self._disk = HttpHub(url), RealDisk()
        self._spool = HostDirectory(host, self._disk).spool
        self._policy = FlowPolicy.build({}, replace(sim_spec(), control_hz=hz))
        self._spec = replace(sim_spec(), cameras=(CameraSpec("top", NEIGHBOUR_PX, NEIGHBOUR_PX),))
        self._jpeg = _noise_jpeg(self._rng)
        self._lease: LearnerLease | None = None
        self.published = self.recorded = 0

    def run(self, until: float, publish_every: float, upload_every: float) -> None:
        """Until the given time of the monotonic clock; periods in seconds."""
        next_publish = next_upload = 0.0
        while (now := time.monotonic()) < until:
            if now >= next_publish:
                next_publish = now + publish_every
                self.publish()
            if now >= next_upload:
                next_upload = now + upload_every
                self.record()
            time.sleep(max(0.0, min(next_publish, next_upload, until) - time.monotonic()))

    def publish(self) -> None:

        with torch.no_grad():
            for weight in self._policy.parameters():
                weight.add_(torch.randn_like(weight), alpha=1e-3)
        self._lease = self._hub.renew_lease(self._lease) if self._lease else self._hub.claim_lease("bench")
        encoded = encode(release_weights(self._policy.state_dict()))
        for hash, data in encoded.blobs.items():
            self._hub.put_blob(hash, data)
        spec = self._policy.spec
        manifest = Release(
            run=self._run,
            step=25 * self.published,
            parent=self.published,
            trained_through=0,
            policy={"name": "flow", "config": self._policy.config},
            spec=spec.to_json(),
            spec_hash=spec.hash(),
            config_hash=config_hash(self._policy.config),
            statistics_hash=statistics_hash(self._policy.state_dict()),
            conditions=(),
            tensors=encoded.tensors,
            encodings=(encoded.encoding(),),
            result_hash=encoded.result_hash,
            clock_s=time.monotonic(),
        )
        self._hub.publish(manifest, self._lease)
        self.published += 1

    def record(self) -> None:
        recording = Recording(self._disk, self._spool, self._meta())
        for tick in range(NEIGHBOUR_FRAMES):
            recording.add(_frame(self._spec, tick, self._rng), {"top": self._jpeg})
        recording.finish(Ending(Outcome.TIMEOUT, Judge.NOBODY))
        self.recorded += 1

    def _meta(self) -> EpisodeMeta:
        id = new_id(time.time(), self._rng)
        return EpisodeMeta(id, self._run, "neighbour", "site-2", self._task, "", "online", self._spec)


def _noise_jpeg(rng: np.random.Generator) -> bytes:
    coarse = rng.integers(0, 255, (NEIGHBOUR_PX // 2, NEIGHBOUR_PX // 2, 3), np.uint8)
    return encode_jpeg(np.asarray(Image.fromarray(coarse).resize((NEIGHBOUR_PX, NEIGHBOUR_PX))), 90)


def _frame(spec: RobotSpec, tick: int, rng: np.random.Generator) -> Frame:
    state = {item.name: rng.integers(0, 9, item.shape).astype(item.dtype) for item in spec.state}
    observation = Observation(state, 0.0, {}, {"top": 0.0})
    action = np.zeros(spec.action.shape, np.float32)
    return Frame(tick, 0.0, 0.0, observation, action, action, Source.POLICY, 0, -1, -1)
