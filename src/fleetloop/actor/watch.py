"""What can go wrong with a robot that drives on without any error."""

from fleetloop.actor.attempt import Attempt
from fleetloop.actor.cameras import Cameras
from fleetloop.actor.inference import Inference
from fleetloop.actor.options import ActorOptions
from fleetloop.actor.supply import Supply
from fleetloop.core.alarm import Alarms
from fleetloop.core.frame import Frame, Source
from fleetloop.core.spec import RobotSpec


class Watch:
    """Raises alarms about a policy that is too slow and about cameras that are frozen."""

    def __init__(self, spec: RobotSpec, inference: Inference, options: ActorOptions, alarms: Alarms) -> None:
        self._inference = inference
        self._supply = Supply(spec.control_hz, alarms)
        self._cameras = Cameras([camera.name for camera in spec.cameras], options.frozen_camera_s, alarms)

    def note(self, attempt: Attempt, frame: Frame | None, now: float) -> None:
        """Take in a tick that came to `frame`, at `now` (clock seconds)."""
        if attempt.starved or (frame is not None and frame.source is Source.POLICY):
            self._supply.note(attempt.starved, horizon=attempt.horizon, chunk_s=self._inference.took_s)
        if frame is not None:
            self._cameras.note(frame.observation, now)
