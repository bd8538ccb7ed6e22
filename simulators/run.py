"""`python -m simulators run`: the real daemon on simulated pins, with a control socket for fingers.

Everything but the pins is as on a device: configuration, ledger, TLS, signals.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

from drivers.base import DriverError
from drivers.gpio import GpioDriver
from gateway.clock import SystemClock
from gateway.config.child import load
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


async def run(config: Path, control: Path, *, seed: int = 0) -> int:
    """Run until SIGTERM or Ctrl-C. 0 clean, 1 something could not be opened, 3 configuration."""
    result = await load(config)
    for mistake in result.mistakes:
        print(mistake, file=sys.stderr)
    if result.premises is None:
        return 3
    premises, log, clock = result.premises, open_log("qorgan"), SystemClock()
    pins = SimulatedPins(clock.now_us)
    bench = Bench(premises, pins, clock=clock, random=random.Random(seed))
    seams = Seams(
        clock=clock,
        random=random.SystemRandom(),
        disk=ThreadedDisk(premises.ledger.path),
        connector=PahoConnector(),
        driver=GpioDriver(factory=pins, now_us=clock.now_us, report=log),
        log=log,
    )
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    try:
        signer = load_signing_key(Path(premises.key_file))
        async with Control(control, bench):
            gateway = await Gateway.open(premises, seams, signer=signer)
            await gateway.run(stopping=stopping, health=Systemd())
    except (KeyFileError, LedgerBusy, DriverError, ControlError) as error:
        print(f"simulators run: {error}", file=sys.stderr)
        return 1
    return 0
