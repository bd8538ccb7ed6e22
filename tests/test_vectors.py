"""The published vectors: ours keeps them, and a second JOSE implementation agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from gateway.core.commands import Judge, Order, Refusal
from gateway.core.hardware import Door
from gateway.core.jws import TokenRefused, TokenType, digest, open_token, signing_key, verify_key
from gateway.core.message import heartbeat_payload, read_heartbeat, read_receipt, receipt_payload
from gateway.core.model import Fact
from gateway.core.premises import Input, LedgerSpec, Point, PointKind, Premises, Route, RouteKey
from simulators.centre.core.core import CentreCore
from simulators.centre.core.reading import MessageClock, Tie, age_of, open_message, tied

FOLDER = Path(__file__).parent / "vectors"
ROOT = FOLDER.parent.parent


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


JWKS = {entry["name"]: entry["jwk"] for entry in read("keys")["keys"]}
PUBLIC = {entry["name"]: verify_key(entry["public"]) for entry in read("keys")["keys"]}
VALID = [
    (TokenType.MESSAGE, "gateway", entry) for entry in read("messages")
] + [
    (TokenType.RECEIPT, "security", entry) for entry in read("receipts")
] + [
    (TokenType.HEARTBEAT, "gateway", entry) for entry in read("heartbeats")
] + [
    (TokenType.COMMAND, "desk", entry) for entry in read("commands")
]  # fmt: skip
VALID_NAMES = [f"{typ.value}-{entry['name']}" for typ, _, entry in VALID]
REFUSED = read("refused")
REFUSED_NAMES = [entry["name"] for entry in REFUSED]


def second_opinion(token: str, key: str) -> dict[str, Any]:
    """What jwcrypto reads, told to accept Ed25519 only; JWException when it is bad."""
    jws = JWS()
    jws.allowed_algs = ["Ed25519"]
    public = {name: value for name, value in JWKS[key].items() if name != "d"}
    jws.deserialize(token, JWK(**public))
    found: dict[str, Any] = json.loads(jws.payload)
    return found


def test_make_vectors_run_again_changes_nothing() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_vectors_keys_say_that_they_are_test_keys() -> None:
    assert "protect nothing" in read("keys")["warning"]
    assert all(signing_key(jwk).as_jwk() == jwk for jwk in JWKS.values())


@pytest.mark.parametrize(("typ", "key", "entry"), VALID, ids=VALID_NAMES)
def test_vectors_valid_tokens_open_to_their_payload(
    typ: TokenType, key: str, entry: dict[str, Any]
) -> None:
    token = entry["token"].encode()
    keys = {PUBLIC[key].kid: PUBLIC[key]}
    assert open_token(token, typ=typ, keys=keys) == (PUBLIC[key].kid, entry["payload"])
    assert digest(token) == entry["digest"]


@pytest.mark.parametrize(("typ", "key", "entry"), VALID, ids=VALID_NAMES)
def test_vectors_valid_tokens_pass_for_no_other_type(
    typ: TokenType, key: str, entry: dict[str, Any]
) -> None:
    keys = {PUBLIC[key].kid: PUBLIC[key]}
    for other in set(TokenType) - {typ}:
        with pytest.raises(TokenRefused, match="typ must be"):
            open_token(entry["token"].encode(), typ=other, keys=keys)


@pytest.mark.parametrize(("typ", "key", "entry"), VALID, ids=VALID_NAMES)
def test_vectors_valid_tokens_verify_in_jwcrypto(
    typ: TokenType, key: str, entry: dict[str, Any]
) -> None:
    assert second_opinion(entry["token"], key) == entry["payload"]
    jws = JWS()
    jws.deserialize(entry["token"])
    assert jws.jose_header["typ"] == typ.value


@pytest.mark.parametrize("entry", read("messages"), ids=lambda entry: entry["name"])
def test_vectors_messages_read_strictly(entry: dict[str, Any]) -> None:
    keys = {PUBLIC["gateway"].kid: PUBLIC["gateway"]}
    message = open_message(
        entry["token"].encode(), gateway="school-12-main", route="security", keys=keys
    )
    assert message.id == entry["payload"]["id"]
    assert message.data == entry["payload"]["data"]


@pytest.mark.parametrize("entry", read("receipts"), ids=lambda entry: entry["name"])
def test_vectors_receipts_read_and_write_alike(entry: dict[str, Any]) -> None:
    assert receipt_payload(read_receipt(entry["payload"])) == entry["payload"]


@pytest.mark.parametrize("entry", read("heartbeats"), ids=lambda entry: entry["name"])
def test_vectors_heartbeats_read_and_write_alike(entry: dict[str, Any]) -> None:
    assert heartbeat_payload(read_heartbeat(entry["payload"])) == entry["payload"]


@pytest.mark.parametrize("entry", REFUSED, ids=REFUSED_NAMES)
def test_vectors_tampered_tokens_are_refused(entry: dict[str, Any]) -> None:
    keys = {PUBLIC["gateway"].kid: PUBLIC["gateway"]}
    with pytest.raises(TokenRefused):
        open_message(entry["token"].encode(), gateway="school-12-main", route="security", keys=keys)


REASONS = {
    "form": ("base64url", "parts where", "not ASCII"),
    "header": ("header",),
    "alg": ("alg must be",),
    "typ": ("typ must be",),
    "key": ("not believed here",),
    "signature": ("the signature is not",),
    "route": ("another route",),
    "source": ("another gateway",),
    "member": ("the message",),
    "json": ("the payload", "JSON", "subject is not valid"),
}


@pytest.mark.parametrize("entry", REFUSED, ids=REFUSED_NAMES)
def test_vectors_tampered_tokens_are_refused_for_the_stated_reason(entry: dict[str, Any]) -> None:
    keys = {PUBLIC["gateway"].kid: PUBLIC["gateway"]}
    with pytest.raises(TokenRefused) as refusal:
        open_message(entry["token"].encode(), gateway="school-12-main", route="security", keys=keys)
    assert any(words in str(refusal.value) for words in REASONS[entry["reason"]])


BAD_SIGNATURES = [entry for entry in REFUSED if not entry["signature"] and entry["token"]]


@pytest.mark.parametrize("entry", BAD_SIGNATURES, ids=lambda entry: entry["name"])
def test_vectors_bad_signatures_are_refused_by_jwcrypto_too(entry: dict[str, Any]) -> None:
    with pytest.raises((JWException, ValueError)):
        second_opinion(entry["token"], "gateway")


def test_vectors_chain_over_a_crash_is_judged_step_by_step() -> None:
    story = read("chain")
    key = PUBLIC["gateway"]
    core = CentreCore(story["route"], {story["gateway"]: [key]}, signing_key(JWKS["security"]))
    for at_ms, step in enumerate(story["steps"]):
        token = step["token"].encode()
        verdict = core.receive(story["gateway"], story["route"], "campus", token, at_ms)
        if verdict.row is not None:
            core.stored(verdict.row)
        (outgoing,) = core.receipts_for([verdict])
        found = {
            "outcome": verdict.outcome.value,
            "marks": [mark.value for mark in verdict.marks],
            "gap": [list(span) for span in verdict.gap],
            "receipt": {
                "through": outgoing.receipt.through,
                "also": [list(span) for span in outgoing.receipt.also],
            },
        }
        assert found == {name: value for name, value in step.items() if name != "token"}, at_ms


def test_vectors_commands_are_judged_step_by_step() -> None:
    """By a gateway made from what the file says of it, not from what made the file."""
    story = read("judged")
    (rights,) = story["keys"]
    key = RouteKey("desk-1", JWKS["desk"]["x"], tuple(rights["verbs"]), tuple(rights["targets"]))
    doors = tuple(
        Point(name, PointKind.DOOR, Input(None, f"gpio:{pin}"), door=Door(**about))
        for pin, (name, about) in enumerate(story["doors"].items())
    )
    route = Route(story["route"], ("campus",), (), (key,))
    spec = LedgerSpec("")
    school = Premises("p", "", "", story["gateway"], "", spec, doors, (), (route,))
    judge = Judge(
        school, ledger=story["ledger"], boot=story["boot"], started_ms=story["started_ms"]
    )
    for step in story["steps"]:
        verdict = judge.judge(route.id, step["token"].encode(), now_ms=step["now_ms"])
        if isinstance(verdict, Refusal):
            found = "refused" if verdict.authentic else "not believed"
            assert verdict.why == step["why"], step["name"]
            assert verdict.accepts == step["accepts"], step["name"]
        else:
            found = "obeyed" if isinstance(verdict, Order) else "again"
        assert found == step["outcome"], step["name"]
        if isinstance(verdict, Order | Refusal):
            judge.answered(verdict, Fact("state.command.accepted", "x", 0))


def test_vectors_commands_show_every_outcome() -> None:
    outcomes = {step["outcome"] for step in read("judged")["steps"]}
    assert outcomes == {"obeyed", "again", "refused", "not believed"}


@pytest.mark.parametrize("case", read("age"), ids=lambda case: case["name"])
def test_vectors_age_is_judged_as_stated(case: dict[str, Any]) -> None:
    ties: dict[str, Tie] = {}
    synchronised = False
    for beat in case["heartbeats"]:
        held = ties.get(beat["boot"])
        ties[beat["boot"]] = tied(held, monotonic_ms=beat["monotonic_ms"], at_ms=beat["at_ms"])
        synchronised = beat["synchronised"]
    clock = MessageClock(**case["message"])
    age = age_of(clock, tie=ties.get(clock.boot), synchronised=synchronised, at_ms=case["at_ms"])
    found = {"age_ms": age.ms, "by": age.by.value, "late": age.late}
    assert found == {name: case[name] for name in found}
