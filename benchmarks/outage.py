"""One outage from its middle to the last owed message: the scene of `drain`, and its clock.

The gateway's ledger owes messages, gateway and centre live, the broker is dead; it comes back.
Every process says its own nanoseconds of CLOCK_MONOTONIC. Measures, judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.footprint import Weight, cpu_ns
from benchmarks.stage import Program, Stage, running
from gateway.core.debounce import PERSON

ROUTE = "security"
APART_S = 1.5
"""Broker dead and gateway live for so long: its back-off is under way."""

PAUSE_S = 0.03
WEIGH_EVERY_S = 0.5
FILL_WITHIN_S = 3_600.0
DRAIN_WITHIN_S = 300.0
NOTHING = Weight(0.0, 0.0)


@dataclass(slots=True)
class Times:
    """When what was so. cpu_us: of every process for each message that was settled."""

    owed: int
    live_ms: float = 0.0
    back_ns: int = 0
    listening_ns: int = 0
    first_ns: int = 0
    settled_ns: int = 0
    settled: int = 0
    cpu_us: dict[str, float] = field(default_factory=dict)
    at_rest: Weight = NOTHING
    heaviest: Weight = NOTHING
    during_ms: list[float] = field(default_factory=list)
    without_ms: list[float] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Messages a second, from the first at the centre to the last settled on disk."""
        return self.settled / ((self.settled_ns - self.first_ns) / 1e9)

    @property
    def first_ms(self) -> float:
        """From the broker being back to the first owed message verified at the centre."""
        return (self.first_ns - self.back_ns) / 1e6


async def fill(stage: Stage, ledger: Path, count: int) -> None:
    """Let a ledger owe the security service so many messages."""
    command = ["-m", "benchmarks.owing", "--config", str(stage.site.config), "--route", ROUTE]
    command += ["--ledger", str(ledger), "--count", str(count)]
    async with running("owing", command) as program:
        await program.ask(within_s=FILL_WITHIN_S)


class Scene:
    """The gateway and the centre of one outage, and what is known of them."""

    def __init__(self, stage: Stage, gateway: Program, centre: Program, owed: int) -> None:
        """Use `outage`."""
        self.times = Times(owed)
        self.gateway = gateway
        self.centre = centre
        self._stage = stage
        self._pids = {"gateway": gateway.pid, "centre": centre.pid}
        self._cpu_ns: dict[str, int] = {}

    async def broker_back(self) -> None:
        """Start the broker, and wait for the first owed message."""
        times = self.times
        times.at_rest = times.heaviest = Weight.of(self.gateway.pid)
        self._cpu_ns = {name: cpu_ns(pid) for name, pid in self._pids.items()}
        up = asyncio.create_task(self.centre.ask("up"))
        await asyncio.to_thread(self._stage.broker.start)
        times.back_ns = time.monotonic_ns()
        self._pids["broker"] = self._stage.broker.pid
        self._cpu_ns["broker"] = 0
        times.listening_ns = int(await up)
        times.first_ns = int(await self.centre.ask("first"))

    async def drained(self) -> None:
        """Wait until all is settled, weighing the gateway meanwhile."""
        over = asyncio.Event()
        weighing = asyncio.create_task(self._weigh(over))
        try:
            await self._settled()
        finally:
            over.set()
            await weighing

    async def weighed(self, some: int) -> None:
        """Weigh the gateway until so many of the owed messages have come."""
        while (came := await self._owed_that_came()) < some:
            self._weigh_once()
            await asyncio.sleep(WEIGH_EVERY_S)
        self._weigh_once()
        self.times.settled_ns, self.times.settled = time.monotonic_ns(), came
        self.times.counted = json.loads(await self.centre.ask("report"))

    async def pressed(self) -> None:
        """Press the button again and again until everything owed has come, then as often again."""
        while await self._owed_that_came() < self.times.owed:
            self.times.during_ms.append(await self.press())
        await self._settled()
        await asyncio.sleep(APART_S)
        for _ in self.times.during_ms:
            self.times.without_ms.append(await self.press())

    async def _settled(self) -> None:
        times = self.times
        times.settled_ns = int(await self.gateway.ask("settled", within_s=DRAIN_WITHIN_S))
        times.settled = times.owed
        times.cpu_us = {
            name: (cpu_ns(pid) - self._cpu_ns[name]) / 1e3 / times.owed
            for name, pid in self._pids.items()
        }
        times.counted = json.loads(await self.centre.ask("report"))

    async def _owed_that_came(self) -> int:
        counted = json.loads(await self.centre.ask("report"))
        return int(counted["alarms"] + counted["log"])

    async def _weigh(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self._weigh_once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), WEIGH_EVERY_S)

    def _weigh_once(self) -> None:
        now = Weight.of(self.gateway.pid)
        if now.anonymous > self.times.heaviest.anonymous:
            self.times.heaviest = now

    async def press(self) -> float:
        """A press from its confirmation to verified, in milliseconds; then it is closed again."""
        await self.centre.ask("expect")
        edge_us = int(await self.gateway.ask("press"))
        at_ns = int(await self.centre.ask("raised"))
        await self.gateway.ask("release")
        await self.centre.ask("cleared")
        await asyncio.sleep(PAUSE_S)
        return (at_ns / 1e3 - edge_us - PERSON.confirm_us) / 1e3


@contextlib.asynccontextmanager
async def outage(stage: Stage, folder: Path, ledger: Path, owed: int) -> AsyncIterator[Scene]:
    """Gateway and centre live while the broker is dead; it comes back when it is told to."""
    stage.broker.kill()
    config, store = str(stage.site.config), folder / f"{ledger.stem}-centre.db"
    far = ["-m", "benchmarks.receiving", "--config", config, "--db", str(store), "--route", ROUTE]
    near = ["-m", "benchmarks.pressed", "--config", config, "--ledger", str(ledger)]
    async with running("centre", far) as centre:
        await centre.ask()
        began = time.monotonic()
        async with running("qorgan", [*near, "--route", ROUTE]) as gateway:
            await gateway.ask()
            live_ms = (time.monotonic() - began) * 1e3
            await asyncio.sleep(APART_S)
            scene = Scene(stage, gateway, centre, owed)
            scene.times.live_ms = live_ms
            yield scene
