"""A disk that is late under virtual time: one call takes its time, everything behind it waits.

The real ledger and the real inline writer, with their outcomes brought to the loop as late as a
thread that is stuck in that call would bring them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.clock import Clock, Timer
from gateway.core.model import Message, StreamKey
from gateway.record.disk import InlineDisk
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer

T = TypeVar("T")


class LateDisk:
    """The disk seam over a path. `late` makes whatever is in hand take so much longer, once.

    To be called while the disk is at work (`FaultyDisk.struck`).
    """

    def __init__(self, path: str, *, clock: Clock, vfs: str) -> None:
        self._inner = InlineDisk(path, vfs=vfs)
        self._owed_us = 0
        self.clock = clock

    def late(self, seconds: float) -> None:
        """The call in hand takes so much longer."""
        self._owed_us += round(seconds * 1_000_000)

    def take(self) -> int:
        """Microseconds the last call took too long."""
        owed_us, self._owed_us = self._owed_us, 0
        return owed_us

    async def open(self, **begin: Any) -> tuple[Writer, Ledger]:
        """As `seams.Disk.open`."""
        writer, ledger = await self._inner.open(**begin)
        await self.clock.sleep(self.take() / 1_000_000)
        return _LateWriter(writer, self), ledger


class _LateWriter:
    """The Writer's contract over another one: what is asked while the disk is busy waits."""

    def __init__(self, inner: Writer, disk: LateDisk) -> None:
        self._inner = inner
        self._disk = disk
        self._waiting: deque[Callable[[], None]] = deque()
        self._entries: list[Entry] = []
        self._busy_until_us = 0
        self._timer: Timer | None = None

    def _soon(self, step: Callable[[], None]) -> None:
        self._waiting.append(step)
        self._work()

    def _work(self) -> None:
        """Do what waits, in order, until the disk takes its time again."""
        clock = self._disk.clock
        while self._waiting and self._timer is None:
            if clock.now_us() < self._busy_until_us:
                self._timer = clock.call_at(self._busy_until_us, self._go_on)
                return
            self._waiting.popleft()()

    def _go_on(self) -> None:
        self._timer = None
        self._work()

    def _busy(self) -> int:
        """When the outcome of what was just done can be known."""
        until_us = self._disk.clock.now_us() + self._disk.take()
        self._busy_until_us = max(self._busy_until_us, until_us)
        return self._busy_until_us

    def _forward(self, ask: Callable[[], asyncio.Future[T]]) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def step() -> None:
            inner, clock = ask(), self._disk.clock
            known_us = self._busy()

            def known(done: asyncio.Future[T]) -> None:
                if clock.now_us() < known_us:
                    clock.call_at(known_us, lambda: _pass_on(done, answer))
                else:
                    _pass_on(done, answer)

            inner.add_done_callback(known)

        self._soon(step)
        return answer

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """As Writer.append."""
        self._entries.append(entry)
        written = self._forward(lambda: self._inner.append(entry))
        written.add_done_callback(lambda _: self._entries.remove(entry))
        return written

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        """As Writer.settle."""

        def step() -> None:
            self._inner.settle(key, ranges, utc_ms)
            self._busy()

        self._soon(step)

    def read(self, key: StreamKey, first: int, last: int) -> asyncio.Future[list[Message]]:
        """As Writer.read; what is all still waiting is answered at once."""
        held = {
            message.sequence: message
            for entry in self._entries
            for message in entry.messages
            if message.key == key and first <= message.sequence <= last
        }
        if held and len(held) == last - first + 1:
            at_once: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
            at_once.set_result([held[number] for number in sorted(held)])
            return at_once
        return self._forward(lambda: self._inner.read(key, first, last))

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        """As Writer.call."""
        return self._forward(lambda: self._inner.call(fn))

    async def stop(self, *, within_s: float) -> bool:
        """As Writer.stop."""
        clock = self._disk.clock
        limit_us = clock.now_us() + round(within_s * 1_000_000)
        while self._waiting and clock.now_us() < limit_us:
            await clock.sleep(0.01)
        whole = not self._waiting
        if self._timer is not None:
            self._timer.cancel()
        return await self._inner.stop(within_s=within_s) and whole

    @property
    def backlog(self) -> int:
        """As Writer.backlog."""
        return max(self._inner.backlog, len(self._entries))

    @property
    def dropped(self) -> int:
        """As Writer.dropped."""
        return self._inner.dropped


def _pass_on(done: asyncio.Future[T], answer: asyncio.Future[T]) -> None:
    """Give one future's outcome to another that still waits."""
    if answer.done():
        return
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
        return
    answer.set_exception(error)
    answer.exception()  # one that nobody awaits is not reported as forgotten
