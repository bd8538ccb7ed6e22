"""A centre's disk: every message as it was signed, and every answer a person gave.

The only SQLite of the far ends (the standard library's: one process, one connection, synced at each
commit). It decides nothing; `core` is rebuilt from it at start.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.core.model import AlarmState, Stream, StreamKey
from simulators.centre.core.words import Answer, Stored

_TABLES = """
CREATE TABLE IF NOT EXISTS route (id TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS message (
  gateway TEXT NOT NULL, stream TEXT NOT NULL, ledger TEXT NOT NULL, epoch INTEGER NOT NULL,
  start TEXT NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL, conflict INTEGER NOT NULL,
  event TEXT NOT NULL, type TEXT NOT NULL, alarm TEXT, previous TEXT, resumes_epoch INTEGER,
  resumes_sequence INTEGER, received_ms INTEGER NOT NULL, uplink TEXT NOT NULL, token BLOB NOT NULL,
  over INTEGER NOT NULL DEFAULT 0,
  UNIQUE (gateway, stream, ledger, epoch, start, sequence, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS answer (
  alarm TEXT NOT NULL, state TEXT NOT NULL, operator INTEGER NOT NULL, at TEXT NOT NULL,
  UNIQUE (alarm, state)
) STRICT;
"""
_MESSAGE_COLUMNS = (
    "gateway, stream, ledger, epoch, start, sequence, digest, conflict, event, type, alarm, "
    "previous, resumes_epoch, resumes_sequence, received_ms, uplink, token, over"
)
_OLDER = "ALTER TABLE message ADD COLUMN over INTEGER NOT NULL DEFAULT 0"


class StoreRefused(Exception):  # noqa: N818 -- an outcome a person must act on, said in its text
    """A store that cannot be used. str() says which file, what is wrong and what to do."""


class CentreStore:
    """Messages and answers of one route. Call it from one thread at a time, any thread."""

    def __init__(self, path: Path | None, route: str) -> None:
        """Open or create the file; None keeps everything in memory. StoreRefused says why not."""
        self._route = route
        where = ":memory:" if path is None else str(path)
        try:
            self._db = sqlite3.connect(
                where, timeout=1.0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as exc:
            raise StoreRefused(f"{where}: {exc}: is the directory there and writable?") from exc
        try:
            self._prepare()
        except sqlite3.Error as exc:
            self._db.close()
            raise StoreRefused(
                f"{where}: {exc}: is it a centre's store, used by no other?"
            ) from exc
        except StoreRefused:
            self._db.close()
            raise

    def _prepare(self) -> None:
        # EXCLUSIVE comes first: two centres on one file would each sign for the other's rows.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            for statement in _TABLES.split(";\n"):
                self._db.execute(statement)
            if not any(row[1] == "over" for row in self._db.execute("PRAGMA table_info(message)")):
                self._db.execute(_OLDER)  # a store from before messages came again
            self._db.execute("INSERT OR IGNORE INTO route VALUES (?)", (self._route,))
            found = [row[0] for row in self._db.execute("SELECT id FROM route ORDER BY rowid")]
            if found != [self._route]:
                raise StoreRefused(f"this store is route {found[0]}'s: give each route its own")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(self, rows: Sequence[Stored], answers: Sequence[Answer] = ()) -> None:
        """Commit all of it or nothing, synced to disk; what is there already is left as it is.

        Raises sqlite3.Error when the disk will not take it; then nothing of it may be receipted.
        """
        marks = ", ".join("?" * 18)
        insert = f"INSERT INTO message ({_MESSAGE_COLUMNS}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 -- no value from outside
        with self._transaction():
            self._db.executemany(insert, map(_columns, rows))
            self._db.executemany(
                "INSERT INTO answer VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(a.alarm, a.state.value, a.operator, a.at) for a in answers],
            )

    def rows(self) -> Iterable[Stored]:
        """Every message in the order it was stored."""
        select = f"SELECT {_MESSAGE_COLUMNS} FROM message ORDER BY rowid"  # noqa: S608 -- as above
        for found in self._db.execute(select):
            yield self._row(found)

    def answers(self) -> Iterable[Answer]:
        """Every answer in the order it was given."""
        for alarm, state, operator, at in self._db.execute("SELECT * FROM answer ORDER BY rowid"):
            yield Answer(alarm, AlarmState(state), operator, at)

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        self._db.close()

    def _row(self, found: tuple[Any, ...]) -> Stored:
        gateway, stream, ledger, epoch, start, sequence, digest, conflict = found[:8]
        event, kind, alarm, previous, resumes_epoch, resumes_sequence = found[8:14]
        return Stored(
            gateway=gateway,
            key=StreamKey(self._route, Stream(stream), ledger, epoch, start),
            sequence=sequence,
            event=event,
            type=kind,
            alarm=alarm,
            digest=digest,
            previous=previous,
            resumes=None if resumes_epoch is None else (resumes_epoch, resumes_sequence),
            conflict=bool(conflict),
            received_ms=found[14],
            uplink=found[15],
            token=found[16],
            over=bool(found[17]),
        )


def _columns(row: Stored) -> tuple[Any, ...]:
    key = row.key
    place = (row.gateway, key.stream.value, key.ledger, key.epoch, key.start, row.sequence)
    event = (row.digest, int(row.conflict), row.event, row.type, row.alarm, row.previous)
    arrival = (*(row.resumes or (None, None)), row.received_ms, row.uplink, row.token)
    return (*place, *event, *arrival, int(row.over))
