"""When a ledger without a disk, or on one that fails, looks whether there is one in its place.

Decides only when; `Ledger.give_way`, `reopen` and `move_to` do it.
"""

from __future__ import annotations

from gateway.record.entry import StorageTrouble
from gateway.record.ledger import Ledger

FAILS_FOR_S = 30.0
"""So long the open file is tried again before it is given up for what is in its place: most
trouble passes, and only an open file gives what is owed."""

AGAIN_S = 5.0
"""Between two looks."""

_OF_THE_PLACE = frozenset(
    {
        *(StorageTrouble.IO_ERROR, StorageTrouble.READ_ONLY, StorageTrouble.CORRUPT),
        *(StorageTrouble.CANNOT_OPEN, StorageTrouble.GONE, StorageTrouble.OTHER),
    }
)
"""Trouble that another file may not have. A full disk is none: there, waiting is right."""


class Mending:
    """Asked again and again; times are in seconds of the loop's clock."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._looked_s: float | None = None

    def due(self, ledger: Ledger, reason: StorageTrouble | None, now_s: float) -> bool:
        """True when it is time to look. reason: why writing fails, None when it does not."""
        hopeless = ledger.damaged or reason is StorageTrouble.GONE
        wanted = hopeless or not ledger.durable or reason in _OF_THE_PLACE
        if ledger.place is None or not wanted:
            self._since_s = self._looked_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
            if not ledger.durable:
                self._looked_s = now_s  # the start itself has just looked
        wait_s = FAILS_FOR_S if ledger.durable and not hopeless else 0.0
        rested = self._looked_s is None or now_s - self._looked_s >= AGAIN_S
        if now_s - self._since_s < wait_s or not rested:
            return False
        self._looked_s = now_s
        return True
