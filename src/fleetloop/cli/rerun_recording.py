"""An episode as a Rerun recording (rerun.io): everything that was recorded, along its time."""

from pathlib import Path
from typing import Any

import numpy as np

from fleetloop.core.episode import Episode
from fleetloop.core.errors import SystemMissing
from fleetloop.core.frame import Source

TIMELINE = "episode"  # seconds since its first frame


def write_recording(episode: Episode, path: Path) -> None:
    """All states and actions as curves, the cameras' images as they are, and who drove from when, as .rrd.

    Raises:
        SystemMissing: without the Rerun SDK.
    """
    rr, meta = _rerun(), episode.meta
    tick = episode.column("tick")
    seconds = (tick - tick[0]) / meta.spec.control_hz
    along = [rr.TimeColumn(TIMELINE, duration=seconds)]
    recording = rr.RecordingStream("fleetloop", recording_id=meta.id)
    recording.save(path)
    about = f"{meta.task}: {meta.instruction}\n\n{meta.robot} at {meta.site}\n\n{meta.outcome}"
    recording.log("about", rr.TextDocument(about, media_type="text/markdown"), static=True)
    for name in ("action", "action_requested", *(f"state.{feature.name}" for feature in meta.spec.state)):
        values = np.asarray(episode.column(name), np.float64).reshape(len(episode), -1)
        recording.send_columns(name.replace(".", "/"), along, rr.Scalars.columns(scalars=values))
    for camera in meta.spec.cameras:
        pictures = [episode.jpeg(camera.name, index) for index in range(len(episode))]
        shown = rr.EncodedImage.columns(blob=pictures, media_type=["image/jpeg"] * len(pictures))
        recording.send_columns(f"camera/{camera.name}", along, shown)
    for index in np.flatnonzero(np.diff(episode.source, prepend=-1)):
        recording.set_time(TIMELINE, duration=float(seconds[index]))
        recording.log("source", rr.TextLog(Source(int(episode.source[index])).name.lower()))
    recording.disconnect()


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise SystemMissing("rerun", "is not installed", "pip install 'fleetloop[rerun]'") from error
    return rerun
