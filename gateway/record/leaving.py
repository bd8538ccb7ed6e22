"""What leaves a ledger and when: by age, for want of room, and the log where nothing else is left.

Every call does one short transaction, so that no alarm waits long behind it. Which entries may go
is `prune.py`'s, how old they are `age.py`'s, how much room there is `room.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.model import Stamp, Stream, StreamKey
from gateway.core.ranges import Ranges
from gateway.record.age import Age
from gateway.record.entry import LedgerError, StorageTrouble
from gateway.record.file import LedgerFile
from gateway.record.inquiry import Inquiry
from gateway.record.owed import SEQUENCE_BITS, SEQUENCE_MAX, Owed
from gateway.record.prune import Pruning
from gateway.record.room import Place, Room

STEP = 128
"""Entries that leave in one transaction."""

STEP_AT_ONCE = 1_000
"""Entries that leave when there is not a byte left."""

STEP_BYTES = 128 << 10
"""What the file shrinks by in one transaction."""

_REMOVING = "old entries could not be removed"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Log entries that were owed on a stream and given up, and not reported yet."""

    key: StreamKey
    first: int
    last: int
    count: int


class DroppedLog:
    """What of the log was given up since the start. `count` never goes back."""

    def __init__(self) -> None:
        self.count = 0
        self._untold: dict[StreamKey, Ranges] = {}

    def add(self, key: StreamKey, first: int, last: int) -> None:
        """Numbers of a stream, both ends in, are nowhere any more."""
        self.count += last - first + 1
        self._untold.setdefault(key, Ranges()).add(first, last)

    def take(self) -> list[Dropped]:
        """What has come together since the last time, a stream each."""
        untold, self._untold = self._untold, {}
        spans = [(key, list(numbers), len(numbers)) for key, numbers in untold.items()]
        return [Dropped(key, parts[0][0], parts[-1][1], count) for key, parts, count in spans]


class Leaving:
    """The housekeeping of one file."""

    def __init__(
        self, file: LedgerFile, place: Place | None, dropped: DroppedLog, *, began: int
    ) -> None:
        """began: the number of this start's row.

        forgot: the last step dropped rows of streams. stuck: nothing is left that may leave.
        """
        self._file = file
        self._asked = Inquiry(file)
        self._dropped = dropped
        self._began = began
        owed = Owed(file)
        self._stamped, self._old, self._large = (Pruning(file, owed) for _ in range(3))
        self._age = Age(file)
        self._old_to = 0
        self.forgot = self.stuck = self._log_too = False
        self._room = Room(file, place) if place is not None and file.durable else None

    def step(self, *, idle: bool) -> bool:
        """The next thing that is due; True when more is. LedgerError: it is due again."""
        self.forgot = False
        if self._file.tidy(idle=idle):
            self._look()
        if self._old_to:
            self._let_the_old_leave()
        elif self._room is not None and self._room.making:
            self._make_room(self._room)
        return bool(self._old_to) or (self._room is not None and self._room.making)

    def retain(self, now: Stamp, *, keep_ms: int) -> None:
        """Settled entries older than that are to leave, and what has no room."""
        self._old_to = self._age.look(now, keep_ms=keep_ms)
        self._look()

    def _look(self) -> None:
        if self._room is not None:
            with self._file.reading("the file's size could not be read"):
                self._room.look()

    def _let_the_old_leave(self) -> None:
        with self._file.writing(_REMOVING):
            self._old.settled(heads=self._asked.heads_held(), limit=STEP, up_to=self._old_to)
            if self._old.at_end:
                self._old.forget_empty_starts(now=self._began)
                self.forgot = True
        if self._old.at_end:
            self._old.rewind()
            self._old_to = 0

    def _make_room(self, room: Room) -> None:
        given_up: Sequence[int] = ()
        self._file.restart_wal()  # it must not grow on a disk that may be full
        try:
            with self._file.writing(_REMOVING):
                if room.to_leave() and not self.stuck:
                    _, given_up = self._oldest(STEP)
                elif room.to_shrink():
                    self._file.shrink(min(room.to_shrink(), STEP_BYTES))
                else:
                    room.made()
        except LedgerError as exc:
            if exc.reason is not StorageTrouble.FULL:
                raise
            room.made()  # what is to be recorded says whether that is trouble
        self._give_up(given_up)
        if self.stuck and not room.can_shrink():
            room.made()
        if not room.making:
            self._file.restart_wal()

    def at_once(self) -> None:
        """There is not a byte left: entries of any age make room for new ones.

        LedgerError FULL when all that is held is owed alarms, or not even that can be written.
        """
        gone = 0
        while not gone and not self.stuck:
            with self._file.writing(_REMOVING):
                gone, given_up = self._oldest(STEP_AT_ONCE)
            self._give_up(given_up)
        if not gone:
            raise LedgerError(StorageTrouble.FULL, "the disk is full, and all it holds is owed")

    def _oldest(self, limit: int) -> tuple[int, Sequence[int]]:
        """The oldest settled entries leave, and where there are none the oldest of the log.

        How many left, and the keys of those that were owed.
        """
        heads = self._asked.heads_held()
        if not self._log_too:
            gone = self._large.settled(heads=heads, limit=limit)
            if self._large.at_end:
                self._log_too = True
                self._large.rewind()
            return gone, ()
        log = {number for number, key in self._asked.streams() if key.stream is Stream.LOG}
        gone, given_up = self._large.log(log, heads=heads, limit=limit)
        self.stuck = self._large.at_end
        return gone, given_up

    def recorded(self) -> None:
        """There is something new, which may be log."""
        self.stuck = False

    def settled(self) -> None:
        """Something is owed no more, and may be among the oldest."""
        self.stuck = self._log_too = False
        self._large.rewind()

    def _give_up(self, keys: Sequence[int]) -> None:
        streams = dict(self._asked.streams()) if keys else {}
        for key in keys:
            number = key & SEQUENCE_MAX
            self._dropped.add(streams[key >> SEQUENCE_BITS], number, number)

    def prune(self, *, before_utc_ms: int, limit: int) -> int:
        """Settled events stamped before that leave now; how many did."""
        with self._file.writing(_REMOVING):
            heads = self._asked.heads_held()
            gone = self._stamped.settled(heads=heads, limit=limit, before_utc_ms=before_utc_ms)
            if self._stamped.at_end:
                self._stamped.rewind()
            self._stamped.forget_empty_starts(now=self._began)
        return gone
