"""What is owed, as ranges of message keys, and how those keys are made.

A message's key is its stream's number and its sequence in one integer: the rowid is then the only
index a message needs, and a range of sequences is a range of keys. Settling ten thousand messages
changes one row, and what is owed is known at a start without a scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.record.file import LedgerFile

SEQUENCE_BITS = 32
SEQUENCE_MAX = (1 << SEQUENCE_BITS) - 1

OWED_SCHEMA = """
CREATE TABLE owed (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
"""


class Owed:
    """The table of ranges. Its methods belong within the file's `reading` or `writing`."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def add(self, first: int, last: int) -> None:
        """Add keys that are not owed yet, joined to the range that ends just before them."""
        before = self._file.one(
            "SELECT first, last FROM owed WHERE first < ? ORDER BY first DESC LIMIT 1", (first,)
        )
        if before and before[1] == first - 1:
            self._file.run("UPDATE owed SET last = ? WHERE first = ?", (last, before[0]))
        else:
            self._file.run("INSERT INTO owed VALUES (?, ?)", (first, last))

    def touches(self, stream: int, ranges: Sequence[tuple[int, int]]) -> bool:
        """True when any number of these ranges is owed in that stream."""
        return any(self.holds_any(*keys) for keys in _keys(stream, ranges))

    def take(self, stream: int, ranges: Sequence[tuple[int, int]]) -> int:
        """Take ranges of a stream's numbers, both ends in, out; how many of them were owed."""
        taken = 0
        for low, high in _keys(stream, ranges):
            for first, last in self._shared(low, high):
                self._file.run("DELETE FROM owed WHERE first = ?", (first,))
                for rest in ((first, low - 1), (high + 1, last)):
                    if rest[0] <= rest[1]:
                        self._file.run("INSERT INTO owed VALUES (?, ?)", rest)
                taken += min(last, high) - max(first, low) + 1
        return taken

    def holds(self, key: int) -> bool:
        """True when that message is owed."""
        return self.holds_any(key, key)

    def holds_any(self, first: int, last: int) -> bool:
        """True when some message of these keys is owed."""
        return bool(self._shared(first, last))

    def ranges(self) -> Iterator[tuple[int, int, int]]:
        """Stream number, first and last sequence of every range; ValueError for a damaged one."""
        for first, last, held in self._file.rows(
            "SELECT first, last, key FROM owed LEFT JOIN message ON key = last ORDER BY first"
        ):
            if held is None or first >> SEQUENCE_BITS != last >> SEQUENCE_BITS:
                raise ValueError("a range of messages that are not held")
            yield first >> SEQUENCE_BITS, first & SEQUENCE_MAX, last & SEQUENCE_MAX

    def _shared(self, low: int, high: int) -> list[tuple[int, int]]:
        """The ranges that share a key with low..high."""
        query = (
            "SELECT first, last FROM owed WHERE first <= :high AND last >= :low AND first >="
            " (SELECT coalesce(max(first), :low) FROM owed WHERE first <= :low)"
        )
        return list(self._file.rows(query, {"low": low, "high": high}))


def _keys(stream: int, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    base = stream << SEQUENCE_BITS
    clipped = ((max(first, 1), min(last, SEQUENCE_MAX)) for first, last in ranges)
    return [(base + first, base + last) for first, last in clipped if first <= last]
