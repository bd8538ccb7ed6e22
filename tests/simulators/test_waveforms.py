"""Waveforms: what each shape may and may not do to a button's contacts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Contact
from simulators.building.waveforms import (
    BOUNCE_WORST_US,
    DAMAGE_TO_PRESS_US,
    NC,
    NO,
    SPIKE_GAP_US,
    SPIKE_US,
    TRAVEL_US,
    Edge,
    Shape,
    as_edges,
    edges,
    emi_burst,
    pulse,
    rests_closed,
    spikes,
)

DICE = st.integers(min_value=0, max_value=2**32).map(Random)
PRESSES = st.integers(min_value=20, max_value=2_000)
ON_ONE_CONTACT = [
    (shape, lone)
    for shape in Shape
    for lone in (NO, NC)
    if not shape.forced or lone in shape.forced
]


def of(contact: Contact, played: Iterable[Edge]) -> list[Edge]:
    return [edge for edge in played if edge.contact is contact]


def moments(contact: Contact, played: Iterable[Edge]) -> list[int]:
    return [edge.at_us for edge in of(contact, played)]


def gaps(toggles: Sequence[int]) -> list[int]:
    return [later - earlier for earlier, later in itertools.pairwise(toggles)]


@given(shape=st.sampled_from(Shape), press_ms=PRESSES, dice=DICE)
def test_waveform_edges_rise_strictly_from_zero_and_each_changes_its_contact(
    shape: Shape, press_ms: int, dice: Random
) -> None:
    played = edges(shape, press_ms=press_ms, random=dice, pair=True)
    assert all(later.at_us > earlier.at_us for earlier, later in itertools.pairwise(played))
    assert all(edge.at_us >= 0 for edge in played)
    for contact in (NO, NC):
        reads = [rests_closed(contact), *(edge.closed for edge in of(contact, played))]
        assert all(earlier != later for earlier, later in itertools.pairwise(reads))


@given(which=st.sampled_from(ON_ONE_CONTACT), press_ms=PRESSES, dice=DICE)
def test_waveform_of_a_lone_contact_moves_only_that_one(
    which: tuple[Shape, Contact], press_ms: int, dice: Random
) -> None:
    shape, lone = which
    played = edges(shape, press_ms=press_ms, random=dice, pair=False, lone=lone)
    assert {edge.contact for edge in played} <= {lone}


@pytest.mark.parametrize("shape", Shape)
def test_waveform_replays_from_its_seed(shape: Shape) -> None:
    first, second = (edges(shape, press_ms=300, random=Random(7), pair=True) for _ in range(2))
    assert first == second


@given(
    shape=st.sampled_from([Shape.CLEAN, Shape.BOUNCE, Shape.CHATTER, Shape.GLITCH, Shape.EMI]),
    press_ms=PRESSES,
    dice=DICE,
)
def test_waveform_of_a_sound_button_ends_at_rest(shape: Shape, press_ms: int, dice: Random) -> None:
    played = edges(shape, press_ms=press_ms, random=dice, pair=True)
    assert played
    for contact in (NO, NC):
        assert len(of(contact, played)) % 2 == 0


@given(
    shape=st.sampled_from([Shape.CLEAN, Shape.BOUNCE, Shape.CHATTER]), press_ms=PRESSES, dice=DICE
)
def test_waveform_change_over_switch_breaks_before_it_makes(
    shape: Shape, press_ms: int, dice: Random
) -> None:
    played = edges(shape, press_ms=press_ms, random=dice, pair=True)
    made, broken = moments(NO, played), moments(NC, played)
    assert TRAVEL_US[0] <= made[0] - broken[0] <= TRAVEL_US[1]
    assert broken[-1] > made[-1]


@given(press_ms=PRESSES, dice=DICE)
def test_waveform_bounce_leaves_every_press_steady_for_eight_milliseconds(
    press_ms: int, dice: Random
) -> None:
    played = edges(Shape.BOUNCE, press_ms=press_ms, random=dice, pair=False)
    toggles = moments(NO, played)
    assert toggles[0] == 0
    assert toggles[-1] == press_ms * 1_000
    closed = [fall - rise for rise, fall in zip(toggles[::2], toggles[1::2], strict=True)]
    assert max(closed) >= 8_000
    longest = closed.index(max(closed))
    assert toggles[2 * longest] <= BOUNCE_WORST_US
    assert toggles[-1] - toggles[2 * longest + 1] <= BOUNCE_WORST_US


def test_waveform_bounce_reaches_the_worst_published_switch() -> None:
    """Half of the worst is passed within a hundred presses, and nearly all of it in a thousand."""
    dice = Random(1)
    starts = []
    for _ in range(1_000):
        toggles = moments(NO, edges(Shape.BOUNCE, press_ms=1_000, random=dice, pair=False))
        starts.append(max(at for at in toggles if at < 500_000))
    assert max(starts[:100]) > BOUNCE_WORST_US // 2
    assert BOUNCE_WORST_US * 9 // 10 < max(starts) <= BOUNCE_WORST_US


@given(press_ms=st.integers(min_value=40, max_value=2_000), dice=DICE)
def test_waveform_chatter_never_settles_but_is_closed_long_enough_to_be_believed(
    press_ms: int, dice: Random
) -> None:
    played = edges(Shape.CHATTER, press_ms=press_ms, random=dice, pair=False)
    toggles = moments(NO, played)
    assert max(gaps(toggles)) <= 4_000
    spans = list(zip(toggles[::2], toggles[1::2], strict=True))
    for start_us in range(0, 20_001, 1_000):
        end_us = start_us + 20_000
        assert sum(max(0, min(b, end_us) - max(a, start_us)) for a, b in spans) >= 6_500


@given(dice=DICE)
def test_waveform_glitch_is_one_spike(dice: Random) -> None:
    played = edges(Shape.GLITCH, press_ms=300, random=dice, pair=True)
    assert len(played) == 2
    assert played[1].at_us - played[0].at_us <= SPIKE_US


@given(press_ms=PRESSES, dice=DICE)
def test_waveform_emi_is_many_spikes_never_dense(press_ms: int, dice: Random) -> None:
    toggles = [e.at_us for e in edges(Shape.EMI, press_ms=press_ms, random=dice, pair=True)]
    assert len(toggles) >= 4
    assert max(gaps(toggles)[::2]) <= SPIKE_US
    assert min(gaps(toggles)[1::2]) >= SPIKE_GAP_US


def test_waveform_stuck_button_stays_in() -> None:
    played = edges(Shape.STUCK, press_ms=300, random=Random(1), pair=True)
    assert [(edge.contact, edge.closed) for edge in played] == [(NC, False), (NO, True)]


@pytest.mark.parametrize(
    ("shape", "at_rest"),
    [
        (Shape.CUT_NO, []),
        (Shape.CUT_NC, [(NC, False)]),
        (Shape.CUT_COMMON, [(NC, False)]),
        (Shape.SHORT_NO, [(NO, True)]),
        (Shape.SHORT_NC, []),
    ],
)
def test_waveform_damage_reads_as_the_wire_does_at_rest_and_in_a_press(
    shape: Shape, at_rest: list[tuple[Contact, bool]]
) -> None:
    damaged = edges(shape, press_ms=300, random=Random(1), pair=True)
    assert [(edge.contact, edge.closed) for edge in damaged] == at_rest
    assert all(edge.at_us < 10 for edge in damaged)
    pressed = edges(Shape(f"{shape}-press"), press_ms=300, random=Random(1), pair=True)
    after = pressed[len(damaged) :]
    assert pressed[: len(damaged)] == damaged
    assert {edge.contact for edge in after} == {NO, NC} - shape.forced.keys()
    assert all(edge.at_us >= DAMAGE_TO_PRESS_US for edge in after)
    assert not shape.pressed
    assert Shape(f"{shape}-press").pressed


def test_waveform_refuses_damage_to_a_wire_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="cut-nc: this button has only its normally-open"):
        edges(Shape.CUT_NC, press_ms=300, random=Random(1), pair=False)


def test_waveform_refuses_a_press_too_short_to_be_one() -> None:
    with pytest.raises(ValueError, match="at least 20 ms"):
        edges(Shape.CLEAN, press_ms=19, random=Random(1), pair=True)


# --- bare moments ---------------------------------------------------------------------------


@given(
    width_us=st.integers(min_value=20_000, max_value=1_000_000),
    bounce_us=st.integers(min_value=0, max_value=9_999),
    dice=DICE,
)
def test_pulse_spans_its_width_and_bounces_only_at_its_ends(
    width_us: int, bounce_us: int, dice: Random
) -> None:
    toggles = pulse(width_us, bounce_us, dice)
    assert toggles[0] == 0
    assert toggles[-1] == width_us
    assert len(toggles) % 2 == 0
    assert all(gap > 0 for gap in gaps(toggles))
    assert all(at <= bounce_us or at >= width_us - bounce_us for at in toggles)


def test_pulse_without_room_for_its_bounces_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        pulse(20_000, 10_000, Random(1))


@given(
    count=st.integers(min_value=0, max_value=50),
    width_us=st.integers(min_value=1, max_value=3_000),
    gap_us=st.integers(min_value=1, max_value=20_000),
    dice=DICE,
)
def test_spikes_keep_their_width_and_their_distance(
    count: int, width_us: int, gap_us: int, dice: Random
) -> None:
    toggles = spikes(count, width_us, gap_us, dice)
    assert len(toggles) == 2 * count
    assert all(0 < gap <= width_us for gap in gaps(toggles)[::2])
    assert all(gap >= gap_us for gap in gaps(toggles)[1::2])


def test_spikes_often_sit_exactly_at_the_limit() -> None:
    distances = gaps(spikes(1_000, SPIKE_US, SPIKE_GAP_US, Random(1)))
    assert 400 < distances[::2].count(SPIKE_US) < 600
    assert 400 < distances[1::2].count(SPIKE_GAP_US) < 600


@given(
    bursts=st.integers(min_value=1, max_value=5),
    burst_us=st.integers(min_value=200, max_value=15_000),
    dice=DICE,
)
def test_emi_bursts_keep_within_their_length_and_period(
    bursts: int, burst_us: int, dice: Random
) -> None:
    toggles = emi_burst(dice, bursts=bursts, burst_us=burst_us)
    assert len(toggles) % 2 == 0
    assert all(gap > 0 for gap in gaps(toggles))
    assert all(at % 300_000 <= burst_us for at in toggles)
    assert {at // 300_000 for at in toggles} == set(range(bursts))


def test_as_edges_leaves_the_rest_of_either_contact_first() -> None:
    assert as_edges([5, 9], NO) == [Edge(5, NO, closed=True), Edge(9, NO, closed=False)]
    assert as_edges([5, 9], NC) == [Edge(5, NC, closed=False), Edge(9, NC, closed=True)]
