"""Which alarms are open, as far as local rules may know, and which of it must stay quiet. Pure.

A silent alarm changes nothing on the premises, by whatever way: not by itself, not unanswered, not
through a fault it brings about on its way or by being held down. Here that is decided for every
fact, in one place. Life safety is the one thing that does not ask (a fire frees doors, silent or
not).
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.alarms import Alarm
from gateway.core.kinds import class_of, kind_of, phase_of
from gateway.core.model import Fact
from gateway.core.premises import Point, PointKind

BETRAYING = frozenset({"delivery", "path", "storage"})
"""Faults that an alarm on its way can bring about, a silent one too: no rule may act on them."""


class Heard:
    """The open alarms by id, and the silent ones among them."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._hushed = {point.id for point in points if point.silent}
        self._open: dict[str, str] = {}
        self._silent: set[str] = set()
        self._unanswered: set[str] = set()

    @property
    def fire(self) -> bool:
        """True while any fire alarm is open."""
        return PointKind.FIRE.value in self._open.values()

    def restore(self, alarms: Iterable[Alarm]) -> None:
        """Take up the alarms that were open before a restart."""
        for alarm in alarms:
            self._open[alarm.id] = alarm.kind
            if alarm.silent or alarm.point in self._hushed:
                self._silent.add(alarm.id)

    def hear(self, fact: Fact) -> bool:
        """Take note of a fact; True when no rule may act on it."""
        quiet = self._quiet(fact)
        if class_of(fact.type) != "alarm":
            return quiet
        alarm = fact.alarm or fact.subject
        match phase_of(fact.type):
            case "raised":
                self._open[alarm] = kind_of(fact.type)
                if quiet:
                    self._silent.add(alarm)
            case "cleared":
                self._open.pop(alarm, None)
                self._silent.discard(alarm)
                self._unanswered.discard(alarm)
            case _:
                pass
        return quiet

    def first_unanswered(self, alarm: str) -> bool:
        """True when that alarm is open and nobody has said yet that it goes unanswered."""
        if alarm not in self._open or alarm in self._unanswered:
            return False
        self._unanswered.add(alarm)
        return True

    def silent(self, alarm: str) -> bool:
        """True when that open alarm is a silent one."""
        return alarm in self._silent

    def _quiet(self, fact: Fact) -> bool:
        silent = fact.data.get("silent") is True or fact.subject in self._hushed
        betrays = class_of(fact.type) == "fault" and kind_of(fact.type) in BETRAYING
        return silent or betrays or (fact.alarm or "") in self._silent


def whom(fact: Fact) -> str:
    """For whom something sounds: the alarm, or what is amiss with whom."""
    return fact.alarm or f"{class_of(fact.type)}.{kind_of(fact.type)}:{fact.subject}"


def over(fact: Fact) -> bool:
    """True when a fact ends what sounds for its alarm or fault: cleared, or closed by people."""
    return phase_of(fact.type) == "cleared" or fact.type == "state.alarm.closed"
