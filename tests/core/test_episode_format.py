"""The episode format under everything that a disk, a crash or a bad writer can do to it."""

import io
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3
from episodes_drawn import endings, frames_of, metas, record
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import META_KEY, Ending, Episode, EpisodeMeta
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import open_sealed, seal
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.core.validation import validate


def drawn(examples: int = 60) -> settings:
    """Real files take their time, and every example overwrites those of the one before."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )


SPEC = RobotSpec(
    "arm",
    (FeatureSpec("hands", (2, 2)), FeatureSpec("slots", (3,), "int32")),
    FeatureSpec("hands", (3,)),
    20,
    (CameraSpec("top", 4, 4),),
)
META = EpisodeMeta("01HF7YAT00NVMXFAW6RG5NDE54", "run", "robot", "site", "task", "do it", "online", SPEC)
WON = Ending(Outcome.SUCCESS, Judge.SIMULATOR, 2)


@drawn()
@given(metas, endings, st.integers(0, 12), st.integers(1, 4))
def test_what_is_recorded_is_what_is_read(
    tmp_path: Path, meta: EpisodeMeta, ending: Ending, count: int, flush_every: int
) -> None:
    frames = frames_of(meta.spec, count, seed=count)
    path, _ = record(tmp_path, meta, frames, ending, flush_every)
    sealed = seal(RealDisk(), path)
    assert not path.exists()
    assert sealed.hash == blake3(sealed.path.read_bytes()).hexdigest()
    assert sealed.size == sealed.path.stat().st_size
    assert open_sealed(sealed.path) == sealed

    episode = Episode.open(sealed.path)
    validate(episode)
    assert episode.meta == replace(meta, ending=ending)
    assert len(episode) == count
    for column in ("tick", "clock_s", "wall_s", "source", "release", "chunk_id", "chunk_index"):
        assert episode.column(column).tolist() == [getattr(frame, column) for frame, _ in frames]
    for row, (frame, jpegs) in enumerate(frames):
        np.testing.assert_array_equal(episode.action[row], frame.sent)
        np.testing.assert_array_equal(episode.column("action_requested")[row], frame.requested)
        for name, value in frame.observation.state.items():
            np.testing.assert_array_equal(episode.state(name)[row], value)
            assert episode.state(name).dtype == value.dtype
        for camera, jpeg in jpegs.items():
            assert episode.jpeg(camera, row) == jpeg
            assert episode.column(f"image_taken.{camera}")[row] == frame.observation.images_taken[camera]


@drawn()
@given(metas, endings, st.integers(0, 8), st.integers(0, 9))
def test_sealing_twice_gives_the_same_bytes(
    tmp_path: Path, meta: EpisodeMeta, ending: Ending, count: int, seed: int
) -> None:
    """As after a crash between writing the sealed file and removing the stream."""
    path, _ = record(tmp_path, meta, frames_of(meta.spec, count, seed), ending)
    stream = path.read_bytes()
    first = seal(RealDisk(), path)
    path.write_bytes(stream)
    assert seal(RealDisk(), path) == first


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A finished recording of 10 frames, flushed every 3, and its size after each flush."""
    path, sizes = record(tmp_path_factory.mktemp("whole"), META, frames_of(SPEC, 10, 0), WON)
    return path.read_bytes(), sizes


@drawn(150)
@given(share=st.floats(0, 1))
@example(share=0.0)
@example(share=1.0)
def test_a_stream_torn_anywhere_is_recovered_up_to_its_last_whole_batch(
    tmp_path: Path, stream: tuple[bytes, list[int]], share: float
) -> None:
    data, sizes = stream
    cut = round(len(data) * share)
    path = tmp_path / f"{META.id}.partial"
    path.write_bytes(data[:cut])
    whole = 3 * sum(cut >= size for size in sizes)
    try:
        sealed = seal(RealDisk(), path)
    except EpisodeInvalid:
        assert whole == 0, "whole batches were thrown away"
        assert path.exists(), "what can't be read is kept for a person to look at"
        return
    episode = Episode.open(sealed.path)
    validate(episode)
    if episode.meta.ending == WON:
        assert len(episode) == 10
    else:
        assert episode.meta.ending == Ending(Outcome.ABORTED, Judge.NOBODY)
        assert len(episode) == whole or (len(episode) == 10 and cut > sizes[-1])
    whole_rows = frames_of(SPEC, 10, 0)[: len(episode)]
    assert episode.column("tick").tolist() == [frame.tick for frame, _ in whole_rows]


def test_a_stream_torn_at_every_byte_around_a_flush_keeps_what_was_flushed(
    tmp_path: Path, stream: tuple[bytes, list[int]]
) -> None:
    data, sizes = stream
    for cut in range(sizes[1] - 40, sizes[1] + 40):
        path = tmp_path / f"{META.id}.partial"
        path.write_bytes(data[:cut])
        assert len(Episode.open(seal(RealDisk(), path).path)) == (6 if cut >= sizes[1] else 3)


def test_a_tail_of_zeros_as_a_power_cut_leaves_it(tmp_path: Path, stream: tuple[bytes, list[int]]) -> None:
    data, sizes = stream
    for extra in (1, 7, 8, 4096):
        path = tmp_path / f"{META.id}.partial"
        path.write_bytes(data[: sizes[1]] + bytes(extra))
        episode = Episode.open(seal(RealDisk(), path).path)
        assert (len(episode), episode.meta.outcome) == (6, Outcome.ABORTED)


def test_a_killed_recorder_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    path, _ = record(tmp_path, META, frames_of(SPEC, 7, 1), ending=None)
    episode = Episode.open(seal(RealDisk(), path).path)
    assert (len(episode), episode.meta.outcome) == (7, Outcome.ABORTED)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed episode."""
    path, _ = record(tmp_path_factory.mktemp("sealed"), META, frames_of(SPEC, 10, 0), WON)
    return seal(RealDisk(), path).path


@drawn(300)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_invalid_episode_or_another_hash(whole: Path, share: float, bit: int) -> None:
    """Flips in a value can't be told from another value: the hash tells them. Everything else is a typed error."""
    data = bytearray(whole.read_bytes())
    data[int(len(data) * share)] ^= 1 << bit
    assert blake3(bytes(data)).digest() != blake3(whole.read_bytes()).digest()
    with suppress(EpisodeInvalid):
        episode = Episode.from_bytes(bytes(data))
        validate(episode)
        assert len(episode.action) == len(episode)
        episode.interventions()


@drawn()
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_invalid(tmp_path: Path, whole: Path, share: float) -> None:
    data = whole.read_bytes()
    data = data[: int(len(data) * share)]
    path = tmp_path / "cut.arrow"
    path.write_bytes(data)
    for read in (lambda: Episode.open(path), lambda: Episode.from_bytes(data), lambda: open_sealed(path)):
        with pytest.raises(EpisodeInvalid):
            read()


@given(st.binary(max_size=300))
@example(b"")
@example(b"ARROW1\0\0")
def test_noise_is_invalid(data: bytes) -> None:
    with pytest.raises(EpisodeInvalid):
        Episode.from_bytes(data)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EpisodeInvalid, match=r"gone\.arrow"):
        Episode.open(tmp_path / "gone.arrow")


# ---------------------------------------------------------------------- metadata

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@drawn(300)
@given(st.sampled_from(sorted(META.to_json())), json_values)
def test_metadata_of_any_other_kind_is_a_typed_error_or_reads_as_written(field: str, value: Any) -> None:
    written = {**json.loads(json.dumps(replace(META, ending=WON).to_json())), field: value}
    with suppress(EpisodeInvalid):
        meta = EpisodeMeta.from_json(written)
        assert json.loads(json.dumps(meta.to_json())) == written


@drawn(200)
@given(st.sampled_from(["embodiment", "state", "action", "control_hz", "cameras"]), json_values)
def test_a_spec_of_any_other_kind_is_a_typed_error_or_reads_as_written(field: str, value: Any) -> None:
    """Even with a hash that fits it: a bad writer hashes what it wrote."""
    written = json.loads(json.dumps(META.to_json()))
    written["spec"][field] = value
    packed = json.dumps(written["spec"], sort_keys=True).encode()
    written["spec_hash"] = blake3(packed).hexdigest()
    with suppress(EpisodeInvalid):
        meta = EpisodeMeta.from_json(written)
        assert json.loads(json.dumps(meta.spec.to_json())) == written["spec"]


# ---------------------------------------------------------------------- reading


def test_interventions_are_the_runs_of_human_frames(tmp_path: Path) -> None:
    sources = [Source.HUMAN, Source.HUMAN, Source.POLICY, Source.BLEND, Source.HUMAN, Source.HOLD, Source.HUMAN]
    rows = frames_of(SPEC, len(sources), 0)
    frames = [(replace(frame, source=source), jpegs) for (frame, jpegs), source in zip(rows, sources, strict=True)]
    path, _ = record(tmp_path, META, frames, WON)
    assert Episode.open(seal(RealDisk(), path).path).interventions() == [(0, 2), (4, 5), (6, 7)]


def test_arrays_are_views_that_nobody_can_write_to(tmp_path: Path) -> None:
    path, _ = record(tmp_path, META, frames_of(SPEC, 5, 0), WON)
    episode = Episode.open(seal(RealDisk(), path).path)
    with pytest.raises(ValueError, match="read-only"):
        episode.action[0] = 0


def test_an_episode_stays_readable_after_its_file_is_gone(tmp_path: Path) -> None:
    path, _ = record(tmp_path, META, frames_of(SPEC, 5, 0), WON)
    sealed = seal(RealDisk(), path)
    episode = Episode.open(sealed.path)
    before = episode.action.copy()
    os.remove(sealed.path)
    np.testing.assert_array_equal(episode.action, before)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("action", {"sent": np.full(3, np.nan, np.float32)}),
        ("clock_s", {"clock_s": float("inf")}),
        ("tick", {"tick": -5}),
    ],
)
def test_an_impossible_value_names_its_column(tmp_path: Path, column: str, change: dict[str, Any]) -> None:
    rows = frames_of(SPEC, 4, 0)
    rows[2] = (replace(rows[2][0], **change), rows[2][1])
    path, _ = record(tmp_path, META, rows, WON)
    with pytest.raises(EpisodeInvalid) as error:
        seal(RealDisk(), path)
    assert error.value.field == column


ODD: dict[str, Any] = {"low": [0.0, 1.0, 2.0], "unit": {}, "label": [], "fields": [["x"], "y", "z"], "dtype": "(1f4,f4"}


@pytest.mark.parametrize(
    "change",
    [
        *({"spec": {"action": {name: value}}} for name, value in ODD.items()),
        {"spec": {"action": {"fields": ["x"]}}},
        {"spec": {"action": {"shape": [1 << 40]}}},
        {"spec": {"cameras": {0: {"name": ["top"]}}}},
        {"spec": {"control_hz": 10**400}},
        {"seed": 10**400},
        {"reset_s": 10**400},
        {"ending": {"ticks_missed": float("inf")}},
    ],
    ids=str,
)
def test_what_nobody_means_to_write_is_an_invalid_episode(tmp_path: Path, change: dict[str, Any]) -> None:
    path, _ = record(tmp_path, META, frames_of(SPEC, 2, 0), WON)
    batch = Episode.open(seal(RealDisk(), path).path)._batch
    meta = json.loads(batch.schema.metadata[META_KEY])
    _change(meta, change)
    meta["spec_hash"] = blake3(json.dumps(meta["spec"], sort_keys=True).encode()).hexdigest()
    with pytest.raises(EpisodeInvalid):
        Episode.from_bytes(_written(batch, json.dumps(meta).encode()))


def test_metadata_nested_without_end_are_an_invalid_episode(tmp_path: Path) -> None:
    path, _ = record(tmp_path, META, frames_of(SPEC, 2, 0), WON)
    batch = Episode.open(seal(RealDisk(), path).path)._batch
    with pytest.raises(EpisodeInvalid, match="metadata"):
        Episode.from_bytes(_written(batch, b'{"a":' * 5000 + b"1" + b"}" * 5000))


def test_further_columns_are_not_looked_at(tmp_path: Path) -> None:
    path, _ = record(tmp_path, META, frames_of(SPEC, 2, 0), WON)
    batch = Episode.open(seal(RealDisk(), path).path)._batch
    depth = pa.array([[1, 2], [3, 4]], pa.list_(pa.uint16()))
    for name in ("image.depth", "twice", "twice"):
        batch = batch.append_column(pa.field(name, depth.type), depth)
    episode = Episode.from_bytes(_written(batch, batch.schema.metadata[META_KEY]))
    validate(episode)
    assert len(episode) == 2


def test_what_is_true_or_false_can_be_a_feature(tmp_path: Path) -> None:
    spec = replace(SPEC, state=(FeatureSpec("grip", (2,), "bool", label=True),))
    rows = frames_of(spec, 4, 0)
    path, _ = record(tmp_path, replace(META, spec=spec), rows, WON)
    read = Episode.open(seal(RealDisk(), path).path).state("grip")
    assert read.dtype == bool
    np.testing.assert_array_equal(read, [frame.observation.state["grip"] for frame, _ in rows])


def _change(data: Any, change: dict[Any, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and value:
            _change(data[name], value)
        else:
            data[name] = value


def _written(batch: pa.RecordBatch, meta: bytes) -> bytes:
    sink = io.BytesIO()
    schema = batch.schema.with_metadata({META_KEY: meta})
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    return sink.getvalue()


def test_a_picture_that_says_it_is_huge_is_none(tmp_path: Path) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sink, "JPEG")
    head, size, rest = sink.getvalue().partition(b"\x00\x08\x00\x08\x03")
    rows = [(frame, {"top": head + b"\xea\x60\xea\x60\x03" + rest}) for frame, _ in frames_of(SPEC, 2, 0)]
    assert size
    path, _ = record(tmp_path, META, rows, WON)
    with pytest.raises(EpisodeInvalid, match=r"image\.top: can't be decoded at frame 1"):
        Episode.open(seal(RealDisk(), path).path).pictures("top", np.array([1]), 8, 8)


def test_a_picture_that_is_none_names_its_camera(tmp_path: Path) -> None:
    rows = [(frame, {"top": b"PNG"}) for frame, _ in frames_of(SPEC, 2, 0)]
    path, _ = record(tmp_path, META, rows, WON)
    with pytest.raises(EpisodeInvalid, match=r"image\.top"):
        seal(RealDisk(), path)


def test_a_frame_of_another_shape_is_refused_when_it_is_written(tmp_path: Path) -> None:
    ((frame, jpegs),) = frames_of(SPEC, 1, 0)
    with pytest.raises(EpisodeInvalid, match="action"):
        record(tmp_path, META, [(replace(frame, sent=np.zeros(5, np.float32)), jpegs)], WON)


def test_a_bit_that_flips_after_sealing_is_noticed_whatever_hash_is_claimed_for_the_file(
    whole: Path, tmp_path: Path
) -> None:
    data = bytearray(whole.read_bytes())
    action = data.find(Episode.from_bytes(bytes(data)).action.tobytes())
    assert action > 0
    data[action] ^= 1
    flipped = tmp_path / whole.name
    flipped.write_bytes(data)
    with pytest.raises(EpisodeInvalid, match="changed since it was sealed"):
        open_sealed(flipped)
