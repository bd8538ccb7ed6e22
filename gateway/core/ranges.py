"""A set of whole numbers kept as ranges: a million owed messages in a row weigh one tuple. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Sorted, disjoint, inclusive ranges of numbers from 1 on."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        """How many numbers are in it."""
        return sum(last - first + 1 for first, last in self)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def add(self, first: int, last: int) -> None:
        """Put first..last in; what touches is joined."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def take(self, first: int, last: int) -> list[tuple[int, int]]:
        """Remove first..last and say which of it was there; nothing when it runs backwards."""
        if last < first:
            return []
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        touched = list(zip(self._firsts[low:high], self._lasts[low:high], strict=True))
        kept = [(a, first - 1) for a, _ in touched if a < first]
        kept += [(last + 1, b) for _, b in touched if b > last]
        self._firsts[low:high] = [a for a, _ in kept]
        self._lasts[low:high] = [b for _, b in kept]
        return [(max(a, first), min(b, last)) for a, b in touched]

    def after(self, number: int) -> int | None:
        """The smallest number in it above `number`; None when there is none."""
        at = bisect_right(self._lasts, number)
        if at == len(self._firsts):
            return None
        return max(self._firsts[at], number + 1)
