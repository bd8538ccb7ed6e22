"""What one Route is owed, when to offer it again, and when its path has failed. Pure.

Derived from the ledger: numbers only, never bytes. A message leaves when the route's own signed
Receipt covers it, and for nothing less. Alarms are offered on every connected uplink, the log on
the first good one; a new alarm does not wait behind the backlog of its own stream. On a new
connection the backlog waits until somebody listens: `hold.py` says for how long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.hold import Hold
from gateway.core.kinds import class_of, phase_of
from gateway.core.lane import LOOK_AGAIN_US, WINDOW_LEAST, WINDOW_MOST, Lane, Ref
from gateway.core.model import US_PER_MS, Message, Receipt, Stream, StreamKey
from gateway.core.premises import Route
from gateway.core.ranges import Ranges

LONG = WINDOW_MOST
"""A backlog of alarms that takes longer than a moment: what fits a whole window comes in order."""


class Why(StrEnum):
    """Why an alarm is overdue on a route."""

    NO_RECEIPT = "no-receipt"
    NO_ACKNOWLEDGEMENT = "no-acknowledgement"


@dataclass(frozen=True, slots=True)
class Overdue:
    """An alarm nobody has answered for in time; `step` counts the routes of `then` it calls for.

    since_us: when it was first owed, or this start if that was before.
    """

    alarm: str
    why: Why
    at_us: int
    step: int
    since_us: int = field(default=0, compare=False)


@dataclass(slots=True)
class _Awaited:
    """One raised alarm's clock on this route. ref: None when it was received before this start.

    answered: a person somewhere has spoken; only the receipt is still waited for. gone: its bytes
    are on no disk any more, so that it is not owed says nothing of its having come.
    """

    ref: Ref | None
    since_us: int
    due_us: int | None
    received: bool = False
    overdue: bool = False
    answered: bool = False
    gone: bool = False
    steps: int = 0


class Outbox:
    """The debts of one Route."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._owed: dict[StreamKey, Ranges] = {}
        self._lanes: dict[str, Lane] = {}
        self._holds: dict[str, Hold] = {}
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
            for lane in self._lanes.values():
                lane.rewind(key, 1)
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

    def all_offered(self, uplink: str) -> bool:
        """True when nothing owed is left to offer on an uplink: what is history may go there."""
        lane = self._lanes.get(uplink)
        return lane is not None and all(lane.count(of) >= self.count(of) for of in Stream)

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
        """When `take` is to be asked again for this uplink; None: nothing waits there.

        Never a moment at which `take` was asked already: a full window makes nobody spin.
        """
        lane = self._lanes.get(uplink)
        return None if lane is None else lane.due_us()

    # --- uplinks ---------------------------------------------------------------------------------

    def up(self, uplink: str, now_us: int) -> None:
        """A new connection: everything owed is offered on it from the start."""
        self._lanes[uplink] = Lane(self._before_the_backlog())
        self._holds[uplink] = Hold(now_us)

    def down(self, uplink: str) -> None:
        """The connection is gone."""
        self._lanes.pop(uplink, None)
        self._holds.pop(uplink, None)

    def heard(self, uplink: str, unheard_us: int) -> None:
        """Somebody listens on this uplink; what was offered until then is due at once."""
        if uplink in self._lanes:
            self._holds[uplink].end()
            self._anew(uplink, unheard_us)

    def acked(self, uplink: str, ref: Ref, now_us: int, *, nobody: bool) -> None:
        """The broker of an uplink has taken an offer; nobody: and knows of no subscriber."""
        lane = self._lanes.get(uplink)
        if lane is None or ref.key.stream is Stream.LOG:
            return
        self._holds[uplink].acked(ref, now_us, nobody=nobody)
        offered_us = lane.offered_us(ref)
        if nobody and offered_us is not None:
            self._anew(uplink, offered_us)

    def _anew(self, uplink: str, unheard_us: int) -> None:
        self._lanes[uplink].anew(unheard_us, self._before_the_backlog())

    def _before_the_backlog(self) -> list[Ref]:
        """Raised alarms nobody has received, oldest first; none where a moment brings all."""
        return list(self._unreceived()) if self.count(Stream.ALARM) > LONG else []

    def _unreceived(self) -> dict[Ref, None]:
        """The raised alarms that still wait for a receipt, in the order they were raised."""
        waiting = (waits.ref for waits in self._awaited.values() if not waits.received)
        return dict.fromkeys(ref for ref in waiting if ref is not None and self.owes(ref))

    # --- what is owed ----------------------------------------------------------------------------

    def owe(self, message: Message, now_us: int) -> tuple[str, ...]:
        """A new message. The uplinks named are to carry it at once; they count it as offered."""
        key, sequence = message.key, message.sequence
        self._owed.setdefault(key, Ranges()).add(sequence, sequence)
        if key.stream is Stream.LOG:
            for lane in self._lanes.values():  # it may come after a higher number was offered
                lane.rewind(key, sequence)
            return ()
        self._await(message, now_us)
        for lane in self._lanes.values():
            lane.offer(key, sequence, now_us)
        return tuple(self._lanes)

    def take(self, uplink: str, now_us: int, *, log: bool, limit: int) -> list[Ref]:
        """Up to `limit` messages to offer on an uplink now: alarms first, oldest first.

        `log`: this uplink is the one that carries the log.
        """
        lane = self._lanes.get(uplink)
        if lane is None:
            return []
        due_us = lane.due_us()
        if due_us is not None and due_us <= now_us:
            few = self.count(Stream.ALARM) <= WINDOW_LEAST
            lane.expire(now_us, self._unreceived(), few=few)
        hold = self._holds[uplink]
        unheard_us = hold.run_out(now_us)
        if unheard_us is not None:
            self._anew(uplink, unheard_us)
        taken: list[Ref] = []
        if hold.holds and self._knock(lane, hold, now_us, taken, limit):
            return taken
        left = False
        for stream in Stream:
            if stream is Stream.ALARM or log:
                left = self._fill(lane, stream, now_us, taken, limit) or left
            else:
                left = left or self.count(stream) > 0
        lane.look_us = now_us + LOOK_AGAIN_US if left else None
        return taken

    def _knock(self, lane: Lane, hold: Hold, now_us: int, taken: list[Ref], limit: int) -> bool:
        """Take the first of the alarms and nothing else; False when there is no need to wait."""
        if hold.knocked is None or not self.owes(hold.knocked):
            self._fill(lane, Stream.ALARM, now_us, taken, min(limit, 1))
            if taken:
                hold.knocked = taken[0]
            elif hold.asks and limit > 0:
                hold.end()
                return False
        lane.look_us = hold.until_us if self._owed else None
        return True

    def _fill(self, lane: Lane, stream: Stream, now_us: int, taken: list[Ref], limit: int) -> bool:
        """Take of one stream what the window has room for; True when `limit` was in the way."""
        again = lane.again(stream)
        while lane.room(stream) > 0:
            ref = again[0] if again else lane.following(self._of(stream), stream)
            if ref is None:
                return False
            if len(taken) >= limit:
                return True
            if again:
                lane.repeated(again.pop(0))
            else:
                lane.walked(ref)
            if self.owes(ref) and not lane.offers(ref.key, ref.sequence):
                lane.offer(ref.key, ref.sequence, now_us)
                taken.append(ref)
        return False

    def _of(self, stream: Stream) -> Iterable[tuple[StreamKey, Ranges]]:
        return ((key, ranges) for key, ranges in self._owed.items() if key.stream is stream)

    # --- what is settled -------------------------------------------------------------------------

    def settle(
        self,
        key: StreamKey,
        ranges: Iterable[tuple[int, int]],
        *,
        uplink: str = "",
        now_us: int = 0,
    ) -> list[tuple[int, int]]:
        """Strike off what a receipt covers; says which of it was still owed.

        uplink, now_us: which one brought it and when; from that its window learns.
        """
        owed = self._owed.get(key)
        if owed is None:
            return []
        struck = [part for first, last in ranges for part in owed.take(first, last)]
        for name, lane in self._lanes.items():
            missed_none = lane.settle(key, struck, now_us if name == uplink else None)
            if missed_none and name == uplink:
                self._holds[name].end()
        if not owed:
            del self._owed[key]
            for lane in self._lanes.values():
                lane.forget(key)
        return struck

    def receipt(
        self, receipt: Receipt, *, uplink: str = "", now_us: int = 0
    ) -> tuple[list[tuple[int, int]], list[str]]:
        """A verified Receipt: the numbers it settles, and the alarms it shows as received."""
        ranges = [(1, receipt.through), *receipt.also]
        struck = self.settle(receipt.key, ranges, uplink=uplink, now_us=now_us)
        if not struck and not receipt.alarms:
            return [], []
        named = {word.alarm for word in receipt.alarms}
        waiting = {name: waits for name, waits in self._awaited.items() if not waits.received}
        received = []
        for alarm, waits in waiting.items():
            if alarm in named or self._has_come(waits, receipt.key, ranges):
                waits.received = True
                received.append(alarm)
        for alarm in received:
            self._receipted(alarm)
        return struck, received

    def _has_come(self, waits: _Awaited, key: StreamKey, ranges: list[tuple[int, int]]) -> bool:
        if waits.ref is None:
            return False
        if waits.gone:  # only a receipt's own word counts for it
            number = waits.ref.sequence
            return waits.ref.key == key and any(low <= number <= high for low, high in ranges)
        return not self.owes(waits.ref)

    def gone(self, ref: Ref) -> None:
        """Its bytes are on no disk any more: it is owed no longer, and nobody has received it."""
        self.settle(ref.key, [(ref.sequence, ref.sequence)])
        for waits in self._awaited.values():
            waits.gone = waits.gone or waits.ref == ref

    def answered(self, alarm: str) -> None:
        """A person has acknowledged it, or it has ended: no further route is called.

        Where no receipt has come the route's silence is still told: its copy is owed.
        """
        waits = self._awaited.get(alarm)
        if waits is None:
            return
        if waits.received or waits.ref is None or not self.owes(waits.ref):
            del self._awaited[alarm]
            return
        waits.answered, waits.steps = True, len(self._route.then)
        if waits.overdue:
            waits.due_us = None

    def _receipted(self, alarm: str) -> None:
        waits = self._awaited[alarm]
        waits.overdue = False
        if self._route.acknowledge_within_ms is None or waits.answered:
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
            found.append(Overdue(alarm, why, now_us, waits.steps, waits.since_us))
            waits.overdue = waits.overdue or not waits.received
            waits.steps += 1
            step_ms = self._route.acknowledge_within_ms or self._route.receipt_within_ms
            more = waits.steps < len(self._route.then)
            waits.due_us = waits.due_us + step_ms * US_PER_MS if more else None
        return found
