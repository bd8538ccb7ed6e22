"""The last wire's own watch over expiry: a port that keeps back what may no longer leave.

Between the decision to send and the first byte lie the silences of the line, and longer waits on a
noisy one. An action's expiry is therefore looked at once more here, when its bytes would leave.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from drivers.modbus.wire.port import Port

if TYPE_CHECKING:
    from gateway.clock import Clock


class Guard:
    """A port in front of a port. What it keeps back looks, on the wire, like a silent unit."""

    __slots__ = ("_clock", "_held_back", "_not_after_us", "_port")

    def __init__(self, port: Port, clock: Clock) -> None:
        self._port = port
        self._clock = clock
        self._not_after_us: int | None = None
        self._held_back = False

    def arm(self, not_after_us: int | None) -> None:
        """From now on nothing leaves after this moment; None: everything may."""
        self._not_after_us = not_after_us
        self._held_back = False

    def disarm(self) -> bool:
        """Let everything leave again; True when something was kept back."""
        self._not_after_us = None
        return self._held_back

    async def open(self) -> None:
        await self._port.open()

    def write(self, data: bytes) -> None:
        if self._not_after_us is not None and self._clock.now_us() > self._not_after_us:
            self._held_back = True
            return
        self._port.write(data)

    def read(self, until_us: int) -> Coroutine[Any, Any, bytes]:
        return self._port.read(until_us)

    def close(self) -> None:
        self._port.close()
