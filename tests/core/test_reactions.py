"""Local rules and life safety: the table of the order, fire, commands, sirens, silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.alarms import Alarm
from gateway.core.hardware import Deed, Door, Egress, FireOpens, LockType, ReactionRule
from gateway.core.model import Fact, Level, Reading
from gateway.core.reactions.locks import PULSE_TAIL_US, REACH_US, REFRESH_US, RETRY_US
from gateway.core.reactions.order import (
    ON_SITE,
    TABLE,
    Ask,
    Move,
    Standing,
    decide,
    fire_frees,
    may_lock,
)
from gateway.core.reactions.reactions import UNLOCK_MS
from tests.reaction_site import (
    DOORS,
    HALL,
    LAMP,
    MAIN,
    MINUTE,
    NOBODY,
    OFFICE,
    OPEN_VAULT,
    POINTS,
    SIDE,
    SIREN,
    STORE,
    VAULT,
    S,
    Site,
    actions,
    facts,
    moved,
    stamp,
    types,
    why,
)

# --- the table -----------------------------------------------------------------------------------


def test_table_answers_every_question() -> None:
    for stands in Standing:
        assert set(TABLE[stands]) == set(Ask)
        assert set(ON_SITE[stands]) <= set(Ask)


def test_table_lets_fire_free_whatever_stands() -> None:
    for name in Standing:
        for spec in DOORS.values():
            assert decide(spec, name, Ask.FIRE) is Move.FREE


def test_table_lets_nothing_from_afar_lock_what_fire_freed() -> None:
    for spec in DOORS.values():
        for ask in set(Ask) - {Ask.RESET}:
            assert decide(spec, Standing.FIRE, ask) not in {Move.LOCK, Move.PULSE}


def test_table_locks_a_lone_magnet_only_by_a_person_on_site() -> None:
    for stands in Standing:
        for ask in Ask:
            if decide(STORE, stands, ask) is Move.LOCK:
                assert ask is Ask.RESET


@pytest.mark.parametrize(
    ("lock_type", "egress", "allowed"),
    [
        (LockType.MAGNET, Egress.NONE, False),
        (LockType.MAGNET, Egress.HANDLE, True),
        (LockType.MAGNET, Egress.HARDWIRED, True),
        (LockType.MAGNET, Egress.UNIT, True),
        (LockType.STRIKE, Egress.NONE, True),
    ],
)
def test_lock_may_be_locked_where_hardware_opens_it(
    lock_type: LockType, egress: Egress, *, allowed: bool
) -> None:
    assert may_lock(Door(lock="gpio:1", lock_type=lock_type, egress=egress)) is allowed


@pytest.mark.parametrize(
    ("spec", "freed"),
    [
        (MAIN, True),
        (HALL, True),
        (SIDE, False),
        (replace(SIDE, fire_opens=FireOpens.BOTH), True),
        (replace(OFFICE, fire_opens=FireOpens.BOTH), True),
        (OFFICE, False),
        (STORE, False),
        (replace(VAULT, fire_release="smoke"), False),
        (replace(MAIN, lock=None), False),
    ],
)
def test_fire_frees_what_the_panel_does_not(spec: Door, *, freed: bool) -> None:
    assert fire_frees(spec) is freed


# --- fire ----------------------------------------------------------------------------------------


def test_fire_frees_its_doors_at_once_and_first() -> None:
    deeds = Site().fire(at_us=7)
    assert moved(deeds) == {"main": "free", "hall": "free"}
    assert {action.urgency for action in actions(deeds)} == {Urgency.LIFE}
    assert {action.not_after_us for action in actions(deeds)} == {7 + REACH_US}


def test_fire_at_another_point_frees_them_too() -> None:
    assert moved(Site().fire(point="heat")) == {"main": "free", "hall": "free"}


def test_fire_of_a_silent_point_frees_them_too() -> None:
    site = Site(SIREN)
    assert moved(site.raised("fire", "smoke", silent=True)) == {"main": "free", "hall": "free"}


def test_fire_frees_a_door_without_way_out_by_an_explicit_rule() -> None:
    assert moved(Site(OPEN_VAULT).fire())["vault"] == "free"


def test_fire_rule_that_names_no_door_frees_all_that_people_leave_by() -> None:
    site = Site(ReactionRule("alarm.fire.raised", Deed.RELEASE))
    assert set(moved(site.fire())) == {"main", "hall", "side", "office"}


def test_fire_nobody_answers_frees_what_the_rule_says() -> None:
    site = Site(ReactionRule("alarm.fire.unanswered", Deed.RELEASE, doors=("office",)))
    site.fire()
    deeds = site.engine.unanswered("smoke", "fire", silent=False, at_us=S)
    assert moved(deeds) == {"office": "free"}
    assert site.engine.freed("office") == "fire"


def test_fire_freed_door_is_told_once() -> None:
    site = Site()
    told = site.done(site.fire(), 5)
    assert types(told) == [("state.door.released", "main"), ("state.door.released", "hall")]
    assert facts(told)[0].data == {"by": "fire", "outcome": "confirmed"}
    assert site.done(site.fire(point="heat"), 9) == []


def test_fire_that_clears_moves_nothing() -> None:
    site = Site()
    site.done(site.fire())
    assert site.fire_over(S) == []
    assert actions(site.engine.wake(10 * MINUTE)) == []
    assert site.engine.freed("main") == "fire"


def test_fire_freed_door_is_locked_by_the_key_when_no_fire_is_open() -> None:
    site = Site()
    site.done(site.fire())
    site.fire(point="heat")
    site.fire_over()
    assert actions(site.key()) == []
    site.fire_over(point="heat")
    deeds = site.key()
    assert moved(deeds) == {"main": "locked", "hall": "locked"}
    assert site.engine.freed("main") == "fire"
    assert types(site.done(deeds))[0] == ("state.door.locked", "main")
    assert site.engine.freed("main") is None


def test_fire_freed_door_whose_relock_failed_is_freed_again() -> None:
    """Nobody knows what its lock does: then it had better be known to be free."""
    site = Site()
    site.done(site.fire())
    site.fire_over()
    assert types(site.done(site.key(), S, Outcome.MISMATCH))[0] == ("state.door.failed", "main")
    assert site.engine.freed("main") == "fire"
    assert moved(site.engine.wake(S + RETRY_US)) == {"main": "free", "hall": "free"}


@pytest.mark.parametrize("command", ["unlock", "release", "lock"])
def test_fire_freed_door_obeys_no_command(command: str) -> None:
    site = Site()
    site.fire()
    refused = why(getattr(site, command)("main"))
    assert "fire" in refused.why
    assert refused.accepts == ("reset-key",)


def test_fire_release_that_failed_is_asked_again_and_told_once() -> None:
    site = Site()
    assert len(site.done(site.fire(), S, Outcome.FAILED)) == 2
    assert site.engine.deadline() == S + RETRY_US
    again = site.engine.wake(S + RETRY_US)
    assert moved(again) == {"main": "free", "hall": "free"}
    assert {action.not_after_us for action in actions(again)} == {S + RETRY_US + REACH_US}
    assert site.done(again, 4 * S, Outcome.EXPIRED) == []
    assert types(site.done(site.engine.wake(7 * S), 7 * S))[0] == ("state.door.released", "main")


def test_fire_release_without_any_result_is_asked_again() -> None:
    site = Site()
    site.fire()
    assert moved(site.engine.wake(REACH_US + RETRY_US)) == {"main": "free", "hall": "free"}


def test_fire_release_goes_on_after_the_alarm_cleared() -> None:
    site = Site()
    site.done(site.fire(), 0, Outcome.LOCKED)
    site.fire_over(S)
    assert moved(site.engine.wake(RETRY_US)) == {"main": "free", "hall": "free"}


def test_fire_release_is_driven_again_as_soon_as_the_unit_is_back() -> None:
    site = Site()
    site.done(site.fire())
    back = site.engine.told(Fact("fault.unit-silent.cleared", "unit", 5 * S))
    assert moved(back) == {"main": "free", "hall": "free"}
    assert site.engine.unit_back("annex", at_us=5 * S) == []


def test_unit_that_is_back_does_not_undo_the_key() -> None:
    site = Site()
    site.done(site.fire())
    site.fire_over()
    site.key(S)
    assert site.engine.unit_back("unit", at_us=2 * S) == []


def test_fire_release_replaced_by_its_own_repetition_is_no_failure() -> None:
    site = Site()
    first = site.fire()
    site.engine.unit_back("unit", at_us=1)
    assert site.done(first, 1, Outcome.REPLACED) == []


def test_fire_release_is_refreshed_while_the_alarm_is_open() -> None:
    """A unit that restarted between two reads has forgotten it."""
    site = Site()
    site.done(site.fire())
    again = site.engine.wake(REFRESH_US)
    assert moved(again) == {"main": "free", "hall": "free"}
    assert site.done(again, REFRESH_US) == []
    site.fire_over(REFRESH_US)
    assert site.engine.wake(2 * REFRESH_US) == []
    assert site.engine.deadline() is None


def test_fire_release_outlives_a_timed_opening_that_ends_in_the_unit() -> None:
    site = Site()
    site.done(site.unlock("main"), S)
    site.done(site.fire(2 * S), 2 * S)
    end_us = S + MAIN.unlock_ms * 1_000
    assert moved(site.engine.wake(end_us + PULSE_TAIL_US)) == {"main": "free"}


def test_fire_freed_lock_seen_locked_is_driven_again() -> None:
    site = Site()
    site.done(site.fire(), 1)
    seen = Reading("unit/main-lock", Level.NORMAL, 3 * S)
    assert moved(site.engine.seen(seen)) == {"main": "free"}
    assert site.engine.seen(replace(seen, at_us=4 * S)) == []


@pytest.mark.parametrize("level", [Level.ACTIVE, Level.UNKNOWN])
def test_fire_freed_lock_seen_free_or_not_at_all_is_left(level: Level) -> None:
    site = Site()
    site.done(site.fire(), 1)
    assert site.engine.seen(Reading("unit/main-lock", level, 3 * S)) == []


def test_lock_seen_too_soon_after_it_was_driven_waits() -> None:
    site = Site()
    site.done(site.fire(), 1)
    assert site.engine.seen(Reading("unit/main-lock", Level.NORMAL, S)) == []
    assert site.engine.deadline() == RETRY_US


def test_lock_that_fire_did_not_free_may_be_seen_as_it_likes() -> None:
    assert Site().engine.seen(Reading("unit/main-lock", Level.NORMAL, S)) == []


def test_door_the_panel_frees_counts_as_free_while_the_fire_is_open() -> None:
    site = Site()
    assert site.engine.freed("side") is None
    site.fire()
    assert site.engine.freed("side") == "fire"
    site.fire_over()
    assert site.engine.freed("side") is None
    assert site.engine.freed("nowhere") is None


# --- commands ------------------------------------------------------------------------------------


def test_unlock_is_one_timed_action() -> None:
    site = Site()
    (action,) = actions(site.unlock("main"))
    assert (action.on, action.for_ms, action.cause) == (True, MAIN.unlock_ms, "c1")
    assert action.not_after_us == 5 * S
    (fact,) = facts(site.done([action], S))
    assert (fact.type, fact.data["for_ms"], fact.data["by"]) == (
        "state.door.unlocked",
        MAIN.unlock_ms,
        "c1",
    )
    assert site.engine.freed("main") is None


def test_unlock_of_a_magnet_takes_its_power_for_a_time() -> None:
    (action,) = actions(Site().unlock("hall", for_ms=700))
    assert (action.on, action.for_ms) == (False, 700)


@pytest.mark.parametrize("for_ms", [UNLOCK_MS[0] - 1, UNLOCK_MS[1] + 1])
def test_unlock_for_an_absurd_time_is_refused(for_ms: int) -> None:
    assert "door.release" in why(Site().unlock("main", for_ms=for_ms)).accepts


def test_unlock_of_a_released_door_is_refused_because_its_end_would_lock() -> None:
    site = Site()
    site.done(site.release("main"))
    assert why(site.unlock("main")).accepts == ("door.lock",)


def test_release_stands_until_it_is_known_to_be_locked() -> None:
    site = Site()
    assert types(site.done(site.release("main"))) == [("state.door.released", "main")]
    assert site.engine.freed("main") == "command"
    locking = site.lock("main")
    assert site.engine.freed("main") == "command"
    site.done(locking)
    assert site.engine.freed("main") is None


def test_release_that_failed_does_not_stand_and_is_not_asked_again() -> None:
    site = Site()
    (fact,) = facts(site.done(site.release("main"), S, Outcome.EXPIRED))
    assert fact.data == {"wanted": "released", "by": "c2", "outcome": "expired", "why": "why not"}
    assert site.engine.freed("main") is None
    assert site.engine.deadline() is None
    assert site.engine.unit_back("unit", at_us=2 * S) == []


def test_release_that_stood_before_stands_on_when_its_repetition_fails() -> None:
    site = Site()
    site.done(site.release("main"))
    site.done(site.release("main", S), S, Outcome.FAILED)
    assert site.engine.freed("main") == "command"


def test_release_asked_twice_and_done_never_does_not_stand() -> None:
    site = Site()
    first = site.release("main")
    site.done(site.release("main", S), S, Outcome.FAILED)
    site.done(first, S, Outcome.REPLACED)
    assert site.engine.freed("main") is None


def test_command_that_another_took_the_place_of_is_told() -> None:
    site = Site()
    first = site.unlock("main")
    site.lock("main")
    (fact,) = facts(site.done(first, 1, Outcome.REPLACED))
    assert (fact.type, fact.data["outcome"]) == ("state.door.failed", "replaced")


def test_accepted_is_told_apart_from_confirmed() -> None:
    site = Site()
    (fact,) = facts(site.done(site.lock("main"), 1, Outcome.ACCEPTED))
    assert fact.data["outcome"] == "accepted"


def test_command_that_came_too_late_is_refused() -> None:
    answer = Site().engine.lock("main", not_after_us=5, at_us=5, cause="c")
    assert "late" in why(answer).why


def test_command_never_reaches_further_than_ten_seconds() -> None:
    answer = Site().engine.lock("main", not_after_us=MINUTE, at_us=0, cause="c")
    assert actions(answer)[0].not_after_us == REACH_US


@pytest.mark.parametrize("name", ["nowhere", "curtain", "smoke"])
def test_command_to_what_has_no_lock_is_refused(name: str) -> None:
    assert name in why(Site().unlock(name)).why


def test_lone_magnet_that_was_released_is_locked_by_the_key_alone() -> None:
    site = Site()
    assert why(site.lock("store")).accepts == ()
    site.done(site.release("store"))
    assert why(site.lock("store")).accepts == ("reset-key",)
    assert why(site.unlock("store")).accepts == ("reset-key",)
    assert moved(site.key()) == {"store": "locked"}


def test_key_leaves_what_a_command_released_elsewhere() -> None:
    site = Site()
    site.done(site.release("main"))
    assert site.key() == []


# --- rules, sirens and lamps ---------------------------------------------------------------------


def test_siren_and_lamp_begin_with_their_alarm_and_are_bounded() -> None:
    siren, lamp = actions(Site(SIREN, LAMP).raised("panic", "reception"))
    assert (siren.output, siren.on, siren.for_ms) == ("unit/siren", True, 90_000)
    assert (lamp.urgency, lamp.for_ms) == (Urgency.COMFORT, 30_000)


def test_siren_is_held_to_thirty_minutes() -> None:
    (action,) = actions(Site(replace(SIREN, for_ms=10**9)).raised("panic", "reception"))
    assert action.for_ms == 1_800_000


@pytest.mark.parametrize("ending", ["alarm.panic.cleared", "state.alarm.closed"])
def test_siren_ends_with_its_alarm(ending: str) -> None:
    site = Site(SIREN)
    site.raised("panic", "reception", alarm="a1")
    (action,) = actions(site.engine.told(Fact(ending, "reception", S, alarm="a1")))
    assert (action.output, action.on) == ("unit/siren", False)


def test_siren_goes_on_when_a_person_only_acknowledged() -> None:
    site = Site(SIREN)
    site.raised("panic", "reception", alarm="a1")
    assert site.engine.told(Fact("state.alarm.acknowledged", "reception", S, alarm="a1")) == []


def test_siren_goes_on_for_the_other_alarm() -> None:
    site = Site(SIREN)
    site.raised("panic", "reception", 0, alarm="a1")
    site.raised("panic", "reception", 60 * S, alarm="a2")
    (action,) = actions(site.cleared("panic", "reception", "a2", 80 * S))
    assert (action.on, action.for_ms) == (True, 10_000)


def test_siren_that_had_its_time_is_not_switched_off_again() -> None:
    site = Site(SIREN)
    site.raised("panic", "reception", alarm="a1")
    assert site.cleared("panic", "reception", "a1", 91 * S) == []


def test_siren_that_failed_is_told() -> None:
    site = Site(SIREN)
    (fact,) = facts(site.done(site.raised("panic", "reception"), S, Outcome.FAILED))
    assert (fact.type, fact.subject) == ("state.output.failed", "unit/siren")
    assert fact.data["wanted"] == "on"


def test_siren_without_an_output_is_passed_over() -> None:
    assert Site(replace(SIREN, output=None)).raised("panic", "reception") == []


def test_siren_that_sounds_is_not_told() -> None:
    site = Site(SIREN)
    assert site.done(site.raised("panic", "reception")) == []


def test_unanswered_alarm_runs_its_rules_once() -> None:
    site = Site(NOBODY)
    site.raised("panic", "reception", alarm="a1")
    (bell,) = actions(site.engine.unanswered("a1", "panic", silent=False, at_us=S))
    assert bell.output == "unit/bell"
    assert site.engine.unanswered("a1", "panic", silent=False, at_us=2 * S) == []


def test_unanswered_alarm_that_is_over_runs_nothing() -> None:
    site = Site(NOBODY)
    site.raised("panic", "reception", alarm="a1")
    site.cleared("panic", "reception", "a1")
    assert site.engine.unanswered("a1", "panic", silent=False, at_us=S) == []


def test_rule_release_stands_like_a_command_and_yields_to_lockdown() -> None:
    site = Site(ReactionRule("fault.mains.raised", Deed.RELEASE, doors=("office",)))
    assert moved(site.engine.told(Fact("fault.mains.raised", "mains", 0))) == {"office": "free"}
    assert site.engine.freed("office") == "rule"
    site.done(site.lockdown("office"))
    assert site.engine.told(Fact("fault.mains.raised", "mains", S)) == []


def test_rule_never_acts_on_what_the_engine_itself_told() -> None:
    site = Site(ReactionRule("state.mode.begun", Deed.LOCKDOWN))
    assert site.engine.told(Fact("state.mode.begun", "lockdown", 0)) == []


def test_held_warning_sounds_at_its_door_until_it_closes() -> None:
    site = Site()
    (action,) = actions(site.engine.told(Fact("access.held-warning", "main", 0)))
    assert (action.output, action.for_ms) == ("unit/buzzer", 8_000)
    (off,) = actions(site.engine.told(Fact("access.closed", "main", S)))
    assert (off.output, off.on) == ("unit/buzzer", False)


def test_held_warning_is_mute_where_nothing_sounds_or_the_door_is_free() -> None:
    site = Site()
    assert site.engine.told(Fact("access.held-warning", "hall", 0)) == []
    site.fire()
    assert site.engine.told(Fact("access.held-warning", "main", 0)) == []


# --- silence -------------------------------------------------------------------------------------

EVERYTHING = tuple(
    ReactionRule(on, deed, output="unit/siren", doors=("office",))
    for deed in Deed
    for on in (
        "alarm.hold-up.raised",
        "alarm.hold-up.repeated",
        "alarm.hold-up.unanswered",
        "alarm.hold-up.cleared",
        "fault.stuck.raised",
        "fault.wiring.raised",
        "fault.delivery.raised",
        "fault.path.raised",
        "fault.storage.raised",
    )
)


def test_silent_alarm_moves_nothing_from_its_press_to_its_end() -> None:
    site = Site(*EVERYTHING)
    life = [
        Fact("alarm.hold-up.raised", "till", 0, alarm="a1", data={"silent": True}),
        Fact("alarm.hold-up.repeated", "till", 1, alarm="a1"),
        Fact("fault.stuck.raised", "till", 2),
        Fact("fault.wiring.raised", "till", 2),
        Fact("fault.delivery.raised", "security", 3, data={"alarm": "a1"}),
        Fact("fault.path.raised", "campus", 3),
        Fact("fault.storage.raised", "ledger", 3),
        Fact("state.alarm.closed", "till", 4, alarm="a1"),
        Fact("alarm.hold-up.cleared", "till", 5, alarm="a1"),
    ]
    for fact in life[:-2]:
        assert site.engine.told(fact) == []
    assert site.engine.unanswered("a1", "hold-up", silent=False, at_us=4) == []
    for fact in life[-2:]:
        assert site.engine.told(fact) == []


def test_silence_is_known_by_the_fact_when_the_point_has_changed_since() -> None:
    loud = [replace(p, silent=False) if p.id == "till" else p for p in POINTS]
    site = Site(*EVERYTHING, points=loud)
    assert site.raised("hold-up", "till", alarm="a1", silent=True) == []
    assert site.engine.unanswered("a1", "hold-up", silent=False, at_us=1) == []
    assert site.raised("hold-up", "till", alarm="a2")


def test_silence_survives_a_restart() -> None:
    site = Site(*EVERYTHING)
    open_alarms = [Alarm("a1", "till", "hold-up", silent=True), Alarm("a2", "till", "hold-up")]
    site.engine.restore({}, open_alarms, now_us=0, stamp=stamp(0))
    for name in ("a1", "a2"):
        assert site.engine.unanswered(name, "hold-up", silent=False, at_us=1) == []


def test_revision_rises_with_everything_worth_keeping() -> None:
    site = Site()
    seen = [site.engine.revision]
    happenings: tuple[Callable[[], object], ...] = (
        lambda: site.done(site.release("office")),
        lambda: site.done(site.lock("office")),
        site.fire,
        lambda: site.lockdown(until_us=5 * MINUTE),
        lambda: site.engine.wake(MINUTE),
        lambda: site.engine.wake(2 * MINUTE),
        lambda: site.engine.lockdown_end(at_us=MINUTE, by="x"),
    )
    for happen in happenings:
        happen()
        seen.append(site.engine.revision)
    assert seen == sorted(set(seen))


def test_result_of_a_stranger_is_passed_over() -> None:
    assert Site().engine.result(Result("x9", Outcome.FAILED, 0)) == []


def test_action_without_any_result_is_forgotten_in_time() -> None:
    site = Site(SIREN)
    first = [*actions(site.release("office")), *actions(site.raised("panic", "reception"))]
    site.done(site.release("office", 10 * MINUTE), 10 * MINUTE)
    site.raised("panic", "reception", 10 * MINUTE)
    assert site.done(list[Action | Fact](first), 10 * MINUTE, Outcome.FAILED) == []


# --- timed openings over a restart ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["main", "hall"])
def test_timed_opening_cut_off_by_a_restart_is_ended_by_it(name: str) -> None:
    """A unit that cannot time an opening itself would stay released."""
    site = Site()
    site.done(site.unlock(name))
    later = site.restarted(S)
    assert moved(later.deeds) == {name: "locked"}
    later.done(later.deeds, S)
    assert later.restarted(2 * S).deeds == []


def test_timed_opening_seen_to_end_is_not_ended_again() -> None:
    site = Site()
    site.done(site.unlock("main"))
    assert MAIN.lock is not None
    site.engine.seen(Reading(MAIN.lock, Level.ACTIVE, S))
    assert site.restarted(2 * S).deeds
    site.engine.seen(Reading(MAIN.lock, Level.NORMAL, 5 * S))
    assert site.restarted(6 * S).deeds == []


def test_timed_opening_that_became_a_release_is_left_free() -> None:
    site = Site()
    site.done(site.unlock("main"))
    site.done(site.release("main", S), S)
    assert site.restarted(2 * S).deeds == []
    site.fire(3 * S)
    assert "locked" not in moved(site.restarted(4 * S).deeds).values()


def test_timed_opening_cut_off_is_ended_until_it_is_so() -> None:
    """A silent unit: asked again, told once, and at once when the unit is back."""
    site = Site()
    site.done(site.unlock("main"))
    later = site.restarted(S)
    (failed,) = later.done(later.deeds, S, Outcome.EXPIRED)
    assert types([failed]) == [("state.door.failed", "main")]
    due_us = later.engine.deadline()
    assert due_us == S + RETRY_US
    again = later.engine.wake(due_us)
    assert moved(again) == {"main": "locked"}
    assert later.done(again, due_us, Outcome.EXPIRED) == []
    back = later.engine.unit_back("unit", at_us=9 * S)
    assert moved(back) == {"main": "locked"}
    later.done(back, 9 * S)
    assert later.engine.deadline() is None


def test_timed_opening_of_a_lone_magnet_is_left_to_people_on_site() -> None:
    site = Site()
    site.done(site.unlock("store"))
    assert site.restarted(S).deeds == []
