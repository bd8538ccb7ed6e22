"""Judges every fault the gateway tells: none without a cause, none missing, each ended.

A fault has to be raised within the age its link is promised, unless its cause was over by then or
the gateway was not there; and what has no cause must not be raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from campaigns.sim.spans import (
    ADAPTER,
    DISK,
    GATEWAY,
    OPERATOR,
    UNIT,
    Name,
    Spans,
    centre,
    uplink,
    wires,
)
from simulators.virtual.year_school import SCHOOL

US_PER_S = 1_000_000
SWALLOWED_MS = 8_000
"""A connection that is swallowed between two slow heartbeats is first noticed by its keepalive."""
IN_USE_US = {
    spec.id: (spec.heartbeat_ms + 5_000 + SWALLOWED_MS * (spec.heartbeat_ms > SWALLOWED_MS)) * 1_000
    for spec in SCHOOL.uplinks
}
"""A deaf path that is in use: its heartbeat, 4 s for the echo, and a second."""
STANDBY_US = 65 * US_PER_S
"""A standby path is asked once a minute."""
CAUSED_US = 150 * US_PER_S
"""A fault of a path may come so long after its cause: a standby path that was asked just before."""
FORGOTTEN_US = 400 * US_PER_S
"""A start clears what it does not find again: within three minutes, and a word may be lost."""
TOLD_ANEW = frozenset({"wiring", "storage", "configuration"})
"""Kinds that are told again while they stand when what is wrong has changed."""

Key = tuple[str, str, str, str]
"""Kind, subject, then route and uplink, or part and why at a door; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A fault that must stand by `due_us` unless `cause` is over by then."""

    key: Key
    cause: Name
    since_us: int
    within_us: int


class Faults:
    """What stands, and what must. `broken` is told what a promise was broken by."""

    def __init__(self, spans: Spans, broken: Callable[[str], None]) -> None:
        self._spans = spans
        self._broken = broken
        self._demands: list[Demand] = []
        self.standing: dict[Key, str] = {}
        self._told_us: dict[Key, int] = {}
        self._known: dict[str, tuple[Key, str]] = {}
        self.raised = 0
        self.demanded = 0
        self._unproved: set[str] = set()
        self._doubted: set[str] = set()
        self.unproved: Callable[[str], bool] = lambda _point: False

    # --- what must come --------------------------------------------------------------------------

    def demand(self, cause: Name, *keys: tuple[Key, int]) -> None:
        """From now on each of these faults must stand so many microseconds later."""
        now_us = self._spans.now_us()
        self._demands += [Demand(key, cause, now_us, within_us) for key, within_us in keys]

    def demand_paths(self, name: str, cause: Name, routes: tuple[str, ...]) -> None:
        """The paths of an uplink over which nobody answers any more."""
        in_use = {
            route.id: route.via[0] == name or self._down(route.via[0])
            for route in SCHOOL.routes
            if name in route.via and route.id in routes
        }
        for route, used in in_use.items():
            within_us = IN_USE_US[name] if used else STANDBY_US
            self.demand(cause, (("path", name, route, name), within_us))

    def _down(self, name: str) -> bool:
        """An uplink that is away for so long that every other one is in use."""
        now_us = self._spans.now_us()
        lasts = self._spans.lasts(uplink(name))
        return lasts and self._spans.touch(uplink(name), now_us - 20 * US_PER_S, now_us)

    def wake(self) -> None:
        """Look at what must stand by now."""
        now_us, left = self._spans.now_us(), []
        for demand in self._demands:
            since_us = demand.since_us
            if demand.key in self.standing:
                self.demanded += 1
                continue
            if not self._spans.lasts(demand.cause):
                continue
            if self._spans.lasts(GATEWAY):
                left.append(demand)
                continue
            since_us = max(since_us, self._spans.over_us(GATEWAY))
            if now_us > since_us + demand.within_us:
                kind, subject, *more = demand.key
                self._broken(
                    f"P4: fault.{kind} of {subject} {' '.join(more)} was not raised within"
                    f" {demand.within_us / US_PER_S:.0f} s of its cause {'/'.join(demand.cause)}"
                )
                continue
            left.append(demand)
        self._demands = left

    # --- what comes ------------------------------------------------------------------------------

    def told(
        self, kind: str, phase: str, data: Mapping[str, object], *, at_us: int, event: str = ""
    ) -> None:
        """The gateway tells a fault, or its end; `data` has its subject too. Each event once."""
        key = _key(kind, data)
        near = self._spans.touch(GATEWAY, at_us - FORGOTTEN_US, at_us)
        if phase == "cleared":
            if self.standing.pop(key, None) is None and not near:
                self._broken(f"P4: fault.{kind} of {key[1]} was cleared and had not been raised")
            return
        self.raised += 1
        why = str(data.get("why", ""))
        if self.standing.get(key) == (why if kind in TOLD_ANEW else "") and not near:
            self._broken(f"P4: fault.{kind} of {' '.join(key[1:])} was raised while it stood")
        self.standing[key] = why if kind in TOLD_ANEW else ""
        self._known[event] = key, self.standing[key]
        self._told_us[key] = at_us
        if not self._caused(key, why, at_us):
            self._broken(f"P4: fault.{kind} of {' '.join(key[1:])} was raised without a cause")

    def forget(self, since_us: int) -> None:
        """The gateway died with a disk that may not have held what was told since then.

        What it did hold stands and is not told again: a point in doubt is proved once more.
        """
        for key, told_us in list(self._told_us.items()):
            if told_us >= since_us and self.standing.pop(key, None) is not None:
                self._doubted |= {key[1]} if key[0] == "wiring" else set()

    def restarted(self, events: Iterable[object]) -> None:
        """A start names the faults that stand on its disk.

        One that had been cleared was so on a disk that died before it held the end of it: it stands
        again, and a wire is to be proved once more.
        """
        for event in events:
            key, why = self._known.get(str(event), (None, ""))
            if key is not None and key not in self.standing:
                self.standing[key] = why
                self._doubted |= {key[1]} if key[0] == "wiring" else set()

    def settled(self) -> None:
        """Nothing stands, and all of it is on disk."""
        self._known.clear()

    def _caused(self, key: Key, why: str, now_us: int) -> bool:
        kind, subject, route, name = key
        causes: list[tuple[Name, float]]
        match kind:
            case "path":
                causes = [(uplink(name), CAUSED_US), (centre(route), CAUSED_US)]
                causes.append((GATEWAY, CAUSED_US))
            case "delivery":
                causes = [(OPERATOR, 100 * US_PER_S), (centre(subject), 100 * US_PER_S)]
                via = SCHOOL.route(subject).via
                causes += [(uplink(one), 100 * US_PER_S) for one in via]
                causes.append((GATEWAY, 100 * US_PER_S))
            case "unit-silent":
                causes = [(UNIT, 30 * US_PER_S), (ADAPTER, 30 * US_PER_S)]
            case "bus":
                causes = [(ADAPTER, 30 * US_PER_S), (UNIT, 30 * US_PER_S)]
            case "configuration":
                causes = [(UNIT, 90 * US_PER_S), (ADAPTER, 90 * US_PER_S)]
            case "storage":
                causes = [(DISK, 5 * US_PER_S)]
            case "wiring" if why == "unproved":
                self._unproved.add(subject)
                return self.unproved(subject)
            case "wiring" | "chatter" | "stuck":
                causes = [(wires(subject), 5 * US_PER_S), (UNIT, 30 * US_PER_S)]
            case _:
                causes = []
        return any(self._spans.touch(cause, int(now_us - age), now_us) for cause, age in causes)

    def to_prove(self) -> list[str]:
        """Points that have been called unproved and stand so, or may: nobody knows what is held."""
        self._unproved = {one for one in self._unproved if ("wiring", one, "", "") in self.standing}
        return sorted(self._unproved | self._doubted)

    def proved(self, point: str) -> None:
        """Somebody has shown that it works."""
        self._doubted.discard(point)

    def all_clear(self) -> str:
        """What still stands, in words; empty when nothing does."""
        return ", ".join(" ".join(part for part in key if part) for key in self.standing)


def _key(kind: str, data: Mapping[str, object]) -> Key:
    named = ("part", "why") if "part" in data else ("route", "uplink")
    one, other = (str(data.get(name, "")) for name in named)
    return kind, str(data["subject"]), one, other
