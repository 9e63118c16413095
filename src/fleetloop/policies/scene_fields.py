"""Which fields of `hands` and `entities` the relative features are made of, found by name in the spec."""

from fleetloop.core.spec import FeatureSpec

AXES = ("x", "y", "z", "yaw", "grip")  # of an action, for each gripper
POSITION = ("x", "y", "z")
X_AXIS = ("x_axis_x", "x_axis_y", "x_axis_z")
Z_AXIS = ("z_axis_x", "z_axis_y", "z_axis_z")
YAW = ("sin_yaw", "cos_yaw")
NEAR = 0.03  # metres: within about this distance a gripper must be exact, so tanh(offset / NEAR) spreads it
LEAST_DEVIATION = 0.05  # metres, and sines of angles: what demonstrations hardly varied is not magnified
PER_HAND = 11
MOST_ALIKE = 30.0  # the exponent at which two names are alike enough
TINY = 1e-6  # square metres: keeps the gradient of a length finite at 0


def has_grippers(hands: FeatureSpec | None) -> bool:
    """Whether this state feature says of some grippers, (n, …), where each one is and how it is turned."""
    return hands is not None and len(hands.shape) == 2 and {*POSITION, *YAW} <= set(hands.fields)


def moves_grippers(hands: FeatureSpec | None, action: FeatureSpec) -> bool:
    """Whether the action moves exactly the grippers that this state feature observes."""
    return hands is not None and has_grippers(hands) and action.shape[0] == hands.shape[0] * len(AXES)


def has_scene(features: tuple[FeatureSpec, ...]) -> bool:
    """Whether these state features carry grippers, and entities: their poses, their names, which of them are used."""
    by_name = {feature.name: feature for feature in features}
    if not {"entities", "mask", "names"} <= by_name.keys():
        return False
    entities, mask, names = by_name["entities"], by_name["mask"], by_name["names"]
    told = {*POSITION, *X_AXIS, *Z_AXIS} <= set(entities.fields) and names.categories
    fitting = len(entities.shape) == len(names.shape) == 2 and mask.shape == entities.shape[:1] == names.shape[:1]
    return bool(told and fitting) and has_grippers(by_name.get("hands"))


def columns(feature: FeatureSpec, names: tuple[str, ...]) -> list[int]:
    """Where these fields stand along the feature's last axis."""
    return [feature.fields.index(name) for name in names]
