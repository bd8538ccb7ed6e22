"""What waits for the disk, in order, and the one round that brings it there.

Filled on the loop, worked off where the disk is; its lock is held only to move references about,
never during I/O. What the disk refuses stays here and is tried again. Speaks no SQL.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from gateway.core.kinds import class_of
from gateway.core.model import Message, Stream, StreamKey
from gateway.core.ranges import Ranges
from gateway.record.entry import Entry, LedgerError, StorageTrouble
from gateway.record.file import LedgerFile
from gateway.record.ledger import Ledger
from gateway.record.opening import Opened

T = TypeVar("T")
Outcome = Callable[[], None]
Deliver = Callable[[list[Outcome]], None]
Settles = dict[StreamKey, tuple[Ranges, int]]

BATCH_MAX = 256
"""Entries in one transaction: enough to make a sync cheap, few enough to be tried again."""


BATCH_IN_TROUBLE = 16
"""While a disk is being tried again: it may have room for a little, and none for much."""


class _Waiting:
    """An entry and whoever waits for it."""

    __slots__ = ("entry", "future", "log_only")

    def __init__(self, entry: Entry, future: asyncio.Future[None]) -> None:
        self.entry = entry
        self.future = future
        # one that no route is owed is none of the log's either: it must be known to be open
        alarm = class_of(entry.event.type) == "alarm"
        self.log_only = not alarm and all(m.key.stream is Stream.LOG for m in entry.messages)


class _Job:
    """Something to run on the ledger and whoever waits for the result."""

    __slots__ = ("fn", "future")

    def __init__(self, fn: Callable[[Ledger], Any], future: asyncio.Future[Any]) -> None:
        self.fn = fn
        self.future = future

    def run(self, ledger: Ledger) -> Outcome:
        try:
            return partial(resolve, self.future, self.fn(ledger))
        except Exception as exc:  # noqa: BLE001 -- it belongs to the caller, who awaits the future
            return partial(fail, self.future, exc)


class Backlog:
    """Entries, settlements and calls that wait; `round` works them off.

    deliver: brings outcomes to the loop, in order. on_trouble(reason, text) is called once when
    writing begins to fail, on_recovered once when everything kept is on disk again. A ledger that
    begins in memory is in trouble without a word: who opened it knows.
    """

    def __init__(
        self,
        deliver: Deliver,
        *,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
        queue_max: int,
    ) -> None:
        self.trouble = False
        self.reason: StorageTrouble | None = None
        self.dropped = 0
        self._deliver = deliver
        self._on_trouble = on_trouble
        self._on_recovered = on_recovered
        self._queue_max = queue_max
        self._lock = threading.Lock()
        self._entries: deque[_Waiting] = deque()
        self._log_only = 0
        self._in_hand = 0
        self._settles: Settles = {}
        self._jobs: list[_Job] = []
        self._given_up: dict[StreamKey, Ranges] = {}

    def __len__(self) -> int:
        """Entries that are not on disk yet."""
        return len(self._entries)

    # --- on the loop --------------------------------------------------------------------------

    def add(self, entry: Entry) -> asyncio.Future[None]:
        """Queue an entry; a queue that is full gives up its oldest log entry, never an alarm."""
        waiting = _Waiting(entry, asyncio.get_running_loop().create_future())
        with self._lock:
            self._entries.append(waiting)
            self._log_only += waiting.log_only
            given_up = self._make_room()
        if given_up is not None:
            text = "the queue to the disk is full"
            fail(given_up.future, LedgerError(StorageTrouble.DROPPED, text))
        return waiting.future

    def _make_room(self) -> _Waiting | None:
        if len(self._entries) <= self._queue_max or not self._log_only:
            return None
        for index, waiting in enumerate(self._entries):
            if waiting.log_only and index >= self._in_hand:
                del self._entries[index]
                self._log_only -= 1
                self.dropped += 1
                for message in waiting.entry.messages:  # its number, never its bytes
                    numbers = self._given_up.setdefault(message.key, Ranges())
                    numbers.add(message.sequence, message.sequence)
                return waiting
        return None

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        """Queue a settlement, merged with what waits for the same stream."""
        with self._lock:
            _merge(self._settles, {key: (Ranges(ranges), utc_ms)})

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        """Queue a call; its result or exception comes in the future."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._jobs.append(_Job(fn, future))
        return future

    def find(self, key: StreamKey, first: int, last: int) -> dict[int, Message]:
        """The messages of a range of numbers that are not on disk yet, by number."""
        with self._lock:
            return {
                message.sequence: message
                for waiting in self._entries
                for message in waiting.entry.messages
                if message.key == key and first <= message.sequence <= last
            }

    def give_up(self) -> None:
        """Tell everybody who still waits that the writer has stopped."""
        with self._lock:
            futures = [waiting.future for waiting in self._entries]
            futures += [job.future for job in self._jobs]
        for future in futures:
            fail(future, LedgerError(StorageTrouble.STOPPED, "the writer has stopped"))

    # --- where the disk is --------------------------------------------------------------------

    def round(self, ledger: Ledger, *, idle: bool = False) -> bool:
        """Bring a batch to the disk, then settle, answer and tidy; True when more waits.

        Settlements and calls go after every entry that was queued before them. `idle`: nothing
        else is to do, so the ledger may do its housekeeping early.
        """
        if ledger.place is not None and not ledger.durable:
            self.trouble = True
        with self._lock:
            most = BATCH_IN_TROUBLE if self.trouble else BATCH_MAX
            batch = list(islice(self._entries, most))
            to_the_end = len(batch) == len(self._entries)
            self._in_hand = len(batch)
            settles: Settles = {}
            if to_the_end:
                settles, self._settles = self._settles, settles
            jobs: list[_Job] = []
            if to_the_end or self.trouble:
                jobs, self._jobs = self._jobs, jobs
            given_up, self._given_up = self._given_up, {}
        for key, numbers in given_up.items():
            for first, last in numbers:
                ledger.dropped.add(key, first, last)
        well = self._write(ledger, batch) and self._settle(ledger, settles)
        if not well:
            with self._lock:
                _merge(self._settles, settles)
        if jobs:
            self._deliver([job.run(ledger) for job in jobs])
        more = self._tidy(ledger, idle=idle)
        whole = ledger.durable or ledger.place is None
        if self.trouble and well and more is not None and to_the_end and whole:
            self.trouble = False
            self.reason = None
            self._deliver([self._on_recovered])
        with self._lock:
            self._in_hand = 0
            waiting = bool(self._entries or self._settles or self._jobs)
            return (well or not self.trouble) and (waiting or bool(more))

    def _tidy(self, ledger: Ledger, *, idle: bool) -> bool | None:
        """The ledger's housekeeping; True when it has more to do, None when it failed."""
        more: list[bool] = []
        failure = self._attempt(lambda: more.append(ledger.tidy(idle=idle)))
        if failure is None and ledger.damaged:
            text = "a page of the ledger makes no sense"
            failure = self._failed(LedgerError(StorageTrouble.CORRUPT, text))
        return None if failure is not None else more[0]

    def stumbled(self, defect: Exception) -> None:
        """Something nobody had reckoned with has ended a round; what waits is tried again."""
        text = f"the ledger's writer failed: {defect!r}"
        self._failed(LedgerError(StorageTrouble.OTHER, text))

    def move(self, ledger: Ledger, had: Opened[LedgerFile]) -> None:
        """Go on in the file that was found in the ledger's place."""
        self._attempt(partial(ledger.move_to, had))

    def _write(self, ledger: Ledger, batch: list[_Waiting]) -> bool:
        """Append a batch; False when the disk refuses, and then it stays, at the front."""
        if not batch:
            return True
        failure = self._attempt(partial(ledger.append, [waiting.entry for waiting in batch]))
        if failure is not None:
            if failure.reason is not StorageTrouble.REFUSED:
                return False
            if len(batch) > 1:
                # One of them can never be written: the others must not suffer for it.
                return all(self._write(ledger, [waiting]) for waiting in batch)
        with self._lock:
            for waiting in batch:
                self._entries.popleft()
                self._log_only -= waiting.log_only
            self._in_hand -= len(batch)
        if failure is None:
            self._deliver([partial(resolve, waiting.future, None) for waiting in batch])
        else:
            self._deliver([partial(fail, waiting.future, failure) for waiting in batch])
        return True

    def _settle(self, ledger: Ledger, settles: Settles) -> bool:
        """Settle stream by stream; False when the disk refuses."""
        return not any(
            self._attempt(partial(ledger.settle, key, list(ranges), utc_ms=utc_ms))
            for key, (ranges, utc_ms) in settles.items()
        )

    def _attempt(self, write: Callable[[], object]) -> LedgerError | None:
        """Run a write and give what went wrong, told once as trouble; None when it went well."""
        try:
            write()
        except LedgerError as exc:
            failure = exc
        except Exception as exc:  # noqa: BLE001 -- a defect must not end the only thread that writes
            failure = LedgerError(StorageTrouble.OTHER, f"the ledger failed: {exc!r}")
        else:
            return None
        return self._failed(failure)

    def _failed(self, failure: LedgerError) -> LedgerError:
        if failure.reason is not StorageTrouble.REFUSED:
            self.reason = failure.reason
            if not self.trouble:
                self.trouble = True
                self._deliver([partial(self._on_trouble, failure.reason.value, str(failure))])
        return failure


def _merge(into: Settles, settles: Settles) -> None:
    for key, (ranges, utc_ms) in settles.items():
        merged, known_utc_ms = into.get(key, (Ranges(), utc_ms))
        for first, last in ranges:
            merged.add(first, last)
        into[key] = (merged, max(utc_ms, known_utc_ms))


def resolve(future: asyncio.Future[T], result: T) -> None:
    """Give a future its result unless it has been cancelled or given up."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[Any], exc: BaseException) -> None:
    """Give a future its exception; one that nobody awaits is not reported as forgotten."""
    if not future.done():
        future.set_exception(exc)
        future.exception()
