"""Playing steps at their moments: what moves the simulated wires."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gateway.clock import Clock


class Playing:
    """One waveform on its way onto the wires; `done` is set with its last step.

    Steps are played from the clock's own callbacks and not from a task that sleeps, because
    bounces are tens of microseconds apart and a sleeping task wakes a millisecond late.
    """

    def __init__(self, clock: Clock, steps: Sequence[tuple[int, Callable[[], None]]]) -> None:
        """steps: microseconds from now, rising, and what is to be done then."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._steps = deque(steps)
        self._start_us = clock.now_us()
        self._step()

    def stop(self) -> None:
        """What is left is not played; harmless when nothing is."""
        self.done.cancel()

    def _step(self) -> None:
        """Play all that is due, then wait for the next. A caller gone away stops it."""
        while not self.done.done():
            if not self._steps:
                self.done.set_result(None)
                return
            due_us = self._start_us + self._steps[0][0]
            if self._clock.now_us() < due_us:
                self._clock.call_at(due_us, self._step)
                return
            self._steps.popleft()[1]()
