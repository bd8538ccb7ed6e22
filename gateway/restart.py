"""What a start takes over: the ledger's memory, the wires to watch, the inventory to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from drivers.base import Contact, Memory, Output, Wire
from gateway.core.alarms import Register
from gateway.core.hardware import LockType
from gateway.core.message import Head
from gateway.core.model import Event, Fact, Json, Message, Stream, StreamKey
from gateway.core.premises import Point, Premises
from gateway.core.standing import Standing
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
    kept: dict[str, str]
    open_faults: list[Event] = field(default_factory=list)
    lost: int | None = 0


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
        kept=ledger.kept(),
        open_faults=ledger.open_faults(),
        lost=ledger.lost,
    )


_IDENTITY = "identity "


def recall(
    memory: Memory, kept: Mapping[str, str], keep: Callable[[Mapping[str, str]], None]
) -> None:
    """Give drivers what they asked to be remembered, and keep what they ask from now on."""
    for name, value in kept.items():
        if name.startswith(_IDENTITY):
            memory.identities[name.removeprefix(_IDENTITY)] = value
    memory.keep = lambda device, identity: keep({_IDENTITY + device: identity})


def wires(points: Iterable[Point]) -> list[Wire]:
    """The inputs a driver must watch, in the order of the points, a door's after its contact."""
    found = []
    for point in points:
        pressed = point.person_operated
        if point.input.normally_open is not None:
            found.append(Wire(point.input.normally_open, Contact.NORMALLY_OPEN, pressed))
        if point.input.normally_closed is not None:
            found.append(Wire(point.input.normally_closed, Contact.NORMALLY_CLOSED, pressed))
        if point.door is not None:
            found += [
                Wire(contact.address, _RESTS[contact.closed_at_rest])
                for contact in point.door.contacts.values()
            ]
    return found


_RESTS = {True: Contact.NORMALLY_CLOSED, False: Contact.NORMALLY_OPEN}


def outputs(premises: Premises, lamps: Iterable[str]) -> list[Output]:
    """The outputs a driver must open: lamps, locks, sounders, and what local rules drive."""
    found = {address: Output(address) for address in lamps}
    for point in premises.points:
        door = point.door
        if door is not None and door.lock is not None:
            magnet = door.lock_type is LockType.MAGNET
            found[door.lock] = Output(door.lock, door.on_silence, magnet)
        if door is not None and door.sounder is not None:
            found[door.sounder] = Output(door.sounder)
    for rule in premises.reactions:
        if rule.output is not None:
            found.setdefault(rule.output, Output(rule.output))
    return list(found.values())


def still(register: Register, standing: Standing) -> dict[str, Json]:
    """What is still open, and which faults still stand: every other one has ended."""
    named, more = register.named()
    data: dict[str, Json] = {"open": list[Json](named), "faults": list[Json](standing.from_before)}
    return data | {"open_more": more} if more else data


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
