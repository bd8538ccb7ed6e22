"""How long one round over a bus takes: arithmetic before anything is wired. Pure.

An estimate: it knows the line exactly and the units' answers roughly. What the driver asks for in
which order is the driver's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby

from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.profile import Profile, Register

_REQUEST = 8  # characters: unit, function, address, count, CRC (MODBUS over Serial Line V1.02)
_FRAME = 5  # characters of an answer around its data: unit, function, byte count, CRC
_SILENCES = 7  # characters: 3.5 before the request, 3.5 before the answer

USUAL = 10
"""A unit usually answers in a tenth of the longest its profile allows.

Measured: Wiren Board 8 ms of 100, Bolid C2000-PP 5 to 49 of 300; ADAM-6060 takes 50 of 200.
"""


def character_bits(bus: Bus) -> int:
    """Bits of one character on the line: start, eight data bits, parity, stop."""
    return 1 + 8 + (bus.parity is not Parity.NONE) + bus.stop_bits


def reads(profile: Profile, channels: Collection[str]) -> list[tuple[Register, int]]:
    """The reads that bring the used inputs of a unit: the first register, and how many."""
    used = [channel for channel in profile.inputs if channel.name in channels]
    wanted = [
        register
        for channel in used
        for register in (channel.level, channel.counter)
        if register is not None
    ]
    flags = any(channel.level is channel.counter is None for channel in used)
    if flags and profile.event_log is not None:
        wanted.append(profile.event_log.unread)
    blocks: list[tuple[Register, int]] = []
    wanted.sort(key=lambda register: (register.table.value, register.address))
    for table, group in groupby(wanted, key=lambda register: register.table):
        most = profile.limits.bits if table.bits else profile.limits.registers
        hole = profile.limits.hole_bits if table.bits else profile.limits.hole_registers
        blocks += _joined(group, most=most, hole=hole)
    return blocks


def round_ms(bus: Bus, profile: Profile, channels: Collection[str]) -> float:
    """About how many milliseconds of the bus reading a unit's used inputs once takes."""
    total_ms = 0.0
    for first, count in reads(profile, channels):
        data = -(-count // 8) if first.table.bits else 2 * count
        total_ms += profile.timing.answer_ms / USUAL
        if bus.transport is not Transport.TCP:
            characters = _REQUEST + _FRAME + data + _SILENCES
            total_ms += characters * character_bits(bus) * 1_000 / bus.baud
    return total_ms


def _joined(
    registers: Iterator[Register], *, most: int, hole: int
) -> Iterator[tuple[Register, int]]:
    """Neighbours in one table as blocks of at most `most`, with at most `hole` between two."""
    first: Register | None = None
    count = 0
    for register in registers:
        if first is not None:
            end = register.address + register.words - first.address
            if register.address - (first.address + count) <= hole and end <= most:
                count = max(count, end)
                continue
            yield first, count
        first, count = register, register.words
    if first is not None:
        yield first, count
