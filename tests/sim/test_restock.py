"""The restock tasks: their physics, their success rules, their experts."""

import mujoco
import numpy as np
import numpy.typing as npt
import pytest

from fleetloop.sim.expert import Expert
from fleetloop.sim.items import ITEM_TYPES
from fleetloop.sim.layout import GOAL, ITEM_NAMES, NAMES, OBJECT, POSITION
from fleetloop.sim.restock import cooler, freezer, misplaced, shelf
from fleetloop.sim.restock.scene import ITEMS, RestockScene
from fleetloop.sim.scene import CALM, CONTROL_HZ, DISTURBED, Disturbance
from fleetloop.sim.site import site_parameters

Array = npt.NDArray[np.float64]

TASKS = {
    "shelf": (shelf.ShelfScene, shelf.ShelfExpert, shelf.TIME_LIMIT),
    "misplaced": (misplaced.MisplacedScene, misplaced.MisplacedExpert, misplaced.TIME_LIMIT),
    "freezer": (freezer.FreezerScene, freezer.FreezerExpert, freezer.TIME_LIMIT),
    "cooler": (cooler.CoolerScene, cooler.CoolerExpert, cooler.TIME_LIMIT),
}
SITES = (0, 2)


@pytest.fixture(scope="module", params=[(task, site) for task in TASKS for site in SITES], ids=str)
def world(request: pytest.FixtureRequest) -> tuple[RestockScene, Expert[RestockScene], int]:
    task, site = request.param
    scene_class, expert_class, limit = TASKS[task]
    scene = scene_class(site_parameters(site))
    return scene, expert_class(scene), int(limit * CONTROL_HZ)


@pytest.fixture(scope="module")
def nominal_shelf() -> shelf.ShelfScene:
    return shelf.ShelfScene(site_parameters(0))


def still(scene: RestockScene, *, grip: float = -1.0) -> Array:
    """The action that leaves the hands where they are."""
    return np.concatenate([scene.hands.setpoint, np.full((2, 1), grip)], axis=1)


def play(
    scene: RestockScene, expert: Expert[RestockScene], seed: int, ticks: int, disturbance: Disturbance = DISTURBED
) -> list[Array]:
    """The observations of one episode, up to its success."""
    scene.reset(seed, disturbance)
    expert.reset()
    seen = []
    while not scene.success() and scene.tick < ticks:
        scene.step(expert.action())
        scene.write_entities()
        seen.append(np.concatenate([scene.observe_hands().ravel(), scene.table.values.ravel()]))
    return seen


def put_at_goal(scene: RestockScene, *, lying: bool = False) -> None:
    """Teleport the target into its slot."""
    slot = scene.slots[scene.goal]
    scene.items.put(scene.target, slot.x, slot.y, slot.floor, 0.0)
    if lying:
        start = scene.model.joint(f"item{scene.target}").qposadr[0]
        scene.data.qpos[start + 2] = slot.floor + scene.items.half_sizes[scene.target, 0] + 0.002
        scene.data.qpos[start + 3 : start + 7] = np.sqrt(0.5), 0, np.sqrt(0.5), 0


# ---------------------------------------------------------------------- experts and episodes


def test_the_expert_succeeds_from_disturbed_starts(world: tuple[RestockScene, Expert[RestockScene], int]) -> None:
    scene, expert, ticks = world
    solved = 0
    for seed in range(8):
        play(scene, expert, seed, ticks)
        solved += scene.success()
    assert solved >= 7


def test_an_episode_depends_on_its_seed_alone(world: tuple[RestockScene, Expert[RestockScene], int]) -> None:
    scene, expert, ticks = world
    first = play(scene, expert, 3, ticks)
    other = play(scene, expert, 4, 20)
    again = play(scene, expert, 3, ticks)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], other[0])


def test_doing_nothing_fails(world: tuple[RestockScene, Expert[RestockScene], int]) -> None:
    scene, _, _ = world
    scene.reset(1, CALM)
    for _ in range(40):
        scene.step(still(scene))
        assert not scene.goal_reached()


def test_the_instruction_speaks_in_the_names_of_the_entities(
    world: tuple[RestockScene, Expert[RestockScene], int],
) -> None:
    scene, _, _ = world
    for seed in range(10):
        scene.reset(seed, CALM)
        table = scene.table
        assert (table.named == OBJECT).sum() == 1
        assert (table.named == GOAL).sum() == 1
        assert [NAMES[index] for index in table.names[:ITEMS, 0]] == scene.item_names
        assert len(set(scene.item_names)) == ITEMS
        assert set(scene.item_names) <= set(scene.site.item_names)
        if "misplaced" not in scene.instruction:
            spoken = {NAMES[index] for index in table.names[table.named > 0].ravel()} - {""}
            assert spoken <= set(scene.instruction.split())


def test_the_table_follows_the_items(world: tuple[RestockScene, Expert[RestockScene], int]) -> None:
    scene, _, _ = world
    scene.reset(2, CALM)
    scene.items.push(scene.target, np.array([0.4, 0.0]))
    scene.write_entities()
    before = scene.table.values.copy()
    for _ in range(3):
        scene.step(still(scene))
    scene.write_entities()
    assert scene.table.values[scene.target, 0] > before[scene.target, 0] + 0.003
    slots = slice(ITEMS, ITEMS + len(scene.slots))
    assert np.array_equal(scene.table.values[slots], before[slots])
    assert scene.table.values[slots, POSITION][:, 2] == pytest.approx([slot.floor for slot in scene.slots])


# ---------------------------------------------------------------------- success


@pytest.mark.parametrize("task", ["shelf", "misplaced", "cooler"])
def test_success_needs_open_hands_and_three_ticks(task: str) -> None:
    scene = TASKS[task][0](site_parameters(0))
    scene.reset(0, CALM)
    put_at_goal(scene)
    for _ in range(6):
        scene.step(still(scene, grip=1.0))
    assert scene.placed()
    assert not scene.success()
    reached = []
    while not scene.success() and scene.tick < 30:
        scene.step(still(scene))
        reached.append(scene.goal_reached())
    assert scene.success()
    assert sum(reached) == 3


def test_a_hand_at_the_item_is_not_away(nominal_shelf: shelf.ShelfScene) -> None:
    scene = nominal_shelf
    scene.reset(0, CALM)
    assert scene.hands_away()
    x, y, z = scene.hands.pose()[0, :3]
    scene.items.put(scene.target, x, y, z - 0.05, 0.0)
    assert not scene.hands_away()


def test_a_lying_item_counts_on_the_shelf_but_not_in_the_cooler() -> None:
    for task, counts in (("shelf", True), ("cooler", False)):
        scene = TASKS[task][0](site_parameters(0))
        scene.reset(7, CALM)
        put_at_goal(scene, lying=True)
        for _ in range(10):
            scene.step(still(scene))
        assert RestockScene.placed(scene)
        assert scene.placed() is counts


def test_the_freezer_must_be_closed() -> None:
    scene = freezer.FreezerScene(site_parameters(0))
    scene.reset(0, CALM)
    door = scene.model.joint("door").qposadr[0]
    put_at_goal(scene)
    scene.data.qpos[door] = 0.4
    for _ in range(8):
        scene.step(still(scene))
    assert scene.placed()
    assert not scene.success()
    scene.data.qpos[door] = 0.02
    for _ in range(4):
        scene.step(still(scene))
    assert scene.success()


def test_one_item_is_misplaced_and_its_own_slot_is_empty() -> None:
    scene = misplaced.MisplacedScene(site_parameters(3))
    for seed in range(20):
        scene.reset(seed, CALM)
        slots = np.array([(slot.x, slot.floor) for slot in scene.slots])
        standing = [int(np.square(slots - p[[0, 2]]).sum(axis=1).argmin()) for p in scene.items.positions()]
        wrong = [k for k in range(ITEMS) if scene.labels[standing[k]] != scene.item_names[k]]
        assert wrong == [scene.target]
        assert scene.labels[scene.goal] == scene.item_names[scene.target]
        assert scene.goal not in standing


# ---------------------------------------------------------------------- items and physics


@pytest.mark.parametrize("names", [ITEM_NAMES[start : start + ITEMS] for start in range(0, 12, ITEMS)], ids=str)
def test_bodies_become_items_in_weight_height_and_thickness(
    nominal_shelf: shelf.ShelfScene, names: tuple[str, ...]
) -> None:
    scene = nominal_shelf
    scene.reset(0, CALM)
    scene.items.become(list(names), scene.site)
    for index in range(ITEMS):
        scene.items.put(index, 0.15 * (index - 1), -0.2, 0.001, 0.0)
    mujoco.mj_step(scene.model, scene.data, 100)
    for index, name in enumerate(names):
        kind = ITEM_TYPES[name]
        assert scene.items.position(index)[2] == pytest.approx(kind.half_size[2], abs=1e-3)
        assert supporting_force(scene, index) == pytest.approx(9.81 * kind.mass, rel=0.02)
    assert grasped_width(scene, 2) == pytest.approx(2 * ITEM_TYPES[names[2]].half_size[0], abs=4e-3)


def supporting_force(scene: RestockScene, index: int) -> float:
    """Newtons with which the table holds an item up."""
    force, total = np.zeros(6), 0.0
    for number, pair in enumerate(scene.data.contact.geom):
        if scene.items.geoms[index] in pair:
            mujoco.mj_contactForce(scene.model, scene.data, number, force)
            total += force[0]
    return total


def lift(scene: RestockScene, index: int) -> None:
    """Grasp an item with the right hand and raise it by 12 cm."""
    x, y, z = scene.items.position(index)
    for height, grip, ticks in ((0.25, -1, 25), (z, -1, 15), (z, 1, 8), (z + 0.12, 1, 15)):
        for _ in range(ticks):
            action = still(scene)
            action[1] = x, y, height, 0.0, grip
            scene.step(action)


def grasped_width(scene: RestockScene, index: int) -> float:
    """Metres between the pads that hold an item."""
    lift(scene, index)
    return float(scene.hands.opening()[1])


def test_friction_decides_whether_an_item_slips(nominal_shelf: shelf.ShelfScene) -> None:
    heights = []
    for friction in (0.7, 0.02):
        nominal_shelf.reset(0, CALM)
        nominal_shelf.model.geom_friction[nominal_shelf.items.geoms, 0] = friction
        nominal_shelf.items.put(0, 0.15, -0.2, 0.001, 0.0)
        nominal_shelf.items.put(1, -0.15, -0.2, 0.001, 0.0)
        nominal_shelf.items.put(2, -0.15, -0.05, 0.001, 0.0)
        lift(nominal_shelf, 0)
        heights.append(nominal_shelf.items.position(0)[2] - nominal_shelf.items.half_sizes[0, 2])
    assert heights[0] > 0.08
    assert heights[1] < 0.02


def test_a_fallen_can_comes_to_rest(nominal_shelf: shelf.ShelfScene) -> None:
    scene = nominal_shelf
    scene.reset(0, CALM)
    scene.items.become(["soup", "milk", "rice"], scene.site)
    start = scene.model.joint("item0").qposadr[0]
    scene.data.qpos[start : start + 7] = 0.0, 0.0, 0.031, np.sqrt(0.5), 0, np.sqrt(0.5), 0
    scene.items.push(0, np.array([0.0, 0.2]))
    for _ in range(40):
        scene.step(still(scene))
    speed = scene.data.qvel[scene.model.joint("item0").dofadr[0] :][:2]
    assert np.abs(speed).max() < 0.01


# ---------------------------------------------------------------------- sites and disturbances


def test_sites_differ_in_furniture_friction_mass_and_items() -> None:
    nominal, other = (shelf.ShelfScene(site_parameters(seed)) for seed in (0, 1))
    assert nominal.slots != other.slots
    assert set(other.site.item_names) < set(nominal.site.item_names)
    for scene in (nominal, other):
        scene.reset(0, CALM)
        scene.items.become(["soap", "tea", "salt"], scene.site)
    for attribute in ("body_mass", "geom_friction", "geom_rgba"):
        assert not np.array_equal(getattr(nominal.model, attribute), getattr(other.model, attribute))


def test_every_site_has_cartons_enough_for_the_cooler() -> None:
    for seed in range(200):
        cartons = [name for name in site_parameters(seed).item_names if ITEM_TYPES[name].is_carton]
        assert len(cartons) >= ITEMS


def test_a_nudge_moves_the_target_alone(nominal_shelf: shelf.ShelfScene) -> None:
    scene = nominal_shelf
    scene.reset(0, CALM)
    before = scene.items.positions()
    scene.nudge(np.random.default_rng(1))
    for _ in range(8):
        scene.step(still(scene))
    moved = np.linalg.norm(scene.items.positions() - before, axis=1)
    assert moved[scene.target] > 0.003
    assert np.delete(moved, scene.target).max() < 0.002
