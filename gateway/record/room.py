"""How much of the disk the ledger may take, and when settled entries must leave for it.

Only looks and says how much; what leaves is `prune.py`'s. What is owed and what is open stays
whatever it weighs, so this bounds a ledger whose centres answer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from gateway.record.file import LedgerFile

_SLACK = 16
"""Once over its room, a ledger goes a sixteenth below it: what is free inside is used again before
the file grows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a ledger may take of its disk.

    max_bytes: of the file; beside it stands a write-ahead log of some 16 MiB at most. free_share:
    of the file system, left to others: they may fill it, and then settled entries leave. But down
    to least_bytes the ledger does not give way to others; only age, or a disk with no byte left,
    takes settled entries from there.
    """

    max_bytes: int = 1 << 30
    free_share: float = 0.1
    least_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ledger lives. vfs: an apsw VFS by name, None for the machine's own."""

    path: str
    vfs: str | None = None
    limits: Limits = field(default_factory=Limits)


class Room:
    """The room of one file. `look` asks the file system; the rest is arithmetic."""

    def __init__(self, file: LedgerFile, place: Place) -> None:
        self._file = file
        self._folder = str(Path(place.path).parent)
        self._limits = place.limits
        self._allowed_bytes = place.limits.max_bytes
        self._making = False

    def look(self) -> None:
        """See how much room there is now; within the file's `reading`."""
        limits = self._limits
        try:
            disk = os.statvfs(self._folder)
        except OSError:  # a disk that cannot say is not full for that
            allowed_bytes = limits.max_bytes
        else:
            left_bytes = (disk.f_bavail - disk.f_blocks * limits.free_share) * disk.f_frsize
            allowed_bytes = self._file.size_bytes + round(left_bytes)
        self._allowed_bytes = min(limits.max_bytes, max(limits.least_bytes, allowed_bytes))
        if self._file.size_bytes > self._allowed_bytes:
            self._making = True

    @property
    def making(self) -> bool:
        """True while the file is to become smaller."""
        return self._making

    def to_leave(self) -> bool:
        """True when entries must leave before the file can shrink; within `reading`."""
        return self._file.used_bytes > self._allowed_bytes * (_SLACK - 1) // _SLACK

    def to_shrink(self) -> int:
        """Bytes the file is above its room; within `reading`."""
        return max(0, self._file.size_bytes - self._allowed_bytes)

    def can_shrink(self) -> bool:
        """True when the file is above its room and holds pages that are free; within `reading`."""
        return self.to_shrink() > 0 and self._file.used_bytes < self._file.size_bytes

    def made(self) -> None:
        """It is small enough, or nothing more can leave: until the next look."""
        self._making = False
