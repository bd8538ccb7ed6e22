"""Counters: every press is told once, and a unit that starts anew presses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.counter import (
    PLAUSIBLE,
    RACE_S,
    SAME_PRESS_US,
    Counted,
    Counter,
    Presses,
    Remember,
)
from gateway.core.model import Count, Level, Reading

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=300)
NOTHING = Counted()
RESYNC = Counted(moved=True)
TOP = (1 << 16) - 1


def count(value: int, uptime_s: int | None = None, width: int = 16) -> Count:
    return Count(value, width, uptime_s)


def after(last: Count, now: Count, *, starts_at_rest: bool = True) -> Counted:
    return Counter(last, starts_at_rest=starts_at_rest).feed(now)


# --- one counter ---------------------------------------------------------------------------------


def test_counter_first_value_ever_is_a_baseline() -> None:
    counter = Counter(starts_at_rest=True)
    assert counter.feed(count(57, 9_000)) == RESYNC
    assert counter.feed(count(57, 9_001)) == NOTHING


def test_counter_goes_on_from_a_stored_value() -> None:
    assert after(count(57, 100), count(59, 200)) == Counted(2, moved=True)
    assert after(count(57, 100), count(57, 200)) == NOTHING


@pytest.mark.parametrize("width", [16, 32])
def test_counter_wraps_while_its_unit_runs_on(width: int) -> None:
    top = (1 << width) - 1
    assert after(count(top, 100, width), count(2, 101, width)) == Counted(3, moved=True)
    assert after(count(top, 100, width), count(2, 100, width)) == Counted(3, moved=True)


def test_counter_started_anew_at_0_is_no_press() -> None:
    assert after(count(57, 9_000), count(0, 3)) == RESYNC
    assert after(count(TOP, 9_000), count(0, 3)) == RESYNC


@pytest.mark.parametrize("value", [1, 56, 57, 58, TOP])
def test_counter_started_anew_above_0_was_pressed_if_it_is_open_at_rest(value: int) -> None:
    last, now = count(57, 9_000), count(value, RACE_S + 1)
    assert after(last, now) == Counted(1, doubtful=True, moved=True)
    assert after(last, now, starts_at_rest=False) == RESYNC


def test_counter_read_just_before_its_unit_started_anew_is_looked_at_again() -> None:
    counter = Counter(count(57, 9_000), starts_at_rest=True)
    assert counter.feed(count(57, 0)) == NOTHING
    assert counter.feed(count(0, RACE_S + 1)) == RESYNC


def test_counter_that_shows_as_many_again_soon_after_a_start_is_told_at_the_next_look() -> None:
    counter = Counter(count(1, 9_000), starts_at_rest=True)
    assert counter.feed(count(1, RACE_S)) == NOTHING
    assert counter.feed(count(1, RACE_S + 1)) == Counted(1, doubtful=True, moved=True)


def test_counter_undecided_about_a_start_counts_on_from_it() -> None:
    """Its unit started pressed once, as before; the uptime of the life before is forgotten."""
    counter = Counter(count(1, 4), starts_at_rest=True)
    assert counter.feed(count(1, RACE_S)) == NOTHING
    assert counter.feed(count(1)) == NOTHING
    assert counter.undecided
    assert counter.feed(count(2)) == Counted(2, moved=True)
    assert counter.feed(count(2, RACE_S + 1)) == NOTHING


def test_counter_undecided_of_a_contact_closed_at_rest_makes_up_no_press() -> None:
    counter = Counter(count(1, 4), starts_at_rest=False)
    assert counter.feed(count(1, RACE_S)) == NOTHING
    assert counter.feed(count(2)) == Counted(1, moved=True)


def test_counter_uptime_asked_for_now_and_then_still_proves_a_start() -> None:
    counter = Counter(count(4, 9_000), starts_at_rest=True)
    assert counter.feed(count(5)) == Counted(1, moved=True)
    assert counter.last == count(5, 9_000)
    assert counter.feed(count(0, 60)) == RESYNC


def test_counter_of_a_unit_without_uptime_cannot_tell_a_wrap_from_a_start() -> None:
    assert after(count(TOP), count(0)) == Counted(1, doubtful=True, moved=True)
    assert after(count(TOP), count(0), starts_at_rest=False) == RESYNC
    assert after(count(57), count(0)) == RESYNC


@pytest.mark.parametrize(("delta", "presses"), [(PLAUSIBLE, PLAUSIBLE), (PLAUSIBLE + 1, 0)])
def test_counter_believes_no_more_presses_than_can_have_been(delta: int, presses: int) -> None:
    assert after(count(5, 100), count(5 + delta, 200)) == Counted(presses, moved=True)


def test_counter_kept_at_another_width_is_a_baseline() -> None:
    assert after(count(70_000, 100, width=32), count(5, 200)) == RESYNC


@dataclass
class Unit:
    """A unit with one normally-open button: counts presses, wraps, starts anew at 0."""

    width: int
    value: int
    started_s: int = 0
    now_s: int = 0
    pressed: list[int] = field(default_factory=list)

    def press(self, times: int) -> None:
        self.value = (self.value + times) % (1 << self.width)

    def restart(self) -> None:
        self.value, self.started_s = 0, self.now_s

    def look(self) -> Count:
        return Count(self.value, self.width, self.now_s - self.started_s)


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("press"), st.integers(1, 5)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("gateway"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 1_000)),
    ),
    max_size=80,
)


@CAREFULLY
@given(acts=ACTS, start=st.one_of(st.integers(0, 300), st.integers(TOP - 8, TOP)))
def test_counter_tells_every_press_once_through_wraps_missed_looks_and_restarts(
    acts: list[tuple[str, int]], start: int
) -> None:
    """Unit starts lose what was not looked at but for one doubtful press; nothing is made up.

    `gateway`: the gateway starts anew from the value it kept.
    """
    unit = Unit(16, start, started_s=-5_000)
    counter = Counter(starts_at_rest=True)
    counter.feed(unit.look())
    kept = unit.look()
    unseen, seen_start = 0, unit.started_s
    for act, number in [*acts, ("look", 0)]:
        unit.now_s += RACE_S + 1
        match act:
            case "press":
                unit.press(number)
                unseen += number
            case "restart":
                unit.restart()
                unseen = 0
            case "wait":
                unit.now_s += number
            case "gateway":
                counter = Counter(kept, starts_at_rest=True)
            case _:
                last, now = kept, unit.look()
                assert last.uptime_s is not None
                assert now.uptime_s is not None
                seen = counter.feed(now)
                if unit.started_s == seen_start:
                    assert seen == Counted(unseen, moved=unseen > 0)
                elif now.uptime_s < last.uptime_s:
                    assert (seen.presses, seen.doubtful) == (min(unseen, 1), unseen > 0)
                else:  # it has run longer since than before: nothing proves the start
                    assert seen.presses <= max(unseen, (unseen - last.value) % (TOP + 1))
                    assert seen.presses <= PLAUSIBLE
                if seen.moved:
                    kept = now
                elif unit.started_s == seen_start:
                    kept = replace(now, uptime_s=last.uptime_s)
                unseen, seen_start = 0, unit.started_s


# --- the counters of one point -------------------------------------------------------------------

NO, NC = "hall/input-1", "hall/input-2"


def presses() -> Presses:
    both = Presses({}, starts_at_rest={NO: True, NC: False})
    for address in (NO, NC):
        both.feed(at(address, 0, 0))
    both.level(0, rests=True)
    return both


def at(address: str, value: int, at_us: int) -> Reading:
    return Reading(address, Level.NORMAL, at_us, count(value, 1_000 + at_us // 1_000_000))


def told(witness: Presses, address: str, value: int, at_us: int) -> int:
    return witness.feed(at(address, value, at_us))[0].presses


@pytest.mark.parametrize("first", [NO, NC])
def test_presses_both_contacts_counted_are_told_once(first: str) -> None:
    second = NC if first == NO else NO
    both = presses()
    assert told(both, first, 2, 1_000) == 2
    assert told(both, second, 3, 2_000) == 1
    assert told(both, first, 3, 3_000) == 0


def test_presses_of_a_contact_whose_partner_is_cut_are_all_told() -> None:
    both = presses()
    pause_us = SAME_PRESS_US + 1
    assert [told(both, NC, n, n * pause_us) for n in range(1, 4)] == [1, 1, 1]
    assert [told(both, NO, n, (n + 4) * pause_us) for n in range(1, 4)] == [1, 1, 1]


def test_presses_told_by_the_level_are_not_told_again_when_they_are_counted() -> None:
    both = presses()
    both.level(1_000_000, rests=False)
    both.level_told(1_000_000, [NC])
    both.level(90_000_000, rests=True)
    assert told(both, NC, 1, 90_500_000) == 0
    assert told(both, NC, 2, 91_000_000) == 1


@pytest.mark.parametrize("first", [NO, NC])
def test_presses_a_level_was_ahead_of_are_not_told_again_by_any_counter(first: str) -> None:
    second = NC if first == NO else NO
    both = presses()
    both.level(5_000_000, rests=False)
    both.level_led(5_000_000, opens_at_rest=NO)
    assert told(both, first, 1, 5_100_000) == 0
    assert told(both, second, 1, 5_300_000) == 0
    both.level(5_600_000, rests=True)
    assert told(both, NO, 2, 5_700_000) == 1


def test_presses_after_one_whose_counter_was_ahead_of_the_level_are_told() -> None:
    """Found pressed, and counted before that: at rest again the counter shows no more."""
    both = presses()
    both.level(5_000_000, rests=False)
    both.level_led(5_000_000, opens_at_rest=NO)
    assert told(both, NO, 0, 5_200_000) == 0
    assert told(both, NO, 1, 5_700_000) == 1


def test_presses_found_pressed_again_are_owed_once() -> None:
    both = presses()
    both.level(5_000_000, rests=False)
    for at_us in (5_000_000, 6_000_000):
        both.level_led(at_us, opens_at_rest=NO)
    assert [one.owed for one in both.debts()] == [1, 1]


def test_presses_keep_the_value_and_uptime_of_what_moved() -> None:
    both = presses()
    assert both.feed(at(NO, 0, 5_000_000))[1] is None
    kept = both.feed(at(NO, 1, 6_000_000))[1]
    assert kept == Remember(NO, count(1, 1_006))
    assert kept.as_json() == {"input": NO, "value": 1, "uptime_s": 1_006}
    assert both.feed(Reading(NO, Level.ACTIVE, 7_000_000)) == (NOTHING, None)
    assert both.inputs == {NO, NC}


def test_presses_told_before_a_restart_by_one_witness_are_not_told_after_it_by_the_other() -> None:
    """NO counts when it is pressed in, NC when it is let go: the gateway may die in between."""
    before = presses()
    kept = before.feed(at(NO, 1, 5_000_000))[1]
    assert kept is not None
    others = {one.input: one for one in (*before.debts(), kept)}
    assert {name: one.owed for name, one in others.items()} == {NO: 0, NC: 1}
    after = Presses(
        {name: one.count for name, one in others.items()},
        starts_at_rest={NO: True, NC: False},
        owed={name: one.owed for name, one in others.items()},
    )
    assert told(after, NO, 1, 900_000_000) == 0
    assert told(after, NC, 1, 900_000_000) == 0
    assert told(after, NC, 2, 901_000_000) == 1


def test_presses_owe_what_is_kept_once() -> None:
    both = presses()
    assert both.debts() == []
    both.feed(at(NO, 1, 5_000_000))
    assert [one.input for one in both.debts()] == [NC]
    assert both.debts() == []
