"""Actions: what is to be driven, until when it may still be done, and what came of it. Pure data.

The expiry goes with the action to the last wire: a door never opens late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Urgency(IntEnum):
    """Which of two waiting actions goes first; the smaller."""

    LIFE = 0
    PULSE_END = 1
    COMMAND = 2
    COMFORT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One output to be driven. on: energised. for_ms: then back by itself; None: until told.

    not_after_us: on the gateway's monotonic clock; not begun by then, it is never done. id: the
    result carries it. cause: what asked for it (an event's, command's or rule's name), for the log.
    """

    id: str
    output: str
    on: bool
    not_after_us: int
    for_ms: int | None = None
    urgency: Urgency = Urgency.COMMAND
    cause: str = ""


class Outcome(StrEnum):
    """What came of an action.

    ACCEPTED: the unit echoed it, and its state cannot be read back. CONFIRMED: read back. MISMATCH:
    echoed, and read back as something else. FAILED: refused or not answered. EXPIRED: it could not
    be begun in time. LOCKED: the unit's outputs are not to be moved (another model, settings not
    read back). REPLACED: a later action on the same output came first.
    """

    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    MISMATCH = "mismatch"
    FAILED = "failed"
    EXPIRED = "expired"
    LOCKED = "locked"
    REPLACED = "replaced"

    @property
    def done(self) -> bool:
        """True when the output is, as far as can be known, as it was asked to be."""
        return self in (Outcome.ACCEPTED, Outcome.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the action with that id. why: in words, empty when it was done."""

    action: str
    outcome: Outcome
    at_us: int
    why: str = ""
