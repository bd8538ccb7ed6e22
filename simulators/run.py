"""`python -m simulators run`: the real daemon on simulated pins, with a control socket for fingers.

Everything but the pins is as on a device: configuration, ledger, TLS, signals.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
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
from gateway.seams import Seams
from gateway.uplink.mqtt import PahoConnector
from simulators.building.control import Control, ControlError
from simulators.building.hardware import Bench, SimulatedPins
from simulators.bus.plant import Plant


async def run(config: Path, control: Path, *, seed: int = 0) -> int:
    """Run until SIGTERM or Ctrl-C. 0 clean, 1 something could not be opened, 3 configuration."""
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
        disk=ThreadedDisk(premises.ledger.path),
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
        async with plant.serve(), Control(control, bench):
            gateway = await Gateway.open(premises, seams, signer=signer)
            where = socket_of(Path(premises.ledger.path).parent)
            async with listening(where, gateway.desk.handlers, log):
                await gateway.run(stopping=stopping, health=Systemd())
    except (KeyFileError, LedgerBusy, DriverError, ControlError) as error:
        print(f"simulators run: {error}", file=sys.stderr)
        return 1
    return 0
