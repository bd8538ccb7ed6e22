"""What was wrong and when, as the story made it wrong: the ground all judgement rests on.

Owns spans of trouble by name, in microseconds of the loop. A trouble without an end lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Name = tuple[str, ...]
"""What is in trouble: `("uplink", "campus")`, `("centre", "security")`, `("gateway",)` …"""

GATEWAY: Name = ("gateway",)
DISK: Name = ("disk",)
UNIT: Name = ("unit",)
ADAPTER: Name = ("adapter",)
OPERATOR: Name = ("operator",)
NEVER_US = 1 << 62
KEPT_US = 900_000_000
"""Ended troubles are remembered for so long; nothing is explained by anything older."""


def uplink(name: str) -> Name:
    """The trouble of an uplink or its broker."""
    return ("uplink", name)


def centre(route: str) -> Name:
    """The trouble of a centre: deaf, or not there."""
    return ("centre", route)


def wires(point: str) -> Name:
    """Damage, interference or a hand at a point."""
    return ("wires", point)


@dataclass(slots=True)
class Spans:
    """Every trouble. `now_us` is the loop's clock."""

    now_us: Callable[[], int]
    _open: dict[Name, list[int]] = field(default_factory=dict)
    _ended: dict[Name, list[tuple[int, int]]] = field(default_factory=dict)

    def begin(self, name: Name) -> None:
        """It begins now; troubles of one name may overlap."""
        self._open.setdefault(name, []).append(self.now_us())

    def end(self, name: Name) -> None:
        """The one that began last ends now."""
        since_us, now_us = self._open[name].pop(), self.now_us()
        ended = self._ended.setdefault(name, [])
        ended.append((since_us, now_us))
        while ended and ended[0][1] < now_us - KEPT_US:
            del ended[0]

    def once(self, name: Name) -> None:
        """It was there for a moment."""
        self.begin(name)
        self.end(name)

    def standing(self) -> list[Name]:
        """What is wrong now."""
        return [name for name, began in self._open.items() if began]

    def lasts(self, name: Name) -> bool:
        """True while it is wrong."""
        return bool(self._open.get(name))

    def over_us(self, name: Name) -> int:
        """Since when nothing is wrong with it: 0 for never, NEVER_US while something is."""
        if self.lasts(name):
            return NEVER_US
        return max((end_us for _, end_us in self._ended.get(name, ())), default=0)

    def touch(self, name: Name, from_us: int, to_us: int) -> bool:
        """True when something was wrong with it at any moment of that time, both ends in it."""
        if any(since_us <= to_us for since_us in self._open.get(name, ())):
            return True
        return any(a <= to_us and b >= from_us for a, b in self._ended.get(name, ()))

    def first_us(self, name: Name, from_us: int, to_us: int) -> int | None:
        """When the first trouble that touched that time began; None for none."""
        open_us = [since_us for since_us in self._open.get(name, ()) if since_us <= to_us]
        ended_us = [a for a, b in self._ended.get(name, ()) if a <= to_us and b >= from_us]
        return min([*open_us, *ended_us], default=None)

    def last_us(self, name: Name, from_us: int, to_us: int) -> int:
        """When the last trouble that touched that time was over: 0 for none, NEVER_US not yet."""
        if any(since_us <= to_us for since_us in self._open.get(name, ())):
            return NEVER_US
        ended = self._ended.get(name, ())
        return max((b for a, b in ended if a <= to_us and b >= from_us), default=0)
