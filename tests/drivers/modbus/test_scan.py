"""A scan on a simulated line: who is found and named, what is noticed; nothing is written."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from drivers.modbus.search.scan import scan_lent, silent_us
from drivers.modbus.search.sweep import (
    BOARD,
    EVERY_UNIT,
    PING,
    DoubtKind,
    Question,
    Speed,
    Sweep,
    factory_speeds,
    heard,
    in_turn,
    told,
    units_of,
)
from drivers.modbus.wire.line import line_of
from drivers.modbus.wire.wire import Wire
from gateway.core.hardware import Parity
from simulators.bus.faults import (
    Fault,
    Flooding,
    Forgetful,
    Late,
    LineTrouble,
    Padded,
    Refusing,
)
from simulators.bus.frames import rtu_parts
from simulators.bus.line import Line
from tests.drivers.modbus.rig import MemoryPort
from tests.drivers.modbus.scan_rig import (
    BUS,
    FAST,
    LAN,
    N2,
    READS,
    Scene,
    beside,
    models,
    on_board,
    on_line,
)

S = 1_000_000
PING_PDU = b"\x03\x00\x00\x00\x01"


# --- who is there ---------------------------------------------------------------------------------


def test_scan_finds_and_names_every_unit_of_a_mixed_bus() -> None:
    async def scene(bus: Scene) -> None:
        for name, unit in (
            *(("waveshare-relay-d", 1), ("wb-mr6c", 11), ("wb-mcm8", 12), ("wb-mrm2-mini", 13)),
            *(("owen-mv110-16d", 16), ("bolid-s2000-pp", 247)),
        ):
            bus.add(name, unit)
        await bus.scan(EVERY_UNIT)
        assert {unit: bus.guess(unit).profiles for unit in bus.found} == {
            1: ("waveshare-relay-d",),
            11: ("wb-mr6c",),
            12: ("wb-mcm8",),
            13: ("wb-mrm2-mini",),
            16: ("owen-mv110-16d",),
            247: ("bolid-s2000-pp",),
        }
        assert [unit for unit in bus.found if not bus.guess(unit).sure] == [1, 16]
        assert bus.doubts == []

    on_line(scene)


def test_scan_reads_firmware_and_serial_number_where_a_unit_tells_them() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mcm8", 12)
        await bus.scan()
        guess = bus.guess(12)
        assert (guess.says, guess.identity) == ("WBMCM8", "WBMCM8")
        assert (guess.firmware, guess.serial) == ("1.30.2", str(0xFE << 16 | 0x400C))

    on_line(scene)


@pytest.mark.parametrize("seed", range(4))
def test_scan_sends_nothing_but_reads_to_the_addresses_it_was_given(seed: int) -> None:
    """Whatever the line is like: no write, no broadcast, nobody else's address."""

    async def scene(bus: Scene) -> None:
        for name, unit in (("wb-mr6c", 3), ("waveshare-relay-d", 5), ("wb-mcm8", 7)):
            bus.add(name, unit).afflict(Forgetful(0.3))
        bus.add("wb-mcm8", 7, seed=2)
        bus.add("wb-mr6c", 9).afflict(Late(60_000, 200_000))
        assert isinstance(bus.behind, Line)
        bus.behind.trouble = LineTrouble(bit_error=0.004, noise=0.05)
        await bus.scan(range(2, 20), speeds=(FAST, N2))
        assert bus.functions <= READS
        assert set(bus.asked()) == set(range(2, 20))
        assert len(bus.sent) > 40

    on_line(scene, seed=seed)


@pytest.mark.parametrize("fault", [Refusing(1), Refusing(6), Padded(b"\x00", b"")])
def test_scan_takes_an_exception_and_an_answer_behind_junk_for_an_answer(fault: Fault) -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 11).afflict(fault)
        await bus.scan()
        assert list(bus.found) == [11]

    on_line(scene)


def test_scan_hurries_past_silent_addresses() -> None:
    """247 addresses in arithmetic: 15 characters, 30 ms for the unit, 20 ms for the adapter."""

    async def scene(bus: Scene) -> None:
        began_us = bus.clock.now_us()
        await bus.scan(EVERY_UNIT)
        took_us = bus.clock.now_us() - began_us
        assert bus.found == {}
        assert len(bus.sent) == len(EVERY_UNIT)
        assert took_us <= 247 * (silent_us(line_of(BUS), 30) + 1_000) < 17 * S

    on_line(scene)


def test_scan_asks_a_late_unit_again_and_says_that_it_is_late() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7).afflict(Late(90_000, 120_000))
        bus.add("wb-mcm8", 9)
        await bus.scan()
        assert {unit: found.late for unit, found in bus.found.items()} == {7: True, 9: False}
        assert bus.guess(7).profiles == ("wb-mr6c",)

    on_line(scene)


@pytest.mark.parametrize("seed", range(6))
def test_scan_that_tries_often_finds_a_unit_on_a_bad_line(seed: int) -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7)
        assert isinstance(bus.behind, Line)
        bus.behind.trouble = LineTrouble(bit_error=0.01, noise=0.1)
        await bus.scan(range(6, 9), tries=5)
        assert list(bus.found) == [7]
        assert bus.guess(7).profiles == ("wb-mr6c",)

    on_line(scene, seed=seed)


# --- speeds ---------------------------------------------------------------------------------------


def test_scan_finds_a_unit_at_another_speed_and_says_which() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mcm8", 12)
        await bus.scan(speeds=(N2, FAST))
        assert [found.speed for found in bus.found.values()] == [FAST]
        assert bus.opened == [9_600, 19_200]

    on_line(scene, baud=19_200)


def test_scan_asks_a_found_address_again_at_another_baud_rate_only() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mcm8", 12)
        await bus.scan([12, 13], speeds=(N2, Speed(9_600, Parity.NONE, 1)), questions=False)
        assert bus.asked() == [12, 13, 13]
        bus.sent.clear()
        await bus.scan([12, 13], speeds=(N2, FAST), questions=False)
        assert len(bus.sent) == 4

    on_line(scene)


def test_scan_tells_of_something_that_talks_at_another_speed() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7).afflict(Flooding(400_000))
        await bus.scan(EVERY_UNIT, speeds=(N2,))
        assert [(doubt.kind, doubt.speed) for doubt in bus.doubts] == [
            (DoubtKind.WRONG_SPEED, "9600 8N2")
        ]
        assert "mostly 8 at a time" in bus.doubts[0].text

    on_line(scene, baud=19_200)


def test_factory_speeds_come_first_and_each_once() -> None:
    factory = factory_speeds(models())
    assert factory == (N2, Speed(9_600, Parity.NONE, 1))
    assert in_turn(factory, [FAST, N2]) == (*factory, FAST)


# --- what is wrong with a line --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("other", ["wb-mr6c", "wb-mcm8", "waveshare-relay-d"])
def test_scan_tells_of_two_units_on_one_address(other: str, seed: int) -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7)
        bus.add(other, 7, seed=2)
        bus.add("wb-mcm8", 12)
        await bus.scan()
        assert [(doubt.kind, doubt.unit) for doubt in bus.doubts] == [(DoubtKind.TWINS, 7)]
        assert bus.guess(12).profiles == ("wb-mcm8",)

    on_line(scene, seed=seed)


def test_scan_looks_at_a_crowded_address_once_at_each_baud_rate() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7)
        bus.add("wb-mr6c", 7, seed=2)
        bus.add("wb-mcm8", 12)
        await bus.scan(speeds=(N2, Speed(9_600, Parity.NONE, 1)))
        assert [doubt.speed for doubt in bus.doubts] == ["9600 8N2"]

    on_line(scene)


def test_scan_leaves_a_line_that_is_never_quiet_at_once() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7).afflict(Flooding(1_000))
        began_us = bus.clock.now_us()
        await bus.scan(EVERY_UNIT)
        assert [doubt.kind for doubt in bus.doubts] == [DoubtKind.FLOOD]
        assert bus.clock.now_us() - began_us < 5 * S
        assert bus.sent == []

    on_line(scene)


def test_scan_names_no_twins_on_a_line_that_damages_everything() -> None:
    async def scene(bus: Scene) -> None:
        for unit in range(1, 9):
            bus.add("wb-mcm8", unit, seed=unit)
        assert isinstance(bus.behind, Line)
        bus.behind.trouble = LineTrouble(bit_error=0.03)
        await bus.scan(range(1, 9))
        assert [doubt.kind for doubt in bus.doubts] == [DoubtKind.NOISE]

    on_line(scene)


def test_scan_ends_with_what_it_has_found_when_the_adapter_is_pulled_out() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mcm8", 2)
        assert isinstance(bus.behind, Line)
        bus.clock.call_at(bus.clock.now_us() + 2 * S, bus.behind.unplug)
        await bus.scan(EVERY_UNIT, speeds=(N2, FAST))
        assert list(bus.found) == [2]
        assert len(bus.ended) == 1
        assert bus.opened == [9_600]

    on_line(scene)


# --- Modbus TCP -----------------------------------------------------------------------------------


def test_scan_finds_a_board_on_modbus_tcp() -> None:
    """It answers to its own address and as the board itself; a gateway's `nobody there` is none."""

    async def scene(board: Scene) -> None:
        board.add("adam-6060", 1)
        await board.scan((*EVERY_UNIT, BOARD), bus=LAN)
        assert {unit: found.speed for unit, found in board.found.items()} == {1: None, BOARD: None}
        assert board.functions <= READS

    on_board(scene)


def test_scan_takes_a_board_that_answers_to_every_address_for_one() -> None:
    async def scene(board: Scene) -> None:
        def answer(request: bytes) -> list[tuple[int, bytes]]:
            return [(2_000, request[:5] + b"\x05" + request[6:8] + b"\x02\x00\x07")]

        port = MemoryPort(board.clock, answer)
        await board.scan((*EVERY_UNIT, BOARD), bus=LAN, opener=lambda _: port, questions=False)
        assert list(board.found) == [1]
        assert [doubt.kind for doubt in board.doubts] == [DoubtKind.ANY_ADDRESS]
        assert len(port.sent) < 10

    on_board(scene)


# --- progress -------------------------------------------------------------------------------------


def test_progress_counts_every_address_and_ends_near_nothing_left() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mcm8", 12)
        await bus.scan(speeds=(N2, FAST))
        done = [one.done for one in bus.progress]
        assert done == sorted(done) == list(range(64))
        assert {one.total for one in bus.progress} == {64}
        left = [one.left_ms for one in bus.progress]
        assert left == sorted(left, reverse=True)
        assert 3_000 < left[0] < 5_000
        assert left[-1] < 100
        assert bus.progress[-1].found == 1

    on_line(scene)


def test_news_goes_through_a_socket_and_comes_out_the_same() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mcm8", 7)
        bus.add("wb-mcm8", 7, seed=2)
        await bus.scan(range(5, 9))
        assert [heard(told(one)) for one in bus.news] == bus.news
        assert heard({"end": True}) is None

    on_line(scene)


# --- a bus that is lent ---------------------------------------------------------------------------


def test_scan_of_a_lent_bus_finds_who_is_not_polled_and_leaves_the_others_alone() -> None:
    """Units of the configuration are asked by their owner only: by their own registers."""
    done = beside(seed=1, poll_ms=250)
    asked = [one for one in done.scene.sent if one[0] not in {11, 12}]
    pinged = [one for one in done.scene.sent if rtu_parts(one) == (one[0], PING_PDU)]
    assert sorted(done.scene.found) == [1, 40]
    assert {one[0] for one in asked} == {one[0] for one in pinged} == set(EVERY_UNIT) - {11, 12}
    assert {one[1] for one in asked} <= READS
    assert done.scene.doubts == []


@pytest.mark.parametrize("poll_ms", [100, 250])
@pytest.mark.parametrize("seed", range(3))
def test_scan_of_a_lent_bus_holds_up_a_press_by_one_exchange_at_most(
    seed: int, poll_ms: int
) -> None:
    """The same presses on the same bus, with a scan going on and without one.

    At 100 ms the line is full, and a scan takes one exchange a second; at 250 ms it costs no poll.
    """
    calm = beside(seed=seed, poll_ms=poll_ms, scanning=False)
    busy = beside(seed=seed, poll_ms=poll_ms, units=[*range(1, 61), *EVERY_UNIT[120:]])
    assert len(calm.waits_us) == len(busy.waits_us) >= 40
    assert busy.scanned_us > 20 * S
    assert max(busy.waits_us) - max(calm.waits_us) <= silent_us(line_of(BUS), 30)
    assert busy.polls >= (0.95 if poll_ms == 100 else 0.995) * calm.polls


def test_scan_of_a_lent_bus_tells_of_a_late_unit_and_does_not_wait_for_it() -> None:
    async def scene(bus: Scene) -> None:
        bus.add("wb-mr6c", 7).afflict(Late(90_000, 120_000))
        wire = Wire(BUS, bus.opener(BUS), bus.clock)
        await wire.open()
        walk = scan_lent(BUS, wire, Sweep(tuple(range(5, 12))), clock=bus.clock, skip=())
        async with aclosing(walk) as news:
            bus.news = [one async for one in news]
        assert [(doubt.kind, doubt.unit) for doubt in bus.doubts] == [(DoubtKind.LATE, 7)]
        assert bus.asked().count(7) == 1

    on_line(scene)


# --- what may be asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "units"), [("1-3,7", (1, 2, 3, 7)), ("247", (247,)), ("5,5, 4-5", (5, 4))]
)
def test_units_are_written_as_ranges(text: str, units: tuple[int, ...]) -> None:
    assert units_of(text) == units


@pytest.mark.parametrize("text", ["", "0", "248", "1-", "x", "9-3", "1-300", "-5"])
def test_units_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        units_of(text)


@pytest.mark.parametrize(
    "sweep",
    [
        {"units": (0,)},
        {"units": (1, 248)},
        {"answer_ms": 0},
        {"answer_ms": 60_000},
        {"tries": 99},
        {"questions": (Question(PING),) * 65},
    ],
)
def test_sweep_refuses_broadcasts_and_what_would_hold_a_bus_up(sweep: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        Sweep(**sweep)  # type: ignore[arg-type] # the table mixes fields
