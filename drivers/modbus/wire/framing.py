"""Whole frames out of a stream of bytes, on a serial line (RTU) and in TCP (MBAP).

Says what came, never whether it is fresh: that is `owed.py`'s and `wire.py`'s. Knows no time; the
wire tells it when the line has fallen quiet, and only then is anything but a clean frame looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Protocol

from drivers.modbus.wire.frame import (
    EXCEPTION,
    LONGEST_RTU,
    SHORTEST_RTU,
    Ask,
    crc,
    mbap,
    rtu,
    rtu_size,
)

_HEADER = 7
"""Transaction number, protocol, length, unit (Messaging on TCP/IP V1.0b, 3.1.3)."""

_KEPT = 2 * LONGEST_RTU
"""As many bytes are looked at for a frame; what a flood brings beyond them is junk."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole, undamaged frame. mine: by unit and form (or number), the answer to what was asked.

    On a serial line a late answer to an equal question is `mine` as well.
    """

    unit: int
    pdu: bytes
    mine: bool


class Framing(Protocol):
    """What the wire needs of either form.

    junk: bytes that belonged to no frame; damaged: heaps of them as long as a frame. numbered:
    answers carry the number of their question. spoilt: the unit's answer has come, damaged.
    doubtful: our own bytes came back once, and nobody can tell an echo from an answer.
    """

    junk: int
    damaged: int
    numbered: bool
    spoilt: bool
    doubtful: bool

    @property
    def pending(self) -> bool:
        """True while bytes wait for more, or for silence."""

    @property
    def hopeful(self) -> bool:
        """True while they begin as the answer does and are too few: worth a longer wait."""

    def opened(self) -> None:
        """The port was opened: forget what came before."""

    def begin(self, ask: Ask) -> bytes:
        """The bytes of a request. Everything from here on is looked at as an answer to it."""

    def size(self, ask: Ask) -> int:
        """How many bytes its answer has."""

    def feed(self, data: bytes) -> None:
        """These came in."""

    def take(self, *, quiet: bool) -> Frame | None:
        """The next whole frame. quiet: nothing more follows; look behind damage, drop the rest."""


class _Own(Enum):
    """What to do about our own bytes at the head."""

    NONE = 0
    WAIT = 1
    STRIPPED = 2


class RtuFraming:
    """Frames with a CRC, on a line with noise, echoes and other units.

    A clean frame at the head is taken at once. Behind anything but an idle line's 00 and FF, a
    frame is taken only when the line is quiet and no longer undamaged frame encloses it.
    """

    numbered = False

    def __init__(self, *, echo: bool | None) -> None:
        self.junk = 0
        self.damaged = 0
        self.spoilt = False
        self.doubtful = False
        self._configured = echo
        self._echo = echo
        self._heap = bytearray()
        self._ask: Ask | None = None
        self._sent = b""
        self._idle = b"\x00\xff"
        self._clean = True
        self._strip = False

    @property
    def echo(self) -> bool | None:
        """Whether our own bytes come back, as configured or found out; None while unknown."""
        return self._echo

    @property
    def pending(self) -> bool:
        return bool(self._heap)

    @property
    def hopeful(self) -> bool:
        if self._ask is None or not self._heap or self._heap[0] != self._ask.unit:
            return False
        size = rtu_size(self._heap[:3])
        return size is not None and len(self._heap) < (size or SHORTEST_RTU)

    def opened(self) -> None:
        self._heap.clear()
        self._ask, self._sent = None, b""
        self._echo = self._configured

    def begin(self, ask: Ask) -> bytes:
        self.junk += len(self._heap)
        self._heap.clear()
        self._ask = ask
        self._sent = rtu(ask.unit, ask.pdu)
        self._idle = b"\x00" if ask.unit == 0xFF else b"\x00\xff"
        self._clean, self._strip = True, True
        self.spoilt = self.doubtful = False
        return self._sent

    def size(self, ask: Ask) -> int:
        return 1 + ask.answer_bytes + 2

    def feed(self, data: bytes) -> None:
        self._heap += data
        surplus = len(self._heap) - _KEPT
        if surplus > 0:
            self._forget(surplus)

    def take(self, *, quiet: bool) -> Frame | None:
        if not self._heap:
            return None
        if self._undisturbed():
            unit, pdu = self._heap[0], bytes(self._heap[1:-2])
            self._heap.clear()
            self._clean = False
            return Frame(unit, pdu, mine=True)
        while self._heap:
            self._skip_idle()
            own = self._own(quiet=quiet)
            if own is _Own.WAIT:
                break
            if own is _Own.STRIPPED:
                continue
            size = rtu_size(self._heap[:3])
            if size and len(self._heap) >= size and not crc(self._heap[:size]):
                return self._cut(size)
            if not quiet or not self._hunt():
                break
        return None

    def _undisturbed(self) -> bool:
        """The answer, whole, and nothing else, on a line without echo: nearly always so.

        Everything else gives the same, only later; this is what a poll costs the processor.
        """
        heap, ask = self._heap, self._ask
        return (
            ask is not None
            and self._echo is False
            and len(heap) == 3 + ask.answer_bytes
            and heap[0] == ask.unit
            and heap[0] not in self._idle
            and heap.startswith(ask.head, 1)
            and not heap.startswith(self._sent)
            and not _known_crc(bytes(heap))
        )

    def _skip_idle(self) -> None:
        """A line without bias, or a driver let go late, shows as 00 or FF; no frame begins so."""
        idle = len(self._heap) - len(self._heap.lstrip(self._idle))
        if idle:
            self._forget(idle)

    def _own(self, *, quiet: bool) -> _Own:
        """What to do about our own request, when it stands at the head.

        Answers to functions 5 and 6 look exactly like it. Then the first copy is the echo on a line
        that echoes; on a line not known yet it is held back until a second one shows.
        """
        size = len(self._sent)
        if not self._strip or not self._heap:
            return _Own.NONE
        if not self._heap.startswith(self._sent):
            begun = self._echo is not False and self._sent.startswith(self._heap)
            return _Own.WAIT if begun and not quiet else _Own.NONE
        if not self._mirrored:
            # Whatever the configuration says: nothing else on a line could have sent this.
            self._echo = True
        elif self._echo is False:
            return _Own.NONE
        elif self._echo is None:
            if self._heap.startswith(2 * self._sent):
                self._echo = True
            elif not quiet:
                return _Own.WAIT
            else:
                self.doubtful = True
        del self._heap[:size]
        self._strip = False
        return _Own.STRIPPED

    @property
    def _mirrored(self) -> bool:
        """True when the answer may be, byte for byte, what was asked."""
        return self._ask is not None and self._ask.answered_by(self._ask.pdu)

    def _cut(self, size: int) -> Frame:
        unit, pdu = self._heap[0], bytes(self._heap[1 : size - 2])
        del self._heap[:size]
        ask = self._ask
        mine = ask is not None and unit == ask.unit and ask.fits(pdu)
        if mine and self._clean and self._strip and self._echo is None:
            self._echo = False
        self._clean = False
        return Frame(unit, pdu, mine)

    def _hunt(self) -> bool:
        """The line is quiet: bring the first provable frame to the head, or drop everything."""
        heap = bytes(self._heap)
        at = 0
        while at < len(heap):
            if self._strip and not self._mirrored and at and heap.startswith(self._sent, at):
                break
            size = rtu_size(heap[at : at + 3])
            if at and size and at + size <= len(heap) and not crc(heap[at : at + size]):
                end = _enclosed(heap, at, at + size)
                if end is None:
                    break
                at = end
            else:
                at += 1
        self._spoil(heap[:at])
        self._forget(at)
        return bool(self._heap)

    def _spoil(self, heap: bytes) -> None:
        """Count a heap as a damaged frame, and see whether it was the answer waited for.

        It was when it begins as the answer does, for three bytes, and is no longer; it may have
        been the echo while an echo is still to come.
        """
        self.damaged += 1
        ask = self._ask
        echo_to_come = self._strip and self._echo is not False
        if ask is None or echo_to_come or len(heap) < SHORTEST_RTU - 1 or heap[0] != ask.unit:
            return
        if heap.startswith(ask.head[:2], 1):
            self.spoilt = self.spoilt or len(heap) <= self.size(ask)
        elif heap[1] == ask.function | EXCEPTION:
            self.spoilt = self.spoilt or len(heap) <= SHORTEST_RTU

    def _forget(self, count: int) -> None:
        del self._heap[:count]
        self.junk += count
        self._clean = False


class TcpFraming:
    """Frames with a transaction number; a number that is not the last one given out is late."""

    numbered = True
    doubtful = False
    spoilt = False

    def __init__(self) -> None:
        self.junk = 0
        self.damaged = 0
        self._heap = bytearray()
        self._number = 0
        self._ask: Ask | None = None

    @property
    def pending(self) -> bool:
        return bool(self._heap)

    @property
    def hopeful(self) -> bool:
        return bool(self._size() is not None)

    def opened(self) -> None:
        self._heap.clear()

    def begin(self, ask: Ask) -> bytes:
        self._number = self._number % 0xFFFF + 1
        self._ask = ask
        return mbap(self._number, ask.unit, ask.pdu)

    def size(self, ask: Ask) -> int:
        return _HEADER + ask.answer_bytes

    def feed(self, data: bytes) -> None:
        self._heap += data
        surplus = len(self._heap) - _KEPT
        if surplus > 0:
            self._forget(surplus)

    def take(self, *, quiet: bool) -> Frame | None:
        while self._heap:
            size = self._size()
            if size and len(self._heap) >= size:
                return self._cut(size)
            if size is not None and not quiet:
                break
            if size is None and self._resynchronise():
                continue
            if quiet:
                self.damaged += 1
                self._forget(len(self._heap))
            break
        return None

    def _size(self) -> int | None:
        """How long the frame at the head is; 0: too early to tell; None: it is none."""
        if len(self._heap) < _HEADER + 2:
            return 0 if not any(self._heap[2:4]) else None
        _, protocol, length = struct.unpack_from(">HHH", self._heap)
        return 6 + length if protocol == 0 and 3 <= length <= 254 else None

    def _resynchronise(self) -> bool:
        """Find the answer to the last request behind bytes that are no frame."""
        if self._ask is None:
            return False
        number = struct.pack(">HH", self._number, 0)
        for length in (self._ask.answer_bytes + 1, 3):
            at = self._heap.find(number + struct.pack(">HB", length, self._ask.unit))
            if at > 0:
                self.damaged += 1
                self._forget(at)
                return True
        return False

    def _cut(self, size: int) -> Frame:
        (number,) = struct.unpack_from(">H", self._heap)
        unit, pdu = self._heap[6], bytes(self._heap[_HEADER:size])
        del self._heap[:size]
        ask = self._ask
        return Frame(unit, pdu, ask is not None and number == self._number and unit == ask.unit)

    def _forget(self, count: int) -> None:
        del self._heap[:count]
        self.junk += count


_known_crc = lru_cache(maxsize=1_024)(crc)
"""Answers to polls are the same again and again; a sum takes a turn of Python for each byte."""


def _enclosed(heap: bytes, start: int, end: int) -> int | None:
    """Where the undamaged frame ends that holds heap[start:end] inside it; None: there is none.

    What stands in another frame's data is no answer, however right it looks.
    """
    for first in range(start):
        value = crc(heap[first:end])
        for last in range(end, len(heap) + 1):
            if last > end:
                value = crc(heap[last - 1 : last], value)
            if value == 0:
                return last
    return None
