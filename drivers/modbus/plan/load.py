"""How far periods must be stretched where a wire cannot keep them all. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FULL_LOAD = 0.95
"""Above this share of the wire periods are stretched; the rest is for actions and probes."""

EVEN_SHARES = 2
"""On a wire that cannot keep up a unit counts with at most so many times its even share, or with
what the others leave, so that one that asks for everything does not stretch everybody's periods."""


def stretched(demands: Mapping[str, float]) -> dict[str, float]:
    """What each unit's periods are to be multiplied by, 1.0 or more.

    demands: the share of the wire each asks for, 1.0 being all of it. Everybody's periods stretch
    evenly; those of a unit that asks for more than it may, the more.
    """
    if sum(demands.values()) <= FULL_LOAD:
        return dict.fromkeys(demands, 1.0)
    asking = sorted(demand for demand in demands.values() if demand > 0)
    most = max(EVEN_SHARES * FULL_LOAD / len(asking), _level(asking))
    even = max(1.0, sum(min(demand, most) for demand in asking) / FULL_LOAD)
    return {device: even * max(1.0, demand / most) for device, demand in demands.items()}


def _level(demands: Sequence[float]) -> float:
    """The share nobody may exceed for the wire to be just full; `demands` rise, and exceed it."""
    left, rest = FULL_LOAD, len(demands)
    for demand in demands:
        if demand >= left / rest:
            break
        left -= demand
        rest -= 1
    return left / max(rest, 1)
