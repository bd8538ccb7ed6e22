"""The one table of a door: its state, what happens, by what right, and what follows. Pure.

Rules above the table: one authorisation is one opening, and an opening uses up all there are;
under a release nothing is forced or held, it is logged; closing ends what stood; what nobody saw is
never made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from gateway.core.counter import Remember
from gateway.core.doors.rights import FORCED, HELD, TAMPER, DoorAlarms, Rights
from gateway.core.hardware import Door
from gateway.core.model import US_PER_MS, Fact, Json
from gateway.core.monitor import Item

NOBODY = "nobody"
"""Whom an opening was allowed by when it was forced."""

EXPLAINED_US = 200_000
"""An opening waits so long for its grant or exit: both are read in one round of a slow bus, and the
contact may come first."""

EXPLAINED_BY_CONTROLLER_US = 1_000_000
"""The same where a controller says whom it let in: its log is read one entry a round."""


class State(StrEnum):
    """What is known of the door itself. ASKING: open, and nobody has yet said by what right."""

    UNSEEN = "unseen"
    CLOSED = "closed"
    ASKING = "asking"
    OPEN = "open"


class Right(StrEnum):
    """What an opening can rest on now."""

    NONE = "none"
    ONCE = "once"
    FREE = "free"


class Event(StrEnum):
    """What can happen at a door."""

    OPENS = "opens"
    CLOSES = "closes"
    LOST = "lost"
    ALLOWED = "allowed"
    UNEXPLAINED = "unexplained"
    WARN = "warn"
    LONG = "long"
    BOUND = "bound"
    SAID_FORCED = "said-forced"
    SAID_HELD = "said-held"
    SAID_TAMPER = "said-tamper"


class Say(StrEnum):
    """What follows, in the order of a row."""

    FOUND_OPEN = "found-open"
    FOUND_CLOSED = "found-closed"
    BEGIN = "begin"
    ASK = "ask"
    OPENED = "opened"
    CLOSED = "closed"
    FORCED = "forced"
    HELD = "held"
    TAMPER = "tamper"
    WARNING = "warning"
    FORCED_LOG = "forced-log"
    HELD_LOG = "held-log"
    CLEAR = "clear"
    FORGET = "forget"
    TIME = "time"


Row: TypeAlias = tuple[State, tuple[Say, ...]]

TABLE: Mapping[tuple[State, Event, Right | None], Row] = {
    # state, what happens, by which right (None: any)    → state, what follows
    (State.UNSEEN, Event.OPENS, None): (State.OPEN, (Say.FOUND_OPEN,)),
    (State.UNSEEN, Event.CLOSES, None): (State.CLOSED, (Say.FOUND_CLOSED,)),
    (State.CLOSED, Event.OPENS, Right.NONE): (State.ASKING, (Say.BEGIN, Say.ASK)),
    (State.CLOSED, Event.OPENS, Right.ONCE): (State.OPEN, (Say.BEGIN, Say.OPENED)),
    (State.CLOSED, Event.OPENS, Right.FREE): (State.OPEN, (Say.BEGIN, Say.OPENED)),
    (State.CLOSED, Event.LOST, None): (State.UNSEEN, (Say.FORGET,)),
    (State.ASKING, Event.ALLOWED, None): (State.OPEN, (Say.OPENED,)),
    (State.ASKING, Event.UNEXPLAINED, None): (State.OPEN, (Say.OPENED, Say.FORCED)),
    (State.ASKING, Event.CLOSES, None): (
        State.CLOSED,
        (Say.OPENED, Say.FORCED, Say.CLOSED, Say.CLEAR),
    ),
    (State.ASKING, Event.LOST, None): (State.UNSEEN, (Say.OPENED, Say.FORCED, Say.FORGET)),
    (State.OPEN, Event.CLOSES, None): (State.CLOSED, (Say.CLOSED, Say.CLEAR)),
    (State.OPEN, Event.LOST, None): (State.UNSEEN, (Say.FORGET,)),
    (State.OPEN, Event.BOUND, None): (State.OPEN, (Say.TIME,)),
    (State.OPEN, Event.WARN, Right.NONE): (State.OPEN, (Say.WARNING,)),
    (State.OPEN, Event.WARN, Right.ONCE): (State.OPEN, (Say.WARNING,)),
    (State.OPEN, Event.LONG, Right.NONE): (State.OPEN, (Say.HELD,)),
    (State.OPEN, Event.LONG, Right.ONCE): (State.OPEN, (Say.HELD,)),
    (State.OPEN, Event.LONG, Right.FREE): (State.OPEN, (Say.HELD_LOG,)),
} | {
    # a controller's own word counts in every state
    (state, event, right): (state, (log if right is Right.FREE else alarm,))
    for state in State
    for event, alarm, log in (
        (Event.SAID_FORCED, Say.FORCED, Say.FORCED_LOG),
        (Event.SAID_HELD, Say.HELD, Say.HELD_LOG),
        (Event.SAID_TAMPER, Say.TAMPER, Say.TAMPER),
    )
    for right in Right
}
"""What is not listed changes nothing. A door found open after a silence is told as `unseen`, and
timed; it is not called forced, because what happened meanwhile may have been right."""


class Leaf:
    """One door as the table knows it. `happens`, and `wake` at `deadline`, give what follows.

    The caller keeps these true: `opened_us` and `closed_us` (the contact's last change), `asking`
    (somebody asks to leave), `lit` (the controller's flags that are not seen at rest, by the kind
    of alarm they speak of) and `counter` (what counted the flag that speaks).
    """

    def __init__(self, point: str, door: Door, *, late_us: int) -> None:
        """`late_us`: how long after its moment an opening may be concluded."""
        self._point, self._door = point, door
        self.state = State.UNSEEN
        self.rights = Rights(late_us=late_us)
        self.alarms = DoorAlarms(point)
        self.freed = ""
        self.opened_us = self.closed_us = 0
        self.asking = False
        self.lit: set[str] = set()
        self.counter: Remember | None = None
        self._from_us = 0
        self._warned = self._long = self._unseen = False
        self._lost_open: bool | None = None
        self._asked_us: int | None = None
        self._says = {
            Say.FOUND_OPEN: self._found_open,
            Say.FOUND_CLOSED: self._found_closed,
            Say.BEGIN: self._begin,
            Say.ASK: self._ask,
            Say.OPENED: self._opened,
            Say.CLOSED: self._closed,
            Say.FORCED: lambda at_us: self._alarm(FORCED, at_us),
            Say.HELD: lambda at_us: self._alarm(HELD, at_us),
            Say.TAMPER: lambda at_us: self._alarm(TAMPER, at_us),
            Say.FORCED_LOG: lambda at_us: self._fact("access.forced", at_us),
            Say.HELD_LOG: lambda at_us: self._fact("access.held", at_us),
            Say.WARNING: self._warning,
            Say.CLEAR: self._clear,
            Say.TIME: self._time,
            Say.FORGET: self._forget,
        }

    def happens(self, event: Event, at_us: int) -> list[Item]:
        """Look it up, move on, and say what follows; nothing where no row is."""
        row = TABLE.get((self.state, event, self._right())) or TABLE.get((self.state, event, None))
        if row is None:
            return []
        if row[0] is State.UNSEEN:
            self._lost_open = self.state is not State.CLOSED
        self.state = row[0]
        return [item for say in row[1] for item in self._says[say](at_us)]

    def wake(self, due_us: int) -> list[Item]:
        """What the passing of time does at exactly that moment."""
        found: list[Item] = []
        if self._asked_us == due_us:
            self._asked_us = None
            found += self.happens(Event.UNEXPLAINED, due_us)
        if self._warn_due() == due_us:
            self._warned = True
            found += self.happens(Event.WARN, due_us)
        if self._long_due() == due_us:
            self._warned = self._long = True
            found += self.happens(Event.LONG, due_us)
        for kind in (FORCED, HELD, TAMPER):
            if self._flag_due(kind) == due_us:
                found += self.alarms.end(kind, due_us)
        return found

    def deadline(self) -> int | None:
        """When `wake` will have something to do; None: never."""
        moments = (
            self._asked_us,
            self._warn_due(),
            self._long_due(),
            *(self._flag_due(kind) for kind in (FORCED, HELD, TAMPER)),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def _right(self) -> Right:
        if self.freed:
            return Right.FREE
        given = self.rights.given(self.opened_us, asking=self.asking)
        return Right.NONE if given is None else Right.ONCE

    def _warn_due(self) -> int | None:
        held_ms, before_ms = self._door.held_after_ms, self._door.warn_before_ms
        if held_ms is None or self._warned or not 0 < before_ms < held_ms:
            return None
        if self.state is not State.OPEN or self.alarms.stands(HELD):
            return None
        return self._from_us + (held_ms - before_ms) * US_PER_MS

    def _long_due(self) -> int | None:
        held_ms = self._door.held_after_ms
        if held_ms is None or self._long or self.state is not State.OPEN:
            return None
        return self._from_us + held_ms * US_PER_MS

    def _flag_due(self, kind: str) -> int | None:
        """When an alarm that stands by the controller's word alone is over."""
        over = (kind == TAMPER or self.state is State.CLOSED) and kind not in self.lit
        return self.alarms.due(kind) if over else None

    # --- what follows ----------------------------------------------------------------------------

    def _fact(self, kind: str, at_us: int, **data: Json) -> list[Item]:
        return [Fact(kind, self._point, at_us, data=data)]

    def _found_open(self, at_us: int) -> list[Item]:
        self._unseen = True
        self._time(at_us)
        self.rights.forget()
        return [] if self._lost_open else self._fact("access.opened", at_us, unseen=True)

    def _found_closed(self, at_us: int) -> list[Item]:
        found = self._fact("access.closed", at_us, unseen=True) if self._lost_open else []
        for kind in (FORCED, HELD):
            found += self.alarms.end(kind, at_us) if kind not in self.lit else []
        return found

    def _begin(self, at_us: int) -> list[Item]:
        self._unseen = False
        self.alarms.opened()
        return self._time(at_us)

    def _time(self, at_us: int) -> list[Item]:
        self._from_us = at_us
        self._warned = self._long = False
        return []

    def _ask(self, at_us: int) -> list[Item]:
        controlled = self._door.granted is not None
        self._asked_us = at_us + (EXPLAINED_BY_CONTROLLER_US if controlled else EXPLAINED_US)
        return []

    def _opened(self, at_us: int) -> list[Item]:
        data: dict[str, Json] = {"by": "free", "why": self.freed}
        if not self.freed:
            by = self.rights.given(self.opened_us, asking=self.asking)
            data = {"by": by or NOBODY}
        self.rights.forget()
        self._asked_us = None
        return self._fact("access.opened", at_us, **data)

    def _closed(self, at_us: int) -> list[Item]:
        if self._unseen:
            return self._fact("access.closed", at_us)
        open_ms = max(0, self.closed_us - self.opened_us) // US_PER_MS
        return self._fact("access.closed", at_us, open_ms=open_ms)

    def _clear(self, at_us: int) -> list[Item]:
        return [*self.alarms.end(FORCED, at_us), *self.alarms.end(HELD, at_us)]

    def _alarm(self, kind: str, at_us: int) -> list[Item]:
        return [*self.alarms.begin(kind, at_us, self.counter)]

    def _warning(self, at_us: int) -> list[Item]:
        return self._fact("access.held-warning", at_us, in_ms=self._door.warn_before_ms)

    def _forget(self, _at_us: int) -> list[Item]:
        self.rights.forget()
        self._asked_us = None
        return []
