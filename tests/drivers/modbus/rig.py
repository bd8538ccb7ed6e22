"""A line in memory under virtual time: what a test says comes back, to the microsecond."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from drivers.modbus.wire.port import PortError
from drivers.modbus.wire.wire import LATE_MS, Wire
from gateway.clock import Clock
from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.profile import Timing
from simulators.virtual.time import VirtualClock, run_virtual

T = TypeVar("T")

BUS = Bus(id="corridor", transport=Transport.RTU, port="/dev/ttyS9", baud=19_200, echo=False)
UNKNOWN_ECHO = Bus(id="corridor", transport=Transport.RTU, baud=19_200)
ECHO = Bus(id="corridor", transport=Transport.RTU, baud=19_200, echo=True)
FAST = Bus(
    id="fast", transport=Transport.RTU, baud=115_200, parity=Parity.NONE, stop_bits=1, echo=False
)
TCP = Bus(id="lan", transport=Transport.TCP, host="127.0.0.1")
TIMING = Timing(answer_ms=30)

Answers = list[tuple[int, bytes]]
"""When after the request's first byte, in microseconds, and what."""


class MemoryPort:
    """Keeps the contract of Port. `responder` says what follows on each request."""

    def __init__(self, clock: Clock, responder: Callable[[bytes], Answers]) -> None:
        self._clock = clock
        self._responder = responder
        self._heap = bytearray()
        self._came = asyncio.Event()
        self.sent: list[tuple[int, bytes]] = []
        self.came: list[tuple[int, bytes]] = []
        self.opened = 0
        self.broken = False
        self.stuck = False

    async def open(self) -> None:
        if self.stuck:
            raise PortError("port stuck: is not there")
        self.opened += 1
        self.broken = False

    def write(self, data: bytes) -> None:
        self._check()
        self.sent.append((self._clock.now_us(), data))
        for delay_us, answer in self._responder(data):
            self.later(delay_us, answer)

    def later(self, delay_us: int, data: bytes) -> None:
        """These bytes come in at once, so much later."""
        self._clock.call_at(self._clock.now_us() + delay_us, lambda: self._put(data))

    async def read(self, until_us: int) -> bytes:
        self._check()
        if not self._heap and self._clock.now_us() < until_us:
            self._came.clear()
            timer = self._clock.call_at(until_us, self._came.set)
            await self._came.wait()
            timer.cancel()
        self._check()
        data = bytes(self._heap)
        self._heap.clear()
        return data

    def close(self) -> None:
        self._heap.clear()

    def unplug(self) -> None:
        """From now on the port is gone."""
        self.broken = True
        self._came.set()

    def _put(self, data: bytes) -> None:
        self.came.append((self._clock.now_us(), data))
        self._heap += data
        self._came.set()

    def _check(self) -> None:
        if self.broken:
            raise PortError("port unplugged: plug it in again")


def on_wire(
    responder: Callable[[bytes], Answers],
    scenario: Callable[[Wire, MemoryPort, VirtualClock], Coroutine[Any, Any, T]],
    *,
    bus: Bus = BUS,
    late_ms: int = LATE_MS,
) -> T:
    """Run a scenario on an open Wire over such a line."""

    async def run(clock: VirtualClock, dice: random.Random) -> T:
        del dice
        port = MemoryPort(clock, responder)
        wire = Wire(bus, port, clock, late_ms=late_ms)
        await wire.open()
        return await scenario(wire, port, clock)

    return run_virtual(run, seed=1)
