"""Blocks: every want is read, within the unit's limits, one slice, and no hole that is not let."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.plan.blocks import (
    SLICE_US,
    TYPICAL_ANSWER_US,
    Block,
    Want,
    coalesce,
    exchange_us,
    halves,
    value_of,
    values_of,
)
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Read
from gateway.core.profile import Limits, Register, Table

LINE = Line(character_us=11e6 / 19_200, margin_us=20_000, piece_us=5_000)
FAST = Line(character_us=0.0, margin_us=20_000, piece_us=5_000)


def want(table: Table, address: int, words: int = 1, *, high: bool = True) -> Want:
    key = f"{table}-{address}-{words}-{high}"
    return Want(key, Register(table, address, words), 200_000, high)


@st.composite
def wanted(draw: st.DrawFn) -> list[Want]:
    places = draw(
        st.lists(
            st.tuples(
                st.sampled_from(Table), st.integers(0, 300), st.integers(1, 4), st.booleans()
            ),
            max_size=40,
            unique=True,
        )
    )
    return [
        want(table, address, 1 if table.bits else words, high=high)
        for table, address, words, high in places
    ]


LIMITS = st.builds(
    Limits,
    registers=st.integers(4, 125),
    bits=st.integers(1, 2_000),
    hole_registers=st.integers(0, 20),
    hole_bits=st.integers(0, 100),
)


def places_of(wants: tuple[Want, ...]) -> set[int]:
    registers = [want.register for want in wants]
    return {r.address + offset for r in registers for offset in range(r.words)}


@given(wants=wanted(), limits=LIMITS, holes=st.booleans())
def test_blocks_answer_every_want_exactly_once(
    *, wants: list[Want], limits: Limits, holes: bool
) -> None:
    blocks = coalesce(wants, limits, LINE, holes=holes)
    keys = [each.key for block in blocks for each in block.wants]
    assert sorted(keys) == sorted(each.key for each in wants)
    for block in blocks:
        assert set(values_of(block, [0] * block.read.count)) == {e.key for e in block.wants}


@given(wants=wanted(), limits=LIMITS, holes=st.booleans())
def test_blocks_never_cross_a_limit(*, wants: list[Want], limits: Limits, holes: bool) -> None:
    for block in coalesce(wants, limits, LINE, holes=holes):
        bits = block.read.table.bits
        assert block.read.count <= (limits.bits if bits else limits.registers)
        read = range(block.read.address, block.read.address + block.read.count)
        unwanted = set(read) - places_of(block.wants)
        assert block.holes == bool(unwanted)
        hole = (limits.hole_bits if bits else limits.hole_registers) if holes else 0
        runs = "".join("x" if place in unwanted else " " for place in read).split()
        assert max((len(run) for run in runs), default=0) <= hole


@given(wanted(), LIMITS)
def test_blocks_take_one_slice_or_hold_one_value(wants: list[Want], limits: Limits) -> None:
    for block in coalesce(wants, limits, LINE):
        places = {(e.register.address, e.register.words) for e in block.wants}
        if len(places) > 1:
            assert exchange_us(LINE, block.read) + TYPICAL_ANSWER_US <= SLICE_US


def test_blocks_of_both_classes_stay_apart() -> None:
    wants = [want(Table.INPUT, 0), want(Table.INPUT, 1, high=False)]
    assert len(coalesce(wants, Limits(), FAST)) == 2


def test_block_takes_neighbours_and_lets_holes_be() -> None:
    wants = [want(Table.INPUT, address) for address in (60, 61, 70, 90)]
    reads = [block.read for block in coalesce(wants, Limits(hole_registers=8), FAST)]
    assert reads == [Read(Table.INPUT, 60, 11), Read(Table.INPUT, 90)]
    reads = [block.read for block in coalesce(wants, Limits(hole_registers=8), FAST, holes=False)]
    assert reads == [Read(Table.INPUT, 60, 2), Read(Table.INPUT, 70), Read(Table.INPUT, 90)]


def test_value_longer_than_the_unit_reads_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="input-7-2"):
        coalesce([want(Table.INPUT, 7, 2)], Limits(registers=1), FAST)


@given(wanted())
def test_halves_end_at_single_values_and_lose_none(wants: list[Want]) -> None:
    waiting = list(coalesce(wants, Limits(hole_registers=9, hole_bits=9), FAST))
    ends: list[Block] = []
    while waiting:
        parts = halves(waiting.pop())
        if len(parts) == 1:
            ends += parts
        else:
            waiting += parts
    assert all(len({(e.register.address, e.register.words) for e in b.wants}) == 1 for b in ends)
    assert sorted(e.key for b in ends for e in b.wants) == sorted(e.key for e in wants)


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (Register(Table.INPUT, 11), 0x2222),
        (Register(Table.INPUT, 11, 2), 0x2222_3333),
        (Register(Table.INPUT, 11, 2, low_word_first=True), 0x3333_2222),
        (Register(Table.INPUT, 13, bit=15), 1),
        (Register(Table.INPUT, 13, bit=0), 0),
        (Register(Table.INPUT, 13, high_byte=True), 0x80),
    ],
)
def test_value_is_cut_out_of_its_read(register: Register, value: int) -> None:
    read, words = Read(Table.INPUT, 10, 4), (0x1111, 0x2222, 0x3333, 0x8042)
    assert value_of(register, read, words) == value


@pytest.mark.parametrize(
    "register",
    [Register(Table.INPUT, 9), Register(Table.INPUT, 14), Register(Table.HOLDING, 11)],
)
def test_value_outside_its_read_is_an_error(register: Register) -> None:
    with pytest.raises(ValueError, match="does not cover"):
        value_of(register, Read(Table.INPUT, 10, 4), (0, 0, 0, 0))
