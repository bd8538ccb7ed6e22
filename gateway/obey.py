"""Commands at work: judged, answered, done, and told how it went. Decides nothing itself.

Who may ask for what is `core/commands.py`'s, what a door may do is `core/reactions/`'s. Every
command that was signed by one of a route's own keys is answered on that route, whatever it sends;
what is accepted is concluded, by the wires, by its time or by the next start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gateway.clock import Clock, Timer
from gateway.core.action import Action, Result
from gateway.core.commands import Again, Judge, Order, Refusal
from gateway.core.model import US_PER_MS, Event, Fact, Json
from gateway.core.modes import KEPT as MODES
from gateway.core.modes import Modes
from gateway.core.premises import Premises
from gateway.core.reactions.reactions import Refused
from gateway.core.resend import numbers_of
from gateway.core.verbs import Verb
from gateway.hands import Hands
from gateway.heed import Heed
from gateway.points import Item, Tell
from gateway.record.entry import Identity
from gateway.seams import Seldom

CONCLUDE_AFTER_US = 5_000_000
"""An action is begun by its expiry or never; writing, asking again and reading back take less."""

UNDER_WAY_MAX = 64
"""Commands whose wires have not answered yet; one more is refused."""

KEPT = "orders"
"""Under which name the ledger keeps what is under way."""

_STOPPED = "the gateway stopped before its wires had answered: look what the door does"
_STOPPED_SENDING = "the gateway stopped before all was sent: ask again for what has not come"

SendAgain = Callable[[Order, Callable[[Mapping[str, Json], str], None]], Refused | None]
"""Takes an order to send again; calls back later with data for the answer, and why it failed."""


@dataclass(slots=True)
class _UnderWay:
    """An order whose wires have not all answered: by action, the door; what failed, by door."""

    order: Order
    waiting: dict[str, str]
    left: tuple[str, ...]
    timer: Timer | None = None
    failed: dict[str, str] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)


class Obey:
    """One gateway's obedience. `tell` records facts; `pass_on` takes what modes let go of."""

    def __init__(
        self,
        premises: Premises,
        identity: Identity,
        clock: Clock,
        *,
        hands: Hands,
        modes: Modes,
        send_again: SendAgain,
        seldom: Seldom,
        tell: Tell,
        pass_on: Callable[[Iterable[Item]], None],
        changed: Callable[[], None],
    ) -> None:
        """changed: modes began or ended; they must be kept and heard of."""
        self._premises = premises
        stamp = clock.stamp(clock.now_us())
        self._judge = Judge(
            premises, ledger=identity.ledger, boot=stamp.boot, started_ms=stamp.monotonic_ms
        )
        self._clock = clock
        self._hands = hands
        self._modes = modes
        self._send_again = send_again
        self._tell = tell
        self._pass_on = pass_on
        self._changed = changed
        self._heed = Heed(clock, tell=lambda fact: tell([fact], {}), seldom=seldom)
        self._under_way: list[_UnderWay] = []
        self._watchers: list[Callable[[Fact], None]] = []
        self._stopped = False
        self._doors = {
            point.door.lock: point.id
            for point in premises.points
            if point.door is not None and point.door.lock is not None
        }
        hands.on_result = self.result

    def restore(self, kept: Mapping[str, str], open_events: Iterable[Event]) -> None:
        """Take up the modes that stood, and conclude the commands that were under way.

        kept: what the ledger remembers. open_events: the recorded events of open alarms. Nobody
        but this start can tell the desks what became of what they asked of the last one.
        """
        now_us = self._clock.now_us()
        modes = _listed(kept.get(MODES))
        ended = self._modes.restore(modes, open_events, self._clock.stamp(now_us), now_us)
        self._pass_on(ended)
        if ended:
            self._changed()
        left = _listed(kept.get(KEPT))
        while left:  # what is kept goes with each: a power cut in between forgets none of them
            told, *left = left
            why = _STOPPED_SENDING if told.get("verb") == Verb.RESEND else _STOPPED
            names = ("command", "verb", "by", "route", "target", "asked", "local")
            data: dict[str, Json] = {name: told[name] for name in names if name in told}
            self._answered(data | {"why": why}, "failed", {KEPT: json.dumps(left)})

    def stop(self) -> None:
        """Nothing is obeyed or waited for any more; the next start concludes what is under way."""
        self._stopped = True
        self._heed.stop()
        for under_way in self._under_way:
            if under_way.timer is not None:
                under_way.timer.cancel()

    @contextmanager
    def watched(self, watcher: Callable[[Fact], None]) -> Iterator[None]:
        """Tell `watcher` every conclusion that is come to, until left."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    # --- what is asked ---------------------------------------------------------------------------

    def here(self, token: bytes) -> list[Fact]:
        """A command's token that was handed in on the premises; every answer given to it so far."""
        route = self._judge.route_of(token)
        if route is not None:
            return self.heard(route, token, local=True)
        if self._stopped:
            return []
        why, accepts = "no route lists the key it is signed under", "a key of the configuration"
        return [self.refuse(Refusal("", why, accepts, local=True))]

    def heard(self, route: str, token: bytes, *, local: bool = False) -> list[Fact]:
        """A command's token; every answer given to it so far (none: the gateway is stopping)."""
        if self._stopped:
            return []
        now_us = self._clock.now_us()
        now_ms = self._clock.stamp(now_us).monotonic_ms
        verdict = self._judge.judge(route, token, now_ms=now_ms, local=local)
        match verdict:
            case Again():
                self._repeat(route, verdict, now_us)
                return list(verdict.facts)
            case Refusal():
                return [self.refuse(verdict)]
            case Order() if not (local or self._heed.order(verdict.by)):
                return self._not(verdict, Refused("too many in too short a time", ("it, later",)))
            case Order():
                return self._obey(verdict, now_us)

    def refuse(self, refusal: Refusal) -> Fact:
        """Tell a refusal, to the route that asked and into the record, unless there are too many.

        What no key of ours signed anybody can send, and a recorded command anybody can play back.
        """
        fact = self._refusal(refusal, self._clock.now_us())
        if refusal.authentic:
            self._judge.answered(refusal, fact)
        self._heed.refusal(refusal, fact)
        return fact

    def result(self, result: Result) -> None:
        """What came of an action of some order, perhaps."""
        if self._stopped:
            return
        for under_way in list(self._under_way):
            door = under_way.waiting.pop(result.action, None)
            if door is None:
                continue
            under_way.outcomes.append(result.outcome.value)
            if not result.outcome.done:
                under_way.failed[door] = result.why or result.outcome.value
            if not under_way.waiting:
                self._conclude(under_way)

    # --- within ----------------------------------------------------------------------------------

    def _refusal(self, refusal: Refusal, now_us: int) -> Fact:
        to = (refusal.route,) if refusal.route else ()
        gateway = self._premises.gateway
        return Fact("state.command.refused", gateway, now_us, data=refusal.data(), to=to)

    def _repeat(self, route: str, again: Again, now_us: int) -> None:
        """The first answers once more, as new events that say so."""
        if again.facts and self._heed.again(route, str(again.facts[0].data.get("command"))):
            self._tell(
                [
                    replace(fact, at_us=now_us, data={**fact.data, "again": True}, to=(route,))
                    for fact in again.facts
                ],
                {},
            )

    def _obey(self, order: Order, now_us: int) -> list[Fact]:
        if order.verb is Verb.RESEND:
            return self._again(order, now_us)
        if not order.verb.physical:
            return self._mode(order, now_us)
        if sum(bool(one.waiting) for one in self._under_way) >= UNDER_WAY_MAX:
            return self._not(order, Refused("too many commands are under way", ("it, later",)))
        deeds = self._begin(order, now_us)
        if isinstance(deeds, Refused):
            return self._not(order, deeds)
        actions = [deed for deed in deeds if isinstance(deed, Action)]
        waiting = {act.id: self._doors.get(act.output, act.output) for act in actions}
        under_way = _UnderWay(order, waiting, self._left(order, waiting.values()))
        self._under_way.append(under_way)
        accepted = self._answer(under_way, "accepted", now_us)
        self._hands.do(deeds)
        if not actions:
            return [accepted, self._conclude(under_way)]
        late_us = max(action.not_after_us for action in actions) + CONCLUDE_AFTER_US
        under_way.timer = self._clock.call_at(
            late_us, lambda: self._given_up(under_way), relaxed=True
        )
        return [accepted]

    def _not(self, order: Order, refused: Refused) -> list[Fact]:
        accepts = ", ".join(refused.accepts) or "nothing of the kind now"
        asked = (order.command, order.verb.value, order.kid)
        return [self.refuse(Refusal(order.route, refused.why, accepts, *asked, local=order.local))]

    def _begin(self, order: Order, now_us: int) -> list[Action | Fact] | Refused:
        """What the rules make of an order that moves something."""
        reactions, target, by = self._hands.reactions, order.target, order.by
        if order.verb is Verb.LOCKDOWN_END:
            return reactions.lockdown_end(at_us=now_us, by=by)
        if order.verb is Verb.LOCKDOWN_BEGIN:
            until_us = None if target.for_ms is None else now_us + target.for_ms * US_PER_MS
            return reactions.lockdown_begin(
                target.names, until_us=until_us, at_us=now_us, cause=by, by=by
            )
        (door,) = target.names
        left_ms = order.not_after_ms - self._clock.stamp(now_us).monotonic_ms
        not_after_us = now_us + left_ms * US_PER_MS
        if order.verb is Verb.DOOR_UNLOCK:
            return reactions.unlock(
                door, for_ms=target.for_ms, not_after_us=not_after_us, at_us=now_us, cause=by
            )
        ask = reactions.lock if order.verb is Verb.DOOR_LOCK else reactions.release
        return ask(door, not_after_us=not_after_us, at_us=now_us, cause=by)

    def _left(self, order: Order, moved: Iterable[str]) -> tuple[str, ...]:
        """The doors of a lockdown that it does not lock: freed by fire, or without a lock of ours.

        Whoever asked for it must not believe them locked.
        """
        lockdown = self._hands.reactions.lockdown
        if order.verb is not Verb.LOCKDOWN_BEGIN or lockdown is None:
            return ()
        asked, locked = order.target.names or lockdown.doors, set(moved)
        return tuple(door for door in lockdown.doors if door in asked and door not in locked)

    def _again(self, order: Order, now_us: int) -> list[Fact]:
        """History is sent as there is room for it; the answer waits until all has gone."""
        under_way = _UnderWay(order, {}, ())
        if refused := self._send_again(order, partial(self._sent, under_way)):
            return self._not(order, refused)
        self._under_way.append(under_way)
        return [self._answer(under_way, "accepted", now_us)]

    def _sent(self, under_way: _UnderWay, data: Mapping[str, Json], why: str) -> None:
        if self._stopped:
            return
        self._under_way.remove(under_way)
        more: Mapping[str, Json] = {**data, "why": why} if why else data
        self._answer(under_way, "failed" if why else "done", self._clock.now_us(), more)

    def _mode(self, order: Order, now_us: int) -> list[Fact]:
        """Drills, isolation and walk tests."""
        target, by, for_ms = order.target, order.by, order.target.for_ms or 0
        found: list[Item] = []
        begins = order.verb
        match order.verb:
            case Verb.DRILL_BEGIN if target.drill is not None:
                found += self._modes.drill(target.drill, for_ms=for_ms, at_us=now_us, by=by)
            case Verb.DRILL_END if target.drill is not None:
                begins = Verb.DRILL_BEGIN
                found += self._modes.end_drill(target.drill, at_us=now_us, by=by)
            case Verb.ISOLATE:
                found += self._modes.isolate(target.names[0], for_ms=for_ms, at_us=now_us, by=by)
            case Verb.WALK_TEST:
                found += self._modes.walk_test(target.names[0], for_ms=for_ms, at_us=now_us, by=by)
        if not found:
            return self._not(order, Refused("there is nothing to end", (begins.value,)))
        under_way = _UnderWay(order, {}, ())
        accepted = self._answer(under_way, "accepted", now_us)
        self._pass_on(found)
        self._changed()
        return [accepted, self._answer(under_way, "done", now_us)]

    def _given_up(self, under_way: _UnderWay) -> None:
        """The wires have had their time: whatever they say later, somebody waits for an answer."""
        for door in under_way.waiting.values():
            under_way.failed[door] = "the wires have not answered"
        under_way.waiting.clear()
        self._conclude(under_way)

    def _conclude(self, under_way: _UnderWay) -> Fact:
        """Every action of an order has its result: tell the desk what became of it."""
        if under_way.timer is not None:
            under_way.timer.cancel()
        self._under_way.remove(under_way)
        more: dict[str, Json] = {}
        if under_way.left:
            more["left"] = list[Json](under_way.left)
        if under_way.outcomes:
            # one that could only be accepted was not read back: the weaker word for all
            sure = "accepted" if "accepted" in under_way.outcomes else "confirmed"
            more["outcome"] = sure
        if not under_way.failed:
            return self._answer(under_way, "done", self._clock.now_us(), more)
        failed = under_way.failed
        more["why"] = "; ".join(
            f"{door}: {why}" if len(under_way.outcomes) > 1 else why for door, why in failed.items()
        )
        more["failed"] = list[Json](failed)
        more.pop("outcome", None)
        return self._answer(under_way, "failed", self._clock.now_us(), more)

    def _answer(
        self,
        under_way: _UnderWay,
        phase: str,
        now_us: int,
        more: Mapping[str, Json] | None = None,
    ) -> Fact:
        """One answer to an order, recorded with what is still under way after it."""
        order = under_way.order
        data = _told(order) | dict(more or {})
        kept = {}
        if order.verb.physical or order.verb is Verb.RESEND:
            kept[KEPT] = json.dumps([_told(other.order) for other in self._under_way])
        fact = self._answered(data, phase, kept, at_us=now_us)
        self._judge.answered(order, fact)
        if phase != "accepted":
            for watcher in list(self._watchers):
                watcher(fact)
        return fact

    def _answered(
        self,
        data: Mapping[str, Json],
        phase: str,
        kept: Mapping[str, str],
        *,
        at_us: int | None = None,
    ) -> Fact:
        names, route = data.get("target"), data.get("route")
        one = names[0] if isinstance(names, list) and len(names) == 1 else None
        fact = Fact(
            f"state.command.{phase}",
            one if isinstance(one, str) else self._premises.gateway,
            self._clock.now_us() if at_us is None else at_us,
            data=data,
            to=(str(route),),
        )
        self._tell([fact], kept)
        return fact


def _told(order: Order) -> dict[str, Json]:
    """What every answer to an order says of it, and what is kept of one that is under way."""
    names, asked = order.target.names, numbers_of(order.target)
    return {
        "command": order.command,
        "verb": order.verb.value,
        "by": order.kid,
        "route": order.route,
        **({"target": list[Json](names)} if names else {}),
        **({"asked": asked} if asked else {}),
        **({"local": True} if order.local else {}),
    }


def _listed(kept: str | None) -> list[dict[str, Any]]:
    """Objects that were kept as a list; nothing where it cannot be read."""
    try:
        found = json.loads(kept) if kept else []
    except ValueError:
        return []
    return [told for told in found if isinstance(told, dict)] if isinstance(found, list) else []
