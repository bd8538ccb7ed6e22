"""Retention by age: counted by the time the gateway lived, whatever its clock says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.core.model import StreamKey
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger
from tests.disk_cases import DAY_MS, KEEP_MS, Machine, ledger_at, tidied
from tests.ledger_cases import Numbers

YEAR_1970_MS = 30_000_000
YEAR_2099_MS = 4_080_000_000_000


class Kept:
    """A ledger that is asked every day what may leave; every entry is settled at once."""

    def __init__(self, path: Path) -> None:
        self.machine = Machine()
        self.ledger: Ledger = ledger_at(path)
        self.numbers = Numbers(self.ledger.identity)
        self.key: StreamKey = self.numbers.key("case", "access.door.granted")

    def enter(self, count: int = 1) -> None:
        """Something for the log, stamped with what the machine believes, and settled."""
        for _ in range(count):
            event = self.numbers.event("access.door.granted", utc_ms=self.machine.utc_ms)
            self.ledger.append([self.numbers.entry(event, routes=("case",))])
        self.ledger.settle(self.key, [(1, 1 << 30)], utc_ms=self.machine.utc_ms)
        self.retain()

    def retain(self) -> None:
        """As the daemon does every hour."""
        self.ledger.retain(self.machine.now, keep_ms=KEEP_MS)
        tidied(self.ledger)

    def live(self, days: int) -> None:
        """Day after day."""
        for _ in range(days):
            self.machine.pass_days(1)
            self.retain()

    def held(self) -> list[int]:
        """The numbers that are still there."""
        return [message.sequence for message in self.ledger.read(self.key, 1, 1 << 30)]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "ledger.db")
    kept.retain()
    yield kept
    kept.ledger.close()


def test_age_entry_stays_as_long_as_is_told_and_no_longer(kept: Kept) -> None:
    kept.enter(3)
    kept.live(98)
    kept.enter()
    assert kept.held() == [1, 2, 3, 4]
    kept.live(4)
    assert kept.held() == [4]


def test_age_what_is_owed_or_open_stays_for_ever(kept: Kept) -> None:
    alarm = kept.numbers.alarm(routes=("security",))
    kept.ledger.append([alarm, kept.numbers.log(routes=("security",))])
    kept.ledger.settle(alarm.messages[0].key, [(1, 1)], utc_ms=1)  # read, and not ended
    kept.enter(2)
    kept.live(300)
    assert [event.id for event in kept.ledger.open_alarms()] == [alarm.event.id]
    assert sum(len(ranges) for ranges in kept.ledger.owed().values()) == 1
    assert kept.held() == [2]  # its stream's newest, whose hash the next one names


@pytest.mark.parametrize("utc_ms", [YEAR_1970_MS, YEAR_2099_MS])
@pytest.mark.parametrize("synchronised", [True, False])
def test_age_clock_that_jumps_moves_nothing_out(
    kept: Kept, utc_ms: int, *, synchronised: bool
) -> None:
    """Forward or back, believed or not, and back again: the entries of the week are all there."""
    kept.enter(5)
    kept.live(3)
    right_ms = kept.machine.utc_ms
    kept.machine.utc_ms, kept.machine.synchronised = utc_ms, synchronised
    kept.enter(5)
    kept.live(2)
    kept.machine.utc_ms, kept.machine.synchronised = right_ms + 2 * DAY_MS, True
    kept.enter(5)
    kept.live(1)
    assert kept.held() == list(range(1, 16))


def test_age_clock_that_jumps_again_and_again_while_it_runs_moves_nothing_out(kept: Kept) -> None:
    """Believed each time: what it has lived is seen on the other clock."""
    kept.enter(3)
    right_ms = kept.machine.utc_ms
    for _ in range(6):
        for utc_ms in (YEAR_2099_MS, right_ms):
            kept.machine.utc_ms = utc_ms
            kept.retain()
            kept.live(1)
    kept.enter()
    assert kept.held() == [1, 2, 3, 4]


def test_age_needs_no_more_marks_than_days_that_are_kept(kept: Kept, tmp_path: Path) -> None:
    for _ in range(3 * KEEP_MS // DAY_MS):
        kept.enter()
        kept.live(1)
    kept.ledger.close()
    db = apsw.Connection(str(tmp_path / "ledger.db"))
    assert 1 < db.execute("SELECT count(*) FROM mark").get <= KEEP_MS // DAY_MS + 2
    db.close()


@pytest.mark.parametrize("utc_ms", [YEAR_1970_MS, YEAR_2099_MS])
def test_age_entry_with_a_wrong_stamp_leaves_with_those_of_its_day(kept: Kept, utc_ms: int) -> None:
    """Not at once for being of 1970, and not never for being of 2099."""
    kept.enter()
    right_ms, kept.machine.utc_ms = kept.machine.utc_ms, utc_ms
    kept.enter()
    kept.machine.utc_ms = right_ms
    kept.enter()
    kept.live(99)
    assert kept.held() == [1, 2, 3]
    kept.enter()
    kept.live(2)
    assert kept.held() == [4]


def test_age_time_switched_off_counts_when_the_clock_is_right_at_both_ends(kept: Kept) -> None:
    kept.enter()
    kept.live(70)
    kept.machine.off(20)
    kept.machine.synchronised = False  # a machine without a clock learns the time a minute later
    kept.retain()
    kept.machine.synchronised = True
    kept.retain()
    kept.enter()
    kept.live(8)
    assert kept.held() == [1, 2]
    kept.live(3)
    assert kept.held() == [2]


def test_age_time_switched_off_counts_for_a_quarter_at_most(kept: Kept) -> None:
    """A clock that was wrong by decades, and synchronised, and is right after the next boot."""
    kept.enter(3)
    kept.live(1)
    for _ in range(2):
        kept.machine.off(19.7 * 365)
        kept.enter()
    assert kept.held() == [1, 2, 3, 4, 5]


def test_age_machine_that_never_knows_the_time_still_lets_entries_leave(kept: Kept) -> None:
    kept.machine.synchronised = False
    kept.enter()
    for _ in range(11):
        kept.machine.off(0)
        kept.machine.utc_ms = YEAR_1970_MS
        kept.live(10)
        kept.enter()
    assert kept.held()[0] > 1


def test_age_is_written_once_a_day(kept: Kept, tmp_path: Path) -> None:
    """The card is not worn for it: 24 looks a day, one of them writes."""
    kept.enter()
    wal = tmp_path / "ledger.db-wal"
    kept.ledger.tidy(idle=True)
    sizes = []
    for _ in range(72):
        kept.machine.pass_days(1 / 24)
        kept.retain()
        sizes.append(wal.stat().st_size)
    assert len(set(sizes)) <= 4


def test_age_new_entry_never_inherits_the_age_of_one_that_left(kept: Kept) -> None:
    """Entries nobody is owed leave to the very last, in a long holiday; the next ones are new."""
    kept.enter()
    kept.ledger.append([Entry(kept.numbers.event("access.door.granted"), ()) for _ in range(5)])
    kept.live(210)
    kept.enter(3)
    assert kept.held() == [2, 3, 4]


def test_age_damaged_entry_stays_and_keeps_no_other(kept: Kept, tmp_path: Path) -> None:
    """One whose numbers make no sense could be owed: it stays, and the others leave as ever."""
    kept.enter(4)
    kept.ledger.close()
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("UPDATE event SET keys = x'010203' WHERE number = 2")
    db.commit()
    db.close()
    kept.ledger = ledger_at(tmp_path / "ledger.db", start="0000000b")
    kept.live(102)
    assert kept.held() == [2, 4]
