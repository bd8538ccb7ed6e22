"""The numbered, append-only record on disk: what happened, what was sealed, what is still owed.

Speaks SQL, with `owed.py` and `prune.py`, and nothing else does; the file itself is
`file.py`'s. One connection, used by one thread at a time (`writer.py` sees to that). It
decides nothing: numbers, ids and times are given to it, and a write that failed is told.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from gateway.core.jws import digest
from gateway.core.kinds import class_of, phase_of
from gateway.core.message import Head
from gateway.core.model import Event, Message, Stream, StreamKey
from gateway.core.ranges import Ranges
from gateway.record.entry import (
    Entry,
    Identity,
    LedgerBusy,
    LedgerError,
    StorageTrouble,
    body_of,
    revive,
)
from gateway.record.file import LedgerFile, move_aside
from gateway.record.owed import SEQUENCE_BITS, SEQUENCE_MAX, Owed
from gateway.record.prune import Pruning
from gateway.record.schema import SCHEMA

__all__ = ["Entry", "Identity", "Ledger", "LedgerBusy", "LedgerError", "StorageTrouble"]

_ADD_EVENT = "INSERT INTO event (id, type, alarm, utc_ms, body, keys) VALUES (?, ?, ?, ?, ?, ?)"
_ADD_MESSAGE = "INSERT INTO message VALUES (?, ?, ?)"
_FOREVER_MS = 1 << 62
_HEX8 = re.compile(r"[0-9a-f]{8}")


class _Begin(NamedTuple):
    """What a start brings: its id, the id of a ledger that has to be made, where and when it is."""

    start: str
    fresh_id: str
    boot: str
    utc_ms: int


class Ledger:
    """An open ledger. Every method may raise LedgerError, and then has changed nothing."""

    def __init__(self, file: LedgerFile, begin: _Begin) -> None:
        """Commit a new epoch in a file that `open` or `in_memory` has opened."""
        self._file = file
        self._owed = Owed(file)
        self._streams: dict[StreamKey, int] = {}
        self._pruning = Pruning(file, self._owed)
        self.durable = file.durable
        self.trouble: str | None = None
        self.set_aside: str | None = None
        self.set_aside_why: str | None = None
        with file.writing("the start could not be recorded"):
            if file.empty:
                file.create(SCHEMA)
                file.insert("INSERT INTO ledger VALUES (?)", (begin.fresh_id,))
            ledger = file.one("SELECT id FROM ledger")
            if not isinstance(ledger, str) or not _HEX8.fullmatch(ledger):
                raise LedgerError(StorageTrouble.CORRUPT, "the ledger's id is unreadable")
            epoch = file.insert(
                "INSERT INTO start SELECT coalesce(max(epoch), 0) + 1, ?, ?, ? FROM start",
                (begin.start, begin.boot, begin.utc_ms),
            )
            if epoch is None:
                raise LedgerError(StorageTrouble.CORRUPT, "the starts cannot be counted")
        self.identity = Identity(ledger, epoch, begin.start)

    @classmethod
    def open(
        cls, path: str, *, start: str, fresh_id: str, boot: str, utc_ms: int, vfs: str | None = None
    ) -> Self:
        """The ledger at `path`, its next epoch committed. Disk trouble never makes this raise.

        A corrupt or foreign file (its WAL with it) is renamed to `<path>.corrupt-<utc_ms>`, named
        in `set_aside` with the reason in `set_aside_why`, and replaced. Where no file can be had
        the ledger is in memory under the id `fresh_id`, `durable` is False and `trouble` says why.
        `start`, `fresh_id` and `boot` are 8 hex digits. Raises LedgerBusy when another process
        holds the file.
        """
        begin = _Begin(start, fresh_id, boot, utc_ms)
        aside = why = None
        ledger = cls._opened(path, vfs, begin)
        if isinstance(ledger, LedgerError) and ledger.reason is StorageTrouble.CORRUPT:
            try:
                aside, why = move_aside(path, utc_ms), str(ledger)
                ledger = cls._opened(path, vfs, begin)
            except OSError as exc:
                text = f"{ledger}, and it cannot be moved away: {exc.strerror}"
                ledger = LedgerError(StorageTrouble.CORRUPT, text)
        if isinstance(ledger, LedgerError):
            ledger = cls.in_memory(
                start=start, fresh_id=fresh_id, boot=boot, utc_ms=utc_ms, trouble=str(ledger)
            )
        ledger.set_aside, ledger.set_aside_why = aside, why
        return ledger

    @classmethod
    def _opened(cls, path: str, vfs: str | None, begin: _Begin) -> Self | LedgerError:
        file: LedgerFile | None = None
        try:
            file = LedgerFile.open(path, vfs=vfs)
            ledger = cls(file, begin)
            # Damage the check did not reach must show now, while the file can still be set aside.
            for read in (ledger.owed, ledger.heads, ledger.open_alarms, ledger.holders):
                read()
            ledger.last_inventory()
        except LedgerError as exc:
            if file is not None:
                file.abandon()
            if isinstance(exc, LedgerBusy):
                raise
            return exc
        return ledger

    @classmethod
    def in_memory(cls, *, start: str, fresh_id: str, boot: str, utc_ms: int, trouble: str) -> Self:
        """A ledger that lasts as long as this process; `trouble` says why it had to be."""
        ledger = cls(LedgerFile.in_memory(), _Begin(start, fresh_id, boot, utc_ms))
        ledger.trouble = trouble
        return ledger

    def tidy(self, *, idle: bool) -> None:
        """Do the file's own housekeeping if it is due; an append never does it."""
        self._file.tidy(idle=idle)

    def close(self) -> None:
        """Put everything into the one file and let go of it. Safe to call twice."""
        self._file.close()

    # --- writing ------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Record all entries in one transaction; on disk when this returns.

        What is there already, same event under same numbers, is left alone, so a batch may be
        tried again. LedgerError: nothing of the batch is in; REFUSED names an entry that never can
        be (a number that is another event's or another start's, data that is not JSON).
        """
        try:
            self._append(entries)
        except LedgerError as exc:
            if self.durable or exc.reason is not StorageTrouble.FULL:
                raise
            # Memory is for what is owed: there, settled entries make room at any age.
            if not self.prune(before_utc_ms=_FOREVER_MS, limit=1_000):
                raise
            self._append(entries)

    def _append(self, entries: Sequence[Entry]) -> None:
        try:
            with self._file.writing("the entries could not be recorded"):
                owed = Ranges()
                for entry in entries:
                    for key in self._record(entry):
                        owed.add(key, key)
                for first, last in owed:
                    self._owed.add(first, last)
        except LedgerError:
            self._streams.clear()  # it may name a stream that was rolled back
            raise

    def _record(self, entry: Entry) -> list[int]:
        """Insert what is new of an entry and give the keys of its new messages."""
        event = entry.event
        row = self._file.one("SELECT number, keys FROM event WHERE id = ?", (event.id,))
        number, held = (row[0], array("q", row[1])) if row else (None, array("q"))
        keyed = ((self._key(message), message) for message in entry.messages)
        fresh = [(key, message) for key, message in keyed if key not in held]
        held.extend(key for key, _ in fresh)
        if number is None:
            columns = (event.id, event.type, event.alarm, event.stamp.utc_ms, body_of(event))
            number = self._file.insert(_ADD_EVENT, (*columns, held.tobytes()))
            self._conclude(event)
        elif fresh:
            change = "UPDATE event SET keys = ? WHERE number = ?"
            self._file.run(change, (held.tobytes(), number))
        for key, message in fresh:
            if self._file.insert(_ADD_MESSAGE, (key, number, message.token)) is None:
                text = f"number {message.sequence} of {message.key.route} is another event's"
                raise LedgerError(StorageTrouble.REFUSED, text)
        return [key for key, _ in fresh]

    def _conclude(self, event: Event) -> None:
        """Keep the small answers every start needs: open alarms, points that were seen to work."""
        group, phase = class_of(event.type), phase_of(event.type)
        if group == "alarm" and phase == "raised":
            self._file.run("INSERT OR IGNORE INTO open_alarm VALUES (?)", (event.alarm,))
        elif group == "alarm" and phase == "cleared":
            self._file.run("DELETE FROM open_alarm WHERE alarm = ?", (event.alarm,))
        pressed = group == "test" or (group == "alarm" and phase in {"raised", "repeated"})
        if pressed and event.data.get("doubtful") is not True:
            self._file.run(
                "INSERT OR REPLACE INTO proved VALUES (?, ?)", (event.subject, event.stamp.utc_ms)
            )

    def _key(self, message: Message) -> int:
        """The message's key; its stream is entered when this is the first of it."""
        key = message.key
        if Identity(key.ledger, key.epoch, key.start) != self.identity:
            raise LedgerError(StorageTrouble.REFUSED, "the message was numbered by another start")
        if not 1 <= message.sequence <= SEQUENCE_MAX:
            raise LedgerError(StorageTrouble.REFUSED, f"{message.sequence} is not a number to give")
        number = self._stream(key)
        if number is None:
            add = "INSERT INTO stream (route, stream, epoch) VALUES (?, ?, ?)"
            number = self._file.insert(add, (key.route, key.stream.value, key.epoch))
            assert number is not None, "a stream is entered once"
            self._streams[key] = number
        return number << SEQUENCE_BITS | message.sequence

    def settle(self, key: StreamKey, ranges: Sequence[tuple[int, int]], *, utc_ms: int) -> int:
        """Take ranges of numbers, both ends in, out of what is owed; how many messages that was.

        Numbers that are not owed, not held or of an unknown stream are passed over. `utc_ms` is
        kept as the moment something of this stream was last settled.
        """
        with self._file.reading("what is owed could not be read"):
            number = self._stream(key)
            if number is None or not self._owed.touches(number, ranges):
                return 0
        with self._file.writing("the receipt could not be recorded"):
            change = "UPDATE stream SET settled_utc_ms = ? WHERE number = ?"
            self._file.run(change, (utc_ms, number))
            return self._owed.take(number, ranges)

    def prune(self, *, before_utc_ms: int, limit: int) -> int:
        """Let settled events older than that leave with their messages; how many events left.

        Kept at any age: what is owed, what belongs to an open alarm, each stream's newest message.
        At most `limit` leave; fewer does not mean that none is left.
        """
        with self._file.writing("old entries could not be removed"):
            heads = frozenset(self._newest().values())
            gone = self._pruning.prune(before_utc_ms=before_utc_ms, limit=limit, heads=heads)
            self._pruning.forget_empty_starts(now=self.identity.epoch)
        self._streams.clear()
        return gone

    # --- reading ------------------------------------------------------------------------------

    def owed(self) -> dict[StreamKey, list[tuple[int, int]]]:
        """Unsettled numbers as ranges, both ends in; oldest epoch first, alarm before log."""
        owed: dict[StreamKey, list[tuple[int, int]]] = {}
        with self._file.reading("what is owed could not be read"):
            keys = dict(self._keys())
            for number, first, last in self._owed.ranges():
                owed.setdefault(keys[number], []).append((first, last))
        return dict(sorted(owed.items(), key=lambda item: _eldest_alarm_first(item[0])))

    def heads(self) -> dict[tuple[str, Stream], Head]:
        """Where this epoch's streams go on: the last message the ledger holds of each.

        To be asked before the first append of an epoch.
        """
        heads: dict[tuple[str, Stream], Head] = {}
        with self._file.reading("the streams' heads could not be read"):
            for stream, key in self._newest().items():
                token, epoch = self._file.one(
                    "SELECT token, epoch FROM message JOIN stream ON number = key >> ?"
                    " WHERE key = ?",
                    (SEQUENCE_BITS, key),
                )
                heads[stream] = Head(0, digest(token), (epoch, key & SEQUENCE_MAX))
        return heads

    def read(self, key: StreamKey, first: int, last: int) -> list[Message]:
        """The messages held of a range of numbers, both ends in, in order, settled or not."""
        with self._file.reading("messages could not be read"):
            number = self._stream(key)
            if number is None:
                return []
            base = number << SEQUENCE_BITS
            span = (base + max(first, 1), base + min(last, SEQUENCE_MAX))
            return [
                Message(key, held & SEQUENCE_MAX, event, kind, alarm, token)
                for held, event, kind, alarm, token in self._file.rows(
                    "SELECT key, id, type, alarm, token FROM message JOIN event"
                    " ON number = event WHERE key BETWEEN ? AND ? ORDER BY key",
                    span,
                )
            ]

    def open_alarms(self) -> list[Event]:
        """Every alarm and state.alarm event of the alarms not yet cleared, as recorded."""
        with self._file.reading("the open alarms could not be read"):
            return [
                revive(*row)
                for row in self._file.rows(
                    "SELECT id, type, alarm, utc_ms, body FROM event WHERE alarm IN open_alarm"
                    " AND (type GLOB 'alarm.*' OR type GLOB 'state.alarm.*') ORDER BY number"
                )
            ]

    def owed_alarms(self) -> list[Message]:
        """The raising messages of open alarms that no receipt has covered, in recorded order."""
        owed: list[Message] = []
        with self._file.reading("the alarms still owed could not be read"):
            keys = dict(self._keys())
            for event, kind, alarm, packed in self._file.rows(
                "SELECT id, type, alarm, keys FROM event WHERE alarm IN open_alarm"
                " AND type GLOB 'alarm.*.raised' ORDER BY number"
            ):
                for key in filter(self._owed.holds, array("q", packed)):
                    token = self._file.one("SELECT token FROM message WHERE key = ?", (key,))
                    stream, sequence = keys[key >> SEQUENCE_BITS], key & SEQUENCE_MAX
                    owed.append(Message(stream, sequence, event, kind, alarm, token))
        return owed

    def last_inventory(self) -> Event | None:
        """The newest state.inventory recorded: what the centres were last told is supervised."""
        with self._file.reading("the last inventory could not be read"):
            for row in self._file.rows(
                "SELECT id, type, alarm, utc_ms, body FROM event"
                " WHERE type = 'state.inventory' ORDER BY number DESC LIMIT 1"
            ):
                return revive(*row)
        return None

    def holders(self) -> dict[str, list[str]]:
        """Per open alarm the routes that hold a message of it, in the order they came to."""
        holders: dict[str, list[str]] = {}
        with self._file.reading("the alarms' holders could not be read"):
            keys = dict(self._keys())
            for alarm, packed in self._file.rows(
                "SELECT alarm, keys FROM event WHERE alarm IN open_alarm ORDER BY number"
            ):
                routes = holders.setdefault(alarm, [])
                for key in array("q", packed):
                    route = keys[key >> SEQUENCE_BITS].route
                    if route not in routes:
                        routes.append(route)
        return holders

    def last_proved(self) -> dict[str, int]:
        """Per point the UTC ms of its last alarm raised or repeated or test not in doubt."""
        with self._file.reading("when points were proved could not be read"):
            return dict(self._file.rows("SELECT point, utc_ms FROM proved ORDER BY point"))

    def first_start_utc_ms(self) -> int:
        """When this ledger began, UTC ms as the first start believed it."""
        with self._file.reading("the first start could not be read"):
            return int(self._file.one("SELECT utc_ms FROM start ORDER BY epoch LIMIT 1"))

    def _keys(self) -> Iterator[tuple[int, StreamKey]]:
        ledger = self.identity.ledger
        for number, route, stream, epoch, start in self._file.rows(
            "SELECT number, route, stream, epoch, start FROM stream JOIN start USING (epoch)"
        ):
            yield number, StreamKey(route, Stream(stream), ledger, epoch, start)

    def _stream(self, key: StreamKey) -> int | None:
        number = self._streams.get(key)
        if number is None and key.ledger == self.identity.ledger:
            number = self._file.one(
                "SELECT number FROM stream JOIN start USING (epoch)"
                " WHERE route = ? AND stream = ? AND epoch = ? AND start = ?",
                (key.route, key.stream.value, key.epoch, key.start),
            )
            if number is not None:
                self._streams[key] = number
        return number

    def _newest(self) -> dict[tuple[str, Stream], int]:
        """The key of the newest message held of every stream, over all epochs."""
        newest: dict[tuple[str, Stream], int] = {}
        for route, stream, key in self._file.rows(
            "SELECT route, stream, (SELECT max(key) FROM message WHERE key"
            " BETWEEN number << :bits AND (number + 1 << :bits) - 1) AS newest"
            " FROM stream WHERE newest IS NOT NULL ORDER BY epoch",
            {"bits": SEQUENCE_BITS},
        ):
            newest[route, Stream(stream)] = key
        return newest


def _eldest_alarm_first(key: StreamKey) -> tuple[int, bool, str]:
    return key.epoch, key.stream is Stream.LOG, key.route
