"""The words of Qorgan as types: what is supervised, what was seen, what is owed to whom.

Everything here is frozen data without behaviour beyond reading itself. Times are integers:
`…_us` on the gateway's monotonic clock, `…_ms` for configured durations and for UTC. No module
of the core asks what time it is; the caller brings `now_us`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None

US_PER_MS = 1_000


class Level(StrEnum):
    """What one input, or one whole point, shows. UNKNOWN: it could not be read."""

    NORMAL = "normal"
    ACTIVE = "active"
    UNKNOWN = "unknown"


class PointKind(StrEnum):
    """What a Point supervises. Doors come with the bus."""

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


class Severity(StrEnum):
    """How loud an event is at the centre."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    INFO = "info"


class Status(StrEnum):
    """CAP 1.2's words for whether an event is meant."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    TEST = "test"


class Stream(StrEnum):
    """The two numbered sequences of every Route. Only the log may ever be dropped."""

    ALARM = "alarm"
    LOG = "log"


class AlarmState(StrEnum):
    """What a centre has said of one alarm, in the order it may move; never back."""

    RAISED = "raised"
    RECEIVED = "received"
    ACKNOWLEDGED = "acknowledged"
    DISPATCHED = "dispatched"
    CLOSED = "closed"

    @property
    def rank(self) -> int:
        """Position in the only allowed order, 0 for raised."""
        return list(AlarmState).index(self)


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


# --- what the configuration says -----------------------------------------------------------


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
    fault.wiring; None = never.
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
    """A centre's public Ed25519 key (`x`, base64url as in its JWK) and the verbs it may use."""

    kid: str
    x: str
    verbs: tuple[str, ...] = ()


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


# --- what happens ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What a driver saw: this input shows this level since `at_us`.

    The driver has already applied the contact's sense: an open normally-closed contact and a
    closed normally-open one are both ACTIVE.
    """

    input: str
    level: Level
    at_us: int


@dataclass(frozen=True, slots=True)
class Fact:
    """What the core concluded, before it is stamped and numbered.

    type: `<class>.<kind>.<phase>`. subject: the point's (route's, uplink's …) id. alarm: the alarm
    it belongs to. id: given when the core had to know it beforehand (a raised alarm's own id).
    """

    type: str
    subject: str
    at_us: int
    alarm: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """When something happened, and how far that can be trusted.

    utc_ms: Unix milliseconds. error_ms: bound the kernel gives for UTC, None when it gives none.
    boot: first 8 hex digits of the kernel's boot id. monotonic_ms: CLOCK_BOOTTIME.
    """

    utc_ms: int
    synchronised: bool
    error_ms: int | None
    boot: str
    monotonic_ms: int

    def as_json(self) -> dict[str, Json]:
        """The `clock` member of a Message's data."""
        return {
            "synchronised": self.synchronised,
            "error_ms": self.error_ms,
            "boot": self.boot,
            "monotonic_ms": self.monotonic_ms,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """A fact with its identity and time; immutable, and the same on every route."""

    id: str
    type: str
    subject: str
    stamp: Stamp
    alarm: str | None = None
    status: Status = Status.ACTUAL
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class StreamKey:
    """Names one numbered sequence: numbers start at 1 in each."""

    route: str
    stream: Stream
    ledger: str
    epoch: int
    start: str


@dataclass(frozen=True, slots=True)
class Message:
    """An Event as one Route may see it: these exact bytes are sent, again and again if need be."""

    key: StreamKey
    sequence: int
    event: str
    type: str
    alarm: str | None
    token: bytes


@dataclass(frozen=True, slots=True)
class AlarmWord:
    """What a Receipt says of one alarm. `operator` is a desk's number, never a name."""

    alarm: str
    state: AlarmState
    operator: int | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A centre's signed word that it holds messages 1..through and the ranges in `also`."""

    gateway: str
    key: StreamKey
    through: int
    also: tuple[tuple[int, int], ...] = ()
    beat: int | None = None
    alarms: tuple[AlarmWord, ...] = ()
