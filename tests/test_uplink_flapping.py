"""A broker that lets us in and throws us out again fills no log, and is named once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from gateway.core.premises import UplinkSpec
from gateway.uplink.link import Ack, Connection, OnAck, OnMessage, Will
from gateway.uplink.uplink import Uplink
from simulators.virtual.time import VirtualClock, run_virtual


class Fleeting:
    """A connection that ends by itself after `lasts_s`."""

    unacknowledged = 0

    def __init__(self, clock: VirtualClock, lasts_s: float, unchecked: str = "") -> None:
        self.unchecked = unchecked
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        clock.call_at(clock.now_us() + int(lasts_s * 1e6), self._end)

    def _end(self) -> None:
        if not self.lost.done():
            self.lost.set_result("the broker closed the connection")

    def publish(
        self,
        topic: str,  # noqa: ARG002 -- the contract's
        payload: bytes,  # noqa: ARG002 -- the contract's
        *,
        qos: int,  # noqa: ARG002 -- the contract's
        retain: bool = False,  # noqa: ARG002 -- the contract's
        on_ack: OnAck | None = None,
    ) -> None:
        if on_ack is not None:
            asyncio.get_running_loop().call_soon(on_ack, Ack.ACCEPTED, "")

    async def close(self, goodbye: Will | None) -> None:
        del goodbye


class Doorman:
    """Lets everybody in, for as long as the next number says; the last one holds."""

    def __init__(self, clock: VirtualClock, stays_s: Sequence[float], unchecked: str) -> None:
        self._clock = clock
        self._unchecked = unchecked
        self._stays_s = list(stays_s)

    async def connect(
        self,
        spec: UplinkSpec,  # noqa: ARG002 -- the contract's
        *,
        client_id: str,  # noqa: ARG002 -- the contract's
        will: Will,  # noqa: ARG002 -- the contract's
        subscriptions: Sequence[str],  # noqa: ARG002 -- the contract's
        on_message: OnMessage,  # noqa: ARG002 -- the contract's
    ) -> Connection:
        stay_s = self._stays_s.pop(0) if len(self._stays_s) > 1 else self._stays_s[0]
        return Fleeting(self._clock, stay_s, self._unchecked)


def lines_of(stays_s: Sequence[float], *, seconds: float, unchecked: str = "") -> list[str]:
    """What is logged while a broker treats us so.

    unchecked: what every connection says of its certificate.
    """
    said: list[str] = []

    def log(line: str, _: Mapping[str, object]) -> None:
        said.append(line)

    async def scenario(clock: VirtualClock, dice: random.Random) -> None:
        presence = Will("qorgan/v1/gw/presence", b"")
        uplink = Uplink(
            UplinkSpec("campus", "broker", 8883),
            Doorman(clock, stays_s, unchecked),
            client_id="gw",
            will=presence,
            birth=presence,
            goodbye=presence,
            subscriptions=(),
            clock=clock,
            random=dice,
            on_up=lambda _: None,
            on_down=lambda *_: None,
            on_message=lambda *_: None,
            urgent=lambda: True,
            log=log,
        )
        running = asyncio.get_running_loop().create_task(uplink.run())
        await clock.sleep(seconds)
        await uplink.stop()
        await running

    run_virtual(scenario, seed=1)
    return said


def test_uplink_that_flaps_is_named_once() -> None:
    assert lines_of([0.1], seconds=60) == ["uplink up", "uplink down", "uplink unsteady"]


def test_uplink_that_flapped_is_up_again_when_it_holds() -> None:
    said = lines_of([0.1] * 20 + [1_000.0], seconds=60)
    assert said == ["uplink up", "uplink down", "uplink unsteady", "uplink up"]


def test_certificate_whose_dates_were_not_looked_at_is_told_with_every_connection() -> None:
    """And a connection that is thrown away several times a second does not fill the log."""
    why = "it has expired"
    warned = ["uplink up", "certificate dates unchecked", "uplink down"]
    assert lines_of([20.0], seconds=30, unchecked=why) == [*warned, *warned[:2]]
    assert lines_of([0.1], seconds=60, unchecked=why) == [*warned, "uplink unsteady"]
    flapped = lines_of([0.1] * 20 + [1_000.0], seconds=60, unchecked=why)
    assert flapped == [*warned, "uplink unsteady", *warned[:2]]


def test_uplink_that_breaks_after_holding_is_told_each_way() -> None:
    said = lines_of([20.0], seconds=50)
    assert said == ["uplink up", "uplink down", "uplink up", "uplink down", "uplink up"]
