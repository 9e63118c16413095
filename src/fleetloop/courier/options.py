"""What a user may set about couriers."""

from pydantic import BaseModel, ConfigDict, Field


class CourierOptions(BaseModel):
    """How episodes travel up and releases down. Times are real seconds: networks don't run faster in simulated time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scan_wall_s: float = Field(
        default=0.05, gt=0, description="real seconds between two looks for finished episodes in the spool"
    )
    urgent_bytes: int = Field(
        default=4_000_000,
        ge=0,
        description="episodes with interventions that are no larger than this go up before the others; 0: strictly in "
        "order of age",
    )
    uplink_mbps: float | None = Field(
        default=None, gt=0, description="megabits per second that uploads take at most; null: no limit"
    )
    beat_wall_s: float = Field(
        default=0.25,
        gt=0,
        description="real seconds between two beats: statuses up, orders down; the hub of a large fleet asks for fewer",
    )
    look_wall_s: float = Field(
        default=0.02,
        gt=0,
        description="real seconds between two looks for a robot that begins or ceases to want attention; the hub hears "
        "of it at once",
    )
    silent_wall_s: float = Field(
        default=5.0,
        gt=0,
        description="real seconds without a word from an actor after which the hub is told nothing of it",
    )
    poll_wall_s: float = Field(
        default=20.0, ge=0, description="real seconds for which one request waits at the hub for a new release"
    )
    retry_first_wall_s: float = Field(
        default=0.2, gt=0, description="real seconds before the first new try after the hub was away; jittered"
    )
    retry_longest_wall_s: float = Field(
        default=10.0, gt=0, description="real seconds that a pause between two tries never exceeds, doubling until then"
    )
    release_cache: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="URL of the site's cache, which is asked for weights before the hub (docs/how-to/site-cache.md); "
        "null: none",
    )
    blobs_at_once: int = Field(
        default=3,
        ge=0,
        description="parts of a release that are fetched at the same time, while others are decoded; eight times as "
        "many wait in memory at most; 0: one after the other",
    )
    keep_releases: int = Field(
        default=3, ge=1, description="newest releases kept on the host's disk; the current one is, too"
    )
    drain_wall_s: float = Field(
        default=10.0,
        ge=0,
        description="real seconds for which a stopping courier goes on uploading what is in the spool",
    )
