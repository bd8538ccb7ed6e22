"""JWS compact tokens (RFC 7515) with Ed25519 (RFC 8037, named as in RFC 9864): seal and open.

Four token types exist and none passes for another. A verifier here is strict: three parts,
canonical base64url, a header of exactly `alg`, `kid` and `typ`, no duplicate JSON keys. There is
one spelling of every token, so a stored token can be compared byte for byte.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.core.model import Json

ALG = "Ed25519"
KID_MAX = 16
KNOWN_MAX = 128
SHALLOW = 64
"""Brackets in a payload; with more it is written again to see whether that can be done."""
TOKEN_MAX_BYTES = 65_536
"""A message is about a kilobyte; anything longer than this is not ours and is not parsed."""


class TokenType(StrEnum):
    """The `typ` of a token. It is signed, so a receipt can never be replayed as a command."""

    MESSAGE = "qorgan-message"
    RECEIPT = "qorgan-receipt"
    COMMAND = "qorgan-command"
    HEARTBEAT = "qorgan-heartbeat"


class TokenRefused(Exception):  # noqa: N818 -- a refusal is an outcome the protocol names, not an error of ours
    """A token that is not believed. str() says why, without quoting what it contained."""


class KeyRefused(Exception):  # noqa: N818 -- as above
    """Key material that cannot be used. str() says what is wrong and never quotes a secret."""


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encode(raw: bytes) -> str:
    """base64url without padding."""
    return _encoded(raw).decode("ascii")


def _encoded(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=")


def decode(text: str) -> bytes:
    """The bytes of canonical base64url without padding; ValueError on any other spelling."""
    try:
        plain = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        raw = binascii.a2b_base64(plain)
        if encode(raw) == text:  # a spelling that comes back is the one there is
            return raw
    except ValueError:
        pass  # below it is said what is wrong
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("not base64url") from exc
    if encode(raw) != text:
        raise ValueError("base64url with unused bits or padding set")
    return raw


def digest(token: bytes) -> str:
    """SHA-256 of a token's ASCII bytes, 64 lower-case hex digits: the next message's `previous`."""
    return hashlib.sha256(token).hexdigest()


def _check_kid(kid: object) -> str:
    if not isinstance(kid, str) or not 1 <= len(kid) <= KID_MAX or not kid.isascii():
        raise KeyRefused(f"kid must be 1 to {KID_MAX} ASCII characters")
    return kid


class VerifyKey:
    """A public key by its `kid`."""

    __slots__ = ("_key", "kid", "x")

    def __init__(self, kid: str, x: str) -> None:
        """`x` is the JWK member of that name; KeyRefused when it is not an Ed25519 public key."""
        self.kid = _check_kid(kid)
        self.x = x
        try:
            self._key = Ed25519PublicKey.from_public_bytes(decode(x))
        except ValueError as exc:
            raise KeyRefused(f"x is not a 32-byte Ed25519 public key: {exc}") from exc

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """True when this key made that signature over those bytes."""
        try:
            self._key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    def as_jwk(self) -> dict[str, str]:
        """The public JWK (RFC 8037 §2)."""
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": self.x}


class SigningKey:
    """A private key by its `kid`. Its repr shows no secret."""

    __slots__ = ("_key", "kid", "public")

    def __init__(self, kid: str, seed: bytes) -> None:
        """`seed` is the 32 bytes of the JWK's `d`; KeyRefused when it is not."""
        self.kid = _check_kid(kid)
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(seed)
        except ValueError as exc:
            raise KeyRefused("d is not a 32-byte Ed25519 private key") from exc
        self.public = VerifyKey(kid, encode(self._key.public_key().public_bytes_raw()))

    def sign(self, signed: bytes) -> bytes:
        """The 64-byte signature; the same bytes always give the same one."""
        return self._key.sign(signed)

    def as_jwk(self) -> dict[str, str]:
        """The private JWK: for a key file only, never for a log."""
        return {**self.public.as_jwk(), "d": encode(self._key.private_bytes_raw())}


def signing_key(jwk: Mapping[str, Any]) -> SigningKey:
    """A SigningKey from a private JWK; KeyRefused says which member is wrong."""
    public = verify_key(jwk)
    if not isinstance(jwk.get("d"), str):
        raise KeyRefused("d is missing: this is a public key, a private one is needed")
    try:
        key = SigningKey(public.kid, decode(jwk["d"]))
    except ValueError as exc:
        raise KeyRefused("d is not base64url") from exc
    if key.public.x != public.x:
        raise KeyRefused("d and x do not belong together")
    return key


def verify_key(jwk: Mapping[str, Any]) -> VerifyKey:
    """A VerifyKey from a JWK; KeyRefused says which member is wrong."""
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise KeyRefused("kty must be OKP and crv Ed25519")
    if not isinstance(jwk.get("x"), str):
        raise KeyRefused("x is missing")
    return VerifyKey(_check_kid(jwk.get("kid")), jwk["x"])


def compact(payload: Mapping[str, Json]) -> bytes:
    """One spelling of a JSON object: no spaces, keys as given, UTF-8.

    ValueError for what has none: infinities, NaN, lone surrogates.
    """
    return _written(payload).encode()


def seal(typ: TokenType, payload: Mapping[str, Json], key: SigningKey) -> bytes:
    """Sign a payload: the same payload and key give the same ASCII bytes."""
    signed = _head(typ, key.kid) + _encoded(compact(payload))
    return signed + b"." + _encoded(key.sign(signed))


@lru_cache(maxsize=64)
def _head(typ: TokenType, kid: str) -> bytes:
    """What every token of a type under a key begins with, its dot included."""
    return _encoded(compact({"alg": ALG, "kid": kid, "typ": typ.value})) + b"."


def _reader(what: str) -> Callable[[str], Any]:
    """What reads the JSON of a `what`. Made once: making it costs as much as reading a receipt."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise TokenRefused(f"the {what} names a key twice")
        return found

    def no_constant(name: str) -> Any:
        raise TokenRefused(f"the {what} holds {name}, which is not JSON")

    def finite(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError("beyond what a float can hold")
        return number

    return json.JSONDecoder(
        object_pairs_hook=once, parse_constant=no_constant, parse_float=finite
    ).decode


_READERS = {what: _reader(what) for what in ("header", "payload")}


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        text = raw.decode()
        value = _READERS[what](text)
        # What cannot be written again is not taken. 1e400 is refused by its reader; a lone
        # surrogate needs an escape, and what is too deep to write needs many brackets.
        if "\\u" in text or text.count("[") + text.count("{") > SHALLOW:
            compact(value)
    except (ValueError, RecursionError) as exc:
        raise TokenRefused(f"the {what} is not JSON") from exc
    if not isinstance(value, dict):
        raise TokenRefused(f"the {what} is not a JSON object")
    return value


def kid_of(token: bytes) -> str:
    """The key a token claims to be under, unverified; TokenRefused when it has no proper header."""
    return _split(token)[0]["kid"]


def _header(text: str) -> Mapping[str, str]:
    """The header of a token, from its base64url; ValueError where it is none."""
    header = _object(decode(text), "header")
    if set(header) != {"alg", "kid", "typ"}:
        raise TokenRefused("the header must hold alg, kid and typ and nothing else")
    if header["alg"] != ALG:
        raise TokenRefused(f"alg must be {ALG}")
    if not all(isinstance(value, str) for value in header.values()):
        raise TokenRefused("the header's values must be strings")
    return MappingProxyType(header)


_known_header = lru_cache(maxsize=64)(_header)
"""A sender's header is the same on every token of a type: read once, not a thousand times a second.
For headers of a sensible length only, so that a stranger fills no memory with it."""


def _split(token: bytes) -> tuple[Mapping[str, str], bytes, bytes, bytes]:
    """Header, payload bytes, signature and the signed bytes of a token, nothing yet verified."""
    if len(token) > TOKEN_MAX_BYTES:
        raise TokenRefused(f"longer than {TOKEN_MAX_BYTES} bytes")
    try:
        parts = token.decode("ascii").split(".")
    except UnicodeDecodeError as exc:
        raise TokenRefused("not ASCII") from exc
    if len(parts) != 3:
        raise TokenRefused(f"{len(parts)} parts where a JWS compact token has 3")
    try:
        payload, signature = decode(parts[1]), decode(parts[2])
        header = (_known_header if len(parts[0]) <= KNOWN_MAX else _header)(parts[0])
    except ValueError as exc:
        raise TokenRefused(str(exc)) from exc
    return header, payload, signature, token.rpartition(b".")[0]


def open_token(
    token: bytes, *, typ: TokenType, keys: Mapping[str, VerifyKey]
) -> tuple[str, dict[str, Any]]:
    """Verify a token and give its `kid` and payload.

    `keys` are those the caller believes for this purpose, by kid. TokenRefused says why a token is
    not believed: its form, its typ, an unknown key, or a signature that is not that key's.
    """
    header, payload, signature, signed = _split(token)
    if header["typ"] != typ:
        raise TokenRefused(f"typ must be {typ.value}")
    key = keys.get(header["kid"])
    if key is None:
        raise TokenRefused("signed under a key that is not believed here")
    if not key.verifies(signature, signed):
        raise TokenRefused("the signature is not that key's")
    return header["kid"], _object(payload, "payload")
