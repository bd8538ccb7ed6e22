"""How old an entry is, counted by the time the gateway has lived and not by the calendar.

A clock that starts in 1970, jumps to 2099 or comes back moves nothing out and keeps nothing in:
age grows with the monotonic clock, and over a reboot by as much UTC as was synchronised before and
is again. A gateway without a network does not count the time it was switched off.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from gateway.core.model import Stamp
from gateway.record.file import LedgerFile

AGE_SCHEMA = """
CREATE TABLE mark (number INTEGER PRIMARY KEY, lived_ms INTEGER NOT NULL) STRICT;
CREATE TABLE lived (
    lived_ms INTEGER NOT NULL, boot TEXT NOT NULL, monotonic_ms INTEGER NOT NULL,
    sure_lived_ms INTEGER NOT NULL, sure_boot TEXT NOT NULL, sure_utc_ms INTEGER NOT NULL
) STRICT;
"""

MARK_EVERY_MS = 86_400_000
"""A mark a day: an entry's age is known to a day, and the card is written once for it."""

UNSEEN_SHARE = 4
"""Time between two boots counts for at most a quarter of what is kept: a clock that was put right
by decades in between must not empty a ledger."""


@dataclass(frozen=True, slots=True)
class _Lived:
    """How long the ledger had lived at a moment, and at the last one when UTC was synchronised.

    sure_boot: empty when UTC never was.
    """

    lived_ms: int
    boot: str
    monotonic_ms: int
    sure_lived_ms: int = 0
    sure_boot: str = ""
    sure_utc_ms: int = 0

    def by(self, now: Stamp, *, unseen_ms: int) -> _Lived:
        """The same, now. unseen_ms: what a time between two boots may count for."""
        seen_ms = self.monotonic_ms if self.boot == now.boot else 0
        lived_ms = self.lived_ms + max(0, now.monotonic_ms - seen_ms)
        if now.synchronised and self.sure_boot not in {"", now.boot}:
            passed_ms = min(now.utc_ms - self.sure_utc_ms, unseen_ms)
            lived_ms = max(lived_ms, self.sure_lived_ms + passed_ms)
        sure = (lived_ms, now.boot, now.utc_ms)
        if not now.synchronised:
            sure = (self.sure_lived_ms, self.sure_boot, self.sure_utc_ms)
        return _Lived(lived_ms, now.boot, now.monotonic_ms, *sure)


class Age:
    """Marks of how long the ledger had lived when it held so many events."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def look(self, now: Stamp, *, keep_ms: int) -> int:
        """The number of the last event older than `keep_ms`, 0 for none; marks the day.

        Opens its own reading and writing; to be called once an hour or so.
        """
        with self._file.reading("the ledger's age could not be read"):
            row = self._file.one("SELECT * FROM lived")
            before = _Lived(*row) if row else None
            then = before or _Lived(0, now.boot, now.monotonic_ms)
            lived = then.by(now, unseen_ms=keep_ms // UNSEEN_SHARE)
        if before is None or _worth_keeping(before, lived):
            with self._file.writing("the ledger's age could not be kept"):
                self._keep(lived, keep_ms)
        with self._file.reading("the ledger's age could not be read"):
            old = "SELECT max(number) FROM mark WHERE lived_ms <= ?"
            return self._file.one(old, (lived.lived_ms - keep_ms,)) or 0

    def _keep(self, lived: _Lived, keep_ms: int) -> None:
        self._file.run("DELETE FROM lived")
        self._file.run("INSERT INTO lived VALUES (?, ?, ?, ?, ?, ?)", astuple(lived))
        self._file.run(
            "INSERT OR IGNORE INTO mark SELECT coalesce(max(number), 0), ? FROM event",
            (lived.lived_ms,),
        )
        self._file.run(  # of the marks that are old, the newest says it all
            "DELETE FROM mark WHERE number < (SELECT max(number) FROM mark WHERE lived_ms <= ?)",
            (lived.lived_ms - keep_ms,),
        )


def _worth_keeping(before: _Lived, now: _Lived) -> bool:
    a_day = now.lived_ms - before.lived_ms >= MARK_EVERY_MS
    return a_day or now.boot != before.boot or now.sure_boot != before.sure_boot
