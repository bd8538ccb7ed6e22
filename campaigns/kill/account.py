"""What was pressed and what the gateway said of it, held against what both centres have.

Owns the rule of what a press must become. It is told presses, lives and messages and asks nothing:
no process, no file and no clock.

- A press the log names (`alarm.….raised`) more than CERTAIN_MS before the kill, or that any centre
  or any later start knows of, must be at both centres, once.
- A press played to its end while the inputs were live must have become an alarm, or have joined
  one that was open at its point.
- A press cut off by the kill, younger than CERTAIN_MS and on no record, is counted as cut off: it
  was confirmed and the disk had not answered yet.
- A press made and let go while no process ran is seen by nobody, and counted; a button still held
  at the start is an alarm, and no new one where its alarm is open.
- What was sent ahead of a late disk (fault.storage in that life) and lost with the process is
  counted apart: the one honest limit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from campaigns.kill.evidence import Told, forked

CERTAIN_MS = 100.0
"""The wait for the disk (50), what the log comes later (5), and as much again for a busy loop."""
SLACK_MS = 60.0
"""Bounce, travel, confirmation, and the finger's own way through the socket."""
CLOCK_MS = 5.0
"""How far two readings of one machine's clock, rounded and converted, may lie apart."""
COUNTED_SLACK_MS = 3_000.0
"""A unit on the bus is asked a few times a second, and a silent one is asked seldom."""

BOTH = ("security", "case")
_OWED = {"alarm": BOTH, "state": BOTH, "test": ("security",), "fault": ("security",)}


@dataclass(slots=True)
class Press:
    """One finger on one button. over_ms: when it was off again, or its process dead.

    whole: the wires were played to the end. live: the inputs were live when it began. joined: an
    alarm was open at its point. counted: on a unit that counts, so nothing of it is lost or sure.
    """

    point: str
    life: int
    begun_ms: float
    live: bool
    joined: bool = False
    counted: bool = False
    over_ms: float | None = None
    whole: bool = False
    held: bool = False
    ids: list[str] = field(default_factory=list)
    repeated: int = 0


@dataclass(slots=True)
class Life:
    """One start of the gateway. told: what its log names, by event id: type, subject, moment.

    began: the id of its own state.gateway.restarted; open: what that listed.
    """

    number: int
    live_ms: float | None = None
    killed_ms: float | None = None
    began: str | None = None
    open: tuple[str, ...] | None = None
    late: bool = False
    told: dict[str, tuple[str, str, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Account:
    """Of one school's one ledger. `judge` when everything has come to rest."""

    presses: list[Press] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    unseen: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _open: dict[str, str] = field(default_factory=dict)

    def note(self, life: Life, line: Mapping[str, Any], at_ms: float) -> None:
        """A line of the gateway's log that names an event."""
        kind, event, subject = str(line["event"]), str(line["id"]), str(line["subject"])
        life.told[event] = (kind, subject, at_ms)
        if kind == "state.gateway.restarted":
            life.began, life.open = event, tuple(line["open"])
            known = {name: point for name, point in self._open.items() if name in life.open}
            self._open = dict.fromkeys(life.open, "") | known
        elif _is(kind, "alarm", "raised"):
            self._open[event] = subject
        elif _is(kind, "alarm", "cleared"):
            self._open = {e: point for e, point in self._open.items() if point != subject}
        elif _is(kind, "fault.storage", "raised"):
            life.late = True

    def standing(self, point: str) -> bool:
        """True when an alarm is open at that point, as far as the log says."""
        return point in self._open.values()

    def certain(self) -> set[str]:
        """Events the gateway has named that must be at every route they are owed to by now."""
        return {
            event
            for life in self.lives
            for event, (_, _, at_ms) in life.told.items()
            if life.killed_ms is None or life.killed_ms - at_ms > CERTAIN_MS
        }

    def certain_alarms(self) -> set[str]:
        """Of those the alarms, where no disk was late."""
        certain = self.certain()
        return {
            event
            for life in self.lives
            for event, (kind, _, _) in life.told.items()
            if event in certain and _is(kind, "alarm", "raised") and not life.late
        }

    # --- the judgement ------------------------------------------------------------------------

    def judge(self, held: Mapping[str, Sequence[Told]]) -> list[str]:
        """What is wrong; empty when every promise was kept. held: by route, all it ever got."""
        self.counts["lost"] = self.counts["doubled"] = 0
        self.counts["late disks"] = sum(life.late for life in self.lives)
        found = [*self._delivered(held), *self._ahead(held)]
        security = sorted(held["security"], key=lambda one: one.place)
        gone = {one.id for one in forked(security)}
        alarms = [one for one in security if one.stream == "alarm"]
        found += self._pressed(alarms, gone)
        began = {one.id: one.epoch for one in security if one.type == "state.gateway.restarted"}
        found += self._remembered([one for one in alarms if one.id not in gone], began)
        found += self._ordered(alarms)
        return found

    def _delivered(self, held: Mapping[str, Sequence[Told]]) -> Iterator[str]:
        """Everything the gateway has named is where it is owed."""
        ids = {route: {one.id for one in told} for route, told in held.items()}
        known = {event for life in self.lives for event in life.open or ()}
        known |= {one.id for told in held.values() for one in told} | self.certain()
        named = [(life, event, *told) for life in self.lives for event, told in life.told.items()]
        for life, event, kind, subject, _ in named:
            owed = _OWED.get(kind.partition(".")[0], ())
            missing = [route for route in owed if event not in ids[route]]
            alarm = _is(kind, "alarm", "raised")
            if alarm:
                self.counts["raised"] += 1
                self.counts["at both centres"] += not missing
            if not missing:
                continue
            if event not in known:
                self.counts["cut off"] += alarm
            elif life.late:
                self.counts["ahead"] += alarm
            else:
                self.counts["lost"] += 1
                yield f"lost: {kind} at {subject} of life {life.number} is not at {missing}"
        logged = {event for _, event, *_ in named}
        for route, told in held.items():
            others = ids[BOTH[1 - BOTH.index(route)]]
            for one in told:
                shared = _OWED.get(one.type.partition(".")[0]) == BOTH and one.stream == "alarm"
                alone = shared and one.id not in others
                if alone and one.id not in logged and not self._late(one, held):
                    self.counts["lost"] += 1
                    yield f"lost: {one.type} at {one.subject} is at {route} only"

    def _late(self, one: Told, held: Mapping[str, Sequence[Told]]) -> bool:
        """True when the life that sent it has said that its disk was late."""
        began = {event.id for told in held.values() for event in told if event.epoch == one.epoch}
        return any(life.late and life.began in began for life in self.lives)

    def _ahead(self, held: Mapping[str, Sequence[Told]]) -> Iterator[str]:
        """Messages that a later start knows nothing of came ahead of a late disk, or are wrong."""
        for route, told in held.items():
            for one in forked(told):
                if self._late(one, held):
                    self.counts["kept by a centre alone"] += 1
                else:
                    yield (
                        f"ahead: {route} holds {one.type} {one.stream} {one.epoch}/{one.sequence},"
                        " which the ledger never had, and no disk was late"
                    )

    def _pressed(self, alarms: Sequence[Told], gone: set[str]) -> Iterator[str]:
        """One press, one alarm: none without a press, none twice, none missing.

        gone: what a killed gateway had sent and never stored; a button still held raises again.
        """
        at: dict[str, list[Press]] = defaultdict(list)
        for press in self.presses:
            at[press.point].append(press)
        for one in alarms:
            phase = one.type.rpartition(".")[2]
            if phase not in {"raised", "repeated"} or one.subject not in at:
                continue
            if not one.type.startswith("alarm."):  # a fault at the point is no alarm of a press
                continue
            whose = _whose(one, at[one.subject])
            if whose is None:
                yield f"doubled: {one.type} at {one.subject}, epoch {one.epoch}: nobody pressed"
                self.counts["doubled"] += 1
            elif phase == "repeated":
                whose.repeated += 1
            else:
                whose.ids.append(one.id)
        for press in self.presses:
            if len([event for event in press.ids if event not in gone]) > 1:
                self.counts["doubled"] += 1
                yield f"doubled: a press at {press.point}, life {press.life}: {press.ids}"
            yield from self._missed(press)

    def _missed(self, press: Press) -> Iterator[str]:
        life = self.lives[press.life]
        alive_ms = (life.killed_ms or press.begun_ms + 1e9) - press.begun_ms
        sure = press.live and press.whole and not press.counted and alive_ms > 1.5 * CERTAIN_MS
        if press.ids or press.repeated:
            self.counts["told"] += 1
        elif sure and press.joined:
            self.counts["joined"] += 1
        elif sure and life.late:
            self.counts["ahead"] += 1
        elif sure:
            self.counts["lost"] += 1
            yield f"lost: a press at {press.point} in life {press.life} became nothing"
        else:
            self.counts["cut short"] += 1

    def _remembered(self, alarms: Sequence[Told], began: Mapping[str, int]) -> Iterator[str]:
        """Each start lists exactly the alarms that were raised and not cleared before it."""
        places = {one.id: one.place for one in alarms}
        ends = {one.alarm: one.place for one in alarms if _is(one.type, "alarm", "cleared")}
        for life in self.lives:
            if life.open is None or life.began is None or life.began not in began:
                continue
            here = (began[life.began], 0)
            open_then = {
                one.id
                for one in alarms
                if _is(one.type, "alarm", "raised")
                and places[one.id] < here
                and not ends.get(one.id, (here[0], 1)) < here
            }
            if open_then != set(life.open):
                forgotten, odd = open_then - set(life.open), set(life.open) - open_then
                yield f"forgotten: life {life.number} forgot {forgotten}, listed {odd} too much"

    def _ordered(self, alarms: Sequence[Told]) -> Iterator[str]:
        """What was over before something else began has the smaller number."""
        owner = {event: press for press in self.presses for event in press.ids}
        latest: Press | None = None
        for one in alarms:
            press = owner.get(one.id)
            if press is None or press.counted or press.held:
                continue
            over_ms = press.over_ms if press.over_ms is not None else one.at_ms
            if latest is not None and over_ms + SLACK_MS < latest.begun_ms:
                yield f"order: {one.type} at {one.subject} comes after a later press"
            if latest is None or press.begun_ms > latest.begun_ms:
                latest = press


def _is(kind: str, group: str, phase: str) -> bool:
    return kind.startswith(f"{group}.") and kind.endswith(f".{phase}")


def _whose(one: Told, presses: Sequence[Press]) -> Press | None:
    """The press an event is of: by its point and its moment.

    The latest that fits; of those on a unit, which may be asked only after the next one was made,
    the earliest that nothing was told of yet.
    """
    fit = [press for press in presses if _fits(one, press)]
    untold = [press for press in fit if press.counted and not (press.ids or press.repeated)]
    return next(iter(untold or fit[::-1]), None)


def _fits(one: Told, press: Press) -> bool:
    slack_ms = COUNTED_SLACK_MS if press.counted else SLACK_MS
    over_ms = press.over_ms if press.over_ms is not None else one.at_ms
    return press.begun_ms - CLOCK_MS <= one.at_ms <= over_ms + slack_ms
