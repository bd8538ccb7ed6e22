"""The connection of a bus behind TCP: what it promises, and every way it can be lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from drivers.modbus.wire.port import PortError
from drivers.modbus.wire.tcp import TcpPort
from gateway.clock import SystemClock
from gateway.core.hardware import Bus, Transport

T = TypeVar("T")
SOON_US = 5_000_000


def run(scenario: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(scenario)


def soon_us() -> int:
    return SystemClock().now_us() + SOON_US


class Far:
    """A listening socket, and the connection it took."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.taken: socket.socket | None = None

    @property
    def tcp_port(self) -> int:
        return int(self.listening.getsockname()[1])

    def take(self) -> socket.socket:
        self.taken, _ = self.listening.accept()
        return self.taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listening.close()
        if self.taken is not None:
            self.taken.close()


def port_on(tcp_port: int, **more: Any) -> TcpPort:
    bus = Bus(id="lan", transport=Transport.TCP, host="127.0.0.1", tcp_port=tcp_port)
    return TcpPort(bus, SystemClock(), **more)


def test_tcp_port_writes_and_reads() -> None:
    async def scenario() -> tuple[bytes, bytes]:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            peer = far.take()
            port.write(b"question")
            heard = peer.recv(100)
            peer.sendall(b"answer")
            data = await port.read(soon_us())
            port.close()
            return heard, data

    assert run(scenario()) == (b"question", b"answer")


def test_tcp_port_reads_nothing_when_the_time_has_passed() -> None:
    async def scenario() -> bytes:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            data = await port.read(SystemClock().now_us() + 5_000)
            port.close()
            return data

    assert run(scenario()) == b""


def timer_of(tcp_port: int) -> str:
    """What the kernel's table says of the timers of a local TCP port; 02 is keepalive."""
    table = Path("/proc/self/net/tcp").read_text(encoding="ascii")
    rows = [row.split() for row in table.splitlines()[1:]]
    return next(row[5] for row in rows if row[1].endswith(f":{tcp_port:04X}"))


def test_tcp_port_probes_a_silent_peer() -> None:
    async def scenario() -> str:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            timer = timer_of(far.take().getpeername()[1])
            port.close()
            return timer

    assert run(scenario()).startswith("02:")


def test_tcp_port_nobody_listens_on_says_what_to_do() -> None:
    with Far() as far:
        number = far.tcp_port
    with pytest.raises(PortError, match=rf"lan, 127.0.0.1:{number}: .*check `host`"):
        run(port_on(number).open())


def test_tcp_port_gives_up_a_connection_that_does_not_come_about() -> None:
    """A listener whose queue is full answers nothing."""

    async def scenario() -> None:
        with Far() as far:
            far.listening.listen(0)
            crowd = []
            for _ in range(4):
                caller = socket.socket()
                caller.setblocking(False)
                caller.connect_ex(("127.0.0.1", far.tcp_port))
                crowd.append(caller)
            with pytest.raises(PortError, match="no connection within"):
                await port_on(far.tcp_port, connect_s=0.1).open()
            for caller in crowd:
                caller.close()

    run(scenario())


def test_tcp_port_whose_far_end_hangs_up_is_gone() -> None:
    async def scenario() -> None:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            peer = far.take()
            peer.sendall(b"last")
            peer.close()
            assert await port.read(soon_us()) == b"last"
            with pytest.raises(PortError, match="closed the connection"):
                await port.read(soon_us())
            with pytest.raises(PortError, match="closed the connection"):
                port.write(b"x")
            port.close()

    run(scenario())


def test_tcp_port_that_is_half_closed_is_gone() -> None:
    """The far end sends no more, though it still listens: no answer can come."""

    async def scenario() -> None:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            far.take().shutdown(socket.SHUT_WR)
            with pytest.raises(PortError, match="closed the connection"):
                await port.read(soon_us())

    run(scenario())


def test_tcp_port_that_is_reset_is_gone_and_opens_again() -> None:
    async def scenario() -> bytes:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            peer = far.take()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with pytest.raises(PortError, match="lost"):
                await port.read(soon_us())
            await port.open()
            far.take().sendall(b"back")
            data = await port.read(soon_us())
            port.close()
            return data

    assert run(scenario()) == b"back"


def test_tcp_port_that_takes_no_bytes_any_more_is_gone() -> None:
    async def scenario() -> None:
        with Far() as far:
            port = port_on(far.tcp_port)
            await port.open()
            far.take()

            def flood() -> None:
                for _ in range(1_000):
                    port.write(bytes(65_536))

            with pytest.raises(PortError, match="takes no bytes"):
                flood()
            port.close()

    run(scenario())


def test_tcp_port_that_is_closed_says_so_and_closes_twice() -> None:
    async def scenario() -> None:
        with Far() as far:
            port = port_on(far.tcp_port)
            port.close()
            with pytest.raises(PortError, match="not connected"):
                await port.read(0)
            await port.open()
            port.close()
            port.close()
            with pytest.raises(PortError, match="not connected"):
                port.write(b"x")

    run(scenario())
