"""Every single call to the disk, the broker and the bus goes wrong once, under the real daemon.

    python -m campaigns.faults [WHAT=all] [N=0] [SEED=1] [JOBS=all] [ONLY=disk/full/17]

A day of a school under virtual time (presses, answers, an outage, a restart with a fault standing)
is lived through once for every call and every way it can go wrong. After each: every press is one
alarm at both centres, on time, none doubled, no number missing or given twice, the chain whole and
in the order of what happened, nothing owed, all of it on disk, every fault raised once and cleared
once, and the daemon alive. A disk that lies may cost the record, never an alarm.

WHAT: disk, broker, bus, or several with commas between. N: so many cases of each, spread by SEED
over the ways and over the day; 0 is every one. ONLY: one case, as it is printed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from campaigns.faults import broker, bus, disk
from campaigns.faults.school import Day
from campaigns.words import BROKEN, HELD, STOPPED, Progress, Wrong, asked, at_work, command

MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made in it
"""Where the ledgers lie: what a real disk's sync takes is of no interest here."""

SHOWN = 5
"""Cases that are printed with their findings, and findings of each."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One kind of call. day: lives through it; cases: what there is to go wrong."""

    day: Callable[[str | None, int, Path], Day]
    cases: Callable[[Sequence[str]], list[tuple[str, int]]]


SWEEPS = {
    "disk": Sweep(disk.day, disk.cases),
    "broker": Sweep(broker.day, broker.cases),
    "bus": Sweep(bus.day, bus.cases),
}


@dataclass(frozen=True, slots=True)
class Case:
    """The `number`-th call of a sweep goes wrong in that way; nothing does without `what`."""

    sweep: str
    what: str | None
    number: int = 0

    def __str__(self) -> str:
        return f"{self.sweep}/{self.what}/{self.number}"


def live(case: Case) -> Day:
    """Live through that day; an exception is a finding."""
    where = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="qorgan-faults-") as folder:
        try:
            return SWEEPS[case.sweep].day(case.what, case.number, Path(folder))
        except Exception as exc:  # noqa: BLE001 -- whatever ends a day is what we look for
            return Day(findings=[f"the day ended with {exc!r}"])


def drawn(sweep: str, count: int, seed: int) -> tuple[list[Case], list[str]]:
    """The cases of a sweep, all or so many; with what is wrong on a day when nothing is."""
    well = live(Case(sweep, None))
    every = [Case(sweep, what, number) for what, number in SWEEPS[sweep].cases(well.calls)]
    if count and count < len(every):
        every = _spread(every, count, Random(f"faults/{seed}/{sweep}"))
    return every, well.findings


def _spread(cases: Sequence[Case], count: int, dice: Random) -> list[Case]:
    """So many of them: of every way equally many, one from each equal stretch of the day."""
    ways: dict[str | None, list[Case]] = {}
    for case in cases:
        ways.setdefault(case.what, []).append(case)
    chosen: list[Case] = []
    # the ways with the fewest cases first, so that what they lack is made up by the others
    for left, mine in zip(range(len(ways), 0, -1), sorted(ways.values(), key=len), strict=True):
        share = min(len(mine), -(-(count - len(chosen)) // left))
        ends = [len(mine) * step // share for step in range(share + 1)] if share else []
        chosen += [mine[dice.randrange(begin, end)] for begin, end in pairwise(ends)]
    return sorted(chosen, key=lambda case: case.number)


def single(text: str) -> Case:
    """The case of that name. Raises Wrong."""
    sweep, _, rest = text.partition("/")
    what, _, number = rest.partition("/")
    if sweep not in SWEEPS or not what or not number.isdecimal():
        raise Wrong(f"ONLY is like disk/full/17, not {text!r}")
    return Case(sweep, what, int(number))


def main(arguments: Sequence[str]) -> int:
    """Run and print; the exit code."""
    known: dict[str, int | str] = {
        "WHAT": "all",
        "N": 0,
        "SEED": 1,
        "JOBS": os.cpu_count() or 1,
        "ONLY": "",
    }
    chosen = asked(arguments, known)
    names = tuple(SWEEPS) if chosen["WHAT"] == "all" else tuple(str(chosen["WHAT"]).split(","))
    if not set(names) <= set(SWEEPS):
        raise Wrong(f"WHAT is {', '.join(SWEEPS)} or all, not {chosen['WHAT']!r}")
    work: list[Case] = []
    if chosen["ONLY"]:
        work.append(single(str(chosen["ONLY"])))
    else:
        for name in names:
            cases, findings = drawn(name, int(chosen["N"]), int(chosen["SEED"]))
            print(f"{name}: {len(cases):,} cases", file=sys.stderr, flush=True)
            if findings:
                _report(Case(name, None), findings)
                return BROKEN
            work += cases
    return _sweep(work, jobs=int(chosen["JOBS"]))


def _sweep(work: list[Case], *, jobs: int) -> int:
    progress = Progress("cases", len(work))
    lived: list[tuple[Case, Day]] = []
    try:
        with at_work(jobs) as each:
            for case, day in zip(work, each(live, work), strict=True):
                lived.append((case, day))
                progress.add(1, found=bool(day.findings))
                if day.findings and progress.found <= SHOWN:
                    _report(case, day.findings)
    except KeyboardInterrupt:
        where = f", the last was {lived[-1][0]}" if lived else ""
        print(f"stopped: {progress}{where}")
        return STOPPED
    return _result(lived, progress)


def _report(case: Case, findings: Sequence[str]) -> None:
    """Print a case that broke something at once, with what replays it."""
    print(f"broken: {case}")
    for finding in findings[:SHOWN]:
        print(f"  {finding}")
    if case.what is not None:
        print(f"  replay: python -m campaigns.faults ONLY={case}")
    sys.stdout.flush()


def _result(lived: Sequence[tuple[Case, Day]], progress: Progress) -> int:
    print(f"campaign-faults: {len(lived):,} days lived, {progress.seconds:.0f} s")
    trace = hashlib.sha256()
    for name in SWEEPS:
        mine = [(case, day) for case, day in lived if case.sweep == name]
        if not mine:
            continue
        raised: Counter[str] = Counter()
        for case, day in mine:
            raised += day.raised
            trace.update(f"{case} {sorted(day.raised.items())} {day.findings}\n".encode())
        broken = Counter(case.what for case, day in mine if day.findings)
        told = ", ".join(f"{kind} {count:,}" for kind, count in raised.most_common()) or "none"
        print(f"  {name}: {len(mine):,} cases, {broken.total():,} broken; faults raised: {told}")
        for what, count in broken.most_common():
            print(f"    {what}: {count:,}")
    print(f"  sha256 {trace.hexdigest()}")
    print("broken" if progress.found else "held")
    return BROKEN if progress.found else HELD


if __name__ == "__main__":
    sys.exit(command(main, __doc__ or ""))
