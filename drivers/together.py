"""Several drivers as one: an address decides which of them is meant. No hardware of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from drivers.base import Driver, DriverError, Ear, Output, Searcher, Wire
from gateway.core.action import Action
from gateway.core.hardware import device_of
from gateway.core.model import Json


class Pins(Driver, Protocol):
    """A driver that can be closed without a loop to wait on."""

    def close(self) -> None:
        """What `stop` does, at once."""


class Together:
    """Pins and units on buses; `drivers.base.Driver`.

    pins: for addresses like `gpio:17`. units: for those like `entrance/relay-1`.
    """

    def __init__(self, *, pins: Pins, units: Driver) -> None:
        self._pins = pins
        self._units = units

    def start(self, *, wires: Sequence[Wire], outputs: Sequence[Output], ear: Ear) -> None:
        """Start each with what is its own. Pins are given back when the units cannot start."""
        for driver in (self._pins, self._units):
            try:
                driver.start(
                    wires=[wire for wire in wires if self._of(wire.address) is driver],
                    outputs=[output for output in outputs if self._of(output.address) is driver],
                    ear=ear,
                )
            except DriverError:
                self._pins.close()
                raise

    def light(self, address: str, *, on: bool) -> None:
        """Drive a lamp."""
        self._of(address).light(address, on=on)

    def act(self, action: Action) -> None:
        """Drive an output; the driver it belongs to answers."""
        self._of(action.output).act(action)

    def check(self) -> None:
        """Re-read every input."""
        self._pins.check()
        self._units.check()

    def status(self) -> Mapping[str, Json]:
        """What either has to say of its buses."""
        return {**self._pins.status(), **self._units.status()}

    def search(self, bus: str, sweep: Mapping[str, Json]) -> AsyncGenerator[dict[str, Json], None]:
        """Look for units on a bus; `drivers.base.Searcher`."""
        if not isinstance(self._units, Searcher):
            raise KeyError(bus)
        return self._units.search(bus, sweep)

    async def stop(self) -> None:
        """Stop both at the same time; what one of them raises comes after both have ended."""
        ends = (self._pins.stop(), self._units.stop())
        for failure in await asyncio.gather(*ends, return_exceptions=True):
            if failure is not None:
                raise failure

    def _of(self, address: str) -> Driver:
        return self._pins if device_of(address) is None else self._units
