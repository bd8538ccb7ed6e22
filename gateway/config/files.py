"""The files a configuration names: where they are found, and whether they are what they must be.

Owns resolving names (credentials directory first, then beside the YAML) and reading keys,
certificates and passwords. No message of this module carries any part of a secret.
"""

from __future__ import annotations

import json
import os
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.core.jws import KeyRefused, signing_key, verify_key

_SIZE_MAX = 1 << 20
_OTHERS = stat.S_IRWXO
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Wrong(ValueError):  # noqa: N818 — says what a value is; nothing failed
    """A value that may not stand: `what` is wrong with it, and what would be `right`."""

    def __init__(self, what: str, right: str) -> None:
        super().__init__(what)
        self.what = what
        self.right = right


@dataclass(frozen=True, slots=True)
class Found:
    """A file by its absolute path. guarded: the service manager keeps it in its own directory."""

    path: Path
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Jwk:
    """The public half of a key file that passed: key id and base64url point."""

    kid: str
    x: str


@dataclass(frozen=True, slots=True)
class Folders:
    """Where relative names are looked for; absolute paths. state falls back to the YAML's own."""

    beside: Path
    credentials: Path | None = None
    state: Path | None = None

    def find(self, name: str) -> Found:
        """The file of that name; it need not exist."""
        path = Path(name)
        if not path.is_absolute() and self.credentials is not None:
            candidate = self.credentials / path
            if _exists(candidate):
                return Found(candidate, guarded=True)
        return Found(self.beside / path)

    def credential(self, name: str) -> Found:
        """The credential of that name; Wrong where there is no credentials directory."""
        if self.credentials is None:
            raise Wrong(
                "there is no credentials directory here",
                "run under systemd with LoadCredential=, or set QORGAN_CREDENTIALS_DIRECTORY",
            )
        return Found(self.credentials / name, guarded=True)

    def ledger(self, name: str) -> Path:
        """Where the ledger goes: the state directory if there is one."""
        return (self.state or self.beside) / name


def read_private_jwk(found: Found) -> Jwk:
    """The gateway's own key; Wrong unless it is an Ed25519 private JWK only its owner may read."""
    _check_owner_only(found)
    jwk = _read_jwk(found)
    if "d" not in jwk:
        raise Wrong(
            f"{found.path} is a public key, it cannot sign",
            "name the gateway's private JWK (the one with `d`)",
        )
    with _key_explained(found.path):
        key = signing_key(jwk)
    return Jwk(kid=key.kid, x=key.public.x)


def read_public_jwk(found: Found) -> Jwk:
    """A centre's key; Wrong unless it is an Ed25519 public JWK."""
    jwk = _read_jwk(found)
    if "d" in jwk:
        raise Wrong(
            f"{found.path}: this is a private key",
            "keep it at the centre and give the gateway only the public one (without `d`)",
        )
    with _key_explained(found.path):
        key = verify_key(jwk)
    return Jwk(kid=key.kid, x=key.x)


def check_ca(found: Found) -> None:
    """Raise Wrong unless the file holds at least one certificate to trust."""
    _read(found)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=found.path)
    except ssl.SSLError:
        count = 0
    else:
        count = context.cert_store_stats()["x509"]
    if not count:
        raise Wrong(
            f"{found.path} holds no certificate",
            "name the PEM of the authority that signed the broker's certificate",
        )


def check_certificate(found: Found) -> None:
    """Raise Wrong unless the file is one PEM with the chain and the private key that fits it."""
    _check_owner_only(found, mask=_OTHERS)
    _read(found)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Without a password given, an encrypted key would ask for one on the terminal.
        context.load_cert_chain(found.path, password="")
    except (ssl.SSLError, ValueError):
        raise Wrong(
            f"{found.path} is not one PEM with a certificate chain and its private key",
            "put the certificate, its chain and the unencrypted private key into one file",
        ) from None


def check_password(found: Found) -> None:
    """Raise Wrong unless the file holds something and is kept from other users."""
    _check_owner_only(found)
    if not _read(found).strip():
        raise Wrong(f"{found.path} is empty", "write the password into it, and nothing else")


def is_directory(path: Path) -> bool:
    """True for a directory; False where nobody can tell (a name too long, a NUL in it)."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Wrong(f"{path} does not exist", "put the file there, or name another") from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
        raise Wrong(f"{path} cannot be read ({why})", "let the gateway's user read it") from None


def _status(found: Found) -> os.stat_result:
    with _explained(found.path):
        status = found.path.stat()
    # Opening a pipe or a device could wait for ever.
    if not stat.S_ISREG(status.st_mode):
        raise Wrong(f"{found.path} is not a regular file", "name a file")
    return status


def _read(found: Found) -> bytes:
    if _status(found).st_size > _SIZE_MAX:
        raise Wrong(f"{found.path} is larger than 1 MiB", "name the right file")
    with _explained(found.path):
        return found.path.read_bytes()


def _check_owner_only(found: Found, *, mask: int = _GROUP_AND_OTHERS) -> None:
    # systemd lets the service's user in by an access list, which shows as rights of the group.
    if _status(found).st_mode & (_OTHERS if found.guarded else mask):
        raise Wrong(f"{found.path} can be read by others", f"chmod 600 {found.path}")


def _read_jwk(found: Found) -> dict[str, object]:
    try:
        jwk = json.loads(_read(found))
    except (ValueError, RecursionError) as error:
        if isinstance(error, Wrong):
            raise
        raise Wrong(f"{found.path} is not JSON", "name a key in JWK form (RFC 7517)") from None
    if isinstance(jwk, dict) and "keys" in jwk:
        raise Wrong(f"{found.path} is a set of keys", "put one JWK into a file of its own")
    if not isinstance(jwk, dict):
        raise Wrong(f"{found.path} is not a JWK", "name a key in JWK form (RFC 7517)")
    return jwk


@contextmanager
def _key_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyRefused as refused:
        right = "make it anew: an Ed25519 JWK with a kid of 1 to 16 characters"
        raise Wrong(f"{path} is not a usable key ({refused})", right) from None
