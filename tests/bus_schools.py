"""Schools with units on buses for the acceptance tests, and what a desk and a finger do in them.

Premises are made in the air from shipped profiles. `Campus` is a School whose plant can be looked
at: what a relay did is read from the simulated iron, never from what the gateway believes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from drivers.base import Contact, Ear, Wire
from drivers.modbus.driver import ModbusDriver
from gateway.core.action import Result
from gateway.core.commands import Command, command_payload
from gateway.core.hardware import (
    Bus,
    Device,
    Door,
    DoorContact,
    Egress,
    FireOpens,
    ReactionRule,
    Transport,
    channel_of,
    device_of,
)
from gateway.core.jws import TokenType, seal
from gateway.core.model import Condition, Json, Level, Reading
from gateway.core.premises import Input, Point, PointKind, Premises, RouteKey
from gateway.core.verbs import Verb
from gateway.record.disk import InlineDisk
from simulators.bus.parts import InputPart
from simulators.bus.plant import Plant
from simulators.bus.shipped import profile
from simulators.bus.units import SimulatedUnit
from simulators.virtual.time import VirtualClock, run_virtual
from tests.school import ALL, CASE, FIRE, GATEWAY, SCHOOL, SECURITY, Line, School

CORRIDOR = Bus("corridor", Transport.RTU, port="/nowhere/corridor", baud=19_200, echo=False)

ENTRANCE = Device("entrance", "corridor", 11, profile("wb-mr6c"))
HUB = Device("hub", "corridor", 12, profile("wb-mcm8"))
"""Relays and counters as in the demo's school, asked five times a second."""

LIBRARY = Point("library", PointKind.PANIC, Input("hub/input-1", "hub/input-2"))
CANTEEN = Point("canteen", PointKind.PANIC, Input("hub/input-3"))
CASHIER = Point("cashier", PointKind.HOLD_UP, Input("hub/input-5"), silent=True)
RESET_KEY = Point("reset-key", PointKind.RESET_KEY, Input("gpio:7"))

MAIN_DOOR = Door(
    lock="entrance/relay-1",
    request_to_exit=DoorContact("entrance/input-2"),
    sounder="entrance/relay-2",
    egress=Egress.HARDWIRED,
    fire_release="fire-panel",
    fire_opens=FireOpens.BOTH,
    unlock_ms=5_000,
    grant_ms=3_000,
    held_after_ms=10_000,
    warn_before_ms=4_000,
    remote_unlock=True,
)
MAIN = Point("main-door", PointKind.DOOR, Input(None, "entrance/input-1"), door=MAIN_DOOR)

VERBS = tuple(verb.value for verb in Verb)
DESK = replace(SECURITY, sends=(*ALL, "access"), keys=(RouteKey("security", "", verbs=VERBS),))


def campus(
    *points: Point,
    devices: tuple[Device, ...] = (ENTRANCE, HUB),
    buses: tuple[Bus, ...] = (CORRIDOR,),
    reactions: tuple[ReactionRule, ...] = (),
) -> Premises:
    """A school with these points on these units, and a desk that may ask for everything."""
    return replace(
        SCHOOL,
        points=points,
        devices=devices,
        buses=buses,
        reactions=reactions,
        routes=(DESK, CASE),
    )


DOORS = campus(MAIN, LIBRARY, CANTEEN, FIRE, RESET_KEY)
"""A door on a relay board, two buttons on a counting board, a fire panel and a key on pins."""


def polled(device: Device, poll_ms: int) -> Device:
    """The same unit, asked so often."""
    return replace(device, poll_ms=poll_ms)


def with_door(point: Point, **change: Any) -> Point:
    """The same door with other properties."""
    assert point.door is not None
    return replace(point, door=replace(point.door, **change))


class Campus(School):
    """A School with a desk that commands, and eyes on the iron."""

    _counter = 0

    def unit(self, name: str) -> SimulatedUnit:
        """The simulated unit of that device."""
        return self.plant.unit(name)

    def relay(self, address: str) -> bool:
        """True while the relay itself is energised."""
        return self.plant.output(address).on

    def moves(self) -> dict[str, int]:
        """How often each output of every unit has moved, and which pins are lit."""
        return {
            f"{name}/{output.name}": output.moves
            for name, unit in self.plant.units.items()
            for output in unit.outputs.values()
        }

    async def wait(self, seconds: float) -> None:
        """So much virtual time."""
        await self.clock.sleep(seconds)

    async def until(self, what: str, true: Callable[[], object], *, within_s: float) -> float:
        """Wait for it; seconds of virtual time it took. AssertionError names what did not come."""
        began_us = self.clock.now_us()
        while not true():
            took_s = (self.clock.now_us() - began_us) / 1e6
            assert took_s < within_s, f"within {within_s} s there was no {what}"
            await self.clock.sleep(0.005)
        return (self.clock.now_us() - began_us) / 1e6

    async def settle(self) -> None:
        """Wait until every unit has been set up and read."""
        await self.until("unit that is set up", self._set_up, within_s=20)

    def _set_up(self) -> bool:
        return all(unit.requests > 0 for unit in self.plant.units.values())

    def alarms(self, route: str) -> list[tuple[str, str]]:
        """Subject and type of every alarm's raising and repeating at a centre, in order."""
        return [
            (verdict.message.subject, verdict.message.type)
            for verdict in self.heard(route, "alarm.")
            if verdict.message is not None
            and verdict.message.type.endswith((".raised", ".repeated"))
        ]

    def faults(self, unit: str, phase: str) -> list[Line]:
        """What the log says of a unit's silence: `raised`, or `cleared`."""
        return self.lines(f"fault.unit-silent.{phase}", subject=unit)

    # --- the desk --------------------------------------------------------------------------------

    def token(self, verb: str, target: Mapping[str, Json], *, within_ms: int = 10_000) -> bytes:
        """A command as a desk signs it now, from the last heartbeat it has."""
        beat = self.last_beat()
        self._counter += 1
        now_ms = self.clock.now_us() // 1_000
        command = Command(
            id=f"c{self._counter}",
            gateway=GATEWAY,
            ledger=beat.ledger,
            boot=beat.boot,
            not_after_ms=now_ms + within_ms,
            verb=verb,
            target=target,
            counter=self._counter,
        )
        return seal(TokenType.COMMAND, command_payload(command), self.keys["security"])

    def send(self, token: bytes) -> None:
        """A command's bytes come in on the desk's topic, whoever sends them."""
        self.strangers["campus"].publish(f"qorgan/v1/{GATEWAY}/security/commands", token)

    def command(self, verb: str, *, within_ms: int = 10_000, **target: Json) -> None:
        """The desk asks for something."""
        self.send(self.token(verb, target, within_ms=within_ms))

    def answers(self) -> list[tuple[str, dict[str, Any]]]:
        """What the desk was answered, in order: done, refused …, with the data."""
        return [
            (verdict.message.type.rpartition(".")[2], dict(verdict.message.data))
            for verdict in self.heard("security", "state.command.")
            if verdict.message is not None
        ]


SEEN_WITHIN_US = 250_000
"""A Reading may be as old as the exchange it came by, repeated questions included."""


class Witness:
    """What really was at some inputs, and which Readings say otherwise.

    Truth is what the unit itself saw and counted. A Reading that tells a change must have been true
    within the exchange that brought it; the first after a silence, since the silence was told. So
    the second at the first's own moment: both waited for the unit's uptime, pressed meanwhile.
    """

    def __init__(self, plant: Plant, addresses: tuple[str, ...], *, clock: VirtualClock) -> None:
        self._clock = clock
        self._history: dict[str, list[tuple[int, Level, int]]] = {}
        self._told: dict[str, Reading] = {}
        self._blind_us: dict[str, int] = {}
        self._first_us: dict[str, int] = {}
        self.readings = 0
        self.wrong: list[str] = []
        for address in addresses:
            part = plant.unit(device_of(address) or "").inputs[channel_of(address)]
            self._history[address] = []
            part.on_change.append(partial(self._happened, address, part))
            self._happened(address, part, part.level)

    def _happened(self, address: str, part: InputPart, closed: bool) -> None:  # noqa: FBT001 -- as InputPart tells it
        level = Level.ACTIVE if closed else Level.NORMAL
        self._history[address].append((self._clock.now_us(), level, part.closings))

    def hear(self, reading: Reading) -> None:
        """A driver's Reading of one of the inputs, or of an output."""
        if reading.input not in self._history:
            return
        self.readings += 1
        if reading.level is Level.UNKNOWN:
            self._told.pop(reading.input, None)
            self._blind_us[reading.input] = reading.at_us
            return
        before = self._told.get(reading.input)
        if before is None:
            self._first_us[reading.input] = reading.at_us
        waited = self._first_us.get(reading.input) == reading.at_us
        since_us = self._blind_us.get(reading.input, 0) if waited else reading.at_us
        true = self._true_since(reading.input, since_us - SEEN_WITHIN_US)
        count = _value(reading)
        if before is None or before.level is not reading.level:
            self._judge(reading, any(reading.level is level for level, _ in true))
        if count is not None and (before is None or _value(before) != count):
            self._judge(reading, any(count == closings for _, closings in true))
        self._told[reading.input] = reading

    def knows(self, address: str) -> bool:
        """True when what was told last of an input is what is there now."""
        _, level, closings = self._history[address][-1]
        told = self._told.get(address)
        counted = closings if told is None or told.count is None else told.count.value
        return told is not None and told.level is level and counted == closings

    def _judge(self, reading: Reading, right: bool) -> None:  # noqa: FBT001 -- the one thing it says
        if not right:
            self.wrong.append(f"{reading}: {self._history[reading.input][-4:]}")

    def _true_since(self, address: str, since_us: int) -> list[tuple[Level, int]]:
        """All that was true at some moment from then on, the oldest first."""
        history = self._history[address]
        first = max((n for n, (at_us, *_) in enumerate(history) if at_us <= since_us), default=0)
        return [(level, closings) for _, level, closings in history[first:]]


def _value(reading: Reading) -> int | None:
    return None if reading.count is None else reading.count.value


class DriverRig:
    """The real Modbus driver on the plant of some premises, with a Witness at its inputs."""

    def __init__(self, premises: Premises, wires: tuple[str, ...], *, clock: VirtualClock) -> None:
        self.clock = clock
        self.plant = Plant(premises, clock=clock, random=random.Random(1))
        self.witness = Witness(self.plant, wires, clock=clock)
        self.conditions: list[Condition] = []
        self.results: list[Result] = []
        self.reports: list[str] = []
        self.driver = ModbusDriver(
            premises.buses,
            premises.devices,
            opener=self.plant.opener(),
            clock=clock,
            random=random.Random(2),
            report=lambda what, _fields: self.reports.append(what),
            identities={},
            remember=lambda _device, _identity: None,
        )
        self.driver.start(
            wires=[Wire(address, Contact.NORMALLY_OPEN, pressed=True) for address in wires],
            outputs=[],
            ear=Ear(self.witness.hear, self.conditions.append, self.results.append),
        )
        self._wires = wires
        self._closed = dict.fromkeys(wires, False)
        self._due_us = dict.fromkeys(wires, 0)

    @property
    def asked(self) -> int:
        """How many requests the units have heard."""
        return sum(unit.requests for unit in self.plant.units.values())

    def fiddle(self, dice: random.Random) -> None:
        """Open and close the wires now and then; call it often."""
        now_us = self.clock.now_us()
        for address in self._wires:
            if now_us >= self._due_us[address]:
                self._closed[address] = not self._closed[address]
                self.plant.contact(address).wire(closed=self._closed[address])
                self._due_us[address] = now_us + dice.randint(20_000, 2_000_000)


def live_on(
    tmp_path: Path,
    scenario: Callable[[Campus], Coroutine[Any, Any, None]],
    *,
    premises: Premises = DOORS,
    seed: int = 1,
) -> Campus:
    """Run a scenario in a fresh campus; it starts the gateway itself. The campus as it ended."""

    async def told(clock: VirtualClock, dice: random.Random) -> Campus:
        there = Campus(
            premises, clock=clock, dice=dice, ledger=str(tmp_path / "ledger.db"), disk=InlineDisk
        )
        await scenario(there)
        if there.running:
            await there.stop()
        return there

    return run_virtual(told, seed=seed)
