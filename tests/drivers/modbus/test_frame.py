"""Golden frames: what goes out and what is read from an answer, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.wire.frame import (
    ask_of,
    crc,
    mbap,
    rtu,
    rtu_size,
    shape_of,
    values_of,
)
from drivers.modbus.wire.request import (
    Read,
    Request,
    WriteBit,
    WriteBits,
    WriteRegister,
    WriteRegisters,
)
from gateway.core.profile import Table

GOLDEN: list[tuple[Request, str, str]] = [
    # Requests and answers of MODBUS Application Protocol V1.1b3, 6.1 to 6.12.
    (Read(Table.COIL, 19, 19), "01 00 13 00 13", "01 03 CD 6B 05"),
    (Read(Table.DISCRETE, 196, 22), "02 00 C4 00 16", "02 03 AC DB 35"),
    (Read(Table.HOLDING, 107, 3), "03 00 6B 00 03", "03 06 02 2B 00 00 00 64"),
    (Read(Table.INPUT, 8, 1), "04 00 08 00 01", "04 02 00 0A"),
    (WriteBit(172, 0xFF00), "05 00 AC FF 00", "05 00 AC FF 00"),
    (WriteRegister(1, 3), "06 00 01 00 03", "06 00 01 00 03"),
    (
        WriteBits(19, (True, False, True, True, False, False, True, True, True, False)),
        "0F 00 13 00 0A 02 CD 01",
        "0F 00 13 00 0A",
    ),
    (WriteRegisters(1, (10, 258)), "10 00 01 00 02 04 00 0A 01 02", "10 00 01 00 02"),
]


@pytest.mark.parametrize(("request_", "pdu", "answer"), GOLDEN)
def test_frame_is_the_standards_own(request_: Request, pdu: str, answer: str) -> None:
    ask = ask_of(17, request_)
    assert ask.pdu == bytes.fromhex(pdu)
    assert ask.answered_by(bytes.fromhex(answer))


def test_frame_bits_come_first_bit_first_and_without_padding() -> None:
    ask = ask_of(17, Read(Table.COIL, 19, 19))
    values = values_of(ask, bytes.fromhex("01 03 CD 6B 05"))
    assert values == (1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1)


def test_frame_registers_come_high_byte_first() -> None:
    ask = ask_of(17, Read(Table.HOLDING, 107, 3))
    assert values_of(ask, bytes.fromhex("03 06 02 2B 00 00 00 64")) == (555, 0, 100)


def test_frame_of_a_write_carries_no_values() -> None:
    ask = ask_of(17, WriteRegister(1, 3))
    assert values_of(ask, bytes.fromhex("06 00 01 00 03")) == ()


@pytest.mark.parametrize("raw", [0x0000, 0xFF00, 0x0007, 0x1234, 0xFFFF])
def test_frame_of_one_bit_takes_any_value(raw: int) -> None:
    """Units that time an output take the time as the value; pymodbus would make FF00 of it."""
    ask = ask_of(1, WriteBit(0x0203, raw))
    assert ask.pdu == b"\x05\x02\x03" + raw.to_bytes(2, "big")


@pytest.mark.parametrize(
    "frame",
    [
        "01 06 00 01 00 03 98 0B",
        "FD 46 01 13 90",
        "FD 46 10 00 FF 00 00 C8 9A",
        "14 46 11 00 02 0A 02 04 01 D7 01 00 00 0F 00 00 7A DA",
    ],
)
def test_frame_crc_is_that_of_published_frames(frame: str) -> None:
    data = bytes.fromhex(frame)
    assert crc(data) == 0
    assert crc(data[:-2]).to_bytes(2, "little") == data[-2:]


@given(st.binary(min_size=2, max_size=60), st.integers(0), st.integers(0, 7))
def test_frame_with_one_wrong_bit_never_passes_the_crc(data: bytes, place: int, bit: int) -> None:
    frame = bytearray(rtu(data[0], data[1:]))
    frame[place % len(frame)] ^= 1 << bit
    assert crc(bytes(frame)) != 0


def test_frame_in_tcp_says_number_length_and_unit() -> None:
    pdu = bytes.fromhex("03 00 6B 00 03")
    assert mbap(0x1501, 17, pdu) == bytes.fromhex("15 01 00 00 00 06 11 03 00 6B 00 03")


WRONG_ANSWERS = [
    # to a read of 3 holding registers
    "",
    "03",
    "03 06 02 2B 00 00 00",  # short
    "03 06 02 2B 00 00 00 64 00",  # long
    "03 04 02 2B 00 00",  # fewer registers
    "04 06 02 2B 00 00 00 64",  # another function
    "03 05 02 2B 00 00 00 64",  # a byte count that is not its own
    "83 02",  # an exception is no answer
]


@pytest.mark.parametrize("pdu", WRONG_ANSWERS)
def test_frame_of_any_other_form_is_no_answer(pdu: str) -> None:
    assert not ask_of(17, Read(Table.HOLDING, 107, 3)).answered_by(bytes.fromhex(pdu))


@pytest.mark.parametrize(
    ("request_", "echo"),
    [
        (WriteBit(172, 0xFF00), "05 00 AC 00 00"),
        (WriteBit(172, 0xFF00), "05 00 AD FF 00"),
        (WriteRegister(1, 3), "06 00 01 00 04"),
        (WriteRegister(1, 3), "06 00 02 00 03"),
        (WriteBits(19, (True, True)), "0F 00 13 00 03"),
        (WriteRegisters(1, (10, 258)), "10 00 02 00 02"),
    ],
)
def test_frame_with_another_address_value_or_count_is_no_echo(request_: Request, echo: str) -> None:
    assert not ask_of(1, request_).answered_by(bytes.fromhex(echo))


def test_frame_of_an_exception_belongs_to_its_own_function() -> None:
    ask = ask_of(1, Read(Table.HOLDING, 0, 1))
    assert ask.refused_by(b"\x83\x02")
    assert not ask.refused_by(b"\x84\x02")
    assert not ask.refused_by(b"\x83\x02\x00")


@pytest.mark.parametrize(
    ("unit", "request_"),
    [
        (0, Read(Table.COIL, 0)),
        (256, Read(Table.COIL, 0)),
        (1, Read(Table.COIL, 0, 0)),
        (1, Read(Table.COIL, 0, 2_001)),
        (1, Read(Table.HOLDING, 0, 126)),
        (1, Read(Table.HOLDING, 65_535, 2)),
        (1, Read(Table.HOLDING, -1)),
        (1, WriteBit(0, 0x1_0000)),
        (1, WriteRegister(0, -1)),
        (1, WriteRegisters(0, ())),
        (1, WriteRegisters(0, (0,) * 124)),
        (1, WriteRegisters(0, (70_000,))),
        (1, WriteBits(0, (True,) * 1_969)),
    ],
)
def test_frame_that_cannot_be_is_refused_before_it_goes_out(unit: int, request_: Request) -> None:
    with pytest.raises(ValueError, match=r"unit|fit|end|16 bits"):
        ask_of(unit, request_)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ("", 0),
        ("01", 0),
        ("01 03", 0),
        ("01 03 02", 7),
        ("01 03 00", None),
        ("01 01 FC", None),
        ("01 10", 8),
        ("01 86", 5),
        ("01 46", None),
    ],
)
def test_frame_length_is_known_from_its_head(head: str, size: int | None) -> None:
    assert rtu_size(bytes.fromhex(head)) == size


@pytest.mark.parametrize(("request_", "pdu", "answer"), GOLDEN)
def test_frame_shape_of_an_answer_is_its_asks_head(
    request_: Request, pdu: str, answer: str
) -> None:
    del pdu
    assert shape_of(bytes.fromhex(answer)) == ask_of(1, request_).head
