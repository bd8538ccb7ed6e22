"""A school for a day of one misfortune: the real daemon, what happens to it, what must have come.

The day is always the same, so that the n-th call of one run is the n-th call of the next. Told from
outside: tokens at the brokers, verdicts of the centres, lines of the log, the ledger afterwards.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.core.hardware import Bus, Device, Door, DoorContact, Egress, Transport
from gateway.core.jws import digest
from gateway.core.kinds import phase_of
from gateway.core.model import AlarmState, Stream, StreamKey
from gateway.core.premises import (
    Input,
    LedgerSpec,
    Point,
    PointKind,
    Premises,
    Route,
    RouteKey,
    UplinkSpec,
    WiringDoubt,
)
from gateway.core.standing import name_of
from gateway.core.verbs import Verb
from gateway.record.ledger import Ledger
from gateway.seams import Disk
from simulators.bus.shipped import profile
from simulators.centre.core.words import unsealed
from simulators.virtual.time import VirtualClock
from simulators.virtual.world import World

SENDS = ("alarm", "fault", "test", "state", "access")
SCHOOL = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway="school-12-main",
    key_file="",
    ledger=LedgerSpec(""),
    points=(
        Point("reception", PointKind.PANIC, Input("gpio:17", "gpio:27"), lamp="gpio:22"),
        Point("gym", PointKind.PANIC, Input("gpio:5", "gpio:6"), lamp="gpio:13"),
        Point("accounts", PointKind.HOLD_UP, Input("gpio:23", "gpio:24"), silent=True),
        Point("library", PointKind.PANIC, Input("gpio:16", "gpio:26")),
        Point(
            "staff-room",
            PointKind.PANIC,
            Input("gpio:20", "gpio:21"),
            wiring_doubt=WiringDoubt.FAULT,
        ),
    ),
    uplinks=(UplinkSpec("campus", "broker", 8883),),
    routes=(
        Route("security", ("campus",), SENDS, answers=True),
        Route("case", ("campus",), ("alarm", "state")),
    ),
    digest="0" * 64,
)

DOOR = "main-door"
HUB = "hub"
POLL_MS = 500
"""Seldom enough to try every request of a day; what happens in between the units count."""


def bus_school() -> Premises:
    """The same with two of its buttons and a door on RS-485."""
    bus = Bus("corridor", Transport.RTU, port="/nowhere/corridor", baud=19_200, echo=False)
    door = Door(
        lock="entrance/relay-1",
        request_to_exit=DoorContact("entrance/input-2"),
        egress=Egress.HARDWIRED,
        unlock_ms=2_000,
        remote_unlock=True,
    )
    points = {point.id: point for point in SCHOOL.points}
    points["gym"] = replace(points["gym"], input=Input("hub/input-1", "hub/input-2"))
    points["library"] = replace(points["library"], input=Input("hub/input-3"))
    points[DOOR] = Point(DOOR, PointKind.DOOR, Input(None, "entrance/input-1"), door=door)
    security, case = SCHOOL.routes
    verbs = tuple(verb.value for verb in Verb)
    return replace(
        SCHOOL,
        buses=(bus,),
        devices=(
            Device("entrance", "corridor", 11, profile("wb-mr6c"), poll_ms=POLL_MS),
            Device(HUB, "corridor", 12, profile("wb-mcm8"), poll_ms=POLL_MS),
        ),
        points=tuple(points.values()),
        routes=(replace(security, keys=(RouteKey("security", "", verbs=verbs),)), case),
    )


PRESSED = ("reception", "gym", "accounts", "library", "staff-room")
"""Each once, in this order."""

WELL_WITHIN_S = 150.0
"""A misfortune may leave faults standing for so long: disks and paths are watched for a minute."""

SETTLED_WITHIN_S = 12.0
"""After the last of it: what was lost is offered again in 5 s, a silent broker noticed in 8."""

TOGETHER_MS = 200
"""How far apart two things are that one look at the inputs and deadlines finds together."""

RELEASED_WITHIN_US = 50_000
"""An alarm waits for the disk at most this long (Premises.sync_wait_ms) …"""
_START, _LOST = "state.gateway.restarted", "lost"
JOURNEY_US = 10_000
"""… and a packet of the simulated broker takes 3 ms at most, a few of them in a row."""


@dataclass(slots=True)
class Day:
    """What became of one day. calls: those that are swept, in words; findings likewise."""

    calls: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    raised: Counter[str] = field(default_factory=Counter)


class FaultSchool(World):
    """A World with an eye on what matters. Subclasses replace what misbehaves."""

    def __init__(
        self,
        *,
        clock: VirtualClock,
        dice: random.Random,
        folder: Path,
        premises: Premises = SCHOOL,
        disk: Callable[[str], Disk] | None = None,
    ) -> None:
        given: dict[str, Any] = {} if disk is None else {"disk": disk}
        ledger = str(folder / "ledger.db")
        super().__init__(premises, clock=clock, dice=dice, ledger=ledger, **given)
        self.tokens: set[bytes] = set()
        self.crashed: list[str] = []
        self.on_disk: list[bool] = []
        self.broken: Counter[str] = Counter()
        self.over_restart = ["wiring staff-room"]
        self._mended_ms: int | None = None
        self._standing: Counter[str] = Counter()
        self._down: list[tuple[int, int]] = []
        self.trace.on_line = self._noted
        for broker in self.brokers.values():
            broker.client("ear", subscriptions=["qorgan/v1/#"], on_message=self._heard)

    def _noted(self, _at_us: int, what: str, fields: Mapping[str, object]) -> None:
        if what == "stopped":
            self.on_disk.append(bool(fields["everything_on_disk"]))
        elif what.startswith("fault."):
            self._standing[what.split(".")[1]] += -1 if what.endswith(".cleared") else 1

    def _heard(self, topic: str, token: bytes, retained: bool) -> None:  # noqa: FBT001 -- OnMessage
        del retained
        if topic.endswith(("/alarm", "/log", "/resend")):
            self.tokens.add(token)

    # --- the day ------------------------------------------------------------------------------

    async def day(self) -> None:
        """Presses, answers, an outage, a restart with a fault standing; then until all is well."""
        await self.start()
        await self.clock.sleep(2)
        await self.bench.press("reception", "clean", 300)
        await self.clock.sleep(2)
        self._say(AlarmState.ACKNOWLEDGED)
        await self.ask()
        await self.bench.press("gym", "clean", 300)
        await self.clock.sleep(3)
        down_us = self.clock.now_us()
        self.broker.down()
        await self.clock.sleep(1)
        await self.bench.press("accounts", "clean", 300)
        await self.clock.sleep(3)
        self.broker.up()
        await self.clock.sleep(4)
        self._down.append((down_us, self.clock.now_us()))
        self._say(AlarmState.CLOSED)
        await self.clock.sleep(2)
        await self.breaks()
        await self._recovery()
        await self._end()
        await self.start()
        await self.clock.sleep(2)
        await self.bench.press("library", "clean", 300)
        await self.clock.sleep(2)
        self._say(AlarmState.ACKNOWLEDGED)
        self._mended_ms = self.clock.now_us() // 1_000
        await self.mended()
        well = await self._recovery()
        await self._end()
        if well and self._standing != self.broken:  # the last moment is told next time
            await self.start()
            await self._recovery()
            await self._end()

    async def breaks(self) -> None:
        """What is broken when the gateway is restarted; `broken` counts its faults."""
        await self.bench.press("staff-room", "cut-nc")
        self.broken["wiring"] += 1

    async def mended(self) -> None:
        """It is whole again; somebody presses the button that was mended, which proves it."""
        self.bench.repair("staff-room")
        await self.bench.press("staff-room", "clean", 300)
        self.broken.clear()

    async def _recovery(self) -> bool:
        """Wait until no fault stands but those of what is `broken`, and all has settled; or not.

        By the gateway's own log: the desk may not have been told yet.
        """
        limit_us = self.clock.now_us() + int(WELL_WITHIN_S * 1_000_000)
        well_s = 0.0
        while well_s < SETTLED_WITHIN_S and self.clock.now_us() < limit_us:
            await self.clock.sleep(1)
            well_s = well_s + 1 if self._standing == self.broken else 0.0
        return well_s >= SETTLED_WITHIN_S

    async def ask(self) -> None:
        """What a desk asks for in the meantime: nothing here."""

    def _say(self, state: AlarmState) -> None:
        desk = self.centres["security"]
        for alarm in desk.core.alarms():
            desk.say(alarm.id, state)

    async def _end(self) -> None:
        try:
            await self.stop()
        except Exception as exc:  # noqa: BLE001 -- a daemon that died of anything is a finding
            self.crashed.append(f"the daemon died: {exc!r}")

    # --- what must have come ------------------------------------------------------------------

    def heard(self, route: str, kind: str) -> Iterator[Any]:
        """What a centre took as new, of one type (its beginning)."""
        for verdict in self.centres[route].new:
            if verdict.message is not None and verdict.message.type.startswith(kind):
                yield verdict.message

    def raised(self) -> Counter[str]:
        """How often the desk was told of each kind of fault."""
        told = self.heard("security", "fault.")
        return Counter(m.type.split(".")[1] for m in told if m.type.endswith(".raised"))

    def alarms(self) -> Iterator[str]:
        """Every press is one alarm on both routes, and on time unless the broker was away."""
        yield from self.crashed
        for route in self.centres:
            raised: dict[str, set[str]] = {}
            for message in self.heard(route, "alarm."):
                if message.type.endswith(".raised"):
                    raised.setdefault(message.subject, set()).add(message.id)
            for point in PRESSED:
                count = len(raised.pop(point, ()))
                if count != 1:
                    word = "lost" if count == 0 else "doubled"
                    yield f"{word}: {count} alarms of {point} at {route}"
            for point in raised:
                yield f"false: an alarm of {point} at {route}"

    def on_time(self) -> Iterator[str]:
        """No alarm waited for anything longer than it may for the disk."""
        for route, centre in self.centres.items():
            for verdict in centre.new:
                message = verdict.message
                if message is None or not message.type.endswith(".raised"):
                    continue
                if not message.type.startswith("alarm."):
                    continue
                raised_us = message.clock.monotonic_ms * 1_000
                arrived_us = (verdict.at_ms - self.clock.utc_offset_ms) * 1_000
                if any(begin <= raised_us <= end for begin, end in self._down):
                    continue
                if arrived_us - raised_us > RELEASED_WITHIN_US + JOURNEY_US:
                    late_ms = (arrived_us - raised_us) // 1_000
                    yield f"late: {message.subject} at {route} after {late_ms} ms"

    def whole(self) -> Iterator[str]:
        """No number is missing at a centre."""
        for route, centre in self.centres.items():
            numbers: dict[StreamKey, set[int]] = {}
            for verdict in centre.new:
                if verdict.message is not None:
                    key = verdict.message.key
                    numbers.setdefault(key, set()).add(verdict.message.sequence)
            for key, held in numbers.items():
                missing = set(range(1, max(held) + 1)) - held
                if missing:
                    yield f"gap at {route}: {sorted(missing)} of {key.stream} {key.epoch}"

    def well(self) -> Iterator[str]:
        """Every fault is told once and its end once, in turn; none is left standing.

        What was broken over the restart is told once until it is mended, whatever else happens;
        once more after a start that has lost its record of it, and says so by not naming it.
        """
        told: dict[str, list[str]] = {}
        unmended: dict[str, list[str]] = {}
        for at_ms, what, phase in self._faults():
            told.setdefault(what, []).append(phase)
            if self._mended_ms is None or at_ms < self._mended_ms:
                unmended.setdefault(what, []).append(phase)
        spoilt = "storage ledger" in told
        for what, said in told.items():
            ends = said[1::2]
            if set(said[::2]) != {"raised"} or len(ends) != len(said[::2]) or "raised" in ends:
                yield f"fault {what}: {', '.join(said)}"
            if _LOST in said and not spoilt:
                yield f"fault {what}: a start on a sound disk has forgotten it"
        for what in self.over_restart:
            if unmended.get(what) not in (["raised"], ["raised", _LOST, "raised"]):
                yield f"fault {what} stood over the restart: {unmended.get(what) or 'never told'}"

    def _faults(self) -> Iterator[tuple[int, str, str]]:
        """When, which fault, and its phase, in the order of the starts and of what they saw."""
        heard = [m for kind in ("fault.", _START) for m in self.heard("security", kind)]
        starts = {m.key.start: m.clock.monotonic_ms for m in heard if m.type == _START}
        standing: dict[str, str] = {}
        for message in sorted(
            heard,
            key=lambda m: (
                *(starts[m.key.start], m.type != _START),
                *(m.clock.monotonic_ms, m.sequence),
            ),
        ):
            at_ms, named = message.clock.monotonic_ms, message.data.get("faults", ())
            if message.type == _START:
                for what in [what for what, raised in standing.items() if raised not in named]:
                    del standing[what]
                    yield at_ms, what, _LOST
                continue
            what = name_of(message.type, message.subject, message.data)
            phase = phase_of(message.type)
            standing.pop(what, None)
            if phase == "raised":
                standing[what] = message.id
            yield at_ms, what, phase

    def sealed(self) -> Iterator[str]:
        """What passed the broker verifies as a chain: one token a number, each naming the last.

        Within a stream of one start, what happened later has the higher number; what one look
        at the deadlines finds may have happened in another order than it is told in.
        """
        for key, numbers in self._sent().items():
            where = f"{key.route}/{key.stream} {key.epoch}"
            before, then_ms = (0, ""), 0
            for sequence, tokens in sorted(numbers.items()):
                if len(tokens) > 1:
                    yield f"{len(tokens)} messages are {where}/{sequence}"
                token = min(tokens)
                payload = unsealed(token)
                if before[0] == sequence - 1 > 0 and payload["previous"] != before[1]:
                    yield f"broken chain at {where}/{sequence}"
                happened_ms = payload["data"]["clock"]["monotonic_ms"]
                if happened_ms < then_ms - TOGETHER_MS:
                    yield f"out of order: {where}/{sequence}"
                before, then_ms = (sequence, digest(token)), max(happened_ms, then_ms)

    def _sent(self) -> dict[StreamKey, dict[int, set[bytes]]]:
        """What passed the broker, by stream and number."""
        sent: dict[StreamKey, dict[int, set[bytes]]] = {}
        for token in self.tokens:
            m = unsealed(token)
            place = (m["route"], Stream(m["stream"]), m["ledger"], m["epoch"], m["start"])
            sent.setdefault(StreamKey(*place), {}).setdefault(m["sequence"], set()).add(token)
        return sent

    def recorded(self) -> Iterator[str]:
        """The ledger on disk owes nothing, and holds every message that was sent from it."""
        if not all(self.on_disk):
            yield "a stop left something off the disk"
        ledger = Ledger.open(
            self.premises.ledger.path, start="f" * 8, fresh_id="f" * 8, boot="f" * 8, utc_ms=0
        )
        try:
            if not ledger.durable or ledger.set_aside:
                yield f"the ledger is broken: {ledger.trouble or ledger.set_aside_why}"
                return
            for key, ranges in ledger.owed().items():
                yield f"still owed: {key.route}/{key.stream} {key.epoch}/{ranges}"
            for key, numbers in self._sent().items():
                tokens = set[bytes]().union(*numbers.values())
                held = {message.token for message in ledger.read(key, 1, 1 << 31)}
                if tokens - held:
                    yield f"not on disk: {len(tokens - held)} of {key.route}/{key.stream}"
        finally:
            ledger.close()
