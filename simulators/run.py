"""`python -m simulators run`: the real daemon on simulated pins, with a control socket for fingers.

Everything but the pins is as on a device: configuration, ledger, TLS, signals.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.base import DriverError, Memory
from drivers.fitted import fitted
from gateway.clock import SystemClock
from gateway.config.child import load
from gateway.control import listening, socket_of
from gateway.daemon import Gateway
from gateway.health import Systemd
from gateway.keys import KeyFileError, load_signing_key
from gateway.log import open_log
from gateway.record.disk import ThreadedDisk
from gateway.record.ledger import LedgerBusy
from gateway.seams import Disk, Seams
from gateway.uplink.mqtt import PahoConnector
from simulators.building.control import Control, ControlError
from simulators.building.hardware import Bench, SimulatedPins
from simulators.building.waveforms import Shape
from simulators.bus.plant import Plant


class HeldError(Exception):
    """A button that is to be held in from the start, and cannot be. Says what there is."""


async def run(
    config: Path,
    control: Path,
    *,
    seed: int = 0,
    held: Sequence[str] = (),
    disk: Callable[[str], Disk] = ThreadedDisk,
) -> int:
    """Run until SIGTERM or Ctrl-C. 0 clean, 1 something could not be opened, 3 configuration.

    held: points whose buttons somebody holds in from before the start. disk: opens the ledger at
    that path.
    """
    result = await load(config)
    for mistake in result.mistakes:
        print(mistake, file=sys.stderr)
    if result.premises is None:
        return 3
    premises, log, clock = result.premises, open_log("qorgan"), SystemClock()
    pins = SimulatedPins(clock.now_us)
    dice, memory = random.Random(seed), Memory()
    plant = Plant(premises, clock=clock, random=dice)
    bench = Bench(premises, pins, clock=clock, random=dice, plant=plant)
    driver = fitted(
        premises,
        factory=pins,
        clock=clock,
        random=random.SystemRandom(),
        report=log,
        memory=memory,
    )
    seams = Seams(
        clock=clock,
        random=random.SystemRandom(),
        disk=disk(premises.ledger.path),
        connector=PahoConnector(),
        driver=driver,
        log=log,
        memory=memory,
    )
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    try:
        signer = load_signing_key(Path(premises.key_file))
        await _hold(bench, held)
        async with plant.serve(), Control(control, bench):
            gateway = await Gateway.open(premises, seams, signer=signer)
            where = socket_of(Path(premises.ledger.path).parent)
            async with listening(where, gateway.desk.handlers, log):
                await gateway.run(stopping=stopping, health=Systemd())
    except (KeyFileError, LedgerBusy, DriverError, ControlError, HeldError) as error:
        print(f"simulators run: {error}", file=sys.stderr)
        return 1
    return 0


async def _hold(bench: Bench, points: Sequence[str]) -> None:
    for point in points:
        try:
            await bench.press(point, Shape.STUCK)
        except ValueError as error:
            raise HeldError(f"--held: {error}") from error
