"""fault.delivery: which alarms a route has not answered in time. Raised once, cleared once. Pure.

Owns what stands at every route since when; whom else to call is the outbox's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gateway.core.model import US_PER_MS, Fact, Json
from gateway.core.outbox import Overdue, Why
from gateway.core.premises import Route


@dataclass(slots=True)
class _Fault:
    """One route's: the alarms that stand, and how many have stood since it was raised."""

    raised_us: int
    alarms: dict[str, Overdue] = field(default_factory=dict)
    count: int = 0


class Undelivered:
    """What stands at every route; its methods give the facts that follow."""

    def __init__(self) -> None:
        self._faults: dict[str, _Fault] = {}

    def overdue(self, route: Route, overdue: Overdue, *, owed: int) -> list[Fact]:
        """An alarm was not received, or not answered by a person, in time.

        owed: messages of the route's alarm stream that no receipt covers. The fact's `waited_ms`
        is how long that alarm has waited, since this start if it was raised before.
        """
        fault = self._faults.get(route.id)
        facts: list[Fact] = []
        if fault is None:
            fault = self._faults[route.id] = _Fault(overdue.at_us)
            data: dict[str, Json] = {
                "route": route.id,
                "alarm": overdue.alarm,
                "why": overdue.why.value,
                "waited_ms": (overdue.at_us - overdue.since_us) // US_PER_MS,
                "owed": owed,
            }
            facts.append(Fact("fault.delivery.raised", route.id, overdue.at_us, data=data))
        fault.count += overdue.alarm not in fault.alarms
        fault.alarms[overdue.alarm] = overdue
        return facts

    def received(self, route: Route, alarm: str, now_us: int, *, unanswered: bool) -> list[Fact]:
        """A receipt ends what only waited for one, and not yet for a person beyond their time.

        unanswered: nobody anywhere has said anything of that alarm.
        """
        fault = self._faults.get(route.id)
        overdue = fault.alarms.get(alarm) if fault is not None else None
        if fault is None or overdue is None or overdue.why is not Why.NO_RECEIPT:
            return []
        patience_ms = route.acknowledge_within_ms if unanswered else None
        if patience_ms is not None and now_us - overdue.since_us >= patience_ms * US_PER_MS:
            fault.alarms[alarm] = replace(overdue, why=Why.NO_ACKNOWLEDGEMENT)
            return []
        return self._settled(route, alarm, now_us)

    def answered(self, route: Route, alarm: str, now_us: int) -> list[Fact]:
        """People have answered, or the alarm is over; a receipt that is missing stays missing."""
        fault = self._faults.get(route.id)
        overdue = fault.alarms.get(alarm) if fault is not None else None
        if overdue is None or overdue.why is Why.NO_RECEIPT:
            return []
        return self._settled(route, alarm, now_us)

    def _settled(self, route: Route, alarm: str, now_us: int) -> list[Fact]:
        """With the last of its alarms the fault ends: how long it stood, and for how many."""
        fault = self._faults[route.id]
        del fault.alarms[alarm]
        if fault.alarms:
            return []
        del self._faults[route.id]
        data: dict[str, Json] = {
            "route": route.id,
            "lasted_ms": (now_us - fault.raised_us) // US_PER_MS,
            "alarms": fault.count,
        }
        return [Fact("fault.delivery.cleared", route.id, now_us, data=data)]
