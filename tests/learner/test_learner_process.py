"""The learner as it really runs: threads, processes, HTTP, kill -9."""

import json
from dataclasses import replace

import pytest
from blake3 import blake3
from judged import judged_base
from learner_alive import eventually, start
from learner_world import (
    MemoryHub,
    TinyPolicy,
    advance,
    demonstrations,
    learner_at,
    options,
    tiny_base,
)
from learner_world import write_episode as episode_file

from fleetloop.algorithms.hg_dagger import HGDagger, HGDaggerOptions
from fleetloop.algorithms.recap import Recap
from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.core.episode import Episode
from fleetloop.core.errors import HubUnavailable, LeaseLost
from fleetloop.core.hub import LearnerStatus
from fleetloop.core.outcome import Outcome
from fleetloop.hub.http.client import HttpHub
from fleetloop.learner.checkpoint import existing, latest
from fleetloop.learner.errors import LossInvalid
from fleetloop.weights.codec import decode


def test_after_kill_9_the_curve_goes_on_as_if_nothing_had_happened(tmp_path, hub, learner_process):
    client, demos = HttpHub(hub), demonstrations(tmp_path / "demos", 4, tasks=("push/left", "push/right"))
    changes = {"steps_per_s": 40.0, "checkpoint_every_s": 0.3, "held_out": 0.2, "park_after_s": None}
    changes["keep_checkpoints"] = 1000  # none is pruned while the test looks at it
    settings = options(**changes).model_dump_json()
    first = learner_process(settings)
    kept = tmp_path / "learner" / "checkpoints"
    eventually(lambda: first.steps() >= 20 and existing(kept) and latest(kept).release > 0)
    first.process.kill()
    first.process.wait(20)
    checkpoint = latest(kept)
    assert checkpoint.step > 0
    before = client.releases()[0].version

    second = learner_process(settings)
    last = checkpoint.step + 30
    eventually(lambda: second.steps() >= last and client.releases()[0].version > before)
    second.stop()
    assert f"going on from step {checkpoint.step}" in second.process.stdout.read()

    straight = learner_at(tmp_path / "straight", MemoryHub(), demos=demos, **changes)
    advance(straight, last)
    expected = [json.loads(line) for line in (tmp_path / "straight" / "metrics.jsonl").read_text().splitlines()]
    expected = [(row["step"], row["tasks"]["push/right"]["loss_offline"]) for row in expected if row["kind"] == "step"]
    found = [(row["step"], row["tasks"]["push/right"]["loss_offline"]) for row in second.rows()]
    assert found[:last] == expected
    resumed = client.release(before + 1)
    assert (resumed.parent, resumed.step > checkpoint.step) == (checkpoint.release, True)
    assert latest(kept).step == second.rows()[-1]["step"]


def test_corrections_come_in_over_http_and_go_out_as_a_release(tmp_path, hub, learner_process):
    client = HttpHub(hub)
    demonstrations(tmp_path / "demos", 2)
    settings = options(steps_per_s=50.0).model_dump_json()
    learner = learner_process(settings)
    eventually(client.releases)
    path = episode_file(tmp_path / "robot", 1, "pphhhhhhpp")
    id = Episode.open(path).meta.id
    seq = client.put_episode(id, path, blake3(path.read_bytes()).hexdigest()).seq
    release = eventually(lambda: next((one for one in client.releases() if id in one.covers), None))
    assert release.trained_through == seq
    assert decode(release, client.get_blob)
    status = eventually(lambda: (found := client.fleet().learner) and found.figures.get("tasks") and found)
    assert status.run == "run"
    learner.stop()
    draws = [json.loads(line) for line in (tmp_path / "learner" / "metrics.jsonl").read_text().splitlines()]
    assert [row["episode"] for row in draws if row["kind"] == "first_draw"] == [id]


# ---------------------------------------------------------------------- threads, with a hub that misbehaves


def test_a_learner_whose_lease_is_taken_stops_with_an_error(tmp_path):
    hub = MemoryHub()
    _, outcome = start(tmp_path, hub)
    eventually(lambda: hub.published)
    hub.claim_lease("another")
    with pytest.raises(LeaseLost):
        outcome()
    assert not hub.statuses[-1].alarm  # it is no longer its place to say


def test_a_second_learner_is_refused_and_what_the_hub_knows_of_the_first_stays(tmp_path, hub):
    client = HttpHub(hub)
    client.claim_lease("first")
    well = LearnerStatus("run", step=7, release=0, cursor=0, parked=False, lag_s=0.0)
    client.report_learner(well)
    _, outcome = start(tmp_path, HttpHub(hub))
    with pytest.raises(LeaseLost, match="'first' is the learner for"):
        outcome()
    assert client.fleet().learner == well


def test_a_broken_loss_stops_the_whole_learner_with_an_alarm(tmp_path):
    class Broken(TinyPolicy):
        def loss(self, batch, *, rng):
            return super().loss(batch, rng=rng) * float("nan")

    hub = MemoryHub()
    _, outcome = start(tmp_path, hub, base=replace(tiny_base(), policy=Broken()))
    with pytest.raises(LossInvalid, match="push/left"):
        outcome()
    assert "not finite" in hub.statuses[-1].alarm


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda losses: losses.mean(), r"has the shape \[\]"),
        (lambda losses: losses[:3], r"has the shape \[3\]"),
        (lambda losses: float(losses.sum()), "is a float, not"),
        (lambda losses: losses.detach(), "is torch.float32 without a gradient"),
        (lambda losses: losses.long(), "is torch.int64 without a gradient"),
        (lambda losses: losses * float("nan"), "is not finite"),
    ],
    ids=["scalar", "wrong shape", "no tensor", "detached", "whole numbers", "nan"],
)
def test_an_algorithms_bad_loss_is_named_with_its_tasks_and_episodes(tmp_path, spoil, complaint):
    class Bad(HGDagger):
        def loss(self, policy, batch, *, rng):
            return spoil(super().loss(policy, batch, rng=rng))

    hub = MemoryHub()
    _, outcome = start(tmp_path, hub, algorithm=Bad(HGDaggerOptions()))
    with pytest.raises(LossInvalid, match=f"loss: {complaint}.*task push/left, episodes .*") as raised:
        outcome()
    known = {path.stem for path in (tmp_path / "demos").glob("*.arrow")}
    assert any(id in str(raised.value) for id in known)
    assert "push/left" in hub.statuses[-1].alarm


def test_an_algorithm_that_fails_is_named_with_what_it_failed_on(tmp_path):
    class Failing(HGDagger):
        def loss(self, policy, batch, *, rng):
            raise ZeroDivisionError("no\nreason")

    _, outcome = start(tmp_path, MemoryHub(), algorithm=Failing(HGDaggerOptions()))
    with pytest.raises(LossInvalid, match=r"task push/left, episodes .*ZeroDivisionError: no reason; FLEETLOOP_DEBUG"):
        outcome()


def test_a_task_whose_samples_all_have_no_weight_is_an_alarm(tmp_path):
    class Idle(HGDagger):
        def label(self, episode):
            labels = super().label(episode)
            return replace(labels, weight=labels.weight * 0)

    hub = MemoryHub()
    stop, outcome = start(tmp_path, hub, algorithm=Idle(HGDaggerOptions()))
    eventually(lambda: hub.statuses)
    stop.set()
    outcome()
    assert "push/left: is not trained: the algorithm gives all of it the weight 0" in hub.statuses[-1].alarm


def test_started_again_under_another_algorithm_it_goes_on_and_says_so(tmp_path):
    hub, said = MemoryHub(), []
    for number, outcome_of in enumerate((Outcome.SUCCESS, Outcome.FAILURE)):
        hub.add(episode_file(tmp_path / "robot", number, "ppphhpp", outcome=outcome_of))
    base = judged_base()
    stop, outcome = start(tmp_path, hub, base=base)
    eventually(lambda: any(release.covers for release in hub.published))
    stop.set()
    first = outcome()
    options = RecapOptions(bins=11, value_steps=3, refresh_every=1, refresh_steps=1)
    stop, outcome = start(tmp_path, hub, base=judged_base(), algorithm=Recap(options), say=said.append)
    parted = first.steps
    switched = tmp_path / "learner" / "metrics.jsonl"
    eventually(lambda: '"kind": "labels"' in switched.read_text() and hub.published[-1].condition == "positive")
    stop.set()
    second = outcome()
    assert any(f"going on from step {parted}, release {first.release}" in line for line in said)
    assert "the algorithm was hg_dagger, it is recap: all experience is labelled anew, the weights go on" in said
    assert second.steps > parted
    assert second.parts.algorithm.version >= 1
    assert hub.published[-1].conditions == ("negative", "positive")
    assert latest(tmp_path / "learner" / "checkpoints").algorithm_name == "recap"


def test_an_error_in_the_feeding_thread_stops_the_learner_too(tmp_path):
    hub = MemoryHub()
    hub.events = lambda after, **_: 1 / 0
    _, outcome = start(tmp_path, hub)
    with pytest.raises(ZeroDivisionError):
        outcome()


def test_it_trains_on_while_the_hub_is_away_and_catches_up(tmp_path):
    hub, said = MemoryHub(), []
    hub.away = True
    stop, outcome = start(tmp_path, hub, say=said.append)
    eventually(lambda: said and (tmp_path / "learner" / "metrics.jsonl").exists())
    assert hub.published == []
    hub.add(episode_file(tmp_path / "robot", 1, "phhh"))
    hub.away = False
    eventually(lambda: any(release.covers for release in hub.published))
    stop.set()
    learner = outcome()
    assert learner.cursor == 1
    assert latest(tmp_path / "learner" / "checkpoints").step == learner.steps


def test_it_says_when_it_starts_that_a_task_has_no_held_out_demonstration(tmp_path):
    said = []
    stop, outcome = start(tmp_path, MemoryHub(), say=said.append, held_out=1e-9)
    eventually(lambda: any("no demonstration of push/left is held out" in line for line in said))
    stop.set()
    outcome()


def test_with_a_checkpoint_it_waits_for_the_hub_before_it_goes_on(tmp_path):
    hub, said = MemoryHub(), []
    hub.add(episode_file(tmp_path / "robot", 1, "phhh"))
    stop, outcome = start(tmp_path, hub)
    eventually(lambda: any(release.covers for release in hub.published))
    stop.set()
    steps = outcome().steps
    hub.away = True
    stop, outcome = start(tmp_path, hub, say=said.append)
    eventually(lambda: said)
    assert "waiting for the hub" in said[0]
    with pytest.raises(HubUnavailable):
        hub.events(0)
    hub.away = False
    eventually(lambda: f"going on from step {steps}" in said[-1])
    count = len(hub.published)
    eventually(lambda: len(hub.published) > count)
    stop.set()
    outcome()
    assert hub.published[count].parent == count
    assert not any(release.covers for release in hub.published[count:])
