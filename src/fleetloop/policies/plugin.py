"""The built-in policy as a plug-in: torch is imported by those who train it, not by the robots that run it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt

from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.spec import PolicySpec, RobotSpec
from fleetloop.policies.flow_on_robot import FlowOnRobot
from fleetloop.policies.flow_options import FlowOptions

if TYPE_CHECKING:
    from fleetloop.policies.flow import FlowPolicy


class Flow:
    """What the entry point `flow` names."""

    Options: ClassVar[type[FlowOptions]] = FlowOptions

    @staticmethod
    def build(config: Mapping[str, Any], robot: RobotSpec) -> "FlowPolicy":
        """A fresh policy to train; see `FlowPolicy.build`."""
        from fleetloop.policies.flow import FlowPolicy

        return FlowPolicy.build(config, robot)

    @staticmethod
    def seeing(config: Mapping[str, Any], robot: RobotSpec, encoder: Path) -> "FlowPolicy":
        """A fresh policy to train that sees through the frozen image encoder in a directory.

        Raises:
            EncoderInvalid: if there is none, or it was made for other images.
            ConfigInvalid: unless `observe` is `images`.
        """
        from fleetloop.policies.flow import FlowPolicy
        from fleetloop.policies.sight_file import encoder_options, load_eyes

        if FlowOptions(**config).observe != "images":
            raise ConfigInvalid("policy.options.observe", "is `state`, which needs no encoder", "set it to `images`")
        known = encoder_options(encoder, FlowPolicy.build(config, robot).spec.cameras)
        policy = FlowPolicy.build({**config, "sight": known.model_dump(mode="json")}, robot)
        assert policy.encoder.sight is not None
        load_eyes(encoder, policy.encoder.sight)
        return policy

    @staticmethod
    def acting(config: Mapping[str, Any], spec: PolicySpec, weights: Mapping[str, npt.NDArray[Any]]) -> ActingPolicy:
        """A release's policy: in numpy, or in torch where it looks through cameras."""
        if not spec.cameras:
            return FlowOnRobot(config, spec, weights)
        from fleetloop.policies.flow import FlowPolicy

        return FlowPolicy.acting(config, spec, weights)
