"""The table of event kinds: severity, SIA Contact ID code, and the stream they travel in.

One row a kind. Codes are those of SIA DC-05-1999.09 Appendix C. Lockdown goes as 120 (122 where it
is silent) with its own zone, because 431 (access threat level change) sends nobody. What passes
through a door goes in the log; what forces it, and what the gateway does to it, in the alarm
stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.core.model import Json, Severity, Stream
from gateway.core.premises import Point, PointKind


@dataclass(frozen=True, slots=True)
class Kind:
    """How loud a kind is and which Contact ID code it goes under (0: it has none)."""

    severity: Severity
    code: int = 0


PANIC = 120
SILENT_PANIC = 122

ALARMS: dict[str, Kind] = {
    "panic": Kind(Severity.CRITICAL, PANIC),
    "hold-up": Kind(Severity.CRITICAL, 122),
    "duress": Kind(Severity.CRITICAL, 121),
    "medical": Kind(Severity.CRITICAL, 100),
    "lockdown": Kind(Severity.CRITICAL, PANIC),
    "fire": Kind(Severity.CRITICAL, 110),
    "tamper": Kind(Severity.MAJOR, 137),
    "door-forced": Kind(Severity.MAJOR, 423),
    "door-held": Kind(Severity.MINOR, 426),
}

FAULTS: dict[str, Kind] = {
    "wiring": Kind(Severity.MAJOR, 375),
    "chatter": Kind(Severity.MINOR, 375),
    "stuck": Kind(Severity.MINOR, 375),
    "unit-silent": Kind(Severity.MAJOR, 333),
    "bus": Kind(Severity.MAJOR, 331),
    "path": Kind(Severity.MAJOR, 350),
    "delivery": Kind(Severity.MAJOR, 354),
    "storage": Kind(Severity.MAJOR, 307),
    "clock": Kind(Severity.MINOR, 626),
    "mains": Kind(Severity.MAJOR, 301),
    "battery": Kind(Severity.MAJOR, 302),
    "configuration": Kind(Severity.MINOR, 307),
}

ALARM_STREAM_FAULTS = frozenset(
    {"wiring", "path", "delivery", "storage", "mains", "battery", "unit-silent"}
)

DOOR_ALARMS = frozenset({"door-forced", "door-held"})
"""What a door raises by its contact alone; `tamper` only where its controller has the flag."""

REQUEST_TO_EXIT = "request-to-exit"
"""The `part` of a door's fault that has a code of its own."""

HOLD_UP_ZONE_TROUBLE = 376
PANIC_ZONE_TROUBLE = 375
DOOR_CONTACT_TROUBLE = 427
REQUEST_TO_EXIT_TROUBLE = 428
_ZONE_FAULTS = frozenset({"wiring", "chatter", "stuck"})

_STATE_CODES = {
    "state.gateway.restarted": 305,
    "state.inventory": 306,
}

_ACCESS_CODES = {
    "access.denied": 421,
}

_ALARM_STREAM_STATES = (
    "state.alarm.",
    "state.command.",
    "state.mode.",
    "state.door.",
    "state.gone",
    "state.log.",
)


def class_of(event_type: str) -> str:
    """`alarm`, `fault`, `access`, `state` or `test`."""
    return event_type.partition(".")[0]


def kind_of(event_type: str) -> str:
    """The middle part: `panic` of `alarm.panic.raised`."""
    return event_type.split(".")[1]


def phase_of(event_type: str) -> str:
    """The last part: `raised` of `alarm.panic.raised`."""
    return event_type.rpartition(".")[2]


def stream_of(event_type: str) -> Stream:
    """The stream an event travels in: what a guard must know goes in `alarm`."""
    match class_of(event_type):
        case "alarm" | "test":
            return Stream.ALARM
        case "fault" if kind_of(event_type) in ALARM_STREAM_FAULTS:
            return Stream.ALARM
        case "state" if event_type.startswith(_ALARM_STREAM_STATES):
            return Stream.ALARM
        case _:
            return Stream.LOG


def severity_of(event_type: str) -> Severity:
    """How loud the event is; clearing facts, states and tests only inform."""
    if phase_of(event_type) not in {"raised", "repeated"}:
        return Severity.INFO
    table = ALARMS if class_of(event_type) == "alarm" else FAULTS
    row = table.get(kind_of(event_type))
    return row.severity if row else Severity.INFO


def contact_id_of(
    event_type: str, point: Point | None, data: Mapping[str, Json] = MappingProxyType({})
) -> dict[str, Json] | None:
    """SIA DC-05 fields of an event, None where the code list has nothing for it.

    `data`: the event's own; a door's fault tells its part there. Qualifier 1 is a new event, 3 a
    restoral, 6 a condition reported before and still present.
    """
    code = _STATE_CODES.get(event_type, 0) or _ACCESS_CODES.get(event_type, 0)
    group = class_of(event_type)
    if group == "alarm":
        code = ALARMS[kind_of(event_type)].code
    elif group == "fault":
        code = _fault_code(kind_of(event_type), point, data)
    if not code:
        return None
    if code == PANIC and point and point.silent:
        code = SILENT_PANIC
    qualifier = {"cleared": 3, "repeated": 6}.get(phase_of(event_type), 1)
    return {
        "qualifier": qualifier,
        "code": f"{code:03d}",
        "partition": point.cid.partition if point else 0,
        "zone": point.cid.zone if point else 0,
    }


def _fault_code(kind: str, point: Point | None, data: Mapping[str, Json]) -> int:
    if kind in _ZONE_FAULTS and point and point.kind is PointKind.HOLD_UP:
        return HOLD_UP_ZONE_TROUBLE
    if kind in _ZONE_FAULTS and point and point.kind is PointKind.DOOR:
        exits = data.get("part") == REQUEST_TO_EXIT
        return REQUEST_TO_EXIT_TROUBLE if exits else DOOR_CONTACT_TROUBLE
    return FAULTS[kind].code
