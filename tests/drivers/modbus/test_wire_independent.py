"""The wire against slaves other people wrote: uModbus on a terminal and in TCP, and pymodbus."""

from __future__ import annotations

import asyncio
import os
import select
import socketserver
import threading
import tty
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from umodbus.server.serial import get_server as get_serial_server
from umodbus.server.serial.rtu import RTUServer
from umodbus.server.tcp import RequestHandler, get_server

from drivers.modbus.wire.ports import open_port
from drivers.modbus.wire.request import (
    Read,
    Reply,
    ReplyKind,
    WriteBit,
    WriteBits,
    WriteRegister,
    WriteRegisters,
)
from drivers.modbus.wire.wire import Wire
from gateway.clock import SystemClock
from gateway.core.hardware import Bus, Transport
from gateway.core.profile import Table, Timing

TIMING = Timing(answer_ms=2_000)
Ask = Callable[..., Coroutine[Any, Any, Reply]]


class FarSerial:
    """The far end of a pseudo-terminal, with as much of pyserial's face as uModbus looks at."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.baudrate = 19_200
        self.timeout = 0.05
        self.inter_byte_timeout = 0.002

    def read(self, size: int) -> bytes:
        data = b""
        patience = self.timeout
        while len(data) < size and select.select([self._descriptor], [], [], patience)[0]:
            data += os.read(self._descriptor, size)
            patience = self.inter_byte_timeout
        return data

    def write(self, data: bytes) -> None:
        os.write(self._descriptor, data)


class Memory:
    """The registers and bits of a uModbus slave, unit 17."""

    def __init__(self, server: Any) -> None:
        self.words = dict.fromkeys(range(200), 0)
        self.bits = dict.fromkeys(range(200), 0)
        inside = list(range(200))
        for codes, cells in (([1, 2, 5, 15], self.bits), ([3, 4, 6, 16], self.words)):
            server.route(slave_ids=[17], function_codes=codes, addresses=inside)(_access(cells))


def _access(cells: dict[int, int]) -> Callable[..., int | None]:
    def access(slave_id: int, function_code: int, address: int, value: int | None = None) -> Any:
        del slave_id, function_code
        if value is None:
            return cells[address]
        cells[address] = value
        return None

    return access


@contextmanager
def umodbus_on_a_terminal() -> Iterator[tuple[Bus, Memory]]:
    far, near = os.openpty()
    tty.setraw(near)
    server = get_serial_server(RTUServer, FarSerial(far))
    memory = Memory(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Bus(id="pty", transport=Transport.RTU, port=os.ttyname(near), baud=19_200), memory
    finally:
        server.shutdown()
        thread.join()
        os.close(far)
        os.close(near)


@contextmanager
def umodbus_in_tcp() -> Iterator[tuple[Bus, Memory]]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = get_server(Server, ("127.0.0.1", 0), RequestHandler)
    memory = Memory(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        number = server.server_address[1]
        yield Bus(id="tcp", transport=Transport.TCP, host="127.0.0.1", tcp_port=number), memory
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def with_wire(bus: Bus, scenario: Callable[[Ask], Coroutine[Any, Any, None]]) -> None:
    clock = SystemClock()
    wire = Wire(bus, open_port(bus, clock), clock)
    await wire.open()

    async def ask(request: Any, unit: int = 17) -> Reply:
        return await wire.exchange(unit, request, timing=TIMING)

    try:
        await scenario(ask)
    finally:
        wire.close()
        # A loop that ends at once would leave the closed connection's last callback undone.
        await asyncio.sleep(0)


@pytest.mark.parametrize("slave", [umodbus_on_a_terminal, umodbus_in_tcp])
def test_wire_reads_and_writes_an_independent_slave(slave: Any) -> None:
    async def scenario(ask: Ask) -> None:
        memory.words.update({5: 0x1234, 6: 0xFFFF})
        memory.bits.update({10: 1, 12: 1, 20: 1})
        for table in (Table.HOLDING, Table.INPUT):
            assert (await ask(Read(table, 5, 2))).values == (0x1234, 0xFFFF)
        for table in (Table.COIL, Table.DISCRETE):
            assert (await ask(Read(table, 10, 11))).values == (1, 0, 1, *[0] * 7, 1)
        writes = [
            WriteRegister(7, 77),
            WriteBit(30, 0xFF00),
            WriteRegisters(8, (88, 99)),
            WriteBits(31, (True, False, True, True, False, False, True, True, True)),
        ]
        for write in writes:
            assert (await ask(write)).kind is ReplyKind.ANSWERED, write
        assert [memory.words[at] for at in (7, 8, 9)] == [77, 88, 99]
        assert [memory.bits[at] for at in range(30, 41)] == [1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0]
        longest = await ask(Read(Table.HOLDING, 0, 125))
        assert longest.values[5:8] == (0x1234, 0xFFFF, 77)

    with slave() as (bus, memory):
        asyncio.run(with_wire(bus, scenario))


@pytest.mark.parametrize("slave", [umodbus_on_a_terminal, umodbus_in_tcp])
def test_wire_hears_an_independent_slave_refuse(slave: Any) -> None:
    async def scenario(ask: Ask) -> None:
        refused = await ask(Read(Table.HOLDING, 199, 2))
        assert (refused.kind, refused.code) == (ReplyKind.EXCEPTION, 2)
        assert (await ask(Read(Table.HOLDING, 198, 2))).kind is ReplyKind.ANSWERED

    with slave() as (bus, _):
        asyncio.run(with_wire(bus, scenario))


def test_wire_reads_and_writes_a_pymodbus_server() -> None:
    async def scenario(ask: Ask) -> None:
        assert (await ask(Read(Table.HOLDING, 3, 2), 1)).values == (7, 7)
        assert (await ask(WriteRegister(3, 41), 1)).kind is ReplyKind.ANSWERED
        assert (await ask(Read(Table.HOLDING, 3, 2), 1)).values == (41, 7)
        assert (await ask(Read(Table.HOLDING, 60), 1)).code == 2

    async def run() -> None:
        data = [SimData(0, count=50, values=7, datatype=DataType.REGISTERS)]
        server: Any = ModbusTcpServer(SimDevice(1, simdata=data), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        try:
            number = server.transport.sockets[0].getsockname()[1]
            bus = Bus(id="tcp", transport=Transport.TCP, host="127.0.0.1", tcp_port=number)
            await with_wire(bus, scenario)
        finally:
            await server.shutdown()

    asyncio.run(run())
