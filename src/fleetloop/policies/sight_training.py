"""How the frozen image encoder is made: from pictures, to what the simulator says of each thing in them.

Labels, all privileged: which things are in the scene, the row of `entities` of each (pose, size, hinge), and where in
each picture it stands. The last teaches the attention directly; only the rows are used afterwards.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetloop.core.frame import FloatArray
from fleetloop.core.spec import RobotSpec
from fleetloop.policies.sight import PRESENT, Sight
from fleetloop.policies.sight_options import EncoderOptions, SightOptions

LENGTH_SCALE, OTHER_SCALE = 0.02, 0.2  # errors of a field that count as 1: metres, or whatever else it is
PRESENCE_WEIGHT, PLACE_WEIGHT = 2.0, 4.0
WARM_UP = 0.1  # share of the steps
LARGEST_GRADIENT = 1.0
REPORT_EVERY = 50
AT_ONCE = 64  # frames that are measured in one go
LENGTHS = ("x", "y", "z", "half_x", "half_y", "half_z")


class Frames(Protocol):
    """n frames with the truth beside them; what `sim/survey.py` makes."""

    @property
    def images(self) -> Mapping[str, npt.NDArray[np.uint8]]: ...  # camera -> (n, px, px, 3)
    @property
    def hands(self) -> FloatArray: ...  # (n, 2, .)
    @property
    def entities(self) -> FloatArray: ...  # (n, slots, fields)
    @property
    def places(self) -> Mapping[str, FloatArray]: ...  # camera -> (n, slots, 2); NaN outside the picture
    @property
    def hand_places(self) -> Mapping[str, FloatArray]: ...  # camera -> (n, 2, 2)
    @property
    def names(self) -> npt.NDArray[np.str_]: ...  # (n, slots); empty for an unused slot


@dataclass(frozen=True)
class Lesson:
    """The same frames as tensors, with a row per thing: (n, K, fields), (n, K); and per camera (n, hands + K, 2)."""

    images: Mapping[str, Tensor]
    hands: Tensor
    entities: Tensor
    mask: Tensor
    places: Mapping[str, Tensor]


Progress = Callable[[int, float], None]
"""Told the step and the loss."""


def train_sight(
    frames: Mapping[str, Sequence[Frames]],
    held_out: Mapping[str, Sequence[Frames]],
    robot: RobotSpec,
    options: EncoderOptions,
    progress: Progress = lambda step, loss: None,
) -> tuple[Sight, dict[str, Any]]:
    """An encoder, and the facts of it: what it was made from, and how it errs on the frames that were held out.

    `frames` and `held_out` are by task. Its weights end as bf16 values, so that a release carries them unchanged.
    """
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    by_name = {feature.name: feature for feature in robot.state}
    every = [one for several in frames.values() for one in several]
    things = tuple(sorted({str(name) for one in every for name in np.unique(one.names) if name}))
    known = SightOptions(things=things, fields=by_name["entities"].fields)
    sight = Sight(known, robot.cameras, by_name["hands"])
    lesson = lesson_of(every, known)
    sight.stats["hands"].fit(lesson.hands.flatten(1))
    _train(sight, lesson, options, progress)
    _round_weights(sight)
    facts = {
        "frames": len(lesson.hands),
        "labels": "simulated poses, names and places in the picture (privileged)",
        "options": options.model_dump(mode="json"),
        "held_out": {task: errors(sight, lesson_of(several, known)) for task, several in held_out.items()},
    }
    return sight, facts


def lesson_of(frames: Iterable[Frames], known: SightOptions) -> Lesson:
    """Slots to things; things that are not known are left out."""
    frames = list(frames)
    place = {thing: index for index, thing in enumerate(known.things)}
    index = [np.vectorize(lambda name: place.get(name, -1), otypes=[int])(one.names) for one in frames]

    def rows(slots: Sequence[FloatArray], fill: float) -> Tensor:
        count = sum(map(len, slots))
        table = np.full((count, len(place), *slots[0].shape[2:]), fill, np.float32)
        first = 0
        for values, thing in zip(slots, index, strict=True):
            frame, slot = np.nonzero(thing >= 0)
            table[first + frame, thing[frame, slot]] = values[frame, slot]
            first += len(values)
        return torch.from_numpy(table)

    def together(arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.concatenate(arrays))

    cameras = list(frames[0].images)
    return Lesson(
        images={name: together([one.images[name] for one in frames]) for name in cameras},
        hands=together([one.hands for one in frames]),
        entities=rows([one.entities for one in frames], 0.0),
        mask=rows([np.ones(one.names.shape, np.float32) for one in frames], 0.0),
        places={
            name: torch.cat(
                [
                    together([one.hand_places[name] for one in frames]),
                    rows([one.places[name] for one in frames], np.nan),
                ],
                1,
            )
            for name in cameras
        },
    )


def _train(sight: Sight, lesson: Lesson, options: EncoderOptions, progress: Progress) -> None:
    optimizer = torch.optim.AdamW(sight.parameters(), lr=options.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.steps + 1, pct_start=WARM_UP
    )
    rng = torch.Generator().manual_seed(options.seed)
    scale = torch.tensor([LENGTH_SCALE if name in LENGTHS else OTHER_SCALE for name in sight.options.fields])
    for step in range(1, options.steps + 1):
        chosen = torch.randint(len(lesson.hands), (options.batch,), generator=rng)
        loss = _loss(sight, lesson, chosen, scale)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(sight.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        if step % REPORT_EVERY == 0 or step == options.steps:
            progress(step, loss.item())


def _loss(sight: Sight, lesson: Lesson, chosen: Tensor, scale: Tensor) -> Tensor:
    looked = sight.look(lesson.hands[chosen], {name: image[chosen] for name, image in lesson.images.items()})
    mask = lesson.mask[chosen]
    rows = (((looked.entities - lesson.entities[chosen]).abs() / scale).mean(-1) * mask).sum() / mask.sum()
    presence = nn.functional.binary_cross_entropy_with_logits(looked.there, mask)
    places = torch.zeros(())
    for name, place in lesson.places.items():
        error = looked.places[name] - place[chosen]
        places = places + torch.nan_to_num(error).abs().sum() / (~error.isnan()).sum().clamp(min=1)
    return rows + PRESENCE_WEIGHT * presence + PLACE_WEIGHT * places


@torch.no_grad()
def errors(sight: Sight, lesson: Lesson) -> dict[str, float]:
    """How far from the truth: metres of position (median and 90th percentile over things that are there), and the share
    of things that are rightly said to be there or not."""
    distances, right = [], []
    for cut in torch.tensor_split(torch.arange(len(lesson.hands)), max(1, len(lesson.hands) // AT_ONCE)):
        looked = sight.look(lesson.hands[cut], {name: image[cut] for name, image in lesson.images.items()})
        there = lesson.mask[cut] > 0
        position = [sight.options.fields.index(axis) for axis in "xyz"]
        offset = looked.entities[..., position] - lesson.entities[cut][..., position]
        distances.append(offset.norm(dim=-1)[there])
        right.append((torch.sigmoid(looked.there) >= PRESENT) == there)
    metres = torch.cat(distances)
    return {
        "position_m_median": float(metres.quantile(0.5)),
        "position_m_p90": float(metres.quantile(0.9)),
        "presence_right": float(torch.cat(right).float().mean()),
        "frames": len(lesson.hands),
    }


@torch.no_grad()
def _round_weights(sight: Sight) -> None:
    """To bf16 values, as a release carries them: so what trains is what ships. Statistics ship unrounded."""
    for weight in sight.parameters():
        weight.copy_(weight.to(torch.bfloat16))
