"""The simulators' control socket: requests, refusals, and who may have the path."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.core.model import Json
from gateway.core.premises import Premises
from simulators.building.control import Control, ControlError, ask, press, tell
from simulators.building.hardware import Bench, SimulatedPins
from tests.simulators.building import PREMISES, Building
from tests.simulators.bus_school import SCHOOL


class Served:
    """A bench in real time with its control socket; requests run in a thread beside the loop."""

    def __init__(self, path: Path, premises: Premises = PREMISES) -> None:
        self.clock = SystemClock()
        self.pins = SimulatedPins(self.clock.now_us)
        self.bench = Bench(premises, self.pins, clock=self.clock, random=Random(1))
        self.control = Control(path, self.bench)
        self.path = path

    async def ask(self, request: dict[str, Json]) -> dict[str, Json]:
        return await asyncio.to_thread(ask, self.path, request, answer_within_s=20)


def served(
    path: Path,
    scene: Callable[[Served], Coroutine[Any, Any, None]],
    premises: Premises = PREMISES,
) -> None:
    async def run() -> None:
        building = Served(path, premises)
        async with building.control:
            await scene(building)

    asyncio.run(run())


def test_control_presses_repairs_and_tells(tmp_path: Path) -> None:
    async def scene(building: Served) -> None:
        sent: dict[str, Json] = {"press": "gym", "shape": "short-no", "ms": 20}
        assert await building.ask(sent) == {"ok": True, **sent}
        told = await building.ask({"points": True})
        assert told["points"] == {"reception": [], "gym": ["normally-open shorted"], "mains": []}
        assert await building.ask({"repair": "gym"}) == {"ok": True, "repair": "gym"}
        assert not building.pins.at("gpio:23").wire_closed
        assert await building.ask({"lamps": True}) == {"ok": True, "lamps": {"reception": False}}

    served(tmp_path / "s", scene)


@pytest.mark.parametrize(
    ("request_sent", "says"),
    [
        ({"press": "attic"}, "no point 'attic'"),
        ({"press": "gym", "shape": "wobble"}, "no shape 'wobble'"),
        ({"press": "gym", "shape": 3}, "shape must be text"),
        ({"press": "gym", "ms": 19}, "ms must be a whole number from 20"),
        ({"press": "gym", "ms": True}, "ms must be a whole number from 20"),
        ({"press": "gym", "hard": True}, "press knows shape and ms, not hard"),
        ({"push": "gym"}, "a request is"),
        ({}, "a request is"),
    ],
)
def test_control_says_what_is_wrong_with_a_request(
    tmp_path: Path, request_sent: dict[str, Json], says: str
) -> None:
    async def scene(building: Served) -> None:
        answer = await building.ask(request_sent)
        assert answer["ok"] is False
        assert says in str(answer["error"])

    served(tmp_path / "s", scene)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"press gym\n", "not a JSON object"),
        (b"[]\n", "not a JSON object"),
        (b"\xff\n", "not a JSON object"),
        (b"x" * 10_000 + b"\n", "at most 4096 bytes"),
    ],
)
def test_control_answers_a_line_that_is_no_request(tmp_path: Path, raw: bytes, says: str) -> None:
    async def scene(building: Served) -> None:
        reader, writer = await asyncio.open_unix_connection(building.path)
        writer.write(raw)
        assert says in json.loads(await reader.readline())["error"]
        writer.close()
        await writer.wait_closed()

    served(tmp_path / "s", scene)


def test_control_serves_several_requests_on_one_connection(tmp_path: Path) -> None:
    async def scene(building: Served) -> None:
        reader, writer = await asyncio.open_unix_connection(building.path)
        writer.write(b'{"bad": 1}\n{"points": true}\n')
        assert [json.loads(await reader.readline())["ok"] for _ in range(2)] == [False, True]
        writer.close()
        await writer.wait_closed()

    served(tmp_path / "s", scene)


def test_control_socket_is_for_its_owner_only_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def scene(building: Served) -> None:
        assert stat.S_IMODE(building.path.stat().st_mode) == 0o600

    before = os.umask(0o022)
    try:
        served(path, scene)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert not path.exists()


def test_control_replaces_a_socket_left_by_a_dead_simulation(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))

    async def scene(building: Served) -> None:
        assert (await building.ask({"points": True}))["ok"] is True

    served(path, scene)


def test_control_refuses_the_socket_of_a_living_simulation(tmp_path: Path) -> None:
    async def scene(building: Served) -> None:
        with pytest.raises(ControlError, match="another simulation listens"):
            await Control(building.path, building.bench).__aenter__()
        assert (await building.ask({"points": True}))["ok"] is True

    served(tmp_path / "s", scene)


def test_control_refuses_a_path_that_is_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ControlError, match="is no socket"):
        asyncio.run(Control(path, Building().bench).__aenter__())
    assert path.read_text() == "mine"


def test_control_says_why_it_cannot_listen(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="the folder must exist"):
        asyncio.run(Control(tmp_path / "no" / "s", Building().bench).__aenter__())


def test_control_closes_with_a_client_connected_and_a_press_in_the_air(tmp_path: Path) -> None:
    async def run() -> None:
        building = Served(tmp_path / "s")
        async with building.control:
            reader, writer = await asyncio.open_unix_connection(building.path)
            writer.write(b'{"press": "gym", "ms": 60000}\n')
            deadline = time.monotonic() + 5
            while not building.pins.at("gpio:23").wire_closed:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
        assert await reader.read() == b""
        assert not building.pins.at("gpio:23").wire_closed
        writer.close()
        await writer.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("point", "shape", "code", "out", "err"),
    [
        ("gym", "bounce", 0, "gym: bounce, 30 ms\n", ""),
        ("attic", "clean", 2, "", "not pressed: no point 'attic'; there are reception"),
        ("gym", "wobble", 2, "", "not pressed: no shape 'wobble'; there are clean"),
    ],
)
def test_control_press_command_says_what_it_did(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    point: str,
    shape: str,
    code: int,
    out: str,
    err: str,
) -> None:
    async def scene(building: Served) -> None:
        done = await asyncio.to_thread(press, point, control=building.path, shape=shape, ms=30)
        assert done == code

    served(tmp_path / "s", scene)
    said = capsys.readouterr()
    assert said.out == out
    assert said.err.startswith(err)


def test_control_press_command_says_when_nobody_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert press("gym", control=tmp_path / "s") == 4
    assert "python -m simulators run" in capsys.readouterr().err


# --- doors, units and buses -------------------------------------------------------------------


def test_control_moves_doors_and_says_what_became_of_them(tmp_path: Path) -> None:
    async def scene(building: Served) -> None:
        locked = {"ok": True, "door": "main-door", "leaf": "closed", "lock": "locked"}
        sent: dict[str, Json] = {"door": "main-door", "do": "open"}
        assert await building.ask(sent) == {**locked, "do": "open", "worked": False}
        forced = await building.ask({"door": "main-door", "do": "force", "ms": 20})
        assert forced == {**locked, "do": "force", "worked": True, "leaf": "open"}
        told = await building.ask({"status": True})
        doors = told["doors"]
        assert isinstance(doors, dict)
        assert doors["main-door"] == {"leaf": "open", "lock": "locked"}
        assert doors["gym-door"] == {"leaf": "closed", "lock": "free"}

    served(tmp_path / "s", scene, SCHOOL)


def test_control_troubles_units_and_buses_and_status_shows_it(tmp_path: Path) -> None:
    async def scene(building: Served) -> None:
        late: dict[str, Json] = {"unit": "entrance", "do": "late", "ms": 700}
        assert await building.ask(late) == {"ok": True, "unit": "entrance", "do": "late"}
        assert (await building.ask({"unit": "buttons", "do": "silent"}))["ok"] is True
        assert (await building.ask({"bus": "network", "do": "unplug"}))["ok"] is True
        told = await building.ask({"status": True})
        units, points = told["units"], told["points"]
        assert isinstance(units, dict)
        assert isinstance(points, dict)
        faults = {name: unit["faults"] for name, unit in units.items() if isinstance(unit, dict)}
        assert faults == {"entrance": ["Late"], "buttons": ["Silent"], "orion": [], "yard": []}
        assert told["buses"] == {"corridor": "plugged", "network": "unplugged"}
        assert points["classroom"] == []

    served(tmp_path / "s", scene, SCHOOL)


@pytest.mark.parametrize(
    ("request_sent", "says"),
    [
        ({"door": "barn", "do": "open"}, "no door 'barn'; there are main-door"),
        ({"door": "main-door", "do": "slam"}, "a door can open, force"),
        ({"door": "main-door", "do": "open", "ms": 19}, "ms must be a whole number from 20"),
        ({"door": "main-door", "do": "open", "hard": 1}, "door knows do and ms, not hard"),
        ({"door": "main-door"}, "a request is"),
        ({"press": "main-door"}, "main-door is a door"),
        ({"unit": "attic", "do": "silent"}, "no unit 'attic'"),
        ({"unit": "entrance", "do": "sad"}, "a unit can be well, reboot"),
        ({"unit": "entrance", "do": "late", "ms": 0}, "ms must be a whole number from 1"),
        ({"bus": "sky", "do": "plug"}, "no bus 'sky'"),
        ({"bus": "corridor", "do": "rain"}, "a bus knows unplug, plug"),
    ],
)
def test_control_says_what_is_wrong_with_doors_units_and_buses(
    tmp_path: Path, request_sent: dict[str, Json], says: str
) -> None:
    async def scene(building: Served) -> None:
        answer = await building.ask(request_sent)
        assert answer["ok"] is False
        assert says in str(answer["error"])

    served(tmp_path / "s", scene, SCHOOL)


@pytest.mark.parametrize(
    ("kind", "name", "verb", "code", "out", "err"),
    [
        ("door", "main-door", "force", 0, "main-door: force (open, locked)\n", ""),
        ("door", "main-door", "open", 1, "main-door: open: it did not move (closed, locked)\n", ""),
        ("unit", "entrance", "silent", 0, "entrance: silent\n", ""),
        ("bus", "corridor", "plug", 0, "corridor: plug\n", ""),
        ("unit", "attic", "silent", 2, "", "not done: no unit 'attic'"),
    ],
)
def test_control_tell_command_says_what_it_did(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    name: str,
    verb: str,
    code: int,
    out: str,
    err: str,
) -> None:
    async def scene(building: Served) -> None:
        done = await asyncio.to_thread(tell, kind, name, verb, control=building.path)
        assert done == code

    served(tmp_path / "s", scene, SCHOOL)
    said = capsys.readouterr()
    assert said.out == out
    assert said.err.startswith(err)


def test_control_tell_command_says_when_nobody_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell("door", "main-door", "open", control=tmp_path / "s", ms=500) == 4
    assert "python -m simulators run" in capsys.readouterr().err
