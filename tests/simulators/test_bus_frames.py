"""The far end's frames and registers, against frames others have published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.profile import Limits, Table
from simulators.bus.frames import TcpFrame, TcpFrames, check_sum, rtu, rtu_parts
from simulators.bus.registers import Cell, Registers

PUBLISHED = [
    "01 05 02 00 00 07 8D B0",  # Waveshare: relay 0 on for 700 ms
    "FD 46 01 13 90",  # the rest: Wiren Board's published extension of the protocol
    "FD 46 02 53 91",
    "FD 46 03 00 01 EB 37 0C CE DC",
    "FD 46 04 D3 93",
    "FD 46 10 00 FF 00 00 C8 9A",
    "F1 46 11 00 02 09 01 01 00 00 01 00 0F 00 00 10 64",
    "14 46 11 00 02 0A 02 04 01 D7 01 00 00 0F 00 00 7A DA",
    "FD 46 08 FE 40 00 AC 06 00 80 00 C8 DC 35",
]


@pytest.mark.parametrize("text", PUBLISHED)
def test_frames_end_with_the_published_check_sum(text: str) -> None:
    frame = bytes.fromhex(text)
    assert check_sum(frame[:-2]) == frame[-2:]
    assert rtu(frame[0], frame[1:-2]) == frame


@given(st.binary(min_size=1, max_size=60), st.integers(0, 60), st.integers(0, 7))
def test_frames_with_one_bit_turned_are_no_frames(pdu: bytes, at: int, bit: int) -> None:
    frame = bytearray(rtu(9, pdu))
    assert rtu_parts(bytes(frame)) == (9, pdu)
    frame[at % len(frame)] ^= 1 << bit
    assert rtu_parts(bytes(frame)) is None


@pytest.mark.parametrize("size", [0, 3, 257])
def test_frames_too_short_or_too_long_are_none(size: int) -> None:
    body = bytes(max(0, size - 2))
    assert rtu_parts((body + check_sum(body))[:size]) is None


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.data())
def test_tcp_stream_is_cut_where_messages_end(pdus: list[bytes], data: st.DataObject) -> None:
    sent = [TcpFrame(one, 7, pdu) for one, pdu in enumerate(pdus)]
    stream = b"".join(frame.packed() for frame in sent)
    cut = data.draw(st.integers(0, len(stream)))
    frames = TcpFrames()
    assert [*frames.feed(stream[:cut]), *frames.feed(stream[cut:])] == sent


@pytest.mark.parametrize(
    "raw", ["0001000100060103000000 01", "00010000000101 0300", "000100000100"]
)
def test_tcp_stream_that_is_none_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="header"):
        TcpFrames().feed(bytes.fromhex(raw) + bytes(8))


def registers() -> Registers:
    table = Registers(Limits(registers=4, bits=16))
    for address in (0, 1, 3):
        table.keep(Table.HOLDING, address, 10 + address, most=100)
        table.keep(Table.COIL, address, address % 2, most=1)
    table.show(Table.INPUT, 5, lambda: 0x1234)
    return table


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        ("03 0000 0002", "03 04 000A 000B"),
        ("04 0005 0001", "04 02 1234"),
        ("01 0000 0002", "01 01 02"),
        ("06 0001 0063", "06 0001 0063"),
        ("05 0003 FF00", "05 0003 FF00"),
        ("05 0003 0000", "05 0003 0000"),
        ("10 0000 0002 04 0001 0002", "10 0000 0002"),
        ("0F 0000 0002 01 03", "0F 0000 0002"),
        ("03 0000 0003", "83 02"),  # a hole at 2
        ("03 0004 0001", "83 02"),
        ("02 0000 0001", "82 01"),  # no such table here
        ("46 01", "C6 01"),
        ("03 0000 0005", "83 03"),  # more than it gives at once
        ("03 0000 0000", "83 03"),
        ("03 0000", "83 03"),  # cut short
        ("03 0000 0001 00", "83 03"),
        ("06 0000 0065", "86 03"),
        ("06 0002 0001", "86 02"),
        ("05 0003 0007", "85 03"),  # a time, where no time goes
        ("05 0002 FF00", "85 02"),
        ("10 0000 0002 04 0001", "90 03"),
        ("10 0001 0002 04 0001 0002", "90 02"),
    ],
)
def test_registers_answer_as_the_protocol_says(request_hex: str, answer_hex: str) -> None:
    assert registers().answer(bytes.fromhex(request_hex)) == bytes.fromhex(answer_hex)


def test_registers_write_all_of_a_block_or_nothing() -> None:
    table = registers()
    table.answer(bytes.fromhex("10 0000 0003 06 0001 0002 0003"))
    assert table.read(Table.HOLDING, 0, 2) == [10, 11]


def test_registers_give_the_raw_value_of_function_5_to_those_that_want_it() -> None:
    table, seen = registers(), list[int]()
    table.put(Table.COIL, 0x200, Cell(lambda: 0, raw=seen.append))
    assert table.answer(bytes.fromhex("05 0200 0007")) == bytes.fromhex("05 0200 0007")
    assert seen == [7]


@given(st.binary(min_size=1, max_size=40))
def test_registers_answer_any_request_with_something(pdu: bytes) -> None:
    answer = registers().answer(pdu)
    assert answer[0] & 0x7F == pdu[0] & 0x7F
    assert len(answer) >= 2
