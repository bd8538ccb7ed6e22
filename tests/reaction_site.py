"""A school of seven doors for the tests of local rules: the engine, and what came of it.

What hangs on each door is what the rules differ by: its lock, how people leave, what fire does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from gateway.core.action import Action, Outcome, Result
from gateway.core.hardware import Deed, Door, Egress, FireOpens, LockType, ReactionRule
from gateway.core.model import Fact, Json, Stamp
from gateway.core.premises import Input, LedgerSpec, Point, PointKind, Premises
from gateway.core.reactions.reactions import Deeds, Reactions, Refused

S = 1_000_000
MINUTE = 60 * S
MAX_MS = 3_600_000


def door(name: str, door: Door) -> Point:
    return Point(name, PointKind.DOOR, Input(normally_closed=f"unit/{name}"), door=door)


def plain(name: str, kind: PointKind, *, silent: bool = False) -> Point:
    return Point(name, kind, Input(normally_open=f"gpio:{name}"), silent=silent)


MAIN = Door(
    lock="unit/main-lock",
    egress=Egress.HARDWIRED,
    fire_release="smoke",
    sounder="unit/buzzer",
    warn_before_ms=8_000,
)
HALL = Door(
    lock="unit/hall-lock",
    lock_type=LockType.MAGNET,
    egress=Egress.HANDLE,
    fire_release="smoke",
    fire_opens=FireOpens.BOTH,
)
SIDE = Door(lock="annex/side-lock", egress=Egress.HARDWIRED, fire_release="hardwired")
OFFICE = Door(lock="annex/office-lock", egress=Egress.HANDLE)
STORE = Door(lock="annex/store-lock", lock_type=LockType.MAGNET, egress=Egress.NONE)
VAULT = Door(lock="annex/vault-lock", egress=Egress.NONE)
CURTAIN = Door(egress=Egress.HANDLE)
DOORS = {
    "main": MAIN,
    "hall": HALL,
    "side": SIDE,
    "office": OFFICE,
    "store": STORE,
    "vault": VAULT,
    "curtain": CURTAIN,
}
POINTS = (
    *(door(name, spec) for name, spec in DOORS.items()),
    plain("smoke", PointKind.FIRE),
    plain("heat", PointKind.FIRE),
    plain("reception", PointKind.PANIC),
    plain("closing", PointKind.LOCKDOWN),
    plain("till", PointKind.HOLD_UP, silent=True),
    plain("key", PointKind.RESET_KEY),
)
SIREN = ReactionRule("alarm.panic.raised", Deed.SOUND, output="unit/siren", for_ms=90_000)
LAMP = ReactionRule("alarm.panic.raised", Deed.LIGHT, output="unit/lamp", for_ms=30_000)
NOBODY = ReactionRule("alarm.panic.unanswered", Deed.SOUND, output="unit/bell")
CLOSE = ReactionRule("alarm.lockdown.raised", Deed.LOCKDOWN)
OPEN_VAULT = ReactionRule("alarm.fire.raised", Deed.RELEASE, doors=("vault",))


def school(*rules: ReactionRule, points: Iterable[Point] = POINTS) -> Premises:
    return Premises(
        id="school-12",
        name="School No. 12",
        timezone="Asia/Almaty",
        gateway="school-12-main",
        key_file="",
        ledger=LedgerSpec(""),
        points=tuple(points),
        uplinks=(),
        routes=(),
        reactions=rules,
        lockdown_max_ms=MAX_MS,
    )


def stamp(at_ms: int, *, boot: str = "aaaaaaaa", utc_ms: int | None = None) -> Stamp:
    """A moment of a machine; synchronised where it is told a UTC."""
    return Stamp(utc_ms or 0, utc_ms is not None, None, boot, at_ms)


class Site:
    """The engine beside what came of it so far."""

    def __init__(self, *rules: ReactionRule, points: Iterable[Point] = POINTS) -> None:
        self.premises = school(*rules, points=points)
        self.engine = Reactions(self.premises)

    def raised(self, kind: str, point: str, at_us: int = 0, alarm: str = "", **data: Json) -> Deeds:
        alarm = alarm or f"{point}@{at_us}"
        fact = Fact(f"alarm.{kind}.raised", point, at_us, alarm=alarm, data=data, id=alarm)
        return self.engine.told(fact)

    def cleared(self, kind: str, point: str, alarm: str, at_us: int = 0) -> Deeds:
        return self.engine.told(Fact(f"alarm.{kind}.cleared", point, at_us, alarm=alarm))

    def fire(self, at_us: int = 0, point: str = "smoke") -> Deeds:
        return self.raised("fire", point, at_us, alarm=point)

    def fire_over(self, at_us: int = 0, point: str = "smoke") -> Deeds:
        return self.cleared("fire", point, point, at_us)

    def key(self, at_us: int = 0) -> Deeds:
        return self.engine.told(Fact("state.reset-key.turned", "key", at_us))

    def unlock(self, name: str, at_us: int = 0, for_ms: int | None = None) -> Deeds | Refused:
        return self.engine.unlock(
            name, for_ms=for_ms, not_after_us=at_us + 5 * S, at_us=at_us, cause="c1"
        )

    def release(self, name: str, at_us: int = 0) -> Deeds | Refused:
        return self.engine.release(name, not_after_us=at_us + 5 * S, at_us=at_us, cause="c2")

    def lock(self, name: str, at_us: int = 0) -> Deeds | Refused:
        return self.engine.lock(name, not_after_us=at_us + 5 * S, at_us=at_us, cause="c3")

    def lockdown(self, *doors: str, at_us: int = 0, until_us: int | None = None) -> Deeds | Refused:
        return self.engine.lockdown_begin(
            doors, until_us=until_us, at_us=at_us, cause="c4", by="security/desk-1"
        )

    def done(
        self, deeds: Deeds | Refused, at_us: int = 0, outcome: Outcome = Outcome.CONFIRMED
    ) -> Deeds:
        """Every action among them comes back with that outcome."""
        return [
            deed
            for action in actions(deeds)
            for deed in self.engine.result(Result(action.id, outcome, at_us, "why not"))
        ]

    def restarted(
        self, at_us: int = 0, then: Stamp | None = None, now: Stamp | None = None
    ) -> Site:
        """A new engine that took up what this one kept; its clock begins again at 0."""
        kept = self.engine.memory(now_us=at_us, stamp=then or stamp(at_us // 1_000))
        other = Site()
        other.premises = self.premises
        other.engine = Reactions(self.premises)
        other.deeds = other.engine.restore(
            json.loads(json.dumps(kept)), (), now_us=0, stamp=now or then or stamp(at_us // 1_000)
        )
        return other

    deeds: Deeds


def actions(deeds: Deeds | Refused) -> list[Action]:
    assert not isinstance(deeds, Refused), deeds
    return [deed for deed in deeds if isinstance(deed, Action)]


def facts(deeds: Deeds | Refused) -> list[Fact]:
    assert not isinstance(deeds, Refused), deeds
    return [deed for deed in deeds if isinstance(deed, Fact)]


def moved(deeds: Deeds | Refused) -> dict[str, str]:
    """What the actions do to the doors: free, locked, or milliseconds for a timed opening."""
    found = {}
    for action in actions(deeds):
        for name, spec in DOORS.items():
            if spec.lock == action.output:
                free = action.on is spec.energised(released=True)
                kept = str(action.for_ms) if action.for_ms else "free"
                found[name] = kept if free else "locked"
    return found


def types(deeds: Deeds | Refused) -> list[tuple[str, str]]:
    return [(fact.type, fact.subject) for fact in facts(deeds)]


def why(answer: Deeds | Refused) -> Refused:
    assert isinstance(answer, Refused)
    return answer
