"""What a start takes over: the ledger's memory, the wires to watch, the inventory to tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.base import Contact, Wire
from gateway.core.message import Head
from gateway.core.model import Event, Fact, Json, Message, Point, Premises, Stream, StreamKey
from gateway.record.entry import Identity
from gateway.record.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Held:
    """What the ledger knows at a start."""

    identity: Identity
    trouble: str | None
    set_aside: str | None
    owed: dict[StreamKey, list[tuple[int, int]]]
    owed_alarms: list[Message]
    heads: dict[tuple[str, Stream], Head]
    open_events: list[Event]
    holders: dict[str, list[str]]
    last_proved: dict[str, int]
    first_start_utc_ms: int
    inventory: Event | None


def held_by(ledger: Ledger) -> Held:
    """Read it all at once, on the thread that may touch the disk."""
    return Held(
        identity=ledger.identity,
        trouble=ledger.trouble,
        set_aside=ledger.set_aside,
        owed=ledger.owed(),
        owed_alarms=ledger.owed_alarms(),
        heads=ledger.heads(),
        open_events=ledger.open_alarms(),
        holders=ledger.holders(),
        last_proved=ledger.last_proved(),
        first_start_utc_ms=ledger.first_start_utc_ms(),
        inventory=ledger.last_inventory(),
    )


def wires(points: Iterable[Point]) -> list[Wire]:
    """The inputs a driver must watch, in the order of the points."""
    found = []
    for point in points:
        if point.input.normally_open is not None:
            found.append(Wire(point.input.normally_open, Contact.NORMALLY_OPEN))
        if point.input.normally_closed is not None:
            found.append(Wire(point.input.normally_closed, Contact.NORMALLY_CLOSED))
    return found


def inventory(premises: Premises, told: Event | None, now_us: int) -> list[Fact]:
    """What is supervised, told whenever the configuration is not the one `told` last."""
    points: dict[str, Json] = {
        point.id: {"kind": point.kind.value, "place": point.place.as_json()}
        for point in premises.points
    }
    before = told.data if told is not None else {}
    if before.get("configuration") == premises.digest:
        return []
    listed = before.get("points")
    known = listed if isinstance(listed, dict) else {}
    data: dict[str, Json] = {
        "configuration": premises.digest,
        "points": points,
        "added": [name for name in points if name not in known],
        "removed": [name for name in known if name not in points],
    }
    return [Fact("state.inventory", premises.gateway, now_us, data=data)]
