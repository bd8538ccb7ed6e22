"""P8: what messages say of their clocks is so, streams keep their order, old alarms look old.

Owns the true time beside the gateway's own, and the numbers of every stream as they came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.model import StreamKey
from simulators.centre.core.reading import AgeBy, OpenedMessage
from simulators.centre.core.words import Verdict
from simulators.virtual.year_clock import YearClock
from simulators.virtual.year_school import SCHOOL

AGE_TOLERANCE_MS = 1_500
UTC_TOLERANCE_MS = 3
LATE_MS = 60_000
ORDER_TOLERANCE_MS = 250
"""A fact is stamped with its own moment, which may lie so long before it was told."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the gateway's clock was like from a true moment on."""

    from_ms: int
    error_ms: int
    synchronised: bool


class Clocks:
    """Judges times and numbers. `broken` is told what a promise was broken by."""

    def __init__(self, clock: YearClock, broken: Callable[[str], None]) -> None:
        self._clock = clock
        self._broken = broken
        self._clocks = [ClockState(0, 0, synchronised=True)]
        self._runs: dict[StreamKey, dict[int, tuple[int, str]]] = {}
        self._highest: dict[StreamKey, int] = {}
        self.late = 0

    def clock_set(self) -> None:
        """The gateway's clock is another from now on."""
        state = ClockState(
            self._clock.true_ms, self._clock.error_ms, synchronised=self._clock.synchronised
        )
        self._clocks = [*self._clocks[-50:], state]

    def judge_clock(self, route: str, message: OpenedMessage) -> int | None:
        """P8: what it says of its clocks is so; the true time at which it happened."""
        clock = message.clock
        true_ms = self._clock.happened_ms(clock.boot, clock.monotonic_ms)
        if true_ms is None:
            self._broken(f"P8: {message.type} at {route} is of a boot that never was")
            return None
        # of a step in that very millisecond nobody can say whether it came first
        before = [state for state in self._clocks if state.from_ms < true_ms][-1:]
        after = [state for state in self._clocks if true_ms <= state.from_ms <= true_ms + 3_000]
        if not any(
            state.synchronised is clock.synchronised
            and abs(clock.utc_ms - true_ms - state.error_ms) <= UTC_TOLERANCE_MS
            for state in [*before, *after]
        ):
            self._broken(
                f"P8: {message.type} at {route} says {message.time}, synchronised"
                f" {clock.synchronised}; its clock was {clock.utc_ms - true_ms} ms off"
            )
        return true_ms

    def judge_order(self, route: str, message: OpenedMessage, true_ms: int) -> None:
        """P8: numbers rise as things happened, whatever the clock did meanwhile."""
        run = self._runs.setdefault(message.key, {})
        before, after = run.get(message.sequence - 1), run.get(message.sequence + 1)
        self._highest[message.key] = max(self._highest.get(message.key, 0), message.sequence)
        if message.type.endswith(".raised") and not SCHOOL.route(route).sends:
            return  # a route that is brought in later: it keeps the moment it happened
        run[message.sequence] = (true_ms, message.type)
        if (before is not None and before[0] > true_ms + ORDER_TOLERANCE_MS) or (
            after is not None and after[0] < true_ms - ORDER_TOLERANCE_MS
        ):
            self._broken(
                f"P8: {message.type} has number {message.sequence} of {route}'s"
                f" {message.key.stream} stream and happened {true_ms} ms,"
                f" between {before} and {after}"
            )

    def judge_age(self, route: str, verdict: Verdict, message: OpenedMessage, true_ms: int) -> None:
        """P8: an old alarm is recognisably old, and a fresh one is not called old."""
        age_ms = self._clock.true_ms - true_ms
        said = verdict.age
        assert said is not None
        self.late += verdict.late
        if said.by is not AgeBy.UNKNOWN and abs((said.ms or 0) - age_ms) > AGE_TOLERANCE_MS:
            self._broken(
                f"P8: {message.type} at {route} is {age_ms} ms old, not {said.ms} by {said.by}"
            )
        if age_ms > LATE_MS + AGE_TOLERANCE_MS and not verdict.late:
            self._broken(f"P8: {message.type} at {route} is {age_ms} ms old and not called LATE")
        fresh = age_ms < LATE_MS - AGE_TOLERANCE_MS
        if fresh and verdict.late and said.by is not AgeBy.UNKNOWN:
            self._broken(f"P8: {message.type} at {route} is {age_ms} ms old and called LATE")

    def settled(self) -> None:
        """Nothing is owed: of what has come only the last of each stream is still of interest."""
        for key, run in self._runs.items():
            self._runs[key] = dict(sorted(run.items())[-1:])

    def runs(self) -> dict[StreamKey, int]:
        """The highest number seen of every stream since it began."""
        return dict(self._highest)

    def drop_old_runs(self, keep: set[tuple[str, int]]) -> None:
        """Forget the streams of epochs that are complete and over."""
        for key in [key for key in self._highest if (key.ledger, key.epoch) not in keep]:
            del self._highest[key]
            self._runs.pop(key, None)
