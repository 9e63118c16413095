"""Typed errors: one line for a person, and the same error in another process."""

import pickle

import pytest

from fleetloop.core.errors import EpisodeInvalid, FleetLoopError, HubRefused


@pytest.mark.parametrize(
    "error", [EpisodeInvalid("spec", "is missing"), HubRefused("id", "is known", "choose another", status=409)]
)
def test_an_error_crosses_processes_as_it_was(error: FleetLoopError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
