"""The parts of a simulated unit: an input with its filter and counter, an output with its timer.

They know time through a Clock and nothing of registers; `units.py` and `models.py` wire them up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.clock import Clock, Timer


class Contact(Protocol):
    """A wire that is closed or open: a channel of a unit, or a pin."""

    @property
    def wire_closed(self) -> bool:
        """True while the wire is closed."""

    def wire(self, *, closed: bool) -> None:
        """Close the wire or open it."""

    def rest(self, *, closed: bool) -> None:
        """How the wire is before anything has power: no edge, no count."""


class Relay(Protocol):
    """An output as the thing that hangs on it sees it: on or off."""

    @property
    def on(self) -> bool:
        """True while it is energised."""

    def watch(self, told: Callable[[], None]) -> None:
        """Call `told` whenever it changes."""


class InputPart:
    """One input. A change shorter than its filter is never seen; a closing seen is counted.

    level: closed as the unit sees it. unreadable: the unit says it does not know.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.level = False
        self.closings = 0
        self.unreadable = False
        self.filter_ms: Callable[[], int] = lambda: 0
        self.on_change: list[Callable[[bool], None]] = []
        self._clock = clock
        self._closed = False
        self._pending: Timer | None = None

    @property
    def wire_closed(self) -> bool:
        """True while the wire is closed."""
        return self._closed

    def wire(self, *, closed: bool) -> None:
        """Close the wire or open it, now."""
        if closed is self._closed:
            return
        self._closed = closed
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        if closed is not self.level:
            filter_us = self.filter_ms() * 1_000
            if filter_us == 0:
                self._see()
            else:
                self._pending = self._clock.call_at(self._clock.now_us() + filter_us, self._see)

    def rest(self, *, closed: bool) -> None:
        """How the wire is while the unit has no power yet: seen, and not counted."""
        self._closed = self.level = closed

    def restart(self) -> None:
        """The counter begins again and the wire is seen as it is."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self.closings = 0
        self.level = self._closed

    def _see(self) -> None:
        self._pending = None
        self.level = self._closed
        self.closings += self.level
        for told in self.on_change:
            told(self.level)


class OutputPart:
    """One output: a relay that is on or off, perhaps for a time.

    pulse_ms: how long a plain command to on (True) or off lasts by the unit's settings, 0 for
    good. safe: what it does when the master falls silent, None nothing. power_on: what it is after
    a restart. stuck: True while commands move nothing.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.moves = 0
        self.pulse_ms: Callable[[bool], int] = lambda _on: 0
        self.safe: Callable[[], bool | None] = lambda: None
        self.power_on: Callable[[], bool] = lambda: False
        self.stuck: Callable[[], bool] = lambda: False
        self._on = False
        self._watching: list[Callable[[], None]] = []
        self._clock = clock
        self._timer: Timer | None = None
        self._back_us = 0

    @property
    def on(self) -> bool:
        """True while it is energised."""
        return self._on

    def watch(self, told: Callable[[], None]) -> None:
        """Call `told` whenever it changes."""
        self._watching.append(told)

    def command(self, on: bool) -> None:  # noqa: FBT001 -- the one thing it says
        """Do what a plain write asks, timed if the unit's settings say so."""
        self.drive(on=on, for_ms=self.pulse_ms(on))

    def drive(self, *, on: bool, for_ms: int = 0) -> None:
        """Go on or off, and back by itself after `for_ms` (0: stay). Ends a time running."""
        if self.stuck():
            return
        self._end_timer()
        self._set(on=on)
        if for_ms:
            self._back_us = self._clock.now_us() + for_ms * 1_000
            self._timer = self._clock.call_at(self._back_us, self._back)

    def left_ms(self) -> int:
        """What is left of a time running, 0 when none is."""
        if self._timer is None:
            return 0
        return max(0, self._back_us - self._clock.now_us()) // 1_000

    def restart(self) -> None:
        """As after power has come back."""
        self._end_timer()
        self._set(on=self.power_on())

    def lose_power(self) -> None:
        """Fall off, whatever was to come."""
        self._end_timer()
        self._set(on=False)

    def _back(self) -> None:
        self._timer = None
        self._set(on=not self.on)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, *, on: bool) -> None:
        if on is not self._on:
            self._on = on
            self.moves += 1
            for told in self._watching:
                told()


def is_on(output: OutputPart) -> int:
    """Its state as a bit."""
    return int(output.on)
