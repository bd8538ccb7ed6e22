"""Numbers held, as spans; and what is missing between them. Pure.

A centre holds millions of numbers as a handful of spans.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from gateway.core.ranges import Ranges as Set
from simulators.centre.core.reading import NUMBER_MAX
from simulators.centre.core.words import Span


class Ranges:
    """A set of whole numbers from 1, kept as disjoint ascending spans with a gap between each."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """`spans` are disjoint, ascending and apart, as `spans` gives them."""
        self._spans = list(spans)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every span as (first, last)."""
        return tuple(self._spans)

    @property
    def through(self) -> int:
        """The last number of the unbroken run from 1; 0 when 1 is missing."""
        return self._spans[0][1] if self._spans and self._spans[0][0] == 1 else 0

    @property
    def beyond(self) -> tuple[Span, ...]:
        """The spans behind the first gap."""
        return tuple(self._spans[1:] if self.through else self._spans)

    def __contains__(self, number: int) -> bool:
        behind = self._behind(number)
        return behind > 0 and self._spans[behind - 1][1] >= number

    def _behind(self, number: int) -> int:
        return bisect_right(self._spans, number, key=lambda span: span[0])

    def add(self, number: int) -> None:
        """Take one number in; one that is there already changes nothing."""
        if number in self:
            return
        at = self._behind(number)
        first = last = number
        if at < len(self._spans) and self._spans[at][0] == number + 1:
            last = self._spans.pop(at)[1]
        if at > 0 and self._spans[at - 1][1] == number - 1:
            at -= 1
            first = self._spans.pop(at)[0]
        self._spans.insert(at, (first, last))

    def missing(self, upto: int) -> tuple[Span, ...]:
        """What is not held of 1..upto, ascending."""
        found = []
        wanted = 1
        for first, last in self._spans:
            if first > upto:
                break
            if first > wanted:
                found.append((wanted, first - 1))
            wanted = last + 1
        if wanted <= upto:
            found.append((wanted, upto))
        return tuple(found)


def without(spans: Iterable[Span], gone: Set) -> tuple[Span, ...]:
    """Spans less the numbers that are gone, ascending. It changes neither."""
    left = Set(spans)
    for first, last in gone:
        left.take(first, last)
    return tuple(left)


def spans_of(value: Any) -> list[Span]:
    """Ranges as a message has them, `[[1, 3], [7, 7]]`; what is none is passed over."""
    items = value if isinstance(value, list) else []
    return [(item[0], item[1]) for item in items if _is_span(item)]


def _is_span(item: Any) -> bool:
    two = isinstance(item, list) and len(item) == 2 and all(type(number) is int for number in item)
    return two and 1 <= item[0] <= item[1] <= NUMBER_MAX
