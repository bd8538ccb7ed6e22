"""Every PUBLISH that reaches the broker goes wrong once, the gateway's and the centres' alike.

The broker refuses it, takes and forgets it, keeps the PUBACK to itself, hands it out twice or after
the next one; or the connection it came on breaks, before or after, is silent for a while or for
good, or ends at one side only. Every CONNECT of the gateway is refused once, and once not answered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from campaigns.faults.account import findings
from campaigns.faults.school import Day, FaultSchool
from gateway.clock import Clock
from gateway.core.premises import UplinkSpec
from gateway.uplink.link import CONNECT_WITHIN_S, Ack, Connection, UplinkError
from simulators.network.wire import WireBroker
from simulators.network.wire_link import Packet, WireConnection
from simulators.virtual.time import VirtualClock, run_virtual

US_PER_S = 1_000_000
STALL_US = 3 * US_PER_S
"""Short of the keepalives: nobody notices (4 s, given up after 8)."""
NOTICED_US = 6 * US_PER_S
"""A broker gives a silent client up after one and a half keepalives (MQTT 5, 3.1.2.10)."""
SWAPPED_WITHIN_US = US_PER_S
"""A packet that waits for the next one waits no longer."""


class BrokerMisfortune(StrEnum):
    """What becomes of the n-th PUBLISH, or of the connection it came on."""

    REFUSE = "refuse"
    FORGET = "accept-and-forget"
    NO_ACK = "no-ack"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CUT_BEFORE = "cut-before"
    CUT_AFTER = "cut-after"
    STALL = "stall"
    SILENCE = "silence"
    HALF_CLOSE_CLIENT = "half-close-client"
    HALF_CLOSE_BROKER = "half-close-broker"


CONNECT = "connect"
_REFUSED_CONNECT = UplinkError("the broker is out of service", "wait (misfortune)")
_SILENT_CONNECT = UplinkError("no answer from the broker", "wait (misfortune)")


class FickleBroker(WireBroker):
    """A WireBroker with one misfortune: `what`, at the `at`-th CONNECT or PUBLISH."""

    def __init__(self, *, clock: Clock, random: random.Random) -> None:
        super().__init__(clock=clock, random=random)
        self.what: BrokerMisfortune | None = None
        self.at = 0
        self.calls: list[str] = []
        self._held: Callable[[], None] | None = None

    async def connect(self, spec: UplinkSpec, **told: Any) -> Connection:
        """Somebody wants in; far ends do not ask here."""
        self.calls.append(CONNECT)
        if len(self.calls) == self.at and self.what is BrokerMisfortune.REFUSE:
            raise _REFUSED_CONNECT
        if len(self.calls) == self.at and self.what is BrokerMisfortune.SILENCE:
            await self.clock.sleep(CONNECT_WITHIN_S)
            raise _SILENT_CONNECT
        return await super().connect(spec, **told)

    def take(self, session: WireConnection, number: int, packet: Packet) -> None:
        """A PUBLISH has arrived."""
        self.calls.append(packet.topic.rpartition("/")[2])
        if len(self.calls) == self.at and self.what is not None:
            self._misfortune(self.what, session, number, packet)
        else:
            super().take(session, number, packet)
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held()

    def _misfortune(
        self, what: BrokerMisfortune, session: WireConnection, number: int, packet: Packet
    ) -> None:
        def as_ever() -> None:
            super(FickleBroker, self).take(session, number, packet)

        def answer(ack: Ack, why: str) -> None:
            told = ack if session.five else Ack.ACCEPTED  # MQTT 3.1.1 has no words for a refusal
            if packet.qos:
                session.to_client.send(lambda: session.answer(number, told, why))

        match what:
            case BrokerMisfortune.REFUSE:
                answer(Ack.REFUSED, "Quota exceeded")
            case BrokerMisfortune.FORGET:
                answer(Ack.ACCEPTED, "")
            case BrokerMisfortune.NO_ACK:
                super().take(session, number, replace(packet, qos=0))
            case BrokerMisfortune.DUPLICATE:
                as_ever()
                super().take(session, number, replace(packet, qos=0))
            case BrokerMisfortune.REORDER:
                self._held = as_ever
                self._after(SWAPPED_WITHIN_US, self._let_go)
            case _:
                self._break_off(what, session, as_ever)

    def _break_off(
        self, what: BrokerMisfortune, session: WireConnection, as_ever: Callable[[], None]
    ) -> None:
        """Something happens to the connection a packet came on."""
        client = session.client_id

        def resume() -> None:
            as_ever()
            self.resume(client)

        match what:
            case BrokerMisfortune.CUT_BEFORE:
                self.cut(client)
            case BrokerMisfortune.CUT_AFTER:
                as_ever()
                self.cut(client)
            case BrokerMisfortune.STALL:
                self.stall(client)
                self._after(STALL_US, resume)
            case BrokerMisfortune.SILENCE:
                self.stall(client)
            case BrokerMisfortune.HALF_CLOSE_CLIENT:
                as_ever()
                session.end("the broker closed the connection")
                self._after(NOTICED_US, lambda: self.forget(session, with_will=True))
            case BrokerMisfortune.HALF_CLOSE_BROKER:
                self.forget(session, with_will=True)
                self._after(NOTICED_US, lambda: session.end("no answer within the keepalive"))

    def _after(self, delay_us: int, step: Callable[[], None]) -> None:
        self.clock.call_at(self.clock.now_us() + delay_us, step)


class _School(FaultSchool):
    """A school whose only broker is fickle."""

    def make_broker(self, dice: random.Random) -> WireBroker:
        return FickleBroker(clock=self.clock, random=dice)


def cases(calls: Sequence[str]) -> list[tuple[str, int]]:
    """Every misfortune of every CONNECT and PUBLISH of a day that went well."""
    connects = (BrokerMisfortune.REFUSE, BrokerMisfortune.SILENCE)
    return [
        (str(what), number)
        for number, call in enumerate(calls, start=1)
        for what in (connects if call == CONNECT else BrokerMisfortune)
    ]


def day(what: str | None, number: int, folder: Path) -> Day:
    """The day with that call going wrong in that way, or with none."""
    wrong = None if what is None else BrokerMisfortune(what)
    return run_virtual(lambda clock, dice: _day(clock, dice, wrong, number, folder), seed=1)


async def _day(
    clock: VirtualClock,
    dice: random.Random,
    what: BrokerMisfortune | None,
    number: int,
    folder: Path,
) -> Day:
    school = _School(clock=clock, dice=dice, folder=folder)
    broker = school.broker
    assert isinstance(broker, FickleBroker)
    broker.what, broker.at = what, number
    await school.day()
    return Day(broker.calls, list(findings(school)), school.raised())
