"""What a person types at a centre, as intentions: answers on alarms, and commands in words.

`door.unlock main-door 5s`, `acknowledge reception`. Pure; what cannot be read says what would be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.config.document import duration_ms
from gateway.config.files import Wrong
from gateway.core.model import AlarmState, Json
from gateway.core.verbs import Drill, Verb, target_of
from simulators.centre.core.words import Alarm

OPERATOR = 1
ANSWERS = {
    "acknowledge": AlarmState.ACKNOWLEDGED,
    "dispatch": AlarmState.DISPATCHED,
    "close": AlarmState.CLOSED,
}
HELP = (
    "acknowledge|dispatch|close ALARM [OPERATOR]   ALARM: its number, id, or point",
    "door.unlock DOOR [5s]   door.lock DOOR   door.release DOOR",
    "lockdown.begin [DOOR,DOOR] [2h]   lockdown.end",
    f"drill.begin {'|'.join(Drill)} 10m   drill.end KIND",
    "isolate POINT 1h (0 ends it)   walk-test POINT 2m (0 ends it)",
    "resend alarm|log EPOCH FROM-TO [LEDGER]",
)


class Unread(Exception):  # noqa: N818 -- an outcome a person must act on, said in its text
    """A line that means nothing here. str() says what would be understood."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Something to say of alarms."""

    alarms: tuple[str, ...]
    state: AlarmState
    operator: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Something to ask a gateway for. said: as it was typed."""

    verb: Verb
    target: dict[str, Json]
    said: str


def understood(
    line: str, alarms: Iterable[Alarm], number_of: Callable[[str], int]
) -> Spoken | Asked | None:
    """What a line means; None: its first word is none of ours. Unread says what is wrong with it.

    alarms: those that are open. number_of: what a person calls an alarm by.
    """
    first, *rest = line.split() or [""]
    if first in ANSWERS:
        return _spoken(ANSWERS[first], rest, tuple(alarms), number_of)
    if first == Verb.RESEND:
        return _resend(rest)
    if first in set(Verb):
        return _asked(Verb(first), rest)
    return None


def _spoken(
    state: AlarmState,
    rest: list[str],
    alarms: tuple[Alarm, ...],
    number_of: Callable[[str], int],
) -> Spoken:
    if not 1 <= len(rest) <= 2:
        raise Unread(HELP[0])
    name, operator = rest[0].removeprefix("#"), OPERATOR
    if len(rest) == 2:
        if not (rest[1].isascii() and rest[1].isdigit() and len(rest[1]) <= 9):
            raise Unread(f"an operator is a number, never a name: {HELP[0]}")
        operator = int(rest[1])
    found = [alarm.id for alarm in alarms if name in {alarm.id, str(number_of(alarm.id))}]
    found = found or [alarm.id for alarm in alarms if alarm.subject == name]
    if not found:
        raise Unread(f"no open alarm {rest[0]}; l lists them")
    return Spoken(tuple(found), state, operator)


def _resend(rest: list[str]) -> Asked:
    """`resend log 6 1-400`: without a ledger the present one is meant."""
    found = re.fullmatch(
        r"(alarm|log) ([1-9]\d{0,8}) ([1-9]\d{0,9})-([1-9]\d{0,9})( [0-9a-f]{8})?", " ".join(rest)
    )
    if found is None:
        raise Unread(HELP[-1])
    stream, epoch, first, last, ledger = found.groups()
    target: dict[str, Json] = {"stream": stream, "epoch": int(epoch)}
    target |= {"from": int(first), "to": int(last)}
    if ledger:
        target["ledger"] = ledger.strip()
    return Asked(Verb.RESEND, target, " ".join(["resend", *rest]))


def _asked(verb: Verb, rest: list[str]) -> Asked:
    for_ms = None
    if rest and rest[-1][:1].isdigit():
        *rest, last = rest
        try:
            for_ms = 0 if last == "0" else duration_ms(last)
        except Wrong as wrong:
            raise Unread(f"{wrong.what}: {wrong.right}") from wrong
    if len(rest) > 1:
        raise Unread(f"{verb} takes one name: {' '.join(rest)} are {len(rest)}")
    name = rest[0] if rest else None
    try:
        target = target_of(verb, name, for_ms)
    except ValueError as error:
        raise Unread(str(error)) from error
    return Asked(verb, target, " ".join([verb, *rest]))
