"""A told year: the real daemon, its iron and its far ends in one process, under virtual time.

    python -m campaigns.sim [HOURS=20] [SEED=1] [PART=all] [JOBS=all]    (or --hours H --seed S)

The year is told in two parts of HOURS/2 simulated hours each; every hour of them is lived through
at full fidelity, units polled every 200 ms, heartbeats every 5 s. What lies between two days is
crossed by jumps, only ever from rest, and is counted apart. An auditor that knows what was done to
the building compares it with what every far end holds.

A broken promise names its seed, its moment, the last lines of the trace and what replays it. The
digest is a SHA-256 over every line of the trace: the same seed and hours give the same digest.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from campaigns.sim.year import Outcome, Part, tell
from campaigns.words import BROKEN, HELD, STOPPED, TELL_EVERY_S, Wrong, asked, at_work, command

PARTS = 2
HOURS_MOST = 8_760
US_PER_HOUR = 3_600_000_000
MS_PER_DAY = 86_400_000
_ALL = "all"

_TOLD_HOURS = multiprocessing.Array("d", PARTS)
"""How far each part is, for who stops it; the workers inherit it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    hours: int
    seed: int
    parts: tuple[int, ...]
    jobs: int


def read(arguments: Sequence[str]) -> Asked:
    """The command line, `--hours 20` as well as `HOURS=20`. Raises Wrong."""
    known: dict[str, int | str] = {
        "HOURS": 20,
        "SEED": 1,
        "PART": _ALL,
        "JOBS": min(PARTS, os.cpu_count() or 1),
    }
    chosen = asked(_pairs(arguments), known)
    hours, part = int(chosen["HOURS"]), str(chosen["PART"])
    if not 1 <= hours <= HOURS_MOST:
        raise Wrong(f"HOURS is from 1 to {HOURS_MOST}, not {hours}")
    numbers = [str(number) for number in range(PARTS)]
    if part not in {_ALL, *numbers}:
        raise Wrong(f"PART is {', '.join(numbers)} or {_ALL}, not {part!r}")
    parts = tuple(range(PARTS)) if part == _ALL else (int(part),)
    return Asked(hours, int(chosen["SEED"]), parts, min(int(chosen["JOBS"]), len(parts)))


def _pairs(arguments: Sequence[str]) -> list[str]:
    """`--hours 20` and `--hours=20` as `HOURS=20`; everything else as it is."""
    pairs: list[str] = []
    waiting = ""
    for argument in arguments:
        if waiting:
            pairs.append(f"{waiting}={argument}")
            waiting = ""
        elif argument.startswith("--") and "=" not in argument:
            waiting = argument[2:].upper()
        elif argument.startswith("--"):
            name, _, value = argument[2:].partition("=")
            pairs.append(f"{name.upper()}={value}")
        else:
            pairs.append(argument)
    if waiting:
        raise Wrong(f"--{waiting.lower()} needs a value")
    return pairs


def told(part: Part) -> Outcome:
    """Tell a part, and say now and then how far it is."""
    began_s = said_s = time.monotonic()

    def progress(hours: float) -> None:
        nonlocal said_s
        _TOLD_HOURS[part.part] = hours
        now_s = time.monotonic()
        if now_s - said_s >= TELL_EVERY_S:
            said_s = now_s
            left_s = max(0.0, (part.hours - hours) / hours * (now_s - began_s))
            words = f"{hours:.1f} of {part.hours:g} simulated hours, {left_s:,.0f} s left"
            print(f"  part {part.part}: {words}", file=sys.stderr, flush=True)

    return tell(part, progress)


def main(arguments: Sequence[str]) -> int:
    """Run and print; the exit code."""
    choice = read(arguments)
    began_s = time.monotonic()
    work = [Part(choice.seed, part, PARTS, choice.hours / PARTS) for part in choice.parts]
    title = f"campaign-sim: {choice.hours} hours of a year, seed {choice.seed}"
    print(title, file=sys.stderr, flush=True)
    outcomes: list[Outcome] = []
    try:
        with at_work(choice.jobs) as each:
            for outcome in each(told, work):
                outcomes.append(outcome)
                _report(outcome, choice)
    except KeyboardInterrupt:
        far = ", ".join(f"part {part} at {_TOLD_HOURS[part]:.1f} h" for part in choice.parts)
        print(
            f"stopped after {time.monotonic() - began_s:.0f} s: {far} of {choice.hours / PARTS:g}"
        )
        return STOPPED
    return _result(outcomes, title, seconds=time.monotonic() - began_s)


def _report(outcome: Outcome, choice: Asked) -> None:
    """Print a broken part at once, with what replays it."""
    if not outcome.finding:
        return
    part = outcome.part
    print(f"broken: seed {part.seed}, part {part.part}, {outcome.at}")
    print(f"  {outcome.finding}")
    print("  the last lines of its trace:")
    for line in outcome.last:
        print(f"    {line}")
    print(
        f"  replay: python -m campaigns.sim HOURS={choice.hours} SEED={part.seed}"
        f" PART={part.part} JOBS=1"
    )
    sys.stdout.flush()


def digest_of(outcomes: Iterable[Outcome]) -> str:
    """One digest over the parts' own."""
    digest = hashlib.sha256()
    for outcome in outcomes:
        digest.update(outcome.digest.encode())
    return digest.hexdigest()


def _result(outcomes: Sequence[Outcome], title: str, *, seconds: float) -> int:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
    hours = sum(outcome.simulated_us for outcome in outcomes) / US_PER_HOUR
    days = sum(outcome.jumped_ms for outcome in outcomes) / MS_PER_DAY
    broken = sum(bool(outcome.finding) for outcome in outcomes)
    print(f"{title}: {hours:.1f} h simulated, {days:.1f} days jumped, {seconds:.0f} s")
    print(f"  {counts.pop('days', 0)} times at rest; {_counted(counts)}")
    for outcome in outcomes:
        print(f"  part {outcome.part.part}: {outcome.lines:,} lines, sha256 {outcome.digest}")
    print(f"  sha256 {digest_of(outcomes)}")
    print("broken" if broken else "held")
    return BROKEN if broken else HELD


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counts.items())


if __name__ == "__main__":
    sys.exit(command(main, __doc__ or ""))
