"""The Monitor for contacts: one point's readings become confirmed levels and faults. Pure.

It joins a change-over pair into one level, has it debounced, and watches what the debouncer cannot:
wiring that contradicts itself, a button that stays in, a point nobody has proved for too long.
Where a unit counts, presses come from its counters, and the level only says held or at rest.
What a confirmed press means for an alarm is not decided here but in `alarms.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from gateway.core.counter import SAME_PRESS_US, Presses, Remember
from gateway.core.debounce import Conclusion, Debouncer, Verdict, rule_for
from gateway.core.hardware import device_of
from gateway.core.model import US_PER_MS, Count, Fact, Json, Level, Reading
from gateway.core.premises import Point, PointKind, WiringDoubt

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

A healthy switch passes through "both open" in a few ms of travel, so UNKNOWN counts after 200 ms,
on a unit, which is looked at five times a second, after 450 (`debounce.ON_A_UNIT`). A cut NO wire
and a shorted NC wire look like rest: only a press shows them.
"""

UNCOUNTED_US = 1_000_000
"""A level that shows a press for so long, and no count with it, is a press all the same."""

_FAILING = {PointKind.MAINS: "mains", PointKind.BATTERY: "battery"}


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A point's level is believed since `at_us`.

    doubtful: concluded from damaged wiring, or from a unit that has just started. initial: it has
    been so since before the start, or since its unit fell silent. alarm: the kind of alarm it
    speaks of, where that is not the point's own (doors). counter: what counted it.
    """

    point: str
    level: Level
    at_us: int
    doubtful: bool = False
    initial: bool = False
    alarm: str = ""
    counter: Remember | None = None


Item: TypeAlias = Confirmed | Fact | Remember


class Monitor:
    """One point's memory: `feed` readings, `wake` at `deadline`; both give what became true.

    `proved_us` is when the point was last seen to work (its commissioning when never), on the
    monotonic clock; it may be negative. `counts`, `owed`: what was last kept of counters, by
    address; a press made while the gateway was away is told by it once, and not again.
    """

    __slots__ = (
        "_active_us",
        "_blind",
        "_debouncer",
        "_doubted",
        "_faults",
        "_found",
        "_inputs",
        "_point",
        "_presses",
        "_proved_us",
        "_rests_us",
        "_shown",
        "_to_prove",
        "_uncounted_us",
        "_watched_us",
    )

    def __init__(
        self,
        point: Point,
        *,
        proved_us: int,
        counts: Mapping[str, Count] = MappingProxyType({}),
        owed: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        wires = point.input
        self._point = point
        self._debouncer = Debouncer(rule_for(point))
        self._inputs: dict[str, Level] = {}
        self._presses = Presses(
            counts,
            starts_at_rest={
                address: point.person_operated and address != wires.normally_closed
                for address in wires.addresses
            },
            owed=owed,
        )
        self._proved_us = proved_us
        self._active_us: int | None = None
        self._uncounted_us: int | None = None
        self._rests_us: int | None = None
        self._shown = Level.UNKNOWN
        self._blind = False
        self._doubted = False
        self._found: Level | None = None
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

    def feed(self, reading: Reading) -> list[Item]:
        """One of the point's inputs shows a level, and what its unit has counted."""
        found = self.wake(reading.at_us)
        self._inputs[reading.input] = reading.level
        found += self._counted(reading)
        if len(self._inputs) < len(self._point.input.addresses):
            return found
        joined = self._joined()
        if self._found is None and joined is not Level.UNKNOWN:
            self._found = joined
        for conclusion in self._debouncer.feed(joined, reading.at_us):
            found += self._conclude(conclusion)
        return [*found, *self._let_go(reading.at_us), *self._presses.debts()]

    def wake(self, now_us: int) -> list[Item]:
        """Everything that has become true by `now_us`, in order."""
        found: list[Item] = []
        while (due_us := self.deadline()) is not None and due_us <= now_us:
            for conclusion in self._debouncer.wake(due_us):
                found += self._conclude(conclusion)
            if self._uncounted_us == due_us:
                found += self._uncounted(due_us)
            if self._rests_us == due_us:
                found += self._let_go(due_us)
            if self._stuck_due() == due_us:
                found += self._raise("stuck", due_us, {"after_ms": self._point.stuck_after_ms})
            if self._unproved_due() == due_us:
                self._to_prove = {Level.ACTIVE}
                found += self._raise("wiring", due_us, {"why": "unproved"})
        return [*found, *self._presses.debts()]

    def deadline(self) -> int | None:
        """When `wake` will have something to say if no reading comes; None: never."""
        moments = (
            self._debouncer.deadline(),
            self._uncounted_us,
            self._rests_us,
            self._stuck_due(),
            self._unproved_due(),
        )
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

    # --- what a unit has counted ---------------------------------------------------------------

    def _counted(self, reading: Reading) -> list[Item]:
        """Presses nobody has told yet, each confirmed; and what to keep of the counter."""
        if self._point.kind in _FAILING:
            return []
        seen, kept = self._presses.feed(reading)
        found: list[Item] = []
        if seen.presses:
            # a key turned while nobody looked says nothing of alarms raised since
            initial = self.level is Level.UNKNOWN and self._point.kind is PointKind.RESET_KEY
            pressed = Confirmed(
                self._point.id,
                Level.ACTIVE,
                reading.at_us,
                doubtful=seen.doubtful,
                initial=initial,
                counter=kept,
            )
            found += [pressed] * seen.presses
            self._shown, self._uncounted_us = Level.ACTIVE, None
            if not (seen.doubtful or self._point.input.pair or reading.level is Level.UNKNOWN):
                self._proved_us = reading.at_us
                found += self._proof(Level.ACTIVE, reading.at_us)
        return found if kept is None else [*found, kept]

    def _let_go(self, at_us: int) -> list[Item]:
        """A press that was told by its count alone is over when the level is at rest.

        A machine's contact may just have closed: its level was read before the counter, and is
        given the time to be read again.
        """
        self._rests_us = None
        if self._shown is not Level.ACTIVE or self._point.kind in _FAILING:
            return []
        counted_us = self._presses.counted_us
        if counted_us is not None and not self._by_hand() and at_us < counted_us + SAME_PRESS_US:
            self._rests_us = counted_us + SAME_PRESS_US
            return []
        if not (self._debouncer.confirmed is Level.NORMAL and self._joined() is Level.NORMAL):
            return []
        self._shown = Level.NORMAL
        return [Confirmed(self._point.id, Level.NORMAL, at_us)]

    def _uncounted(self, at_us: int) -> list[Item]:
        """A button's counter has missed a press that its level showed: it is told all the same."""
        self._uncounted_us = None
        self._presses.level_told(at_us, self._presses.inputs)
        self._shown = Level.ACTIVE
        return [Confirmed(self._point.id, Level.ACTIVE, at_us), *self._let_go(at_us)]

    def _told_by_count(self, confirmed: Confirmed) -> bool:
        """True when a level that has become ACTIVE is not to be told, or not yet."""
        at_us, counters = confirmed.at_us, self._presses.inputs
        if not counters:
            return False
        told = self._presses.counted_since(at_us - SAME_PRESS_US)
        if confirmed.initial:
            if not told:  # found pressed: its counter may have been read before it was
                self._presses.level_led(at_us, opens_at_rest=self._point.input.normally_open)
            return told
        if self._doubted:
            return True
        if self._point.input.normally_open in counters and self._by_hand():
            if not told:
                self._uncounted_us = at_us + UNCOUNTED_US
            return True
        # a contact closed at rest counts when it is let go, and a machine never waits to be told
        just = self._presses.counted_since(at_us - rule_for(self._point).window_us)
        if self._rests_us is None and not just:
            self._presses.level_told(at_us, counters)
            return False
        return True

    def _by_hand(self) -> bool:
        return self._point.person_operated or self._point.kind is PointKind.RESET_KEY

    # --- what a conclusion means ---------------------------------------------------------------

    def _conclude(self, conclusion: Conclusion) -> list[Item]:
        at_us = conclusion.at_us
        if conclusion.verdict is Verdict.CHATTERS:
            return self._raise("chatter", at_us, {})
        if conclusion.verdict is Verdict.SETTLED:
            return self._clear("chatter", at_us)
        return self._level(conclusion)

    def _level(self, conclusion: Conclusion) -> list[Item]:
        """The one transition table: which level was confirmed, and what follows at this kind."""
        at_us, level = conclusion.at_us, conclusion.level
        held, self._active_us = self._active_us, at_us if level is Level.ACTIVE else None
        initial = conclusion.initial or (self._blind and level is self._found)
        confirmed = Confirmed(self._point.id, level, at_us, initial=initial)
        failing = _FAILING.get(self._point.kind)
        self._presses.level(at_us, rests=level is Level.NORMAL)
        if level is Level.UNKNOWN and self._silent():
            # its unit's silence is a fault of its own, told once for all that hangs on it
            self._blind, self._found, self._shown = True, None, level
            return [] if failing else [confirmed]
        self._watched_us, self._blind = at_us, False
        match level:
            case Level.ACTIVE:
                self._proved_us = at_us
                if failing:
                    found = self._raise(failing, at_us, {})
                else:
                    found = [] if self._told_by_count(confirmed) else [self._show(confirmed)]
                return found + self._proof(level, at_us)
            case Level.NORMAL:
                self._doubted = False
                found = self._clear(failing, at_us) if failing else [self._show(confirmed)]
                return [*self._clear("stuck", at_us), *found, *self._proof(level, at_us)]
            case _:  # UNKNOWN
                # letting go of a damaged button is no second press: it was told when it went in
                if held is None and self._alarms_on_doubt(at_us):
                    confirmed = replace(confirmed, level=Level.ACTIVE, doubtful=True)
                found = [] if failing else [self._show(confirmed)]
                return found + self._damaged(at_us)

    def _show(self, confirmed: Confirmed) -> Confirmed:
        self._shown, self._rests_us = confirmed.level, None
        return confirmed

    def _damaged(self, at_us: int) -> list[Item]:
        """The wiring contradicts itself, or cannot be read.

        A cut NO wire looks healthy again as soon as the button is let go, so a button's wiring
        fault stands until the pair has since agreed both at rest and pressed.
        """
        if self._point.person_operated and self._readable():
            self._to_prove |= {Level.ACTIVE, Level.NORMAL}
        return self._raise("wiring", at_us, self._why())

    def _proof(self, level: Level, at_us: int) -> list[Item]:
        """What an agreeing level proves about wiring that was in doubt."""
        self._to_prove.discard(level)
        return [] if self._to_prove else self._clear("wiring", at_us)

    def _alarms_on_doubt(self, at_us: int) -> bool:
        point = self._point
        doubted = point.person_operated and point.wiring_doubt is WiringDoubt.ALARM
        if not doubted or not self._readable():
            return False
        if self._presses.counted_since(at_us - SAME_PRESS_US):
            return False
        # a sound button between two looks is no different: then both contacts have yet to count it
        self._presses.level_led(at_us, opens_at_rest=point.input.normally_open)
        self._doubted = bool(self._presses.inputs)
        return True

    def _silent(self) -> bool:
        """True when all that cannot be read hangs on a unit."""
        unread = [name for name, level in self._inputs.items() if level is Level.UNKNOWN]
        return bool(unread) and all(device_of(name) is not None for name in unread)

    def _readable(self) -> bool:
        return Level.UNKNOWN not in self._inputs.values()

    def _why(self) -> dict[str, Json]:
        if not self._readable():
            return {"why": "unreadable"}
        wires = self._point.input
        closed = wires.normally_open and self._inputs[wires.normally_open] is Level.ACTIVE
        return {"why": "both-closed" if closed else "both-open"}

    def _raise(self, kind: str, at_us: int, data: dict[str, Json]) -> list[Item]:
        """Told again while it stands only when what is wrong has changed; one clearing ends it."""
        if self._faults.get(kind) == data:
            return []
        self._faults[kind] = data
        return [Fact(f"fault.{kind}.raised", self._point.id, at_us, data=data)]

    def _clear(self, kind: str, at_us: int) -> list[Item]:
        if self._faults.pop(kind, None) is None:
            return []
        return [Fact(f"fault.{kind}.cleared", self._point.id, at_us)]
