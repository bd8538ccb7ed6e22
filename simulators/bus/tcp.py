"""Units behind a socket: Modbus TCP, and a converter that carries RTU frames over TCP.

Owns the listening sockets, on 127.0.0.1 unless told otherwise. `Board` is what stands behind a
Modbus TCP socket, in real time here and in virtual time in `wire_port.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from gateway.clock import Clock
from simulators.bus.frames import TcpFrame, TcpFrames
from simulators.bus.line import Line
from simulators.bus.registers import refusal
from simulators.bus.units import SimulatedUnit

TARGET_SILENT = 11
"""Exception of a gateway whose unit does not answer (application protocol V1.1b3, section 7)."""
_PIECE = 4_096


class Board:
    """What answers Modbus TCP: a unit with a network socket, or a gateway with units behind it.

    A single unit also answers to 0 and 255. An address nobody has is exception 11.
    """

    def __init__(self, units: Sequence[SimulatedUnit], *, clock: Clock) -> None:
        self.units = list(units)
        self.plugged = True
        self.on_plug: list[Callable[[bool], None]] = []
        self._clock = clock

    def ask(self, request: TcpFrame, reply: Callable[[bytes], None]) -> None:
        """Let a unit answer; `reply` is called with the message when it does, perhaps never."""
        unit = self._unit(request.unit)
        if unit is None:
            pdu = refusal(request.pdu, TARGET_SILENT)
            reply(TcpFrame(request.transaction, request.unit, pdu).packed())
            return
        answer = unit.hear(request.pdu)
        if answer is not None:
            message = TcpFrame(request.transaction, request.unit, answer.pdu).packed()
            at_us = self._clock.now_us() + answer.after_us
            self._clock.call_at(at_us, partial(self._answer, unit, message, reply))

    def unplug(self) -> None:
        """Pull the network cable; harmless when it is out."""
        self._set_plugged(plugged=False)

    def plug(self) -> None:
        """Put it back in."""
        self._set_plugged(plugged=True)

    def _set_plugged(self, *, plugged: bool) -> None:
        if plugged is not self.plugged:
            self.plugged = plugged
            for told in list(self.on_plug):
                told(plugged)

    def _unit(self, address: int) -> SimulatedUnit | None:
        for unit in self.units:
            if unit.unit == address or (len(self.units) == 1 and address in {0, 255}):
                return unit
        return None

    def _answer(self, unit: SimulatedUnit, message: bytes, reply: Callable[[bytes], None]) -> None:
        if not unit.deaf() and self.plugged:
            reply(message)


class TcpServer:
    """Listens for masters of a Board (Modbus TCP) or of a Line (RTU over TCP).

    An async context manager. port: 0 takes a free one, which `port` then names.
    """

    def __init__(self, behind: Board | Line, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.behind = behind
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._masters: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError when the address is taken."""
        await self._listen()
        self.behind.on_plug.append(self._plugged)
        if isinstance(self.behind, Line):
            self.behind.hear = self._tell
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up on every master and stop listening."""
        self.behind.on_plug.remove(self._plugged)
        if isinstance(self.behind, Line):
            self.behind.hear = None
        self._hang_up()
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _plugged(self, plugged: bool) -> None:  # noqa: FBT001 -- as on_plug tells it
        """A cable that is out: nobody is heard, and who was connected is dropped."""
        if not plugged:
            self._hang_up()

    def _hang_up(self) -> None:
        for master in list(self._masters):
            master.transport.abort()

    def _tell(self, data: bytes) -> None:
        for master in list(self._masters):
            master.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self._masters.append(writer)
        try:
            if self.behind.plugged:
                await self._converse(reader, writer)
        except (ConnectionError, ValueError, asyncio.CancelledError):
            return  # it hung up or talked nonsense, or the simulation ends
        finally:
            self._tasks.remove(task)
            self._masters.remove(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = TcpFrames()
        while data := await reader.read(_PIECE):
            if isinstance(self.behind, Line):
                self.behind.say(data)
                continue
            for frame in frames.feed(data):
                self.behind.ask(frame, partial(_write, writer))


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write to a master that may have gone by now."""
    if not writer.is_closing():
        writer.write(data)
