"""Ports without a machine: the product's Port over a simulated line, under virtual time.

Owns nothing but the bytes that wait to be read. `opener` gives the product what it opens ports by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from drivers.modbus.wire.port import Opener, Port, PortError
from gateway.clock import Clock
from gateway.core.hardware import Bus
from simulators.bus.frames import TcpFrames
from simulators.bus.line import Line
from simulators.bus.tcp import Board


class _Waiting:
    """Bytes on their way to whoever reads, and the news that none will come any more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bytes = bytearray()
        self._reader: asyncio.Future[None] | None = None

    def put(self, data: bytes) -> None:
        self._bytes += data
        self.wake()

    def wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def take(self) -> bytes:
        if not self._bytes:
            return b""
        data = bytes(self._bytes)
        self._bytes.clear()
        return data

    def ready(self, until_us: int) -> bool:
        """True when there is nothing to wait for."""
        return bool(self._bytes) or self._clock.now_us() >= until_us

    async def wait(self, until_us: int) -> None:
        """Return when there are bytes, when woken, or at `until_us`."""
        self._reader = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(until_us, self.wake)
        try:
            await self._reader
        finally:
            timer.cancel()
            self._reader = None


class WirePort:
    """A Port onto a Line or a Board. baud: what the master believes the speed to be."""

    def __init__(self, behind: Line | Board, *, clock: Clock, baud: int | None = None) -> None:
        self._behind = behind
        self._baud = baud
        self._waiting = _Waiting(clock)
        self._frames = TcpFrames()
        self._open = False

    async def open(self) -> None:
        """Open it; what was said before is not heard. Raises PortError while it is unplugged."""
        if not self._behind.plugged:
            raise PortError("the adapter is not there (simulated): plug it in")
        self.close()
        self._waiting.take()
        self._frames = TcpFrames()
        self._open = True
        self._behind.on_plug.append(self._plugged)
        if isinstance(self._behind, Line):
            self._behind.mistuned = self._baud not in {None, self._behind.baud}
            self._behind.hear = self._waiting.put

    def write(self, data: bytes) -> None:
        """Send these bytes. Raises PortError when the port is gone."""
        self._still_there()
        if isinstance(self._behind, Line):
            self._behind.say(data)
            return
        for frame in self._frames.feed(data):
            self._behind.ask(frame, self._put_if_open)

    async def read(self, until_us: int) -> bytes:
        """At least one byte, or nothing at `until_us`. Raises PortError when the port is gone."""
        self._still_there()
        if not self._waiting.ready(until_us):
            await self._waiting.wait(until_us)
        data = self._waiting.take()
        if not data:
            self._still_there()
        return data

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        self._open = False
        with suppress(ValueError):
            self._behind.on_plug.remove(self._plugged)
        if isinstance(self._behind, Line) and self._behind.hear == self._waiting.put:
            self._behind.hear = None
        self._waiting.wake()

    def _put_if_open(self, data: bytes) -> None:
        if self._open:
            self._waiting.put(data)

    def _plugged(self, plugged: bool) -> None:  # noqa: FBT001 -- as on_plug tells it
        if not plugged:
            self._open = False
            self._waiting.wake()

    def _still_there(self) -> None:
        if not self._open:
            raise PortError("the port is gone (simulated): plug the adapter in and open it again")


def opener(behind: Mapping[str, Line | Board], *, clock: Clock) -> Opener:
    """What makes the ports of these buses, by their ids. KeyError for a bus nobody simulates."""

    def make(bus: Bus) -> Port:
        return WirePort(behind[bus.id], clock=clock, baud=bus.baud)

    return make
