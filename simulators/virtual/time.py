"""Virtual time: an event loop that never waits and never looks at the machine.

Whatever runs on it (the real daemon, simulated pins, brokers and centres) lives through hours in
moments, and through the same moments every time. No thread may be started under it.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.clock import Timer
from gateway.core.model import Stamp

T = TypeVar("T")
C = TypeVar("C", bound="VirtualClock")

_BEGIN_UTC_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: where a simulated gateway's UTC begins."""


class _NeverWaits(selectors.SelectSelector):
    """Instead of waiting for sockets it moves the loop's time to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the simulation waits for something that can never come")
        if timeout > 0:
            self.now_us += max(1, round(timeout * 1e6))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when there is nothing left to do at this moment."""

    def __init__(self) -> None:
        self._virtual = _NeverWaits()
        super().__init__(self._virtual)

    @property
    def now_us(self) -> int:
        """Virtual microseconds since the loop was made."""
        return self._virtual.now_us

    def time(self) -> float:
        return self._virtual.now_us / 1e6


class VirtualClock:
    """The clock seam over a VirtualLoop; UTC is as right as `synchronised` says."""

    def __init__(self, loop: VirtualLoop, *, boot: str) -> None:
        self._loop = loop
        self._boot = boot
        self.synchronised = True
        self.utc_offset_ms = _BEGIN_UTC_MS

    def now_us(self) -> int:
        return self._loop.now_us

    def stamp(self, at_us: int) -> Stamp:
        return Stamp(
            utc_ms=self.utc_offset_ms + at_us // 1_000,
            synchronised=self.synchronised,
            error_ms=2 if self.synchronised else None,
            boot=self._boot,
            monotonic_ms=at_us // 1_000,
        )

    def call_at(self, at_us: int, callback: Callable[[], None], *, relaxed: bool = False) -> Timer:
        del relaxed  # virtual time is exact either way
        return self._loop.call_at(at_us / 1e6, callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, at_us: int) -> None:
        await asyncio.sleep(max(0, at_us - self.now_us()) / 1e6)


def run_virtual(
    scenario: Callable[[C, random.Random], Coroutine[Any, Any, T]],
    *,
    seed: int,
    made: Callable[..., Any] = VirtualClock,
) -> T:
    """Run a scenario under virtual time from one seed; the same seed gives the same run.

    made: the kind of clock it is told by.
    """
    loop, dice = VirtualLoop(), random.Random(seed)
    clock = made(loop, boot=dice.randbytes(4).hex())
    try:
        return loop.run_until_complete(scenario(clock, dice))
    finally:
        loop.run_until_complete(_end())
        loop.close()


async def _end() -> None:
    """Cancel what a scenario left running, as asyncio.run does, so that its failure is the news."""
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
