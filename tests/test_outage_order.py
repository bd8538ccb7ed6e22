"""Whoever comes back first after an outage: all of it arrives, once, in the order it happened.

The whole daemon under virtual time; here the gateway is back first, and its centres so much later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest

from gateway.core.hold import HOLD_US
from gateway.core.model import US_PER_MS, AlarmState, Fact
from gateway.core.paths import PROBE_US
from gateway.core.premises import Premises, Receipts, UplinkSpec
from gateway.uplink.link import Connection, OnMessage, Will
from simulators.centre.core.words import Verdict
from simulators.network.wire import FarEnd, WireBroker
from tests.school import (
    ALL,
    CASE,
    SCHOOL,
    SECURITY,
    TWO_UPLINKS,
    US_PER_S,
    School,
    live,
    with_routes,
)

PRESSES = 8
BUTTONS = ("reception", "gym", "accounts")
SOON_US = 30_000
"""A few round trips of the simulated broker, each 6 ms at most."""

FIRST_PACKETS_MS = tuple(range(0, 24, 2))
WHILE_PROBED_MS = (50, 130, 350, 480, *range(492, 516, 3), 760, 990, 1_003, 1_490, 1_740, 1_985)
END_OF_WAIT_MS = tuple(range(1_996, 2_020, 2))
LATER_MS = (2_240, 2_510, 3_330, *range(3_996, 4_016, 4), 4_700, 4_990, 5_300, 6_510, 6_760, 6_990)
VERY_LATE_MS = (*range(6_998, 7_016, 3), 7_250, 7_490, 7_980, 8_000)
BY_MOMENT = {
    "first packets": FIRST_PACKETS_MS,
    "while it is probed": WHILE_PROBED_MS,
    "end of the wait": END_OF_WAIT_MS,
    "later": LATER_MS,
    "very late": VERY_LATE_MS,
}


Scenario: TypeAlias = Callable[["LateSchool"], Awaitable[None]]


class LateEnd(FarEnd):
    """A far end that stays away until its broker says so."""

    def attach(self) -> None:
        broker = self._broker
        if not (isinstance(broker, LateBroker) and self._client_id in broker.away):
            super().attach()


class LateBroker(WireBroker):
    """A broker to which centres come so much later than the gateway.

    away: client ids that are; late_us: for how long after the gateway's next connection. up_us: the
    moment of that connection.
    """

    away: frozenset[str] = frozenset()
    late_us = 0
    up_us = 0

    def client(
        self,
        client_id: str,
        *,
        subscriptions: Sequence[str] = (),
        on_message: OnMessage = lambda _topic, _payload, _retained: None,
        will: Will | None = None,
    ) -> FarEnd:
        far = LateEnd(self, client_id, subscriptions, on_message, will)
        self._far.append(far)
        far.attach()
        return far

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        connection = await super().connect(
            spec,
            client_id=client_id,
            will=will,
            subscriptions=subscriptions,
            on_message=on_message,
        )
        self.up_us = self.clock.now_us()
        self.clock.call_at(self.up_us + self.late_us, self.let_in)
        return connection

    def let_in(self) -> None:
        """Nobody is away any more."""
        self.away = frozenset()
        for far in self._far:
            far.attach()


class LateSchool(School):
    """A school whose centres may be late; nobody else listens at its brokers."""

    def make_broker(self, dice: Random) -> WireBroker:
        return LateBroker(clock=self.clock, random=dice)

    @property
    def late(self) -> list[LateBroker]:
        """The brokers, in the order of the uplinks."""
        return [broker for broker in self.brokers.values() if isinstance(broker, LateBroker)]

    def unwatched(self) -> None:
        """The strangers go: a broker of MQTT 5 knows then when nobody subscribes."""
        for stranger in self.strangers.values():
            stranger.leave()

    def leave(self) -> None:
        """The brokers die, and the centres will not be back by themselves."""
        for broker in self.late:
            broker.down()
            broker.away = frozenset(self.centres)

    def back(self, late_us: int) -> None:
        """The brokers are back, the centres so long after the gateway."""
        for broker in self.late:
            broker.late_us = late_us
            broker.up()

    async def presses(self) -> None:
        """PRESSES of three buttons, more than a second apart: each is told."""
        for number in range(PRESSES):
            await self.bench.press(BUTTONS[number % len(BUTTONS)], "clean", 100)
            await self.clock.sleep(1.1)

    async def closed(self) -> None:
        """Every alarm is closed, so that the next presses raise alarms again."""
        for verdict in self.heard("security", "alarm."):
            if verdict.message is not None and verdict.message.type.endswith(".raised"):
                self.centres["security"].say(verdict.message.id, AlarmState.CLOSED)
        await self.clock.sleep(2)

    def changes(self, route: str, since: int = 0) -> list[Verdict]:
        """Presses a centre took as new, from the so-manieth of its lines on."""
        return [
            verdict
            for verdict in self.centres[route].new[since:]
            if verdict.message is not None
            and verdict.message.type.startswith("alarm.")
            and verdict.message.type.endswith((".raised", ".repeated"))
        ]


def late(tmp_path: Path, scenario: Scenario, *, premises: Premises = SCHOOL) -> LateSchool:
    """`live` for a LateSchool."""

    async def told(school: School) -> None:
        assert isinstance(school, LateSchool)
        await scenario(school)

    school = live(tmp_path, told, premises=premises, made=LateSchool)
    assert isinstance(school, LateSchool)
    return school


def numbers(verdicts: Sequence[Verdict]) -> list[int]:
    """Their numbers in their stream, as they came."""
    return [verdict.message.sequence for verdict in verdicts if verdict.message is not None]


async def outage(school: LateSchool, late_ms: int) -> None:
    """One outage with its presses: every centre has all, once, in order, and the first soon."""
    since = {route: len(centre.new) for route, centre in school.centres.items()}
    school.leave()
    await school.presses()
    school.back(late_ms * US_PER_MS)
    await school.clock.sleep(4 + late_ms / 1_000)
    back_us = max(broker.up_us for broker in school.late) + late_ms * US_PER_MS
    for route in school.centres:
        found = school.changes(route, since[route])
        assert len(found) == PRESSES, late_ms
        assert numbers(found) == sorted(set(numbers(found))), late_ms
        assert school.arrived_us(found[0]) - back_us <= PROBE_US + SOON_US, late_ms
    await school.closed()


# --- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", BY_MOMENT)
def test_backlog_comes_in_order_however_much_later_than_the_gateway_a_centre_is_back(
    tmp_path: Path, moment: str
) -> None:
    """Nothing lost, nothing doubled; the first within the half second between two heartbeats."""

    async def scenario(school: LateSchool) -> None:
        school.unwatched()
        await school.start()
        await school.clock.sleep(2)
        for late_ms in BY_MOMENT[moment]:
            await outage(school, late_ms)

    late(tmp_path, scenario)


@pytest.mark.parametrize("moment", ["first packets", "while it is probed", "later"])
def test_backlog_comes_in_order_from_a_broker_that_cannot_say_that_nobody_subscribes(
    tmp_path: Path, moment: str
) -> None:
    """MQTT 3.1.1, or somebody else who listens there, a recorder.

    But for the milliseconds in which the backlog goes out to nobody: when the wait ends, and each
    time it is repeated, every five seconds from then on.
    """

    async def scenario(school: LateSchool) -> None:
        await school.start()
        await school.clock.sleep(2)
        for late_ms in BY_MOMENT[moment]:
            await outage(school, late_ms)

    premises = replace(SCHOOL, uplinks=(replace(SCHOOL.uplinks[0], mqtt="3.1.1"),))
    late(tmp_path, scenario, premises=premises)


@pytest.mark.parametrize("late_ms", [0, 6, 380, 2_006])
def test_backlog_comes_in_order_over_two_uplinks_that_are_back_together(
    tmp_path: Path, late_ms: int
) -> None:
    async def scenario(school: LateSchool) -> None:
        school.unwatched()
        await school.start()
        await school.clock.sleep(2)
        await outage(school, late_ms)

    late(tmp_path, scenario, premises=TWO_UPLINKS)


def test_log_overtakes_no_alarm_of_the_outage(tmp_path: Path) -> None:
    """However late the centre is: every press of the outage before the first entry of the log."""
    since: list[int] = []

    async def scenario(school: LateSchool) -> None:
        school.unwatched()
        await school.start()
        await school.clock.sleep(2)
        for late_ms in (0, 4, 8, 300, 2_004, 5_004):
            since.append(len(school.centres["case"].new))
            school.leave()
            for _ in range(50):
                assert school.gateway is not None
                school.gateway.tell([Fact("access.granted", "gym", school.clock.now_us())])
            await school.presses()
            school.back(late_ms * US_PER_MS)
            await school.clock.sleep(4 + late_ms / 1_000)

    premises = with_routes(SECURITY, replace(CASE, sends=(*ALL, "access")))
    school = late(tmp_path, scenario, premises=premises)
    came = school.centres["case"].new
    for first, end in pairwise([*since, len(came)]):
        of = [v.message for v in came[first:end] if v.message is not None]
        log = [at for at, m in enumerate(of) if m.type == "access.granted"]
        pressed = [at for at, m in enumerate(of) if m.type.startswith("alarm.")]
        assert len(log) == 50
        assert pressed
        assert max(pressed) < min(log)
        assert [of[at].sequence for at in log] == sorted(of[at].sequence for at in log)


# --- what does not wait ---------------------------------------------------------------------------


def test_new_alarm_goes_out_at_once_although_the_backlog_waits(tmp_path: Path) -> None:
    """Pressed while nobody has echoed yet: published as soon as it is confirmed."""

    async def scenario(school: LateSchool) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.leave()
        for point in ("gym", "accounts"):
            await school.bench.press(point, "clean", 100)
        school.back(8 * US_PER_S)
        await school.clock.sleep(0.7)
        await school.bench.press("reception", "clean", 100)
        await school.clock.sleep(0.1)
        assert len(school.carried("alarm")) == 2  # the first of the backlog, and this one
        await school.clock.sleep(12)

    school = late(tmp_path, scenario)
    new = school.alarm("reception")
    sent_us = [s.at_us for s in school.carried("alarm") if s.payload["id"] == new]
    assert sent_us[0] - school.raised_us("reception") <= SOON_US
    assert sent_us[0] < school.late[0].up_us + HOLD_US
    for route in school.centres:
        subjects = [v.message.subject for v in school.changes(route) if v.message is not None]
        assert subjects == ["gym", "accounts", "reception"]


def test_only_alarm_of_an_outage_waits_for_no_echo(tmp_path: Path) -> None:
    """The centre listens and never answers: it has the alarm with the first packets."""

    async def scenario(school: LateSchool) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.centres["security"].deaf = True
        school.leave()
        await school.bench.press("gym", "clean", 100)
        school.back(0)
        await school.clock.sleep(2)

    school = late(tmp_path, scenario)
    (alarm,) = school.changes("security")
    assert school.arrived_us(alarm) - school.late[0].up_us <= SOON_US


def test_centre_that_never_echoes_has_the_backlog_when_the_wait_is_over(tmp_path: Path) -> None:
    """It may store what it never answers: the first at once, all in order after two seconds."""

    async def scenario(school: LateSchool) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.centres["security"].deaf = True
        school.leave()
        await school.presses()
        school.back(0)
        await school.clock.sleep(4)

    school = late(tmp_path, scenario)
    found, up_us = school.changes("security"), school.late[0].up_us
    assert len(found) == PRESSES
    assert numbers(found) == sorted(numbers(found))
    assert school.arrived_us(found[0]) - up_us <= SOON_US
    assert school.arrived_us(found[-1]) - up_us <= HOLD_US + SOON_US


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
def test_consumer_that_only_the_broker_answers_for_waits_for_one_round_trip(
    tmp_path: Path, mqtt: str
) -> None:
    """The PUBACK of the heartbeat is the echo."""

    async def scenario(school: LateSchool) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.leave()
        await school.presses()
        school.back(0)
        await school.clock.sleep(4)

    dumb = replace(SECURITY, id="dumb", answers=False, receipts=Receipts.PUBACK)
    premises = with_routes(SECURITY, dumb, premises=SCHOOL)
    premises = replace(premises, uplinks=(replace(SCHOOL.uplinks[0], mqtt=mqtt),))
    school = late(tmp_path, scenario, premises=premises)
    found = school.changes("dumb")
    assert len(found) == PRESSES
    assert numbers(found) == sorted(numbers(found))
    assert school.arrived_us(found[-1]) - school.late[0].up_us <= SOON_US


def test_centre_that_is_back_late_and_never_answers_has_all_of_it_in_two_seconds(
    tmp_path: Path,
) -> None:
    """The broker said that nobody subscribes, and is asked again and again."""

    async def scenario(school: LateSchool) -> None:
        school.unwatched()
        await school.start()
        await school.clock.sleep(2)
        school.centres["security"].deaf = True
        school.leave()
        await school.presses()
        school.back(21 * US_PER_S)
        await school.clock.sleep(30)

    school = late(tmp_path, scenario)
    found, broker = school.changes("security"), school.late[0]
    back_us = broker.up_us + broker.late_us
    assert len(found) == PRESSES
    assert numbers(found) == sorted(numbers(found))
    assert school.arrived_us(found[-1]) - back_us <= HOLD_US + SOON_US
