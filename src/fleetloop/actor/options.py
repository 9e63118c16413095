"""What a user may set about actors."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field


class RecorderOptions(BaseModel):
    """How episodes are written to the robot's disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jpeg_quality: int = Field(default=90, ge=1, le=100, description="JPEG quality of recorded images, 1 to 100")
    flush_s: float = Field(
        default=1.0, gt=0, description="clock seconds between two writes of an episode under way: what a crash may cost"
    )
    queue_frames: int = Field(
        default=2000, ge=1, description="frames that may wait for the disk; when they are more, the episode is aborted"
    )
    spool_bytes: int | None = Field(
        default=20_000_000_000,
        ge=0,
        description="bytes that may wait on this host's disk; while they are more no new episode is recorded, an alarm "
        "says so, and driving goes on; null: until the disk is full",
    )
    spare_bytes: int = Field(
        default=500_000_000,
        ge=0,
        description="bytes that stay free on this host's disk: with less no new episode is recorded, as above. Sealing "
        "an episode takes as much again for a moment, and the robot's other programs want to live",
    )


class ActorOptions(BaseModel):
    """How a robot is driven."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead: int = Field(
        default=1,
        ge=0,
        description="ticks before the end of a chunk's played part at which the next chunk is asked for",
    )
    condition: str | None = Field(
        default=None,
        description="what the policy is conditioned on; null: what its release says robots act on; empty: nothing",
    )
    exploration: float = Field(
        default=0.0,
        ge=0,
        description="spread of a slow random offset to what the policy does, in the action's own units; 0: none. "
        "For an algorithm that learns from what turned out better than usual",
    )
    swap: Literal["episode", "chunk"] = Field(
        default="episode",
        description="when the robot goes over to another release: between two episodes, or, sooner, between two "
        "chunks; an episode may then be of several",
    )
    task_order: Literal["round-robin", "shuffled"] = Field(
        default="round-robin", description="how the next task is picked from the robot's list; `shuffled` is seeded"
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="threads that numpy and torch may use in an actor's process: one is best for a small policy, "
        "and for many actors on a host; what OMP_NUM_THREADS and its like say in the environment holds instead",
    )
    takeover_grace: float = Field(
        default=1.6, ge=1, description="factor by which a task's time limit is stretched while a human drives"
    )
    lost_hold_s: float = Field(
        default=0.5, ge=0, description="clock seconds that the robot holds still after its driver lost attention"
    )
    frozen_camera_s: float = Field(
        default=1.0,
        gt=0,
        description="clock seconds without a new image of a camera, by `images_taken`, after which an alarm says so",
    )
    hub_silent_wall_s: float = Field(
        default=3.0, gt=0, description="real seconds without the orders that are due after which the hub counts as away"
    )
    local_takeover: bool = Field(
        default=True,
        description="while the hub is away this robot's operator may take it over without the hub's attention",
    )
    reset_retry_s: float = Field(
        default=5.0, gt=0, description="clock seconds between two tries of a reset that failed"
    )
    wait_s: float = Field(default=0.5, gt=0, description="clock seconds between two looks for a first release")
    mail_wall_s: float = Field(
        default=0.1, gt=0, description="real seconds between two exchanges of status and orders with the courier"
    )
    record_wall_s: float = Field(default=0.02, gt=0, description="real seconds between two rounds of the recorder")
    recorder: RecorderOptions = RecorderOptions()

    def measuring(self) -> Self:
        """The same for episodes that measure: nothing is explored, each is one release's, and people add no time."""
        return self.model_copy(update={"exploration": 0.0, "swap": "episode", "takeover_grace": 1.0})
