"""Power cuts under the real ledger and writer: nothing acknowledged may be lost.

    python -m campaigns.cut [N=10000] [SEED=1] [SYNC=full] [JOBS=all] [LEAVE=FOLDER]

N power cuts, ten to a story; a story is told by its seed alone, SEED and the following ones. Each
life ends at a random call to a disk in memory; what was not synced is then lost whole, kept whole,
by prefix, at random sector by sector, or torn. The ledger is opened again and must hold what was
acknowledged, in order, once, with its chain, alarms, owed numbers and kept values. The last digit
of a seed says which kind of story it is: half are of an ordinary gateway, three in ten of disks
that are away, come back or are swapped, one in ten of a disk without room and of the writer's
thread.

SYNC=normal and SYNC=off run SQLite as it should not be run; that they are caught is part of every
run. LEAVE: where the disk of every broken story is left, as its last start found it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from campaigns.cut.kinds import told
from campaigns.cut.outcomes import Outcome, Sync
from campaigns.words import BROKEN, HELD, STOPPED, Progress, Wrong, asked, at_work, command

CUTS_A_STORY = 10
STORIES_A_SHARD = 5
SHOWN = 5
"""Findings of a story, and broken stories, that are printed."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Stories with these seeds, told on one loop."""

    seeds: tuple[int, ...]
    cuts: int
    sync: Sync
    leave: str = ""


def shards(cuts: int, seed: int, sync: Sync, leave: str = "") -> list[Shard]:
    """The work for exactly so many cuts."""
    whole, rest = divmod(cuts, CUTS_A_STORY)
    seeds = range(seed, seed + whole)
    made = [
        Shard(tuple(seeds[first : first + STORIES_A_SHARD]), CUTS_A_STORY, sync, leave)
        for first in range(0, whole, STORIES_A_SHARD)
    ]
    return [*made, Shard((seed + whole,), rest, sync, leave)] if rest else made


def run_shard(shard: Shard) -> list[Outcome]:
    """Tell them all."""
    outcomes = []
    for seed in shard.seeds:
        outcome, story = told(seed, cuts=shard.cuts, sync=shard.sync)
        outcomes.append(outcome)
        if shard.leave and outcome.findings:
            there = Path(shard.leave) / f"{shard.sync}-{seed}"
            there.mkdir(parents=True, exist_ok=True)
            for name, image in story.found.items():
                (there / Path(name).name).write_bytes(image)
    return outcomes


def whole(outcomes: Iterable[Outcome]) -> Outcome:
    """All of them in one, the seed 0; the digest is over all digests, in order."""
    total = Outcome(0)
    digest = hashlib.sha256()
    for outcome in outcomes:
        total.cuts += outcome.cuts
        total.kills += outcome.kills
        total.entries += outcome.entries
        total.kinds += outcome.kinds
        total.cut_while += outcome.cut_while
        total.manners += outcome.manners
        total.findings += outcome.findings
        digest.update(outcome.digest.encode())
    return replace(total, digest=digest.hexdigest())


def caught(cuts: int, seed: int, sync: Sync) -> list[Outcome]:
    """The same rig with SQLite set wrongly: the stories in which that was found out."""
    outcomes = [outcome for shard in shards(cuts, seed, sync) for outcome in run_shard(shard)]
    return [outcome for outcome in outcomes if outcome.findings]


def main(arguments: Sequence[str]) -> int:
    """Run and print; the exit code."""
    known: dict[str, int | str] = {
        "N": 10_000,
        "SEED": 1,
        "SYNC": Sync.FULL.value,
        "JOBS": os.cpu_count() or 1,
        "LEAVE": "",
    }
    chosen = asked(arguments, known)
    cuts, seed, jobs = int(chosen["N"]), int(chosen["SEED"]), int(chosen["JOBS"])
    if not cuts:
        raise Wrong("N is a whole number from 1")
    if chosen["SYNC"] not in tuple(Sync):
        raise Wrong(f"SYNC is one of {', '.join(Sync)}, not {chosen['SYNC']!r}")
    sync = Sync(chosen["SYNC"])
    work = shards(cuts, seed, sync, str(chosen["LEAVE"]))
    progress = Progress("cuts", cuts)
    outcomes: list[Outcome] = []
    try:
        with at_work(jobs) as each:
            print(f"{cuts:,} power cuts from seed {seed}", file=sys.stderr, flush=True)
            for some in each(run_shard, work):
                for outcome in some:
                    outcomes.append(outcome)
                    progress.add(outcome.cuts, found=bool(outcome.findings))
                    if progress.found <= SHOWN:
                        _report(outcome, sync)
    except KeyboardInterrupt:
        print(f"stopped: {progress}; seeds {seed} to {seed + len(outcomes) - 1} are told")
        return STOPPED
    return _result(outcomes, progress, seed=seed, sync=sync)


def _report(outcome: Outcome, sync: Sync) -> None:
    """Print a broken story at once, with what replays it."""
    if not outcome.findings:
        return
    print(f"broken: seed {outcome.seed}")
    for finding in outcome.findings[:SHOWN]:
        print(f"  {finding}")
    if len(outcome.findings) > SHOWN:
        print(f"  and {len(outcome.findings) - SHOWN} more")
    under = "" if sync is Sync.FULL else f" SYNC={sync}"
    print(f"  replay: python -m campaigns.cut N={CUTS_A_STORY} SEED={outcome.seed}{under} JOBS=1")
    sys.stdout.flush()


def _result(outcomes: Sequence[Outcome], progress: Progress, *, seed: int, sync: Sync) -> int:
    total, seconds = whole(outcomes), progress.seconds
    broken = sum(bool(outcome.findings) for outcome in outcomes)
    print(
        f"campaign-cut: {total.cuts:,} power cuts in {len(outcomes):,} stories, seed {seed},"
        f" synchronous={sync.value.upper()}, {seconds:.0f} s, {total.cuts / seconds:,.0f} a second"
    )
    print(f"  and {total.kills:,} times only the process was killed")
    print(f"  acknowledged entries {total.entries:,}; stories that lost or changed one: {broken}")
    print(f"  kinds of stories: {_counted(total.kinds)}")
    print(f"  cut while: {_counted(total.cut_while)}")
    print(f"  what was not synced: {_counted(total.manners)}")
    blind = False
    for wrong in (Sync.NORMAL, Sync.OFF):
        tried = max(50, min(500, total.cuts // 20))
        found = caught(tried, seed, wrong)
        blind |= not any("lost:" in text for o in found for text in o.findings)
        print(
            f"  the same rig with synchronous={wrong.value.upper()}: {tried} cuts asked for,"
            f" loss seen in {len(found)} of {-(-tried // CUTS_A_STORY)} stories"
        )
    print(f"  sha256 {total.digest}")
    if blind:
        print("broken: the rig does not see what an unsafe setting loses")
    print("broken" if broken or blind else "held")
    return BROKEN if broken or blind else HELD


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counter.most_common())


if __name__ == "__main__":
    sys.exit(command(main, __doc__ or ""))
