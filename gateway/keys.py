"""Key files: private JWKs only their owner can read, public JWKs to hand out."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from gateway.core.jws import KeyRefused, SigningKey, VerifyKey, signing_key, verify_key


class KeyFileError(Exception):
    """A key file that cannot be used: which, why, and what to do. Never quotes the key."""


def new_key(path: Path, *, kid: str, seed: bytes) -> VerifyKey:
    """Write a new private key to `path` (mode 0600) and its public half beside it (`.pub.jwk`).

    `seed` is 32 random bytes from the caller. Raises KeyFileError when a file is in the way.
    """
    try:
        key = SigningKey(kid, seed)
    except KeyRefused as refused:
        raise KeyFileError(f"{path}: {refused}: choose another with --kid") from refused
    _write(path, key.as_jwk(), 0o600)
    try:
        _write(path.with_suffix(".pub.jwk"), key.public.as_jwk(), 0o644)
    except KeyFileError:
        path.unlink()  # half a pair would be in the way of the next attempt
        raise
    return key.public


def _write(path: Path, jwk: dict[str, str], mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as exc:
        raise KeyFileError(
            f"{path}: exists already: move it away first, it is not replaced"
        ) from exc
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be written: {exc.strerror}") from exc
    with os.fdopen(handle, "w", encoding="ascii") as file:
        json.dump(jwk, file)
        file.write("\n")


def _read(path: Path) -> dict[str, object]:
    try:
        jwk = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise KeyFileError(f"{path}: not JSON: make one with `qorgan keys new {path}`") from exc
    if not isinstance(jwk, dict):
        raise KeyFileError(f"{path}: not a JWK: make one with `qorgan keys new {path}`")
    return jwk


def load_signing_key(path: Path) -> SigningKey:
    """The private key in a file that only its owner can read. Raises KeyFileError."""
    jwk = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(f"{path}: others can read it (mode {mode:04o}): chmod 600 {path}")
    try:
        return signing_key(jwk)
    except KeyRefused as refused:
        raise KeyFileError(f"{path}: {refused}") from refused


def load_verify_key(path: Path) -> VerifyKey:
    """The public half of a key file, private or public. Raises KeyFileError."""
    try:
        return verify_key(_read(path))
    except KeyRefused as refused:
        raise KeyFileError(f"{path}: {refused}") from refused
