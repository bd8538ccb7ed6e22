"""The daemon, as a table of contents: open everything, then collect, deliver and attend.

`collect` is called with every reading and decides at once; `attend` is the one loop that looks at
deadlines; delivery runs beside it. Everything that differs between a school and a simulation comes
in through `Seams`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from gateway.clock import Bell, Timer
from gateway.core.alarms import Register
from gateway.core.jws import SigningKey
from gateway.core.kinds import phase_of
from gateway.core.model import (
    US_PER_MS,
    AlarmState,
    AlarmWord,
    Event,
    Fact,
    Json,
    Point,
    Premises,
    Reading,
    Route,
    Stream,
)
from gateway.core.monitor import Confirmed, Monitor
from gateway.core.outbox import Overdue, Why
from gateway.delivery import Delivery
from gateway.health import Health
from gateway.lamps import Lamps
from gateway.record.writer import Writer
from gateway.recorder import Recorder
from gateway.restart import Held, held_by, inventory, wires
from gateway.seams import Seams
from gateway.storage import Storage

CHECK_EVERY_US = 200_000
"""Inputs are re-read this often, in case an edge was missed."""

ALIVE_EVERY_US = 2_000_000
"""The watchdog is fed this often, from the loop that re-reads the inputs (the unit allows 10 s)."""

AFTER_US = 5_000
"""Log and lamps let an alarm go ahead: at once they cost it a quarter of a millisecond."""

PRUNE_EVERY_US = 3_600_000_000
PRUNE_LIMIT = 5_000
MS_PER_DAY = 86_400_000
STOP_WITHIN_S = 2.0

_ANSWERS = frozenset({"acknowledged", "dispatched", "closed", "cleared"})
"""What people have said, or the end: after any of it no further route is called."""


class _DiskNews:
    """Brings the writer's callbacks to the gateway, which is made after the writer."""

    gateway: Gateway | None = None

    def trouble(self, why: str, text: str) -> None:
        if self.gateway is not None:
            self.gateway.disk_trouble(why, text)

    def recovered(self) -> None:
        if self.gateway is not None:
            self.gateway.disk_recovered()


class Gateway:
    """One running daemon. `open`, then `run` until `stopping` is set."""

    def __init__(
        self, premises: Premises, seams: Seams, *, signer: SigningKey, writer: Writer, held: Held
    ) -> None:
        self._premises = premises
        self._seams = seams
        self._clock = seams.clock
        self._writer = writer
        self._held = held
        self._bell = Bell(seams.clock)
        self._register = Register(premises.points)
        self._register.restore(held.open_events)
        self._delivery = Delivery(
            premises,
            seams,
            identity=held.identity,
            signer=signer,
            writer=writer,
            listener=self,
        )
        self._recorder = Recorder(
            premises,
            identity=held.identity,
            heads=held.heads,
            holders=held.holders,
            signer=signer,
            writer=writer,
            clock=seams.clock,
            random=seams.random,
            release=self._delivery.release,
            late=lambda: self.tell(self._storage.late(self._clock.now_us())),
        )
        self._recorder.restore(held.open_events)
        self._storage = Storage()
        self._lamps = Lamps(premises.points, seams.driver)
        self._monitors = {point.id: self._monitor(point) for point in premises.points}
        self._points = {
            address: point.id for point in premises.points for address in point.input.addresses
        }
        self._timers: dict[str, Timer] = {}
        self._unlogged: list[Event] = []
        self._after: Timer | None = None
        self._undelivered: dict[str, dict[str, Why]] = {}
        self._check_us = self._alive_us = self._prune_us = self._clock.now_us()

    def _monitor(self, point: Point) -> Monitor:
        now_us = self._clock.now_us()
        proved_ms = self._held.last_proved.get(point.id, self._held.first_start_utc_ms)
        age_ms = max(0, self._clock.stamp(now_us).utc_ms - proved_ms)
        return Monitor(point, proved_us=now_us - age_ms * US_PER_MS)

    @classmethod
    async def open(cls, premises: Premises, seams: Seams, *, signer: SigningKey) -> Gateway:
        """Open the ledger and take over what it holds. Raises LedgerBusy for a second daemon."""
        stamp, news = seams.clock.stamp(seams.clock.now_us()), _DiskNews()
        writer, _ = await seams.disk.open(
            start=seams.random.randbytes(4).hex(),
            fresh_id=seams.random.randbytes(4).hex(),
            boot=stamp.boot,
            utc_ms=stamp.utc_ms,
            on_trouble=news.trouble,
            on_recovered=news.recovered,
        )
        held = await writer.call(held_by)
        news.gateway = cls(premises, seams, signer=signer, writer=writer, held=held)
        return news.gateway

    # --- collect -----------------------------------------------------------------------------

    def collect(self, reading: Reading) -> None:
        """A driver saw an input. Facts that follow are recorded and sent before this returns."""
        point_id = self._points[reading.input]
        self._concluded(point_id, self._monitors[point_id].feed(reading))

    def _woken(self, point_id: str) -> None:
        self._concluded(point_id, self._monitors[point_id].wake(self._clock.now_us()))

    def _concluded(self, point_id: str, found: Iterable[Confirmed | Fact]) -> None:
        for item in found:
            if isinstance(item, Confirmed):
                new_id = self._recorder.new_id(item.at_us)
                self.tell(self._register.confirm(item, new_id=new_id))
            else:
                self.tell([item])
        timer = self._timers.pop(point_id, None)
        if timer is not None:
            timer.cancel()
        due_us = self._monitors[point_id].deadline()
        if due_us is not None:
            far = due_us - self._clock.now_us() > CHECK_EVERY_US
            self._timers[point_id] = self._clock.call_at(
                due_us, lambda: self._woken(point_id), relaxed=far
            )

    # --- tell: the one way into the record -------------------------------------------------------

    def tell(self, facts: Iterable[Fact]) -> None:
        """Record facts and send them; log, lamps and deadlines follow a few milliseconds later."""
        events = self._recorder.record(facts)
        for event in events:
            if event.alarm is not None and phase_of(event.type) in _ANSWERS:
                self._answered(event.alarm)
        self._unlogged += events
        if events and self._after is None:
            after_us = self._clock.now_us() + AFTER_US
            self._after = self._clock.call_at(after_us, self._follow, relaxed=True)

    def _follow(self) -> None:
        """What may come after the alarm has left."""
        if self._after is not None:
            self._after.cancel()
            self._after = None
        events, self._unlogged = self._unlogged, []
        for event in events:
            self._seams.log(event.type, {"subject": event.subject, "id": event.id, **event.data})
        self._lamps.show(self._register, self._clock.now_us())
        self._bell.ring()

    def _answered(self, alarm: str) -> None:
        for outbox in self._delivery.outboxes.values():
            outbox.answered(alarm)
        for route in self._premises.routes:
            self._delivered(route, alarm)

    # --- what delivery reports -------------------------------------------------------------------

    def head(self, route: str, stream: Stream) -> int:
        return self._recorder.head(route, stream)

    def open_alarms(self) -> Sequence[str]:
        return [alarm.id for alarm in self._register.open]

    def received(self, route: Route, alarm: str) -> None:
        if self._undelivered.get(route.id, {}).get(alarm) is Why.NO_RECEIPT:
            self._delivered(route, alarm)
        speaks = route.answers or not any(other.answers for other in self._premises.routes)
        if speaks:
            data: dict[str, Json] = {"route": route.id}
            self._answer(alarm, AlarmState.RECEIVED, data)

    def word(self, route: Route, word: AlarmWord) -> None:
        if word.state is AlarmState.RECEIVED:
            self.received(route, word.alarm)
        elif route.answers:
            data: dict[str, Json] = {"route": route.id}
            if word.operator is not None:
                data["operator"] = word.operator
            if word.at:
                data["at"] = word.at
            self._answer(word.alarm, word.state, data)

    def _answer(self, alarm: str, state: AlarmState, data: dict[str, Json]) -> None:
        self.tell(self._register.answer(alarm, state, at_us=self._clock.now_us(), data=data))

    def overdue(self, route: Route, overdue: Overdue) -> None:
        standing = self._undelivered.setdefault(route.id, {})
        if not standing:
            data: dict[str, Json] = {
                "route": route.id,
                "alarm": overdue.alarm,
                "why": overdue.why.value,
                "owed": self._delivery.outboxes[route.id].count(Stream.ALARM),
            }
            self.tell([Fact("fault.delivery.raised", route.id, overdue.at_us, data=data)])
        standing[overdue.alarm] = overdue.why
        if overdue.step < len(route.then):
            self._recorder.owe_also(overdue.alarm, route.then[overdue.step])

    def _delivered(self, route: Route, alarm: str) -> None:
        standing = self._undelivered.get(route.id, {})
        if alarm not in standing:
            return
        del standing[alarm]
        if not standing:
            now_us = self._clock.now_us()
            data: dict[str, Json] = {"route": route.id}
            self.tell([Fact("fault.delivery.cleared", route.id, now_us, data=data)])

    def disk_trouble(self, why: str, text: str) -> None:
        """Called by the writer, on the loop."""
        self.tell(self._storage.failed(self._clock.now_us(), why, text))

    def disk_recovered(self) -> None:
        """Called by the writer, on the loop."""
        self.tell(self._storage.recovered(self._clock.now_us()))

    # --- attend ----------------------------------------------------------------------------------

    async def run(self, *, stopping: asyncio.Event, health: Health) -> None:
        """Go live and stay so until `stopping` is set; then stop cleanly, within a few seconds."""
        try:
            self._seams.driver.start(
                wires=wires(self._premises.points),
                lamps=self._lamps.addresses,
                on_reading=self.collect,
            )
            self._begin()
            health.ready(f"{len(self._premises.points)} points live")
            async with asyncio.TaskGroup() as tasks:
                loops = (
                    tasks.create_task(self._attend(health), name="attend"),
                    tasks.create_task(self._delivery.run(), name="deliver"),
                )
                await stopping.wait()
                for loop in loops:
                    loop.cancel()
        finally:
            health.stopping()
            await self._stop()

    def _begin(self) -> None:
        """Owe what was owed, and say that we are back."""
        now_us, held = self._clock.now_us(), self._held
        for route in self._premises.routes:
            self._delivery.outboxes[route.id].restore(
                {key: ranges for key, ranges in held.owed.items() if key.route == route.id},
                [message for message in held.owed_alarms if message.key.route == route.id],
                now_us,
                unacknowledged=[
                    alarm.id
                    for alarm in self._register.open
                    if alarm.unanswered and route.id in held.holders.get(alarm.id, ())
                ],
            )
        data: dict[str, Json] = {"open": list[Json](self.open_alarms())}
        facts = [Fact("state.gateway.restarted", self._premises.gateway, now_us, data=data)]
        facts += inventory(self._premises, held.inventory, now_us)
        if held.trouble is not None:
            facts += self._storage.failed(now_us, "memory", held.trouble)
        if held.set_aside is not None:
            facts += self._storage.set_aside(now_us, held.set_aside)
        self.tell(facts)

    async def _attend(self, health: Health) -> None:
        """The one loop over deadlines. Most rounds only re-read the inputs."""
        due_us: int | None = self._clock.now_us()
        rung = True
        while True:
            now_us = self._clock.now_us()
            if now_us >= self._check_us:
                self._seams.driver.check()
                self._check_us = now_us + CHECK_EVERY_US
                if now_us >= self._alive_us:
                    self._alive_us = now_us + ALIVE_EVERY_US
                    health.alive()
            if rung or (due_us is not None and now_us >= due_us):
                due_us = self._wake(now_us)
            rung = await self._bell.wait_until(min(self._check_us, due_us or self._check_us))

    def _wake(self, now_us: int) -> int | None:
        """Do all that is due, and say when there will be more."""
        self._prune(now_us)
        self.tell(self._register.wake(now_us))
        self.tell(self._storage.wake(now_us))
        self._delivery.wake(now_us)
        self._lamps.show(self._register, now_us)
        moments = (
            self._prune_us,
            self._register.deadline(),
            self._storage.deadline(),
            self._delivery.deadline(),
            self._lamps.deadline(now_us),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def look_again(self) -> None:
        """Delivery has a nearer deadline than it said."""
        self._bell.ring()

    def _prune(self, now_us: int) -> None:
        if now_us < self._prune_us:
            return
        self._prune_us = now_us + PRUNE_EVERY_US
        keep_ms = self._premises.ledger.keep_days * MS_PER_DAY
        before_ms = self._clock.stamp(now_us).utc_ms - keep_ms
        pruned = self._writer.call(
            lambda ledger: ledger.prune(before_utc_ms=before_ms, limit=PRUNE_LIMIT)
        )
        # a disk in trouble is told by the writer; the next hour tries again
        pruned.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def _stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._seams.driver.stop()
        await self._delivery.stop()
        self._follow()
        whole = await self._writer.stop(within_s=STOP_WITHIN_S)
        self._seams.log("stopped", {"everything_on_disk": whole})
