"""The laundry task: the cloth and its grasps behave as promised, and an expert that can fold."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from fleetloop.sim.laundry import MARK_SLOT, POINTS, TIME_LIMIT, FoldScene
from fleetloop.sim.laundry_cloth import (
    BACK_LEFT,
    BACK_RIGHT,
    CENTRE,
    CLOSED_GAP,
    CORNERS,
    FRONT_LEFT,
    RADIUS,
    REACH,
    SIDE,
    TIP,
)
from fleetloop.sim.laundry_expert import FoldExpert
from fleetloop.sim.layout import GOAL, NAMES, OBJECT, POSITION, Z_AXIS
from fleetloop.sim.scene import CALM, CONTROL_HZ, DISTURBED, Disturbance
from fleetloop.sim.site import site_parameters

Array = npt.NDArray[np.float64]

OPEN, CLOSE = -1.0, 1.0
LEFT, RIGHT = 0, 1


def laundry(site: int = 0, **changes: float) -> FoldScene:
    return FoldScene(replace(site_parameters(site), **changes))  # type: ignore[arg-type]


def play(scene: FoldScene, seed: int, disturbance: Disturbance = CALM) -> Array:
    """Let the expert do an episode; returns every tick's positions."""
    expert = FoldExpert(scene)
    scene.reset(seed, disturbance)
    path = [scene.data.qpos.copy()]
    while not scene.success() and scene.tick < TIME_LIMIT * CONTROL_HZ:
        scene.step(expert.action())
        path.append(scene.data.qpos.copy())
    return np.array(path)


def stay(scene: FoldScene, grip: float = OPEN) -> Array:
    return np.concatenate([scene.hands.setpoint, np.full((2, 1), grip)], axis=1)


def move(scene: FoldScene, hand: int, target: npt.ArrayLike, grip: float, ticks: int = 20) -> None:
    """Bring one gripper to a place (m); the other stays as it is."""
    for _ in range(ticks):
        action = stay(scene)
        action[:, 4] = scene.hands.grip
        action[hand, :3] = target
        action[hand, 4] = grip
        scene.step(action)


def flat(scene: FoldScene) -> FoldScene:
    """The scene with the cloth spread out, its back half on the mark."""
    scene.reset(0)
    line = np.linspace(-SIDE / 2, SIDE / 2, 7)
    x, y = np.meshgrid(line, line, indexing="ij")
    x, y = x + scene.mark[0], y + scene.mark[1] - SIDE / 4
    scene.cloth.lay(np.stack([x, y, np.full_like(x, scene.surface + RADIUS)], axis=-1).reshape(-1, 3))
    scene.data.qvel[:] = 0
    scene.step(stay(scene))
    return scene


def grasp(scene: FoldScene, hand: int, vertex: int) -> None:
    tip = scene.cloth.vertices()[vertex] - np.array([0, 0, TIP])
    move(scene, hand, tip + np.array([0, 0, 0.05]), OPEN)
    move(scene, hand, tip, OPEN)
    move(scene, hand, tip, CLOSE, ticks=4)


@pytest.mark.parametrize("site", [0, 1, 2, 4])
def test_the_expert_folds_disturbed_cloths_within_the_time_limit(site: int) -> None:
    scene = laundry(site)
    solved = 0
    for seed in range(6):
        play(scene, seed, DISTURBED)
        solved += scene.success()
    assert solved >= 5


def test_an_episode_depends_on_site_and_seed_alone() -> None:
    fresh = play(laundry(1), 7, DISTURBED)
    used = laundry(1)
    play(used, 3, DISTURBED)
    assert np.array_equal(play(used, 7, DISTURBED), fresh)


def test_sites_and_seeds_differ() -> None:
    starts = [play(laundry(site), seed)[0] for site, seed in ((0, 1), (0, 2), (1, 1))]
    assert not np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])


def test_doing_nothing_fails_and_leaves_the_cloth_where_it_is() -> None:
    scene = laundry()
    for seed in range(4):
        scene.reset(seed)
        before = scene.cloth.vertices().copy()
        for _ in range(30):
            scene.step(stay(scene))
        assert not scene.success()
        assert np.abs(scene.cloth.vertices() - before).max() < 0.01


def test_no_start_is_folded_and_many_have_a_corner_folded_over() -> None:
    scene = laundry()
    over = 0
    for seed in range(40):
        scene.reset(seed)
        assert not scene.folded()
        _, normals = scene.cloth.frames(CORNERS)
        over += (normals[:, 2] < 0).any()
    assert 12 <= over <= 36


# ------------------------------------------------------------------ the goal


def test_success_needs_open_hands_that_are_away() -> None:
    scene = laundry()
    play(scene, 1)
    assert scene.success()
    move(scene, LEFT, scene.hands.pose()[LEFT, :3], CLOSE, ticks=1)
    assert not scene.success()
    move(scene, LEFT, scene.hands.pose()[LEFT, :3], OPEN, ticks=4)
    assert scene.success()
    move(scene, RIGHT, (0.3, -0.3, scene.surface + 0.02), OPEN)
    assert scene.folded()
    assert scene.on_mark()
    assert not scene.success()


def test_a_cloth_that_is_folded_off_the_mark_is_no_success() -> None:
    scene = laundry()
    play(scene, 1)
    folded = scene.cloth.vertices().copy()
    scene.cloth.lay(folded + np.array([0.08, 0, 0]))
    for _ in range(5):
        scene.step(stay(scene))
    assert scene.folded()
    assert not scene.success()


@pytest.mark.parametrize(("turn", "accepted"), [(0.0, True), (0.6, False), (np.pi / 2, False), (np.pi, True)])
def test_the_folded_cloth_may_lie_turned_by_half_a_turn_but_not_askew(turn: float, accepted: bool) -> None:
    scene = laundry()
    play(scene, 1)
    folded = scene.cloth.vertices().copy()
    centre = folded[:, :2].mean(axis=0)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    folded[:, :2] = (folded[:, :2] - centre) @ rotation.T + centre
    scene.cloth.lay(folded)
    for _ in range(5):
        scene.step(stay(scene))
    assert scene.folded()
    assert scene.success() == accepted


def test_a_flat_cloth_on_the_mark_is_not_folded() -> None:
    scene = flat(laundry())
    assert not scene.folded()


# ------------------------------------------------------------------ grasps


def test_a_gripper_that_closes_on_a_corner_lifts_it_and_drops_it_on_opening() -> None:
    scene = flat(laundry())
    grasp(scene, LEFT, FRONT_LEFT)
    assert scene.holding().tolist() == [1, 0]
    move(scene, LEFT, scene.cloth.vertices()[FRONT_LEFT] + (0.02, 0.02, 0.1), CLOSE)
    assert scene.cloth.vertices()[FRONT_LEFT, 2] > 0.07
    move(scene, LEFT, scene.hands.pose()[LEFT, :3], OPEN)
    assert scene.holding().tolist() == [0, 0]
    assert scene.cloth.vertices()[FRONT_LEFT, 2] < 0.03


def test_a_gripper_takes_nothing_out_of_its_reach() -> None:
    scene = flat(laundry())
    above = scene.cloth.vertices()[FRONT_LEFT] + (0, 0, REACH + 0.015)
    move(scene, LEFT, above, OPEN)
    move(scene, LEFT, above, CLOSE, ticks=5)
    assert scene.hands.opening()[LEFT] < CLOSED_GAP
    assert not scene.holding().any()


def test_a_gripper_that_arrives_closed_takes_nothing() -> None:
    scene = flat(laundry())
    corner = scene.cloth.vertices()[FRONT_LEFT].copy()
    move(scene, LEFT, corner + np.array([0, 0, 0.08]), CLOSE)
    move(scene, LEFT, corner, CLOSE)
    assert not scene.holding().any()


def test_the_middle_of_the_cloth_can_not_be_taken() -> None:
    scene = flat(laundry())
    grasp(scene, LEFT, CENTRE)
    assert not scene.holding().any()


def ticks_until_torn(scene: FoldScene) -> int:
    """Pull the back corners of a flat cloth apart; returns when the first one slips out."""
    flat(scene)
    grasp(scene, LEFT, BACK_LEFT)
    grasp(scene, RIGHT, BACK_RIGHT)
    assert scene.holding().all()
    for tick in range(40):
        action = stay(scene, CLOSE)
        action[:, 0] += (-0.01, 0.01)
        scene.step(action)
        if not scene.holding().all():
            return tick
    raise AssertionError("the cloth was never torn from a gripper")


def test_a_cloth_pulled_too_hard_slips_out_and_sooner_where_friction_is_low() -> None:
    assert ticks_until_torn(laundry(friction=0.7)) < ticks_until_torn(laundry(friction=1.3))


# ------------------------------------------------------------------ the world


def test_a_cloth_slides_further_where_friction_is_low() -> None:
    def slide(friction: float) -> float:
        scene = flat(laundry(friction=friction))
        before = scene.cloth.vertices()[CENTRE].copy()
        scene.cloth.push(np.ones(49, bool), np.array([0.8, 0, 0]))
        for _ in range(10):
            scene.step(stay(scene))
        return float(scene.cloth.vertices()[CENTRE, 0] - before[0])

    assert slide(0.5) > 1.5 * slide(1.2) > 0.01


@pytest.mark.parametrize("height", [-0.015, 0.02])
def test_the_table_has_the_height_of_the_site(height: float) -> None:
    scene = flat(laundry(furniture_height=height))
    for _ in range(5):
        scene.step(stay(scene))
    assert scene.cloth.vertices()[:, 2] == pytest.approx(np.full(49, height + RADIUS), abs=0.002)


def test_a_nudge_moves_the_cloth_a_little() -> None:
    scene = laundry()
    moved = []
    for seed in range(8):
        before = flat(scene).cloth.vertices().copy()
        scene.nudge(np.random.default_rng(seed))
        for _ in range(20):
            scene.step(stay(scene))
        moved.append(np.linalg.norm(scene.cloth.vertices() - before, axis=1).max())
    assert 0.005 < np.mean(moved) < 0.05
    assert max(moved) < 0.12


def test_entities_show_nine_points_with_names_of_their_own_and_the_mark() -> None:
    scene = flat(laundry())
    scene.write_entities()
    table = scene.table
    assert table.mask.tolist() == [1] * 10 + [0] * 2
    names = [tuple(NAMES[index] for index in pair) for pair in table.names[:10]]
    assert len(set(names)) == 10
    assert names[MARK_SLOT] == ("mark", "")
    assert table.named[MARK_SLOT] == GOAL
    assert table.named[names.index(("cloth", "centre"))] == OBJECT
    assert table.values[MARK_SLOT, POSITION][:2] == pytest.approx(scene.mark, abs=1e-6)
    left, right = (table.values[names.index((side, "front")), POSITION] for side in ("left", "right"))
    assert right - left == pytest.approx([SIDE, 0, 0], abs=0.005)


def test_a_corner_that_is_folded_over_shows_its_lower_face() -> None:
    scene = laundry()
    for seed in range(20):
        scene.reset(seed)
        corners = scene.cloth.vertices()[CORNERS, :2]
        gaps = np.linalg.norm(corners - corners.mean(axis=0), axis=1)
        if gaps.min() < 0.12:
            break
    scene.write_entities()
    slots = [slot for slot, (vertex, _, _) in enumerate(POINTS) if vertex == CORNERS[gaps.argmin()]]
    assert scene.table.values[slots[0], Z_AXIS][2] < -0.5
    assert scene.table.values[0:4, Z_AXIS][gaps > 0.17, 2].min() > 0.5
