"""The life of an alarm: opened by a press, answered by people, ended by both. Pure.

One table decides what a press is (`_press`), one order decides what an answer may change
(`AlarmState`). Two rules stand above both: letting go of a button never ends an alarm, and two
points are two alarms, never merged. Nor are two kinds at one door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gateway.core.counter import Remember
from gateway.core.kinds import DOOR_ALARMS, class_of, kind_of, phase_of
from gateway.core.model import AlarmState, Event, Fact, Json, Level
from gateway.core.monitor import Confirmed
from gateway.core.premises import PERSON_OPERATED, Point, PointKind

REPEAT_WITHIN_US = 30_000_000
REPEAT_EVERY_US = 1_000_000
REPEATS_BEFORE_SLOW = 10
REPEAT_SLOW_EVERY_US = 60_000_000

OPEN_MAX = 256
"""Open alarms that are named in one place, the newest; the others are counted: ten kilobytes. A
message above 64 KiB is refused by whoever receives it, and a centre that never closes an alarm must
not have its gateway taken for lost after 1,250 of them."""

ALSO_OPEN_MAX = 64
"""Open alarms a new one names, the newest; the others it counts. A loose wire may raise thousands
in a long holiday, and a message above 64 KiB is refused by whoever receives it."""

_DURING = {PointKind.PANIC.value, PointKind.LOCKDOWN.value}
"""What a fire alarm names when it is open, as it does a lockdown by command: fire alarms have been
pulled to bring people out."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One open alarm.

    count: presses so far; told: repeats sent; untold: presses are held back; doubtful: all of
    those came over damaged wiring. pressed_us: the last press, None when it was before this start.
    counter: what counted the last press. overtaken: it was an exercise of a drill that is over.
    """

    id: str
    point: str
    kind: str
    state: AlarmState = AlarmState.RAISED
    silent: bool = False
    count: int = 1
    told: int = 0
    untold: bool = False
    doubtful: bool = False
    pressed_us: int | None = None
    told_us: int = 0
    counter: Remember | None = None
    overtaken: bool = False

    @property
    def person_operated(self) -> bool:
        """True when only people can end it."""
        return self.kind in PERSON_OPERATED

    @property
    def unanswered(self) -> bool:
        """True while no person has acknowledged it."""
        return self.state.rank < AlarmState.ACKNOWLEDGED.rank

    def due_us(self) -> int | None:
        """When presses held back may be told; None when there are none."""
        if not self.untold:
            return None
        slow = self.told >= REPEATS_BEFORE_SLOW
        return self.told_us + (REPEAT_SLOW_EVERY_US if slow else REPEAT_EVERY_US)


class Register:
    """Every open alarm of the premises, in the order they were raised."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._points = {point.id: point for point in points}
        self._open: dict[str, Alarm] = {}
        self._levels: dict[tuple[str, str], Level] = {}
        self.locked_down: Callable[[], bool] = lambda: False

    def restore(self, events: Iterable[Event]) -> None:
        """Rebuild from the recorded events of alarms, in their order; others are passed over."""
        for event in events:
            if event.alarm is None:
                continue
            kind, phase = kind_of(event.type), phase_of(event.type)
            if class_of(event.type) == "alarm" and phase == "raised":
                silent = bool(event.data.get("silent"))
                self._open[event.alarm] = Alarm(event.alarm, event.subject, kind, silent=silent)
                continue
            alarm = self._open.get(event.alarm)
            if alarm is None:
                continue
            if phase == "repeated":
                count = event.data.get("count")
                self._keep(replace(alarm, count=count if isinstance(count, int) else 1))
            elif phase == "cleared":
                del self._open[event.alarm]
            elif event.type.startswith("state.alarm."):
                self._keep(replace(alarm, state=AlarmState(phase)))

    # --- what can be asked -----------------------------------------------------------------------

    @property
    def open(self) -> tuple[Alarm, ...]:
        """The open alarms, oldest first."""
        return tuple(self._open.values())

    def named(self) -> tuple[tuple[str, ...], int]:
        """The ids of the newest open alarms, oldest first, and how many older ones there are."""
        ids = tuple(self._open)
        return ids[-OPEN_MAX:], max(0, len(ids) - OPEN_MAX)

    def find(self, alarm_id: str) -> Alarm | None:
        """The open alarm of that id."""
        return self._open.get(alarm_id)

    def unanswered(self, alarm_id: str) -> Alarm | None:
        """The alarm of that id while it is open and no person has acknowledged it."""
        alarm = self._open.get(alarm_id)
        return alarm if alarm is not None and alarm.unanswered else None

    def latest_at(self, point_id: str) -> Alarm | None:
        """The newest open alarm of a point: what its lamp shows."""
        mine = [alarm for alarm in self._open.values() if alarm.point == point_id]
        return mine[-1] if mine else None

    def deadline(self) -> int | None:
        """When `wake` will have something to say; None: never."""
        moments = (alarm.due_us() for alarm in self._open.values())
        return min((moment for moment in moments if moment is not None), default=None)

    # --- what happens ----------------------------------------------------------------------------

    def confirm(self, confirmed: Confirmed, *, new_id: str) -> list[Fact]:
        """A point's level was confirmed. `new_id` becomes the alarm's id if this raises one."""
        point = self._points[confirmed.point]
        kind = confirmed.alarm or point.kind.value
        self._levels[point.id, kind] = confirmed.level
        if confirmed.level is Level.NORMAL:
            return self._ended(confirmed.at_us, point.id)
        if confirmed.level is Level.UNKNOWN or not self._raises(point.id, kind):
            return []
        if point.kind is PointKind.RESET_KEY:
            if confirmed.initial:  # a key left turned says nothing of alarms raised since
                return []
            data = _counted_by(confirmed.counter)
            turned = Fact("state.reset-key.turned", point.id, confirmed.at_us, data=data)
            return [turned, *self._reset(confirmed.at_us)]
        return self._press(point, kind, confirmed, new_id)

    def answer(
        self, alarm_id: str, state: AlarmState, *, at_us: int, data: dict[str, Json]
    ) -> list[Fact]:
        """A centre's word on an alarm; a word that would move it back, or on no open one, is void.

        `data` goes into the event: the route that spoke, its operator's number, its own time.
        Presses that are held back were made before it, and are told all the same.
        """
        alarm = self._open.get(alarm_id)
        if alarm is None or state.rank <= alarm.state.rank:
            return []
        self._keep(replace(alarm, state=state))
        fact = Fact(f"state.alarm.{state.value}", alarm.point, at_us, alarm=alarm_id, data=data)
        return [fact, *self._ended(at_us, alarm.point)]

    def wake(self, now_us: int) -> list[Fact]:
        """Presses that were held back and may be told by now."""
        found = []
        for alarm in self.open:
            due_us = alarm.due_us()
            if due_us is not None and due_us <= now_us:
                found.append(self._tell(alarm, due_us))
        return found

    def drill_over(self, alarm_id: str, *, new_id: str, at_us: int) -> list[Fact]:
        """The drill that alarm was an exercise of is over: what still calls is raised as meant.

        At once where its input is seen active; else its next press, or its input coming back
        active, raises, and is not taken for part of the exercise. `new_id`: as for `confirm`.
        """
        alarm = self._open.get(alarm_id)
        point = None if alarm is None else self._points.get(alarm.point)
        if alarm is None or point is None or alarm.overtaken:
            return []
        mine = [a for a in self._open.values() if (a.point, a.kind) == (alarm.point, alarm.kind)]
        self._keep(replace(alarm, overtaken=True))
        if mine[-1].id != alarm_id or self._levels.get((point.id, alarm.kind)) is not Level.ACTIVE:
            return []
        still = Confirmed(point.id, Level.ACTIVE, at_us, alarm=alarm.kind)
        return [self._raise(point, alarm.kind, still, new_id, first=mine[0].id)]

    # --- the table -------------------------------------------------------------------------------

    def _press(self, point: Point, kind: str, confirmed: Confirmed, new_id: str) -> list[Fact]:
        """What a press (or a fire contact closing) is.

        | newest of this kind    | last press       | then                                |
        |------------------------|------------------|-------------------------------------|
        | none                   |                  | raised                              |
        | of a drill that is over|                  | raised, `again` names the first one |
        | any, held since start  |                  | nothing: it was told before         |
        | unanswered             | within 30 s      | repeated, at the allowed pace       |
        | unanswered             | longer ago       | raised, `again` names the first one |
        | acknowledged or closed |                  | raised, `again` names the first one |
        """
        mine = [a for a in self._open.values() if (a.point, a.kind) == (point.id, kind)]
        at_us = confirmed.at_us
        if not mine:
            return [self._raise(point, kind, confirmed, new_id, first=None)]
        alarm = mine[-1]
        if alarm.overtaken:
            return [self._raise(point, kind, confirmed, new_id, first=mine[0].id)]
        if confirmed.initial or not alarm.person_operated:
            return []
        recent = alarm.pressed_us is not None and at_us - alarm.pressed_us <= REPEAT_WITHIN_US
        if not (alarm.unanswered and recent):
            return [self._raise(point, kind, confirmed, new_id, first=mine[0].id)]
        doubtful = confirmed.doubtful and (alarm.doubtful or not alarm.untold)
        alarm = replace(
            alarm,
            count=alarm.count + 1,
            untold=True,
            doubtful=doubtful,
            pressed_us=at_us,
            counter=confirmed.counter,
        )
        self._keep(alarm)
        due_us = alarm.due_us()
        return [self._tell(alarm, at_us)] if due_us is None or due_us <= at_us else []

    def _raise(
        self, point: Point, kind: str, confirmed: Confirmed, new_id: str, *, first: str | None
    ) -> Fact:
        at_us, here = confirmed.at_us, (point.id, kind)
        data: dict[str, Json] = {"count": 1}
        if confirmed.doubtful:
            data["doubtful"] = True
        if point.silent:
            data["silent"] = True
        if first is not None:
            data["again"] = first
        others = [alarm.id for alarm in self._open.values() if (alarm.point, alarm.kind) != here]
        if others:
            data["also_open"] = list[Json](others[-ALSO_OPEN_MAX:])
        if len(others) > ALSO_OPEN_MAX:
            data["also_open_more"] = len(others) - ALSO_OPEN_MAX
        during = sorted({alarm.kind for alarm in self._open.values()} & _DURING | self._modes())
        if point.kind is PointKind.FIRE and during:
            data["during"] = list[Json](during)
        data |= _counted_by(confirmed.counter)
        self._keep(
            Alarm(new_id, point.id, kind, silent=point.silent, pressed_us=at_us, told_us=at_us)
        )
        return Fact(f"alarm.{kind}.raised", point.id, at_us, alarm=new_id, data=data, id=new_id)

    def _modes(self) -> set[str]:
        """A lockdown may stand by command, without an alarm of its own."""
        return {PointKind.LOCKDOWN.value} if self.locked_down() else set()

    def _tell(self, alarm: Alarm, at_us: int) -> Fact:
        self._keep(replace(alarm, told=alarm.told + 1, told_us=at_us, untold=False))
        data: dict[str, Json] = {"count": alarm.count}
        if alarm.doubtful:
            data["doubtful"] = True
        data |= _counted_by(alarm.counter)
        kind = f"alarm.{alarm.kind}.repeated"
        return Fact(kind, alarm.point, at_us, alarm=alarm.id, data=data)

    def _reset(self, at_us: int) -> list[Fact]:
        """The reset key stands for the centre's `closed`: a person on site has looked."""
        found = []
        for alarm in self.open:
            if alarm.person_operated:
                found += self.answer(
                    alarm.id, AlarmState.CLOSED, at_us=at_us, data={"by": "reset-key"}
                )
        return found

    def _ended(self, at_us: int, point_id: str) -> list[Fact]:
        """Alarms of a point that are over: its input at rest, and closed if a person raised it.

        Where nothing configured could raise such an alarm any more (a point or a flag is gone),
        there is no input to wait for: people end it.
        """
        found: list[Fact] = []
        for alarm in self.open:
            if alarm.point != point_id:
                continue
            gone = not self._raises(point_id, alarm.kind)
            rests = gone or self._levels.get((point_id, alarm.kind)) is Level.NORMAL
            closed = alarm.state is AlarmState.CLOSED
            if rests and (closed or not (alarm.person_operated or gone)):
                del self._open[alarm.id]
                kind = f"alarm.{alarm.kind}.cleared"
                data: dict[str, Json] = {"count": alarm.count}
                found.append(Fact(kind, point_id, at_us, alarm=alarm.id, data=data))
        return found

    def _raises(self, point_id: str, kind: str) -> bool:
        """True when that point, as it is configured, can be the cause of such an alarm."""
        point = self._points.get(point_id)
        if point is None:
            return False
        if point.door is None:
            return point.kind.value == kind
        return kind in DOOR_ALARMS or (kind == "tamper" and point.door.tamper is not None)

    def _keep(self, alarm: Alarm) -> None:
        self._open[alarm.id] = alarm


def _counted_by(counter: Remember | None) -> dict[str, Json]:
    """What the record keeps of a counter, beside the event that it made."""
    return {} if counter is None else {"counter": counter.as_json()}
