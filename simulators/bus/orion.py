"""The event log of a Bolid S2000-PP: events read oldest first and acknowledged by number.

Layout as public drivers parse it: number (16 bits, 0 is nothing), length, Orion code, then fields
of type, length, value. A wire that is closed here is an event of that code written down.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from gateway.clock import Clock
from gateway.core.profile import EventLog
from simulators.bus.registers import ILLEGAL_VALUE, Cell, ModbusError, Registers

_ROOM = 256
"""Events kept; the unit's own limit stands in a register no source gave a value for."""
_TIME_FIELD = 11


class _Flag:
    """A channel named `<flag>-<zone>`: closing it writes the event down."""

    def __init__(self, log: OrionLog, code: int, zone: int) -> None:
        self._log, self._code, self._zone = log, code, zone
        self._closed = False

    @property
    def wire_closed(self) -> bool:
        return self._closed

    def wire(self, *, closed: bool) -> None:
        """Closing it is the event; opening it is none."""
        if closed and not self._closed:
            self._log.note(self._code, self._zone)
        self._closed = closed

    def rest(self, *, closed: bool) -> None:
        """A flag rests open."""
        self._closed = closed


class OrionLog:
    """Events not yet acknowledged, and the registers they are read through."""

    def __init__(self, rule: EventLog, registers: Registers, clock: Clock) -> None:
        self._rule = rule
        self._clock = clock
        self._number = 0
        self._events: deque[tuple[int, bytes]] = deque(maxlen=_ROOM)
        self._flags: dict[str, _Flag] = {}
        registers.show(rule.unread.table, rule.unread.address, lambda: len(self._events))
        for index in range(rule.count):
            read = partial(self._word, index)
            registers.show(rule.read.table, rule.read.address + index, read)
        acknowledge = rule.acknowledge
        registers.put(acknowledge.table, acknowledge.address, Cell(lambda: 0, self._acknowledge))

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags it can raise, to be followed by a hyphen and the zone's number."""
        return tuple(dict.fromkeys(f"{flag}-<zone>" for _, flag in self._rule.codes))

    def __len__(self) -> int:
        """Events not acknowledged."""
        return len(self._events)

    def contact(self, channel: str) -> _Flag | None:
        """The wire of `<flag>-<zone>`; None where that is no flag of this log."""
        flag, _, zone = channel.rpartition("-")
        codes = {name: code for code, name in reversed(self._rule.codes)}
        if flag not in codes or not zone.isdecimal():
            return None
        if channel not in self._flags:
            self._flags[channel] = _Flag(self, codes[flag], int(zone))
        return self._flags[channel]

    def note(self, code: int, zone: int) -> None:
        """Write an event down; the oldest goes when there is no room."""
        self._number = self._number % 0xFFFF + 1
        second = self._clock.now_us() // 1_000_000
        at = bytes([second // 3_600 % 24, second // 60 % 60, second % 60, 1, 1, 26])
        fields = bytes([self._rule.zone_field, 2]) + zone.to_bytes(2, "big")
        fields += bytes([_TIME_FIELD, len(at)]) + at
        body = self._number.to_bytes(2, "big") + bytes([len(fields) + 1, code]) + fields
        self._events.append((self._number, body.ljust(2 * self._rule.count, b"\x00")))

    def _word(self, index: int) -> int:
        if not self._events:
            return 0
        return int.from_bytes(self._events[0][1][2 * index : 2 * index + 2], "big")

    def _acknowledge(self, number: int) -> None:
        """Only the oldest can be acknowledged; another number does not exist here."""
        if not self._events or self._events[0][0] != number:
            raise ModbusError(ILLEGAL_VALUE)
        self._events.popleft()
