"""Label versions in the learner: made behind it, switched between two steps, the same after a restart."""

import json
from contextlib import suppress

import numpy as np
import pytest
from judged import judged_base
from learner_world import MemoryHub, advance, beat, demonstrations, hg_dagger, learner_at, write_episode

from fleetloop.algorithms.recap import Recap
from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.core.algorithm import FixedLabels, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.core.outcome import Outcome
from fleetloop.learner.checkpoint import latest
from fleetloop.learner.errors import LabelsInvalid
from fleetloop.learner.options import FiltersOptions, OnlineFilterOptions
from fleetloop.learner.restart import catch_up, restore

QUICK = {"bins": 11, "value_steps": 3, "value_batch": 8, "refresh_steps": 2, "refresh_every": 4, "horizon_s": 0.1}


def recap(**changes):
    return Recap(RecapOptions(**{**QUICK, **changes}))


def world(tmp_path, count=4):
    """A hub with online episodes of either outcome, and some demonstrations."""
    hub = MemoryHub()
    for number in range(count):
        add(hub, tmp_path, number)
    return hub, demonstrations(tmp_path / "demos", 2)


def add(hub, tmp_path, number):
    outcome = Outcome.FAILURE if number % 2 else Outcome.SUCCESS
    return hub.add(write_episode(tmp_path / "robot", number, "pppphhpp", outcome=outcome))


def refresh(learner):
    """Let the background do all that there is to do, and the learner take notice."""
    while learner.work():
        pass
    beat(learner)


def held_indicators(learner):
    """By episode, what the buffer holds."""
    samples = np.arange(len(learner.parts.buffer), dtype=np.int32)
    batch = learner.parts.buffer.gather(samples, np.zeros(len(samples), np.int64), np.ones(len(samples), bool))
    found = {}
    for held in learner.parts.buffer.episodes:
        found[held.id] = batch.indicator[held.first : held.last].tolist()
    return found


def expected_indicators(learner, demos):
    """What the algorithm says of every episode now."""
    parts = learner.parts
    episodes = [*demos, *(parts.feeder.episode(id) for id in parts.feeder._hub.files)]
    labels = {one.meta.id: parts.algorithm.label(one) for one in episodes}
    return {id: one.indicator[one.train].tolist() for id, one in labels.items()}


def metrics(directory, kind):
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def test_the_learner_trains_under_exactly_one_version_at_a_time(tmp_path):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base(), demos=demos)
    advance(learner, 5)
    before = held_indicators(learner)
    assert {value for id in hub.files for value in before[id]} == {-1, 1}  # nobody can tell yet; people are positive
    for _ in range(3):
        assert learner.work()
    late = add(hub, tmp_path, 7)  # comes while the next version is being made
    advance(learner, 2)
    assert held_indicators(learner) == {**before, late: [-1] * 4 + [1, 1, -1, -1]}
    refresh(learner)
    assert held_indicators(learner) == expected_indicators(learner, demos)
    assert 0 in {value for id in hub.files for value in held_indicators(learner)[id]}
    assert learner.parts.algorithm.version == 1
    advance(learner, 1)
    [switch] = metrics(tmp_path / "learner", "labels")
    assert switch["version"] == 1
    versions = [(row["step"], row["label_version"]) for row in metrics(tmp_path / "learner", "step")]
    assert [version for step, version in versions if step <= switch["step"]] == [0] * switch["step"]
    assert versions[-1][1] == 1
    assert 0 < learner.figures()["tasks"]["push/left"]["positives"] < 1


def test_what_was_labelled_under_the_version_before_is_labelled_anew_on_its_way_in(tmp_path):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base(), demos=demos)
    advance(learner, 5)
    add(hub, tmp_path, 8)
    learner.parts.feeder.pull()  # labelled now, admitted later
    while learner.work():
        pass
    learner.parts.relabelling.step(learner.steps)
    beat(learner)
    assert learner.parts.algorithm.version == 1
    assert held_indicators(learner) == expected_indicators(learner, demos)


def test_a_new_outcome_counts_under_the_next_version_too(tmp_path):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base(), demos=demos)
    advance(learner, 5)
    learner.work()
    hub.say(next(iter(hub.files)), outcome=Outcome.FAILURE)
    gone = list(hub.files)[1]
    hub.say(gone, exclude=True)
    advance(learner, 1)
    refresh(learner)
    held = {held.id: held for held in learner.parts.buffer.episodes}  # the newest of each
    samples = np.arange(len(learner.parts.buffer), dtype=np.int32)
    batch = learner.parts.buffer.gather(samples, np.zeros(len(samples), np.int64), np.ones(len(samples), bool))
    for id, expected in expected_indicators(learner, demos).items():
        if id != gone:
            assert batch.indicator[held[id].first : held[id].last].tolist() == expected
    assert gone not in learner.parts.buffer.episode_ids(learner.parts.buffer.part(0, 1))


def test_a_restart_brings_back_version_values_and_labels(tmp_path):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base(), demos=demos)
    advance(learner, 5)
    refresh(learner)
    learner.parts.checkpoints.offer(learner.checkpoint())
    learner.parts.checkpoints.work()
    expected = held_indicators(learner)

    checkpoint = latest(tmp_path / "learner" / "checkpoints")
    settings = {"algorithm": recap(), "base": judged_base(), "demos": demos, "checkpoint": checkpoint}
    second = learner_at(tmp_path / "learner", hub, **settings)
    catch_up(second, checkpoint)
    restore(second, checkpoint)
    assert second.parts.algorithm.version == 1
    assert held_indicators(second) == expected
    ours, theirs = (one.parts.algorithm.state_dict() for one in (second, learner))
    assert {name for name in ours if name.startswith("critic.")}
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name


def test_a_restart_begins_a_refresh_under_way_again(tmp_path):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base(), demos=demos)
    advance(learner, 5)
    assert learner.work(), "none is under way"
    learner.parts.checkpoints.offer(learner.checkpoint())
    learner.parts.checkpoints.work()

    checkpoint = latest(tmp_path / "learner" / "checkpoints")
    settings = {"algorithm": recap(), "base": judged_base(), "demos": demos, "checkpoint": checkpoint}
    second = learner_at(tmp_path / "learner", hub, **settings)
    catch_up(second, checkpoint)
    restore(second, checkpoint)
    advance(second, 1)
    refresh(second)
    assert second.parts.algorithm.version == 1


@pytest.mark.parametrize(("before", "after"), [(hg_dagger, recap), (recap, hg_dagger)])
def test_a_run_goes_on_under_another_algorithm(tmp_path, before, after):
    hub, demos = world(tmp_path)
    first = learner_at(tmp_path / "learner", hub, algorithm=before(), base=judged_base(), demos=demos)
    advance(first, 6)
    first.parts.publisher.work(first.parts.clock.now())
    first.note_published()
    first.parts.checkpoints.offer(first.checkpoint())
    first.parts.checkpoints.work()

    checkpoint = latest(tmp_path / "learner" / "checkpoints")
    algorithm = after()
    settings = {"algorithm": algorithm, "base": judged_base(seed=3), "demos": demos, "checkpoint": checkpoint}
    second = learner_at(tmp_path / "learner", hub, **settings)
    catch_up(second, checkpoint)
    restore(second, checkpoint)
    assert (second.steps, second.cursor, second.release) == (first.steps, first.cursor, first.release)
    states = [learner.parts.trainer.state() for learner in (first, second)]
    assert states[0].keys() == states[1].keys()
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert held_indicators(second) == expected_indicators(second, demos)
    assert not second.parts.buffer.all_draws().any()
    advance(second, 3)
    assert second.steps == first.steps + 3


def test_a_version_that_is_about_other_samples_is_refused(tmp_path):
    class Fickle(FixedLabels):
        name = "fickle"

        def __init__(self):
            self.version, self.alarm, self.ready, self.labels = 0, "", True, {}

        def label(self, episode):
            count = len(episode)
            train = np.arange(count) != self.version
            stop = np.arange(1, count + 1, dtype=np.int32)
            return FrameLabels(train, stop, np.ones(count, np.float32), np.full(count, -1, np.int8), self.version)

        def refresh(self, episodes, step):
            self.version = 1
            self.labels = {id: self.label(episodes[id]) for id in episodes}
            return self

    hub, demos = world(tmp_path, 1)
    learner = learner_at(tmp_path / "learner", hub, algorithm=Fickle(), base=judged_base(), demos=demos)
    with pytest.raises(LabelsInvalid, match="differ between two label versions"):
        advance(learner, 3)


def test_without_failures_the_fleet_view_says_so(tmp_path):
    hub = MemoryHub()
    hub.add(write_episode(tmp_path / "robot", 0, "pppp"))
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base())
    advance(learner, 5)
    refresh(learner)
    assert "push/left: no failures yet" in learner.status().alarm


def test_a_hub_that_is_away_only_puts_the_next_version_off(tmp_path):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), demos=demos, base=judged_base())
    advance(learner, 5)
    fetch, asked = learner.parts.feeder.episode, []

    def at_times(id):
        asked.append(id)
        if len(asked) % 3:
            raise HubUnavailable("hub", "is away")
        return fetch(id)

    learner.parts.relabelling._archive._fetch = at_times
    before = learner.parts.algorithm.version
    until_switched(learner, before)
    assert held_indicators(learner) == expected_indicators(learner, demos)


def test_what_can_not_be_read_any_more_is_left_out_of_the_next_version(tmp_path, monkeypatch):
    hub, demos = world(tmp_path)
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), demos=demos, base=judged_base())
    advance(learner, 5)
    fetch, lost = learner.parts.feeder.episode, list(hub.files)[1]

    def all_but_one(id):
        if id == lost:
            raise HubRefused("episode", f"{id} is damaged", status=410)
        return fetch(id)

    learner.parts.relabelling._archive._fetch = all_but_one
    until_switched(learner, learner.parts.algorithm.version)
    buffer = learner.parts.buffer
    parts = [buffer.part(task, part) for task in range(len(buffer.tasks)) for part in (0, 1)]
    assert lost not in buffer.episode_ids(np.concatenate(parts)), "it would train under the version before"
    assert lost in learner.status().alarm
    learner.parts.relabelling._archive._fetch = fetch
    monkeypatch.setattr(buffer, "_fetch", fetch)
    held, expected = held_indicators(learner), expected_indicators(learner, demos)
    assert held.keys() == expected.keys()
    assert all(held[id] == expected[id] for id in held if id != lost)


def test_online_episodes_of_this_machines_disk_are_labelled_anew_though_the_hub_does_not_know_them(tmp_path):
    """As an import brings them: a fleet's earlier data, beside demonstrations."""
    hub, demos = world(tmp_path)
    imported = Episode.open(write_episode(tmp_path / "imported", 30, "pphhpp", outcome=Outcome.FAILURE))
    demos = [*demos, imported]
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), demos=demos, base=judged_base())
    advance(learner, 5)
    until_switched(learner, learner.parts.algorithm.version)
    assert learner.status().alarm == ""
    assert imported.meta.id in held_indicators(learner)


def test_what_filters_leave_out_makes_no_version_and_is_labelled_under_it(tmp_path):
    hub, _ = world(tmp_path)
    late = hub.add(write_episode(tmp_path / "robot", 20, "p" * 30, outcome=Outcome.TIMEOUT))
    filters = FiltersOptions(online=OnlineFilterOptions(outcomes=(Outcome.SUCCESS, Outcome.FAILURE)))
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), base=judged_base(), filters=filters)
    advance(learner, 5)
    fetch, asked = learner.parts.relabelling._archive._fetch, []

    def at_times(id):
        asked.append(id)
        if len(asked) % 2:
            raise HubUnavailable("hub", "is away")
        return fetch(id)

    learner.parts.relabelling._archive._fetch = at_times
    until_switched(learner, learner.parts.algorithm.version)
    [attempts] = learner.parts.algorithm.state_dict()["scales"].values()
    assert attempts["t_max"] == 7, "of those that train the longest has 8 frames"
    held = held_indicators(learner)
    assert held == expected_indicators(learner, [])
    assert -1 not in held[late], "it has the labels of the version before"
    assert learner.status().alarm == ""
    assert learner.parts.buffer.selection.left_out["online"] == {"outcome": 1}, "it is held no more"


def until_switched(learner, before):
    """In the background the hub is asked again and again; steps go on."""
    for _ in range(500):
        with suppress(HubUnavailable):
            learner.work()
        if learner.parts.algorithm.version > before:
            return
        beat(learner)
    raise AssertionError("no other version came")


def test_an_empty_demonstration_is_at_hand_too(tmp_path):
    hub, demos = world(tmp_path)
    empty = Episode.open(write_episode(tmp_path / "empty", 9, "", purpose="demonstration"))
    learner = learner_at(tmp_path / "learner", hub, algorithm=recap(), demos=[*demos, empty], base=judged_base())
    fetch, asked = learner.parts.relabelling._archive._fetch, []
    learner.parts.relabelling._archive._fetch = lambda id: asked.append(id) or fetch(id)
    advance(learner, 5)
    until_switched(learner, learner.parts.algorithm.version)
    assert set(asked) == set(hub.files), "the hub does not know it"
    assert learner.status().alarm == ""
