"""The arithmetic of a line: how long characters, silences, frames and answers take. Pure.

Owns every timing number of the wire that is not a unit's own (those are `Timing`'s). It never asks
what time it is, and knows neither ports nor functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.profile import Timing

SILENT_CHARACTERS = 3.5
"""What ends a frame: MODBUS over Serial Line V1.02, 2.5.1.1."""

SERIAL_MARGIN_US = 20_000
"""Beside the arithmetic, for adapter and scheduler: one 16 ms FTDI latency period and some."""

NETWORK_MARGIN_US = 250_000
"""The same through TCP: one lost segment (Linux sends again after 200 ms at the earliest)."""

SERIAL_PIECE_US = 5_000
"""A driver hands a frame over in pieces; a shorter gap than this is not the end of a damaged one.

Only damaged frames are waited out like this. 5 ms: an adapter at 1 ms latency, some scheduling.
"""

NETWORK_PIECE_US = 50_000
"""The same through TCP, where a converter may put one frame into two segments."""

READ_BYTES, REPLY_BYTES = 8, 9
"""A read of one or two registers and its answer: what a line's limit is measured with."""


@dataclass(frozen=True, slots=True)
class Line:
    """How long things take on one bus. character_us is 0 where there is no line (Modbus TCP).

    margin_us: what an answer may be late by path and scheduler. piece_us: a gap shorter than this
    may be inside a frame that is still being handed over.
    """

    character_us: float
    margin_us: int
    piece_us: int

    def wire_us(self, count: int) -> int:
        """How long `count` bytes are on the line, rounded up."""
        return ceil(count * self.character_us)

    def silence_us(self, frame_ms: int = 0) -> int:
        """The silence that ends a frame: 3.5 characters, or a unit's `frame_ms` if that is longer.

        The standard fixes it at 1.75 ms above 19200 baud to spare slow interrupt handlers. We do
        not: the units in use keep 3.5 true characters there, and at 115200 it would cost a third of
        the line. A unit that needs more says so in its profile (`frame_ms`).
        """
        if not self.character_us:
            return 0
        return max(ceil(SILENT_CHARACTERS * self.character_us), frame_ms * 1_000)

    def quiet_us(self, frame_ms: int = 0) -> int:
        """After so long without a byte, what came in is all there is of it."""
        return max(self.silence_us(frame_ms), self.piece_us)

    def answer_us(self, *, request: int, answer: int, timing: Timing) -> int:
        """From the first byte sent to the moment an answer must be whole.

        request, answer: bytes on the line. The time to send, the longest the unit thinks, the time
        of its answer, and the margin.
        """
        thinks_us = timing.answer_ms * 1_000
        return self.wire_us(request) + thinks_us + self.wire_us(answer) + self.margin_us

    def limit_us(self, *, thinks_us: int) -> int:
        """The least an exchange can take here: what a poll rate is compared with.

        8 characters out, 3.5 silent, 9 back, 3.5 silent, and the unit's own answer time.
        """
        characters = READ_BYTES + REPLY_BYTES + 2 * SILENT_CHARACTERS
        return ceil(characters * self.character_us) + thinks_us


def line_of(bus: Bus) -> Line:
    """The line of a bus. Behind an RTU converter it is as slow as the configuration says.

    Raises ValueError for a baud rate or stop bits that cannot be.
    """
    networked = bus.transport is not Transport.RTU
    margin_us = NETWORK_MARGIN_US if networked else SERIAL_MARGIN_US
    piece_us = NETWORK_PIECE_US if networked else SERIAL_PIECE_US
    if bus.transport is Transport.TCP:
        return Line(character_us=0.0, margin_us=margin_us, piece_us=piece_us)
    if bus.baud < 1:
        raise ValueError(f"bus {bus.id}: {bus.baud} baud is no speed; give the line's, e.g. 19200")
    if bus.stop_bits not in {1, 2}:
        raise ValueError(f"bus {bus.id}: {bus.stop_bits} stop bits; a character ends with 1 or 2")
    bits = 1 + 8 + (bus.parity is not Parity.NONE) + bus.stop_bits
    return Line(character_us=bits * 1e6 / bus.baud, margin_us=margin_us, piece_us=piece_us)
