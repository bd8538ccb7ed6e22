"""Two hundred gateways have lost the same broker: they do not all come back in the same moment.

Each is a real Uplink with dice of its own; only the network is a stand-in, and the last test has a
real one. What is counted is attempts: what a handshake costs is the broker's affair.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.clock import Clock, SystemClock
from gateway.core.premises import UplinkSpec
from gateway.uplink.link import Connection, Connector, OnAck, OnMessage, UplinkError, Will
from gateway.uplink.mqtt import PahoConnector
from gateway.uplink.uplink import Uplink
from simulators.network.brokers import HOST, Mosquitto
from simulators.network.pki import Pki
from simulators.virtual.time import VirtualClock, run_virtual
from tests.uplink_rigs import until

GATEWAYS = 200
WINDOW_S = 0.1
UP_S = 20.0


class Line:
    """A connection that takes everything and ends when the broker does."""

    unacknowledged = 0
    unchecked = ""

    def __init__(self) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        on_ack: OnAck | None = None,
    ) -> None:
        """Nobody is told."""

    async def close(self, goodbye: Will | None) -> None:
        """At once."""


class Door:
    """One broker for all: open, or shut; remembers when each gateway knocked while it was open."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.open = True
        self.lines: list[Line] = []
        self.knocked_us: list[int] = []

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        """As Connector.connect."""
        del client_id, will, subscriptions, on_message
        if not self.open:
            raise UplinkError(f"{spec.host} refuses connections", "wait")
        self.knocked_us.append(self.clock.now_us())
        self.lines.append(Line())
        return self.lines[-1]

    def shut(self) -> None:
        """The broker is gone: every connection ends in the same moment."""
        self.open = False
        lines, self.lines = self.lines, []
        for line in lines:
            line.lost.set_result("the broker closed the connection")


def uplink(
    number: int, connector: Connector, clock: Clock, *, urgent: bool, spec: UplinkSpec
) -> Uplink:
    """The uplink of one gateway; every gateway rolls its own dice."""
    presence = Will(f"qorgan/v1/gw-{number}/presence", b"{}")
    return Uplink(
        spec,
        connector,
        client_id=f"gw-{number}",
        will=presence,
        birth=presence,
        goodbye=presence,
        subscriptions=(),
        clock=clock,
        random=random.Random(number),
        on_up=lambda _: None,
        on_down=lambda _uplink, _why: None,
        on_message=lambda *_: None,
        urgent=lambda: urgent,
        log=lambda *_: None,
    )


def returns_s(outage_s: float, *, urgent: bool) -> list[float]:
    """When each of the fleet knocked, in seconds from the moment the broker was back."""

    async def scenario(clock: VirtualClock, _dice: random.Random) -> list[float]:
        door, spec = Door(clock), UplinkSpec("campus", "broker", 8883)
        fleet = [uplink(n, door, clock, urgent=urgent, spec=spec) for n in range(GATEWAYS)]
        running = [asyncio.create_task(each.run()) for each in fleet]
        await clock.sleep(UP_S)
        door.shut()
        await clock.sleep(outage_s)
        door.open = True
        back_us, before = clock.now_us(), len(door.knocked_us)
        await clock.sleep(40)
        found = [(at_us - back_us) / 1e6 for at_us in door.knocked_us[before:]]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return found

    return run_virtual(scenario, seed=1)


def most_within(moments_s: Sequence[float], window_s: float) -> int:
    """How many fall into the fullest stretch of that length."""
    ordered = sorted(moments_s)
    return max(
        sum(begin <= moment < begin + window_s for moment in ordered[at:])
        for at, begin in enumerate(ordered)
    )


@pytest.mark.parametrize(
    ("outage_s", "most"), [(0.0, 0.20), (2.0, 0.15), (10.0, 0.06), (600.0, 0.04)]
)
def test_fleet_comes_back_spread_while_nothing_is_owed(outage_s: float, most: float) -> None:
    """At most that share of it in any tenth of a second; all of it within half a minute."""
    moments_s = returns_s(outage_s, urgent=False)
    assert len(moments_s) == GATEWAYS
    assert most_within(moments_s, WINDOW_S) <= most * GATEWAYS
    assert max(moments_s) <= 30.0


@pytest.mark.parametrize("outage_s", [0.0, 2.0, 20.0])
def test_gateway_that_owes_an_alarm_is_back_within_half_a_second(outage_s: float) -> None:
    """Every one of them, and even then not all in one moment."""
    moments_s = returns_s(outage_s, urgent=True)
    assert len(moments_s) == GATEWAYS
    assert max(moments_s) <= 0.5
    assert most_within(moments_s, 0.01) <= 0.15 * GATEWAYS


class Watched:
    """A Connector that notes when each gateway's first attempt begins."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self.first_s: dict[str, float] = {}

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        """As Connector.connect."""
        self.first_s.setdefault(client_id, time.monotonic())
        return await self._connector.connect(
            spec,
            client_id=client_id,
            will=will,
            subscriptions=subscriptions,
            on_message=on_message,
        )


REAL = 20


def test_real_uplinks_find_the_broker_again_and_not_all_at_once(tmp_path: Path) -> None:
    """Killed and started again: all are connected soon, and their first attempts lie apart."""
    pki = Pki(tmp_path / "pki")
    broker = Mosquitto(tmp_path / "broker", pki, gateways=[f"gw-{n}" for n in range(REAL)])
    ca = str(pki.ca)

    async def scenario() -> list[float]:
        clock, watched = SystemClock(), Watched(PahoConnector())
        fleet = []
        for number in range(REAL):
            certificate = str(pki.client(f"gw-{number}"))
            spec = UplinkSpec(f"up-{number}", HOST, broker.port, True, "5", ca, certificate)
            fleet.append(uplink(number, watched, clock, urgent=False, spec=spec))
        running = [asyncio.create_task(each.run()) for each in fleet]
        await until(lambda: all(each.connected for each in fleet), within_s=40)
        broker.kill()
        watched.first_s.clear()
        await until(lambda: not any(each.connected for each in fleet), within_s=20)
        await asyncio.to_thread(broker.start)
        await until(lambda: all(each.connected for each in fleet), within_s=60)
        for each in fleet:
            await each.stop()
        await asyncio.gather(*running)
        return list(watched.first_s.values())

    with broker:
        attempts_s = asyncio.run(scenario())
    assert len(attempts_s) == REAL
    assert most_within(attempts_s, WINDOW_S) <= 0.5 * REAL
