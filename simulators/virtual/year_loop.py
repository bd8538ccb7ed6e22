"""A virtual loop for hours and days: the same moments as VirtualLoop's, for less of the work.

Owns the order of everything that happens: by moment, and within a moment by who asked first. No
sockets, no threads, no debug mode; what waits for anything but a timer waits for ever, and that is
an error here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from typing import Any

from simulators.virtual.time import VirtualLoop

US_PER_S = 1_000_000
_AT_US, _, _CALLBACK, _ARGS, _ = range(5)


class Call(list[Any]):
    """A pending call: what asyncio knows as a Handle or TimerHandle, without their instruments.

    A list, because that is what is made and compared fastest: when it is due in microseconds, its
    number, its callback (None once it was called off), the arguments, and the context; None runs
    it in the loop's own, which nobody here writes to; tasks bring theirs.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Call it off; harmless when it has run."""
        self[_CALLBACK] = None
        self[_ARGS] = ()

    def cancelled(self) -> bool:
        """True when it was called off."""
        return self[_CALLBACK] is None

    def when(self) -> float:
        """The loop's time at which it is due, in seconds."""
        return float(self[_AT_US] / US_PER_S)


class YearLoop(VirtualLoop):
    """Time passes only when there is nothing left to do at this moment, and then all at once.

    moment: what holds `now_us`, for who reads it a million times.
    """

    def __init__(self) -> None:
        self._soon: deque[Call] = deque()
        self._later: list[Call] = []
        self._asked = 0
        self._stopping = False
        super().__init__()
        self.moment = self._virtual

    def call_at_us(
        self,
        at_us: int,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
        relaxed: bool = False,
    ) -> Call:
        """As `call_at`, in whole microseconds; exact, relaxed or not."""
        del relaxed
        self._asked = asked = self._asked + 1
        call = Call((at_us, asked, callback, args, context))
        heappush(self._later, call)
        return call

    def call_at(  # type: ignore[override]  # a Call is all that anybody asks of a TimerHandle
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Call:
        return self.call_at_us(round(when * US_PER_S), callback, *args, context=context)

    def call_later(  # type: ignore[override]  # as call_at
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Call:
        at_us = self._virtual.now_us + max(1, round(delay * US_PER_S))
        return self.call_at_us(at_us, callback, *args, context=context)

    def call_soon(  # type: ignore[override]  # as call_at
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        call = Call((0, 0, callback, args, context))
        self._soon.append(call)
        return call

    def call_soon_threadsafe(  # type: ignore[override]  # as call_at; there is one thread
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:  # noqa: C901 -- one call a round would cost a tenth of the time
        """Round after round until told to stop, as asyncio's loop makes them one by one.

        What becomes ready within a round waits for the next.
        """
        soon, later, moment = self._soon, self._later, self.moment
        while True:
            while later and later[0][2] is None:
                heappop(later)
            if not soon and not self._stopping:
                if not later:
                    raise RuntimeError("the simulation waits for something that can never come")
                moment.now_us = max(moment.now_us, later[0][0])
            now_us = moment.now_us
            while later and later[0][0] <= now_us:
                soon.append(heappop(later))
            for _ in range(len(soon)):
                _, _, callback, args, context = soon.popleft()
                if callback is None:
                    continue
                try:
                    if context is None:
                        callback(*args)
                    else:
                        context.run(callback, *args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:  # noqa: BLE001 -- as asyncio's own Handle does
                    told = {"message": f"exception in {callback!r}", "exception": exc}
                    self.call_exception_handler(told)
            if self._stopping:
                return
