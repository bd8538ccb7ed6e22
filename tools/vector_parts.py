"""The made-up gateway behind the test vectors: its keys, its premises, what it seals.

Everything follows from fixed seeds; the keys are made from their own names and protect nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gateway.core.jws import SigningKey, TokenType, digest, seal
from gateway.core.message import Head, Heartbeat, heartbeat_payload, seal_message, uuid7
from gateway.core.model import (
    Event,
    Json,
    Message,
    Stamp,
    Stream,
    StreamKey,
)
from gateway.core.premises import (
    ContactIdZone,
    Input,
    LedgerSpec,
    Place,
    Point,
    PointKind,
    Premises,
    Route,
)

GATEWAY, ROUTE = "school-12-main", "security"
LEDGER, BOOT = "1ed9e4a0", "b0070001"
STARTS = {6: "57a47006", 7: "57a47007"}
NOON_MS = 1_796_126_400_000  # 2026-12-01T12:00:00Z
WARNING = "Test keys, made from their own names: they protect nothing and never may."


def made_key(name: str, kid: str) -> SigningKey:
    return SigningKey(kid, hashlib.sha256(f"qorgan test vectors: {name}".encode()).digest())


KEYS = {
    "gateway": made_key("gateway", "gw-2026"),
    "other-gateway": made_key("other gateway", "gw-2026"),
    "security": made_key("security", "sec-2026"),
    "case": made_key("case", "case-2026"),
    "desk": made_key("desk", "desk-1"),
}

RECEPTION = Point(
    id="reception",
    kind=PointKind.PANIC,
    input=Input("gpio:17", "gpio:27"),
    place=Place(building="A", floor="1", room="Қабылдау бөлмесі"),
    cid=ContactIdZone(1, 1),
)
CASHIER = Point(
    id="cashier",
    kind=PointKind.HOLD_UP,
    input=Input("gpio:22"),
    place=Place(building="Б", floor="2", room="Касса, кабинет № 204"),
    cid=ContactIdZone(1, 2),
    silent=True,
)
SECURITY = Route(id=ROUTE, via=("campus", "lte"), sends=("alarm", "fault", "state"), answers=True)
PREMISES = Premises(
    id="school-12",
    name="№ 12 мектеп",
    timezone="Asia/Almaty",
    gateway=GATEWAY,
    key_file="gateway.jwk",
    ledger=LedgerSpec("ledger.db"),
    points=(RECEPTION, CASHIER),
    uplinks=(),
    routes=(SECURITY,),
)


class Gateway:
    """Seals messages one after another, as a gateway's streams do."""

    def __init__(self, *, epoch: int, start: str, head: Head | None = None) -> None:
        self.epoch, self.start = epoch, start
        self.heads = {stream: Head() for stream in Stream}
        if head is not None:
            self.heads[Stream.ALARM] = head

    def seal(
        self,
        kind: str,
        subject: str,
        *,
        second: int,
        alarm: str | None = None,
        point: Point | None = None,
        stream: Stream = Stream.ALARM,
        data: Mapping[str, Json] | None = None,
        signer: SigningKey = KEYS["gateway"],
    ) -> Message:
        at_ms = NOON_MS + second * 1_000
        event = Event(
            id=event_id(second),
            type=kind,
            subject=subject,
            stamp=Stamp(at_ms, True, 4, BOOT, 3_600_000 + second * 1_000),
            alarm=alarm,
            data=data or {},
        )
        message, self.heads[stream] = seal_message(
            event,
            premises=PREMISES,
            route=SECURITY,
            point=point,
            key=StreamKey(ROUTE, stream, LEDGER, self.epoch, self.start),
            head=self.heads[stream],
            signer=signer,
        )
        return message


def event_id(second: int) -> str:
    return uuid7(NOON_MS + second * 1_000, hashlib.sha256(f"event {second}".encode()).digest())


def payload_of(token: bytes) -> dict[str, Any]:
    text = token.split(b".")[1].decode()
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def entry(name: str, note: str, token: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "note": note,
        "payload": payload_of(token),
        "token": token.decode(),
        "digest": digest(token),
    }


def raised(gateway: Gateway, second: int, point: Point = RECEPTION) -> Message:
    kind = f"alarm.{point.kind.value}.raised"
    return gateway.seal(kind, point.id, second=second, alarm=event_id(second), point=point)


def heartbeat(number: int, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "number": number,
        "ledger": LEDGER,
        "epoch": 6,
        "start": STARTS[6],
        "boot": BOOT,
        "monotonic_ms": 3_600_000 + number * 5_000,
        "utc_ms": NOON_MS + number * 5_000,
        "synchronised": True,
        "heads": {Stream.ALARM: 3, Stream.LOG: 1},
    }
    beat = Heartbeat(**(fields | changes))
    return seal(TokenType.HEARTBEAT, heartbeat_payload(beat), KEYS["gateway"])
