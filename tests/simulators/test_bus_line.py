"""A line under virtual time: bytes take their time, silence ends frames, talking over is heard."""

from __future__ import annotations

from random import Random

import pytest

from drivers.modbus.wire.port import PortError
from gateway.core.hardware import Bus, Parity, Transport
from simulators.bus.faults import (
    Clipped,
    Flooding,
    Late,
    LineTrouble,
    Padded,
    Silent,
    Spoiling,
)
from simulators.bus.frames import TcpFrame, TcpFrames, rtu, rtu_parts
from simulators.bus.line import Line
from simulators.bus.tcp import Board
from simulators.bus.wire_port import WirePort, opener
from simulators.virtual.time import VirtualClock
from tests.simulators.bus_rig import Master, bus, unit_of, virtually

READ_8 = bytes.fromhex("0200000008")
ALL_OPEN = bytes.fromhex("020100")


@pytest.mark.parametrize(
    ("baud", "parity", "stop_bits", "us"),
    [
        (9_600, Parity.NONE, 2, 1_145.8),
        (115_200, Parity.NONE, 1, 86.8),
        (19_200, Parity.EVEN, 1, 572.9),
    ],
)
def test_line_character_takes_start_data_parity_and_stop(
    baud: int, parity: Parity, stop_bits: int, us: float
) -> None:
    async def scenario(clock: VirtualClock) -> None:
        line = Line(clock=clock, random=Random(1), baud=baud, parity=parity, stop_bits=stop_bits)
        assert line.us_per_byte == pytest.approx(us, abs=0.05)

    virtually(scenario)


def test_line_answer_comes_after_request_silence_and_thinking() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        line, master = bus(unit, clock=clock)
        began_us = clock.now_us()
        assert await master.ask(1, READ_8) == ALL_OPEN
        least, most = unit.makings.answer_us
        wire_us = (8 + 6) * line.us_per_byte + line.gap_us
        assert wire_us + least <= master.moments[-1] - began_us <= wire_us + most + 2
        assert master.moments[-1] - master.moments[0] > 3 * line.us_per_byte

    virtually(scenario)


def test_line_request_glued_to_the_frame_before_is_lost() -> None:
    """A master that does not keep 3.5 characters of silence is not understood."""

    async def scenario(clock: VirtualClock) -> None:
        one, other = unit_of("wb-mcm8", clock, unit=1), unit_of("wb-mcm8", clock, unit=2)
        line, master = bus(one, other, clock=clock)
        assert await master.ask(1, READ_8, wait_s=0) is None
        while not rtu_parts(master.heard):
            await clock.sleep(0.0005)
        assert one.requests == 1
        await clock.sleep(line.gap_us / 1e6 - 0.002)
        line.say(rtu(2, READ_8))
        await clock.sleep(0.5)
        assert other.requests == 0
        assert line.spoiled_frames == 1
        assert await master.ask(2, READ_8) == ALL_OPEN

    virtually(scenario)


def test_line_request_after_the_silence_is_understood() -> None:
    async def scenario(clock: VirtualClock) -> None:
        one, other = unit_of("wb-mcm8", clock, unit=1), unit_of("wb-mcm8", clock, unit=2)
        line, master = bus(one, other, clock=clock)
        await master.ask(1, READ_8, wait_s=0)
        while not rtu_parts(master.heard):
            await clock.until(clock.now_us() + 100)
        await clock.until(master.moments[-1] + round(3.5 * line.us_per_byte))
        line.say(rtu(2, READ_8))
        await clock.sleep(0.5)
        assert other.requests == 1

    virtually(scenario)


def test_line_two_units_on_one_address_are_understood_by_nobody() -> None:
    async def scenario(clock: VirtualClock) -> None:
        one, twin = unit_of("wb-mcm8", clock, seed=1), unit_of("wb-mcm8", clock, seed=2)
        line, master = bus(one, twin, clock=clock)
        answers = [await master.ask(1, READ_8) for _ in range(20)]
        assert answers.count(ALL_OPEN) < 5
        assert line.collisions > 15

    virtually(scenario)


def test_line_late_answer_falls_into_the_next_request() -> None:
    async def scenario(clock: VirtualClock) -> None:
        one, other = unit_of("wb-mcm8", clock, unit=1), unit_of("wb-mcm8", clock, unit=2)
        line, master = bus(one, other, clock=clock)
        one.afflict(Late(100_000, 100_000))
        assert await master.ask(1, READ_8, wait_s=0.115) is None
        assert await master.ask(2, READ_8) is None
        assert line.collisions == 1
        one.heal()
        assert await master.ask(2, READ_8) == ALL_OPEN

    virtually(scenario)


def test_line_stale_answer_arrives_while_the_next_one_is_waited_for() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        line, master = bus(unit, clock=clock)
        unit.afflict(Late(300_000, 300_000))
        line.say(rtu(1, READ_8))
        await clock.sleep(0.2)
        unit.heal()
        line.say(rtu(1, bytes.fromhex("0400680002")))
        await clock.sleep(0.09)
        assert rtu_parts(master.take()) == (1, bytes.fromhex("040400000000"))
        await clock.sleep(0.2)
        assert rtu_parts(master.take()) == (1, ALL_OPEN)

    virtually(scenario)


def test_line_broadcast_is_obeyed_and_not_answered() -> None:
    async def scenario(clock: VirtualClock) -> None:
        units = [unit_of("waveshare-relay-d", clock, unit=one) for one in (1, 2)]
        _, master = bus(*units, clock=clock)
        assert await master.ask(0, bytes.fromhex("050003FF00")) is None
        assert all(unit.output("relay-4").on for unit in units)

    virtually(scenario)


def test_line_published_waveshare_frame_opens_and_comes_back() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("waveshare-relay-d", clock)
        line, master = bus(unit, clock=clock)
        frame = bytes.fromhex("01 05 02 00 00 07 8D B0")
        line.say(frame)
        await clock.sleep(0.2)
        assert master.take() == frame
        assert unit.output("relay-1").on
        await clock.sleep(0.7)
        assert not unit.output("relay-1").on

    virtually(scenario)


def test_line_with_echo_gives_the_master_its_own_words_first() -> None:
    async def scenario(clock: VirtualClock) -> None:
        line, master = bus(unit_of("wb-mcm8", clock), clock=clock)
        line.trouble.echo = True
        line.say(rtu(1, READ_8))
        await clock.sleep(0.5)
        assert master.take() == rtu(1, READ_8) + rtu(1, ALL_OPEN)

    virtually(scenario)


@pytest.mark.parametrize(
    "trouble", [LineTrouble(bit_error=0.05), LineTrouble(lost=0.05), LineTrouble(noise=0.5)]
)
def test_line_trouble_spoils_some_frames_and_never_changes_a_value(trouble: LineTrouble) -> None:
    async def scenario(clock: VirtualClock) -> None:
        line, master = bus(unit_of("wb-mcm8", clock), clock=clock)
        line.trouble = trouble
        answers = [await master.ask(1, READ_8, wait_s=0.1) for _ in range(200)]
        assert set(answers) == {None, ALL_OPEN}

    virtually(scenario)


@pytest.mark.parametrize("fault", [Spoiling(1.0), Clipped(), Padded(b"\x00"), Padded(b"", b"\xff")])
def test_line_unit_that_spoils_its_answers_is_heard_and_not_understood(
    fault: Spoiling | Clipped | Padded,
) -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        line, master = bus(unit, clock=clock)
        unit.afflict(fault)
        line.say(rtu(1, READ_8))
        await clock.sleep(0.5)
        assert master.heard
        assert rtu_parts(master.heard) is None

    virtually(scenario)


def test_line_flooding_unit_talks_until_it_is_well() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        _, master = bus(unit, clock=clock)
        unit.afflict(Flooding(50_000))
        await clock.sleep(1)
        assert len(master.take()) > 100
        unit.heal()
        await clock.sleep(0.2)
        master.take()
        await clock.sleep(1)
        assert master.take() == b""

    virtually(scenario)


def test_line_unit_that_wants_quiet_loses_what_comes_too_soon() -> None:
    async def scenario(clock: VirtualClock) -> None:
        _, master = bus(unit_of("wb-mrm2-mini", clock), clock=clock)
        ask_it = bytes.fromhex("0200000002")
        assert await master.ask(1, ask_it, wait_s=0.05) is not None
        assert await master.ask(1, ask_it, wait_s=0.05) is None
        await clock.sleep(0.2)
        assert await master.ask(1, ask_it, wait_s=0.05) is not None

    virtually(scenario)


def test_line_answer_of_a_unit_that_died_meanwhile_is_not_said() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        line, master = bus(unit, clock=clock)
        unit.afflict(Late(100_000, 100_000))
        line.say(rtu(1, READ_8))
        await clock.sleep(0.05)
        unit.afflict(Silent())
        await clock.sleep(1)
        assert master.take() == b""

    virtually(scenario)


# --- ports under virtual time ---------------------------------------------------------------


async def exchange(port: WirePort, clock: VirtualClock, data: bytes, size: int) -> bytes:
    port.write(data)
    heard = b""
    while len(heard) < size:
        piece = await port.read(clock.now_us() + 500_000)
        if not piece:
            return heard
        heard += piece
    return heard


def test_port_carries_bytes_both_ways_and_waits_no_longer_than_told() -> None:
    async def scenario(clock: VirtualClock) -> None:
        line, _ = bus(unit_of("wb-mcm8", clock), clock=clock)
        port = WirePort(line, clock=clock)
        await port.open()
        assert await exchange(port, clock, rtu(1, READ_8), 6) == rtu(1, ALL_OPEN)
        began_us = clock.now_us()
        assert await port.read(began_us + 30_000) == b""
        assert clock.now_us() == began_us + 30_000
        port.close()

    virtually(scenario)


def test_port_is_gone_when_unplugged_and_comes_back() -> None:
    async def scenario(clock: VirtualClock) -> None:
        line, _ = bus(unit_of("wb-mcm8", clock), clock=clock)
        port = WirePort(line, clock=clock)
        await port.open()
        clock.call_at(clock.now_us() + 10_000, line.unplug)
        with pytest.raises(PortError, match="plug the adapter in"):
            await port.read(clock.now_us() + 1_000_000)
        with pytest.raises(PortError):
            port.write(b"x")
        with pytest.raises(PortError, match="not there"):
            await port.open()
        line.plug()
        await port.open()
        assert await exchange(port, clock, rtu(1, READ_8), 6) == rtu(1, ALL_OPEN)

    virtually(scenario)


def test_port_set_to_another_speed_hears_no_frame() -> None:
    async def scenario(clock: VirtualClock) -> None:
        unit = unit_of("wb-mcm8", clock)
        line, _ = bus(unit, clock=clock)
        wrong = WirePort(line, clock=clock, baud=19_200)
        await wrong.open()
        assert rtu_parts(await exchange(wrong, clock, rtu(1, READ_8), 6)) is None
        assert unit.requests == 0
        wrong.close()
        right = WirePort(line, clock=clock, baud=9_600)
        await right.open()
        assert await exchange(right, clock, rtu(1, READ_8), 6) == rtu(1, ALL_OPEN)

    virtually(scenario)


def test_port_onto_a_board_speaks_modbus_tcp() -> None:
    async def scenario(clock: VirtualClock) -> None:
        board = Board([unit_of("adam-6060", clock)], clock=clock)
        port = opener({"net": board}, clock=clock)(Bus("net", Transport.TCP, host="x"))
        await port.open()
        port.write(TcpFrame(77, 1, bytes.fromhex("0100000006")).packed())
        heard = await port.read(clock.now_us() + 1_000_000)
        assert TcpFrames().feed(heard) == [TcpFrame(77, 1, bytes.fromhex("010100"))]
        assert await port.read(clock.now_us() + 10_000) == b""

    virtually(scenario)


def test_board_with_several_units_says_11_for_an_address_nobody_has() -> None:
    async def scenario(clock: VirtualClock) -> None:
        units = [unit_of("generic", clock, unit=one) for one in (3, 4)]
        said: list[bytes] = []
        Board(units, clock=clock).ask(TcpFrame(1, 9, READ_8), said.append)
        assert TcpFrames().feed(b"".join(said)) == [TcpFrame(1, 9, bytes.fromhex("820B"))]

    virtually(scenario)


def test_line_two_runs_of_one_seed_are_alike() -> None:
    async def history(clock: VirtualClock) -> list[bytes | None]:
        line, master = bus(unit_of("wb-mcm8", clock), clock=clock, seed=5)
        line.trouble = LineTrouble(bit_error=0.02, lost=0.01, noise=0.1)
        return [await said(master) for _ in range(50)]

    async def said(master: Master) -> bytes | None:
        await master.ask(1, READ_8, wait_s=0.1)
        return repr(master.moments[-3:]).encode()

    runs: list[list[bytes | None]] = []

    async def scenario(clock: VirtualClock) -> None:
        runs.append(await history(clock))

    virtually(scenario)
    virtually(scenario)
    assert runs[0] == runs[1]
