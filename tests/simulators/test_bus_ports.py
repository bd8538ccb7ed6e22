"""Real ports of this machine: an independent master on a pseudo-terminal, sockets, unplugging.

Nothing here depends on exact time; the promises about time are kept under virtual time.
"""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import minimalmodbus
import pytest
import serial

from gateway.clock import SystemClock
from simulators.bus.faults import Silent
from simulators.bus.frames import TcpFrame, TcpFrames, rtu
from simulators.bus.line import Line
from simulators.bus.pty import PtyLine
from simulators.bus.tcp import Board, TcpServer
from simulators.bus.units import SimulatedUnit
from tests.simulators.bus_rig import unit_of

BAUD = 115_200


class Bus:
    """A line at a port, and a master that is not ours, in a thread of its own."""

    def __init__(self, path: Path, *units: str) -> None:
        self.clock = SystemClock()
        self.line = Line(clock=self.clock, random=Random(1), baud=BAUD)
        self.units: list[SimulatedUnit] = []
        for one, name in enumerate(units, start=1):
            self.units.append(unit_of(name, self.clock, unit=one))
            self.line.add(self.units[-1])
        self.port = PtyLine(self.line, path)

    async def master(self, unit: int = 1) -> minimalmodbus.Instrument:
        def make() -> minimalmodbus.Instrument:
            port = serial.Serial(os.fspath(self.port.path), BAUD, stopbits=2, timeout=5)
            return minimalmodbus.Instrument(port, unit)

        return await asyncio.to_thread(make)


def on_a_port(
    tmp_path: Path, *units: str, scene: Callable[[Bus], Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        bus = Bus(tmp_path / "corridor", *units)
        async with bus.port:
            await scene(bus)

    asyncio.run(run())


def test_pty_independent_master_reads_writes_and_is_refused(tmp_path: Path) -> None:
    async def scene(bus: Bus) -> None:
        master = await bus.master()

        def talk() -> None:
            assert bytes(master.read_registers(200, 6)) == b"WBMR6C"
            assert master.read_bits(0, 6, functioncode=2) == [0] * 6
            master.write_register(1784, 650, functioncode=6)
            assert master.read_register(1784) == 650
            master.write_registers(930, [1, 0, 1])
            assert master.read_registers(930, 3) == [1, 0, 1]
            master.write_bit(3, 1, functioncode=5)
            assert master.read_bits(0, 6, functioncode=1) == [0, 0, 0, 1, 0, 0]
            with pytest.raises(minimalmodbus.IllegalRequestError, match="address"):
                master.read_register(4_000)

        await asyncio.to_thread(talk)
        assert bus.units[0].output("relay-4").on
        master.serial.close()

    on_a_port(tmp_path, "wb-mr6c", scene=scene)


def test_pty_dead_unit_beside_a_live_one_is_silent_alone(tmp_path: Path) -> None:
    async def scene(bus: Bus) -> None:
        bus.units[0].afflict(Silent())
        master = await bus.master(1)
        master.serial.timeout = 0.2

        def talk() -> None:
            with pytest.raises(minimalmodbus.NoResponseError):
                master.read_bit(0)
            master.serial.timeout = 5
            master.address = 2
            assert master.read_bits(0, 8, functioncode=2) == [0] * 8

        await asyncio.to_thread(talk)
        master.serial.close()

    on_a_port(tmp_path, "wb-mcm8", "wb-mcm8", scene=scene)


def test_pty_master_at_another_speed_is_not_understood(tmp_path: Path) -> None:
    async def scene(bus: Bus) -> None:
        master = await bus.master()

        def talk() -> None:
            master.serial.baudrate, master.serial.timeout = 9_600, 0.2
            with pytest.raises((minimalmodbus.NoResponseError, minimalmodbus.InvalidResponseError)):
                master.read_bit(0)
            master.serial.baudrate, master.serial.timeout = BAUD, 5
            assert master.read_bit(0) == 0

        await asyncio.to_thread(talk)
        assert bus.units[0].requests == 1
        master.serial.close()

    on_a_port(tmp_path, "wb-mcm8", scene=scene)


def test_pty_unplugged_adapter_is_an_error_and_comes_back_under_its_name(tmp_path: Path) -> None:
    async def scene(bus: Bus) -> None:
        master = await bus.master()
        assert await asyncio.to_thread(master.read_bit, 0) == 0
        bus.line.unplug()
        assert not bus.port.path.exists()
        with pytest.raises((OSError, termios.error)):
            await asyncio.to_thread(master.read_bit, 0)
        master.serial.close()
        bus.line.plug()
        again = await bus.master()
        assert await asyncio.to_thread(again.read_bit, 0) == 0
        again.serial.close()

    on_a_port(tmp_path, "wb-mcm8", scene=scene)


def test_pty_link_is_gone_afterwards(tmp_path: Path) -> None:
    async def scene(bus: Bus) -> None:
        assert bus.port.path.is_symlink()

    on_a_port(tmp_path, "wb-mcm8", scene=scene)
    assert list(tmp_path.iterdir()) == []


def test_pty_refuses_to_replace_what_is_not_its_own(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "ttyRS485"
    path.write_text("mine")
    link.symlink_to(path)
    for taken in (path, link):
        with pytest.raises(FileExistsError, match="name another port"):
            asyncio.run(Bus(taken).port.__aenter__())
    assert link.read_text() == "mine"


def test_pty_replaces_a_link_left_behind_by_a_dead_simulation(tmp_path: Path) -> None:
    (tmp_path / "corridor").symlink_to("/dev/pts/99999")

    async def scene(bus: Bus) -> None:
        assert bus.port.path.exists()

    on_a_port(tmp_path, "wb-mcm8", scene=scene)


# --- sockets --------------------------------------------------------------------------------


async def told(reader: asyncio.StreamReader, size: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(size), 10)


def test_tcp_board_answers_with_the_transaction_it_was_asked_with() -> None:
    async def run() -> None:
        clock = SystemClock()
        unit = unit_of("adam-6060", clock)
        async with TcpServer(Board([unit], clock=clock)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            write = TcpFrame(0xBEEF, 1, bytes.fromhex("050010FF00"))
            writer.write(write.packed())
            assert TcpFrames().feed(await told(reader, len(write.packed()))) == [write]
            assert unit.output("relay-1").on
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_tcp_converter_carries_frames_of_a_line() -> None:
    async def run() -> None:
        clock = SystemClock()
        line = Line(clock=clock, random=Random(1), baud=BAUD)
        line.add(unit_of("wb-mcm8", clock))
        async with TcpServer(line) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(rtu(1, bytes.fromhex("0200000008")))
            assert await told(reader, 6) == rtu(1, bytes.fromhex("020100"))
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_tcp_cable_pulled_out_ends_the_connection_and_takes_no_new_one() -> None:
    async def run() -> None:
        clock = SystemClock()
        board = Board([unit_of("adam-6060", clock)], clock=clock)
        async with TcpServer(board) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(TcpFrame(1, 1, bytes.fromhex("0100000006")).packed())
            await told(reader, 10)
            board.unplug()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await told(reader, 1)
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await told(reader, 1)
            writer.close()
            board.plug()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(TcpFrame(2, 1, bytes.fromhex("0100000006")).packed())
            assert (await told(reader, 10))[:2] == b"\x00\x02"
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_tcp_stream_that_is_no_modbus_is_hung_up_on() -> None:
    async def run() -> None:
        clock = SystemClock()
        async with TcpServer(Board([unit_of("adam-6060", clock)], clock=clock)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await told(reader, 1)
            writer.close()

    asyncio.run(run())
