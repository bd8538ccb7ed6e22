"""A port behind TCP: a converter to a serial line, a gateway, or a board with a socket of its own.

Bytes out, bytes in; what a frame is, is known elsewhere. A connection that is lost, or closed or
half-closed by the far end, is a PortError and never a silence.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from drivers.modbus.wire.inbox import Inbox
from drivers.modbus.wire.port import PortError
from gateway.core.hardware import Bus

if TYPE_CHECKING:
    from gateway.clock import Clock

CONNECT_S = 3.0
"""How long a connection may take to come about: a lost SYN is sent again after 1 s."""

_OPTIONS = (
    # A request leaves at once, not when more has gathered.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A far end that vanished without a word is noticed after 5 s and three silent probes, 2 s
    # apart; while something of ours is unacknowledged, after 5 s.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5_000),
)


class TcpPort:
    """One connection at a time to the bus's host."""

    def __init__(self, bus: Bus, clock: Clock, *, connect_s: float = CONNECT_S) -> None:
        self._bus = bus
        self._clock = clock
        self._connect_s = connect_s
        self._session: _Session | None = None

    async def open(self) -> None:
        self.close()
        where, clock = self._where, self._clock
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, session = await loop.create_connection(
                    lambda: _Session(where, Inbox(clock)), self._bus.host, self._bus.tcp_port
                )
        except TimeoutError:
            raise PortError(
                f"{where}: no connection within {self._connect_s:g} s; check its power and cable, "
                "and `host`"
            ) from None
        except OSError as error:
            raise PortError(
                f"{where}: {error.strerror or error}; check `host` and `tcp_port`, and whether "
                "another master holds the connection"
            ) from None
        self._session = session

    def write(self, data: bytes) -> None:
        self._alive().write(data)

    async def read(self, until_us: int) -> bytes:
        return await self._alive().inbox.take(until_us)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _alive(self) -> _Session:
        if self._session is None:
            raise PortError(f"{self._where}: is not connected")
        return self._session

    @property
    def _where(self) -> str:
        return f"bus {self._bus.id}, {self._bus.host}:{self._bus.tcp_port}"


class _Session(asyncio.Protocol):
    """One connection, from its beginning to its end."""

    def __init__(self, where: str, inbox: Inbox) -> None:
        self._where = where
        self.inbox = inbox
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        for level, option, value in _OPTIONS:
            sock.setsockopt(level, option, value)

    def data_received(self, data: bytes) -> None:
        self.inbox.put(data)

    def eof_received(self) -> bool:
        self.inbox.end(PortError(f"{self._where}: the far end closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        why = exc or "closed"
        self.inbox.end(PortError(f"{self._where}: the connection is lost ({why})"))

    def write(self, data: bytes) -> None:
        """Send as one piece. Raises PortError when the connection is gone or takes nothing."""
        assert self._transport is not None
        if self.inbox.gone is not None:
            raise self.inbox.gone
        self._transport.write(data)
        if self._transport.get_write_buffer_size():
            why = PortError(f"{self._where}: the far end takes no bytes any more")
            self.inbox.end(why)
            raise why

    def close(self) -> None:
        """At once; a request that has not left yet is worth nothing."""
        if self._transport is not None:
            self._transport.abort()
