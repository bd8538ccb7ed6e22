"""Every request on the bus goes wrong once: the request, its answer, or the port itself.

The n-th write is lost, or its answer comes late, twice, cut short, with a bit turned, from another
unit, or is lost, or says that the unit is busy; or the port is gone at the write or at the read,
and at the next attempt to open it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from campaigns.faults.account import findings
from campaigns.faults.school import DOOR, HUB, Day, FaultSchool, bus_school
from drivers.modbus.wire.port import Opener, Port, PortError
from gateway.clock import Clock
from simulators.bus.frames import rtu
from simulators.virtual.time import VirtualClock, run_virtual

DEVICE_BUSY = 6
"""Modbus Application Protocol 1.1b3, 7: the unit asks to be asked again later."""
READ_INPUT = 4
"""The function that reads input registers (same document, 6.4)."""
STRANGER = 77
"""A unit that is not there."""
LATE_US = 300_000
"""Longer than any request is waited for: the answer comes among those to later ones."""


class BusMisfortune(StrEnum):
    """What becomes of the n-th request."""

    LOST = "lost"
    UNANSWERED = "unanswered"
    LATE = "late"
    GARBLED = "garbled"
    CUT = "cut"
    DOUBLED = "doubled"
    BUSY = "busy"
    STRANGER = "stranger"
    GONE_AT_WRITE = "gone-at-write"
    GONE_AT_READ = "gone-at-read"


class Misfortune:
    """What happens to whom: one for all ports of a day. calls: the function of every request."""

    def __init__(self, what: BusMisfortune | None, at: int, clock: Clock) -> None:
        self.calls: list[str] = []
        self.clock = clock
        self._what = what
        self._at = at

    def next(self, data: bytes) -> BusMisfortune | None:
        """Count a request, and what becomes of it."""
        self.calls.append(f"function {data[1]}" if len(data) > 1 else "?")
        return self._what if len(self.calls) == self._at else None


class Stubborn(Misfortune):
    """One unit is too busy for every read of one register, all day long."""

    def __init__(self, unit: int, address: int, clock: Clock) -> None:
        super().__init__(None, 0, clock)
        self._asked = bytes([unit, READ_INPUT, *address.to_bytes(2)])

    def next(self, data: bytes) -> BusMisfortune | None:
        """Busy for that read, nothing for any other."""
        super().next(data)
        return BusMisfortune.BUSY if data.startswith(self._asked) else None


class FicklePort:
    """A Port over another one, with a Misfortune."""

    def __init__(self, port: Port, misfortune: Misfortune) -> None:
        self._port = port
        self._misfortune = misfortune
        self._what: BusMisfortune | None = None
        self._asked = b""
        self._held = b""
        self._held_until_us = 0
        self._shut = False

    async def open(self) -> None:
        """As the port; after it was gone it stays so for one attempt."""
        if self._shut:
            self._shut = False
            raise PortError("the adapter is not there (misfortune)")
        await self._port.open()

    def write(self, data: bytes) -> None:
        """As the port, or not at all."""
        self._what, self._asked = self._misfortune.next(data), data
        if self._what is BusMisfortune.GONE_AT_WRITE:
            self._gone()
        if self._what is not BusMisfortune.LOST:
            self._port.write(data)

    async def read(self, until_us: int) -> bytes:
        """As the port, or what became of it on the way."""
        clock = self._misfortune.clock
        if self._what is BusMisfortune.GONE_AT_READ:
            self._gone()
        while True:
            limit_us = min(until_us, self._held_until_us) if self._held else until_us
            data = await self._port.read(limit_us)
            if data and self._what is not None:
                data = self._spoiled(self._what, data)
            if self._held and clock.now_us() >= self._held_until_us:
                data, self._held = self._held + data, b""
            if data or clock.now_us() >= until_us:
                return data

    def _spoiled(self, what: BusMisfortune, data: bytes) -> bytes:
        """A piece of the answer as it arrives. The first piece bears what happens once."""
        match what:
            case BusMisfortune.UNANSWERED:
                return b""
            case BusMisfortune.LATE:
                if not self._held:
                    self._held_until_us = self._misfortune.clock.now_us() + LATE_US
                self._held += data
                return b""
            case BusMisfortune.GARBLED:
                self._what = None
                middle = len(data) // 2
                return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]
            case BusMisfortune.CUT | BusMisfortune.BUSY | BusMisfortune.STRANGER:
                self._what = BusMisfortune.UNANSWERED
                return self._instead(what, data)
            case BusMisfortune.DOUBLED:
                return data + data
            case _:
                return data

    def _instead(self, what: BusMisfortune, data: bytes) -> bytes:
        """All that comes of an answer that began with `data`."""
        if what is BusMisfortune.CUT:
            return data[: len(data) // 2]
        unit = STRANGER if what is BusMisfortune.STRANGER else self._asked[0]
        return rtu(unit, bytes([self._asked[1] | 0x80, DEVICE_BUSY]))

    def close(self) -> None:
        """As the port."""
        self._port.close()

    def _gone(self) -> None:
        self._what, self._shut = None, True
        self._port.close()
        raise PortError("the adapter was pulled out (misfortune)")


class _School(FaultSchool):
    """A school with buttons and a door on a fickle bus, and a desk that opens the door."""

    misfortune: Misfortune

    def _opener(self) -> Opener:
        made = super()._opener()
        return lambda bus: FicklePort(made(bus), self.misfortune)

    async def ask(self) -> None:
        self.centres["security"].command("door.unlock", {"door": DOOR})

    async def breaks(self) -> None:
        self.over_restart.append(f"unit-silent {HUB}")
        await super().breaks()
        self.plant.afflict(HUB, "silent")
        self.broken["unit-silent"] += 1

    async def mended(self) -> None:
        self.plant.afflict(HUB, "well")
        await super().mended()

    def doors(self) -> Iterator[str]:
        """The desk was answered, and the lock is at rest in the end."""
        answers = [m.type.rpartition(".")[2] for m in self.heard("security", "state.command.")]
        if not {"done", "failed", "refused", "unknown"} & set(answers):
            yield f"the command was answered with {answers or 'nothing'}"
        if self.plant.output("entrance/relay-1").on:
            yield "the door was left unlocked"


def cases(calls: Sequence[str]) -> list[tuple[str, int]]:
    """Every misfortune of every request of a day that went well."""
    return [(str(what), number) for number in range(1, len(calls) + 1) for what in BusMisfortune]


def day(what: str | None, number: int, folder: Path) -> Day:
    """The day with that request going wrong in that way, or with none."""
    wrong = None if what is None else BusMisfortune(what)
    return _lived(lambda clock: Misfortune(wrong, number, clock), folder)


def stubborn_day(unit: int, address: int, folder: Path) -> Day:
    """The day with a unit that never has time to show the register at that address."""
    return _lived(lambda clock: Stubborn(unit, address, clock), folder)


def _lived(misfortune: Callable[[Clock], Misfortune], folder: Path) -> Day:
    return run_virtual(lambda clock, dice: _day(clock, dice, misfortune(clock), folder), seed=1)


async def _day(
    clock: VirtualClock, dice: random.Random, misfortune: Misfortune, folder: Path
) -> Day:
    school = _School(clock=clock, dice=dice, folder=folder, premises=bus_school())
    school.misfortune = misfortune
    await school.day()
    return Day(school.misfortune.calls, list(_findings(school)), school.raised())


def _findings(school: _School) -> Iterator[str]:
    yield from findings(school)
    yield from school.doors()
