"""Counters of a unit become presses: what is new, what is a restart, what was told before. Pure.

A unit that counts closings misses no press between two looks at it, however short. What a press
then means is decided elsewhere; here it is only seen to that each is told once. A Reading is owed
whenever a counter's value changes and whenever its unit has started anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gateway.core.model import Count, Json, Level, Reading

PLAUSIBLE = 1_000
"""Most presses believed between two looks. Ten a second, for longer than a unit may be silent
before somebody is sent: more is another unit, or one that lost its counters. Small beside 2**16, so
that a value from nowhere passes for presses in 1.5 of 100 cases at most."""

RACE_S = 2
"""A unit can start anew between the reading of its counter and of its uptime: a value no smaller
than the last, beside an uptime up to this, may still be the old one."""

SAME_PRESS_US = 2_000_000
"""One press shows at several places (a level, two counters) within this: two looks of a slow bus,
each with a request that had to be repeated."""


@dataclass(frozen=True, slots=True)
class Remember:
    """The last value of an input's counter, to be kept through a restart of the gateway.

    Comes out whenever the value has moved or the unit has started anew, after what was concluded
    from it, and when `owed` has changed: presses told already that this counter has yet to show.
    """

    input: str
    count: Count
    owed: int = 0

    def as_json(self) -> dict[str, Json]:
        """The `counter` member of an event's data: input, value, and uptime_s (or null)."""
        count = self.count
        return {"input": self.input, "value": count.value, "uptime_s": count.uptime_s}


@dataclass(frozen=True, slots=True)
class Counted:
    """What a look at a counter shows. moved: its value, or its unit's start, is new.

    doubtful: the presses may be the unit's own start.
    """

    presses: int = 0
    doubtful: bool = False
    moved: bool = False


class Counter:
    """One input's counter. `last`: its value as it was kept; None makes the first a baseline.

    starts_at_rest: the contact is open at rest, so a value above 0 after the unit's start was
    pressed. A contact closed at rest is counted when the unit starts, and proves nothing.
    """

    __slots__ = ("_last", "_started_s", "_starts_at_rest")

    def __init__(self, last: Count | None = None, *, starts_at_rest: bool) -> None:
        self._last = last
        self._starts_at_rest = starts_at_rest
        self._started_s: int | None = None

    @property
    def undecided(self) -> bool:
        """True while a unit that has just started shows what it may have shown before its start."""
        return self._started_s is not None

    @property
    def last(self) -> Count | None:
        """What it last showed, with the unit's uptime as it was last known: what to keep."""
        return self._last

    def feed(self, count: Count) -> Counted:
        """The counter shows this now.

        | uptime       | value             | then                                              |
        |--------------|-------------------|---------------------------------------------------|
        | (first look) | any               | a baseline                                        |
        | fell         | 0                 | the unit started: a new baseline                  |
        | fell         | above 0           | the same; a doubtful press on a contact open then |
        | fell just now| no smaller        | nothing yet: a later look or uptime decides       |
        | not known    | smaller, by wrap  | a wrap or a start: a new baseline, and a doubtful |
        |              |                   | press on a contact open then                      |
        | else         | further, ≤ 1000   | so many presses, through the wrap too             |
        | else         | further still     | another unit's value: a new baseline              |
        """
        last, self._last = self._last, count
        started_s, self._started_s = self._started_s, None
        if last is None or last.value >> count.width:
            return Counted(moved=True)
        if count.uptime_s is None and count.value >= last.value:
            # not asked for every time: an older uptime still proves a later start
            self._last = replace(count, uptime_s=last.uptime_s)
        if _fell(last, count):
            return self._began(last, count)
        delta = (count.value - last.value) % (1 << count.width)
        if delta > PLAUSIBLE:
            return Counted(moved=True)
        if started_s is not None and count.value >= last.value:
            return self._went_on(count, delta, started_s)
        if count.value < last.value and None in (last.uptime_s, count.uptime_s):
            delta = int(self._starts_at_rest)
            return Counted(delta, doubtful=delta > 0, moved=True)
        return Counted(delta, moved=delta > 0)

    def _began(self, last: Count, count: Count) -> Counted:
        """What its unit has counted since it certainly started."""
        if (count.uptime_s or 0) <= RACE_S and 0 < last.value <= count.value:
            self._last, self._started_s = last, count.uptime_s
            return Counted()
        pressed = self._starts_at_rest and count.value > 0
        return Counted(int(pressed), doubtful=pressed, moved=True)

    def _went_on(self, count: Count, delta: int, started_s: int) -> Counted:
        """What its unit has counted since an undecided start: `delta` more than before it.

        It began at 0, so what it shows was pressed; without an uptime the same value may be old.
        """
        if delta == 0 and count.uptime_s is None:
            self._started_s = started_s
            return Counted()
        if count.uptime_s is None:
            self._last = replace(count, uptime_s=started_s)
        return Counted(delta + int(self._starts_at_rest), doubtful=delta == 0, moved=True)


def _fell(last: Count, count: Count) -> bool:
    """True when the unit has certainly started anew between the two."""
    return (
        last.uptime_s is not None and count.uptime_s is not None and count.uptime_s < last.uptime_s
    )


class Presses:
    """The counters of one point, whose presses they and its level tell of more than once.

    A press told by one witness is owed by the others: as many as they count up to that are the
    same presses. What is owed is forgotten after `SAME_PRESS_US` of rest.
    """

    __slots__ = (
        "_counted_us",
        "_counters",
        "_held",
        "_kept",
        "_maybe",
        "_owed",
        "_shown",
        "_stirred_us",
    )

    def __init__(
        self,
        last: Mapping[str, Count],
        *,
        starts_at_rest: Mapping[str, bool],
        owed: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`last`, `owed`: what was kept, by address. `starts_at_rest`: see Counter; every input."""
        self._counters = {
            address: Counter(last.get(address), starts_at_rest=starts)
            for address, starts in starts_at_rest.items()
        }
        self._owed = {address: owed.get(address, 0) for address in starts_at_rest}
        self._kept = dict(self._owed)
        self._maybe: dict[str, bool] = dict.fromkeys(starts_at_rest, False)
        self._shown: set[str] = set()
        self._held = False
        self._counted_us: int | None = None
        self._stirred_us: int | None = None

    @property
    def inputs(self) -> frozenset[str]:
        """The inputs that have shown a counter."""
        return frozenset(self._shown)

    def feed(self, reading: Reading) -> tuple[Counted, Remember | None]:
        """What a Reading's counter adds that was not told before, and what to keep of it."""
        if reading.count is None:
            return Counted(), None
        address = reading.input
        self._shown.add(address)
        seen = self._counters[address].feed(reading.count)
        if seen.presses == 0:
            if reading.level is Level.NORMAL and not self._counters[address].undecided:
                self._let_off(address)
            return seen, self._remember(address) if seen.moved else None
        self._forget(reading.at_us)
        self._maybe[address] = False
        same = min(seen.presses, self._owed[address])
        self._owed[address] -= same
        new = seen.presses - same
        for other in self._owed:
            self._owed[other] += new if other != address else 0
        self._counted_us = reading.at_us
        return Counted(new, doubtful=seen.doubtful, moved=True), self._remember(address)

    def debts(self) -> list[Remember]:
        """What is owed otherwise than was last kept: a restart must not tell a press again."""
        changed = [address for address, owed in self._owed.items() if owed != self._kept[address]]
        return [kept for address in changed if (kept := self._remember(address)) is not None]

    @property
    def counted_us(self) -> int | None:
        """When a press was last counted."""
        return self._counted_us

    def counted_since(self, at_us: int) -> bool:
        """True when a press was counted at `at_us` or later."""
        return self._counted_us is not None and self._counted_us >= at_us

    def level_told(self, at_us: int, owed_by: Iterable[str]) -> None:
        """A press was told by its level; `owed_by` are the inputs that have yet to count it."""
        self._forget(at_us)
        for address in owed_by:
            self._owed[address] += 1

    def level_led(self, at_us: int, *, opens_at_rest: str | None) -> None:
        """A press was told by a level that may have been read before or after the counters were.

        Every input owes it, and no more than this one press. `opens_at_rest` counts when it is
        pressed, so it may have counted this already: at rest again without it, it owes nothing.
        """
        self._forget(at_us)
        for address in self._shown:
            if self._owed[address] == 0:
                self._owed[address] = 1
                self._maybe[address] = address == opens_at_rest

    def level(self, at_us: int, *, rests: bool) -> None:
        """The point's level was confirmed: at rest, or anything else (nothing is forgotten)."""
        self._forget(at_us)
        self._held = not rests

    def _let_off(self, address: str) -> None:
        """Its contact is at rest again, and what it may have had to count yet it has not."""
        if self._maybe[address]:
            self._maybe[address], self._owed[address] = False, 0

    def _remember(self, address: str) -> Remember | None:
        """What is to be kept of a counter; None before it has shown itself."""
        count = self._counters[address].last
        if count is None:
            return None
        self._kept[address] = self._owed[address]
        return Remember(address, count, self._owed[address])

    def _forget(self, at_us: int) -> None:
        """Something stirs: after a rest, a new press begins with nothing owed.

        What was owed before a restart of the gateway is owed at its first stir.
        """
        if self._stirred_us is None:
            self._stirred_us = at_us
        if not self._held and at_us - self._stirred_us > SAME_PRESS_US:
            self._owed = dict.fromkeys(self._owed, 0)
            self._maybe = dict.fromkeys(self._maybe, False)
        self._stirred_us = max(self._stirred_us, at_us)
