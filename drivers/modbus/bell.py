"""Wakes the owner of a bus at a moment, or earlier when somebody rings. Knows nothing of buses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.clock import Clock


class Bell:
    """For one waiter. A ring is never lost: it counts for the next wait when nobody waits."""

    __slots__ = ("_clock", "_rung", "_waiter")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the waiter now, or as soon as it waits."""
        self._rung = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait_until(self, at_us: int | None) -> None:
        """Return at `at_us` (None: never by itself), or at once when rung since the last return.

        A millisecond late is early enough here, and costs no power.
        """
        if self._rung:
            self._rung = False
            return
        timer = None if at_us is None else self._clock.call_at(at_us, self.ring, relaxed=True)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._rung, self._waiter = False, None
