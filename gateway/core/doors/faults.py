"""What is broken at a door: parts that contradict each other for too long, as one table. Pure.

It reads what the door knows and tells faults; it never opens, closes or explains anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.kinds import REQUEST_TO_EXIT
from gateway.core.model import US_PER_MS, Fact, Json, Level
from gateway.core.premises import Point

UNUSED_MOST = 10
"""So many grants and timed openings in a row without one opening: the contact is not believed.
People who ask to leave are not counted: a sensor above a door sees everybody who walks past."""

BOLT_MOVES_MS = 2_000
"""A lock has obeyed by then: motor locks take up to 1.5 s, and a slow poll its turn."""

DOOR_RESTS_MS = 10_000
"""A closed door is locked by then, a closer's last push and a motor lock's second try included."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the door knows of its parts. None, and UNKNOWN: it does not know.

    released: the lock's output lets the door open. timed: a timed opening runs. owing: the parts
    (bolt, lock) that have not been seen to follow it yet. freed: a release stands. relock: a timed
    opening or a release has ended, and the lock was not seen locked since.
    """

    open: bool | None
    bolt: Level
    request_to_exit: Level
    released: bool | None
    timed: bool
    owing: frozenset[str]
    freed: bool
    relock: bool


def _held(door: Sight) -> bool | None:
    return None if door.request_to_exit is Level.UNKNOWN else door.request_to_exit is Level.ACTIVE


def _bolt_out_while_open(door: Sight) -> bool | None:
    if door.bolt is Level.UNKNOWN or door.open is None:
        return None
    return door.open and door.bolt is Level.NORMAL


def _bolt_stays_in(door: Sight) -> bool | None:
    if door.bolt is not Level.ACTIVE:
        return None if door.bolt is Level.UNKNOWN else False
    if door.open is None or door.released is None:
        return None
    return not (door.open or door.released or door.timed or door.freed)


def _bolt_stays_out(door: Sight) -> bool | None:
    if door.bolt is Level.ACTIVE:
        return False
    return True if "bolt" in door.owing and door.bolt is Level.NORMAL else None


def _lock_stays_locked(door: Sight) -> bool | None:
    if door.released:
        return False
    return True if "lock" in door.owing and door.released is False else None


def _lock_stays_released(door: Sight) -> bool | None:
    return None if door.released is None else door.released and door.relock


@dataclass(frozen=True, slots=True)
class Doubt:
    """One row: this part, contradicted so for longer than that, is stuck.

    test: True while it is contradicted, False once it has been seen right, None for neither.
    after_ms None: the point's own `stuck_after_ms`.
    """

    part: str
    why: str
    after_ms: int | None
    test: Callable[[Sight], bool | None]


DOUBTS = (
    Doubt(REQUEST_TO_EXIT, "held", None, _held),
    Doubt("bolt", "thrown-while-open", DOOR_RESTS_MS, _bolt_out_while_open),
    Doubt("bolt", "not-thrown", DOOR_RESTS_MS, _bolt_stays_in),
    Doubt("bolt", "not-withdrawn", BOLT_MOVES_MS, _bolt_stays_out),
    Doubt("lock", "not-released", BOLT_MOVES_MS, _lock_stays_locked),
    Doubt("lock", "not-locked", DOOR_RESTS_MS, _lock_stays_released),
)
"""Lock and contact disagree, or a part does not move. All are fault.stuck, told apart by `why`."""


class DoorFaults:
    """The faults that stand at one door. Each is raised once and cleared once, under its `why`."""

    __slots__ = ("_point", "_since", "_standing", "_unused")

    def __init__(self, point: Point) -> None:
        self._point = point
        self._since: dict[Doubt, int] = {}
        self._standing: dict[tuple[str, str, str], dict[str, Json]] = {}
        self._unused = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fault that stand, sorted."""
        return tuple(sorted({kind for kind, _, _ in self._standing}))

    def stands(self, kind: str, part: str, why: str) -> bool:
        """True while that fault stands."""
        return (kind, part, why) in self._standing

    def review(self, sight: Sight, now_us: int) -> list[Fact]:
        """The door has changed: doubts begin, and what has been seen right is cleared."""
        found = []
        for doubt in DOUBTS:
            stands = doubt.test(sight)
            if stands:
                self._since.setdefault(doubt, now_us)
                continue
            self._since.pop(doubt, None)
            if stands is False:
                found += self.clear("stuck", doubt.part, doubt.why, now_us)
        return found

    def wake(self, now_us: int) -> list[Fact]:
        """Doubts that have lasted too long by now."""
        found = []
        for doubt in list(self._since):
            due_us = self._due(doubt)
            if due_us is not None and due_us <= now_us:
                found += self.told("stuck", doubt.part, doubt.why, due_us)
        return found

    def deadline(self) -> int | None:
        """When `wake` will have something to say; None: never."""
        moments = (self._due(doubt) for doubt in self._since)
        return min((moment for moment in moments if moment is not None), default=None)

    def opened(self, now_us: int) -> list[Fact]:
        """The contact has shown an opening: it works."""
        self._unused = 0
        return self.clear("stuck", "contact", "never-opens", now_us)

    def unused(self, now_us: int) -> list[Fact]:
        """A grant or a timed opening has run out, and the door has not been opened."""
        self._unused += 1
        if self._unused < UNUSED_MOST:
            return []
        return self.told("stuck", "contact", "never-opens", now_us)

    def told(self, kind: str, part: str, why: str, at_us: int) -> list[Fact]:
        """It is broken; told once."""
        key = (kind, part, why)
        if key in self._standing:
            return []
        data: dict[str, Json] = {"part": part}
        if why:
            data["why"] = why
        self._standing[key] = data
        return [Fact(f"fault.{kind}.raised", self._point.id, at_us, data=data)]

    def clear(self, kind: str, part: str, why: str, at_us: int) -> list[Fact]:
        """It is whole again; told when it was told broken."""
        data = self._standing.pop((kind, part, why), None)
        if data is None:
            return []
        return [Fact(f"fault.{kind}.cleared", self._point.id, at_us, data=data)]

    def read(self, part: str, at_us: int) -> list[Fact]:
        """A part could be read: whatever its wiring was said to be, it is whole."""
        whys = [why for kind, name, why in self._standing if (kind, name) == ("wiring", part)]
        return [fact for why in whys for fact in self.clear("wiring", part, why, at_us)]

    def _due(self, doubt: Doubt) -> int | None:
        if self.stands("stuck", doubt.part, doubt.why):
            return None
        after_ms = doubt.after_ms or self._point.stuck_after_ms
        return None if after_ms is None else self._since[doubt] + after_ms * US_PER_MS
