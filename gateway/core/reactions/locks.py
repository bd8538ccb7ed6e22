"""The locks of the doors: what was asked of each, what came of it, what is asked again. Pure.

`order.py` decides by its table; this carries a decision out and remembers it. What a fire
release or a lockdown asks of a lock is asked again until it is so; what a command asks is asked
once. A door counts as standing free until its lock is known to be locked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.hardware import Door, device_of
from gateway.core.model import US_PER_MS, Fact, Json, Level, Reading
from gateway.core.reactions.order import Ask, Move, Standing

REACH_US = 10_000_000
"""No action may be begun later than this after it was asked for."""

RETRY_US = 2_000_000
"""How soon what life safety demands is asked of a lock again."""

REFRESH_US = 30_000_000
"""While a fire alarm is open its releases are driven again this often: a unit that restarted
between two reads has forgotten them, and not every unit can be asked what its relay does."""

PULSE_TAIL_US = 500_000
"""A timed opening inside a unit may end after a fire release came: it is driven once more then."""

FORGET_US = 60_000_000
"""An action without any result for so long after its expiry is forgotten."""


FREES: Mapping[Ask, Standing] = {
    Ask.FIRE: Standing.FIRE,
    Ask.RELEASE: Standing.COMMAND,
    Ask.RULE: Standing.RULE,
}
"""Why a door stands free that was asked to be."""

_DONE = {
    Move.FREE: "state.door.released",
    Move.PULSE: "state.door.unlocked",
    Move.LOCK: "state.door.locked",
}
_AGAIN = (Ask.FIRE, Ask.LOCKDOWN)


@dataclass(slots=True)
class _Lock:
    """One door's lock.

    free: why it stands free. sure: the same as last seen done. asked: its newest action while that
    has no result. owed: what stands and has not been seen done. due_us: when it is driven again.
    failing: that has been told. shown: that fire has freed it has been told. pulse_us: when its
    last timed opening ends. timed: one was begun, and the lock has not been seen locked since.
    cut_off: that was before a restart, and nobody but us may be left to end it.
    """

    door: Door
    output: str
    free: Standing | None = None
    sure: Standing | None = None
    asked: str | None = None
    asked_us: int = 0
    owed: Ask | None = None
    due_us: int | None = None
    failing: bool = False
    shown: bool = False
    pulse_us: int = 0
    timed: bool = False
    cut_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An action that has no result yet."""

    door: str
    ask: Ask
    move: Move
    by: str
    for_ms: int | None
    not_after_us: int


class Locks:
    """Every lock the gateway drives. `new_id` names the next action."""

    def __init__(self, doors: Mapping[str, Door], new_id: Callable[[], str]) -> None:
        self._locks = {
            name: _Lock(door, door.lock) for name, door in doors.items() if door.lock is not None
        }
        self._new_id = new_id
        self._asked: dict[str, _Asked] = {}
        self.revision = 0

    def __iter__(self) -> Iterator[str]:
        """The doors that have a lock, in the order they were configured."""
        return iter(self._locks)

    def __contains__(self, door: object) -> bool:
        return door in self._locks

    def free(self, door: str) -> Standing | None:
        """Why the door stands free, as far as is known: FIRE, COMMAND, RULE, or None."""
        lock = self._locks.get(door)
        return lock.free if lock else None

    def deadline(self) -> int | None:
        """When `wake` will have a lock to drive; None: never."""
        moments = (lock.due_us for lock in self._locks.values())
        return min((moment for moment in moments if moment is not None), default=None)

    # --- asking ----------------------------------------------------------------------------------

    def move(
        self,
        door: str,
        ask: Ask,
        move: Move,
        *,
        by: str,
        at_us: int,
        not_after_us: int | None = None,
        for_ms: int | None = None,
    ) -> Action:
        """Have the lock moved: FREE, PULSE (for `for_ms`) or LOCK. Never later than `REACH_US`."""
        assert move in _DONE
        reach_us = at_us + REACH_US
        until_us = reach_us if not_after_us is None else min(not_after_us, reach_us)
        self._forget(at_us)
        lock, name = self._locks[door], self._new_id()
        self._asked[name] = _Asked(
            door=door, ask=ask, move=move, by=by, for_ms=for_ms, not_after_us=until_us
        )
        lock.asked, lock.asked_us = name, at_us
        if lock.owed is not ask and not lock.cut_off:
            lock.failing = False
        if lock.pulse_us + PULSE_TAIL_US <= at_us:
            lock.pulse_us = 0
        if ask in _AGAIN:
            lock.owed = ask
            lock.due_us = until_us + RETRY_US
        elif ask is not Ask.LOCK:
            lock.owed = lock.due_us = None
        elif lock.cut_off:
            lock.due_us = until_us + RETRY_US
        match move:
            case Move.FREE:
                self._time(lock, on=False)
                self._stand(lock, FREES[ask])
            case Move.PULSE:
                assert for_ms is not None
                lock.pulse_us = until_us + for_ms * US_PER_MS
                self._time(lock, on=True)
            case _:
                lock.pulse_us = 0
        return Action(
            id=name,
            output=lock.output,
            on=lock.door.energised(released=move is not Move.LOCK),
            not_after_us=until_us,
            for_ms=for_ms,
            urgency=Urgency.LIFE if ask is Ask.FIRE else Urgency.COMMAND,
            cause=by,
        )

    def wake(self, now_us: int, *, fire: bool) -> list[Action | Fact]:
        """Drive again what is due. fire: a fire alarm is open, so that releases are refreshed."""
        found: list[Action | Fact] = []
        for door, lock in self._locks.items():
            if lock.due_us is None or lock.due_us > now_us:
                continue
            if lock.owed or fire or lock.pulse_us or lock.cut_off:
                found.append(self._again(door, now_us))
            else:
                lock.due_us = None
        return found

    def unit_back(self, device: str, *, at_us: int) -> list[Action | Fact]:
        """A unit answers again: what stands at its locks is driven at once, known done or not."""
        return [
            self._again(door, at_us)
            for door, lock in self._locks.items()
            if device_of(lock.output) == device and self._claimed(lock)
        ]

    def seen(self, reading: Reading) -> list[Action | Fact]:
        """A lock's output shows this level, ACTIVE while energised.

        A door freed by fire whose lock is seen locked is driven again, every `RETRY_US` at most.
        """
        found: list[Action | Fact] = []
        for door, lock in self._locks.items():
            if lock.output != reading.input or reading.level is Level.UNKNOWN:
                continue
            released = lock.door.energised(released=True) is (reading.level is Level.ACTIVE)
            if not released and lock.asked is None:
                self._time(lock, on=False)
            if released or lock.free is not Standing.FIRE or lock.asked is not None:
                continue
            lock.owed = Ask.FIRE
            lock.due_us = max(reading.at_us, lock.asked_us + RETRY_US)
            if lock.due_us <= reading.at_us:
                found.append(self._again(door, reading.at_us))
        return found

    def end_lockdown(self) -> None:
        """No lockdown stands any more: nothing is locked for it from now on."""
        for lock in self._locks.values():
            if lock.owed is Ask.LOCKDOWN:
                lock.owed = lock.due_us = None
                lock.failing = False

    # --- what came of it -------------------------------------------------------------------------

    def result(self, result: Result) -> list[Action | Fact]:
        """What came of an action of ours; of another's: nothing."""
        asked = self._asked.pop(result.action, None)
        if asked is None:
            return []
        lock = self._locks[asked.door]
        newest = lock.asked == result.action
        if newest:
            lock.asked = None
        if result.outcome.done:
            return self._done(lock, asked, result, newest=newest)
        return self._failed(lock, asked, result, newest=newest)

    def _done(
        self, lock: _Lock, asked: _Asked, result: Result, *, newest: bool
    ) -> list[Action | Fact]:
        told = asked.ask is Ask.FIRE and lock.shown
        if asked.for_ms is not None and lock.pulse_us:
            lock.pulse_us = result.at_us + asked.for_ms * US_PER_MS
        if newest:
            lock.failing = False
            lock.shown = asked.ask is Ask.FIRE
            if asked.move is Move.LOCK:
                self._time(lock, on=False)
                self._stand(lock, None)
            if asked.move is not Move.PULSE:
                lock.sure = lock.free
                lock.owed = lock.due_us = None
            if asked.ask is Ask.FIRE:
                lock.due_us = result.at_us + REFRESH_US
                if lock.pulse_us:
                    tail_us = max(lock.pulse_us + PULSE_TAIL_US, result.at_us)
                    lock.due_us = min(tail_us, lock.due_us)
        if told:
            return []
        data: dict[str, Json] = {"by": asked.by, "outcome": result.outcome.value}
        if asked.for_ms is not None:
            data["for_ms"] = asked.for_ms
        return [Fact(_DONE[asked.move], asked.door, result.at_us, data=data)]

    def _failed(
        self, lock: _Lock, asked: _Asked, result: Result, *, newest: bool
    ) -> list[Action | Fact]:
        """A move that did not happen. What stands is asked again, and told as failing once."""
        repeats = asked.ask in _AGAIN or lock.cut_off
        if repeats and not newest and result.outcome is Outcome.REPLACED:
            return []
        told = repeats and lock.failing
        if newest:
            if repeats and (
                lock.cut_off or lock.owed is asked.ask
            ):  # not owed: its lockdown has ended meanwhile
                lock.due_us = result.at_us + RETRY_US
                lock.failing, lock.shown = True, False
            elif asked.ask is Ask.RESET and lock.free is Standing.FIRE:
                # nobody knows it locked: then it had better be known to be free
                lock.owed, lock.due_us = Ask.FIRE, result.at_us + RETRY_US
                lock.shown = False
            elif asked.move is Move.FREE:
                self._stand(lock, lock.sure)
        if told:
            return []
        data: dict[str, Json] = {
            "wanted": _DONE[asked.move].rpartition(".")[2],
            "by": asked.by,
            "outcome": result.outcome.value,
            "why": result.why,
        }
        return [Fact("state.door.failed", asked.door, result.at_us, data=data)]

    # --- over a restart --------------------------------------------------------------------------

    def memory(self) -> dict[str, Json]:
        """Why each door stands free, by door."""
        return {door: lock.free.value for door, lock in self._locks.items() if lock.free}

    @property
    def timed(self) -> list[str]:
        """The doors whose timed opening has not been seen to end."""
        return [door for door, lock in self._locks.items() if lock.timed]

    def cut_off(self, doors: Iterable[str], *, at_us: int) -> list[Action | Fact]:
        """Timed openings from before a restart, at doors that do not stand free: end them.

        Not every unit ends one by itself. It is asked again until it is so.
        """
        found: list[Action | Fact] = []
        for door in doors:
            lock = self._locks[door]
            if lock.free is None:
                lock.timed = lock.cut_off = True
                found.append(self._again(door, at_us))
        return found

    def restore(self, free: Mapping[str, Json], but: Iterable[str]) -> None:
        """Remember what stood free, except commands' and rules' releases at the doors of `but`."""
        ended = set(but)
        reasons = {standing.value: standing for standing in FREES.values()}
        for door, lock in self._locks.items():
            why = reasons.get(str(free.get(door)))
            if why is Standing.FIRE or door not in ended:
                lock.free = lock.sure = why

    # --- inside ----------------------------------------------------------------------------------

    def _again(self, door: str, at_us: int) -> Action:
        lock = self._locks[door]
        if lock.owed is Ask.LOCKDOWN:
            return self.move(door, Ask.LOCKDOWN, Move.LOCK, by=Ask.LOCKDOWN.value, at_us=at_us)
        if lock.cut_off and lock.free is None:
            return self.move(door, Ask.LOCK, Move.LOCK, by="restart", at_us=at_us)
        return self.move(door, Ask.FIRE, Move.FREE, by=Ask.FIRE.value, at_us=at_us)

    def _claimed(self, lock: _Lock) -> bool:
        """Something stands here that is to be driven again, and the reset key is not at it."""
        if lock.owed is Ask.LOCKDOWN or lock.cut_off:
            return True
        newest = self._asked.get(lock.asked or "")
        resetting = newest is not None and newest.ask is Ask.RESET
        return lock.free is Standing.FIRE and not resetting

    def _time(self, lock: _Lock, *, on: bool) -> None:
        """A timed opening begins, or is known to be over."""
        if lock.cut_off:
            lock.cut_off = False
            lock.due_us = None if lock.owed is None else lock.due_us
        if lock.timed is not on:
            lock.timed = on
            self.revision += 1

    def _stand(self, lock: _Lock, why: Standing | None) -> None:
        if lock.free is not why:
            lock.free = why
            self.revision += 1

    def _forget(self, now_us: int) -> None:
        for name in [n for n, a in self._asked.items() if a.not_after_us + FORGET_US < now_us]:
            del self._asked[name]
