"""What a centre reads out of a token: a Message, strictly, and how old it is.

Pure functions and frozen data: no clock, no disk, no network. `core` decides with them;
the published vectors in tests/vectors fix what they must answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.core.jws import TokenRefused, TokenType, VerifyKey, open_token
from gateway.core.message import TYPE_PREFIX, Heartbeat, read_heartbeat, utc_ms_of
from gateway.core.model import Severity, Status, Stream, StreamKey

NUMBER_MAX = 2**53 - 1
"""The largest whole number every JSON reader and every database column holds exactly."""
LATE_AFTER_MS = 60_000
"""An alarm older than this when it arrives is shown LATE, with its age."""
DRIFT_PPM = 200
"""How fast two free-running clocks may part. A quartz is within 50 ppm; without an allowance a
gateway whose clock runs slow would look a minute late after two weeks of one boot."""


# --- reading a Message ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageClock:
    """The gateway's clocks when it happened: CLOCK_BOOTTIME of that boot, and whether UTC held."""

    boot: str
    monotonic_ms: int
    utc_ms: int
    synchronised: bool


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A verified Message. `type` is without its prefix; `time` is the text that was signed.

    previous: hash of the stream's message before this one. resumes: (epoch, sequence) of that one
    when it belongs to an earlier epoch.
    """

    gateway: str
    key: StreamKey
    sequence: int
    id: str
    type: str
    subject: str
    time: str
    previous: str | None
    resumes: tuple[int, int] | None
    clock: MessageClock
    data: Mapping[str, Any]

    @property
    def alarm(self) -> str | None:
        """The alarm it belongs to; a raised alarm that names none is its own."""
        named: str | None = self.data.get("alarm")
        return self.id if named is None and self.type.startswith("alarm.") else named


def _like(form: str) -> Callable[[Any], bool]:
    compiled = re.compile(form)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _number(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= NUMBER_MAX


def _one_of(enum: type[StrEnum]) -> Callable[[Any], bool]:
    names = frozenset(member.value for member in enum)
    return lambda value: isinstance(value, str) and value in names


def _is_time(value: Any) -> bool:
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    if not isinstance(value, str) or re.fullmatch(form, value, re.ASCII) is None:
        return False
    try:
        return utc_ms_of(value) >= 0
    except ValueError:
        return False


_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_HEX8 = _like(r"[0-9a-f]{8}")
_MEMBERS: dict[str, Callable[[Any], bool]] = {
    "specversion": lambda value: value == "1.0",
    "id": _like(_UUID),
    "source": _like(r"/premises/[^/]+/gateways/[a-z0-9-]{1,63}"),
    "type": _like(r"org\.qorgan(\.[a-z0-9-]{1,40}){2,5}"),
    "subject": _like(r".{1,200}"),
    "time": _is_time,
    "datacontenttype": lambda value: value == "application/json",
    "route": _like(r".{1,64}"),
    "stream": _one_of(Stream),
    "ledger": _HEX8,
    "epoch": _number(1),
    "start": _HEX8,
    "sequence": _number(1),
    "data": lambda value: isinstance(value, dict),
}
_MAY_LACK: dict[str, Callable[[Any], bool]] = {
    "previous": _like(r"[0-9a-f]{64}"),
    "resumesepoch": _number(1),
    "resumessequence": _number(1),
}
_DATA: dict[str, Callable[[Any], bool]] = {
    "status": _one_of(Status),
    "severity": _one_of(Severity),
    "clock": lambda value: isinstance(value, dict),
}
_DATA_MAY_LACK: dict[str, Callable[[Any], bool]] = {"alarm": _like(_UUID)}
_CLOCK: dict[str, Callable[[Any], bool]] = {
    "synchronised": lambda value: isinstance(value, bool),
    "error_ms": lambda value: value is None or _number(0)(value),
    "boot": _HEX8,
    "monotonic_ms": _number(0),
}


def _check(
    found: Mapping[str, Any],
    what: str,
    needed: Mapping[str, Callable[[Any], bool]],
    may_lack: Mapping[str, Callable[[Any], bool]],
) -> None:
    for name, valid in {**needed, **may_lack}.items():
        if name not in found:
            if name in needed:
                raise TokenRefused(f"the {what} has no {name}")
        elif not valid(found[name]):
            raise TokenRefused(f"the {what}'s {name} is not valid")


def read_message(payload: Mapping[str, Any], *, gateway: str, route: str) -> OpenedMessage:
    """A Message from a verified payload; TokenRefused names the member that is wrong.

    The envelope is closed: an unknown member refuses it. `data` is open, so that a newer gateway
    can tell more; of it only alarm, status, severity and clock are looked at here.
    """
    _check(payload, "message", _MEMBERS, _MAY_LACK)
    if not payload.keys() <= _MEMBERS.keys() | _MAY_LACK.keys():
        raise TokenRefused("the message has unknown members")
    if ("resumesepoch" in payload) != ("resumessequence" in payload):
        raise TokenRefused("the message has one of resumesepoch and resumessequence")
    data: Mapping[str, Any] = payload["data"]
    _check(data, "message's data", _DATA, _DATA_MAY_LACK)
    clock = data["clock"]
    _check(clock, "message's clock", _CLOCK, {})
    try:
        json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as exc:
        raise TokenRefused("the message holds what JSON cannot carry") from exc
    if payload["source"].rpartition("/")[2] != gateway:
        raise TokenRefused("the source is another gateway")
    if payload["route"] != route:
        raise TokenRefused("sealed for another route")
    resumes = payload.get("resumesepoch"), payload.get("resumessequence")
    return OpenedMessage(
        gateway=gateway,
        key=StreamKey(
            route=route,
            stream=Stream(payload["stream"]),
            ledger=payload["ledger"],
            epoch=payload["epoch"],
            start=payload["start"],
        ),
        sequence=payload["sequence"],
        id=payload["id"],
        type=payload["type"].removeprefix(TYPE_PREFIX),
        subject=payload["subject"],
        time=payload["time"],
        previous=payload.get("previous"),
        resumes=None if resumes[0] is None or resumes[1] is None else (resumes[0], resumes[1]),
        clock=MessageClock(
            boot=clock["boot"],
            monotonic_ms=clock["monotonic_ms"],
            utc_ms=utc_ms_of(payload["time"]),
            synchronised=clock["synchronised"],
        ),
        data=data,
    )


def open_message(
    token: bytes, *, gateway: str, route: str, keys: Mapping[str, VerifyKey]
) -> OpenedMessage:
    """Verify a Message under this gateway's own keys and read it; TokenRefused says why not."""
    _, payload = open_token(token, typ=TokenType.MESSAGE, keys=keys)
    return read_message(payload, gateway=gateway, route=route)


def open_heartbeat(token: bytes, *, keys: Mapping[str, VerifyKey]) -> Heartbeat:
    """Verify a Heartbeat under this gateway's own keys and read it; TokenRefused says why not."""
    _, payload = open_token(token, typ=TokenType.HEARTBEAT, keys=keys)
    beat = read_heartbeat(payload)
    numbers = (beat.number, beat.epoch, beat.monotonic_ms, *beat.heads.values())
    if max(numbers) > NUMBER_MAX:
        raise TokenRefused("the heartbeat holds a number beyond 2^53 - 1")
    return beat


# --- age --------------------------------------------------------------------------------------


class AgeBy(StrEnum):
    """What an age rests on."""

    MONOTONIC = "monotonic"
    UTC = "utc"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago something happened, None when nothing says so."""

    ms: int | None
    by: AgeBy

    @property
    def late(self) -> bool:
        """True over 60 s, and when the age is unknown: the cautious reading."""
        return self.ms is None or self.ms > LATE_AFTER_MS


@dataclass(frozen=True, slots=True)
class Tie:
    """How one boot's CLOCK_BOOTTIME lies against the receiver's clock, as known at `at_ms`.

    offset_ms is the smallest `arrival - monotonic_ms` its heartbeats have shown: the fastest of
    them was delayed least. A stalled link therefore makes nothing look young.
    """

    offset_ms: int
    at_ms: int

    def offset_at(self, at_ms: int) -> int:
        """The offset with what the clocks may have parted since (DRIFT_PPM)."""
        return self.offset_ms + max(0, at_ms - self.at_ms) * DRIFT_PPM // 1_000_000


def tied(held: Tie | None, *, monotonic_ms: int, at_ms: int) -> Tie:
    """The Tie of a boot after one more of its heartbeats, arrived at `at_ms`."""
    offset_ms = at_ms - monotonic_ms
    if held is not None:
        offset_ms = min(offset_ms, held.offset_at(at_ms))
    return Tie(offset_ms, at_ms)


def age_of(clock: MessageClock, *, tie: Tie | None, synchronised: bool, at_ms: int) -> Age:
    """The age at `at_ms` (receiver's UTC milliseconds, a clock that never steps).

    tie: of the message's own boot, None when no heartbeat of that boot was heard. synchronised:
    what the gateway's last heartbeat, of whatever boot, said of its UTC.
    """
    if tie is not None:
        return Age(max(0, at_ms - clock.monotonic_ms - tie.offset_at(at_ms)), AgeBy.MONOTONIC)
    if clock.synchronised and synchronised:
        return Age(max(0, at_ms - clock.utc_ms), AgeBy.UTC)
    return Age(None, AgeBy.UNKNOWN)
