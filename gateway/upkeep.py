"""The housekeeping of a running daemon: the ledger's faults, age and losses, and a look at UTC.

Everything here that touches the disk is asked of the writer and comes back later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from gateway.clock import Clock
from gateway.core.message import rfc3339
from gateway.core.model import US_PER_MS, Fact, Json
from gateway.core.premises import Premises
from gateway.core.timekeeping import Timekeeping
from gateway.record.entry import LedgerError
from gateway.record.leaving import Dropped
from gateway.record.ledger import Found, Ledger
from gateway.record.look import Look, look
from gateway.record.writer import Writer
from gateway.storage import Storage

T = TypeVar("T")

RETAIN_EVERY_US = 3_600_000_000
REPORT_EVERY_US = 60_000_000
"""What was dropped of the log is reported at most so often: a report is itself an entry."""

MS_PER_DAY = 86_400_000

LOOK_WITHIN_S = 1.0
"""Whoever asks how the disk is hears by then that it does not answer."""


class Upkeep:
    """One daemon's. tell records facts; take_over owes what a disk held that has come back."""

    def __init__(
        self,
        premises: Premises,
        clock: Clock,
        writer: Writer,
        *,
        tell: Callable[[Iterable[Fact]], None],
        take_over: Callable[[Found], None],
    ) -> None:
        self._keep_ms = premises.ledger.keep_days * MS_PER_DAY
        self._clock = clock
        self._writer = writer
        self._tell = tell
        self._take_over = take_over
        self._storage = Storage()
        self._timekeeping = Timekeeping(premises.gateway, clock.now_us())
        self._retain_us = clock.now_us()
        self._report_us = self._retain_us + REPORT_EVERY_US
        self._reporting = False

    def begin(self, *, trouble: str | None, set_aside: str | None, lost: int | None) -> list[Fact]:
        """What is to be said of the disk at a start; of a good one that nothing stands any more."""
        now_us = self._clock.now_us()
        facts: list[Fact] = []
        if trouble is not None:
            facts += self._storage.failed(now_us, "memory", trouble)
        if set_aside is not None:
            facts += self._storage.set_aside(now_us, set_aside, lost=lost)
        return facts or [Fact("fault.storage.cleared", "ledger", now_us)]

    # --- what the writer and the recorder report ------------------------------------------------

    def trouble(self, why: str, text: str) -> None:
        """Writing has begun to fail. Called by the writer, on the loop."""
        self._tell(self._storage.failed(self._clock.now_us(), why, text))

    def recovered(self) -> None:
        """All that was kept in memory is on disk. Called by the writer, on the loop."""
        self.on_disk(Ledger.take_found, self._recovered)

    def late(self) -> None:
        """An alarm went ahead of the disk."""
        self._tell(self._storage.late(self._clock.now_us()))

    def _recovered(self, found: Found | None) -> None:
        now_us = self._clock.now_us()
        if found is not None:
            self._take_over(found)
        if found is not None and found.aside is not None:
            self._tell(self._storage.set_aside(now_us, found.aside, lost=found.lost))
        elif found is not None and found.lost != 0:
            self._tell(self._storage.replaced(now_us, lost=found.lost))
        else:
            self._tell(self._storage.recovered(now_us))

    # --- time -----------------------------------------------------------------------------------

    def deadline(self) -> int:
        """When `wake` will have something to do."""
        moments = (
            self._storage.deadline(),
            self._timekeeping.deadline(),
            self._retain_us,
            self._report_us,
        )
        return min(moment for moment in moments if moment is not None)

    def wake(self, now_us: int) -> None:
        """Do what is due."""
        self._tell(self._storage.wake(now_us))
        if now_us >= self._timekeeping.deadline():
            self._tell(self._timekeeping.feed(now_us, self._clock.stamp(now_us)))
        if now_us >= self._retain_us:
            self._retain_us = now_us + RETAIN_EVERY_US
            now = self._clock.stamp(now_us)
            # a disk in trouble is told by the writer; the next hour tries again
            self.on_disk(lambda ledger: ledger.retain(now, keep_ms=self._keep_ms))
        if now_us >= self._report_us:
            self._report_us = now_us + REPORT_EVERY_US
            if not self._reporting:  # a disk that hangs is asked once
                self._reporting = True
                self.on_disk(lambda ledger: ledger.dropped.take(), self._report)

    def _report(self, dropped: list[Dropped]) -> None:
        now_us = self._clock.now_us()
        self._tell(
            Fact(
                "state.log.dropped",
                each.key.route,
                now_us,
                data={
                    "ledger": each.key.ledger,
                    "epoch": each.key.epoch,
                    "from": each.first,
                    "to": each.last,
                    "count": each.count,
                },
                to=(each.key.route,),
            )
            for each in dropped
        )

    # --- for people -----------------------------------------------------------------------------

    async def status(self) -> dict[str, Json]:
        """How ledger and clock are, under those names; a disk that hangs is waited for a second."""
        seen: dict[str, Json] = {"answers": True}
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                seen |= _seen(await self._writer.call(look))
        except (TimeoutError, LedgerError):
            seen["answers"] = False
        seen |= {"unwritten": self._writer.backlog, "fault": self._storage.standing}
        now_us = self._clock.now_us()
        stamp, since_us = self._clock.stamp(now_us), self._timekeeping.doubtful_us
        clock: dict[str, Json] = {
            "utc": rfc3339(stamp.utc_ms),
            "synchronised": stamp.synchronised,
            "error_ms": stamp.error_ms,
            "unsynchronised_ms": None if since_us is None else (now_us - since_us) // US_PER_MS,
            "fault": self._timekeeping.standing,
        }
        return {"ledger_file": seen, "clock": clock}

    # --- the disk's thread ----------------------------------------------------------------------

    def on_disk(self, work: Callable[[Ledger], T], then: Callable[[T], None] | None = None) -> None:
        """Have it done by the disk's thread; what fails there is told by the writer."""
        self._writer.call(work).add_done_callback(partial(self._done, then))

    def _done(self, then: Callable[[T], None] | None, done: asyncio.Future[T]) -> None:
        self._reporting = self._reporting and then != self._report
        if not done.cancelled() and done.exception() is None and then is not None:
            then(done.result())


def _seen(ledger: Look) -> dict[str, Json]:
    oldest: dict[str, Json] | None = None
    if ledger.oldest is not None:
        stamp = ledger.oldest.stamp
        oldest = {"utc": rfc3339(stamp.utc_ms), "synchronised": stamp.synchronised}
    return {
        "path": ledger.path,
        "on_disk": ledger.durable,
        "trouble": ledger.trouble,
        "bytes": ledger.bytes,
        "max_bytes": ledger.max_bytes,
        "free_bytes": ledger.free_bytes,
        "oldest": oldest,
        "dropped": ledger.dropped,
    }
