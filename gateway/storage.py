"""What is said of the disk: one fault.storage at a time, raised once and cleared once. Pure."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.model import Fact, Json

LATE_GOOD_AGAIN_US = 60_000_000
"""A disk that was late is good again after this long without being late. So is one that fails
again so soon after it was good: a card that comes and goes is one fault, not hundreds."""


_LATE = "an alarm went out before the disk had it, within the last minute"


class DiskNews:
    """Brings the writer's callbacks to the gateway, which is made after the writer."""

    def __init__(self) -> None:
        self.on_trouble: Callable[[str, str], None] = lambda _why, _text: None
        self.on_recovered: Callable[[], None] = lambda: None

    def trouble(self, why: str, text: str) -> None:
        """Writing has begun to fail."""
        self.on_trouble(why, text)

    def recovered(self) -> None:
        """All that was kept in memory is on disk."""
        self.on_recovered()


class Storage:
    """Joins the three ways storage fails into one standing fault."""

    def __init__(self) -> None:
        """Nothing is wrong yet."""
        # well_us: since when nothing has gone wrong, and it is only waited; None while it fails
        self._why: str | None = None
        self._text = ""
        self._well_us: int | None = None
        self._cleared_us: int | None = None
        self._relapsed = False

    def failed(self, now_us: int, why: str, text: str) -> list[Fact]:
        """The disk refuses: full, read-only, broken, or there is none."""
        already, self._why = self._why, why
        self._well_us, self._text = None, text
        if already is not None and already != "late":
            return []
        if self._cleared_us is not None:
            self._relapsed = now_us - self._cleared_us < LATE_GOOD_AGAIN_US
        return [self._raised(now_us, {"why": why, "text": text})]

    def recovered(self, now_us: int) -> list[Fact]:
        """Everything that was kept in memory is on disk."""
        if self._relapsed and self._why not in {None, "late"}:
            self._well_us = now_us
            return []
        return self._cleared(now_us)

    def late(self, now_us: int) -> list[Fact]:
        """An alarm went ahead of the disk."""
        if self._why is None or self._well_us is not None:
            self._well_us = now_us
        if self._why is not None:
            return []
        self._why, self._text = "late", _LATE
        return [self._raised(now_us, {"why": "late"})]

    def set_aside(self, now_us: int, path: str, *, lost: int | None = 0) -> list[Fact]:
        """The ledger was corrupt; a new one is in its place.

        lost: messages that were owed and could not be read from it, None when none could be.
        """
        if self._why is None or self._well_us is not None:
            self._well_us, self._why = now_us, "late"
            self._text = f"the file was corrupt and is now {path}"
        return [self._raised(now_us, {"why": "corrupt", "set_aside": path, **_lost(lost)})]

    def replaced(self, now_us: int, *, lost: int | None) -> list[Fact]:
        """Another disk is in the place of the one before, and not everything owed is on it."""
        self._well_us, self._why = now_us, "late"
        self._text = "another disk is in the place of the one before"
        return [self._raised(now_us, {"why": "replaced", **_lost(lost)})]

    @property
    def standing(self) -> str | None:
        """What is wrong while the fault stands, in words; None when nothing is."""
        return None if self._why is None else self._text or self._why

    def deadline(self) -> int | None:
        """When `wake` may clear the fault; None: not by itself."""
        return None if self._well_us is None else self._well_us + LATE_GOOD_AGAIN_US

    def wake(self, now_us: int) -> list[Fact]:
        """The fault's end, when its time has come."""
        due_us = self.deadline()
        return self._cleared(due_us) if due_us is not None and due_us <= now_us else []

    def _raised(self, at_us: int, data: dict[str, Json]) -> Fact:
        return Fact("fault.storage.raised", "ledger", at_us, data=data)

    def _cleared(self, at_us: int) -> list[Fact]:
        was, self._why, self._well_us = self._why, None, None
        if was is None:
            return []
        self._cleared_us = at_us
        return [Fact("fault.storage.cleared", "ledger", at_us)]


def _lost(count: int | None) -> dict[str, Json]:
    return {} if count == 0 else {"lost": count}
