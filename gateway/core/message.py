"""What goes on the wire, as payloads: Messages, Receipts and Heartbeats, written and read.

Messages are CloudEvents 1.0 (structured JSON), numbered in their Stream and chained by hash.
Reading is strict: a member missing, of the wrong type or unknown refuses the whole payload.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from gateway.core.jws import SigningKey, TokenType, digest, seal
from gateway.core.kinds import contact_id_of, severity_of
from gateway.core.members import Members, listed, text, whole_number
from gateway.core.model import (
    AlarmState,
    AlarmWord,
    Event,
    Json,
    Message,
    Receipt,
    Stream,
    StreamKey,
)
from gateway.core.premises import (
    Point,
    Premises,
    Route,
)

TYPE_PREFIX = "org.qorgan."
NEVER_REDACTED = frozenset({"alarm", "status", "severity", "clock"})
"""Without these a Message could not be understood, so no route may drop them."""

_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(utc_ms: int) -> str:
    """UTC with milliseconds and `Z` (RFC 3339)."""
    moment = _EPOCH + timedelta(milliseconds=utc_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_ms_of(text: str) -> int:
    """Unix milliseconds of an RFC 3339 UTC time; ValueError when it is not one."""
    if not _UTC.fullmatch(text):
        raise ValueError("a time must be RFC 3339, UTC, with T and Z")
    return round((datetime.fromisoformat(text) - _EPOCH) / timedelta(milliseconds=1))


def uuid7(utc_ms: int, entropy: bytes) -> str:
    """UUID version 7 (RFC 9562 §5.7) from 48 bits of Unix milliseconds and 10 bytes of entropy."""
    value = (utc_ms & (1 << 48) - 1) << 80 | int.from_bytes(entropy[:10], "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


# --- messages ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """Where a Stream stands in this epoch: its last number and the hash the next one names.

    `resumes` is (epoch, sequence) of the last Message the ledger holds, for an epoch's first.
    """

    sequence: int = 0
    previous: str | None = None
    resumes: tuple[int, int] | None = None


def seal_message(
    event: Event,
    *,
    premises: Premises,
    route: Route,
    point: Point | None,
    key: StreamKey,
    head: Head,
    signer: SigningKey,
) -> tuple[Message, Head]:
    """The Message a Route gets of an Event, and its Stream's Head after it: same in, same out."""
    sequence = head.sequence + 1
    payload: dict[str, Json] = {
        "specversion": "1.0",
        "id": event.id,
        "source": premises.source,
        "type": TYPE_PREFIX + event.type,
        "subject": event.subject,
        "time": rfc3339(event.stamp.utc_ms),
        "datacontenttype": "application/json",
        "route": key.route,
        "stream": key.stream.value,
        "ledger": key.ledger,
        "epoch": key.epoch,
        "start": key.start,
        "sequence": sequence,
    }
    if head.previous is not None:
        payload["previous"] = head.previous
    if head.resumes is not None:
        payload["resumesepoch"], payload["resumessequence"] = head.resumes
    payload["data"] = redacted(_data(event, point), route.redact)
    token = seal(TokenType.MESSAGE, payload, signer)
    message = Message(key, sequence, event.id, event.type, event.alarm, token)
    return message, replace(head, sequence=sequence, previous=digest(token), resumes=None)


def _data(event: Event, point: Point | None) -> dict[str, Json]:
    data: dict[str, Json] = {}
    if event.alarm is not None:
        data["alarm"] = event.alarm
    data["status"] = event.status.value
    data["severity"] = severity_of(event.type).value
    code = contact_id_of(event.type, point, event.data)
    if code is not None:
        data["contact_id"] = code
    if point is not None:
        data["place"] = point.place.as_json()
        data["point_kind"] = point.kind.value
    data.update(event.data)
    data["clock"] = event.stamp.as_json()
    return data


def redacted(data: Mapping[str, Json], drop: Sequence[str]) -> dict[str, Json]:
    """The data without the members a route may not see (`room` of `place.room` goes alone)."""
    kept = dict(data)
    for path in drop:
        name, _, rest = path.partition(".")
        inner = kept.get(name)
        if name in NEVER_REDACTED:
            continue
        if rest and isinstance(inner, dict):
            kept[name] = redacted(inner, (rest,))
        elif not rest:
            kept.pop(name, None)
    return kept


# --- receipts ---------------------------------------------------------------------------------


def receipt_payload(receipt: Receipt) -> dict[str, Json]:
    """A Receipt as JSON; `also`, `beat` and `alarms` are left out when there are none."""
    payload: dict[str, Json] = {
        "gateway": receipt.gateway,
        "route": receipt.key.route,
        "stream": receipt.key.stream.value,
        "ledger": receipt.key.ledger,
        "epoch": receipt.key.epoch,
        "start": receipt.key.start,
        "through": receipt.through,
    }
    if receipt.also:
        payload["also"] = [[first, last] for first, last in receipt.also]
    if receipt.beat is not None:
        payload["beat"] = receipt.beat
    if receipt.alarms:
        payload["alarms"] = [
            {"alarm": w.alarm, "state": w.state.value, "operator": w.operator, "at": w.at}
            for w in receipt.alarms
        ]
    return payload


def read_receipt(payload: Mapping[str, Any]) -> Receipt:
    """A Receipt from a verified payload; TokenRefused names the member that is wrong."""
    member = Members(payload, "receipt")
    receipt = Receipt(
        gateway=member.text("gateway"),
        key=StreamKey(
            route=member.text("route"),
            stream=member.parsed("stream", Stream),
            ledger=member.hex8("ledger"),
            epoch=member.number("epoch", least=1),
            start=member.hex8("start"),
        ),
        through=member.number("through"),
        also=tuple(member.parsed("also", _ranges, [])),
        beat=member.optional_number("beat"),
        alarms=tuple(member.parsed("alarms", _words, [])),
    )
    member.done()
    return receipt


def _ranges(value: Any) -> list[tuple[int, int]]:
    ranges = [(whole_number(first), whole_number(last)) for first, last in listed(value)]
    ends = [end for both in ranges for end in both]
    apart = all(last < first for (_, last), (first, _) in pairwise(ranges))
    if ends != sorted(ends) or 0 in ends or not apart:
        raise ValueError("ranges run upward and do not touch each other's numbers")
    return ranges


def _words(value: Any) -> list[AlarmWord]:
    words = []
    for item in listed(value):
        member = Members(item, "receipt's alarms")
        words.append(
            AlarmWord(
                alarm=member.text("alarm"),
                state=member.parsed("state", _said),
                operator=member.optional_number("operator"),
                at=member.parsed("at", _utc_text),
            )
        )
        member.done()
    return words


def _said(value: Any) -> AlarmState:
    state = AlarmState(value)
    if state is AlarmState.RAISED:
        raise ValueError("a centre says received or more")
    return state


# --- heartbeats -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A gateway's sign of life on one route and uplink; `number` rises per (start, route, uplink).

    heads: the last sequence of each stream, so that a lost last message shows. open: alarm ids;
    open_more: how many older ones are open that it does not name.
    """

    number: int
    ledger: str
    epoch: int
    start: str
    boot: str
    monotonic_ms: int
    utc_ms: int
    synchronised: bool
    heads: Mapping[Stream, int]
    open: tuple[str, ...] = ()
    isolated: tuple[str, ...] = ()
    modes: tuple[str, ...] = field(default=())
    open_more: int = 0


def heartbeat_payload(beat: Heartbeat) -> dict[str, Json]:
    """A Heartbeat as JSON; the lists, and a count of 0, are left out."""
    payload: dict[str, Json] = {
        "number": beat.number,
        "ledger": beat.ledger,
        "epoch": beat.epoch,
        "start": beat.start,
        "boot": beat.boot,
        "monotonic_ms": beat.monotonic_ms,
        "utc": rfc3339(beat.utc_ms),
        "synchronised": beat.synchronised,
        "heads": {stream.value: beat.heads.get(stream, 0) for stream in Stream},
    }
    lists = {"open": beat.open, "isolated": beat.isolated, "modes": beat.modes}
    payload.update({name: list(value) for name, value in lists.items() if value})
    if beat.open_more:
        payload["open_more"] = beat.open_more
    return payload


def read_heartbeat(payload: Mapping[str, Any]) -> Heartbeat:
    """A Heartbeat from a verified payload; TokenRefused names the member that is wrong."""
    member = Members(payload, "heartbeat")
    beat = Heartbeat(
        number=member.number("number", least=1),
        ledger=member.hex8("ledger"),
        epoch=member.number("epoch", least=1),
        start=member.hex8("start"),
        boot=member.hex8("boot"),
        monotonic_ms=member.number("monotonic_ms"),
        utc_ms=member.parsed("utc", utc_ms_of),
        synchronised=member.truth("synchronised"),
        heads=member.parsed("heads", _heads),
        open=member.parsed("open", _texts, []),
        isolated=member.parsed("isolated", _texts, []),
        modes=member.parsed("modes", _texts, []),
        open_more=member.optional_number("open_more") or 0,
    )
    member.done()
    return beat


def _heads(value: Any) -> dict[Stream, int]:
    heads = {Stream(name): whole_number(number) for name, number in value.items()}
    if len(heads) != len(Stream):
        raise ValueError("both streams have a head")
    return heads


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text(item) for item in listed(value))


def _utc_text(value: Any) -> str:
    utc_ms_of(value)
    return text(value)
