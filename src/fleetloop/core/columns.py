"""The columns of an episode's file: which there are, and of what type."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa

from fleetloop.core.spec import RobotSpec

COUNTERS = {
    "tick": pa.int32(),
    "clock_s": pa.float64(),
    "wall_s": pa.float64(),
    "source": pa.int8(),
    "release": pa.int64(),
    "chunk_id": pa.int64(),
    "chunk_index": pa.int16(),
}


@lru_cache(maxsize=64)
def columns_of(spec: RobotSpec) -> Sequence[pa.Field]:
    """A fleet has few kinds of robots, and each episode that is read is checked against one."""
    columns: list[tuple[str, pa.DataType]] = list(COUNTERS.items())
    columns += [(f"state.{item.name}", _list_type(item.dtype, item.shape)) for item in spec.state]
    columns += [(name, _list_type("float32", spec.action.shape)) for name in ("action", "action_requested")]
    for camera in spec.cameras:
        columns += [(f"image.{camera.name}", pa.binary()), (f"image_taken.{camera.name}", pa.float64())]
    return tuple(pa.field(name, kind, nullable=False) for name, kind in columns)


def _list_type(dtype: str, shape: tuple[int, ...]) -> pa.DataType:
    item = pa.field("item", pa.from_numpy_dtype(np.dtype(dtype)), nullable=False)
    return pa.list_(item, int(np.prod(shape, dtype=int)))
