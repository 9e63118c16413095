"""Relative features, grounding and anchors in plain numpy; the torch files are the reference."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import FloatArray
from fleetloop.core.spec import FeatureSpec
from fleetloop.policies.flow_options import POSITION_SCALE
from fleetloop.policies.scene_fields import AXES, MOST_ALIKE, NEAR, POSITION, TINY, X_AXIS, YAW, Z_AXIS, columns
from fleetloop.policies.vocabulary import word_ids

UNUSED = -1e4
AFTER, BEFORE = [1, 2, 0], [2, 0, 1]


@dataclass(frozen=True)
class Seen:
    """rows (E, F): an entity each; pointers (heads, E): probabilities; anchors (hands, places + 1, 5): how far a chunk
    shifts, in its own units, if a gripper goes to that place; the last is where it stands."""

    rows: FloatArray
    pointers: FloatArray
    anchors: FloatArray


class SceneOnRobot:
    """One observation's grippers and entities, as the network takes them."""

    def __init__(self, features: Mapping[str, FeatureSpec], tensor: Callable[[str], FloatArray], heads: int) -> None:
        hands, entities, names = features["hands"], features["entities"], features["names"]
        self._hand_position, self._yaw = columns(hands, POSITION), columns(hands, YAW)
        self._position = columns(entities, POSITION)
        self._x_axis, self._z_axis = columns(entities, X_AXIS), columns(entities, Z_AXIS)
        self._heads = heads
        embedding = tensor("encoder.words.embedding.weight")
        called = np.stack([embedding[list(word_ids(name))].sum(axis=0) for name in names.categories])
        width = embedding.shape[1]
        self._keys = (called @ tensor("encoder.grounding.key.weight").T).reshape(-1, heads, width)
        self._query = tensor("encoder.grounding.query.weight").T
        same = called @ tensor("encoder.grounding.namesake.key.weight").T / width**0.25
        self._alike = same @ same.T
        self._nobody = np.exp(tensor("encoder.grounding.namesake.nobody"))
        self._related = tensor("encoder.grounding.related.weight").T, tensor("encoder.grounding.related.bias")
        self._asked = tensor("encoder.grounding.asked.weight").T
        self._meant = tensor("encoder.grounding.meant.weight")
        self._barred = np.zeros(heads + entities.shape[0] + 1, np.float32)

    def see(self, state: Mapping[str, npt.NDArray[Any]], sentence: FloatArray) -> Seen:
        """Everything that does not change while a chunk takes shape."""
        entities, mask = state["entities"], state["mask"]
        rows = self._rows(state["hands"], entities) * mask[:, None]
        query = (sentence @ self._query).reshape(self._heads, -1)
        scores = np.einsum("hd,chd->hc", query, self._keys)
        positions = entities[:, self._position]
        away = positions[None] - state["hands"][:, None, self._hand_position]
        relations = np.column_stack([*self._namesake(state["names"], positions, mask), _squashed_length(away).min(0)])
        hidden = relations @ self._related[0] + self._related[1] + sentence @ self._asked
        hidden = hidden / (1 + np.exp(-hidden))
        logits = scores[:, state["names"]].sum(axis=-1) + self._meant @ hidden.T
        pointers = _softmax(np.where(mask < 0.5, UNUSED, logits))
        anchors = np.zeros((len(away), self._barred.size, len(AXES)), np.float32)
        anchors[:, : self._heads, :3] = pointers @ positions - state["hands"][:, None, self._hand_position]
        anchors[:, self._heads : -1, :3] = away
        anchors /= POSITION_SCALE
        self._barred[self._heads : -1] = np.where(mask > 0.5, 0, UNUSED)
        return Seen(rows, pointers, anchors)

    def shift(self, logits: FloatArray, anchors: FloatArray) -> FloatArray:
        """(A,): the set-points' shift towards the places that the gates choose."""
        gates = _softmax(logits.reshape(anchors.shape[:2]) + self._barred)
        shift: FloatArray = (gates[:, None] @ anchors).ravel()
        return shift

    def _namesake(self, names: FloatArray, positions: FloatArray, mask: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(E,) the squashed distance to the entity that shares the name, (E,) how sure it is that there is one."""
        alike = self._alike[names[:, None, :, None], names[None, :, None, :]].sum(axis=(2, 3))
        weight = np.exp(np.minimum(alike, MOST_ALIKE)) * mask
        np.fill_diagonal(weight, 0)
        share = weight / (weight.sum(axis=1, keepdims=True) + self._nobody)
        sure = share.sum(axis=1)
        return _squashed_length(share @ positions - sure[:, None] * positions), sure

    def _rows(self, hands: FloatArray, entities: FloatArray) -> FloatArray:
        x_axis, z_axis = entities[:, self._x_axis], entities[:, self._z_axis]
        axes = np.stack([x_axis, _cross(z_axis, x_axis), z_axis], axis=1)
        offset = entities[None, :, self._position] - hands[:, None, self._hand_position]  # (hands, E, 3)
        sin, cos = hands[:, None, self._yaw[0]], hands[:, None, self._yaw[1]]
        along = cos * x_axis[:, 0] + sin * x_axis[:, 1]
        across = sin * x_axis[:, 0] - cos * x_axis[:, 1]
        turn = np.stack([2 * across * along, along**2 - across**2], axis=-1)
        seen_by_entity = (axes @ offset[..., None])[..., 0]
        seen = np.concatenate([offset, seen_by_entity, np.tanh(offset / NEAR), turn], axis=-1)
        return np.concatenate([entities, *seen], axis=1)


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """(E, 3): np.cross, without what that does to find out which axes are meant."""
    product: FloatArray = first[:, AFTER] * second[:, BEFORE] - first[:, BEFORE] * second[:, AFTER]
    return product


def _squashed_length(offset: FloatArray) -> FloatArray:
    squashed: FloatArray = np.tanh(np.sqrt(np.square(offset).sum(axis=-1) + TINY) / POSITION_SCALE)
    return squashed


def _softmax(logits: FloatArray) -> FloatArray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softmax: FloatArray = shifted / shifted.sum(axis=-1, keepdims=True)
    return softmax
