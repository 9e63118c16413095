"""The built-in policy: what it learns, what its loss counts, and that a release of it acts as it does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toys import GRIPPERS, NAMES, THINGS, VECTOR, fresh, instruction, observation, scenes, train, vectors

from fleetloop.core.errors import ReleaseInvalid, SpecMismatch
from fleetloop.core.release import Release
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec, RobotSpec, check_fit
from fleetloop.learner.export import exact_weights, is_statistic, release_weights, statistics_hash
from fleetloop.policies.flow import FlowPolicy
from fleetloop.policies.statistics import Statistics
from fleetloop.policies.vocabulary import word_ids
from fleetloop.weights import codec
from manifests import manifest_of


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def fetcher() -> FlowPolicy:
    """Has learned from actions alone, without labels, to fetch what it is told to."""
    policy, rng = fresh(GRIPPERS), np.random.default_rng(0)
    train(policy, lambda size: scenes(rng, size, labels=False), 150)
    return policy


@pytest.fixture(scope="module")
def vector_policy() -> FlowPolicy:
    policy, rng = fresh(VECTOR), np.random.default_rng(0)
    train(policy, lambda size: vectors(rng, size), 250)
    return policy


def chunk(policy, batch, row, *, say=None, condition=None, seed=0):
    rng, said = np.random.default_rng(seed), instruction(batch, row) if say is None else say
    return policy.chunk(observation(batch, row), said, condition, rng=rng)


def losses(policy, batch, seed=0):
    with torch.no_grad():
        return policy.loss(batch, rng=torch.Generator().manual_seed(seed)).numpy()


# ---------------------------------------------------------------------- learning


def test_the_distance_between_policies_is_between_what_they_answer():
    policy, other, nothing = fresh(GRIPPERS), fresh(GRIPPERS), fresh(GRIPPERS, seed=1)
    batch = scenes(np.random.default_rng(0), 8)

    def distance(one, two, **changes):
        return one.distance(two, replace(batch, **changes), rng=torch.Generator().manual_seed(0))

    assert torch.equal(distance(policy, other), torch.zeros(8))
    far = distance(policy, nothing)
    assert (far > 0).all()
    far.mean().backward()
    assert all(weight.grad is None for weight in nothing.parameters())
    assert policy.trunk.out.weight.grad.abs().sum() > 0
    mask = batch.mask.copy()
    mask[:, 2:] = 0
    assert not torch.equal(distance(policy, nothing, mask=mask), far)
    assert distance(policy, nothing, mask=np.zeros_like(mask)).sum() == 0


def share_fetched(policy, batch, say) -> float:
    """How often the left gripper's last set-point is nearest to the thing that the true instruction names."""
    nearest = [
        np.linalg.norm(
            batch.state["entities"][row, :4, :3] - chunk(policy, batch, row, say=say(row))[-1, :3], axis=1
        ).argmin()
        for row in range(len(batch))
    ]
    named = batch.state["named"].argmax(axis=1)
    return float(np.mean(nearest == named))


def test_words_choose_the_thing(fetcher):
    batch = scenes(np.random.default_rng(1), 40)
    assert share_fetched(fetcher, batch, lambda row: instruction(batch, row)) > 0.9


def test_with_shuffled_instructions_it_is_chance(fetcher):
    batch = scenes(np.random.default_rng(1), 40)
    assert share_fetched(fetcher, batch, lambda row: instruction(batch, (row + 1) % 40)) < 0.5


def test_the_order_of_the_entities_does_not_matter_to_what_is_fetched(fetcher):
    batch = scenes(np.random.default_rng(1), 40)
    order = [3, 2, 1, 0, *range(4, 12)]
    state = {name: values[:, order] if name != "hands" else values for name, values in batch.state.items()}
    assert share_fetched(fetcher, replace(batch, state=state), lambda row: instruction(batch, row)) > 0.9


def test_labels_of_what_is_named_are_no_input(fetcher):
    batch = scenes(np.random.default_rng(1), 4)
    assert "named" not in {feature.name for feature in fetcher.spec.inputs}
    wrong = replace(batch, state={**batch.state, "named": np.roll(batch.state["named"], 1, axis=1)})
    assert np.array_equal(chunk(fetcher, batch, 0), chunk(fetcher, wrong, 0))


def test_labels_of_what_is_named_help_where_there_are_any():
    batch = scenes(np.random.default_rng(1), 64)
    wrong = replace(batch, state={**batch.state, "named": np.roll(batch.state["named"], 1, axis=1)})
    unknown = replace(batch, state={**batch.state, "named": np.full((64, 12), -1, np.int32)})
    policy, rng = fresh(GRIPPERS, grounding_weight=1.0), np.random.default_rng(0)
    train(policy, lambda size: scenes(rng, size), 30)
    assert losses(policy, batch).mean() < losses(policy, wrong).mean()
    assert losses(policy, unknown).mean() <= losses(policy, batch).mean()


def test_a_robot_that_is_just_numbers_is_learned_too(vector_policy):
    batch = vectors(np.random.default_rng(1), 50)
    errors = [np.abs(chunk(vector_policy, batch, row) - batch.actions[row]).mean() for row in range(50)]
    guess = np.abs(batch.actions).mean()
    assert np.mean(errors) < 0.15 * guess


@pytest.mark.parametrize(("inputs", "actions"), [(0.003, [1.0, 1.0]), (1.0, [0.0005, 1.0])])
def test_a_robot_may_count_in_small_units(inputs, actions):
    """A millimetre a tick, told in metres, beside a gripper that is told from -1 to 1."""
    rng = np.random.default_rng(0)

    def small(size):
        batch = vectors(rng, size)
        state = {name: values * np.float32(inputs) for name, values in batch.state.items()}
        return replace(batch, state=state, actions=batch.actions * np.array(actions, np.float32))

    policy = fresh(VECTOR)
    train(policy, small, 200)
    batch = small(50)
    errors = np.mean([np.abs(chunk(policy, batch, row) - batch.actions[row]).mean(0) for row in range(50)], 0)
    assert (errors < 0.15 * np.abs(batch.actions).mean((0, 1))).all()


def test_statistics_of_nothing_stay_as_they_are():
    """A robot that never shows a thing, an encoder that finds none."""
    statistics = Statistics(3)
    statistics.fit(torch.zeros(0, 3))
    assert (statistics.mean.tolist(), statistics.deviation.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_what_never_varied_is_not_magnified():
    policy, batch = fresh(VECTOR), vectors(np.random.default_rng(0), 64)
    batch.state["joints"][:, 0] = 0.7 + 1e-6 * batch.state["joints"][:, 0]
    batch.actions[..., 1] = 0.3
    policy.fit_statistics(batch)
    assert policy.encoder.stats["plain"].deviation[0] == policy.frame.stats.deviation[1] == 1


def test_a_condition_chooses_between_two_ways():
    rng = np.random.default_rng(0)

    def both_ways(size):
        indicator = rng.integers(-1, 2, size).astype(np.int8)
        batch = vectors(rng, size, indicator=indicator)
        way = np.where(indicator == 1, 1.0, np.where(indicator == 0, -1.0, 0.0))
        return replace(batch, actions=np.broadcast_to(way[:, None, None], batch.actions.shape).astype(np.float32))

    policy = fresh(VECTOR)
    train(policy, both_ways, 200)
    batch = vectors(rng, 1)
    means = [chunk(policy, batch, 0, condition=condition).mean() for condition in ("negative", None, "positive")]
    assert means == pytest.approx([-1, 0, 1], abs=0.2)


def test_set_points_are_told_relative_to_the_grippers():
    batch, policy = scenes(np.random.default_rng(1), 1), fresh(GRIPPERS)
    hands, entities = batch.state["hands"].copy(), batch.state["entities"].copy()
    hands[..., 0] += 50
    entities[..., 0] += 50
    elsewhere = replace(batch, state={**batch.state, "hands": hands, "entities": entities})
    here, there = (chunk(policy, one, 0).reshape(-1, 2, 5) for one in (batch, elsewhere))
    assert there[..., 0] == pytest.approx(here[..., 0] + 50, abs=2)
    assert there[..., 1:] == pytest.approx(here[..., 1:], abs=2)


def test_a_turn_is_told_the_short_way_round():
    """A gripper measured at -3.08 rad is 0.003 rad from a set-point at 3.2, and not a whole turn."""
    frame = fresh(GRIPPERS).frame
    hands = torch.zeros(1, 2, 8)
    fields = next(feature for feature in GRIPPERS.state if feature.name == "hands").fields
    hands[..., fields.index("sin_yaw")], hands[..., fields.index("cos_yaw")] = np.sin(-3.08), np.cos(-3.08)
    actions = torch.zeros(1, 1, 10)
    actions[..., 3], actions[..., 8] = 3.2, -3.0
    encoded = frame.encode(actions, {"hands": hands})
    moved = (encoded * frame.scale)[0, 0]
    assert moved[3].item() == pytest.approx(6.28 - 2 * np.pi, abs=1e-4)
    assert moved[8].item() == pytest.approx(0.08, abs=1e-4)


def test_grippers_that_are_moved_by_other_numbers_than_set_points_are_learned_too():
    """Where an action is no place, nothing ties it to one."""
    joints = replace(GRIPPERS, action=FeatureSpec("joints", (14,)))
    policy, rng = fresh(joints), np.random.default_rng(0)
    batch = scenes(rng, 8)
    batch = replace(batch, actions=rng.normal(size=(8, 4, 14)).astype(np.float32))
    policy.fit_statistics(batch)
    assert np.isfinite(losses(policy, batch)).all()
    assert chunk(policy, batch, 0).shape == (4, 14)
    acting = FlowPolicy.acting(policy.config, policy.spec, exact_weights(policy.state_dict()))
    said = instruction(batch, 0)
    ours = acting.chunk(observation(batch, 0), said, None, rng=np.random.default_rng(0))
    np.testing.assert_allclose(ours, chunk(policy, batch, 0), atol=1e-4)


# ---------------------------------------------------------------------- loss


@pytest.mark.parametrize(("robot", "draw"), [(VECTOR, vectors), (GRIPPERS, scenes)])
def test_there_is_one_finite_loss_per_sample(robot, draw):
    found = losses(fresh(robot), draw(np.random.default_rng(0), 9))
    assert found.shape == (9,)
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_what_stands_in_masked_steps_is_never_learned():
    rng = np.random.default_rng(0)

    def cut_short(size):
        batch = vectors(rng, size)
        mask = (np.arange(4) < rng.integers(1, 5, size)[:, None]).astype(np.float32)
        return replace(batch, mask=mask, actions=np.where(mask[:, :, None] > 0, batch.actions, 3).astype(np.float32))

    policy = fresh(VECTOR)
    train(policy, cut_short, 200)
    batch = vectors(rng, 30)
    errors = [np.abs(chunk(policy, batch, row) - batch.actions[row]).mean() for row in range(30)]
    assert np.mean(errors) < 0.3


def test_a_sample_without_any_step_costs_nothing():
    batch = vectors(np.random.default_rng(0), 3)
    found = losses(fresh(VECTOR), replace(batch, mask=np.array([[1] * 4, [0] * 4, [1] * 4], np.float32)))
    assert found[1] == 0
    assert (found[[0, 2]] > 0).all()


def test_the_same_generator_gives_the_same_loss():
    policy, batch = fresh(VECTOR), vectors(np.random.default_rng(0), 5)
    assert np.array_equal(losses(policy, batch, 3), losses(policy, batch, 3))
    assert not np.array_equal(losses(policy, batch, 3), losses(policy, batch, 4))


# ---------------------------------------------------------------------- acting


@pytest.mark.parametrize(("robot", "draw"), [(VECTOR, vectors), (GRIPPERS, scenes)])
def test_a_chunk_is_of_the_stated_shape_and_repeats(robot, draw):
    policy, batch = fresh(robot), draw(np.random.default_rng(0), 2)
    first = chunk(policy, batch, 0)
    assert (first.shape, first.dtype) == ((4, *robot.action.shape), np.float32)
    assert np.array_equal(first, chunk(policy, batch, 0))
    assert not np.array_equal(first, chunk(policy, batch, 1))


@pytest.mark.parametrize(("temperature", "same"), [(0, True), (1, False)])
def test_only_a_policy_with_a_temperature_samples(temperature, same):
    policy, batch = fresh(GRIPPERS, temperature=temperature), scenes(np.random.default_rng(0), 1)
    assert np.array_equal(chunk(policy, batch, 0, seed=0), chunk(policy, batch, 0, seed=1)) is same


def test_any_instruction_can_be_said(fetcher):
    batch = scenes(np.random.default_rng(0), 1)
    for text in ("", "…", "Zürich 東京", "fetch " * 200):
        assert np.isfinite(chunk(fetcher, batch, 0, say=text)).all()


@pytest.mark.parametrize(
    ("one", "other"), [("открой ящик", "закрой ящик"), ("打开抽屉", "关上抽屉"), ("Schüssel", "Schussel")]
)
def test_words_of_any_script_are_told_apart(one, other):
    assert word_ids(one) != word_ids(other)
    assert word_ids("put the red-ball_2 away") == word_ids("put the red ball 2 away")


def test_a_camera_may_have_any_name():
    cameras = tuple(CameraSpec(name, 8, 8) for name in ("wrist.left", "type", "a/b"))
    policy, rng = fresh(replace(VECTOR, cameras=cameras), observe="images"), np.random.default_rng(0)
    images = {camera.name: rng.integers(0, 255, (8, 8, 3), np.uint8) for camera in cameras}
    times = dict.fromkeys(images, 0.0)
    seen = [
        replace(observation(vectors(np.random.default_rng(0), 1), 0), images=shown, images_taken=times)
        for shown in (images, dict(reversed(images.items())), {**images, "type": images["a/b"]})
    ]
    one, reordered, other = (policy.chunk(item, "do it", None, rng=np.random.default_rng(0)) for item in seen)
    np.testing.assert_array_equal(one, reordered)
    assert not np.array_equal(one, other)


def test_its_spec_fits_the_robot_that_it_was_built_for():
    for robot in (VECTOR, GRIPPERS):
        check_fit(robot, fresh(robot).spec)
        assert PolicySpec.from_json(fresh(robot).spec.to_json()) == fresh(robot).spec


def test_a_robot_or_an_option_that_does_not_fit_is_refused():
    with pytest.raises(SpecMismatch, match="action"):
        FlowPolicy.build({}, RobotSpec("matrix", VECTOR.state, FeatureSpec("action", (2, 2)), 10.0))
    with pytest.raises(SpecMismatch, match=r"state: the robot has no feature.*measure something besides its pictures"):
        FlowPolicy.build({"observe": "images"}, replace(VECTOR, state=(), cameras=(CameraSpec("eye", 8, 8),)))
    with pytest.raises(SpecMismatch, match="cameras: the robot shows none"):
        FlowPolicy.build({"observe": "images"}, GRIPPERS)
    with pytest.raises(ValidationError, match="widht"):
        FlowPolicy.build({"widht": 3}, GRIPPERS)
    with pytest.raises(ValidationError, match="execute is above horizon"):
        FlowPolicy.build({"horizon": 2}, GRIPPERS)


# ---------------------------------------------------------------------- statistics


def test_statistics_stay_while_it_trains():
    policy, rng = fresh(GRIPPERS), np.random.default_rng(0)
    policy.fit_statistics(scenes(rng, 256))
    fitted = statistics_hash(policy.state_dict())
    assert fitted != statistics_hash(fresh(GRIPPERS).state_dict())
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    policy.train()
    for _ in range(3):
        policy.loss(scenes(rng, 16), rng=torch.Generator().manual_seed(0)).sum().backward()
        optimizer.step()
    assert statistics_hash(policy.state_dict()) == fitted


def test_a_feature_that_never_varies_does_no_harm():
    batch = vectors(np.random.default_rng(0), 64)
    still = replace(batch, state={**batch.state, "joints": np.ones_like(batch.state["joints"])})
    policy = fresh(VECTOR)
    policy.fit_statistics(still)
    assert np.isfinite(losses(policy, batch)).all()


# ---------------------------------------------------------------------- releases


def through_a_release(policy, weights):
    encoded = codec.encode(weights)
    release = manifest_of(encoded, policy.spec, policy={"name": "flow", "config": policy.config})
    received = Release.from_json(release.to_json())
    decoded = codec.decode(received, encoded.fetch)
    return FlowPolicy.acting(received.policy["config"], received.policy_spec(), decoded)


def test_unrounded_weights_act_bit_for_bit_as_the_policy(fetcher, vector_policy):
    for policy, draw in ((fetcher, scenes), (vector_policy, vectors)):
        acting = through_a_release(policy, exact_weights(policy.state_dict()))
        batch = draw(np.random.default_rng(2), 5)
        for row in range(5):
            assert np.array_equal(chunk(acting, batch, row), chunk(policy, batch, row))


def test_a_release_rounds_to_bf16_and_still_fetches(fetcher):
    weights = release_weights(fetcher.state_dict())
    assert {array.dtype.name for name, array in weights.items() if not is_statistic(name)} == {"bfloat16"}
    one, other = through_a_release(fetcher, weights), through_a_release(fetcher, weights)
    batch = scenes(np.random.default_rng(1), 40)
    assert np.array_equal(chunk(one, batch, 0), chunk(other, batch, 0))
    assert statistics_hash(one.state_dict()) == statistics_hash(fetcher.state_dict())
    assert share_fetched(one, batch, lambda row: instruction(batch, row)) > 0.9


def test_weights_that_do_not_fit_are_named():
    policy = fresh(VECTOR)
    weights = exact_weights(policy.state_dict())
    name = sorted(weights)[0]

    def refusal(changed):
        with pytest.raises(ReleaseInvalid) as raised:
            FlowPolicy.acting(policy.config, policy.spec, changed)
        return str(raised.value)

    without = {key: array for key, array in weights.items() if key != name}
    assert refusal(without) == f"tensor {name}: is missing"
    assert "tensor spare: is unknown" in refusal({**weights, "spare": np.zeros(2, np.float32)})
    assert f"tensor {name}: has the shape (1, 1, 1)" in refusal({**weights, name: np.zeros((1, 1, 1), np.float32)})


def test_the_toys_name_things_that_the_simulation_has():
    assert set(THINGS) <= set(NAMES)


def test_features_of_64_bits_and_single_numbers_are_as_good_as_any():
    """In training and acting: what a robot may say of itself, no base may fail on."""
    speed = FeatureSpec("speed", (), "float64")
    state = tuple(replace(item, dtype="float64") if item.dtype == "float32" else item for item in GRIPPERS.state)
    robot, rng = replace(GRIPPERS, state=(*state, speed)), np.random.default_rng(0)
    batch = scenes(rng, 8)
    wide = {item.name: batch.state[item.name].astype(item.dtype) for item in state if item.name in batch.state}
    batch = replace(batch, state={**wide, "speed": rng.uniform(-1, 1, 8)})
    policy = fresh(robot)
    policy.fit_statistics(batch)
    losses = policy.loss(batch, rng=torch.Generator().manual_seed(0))
    assert torch.isfinite(losses).all()
    acting = FlowPolicy.acting(policy.config, policy.spec, exact_weights(policy.state_dict()))
    chunks = [
        one.chunk(observation(batch, 0), instruction(batch, 0), rng=np.random.default_rng(1))
        for one in (policy.eval(), acting)
    ]
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-4)
