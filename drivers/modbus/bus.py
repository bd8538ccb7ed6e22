"""The one task that owns a port: it opens it, and decides what is sent next.

Actions go first, by urgency (the end of a pulse is one), then one request for set-up or an event
log between two polls, then the poll plan; whatever comes new waits at most one exchange. A port is
given up only when it is gone, never because units are silent. Nothing here ends the bus: an
unexpected error is reported and the port opened anew.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from drivers.modbus.bell import Bell
from drivers.modbus.plan.plan import Plan
from drivers.modbus.unit.outputs import Actuator, Gate
from drivers.modbus.unit.station import Station, Voice
from drivers.modbus.wire.guard import Guard
from drivers.modbus.wire.lent import Lent, Wish
from drivers.modbus.wire.port import Opener, PortError
from drivers.modbus.wire.request import Reply, ReplyKind, Request
from drivers.modbus.wire.wire import Wire
from gateway.core.action import Action, Urgency
from gateway.core.hardware import Bus
from gateway.core.model import Condition

if TYPE_CHECKING:
    from gateway.clock import Clock

REOPEN_LEAST_US, REOPEN_MOST_US = 100_000, 5_000_000
"""Between two attempts to open a port: doubled each time, with jitter, never more than 5 s."""

LENT_WAITS_US = 1_000_000
"""A borrowed exchange goes before a due poll when it has waited this long."""

STOP_US = 1_800_000
"""Pulses are ended within this; a driver has 2 s to stop."""

_TICK_US = 1_000
_HEARD = frozenset({ReplyKind.ANSWERED, ReplyKind.EXCEPTION})
_NO_GATES: dict[str, Gate] = {}


class BusOwner:
    """One bus and its units. `run` it as a task; `stop` ends it.

    stations: what is kept of each unit, in the order in which they are first asked.
    """

    def __init__(
        self,
        bus: Bus,
        stations: Sequence[Station],
        plan: Plan,
        *,
        opener: Opener,
        clock: Clock,
        random: Random,
        voice: Voice,
    ) -> None:
        self.bus = bus
        self.plan = plan
        self.stations = {station.device.id: station for station in stations}
        self._guard = Guard(opener(bus), clock)
        self.wire = Wire(bus, self._guard, clock)
        self.standing = False
        self._clock = clock
        self._random = random
        self._voice = voice
        self._bell = Bell(clock)
        self._busy: dict[str, tuple[Station, Actuator]] = {}
        self._wishes: deque[Wish] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stop_us: int | None = None
        self._tries = 0
        self._aside = False
        self._turn = 0

    # --- from outside ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"bus {self.bus.id}")

    def act(self, device: str, action: Action) -> None:
        """Take an action on; its Result comes through the voice."""
        station = self.stations[device]
        actuator = station.actuators[action.output]
        actuator.offer(action, self._clock.now_us())
        self._busy[action.output] = station, actuator
        self._bell.ring()

    def lend(self) -> Lent:
        """A way to exchange something between this bus's own polls."""
        return Lent(self._wish, self.wire.stats)

    async def stop(self, last: Sequence[Action] = ()) -> None:
        """End pulses of ours, do these last actions, answer what waits, close. Within 2 s."""
        task, now_us = self._task, self._clock.now_us()
        if task is None or self._stop_us is not None:
            return
        self._stop_us = now_us + STOP_US
        for actuator in self._actuators():
            actuator.stop(now_us)
        for action in last:
            self.act(action.output.partition("/")[0], action)
        self._bell.ring()

        def enough() -> None:
            task.cancel()

        timer = self._clock.call_at(self._stop_us, enough)
        await asyncio.gather(task, return_exceptions=True)
        timer.cancel()
        for actuator in self._actuators():
            actuator.give_up(self._clock.now_us())
        self._refuse_wishes("the gateway stops")
        self.wire.close()

    # --- the port -------------------------------------------------------------------------------

    async def _run(self) -> None:
        why = ""
        while not self._stopped():
            try:
                if why:
                    await self._lost(why)
                    why = ""
                if not self.wire.is_open:
                    await self.wire.open()
                    self.plan.gone(self._clock.now_us())
                await self._serve()
            except PortError as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001 - a defect must not leave doors unwatched
                why = self._failed(error)
                await self._clock.sleep(REOPEN_LEAST_US / 1e6)

    def _failed(self, error: Exception) -> str:
        """A defect of this program: told with the place where it happened."""
        why = f"{type(error).__name__}: {error}"
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        fields = {"level": "error", "bus": self.bus.id, "why": why, "where": where}
        self._voice.report("modbus.bus.failed", fields)
        return why

    async def _lost(self, why: str) -> None:
        """The port is gone: once it is tried again at once, then with longer and longer pauses."""
        now_us = self._clock.now_us()
        self.wire.close()
        for actuator in self._actuators():
            actuator.cut(why, now_us)
        self._refuse_wishes(why)
        if self._tries:
            self._stand(why, now_us)
        pause_us = min(REOPEN_LEAST_US << self._tries, REOPEN_MOST_US) if self._tries else 0
        self._tries = min(self._tries + 1, 16)
        again_us = now_us + round(pause_us * self._random.uniform(0.7, 1.0))
        closed = Gate(speaks=False)
        while (now_us := self._clock.now_us()) < again_us and not self._stopped():
            for _, actuator in self._busy.values():
                actuator.sweep(now_us, closed)
            self._refuse_wishes(why)
            moments = [actuator.deadline(closed) for _, actuator in self._busy.values()]
            due_us = min((at_us for at_us in moments if at_us is not None), default=again_us)
            await self._bell.wait_until(max(min(due_us, again_us), now_us + _TICK_US))

    def _stand(self, why: str, now_us: int) -> None:
        """The port stays away: a fault, and nothing of its units is known."""
        if self.standing:
            return
        self.standing = True
        self._voice.condition(
            Condition("bus", self.bus.id, standing=True, at_us=now_us, data={"why": why})
        )
        for station in self.stations.values():
            self._voice.readings(station.unknown(now_us))

    def _alive(self, now_us: int) -> None:
        """An exchange went through the port, whatever the unit said to it."""
        self._tries = 0
        if not self.standing:
            return
        self.standing = False
        self._voice.condition(Condition("bus", self.bus.id, standing=False, at_us=now_us))
        for station in self.stations.values():
            station.again(self.plan, now_us)

    # --- what next ------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Exchange after exchange until the port is gone or the driver stops."""
        busy = self._busy
        while not self._stopped():
            now_us = self._clock.now_us()
            gates = self._sweep(now_us) if busy else _NO_GATES
            if not (
                (busy and await self._action(gates, now_us))
                or (not self._aside and self._any_beside(now_us) and await self._beside(now_us))
                or await self._poll(now_us)
            ):
                if self._aside:
                    self._aside = False
                elif not self._stopped():
                    await self._bell.wait_until(self._deadline(gates, now_us))

    def _sweep(self, now_us: int) -> dict[str, Gate]:
        """Answer what is too late; the gates of the units whose outputs have something to do."""
        gates: dict[str, Gate] = {}
        for address, (station, actuator) in list(self._busy.items()):
            name = station.device.id
            if name not in gates:
                gates[name] = station.gate(self.plan)
            actuator.sweep(now_us, gates[name])
            if actuator.idle:
                del self._busy[address]
            elif actuator.awaited:
                self.plan.hurry(name)
        return gates

    async def _action(self, gates: dict[str, Gate], now_us: int) -> bool:
        """The most urgent request of an output, if there is any."""
        best: tuple[Urgency, Station, Actuator] | None = None
        for station, actuator in self._busy.values():
            name = station.device.id
            if self.plan.free_us(name) > now_us:
                continue
            urgency = actuator.urgency(now_us, gates[name])
            if urgency is not None and (best is None or urgency < best[0]):
                best = urgency, station, actuator
        if best is None or (best[0] is Urgency.COMFORT and self._aside):
            return False
        urgency, station, actuator = best
        request = actuator.ask(now_us, gates[station.device.id])
        if request is None:
            return True
        self._aside = urgency is Urgency.COMFORT
        self._guard.arm(actuator.not_after_us)
        reply = await self._exchange(station, request)
        now_us = self._clock.now_us()
        if self._guard.disarm():
            actuator.take(None, now_us)
            return True
        station.acted(actuator, request, reply, now_us)
        self._noted(station, reply, now_us)
        return True

    def _any_beside(self, now_us: int) -> bool:
        """True when `_beside` may have something to ask; nearly always it has not."""
        if self._wishes:
            return True
        return any(not _at_rest(station, now_us) for station in self.stations.values())

    async def _beside(self, now_us: int) -> bool:
        """One request beside the polls: an event log's, a unit's set-up, a borrowed one."""
        names = list(self.stations)
        for index in range(len(names)):
            station = self.stations[names[(self._turn + index) % len(names)]]
            if _at_rest(station, now_us) or not self.plan.open(station.device.id, now_us):
                continue
            if await self._log(station, now_us) or await self._errand(station, now_us):
                self._turn = (self._turn + index + 1) % len(names)
                self._aside = True
                return True
        if self._wishes and self._stop_us is None:
            wish, due_us = self._wishes[0], self.plan.deadline()
            idle = due_us is None or due_us > now_us
            if idle or now_us - wish.at_us >= LENT_WAITS_US:
                self._wishes.popleft()
                self._aside = True
                await self._grant(wish)
                return True
        return False

    async def _grant(self, wish: Wish) -> None:
        try:
            wish.answer(await self.wire.exchange(wish.unit, wish.request, timing=wish.timing))
        except ValueError as error:
            wish.fail(error)

    async def _log(self, station: Station, now_us: int) -> bool:
        request = None if station.log is None else station.log.request(now_us)
        if request is None:
            return False
        reply = await self._exchange(station, request)
        now_us = self._clock.now_us()
        if reply.kind is not ReplyKind.GONE:
            station.logged(reply, now_us)
        self._noted(station, reply, now_us)
        return True

    async def _errand(self, station: Station, now_us: int) -> bool:
        errand = station.life.errand(now_us)
        if errand is None:
            return False
        reply = await self._exchange(station, errand.request)
        now_us = self._clock.now_us()
        self._noted(station, reply, now_us, rest_us=errand.rest_us)
        station.lived(station.life.done(errand, reply, now_us), self.plan)
        return True

    async def _poll(self, now_us: int) -> bool:
        if self._stop_us is not None:
            return False
        poll = self.plan.next(now_us)
        if poll is None:
            return False
        self._aside = False
        station = self.stations[poll.device]
        reply = await self.wire.exchange(poll.unit, poll.read, timing=poll.timing)
        now_us = self._clock.now_us()
        polled = self.plan.done(poll, reply, now_us)
        self._after(station, reply, now_us)
        station.polled(polled, self.plan, now_us)
        return True

    async def _exchange(self, station: Station, request: Request) -> Reply:
        device = station.device
        return await self.wire.exchange(device.unit, request, timing=device.profile.timing)

    def _noted(self, station: Station, reply: Reply, now_us: int, *, rest_us: int = 0) -> None:
        """Tell the plan of an exchange beside it."""
        polled = self.plan.noted(station.device.id, reply, now_us, rest_us=rest_us)
        self._after(station, reply, now_us)
        station.polled(polled, self.plan, now_us)

    def _after(self, station: Station, reply: Reply, now_us: int) -> None:
        """Raises PortError when the port went away under an exchange."""
        if reply.kind is ReplyKind.GONE:
            raise PortError(reply.why or "the port is gone")
        station.heard = station.heard or reply.kind in _HEARD
        self._alive(now_us)

    # --- when next ------------------------------------------------------------------------------

    def _deadline(self, gates: dict[str, Gate], now_us: int) -> int | None:
        """When there will be something to do if nothing new comes."""
        moments = [None if self._stop_us else self.plan.deadline()]
        for station, actuator in self._busy.values():
            name = station.device.id
            at_us = actuator.deadline(gates[name])
            moments.append(None if at_us is None else max(at_us, self.plan.free_us(name)))
        for name, station in self.stations.items():
            free_us = self.plan.free_us(name)
            for beside in (station.life, station.log):
                at_us = None if beside is None else beside.deadline()
                # What is due, and was not done, waits for a poll to succeed: no moment of its own.
                if at_us is not None and (at_us > now_us or free_us > now_us):
                    moments.append(max(at_us, free_us))
        soonest = min((at_us for at_us in moments if at_us is not None), default=None)
        return None if soonest is None else max(soonest, now_us + _TICK_US)

    # --- the end --------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        """True when the driver stops and nothing of ours is left that can be ended.

        A silent unit is not waited for: nobody asks it any more whether it lives.
        """
        if self._stop_us is None:
            return False
        left = [
            actuator
            for station, actuator in self._busy.values()
            if not actuator.idle and (not self.wire.is_open or station.gate(self.plan).speaks)
        ]
        return not left or self._clock.now_us() >= self._stop_us

    def _actuators(self) -> list[Actuator]:
        return [one for station in self.stations.values() for one in station.actuators.values()]

    def _wish(self, wish: Wish) -> None:
        if self._stop_us is not None or self._task is None:
            wish.answer(Reply(ReplyKind.GONE, why="the gateway stops"))
            return
        wish.at_us = self._clock.now_us()
        self._wishes.append(wish)
        self._bell.ring()

    def _refuse_wishes(self, why: str) -> None:
        while self._wishes:
            self._wishes.popleft().answer(Reply(ReplyKind.GONE, why=why))


def _at_rest(station: Station, now_us: int) -> bool:
    """True when there is nothing to ask a unit beside its polls. Asked before every exchange."""
    due_us = station.life.deadline()
    if due_us is not None and due_us <= now_us:
        return False
    due_us = None if station.log is None else station.log.deadline()
    return due_us is None or due_us > now_us
