"""Which kind of story a seed tells: an ordinary gateway, a small disk, a disk away, a thread.

The kind is part of what the seed decides, so that a story is replayed by its seed alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from campaigns.cut.outcomes import Outcome, Sync
from campaigns.cut.returning import Returning
from campaigns.cut.scribe import receipt
from campaigns.cut.stories import PATH, STOP_WITHIN_S, Story
from gateway.record.backlog import BATCH_MAX
from gateway.record.ledger import Ledger
from gateway.record.room import Limits, Place
from gateway.record.writer import ThreadWriter
from simulators.virtual.time import run_virtual

SMALL = Limits(max_bytes=100_000, free_share=0.0, least_bytes=0)
"""Little more than an empty ledger: settled entries and then the log leave it all the time."""
BURST_MAX = 300
"""More than one transaction takes."""
BREATH_S = 0.0001
"""Between two looks at what the thread has done: most of its rounds take no longer."""


class Cramped(Story):
    """A disk with so little room that settled entries leave for it, and then what the log owes."""

    def __init__(self, seed: int, *, cuts: int, sync: Sync = Sync.FULL) -> None:
        super().__init__(seed, cuts=cuts, sync=sync)
        self._deeds |= {self._tidy: 12, self._retain: 12, self._log: 24, self._batch: 20}

    def _place(self) -> Place:
        return Place(PATH, self.disk.name, SMALL)

    def _leavers(self) -> set[str]:
        return self._account.droppable()

    async def _tidy(self) -> None:
        """A quiet second looks at the room as well; what leaves is held to the account."""
        await self._retain()

    async def _retain(self) -> None:
        before = set(self._account.owed)
        await super()._retain()
        if not self.disk.powered:
            return
        gone = before - self._account.owed
        shown = await self._call(lambda ledger: ledger.dropped.take())
        if not shown.done() or shown.exception() is not None:
            return
        counted = sum(each.count for each in shown.result())
        if counted != len(gone):
            self._find(f"{len(gone)} owed messages were given up, and {counted} are told of")


class Threaded(Story):
    """The writer's own thread, which writes what has come together in one transaction."""

    def __init__(self, seed: int, *, cuts: int, sync: Sync = Sync.FULL) -> None:
        super().__init__(seed, cuts=cuts, sync=sync)
        del self._deeds[self._large]  # idle seconds would move its WAL when they come
        self._deeds[self._burst] = 40

    async def _start(self, opening: Callable[[], Ledger]) -> Ledger:
        writer = ThreadWriter(
            opening,
            memory_open=opening,
            on_trouble=self._trouble,
            on_recovered=self._recovered,
        )
        self._writer = writer
        return await writer.start(within_s=STOP_WITHIN_S)

    async def _answered(self, future: asyncio.Future[Any]) -> None:
        """And the round it was answered in is over: a later call has been answered."""
        last = self._writer.call(lambda _: None)
        await _until(lambda: (last.done() and future.done()) or not self.disk.powered)

    async def _burst(self) -> None:
        """A storm while the disk is busy: entries, and a receipt that goes after them."""
        busy, gate = threading.Event(), threading.Event()

        def hold(_: Ledger) -> None:
            busy.set()
            gate.wait(STOP_WITHIN_S)

        self._writer.call(hold)
        await _until(busy.is_set)
        count = self._dice.choice((3, 3, 12, 12, 40, BURST_MAX))
        entries = [self._scribe.entry("alarm.panic.raised") for _ in range(count)]
        futures = [self._writer.append(entry) for entry in entries]
        covered = receipt(self._account, self._dice)
        if covered is not None:
            key, ranges = covered
            self._writer.settle(key, ranges, self._scribe.utc_ms)
        shown = self._writer.call(lambda _: None)
        gate.set()
        await self._answered(shown)
        states = [self._account]
        for first in range(0, count, BATCH_MAX):
            states.append(states[-1].copy())
            states[-1].append(entries[first : first + BATCH_MAX])
        if covered is not None:
            states.append(states[-1].copy())
            states[-1].settle(*covered)
        if self.disk.powered:
            if any(not future.done() or future.exception() for future in futures):
                self._find("refused with the power on")
            self._account = states[-1]
            self.outcome.entries += count
            return
        heard = -(-sum(future.done() and not future.exception() for future in futures) // BATCH_MAX)
        self._account, self._doubts = states[heard], states[heard + 1 :]


async def _until(condition: Callable[[], bool]) -> None:
    """Go round the loop until something is so; TimeoutError for a thread that hangs."""
    async with asyncio.timeout(STOP_WITHIN_S):
        while not condition():  # noqa: ASYNC110 -- what is waited for happens on a thread
            await asyncio.sleep(BREATH_S)


KINDS: tuple[type[Story], ...] = (
    *(Threaded, Story, Story, Returning, Story),
    *(Cramped, Story, Returning, Story, Returning),
)
"""By the last digit of the seed."""


def kind_of(seed: int) -> type[Story]:
    """The kind of story this seed tells."""
    return KINDS[seed % len(KINDS)]


def told(seed: int, *, cuts: int, sync: Sync) -> tuple[Outcome, Story]:
    """Tell it, on a loop that suits it."""
    kind = kind_of(seed)
    story = kind(seed, cuts=cuts, sync=sync)
    outcome = (
        run_virtual(lambda *_: story.tell(), seed=seed)
        if kind is Returning
        else asyncio.run(story.tell())
    )
    outcome.kinds["ordinary" if kind is Story else kind.__name__.lower()] += outcome.cuts
    return outcome, story
