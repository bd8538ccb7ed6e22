"""What one Route has offered on one connected uplink, and how much it may have on the way. Pure.

The window follows what comes back: it grows while receipts are prompt and shrinks when they queue,
so that a new alarm finds the pipe short. What was offered and never receipted leaves the window
after five seconds and is offered again: a little of it next, the rest when its turn comes round.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from gateway.core.model import Stream, StreamKey
from gateway.core.ranges import Ranges

OFFER_AGAIN_US = 5_000_000
"""What no receipt covers is offered again this long after the last offer on the same uplink."""

LOOK_AGAIN_US = 1_000_000
"""What could not be taken (no room, or the log goes elsewhere) is looked at again then."""

WINDOW_LEAST, WINDOW_MOST = 32, 400
"""Messages offered on one uplink and not yet receipted. The most bounds memory and the broker's
queue (mosquitto drops above 1,000); the least, some thirty kilobytes, is what a centre that never
answers is sent every five seconds."""

QUEUED_US = 30_000
"""A receipt that takes so much longer than the quickest had a queue before it; so has an alarm."""

FIRST_AGAIN = 16
"""Of what is repeated: raised alarms nobody has received, newest first. They and what follows leave
room in the least window for what was not offered yet, whatever a centre refuses to take."""

NEXT_AGAIN = 8
"""Of what is repeated: the oldest of the others, before anything that was not offered yet."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Names one message."""

    key: StreamKey
    sequence: int


class Lane:
    """The offers on one connection. Every number it holds is owed."""

    __slots__ = (
        "_count",
        "_cursor",
        "_first",
        "_least_us",
        "_next",
        "_offered",
        "_passed",
        "look_us",
        "window",
    )

    def __init__(self, first: Iterable[Ref] = ()) -> None:
        """first: what goes before all else, in that order.

        look_us: when what had to be left is to be looked at again; None when all was taken.
        """
        self.window = WINDOW_LEAST
        self.look_us: int | None = None
        self._offered: dict[StreamKey, dict[int, int]] = {}
        self._count = dict.fromkeys(Stream, 0)
        self._cursor: dict[StreamKey, int] = {}
        self._first: dict[Ref, None] = dict.fromkeys(first)
        self._next: dict[Ref, None] = {}
        self._passed = dict.fromkeys(Stream, False)
        self._least_us: int | None = None

    # --- what can be asked -----------------------------------------------------------------------

    def count(self, stream: Stream) -> int:
        """How many messages of that stream are on the way."""
        return self._count[stream]

    def offers(self, key: StreamKey, sequence: int) -> bool:
        """True while that message is on the way."""
        return sequence in self._offered.get(key, ())

    def offered_us(self, ref: Ref) -> int | None:
        """When that message was offered; None: it is not on the way."""
        return self._offered.get(ref.key, {}).get(ref.sequence)

    def room(self, stream: Stream) -> int:
        """How many more of the backlog may be offered; the log takes what the alarms leave."""
        log = self._count[Stream.LOG] if stream is Stream.LOG else 0
        return self.window - self._count[Stream.ALARM] - log

    def due_us(self) -> int | None:
        """When `take` is to be asked again by itself. Never a moment it was asked at already."""
        moments = [offered_us + OFFER_AGAIN_US for offered_us in self._oldest()]
        if self.look_us is not None:
            moments.append(self.look_us)
        return min(moments, default=None)

    # --- offers ----------------------------------------------------------------------------------

    def offer(self, key: StreamKey, sequence: int, now_us: int) -> None:
        """It goes out now."""
        mine = self._offered.setdefault(key, {})
        if mine.pop(sequence, None) is None:
            self._count[key.stream] += 1
        mine[sequence] = now_us

    def rewind(self, key: StreamKey, sequence: int) -> None:
        """Numbers of a stream from there on may be owed that were passed."""
        self._cursor[key] = min(self._cursor.get(key, 0), sequence - 1)

    def forget(self, key: StreamKey) -> None:
        """Nothing of it is owed any more."""
        self._cursor.pop(key, None)
        self._offered.pop(key, None)

    def settle(self, key: StreamKey, struck: Iterable[tuple[int, int]], now_us: int | None) -> bool:
        """These numbers have been receipted; now_us None: nothing is learnt from when.

        True when some had been offered here, and nothing offered as early is left: whoever heard
        them has missed nothing.
        """
        mine = self._offered.get(key)
        if not mine:
            return False
        offered: list[int] = []
        for first, last in struck:
            if last - first < len(mine):
                numbers = [number for number in range(first, last + 1) if number in mine]
            else:
                numbers = [number for number in mine if first <= number <= last]
            offered += map(mine.pop, numbers)
        self._count[key.stream] -= len(offered)
        if not offered:
            return False
        if now_us is not None:
            self._pace(len(offered), now_us - max(offered))
        earliest_us = min(offered)
        return all(at_us > earliest_us for at_us in self._oldest())

    def _oldest(self) -> list[int]:
        """When the oldest offer of each key that is on the way was made."""
        return [next(iter(mine.values())) for mine in self._offered.values() if mine]

    def _pace(self, count: int, took_us: int) -> None:
        least_us = took_us if self._least_us is None else min(self._least_us, took_us)
        self._least_us = least_us
        if took_us <= least_us + QUEUED_US:
            self.window = min(WINDOW_MOST, self.window + count)
        else:
            self.window = max(WINDOW_LEAST, self.window - count // 2)

    # --- what comes next -------------------------------------------------------------------------

    def expire(self, now_us: int, waited_for: Container[Ref], *, few: bool) -> None:
        """What was offered long ago is on the way no more.

        waited_for: raised alarms that nobody has received; they are repeated before the others.
        few: all alarms that are owed fit the least window, so they are repeated as they happened.
        """
        due = [
            (offered_us, Ref(key, sequence))
            for key, mine in self._offered.items()
            for sequence, offered_us in mine.items()
            if offered_us + OFFER_AGAIN_US <= now_us
        ]
        if due:
            self.window = WINDOW_LEAST
            self._drop(ref for _, ref in due)
            refs = [ref for _, ref in sorted(due)]
            if few:
                refs = [ref for ref in refs if ref.key.stream is Stream.LOG]
                self._next = dict.fromkeys(self.again(Stream.LOG))
                self._first = {}
                for key in [key for key in self._cursor if key.stream is Stream.ALARM]:
                    del self._cursor[key]
            first = [ref for ref in reversed(refs) if ref in waited_for]
            self._first = dict.fromkeys([*first, *self._first][:FIRST_AGAIN])
            others = [ref for ref in refs if ref not in self._first]
            self._next = dict.fromkeys([*self._next, *others][:NEXT_AGAIN])

    def anew(self, unheard_us: int, first: Iterable[Ref]) -> None:
        """What was offered until then, that moment in, begins anew, in order."""
        unheard = [
            Ref(key, sequence)
            for key, mine in self._offered.items()
            for sequence, offered_us in mine.items()
            if offered_us <= unheard_us
        ]
        if unheard:
            self._drop(unheard)
            self._first, self._next = dict.fromkeys(first), {}
            self._cursor.clear()
            self.look_us = None

    def _drop(self, refs: Iterable[Ref]) -> None:
        for ref in refs:
            del self._offered[ref.key][ref.sequence]
            self._count[ref.key.stream] -= 1
            self._passed[ref.key.stream] = True

    def again(self, stream: Stream) -> list[Ref]:
        """What of a stream goes before its backlog, in order."""
        return [ref for ref in (*self._first, *self._next) if ref.key.stream is stream]

    def repeated(self, ref: Ref) -> None:
        """`again` need not name it any more."""
        self._first.pop(ref, None)
        self._next.pop(ref, None)

    def walked(self, ref: Ref) -> None:
        """`following` goes on behind it."""
        self._cursor[ref.key] = ref.sequence

    def following(self, keys: Iterable[tuple[StreamKey, Ranges]], stream: Stream) -> Ref | None:
        """The next message of a stream's backlog that is not on the way; None: all of it is.

        keys: the stream's own, in the order they are to go. Comes round when something was passed.
        """
        owed = list(keys)
        ref = self._walked(owed)
        if ref is None and self._passed[stream]:
            self._passed[stream] = False
            for key, _ in owed:
                self._cursor.pop(key, None)
            ref = self._walked(owed)
        return ref

    def _walked(self, owed: Iterable[tuple[StreamKey, Ranges]]) -> Ref | None:
        for key, ranges in owed:
            mine, cursor = self._offered.get(key, {}), self._cursor.get(key, 0)
            following = ranges.after(cursor)
            while following is not None and following in mine:
                following = ranges.after(following)
            if following is not None:
                return Ref(key, following)
        return None
