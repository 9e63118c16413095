"""Whether an episode's file holds what it says: every value is read."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from fleetloop.core.episode import CONTENT_KEY, META_KEY, Episode, first_line
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.frame import Source

MAX_FRAMES = 200_000


def content_hash(batch: pa.RecordBatch, meta: bytes) -> bytes:
    """blake3 over the metadata and every column: a sealed file carries it as `fleetloop.content`."""
    return blake3(meta).update(memoryview(batch.serialize())).hexdigest().encode()


def validate(episode: Episode) -> None:
    """Read every value and raise EpisodeInvalid naming the first column that can't be right."""
    batch = episode._batch
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise EpisodeInvalid("file", f"holds inconsistent data ({first_line(error)})") from error
    said = batch.schema.metadata.get(CONTENT_KEY)  # other writers need not give one
    if said is not None and said != content_hash(batch, batch.schema.metadata[META_KEY]):
        raise EpisodeInvalid("file", "has changed since it was sealed", "its disk or memory is failing; look at it")
    if len(episode) > MAX_FRAMES:
        raise EpisodeInvalid("tick", f"has {len(episode)} frames", f"the limit is {MAX_FRAMES}")
    cameras = {f"image.{camera.name}" for camera in episode.meta.spec.cameras}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        inner = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
        if column.null_count or inner.null_count:
            raise EpisodeInvalid(name, "holds missing values")
        if pa.types.is_floating(inner.type) and not np.isfinite(inner.to_numpy(zero_copy_only=False)).all():
            raise EpisodeInvalid(name, "holds numbers that are not finite")
        if name in cameras and not pc.all(pc.starts_with(column, b"\xff\xd8"), min_count=0).as_py():
            raise EpisodeInvalid(name, "holds something that is no JPEG")
    if (np.diff(episode.column("tick")) <= 0).any():
        raise EpisodeInvalid("tick", "does not rise from frame to frame")
    if not np.isin(episode.source, [int(member) for member in Source]).all():
        raise EpisodeInvalid("source", f"holds a value outside 0 to {max(Source)}")
