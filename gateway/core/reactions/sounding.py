"""What sounds and lights on the premises, for whom, and when it ends. Pure.

Every one of them ends by itself. One output may be wanted by several alarms at once: it goes on
until the last of them has ended or had its time. Silent alarms never come here.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.model import US_PER_MS, Fact, Json
from gateway.core.reactions.locks import FORGET_US, REACH_US

LONGEST_MS = 1_800_000
"""A siren that never stops is soon pulled off the wall: 30 minutes."""

SHORTEST_MS = 1_000


class Sounding:
    """Every output that sounds or lights now. `new_id` names the next action."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._wanted: dict[str, dict[str, int]] = {}
        self._urgency: dict[str, Urgency] = {}
        self._asked: dict[str, Action] = {}

    def begin(
        self, output: str, whom: str, *, for_ms: int, at_us: int, cause: str, urgency: Urgency
    ) -> Action:
        """Sound or light for `for_ms`, held to 1 s .. 30 min, on behalf of `whom`."""
        wanted = self._standing(output, at_us)
        length_us = min(max(for_ms, SHORTEST_MS), LONGEST_MS) * US_PER_MS
        wanted[whom] = max(wanted.get(whom, 0), at_us + length_us)
        self._urgency[output] = urgency
        return self._drive(output, at_us, cause)

    def end(self, whom: str, *, at_us: int, cause: str) -> list[Action]:
        """`whom` needs it no longer: what nobody else wants is switched off."""
        found = []
        for output in list(self._wanted):
            wanted = self._standing(output, at_us)
            if wanted.pop(whom, None) is not None:
                found.append(self._drive(output, at_us, cause))
            if not wanted:
                del self._wanted[output]
        return found

    def result(self, result: Result) -> list[Action | Fact]:
        """What came of an action of ours: one that failed is told; of another's: nothing."""
        asked = self._asked.pop(result.action, None)
        if asked is None or result.outcome.done or result.outcome is Outcome.REPLACED:
            return []
        data: dict[str, Json] = {
            "wanted": "on" if asked.on else "off",
            "by": asked.cause,
            "outcome": result.outcome.value,
            "why": result.why,
        }
        return [Fact("state.output.failed", asked.output, result.at_us, data=data)]

    def _standing(self, output: str, at_us: int) -> dict[str, int]:
        wanted = self._wanted.get(output, {})
        wanted = {whom: until_us for whom, until_us in wanted.items() if until_us > at_us}
        self._wanted[output] = wanted
        return wanted

    def _drive(self, output: str, at_us: int, cause: str) -> Action:
        until_us = max(self._wanted[output].values(), default=at_us)
        left_ms = (until_us - at_us) // US_PER_MS
        action = Action(
            id=self._new_id(),
            output=output,
            on=left_ms > 0,
            not_after_us=at_us + REACH_US,
            for_ms=left_ms or None,
            urgency=self._urgency[output],
            cause=cause,
        )
        for name in [n for n, a in self._asked.items() if a.not_after_us + FORGET_US < at_us]:
            del self._asked[name]
        self._asked[action.id] = action
        return action
