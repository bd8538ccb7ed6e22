"""Contacts, lamps and small relays on a Raspberry Pi's pins, through gpiozero's pin level.

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

from drivers.base import DriverError, Ear, Output, Wire, level_of
from drivers.pins import Pin, PinFactory, open_pins, pin_number
from gateway.core.action import Action, Outcome, Result
from gateway.core.model import US_PER_MS, Json, Level, Reading

__all__ = ["GpioDriver", "open_pins"]

_TICKS_TRUSTED_US = 1_000_000
# Edges of one pin waiting for the loop. Past it they are dropped and the pin is read afresh, so
# that one chattering contact can neither fill the memory nor keep the others waiting.
_QUEUE_LIMIT = 256
_PULL_UP = "up"


class GpioDriver:
    """Readings from contacts, and outputs, on the pins of one factory; `drivers.base.Driver`.

    factory: made by `open_pins`; closed by `stop`, so one driver a factory. now_us: the gateway's
    monotonic microseconds; called from the pin library's thread too. report: told, on the loop,
    once of each thing that went wrong and once when it is well again: `gpio.input.unreadable`,
    `gpio.input.readable`, `gpio.edge.lost`, `gpio.edge.missed`, `gpio.lamp.failed`,
    `gpio.lamp.well`, `gpio.pulse.stuck`, `gpio.consumer.failed`, `gpio.close.failed`.
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
        self._ear: Ear | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inputs: list[_Input] = []
        self._outputs: dict[str, _Output] = {}
        self._lock = threading.Lock()
        self._queue: deque[tuple[_Input, Level, int]] = deque()
        self._drain_due = False
        self._lost = 0
        self._lost_why = ""
        self._told: list[str] = []
        self._stopped = False

    def start(self, *, wires: Sequence[Wire], outputs: Sequence[Output], ear: Ear) -> None:
        """Open inputs and outputs, report every input's level in the order of `wires`.

        Outputs begin at rest: lamps dark, locks locked (a pin that was given back keeps nothing).
        Must run on the loop that `ear` is to be told on. Raises DriverError, with everything
        closed again, when a pin cannot be had.
        """
        if self._loop is not None:
            raise DriverError("this GPIO driver has been started before: make a new one")
        self._loop = asyncio.get_running_loop()
        self._ear = ear
        taken: dict[int, str] = {}
        try:
            for output in outputs:
                rest = output.energised_locks
                pin = self._open(output.address, taken, partial(_as_output, rest=rest))
                self._outputs[output.address] = _Output(pin)
            for wire in wires:
                pin = self._open(wire.address, taken, _as_contact)
                item = _Input(wire, pin, self._seen)
                self._inputs.append(item)
                _watch(item)
        except DriverError:
            self.close()
            raise
        # Only now, with the edges watched: what changes after this is seen as an edge, so no
        # moment is left in which a press could fall between the first level and the first edge.
        for item in self._inputs:
            self._recheck(item, first=True)

    def light(self, address: str, *, on: bool) -> None:
        """Drive a lamp. One that cannot be driven is reported once, until it is well again."""
        if self._stopped:
            return
        output = self._outputs.get(address)
        if output is None:
            self._tell_once(f"lamp {address}", "gpio.lamp.failed", address, "no such lamp is open")
            return
        why = output.drive(on=on)
        if bool(why) is not output.failed:
            output.failed = bool(why)
            fields: dict[str, Json] = {"input": address, "why": why} if why else {"input": address}
            self._report("gpio.lamp.failed" if why else "gpio.lamp.well", fields)

    def act(self, action: Action) -> None:
        """Drive an output and read its pin back; a timed one is turned back by this program.

        A pin has no timer of its own: for a door that must close whatever becomes of the gateway,
        take a unit that has one.
        """
        assert self._loop is not None
        output, now_us = self._outputs.get(action.output), self._now_us()
        if output is None or self._stopped:
            self._answer(action, Outcome.FAILED, "no such output is open")
        elif now_us > action.not_after_us:
            self._answer(action, Outcome.EXPIRED, "its time was over before it could be begun")
        else:
            output.forget_pulse()
            why = output.drive(on=action.on)
            if not why and action.for_ms is not None:
                seconds = action.for_ms * US_PER_MS / 1e6
                back = partial(self._pulse_over, action.output, output, on=not action.on)
                output.pulse = self._loop.call_later(seconds, back)
            self._answer(action, Outcome.FAILED if why else output.read_back(on=action.on), why)

    def _answer(self, action: Action, outcome: Outcome, why: str) -> None:
        assert self._loop is not None
        assert self._ear is not None
        result = Result(action.id, outcome, self._now_us(), why)
        self._loop.call_soon(self._ear.result, result)

    def _pulse_over(self, address: str, output: _Output, *, on: bool) -> None:
        output.pulse = None
        why = output.drive(on=on)
        if why:
            self._report("gpio.pulse.stuck", {"input": address, "why": why})

    def check(self) -> None:
        """Read every pin and report what differs from the last edge seen, stamped now.

        A pin that cannot be read is UNKNOWN once, and shows its level when it can be read again.
        """
        if self._loop is None or self._stopped:
            return
        if self._drain_due:
            self._drain()
        if self._lost:
            self._tell_once("lost", "gpio.edge.lost", "", f"{self._lost}: {self._lost_why}")
        for item in self._inputs:
            # Nearly always nothing has changed, which is found out here with as little as can be:
            # a gateway at rest spends a good part of its time on this.
            try:
                same = item.pin.state == item.high
            except Exception:  # noqa: BLE001 - each pin library raises its own kinds
                same = False
            if not same or item.unreadable:
                self._recheck(item)

    def status(self) -> Mapping[str, Json]:
        """Pins are on no bus."""
        return {}

    async def stop(self) -> None:
        """Outputs off, pins given back; nothing is reported afterwards. Safe to call twice."""
        self.close()

    def close(self) -> None:
        """What `stop` does, for who has no loop to wait on."""
        if self._stopped:
            return
        self._stopped = True
        for item in self._inputs:
            self._attempt(item.wire.address, partial(_unwatch, item.pin))
        for address, output in self._outputs.items():
            output.forget_pulse()
            self._attempt(address, partial(_darken, output.pin))
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
                item.high = bool(state)
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
            high = bool(item.pin.state)
        except Exception as error:  # noqa: BLE001 - each pin library raises its own kinds
            if not item.unreadable:
                item.unreadable = True
                why: dict[str, Json] = {"input": item.wire.address, "why": _why(error)}
                self._report("gpio.input.unreadable", why)
                self._hand_over(item, Level.UNKNOWN, self._now_us())
            return
        level = level_of(item.wire.contact, closed=not high)
        returned, item.unreadable = item.unreadable, False
        missed = high is not item.high
        if returned:
            self._report("gpio.input.readable", {"input": item.wire.address})
        elif missed and not first:
            self._tell_once(
                item.wire.address, "gpio.edge.missed", item.wire.address, f"now {level}"
            )
        if returned or first or missed:
            item.high = high
            self._hand_over(item, level, self._now_us())

    def _hand_over(self, item: _Input, level: Level, at_us: int) -> None:
        """Tell the daemon of a change. Times of one wire never go back, levels never repeat."""
        if self._stopped or level is item.handed:
            return
        assert self._ear is not None
        item.handed = level
        item.handed_at_us = max(item.handed_at_us, at_us)
        try:
            self._ear.reading(Reading(item.wire.address, level, item.handed_at_us))
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
    """One watched pin. The driver's list of these is what keeps the callbacks alive.

    high: what it showed at the last edge or look; None before the first.
    """

    def __init__(self, wire: Wire, pin: Pin, seen: Callable[[_Input, float, bool], None]) -> None:
        self.wire = wire
        self.pin = pin
        self.high: bool | None = None
        self.queued = 0
        self.overflowed = False
        self.unreadable = False
        self.handed: Level | None = None
        self.handed_at_us = -(2**63)
        self._on_seen = seen

    def on_edge(self, ticks: float, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        """Called by gpiozero on its thread."""
        self._on_seen(self, ticks, state)


class _Output:
    """One output's pin, a pulse that is to end, and whether the last attempt to drive it failed."""

    def __init__(self, pin: Pin) -> None:
        self.pin = pin
        self.failed = False
        self.pulse: asyncio.TimerHandle | None = None

    def drive(self, *, on: bool) -> str:
        """Set the pin; why it could not be set, empty when it could."""
        try:
            self.pin.state = on
        except Exception as error:  # noqa: BLE001 - each pin library raises its own kinds
            return _why(error)
        return ""

    def read_back(self, *, on: bool) -> Outcome:
        try:
            return Outcome.CONFIRMED if bool(self.pin.state) is on else Outcome.MISMATCH
        except Exception:  # noqa: BLE001 - as above; it was set, and cannot be read
            return Outcome.ACCEPTED

    def forget_pulse(self) -> None:
        if self.pulse is not None:
            self.pulse.cancel()
            self.pulse = None


def _as_output(pin: Pin, *, rest: bool) -> None:
    pin.output_with_state(rest)


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
