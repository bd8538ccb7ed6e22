"""The real daemon on simulated pins, pressed by lines on standard input: a child of `latency`.

All of it is as `simulators run` starts it, without the buses; only that the finger is told when,
and says at which microsecond the contact closed. `stall MS` makes every later sync of the ledger's
disk that slow.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.gpio import GpioDriver
from gateway.clock import SystemClock
from gateway.config.child import load
from gateway.core.hardware import device_of
from gateway.core.premises import Point, Premises
from gateway.daemon import Gateway
from gateway.desk import Desk
from gateway.keys import load_signing_key
from gateway.log import open_log
from gateway.record.disk import ThreadedDisk
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer
from gateway.seams import Disk, Seams
from gateway.uplink.mqtt import PahoConnector
from simulators.building.hardware import SimulatedPins
from simulators.disk.faulty import FaultyDisk

POINT = "guard-post"
OWED_MEANWHILE = 4
"""What is new by the time the last of a backlog is settled: presses, and what follows them."""

LOOK_EVERY_S = 0.02


class WatchedDisk:
    """The daemon's own disk; keeps the writer, so that the finger can wait for it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.writer: Writer | None = None

    async def open(
        self,
        *,
        start: str,
        fresh_id: str,
        boot: str,
        utc_ms: int,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
    ) -> tuple[Writer, Ledger]:
        """As `seams.Disk.open`."""
        self.writer, ledger = await self._disk.open(
            start=start,
            fresh_id=fresh_id,
            boot=boot,
            utc_ms=utc_ms,
            on_trouble=on_trouble,
            on_recovered=on_recovered,
        )
        return self.writer, ledger


class Finger:
    """Presses one change-over button without bounce, and slows the disk down."""

    def __init__(
        self, pins: SimulatedPins, point: Point, disk: WatchedDisk, faulty: FaultyDisk | None
    ) -> None:
        assert point.input.normally_open is not None
        assert point.input.normally_closed is not None
        self._open = pins.at(point.input.normally_open)
        self._closed = pins.at(point.input.normally_closed)
        self._pins, self._disk, self._faulty = pins, disk, faulty
        self.desk: Desk | None = None
        self._settling: asyncio.Task[None] | None = None
        self._wire(pressed=False)

    def _wire(self, *, pressed: bool) -> None:
        self._closed.wire(closed=not pressed)
        self._open.wire(closed=pressed)

    def obey(self, line: str) -> str | None:
        """Do what a line says; the answer, or None when that is said later.

        `press` answers the microsecond just before the last edge, `drain` answers when everything
        is on disk, `settled` the nanosecond at which nothing of before was owed any more, on disk.
        """
        word, _, number = line.partition(" ")
        match word:
            case "press":
                self._closed.wire(closed=False)
                at_us = round(self._pins.ticks() * 1e6)
                self._open.wire(closed=True)
                return str(at_us)
            case "release":
                self._wire(pressed=False)
            case "stall" if self._faulty is not None:
                self._faulty.sync_delay_s = int(number) / 1e3
            case "drain" if self._disk.writer is not None:
                written = self._disk.writer.call(lambda _ledger: None)
                written.add_done_callback(lambda _: print("drained", flush=True))
                return None
            case "settled" if self.desk is not None:
                settling = self._settled(self.desk, self._disk.writer)
                self._settling = asyncio.get_running_loop().create_task(settling)
                return None
            case _:
                return f"what is {line!r}?"
        return "done"

    async def _settled(self, desk: Desk, writer: Writer | None) -> None:
        """Ask as `qorgan status` does until next to nothing is owed, then wait for the disk."""
        owed = OWED_MEANWHILE + 1
        while owed > OWED_MEANWHILE:
            await asyncio.sleep(LOOK_EVERY_S)
            async for told in desk.status(None):
                owed = sum(_owed_by(told["routes"]))
        assert writer is not None
        await writer.call(lambda _ledger: None)
        print(time.monotonic_ns(), flush=True)


def _owed_by(routes: Any) -> Iterator[int]:
    for route in routes.values():
        yield from route["owed"].values()


class _Ready:
    """Says `ready` on standard output; there is no systemd here."""

    def ready(self, status: str) -> None:
        del status
        print("ready", flush=True)

    def alive(self) -> None:
        """Nobody listens."""

    def stopping(self) -> None:
        """Nobody listens."""


def on_pins(premises: Premises, only: str | None) -> Premises:
    """Without its buses and what hangs on them, which are `bus`'s to measure.

    only: the one route that is kept; None for all.
    """
    points = tuple(
        point
        for point in premises.points
        if not any(device_of(address) for address in point.input.addresses)
    )
    routes = tuple(route for route in premises.routes if only in {None, route.id})
    return replace(premises, points=points, buses=(), devices=(), reactions=(), routes=routes)


async def run(options: argparse.Namespace) -> int:
    """Until standard input ends or SIGTERM."""
    whole = (await load(options.config)).premises
    if whole is None:
        return 3
    premises = on_pins(whole, options.route)
    clock, log = SystemClock(), open_log("qorgan")
    pins = SimulatedPins(clock.now_us)
    for point in premises.points:
        if point.input.normally_closed is not None:
            pins.at(point.input.normally_closed).wire(closed=True)
    faulty = FaultyDisk() if options.faulty else None
    disk = WatchedDisk(ThreadedDisk(str(options.ledger), vfs=faulty.name if faulty else None))
    seams = Seams(
        clock=clock,
        random=random.SystemRandom(),
        disk=disk,
        connector=PahoConnector(),
        driver=GpioDriver(factory=pins, now_us=clock.now_us, report=log),
        log=log,
    )
    finger = Finger(pins, next(p for p in premises.points if p.id == POINT), disk, faulty)
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)

    def told() -> None:
        lines = os.read(sys.stdin.fileno(), 4_096).decode().splitlines()
        for line in lines:
            answer = finger.obey(line)
            if answer is not None:
                print(answer, flush=True)
        if not lines:
            stopping.set()

    loop.add_reader(sys.stdin, told)
    gateway = await Gateway.open(premises, seams, signer=load_signing_key(Path(premises.key_file)))
    finger.desk = gateway.desk
    await gateway.run(stopping=stopping, health=_Ready())
    return 0


def main() -> int:
    """`python -m benchmarks.pressed`: a child of the benchmarks, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pressed", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--faulty", action="store_true", help="on a disk that `stall` slows down")
    parser.add_argument("--route", help="keep this route only")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
