"""The vectors a receiver must refuse: each a good token with one thing wrong, and what that is."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from gateway.core.jws import SigningKey, TokenType, compact, encode, seal
from gateway.core.model import Json
from tools.vector_parts import KEYS, STARTS, Gateway, heartbeat, payload_of, raised


def signed(header: bytes, payload: bytes, key: SigningKey) -> bytes:
    body = f"{encode(header)}.{encode(payload)}".encode()
    return body + b"." + encode(key.sign(body)).encode()


def with_header(payload: Mapping[str, Json], key: SigningKey, **header: Any) -> bytes:
    fields = {"alg": "Ed25519", "kid": key.kid, "typ": "qorgan-message"} | header
    return signed(
        compact({k: v for k, v in fields.items() if v is not None}), compact(payload), key
    )


def unused_bits(token: bytes) -> bytes:
    """The signature's last character spelt with the two bits set that decoding throws away."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) | 3 :][:1]


def flipped(token: bytes, part: int) -> bytes:
    """One bit of the decoded part turned round."""
    parts = token.split(b".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + b"=" * (-len(parts[part]) % 4)))
    raw[len(raw) // 2] ^= 1
    parts[part] = encode(bytes(raw)).encode()
    return b".".join(parts)


def refused() -> list[dict[str, Any]]:
    good = raised(Gateway(epoch=6, start=STARTS[6]), 1).token
    payload = payload_of(good)
    key = KEYS["gateway"]
    beat = heartbeat(41)
    head, body, signature = good.split(b".")
    text = compact(payload)
    secret = compact({"alg": "HS256", "kid": key.kid, "typ": "qorgan-message"})
    found: list[tuple[str, str, bytes, bool]] = [
        ("payload-bit", "signature", flipped(good, 1), False),
        ("signature-bit", "signature", flipped(good, 2), False),
        ("header-bit", "key", flipped(good, 0), False),
        ("signature-missing", "signature", head + b"." + body + b".", False),
        ("signature-short", "signature", good[:-4], False),
        ("unused-bits", "form", unused_bits(good), True),
        ("padding", "form", good + b"==", True),
        ("newline", "form", good + b"\n", True),
        ("plain-base64", "form", good.replace(b"_", b"/").replace(b"-", b"+"), True),
        ("two-parts", "form", head + b"." + body, False),
        ("five-parts", "form", good + b"." + signature + b"." + signature, False),
        ("empty", "form", b"", False),
        ("typ-receipt", "typ", with_header(payload, key, typ="qorgan-receipt"), True),
        ("typ-missing", "header", with_header(payload, key, typ=None), True),
        ("heartbeat-as-message", "typ", beat, True),
        ("alg-none", "alg", with_header(payload, key, alg="none"), False),
        ("alg-none-unsigned", "alg", signed_none(payload, key.kid), False),
        ("alg-eddsa", "alg", with_header(payload, key, alg="EdDSA"), True),
        ("alg-hs256-public-key", "alg", hmac_token(secret, text, key), False),
        ("header-extra", "header", with_header(payload, key, b64=True), True),
        ("header-jwk", "header", with_header(payload, key, jwk=key.public.as_jwk()), True),
        ("header-duplicate", "header", signed(duplicate_header(key.kid), text, key), True),
        ("kid-unknown", "key", with_header(payload, key, kid="gw-2027"), True),
        ("key-wrong", "signature", seal(TokenType.MESSAGE, payload, KEYS["other-gateway"]), False),
        ("key-of-centre", "key", seal(TokenType.MESSAGE, payload, KEYS["security"]), True),
    ]
    found += [(name, why, raw, True) for name, why, raw in odd_payloads(payload, key)]
    return [
        {
            "name": name,
            "typ": "qorgan-message",
            "reason": why,
            "signature": valid,
            "token": raw.decode(),
        }
        for name, why, raw, valid in found
    ]


def duplicate_header(kid: str) -> bytes:
    typ = '"typ":"qorgan-heartbeat","typ":"qorgan-message"'
    return f'{{"alg":"Ed25519","kid":"{kid}",{typ}}}'.encode()


def signed_none(payload: Mapping[str, Json], kid: str) -> bytes:
    header = compact({"alg": "none", "kid": kid, "typ": "qorgan-message"})
    return f"{encode(header)}.{encode(compact(payload))}.".encode()


def hmac_token(header: bytes, payload: bytes, key: SigningKey) -> bytes:
    """HS256 with the public key's text as the secret: the classic confusion."""
    body = f"{encode(header)}.{encode(payload)}".encode()
    code = hashlib.sha256  # HMAC by hand keeps the generator free of one more import
    block = key.public.x.encode().ljust(64, b"\0")
    inner = code(bytes(b ^ 0x36 for b in block) + body).digest()
    outer = code(bytes(b ^ 0x5C for b in block) + inner).digest()
    return body + b"." + encode(outer).encode()


def odd_payloads(payload: Mapping[str, Any], key: SigningKey) -> list[tuple[str, str, bytes]]:
    """Rightly signed by the right key, and still not a message of this gateway and route."""
    header = compact({"alg": "Ed25519", "kid": key.kid, "typ": "qorgan-message"})
    text = compact(payload).decode()
    changed: dict[str, tuple[str, dict[str, Any]]] = {
        "route-other": ("route", {"route": "case"}),
        "source-other": ("source", {"source": "/premises/school-12/gateways/school-12-annex"}),
        "member-unknown": ("member", {"priority": 1}),
        "member-missing": ("member", {"ledger": None}),
        "sequence-zero": ("member", {"sequence": 0}),
        "sequence-text": ("member", {"sequence": "1"}),
        "sequence-float": ("member", {"sequence": 1.0}),
        "sequence-true": ("member", {"sequence": True}),
        "epoch-huge": ("member", {"epoch": 2**53}),
        "start-upper-case": ("member", {"start": "57A47006"}),
        "time-without-z": ("member", {"time": "2026-12-01T12:00:01.000+00:00"}),
        "time-not-a-day": ("member", {"time": "2026-02-30T12:00:01.000Z"}),
        "stream-unknown": ("member", {"stream": "alarms"}),
        "resumes-half": ("member", {"resumesepoch": 5}),
        "data-list": ("member", {"data": []}),
    }
    tokens = []
    for name, (why, change) in changed.items():
        fields = {k: v for k, v in {**payload, **change}.items() if v is not None}
        tokens.append((name, why, signed(header, compact(fields), key)))
    twice = text.replace('"sequence":1', '"sequence":2,"sequence":1')
    infinite = text.replace('"data":{', '"data":{"level":Infinity,')
    surrogate = text.replace('"subject":"reception"', '"subject":"\\ud800"')
    return [
        *tokens,
        ("payload-duplicate-key", "json", signed(header, twice.encode(), key)),
        ("payload-infinity", "json", signed(header, infinite.encode(), key)),
        ("payload-lone-surrogate", "json", signed(header, surrogate.encode(), key)),
        ("payload-array", "json", signed(header, b"[]", key)),
        ("payload-not-json", "json", signed(header, b"{", key)),
        ("payload-not-utf8", "json", signed(header, b'{"a":"\xff"}', key)),
    ]
