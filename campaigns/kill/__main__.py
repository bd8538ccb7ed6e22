"""kill -9 of the real gateway at random moments: nothing lost, nothing doubled, all in order.

    python -m campaigns.kill [N=100] [SEED=1] [JOBS=cores+1] [AWAY=12] [FOLDER=…] [PLANT=…]

The daemon as a process on simulated pins, a real mosquitto with mutual TLS, a security centre that
answers and a case system; fingers press all the time. N kills over one life of one ledger (of JOBS
ledgers side by side): while it opens the ledger, in its first moments, right after a press, with a
receipt on its way, later. Broker and centres are killed now and then too.

After each: every confirmed press is at both centres, once; numbers, hashes and signatures hold by
the public key alone; the order is kept; a start lists exactly the alarms that are open, and a
button still held raises nothing new. Choices are drawn by SEED; moments are the machine's.

A press made and let go while nothing runs is seen by nobody; a button still held at the start is an
alarm. Counted apart: what was confirmed within 0.1 s of the kill and is on no record, and what was
sent ahead of a late disk (fault.storage in that life) and gone with the process.

AWAY: in how many of a hundred lives the broker is killed or stopped too.
FOLDER: where the schools live (memory, where there is /dev/shm); kept when something was found.
PLANT: run the gateway with a defect (forgetful, hasty or oblivious) to see that it is caught.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from campaigns.kill.planted import DEFECTS
from campaigns.kill.story import BROKER_TROUBLE, Story, When
from campaigns.words import BROKEN, HELD, STOPPED, Progress, Wrong, asked, command

MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made in it
"""Where the schools live unless told: what a real disk's sync takes is of no interest here, and
kill -9 takes nothing from any disk that was written."""

SHOWN = 10
"""Findings that are printed."""


class Campaign:
    """So many kills over several schools side by side."""

    def __init__(
        self, kills: int, *, seed: int, jobs: int, folder: Path, plant: str = "", away: int
    ) -> None:
        """away: in how many of a hundred lives the broker goes too."""
        self.progress = Progress("kills", kills)
        self.folder = folder
        jobs = max(1, min(jobs, kills))
        self._shares = [kills // jobs + (number < kills % jobs) for number in range(jobs)]
        self.stories = [
            Story(
                folder / f"school-{number}",
                seed=seed,
                number=number,
                plant=plant,
                on_kill=self._killed,
                away=away / 100,
            )
            for number in range(jobs)
        ]

    def _killed(self) -> None:
        found = len(self.findings) - self.progress.found
        self.progress.add(1, found=found)

    @property
    def findings(self) -> list[str]:
        """Of all schools, so far."""
        return [
            f"school {number}: {text}"
            for number, story in enumerate(self.stories)
            for text in story.findings
        ]

    async def run(self) -> None:
        """Tell every story to its end."""
        async with asyncio.TaskGroup() as tasks:
            for story, kills in zip(self.stories, self._shares, strict=True):
                tasks.create_task(_tell(story, kills))

    def report(self) -> str:
        """The account as it stands."""
        counts: Counter[str] = Counter()
        for story in self.stories:
            counts += story.counts
        presses = sum(len(story.account.presses) for story in self.stories)
        unseen = sum(story.account.unseen for story in self.stories)
        moments = ", ".join(f"{when} {counts[f'killed {when}']}" for when in When)
        besides = (
            f"broker killed {counts['broker killed']}, stopped {counts['broker stopped']};"
            f" a centre killed {counts['centre killed']};"
            f" a button held over a kill {counts['held over a kill']}"
        )
        pressed = (
            f"presses {presses:,}: told {counts['told']:,}, joined an open alarm"
            f" {counts['joined']}, cut short by a kill {counts['cut short']};"
            f" and {unseen} tried while nothing ran, seen by nobody"
        )
        alarms = (
            f"alarms raised {counts['raised']:,}, at both centres {counts['at both centres']:,},"
            f" lost {counts['lost']}, doubled {counts['doubled']};"
            f" copies, counted apart, {counts['copies']:,}"
        )
        limits = (
            f"confirmed within 0.1 s of the kill and on no disk yet {counts['cut off']};"
            f" sent ahead of a late disk and gone with it {counts['ahead']}"
            f" (lives whose disk was late: {counts['late disks']})"
        )
        proved = f"messages verified by the public key alone {counts['messages verified']:,}"
        lines = (f"killed {moments}", f"besides {besides}", pressed, alarms, limits, proved)
        return "\n".join(f"  {line}" for line in lines)


async def _tell(story: Story, kills: int) -> None:
    try:
        await story.tell(kills)
    except Exception as exc:  # noqa: BLE001 -- the other schools go on, and what they found is told
        story.findings.append(f"rig: {exc!r}")


def main(arguments: Sequence[str]) -> int:
    """Run and print; the exit code."""
    known: dict[str, int | str] = {
        "N": 100,
        "SEED": 1,
        "JOBS": (os.cpu_count() or 1) + 1,
        "AWAY": round(100 * BROKER_TROUBLE),
        "FOLDER": "",
        "PLANT": "",
    }
    chosen = asked(arguments, known)
    plant, kills, seed = str(chosen["PLANT"]), int(chosen["N"]), int(chosen["SEED"])
    if plant and plant not in DEFECTS:
        raise Wrong(f"PLANT is one of {', '.join(DEFECTS)}, not {plant!r}")
    if not kills:
        raise Wrong("N is at least 1")
    where = str(chosen["FOLDER"]) or (str(MEMORY) if MEMORY.is_dir() else None)
    if chosen["FOLDER"]:
        Path(str(chosen["FOLDER"])).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=where, prefix=f"qorgan-kill-{seed}-"))
    jobs, away = int(chosen["JOBS"]), int(chosen["AWAY"])
    campaign = Campaign(kills, seed=seed, jobs=jobs, folder=folder, plant=plant, away=away)
    print(f"{kills:,} kills from seed {seed}, in {folder}", file=sys.stderr, flush=True)
    try:
        asyncio.run(campaign.run())
    except KeyboardInterrupt:
        print(f"stopped: {campaign.progress}\n{campaign.report()}")
        _findings(campaign)
        return STOPPED
    seconds = campaign.progress.seconds
    print(
        f"campaign-kill: {kills:,} kills over {len(campaign.stories)} ledgers, seed {seed},"
        f" {seconds:.0f} s, {seconds / kills:.2f} s a kill"
    )
    print(campaign.report())
    if _findings(campaign):
        jobs = len(campaign.stories)
        print(f"  again: python -m campaigns.kill N={kills} SEED={seed} JOBS={jobs} AWAY={away}")
        print("broken")
        return BROKEN
    print("held")
    return HELD


def _findings(campaign: Campaign) -> bool:
    """Print what was found and where it lies; without a finding the folder goes."""
    found = campaign.findings
    for text in found[:SHOWN]:
        print(f"broken: {text}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN} more")
    if found:
        print(f"  kept: {campaign.folder}")
    else:
        shutil.rmtree(campaign.folder, ignore_errors=True)
    return bool(found)


if __name__ == "__main__":
    sys.exit(command(main, __doc__ or ""))
