"""The clocks of a told year: true time, and what the gateway's own clock makes of it.

A jump crosses a stretch in which nothing happens as a suspended machine crosses it: CLOCK_MONOTONIC
stands still, CLOCK_BOOTTIME and UTC go on, and so do the clocks of everybody else. No timer of
anybody is touched by it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.core.message import rfc3339
from gateway.core.model import Stamp
from simulators.virtual.time import VirtualClock
from simulators.virtual.year_loop import YearLoop

BEGIN_UTC_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: the told year's first moment."""
ERROR_MS = 2
"""What a synchronised clock says of its own error."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of the gateway's machine. zero_ms: the true time when its CLOCK_BOOTTIME was 0."""

    id: str
    zero_ms: int


class YearClock(VirtualClock):
    """The clock seam of the gateway, and the true time beside it.

    error_ms: how far the gateway's UTC is from the true one. synchronised: what its kernel says.
    """

    _loop: YearLoop

    def __init__(self, loop: YearLoop, *, boot: str) -> None:
        super().__init__(loop, boot=boot)
        self.jumped_ms = 0
        self.error_ms = 0
        self.boots = {boot: Boot(boot, BEGIN_UTC_MS)}
        self._zero_ms = BEGIN_UTC_MS
        self._now = loop.moment
        self.call_at = loop.call_at_us  # type: ignore[method-assign]  # the same, without a detour

    @property
    def true_ms(self) -> int:
        """True UTC now, in milliseconds: the far ends' clock, which never steps."""
        return BEGIN_UTC_MS + self.jumped_ms + self._now.now_us // 1_000

    @property
    def text(self) -> str:
        """True UTC now, for people."""
        return rfc3339(self.true_ms)

    def now_us(self) -> int:
        return self._now.now_us

    async def until(self, at_us: int) -> None:
        if at_us > self._now.now_us:
            await asyncio.sleep((at_us - self._now.now_us) / 1e6)

    def stamp(self, at_us: int) -> Stamp:
        true_ms = BEGIN_UTC_MS + self.jumped_ms + at_us // 1_000
        return Stamp(
            utc_ms=true_ms + self.error_ms,
            synchronised=self.synchronised,
            error_ms=ERROR_MS if self.synchronised else None,
            boot=self._boot,
            monotonic_ms=max(0, true_ms - self._zero_ms),
        )

    # --- what happens to it ----------------------------------------------------------------------

    def boot(self, boot: str) -> None:
        """The gateway's machine starts anew, now."""
        self._boot, self._zero_ms = boot, self.true_ms
        self.boots[boot] = Boot(boot, self._zero_ms)

    def jump(self, ms: int) -> None:
        """Cross `ms` of quiet. The caller has made sure that nobody waits for anything."""
        assert ms >= 0
        self.jumped_ms += ms

    def happened_ms(self, boot: str, monotonic_ms: int) -> int | None:
        """The true time of a moment of a boot; None for a boot there never was."""
        known = self.boots.get(boot)
        return None if known is None else known.zero_ms + monotonic_ms
