"""Ranges against a plain set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.ranges import Ranges

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=150)
NUMBERS = st.integers(1, 60)
SPANS = st.tuples(NUMBERS, NUMBERS)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "take"]), SPANS), max_size=40)


def numbers(spans: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


@CAREFULLY
@given(steps=STEPS)
def test_ranges_hold_what_a_set_would_hold(steps: list[tuple[str, tuple[int, int]]]) -> None:
    ranges, plain = Ranges(), set[int]()
    for act, (first, last) in steps:
        if act == "add":
            ranges.add(min(first, last), max(first, last))
            plain |= numbers([(min(first, last), max(first, last))])
        else:
            there = ranges.take(first, last)
            assert numbers(there) == plain & numbers([(first, last)])
            plain -= numbers([(first, last)])
        spans = list(ranges)
        assert numbers(spans) == plain
        assert all(a <= b for a, b in spans)
        assert all(b + 1 < a for (_, b), (a, _) in pairwise(spans))
        assert (len(ranges), bool(ranges)) == (len(plain), bool(plain))
        for number in range(62):
            assert (number in ranges) is (number in plain)
            assert ranges.after(number) == min((n for n in plain if n > number), default=None)


def test_ranges_take_nothing_when_asked_backwards() -> None:
    ranges = Ranges([(1, 10)])
    assert ranges.take(5, 3) == []
    assert ranges.take(1, 0) == []
    assert list(ranges) == [(1, 10)]


def test_ranges_take_a_single_number() -> None:
    ranges = Ranges([(1, 3)])
    assert ranges.take(2, 2) == [(2, 2)]
    assert list(ranges) == [(1, 1), (3, 3)]


def test_ranges_of_a_million_in_a_row_are_one() -> None:
    ranges = Ranges()
    for number in range(1, 10_001):
        ranges.add(number, number)
    assert list(ranges) == [(1, 10_000)]
