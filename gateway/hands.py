"""What the gateway does on the premises by itself and when told: from rules to wires and back.

Asks `core/reactions/` what follows from what happened, hands actions to the driver, brings what
came of them back, and remembers what must outlive a restart. Decides nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from drivers.base import Driver
from gateway.clock import Clock
from gateway.core.action import Action, Result
from gateway.core.alarms import Alarm
from gateway.core.model import Fact, Reading
from gateway.core.premises import PointKind, Premises
from gateway.core.reactions.reactions import Reactions
from gateway.points import Keep, Points

_KEPT = "reactions"


class Hands:
    """Local rules at work. `tell` records facts; `points` hear of doors that stand free."""

    def __init__(
        self,
        premises: Premises,
        driver: Driver,
        clock: Clock,
        *,
        points: Points,
        tell: Callable[[Iterable[Fact]], None],
        keep: Keep,
    ) -> None:
        self.reactions = Reactions(premises)
        self._driver = driver
        self._clock = clock
        self._points = points
        self._tell = tell
        self._keep = keep
        doors = (point for point in premises.points if point.kind is PointKind.DOOR)
        self._free: dict[str, str | None] = {door.id: None for door in doors}
        self._saved = -1
        self.on_result: Callable[[Result], None] = lambda _: None

    def restore(self, kept: str | None, open_alarms: Iterable[Alarm]) -> None:
        """Take up what stood before the restart; a fire release is driven again."""
        now_us = self._clock.now_us()
        memory = json.loads(kept) if kept else {}
        stamp = self._clock.stamp(now_us)
        self.do(self.reactions.restore(memory, open_alarms, now_us=now_us, stamp=stamp))

    def told(self, fact: Fact) -> None:
        """A fact was recorded; what follows from it is begun at once."""
        if fact.type == "state.door.unlocked":
            for_ms, by = fact.data.get("for_ms"), fact.data.get("by")
            if isinstance(for_ms, int):
                self._points.opened(fact.subject, at_us=fact.at_us, for_ms=for_ms, by=str(by))
        elif fact.type == "state.door.locked":
            self._points.locked(fact.subject, at_us=fact.at_us)
        self.do(self.reactions.told(fact))

    def unanswered(self, alarm: Alarm) -> None:
        """Nobody has answered an alarm in time."""
        at_us = self._clock.now_us()
        self.do(self.reactions.unanswered(alarm.id, alarm.kind, silent=alarm.silent, at_us=at_us))

    def seen(self, reading: Reading) -> None:
        """An output's own state was read."""
        self.do(self.reactions.seen(reading))

    def result(self, result: Result) -> None:
        """What came of an action."""
        self.do(self.reactions.result(result))
        self.on_result(result)

    def do(self, items: Iterable[Action | Fact]) -> list[str]:
        """Begin actions and record facts; the ids of the actions begun."""
        begun, facts = [], []
        for item in items:
            if isinstance(item, Action):
                begun.append(item.id)
                self._driver.act(item)
            else:
                facts.append(item)
        self._settle()
        if facts:
            self._tell(facts)
        return begun

    def wake(self, now_us: int) -> None:
        """What has become due."""
        self.do(self.reactions.wake(now_us))

    def deadline(self) -> int | None:
        """When `wake` will have something to do."""
        return self.reactions.deadline()

    def _settle(self) -> None:
        """Tell the doors which of them stand free, and keep what must outlive a restart."""
        now_us = self._clock.now_us()
        for door, before in self._free.items():
            why = self.reactions.freed(door)
            if why != before:
                self._free[door] = why
                self._points.free(door, on=why is not None, at_us=now_us, why=why or "")
        if self.reactions.revision != self._saved:
            self._saved = self.reactions.revision
            stamp = self._clock.stamp(now_us)
            memory = self.reactions.memory(now_us=now_us, stamp=stamp)
            self._keep({_KEPT: json.dumps(memory)})
