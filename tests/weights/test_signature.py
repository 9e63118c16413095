"""Signed manifests: what is signed, who may have signed, and what a robot refuses."""

import errno
import json
import os
import stat
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleetloop.core.errors import ConfigInvalid, DiskTrouble, ReleaseInvalid
from fleetloop.core.release import BlobEntry, Encoding, Release, TensorEntry
from fleetloop.core.spec import FeatureSpec, PolicySpec
from fleetloop.weights.signature import Trust, make_key, open_key

SPEC = PolicySpec((FeatureSpec("hands", (4,)),), FeatureSpec("hands", (2,)), 8, 4, 20)
RELEASE = Release(
    run="run",
    step=25,
    parent=1,
    trained_through=7,
    policy={"name": "flow", "config": {"width": 64, "rate": 1e-5}},
    spec=SPEC.to_json(),
    spec_hash=SPEC.hash(),
    config_hash="c",
    statistics_hash="s",
    conditions=("positive",),
    tensors=(TensorEntry("head", "bfloat16", (2, 3), "h"),),
    encodings=(Encoding("full/1", 0, (BlobEntry("b", 12),)),),
    result_hash="r",
    clock_s=1.5,
    held_out={"restock/shelf": 0.125},
)
OTHERS = {
    "run": "another",
    "step": 26,
    "parent": 2,
    "trained_through": 8,
    "policy": {"name": "flow", "config": {"width": 65, "rate": 1e-5}},
    "conditions": (),
    "condition": "positive",
    "tensors": (TensorEntry("head", "bfloat16", (2, 3), "i"),),
    "encodings": (),
    "result_hash": "q",
    "clock_s": 1.25,
    "covers": ("e",),
    "held_out": {},
}


@pytest.fixture
def signer(tmp_path):
    return make_key(tmp_path / "release.key")


def test_what_the_learner_signed_is_taken_after_the_hub_has_numbered_it(signer):
    on_the_wire = json.dumps(signer.sign(RELEASE).numbered(3).to_json())
    Trust("run", (signer.public,)).check(Release.from_json(json.loads(on_the_wire)))


@pytest.mark.parametrize("field", OTHERS)
def test_whatever_was_changed_after_signing_is_refused(signer, field):
    changed = replace(signer.sign(RELEASE), **{field: OTHERS[field]})
    with pytest.raises(ReleaseInvalid, match="signature"):
        Trust(keys=(signer.public,)).check(changed)


@pytest.mark.parametrize("signature", ["", "nonsense", "ed25519:", "ed25519:####", "ed25519:" + "A" * 88])
def test_without_a_sound_signature_it_is_refused_where_a_key_is_pinned(signer, signature):
    unsigned = replace(RELEASE, signature=signature)
    with pytest.raises(ReleaseInvalid) as refusal:
        Trust("run", (signer.public,)).check(unsigned)
    assert refusal.value.field == "signature"
    Trust("run").check(unsigned)


def test_while_one_key_replaces_another_both_are_taken(signer, tmp_path):
    newer = make_key(tmp_path / "newer.key")
    both = Trust("run", (signer.public, newer.public))
    both.check(signer.sign(RELEASE))
    both.check(newer.sign(RELEASE))
    with pytest.raises(ReleaseInvalid, match="release_keys"):
        Trust("run", (newer.public,)).check(signer.sign(RELEASE))


def test_a_release_of_another_run_is_refused_by_name(signer):
    with pytest.raises(ReleaseInvalid, match="'run', not 'ours'") as refusal:
        Trust("ours", (signer.public,)).check(signer.sign(RELEASE))
    assert refusal.value.field == "run"


@pytest.mark.parametrize("text", ["", "ed25519:AAAA", "rsa:" + "A" * 44])
def test_what_is_no_public_key_is_said_before_any_release_comes(text):
    with pytest.raises(ConfigInvalid, match="release_keys"):
        Trust("run", (text,))


def test_a_private_key_is_its_owners_and_never_overwritten(tmp_path):
    path = tmp_path / "release.key"
    signer = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_key(path, "key").public == signer.public
    with pytest.raises(ConfigInvalid, match="is there already"):
        make_key(path)
    assert open_key(path, "key").sign(RELEASE) == signer.sign(RELEASE)
    with pytest.raises(DiskTrouble):
        make_key(tmp_path / "nowhere" / "release.key")


def test_a_key_that_could_not_be_written_is_not_in_the_way_of_the_next(tmp_path, monkeypatch):
    path = tmp_path / "release.key"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskTrouble, match=r"release\.key"):
            make_key(path)
    made = make_key(path)
    assert open_key(path, "key").public == made.public


def test_a_file_that_holds_no_ed25519_key_is_named(tmp_path):
    path = tmp_path / "other.key"
    with pytest.raises(ConfigInvalid, match=r"learner\.signing_key"):
        open_key(path, "learner.signing_key")
    path.write_text("nonsense")
    with pytest.raises(ConfigInvalid, match="can't be used"):
        open_key(path, "learner.signing_key")
    other = ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM
    path.write_bytes(other.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with pytest.raises(ConfigInvalid, match="another kind"):
        open_key(path, "learner.signing_key")
