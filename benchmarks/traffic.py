"""Bytes on the wire of a gateway at rest, beside what `qorgan check` says of its configuration.

    python -m benchmarks.traffic [--quick] [--json] [--minutes N]

The real daemon over TLS to two brokers, each behind a ferry that reads from the kernel how many
bytes and segments its connection has carried. An operator bills those with their TCP and IP
headers, and so are they counted here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.command import ended, parser
from benchmarks.desk import Desk
from benchmarks.footprint import PINS
from benchmarks.stage import Stage, Trouble, running, say, set_up
from benchmarks.table import Figure, at_least, at_most, show, told
from gateway.config.child import load
from gateway.config.traffic import MONTH_MS, at_rest
from gateway.core.premises import Premises
from gateway.piped import piped
from simulators.network.brokers import free_port
from simulators.network.ferry import Carried, Ferry
from simulators.site import CENTRES, GATEWAY

LEAST_RATIO, MOST_RATIO = 0.8, 1.2
MINUTES, MINUTES_QUICK = 3, 0.25
"""A standby uplink's heartbeat comes once in each. A quick run leaves that one out."""
STANDBY_S = 60
QUIET_AFTER_S = 1.5
"""From a heartbeat to the beginning of the count: its answers are over, the next is not yet due."""
LIVE_WITHIN_S = 60.0

_WHOLE = re.MULTILINE | re.DOTALL

UPLINK = """
  {name}:
    url: mqtts://127.0.0.1:{port}
    mqtt: "{mqtt}"
    ca: ca.pem
    certificate: gateway.pem
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One uplink on its way: its ferry, and the desks at its far end."""

    name: str
    ferry: Ferry
    desks: tuple[Desk, ...]


def rewritten(stage: Stage, ports: dict[str, int]) -> None:
    """Give the site's configuration these uplinks, each at its ferry, and every route both."""
    text = stage.site.config.read_text(encoding="utf-8")
    uplinks = "".join(
        UPLINK.format(name=name, port=port, mqtt=stage.mqtt) for name, port in ports.items()
    )
    text = re.sub(r"^uplinks:.*?(?=^routes:)", f"uplinks:{uplinks}\n", text, flags=_WHOLE)
    text = text.replace("via: [campus]", f"via: [{', '.join(ports)}]")
    stage.site.config.write_text(text, encoding="utf-8")


@contextlib.asynccontextmanager
async def ways(stage: Stage) -> AsyncIterator[tuple[Way, Way]]:
    """Both uplinks, each with a broker of its own behind a ferry, and their desks at work."""
    port = free_port()
    second = type(stage.broker)(
        stage.directory / "lte", stage.broker.pki, gateways=(GATEWAY,), port=port
    )
    opened: list[Desk] = []
    with second, Ferry(stage.broker.port) as campus, Ferry(port) as lte:
        try:
            found = []
            for name, ferry, broker in (("campus", campus, stage.broker), ("lte", lte, second)):
                desks = [
                    Desk(replace(stage, broker=broker), route, lambda *_: None) for route in CENTRES
                ]
                opened += desks
                for desk in desks:
                    await desk.open()
                found.append(Way(name, ferry, tuple(desks)))
            yield found[0], found[1]
        finally:
            for desk in opened:
                await desk.close()


async def beaten(way: Way) -> None:
    """Return when the next heartbeats of every route have come over it."""
    for desk in way.desks:
        desk.heard.clear()
    try:
        async with asyncio.timeout(LIVE_WITHIN_S + STANDBY_S):
            for desk in way.desks:
                await desk.heard.wait()
    except TimeoutError:
        raise Trouble(f"no heartbeat came over {way.name}") from None


async def counted(way: Way, seconds: float) -> tuple[Carried, float]:
    """What it carries in whole periods of its heartbeats, and in how many seconds exactly."""
    await beaten(way)
    await asyncio.sleep(QUIET_AFTER_S)
    before, began = way.ferry.carried(), time.monotonic()
    await asyncio.sleep(seconds)
    return way.ferry.carried().since(before), time.monotonic() - began


async def measured(stage: Stage, minutes: float) -> tuple[Premises, dict[str, Carried]]:
    """The configuration, and what each uplink carried in that time."""
    async with ways(stage) as (campus, lte):
        rewritten(stage, {way.name: way.ferry.port for way in (campus, lte)})
        result = await load(stage.site.config)
        if result.premises is None:
            raise Trouble("; ".join(str(mistake) for mistake in result.mistakes))
        control = ["--control", str(stage.site.control)]
        command = ["-m", "simulators", "run", "--config", str(stage.site.config), *control]
        async with running("qorgan", command):
            chosen = (campus, lte) if minutes >= 1 else (campus,)
            for way in chosen:
                await beaten(way)
            say(f"at rest for {minutes * STANDBY_S:g} s")
            async with asyncio.TaskGroup() as tasks:
                counts = [
                    tasks.create_task(counted(way, minutes * STANDBY_S), name=way.name)
                    for way in chosen
                ]
        found = {way.name: task.result()[0] for way, task in zip(chosen, counts, strict=True)}
        return result.premises, found


def figures(premises: Premises, found: dict[str, Carried], minutes: float) -> list[Figure]:
    """The table."""
    rows: list[Figure] = []
    for uplink in premises.uplinks:
        if uplink.id not in found:
            continue
        carried, seconds = found[uplink.id], minutes * STANDBY_S
        said = sum(at_rest(premises, uplink, MONTH_MS)) * seconds * 1_000 / MONTH_MS
        month_mb = carried.wire_bytes * MONTH_MS / seconds / 1e9
        ratio = carried.wire_bytes / said
        rows += [
            told(f"{uplink.id}: payload up", carried.up_bytes, "B"),
            told(f"{uplink.id}: payload down", carried.down_bytes, "B"),
            told(f"{uplink.id}: segments", carried.segments),
            told(f"{uplink.id}: a month like this", month_mb, "MB"),
            told(f"{uplink.id}: a month by `check`", said * MONTH_MS / seconds / 1e9, "MB"),
            at_least(f"{uplink.id}: measured / predicted", ratio, LEAST_RATIO, "x"),
            at_most(f"{uplink.id}: measured / predicted", ratio, MOST_RATIO, "x"),
        ]
    return rows


def bench(options: argparse.Namespace, parent: Path | None = None) -> int:
    """Measure and print; the exit code."""
    minutes = options.minutes or (MINUTES_QUICK if options.quick else MINUTES)
    with set_up(parent, template=PINS.read_text(encoding="utf-8")) as stage:
        premises, found = asyncio.run(measured(stage, minutes))
        context: dict[str, str | int | float | bool] = {
            "daemon": "the real one on simulated pins, two routes over two uplinks, nothing open",
            "broker": f"two of {stage.words}",
            "seconds": minutes * STANDBY_S,
        }
    rows = figures(premises, found, minutes)
    return show("Traffic at rest", rows, as_json=options.json, context=context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("traffic", __doc__, quick="15 s, of the uplink in use only: under 30 s")
    made.add_argument("--minutes", type=float, help=f"how long (default {MINUTES})")
    options = made.parse_args(arguments)
    return ended(lambda: bench(options))


if __name__ == "__main__":
    sys.exit(piped(main))
