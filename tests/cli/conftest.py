"""What tests of several commands share."""

import sys

import pytest
from shelf import CALM, SHELF

from fleetloop.cli.base import make_base
from fleetloop.cli.config import load_config
from fleetloop.core.plugins import plugin
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.learner.assemble import open_demonstrations


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Two demonstrations, and a base made of them."""
    directory = tmp_path_factory.mktemp("room")
    record_demonstrations(directory / "demonstrations", {SHELF: 2}, CALM, processes=1)
    config = load_config(
        None,
        ["policy.options.width=16", "policy.options.depth=1", "pretrain.steps=3", "pretrain.batch=8"],
        {"directories.base": str(directory / "base")},
    )
    make_base(config, open_demonstrations(directory / "demonstrations"))
    return directory


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
