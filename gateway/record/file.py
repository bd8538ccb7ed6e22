"""The one SQLite file: opened for this process alone, checked, set aside when damaged, closed.

The only file that imports apsw. It knows no table and no word of the ledger; it turns what SQLite
and the disk say into a LedgerError with a reason, and lets nothing else through.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import apsw

from gateway.record.entry import LedgerBusy, LedgerError, StorageTrouble

APPLICATION_ID = 0x514F5247
"""`QORG` in the file's header (SQLite file format, §1.3)."""

FORMAT = 3
"""The number of the ledger's schema, kept as `user_version`. Older ones are brought up to it."""

CHECK_STEPS = 60_000
"""Steps of SQLite's check at start, some 60 MB of pages: years of settled entries must not keep
the inputs waiting. Damage further in shows when it is read."""

BUSY_MS = 1_000
"""How long opening waits for a daemon that is still going down."""

CACHE_KIB = 1_024
MEMORY_PAGES_MAX = 16_384
"""64 MiB in pages of 4 KiB: what a ledger without a disk may take."""

CHUNK_BYTES = 256 << 10
"""The file grows by so much at once: when others fill the disk, some of it is ours already."""

WAL_PAGES_IDLE, WAL_PAGES_MAX, WAL_BYTES_KEPT = 250, 4_000, 4 << 20
"""The WAL is moved into the file from 1 MiB when nothing else is to do, at 16 MiB in any case."""

_WORDS: tuple[tuple[type[apsw.Error], StorageTrouble, str], ...] = (
    (apsw.FullError, StorageTrouble.FULL, "the disk is full"),
    (apsw.ReadOnlyError, StorageTrouble.READ_ONLY, "the disk or the file is read-only"),
    (apsw.IOError, StorageTrouble.IO_ERROR, "the disk gave an I/O error"),
    (apsw.CorruptError, StorageTrouble.CORRUPT, "the file is corrupt"),
    (apsw.NotADBError, StorageTrouble.CORRUPT, "the file is not a ledger"),
    (apsw.SQLError, StorageTrouble.CORRUPT, "the file is not laid out as a ledger"),
    (apsw.CantOpenError, StorageTrouble.CANNOT_OPEN, "the file cannot be opened"),
)

_INCREMENTAL = 2

Bindings = Sequence[Any] | Mapping[str, Any]


class LedgerFile:
    """One open database, on disk or in memory. Every method may raise LedgerError."""

    def __init__(self, db: apsw.Connection, *, path: str | None) -> None:
        """Take over a connection that `open` or `in_memory` (no path) has prepared.

        damaged: SQLite has come upon a page that makes no sense.
        """
        self._db = db
        self._path = path
        self._place = None if path is None else _place(path)
        self._wal_pages = 0
        self.durable = path is not None
        self.damaged = False
        self.alive = True
        if self.durable:
            db.set_wal_hook(self._committed)

    @classmethod
    def open(cls, path: str, *, vfs: str | None) -> Self:
        """The file at `path`, made when missing. LedgerError: CORRUPT for a damaged or foreign one.

        Raises LedgerBusy when another process holds it.
        """
        if Path(path).is_dir():
            raise LedgerError(StorageTrouble.CANNOT_OPEN, f"{path} is a directory, not a ledger")
        db: apsw.Connection | None = None
        try:
            db = apsw.Connection(path, vfs=vfs)
            db.set_busy_timeout(BUSY_MS)
            # A WAL is only given up by `close`: beside a damaged file it is evidence.
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            # Before the first look: the WAL's index then lives in our memory, in no shared file.
            db.pragma("locking_mode", "EXCLUSIVE")
            _recognise(db)
            db.pragma("auto_vacuum", "INCREMENTAL")  # says something to a new file only
            with suppress(apsw.Error):  # no VFS must know it
                chunk = ctypes.c_int(CHUNK_BYTES)
                db.file_control("main", apsw.SQLITE_FCNTL_CHUNK_SIZE, ctypes.addressof(chunk))
            db.pragma("journal_mode", "WAL")
            db.pragma("synchronous", "FULL")
            db.pragma("journal_size_limit", WAL_BYTES_KEPT)
            db.pragma("temp_store", "MEMORY")
            db.pragma("cache_size", -CACHE_KIB)
            _check(db)
            # What a crash left in the WAL may never have been synced: written again, it is.
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as exc:
            _let_go(db)
            raise _told(f"{path} cannot be used", exc) from exc
        except LedgerError:
            _let_go(db)
            raise
        return cls(db, path=path)

    @classmethod
    def found(cls, path: str, *, vfs: str | None) -> Self:
        """A file that was set aside, to read what is left of it; nothing is checked or changed."""
        db: apsw.Connection | None = None
        try:
            db = apsw.Connection(path, vfs=vfs, flags=apsw.SQLITE_OPEN_READWRITE)
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.pragma("locking_mode", "EXCLUSIVE")
            db.pragma("temp_store", "MEMORY")
        except apsw.Error as exc:
            _let_go(db)
            raise _told(f"{path} cannot be used", exc) from exc
        file = cls(db, path=path)
        file.damaged = True
        return file

    @classmethod
    def in_memory(cls) -> Self:
        """A database that lasts as long as this process, of at most 64 MiB."""
        db = apsw.Connection(":memory:")
        db.pragma("max_page_count", MEMORY_PAGES_MAX)
        return cls(db, path=None)

    @property
    def empty(self) -> bool:
        """True when no table has been made yet."""
        return not self._db.execute("SELECT count(*) FROM sqlite_schema").get

    def create(self, schema: str) -> None:
        """Make the tables and mark the file as ours; within `writing`."""
        self._db.execute(schema)
        self._db.pragma("application_id", APPLICATION_ID)
        self._db.pragma("user_version", FORMAT)

    def upgrade(self, steps: Mapping[int, str]) -> None:
        """Bring an older file up to FORMAT, one number after another; within `writing`."""
        found = self._db.pragma("user_version")
        for number in range(found + 1, FORMAT + 1):
            self._db.execute(steps[number])
            self._db.pragma("user_version", number)

    def run(self, sql: str, bindings: Bindings = ()) -> None:
        """One statement without rows; within `writing`."""
        self._db.execute(sql, bindings)

    def rows(self, sql: str, bindings: Bindings = ()) -> Iterator[Any]:
        """The rows of a query as tuples, one at a time; within `reading` or `writing`."""
        return iter(self._db.execute(sql, bindings))

    def one(self, sql: str, bindings: Bindings = ()) -> Any:
        """The first row as a tuple, a single column as its value, None when there is no row."""
        return self._db.execute(sql, bindings).get

    def insert(self, sql: str, bindings: Bindings) -> int | None:
        """Insert a row and give its rowid; None when a constraint refuses it."""
        try:
            self._db.execute(sql, bindings)
        except apsw.ConstraintError:
            return None
        return self._db.last_insert_rowid()

    @contextmanager
    def writing(self, doing: str) -> Iterator[None]:
        """One transaction: in and on disk, or LedgerError and nothing of it is in."""
        if self.moved:
            raise LedgerError(StorageTrouble.GONE, f"{doing}: the file is not there any more")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except apsw.Error as exc:
            self._roll_back()
            raise self._noted(doing, exc) from exc
        except (ValueError, OverflowError, TypeError) as exc:
            self._roll_back()
            raise LedgerError(StorageTrouble.REFUSED, f"{doing}: {exc}") from exc
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except apsw.Error:
            pass  # SQLite has rolled back by itself when the disk failed

    @contextmanager
    def reading(self, doing: str) -> Iterator[None]:
        """Queries and the making of objects from rows; what cannot be made sense of is CORRUPT."""
        try:
            yield
        except apsw.Error as exc:
            raise self._noted(doing, exc) from exc
        except (ValueError, KeyError, TypeError) as exc:
            text = f"{doing}: an entry is damaged"
            raise LedgerError(StorageTrouble.CORRUPT, text) from exc

    def _noted(self, doing: str, exc: apsw.Error) -> LedgerError:
        self.damaged = self.damaged or isinstance(exc, apsw.CorruptError | apsw.NotADBError)
        return _told(doing, exc)

    # --- its size and place -------------------------------------------------------------------

    @property
    def moved(self) -> bool:
        """True when another file, or none, is where this one was: nobody would find it again."""
        return (
            self._place is not None and self._path is not None and _place(self._path) != self._place
        )

    @property
    def readable(self) -> bool:
        """True when the disk itself, and not only a cache, still gives what was written."""
        try:
            self._db.pragma("shrink_memory")
            return bool(self._db.execute("SELECT count(*) FROM sqlite_schema").get)
        except apsw.Error:
            return False

    @property
    def size_bytes(self) -> int:
        """What the file weighs without its WAL; of one that cannot shrink, what is used of it."""
        if self._db.pragma("auto_vacuum") != _INCREMENTAL:
            return self.used_bytes
        return int(self._db.pragma("page_count") * self._db.pragma("page_size"))

    @property
    def used_bytes(self) -> int:
        """What of it holds something."""
        used = self._db.pragma("page_count") - self._db.pragma("freelist_count")
        return int(used * self._db.pragma("page_size"))

    def shrink(self, at_most_bytes: int) -> None:
        """Give free pages at the end back to the disk; within `writing`."""
        pages = -(-at_most_bytes // self._db.pragma("page_size"))
        for _ in self._db.execute(f"PRAGMA incremental_vacuum({pages})"):
            pass

    def tidy(self, *, idle: bool) -> bool:
        """Move the WAL into the file if it has grown; no transaction ever does it by itself.

        True when it was moved. GONE when nobody would find the file again.
        """
        if self.moved:
            raise LedgerError(StorageTrouble.GONE, "the ledger's file is not there any more")
        if self._wal_pages < (WAL_PAGES_IDLE if idle else WAL_PAGES_MAX):
            return False
        self.restart_wal()
        return True

    def restart_wal(self) -> None:
        """Move the WAL into the file: what is written next takes its place, and no new one."""
        with self.reading("the WAL could not be moved into the file"):
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._wal_pages = 0

    def close(self) -> None:
        """Empty the WAL into the file and let go, even when that fails. Safe to call twice."""
        try:
            if self.durable:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except apsw.ConnectionClosedError:
            return
        except apsw.Error as exc:
            raise _told("the WAL could not be moved into the file", exc) from exc
        finally:
            _let_go(self._db)

    def abandon(self) -> None:
        """Let go of a file as it is; nothing can be written or read any more."""
        self.alive = False
        _let_go(self._db)

    def _committed(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK


def _place(path: str) -> tuple[int, int] | None:
    """Device and inode of what is there now."""
    try:
        there = os.stat(path)  # noqa: PTH116 -- before every transaction; a Path costs twice as much
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _recognise(db: apsw.Connection) -> None:
    """LedgerError CORRUPT for a database of another program or of a newer qorgan."""
    empty = not db.execute("SELECT count(*) FROM sqlite_schema").get
    ours, number = db.pragma("application_id"), db.pragma("user_version")
    known = (ours, number) == (0, 0) if empty else ours == APPLICATION_ID and 0 < number <= FORMAT
    if not known:
        raise LedgerError(StorageTrouble.CORRUPT, "the file is not a ledger this qorgan can read")


def _check(db: apsw.Connection) -> None:
    """SQLite's own check of the file's structure, as far as CHECK_STEPS goes."""
    db.set_progress_handler(lambda: True, CHECK_STEPS)
    try:
        verdict = db.execute("PRAGMA quick_check(1)").get
    except apsw.InterruptError:
        verdict = "ok"
    finally:
        db.set_progress_handler(None)
    if verdict != "ok":
        raise LedgerError(StorageTrouble.CORRUPT, "the file is corrupt")


def _let_go(db: apsw.Connection | None) -> None:
    if db is None:
        return
    try:
        db.close()
    except apsw.Error:
        db.close(force=True)


def _told(doing: str, exc: apsw.Error) -> LedgerError:
    if isinstance(exc, apsw.BusyError):
        return LedgerBusy(StorageTrouble.BUSY, f"{doing}: another qorgan holds it")
    for kind, reason, words in _WORDS:
        if isinstance(exc, kind):
            return LedgerError(reason, f"{doing}: {words}")
    return LedgerError(StorageTrouble.OTHER, f"{doing}: {exc}")
