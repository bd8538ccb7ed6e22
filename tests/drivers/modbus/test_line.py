"""The arithmetic of a line, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drivers.modbus.wire.line import NETWORK_MARGIN_US, SERIAL_MARGIN_US, line_of
from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.profile import Timing

BUS = Bus(id="b", transport=Transport.RTU, baud=9_600, parity=Parity.NONE, stop_bits=2)


@pytest.mark.parametrize(
    ("baud", "parity", "stop_bits", "character_us", "silence_us"),
    [
        (9_600, Parity.NONE, 2, 1_145.83, 4_011),
        (9_600, Parity.EVEN, 1, 1_145.83, 4_011),
        (19_200, Parity.NONE, 1, 520.83, 1_823),
        (115_200, Parity.NONE, 1, 86.81, 304),
        (115_200, Parity.ODD, 2, 104.17, 365),
    ],
)
def test_line_counts_every_bit_of_a_character(
    baud: int, parity: Parity, stop_bits: int, character_us: float, silence_us: int
) -> None:
    line = line_of(replace(BUS, baud=baud, parity=parity, stop_bits=stop_bits))
    assert line.character_us == pytest.approx(character_us, abs=0.01)
    assert line.silence_us() == silence_us


def test_line_silence_is_longer_where_a_unit_asks_for_it_and_never_shorter() -> None:
    line = line_of(replace(BUS, baud=115_200))
    assert line.silence_us(frame_ms=2) == 2_000
    assert line_of(BUS).silence_us(frame_ms=2) == 4_011


def test_line_deadline_is_request_thinking_answer_and_margin() -> None:
    """8 and 9 characters at 9600 8N2 are 9.167 and 10.313 ms."""
    due_us = line_of(BUS).answer_us(request=8, answer=9, timing=Timing(answer_ms=50))
    assert due_us == 9_167 + 50_000 + 10_313 + SERIAL_MARGIN_US


def test_line_limit_is_24_characters_and_the_units_own_time() -> None:
    assert line_of(BUS).limit_us(thinks_us=3_000) == 27_500 + 3_000


def test_line_through_tcp_has_no_silence_and_a_wider_margin() -> None:
    line = line_of(replace(BUS, transport=Transport.TCP))
    assert line.silence_us(frame_ms=20) == 0
    assert line.answer_us(request=12, answer=11, timing=Timing(answer_ms=10)) == (
        10_000 + NETWORK_MARGIN_US
    )


def test_line_behind_a_converter_is_as_slow_as_configured() -> None:
    line = line_of(replace(BUS, transport=Transport.RTU_OVER_TCP))
    assert line.silence_us() == 4_011
    assert line.margin_us == NETWORK_MARGIN_US


@pytest.mark.parametrize("wrong", [{"baud": 0}, {"baud": -9_600}, {"stop_bits": 3}])
def test_line_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bus b"):
        line_of(replace(BUS, **wrong))  # type: ignore[arg-type]  # only integers are replaced
