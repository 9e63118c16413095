"""Videos, by PyAV: the one place that imports it."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetloop.core.errors import SystemMissing
from fleetloop.datasets.errors import DatasetInvalid

Image = npt.NDArray[np.uint8]
CODEC, QUALITY = "libx264", "18"  # constant rate factor: 18 is hard to tell from the original
KEY_EVERY = 10  # frames between two that can be jumped to


def pyav() -> Any:
    """Raises SystemMissing naming the extra to install."""
    try:
        import av  # noqa: PLC0415  an extra
    except ImportError as error:
        raise SystemMissing("video", "av (PyAV) is not installed", "pip install 'fleetloop[video]'") from error
    return av


def write_video(path: Path, images: Iterable[Image], *, hz: float) -> dict[str, Any]:
    """(height, width, 3) images as one video; returns what info.json says of it.

    Raises:
        SystemMissing: without PyAV.
    """
    av, rate = pyav(), Fraction(hz).limit_denominator(1000)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for image in images:
            if stream is None:
                stream = container.add_stream(CODEC, rate=rate, options={"crf": QUALITY, "g": str(KEY_EVERY)})
                stream.height, stream.width = image.shape[:2]
                # Half the resolution of colour needs an even number of pixels.
                stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
                stream.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
        shape = {"video.height": stream.height, "video.width": stream.width, "video.channels": 3}
        kind = {"video.codec": "h264", "video.pix_fmt": stream.pix_fmt, "video.fps": hz, "has_audio": False}
        return {**shape, **kind, "video.is_depth_map": False}


def read_video(path: Path, *, first_s: float, count: int, hz: float) -> Iterator[Image]:
    """`count` images from `first_s` on, in order.

    Raises:
        SystemMissing: without PyAV.
        DatasetInvalid: naming the file, if it can't be read or ends too soon.
    """
    av = pyav()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(int(first_s / stream.time_base), stream=stream)
            found = 0
            for frame in container.decode(stream):
                if frame.time < first_s - 0.5 / hz:
                    continue  # from the key frame before on
                yield frame.to_ndarray(format="rgb24")
                found += 1
                if found == count:
                    return
    except (av.FFmpegError, IndexError) as error:
        raise DatasetInvalid(str(path), f"is no readable video ({error})", "fetch the data set again") from error
    raise DatasetInvalid(
        str(path), f"has {found} frames from {first_s:g} s on, not {count}", "fetch the data set again"
    )
