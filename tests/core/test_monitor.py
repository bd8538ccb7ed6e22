"""The Monitor for contacts: damaged wiring still alarms, and what is wrong is told once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import Contact, level_of
from gateway.core.debounce import CHATTER_QUIET_US
from gateway.core.model import (
    PERSON_OPERATED,
    US_PER_MS,
    Fact,
    Input,
    Level,
    Point,
    PointKind,
    Reading,
    WiringDoubt,
)
from gateway.core.monitor import PAIR, Confirmed, Monitor
from simulators.building.waveforms import Shape, edges

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=120)
NORMAL, ACTIVE, UNKNOWN = Level.NORMAL, Level.ACTIVE, Level.UNKNOWN
NO, NC = "gpio:17", "gpio:27"
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

LONE = Point("lone", PointKind.PANIC, Input(normally_open=NO), prove_within_ms=None)
BUTTON = Point(
    "button", PointKind.PANIC, Input(normally_open=NO, normally_closed=NC), prove_within_ms=None
)
Step = tuple[int, str, Level]
Found = list[Confirmed | Fact]


def play(point: Point, steps: Iterable[Step], *, until_us: int, proved_us: int = 0) -> Found:
    monitor = Monitor(point, proved_us=proved_us)
    found: Found = []
    for at_us, contact, level in steps:
        found += monitor.feed(Reading(contact, level, at_us))
    return found + monitor.wake(until_us)


def pair(*states: tuple[int, Level, Level]) -> list[Step]:
    """Both contacts of a pair, changing at the same moment."""
    return [
        (at_us, wire, level)
        for at_us, *both in states
        for wire, level in zip((NO, NC), both, strict=True)
    ]


def words(found: Iterable[Confirmed | Fact]) -> list[str]:
    """What was found, short: `active`, `active doubtful initial`, `wiring.raised both-open`."""
    told = []
    for item in found:
        if isinstance(item, Confirmed):
            flags = [name for name in ("doubtful", "initial") if getattr(item, name)]
            told.append(" ".join([item.level.value, *flags]))
        else:
            why = item.data.get("why")
            told.append(item.type.removeprefix("fault.") + (f" {why}" if why else ""))
    return told


REST = pair((0, NORMAL, NORMAL))
PRESS = pair((SECOND_US, ACTIVE, ACTIVE))


# --- the pair ------------------------------------------------------------------------------------


@pytest.mark.parametrize("both", list(itertools.product(Level, repeat=2)))
def test_pair_is_believed_only_where_both_contacts_agree(both: tuple[Level, Level]) -> None:
    expected = both[0] if both[0] is both[1] else UNKNOWN
    assert PAIR.get(both, UNKNOWN) is expected
    found = play(replace(BUTTON, wiring_doubt=WiringDoubt.FAULT), pair((0, *both)), until_us=10**9)
    assert [item.level for item in found if isinstance(item, Confirmed)] == [expected]


def test_pair_says_nothing_until_both_contacts_were_read() -> None:
    monitor = Monitor(BUTTON, proved_us=0)
    assert monitor.feed(Reading(NO, ACTIVE, 0)) == []
    assert monitor.deadline() is None
    assert monitor.level is UNKNOWN


@pytest.mark.parametrize(("for_us", "told"), [(199_999, False), (200_000, True)])
def test_pair_may_disagree_for_200_ms(for_us: int, told: bool) -> None:  # noqa: FBT001 -- a table's column
    steps = [*REST, (SECOND_US, NC, ACTIVE), (SECOND_US + for_us, NC, NORMAL)]
    found = play(BUTTON, steps, until_us=2 * SECOND_US)
    assert ("wiring.raised both-open" in words(found)) is told


HEALTHY = {"button": (NO, NC), "lone": (NO,)}
BOUNCES = st.lists(st.integers(1, 6_200), unique=True, max_size=14).map(
    lambda moments: sorted(moments)[: len(moments) // 2 * 2]
)


def toggled(wire: str, start_us: int, moments: Sequence[int]) -> list[Step]:
    levels = itertools.cycle((ACTIVE, NORMAL))
    return [(start_us + at_us, wire, level) for at_us, level in zip(moments, levels, strict=False)]


@settings(CAREFULLY, max_examples=300)
@given(
    width_us=st.one_of(st.just(20_000), st.integers(20_000, 1_000_000)),
    travel_us=st.tuples(st.integers(0, 150_000), st.integers(0, 150_000)),
    bounced=st.tuples(BOUNCES, BOUNCES, BOUNCES, BOUNCES),
)
def test_pair_press_of_20_ms_is_confirmed_exactly_once_and_is_no_fault(
    width_us: int, travel_us: tuple[int, int], bounced: tuple[list[int], ...]
) -> None:
    """Any bounce up to 6.2 ms of both contacts at both ends, any travel between them."""

    def press(wide_us: int, begins: list[int], ends: list[int]) -> list[int]:
        return sorted({0, *begins, *(wide_us - at_us for at_us in ends), wide_us})

    made = press(width_us, *bounced[:2])
    broken = press(sum(travel_us) + width_us, *bounced[2:])
    moved = toggled(NC, SECOND_US, broken) + toggled(NO, SECOND_US + travel_us[0], made)
    found = play(BUTTON, [*REST, *sorted(moved)], until_us=20 * SECOND_US)
    assert words(found) == ["normal initial", "active", "normal"]


def shaped(shape: Shape, press_ms: int, seed: int) -> list[Step]:
    """A named shape on the pair, after a second of rest."""
    inputs = {Contact.NORMALLY_OPEN: NO, Contact.NORMALLY_CLOSED: NC}
    played = edges(shape, press_ms=press_ms, random=Random(seed), pair=True)
    return [
        (SECOND_US + e.at_us, inputs[e.contact], level_of(e.contact, closed=e.closed))
        for e in played
    ]


@CAREFULLY
@given(
    shape=st.sampled_from([Shape.CLEAN, Shape.CHATTER]),
    press_ms=st.integers(40, 2_000),
    seed=st.integers(0, 10**6),
)
def test_pair_press_of_a_clean_or_chattering_button_is_one_press(
    shape: Shape, press_ms: int, seed: int
) -> None:
    found = play(BUTTON, [*REST, *shaped(shape, press_ms, seed)], until_us=10 * SECOND_US)
    assert words(found).count("active") == 1
    assert "active doubtful" not in words(found)


@CAREFULLY
@given(
    shape=st.sampled_from([Shape.GLITCH, Shape.EMI]),
    press_ms=st.integers(20, 2_000),
    seed=st.integers(0, 10**6),
)
def test_pair_interference_raises_no_alarm(shape: Shape, press_ms: int, seed: int) -> None:
    found = play(BUTTON, [*REST, *shaped(shape, press_ms, seed)], until_us=20 * SECOND_US)
    assert not any(word.startswith("active") for word in words(found))


DAMAGE = {
    # at rest, then at a press and at letting go
    Shape.CUT_NO: ([], ["active doubtful", "wiring.raised both-open", "normal"]),
    Shape.CUT_NC: (["active doubtful", "wiring.raised both-open"], ["active", "unknown"]),
    Shape.CUT_COMMON: (["active doubtful", "wiring.raised both-open"], []),
    Shape.SHORT_NO: (["active doubtful", "wiring.raised both-closed"], ["active", "unknown"]),
    Shape.SHORT_NC: ([], ["active doubtful", "wiring.raised both-closed", "normal"]),
}


@pytest.mark.parametrize("shape", DAMAGE)
def test_pair_damage_shows_at_rest_or_at_the_next_press_and_alarms(shape: Shape) -> None:
    """What a pair cannot see at rest (NO cut, NC short) shows when it is pressed."""
    at_rest, at_a_press = DAMAGE[shape]
    found = play(BUTTON, [*REST, *shaped(shape, 300, 1)], until_us=10 * SECOND_US)
    assert words(found) == ["normal initial", *at_rest]
    pressed = shaped(Shape(f"{shape}-press"), 300, 1)
    found = play(BUTTON, [*REST, *pressed], until_us=10 * SECOND_US)
    assert words(found) == ["normal initial", *at_rest, *at_a_press]


@pytest.mark.parametrize("shape", DAMAGE)
def test_pair_damage_is_only_a_fault_where_the_site_says_so(shape: Shape) -> None:
    point = replace(BUTTON, wiring_doubt=WiringDoubt.FAULT)
    found = words(
        play(point, [*REST, *shaped(Shape(f"{shape}-press"), 300, 1)], until_us=10 * SECOND_US)
    )
    assert "active doubtful" not in found
    assert any(word.startswith("wiring.raised") for word in found)


def test_pair_damage_on_a_point_nobody_presses_is_only_a_fault() -> None:
    fire = replace(BUTTON, kind=PointKind.FIRE)
    found = play(fire, [*REST, *shaped(Shape.CUT_NC, 300, 1)], until_us=10 * SECOND_US)
    assert words(found) == ["normal initial", "unknown", "wiring.raised both-open"]


def test_pair_let_go_with_a_cut_wire_is_no_second_press() -> None:
    """The contact that was held opens into damage: the press was told when it went in."""
    steps = [*REST, *PRESS, (2 * SECOND_US, NO, NORMAL)]
    found = play(BUTTON, steps, until_us=9 * SECOND_US)
    assert words(found) == ["normal initial", "active", "unknown", "wiring.raised both-open"]


def test_pair_reports_every_press_on_a_cut_wire() -> None:
    presses = [
        (n * SECOND_US + part, NC, level)
        for n in range(1, 4)
        for part, level in ((0, ACTIVE), (300_000, NORMAL))
    ]
    found = words(play(BUTTON, [*REST, *presses], until_us=9 * SECOND_US))
    assert found.count("active doubtful") == 3
    assert found.count("wiring.raised both-open") == 1


# --- when a wiring fault ends --------------------------------------------------------------------


def test_wiring_fault_of_a_button_stands_until_it_agreed_at_rest_and_pressed() -> None:
    cut_no_pressed = [(SECOND_US, NC, ACTIVE), (2 * SECOND_US, NC, NORMAL)]
    monitor = Monitor(BUTTON, proved_us=0)
    for at_us, wire, level in [*REST, *cut_no_pressed]:
        monitor.feed(Reading(wire, level, at_us))
    monitor.wake(9 * SECOND_US)
    assert monitor.level is NORMAL
    assert monitor.faults == ("wiring",)
    steps = pair((10 * SECOND_US, ACTIVE, ACTIVE))
    found = [item for at, wire, level in steps for item in monitor.feed(Reading(wire, level, at))]
    assert words(found + monitor.wake(11 * SECOND_US)) == ["active", "wiring.cleared"]


def test_wiring_fault_seen_again_needs_both_positions_anew() -> None:
    """NC cut: every press agrees, but at rest the pair still contradicts itself."""
    presses = pair(
        (SECOND_US, NORMAL, ACTIVE),
        *(
            (n * SECOND_US + part, level, ACTIVE)
            for n in range(2, 5)
            for part, level in ((0, ACTIVE), (400_000, NORMAL))
        ),
    )
    assert "wiring.cleared" not in words(play(BUTTON, [*REST, *presses], until_us=9 * SECOND_US))


def test_wiring_fault_of_a_fire_contact_ends_as_soon_as_it_agrees() -> None:
    fire = replace(BUTTON, kind=PointKind.FIRE)
    steps = [*REST, (SECOND_US, NC, ACTIVE), (2 * SECOND_US, NC, NORMAL)]
    found = play(fire, steps, until_us=9 * SECOND_US)
    assert words(found)[-2:] == ["normal", "wiring.cleared"]


def test_wiring_fault_that_changes_is_told_again_and_ends_once() -> None:
    fire = replace(BUTTON, kind=PointKind.FIRE)
    steps = pair(
        (0, NORMAL, NORMAL),
        (SECOND_US, NORMAL, ACTIVE),
        (2 * SECOND_US, NORMAL, ACTIVE),
        (3 * SECOND_US, ACTIVE, ACTIVE),
    )
    unproved = replace(fire, prove_within_ms=500)
    found = words(play(unproved, steps, until_us=9 * SECOND_US, proved_us=10**9))
    assert found.count("wiring.raised both-open") == 1
    found = words(play(unproved, steps, until_us=3 * SECOND_US + 400_000))
    assert found == [
        "normal initial",
        "wiring.raised unproved",
        "unknown",
        "wiring.raised both-open",
        "active",
        "wiring.cleared",
    ]


@pytest.mark.parametrize("point", [LONE, replace(LONE, kind=PointKind.FIRE)])
def test_input_that_cannot_be_read_is_a_fault_and_no_alarm(point: Point) -> None:
    steps = [(0, NO, NORMAL), (SECOND_US, NO, UNKNOWN), (2 * SECOND_US, NO, NORMAL)]
    assert words(play(point, steps, until_us=9 * SECOND_US)) == [
        "normal initial",
        "unknown",
        "wiring.raised unreadable",
        "normal",
        "wiring.cleared",
    ]


# --- held, chattering, unproved ------------------------------------------------------------------

HELD = [(0, NO, NORMAL), (SECOND_US, NO, ACTIVE)]


def test_button_held_for_a_minute_is_stuck_until_it_is_let_go() -> None:
    found = play(LONE, [*HELD, (100 * SECOND_US, NO, NORMAL)], until_us=200 * SECOND_US)
    assert words(found) == ["normal initial", "active", "stuck.raised", "stuck.cleared", "normal"]
    stuck = found[2]
    assert isinstance(stuck, Fact)
    assert stuck.at_us == SECOND_US + 6_500 + 60_000 * US_PER_MS
    assert stuck.data == {"after_ms": 60_000}


def test_button_let_go_within_the_minute_is_not_stuck_however_late_one_looks() -> None:
    released_us = SECOND_US + 59_000_000
    found = play(LONE, [*HELD, (released_us, NO, NORMAL)], until_us=900 * SECOND_US)
    assert words(found) == ["normal initial", "active", "normal"]


@pytest.mark.parametrize(
    "point",
    [
        replace(LONE, mechanical_latch=True),
        replace(LONE, stuck_after_ms=None),
        replace(LONE, kind=PointKind.FIRE),
        replace(LONE, kind=PointKind.RESET_KEY),
    ],
)
def test_button_that_stays_in_by_design_is_never_stuck(point: Point) -> None:
    assert words(play(point, HELD, until_us=10**12)) == ["normal initial", "active"]


def test_chatter_is_told_and_ends_after_quiet() -> None:
    fire = replace(LONE, kind=PointKind.FIRE)
    noise = [
        (SECOND_US + at, NO, NORMAL if n % 2 else ACTIVE)
        for n, at in enumerate(range(0, 1_000_000, 5_000))
    ]
    found = play(fire, [(0, NO, NORMAL), *noise], until_us=5 * CHATTER_QUIET_US)
    assert words(found) == ["normal initial", "chatter.raised", "chatter.cleared"]


def test_point_nobody_proved_in_time_is_a_fault_until_it_is_pressed() -> None:
    point = replace(LONE, prove_within_ms=30 * DAY_US // US_PER_MS)
    steps = [(0, NO, NORMAL), (31 * DAY_US, NO, ACTIVE), (31 * DAY_US + SECOND_US, NO, NORMAL)]
    found = play(point, steps, until_us=60 * DAY_US, proved_us=-5 * DAY_US)
    assert words(found) == [
        "normal initial",
        "wiring.raised unproved",
        "active",
        "wiring.cleared",
        "normal",
    ]
    assert found[1].at_us == 25 * DAY_US


def test_point_overdue_at_the_start_is_told_once_a_level_is_known_not_in_the_past() -> None:
    point = replace(LONE, prove_within_ms=1_000)
    found = play(point, [(5_000_000, NO, NORMAL)], until_us=6_000_000, proved_us=-DAY_US)
    assert words(found) == ["normal initial", "wiring.raised unproved"]
    assert found[1].at_us == 5_200_000


def test_point_unproved_is_not_proved_by_a_wire_that_comes_back() -> None:
    fire = replace(BUTTON, kind=PointKind.FIRE, prove_within_ms=10_000)
    steps = [*REST, (20 * SECOND_US, NC, ACTIVE), (30 * SECOND_US, NC, NORMAL)]
    assert words(play(fire, steps, until_us=99 * SECOND_US)) == [
        "normal initial",
        "wiring.raised unproved",
        "unknown",
        "wiring.raised both-open",
        "normal",
    ]


def test_point_is_not_called_unproved_while_its_wiring_fault_stands() -> None:
    fire = replace(BUTTON, kind=PointKind.FIRE, prove_within_ms=10_000)
    steps = [*REST, (SECOND_US, NC, ACTIVE), (30 * SECOND_US, NC, NORMAL)]
    found = play(fire, steps, until_us=99 * SECOND_US)
    assert words(found) == [
        "normal initial",
        "unknown",
        "wiring.raised both-open",
        "normal",
        "wiring.cleared",
        "wiring.raised unproved",
    ]
    assert found[-1].at_us == found[-2].at_us


# --- other kinds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PointKind.MAINS, PointKind.BATTERY])
def test_power_failing_is_a_fault_and_no_alarm(kind: PointKind) -> None:
    point = replace(LONE, kind=kind)
    steps = [*HELD, (9 * SECOND_US, NO, NORMAL), (10 * SECOND_US, NO, UNKNOWN)]
    found = words(play(point, steps, until_us=90 * SECOND_US))
    assert found == [f"{kind}.raised", f"{kind}.cleared", "wiring.raised unreadable"]


@pytest.mark.parametrize("kind", sorted(PERSON_OPERATED))
def test_button_of_every_kind_tells_its_press(kind: PointKind) -> None:
    assert words(play(replace(LONE, kind=kind), HELD, until_us=2 * SECOND_US))[1:] == ["active"]


def test_button_held_at_the_start_is_told_as_initial() -> None:
    assert words(play(LONE, [(0, NO, ACTIVE)], until_us=SECOND_US)) == ["active initial"]


# --- time ----------------------------------------------------------------------------------------


@CAREFULLY
@given(
    shape=st.sampled_from(Shape),
    press_ms=st.integers(20, 90_000),
    seed=st.integers(0, 10**6),
    wakes=st.lists(st.integers(0, 100 * SECOND_US), max_size=20),
)
def test_monitor_finds_the_same_however_often_it_is_woken(
    shape: Shape, press_ms: int, seed: int, wakes: list[int]
) -> None:
    point = replace(BUTTON, prove_within_ms=20_000)
    steps = [*REST, *shaped(shape, press_ms, seed)]
    until_us = steps[-1][0] + 200 * SECOND_US
    monitor = Monitor(point, proved_us=0)
    found: Found = []
    left = sorted(wakes)
    for at_us, wire, level in steps:
        while left and left[0] <= at_us:
            found += monitor.wake(left.pop(0))
        found += monitor.feed(Reading(wire, level, at_us))
    while (due_us := monitor.deadline()) is not None and due_us <= until_us:
        assert not monitor.wake(due_us - 1)
        found += monitor.wake(due_us)
    assert found == play(point, steps, until_us=until_us)
    assert all(a.at_us <= b.at_us for a, b in itertools.pairwise(found))
