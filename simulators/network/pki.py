"""A throw-away public key infrastructure for tests and the demo.

Owns one certificate authority whose private key never leaves memory, one server certificate for
loopback, and a client certificate per gateway or centre. Not for a live site: nothing here can be
revoked or renewed.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = dt.timedelta(days=30)
_SLACK = dt.timedelta(minutes=5)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _private(path: Path, content: bytes) -> None:
    """Write a file that nobody else could read even for a moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Pki:
    """One authority and what it has issued, as files in a directory.

    `ca.pem`, `server.crt`, `server.key` are there at once; `client(id)` adds `<id>.pem`. Keys are
    EC P-256, everything is valid for 30 days. About 3 ms a certificate.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clients: Iterable[str] = (),
        age: dt.timedelta = _SLACK,
    ) -> None:
        """Create the authority, the server's certificate, and one for each of `clients`.

        age: how long ago everything became valid; negative for certificates from the future.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca = directory / "ca.pem"
        self.server_certificate = directory / "server.crt"
        self.server_key = directory / "server.key"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Qorgan test authority")
        self._start = dt.datetime.now(dt.UTC) - age
        self.ca.write_bytes(self._authority().public_bytes(serialization.Encoding.PEM))
        key, certificate = self._issue(
            "broker",
            ExtendedKeyUsageOID.SERVER_AUTH,
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
        )
        self.server_certificate.write_bytes(certificate)
        _private(self.server_key, key)
        for identity in clients:
            self.client(identity)

    def client(self, identity: str) -> Path:
        """The PEM file (chain, then private key, mode 0600) of that client, made when missing.

        The identity stands as common name (mosquitto reads that) and as DNS alternative name
        (nats-server reads that).
        """
        path = self.directory / f"{identity}.pem"
        if not path.exists():
            key, certificate = self._issue(
                identity, ExtendedKeyUsageOID.CLIENT_AUTH, [x509.DNSName(identity)]
            )
            _private(path, certificate + key)
        return path

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._start)
            .not_valid_after(self._start + _VALID)
        )

    def _authority(self) -> x509.Certificate:
        public = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            self._builder(self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _issue(
        self, common_name: str, usage: x509.ObjectIdentifier, names: list[x509.GeneralName]
    ) -> tuple[bytes, bytes]:
        """A fresh private key and its certificate, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(_name(common_name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(key), certificate.public_bytes(serialization.Encoding.PEM)
