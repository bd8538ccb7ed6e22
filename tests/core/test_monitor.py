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
from gateway.core.counter import SAME_PRESS_US, Remember
from gateway.core.debounce import CHATTER_QUIET_US, ON_A_UNIT
from gateway.core.model import US_PER_MS, Count, Fact, Level, Reading
from gateway.core.monitor import PAIR, UNCOUNTED_US, Confirmed, Item, Monitor
from gateway.core.premises import PERSON_OPERATED, Input, Point, PointKind, WiringDoubt
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
Found = list[Item]


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


def words(found: Iterable[Item]) -> list[str]:
    """What was found, short: `active`, `active doubtful initial`, `wiring.raised both-open`."""
    told = []
    for item in found:
        if isinstance(item, Confirmed):
            flags = [name for name in ("doubtful", "initial") if getattr(item, name)]
            told.append(" ".join([item.level.value, *flags]))
        elif isinstance(item, Fact):
            why = item.data.get("why")
            told.append(item.type.removeprefix("fault.") + (f" {why}" if why else ""))
    return told


def moments(found: Iterable[Item]) -> list[int]:
    return [item.at_us for item in found if not isinstance(item, Remember)]


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
    assert moments(found)[1] == 25 * DAY_US


def test_point_overdue_at_the_start_is_told_once_a_level_is_known_not_in_the_past() -> None:
    point = replace(LONE, prove_within_ms=1_000)
    found = play(point, [(5_000_000, NO, NORMAL)], until_us=6_000_000, proved_us=-DAY_US)
    assert words(found) == ["normal initial", "wiring.raised unproved"]
    assert moments(found)[1] == 5_200_000


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
    assert moments(found)[-1] == moments(found)[-2]


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
    assert moments(found) == sorted(moments(found))


# --- counted by a unit ---------------------------------------------------------------------------

UNIT_NO, UNIT_NC = "hall/input-1", "hall/input-2"
COUNTED = Point("hall", PointKind.PANIC, Input(normally_open=UNIT_NO), prove_within_ms=None)
RESTING = Point("safe", PointKind.PANIC, Input(normally_closed=UNIT_NC), prove_within_ms=None)
BOTH = replace(COUNTED, input=Input(normally_open=UNIT_NO, normally_closed=UNIT_NC))
ON_UNITS = (COUNTED, RESTING, BOTH)


class Poll:
    """A unit read once a second (or as told); what it shows reaches the monitor by changes."""

    def __init__(self, point: Point, **counts: Count) -> None:
        kept = {UNIT_NO if name == "no" else UNIT_NC: value for name, value in counts.items()}
        self.monitor = Monitor(point, proved_us=0, counts=kept)
        self.addresses = point.input.addresses
        self.values = dict.fromkeys(self.addresses, 0)
        self.up_s = 5_000
        self.now_us = 0
        self.found: Found = []

    def look(self, level: Level | None = NORMAL, *, no: int = 0, nc: int = 0) -> list[str]:
        """A second later every input shows `level` (None: silence), and counted so much more."""
        self.now_us += SECOND_US
        self.up_s += 1
        found: Found = []
        for address in self.addresses:
            self.values[address] += no if address == UNIT_NO else nc
            shown = Count(self.values[address], 32, self.up_s)
            reading = Reading(address, level or UNKNOWN, self.now_us, shown if level else None)
            found += self.monitor.feed(reading)
        found += self.monitor.wake(self.now_us + SECOND_US - 1)
        self.found += found
        return words(found)

    def restart(self, *, no: int = 0, nc: int = 0) -> None:
        """The unit starts anew; by the next look it has counted so many."""
        self.values = {address: no if address == UNIT_NO else nc for address in self.addresses}
        self.up_s = 20

    def kept(self) -> list[Remember]:
        return [item for item in self.found if isinstance(item, Remember)]


def started(point: Point) -> Poll:
    poll = Poll(point)
    assert poll.look() == ["normal initial"]
    poll.found.clear()
    return poll


@pytest.mark.parametrize("point", ON_UNITS)
def test_press_between_two_looks_is_one_press_and_over(point: Point) -> None:
    poll = started(point)
    assert poll.look(no=1, nc=1) == ["active", "normal"]
    assert poll.look() == []


@pytest.mark.parametrize("point", ON_UNITS)
def test_press_seen_by_count_and_level_is_one_press(point: Point) -> None:
    poll = started(point)
    assert poll.look(ACTIVE, no=1) == ["active"]
    assert [poll.look(ACTIVE) for _ in range(5)] == [[]] * 5
    assert poll.look(nc=1) == ["normal"]
    assert poll.look() == []


@pytest.mark.parametrize("point", [COUNTED, BOTH])
def test_press_whose_level_shows_a_look_after_its_count_is_one_press(point: Point) -> None:
    poll = started(point)
    assert poll.look(no=1) == ["active", "normal"]
    assert poll.look(ACTIVE) == []
    assert [poll.look(ACTIVE) for _ in range(5)] == [[]] * 5
    assert poll.look(nc=1) == ["normal"]


def test_press_whose_count_shows_after_its_level_is_one_press() -> None:
    poll = started(COUNTED)
    monitor, at_us = poll.monitor, poll.now_us + SECOND_US
    found = monitor.feed(Reading(UNIT_NO, ACTIVE, at_us, Count(0, 32, 5_001)))
    found += monitor.feed(Reading(UNIT_NO, ACTIVE, at_us + 500_000, Count(1, 32, 5_001)))
    assert words(found + monitor.wake(at_us + 9 * SECOND_US)) == ["active"]


@pytest.mark.parametrize("times", [2, 3, 7])
def test_presses_in_one_delta_are_so_many(times: int) -> None:
    poll = started(COUNTED)
    assert poll.look(no=times) == ["active"] * times + ["normal"]


def test_press_of_a_contact_closed_at_rest_is_told_when_it_opens() -> None:
    """Its counter counts the closing: the press is told before, and not told again."""
    poll = started(RESTING)
    found = poll.monitor.feed(Reading(UNIT_NC, ACTIVE, 5 * SECOND_US, Count(0, 32, 5_010)))
    assert words(found + poll.monitor.wake(5 * SECOND_US + 10_000)) == ["active"]
    found = poll.monitor.feed(Reading(UNIT_NC, NORMAL, 50 * SECOND_US, Count(1, 32, 5_060)))
    assert words(found + poll.monitor.wake(51 * SECOND_US)) == ["normal"]


def test_press_held_right_after_a_short_one_is_a_second_press() -> None:
    poll = started(RESTING)
    assert poll.look(nc=1) == ["active", "normal"]
    assert poll.look(ACTIVE) == ["active"]
    assert poll.look(nc=1) == ["normal"]


@pytest.mark.parametrize("look_us", [SECOND_US, UNCOUNTED_US // 4])
def test_press_a_counter_does_not_count_is_told_within_its_second(look_us: int) -> None:
    """Let go before or held on: a counter that is broken silences no button."""
    poll = started(COUNTED)
    at_us, still = poll.now_us + SECOND_US, Count(0, 32, 5_001)
    found = poll.monitor.feed(Reading(UNIT_NO, ACTIVE, at_us, still))
    found += poll.monitor.feed(Reading(UNIT_NO, NORMAL, at_us + look_us, still))
    found += poll.monitor.wake(at_us + 9 * SECOND_US)
    pressed = [item for item in found if isinstance(item, Confirmed) and item.level is ACTIVE]
    assert [item.at_us for item in pressed] == [at_us + 1 + UNCOUNTED_US]
    assert words(found)[-1] == "normal"


def test_press_told_by_its_level_is_not_told_by_its_late_count() -> None:
    poll = started(COUNTED)
    assert poll.look(ACTIVE) == []
    assert poll.look(ACTIVE) == ["active"]
    assert poll.look(no=1) == ["normal"]
    assert poll.look(no=1) == ["active", "normal"]


@pytest.mark.parametrize("point", ON_UNITS)
def test_unit_that_starts_anew_presses_nothing(point: Point) -> None:
    poll = started(point)
    poll.look(no=3, nc=3)
    poll.restart(nc=1)
    assert poll.look() == []
    assert poll.look(no=1, nc=1) == ["active", "normal"]


@pytest.mark.parametrize(("point", "told"), [(COUNTED, True), (BOTH, True), (RESTING, False)])
def test_press_between_a_units_start_and_the_look_is_doubtful(point: Point, told: bool) -> None:  # noqa: FBT001 -- a table's column
    poll = started(point)
    poll.restart(no=1, nc=1)
    assert poll.look() == (["active doubtful", "normal"] if told else [])


@pytest.mark.parametrize("point", ON_UNITS)
def test_unit_that_falls_silent_is_no_fault_and_no_alarm(point: Point) -> None:
    poll = started(point)
    assert poll.look(None) == ["unknown"]
    assert poll.monitor.faults == ()
    assert poll.look() == ["normal initial"]


@pytest.mark.parametrize("point", ON_UNITS)
def test_button_found_pressed_after_a_silence_is_as_at_a_start(point: Point) -> None:
    poll = started(point)
    poll.look(None)
    assert poll.look(ACTIVE) == ["active initial"]
    assert poll.look(nc=1) == ["normal"]


@pytest.mark.parametrize("point", ON_UNITS)
def test_press_counted_during_a_silence_is_a_press(point: Point) -> None:
    poll = started(point)
    poll.look(None)
    assert poll.look(no=1, nc=1) == ["active", "normal initial"]


@pytest.mark.parametrize("point", ON_UNITS)
def test_press_made_while_the_gateway_was_away_is_told_once(point: Point) -> None:
    kept = Count(0, 32, 4_000)
    poll = Poll(point, no=kept, nc=kept)
    assert poll.look(no=1, nc=1) == ["active", "normal initial"]
    again = Poll(point, **{"no" if r.input == UNIT_NO else "nc": r.count for r in poll.kept()})
    assert again.look(no=1, nc=1) == ["normal initial"]


def test_press_counted_carries_what_the_record_keeps() -> None:
    poll = started(COUNTED)
    poll.look(no=2)
    kept = Remember(UNIT_NO, Count(2, 32, 5_002))
    pressed = [item for item in poll.found if isinstance(item, Confirmed) and item.counter]
    assert [item.counter for item in pressed] == [kept, kept]
    assert poll.kept() == [kept]


def test_counter_that_makes_no_event_is_remembered() -> None:
    poll = Poll(COUNTED)
    poll.look()
    poll.restart()
    poll.look()
    assert poll.kept() == [
        Remember(UNIT_NO, Count(0, 32, 5_001)),
        Remember(UNIT_NO, Count(0, 32, 21)),
    ]


def test_button_proved_by_its_count_is_proved() -> None:
    poll = Poll(replace(COUNTED, prove_within_ms=3_000))
    assert [poll.look() for _ in range(3)][-1] == ["wiring.raised unproved"]
    assert poll.look(no=1) == ["active", "wiring.cleared", "normal"]


def test_pair_with_a_cut_wire_tells_each_press_once_though_it_is_counted_later() -> None:
    """NO cut: only the other contact moves, and counts when it is let go."""
    poll = started(BOTH)
    for _ in range(3):
        poll.now_us += SAME_PRESS_US
        shown = Count(poll.values[UNIT_NC], 32)
        found = poll.monitor.feed(Reading(UNIT_NC, ACTIVE, poll.now_us, shown))
        found += poll.monitor.wake(poll.now_us + SECOND_US)
        poll.now_us += 2 * SECOND_US
        poll.values[UNIT_NC] += 1
        shown = Count(poll.values[UNIT_NC], 32)
        found += poll.monitor.feed(Reading(UNIT_NC, NORMAL, poll.now_us, shown))
        found += poll.monitor.wake(poll.now_us + SECOND_US)
        assert words(found).count("active doubtful") == 1
        assert "active" not in words(found)


def test_pair_that_counts_and_then_contradicts_itself_was_pressed_once() -> None:
    """NC shorted: the other contact counts the press, and the pair disagrees 200 ms later."""
    poll = started(BOTH)
    found = poll.monitor.feed(Reading(UNIT_NO, ACTIVE, 5 * SECOND_US, Count(1, 32, 5_010)))
    found += poll.monitor.wake(6 * SECOND_US)
    assert words(found) == ["active", "unknown", "wiring.raised both-closed"]


@pytest.mark.parametrize("looks", [1, 2])
def test_pair_looked_at_while_it_travels_has_sound_wiring(looks: int) -> None:
    """The next look comes 200 ms later, or the one after it when that request is lost."""
    monitor, at_us = started(BOTH).monitor, 5 * SECOND_US
    none, one = Count(0, 32, 5_010), Count(1, 32)
    found = monitor.feed(Reading(UNIT_NC, ACTIVE, at_us, none))
    at_us += looks * 200_000 + 20_000
    found += monitor.wake(at_us)
    assert words(found) == []
    found += monitor.feed(Reading(UNIT_NO, ACTIVE, at_us, one))
    assert words(found) == ["active"]


@pytest.mark.parametrize("late_us", [1_000, 152_000, 400_000, 900_000])
def test_pair_whose_doubt_is_ahead_of_its_count_was_pressed_once(late_us: int) -> None:
    """Looked at while the button travels, and not again until the pair has disagreed too long."""
    monitor, at_us = started(BOTH).monitor, 5 * SECOND_US
    none, one = Count(0, 32, 5_010), Count(1, 32)
    found = monitor.feed(Reading(UNIT_NC, ACTIVE, at_us, none))
    at_us += ON_A_UNIT.unknown_us
    found += monitor.wake(at_us)
    assert words(found) == ["active doubtful", "wiring.raised both-open"]
    found += monitor.feed(Reading(UNIT_NO, ACTIVE, at_us + late_us, none))
    found += monitor.feed(Reading(UNIT_NO, ACTIVE, at_us + late_us + 25_000, one))
    at_us += 3 * SECOND_US
    found += monitor.wake(at_us)
    found += monitor.feed(Reading(UNIT_NO, NORMAL, at_us, one))
    found += monitor.feed(Reading(UNIT_NC, NORMAL, at_us, none))
    found += monitor.feed(Reading(UNIT_NC, NORMAL, at_us + 25_000, one))
    found += monitor.wake(at_us + 9 * SECOND_US)
    assert "active" not in words(found)
    assert words(found).count("active doubtful") == 1
    assert words(found)[-2:] == ["normal", "wiring.cleared"]


@pytest.mark.parametrize("point", [COUNTED, BOTH])
def test_button_found_pressed_by_a_level_read_after_its_counter_was_pressed_once(
    point: Point,
) -> None:
    """At a start, or when a silence is over: the counter was read just before the press."""
    poll = Poll(point)
    assert poll.look(ACTIVE) == ["active initial"]
    assert poll.look(ACTIVE, no=1) == []
    assert poll.look(nc=1) == ["normal"]
    assert poll.look(no=1, nc=1) == ["active", "normal"]


@pytest.mark.parametrize("point", [COUNTED, BOTH])
def test_press_soon_after_a_button_was_found_pressed_is_a_press(point: Point) -> None:
    poll = Poll(point)
    assert poll.look(ACTIVE) == ["active initial"]
    assert poll.look(nc=1) == ["normal"]
    assert poll.look(no=1, nc=1) == ["active", "normal"]


@pytest.mark.parametrize("kind", [PointKind.FIRE, PointKind.TAMPER])
def test_machine_on_a_unit_is_told_by_its_level_without_a_wait(kind: PointKind) -> None:
    poll = started(replace(COUNTED, kind=kind))
    found = poll.monitor.feed(Reading(UNIT_NO, ACTIVE, 5 * SECOND_US, Count(0, 32, 5_010)))
    assert words(found + poll.monitor.wake(5 * SECOND_US + 10_000)) == ["active"]
    poll.now_us = 5 * SECOND_US
    assert poll.look(ACTIVE, no=1) == []
    poll.look()
    poll.restart(no=1)
    assert poll.look() == []


def test_mains_on_a_unit_fails_by_its_level_alone() -> None:
    poll = Poll(replace(COUNTED, kind=PointKind.MAINS))
    assert poll.look() == []
    assert poll.look(no=1) == []
    assert poll.look(None) == []
    assert poll.look(ACTIVE, no=1) == ["mains.raised"]
    assert poll.look() == ["mains.cleared"]


def test_key_turned_while_nobody_looked_is_as_found_turned() -> None:
    key = replace(COUNTED, kind=PointKind.RESET_KEY)
    poll = started(key)
    assert poll.look(no=1) == ["active", "normal"]
    poll.look(None)
    assert poll.look(no=1) == ["active initial", "normal initial"]
    away = Poll(key, no=Count(0, 32, 4_000))
    assert away.look(no=1) == ["active initial", "normal initial"]


def test_pin_that_cannot_be_read_beside_a_silent_unit_is_still_a_fault() -> None:
    point = replace(BOTH, input=Input(normally_open=NO, normally_closed=UNIT_NC))
    steps = [
        (0, NO, NORMAL),
        (0, UNIT_NC, NORMAL),
        (SECOND_US, UNIT_NC, UNKNOWN),
        (SECOND_US, NO, UNKNOWN),
    ]
    found = words(play(point, steps, until_us=9 * SECOND_US))
    assert found == ["normal initial", "unknown", "wiring.raised unreadable"]


@CAREFULLY
@given(
    gaps_ms=st.lists(st.integers(50, 9_000), max_size=20),
    widths_ms=st.lists(st.integers(20, 4_000), min_size=20, max_size=20),
    poll_ms=st.sampled_from([50, 200, 1_000]),
    point=st.sampled_from(ON_UNITS),
)
def test_presses_on_a_unit_are_each_told_once_however_they_fall_between_the_looks(
    gaps_ms: list[int], widths_ms: list[int], poll_ms: int, point: Point
) -> None:
    """The unit is read every poll_ms, its level first; a press may fall into any gap."""
    edges: list[tuple[int, int]] = []
    at_ms = 5_000
    for gap_ms, width_ms in zip(gaps_ms, widths_ms, strict=False):
        edges.append((at_ms + gap_ms, at_ms + gap_ms + width_ms))
        at_ms += gap_ms + width_ms
    monitor, found = Monitor(point, proved_us=0), Found()
    for now_ms in range(0, at_ms + 9_000, poll_ms):
        pressed = any(down <= now_ms < up for down, up in edges)
        downs = sum(down <= now_ms + 5 for down, _ in edges)
        ups = sum(up <= now_ms + 5 for _, up in edges)
        for address in point.input.addresses:
            shown = Count(downs if address == UNIT_NO else ups, 16, now_ms // 1_000)
            level = ACTIVE if pressed else NORMAL
            found += monitor.feed(Reading(address, level, now_ms * US_PER_MS, shown))
    found += monitor.wake((at_ms + 99_000) * US_PER_MS)
    assert words(found).count("active") == len(edges)
    assert words(found)[-1].startswith("normal")
    assert "active doubtful" not in words(found)


def test_machine_whose_counter_is_ahead_of_its_level_is_one_alarm() -> None:
    """Read in two requests, it closed between them; let go at once it is over 2 s later."""
    case = replace(COUNTED, kind=PointKind.TAMPER)
    held, tapped = started(case), started(case)
    assert held.look(no=1) == ["active"]
    assert [held.look(ACTIVE) for _ in range(4)] == [[]] * 4
    assert held.look() == ["normal"]
    assert tapped.look(no=1) == ["active"]
    assert [word for _ in range(4) for word in tapped.look()] == ["normal"]
