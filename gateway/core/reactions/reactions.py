"""Local rules and life safety: what happens on the premises without a network. Pure.

The order is the table of `order.py`. Every recorded fact passes here. `cleared` relocks nothing and
the end of a lockdown moves nothing: people on site do. Nothing that a silent alarm sets in motion
may ever leave here as a local output, by whatever way it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.core.action import Action, Result, Urgency
from gateway.core.alarms import Alarm
from gateway.core.hardware import FIRE_HARDWIRED, Deed, Egress, ReactionRule
from gateway.core.kinds import class_of
from gateway.core.model import US_PER_MS, Fact, Json, Reading, Stamp
from gateway.core.premises import Premises
from gateway.core.reactions.heard import Heard, over, whom
from gateway.core.reactions.lockdown import Lockdown, resume
from gateway.core.reactions.locks import Locks
from gateway.core.reactions.order import (
    Ask,
    Move,
    Standing,
    decide,
    fire_frees,
    may_lock,
    refusal,
    standing,
)
from gateway.core.reactions.sounding import Sounding

Deeds: TypeAlias = list[Action | Fact]

UNLOCK_MS = (500, 600_000)
"""The shortest and the longest timed opening: less moves no bolt, more is a release."""

_RAISED = "alarm.fire.raised"
_SAVE_EVERY_US = 60_000_000
_RULED = frozenset({"alarm", "fault", "access"})


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that is not obeyed, and why. accepts: the verbs that would be, or `reset-key`."""

    why: str
    accepts: tuple[str, ...] = ()


class Reactions:
    """The engine: facts and commands in, actions and facts out. Action ids: r1, r2 and so on."""

    def __init__(self, premises: Premises) -> None:
        self._doors = {p.id: p.door for p in premises.points if p.door is not None}
        self._heard = Heard(premises.points)
        self._rules = premises.reactions
        self._longest_ms = premises.lockdown_max_ms
        self._number = 0
        self._locks = Locks(self._doors, self._new_id)
        self._sounding = Sounding(self._new_id)
        self._lockdown: Lockdown | None = None
        self._save_us: int | None = None
        self._saves = 0
        by_rule = {
            door
            for rule in self._rules
            if rule.on == _RAISED and rule.do is Deed.RELEASE
            for door in self._named(rule)
        }
        self._fire_doors = tuple(
            name for name in self._locks if name in by_rule or fire_frees(self._doors[name])
        )

    # --- what can be asked -----------------------------------------------------------------------

    @property
    def lockdown(self) -> Lockdown | None:
        """The lockdown that stands, for heartbeats and for people."""
        return self._lockdown

    @property
    def revision(self) -> int:
        """Rises whenever `memory` is worth saving: at each change, once a minute in a lockdown."""
        return self._locks.revision + self._saves

    def freed(self, door: str) -> str | None:
        """Why a door stands free now: `fire`, `command`, `rule`, or None.

        A door whose lock the fire panel frees itself is free while a fire alarm is open.
        """
        free = self._locks.free(door)
        if free is not None:
            return free.value
        known = self._doors.get(door)
        hardwired = known is not None and known.fire_release == FIRE_HARDWIRED
        return Standing.FIRE.value if hardwired and self._heard.fire else None

    def deadline(self) -> int | None:
        """When `wake` will have something to do; None: never."""
        until_us = self._lockdown.until_us if self._lockdown else None
        moments = (until_us, self._save_us, self._locks.deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    # --- what happens ----------------------------------------------------------------------------

    def told(self, fact: Fact) -> Deeds:
        """A fact was recorded: what follows from it on the premises."""
        quiet = self._heard.hear(fact)
        deeds: Deeds = []
        if over(fact):
            deeds += self._sounding.end(whom(fact), at_us=fact.at_us, cause=fact.type)
        match fact.type:
            case "alarm.fire.raised":
                deeds += self._each(self._fire_doors, Ask.FIRE, "fire", fact.at_us)
            case "state.reset-key.turned":
                deeds += self._reset(fact.at_us)
            case "fault.unit-silent.cleared":
                deeds += self.unit_back(fact.subject, at_us=fact.at_us)
            case "access.held-warning":
                deeds += self._warn(fact)
            case "access.closed":
                deeds += self._sounding.end(_held(fact.subject), at_us=fact.at_us, cause=fact.type)
            case _:
                pass
        if class_of(fact.type) in _RULED:
            deeds += self._run(fact.type, whom(fact), fact.at_us, quiet=quiet)
        return deeds

    def unanswered(self, alarm_id: str, kind: str, *, silent: bool, at_us: int) -> Deeds:
        """No receipt for that alarm, or no person, in time; only the first time counts."""
        if not self._heard.first_unanswered(alarm_id):
            return []
        quiet = silent or self._heard.silent(alarm_id)
        return self._run(f"alarm.{kind}.unanswered", alarm_id, at_us, quiet=quiet)

    def result(self, result: Result) -> Deeds:
        """What came of an action; its id as it was given here. Of another's action: nothing."""
        return self._locks.result(result) or self._sounding.result(result)

    def seen(self, reading: Reading) -> Deeds:
        """An output's own state was read: a door freed by fire must not be seen locked."""
        return self._locks.seen(reading)

    def unit_back(self, device: str, *, at_us: int) -> Deeds:
        """A unit answers again; `told` calls it for fault.unit-silent.cleared."""
        return self._locks.unit_back(device, at_us=at_us)

    def wake(self, now_us: int) -> Deeds:
        """What has become due: the end of a lockdown, what life safety asks of a lock again."""
        deeds: Deeds = []
        if self._lockdown and self._lockdown.until_us <= now_us:
            deeds += self._end(self._lockdown.until_us, "time")
        if self._save_us is not None and self._save_us <= now_us:
            self._saves += 1
            self._save_us = now_us + _SAVE_EVERY_US
        return deeds + self._locks.wake(now_us, fire=self._heard.fire)

    # --- commands --------------------------------------------------------------------------------

    def unlock(
        self, door: str, *, for_ms: int | None, not_after_us: int, at_us: int, cause: str
    ) -> Deeds | Refused:
        """Open a door for a time (None: the door's own). Refused where it stands free already.

        The end of a timed opening locks, and would do so at a door that is to stand free.
        """
        known = self._doors.get(door)
        if for_ms is None and known is not None:
            for_ms = known.unlock_ms
        elif for_ms is not None and not UNLOCK_MS[0] <= for_ms <= UNLOCK_MS[1]:
            why = f"a timed opening lasts {UNLOCK_MS[0]} to {UNLOCK_MS[1]} ms, not {for_ms}"
            return Refused(why, ("door.unlock", "door.release"))
        return self._command(
            Ask.UNLOCK, door, not_after_us=not_after_us, at_us=at_us, cause=cause, for_ms=for_ms
        )

    def release(self, door: str, *, not_after_us: int, at_us: int, cause: str) -> Deeds | Refused:
        """Let a door stand free until it is locked."""
        return self._command(Ask.RELEASE, door, not_after_us=not_after_us, at_us=at_us, cause=cause)

    def lock(self, door: str, *, not_after_us: int, at_us: int, cause: str) -> Deeds | Refused:
        """Lock a door: ends a release and a timed opening, never what fire has freed."""
        return self._command(Ask.LOCK, door, not_after_us=not_after_us, at_us=at_us, cause=cause)

    def lockdown_begin(
        self, doors: tuple[str, ...], *, until_us: int | None, at_us: int, cause: str, by: str
    ) -> Deeds | Refused:
        """Lock those doors (none named: all) and keep them so until `until_us` at the latest.

        One that stands already is widened and prolonged, never narrowed or cut short.
        """
        strange = [door for door in doors if door not in self._doors]
        if strange:
            return Refused(f"there is no door {', '.join(strange)}", ("lockdown.begin",))
        if until_us is not None and until_us <= at_us:
            return Refused("its end has passed already", ("lockdown.begin",))
        return self._begin(doors, until_us, at_us, cause=cause, by=by)

    def lockdown_end(self, *, at_us: int, by: str) -> Deeds | Refused:
        """End the lockdown. Its doors stay as they are, and obey commands again."""
        if self._lockdown is None:
            return Refused("no lockdown stands", ("lockdown.begin",))
        return self._end(at_us, by)

    # --- over a restart --------------------------------------------------------------------------

    def memory(self, *, now_us: int, stamp: Stamp) -> dict[str, Json]:
        """What must survive a restart, as plain data. `stamp` is of `now_us`."""
        kept: dict[str, Json] = {"free": self._locks.memory()}
        if self._locks.timed:
            kept["timed"] = list[Json](self._locks.timed)
        if self._lockdown is not None:
            kept["lockdown"] = self._lockdown.keep(now_us=now_us, stamp=stamp)
        return kept

    def restore(
        self,
        memory: Mapping[str, Json],
        open_alarms: Iterable[Alarm],
        *,
        now_us: int,
        stamp: Stamp,
    ) -> Deeds:
        """Take up what `memory` kept (nothing kept: an empty mapping), before anything else.

        Nothing is driven by it but what fire has freed or is to free, which may not have reached
        the wire, and locks whose timed opening was cut off. A lockdown whose time has come ends.
        """
        self._heard.restore(open_alarms)
        kept, free, timed = (memory.get(name) for name in ("lockdown", "free", "timed"))
        ended: list[str] = []
        if isinstance(kept, dict):
            stood = resume(
                kept,
                doors=tuple(self._doors),
                longest_ms=self._longest_ms,
                now_us=now_us,
                stamp=stamp,
            )
            self._stand(stood, now_us)
            ended = [door for door in stood.doors if may_lock(self._doors[door])]
        self._locks.restore(free if isinstance(free, dict) else {}, but=ended)
        fire = self._fire_doors if self._heard.fire else ()
        freed = [d for d in self._locks if d in fire or self._locks.free(d) is Standing.FIRE]
        deeds = self._each(freed, Ask.FIRE, "fire", now_us)
        if isinstance(timed, list):
            begun = (d for d in timed if d in self._locks and may_lock(self._doors[str(d)]))
            deeds += self._locks.cut_off(map(str, begun), at_us=now_us)
        if self._lockdown and self._lockdown.until_us <= now_us:
            deeds += self._end(now_us, "time")
        return deeds

    # --- inside ----------------------------------------------------------------------------------

    def _new_id(self) -> str:
        self._number += 1
        return f"r{self._number}"

    def _run(self, trigger: str, for_whom: str, at_us: int, *, quiet: bool) -> Deeds:
        """Every rule for that trigger, in the order they were written."""
        fire = trigger.startswith("alarm.fire.")
        deeds: Deeds = []
        for rule in self._rules:
            if rule.on != trigger or (quiet and not (fire and rule.do is Deed.RELEASE)):
                continue
            match rule.do:
                case Deed.RELEASE if trigger == _RAISED:
                    pass  # its doors are among those that fire frees
                case Deed.RELEASE:
                    ask = Ask.FIRE if fire else Ask.RULE
                    deeds += self._each(self._named(rule), ask, trigger, at_us)
                case Deed.LOCKDOWN:
                    deeds += self._begin(rule.doors, None, at_us, cause=trigger, by=trigger)
                case Deed.SOUND | Deed.LIGHT:
                    deeds += self._sound(rule, for_whom, at_us)
        return deeds

    def _named(self, rule: ReactionRule) -> tuple[str, ...]:
        """The doors a rule releases; none named: all that people leave by."""
        everyday = (d for d in self._locks if self._doors[d].egress is not Egress.NONE)
        return rule.doors or tuple(everyday)

    def _sound(self, rule: ReactionRule, for_whom: str, at_us: int) -> Deeds:
        if rule.output is None:
            return []
        urgency = Urgency.COMFORT if rule.do is Deed.LIGHT else Urgency.COMMAND
        return [
            self._sounding.begin(
                rule.output,
                for_whom,
                for_ms=rule.for_ms,
                at_us=at_us,
                cause=rule.on,
                urgency=urgency,
            )
        ]

    def _warn(self, fact: Fact) -> Deeds:
        """The sounder at a door that is about to be held too long."""
        door = self._doors.get(fact.subject)
        if door is None or door.sounder is None or self.freed(fact.subject):
            return []
        return [
            self._sounding.begin(
                door.sounder,
                _held(fact.subject),
                for_ms=door.warn_before_ms,
                at_us=fact.at_us,
                cause=fact.type,
                urgency=Urgency.COMFORT,
            )
        ]

    def _move(self, name: str, ask: Ask, by: str, at_us: int) -> Deeds:
        move = decide(self._doors[name], self._stands(name), ask)
        if move in {Move.LEAVE, Move.REFUSE}:
            return []
        return [self._locks.move(name, ask, move, by=by, at_us=at_us)]

    def _stands(self, name: str) -> Standing:
        lockdown = self._lockdown is not None and name in self._lockdown.doors
        return standing(self._locks.free(name), lockdown=lockdown)

    def _each(self, names: Iterable[str], ask: Ask, by: str, at_us: int) -> Deeds:
        return [deed for n in names if n in self._locks for deed in self._move(n, ask, by, at_us)]

    def _command(
        self,
        ask: Ask,
        name: str,
        *,
        not_after_us: int,
        at_us: int,
        cause: str,
        for_ms: int | None = None,
    ) -> Deeds | Refused:
        door = self._doors.get(name)
        if door is None:
            return Refused(f"there is no door {name}")
        if name not in self._locks:
            return Refused(f"{name} has no lock that the gateway could move")
        if not_after_us <= at_us:
            return Refused("it came too late", (f"door.{ask.value}",))
        stands = self._stands(name)
        move = decide(door, stands, ask)
        if move is Move.REFUSE:
            return Refused(*refusal(door, stands, ask))
        return [
            self._locks.move(
                name, ask, move, by=cause, at_us=at_us, not_after_us=not_after_us, for_ms=for_ms
            )
        ]

    def _begin(
        self, doors: tuple[str, ...], until_us: int | None, at_us: int, *, cause: str, by: str
    ) -> Deeds:
        latest_us = at_us + self._longest_ms * US_PER_MS
        end_us = latest_us if until_us is None else min(until_us, latest_us)
        named = [name for name in self._doors if not doors or name in doors]
        over_doors = set(named)
        if self._lockdown is not None:
            over_doors.update(self._lockdown.doors)
            end_us = max(end_us, self._lockdown.until_us)
        begun = Lockdown(tuple(name for name in self._doors if name in over_doors), end_us, by)
        self._stand(begun, at_us)
        moved = self._each(named, Ask.LOCKDOWN, cause, at_us)
        return [*moved, begun.begun(at_us)]

    def _end(self, at_us: int, by: str) -> Deeds:
        assert self._lockdown is not None
        ended = self._lockdown.ended(at_us, by)
        self._stand(None, at_us)
        self._locks.end_lockdown()
        return [ended]

    def _stand(self, lockdown: Lockdown | None, at_us: int) -> None:
        self._lockdown = lockdown
        self._save_us = None if lockdown is None else at_us + _SAVE_EVERY_US
        self._saves += 1

    def _reset(self, at_us: int) -> Deeds:
        """A person on site turned the key: a lockdown ends, and what fire freed may lock again."""
        deeds = self._end(at_us, "reset-key") if self._lockdown else []
        if not self._heard.fire:
            deeds += self._each(self._locks, Ask.RESET, "reset-key", at_us)
        return deeds


def _held(door: str) -> str:
    return f"held-warning:{door}"
