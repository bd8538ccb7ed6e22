"""What one ledger file holds, brought into another.

From memory to a disk that is back, from a file that was taken away or is damaged to the new one.

Bytes, numbers and names of streams stay what they were; only keys inside the file change. What
cannot be read is passed over and counted; what is there already is left alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from gateway.core.ranges import Ranges
from gateway.record.entry import LedgerError, revive
from gateway.record.file import Bindings, LedgerFile
from gateway.record.owed import SEQUENCE_BITS, SEQUENCE_MAX, Owed

_EVENT = "SELECT id, type, alarm, utc_ms, body, keys FROM event WHERE number = ?"
ONE_BY_ONE_MAX = 10_000
"""Of a damaged file: numbers of one range that are asked for one by one, and counted as lost."""

_ADD_EVENT = "INSERT INTO event (id, type, alarm, utc_ms, body, keys) VALUES (?, ?, ?, ?, ?, ?)"
_MORE = "UPDATE event SET keys = ? WHERE number = ?"
_NEEDED = (
    "SELECT number FROM event WHERE alarm IN open_alarm",
    "SELECT event FROM open_fault",
    "SELECT max(number) FROM event WHERE type = 'state.inventory'",
)
_STREAMS = (
    "SELECT stream.number, ledger, epoch, start FROM stream JOIN start ON begun = start.number"
)
_OVER = (
    (
        "SELECT open_alarm.alarm, keys FROM open_alarm LEFT JOIN event ON id = open_alarm.alarm",
        "DELETE FROM open_alarm WHERE alarm = ?",
    ),
    (
        "SELECT name, keys FROM open_fault LEFT JOIN event ON number = open_fault.event",
        "DELETE FROM open_fault WHERE name = ?",
    ),
)
_READING = "what the other file holds could not be read"


class Carrying:
    """One bringing over. `lost` counts messages that were owed and could not be read.

    blind: not even what was owed could be read whole, so that nobody knows how much is lost.
    What is owed in a row further on than ONE_BY_ONE_MAX is brought when its pages are sound.
    """

    def __init__(self, source: LedgerFile, into: LedgerFile) -> None:
        self.lost = 0
        self.unread = 0
        self.blind = False
        self._source = source
        self._into = into
        self._starts: dict[int, int] = {}
        self._streams: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self._brought: list[int] = []

    def all(self, *, settled: bool) -> None:
        """Bring over everything, or all but what is settled; within the writing of `into`.

        An older copy of the same ledger learns from a sound one what is owed and open no more.
        """
        own = "SELECT id FROM ledger"
        if not self._source.damaged and list(self._rows(own)) == list(self._into.rows(own)):
            self._forget_what_is_over()
        for number, *row in self._rows("SELECT * FROM start ORDER BY number"):
            ledger, epoch, start, boot, utc_ms = row
            known = "SELECT number FROM start WHERE ledger = ? AND epoch = ? AND start = ?"
            add = "INSERT INTO start (ledger, epoch, start, boot, utc_ms) VALUES (?, ?, ?, ?, ?)"
            key = (ledger, epoch, start)
            self._starts[number] = self._found(known, key, add, (*key, boot, utc_ms))
        for number, route, stream, begun in self._rows(
            "SELECT number, route, stream, begun FROM stream ORDER BY number"
        ):
            if begun in self._starts:
                known = "SELECT number FROM stream WHERE route = ? AND stream = ? AND begun = ?"
                add = "INSERT INTO stream (route, stream, begun) VALUES (?, ?, ?)"
                key = (route, stream, self._starts[begun])
                self._streams[number] = self._found(known, key, add, key)
        owed = list(self._rows("SELECT first, last FROM owed ORDER BY first"))
        self.blind = self.unread > 0
        for number in self._wanted(owed, settled=settled):
            self._event(number)
        self._brought = sorted(self._keys)
        for first, last in owed:
            self._owe(first, last)
        self._answers()

    def _forget_what_is_over(self) -> None:
        """Of the starts the source has seen it knows what is owed and open; of others it does not.

        Those are of another card of this gateway that ran on by itself, or of a ledger before.
        """
        (own,) = next(self._rows("SELECT id FROM ledger"))
        seen = {tuple(row) for row in self._rows("SELECT ledger, epoch, start FROM start")}
        epochs = {epoch for ledger, epoch, _ in seen if ledger == own}
        known: set[int] = set()
        for number, ledger, epoch, start in self._into.rows(_STREAMS):
            # an epoch it does not name has left it, with all that was of it, or has not begun there
            past = ledger == own and epoch not in epochs and epoch < max(epochs, default=0)
            if past or (ledger, epoch, start) in seen:
                known.add(number)
        for first, _ in list(self._into.rows("SELECT first, last FROM owed")):
            if first >> SEQUENCE_BITS in known:
                self._into.run("DELETE FROM owed WHERE first = ?", (first,))
        for query, over in _OVER:
            for name, packed in list(self._into.rows(query)):
                keys = array("q", packed or b"")
                if not keys or any(key >> SEQUENCE_BITS in known for key in keys):
                    self._into.run(over, (name,))

    def _wanted(self, owed: list[tuple[int, int]], *, settled: bool) -> list[int]:
        """The events to bring, in the order they were recorded."""
        wanted: set[int] = set()
        for first, last in owed:
            of_owed = "SELECT event FROM message WHERE key BETWEEN ? AND ? ORDER BY key"
            found = {event for (event,) in self._rows(of_owed, (first, last))}
            for key in self._doubted(first, last) if self._source.damaged else ():
                one = "SELECT event FROM message WHERE key = ?"
                found |= {event for (event,) in self._rows(one, (key,))}
            wanted |= found
        for query in _NEEDED:
            wanted |= {number for (number,) in self._rows(query) if number is not None}
        if settled:
            wanted |= {number for (number,) in self._rows("SELECT number FROM event")}
        return sorted(wanted)

    def _doubted(self, first: int, last: int) -> range:
        """Owed keys to ask for one by one; a range that is damaged itself may name billions."""
        ends = min(last, first + ONE_BY_ONE_MAX - 1)
        return range(first, ends + 1)

    def _event(self, number: int) -> None:
        """One event with those of its messages that can be read."""
        for event_id, kind, alarm, utc_ms, body, packed in self._rows(_EVENT, (number,)):
            try:
                revive(event_id, kind, alarm, utc_ms, body)
                tokens = dict(self._tokens(array("q", packed)))
            except (ValueError, KeyError, TypeError):
                continue
            there = self._into.one("SELECT number, keys FROM event WHERE id = ?", (event_id,))
            held = array("q", there[1] if there else b"")
            held.extend(key for key in tokens if key not in held)
            if there:
                self._into.run(_MORE, (held.tobytes(), there[0]))
            columns = (event_id, kind, alarm, utc_ms, body, held.tobytes())
            here = there[0] if there else self._into.insert(_ADD_EVENT, columns)
            for key, token in tokens.items():
                self._into.run("INSERT OR IGNORE INTO message VALUES (?, ?, ?)", (key, here, token))
            assert here is not None  # no event of that id was there
            self._events[number] = here

    def _tokens(self, keys: array[int]) -> Iterator[tuple[int, bytes]]:
        """New key and token of what can be read."""
        for key in keys:
            stream = self._streams.get(key >> SEQUENCE_BITS)
            for (token,) in self._rows("SELECT token FROM message WHERE key = ?", (key,)):
                if stream is not None and isinstance(token, bytes):
                    self._keys[key] = stream << SEQUENCE_BITS | key & SEQUENCE_MAX
                    yield self._keys[key], token

    def _owe(self, first: int, last: int) -> None:
        """What was owed is owed again, as far as it was brought."""
        owed, run = Owed(self._into), Ranges()
        for key in self._brought[bisect_left(self._brought, first) :]:
            if key > last:
                break
            run.add(self._keys[key], self._keys[key])
        self.lost += sum(key not in self._keys for key in self._doubted(first, last))
        for low, high in run:
            for key in range(low, high + 1) if owed.holds_any(low, high) else ():
                if not owed.holds(key):
                    owed.add(key, key)
            if not owed.holds_any(low, high):
                owed.add(low, high)

    def _answers(self) -> None:
        """The small tables, as the source had them last."""
        for row in self._rows("SELECT alarm FROM open_alarm"):
            self._into.run("INSERT OR IGNORE INTO open_alarm VALUES (?)", row)
        for name, number in self._rows("SELECT name, event FROM open_fault"):
            if number in self._events:
                row = (name, self._events[number])
                self._into.run("INSERT OR REPLACE INTO open_fault VALUES (?, ?)", row)
        for row in self._rows("SELECT point, utc_ms FROM proved"):
            self._into.run("INSERT OR REPLACE INTO proved VALUES (?, ?)", row)
        for row in self._rows("SELECT name, value FROM kept"):
            self._into.run("INSERT OR REPLACE INTO kept VALUES (?, ?)", row)

    def _rows(self, query: str, bindings: Bindings = ()) -> Iterator[Any]:
        """Rows of the source, up to the first that cannot be read."""
        try:
            with self._source.reading(_READING):
                yield from self._source.rows(query, bindings)
        except LedgerError:
            self.unread += 1

    def _found(self, known: str, key: Bindings, add: str, columns: Bindings) -> int:
        """The number of a row of `into`, made when it is not there."""
        number = self._into.one(known, key)
        if number is None:
            number = self._into.insert(add, columns)
        assert number is not None
        return int(number)
