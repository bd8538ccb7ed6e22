"""What is said of the disk: one fault.storage at a time, raised once and cleared once. Pure."""

from __future__ import annotations

from gateway.core.model import Fact, Json

LATE_GOOD_AGAIN_US = 60_000_000
"""A disk that was late is good again after this long without being late."""


class Storage:
    """Joins the three ways storage fails into one standing fault."""

    def __init__(self) -> None:
        self._why: str | None = None
        self._late_us: int | None = None

    def failed(self, now_us: int, why: str, text: str) -> list[Fact]:
        """The disk refuses: full, read-only, broken, or there is none."""
        already, self._why = self._why, why
        self._late_us = None
        if already is not None and already != "late":
            return []
        return [self._raised(now_us, {"why": why, "text": text})]

    def recovered(self, now_us: int) -> list[Fact]:
        """Everything that was kept in memory is on disk."""
        return self._cleared(now_us)

    def late(self, now_us: int) -> list[Fact]:
        """An alarm went ahead of the disk."""
        self._late_us = now_us
        if self._why is not None:
            return []
        self._why = "late"
        return [self._raised(now_us, {"why": "late"})]

    def set_aside(self, now_us: int, path: str) -> list[Fact]:
        """The ledger was corrupt at the start; a new one is in its place."""
        self._late_us = now_us
        self._why = self._why or "late"
        return [self._raised(now_us, {"why": "corrupt", "set_aside": path})]

    def deadline(self) -> int | None:
        """When `wake` may clear the fault; None: not by itself."""
        if self._why != "late" or self._late_us is None:
            return None
        return self._late_us + LATE_GOOD_AGAIN_US

    def wake(self, now_us: int) -> list[Fact]:
        """The fault's end, when its time has come."""
        due_us = self.deadline()
        return self._cleared(due_us) if due_us is not None and due_us <= now_us else []

    def _raised(self, at_us: int, data: dict[str, Json]) -> Fact:
        return Fact("fault.storage.raised", "ledger", at_us, data=data)

    def _cleared(self, at_us: int) -> list[Fact]:
        was, self._why, self._late_us = self._why, None, None
        return [] if was is None else [Fact("fault.storage.cleared", "ledger", at_us)]
