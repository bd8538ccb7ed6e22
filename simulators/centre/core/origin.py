"""Which box speaks: the same one, one without its disk, a copy of it, or an old copy put back.

Pure, driven by `core`. Heartbeats show who is alive; messages and the store show who was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.message import Heartbeat
from simulators.centre.core.reading import OpenedMessage
from simulators.centre.core.words import FindingKind, Stored

KEPT_STARTS = 64
TOLD_WITHIN_MS = 5_000
"""A gateway without its disk says so in its first messages; then a new ledger is a new disk."""
ALONE_MS = 20_000
"""An older start that is still alive is heard within this (17 s); a slower uplink may correct it
later: then it is told as a copy after all."""
SLACK_MS = 2_000

Find = Callable[[FindingKind, str], None]


@dataclass(frozen=True, slots=True)
class _Start:
    ledger: str
    epoch: int
    start: str


@dataclass(slots=True)
class _Suspect:
    """A start that does not come after those known: a copy, or an old copy put back.

    told: that it was said to be an old one.
    """

    who: _Start
    first_ms: int
    newest: int
    rivals: frozenset[str]
    told: bool = False


class Origin:
    """One gateway's identity over its starts. `find` takes what is noticed."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: dict[_Start, None] = {}
        self._alive: dict[_Start, int] = {}
        self._ledgers: dict[str, None] = {}
        self._suspect: _Suspect | None = None
        self._new: tuple[str, int] | None = None
        self._without_disk: dict[_Start, None] = {}

    def stored(self, row: Stored) -> None:
        """A row of the store, from before this centre was started."""
        self._note(_Start(row.key.ledger, row.key.epoch, row.key.start))
        self._ledgers[row.key.ledger] = None

    def _note(self, who: _Start) -> None:
        self._known[who] = None
        if len(self._known) > 2 * KEPT_STARTS:
            newest = sorted(self._known, key=lambda one: one.epoch)[-KEPT_STARTS:]
            self._known = dict.fromkeys(one for one in self._known if one in newest)

    # --- what is heard ------------------------------------------------------------------------

    def message(self, message: OpenedMessage) -> None:
        """A message that came by itself, not because it was asked for."""
        key = message.key
        who = _Start(key.ledger, key.epoch, key.start)
        self._note(who)
        no_disk = message.type == "fault.storage.raised" and message.data.get("why") == "memory"
        if no_disk and who not in self._without_disk:
            self._without_disk[who] = None
            text = (
                f"it runs without its disk, under the ledger {key.ledger}: alarms still come, but"
                " what nobody has received yet is lost with the power. Look at its disk today"
            )
            self._find(FindingKind.IN_MEMORY, text)

    def beat(self, beat: Heartbeat, sent_ms: int, at_ms: int) -> None:
        """A sign of life, and when it was sent as far as is known."""
        who = _Start(beat.ledger, beat.epoch, beat.start)
        if who not in self._alive:
            self._appeared(who, at_ms)
        self._alive[who] = at_ms
        suspect = self._suspect
        if suspect is None or who.start not in suspect.rivals:
            return
        if who.ledger == suspect.who.ledger and sent_ms > suspect.first_ms + SLACK_MS:
            text = (
                f"two boxes run under the one ledger {who.ledger}, starts {who.start} and"
                f" {suspect.who.start}: a card or disk was copied, and both copies are in use."
                " Both are believed. Switch one off, and give it an empty disk"
            )
            self._find(FindingKind.CLONED, text)
            self._suspect = None

    def _appeared(self, who: _Start, at_ms: int) -> None:
        """The first sign of life of a start."""
        before = [one for one in self._known if one.ledger == who.ledger and one != who]
        rivals = frozenset(one.start for one in before if one.epoch >= who.epoch)
        if rivals:
            newest = max(one.epoch for one in before)
            self._suspect = _Suspect(who, at_ms, newest, rivals)
        if who.ledger not in self._ledgers and self._ledgers:
            self._new = who.ledger, at_ms
        self._ledgers[who.ledger] = None
        self._note(who)
        if len(self._alive) > KEPT_STARTS:
            del self._alive[next(iter(self._alive))]

    # --- time ---------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `wake` may have something to say; None: nothing is in doubt."""
        moments = []
        if self._new is not None:
            moments.append(self._new[1] + TOLD_WITHIN_MS)
        if self._suspect is not None and not self._suspect.told:
            moments.append(self._suspect.first_ms + ALONE_MS)
        return min(moments, default=None)

    def wake(self, at_ms: int) -> None:
        """Say what is clear by now."""
        if self._new is not None and at_ms >= self._new[1] + TOLD_WITHIN_MS:
            ledger, _ = self._new
            self._new = None
            if not any(who.ledger == ledger for who in self._without_disk):
                text = (
                    f"it goes on with a new ledger, {ledger}: its disk was lost, replaced or"
                    " emptied. What it had not sent yet went with it; what is here of the old"
                    " ledger is kept"
                )
                self._find(FindingKind.NEW_LEDGER, text)
        suspect = self._suspect
        if suspect is None or suspect.told or at_ms < suspect.first_ms + ALONE_MS:
            return
        suspect.told = True
        text = (
            f"its ledger {suspect.who.ledger} was in epoch {suspect.newest} already and begins"
            f" epoch {suspect.who.epoch} anew: an old copy of its disk was put back. What came"
            " since that copy is kept here, and is no longer there"
        )
        self._find(FindingKind.RESTORED, text)
