"""Pictures and films of a scene."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fleetloop.sim import render
from fleetloop.sim.box import WallsScene
from fleetloop.sim.box_expert import BoxExpert
from fleetloop.sim.render import Cameras, NoGL, record
from fleetloop.sim.site import site_parameters

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def scene() -> WallsScene:
    return WallsScene(site_parameters(0))


@pytest.fixture
def cameras(scene: WallsScene) -> Iterator[Cameras]:
    scene.reset(0)
    with Cameras(scene) as cameras:
        try:
            cameras.images(px=8)
        except NoGL as error:
            pytest.skip(str(error))
        yield cameras


def test_every_camera_gives_a_picture_of_its_own(cameras: Cameras) -> None:
    images = cameras.images()
    assert set(images) == {"overhead", "wrist_L", "wrist_R"}
    assert {(image.shape, image.dtype.name) for image in images.values()} == {((96, 96, 3), "uint8")}
    assert not np.array_equal(images["wrist_L"], images["wrist_R"])
    assert all(image.std() > 5 for image in images.values())


def test_the_same_scene_gives_the_same_picture_also_after_closing(cameras: Cameras) -> None:
    first = cameras.images(("overhead",), 64)["overhead"]
    cameras.close()
    cameras.close()
    assert np.array_equal(cameras.images(("overhead",), 64)["overhead"], first)


def test_the_top_row_comes_first(cameras: Cameras) -> None:
    picture = cameras.images(("front",), 64)["front"].astype(int)
    assert picture[0].mean() < 5  # the dark above the horizon
    assert picture[-1].mean() > 50  # the table


def test_a_moved_gripper_shows(cameras: Cameras, scene: WallsScene) -> None:
    before = cameras.images(("overhead",))["overhead"]
    expert = BoxExpert(scene)
    for _ in range(20):
        scene.step(expert.action())
    after = cameras.images(("overhead",))["overhead"]
    assert (before != after).any()


def test_two_scenes_can_be_seen_in_turn(cameras: Cameras) -> None:
    other_site = WallsScene(site_parameters(1))
    other_site.reset(0)
    first = cameras.images(("overhead",))["overhead"]
    with Cameras(other_site) as others:
        assert not np.array_equal(others.images(("overhead",))["overhead"], first)
        assert np.array_equal(cameras.images(("overhead",))["overhead"], first)
    assert np.array_equal(cameras.images(("overhead",))["overhead"], first)


def test_a_wrong_name_or_size_is_told(cameras: Cameras) -> None:
    with pytest.raises(ValueError, match="no camera 'behind'; there are front, overhead"):
        cameras.images(("behind",))
    with pytest.raises(ValueError, match="px is 5000; choose 1 to 640"):
        cameras.images(px=5000)


def test_without_opengl_one_line_says_what_to_install(scene: WallsScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(render.sys, "platform", "linux")
    monkeypatch.setattr(render, "LIBRARIES", {"egl": "libNoSuchEGL.so", "osmesa": "libNoSuchMesa.so"})
    with pytest.raises(NoGL, match="apt-get install libosmesa6 libegl1 libgl1-mesa-dri") as raised:
        Cameras(scene).images()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_a_film_of_the_expert_is_written(cameras: Cameras, scene: WallsScene, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"walls{ending}"
    assert record(scene, BoxExpert(scene).action, path, seconds=8, cameras=("front", "overhead"), px=64)
    assert path.stat().st_size > 1000


def test_a_film_that_ends_early_is_no_success(cameras: Cameras, scene: WallsScene, tmp_path: Path) -> None:
    assert not record(scene, BoxExpert(scene).action, tmp_path / "walls.gif", seconds=0.2, px=32)


def test_an_unknown_ending_is_told(scene: WallsScene, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"walls.avi must end in .mp4 or .gif"):
        record(scene, BoxExpert(scene).action, tmp_path / "walls.avi", seconds=1)
