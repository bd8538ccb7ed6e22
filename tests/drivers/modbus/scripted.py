"""A tiny unit and its port, in memory, under virtual time: enough to see what a bus owner does."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.base import Contact, Ear, Output, Wire
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.wire.frame import crc
from drivers.modbus.wire.port import PortError
from gateway.clock import Clock
from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.hardware import Bus, Device, Transport
from gateway.core.model import Condition, Json, Level, Reading
from gateway.core.profile import (
    IdentityRule,
    InputChannel,
    OutputChannel,
    Profile,
    Register,
    Setting,
    Table,
    Timing,
)
from simulators.virtual.time import VirtualClock, run_virtual

MS, S = 1_000, 1_000_000
CORRIDOR = Bus("corridor", Transport.RTU, port="/dev/ttyRS485", baud=19_200)
MODEL = Register(Table.HOLDING, 200)
SAFE = Register(Table.HOLDING, 930)

PLAIN = Profile(
    id="little",
    vendor="Nobody",
    model="Little",
    verified=True,
    source="made up for tests",
    timing=Timing(answer_ms=50),
    uptime=Register(Table.INPUT, 104, words=2),
    inputs=(
        InputChannel("input-1", level=Register(Table.DISCRETE, 0)),
        InputChannel("input-2", level=Register(Table.DISCRETE, 1)),
        InputChannel(
            "button-1", level=Register(Table.DISCRETE, 8), counter=Register(Table.INPUT, 32)
        ),
    ),
    outputs=(
        OutputChannel("relay-1", Register(Table.COIL, 0), 5, state=Register(Table.COIL, 0)),
        OutputChannel("relay-2", Register(Table.COIL, 1), 5, state=Register(Table.COIL, 1)),
    ),
    identity=IdentityRule(MODEL, 1),
    settings=(Setting("safe", SAFE, 1, before_outputs=True),),
)
"""Levels, one counter, uptime, two relays, an identity register and a setting before outputs."""

Key = tuple[Table, int]
_READS = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}


class LittleUnit:
    """Registers behind a unit number. dead: hears nothing. refuse: (function, address) → code."""

    def __init__(self, clock: Clock) -> None:
        self.words: dict[Key, int] = {(Table.HOLDING, 200): 77}
        self.dead = False
        self.stuck = False
        self.refuse: Callable[[int, int], int] = lambda _function, _address: 0
        self.log: list[tuple[int, int, int]] = []
        self.moved: list[tuple[int, int, int]] = []
        self._clock = clock
        self.born_us = clock.now_us()

    def reboot(self) -> None:
        """Counters and uptime begin at 0."""
        self.born_us = self._clock.now_us()
        for key in [key for key in self.words if key[0] is Table.INPUT]:
            self.words[key] = 0

    def hear(self, pdu: bytes) -> bytes:
        """The answer to a request; everything that is asked for exists."""
        function, address, value = struct.unpack(">BHH", pdu[:5])
        self.log.append((function, address, value))
        uptime_s = (self._clock.now_us() - self.born_us) // S
        self.words[Table.INPUT, 104], self.words[Table.INPUT, 105] = divmod(uptime_s, 1 << 16)
        code = self.refuse(function, address)
        if code:
            return bytes((function | 0x80, code))
        if function in _READS:
            table = _READS[function]
            found = [self.words.get((table, address + n), 0) for n in range(value)]
            if table.bits:
                bits = sum(bool(bit) << n for n, bit in enumerate(found))
                octets = bits.to_bytes((value + 7) // 8, "little")
            else:
                octets = struct.pack(f">{value}H", *found)
            return bytes((function, len(octets))) + octets
        if function == 5 and not self.stuck:
            self.words[Table.COIL, address] = int(value == 0xFF00)
            self.moved.append((self._clock.now_us(), address, int(value == 0xFF00)))
        if function == 6:
            self.words[Table.HOLDING, address] = value
        return pdu[:5]


class LittlePort:
    """The wire: 4 ms until an answer. unplugged: nothing can be opened, written or read.

    noisy_until_us: until then somebody else's bytes never stop.
    """

    def __init__(self, clock: Clock) -> None:
        self.units: dict[int, LittleUnit] = {}
        self.unplugged = False
        self.opened: list[int] = []
        self.open_failures = 0
        self.begun: list[tuple[int, int]] = []
        self._clock = clock
        self._answers: list[tuple[int, bytes]] = []
        self.noisy_until_us = 0
        self._stir = asyncio.Event()
        self._dropped = False

    def unplug(self) -> None:
        self.unplugged = True
        self._stir.set()

    def drop(self) -> None:
        """The connection is lost once, and can be had again at once."""
        self._dropped = True
        self._stir.set()

    async def open(self) -> None:
        if self.unplugged:
            self.open_failures += 1
            raise PortError("/dev/ttyRS485 is not there; is the adapter plugged in?")
        self.opened.append(self._clock.now_us())
        self._answers.clear()

    def write(self, data: bytes) -> None:
        if self.unplugged:
            raise PortError("/dev/ttyRS485 is gone")
        assert crc(data) == 0
        now_us = self._clock.now_us()
        self.begun.append((now_us, data[0]))
        unit = self.units.get(data[0])
        if unit is None or unit.dead:
            return
        answer = data[:1] + unit.hear(data[1:-2])
        answer += crc(answer).to_bytes(2, "little")
        self._answers.append((now_us + 4 * MS + 573 * (len(data) + len(answer)), answer))

    async def read(self, until_us: int) -> bytes:
        while True:
            if self.unplugged or self._dropped:
                self._dropped = False
                raise PortError("/dev/ttyRS485 is gone")
            now_us = self._clock.now_us()
            ready = [answer for at_us, answer in self._answers if at_us <= now_us]
            if ready:
                self._answers = self._answers[len(ready) :]
                return b"".join(ready)
            if now_us < self.noisy_until_us:
                await self._clock.sleep(0.002)
                return b"\x55"
            if now_us >= until_us:
                return b""
            self._stir.clear()
            due_us = min([until_us, *(at_us for at_us, _ in self._answers)])
            timer = self._clock.call_at(due_us, self._stir.set)
            await self._stir.wait()
            timer.cancel()

    def close(self) -> None:
        self._answers.clear()


@dataclass
class House:
    """A driver on little units, and everything it told."""

    clock: VirtualClock
    profiles: Sequence[Profile] = (PLAIN,)
    identities: dict[str, str] = field(default_factory=dict)
    poll_ms: int = 100
    readings: list[Reading] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    reports: list[tuple[str, dict[str, Json]]] = field(default_factory=list)
    remembered: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = LittlePort(self.clock)
        self.devices = [
            Device(f"unit-{n}", "corridor", n, profile, poll_ms=self.poll_ms)
            for n, profile in enumerate(self.profiles, 1)
        ]
        for device in self.devices:
            self.port.units[device.unit] = LittleUnit(self.clock)
        self.driver = ModbusDriver(
            [CORRIDOR],
            self.devices,
            opener=lambda _: self.port,
            clock=self.clock,
            random=random.Random(5),
            report=lambda event, fields: self.reports.append((event, dict(fields))),
            identities=self.identities,
            remember=self.remembered.__setitem__,
        )

    @property
    def unit(self) -> LittleUnit:
        return self.port.units[1]

    @property
    def ear(self) -> Ear:
        return Ear(self.readings.append, self.conditions.append, self.results.append)

    def start(
        self,
        *inputs: str,
        outputs: Sequence[str] = (),
        contact: Contact = Contact.NORMALLY_OPEN,
        pressed: bool = False,
    ) -> None:
        self.driver.start(
            wires=[Wire(address, contact, pressed) for address in inputs],
            outputs=[Output(address) for address in outputs],
            ear=self.ear,
        )

    async def pass_ms(self, ms: int) -> None:
        """Virtual time passes."""
        await self.clock.sleep(ms / 1_000)

    def act(
        self,
        name: str,
        output: str = "unit-1/relay-1",
        *,
        on: bool = True,
        for_ms: int | None = None,
        within_ms: int = 5_000,
        urgency: Urgency = Urgency.COMMAND,
    ) -> None:
        self.driver.act(
            Action(
                id=name,
                output=output,
                on=on,
                for_ms=for_ms,
                not_after_us=self.clock.now_us() + within_ms * MS,
                urgency=urgency,
            )
        )

    def levels(self, address: str) -> list[Level]:
        return [reading.level for reading in self.readings if reading.input == address]

    def counts(self, address: str) -> list[int | None]:
        found = [reading.count for reading in self.readings if reading.input == address]
        return [None if count is None else count.value for count in found]

    @property
    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(result.action, result.outcome) for result in self.results]

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.reports]

    def told(self, kind: str) -> list[tuple[str, bool]]:
        return [(one.subject, one.standing) for one in self.conditions if one.kind == kind]


def live(
    scene: Callable[[House], Coroutine[Any, Any, None]],
    *profiles: Profile,
    identities: dict[str, str] | None = None,
    poll_ms: int = 100,
) -> House:
    """Live through a scene under virtual time, stop the driver, and give everything it told."""

    async def run(clock: VirtualClock, _dice: random.Random) -> House:
        house = House(clock, profiles or (PLAIN,), identities or {}, poll_ms)
        await scene(house)
        await house.driver.stop()
        return house

    return run_virtual(run, seed=7)
