"""A small simulated building for tests: three points, and a clock that never waits."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, cast

from drivers.base import Contact, Ear, Output, Wire
from drivers.gpio import GpioDriver
from drivers.pins import PinFactory
from gateway.clock import Clock
from gateway.core.model import Level, Reading
from gateway.core.premises import Input, LedgerSpec, Point, PointKind, Premises
from simulators.building.hardware import Bench, SimulatedPins
from simulators.building.waveforms import Shape

PAIR = Point(
    id="reception",
    kind=PointKind.PANIC,
    input=Input(normally_open="gpio:17", normally_closed="gpio:27"),
    lamp="gpio:22",
)
LONE = Point(id="gym", kind=PointKind.PANIC, input=Input(normally_open="gpio:23"))
MAINS = Point(id="mains", kind=PointKind.MAINS, input=Input(normally_closed="gpio:5"))
PREMISES = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway="school-12-main",
    key_file="/nowhere/gateway.jwk",
    ledger=LedgerSpec(path="/nowhere/ledger.db"),
    points=(PAIR, LONE, MAINS),
    uplinks=(),
    routes=(),
)


class Ticket:
    """A call that can be called off."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class StepClock:
    """A clock that jumps from one due call to the next; nothing waits."""

    def __init__(self) -> None:
        self.us = 5_000_000
        self._due: list[tuple[int, int, Ticket, Callable[[], None]]] = []
        self._count = 0

    def now_us(self) -> int:
        return self.us

    def call_at(self, at_us: int, callback: Callable[[], None]) -> Ticket:
        ticket = Ticket()
        self._count += 1
        heapq.heappush(self._due, (at_us, self._count, ticket, callback))
        return ticket

    async def finish(self, *tasks: asyncio.Task[Any]) -> None:
        """Jump from call to call until the tasks are done, letting the loop settle before each."""
        while not all(task.done() for task in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            if self._due:
                at_us, _, ticket, callback = heapq.heappop(self._due)
                self.us = max(self.us, at_us)
                if not ticket.cancelled:
                    callback()
        for task in tasks:
            task.result()


class Building:
    """A bench under a StepClock, with a driver listening to all of its contacts."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = StepClock()
        self.pins = SimulatedPins(self.clock.now_us)
        self.bench = Bench(
            PREMISES, self.pins, clock=cast("Clock", self.clock), random=Random(seed)
        )
        self.readings: list[Reading] = []
        self.driver = GpioDriver(
            factory=cast("PinFactory", self.pins),
            now_us=self.clock.now_us,
            report=lambda _event, _fields: None,
        )

    def start(self) -> None:
        wires = [
            Wire("gpio:17", Contact.NORMALLY_OPEN),
            Wire("gpio:27", Contact.NORMALLY_CLOSED),
            Wire("gpio:23", Contact.NORMALLY_OPEN),
            Wire("gpio:5", Contact.NORMALLY_CLOSED),
        ]
        self.driver.start(
            wires=wires,
            outputs=[Output("gpio:22")],
            ear=Ear(self.readings.append, lambda _: None, lambda _: None),
        )

    async def play(self, *presses: Coroutine[Any, Any, Shape]) -> None:
        await self.clock.finish(*(asyncio.create_task(one) for one in presses))

    def levels(self, address: str) -> list[Level]:
        return [reading.level for reading in self.readings if reading.input == address]
