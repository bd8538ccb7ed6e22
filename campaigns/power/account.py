"""What the emulated gateway promised before its power went, held against what the centres hold.

Pure: log lines and stored rows in, findings out. It believes neither side alone: the log says what
was confirmed and when the disk was in trouble, the rows what was sealed, chained and received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gateway.core.kinds import class_of, phase_of
from gateway.core.model import Stream
from simulators.centre.core.words import Stored, unsealed

MARGIN_MS = 200
"""Beyond `sync_wait`: an alarm that has gone ahead of the disk is a logged fault by then (the
daemon logs 5 ms after it tells; its loop reads the inputs every 200 ms)."""

SHOWN_WITHIN_MS = 600
"""A press that ended so long before something else was confirmed is confirmed too (a fire contact
is normal again after 200 ms), however late either was logged."""


class Manner(StrEnum):
    """How the broker was when the power went."""

    UP = "broker up"
    AWAY = "broker away"
    BACK = "broker just back"


@dataclass(frozen=True, slots=True)
class Press:
    """One closing and opening of a contact, by the machine's own UTC; None: not told of any more.

    mono_ms: its monotonic clock at the closing.
    """

    point: str
    closed_ms: int | None = None
    open_ms: int | None = None
    mono_ms: float | None = None


@dataclass(slots=True)
class Life:
    """From one switching-on to the next: what the service logged and what was pressed."""

    number: int
    manner: Manner
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    presses: list[Press] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Said:
    """One event as the log told it. at_ms: the line's own UTC."""

    id: str
    type: str
    subject: str
    at_ms: int
    life: int
    manner: Manner

    @property
    def confirmed_ms(self) -> int:
        """UTC of the confirmation, which the line may follow much later."""
        return id_ms(self.id)


@dataclass(slots=True)
class Judgement:
    """Findings, and what was counted on the way."""

    findings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def losses(self) -> int:
        """Findings of something promised that is gone: what a rig must see without syncs."""
        return sum(text.startswith(("lost", "forgotten")) for text in self.findings)


def id_ms(event: str) -> int:
    """UTC ms in the id of an event: the first 48 bits of a UUIDv7 (RFC 9562, section 5.7)."""
    return int(event.replace("-", "")[:12], 16)


def utc_ms(text: str) -> int:
    """Milliseconds of an RFC 3339 instant."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def said_in(life: Life) -> list[Said]:
    """Every event the service logged, in order."""
    return [
        Said(
            line["id"],
            line["event"],
            line["subject"],
            utc_ms(line["timestamp"]),
            life.number,
            life.manner,
        )
        for line in life.lines
        if "id" in line and "subject" in line and line.get("event", "").count(".") >= 2
    ]


def promised(lives: Sequence[Life], rows: Iterable[Stored], *, wait_ms: int) -> dict[str, Said]:
    """Events that were confirmed, and on disk by the gateway's own word, before the power went.

    Its word: an alarm waits `wait_ms` for the disk, and one that goes ahead of it is
    fault.storage. So an event is promised when a later line was logged more than that wait after
    it, and no storage fault stood or began meanwhile.
    """
    troubles = _troubles(lives, rows)
    found = {}
    for life in lives:
        stamps = [line["timestamp"] for line in life.lines if "timestamp" in line]
        seen_to_ms = max(map(utc_ms, stamps), default=0)
        for said in said_in(life):
            until_ms = said.at_ms + wait_ms + MARGIN_MS
            healthy = not any(
                began <= until_ms and said.at_ms <= ended for began, ended in troubles
            )
            if healthy and until_ms < seen_to_ms:
                found[said.id] = said
    return found


def _troubles(lives: Sequence[Life], rows: Iterable[Stored]) -> list[tuple[int, float]]:
    """When fault.storage stood, from either side; infinity: to the end."""
    told: dict[str, tuple[int, str]] = {}
    for life in lives:
        told |= {said.id: (said.at_ms, said.type) for said in said_in(life)}
    for row in rows:
        if row.event not in told and row.type.startswith("fault.storage."):
            told[row.event] = (utc_ms(unsealed(row.token)["time"]), row.type)
    spans: list[tuple[int, float]] = []
    for at_ms, kind in sorted(told.values()):
        if kind == "fault.storage.raised":
            spans.append((at_ms, float("inf")))
        elif kind == "fault.storage.cleared":
            spans = [(began, min(ended, at_ms)) for began, ended in spans]
    return spans


def judge(
    lives: Sequence[Life],
    rows: Mapping[str, Sequence[Stored]],
    *,
    sends: Mapping[str, Sequence[str]],
    counted: Sequence[str],
    wait_ms: int,
) -> Judgement:
    """Hold it all together.

    rows: by route, what its centre holds at the very end, all debts settled. sends: the classes of
    events each route is owed. counted: points of which every closing is an alarm of its own.
    """
    made = Judgement()
    everything = [row for route in rows.values() for row in route]
    sure = promised(lives, everything, wait_ms=wait_ms)
    ties = _ties(everything)
    _delivered(made, lives, rows, sends=sends, sure=sure)
    for route, stored in rows.items():
        _once(made, route, stored)
        for stream in Stream:
            own = [row for row in stored if row.key.stream is stream and not row.conflict]
            _chained(made, f"{route}/{stream.value}", own, ties, wait_ms=wait_ms)
    _remembered(made, lives, everything, sure)
    for life in lives:
        _pressed(made, life, counted)
        made.findings += [
            f"damaged: life {life.number} found its storage {line['why']}"
            for line in life.lines
            if line.get("event") == "fault.storage.raised" and line.get("why") != "late"
        ]
    return made


def _delivered(
    made: Judgement,
    lives: Sequence[Life],
    rows: Mapping[str, Sequence[Stored]],
    *,
    sends: Mapping[str, Sequence[str]],
    sure: Mapping[str, Said],
) -> None:
    """Every promised event is at every route that is owed it."""
    there = {route: {row.event for row in stored} for route, stored in rows.items()}
    for said in (said for life in lives for said in said_in(life)):
        owed = [route for route, classes in sends.items() if class_of(said.type) in classes]
        missing = [route for route in owed if said.id not in there[route]]
        alarm = class_of(said.type) == "alarm"
        made.counts["events confirmed"] += 1
        made.counts["alarms confirmed"] += alarm
        if said.id not in sure:
            made.counts["in flight at a cut, " + ("gone" if missing else "arrived")] += 1
            continue
        made.counts["events promised"] += 1
        made.counts["alarms promised"] += alarm
        made.counts[f"alarms promised, {said.manner.value}"] += alarm
        for route in missing:
            made.findings.append(
                f"lost: {said.type} of {said.subject} ({said.id}), confirmed in life {said.life}"
                f" ({said.manner.value}), never came to {route}"
            )


def _once(made: Judgement, route: str, stored: Sequence[Stored]) -> None:
    """No event has two numbers, no number two contents."""
    numbers = Counter(row.event for row in stored if not row.conflict)
    made.findings += [
        f"doubled: {event} has {count} numbers at {route}"
        for event, count in numbers.items()
        if count > 1
    ]
    made.findings += [
        f"changed: other bytes under {row.key.epoch}/{row.sequence} at {route}"
        for row in stored
        if row.conflict
    ]
    made.counts["messages held by the centres"] += len(numbers)


def _chained(
    made: Judgement, where: str, stored: Sequence[Stored], ties: Mapping[int, Tie], *, wait_ms: int
) -> None:
    """One ledger; each epoch whole, hash by hash; every fork explained by a disk that was late."""
    ledgers = sorted({row.key.ledger for row in stored})
    if len(ledgers) > 1:
        made.findings.append(f"forgotten: {where} goes on under another ledger: {ledgers}")
        return
    epochs: dict[int, dict[int, Stored]] = {}
    for row in stored:
        epochs.setdefault(row.key.epoch, {})[row.sequence] = row
    starts = Counter(epoch for epoch, _ in {(row.key.epoch, row.key.start) for row in stored})
    made.findings += [
        f"forked: epoch {epoch} of {where} was started twice"
        for epoch in starts
        if starts[epoch] > 1
    ]
    for epoch, held in sorted(epochs.items()):
        missing = [number for number in range(1, max(held) + 1) if number not in held]
        made.findings += [f"lost: {where} {epoch}/{n} never came, later ones did" for n in missing]
        made.findings += [
            f"broken: {where} {epoch}/{n} does not follow {epoch}/{n - 1}"
            for n, row in held.items()
            if n - 1 in held and row.previous != held[n - 1].digest
        ]
        if 1 not in held or epoch == min(epochs):
            continue
        made.counts["chains resumed"] += 1
        after = held[1].resumes or (0, 0)
        named = epochs.get(after[0], {}).get(after[1])
        if named is not None and held[1].previous != named.digest:
            made.findings.append(f"broken: {where} {epoch}/1 does not follow {after[0]}/{after[1]}")
        for old in sorted(old for old in epochs if old < epoch):
            for number, row in sorted(epochs[old].items()):
                if (old, number) > after:
                    _forgotten(made, where, row, ties[old], by=epoch, wait_ms=wait_ms)


@dataclass(slots=True)
class Tie:
    """How the clock of one start lies to the centres'. A boot sets it anew, to the second.

    least_ms: the quickest way of a message. count: of how many. next_ms: when the centres first
    heard of a later start.
    """

    least_ms: int
    count: int
    next_ms: float


def _ties(rows: Sequence[Stored]) -> dict[int, Tie]:
    made: dict[int, Tie] = {}
    for row in rows:
        way_ms = _way_ms(row)
        tie = made.setdefault(row.key.epoch, Tie(way_ms, 0, float("inf")))
        tie.least_ms, tie.count = min(tie.least_ms, way_ms), tie.count + 1
    for epoch, tie in made.items():
        later = [row.received_ms for row in rows if row.key.epoch > epoch]
        tie.next_ms = min(later, default=float("inf"))
    return made


def _way_ms(row: Stored) -> int:
    return row.received_ms - utc_ms(unsealed(row.token)["time"])


TIED_BY = 3
"""So many messages of a start, and the quickest of them was not held up."""


def _forgotten(
    made: Judgement, where: str, row: Stored, tie: Tie, *, by: int, wait_ms: int
) -> None:
    """A centre holds what the gateway's chain goes on without: allowed only ahead of a late disk.

    What came sooner than `wait_ms` after it was confirmed had been let go by the disk; so had what
    came out of a later start.
    """
    delay_ms = _way_ms(row) - tie.least_ms
    from_disk = row.received_ms >= tie.next_ms or (
        tie.count >= TIED_BY and delay_ms < wait_ms - MARGIN_MS
    )
    if not from_disk:
        made.counts["sent ahead of a late disk, kept by the centre alone"] += 1
        return
    made.findings.append(
        f"forgotten: {where} {row.key.epoch}/{row.sequence} ({row.type}) was sent {delay_ms} ms"
        f" after it was confirmed, so from the disk, and epoch {by} goes on without it"
    )


def _remembered(
    made: Judgement, lives: Sequence[Life], rows: Sequence[Stored], sure: Mapping[str, Said]
) -> None:
    """A start names every open alarm that was promised, and none whose end was."""
    ends = [
        (utc_ms(unsealed(row.token)["time"]), row.event, row.alarm)
        for row in rows
        if phase_of(row.type) == "cleared" and row.alarm is not None
    ]
    opened: set[str] = set()
    for life in lives:
        first = next((x for x in life.lines if x.get("event") == "state.gateway.restarted"), None)
        if first is not None:
            made.counts["starts that named what is open"] += 1
            named, began_ms = set(first["open"]), id_ms(first["id"])
            ended = {alarm for at_ms, _, alarm in ends if at_ms < began_ms}
            surely = {alarm for at_ms, event, alarm in ends if at_ms < began_ms and event in sure}
            made.counts["alarms remembered as open"] += len(named)
            made.findings += [
                f"forgotten: life {life.number} began without the open alarm {alarm}"
                for alarm in sorted(opened - ended - named)
            ]
            made.findings += [
                f"forgotten: life {life.number} began with {alarm} open, whose end was promised"
                for alarm in sorted(surely & named)
            ]
        opened |= {
            said.id
            for said in said_in(life)
            if said.id in sure
            and class_of(said.type) == "alarm"
            and phase_of(said.type) == "raised"
        }


def _pressed(made: Judgement, life: Life, counted: Sequence[str]) -> None:
    """One press, one alarm, at the points where every closing is an alarm of its own."""
    alarms = [said for said in said_in(life) if class_of(said.type) == "alarm"]
    raised = Counter(said.subject for said in alarms if phase_of(said.type) == "raised")
    horizon_ms = max((said.confirmed_ms for said in alarms), default=0) - SHOWN_WITHIN_MS
    made.counts["presses"] += len(life.presses)
    for point in counted:
        tried = [press for press in life.presses if press.point == point]
        due = [press for press in tried if press.open_ms is not None and press.open_ms < horizon_ms]
        if not len(due) <= raised[point] <= len(tried):
            kind = "missed" if raised[point] < len(due) else "doubled"
            made.findings.append(
                f"{kind}: {point} was pressed {len(due)} to {len(tried)} times in life"
                f" {life.number}, and raised {raised[point]} alarms"
            )
