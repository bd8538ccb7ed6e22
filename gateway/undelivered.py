"""fault.delivery: which alarms a route has not answered in time. Raised once, cleared once."""

from __future__ import annotations

from gateway.core.model import Fact, Json
from gateway.core.outbox import Overdue, Why
from gateway.core.premises import Route


class Undelivered:
    """What stands at every route; its methods give the facts that follow."""

    def __init__(self) -> None:
        self._standing: dict[str, dict[str, Why]] = {}

    def overdue(self, route: Route, overdue: Overdue, *, owed: int) -> list[Fact]:
        """An alarm was not received, or not answered by a person, in time."""
        standing = self._standing.setdefault(route.id, {})
        facts: list[Fact] = []
        if not standing:
            data: dict[str, Json] = {
                "route": route.id,
                "alarm": overdue.alarm,
                "why": overdue.why.value,
                "owed": owed,
            }
            facts.append(Fact("fault.delivery.raised", route.id, overdue.at_us, data=data))
        standing[overdue.alarm] = overdue.why
        return facts

    def received(self, route: Route, alarm: str, now_us: int) -> list[Fact]:
        """A receipt ends what only waited for one."""
        if self._standing.get(route.id, {}).get(alarm) is Why.NO_RECEIPT:
            return self.settled(route, alarm, now_us)
        return []

    def settled(self, route: Route, alarm: str, now_us: int) -> list[Fact]:
        """People have answered, or the alarm is over."""
        standing = self._standing.get(route.id, {})
        if alarm not in standing:
            return []
        del standing[alarm]
        if standing:
            return []
        data: dict[str, Json] = {"route": route.id}
        return [Fact("fault.delivery.cleared", route.id, now_us, data=data)]
