"""Every point's memory: readings in, facts out, woken at their deadlines. Decides nothing itself.

A reading goes to the point's monitor, what that concludes through the modes that stand, and what is
left to the register of alarms. Counters are kept with the alarm that was counted from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.clock import Clock, Timer
from gateway.core.alarms import Register
from gateway.core.counter import Remember
from gateway.core.doors.door import DoorMonitor
from gateway.core.kinds import class_of
from gateway.core.model import US_PER_MS, Count, Fact, Level, Reading
from gateway.core.modes import KEPT, Modes
from gateway.core.monitor import Confirmed, Monitor
from gateway.core.premises import Point, Premises
from gateway.restart import Held

RELAXED_US = 200_000
"""A deadline further away than this may be met a few milliseconds late."""

NOT_BEFORE_MS = 1_767_225_600_000
"""2026-01-01: what is dated earlier was dated by a clock that was wrong. How long ago it was is not
known then, nor while this clock is not synchronised; it counts from the start."""

_COUNT = "count "
_PACE = ""
"""No point: the timer of presses that are held back."""

Item = Confirmed | Fact | Remember
Tell = Callable[[Iterable[Fact], Mapping[str, str]], None]
Keep = Callable[[Mapping[str, str]], None]


def counts_of(kept: Mapping[str, str]) -> dict[str, Remember]:
    """The counters' last values among what was kept, by input address."""
    found = {}
    for name, value in kept.items():
        if name.startswith(_COUNT):
            address, told = name.removeprefix(_COUNT), json.loads(value)
            owed = told.pop("owed", 0)
            found[address] = Remember(address, Count(**told), owed)
    return found


class Points:
    """The monitors of one premises. `tell` records facts, `keep` remembers what makes none."""

    def __init__(
        self,
        premises: Premises,
        clock: Clock,
        *,
        held: Held,
        register: Register,
        modes: Modes,
        new_id: Callable[[int], str],
        tell: Tell,
        keep: Keep,
    ) -> None:
        self._clock = clock
        self._register = register
        self._modes = modes
        self._new_id = new_id
        self._tell = tell
        self._keep = keep
        counts = counts_of(held.kept)
        self._monitors = {point.id: self._monitor(point, held, counts) for point in premises.points}
        self._addresses = {
            address: point.id for point in premises.points for address in self._watched(point)
        }
        self._timers: dict[str, Timer] = {}
        self._pace_us = 0

    def _monitor(
        self, point: Point, held: Held, kept: Mapping[str, Remember]
    ) -> Monitor | DoorMonitor:
        counts = {address: one.count for address, one in kept.items()}
        if point.door is not None:
            return DoorMonitor(point, counts=counts)
        now_us = self._clock.now_us()
        proved_ms = held.last_proved.get(point.id, held.first_start_utc_ms)
        now = self._clock.stamp(now_us)
        dated = now.synchronised and proved_ms >= NOT_BEFORE_MS
        age_ms = max(0, now.utc_ms - proved_ms) if dated else 0
        return Monitor(
            point,
            proved_us=now_us - age_ms * US_PER_MS,
            counts=counts,
            owed={address: one.owed for address, one in kept.items()},
        )

    def _watched(self, point: Point) -> tuple[str, ...]:
        monitor = self._monitors[point.id]
        return monitor.addresses if isinstance(monitor, DoorMonitor) else point.input.addresses

    # --- what can be asked -----------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Level and standing faults of every point."""
        return {
            name: {"level": monitor.level.value, "faults": list(monitor.faults)}
            for name, monitor in self._monitors.items()
        }

    def level(self, point_id: str) -> Level:
        """A point's confirmed level; UNKNOWN before the first."""
        return self._monitors[point_id].level

    # --- what happens ----------------------------------------------------------------------------

    def collect(self, reading: Reading) -> None:
        """A driver saw an input. Facts that follow are recorded and sent before this returns."""
        point_id = self._addresses.get(reading.input)
        if point_id is not None:  # else an output nobody's monitor looks at
            self._concluded(point_id, self._monitors[point_id].feed(reading))

    def opened(self, door_id: str, *, at_us: int, for_ms: int, by: str) -> None:
        """A timed opening of a door was confirmed: it may be opened once."""
        door = self._monitors[door_id]
        if isinstance(door, DoorMonitor):
            until_us = at_us + for_ms * US_PER_MS
            self._concluded(door_id, door.unlocked(at_us=at_us, until_us=until_us, by=by))

    def locked(self, door_id: str, *, at_us: int) -> None:
        """A door was locked: what is left of a timed opening is over."""
        door = self._monitors[door_id]
        if isinstance(door, DoorMonitor):
            self._concluded(door_id, door.locked(at_us=at_us))

    def free(self, door_id: str, *, on: bool, at_us: int, why: str) -> None:
        """A door stands free from now on, or no longer."""
        door = self._monitors[door_id]
        if isinstance(door, DoorMonitor):
            self._concluded(door_id, door.free(on=on, at_us=at_us, why=why))

    def pass_on(self, items: Iterable[Item]) -> None:
        """What the modes have let go of: levels to the register, facts to the record.

        An alarm whose drill is over by that, and that still calls, is meant from now on.
        """
        self._told(items, {})
        now_us = self._clock.now_us()
        open_alarms = {alarm.id: alarm.kind for alarm in self._register.open}
        for alarm in self._modes.outlived(open_alarms):
            meant = self._register.drill_over(alarm, new_id=self._new_id(now_us), at_us=now_us)
            if meant:
                self._tell(meant, {})

    def stop(self) -> None:
        """No deadline is met any more."""
        for timer in self._timers.values():
            timer.cancel()

    def _woken(self, point_id: str) -> None:
        self._concluded(point_id, self._monitors[point_id].wake(self._clock.now_us()))

    def _concluded(self, point_id: str, found: Iterable[Item]) -> None:
        items = list(found)
        kept = {
            _COUNT + item.input: json.dumps(
                {
                    "value": item.count.value,
                    "width": item.count.width,
                    "uptime_s": item.count.uptime_s,
                    "owed": item.owed,
                }
            )
            for item in items
            if isinstance(item, Remember)
        }
        passed: list[Item] = []
        for item in items:
            passed += self._modes.pressed(item) if isinstance(item, Confirmed) else [item]
        if any(isinstance(item, Fact) and class_of(item.type) == "test" for item in passed):
            now_us = self._clock.now_us()  # a walk test has one press, also through a restart
            kept[KEPT] = json.dumps(self._modes.memory(self._clock.stamp(now_us), now_us))
        self._told(passed, kept)
        self._schedule(point_id)

    def _told(self, items: Iterable[Item], kept: Mapping[str, str]) -> None:
        for item in items:
            facts: Iterable[Fact] = ()
            if isinstance(item, Confirmed):
                facts = self._register.confirm(item, new_id=self._new_id(item.at_us))
            elif isinstance(item, Fact):
                facts = (item,)
            if facts:
                self._tell(facts, kept)
                kept = {}
        if kept:
            self._keep(kept)
        self._await_pace()

    def _await_pace(self) -> None:
        """A press that is held back makes no event, and nobody else looks before its moment."""
        due_us = self._register.deadline()
        if due_us is None or (_PACE in self._timers and due_us == self._pace_us):
            return
        if _PACE in self._timers:
            self._timers.pop(_PACE).cancel()
        self._pace_us = due_us
        self._timers[_PACE] = self._clock.call_at(due_us, self._paced, relaxed=True)

    def _paced(self) -> None:
        self._timers.pop(_PACE, None)
        self._told(self._register.wake(self._clock.now_us()), {})

    def _schedule(self, point_id: str) -> None:
        timer = self._timers.pop(point_id, None)
        if timer is not None:
            timer.cancel()
        due_us = self._monitors[point_id].deadline()
        if due_us is not None:
            far = due_us - self._clock.now_us() > RELAXED_US
            self._timers[point_id] = self._clock.call_at(
                due_us, lambda: self._woken(point_id), relaxed=far
            )
