"""The bus: how much of the wire is used, how soon a change is an event, what dead units cost.

    python -m benchmarks.bus [--quick] [--json] [--only PART …] [--real-time]

Four parts: `rate` (share of a line's own limit), `corridor` (sixteen controllers at 19200 baud),
`flip` (an input's flip to its message) and `idle` (eight units at 50 ms). Every line is paced by a
process of its own that hears a request sent too soon. benchmarks/README.md says how.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks import command, corridor, flips, idle, rates
from benchmarks.footprint import ANONYMOUS_GOAL_MB, IDLE_GOAL, RSS_GOAL_MB
from benchmarks.stage import SCHEDULING, real_time
from benchmarks.table import Figure, show
from gateway.piped import piped

PARTS = ("rate", "corridor", "flip", "idle")

TURNS, TURNS_QUICK = 9, 2
TURN_S, TURN_QUICK_S = 2.0, 0.3
WATCHED_S, WATCHED_QUICK_S = 90.0, 7.0
PAIRS, PAIRS_QUICK = 61, 3
"""Odd: the middle one is then a flip in the middle of a period."""
WARM_UP, WARM_UP_QUICK = 3, 1
IDLE_S, IDLE_QUICK_S = 40.0, 3.0


async def rate(options: argparse.Namespace) -> list[Figure]:
    """Shares of the line's own limit."""
    turns = TURNS_QUICK if options.quick else TURNS
    found = await rates.measure(turns, TURN_QUICK_S if options.quick else TURN_S)
    goals = dict(rates.GOALS)
    if options.goal_share is not None:
        goals = dict.fromkeys(goals, options.goal_share)
    return rates.figures(found, goals)


async def sixteen(options: argparse.Namespace) -> list[Figure]:
    """Sixteen controllers on one line."""
    seconds = options.seconds or (WATCHED_QUICK_S if options.quick else WATCHED_S)
    found = await corridor.measure(seconds, seed=options.seed)
    return corridor.figures(
        found,
        goal_ms=options.goal_event_ms,
        goal_growth=options.goal_growth,
        goal_silent_s=options.goal_silent_s,
    )


async def flip(options: argparse.Namespace) -> list[Figure]:
    """From a flip to its message."""
    pairs = options.pairs or (PAIRS_QUICK if options.quick else PAIRS)
    found = await flips.measure(pairs, WARM_UP_QUICK if options.quick else WARM_UP)
    return flips.figures(found, options.goal_ratio)


async def eight(options: argparse.Namespace) -> list[Figure]:
    """Eight units at 50 ms, idle."""
    rest = await idle.measure(options.seconds or (IDLE_QUICK_S if options.quick else IDLE_S))
    return idle.figures(
        rest,
        goal_idle=options.goal_idle,
        goal_pace=options.goal_pace,
        goal_rss_mb=options.goal_rss_mb,
        goal_anonymous_mb=options.goal_anonymous_mb,
    )


MEASURES = dict(zip(PARTS, (rate, sixteen, flip, eight), strict=True))


async def measure(options: argparse.Namespace) -> int:
    """Run the parts and print; the exit code."""
    if options.real_time:
        real_time()
    rows: list[Figure] = []
    for part in options.only or PARTS:
        rows += await MEASURES[part](options)
    context = {
        "lines": "pseudo-terminals paced by a process each, 8N2; "
        f"units think {rates.ANSWER_US / 1e3:g} ms (flip, idle: 2 ms)",
        "parts": ", ".join(options.only or PARTS),
        "scheduling": SCHEDULING[options.real_time],
    }
    return show("Bus", rows, as_json=options.json, context=context)


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    made = command.parser("bus", __doc__, quick="short and few: about 40 s")
    made.add_argument("--only", nargs="+", choices=PARTS, help="these parts (default: all)")
    made.add_argument("--seconds", type=float, help="of the corridor, and of idling")
    made.add_argument("--pairs", type=int, help=f"flips of each (default {PAIRS})")
    made.add_argument("--seed", type=int, default=1, help="other flips, other bad bytes")
    command.add_real_time(made)
    command.add_goals(
        made,
        {
            "share": (None, "PERCENT"),
            "event-ms": (corridor.EVENT_GOAL_MS, "MS"),
            "growth": (corridor.GROWTH_GOAL_PERCENT, "PERCENT"),
            "silent-s": (corridor.SILENT_GOAL_S, "S"),
            "ratio": (flips.RATIO_GOAL, "X"),
            "idle": (IDLE_GOAL, "X"),
            "pace": (idle.PACE_GOAL_PERCENT, "PERCENT"),
            "rss-mb": (RSS_GOAL_MB, "MB"),
            "anonymous-mb": (ANONYMOUS_GOAL_MB, "MB"),
        },
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    options = parser().parse_args(arguments)
    return command.ended(lambda: asyncio.run(measure(options)))


if __name__ == "__main__":
    sys.exit(piped(main))
