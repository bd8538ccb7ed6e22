"""Buses on real ports and sockets, with real processes and a slave that is not ours.

What only real ones show: terminals and sockets, signals, kill -9, the control socket. Everything
that a clock or a seed can show better is in test_bus_daemon and test_doors.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import socketserver
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from umodbus.server import tcp as umodbus_tcp
from umodbus.server.serial import get_server as umodbus_serial
from umodbus.server.serial.rtu import RTUServer

from drivers.base import Contact, Ear, Output, Wire
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.wire.ports import open_port
from gateway.clock import SystemClock
from gateway.control import ask as ask_daemon
from gateway.core.action import Action, Outcome, Result
from gateway.core.hardware import Bus, Device, Transport
from gateway.core.model import Condition, Level, Reading
from simulators.bus.plant import Plant
from simulators.bus.shipped import profile
from simulators.network.brokers import Mosquitto, Nats, free_port
from tests.bus_schools import campus
from tests.processes import ROOT, Process, School, raised, school, wait_for

UNIT, ELSEWHERE = 9, 8
SLAVE = Device("box", "bus", UNIT, replace(profile("generic"), transports=("rtu", "tcp")), 50)
WITHIN_S = 10.0
BAUD = 19_200


class Real:
    """The real driver on a real port; everything it says is kept."""

    def __init__(self, bus: Bus, *devices: Device) -> None:
        self.clock = SystemClock()
        self.levels: dict[str, Level] = {}
        self.conditions: list[Condition] = []
        self.results: dict[str, Result] = {}
        self.driver = ModbusDriver(
            [bus],
            devices,
            opener=partial(open_port, clock=self.clock),
            clock=self.clock,
            random=random.Random(1),
            report=lambda _what, _fields: None,
            identities={},
            remember=lambda _device, _identity: None,
        )

    def start(self, wires: tuple[str, ...], outputs: tuple[str, ...] = ()) -> None:
        self.driver.start(
            wires=[Wire(address, Contact.NORMALLY_OPEN) for address in wires],
            outputs=[Output(address) for address in outputs],
            ear=Ear(self._read, self.conditions.append, self._done),
        )

    def _read(self, reading: Reading) -> None:
        self.levels[reading.input] = reading.level

    def _done(self, result: Result) -> None:
        self.results[result.action] = result

    async def drive(self, output: str, *, on: bool, for_ms: int | None = None) -> Result:
        """Drive it and wait for what comes of it."""
        name = f"a{len(self.results)}"
        late_us = self.clock.now_us() + 5_000_000
        action = Action(id=name, output=output, on=on, not_after_us=late_us, for_ms=for_ms)
        self.driver.act(action)
        await self.until(f"result of {name}", lambda: name in self.results)
        return self.results[name]

    async def until(self, what: str, true: Callable[[], object]) -> None:
        """Wait for it, with a deadline; AssertionError names what did not come."""
        deadline_us = self.clock.now_us() + round(WITHIN_S * 1e6)
        while not true():
            assert self.clock.now_us() < deadline_us, f"no {what}; {self.driver.status()}"
            await asyncio.sleep(0.005)


# --- a slave that is not ours ---


class Slave:
    """What umodbus serves: sixteen inputs and sixteen relays of one unit, as plain lists."""

    def __init__(self) -> None:
        self.inputs = [0] * 16
        self.relays = [0] * 16

    def routes(self, server: Any) -> None:
        there = {"slave_ids": [UNIT], "addresses": list(range(16))}
        server.route(function_codes=[2], **there)(self._input)
        server.route(function_codes=[1], **there)(self._relay)
        server.route(function_codes=[5, 15], **there)(self._drive)

    def _input(self, *, address: int, **_: int) -> int:
        return self.inputs[address]

    def _relay(self, *, address: int, **_: int) -> int:
        return self.relays[address]

    def _drive(self, *, address: int, value: int, **_: int) -> None:
        self.relays[address] = int(bool(value))


class _Terminal:
    """The near end of a pty with as much of pyserial's Serial as umodbus asks for."""

    baudrate = BAUD

    def __init__(self, near: int) -> None:
        self.near = near
        self.timeout = self.inter_byte_timeout = 0.01

    def read(self, most: int) -> bytes:
        heard = b""
        while len(heard) < most and select.select([self.near], [], [], 0.005)[0]:
            heard += os.read(self.near, most - len(heard))
        return heard

    def write(self, data: bytes) -> None:
        os.write(self.near, data)


@contextmanager
def on_a_terminal(slave: Slave, folder: Path) -> Iterator[Bus]:
    near, far = os.openpty()
    tty.setraw(far)
    path = folder / "ttyBOX"
    path.symlink_to(os.ttyname(far))
    server = umodbus_serial(RTUServer, _Terminal(near))
    slave.routes(server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Bus("bus", Transport.RTU, port=str(path), baud=BAUD, echo=False)
    finally:
        server.shutdown()
        thread.join()
        os.close(near)
        os.close(far)


@contextmanager
def on_a_socket(slave: Slave, folder: Path) -> Iterator[Bus]:
    del folder
    server = umodbus_tcp.get_server(
        socketserver.ThreadingTCPServer, ("127.0.0.1", 0), umodbus_tcp.RequestHandler
    )
    server.daemon_threads = True
    slave.routes(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        port = server.server_address[1]
        yield Bus("bus", Transport.TCP, host="127.0.0.1", tcp_port=port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("where", [on_a_terminal, on_a_socket])
def test_independent_slave_is_read_driven_and_read_back(where: Any, tmp_path: Path) -> None:
    """umodbus on a terminal and on a socket: levels, confirmed writes, a pulse with its end."""
    slave = Slave()

    async def scene(bus: Bus) -> None:
        real = Real(bus, SLAVE)
        real.start(("box/input-1", "box/input-16"), ("box/relay-1", "box/relay-16"))
        await real.until("first levels", lambda: len(real.levels) >= 2)
        assert real.levels["box/input-1"] is real.levels["box/input-16"] is Level.NORMAL
        slave.inputs[15] = 1
        await real.until("change", lambda: real.levels["box/input-16"] is Level.ACTIVE)
        assert real.levels["box/input-1"] is Level.NORMAL
        assert (await real.drive("box/relay-16", on=True)).outcome is Outcome.CONFIRMED
        assert slave.relays == [0] * 15 + [1]
        assert (await real.drive("box/relay-1", on=True, for_ms=300)).outcome is Outcome.CONFIRMED
        assert slave.relays[0] == 1
        await real.until("end of the pulse", lambda: slave.relays[0] == 0)
        await real.driver.stop()

    with where(slave, tmp_path) as bus:
        asyncio.run(scene(bus))


def test_independent_slave_that_is_another_unit_is_silence(tmp_path: Path) -> None:
    """It refuses what it has no route for: alive, and reported; nothing is made up."""

    async def scene(bus: Bus) -> None:
        real = Real(bus, replace(SLAVE, unit=ELSEWHERE))
        real.start(("box/input-1",))
        await real.until("fault", lambda: real.conditions)
        assert real.conditions[0].kind == "configuration"
        assert Level.ACTIVE not in real.levels.values()
        await real.driver.stop()

    with on_a_socket(Slave(), tmp_path) as bus:
        asyncio.run(scene(bus))


# --- our own units behind real ports ---


@pytest.mark.parametrize("transport", list(Transport))
def test_every_transport_carries_presses_and_openings(transport: Transport, tmp_path: Path) -> None:
    """A terminal, a converter's socket, Modbus TCP: the same driver and the same units."""
    bus = Bus(
        "bus",
        transport,
        port=str(tmp_path / "ttyBOX"),
        host="127.0.0.1",
        tcp_port=free_port(),
        baud=115_200,
        echo=False,
    )
    device = Device("box", "bus", 3, profile("wb-mr6c"), poll_ms=50)
    premises = campus(devices=(device,), buses=(bus,))

    async def scene() -> None:
        real = Real(bus, device)
        plant = Plant(premises, clock=real.clock, random=random.Random(1))
        async with plant.serve():
            real.start(("box/input-1",), ("box/relay-1",))
            await real.until("first level", lambda: real.levels)
            plant.contact("box/input-1").wire(closed=True)
            await real.until("change", lambda: real.levels["box/input-1"] is Level.ACTIVE)
            assert (await real.drive("box/relay-1", on=True)).outcome is Outcome.CONFIRMED
            assert plant.output("box/relay-1").on
            plant.trouble("bus", "unplug")
            await real.until("fault", lambda: [c.standing for c in real.conditions] == [True])
            assert real.levels["box/input-1"] is Level.UNKNOWN
            plant.trouble("bus", "plug")
            await real.until("end of it", lambda: len(real.conditions) == 2)
            await real.until("level", lambda: real.levels["box/input-1"] is Level.ACTIVE)
            assert {condition.kind for condition in real.conditions} == {"bus"}
            await real.driver.stop()

    asyncio.run(scene())


# --- real processes ---


@pytest.fixture
def campus_school(tmp_path: Path) -> Iterator[School]:
    with school(tmp_path, Mosquitto) as there:
        yield there


def qorgan(there: School, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The product's own command line, at the daemon's socket."""
    where = ("--socket", str(there.folder / "qorgan.sock"))
    return subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, words), *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def do(there: School, kind: str, name: str, verb: str) -> dict[str, Any]:
    """Something happens to a door, a unit or a bus; the simulation's answer."""
    answer: dict[str, Any] = there.ask({kind: name, "do": verb})
    assert answer["ok"], answer
    return answer


def lock_of(there: School, door: str) -> str:
    """Free or locked, as the simulated lock is."""
    told: Any = there.ask({"status": True})
    return str(told["doors"][door]["lock"])


def until_set_up(there: School) -> None:
    """Wait until every unit answers and its outputs may move."""

    def ready() -> bool:
        units = status_of(there)["buses"]["corridor"]["units"]
        states = [(unit["state"], unit["outputs"]) for unit in units.values()]
        return all(state == ("answers", "ready") for state in states)

    wait_for("units that are set up", ready)


def status_of(there: School) -> dict[str, Any]:
    """What the daemon says at its socket."""
    return next(ask_daemon(there.folder / "qorgan.sock", "status", value=True))


def until_told(process: Process, subject: str, kind: str, count: int = 1) -> None:
    """Wait for so many alarms of that kind at a centre."""
    wanted = (subject, kind)
    wait_for(f"{kind} at {process.name}", lambda: raised(process).count(wanted) >= count)


def test_press_on_a_unit_and_a_forced_door_reach_both_centres(campus_school: School) -> None:
    there = campus_school
    centres = [there.centre(route) for route in ("security", "case")]
    there.gateway()
    until_set_up(there)
    there.press("library", ms=30)
    do(there, "door", "main-door", "force")
    for centre in centres:
        until_told(centre, "library", "alarm.panic.raised")
        until_told(centre, "main-door", "alarm.door-forced.raised")
        assert len(raised(centre)) == 2
        assert all(line["verified"] for line in centre.stdout())


def test_status_and_unlock_over_the_control_socket(campus_school: School) -> None:
    """`qorgan status` sees the bus; `qorgan command door.unlock` frees the simulated lock."""
    there = campus_school
    there.centre("security")
    there.centre("case")
    there.gateway()
    until_set_up(there)
    for route in ("security", "case"):
        wait_for("good path", partial(good_path, there, route))
    told = qorgan(there, "status")
    assert told.returncode == 0, told.stdout
    shown = told.stdout
    assert "entrance: wb-mr6c at 11: answers, outputs ready" in shown
    assert lock_of(there, "main-door") == "locked"
    key = there.site.private_key_file("security")
    done = qorgan(there, "command", "door.unlock", "main-door", "--for", "2s", "--key", key)
    assert done.returncode == 0, done.stderr
    assert "done: door.unlock main-door (confirmed)" in done.stdout
    assert lock_of(there, "main-door") == "free"
    assert do(there, "door", "main-door", "open")["worked"] is True
    wait_for("locked lock", lambda: lock_of(there, "main-door") == "locked")
    stranger = there.site.private_key_file("case")
    refused = qorgan(there, "command", "door.unlock", "main-door", "--key", stranger)
    assert refused.returncode == 1
    assert "would be accepted" in refused.stdout
    assert lock_of(there, "main-door") == "locked"


def test_dead_unit_and_pulled_adapter_show_in_status(campus_school: School) -> None:
    there = campus_school
    there.gateway()
    until_set_up(there)
    do(there, "unit", "gym-unit", "silent")
    wait_for("silence", lambda: bus_of(there)["units"]["gym-unit"]["state"] == "silent")
    told = qorgan(there, "status")
    assert told.returncode == 1
    assert "! unit gym-unit on corridor: silent" in told.stdout
    do(there, "bus", "corridor", "unplug")
    wait_for("gone port", lambda: not bus_of(there)["open"])
    assert "! bus corridor: the port is not open" in qorgan(there, "status").stdout
    do(there, "bus", "corridor", "plug")
    do(there, "unit", "gym-unit", "well")
    until_set_up(there)


def good_path(there: School, route: str) -> bool:
    """True when the daemon hears the far end of a route."""
    return "good" in status_of(there)["routes"][route]["paths"].values()


def bus_of(there: School) -> dict[str, Any]:
    """What the daemon says of its bus."""
    found: dict[str, Any] = status_of(there)["buses"]["corridor"]
    return found


def test_kill_9_with_a_bus_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Gateway and units start anew each time, counters at 0: every press is told, none twice."""
    with school(tmp_path, Nats) as there:
        security = there.centre("security")
        for number in range(2):
            gateway = there.gateway(f"gateway-{number}")
            until_set_up(there)
            there.press("library", ms=30)
            wait_for("told", lambda: presses(security) == number + 1)  # noqa: B023 -- waited for here
            gateway.end(signal.SIGKILL)
        gateway = there.gateway("gateway-last")
        until_set_up(there)
        assert presses(security) == 2
        gateway.end(signal.SIGTERM)


def presses(process: Process) -> int:
    """How many presses of the library's button a centre was told, in one alarm or in many."""
    events = {
        line["id"]: line
        for line in process.stdout()
        if line["subject"] == "library" and not line["copy"]
    }
    return sum(
        line["type"].endswith(("panic.raised", "panic.repeated")) for line in events.values()
    )
