"""The contract every driver keeps, as one suite: a driver's own test file brings a Rig to it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from drivers.base import Contact, Driver, DriverError, Ear, Output, Wire
from gateway.core.action import Result
from gateway.core.model import Condition, Level, Reading

NO, NC = Contact.NORMALLY_OPEN, Contact.NORMALLY_CLOSED


def now_us() -> int:
    return time.monotonic_ns() // 1_000


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Go round the loop until `condition` holds; fails when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.001)


def ear(
    reading: Callable[[Reading], None],
    result: Callable[[Result], None] = lambda _: None,
    condition: Callable[[Condition], None] = lambda _: None,
) -> Ear:
    """Somebody who listens to readings, and to the rest only when asked."""
    return Ear(reading, condition, result)


@dataclass
class Rig:
    """A driver on hardware that a test can move: two contacts at rest and a lamp."""

    driver: Driver
    open_address: str
    closed_address: str
    lamp_address: str
    bad_address: str
    set_closed: Callable[[str, bool], None]
    set_closed_unseen: Callable[[str, bool], None]
    set_failing: Callable[[str, bool], None]
    lit: Callable[[str], bool]
    reports: list[str]
    readings: list[Reading] = field(default_factory=list)

    @property
    def wires(self) -> tuple[Wire, Wire]:
        return Wire(self.open_address, NO), Wire(self.closed_address, NC)

    def start(self) -> None:
        self.driver.start(
            wires=self.wires, outputs=[Output(self.lamp_address)], ear=ear(self.readings.append)
        )

    def levels(self, address: str) -> list[Level]:
        return [reading.level for reading in self.readings if reading.input == address]


class DriverContract:
    """Subclass it, bring `rig`, and every promise below is tested."""

    def rig(self) -> Rig:
        raise NotImplementedError

    def test_driver_reports_first_levels_in_order_before_start_returns(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            before_us = now_us()
            rig.start()
            assert [(r.input, r.level) for r in rig.readings] == [
                (rig.open_address, Level.NORMAL),
                (rig.closed_address, Level.NORMAL),
            ]
            assert all(before_us <= r.at_us <= now_us() for r in rig.readings)
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_reports_a_button_held_at_start(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.set_closed(rig.open_address, True)
            rig.set_closed(rig.closed_address, False)
            rig.start()
            assert [r.level for r in rig.readings] == [Level.ACTIVE, Level.ACTIVE]
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_applies_the_sense_of_each_contact(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            for address, away, rest in (
                (rig.open_address, True, False),
                (rig.closed_address, False, True),
            ):
                rig.set_closed(address, away)
                rig.set_closed(address, rest)
            await until(lambda: len(rig.readings) == 6)
            for address in (rig.open_address, rig.closed_address):
                assert rig.levels(address) == [Level.NORMAL, Level.ACTIVE, Level.NORMAL]
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_stamps_edges_with_the_moment_they_happened_in_rising_order(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            moments: list[tuple[int, int]] = []
            for index in range(50):
                before_us = now_us()
                rig.set_closed(rig.open_address, index % 2 == 0)
                moments.append((before_us, now_us()))
            await until(lambda: len(rig.readings) == 52)
            stamps = [r.at_us for r in rig.readings if r.input == rig.open_address]
            assert stamps == sorted(stamps)
            for at_us, (before_us, after_us) in zip(stamps[1:], moments, strict=True):
                assert before_us <= at_us <= after_us
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_hands_readings_over_on_the_loop_whatever_thread_saw_the_edge(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            heard_on: list[int] = []
            rig.driver.start(
                wires=rig.wires,
                outputs=[],
                ear=ear(lambda _: heard_on.append(threading.get_ident())),
            )
            mover = threading.Thread(target=rig.set_closed, args=(rig.open_address, True))
            mover.start()
            await until(lambda: len(heard_on) == 3)
            mover.join()
            assert set(heard_on) == {threading.get_ident()}
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_is_not_deafened_by_a_consumer_that_raises(self) -> None:
        async def scene() -> None:
            rig = self.rig()

            def consumer(reading: Reading) -> None:
                rig.readings.append(reading)
                raise RuntimeError("a defect upstairs")

            rig.driver.start(wires=rig.wires, outputs=[], ear=ear(consumer))
            for closed in (True, False, True):
                rig.set_closed(rig.open_address, closed)
            rig.set_closed(rig.closed_address, False)
            await until(lambda: len(rig.readings) == 6)
            assert len(rig.reports) == 1
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_check_finds_an_edge_that_was_lost(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            rig.set_closed_unseen(rig.open_address, True)
            assert rig.levels(rig.open_address) == [Level.NORMAL]
            before_us = now_us()
            rig.driver.check()
            assert rig.levels(rig.open_address) == [Level.NORMAL, Level.ACTIVE]
            assert before_us <= rig.readings[-1].at_us <= now_us()
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_check_says_nothing_when_nothing_was_lost(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            rig.set_closed(rig.open_address, True)
            await until(lambda: len(rig.readings) == 3)
            rig.driver.check()
            rig.driver.check()
            assert len(rig.readings) == 3
            assert rig.reports == []
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_shows_an_unreadable_input_as_unknown_once_and_only_that_one(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            rig.set_failing(rig.open_address, True)
            for _ in range(3):
                rig.driver.check()
            rig.set_closed(rig.closed_address, False)
            await until(lambda: len(rig.readings) == 4)
            assert rig.levels(rig.open_address) == [Level.NORMAL, Level.UNKNOWN]
            assert rig.levels(rig.closed_address) == [Level.NORMAL, Level.ACTIVE]
            assert len(rig.reports) == 1
            await rig.driver.stop()

        asyncio.run(scene())

    @pytest.mark.parametrize("closed", [False, True])
    def test_driver_shows_the_level_of_an_input_that_can_be_read_again(
        self, *, closed: bool
    ) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            rig.set_failing(rig.open_address, True)
            rig.driver.check()
            rig.set_closed_unseen(rig.open_address, closed)
            rig.set_failing(rig.open_address, False)
            rig.driver.check()
            level = Level.ACTIVE if closed else Level.NORMAL
            assert rig.levels(rig.open_address) == [Level.NORMAL, Level.UNKNOWN, level]
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_lamp_is_dark_at_start_lights_on_demand_and_is_dark_after_stop(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            seen = [rig.lit(rig.lamp_address)]
            for on in (True, False, True):
                rig.driver.light(rig.lamp_address, on=on)
                seen.append(rig.lit(rig.lamp_address))
            await rig.driver.stop()
            assert [*seen, rig.lit(rig.lamp_address)] == [False, True, False, True, False]

        asyncio.run(scene())

    def test_driver_reports_a_failing_lamp_once_and_never_raises(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            rig.set_failing(rig.lamp_address, True)
            for on in (True, False, True):
                rig.driver.light(rig.lamp_address, on=on)
            assert len(rig.reports) == 1
            rig.set_failing(rig.lamp_address, False)
            rig.driver.light(rig.lamp_address, on=True)
            assert rig.lit(rig.lamp_address)
            await rig.driver.stop()

        asyncio.run(scene())

    def test_driver_refuses_an_address_that_is_not_its_own(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            with pytest.raises(DriverError, match=rig.bad_address):
                rig.driver.start(
                    wires=[Wire(rig.bad_address, NO)], outputs=[], ear=ear(rig.readings.append)
                )

        asyncio.run(scene())

    def test_driver_stops_twice_and_says_nothing_afterwards(self) -> None:
        async def scene() -> None:
            rig = self.rig()
            rig.start()
            rig.set_closed(rig.open_address, True)  # on its way when the driver stops
            await rig.driver.stop()
            await rig.driver.stop()
            rig.set_closed(rig.open_address, False)
            rig.driver.check()
            rig.driver.light(rig.lamp_address, on=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(rig.readings) == 2
            assert not rig.lit(rig.lamp_address)
            assert rig.reports == []

        asyncio.run(scene())

    def test_driver_closes_while_edges_arrive_from_another_thread(self) -> None:
        raised: list[BaseException] = []
        halt = threading.Event()

        def storm(rig: Rig) -> None:
            closed = False
            try:
                while not halt.is_set():
                    closed = not closed
                    rig.set_closed(rig.open_address, closed)
            except BaseException as error:  # noqa: BLE001 - the test is that there is none
                raised.append(error)

        async def scene(rig: Rig) -> int:
            rig.start()
            await until(lambda: len(rig.readings) > 100)
            await rig.driver.stop()
            return len(rig.readings)

        for _ in range(5):
            halt.clear()
            rig = self.rig()
            mover = threading.Thread(target=storm, args=(rig,))
            mover.start()
            try:
                heard = asyncio.run(scene(rig))
            finally:
                halt.set()
                mover.join()
            assert len(rig.readings) == heard
        assert raised == []

    def test_driver_survives_edges_after_its_loop_is_closed(self) -> None:
        rig = self.rig()

        async def scene() -> None:
            rig.start()

        asyncio.run(scene())
        rig.set_closed(rig.open_address, True)
        rig.set_closed(rig.closed_address, False)
        asyncio.run(rig.driver.stop())
        assert len(rig.readings) == 2
