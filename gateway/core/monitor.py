"""The Monitor for contacts: one point's readings become confirmed levels and faults. Pure.

It joins a change-over pair into one level, has it debounced, and watches what the debouncer cannot:
wiring that contradicts itself, a button that stays in, a point nobody has proved for too long.
What a confirmed press means for an alarm is not decided here but in `alarms.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.core.debounce import Conclusion, Debouncer, Verdict, rule_for
from gateway.core.model import (
    US_PER_MS,
    Fact,
    Json,
    Level,
    Point,
    PointKind,
    Reading,
    WiringDoubt,
)

PAIR: dict[tuple[Level, Level], Level] = {
    # (normally open, normally closed): both are given as NORMAL at rest, ACTIVE when pressed
    (Level.NORMAL, Level.NORMAL): Level.NORMAL,  # open, closed: at rest
    (Level.ACTIVE, Level.ACTIVE): Level.ACTIVE,  # closed, open: pressed
    (Level.ACTIVE, Level.NORMAL): Level.UNKNOWN,  # both closed: NO shorted, or NC welded in a press
    (
        Level.NORMAL,
        Level.ACTIVE,
    ): Level.UNKNOWN,  # both open: NC or common cut, or NO cut in a press
}
"""The truth table of a change-over pair. Whatever is not listed could not be read: UNKNOWN.

A healthy switch passes through "both open" in a few ms of travel, so UNKNOWN counts after 200 ms.
A cut NO wire and a shorted NC wire look like rest: only a press shows them.
"""

_FAILING = {PointKind.MAINS: "mains", PointKind.BATTERY: "battery"}


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A point's level is believed since `at_us`.

    doubtful: concluded from damaged wiring. initial: it has been so since before the start.
    """

    point: str
    level: Level
    at_us: int
    doubtful: bool = False
    initial: bool = False


class Monitor:
    """One point's memory: `feed` readings, `wake` at `deadline`; both give what became true.

    `proved_us` is when the point was last seen to work (its commissioning when never), on the
    monotonic clock; it may be negative.
    """

    __slots__ = (
        "_active_us",
        "_debouncer",
        "_faults",
        "_inputs",
        "_point",
        "_proved_us",
        "_to_prove",
        "_watched_us",
    )

    def __init__(self, point: Point, *, proved_us: int) -> None:
        self._point = point
        self._debouncer = Debouncer(rule_for(point))
        self._inputs: dict[str, Level] = {}
        self._proved_us = proved_us
        self._active_us: int | None = None
        self._faults: dict[str, dict[str, Json]] = {}
        self._to_prove: set[Level] = set()
        self._watched_us: int | None = None

    @property
    def level(self) -> Level:
        """The confirmed level; UNKNOWN before the first."""
        return self._debouncer.confirmed or Level.UNKNOWN

    @property
    def faults(self) -> tuple[str, ...]:
        """The kinds of fault that stand at this point, sorted."""
        return tuple(sorted(self._faults))

    def feed(self, reading: Reading) -> list[Confirmed | Fact]:
        """One of the point's inputs shows a level."""
        found = self.wake(reading.at_us)
        self._inputs[reading.input] = reading.level
        if len(self._inputs) < len(self._point.input.addresses):
            return found
        concluded = self._debouncer.feed(self._joined(), reading.at_us)
        return found + [item for conclusion in concluded for item in self._conclude(conclusion)]

    def wake(self, now_us: int) -> list[Confirmed | Fact]:
        """Everything that has become true by `now_us`, in order."""
        found: list[Confirmed | Fact] = []
        while (due_us := self.deadline()) is not None and due_us <= now_us:
            for conclusion in self._debouncer.wake(due_us):
                found += self._conclude(conclusion)
            if self._stuck_due() == due_us:
                found += self._raise("stuck", due_us, {"after_ms": self._point.stuck_after_ms})
            if self._unproved_due() == due_us:
                self._to_prove = {Level.ACTIVE}
                found += self._raise("wiring", due_us, {"why": "unproved"})
        return found

    def deadline(self) -> int | None:
        """When `wake` will have something to say if no reading comes; None: never."""
        moments = (self._debouncer.deadline(), self._stuck_due(), self._unproved_due())
        return min((moment for moment in moments if moment is not None), default=None)

    def _joined(self) -> Level:
        wires = self._point.input
        if wires.pair:
            assert wires.normally_open is not None
            assert wires.normally_closed is not None
            both = (self._inputs[wires.normally_open], self._inputs[wires.normally_closed])
            return PAIR.get(both, Level.UNKNOWN)
        return self._inputs[wires.addresses[0]]

    def _stuck_due(self) -> int | None:
        point = self._point
        if self._active_us is None or point.stuck_after_ms is None or "stuck" in self._faults:
            return None
        if point.mechanical_latch or not point.person_operated:
            return None
        return self._active_us + point.stuck_after_ms * US_PER_MS

    def _unproved_due(self) -> int | None:
        """Never before a level is known: the fault is told now, not stamped into the past."""
        within_ms = self._point.prove_within_ms
        if within_ms is None or self._watched_us is None or "wiring" in self._faults:
            return None
        return max(self._proved_us + within_ms * US_PER_MS, self._watched_us)

    # --- what a conclusion means ---------------------------------------------------------------

    def _conclude(self, conclusion: Conclusion) -> list[Confirmed | Fact]:
        at_us = conclusion.at_us
        if conclusion.verdict is Verdict.CHATTERS:
            return self._raise("chatter", at_us, {})
        if conclusion.verdict is Verdict.SETTLED:
            return self._clear("chatter", at_us)
        return self._level(conclusion)

    def _level(self, conclusion: Conclusion) -> list[Confirmed | Fact]:
        """The one transition table: which level was confirmed, and what follows at this kind."""
        at_us, level = conclusion.at_us, conclusion.level
        held, self._active_us = self._active_us, at_us if level is Level.ACTIVE else None
        self._watched_us = at_us
        confirmed = Confirmed(self._point.id, level, at_us, initial=conclusion.initial)
        failing = _FAILING.get(self._point.kind)
        match level:
            case Level.ACTIVE:
                self._proved_us = at_us
                found = self._raise(failing, at_us, {}) if failing else [confirmed]
                return found + self._proof(level, at_us)
            case Level.NORMAL:
                found = self._clear(failing, at_us) if failing else [confirmed]
                return [*self._clear("stuck", at_us), *found, *self._proof(level, at_us)]
            case _:  # UNKNOWN
                # letting go of a damaged button is no second press: it was told when it went in
                if held is None and self._alarms_on_doubt():
                    confirmed = replace(confirmed, level=Level.ACTIVE, doubtful=True)
                found = [] if failing else [confirmed]
                return found + self._damaged(at_us)

    def _damaged(self, at_us: int) -> list[Confirmed | Fact]:
        """The wiring contradicts itself, or cannot be read.

        A cut NO wire looks healthy again as soon as the button is let go, so a button's wiring
        fault stands until the pair has since agreed both at rest and pressed.
        """
        if self._point.person_operated and self._readable():
            self._to_prove |= {Level.ACTIVE, Level.NORMAL}
        return self._raise("wiring", at_us, self._why())

    def _proof(self, level: Level, at_us: int) -> list[Confirmed | Fact]:
        """What an agreeing level proves about wiring that was in doubt."""
        self._to_prove.discard(level)
        return [] if self._to_prove else self._clear("wiring", at_us)

    def _alarms_on_doubt(self) -> bool:
        point = self._point
        return (
            point.person_operated and point.wiring_doubt is WiringDoubt.ALARM and self._readable()
        )

    def _readable(self) -> bool:
        return Level.UNKNOWN not in self._inputs.values()

    def _why(self) -> dict[str, Json]:
        if not self._readable():
            return {"why": "unreadable"}
        wires = self._point.input
        closed = wires.normally_open and self._inputs[wires.normally_open] is Level.ACTIVE
        return {"why": "both-closed" if closed else "both-open"}

    def _raise(self, kind: str, at_us: int, data: dict[str, Json]) -> list[Confirmed | Fact]:
        """Told again while it stands only when what is wrong has changed; one clearing ends it."""
        if self._faults.get(kind) == data:
            return []
        self._faults[kind] = data
        return [Fact(f"fault.{kind}.raised", self._point.id, at_us, data=data)]

    def _clear(self, kind: str, at_us: int) -> list[Confirmed | Fact]:
        if self._faults.pop(kind, None) is None:
            return []
        return [Fact(f"fault.{kind}.cleared", self._point.id, at_us)]
