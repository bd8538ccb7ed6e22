"""From an input's flip on a unit to its message at the centre, as a multiple of the least program.

The whole daemon (`qorgan run`) and the least program poll a line each, every 50 ms, and take turns,
flip by flip, through one broker to one desk. The flips are spread evenly over the period between
two looks, so the median is that of all moments. Only closings are timed.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from benchmarks import bused
from benchmarks.footprint import started
from benchmarks.latency import CLEARED, RAISED, Inbox, Samples, arrival, desks
from benchmarks.stage import LEAST, Program, Stage, percentile, running, say, set_up
from benchmarks.table import Figure, at_most, told
from simulators.site import GATEWAY

RATIO_GOAL = 1.2
LEVEL, COUNTED = "generic", "wb-mcm8"
"""Profiles: a unit that only shows levels, and one that counts closings."""
WORDS = {LEVEL: "a level", COUNTED: "a counted input"}
FUNCTIONS = {LEVEL: 2, COUNTED: 4}
"""What tells the press first: a discrete input, an input register."""
SETTLED_S = 1.0
PAUSE_S = 0.05


async def _flip(slave: Program, function: int, phase_us: int) -> int:
    return int(await slave.ask(f"flip 1 0 {function} {phase_us}"))


async def take_turns(stage: Stage, profile: str, pairs: int, warm_up: int) -> Samples:
    """Flips of Qorgan's unit and the least program's, one after the other."""
    samples, function = Samples(), FUNCTIONS[profile]
    async with AsyncExitStack() as stack:
        inbox: Inbox = await stack.enter_async_context(desks(stage))
        mine, port = await stack.enter_async_context(bused.line(1))
        bused.plug(stage, port)
        other, port = await stack.enter_async_context(bused.line(1))
        qorgan, _ = await stack.enter_async_context(started(stage))
        command = bused.least(stage, port, 1)
        least = await stack.enter_async_context(running("least", command))
        await least.ask()
        await asyncio.sleep(SETTLED_S)
        for number in range(-warm_up, pairs):
            phase_us = round((number % pairs + 0.5) / pairs * bused.POLL_MS * 1_000)
            raised, cleared = inbox.expect(GATEWAY, RAISED), inbox.expect(GATEWAY, CLEARED)
            at_us = await _flip(mine, function, phase_us)
            mine_ms = (await arrival(raised, qorgan) / 1e3 - at_us) / 1e3
            await _flip(mine, 2, 0)
            await arrival(cleared, qorgan)
            raised = inbox.expect(LEAST, RAISED)
            at_us = await _flip(other, 2, phase_us)
            least_ms = (await arrival(raised, least) / 1e3 - at_us) / 1e3
            await _flip(other, 2, 0)
            await asyncio.sleep(PAUSE_S)
            if number >= 0:
                samples.qorgan.append(mine_ms)
                samples.other.append(least_ms)
    return samples


async def measure(pairs: int, warm_up: int) -> dict[str, Samples]:
    """Both kinds of unit, the ledger on disk."""
    found = {}
    for profile, words in WORDS.items():
        with set_up(template=bused.template(1, profile)) as stage:
            found[profile] = await take_turns(stage, profile, pairs, warm_up)
            say(f"{words}: {pairs} pairs of flips")
    return found


def figures(found: dict[str, Samples], goal: float) -> list[Figure]:
    """Medians and their ratio, for each kind of unit."""
    rows: list[Figure] = []
    for profile, samples in found.items():
        where = f"flip of {WORDS[profile]}, {bused.POLL_MS} ms poll: "
        mine, least = (percentile(each, 50) for each in (samples.qorgan, samples.other))
        rows += [
            told(f"{where}least program, p50", least, "ms"),
            told(f"{where}Qorgan, p50", mine, "ms"),
            at_most(f"{where}Qorgan / least, p50", mine / least, goal, "x"),
        ]
    return rows
