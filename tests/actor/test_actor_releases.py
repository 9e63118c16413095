"""Which release an actor drives under: swaps, pins, and those that it refuses."""

import dataclasses

import numpy as np
import pytest
from slider import HZ, POLICY, TASK, CountingPolicy, Slider, asked, load_policy, release, weights
from stage import Stage

from fleetloop.actor.options import ActorOptions
from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.frame import Source
from fleetloop.core.hub import Orders
from fleetloop.weights.codec import to_safetensors
from fleetloop.weights.signature import Trust, make_key

LIMIT_TICKS = int(TASK.time_limit_s * HZ)
FOR_EVER = 1e9


def test_releases_change_between_episodes_only_and_every_frame_names_its_own(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    stage.until(lambda: stage.status.frames == 10)
    stage.install(2, mark=2.0)
    first, second = stage.play(2)
    assert (first.column("release") == 1).all()
    assert (first.action[:, 1] == 1.0).all()
    assert (second.column("release") == 2).all()
    assert (second.action[:, 1] == 2.0).all()


def test_a_rollback_is_followed(tmp_path):
    stage = Stage(tmp_path)
    for version in (1, 2, 1):
        stage.install(version, mark=float(version))
        episode = stage.play(1)[-1]
        assert (episode.action[:, 1] == float(version)).all()
        assert (episode.column("release") == version).all()


def test_a_pinned_robot_runs_its_own_release_from_the_next_episode_on_until_it_is_unpinned(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    stage.play(1)
    stage.install(3, mark=3.0)
    stage.host.post_orders(Orders("robot-1", release=2))
    episode = stage.play(1)[-1]
    assert (episode.column("release") == 1).all(), "while it is not there yet: the one before"
    stage.host.keep(release(2, 2.0), to_safetensors(weights(2.0)))
    for version, orders in ((2, Orders("robot-1", release=2)), (3, Orders("robot-1"))):
        stage.host.post_orders(orders)
        stage.until(lambda wanted=version: stage.status.release == wanted)
        episode = stage.play(1)[-1]
        assert (episode.column("release") == version).all()
        assert (episode.action[:, 1] == float(version)).all()


def test_a_robot_that_starts_anew_drives_by_what_is_there_until_its_own_release_comes(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    stage.host.post_orders(Orders("robot-1", release=2))
    (episode,) = stage.play(1)
    assert (episode.column("release") == 1).all()
    stage.host.keep(release(2, 2.0), to_safetensors(weights(2.0)))
    stage.until(lambda: stage.status.release == 2)


def test_between_chunks_the_old_one_is_played_to_its_boundary_and_every_frame_names_its_own(tmp_path):
    stage = Stage(tmp_path, options=ActorOptions(swap="chunk"), delay_ticks=2)
    stage.install(1, mark=1.0)
    stage.until(lambda: stage.status.frames == 9)
    stage.install(2, mark=2.0)
    (episode,) = stage.play(1)
    versions = episode.column("release")
    assert set(versions.tolist()) == {1, 2}
    assert (episode.action[:, 1] == versions).all(), "the release that a frame names has made its action"
    assert (np.diff(versions) >= 0).all()
    assert (episode.source == Source.POLICY).all(), "the robot never had to wait for it"
    assert (episode.action[:, 0] == np.arange(len(episode))).all()
    first = int(np.argmax(versions == 2))
    assert 9 < first <= 9 + 8, "within one chunk"
    assert episode.meta.ending.ticks_missed == 0


def test_an_unsigned_release_on_the_disk_is_not_driven_where_a_key_is_pinned(tmp_path):
    signer = make_key(tmp_path / "release.key")
    stage = Stage(tmp_path, trust=Trust("test", (signer.public,)))
    stage.install(1)
    for _ in range(20):
        stage.step()
    assert (stage.status.phase, stage.status.release) == ("waiting", 0)
    assert "signature: is missing" in stage.status.alarm
    stage.host.install(signer.sign(release(2, 2.0)), to_safetensors(weights(2.0)))
    (episode,) = stage.play(1)
    assert (episode.column("release") == 2).all()
    assert stage.status.alarm == ""


def refused(stage):
    """What the hub is told."""
    (status,) = stage.host.statuses()
    return status.refused


def test_weights_that_are_not_what_the_manifest_says_are_never_driven(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    stage.play(1)
    stage.host.install(release(2, mark=2.0), to_safetensors(weights(2.5)))
    episode = stage.play(1)[-1]
    assert (episode.column("release") == 1).all()
    assert (episode.action[:, 1] == 1.0).all()
    assert "release 2 is unusable, keeps 1" in stage.status.alarm
    assert refused(stage) == 2
    stage.install(3, mark=3.0)
    episode = stage.play(1)[-1]
    assert (episode.column("release") == 3).all()
    assert (stage.status.alarm, refused(stage)) == ("", 0)


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_an_actor_that_starts_and_misses_its_release_drives_by_an_older_one_and_says_why(tmp_path, suffix):
    stage = Stage(tmp_path)
    for version in (1, 2):
        stage.install(version, mark=float(version))
    lost = stage.host.releases / f"00000002.{suffix}"
    kept = lost.read_bytes()
    lost.unlink()
    (episode,) = stage.play(1)
    assert (episode.column("release") == 1).all()
    assert (episode.action[:, 1] == 1.0).all()
    assert "release 2 is unusable, keeps 1" in stage.status.alarm
    assert lost.name in stage.status.alarm
    assert refused(stage) == 2
    lost.write_bytes(kept)
    assert (stage.play(1)[-1].action[:, 1] == 2.0).all()
    assert (stage.status.alarm, refused(stage)) == ("", 0)


def test_a_pinned_release_whose_weights_are_lost_is_refused(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    stage.host.keep(release(2, 2.0), to_safetensors(weights(2.0)))
    (stage.host.releases / "00000002.safetensors").unlink()
    stage.host.post_orders(Orders("robot-1", release=2))
    (episode,) = stage.play(1)
    assert (episode.column("release") == 1).all()
    assert "release 2 is unusable, keeps 1" in stage.status.alarm
    assert refused(stage) == 2


def test_another_release_of_the_same_number_is_driven_by_at_the_next_episode(tmp_path):
    """As of a hub that began anew."""
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    assert (stage.play(1)[-1].action[:, 1] == 1.0).all()
    stage.install(1, mark=2.0)
    assert (stage.play(1)[-1].action[:, 1] == 2.0).all()
    stage.host.keep(release(1, 3.0), to_safetensors(weights(3.5)))
    assert (stage.play(1)[-1].action[:, 1] == 2.0).all()
    assert "release 1 is unusable" in stage.status.alarm
    assert refused(stage) == 1


def test_a_release_for_another_robot_is_refused_with_both_sides_shown(tmp_path):
    spec = dataclasses.replace(Slider().spec, control_hz=30.0)
    stage = Stage(tmp_path, robot=Slider(spec=spec))
    stage.install(1)
    for _ in range(20):
        stage.step()
    assert stage.status.phase == "waiting"
    assert "the policy needs 20.0 Hz; the robot offers 30.0 Hz" in stage.status.alarm


def test_a_robot_acts_on_the_condition_that_its_release_names(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, conditions=("negative", "positive"), condition="positive")
    asked.clear()
    stage.play(1)
    assert set(asked) == {"positive"}


@pytest.mark.parametrize(("said", "expected"), [("negative", "negative"), ("", None)])
def test_the_robots_own_setting_stands_above_the_release(tmp_path, said, expected):
    stage = Stage(tmp_path, options=ActorOptions(condition=said))
    stage.install(1, conditions=("negative", "positive"), condition="positive")
    asked.clear()
    stage.play(1)
    assert set(asked) == {expected}


def test_a_release_whose_policy_lacks_the_condition_is_refused_and_the_old_one_kept(tmp_path):
    stage = Stage(tmp_path, options=ActorOptions(condition="positive"))
    stage.install(1, conditions=("negative", "positive"))
    stage.play(1)
    stage.install(2, mark=2.0, conditions=("fast",))
    episode = stage.play(2)[-1]
    assert (episode.column("release") == 1).all()
    assert "release 2 is unusable, keeps 1: conditions: lack 'positive'; its policy knows: fast" in stage.status.alarm


def test_a_release_whose_condition_its_policy_does_not_know_is_refused_and_the_old_one_kept(tmp_path, monkeypatch):
    """Whatever the manifest says: the policy itself would stop the actor at its first chunk."""

    class Choosy(CountingPolicy):
        conditions = frozenset({"positive"})

    def choosy(manifest, tensors):
        return Choosy(float(tensors["mark"][0]), manifest.policy_spec())

    monkeypatch.setattr("stage.load_policy", choosy)
    stage = Stage(tmp_path)
    stage.install(1, conditions=("positive",), condition="positive")
    stage.play(1)
    stage.install(2, conditions=("bad", "good"), condition="good")
    episode = stage.play(2)[-1]
    assert (episode.column("release") == 1).all()
    assert "keeps 1: condition: 'good' is unknown to the policy; it knows: positive" in stage.status.alarm
    assert refused(stage) == 2


def watch_reading(stage, monkeypatch):
    """The versions whose weights are read, and what is noted on the disk of their trials, from now on."""
    reads, notes, host = [], [], stage.host
    read, note = host.weights, host.note_trial
    monkeypatch.setattr(host, "weights", lambda version: reads.append(version) or read(version))
    monkeypatch.setattr(host, "note_trial", lambda robot, data: notes.append(data) or note(robot, data))
    return reads, notes


def test_a_refused_release_is_not_read_again_at_every_look_but_when_it_is_another(tmp_path, monkeypatch):
    """Between chunks a robot looks for the newest release many times a second."""
    stage = Stage(tmp_path, options=ActorOptions(swap="chunk"))
    stage.install(1, mark=1.0)
    stage.until(lambda: stage.status.frames > 0)
    stage.host.install(release(2, mark=2.0), to_safetensors(weights(2.5)))
    reads, notes = watch_reading(stage, monkeypatch)
    frames = stage.status.frames
    stage.until(lambda: stage.status.frames >= frames + 5 * LIMIT_TICKS)
    assert (reads, len(notes)) == ([2], 2)
    assert "tensor mark: has another hash" in stage.status.alarm
    assert refused(stage) == 2
    stage.install(2, mark=2.0)
    stage.until(lambda: stage.status.release == 2, limit_s=1)
    assert (stage.status.alarm, refused(stage)) == ("", 0)


def test_a_release_that_does_not_fit_is_refused_before_its_weights_are_read(tmp_path, monkeypatch):
    stage = Stage(tmp_path, options=ActorOptions(swap="chunk", condition="positive"))
    stage.install(1, mark=1.0, conditions=("positive",))
    stage.until(lambda: stage.status.frames > 0)
    reads, notes = watch_reading(stage, monkeypatch)
    stage.install(2, mark=2.0, conditions=("fast",))
    stage.until(lambda: "conditions: lack 'positive'" in stage.status.alarm)
    stage.install(3, mark=3.0, spec=dataclasses.replace(POLICY, control_hz=99.0), conditions=("positive",))
    stage.until(lambda: "the policy needs 99.0 Hz" in stage.status.alarm)
    assert (reads, notes) == ([], [])


def test_a_release_whose_policy_lacked_something_beside_it_is_tried_again(tmp_path, monkeypatch):
    def lacking(manifest, tensors):
        if manifest.version == 2 and not encoder.exists():
            raise ReleaseInvalid(str(encoder), "is missing")
        return load_policy(manifest, tensors)

    encoder = tmp_path / "encoder"
    monkeypatch.setattr("stage.load_policy", lacking)
    stage = Stage(tmp_path, options=ActorOptions(swap="chunk"))
    stage.install(1, mark=1.0)
    stage.install(2, mark=2.0)
    stage.until(lambda: f"{encoder}: is missing" in stage.status.alarm)
    encoder.touch()
    stage.until(lambda: stage.status.release == 2)
    assert stage.status.alarm == ""


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_release_whose_file_can_not_be_read_is_refused_and_the_old_one_kept(tmp_path, suffix):
    stage = Stage(tmp_path)
    stage.install(1, mark=1.0)
    stage.play(1)
    stage.install(2, mark=2.0)
    file = stage.host.releases / f"00000002.{suffix}"
    file.unlink()
    file.mkdir()  # to read it is an OSError, for root too
    episode = stage.play(2)[-1]
    assert (episode.column("release") == 1).all()
    assert "release 2 is unusable, keeps 1" in stage.alarms.text
