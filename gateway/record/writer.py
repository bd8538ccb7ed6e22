"""Between the loop and the disk: takes entries at once, has them written in groups, loses none.

Owns the daemon thread; what waits is in `backlog.py`, the SQL in `ledger.py`.
Nothing here blocks the loop, and a stuck sync holds up no exit.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from gateway.core.model import Message, StreamKey
from gateway.record.backlog import Backlog, Outcome, fail, resolve
from gateway.record.entry import Entry, LedgerError, StorageTrouble
from gateway.record.file import LedgerFile
from gateway.record.ledger import Ledger
from gateway.record.mending import Mending
from gateway.record.opening import Opened, together

T = TypeVar("T")

RETRY_MS = 1_000
QUEUE_MAX = 10_000
IDLE_S = 1.0
"""Quiet time before the ledger's housekeeping."""


class Writer(Protocol):
    """What the daemon sees of the disk. Futures and callbacks come on the loop."""

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """Take an entry; resolves when it is on disk, however long that takes. Never blocks.

        LedgerError in the future: REFUSED, it can never be recorded; DROPPED, a log entry given up
        because the queue is full; STOPPED, the writer has ended.
        """

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        """Take ranges of numbers out of what is owed, eventually, after all entries before it."""

    def read(self, key: StreamKey, first: int, last: int) -> asyncio.Future[list[Message]]:
        """The messages of a range of numbers, on disk or still waiting for it, in order.

        All there are, or LedgerError in the future: nobody may take what a failing disk keeps to
        itself for gone.
        """

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        """Run something on the ledger after what was handed in before; its result or exception."""

    async def stop(self, *, within_s: float) -> bool:
        """Write what can be written and let go; False when some entry did not reach the disk."""

    @property
    def backlog(self) -> int:
        """Entries that are not on disk yet."""

    @property
    def dropped(self) -> int:
        """Log entries given up since the start because the queue was full."""


class _Common(ABC):
    """The part of the contract that is the same with and without a thread."""

    def __init__(
        self,
        ledger_open: Callable[[], Ledger],
        *,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
        retry_ms: int = RETRY_MS,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """`ledger_open` is called once, where the disk may be touched.

        on_trouble(reason, text) is called once when writing begins to fail, on_recovered once when
        everything kept is on disk again. Kept entries are tried again with the next one and every
        `retry_ms`. Above `queue_max` waiting entries the oldest that are only log are dropped.
        """
        self._ledger_open = ledger_open
        self._retry_s = retry_ms / 1_000
        self._stopped = False
        self._mending = Mending()
        self._waiting = Backlog(
            self._hand_over, on_trouble=on_trouble, on_recovered=on_recovered, queue_max=queue_max
        )

    @property
    def backlog(self) -> int:
        """Entries that are not on disk yet."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Log entries given up since the start because the queue was full."""
        return self._waiting.dropped

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """As Writer.append."""
        if self._stopped:
            return _refusal()
        future = self._waiting.add(entry)
        self._wake()
        return future

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        """As Writer.settle."""
        if not self._stopped:
            self._waiting.settle(key, ranges, utc_ms)
            self._wake()

    def read(self, key: StreamKey, first: int, last: int) -> asyncio.Future[list[Message]]:
        """As Writer.read; what is all still waiting is answered at once, disk or no disk."""
        waiting = self._waiting.find(key, first, last)
        if waiting and len(waiting) == last - first + 1:
            future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
            future.set_result([waiting[number] for number in sorted(waiting)])
            return future
        return self.call(partial(self._read, key=key, first=first, last=last))

    def _read(self, ledger: Ledger, *, key: StreamKey, first: int, last: int) -> list[Message]:
        found = self._waiting.find(key, first, last)
        try:
            found |= {message.sequence: message for message in ledger.read(key, first, last)}
        except LedgerError:
            if len(found) != last - first + 1:
                raise
        return [found[number] for number in sorted(found)]

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        """As Writer.call."""
        if self._stopped:
            return _refusal()
        future = self._waiting.call(fn)
        self._wake()
        return future

    @abstractmethod
    def _wake(self) -> None:
        """There is work: see that a round is made of it."""

    @abstractmethod
    def _hand_over(self, outcomes: list[Outcome]) -> None:
        """Bring the outcomes of a round to the loop."""


class ThreadWriter(_Common):
    """The Writer of a running gateway: one daemon thread, which alone touches the disk."""

    _loop: asyncio.AbstractEventLoop
    _ended: asyncio.Future[bool]

    def __init__(
        self,
        ledger_open: Callable[[], Ledger],
        *,
        memory_open: Callable[[], Ledger],
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
        retry_ms: int = RETRY_MS,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """As InlineWriter; `memory_open` is for a disk that does not answer even while opening."""
        super().__init__(
            ledger_open,
            on_trouble=on_trouble,
            on_recovered=on_recovered,
            retry_ms=retry_ms,
            queue_max=queue_max,
        )
        self._memory_open = memory_open
        self._condition = threading.Condition(threading.Lock())
        self._woken = False
        self._ending = False
        self._opening: asyncio.Future[Ledger] | None = None
        self._looking = self._over = False
        self._found: Opened[LedgerFile] | None = None
        self._late: Ledger | None = None

    async def start(self, *, within_s: float) -> Ledger:
        """Open the ledger on the thread and begin to write; the open ledger, for its facts.

        A disk that does not answer within `within_s` is left alone and the ledger of `memory_open`
        used instead. Raises what `ledger_open` raises (LedgerBusy).
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        opened = self._begin(self._ledger_open)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await asyncio.shield(opened)
        with self._condition:
            too_late = self._opening is opened
            self._opening = None
        if too_late:
            opened.cancel()
            self._looking = True  # until that thread has come back
            opened = self._begin(self._memory_open)
        return await opened

    def _begin(self, opener: Callable[[], Ledger]) -> asyncio.Future[Ledger]:
        opened: asyncio.Future[Ledger] = self._loop.create_future()
        self._opening = opened
        run = partial(self._run, opener, opened)
        threading.Thread(target=run, name="ledger", daemon=True).start()
        return opened

    def _run(self, opener: Callable[[], Ledger], opened: asyncio.Future[Ledger]) -> None:
        outcome: Ledger | BaseException
        try:
            outcome = opener()
        except BaseException as exc:  # noqa: BLE001 -- it belongs to whoever called start
            outcome = exc
        with self._condition:
            in_time = self._opening is opened
            if in_time:
                self._opening = None
        clean = True
        if isinstance(outcome, Ledger):
            if in_time:
                self._hand_over([partial(resolve, opened, outcome)])
                clean = self._serve(outcome)
                self._leave_off()
            with suppress(LedgerError):  # all that was acknowledged is on disk, in the WAL
                outcome.close()
            if not in_time:
                self._late = outcome  # what it has set aside must still be told
        elif in_time:
            self._hand_over([partial(fail, opened, outcome)])
        if in_time:
            self._hand_over([partial(resolve, self._ended, clean)])
        else:
            self._looked(None)  # it does answer: from now on it may be looked at again

    def _serve(self, ledger: Ledger) -> bool:
        """Write until the end is asked for; True when nothing was left over."""
        more = idle = False
        while True:
            idle = not more and not self._await_work(tidied=idle)
            ending = self._ending
            try:
                self._mend(ledger)
                more = self._waiting.round(ledger, idle=idle)
            except Exception as defect:  # noqa: BLE001 -- it must not end the only thread that writes
                self._waiting.stumbled(defect)
                more = False
            if ending and not more:
                return len(self._waiting) == 0

    def _leave_off(self) -> None:
        with self._condition:
            self._over = True
            found, self._found = self._found, None
        if found is not None:
            found.taken.abandon()

    def _mend(self, ledger: Ledger) -> None:
        """Look for a disk, on a thread of its own that may hang; move to what it has found."""
        with self._condition:
            found, self._found = self._found, None
        if found is not None:
            self._waiting.move(ledger, found)
            return
        now_s = self._loop.time()
        if self._looking or not self._mending.due(ledger, self._waiting.reason, now_s):
            return
        if ledger.give_way():
            self._looking = True
            look = partial(self._look, ledger)
            try:
                threading.Thread(target=look, name="ledger's place", daemon=True).start()
            except RuntimeError:  # no room for a thread now: it is due again in a few seconds
                self._looking = False

    def _look(self, ledger: Ledger) -> None:
        found: Opened[LedgerFile] | None = None
        with suppress(Exception):  # whatever it is, there is no disk yet
            found = ledger.reopen()
        late, self._late = self._late, self._late if found is None else None
        if found is not None and late is not None and late.set_aside is not None:
            lost = together([found.lost, late.lost])
            found = replace(found, aside=late.set_aside, why=late.set_aside_why, lost=lost)
        self._looked(found)

    def _looked(self, found: Opened[LedgerFile] | None) -> None:
        with self._condition:
            self._looking = False
            too_late, found = (found, None) if self._over else (None, found)
            self._found = found
            self._woken = True
            self._condition.notify()
        if too_late is not None:
            too_late.taken.abandon()

    def _await_work(self, *, tidied: bool) -> bool:
        """Sleep until there is work; False when it is only time to try again or to tidy."""
        if self._waiting.trouble:
            timeout_s: float | None = self._retry_s
        else:
            timeout_s = None if tidied else IDLE_S
        with self._condition:
            woken = self._condition.wait_for(lambda: self._woken, timeout_s)
            self._woken = False
            return woken

    def _wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify()

    def _hand_over(self, outcomes: list[Outcome]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(_run_all, outcomes)

    async def stop(self, *, within_s: float) -> bool:
        """As Writer.stop; a disk that hangs longer is left to the daemon thread."""
        self._stopped = True
        self._ending = True
        self._wake()
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(self._ended)
        except TimeoutError:
            return len(self._waiting) == 0
        finally:
            self._waiting.give_up()


class InlineWriter(_Common):
    """The same contract on the loop itself, for virtual time: every call goes through at once."""

    _ledger: Ledger | None = None
    _retry: asyncio.TimerHandle | None = None

    async def start(self, *, within_s: float) -> Ledger:
        """Open the ledger; `within_s` is the thread's. Raises what `ledger_open` raises."""
        del within_s
        self._ledger = self._ledger_open()
        self._wake()
        return self._ledger

    def _wake(self) -> None:
        if self._ledger is None:
            return
        self._mend(self._ledger)
        while self._waiting.round(self._ledger):
            pass
        if self._waiting.trouble and self._retry is None and not self._stopped:
            self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._try_again)

    def _mend(self, ledger: Ledger) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._mending.due(ledger, self._waiting.reason, now_s) and ledger.give_way():
            with suppress(LedgerError):  # there is none yet
                self._waiting.move(ledger, ledger.reopen())

    def _try_again(self) -> None:
        self._retry = None
        self._wake()

    def _hand_over(self, outcomes: list[Outcome]) -> None:
        asyncio.get_running_loop().call_soon(_run_all, outcomes)

    async def stop(self, *, within_s: float) -> bool:
        """As Writer.stop, at once."""
        del within_s
        self._stopped = True
        self._wake()
        if self._retry is not None:
            self._retry.cancel()
        if self._ledger is not None:
            with suppress(LedgerError):  # all that was acknowledged is on disk already, in the WAL
                self._ledger.close()
        self._waiting.give_up()
        return len(self._waiting) == 0


def _refusal() -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    fail(future, LedgerError(StorageTrouble.STOPPED, "the writer has stopped"))
    return future


def _run_all(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        outcome()
