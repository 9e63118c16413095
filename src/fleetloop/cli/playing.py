"""What `fleetloop episodes play` shows: what an episode's cameras saw and who drove, as a video or a contact sheet; or
all of it, as a Rerun recording."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import ImageDraw

from fleetloop.cli.rerun_recording import write_recording
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid, EpisodeInvalid
from fleetloop.core.frame import Source
from fleetloop.datasets.video import write_video

Image = npt.NDArray[np.uint8]
COLOURS = {Source.POLICY: (58, 143, 79), Source.HUMAN: (106, 76, 147), Source.HOLD: (150, 150, 150)}
OTHER = (201, 201, 201)
BAR, HEIGHT, SHEET, COLUMNS = 6, 240, 24, 6
FORMATS = (".mp4", ".png", ".rrd")


def play(episode: Episode, path: Path) -> None:
    """Write all frames as .mp4, or some of them, evenly apart, as .png. The bar at the top is green while the policy
    drives, purple while a person does. As .rrd, all that was recorded.

    Raises:
        ConfigInvalid: for another ending of the name, or a path that can't be written.
        EpisodeInvalid: without frames, or without cameras where only they are shown.
        SystemMissing: for a video without PyAV, for a recording without the Rerun SDK.
    """
    meta = episode.meta
    if path.suffix not in FORMATS:
        raise ConfigInvalid(
            "--out", f"{path} is neither film, picture nor recording", f"let it end in {' or '.join(FORMATS)}"
        )
    if not len(episode):
        raise EpisodeInvalid(meta.id, "has no frame")
    if not meta.spec.cameras and path.suffix != ".rrd":
        remedy = f"a simulated task can be watched with `fleetloop sim view {meta.task}`"
        raise EpisodeInvalid(meta.id, "was recorded without cameras", remedy)
    try:
        if path.suffix == ".rrd":
            write_recording(episode, path)
        elif path.suffix == ".mp4":
            write_video(path, (_frame(episode, index) for index in range(len(episode))), hz=meta.spec.control_hz)
        else:
            _sheet(episode).save(path)
    except OSError as error:
        raise ConfigInvalid(
            str(path), f"can't be written ({error})", "name a file in a directory that is there"
        ) from error


def _frame(episode: Episode, index: int) -> Image:
    """All cameras side by side, equally high, under a bar in the colour of who drove."""
    pictures = [Pictures.fromarray(episode.picture(camera.name, index)) for camera in episode.meta.spec.cameras]
    scaled = [picture.resize((2 * round(picture.width * HEIGHT / picture.height / 2), HEIGHT)) for picture in pictures]
    row = np.concatenate([np.asarray(picture) for picture in scaled], axis=1)
    bar = np.empty((BAR, row.shape[1], 3), np.uint8)
    bar[:] = COLOURS.get(Source(int(episode.source[index])), OTHER)
    return np.concatenate([bar, row])


def _sheet(episode: Episode) -> Pictures.Image:
    shown = np.unique(np.linspace(0, len(episode) - 1, SHEET).astype(int)).tolist()
    ticks = episode.column("tick")
    tiles = []
    for index in shown:
        tile = Pictures.fromarray(_frame(episode, index))
        seconds = (ticks[index] - ticks[0]) / episode.meta.spec.control_hz
        ImageDraw.Draw(tile).text((6, BAR + 4), f"{seconds:.1f} s", fill=(255, 255, 255), stroke_width=2, stroke_fill=0)
        tiles.append(tile)
    width, height = tiles[0].size
    rows = -(-len(tiles) // COLUMNS)
    sheet = Pictures.new("RGB", (width * min(COLUMNS, len(tiles)), height * rows), (255, 255, 255))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (width * (number % COLUMNS), height * (number // COLUMNS)))
    return sheet
