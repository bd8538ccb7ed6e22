"""The iron on the buses of one premises, and the bench that reaches it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import serial

from gateway.clock import SystemClock
from gateway.config.profile.profiles import narrowed
from gateway.core.profile import Table
from simulators.building.hardware import Bench
from simulators.bus.faults import LineTrouble
from simulators.bus.frames import rtu
from simulators.bus.line import Line
from simulators.bus.plant import UNIT_VERBS, Plant
from simulators.virtual.time import VirtualClock, run_virtual
from tests.simulators.bus_rig import Master, coil, read
from tests.simulators.bus_school import (
    CORRIDOR,
    DEVICES,
    SCHOOL,
    bench_of,
    in_school,
)


def test_bench_presses_a_point_that_hangs_on_a_unit() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        await bench.press("classroom", ms=200)
        await clock.sleep(0.2)
        assert read(bench.plant.unit("buttons"), Table.INPUT, 60, 2) == [0, 1]

    in_school(scenario)


def test_bench_reads_a_lamp_that_hangs_on_a_unit() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        assert bench.lamps() == {"reception": False, "classroom": False}
        coil(bench.plant.unit("yard"), 16, 0xFF00)
        assert bench.lamp("yard/relay-1")
        assert bench.lamps()["classroom"]

    in_school(scenario)


def test_bench_says_which_channel_the_configuration_invented() -> None:
    async def run(clock: VirtualClock, _dice: Random) -> None:
        point = replace(SCHOOL.points[-1], lamp=None)
        wired = replace(point.input, normally_open="buttons/input-99")
        premises = replace(SCHOOL, points=(replace(point, input=wired),))
        with pytest.raises(ValueError, match="buttons has no input 'input-99'"):
            bench_of(premises, clock)

    run_virtual(run, seed=1)


def test_bench_without_buses_has_an_empty_plant() -> None:
    async def run(clock: VirtualClock, _dice: Random) -> None:
        bench = bench_of(replace(SCHOOL, points=SCHOOL.points[:3], buses=(), devices=()), clock)
        assert bench.plant.units == {}
        assert bench.doors == {}

    run_virtual(run, seed=1)


def test_plant_carries_all_registers_of_a_unit_that_is_used_in_part() -> None:
    async def run(clock: VirtualClock, _dice: Random) -> None:
        part = replace(DEVICES[0], profile=narrowed(DEVICES[0].profile, {"input-1"}))
        plant = Plant(replace(SCHOOL, devices=(part,)), clock=clock, random=Random(1))
        assert read(plant.unit("entrance"), Table.DISCRETE, 0, 6) == [0] * 6

    run_virtual(run, seed=1)


@pytest.mark.parametrize("verb", [*UNIT_VERBS, "reboot"])
def test_plant_unit_is_well_again_after_every_word(verb: str) -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        bench.plant.afflict("buttons", verb, ms=200)
        await clock.sleep(5)
        bench.plant.afflict("buttons", "well")
        await clock.sleep(2)
        assert bench.plant.unit("buttons").faults == []
        assert read(bench.plant.unit("buttons"), Table.DISCRETE, 0) == [0]

    in_school(scenario)


def test_plant_twin_spoils_the_answers_of_its_unit_until_it_is_taken_away() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        line = bench.plant.bus("corridor")
        assert isinstance(line, Line)
        master = Master(line, clock)
        question = bytes.fromhex("0200000008")
        bench.plant.afflict("buttons", "twin")
        answers = [await master.ask(12, question, wait_s=0.1) for _ in range(10)]
        assert answers.count(None) > 5
        bench.plant.afflict("buttons", "well")
        assert await master.ask(12, question) == bytes.fromhex("020100")
        with pytest.raises(ValueError, match="Modbus TCP"):
            bench.plant.afflict("yard", "twin")

    in_school(scenario)


def test_plant_names_what_there_is() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        plant = bench.plant
        with pytest.raises(ValueError, match="no unit 'attic'; there are entrance"):
            plant.afflict("attic", "silent")
        with pytest.raises(ValueError, match="a unit can be well, reboot, twin, silent"):
            plant.afflict("entrance", "sad")
        with pytest.raises(ValueError, match="no bus 'sky'; there are corridor, network"):
            plant.trouble("sky", "unplug")
        with pytest.raises(ValueError, match="a bus knows unplug, plug"):
            plant.trouble("corridor", "rain")
        with pytest.raises(ValueError, match="network is Modbus TCP"):
            plant.trouble("network", "noise")

    in_school(scenario)


def test_plant_bus_words_change_the_line_and_well_mends_it() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        line = bench.plant.bus("corridor")
        assert isinstance(line, Line)
        bench.plant.trouble("corridor", "noise")
        assert line.trouble.noise > 0
        bench.plant.trouble("corridor", "echo")
        assert line.trouble == LineTrouble(echo=True)
        bench.plant.trouble("corridor", "well")
        assert line.trouble == LineTrouble()
        bench.plant.trouble("corridor", "unplug")
        assert bench.plant.told()["buses"] == {"corridor": "unplugged", "network": "plugged"}
        bench.plant.trouble("corridor", "plug")
        assert line.plugged

    in_school(scenario)


def test_plant_opens_buses_in_process() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        port = bench.plant.opener()(CORRIDOR)
        await port.open()
        port.write(rtu(12, bytes.fromhex("0200000008")))
        heard = b""
        while len(heard) < 6:
            heard += await port.read(clock.now_us() + 1_000_000)
        assert heard == rtu(12, bytes.fromhex("020100"))

    in_school(scenario)


def test_plant_serves_ports_and_sockets_where_the_configuration_says(tmp_path: Path) -> None:
    async def run() -> None:
        clock = SystemClock()
        bus = replace(CORRIDOR, port=str(tmp_path / "corridor"))
        premises = replace(SCHOOL, buses=(bus, SCHOOL.buses[1]))
        plant = Plant(premises, clock=clock, random=Random(1))
        async with plant.serve():

            def talk() -> bytes:
                with serial.Serial(bus.port, 19_200, timeout=10) as port:
                    port.write(rtu(12, bytes.fromhex("0200000008")))
                    return bytes(port.read(6))

            assert await asyncio.to_thread(talk) == rtu(12, bytes.fromhex("020100"))
        assert not (tmp_path / "corridor").is_symlink()

    asyncio.run(run())
