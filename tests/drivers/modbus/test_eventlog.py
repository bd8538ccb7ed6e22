"""A unit's own event log: every flag once, oldest first, acknowledged by number."""

from __future__ import annotations

from drivers.base import Contact, Wire
from drivers.modbus.unit.eventlog import AGAIN_US, COUNTER_BITS, LogReader, parse_event
from drivers.modbus.wire.request import Read, Reply, ReplyKind, WriteRegister
from gateway.core.model import Count, Level, Reading
from gateway.core.profile import EventLog, Register, Table

S = 1_000_000
LOG = EventLog(
    unread=Register(Table.HOLDING, 46162),
    read=Register(Table.HOLDING, 46264),
    count=14,
    acknowledge=Register(Table.HOLDING, 46163),
    zone_field=3,
    codes=((28, "granted"), (29, "denied"), (27, "forced")),
)
READ = Read(Table.HOLDING, 46264, 14)
WRITTEN = Reply(ReplyKind.ANSWERED)
SILENT = Reply(ReplyKind.SILENT)
GRANTED, DENIED = "orion/granted-7", "orion/denied-7"


def event(number: int, code: int, zone: int) -> Reply:
    """As the unit writes it: two other fields stand before and after the zone."""
    octets = number.to_bytes(2, "big") + bytes((20, code))
    octets += bytes((24, 2, 0, 3)) + bytes((3, 2)) + zone.to_bytes(2, "big")
    octets += bytes((11, 6, 23, 59, 58, 31, 12, 26))
    octets = octets.ljust(28, b"\x00")
    return Reply(
        ReplyKind.ANSWERED,
        tuple(int.from_bytes(octets[at : at + 2], "big") for at in range(0, 28, 2)),
    )


def refused(code: int) -> Reply:
    return Reply(ReplyKind.EXCEPTION, code=code)


def reader() -> LogReader:
    wires = [Wire(address, Contact.NORMALLY_OPEN) for address in (GRANTED, DENIED)]
    return LogReader(LOG, wires, poll_us=200_000, now_us=0)


def counted(readings: list[Reading]) -> list[tuple[str, int]]:
    return [(one.input, one.count.value) for one in readings if one.count is not None]


def test_eventlog_finds_code_and_zone_among_other_fields() -> None:
    assert parse_event(event(513, 28, 300).values, 3) == (513, 28, 300)


def test_eventlog_reads_what_is_cut_short_or_empty_as_far_as_it_goes() -> None:
    assert parse_event((), 3) == (0, 0, None)
    assert parse_event((0,) * 14, 3) == (0, 0, None)
    assert parse_event((5, 0x0C1C, 0x0302), 3) == (5, 28, None)
    assert parse_event((5, 0x0C1C, 0x0300, 0x0302), 3)[2] == 0


def test_eventlog_shows_every_flag_at_the_first_poll() -> None:
    log = reader()
    readings = log.take({"unread": 0}, 3 * S)
    assert counted(readings) == [(GRANTED, 0), (DENIED, 0)]
    assert readings[0].count == Count(0, COUNTER_BITS, 3)
    assert log.take({"unread": 0}, 4 * S) == []
    assert log.request(4 * S) is None


def test_eventlog_counts_an_event_once_and_acknowledges_it() -> None:
    log = reader()
    log.take({"unread": 1}, S)
    assert log.request(S) == READ
    assert counted(log.done(event(41, 28, 7), S)) == [(GRANTED, 1)]
    assert log.request(S) == WriteRegister(46163, 41)
    assert log.done(WRITTEN, S) == []
    assert log.request(S) is None


def test_eventlog_reads_on_until_nothing_is_unread() -> None:
    log = reader()
    log.take({"unread": 3}, S)
    seen = []
    for number in (1, 2, 3):
        assert log.request(S) == READ
        seen += counted(log.done(event(number, 29, 7), S))
        log.done(WRITTEN, S)
    assert seen == [(DENIED, 1), (DENIED, 2), (DENIED, 3)]
    assert log.deadline() is None


def test_eventlog_acknowledges_what_nobody_listens_to() -> None:
    log = reader()
    log.take({"unread": 2}, S)
    for number, code, zone in ((1, 250, 7), (2, 28, 8)):
        assert log.done(event(number, code, zone), S) == []
        assert log.request(S) == WriteRegister(46163, number)
        log.done(WRITTEN, S)


def test_eventlog_event_whose_acknowledgement_was_lost_counts_once() -> None:
    log = reader()
    log.take({"unread": 1}, S)
    log.done(event(41, 28, 7), S)
    log.done(refused(6), S)
    log.take({"unread": 1}, 3 * S)
    assert log.request(3 * S) == READ
    assert log.done(event(41, 28, 7), 3 * S) == []
    assert log.request(3 * S) == WriteRegister(46163, 41)


def test_eventlog_that_is_not_ready_is_read_again_a_second_later() -> None:
    log = reader()
    log.take({"unread": 1}, S)
    assert log.done(refused(15), S) == []
    assert log.request(S) is None
    assert log.deadline() == S + AGAIN_US
    assert log.request(S + AGAIN_US) == READ
    assert counted(log.done(event(1, 28, 7), S + AGAIN_US)) == [(GRANTED, 1)]


def test_eventlog_acknowledgement_nobody_answered_is_repeated_not_the_event() -> None:
    log = reader()
    log.take({"unread": 1}, S)
    log.done(event(1, 28, 7), S)
    log.done(SILENT, S)
    assert log.request(S + AGAIN_US) == WriteRegister(46163, 1)


def test_eventlog_of_a_silent_unit_is_unknown_once_and_keeps_its_counters() -> None:
    log = reader()
    log.take({"unread": 1}, S)
    log.done(event(1, 28, 7), S)
    assert [one.level for one in log.silent(2 * S)] == [Level.UNKNOWN] * 2
    assert log.silent(3 * S) == []
    assert log.request(9 * S) is None
    assert counted(log.take({"unread": 0}, 9 * S)) == [(GRANTED, 1), (DENIED, 0)]
