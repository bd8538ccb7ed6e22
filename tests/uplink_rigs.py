"""What the uplink tests stand on: a clock that is moved by hand, a wire that can be cut, and rigs.

A Rig is one way to connect a gateway and a centre: over a real broker, or in process.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.core.model import Stamp
from gateway.core.premises import UplinkSpec
from gateway.uplink.mqtt import PahoConnector
from gateway.uplink.uplink import Ack, Connection, Connector, Will
from simulators.network.brokers import HOST, Broker, Mosquitto, Nats
from simulators.network.ferry import Ferry
from simulators.network.pki import Pki
from simulators.network.wire import WireBroker

GATEWAY = "gw-1"
BASE = f"qorgan/v1/{GATEWAY}"
ALARM = f"{BASE}/security/alarm"
RECEIPTS = f"{BASE}/security/receipts"
PRESENCE = f"{BASE}/presence"
WILL = Will(PRESENCE, b"lost")
BIRTH = Will(PRESENCE, b"here")
GOODBYE = Will(PRESENCE, b"gone")
CENTRE_HEARS = ("qorgan/v1/+/security/alarm", "qorgan/v1/+/presence")
RIGS = ("mosquitto-5", "mosquitto-3.1.1", "nats-3.1.1", "wire-5", "wire-3.1.1")


async def until(condition: Callable[[], object], *, within_s: float = 30.0) -> None:
    """Wait until the condition holds; AssertionError when it does not within the time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.002)


def unheard(_topic: str, _payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - OnMessage's shape
    """For connections that are not listened to."""


@dataclass
class Acks:
    """Collects the answers to publishes."""

    got: list[tuple[Ack, str]] = field(default_factory=list)

    def __call__(self, ack: Ack, why: str) -> None:
        self.got.append((ack, why))

    @property
    def words(self) -> list[Ack]:
        """The outcomes without the reasons."""
        return [ack for ack, _ in self.got]


@dataclass
class Ear:
    """Collects messages."""

    heard: list[tuple[str, bytes, bool]] = field(default_factory=list)

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - OnMessage's shape
        self.heard.append((topic, payload, retained))

    def payloads(self, topic: str) -> list[bytes]:
        """What came on that topic, in order."""
        return [payload for heard, payload, _ in self.heard if heard == topic]


class FakeTimer:
    """A pending call of a FakeClock."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Time that moves only in `advance`."""

    def __init__(self) -> None:
        self._now_us = 1_000_000
        self._heap: list[tuple[int, int, FakeTimer]] = []
        self._count = 0

    def now_us(self) -> int:
        return self._now_us

    def stamp(self, at_us: int) -> Stamp:
        return Stamp(at_us // 1_000, True, 0, "00000000", at_us // 1_000)

    def call_at(
        self, at_us: int, callback: Callable[[], None], *, relaxed: bool = False
    ) -> FakeTimer:
        del relaxed
        timer = FakeTimer(callback)
        self._count += 1
        heapq.heappush(self._heap, (at_us, self._count, timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        self.call_at(self._now_us + int(seconds * 1e6), wake)
        await future

    async def until(self, at_us: int) -> None:
        await self.sleep(max(0, at_us - self._now_us) / 1e6)

    async def advance(self, seconds: float) -> None:
        """Run everything due in the next `seconds`, each at its own moment."""
        end_us = self._now_us + int(seconds * 1e6)
        await settled()
        while self._heap and self._heap[0][0] <= end_us:
            at_us, _, timer = heapq.heappop(self._heap)
            self._now_us = max(self._now_us, at_us)
            if timer.callback is not None:
                timer.callback()
                await settled()
        self._now_us = end_us
        await settled()


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(12):
        await asyncio.sleep(0)


@dataclass
class Rig:
    """A gateway's and a centre's way to one broker, and the faults of that way."""

    connector: Connector
    spec: UplinkSpec
    centre_spec: UplinkSpec
    cut: Callable[[], None]
    kill: Callable[[], None]

    async def gateway(
        self, ear: Ear | None = None, *, subscriptions: tuple[str, ...] = (RECEIPTS,)
    ) -> Connection:
        """The gateway's connection."""
        return await self.connector.connect(
            self.spec,
            client_id=GATEWAY,
            will=WILL,
            subscriptions=subscriptions,
            on_message=ear or unheard,
        )

    async def centre(self, ear: Ear | None = None) -> Connection:
        """The security centre's connection: hears alarms and presence."""
        return await self.connector.connect(
            self.centre_spec,
            client_id="security",
            will=Will("qorgan/v1/centre/security/receipts", b""),
            subscriptions=CENTRE_HEARS,
            on_message=ear or unheard,
        )


def spec_for(broker: Broker, user: str, mqtt: str, *, port: int | None = None) -> UplinkSpec:
    """How that user reaches that broker with its certificate."""
    assert broker.pki is not None
    return UplinkSpec(
        id="campus",
        host=HOST,
        port=port or broker.port,
        mqtt=mqtt,
        ca=str(broker.pki.ca),
        certificate=str(broker.pki.client(user)),
    )


@contextlib.asynccontextmanager
async def rig(kind: str, directory: Path, pki: Pki) -> AsyncIterator[Rig]:
    """One of RIGS, running."""
    name, _, mqtt = kind.partition("-")
    if name == "wire":
        wire = WireBroker(clock=SystemClock(), random=random.Random(7))
        spec = UplinkSpec(id="campus", host="wire", port=1, mqtt=mqtt)
        yield Rig(wire, spec, spec, cut=lambda: wire.cut(GATEWAY), kill=wire.down)
        return
    kinds: dict[str, type[Broker]] = {"mosquitto": Mosquitto, "nats": Nats}
    with (
        kinds[name](directory / name, pki, gateways=(GATEWAY,)) as broker,
        Ferry(broker.port) as ferry,
    ):
        yield Rig(
            PahoConnector(),
            spec_for(broker, GATEWAY, mqtt, port=ferry.port),
            spec_for(broker, "security", mqtt),
            cut=ferry.cut,
            kill=broker.kill,
        )


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run one scenario on a fresh loop, bounded."""
    asyncio.run(asyncio.wait_for(scenario, 60))
