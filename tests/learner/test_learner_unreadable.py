"""Episodes that the learner can't read, or is not to read."""

from dataclasses import replace

import learner_world
import pytest
from learner_world import (
    SEEING_ROBOT,
    SPEC,
    MemoryHub,
    TinyPolicy,
    advance,
    beat,
    learner_at,
    tiny_base,
    write_episode,
)

from fleetloop.core.errors import HubRefused
from fleetloop.core.outcome import Outcome
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.learner.buffer.buffer import Part
from fleetloop.learner.options import CacheOptions


def test_an_evaluation_among_the_demonstrations_is_none_of_them(tmp_path):
    """Imported with the rest of a data set, for example."""
    shown = write_episode(tmp_path, 1, "hh", purpose="demonstration")
    write_episode(tmp_path, 2, "hh", purpose="evaluation")
    assert [episode.meta.id for episode in open_demonstrations(tmp_path)] == [shown.stem]


@pytest.mark.parametrize(("status", "lost"), [(403, False), (410, True)])
def test_only_a_refusal_that_is_about_the_episode_costs_it_when_it_is_drawn_again(tmp_path, status, lost):
    class Strict(MemoryHub):
        refuses = False

        def get_episode(self, id, path):
            if self.refuses:
                raise HubRefused("token", "is not good enough", status=status)
            super().get_episode(id, path)

    hub = Strict()
    for number in range(6):
        hub.add(write_episode(tmp_path / "robot", number, "h" * 40))
    learner = learner_at(tmp_path / "learner", hub, cache=CacheOptions(decoded_bytes=0, episode_bytes=0))
    advance(learner, 2)
    hub.refuses = True
    for _ in range(20):
        beat(learner, pull=False)
    hub.refuses = False
    assert bool(learner.intake.lost) == lost
    assert (learner.parts.buffer.size(0, Part.ONLINE) == 240) != lost


def test_a_held_out_demonstration_that_can_not_be_read_costs_itself_alone(tmp_path, monkeypatch):
    """Its picture was found out at its arrival; a person's word lets it in again unseen."""
    real = learner_world.jpeg
    monkeypatch.setattr(learner_world, "jpeg", lambda camera, at: b"\xff\xd8none" if at == 5 else real(camera, at))
    hub = MemoryHub()
    broken = hub.add(write_episode(tmp_path, 1, "h" * 12, purpose="demonstration", robot=SEEING_ROBOT))
    monkeypatch.setattr(learner_world, "jpeg", real)
    for number in range(2, 6):
        hub.add(write_episode(tmp_path, number, "h" * 12, purpose="demonstration", robot=SEEING_ROBOT))
        hub.add(write_episode(tmp_path, 10 + number, "h" * 12, robot=SEEING_ROBOT))
    base = replace(tiny_base(), policy=TinyPolicy(spec=replace(SPEC, cameras=SEEING_ROBOT.cameras)), robot=SEEING_ROBOT)
    monkeypatch.setattr("fleetloop.learner.buffer.buffer.is_held_out", lambda id, share: id == broken)
    learner = learner_at(tmp_path / "learner", hub, base=base, held_out_every_steps=2)
    advance(learner, 2)
    hub.say(broken, outcome=Outcome.SUCCESS)
    advance(learner, 6)
    assert broken in learner.intake.lost
    assert not learner.parts.buffer.holds(Part.HELD_OUT)
