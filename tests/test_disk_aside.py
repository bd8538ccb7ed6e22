"""A corrupt file is read to the end, whatever cuts its reading off, and then kept within bounds."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from gateway.record.aside import EVIDENCE_MAX
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin, opened
from gateway.record.room import Place
from gateway.record.writer import ThreadWriter
from tests.disk_cases import Told, ledger_at, owed_messages, until
from tests.ledger_cases import BEGAN_UTC_MS, Numbers
from tests.test_disk_damage import filled, leaves, spoil

NEXT = Begin("0000000b", "0e0e0e0e", "b0070000", BEGAN_UTC_MS)


def spoiled(path: Path) -> set[bytes]:
    """A ledger with a page that makes no sense; the tokens that can still be read and are owed."""
    owed = filled(path)
    spoil(path, leaves(path, "message")[10])
    copy = path.parent / "copy"
    copy.mkdir()
    shutil.copy(path, copy / path.name)
    whole = ledger_at(copy / path.name, start="0000000b", fresh_id="0e0e0e0e")
    saved = {message.token for message in owed_messages(whole)}
    whole.close()
    shutil.rmtree(copy)
    assert 190 <= len(saved) < len(owed)
    return saved


def cut_before_a_new_file(path: Path) -> None:
    """Moved aside, and the power fails."""
    path.rename(f"{path}.aside-77")


def cut_after_the_wal(path: Path) -> None:
    """Only its WAL was moved."""
    Path(f"{path}.aside-77-wal").write_bytes(b"")


def cut_before_the_reading(path: Path) -> None:
    """A new file is in its place, laid out and empty."""
    had = opened(Place(str(path)), NEXT, lambda file: file)
    assert had.aside is not None
    had.taken.close()


@pytest.mark.parametrize("cut", [cut_before_a_new_file, cut_after_the_wal, cut_before_the_reading])
def test_corrupt_file_is_read_by_the_next_start_when_one_was_cut_off(
    tmp_path: Path, cut: object
) -> None:
    path = tmp_path / "ledger.db"
    saved = spoiled(path)
    assert callable(cut)
    cut(path)
    ledger = ledger_at(path, start="0000000c", fresh_id="0c0c0c0c")
    assert {message.token for message in owed_messages(ledger)} == saved
    assert ledger.lost == 200 - len(saved)
    assert ledger.set_aside is not None
    assert ledger.set_aside.startswith(f"{path}.corrupt-")
    ledger.close()
    again = ledger_at(path, start="0000000d")
    assert (again.set_aside, again.lost) == (None, 0)
    again.close()


def test_corrupt_file_is_read_again_when_the_disk_failed_meanwhile(tmp_path: Path) -> None:
    """Not a byte was left for what it owes: the next start has room."""
    path = tmp_path / "ledger.db"
    saved = spoiled(path)
    had = opened(Place(str(path)), NEXT, lambda file: file)
    had.taken.close()
    aside = Path(f"{path}.aside-{BEGAN_UTC_MS}")
    hidden = aside.rename(tmp_path / "hidden")
    aside.mkdir()  # what can be opened as little as a file on a disk that is ill
    ledger = ledger_at(path, start="0000000c")
    assert (ledger.set_aside, ledger.lost) == (str(aside), None)
    ledger.close()
    aside.rmdir()
    hidden.rename(aside)
    ledger = ledger_at(path, start="0000000d")
    assert {message.token for message in owed_messages(ledger)} == saved
    ledger.close()


def test_corrupt_file_read_twice_owes_nothing_twice(tmp_path: Path) -> None:
    """The power failed between the reading and the renaming, and something was settled since."""
    path = tmp_path / "ledger.db"
    saved = spoiled(path)
    ledger = ledger_at(path, start="0000000b", fresh_id="0e0e0e0e")
    assert ledger.set_aside is not None
    ledger.close()
    Path(ledger.set_aside).rename(f"{path}.aside-77")
    again = ledger_at(path, start="0000000c")
    tokens = [message.token for message in owed_messages(again)]
    assert (len(tokens), set(tokens)) == (len(saved), saved)
    again.close()


def test_corrupt_files_do_not_fill_a_card_that_dies_slowly(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for number in range(EVIDENCE_MAX + 3):
        path.write_bytes(b"%d" % number * 100)
        ledger_at(path, start="0000000b", fresh_id=f"{number:08x}").close()
    kept = sorted(path.parent.glob("ledger.db.corrupt-*"))
    assert len(kept) == EVIDENCE_MAX
    newest = [b"%d" % number * 100 for number in range(3, EVIDENCE_MAX + 3)]
    assert sorted(file.read_bytes() for file in kept) == newest


def test_corrupt_file_a_slow_start_has_set_aside_is_told_and_owed(tmp_path: Path) -> None:
    """The disk took too long to open: what that thread found corrupt and saved is not passed over.

    A card that dies is slow and corrupt at once.
    """
    path, go = tmp_path / "ledger.db", threading.Event()
    saved = spoiled(path)
    told = Told()

    def slow() -> Ledger:
        assert go.wait(20)
        return Ledger.at(Place(str(path)), NEXT)

    async def scenario() -> None:
        writer = ThreadWriter(
            slow,
            memory_open=lambda: Ledger.without(Place(str(path)), NEXT, trouble="silent"),
            on_trouble=told.trouble,
            on_recovered=told.recovered,
            retry_ms=20,
        )
        ledger = await writer.start(within_s=0.01)
        assert not ledger.durable
        numbers = Numbers(ledger.identity)
        await writer.append(numbers.alarm())
        go.set()
        await until(lambda: "recovered" in told.words)
        found = await writer.call(Ledger.take_found)
        assert found is not None
        assert found.aside is not None
        assert found.lost == 200 - len(saved)
        assert len(found.owed_alarms) == len(saved)
        held = {message.token for message in await writer.call(owed_messages)}
        assert held >= saved
        assert len(held) == len(saved) + 2
        assert await writer.stop(within_s=20)

    asyncio.run(scenario())


def test_corrupt_file_found_when_the_disk_comes_back_is_read_and_owed(tmp_path: Path) -> None:
    """The gateway runs in memory, and what stands in the ledger's place then makes no sense."""
    path = tmp_path / "disk" / "ledger.db"
    path.parent.mkdir()
    saved = spoiled(path)
    path.parent.rename(tmp_path / "away")
    ledger = Ledger.without(Place(str(path)), NEXT, trouble="no disk")
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.alarm()])
    (tmp_path / "away").rename(path.parent)
    assert ledger.give_way()
    ledger.move_to(ledger.reopen())
    found = ledger.take_found()
    assert found is not None
    assert (found.lost, len(found.owed_alarms)) == (200 - len(saved), len(saved))
    assert {message.token for message in owed_messages(ledger)} >= saved
    ledger.close()


def test_older_copy_of_a_ledger_keeps_what_only_it_can_know(tmp_path: Path) -> None:
    """Another card of this gateway ran on by itself: what that one owes is not struck off."""
    path, twin = tmp_path / "card" / "ledger.db", tmp_path / "twin" / "ledger.db"
    path.parent.mkdir()
    first = ledger_at(path)
    settled = Numbers(first.identity).alarm()
    first.append([settled])
    first.close()
    shutil.copytree(path.parent, twin.parent)
    other = ledger_at(twin, start="0000000e")
    theirs = Numbers(other.identity, prefix="t").alarm()
    other.append([theirs])
    other.close()
    ledger = ledger_at(path, start="0000000f")
    for message in settled.messages:
        ledger.settle(message.key, [(1, 1)], utc_ms=1)
    mine = Numbers(ledger.identity, prefix="m").alarm()
    ledger.append([mine])
    path.parent.rename(tmp_path / "pulled out")
    twin.parent.rename(path.parent)
    assert ledger.give_way()
    ledger.move_to(ledger.reopen())
    assert set(owed_messages(ledger)) == {*theirs.messages, *mine.messages}
    ledger.close()
