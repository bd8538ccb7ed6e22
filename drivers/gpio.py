"""Contacts and lamps on a Raspberry Pi's pins, through gpiozero's pin level.

Owns the pins and the way from the pin library's thread to the loop. May not debounce (a pin
library's own debouncing stamps late and swallows short presses), may not use gpiozero's devices
or its global factory, and may not fall back from one pin library to another.

A contact switches its pin to ground against the pin's pull-up: closed reads low.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from drivers.base import DriverError, Wire, level_of
from drivers.pins import Pin, PinFactory, open_pins, pin_number
from gateway.core.model import Json, Level, Reading

__all__ = ["GpioDriver", "open_pins"]

_TICKS_TRUSTED_US = 1_000_000
# Edges of one pin waiting for the loop. Past it they are dropped and the pin is read afresh, so
# that one chattering contact can neither fill the memory nor keep the others waiting.
_QUEUE_LIMIT = 256
_PULL_UP = "up"


class GpioDriver:
    """Readings from contacts, and lamps, on the pins of one factory; `drivers.base.Driver`.

    factory: made by `open_pins`; closed by `stop`, so one driver a factory. now_us: the gateway's
    monotonic microseconds; called from the pin library's thread too. report: told, on the loop,
    once of each thing that went wrong and once when it is well again: `gpio.input.unreadable`,
    `gpio.input.readable`, `gpio.edge.lost`, `gpio.edge.missed`, `gpio.lamp.failed`,
    `gpio.lamp.well`, `gpio.consumer.failed`, `gpio.close.failed`.
    """

    def __init__(
        self,
        *,
        factory: PinFactory,
        now_us: Callable[[], int],
        report: Callable[[str, Mapping[str, Json]], None],
    ) -> None:
        self._factory = factory
        self._now_us = now_us
        self._report = report
        self._on_reading: Callable[[Reading], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inputs: list[_Input] = []
        self._lamps: dict[str, _Lamp] = {}
        self._lock = threading.Lock()
        self._queue: deque[tuple[_Input, Level, int]] = deque()
        self._drain_due = False
        self._lost = 0
        self._lost_why = ""
        self._told: list[str] = []
        self._stopped = False

    def start(
        self,
        *,
        wires: Sequence[Wire],
        lamps: Sequence[str],
        on_reading: Callable[[Reading], None],
    ) -> None:
        """Open inputs and lamps (dark), report every input's level in the order of `wires`.

        Must run on the loop that `on_reading` is to be called on. Raises DriverError, with
        everything closed again, when a pin cannot be had.
        """
        if self._loop is not None:
            raise DriverError("this GPIO driver has been started before: make a new one")
        self._loop = asyncio.get_running_loop()
        self._on_reading = on_reading
        taken: dict[int, str] = {}
        try:
            for address in lamps:
                self._lamps[address] = _Lamp(self._open(address, taken, _as_lamp))
            for wire in wires:
                pin = self._open(wire.address, taken, _as_contact)
                item = _Input(wire, pin, self._seen)
                self._inputs.append(item)
                _watch(item)
        except DriverError:
            self.stop()
            raise
        # Only now, with the edges watched: what changes after this is seen as an edge, so no
        # moment is left in which a press could fall between the first level and the first edge.
        for item in self._inputs:
            self._recheck(item, first=True)

    def light(self, address: str, *, on: bool) -> None:
        """Drive a lamp. One that cannot be driven is reported once, until it is well again."""
        if self._stopped:
            return
        lamp = self._lamps.get(address)
        if lamp is None:
            self._tell_once(f"lamp {address}", "gpio.lamp.failed", address, "no such lamp is open")
            return
        try:
            lamp.pin.state = on
        except Exception as error:  # noqa: BLE001 - each pin library raises its own kinds
            if not lamp.failed:
                lamp.failed = True
                self._report("gpio.lamp.failed", {"input": address, "why": _why(error)})
            return
        if lamp.failed:
            lamp.failed = False
            self._report("gpio.lamp.well", {"input": address})

    def check(self) -> None:
        """Read every pin and report what differs from the last edge seen, stamped now.

        A pin that cannot be read is UNKNOWN once, and shows its level when it can be read again.
        """
        if self._loop is None or self._stopped:
            return
        self._drain()
        if self._lost:
            self._tell_once("lost", "gpio.edge.lost", "", f"{self._lost}: {self._lost_why}")
        for item in self._inputs:
            self._recheck(item)

    def stop(self) -> None:
        """Lamps off, pins given back; nothing is reported afterwards. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        for item in self._inputs:
            self._attempt(item.wire.address, partial(_unwatch, item.pin))
        for address, lamp in self._lamps.items():
            self._attempt(address, partial(_darken, lamp.pin))
        self._attempt("", self._factory.close)
        with self._lock:
            self._queue.clear()

    # --- on the pin library's thread ---------------------------------------------------------

    def _seen(self, item: _Input, ticks: float, state: bool) -> None:  # noqa: FBT001 - gpiozero's
        """Stamp an edge and hand it to the loop. Must not raise: that would end the thread."""
        if self._stopped:
            return
        try:
            assert self._loop is not None
            level = level_of(item.wire.contact, closed=not state)
            at_us = self._stamp(ticks)
            with self._lock:
                if item.queued >= _QUEUE_LIMIT:
                    item.overflowed = True
                    return
                self._queue.append((item, level, at_us))
                item.queued += 1
                item.seen = level
                wake = not self._drain_due
                self._drain_due = True
            if wake:
                self._loop.call_soon_threadsafe(self._drain)
        except Exception as error:  # noqa: BLE001 - one input's trouble must not deafen the rest
            self._lost += 1
            self._lost_why = _why(error)

    def _stamp(self, ticks: float) -> int:
        """The kernel's time of the edge when it is on our clock, else now.

        lgpio hands on the kernel's stamp, which is CLOCK_MONOTONIC since Linux 5.7 and wall time
        before; one second apart from now is taken for another clock.
        """
        now_us = self._now_us()
        at_us = round(ticks * 1e6)
        return min(at_us, now_us) if abs(now_us - at_us) <= _TICKS_TRUSTED_US else now_us

    # --- on the loop -------------------------------------------------------------------------

    def _drain(self) -> None:
        """Hand over every waiting edge, in the order in which they were seen."""
        with self._lock:
            waiting = list(self._queue)
            self._queue.clear()
            self._drain_due = False
            for item, _, _ in waiting:
                item.queued -= 1
        for item, level, at_us in waiting:
            self._hand_over(item, level, at_us)
        for item in self._inputs:
            if item.overflowed:
                item.overflowed = False
                self._recheck(item)

    def _recheck(self, item: _Input, *, first: bool = False) -> None:
        try:
            closed = not item.pin.state
        except Exception as error:  # noqa: BLE001 - each pin library raises its own kinds
            if not item.unreadable:
                item.unreadable = True
                why: dict[str, Json] = {"input": item.wire.address, "why": _why(error)}
                self._report("gpio.input.unreadable", why)
                self._hand_over(item, Level.UNKNOWN, self._now_us())
            return
        level = level_of(item.wire.contact, closed=closed)
        returned, item.unreadable = item.unreadable, False
        if returned:
            self._report("gpio.input.readable", {"input": item.wire.address})
        elif level is not item.seen and not first:
            self._tell_once(
                item.wire.address, "gpio.edge.missed", item.wire.address, f"now {level}"
            )
        if returned or first or level is not item.seen:
            item.seen = level
            self._hand_over(item, level, self._now_us())

    def _hand_over(self, item: _Input, level: Level, at_us: int) -> None:
        """Tell the daemon of a change. Times of one wire never go back, levels never repeat."""
        if self._stopped or level is item.handed:
            return
        assert self._on_reading is not None
        item.handed = level
        item.handed_at_us = max(item.handed_at_us, at_us)
        try:
            self._on_reading(Reading(item.wire.address, level, item.handed_at_us))
        except Exception as error:  # noqa: BLE001 - the other inputs must still be heard
            self._tell_once("consumer", "gpio.consumer.failed", item.wire.address, _why(error))

    def _open(self, address: str, taken: dict[int, str], claim: Callable[[Pin], None]) -> Pin:
        number = pin_number(address)
        if number in taken:
            raise DriverError(f"{address}: this pin is used twice; give each its own")
        taken[number] = address
        try:
            pin = self._factory.pin(number)
            claim(pin)
        except Exception as error:
            raise DriverError(
                f"{address}: the pin cannot be had ({_why(error)}); is it on this board's header, "
                "and does nothing else use it? `gpioinfo` shows who holds a pin"
            ) from error
        return pin

    def _attempt(self, address: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - one broken pin must not keep others lit
            self._report("gpio.close.failed", {"input": address, "why": _why(error)})

    def _tell_once(self, key: str, event: str, address: str, why: str) -> None:
        if f"{event} {key}" not in self._told:
            self._told.append(f"{event} {key}")
            self._report(event, {"input": address, "why": why})


class _Input:
    """One watched pin. The driver's list of these is what keeps the callbacks alive."""

    def __init__(self, wire: Wire, pin: Pin, seen: Callable[[_Input, float, bool], None]) -> None:
        self.wire = wire
        self.pin = pin
        self.seen: Level | None = None
        self.queued = 0
        self.overflowed = False
        self.unreadable = False
        self.handed: Level | None = None
        self.handed_at_us = -(2**63)
        self._on_seen = seen

    def on_edge(self, ticks: float, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        """Called by gpiozero on its thread."""
        self._on_seen(self, ticks, state)


class _Lamp:
    """One lamp's pin, and whether the last attempt to drive it failed."""

    def __init__(self, pin: Pin) -> None:
        self.pin = pin
        self.failed = False


def _as_lamp(pin: Pin) -> None:
    pin.output_with_state(False)


def _as_contact(pin: Pin) -> None:
    pin.input_with_pull(_PULL_UP)
    pin.bounce = None
    pin.edges = "both"


def _watch(item: _Input) -> None:
    """Ask for edges; raises DriverError when the kernel will not tell them."""
    try:
        item.pin.when_changed = item.on_edge
    except Exception as error:
        raise DriverError(
            f"{item.wire.address}: no edges to be had from this pin ({_why(error)}); "
            "is it an interrupt-capable line of the header's chip? `gpioinfo` lists them"
        ) from error


def _unwatch(pin: Pin) -> None:
    pin.when_changed = None


def _darken(pin: Pin) -> None:
    pin.state = False


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
