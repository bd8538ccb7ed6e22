"""Answers that come after their time: never taken for fresh ones, and no live unit lost by it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from drivers.modbus.wire.frame import mbap, rtu
from drivers.modbus.wire.request import Read, Reply, ReplyKind, Request, WriteRegister
from drivers.modbus.wire.wire import LATE_MS, Wire
from gateway.core.profile import Table
from simulators.virtual.time import VirtualClock
from tests.drivers.modbus.rig import BUS, TCP, TIMING, Answers, MemoryPort, on_wire

READ = Read(Table.HOLDING, 5, 1)
WIDE = Read(Table.HOLDING, 5, 2)
INPUTS = Read(Table.DISCRETE, 0, 8)
ON, OFF = WriteRegister(9, 1), WriteRegister(9, 0)
PROMPT_US = 12_000


def value(number: int, unit: int = 7) -> bytes:
    return rtu(unit, b"\x03\x02" + number.to_bytes(2, "big"))


def scripted(*script: Answers) -> Callable[[bytes], Answers]:
    """The answers to the first request, the second, and so on."""
    rest = iter(script)
    return lambda _: next(rest)


@dataclass
class Told:
    """What a scenario saw."""

    replies: list[Reply]
    requests: int
    late: int


def run(*steps: tuple[float, int, Request], script: list[Answers], late_ms: int = LATE_MS) -> Told:
    """Steps: wait so many seconds, then ask that unit."""

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> Told:
        del port
        replies = []
        for seconds, unit, request in steps:
            await clock.sleep(seconds)
            replies.append(await wire.exchange(unit, request, timing=TIMING))
        return Told(replies, wire.stats.port.requests, wire.stats.port.late)

    return on_wire(scripted(*script), scenario, late_ms=late_ms)


def kinds(told: Told) -> list[ReplyKind]:
    return [reply.kind for reply in told.replies]


def test_late_answer_in_the_next_equal_requests_time_is_not_believed() -> None:
    """The old value comes 5 ms after the new question and before its answer."""
    late, fresh = [(70_000, value(1))], [(PROMPT_US, value(2))]
    told = run((0, 7, READ), (0, 7, READ), script=[late, fresh, fresh, fresh])
    assert kinds(told) == [ReplyKind.SILENT, ReplyKind.ANSWERED]
    assert told.replies[1].values == (2,)


def test_late_answer_that_comes_between_requests_leaves_no_doubt() -> None:
    script: list[Answers] = [[(70_000, value(1))], [(PROMPT_US, value(2))]]
    told = run((0, 7, READ), (0.1, 7, READ), script=script)
    assert told.replies[1].values == (2,)
    assert (told.requests, told.late) == (2, 1)


def test_late_answer_in_another_units_time_is_nothing_to_that_one() -> None:
    script: list[Answers] = [[(70_000, value(1))], [(30_000, value(2, unit=8))], []]
    told = run((0, 7, READ), (0, 8, READ), script=script)
    assert told.replies[1].values == (2,)
    assert (told.requests, told.late) == (2, 1)


@pytest.mark.parametrize("other", [WIDE, INPUTS])
def test_late_answer_of_another_form_is_told_at_once(other: Read) -> None:
    answer = b"\x03\x04\x00\x01\x00\x02" if other is WIDE else b"\x02\x01\x05"
    script: list[Answers] = [[(70_000, value(1))], [(30_000, rtu(7, answer))]]
    told = run((0, 7, READ), (0, 7, other), script=script)
    assert told.replies[1].kind is ReplyKind.ANSWERED
    assert told.requests == 2


def test_late_exception_is_not_taken_for_a_fresh_one() -> None:
    refused = rtu(7, b"\x83\x02")
    fresh: Answers = [(PROMPT_US, rtu(7, b"\x03\x04\x00\x01\x00\x02"))]
    told = run((0, 7, READ), (0, 7, WIDE), script=[[(70_000, refused)], fresh, fresh, fresh])
    assert told.replies[1].values == (1, 2)


def test_lost_request_costs_one_more_reading() -> None:
    fresh: Answers = [(PROMPT_US, value(2))]
    told = run((0, 7, READ), (0, 7, READ), (0, 7, READ), script=[[], *[fresh] * 4])
    assert [reply.values for reply in told.replies[1:]] == [(2,), (2,)]
    assert told.requests == 5


def test_debt_ends_when_the_answer_is_too_old() -> None:
    fresh: Answers = [(PROMPT_US, value(2))]
    told = run((0, 7, READ), (LATE_MS / 1_000, 7, READ), script=[[], fresh])
    assert (told.replies[1].values, told.requests) == ((2,), 2)


def test_answer_that_came_damaged_is_not_owed_any_more() -> None:
    bad = value(2)[:-1] + b"\x00"
    script: list[Answers] = [[(PROMPT_US, bad)], [(PROMPT_US, value(2))]]
    told = run((0, 7, READ), (0, 7, READ), script=script)
    assert kinds(told) == [ReplyKind.DAMAGED, ReplyKind.ANSWERED]
    assert told.requests == 2


def test_value_that_changes_every_time_is_not_asked_until_nothing_is_owed() -> None:
    script: list[Answers] = [[], *([(PROMPT_US, value(n))] for n in range(1, 6))]
    steps = [(0, 7, READ), (0, 7, READ), (1, 7, READ), (LATE_MS / 1_000, 7, READ)]
    told = run(*steps, script=script)
    silent = ReplyKind.SILENT
    assert kinds(told) == [silent, ReplyKind.DAMAGED, silent, ReplyKind.ANSWERED]
    assert "left alone" in told.replies[2].why
    assert [reply.asked for reply in told.replies[:3]] == [True, True, False]
    assert told.requests == 1 + 4 + 1


def test_answer_whose_place_a_late_one_took_is_owed_from_then_on() -> None:
    """The first comes in the second's time, the second 4.5 s after that, in the last's time."""
    prompt: Answers = [(PROMPT_US, value(3))]
    first: Answers = [(4_500_000, value(1))]
    second: Answers = [(4_505_000, value(2))]
    script: list[Answers] = [first, second, *[prompt] * 6]
    wait = 4.5 - 0.063
    told = run((0, 7, READ), (wait, 7, READ), (4.457, 7, READ), script=script)
    assert [reply.values for reply in told.replies] == [(), (3,), (3,)]
    assert told.requests == 1 + 3 + 3


def test_two_units_with_one_address_are_named_as_that() -> None:
    both: Answers = [(PROMPT_US, value(1) + value(2))]
    told = run((0, 7, READ), (0, 7, READ), script=[[], both, both, both, both])
    assert "two units with one address" in told.replies[1].why
    assert told.requests == 3


def test_unit_seen_late_is_left_alone_while_it_owes() -> None:
    """After one late answer the next debt is waited out, and everything else goes on."""
    fresh: Answers = [(PROMPT_US, value(2))]
    inputs: Answers = [(PROMPT_US, rtu(7, b"\x02\x01\x05"))]
    script: list[Answers] = [[(70_000, value(1))], fresh, [], inputs, fresh]
    told = run(
        (0, 7, READ),
        (0.1, 7, READ),
        (0, 7, READ),
        (0, 7, READ),
        (0, 7, INPUTS),
        (LATE_MS / 1_000, 7, READ),
        script=script,
    )
    silent, answered = ReplyKind.SILENT, ReplyKind.ANSWERED
    assert kinds(told) == [silent, answered, silent, silent, answered, answered]
    assert told.requests == 5


def test_echo_of_an_equal_write_proves_it_and_one_of_an_older_state_does_not() -> None:
    """On, unanswered; on again: either echo says on. On, off, on: an old echo says nothing."""
    on, off = rtu(7, b"\x06\x00\x09\x00\x01"), rtu(7, b"\x06\x00\x09\x00\x00")
    again = run((0, 7, ON), (0, 7, ON), script=[[], [(PROMPT_US, on)]])
    assert kinds(again) == [ReplyKind.SILENT, ReplyKind.ANSWERED]
    script: list[Answers] = [[], [(PROMPT_US, off)], [(PROMPT_US, on)]]
    between = run((0, 7, ON), (0, 7, OFF), (0, 7, ON), script=script)
    assert kinds(between) == [ReplyKind.SILENT, ReplyKind.ANSWERED, ReplyKind.DAMAGED]


def test_debt_outlives_a_port_that_was_opened_again() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[int, ...]:
        del clock
        await wire.exchange(7, READ, timing=TIMING)
        wire.close()
        await wire.open()
        port.later(5_000, value(1))
        return (await wire.exchange(7, READ, timing=TIMING)).values

    fresh: Answers = [(PROMPT_US, value(2))]
    assert on_wire(scripted([], fresh, fresh, fresh), scenario) == (2,)


def test_late_answer_in_tcp_is_told_by_its_number() -> None:
    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> list[Reply]:
        del clock, port
        return [await wire.exchange(7, READ, timing=TIMING) for _ in range(3)]

    def answer(number: int, word: int) -> bytes:
        return mbap(number, 7, b"\x03\x02" + word.to_bytes(2, "big"))

    script: list[Answers] = [
        [(290_000, answer(1, 11))],
        [(40_000, answer(2, 22))],
        [(5_000, answer(3, 33))],
    ]
    replies = on_wire(scripted(*script), scenario, bus=TCP)
    assert [reply.values for reply in replies] == [(), (22,), (33,)]


@dataclass
class Sluggish:
    """A unit whose answers come promptly, late by up to 4.9 s, or never, in any order or in turn.

    What it says it knew when it was asked: a number that is never the same again, or a bit that
    changes now and then.
    """

    dice: random.Random
    late: float
    lost: float
    in_turn: bool
    numbers: bool
    clock: VirtualClock | None = None
    said: list[int] = field(default_factory=list)
    count: int = 0
    bit: int = 0
    free_us: int = 0
    lates: int = 0

    def __call__(self, frame: bytes) -> Answers:
        assert self.clock is not None
        now_us = self.clock.now_us()
        self.count += 1
        self.bit ^= self.dice.random() < 0.05
        bits = frame[1] == 2
        word = self.count & 0xFF if self.numbers else self.bit
        self.said.append(word if self.numbers or not bits else word & 1)
        answer = bytes((2, 1, word)) if bits else b"\x03\x02" + word.to_bytes(2, "big")
        fate = self.dice.random()
        if fate < self.lost:
            return []
        late = fate < self.lost + self.late
        self.lates += late
        after_us = (
            self.dice.randint(60_000, 4_900_000) if late else self.dice.randint(7_000, 20_000)
        )
        if self.in_turn:
            after_us = max(after_us, self.free_us - now_us)
            self.free_us = now_us + after_us + 1_000
            if after_us >= LATE_MS * 1_000:
                return []
        return [(after_us, rtu(7, answer))]


CHARACTERS = [
    # late, lost, longest pause between questions in seconds, questions that go out
    (0.5, 0.0, 0.0, 300),
    (0.5, 0.05, 1.0, 1_200),
    (0.2, 0.0, 0.4, 1_200),
    (0.1, 0.05, 0.1, 1_200),
    (0.02, 0.02, 0.05, 1_200),
]


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize(("late", "lost", "pause", "tries"), CHARACTERS)
def test_late_answers_are_never_believed(
    late: float, lost: float, pause: float, tries: int, *, numbers: bool, in_turn: bool
) -> None:
    """Together 2 * 10^4 questions that go out, and some 5,000 late answers."""
    dice = random.Random(f"{late} {lost} {pause} {numbers} {in_turn}")
    unit = Sluggish(dice, late=late, lost=lost, in_turn=in_turn, numbers=numbers)

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[int, int]:
        del port
        unit.clock = clock
        answered = 0
        while unit.count < tries:
            unit.said.clear()
            bits = dice.random() < 0.5
            request = Read(Table.DISCRETE, 0, 8) if bits else READ
            reply = await wire.exchange(7, request, timing=TIMING)
            if reply.kind is ReplyKind.ANSWERED:
                answered += 1
                word = sum(bit << place for place, bit in enumerate(reply.values))
                assert (word if bits else reply.values[0]) in unit.said
            await clock.sleep(dice.random() * pause)
        return answered, clock.now_us()

    answered, _ = on_wire(unit, scenario)
    assert unit.lates > tries * late / 2
    assert answered > 0


def test_late_answers_would_be_believed_without_the_rule() -> None:
    """The same unit with debts forgotten at once: otherwise the test above could not fail."""
    dice = random.Random(5)
    unit = Sluggish(dice, late=0.2, lost=0.0, in_turn=False, numbers=True)

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> int:
        del port
        unit.clock = clock
        wrong = 0
        for _ in range(500):
            unit.said.clear()
            reply = await wire.exchange(7, READ, timing=TIMING)
            wrong += reply.kind is ReplyKind.ANSWERED and reply.values[0] not in unit.said
        return wrong

    assert on_wire(unit, scenario, late_ms=0) > 10


def test_lossy_line_still_carries_a_live_unit() -> None:
    """One request in ten lost, five questions a second: nine in ten are answered for all that."""
    dice = random.Random(11)
    unit = Sluggish(dice, late=0.0, lost=0.1, in_turn=True, numbers=False)

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[int, int]:
        del port
        unit.clock = clock
        answered = longest_us = 0
        last_us = clock.now_us()
        for _ in range(2_000):
            reply = await wire.exchange(7, READ, timing=TIMING)
            if reply.kind is ReplyKind.ANSWERED:
                answered += 1
                longest_us = max(longest_us, clock.now_us() - last_us)
                last_us = clock.now_us()
            await clock.sleep(0.2)
        return answered, longest_us

    answered, longest_us = on_wire(unit, scenario)
    assert answered > 1_700
    assert longest_us < 3_000_000


def test_wire_speaks_of_the_bus_and_the_unit_when_it_fails() -> None:
    script: list[Answers] = [[], *([(PROMPT_US, value(n))] for n in range(1, 6))]
    told = run((0, 7, READ), (0, 7, READ), script=script)
    assert told.replies[1].why.startswith(f"bus {BUS.id}, unit 7: ")
