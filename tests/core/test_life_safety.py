"""A walk through any interleaving of fire, lockdown, commands, lost units and restarts.

A small world applies the engine's actions to locks and looks on with its own eyes: it knows which
doors people may have to leave by, and not how the engine comes to what it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.action import Action, Outcome, Result
from gateway.core.alarms import Register
from gateway.core.hardware import (
    Deed,
    Door,
    Egress,
    FireOpens,
    LockType,
    ReactionRule,
    device_of,
)
from gateway.core.model import AlarmState, Fact, Json, Level, Reading, Stamp
from gateway.core.monitor import Confirmed
from gateway.core.premises import Input, LedgerSpec, Point, PointKind, Premises
from gateway.core.reactions.reactions import Deeds, Reactions, Refused

S = 1_000_000
MAX_MS = 120_000
REACH_US = 10 * S
LONGEST_SOUND_MS = 1_800_000
SETTLED_US = 3 * S
"""A unit that has been well for so long has no excuse: one attempt every two seconds."""

DOORS = {
    "main": Door(lock="unit/main", egress=Egress.HARDWIRED, fire_release="smoke"),
    "hall": Door(
        lock="unit/hall",
        lock_type=LockType.MAGNET,
        egress=Egress.HANDLE,
        fire_release="smoke",
        fire_opens=FireOpens.BOTH,
    ),
    "lab": Door(
        lock="annex/lab", lock_type=LockType.MAGNET, egress=Egress.UNIT, fire_release="heat"
    ),
    "wing": Door(
        lock="annex/wing",
        egress=Egress.HARDWIRED,
        fire_release="hardwired",
        fire_opens=FireOpens.BOTH,
    ),
    "side": Door(lock="annex/side", egress=Egress.HARDWIRED, fire_release="hardwired"),
    "office": Door(lock="unit/office", egress=Egress.HANDLE, sounder="unit/buzzer"),
    "store": Door(lock="unit/store", lock_type=LockType.MAGNET, egress=Egress.NONE),
    "vault": Door(lock="annex/vault", egress=Egress.NONE),
}
FREED_BY_FIRE = ("main", "hall", "lab", "wing", "vault")
LONE_MAGNET = "store"
LOCKS = {spec.lock: name for name, spec in DOORS.items()}
UNITS = ("unit", "annex")
FIRES = ("smoke", "heat")
SILENT = ("till", "quiet-closing")
PRESSED = ("reception", "closing", *SILENT)
KINDS = {
    "smoke": PointKind.FIRE,
    "heat": PointKind.FIRE,
    "reception": PointKind.PANIC,
    "closing": PointKind.LOCKDOWN,
    "till": PointKind.HOLD_UP,
    "quiet-closing": PointKind.LOCKDOWN,
    "key": PointKind.RESET_KEY,
}
RULES = (
    ReactionRule("alarm.fire.raised", Deed.RELEASE, doors=("vault",)),
    ReactionRule("alarm.fire.raised", Deed.SOUND, output="annex/siren"),
    ReactionRule("alarm.panic.raised", Deed.LIGHT, output="unit/lamp", for_ms=20_000),
    ReactionRule("alarm.panic.unanswered", Deed.SOUND, output="annex/siren"),
    ReactionRule("alarm.panic.unanswered", Deed.RELEASE, doors=("office", "store")),
    ReactionRule("alarm.lockdown.raised", Deed.LOCKDOWN),
    ReactionRule("alarm.hold-up.raised", Deed.SOUND, output="annex/siren"),
    ReactionRule("alarm.hold-up.unanswered", Deed.LIGHT, output="unit/lamp"),
    ReactionRule("alarm.hold-up.repeated", Deed.RELEASE, doors=("side",)),
    ReactionRule("alarm.lockdown.unanswered", Deed.LIGHT, output="unit/lamp"),
    ReactionRule("fault.stuck.raised", Deed.LIGHT, output="unit/lamp"),
    ReactionRule("fault.delivery.raised", Deed.LIGHT, output="unit/lamp"),
)
PREMISES = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway="school-12-main",
    key_file="",
    ledger=LedgerSpec(""),
    points=(
        *(Point(n, PointKind.DOOR, Input(f"gpio:{n}"), door=spec) for n, spec in DOORS.items()),
        *(
            Point(name, kind, Input(normally_open=f"gpio:{name}"), silent=name in SILENT)
            for name, kind in KINDS.items()
        ),
    ),
    uplinks=(),
    routes=(),
    reactions=RULES,
    lockdown_max_ms=MAX_MS,
)

Step: TypeAlias = tuple[str, str, int]
"""What happens, to what, and a number: how long, how many, or which of several ways."""

NOTHING: Step = ("nothing", "", 0)
STEPS = st.one_of(
    st.tuples(st.just("press"), st.sampled_from((*FIRES, *PRESSED, "key")), st.just(0)),
    st.tuples(st.just("rest"), st.sampled_from((*FIRES, *PRESSED, "key")), st.just(0)),
    st.tuples(st.just("turn"), st.just("key"), st.just(0)),
    st.tuples(st.just("unanswered"), st.sampled_from(PRESSED), st.just(0)),
    st.tuples(st.just("close"), st.sampled_from(PRESSED), st.just(0)),
    st.tuples(st.just("betray"), st.sampled_from(SILENT), st.integers(0, 1)),
    st.tuples(
        st.sampled_from(("unlock", "release", "lock")),
        st.sampled_from(tuple(DOORS)),
        st.integers(1, 20),
    ),
    st.tuples(st.just("warn"), st.just("office"), st.just(0)),
    st.tuples(st.just("lockdown"), st.sampled_from(("all", "main", "store")), st.integers(1, 300)),
    st.tuples(st.just("lockdown-end"), st.just(""), st.just(0)),
    st.tuples(
        st.sampled_from(("silent", "refusing", "stuck", "locked", "well", "reboot")),
        st.sampled_from(UNITS),
        st.just(0),
    ),
    st.tuples(st.just("look"), st.sampled_from(tuple(DOORS)), st.just(0)),
    st.tuples(st.sampled_from(("restart", "power-cut")), st.just(""), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from((0, 1, 3, 8, 31, 70))),
)
WALKS = st.lists(STEPS, min_size=8, max_size=50)


@dataclass(slots=True)
class Unit:
    """One unit on the bus. mode: what it does with a request. well_us: well since then."""

    mode: str = "well"
    well_us: int = 0


@dataclass(slots=True)
class World:
    """A gateway's engine with real locks behind it, seen from outside.

    now_us is true time; the gateway's own clock reads `now_us - off_us`. must_free: the doors that
    fire has freed and nobody on site has relocked. lockdown_us: running time left of the mode.
    """

    now_us: int = 1_000 * S
    off_us: int = 0
    boot: int = 0
    engine: Reactions = field(default_factory=lambda: Reactions(PREMISES))
    register: Register = field(default_factory=lambda: Register(PREMISES.points))
    units: dict[str, Unit] = field(default_factory=lambda: {name: Unit() for name in UNITS})
    on: dict[str, bool] = field(default_factory=dict)
    ends: dict[str, tuple[int, bool]] = field(default_factory=dict)
    slipped_us: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, Action] = field(default_factory=dict)
    must_free: set[str] = field(default_factory=set)
    fire_us: int | None = None
    lockdown_us: int | None = None
    kept: dict[str, Json] = field(default_factory=dict)
    kept_before: dict[str, Json] = field(default_factory=dict)
    kept_us: int = 0
    kept_revision: int = -1
    pressed: dict[str, str] = field(default_factory=dict)
    cut_off: list[str] = field(default_factory=list)
    ids: int = 0
    diary: list[tuple[int, Action]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Every door starts locked."""
        for spec in DOORS.values():
            assert spec.lock is not None
            self.on[spec.lock] = spec.energised(released=False)
        for name in KINDS:
            self.register.confirm(
                Confirmed(name, Level.NORMAL, self.clock_us, initial=True), new_id="none"
            )
        self.save()

    @property
    def clock_us(self) -> int:
        """What the gateway's clock reads."""
        return self.now_us - self.off_us

    @property
    def fire(self) -> bool:
        return any(alarm.kind == "fire" for alarm in self.register.open)

    def stamp(self) -> Stamp:
        synchronised = self.boot % 2 == 0
        return Stamp(
            self.now_us // 1_000 if synchronised else 5,
            synchronised,
            None,
            f"{self.boot:08x}",
            self.clock_us // 1_000,
        )

    def save(self) -> None:
        """As the daemon does: whenever the engine says that it is worth it."""
        if self.engine.revision != self.kept_revision:
            kept = self.engine.memory(now_us=self.clock_us, stamp=self.stamp())
            self.kept_before, self.kept_us = self.kept, self.now_us
            self.kept = json.loads(json.dumps(kept))
            self.kept_revision = self.engine.revision

    # --- one step --------------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        self.ids += 1
        if step != NOTHING:
            self.happen(*step)
        self.save()
        self.judge()

    def happen(self, what: str, subject: str, number: int) -> None:
        match what:
            case "press" | "rest" | "turn":
                self.confirm(what, subject)
            case "unanswered" | "close":
                self.answered(what, subject)
            case "betray":
                kind, whose = (("stuck", subject), ("delivery", "security"))[number]
                self.tell([Fact(f"fault.{kind}.raised", whose, self.clock_us)])
            case "warn":
                self.tell([Fact("access.held-warning", subject, self.clock_us)])
            case "unlock" | "release" | "lock":
                self.command(what, subject, number)
            case "lockdown" | "lockdown-end":
                self.mode(what, subject, number)
            case "wait":
                self.pass_time(number * S)
            case "look":
                self.look(subject)
            case "restart" | "power-cut":
                self.restart(cut=what == "power-cut", unsure=number == 1)
            case _:
                self.trouble(what, subject)

    def answered(self, what: str, point: str) -> None:
        """People close an alarm, or nobody answers it."""
        at_us = self.clock_us
        for alarm in [alarm for alarm in self.register.open if alarm.point == point]:
            if what == "close":
                self.tell(self.register.answer(alarm.id, AlarmState.CLOSED, at_us=at_us, data={}))
                continue
            deeds = self.engine.unanswered(alarm.id, alarm.kind, silent=alarm.silent, at_us=at_us)
            self.obey(deeds, locks=False)

    def confirm(self, what: str, point: str) -> None:
        """A contact is confirmed; a turned key is one that is turned back at once."""
        levels = {"press": [Level.ACTIVE], "rest": [Level.NORMAL]}.get(
            what, [Level.NORMAL, Level.ACTIVE, Level.NORMAL]
        )
        for level in levels:
            if self.pressed.get(point, Level.NORMAL) is level:
                continue
            self.pressed[point] = level
            confirmed = Confirmed(point, level, self.clock_us)
            self.tell(self.register.confirm(confirmed, new_id=f"alarm-{self.ids}"))

    def tell(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            if fact.type == "alarm.fire.raised":
                self.must_free.update(FREED_BY_FIRE)
                self.fire_us = self.now_us
            turned = fact.type == "state.reset-key.turned"
            # the register is ahead of the engine by what it says in the same breath
            relocks = turned and not self.fire
            if relocks:
                self.must_free.clear()
            if turned:
                self.lockdown_us = None
            deeds = self.engine.told(fact)
            if turned:
                assert self.engine.lockdown is None
            mode = fact.type == "alarm.lockdown.raised" and not fact.data.get("silent")
            if mode:
                self.lockdown_us = MAX_MS * 1_000
            self.obey(deeds, locks=relocks or mode, on_site=relocks)

    def command(self, what: str, door: str, number: int) -> None:
        at_us = self.clock_us
        reach_us = at_us + number * S
        if what == "unlock":
            answer = self.engine.unlock(
                door, for_ms=number * 1_000, not_after_us=reach_us, at_us=at_us, cause="desk"
            )
        elif what == "release":
            answer = self.engine.release(door, not_after_us=reach_us, at_us=at_us, cause="desk")
        else:
            answer = self.engine.lock(door, not_after_us=reach_us, at_us=at_us, cause="desk")
        if door in self.must_free:
            assert isinstance(answer, Refused), f"{what} of a door that fire has freed"
            assert answer.accepts == ("reset-key",)
        over = self.engine.lockdown
        if over and door in over.doors and what != "lock":
            assert isinstance(answer, Refused), f"{what} in a lockdown"
        if not isinstance(answer, Refused):
            self.obey(answer, locks=what == "lock")

    def mode(self, what: str, doors: str, number: int) -> None:
        at_us = self.clock_us
        if what == "lockdown":
            named = () if doors == "all" else (doors,)
            until_us = at_us + number * S
            answer = self.engine.lockdown_begin(
                named, until_us=until_us, at_us=at_us, cause="desk", by="desk"
            )
            assert not isinstance(answer, Refused)
            length_us = min(number * S, MAX_MS * 1_000)
            self.lockdown_us = max(length_us, self.lockdown_us or 0)
            self.obey(answer, locks=True)
            return
        answer = self.engine.lockdown_end(at_us=at_us, by="desk")
        if not isinstance(answer, Refused):
            assert not [deed for deed in answer if isinstance(deed, Action)]
        self.lockdown_us = None

    def look(self, door: str) -> None:
        """The driver reads the lock's output."""
        output = DOORS[door].lock
        assert output is not None
        if self.unit(output).mode in {"well", "stuck"}:
            level = Level.ACTIVE if self.on[output] else Level.NORMAL
            self.obey(self.engine.seen(Reading(output, level, self.clock_us)), locks=False)

    def restart(self, *, cut: bool, unsure: bool) -> None:
        """The gateway stops and starts. cut: its machine too.

        unsure: after a cut, the clock is not to be trusted; else, what was kept last is lost.
        """
        if unsure and not cut and self.fire and self.kept_us == self.now_us:
            self.kept["free"] = self.kept_before.get("free", {})
        self.waiting.clear()
        if cut:
            self.boot += 1 if unsure else 2
            self.now_us += 20 * S
            self.off_us = self.now_us - S
            if unsure and self.lockdown_us is not None:
                self.lockdown_us += 20 * S  # nobody could tell that these had passed
        self.engine = Reactions(PREMISES)
        deeds = self.engine.restore(
            self.kept, self.register.open, now_us=self.clock_us, stamp=self.stamp()
        )
        timed = self.kept.get("timed", [])
        assert isinstance(timed, list)
        self.cut_off = [str(door) for door in timed]
        driven = [deed for deed in deeds if isinstance(deed, Action)]
        asked = [self.frees(action) or self.ends_opening(action) for action in driven]
        assert all(asked), "a start moved more than fire asks, or a timed opening cut off by it"
        self.kept_revision = -1
        self.obey(deeds, locks=False)

    def trouble(self, mode: str, name: str) -> None:
        """A unit falls silent, refuses, sticks, has its outputs locked, comes back or restarts."""
        unit = self.units[name]
        if mode == "reboot":
            for output in [output for output in self.on if device_of(output) == name]:
                self.on[output] = False
                self.ends.pop(output, None)
            unit.mode = "silent"
        was, unit.mode = unit.mode, mode if mode != "reboot" else "well"
        if unit.mode == "well" and was != "well":
            unit.well_us = self.now_us
        if unit.mode == "well" and was == "silent":
            self.tell([Fact("fault.unit-silent.cleared", name, self.clock_us)])

    # --- time ------------------------------------------------------------------------------------

    def pass_time(self, length_us: int) -> None:
        """Let the units answer and the engine wake, moment after moment."""
        end_us = self.now_us + length_us
        self.answer()
        while (moment_us := self.next_us()) <= end_us:
            self.forward(moment_us)
            self.answer()
            self.end_pulses()
            due_us = self.engine.deadline()
            if due_us is not None and due_us <= self.clock_us:
                self.obey(self.engine.wake(self.clock_us), locks=False)
                after_us = self.engine.deadline()
                assert after_us is None or after_us > self.clock_us, "it never sleeps"
            self.save()
            self.judge()
        self.forward(end_us)

    def end_pulses(self) -> None:
        for output, (at_us, level) in list(self.ends.items()):
            if at_us <= self.now_us:
                del self.ends[output]
                self.on[output] = level
                self.slipped_us[output] = at_us

    def next_us(self) -> int:
        due_us = self.engine.deadline()
        moments = [at_us for at_us, _ in self.ends.values()]
        if due_us is not None:
            moments.append(max(due_us + self.off_us, self.now_us))
        for action in self.waiting.values():
            late_us = action.not_after_us + self.off_us
            silent = self.unit(action.output).mode == "silent"
            moments.append(max(late_us + 1 if silent else self.now_us, self.now_us))
        return min(moments, default=1 << 62)

    def forward(self, to_us: int) -> None:
        if self.lockdown_us is not None:
            self.lockdown_us -= to_us - self.now_us
            if self.lockdown_us <= 0:
                self.lockdown_us = None
        self.now_us = to_us

    def unit(self, output: str) -> Unit:
        return self.units[device_of(output) or ""]

    def answer(self) -> None:
        """Every unit does what it does with what was asked of it."""
        for output, action in list(self.waiting.items()):
            mode = self.unit(output).mode
            late = self.clock_us > action.not_after_us
            if mode == "silent" and not late:
                continue
            if self.waiting.get(output) is not action:
                continue
            del self.waiting[output]
            outcome = {"well": Outcome.CONFIRMED, "stuck": Outcome.MISMATCH}.get(
                mode, Outcome.LOCKED if mode == "locked" else Outcome.FAILED
            )
            if late:
                outcome = Outcome.EXPIRED
            if outcome is Outcome.CONFIRMED:
                self.drive(action)
            self.conclude(action, outcome)

    def drive(self, action: Action) -> None:
        """The annex forgets no timer because it is told something else in the meantime."""
        self.on[action.output] = action.on
        if device_of(action.output) != "annex":
            self.ends.pop(action.output, None)
        if action.for_ms is not None:
            end_us = self.now_us + action.for_ms * 1_000
            self.ends[action.output] = (end_us, not action.on)

    def conclude(self, action: Action, outcome: Outcome) -> None:
        self.obey(self.engine.result(Result(action.id, outcome, self.clock_us, "")), locks=False)

    # --- what the engine does --------------------------------------------------------------------

    def frees(self, action: Action) -> bool:
        """True when an action lets a door stand free."""
        door = LOCKS.get(action.output)
        if door is None or action.for_ms is not None:
            return False
        return action.on is DOORS[door].energised(released=True)

    def ends_opening(self, action: Action) -> bool:
        """True when an action ends a timed opening that a restart has cut off."""
        return action.cause == "restart" and LOCKS.get(action.output) in self.cut_off

    def obey(self, deeds: Deeds, *, locks: bool, on_site: bool = False) -> None:
        """Hand actions to the units and facts back to the engine, watching every one.

        locks: a door may be driven to locked by this. on_site: a person stands there and asked.
        """
        for deed in deeds:
            if isinstance(deed, Fact):
                self.tell([deed])
                continue
            self.diary.append((self.now_us, deed))
            assert self.clock_us < deed.not_after_us <= self.clock_us + REACH_US
            self.watch(deed, locks=locks, on_site=on_site)
            older = self.waiting.pop(deed.output, None)
            self.waiting[deed.output] = deed
            if older is not None:
                self.conclude(older, Outcome.REPLACED)

    def watch(self, action: Action, *, locks: bool, on_site: bool) -> None:
        """One action, by itself: may it be done at all now?"""
        door = LOCKS.get(action.output)
        if door is None:
            if action.on:
                assert action.for_ms is not None
                assert 0 < action.for_ms <= LONGEST_SOUND_MS
            return
        if self.frees(action):
            return
        assert door not in self.must_free, f"{door} is locked, or will be, though fire freed it"
        if action.for_ms is not None:
            return
        again = action.cause == "lockdown" and self.lockdown_us is not None
        assert locks or again or self.ends_opening(action), f"{door} is locked by nobody's wish"
        assert on_site or door != LONE_MAGNET, "whoever is inside is locked in"

    # --- what must hold --------------------------------------------------------------------------

    def judge(self) -> None:
        """The promises, whatever has happened."""
        for door in self.must_free:
            self.judge_free(door)
        if self.engine.lockdown is None:
            return
        assert self.lockdown_us is not None, "the lockdown should have ended"
        left_us = self.engine.lockdown.until_us - self.clock_us
        assert left_us <= self.lockdown_us + S, "the lockdown lasts longer than anybody asked"

    def judge_free(self, door: str) -> None:
        """A door freed by fire is free, or its unit is lost, or it is being driven free now."""
        output = DOORS[door].lock
        assert output is not None
        assert self.engine.freed(door) == "fire"
        unit = self.unit(output)
        if unit.mode != "well" or self.fire_us is None:
            return
        slipped_us = self.slipped_us.get(output, 0)
        if self.now_us < max(unit.well_us, self.fire_us, slipped_us) + SETTLED_US:
            return
        free = self.on[output] is DOORS[door].energised(released=True)
        assert free or self.waiting.get(output) is not None, f"{door} holds people in"


def walked(steps: Sequence[Step]) -> World:
    world = World()
    for step in steps:
        world.step(step)
    return world


def without_silence(steps: Sequence[Step]) -> Iterator[Step]:
    """The same walk in which nobody touches a silent button: nothing else is different."""
    for step in steps:
        yield NOTHING if step[1] in SILENT else step


@settings(derandomize=True, deadline=None, max_examples=800)
@given(WALKS)
def test_walk_locks_nobody_in(steps: list[Step]) -> None:
    """`World` judges after every step and at every moment between."""
    world = walked(steps)
    for name in UNITS:
        world.step(("well", name, 0))
    world.step(("wait", "", 12))
    for door in world.must_free:
        output = DOORS[door].lock
        assert output is not None
        assert world.on[output] is DOORS[door].energised(released=True)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(WALKS)
def test_walk_ends_every_lockdown_and_every_sound(steps: list[Step]) -> None:
    world = walked(steps)
    for name in UNITS:
        world.step(("well", name, 0))
    for _ in range(4):
        world.step(("wait", "", 70))
    assert world.engine.lockdown is None
    sounding = [o for o, on in world.on.items() if on and o not in LOCKS]
    assert not sounding


@settings(derandomize=True, deadline=None, max_examples=500)
@given(WALKS)
def test_walk_shows_nobody_a_silent_press(steps: list[Step]) -> None:
    """Every local output, its time and its number are the same with and without the press."""
    assert walked(steps).diary == walked(list(without_silence(steps))).diary


def test_walk_sees_a_silent_press_that_is_shown() -> None:
    """The comparison can fail: a loud press on the same walk makes a difference."""
    loud: list[Step] = [("press", "reception", 0), ("wait", "", 3)]
    assert walked(loud).diary
    assert not walked([("press", "till", 0), ("wait", "", 3)]).diary


FIRE: Step = ("press", "smoke", 0)
OVER: Step = ("rest", "smoke", 0)
KEY: Step = ("turn", "key", 0)
WAIT: Step = ("wait", "", 3)
CLOSE_ALL: Step = ("lockdown", "all", 100)


def free(world: World, door: str) -> bool:
    output = DOORS[door].lock
    assert output is not None
    return world.on[output] is DOORS[door].energised(released=True)


def test_fire_in_a_lockdown_brings_people_out() -> None:
    world = walked([CLOSE_ALL, WAIT, FIRE, WAIT])
    assert {door for door in DOORS if free(world, door)} == set(FREED_BY_FIRE)


def test_fire_while_a_unit_is_away_frees_as_soon_as_it_is_back() -> None:
    away: list[Step] = [("silent", "annex", 0), FIRE, ("wait", "", 70)]
    world = walked(away)
    assert not free(world, "lab")
    for step in (("well", "annex", 0), ("wait", "", 0)):
        world.step(step)
    assert free(world, "lab")


def test_fire_release_survives_a_restart_of_everything() -> None:
    world = walked(
        [FIRE, ("power-cut", "", 1), ("reboot", "unit", 0), ("reboot", "annex", 0), WAIT]
    )
    assert all(free(world, door) for door in FREED_BY_FIRE)


def test_timer_inside_a_unit_relocks_no_door_that_fire_freed() -> None:
    world = walked([("unlock", "lab", 5), ("wait", "", 1), FIRE, ("wait", "", 8)])
    assert free(world, "lab")


def test_lockdown_that_is_over_locks_no_door_it_could_not_lock_in_time() -> None:
    steps: list[Step] = [("release", "office", 5), WAIT, ("refusing", "unit", 0), CLOSE_ALL]
    world = walked([*steps, ("lockdown-end", "", 0), ("wait", "", 1), ("well", "unit", 0), WAIT])
    assert free(world, "office")


def test_person_on_site_locks_again_after_a_fire() -> None:
    world = walked([FIRE, WAIT, OVER, KEY, WAIT])
    assert not [door for door in DOORS if free(world, door)]


def test_lockdown_ends_by_itself_over_restarts_without_a_clock() -> None:
    steps: list[Step] = [CLOSE_ALL]
    for _ in range(4):
        steps += [("wait", "", 31), ("power-cut", "", 1)]
    world = walked(steps)
    assert world.engine.lockdown is None
