"""The whole daemon under virtual time: one seed, one history."""

from __future__ import annotations

import random
from pathlib import Path

from gateway.core.model import (
    AlarmState,
)
from gateway.core.premises import (
    Input,
    LedgerSpec,
    Place,
    Point,
    PointKind,
    Premises,
    Route,
    UplinkSpec,
)
from simulators.virtual.time import VirtualClock, run_virtual
from simulators.virtual.world import World

PREMISES = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway="school-12-main",
    key_file="",
    ledger=LedgerSpec(""),
    points=(
        Point(
            "guard-post",
            PointKind.PANIC,
            Input("gpio:17", "gpio:27"),
            Place(building="A", room="Guard post"),
            lamp="gpio:22",
        ),
        Point("accounts", PointKind.HOLD_UP, Input("gpio:23", "gpio:24"), silent=True),
        Point("fire-panel", PointKind.FIRE, Input(None, "gpio:25"), prove_within_ms=None),
    ),
    uplinks=(UplinkSpec("campus", "broker", 8883),),
    routes=(
        Route("security", ("campus",), ("alarm", "fault", "test", "state"), answers=True),
        Route("case", ("campus",), ("alarm", "state")),
    ),
    digest="0" * 64,
)


async def _eventful_minute(clock: VirtualClock, dice: random.Random, ledger: str) -> World:
    """Presses, an outage with a restart in it, a wire cut, an operator who answers."""
    world = World(PREMISES, clock=clock, dice=dice, ledger=ledger)
    await world.start()
    await clock.sleep(2)
    await world.bench.press("guard-post", "bounce", 300)
    await clock.sleep(3)
    security = world.centres["security"]
    for alarm in security.core.alarms():
        security.say(alarm.id, AlarmState.ACKNOWLEDGED)
    world.broker.down()
    await world.bench.press("accounts", "clean", 300)
    await world.stop()
    await clock.sleep(5)
    await world.start()
    await world.bench.press("guard-post", "clean", 200)
    world.broker.up()
    await clock.sleep(10)
    await world.bench.press("guard-post", "cut-nc-press", 300)
    await clock.sleep(10)
    await world.bench.press("fire-panel", "clean", 2_000)
    await clock.sleep(10)
    await world.stop()
    return world


def _run(tmp_path: Path, name: str, seed: int) -> World:
    (tmp_path / name).mkdir()
    ledger = str(tmp_path / name / "ledger.db")
    return run_virtual(lambda clock, dice: _eventful_minute(clock, dice, ledger), seed=seed)


def _raised(world: World, route: str) -> list[tuple[str, str]]:
    return [
        (v.message.subject, v.message.type)
        for v in world.centres[route].new
        if v.message is not None and v.message.type.endswith(".raised")
    ]


def test_daemon_replays_from_its_seed(tmp_path: Path) -> None:
    """Same seed, same digest over every line logged and byte sent; another seed differs."""
    first, second = _run(tmp_path, "a", 7), _run(tmp_path, "b", 7)
    assert first.trace.lines > 50
    assert first.trace.digest == second.trace.digest
    assert first.trace.digest != _run(tmp_path, "c", 8).trace.digest


def test_eventful_minute_reaches_both_centres_once(tmp_path: Path) -> None:
    """Through outage, restart and damage: each press is one alarm on both routes, in order."""
    world = _run(tmp_path, "a", 1)
    alarms = [
        ("guard-post", "alarm.panic.raised"),
        ("accounts", "alarm.hold-up.raised"),
        ("guard-post", "alarm.panic.raised"),
        ("fire-panel", "alarm.fire.raised"),
    ]
    for route in ("security", "case"):
        found = [item for item in _raised(world, route) if item[1].startswith("alarm.")]
        assert found == alarms
    assert ("guard-post", "fault.wiring.raised") in _raised(world, "security")
