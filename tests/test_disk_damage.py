"""A page that makes no sense, found at a start or late: what can be read is saved, and told."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from gateway.core.model import Message
from gateway.record.entry import LedgerError
from gateway.record.ledger import Ledger
from gateway.restart import held_by
from tests.disk_cases import BOTH, WITHIN_S, Kind, Told, ledger_at, opened, owed_messages, until
from tests.ledger_cases import Numbers

PAGE_BYTES = 4_096


def filled(path: Path, *, alarms: int = 200) -> list[Message]:
    """A closed ledger that owes so many alarms on one route; what it owes."""
    ledger = ledger_at(path)
    numbers = Numbers(ledger.identity, token_bytes=900)
    entries = [numbers.alarm(routes=("security",)) for _ in range(alarms)]
    ledger.append(entries)
    ledger.close()
    return [message for entry in entries for message in entry.messages]


def leaves(path: Path, table: str) -> list[int]:
    """The page numbers of a table's leaves, in order."""
    import apsw  # noqa: PLC0415 -- the only one here that looks into the file

    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    pages = [
        page
        for (page,) in db.execute(
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (table,)
        )
    ]
    db.close()
    return pages


def spoil(path: Path, page: int) -> None:
    """Overwrite a page with what no SQLite ever wrote."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(random.Random(page).randbytes(PAGE_BYTES))


def test_damage_at_a_start_costs_only_what_is_on_the_page(tmp_path: Path) -> None:
    """Set aside and replaced, and the alarms that can be read are owed on under their numbers."""
    path = tmp_path / "ledger.db"
    owed = filled(path)
    spoil(path, leaves(path, "message")[10])
    ledger = ledger_at(path, start="0000000b", fresh_id="0e0e0e0e")
    assert ledger.set_aside is not None
    assert (ledger.identity.ledger, ledger.identity.epoch) == ("0e0e0e0e", 1)
    saved = owed_messages(ledger)
    assert set(saved) < set(owed)
    assert 190 <= len(saved) < 200
    assert ledger.lost == 200 - len(saved)
    assert len(ledger.open_alarms()) == 200
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
    again = ledger_at(path, start="0000000c")
    assert (again.set_aside, again.identity.epoch) == (None, 2)
    assert set(owed_messages(again)) >= set(saved)
    again.close()


@pytest.mark.parametrize("table", ["kept", "proved", "open_fault", "open_alarm", "owed"])
def test_damage_to_what_every_start_asks_shows_while_it_can_be_set_aside(
    tmp_path: Path, table: str
) -> None:
    """A ledger that opens can be asked all that a start asks: or no start would ever succeed."""
    path = tmp_path / "ledger.db"
    filled(path, alarms=5)
    with sqlite3.connect(path) as plain:
        plain.execute(f"DROP TABLE {table}")
    plain.close()
    ledger = ledger_at(path, start="0000000b", fresh_id="0e0e0e0e")
    assert ledger.set_aside is not None
    assert held_by(ledger).identity.ledger == "0e0e0e0e"
    ledger.close()


def test_damage_beyond_reading_is_told_as_a_loss_of_unknown_size(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    filled(path)
    with path.open("r+b") as file:
        file.write(b"this is no database" * 300)
    ledger = ledger_at(path, start="0000000b", fresh_id="0e0e0e0e")
    assert ledger.set_aside is not None
    assert ledger.lost is None
    assert ledger.owed() == {}
    ledger.close()


@pytest.mark.parametrize("seed", range(30))
def test_damage_anywhere_never_brings_in_what_was_never_owed(tmp_path: Path, seed: int) -> None:
    """Whatever page is spoiled: a start, a ledger that works, nothing invented."""
    path, dice = tmp_path / "ledger.db", random.Random(seed)
    owed = {(m.key, m.sequence): m.token for m in filled(path, alarms=60)}
    used = len(path.read_bytes().rstrip(b"\0")) // PAGE_BYTES
    for _ in range(dice.choice([1, 1, 3])):
        spoil(path, dice.randrange(1, used + 1))
    ledger = ledger_at(path, start="0000000b", fresh_id="0e0e0e0e")
    for message in owed_messages(ledger):
        assert owed[message.key, message.sequence] == message.token
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
    again = ledger_at(path, start="0000000c")
    assert (again.durable, again.set_aside) == (True, None)
    again.close()


@BOTH
def test_damage_found_late_is_told_and_the_rest_carried_on(tmp_path: Path, kind: Kind) -> None:
    """A page beyond the start's check goes bad under the running ledger."""
    path = tmp_path / "ledger.db"
    owed = filled(path)
    page = leaves(path, "message")[20]

    async def scenario() -> None:
        told = Told()
        writer, ledger = await opened(kind, path, told)
        spoil(path, page)
        assert not await writer.call(Ledger.give_way)  # it still reads; its pages are read anew
        numbers = Numbers(ledger.identity)
        await writer.append(numbers.alarm())
        with pytest.raises(LedgerError, match="corrupt"):
            await writer.read(owed[0].key, 1, 200)
        await until(lambda: told.words == ["corrupt", "recovered"])
        found = await writer.call(Ledger.take_found)
        assert found is not None
        assert found.aside is not None
        assert found.lost is not None
        assert 1 <= found.lost <= 10
        assert found.aside.startswith(f"{path}.corrupt-")
        await writer.append(numbers.alarm())
        held = await writer.call(owed_messages)
        assert len(held) == 200 - found.lost + 4
        assert await writer.stop(within_s=WITHIN_S)
        assert told.words == ["corrupt", "recovered"]
        again = ledger_at(path, start="0000000c")
        assert (again.set_aside, again.identity.ledger) == (None, "0e0e0e0e")
        assert len(owed_messages(again)) == len(held)
        assert len(again.open_alarms()) == 202
        again.close()

    asyncio.run(scenario())


@BOTH
def test_damage_to_what_every_alarm_writes_costs_no_alarm(tmp_path: Path, kind: Kind) -> None:
    """The table of debts itself: an alarm that could not be written is written to the new file."""
    path = tmp_path / "ledger.db"
    filled(path, alarms=3)

    async def scenario() -> None:
        told = Told()
        writer, ledger = await opened(kind, path, told)
        with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as plain:
            query = "SELECT rootpage FROM sqlite_schema WHERE name = 'owed'"
            (page,) = plain.execute(query).fetchone()
        plain.close()
        spoil(path, page)
        assert not await writer.call(Ledger.give_way)  # it still reads; its pages are read anew
        numbers = Numbers(ledger.identity)
        await writer.append(numbers.alarm())
        await until(lambda: told.words == ["corrupt", "recovered"])
        assert await writer.stop(within_s=WITHIN_S)
        again = ledger_at(path, start="0000000c")
        assert len(again.open_alarms()) == 4
        assert len(owed_messages(again)) == 2
        again.close()

    asyncio.run(scenario())
