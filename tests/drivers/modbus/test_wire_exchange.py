"""Exchanges on a line in memory, under virtual time: silences, echoes, noise, loss of the port."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
import uvloop

from drivers.modbus.wire.frame import rtu
from drivers.modbus.wire.line import line_of
from drivers.modbus.wire.port import PortError
from drivers.modbus.wire.request import Read, ReplyKind, Request, WriteBit, WriteRegister
from drivers.modbus.wire.wire import Wire, refuse_uvloop
from gateway.core.hardware import Bus, Transport
from gateway.core.profile import Table, Timing
from simulators.virtual.time import VirtualClock
from tests.drivers.modbus.rig import (
    BUS,
    ECHO,
    FAST,
    TIMING,
    UNKNOWN_ECHO,
    Answers,
    MemoryPort,
    on_wire,
)

READ = Read(Table.HOLDING, 5, 1)
ON = WriteRegister(9, 1)
SILENCE_US = line_of(BUS).silence_us()


def value(number: int, unit: int = 7) -> bytes:
    """The answer of a unit to READ."""
    return rtu(unit, b"\x03\x02" + number.to_bytes(2, "big"))


def ask_once(
    answers: Answers, request: Request = READ, *, bus: Bus = BUS, timing: Timing = TIMING
) -> tuple[ReplyKind, tuple[int, ...], int, Wire]:
    """One exchange with unit 7: what came of it, when it was over, and the wire."""

    async def scenario(
        wire: Wire, port: MemoryPort, clock: VirtualClock
    ) -> tuple[ReplyKind, tuple[int, ...], int, Wire]:
        reply = await wire.exchange(7, request, timing=timing)
        return reply.kind, reply.values, clock.now_us() - port.sent[0][0], wire

    return on_wire(lambda _: answers, scenario, bus=bus)


def test_wire_answers_the_moment_the_frame_is_whole() -> None:
    whole = value(513)
    kind, values, took_us, _ = ask_once([(9_000, whole[:4]), (11_000, whole[4:])])
    assert (kind, values, took_us) == (ReplyKind.ANSWERED, (513,), 11_000)


def test_wire_tells_an_exception_by_its_code() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[ReplyKind, int]:
        del port, clock
        reply = await wire.exchange(7, READ, timing=TIMING)
        return reply.kind, reply.code

    answers: Answers = [(9_000, rtu(7, b"\x83\x06"))]
    assert on_wire(lambda _: answers, scenario) == (ReplyKind.EXCEPTION, 6)


def test_wire_calls_a_unit_silent_at_its_deadline_and_not_before() -> None:
    kind, _, took_us, _ = ask_once([])
    line = line_of(BUS)
    assert kind is ReplyKind.SILENT
    assert took_us == line.answer_us(request=8, answer=7, timing=TIMING)


@pytest.mark.parametrize("bus", [BUS, FAST])
@pytest.mark.parametrize("timing", [TIMING, Timing(answer_ms=30, frame_ms=7)])
def test_wire_keeps_the_silence_after_every_answer(bus: Bus, timing: Timing) -> None:
    """From the last byte on the line to the first byte of the next request."""

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[int]:
        del clock
        for _ in range(5):
            await wire.exchange(7, READ, timing=timing)
        begun = [at_us for at_us, _ in port.sent][1:]
        return [next_us - at_us for (at_us, _), next_us in zip(port.came, begun, strict=False)]

    gaps = on_wire(lambda _: [(12_000, value(1))], scenario, bus=bus)
    assert gaps == [line_of(bus).silence_us(timing.frame_ms)] * 4


def test_wire_keeps_the_silence_after_a_request_nobody_answered() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[int]:
        del clock
        for unit in (7, 8, 9):
            await wire.exchange(unit, READ, timing=Timing(answer_ms=0))
        return [at_us for at_us, _ in port.sent]

    line = line_of(BUS)
    for begun, then in pairwise(on_wire(lambda _: [], scenario)):
        assert then - begun - line.wire_us(8) >= line.silence_us()


def test_wire_keeps_the_silence_after_bytes_nobody_asked_for() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[int, ReplyKind]:
        await wire.exchange(7, READ, timing=TIMING)
        port.later(1_500, value(3, unit=9))
        await clock.sleep(0.0015)
        reply = await wire.exchange(7, READ, timing=TIMING)
        return port.sent[1][0] - port.came[1][0], reply.kind

    gap_us, kind = on_wire(lambda _: [(12_000, value(1))], scenario)
    assert gap_us >= SILENCE_US
    assert kind is ReplyKind.ANSWERED


def test_wire_leaves_a_unit_its_own_pause_and_others_none() -> None:
    timing = Timing(answer_ms=30, between_ms=100)

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[int, int, int]:
        del clock
        await wire.exchange(7, READ, timing=timing)
        free_us = wire.free_at_us(7)
        await wire.exchange(8, READ, timing=TIMING)
        await wire.exchange(7, READ, timing=timing)
        first, second, third = (at_us for at_us, _ in port.sent)
        assert free_us == third
        return second - first, third - first, free_us

    def responder(frame: bytes) -> Answers:
        return [(12_000, value(1, unit=frame[0]))]

    other_us, again_us, _ = on_wire(responder, scenario)
    assert other_us == 12_000 + SILENCE_US
    assert again_us == 12_000 + 100_000


def test_wire_has_one_request_in_flight() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> bool:
        del port, clock
        first = asyncio.ensure_future(wire.exchange(7, READ, timing=TIMING))
        await asyncio.sleep(0)
        with pytest.raises(AssertionError, match="one request"):
            await wire.exchange(8, READ, timing=TIMING)
        return (await first).kind is ReplyKind.ANSWERED

    assert on_wire(lambda _: [(12_000, value(1))], scenario)


def test_wire_is_free_again_after_an_exchange_was_called_off() -> None:
    """Its bytes still leave; the next request keeps its distance from them."""

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[ReplyKind, int]:
        del clock
        first = asyncio.ensure_future(wire.exchange(7, READ, timing=TIMING))
        await asyncio.sleep(0.004)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        reply = await wire.exchange(8, READ, timing=TIMING)
        return reply.kind, port.sent[1][0] - port.sent[0][0]

    def responder(frame: bytes) -> Answers:
        return [(40_000, value(1, unit=frame[0]))]

    kind, apart_us = on_wire(responder, scenario)
    assert kind is ReplyKind.ANSWERED
    assert apart_us == line_of(BUS).wire_us(8) + SILENCE_US


# Noise, echoes and other units.

GOOD = value(513)
OTHER = value(99, unit=9)
BAD = value(513)[:-1] + b"\x00"


@pytest.mark.parametrize(
    "answers",
    [
        [(9_000, b"\x00" + GOOD)],
        [(9_000, b"\xff\x00" + GOOD)],
        [(9_000, b"\x55\xaa\x17" + GOOD)],
        [(9_000, GOOD + b"\x00\x00\xff")],
        [(9_000, GOOD + b"\x12\x34\x56\x78\x9a")],
        [(9_000, OTHER + GOOD)],
        [(2_000, OTHER), (9_000, GOOD)],
        [(9_000, GOOD + OTHER)],
        [(9_000, GOOD + GOOD)],
        [(9_000, BAD[:3] + GOOD)],
        [(9_000, rtu(7, b"\x03\x04\x00\x01\x00\x02") + GOOD)],
        [(9_000, rtu(7, b"\x84\x02") + GOOD)],
        [(9_000, GOOD[:1]), (10_000, GOOD[1:2]), (11_000, GOOD[2:])],
        [(9_000, GOOD[:3]), (20_000, GOOD[3:])],
    ],
)
def test_wire_finds_the_right_answer_in_what_surrounds_it(answers: Answers) -> None:
    kind, values, _, _ = ask_once(answers)
    assert (kind, values) == (ReplyKind.ANSWERED, (513,))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(9_000, BAD)], ReplyKind.DAMAGED),
        ([(9_000, GOOD[:-1])], ReplyKind.DAMAGED),
        ([(9_000, GOOD[1:])], ReplyKind.DAMAGED),
        ([(9_000, b"\x07\x03\x02\x02")], ReplyKind.DAMAGED),
        ([(9_000, b"\x31\x41\x59\x26\x53")], ReplyKind.DAMAGED),
        # Two units with one address, each with a value of its own.
        ([(9_000, GOOD + value(514))], ReplyKind.DAMAGED),
        # Whole frames that are no answer to this.
        ([(9_000, OTHER)], ReplyKind.SILENT),
        ([(9_000, rtu(7, b"\x04\x02\x02\x01"))], ReplyKind.SILENT),
        ([(9_000, rtu(7, b"\x03\x04\x02\x01\x00\x00"))], ReplyKind.SILENT),
        ([(9_000, rtu(7, b"\x84\x02"))], ReplyKind.SILENT),
        # An idle line that is not biased.
        ([(2_000, b"\x00"), (9_000, b"\xff\x00")], ReplyKind.SILENT),
    ],
)
def test_wire_believes_nothing_it_cannot_prove(answers: Answers, expected: ReplyKind) -> None:
    kind, values, _, _ = ask_once(answers)
    assert (kind, values) == (expected, ())


@pytest.mark.parametrize(
    "foreign",
    [
        rtu(9, b"\x03\x0a\x01" + GOOD + b"\x00\x00"),
        # A function that is not ours to read, so that its length is unknown.
        rtu(9, b"\x46\x11\x00\x02" + GOOD + b"\x00\x00"),
        rtu(9, b"\x46\x11" + GOOD),
    ],
)
def test_wire_does_not_take_an_answer_out_of_another_units_data(foreign: bytes) -> None:
    """A foreign frame that holds, byte for byte, our answer."""
    for heap in (foreign, b"\x55" + foreign, foreign + b"\x55"):
        kind, values, _, _ = ask_once([(9_000, heap)])
        assert kind is not ReplyKind.ANSWERED, heap.hex()
        assert values == ()


def test_wire_asks_again_soon_when_the_units_answer_came_damaged() -> None:
    _, _, took_us, _ = ask_once([(9_000, BAD)], timing=Timing(answer_ms=2_000))
    assert took_us < 30_000


def test_wire_waits_for_the_answer_behind_a_burst_of_noise() -> None:
    answers: Answers = [(1_000, b"\x31\x41\x59\x26"), (35_000, GOOD)]
    kind, values, took_us, _ = ask_once(answers)
    assert (kind, values, took_us) == (ReplyKind.ANSWERED, (513,), 35_000)


def on_echo(
    bus: Bus, requests: list[tuple[Request, bytes]], *, echoes: bool = True
) -> list[ReplyKind]:
    """Exchanges on a line that echoes (or not), each with the answer that follows, b"" for none."""
    script = iter(requests)

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[ReplyKind]:
        del port, clock
        return [(await wire.exchange(7, ask, timing=TIMING)).kind for ask, _ in requests]

    def responder(frame: bytes) -> Answers:
        _, answer = next(script)
        heard: Answers = [(5_000, frame)] if echoes else []
        return [*heard, (12_000, answer)] if answer else heard

    return on_wire(responder, scenario, bus=bus)


DID = rtu(7, b"\x06\x00\x09\x00\x01")


@pytest.mark.parametrize("bus", [UNKNOWN_ECHO, ECHO, BUS])
def test_wire_strips_its_own_echo_whatever_it_was_told(bus: Bus) -> None:
    kinds = on_echo(bus, [(READ, value(1)), (ON, DID), (ON, b""), (READ, b"")])
    answered, silent = ReplyKind.ANSWERED, ReplyKind.SILENT
    assert kinds == [answered, answered, silent, silent]


def test_wire_takes_one_copy_for_the_answer_on_a_line_known_to_be_without_echo() -> None:
    kinds = on_echo(UNKNOWN_ECHO, [(READ, value(1)), (ON, DID)], echoes=False)
    assert kinds == [ReplyKind.ANSWERED] * 2


def test_wire_does_not_guess_between_an_echo_and_an_answer() -> None:
    """A write as the very first exchange: one copy may be either."""
    assert on_echo(UNKNOWN_ECHO, [(ON, b"")]) == [ReplyKind.DAMAGED]
    assert on_echo(UNKNOWN_ECHO, [(ON, DID)], echoes=False) == [ReplyKind.DAMAGED]
    assert on_echo(UNKNOWN_ECHO, [(ON, DID)]) == [ReplyKind.ANSWERED]


def test_wire_takes_no_damaged_echo_for_the_units_answer() -> None:
    """The second copy is the answer; with the first damaged there is no telling."""
    answers: Answers = [(5_000, b"\x07\x06\x00\x19\x00\x01" + DID[-2:]), (12_000, DID)]
    assert ask_once(answers, ON, bus=ECHO)[0] is ReplyKind.DAMAGED


def test_wire_takes_no_damaged_echo_for_a_damaged_answer() -> None:
    """A question that begins as its answer does; the answer follows and counts."""
    request = Read(Table.HOLDING, 0x0805, 4)
    echo = b"\x07\x03\x08\x05\x00\x04\x00\x00"
    answers: Answers = [(5_000, echo), (30_000, rtu(7, b"\x03\x08" + bytes(8)))]
    for bus in (ECHO, UNKNOWN_ECHO):
        assert ask_once(answers, request, bus=bus)[1] == (0, 0, 0, 0)


def test_wire_learns_nothing_about_echoes_from_a_damaged_one() -> None:
    """The write that follows gets its echo and no answer."""
    script = iter([[(5_000, b"\x07\x03\x55" + value(1))], [(5_000, DID)]])

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[ReplyKind]:
        del port, clock
        return [(await wire.exchange(7, ask, timing=TIMING)).kind for ask in (READ, ON)]

    kinds = on_wire(lambda _: next(script), scenario, bus=UNKNOWN_ECHO)
    assert kinds == [ReplyKind.ANSWERED, ReplyKind.DAMAGED]


def test_wire_sends_a_write_once_whatever_comes_of_it() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[bytes]:
        del clock
        for _ in range(3):
            await wire.exchange(7, WriteBit(0, 50), timing=TIMING)
        return [frame for _, frame in port.sent]

    assert on_wire(lambda _: [], scenario) == [rtu(7, b"\x05\x00\x00\x00\x32")] * 3


def test_wire_gives_up_a_line_that_is_never_quiet() -> None:
    """A unit that talks without end holds the port for a bounded time, before and after sending."""

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[tuple[str, int]]:
        for place in range(4_000):
            port.later(place * 1_000, b"\x5a\x5a")
        ends = []
        for _ in range(3):
            began_us = clock.now_us()
            reply = await wire.exchange(7, READ, timing=TIMING)
            assert reply.kind is ReplyKind.DAMAGED
            ends.append((reply.why, clock.now_us() - began_us))
        return ends

    for why, took_us in on_wire(lambda _: [], scenario):
        assert "never quiet" in why
        assert took_us < 1_000_000


def test_wire_gives_up_a_line_that_falls_noisy_while_it_listens() -> None:
    pieces: Answers = [(1_000 * (1 + place), b"\x5a\x5a") for place in range(3_000)]
    kind, _, took_us, _ = ask_once(pieces)
    assert kind is ReplyKind.DAMAGED
    assert took_us < 1_000_000


def test_wire_works_on_once_a_flood_is_over() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> ReplyKind:
        for place in range(600):
            port.later(place * 1_000, b"\x5a\x5a")
        await wire.exchange(7, READ, timing=TIMING)
        await clock.sleep(1)
        await wire.exchange(7, READ, timing=TIMING)
        await clock.sleep(6)
        return (await wire.exchange(7, READ, timing=TIMING)).kind

    assert on_wire(lambda _: [(12_000, value(1))], scenario) is ReplyKind.ANSWERED


# The port.


def test_wire_says_gone_and_opens_again() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[ReplyKind]:
        del clock
        asyncio.get_running_loop().call_later(0.004, port.unplug)
        first = await wire.exchange(7, READ, timing=TIMING)
        assert "unplugged" in first.why
        assert not wire.is_open
        second = await wire.exchange(7, READ, timing=TIMING)
        assert len(port.sent) == 1
        await wire.open()
        third = await wire.exchange(8, READ, timing=TIMING)
        return [first.kind, second.kind, third.kind]

    def responder(frame: bytes) -> Answers:
        return [(12_000, value(1, unit=frame[0]))]

    gone = ReplyKind.GONE
    assert on_wire(responder, scenario) == [gone, gone, ReplyKind.ANSWERED]


def test_wire_leaves_it_to_its_owner_when_the_port_does_not_open() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> bool:
        del clock
        port.stuck = True
        with pytest.raises(PortError, match="not there"):
            await wire.open()
        return wire.is_open

    assert on_wire(lambda _: [], scenario) is False


def test_wire_counts_what_happened_per_unit_and_for_the_port() -> None:
    script = iter([[(12_000, GOOD)], [(12_000, rtu(7, b"\x83\x02"))], [(9_000, BAD)], []])

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> Wire:
        del port, clock
        for unit in (7, 7, 7, 8):
            await wire.exchange(unit, READ, timing=TIMING)
        return wire

    stats = on_wire(lambda _: next(script), scenario).stats
    seven, eight = stats.units[7], stats.units[8]
    assert (seven.requests, seven.answered, seven.exceptions, seven.damaged) == (3, 1, 1, 1)
    assert (seven.crc_errors, seven.junk_bytes, seven.timeouts) == (1, 7, 0)
    assert (eight.requests, eight.timeouts) == (1, 1)
    assert (stats.port.requests, stats.port.answered, stats.port.timeouts) == (4, 1, 1)
    assert (seven.last_us, seven.max_us, seven.mean_us) == (12_000, 12_000, 12_000)


def test_wire_counts_frames_nobody_asked_for() -> None:
    _, _, _, wire = ask_once([(9_000, b"\x00" + OTHER + GOOD)])
    assert (wire.stats.units[7].foreign, wire.stats.port.foreign) == (0, 1)
    assert wire.stats.units[7].junk_bytes == 1


def test_wire_needs_a_line_that_can_be() -> None:
    with pytest.raises(ValueError, match="0 baud"):
        ask_once([], bus=Bus(id="b", transport=Transport.RTU, baud=0))


def test_wire_refuses_uvloop_and_nothing_else() -> None:
    loop = uvloop.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="silences"):
            refuse_uvloop(loop)
    finally:
        loop.close()
    own = asyncio.new_event_loop()
    try:
        refuse_uvloop(own)
    finally:
        own.close()
