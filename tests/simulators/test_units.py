"""A simulated unit: filters, counters, restarts, timed outputs, the state for a silent master."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from gateway.config.profile.profiles import narrowed
from gateway.core.hardware import Device
from gateway.core.profile import InputChannel, Profile, Register, Table, Timing
from simulators.bus.faults import (
    Forgetful,
    Impostor,
    Late,
    Refusing,
    Silent,
    StuckOutputs,
    Unpowered,
)
from simulators.bus.shipped import profile, whole
from simulators.bus.units import REBOOT_US, SimulatedUnit, word_of
from simulators.virtual.time import VirtualClock
from tests.simulators.bus_rig import ask, coil, read, unit_of, virtually, write


async def press(unit: SimulatedUnit, channel: str, clock: VirtualClock, ms: float) -> None:
    contact = unit.contact(channel)
    contact.wire(closed=True)
    await clock.sleep(ms / 1e3)
    contact.wire(closed=False)
    await clock.sleep(0.2)


def counter(unit: SimulatedUnit, address: int) -> int:
    high, low = read(unit, Table.INPUT, address, 2)
    return high << 16 | low


@pytest.mark.parametrize(("filter_ms", "counted"), [(50, 0), (10, 1), (0, 1)])
def test_unit_filter_decides_whether_a_short_press_is_counted(filter_ms: int, counted: int) -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        assert read(unit, Table.HOLDING, 20) == [50]  # as it leaves the factory
        write(unit, 20, filter_ms)
        await press(unit, "input-1", clock, 30)
        assert counter(unit, 60) == counted
        assert read(unit, Table.DISCRETE, 0) == [0]

    virtually(scenario)


def test_unit_counts_closings_and_not_edges() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        for _ in range(3):
            await press(unit, "input-8", clock, 100)
        assert counter(unit, 74) == 3
        assert counter(unit, 60) == 0

    virtually(scenario)


def test_unit_level_follows_the_wire_after_its_filter() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        unit.contact("input-3").wire(closed=True)
        await clock.sleep(0.049)
        assert read(unit, Table.DISCRETE, 0, 8) == [0] * 8
        await clock.sleep(0.002)
        assert read(unit, Table.DISCRETE, 0, 8) == [0, 0, 1, 0, 0, 0, 0, 0]

    virtually(scenario)


def test_unit_counter_of_16_bits_wraps() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        unit.inputs["input-1"].closings = 65_535
        await press(unit, "input-1", clock, 100)
        assert read(unit, Table.INPUT, 32) == [0]

    virtually(scenario)


def test_unit_restart_loses_counters_and_uptime_and_keeps_settings() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        write(unit, 20, 5)
        await press(unit, "input-1", clock, 30)
        await clock.sleep(100)
        assert read(unit, Table.INPUT, 104, 2) == [0, 100]
        unit.reboot()
        assert unit.hear(bytes.fromhex("0400680002")) is None
        await clock.sleep(REBOOT_US / 1e6 + 3)
        assert read(unit, Table.INPUT, 104, 2) == [0, 3]
        assert counter(unit, 60) == 0
        assert read(unit, Table.HOLDING, 20) == [5]

    virtually(scenario)


def test_unit_restart_with_a_button_held_counts_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        unit.contact("input-1").wire(closed=True)
        await clock.sleep(1)
        unit.reboot()
        await clock.sleep(5)
        assert counter(unit, 60) == 0
        assert read(unit, Table.DISCRETE, 0) == [1]

    virtually(scenario)


def test_unit_wire_at_rest_is_no_press() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        unit.contact("input-1").rest(closed=True)
        assert read(unit, Table.DISCRETE, 0) == [1]
        assert counter(unit, 60) == 0

    virtually(scenario)


def test_unit_answers_within_its_own_time_and_not_always_alike() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        answers = [unit.hear(bytes.fromhex("0200000001")) for _ in range(50)]
        times = {answer.after_us for answer in answers if answer is not None}
        assert len(times) > 20
        assert max(times) <= unit.profile.timing.answer_ms * 1_000

    virtually(scenario)


# --- silence of the master -------------------------------------------------------------------


def test_unit_leaves_the_relay_as_it_is_when_the_master_falls_silent() -> None:
    """That is how it leaves the factory, and why a door must not be driven before it is set up."""

    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        coil(unit, 0, 0xFF00)
        await clock.sleep(60)
        assert unit.safe
        assert unit.output("relay-1").on

    virtually(scenario)


def test_unit_goes_to_its_safe_state_after_its_timeout_and_not_before() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        write(unit, 938, 1)
        write(unit, 939, 1)
        write(unit, 931, 1)
        coil(unit, 0, 0xFF00)
        await clock.sleep(9.9)
        assert [unit.output(f"relay-{one}").on for one in (1, 2, 3)] == [True, False, False]
        await clock.sleep(0.2)
        assert [unit.output(f"relay-{one}").on for one in (1, 2, 3)] == [False, True, False]

    virtually(scenario)


def test_unit_that_is_asked_often_enough_stays_out_of_its_safe_state() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        write(unit, 938, 1)
        coil(unit, 0, 0xFF00)
        for _ in range(10):
            await clock.sleep(8)
            read(unit, Table.DISCRETE, 0)
        assert unit.output("relay-1").on
        assert not unit.safe

    virtually(scenario)


# --- outputs ---------------------------------------------------------------------------------


def test_unit_ends_a_timed_opening_by_itself_and_counts_it_down() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        write(unit, 1760, 3)
        write(unit, 1784, 50)
        coil(unit, 0, 0xFF00)
        await clock.sleep(2)
        assert read(unit, Table.DISCRETE, 96) == [1]
        assert read(unit, Table.INPUT, 1864) == [30]
        await clock.sleep(3.1)
        assert read(unit, Table.DISCRETE, 96) == [0]
        assert read(unit, Table.COIL, 0) == [0]
        assert read(unit, Table.INPUT, 1864) == [0]

    virtually(scenario)


def test_unit_off_pulse_comes_back_on() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        coil(unit, 1, 0xFF00)
        write(unit, 1761, 4)
        write(unit, 1793, 20)
        coil(unit, 1, 0x0000)
        await clock.sleep(1.9)
        assert not unit.output("relay-2").on
        await clock.sleep(0.2)
        assert unit.output("relay-2").on

    virtually(scenario)


def test_unit_without_a_timer_in_force_stays_as_it_was_told() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        coil(unit, 0, 0xFF00)
        await clock.sleep(9)
        assert unit.output("relay-1").on
        coil(unit, 0, 0x0000)
        assert not unit.output("relay-1").on

    virtually(scenario)


def test_unit_with_stuck_outputs_acknowledges_and_moves_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        unit.afflict(StuckOutputs(("relay-1",)))
        coil(unit, 0, 0xFF00)
        coil(unit, 1, 0xFF00)
        assert read(unit, Table.DISCRETE, 96, 2) == [0, 1]
        unit.heal()
        coil(unit, 0, 0xFF00)
        assert read(unit, Table.DISCRETE, 96, 2) == [1, 1]

    virtually(scenario)


def test_unit_tells_who_watches_an_output_only_of_changes() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit, told = unit_of("wb-mr6c", clock), list[bool]()
        relay = unit.output("relay-1")
        relay.watch(lambda: told.append(relay.on))
        for value in (0xFF00, 0xFF00, 0x0000):
            coil(unit, 0, value)
        assert told == [True, False]

    virtually(scenario)


# --- faults ----------------------------------------------------------------------------------


def test_unit_that_is_silent_hears_nothing_until_it_is_well() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        unit.afflict(Silent())
        assert unit.hear(bytes.fromhex("050000FF00")) is None
        assert not unit.output("relay-1").on
        unit.heal()
        coil(unit, 0, 0xFF00)
        assert unit.output("relay-1").on

    virtually(scenario)


def test_unit_without_power_drops_its_relays_and_starts_anew() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        write(unit, 6, 1)
        coil(unit, 0, 0xFF00)
        await clock.sleep(100)
        unit.afflict(Unpowered())
        assert not unit.output("relay-1").on
        await press(unit, "input-2", clock, 200)
        assert not unit.output("relay-2").on
        unit.heal()
        await clock.sleep(5)
        assert unit.uptime_s < 5
        assert read(unit, Table.INPUT, 33) == [0]

    virtually(scenario)


def test_unit_that_is_late_does_it_at_once_and_says_so_later() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        unit.afflict(Late(700_000, 700_000))
        answer = unit.hear(bytes.fromhex("050000FF00"))
        assert answer is not None
        assert 700_000 < answer.after_us < 720_000
        assert unit.output("relay-1").on

    virtually(scenario)


def test_unit_that_refuses_does_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        unit.afflict(Refusing(6))
        assert ask(unit, bytes.fromhex("050000FF00")) == bytes.fromhex("8506")
        assert not unit.output("relay-1").on

    virtually(scenario)


def test_unit_that_forgets_loses_a_share_of_its_answers() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        unit.afflict(Forgetful(0.5))
        answers = [unit.hear(bytes.fromhex("0200000001")) for _ in range(200)]
        assert 60 < sum(answer is None for answer in answers) < 140

    virtually(scenario)


def test_unit_of_another_model_says_so() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        assert bytes(read(unit, Table.HOLDING, 200, 6)) == b"WBMR6C"
        unit.afflict(Impostor("WBMCM8"))
        assert bytes(read(unit, Table.HOLDING, 200, 6)) == b"WBMCM8"

    virtually(scenario)


def test_unit_names_what_there_is_when_asked_for_what_there_is_not() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mrm2-mini", clock)
        with pytest.raises(ValueError, match="no input 'input-9'; there are input-1, input-2"):
            unit.contact("input-9")
        with pytest.raises(ValueError, match="no output 'siren'; there are relay-1, relay-2"):
            unit.output("siren")

    virtually(scenario)


# --- how a profile lays values out -----------------------------------------------------------


@pytest.mark.parametrize(
    ("register", "words"),
    [
        (Register(Table.INPUT, 0), [0x5678]),
        (Register(Table.INPUT, 0, words=2), [0x1234, 0x5678]),
        (Register(Table.INPUT, 0, words=2, low_word_first=True), [0x5678, 0x1234]),
    ],
)
def test_unit_lays_a_value_out_as_its_register_says(register: Register, words: list[int]) -> None:
    got = [word_of(register, lambda: 0x12345678, index) for index in range(register.words)]
    assert got == words


def test_unit_puts_bits_and_high_bytes_of_several_channels_into_one_register() -> None:
    made_up = Profile(
        id="made-up",
        vendor="nobody",
        model="M",
        verified=False,
        source="this test",
        inputs=(
            InputChannel("a", Register(Table.HOLDING, 7, bit=0)),
            InputChannel("b", Register(Table.HOLDING, 7, bit=3), inverted=True),
            InputChannel("c", Register(Table.HOLDING, 7, high_byte=True)),
        ),
    )

    async def scenario(clock: VirtualClock) -> None:
        unit = SimulatedUnit(Device("u", "b", 1, made_up), clock=clock, random=Random(1))
        assert read(unit, Table.HOLDING, 7) == [0x0008]
        for name in "abc":
            unit.contact(name).wire(closed=True)
        assert read(unit, Table.HOLDING, 7) == [0x0101]

    virtually(scenario)


def test_shipped_profile_is_found_again_behind_its_part() -> None:
    every = profile("wb-mr6c")
    part = narrowed(every, {"input-1", "relay-2"})
    assert len(part.inputs) == 1
    assert whole(part) == every
    other = replace(part, timing=Timing(answer_ms=3_000))
    assert whole(other) == other
