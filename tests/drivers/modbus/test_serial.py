"""The real serial port over pseudo-terminals: what it promises, and every way it can be missing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
import tty
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from drivers.modbus.wire.port import PortError
from drivers.modbus.wire.ports import open_port
from drivers.modbus.wire.serial import SerialPort
from drivers.modbus.wire.tcp import TcpPort
from gateway.clock import SystemClock
from gateway.core.hardware import Bus, Parity, Transport

T = TypeVar("T")
SOON_US = 5_000_000
"""Long enough for a loaded machine; every wait ends as soon as something happens."""


class Terminal:
    """The far end of a pseudo-terminal, and the name of the near one."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        self.name = os.ttyname(self.near)

    def unplug(self) -> None:
        """Both ends we hold: who has it open reads EIO from now on."""
        for end in (self.far, self.near):
            if end >= 0:
                os.close(end)
        self.far = self.near = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.unplug()


def bus(name: str, *, baud: int = 19_200, parity: Parity = Parity.NONE) -> Bus:
    return Bus(id="corridor", transport=Transport.RTU, port=name, baud=baud, parity=parity)


def port_on(name: str, **more: Any) -> SerialPort:
    return SerialPort(bus(name, **more), SystemClock())


def run(scenario: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(scenario)


def soon_us() -> int:
    return SystemClock().now_us() + SOON_US


def test_serial_port_writes_and_reads_every_byte_value(terminal: Terminal) -> None:
    """Raw: no byte is a control character, a line end or an echo."""
    every = bytes(range(256))

    async def scenario() -> tuple[bytes, bytes]:
        port = port_on(terminal.name)
        await port.open()
        port.write(every)
        heard = os.read(terminal.far, 1_000)
        os.write(terminal.far, every)
        data = b""
        while len(data) < len(every):
            data += await port.read(soon_us())
        port.close()
        return heard, data

    assert run(scenario()) == (every, every)


def test_serial_port_returns_at_once_with_what_waits(terminal: Terminal) -> None:
    async def scenario() -> bytes:
        port = port_on(terminal.name)
        await port.open()
        os.write(terminal.far, b"\x01\x02")
        data = await port.read(0)
        port.close()
        return data

    assert run(scenario()) == b"\x01\x02"


def test_serial_port_reads_nothing_when_the_time_has_passed(terminal: Terminal) -> None:
    async def scenario() -> tuple[bytes, bool]:
        port = port_on(terminal.name)
        await port.open()
        until_us = SystemClock().now_us() + 20_000
        data = await port.read(until_us)
        port.close()
        # Relaxed timers of the loop round to the millisecond.
        return data, SystemClock().now_us() >= until_us - 1_000

    assert run(scenario()) == (b"", True)


def test_serial_port_drops_what_came_in_before_it_was_opened(terminal: Terminal) -> None:
    async def scenario() -> bytes:
        os.write(terminal.far, b"old")
        port = port_on(terminal.name)
        await port.open()
        data = await port.read(0)
        port.close()
        return data

    assert run(scenario()) == b""


def test_serial_port_that_is_missing_says_what_to_do() -> None:
    with pytest.raises(PortError, match=r"corridor.*/dev/none.*is not there.*by-id"):
        run(port_on("/dev/none").open())


def test_serial_port_that_is_no_serial_device_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(PortError, match=r"corridor.*file"):
        run(port_on(str(path)).open())


def test_serial_port_in_use_says_so(terminal: Terminal) -> None:
    holder = os.open(terminal.name, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pytest.raises(PortError, match="in use by another program"):
            run(port_on(terminal.name).open())
    finally:
        os.close(holder)
    run(port_on(terminal.name).open())


def test_serial_port_that_is_unplugged_wakes_who_reads(terminal: Terminal) -> None:
    async def scenario() -> None:
        port = port_on(terminal.name)
        await port.open()
        asyncio.get_running_loop().call_soon(terminal.unplug)
        with pytest.raises(PortError, match="unplugged"):
            await port.read(soon_us())
        with pytest.raises(PortError, match="unplugged"):
            port.write(b"\x01")
        with pytest.raises(PortError, match="unplugged"):
            await port.read(0)
        port.close()

    run(scenario())


def test_serial_port_that_was_unplugged_costs_nothing_until_it_is_closed(
    terminal: Terminal,
) -> None:
    """A descriptor at its end is readable for ever; the loop must not turn round it."""

    async def scenario() -> float:
        port = port_on(terminal.name)
        await port.open()
        terminal.unplug()
        with pytest.raises(PortError):
            await port.read(soon_us())
        busy_s = time.process_time()
        await asyncio.sleep(0.1)
        busy_s = time.process_time() - busy_s
        port.close()
        return busy_s

    assert run(scenario()) < 0.05


def test_serial_port_opens_again_when_it_comes_back(terminal: Terminal, tmp_path: Path) -> None:
    """Another terminal under the same name, as udev gives it."""

    link = tmp_path / "adapter"

    def leads_to(name: str) -> None:
        link.unlink(missing_ok=True)
        if name:
            link.symlink_to(name)

    async def scenario() -> bytes:
        leads_to(terminal.name)
        port = port_on(str(link))
        await port.open()
        terminal.unplug()
        with pytest.raises(PortError):
            await port.read(soon_us())
        leads_to("")
        with pytest.raises(PortError, match="not there"):
            await port.open()
        back = Terminal()
        leads_to(back.name)
        await port.open()
        os.write(back.far, b"\x2a")
        data = await port.read(soon_us())
        port.close()
        back.unplug()
        return data

    assert run(scenario()) == b"\x2a"


@pytest.mark.parametrize("parity", list(Parity))
def test_serial_port_opens_again_with_any_parity(terminal: Terminal, parity: Parity) -> None:
    """On a pseudo-terminal the second opening with parity is refused by the C library."""

    async def scenario() -> bytes:
        port = port_on(terminal.name, parity=parity)
        for _ in range(3):
            await port.open()
        port.write(b"\x55")
        heard = os.read(terminal.far, 10)
        port.close()
        return heard

    assert run(scenario()) == b"\x55"


def test_serial_port_that_is_closed_says_so_and_closes_twice(terminal: Terminal) -> None:
    async def scenario() -> None:
        port = port_on(terminal.name)
        port.close()
        with pytest.raises(PortError, match="not open"):
            await port.read(0)
        await port.open()
        port.close()
        port.close()
        with pytest.raises(PortError, match="not open"):
            port.write(b"\x01")

    run(scenario())


def test_serial_port_closed_under_a_reader_wakes_it(terminal: Terminal) -> None:
    async def scenario() -> None:
        port = port_on(terminal.name)
        await port.open()
        asyncio.get_running_loop().call_soon(port.close)
        with pytest.raises(PortError, match="not open"):
            await port.read(soon_us())

    run(scenario())


def test_serial_port_leaves_the_loop_whole_when_its_descriptor_is_used_again(
    terminal: Terminal,
) -> None:
    """A reader left on a closed descriptor would wake for, or break, whoever gets the number."""

    async def scenario() -> bytes:
        port = port_on(terminal.name)
        await port.open()
        port.close()
        here, there = os.pipe()
        loop = asyncio.get_running_loop()
        got = asyncio.Event()
        loop.add_reader(here, got.set)
        os.write(there, b"pipe")
        await asyncio.wait_for(got.wait(), 5)
        data = os.read(here, 10)
        loop.remove_reader(here)
        os.close(here)
        os.close(there)
        return data

    assert run(scenario()) == b"pipe"


def test_serial_port_that_does_not_send_is_lost(terminal: Terminal) -> None:
    """Nobody empties the far end: the kernel's buffer is full and a frame does not fit."""

    async def scenario() -> None:
        port = port_on(terminal.name)
        await port.open()

        def flood() -> None:
            for _ in range(10_000):
                port.write(bytes(256))

        with pytest.raises(PortError, match="corridor"):
            flood()
        port.close()

    run(scenario())


@pytest.mark.parametrize(("before", "after"), [("16\n", "1"), ("1\n", "1\n")])
def test_serial_port_sets_the_latency_timer_where_there_is_one(
    terminal: Terminal, tmp_path: Path, before: str, after: str
) -> None:
    timer = tmp_path / Path(terminal.name).name / "latency_timer"
    timer.parent.mkdir()
    timer.write_text(before, encoding="ascii")

    async def scenario() -> None:
        port = SerialPort(bus(terminal.name), SystemClock(), sysfs=tmp_path)
        await port.open()
        port.close()

    run(scenario())
    assert timer.read_text(encoding="ascii") == after


def test_bus_gets_the_port_of_its_transport() -> None:
    clock = SystemClock()
    assert isinstance(open_port(bus("/dev/ttyS9"), clock), SerialPort)
    for transport in (Transport.TCP, Transport.RTU_OVER_TCP):
        assert isinstance(open_port(Bus(id="b", transport=transport), clock), TcpPort)
