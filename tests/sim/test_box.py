"""The box tasks: physics and success rule as promised, and an expert that can do them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from fleetloop.sim.box import (
    ASSEMBLE_TIME_LIMIT,
    BASE_SLOT,
    FLAP_CLOSED,
    WALL_CLOSED,
    WALLS_TIME_LIMIT,
    AssembleScene,
    BoxScene,
    WallsScene,
)
from fleetloop.sim.box_expert import BoxExpert
from fleetloop.sim.layout import CLOSENESS, HINGE_COS, HINGE_SIN, NAMES, POSITION
from fleetloop.sim.scene import CALM, CONTROL_HZ, DISTURBED, Disturbance
from fleetloop.sim.site import site_parameters

SCENES: tuple[tuple[type[BoxScene], float], ...] = (
    (WallsScene, WALLS_TIME_LIMIT),
    (AssembleScene, ASSEMBLE_TIME_LIMIT),
)
MINORS, MAJORS = slice(4, 6), slice(6, 8)


def box(scene: type[BoxScene], site: int = 0) -> BoxScene:
    return scene(site_parameters(site))


def stay(scene: BoxScene, grip: float = 1.0) -> npt.NDArray[np.float64]:
    return np.concatenate([scene.hands.setpoint, np.full((2, 1), grip)], axis=1)


def play(scene: BoxScene, seed: int, disturbance: Disturbance, seconds: float) -> npt.NDArray[np.float64]:
    """Let the expert do an episode; returns every tick's positions."""
    expert = BoxExpert(scene)
    scene.reset(seed, disturbance)
    path = [scene.data.qpos.copy()]
    while not scene.success() and scene.tick < seconds * CONTROL_HZ:
        scene.step(expert.action())
        path.append(scene.data.qpos.copy())
    return np.array(path)


def closed(scene: BoxScene, seed: int = 0) -> BoxScene:
    """The scene with every panel latched and the grippers at home."""
    scene.reset(seed)
    scene.data.qpos[scene._qpos] = np.pi / 2
    scene.data.eq_active[scene._latches] = 1
    return scene


@pytest.mark.parametrize(("kind", "seconds"), SCENES)
@pytest.mark.parametrize("site", [0, 1, 2])
def test_the_expert_solves_disturbed_episodes_within_the_time_limit(
    kind: type[BoxScene], seconds: float, site: int
) -> None:
    scene = box(kind, site)
    solved = 0
    for seed in range(6):
        play(scene, seed, DISTURBED, seconds)
        solved += scene.success()
    assert solved >= 5


@pytest.mark.parametrize(("kind", "seconds"), SCENES)
def test_an_episode_depends_on_site_and_seed_alone(kind: type[BoxScene], seconds: float) -> None:
    fresh = play(box(kind), 7, DISTURBED, seconds)
    used = box(kind)
    play(used, 3, DISTURBED, 1.0)
    assert np.array_equal(play(used, 7, DISTURBED, seconds), fresh)


@pytest.mark.parametrize(("kind", "seconds"), SCENES)
def test_doing_nothing_fails_and_moves_nothing(kind: type[BoxScene], seconds: float) -> None:
    scene = box(kind)
    scene.reset(1)
    before = scene.angles()
    for _ in range(round(seconds * CONTROL_HZ)):
        scene.step(stay(scene))
    assert not scene.success()
    assert scene.angles() == pytest.approx(before, abs=0.2)


@pytest.mark.parametrize("grip", [-1.0, 1.0])
@pytest.mark.parametrize(("kind", "seconds"), SCENES)
def test_a_closed_box_is_a_success_after_three_ticks_whatever_the_grip(
    kind: type[BoxScene], seconds: float, grip: float
) -> None:
    scene = closed(box(kind))
    scene.step(stay(scene, grip))
    scene.step(stay(scene, grip))
    assert not scene.success()
    scene.step(stay(scene, grip))
    assert scene.success()


def test_a_gripper_that_still_leans_on_the_box_is_no_success() -> None:
    scene = closed(box(AssembleScene))
    scene.data.qpos[scene.hands.qpos[0, :3]] = scene.data.xpos[scene._base_body] + (0, 0, 0.11) - scene.hands.home[0]
    assert not scene.goal_reached()


def test_one_open_panel_is_no_success() -> None:
    for hinge in range(8):
        scene = closed(box(AssembleScene))
        scene.data.qpos[scene._qpos[hinge]] = 1.2
        assert not scene.goal_reached()


def test_a_raised_wall_latches_and_stays() -> None:
    scene = box(WallsScene)
    scene.reset(2)
    scene.data.qpos[scene._qpos[0]] = 1.5
    for _ in range(20):
        scene.step(stay(scene))
    assert scene.angles()[0] == pytest.approx(np.pi / 2, abs=0.05)


def test_flaps_in_the_wrong_order_spring_back() -> None:
    scene = closed(box(AssembleScene))
    scene.data.eq_active[scene._latches[4:]] = 0
    scene.data.qpos[scene._qpos[MINORS]] = 0.0
    for _ in range(40):
        scene.step(stay(scene))
    assert (scene.angles()[MAJORS] < 0.5).all()


def test_a_closed_major_flap_keeps_a_minor_one_from_closing() -> None:
    scene = closed(box(AssembleScene))
    scene.data.eq_active[scene._latches[MINORS]] = 0
    scene.data.qpos[scene._qpos[MINORS]] = 0.0
    scene.data.qfrc_applied[scene._qvel[MINORS]] = 0.2
    for _ in range(20):
        scene.step(stay(scene))
    assert (scene.angles()[MINORS] < FLAP_CLOSED).all()


def test_a_nudge_knocks_a_raised_wall_open() -> None:
    for seed in range(4):
        scene = closed(box(WallsScene), seed)
        scene.nudge(np.random.default_rng(seed))
        for _ in range(5):
            scene.step(stay(scene))
        assert (scene.angles() < WALL_CLOSED).sum() == 1


def test_a_shoved_sheet_slides_further_where_friction_is_low() -> None:
    slides = []
    for friction in (0.6, 1.4):
        scene = WallsScene(replace(site_parameters(0), friction=friction))
        scene.reset(0)
        start = scene.base_pose()
        scene.data.qvel[scene._base_qvel[1]] = 0.5
        for _ in range(10):
            scene.step(stay(scene))
        slides.append(abs(scene.base_pose()[1] - start[1]))
    assert slides[0] > 1.2 * slides[1] > 0


def test_sites_differ_in_height_and_colour() -> None:
    nominal, other = box(WallsScene, 0), box(WallsScene, 1)
    assert other.board == pytest.approx(nominal.board + other.site.furniture_height)
    assert not np.allclose(nominal.model.geom("board").rgba, other.model.geom("board").rgba)


@pytest.mark.parametrize(("kind", "instruction", "slots"), [
    (WallsScene, "raise the walls of the box", (0, 1, 2, 3, BASE_SLOT)),
    (AssembleScene, "assemble the box", tuple(range(9))),
])  # fmt: skip
def test_the_entities_are_named_and_their_closeness_tells_ajar_from_closed(
    kind: type[BoxScene], instruction: str, slots: tuple[int, ...]
) -> None:
    scene = box(kind)
    scene.reset(4, CALM)
    scene.write_entities()
    assert scene.instruction == instruction
    assert tuple(np.flatnonzero(scene.table.mask)) == slots
    assert [NAMES[index] for index in scene.table.names[2]] == ["front", "wall"]
    assert (scene.table.values[:4, CLOSENESS] < -0.5).all()
    assert scene.table.values[2, POSITION][1] < scene.table.values[BASE_SLOT, POSITION][1]
    angles = np.arctan2(scene.table.values[:4, HINGE_SIN], scene.table.values[:4, HINGE_COS])
    assert angles == pytest.approx(scene.angles()[:4], abs=1e-5)
    closed(scene).step(stay(scene))
    scene.write_entities()
    assert (scene.table.values[:4, CLOSENESS] > 0.6).all()
