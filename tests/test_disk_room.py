"""A ledger stays within its share of the disk: the oldest settled leave, debts never."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.core.model import Stamp, StreamKey
from gateway.record.entry import LedgerError, StorageTrouble
from gateway.record.file import WAL_PAGES_MAX
from gateway.record.leaving import Dropped
from gateway.record.ledger import Ledger
from gateway.record.room import Limits
from tests.disk_cases import (
    BOTH,
    WITHIN_S,
    Filler,
    Kind,
    Machine,
    Told,
    ledger_at,
    opened,
    owed_messages,
    small_disk,
    tidied,
    until,
)
from tests.ledger_cases import Numbers

MIB = 1 << 20
SMALL = Limits(max_bytes=MIB, free_share=0.0, least_bytes=0)


class Grown:
    """A ledger in a small room, and what was entered."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.ledger: Ledger = ledger_at(path, limits=limits)
        self.numbers = Numbers(self.ledger.identity, token_bytes=900)
        self.log: StreamKey = self.numbers.key("case", "access.door.granted")
        self.alarms: StreamKey = self.numbers.key("case", "alarm.panic.raised")

    def enter(self, count: int, *, alarms: bool = False, settle: bool = False) -> None:
        """In batches, with the housekeeping between, as the writer does."""
        for first in range(0, count, 50):
            make = self.numbers.alarm if alarms else self.numbers.log
            self.ledger.append([make(routes=("case",)) for _ in range(min(50, count - first))])
            if settle:
                self.settle()
            self.ledger.tidy(idle=True)
        tidied(self.ledger)

    def settle(self) -> None:
        """Everything is receipted."""
        for key in (self.log, self.alarms):
            self.ledger.settle(key, [(1, 1 << 30)], utc_ms=1)

    def held(self, key: StreamKey) -> list[int]:
        """The numbers of a stream that are there."""
        return [message.sequence for message in self.ledger.read(key, 1, 1 << 30)]

    def size(self) -> int:
        """The file as anybody sees it, with its chunk of reserve, without its WAL."""
        return self.path.stat().st_size


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Grown]:
    grown = Grown(tmp_path / "ledger.db", SMALL)
    yield grown
    grown.ledger.close()


def test_room_oldest_settled_leave_and_the_file_stays_small(grown: Grown) -> None:
    grown.enter(6_000, settle=True)
    assert grown.size() <= MIB
    held = grown.held(grown.log)
    assert held[-1] == 6_000
    assert held == list(range(held[0], 6_001))
    assert 300 <= len(held) <= 1_000
    assert grown.ledger.dropped.count == 0


def test_room_owed_alarms_stay_whatever_they_weigh(grown: Grown) -> None:
    grown.enter(3_000, alarms=True)
    assert grown.size() > 2 * MIB
    assert grown.held(grown.alarms) == list(range(1, 3_001))
    assert grown.ledger.owed() == {grown.alarms: [(1, 3_000)]}
    assert len(grown.ledger.open_alarms()) == 3_000
    assert grown.ledger.dropped.take() == []


def test_room_file_becomes_small_again_after_a_long_outage(grown: Grown) -> None:
    grown.enter(10, settle=True)
    large = Grown(grown.path.with_name("large.db"), Limits(least_bytes=0, free_share=0.0))
    large.enter(6_000)
    assert large.size() > 5 * MIB
    large.ledger.close()
    again = Grown(large.path, SMALL)
    again.ledger.settle(large.log, [(1, 6_000)], utc_ms=1)
    again.ledger.retain(_now(), keep_ms=1 << 40)
    tidied(again.ledger)
    assert again.size() <= MIB
    assert again.ledger.read(large.log, 6_000, 6_000)
    again.ledger.close()
    assert again.size() <= MIB


def test_room_log_is_given_up_only_when_all_that_is_left_is_owed(grown: Grown) -> None:
    """An outage of months: of the log the oldest go, counted and named; the alarms stay."""
    grown.enter(200, alarms=True, settle=True)
    grown.enter(100, alarms=True)
    grown.enter(3_000)
    held = grown.held(grown.log)
    lost = held[0] - 1
    assert grown.size() <= MIB
    assert held == list(range(lost + 1, 3_001))
    assert grown.ledger.owed()[grown.log] == [(lost + 1, 3_000)]
    assert grown.held(grown.alarms)[-100:] == list(range(201, 301))
    assert grown.ledger.owed()[grown.alarms] == [(201, 300)]
    assert grown.ledger.dropped.count == lost
    assert grown.ledger.dropped.take() == [Dropped(grown.log, 1, lost, lost)]
    assert grown.ledger.dropped.take() == []


def test_room_settled_entries_are_all_gone_before_any_log_is_given_up(grown: Grown) -> None:
    grown.enter(400, settle=True)
    grown.enter(500)
    assert grown.ledger.dropped.count == 0
    assert grown.ledger.owed() == {grown.log: [(401, 900)]}


def test_room_wal_stays_bounded_however_much_is_written(tmp_path: Path) -> None:
    """A storm without a quiet second: 40 MB go through it."""
    grown = Grown(tmp_path / "ledger.db", Limits())
    largest = 0
    wal = Path(f"{grown.path}-wal")
    for _ in range(160):
        grown.ledger.append([grown.numbers.alarm() for _ in range(100)])
        grown.ledger.tidy(idle=False)
        largest = max(largest, wal.stat().st_size)
    assert largest <= (WAL_PAGES_MAX + 500) * 4_120
    grown.ledger.tidy(idle=True)
    grown.ledger.close()


def test_room_other_programs_are_left_their_share_of_the_disk(tmp_path: Path) -> None:
    """Others fill the disk beyond nine tenths: settled entries go, down to what is ours anyway."""
    with small_disk(tmp_path / "disk", kib=16 * 1024) as folder:
        limits = Limits(max_bytes=8 * MIB, free_share=0.1, least_bytes=2 * MIB)
        grown = Grown(folder / "ledger.db", limits)
        grown.enter(5_000, settle=True)
        assert grown.size() > 5 * MIB
        disk = os.statvfs(folder)
        spare = disk.f_bavail * disk.f_frsize - 2 * MIB // 5
        (folder / "others").write_bytes(bytes(spare))
        grown.ledger.retain(_now(), keep_ms=1 << 40)
        tidied(grown.ledger)
        assert 3 * MIB // 2 <= grown.size() <= 5 * MIB
        disk = os.statvfs(folder)
        assert disk.f_bavail >= disk.f_blocks // 10
        assert grown.held(grown.log)[-1] == 5_000
        grown.ledger.close()


def test_room_settled_entries_make_way_when_not_a_byte_is_left(tmp_path: Path) -> None:
    """A full disk and a year of settled entries: the alarm is recorded, not refused."""
    with small_disk(tmp_path / "disk", kib=4 * 1024) as folder:
        grown, filler = Grown(folder / "ledger.db", Limits()), Filler(folder)
        grown.enter(1_000, settle=True)
        filler.fill()
        grown.enter(200, alarms=True)
        assert grown.ledger.owed() == {grown.alarms: [(1, 200)]}
        assert grown.held(grown.log)[-1] == 1_000
        filler.go()
        grown.ledger.close()
        again = ledger_at(grown.path, start="0000000b")
        assert again.durable
        assert len(owed_messages(again)) == 200
        again.close()


def test_room_full_disk_that_holds_only_debts_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=1_024) as folder:
        grown = Grown(folder / "ledger.db", Limits())
        with pytest.raises(LedgerError) as caught:
            grown.enter(3_000, alarms=True)
        assert caught.value.reason is StorageTrouble.FULL
        owed = owed_messages(grown.ledger)
        assert [message.sequence for message in owed] == list(range(1, len(owed) + 1))
        with suppress(LedgerError):  # there is no room for what is in the WAL
            grown.ledger.close()


def _now() -> Stamp:
    return Machine().now


@BOTH
def test_room_that_is_there_again_takes_everything_that_waited(tmp_path: Path, kind: Kind) -> None:
    """A full disk under the real writers: what is not on it is not acknowledged, then all is."""

    async def scenario(folder: Path) -> None:
        told, filler = Told(), Filler(folder)
        writer, ledger = await opened(kind, folder / "ledger.db", told)
        numbers = Numbers(ledger.identity, token_bytes=900)
        await writer.append(numbers.alarm())
        filler.fill()
        waiting = [writer.append(numbers.alarm()) for _ in range(600)]
        await until(lambda: told.words == ["full"])
        on_disk = sum(future.done() for future in waiting)
        assert on_disk < 600
        assert writer.backlog == 600 - on_disk
        filler.go()
        await asyncio.gather(*waiting)
        await until(lambda: told.words == ["full", "recovered"])
        assert writer.dropped == 0
        assert await writer.stop(within_s=WITHIN_S)
        again = ledger_at(folder / "ledger.db", start="0000000c")
        assert len(again.open_alarms()) == 601
        again.close()

    with small_disk(tmp_path / "disk", kib=16 * 1024) as folder:
        asyncio.run(scenario(folder))
