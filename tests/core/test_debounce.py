"""The Debouncer against two references: time taken tick by tick, and a sliding window bisected."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.debounce import (
    CHATTER_QUIET_US,
    LONG_LINE,
    MACHINE,
    ON_A_UNIT,
    PERSON,
    Conclusion,
    Debouncer,
    Rule,
    Verdict,
    rule_for,
)
from gateway.core.model import Level
from gateway.core.premises import Input, Line, Point, PointKind

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=150)
REST_US = 1_000_000
Edges = list[tuple[int, Level]]

NORMAL, ACTIVE, UNKNOWN = Level.NORMAL, Level.ACTIVE, Level.UNKNOWN


def play(rule: Rule, edges: Sequence[tuple[int, Level]], *, until_us: int) -> list[Conclusion]:
    debouncer = Debouncer(rule)
    found = [c for at_us, level in edges for c in debouncer.feed(level, at_us)]
    return found + debouncer.wake(until_us)


def at_rest(toggles: Sequence[int], *, after_us: int = REST_US) -> Edges:
    """A contact that has rested for a second, and then changes at every moment given."""
    levels = itertools.cycle((ACTIVE, NORMAL))
    return [(0, NORMAL), *((after_us + at_us, next(levels)) for at_us in toggles)]


def presses(rule: Rule, toggles: Sequence[int]) -> int:
    found = play(rule, at_rest(toggles), until_us=2 * REST_US + toggles[-1])
    return sum(c.verdict is Verdict.LEVEL and c.level is ACTIVE for c in found)


def verdicts(found: Sequence[Conclusion]) -> list[tuple[str, int]]:
    return [(f"{c.verdict}:{c.level}", c.at_us) for c in found]


# --- against a reference that takes time tick by tick --------------------------------------------


def tick_by_tick(rule: Rule, edges: Edges, *, until_us: int) -> list[Conclusion]:
    """The rule as its documentation says it, with no arithmetic cleverer than counting."""
    shown: list[Level] = []
    raw = confirmed = first = doubt_us = None
    since_us = 0
    found: list[Conclusion] = []
    changes = dict(edges)
    for now_us in range(edges[0][0], until_us + 1):
        held_us = shown[-rule.window_us :].count(ACTIVE)
        for_us = now_us - since_us
        waits_us = rule.unknown_us if raw is UNKNOWN else rule.release_us
        enough = held_us >= rule.confirm_us if raw is ACTIVE else for_us >= waits_us
        if raw is not None and raw is not confirmed and enough:
            initial = confirmed is None and first is raw
            confirmed, doubt_us = raw, None
            found.append(Conclusion(Verdict.LEVEL, now_us, raw, initial=initial))
        if doubt_us is not None and raw in {NORMAL, confirmed} and for_us >= rule.quiet_us:
            doubt_us = None
        if doubt_us is not None and now_us - doubt_us >= rule.doubt_us:
            return [*found, Conclusion(Verdict.CHATTERS, now_us, confirmed or UNKNOWN)]
        level = changes.get(now_us, raw)
        if level is not raw:
            if raw is None:
                first = level
            elif doubt_us is None and level is not confirmed and confirmed is not ACTIVE:
                doubt_us = now_us
            raw, since_us = level, now_us
        assert raw is not None
        shown.append(raw)
    return found


@st.composite
def small_rules(draw: st.DrawFn) -> Rule:
    confirm_us = draw(st.integers(1, 8))
    window_us = confirm_us + draw(st.integers(0, 16))
    return Rule(
        confirm_us=confirm_us,
        window_us=window_us,
        release_us=window_us + draw(st.integers(1, 30)),
        unknown_us=window_us + draw(st.integers(1, 30)),
        doubt_us=draw(st.integers(5, 60)),
        quiet_us=draw(st.integers(1, 20)),
    )


@st.composite
def small_edges(draw: st.DrawFn) -> Edges:
    gaps = draw(st.lists(st.one_of(st.integers(1, 4), st.integers(1, 60)), min_size=1, max_size=40))
    moments = itertools.accumulate(gaps)
    return [(at_us, draw(st.sampled_from(Level))) for at_us in moments]


@settings(CAREFULLY, max_examples=500)
@given(rule=small_rules(), edges=small_edges())
def test_debouncer_concludes_what_counting_every_tick_concludes(rule: Rule, edges: Edges) -> None:
    """Up to the first chatter, which has its own tests: its end is too far away to count to."""
    until_us = edges[-1][0] + 100
    expected = tick_by_tick(rule, edges, until_us=until_us)
    assert play(rule, edges, until_us=until_us)[: len(expected)] == expected
    if not any(c.verdict is Verdict.CHATTERS for c in expected):
        assert play(rule, edges, until_us=until_us) == expected


# --- against a sliding window at full scale ------------------------------------------------------


def bisected(rule: Rule, toggles: Sequence[int]) -> int | None:
    """When the window first holds enough closed time, found by bisection over microseconds."""
    closed = list(zip(toggles[::2], toggles[1::2], strict=True))

    def held_us(at_us: int) -> int:
        tail_us = at_us - rule.window_us
        return sum(max(0, min(end, at_us) - max(begin, tail_us)) for begin, end in closed)

    for begin, end in closed:
        if held_us(end) >= rule.confirm_us:
            low, high = begin, end
            while low < high:
                middle = (low + high) // 2
                low, high = (
                    (low, middle) if held_us(middle) >= rule.confirm_us else (middle + 1, high)
                )
            return low
    return None


@settings(CAREFULLY, max_examples=200)
@given(
    rule=st.sampled_from([PERSON, MACHINE, LONG_LINE]),
    gaps=st.lists(
        st.one_of(st.integers(1, 2_500), st.integers(1, 15_000)), min_size=2, max_size=80
    ),
)
def test_debouncer_confirms_a_press_at_the_microsecond_the_window_is_full(
    rule: Rule, gaps: list[int]
) -> None:
    toggles = list(itertools.accumulate(gaps[: len(gaps) // 2 * 2]))
    found = play(rule, at_rest(toggles), until_us=REST_US + toggles[-1])
    first = next((c.at_us for c in found if c.level is ACTIVE and c.verdict is Verdict.LEVEL), None)
    expected = bisected(rule, toggles)
    assert first == (None if expected is None else REST_US + expected)


def test_debouncer_counts_on_when_more_stretches_come_than_it_keeps() -> None:
    """10 us closed, 10 us open: 6.5 ms are full after 650 stretches, more than are remembered."""
    toggles = list(range(0, 20_000, 10))
    found = play(PERSON, at_rest(toggles), until_us=REST_US + 20_000)
    assert [(c.level, c.at_us) for c in found][1:] == [(ACTIVE, REST_US + 12_990)]


# --- what it depends on --------------------------------------------------------------------------


@CAREFULLY
@given(edges=small_edges(), wakes=st.lists(st.integers(0, 3_000), max_size=30), rule=small_rules())
def test_debouncer_concludes_the_same_however_often_it_is_woken(
    edges: Edges, wakes: list[int], rule: Rule
) -> None:
    end_us = edges[-1][0] + 2 * CHATTER_QUIET_US
    debouncer = Debouncer(rule)
    found = []
    for at_us, level in [*edges, (end_us, edges[-1][1])]:
        for now_us in sorted(wake for wake in wakes if wake <= at_us):
            found += debouncer.wake(now_us)
        found += debouncer.feed(level, at_us)
    assert found == play(rule, edges, until_us=end_us)


@CAREFULLY
@given(edges=small_edges(), rule=small_rules())
def test_debouncer_woken_at_its_deadlines_concludes_each_thing_at_its_moment(
    edges: Edges, rule: Rule
) -> None:
    debouncer = Debouncer(rule)
    found = []
    for at_us, level in [*edges, (edges[-1][0] + 500, edges[-1][1])]:
        while (due_us := debouncer.deadline()) is not None and due_us <= at_us:
            assert debouncer.wake(due_us - 1) == []
            concluded = debouncer.wake(due_us)
            assert all(c.at_us == due_us for c in concluded)
            found += concluded
        assert debouncer.feed(level, at_us) == []
    assert found == play(rule, edges, until_us=edges[-1][0] + 500)


@CAREFULLY
@given(edges=small_edges(), rule=small_rules(), again=st.integers(1, 3))
def test_debouncer_told_the_same_level_again_concludes_the_same(
    edges: Edges, rule: Rule, again: int
) -> None:
    stutter = []
    for (at_us, level), (next_us, _) in itertools.pairwise([*edges, (edges[-1][0] + 9, NORMAL)]):
        stutter += [
            (at_us + (next_us - at_us) * part // (again + 1), level) for part in range(again)
        ]
    until_us = edges[-1][0] + 500
    assert play(rule, stutter, until_us=until_us) == play(rule, edges, until_us=until_us)


def test_debouncer_counts_an_edge_at_its_own_time_even_after_a_later_wake() -> None:
    """A driver's thread may hand over a press after the loop has looked at a later moment."""
    debouncer = Debouncer(PERSON)
    debouncer.feed(NORMAL, 0)
    debouncer.wake(1_030_000)
    found = debouncer.feed(ACTIVE, 1_000_000) + debouncer.feed(NORMAL, 1_020_000)
    assert verdicts(found) == [("level:active", 1_006_500)]


@CAREFULLY
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(Level), st.integers(-50, 60), st.integers(-50, 400)), max_size=40
    ),
    rule=small_rules(),
)
def test_debouncer_survives_time_that_runs_backwards(
    steps: list[tuple[Level, int, int]], rule: Rule
) -> None:
    debouncer = Debouncer(rule)
    at_us = 0
    found = []
    for level, step_us, wake_us in steps:
        at_us += step_us
        found += debouncer.feed(level, at_us) + debouncer.wake(at_us + wake_us)
    assert all(a.at_us <= b.at_us for a, b in itertools.pairwise(found))
    levels = [c.level for c in found if c.verdict is Verdict.LEVEL]
    assert all(a is not b for a, b in itertools.pairwise(levels))


# --- buttons -------------------------------------------------------------------------------------

WIDTHS = st.one_of(st.just(3_000), st.integers(1, 3_000))
APART = st.one_of(st.just(10_000), st.integers(10_000, 40_000))


@CAREFULLY
@given(spikes=st.lists(st.tuples(WIDTHS, APART), min_size=1, max_size=60))
def test_button_spikes_of_3_ms_beginning_10_ms_apart_never_alarm(
    spikes: list[tuple[int, int]],
) -> None:
    starts = itertools.accumulate((apart for _, apart in spikes), initial=0)
    toggles = [
        at_us
        for start_us, (width_us, _) in zip(starts, spikes, strict=False)
        for at_us in (start_us, start_us + width_us)
    ]
    assert presses(PERSON, toggles) == 0


@CAREFULLY
@given(spikes=st.lists(st.tuples(WIDTHS, APART), min_size=1, max_size=60))
def test_button_spikes_of_3_ms_with_10_ms_between_them_never_alarm(
    spikes: list[tuple[int, int]],
) -> None:
    toggles = list(itertools.accumulate(part for spike in spikes for part in spike))
    assert presses(PERSON, [0, *toggles[:-1]]) == 0


def bounces(limit_us: int, *, most: int = 8) -> st.SearchStrategy[list[int]]:
    """An even number of moments in 1..limit: the contact is closed before and after them."""
    return (
        st.lists(st.integers(1, limit_us), unique=True, max_size=2 * most)
        .map(sorted)
        .map(lambda moments: moments[: len(moments) // 2 * 2])
    )


@settings(CAREFULLY, max_examples=250)
@given(
    width_us=st.one_of(st.just(20_000), st.integers(20_000, 2_000_000)),
    begins=st.one_of(st.just([1, 6_200]), bounces(6_200)),
    ends=st.one_of(st.just([1, 6_200]), bounces(6_200)),
)
def test_button_press_of_20_ms_bouncing_6_ms_at_both_ends_is_one_press(
    width_us: int, begins: list[int], ends: list[int]
) -> None:
    toggles = [0, *begins, *(width_us - at_us for at_us in reversed(ends)), width_us]
    assert presses(PERSON, toggles) == 1


@settings(CAREFULLY, max_examples=250)
@given(
    steady_us=st.integers(20_000, 500_000),
    begins=st.one_of(st.just([7_000, 157_000]), bounces(157_000, most=40)),
    ends=st.one_of(st.just([7_000, 157_000]), bounces(157_000, most=40)),
)
def test_button_press_bouncing_for_157_ms_at_both_ends_is_one_press(
    steady_us: int, begins: list[int], ends: list[int]
) -> None:
    width_us = steady_us + 2 * 157_000
    toggles = [0, *begins, *(width_us - at_us for at_us in reversed(ends)), width_us]
    assert presses(PERSON, toggles) == 1


def test_button_dense_train_alarms() -> None:
    """A worn contact that never settles: 3 ms closed, 3 ms open."""
    assert presses(PERSON, list(range(0, 60_000, 3_000))) == 1


def test_button_released_for_less_than_200_ms_is_still_held() -> None:
    assert presses(PERSON, [0, 50_000, 50_000 + 199_999, 400_000]) == 1
    assert presses(PERSON, [0, 50_000, 50_000 + 200_000, 400_000]) == 2


def test_button_train_too_thin_to_alarm_is_told_as_chatter() -> None:
    toggles = [at for start in range(0, 400_000, 10_000) for at in (start, start + 3_000)]
    found = play(PERSON, at_rest(toggles), until_us=REST_US + 400_000)
    assert verdicts(found)[1:] == [("chatters:normal", REST_US + 250_000)]


# --- everything else -----------------------------------------------------------------------------


@pytest.mark.parametrize(("closed_us", "expected"), [(6_999, 0), (7_000, 1)])
def test_machine_needs_7_ms_unbroken(closed_us: int, expected: int) -> None:
    assert presses(MACHINE, [0, closed_us]) == expected


def test_machine_flicker_closed_for_most_of_the_time_is_chatter_and_no_alarm() -> None:
    toggles = [at for start in range(0, 400_000, 7_000) for at in (start, start + 6_999)]
    found = play(MACHINE, at_rest(toggles), until_us=REST_US + 400_000)
    assert verdicts(found)[1:] == [("chatters:normal", REST_US + 250_000)]


def test_doubt_that_rests_for_20_ms_dies() -> None:
    """Spikes for hours, never 20 ms apart from the last's end: no chatter. One us less: chatter."""
    for rest_us, chatters in ((20_000, False), (19_999, True)):
        period_us = 1_000 + rest_us
        starts = range(0, 100 * period_us, period_us)
        toggles = [at for start in starts for at in (start, start + 1_000)]
        found = play(MACHINE, at_rest(toggles), until_us=REST_US + toggles[-1])
        assert any(c.verdict is Verdict.CHATTERS for c in found) is chatters


def test_chatter_is_told_once_and_ends_after_ten_seconds_without_an_edge() -> None:
    toggles = list(range(0, 1_000_000, 5_000))
    last_us = REST_US + toggles[-1]
    found = play(MACHINE, at_rest(toggles), until_us=last_us + 2 * CHATTER_QUIET_US)
    assert verdicts(found)[1:] == [
        ("chatters:normal", REST_US + 250_000),
        ("settled:normal", last_us + CHATTER_QUIET_US),
    ]


def test_chatter_hides_no_level() -> None:
    toggles = [*range(0, 1_000_000, 5_000), 1_500_000]
    toggles = toggles[: len(toggles) // 2 * 2 - 1]
    found = play(MACHINE, at_rest(toggles), until_us=REST_US + toggles[-1] + 20_000)
    assert verdicts(found)[1:] == [
        ("chatters:normal", REST_US + 250_000),
        ("level:active", REST_US + toggles[-1] + 7_000),
    ]


def test_chatter_before_anything_was_confirmed_names_no_level() -> None:
    found = play(
        MACHINE,
        [(at, ACTIVE if at % 2 else NORMAL) for at in range(0, 300_001, 3_333)],
        until_us=300_001,
    )
    assert [(c.verdict, c.level) for c in found] == [(Verdict.CHATTERS, UNKNOWN)]


# --- long lines ----------------------------------------------------------------------------------


@CAREFULLY
@given(
    bursts=st.lists(
        st.lists(st.integers(1, 15_000), unique=True, min_size=2, max_size=40).map(sorted),
        min_size=1,
        max_size=4,
    )
)
def test_long_line_bursts_of_15_ms_never_alarm(bursts: list[list[int]]) -> None:
    """One every 300 ms, as interference comes (IEC 61000-4-4)."""
    toggles = [
        number * 300_000 + at_us
        for number, burst in enumerate(bursts)
        for at_us in burst[: len(burst) // 2 * 2]
    ]
    assert presses(LONG_LINE, toggles) == 0


@CAREFULLY
@given(
    width_us=st.one_of(st.just(100_000), st.integers(100_000, 1_000_000)),
    begins=st.one_of(st.just([1, 15_000]), bounces(15_000)),
    ends=st.one_of(st.just([1, 15_000]), bounces(15_000)),
)
def test_long_line_pulses_of_100_ms_always_alarm_once(
    width_us: int, begins: list[int], ends: list[int]
) -> None:
    toggles = [0, *begins, *(width_us - at_us for at_us in reversed(ends)), width_us]
    assert presses(LONG_LINE, toggles) == 1


# --- the start -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "after_us"), [(NORMAL, 200_000), (ACTIVE, 6_500), (UNKNOWN, 200_000)]
)
def test_level_at_the_start_is_confirmed_as_initial(level: Level, after_us: int) -> None:
    found = play(PERSON, [(5, level)], until_us=REST_US)
    assert found == [Conclusion(Verdict.LEVEL, 5 + after_us, level, initial=True)]


def test_level_that_changed_since_the_start_is_not_initial() -> None:
    found = play(PERSON, [(0, NORMAL), (100_000, ACTIVE)], until_us=REST_US)
    assert found == [Conclusion(Verdict.LEVEL, 106_500, ACTIVE)]


def test_debouncer_knows_nothing_before_the_first_level() -> None:
    debouncer = Debouncer(PERSON)
    assert debouncer.confirmed is None
    assert debouncer.deadline() is None
    assert debouncer.wake(10**12) == []


@pytest.mark.parametrize(
    ("kind", "line", "rule"),
    [
        (PointKind.PANIC, Line.SHORT, PERSON),
        (PointKind.LOCKDOWN, Line.SHORT, PERSON),
        (PointKind.FIRE, Line.SHORT, MACHINE),
        (PointKind.RESET_KEY, Line.SHORT, MACHINE),
        (PointKind.PANIC, Line.LONG, LONG_LINE),
        (PointKind.FIRE, Line.LONG, LONG_LINE),
    ],
)
def test_rule_follows_the_kind_and_the_line(kind: PointKind, line: Line, rule: Rule) -> None:
    assert rule_for(Point("p", kind, Input(normally_open="gpio:1", line=line))) == rule


def test_contact_on_a_unit_is_believed_at_once() -> None:
    """The unit has filtered it, and nothing more is seen of it before the next look."""
    on_a_unit = Point("hall", PointKind.FIRE, Input("hub/input-1"))
    on_a_pin = Point("hall", PointKind.FIRE, Input("gpio:5"))
    mixed = Point("hall", PointKind.PANIC, Input("hub/input-1", "gpio:5"))
    assert rule_for(on_a_unit) is ON_A_UNIT
    assert rule_for(on_a_pin) is not ON_A_UNIT
    assert rule_for(mixed) is not ON_A_UNIT
    debouncer = Debouncer(rule_for(on_a_unit))
    debouncer.feed(Level.NORMAL, 0)
    debouncer.wake(1_000_000)
    debouncer.feed(Level.ACTIVE, 2_000_000)
    (confirmed,) = debouncer.wake(2_000_001)
    assert confirmed.level is Level.ACTIVE
