"""The Modbus driver as the daemon sees it: readings, results, conditions, and the stop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

import pytest
import uvloop

from drivers.base import Contact, DriverError, Ear, Wire
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.wire.ports import open_port
from gateway.clock import SystemClock
from gateway.core.action import Outcome
from gateway.core.model import Count, Level, Reading
from gateway.core.profile import InputChannel, Register, Table
from tests.drivers.modbus.scripted import MS, PLAIN, House, S, live

CLOSED = {"input-1": (Table.DISCRETE, 0), "button-1": (Table.DISCRETE, 8)}
COUNTER = (Table.INPUT, 32)


def test_driver_shows_every_input_as_soon_as_its_unit_has_answered() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", "unit-1/input-2")
        assert house.readings == []
        await house.pass_ms(100)
        assert house.levels("unit-1/input-1") == [Level.NORMAL]
        assert house.levels("unit-1/input-2") == [Level.NORMAL]

    live(scene)


def test_driver_applies_the_sense_of_each_contact() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", contact=Contact.NORMALLY_CLOSED)
        await house.pass_ms(150)
        house.unit.words[CLOSED["input-1"]] = 1
        await house.pass_ms(300)
        assert house.levels("unit-1/input-1") == [Level.ACTIVE, Level.NORMAL]

    live(scene)


def test_driver_says_nothing_of_what_has_not_changed() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", "unit-1/button-1", outputs=["unit-1/relay-1"])
        await house.pass_ms(400)
        heard = len(house.readings)
        await house.pass_ms(20_000)
        assert len(house.readings) == heard

    live(scene)


def test_driver_stamps_a_change_with_the_moment_of_the_answer() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1")
        await house.pass_ms(350)
        house.unit.words[CLOSED["input-1"]] = 1
        moved_us = house.clock.now_us()
        await house.pass_ms(300)
        assert moved_us < house.readings[-1].at_us <= moved_us + 150 * MS

    live(scene)


def test_driver_hands_a_press_between_two_polls_over_as_a_count() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/button-1", pressed=True)
        await house.pass_ms(350)
        house.unit.words[COUNTER] = 1
        await house.pass_ms(300)
        assert house.levels("unit-1/button-1") == [Level.NORMAL, Level.NORMAL]
        assert house.counts("unit-1/button-1") == [0, 1]
        assert house.readings[-1].count == Count(1, 16)

    live(scene)


def test_driver_reads_the_uptime_before_it_hands_over_a_first_or_a_smaller_count() -> None:
    async def scene(house: House) -> None:
        house.unit.words[COUNTER] = 5
        await house.pass_ms(7_000)
        house.start("unit-1/button-1")
        await house.pass_ms(3_000)
        house.unit.reboot()
        await house.pass_ms(1_000)
        assert [reading.count for reading in house.readings] == [Count(5, 16, 7), Count(0, 16, 0)]

    live(scene)


def test_driver_hands_a_count_over_again_when_its_unit_has_started_anew() -> None:
    async def scene(house: House) -> None:
        await house.pass_ms(100_000)
        house.start("unit-1/button-1")
        await house.pass_ms(30_000)
        house.unit.reboot()
        await house.pass_ms(30_000)
        first, again = (reading.count for reading in house.readings)
        assert first == Count(0, 16, 100)
        assert again is not None
        assert again.value == 0
        assert again.uptime_s is not None
        assert again.uptime_s < 15

    live(scene)


def test_driver_hands_counts_over_without_an_uptime_where_the_unit_refuses_it() -> None:
    async def scene(house: House) -> None:
        house.unit.refuse = lambda function, address: 2 if (function, address) == (4, 104) else 0
        house.start("unit-1/button-1")
        await house.pass_ms(500)
        assert [reading.count for reading in house.readings] == [Count(0, 16)]

    live(scene)


def test_driver_goes_on_with_the_level_where_a_counter_is_refused() -> None:
    async def scene(house: House) -> None:
        house.unit.refuse = lambda function, address: 2 if (function, address) == (4, 32) else 0
        house.start("unit-1/button-1")
        await house.pass_ms(500)
        assert house.readings[-1].level is Level.NORMAL
        assert house.readings[-1].count is None
        assert house.told("configuration") == [("unit-1", True)]

    live(scene)


def test_driver_shows_every_input_of_a_silent_unit_as_unknown_once_and_again_on_return() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", "unit-1/button-1", pressed=True)
        await house.pass_ms(500)
        house.unit.dead = True
        await house.pass_ms(20_000)
        for address in ("unit-1/input-1", "unit-1/button-1"):
            assert house.levels(address) == [Level.NORMAL, Level.UNKNOWN]
        assert house.told("unit-silent") == [("unit-1", True)]
        house.unit.dead = False
        house.unit.words[CLOSED["button-1"]] = 1
        house.unit.words[COUNTER] = 3
        await house.pass_ms(4_000)
        assert house.levels("unit-1/input-1")[2:] == [Level.NORMAL]
        assert house.levels("unit-1/button-1")[2:] == [Level.ACTIVE]
        assert house.counts("unit-1/button-1") == [0, None, 3]
        assert house.told("unit-silent") == [("unit-1", True), ("unit-1", False)]

    live(scene)


def test_driver_shows_what_an_output_really_is() -> None:
    async def scene(house: House) -> None:
        house.start(outputs=["unit-1/relay-1"])
        await house.pass_ms(1_500)
        house.act("a")
        await house.pass_ms(300)
        assert house.levels("unit-1/relay-1") == [Level.NORMAL, Level.ACTIVE]
        house.unit.words[Table.COIL, 0] = 0
        await house.pass_ms(1_500)
        assert house.levels("unit-1/relay-1")[2:] == [Level.NORMAL]

    live(scene)


@pytest.mark.parametrize(
    ("channel", "value", "level"),
    [
        ({"inverted": True}, 0, Level.ACTIVE),
        ({"inverted": True}, 1, Level.NORMAL),
        ({"closed_codes": (118, 3), "unknown_codes": (187,)}, 3, Level.ACTIVE),
        ({"closed_codes": (118, 3), "unknown_codes": (187,)}, 187, Level.UNKNOWN),
        ({"closed_codes": (118, 3), "unknown_codes": (187,)}, 24, Level.NORMAL),
    ],
)
def test_driver_reads_a_level_as_its_profile_says(
    channel: dict[str, object], value: int, level: Level
) -> None:
    register = Register(Table.HOLDING, 40, high_byte=bool(channel.get("closed_codes")))
    made = InputChannel("input-1", level=register, **channel)  # type: ignore[arg-type]

    async def scene(house: House) -> None:
        stored = value << 8 if register.high_byte else value
        house.unit.words[Table.HOLDING, 40] = stored
        house.start("unit-1/input-1")
        await house.pass_ms(200)
        assert house.levels("unit-1/input-1") == [level]

    live(scene, replace(PLAIN, inputs=(made,)))


def test_driver_sees_one_bit_of_a_mask_and_a_counter_of_two_words() -> None:
    made = InputChannel(
        "input-1",
        level=Register(Table.INPUT, 8, bit=3),
        counter=Register(Table.INPUT, 60, words=2, low_word_first=True),
    )

    async def scene(house: House) -> None:
        house.unit.words |= {(Table.INPUT, 8): 0b1000, (Table.INPUT, 60): 7, (Table.INPUT, 61): 1}
        house.start("unit-1/input-1")
        await house.pass_ms(300)
        assert [(r.level, r.count) for r in house.readings] == [
            (Level.ACTIVE, Count(65_543, 32, 0))
        ]

    live(scene, replace(PLAIN, inputs=(made,)))


# --- actions ----------------------------------------------------------------------------------


def test_driver_moves_an_output_once_its_unit_is_set_up() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-1"])
        house.act("a")
        assert house.results == []
        await house.pass_ms(1_500)
        assert house.outcomes == [("a", Outcome.CONFIRMED)]
        functions = [function for function, _, _ in house.unit.log]
        assert functions.index(6) < functions.index(5)

    live(scene)


def test_driver_results_never_come_from_within_act() -> None:
    async def scene(house: House) -> None:
        house.start(outputs=["unit-1/relay-1"])
        house.act("a")
        house.act("b")
        house.act("c", "unit-1/relay-9")
        assert house.results == []
        await house.pass_ms(0)
        assert dict(house.outcomes) == {"a": Outcome.REPLACED, "c": Outcome.FAILED}

    live(scene)


def test_driver_does_not_move_a_door_whose_command_expired_while_its_unit_was_silent() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-1"])
        await house.pass_ms(2_000)
        house.unit.dead = True
        await house.pass_ms(10_000)
        house.act("a", within_ms=3_000)
        await house.pass_ms(4_000)
        assert house.outcomes == [("a", Outcome.EXPIRED)]
        house.unit.dead = False
        await house.pass_ms(20_000)
        assert house.unit.moved == []

    live(scene)


def test_driver_locks_the_outputs_of_another_model() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-1"])
        await house.pass_ms(2_000)
        house.act("a")
        await house.pass_ms(500)
        assert house.outcomes[0][1] is Outcome.LOCKED
        assert house.results[0].why
        assert house.unit.moved == []

    live(scene, identities={"unit-1": "another"})


def test_driver_remembers_what_a_unit_was_first_seen_to_be() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1")
        await house.pass_ms(1_000)
        first = dict(house.remembered)
        assert list(first) == ["unit-1"]
        house.unit.dead = True
        await house.pass_ms(10_000)
        house.unit.dead = False
        house.remembered.clear()
        await house.pass_ms(5_000)
        assert house.remembered == {}

    live(scene)


def test_driver_lamp_is_brought_to_what_was_last_asked_when_its_unit_is_back() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-2"])
        house.unit.dead = True
        await house.pass_ms(10_000)
        for on in (True, False, True):
            house.driver.light("unit-1/relay-2", on=on)
        await house.pass_ms(1_000)
        house.unit.dead = False
        await house.pass_ms(20_000)
        assert house.unit.words[Table.COIL, 1] == 1
        assert [(address, on) for _, address, on in house.unit.moved] == [(1, 1)]
        assert house.results == []

    house = live(scene)
    assert house.unit.words[Table.COIL, 1] == 0, "dark after the stop"


def test_driver_reports_a_failing_lamp_once_and_when_it_is_well_again() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-2"])
        await house.pass_ms(2_000)
        house.unit.refuse = lambda function, _: 4 if function == 5 else 0
        for on in (True, False, True):
            house.driver.light("unit-1/relay-2", on=on)
            await house.pass_ms(2_000)
        house.driver.light("unit-1/relay-7", on=True)
        assert house.events.count("modbus.lamp.failed") <= 2
        house.unit.refuse = lambda _function, _address: 0
        house.driver.light("unit-1/relay-2", on=True)
        await house.pass_ms(2_000)
        assert house.unit.words[Table.COIL, 1] == 1

    live(scene)


# --- start and stop ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("unit-9/input-1", "unit-9/input-1: no such device is configured; there are unit-1"),
        ("unit-1/input-9", "unit-1/input-9: Little has no such input; it has input-1"),
        ("gpio:17", "gpio:17: no such device"),
    ],
)
def test_driver_refuses_an_address_that_is_none(address: str, says: str) -> None:
    async def scene(house: House) -> None:
        with pytest.raises(DriverError, match=says):
            house.start(address)

    live(scene)


def test_driver_refuses_an_input_used_twice_and_a_second_start() -> None:
    async def scene(house: House) -> None:
        with pytest.raises(DriverError, match="used twice"):
            house.start("unit-1/input-1", "unit-1/input-1")
        with pytest.raises(DriverError, match="make a new one"):
            house.start("unit-1/input-1")

    live(scene)


def test_driver_ends_its_pulses_and_closes_within_two_seconds() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-1"])
        await house.pass_ms(2_000)
        house.act("a", for_ms=60_000)
        await house.pass_ms(500)
        assert house.unit.words[Table.COIL, 0] == 1
        began_us = house.clock.now_us()
        await house.driver.stop()
        assert house.clock.now_us() - began_us < 500 * MS
        assert house.unit.words[Table.COIL, 0] == 0

    live(scene)


def test_driver_stops_in_time_when_the_end_of_a_pulse_finds_a_dead_unit() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-1"])
        await house.pass_ms(2_000)
        house.act("a", for_ms=60_000)
        await house.pass_ms(500)
        house.unit.dead = True
        began_us = house.clock.now_us()
        await house.driver.stop()
        assert house.clock.now_us() - began_us <= 2 * S

    live(scene)


def test_driver_answers_what_waits_when_it_stops_and_says_nothing_afterwards() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", outputs=["unit-1/relay-1"])
        house.unit.dead = True
        house.act("a")
        await house.pass_ms(50)
        await house.driver.stop()
        await house.driver.stop()
        house.unit.words[CLOSED["input-1"]] = 1
        heard, sent = len(house.readings), len(house.port.begun)
        house.driver.light("unit-1/relay-1", on=True)
        house.driver.check()
        house.act("b")
        await house.pass_ms(1_000)
        assert dict(house.outcomes) == {"a": Outcome.FAILED, "b": Outcome.FAILED}
        assert (len(house.readings), len(house.port.begun)) == (heard, sent)

    live(scene)


def test_driver_is_not_deafened_by_a_consumer_that_raises() -> None:
    async def scene(house: House) -> None:
        def consumer(reading: Reading) -> None:
            house.readings.append(reading)
            raise RuntimeError("a defect upstairs")

        ear = replace(house.ear, reading=consumer)
        house.driver.start(
            wires=[Wire("unit-1/input-1", Contact.NORMALLY_OPEN)], outputs=[], ear=ear
        )
        for value in (0, 1, 0):
            house.unit.words[CLOSED["input-1"]] = value
            await house.pass_ms(300)
        assert len(house.levels("unit-1/input-1")) == 3
        assert house.events == ["modbus.consumer.failed"]

    live(scene)


def test_driver_status_names_every_bus_and_unit_and_why_outputs_are_locked() -> None:
    async def scene(house: House) -> None:
        house.start("unit-1/input-1", "unit-2/input-1", outputs=["unit-1/relay-1"])
        house.port.units[2].dead = True
        await house.pass_ms(10_000)
        status = house.driver.status()
        corridor = status["corridor"]
        assert isinstance(corridor, dict)
        assert corridor["open"] is True
        units = corridor["units"]
        assert isinstance(units, dict)
        first, second = units["unit-1"], units["unit-2"]
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert (first["state"], first["outputs"]) == ("answers", "ready")
        assert (second["state"], second["outputs"]) == ("silent", "locked")
        assert second["locked_because"]
        assert isinstance(second["timeouts"], int)
        assert second["timeouts"] > 2
        assert isinstance(first["latency_us"], int)
        assert first["latency_us"] > 4 * MS

    live(scene, PLAIN, PLAIN)


def test_driver_refuses_a_loop_that_keeps_no_silences() -> None:
    """uvloop rounds its timers to milliseconds: frames would run into each other."""

    async def scene() -> None:
        driver = ModbusDriver(
            (),
            (),
            opener=partial(open_port, clock=SystemClock()),
            clock=SystemClock(),
            random=Random(1),
            report=lambda _event, _fields: None,
            identities={},
            remember=lambda _device, _identity: None,
        )
        ear = Ear(lambda _: None, lambda _: None, lambda _: None)
        with pytest.raises(DriverError, match="uvloop"):
            driver.start(wires=(), outputs=(), ear=ear)

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
