"""The simulated building: pins that behave as a chip, and a bench to press its buttons."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from drivers.base import Contact
from gateway.clock import SystemClock
from gateway.core.model import Level
from simulators.building.hardware import Bench, SimulatedPins
from simulators.building.waveforms import DAMAGE_TO_PRESS_US, Shape, edges
from tests.simulators.building import PREMISES, Building

N, A = Level.NORMAL, Level.ACTIVE


def test_bench_rests_with_every_contact_normal() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        assert [reading.level for reading in building.readings] == [N, N, N, N]
        await building.driver.stop()

    asyncio.run(run())


def test_bench_press_arrives_at_the_driver_at_the_waveforms_own_moments() -> None:
    async def run() -> None:
        building = Building(seed=9)
        building.start()
        start_us = building.clock.us
        await building.play(building.bench.press("reception", Shape.BOUNCE, 400))
        played = edges(Shape.BOUNCE, press_ms=400, random=Random(9), pair=True)
        names = {Contact.NORMALLY_OPEN: "gpio:17", Contact.NORMALLY_CLOSED: "gpio:27"}
        assert [(r.input, r.at_us - start_us) for r in building.readings[4:]] == [
            (names[edge.contact], edge.at_us) for edge in played
        ]
        await building.driver.stop()

    asyncio.run(run())


def test_bench_presses_two_points_at_once() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        bench, start_us = building.bench, building.clock.us
        await building.play(bench.press("reception", ms=300), bench.press("gym", ms=300))
        assert building.clock.us - start_us < 400_000
        for address in ("gpio:17", "gpio:23"):
            assert building.levels(address) == [N, A, N]
        await building.driver.stop()

    asyncio.run(run())


def test_bench_second_press_of_one_point_waits_for_the_first() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        bench, start_us = building.bench, building.clock.us
        await building.play(bench.press("gym", ms=300), bench.press("gym", ms=300))
        assert building.levels("gpio:23") == [N, A, N, A, N]
        assert building.clock.us - start_us == 600_000
        await building.driver.stop()

    asyncio.run(run())


def test_bench_damage_lasts_through_later_presses_until_repaired() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        bench = building.bench
        await building.play(bench.press("reception", Shape.CUT_NC))
        assert bench.damage("reception") == ("normally-closed cut",)
        await building.play(bench.press("reception"))
        assert building.levels("gpio:27") == [N, A]
        assert building.levels("gpio:17") == [N, A, N]
        bench.repair("reception")
        await building.play(bench.press("reception"))
        assert building.levels("gpio:27") == [N, A, N, A, N]
        assert bench.damage("reception") == ()
        await building.driver.stop()

    asyncio.run(run())


def test_bench_new_damage_to_a_wire_replaces_the_old() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        await building.play(building.bench.press("gym", Shape.SHORT_NO))
        await building.play(building.bench.press("gym", Shape.CUT_NO))
        assert building.levels("gpio:23") == [N, A, N]
        await building.driver.stop()

    asyncio.run(run())


def test_bench_press_of_a_damaged_pair_comes_after_the_damage() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        start_us = building.clock.us
        await building.play(building.bench.press("reception", Shape.SHORT_NC_PRESS, 100))
        assert building.levels("gpio:27") == [N]
        assert building.levels("gpio:17") == [N, A, N]
        assert building.readings[4].at_us - start_us >= DAMAGE_TO_PRESS_US
        await building.driver.stop()

    asyncio.run(run())


def test_bench_stuck_button_stays_in_until_repaired_and_takes_no_press() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        bench = building.bench
        await building.play(bench.press("gym", Shape.STUCK))
        assert bench.damage("gym") == ("held in",)
        for shape in (Shape.CLEAN, Shape.GLITCH):
            with pytest.raises(ValueError, match="gym is held in"):
                await bench.press("gym", shape)
        bench.repair("gym")
        await building.play(bench.press("gym"))
        assert building.levels("gpio:23") == [N, A, N, A, N]
        await building.driver.stop()

    asyncio.run(run())


def test_bench_press_that_is_called_off_lets_go_of_the_button() -> None:
    async def run() -> None:
        building = Building()
        building.start()
        task = asyncio.create_task(building.bench.press("gym", ms=300))
        await asyncio.sleep(0)
        assert building.pins.at("gpio:23").wire_closed
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not building.pins.at("gpio:23").wire_closed
        await building.driver.stop()

    asyncio.run(run())


def test_bench_refuses_to_repair_what_is_being_pressed() -> None:
    async def run() -> None:
        building = Building()
        task = asyncio.create_task(building.bench.press("gym"))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="gym is being pressed"):
            building.bench.repair("gym")
        await building.clock.finish(task)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("point", "shape", "says"),
    [
        ("attic", "clean", "no point 'attic'; there are reception, gym, mains"),
        ("gym", "wobble", "no shape 'wobble'; there are clean, bounce, chatter"),
        ("gym", "cut-nc", "only its normally-open contact wired"),
    ],
)
def test_bench_names_what_exists(point: str, shape: str, says: str) -> None:
    async def run() -> None:
        with pytest.raises(ValueError, match=says):
            await Building().bench.press(point, shape)

    asyncio.run(run())


def test_bench_shows_the_lamp_the_driver_lights() -> None:
    async def run() -> None:
        building = Building()
        assert building.bench.lamps() == {"reception": False}
        building.start()
        building.driver.light("gpio:22", on=True)
        assert building.bench.lamp("gpio:22")
        await building.driver.stop()
        assert not building.bench.lamp("gpio:22")
        with pytest.raises(ValueError, match="no lamp at gpio:4; there are gpio:22"):
            building.bench.lamp("gpio:4")

    asyncio.run(run())


def test_bench_plays_bounces_in_real_time_within_a_fraction_of_a_millisecond() -> None:
    """A busy machine may be late now and then; a player that sleeps is a millisecond late."""

    async def run() -> None:
        clock = SystemClock()
        pins = SimulatedPins(clock.now_us)
        bench = Bench(PREMISES, pins, clock=clock, random=Random(4))
        dice = Random(4)
        pin = pins.at("gpio:23")
        moments: list[int] = []

        def note(ticks: float, _state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
            moments.append(round(ticks * 1e6))

        pin.input_with_pull("up")
        pin.when_changed = note
        median_us, deadline = 1_000_000, time.monotonic() + 20
        while median_us >= 300:
            assert time.monotonic() < deadline, f"late by {median_us} us at best"
            moments.clear()
            start_us = clock.now_us()
            await bench.press("gym", Shape.CHATTER, 40)
            played = edges(Shape.CHATTER, press_ms=40, random=dice, pair=False)
            late = [m - start_us - e.at_us for m, e in zip(moments, played, strict=True)]
            assert min(late) >= 0
            median_us = min(median_us, sorted(late)[len(late) // 2])

    asyncio.run(run())


# --- pins -----------------------------------------------------------------------------------


def test_pins_make_no_edge_of_a_pull_or_of_being_asked_for_edges() -> None:
    pins = SimulatedPins(lambda: 0)
    pin = pins.at("gpio:17")
    told: list[bool] = []

    def note(_ticks: float, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        told.append(state)

    pin.when_changed = note
    pin.input_with_pull("up")
    pin.input_with_pull("down")
    assert told == []


def test_pins_closed_wire_reads_low_whatever_the_pull() -> None:
    pins = SimulatedPins(lambda: 0)
    pin = pins.at("gpio:17")
    pin.wire(closed=True)
    pin.input_with_pull("up")
    assert not pin.state
    pin.wire(closed=False)
    assert pin.state


def test_pins_keep_their_wires_when_a_program_gives_them_back() -> None:
    pins = SimulatedPins(lambda: 0)
    pins.at("gpio:17").wire(closed=True)
    pins.close()
    again = pins.at("gpio:17")
    again.input_with_pull("up")
    assert not again.state


def test_pins_stamp_edges_with_the_clock_they_were_given() -> None:
    pins = SimulatedPins(lambda: 123_456_789_012)
    assert round(pins.ticks() * 1e6) == 123_456_789_012
