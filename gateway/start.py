"""Starts the daemon on a real machine: configuration, key, seams, signals. No logic of its own.

The configuration's child is started before the heavy imports, so that both cores work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from gateway.config.child import read_child, start_child
from gateway.deferred import defer_unused


def run(config: Path, *, pins: Literal["lgpio", "mock"]) -> int:
    """`qorgan run`: 0 after a clean stop, 1 when the hardware fails, 3 for a bad configuration."""
    child = start_child(config)
    defer_unused()
    import asyncio  # noqa: PLC0415 -- loads while the child validates
    import random  # noqa: PLC0415 -- as above
    import signal  # noqa: PLC0415 -- as above

    from drivers.base import DriverError, Memory  # noqa: PLC0415 -- loads while the child validates
    from drivers.fitted import fitted  # noqa: PLC0415 -- as above
    from drivers.gpio import open_pins  # noqa: PLC0415 -- as above
    from gateway.clock import SystemClock  # noqa: PLC0415 -- as above
    from gateway.control import listening, socket_of  # noqa: PLC0415 -- as above
    from gateway.daemon import Gateway  # noqa: PLC0415 -- as above
    from gateway.health import Systemd  # noqa: PLC0415 -- as above
    from gateway.keys import KeyFileError, load_signing_key  # noqa: PLC0415 -- as above
    from gateway.log import open_log  # noqa: PLC0415 -- as above
    from gateway.record.disk import ThreadedDisk  # noqa: PLC0415 -- as above
    from gateway.record.ledger import LedgerBusy  # noqa: PLC0415 -- as above
    from gateway.seams import Seams  # noqa: PLC0415 -- as above
    from gateway.uplink.mqtt import PahoConnector  # noqa: PLC0415 -- as above

    result = read_child(child)
    for mistake in result.mistakes:
        print(mistake, file=sys.stderr)
    if result.premises is None:
        return 3
    premises, log = result.premises, open_log("qorgan")
    for warning in result.warnings:
        log("configuration", {"level": "warning", "warning": str(warning)})
    clock = SystemClock()
    try:
        signer = load_signing_key(Path(premises.key_file))
        factory = open_pins(pins)
    except (KeyFileError, DriverError) as error:
        print(f"qorgan run: {error}", file=sys.stderr)
        return 3 if isinstance(error, KeyFileError) else 1
    if pins == "mock":
        log("no hardware: pins are simulated", {"level": "warning"})
    memory, dice = Memory(), random.SystemRandom()
    driver = fitted(premises, factory=factory, clock=clock, random=dice, report=log, memory=memory)
    seams = Seams(
        clock=clock,
        random=dice,
        disk=ThreadedDisk(premises.ledger.path),
        connector=PahoConnector(),
        driver=driver,
        log=log,
        memory=memory,
    )

    async def live() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopping.set)
        gateway = await Gateway.open(premises, seams, signer=signer)
        where = socket_of(Path(premises.ledger.path).parent)
        async with listening(where, gateway.desk.handlers, log):
            await gateway.run(stopping=stopping, health=Systemd())

    try:
        asyncio.run(live())
    except (LedgerBusy, DriverError) as error:
        print(f"qorgan run: {error}", file=sys.stderr)
        return 1
    return 0
