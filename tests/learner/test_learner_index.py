"""The index against a plain list of samples, and what filters leave out."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from entries import entry
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_world import SPEC, MemoryHub, advance, demonstrations, learner_at, write_episode

from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.options import FilterOptions, FiltersOptions, OnlineFilterOptions

MOST_DRAWS = 2
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0, 4.0])  # sums of them are exact
INDICATORS = st.sampled_from([-1, 0, 1])


@dataclass
class Naive:
    """Every sample that was ever admitted, one after the other."""

    episode: list[str] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    indicator: list[int] = field(default_factory=list)
    draws: list[int] = field(default_factory=list)
    alive: list[bool] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)  # row of the last time that it was admitted

    def admit(self, id: str, frames, weight: float, indicator: int) -> None:
        earlier = {self.frame[row]: self.draws[row] for row in self.newest(id)}
        self.retire(id)
        self.first[id] = len(self.episode)
        for frame in frames:
            self.episode.append(id)
            self.frame.append(frame)
            self.weight.append(weight)
            self.indicator.append(indicator)
            self.draws.append(earlier.get(frame, 0))
            self.alive.append(True)

    def newest(self, id: str) -> list[int]:
        """The rows of the last time that it was admitted."""
        first = self.first.get(id, 0)
        return [row for row, one in enumerate(self.episode) if one == id and row >= first]

    def retire(self, id: str) -> None:
        for row, one in enumerate(self.episode):
            if one == id:
                self.alive[row] = False

    def part(self) -> list[int]:
        return [row for row, alive in enumerate(self.alive) if alive and self.draws[row] < MOST_DRAWS]

    def pick(self, u) -> list[int]:
        ids = self.part()
        edges = np.cumsum([self.weight[row] for row in ids])
        return [ids[place] for place in np.searchsorted(edges, u * edges[-1], side="right")]


DO = st.one_of(
    st.tuples(st.just("admit"), st.sampled_from("ab"), st.integers(1, 600), WEIGHTS, INDICATORS),
    st.tuples(st.just("admit"), st.sampled_from("cdef"), st.integers(1, 9), WEIGHTS, INDICATORS),
    st.tuples(st.just("retire"), st.sampled_from("abcdef")),
    st.tuples(st.just("draw"), st.integers(0, 2**31)),
    st.tuples(st.just("relabel"), st.sampled_from("abcdef"), WEIGHTS, INDICATORS),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(DO, min_size=1, max_size=12))
def test_it_draws_what_a_plain_list_of_samples_would_draw(doings):
    buffer, naive = ExperienceBuffer(SPEC, max_replay=MOST_DRAWS), Naive()
    buffer.index(entry("other", [1, 2, 3], purpose="demonstration"))
    naive.admit("other", [1, 2, 3], 1.0, -1)
    naive.retire("other")  # it is another part's
    for doing in doings:
        _do(buffer, naive, doing)
        ids = naive.part()
        assert buffer.part(0, Part.ONLINE).tolist() == ids
        assert buffer.size(0, Part.ONLINE) == len(ids)
        assert buffer.mass(0, Part.ONLINE) == sum(naive.weight[row] for row in ids)
        known = [naive.indicator[row] for row in ids if naive.indicator[row] >= 0]
        assert buffer.positives(0) == (sum(known) / len(known) if known else None)
    assert buffer.part(0, Part.OFFLINE).tolist() == [0, 1, 2]


def _do(buffer: ExperienceBuffer, naive: Naive, doing) -> None:
    what, *how = doing
    if what == "admit":
        id, count, weight, indicator = how
        frames = range(0, 2 * count, 2)
        buffer.index(entry(id, frames, weight=weight, indicator=indicator))
        naive.admit(id, frames, weight, indicator)
    elif what == "retire":
        buffer.retire(how[0])
        naive.retire(how[0])
    elif what == "relabel" and (rows := naive.newest(how[0])):
        count = max(naive.frame[row] for row in rows) + 1
        train = np.isin(np.arange(count), [naive.frame[row] for row in rows])
        weight, indicator = np.full(count, how[1], np.float32), np.full(count, how[2], np.int8)
        buffer.relabel(how[0], FrameLabels(train, np.arange(1, count + 1), weight, indicator))
        for row in rows:
            naive.weight[row], naive.indicator[row] = how[1], how[2]
    elif what == "draw" and buffer.mass(0, Part.ONLINE) > 0:
        u = np.random.default_rng(how[0]).random(20)
        picked = buffer.pick(0, Part.ONLINE, u)
        assert picked.tolist() == naive.pick(u)
        buffer.count(picked, np.ones(len(picked), bool))
        for row in picked.tolist():
            naive.draws[row] += 1


def test_on_disk_the_index_is_the_same(tmp_path):
    one, other = ExperienceBuffer(SPEC, max_replay=9), ExperienceBuffer(SPEC, max_replay=9, scratch=tmp_path)
    u = np.linspace(0, 1, 500, endpoint=False)
    for buffer in (one, other):
        for number in range(300):
            buffer.index(entry(f"episode {number}", range(number), weight=1 + number % 3))
    assert one.pick(0, Part.ONLINE, u).tolist() == other.pick(0, Part.ONLINE, u).tolist()


def test_the_draws_of_what_is_forgotten_are_in_no_checkpoint():
    buffer = ExperienceBuffer(SPEC, max_replay=3)
    for id in ("a", "b", "a"):  # the second time of a in place of the first
        buffer.index(entry(id, range(4)))
    buffer.count(np.array([5, 8, 8], np.int32), np.ones(3, bool))
    buffer.forget("a")
    buffer.forget("never heard of")
    assert buffer.part(0, Part.ONLINE).tolist() == [4, 5, 6, 7]
    assert buffer.coverage.ids == ["b"]
    assert buffer.all_draws().tolist() == [0, 1, 0, 0]
    buffer.restore(np.array([3, 1, 0, 0], np.int32), ["b"])
    assert buffer.part(0, Part.ONLINE).tolist() == [5, 6, 7]


# ---------------------------------------------------------------------- filters

ODD = {
    "outcome": {"outcome": Outcome.FAILURE},
    "judge": {"judge": Judge.CLASSIFIER},
    "quality": {"quality": 0.2},
    "site": {"site": "site-9"},
    "robot": {"robot": "robot-9"},
    "staleness": {"release": 4},
}
OPTIONS = {
    "outcome": {"outcomes": ["success", "timeout"]},
    "judge": {"least_judge": "simulator"},
    "quality": {"least_quality": 0.5},
    "site": {"sites": ["site-1", "site-2"]},
    "robot": {"except_robots": ["robot-9", "robot-8"]},
    "staleness": {"most_staleness": 5},
}


def filtered(**online) -> ExperienceBuffer:
    return ExperienceBuffer(SPEC, max_replay=9, filters=FiltersOptions(online=OnlineFilterOptions(**online)))


@pytest.mark.parametrize("reason", ODD)
def test_a_filter_leaves_out_what_is_odd_and_says_so(reason):
    buffer = filtered(**OPTIONS[reason])
    buffer.selection.note_release(10)
    buffer.index(entry("plain", range(3), release=10))
    buffer.index(entry("odd", range(3), **({"release": 10} | ODD[reason])))
    buffer.index(replace(entry("shown", range(3), **ODD[reason]), purpose="demonstration"))
    assert buffer.part(0, Part.ONLINE).tolist() == [0, 1, 2]
    assert buffer.part(0, Part.OFFLINE).tolist() == [6, 7, 8]
    assert buffer.selection.left_out == {"online": {reason: 1}, "offline": {}}


def test_demonstrations_have_a_filter_of_their_own():
    options = FiltersOptions(offline=FilterOptions(except_sites=("site-9",)))
    buffer = ExperienceBuffer(SPEC, max_replay=9, filters=options)
    buffer.index(entry("a", range(3), site="site-9", purpose="demonstration"))
    buffer.index(entry("b", range(3), site="site-9"))
    assert not buffer.holds(Part.OFFLINE)
    assert buffer.part(0, Part.ONLINE).tolist() == [3, 4, 5]


def test_episodes_grow_stale_with_every_release():
    buffer = filtered(most_staleness=5)
    for release in (1, 3):
        buffer.index(entry(f"under {release}", [0], release=release))
    held = []
    for release in range(5, 10):
        buffer.selection.note_release(release)
        held.append(buffer.part(0, Part.ONLINE).tolist())
    assert held == [[0, 1], [0, 1], [1], [1], []]


def test_nobodys_word_on_quality_leaves_nothing_out_and_a_later_one_may(tmp_path):
    hub = MemoryHub()
    ids = [hub.add(write_episode(tmp_path, number, "hhhh")) for number in range(3)]
    filters = FiltersOptions(online=OnlineFilterOptions(least_quality=0.5, outcomes=("success",)))
    learner = learner_at(tmp_path / "l", hub, demos=demonstrations(tmp_path / "demos", 1), filters=filters)

    def held() -> list[str]:
        advance(learner, 1)
        buffer = learner.parts.buffer
        return buffer.episode_ids(buffer.part(0, Part.ONLINE))

    assert held() == ids
    hub.say(ids[0], quality=0.1)
    hub.say(ids[1], outcome=Outcome.FAILURE)
    assert held() == [ids[2]]
    assert learner.figures()["left_out"] == {"online": {"outcome": 1, "quality": 1}, "offline": {}}
    hub.say(ids[2])  # a word that says nothing
    hub.say(ids[0], quality=0.9)
    hub.say(ids[2], quality=0.3, exclude=False)
    hub.say(ids[1], outcome=Outcome.SUCCESS)
    assert held() == sorted(ids[:2])


def test_an_excluded_episode_is_not_left_out_but_gone(tmp_path):
    hub = MemoryHub()
    id = hub.add(write_episode(tmp_path, 1, "hhhh", outcome=Outcome.FAILURE))
    filters = FiltersOptions(online=OnlineFilterOptions(outcomes=("success",)))
    learner = learner_at(tmp_path / "l", hub, demos=demonstrations(tmp_path / "demos", 1), filters=filters)
    advance(learner, 1)
    assert learner.figures()["left_out"]["online"] == {"outcome": 1}
    hub.say(id, exclude=True)
    advance(learner, 1)
    assert learner.figures()["left_out"]["online"] == {}
    assert not learner.parts.buffer.holds(Part.ONLINE)
