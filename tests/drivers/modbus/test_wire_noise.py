"""Malformed frames, from a corpus and made up: no wrong value is believed, and the bus works on."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.wire.frame import mbap, rtu
from drivers.modbus.wire.request import Read, Reply, ReplyKind, Request, WriteRegister
from drivers.modbus.wire.wire import LATE_MS, Wire
from gateway.core.hardware import Bus
from gateway.core.profile import Table
from simulators.virtual.time import VirtualClock
from tests.drivers.modbus.rig import (
    BUS,
    ECHO,
    TCP,
    TIMING,
    UNKNOWN_ECHO,
    Answers,
    MemoryPort,
    on_wire,
)

READ = Read(Table.HOLDING, 5, 2)
BITS = Read(Table.COIL, 0x0310, 18)
WRITE = WriteRegister(9, 0x0102)
TRUTH: dict[Request, tuple[bytes, tuple[int, ...]]] = {
    READ: (b"\x03\x04\x12\x34\x56\x78", (0x1234, 0x5678)),
    # An answer that could be, byte for byte, the question.
    BITS: (b"\x01\x03\x10\x00\x02", tuple(int(bit) for bit in "000010000000000001")),
    WRITE: (b"\x06\x00\x09\x01\x02", ()),
}
LIES = {
    READ: b"\x03\x04\x00\x00\x00\x01",
    BITS: b"\x01\x03\x00\x00\x00",
    WRITE: b"\x06\x00\x09\x01\x03",
}


def talk(bus: Bus, request: Request, pieces: Answers) -> tuple[Reply, Reply]:
    """The reply while these come in, and the one to a question on the quiet line after it."""
    asked = [0]

    async def scenario(wire: Wire, port: MemoryPort, clock: VirtualClock) -> tuple[Reply, Reply]:
        del port
        first = await wire.exchange(7, request, timing=TIMING)
        await clock.sleep(LATE_MS / 1_000)
        return first, await wire.exchange(7, READ, timing=TIMING)

    def responder(frame: bytes) -> Answers:
        asked[0] += 1
        echo: Answers = [(3_000, frame)] if bus is ECHO else []
        if asked[0] == 1:
            return [*echo, *pieces]
        truth = TRUTH[READ][0]
        number = int.from_bytes(frame[:2], "big")
        whole = mbap(number, 7, truth) if bus is TCP else rtu(7, truth)
        return [*echo, (15_000, whole)]

    return on_wire(responder, scenario, bus=bus)


def check(bus: Bus, request: Request, pieces: Answers) -> ReplyKind:
    first, second = talk(bus, request, pieces)
    if first.kind is ReplyKind.ANSWERED:
        assert first.values == TRUTH[request][1]
    assert first.kind is not ReplyKind.GONE
    assert second.values == TRUTH[READ][1]
    return first.kind


CORPUS = {
    "nothing": b"",
    "one byte": b"\x07",
    "short": rtu(7, LIES[READ])[:-3],
    "long": rtu(7, LIES[READ] + b"\x00"),
    "bad crc": rtu(7, LIES[READ])[:-1] + b"\x00",
    "crc the other way round": rtu(7, LIES[READ])[:-2] + rtu(7, LIES[READ])[:-3:-1],
    "wrong unit": rtu(8, LIES[READ]),
    "unit 0": rtu(0, LIES[READ]),
    "wrong function": rtu(7, b"\x04" + LIES[READ][1:]),
    "unknown function": rtu(7, b"\x46" + LIES[READ][1:]),
    "fewer registers": rtu(7, b"\x03\x02\x00\x01"),
    "more registers": rtu(7, b"\x03\x06\x00\x01\x00\x01\x00\x01"),
    "odd byte count": rtu(7, b"\x03\x03\x00\x01\x00"),
    "no bytes": rtu(7, b"\x03\x00"),
    "exception of another function": rtu(7, b"\x84\x02"),
    "long exception": rtu(7, b"\x83\x02\x00"),
    "in a longer frame": rtu(9, b"\x46\x0a\x01" + rtu(7, LIES[READ]) + b"\x02\x03"),
    "two glued foreign frames": rtu(8, LIES[READ]) * 2,
    "another master's question": rtu(7, b"\x03\x00\x05\x00\x01"),
    "a byte lost inside": rtu(7, LIES[READ])[:4] + rtu(7, LIES[READ])[5:],
    "a byte doubled inside": rtu(7, LIES[READ])[:4] + rtu(7, LIES[READ])[3:],
    "idle high": b"\xff" * 300,
    "idle low": b"\x00" * 300,
    "a burst": random.Random(4).randbytes(700),
}


@pytest.mark.parametrize("bus", [BUS, ECHO, UNKNOWN_ECHO])
@pytest.mark.parametrize("name", CORPUS)
def test_malformed_frame_is_never_believed(name: str, bus: Bus) -> None:
    assert check(bus, READ, [(9_000, CORPUS[name])]) is not ReplyKind.ANSWERED


@pytest.mark.parametrize("bus", [BUS, ECHO])
@pytest.mark.parametrize("name", CORPUS)
def test_malformed_frame_hides_no_good_answer_that_follows_in_time(name: str, bus: Bus) -> None:
    """On a fresh silence, 20 ms later; a burst of 700 bytes may cost the answer."""
    good = rtu(7, TRUTH[READ][0])
    kind = check(bus, READ, [(3_500, CORPUS[name]), (38_000, good)])
    spoilt = name in {"bad crc", "crc the other way round", "a byte lost inside", "short"}
    assert kind is (ReplyKind.DAMAGED if spoilt else ReplyKind.ANSWERED)


def damaged(frame: bytes, how: tuple[str, int, int]) -> bytes:
    """One frame with one kind of damage."""
    kind, place, value = how
    at = place % len(frame)
    if kind == "flip":
        return frame[:at] + bytes((frame[at] ^ (1 << value % 8),)) + frame[at + 1 :]
    if kind == "cut":
        return frame[:at]
    if kind == "behead":
        return frame[at + 1 :]
    if kind == "drop":
        return frame[:at] + frame[at + 1 :]
    return frame[:at] + bytes((value,)) + frame[at:]


DAMAGE = st.tuples(
    st.sampled_from(["flip", "cut", "behead", "drop", "insert"]),
    st.integers(0, 300),
    st.integers(0, 255),
)


@st.composite
def heaps(draw: st.DrawFn, request: Request, *, tcp: bool = False) -> Answers:
    """Pieces that may hold the true answer; every lie in them is damaged, foreign or unfit."""

    def framed(unit: int, pdu: bytes, number: int = 1) -> bytes:
        return mbap(number, unit, pdu) if tcp else rtu(unit, pdu)

    lie = LIES[request]
    others = [
        framed(8, lie),
        framed(7, bytes((lie[0] ^ 7,)) + lie[1:]),
        framed(9, b"\x03\x02\x01\x01"),
        framed(7, b"\x03\x08" + bytes(8)),
    ]
    if tcp:
        others += [framed(7, lie, number=40_000), framed(7, lie, number=0)]
    pieces: Answers = []
    at_us = 4_000
    for _ in range(draw(st.integers(0, 4))):
        what = draw(st.sampled_from(["truth", "damaged", "other", "noise", "idle"]))
        if what == "truth":
            data = framed(7, TRUTH[request][0])
        elif what == "other":
            data = draw(st.sampled_from(others))
        elif what == "damaged":
            whole = framed(7, lie)
            data = damaged(whole, draw(DAMAGE))
            # MBAP has no checksum of its own; TCP's stands for it, so nothing is flipped there.
            data = b"" if tcp or whole in data else data
        elif what == "noise":
            data = draw(st.binary(min_size=1, max_size=40))
        else:
            data = draw(st.sampled_from([b"\x00", b"\xff", b"\xff\x00"]))
        split = draw(st.integers(0, len(data)))
        pieces += [(at_us, data[:split]), (at_us + 500, data[split:])]
        at_us += draw(st.sampled_from([600, 3_000, 12_000]))
    return [(when_us, data) for when_us, data in pieces if data]


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from([READ, BITS, WRITE]), st.sampled_from([BUS, ECHO, UNKNOWN_ECHO]))
def test_any_malformed_heap_leaves_the_bus_working(
    data: st.DataObject, request: Request, bus: Bus
) -> None:
    check(bus, request, data.draw(heaps(request)))


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([READ, BITS, WRITE]))
def test_any_malformed_heap_leaves_a_connection_working(
    data: st.DataObject, request: Request
) -> None:
    check(TCP, request, data.draw(heaps(request, tcp=True)))


@pytest.mark.parametrize(
    "stale",
    [
        mbap(9, 7, LIES[READ]),
        mbap(1, 8, LIES[READ]),
        mbap(1, 7, b"\x83\x02\x00"),
        b"\x00\x01\x00\x01\x00\x07\x07" + LIES[READ],
        b"\x00\x01\x00\x00\x00\x00\x07",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_stale_or_foreign_frame_in_tcp_is_dropped(stale: bytes) -> None:
    answer = mbap(1, 7, TRUTH[READ][0])
    assert check(TCP, READ, [(9_000, stale)]) is not ReplyKind.ANSWERED
    followed = check(TCP, READ, [(9_000, stale), (9_500, answer)])
    wrong_form = stale.startswith(b"\x00\x01\x00\x00\x00\x04\x07")
    assert followed is (ReplyKind.DAMAGED if wrong_form else ReplyKind.ANSWERED)
