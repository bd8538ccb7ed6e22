"""The Monitor for doors: opened by right or by force, held, and what its parts say. Pure.

It joins and debounces a door's wires and asks the table (`door_table.py`) what follows. It never
drives a lock: what a release or a timed opening allows is told to it by `free` and `unlocked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gateway.core.debounce import rule_for
from gateway.core.doors.faults import DoorFaults, Sight
from gateway.core.doors.part import Change, Part, Show
from gateway.core.doors.rights import EXIT, FORCED, HELD, TAMPER
from gateway.core.doors.table import Event, Leaf, State
from gateway.core.hardware import device_of
from gateway.core.kinds import REQUEST_TO_EXIT
from gateway.core.model import US_PER_MS, Count, Fact, Json, Level, Reading
from gateway.core.monitor import PAIR, Item
from gateway.core.premises import Point

_PASSES = {
    "granted": ("access.granted", "grant"),
    "denied": ("access.denied", ""),
    REQUEST_TO_EXIT: ("access.exit", EXIT),
}
"""A part that comes up: what is told, and what it allows."""

_FLAGS = {
    "forced": (FORCED, Event.SAID_FORCED),
    "held": (HELD, Event.SAID_HELD),
    "tamper": (TAMPER, Event.SAID_TAMPER),
}


class DoorMonitor:
    """One door's memory: `feed` readings, `wake` at `deadline`; both give what became true.

    Tell it of openings by command (`unlocked`) and of releases (`free`). `counts`: the last kept
    values of counters, by address.
    """

    def __init__(self, point: Point, *, counts: Mapping[str, Count] = MappingProxyType({})) -> None:
        """Raises ValueError for a point without a door."""
        if point.door is None:
            msg = f"point {point.id}: a door monitor needs a point of kind door"
            raise ValueError(msg)
        self._point, self._door = point, point.door
        rule = rule_for(point)
        self._contact = Part("contact", point.input.addresses[0], rule, {})
        self._wires: dict[str, Level] = {}
        self._parts = {
            name: Part(name.replace("_", "-"), contact.address, rule, counts)
            for name, contact in self._door.contacts.items()
        }
        self._lock = Level.UNKNOWN
        self._faults = DoorFaults(point)
        self._leaf = Leaf(point.id, point.door, late_us=rule.window_us)
        self._leaf.lit = {kind for name, (kind, _) in _FLAGS.items() if name in self._parts}
        self._grant_us = point.door.grant_ms * US_PER_MS
        self._timed_until_us: int | None = None
        self._timed_by = ""
        self._owing: frozenset[str] = frozenset()
        self._relock = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every input it wants Readings of: its contact, its parts, and the lock's output."""
        parts = tuple(part.address for part in self._parts.values())
        lock = () if self._door.lock is None else (self._door.lock,)
        return self._point.input.addresses + parts + lock

    @property
    def level(self) -> Level:
        """ACTIVE while the door stands open; UNKNOWN while nobody can say."""
        return self._contact.level

    @property
    def faults(self) -> tuple[str, ...]:
        """The kinds of fault that stand at this door, sorted."""
        return self._faults.kinds

    # --- what happens ----------------------------------------------------------------------------

    def feed(self, reading: Reading) -> list[Item]:
        """One of the door's inputs, or its lock's output (ACTIVE: energised), shows a level."""
        at_us = reading.at_us
        found = self.wake(at_us)
        if reading.input == self._door.lock:
            self._lock = reading.level
            self._relock = self._relock and self._released() is not False
        elif reading.input in self._point.input.addresses:
            self._wires[reading.input] = reading.level
            if len(self._wires) == len(self._point.input.addresses):
                found += self._contact_changed(self._contact.show(self._joined(), at_us))
        for part in self._parts.values():
            if part.address == reading.input:
                changes, kept = part.feed(reading)
                found += self._part_changed(part, changes)
                found += [] if kept is None else [kept]
        return found + self._review(at_us)

    def wake(self, now_us: int) -> list[Item]:
        """Everything that has become true by `now_us`, in order."""
        found: list[Item] = []
        while (due_us := self.deadline()) is not None and due_us <= now_us:
            # what gives a right goes before what needs one
            for part in self._parts.values():
                found += self._part_changed(part, part.wake(due_us))
            found += self._contact_changed(self._contact.wake(due_us))
            found += self._timers(due_us)
            found += self._review(due_us)
            found += self._faults.wake(due_us)
            if self._faults.stands("stuck", REQUEST_TO_EXIT, "held"):
                self._leaf.rights.forget(EXIT)
        return found

    def deadline(self) -> int | None:
        """When `wake` will have something to say if no reading comes; None: never."""
        moments = [part.deadline() for part in self._parts.values()]
        moments += [
            self._contact.deadline(),
            self._faults.deadline(),
            self._leaf.deadline(),
            self._leaf.rights.deadline(asking=self._leaf.asking),
            self._timed_until_us,
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def unlocked(self, *, at_us: int, until_us: int, by: str) -> list[Item]:
        """A timed opening was confirmed: one opening until `until_us` and `grant_ms` more.

        `by` is told with the opening (`command`).
        """
        found = self.wake(at_us)
        self._timed_until_us, self._timed_by, self._relock = until_us, by, False
        self._owing = frozenset({"bolt", "lock"})
        found += self._allow(by, until_us + self._grant_us, at_us)
        return found + self._review(at_us)

    def locked(self, *, at_us: int) -> list[Item]:
        """The lock was confirmed to lock before its time: what a timed opening allowed is void."""
        found = self.wake(at_us)
        self._leaf.rights.forget(self._timed_by)
        self._timed_over()
        return found + self._review(at_us)

    def free(self, *, on: bool, at_us: int, why: str) -> list[Item]:
        """A release stands, or none does any more: openings are expected. The last word counts.

        `why` is told with openings under it (`fire`, `command`).
        """
        found = self.wake(at_us)
        if on:
            self._leaf.freed, self._relock = why or "free", False
            found += self._leaf.happens(Event.ALLOWED, at_us)
        elif self._leaf.freed:
            self._leaf.freed = ""
            self._relock = self._released() is not False
            found += self._leaf.happens(Event.BOUND, at_us)
        return found + self._review(at_us)

    # --- the parts ---------------------------------------------------------------------------

    def _joined(self) -> Level:
        wires = self._point.input
        if wires.normally_open is None or wires.normally_closed is None:
            return self._wires[wires.addresses[0]]
        both = (self._wires[wires.normally_open], self._wires[wires.normally_closed])
        return PAIR.get(both, Level.UNKNOWN)

    def _contact_changed(self, changes: Iterable[Change]) -> list[Item]:
        found: list[Item] = []
        for change in changes:
            at_us = change.at_us
            match change.show:
                case Show.ACTIVE:
                    found += self._faults.read("contact", at_us)
                    found += self._faults.opened(at_us)
                    self._leaf.opened_us = change.since_us
                    found += self._leaf.happens(Event.OPENS, at_us)
                case Show.NORMAL:
                    found += self._faults.read("contact", at_us)
                    self._leaf.closed_us = change.since_us
                    found += self._leaf.happens(Event.CLOSES, at_us)
                case Show.UNKNOWN:
                    found += self._unreadable(at_us)
                    found += self._leaf.happens(Event.LOST, at_us)
                case Show.CHATTERS | Show.SETTLED:
                    found += self._chatter("contact", change)
                case _:  # its count: an opening is judged by its level
                    pass
        return found

    def _part_changed(self, part: Part, changes: Iterable[Change]) -> list[Item]:
        found: list[Item] = []
        self._heed(part)
        for change in changes:
            if change.show is Show.UNKNOWN and not part.on_unit:
                found += self._faults.told("wiring", part.name, "unreadable", change.at_us)
            elif change.show in (Show.ACTIVE, Show.NORMAL):
                found += self._faults.read(part.name, change.at_us)
            elif change.show in (Show.CHATTERS, Show.SETTLED):
                found += self._chatter(part.name, change)
            if part.name in _FLAGS:
                found += self._flag(part.name, change)
            elif part.name in _PASSES and change.show is Show.CAME_UP:
                found += self._passes(part.name, change)
            elif part.name == REQUEST_TO_EXIT and change.show is Show.NORMAL:
                self._leaf.rights.extend(EXIT, change.since_us + self._grant_us)
        return found

    def _heed(self, part: Part) -> None:
        """Keep true what the table asks of the parts."""
        if part.name == REQUEST_TO_EXIT:
            self._leaf.asking = part.level is Level.ACTIVE
        elif part.name in _FLAGS:
            kind, _ = _FLAGS[part.name]
            self._leaf.lit -= {kind}
            self._leaf.lit |= set() if part.level is Level.NORMAL else {kind}

    def _passes(self, name: str, change: Change) -> list[Item]:
        """Somebody was let in, was refused, or asks to leave: told, and one opening allowed."""
        data: dict[str, Json] = {}
        if change.times > 1:
            data["count"] = change.times
        if change.initial:
            data["unseen"] = True
        kind, by = _PASSES[name]
        found: list[Item] = [Fact(kind, self._point.id, change.at_us, data=data)]
        if by and not change.initial:
            found += self._allow(by, change.since_us + self._grant_us, change.at_us)
        return found

    def _flag(self, name: str, change: Change) -> list[Item]:
        """The controller's own word on the door."""
        kind, event = _FLAGS[name]
        standing = change.show is Show.ACTIVE and change.initial
        if change.show is Show.CAME_UP or standing:
            if not self._leaf.alarms.said(kind, change.at_us):
                return []
            self._leaf.counter = change.counter
            found = self._leaf.happens(event, change.at_us)
            self._leaf.counter = None
            return found
        if change.show is Show.NORMAL:
            self._leaf.alarms.unsaid(kind, change.at_us)
        return []

    def _chatter(self, part: str, change: Change) -> list[Item]:
        tell = self._faults.told if change.show is Show.CHATTERS else self._faults.clear
        return [*tell("chatter", part, "", change.at_us)]

    def _unreadable(self, at_us: int) -> list[Item]:
        """The contact cannot be believed. A silent unit is told elsewhere, once for its doors."""
        unread = [name for name, level in self._wires.items() if level is Level.UNKNOWN]
        if any(device_of(name) is not None for name in unread):
            return []
        why = "unreadable"
        if not unread:
            closed = self._wires[self._point.input.addresses[0]] is Level.ACTIVE
            why = "both-closed" if closed else "both-open"
        return [*self._faults.told("wiring", "contact", why, at_us)]

    # --- what it rests on --------------------------------------------------------------------

    def _allow(self, by: str, until_us: int, at_us: int) -> list[Item]:
        self._leaf.rights.allow(by, until_us)
        return self._leaf.happens(Event.ALLOWED, at_us)

    def _released(self) -> bool | None:
        """What the lock's output lets the door do; None when it cannot be read."""
        if self._lock is Level.UNKNOWN:
            return None
        return (self._lock is Level.ACTIVE) is self._door.energised(released=True)

    def _timers(self, due_us: int) -> list[Item]:
        """What only the passing of time does."""
        found = self._leaf.wake(due_us)
        for by in self._leaf.rights.lapse(due_us, asking=self._leaf.asking):
            if by != EXIT and self._leaf.state is State.CLOSED:
                found += self._faults.unused(due_us)
        if self._timed_until_us == due_us:
            self._timed_over()
        return found

    def _timed_over(self) -> None:
        self._timed_until_us, self._owing = None, frozenset()
        self._relock = self._released() is not False

    def _review(self, at_us: int) -> list[Item]:
        bolt, asks = self._parts.get("bolt"), self._parts.get("request_to_exit")
        unseen = self._leaf.state is State.UNSEEN
        if self._released():
            self._owing -= {"lock"}
        if bolt is not None and bolt.level is Level.ACTIVE:
            self._owing -= {"bolt"}
        sight = Sight(
            open=None if unseen else self._leaf.state is not State.CLOSED,
            bolt=Level.UNKNOWN if bolt is None else bolt.level,
            request_to_exit=Level.UNKNOWN if asks is None else asks.level,
            released=self._released(),
            timed=self._timed_until_us is not None,
            owing=self._owing,
            freed=bool(self._leaf.freed),
            relock=self._relock,
        )
        return [*self._faults.review(sight, at_us)]
