"""How the ledger's file is, for people who ask: where, how large, how old, and how much is left.

Only looks. To be called where the disk may be touched; what the disk does not say is None.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.core.model import Event
from gateway.record.entry import LedgerError
from gateway.record.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a ledger.

    path: where it belongs, also while it is in memory. bytes: of the file and its WAL. max_bytes:
    what it may come to take. free_bytes: what the file system has left. oldest: the first event
    held. dropped: log entries given up since the start.
    """

    path: str | None
    durable: bool
    trouble: str | None
    bytes: int | None
    max_bytes: int | None
    free_bytes: int | None
    oldest: Event | None
    dropped: int


def look(ledger: Ledger) -> Look:
    """Look at a ledger; a disk that fails meanwhile only leaves the answers out."""
    taken_bytes = free_bytes = oldest = None
    place = ledger.place
    if place is not None and ledger.durable:
        with suppress(OSError):
            disk = os.statvfs(Path(place.path).parent)
            free_bytes = disk.f_bavail * disk.f_frsize
            taken_bytes = Path(place.path).stat().st_size + _wal_bytes(place.path)
    with suppress(LedgerError):
        oldest = ledger.oldest()
    return Look(
        path=None if place is None else place.path,
        durable=ledger.durable,
        trouble=ledger.trouble,
        bytes=taken_bytes,
        max_bytes=None if place is None else place.limits.max_bytes,
        free_bytes=free_bytes,
        oldest=oldest,
        dropped=ledger.dropped.count,
    )


def _wal_bytes(path: str) -> int:
    wal = Path(f"{path}-wal")
    return wal.stat().st_size if wal.exists() else 0
