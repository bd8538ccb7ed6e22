"""What an opening of a door may rest on, and the alarms that stand at it. Pure.

Two small memories of `door.py`: which authorisations are outstanding, and whether forced, held and
tamper stand, by the door's own contact or by its controller's word.
"""

from __future__ import annotations

from gateway.core.counter import Remember
from gateway.core.model import Level
from gateway.core.monitor import Confirmed

FORCED, HELD, TAMPER = "door-forced", "door-held", "tamper"

EXIT = "exit"
"""The authorisation of who asks to leave: it lasts while they ask."""

FLAG_LASTS_US = 2_000_000
"""What a controller says at a closed door stands at least so long: the contact may come later."""

FLAG_LATE_US = 10_000_000
"""What a controller says so soon after the contact's own alarm ended is about the same opening."""


class Rights:
    """Outstanding authorisations by who gave them. An opening uses up all of them."""

    __slots__ = ("_late_us", "_until_us")

    def __init__(self, *, late_us: int) -> None:
        """`late_us`: how long after its moment an opening may be concluded."""
        self._late_us = late_us
        self._until_us: dict[str, int] = {}

    def allow(self, by: str, until_us: int) -> None:
        """One opening until then. A second word of the same giver is no second opening."""
        self._until_us[by] = max(until_us, self._until_us.pop(by, until_us))

    def extend(self, by: str, until_us: int) -> None:
        """That authorisation lasts longer, if it is still outstanding."""
        if by in self._until_us:
            self._until_us[by] = max(until_us, self._until_us[by])

    def given(self, at_us: int, *, asking: bool) -> str | None:
        """Who gave the newest that is good for an opening at `at_us`; None: nobody."""
        good = [
            by
            for by, until_us in self._until_us.items()
            if until_us >= at_us or (asking and by == EXIT)
        ]
        return good[-1] if good else None

    def forget(self, by: str | None = None) -> None:
        """That one, or all, are used up or void."""
        if by is None:
            self._until_us.clear()
        else:
            self._until_us.pop(by, None)

    def lapse(self, now_us: int, *, asking: bool) -> list[str]:
        """Drop what has run out unused; who gave it."""
        gone = [by for by, due_us in self._dues(asking=asking) if due_us <= now_us]
        for by in gone:
            del self._until_us[by]
        return gone

    def deadline(self, *, asking: bool) -> int | None:
        """When `lapse` will have something; None: never."""
        return min((due_us for _, due_us in self._dues(asking=asking)), default=None)

    def _dues(self, *, asking: bool) -> list[tuple[str, int]]:
        return [
            (by, until_us + self._late_us + 1)
            for by, until_us in self._until_us.items()
            if not (asking and by == EXIT)
        ]


class DoorAlarms:
    """Which alarms stand at one door. At the start any may, from before: all are ended once."""

    __slots__ = ("_flagged", "_late_until_us", "_point", "_stands", "_until_us")

    def __init__(self, point: str) -> None:
        self._point = point
        self._stands: dict[str, bool | None] = {FORCED: None, HELD: None, TAMPER: None}
        self._flagged: set[str] = set()
        self._until_us: dict[str, int] = {}
        self._late_until_us: dict[str, int] = {}

    def stands(self, kind: str) -> bool:
        """True while it was raised here and has not ended."""
        return self._stands[kind] is True

    def begin(self, kind: str, at_us: int, counter: Remember | None = None) -> list[Confirmed]:
        """It stands from now on; told when it did not."""
        if self._stands[kind]:
            return []
        self._stands[kind] = True
        return [Confirmed(self._point, Level.ACTIVE, at_us, alarm=kind, counter=counter)]

    def end(self, kind: str, at_us: int) -> list[Confirmed]:
        """It stands no more; told unless that is known."""
        if self._stands[kind] is False:
            return []
        if self._stands[kind] and kind not in self._flagged:
            self._late_until_us[kind] = at_us + FLAG_LATE_US
        self._stands[kind] = False
        self._flagged.discard(kind)
        self._until_us.pop(kind, None)
        return [Confirmed(self._point, Level.NORMAL, at_us, alarm=kind)]

    def opened(self) -> None:
        """A new opening: what a controller says from now on is about this one."""
        self._late_until_us.clear()

    def said(self, kind: str, at_us: int) -> bool:
        """The controller says so; False when it is about an alarm that was told and has ended."""
        if at_us <= self._late_until_us.pop(kind, at_us - 1):
            return False
        self._flagged.add(kind)
        self._until_us[kind] = at_us + FLAG_LASTS_US
        return True

    def unsaid(self, kind: str, at_us: int) -> None:
        """The controller says so no more."""
        self._until_us[kind] = max(at_us, self._until_us.get(kind, at_us))

    def due(self, kind: str) -> int | None:
        """When what only the controller said may end; None: it said nothing."""
        return None if self._stands[kind] is False else self._until_us.get(kind)
