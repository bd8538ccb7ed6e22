"""The owner of a port: what goes first, what a lost port and a dead unit do, and the loan."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from drivers.modbus.wire.guard import Guard
from drivers.modbus.wire.lent import Lent
from drivers.modbus.wire.request import Read, Reply, ReplyKind
from gateway.clock import Timer
from gateway.core.action import Outcome, Urgency
from gateway.core.model import Level
from gateway.core.profile import Table, Timing
from simulators.virtual.time import VirtualClock, VirtualLoop, run_virtual
from tests.drivers.modbus.scripted import MS, PLAIN, House, LittlePort, live

EIGHT = (PLAIN,) * 8
IN_1, RELAY_1, RELAY_2 = "unit-1/input-1", "unit-1/relay-1", "unit-1/relay-2"


def begun(house: House, since_us: int) -> list[int]:
    """The units asked since then, in order."""
    return [unit for at_us, unit in house.port.begun if at_us >= since_us]


# --- what goes first --------------------------------------------------------------------------


def test_bus_new_action_waits_at_most_one_exchange_on_a_busy_bus() -> None:
    async def scene(house: House) -> None:
        house.start(
            *(f"unit-{n}/input-1" for n in range(1, 9)),
            outputs=[f"unit-{n}/relay-1" for n in range(1, 9)],
        )
        await house.pass_ms(8_000)
        house.port.units[5].dead = True
        for index in range(20):
            await house.pass_ms(37)
            now_us = house.clock.now_us()
            house.act(f"a{index}", "unit-3/relay-1", on=index % 2 == 0, urgency=Urgency.COMMAND)
            await house.pass_ms(200)
            moved_us = house.port.units[3].moved[index][0]
            # The longest exchange there is: a dead unit's, 50 ms to begin to answer and a margin.
            assert moved_us - now_us < 120 * MS
        assert [outcome for _, outcome in house.outcomes] == [Outcome.CONFIRMED] * 20

    live(scene, *EIGHT, poll_ms=10)


def test_bus_interrupts_its_wait_for_an_action() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1, outputs=[RELAY_1])
        await house.pass_ms(5_050)
        now_us = house.clock.now_us()
        house.act("a")
        await house.pass_ms(100)
        assert house.unit.moved[0][0] - now_us <= 40 * MS

    live(scene, poll_ms=5_000)


def test_bus_does_the_most_urgent_first() -> None:
    async def scene(house: House) -> None:
        outputs = [f"unit-{n}/relay-1" for n in (1, 2, 3)]
        house.start(IN_1, outputs=outputs)
        await house.pass_ms(4_000)
        house.act("lamp", outputs[0], urgency=Urgency.COMFORT)
        house.act("door", outputs[1], urgency=Urgency.COMMAND)
        house.act("fire", outputs[2], urgency=Urgency.LIFE)
        await house.pass_ms(500)
        first = [house.port.units[n].moved[0][0] for n in (3, 2, 1)]
        assert first == sorted(first)
        assert [name for name, _ in house.outcomes] == ["fire", "door", "lamp"]

    live(scene, PLAIN, PLAIN, PLAIN)


def test_bus_blinking_lamps_leave_room_for_inputs() -> None:
    async def scene(house: House) -> None:
        lamps = [f"unit-{n}/relay-{m}" for n in range(1, 9) for m in (1, 2)]
        house.start(IN_1, outputs=lamps)
        await house.pass_ms(8_000)
        for index in range(40):
            for lamp in lamps:
                house.driver.light(lamp, on=index % 2 == 0)
            house.unit.words[Table.DISCRETE, 0] = index % 2
            await house.pass_ms(200)
        assert len(house.levels(IN_1)) >= 39

    live(scene, *EIGHT, poll_ms=50)


def test_bus_set_up_does_not_hold_up_inputs() -> None:
    async def scene(house: House) -> None:
        house.start(*(f"unit-{n}/input-1" for n in range(1, 9)))
        await house.pass_ms(400)
        assert all(house.levels(f"unit-{n}/input-1") for n in range(1, 9))

    live(scene, *EIGHT)


# --- the port ---------------------------------------------------------------------------------


def test_bus_never_closes_its_port_because_units_are_silent() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1, "unit-2/input-1")
        await house.pass_ms(1_000)
        for unit in house.port.units.values():
            unit.dead = True
        await house.pass_ms(60_000)
        assert len(house.port.opened) == 1
        assert house.told("bus") == []

    live(scene, PLAIN, PLAIN)


def test_bus_unplugged_adapter_is_one_condition_and_its_return_another() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1)
        await house.pass_ms(1_000)
        house.port.unplug()
        await house.pass_ms(60_000)
        assert house.told("bus") == [("corridor", True)]
        assert house.levels(IN_1) == [Level.NORMAL, Level.UNKNOWN]
        house.port.unplugged = False
        await house.pass_ms(6_000)
        assert house.told("bus") == [("corridor", True), ("corridor", False)]
        assert house.levels(IN_1) == [Level.NORMAL, Level.UNKNOWN, Level.NORMAL]
        assert house.told("unit-silent") == []

    live(scene)


def test_bus_starts_without_its_port_and_tries_again_at_least_every_5_s() -> None:
    async def scene(house: House) -> None:
        house.port.unplug()
        house.start(IN_1, outputs=[RELAY_1])
        await house.pass_ms(120_000)
        assert 24 <= house.port.open_failures <= 50
        assert house.told("bus") == [("corridor", True)]
        assert house.levels(IN_1) == [Level.UNKNOWN]
        house.port.unplugged = False
        await house.pass_ms(6_000)
        assert house.levels(IN_1) == [Level.UNKNOWN, Level.NORMAL]

    live(scene)


def test_bus_connection_that_drops_and_comes_back_at_once_is_no_fault() -> None:
    """Some TCP boards close a connection now and then."""

    async def scene(house: House) -> None:
        house.start(IN_1)
        for _ in range(5):
            await house.pass_ms(1_000)
            house.port.drop()
        await house.pass_ms(1_000)
        assert house.told("bus") == []
        assert house.levels(IN_1) == [Level.NORMAL]
        assert len(house.port.opened) == 6

    live(scene)


def test_bus_input_of_a_silent_unit_is_not_unknown_twice_when_the_port_goes_too() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1, "unit-2/input-1")
        await house.pass_ms(1_000)
        house.unit.dead = True
        await house.pass_ms(10_000)
        house.port.unplug()
        await house.pass_ms(10_000)
        assert house.levels(IN_1) == [Level.NORMAL, Level.UNKNOWN]
        assert house.levels("unit-2/input-1") == [Level.NORMAL, Level.UNKNOWN]

    live(scene, PLAIN, PLAIN)


def test_bus_action_under_way_when_the_port_goes_fails_at_once() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1, outputs=[RELAY_1])
        await house.pass_ms(5_050)
        house.act("a")
        await house.pass_ms(10)
        house.port.unplug()
        await house.pass_ms(100)
        assert house.outcomes == [("a", Outcome.FAILED)]

    live(scene, poll_ms=5_000)


def test_bus_action_for_a_unit_that_never_answered_waits_and_expires() -> None:
    bare = replace(PLAIN, identity=None, settings=(), uptime=None)

    async def scene(house: House) -> None:
        house.unit.dead = True
        house.start(IN_1, outputs=[RELAY_1])
        house.act("a", within_ms=500)
        await house.pass_ms(1_000)
        assert house.outcomes == [("a", Outcome.EXPIRED)]
        assert all(function != 5 for function, _, _ in house.unit.log)

    live(scene, bare)


def test_bus_pause_of_one_unit_is_used_for_the_others() -> None:
    slow = replace(PLAIN, timing=Timing(answer_ms=50, between_ms=100))

    async def scene(house: House) -> None:
        house.start(IN_1, "unit-2/input-1", outputs=[RELAY_1])
        await house.pass_ms(3_000)
        since_us = house.clock.now_us()
        for index in range(6):
            house.act(f"a{index}", on=index % 2 == 0)
            await house.pass_ms(400)
        asked = [at_us for at_us, unit in house.port.begun if unit == 2 and at_us >= since_us]
        assert max(later - sooner for sooner, later in pairwise(asked)) < 60 * MS
        assert [outcome for _, outcome in house.outcomes] == [Outcome.CONFIRMED] * 6

    live(scene, slow, PLAIN, poll_ms=20)


def test_bus_action_expires_on_time_while_the_port_is_away() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1, outputs=[RELAY_1])
        await house.pass_ms(2_000)
        house.port.unplug()
        await house.pass_ms(20_000)
        house.act("a", within_ms=1_000)
        await house.pass_ms(1_020)
        assert house.outcomes == [("a", Outcome.EXPIRED)]
        house.port.unplugged = False
        await house.pass_ms(20_000)
        assert house.unit.moved == []

    live(scene)


def test_bus_looks_who_is_there_before_outputs_move_after_a_lost_port() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1, outputs=[RELAY_1])
        await house.pass_ms(2_000)
        house.port.unplug()
        await house.pass_ms(20_000)
        house.unit.words[Table.HOLDING, 200] = 78
        house.port.unplugged = False
        await house.pass_ms(8_000)
        house.act("a")
        await house.pass_ms(500)
        assert house.outcomes == [("a", Outcome.LOCKED)]
        assert house.unit.moved == []

    live(scene)


class FaultyPort(LittlePort):
    """A port with a defect: what it raises is no PortError."""

    faults = 0

    async def read(self, until_us: int) -> bytes:
        if self.faults:
            self.faults -= 1
            raise ZeroDivisionError("a defect")
        return await super().read(until_us)


def test_bus_survives_a_defect_and_reports_it() -> None:
    async def scene(house: House) -> None:
        port = FaultyPort(house.clock)
        port.units = house.port.units
        house.port = port
        house.start(IN_1)
        await house.pass_ms(500)
        port.faults = 2
        await house.pass_ms(2_000)
        house.unit.words[Table.DISCRETE, 0] = 1
        await house.pass_ms(2_000)
        assert house.levels(IN_1)[-1] is Level.ACTIVE
        assert house.events == ["modbus.bus.failed"] * 2
        assert "ZeroDivisionError" in str(house.reports[0][1]["why"])

    live(scene)


class CountingClock(VirtualClock):
    """Counts how often somebody goes to sleep."""

    sleeps = 0

    def call_at(self, at_us: int, callback: Callable[[], None], *, relaxed: bool = False) -> Timer:
        self.sleeps += 1
        return super().call_at(at_us, callback, relaxed=relaxed)


def test_bus_waits_without_going_round() -> None:
    """A poll costs one wait for its time and two for its answer, whatever else there is."""

    async def run(_clock: VirtualClock, _dice: random.Random) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = CountingClock(loop, boot="0000beef")
        house = House(clock, (PLAIN, PLAIN), poll_ms=1_000)
        house.start(IN_1, "unit-2/input-1", outputs=[RELAY_1])
        await house.pass_ms(5_000)
        house.port.units[2].dead = True
        await house.pass_ms(10_000)
        sent, slept = len(house.port.begun), clock.sleeps
        await house.pass_ms(60_000)
        assert clock.sleeps - slept <= 4 * (len(house.port.begun) - sent)
        await house.driver.stop()

    run_virtual(run, seed=1)


def test_bus_run_is_the_same_every_time() -> None:
    async def scene(house: House) -> None:
        house.start(*(f"unit-{n}/input-1" for n in range(1, 9)), outputs=[RELAY_1])
        house.port.units[4].dead = True
        await house.pass_ms(3_000)
        house.act("a", for_ms=500)
        await house.pass_ms(3_000)
        house.port.unplug()
        await house.pass_ms(9_000)
        house.port.unplugged = False
        await house.pass_ms(3_000)

    first, second = live(scene, *EIGHT), live(scene, *EIGHT)
    assert first.port.begun == second.port.begun
    assert first.readings == second.readings
    assert first.conditions == second.conditions


# --- the last moment --------------------------------------------------------------------------


class SinkPort(LittlePort):
    """Keeps what is written."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)


def test_guard_keeps_back_what_would_leave_after_its_time_and_nothing_else() -> None:
    async def run(clock: VirtualClock, _dice: random.Random) -> list[bytes]:
        port = SinkPort(clock)
        guard = Guard(port, clock)
        guard.arm(clock.now_us())
        guard.write(b"in time")
        assert not guard.disarm()
        guard.arm(clock.now_us() - 1)
        guard.write(b"too late")
        assert guard.disarm()
        guard.write(b"a poll")
        guard.arm(None)
        guard.write(b"a read")
        assert not guard.disarm()
        return port.sent

    assert run_virtual(run, seed=1) == [b"in time", b"a poll", b"a read"]


def test_bus_line_that_is_never_quiet_cannot_make_a_door_open_late() -> None:
    """The request was due in time; the silence it waited for came after its expiry."""

    async def scene(house: House) -> None:
        house.start(IN_1, outputs=[RELAY_1])
        await house.pass_ms(5_050)
        house.port.noisy_until_us = house.clock.now_us() + 150 * MS
        house.act("a", within_ms=50)
        await house.pass_ms(4_000)
        assert house.outcomes == [("a", Outcome.EXPIRED)]
        assert house.unit.moved == []

    live(scene, poll_ms=5_000)


# --- the loan ---------------------------------------------------------------------------------

IDENTITY = Read(Table.HOLDING, 200)


def test_bus_lent_exchanges_go_between_polls_and_cost_them_little() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1)
        await house.pass_ms(1_000)

        async def scan(bus: Lent) -> list[Reply]:
            return [await bus.exchange(n, IDENTITY, timing=Timing(answer_ms=50)) for n in (1, 2, 9)]

        answers = await house.driver.with_bus("corridor", scan)
        assert [one.kind for one in answers] == [ReplyKind.ANSWERED] * 2 + [ReplyKind.SILENT]
        assert answers[0].values == (77,)

    live(scene, PLAIN, PLAIN)


def test_bus_borrower_is_served_on_a_bus_that_is_never_idle() -> None:
    async def scene(house: House) -> None:
        house.start(*(f"unit-{n}/input-1" for n in range(1, 9)))
        await house.pass_ms(1_000)
        lent = house.driver.lend("corridor")
        before_us = house.clock.now_us()
        reply = await lent.exchange(1, IDENTITY, timing=Timing())
        assert reply.kind is ReplyKind.ANSWERED
        assert house.clock.now_us() - before_us < 1_200 * MS

    live(scene, *EIGHT, poll_ms=10)


def test_bus_borrower_is_told_when_the_port_is_gone_or_the_driver_stops() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1)
        await house.pass_ms(500)
        lent = house.driver.lend("corridor")
        house.port.unplug()
        await house.pass_ms(2_000)
        assert (await lent.exchange(1, IDENTITY, timing=Timing())).kind is ReplyKind.GONE
        await house.driver.stop()
        assert (await lent.exchange(1, IDENTITY, timing=Timing())).kind is ReplyKind.GONE
        with pytest.raises(KeyError):
            house.driver.lend("cellar")

    live(scene)


def test_bus_borrower_hears_of_a_request_that_cannot_be_and_nobody_else_does() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1)
        await house.pass_ms(500)
        with pytest.raises(ValueError, match="unit 300"):
            await house.driver.lend("corridor").exchange(300, IDENTITY, timing=Timing())
        await house.pass_ms(500)
        assert house.events == []
        assert len(house.port.opened) == 1

    live(scene)


def test_bus_borrower_that_goes_away_is_not_missed() -> None:
    async def scene(house: House) -> None:
        house.start(IN_1)
        await house.pass_ms(500)
        lent = house.driver.lend("corridor")
        loan = asyncio.create_task(lent.exchange(9, IDENTITY, timing=Timing()))
        await house.pass_ms(5)
        loan.cancel()
        await house.pass_ms(1_000)
        house.unit.words[Table.DISCRETE, 0] = 1
        await house.pass_ms(300)
        assert house.levels(IN_1)[-1] is Level.ACTIVE
        assert house.events == []

    live(scene)
