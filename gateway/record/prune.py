"""Which settled entries may leave a ledger, and their leaving.

Kept at any age: what is owed, what belongs to an open alarm, the last inventory, and each stream's
newest message, whose hash the next one names.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection

from gateway.record.file import LedgerFile
from gateway.record.owed import SEQUENCE_BITS, Owed

_OLDEST = (
    "SELECT number, alarm IN open_alarm OR number ="
    " (SELECT max(number) FROM event WHERE type = 'state.inventory'), utc_ms, keys FROM event"
    " WHERE number > ? ORDER BY number LIMIT ?"
)


class Pruning:
    """Goes round the events from the oldest, a bounded stretch a call."""

    def __init__(self, file: LedgerFile, owed: Owed) -> None:
        self._file = file
        self._owed = owed
        self._looked_to = 0

    def prune(self, *, before_utc_ms: int, limit: int, heads: Collection[int]) -> int:
        """Remove at most `limit` events older than that; within the file's `writing`.

        Four times as many are looked at; the next call goes on from there, and starts over when the
        end was reached. `heads` are the keys of the streams' newest messages.
        """
        rows = list(self._file.rows(_OLDEST, (self._looked_to, 4 * limit)))
        gone = 0
        for number, needed, utc_ms, packed in rows:
            if gone == limit:
                return gone
            self._looked_to = number
            keys = array("q", packed)
            kept = needed or utc_ms >= before_utc_ms or any(key in heads for key in keys)
            if not kept and not any(self._owed.holds(key) for key in keys):
                for key in keys:
                    self._file.run("DELETE FROM message WHERE key = ?", (key,))
                self._file.run("DELETE FROM event WHERE number = ?", (number,))
                gone += 1
        if len(rows) < 4 * limit:
            self._looked_to = 0
        return gone

    def forget_empty_starts(self, *, now: int) -> None:
        """Drop the rows of epochs before `now` that hold nothing, except the very first start."""
        self._file.run(
            "DELETE FROM stream WHERE epoch < :now AND NOT EXISTS (SELECT 1 FROM message"
            " WHERE key BETWEEN number << :bits AND (number + 1 << :bits) - 1)",
            {"now": now, "bits": SEQUENCE_BITS},
        )
        self._file.run(
            "DELETE FROM start WHERE epoch < ? AND epoch > (SELECT min(epoch) FROM start)"
            " AND epoch NOT IN (SELECT epoch FROM stream)",
            (now,),
        )
