"""Command vectors: what a gateway answers to each token, in the order in which they come to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.commands import Again, Judge, Order, command_payload, read_command
from gateway.core.hardware import Door
from gateway.core.jws import TokenType, seal
from gateway.core.model import Fact, Json
from gateway.core.premises import Input, LedgerSpec, Point, PointKind, Premises, Route, RouteKey
from tools.vector_parts import BOOT, GATEWAY, KEYS, LEDGER, ROUTE, event_id, payload_of

STARTED_MS = 3_600_000
NOW_MS = STARTED_MS + 60_000
RIGHTS: dict[str, Any] = {
    "verbs": ["door.unlock", "door.lock", "lockdown.begin", "drill.begin"],
    "targets": ["main-door"],
}
SCHOOL = Premises(
    id="school-12",
    name="№ 12 мектеп",
    timezone="Asia/Almaty",
    gateway=GATEWAY,
    key_file="",
    ledger=LedgerSpec(""),
    points=(
        Point("main-door", PointKind.DOOR, Input(None, "gpio:5"), door=Door(remote_unlock=True)),
        Point("back-door", PointKind.DOOR, Input(None, "gpio:6"), door=Door()),
    ),
    uplinks=(),
    routes=(
        Route(
            ROUTE,
            ("campus",),
            (),
            (RouteKey("desk-1", KEYS["desk"].public.x, *map(tuple, RIGHTS.values())),),
        ),
    ),
)


def judged() -> dict[str, Any]:
    """The whole story: what the gateway is, what comes to it when, and what it makes of it."""
    judge = Judge(SCHOOL, ledger=LEDGER, boot=BOOT, started_ms=STARTED_MS)
    return {
        "note": "Tokens in the order in which they come to one gateway on one route's topic.",
        "gateway": GATEWAY,
        "route": ROUTE,
        "ledger": LEDGER,
        "boot": BOOT,
        "started_ms": STARTED_MS,
        "doors": {"main-door": {"remote_unlock": True}, "back-door": {"remote_unlock": False}},
        "keys": [{"key": "desk", **RIGHTS}],
        "steps": [_step(judge, *told) for told in _story()],
    }


def _story() -> list[tuple[str, str, bytes, int]]:
    """Name, what it shows, the token, and how long after NOW_MS it comes."""
    unlock = _command(1)
    late = _command(2, not_after_ms=NOW_MS + 9_000)
    header, payload, _ = _command(3).split(b".")
    forged = b".".join((header, payload, unlock.split(b".")[2]))
    return [
        ("unlock", "fresh, entitled: obeyed", unlock, 0),
        ("unlock-again", "the same token: answered again, not done again", unlock, 200),
        ("expired", "one ms after its expiry", late, 9_001),
        ("too-far", "a door is asked for 10 s ahead at most", _command(4, ahead_ms=10_001), 0),
        ("counter-used", "another id under a counter that was used", _command(1, id_number=61), 0),
        ("another-boot", "from before the machine restarted", _command(5, boot="b0070000"), 0),
        ("another-ledger", "for the box before this one", _command(6, ledger="1ed9e4a1"), 0),
        ("another-gateway", "signed right, for a neighbour", _command(7, gateway="school-13"), 0),
        (
            "before-start",
            "it may have been signed before this start of the gateway: 10 s are not over",
            _command(8, not_after_ms=STARTED_MS + 9_999),
            9_000 - 60_000,
        ),
        ("not-its-verb", "a verb the key does not have", _command(9, verb="door.release"), 0),
        ("not-its-door", "a door the key has no say over", _command(10, door="back-door"), 0),
        ("no-such-door", "nothing of that name", _command(11, door="side-door"), 0),
        ("no-such-verb", "nothing of that name", _command(12, verb="door.explode"), 0),
        ("signature", "another command's signature", forged, 0),
        ("typ", "the same members sealed as a receipt", _command(13, typ=TokenType.RECEIPT), 0),
        ("member-missing", "every member is needed", _command(14, counter=None), 0),
        ("lock", "and the desk goes on", _command(15, verb="door.lock"), 1_000),
    ]


def _command(
    number: int,
    *,
    verb: str = "door.unlock",
    door: str = "main-door",
    ahead_ms: int = 8_000,
    id_number: int | None = None,
    typ: TokenType = TokenType.COMMAND,
    **changes: Json,
) -> bytes:
    """A command of the desk; `changes` of its members, None leaves one out."""
    payload: dict[str, Json] = {
        "id": event_id(70 + (number if id_number is None else id_number)),
        "gateway": GATEWAY,
        "ledger": LEDGER,
        "boot": BOOT,
        "not_after_ms": NOW_MS + ahead_ms,
        "verb": verb,
        "target": {"door": door},
        "counter": number,
    }
    kept = {name: value for name, value in {**payload, **changes}.items() if value is not None}
    return seal(typ, kept, KEYS["desk"])


def _step(judge: Judge, name: str, note: str, token: bytes, after_ms: int) -> dict[str, Any]:
    now_ms = NOW_MS + after_ms
    verdict = judge.judge(ROUTE, token, now_ms=now_ms)
    found: Mapping[str, Any]
    if isinstance(verdict, Order):
        judge.answered(verdict, Fact("state.command.accepted", "main-door", 0))
        assert command_payload(read_command(payload_of(token)))["id"] == verdict.command
        found = {"outcome": "obeyed"}
    elif isinstance(verdict, Again):
        found = {"outcome": "again"}
    else:
        judge.answered(verdict, Fact("state.command.refused", GATEWAY, 0))
        found = {
            "outcome": "refused" if verdict.authentic else "not believed",
            "why": verdict.why,
            "accepts": verdict.accepts,
        }
    return {"name": name, "note": note, "token": token.decode(), "now_ms": now_ms, **found}
