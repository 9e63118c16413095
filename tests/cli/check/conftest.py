"""Plug-ins of a test's own, installed where the commands are then started."""

import sys

import pytest

from fleetloop.core.plugins import plugin


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What installs a package of one module, here where the commands are then started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, entry_points, source):
        metadata = tmp_path / f"{name}-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(entry_points)
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield install
    plugin.cache_clear()
