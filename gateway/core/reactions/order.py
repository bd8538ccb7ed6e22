"""The order of life safety: one table says what may move which door. Pure.

Fire stands above lockdown, lockdown above a command or a rule, and those above the everyday state.
A door freed by fire is relocked by a person on site and by nobody else. Nobody is locked in: a
lock that no hardware opens from inside is not driven to locked by a mode or from afar.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.core.hardware import FIRE_HARDWIRED, Door, Egress, FireOpens, LockType


class Standing(StrEnum):
    """What decides over a door now, highest first."""

    FIRE = "fire"
    LOCKDOWN = "lockdown"
    COMMAND = "command"
    RULE = "rule"
    NORMAL = "normal"


class Ask(StrEnum):
    """What is wanted of a door. RESET: the reset key was turned while no fire alarm was open."""

    FIRE = "fire"
    LOCKDOWN = "lockdown"
    RULE = "rule"
    RELEASE = "release"
    UNLOCK = "unlock"
    LOCK = "lock"
    RESET = "reset"


class Move(StrEnum):
    """What is done: let it stand free, open it for a time, lock it, leave it, or refuse."""

    FREE = "free"
    PULSE = "pulse"
    LOCK = "lock"
    LEAVE = "leave"
    REFUSE = "refuse"


_RELEASED = {
    Ask.FIRE: Move.FREE,
    Ask.LOCKDOWN: Move.LOCK,
    Ask.RULE: Move.FREE,
    Ask.RELEASE: Move.FREE,
    Ask.UNLOCK: Move.REFUSE,  # its end would lock a door that is to stand free
    Ask.LOCK: Move.LOCK,
    Ask.RESET: Move.LEAVE,
}

TABLE: Mapping[Standing, Mapping[Ask, Move]] = {
    Standing.FIRE: {
        Ask.FIRE: Move.FREE,
        Ask.LOCKDOWN: Move.LEAVE,
        Ask.RULE: Move.LEAVE,
        Ask.RELEASE: Move.REFUSE,
        Ask.UNLOCK: Move.REFUSE,
        Ask.LOCK: Move.REFUSE,
        Ask.RESET: Move.LOCK,
    },
    Standing.LOCKDOWN: {
        Ask.FIRE: Move.FREE,
        Ask.LOCKDOWN: Move.LOCK,
        Ask.RULE: Move.LEAVE,
        Ask.RELEASE: Move.REFUSE,
        Ask.UNLOCK: Move.REFUSE,
        Ask.LOCK: Move.LOCK,
        Ask.RESET: Move.LEAVE,  # never asked: the key has ended the mode before
    },
    Standing.COMMAND: _RELEASED,
    Standing.RULE: _RELEASED,
    Standing.NORMAL: {
        Ask.FIRE: Move.FREE,
        Ask.LOCKDOWN: Move.LOCK,
        Ask.RULE: Move.FREE,
        Ask.RELEASE: Move.FREE,
        Ask.UNLOCK: Move.PULSE,
        Ask.LOCK: Move.LOCK,
        Ask.RESET: Move.LEAVE,
    },
}
"""The order of life safety, whole: what stands at a door, what is asked of it, what comes of it."""

ON_SITE: Mapping[Standing, Mapping[Ask, Move]] = {
    Standing.FIRE: {},
    Standing.LOCKDOWN: {Ask.LOCKDOWN: Move.LEAVE, Ask.LOCK: Move.REFUSE},
    Standing.COMMAND: {
        Ask.LOCKDOWN: Move.LEAVE,
        Ask.LOCK: Move.REFUSE,
        Ask.RESET: Move.LOCK,
    },
    Standing.RULE: {Ask.LOCKDOWN: Move.LEAVE, Ask.LOCK: Move.REFUSE, Ask.RESET: Move.LOCK},
    Standing.NORMAL: {Ask.LOCKDOWN: Move.LEAVE, Ask.LOCK: Move.REFUSE},
}
"""Where the table is changed for a door that only a person on site may lock (`may_lock`)."""


def may_lock(door: Door) -> bool:
    """True when the lock may be driven to locked by a mode, or from afar.

    A magnet has to be energised to hold, and holds both sides. With egress by handle, by wire or
    by the unit, hardware opens it from inside all the same; with none, energising it would lock in
    whoever is behind it. A strike is locked by doing nothing, as it is without any gateway.
    """
    return door.lock_type is LockType.STRIKE or door.egress is not Egress.NONE


def fire_frees(door: Door) -> bool:
    """True when a fire alarm, any fire alarm, frees the door by the gateway's hand without a rule.

    Not where the panel cuts the supply of the lock itself, unless fire opens the entry side too.
    """
    if door.lock is None or door.egress is Egress.NONE:
        return False
    by_gateway = door.fire_release not in {None, FIRE_HARDWIRED}
    return by_gateway or door.fire_opens is FireOpens.BOTH


def standing(free: Standing | None, *, lockdown: bool) -> Standing:
    """What decides over a door: why it stands free (None: not), and whether a lockdown is on."""
    if free is Standing.FIRE:
        return Standing.FIRE
    return Standing.LOCKDOWN if lockdown else free or Standing.NORMAL


def decide(door: Door, stands: Standing, ask: Ask) -> Move:
    """What comes of what is asked of a door: the table's word."""
    if not may_lock(door):
        return ON_SITE[stands].get(ask, TABLE[stands][ask])
    return TABLE[stands][ask]


def refusal(door: Door, stands: Standing, ask: Ask) -> tuple[str, tuple[str, ...]]:
    """Why a command is refused, in words, and what would be accepted instead."""
    if stands is Standing.FIRE:
        why = "fire has freed it: a person on site locks it once no fire alarm is open"
        return why, ("reset-key",)
    if ask is Ask.LOCK:
        why = "its magnet would lock in whoever is inside: only a person on site may lock it"
        return why, () if stands is Standing.NORMAL else ("reset-key",)
    if stands is Standing.LOCKDOWN:
        return "a lockdown stands over it", ("lockdown.end",)
    return "it stands released already", ("door.lock" if may_lock(door) else "reset-key",)
