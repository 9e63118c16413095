"""Plug-ins that each break one rule of their contract."""

import threading
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from fleetloop.core.algorithm import FixedLabels, FrameLabels
from fleetloop.core.frame import Observation, Source
from fleetloop.core.operator import Drive, Mark
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec, RobotSpec
from fleetloop.core.task import Task

PLACE = FeatureSpec("place", (2,), low=-1, high=1)
TASK = Task("point/go", "go there", 2.0)
UNUSUAL = {"complex": torch.complex64, "counts": torch.uint16}


class Point:
    """A robot that keeps its contract; `fault` says what it does wrong."""

    simulated, spec = True, RobotSpec("point", (PLACE,), PLACE, 10)

    def __init__(self, fault=""):
        self.fault, self.place, self.ended, self.ticks = fault, np.zeros(2, np.float32), None, 0

    def reset(self, task, seed):
        start = np.random.default_rng() if self.fault == "unseeded" else np.random.default_rng(seed)
        self.place, self.ticks = start.uniform(-1, 1, 2).astype(np.float32), 0
        if self.fault == "fixed":
            self.place[:] = 0
        if self.fault != "remembers":
            self.ended = None
        return None if self.fault == "silent" else EpisodeStart(5 if self.fault == "counts" else task.instruction, 0.0)

    def observe(self):
        shared = self.place if self.fault == "shares" else self.place.copy()
        if self.ticks > 30:
            shared = {"strays": shared * np.float32(np.nan), "grows": np.zeros(3, np.float32)}.get(self.fault, shared)
        state = {"place": shared.astype(np.float64) if self.fault == "doubles" else shared}
        return Observation({} if self.fault == "blind" else state, float("nan") if self.fault == "timeless" else 0.0)

    def act(self, action):
        if self.fault == "scribbles":
            action *= 0
        wanted = action if self.fault == "unlimited" else np.clip(action, -1, 1)
        self.place[:] = wanted
        self.ticks += 1
        self.ended = Outcome.SUCCESS
        return None if self.fault == "mute" else wanted.astype(np.float32)

    def still(self):
        places = {"drifts": 7.0, "lame": np.nan}
        return np.zeros(3 if self.fault == "stumbles" else 2, np.float32) + np.float32(places.get(self.fault, 0))

    def outcome(self):
        return str(self.ended) if self.fault == "says" and self.ended else self.ended

    def expert(self):
        return self

    def action(self):
        return np.full(2, 0.5, np.float64 if self.fault == "expert" else np.float32)

    def progress(self):
        return float(self.place.sum())

    def close(self):
        pass


class Eye:
    """A simulated robot that shows a picture and nothing else; its episodes end, and nobody demonstrates."""

    simulated, spec = True, RobotSpec("eye", (), PLACE, 10, (CameraSpec("wrist", 8, 12),))

    def __init__(self, fault=""):
        self.fault, self.ticks, self.seed = fault, 0, 0

    def reset(self, task, seed):
        self.ticks, self.seed = 0, seed if self.fault != "unseeded" else self.seed + 1
        return EpisodeStart(task.instruction, 0.0)

    def observe(self):
        height = 9 if self.fault == "grows" and self.ticks > 30 else 8
        return Observation({}, 0.0, {"wrist": np.full((height, 12, 3), self.seed, np.uint8)}, {"wrist": 0.0})

    def act(self, action):
        self.ticks += 1
        return np.clip(action, -1, 1)

    def outcome(self):
        ended = self.ticks == 20
        return ("won" if self.fault == "says" else Outcome.TIMEOUT) if ended else None

    def close(self):
        pass


class Arm:
    """A robot that is not simulated: it stands where it was left, and says what it was sent, when."""

    spec = RobotSpec("arm", (PLACE,), PLACE, 10)

    def __init__(self, clock, spec=spec):
        self.clock, self.spec, self.sent = clock, spec, []

    def reset(self, task, seed):
        return EpisodeStart(task.instruction, 0.0)

    def observe(self):
        return Observation({"place": np.array([0.75, -0.5], np.float32)}, self.clock.now())

    def act(self, action):
        self.sent.append((self.clock.now(), action.tolist()))
        return action.copy()

    def close(self):
        pass


class KnowingArm(Arm):
    """It knows how its task is done and how it has gone, and is no simulation for that."""

    def expert(self):
        return self

    def action(self):
        return np.ones(2, np.float32)

    def progress(self):
        return 0.0

    def outcome(self):
        return None


class Watcher:
    """An operator that takes over when it may."""

    name, wants_attention = "watcher", False

    def __init__(self, fault=""):
        self.fault = fault

    def start(self, instruction):
        self.wants_attention = self.fault == "greedy"

    def watch(self, view):
        self.wants_attention = True
        if self.fault == "speaks":
            return "take over"
        if self.fault == "scribbles":
            view.observation.state["place"][:] = 7
        if self.fault == "marks":
            return Mark("banana")
        drives = view.attention or self.fault == "forces"
        size = 3 if self.fault == "misfits" else 2
        return Drive(np.zeros(size, np.float32)) if drives else None


class Referee:
    rank = Judge.CLASSIFIER

    def __init__(self, fault=""):
        self.fault, self.asked, self.said = fault, 0, None

    def verdict(self, observation):
        self.asked += 1
        if self.fault == "scribbles":
            observation.state["place"][:] = 7
        if self.fault == "hasty" or (self.fault == "fickle" and self.asked % 2 == 0):
            return Outcome.FAILURE
        if self.fault == "remembers" and self.said is not None:
            return self.said
        done = np.allclose(observation.state["place"], 0.5) and self.fault != "blind"
        self.said = Outcome.SUCCESS if done else None
        return self.said


class ToldReferee(Referee):
    """Remembers what it has said, until the next episode begins."""

    def __init__(self):
        super().__init__("remembers")

    def start(self, task, instruction):
        self.said = None


class Unranked(Referee):
    rank = "referee"


class Cloning(FixedLabels):
    name = "cloning"

    def __init__(self, fault=""):
        self.fault, self.calls, self.kept = fault, 0, 1.0
        if fault == "strange":
            self.conditions = frozenset({"fast"})

    def label(self, episode):
        count, self.calls = len(episode), self.calls + 1
        frames = np.arange(count, dtype=np.int32)
        labels = FrameLabels(
            train=episode.source == Source.HUMAN,
            stop=frames + 1,
            weight=np.full(count, self.kept, np.float32),
            indicator=np.full(count, 0 if self.fault == "picky" else -1, np.int8),
        )
        changed = {
            "long": {"train": np.ones(count + 1, bool)},
            "far": {"stop": np.full(count, count, np.int32)},
            "mixes": {"train": np.ones(count, bool), "stop": np.minimum(frames + 8, count)},
            "idle": {"train": np.zeros(count, bool)},
            "negative": {"weight": np.full(count, -1, np.float32)},
            "moody": {"weight": np.full(count, self.calls, np.float32)},
            "weightless": {"weight": np.zeros(count, np.float32)},
        }
        if self.fault == "hungry":
            assert episode.source[0] is not None
        return replace(labels, **changed.get(self.fault, {}))

    def loss(self, policy, batch, *, rng):
        losses = policy.loss(batch, rng=rng)
        if self.fault == "scalar":
            return losses.mean()
        if self.fault == "steep":
            return losses + (losses * 0).sqrt()
        if self.fault == "overwrites":
            batch.mask[:] = 0
        if self.fault == "nan":
            return losses * float("nan")
        if self.fault == "picky":
            return torch.where(torch.from_numpy(batch.indicator) == 0, losses * float("nan"), losses)
        if self.fault == "random":
            return losses * torch.rand(len(losses))
        return losses.detach() if self.fault == "detached" else losses

    def state_dict(self):
        odd = {"object": object(), "numbered": {1: 2}, "nested": {"array": np.zeros(2)}, "words": np.array(["a"])}
        if self.fault == "nothing":
            return None
        return {"kept": self.kept} | ({"odd": odd[self.fault]} if self.fault in odd else {})

    def load_state_dict(self, state):
        self.kept = 7.0 if self.fault == "forgets" else state["kept"]


class Versioned(FixedLabels):
    """Every refresh doubles the weights; `fault` says what goes wrong with it."""

    name, conditions, condition = "versioned", frozenset({"positive", "negative"}), "positive"

    def __init__(self, fault=""):
        self.fault, self.version, self.weight = fault, 0, 1.0

    def label(self, episode):
        return Cloning.label(Cloning(), episode) if self.fault == "splits" else self._labels(episode, self.weight)

    def refresh(self, episodes, step):
        return Doubled({id: self._labels(episode, 2 * self.weight) for id, episode in episodes.items()})

    def switch(self, refresh):
        self.version, self.weight = self.version + (self.fault != "stays"), 2 * self.weight

    def state_dict(self):
        kept = {"version": self.version, "weight": self.weight}
        return {} if self.fault == "forgetful" else kept

    def load_state_dict(self, state):
        self.version = state.get("version", 0)
        self.weight = 1.0 if self.fault == "lossy" else state.get("weight", 1.0)

    def _labels(self, episode, weight):
        labels = Cloning().label(episode)
        return replace(labels, weight=labels.weight * np.float32(weight), version=self.version)


class Doubled:
    ready = True

    def __init__(self, labels):
        self.labels = labels


WATCHED = RobotSpec("watched", (PLACE,), PLACE, 10, (CameraSpec("wrist", 8, 12),))


class Linear(nn.Module):
    """A policy that keeps its contract; `config["fault"]` says what it does wrong."""

    def __init__(self, config, spec):
        super().__init__()
        self.config, self.spec = dict(config), spec
        self.fault = config.get("fault", "")
        self.stats = nn.Module()
        self.stats.register_buffer("mean", torch.zeros(2))
        self.map = nn.Linear(2, spec.horizon * 2, dtype=torch.bfloat16 if self.fault == "coarse" else None)
        if self.fault in UNUSUAL:
            self.register_buffer("table", torch.zeros(2, dtype=UNUSUAL[self.fault]))

    def load_state_dict(self, state, strict=True, **rest):
        halved = {name: item / 2 for name, item in state.items()}
        return super().load_state_dict(halved if self.fault == "halves" else state, strict, **rest)

    @classmethod
    def build(cls, config, robot):
        return cls(config, PolicySpec(robot.state, robot.action, horizon=4, execute=2, control_hz=robot.control_hz))

    @classmethod
    def acting(cls, config, spec, weights):
        policy = cls(config, spec)
        given = {name: torch.from_numpy(array.astype(np.float32)) for name, array in weights.items()}
        if policy.fault == "forgets":
            del given["map.bias"]
        policy.load_state_dict(given, strict=policy.fault not in {"forgets", "lax"})
        return policy

    def fit_statistics(self, batch):
        self.stats.mean.copy_(torch.from_numpy(batch.state["place"]).mean(0))
        if self.fault == "tampers":
            self.map.weight.data += 1

    def loss(self, batch, *, rng):
        error = (self._predict(torch.from_numpy(batch.state["place"])) - torch.from_numpy(batch.actions)).abs().mean(-1)
        mask = torch.from_numpy(batch.mask)
        if self.fault == "unmasked":
            return error.mean(-1)
        losses = (error * mask).sum(-1) / mask.sum(-1).clamp(min=1)
        if self.fault == "shares":
            return losses + losses.mean()
        return losses.mean() if self.fault == "scalar" else losses

    @torch.no_grad()
    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        if self.fault == "scribbles":
            observation.state["place"][:] = 7
        if self.fault == "abrupt":
            assert prefix is None
        chunk = self._predict(torch.from_numpy(observation.state["place"])[None])[0].numpy()
        if self.fault == "noisy":
            chunk = chunk + np.random.default_rng().normal(size=chunk.shape).astype(np.float32)
        return chunk[:-1] if self.fault == "short" else chunk

    def _predict(self, place):
        centred = (place - self.stats.mean).to(self.map.weight.dtype)
        return self.map(centred).float().view(len(place), self.spec.horizon, 2)


class Imported(Linear):
    """One whose statistics have other names than ours: a buffer and, with the fault `rounded`, a frozen parameter."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.unnormalize = nn.Module()
        mean = torch.full((2,), -97.3)
        if self.fault == "rounded":
            self.unnormalize.mean = nn.Parameter(mean, requires_grad=False)
        else:
            self.unnormalize.register_buffer("mean", mean)

    def _predict(self, place):
        return super()._predict(place) + self.unnormalize.mean


class Sighted(Linear):
    """One that looks through the camera of `WATCHED`, and has room for 4x6 pixels of it."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.eye = nn.Linear(4 * 6 * 3, 2)

    @classmethod
    def build(cls, config, robot):
        camera, rename = CameraSpec("eye", 4, 6), {"eye": "wrist"}
        return cls(config, PolicySpec(robot.state, robot.action, 4, 2, robot.control_hz, (camera,), rename))

    def loss(self, batch, *, rng):
        looked = self._look(batch.seen["eye"]).detach().numpy()
        return super().loss(replace(batch, state={"place": batch.state["place"] + looked}), rng=rng)

    @torch.no_grad()
    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        picture = observation.images["eye"]
        place = observation.state["place"] + self._look(picture[None])[0].numpy()
        chunk = super().chunk(replace(observation, state={"place": place}), instruction, condition, rng=rng)
        return chunk * np.float32(np.nan) if self.fault == "dazzled" and picture.any() else chunk

    def _look(self, pictures):
        return self.eye(torch.from_numpy(pictures).flatten(1) / 255)


class Asking(Linear):
    """One that can be conditioned, and that has a critic."""

    conditions = frozenset({"positive", "negative"})

    def __init__(self, config, spec):
        super().__init__(config, spec)
        if self.fault == "listed":
            self.conditions = ["negative", "positive"]
        if self.fault == "locked":
            self.lock = threading.Lock()

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        if condition is not None and self.fault == "deaf":
            raise KeyError(condition)
        return super().chunk(observation, instruction, condition, rng=rng)

    def loss(self, batch, *, rng):
        losses = super().loss(batch, rng=rng)
        if self.fault == "unsure":
            return torch.where(torch.from_numpy(batch.indicator >= 0), losses / 0, losses)
        return losses

    def critic(self, bins):
        return Critic(1 if self.fault == "narrow" else bins, self.fault)


class Critic(nn.Module):
    def __init__(self, bins, fault):
        super().__init__()
        self.map, self.fault = nn.Linear(2, bins), fault

    def look(self, episode, frames):
        return {"place": episode.state("place")[frames]}

    def logits(self, sights, instructions, instruction):
        if self.fault == "unjudging":
            raise NotImplementedError
        return self.map(torch.from_numpy(np.array(sights["place"])))
