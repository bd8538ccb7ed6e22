"""What one Route is owed, when to offer it again, and when its path has failed. Pure.

Derived from the ledger: numbers only, never bytes. A message leaves when the route's own signed
Receipt covers it, and for nothing less. Alarms are offered on every connected uplink, the log on
the first good one; a new alarm does not wait behind the backlog of its own stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.kinds import class_of, phase_of
from gateway.core.model import US_PER_MS, Message, Receipt, Stream, StreamKey
from gateway.core.premises import Route
from gateway.core.ranges import Ranges

OFFER_AGAIN_US = 5_000_000
"""What no receipt covers is offered again this long after the last offer on the same uplink."""

LOOK_AGAIN_US = 1_000_000
"""What was due but could not be taken (no room, or the log goes elsewhere) is due again then."""

WINDOW = {Stream.ALARM: 400, Stream.LOG: 200}
"""Messages offered on one uplink and not yet receipted: bounds memory and the broker's queue."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Names one message."""

    key: StreamKey
    sequence: int


class Why(StrEnum):
    """Why an alarm is overdue on a route."""

    NO_RECEIPT = "no-receipt"
    NO_ACKNOWLEDGEMENT = "no-acknowledgement"


@dataclass(frozen=True, slots=True)
class Overdue:
    """An alarm nobody has answered for in time; `step` counts the routes of `then` it calls for."""

    alarm: str
    why: Why
    at_us: int
    step: int


@dataclass(slots=True)
class _Awaited:
    """One raised alarm's clock on this route. ref: None when it was received before this start."""

    ref: Ref | None
    since_us: int
    due_us: int | None
    received: bool = False
    overdue: bool = False
    steps: int = 0


@dataclass(slots=True)
class _Lane:
    """What has been offered on one connected uplink. `offered` is ordered by time of offer.

    left_us: when something that was due had to be left; None when the last look took it all.
    """

    offered: dict[Ref, int] = field(default_factory=dict)
    cursor: dict[StreamKey, int] = field(default_factory=dict)
    count: dict[Stream, int] = field(default_factory=lambda: dict.fromkeys(Stream, 0))
    left_us: int | None = None

    def offer(self, ref: Ref, now_us: int) -> None:
        if self.offered.pop(ref, None) is None:
            self.count[ref.key.stream] += 1
        self.offered[ref] = now_us

    def settle(self, ref: Ref) -> None:
        del self.offered[ref]
        self.count[ref.key.stream] -= 1

    def due_us(self) -> int | None:
        """When the oldest offer is to be repeated."""
        oldest_us = next(iter(self.offered.values()), None)
        return None if oldest_us is None else oldest_us + OFFER_AGAIN_US


class Outbox:
    """The debts of one Route."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._owed: dict[StreamKey, Ranges] = {}
        self._lanes: dict[str, _Lane] = {}
        self._awaited: dict[str, _Awaited] = {}

    def restore(
        self,
        owed: Mapping[StreamKey, Iterable[tuple[int, int]]],
        alarms: Iterable[Message],
        now_us: int,
        *,
        unacknowledged: Iterable[str] = (),
    ) -> None:
        """Take over what the ledger says is owed; `alarms` are its unreceipted raised alarms.

        unacknowledged: open alarms this route holds that no person has acknowledged; where the
        route promises an acknowledgement, its time runs anew from now.
        """
        for key, ranges in owed.items():
            mine = self._owed.setdefault(key, Ranges())
            for first, last in ranges:
                mine.add(first, last)
        self._owed = dict(sorted(self._owed.items(), key=lambda item: item[0].epoch))
        for message in alarms:
            self._await(message, now_us)
        if self._route.acknowledge_within_ms is not None:
            due_us = now_us + self._route.acknowledge_within_ms * US_PER_MS
            for alarm in unacknowledged:
                self._awaited.setdefault(alarm, _Awaited(None, now_us, due_us, received=True))

    # --- what can be asked -----------------------------------------------------------------------

    def count(self, stream: Stream) -> int:
        """How many messages of that stream are owed."""
        return sum(len(ranges) for key, ranges in self._owed.items() if key.stream is stream)

    def owes(self, ref: Ref) -> bool:
        """True while no receipt covers it."""
        ranges = self._owed.get(ref.key)
        return ranges is not None and ref.sequence in ranges

    @property
    def overdue(self) -> tuple[str, ...]:
        """Alarms past their time on this route that nobody has received."""
        return tuple(alarm for alarm, waits in self._awaited.items() if waits.overdue)

    @property
    def urgent(self) -> bool:
        """True while an alarm-stream message is owed: connect without long back-off."""
        return any(ranges for key, ranges in self._owed.items() if key.stream is Stream.ALARM)

    def deadline(self) -> int | None:
        """When `wake` will have something to say; None: never."""
        moments = (waits.due_us for waits in self._awaited.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def offer_due(self, uplink: str) -> int | None:
        """When `take` is to be asked again for something offered on this uplink; None: nothing.

        Never a moment at which `take` was asked already: a full window makes nobody spin.
        """
        lane = self._lanes.get(uplink)
        due_us = lane.due_us() if lane is not None else None
        if lane is None or due_us is None or lane.left_us is None:
            return due_us
        return max(due_us, lane.left_us + LOOK_AGAIN_US)

    # --- uplinks ---------------------------------------------------------------------------------

    def up(self, uplink: str) -> None:
        """A new connection: everything owed is offered on it from the start."""
        self._lanes[uplink] = _Lane()

    def down(self, uplink: str) -> None:
        """The connection is gone."""
        self._lanes.pop(uplink, None)

    def unheard(self, uplink: str, before_us: int) -> None:
        """Nobody listened on this uplink until then: what was offered earlier is due at once."""
        lane = self._lanes.get(uplink)
        if lane is not None:
            due_us = before_us - OFFER_AGAIN_US
            for ref, offered_us in lane.offered.items():
                if offered_us < before_us:
                    lane.offered[ref] = min(offered_us, due_us)
            lane.left_us = None

    # --- what is owed ----------------------------------------------------------------------------

    def owe(self, message: Message, now_us: int) -> tuple[str, ...]:
        """A new message. The uplinks named are to carry it at once; they count it as offered."""
        key, ref = message.key, Ref(message.key, message.sequence)
        self._owed.setdefault(key, Ranges()).add(ref.sequence, ref.sequence)
        if key.stream is Stream.LOG:
            for lane in self._lanes.values():  # it may come after a higher number was offered
                lane.cursor[key] = min(lane.cursor.get(key, 0), ref.sequence - 1)
            return ()
        self._await(message, now_us)
        for lane in self._lanes.values():
            lane.offer(ref, now_us)
        return tuple(self._lanes)

    def take(self, uplink: str, now_us: int, *, log: bool, limit: int) -> list[Ref]:
        """Up to `limit` messages to offer on an uplink now: alarms first, oldest first.

        `log`: this uplink is the one that carries the log.
        """
        lane = self._lanes.get(uplink)
        if lane is None:
            return []
        taken: list[Ref] = []
        for stream in (Stream.ALARM, Stream.LOG) if log else (Stream.ALARM,):
            taken += self._again(lane, stream, now_us, limit - len(taken))
            taken += self._backlog(lane, stream, now_us, limit - len(taken))
        due_us = lane.due_us()
        lane.left_us = now_us if due_us is not None and due_us <= now_us else None
        return taken

    def _again(self, lane: _Lane, stream: Stream, now_us: int, limit: int) -> list[Ref]:
        due: list[Ref] = []
        for ref, offered_us in lane.offered.items():
            if offered_us + OFFER_AGAIN_US > now_us or len(due) >= limit:
                break
            if ref.key.stream is stream:
                due.append(ref)
        for ref in due:
            lane.offer(ref, now_us)
        return due

    def _backlog(self, lane: _Lane, stream: Stream, now_us: int, limit: int) -> list[Ref]:
        taken: list[Ref] = []
        for key, ranges in self._owed.items():
            if key.stream is not stream:
                continue
            cursor = lane.cursor.get(key, 0)
            while len(taken) < limit and lane.count[stream] < WINDOW[stream]:
                following = ranges.after(cursor)
                if following is None:
                    break
                cursor = following
                ref = Ref(key, cursor)
                if ref not in lane.offered:
                    lane.offer(ref, now_us)
                    taken.append(ref)
            lane.cursor[key] = cursor
        return taken

    # --- what is settled -------------------------------------------------------------------------

    def settle(self, key: StreamKey, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Strike off what a receipt covers; says which of it was still owed."""
        owed = self._owed.get(key)
        if owed is None:
            return []
        struck = [part for first, last in ranges for part in owed.take(first, last)]
        for lane in self._lanes.values():
            for ref in [ref for ref in lane.offered if ref.key == key and ref.sequence not in owed]:
                lane.settle(ref)
        if not owed:
            del self._owed[key]
            for lane in self._lanes.values():
                lane.cursor.pop(key, None)
        return struck

    def receipt(self, receipt: Receipt) -> tuple[list[tuple[int, int]], list[str]]:
        """A verified Receipt: the numbers it settles, and the alarms it shows as received."""
        struck = self.settle(receipt.key, [(1, receipt.through), *receipt.also])
        named = {word.alarm for word in receipt.alarms}
        received = []
        for alarm, waits in self._awaited.items():
            if self._has_come(alarm, waits, named):
                waits.received = True
                received.append(alarm)
        for alarm in received:
            self._receipted(alarm)
        return struck, received

    def _has_come(self, alarm: str, waits: _Awaited, named: set[str]) -> bool:
        if waits.received or waits.ref is None:
            return False
        return alarm in named or not self.owes(waits.ref)

    def answered(self, alarm: str) -> None:
        """A person has acknowledged it, or it has ended: no further route is called."""
        self._awaited.pop(alarm, None)

    def _receipted(self, alarm: str) -> None:
        waits = self._awaited[alarm]
        waits.overdue = False
        if self._route.acknowledge_within_ms is None:
            del self._awaited[alarm]
            return
        if waits.steps == 0 or waits.due_us is None:
            waits.due_us = waits.since_us + self._route.acknowledge_within_ms * US_PER_MS

    def _await(self, message: Message, now_us: int) -> None:
        if class_of(message.type) != "alarm" or phase_of(message.type) != "raised":
            return
        assert message.alarm is not None
        due_us = now_us + self._route.receipt_within_ms * US_PER_MS
        self._awaited[message.alarm] = _Awaited(Ref(message.key, message.sequence), now_us, due_us)

    def wake(self, now_us: int) -> list[Overdue]:
        """The alarms that have become overdue by `now_us`, in the order they were raised."""
        found = []
        for alarm, waits in self._awaited.items():
            if waits.due_us is None or waits.due_us > now_us:
                continue
            why = Why.NO_ACKNOWLEDGEMENT if waits.received else Why.NO_RECEIPT
            found.append(Overdue(alarm, why, waits.due_us, waits.steps))
            waits.overdue = waits.overdue or not waits.received
            waits.steps += 1
            step_ms = self._route.acknowledge_within_ms or self._route.receipt_within_ms
            more = waits.steps < len(self._route.then)
            waits.due_us = waits.due_us + step_ms * US_PER_MS if more else None
        return found
