"""The built-in policy's options and constants, without torch: a robot needs no more."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

TIME_FREQUENCIES = 8
FREQUENCIES = np.exp(np.linspace(0, 4, TIME_FREQUENCIES)).astype(np.float32)
POSITION_SCALE, YAW_SCALE = 0.1, 0.5  # metres and radians that count as 1 in a chunk
CLAMP = 6.0  # standard deviations beyond which an input says no more
CONDITIONS = {"negative": 0, "positive": 1}


class FlowOptions(BaseModel):
    """Configuration of the built-in policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon: int = Field(8, ge=1, le=64, description="actions in a chunk")
    execute: int = Field(3, ge=1, description="actions played before the next chunk takes over")
    width: int = Field(256, ge=8, description="width of the hidden layers")
    depth: int = Field(3, ge=1, description="hidden layers")
    words: int = Field(32, ge=4, description="width of a word's embedding")
    pointers: int = Field(2, ge=1, description="attention heads from the instruction to the entities")
    flow_steps: int = Field(5, ge=1, description="Euler steps from noise to a chunk")
    temperature: float = Field(
        0.0,
        ge=0,
        le=2,
        description="spread of the noise that acting starts from; 1: a sample; 0: its centre, the same chunk for the "
        "same observation, so that a robot between two ways does not change its mind from chunk to chunk",
    )
    grounding_weight: float = Field(
        0.1, ge=0, description="weight of the auxiliary loss that the attention finds what the instruction names"
    )
    observe: str = Field(
        "state", pattern="^(state|images)$", description="what the policy sees: the privileged state, or the cameras"
    )
    image_px: int = Field(64, ge=16, description="edge of the images that the policy sees, in pixels")

    @model_validator(mode="after")
    def _no_more_is_played_than_there_is(self) -> "FlowOptions":
        if self.execute > self.horizon:
            raise ValueError("execute is above horizon: no more actions can be played than a chunk has")
        return self
