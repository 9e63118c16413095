"""What tests of several commands share."""

import pytest
from shelf import CALM, SHELF

from fleetloop.cli.base import make_base
from fleetloop.cli.config import load_config
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
