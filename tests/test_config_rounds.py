"""The arithmetic of a round over a bus: characters, blocks, and what holes cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.config.document import spans
from gateway.config.rounds import character_bits, reads, round_ms
from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.profile import InputChannel, Limits, Profile, Register, Table, Timing

LINE = Bus("line", Transport.RTU, port="/dev/ttyS0", baud=9_600)
UNIT = Profile(
    id="unit",
    vendor="",
    model="",
    verified=True,
    source="",
    timing=Timing(answer_ms=50),
    inputs=tuple(
        InputChannel(
            f"input-{n}",
            level=Register(Table.DISCRETE, n),
            counter=Register(Table.INPUT, 30 + 2 * n, words=2),
        )
        for n in range(1, 9)
    ),
)


@pytest.mark.parametrize(
    ("parity", "stop_bits", "bits"),
    [(Parity.NONE, 1, 10), (Parity.NONE, 2, 11), (Parity.EVEN, 1, 11), (Parity.ODD, 2, 12)],
)
def test_character_has_a_start_and_what_is_configured(
    parity: Parity, stop_bits: int, bits: int
) -> None:
    assert character_bits(replace(LINE, parity=parity, stop_bits=stop_bits)) == bits


def test_neighbours_are_read_at_once() -> None:
    blocks = reads(UNIT, ["input-2", "input-1", "input-3"])
    assert [(first.table, first.address, count) for first, count in blocks] == [
        (Table.DISCRETE, 1, 3),
        (Table.INPUT, 32, 6),
    ]


@pytest.mark.parametrize(("hole", "blocks"), [(0, 2), (4, 2), (5, 1)])
def test_a_hole_is_crossed_where_the_unit_allows_it(hole: int, blocks: int) -> None:
    profile = replace(UNIT, limits=Limits(hole_bits=hole))
    found = [b for b in reads(profile, ["input-1", "input-7"]) if b[0].table is Table.DISCRETE]
    assert len(found) == blocks


def test_a_block_is_no_larger_than_the_unit_allows() -> None:
    profile = replace(UNIT, limits=Limits(registers=4))
    channels = [f"input-{n}" for n in range(1, 6)]
    counts = [count for first, count in reads(profile, channels) if first.table is Table.INPUT]
    assert counts == [4, 4, 2]


def test_a_round_is_the_lines_time_and_the_units() -> None:
    # 11 bits at 9600 are 1.1458 ms; 21 and 24 characters with the silences; a tenth of 50 ms twice
    assert round_ms(LINE, UNIT, ["input-1"]) == pytest.approx(45 * 11 / 9.6 + 10)
    assert round_ms(LINE, UNIT, []) == 0


def test_modbus_tcp_has_no_line() -> None:
    bus = Bus("net", Transport.TCP, host="10.0.0.7")
    assert round_ms(bus, UNIT, ["input-1"]) == pytest.approx(10)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), ""),
        (("key",), "key"),
        (("a-1", "a-2"), "a-1, a-2"),
        (("a-0", "a-1", "a-2", "b-1", "key", "a-3"), "a-0 … a-2, b-1, key, a-3"),
        (("a-1", "a-3", "a-4", "a-5"), "a-1, a-3 … a-5"),
    ],
)
def test_numbered_names_are_told_as_runs(names: tuple[str, ...], said: str) -> None:
    assert spans(names) == said
