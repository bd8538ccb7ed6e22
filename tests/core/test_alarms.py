"""The register of alarms: what a press is, what an answer may change, when an alarm is over."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.alarms import ALSO_OPEN_MAX, OPEN_MAX, Alarm, Register
from gateway.core.counter import Remember
from gateway.core.hardware import Door, DoorContact
from gateway.core.model import AlarmState, Count, Event, Fact, Json, Level, Stamp
from gateway.core.monitor import Confirmed
from gateway.core.premises import PERSON_OPERATED, Input, Point, PointKind

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=150)
S = 1_000_000
WORDS = [state for state in AlarmState if state is not AlarmState.RAISED]


def point(name: str, kind: PointKind = PointKind.PANIC, *, silent: bool = False) -> Point:
    return Point(name, kind, Input(normally_open=f"gpio:{name}"), silent=silent)


POINTS = (
    point("hall"),
    point("gym"),
    point("till", PointKind.HOLD_UP, silent=True),
    point("smoke", PointKind.FIRE),
    point("case", PointKind.TAMPER),
    point("closing", PointKind.LOCKDOWN),
    point("key", PointKind.RESET_KEY),
)


class Site:
    """A register with a clock and numbered ids; remembers every fact."""

    def __init__(self) -> None:
        self.register = Register(POINTS)
        self.facts: list[Fact] = []
        self._ids = (f"id{number}" for number in itertools.count(1))

    def level(
        self, name: str, level: Level, at_us: int, *, doubtful: bool = False, initial: bool = False
    ) -> list[str]:
        confirmed = Confirmed(name, level, at_us, doubtful=doubtful, initial=initial)
        return self.keep(self.register.confirm(confirmed, new_id=next(self._ids)))

    def press(self, name: str, at_us: int, **flags: bool) -> list[str]:
        return self.level(name, Level.ACTIVE, at_us, **flags)

    def rest(self, name: str, at_us: int) -> list[str]:
        return self.level(name, Level.NORMAL, at_us)

    def say(self, alarm: str, state: AlarmState, at_us: int = 0, **data: Json) -> list[str]:
        return self.keep(self.register.answer(alarm, state, at_us=at_us, data=data))

    def wake(self, now_us: int) -> list[str]:
        return self.keep(self.register.wake(now_us))

    def keep(self, facts: list[Fact]) -> list[str]:
        self.facts += facts
        return [fact.type for fact in facts]

    @property
    def last(self) -> Fact:
        return self.facts[-1]

    @property
    def open(self) -> list[str]:
        return [alarm.id for alarm in self.register.open]


# --- the table of presses ------------------------------------------------------------------------


def test_press_with_nothing_open_is_raised_under_its_own_id() -> None:
    site = Site()
    assert site.press("hall", 5 * S) == ["alarm.panic.raised"]
    assert (site.last.id, site.last.alarm, site.last.subject) == ("id1", "id1", "hall")
    assert site.last.data == {"count": 1}
    assert site.open == ["id1"]


def test_press_held_since_the_start_with_nothing_open_is_raised() -> None:
    assert Site().press("hall", 0, initial=True) == ["alarm.panic.raised"]


def test_press_held_since_the_start_was_told_before() -> None:
    site = Site()
    site.press("hall", 0)
    assert site.press("hall", 40 * S, initial=True) == []


def test_press_within_30_s_of_the_last_is_repeated_with_a_count() -> None:
    site = Site()
    site.press("hall", 0)
    assert site.press("hall", 30 * S) == ["alarm.panic.repeated"]
    assert (site.last.alarm, site.last.id, site.last.data) == ("id1", None, {"count": 2})
    assert site.press("hall", 60 * S) == ["alarm.panic.repeated"]
    assert site.last.data == {"count": 3}


def test_press_later_than_30_s_is_raised_again_as_loud_as_the_first() -> None:
    site = Site()
    site.press("hall", 0)
    assert site.press("hall", 30 * S + 1) == ["alarm.panic.raised"]
    assert (site.last.alarm, site.last.data) == ("id2", {"count": 1, "again": "id1"})
    assert site.press("hall", 90 * S) == ["alarm.panic.raised"]
    assert site.last.data["again"] == "id1"


@pytest.mark.parametrize("state", WORDS)
def test_press_after_a_person_acknowledged_is_raised_again(state: AlarmState) -> None:
    site = Site()
    site.press("hall", 0)
    site.say("id1", state)
    again = ["alarm.panic.raised"]
    assert site.press("hall", 5 * S) == (
        ["alarm.panic.repeated"] if state is AlarmState.RECEIVED else again
    )


def test_press_at_another_point_is_another_alarm_that_names_the_first() -> None:
    site = Site()
    site.press("hall", 0)
    site.press("till", S)
    assert site.press("gym", 2 * S) == ["alarm.panic.raised"]
    assert site.last.data == {"count": 1, "also_open": ["id1", "id2"]}


def test_press_after_a_thousand_open_alarms_still_fits_a_token() -> None:
    """A loose wire over a long holiday: whoever receives refuses what is longer than 64 KiB."""
    site = Site()
    for number in range(1_000):
        site.press("hall", number * 31 * S)
        site.rest("hall", number * 31 * S + S)
    site.press("gym", 40_000 * S)
    also = site.last.data["also_open"]
    assert also == [f"id{2 * number + 1}" for number in range(1_000 - ALSO_OPEN_MAX, 1_000)]
    assert site.last.data["also_open_more"] == 1_000 - ALSO_OPEN_MAX


def test_register_names_the_newest_of_very_many_open_alarms_and_counts_the_others() -> None:
    """A centre that never closes an alarm: heartbeats and starts name what is open."""
    site = Site()
    for number in range(OPEN_MAX):
        site.press("hall", number * 31 * S)
        site.rest("hall", number * 31 * S + S)
    assert site.register.named() == (tuple(site.open), 0)
    site.press("gym", OPEN_MAX * 31 * S)
    assert site.register.named() == (tuple(site.open[1:]), 1)


def test_press_on_damaged_wiring_says_so() -> None:
    site = Site()
    site.press("hall", 0, doubtful=True)
    assert site.last.data == {"count": 1, "doubtful": True}
    site.press("hall", 5 * S, doubtful=True)
    assert site.last.data == {"count": 2, "doubtful": True}
    site.press("hall", 10 * S)
    assert site.last.data == {"count": 3}


def test_press_told_with_others_is_doubtful_only_when_all_of_them_are() -> None:
    for second, third in itertools.product((False, True), repeat=2):
        site = Site()
        site.press("hall", 0)
        site.press("hall", 300_000, doubtful=second)
        site.press("hall", 600_000, doubtful=third)
        site.wake(S)
        assert bool(site.last.data.get("doubtful")) is (second and third)


def test_press_of_a_silent_point_says_so_and_the_alarm_knows() -> None:
    site = Site()
    assert site.press("till", 0) == ["alarm.hold-up.raised"]
    assert site.last.data == {"count": 1, "silent": True}
    assert site.register.open[0].silent


def test_fire_contact_closing_again_is_the_same_alarm() -> None:
    site = Site()
    assert site.press("smoke", 0) == ["alarm.fire.raised"]
    assert site.press("smoke", 60 * S) == []


def test_fire_during_a_panic_or_a_lockdown_names_them() -> None:
    site = Site()
    for name in ("till", "gym", "hall", "closing"):
        site.press(name, 0)
    site.press("smoke", S)
    assert site.last.data["during"] == ["lockdown", "panic"]
    site = Site()
    site.press("till", 0)
    site.press("smoke", S)
    assert "during" not in site.last.data


def test_fire_during_a_lockdown_by_command_names_it() -> None:
    site = Site()
    site.register.locked_down = lambda: True
    site.press("smoke", S)
    assert site.last.data["during"] == ["lockdown"]
    site.press("till", 2 * S)
    assert "during" not in site.last.data


# --- the pace of repeats -------------------------------------------------------------------------


def test_repeats_are_told_once_a_second_and_the_held_back_count_later() -> None:
    site = Site()
    site.press("hall", 0)
    assert site.press("hall", 400_000) == []
    assert site.press("hall", 800_000) == []
    assert site.register.deadline() == S
    assert site.wake(S - 1) == []
    assert site.wake(S) == ["alarm.panic.repeated"]
    assert (site.last.data, site.last.at_us) == ({"count": 3}, S)
    assert site.register.deadline() is None
    assert site.wake(99 * S) == []


def test_repeats_are_told_at_once_when_their_second_is_over() -> None:
    site = Site()
    site.press("hall", 0)
    site.press("hall", 300_000)
    assert site.press("hall", S) == ["alarm.panic.repeated"]
    assert site.last.data == {"count": 3}


def test_repeats_of_two_points_are_each_told_in_their_time() -> None:
    site = Site()
    site.press("hall", 0)
    site.press("gym", 500_000)
    site.press("hall", 700_000)
    site.press("gym", 800_000)
    assert site.register.deadline() == S
    assert [(site.wake(now_us), site.last.subject) for now_us in (S, 1_500_000)] == [
        (["alarm.panic.repeated"], "hall"),
        (["alarm.panic.repeated"], "gym"),
    ]


def test_repeats_after_ten_are_told_once_a_minute() -> None:
    site = Site()
    for second in range(40):
        site.press("hall", second * S)
        site.wake(second * S)
    told = [fact for fact in site.facts if fact.type.endswith("repeated")]
    assert [fact.at_us for fact in told] == [second * S for second in range(1, 11)]
    assert site.register.deadline() == 70 * S
    site.wake(70 * S)
    assert site.last.data == {"count": 40}


@CAREFULLY
@given(gaps=st.lists(st.integers(210_000, 29 * S), max_size=60))
def test_repeats_keep_their_pace_and_lose_no_press(gaps: list[int]) -> None:
    site = Site()
    site.press("hall", 0)
    at_us = 0
    for gap_us in gaps:
        at_us += gap_us
        while (due_us := site.register.deadline()) is not None and due_us <= at_us:
            site.wake(due_us)
        site.press("hall", at_us)
    site.wake(at_us + 60 * S)
    told = [0, *(fact.at_us for fact in site.facts if fact.type.endswith("repeated"))]
    pauses = [later - earlier for earlier, later in itertools.pairwise(told)]
    assert all(pause >= S for pause in pauses[:10])
    assert all(pause >= 60 * S for pause in pauses[10:])
    assert site.last.data["count"] == len(gaps) + 1


@pytest.mark.parametrize("state", WORDS)
def test_presses_held_back_are_told_although_an_answer_came_first(state: AlarmState) -> None:
    """The centre's receipt comes within milliseconds: it must not swallow the presses after it."""
    site = Site()
    site.press("hall", 0)
    site.press("hall", 300_000)
    site.say("id1", state, 500_000)
    assert site.wake(S) == ["alarm.panic.repeated"]
    assert site.last.data == {"count": 2}


def test_presses_held_back_when_an_alarm_ends_are_in_its_last_count() -> None:
    site = Site()
    site.press("hall", 0)
    site.press("hall", 300_000)
    site.say("id1", AlarmState.CLOSED, 400_000)
    assert site.rest("hall", 500_000) == ["alarm.panic.cleared"]
    assert site.last.data == {"count": 2}


# --- answers -------------------------------------------------------------------------------------


@given(said=st.lists(st.sampled_from(list(AlarmState)), max_size=12))
@CAREFULLY
def test_answers_never_move_an_alarm_back(said: list[AlarmState]) -> None:
    site = Site()
    site.press("hall", 0)
    for state in said:
        before = site.register.open[0].state
        told = site.say("id1", state)
        moved = state.rank > before.rank
        assert told == ([f"state.alarm.{state}"] if moved else [])
        assert site.register.open[0].state is (state if moved else before)


def test_answer_carries_who_said_it() -> None:
    site = Site()
    site.press("hall", 0)
    site.say("id1", AlarmState.ACKNOWLEDGED, 7 * S, route="security", operator=12)
    assert site.last.data == {"route": "security", "operator": 12}
    assert (site.last.subject, site.last.alarm, site.last.at_us) == ("hall", "id1", 7 * S)


def test_answer_about_no_open_alarm_is_void() -> None:
    assert Site().say("never", AlarmState.CLOSED) == []


@pytest.mark.parametrize("kind", sorted(PERSON_OPERATED))
def test_alarm_a_person_raised_never_ends_by_its_input(kind: PointKind) -> None:
    register = Register([point("p", kind)])
    register.confirm(Confirmed("p", Level.ACTIVE, 0), new_id="a")
    for state in (AlarmState.RECEIVED, AlarmState.ACKNOWLEDGED, AlarmState.DISPATCHED):
        assert register.confirm(Confirmed("p", Level.NORMAL, 1), new_id="b") == []
        assert len(register.answer("a", state, at_us=2, data={})) == 1
    assert [alarm.id for alarm in register.open] == ["a"]


def test_alarm_a_person_raised_ends_when_it_is_closed_and_at_rest_in_either_order() -> None:
    for held in (True, False):
        site = Site()
        site.press("hall", 0)
        if held:
            assert site.say("id1", AlarmState.CLOSED) == ["state.alarm.closed"]
            assert site.rest("hall", S) == ["alarm.panic.cleared"]
        else:
            assert site.rest("hall", S) == []
            said = site.say("id1", AlarmState.CLOSED)
            assert said == ["state.alarm.closed", "alarm.panic.cleared"]
        assert site.open == []


def test_alarm_does_not_end_while_its_input_cannot_be_believed() -> None:
    site = Site()
    site.press("hall", 0)
    site.rest("hall", S)
    assert site.level("hall", Level.UNKNOWN, 2 * S) == []
    assert site.say("id1", AlarmState.CLOSED) == ["state.alarm.closed"]
    assert site.open == ["id1"]


def test_alarm_closed_and_pressed_again_ends_alone() -> None:
    site = Site()
    site.press("hall", 0)
    site.say("id1", AlarmState.CLOSED)
    site.press("hall", 5 * S)
    assert site.rest("hall", 6 * S) == ["alarm.panic.cleared"]
    assert site.last.alarm == "id1"
    assert site.open == ["id2"]


@pytest.mark.parametrize("name", ["smoke", "case"])
def test_alarm_of_a_machine_ends_with_its_input(name: str) -> None:
    site = Site()
    site.press(name, 0)
    site.press("hall", 0)
    assert site.rest(name, S)[0].endswith(".cleared")
    assert site.open == ["id2"]


# --- the key -------------------------------------------------------------------------------------


def test_reset_key_closes_what_people_raised_and_ends_what_is_at_rest() -> None:
    site = Site()
    for name in ("hall", "gym", "smoke"):
        site.press(name, 0)
    site.rest("hall", S)
    assert site.press("key", 2 * S) == [
        "state.reset-key.turned",
        "state.alarm.closed",
        "alarm.panic.cleared",
        "state.alarm.closed",
    ]
    assert site.facts[-1].data == {"by": "reset-key"}
    assert site.open == ["id2", "id3"]


def test_reset_key_turned_back_says_nothing() -> None:
    site = Site()
    site.press("key", 0)
    assert site.rest("key", S) == []


def test_reset_key_found_turned_at_the_start_closes_nothing() -> None:
    """Else every restart would close what was raised since somebody forgot the key in it."""
    site = Site()
    site.press("hall", 0)
    assert site.press("key", S, initial=True) == []
    assert site.register.open[0].state is AlarmState.RAISED


# --- the lamp's question -------------------------------------------------------------------------


def test_register_knows_the_newest_alarm_of_a_point() -> None:
    site = Site()
    assert site.register.latest_at("hall") is None
    site.press("hall", 0)
    site.press("hall", 60 * S)
    site.press("gym", 61 * S)
    newest = site.register.latest_at("hall")
    assert newest is not None
    assert newest.id == "id2"
    assert site.register.find("id1") == site.register.open[0]
    assert site.register.find("never") is None


# --- doors ---------------------------------------------------------------------------------------

FORCED, HELD = "door-forced", "door-held"


def gate(door: Door = Door()) -> Point:  # noqa: B008 -- frozen
    return Point("gate", PointKind.DOOR, Input(normally_open="e/input-1"), door=door)


class Gate:
    """A register with one door and one button."""

    def __init__(self, door: Door = Door()) -> None:  # noqa: B008 -- frozen
        self.register = Register([gate(door), point("hall")])
        self._ids = (f"id{number}" for number in itertools.count(1))

    def tell(self, level: Level, kind: str, *, initial: bool = False) -> list[Fact]:
        confirmed = Confirmed("gate", level, S, initial=initial, alarm=kind)
        return self.register.confirm(confirmed, new_id=next(self._ids))

    def open(self) -> list[tuple[str, str]]:
        return [(alarm.id, alarm.kind) for alarm in self.register.open]


def test_door_forced_and_held_are_two_alarms_that_end_apart() -> None:
    site = Gate()
    (forced,) = site.tell(Level.ACTIVE, FORCED)
    assert (forced.type, forced.data) == ("alarm.door-forced.raised", {"count": 1})
    (held,) = site.tell(Level.ACTIVE, HELD)
    assert (held.type, held.data) == ("alarm.door-held.raised", {"count": 1, "also_open": ["id1"]})
    newest = site.register.latest_at("gate")
    assert newest is not None
    assert newest.kind == HELD
    assert [fact.type for fact in site.tell(Level.NORMAL, FORCED)] == ["alarm.door-forced.cleared"]
    assert site.open() == [("id2", HELD)]


def test_door_alarm_told_again_is_the_same_alarm() -> None:
    site = Gate()
    site.tell(Level.ACTIVE, FORCED)
    assert site.tell(Level.ACTIVE, FORCED) == []


def test_door_alarm_that_people_closed_ends_when_the_door_does() -> None:
    site = Gate()
    site.tell(Level.ACTIVE, FORCED)
    assert len(site.register.answer("id1", AlarmState.CLOSED, at_us=0, data={})) == 1
    assert site.open() == [("id1", FORCED)]
    assert len(site.tell(Level.NORMAL, FORCED)) == 1


def test_door_alarm_is_no_ones_to_reset_by_key() -> None:
    register = Register([gate(), point("key", PointKind.RESET_KEY)])
    register.confirm(Confirmed("gate", Level.ACTIVE, 0, alarm=HELD), new_id="a")
    register.confirm(Confirmed("key", Level.ACTIVE, S), new_id="b")
    assert [alarm.id for alarm in register.open] == ["a"]


@pytest.mark.parametrize("flagged", [False, True])
def test_door_raises_tamper_only_where_its_controller_has_the_flag(flagged: bool) -> None:  # noqa: FBT001 -- a table's column
    site = Gate(Door(tamper=DoorContact("e/input-9") if flagged else None))
    site.tell(Level.ACTIVE, "tamper")
    assert site.open() == ([("id1", "tamper")] if flagged else [])


def test_door_itself_raises_nothing() -> None:
    site = Gate()
    assert site.tell(Level.ACTIVE, "") == []
    assert site.tell(Level.NORMAL, "") == []


def test_door_restored_from_its_events_ends_each_kind_with_its_own_word() -> None:
    site = Gate()
    facts = site.tell(Level.ACTIVE, FORCED) + site.tell(Level.ACTIVE, HELD)
    fresh = Gate()
    fresh.register.restore(recorded(facts))
    assert fresh.open() == [("id1", FORCED), ("id2", HELD)]
    assert fresh.tell(Level.ACTIVE, HELD) == []
    assert len(fresh.tell(Level.NORMAL, HELD, initial=True)) == 1
    assert fresh.open() == [("id1", FORCED)]


def test_alarm_of_a_flag_no_longer_configured_is_ended_by_people_alone() -> None:
    fresh = Gate()
    raised = Fact("alarm.tamper.raised", "gate", 0, alarm="a", id="a")
    fresh.register.restore(recorded([raised]))
    fresh.tell(Level.NORMAL, FORCED)
    assert fresh.open() == [("a", "tamper")]
    ended = fresh.register.answer("a", AlarmState.CLOSED, at_us=0, data={})
    assert [fact.type for fact in ended] == ["state.alarm.closed", "alarm.tamper.cleared"]


# --- what the record keeps of counters -------------------------------------------------------


def counted(name: str, value: int, at_us: int, level: Level = Level.ACTIVE) -> Confirmed:
    return Confirmed(name, level, at_us, counter=Remember(f"u/{name}", Count(value, 32, 60)))


def test_press_that_was_counted_carries_its_counter_into_the_record() -> None:
    register = Register(POINTS)
    (raised,) = register.confirm(counted("hall", 7, 0), new_id="a")
    assert raised.data["counter"] == {"input": "u/hall", "value": 7, "uptime_s": 60}
    (repeated,) = register.confirm(counted("hall", 8, 2 * S), new_id="b")
    assert repeated.data == {"count": 2, "counter": {"input": "u/hall", "value": 8, "uptime_s": 60}}
    (turned, *_) = register.confirm(counted("key", 3, 3 * S), new_id="c")
    assert turned.data == {"counter": {"input": "u/key", "value": 3, "uptime_s": 60}}


def test_presses_held_back_are_told_with_the_last_counter() -> None:
    register = Register(POINTS)
    for value in (7, 8, 9):
        register.confirm(counted("hall", value, 0), new_id="a")
    (told,) = register.wake(S)
    assert told.data == {"count": 3, "counter": {"input": "u/hall", "value": 9, "uptime_s": 60}}


# --- restarts ------------------------------------------------------------------------------------


def recorded(facts: Iterable[Fact]) -> list[Event]:
    stamp = Stamp(0, synchronised=False, error_ms=None, boot="00000000", monotonic_ms=0)
    return [
        Event(fact.id or f"e{number}", fact.type, fact.subject, stamp, fact.alarm, data=fact.data)
        for number, fact in enumerate(facts)
    ]


def told(alarm: Alarm) -> Alarm:
    """What the record holds of an alarm: not its pace, which starts anew."""
    return replace(alarm, told=0, told_us=0, pressed_us=None)


ACTS = st.one_of(
    st.tuples(st.just("press"), st.sampled_from([p.id for p in POINTS])),
    st.tuples(st.just("rest"), st.sampled_from([p.id for p in POINTS])),
    st.tuples(st.sampled_from([state.value for state in WORDS]), st.integers(0, 4)),
    st.tuples(st.just("wait"), st.integers(1, 50)),
)


@CAREFULLY
@given(acts=st.lists(ACTS, max_size=60))
def test_register_restored_from_its_events_has_the_same_open_alarms(
    acts: list[tuple[str, str | int]],
) -> None:
    site = Site()
    now_us = 0
    for act, what in acts:
        now_us += S
        match act, what:
            case "press", str(name):
                site.press(name, now_us)
            case "rest", str(name):
                site.rest(name, now_us)
            case "wait", int(seconds):
                now_us += seconds * S
            case state, int(number) if number < len(site.open):
                site.say(site.open[number], AlarmState(state), now_us)
        site.wake(now_us)
    while (due_us := site.register.deadline()) is not None:
        site.wake(due_us)
    fresh = Register(POINTS)
    fresh.restore(recorded(site.facts))
    assert fresh.open == tuple(told(alarm) for alarm in site.register.open)


def test_register_restored_raises_nothing_for_a_button_still_held() -> None:
    site = Site()
    site.press("hall", 0)
    fresh = Register(POINTS)
    fresh.restore(recorded(site.facts))
    held = Confirmed("hall", Level.ACTIVE, 5, initial=True)
    assert fresh.confirm(held, new_id="new") == []
    assert [alarm.id for alarm in fresh.open] == ["id1"]


def test_register_restored_takes_the_next_press_as_a_new_alarm() -> None:
    site = Site()
    site.press("hall", 0)
    fresh = Register(POINTS)
    fresh.restore(recorded(site.facts))
    facts = fresh.confirm(Confirmed("hall", Level.ACTIVE, S), new_id="new")
    assert [(fact.type, fact.data) for fact in facts] == [
        ("alarm.panic.raised", {"count": 1, "again": "id1"})
    ]


def test_register_restored_waits_for_the_input_before_it_ends_a_closed_alarm() -> None:
    site = Site()
    site.press("hall", 0)
    site.rest("hall", S)
    fresh = Register(POINTS)
    fresh.restore(recorded(site.facts))
    assert len(fresh.answer("id1", AlarmState.CLOSED, at_us=0, data={})) == 1
    ended = fresh.confirm(Confirmed("hall", Level.NORMAL, 5, initial=True), new_id="new")
    assert [fact.type for fact in ended] == ["alarm.panic.cleared"]


def test_register_passes_over_events_that_open_nothing() -> None:
    stray = [
        Fact("state.inventory", "gw", 0),
        Fact("state.alarm.closed", "hall", 0, alarm="older"),
        Fact("test.walk.pressed", "hall", 0, alarm="id1"),
    ]
    raised = Fact("alarm.panic.raised", "hall", 0, alarm="id1", id="id1")
    odd = Fact("alarm.panic.repeated", "hall", 0, alarm="id1", data={"count": "many"})
    fresh = Register(POINTS)
    fresh.restore(recorded([stray[0], stray[1], raised, stray[2], odd]))
    assert [(alarm.id, alarm.count, alarm.state) for alarm in fresh.open] == [
        ("id1", 1, AlarmState.RAISED)
    ]


@pytest.mark.parametrize("kind", ["panic", "fire"])
def test_alarm_of_a_point_no_longer_configured_is_ended_by_people_alone(kind: str) -> None:
    fresh = Register(POINTS)
    fresh.restore(recorded([Fact(f"alarm.{kind}.raised", "demolished", 0, alarm="a", id="a")]))
    assert len(fresh.answer("a", AlarmState.ACKNOWLEDGED, at_us=0, data={})) == 1
    ended = fresh.answer("a", AlarmState.CLOSED, at_us=0, data={})
    assert [fact.type for fact in ended] == ["state.alarm.closed", f"alarm.{kind}.cleared"]
