"""The daemon, as a table of contents: open everything, then collect, deliver, obey and attend.

`collect` is called with every reading and decides at once; `attend` is the one loop that looks at
deadlines; delivery runs beside it. Everything that differs between a school and a simulation comes
in through `Seams`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from drivers.base import Ear
from gateway.clock import Bell, Timer
from gateway.core.alarms import Register
from gateway.core.commands import Refusal
from gateway.core.jws import SigningKey
from gateway.core.kinds import phase_of
from gateway.core.model import (
    AlarmState,
    AlarmWord,
    Condition,
    Event,
    Fact,
    Json,
    Reading,
    Stream,
)
from gateway.core.modes import KEPT, Modes
from gateway.core.outbox import Overdue
from gateway.core.premises import Premises, Route
from gateway.core.standing import Standing, patience_of
from gateway.delivery import Delivery
from gateway.desk import Desk
from gateway.hands import Hands
from gateway.health import Health
from gateway.lamps import Lamps
from gateway.obey import Obey
from gateway.points import Points
from gateway.record.ledger import Found
from gateway.record.writer import Writer
from gateway.recorder import NOTHING, Recorder
from gateway.resend import Resend
from gateway.restart import Held, held_by, inventory, outputs, recall, still, wires
from gateway.seams import Seams, Seldom
from gateway.storage import DiskNews
from gateway.undelivered import Undelivered
from gateway.upkeep import Upkeep

CHECK_EVERY_US = 200_000
"""Inputs are re-read this often, in case an edge was missed."""

ALIVE_EVERY_US = 2_000_000
"""The watchdog is fed this often, from the loop that re-reads the inputs (the unit allows 10 s)."""

AFTER_US = 5_000
"""Log and lamps let an alarm go ahead: at once they cost it a quarter of a millisecond."""

STOP_WITHIN_S = 2.0

_ANSWERS = frozenset({"acknowledged", "dispatched", "closed", "cleared"})
"""What people have said, or the end: after any of it no further route is called."""


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
        self._modes = Modes(premises.points, gateway=premises.gateway)
        self._delivery = Delivery(
            premises,
            seams,
            identity=held.identity,
            signer=signer,
            writer=writer,
            listener=self,
        )
        self.upkeep = Upkeep(
            premises, seams.clock, writer, tell=self.tell, take_over=self._take_over
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
            late=self.upkeep.late,
            status=self._modes.status,
        )
        self._recorder.restore(held.open_events)
        self._standing = Standing(
            held.open_faults, patience_of(premises), now_us=seams.clock.now_us()
        )
        self._lamps = Lamps(premises.points, seams.driver)
        self._points = Points(
            premises,
            seams.clock,
            held=held,
            register=self._register,
            modes=self._modes,
            new_id=self._recorder.new_id,
            tell=self.tell,
            keep=self._keep,
        )
        self._hands = Hands(
            premises,
            seams.driver,
            seams.clock,
            points=self._points,
            tell=self.tell,
            keep=self._keep,
        )
        self._register.locked_down = lambda: self._hands.reactions.lockdown is not None
        self._resend, self._obey, self.desk = self._orderlies()
        recall(seams.memory, held.kept, self._keep)
        self._unlogged: list[Event] = []
        self._after: Timer | None = None
        self._undelivered = Undelivered()
        self._check_us = self._alive_us = self._clock.now_us()

    def _orderlies(self) -> tuple[Resend, Obey, Desk]:
        """Who sends history again, who obeys commands, who answers at the control socket."""
        premises, seams, identity = self._premises, self._seams, self._held.identity
        resend = Resend(
            premises,
            identity,
            self._clock,
            self._writer,
            send=self._delivery.resend,
            head=self.head,
            tell=self.tell,
        )
        obey = Obey(
            premises,
            identity,
            self._clock,
            hands=self._hands,
            modes=self._modes,
            send_again=resend.ask,
            seldom=Seldom(seams.log, seams.clock),
            tell=self.tell,
            pass_on=self._points.pass_on,
            changed=self._modes_changed,
        )
        desk = Desk(
            premises,
            seams,
            identity=identity,
            points=self._points,
            hands=self._hands,
            delivery=self._delivery,
            obey=obey,
            upkeep=self.upkeep.status,
        )
        return resend, obey, desk

    @classmethod
    async def open(cls, premises: Premises, seams: Seams, *, signer: SigningKey) -> Gateway:
        """Open the ledger and take over what it holds. Raises LedgerBusy for a second daemon."""
        stamp, news = seams.clock.stamp(seams.clock.now_us()), DiskNews()
        writer, _ = await seams.disk.open(
            start=seams.random.randbytes(4).hex(),
            fresh_id=seams.random.randbytes(4).hex(),
            boot=stamp.boot,
            utc_ms=stamp.utc_ms,
            on_trouble=news.trouble,
            on_recovered=news.recovered,
        )
        held = await writer.call(held_by)
        gateway = cls(premises, seams, signer=signer, writer=writer, held=held)
        news.on_trouble, news.on_recovered = gateway.upkeep.trouble, gateway.upkeep.recovered
        return gateway

    # --- what the driver reports ---------------------------------------------------------------

    def collect(self, reading: Reading) -> None:
        """A driver saw an input. Facts that follow are recorded and sent before this returns."""
        self._points.collect(reading)
        self._hands.seen(reading)

    def _condition(self, condition: Condition) -> None:
        """Field hardware is broken, or whole again."""
        phase = "raised" if condition.standing else "cleared"
        kind = f"fault.{condition.kind}.{phase}"
        self.tell([Fact(kind, condition.subject, condition.at_us, data=condition.data)])

    # --- tell: the one way into the record -------------------------------------------------------

    def tell(self, facts: Iterable[Fact], kept: Mapping[str, str] = NOTHING) -> None:
        """Record facts and send them, begin what follows on the premises.

        kept: what must be on disk with the first of them. Log, lamps and deadlines follow a few
        milliseconds later.
        """
        facts = self._standing.passed(facts)
        if kept and not facts:
            self._keep(kept)
        events = self._recorder.record(facts, kept)
        self._unlogged += events
        for fact in facts:
            self._hands.told(fact)
        for event in events:
            if event.alarm is not None and phase_of(event.type) in _ANSWERS:
                self._answered(event.alarm)
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

    def _keep(self, values: Mapping[str, str]) -> None:
        """Remember what makes no event."""
        self.upkeep.on_disk(lambda ledger: ledger.keep(values))

    def _answered(self, alarm: str) -> None:
        for outbox in self._delivery.outboxes.values():
            outbox.answered(alarm)
        for route in self._premises.routes:
            self.tell(self._undelivered.answered(route, alarm, self._clock.now_us()))

    # --- what delivery reports -------------------------------------------------------------------

    def head(self, route: str, stream: Stream) -> int:
        return self._recorder.head(route, stream)

    def open_alarms(self) -> tuple[tuple[str, ...], int]:
        return self._register.named()

    def modes(self) -> tuple[str, ...]:
        lockdown = ("lockdown",) if self._hands.reactions.lockdown is not None else ()
        return (*lockdown, *self._modes.names)

    def isolated(self) -> tuple[str, ...]:
        return self._modes.isolated

    def command(self, route: Route, token: bytes) -> None:
        self._obey.heard(route.id, token)

    def command_refused(self, refusal: Refusal) -> None:
        self._obey.refuse(refusal)

    def received(self, route: Route, alarm: str) -> None:
        now_us, unanswered = self._clock.now_us(), self._register.unanswered(alarm) is not None
        self.tell(self._undelivered.received(route, alarm, now_us, unanswered=unanswered))
        if self._premises.speaks(route):
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
        owed = self._delivery.outboxes[route.id].count(Stream.ALARM)
        self.tell(self._undelivered.overdue(route, overdue, owed=owed))
        if overdue.step < len(route.then):
            self._recorder.owe_also(overdue.alarm, route.then[overdue.step])
        alarm = self._register.unanswered(overdue.alarm)
        if alarm is not None and self._premises.speaks(route):
            self._hands.unanswered(alarm)

    def _take_over(self, found: Found) -> None:
        """A disk is back, and what it held from before is owed, open and standing again."""
        self._standing.found(found.open_faults)
        before = {alarm.id for alarm in self._register.open}
        self._register.restore(found.open_events)
        self._recorder.restore(found.open_events, found.holders)
        back = [alarm for alarm in self._register.open if alarm.id not in before]
        self._delivery.restore(replace(self._held, **found.debts), back)

    # --- attend ----------------------------------------------------------------------------------

    async def run(self, *, stopping: asyncio.Event, health: Health) -> None:
        """Go live and stay so until `stopping` is set; then stop cleanly, within a few seconds."""
        try:
            self._seams.driver.start(
                wires=wires(self._premises.points),
                outputs=outputs(self._premises, self._lamps.addresses),
                ear=Ear(self.collect, self._condition, self._hands.result),
            )
            self._lamps.darken()
            self._begin()
            health.ready(f"{len(self._premises.points)} points live")
            async with asyncio.TaskGroup() as tasks:
                loops = (
                    tasks.create_task(self._attend(health), name="attend"),
                    tasks.create_task(self._delivery.run(), name="deliver"),
                    tasks.create_task(self._resend.run(), name="resend"),
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
        self._delivery.restore(held, self._register.open)
        data = still(self._register, self._standing)
        facts = [Fact("state.gateway.restarted", self._premises.gateway, now_us, data=data)]
        facts += inventory(self._premises, held.inventory, now_us)
        facts += self.upkeep.begin(trouble=held.trouble, set_aside=held.set_aside, lost=held.lost)
        self.tell(facts)
        self._obey.restore(held.kept, held.open_events)
        self._hands.restore(held.kept.get("reactions"), self._register.open)

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
        self.upkeep.wake(now_us)
        self.tell(self._register.wake(now_us))
        self._hands.wake(now_us)
        ended = self._modes.wake(now_us)
        if ended:
            self._points.pass_on(ended)
            self._modes_changed()
        self.tell(self._standing.wake(now_us))
        self._delivery.wake(now_us)
        self._lamps.show(self._register, now_us)
        moments = (
            self.upkeep.deadline(),
            self._register.deadline(),
            self._hands.deadline(),
            self._modes.deadline(),
            self._standing.deadline(),
            self._delivery.deadline(),
            self._lamps.deadline(now_us),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def _modes_changed(self) -> None:
        now_us = self._clock.now_us()
        self._keep({KEPT: json.dumps(self._modes.memory(self._clock.stamp(now_us), now_us))})
        self.look_again()

    def look_again(self) -> None:
        """Delivery has a nearer deadline than it said."""
        self._bell.ring()

    async def _stop(self) -> None:
        self._points.stop()
        self._obey.stop()
        await self._seams.driver.stop()
        await self._delivery.stop()
        self._follow()
        whole = await self._writer.stop(within_s=STOP_WITHIN_S)
        self._seams.log("stopped", {"everything_on_disk": whole})
