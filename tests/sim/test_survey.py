"""Pictures with the truth beside them: that the truth is about the picture."""

import numpy as np
import pytest

from fleetloop.sim.items import ITEM_TYPES, shifted_hue
from fleetloop.sim.robot import CAMERAS
from fleetloop.sim.site import site_parameters
from fleetloop.sim.survey import Survey, survey

pytestmark = pytest.mark.gl
PX, SITE = 96, 3


@pytest.fixture(scope="module")
def shelf() -> Survey:
    return survey("restock/shelf", SITE, 0, 30, PX)


def test_it_holds_as_many_frames_as_asked_for_of_everything(shelf):
    assert {camera: images.shape for camera, images in shelf.images.items()} == dict.fromkeys(CAMERAS, (30, PX, PX, 3))
    for array in (
        shelf.hands,
        shelf.entities,
        shelf.mask,
        shelf.names,
        *shelf.places.values(),
        *shelf.hand_places.values(),
    ):
        assert len(array) == 30
    assert ((shelf.names != "") == (shelf.mask > 0)).all()
    assert {"upper left", "lower right"} < set(np.unique(shelf.names))


def test_the_same_seed_gives_the_same_frames(shelf):
    again = survey("restock/shelf", SITE, 0, 30, PX)
    assert all(np.array_equal(again.images[camera], shelf.images[camera]) for camera in CAMERAS)
    assert not np.array_equal(survey("restock/shelf", SITE, 1, 3, PX).hands, shelf.hands[:3])


def test_things_are_where_it_says_they_are_in_the_picture(shelf):
    hue = site_parameters(SITE).hue
    right = []
    for frame, slot in zip(*np.nonzero(np.isin(shelf.names, list(ITEM_TYPES))), strict=True):
        place = shelf.places["overhead"][frame, slot]
        if np.isnan(place).any():
            continue
        x, y = ((place + 1) / 2 * PX).astype(int)
        seen = shelf.images["overhead"][frame, y, x] / 255
        colour = np.array(shifted_hue(ITEM_TYPES[shelf.names[frame, slot]].colour, hue)[:3])
        right.append(seen @ colour / np.linalg.norm(seen) / np.linalg.norm(colour) > 0.97)
    assert len(right) > 50
    assert np.mean(right) > 0.75  # the grippers hide some


def test_a_place_outside_the_picture_is_not_a_number(shelf):
    for places in shelf.places.values():
        inside = places[~np.isnan(places).any(axis=-1)]
        assert (np.abs(inside) < 1).all()
    assert np.isnan(shelf.places["wrist_L"]).any()
