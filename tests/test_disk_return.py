"""A ledger without a disk, or whose disk was taken away, goes on in what it finds in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.core.jws import digest
from gateway.core.message import Head
from gateway.core.model import Stream
from gateway.record.disk import ThreadedDisk
from gateway.record.entry import Entry, LedgerError
from gateway.record.ledger import Ledger
from simulators.disk.faulty import Fault, FaultyDisk
from tests.disk_cases import (
    BOTH,
    WITHIN_S,
    Kind,
    Told,
    ledger_at,
    mounted,
    opened,
    owed_messages,
    small_disk,
    until,
)
from tests.ledger_cases import BEGAN_UTC_MS, Numbers


def moved(ledger: Ledger) -> bool:
    """One look for what is in the ledger's place; True when it has moved there."""
    if not ledger.give_way():
        return False
    ledger.move_to(ledger.reopen())
    return True


def without_disk(folder: Path) -> Ledger:
    """A ledger in memory whose folder is still missing."""
    ledger = ledger_at(folder / "ledger.db", start="0000000b", fresh_id="0e0e0e0e")
    assert not ledger.durable
    return ledger


# --- from memory to a disk that is back ---------------------------------------------------------


def test_return_to_an_empty_disk_brings_all_that_was_recorded(tmp_path: Path) -> None:
    """Owed, settled, open, proved, kept: under the same numbers, and the next start goes on."""
    folder = tmp_path / "disk"
    ledger = without_disk(folder)
    numbers = Numbers(ledger.identity)
    entries = [numbers.alarm(), numbers.log(), numbers.alarm()]
    ledger.append(entries)
    ledger.settle(entries[0].messages[0].key, [(1, 1)], utc_ms=1)
    ledger.keep({"count hub/input-1": "5"})
    before = (ledger.owed(), ledger.open_alarms(), ledger.holders(), ledger.last_proved())
    folder.mkdir()
    assert moved(ledger)
    assert (ledger.durable, ledger.trouble) == (True, None)
    found = ledger.take_found()
    assert found is not None
    assert (found.owed, found.open_events, found.lost) == ({}, (), 0)
    assert ledger.take_found() is None
    ledger.append([numbers.alarm()])
    me = ledger.identity
    ledger.close()
    again = ledger_at(folder / "ledger.db", start="0000000c")
    assert (again.identity.ledger, again.identity.epoch) == (me.ledger, 2)
    assert again.kept() == {"count hub/input-1": "5"}
    last = numbers.alarm()
    after = (again.owed(), again.open_alarms(), again.holders(), again.last_proved())
    assert after[0][entries[0].messages[0].key] == [(2, 3)]
    assert set(after[0]) == set(before[0])
    assert after[1][:2] == before[1]
    assert again.read(entries[0].messages[0].key, 1, 2) == [
        entries[0].messages[0],
        entries[2].messages[0],
    ]
    assert last.messages[0].sequence == 4
    again.close()


def test_return_to_the_old_ledger_keeps_both_apart_and_owes_both(tmp_path: Path) -> None:
    """The disk was missing at the start and holds what was owed before: nothing is mixed up."""
    folder = tmp_path / "disk"
    folder.mkdir()
    old = ledger_at(folder / "ledger.db")
    before = Numbers(old.identity, prefix="old")
    told = [before.alarm(), before.log()]
    old.append(told)
    old.close()
    folder.rename(tmp_path / "unplugged")
    ledger = without_disk(folder)
    numbers = Numbers(ledger.identity, prefix="memory")
    entries = [numbers.alarm(), numbers.alarm()]
    ledger.append(entries)
    (tmp_path / "unplugged").rename(folder)
    assert moved(ledger)
    found = ledger.take_found()
    assert found is not None
    assert {key.ledger for key in found.owed} == {"1ed9e700"}
    assert [event.id for event in found.open_events] == [told[0].event.id]
    assert found.holders == {told[0].event.id: ["security", "case"]}
    assert list(found.owed_alarms) == list(told[0].messages)
    ledger.append([numbers.alarm()])
    assert ledger.settle(told[0].messages[0].key, [(1, 1)], utc_ms=1) == 1
    assert ledger.settle(entries[0].messages[0].key, [(1, 2)], utc_ms=1) == 2
    ledger.close()
    again = ledger_at(folder / "ledger.db", start="0000000c")
    assert (again.identity.ledger, again.identity.epoch) == ("1ed9e700", 2)
    owed = again.owed()
    assert {(key.ledger, key.route, key.stream): ranges for key, ranges in owed.items()} == {
        ("1ed9e700", "case", Stream.ALARM): [(1, 1)],
        ("1ed9e700", "security", Stream.LOG): [(1, 1)],
        ("1ed9e700", "case", Stream.LOG): [(1, 1)],
        ("0e0e0e0e", "security", Stream.ALARM): [(3, 3)],
        ("0e0e0e0e", "case", Stream.ALARM): [(1, 3)],
    }
    assert len(again.open_alarms()) == 4
    # the old ledger's chain goes on where that ledger ended
    assert again.heads()["security", Stream.ALARM] == Head(
        0, digest(told[0].messages[0].token), (1, 1)
    )
    again.close()


def test_return_that_fails_half_way_is_tried_again_and_doubles_nothing(tmp_path: Path) -> None:
    """For every n: the n-th call of the move fails; in memory nothing is lost meanwhile."""
    disk = FaultyDisk()
    n, reached = 0, True
    while reached:
        n += 1
        folder = tmp_path / f"{n}"
        ledger = ledger_at(folder / "ledger.db", fresh_id="0e0e0e0e", vfs=disk.name)
        numbers = Numbers(ledger.identity)
        entries = [numbers.alarm(), numbers.log(), numbers.alarm()]
        ledger.append(entries)
        folder.mkdir()
        disk.fail(Fault.IO_ERROR, at=n)
        end = disk.count + n
        try:
            moved(ledger)
        except Exception:  # noqa: BLE001 -- whatever it is, the ledger must be what it was
            assert not ledger.durable
        reached = disk.count >= end
        disk.heal()
        ledger.append(entries)
        if not ledger.durable:
            assert moved(ledger), n
        ledger.append(entries)
        ledger.close()
        again = ledger_at(folder / "ledger.db", start="0000000c")
        assert again.durable
        assert again.set_aside is None
        held = owed_messages(again)
        assert sorted(m.token for m in held) == sorted(
            m.token for entry in entries for m in entry.messages
        )
        again.close()
    disk.close()
    assert n > 20


def test_return_from_a_disk_that_was_mounted_read_only(tmp_path: Path) -> None:
    """What it owes cannot be had until it is writable: its epoch could not be committed."""
    with small_disk(tmp_path / "disk", kib=2_048) as folder:
        old = ledger_at(folder / "ledger.db")
        old.append([Numbers(old.identity).alarm()])
        old.close()
        assert mounted(["mount", "-o", "remount,ro", str(folder)])
        ledger = ledger_at(folder / "ledger.db", start="0000000b", fresh_id="0e0e0e0e")
        assert not ledger.durable
        assert ledger.trouble is not None
        ledger.append([Numbers(ledger.identity).alarm()])
        with pytest.raises(LedgerError):
            moved(ledger)
        assert mounted(["mount", "-o", "remount,rw", str(folder)])
        assert moved(ledger)
        found = ledger.take_found()
        assert found is not None
        assert len(found.owed) == 2
        assert len(owed_messages(ledger)) == 4
        ledger.close()


# --- a disk that is taken away ------------------------------------------------------------------


def test_return_after_the_file_was_deleted_brings_what_is_owed(tmp_path: Path) -> None:
    """The open file can still be read: a new ledger takes it over before anything is lost."""
    path = tmp_path / "ledger.db"
    ledger = ledger_at(path, fresh_id="0e0e0e0e")
    ledger.close()
    ledger = ledger_at(path, start="0000000b", fresh_id="0f0f0f0f")
    numbers = Numbers(ledger.identity)
    entries = [numbers.alarm() for _ in range(5)]
    ledger.append(entries)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(Exception, match="not there any more"):
        ledger.append([numbers.alarm()])
    assert moved(ledger)
    found = ledger.take_found()
    assert found is not None
    assert (found.lost, found.owed) == (0, {})
    ledger.append([numbers.alarm()])
    ledger.close()
    again = ledger_at(path, start="0000000c")
    # a new ledger: centres learn it from its first message
    assert (again.identity.ledger, again.identity.epoch) == ("0f0f0f0f", 1)
    assert {key.ledger for key in again.owed()} == {"0e0e0e0e"}
    assert len(owed_messages(again)) == 12
    assert len(again.open_alarms()) == 6
    assert again.heads() == {}
    again.close()


def test_return_from_a_disk_that_cannot_be_read_any_more_says_what_is_lost(tmp_path: Path) -> None:
    """Taken away and dead: nothing comes along, and that is said instead of tried for ever."""
    disk = FaultyDisk()
    path = tmp_path / "ledger.db"
    ledger = ledger_at(path, fresh_id="0e0e0e0e", vfs=disk.name)
    numbers = Numbers(ledger.identity, token_bytes=2_000)
    for _ in range(30):  # far more than SQLite keeps in memory
        ledger.append([numbers.alarm() for _ in range(40)])
    path.rename(tmp_path / "taken.db")
    assert ledger.give_way()
    had = ledger.reopen()
    disk.fail(Fault.IO_ERROR, times=None, operations=frozenset({"read"}))
    ledger.move_to(had)
    disk.heal()
    found = ledger.take_found()
    assert found is not None
    assert found.lost is None or found.lost > 1_000
    ledger.append([numbers.alarm()])
    ledger.close()
    disk.close()
    again = ledger_at(path, start="0000000c")
    assert len(again.open_alarms()) < 500
    again.close()


def test_return_to_a_disk_swapped_for_an_older_one_never_gives_a_number_twice(
    tmp_path: Path,
) -> None:
    """A restored copy of the same ledger learns this start, and what is over since."""
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    first = ledger_at(path)
    over = Numbers(first.identity, prefix="over")
    alarm = over.alarm()
    first.append([alarm])
    first.close()
    copy.write_bytes(path.read_bytes())
    ledger_at(path, start="0000000b").close()
    ledger = ledger_at(path, start="0000000c")
    for message in alarm.messages:
        ledger.settle(message.key, [(1, 1)], utc_ms=1)
    cleared = Numbers(ledger.identity, prefix="end").event(
        "alarm.panic.cleared", alarm=alarm.event.id
    )
    ledger.append([Entry(cleared, ())])
    assert ledger.identity.epoch == 3
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.alarm()])
    path.unlink()
    Path(f"{path}-wal").unlink()
    copy.rename(path)
    assert moved(ledger)
    found = ledger.take_found()
    assert found is not None
    assert (found.owed, found.open_events) == ({}, ())
    ledger.append([numbers.alarm()])
    assert len(ledger.open_alarms()) == 2  # the one that is over is not open again
    ledger.close()
    again = ledger_at(path, start="0000000d")
    assert (again.identity.ledger, again.identity.epoch) == (first.identity.ledger, 4)
    assert len(owed_messages(again)) == 4
    again.close()


# --- through the writers ------------------------------------------------------------------------


@BOTH
def test_return_is_found_by_the_writer_itself_and_told_once(tmp_path: Path, kind: Kind) -> None:
    """No disk at the start, some alarms later it is there: told once, with everything on it."""

    async def scenario() -> None:
        told, folder = Told(), tmp_path / "disk"
        writer, ledger = await opened(kind, folder / "ledger.db", told)
        numbers = Numbers(ledger.identity)
        entries = [numbers.alarm() for _ in range(20)]
        for entry in entries[:10]:
            await writer.append(entry)
        folder.mkdir()
        await until(lambda: told.words == ["recovered"])
        for entry in entries[10:]:
            await writer.append(entry)
        assert await writer.stop(within_s=WITHIN_S)
        assert told.words == ["recovered"]
        again = ledger_at(folder / "ledger.db", start="0000000c")
        assert len(owed_messages(again)) == 40
        again.close()

    asyncio.run(scenario())


@BOTH
def test_return_after_the_disk_was_swapped_under_the_writer(tmp_path: Path, kind: Kind) -> None:
    """Taken away in the middle: told, found again empty, everything owed comes along."""

    async def scenario() -> None:
        told, folder = Told(), tmp_path / "disk"
        folder.mkdir()
        writer, ledger = await opened(kind, folder / "ledger.db", told)
        numbers = Numbers(ledger.identity)
        for _ in range(10):
            await writer.append(numbers.alarm())
        folder.rename(tmp_path / "taken")
        waiting = [writer.append(numbers.alarm()) for _ in range(3)]
        await until(lambda: told.words == ["gone"])
        assert not any(future.done() for future in waiting)
        folder.mkdir()
        await until(lambda: told.words == ["gone", "recovered"])
        await asyncio.gather(*waiting)
        assert await writer.stop(within_s=WITHIN_S)
        again = ledger_at(folder / "ledger.db", start="0000000c")
        assert len(owed_messages(again)) == 26
        again.close()

    asyncio.run(scenario())


def test_return_never_waits_for_a_disk_that_hangs(tmp_path: Path) -> None:
    """Opening hangs at the start: memory serves, and the disk is taken when it answers."""

    async def scenario() -> None:
        told, disk = Told(), FaultyDisk()
        path = tmp_path / "ledger.db"
        threaded = ThreadedDisk(str(path), vfs=disk.name, within_s=0.05)
        with disk.syncs_held():
            writer, ledger = await threaded.open(
                start="0000000b",
                fresh_id="0e0e0e0e",
                boot="b0070000",
                utc_ms=BEGAN_UTC_MS,
                on_trouble=told.trouble,
                on_recovered=told.recovered,
            )
            assert not ledger.durable
            numbers = Numbers(ledger.identity)
            for _ in range(5):
                async with asyncio.timeout(5):
                    await writer.append(numbers.alarm())
        await until(lambda: told.words == ["recovered"])
        assert await writer.stop(within_s=WITHIN_S)
        again = ledger_at(path, start="0000000c")
        assert len(owed_messages(again)) == 10
        again.close()
        disk.close()

    asyncio.run(scenario())


@BOTH
def test_return_gives_no_readable_file_up_for_failing_writes(tmp_path: Path, kind: Kind) -> None:
    """Read-only for a long while: what is owed is read all the time, and then written again."""

    async def scenario() -> None:
        told, disk, path = Told(), FaultyDisk(), tmp_path / "ledger.db"
        writer, ledger = await opened(kind, path, told, vfs=disk.name)
        numbers = Numbers(ledger.identity)
        entry = numbers.alarm()
        await writer.append(entry)
        disk.fail(Fault.READ_ONLY, times=None, operations=frozenset({"write", "sync", "truncate"}))
        late = writer.append(numbers.alarm())
        await until(lambda: told.words == ["read-only"])
        assert not ledger.give_way()
        key = entry.messages[0].key
        assert await writer.read(key, 1, 1) == [entry.messages[0]]
        disk.heal()
        await late
        await until(lambda: told.words == ["read-only", "recovered"])
        assert await writer.stop(within_s=WITHIN_S)
        disk.close()

    asyncio.run(scenario())
