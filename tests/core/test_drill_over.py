"""What is left of an exercise when its drill is over: a real danger is raised as one."""

from __future__ import annotations

from gateway.core.alarms import Register
from gateway.core.model import AlarmState, Fact, Level
from gateway.core.monitor import Confirmed
from gateway.core.premises import Input, Point, PointKind

FIRE = Point("fire-panel", PointKind.FIRE, Input(None, "gpio:5"))
OFFICE = Point("office", PointKind.LOCKDOWN, Input("gpio:6"))
S = 1_000_000


def shown(
    register: Register, point: Point, level: Level, at_us: int, *, initial: bool = False
) -> list[Fact]:
    confirmed = Confirmed(point.id, level, at_us, initial=initial)
    return register.confirm(confirmed, new_id=f"a-{at_us}")


def drilled(point: Point, level: Level) -> Register:
    """An alarm of an exercise whose input shows `level` a second later."""
    register = Register((FIRE, OFFICE))
    shown(register, point, Level.ACTIVE, 0)
    if level is not Level.ACTIVE:
        shown(register, point, level, S)
    return register


def over(register: Register, at_us: int = 2 * S) -> list[Fact]:
    return register.drill_over("a-0", new_id=f"b-{at_us}", at_us=at_us)


def test_input_still_active_is_raised_again_at_once_and_names_the_first() -> None:
    (raised,) = over(drilled(FIRE, Level.ACTIVE))
    assert (raised.type, raised.alarm, raised.at_us) == ("alarm.fire.raised", "b-2000000", 2 * S)
    assert raised.data["again"] == "a-0"


def test_drill_over_is_said_once() -> None:
    register = drilled(FIRE, Level.ACTIVE)
    assert over(register)
    assert over(register, 3 * S) == []
    assert len(register.open) == 2


def test_drill_over_raises_nothing_where_a_real_alarm_was_raised_since() -> None:
    """Pressed so long after the exercise that it was no repetition: that one calls already."""
    register = drilled(OFFICE, Level.NORMAL)
    (raised,) = shown(register, OFFICE, Level.ACTIVE, 60 * S)
    assert raised.type == "alarm.lockdown.raised"
    assert over(register, 61 * S) == []
    assert len(register.open) == 2


def test_alarm_of_a_second_drill_names_the_first_alarm_of_all() -> None:
    register = drilled(OFFICE, Level.NORMAL)
    over(register)
    shown(register, OFFICE, Level.ACTIVE, 5 * S)
    shown(register, OFFICE, Level.NORMAL, 6 * S)
    assert register.drill_over("a-5000000", new_id="c", at_us=7 * S) == []
    (raised,) = shown(register, OFFICE, Level.ACTIVE, 8 * S)
    assert (raised.type, raised.data["again"]) == ("alarm.lockdown.raised", "a-0")


def test_both_end_with_the_input() -> None:
    register = drilled(FIRE, Level.ACTIVE)
    over(register)
    ended = shown(register, FIRE, Level.NORMAL, 9 * S)
    assert [fact.alarm for fact in ended] == ["a-0", "b-2000000"]


def test_input_that_cannot_be_read_is_raised_when_it_comes_back_active() -> None:
    register = drilled(FIRE, Level.UNKNOWN)
    assert over(register) == []
    (raised,) = shown(register, FIRE, Level.ACTIVE, 9 * S)
    assert raised.data["again"] == "a-0"


def test_input_that_comes_back_at_rest_raises_nothing() -> None:
    register = drilled(FIRE, Level.UNKNOWN)
    over(register)
    (cleared,) = shown(register, FIRE, Level.NORMAL, 9 * S)
    assert cleared.type == "alarm.fire.cleared"


def test_input_held_over_a_restart_is_raised_though_it_was_told_before() -> None:
    register = drilled(FIRE, Level.UNKNOWN)
    over(register)
    (raised,) = shown(register, FIRE, Level.ACTIVE, 9 * S, initial=True)
    assert raised.type == "alarm.fire.raised"


def test_button_at_rest_raises_nothing_until_it_is_pressed_again() -> None:
    register = drilled(OFFICE, Level.NORMAL)
    assert over(register) == []
    (raised,) = shown(register, OFFICE, Level.ACTIVE, 5 * S)
    assert (raised.type, raised.data["again"]) == ("alarm.lockdown.raised", "a-0")


def test_press_after_that_repeats_the_real_one() -> None:
    register = drilled(OFFICE, Level.NORMAL)
    over(register)
    for at_us in (5 * S, 7 * S):
        shown(register, OFFICE, Level.ACTIVE, at_us)
        found = shown(register, OFFICE, Level.NORMAL, at_us + S)
        assert found == []
    (repeated,) = shown(register, OFFICE, Level.ACTIVE, 9 * S)
    assert (repeated.type, repeated.alarm) == ("alarm.lockdown.repeated", "a-5000000")


def test_alarm_that_is_over_already_is_left_alone() -> None:
    register = drilled(FIRE, Level.NORMAL)
    assert over(register) == []
    assert Register((OFFICE,)).drill_over("a-0", new_id="b", at_us=0) == []


def test_answers_go_on_for_either() -> None:
    register = drilled(FIRE, Level.ACTIVE)
    over(register)
    for alarm in ("a-0", "b-2000000"):
        (fact,) = register.answer(alarm, AlarmState.ACKNOWLEDGED, at_us=3 * S, data={})
        assert fact.alarm == alarm
