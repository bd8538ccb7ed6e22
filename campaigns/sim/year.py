"""One part of a told year, from one seed: days of overlapping episodes, and the quiet between them.

Simulated hours are lived through at full fidelity; what a jump crosses is counted apart.
"""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.sim.story import PEOPLE, tend
from campaigns.sim.told import Broken, Told
from campaigns.sim.weather import WEATHER
from simulators.virtual.year_clock import YearClock
from simulators.virtual.year_loop import YearLoop

MS_PER_HOUR = 3_600_000
US_PER_HOUR = 3_600_000_000
YEAR_MS = 365 * 24 * MS_PER_HOUR
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder made by tempfile within it
SHOWN_LINES = 40
DAY_S = (600.0, 1_500.0)
"""Over how long the beginnings of a day's episodes are spread."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be told: `part` of `parts` of the year from `seed`, so many hours of it."""

    seed: int
    part: int
    parts: int
    hours: float


@dataclass(slots=True)
class Outcome:
    """What came of a part. finding: what broke, empty when every promise held."""

    part: Part
    digest: str = ""
    lines: int = 0
    simulated_us: int = 0
    jumped_ms: int = 0
    finding: str = ""
    at: str = ""
    last: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def tell(part: Part, progress: Callable[[float], None] = lambda _hours: None) -> Outcome:
    """Tell it, in a folder of its own; hours told so far go to `progress` after each day."""
    outcome = Outcome(part)
    dice = random.Random(f"{part.seed} {part.part} {part.parts} {part.hours}")
    loop = YearLoop()
    clock = YearClock(loop, boot=dice.randbytes(4).hex())
    clock.jump(YEAR_MS * part.part // part.parts)
    room = str(IN_MEMORY) if IN_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="qorgan-sim-", dir=room))
    gc.collect()
    gc.freeze()
    gc.disable()  # a third of the time; what is left over is collected at every rest
    try:
        loop.run_until_complete(_live(outcome, clock, dice, folder, progress))
    finally:
        gc.enable()
        gc.unfreeze()
        loop.run_until_complete(_end())
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


async def _end() -> None:
    """End what a broken story has left running."""
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _live(
    outcome: Outcome,
    clock: YearClock,
    dice: random.Random,
    folder: Path,
    progress: Callable[[float], None],
) -> None:
    part, told = outcome.part, Told(clock, dice, folder)
    told.tend = tend
    began_ms = clock.jumped_ms

    def raised(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        told.broken(f"P9: {context['message']}: {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(raised)
    try:
        await told.start()
        await told.clock.sleep(8)
        await tend(told)
        await _days(part, told, progress)
        await told.world.stop()
    except (Broken, asyncio.CancelledError, ExceptionGroup) as exc:
        if told.finding is None:
            raise
        outcome.finding = told.finding
        outcome.at = f"{clock.text}, {clock.now_us() / US_PER_HOUR:.4f} simulated hours in"
        outcome.last = tuple(_line(*line) for line in list(told.world.kept)[-SHOWN_LINES:])
        del exc
    finally:
        outcome.digest, outcome.lines = told.world.trace.digest, told.world.trace.lines
        outcome.simulated_us = clock.now_us()
        outcome.jumped_ms = clock.jumped_ms - began_ms
        outcome.counts = told.counts()
        told.world.close()


async def _days(part: Part, told: Told, progress: Callable[[float], None]) -> None:
    """Day after day until the hours are told; the jumps between them make it a year."""
    clock, total_us = told.clock, int(part.hours * US_PER_HOUR)
    first_ms = clock.true_ms
    span_ms = YEAR_MS // part.parts
    while clock.now_us() < total_us:
        await _day(told, left_us=total_us - clock.now_us())
        await told.rest()
        gc.collect()
        gc.freeze()  # what the far ends hold only grows: it is not gone through at every rest
        progress(clock.now_us() / US_PER_HOUR)
        calendar_ms = span_ms * min(clock.now_us(), total_us) // total_us
        ahead_ms = first_ms + calendar_ms - clock.true_ms
        if ahead_ms > 0:
            await told.jump(ahead_ms)


async def _day(told: Told, *, left_us: int) -> None:
    """Episodes that begin all over a stretch of the day, and go on until they are over."""
    dice = told.dice
    spread_s = min(dice.uniform(*DAY_S), left_us / 1e6)
    people = max(1, round(spread_s / 120))
    weather = round(spread_s / 200 * dice.choice((0, 0.5, 1, 2)))
    told.world.note("day", s=round(spread_s, 3), people=people, weather=weather)
    deeds = _drawn(dice, PEOPLE, people) + _drawn(dice, WEATHER, weather)
    async with asyncio.TaskGroup() as tasks:
        for deed in deeds:
            tasks.create_task(_later(told, deed, dice.uniform(0, spread_s)))


def _drawn(dice: random.Random, table: tuple[tuple[Any, int], ...], count: int) -> list[Any]:
    return dice.choices([deed for deed, _ in table], [weight for _, weight in table], k=count)


async def _later(told: Told, deed: Any, after_s: float) -> None:
    await told.clock.sleep(after_s)
    await deed(told)


def _line(at_us: int, what: str, fields: Mapping[str, object]) -> str:
    """A line of the trace as people read it: tokens are named by their beginning."""
    shown = {
        name: f"{value[:12]}…" if name == "token" and isinstance(value, str) else value
        for name, value in fields.items()
    }
    return f"{at_us / 1e6:14.6f} {what} {shown}"
