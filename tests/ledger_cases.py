"""Entries for a ledger, made without keys or configuration: the ledger never looks into a token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.core.kinds import stream_of
from gateway.core.model import Event, Json, Message, Stamp, StreamKey
from gateway.record.entry import Entry, Identity
from gateway.record.ledger import Ledger

BEGAN_UTC_MS = 1_780_000_000_000
ROUTES = ("security", "case")


class Numbers:
    """Gives what the recorder gives: ids, and numbers per stream for one start."""

    def __init__(self, identity: Identity, *, prefix: str = "e", token_bytes: int = 40) -> None:
        self._identity = identity
        self._prefix = prefix
        self._token_bytes = token_bytes
        self._events = 0
        self._heads: dict[StreamKey, int] = {}

    def key(self, route: str, event_type: str) -> StreamKey:
        """The stream of this start that such an event travels in."""
        me = self._identity
        return StreamKey(route, stream_of(event_type), me.ledger, me.epoch, me.start)

    def event(
        self,
        event_type: str = "alarm.panic.raised",
        *,
        subject: str = "reception",
        alarm: str | None = None,
        utc_ms: int | None = None,
        data: Mapping[str, Json] | None = None,
    ) -> Event:
        """A new event; a raised alarm is its own alarm."""
        self._events += 1
        event_id = f"{self._prefix}-{self._identity.epoch}-{self._events}"
        if event_type.startswith("alarm.") and event_type.endswith(".raised"):
            alarm = event_id
        stamp = Stamp(
            utc_ms=BEGAN_UTC_MS + self._events if utc_ms is None else utc_ms,
            synchronised=True,
            error_ms=12,
            boot="b0070000",
            monotonic_ms=self._events,
        )
        return Event(event_id, event_type, subject, stamp, alarm, data=data or {})

    def entry(self, event: Event, *, routes: tuple[str, ...] = ROUTES) -> Entry:
        """The event with the next message of each route's stream."""
        messages = []
        for route in routes:
            key = self.key(route, event.type)
            sequence = self._heads[key] = self._heads.get(key, 0) + 1
            token = f"{event.id}/{route}/{sequence}/".ljust(self._token_bytes, "x").encode()
            messages.append(Message(key, sequence, event.id, event.type, event.alarm, token))
        return Entry(event, tuple(messages))

    def alarm(self, *, routes: tuple[str, ...] = ROUTES) -> Entry:
        """A pressed button."""
        return self.entry(self.event(), routes=routes)

    def log(self, *, routes: tuple[str, ...] = ROUTES) -> Entry:
        """Something for the log stream."""
        return self.entry(self.event("access.door.granted"), routes=routes)


def open_ledger(path: Path, *, start: str = "0000000a", vfs: str | None = None) -> Ledger:
    """The ledger at a path, as a daemon opens it."""
    return Ledger.open(
        str(path), start=start, fresh_id="1ed9e700", boot="b0070000", utc_ms=BEGAN_UTC_MS, vfs=vfs
    )
