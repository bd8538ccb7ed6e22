"""Units on RS-485 and Modbus TCP as a Driver: readings in, actions out, no opinion.

Owns one `BusOwner` a bus and the way from their voices to the daemon's ear. Addresses are
`device/channel`. It starts without its ports: a bus that is away is a Condition, not a failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeVar

from drivers.base import DriverError, Ear, Output, Wire
from drivers.modbus.bus import BusOwner
from drivers.modbus.plan.health import Numbers, UnitHealth
from drivers.modbus.plan.plan import Plan
from drivers.modbus.search.scan import scan_lent
from drivers.modbus.search.sweep import Sweep, told
from drivers.modbus.unit.station import Station, Voice
from drivers.modbus.wire.lent import Lent
from drivers.modbus.wire.line import line_of
from drivers.modbus.wire.port import Opener
from drivers.modbus.wire.wire import refuse_uvloop
from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.hardware import Bus, Device, device_of
from gateway.core.model import Json, Reading
from gateway.core.plain import from_plain

if TYPE_CHECKING:
    from gateway.clock import Clock

T = TypeVar("T")

_NEVER_US = 2**62
"""The expiry of a lamp: it is brought to what was last asked whenever that can be done."""


class ModbusDriver:
    """Every bus and device of a configuration; `drivers.base.Driver`.

    identities: what each device was first seen to be, looked up at start; remember: called with
    what is seen first.
    random: jitter of re-opening. report: told once of each thing that went wrong, and once when it
    is well again: `modbus.lamp.failed`, `modbus.lamp.well`, `modbus.pulse.stuck`,
    `modbus.pulse.ended`, `modbus.bus.failed`, `modbus.consumer.failed`.
    """

    def __init__(
        self,
        buses: Sequence[Bus],
        devices: Sequence[Device],
        *,
        opener: Opener,
        clock: Clock,
        random: Random,
        report: Callable[[str, Mapping[str, Json]], None],
        identities: Mapping[str, str],
        remember: Callable[[str, str], None],
    ) -> None:
        self._buses = {bus.id: bus for bus in buses}
        self._devices = {device.id: device for device in devices}
        self._opener = opener
        self._clock = clock
        self._random = random
        self._report = report
        self._identities = identities
        self._remember = remember
        self._ear: Ear | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owners: dict[str, BusOwner] = {}
        self._lamps: dict[str, bool] = {}
        self._lights: dict[str, str] = {}
        self._failed: set[str] = set()
        self._number = 0
        self._told = False
        self._stopped = False

    def start(self, *, wires: Sequence[Wire], outputs: Sequence[Output], ear: Ear) -> None:
        """Begin to poll, on the running loop. Raises DriverError for an address that is none."""
        if self._loop is not None:
            raise DriverError("this Modbus driver has been started before: make a new one")
        self._loop = asyncio.get_running_loop()
        try:
            refuse_uvloop(self._loop)
        except RuntimeError as error:
            raise DriverError(str(error)) from error
        self._ear = ear
        for address in [wire.address for wire in wires] + [one.address for one in outputs]:
            if device_of(address) not in self._devices:
                there = ", ".join(self._devices) or "none"
                raise DriverError(f"{address}: no such device is configured; there are {there}")
        voice = Voice(
            readings=self._hand_readings,
            condition=lambda condition: self._tell(ear.condition, condition),
            result=self._later,
            report=self._report,
            remember=self._remember,
        )
        for bus in self._buses.values():
            self._owners[bus.id] = self._own(bus, wires, outputs, voice)
        for owner in self._owners.values():
            owner.start()

    def light(self, address: str, *, on: bool) -> None:
        """Drive a lamp on a unit; what was last asked holds, however long the unit is away."""
        if self._stopped:
            return
        if address not in self._outputs():
            self._lamp_failed(address, "no such lamp is open")
            return
        self._number += 1
        self._lamps[address] = on
        action = self._lamp_action(address, on=on)
        self._lights[action.id] = address
        self.act(action)

    def act(self, action: Action) -> None:
        """Give the action to the bus of its output."""
        device = self._devices.get(device_of(action.output) or "")
        if self._stopped or device is None or action.output not in self._outputs():
            why = "the gateway stops" if self._stopped else "no such output is open"
            self._later(Result(action.id, Outcome.FAILED, self._clock.now_us(), why))
            return
        self._owners[device.bus].act(device.id, action)

    def check(self) -> None:
        """Nothing to do: every input is read again and again."""

    async def stop(self) -> None:
        """End pulses of ours, lamps off, ports closed; all buses at the same time."""
        if self._stopped:
            return
        self._stopped = True
        lit: dict[str, list[Action]] = {bus: [] for bus in self._owners}
        for address in [address for address, on in self._lamps.items() if on]:
            self._number += 1
            device = self._devices[device_of(address) or ""]
            lit[device.bus].append(self._lamp_action(address, on=False))
        self._lights.clear()
        await asyncio.gather(*(owner.stop(lit[bus]) for bus, owner in self._owners.items()))

    def status(self) -> dict[str, Json]:
        """How every bus and unit is, for `qorgan status`."""
        return {bus: bus_status(owner) for bus, owner in self._owners.items()}

    def lend(self, bus: str) -> Lent:
        """Exchanges on a bus, between its own polls. Raises KeyError for an unknown bus."""
        return self._owners[bus].lend()

    async def with_bus(self, bus: str, job: Callable[[Lent], Awaitable[T]]) -> T:
        """Run `job` with a bus lent to it. Raises KeyError for an unknown bus."""
        return await job(self.lend(bus))

    def search(self, bus: str, sweep: Mapping[str, Json]) -> AsyncGenerator[dict[str, Json], None]:
        """Look for units on a bus, between its polls; `drivers.base.Searcher`."""
        owner, wanted = self._owners[bus], from_plain(Sweep, sweep)
        known = {station.device.unit for station in owner.stations.values()}

        async def news() -> AsyncGenerator[dict[str, Json], None]:
            walk = scan_lent(owner.bus, owner.lend(), wanted, clock=self._clock, skip=known)
            async with aclosing(walk) as walked:
                async for one in walked:
                    yield told(one)

        return news()

    # --- inside ---------------------------------------------------------------------------------

    def _own(
        self, bus: Bus, wires: Sequence[Wire], outputs: Sequence[Output], voice: Voice
    ) -> BusOwner:
        line, now_us = line_of(bus), self._clock.now_us()
        stations = [
            Station(
                device,
                [wire for wire in wires if device_of(wire.address) == device.id],
                [output for output in outputs if device_of(output.address) == device.id],
                line=line,
                first_seen=self._identities.get(device.id),
                now_us=now_us,
                voice=voice,
            )
            for device in self._devices.values()
            if device.bus == bus.id
        ]
        plan = Plan([station.plan_unit for station in stations], line=line, now_us=now_us)
        return BusOwner(
            bus,
            stations,
            plan,
            opener=self._opener,
            clock=self._clock,
            random=self._random,
            voice=voice,
        )

    def _outputs(self) -> set[str]:
        return {
            address
            for owner in self._owners.values()
            for station in owner.stations.values()
            for address in station.actuators
        }

    def _lamp_action(self, address: str, *, on: bool) -> Action:
        return Action(
            id=f"lamp-{self._number}",
            output=address,
            on=on,
            not_after_us=_NEVER_US,
            urgency=Urgency.COMFORT,
            cause="lamp",
        )

    def _hand_readings(self, readings: Sequence[Reading]) -> None:
        assert self._ear is not None
        for reading in readings:
            self._tell(self._ear.reading, reading)

    def _later(self, result: Result) -> None:
        """A Result never comes from within `act`."""
        assert self._loop is not None
        self._loop.call_soon(partial(self._hand_result, result))

    def _hand_result(self, result: Result) -> None:
        assert self._ear is not None
        address = self._lights.pop(result.action, None)
        if address is None:
            if not (self._stopped and result.action.startswith("lamp-")):
                self._tell(self._ear.result, result)
        elif result.outcome.done:
            if address in self._failed:
                self._failed.discard(address)
                self._report("modbus.lamp.well", {"output": address})
        elif result.outcome is not Outcome.REPLACED:
            self._lamp_failed(address, result.why)

    def _lamp_failed(self, address: str, why: str) -> None:
        if address not in self._failed:
            self._failed.add(address)
            self._report("modbus.lamp.failed", {"output": address, "why": why})

    def _tell(self, hear: Callable[[T], None], news: T) -> None:
        """A defect of whoever listens must not stop a bus; reported once."""
        if self._stopped and not isinstance(news, Result):
            return
        try:
            hear(news)
        except Exception as error:  # noqa: BLE001 - the other inputs must still be heard
            if not self._told:
                self._told = True
                why = f"{type(error).__name__}: {error}"
                self._report("modbus.consumer.failed", {"level": "error", "why": why})


def bus_status(owner: BusOwner) -> dict[str, Json]:
    """One bus and its units as plain data."""
    health, stats = owner.plan.health(), owner.wire.stats
    units: dict[str, Json] = {}
    for name, station in owner.stations.items():
        unit, counts = health.units[name], stats.units.get(station.device.unit)
        units[name] = {
            "unit": unit.unit,
            "profile": station.device.profile.id,
            "state": _state(unit, is_open=owner.wire.is_open),
            "outputs": "ready" if station.life.outputs_ready else "locked",
            "locked_because": station.life.locked_because,
            "given_up": list(unit.given_up),
            **_numbers(unit.numbers),
            "crc_errors": 0 if counts is None else counts.crc_errors,
        }
    return {
        "transport": owner.bus.transport.value,
        "open": owner.wire.is_open,
        "stretch": health.stretch,
        **_numbers(health.numbers),
        "crc_errors": stats.port.crc_errors,
        "units": units,
    }


def _state(unit: UnitHealth, *, is_open: bool) -> str:
    if not is_open:
        return "no port"
    if unit.silent:
        return "silent"
    return "not heard yet" if unit.heard_us is None else "answers"


def _numbers(numbers: Numbers) -> dict[str, Json]:
    return {
        "requests": numbers.requests,
        "timeouts": numbers.timeouts,
        "damaged": numbers.damaged,
        "exceptions": numbers.exceptions,
        "retries": numbers.retries,
        "latency_us": numbers.latency_us,
        "latency_most_us": numbers.latency_most_us,
    }
