"""A small school with doors on its buses, for tests of the simulated building."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from gateway.clock import Clock
from gateway.core.hardware import (
    FIRE_HARDWIRED,
    Bus,
    Device,
    Door,
    DoorContact,
    Egress,
    LockType,
    Transport,
)
from gateway.core.premises import Input, Point, PointKind, Premises
from simulators.building.hardware import Bench, SimulatedPins
from simulators.bus.shipped import profile
from simulators.virtual.time import VirtualClock, run_virtual
from tests.simulators.building import PREMISES

CORRIDOR = Bus("corridor", Transport.RTU, port="/nowhere/corridor", baud=19_200)
NETWORK = Bus("network", Transport.TCP, host="127.0.0.1", tcp_port=0)
DEVICES = (
    Device("entrance", "corridor", 11, profile("wb-mr6c")),
    Device("buttons", "corridor", 12, profile("wb-mcm8")),
    Device("orion", "corridor", 13, profile("bolid-s2000-pp")),
    Device("yard", "network", 1, profile("adam-6060")),
)

MAIN = Point(
    "main-door",
    PointKind.DOOR,
    Input(normally_closed="entrance/input-1"),
    door=Door(
        lock="entrance/relay-1",
        request_to_exit=DoorContact("entrance/input-2"),
        bolt=DoorContact("entrance/input-3", closed_at_rest=True),
        egress=Egress.HANDLE,
    ),
)
GYM = Point(
    "gym-door",
    PointKind.DOOR,
    Input(normally_open="buttons/input-8"),
    door=Door(
        lock="entrance/relay-2",
        lock_type=LockType.MAGNET,
        request_to_exit=DoorContact("buttons/input-7"),
        egress=Egress.HARDWIRED,
        fire_release=FIRE_HARDWIRED,
    ),
)
LAB = Point(
    "lab-door",
    PointKind.DOOR,
    Input(normally_closed="gpio:6"),
    door=Door(
        granted=DoorContact("orion/granted-5"),
        denied=DoorContact("orion/denied-5"),
        forced=DoorContact("orion/forced-5"),
        egress=Egress.NONE,
    ),
)
STORE = Point(
    "store-door",
    PointKind.DOOR,
    Input(normally_closed="gpio:13"),
    door=Door(lock="gpio:19", held=DoorContact("buttons/input-6"), held_after_ms=20_000),
)
FIRE = Point("fire-panel", PointKind.FIRE, Input(normally_closed="gpio:12"))
CLASSROOM = Point(
    "classroom",
    PointKind.PANIC,
    Input(normally_open="buttons/input-1"),
    lamp="yard/relay-1",
)

SCHOOL = replace(
    PREMISES,
    points=(*PREMISES.points, MAIN, GYM, LAB, STORE, FIRE, CLASSROOM),
    buses=(CORRIDOR, NETWORK),
    devices=DEVICES,
)


def bench_of(premises: Premises, clock: Clock, *, seed: int = 1) -> Bench:
    """The premises built in the air."""
    pins = SimulatedPins(clock.now_us)
    return Bench(premises, pins, clock=clock, random=Random(seed))


def in_school(scenario: Callable[[Bench, VirtualClock], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in the school under virtual time."""

    async def run(clock: VirtualClock, _dice: Random) -> None:
        await scenario(bench_of(SCHOOL, clock), clock)

    run_virtual(run, seed=1)
