"""Disks for the tests that break them: small file systems, somebody who fills them, tidy rounds."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.core.model import Message, Stamp
from gateway.record.disk import InlineDisk, ThreadedDisk
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Limits, Place
from gateway.record.writer import Writer
from tests.ledger_cases import BEGAN_UTC_MS

WITHIN_S = 30.0
"""Far more than a look for a disk takes; only a defect reaches it."""

DAY_MS = 86_400_000
KEEP_MS = 100 * DAY_MS


def mounted(command: list[str]) -> bool:
    """Run mount or umount; False when this machine does not let us."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """A file system of that size, empty; the test is skipped where none can be made."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0 or not mounted(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "qorgan-test", str(folder)]
    ):
        pytest.skip("a small file system needs root and the right to mount")
    try:
        yield folder
    finally:
        mounted(["umount", "-l", str(folder)])


class Filler:
    """Somebody else who fills a disk to the last byte, and goes away again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "somebody-elses.log"

    def fill(self) -> None:
        """Write until nothing goes in any more."""
        with suppress(OSError), self._path.open("ab", buffering=0) as out:
            for size in (65_536, 4_096, 1):
                with suppress(OSError):
                    while True:
                        out.write(bytes(size))

    def go(self) -> None:
        """Give it all back."""
        self._path.unlink()


def ledger_at(
    path: Path,
    *,
    start: str = "0000000a",
    fresh_id: str = "1ed9e700",
    vfs: str | None = None,
    limits: Limits | None = None,
) -> Ledger:
    """A ledger with limits of its own, as a daemon opens it."""
    place = Place(str(path), vfs, limits or Limits())
    return Ledger.at(place, Begin(start, fresh_id, "b0070000", BEGAN_UTC_MS))


def tidied(ledger: Ledger) -> None:
    """All the housekeeping that is due."""
    while ledger.tidy(idle=True):
        pass


def owed_messages(ledger: Ledger) -> list[Message]:
    """Every message a ledger owes, in its order."""
    return [
        message
        for key, ranges in ledger.owed().items()
        for first, last in ranges
        for message in ledger.read(key, first, last)
    ]


class Machine:
    """A machine whose clocks can be told anything; `now` is its stamp."""

    def __init__(self) -> None:
        self.boot = 1
        self.monotonic_ms = 0
        self.utc_ms = BEGAN_UTC_MS
        self.synchronised = True

    @property
    def now(self) -> Stamp:
        """As the gateway's clock stamps it."""
        return Stamp(self.utc_ms, self.synchronised, 0, f"{self.boot:08x}", self.monotonic_ms)

    def pass_days(self, days: float) -> None:
        """Time goes by, switched on."""
        self.monotonic_ms += round(days * DAY_MS)
        self.utc_ms += round(days * DAY_MS)

    def off(self, days: float) -> None:
        """Switched off for so long, then another boot; UTC goes on by itself."""
        self.boot += 1
        self.monotonic_ms = 0
        self.utc_ms += round(days * DAY_MS)


class Told:
    """What the daemon was told of the disk."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def trouble(self, reason: str, text: str) -> None:
        assert text
        self.words.append(reason)

    def recovered(self) -> None:
        self.words.append("recovered")


async def until(condition: Callable[[], bool]) -> None:
    """Go round the loop until something is so; fails after a deadline instead of hanging."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 -- what is waited for happens on a thread or a disk
            await asyncio.sleep(0.01)


Kind = type[ThreadedDisk | InlineDisk]
BOTH = pytest.mark.parametrize("kind", [ThreadedDisk, InlineDisk])


async def opened(
    kind: Kind, path: Path, told: Told, *, vfs: str | None = None
) -> tuple[Writer, Ledger]:
    """A started writer of that kind and its ledger, by its second start's ids."""
    return await kind(str(path), vfs=vfs).open(
        start="0000000b",
        fresh_id="0e0e0e0e",
        boot="b0070000",
        utc_ms=BEGAN_UTC_MS,
        on_trouble=told.trouble,
        on_recovered=told.recovered,
    )
