"""`qorgan scan` as people run it: on a port, through a daemon, at a terminal and in a pipe."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from drivers.base import Contact, Ear, Wire
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.search.sweep import Answer, Doubt, DoubtKind, FoundUnit, Progress, Speed, told
from drivers.modbus.wire.ports import open_port
from drivers.modbus.wire.request import Read
from drivers.modbus.wire.serial import by_id
from gateway.clock import SystemClock
from gateway.config.load import check
from gateway.control import Control
from gateway.core.hardware import Bus, Device, Door, Transport
from gateway.core.model import Json
from gateway.core.premises import Input, Point, PointKind, Premises
from gateway.core.profile import Table
from gateway.scan.handler import Scanning
from gateway.scan.outcome import Scanned, bus_name
from gateway.scan.progress import Show
from simulators.bus.line import Line
from simulators.bus.pty import PtyLine
from simulators.bus.shipped import profile
from simulators.bus.units import SimulatedUnit
from simulators.network.brokers import Nats
from simulators.site import Site, furnish
from tests.drivers.modbus.scan_rig import models
from tests.processes import school
from tests.simulators.building import PREMISES

ROOT = Path(__file__).parent.parent
N2, N1, FAST = Speed(9_600), Speed(9_600, stop_bits=1), Speed(19_200)


# --- a line of this machine -----------------------------------------------------------------------


@dataclass
class Done:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        answer = json.loads(self.out)
        assert isinstance(answer, dict)
        return answer


async def qorgan(*words: str | Path, stop_when: str = "") -> Done:
    """The command in a process of its own. stop_when: Ctrl-C as soon as it has said that."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "scan", *map(str, words)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    early = b""
    while stop_when and stop_when.encode() not in early:
        piece = await asyncio.wait_for(process.stderr.readline(), 30)
        assert piece, "it ended before"
        early += piece
    if stop_when:
        process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), (early + err).decode())


def on_port(
    folder: Path,
    scene: Callable[[Line, Path], Coroutine[Any, Any, None]],
    *units: tuple[str, int],
    baud: int = 9_600,
) -> None:
    """Live through a scene with a line of such units behind a serial port of this machine."""

    async def run() -> None:
        clock = SystemClock()
        line = Line(clock=clock, random=Random(1), baud=baud)
        for name, unit in units:
            device = Device(f"{name}-{unit}", "", unit, profile(name))
            line.add(SimulatedUnit(device, clock=clock, random=Random(unit)))
        async with PtyLine(line, folder / "ttyUSB0"):
            await scene(line, folder / "ttyUSB0")

    asyncio.run(run())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A valid configuration with its keys and certificates."""
    return furnish(tmp_path_factory.mktemp("site"), port=8883, mqtt="5")


def test_scan_of_a_port_prints_units_and_yaml_that_qorgan_check_takes(
    tmp_path: Path, site: Site
) -> None:
    async def scene(_line: Line, port: Path) -> None:
        done = await qorgan(port, "--units", "10-13")
        assert done.code == 0
        assert "unit  11  9600 8N2    looks like wb-mr6c: says WBMR6C" in done.out
        assert "unit  13  9600 8N2    could be waveshare-relay-d" in done.out
        yaml = done.out.partition("`qorgan check`:\n\n")[2]
        text = site.config.read_text(encoding="utf-8")
        head, _, rest = text.partition("buses:\n")
        buses, _, devices = yaml.partition("devices:\n")
        old_buses, _, rest = rest.partition("devices:\n")
        assert old_buses.startswith("  corridor:")
        both = f"{head}{buses}{old_buses}devices:\n{devices}{rest}"
        pasted = site.directory / "pasted.yaml"
        pasted.write_text(both, encoding="utf-8")
        result = check(pasted, environment={})
        assert result.mistakes == ()
        assert result.premises is not None
        found = {device.id: device for device in result.premises.devices}
        assert found["wb-mr6c-11"].identity == "WBMR6C"
        assert found["unit-13"].profile.id == "waveshare-relay-d"

    on_port(tmp_path, scene, ("wb-mr6c", 11), ("waveshare-relay-d", 13))


def test_scan_finds_a_unit_at_a_speed_it_was_told_to_try(tmp_path: Path) -> None:
    async def scene(_line: Line, port: Path) -> None:
        only = ("--baud", "19200", "--only", "--units", "12", "--json")
        done = await qorgan(port, *only)
        assert done.code == 0
        assert [(one["unit"], one["speed"]) for one in done.told["units"]] == [(12, "19200 8N2")]
        assert "baud: 19200" in done.told["yaml"]

    on_port(tmp_path, scene, ("wb-mcm8", 12), baud=19_200)


def test_scan_that_finds_nothing_says_so_and_exits_with_1(tmp_path: Path) -> None:
    async def scene(_line: Line, port: Path) -> None:
        done = await qorgan(port, "--units", "5-8")
        assert (done.code, done.out) == (1, f"nothing found on {port}\n")

    on_port(tmp_path, scene, ("wb-mcm8", 12))


def test_scan_ends_cleanly_on_ctrl_c_with_what_it_has_found(tmp_path: Path) -> None:
    async def scene(_line: Line, port: Path) -> None:
        # It finds unit 1 at once, and says how far it is after 5 s of some 35.
        done = await qorgan(port, stop_when="1 found")
        assert done.code == 0
        assert "unit   1" in done.out
        assert "! the scan ended early: stopped by hand" in done.out
        assert "Traceback" not in done.err

    on_port(tmp_path, scene, ("waveshare-relay-d", 1))


def test_scan_of_a_port_in_use_asks_for_the_daemons_socket(tmp_path: Path) -> None:
    async def scene(_line: Line, port: Path) -> None:
        held = os.open(port, os.O_RDWR | os.O_NOCTTY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            done = await qorgan(port, "--units", "1")
        finally:
            os.close(held)
        assert done.code == 4
        assert "in use by another program" in done.err
        assert "--socket" in done.err

    on_port(tmp_path, scene)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("/dev/nothing-here",), 1, "is not there"),
        (("corridor",), 4, "is no port"),
        (("/dev/null", "--socket", "/nowhere/socket"), 4, "no daemon listens"),
        (("/dev/null", "--units", "0"), 2, "0 is no unit's address"),
        (("/dev/null", "--units", "255"), 2, "a board on Modbus TCP"),
        (("/dev/null", "--parity", "even"), 2, "go with --baud"),
        (("/dev/null", "--answer", "soon"), 2, "--answer"),
        (("http://10.0.0.7",), 2, "tcp://HOST"),
        (("rtu+tcp://10.0.0.7",), 2, "names no port"),
        (("/dev/null", "--config", "/nowhere.yaml"), 3, "nowhere.yaml"),
    ],
)
def test_scan_says_what_is_wrong_with_its_own_words(
    words: tuple[str, ...], code: int, said: str
) -> None:
    done = asyncio.run(qorgan(*words))
    assert done.code == code
    assert said in done.err
    assert done.out == ""


def test_scan_alone_lists_ports_and_configured_buses(site: Site) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "gateway", "scan", "--config", site.config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert listed.returncode == 0
    assert f"bus corridor: {site.directory}/ttyRS485, 19200 8N2, devices: 3" in listed.stdout


def test_lasting_name_of_a_port_is_found(tmp_path: Path) -> None:
    (tmp_path / "by-id").mkdir()
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "by-id" / "usb-FTDI").symlink_to("../ttyUSB0")
    assert by_id(str(tmp_path / "ttyUSB0"), folder=tmp_path / "by-id").endswith("by-id/usb-FTDI")
    assert by_id(str(tmp_path / "ttyS0"), folder=tmp_path / "by-id") == ""
    assert by_id("/dev/ttyS0", folder=tmp_path / "nowhere") == ""


# --- through a daemon -----------------------------------------------------------------------------

DOOR = Point(
    "main-door",
    PointKind.DOOR,
    Input(normally_closed="entrance/input-1"),
    door=Door(lock="entrance/relay-1"),
)


def premises_of(port: str, *points: Point) -> Premises:
    bus = Bus("corridor", Transport.RTU, port=port)
    lan = Bus("lan", Transport.TCP, host="10.0.0.7")
    device = Device("entrance", "corridor", 11, profile("wb-mr6c"), poll_ms=500)
    return replace(PREMISES, points=points, buses=(bus, lan), devices=(device,))


@asynccontextmanager
async def daemon(socket: Path, premises: Premises) -> AsyncIterator[list[str]]:
    """A driver that polls, and the control socket with its scan alone; what it logs."""
    clock, logged = SystemClock(), list[str]()
    driver = ModbusDriver(
        premises.buses[:1],
        premises.devices,
        opener=lambda bus: open_port(bus, clock),
        clock=clock,
        random=Random(1),
        report=lambda event, _fields: logged.append(event),
        identities={},
        remember=lambda _device, _identity: None,
    )
    ear = Ear(lambda _: None, lambda _: None, lambda _: None)
    driver.start(wires=[Wire("entrance/input-1", Contact.NORMALLY_CLOSED)], outputs=[], ear=ear)
    scanning = Scanning(premises, driver, lambda event, _fields: logged.append(event))
    try:
        async with Control(socket, {"scan": scanning.scan}):
            yield logged
    finally:
        await driver.stop()


def test_scan_goes_through_the_daemon_that_holds_the_port(tmp_path: Path) -> None:
    async def scene(_line: Line, port: Path) -> None:
        socket = tmp_path / "control"
        async with daemon(socket, premises_of(str(port))) as logged:
            words = ("--units", "10-13", "--socket", socket)
            done = await qorgan(port, *words)
            assert done.code == 0
            assert "unit  12  9600 8N2    looks like wb-mcm8" in done.out
            assert "entrance: wb-mr6c, polled by the daemon: answers" in done.out
            assert "between its polls" in done.err
            named = await qorgan("corridor", *words, "--json")
            assert [one["unit"] for one in named.told["units"]] == [12]
            assert list(named.told["polled"]) == ["entrance"]
            assert logged == ["scan", "scan"]

    on_port(tmp_path, scene, ("wb-mr6c", 11), ("wb-mcm8", 12))


def test_scan_of_a_bus_with_doors_in_service_is_refused_unless_forced(tmp_path: Path) -> None:
    async def scene(_line: Line, port: Path) -> None:
        socket = tmp_path / "control"
        async with daemon(socket, premises_of(str(port), DOOR)) as logged:
            words = ("corridor", "--units", "12", "--socket", socket)
            refused = await qorgan(*words)
            assert (refused.code, refused.out, logged) == (1, "", [])
            assert "doors in service (main-door)" in refused.err
            forced = await qorgan(*words, "--force")
            assert forced.code == 0

    on_port(tmp_path, scene, ("wb-mr6c", 11), ("wb-mcm8", 12))


def test_scan_of_a_running_gateway_is_refused_for_its_doors_and_walks_when_forced(
    tmp_path: Path,
) -> None:
    """The whole daemon: pins and buses together, the socket beside its ledger, found by itself."""
    with school(tmp_path, Nats) as there:
        there.gateway()
        words = ("corridor", "--config", there.site.config, "--units", "1-3,11")
        refused = asyncio.run(qorgan(*words))
        assert refused.code == 1
        assert "main-door, gym-door" in refused.err
        walked = asyncio.run(qorgan(*words, "--force"))
        assert walked.code == 1
        assert "nothing new found" in walked.out
        assert "entrance: wb-mr6c, polled by the daemon: answers" in walked.out


class Walked:
    """A driver that knows its bus, and tells what it is given to tell."""

    def __init__(self, *news: Mapping[str, Json]) -> None:
        self.news = news
        self.sweeps: list[Mapping[str, Json]] = []

    def status(self) -> Mapping[str, Json]:
        return {"corridor": {"units": {"entrance": {"unit": 11}}}}

    async def search(
        self, bus: str, sweep: Mapping[str, Json]
    ) -> AsyncGenerator[dict[str, Json], None]:
        assert bus == "corridor"
        self.sweeps.append(sweep)
        for one in self.news:
            yield dict(one)


class Endless(Walked):
    """Its scan goes on until somebody ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    async def search(
        self, bus: str, sweep: Mapping[str, Json]
    ) -> AsyncGenerator[dict[str, Json], None]:
        assert bus == "corridor"
        self.sweeps.append(sweep)
        try:
            while True:
                yield told(Progress("9600 8N2", 1, 0, 0, 247, 1_000))
                await asyncio.sleep(0.05)  # as an exchange on a line takes its time
        finally:
            self.ended.set()


def test_daemon_ends_a_scan_whose_asker_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        driver, socket = Endless(), tmp_path / "control"
        scanning = Scanning(
            premises_of("/dev/ttyUSB0"),
            driver,  # type: ignore[arg-type] # only what a scan needs
            lambda _event, _fields: None,
        )
        async with Control(socket, {"scan": scanning.scan}):
            stopped = await qorgan("/dev/ttyUSB0", "--socket", socket, stop_when="none found yet")
            assert stopped.code == 1
            assert "! the scan ended early: stopped by hand" in stopped.out
            await asyncio.wait_for(driver.ended.wait(), 10)

    asyncio.run(scene())


def answers_of(premises: Premises, value: object) -> tuple[list[Mapping[str, Json]], str]:
    """What the daemon answers, and with what words it refuses."""
    answers, driver = list[Mapping[str, Json]](), Walked({"progress": {}})

    async def run() -> str:
        scanning = Scanning(premises, driver, lambda _event, _fields: None)  # type: ignore[arg-type] # only what a scan needs
        try:
            async for one in scanning.scan(value):
                answers.append(one)
        except ValueError as error:
            return str(error)
        return ""

    return answers, asyncio.run(run())


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"where": "corridor"},
        {"where": {"bus": "cellar"}},
        {"where": {"port": 7}},
        {"where": {"host": "10.0.0.7", "tcp_port": 503}},
    ],
)
def test_daemon_says_which_buses_it_has_when_none_is_meant(value: object) -> None:
    answers, refusal = answers_of(premises_of("/dev/ttyRS485"), value)
    assert answers == [{"bus": None, "buses": ["corridor", "lan"]}]
    assert refusal == ""


def test_daemon_knows_its_port_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")
    where = {"where": {"port": str(tmp_path / "by-id")}}
    answers, _ = answers_of(premises_of(str(tmp_path / "ttyUSB0")), where)
    bus = answers[0]["bus"]
    assert isinstance(bus, dict)
    assert bus["id"] == "corridor"
    assert answers[1:] == [{"progress": {}}]


def test_daemon_refuses_before_it_asks_anything() -> None:
    where = {"where": {"bus": "corridor"}, "force": "yes"}
    answers, refusal = answers_of(premises_of("/dev/ttyRS485", DOOR), where)
    assert len(answers) == 1
    assert "main-door" in refusal


# --- what is printed ------------------------------------------------------------------------------

BUS = Bus("corridor", Transport.RTU, port="/dev/ttyUSB0")
SIGNED = Read(Table.HOLDING, 200, 6)


def found(unit: int, name: str = "", speed: Speed = N2, *, late: bool = False) -> FoundUnit:
    words = tuple(name.encode().ljust(6, b"\0")[:6])
    answers = (Answer(SIGNED, words),) if name else ()
    return FoundUnit(unit, speed, answers, late=late)


def scanned(*news: FoundUnit | Doubt, devices: tuple[Device, ...] = ()) -> Scanned:
    outcome = Scanned(BUS, models(), devices=devices)
    for one in news:
        outcome.take(one)
    outcome.complete = True
    return outcome


def test_unit_at_another_speed_is_told_and_stands_in_the_yaml_as_a_comment() -> None:
    outcome = scanned(
        found(11, "WBMR6C"), found(12, "WBMCM8"), found(13, "WBMCM8", FAST), found(14, speed=N1)
    )
    astray = [line for line in outcome.warnings() if "13" in line]
    assert len(astray) == 1
    assert astray[0].startswith("unit 13 talks at 19200 8N2, the bus at 9600 8N2: units that share")
    assert "  # set it to 9600 8N2 first\n  # wb-mcm8-13: {" in outcome.yaml()
    assert len(outcome.warnings()) == 1


def test_address_that_is_used_twice_at_two_speeds_is_told() -> None:
    outcome = scanned(found(1, "WBMR6C"), found(2, "WBMR6C"), found(1, "WBMCM8", FAST))
    assert any("address 1 is used at 2 speeds" in line for line in outcome.warnings())


def test_unknown_model_is_proposed_as_a_comment_only() -> None:
    yaml = scanned(found(20)).yaml()
    assert "  # unknown model: write a profile, or try generic" in yaml
    assert "  # unit-20: {bus: corridor, unit: 20, profile: generic}" in yaml


def test_configured_units_are_compared_with_what_was_found() -> None:
    devices = (
        Device("entrance", "corridor", 11, profile("wb-mr6c")),
        Device("hub", "corridor", 12, profile("wb-mcm8"), identity="WBMCM9"),
        Device("yard", "corridor", 13, profile("wb-mcm8")),
    )
    outcome = scanned(found(11, "WBMCM8"), found(12, "WBMCM8"), devices=devices)
    assert outcome.warnings() == [
        "unit 11: entrance is configured as wb-mr6c: looks like wb-mcm8: says WBMCM8",
        "unit 12: hub must say WBMCM9, and says WBMCM8",
        "yard (unit 13) did not answer",
    ]
    assert outcome.yaml() == ""
    assert outcome.lines()[0].endswith("(entrance)")


def test_doubts_and_late_units_are_warnings() -> None:
    doubt = Doubt(DoubtKind.TWINS, "9600 8N2", "look for two units with this address", 7)
    outcome = scanned(found(9, "WBMCM8", late=True), doubt)
    assert outcome.warnings()[0] == "9600 8N2: look for two units with this address"
    assert "unit 9 answers late" in outcome.warnings()[1]


def test_json_says_what_the_lines_say() -> None:
    outcome = scanned(found(11, "WBMR6C"))
    plain = json.loads(json.dumps(outcome.as_json()))
    assert (plain["bus"], plain["where"], plain["complete"]) == ("corridor", "/dev/ttyUSB0", True)
    assert plain["units"][0]["profiles"] == ["wb-mr6c"]
    assert plain["yaml"] == outcome.yaml()


@pytest.mark.parametrize(
    ("where", "name"),
    [("/dev/ttyUSB0", "ttyusb0"), ("10.0.0.7", "10-0-0-7"), ("---", "bus")],
)
def test_bus_gets_a_name_a_configuration_takes(where: str, name: str) -> None:
    assert bus_name(where) == name


@pytest.mark.parametrize(("drawn", "lines"), [(False, 2), (True, 80)])
def test_progress_is_seldom_in_a_pipe_and_drawn_on_a_terminal(*, drawn: bool, lines: int) -> None:
    """11 s of a scan that asks eight addresses a second."""
    out, now_s = io.StringIO(), [100.0]
    with Show(out, drawn=drawn, now_s=lambda: now_s[0]) as show:
        for number in range(88):
            show(Progress("9600 8N2", number + 1, 2, number, 247, 124_000 - 100 * number))
            now_s[0] += 0.125
    text = out.getvalue()
    assert text.count("9600 8N2, unit") >= lines
    if drawn:
        assert "\n" not in text
        assert text.endswith("\r\x1b[K")
    else:
        assert text.splitlines()[0] == "9600 8N2, unit 41: 40 of 247, 2 found, 2 min left"
        assert len(text.splitlines()) == lines
