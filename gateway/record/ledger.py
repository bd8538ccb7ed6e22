"""The numbered, append-only record on disk: what happened, what was sealed, what is still owed.

The writing half: `inquiry.py` is what it can be asked, `owed.py`, `prune.py` and `age.py` speak SQL
with it, the file itself is `file.py`'s. One connection, used by one thread at a time (`writer.py`
sees to that). It decides nothing: numbers, ids and times are given to it, and a write that failed
is told.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Self

from gateway.core.jws import digest
from gateway.core.kinds import class_of, phase_of
from gateway.core.model import Event, Message, Stamp, StreamKey
from gateway.core.ranges import Ranges
from gateway.record.aside import move_aside, read_to_the_end
from gateway.record.entry import (
    Entry,
    Identity,
    LedgerBusy,
    LedgerError,
    StorageTrouble,
    body_of,
)
from gateway.record.file import LedgerFile
from gateway.record.found import Found, found_in
from gateway.record.inquiry import Inquiry
from gateway.record.leaving import DroppedLog, Leaving
from gateway.record.opening import Begin, Opened, bring, lay_out, opened, saved, together
from gateway.record.owed import SEQUENCE_BITS, SEQUENCE_MAX
from gateway.record.room import Place
from gateway.record.standing import Standing

__all__ = ["Entry", "Found", "Identity", "Ledger", "LedgerBusy", "LedgerError", "StorageTrouble"]

_ADD_EVENT = "INSERT INTO event (id, type, alarm, utc_ms, body, keys) VALUES (?, ?, ?, ?, ?, ?)"
_ADD_MESSAGE = "INSERT INTO message VALUES (?, ?, ?)"
_ADD_START = "INSERT INTO start (ledger, epoch, start, boot, utc_ms) VALUES (?, ?, ?, ?, ?)"
_SETTLED = (
    "UPDATE stream SET settled_utc_ms = ? WHERE number = ?"
    " AND (settled_utc_ms IS NULL OR abs(settled_utc_ms - ?) >= ?)"
)

SETTLED_EVERY_MS = 3_600_000
"""How exactly it is kept when a stream was last settled: every receipt would cost a page."""


class Ledger(Inquiry):
    """An open ledger. Every method may raise LedgerError, and then has changed nothing."""

    def __init__(self, file: LedgerFile, begin: Begin, place: Place | None) -> None:
        """Commit a new epoch in a file that is laid out."""
        super().__init__(file)
        self._begin = begin
        self.place = place
        self.trouble: str | None = None
        self.set_aside: str | None = None
        self.set_aside_why: str | None = None
        self.lost: int | None = 0
        self._found: Found | None = None
        self._aside: str | None = None
        self._moves = 0
        self._unkept: dict[str, str] = {}
        self.dropped = DroppedLog()
        with file.writing("the start could not be recorded"):
            ledger = lay_out(file, begin.fresh_id)
            last = file.one("SELECT max(epoch) FROM start WHERE ledger = ?", (ledger,))
            self._native = ledger
            self.identity = Identity(ledger, (last or 0) + 1, begin.start)
            self._began = self._enter(file)
        self._work_on(file)

    def _enter(self, file: LedgerFile) -> int:
        """The number of this start's row, made when it is not there; within `writing`."""
        me, begin = self.identity, self._begin
        key = (me.ledger, me.epoch, me.start)
        known = "SELECT number FROM start WHERE ledger = ? AND epoch = ? AND start = ?"
        number = file.one(known, key)
        if number is None:
            number = file.insert(_ADD_START, (*key, begin.boot, begin.utc_ms))
        if number is None:
            raise LedgerError(StorageTrouble.CORRUPT, "the starts cannot be counted")
        return int(number)

    def _work_on(self, file: LedgerFile) -> None:
        self._ask(file)
        self.durable = file.durable
        self._standing = Standing(file)
        self._leaving = Leaving(file, self.place, self.dropped, began=self._began)

    @classmethod
    def open(
        cls, path: str, *, start: str, fresh_id: str, boot: str, utc_ms: int, vfs: str | None = None
    ) -> Self:
        """As `at`, with the usual limits. `start`, `fresh_id` and `boot` are 8 hex digits."""
        return cls.at(Place(path, vfs), Begin(start, fresh_id, boot, utc_ms))

    @classmethod
    def at(cls, place: Place, begin: Begin) -> Self:
        """The ledger at a place, its next epoch committed. Disk trouble never makes this raise.

        A corrupt or foreign file (its WAL with it) is renamed to `<path>.corrupt-<utc_ms>`, named
        in `set_aside` with the reason in `set_aside_why`, and replaced; what was owed comes into
        the new one as far as it can be read, `lost` says how much cannot. One that an earlier start
        was cut off from reading is read now. Where no file can be had
        the ledger is in memory under the id `fresh_id`, `durable` is False and `trouble` says why.
        Raises LedgerBusy when another process holds the file.
        """
        try:
            had = opened(place, begin, lambda file: cls(file, begin, place))
        except LedgerBusy:
            raise
        except LedgerError as exc:
            return cls.without(place, begin, trouble=str(exc))
        ledger = had.taken
        ledger.save(had.why)
        return ledger

    @classmethod
    def without(cls, place: Place | None, begin: Begin, *, trouble: str) -> Self:
        """A ledger that lasts as long as this process; `trouble` says why it had to be.

        place: where it belongs, None for nowhere.
        """
        ledger = cls(LedgerFile.in_memory(), begin, place)
        ledger.trouble = trouble
        return ledger

    @classmethod
    def in_memory(cls, *, start: str, fresh_id: str, boot: str, utc_ms: int, trouble: str) -> Self:
        """As `without` a place."""
        return cls.without(None, Begin(start, fresh_id, boot, utc_ms), trouble=trouble)

    def save(self, why: str | None) -> None:
        """Bring over what is owed in files that were set aside, as far as it can be read."""
        assert self.place is not None
        found = saved(self.place, self._file)
        if found is not None:
            self.set_aside, self.lost = found
            self.set_aside_why = why or "an earlier start was cut off from reading it"

    def close(self) -> None:
        """Put everything into the one file and let go of it. Safe to call twice."""
        self._file.close()

    # --- another file -------------------------------------------------------------------------

    @property
    def damaged(self) -> bool:
        """True when a page of the file has been found that makes no sense."""
        return self._file.damaged

    def give_way(self) -> bool:
        """Clear the ledger's place for `reopen`; False when this file is to be kept there.

        A file that can still be read is: what is owed is in it. A damaged one is set aside, and
        read from there; one that only fails is let go of, and until `move_to` nothing can be
        written or read.
        """
        if self.place is None:
            return False
        if self._file.damaged and self._aside is None and not self._file.moved:
            with suppress(OSError):
                self._aside = move_aside(self.place.path, self._begin.utc_ms)
        if not self.durable or self._file.moved:
            return True
        if self._file.alive and self._file.readable:
            return False
        self._file.abandon()
        return True

    def take_found(self) -> Found | None:
        """What the last `move_to` has found, once."""
        found, self._found = self._found, None
        return found

    def reopen(self) -> Opened[LedgerFile]:
        """A sound file at the ledger's place, made when missing. LedgerError when there is none.

        Touches nothing that belongs to this ledger: any thread may try it.
        """
        assert self.place is not None, "this ledger belongs nowhere"
        begin, me = self._begin, self.identity
        if self.durable and (self._moves or begin.fresh_id == me.ledger):
            # what was on the disk before is not on a new one: it must not go under the same name
            fresh_id = digest(f"{me.ledger} {me.start} {self._moves}".encode())[:8]
            begin = replace(begin, fresh_id=fresh_id)
        return opened(self.place, begin, lambda file: file)

    def move_to(self, had: Opened[LedgerFile]) -> None:
        """Go on in another file under the same numbers, with all that is owed and needed.

        From memory everything comes along. What the file held before is `take_found`'s. When this
        raises the file is let go of, and the ledger is where it was.
        """
        file, source, found = had.taken, self._file, Found()
        assert self.place is not None
        try:
            asked = Inquiry(file)
            native = asked.native()
            lost = 0 if asked.holds(self.identity) else None
            if native != self._native or not self.durable:
                found = found_in(asked)  # of this ledger's own the running gateway knows better
            if source.alive:
                lost = bring(source, file)
            known = found_in(asked)
            corrupt = saved(self.place, file, but=self._aside)
            if corrupt is not None:
                found = found.and_also(found_in(asked).beyond(known))
            with file.writing("the start could not be recorded"):
                began = self._enter(file)
        except BaseException:
            file.abandon()
            raise
        self._began, self._native = began, native
        self._moves += 1
        self._work_on(file)
        source.abandon()
        self.trouble = None
        aside, more_lost = corrupt or (had.aside, 0)
        if self._aside is not None:
            aside, self._aside = read_to_the_end(self.place.path, self._aside), None
        lost = together([lost, more_lost, had.lost])
        self._found = replace(found, aside=aside, why=had.why, lost=lost)

    # --- housekeeping -------------------------------------------------------------------------

    def tidy(self, *, idle: bool) -> bool:
        """One short step of the housekeeping that is due; True when more is.

        What could not be kept is, the WAL goes into the file, what is old leaves, what has no room
        leaves; no append ever does any of it.
        """
        if self._unkept:
            self.keep({})
        more = self._leaving.step(idle=idle)
        if self._leaving.forgot:
            self._streams.clear()
        return more

    def retain(self, now: Stamp, *, keep_ms: int) -> None:
        """From now on settled entries older than that leave, some with every tidy.

        To be called once an hour. Age is the time the gateway has lived, whatever its clock says.
        """
        self._leaving.retain(now, keep_ms=keep_ms)

    def prune(self, *, before_utc_ms: int, limit: int) -> int:
        """Let settled events stamped before that leave with their messages; how many events left.

        Kept at any age: what is owed, what belongs to an open alarm, each stream's newest message.
        At most `limit` leave; fewer does not mean that none is left.
        """
        gone = self._leaving.prune(before_utc_ms=before_utc_ms, limit=limit)
        self._streams.clear()
        return gone

    # --- writing ------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Record all entries in one transaction; on disk when this returns.

        What is there already, same event under same numbers, is left alone, so a batch may be
        tried again. LedgerError: nothing of the batch is in; REFUSED names an entry that never can
        be (a number that is another event's or another start's, data that is not JSON).
        """
        for make_way in (self._file.restart_wal, self._leaving.at_once):
            try:
                return self._append(entries)
            except LedgerError as exc:
                if exc.reason is not StorageTrouble.FULL:
                    raise
            make_way()
        return self._append(entries)

    def _append(self, entries: Sequence[Entry]) -> None:
        try:
            with self._file.writing("the entries could not be recorded"):
                owed = Ranges()
                for entry in entries:
                    for key in self._record(entry):
                        owed.add(key, key)
                for first, last in owed:
                    self._owed.add(first, last)
            self._leaving.recorded()
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
            self._standing.conclude(event, number)
        elif fresh:
            change = "UPDATE event SET keys = ? WHERE number = ?"
            self._file.run(change, (held.tobytes(), number))
        for key, message in fresh:
            if self._file.insert(_ADD_MESSAGE, (key, number, message.token)) is None:
                text = f"number {message.sequence} of {message.key.route} is another event's"
                raise LedgerError(StorageTrouble.REFUSED, text)
        self._kept.put(entry.kept)
        for name in entry.kept:
            self._unkept.pop(name, None)
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
            add = "INSERT INTO stream (route, stream, begun) VALUES (?, ?, ?)"
            number = self._file.insert(add, (key.route, key.stream.value, self._began))
            assert number is not None  # a stream is entered once
            self._streams[key] = number
        return number << SEQUENCE_BITS | message.sequence

    def settle(self, key: StreamKey, ranges: Sequence[tuple[int, int]], *, utc_ms: int) -> int:
        """Take ranges of numbers, both ends in, out of what is owed; how many messages that was.

        Numbers that are not owed, not held or of an unknown stream are passed over. `utc_ms` is
        kept, to SETTLED_EVERY_MS, as the moment something of this stream was last settled.
        """
        with self._file.reading("what is owed could not be read"):
            number = self._stream(key)
            if number is None or not self._owed.touches(number, ranges):
                return 0
        with self._file.writing("the receipt could not be recorded"):
            self._leaving.settled()
            self._file.run(_SETTLED, (utc_ms, number, utc_ms, SETTLED_EVERY_MS))
            return self._owed.take(number, ranges)

    def keep(self, values: Mapping[str, str]) -> None:
        """Remember the newest value of these names, without an event.

        LedgerError: not yet; every `tidy` tries again, so that whoever asked may forget it.
        """
        unkept, self._unkept = {**self._unkept, **values}, {}
        try:
            with self._file.writing("what must outlive a restart could not be kept"):
                self._kept.put(unkept)
        except LedgerError as exc:
            if exc.reason is not StorageTrouble.REFUSED:  # what no disk takes holds nothing up
                self._unkept = unkept
            raise
