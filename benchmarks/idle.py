"""What eight units at 50 ms cost while nothing happens, beside the least program that asks as many.

Each has a line of its own, alike to the byte; both are connected to one broker over mutual TLS and
send as many heartbeats. CPU is read over the same seconds, side by side; memory before the least
program is started.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks import bused
from benchmarks.desk import Desk
from benchmarks.footprint import Weight, cpu_ns, heartbeats, started
from benchmarks.stage import Program, Trouble, running, say, set_up
from benchmarks.table import Figure, at_least, at_most, told
from simulators.site import CENTRES

UNITS = 8
PROFILE = "generic"
SETTLED_S = 1.5
PACE_GOAL_PERCENT = 95.0
"""Of the reads asked for: a program that asks less costs less."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Weight in MB, CPU in per cent of a core, and the share of the reads asked for that came."""

    weight: Weight
    mine: float
    other: float
    pace: float
    other_pace: float


async def measure(seconds: float) -> Rest:
    """Both programs at rest over the same seconds."""
    with set_up(template=bused.template(UNITS, PROFILE)) as stage:
        async with AsyncExitStack() as stack:
            opened = [Desk(stage, route, lambda *_: None) for route in CENTRES]
            for desk in opened:
                await desk.open()
                stack.push_async_callback(desk.close)
            mine, port = await stack.enter_async_context(bused.line(UNITS))
            bused.plug(stage, port)
            daemon, _ = await stack.enter_async_context(started(stage))
            await heartbeats(opened)
            await asyncio.sleep(SETTLED_S)
            weight = Weight.of(daemon.pid)
            other, port = await stack.enter_async_context(bused.line(UNITS))
            command = bused.least(stage, port, UNITS)
            least = await stack.enter_async_context(running("least", command))
            await least.ask()
            await asyncio.sleep(SETTLED_S)
            say(f"{UNITS} units at {bused.POLL_MS} ms, idle for {seconds:g} s")
            for slave in (mine, other):
                await slave.ask("report")
            pids, began = (daemon.pid, least.pid), time.monotonic()
            before = [cpu_ns(pid) for pid in pids]
            await asyncio.sleep(seconds)
            after, lasted_s = [cpu_ns(pid) for pid in pids], time.monotonic() - began
            paces = [await _pace(slave, lasted_s) for slave in (mine, other)]
            weight = max(weight, Weight.of(daemon.pid), key=lambda each: each.resident)
    spent = [(end - begin) / 1e7 / lasted_s for begin, end in zip(before, after, strict=True)]
    return Rest(weight, spent[0], spent[1], paces[0], paces[1])


async def _pace(slave: Program, lasted_s: float) -> float:
    requests: int = json.loads(await slave.ask("report"))["requests"]
    if not requests:
        raise Trouble("nobody asks the units")
    return 100 * requests / (lasted_s * UNITS * 1_000 / bused.POLL_MS)


def figures(
    rest: Rest, *, goal_idle: float, goal_pace: float, goal_rss_mb: float, goal_anonymous_mb: float
) -> list[Figure]:
    """CPU as a multiple, the pace of both, and memory with the bus loaded."""
    where = f"{UNITS} units at {bused.POLL_MS} ms: "
    return [
        told(f"{where}idle CPU", rest.mine, "% of a core"),
        told(f"{where}idle CPU of the least program", rest.other, "% of a core"),
        at_most(f"{where}idle CPU / least program's", rest.mine / rest.other, goal_idle, "x"),
        at_least(f"{where}reads made of those asked for", rest.pace, goal_pace, "%"),
        told(f"{where}the least program's", rest.other_pace, "%"),
        at_most(f"{where}RSS", rest.weight.resident, goal_rss_mb, "MB"),
        at_most(f"{where}Pss_Anon", rest.weight.anonymous, goal_anonymous_mb, "MB"),
    ]
