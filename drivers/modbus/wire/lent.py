"""A bus lent to somebody else, one exchange at a time, without its owner letting go of it.

Whoever borrows (a scan through the daemon) waits for the owner's own polls; it can never hold them
up for longer than one exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drivers.modbus.wire.request import Reply, Request
from drivers.modbus.wire.wire import Stats
from gateway.core.profile import Timing


class Wish:
    """One exchange somebody waits for."""

    __slots__ = ("_future", "at_us", "request", "timing", "unit")

    def __init__(self, unit: int, request: Request, timing: Timing) -> None:
        self.unit = unit
        self.request = request
        self.timing = timing
        self.at_us = 0
        self._future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def answer(self, reply: Reply) -> None:
        """Tell the borrower; one that has gone away is not missed."""
        if not self._future.done():
            self._future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Raise it at the borrower."""
        if not self._future.done():
            self._future.set_exception(error)

    async def wait(self) -> Reply:
        """What came of it."""
        return await self._future


class Lent:
    """What a borrower holds: it exchanges as `Wire` does, between the owner's polls."""

    __slots__ = ("_submit", "stats")

    def __init__(self, submit: Callable[[Wish], None], stats: Stats) -> None:
        """stats: of the owner's wire; what it asks itself counts there as well."""
        self._submit = submit
        self.stats = stats

    async def exchange(self, unit: int, request: Request, *, timing: Timing) -> Reply:
        """Ask one unit one thing. GONE when the port is away, or the driver stops.

        Raises ValueError for a request that no frame can carry.
        """
        wish = Wish(unit, request, timing)
        self._submit(wish)
        return await wish.wait()
