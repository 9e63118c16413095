"""The disk seam: whole files or none, locks that die with their holder, errors that say what to do."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.episode import EpisodeMeta
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.recording import Recording
from fleetloop.core.spec import FeatureSpec, RobotSpec

disk = RealDisk()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_write_replaces_a_file_as_a_whole(tmp_path: Path, old: bytes, new: bytes) -> None:
    disk.write(tmp_path / "file", old)
    disk.write(tmp_path / "file", new)
    assert (tmp_path / "file").read_bytes() == new
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.write(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskTrouble, match="full"):
        disk.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_names_of_new_and_renamed_files_are_forced_onto_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    directory = tmp_path.stat().st_ino
    with disk.create(tmp_path / "new"):
        disk.sync_name(tmp_path / "new")
    assert synced == [directory]
    disk.rename(tmp_path / "new", tmp_path / "renamed")
    assert synced == [directory] * 2
    disk.write(tmp_path / "written", b"all of it")
    assert synced == [directory] * 2 + [(tmp_path / "written").stat().st_ino, directory]


def test_a_recordings_name_is_forced_onto_the_disk_before_its_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    spec = RobotSpec("slider", (), FeatureSpec("target", (2,)), 20.0)
    meta = EpisodeMeta("0" * 26, "run", "robot", "site", "task", "", "online", spec)
    recording = Recording(disk, tmp_path, meta)
    assert synced == [tmp_path.stat().st_ino]
    recording.abandon()


def test_a_file_is_in_use_for_as_long_as_its_writer_lives(tmp_path: Path) -> None:
    path = tmp_path / "file"
    script = "import sys,pathlib; from fleetloop.core.disk import RealDisk; "
    script += "f = RealDisk().create(pathlib.Path(sys.argv[1])); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        writer.stdout.readline()
        assert disk.in_use(path)
        writer.kill()
        writer.wait()
        assert not disk.in_use(path)
    assert not disk.in_use(tmp_path / "nothing")


def test_a_file_that_is_gone_can_be_removed(tmp_path: Path) -> None:
    disk.remove(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "may write"), (errno.EROFS, "may write"), (errno.EIO, "Input")],
)
def test_an_error_says_what_to_do(number: int, words: str) -> None:
    import os

    assert words in str(disk_trouble(Path("/data"), OSError(number, os.strerror(number))))


def test_a_directory_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskTrouble, match="file"):
        disk.make(tmp_path / "file" / "below")
