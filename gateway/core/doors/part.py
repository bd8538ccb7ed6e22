"""One contact or flag at a door: its debounced level, and each time it came up. Pure.

Owns the debouncing and the counter of that one wire. What it means for the door is decided in
`door.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.counter import SAME_PRESS_US, Presses, Remember
from gateway.core.debounce import Conclusion, Debouncer, Rule, Verdict
from gateway.core.hardware import device_of
from gateway.core.model import Count, Level, Reading


class Show(StrEnum):
    """What a part shows. CAME_UP: it was ACTIVE at least once, by its level or by its count."""

    CAME_UP = "came-up"
    ACTIVE = "active"
    NORMAL = "normal"
    UNKNOWN = "unknown"
    CHATTERS = "chatters"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Change:
    """Something became true of a part at `at_us`; it began at `since_us`, before it was believed.

    initial: so since before the start, or since its unit fell silent. times: how often it came up.
    counter: what counted that.
    """

    show: Show
    at_us: int
    since_us: int
    initial: bool = False
    times: int = 1
    counter: Remember | None = None


class Part:
    """The memory of one wire. `feed` readings, `wake` at `deadline`; both give what changed."""

    __slots__ = ("_blind", "_debouncer", "_first", "_presses", "_rule", "address", "name")

    def __init__(self, name: str, address: str, rule: Rule, last: Mapping[str, Count]) -> None:
        self.name = name
        self.address = address
        self._rule = rule
        self._debouncer = Debouncer(rule)
        # a unit's start says nothing of what passed through a door
        self._presses = Presses(last, starts_at_rest={address: False})
        self._blind = True
        self._first: Level | None = None

    @property
    def level(self) -> Level:
        """The confirmed level; UNKNOWN before the first."""
        return self._debouncer.confirmed or Level.UNKNOWN

    @property
    def on_unit(self) -> bool:
        """True when a unit carries it, whose silence is told elsewhere."""
        return device_of(self.address) is not None

    def feed(self, reading: Reading) -> tuple[list[Change], Remember | None]:
        """What a Reading of this wire changes, and what is to be kept of its counter."""
        at_us = reading.at_us
        seen, kept = self._presses.feed(reading)
        found = []
        if seen.presses:
            unseen = self.level is Level.UNKNOWN
            found.append(Change(Show.CAME_UP, at_us, at_us, unseen, seen.presses, kept))
        return found + self.show(reading.level, at_us), kept

    def show(self, level: Level, at_us: int) -> list[Change]:
        """The wire shows this level."""
        if self._first is None and level is not Level.UNKNOWN:
            self._first = level
        concluded = self._debouncer.feed(level, at_us)
        return [change for conclusion in concluded for change in self._conclude(conclusion)]

    def wake(self, now_us: int) -> list[Change]:
        """Everything that has become true by `now_us`, in order."""
        concluded = self._debouncer.wake(now_us)
        return [change for conclusion in concluded for change in self._conclude(conclusion)]

    def deadline(self) -> int | None:
        """When `wake` will have something to do; None: never."""
        return self._debouncer.deadline()

    def _conclude(self, conclusion: Conclusion) -> list[Change]:
        at_us, level = conclusion.at_us, conclusion.level
        if conclusion.verdict is not Verdict.LEVEL:
            show = Show.CHATTERS if conclusion.verdict is Verdict.CHATTERS else Show.SETTLED
            return [Change(show, at_us, at_us)]
        initial = self._blind and level is self._first
        self._presses.level(at_us, rests=level is Level.NORMAL)
        if level is Level.UNKNOWN:
            self._blind, self._first = True, None
            return [Change(Show.UNKNOWN, at_us, at_us)]
        self._blind = False
        if level is Level.NORMAL:
            return [Change(Show.NORMAL, at_us, at_us - self._rule.release_us, initial)]
        since_us = at_us - self._rule.confirm_us
        changes = [Change(Show.ACTIVE, at_us, since_us, initial)]
        if not initial and not self._presses.counted_since(at_us - SAME_PRESS_US):
            self._presses.level_told(at_us, self._presses.inputs)
            changes.append(Change(Show.CAME_UP, at_us, since_us))
        return changes
