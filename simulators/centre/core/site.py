"""What a centre holds of one gateway: numbers, hashes, the chain; and what is odd about a message.

Pure state, driven by `core`: no I/O and no clock. The caller has verified what it is given.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.jws import VerifyKey
from gateway.core.model import Stream, StreamKey
from simulators.centre.core.life import Life
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
MISSING_AFTER_MS = 10_000
"""A gateway offers again every 5 s what no receipt covers: two offers must have failed."""


class Ranges:
    """A set of whole numbers from 1, kept as disjoint ascending spans with a gap between each."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """`spans` are disjoint, ascending and apart, as `spans` gives them."""
        self._spans = list(spans)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every span as (first, last)."""
        return tuple(self._spans)

    @property
    def through(self) -> int:
        """The last number of the unbroken run from 1; 0 when 1 is missing."""
        return self._spans[0][1] if self._spans and self._spans[0][0] == 1 else 0

    @property
    def beyond(self) -> tuple[Span, ...]:
        """The spans behind the first gap."""
        return tuple(self._spans[1:] if self.through else self._spans)

    def __contains__(self, number: int) -> bool:
        behind = self._behind(number)
        return behind > 0 and self._spans[behind - 1][1] >= number

    def _behind(self, number: int) -> int:
        return bisect_right(self._spans, number, key=lambda span: span[0])

    def add(self, number: int) -> None:
        """Take one number in; one that is there already changes nothing."""
        if number in self:
            return
        at = self._behind(number)
        first = last = number
        if at < len(self._spans) and self._spans[at][0] == number + 1:
            last = self._spans.pop(at)[1]
        if at > 0 and self._spans[at - 1][1] == number - 1:
            at -= 1
            first = self._spans.pop(at)[0]
        self._spans.insert(at, (first, last))

    def missing(self, upto: int) -> tuple[Span, ...]:
        """What is not held of 1..upto, ascending."""
        found = []
        wanted = 1
        for first, last in self._spans:
            if first > upto:
                break
            if first > wanted:
                found.append((wanted, first - 1))
            wanted = last + 1
        if wanted <= upto:
            found.append((wanted, upto))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Link:
    """What the chain needs to know of a message."""

    digest: str
    previous: str | None


@dataclass(slots=True)
class Run:
    """One StreamKey's numbers: `held` are on disk, `seen` also those whose commit is under way.

    head: the greatest number the gateway has named. doubt: the lowest number missing below it and
    since when; said: that a person was told.
    """

    key: StreamKey
    held: Ranges = field(default_factory=Ranges)
    seen: Ranges = field(default_factory=Ranges)
    pending: set[int] = field(default_factory=set)
    conflicts: OrderedDict[str, None] = field(default_factory=OrderedDict)
    previous: str | None = None
    resumes: tuple[int, int] | None = None
    head: int = 0
    doubt: tuple[int, int] | None = None
    said: bool = False

    @property
    def title(self) -> str:
        """`alarm stream, epoch 6`: for people."""
        return f"{self.key.stream.value} stream, epoch {self.key.epoch}"


class Site:
    """One gateway as a centre sees it. `life` is its heartbeats' side."""

    def __init__(
        self, gateway: str, keys: Mapping[str, VerifyKey], intervals_ms: Mapping[str, int]
    ) -> None:
        """`keys` by kid; intervals_ms by uplink name."""
        self.gateway = gateway
        self.keys = keys
        self.life = Life(gateway, intervals_ms)
        self.runs: dict[StreamKey, Run] = {}
        self.uplinks: dict[str, None] = {}
        self._families: dict[tuple[Stream, str], list[Run]] = {}
        self._newest: dict[tuple[Stream, str], int] = {}
        self._starts: dict[tuple[str, int], list[str]] = {}
        self._kept: dict[Stream, OrderedDict[tuple[StreamKey, int], _Link]] = {
            stream: OrderedDict() for stream in Stream
        }
        self._events: OrderedDict[str, None] = OrderedDict()

    # --- numbers --------------------------------------------------------------------------

    def run(self, key: StreamKey) -> Run:
        """The run of that key, begun when it is new."""
        found = self.runs.get(key)
        if found is None:
            found = self.runs[key] = Run(key)
            family = (key.stream, key.ledger)
            self._families.setdefault(family, []).append(found)
            self._newest[family] = max(key.epoch, self._newest.get(family, 0))
        return found

    def classify(self, key: StreamKey, sequence: int, digest: str) -> tuple[Outcome, bool]:
        """What these bytes under this number are, and whether they must be stored."""
        run = self.run(key)
        if sequence not in run.seen:
            return Outcome.NEW, True
        kept = self._kept[key.stream].get((key, sequence))
        if kept is None or kept.digest == digest:
            return Outcome.COPY, False
        return Outcome.CONFLICT, digest not in run.conflicts

    def first_sight(self, event: str) -> bool:
        """True once for each event id (of the latest KEPT_EVENTS)."""
        new = event not in self._events
        remember(self._events, event, None, KEPT_EVENTS)
        return new

    def take(self, row: Stored) -> None:
        """Count a row as seen; it is not held before `hold`."""
        run = self.run(row.key)
        if row.conflict:
            remember(run.conflicts, row.digest, None, KEPT_CONFLICTS)
            return
        run.seen.add(row.sequence)
        run.pending.add(row.sequence)
        if row.sequence == 1:
            run.previous, run.resumes = row.previous, row.resumes
            for resumed in self._family(row.key):
                if row.resumes is not None and resumed.key.epoch == row.resumes[0]:
                    resumed.head = max(resumed.head, row.resumes[1])
        link = _Link(row.digest, row.previous)
        remember(self._kept[row.key.stream], (row.key, row.sequence), link, KEPT_DIGESTS)

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
            for sequence in run.pending:
                run.seen.add(sequence)
            self._kept[row.key.stream].pop((row.key, row.sequence), None)

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
        gap = self.run(row.key).seen.missing(row.sequence - 1)
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
        kept = self._kept[row.key.stream]
        follower = kept.get((row.key, row.sequence + 1))
        if follower is not None and follower.previous != row.digest:
            return True
        if row.sequence > 1:
            before = kept.get((row.key, row.sequence - 1))
            named = row.previous is not None and row.resumes is None
            return not named or (before is not None and before.digest != row.previous)
        if row.resumes is None or row.previous is None:
            return row.resumes is not None or row.previous is not None
        epoch, sequence = row.resumes
        digests = [
            held.digest
            for run in self._family(row.key)
            if run.key.epoch == epoch and (held := kept.get((run.key, sequence))) is not None
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

    # --- what never came ------------------------------------------------------------------

    def name_head(self, key: StreamKey, head: int) -> None:
        """A heartbeat says that the run has come as far as `head`."""
        run = self.run(key)
        run.head = max(run.head, head)

    def doubts(self, at_ms: int) -> list[Finding]:
        """Numbers below a head that have not come for MISSING_AFTER_MS, each said once."""
        findings = []
        for run in self.runs.values():
            if run.seen.through >= run.head:
                if run.said:
                    text = f"{run.title} is complete through {run.head}"
                    findings.append(Finding(FindingKind.COMPLETE, self.gateway, text, run.key))
                run.doubt, run.said = None, False
                continue
            lowest = run.seen.through + 1
            if run.doubt is None or run.doubt[0] != lowest:
                run.doubt = (lowest, at_ms)
            if not run.said and at_ms - run.doubt[1] >= MISSING_AFTER_MS:
                run.said = True
                spans = run.seen.missing(run.head)
                text = f"{run.title}: missing {spans_text(spans)}"
                findings.append(Finding(FindingKind.MISSING, self.gateway, text, run.key, spans))
        return findings

    def doubt_deadline(self) -> int | None:
        """When `doubts` may have something to say, None when nothing is missing."""
        since = [run.doubt[1] for run in self.runs.values() if run.doubt and not run.said]
        return min(since) + MISSING_AFTER_MS if since else None
