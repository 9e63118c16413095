"""What HG-DAgger and behaviour cloning train on."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from learner_world import KEYS, SPEC, hg_dagger, write_episode

from fleetloop.algorithms.bc import BehaviourCloning, BehaviourCloningOptions
from fleetloop.algorithms.segments import segment_stops
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.learner.arrival import prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer

LETTERS = st.text(KEYS, min_size=1, max_size=25)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def online(directory, letters, **what):
    return Episode.open(write_episode(directory, 1, letters, **what))


@QUICK
@given(LETTERS, st.sampled_from(["online", "demonstration"]), st.sampled_from(list(Outcome)), st.data())
def test_no_target_ever_contains_a_policys_action(tmp_path_factory, letters, purpose, outcome, data):
    missed = sorted(data.draw(st.sets(st.integers(0, len(letters)), max_size=3)))
    directory = tmp_path_factory.mktemp("episode")
    episode = online(directory, letters, purpose=purpose, outcome=outcome, missed=missed)
    buffer = ExperienceBuffer(SPEC, max_replay=1)
    buffer.ingest(prepare(episode, hg_dagger(), SPEC))
    samples = np.arange(len(buffer), dtype=np.int32)
    batch = buffer.gather(samples, np.zeros(len(samples), np.int64), np.ones(len(samples), bool))
    assert len(samples) == letters.count("h")
    assert (batch.actions[..., 0] == Source.HUMAN).all()  # masked or not: a frame's first action says who chose it
    assert (batch.mask[:, 0] == 1).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=30))
def test_a_segment_stops_where_membership_or_the_ticks_break(frames):
    member = np.array([one for one, _ in frames])
    tick = np.cumsum([gap for _, gap in frames]).astype(np.int32)
    expected = []
    for start in range(len(frames)):
        stop = start
        while stop < len(frames) and member[stop] and (stop == start or tick[stop] == tick[stop - 1] + 1):
            stop += 1
        expected.append(stop)
    assert segment_stops(member, tick).tolist() == expected


def test_human_segments_of_failed_and_aborted_episodes_train_too(tmp_path):
    for number, outcome in enumerate(Outcome):
        path = write_episode(tmp_path, number, "pphhp-hb", outcome=outcome)
        labels = hg_dagger().label(Episode.open(path))
        assert np.flatnonzero(labels.train).tolist() == [2, 3, 6]
        assert labels.stop[[2, 3, 6]].tolist() == [4, 4, 7]


@pytest.mark.parametrize(("outcome", "frames"), [(Outcome.SUCCESS, [2, 3, 4]), (Outcome.TIMEOUT, [2, 3])])
def test_the_policys_own_successes_train_on_request(tmp_path, outcome, frames):
    labels = hg_dagger(successful_autonomous=True).label(online(tmp_path, "pphhp-b", outcome=outcome))
    assert np.flatnonzero(labels.train).tolist() == frames
    assert labels.stop[frames].tolist() == [{0: 2, 1: 2, 2: 4, 3: 4, 4: 5}[frame] for frame in frames]


def test_the_intervention_weight_is_for_online_corrections_alone(tmp_path):
    algorithm = hg_dagger(intervention_weight=3.0, successful_autonomous=True)
    assert algorithm.label(online(tmp_path, "phhp")).weight.tolist()[1:] == [3, 3, 1]
    assert algorithm.label(online(tmp_path, "hh", purpose="demonstration")).weight.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("purpose", "outcome", "option", "stops"),
    [
        ("demonstration", Outcome.FAILURE, False, {0: 2, 1: 2, 2: 4, 3: 4, 5: 7, 6: 7, 8: 9}),
        ("online", Outcome.SUCCESS, False, {}),
        ("online", Outcome.SUCCESS, True, {2: 4, 3: 4, 5: 7, 6: 7, 8: 9}),
        ("online", Outcome.FAILURE, True, {}),
    ],
)
def test_behaviour_cloning_trains_on_demonstrations_and_on_request_on_what_went_well(
    tmp_path, purpose, outcome, option, stops
):
    algorithm = BehaviourCloning(BehaviourCloningOptions(successful_online=option))
    labels = algorithm.label(online(tmp_path, "pphh-ppbp", purpose=purpose, outcome=outcome))
    frames = np.flatnonzero(labels.train).tolist()
    assert dict(zip(frames, labels.stop[frames].tolist(), strict=True)) == stops
