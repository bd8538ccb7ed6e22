"""One told stretch of a year: the world, who judges it, and the words the episodes are told in.

Owns the rest between two days: a jump is made only when nothing is owed, open, pending or standing,
and that is asked of everybody.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from campaigns.sim.audit import Audit
from campaigns.sim.causes import Cause
from campaigns.sim.doors import Doors
from campaigns.sim.faults import Faults
from campaigns.sim.rest import not_at_rest
from campaigns.sim.spans import GATEWAY, OPERATOR, Name, Spans, centre, uplink
from gateway.core.model import AlarmState, Json
from simulators.centre.core.words import Beat, Finding, FindingKind, Verdict
from simulators.virtual.year_clock import YearClock
from simulators.virtual.year_school import GATEWAY as NAME
from simulators.virtual.year_school import LTE, SCHOOL, SECURITY
from simulators.virtual.year_world import YearWorld

US_PER_S = 1_000_000
MS_PER_HOUR = 3_600_000
PROVE_WITHIN_MS = 30 * 24 * MS_PER_HOUR
LOOK_US = US_PER_S
REST_WITHIN_S = 600
LOST_WITHIN_US = 22 * US_PER_S
"""The 20 s that are promised, and the 2 s after which a centre is looked at."""
LOST_SLOWLY_US = 64 * US_PER_S
"""A centre that only hears of the gateway over the slow uplink: three beats of 20 s, and 2 s."""
ANSWERED_AFTER_S = 15.0
WORD_WITHIN_S = 12.0
"""A command reaches 10 s ahead: what has not come of it by then never will."""


_NO_SIGN = ("under way", "not new")
"""Why a heartbeat that came late, or twice, is no sign of life and no harm either."""


class Broken(Exception):  # noqa: N818 -- a promise is broken, not the campaign
    """A promise was broken; the text says which and by what."""


class NotAtRest(Exception):  # noqa: N818 -- the moment is wrong, not the campaign
    """A jump that would cross something; the text says what."""


class Told:
    """The story's hands and eyes, and the Listener of its world.

    dice are the story's own, so that another thing drawn elsewhere changes no episode.
    """

    def __init__(self, clock: YearClock, dice: random.Random, folder: Path) -> None:
        self.clock = clock
        self.dice = random.Random(dice.random())
        self.finding: str | None = None
        self.spans = Spans(clock.now_us)
        self.faults = Faults(self.spans, self.broken)
        self.audit = Audit(clock, self.spans, self.broken)
        self.world = YearWorld(clock, dice, folder, self)
        self.doors = Doors(self.world, self.spans, self.broken)
        self.lost: set[str] = set()
        self.on_verdict: Callable[[Verdict], None] = lambda _: None
        self.restarts = 0
        self.days = 0
        self.told: dict[str, int] = {}
        self._modes: set[str] = set()
        self._keys: dict[str, asyncio.Lock] = {}
        self._beats: dict[str, Beat] = {}
        self._down_us = self._seconds = 0
        self._faults_told: dict[str, None] = {}
        self._main = asyncio.current_task()
        self._answers: set[asyncio.Task[None]] = set()
        self.faults.unproved = self._unproved
        self._first_ms, self._start_error_ms = clock.true_ms, 0
        self.tend: Callable[[Told], Coroutine[Any, Any, None]] | None = None
        self._look_again()

    def broken(self, text: str) -> None:
        """A promise is broken: the story ends here, and the first finding is the news."""
        if self.finding is None:
            self.finding = text
            if self._main is not None:
                self._main.cancel()

    # --- what is said and heard ------------------------------------------------------------------

    def logged(self, at_us: int, what: str, fields: Mapping[str, object]) -> None:
        """A line of the gateway's log."""
        self.audit.logged(what, fields)
        if what.startswith("fault.") and "id" in fields:
            self._fault(str(fields["id"]), what, fields, at_us)
        elif what == "state.mode.begun":
            self._modes.add(_mode(fields))
        elif what == "state.mode.ended":
            self._modes.discard(_mode(fields))
        elif what == "state.gateway.restarted":
            self.faults.restarted(cast("list[object]", fields["faults"]))

    def heard(self, route: str, verdict: Verdict) -> None:
        """A centre has a message that is no copy."""
        self.audit.heard(route, verdict)
        self.on_verdict(verdict)
        message = verdict.message
        if message is None or route != SECURITY:
            return
        if message.type.startswith("fault."):
            data = {**message.data, "subject": message.subject}
            self._fault(message.id, message.type, data, self.clock.now_us())
        if message.type.endswith(".raised") and message.alarm is not None:
            cause = self.audit.by_alarm.get(message.alarm)
            if cause is not None and not cause.owned:
                self._soon(self._answer(message.alarm))

    def _fault(self, event: str, what: str, data: Mapping[str, object], at_us: int) -> None:
        """A fault, from the log or from the centre, whichever comes first: a kill cuts the log."""
        if event not in self._faults_told:
            self._faults_told[event] = None
            kind, phase = what.removeprefix("fault.").rsplit(".", 1)
            self.faults.told(kind, phase, data, at_us=at_us, event=event)

    def beaten(self, route: str, beat: Beat) -> None:
        """A centre has a heartbeat."""
        if beat.why:
            if not any(why in beat.why for why in _NO_SIGN):
                self.broken(f"P5: {route} refused a heartbeat: {beat.why}")
            return
        self._beats[route] = beat

    def found(self, route: str, finding: Finding) -> None:
        """A centre has noticed something by itself."""
        now_us = self.clock.now_us()
        if finding.kind is FindingKind.LOST:
            self.lost.add(route)
            causes = [GATEWAY, centre(route), *(uplink(u) for u in SCHOOL.route(route).via)]
            since_us = now_us - 3 * LOST_SLOWLY_US
            if not any(self.spans.touch(cause, since_us, now_us) for cause in causes):
                self.broken(f"P4: {route} lost a gateway that was there: {finding.text}")
        elif finding.kind is FindingKind.FOUND:
            self.lost.discard(route)
        elif finding.kind is FindingKind.FORK:
            self.broken(f"P5: {route} sees a fork: {finding.text}")

    async def _answer(self, alarm: str) -> None:
        """What nobody tells the story of is answered by whoever is at the desk."""
        for state in (AlarmState.ACKNOWLEDGED, AlarmState.CLOSED):
            await self.clock.sleep(ANSWERED_AFTER_S)
            self.say(alarm, state)

    def _soon(self, deed: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(deed)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    # --- every second ----------------------------------------------------------------------------

    def _look_again(self) -> None:
        self.clock.call_at(self.clock.now_us() + LOOK_US, self._look)

    def _look(self) -> None:
        down = self.spans.lasts(GATEWAY)
        if not down and self.world.gateway is not None and not self.world.running:
            self.broken("P9: the gateway has ended by itself")
        self._seconds += 1
        if self._seconds % 2:
            for one in self.world.centres.values():
                one.wake()
        self.audit.wake()
        self.faults.wake()
        self.doors.wake()
        if down:
            self._look_for_lost()
        self._look_again()

    def _look_for_lost(self) -> None:
        now_us = self.clock.now_us()
        for route in SCHOOL.routes:
            within_us = LOST_SLOWLY_US if route.via == (LTE,) else LOST_WITHIN_US
            within_us += LOST_SLOWLY_US if LTE in route.via and self._lte_in_use() else 0
            if route.id in self.lost or now_us - self._down_us <= within_us:
                continue
            causes = [centre(route.id), *(uplink(name) for name in route.via)]
            if not any(self.spans.touch(c, self._down_us - within_us, now_us) for c in causes):
                self.broken(f"P4: {route.id} has not noticed that the gateway is gone")

    def _lte_in_use(self) -> bool:
        return self.spans.touch(uplink("campus"), self._down_us - 90 * US_PER_S, self._down_us)

    # --- the gateway -----------------------------------------------------------------------------

    async def start(self) -> None:
        """The gateway is switched on."""
        self._start_error_ms = self.clock.error_ms
        await self.world.start()
        self.restarts += 1

    async def gone(self, how: Callable[[], Coroutine[Any, Any, None]], *, for_s: float) -> None:
        """The gateway goes, and is there again later."""
        self.spans.begin(GATEWAY)
        self._down_us = self.clock.now_us()
        await how()
        lost_us = self.audit.killed()
        if lost_us is not None:
            self.faults.forget(lost_us)
        await self.clock.sleep(for_s)
        await self.start()
        self.spans.end(GATEWAY)

    @asynccontextmanager
    async def holding(self, things: Iterable[str]) -> AsyncIterator[None]:
        """Have these things to oneself; whoever came first is first."""
        async with AsyncExitStack() as stack:
            for thing in sorted(things):
                key = self._keys.setdefault(thing, asyncio.Lock())
                await stack.enter_async_context(key)
            yield

    @asynccontextmanager
    async def trouble(self, *names: Name) -> AsyncIterator[None]:
        """These are in trouble within."""
        for name in names:
            self.spans.begin(name)
        try:
            yield
        finally:
            for name in names:
                self.spans.end(name)

    async def until(self, true: Callable[[], object], *, within_s: float) -> bool:
        """Wait for it; False when it does not come in time."""
        due_us = self.clock.now_us() + int(within_s * US_PER_S)
        while not true():
            if self.clock.now_us() >= due_us:
                return False
            await self.clock.sleep(0.25)
        return True

    async def there(self) -> None:
        """Wait until the gateway is there."""
        while self.spans.lasts(GATEWAY):
            await self.clock.sleep(0.5)

    # --- people ----------------------------------------------------------------------------------

    def say(self, alarm: str, state: AlarmState) -> None:
        """The operator's word at the security service."""
        core = self.world.centres[SECURITY].core
        if any(one.id == alarm for one in core.alarms()):
            self.world.note("says", alarm=alarm, state=state.value)
            self.world.centres[SECURITY].say(alarm, state)

    async def alarm_of(self, cause: Cause, route: str = SECURITY) -> str | None:
        """The alarm a cause has made, once that route has it; None when it made none."""
        while route not in cause.arrived_us:
            if not cause.must and not cause.alarm and cause.over(self.clock.now_us()):
                return None
            if cause.lost:
                return None
            await self.clock.sleep(0.25)
        return cause.alarm

    async def ordered(self, verb: str, mode: str, /, **target: Json) -> bool:
        """The desk asks for a mode; True once it stands."""
        if not self.command(verb, **target):
            return False
        return await self.until(lambda: mode in self._modes, within_s=WORD_WITHIN_S)

    def command(self, verb: str, **target: Json) -> bool:
        """The desk asks for something; False while it knows of no gateway."""
        desk = self.world.centres[SECURITY]
        if desk.away or not desk.core.orders.knows(NAME):
            return False
        self.world.note("asks", verb=verb, **target)
        desk.command(verb, target)
        return True

    def stands(self, mode: str) -> bool:
        """True while a mode stands, as far as the log tells."""
        return mode in self._modes

    async def over(self, mode: str, *, within_s: float) -> None:
        """Wait for the end of a mode: it ends by itself."""
        if not await self.until(lambda: mode not in self._modes, within_s=within_s):
            self.broken(f"P10: {mode} did not end by itself")

    def counts(self) -> dict[str, int]:
        """What was seen, for the report."""
        return {
            "days": self.days,
            "messages": self.audit.counts.messages,
            "events": self.audit.counts.events,
            "presses": self.audit.counts.presses,
            "alarms": self.audit.counts.alarms,
            "late": self.audit.clocks.late,
            "faults": self.faults.raised,
            "demanded": self.faults.demanded,
            "restarts": self.restarts - 1,
            "forgiven": self.audit.counts.limit,
        }

    # --- rest ------------------------------------------------------------------------------------

    def _unproved(self, point: str) -> bool:
        """Whether a point may be called unproved: after a month, or by a clock that was wrong."""
        proved_ms, error_ms = self.audit.proved.get(point, (self._first_ms, 0))
        wrong = error_ms or self._start_error_ms
        return bool(wrong) or self.clock.true_ms - proved_ms > PROVE_WITHIN_MS - MS_PER_HOUR

    async def rest(self) -> None:
        """Wait until nothing is owed, open, pending or standing. Raises Broken when it stays so."""
        due_us = self.clock.now_us() + REST_WITHIN_S * US_PER_S
        quiet = 0
        while quiet < 2:
            standing = await self._standing()
            quiet = 0 if standing else quiet + 1
            if standing and self.tend is not None:
                await self.tend(self)
            if standing and self.clock.now_us() > due_us:
                self.broken(f"P1: it never came to rest: {standing}")
            await self.clock.sleep(1)
        self._complete()
        self.audit.settled()
        self._faults_told.clear()
        self.faults.settled()
        self.days += 1

    async def _standing(self) -> str:
        """What is not at rest, in words."""
        words = [
            " ".join("/".join(name) for name in self.spans.standing() if name != OPERATOR),
            self.faults.all_clear(),
            self.audit.owing(),
            " ".join(sorted(self._modes)),
            " ".join(sorted(self.lost)),
            "an answer" if self._answers else "",
        ]
        said = "; ".join(word for word in words if word)
        return said or await not_at_rest(self.world, self.audit.forgotten)

    def _complete(self) -> None:
        """Every stream is whole at its centre, as far as the gateway's head."""
        for key, highest in self.audit.clocks.runs().items():
            core = self.world.centres[key.route].core
            receipt = core.receipt(NAME, key, SCHOOL.route(key.route).via[0]).receipt
            beat = self._beats[key.route].heartbeat
            assert beat is not None
            head = highest
            if (key.ledger, key.epoch, key.start) == (beat.ledger, beat.epoch, beat.start):
                head = max(head, beat.heads.get(key.stream, 0))
            if receipt.through != head or receipt.also:
                self.broken(
                    f"P1: {key.route}'s {key.stream} stream of epoch {key.epoch} has gaps:"
                    f" {receipt.through} and {receipt.also} of {head}"
                )
        beats = [beat.heartbeat for beat in self._beats.values()]
        self.audit.clocks.drop_old_runs({(b.ledger, b.epoch) for b in beats if b is not None})

    async def jump(self, ms: int) -> None:
        """Cross a quiet stretch. Raises NotAtRest when anything is owed, open or pending."""
        standing = await self._standing()
        # a heartbeat on the way would arrive as old as the jump, and its echo be missed
        while not standing and any(broker.under_way for broker in self.world.brokers.values()):
            await self.clock.sleep(0.001)
            standing = await self._standing()
        if standing:
            raise NotAtRest(standing)
        for one in self.world.centres.values():
            one.watching = False
        self.world.note("jumps", ms=ms)
        self.clock.jump(ms)
        await self.clock.sleep(1)


def _mode(fields: Mapping[str, object]) -> str:
    """`drill:fire`, `lockdown`: a mode as heartbeats name it."""
    name, subject = str(fields.get("mode")), fields.get("subject")
    return name if subject in {None, name} else f"{name}:{subject}"
