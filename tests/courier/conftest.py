"""Fixtures of the courier's tests."""

import pytest
from stepped import Courier


@pytest.fixture
def courier(tmp_path):
    return Courier(tmp_path)
