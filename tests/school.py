"""A school under virtual time for the daemon's tests: a World that keeps a diary.

`live` runs a scenario to its end in a fresh World; everything asserted is what a person could have
seen from outside: lines of the log, bytes at the brokers, verdicts of the centres, lamps.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.core.jws import SigningKey, TokenType, seal
from gateway.core.message import Heartbeat, read_heartbeat, receipt_payload
from gateway.core.model import (
    US_PER_MS,
    Receipt,
    Stream,
    StreamKey,
)
from gateway.core.premises import (
    Input,
    LedgerSpec,
    Place,
    Point,
    PointKind,
    Premises,
    Route,
    UplinkSpec,
)
from gateway.health import Health
from gateway.record.disk import InlineDisk
from gateway.seams import Disk
from simulators.building.hardware import Bench
from simulators.building.waveforms import Shape
from simulators.centre.core.words import Verdict, unsealed
from simulators.virtual.time import VirtualClock, run_virtual
from simulators.virtual.world import World

GATEWAY = "school-12-main"
US_PER_S = 1_000_000
ALL = ("alarm", "fault", "test", "state")

CAMPUS = UplinkSpec("campus", "broker", 8883)
LTE = UplinkSpec("lte", "backup", 8883)
RECEPTION = Point(
    "reception",
    PointKind.PANIC,
    Input("gpio:17", "gpio:27"),
    Place(building="A", room="Reception"),
    lamp="gpio:22",
)
GYM = Point("gym", PointKind.PANIC, Input("gpio:5", "gpio:6"), lamp="gpio:13")
ACCOUNTS = Point("accounts", PointKind.HOLD_UP, Input("gpio:23", "gpio:24"), silent=True)
FIRE = Point("fire-panel", PointKind.FIRE, Input(None, "gpio:25"), prove_within_ms=None)
SECURITY = Route("security", ("campus",), ALL, answers=True)
CASE = Route("case", ("campus",), ("alarm", "state"))
SCHOOL = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway=GATEWAY,
    key_file="",
    ledger=LedgerSpec(""),
    points=(RECEPTION, GYM, ACCOUNTS, FIRE),
    uplinks=(CAMPUS,),
    routes=(SECURITY, CASE),
    digest="0" * 64,
)
TWO_UPLINKS = replace(
    SCHOOL,
    uplinks=(CAMPUS, LTE),
    routes=(replace(SECURITY, via=("campus", "lte")), replace(CASE, via=("campus", "lte"))),
)


def with_routes(*routes: Route, premises: Premises = SCHOOL) -> Premises:
    """The same school with other routes."""
    return replace(premises, routes=routes)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the gateway's log."""

    at_us: int
    what: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """One token that came through a broker, in the order it came there."""

    at_us: int
    uplink: str
    route: str
    leaf: str
    token: bytes

    @property
    def payload(self) -> dict[str, Any]:
        return unsealed(self.token)


class School(World):
    """A World that remembers what it saw: `diary` is the log, `sent` what passed the brokers."""

    def __init__(
        self,
        premises: Premises,
        *,
        clock: VirtualClock,
        dice: random.Random,
        ledger: str,
        disk: Callable[[str], Disk] = InlineDisk,
        health: Health | None = None,
    ) -> None:
        super().__init__(premises, clock=clock, dice=dice, ledger=ledger, disk=disk, health=health)
        self.diary: list[Line] = []
        self.sent: list[Sent] = []
        self._fingers: list[asyncio.Task[Shape]] = []
        self.trace.on_line = self._noted
        self.strangers = {
            uplink: broker.client(
                "stranger", subscriptions=[f"qorgan/v1/{GATEWAY}/#"], on_message=self._ear(uplink)
            )
            for uplink, broker in self.brokers.items()
        }

    def _noted(self, at_us: int, what: str, fields: Mapping[str, object]) -> None:
        if not what.endswith(" hears"):
            self.diary.append(Line(at_us, what, dict(fields)))

    def _ear(self, uplink: str) -> Callable[[str, bytes, bool], None]:
        def heard(topic: str, token: bytes, _retained: bool) -> None:  # noqa: FBT001 -- OnMessage's shape
            *_, route, leaf = topic.split("/")
            self.sent.append(Sent(self.clock.now_us(), uplink, route, leaf, token))

        return heard

    def finger(self, point: str, shape: str, ms: int, *, at_us: int) -> None:
        """Press a point at that moment, whatever the scenario does meanwhile.

        Its dice are its own, so that everything else happens as it would have without it.
        """
        dice = random.Random(at_us)
        hand = Bench(self.premises, self.pins, clock=self.clock, random=dice)

        def press() -> None:
            task = asyncio.get_running_loop().create_task(hand.press(point, shape, ms))
            self._fingers.append(task)

        self.clock.call_at(at_us, press)

    # --- the log ------------------------------------------------------------------------------

    def lines(self, what: str, /, **fields: object) -> list[Line]:
        """Lines of the log of that kind with those fields."""
        return [
            line
            for line in self.diary
            if line.what == what and all(line.fields.get(k) == v for k, v in fields.items())
        ]

    def alarm(self, point: str) -> str:
        """The id of the last alarm raised at a point."""
        return str(self._raising(point).fields["id"])

    def raised_us(self, point: str) -> int:
        """When that was, by the event's own stamp: the log may come some milliseconds later."""
        raised = str(self._raising(point).fields["id"])
        stamps = [
            verdict.message.clock.monotonic_ms * 1_000
            for centre in self.centres.values()
            for verdict in centre.new
            if verdict.message is not None and verdict.message.id == raised
        ]
        return stamps[0]

    def _raising(self, point: str) -> Line:
        return [
            line
            for line in self.diary
            if line.what.startswith("alarm.")
            and line.what.endswith(".raised")
            and line.fields["subject"] == point
        ][-1]

    # --- at the far ends ----------------------------------------------------------------------

    def heard(self, route: str, kind: str = "", /, **data: object) -> list[Verdict]:
        """What a centre took as new, of one type (its beginning), with those members of data."""
        return [
            verdict
            for verdict in self.centres[route].new
            if verdict.message is not None
            and verdict.message.type.startswith(kind)
            and all(verdict.message.data.get(name) == value for name, value in data.items())
        ]

    def types(self, route: str, kind: str = "") -> list[str]:
        """Their types, in the order they came."""
        return [v.message.type for v in self.heard(route, kind) if v.message is not None]

    def arrived_us(self, verdict: Verdict) -> int:
        """When that was, on the gateway's clock."""
        return (verdict.at_ms - self.clock.utc_offset_ms) * US_PER_MS

    def carried(self, leaf: str, *, route: str = "security", uplink: str = "") -> list[Sent]:
        """What passed the brokers on one topic, copies and all."""
        return [
            sent
            for sent in self.sent
            if sent.leaf == leaf and sent.route == route and uplink in {"", sent.uplink}
        ]

    def last_beat(self, route: str = "security") -> Heartbeat:
        """The last heartbeat of a route."""
        return read_heartbeat(self.carried("heartbeat", route=route)[-1].payload)

    def stream(self, route: str = "security", stream: Stream = Stream.ALARM) -> StreamKey:
        """The stream the running gateway writes to, as its heartbeat says."""
        beat = self.last_beat(route)
        return StreamKey(route, stream, beat.ledger, beat.epoch, beat.start)

    def receipt(self, key: StreamKey, *, signer: SigningKey, **change: Any) -> bytes:
        """A receipt for 1..99 under any key, with any member of its payload changed."""
        payload = receipt_payload(Receipt(GATEWAY, key, 99))
        return seal(TokenType.RECEIPT, payload | change, signer)

    def whisper(self, token: bytes, *, route: str = "security", **how: Any) -> None:
        """A stranger who got past the broker's rights publishes on a receipts topic."""
        uplink = how.pop("uplink", next(iter(self.brokers)))
        self.strangers[uplink].publish(f"qorgan/v1/{GATEWAY}/{route}/receipts", token, **how)


def live(
    tmp_path: Path,
    scenario: Callable[[School], Coroutine[Any, Any, None]],
    *,
    premises: Premises = SCHOOL,
    seed: int = 1,
    disk: Callable[[str, VirtualClock], Disk] = lambda path, _: InlineDisk(path),
    health: Health | None = None,
    made: type[School] = School,
) -> School:
    """Run a scenario in a fresh school; it starts the gateway itself. The school as it ended."""

    async def told(clock: VirtualClock, dice: random.Random) -> School:
        school = made(
            premises,
            clock=clock,
            dice=dice,
            ledger=str(tmp_path / "ledger.db"),
            disk=lambda path: disk(path, clock),
            health=health,
        )
        await scenario(school)
        if school.running:
            await school.stop()
        return school

    return run_virtual(told, seed=seed)


def owed_after(school: School) -> Iterator[tuple[StreamKey, list[tuple[int, int]]]]:
    """What the ledger of a stopped school still owes."""
    from gateway.record.ledger import Ledger  # noqa: PLC0415 -- only this question opens the file

    ledger = Ledger.open(
        school.premises.ledger.path, start="f" * 8, fresh_id="f" * 8, boot="f" * 8, utc_ms=0
    )
    try:
        yield from ledger.owed().items()
    finally:
        ledger.close()
