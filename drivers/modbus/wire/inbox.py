"""What has come in on a port and was not fetched yet: bytes, or the news that the port is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from drivers.modbus.wire.port import PortError

if TYPE_CHECKING:
    from gateway.clock import Clock, Timer

MOST_BYTES = 4_096
"""Nobody reads a port that is not in use; of an old flood only the end is kept."""


class Inbox:
    """Filled by the event loop's callbacks, emptied by the one task that reads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap = bytearray()
        self._gone: PortError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._until_us = 0
        self._timer: Timer | None = None
        self._armed_us = 0

    @property
    def gone(self) -> PortError | None:
        """Why nothing comes any more; None while something may."""
        return self._gone

    def put(self, data: bytes) -> None:
        """These came in."""
        self._heap += data
        del self._heap[: max(0, len(self._heap) - MOST_BYTES)]
        self._wake()

    def end(self, why: PortError) -> None:
        """The port is gone; the first reason stays."""
        self._gone = self._gone or why
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def fetch(self) -> bytes:
        """What is there now. Raises the PortError it ended with when nothing is."""
        if self._heap:
            data = bytes(self._heap)
            self._heap.clear()
            return data
        if self._gone is not None:
            raise self._gone
        return b""

    async def take(self, until_us: int) -> bytes:
        """As `fetch`, but wait until `until_us` for something to come."""
        data = self.fetch()
        if data or self._clock.now_us() >= until_us:
            return data
        self._waiter = asyncio.get_running_loop().create_future()
        self._until_us = until_us
        if self._timer is None or self._armed_us > until_us:
            self._arm()
        try:
            await self._waiter
        finally:
            self._waiter = None
        return self.fetch()

    def _arm(self) -> None:
        """One timer serves many waits, as nearly all of them end with bytes long before it."""
        if self._timer is not None:
            self._timer.cancel()
        self._armed_us = self._until_us
        self._timer = self._clock.call_at(self._armed_us, self._rung, relaxed=True)

    def _rung(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._clock.now_us() >= self._until_us:
            self._wake()
        else:
            self._arm()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
