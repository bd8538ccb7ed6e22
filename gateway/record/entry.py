"""The ledger's words: what goes in, who numbers it, what can go wrong, an Event as bytes.

Pure types and text, no SQL and no I/O, so that the writer and the daemon can speak of the ledger
without loading it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.model import Event, Message, Stamp, Status


class StorageTrouble(StrEnum):
    """Why something is not in the ledger."""

    FULL = "full"
    READ_ONLY = "read-only"
    IO_ERROR = "io-error"
    CORRUPT = "corrupt"
    CANNOT_OPEN = "cannot-open"
    GONE = "gone"
    BUSY = "busy"
    REFUSED = "refused"
    DROPPED = "dropped"
    STOPPED = "stopped"
    OTHER = "other"


class LedgerError(Exception):
    """What failed, in words; `reason` for code. REFUSED: the entry itself can never be recorded."""

    def __init__(self, reason: StorageTrouble, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class LedgerBusy(LedgerError):  # noqa: N818 -- names a state of the file: held by another process
    """Another process holds the file: two daemons must never number the same ledger."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which numbers a start gives out: ledger and start are 8 hex digits, epoch counts from 1."""

    ledger: str
    epoch: int
    start: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One event with all its messages: recorded together or not at all.

    An event that is already recorded may come again with further messages (routes that are owed
    it later); those it has are left as they are. kept: names and JSON texts that must be on disk
    with the event or not at all (the counter an alarm was counted from).
    """

    event: Event
    messages: tuple[Message, ...]
    kept: Mapping[str, str] = field(default_factory=dict)


def body_of(event: Event) -> bytes:
    """What of an event has no column of its own, as JSON; LedgerError REFUSED if it is not JSON."""
    stamp = event.stamp
    body = {
        "subject": event.subject,
        "status": event.status.value,
        "synchronised": stamp.synchronised,
        "error_ms": stamp.error_ms,
        "boot": stamp.boot,
        "monotonic_ms": stamp.monotonic_ms,
        "data": dict(event.data),
    }
    try:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError) as exc:
        raise LedgerError(
            StorageTrouble.REFUSED, f"the data of {event.type} {event.id} cannot be written as JSON"
        ) from exc


def revive(event_id: str, event_type: str, alarm: str | None, utc_ms: int, body: bytes) -> Event:
    """The Event that `body_of` wrote; ValueError, KeyError or TypeError when it is damaged."""
    kept = json.loads(body)
    return Event(
        id=event_id,
        type=event_type,
        subject=kept["subject"],
        stamp=Stamp(
            utc_ms=utc_ms,
            synchronised=kept["synchronised"],
            error_ms=kept["error_ms"],
            boot=kept["boot"],
            monotonic_ms=kept["monotonic_ms"],
        ),
        alarm=alarm,
        status=Status(kept["status"]),
        data=kept["data"],
    )
