"""What a centre may ask for, and on what: verbs and their targets, read strictly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.core.jws import TokenRefused
from gateway.core.members import Members, listed, text
from gateway.core.model import Json, Stream
from gateway.core.premises import PointKind, Premises

PHYSICAL_REACH_MS = 10_000
"""A door or lockdown command is valid for at most this long: it opens now or never."""

REACH_MS = 60_000
"""Every other command."""

UNLOCK_MS = (1_000, 60_000)
DRILL_MS = (60_000, 7_200_000)
ISOLATE_MS = (60_000, 604_800_000)
WALK_TEST_MS = (5_000, 120_000)
"""Shortest and longest: a mode that blinds must end by itself, a walk test within two minutes."""


class Verb(StrEnum):
    """What a centre may ask for."""

    DOOR_UNLOCK = "door.unlock"
    DOOR_LOCK = "door.lock"
    DOOR_RELEASE = "door.release"
    LOCKDOWN_BEGIN = "lockdown.begin"
    LOCKDOWN_END = "lockdown.end"
    DRILL_BEGIN = "drill.begin"
    DRILL_END = "drill.end"
    ISOLATE = "isolate"
    WALK_TEST = "walk-test"
    RESEND = "resend"

    @property
    def physical(self) -> bool:
        """True when it moves something people walk through."""
        return self.startswith(("door.", "lockdown."))

    @property
    def reach_ms(self) -> int:
        """How far ahead its expiry may lie."""
        return PHYSICAL_REACH_MS if self.physical else REACH_MS


class Drill(StrEnum):
    """What can be practised. Whatever a person presses is always actual."""

    FIRE = "fire"
    LOCKDOWN = "lockdown"
    EARTHQUAKE = "earthquake"


@dataclass(frozen=True, slots=True)
class Target:
    """What a verb acts on. names: the doors or the point; empty for all doors or none.

    for_ms: how long, 0 to end it, None as configured. stream … last: of a resend.
    """

    names: tuple[str, ...] = ()
    for_ms: int | None = None
    drill: Drill | None = None
    stream: Stream | None = None
    ledger: str = ""
    epoch: int = 0
    first: int = 0
    last: int = 0


SHAPES: dict[Verb, str] = {
    Verb.DOOR_UNLOCK: '{"door": ID, "for_ms": 1000..60000 (optional)}',
    Verb.DOOR_LOCK: '{"door": ID}',
    Verb.DOOR_RELEASE: '{"door": ID}',
    Verb.LOCKDOWN_BEGIN: '{"doors": [ID, …] (optional), "for_ms": 60000.. (optional)}',
    Verb.LOCKDOWN_END: "{}",
    Verb.DRILL_BEGIN: '{"kind": fire, lockdown or earthquake, "for_ms": 60000..7200000}',
    Verb.DRILL_END: '{"kind": fire, lockdown or earthquake}',
    Verb.ISOLATE: '{"point": ID, "for_ms": 0 (ends it) or 60000..604800000}',
    Verb.WALK_TEST: '{"point": ID, "for_ms": 0 (ends it) or 5000..120000}',
    Verb.RESEND: '{"stream": alarm or log, "ledger": …, "epoch": …, "from": …, "to": …}',
}
"""A verb's target in words: what a refusal says would be accepted."""


def read_target(verb: Verb, target: Mapping[str, Any], premises: Premises) -> Target:
    """A target of that verb, its doors and points known here; TokenRefused names what is wrong."""
    member = Members(target, "target")
    match verb:
        case Verb.DOOR_UNLOCK:
            door = _door(member.text("door"), premises)
            read = Target((door,), _time(member, UNLOCK_MS, optional=True))
        case Verb.DOOR_LOCK | Verb.DOOR_RELEASE:
            read = Target((_door(member.text("door"), premises),))
        case Verb.LOCKDOWN_BEGIN:
            names = dict.fromkeys(member.parsed("doors", _texts, []))
            doors = tuple(_door(name, premises) for name in names)
            longest_ms = premises.lockdown_max_ms
            read = Target(doors, _time(member, (60_000, longest_ms), optional=True))
        case Verb.LOCKDOWN_END:
            read = Target()
        case Verb.DRILL_BEGIN | Verb.DRILL_END:
            for_ms = _time(member, DRILL_MS) if verb is Verb.DRILL_BEGIN else None
            read = Target(drill=member.parsed("kind", Drill), for_ms=for_ms)
        case Verb.ISOLATE:
            read = Target((_point(member, premises),), _time(member, ISOLATE_MS, ends=True))
        case Verb.WALK_TEST:
            point = _button(member, premises)
            read = Target((point,), _time(member, WALK_TEST_MS, ends=True))
        case _:
            read = _resend(member)
    member.done()
    return read


def target_of(verb: Verb, name: str | None, for_ms: int | None) -> dict[str, Json]:
    """The target a verb takes, from what a person typed; ValueError says what the verb needs.

    name: the door, point or drill; of lockdown.begin doors, with commas between. for_ms: how long.
    """
    if verb is Verb.RESEND:
        raise ValueError("resend is asked for by a centre: it says what it has lost")
    member, target = _NAMED.get(verb), dict[str, Json]()
    if member is not None:
        if name is None:
            raise ValueError(f"{verb} needs a name: {SHAPES[verb]}")
        target[member] = name
    elif name is not None and verb is Verb.LOCKDOWN_BEGIN:
        target["doors"] = list[Json](name.split(","))
    elif name is not None:
        raise ValueError(f"{verb} takes no name: {SHAPES[verb]}")
    if for_ms is not None:
        if verb not in _TIMED:
            raise ValueError(f"{verb} takes no time: {SHAPES[verb]}")
        target["for_ms"] = for_ms
    elif verb in _TIMED and verb not in _OWN_TIME:
        raise ValueError(f"{verb} needs a time: {SHAPES[verb]}")
    return target


_NAMED = {
    Verb.DOOR_UNLOCK: "door",
    Verb.DOOR_LOCK: "door",
    Verb.DOOR_RELEASE: "door",
    Verb.DRILL_BEGIN: "kind",
    Verb.DRILL_END: "kind",
    Verb.ISOLATE: "point",
    Verb.WALK_TEST: "point",
}
"""The member of a verb's target that a person names."""

_OWN_TIME = {Verb.DOOR_UNLOCK, Verb.LOCKDOWN_BEGIN}
_TIMED = {*_OWN_TIME, Verb.DRILL_BEGIN, Verb.ISOLATE, Verb.WALK_TEST}
"""The verbs that take a time; those of _OWN_TIME have one in the configuration."""


def _resend(member: Members) -> Target:
    read = Target(
        stream=member.parsed("stream", Stream),
        ledger=member.hex8("ledger"),
        epoch=member.number("epoch", least=1),
        first=member.number("from", least=1),
        last=member.number("to", least=1),
    )
    if read.last < read.first:
        raise TokenRefused("the target's to lies before its from")
    return read


def _door(name: str, premises: Premises) -> str:
    doors = [point.id for point in premises.points if point.kind is PointKind.DOOR]
    if name not in doors:
        raise TokenRefused(
            f"there is no door {name[:40]!r}; there are {', '.join(doors) or 'none'}"
        )
    return name


def _point(member: Members, premises: Premises) -> str:
    name = member.text("point")
    if name not in {point.id for point in premises.points}:
        raise TokenRefused(f"there is no point {name[:40]!r}")
    return name


def _button(member: Members, premises: Premises) -> str:
    name = _point(member, premises)
    if not premises.point(name).person_operated:
        raise TokenRefused(f"{name} is not pressed by a person: there is nothing to walk")
    return name


def _time(
    member: Members, bounds_ms: tuple[int, int], *, optional: bool = False, ends: bool = False
) -> int | None:
    for_ms = member.optional_number("for_ms") if optional else member.number("for_ms")
    least_ms, most_ms = bounds_ms
    if for_ms is None or (ends and for_ms == 0) or least_ms <= for_ms <= most_ms:
        return for_ms
    raise TokenRefused(f"the target's for_ms must be from {least_ms} to {most_ms}")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text(item) for item in listed(value))
