"""A line with units on it under virtual time, and a scan over it whose every byte is kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random
from typing import Any, TypeVar

from drivers.base import Contact, Ear, Wire
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.search.recognise import Guess, questions_of, recognise
from drivers.modbus.search.scan import scan
from drivers.modbus.search.sweep import (
    EVERY_UNIT,
    Doubt,
    Ended,
    FoundUnit,
    News,
    Progress,
    Speed,
    Sweep,
    heard,
)
from drivers.modbus.wire.port import Opener, Port
from gateway.core.hardware import Bus, Device, Transport
from gateway.core.model import Reading
from gateway.core.plain import to_plain
from gateway.core.profile import Profile
from simulators.bus.frames import TcpFrames, rtu_parts
from simulators.bus.line import Line
from simulators.bus.shipped import profile
from simulators.bus.tcp import Board
from simulators.bus.units import SimulatedUnit
from simulators.bus.wire_port import WirePort
from simulators.virtual.time import VirtualClock, run_virtual

T = TypeVar("T")

BUS = Bus("scanned", Transport.RTU, port="/dev/ttyUSB0", baud=9_600)
LAN = Bus("lan", Transport.TCP, host="10.0.0.7")
N2, FAST = Speed(9_600), Speed(19_200)
READS = {1, 2, 3, 4}
MODELS = (
    *("wb-mcm8", "wb-mr6c", "wb-mr6c-legacy", "wb-mr6c-v3", "wb-mr6cu", "wb-mrm2-mini", "wb-mio"),
    *("waveshare-relay-d", "owen-mv110-16d", "owen-mu110-16r", "bolid-s2000-pp", "adam-6060"),
)


@cache
def models() -> tuple[Profile, ...]:
    """The shipped profiles a scan of a line can meet."""
    return tuple(profile(name) for name in MODELS)


class Kept:
    """A port in front of a port that keeps what is sent."""

    def __init__(self, port: Port, sent: list[bytes]) -> None:
        self._port = port
        self._sent = sent

    async def open(self) -> None:
        await self._port.open()

    def write(self, data: bytes) -> None:
        self._sent.append(data)
        self._port.write(data)

    async def read(self, until_us: int) -> bytes:
        return await self._port.read(until_us)

    def close(self) -> None:
        self._port.close()


@dataclass
class Scene:
    """One line (or board), and what scans of it told."""

    clock: VirtualClock
    behind: Line | Board
    sent: list[bytes] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    news: list[News] = field(default_factory=list)

    def opener(self, bus: Bus) -> Port:
        """A port onto it; what is sent is kept."""
        self.opened.append(bus.baud)
        return Kept(WirePort(self.behind, clock=self.clock, baud=bus.baud), self.sent)

    async def scan(
        self,
        units: Sequence[int] = range(1, 33),
        *,
        speeds: Sequence[Speed] = (N2,),
        bus: Bus = BUS,
        questions: bool = True,
        tries: int = 1,
        opener: Opener | None = None,
    ) -> None:
        """Scan it to the end. opener: of another port than one onto this line."""
        asked = questions_of(models()) if questions else ()
        sweep = Sweep(tuple(units), questions=asked, tries=tries)
        walk = scan(bus, sweep, speeds, opener=opener or self.opener, clock=self.clock)
        async with aclosing(walk) as news:
            async for one in news:
                self.news.append(one)

    @property
    def found(self) -> dict[int, FoundUnit]:
        return {one.unit: one for one in self.news if isinstance(one, FoundUnit)}

    @property
    def doubts(self) -> list[Doubt]:
        return [one for one in self.news if isinstance(one, Doubt)]

    @property
    def progress(self) -> list[Progress]:
        return [one for one in self.news if isinstance(one, Progress)]

    @property
    def ended(self) -> list[Ended]:
        return [one for one in self.news if isinstance(one, Ended)]

    def guess(self, unit: int) -> Guess:
        """What that unit seems to be."""
        return recognise(self.found[unit].answers, models())

    @property
    def functions(self) -> set[int]:
        """The functions of all that was ever sent."""
        if isinstance(self.behind, Board):
            frames = TcpFrames()
            return {one.pdu[0] for data in self.sent for one in frames.feed(data)}
        parts = [rtu_parts(data) for data in self.sent]
        assert None not in parts
        return {part[1][0] for part in parts if part is not None}

    def asked(self) -> list[int]:
        """The addresses of all that was sent on a line."""
        return [data[0] for data in self.sent]

    def add(self, name: str, unit: int, *, seed: int = 1) -> SimulatedUnit:
        """One more unit of a shipped profile."""
        device = Device(f"{name}-{unit}-{seed}", "scanned", unit, profile(name))
        made = SimulatedUnit(device, clock=self.clock, random=Random(seed))
        if isinstance(self.behind, Line):
            self.behind.add(made)
        else:
            self.behind.units.append(made)
        return made


def on_line(
    scenario: Callable[[Scene], Coroutine[Any, Any, T]], *, baud: int = 9_600, seed: int = 3
) -> T:
    """Live through a scene on an empty line."""

    async def run(clock: VirtualClock, dice: Random) -> T:
        return await scenario(Scene(clock, Line(clock=clock, random=dice, baud=baud)))

    return run_virtual(run, seed=seed)


def on_board(scenario: Callable[[Scene], Coroutine[Any, Any, T]], *, seed: int = 3) -> T:
    """The same behind a Modbus TCP socket."""

    async def run(clock: VirtualClock, _dice: Random) -> T:
        return await scenario(Scene(clock, Board([], clock=clock)))

    return run_virtual(run, seed=seed)


# --- a bus that somebody owns ---------------------------------------------------------------------

BUTTON = "hub/input-1"
SETTLED_S, WATCHED_S = 3.0, 40.0


@dataclass
class Beside:
    """What came of presses on a live bus. waits_us: from each finger to its reading.

    polls: requests to the button's unit while it was watched. scanned_us: how long the scan took.
    """

    scene: Scene
    waits_us: list[int] = field(default_factory=list)
    scanned_us: int = 0
    polls: int = 0


def beside(
    *, seed: int, poll_ms: int, scanning: bool = True, units: Sequence[int] = EVERY_UNIT
) -> Beside:
    """A driver polls two units; somebody presses a button, again and again, while it is scanned."""
    polled = (
        Device("entrance", BUS.id, 11, profile("wb-mr6c"), poll_ms=2 * poll_ms),
        Device("hub", BUS.id, 12, profile("wb-mcm8"), poll_ms=poll_ms),
    )

    async def run(scene: Scene) -> Beside:
        clock, dice = scene.clock, Random(seed)
        made = {device.id: scene.add(device.profile.id, device.unit) for device in polled}
        scene.add("waveshare-relay-d", 1)
        scene.add("wb-mcm8", 40)
        readings: list[Reading] = []
        driver = ModbusDriver(
            [BUS],
            polled,
            opener=scene.opener,
            clock=clock,
            random=Random(5),
            report=lambda _event, _fields: None,
            identities={},
            remember=lambda _device, _identity: None,
        )
        wires = [
            Wire(BUTTON, Contact.NORMALLY_OPEN, pressed=True),
            Wire("entrance/input-1", Contact.NORMALLY_OPEN),
        ]
        ear = Ear(readings.append, lambda _: None, lambda _: None)
        driver.start(wires=wires, outputs=[], ear=ear)
        await clock.sleep(SETTLED_S)
        scene.sent.clear()
        result = Beside(scene)
        contact, pressed_us = made["hub"].contact("input-1"), list[int]()
        at_us = clock.now_us() + 100_000
        while at_us < (SETTLED_S + WATCHED_S) * 1e6:
            clock.call_at(at_us, partial(contact.wire, closed=True))
            clock.call_at(at_us + 200_000, partial(contact.wire, closed=False))
            pressed_us.append(at_us)
            at_us += dice.randint(900_000, 1_100_000)

        def count() -> None:
            result.polls = sum(data[0] == 12 for data in scene.sent)

        clock.call_at(round((SETTLED_S + WATCHED_S) * 1e6), count)
        if scanning:
            sweep = to_plain(Sweep(tuple(units), questions=questions_of(models())))
            assert isinstance(sweep, dict)
            async with aclosing(driver.search(BUS.id, sweep)) as news:
                async for one in news:
                    told = heard(one)
                    assert told is not None
                    scene.news.append(told)
            result.scanned_us = clock.now_us() - round(SETTLED_S * 1e6)
        await clock.sleep(max(0.0, SETTLED_S + WATCHED_S + 1 - clock.now_us() / 1e6))
        await driver.stop()
        # A press shows as a level or, where it was over before the poll, as a count.
        seen = [one.at_us for one in readings if one.input == BUTTON]
        for moment_us in pressed_us:
            result.waits_us.append(min(one for one in seen if one > moment_us) - moment_us)
        return result

    return on_line(run, seed=seed)
