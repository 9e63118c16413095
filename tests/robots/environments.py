"""Small Gymnasium environments, registered, for what the real ones do not have."""

from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Room(gymnasium.Env):
    """Walk to the door: what is seen is a dictionary with a picture in it; walking out on the other side ends it."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-10, 10, (2,), np.float64),
            "door": spaces.Discrete(3),
            "picture": spaces.Box(0, 255, (4, 6, 3), np.uint8),
        }
    )
    action_space = spaces.Box(np.array([-1, -2], np.float32), np.array([3, 2], np.float32))
    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self._picture = np.zeros((4, 6, 3), np.uint8)
        self.steps = 0
        self.resets = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        self.place = self.np_random.uniform(-1, 1, 2)
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        self.taken = action
        self.place = self.place + action
        return self._seen(), 0.5, bool(self.place[0] < -5), bool(self.place[1] > 5), {"arrived": self.place[0] > 5}

    def render(self):
        return np.full((8, 8, 3), 7, np.uint8)

    def _seen(self):
        self._picture += 1
        return {"place": self.place, "door": 2, "picture": self._picture}


class Choice(Room):
    action_space = spaces.Discrete(3, start=5)

    def step(self, action):
        return super().step(np.array([action, 0.0]))


class Choices(Room):
    action_space = spaces.MultiDiscrete([[3], [2]], start=[[5], [0]])

    def step(self, action):
        assert self.action_space.contains(action)
        return super().step(action[:, 0].astype(float))


class Switches(Room):
    action_space = spaces.MultiBinary(2)

    def step(self, action):
        assert self.action_space.contains(action)
        return super().step(action.astype(float))


class Levers(Room):
    """Takes whole numbers."""

    action_space = spaces.Box(np.array([-3, 0]), np.array([5, 255]), dtype=np.int16)

    def step(self, action):
        assert self.action_space.contains(action)
        return super().step(action)


class Exact(Room):
    """Its limits lie between two numbers of 32 bits."""

    action_space = spaces.Box(-0.1, 0.1, (2,), np.float64)

    def step(self, action):
        assert self.action_space.contains(action)
        return super().step(action)


class Grey(Room):
    observation_space = spaces.Dict({"picture": spaces.Box(0, 255, (4, 6, 1), np.uint8)})


class Pair(Room):
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))


class Bright(Room):
    """Its pictures are of brightness, 0 to 1."""

    observation_space = spaces.Dict({"picture": spaces.Box(0, 1, (4, 6, 3), np.float32)})

    def render(self):
        return np.full((8, 8, 3), 0.7, np.float32)


class Slow(Room):
    """Takes 3 s of a clock to reset."""

    def __init__(self, clock, render_mode=None):
        super().__init__(render_mode)
        self._clock = clock

    def reset(self, *, seed=None, options=None):
        self._clock.sleep_until(self._clock.now() + 3)
        return super().reset(seed=seed)


class Faulty(Room):
    """Goes wrong as its `fault` says: in a call, or from the second step on in what it returns."""

    def __init__(self, fault, render_mode=None):
        super().__init__(render_mode)
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        if self.fault == "reset":
            raise RuntimeError("the scene can't be laid")
        return super().reset(seed=seed)

    def step(self, action):
        if self.fault == "step":
            raise RuntimeError("the physics blew up")
        seen, *rest = super().step(action)
        return seen, *rest[:-1], {"arrived": SAID.get(self.fault, False)}

    def render(self):
        if self.fault == "render" and self.steps > 1:
            raise RuntimeError("no screen")
        size = 9 if self.fault == "resizes" and self.steps > 1 else 8
        return np.full((size, 8, 3), 7, np.float32 if self.fault == "fades" and self.steps > 1 else np.uint8)

    def _seen(self):
        seen = super()._seen()
        return {**seen, **SEEN.get(self.fault, {})} if self.steps > 1 else seen


SEEN = {
    "grows": {"place": np.zeros(3)},
    "nan": {"place": np.array([0, np.nan])},
    "speaks": {"place": np.array(["left", "right"])},
    "beyond": {"door": 3},
    "grey": {"picture": np.zeros((4, 6, 1), np.uint8)},
}
SAID = {"all": np.ones(2, bool), "some": np.array([True, False]), "none": None, "words": "yes", "unsure": np.nan}


class Silent(Room):
    """Ends, and says of no step whether it went well; each is worth half a point."""

    def step(self, action):
        *rest, _ = super().step(action)
        return *rest, {}


class Undrawn(Room):
    def render(self):
        raise gymnasium.error.DependencyNotInstalled('pygame is not installed, run `pip install "gymnasium[toy-text]"`')


class Listing(Room):
    observation_space = spaces.Dict({"seen": spaces.Sequence(spaces.Discrete(3))})


class Spaceless(gymnasium.Env):
    pass


DRIVEN = (Room, Choice, Choices, Switches, Levers, Exact, Pair)
ODD = (Grey, Bright, Slow, Faulty, Silent, Undrawn, Listing, Spaceless)
for kind in DRIVEN + ODD:
    gymnasium.register(f"Tests/{kind.__name__}-v0", entry_point=kind)
