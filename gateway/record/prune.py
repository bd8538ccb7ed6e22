"""Which entries may leave a ledger, and their leaving, oldest first.

Kept at any age and size: alarms that are owed, what belongs to an open alarm, the raising of a
fault that stands, the last inventory, the newest entry, and each stream's newest message, whose
hash the next one names. So does what is damaged: nobody knows what it is owed to.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from gateway.record.file import LedgerFile
from gateway.record.owed import SEQUENCE_BITS, SEQUENCE_MAX, Owed

_OLDEST = (
    "SELECT number, alarm IN open_alarm OR number IN (SELECT event FROM open_fault) OR number ="
    " (SELECT max(number) FROM event WHERE type = 'state.inventory') OR number ="
    " (SELECT max(number) FROM event), utc_ms, keys FROM event"
    " WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"
)
"""The newest entry stays because SQLite gives its number again, and with it its age."""

_FOREVER = 1 << 62
_KEY_BYTES = 8


class _Row(NamedTuple):
    number: int
    needed: int
    utc_ms: int
    packed: bytes


class Pruning:
    """Goes round the events from the oldest, a bounded stretch a call.

    Every call goes on where the last one stopped. at_end: it has looked at the newest. Every method
    belongs within the file's `writing`; heads are the keys of the streams' newest messages.
    """

    def __init__(self, file: LedgerFile, owed: Owed) -> None:
        self._file = file
        self._owed = owed
        self._looked_to = 0
        self.at_end = False

    def rewind(self) -> None:
        """Begin again with the oldest."""
        self._looked_to = 0
        self.at_end = False

    def settled(
        self,
        *,
        heads: Collection[int],
        limit: int,
        up_to: int = _FOREVER,
        before_utc_ms: int = _FOREVER,
    ) -> int:
        """Remove at most `limit` settled events, of any age unless told; how many left.

        up_to: the number of the last that may. Four times as many are looked at.
        """
        gone = 0
        for row in self._round(4 * limit, up_to):
            keys = array("q", row.packed)
            kept = row.needed or row.utc_ms >= before_utc_ms or any(key in heads for key in keys)
            if not kept and not any(self._owed.holds(key) for key in keys):
                self._remove(row.number, keys)
                gone += 1
                if gone == limit:
                    break
        return gone

    def log(
        self, log: Collection[int], *, heads: Collection[int], limit: int
    ) -> tuple[int, list[int]]:
        """Remove at most `limit` events that no alarm stream is owed, and the log's debts.

        log: the numbers of the log streams. How many left, and the keys of what was owed of it.
        """
        gone = 0
        given_up: list[int] = []
        for row in self._round(4 * limit, _FOREVER):
            keys = array("q", row.packed)
            owed = [key for key in keys if self._owed.holds(key)]
            kept = row.needed or any(key in heads for key in keys)
            if kept or any(key >> SEQUENCE_BITS not in log for key in owed):
                continue
            for key in owed:
                number = key & SEQUENCE_MAX
                self._owed.take(key >> SEQUENCE_BITS, [(number, number)])
            given_up += owed
            self._remove(row.number, keys)
            gone += 1
            if gone == limit:
                break
        return gone, given_up

    def _round(self, most: int, up_to: int) -> Iterator[_Row]:
        asked = (self._looked_to, up_to, most)
        rows = [_Row(*row) for row in self._file.rows(_OLDEST, asked)]
        self.at_end = False
        for row in rows:
            self._looked_to = row.number
            if len(row.packed) % _KEY_BYTES == 0:
                yield row
        self.at_end = len(rows) < most

    def _remove(self, number: int, keys: Sequence[int]) -> None:
        for key in keys:
            self._file.run("DELETE FROM message WHERE key = ?", (key,))
        self._file.run("DELETE FROM event WHERE number = ?", (number,))

    def forget_empty_starts(self, *, now: int) -> None:
        """Drop the starts before `now` that hold nothing.

        Not the very first, and of each ledger not the newest: the next one counts on from it.
        """
        self._file.run(
            "DELETE FROM stream WHERE begun < :now AND NOT EXISTS (SELECT 1 FROM message"
            " WHERE key BETWEEN number << :bits AND (number + 1 << :bits) - 1)",
            {"now": now, "bits": SEQUENCE_BITS},
        )
        self._file.run(
            "DELETE FROM start WHERE number < ? AND number > (SELECT min(number) FROM start)"
            " AND number NOT IN (SELECT begun FROM stream) AND epoch <"
            " (SELECT max(epoch) FROM start AS other WHERE other.ledger = start.ledger)",
            (now,),
        )
