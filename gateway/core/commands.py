"""Judges Commands: who signed, for which gateway and boot, how fresh, and with what right. Pure.

What passes becomes something to do, the rest a Refusal that says what would be accepted. Nothing
here is kept over a restart, and nothing need be: what was signed before this start is refused, and
what names another ledger or boot is for another life of the box.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.jws import TokenRefused, TokenType, VerifyKey, open_token
from gateway.core.members import Members
from gateway.core.model import Fact, Json
from gateway.core.premises import Premises, RouteKey
from gateway.core.verbs import SHAPES, Target, Verb, read_target

WINDOW = 64
"""How far a counter may lag behind the highest seen: two links may swap what a desk sends."""

ANSWERS_MAX = 256
"""Commands whose answers are remembered for one that comes again."""

ID_MAX = 64
VERB_MAX = 40
"""Longest id and verb, in characters: both are repeated in answers."""

_KEYS = "a command signed under a key this route lists"
_MEMBERS = "exactly id, gateway, ledger, boot, not_after_ms, verb, target, counter"


@dataclass(frozen=True, slots=True)
class Command:
    """A signed request as it travels. not_after_ms: on the gateway's own boot-time clock."""

    id: str
    gateway: str
    ledger: str
    boot: str
    not_after_ms: int
    verb: str
    target: Mapping[str, Json]
    counter: int


def command_payload(command: Command) -> dict[str, Json]:
    """A Command as JSON, for the desk that signs it."""
    return {
        "id": command.id,
        "gateway": command.gateway,
        "ledger": command.ledger,
        "boot": command.boot,
        "not_after_ms": command.not_after_ms,
        "verb": command.verb,
        "target": dict(command.target),
        "counter": command.counter,
    }


def read_command(payload: Mapping[str, Any]) -> Command:
    """A Command from a verified payload; TokenRefused names the member that is wrong."""
    member = Members(payload, "command")
    command = Command(
        id=member.parsed("id", _command_id),
        gateway=member.text("gateway"),
        ledger=member.hex8("ledger"),
        boot=member.hex8("boot"),
        not_after_ms=member.number("not_after_ms"),
        verb=member.parsed("verb", _verb_text),
        target=member.parsed("target", _mapping),
        counter=member.number("counter", least=1),
    )
    member.done()
    return command


def _command_id(value: Any) -> str:
    return _plain(value, ID_MAX)


def _verb_text(value: Any) -> str:
    return _plain(value, VERB_MAX)


def _plain(value: Any, longest: int) -> str:
    """ASCII that a terminal shows and does not obey: it comes back in answers."""
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise ValueError(f"1 to {longest} characters are needed")
    if not (value.isascii() and value.isprintable()):
        raise ValueError("printable ASCII is needed")
    return value


def _mapping(value: Any) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError("an object is needed")
    return value


@dataclass(frozen=True, slots=True)
class Order:
    """A Command that passed: what is to be done, and who answers for it. target: read and known."""

    command: str
    route: str
    kid: str
    verb: Verb
    target: Target
    not_after_ms: int
    local: bool

    @property
    def by(self) -> str:
        """Who asked, for events: the route and the desk's key, never a name."""
        return f"{self.route}/{self.kid}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Command that did not. command: empty when the token itself is not believed.

    route: whose topic it came on; empty when it was handed in on the premises under no route's
    key. above: the counter has to be greater than this, where that is what was wrong.
    """

    route: str
    why: str
    accepts: str
    command: str = ""
    verb: str = ""
    kid: str = ""
    above: int | None = None
    local: bool = False

    @property
    def authentic(self) -> bool:
        """True when one of the route's own keys signed it."""
        return bool(self.command)

    def data(self) -> dict[str, Json]:
        """What the event says of it."""
        every = {"command": self.command, "verb": self.verb, "by": self.kid, "route": self.route}
        said: dict[str, Json] = {name: value for name, value in every.items() if value}
        said |= {"why": self.why, "accepts": self.accepts}
        if self.above is not None:
            said["counter_above"] = self.above
        if self.local:
            said["local"] = True
        return said


@dataclass(frozen=True, slots=True)
class Again:
    """A Command that is known: it gets its first answers again and does nothing."""

    facts: tuple[Fact, ...]


class _Refused(Exception):  # noqa: N818 -- ends one judgement, never leaves this file
    def __init__(self, why: str, accepts: str, above: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.accepts = accepts
        self.above = above


@dataclass(slots=True)
class _Desk:
    """One key, on whichever routes it is listed: which of its counters have been seen."""

    highest: int = 0
    seen: set[int] = field(default_factory=set)

    def count(self, counter: int) -> None:
        """Each number once, and none more than WINDOW behind the highest."""
        if counter in self.seen or counter <= self.highest - WINDOW:
            why = f"counter {counter} was used before, or is too old"
            raise _Refused(why, f"a counter above {self.highest}", self.highest)
        self.highest = max(self.highest, counter)
        self.seen.add(counter)
        self.seen = {number for number in self.seen if number > self.highest - WINDOW}


class Judge:
    """What one start of one gateway obeys."""

    def __init__(self, premises: Premises, *, ledger: str, boot: str, started_ms: int) -> None:
        """started_ms: this start on the boot-time clock that `not_after_ms` is counted on."""
        self._premises = premises
        self._ledger = ledger
        self._boot = boot
        self._started_ms = started_ms
        self._rights = {route.id: {key.kid: key for key in route.keys} for route in premises.routes}
        self._keys = {
            route.id: {key.kid: VerifyKey(key.kid, key.x) for key in route.keys}
            for route in premises.routes
        }
        # by key and not by route: a key that two routes list must not be obeyed once on each
        self._desks = {key.x: _Desk() for route in premises.routes for key in route.keys}
        self._answers: OrderedDict[tuple[str, str], list[Fact]] = OrderedDict()

    def judge(
        self, route: str, token: bytes, *, now_ms: int, local: bool = False
    ) -> Order | Refusal | Again:
        """Judge a token that came on `route`'s topic, or (local) over the control socket.

        now_ms: on the boot-time clock.
        """
        try:
            kid, payload = open_token(token, typ=TokenType.COMMAND, keys=self._keys[route])
        except TokenRefused as refused:
            return Refusal(route, str(refused), _KEYS, local=local)
        try:
            command = read_command(payload)
        except TokenRefused as refused:
            return Refusal(route, str(refused), _MEMBERS, kid=kid, local=local)
        rights = self._rights[route][kid]
        known = self._answers.get((rights.x, command.id))
        if known is not None:
            return Again(tuple(known))
        try:
            self._for_us(command)
            self._desks[rights.x].count(command.counter)
            verb = _verb(command.verb)
            self._fresh(command, verb, now_ms)
            target = self._target(command, verb)
            self._entitled(rights, verb, target, local=local)
        except _Refused as refused:
            return Refusal(
                *(route, refused.why, refused.accepts, command.id, command.verb, kid),
                above=refused.above,
                local=local,
            )
        order = Order(command.id, route, kid, verb, target, command.not_after_ms, local)
        self._remember(order)
        return order

    def route_of(self, token: bytes) -> str | None:
        """The route under one of whose keys a token was signed; None: under no route's."""
        for route, keys in self._keys.items():
            try:
                open_token(token, typ=TokenType.COMMAND, keys=keys)
            except TokenRefused:
                continue
            return route
        return None

    def answered(self, order_or_refusal: Order | Refusal, fact: Fact) -> None:
        """Remember an answer, for the same command coming again."""
        if order_or_refusal.command:
            self._remember(order_or_refusal).append(fact)

    def _remember(self, judged: Order | Refusal) -> list[Fact]:
        key = self._rights[judged.route][judged.kid].x, judged.command
        answers = self._answers.setdefault(key, [])
        if len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)
        return answers

    def _for_us(self, command: Command) -> None:
        for name, told, ours in (
            ("gateway", command.gateway, self._premises.gateway),
            ("ledger", command.ledger, self._ledger),
            ("boot", command.boot, self._boot),
        ):
            if told != ours:
                why = f"it is for another {name}: {_quoted(told)}"
                raise _Refused(why, f"{name} {ours}, as in the last heartbeat")

    def _fresh(self, command: Command, verb: Verb, now_ms: int) -> None:
        latest_ms = now_ms + verb.reach_ms
        earliest_ms = max(now_ms, self._started_ms + verb.reach_ms)
        accepts = f"not_after_ms from {earliest_ms} to {latest_ms} (now is {now_ms})"
        if command.not_after_ms < now_ms:
            raise _Refused(f"it expired {now_ms - command.not_after_ms} ms ago", accepts)
        if command.not_after_ms > latest_ms:
            raise _Refused(f"it reaches more than {verb.reach_ms // 1000} s ahead", accepts)
        if command.not_after_ms < self._started_ms + verb.reach_ms:
            raise _Refused("it may have been signed before this start of the gateway", accepts)

    def _target(self, command: Command, verb: Verb) -> Target:
        try:
            return read_target(verb, command.target, self._premises)
        except TokenRefused as refused:
            raise _Refused(str(refused), SHAPES[verb]) from refused

    def _entitled(self, rights: RouteKey, verb: Verb, target: Target, *, local: bool) -> None:
        if verb not in rights.verbs:
            listed = ", ".join(rights.verbs) or "nothing"
            raise _Refused("this key may not ask for it", f"from this key: {listed}")
        beyond = [name for name in target.names if rights.targets and name not in rights.targets]
        if beyond:
            allowed = ", ".join(rights.targets)
            raise _Refused(f"this key has no say over {beyond[0]}", f"from this key: {allowed}")
        if rights.targets and not target.names and verb is Verb.LOCKDOWN_BEGIN:
            raise _Refused(
                "this key has no say over every door",
                f"doors named, of {', '.join(rights.targets)}",
            )
        if verb is Verb.DOOR_UNLOCK and not local:
            door = self._premises.point(target.names[0]).door
            if door is None or not door.remote_unlock:
                raise _Refused(
                    "this door is not opened from outside the premises",
                    "remote_unlock: true in its configuration, or `qorgan command` on the premises",
                )


def _verb(name: str) -> Verb:
    try:
        return Verb(name)
    except ValueError:
        raise _Refused(f"there is no verb {_quoted(name)}", ", ".join(Verb)) from None


def _quoted(text: str) -> str:
    """A stranger's text, short and without what a terminal would obey."""
    return repr(text[:40])
