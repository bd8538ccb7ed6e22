"""Wakes the owner of a bus at a moment, or earlier when somebody rings. Knows nothing of buses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.clock import Clock


class Bell:
    """For one waiter. A ring is never lost: it counts for the next wait when nobody waits."""

    __slots__ = ("_clock", "_event")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter now, or as soon as it waits."""
        self._event.set()

    async def wait_until(self, at_us: int | None) -> None:
        """Return at `at_us` (None: never by itself), or at once when rung since the last return.

        A millisecond late is early enough here, and costs no power.
        """
        timer = None if at_us is None else self._clock.call_at(at_us, self._event.set, relaxed=True)
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._event.clear()
