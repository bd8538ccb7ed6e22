"""Tokens: one spelling, one type, one key; anything else is refused and never raises otherwise."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.jws import (
    KID_MAX,
    TOKEN_MAX_BYTES,
    KeyRefused,
    SigningKey,
    TokenRefused,
    TokenType,
    VerifyKey,
    compact,
    decode,
    digest,
    encode,
    kid_of,
    open_token,
    seal,
    signing_key,
    verify_key,
)

KEY = SigningKey("gw-1", bytes(range(32)))
OTHER = SigningKey("gw-1", bytes(range(1, 33)))
KEYS = {KEY.kid: KEY.public}
PAYLOAD: dict[str, Any] = {"room": "Қабылдау бөлмесі", "sequence": 1, "data": {"a": [1, None]}}
TOKEN = seal(TokenType.MESSAGE, PAYLOAD, KEY)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abцқ"), inner),
    max_leaves=8,
)
payloads = st.dictionaries(st.text(alphabet="abcқ", max_size=4), json_values, max_size=5)


def opened(token: bytes) -> dict[str, Any]:
    return open_token(token, typ=TokenType.MESSAGE, keys=KEYS)[1]


def signed(header: bytes, payload: bytes = b"{}") -> bytes:
    body = f"{encode(header)}.{encode(payload)}".encode()
    return body + b"." + encode(KEY.sign(body)).encode()


@given(payloads)
def test_seal_and_open_give_back_the_payload(payload: dict[str, Any]) -> None:
    assert opened(seal(TokenType.MESSAGE, payload, KEY)) == payload


@given(payloads)
def test_seal_is_deterministic(payload: dict[str, Any]) -> None:
    again = SigningKey("gw-1", bytes(range(32)))
    assert seal(TokenType.RECEIPT, payload, KEY) == seal(TokenType.RECEIPT, payload, again)


@given(st.integers(0, 8 * len(TOKEN) - 1))
def test_open_refuses_any_flipped_bit_of_the_text(bit: int) -> None:
    bent = bytearray(TOKEN)
    bent[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TokenRefused):
        opened(bytes(bent))


def test_open_refuses_every_flipped_bit_of_what_was_signed() -> None:
    parts = TOKEN.split(b".")
    for index, part in enumerate(parts):
        raw = decode(part.decode())
        for bit in range(8 * len(raw)):
            bent = bytearray(raw)
            bent[bit // 8] ^= 1 << bit % 8
            changed = [*parts[:index], encode(bytes(bent)).encode(), *parts[index + 1 :]]
            with pytest.raises(TokenRefused):
                opened(b".".join(changed))


@given(st.integers(0, len(TOKEN)), st.binary(min_size=1, max_size=3))
def test_open_refuses_anything_put_in_between(at: int, more: bytes) -> None:
    with pytest.raises(TokenRefused):
        opened(TOKEN[:at] + more + TOKEN[at:])


@given(st.integers(0, len(TOKEN) - 1))
def test_open_refuses_a_token_cut_short(length: int) -> None:
    with pytest.raises(TokenRefused):
        opened(TOKEN[:length])


@given(st.binary(max_size=200))
@example(b"")
@example(b"..")
@example(b"e30.e30.")
def test_open_refuses_any_bytes_without_crashing(raw: bytes) -> None:
    with pytest.raises(TokenRefused):
        opened(raw)


@given(json_values)
@example({"alg": "Ed25519", "kid": ["gw-1"], "typ": "qorgan-message"})
@example({"alg": "Ed25519", "kid": None, "typ": "qorgan-message"})
@example({"alg": ["Ed25519"], "kid": "gw-1", "typ": "qorgan-message"})
@example({"alg": "Ed25519", "kid": "gw-1", "typ": {}})
@example([])
def test_open_refuses_any_json_as_header_without_crashing(header: Any) -> None:
    with pytest.raises(TokenRefused):
        opened(signed(json.dumps(header).encode()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'"a"',
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 30_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_open_refuses_a_payload_that_is_no_plain_json_object(payload: bytes) -> None:
    header = compact({"alg": "Ed25519", "kid": KEY.kid, "typ": "qorgan-message"})
    with pytest.raises(TokenRefused, match="payload"):
        opened(signed(header, payload))


@pytest.mark.parametrize("typ", list(TokenType))
def test_open_takes_no_type_for_another(typ: TokenType) -> None:
    token = seal(typ, PAYLOAD, KEY)
    for wanted in TokenType:
        if wanted is typ:
            assert open_token(token, typ=wanted, keys=KEYS)[1] == PAYLOAD
        else:
            with pytest.raises(TokenRefused, match="typ must be"):
                open_token(token, typ=wanted, keys=KEYS)


def test_open_refuses_another_key_under_the_same_kid() -> None:
    with pytest.raises(TokenRefused, match="not that key's"):
        opened(seal(TokenType.MESSAGE, PAYLOAD, OTHER))


def test_open_refuses_an_unknown_kid() -> None:
    with pytest.raises(TokenRefused, match="not believed here"):
        open_token(TOKEN, typ=TokenType.MESSAGE, keys={})


def test_open_refuses_more_bytes_than_a_message_can_have() -> None:
    long = seal(TokenType.MESSAGE, {"a": "x" * TOKEN_MAX_BYTES}, KEY)
    with pytest.raises(TokenRefused, match="longer than"):
        opened(long)


def test_kid_of_names_the_claimed_key() -> None:
    assert kid_of(TOKEN) == "gw-1"


def test_refusals_never_quote_what_the_token_held() -> None:
    secret = "reception-card-4711"
    bad = signed(compact({"alg": "none", "kid": secret, "typ": secret}), secret.encode())
    with pytest.raises(TokenRefused) as refusal:
        opened(bad)
    assert secret not in str(refusal.value)


@given(st.binary())
def test_base64url_is_read_back(raw: bytes) -> None:
    assert decode(encode(raw)) == raw


@given(st.text(alphabet="AQgw-_09+/= \n", max_size=12))
def test_base64url_has_one_spelling(text: str) -> None:
    try:
        raw = decode(text)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text


def test_digest_is_sha_256_of_the_text() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- keys -------------------------------------------------------------------------------------


def test_keys_match_the_vector_of_rfc_8037() -> None:
    """Appendix A.1 and A.2: the same seed gives the same public key."""
    jwk = {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": "rfc8037",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    assert signing_key(jwk).as_jwk() == jwk
    assert verify_key(jwk).as_jwk() == {name: jwk[name] for name in ("kty", "crv", "kid", "x")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kty": "RSA"}, "kty"),
        ({"crv": "X25519"}, "crv"),
        ({"kid": ""}, "kid"),
        ({"kid": "k" * (KID_MAX + 1)}, "kid"),
        ({"kid": "қ"}, "kid"),
        ({"kid": 7}, "kid"),
        ({"kid": None}, "kid"),
        ({"x": None}, "x"),
        ({"x": "AAAA"}, "x"),
        ({"x": "not base64url!"}, "x"),
        ({"d": None}, "d"),
        ({"d": "AAAA"}, "d"),
        ({"d": "=="}, "d"),
        ({"d": encode(bytes(32))}, "do not belong together"),
    ],
)
def test_signing_key_says_which_member_is_wrong(change: dict[str, Any], says: str) -> None:
    with pytest.raises(KeyRefused, match=says):
        signing_key({**KEY.as_jwk(), **change})


def test_keys_show_no_secret_in_repr_or_refusal() -> None:
    secret = KEY.as_jwk()["d"]
    assert secret not in repr(KEY)
    with pytest.raises(KeyRefused) as refusal:
        signing_key({**KEY.as_jwk(), "x": OTHER.public.x})
    assert secret not in str(refusal.value)


def test_public_jwk_holds_no_private_part() -> None:
    assert set(VerifyKey(KEY.kid, KEY.public.x).as_jwk()) == {"kty", "crv", "kid", "x"}
