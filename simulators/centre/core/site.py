"""What a centre holds of one gateway: numbers, hashes, the chain; and what is odd about a message.

Pure state, driven by `core`: no I/O and no clock. The caller has verified what it is given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.core.jws import VerifyKey
from gateway.core.model import Stream, StreamKey
from gateway.core.ranges import Ranges as Set
from simulators.centre.core.life import Life
from simulators.centre.core.origin import Origin
from simulators.centre.core.run import Epoch, Run
from simulators.centre.core.spans import Ranges, without
from simulators.centre.core.words import (
    Finding,
    FindingKind,
    Mark,
    Outcome,
    Span,
    Stored,
    remember,
    spans_text,
)

KEPT_DIGESTS = 1_000
KEPT_EVENTS = 10_000
KEPT_CONFLICTS = 100
KEPT_MOMENTS = 64
MISSING_AFTER_MS = 10_000
"""A gateway offers again every 5 s what no receipt covers: two offers must have failed."""
RESTORED_SPAN_MS = 10_000
"""A gateway that dies loses what went ahead of a late disk: fractions of a second, or it has said
that its disk is in trouble. What it lost of a longer time it had on disk once."""


@dataclass(frozen=True, slots=True)
class _Link:
    """What the chain needs to know of a message."""

    digest: str
    previous: str | None


class Site:
    """One gateway as a centre sees it. `life` is its heartbeats' side.

    watched: the runs that may lack something. A gateway has thousands of starts behind it, all
    whole, and only these are looked at with every heartbeat.
    """

    def __init__(
        self, gateway: str, keys: Mapping[str, VerifyKey], intervals_ms: Mapping[str, int]
    ) -> None:
        """`keys` by kid; intervals_ms by uplink name."""
        self.gateway = gateway
        self.keys = keys
        self.life = Life(gateway, intervals_ms)
        self.origin = Origin(self.find)
        self.runs: dict[StreamKey, Run] = {}
        self.watched: dict[StreamKey, Run] = {}
        self.uplinks: dict[str, None] = {}
        self._families: dict[tuple[Stream, str], list[Run]] = {}
        self._of_epoch: dict[Epoch, list[Run]] = {}
        self._newest: dict[tuple[Stream, str], int] = {}
        self._starts: dict[tuple[str, int], list[str]] = {}
        # what comes again must not push out the hashes that new messages are held against
        self._kept: dict[tuple[Stream, bool], OrderedDict[tuple[StreamKey, int], _Link]] = {
            (stream, again): OrderedDict() for stream in Stream for again in (False, True)
        }
        self.named: dict[Epoch, int] = {}
        self._named_ms: dict[Epoch, int] = {}
        self._gone: dict[Epoch, dict[str, Set]] = {}
        self._found: list[Finding] = []
        self._events: OrderedDict[str, None] = OrderedDict()

    def find(self, kind: FindingKind, text: str) -> None:
        """Something was noticed; `findings` gives it away."""
        self._found.append(Finding(kind, self.gateway, text))

    def findings(self, at_ms: int) -> list[Finding]:
        """What was noticed since the last time, and what is to be said by now."""
        self.origin.wake(at_ms)
        found, self._found = self._found, []
        return found + self.doubts(at_ms)

    # --- numbers --------------------------------------------------------------------------

    def run(self, key: StreamKey) -> Run:
        """The run of that key, begun when it is new."""
        found = self.runs.get(key)
        if found is None:
            found = self.runs[key] = Run(key)
            family = (key.stream, key.ledger)
            self._families.setdefault(family, []).append(found)
            self._of_epoch.setdefault(found.epoch, []).append(found)
            self._newest[family] = max(key.epoch, self._newest.get(family, 0))
            self._head(found.epoch)
        return found

    def name(self, epoch: Epoch, head: int, *, history: bool) -> None:
        """This epoch has come as far as `head`, of whatever start. history: it is owed to nobody.

        What may be owed comes by itself, and is waited for.
        """
        self.named[epoch] = max(head, self.named.get(epoch, 0))
        if history:
            self._named_ms[epoch] = 0
        self._head(epoch)

    def _head(self, epoch: Epoch) -> None:
        """Give a named head to the epoch's run; of two starts nobody knows which was meant."""
        runs = self.runs_of(epoch)
        if epoch in self.named and len(runs) == 1:
            (run,) = runs
            run.head = max(run.head, self.named[epoch])
            self.watched[run.key] = run
            run.asking = run.asking or epoch in self._named_ms

    def runs_of(self, epoch: Epoch) -> list[Run]:
        """The runs of an epoch, one for each start."""
        return self._of_epoch.get(epoch, [])

    def classify(self, key: StreamKey, sequence: int, digest: str) -> tuple[Outcome, bool]:
        """What these bytes under this number are, and whether they must be stored."""
        run = self.run(key)
        if sequence not in run.seen:
            return Outcome.NEW, True
        kept = self._link(key, sequence)
        if kept is None or kept.digest == digest:
            return Outcome.COPY, False
        return Outcome.CONFLICT, digest not in run.conflicts

    def _link(self, key: StreamKey, sequence: int) -> _Link | None:
        found = (self._kept[key.stream, again].get((key, sequence)) for again in (False, True))
        return next((link for link in found if link is not None), None)

    def first_sight(self, event: str, *, resent: bool = False) -> bool:
        """True once for each event id (of the latest KEPT_EVENTS that did not come by a resend)."""
        new = event not in self._events
        if not resent:
            remember(self._events, event, None, KEPT_EVENTS)
        return new

    def take(self, row: Stored, *, resent: bool = False) -> None:
        """Count a row as seen; it is not held before `hold`."""
        run = self.run(row.key)
        if row.conflict:
            remember(run.conflicts, row.digest, None, KEPT_CONFLICTS)
            return
        run.seen.add(row.sequence)
        run.pending.add(row.sequence)
        if row.sequence == 1:
            run.previous, run.resumes = row.previous, row.resumes
            if row.resumes is not None:
                before = (row.key.stream, row.key.ledger, row.resumes[0])
                self.name(before, row.resumes[1], history=resent)
        if row.type.startswith("fault.storage."):
            run.trouble = row.type.endswith(".raised")
        if not resent:
            remember(run.moments, row.sequence, row.received_ms, KEPT_MOMENTS)
        link, kept = _Link(row.digest, row.previous), self._kept[row.key.stream, resent]
        remember(kept, (row.key, row.sequence), link, KEPT_DIGESTS)

    def hold(self, row: Stored) -> None:
        """A row is on disk."""
        if not row.conflict:
            run = self.run(row.key)
            run.pending.discard(row.sequence)
            run.held.add(row.sequence)

    def drop(self, row: Stored) -> None:
        """A row could not be stored: it was never seen."""
        run = self.run(row.key)
        if row.conflict:
            run.conflicts.pop(row.digest, None)
        elif row.sequence in run.pending:
            run.pending.discard(row.sequence)
            run.seen = Ranges(run.held.spans)
            self.watched[row.key] = run
            for sequence in run.pending:
                run.seen.add(sequence)
            for again in (False, True):
                self._kept[row.key.stream, again].pop((row.key, row.sequence), None)

    def _family(self, key: StreamKey) -> list[Run]:
        """Every run of this stream and ledger, whatever its epoch and start."""
        return self._families.get((key.stream, key.ledger), [])

    # --- what is odd ----------------------------------------------------------------------

    def forked(self, ledger: str, epoch: int, start: str) -> bool | None:
        """Note a start. None: the only one of this epoch. True: a further one, first seen now.

        False: the epoch has several, and this one was seen before.
        """
        starts = self._starts.setdefault((ledger, epoch), [])
        new = start not in starts
        if new:
            starts.append(start)
        return new if len(starts) > 1 else None

    def marks(self, row: Stored) -> dict[Mark, str]:
        """What is odd about a row not yet taken, each with a sentence for people."""
        found: dict[Mark, str] = {}
        gap = self.lacks(self.run(row.key), row.sequence - 1)
        if gap:
            found[Mark.GAP] = f"not here yet: {spans_text(gap)}"
        if self._broken(row):
            found[Mark.BROKEN_CHAIN] = "its predecessor's hash does not agree"
        tail = self._lost_by_gateway(row)
        if tail:
            found[Mark.RESUMED] = tail
        if self.forked(row.key.ledger, row.key.epoch, row.key.start) is not None:
            found[Mark.FORK] = f"epoch {row.key.epoch} was started twice: is there a copied card?"
        return found

    def _broken(self, row: Stored) -> bool:
        follower = self._link(row.key, row.sequence + 1)
        if follower is not None and follower.previous != row.digest:
            return True
        if row.sequence > 1:
            before = self._link(row.key, row.sequence - 1)
            named = row.previous is not None and row.resumes is None
            return not named or (before is not None and before.digest != row.previous)
        if row.resumes is None or row.previous is None:
            return row.resumes is not None or row.previous is not None
        epoch, sequence = row.resumes
        digests = [
            held.digest
            for run in self._family(row.key)
            if run.key.epoch == epoch and (held := self._link(run.key, sequence)) is not None
        ]
        return epoch >= row.key.epoch or (bool(digests) and row.previous not in digests)

    def _lost_by_gateway(self, row: Stored) -> str:
        """Why the chain forks where a gateway died with messages sent and not yet stored."""
        here = (row.key.epoch, row.sequence)
        newest = self._newest.get((row.key.stream, row.key.ledger), 0)
        for run in self._family(row.key) if newest > row.key.epoch else ():
            if run.key.epoch > row.key.epoch and run.resumes is not None and run.resumes < here:
                return (
                    f"epoch {run.key.epoch} goes on from {run.resumes[0]}/{run.resumes[1]}: "
                    "the gateway lost this one, it is kept here"
                )
        if row.resumes is None or row.sequence != 1:
            return ""
        lost = []
        for run in self._family(row.key):
            epoch = run.key.epoch
            if row.resumes[0] <= epoch < row.key.epoch:
                floor = row.resumes[1] + 1 if epoch == row.resumes[0] else 1
                tail = [(max(a, floor), b) for a, b in run.seen.spans if b >= floor]
                lost += [f"{epoch}/{spans_text([span])}" for span in tail]
        if not lost:
            return ""
        forks_after = f"{row.resumes[0]}/{row.resumes[1]}"
        return f"the chain forks after {forks_after}; lost there and kept here: {', '.join(lost)}"

    def restored(self, row: Stored) -> str:
        """Why a row says that an old copy of the ledger was put back; empty when it does not.

        To be asked before the row is taken.
        """
        family = (row.key.stream, row.key.ledger)
        repeated = len(self.runs_of((*family, row.key.epoch))) > 1  # and that says it already
        if row.sequence != 1 or row.resumes is None or repeated:
            return ""
        epoch, last = row.resumes
        for run in self._family(row.key):
            alarms = (run.key.epoch, run.key.start)
            trouble = any(
                other.trouble
                for other in self.runs_of((Stream.ALARM, row.key.ledger, run.key.epoch))
                if (other.key.epoch, other.key.start) == alarms
            )
            lost = [ms for number, ms in run.moments.items() if number > last]
            if run.key.epoch != epoch or not lost or trouble:
                continue
            if max(lost) - min(lost) > RESTORED_SPAN_MS or len(lost) == KEPT_MOMENTS:
                spans = [(max(a, last + 1), b) for a, b in run.seen.spans if b > last]
                return (
                    f"its {run.title} ended with {last}, it says, but {spans_text(spans)} are held"
                    " here: an old copy of its disk was put back. What is missing there is kept"
                    " here"
                )
        return ""

    # --- what never came ------------------------------------------------------------------

    def gone(self, epoch: Epoch, start: str, spans: Iterable[Span]) -> None:
        """The gateway says that it no longer holds these. start: empty for any of that epoch."""
        mine = self._gone.setdefault(epoch, {}).setdefault(start, Set())
        for first, last in spans:
            mine.add(first, last)

    def _gone_of(self, epoch: Epoch, start: str) -> Set:
        told = self._gone.get(epoch, {})
        return Set([span for name in ("", start) for span in told.get(name, ())])

    def lacks(self, run: Run, upto: int) -> tuple[Span, ...]:
        """What has not come of 1..upto and is not told gone."""
        missing = run.seen.missing(upto)
        gone = self._gone.get(run.epoch)
        return (
            missing
            if not (missing and gone)
            else without(missing, self._gone_of(run.epoch, run.key.start))
        )

    def lacking(self, at_ms: int) -> list[tuple[Epoch, tuple[Span, ...]]]:
        """What to ask for once more: alarms first, the present ledger first, newest epoch first.

        Only what has been missing for MISSING_AFTER_MS: what is owed comes by itself.
        """
        found: dict[Epoch, tuple[Span, ...]] = {}
        for run in self.runs.values():
            if run.asking:
                found[run.epoch] = found.get(run.epoch, ()) or self.lacks(run, run.head)
        for epoch, head in self.named.items():
            if self.runs_of(epoch):
                continue
            spans = without([(1, head)], self._gone_of(epoch, ""))
            if spans and at_ms - self._named_ms.setdefault(epoch, at_ms) >= MISSING_AFTER_MS:
                found[epoch] = spans
        ledger = self.life.last.ledger if self.life.last is not None else ""
        wanted = [(epoch, spans) for epoch, spans in found.items() if spans]
        return sorted(wanted, key=lambda item: _rank(item[0], ledger))

    def name_head(self, key: StreamKey, head: int) -> None:
        """A heartbeat says that the run has come as far as `head`."""
        run = self.run(key)
        run.head = max(run.head, head)
        if run.seen.through < run.head:
            self.watched[key] = run

    def doubts(self, at_ms: int) -> list[Finding]:
        """Numbers below a head that have not come for MISSING_AFTER_MS, each said once."""
        findings = []
        for run in list(self.watched.values()):
            spans = self.lacks(run, run.head) if run.seen.through < run.head else ()
            if not spans:
                if run.said:
                    gone = run.seen.missing(run.head)
                    but = f", but for {spans_text(gone)}: gone at the gateway too" if gone else ""
                    text = f"{run.title} is complete through {run.head}{but}"
                    findings.append(Finding(FindingKind.COMPLETE, self.gateway, text, run.key))
                run.doubt, run.said, run.asking = None, False, False
                del self.watched[run.key]
                continue
            lowest = spans[0][0]
            if run.doubt is None or run.doubt[0] != lowest:
                run.doubt = (lowest, at_ms)
            if not run.said and at_ms - run.doubt[1] >= MISSING_AFTER_MS:
                run.said = run.asking = True
                text = f"{run.title}: missing {spans_text(spans)}"
                findings.append(Finding(FindingKind.MISSING, self.gateway, text, run.key, spans))
        return findings

    def doubt_deadline(self) -> int | None:
        """When `doubts` may have something to say, None when nothing is missing."""
        since = [run.doubt[1] for run in self.watched.values() if run.doubt and not run.said]
        return min(since) + MISSING_AFTER_MS if since else None


def _rank(epoch: Epoch, present: str) -> tuple[bool, bool, str, int]:
    stream, ledger, number = epoch
    return stream is Stream.LOG, ledger != present, ledger, -number
