"""`fleetloop episodes play`: what the cameras saw, and who drove."""

import numpy as np
import pytest
from PIL import Image
from recorded import BLIND, SEEING, record
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.cli.playing import BAR, COLOURS, HEIGHT
from fleetloop.core.frame import Source
from fleetloop.datasets.video import read_video

WIDTH = sum(2 * round(camera.width * HEIGHT / camera.height / 2) for camera in SEEING.cameras)


def play(episode, out):
    return CliRunner().invoke(app, ["episodes", "play", str(episode), "--out", str(out)], env={"COLUMNS": "200"})


@pytest.fixture
def episode(tmp_path):
    one = record(tmp_path / "recorded", 0, frames=6)
    return tmp_path / "recorded" / f"{one.meta.id}.arrow"


def test_a_video_shows_every_frame_under_the_colour_of_who_drove(tmp_path, episode):
    assert play(episode, tmp_path / "episode.mp4").exit_code == 0
    frames = list(read_video(tmp_path / "episode.mp4", first_s=0, count=6, hz=12.5))
    assert frames[0].shape == (HEIGHT + BAR, WIDTH, 3)
    for index, frame in enumerate(frames):
        driver = Source.HUMAN if index in (2, 3) else Source.POLICY
        assert np.abs(frame[1:4].mean((0, 1)) - COLOURS[driver]).max() < 25, index


def test_a_contact_sheet_shows_some_frames(tmp_path, episode):
    assert play(episode, tmp_path / "sheet.png").exit_code == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (HEIGHT + BAR, 6 * WIDTH, 3)
    assert tuple(sheet[1, 5]) == COLOURS[Source.POLICY]
    assert tuple(sheet[1, 2 * WIDTH + 5]) == COLOURS[Source.HUMAN]


@pytest.mark.extras
@pytest.mark.parametrize("spec", [SEEING, BLIND], ids=["seeing", "blind"])
def test_a_rerun_recording_has_everything(tmp_path, spec):
    from rerun import chunk as chunks

    one = record(tmp_path / "recorded", 0, frames=6, spec=spec)
    assert play(tmp_path / "recorded" / f"{one.meta.id}.arrow", tmp_path / "episode.rrd").exit_code == 0
    found: dict[str, int] = {}
    for chunk in chunks.RrdReader(tmp_path / "episode.rrd").stream().to_chunks():
        found[chunk.entity_path] = found.get(chunk.entity_path, 0) + chunk.num_rows
    assert found.pop("/source") == 3  # policy, human, policy
    states = {f"/state/{feature.name}" for feature in spec.state}
    everything = {"/action", "/action_requested", *states, *(f"/camera/{camera.name}" for camera in spec.cameras)}
    assert {name for name, rows in found.items() if rows == 6} == everything


def test_what_can_not_be_shown_is_said(tmp_path, episode):
    assert "let it end in" in play(episode, tmp_path / "episode.txt").stderr
    assert "can't be written" in play(episode, tmp_path / "nowhere" / "sheet.png").stderr
    blind = record(tmp_path / "blind", 1, spec=BLIND)
    said = play(tmp_path / "blind" / f"{blind.meta.id}.arrow", tmp_path / "sheet.png").stderr
    assert "without cameras" in said
    assert "fleetloop sim view" in said
