"""The ledger's tables. `file.FORMAT` is their version: a change here is a new number there.

An event's `keys` are the keys of its messages; a message's key is its stream's number and its
sequence in one integer (`owed.py`), so the rowid is the only index messages need.
"""

from __future__ import annotations

from gateway.record.owed import OWED_SCHEMA

SCHEMA = f"""{OWED_SCHEMA}
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
"""
