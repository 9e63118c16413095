"""One way to read a picture and to make it smaller: a robot that acts and a learner that trains must see the same."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def decoded(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8, RGB. Raises OSError for what is no picture, or too large to be one."""
    try:
        return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    except Image.DecompressionBombError as error:
        raise OSError(str(error)) from error


def resized(picture: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 -> (height, width, 3) uint8; each pixel is the mean of those that it covers (box filter)."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
