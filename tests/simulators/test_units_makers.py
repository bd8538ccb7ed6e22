"""What each maker's units do by themselves, and that every shipped profile is answered."""

from __future__ import annotations

import pytest

from gateway.config.profile.profiles import shipped
from gateway.core.profile import Table
from simulators.bus.shipped import profile
from simulators.bus.units import SimulatedUnit
from simulators.virtual.time import VirtualClock
from tests.simulators.bus_rig import ask, coil, read, unit_of, virtually, write


async def closed(unit: SimulatedUnit, channel: str, clock: VirtualClock) -> None:
    unit.contact(channel).wire(closed=True)
    await clock.sleep(0.2)


async def opened(unit: SimulatedUnit, channel: str, clock: VirtualClock) -> None:
    unit.contact(channel).wire(closed=False)
    await clock.sleep(0.2)


@pytest.mark.parametrize("name", shipped())
def test_maker_answers_every_register_of_the_profile(name: str) -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of(name, clock)
        one = profile(name)
        registers = [channel.level for channel in one.inputs]
        registers += [channel.counter for channel in one.inputs]
        registers += [channel.state for channel in one.outputs]
        registers += [one.identity.register if one.identity else None, one.uptime]
        registers += [setting.register for setting in one.settings if not setting.blind]
        for register in registers:
            if register is not None:
                read(unit, register.table, register.address, register.words)

    virtually(scenario)


@pytest.mark.parametrize("name", shipped())
def test_maker_lets_every_setting_of_the_profile_be_written(name: str) -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of(name, clock)
        for setting in profile(name).settings:
            place = setting.register.table, setting.register.address
            unit.registers.write(*place, [setting.value], function=setting.function)
            assert unit.registers.read(*place, 1) == [setting.value], setting.name

    virtually(scenario)


@pytest.mark.parametrize("name", [n for n in shipped() if profile(n).outputs])
def test_maker_drives_every_output_of_the_profile_where_it_is_read_back(name: str) -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of(name, clock)
        for channel in profile(name).outputs[:20]:
            write_at = channel.write.table, channel.write.address
            unit.registers.write(*write_at, [channel.on], function=channel.function)
            assert unit.output(channel.name).on
            state = channel.state
            assert state is not None
            assert unit.registers.read(state.table, state.address, 1) == [channel.on]
            unit.registers.write(*write_at, [channel.off], function=channel.function)
            assert not unit.output(channel.name).on

    virtually(scenario)


# --- Wiren Board ------------------------------------------------------------------------------


def test_wb_inputs_drive_relays_as_they_leave_the_factory() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        await closed(unit, "input-1", clock)
        assert unit.output("relay-1").on
        await opened(unit, "input-1", clock)
        await closed(unit, "input-1", clock)
        assert not unit.output("relay-1").on

    virtually(scenario)


def test_wb_input_0_turns_every_relay_off_as_it_leaves_the_factory() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        for place in range(6):
            coil(unit, place, 0xFF00)
        await closed(unit, "input-0", clock)
        assert not any(part.on for part in unit.outputs.values())

    virtually(scenario)


def test_wb_inputs_set_to_mode_3_drive_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        for place in (*range(6), 7):
            write(unit, 9 + place, 3)
        coil(unit, 4, 0xFF00)
        for channel in unit.inputs:
            await closed(unit, channel, clock)
        assert [part.on for part in unit.outputs.values()] == [False] * 4 + [True, False]

    virtually(scenario)


def test_wb_block_across_a_hole_is_refused_until_continuous_read_is_on() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        across = bytes.fromhex("0300070003")
        assert ask(unit, across) == bytes.fromhex("8302")
        write(unit, 114, 1)
        assert ask(unit, across) == bytes.fromhex("0306FFFE000A0000")
        unit.reboot(down_us=0)
        assert ask(unit, across) == bytes.fromhex("8302")

    virtually(scenario)


def test_wb_timeout_of_0_is_not_a_value() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        assert ask(unit, bytes.fromhex("0600080000")) == bytes.fromhex("8603")

    virtually(scenario)


def test_wb_restart_register_restarts_it() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        await clock.sleep(50)
        assert unit.hear(bytes.fromhex("0600780001")) is None
        await clock.sleep(3)
        assert unit.uptime_s < 3

    virtually(scenario)


@pytest.mark.parametrize(("power_on", "on"), [(0, False), (1, True)])
def test_wb_relay_after_a_restart_is_as_power_on_says(power_on: int, on: bool) -> None:  # noqa: FBT001 -- a case
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c", clock)
        write(unit, 6, power_on)
        coil(unit, 0, 0xFF00)
        unit.reboot()
        assert unit.output("relay-1").on is on

    virtually(scenario)


def test_wb_older_firmware_has_no_timers_and_no_real_state() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mr6c-legacy", clock)
        assert ask(unit, bytes.fromhex("0306E00001")) == bytes.fromhex("8302")
        assert ask(unit, bytes.fromhex("0200600001")) == bytes.fromhex("8202")

    virtually(scenario)


# --- Waveshare ------------------------------------------------------------------------------


def test_waveshare_flash_on_ends_inside_the_unit() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        coil(unit, 0x0200, 7)
        assert read(unit, Table.COIL, 0, 8) == [1, 0, 0, 0, 0, 0, 0, 0]
        await clock.sleep(0.69)
        assert unit.output("relay-1").on
        await clock.sleep(0.02)
        assert not unit.output("relay-1").on

    virtually(scenario)


def test_waveshare_plain_write_cancels_a_flash() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        coil(unit, 0x0202, 10)
        coil(unit, 2, 0xFF00)
        await clock.sleep(5)
        assert unit.output("relay-3").on

    virtually(scenario)


def test_waveshare_toggle_is_not_safe_to_send_twice() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        coil(unit, 0, 0x5500)
        coil(unit, 0, 0x5500)
        assert not unit.output("relay-1").on

    virtually(scenario)


@pytest.mark.parametrize("value", [0, 0x8000, 0xFF00])
def test_waveshare_flash_without_a_time_is_refused(value: int) -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        pdu = b"\x05\x02\x00" + value.to_bytes(2, "big")
        assert ask(unit, pdu) == bytes.fromhex("8503")

    virtually(scenario)


def test_waveshare_keeps_its_relays_when_the_master_falls_silent() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        coil(unit, 0, 0xFF00)
        await clock.sleep(3_600)
        assert unit.output("relay-1").on

    virtually(scenario)


def test_waveshare_input_drives_a_relay_only_in_the_modes_that_say_so() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        await closed(unit, "input-1", clock)
        assert not unit.output("relay-1").on
        await opened(unit, "input-1", clock)
        write(unit, 0x1000, 1)
        await closed(unit, "input-1", clock)
        assert unit.output("relay-1").on
        await opened(unit, "input-1", clock)
        assert not unit.output("relay-1").on

    virtually(scenario)


# --- Owen and Bolid ---------------------------------------------------------------------------


def test_owen_relay_is_a_number_and_a_bit_of_the_mask() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("owen-mu110-16r", clock)
        write(unit, 6, 0x03E8)  # the published request that switches output 7 on
        assert unit.output("relay-7").on
        assert read(unit, Table.HOLDING, 0x32) == [1 << 6]
        assert ask(unit, bytes.fromhex("10003200010 20003".replace(" ", ""))) == bytes.fromhex(
            "1000320001"
        )
        assert [name for name, part in unit.outputs.items() if part.on] == ["relay-1", "relay-2"]
        assert ask(unit, bytes.fromhex("0600060 3E9".replace(" ", ""))) == bytes.fromhex("8603")

    virtually(scenario)


def test_owen_inputs_are_one_mask() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("owen-mv110-16d", clock)
        await closed(unit, "input-1", clock)
        await closed(unit, "input-16", clock)
        assert read(unit, Table.HOLDING, 0x33) == [0x8001]
        assert read(unit, Table.INPUT, 0x33) == [0x8001]

    virtually(scenario)


def test_owen_small_node_takes_function_16_only() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("owen-mk110-8d4r", clock)
        assert ask(unit, bytes.fromhex("06000003E8")) == bytes.fromhex("8601")
        assert ask(unit, bytes.fromhex("10000000010203E8")) == bytes.fromhex("1000000001")
        assert unit.output("relay-1").on

    virtually(scenario)


def test_owen_goes_to_its_safe_values_once_a_timeout_is_set() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("owen-mu110-16r", clock)
        write(unit, 0, 1000)
        await clock.sleep(3_600)
        assert unit.output("relay-1").on
        write(unit, 0x30, 10)
        await clock.sleep(11)
        assert not unit.output("relay-1").on

    virtually(scenario)


def test_bolid_zone_shows_its_most_important_state() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("bolid-s2000-pp", clock)
        assert read(unit, Table.HOLDING, 40004) == [24 << 8]
        await closed(unit, "silent-5", clock)
        assert read(unit, Table.HOLDING, 40003, 3) == [24 << 8, 58 << 8, 24 << 8]
        await closed(unit, "fire-5", clock)
        assert read(unit, Table.HOLDING, 40004) == [37 << 8]
        unit.inputs["fire-5"].unreadable = True
        assert read(unit, Table.HOLDING, 40004) == [187 << 8]

    virtually(scenario)


def test_bolid_relays_take_function_15_only() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("bolid-s2000-pp", clock)
        assert ask(unit, bytes.fromhex("052710FF00")) == bytes.fromhex("8501")
        assert ask(unit, bytes.fromhex("0F271000010101")) == bytes.fromhex("0F27100001")
        assert unit.output("relay-1").on

    virtually(scenario)


def test_bolid_events_are_read_oldest_first_and_gone_when_acknowledged() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("bolid-s2000-pp", clock)
        for flag in ("granted-5", "forced-7"):
            unit.contact(flag).wire(closed=True)
            unit.contact(flag).wire(closed=False)
        assert read(unit, Table.HOLDING, 46162) == [2]
        first = read(unit, Table.HOLDING, 46264, 14)
        assert first[0] == 1
        assert first[1] & 0xFF == 28
        assert first[2] == 0x0302
        assert first[3] == 5
        assert ask(unit, bytes.fromhex("06B4530002")) == bytes.fromhex("8603")  # not the oldest
        write(unit, 46163, 1)
        second = read(unit, Table.HOLDING, 46264, 14)
        assert (second[0], second[1] & 0xFF, second[3]) == (2, 27, 7)
        write(unit, 46163, 2)
        assert read(unit, Table.HOLDING, 46264, 14) == [0] * 14
        assert read(unit, Table.HOLDING, 46162) == [0]

    virtually(scenario)


def test_bolid_names_its_flags_when_asked_for_one_that_is_none() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("bolid-s2000-pp", clock)
        with pytest.raises(ValueError, match="granted-<zone>"):
            unit.contact("waved-5")

    virtually(scenario)
