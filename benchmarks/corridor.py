"""Sixteen controllers on one line at 19200 baud: change to event, and what dead units cost.

Lines with the same flips run side by side, in real time: one where all is well, one where a unit
dies when the watching begins, one where two do, one where 1 % of all bytes have a bit turned. So
whatever else the machine does hits all of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.slave import INPUTS
from benchmarks.stage import Trouble, percentile, running, say
from benchmarks.table import Figure, at_most, told

BAUD, UNITS, POLL_MS = 19_200, 16, 200
PROFILE = "waveshare-relay-d"
"""Eight inputs and eight relays: what hangs at a door. Inputs in one read, relays in another."""
ANSWER_US = 5_000

EVENT_GOAL_MS = 700.0
GROWTH_GOAL_PERCENT = 10.0
"""Of the living units' p99, for one that is dead."""
SILENT_GOAL_S = 8.0

LOST_MS = 9_999.0
"""A change that no event tells counts as so late."""
SETTLED_S = 2.5
KNOWN_LOOKS = 10
"""All inputs are known after so many looks, SETTLED_S apart."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One line. dead: units that die when the watching begins. bad: share of bytes turned.

    pause_ms: between two flips of one input; longer than a change may take to be an event.
    """

    name: str
    dead: tuple[int, ...] = ()
    bad: float = 0.0
    pause_ms: tuple[int, int] = (1_200, 1_800)


SCENES = (
    Scene("all well"),
    Scene("one unit dead", dead=(5,)),
    Scene("two units dead", dead=(5, 11)),
    Scene("1 % bad bytes", bad=0.01, pause_ms=(5_000, 7_000)),
)


@dataclass(slots=True)
class Seen:
    """What came of a scene. Milliseconds from a closing to its event, of living units only.

    finding_ms: of those that closed before every dead unit was told of; steady_ms: the others.
    silent_s: from the death of each dead unit to its telling. untrue: events that no closing or
    opening explains. mistaken: living units taken for silent.
    """

    steady_ms: list[float] = field(default_factory=list)
    finding_ms: list[float] = field(default_factory=list)
    silent_s: list[float] = field(default_factory=list)
    lost: int = 0
    untrue: int = 0
    mistaken: int = 0
    glued: int = 0
    cpu_percent: float = 0.0
    stretch: float = 1.0


Flip = tuple[int, int, int, int]
"""When (us), unit, input, level."""


async def play(scene: Scene, seconds: float, *, seed: int) -> Seen:
    """One line, watched for so long."""
    slave_line = ["-m", "benchmarks.slave", "--baud", str(BAUD), "--units", str(UNITS)]
    slave_line += ["--answer-us", str(ANSWER_US), "--seed", str(seed)]
    async with running("slave", slave_line) as slave:
        port = await slave.ask()
        command = ["-m", "benchmarks.watch", "--port", port, "--baud", str(BAUD)]
        command += ["--units", str(UNITS), "--inputs", str(INPUTS), "--poll-ms", str(POLL_MS)]
        async with running("watch", [*command, "--profile", PROFILE]) as watch:
            await watch.ask()
            for _ in range(KNOWN_LOOKS):
                await asyncio.sleep(SETTLED_S)
                before = json.loads(await watch.ask("report"))
                if before["known"] == before["of"]:
                    break
            else:
                raise Trouble(f"not all inputs are known: {watch.last_words}")
            await slave.ask("report")
            await slave.ask(f"bad {scene.bad}")
            await slave.ask(f"flips {scene.pause_ms[0]} {scene.pause_ms[1]}")
            died_us = int(await slave.ask(" ".join(["dead", *map(str, scene.dead)])))
            await asyncio.sleep(seconds)
            played = json.loads(await slave.ask("report"))
            heard = json.loads(await watch.ask("report"))
    seen = judge(scene, played["flips"], heard, died_us=died_us)
    seen.glued = played["glued"]
    seen.cpu_percent = 100 * (heard["cpu_s"] - before["cpu_s"]) / seconds
    seen.stretch = heard["status"]["corridor"]["stretch"]
    return seen


def judge(scene: Scene, flips: Sequence[Flip], heard: dict[str, Any], *, died_us: int) -> Seen:
    """Match every closing of a living unit's input with its event."""
    seen = Seen()
    told_us: dict[str, int] = {}
    for at_us, kind, subject, standing in heard["conditions"]:
        if kind == "unit-silent" and standing and at_us >= died_us:
            told_us.setdefault(subject, at_us)
    dead = {f"unit-{number}" for number in scene.dead}
    seen.mistaken = len(told_us.keys() - dead)
    seen.silent_s = [(told_us[name] - died_us) / 1e6 for name in sorted(dead & told_us.keys())]
    seen.silent_s += [float("inf")] * len(dead - told_us.keys())
    found_us = max((at_us for name, at_us in told_us.items() if name in dead), default=died_us)
    events: dict[tuple[int, int, str], list[int]] = {}
    for at_us, unit, place, level in heard["events"]:
        if at_us >= died_us:
            events.setdefault((unit, place, level), []).append(at_us)
    # What flipped at the very end had no time to be told.
    last_us = max(at_us for at_us, *_ in flips) - EVENT_GOAL_MS * 2_000
    shown: dict[tuple[int, int], int] = {}
    for at_us, unit, place, level in flips:
        if unit in scene.dead:
            continue
        shown[unit, place] = shown.get((unit, place), 0) + level
        if not level or at_us > last_us:
            continue
        later = [each for each in events.get((unit, place, "active"), ()) if each >= at_us]
        seen.lost += not later
        took_ms = (later[0] - at_us) / 1e3 if later else LOST_MS
        (seen.steady_ms if at_us >= found_us else seen.finding_ms).append(took_ms)
    for (unit, place, level), moments in events.items():
        if level == "active" and unit not in scene.dead:
            seen.untrue += max(0, len(moments) - shown.get((unit, place), 0))
    return seen


async def measure(seconds: float, *, seed: int = 1) -> dict[str, Seen]:
    """All scenes at the same time."""
    say(f"{UNITS} units, {len(SCENES)} lines side by side, {seconds:g} s")
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                scene.name: group.create_task(play(scene, seconds, seed=seed)) for scene in SCENES
            }
    except* (Trouble, TimeoutError) as failed:
        raise Trouble(f"a line cannot be watched: {failed.exceptions[0]}") from None
    return {name: task.result() for name, task in tasks.items()}


def figures(
    found: dict[str, Seen], *, goal_ms: float, goal_growth: float, goal_silent_s: float
) -> list[Figure]:
    """Percentiles, what dead units add to the living ones', and how soon they are told."""
    rows: list[Figure] = []
    well = percentile(found["all well"].steady_ms, 99)
    for scene in SCENES:
        seen, where = found[scene.name], f"{UNITS} units, {scene.name}: "
        count = len(seen.steady_ms)
        if not count:
            raise Trouble(f"{where}nothing to count: let it run longer")
        p50, p99 = (percentile(seen.steady_ms, percent) for percent in (50, 99))
        rows.append(told(f"{where}change to event, p50", p50, "ms"))
        if scene.bad:
            rows.append(told(f"{where}change to event, p99", p99, "ms"))
            rows.append(at_most(f"{where}events of nothing", seen.untrue, 0))
            rows.append(at_most(f"{where}units wrongly taken for silent", seen.mistaken, 0))
        else:
            rows.append(at_most(f"{where}change to event, p99", p99, goal_ms, "ms"))
        rows.append(told(f"{where}changes no event tells", seen.lost, of=count))
        if scene.dead:
            growth = 100 * (p99 / well - 1)
            grown = f"{where}the living ones' p99 grows by"
            one = len(scene.dead) == 1
            rows.append(
                at_most(grown, growth, goal_growth, "%") if one else told(grown, growth, "%")
            )
            if seen.finding_ms:
                finding = percentile(seen.finding_ms, 99)
                rows.append(
                    told(f"{where}the same while it is being found out, p99", finding, "ms")
                )
            silent_s = max(seen.silent_s)
            rows.append(at_most(f"{where}told after", silent_s, goal_silent_s, "s"))
    rows.append(
        told("16 units, all well: the plan stretches 200 ms by", found["all well"].stretch, "x")
    )
    rows.append(
        told("16 units, all well: CPU of the driver", found["all well"].cpu_percent, "% of a core")
    )
    return rows
