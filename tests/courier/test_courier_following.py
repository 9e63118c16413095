"""Releases that are fetched and decoded while the learner makes them: sooner there, and verified like any other."""

import gc
import threading
import time
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from spooled import POLICY
from stepped import OPTIONS, current

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import never
from fleetloop.core.release import BlobEntry, Encoding
from fleetloop.courier import fetcher
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.following import Following
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.learner.holder import Holder
from fleetloop.learner.publisher import Identity, Publisher, Snapshot
from fleetloop.weights import blocks, streams
from fleetloop.weights.codec import Encoded, from_safetensors
from fleetloop.weights.signature import Trust, make_key
from fleetloop.weights.verified import result_hash
from manifests import manifest_of

IDENTITY = Identity("run", {"name": "counting"}, POLICY.to_json(), POLICY.hash(), "c", "s", (), "")
BLOBS = 12
PATIENCE_S = 20.0


def weights(seed):
    """As many as fill so many blobs; two seeds' differ by little."""
    near = np.random.default_rng(seed).integers(0, 3, 256 * BLOBS, np.int16)
    return {"w": np.random.default_rng(0).integers(0, 1 << 14, 256 * BLOBS, np.int16) + near}


class Watched:
    """A hub whose calls are noted, and that the test may hold up."""

    def __init__(self, hub, before):
        self._hub, self._before, self.calls = hub, before, []

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self._before(name)
            self.calls.append(name)
            return getattr(self._hub, name)(*args, **kwargs)

        return call


class Loop:
    """A learner's publisher and a robot's courier at one hub, release 1 on the robot's host."""

    def __init__(self, root, options=None, **trust):
        self.service = HubService.open(options or HubOptions(directory=root / "hub"), Virtual(), RealDisk())
        self.fetched, self._more = 0, threading.Condition()
        self.hold_up = lambda name: None
        self.learner = Watched(self.service, self._hold_up)
        self.robot = Watched(self.service, self._note)
        self.publisher = Publisher(self.learner, Virtual(), IDENTITY, Holder("me"))
        self.host, self.alarms = HostDirectory(root / "host", RealDisk()), Alarms()
        opted = OPTIONS.model_copy(update={"poll_wall_s": PATIENCE_S})
        backoff = Backoff(opted, np.random.default_rng(0))
        self.fetcher = Fetcher(
            self.host, self.robot, options=opted, backoff=backoff, alarms=self.alarms, clock=Virtual(), **trust
        )
        self.publish(1)
        self.fetcher.step()

    def _hold_up(self, name):
        self.hold_up(name)

    def _note(self, name):
        if name == "fetch_blob":
            with self._more:
                self.fetched += 1
                self._more.notify_all()

    def publish(self, seed):
        self.publisher.offer(Snapshot(0, 0, (), weights(seed)))
        self.publisher.work(0.0)

    def until_fetched(self, count):
        with self._more:
            assert self._more.wait_for(lambda: self.fetched >= count, PATIENCE_S), f"{self.fetched} blobs were fetched"

    def step_beside(self, work):
        """One step of the courier in a thread, while `work` is done."""
        courier = threading.Thread(target=self.fetcher.step)
        courier.start()
        work()
        courier.join(PATIENCE_S)
        assert not courier.is_alive()

    def installed(self):
        release, data = current(self.host)
        return release.version, from_safetensors(data)["w"]


@pytest.fixture
def loop(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCKS_PER_BLOB", 1)
    monkeypatch.setitem(blocks.encode.__kwdefaults__, "block_bits", 8)
    loop = Loop(tmp_path)
    yield loop
    loop.service.close()


def test_a_release_is_on_its_way_before_it_is_made(loop):
    before, put = loop.fetched, 0

    def hold_up(name):
        nonlocal put
        if name == "put_blob":
            put += 1
            if put > 2:
                loop.until_fetched(before + put - 1)  # all that were put are on the robot before the next one is
        if name == "publish":
            loop.until_fetched(before + BLOBS)

    loop.hold_up = hold_up
    loop.step_beside(lambda: loop.publish(2))
    version, got = loop.installed()
    assert version == 2
    np.testing.assert_array_equal(got, weights(2)["w"])
    assert loop.fetched == before + BLOBS, "each blob once"
    assert loop.robot.calls.count("release") == 0
    assert loop.alarms.text == ""


def test_a_draft_that_another_learner_makes_into_something_else_costs_time_alone(loop):
    before = loop.fetched

    class Crashed(Exception):
        pass

    def hold_up(name):
        if name == "publish":
            raise Crashed

    def learn():
        loop.hold_up = hold_up
        with pytest.raises(Crashed):
            loop.publish(2)
        loop.until_fetched(before + BLOBS)
        loop.hold_up = lambda name: None
        loop.publisher = Publisher(loop.learner, Virtual(), IDENTITY, Holder("me"), parent=1)
        loop.publish(3)

    loop.step_beside(learn)
    assert loop.alarms.text == ""
    version, got = loop.installed()
    assert version == 2
    np.testing.assert_array_equal(got, weights(3)["w"])


def test_a_draft_of_which_nothing_more_comes_is_left_and_the_next_release_installed(loop, monkeypatch):
    decoded, real = [], blocks.decode

    def counted(*args, **kwargs):
        decoded.append("once")
        return real(*args, **kwargs)

    monkeypatch.setattr(blocks, "decode", counted)
    loop.fetcher = Fetcher(
        loop.host,
        loop.robot,
        options=OPTIONS,  # waits for nothing
        backoff=Backoff(OPTIONS, np.random.default_rng(0)),
        alarms=loop.alarms,
        clock=Virtual(),
    )

    def hold_up(name):
        if name == "publish":
            for _ in range(3):
                loop.fetcher.step()
            assert loop.installed()[0] == 1
            assert decoded == ["once"], "what was given up is not followed again"

    loop.hold_up = hold_up
    before = loop.fetched
    loop.publish(2)
    assert loop.fetched == before + BLOBS
    loop.fetcher.step()
    assert loop.installed()[0] == 2
    assert loop.fetched == before + BLOBS, "what was fetched for the draft is not fetched again"
    assert loop.alarms.text == ""


def test_a_followed_release_that_this_host_does_not_trust_is_not_installed(tmp_path, loop):
    ours = make_key(tmp_path / "ours.key")
    loop.fetcher._trust = Trust("run", (ours.public,))
    loop.step_beside(lambda: loop.publish(2))
    assert loop.installed()[0] == 1
    assert "keeps release 1" in loop.alarms.text


def test_a_followed_release_whose_tensors_are_others_is_not_installed(loop):
    real = loop.service.publish

    def lie(release, lease):
        (tensor,) = release.tensors
        encoded = Encoded("blocks/1", (replace(tensor, hash="0" * 64),), "", {})
        return real(replace(release, tensors=encoded.tensors, result_hash=result_hash(encoded.tensors)), lease)

    loop.service.publish = lie
    loop.step_beside(lambda: loop.publish(2))
    assert loop.installed()[0] == 1
    assert "another hash than the manifest says" in loop.alarms.text


def test_what_was_decoded_for_nothing_is_not_kept(loop, monkeypatch):
    """No cycle of references keeps it until a full collection: it is as large as the policy."""
    made, real = [], streams.allocate

    def noted(tensors):
        rooms, weights = real(tensors)
        made.extend(weakref.ref(array) for array in weights.values())
        return rooms, weights

    def hold_up(name):
        if name == "publish":
            loop.fetcher._options = OPTIONS  # waits for nothing
            gc.collect()
            gc.disable()
            loop.fetcher.step()
            assert len(made) == 1
            assert made[0]() is None

    loop.hold_up = hold_up
    monkeypatch.setattr(streams, "allocate", noted)
    try:
        loop.publish(2)
    finally:
        gc.enable()


def test_who_stops_the_courier_ends_what_it_follows(loop):
    def hold_up(name):
        if name == "publish":
            loop.until_fetched(before + BLOBS)
            loop.fetcher.stop()
            courier.join(PATIENCE_S / 2)
            assert not courier.is_alive()

    before, loop.hold_up = loop.fetched, hold_up
    coming = partial(loop.robot.coming, "stable", after=1, wait_s=20)
    courier = threading.Thread(target=lambda: loop.fetcher._follow(coming(), 1, never))
    courier.start()
    loop.publish(2)
    assert loop.installed()[0] == 1


def test_what_was_followed_before_does_not_call_off_what_is_gone_back_to(loop, monkeypatch):
    def slowly(*args, **options):
        time.sleep(0.1)
        return fetch(*args, **options)

    before = loop.fetched
    loop.hold_up = lambda name: name == "publish" and loop.until_fetched(before + BLOBS)
    loop.step_beside(lambda: loop.publish(2))
    assert loop.installed()[0] == 2
    for file in loop.host.releases.glob("00000001.*"):
        file.unlink()
    fetch = loop.service.fetch_blob
    monkeypatch.setattr(loop.service, "fetch_blob", slowly)
    monkeypatch.setattr(fetcher, "HEED_S", 0.01)
    monkeypatch.setattr(fetcher, "LISTEN_S", 0.01)
    loop.service.roll_back(1)
    loop.fetcher.step()
    assert loop.installed()[0] == 1


# ---------------------------------------------------------------------- whatever the hub says


class Scripted:
    """Says one thing after the other, then nothing."""

    def __init__(self, says):
        self._says = list(says)

    def coming(self, name, *, after=0, blobs=0, wait_s=0.0):
        return self._says.pop(0) if self._says else None


def followed(following):
    with following.blobs() as blobs:
        return b"".join(blobs)


def entry(number):
    return BlobEntry(_named(number), 1)


def _named(number):
    return blake3(bytes([number])).hexdigest()


BYTES = {entry(number): bytes([number]) for number in range(40)}


def encoding(numbers, codec="blocks/1", base=1):
    return Encoding(codec, base, tuple(map(entry, numbers)))


def manifest(encodings):
    return replace(manifest_of(Encoded("full/1", (), "", {}), POLICY), version=2, encodings=tuple(encodings))


lists = st.lists(st.integers(0, 5), min_size=1, max_size=6)
encodings = st.builds(encoding, lists, st.sampled_from(["blocks/1", "full/1"]), st.sampled_from([0, 1]))
drafts = lists.map(encoding)
manifests = st.lists(encodings, min_size=1, max_size=2).map(manifest)


@given(drafts, st.lists(st.one_of(st.none(), drafts, manifests), max_size=6), st.integers(0, 3))
def test_what_was_followed_to_its_end_is_what_the_manifest_names(draft, says, at_once):
    hub = Scripted(says)
    following = Following(hub, draft, BYTES.__getitem__, at_once=at_once, wait_s=0.0, most_bytes=100)
    try:
        got = followed(following)
    except ReleaseInvalid:
        return
    assert following.release is not None
    assert any(
        (way.codec, way.base) == (draft.codec, draft.base) and got == b"".join(BYTES[blob] for blob in way.blobs)
        for way in following.release.encodings
    )


@given(st.lists(st.integers(0, 39), min_size=1, max_size=30), st.data())
def test_a_draft_that_grows_into_its_release_is_followed_to_the_end(numbers, data):
    first, *others = sorted({*data.draw(st.lists(st.integers(1, len(numbers)), max_size=5)), len(numbers)})
    says = [*(encoding(numbers[:cut]) for cut in others), manifest([encoding(numbers, base=0), encoding(numbers)])]
    following = Following(
        Scripted(says), encoding(numbers[:first]), BYTES.__getitem__, at_once=2, wait_s=0.0, most_bytes=100
    )
    assert followed(following) == bytes(numbers)
    assert following.release is says[-1]


def test_a_draft_larger_than_the_tensors_is_not_followed():
    says = [encoding(range(30))]
    following = Following(Scripted(says), encoding([0]), BYTES.__getitem__, at_once=2, wait_s=0.0, most_bytes=29)
    with pytest.raises(ReleaseInvalid, match="takes 30 bytes"):
        followed(following)
