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


# --- what happens ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """What a unit's counter of closings shows. It wraps at 2**width and starts at 0 with the unit.

    uptime_s: how long the unit has been running, read after the counter; None where it cannot say.
    """

    value: int
    width: int
    uptime_s: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a driver saw: this input shows this level since `at_us`.

    The driver has already applied the contact's sense: an open normally-closed contact and a
    closed normally-open one are both ACTIVE. count: the counter beside it, where the unit has one.
    """

    input: str
    level: Level
    at_us: int
    count: Count | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """Field hardware is broken, or whole again: becomes `fault.<kind>.raised` or `cleared`.

    kind: `unit-silent`, `bus` or `configuration`. subject: the device's or bus's id.
    """

    kind: str
    subject: str
    standing: bool
    at_us: int
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fact:
    """What the core concluded, before it is stamped and numbered.

    type: `<class>.<kind>.<phase>`. subject: the point's (route's, uplink's …) id. alarm: the alarm
    it belongs to. id: given when the core had to know it beforehand (a raised alarm's own id).
    to: routes that are owed it whatever their list says; a star is every route.
    """

    type: str
    subject: str
    at_us: int
    alarm: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    id: str | None = None
    to: tuple[str, ...] = ()


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
