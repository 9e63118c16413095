"""The held-out loss that goes out with a release: the next ones are held to it."""

from learner_world import MemoryHub, advance, demonstrations, learner_at, weights_of

from fleetloop.learner.held_out import measure_held_out, unmeasured
from fleetloop.learner.restart import catch_up, restore


def test_every_release_says_one_the_first_too_and_the_first_after_a_restart(tmp_path):
    settings = {"demos": demonstrations(tmp_path / "demos", 12), "held_out": 0.4, "publish_every_steps": 5}
    hub = MemoryHub()
    learner = learner_at(tmp_path / "one", hub, **settings)
    base = measure_held_out(learner.parts.trainer, learner.parts.buffer, 16)
    advance(learner, 16)
    assert [release.held_out for release in hub.published] == [base] * 4
    again = learner_at(tmp_path / "two", hub, checkpoint=learner.checkpoint(), **settings)
    catch_up(again, learner.checkpoint())
    restore(again, learner.checkpoint())
    advance(again, 6)
    assert hub.published[-1].step == 21
    assert hub.published[-1].held_out["push/left"] < base["push/left"]


def test_to_measure_it_changes_nothing_that_is_learnt(tmp_path):
    settings = {"demos": demonstrations(tmp_path / "demos", 12), "held_out": 0.4}
    seldom, often = (
        learner_at(tmp_path / str(every), MemoryHub(), held_out_every_steps=every, **settings) for every in (1000, 1)
    )
    for learner in (seldom, often):
        advance(learner, 12)
    assert weights_of(seldom) == weights_of(often)
    assert seldom.figures()["tasks"] != often.figures()["tasks"]


def test_tasks_of_which_no_demonstration_is_held_out_are_named(tmp_path):
    demos = demonstrations(tmp_path / "demos", 6, tasks=("push/left", "push/right"))
    none, most = (
        learner_at(tmp_path / str(share), MemoryHub(), demos=demos, held_out=share).parts.buffer for share in (0.0, 0.9)
    )
    assert unmeasured(none) == ["push/left", "push/right"]
    assert unmeasured(most) == []
