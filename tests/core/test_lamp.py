"""The lamp at a button: what each state shows, and when that changes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import lamp
from gateway.core.lamp import RHYTHMS, LampState, lit, next_change_us

STATES = st.sampled_from(list(LampState))
MOMENTS = st.integers(min_value=0, max_value=10**13)


def picture(state: LampState, *, since_us: int = 0) -> str:
    cells = range(since_us, since_us + 1_000_000, 50_000)
    return "".join("#" if lit(state, since_us, at) else "." for at in cells)


@pytest.mark.parametrize("state", LampState)
def test_lamp_shows_what_its_documentation_draws(state: LampState) -> None:
    assert lamp.__doc__ is not None
    assert f"    {state:<14}{picture(state)}   " in lamp.__doc__


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(LampState, 2)))
def test_lamp_states_differ_by_rhythm(one: LampState, other: LampState) -> None:
    assert picture(one) != picture(other)


def test_lamp_idle_is_dark_and_never_changes() -> None:
    assert not lit(LampState.IDLE, 0, 123_456_789)
    assert next_change_us(LampState.IDLE, 0, 123_456_789) is None


def test_lamp_acknowledged_is_steady_and_never_changes() -> None:
    assert lit(LampState.ACKNOWLEDGED, 0, 123_456_789)
    assert next_change_us(LampState.ACKNOWLEDGED, 0, 123_456_789) is None


def test_lamp_has_no_state_for_faults() -> None:
    """A fault lamp would confirm a cut wire to whoever cut it."""
    assert [str(state) for state in LampState] == ["idle", "sending", "received", "acknowledged"]


@pytest.mark.parametrize("state", LampState)
def test_lamp_never_flashes_more_than_three_times_a_second(state: LampState) -> None:
    """WCAG 2.2, criterion 2.3.1; every window of one second that begins with a flash."""
    period_us = sum(RHYTHMS[state]) * 1_000
    for start_us in range(0, period_us, 10_000):
        moments = range(start_us, start_us + 1_000_000, 10_000)
        shown = [lit(state, 0, at) for at in moments]
        rises = sum(later and not earlier for earlier, later in itertools.pairwise(shown))
        assert rises + shown[0] <= 3


@pytest.mark.parametrize("state", [LampState.SENDING, LampState.RECEIVED])
def test_lamp_is_lit_at_once_when_an_alarm_moves_on(state: LampState) -> None:
    assert lit(state, 777, 777)


@given(state=STATES, since_us=MOMENTS, now_us=MOMENTS)
def test_lamp_changes_at_the_announced_moment_and_not_before(
    state: LampState, since_us: int, now_us: int
) -> None:
    change_us = next_change_us(state, since_us, now_us)
    if change_us is None:
        return
    assert change_us > now_us
    before = lit(state, since_us, now_us)
    assert lit(state, since_us, change_us - 1) == before
    assert lit(state, since_us, change_us) != before


@given(state=STATES, since_us=MOMENTS, early_us=st.integers(min_value=0, max_value=10**9))
def test_lamp_counts_a_moment_before_the_state_as_its_beginning(
    state: LampState, since_us: int, early_us: int
) -> None:
    assert lit(state, since_us, since_us - early_us) == lit(state, since_us, since_us)
