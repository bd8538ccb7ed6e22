"""Modes that change what an input means, for a bounded time: drill, isolation, walk test. Pure.

Nothing here can blind: what a person presses is always actual in a drill, an isolated point that is
active when its time is over alarms then, and every mode ends by itself, also through a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.kinds import class_of, kind_of, phase_of
from gateway.core.model import US_PER_MS, Event, Fact, Json, Level, Stamp, Status
from gateway.core.monitor import Confirmed
from gateway.core.premises import Point
from gateway.core.verbs import Drill

WALK_HOLD_US = 3_000_000
"""A walk-tested button held longer is meant: somebody may need help during the test."""

EVERY_ROUTE = "*"
"""Beginning and end of a mode are owed to everybody, whatever their list says."""

DRILL, ISOLATION, WALK_TEST = "drill", "isolation", "walk-test"

KEPT = "modes"
"""Under which name the ledger keeps what must outlive a restart."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One mode that stands. subject: the drill's kind or the point. by: who asked for it.

    pressed: a walk test has had its one press.
    """

    name: str
    subject: str
    until_us: int
    for_ms: int
    by: str
    pressed: bool = False


class Modes:
    """Every mode of the premises; `pressed` is the gate between a point's level and the alarms."""

    def __init__(self, points: Iterable[Point], *, gateway: str) -> None:
        self._points = {point.id: point for point in points}
        self._gateway = gateway
        self._modes: dict[tuple[str, str], Mode] = {}
        self._exercises: set[str] = set()
        self._withheld: dict[tuple[str, str], Confirmed] = {}
        self._held: dict[str, Confirmed] = {}

    # --- what can be asked -----------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """What stands but isolations, as in heartbeats: `drill:fire`, `walk-test:reception`."""
        standing = (mode for mode in self._modes.values() if mode.name != ISOLATION)
        return tuple(f"{mode.name}:{mode.subject}" for mode in standing)

    @property
    def isolated(self) -> tuple[str, ...]:
        """The points out of service on purpose."""
        return tuple(mode.subject for mode in self._modes.values() if mode.name == ISOLATION)

    def status(self, fact: Fact) -> Status:
        """Whether a fact is meant. An alarm stays what it was raised as, to its end."""
        if class_of(fact.type) == "test":
            return Status.TEST
        if fact.alarm is None:
            return Status.ACTUAL
        raised = class_of(fact.type) == "alarm" and phase_of(fact.type) == "raised"
        if raised and (DRILL, kind_of(fact.type)) in self._modes and not fact.data.get("actual"):
            self._exercises.add(fact.alarm)
        status = Status.EXERCISE if fact.alarm in self._exercises else Status.ACTUAL
        if class_of(fact.type) == "alarm" and phase_of(fact.type) == "cleared":
            self._exercises.discard(fact.alarm)
        return status

    def exercises(self, kind: str, open_alarms: Mapping[str, str]) -> list[str]:
        """Which of the open alarms (id to kind) of a kind were raised as an exercise."""
        return [
            alarm for alarm, of in open_alarms.items() if of == kind and alarm in self._exercises
        ]

    def outlived(self, open_alarms: Mapping[str, str]) -> list[str]:
        """Which of the open alarms (id to kind) are exercises of a drill that is over."""
        return [
            alarm
            for drill in Drill
            if (DRILL, drill.value) not in self._modes
            for alarm in self.exercises(drill.value, open_alarms)
        ]

    def deadline(self) -> int | None:
        """When `wake` will have something to say; None: never."""
        moments = [mode.until_us for mode in self._modes.values()]
        moments += [confirmed.at_us + WALK_HOLD_US for confirmed in self._held.values()]
        return min(moments, default=None)

    # --- what is asked for -----------------------------------------------------------------------

    def drill(self, kind: Drill, *, for_ms: int, at_us: int, by: str) -> list[Fact]:
        """Practise a kind of alarm: those raised meanwhile are exercises."""
        return self._begin(DRILL, kind.value, for_ms=for_ms, at_us=at_us, by=by)

    def end_drill(self, kind: Drill, *, at_us: int, by: str) -> list[Fact]:
        """The drill is over; nothing where none stands."""
        return self._end((DRILL, kind.value), at_us, by)

    def isolate(self, point: str, *, for_ms: int, at_us: int, by: str) -> list[Confirmed | Fact]:
        """Take a point out of service; for_ms 0 brings it back, nothing where it is in service."""
        if for_ms:
            return [*self._begin(ISOLATION, point, for_ms=for_ms, at_us=at_us, by=by)]
        return [*self._end((ISOLATION, point), at_us, by), *self._released(point, at_us)]

    def walk_test(self, point: str, *, for_ms: int, at_us: int, by: str) -> list[Fact]:
        """Let one press of a button be a test; for_ms 0 ends it, nothing where none stands.

        One point at a time: another's test ends when this one begins.
        """
        if not for_ms:
            return self._end((WALK_TEST, point), at_us, by)
        found: list[Fact] = []
        for mode in [mode for mode in self._modes.values() if mode.name == WALK_TEST]:
            if mode.subject != point:
                found += self._end((WALK_TEST, mode.subject), at_us, by)
        return found + self._begin(WALK_TEST, point, for_ms=for_ms, at_us=at_us, by=by)

    def pressed(self, confirmed: Confirmed) -> list[Confirmed | Fact]:
        """What a confirmed level is under the modes that stand: itself, or something less.

        | the point is    | ACTIVE                         | NORMAL, UNKNOWN |
        |-----------------|--------------------------------|-----------------|
        | isolated        | withheld, and told as such     | itself          |
        | walk-tested     | the first is a test            | itself          |
        | … and held 3 s  | itself                         |                 |
        | neither         | itself                         | itself          |
        """
        point, key = confirmed.point, (confirmed.point, confirmed.alarm)
        if confirmed.level is not Level.ACTIVE:
            self._withheld.pop(key, None)
            self._held.pop(point, None)
            return [confirmed]
        if (ISOLATION, point) in self._modes:
            self._withheld[key] = confirmed
            return [Fact("state.isolated.active", point, confirmed.at_us)]
        mode = self._modes.get((WALK_TEST, point))
        if mode is None or mode.pressed or confirmed.initial:
            return [confirmed]
        self._modes[WALK_TEST, point] = replace(mode, pressed=True)
        self._held[point] = confirmed
        kind = f"test.{self._points[point].kind.value}.pressed"
        data: dict[str, Json] = {"by": mode.by}
        return [Fact(kind, point, confirmed.at_us, data=data)]

    def wake(self, now_us: int) -> list[Confirmed | Fact]:
        """Modes whose time is over, and buttons held too long to be a test."""
        found: list[Confirmed | Fact] = []
        for point, confirmed in list(self._held.items()):
            if confirmed.at_us + WALK_HOLD_US <= now_us:
                del self._held[point]
                found.append(replace(confirmed, at_us=confirmed.at_us + WALK_HOLD_US))
        for key, mode in list(self._modes.items()):
            if mode.until_us <= now_us:
                found += self._end(key, mode.until_us, "time")
                if mode.name == ISOLATION:
                    found += self._released(mode.subject, mode.until_us)
        return found

    # --- through a restart -----------------------------------------------------------------------

    def memory(self, stamp: Stamp, now_us: int) -> list[Json]:
        """What must outlive a restart: the modes, their ends on both clocks of this moment."""
        kept: list[Json] = []
        for mode in self._modes.values():
            left_ms = max(0, (mode.until_us - now_us) // US_PER_MS)
            kept.append(
                {
                    "name": mode.name,
                    "subject": mode.subject,
                    "for_ms": mode.for_ms,
                    "by": mode.by,
                    "pressed": mode.pressed,
                    "boot": stamp.boot,
                    "synchronised": stamp.synchronised,
                    "until_monotonic_ms": stamp.monotonic_ms + left_ms,
                    "until_utc_ms": stamp.utc_ms + left_ms,
                }
            )
        return kept

    def restore(
        self, memory: Iterable[Any], events: Iterable[Event], stamp: Stamp, now_us: int
    ) -> list[Fact]:
        """Take over modes of before a restart, and which open alarms were exercises.

        After a new boot the time left is known from UTC, if it was synchronised then and is now;
        where it is not, the mode ends now: too early does no harm, too late may. What cannot be
        read of what was kept stands no longer.
        """
        for event in events:
            if event.status is Status.EXERCISE and event.alarm is not None:
                self._exercises.add(event.alarm)
        found: list[Fact] = []
        for kept in memory:
            try:
                mode = _kept(kept, stamp, now_us)
            except (KeyError, TypeError, ValueError):
                continue
            if mode.name != DRILL and mode.subject not in self._points:
                continue
            self._modes[mode.name, mode.subject] = mode
            if mode.until_us <= now_us:
                found += self._end((mode.name, mode.subject), now_us, "time")
        return found

    # --- within ----------------------------------------------------------------------------------

    def _begin(self, name: str, subject: str, *, for_ms: int, at_us: int, by: str) -> list[Fact]:
        until_us = at_us + for_ms * US_PER_MS
        self._modes[name, subject] = Mode(name, subject, until_us, for_ms, by)
        data: dict[str, Json] = {"mode": name, "subject": subject, "for_ms": for_ms, "by": by}
        return [self._fact("state.mode.begun", name, subject, at_us, data)]

    def _end(self, key: tuple[str, str], at_us: int, by: str) -> list[Fact]:
        mode = self._modes.pop(key, None)
        if mode is None:
            return []
        data: dict[str, Json] = {"mode": mode.name, "subject": mode.subject, "by": by}
        return [self._fact("state.mode.ended", mode.name, mode.subject, at_us, data)]

    def _fact(
        self, kind: str, name: str, subject: str, at_us: int, data: Mapping[str, Json]
    ) -> Fact:
        where = self._gateway if name == DRILL else subject
        return Fact(kind, where, at_us, data=data, to=(EVERY_ROUTE,))

    def _released(self, point: str, at_us: int) -> list[Confirmed]:
        """What was withheld and is still so."""
        held = [key for key in self._withheld if key[0] == point]
        return [replace(self._withheld.pop(key), at_us=at_us) for key in held]


def _kept(kept: Mapping[str, Any], stamp: Stamp, now_us: int) -> Mode:
    """A mode as `memory` kept it; KeyError, TypeError and ValueError where it is no such thing."""
    if kept["name"] not in {DRILL, ISOLATION, WALK_TEST}:
        raise ValueError("no mode of that name")
    return Mode(
        name=kept["name"],
        subject=str(kept["subject"]),
        until_us=now_us + _left_ms(kept, stamp) * US_PER_MS,
        for_ms=int(kept["for_ms"]),
        by=str(kept["by"]),
        pressed=kept["pressed"] is not False,
    )


def _left_ms(kept: Mapping[str, Any], stamp: Stamp) -> int:
    if kept["boot"] == stamp.boot:
        left_ms = kept["until_monotonic_ms"] - stamp.monotonic_ms
    elif kept.get("synchronised") is True and stamp.synchronised:
        left_ms = kept["until_utc_ms"] - stamp.utc_ms
    else:
        left_ms = 0
    return max(0, min(int(left_ms), int(kept["for_ms"])))
