"""The words between the poll plan and whoever carries out its polls. Frozen data.

And how a reply is read as a sign of life.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.modbus.plan.blocks import Want
from drivers.modbus.wire.request import Read, Reply, ReplyKind
from gateway.core.profile import Limits, Table, Timing

_UNREACHED = frozenset({10, 11})
"""A TCP gateway's word that the unit behind it did not answer; the gateway itself lives."""

_LIMITS, _TIMING, _PROBE = Limits(), Timing(), Read(Table.HOLDING, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanUnit:
    """One unit as the plan sees it.

    device: its id. unit: its Modbus address. pressed: it carries an input a person operates, so it
    is looked for at least every 2 s while it is silent. probe: what a unit nothing is wanted of is
    asked, to know that it lives; any answer will do, a refusal too.
    """

    device: str
    unit: int
    wants: tuple[Want, ...] = ()
    limits: Limits = _LIMITS
    timing: Timing = _TIMING
    pressed: bool = False
    probe: Read = _PROBE


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Wants the unit refuses for good, with the exception's code (1, 2 or 3)."""

    wants: tuple[str, ...]
    read: Read
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One read to make now. Hand it back to `Plan.done` with what came of it.

    wants: the keys it answers. timing: the unit's, but for a shorter `answer_ms` in a probe of a
    silent unit. at_us: when it was planned. probe: the unit is silent. retry: the second time, at
    once, because the first answer was damaged (or the unit reported a failure, exception 4).
    """

    device: str
    unit: int
    read: Read
    wants: tuple[str, ...]
    timing: Timing
    at_us: int
    probe: bool = False
    retry: bool = False


class Change(StrEnum):
    """What a reply changed in the life of a unit."""

    SILENT = "silent"
    BACK = "back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What came of one poll.

    values: by want, only from this answer. given_up: to be reported; their inputs are unknown.
    stale: wants nobody has had an answer for in 3 s though their unit lives (always busy, always
    damaged); said once each time, their inputs are unknown. change: the unit fell silent (all of
    its inputs are unknown) or came back (set it up again). age_us: since its last answer, with
    SILENT; None: it has never answered. why: it is silent, in words.
    """

    device: str
    values: Mapping[str, int] = field(default_factory=dict)
    given_up: tuple[GivenUp, ...] = ()
    stale: tuple[str, ...] = ()
    change: Change | None = None
    age_us: int | None = None
    why: str = ""


def lives(reply: Reply) -> bool:
    """True when the unit itself has answered."""
    if reply.kind is ReplyKind.EXCEPTION:
        return reply.code not in _UNREACHED
    return reply.kind is ReplyKind.ANSWERED


def why_silent(reply: Reply, failures: int) -> str:
    """Why a unit is taken for silent, after so many failures in a row: in words."""
    if reply.kind is ReplyKind.EXCEPTION:
        return f"the gateway does not reach it (exception {reply.code})"
    if reply.kind is ReplyKind.DAMAGED:
        return f"{failures} answers in a row were missing or damaged"
    return f"{failures} requests in a row were not answered"
