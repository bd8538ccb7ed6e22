"""Which faults stand, through restarts: raised once, cleared once, whoever lived meanwhile. Pure.

Monitors, paths and drivers forget with the process what they had raised. This gate stands between
them and the record: what is raised again as it stood is not told again, and what nobody has raised
again in its time has healed while nobody looked, and is cleared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gateway.core.kinds import class_of, kind_of, phase_of
from gateway.core.model import US_PER_MS, Event, Fact, Json
from gateway.core.premises import PERSON_OPERATED, Premises
from gateway.core.timekeeping import UNSYNCHRONISED_AFTER_US

PATIENCE_US = 120_000_000
"""Any fault but those below is found again within so long of a start: a silent unit takes 8 s, a
path over a standby uplink 64 s."""

_MARGIN_US = 60_000_000

_NAMING = ("route", "uplink", "part", "why")
"""Members that a clearing repeats, so that it is known which fault it ends."""

_TOLD_ANEW = frozenset({"wiring", "storage", "configuration"})
"""Kinds that are told again while they stand when `why` has changed."""

Patience = Callable[[str, str], int | None]
"""Kind and subject to microseconds from the start; None: only the point itself can show it."""


def name_of(event_type: str, subject: str, data: Mapping[str, Json]) -> str:
    """What a raised fault and its clearing have in common, and no other fault that may stand."""
    kind = kind_of(event_type)
    members = ("route",) if kind == "path" else ("part", "why") if "part" in data else ()
    told = [str(data[member]) for member in members if member in data]
    return " ".join([kind, subject, *told])


def patience_of(premises: Premises) -> Patience:
    """How long after a start each fault is waited for."""
    points = {point.id: point for point in premises.points}
    routes = {route.id: route for route in premises.routes}
    uplinks = {uplink.id: uplink for uplink in premises.uplinks}

    def patience_us(kind: str, subject: str) -> int | None:
        point, route, uplink = points.get(subject), routes.get(subject), uplinks.get(subject)
        if kind == "wiring" and point is not None and point.kind.value in PERSON_OPERATED:
            return None
        longest_ms = 0
        if kind == "stuck" and point is not None:
            longest_ms = point.stuck_after_ms or 0
        elif kind == "delivery" and route is not None:
            longest_ms = max(route.receipt_within_ms, route.acknowledge_within_ms or 0)
        elif kind == "path" and uplink is not None:
            longest_ms = 2 * uplink.heartbeat_ms
        elif kind == "clock":
            longest_ms = UNSYNCHRONISED_AFTER_US // US_PER_MS
        return max(PATIENCE_US, longest_ms * US_PER_MS + _MARGIN_US)

    return patience_us


class Standing:
    """The faults the centres were told of. Every fact goes through `passed` before the record.

    A fault from before the start that nobody sees again is cleared with `unseen`: when it healed is
    not known.
    """

    def __init__(self, raised: Iterable[Event], patience: Patience, *, now_us: int) -> None:
        """raised: what was raised before this start and not cleared, as recorded."""
        self._told: dict[str, Mapping[str, Json]] = {}
        self._doubted: dict[str, tuple[Event, int | None]] = {}
        for event in raised:
            name = name_of(event.type, event.subject, event.data)
            patience_us = patience(kind_of(event.type), event.subject)
            self._told[name] = event.data
            self._doubted[name] = (event, None if patience_us is None else now_us + patience_us)

    @property
    def names(self) -> tuple[str, ...]:
        """What stands, in the order it was raised."""
        return tuple(self._told)

    @property
    def from_before(self) -> tuple[str, ...]:
        """Ids of the events that raised, before this start, what is not known to have healed."""
        return tuple(event.id for event, _ in self._doubted.values())

    def passed(self, facts: Iterable[Fact]) -> list[Fact]:
        """What of these is news, with what it shows to have healed. Facts that are no faults pass.

        A press that came over sound wiring clears a wiring fault from before the start.
        """
        news: list[Fact] = []
        for fact in facts:
            if class_of(fact.type) == "fault":
                news += self._fault(fact)
                continue
            news.append(fact)
            pressed = class_of(fact.type) in {"alarm", "test"} and phase_of(fact.type) != "cleared"
            if pressed and not fact.data.get("doubtful"):
                proved = name_of("fault.wiring.raised", fact.subject, {})
                if proved in self._doubted:
                    news += self._fault(self._healed(proved, fact.at_us))
        return news

    def _fault(self, fact: Fact) -> list[Fact]:
        name = name_of(fact.type, fact.subject, fact.data)
        doubted = self._doubted.pop(name, None)
        if phase_of(fact.type) == "cleared":
            return [] if self._told.pop(name, None) is None else [fact]
        self._told[name] = fact.data
        if doubted is None:
            return [fact]
        changed = kind_of(fact.type) in _TOLD_ANEW and doubted[0].data.get("why") != fact.data.get(
            "why"
        )
        return [fact] if changed else []

    def _healed(self, name: str, at_us: int) -> Fact:
        event, _ = self._doubted[name]
        kept = {member: event.data[member] for member in _NAMING if member in event.data}
        kind = event.type.removesuffix("raised") + "cleared"
        return Fact(kind, event.subject, at_us, data={**kept, "unseen": True})

    def deadline(self) -> int | None:
        """When `wake` will have something to say; None: never."""
        moments = (due_us for _, due_us in self._doubted.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now_us: int) -> list[Fact]:
        """What has not been raised again by now, cleared; to be passed like any other fact."""
        due = [
            name
            for name, (_, due_us) in self._doubted.items()
            if due_us is not None and due_us <= now_us
        ]
        return [self._healed(name, now_us) for name in due]

    def found(self, raised: Iterable[Event]) -> None:
        """A disk that is back held these, raised and not cleared: they stand beside the others."""
        for event in raised:
            self._told.setdefault(name_of(event.type, event.subject, event.data), event.data)
