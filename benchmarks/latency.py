"""From the confirmed press to the verified message, as multiples of the least program.

    python -m benchmarks.latency [--quick] [--json] [--pairs N]

Qorgan and the least program run as processes of their own beside one broker and take turns, press
by press, so that whatever else the machine does hits both. The second part lets every sync of the
ledger's disk take 500 ms and says what that adds. benchmarks/README.md says how it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.command import add_goals, add_real_time, ended, parser
from benchmarks.desk import Desk
from benchmarks.stage import (
    LEAST,
    SCHEDULING,
    Program,
    Stage,
    Trouble,
    percentile,
    real_time,
    running,
    say,
    set_up,
)
from benchmarks.table import Figure, at_most, show, told
from gateway.core.debounce import PERSON
from gateway.piped import piped
from simulators.site import CENTRES, GATEWAY

RATIO_GOAL = 2.0
ADDED_GOAL_MS = 60.0
STALL_MS = 500

PAIRS, PAIRS_QUICK = 300, 12
WARM_UP, WARM_UP_QUICK = 5, 2
"""Presses of each that are not counted, before those that are."""
BLOCK = 5
"""Presses between switching the stall on and off: the later ones meet a sync under way."""

MEMORY = Path("/dev/shm")  # noqa: S108 -- the mount itself; a folder of its own is made in it
PAUSE_S = 0.06
"""Quiet before every press: receipts settled, commits done."""
ARRIVE_WITHIN_S = 10.0

RAISED = "org.qorgan.alarm.panic.raised"
CLEARED = "org.qorgan.alarm.panic.cleared"


class Inbox:
    """Wakes whoever waits for the next message of a sender and type."""

    def __init__(self) -> None:
        self._expected: dict[tuple[str, str], asyncio.Future[int]] = {}

    def expect(self, sender: str, type_: str) -> asyncio.Future[int]:
        """The monotonic nanoseconds at which the next one will have been verified."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._expected[sender, type_] = future
        return future

    def verified(self, sender: str, payload: dict[str, Any], at_ns: int) -> None:
        """A Desk's news."""
        future = self._expected.pop((sender, payload["type"]), None)
        if future is not None and not future.done():
            future.set_result(at_ns)


@dataclass(slots=True)
class Samples:
    """Milliseconds from confirmed (or triggered) to verified, in the order they were measured."""

    qorgan: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)


async def arrival(future: asyncio.Future[int], who: Program) -> int:
    """The nanoseconds an Inbox was asked for; Trouble when what `who` was told of never came."""
    try:
        async with asyncio.timeout(ARRIVE_WITHIN_S):
            return await future
    except TimeoutError:
        raise Trouble(f"a press or flip never came to the centre: {who.last_words}") from None


async def press_qorgan(daemon: Program, inbox: Inbox) -> float:
    """One alarm from the press to its end; milliseconds from its confirmation to verified.

    A clean press is confirmed `confirm_us` after its last edge, exactly; being late for that
    moment is part of what is measured. The alarm is then closed by the desk and the button let
    go, so that the next press raises a new one.
    """
    raised, cleared = inbox.expect(GATEWAY, RAISED), inbox.expect(GATEWAY, CLEARED)
    edge_us = int(await daemon.ask("press"))
    at_ns = await arrival(raised, daemon)
    await daemon.ask("release")
    await arrival(cleared, daemon)
    await asyncio.sleep(PAUSE_S)
    return (at_ns / 1e3 - edge_us - PERSON.confirm_us) / 1e3


async def press_least(least: Program, inbox: Inbox) -> float:
    """One message of the least program; milliseconds from its trigger to verified."""
    raised = inbox.expect(LEAST, RAISED)
    trigger_ns = int(await least.ask("press"))
    at_ns = await arrival(raised, least)
    await asyncio.sleep(PAUSE_S)
    return (at_ns - trigger_ns) / 1e6


@contextlib.asynccontextmanager
async def desks(stage: Stage) -> AsyncIterator[Inbox]:
    """A desk for every route; gives the security desk's inbox."""
    inbox = Inbox()
    opened = [
        Desk(stage, route, inbox.verified if route == "security" else lambda *_: None)
        for route in CENTRES
    ]
    try:
        for desk in opened:
            await desk.open()
        yield inbox
    finally:
        for desk in opened:
            await desk.close()


def daemon(stage: Stage, ledger: Path, *options: str) -> list[str]:
    """The command line of the daemon under test."""
    config = str(stage.site.config)
    return ["-m", "benchmarks.pressed", "--config", config, "--ledger", str(ledger), *options]


async def take_turns(stage: Stage, folder: Path, pairs: int, warm_up: int) -> Samples:
    """Qorgan and the least program press by press, their ledgers in `folder`."""
    samples = Samples()
    command = stage.least("press", "--ledger", str(folder / "least.db"))
    async with (
        desks(stage) as inbox,
        running("qorgan", daemon(stage, folder / "ledger.db")) as qorgan,
        running("least", command) as least,
    ):
        for program in (qorgan, least):
            await program.ask()
        await asyncio.sleep(1.0)  # its connection and its birth are not what is measured
        for number in range(-warm_up, pairs):
            found = await press_qorgan(qorgan, inbox), await press_least(least, inbox)
            if number >= 0:
                samples.qorgan.append(found[0])
                samples.other.append(found[1])
            if number > 0 and number % 50 == 49:
                say(f"{number + 1} of {pairs} pairs")
    return samples


async def with_stalls(stage: Stage, folder: Path, pairs: int, warm_up: int) -> Samples:
    """Blocks of presses with every sync stalled (`qorgan`) and not (`other`), one daemon."""
    samples = Samples()
    command = daemon(stage, folder / "stalled.db", "--faulty")
    async with desks(stage) as inbox, running("qorgan", command) as qorgan:
        await qorgan.ask()
        await asyncio.sleep(1.0)
        for _ in range(warm_up):
            await press_qorgan(qorgan, inbox)
        while len(samples.other) < pairs:
            for stall_ms, into in ((STALL_MS, samples.qorgan), (0, samples.other)):
                await qorgan.ask(f"stall {stall_ms}")
                for _ in range(BLOCK):
                    into.append(await press_qorgan(qorgan, inbox))
                await qorgan.ask("stall 0")
                await qorgan.ask("drain")
                await asyncio.sleep(PAUSE_S)
            if len(samples.other) % 50 == 0:
                say(f"stalled: {len(samples.other)} of {pairs} pairs")
    return samples


def ratios(samples: Samples, where: str, goal: float) -> list[Figure]:
    """Both programs' percentiles and Qorgan's as multiples of the least program's."""
    rows = []
    for percent in (50, 99):
        mine, least = (percentile(s, percent) for s in (samples.qorgan, samples.other))
        rows += [
            told(f"ledger {where}: least program, p{percent}", least, "ms"),
            told(f"ledger {where}: Qorgan, p{percent}", mine, "ms"),
            at_most(f"ledger {where}: Qorgan / least, p{percent}", mine / least, goal, "x"),
        ]
    return rows


def added(samples: Samples, goal_ms: float) -> list[Figure]:
    """What stalled syncs add, percentile by percentile."""
    rows = []
    for percent in (50, 99):
        slow, well = (percentile(s, percent) for s in (samples.qorgan, samples.other))
        rows += [
            told(f"syncs as they are: Qorgan, p{percent}", well, "ms"),
            told(f"every sync {STALL_MS} ms: Qorgan, p{percent}", slow, "ms"),
            at_most(f"added by the stall, p{percent}", slow - well, goal_ms, "ms"),
        ]
    return rows


@contextlib.contextmanager
def staged(memory: Path) -> Iterator[tuple[Stage, dict[str, Path]]]:
    """The stage, and where the ledgers lie in turn: on disk, then where a sync costs nothing.

    Without a folder in memory there is only the disk, for the broker's store too.
    """
    parent = memory if memory.is_dir() else None
    with set_up(parent) as stage, tempfile.TemporaryDirectory(prefix="qorgan-bench-") as name:
        found = {"on disk": Path(name)}
        if parent is not None:
            found["in memory"] = stage.directory
        yield stage, found


async def measure(options: argparse.Namespace) -> int:
    """Run both parts and print; the exit code."""
    pairs = options.pairs or (PAIRS_QUICK if options.quick else PAIRS)
    warm_up = WARM_UP_QUICK if options.quick else WARM_UP
    stalled_pairs = -(-pairs // 3 // BLOCK) * BLOCK
    if options.real_time:
        real_time()
    rows: list[Figure] = []
    with staged(options.memory) as (stage, folders):
        for where, folder in folders.items():
            say(f"ledger {where}: {pairs} pairs")
            samples = await take_turns(stage, folder, pairs, warm_up)
            rows += ratios(samples, where, options.goal_ratio)
        say(f"stalled: {stalled_pairs} pairs")
        samples = await with_stalls(stage, folders["on disk"], stalled_pairs, warm_up)
        rows += added(samples, options.goal_added_ms)
        context = {
            "measured": "from confirmed (least program: triggered) to verified at the centre",
            "broker": stage.words,
            "presses of each": pairs,
            "presses of each, stalled": stalled_pairs,
            "not counted before": warm_up,
            "scheduling": SCHEDULING[options.real_time],
        }
    return show("Latency", rows, as_json=options.json, context=context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("latency", __doc__, quick="few presses: under 30 s")
    made.add_argument("--pairs", type=int, help=f"presses of each (default {PAIRS})")
    made.add_argument(
        "--memory", type=Path, default=MEMORY, help="a folder in memory (default %(default)s)"
    )
    add_real_time(made)
    add_goals(made, {"ratio": (RATIO_GOAL, "X"), "added-ms": (ADDED_GOAL_MS, "MS")})
    options = made.parse_args(arguments)
    return ended(lambda: asyncio.run(measure(options)))


if __name__ == "__main__":
    sys.exit(piped(main))
