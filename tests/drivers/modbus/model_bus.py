"""A port in arithmetic: units that answer, are silent or refuse, at the pace of a real line."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.modbus.plan.blocks import ANSWER_CHARS, REQUEST_CHARS, Want, frames_us
from drivers.modbus.plan.plan import Plan, PlanUnit, Poll, Polled
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Read, Reply, ReplyKind
from gateway.core.profile import Register, Table

MS = 1_000
S = 1_000_000

SLOW = Line(character_us=11e6 / 19_200, margin_us=20_000, piece_us=5_000)
"""19200 baud, two stop bits, as `line.line_of` makes it."""


def level(index: int, period_ms: int = 200, *, high: bool = True) -> Want:
    return Want(f"input-{index}", Register(Table.DISCRETE, index), period_ms * MS, high)


def uptime(period_ms: int = 5_000) -> Want:
    return Want("uptime", Register(Table.INPUT, 104, 2), period_ms * MS, high=False)


@dataclass(slots=True)
class ModelUnit:
    """How one unit behaves. refuses: the exception code for a read, 0 to answer it."""

    thinks_us: int = 5 * MS
    dead: bool = False
    refuses: Callable[[Read], int] = lambda _: 0
    fails: Callable[[int], ReplyKind | None] = lambda _: None


@dataclass(slots=True)
class ModelBus:
    """Carries out a plan. log: every poll with its reply and when it was over."""

    plan: Plan
    units: dict[str, ModelUnit]
    line: Line = SLOW
    now_us: int = 0
    log: list[tuple[Poll, Reply, int]] = field(default_factory=list)
    polled: list[tuple[int, Polled]] = field(default_factory=list)

    def run(self, until_us: int) -> None:
        """Poll after poll until then; nothing overlaps, and the line is silent between frames."""
        while self.now_us < until_us:
            poll = self.plan.next(self.now_us)
            if poll is None:
                due_us = self.plan.deadline()
                due_us = until_us if due_us is None else max(due_us, self.now_us + 100)
                self.now_us = min(due_us, until_us)
                continue
            reply = self._exchange(poll)
            self.now_us += reply.took_us + self.line.silence_us()
            self.log.append((poll, reply, self.now_us))
            self.polled.append((self.now_us, self.plan.done(poll, reply, self.now_us)))

    def _exchange(self, poll: Poll) -> Reply:
        unit, read = self.units[poll.device], poll.read
        octets = (read.count + 7) // 8 if read.table.bits else 2 * read.count
        kind = ReplyKind.SILENT if unit.dead else unit.fails(len(self.log))
        if kind is not None:
            waits_us = self.line.answer_us(
                request=REQUEST_CHARS, answer=ANSWER_CHARS + octets, timing=poll.timing
            )
            took_us = waits_us if kind is ReplyKind.SILENT else waits_us // 3
            return Reply(kind, took_us=took_us)
        took_us = frames_us(self.line, read) + unit.thinks_us
        code = unit.refuses(read)
        if code:
            return Reply(ReplyKind.EXCEPTION, code=code, took_us=took_us)
        return Reply(ReplyKind.ANSWERED, (0,) * read.count, took_us=took_us)

    # --- what it cost -------------------------------------------------------------------------

    def answered(self, device: str) -> list[tuple[int, int]]:
        """Begin and end of every answered poll of a unit's high class."""
        return [
            (poll.at_us, end_us)
            for poll, reply, end_us in self.log
            if poll.device == device
            and reply.kind is ReplyKind.ANSWERED
            and poll.read.table is Table.DISCRETE
        ]

    def changes_us(self, *, since_us: int, dice: random.Random, count: int = 4_000) -> list[int]:
        """How long changes at random moments of random live units waited to be seen, sorted."""
        live = [device for device, unit in self.units.items() if not unit.dead]
        polls = {device: self.answered(device) for device in live}
        waited: list[int] = []
        for _ in range(count):
            device = dice.choice(live)
            at_us = dice.randrange(since_us, self.now_us - 5 * S)
            waited.append(next(end for begin, end in polls[device] if begin >= at_us) - at_us)
        return sorted(waited)

    def spent_us(self, device: str, *, since_us: int) -> int:
        """Wire time a unit took."""
        return sum(
            end_us - poll.at_us
            for poll, _, end_us in self.log
            if poll.device == device and poll.at_us >= since_us
        )


def bus_of(specs: list[PlanUnit], *, dead: tuple[str, ...] = (), line: Line = SLOW) -> ModelBus:
    units = {spec.device: ModelUnit(dead=spec.device in dead) for spec in specs}
    return ModelBus(Plan(specs, line=line, now_us=0), units, line)


def sixteen(*, pressed: bool = False, period_ms: int = 200) -> list[PlanUnit]:
    """Sixteen door controllers: eight inputs each, and an uptime."""
    wants = (*(level(index, period_ms) for index in range(8)), uptime())
    return [
        PlanUnit(device=f"unit-{number}", unit=number, wants=wants, pressed=pressed)
        for number in range(1, 17)
    ]
