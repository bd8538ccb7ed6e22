"""A school for a day of one misfortune: the real daemon, and what happens to it.

The day is always the same, so that the n-th call of one run is the n-th call of the next.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.core.hardware import Bus, Device, Door, DoorContact, Egress, Transport
from gateway.core.model import AlarmState
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
from gateway.core.verbs import Verb
from gateway.seams import Disk
from simulators.bus.shipped import profile
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


@dataclass(slots=True)
class Day:
    """What became of one day. calls: those that are swept, in words; findings likewise."""

    calls: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    raised: Counter[str] = field(default_factory=Counter)


class FaultSchool(World):
    """A World with an eye on what matters. Subclasses replace what misbehaves.

    tokens: what passed the broker. crashed: deaths of the daemon, in words. on_disk: what each stop
    said of its disk. down: when the broker was away, to when all had settled, in microseconds.
    mended_ms: when what was broken over the restart (`over_restart`) was whole again.
    """

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
        self.mended_ms: int | None = None
        self._standing: Counter[str] = Counter()
        self.down: list[tuple[int, int]] = []
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
        self.down.append((down_us, self.clock.now_us()))
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
        self.mended_ms = self.clock.now_us() // 1_000
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

    # --- what came ------------------------------------------------------------------------------

    def heard(self, route: str, kind: str) -> Iterator[Any]:
        """What a centre took as new, of one type (its beginning)."""
        for verdict in self.centres[route].new:
            if verdict.message is not None and verdict.message.type.startswith(kind):
                yield verdict.message

    def raised(self) -> Counter[str]:
        """How often the desk was told of each kind of fault."""
        told = self.heard("security", "fault.")
        return Counter(m.type.split(".")[1] for m in told if m.type.endswith(".raised"))
