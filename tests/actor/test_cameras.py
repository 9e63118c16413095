"""A frozen camera is noticed, and a slow one is not taken for one."""

from dataclasses import replace

import pytest
from slider import HZ, Slider, with_camera
from stage import Stage


class Filmed(Slider):
    """Its camera gives a picture every `period_s`, and none after `breaks_at`; `ahead_s`: by another clock."""

    def __init__(self, period_s: float, breaks_at: float = 1e9, ahead_s: float = 0.0) -> None:
        super().__init__(spec=with_camera())
        self.period_s, self.breaks_at, self.ahead_s = period_s, breaks_at, ahead_s

    def observe(self):
        seen = super().observe()
        last = min(seen.taken, self.breaks_at)
        taken = self.ahead_s + last - last % self.period_s
        return replace(seen, images_taken=dict.fromkeys(seen.images, taken))


def alarms(root, robot, seconds):
    """The alarm at every tick for so long."""
    stage = Stage(root, robot=robot)
    stage.install(1)
    seen = []
    while stage.clock.now() < seconds:
        stage.step()
        seen.append(stage.status.alarm)
    return seen


@pytest.mark.parametrize("period_s", [1 / HZ, 0.1, 0.5])
def test_a_slow_camera_is_no_frozen_one(tmp_path, period_s):
    assert set(alarms(tmp_path, Filmed(period_s), 10.0)) == {""}


@pytest.mark.parametrize("ahead_s", [0.0, 1.7e9])
def test_a_frozen_camera_raises_an_alarm_by_whichever_clock_it_tells_the_time(tmp_path, ahead_s):
    seen = alarms(tmp_path, Filmed(0.1, breaks_at=3.0, ahead_s=ahead_s), 6.0)
    assert seen[-1] == "cameras: no new image of top for 1 s, by its `images_taken`"
    assert 3.5 * HZ < seen.count("") < 4.4 * HZ


def test_the_alarm_goes_when_the_camera_is_back(tmp_path):
    robot = Filmed(0.1, breaks_at=3.0)
    stage = Stage(tmp_path, robot=robot)
    stage.install(1)
    stage.until(lambda: "cameras" in stage.status.alarm)
    robot.breaks_at = 1e9
    stage.until(lambda: not stage.status.alarm)


def test_pictures_that_come_but_are_old_raise_it_too(tmp_path):
    assert "no new image of top" in alarms(tmp_path, Filmed(1 / HZ, ahead_s=-2.0), 3.0)[-1]
