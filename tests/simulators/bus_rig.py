"""A bus for tests: one unit of a shipped profile, and a master that says what it is told to say."""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from gateway.clock import Clock
from gateway.core.hardware import Device
from gateway.core.profile import Table
from simulators.bus.frames import rtu, rtu_parts
from simulators.bus.line import Line
from simulators.bus.shipped import profile
from simulators.bus.units import SimulatedUnit
from simulators.virtual.time import VirtualClock, run_virtual

READ = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


def unit_of(name: str, clock: Clock, *, unit: int = 1, seed: int = 1) -> SimulatedUnit:
    """A unit of a shipped profile."""
    device = Device(f"{name}-{unit}", "bus", unit, profile(name))
    return SimulatedUnit(device, clock=clock, random=Random(seed))


def ask(unit: SimulatedUnit, pdu: bytes) -> bytes:
    """What it answers to a PDU, without a line."""
    answer = unit.hear(pdu)
    assert answer is not None
    return answer.pdu


def read(unit: SimulatedUnit, table: Table, address: int, count: int = 1) -> list[int]:
    """Values of a table, or an assertion where it refuses."""
    pdu = ask(unit, struct.pack(">BHH", READ[table], address, count))
    assert pdu[0] == READ[table], f"exception {pdu[1]}"
    if table.bits:
        return [pdu[2 + one // 8] >> one % 8 & 1 for one in range(count)]
    return list(struct.unpack(f">{count}H", pdu[2:]))


def write(unit: SimulatedUnit, address: int, value: int) -> None:
    """Function 6."""
    pdu = struct.pack(">BHH", 6, address, value)
    assert ask(unit, pdu) == pdu


def coil(unit: SimulatedUnit, address: int, value: int) -> None:
    """Function 5 with the value field as given."""
    pdu = struct.pack(">BHH", 5, address, value)
    assert ask(unit, pdu) == pdu


class Master:
    """Says bytes on a line and keeps what comes back, with the moment."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self.line = line
        self.clock = clock
        self.heard = b""
        self.moments: list[int] = []
        line.hear = self._hear

    def _hear(self, data: bytes) -> None:
        self.heard += data
        self.moments.append(self.clock.now_us())

    def take(self) -> bytes:
        """All heard since the last time."""
        heard, self.heard = self.heard, b""
        return heard

    async def ask(self, unit: int, pdu: bytes, *, wait_s: float = 0.5) -> bytes | None:
        """The PDU of the answer; None where no whole frame came back."""
        self.take()
        self.line.say(rtu(unit, pdu))
        await self.clock.sleep(wait_s)
        parts = rtu_parts(self.take())
        return None if parts is None else parts[1]


def virtually(scenario: Callable[[VirtualClock], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario under virtual time."""

    async def run(clock: VirtualClock, _dice: Random) -> None:
        await scenario(clock)

    run_virtual(run, seed=1)


def bus(
    *units: SimulatedUnit, clock: Clock, baud: int = 9_600, seed: int = 1
) -> tuple[Line, Master]:
    """A line with these units and a master."""
    line = Line(clock=clock, random=Random(seed), baud=baud)
    for unit in units:
        line.add(unit)
    return line, Master(line, clock)
