"""What an image encoder knows, and how it is made; without torch."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SightOptions(BaseModel):
    """What an encoder knows. Written by `fleetloop pretrain encoder`, not by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    things: tuple[str, ...] = Field(min_length=1, description="the names of the things that it finds")
    fields: tuple[str, ...] = Field(min_length=1, description="what it says of each: the fields of a row of `entities`")


class EncoderOptions(BaseModel):
    """The image encoder: rendered frames, and a short training on where the simulator says that things are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, lt=1 << 31, description="decides every draw")
    image_px: int = Field(default=96, ge=32, le=640, description="edge of the images in pixels; the policy's image_px")
    frames: int = Field(default=3000, ge=1, description="frames of each task, over all sites")
    sites: int = Field(
        default=50,
        ge=1,
        description="random sites that the frames are from, beside the nominal one; their seeds begin at 1000, so that "
        "no robot stands at one of them",
    )
    nominal: float = Field(default=0.1, ge=0, le=1, description="share of the frames that is from the nominal site")
    held_out_sites: int = Field(default=4, ge=1, description="of the random sites, those that only measure")
    steps: int = Field(default=2000, ge=1, description="optimizer steps")
    batch: int = Field(default=64, ge=1, description="frames per optimizer step")
    rate: float = Field(default=3e-3, gt=0, description="highest learning rate; warm-up and cosine around it")
    threads: int = Field(default=2, ge=1, description="CPU threads that torch may use")

    @model_validator(mode="after")
    def _some_sites_to_learn_from(self) -> "EncoderOptions":
        if self.held_out_sites >= self.sites:
            raise ValueError("held_out_sites must be fewer than sites")
        return self
