"""Manifests for tests, in one place: what a release consists of changes now and then."""

from dataclasses import replace

from fleetloop.core.release import Release
from fleetloop.core.spec import PolicySpec
from fleetloop.weights.codec import Encoded


def manifest_of(encoded: Encoded, spec: PolicySpec | None = None, /, **changes: object) -> Release:
    """An unsigned release of these weights, the first of its run unless the changes say otherwise."""
    release = Release(
        run="run",
        step=1,
        parent=0,
        trained_through=0,
        policy={},
        spec=spec.to_json() if spec else {},
        spec_hash=spec.hash() if spec else "",
        config_hash="c",
        statistics_hash="s",
        conditions=(),
        tensors=encoded.tensors,
        encodings=(encoded.encoding(),),
        result_hash=encoded.result_hash,
        clock_s=0.0,
    )
    return replace(release, **changes)  # type: ignore[arg-type]
