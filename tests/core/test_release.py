"""Manifests."""

import json
from typing import Any

import pytest

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.release import BlobEntry, Encoding, Release, TensorEntry
from fleetloop.core.spec import FeatureSpec, PolicySpec

SPEC = PolicySpec((FeatureSpec("hands", (4,)),), FeatureSpec("hands", (2,)), 8, 4, 20)
RELEASE = Release(
    run="run",
    step=25,
    parent=1,
    trained_through=7,
    policy={"name": "flow", "width": 64},
    spec=json.loads(json.dumps(SPEC.to_json())),
    spec_hash=SPEC.hash(),
    config_hash="c",
    statistics_hash="s",
    conditions=("positive",),
    tensors=(TensorEntry("head", "bfloat16", (2, 3), "h"),),
    encodings=(Encoding("full/1", 0, (BlobEntry("b", 12),)),),
    result_hash="r",
    clock_s=1.5,
    covers=("e",),
)


def test_a_manifest_survives_json() -> None:
    numbered = RELEASE.numbered(3)
    assert Release.from_json(json.loads(json.dumps(numbered.to_json()))) == numbered
    assert numbered.policy_spec() == SPEC


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "format"),
        ({"colour": "blue"}, "colour"),
        ({"tensors": [{"name": "x"}]}, "manifest"),
        ({"encodings": 3}, "manifest"),
    ],
)
def test_a_wrong_manifest_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ReleaseInvalid, match=words):
        Release.from_json({**RELEASE.to_json(), **change})


def test_a_missing_field_is_named() -> None:
    data = RELEASE.to_json()
    data.pop("encodings")
    with pytest.raises(ReleaseInvalid, match="encodings"):
        Release.from_json(data)
