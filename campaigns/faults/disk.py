"""Every call of the ledger to its disk goes wrong once, under the real daemon.

A call fails (once, or it and all writes for a second and a bit), writes half of it and fails, is
late by two seconds, or only says that it was done.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from campaigns.faults.account import alarms, findings, on_time
from campaigns.faults.school import Day, FaultSchool
from simulators.disk.faulty import Fault, FaultyDisk, Lie
from simulators.disk.late import LateDisk
from simulators.virtual.time import VirtualClock, run_virtual

LASTS_S = 1.2
LATE_S = 2.0


class DiskMisfortune(StrEnum):
    """What the n-th call does. A failing write has written half; full is then a short write."""

    IO_ERROR = "io-error"
    FULL = "full"
    READ_ONLY = "read-only"
    LASTING_IO_ERROR = "lasting-io-error"
    LASTING_FULL = "lasting-full"
    LASTING_READ_ONLY = "lasting-read-only"
    LATE = "late"
    FORGET = "forget"
    TEAR = "tear"


_CHANGING = frozenset({"write", "truncate", "sync", "delete"})
_CASES = {
    "open": ("io-error", "late"),
    "read": ("io-error", "late"),
    "write": tuple(DiskMisfortune),
    "sync": ("io-error", "lasting-io-error", "late", "forget"),
    "truncate": ("io-error", "lasting-io-error", "late", "forget"),
    "delete": ("io-error", "late", "forget"),
}
"""What can go wrong with a call: no read fills a disk, and a read has nothing to forget."""

_LYING = {DiskMisfortune.FORGET: Lie.FORGET, DiskMisfortune.TEAR: Lie.TEAR}


class _Disk(FaultyDisk):
    """A FaultyDisk that can also just be slow at one call."""

    late_at = 0

    def passing(self, operation: str, file: str) -> Lie | None:
        if self.count + 1 == self.late_at:
            self.struck()
        return super().passing(operation, file)


def cases(calls: Sequence[str]) -> list[tuple[str, int]]:
    """Every misfortune of every call of a day that went well."""
    return [
        (str(what), number)
        for number, operation in enumerate(calls, start=1)
        for what in _CASES[operation]
    ]


def day(what: str | None, number: int, folder: Path) -> Day:
    """The day with that call going wrong in that way, or with none; files are made in `folder`."""
    faulty = _Disk(record=True)
    wrong = None if what is None else DiskMisfortune(what)
    try:
        return run_virtual(
            lambda clock, dice: _day(clock, dice, faulty, what=wrong, number=number, folder=folder),
            seed=1,
        )
    finally:
        faulty.close()


async def _day(
    clock: VirtualClock,
    dice: random.Random,
    faulty: _Disk,
    *,
    what: DiskMisfortune | None,
    number: int,
    folder: Path,
) -> Day:
    disks: list[LateDisk] = []

    def disk(path: str) -> LateDisk:
        disks.append(LateDisk(path, clock=clock, vfs=faulty.name))
        return disks[-1]

    def struck() -> None:
        if what is DiskMisfortune.LATE:
            disks[-1].late(LATE_S)
        else:
            clock.call_at(clock.now_us() + int(LASTS_S * 1_000_000), faulty.heal)

    faulty.struck = struck
    if what is DiskMisfortune.LATE:
        faulty.late_at = number
    elif what in _LYING:
        faulty.lie(_LYING[what], at=number)
    elif what is not None:
        lasting = what.startswith("lasting-")
        fault = Fault(what.removeprefix("lasting-"))
        if lasting:
            faulty.fail(fault, at=number, times=None, operations=_CHANGING)
        else:
            faulty.fail(fault, at=number)
    school = FaultSchool(clock=clock, dice=dice, folder=folder, disk=disk)
    await school.day()
    calls = [call.operation for call in faulty.calls or ()]
    return Day(calls, list(_findings(school, what)), school.raised())


def _findings(school: FaultSchool, what: DiskMisfortune | None) -> Iterator[str]:
    """A disk that lies may spoil the ledger; never an alarm, and never the daemon."""
    yield from on_time(school)
    if what in _LYING:
        yield from alarms(school)
    else:
        yield from findings(school)
        if school.raised()["storage"] > 1:
            yield f"fault.storage was raised {school.raised()['storage']} times"
