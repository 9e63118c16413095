"""Certificates that vouch for themselves."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(directory: Path) -> tuple[Path, Path]:
    """One for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    signed = unsigned.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    directory.mkdir(exist_ok=True)
    shown, kept = directory / "hub.pem", directory / "hub.key"
    shown.write_bytes(signed.public_bytes(pem))
    kept.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return shown, kept
