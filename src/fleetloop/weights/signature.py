"""Whose a release is: Ed25519 (RFC 8032) over its manifest, and what a robot asks of it before it takes it."""

import base64
import binascii
import os
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fleetloop.core.disk import disk_trouble
from fleetloop.core.errors import ConfigInvalid, ReleaseInvalid
from fleetloop.core.release import Release

SCHEME = "ed25519:"
"""In front of every public key and signature; base64 of 32 and of 64 bytes follow."""
OWNER_ALONE = 0o600


class Signer:
    """Signs manifests with a private key.

    Attributes:
        public: the key that robots pin, as text.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = SCHEME + base64.b64encode(key.public_key().public_bytes_raw()).decode()

    def sign(self, release: Release) -> Release:
        return replace(release, signature=SCHEME + base64.b64encode(self._key.sign(release.statement())).decode())


def make_key(path: Path) -> Signer:
    """Write a new private key, as PEM (PKCS #8) that its owner alone may read.

    Raises:
        ConfigInvalid: if there is something at `path` already; DiskTrouble: if it can't be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE), "wb")
    except FileExistsError as error:
        raise ConfigInvalid(str(path), "is there already", "choose another file, or remove it yourself") from error
    except OSError as error:
        raise disk_trouble(path, error) from error
    try:
        with file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()  # half a key would only be in the next one's way
        raise disk_trouble(path, error) from error
    return Signer(key)


def open_key(path: Path, field: str) -> Signer:
    """Raises ConfigInvalid, naming `field`, if there is no Ed25519 private key at `path`."""
    remedy = "`fleetloop keys make` writes one"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigInvalid(field, f"{path} can't be used ({error})", remedy) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigInvalid(field, f"{path} holds another kind of key than Ed25519", remedy)
    return Signer(key)


@dataclass(frozen=True)
class Trust:
    """Which releases a robot takes.

    Attributes:
        run: of which run; empty: of any.
        keys: public keys, by one of which they must be signed; empty: unsigned ones are taken too. Two, while one
            replaces the other.
    """

    run: str = ""
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ConfigInvalid for a text that is no key."""
        for key in self.keys:
            _public(key)

    def check(self, release: Release) -> None:
        """Raises ReleaseInvalid naming `run` or `signature`."""
        if self.run and release.run != self.run:
            raise ReleaseInvalid("run", f"is {release.run!r}, not {self.run!r}", "is this robot's hub another fleet's?")
        if not self.keys:
            return
        if not release.signature:
            raise ReleaseInvalid("signature", "is missing", "give the learner its key: learner.signing_key")
        signature, statement = _bytes(release.signature, 64), release.statement()
        if signature is None:
            raise ReleaseInvalid("signature", f"{release.signature[:40]!r} is none of Ed25519")
        if not any(_verifies(_public(key), signature, statement) for key in self.keys):
            raise ReleaseInvalid(
                "signature", "is by none of release_keys", "was it another learner, or was the manifest changed?"
            )


ANYBODYS = Trust()
"""Takes every release."""


def _verifies(key: Ed25519PublicKey, signature: bytes, statement: bytes) -> bool:
    try:
        key.verify(signature, statement)
    except InvalidSignature:
        return False
    return True


def _public(text: str) -> Ed25519PublicKey:
    raw = _bytes(text, 32)
    if raw is None:
        raise ConfigInvalid("release_keys", f"{text!r} is no public key", "`fleetloop keys show` prints it")
    return Ed25519PublicKey.from_public_bytes(raw)


def _bytes(text: str, size: int) -> bytes | None:
    if not text.startswith(SCHEME):
        return None
    try:
        raw = base64.b64decode(text.removeprefix(SCHEME), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size else None
