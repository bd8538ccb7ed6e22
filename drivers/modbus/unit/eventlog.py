"""Reads a unit's own event log: oldest first, each acknowledged by its number. Pure.

Every event that sets a flag becomes one more on a counter of ours, so that whoever listens treats
it like a counted press: none is lost between two polls, none counts twice. It knows one layout, the
one of Bolid's S2000-PP: number (u16), length (u8), code (u8), then fields of type, length, value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from drivers.base import Wire
from drivers.modbus.plan.blocks import Want
from drivers.modbus.wire.request import Read, Reply, ReplyKind, Request
from drivers.modbus.wire.values import write_of
from gateway.core.hardware import channel_of
from gateway.core.model import Count, Level, Reading
from gateway.core.profile import EventLog

UNREAD = "unread"
"""The key of the want for the number of unread events."""

AGAIN_US = 1_000_000
"""Before the same is asked again: exception 15 ("not ready") is over after about a second."""

COUNTER_BITS = 32
_US_PER_S = 1_000_000


class _Step(StrEnum):
    REST = "rest"
    READ = "read"
    ACKNOWLEDGE = "acknowledge"


class LogReader:
    """One unit's event log, as far as somebody listens to its flags."""

    def __init__(self, log: EventLog, wires: Sequence[Wire], *, poll_us: int, now_us: int) -> None:
        """wires: those whose channels are flags of this log, `<flag>-<zone>`."""
        self._log = log
        self._wires = tuple(wires)
        self._counts = {channel_of(wire.address): 0 for wire in wires}
        self._born_us = now_us
        self._step = _Step.REST
        self._due_us = now_us
        self._unread = 0
        self._number: int | None = None
        self._known = False
        self.want = Want(UNREAD, log.unread, poll_us)

    def take(self, values: Mapping[str, int], at_us: int) -> list[Reading]:
        """What a poll said; the first one shows every flag as it stands."""
        if UNREAD not in values:
            return []
        self._unread = values[UNREAD]
        if self._unread and self._step is _Step.REST:
            self._step, self._due_us = _Step.READ, max(self._due_us, at_us)
        if self._known:
            return []
        self._known = True
        return [self._reading(wire, at_us) for wire in self._wires]

    def request(self, now_us: int) -> Request | None:
        """What to ask now; the same until `done`."""
        if self._step is _Step.REST or now_us < self._due_us:
            return None
        if self._step is _Step.READ:
            return Read(self._log.read.table, self._log.read.address, self._log.count)
        assert self._number is not None
        return write_of(self._log.acknowledge, self._number)

    def deadline(self) -> int | None:
        """When `request` will have something; None: not before a poll says so."""
        return None if self._step is _Step.REST else self._due_us

    def done(self, reply: Reply, now_us: int) -> list[Reading]:
        """What came of it. The log is read again after a failure, never anything selected anew."""
        if reply.kind is not ReplyKind.ANSWERED:
            self._due_us = now_us + AGAIN_US
            if reply.kind is ReplyKind.EXCEPTION and self._step is _Step.ACKNOWLEDGE:
                self._step = _Step.REST
            return []
        if self._step is _Step.ACKNOWLEDGE:
            self._unread -= 1
            self._step = _Step.READ if self._unread > 0 else _Step.REST
            return []
        number, code, zone = parse_event(reply.values, self._log.zone_field)
        if number == 0:
            self._step = _Step.REST
            return []
        again, self._number = number == self._number, number
        self._step = _Step.ACKNOWLEDGE
        flag = self._log.flag(code)
        channel = f"{flag}-{zone}"
        if again or flag is None or channel not in self._counts:
            return []
        self._counts[channel] += 1
        return [
            self._reading(wire, now_us)
            for wire in self._wires
            if channel_of(wire.address) == channel
        ]

    def silent(self, at_us: int) -> list[Reading]:
        """The unit fell silent: every flag once UNKNOWN; it is shown again when it is back."""
        told, self._known = self._known, False
        self._step = _Step.REST
        if not told:
            return []
        return [Reading(wire.address, Level.UNKNOWN, at_us) for wire in self._wires]

    def _reading(self, wire: Wire, at_us: int) -> Reading:
        """A flag's counter is as old as this reader: it begins at 0 with the driver."""
        uptime_s = (at_us - self._born_us) // _US_PER_S
        count = Count(self._counts[channel_of(wire.address)], COUNTER_BITS, uptime_s)
        return Reading(wire.address, Level.NORMAL, at_us, count)


def parse_event(words: Sequence[int], zone_field: int) -> tuple[int, int, int | None]:
    """Number, code and zone of an event as it was read; number 0: there is none.

    Zone None: the event names none.
    """
    octets = b"".join(word.to_bytes(2, "big") for word in words)
    if len(octets) < 4:
        return 0, 0, None
    number, code = int.from_bytes(octets[:2], "big"), octets[3]
    at, zone = 4, None
    while at + 2 <= len(octets) and octets[at] != 0:
        kind, length = octets[at], octets[at + 1]
        value = octets[at + 2 : at + 2 + length]
        if kind == zone_field and len(value) == length and zone is None:
            zone = int.from_bytes(value, "big")
        at += 2 + length
    return number, code, zone
