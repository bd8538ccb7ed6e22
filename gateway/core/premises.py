"""What the configuration says, as types: the building one gateway supervises, and who is told.

Frozen data. Times are whole milliseconds. Iron that hangs on a bus is in `hardware.py`, what its
makers say of it in `profile.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.hardware import Bus, Device, Door, ReactionRule
from gateway.core.model import Json


class PointKind(StrEnum):
    """What a Point supervises."""

    PANIC = "panic"
    HOLD_UP = "hold-up"
    DURESS = "duress"
    MEDICAL = "medical"
    LOCKDOWN = "lockdown"
    FIRE = "fire"
    TAMPER = "tamper"
    MAINS = "mains"
    BATTERY = "battery"
    RESET_KEY = "reset-key"
    DOOR = "door"


PERSON_OPERATED = frozenset(
    {
        PointKind.PANIC,
        PointKind.HOLD_UP,
        PointKind.DURESS,
        PointKind.MEDICAL,
        PointKind.LOCKDOWN,
    }
)
"""Kinds a person presses. Letting go says nothing about the danger: never cleared by the input."""


class Line(StrEnum):
    """How an input is cabled. LONG: single wires near motors, confirmed more slowly."""

    SHORT = "short"
    LONG = "long"


class WiringDoubt(StrEnum):
    """What a disagreeing change-over pair means on a person-operated point."""

    ALARM = "alarm"
    FAULT = "fault"


class Receipts(StrEnum):
    """What settles a Route's debt. PUBACK is for a dumb consumer; `check` warns about it."""

    SIGNED = "signed"
    PUBACK = "puback"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point is. No names of people, ever."""

    building: str = ""
    floor: str = ""
    room: str = ""
    zone: str = ""

    def as_json(self) -> dict[str, Json]:
        """Only what is known, for a Message."""
        pairs = (
            ("building", self.building),
            ("floor", self.floor),
            ("room", self.room),
            ("zone", self.zone),
        )
        return {key: value for key, value in pairs if value}


@dataclass(frozen=True, slots=True)
class ContactIdZone:
    """SIA DC-05 partition (0..99) and zone (0..999) an alarm of this point is reported under."""

    partition: int = 1
    zone: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """The contacts of one point, by driver address (`gpio:17`). At least one is set.

    Both set is a change-over pair: most cuts and shorts show at once (design of the truth table:
    `monitor.PAIR`).
    """

    normally_open: str | None = None
    normally_closed: str | None = None
    line: Line = Line.SHORT

    @property
    def pair(self) -> bool:
        """True when both contacts are wired."""
        return self.normally_open is not None and self.normally_closed is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The wired addresses, normally-open first."""
        return tuple(a for a in (self.normally_open, self.normally_closed) if a is not None)


@dataclass(frozen=True, slots=True)
class Point:
    """One supervised thing.

    stuck_after_ms: a person-operated input held longer is fault.stuck; None = never (and never
    with `mechanical_latch`). prove_within_ms: a point nobody has seen work for longer is
    fault.wiring; None = never. door: set for kind door and for no other.
    """

    id: str
    kind: PointKind
    input: Input
    place: Place = Place()
    cid: ContactIdZone = ContactIdZone()
    lamp: str | None = None
    silent: bool = False
    mechanical_latch: bool = False
    wiring_doubt: WiringDoubt = WiringDoubt.ALARM
    stuck_after_ms: int | None = 60_000
    prove_within_ms: int | None = 2_592_000_000
    door: Door | None = None

    @property
    def person_operated(self) -> bool:
        """True for panic, hold-up, duress, medical and lockdown."""
        return self.kind in PERSON_OPERATED


@dataclass(frozen=True, slots=True)
class UplinkSpec:
    """One MQTT connection as configured. Paths are absolute; a password stays in its file."""

    id: str
    host: str
    port: int
    tls: bool = True
    mqtt: str = "5"
    ca: str | None = None
    certificate: str | None = None
    username: str | None = None
    password_file: str | None = None
    interface: str | None = None
    heartbeat_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class RouteKey:
    """A centre's public Ed25519 key (`x`, base64url as in its JWK) and what it may ask for.

    verbs: the commands it may sign. targets: the doors and points it may name; empty: all.
    """

    kid: str
    x: str
    verbs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Who is owed which events. Data, not a connection."""

    id: str
    via: tuple[str, ...]
    sends: tuple[str, ...]
    keys: tuple[RouteKey, ...] = ()
    redact: tuple[str, ...] = ()
    receipt_within_ms: int = 5_000
    answers: bool = False
    acknowledge_within_ms: int | None = None
    then: tuple[str, ...] = ()
    receipts: Receipts = Receipts.SIGNED


@dataclass(frozen=True, slots=True)
class LedgerSpec:
    """Where the record lives and for how long settled entries stay."""

    path: str
    keep_days: int = 730


@dataclass(frozen=True, slots=True)
class Premises:
    """A whole validated configuration: the building one gateway supervises, and who is told."""

    id: str
    name: str
    timezone: str
    gateway: str
    key_file: str
    ledger: LedgerSpec
    points: tuple[Point, ...]
    uplinks: tuple[UplinkSpec, ...]
    routes: tuple[Route, ...]
    sync_wait_ms: int = 50
    digest: str = ""
    buses: tuple[Bus, ...] = ()
    devices: tuple[Device, ...] = ()
    reactions: tuple[ReactionRule, ...] = ()
    lockdown_max_ms: int = 7_200_000

    @property
    def source(self) -> str:
        """The CloudEvents source of everything this gateway says."""
        return f"/premises/{self.id}/gateways/{self.gateway}"

    def point(self, point_id: str) -> Point:
        """The point of that id; KeyError names an unknown one."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)

    def route(self, route_id: str) -> Route:
        """The route of that id; KeyError names an unknown one."""
        for route in self.routes:
            if route.id == route_id:
                return route
        raise KeyError(route_id)

    def speaks(self, route: Route) -> bool:
        """True for a route whose silence is the guard's: one that may answer, or any if none may.

        A case system's copy must neither tell a teacher that the guard has it, nor sound a siren.
        """
        return route.answers or not any(other.answers for other in self.routes)
