"""Drills, isolation and walk tests: bounded, visible, and unable to blind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Event, Fact, Level, Stamp, Status
from gateway.core.modes import WALK_HOLD_US, Modes
from gateway.core.monitor import Confirmed
from gateway.core.premises import Input, Point, PointKind
from gateway.core.verbs import Drill

RECEPTION = Point("reception", PointKind.PANIC, Input("gpio:17"))
GYM = Point("gym", PointKind.PANIC, Input("gpio:18"))
FIRE = Point("fire-panel", PointKind.FIRE, Input(None, "gpio:5"))
MINUTE_MS = 60_000
MINUTE_US = 60_000_000
STAMP = Stamp(
    utc_ms=5_000_000, synchronised=True, error_ms=1, boot="b0070000", monotonic_ms=900_000
)


def modes() -> Modes:
    return Modes((RECEPTION, GYM, FIRE), gateway="school-12-main")


def press(point: str, at_us: int) -> Confirmed:
    return Confirmed(point, Level.ACTIVE, at_us)


def rest(point: str, at_us: int) -> Confirmed:
    return Confirmed(point, Level.NORMAL, at_us)


def raised(kind: str, alarm: str) -> Fact:
    return Fact(f"alarm.{kind}.raised", "x", 0, alarm=alarm)


# --- drills ---------------------------------------------------------------------------------------


def test_drill_makes_an_exercise_of_its_own_kind_and_of_nothing_else() -> None:
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="security/desk-1")
    assert standing.status(raised("fire", "a")) is Status.EXERCISE
    for kind in ("panic", "hold-up", "duress", "medical", "tamper"):
        assert standing.status(raised(kind, kind)) is Status.ACTUAL


def test_alarm_stays_what_it_was_raised_as() -> None:
    standing = modes()
    before = standing.status(raised("fire", "real"))
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    standing.status(raised("fire", "drill"))
    standing.end_drill(Drill.FIRE, at_us=1, by="x")
    cleared = Fact("alarm.fire.cleared", "x", 2, alarm="drill")
    answered = Fact("state.alarm.received", "x", 2, alarm="drill")
    assert before is Status.ACTUAL
    assert standing.status(replace(cleared, alarm="real")) is Status.ACTUAL
    assert standing.status(answered) is Status.EXERCISE
    assert standing.status(cleared) is Status.EXERCISE
    assert standing.status(raised("fire", "next")) is Status.ACTUAL


def test_drill_names_the_exercises_that_outlive_it() -> None:
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    standing.status(raised("fire", "a"))
    standing.status(raised("panic", "b"))
    assert standing.exercises("fire", {"a": "fire", "b": "panic", "c": "fire"}) == ["a"]


def test_drill_begins_and_ends_on_every_route_and_by_itself() -> None:
    standing = modes()
    (begun,) = standing.drill(Drill.EARTHQUAKE, for_ms=MINUTE_MS, at_us=0, by="security/desk-1")
    assert (begun.type, begun.subject, begun.to) == ("state.mode.begun", "school-12-main", ("*",))
    assert begun.data == {
        "mode": "drill",
        "subject": "earthquake",
        "for_ms": MINUTE_MS,
        "by": "security/desk-1",
    }
    assert list(standing.names) == ["drill:earthquake"]
    assert standing.deadline() == MINUTE_US
    assert standing.wake(MINUTE_US - 1) == []
    (ended,) = standing.wake(MINUTE_US)
    assert isinstance(ended, Fact)
    assert (ended.type, ended.data["by"]) == ("state.mode.ended", "time")
    assert list(standing.names) == []
    assert standing.deadline() is None


def test_drill_that_does_not_stand_cannot_be_ended() -> None:
    assert modes().end_drill(Drill.FIRE, at_us=0, by="x") == []


# --- isolation ------------------------------------------------------------------------------------


def test_isolated_point_does_not_alarm_and_says_so() -> None:
    standing = modes()
    standing.isolate("reception", for_ms=MINUTE_MS, at_us=0, by="x")
    (told,) = standing.pressed(press("reception", 5))
    assert isinstance(told, Fact)
    assert (told.type, told.subject) == ("state.isolated.active", "reception")
    assert standing.pressed(press("gym", 5)) == [press("gym", 5)]
    assert standing.isolated == ("reception",)


@pytest.mark.parametrize("by", ["time", "command"])
def test_isolated_point_still_active_at_the_end_alarms_then(by: str) -> None:
    standing = modes()
    standing.isolate("fire-panel", for_ms=MINUTE_MS, at_us=0, by="x")
    standing.pressed(press("fire-panel", 5))
    if by == "time":
        found, end_us = standing.wake(MINUTE_US), MINUTE_US
    else:
        found, end_us = standing.isolate("fire-panel", for_ms=0, at_us=77, by="x"), 77
    assert found[-1] == press("fire-panel", end_us)
    assert standing.isolated == ()


def test_isolated_point_back_at_rest_stays_quiet_at_the_end() -> None:
    standing = modes()
    standing.isolate("fire-panel", for_ms=MINUTE_MS, at_us=0, by="x")
    standing.pressed(press("fire-panel", 5))
    assert standing.pressed(rest("fire-panel", 6)) == [rest("fire-panel", 6)]
    assert [item for item in standing.wake(MINUTE_US) if isinstance(item, Confirmed)] == []


# --- walk test ------------------------------------------------------------------------------------


def test_walk_test_makes_a_test_of_one_press_and_an_alarm_of_the_second() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=MINUTE_MS, at_us=0, by="security/desk-1")
    (first,) = standing.pressed(press("reception", 5))
    assert isinstance(first, Fact)
    assert (first.type, first.subject) == ("test.panic.pressed", "reception")
    assert standing.status(first) is Status.TEST
    standing.pressed(rest("reception", 6))
    assert standing.pressed(press("reception", 7)) == [press("reception", 7)]


def test_walk_test_press_held_over_three_seconds_is_meant() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=5_000, at_us=0, by="x")
    standing.pressed(press("reception", 4_000_000))
    standing.wake(5_000_000)  # the mode is over, the finger is still there
    due_us = standing.deadline()
    assert due_us == 4_000_000 + WALK_HOLD_US
    assert standing.wake(due_us) == [press("reception", due_us)]
    assert standing.deadline() is None


def test_walk_test_press_let_go_in_time_raises_nothing() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=MINUTE_MS, at_us=0, by="x")
    standing.pressed(press("reception", 5))
    standing.pressed(rest("reception", 5 + WALK_HOLD_US - 1))
    assert [i for i in standing.wake(MINUTE_US) if isinstance(i, Confirmed)] == []


def test_walk_test_is_of_one_point_at_a_time() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=MINUTE_MS, at_us=0, by="x")
    facts = standing.walk_test("gym", for_ms=MINUTE_MS, at_us=9, by="x")
    assert [fact.type for fact in facts] == ["state.mode.ended", "state.mode.begun"]
    assert standing.names == ("walk-test:gym",)
    assert standing.pressed(press("reception", 10)) == [press("reception", 10)]


def test_walk_test_does_not_swallow_a_button_held_since_before_the_start() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=MINUTE_MS, at_us=0, by="x")
    held = replace(press("reception", 5), initial=True)
    assert standing.pressed(held) == [held]


# --- restarts -------------------------------------------------------------------------------------


def restarted(standing: Modes, later: Stamp, *, now_us: int = 0) -> tuple[Modes, list[Fact]]:
    memory = standing.memory(STAMP, 0)
    fresh = modes()
    return fresh, fresh.restore(memory, (), later, now_us)


def test_mode_survives_a_restart_with_the_time_it_had_left() -> None:
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    standing.isolate("gym", for_ms=MINUTE_MS, at_us=0, by="x")
    later = replace(STAMP, monotonic_ms=STAMP.monotonic_ms + 20_000)
    fresh, facts = restarted(standing, later, now_us=1_000)
    assert facts == []
    assert (fresh.names, fresh.isolated) == (("drill:fire",), ("gym",))
    assert fresh.deadline() == 1_000 + 40_000_000


def test_mode_whose_time_passed_while_the_gateway_was_down_ends_and_is_told() -> None:
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    later = replace(STAMP, monotonic_ms=STAMP.monotonic_ms + 90_000)
    fresh, facts = restarted(standing, later)
    assert ([fact.type for fact in facts], fresh.names) == (["state.mode.ended"], ())


def test_mode_after_a_new_boot_goes_by_utc_and_ends_where_utc_is_not_known() -> None:
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    booted = Stamp(STAMP.utc_ms + 20_000, True, 1, "b0070001", 3_000)
    assert restarted(standing, booted)[0].deadline() == 40_000_000
    assert restarted(standing, replace(booted, synchronised=False))[0].names == ()


def test_mode_after_a_new_boot_ends_where_its_end_was_written_by_a_wrong_clock() -> None:
    """A box that believed in 2099 must not keep its drill until then, boot after boot."""
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    memory = standing.memory(replace(STAMP, synchronised=False, utc_ms=10**13), 0)
    fresh = modes()
    (ended,) = fresh.restore(memory, (), Stamp(STAMP.utc_ms, True, 1, "b0070001", 3_000), 0)
    assert (ended.type, fresh.names) == ("state.mode.ended", ())


@pytest.mark.parametrize(
    "odd",
    [
        {},
        7,
        "x",
        {"name": "party", "subject": "gym", "for_ms": 1, "by": "x", "pressed": False},
        {"name": "drill", "subject": "fire", "for_ms": "long", "by": "x", "pressed": False},
    ],
)
def test_mode_that_cannot_be_read_stands_no_longer_and_stops_no_start(odd: Any) -> None:
    standing = modes()
    standing.isolate("gym", for_ms=MINUTE_MS, at_us=0, by="x")
    fresh = modes()
    assert fresh.restore([odd, *standing.memory(STAMP, 0)], (), STAMP, 0) == []
    assert (fresh.names, fresh.isolated) == ((), ("gym",))


def test_walk_test_that_had_its_press_has_had_it_after_a_restart_too() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=MINUTE_MS, at_us=0, by="x")
    standing.pressed(press("reception", 5))
    fresh, _ = restarted(standing, STAMP)
    assert fresh.pressed(press("reception", 9)) == [press("reception", 9)]


def test_exercise_outlives_its_own_drill_only() -> None:
    standing = modes()
    standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=0, by="x")
    standing.status(raised("fire", "a"))
    open_alarms = {"a": "fire", "b": "panic"}
    assert standing.outlived(open_alarms) == []
    standing.end_drill(Drill.FIRE, at_us=1, by="x")
    assert standing.outlived(open_alarms) == ["a"]


def test_walk_test_is_ended_by_its_own_name_only() -> None:
    standing = modes()
    standing.walk_test("reception", for_ms=MINUTE_MS, at_us=0, by="x")
    assert standing.walk_test("gym", for_ms=0, at_us=1, by="x") == []
    assert standing.names == ("walk-test:reception",)
    (ended,) = standing.walk_test("reception", for_ms=0, at_us=2, by="x")
    assert ended.type == "state.mode.ended"


def test_exercise_is_still_one_after_a_restart() -> None:
    fresh = modes()
    event = Event("a", "alarm.fire.raised", "fire-panel", STAMP, "a", Status.EXERCISE)
    meant = replace(event, alarm="b", status=Status.ACTUAL)
    fresh.restore((), (event, meant), STAMP, 0)
    assert fresh.status(Fact("alarm.fire.cleared", "x", 2, alarm="b")) is Status.ACTUAL
    assert fresh.status(Fact("alarm.fire.cleared", "x", 2, alarm="a")) is Status.EXERCISE


def test_mode_of_a_point_that_is_gone_is_forgotten() -> None:
    standing = modes()
    standing.isolate("gym", for_ms=MINUTE_MS, at_us=0, by="x")
    memory = standing.memory(STAMP, 0)
    fresh = Modes((RECEPTION,), gateway="school-12-main")
    assert fresh.restore(memory, (), STAMP, 0) == []
    assert fresh.isolated == ()


# --- the promise ----------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["drill", "isolate", "walk", "press", "rest", "wait", "restart"]),
        st.sampled_from(["reception", "gym"]),
        st.integers(min_value=1, max_value=90_000),
    ),
    max_size=40,
)


@given(steps)
def test_no_mode_outlives_its_time_and_no_press_vanishes(told: list[tuple[str, str, int]]) -> None:
    """Every press is an alarm, a test, or told as isolated; and in the end no mode stands."""
    standing, now_us, answers, presses = modes(), 0, 0, 0
    for what, point, ms in told:
        now_us += 1
        match what:
            case "drill":
                standing.drill(Drill.FIRE, for_ms=MINUTE_MS, at_us=now_us, by="x")
            case "isolate":
                standing.isolate(point, for_ms=MINUTE_MS, at_us=now_us, by="x")
            case "walk":
                standing.walk_test(point, for_ms=MINUTE_MS, at_us=now_us, by="x")
            case "press":
                presses += 1
                answers += bool(standing.pressed(press(point, now_us)))
            case "rest":
                assert standing.pressed(rest(point, now_us)) == [rest(point, now_us)]
            case "wait":
                now_us += ms * 1_000
                standing.wake(now_us)
            case _:
                stamp = replace(STAMP, monotonic_ms=now_us // 1_000)
                memory, standing = standing.memory(stamp, now_us), modes()
                standing.restore(memory, (), stamp, now_us)
    assert answers == presses
    standing.wake(now_us + MINUTE_US)
    assert (standing.names, standing.isolated) == ((), ())
