"""The auditor: knows what was done to the building and what every far end holds, and compares.

P1 and P2 of every press and every event, P3 by bounds on a healthy path, P8 by the true time beside
the gateway's own. It looks at what the centres' core accepted and at the gateway's log, never at
anything inside the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from campaigns.sim.causes import US_PER_S, Cause, Counts
from campaigns.sim.clocks import Clocks
from campaigns.sim.spans import ADAPTER, DISK, GATEWAY, NEVER_US, UNIT, Spans, centre, uplink
from gateway.core.kinds import DOOR_ALARMS, class_of, stream_of
from gateway.core.model import Stream
from gateway.core.premises import Route
from simulators.centre.core.reading import OpenedMessage
from simulators.centre.core.words import Mark, Outcome, Verdict
from simulators.virtual.year_clock import YearClock
from simulators.virtual.year_school import ON_UNIT, SCHOOL

HEALTHY_US = 1 * US_PER_S
"""An alarm over a path that was well: from the record to the centre."""
STEADY_US = 40 * US_PER_S
"""A path is called well when nothing was wrong with it for so long: back-off ends at 30 s."""
RECOVERED_US = 9 * US_PER_S
"""The same after an outage: a connection that was swallowed is given up after 8 s."""
LOG_US = 60 * US_PER_S
"""The log, which hurries nobody: a back-off of 30 s, a centre that is looked for once in 5 s."""
BLIND_US = 12 * US_PER_S
"""A unit, or a gateway, that was away shows what is there so much later at the most."""
BACK_US = 12 * US_PER_S
RECORDED_US = 100_000
"""From the moment a press must be confirmed to the gateway's own word of it."""
ALL_ROUTES = tuple(route.id for route in SCHOOL.routes)

_EVENT = re.compile(r"(alarm|fault|access|state|test)\.[a-z.-]+")


class Audit:
    """Judges messages and events. `broken` is told what a promise was broken by."""

    def __init__(self, clock: YearClock, spans: Spans, broken: Callable[[str], None]) -> None:
        self._clock = clock
        self._spans = spans
        self._broken = broken
        self._causes: list[Cause] = []
        self.by_alarm: dict[str, Cause] = {}
        self._debts: dict[tuple[str, str], tuple[str, int]] = {}
        self._arrived: dict[str, dict[str, int]] = {route: {} for route in ALL_ROUTES}
        self._events: dict[str, tuple[str, str]] = {}
        self.clocks = Clocks(clock, broken)
        self.tests: list[tuple[str, int]] = []
        self.holders: dict[str, set[str]] = {}
        self.counts = Counts()
        self._forks: dict[tuple[str, Stream], bool] = {}
        self.forgotten: set[str] = set()
        self.pressed_again: dict[str, int] = {}
        self.proved: dict[str, tuple[int, int]] = {}

    # --- what was done ---------------------------------------------------------------------------

    def cause(
        self, point: str, kind: str, *, within_us: int, since_us: int | None = None, **how: Any
    ) -> Cause:
        """Something that is to make an alarm at most `within_us` from now."""
        now_us = self._clock.now_us()
        since_us = now_us if since_us is None else since_us
        cause = Cause(point, kind, since_us, now_us + within_us, **how)
        self._causes.append(cause)
        self.counts.presses += cause.must
        return cause

    def killed(self) -> int | None:
        """The gateway died now. What a disk in trouble did not hold yet may be lost with it.

        Gives when that trouble began, None where the disk was well.
        """
        now_us = self._clock.now_us()
        for cause in self._causes:
            cause.exact = False
        lost_us = self._spans.first_us(DISK, now_us - 5 * US_PER_S, now_us)
        if lost_us is None:
            return None
        self._forks = {(route, stream): False for route in ALL_ROUTES for stream in Stream}
        for ref, (_, at_us) in list(self._debts.items()):
            if self._spans.touch(DISK, at_us - 5 * US_PER_S, at_us):
                self.counts.limit += 1
                del self._debts[ref]
        for alarm, cause in list(self.by_alarm.items()):
            if self._spans.touch(DISK, cause.since_us, now_us):
                cause.lost, cause.must = True, False
                self.forgotten.add(alarm)
                self.proved.pop(cause.point, None)
                again = Cause(cause.point, cause.kind, cause.since_us, now_us + BACK_US)
                again.must = again.exact = False
                self._causes.append(again)
        return lost_us

    # --- what the gateway says -------------------------------------------------------------------

    def logged(self, what: str, fields: Mapping[str, object]) -> None:
        """A line of its log; what is an event is owed from now on."""
        if not _EVENT.fullmatch(what) or "id" not in fields:
            return
        now_us, event = self._clock.now_us(), str(fields["id"])
        self.counts.events += 1
        self._events[event] = (what, str(fields["subject"]))
        if what.startswith("alarm.") and what.endswith(".raised"):
            cause = self._cause_of(event, what, str(fields["subject"]), now_us)
            if cause is not None:
                cause.told_us = now_us
                self._proved(cause.point)
        for route in SCHOOL.routes:
            if class_of(what) in route.sends and event not in self._arrived[route.id]:
                self._debts[event, route.id] = (what, now_us)

    def _proved(self, point: str) -> None:
        """A point was seen to work: when by true time, and how wrong the gateway's clock was."""
        self.proved[point] = (self._clock.true_ms, self._clock.error_ms)

    def _cause_of(self, alarm: str, what: str, point: str, at_us: int) -> Cause | None:
        """The cause of an alarm that was raised; told when there is none."""
        known = self.by_alarm.get(alarm)
        if known is not None:
            return known
        kind = what.split(".")[1]
        for cause in sorted(self._causes, key=lambda one: not one.must):
            fits = (cause.point, cause.kind, cause.alarm) == (point, kind, "")
            if fits and cause.since_us - 5_000 <= at_us <= self._until_us(cause) + RECORDED_US:
                cause.alarm = alarm
                self.by_alarm[alarm] = cause
                self.counts.alarms += 1
                return cause
        again_us = self.pressed_again.get(point, -NEVER_US)
        seen_apart = kind in DOOR_ALARMS or at_us - again_us < BLIND_US
        if seen_apart and self._blind(point, at_us - BLIND_US, at_us):
            # it saw a door open and not by what right, or a press and not the one before it
            cause = Cause(point, kind, at_us, at_us, must=False, alarm=alarm)
            self._causes.append(cause)
            self.by_alarm[alarm] = cause
            return cause
        self._broken(f"P2: {what} at {point} has no cause, or was told twice ({alarm})")
        return None

    def _until_us(self, cause: Cause) -> int:
        """A gateway that was away sees on its return what still lasts, and what was counted."""
        ways = (GATEWAY, UNIT, ADAPTER) if cause.point in ON_UNIT else (GATEWAY,)
        last_us = self._spans.last_us
        back_us = max(last_us(way, cause.since_us, cause.until_us) for way in ways)
        if not back_us:
            return cause.until_us
        took_us = cause.until_us - cause.since_us
        return max(cause.until_us, min(back_us, self._clock.now_us()) + BACK_US + took_us)

    def _blind(self, point: str, from_us: int, to_us: int) -> bool:
        """True when the gateway could not see that point all of that time."""
        ways = (GATEWAY, UNIT, ADAPTER) if point in ON_UNIT else (GATEWAY,)
        return any(self._spans.touch(way, from_us, to_us) for way in ways)

    # --- what a centre has -----------------------------------------------------------------------

    def heard(self, route: str, verdict: Verdict) -> None:
        """A centre has judged something that is no copy."""
        self.counts.messages += 1
        message = verdict.message
        if verdict.outcome is not Outcome.NEW or message is None:
            self._broken(f"P5: {route} got a message that is {verdict.outcome}: {verdict.why}")
            return
        odd = [mark.value for mark in verdict.marks if mark is not Mark.GAP]
        if odd and not self._forks_rightly(message, odd):
            text = "; ".join(verdict.notes)
            self._broken(f"P5: {message.type} at {route} is {', '.join(odd)}: {text}")
        if verdict.known_event:
            self._broken(f"P2: {message.type} {message.id} came to {route} under two numbers")
        now_us = self._clock.now_us()
        self._arrived[route][message.id] = now_us
        self._debts.pop((message.id, route), None)
        true_ms = self.clocks.judge_clock(route, message)
        if true_ms is None:
            return
        self.clocks.judge_order(route, message, true_ms)
        if message.type.startswith("alarm."):
            self._judge_alarm(route, message, true_ms)
            self.clocks.judge_age(route, verdict, message, true_ms)
        elif message.type.startswith("test."):
            self.tests.append((message.subject, now_us))
            self._proved(message.subject)
            self.counts.tests += route == SCHOOL.routes[0].id

    def _forks_rightly(self, message: OpenedMessage, odd: list[str]) -> bool:
        """True where a chain may fork: power was cut with messages sent that no disk held yet."""
        stream = (message.key.route, message.key.stream)
        if odd != [Mark.RESUMED.value] or stream not in self._forks:
            return False
        self._forks[stream] = self._forks[stream] or message.sequence == 1
        return True

    def _judge_alarm(self, route: str, message: OpenedMessage, true_ms: int) -> None:
        assert message.alarm is not None
        at_us = self._clock.now_us() - (self._clock.true_ms - true_ms) * 1_000
        if message.type.endswith(".raised"):
            cause = self._cause_of(message.alarm, message.type, message.subject, at_us)
            if cause is None:
                return
            cause.arrived_us[route] = self._clock.now_us()
            self.holders.setdefault(message.alarm, set()).add(route)
            if message.data["status"] != cause.status:
                self._broken(
                    f"P10: {message.type} at {message.subject} is {message.data['status']},"
                    f" not {cause.status}"
                )
            if cause.doubtful is not None and bool(message.data.get("doubtful")) != cause.doubtful:
                self._broken(f"P1: doubtful of {message.type} at {message.subject} is wrong")
            return
        cause = self.by_alarm.get(message.alarm)
        if cause is None:
            self._broken(f"P1: {message.type} at {message.subject} of an alarm nobody raised")
            return
        count = message.data.get("count", 1)
        if isinstance(count, int) and count > cause.tellings:
            self._broken(
                f"P2: {message.subject} was pressed {cause.tellings} times and told {count}"
            )
        if message.type.endswith(".cleared"):
            cause.cleared[route] = self._clock.now_us()
            seen = not self._blind(cause.point, cause.since_us, self._clock.now_us())
            if cause.exact and seen and count != cause.tellings:
                self._broken(
                    f"P1: {message.subject} was pressed {cause.tellings} times, {count} are told"
                )

    # --- what is owed ----------------------------------------------------------------------------

    def good_since_us(self, route: Route) -> int:
        """Since when nothing is in the way between the gateway and a centre, over its best path."""
        over = self._spans.over_us
        here = max(over(GATEWAY), over(centre(route.id)))
        return min(max(here, over(uplink(name))) for name in route.via)

    def wake(self) -> None:
        """Look at everything that should have come by now."""
        now_us = self._clock.now_us()
        for cause in self._causes:
            self._judge_cause(cause, now_us)
        if not self._debts:
            return
        good = {route.id: self.good_since_us(route) for route in SCHOOL.routes}
        for (event, route), (what, at_us) in self._debts.items():
            since_us = good[route]
            if since_us >= NEVER_US:
                continue
            steady = since_us <= at_us - STEADY_US
            if stream_of(what) is Stream.LOG:
                due_us = max(at_us, since_us) + LOG_US
            elif steady:
                due_us = at_us + HEALTHY_US
            else:
                due_us = max(at_us, since_us) + RECOVERED_US
            if now_us > due_us:
                promise = "P3" if steady else "P1"
                subject = self._events[event][1]
                self._broken(
                    f"{promise}: {what} of {subject} has not come to {route} within"
                    f" {(now_us - max(at_us, since_us)) / US_PER_S:.1f} s"
                    f" ({'a healthy path' if steady else 'since the path is back'})"
                )
                return

    def _judge_cause(self, cause: Cause, now_us: int) -> None:
        if not cause.must or cause.told_us is not None or cause.arrived_us:
            return
        if now_us <= cause.until_us + RECORDED_US:
            return
        cause.must = False
        if not self._blind(cause.point, cause.since_us - BLIND_US, now_us):
            self._broken(f"P1: {cause.kind} at {cause.point} was not confirmed in time")

    def owing(self) -> str:
        """What has not come yet, in words; empty when nothing is missing."""
        missing = [f"{what} to {route}" for (_, route), (what, _) in self._debts.items()]
        missing += [
            f"{cause.kind} at {cause.point}"
            for cause in self._causes
            if cause.must and not cause.alarm
        ]
        missing += [
            f"the end of {cause.kind} at {cause.point}, at {route}"
            for alarm, cause in self.by_alarm.items()
            for route in self.holders.get(alarm, ())
            if route not in cause.cleared and not cause.lost
        ]
        return ", ".join(missing[:6])

    def settled(self) -> None:
        """Nothing is owed or open: what was is forgotten."""
        self._causes.clear()
        self.by_alarm.clear()
        self.holders.clear()
        self._events.clear()
        self.tests.clear()
        self._forks = {stream: seen for stream, seen in self._forks.items() if not seen}
        for arrived in self._arrived.values():
            arrived.clear()
        self.clocks.settled()
