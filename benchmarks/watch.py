"""The product's own bus driver on a real port, with a monitor for every input: a child of `bus`.

What the daemon does between the wire and the record, and nothing after: each input is a panic
point, and what its monitor confirms is an event with its moment. Says them at `report`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from functools import partial

from drivers.base import Contact, Ear, Wire
from drivers.base import Output as DrivenOutput
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.wire.ports import open_port
from gateway.clock import Clock, SystemClock, Timer
from gateway.core.hardware import Bus, Device, Transport
from gateway.core.model import Condition, Level, Reading
from gateway.core.monitor import Confirmed, Item, Monitor
from gateway.core.premises import Input, Point, PointKind
from gateway.core.profile import Profile

RELAXED_US = 200_000
"""As in the daemon: a deadline further away may be met a few milliseconds late."""


def shipped(name: str) -> Profile:
    """A profile of `config/profiles`. Loads YAML and pydantic; the daemon never does."""
    from simulators.bus.shipped import profile  # noqa: PLC0415 -- in virtual time loaded already

    return profile(name)


def corridor(
    *, port: str, baud: int, units: int, inputs: int, poll_ms: int, profile: Profile
) -> tuple[Bus, list[Device]]:
    """One line with so many units of one model on it, addresses from 1."""
    bus = Bus("corridor", Transport.RTU, port=port, baud=baud)
    devices = [
        Device(f"unit-{number}", bus.id, number, profile, poll_ms) for number in range(1, units + 1)
    ]
    assert inputs <= len(profile.inputs)
    return bus, devices


class Watch:
    """Readings in, events out. events: when, unit, input's place, level; conditions: when and what.

    Only levels that changed while watched are events; the first look at an input is none.
    """

    def __init__(self, clock: Clock) -> None:
        self.events: list[tuple[int, int, int, str]] = []
        self.conditions: list[tuple[int, str, str, bool]] = []
        self._clock = clock
        self._monitors: dict[str, Monitor] = {}
        self._timers: dict[str, Timer] = {}

    @property
    def ear(self) -> Ear:
        """What the driver tells."""
        return Ear(self._reading, self._condition, lambda _result: None)

    @property
    def known(self) -> int:
        """How many inputs show a level."""
        return sum(one.level is not Level.UNKNOWN for one in self._monitors.values())

    def wires(self, devices: list[Device], inputs: int) -> list[Wire]:
        """The first inputs of every device, each with its monitor."""
        wires = []
        for device in devices:
            for channel in device.profile.inputs[:inputs]:
                address = f"{device.id}/{channel.name}"
                point = Point(address, PointKind.PANIC, Input(normally_open=address))
                self._monitors[address] = Monitor(point, proved_us=self._clock.now_us())
                wires.append(Wire(address, Contact.NORMALLY_OPEN, pressed=True))
        return wires

    def _reading(self, reading: Reading) -> None:
        monitor = self._monitors.get(reading.input)
        if monitor is not None:
            self._concluded(reading.input, monitor.feed(reading))

    def _woken(self, address: str) -> None:
        self._concluded(address, self._monitors[address].wake(self._clock.now_us()))

    def _concluded(self, address: str, found: Sequence[Item]) -> None:
        now_us = self._clock.now_us()
        device, _, channel = address.partition("/")
        for item in found:
            if isinstance(item, Confirmed) and not item.initial:
                unit, place = int(device.rpartition("-")[2]), int(channel.rpartition("-")[2]) - 1
                self.events.append((now_us, unit, place, item.level.value))
        timer = self._timers.pop(address, None)
        if timer is not None:
            timer.cancel()
        due_us = self._monitors[address].deadline()
        if due_us is not None:
            self._timers[address] = self._clock.call_at(
                due_us, partial(self._woken, address), relaxed=due_us - now_us > RELAXED_US
            )

    def _condition(self, condition: Condition) -> None:
        told = (condition.at_us, condition.kind, condition.subject, condition.standing)
        self.conditions.append(told)


async def run(options: argparse.Namespace) -> None:
    """Until standard input ends."""
    clock, loop, ended = SystemClock(), asyncio.get_running_loop(), asyncio.Event()
    watch = Watch(clock)
    bus, devices = corridor(
        port=options.port,
        baud=options.baud,
        units=options.units,
        inputs=options.inputs,
        poll_ms=options.poll_ms,
        profile=shipped(options.profile),
    )
    driver = ModbusDriver(
        [bus],
        devices,
        opener=partial(open_port, clock=clock),
        clock=clock,
        random=random.Random(1),
        report=lambda event, fields: print(event, dict(fields), file=sys.stderr),
        identities={},
        remember=lambda _device, _identity: None,
    )
    wires = watch.wires(devices, options.inputs)
    outputs = [
        DrivenOutput(f"{device.id}/{device.profile.outputs[0].name}")
        for device in devices
        if device.profile.outputs
    ]
    driver.start(wires=wires, outputs=outputs, ear=watch.ear)

    def told() -> None:
        lines = os.read(sys.stdin.fileno(), 4_096).decode().splitlines()
        for _ in lines:
            said = {
                "known": watch.known,
                "of": len(wires),
                "events": watch.events,
                "conditions": watch.conditions,
                "cpu_s": time.process_time(),
                "status": driver.status(),
            }
            print(json.dumps(said), flush=True)
        if not lines:
            ended.set()

    loop.add_reader(sys.stdin, told)
    print("ready", flush=True)
    await ended.wait()
    await driver.stop()


def main() -> None:
    """`python -m benchmarks.watch`: a child of the benchmarks, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch", description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--baud", type=int, required=True)
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--poll-ms", type=int, default=200)
    parser.add_argument("--profile", default="generic")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
