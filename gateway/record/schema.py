"""The ledger's tables. `file.FORMAT` is their version: a change here is a new number there.

An event's `keys` are the keys of its messages; a message's key is its stream's number and its
sequence in one integer (`owed.py`), so the rowid is the only index messages need. A file has one id
of its own, but may hold streams of other ledgers: what was recorded while it could not be had.
"""

from __future__ import annotations

from gateway.record.age import AGE_SCHEMA
from gateway.record.kept import KEPT_SCHEMA
from gateway.record.owed import OWED_SCHEMA
from gateway.record.standing import STANDING_SCHEMA

_START = """
CREATE TABLE start (
    number INTEGER PRIMARY KEY, ledger TEXT NOT NULL, epoch INTEGER NOT NULL, start TEXT NOT NULL,
    boot TEXT NOT NULL, utc_ms INTEGER NOT NULL, UNIQUE (ledger, epoch, start)
) STRICT;
"""

_FOREIGN_STREAMS = """
INSERT INTO start SELECT epoch, (SELECT id FROM ledger), epoch, start, boot, utc_ms
    FROM start_before;
DROP TABLE start_before;
ALTER TABLE stream RENAME COLUMN epoch TO begun;
"""

_RENAMED = "ALTER TABLE start RENAME TO start_before;"

UPGRADES = {
    2: KEPT_SCHEMA,
    3: f"{_RENAMED}{_START}{_FOREIGN_STREAMS}{AGE_SCHEMA}{STANDING_SCHEMA}",
}
"""What turns a file of the number before into one of this number."""

SCHEMA = f"""{OWED_SCHEMA}{KEPT_SCHEMA}{AGE_SCHEMA}{STANDING_SCHEMA}
CREATE TABLE ledger (id TEXT NOT NULL) STRICT;
{_START}
CREATE TABLE stream (
    number INTEGER PRIMARY KEY, route TEXT NOT NULL, stream TEXT NOT NULL, begun INTEGER NOT NULL,
    settled_utc_ms INTEGER, UNIQUE (route, stream, begun)
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
"""
