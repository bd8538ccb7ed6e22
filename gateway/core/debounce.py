"""From flickering contacts to confirmed levels. Pure: levels and times in, conclusions out.

The rule was tried on a million generated waveforms (`benchmarks/waveforms.py`). Waiting for a
contact to be "stable for n ms" misses a worn switch that never settles, and a plain 10 ms wait
misses a 20 ms press that bounces 6 ms at both ends. So a press is confirmed by how much closed
time a sliding window holds, and a release only by an unbroken rest longer than the worst published
bounce (157 ms, in Ganssle's measurements of 18 switches).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.hardware import device_of
from gateway.core.model import Level
from gateway.core.premises import Line, Point

CHATTER_QUIET_US = 10_000_000
"""A chattering contact is good again after this long without a single edge."""

_SEGMENTS_MAX = 512
"""Closed stretches remembered in one window; beyond that the two oldest are joined."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a level is believed; all times in microseconds.

    ACTIVE: `confirm_us` of closed time within any `window_us`. A window equal to `confirm_us` asks
    for that long unbroken. NORMAL: `release_us` unbroken; UNKNOWN: `unknown_us`. A doubt (active
    edges that confirm nothing) is chatter after `doubt_us`, and dies after `quiet_us` of rest.
    """

    confirm_us: int
    window_us: int
    release_us: int = 200_000
    unknown_us: int = 200_000
    doubt_us: int = 250_000
    quiet_us: int = 20_000


PERSON = Rule(confirm_us=6_500, window_us=20_000)
"""Buttons: spikes of up to 3 ms that begin at least 10 ms apart put at most 6 ms in 20."""

MACHINE = Rule(confirm_us=7_000, window_us=7_000)
"""Fire, tamper, mains …: nobody stands at them, so a chattering one is a fault, not an alarm."""

LONG_LINE = Rule(confirm_us=50_000, window_us=80_000)
"""Long single wires near motors: bursts up to 15 ms never alarm, pulses of 100 ms always do."""


ON_A_UNIT = Rule(confirm_us=1, window_us=1, unknown_us=450_000, doubt_us=500_000)
"""Contacts a unit reads: it has filtered them, and between two looks at it nothing more is seen, so
that waiting would prove nothing. Release is as elsewhere. A look in mid-travel shows both contacts
of a healthy pair open until the next one, 200 ms later, or 400 when that one is lost; only what has
lasted longer is the wiring's fault, and no chatter before that."""


def rule_for(point: Point) -> Rule:
    """The rule a point's contacts are judged by."""
    if point.door is None and all(map(device_of, point.input.addresses)):
        return ON_A_UNIT
    if point.input.line is Line.LONG:
        return LONG_LINE
    return PERSON if point.person_operated else MACHINE


class Verdict(StrEnum):
    """What a Debouncer concluded."""

    LEVEL = "level"
    CHATTERS = "chatters"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A verdict and its moment; `level` is meant for LEVEL. initial: so since before the start."""

    verdict: Verdict
    at_us: int
    level: Level
    initial: bool = False


class Debouncer:
    """One signal's memory. `feed` a level change, `wake` at `deadline`; both give Conclusions.

    Conclusions carry the moment they became true, which depends on the edges alone and never on
    how late the caller woke. An edge may be fed after a `wake` for a later moment (threads deliver
    when they can) and still counts at its own time, unless something has been concluded since:
    what is concluded stands, and an edge before it, or before the last edge, is taken to be then.
    """

    __slots__ = (
        "_chatters",
        "_closed",
        "_confirmed",
        "_doubt_us",
        "_due_us",
        "_first",
        "_last_us",
        "_raw",
        "_rule",
        "_since_us",
    )

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._raw: Level | None = None
        self._since_us = 0
        self._last_us = 0
        self._confirmed: Level | None = None
        self._first: Level | None = None
        self._closed: deque[tuple[int, int]] = deque()
        self._doubt_us: int | None = None
        self._chatters = False
        self._due_us: int | None = None

    @property
    def confirmed(self) -> Level | None:
        """The level last confirmed; None before the first."""
        return self._confirmed

    def feed(self, level: Level, at_us: int) -> list[Conclusion]:
        """The signal shows `level` since `at_us`."""
        at_us = max(at_us, self._last_us)
        concluded = self.wake(at_us)
        if level is self._raw:
            return concluded
        if self._raw is Level.ACTIVE:
            self._remember(self._since_us, at_us)
        if self._raw is None:
            self._first = level
        elif self._doubt_us is None and level is not self._confirmed and not self._settled():
            self._doubt_us = at_us
        self._raw, self._since_us, self._last_us = level, at_us, at_us
        self._due_us = self._next_us()
        return concluded

    def wake(self, now_us: int) -> list[Conclusion]:
        """Everything that has become true by `now_us`, in order."""
        concluded = []
        while self._due_us is not None and self._due_us <= now_us:
            self._last_us = self._due_us
            conclusion = self._conclude(self._due_us)
            if conclusion is not None:
                concluded.append(conclusion)
            self._due_us = self._next_us()
        return concluded

    def deadline(self) -> int | None:
        """When `wake` will have something to do if no edge comes; None: never."""
        return self._due_us

    # --- the three things that can become true ------------------------------------------------

    def _next_us(self) -> int | None:
        moments = (self._level_due(), self._rest_due(), self._chatter_due())
        return min((moment for moment in moments if moment is not None), default=None)

    def _conclude(self, due_us: int) -> Conclusion | None:
        """The first thing due; a level goes before the end of a doubt, so that it wins a tie."""
        if self._level_due() == due_us:
            assert self._raw is not None
            initial = self._confirmed is None and self._first is self._raw
            self._confirmed = self._raw
            self._doubt_us = None
            return Conclusion(Verdict.LEVEL, due_us, self._raw, initial=initial)
        level = self._confirmed or Level.UNKNOWN
        if self._rest_due() == due_us:
            self._doubt_us = None
            if not self._chatters:
                return None
            self._chatters = False
            return Conclusion(Verdict.SETTLED, due_us, level)
        self._doubt_us = None
        self._chatters = True
        return Conclusion(Verdict.CHATTERS, due_us, level)

    def _level_due(self) -> int | None:
        if self._raw is None or self._raw is self._confirmed:
            return None
        if self._raw is Level.ACTIVE:
            return self._closed_enough_us()
        rests = self._raw is Level.NORMAL
        return self._since_us + (self._rule.release_us if rests else self._rule.unknown_us)

    def _rest_due(self) -> int | None:
        """A doubt dies when the signal rests; chatter is over after a long rest."""
        if self._chatters:
            return self._since_us + CHATTER_QUIET_US
        if self._doubt_us is not None and self._raw in {Level.NORMAL, self._confirmed}:
            return self._since_us + self._rule.quiet_us
        return None

    def _chatter_due(self) -> int | None:
        return None if self._doubt_us is None else self._doubt_us + self._rule.doubt_us

    def _settled(self) -> bool:
        """True while no doubt is opened: after a press is confirmed, and while chatter is told."""
        return self._chatters or self._confirmed is Level.ACTIVE

    # --- closed time in the sliding window ------------------------------------------------------

    def _remember(self, from_us: int, to_us: int) -> None:
        self._closed.append((from_us, to_us))
        if len(self._closed) > _SEGMENTS_MAX:
            (first, last), (other, end) = self._closed.popleft(), self._closed.popleft()
            self._closed.appendleft((end - (last - first) - (end - other), end))
        while self._closed and self._closed[0][1] <= to_us - self._rule.window_us:
            self._closed.popleft()

    def _closed_enough_us(self) -> int:
        """When the window will hold `confirm_us` of closed time if the contact stays closed.

        Going forward from the closing edge, held time grows at the pace of time, except while the
        window's tail leaves an earlier closed stretch: then it stands still.
        """
        window_us, now_us = self._rule.window_us, self._since_us
        tail_us = now_us - window_us
        held_us = sum(end - max(begin, tail_us) for begin, end in self._closed if end > tail_us)
        missing_us = self._rule.confirm_us - held_us
        for begin, end in self._closed:
            free_us = max(begin - tail_us, 0)
            if end <= tail_us:
                continue
            if missing_us <= free_us:
                break
            missing_us -= free_us
            now_us += free_us + end - max(begin, tail_us)
            tail_us = end
        return now_us + max(missing_us, 0)
