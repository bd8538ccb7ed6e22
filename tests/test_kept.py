"""What outlives a restart beside the events: names, newest values, and files of an older number."""

from __future__ import annotations

import sqlite3
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.model import Stream, StreamKey
from gateway.record.entry import LedgerError, body_of
from simulators.disk.faulty import Fault, FaultyDisk
from tests.ledger_cases import Numbers, open_ledger


def test_kept_names_hold_their_newest_value_through_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first = open_ledger(path)
    first.keep({"count hub/input-1": "5", "identity hub": '"WBMCM8"'})
    first.keep({"count hub/input-1": "6"})
    first.close()
    again = open_ledger(path)
    assert again.kept() == {"count hub/input-1": "6", "identity hub": '"WBMCM8"'}
    again.close()


def test_kept_value_is_on_disk_with_its_event_or_not_at_all(tmp_path: Path) -> None:
    """The counter an alarm was counted from: half of it would lose or double a press."""
    path = tmp_path / "ledger.db"
    disk = FaultyDisk()
    ledger = open_ledger(path, vfs=disk.name)
    ledger.keep({"count hub/input-1": "5"})
    numbers = Numbers(ledger.identity)
    entry = replace(numbers.entry(numbers.event()), kept={"count hub/input-1": "6"})
    disk.fail(Fault.FULL, times=None)
    with pytest.raises(LedgerError):
        ledger.append([entry])
    disk.heal()
    assert ledger.kept() == {"count hub/input-1": "5"}
    ledger.append([entry])
    assert ledger.kept() == {"count hub/input-1": "6"}
    ledger.close()


FIRST_SCHEMA = """
CREATE TABLE owed (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE ledger (id TEXT NOT NULL) STRICT;
CREATE TABLE start (
    epoch INTEGER PRIMARY KEY, start TEXT NOT NULL, boot TEXT NOT NULL, utc_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE stream (
    number INTEGER PRIMARY KEY, route TEXT NOT NULL, stream TEXT NOT NULL, epoch INTEGER NOT NULL,
    settled_utc_ms INTEGER, UNIQUE (route, stream, epoch)
) STRICT;
CREATE TABLE event (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, alarm TEXT,
    utc_ms INTEGER NOT NULL, body BLOB NOT NULL, keys BLOB NOT NULL
) STRICT;
CREATE INDEX event_of_alarm ON event (alarm, number) WHERE alarm IS NOT NULL;
CREATE INDEX event_of_inventory ON event (number) WHERE type = 'state.inventory';
CREATE TABLE message (key INTEGER PRIMARY KEY, event INTEGER NOT NULL, token BLOB NOT NULL) STRICT;
CREATE TABLE open_alarm (alarm TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE proved (point TEXT PRIMARY KEY, utc_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
PRAGMA application_id = 0x514F5247;
PRAGMA user_version = 1;
"""
SECOND = """
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO kept VALUES ('modes', '{}');
PRAGMA user_version = 2;
"""


@pytest.mark.parametrize("number", [1, 2])
def test_ledger_of_an_older_number_is_brought_up_and_keeps_all_it_held(
    tmp_path: Path, number: int
) -> None:
    """Two starts, an open alarm that is owed by the second: files as they were once written."""
    path = tmp_path / "ledger.db"
    new = open_ledger(tmp_path / "new.db")
    event = Numbers(new.identity).event()
    new.close()
    stamp = f"{event.id!r}, {event.type!r}, {event.alarm!r}, {event.stamp.utc_ms}"
    with sqlite3.connect(path) as plain:
        plain.executescript(FIRST_SCHEMA + (SECOND if number == 2 else ""))
        plain.execute("INSERT INTO ledger VALUES ('01d1ed9e')")
        plain.execute("INSERT INTO start VALUES (1, '0000000a', 'b0070000', 500)")
        plain.execute("INSERT INTO start VALUES (2, '0000000b', 'b0070000', 900)")
        plain.execute("INSERT INTO stream VALUES (7, 'case', 'alarm', 2, NULL)")
        key = 7 << 32 | 1
        columns = (body_of(event), array("q", [key]).tobytes())
        plain.execute(f"INSERT INTO event VALUES (1, {stamp}, ?, ?)", columns)
        plain.execute(f"INSERT INTO message VALUES ({key}, 1, x'746f6b656e')")
        plain.execute(f"INSERT INTO owed VALUES ({key}, {key})")
        plain.execute("INSERT INTO open_alarm VALUES (?)", (event.alarm,))
    plain.close()
    again = open_ledger(path)
    assert (again.set_aside, again.durable) == (None, True)
    assert (again.identity.ledger, again.identity.epoch) == ("01d1ed9e", 3)
    owed = StreamKey("case", Stream.ALARM, "01d1ed9e", 2, "0000000b")
    assert again.owed() == {owed: [(1, 1)]}
    assert [message.token for message in again.read(owed, 1, 1)] == [b"token"]
    assert again.open_alarms() == [event]
    assert again.first_start_utc_ms() == 500
    assert again.kept() == ({"modes": "{}"} if number == 2 else {})
    again.append([Numbers(again.identity).alarm()])
    assert again.settle(owed, [(1, 1)], utc_ms=1) == 1
    again.close()
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (3,)
    plain.close()
