"""Episodes of every shape that the format allows, for the property tests."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import PURPOSES, Ending, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec

told = st.characters(codec="utf-8", exclude_characters="\0")  # what an episode may say
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
shapes = st.lists(st.integers(1, 3), max_size=2).map(tuple)
features = st.builds(
    FeatureSpec,
    names,
    shapes,
    st.sampled_from(["float32", "float64", "int32", "int64", "uint8"]),
    unit=st.text(told, max_size=3),
)
cameras = st.builds(CameraSpec, names, st.integers(1, 9), st.integers(1, 9))
specs = st.builds(
    RobotSpec,
    embodiment=names,
    state=st.lists(features, max_size=3, unique_by=lambda feature: feature.name).map(tuple),
    action=st.builds(FeatureSpec, names, st.integers(1, 4).map(lambda size: (size,))),
    control_hz=st.sampled_from([10, 20, 29.97]),
    cameras=st.lists(cameras, max_size=2, unique_by=lambda camera: camera.name).map(tuple),
)
metas = st.builds(
    EpisodeMeta,
    id=st.integers(0, 2**32).map(lambda seed: new_id(1.7e9, np.random.default_rng(seed))),
    run=names,
    robot=names,
    site=names,
    task=names,
    instruction=st.text(told, max_size=20),
    purpose=st.sampled_from(PURPOSES),
    spec=specs,
    operator=st.text(told, max_size=5),
    seed=st.integers(-1, 2**40),
    reset_s=st.floats(0, 1e6),
    clock_offset_s=st.floats(-1e12, 1e12),
)
endings = st.builds(Ending, st.sampled_from(Outcome), st.sampled_from(Judge), st.integers(0, 1000))


def frames_of(spec: RobotSpec, count: int, seed: int) -> list[tuple[Frame, dict[str, bytes]]]:
    """`count` frames of random but repeatable content, some ticks missed, with a stand-in for each JPEG."""
    rng = np.random.default_rng(seed)
    ticks = np.cumsum(rng.integers(1, 3, count))
    return [_frame(spec, int(tick), rng) for tick in ticks]


def _frame(spec: RobotSpec, tick: int, rng: np.random.Generator) -> tuple[Frame, dict[str, bytes]]:
    state = {item.name: rng.integers(0, 200, item.shape).astype(item.dtype) for item in spec.state}
    taken = {camera.name: float(tick) for camera in spec.cameras}
    frame = Frame(
        tick=tick,
        clock_s=tick / spec.control_hz,
        wall_s=1.7e9 + tick,
        observation=Observation(state, taken=float(tick), images_taken=taken),
        requested=rng.random(spec.action.shape, np.float32),
        sent=rng.random(spec.action.shape, np.float32),
        source=Source(int(rng.integers(4))),
        release=int(rng.integers(2**40)),
        chunk_id=tick // 4,
        chunk_index=tick % 4,
    )
    return frame, {camera.name: b"\xff\xd8" + rng.bytes(int(rng.integers(30))) for camera in spec.cameras}


def record(
    directory: Path,
    meta: EpisodeMeta,
    frames: list[tuple[Frame, dict[str, bytes]]],
    ending: Ending | None,
    flush_every: int = 3,
) -> tuple[Path, list[int]]:
    """Write the stream; without an ending it is left as a killed process leaves it.

    Returns the path, and after each flush the size of the file.
    """
    recording = Recording(RealDisk(), directory, meta)
    sizes = []
    for number, (frame, jpegs) in enumerate(frames):
        recording.add(frame, jpegs)
        if number % flush_every == flush_every - 1:
            recording.flush()
            sizes.append(recording.path.stat().st_size)
    if ending:
        recording.finish(ending)
    else:
        recording.flush()
        recording.abandon()
    return recording.path, sizes
