"""What an outage leaves behind, how fast it goes, and what a new alarm feels of it: the drain.

    python -m benchmarks.drain [--quick] [--json] [--messages N] [--owed N] [--real-time]

The ledger owes one route thousands of messages and the broker is dead; it comes back. The daemon,
mosquitto and a centre with a FULL-synced store are processes of their own. `--owed N` is the
ledger with a great many: what it weighs, how soon it is live. benchmarks/README.md says how.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import add_goals, add_real_time, ended, parser
from benchmarks.footprint import PINS
from benchmarks.outage import Scene, Times, fill, outage
from benchmarks.stage import (
    LEAST,
    SCHEDULING,
    Stage,
    Trouble,
    percentile,
    real_time,
    running,
    say,
    set_up,
)
from benchmarks.table import Figure, at_least, at_most, show, told
from gateway.piped import piped

RATE_GOAL = 1_500.0
"""Messages a second, settled on disk."""
FIRST_GOAL_MS = 1_000.0
GROWTH_GOAL_MB = 10.0
LIVE_GOAL_MS = 1_000.0

MESSAGES, MESSAGES_QUICK = 20_000, 2_000
OUTAGES, OUTAGES_QUICK = 5, 1
FEW = 40
OWED, OWED_QUICK = 1_000_000, 50_000
MEMORY = Path("/dev/shm")  # noqa: S108 -- the mount itself; a folder of its own is made in it
SOME, SOME_QUICK = 30_000, 2_000
"""So many of a great many are waited for: the others are still owed while memory is read."""


async def rate(stage: Stage, folder: Path, count: int) -> Times:
    """An outage that leaves so many, to the last of them."""
    ledger = folder / "rate.db"
    await fill(stage, ledger, count)
    async with outage(stage, folder, ledger, count) as scene:
        await scene.broker_back()
        await scene.drained()
        return _sound(scene)


async def pressed(stage: Stage, folder: Path, count: int) -> Times:
    """The same with new alarms all the while, and as many when all is quiet again."""
    ledger = folder / "pressed.db"
    await fill(stage, ledger, count)
    async with outage(stage, folder, ledger, count) as scene:
        await scene.broker_back()
        await scene.pressed()
        return _sound(scene)


def _sound(scene: Scene) -> Times:
    """Times are told only of a drain that was whole: all of it, once, believed."""
    counted, owed = scene.times.counted, scene.times.owed
    came = counted["alarms"] + counted["log"]
    if came != owed or counted["refused"] or counted["broken"]:
        raise Trouble(f"of {owed} owed messages there came {counted}")
    return scene.times


async def few(stage: Stage, folder: Path, outages: int) -> list[float]:
    """Milliseconds from the broker being back to the first owed message, outage by outage."""
    found = []
    for number in range(outages):
        ledger = folder / f"few-{number}.db"
        await fill(stage, ledger, FEW)
        async with outage(stage, folder, ledger, FEW) as scene:
            await scene.broker_back()
            await scene.drained()
            found.append(_sound(scene).first_ms)
    return found


async def floor(stage: Stage, folder: Path, count: int) -> float:
    """Messages a second of the least publisher and the least consumer, on the same bytes."""
    ledger = folder / "rate.db"
    command = ["-m", "benchmarks.least_drain"]
    options = ["--site", str(stage.site.directory), "--port", str(stage.broker.port)]
    options += ["--mqtt", stage.mqtt]
    consume = [*command, "consume", *options, "--user", "security", "--count", str(count)]
    publish = [*command, "publish", *options, "--user", LEAST, "--ledger", str(ledger)]
    async with (
        running("consume", [*consume, "--ledger", str(folder / "least.db")]) as consumer,
        running("publish", publish) as publisher,
    ):
        for program in (consumer, publisher):
            await program.ask()
        began_ns = int(await publisher.ask("go"))
        return count / ((int(await consumer.ask(within_s=300)) - began_ns) / 1e9)


async def great(stage: Stage, folder: Path, count: int, some: int) -> tuple[Times, Times]:
    """An empty ledger and one that owes a great many: live, weighed at rest and while it drains."""
    found = []
    for owed in (0, count):
        ledger = folder / f"owes-{owed}.db"
        say(f"a ledger that owes {owed:,}")
        await fill(stage, ledger, max(owed, FEW))
        async with outage(stage, folder, ledger, max(owed, FEW)) as scene:
            await scene.broker_back()
            await scene.weighed(min(some, scene.times.owed))
            found.append(scene.times)
        ledger.unlink()
    return found[0], found[1]


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def drain_figures(
    options: argparse.Namespace, drained: Times, busy: Times, least: float, firsts: Sequence[float]
) -> list[Figure]:
    """The table's first part."""
    rows = [
        at_least("settled by signed receipts", drained.rate, options.goal_rate, "msg/s"),
        told("least publisher and consumer", least, "msg/s"),
        told("share of the least program's", 100 * drained.rate / least, "%"),
        *(told(f"CPU of the {name}", us, "us/msg") for name, us in drained.cpu_us.items()),
        told("copies that came beside", drained.counted["copies"], of=drained.owed),
        told("broker back to first owed message, p50", percentile(firsts, 50), "ms"),
        at_most(
            "broker back to first owed message, worst", max(firsts), options.goal_first_ms, "ms"
        ),
    ]
    for percent in (50, 99):
        during, quiet = (percentile(s, percent) for s in (busy.during_ms, busy.without_ms))
        rows += [
            told(f"new alarm, no backlog, p{percent}", quiet, "ms"),
            told(f"new alarm during the drain, p{percent}", during, "ms"),
            told(f"during / without, p{percent}", during / quiet, "x"),
        ]
    return rows


def great_figures(options: argparse.Namespace, empty: Times, owing: Times) -> list[Figure]:
    """The table's second part."""
    at_rest = owing.at_rest.anonymous - empty.at_rest.anonymous
    draining = owing.heaviest.anonymous - empty.heaviest.anonymous
    counted, goal = owing.counted, options.goal_growth_mb
    name = f"{owing.owed:,} owed"
    return [
        told("start to inputs live, next to nothing owed", empty.live_ms, "ms"),
        at_most(f"start to inputs live, {name}", owing.live_ms, options.goal_live_ms, "ms"),
        told("Pss_Anon, next to nothing owed", empty.at_rest.anonymous, "MB"),
        at_most(f"Pss_Anon more, {name}", at_rest, goal, "MB"),
        at_most(f"Pss_Anon more while it drains, {name}", draining, goal, "MB"),
        told(f"settled meanwhile, {name}", owing.rate, "msg/s"),
        at_most("log that came before an owed alarm", counted["log_before_alarm"], 0),
    ]


async def measure(options: argparse.Namespace) -> int:
    """Run all parts and print; the exit code."""
    quick = options.quick
    count = options.messages or (MESSAGES_QUICK if quick else MESSAGES)
    outages = OUTAGES_QUICK if quick else OUTAGES
    owed = options.owed if options.owed is not None else (OWED_QUICK if quick else OWED)
    if options.real_time:
        real_time()
    rows: list[Figure] = []
    template = PINS.read_text(encoding="utf-8")
    parent = options.memory if options.memory.is_dir() else None
    with set_up(parent, template=template) as stage, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"{count:,} owed, drained")
        drained = await rate(stage, folder, count)
        least = await floor(stage, folder, count)
        say(f"{count:,} owed, pressing meanwhile")
        busy = await pressed(stage, folder, count)
        say(f"{outages} outages with {FEW} owed")
        rows += drain_figures(options, drained, busy, least, await few(stage, folder, outages))
        if owed:
            _empty(folder)
            some = SOME_QUICK if quick else SOME
            rows += great_figures(options, *await great(stage, folder, owed, some))
        context: dict[str, str | int] = {
            "measured": "from the first owed message at the centre to the last settled on disk",
            "broker": stage.words,
            "owed": count,
            "presses during the drain, and as many without": len(busy.during_ms),
            "outages": outages,
            "scheduling": SCHEDULING[options.real_time],
        }
    return show("Drain", rows, as_json=options.json, context=context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("drain", __doc__, quick="few messages: about a minute")
    made.add_argument("--messages", type=int, help=f"owed and drained (default {MESSAGES:,})")
    made.add_argument("--owed", type=int, help=f"held at a start (default {OWED:,}; 0: not at all)")
    made.add_argument(
        "--memory",
        type=Path,
        default=MEMORY,
        help="where the broker keeps its store (default %(default)s)",
    )
    add_real_time(made)
    add_goals(
        made,
        {
            "rate": (RATE_GOAL, "N"),
            "first-ms": (FIRST_GOAL_MS, "MS"),
            "growth-mb": (GROWTH_GOAL_MB, "MB"),
            "live-ms": (LIVE_GOAL_MS, "MS"),
        },
    )
    options = made.parse_args(arguments)
    return ended(lambda: asyncio.run(measure(options)))


if __name__ == "__main__":
    sys.exit(piped(main))
