"""What one unit is still to be asked: its blocks, when each is due, and what it refuses. Pure.

One Agenda a unit; the Plan chooses among them. It knows of no other unit and never of the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil
from types import MappingProxyType

from drivers.modbus.plan.blocks import (
    TYPICAL_ANSWER_US,
    Block,
    Want,
    coalesce,
    exchange_us,
    frames_us,
    halves,
    values_of,
)
from drivers.modbus.plan.health import Tally, UnitHealth
from drivers.modbus.plan.polls import GivenUp, PlanUnit, Polled
from drivers.modbus.plan.silence import PROBE_MOST_US, PROBE_PRESSED_US, Vigil
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Read
from drivers.modbus.wire.values import read_of
from gateway.core.model import US_PER_MS
from gateway.core.profile import Timing

KEEP_US = 2_000_000
"""A unit nothing is wanted of so often is asked something all the same: to know that it lives, and
so that a unit with a safe state knows that we do (such timers run for 10 s and more)."""

STALE_US = 3_000_000
"""No answer to one read for so long, though its unit lives, and its wants are unknown."""

LATER_US = 200_000
"""A unit that is busy is asked for the same again after so long, or its period if that is more."""

LATER_MOST_US = 1_000_000
"""It is asked again within this, however seldom otherwise: presses may wait for its uptime."""

ROW_STEP_US = 500_000
"""A read that a living unit leaves unanswered is made so much later each time, from the second."""

ROW_MOST_US = 10_000_000
"""The most a read is put off for that."""

FULL_EVERY_US = 60_000_000
"""About so often a probe of a silent unit waits as long as its makers say it may take."""

PATIENCE_MS = 10
"""Beside what it usually needs: how long other probes wait for an answer to begin."""


class Row:
    """One block in the plan. cost_us: what it took lately, the silences around it included.

    spoken_us: what the bytes of its read and of the answer take. failures: polls in a row that
    came to nothing. retry: it is to be made again at once. urged: somebody waits for it. put_off:
    it failed or the unit asked for time; nobody hurries it then.
    """

    __slots__ = (
        "_polled",
        "_shown",
        "answered_us",
        "block",
        "cost_us",
        "due_us",
        "failures",
        "high",
        "keys",
        "period_us",
        "proven",
        "put_off",
        "retry",
        "spoken_us",
        "told_stale",
        "urged",
    )

    def __init__(self, block: Block, line: Line, now_us: int) -> None:
        self.block = block
        self.keys = tuple(want.key for want in block.wants)
        self.high = block.high
        self.period_us = block.period_us if block.wants else KEEP_US
        self.spoken_us = frames_us(line, block.read)
        self.cost_us = exchange_us(line, block.read) + TYPICAL_ANSWER_US / 2
        self.due_us = self.answered_us = now_us
        self.failures = 0
        self.proven = self.retry = self.told_stale = False
        self.urged = self.put_off = False
        self._shown: Sequence[int] | None = None
        self._polled = Polled(device="")

    def polled(self, device: str, shown: Sequence[int]) -> Polled:
        """Every want's value out of what its read showed; nearly always what it showed before."""
        if shown != self._shown:
            values = MappingProxyType(values_of(self.block, shown))
            self._polled, self._shown = Polled(device=device, values=values), shown
        return self._polled

    def answered(self, began_us: int, now_us: int) -> None:
        """It was answered; the next is due one period after this one was.

        One that came late by more than half a period is not made up for at once, and one that was
        made before its time (a trial) puts nothing off.
        """
        next_us = max(self.due_us + self.period_us, began_us + self.period_us // 2)
        self.due_us = min(next_us, began_us + self.period_us)
        self.cost_us += (now_us - began_us - self.cost_us) / 8
        self.answered_us = now_us
        self.failures = 0
        self.proven = True
        self.retry = self.told_stale = self.urged = self.put_off = False

    def failed(self, now_us: int) -> None:
        """It came to nothing. Once is soon made good; again and again is put off."""
        self.retry = self.urged = False
        self.put_off = True
        self.failures += 1
        pause_us = min((self.failures - 1) * ROW_STEP_US, ROW_MOST_US)
        self.due_us = now_us + pause_us

    def later(self, now_us: int) -> None:
        """The unit asked for time. What is asked seldom may be what a press waits for."""
        self.retry = self.urged = False
        self.put_off = True
        self.due_us = now_us + max(min(self.period_us, LATER_MOST_US), LATER_US)

    def stale(self, now_us: int) -> bool:
        """True once when nobody has had an answer for too long."""
        if self.told_stale or now_us - self.answered_us < STALE_US:
            return False
        self.told_stale = True
        return True

    def anew(self, now_us: int) -> None:
        """Due now, and nothing held against it."""
        self.due_us = self.answered_us = now_us
        self.failures = 0
        self.retry = self.told_stale = self.urged = self.put_off = False


class Agenda:
    """One unit's rows, its vigil and its pause. Raises ValueError for a key used twice."""

    def __init__(self, spec: PlanUnit, line: Line, now_us: int) -> None:
        keys = [want.key for want in spec.wants]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"{spec.device}: {key} is wanted twice")
        self.spec = spec
        self.vigil = Vigil(pressed=spec.pressed, now_us=now_us)
        self.tally = Tally()
        self.rows: list[Row] = []
        self.free_us = now_us
        self.served_us = now_us
        self.stretch = 1.0
        self._usual_us = self._spread_us = 0.0
        self._line = line
        self._holes = True
        self._given_up: dict[str, Want] = {}
        self._put(spec.wants, now_us)

    # --- what is to be asked ----------------------------------------------------------------------

    @property
    def given_up(self) -> tuple[str, ...]:
        """The wants the unit refuses."""
        return tuple(self._given_up)

    @property
    def demand(self) -> float:
        """The share of the wire its periods ask for, 1.0 is all of it; 0 while it is not live."""
        if not self.vigil.live:
            return 0.0
        return sum(row.cost_us / row.period_us for row in self.rows)

    def deadline_us(self, row: Row) -> float:
        """By when the row should have been answered, at the pace the wire allows."""
        return row.due_us + row.period_us * self.stretch

    def row_of(self, read: Read, keys: tuple[str, ...]) -> Row | None:
        """The row a poll was made from; None when it was split or given up meanwhile."""
        for row in self.rows:
            mine = row.block.read
            if (mine is read or mine == read) and row.keys == keys:
                return row
        return None

    def trial(self) -> Row:
        """What to ask a doubtful unit: another row than the one that failed, if there is one."""
        return min(self.rows, key=lambda row: (row.failures, not row.high, self.deadline_us(row)))

    def probe(self) -> Block:
        """The cheapest read for a sign of life: of what it has answered before, if anything."""
        rows = [row for row in self.rows if row.keys]
        proven = [row for row in rows if row.proven]
        blocks = sorted(
            {self._smallest(row.block): None for row in proven or rows},
            key=lambda block: exchange_us(self._line, block.read),
        )
        if not blocks:
            return Block(self.spec.probe, ())
        return blocks[0] if proven else blocks[self.vigil.probes % len(blocks)]

    @property
    def needs_us(self) -> int:
        """How long the unit thinks at the most, as far as can be told; 0: it never answered.

        The mean and four mean deviations, as TCP's timer (RFC 6298): one answer that was held up,
        by this machine perhaps, is forgotten after some good ones.
        """
        return ceil(self._usual_us + 4 * self._spread_us)

    def patience(self, longest_us: int) -> Timing:
        """The timing of a probe. longest_us: what any unit on this port needs, 0 if none answered.

        A dead unit costs everybody the whole wait, so it is cut to what the unit has needed so far
        (one that never answered: what any unit here has needed, or a quarter of its makers' word);
        one in FULL_EVERY_US waits in full.
        """
        timing, needs_us = self.spec.timing, self.needs_us
        known_us = needs_us or longest_us
        every = FULL_EVERY_US // (PROBE_PRESSED_US if self.spec.pressed else PROBE_MOST_US)
        if not known_us or self.vigil.probes % every == every - 1:
            return timing
        short_ms = -(-known_us // US_PER_MS) + PATIENCE_MS
        if not needs_us:
            short_ms = max(short_ms, timing.answer_ms // 4)
        return replace(timing, answer_ms=min(short_ms, timing.answer_ms))

    def health(self) -> UnitHealth:
        """The unit's numbers now."""
        return UnitHealth(
            unit=self.spec.unit,
            silent=self.vigil.silent,
            doubtful=not self.vigil.live and not self.vigil.silent,
            heard_us=self.vigil.heard_us,
            given_up=self.given_up,
            numbers=self.tally.numbers,
        )

    # --- what came of it --------------------------------------------------------------------------

    def learn(self, read: Read, row: Row | None, took_us: int) -> None:
        """How long the unit thought before a whole answer. row: what the read was made from."""
        spoke_us = frames_us(self._line, read) if row is None else row.spoken_us
        thought_us = max(took_us - spoke_us, 1)
        if not self._usual_us:
            self._usual_us, self._spread_us = thought_us, thought_us / 2
            return
        self._spread_us += (abs(thought_us - self._usual_us) - self._spread_us) / 4
        self._usual_us += (thought_us - self._usual_us) / 8

    def refused(self, row: Row, code: int, now_us: int) -> GivenUp | None:
        """Exception 1, 2 or 3: look for a smaller read that is not refused, else give it up.

        Refused across a hole (2 or 3), no hole of this unit is ever read again.
        """
        if not row.keys:
            row.answered(now_us, now_us)
            return None
        if row.block.holes and code != 1:
            self._holes = False
            for holed in [each for each in self.rows if each.block.holes]:
                self._replace(holed, self._blocks(holed.block.wants), now_us)
            return None
        parts = halves(row.block)
        self._replace(row, parts if len(parts) > 1 else (), now_us)
        if len(parts) > 1:
            return None
        self._given_up.update((want.key, want) for want in row.block.wants)
        return GivenUp(row.keys, row.block.read, code)

    def restore(self, now_us: int) -> None:
        """Ask again for what it refused: it may be another unit, or another firmware."""
        wants = tuple(self._given_up.values())
        self._given_up.clear()
        if wants:
            self.rows = [row for row in self.rows if row.keys]
            self._put(wants, now_us)

    def anew(self, now_us: int) -> None:
        """Everything is due now, and nothing is held against a row."""
        for row in self.rows:
            row.anew(now_us)

    def _put(self, wants: Iterable[Want], now_us: int) -> None:
        self.rows += [Row(block, self._line, now_us) for block in self._blocks(wants)]
        self._keep(now_us)

    def _replace(self, row: Row, blocks: Iterable[Block], now_us: int) -> None:
        place = self.rows.index(row)
        parts = [Row(block, self._line, now_us) for block in blocks]
        for part in parts:
            part.answered_us, part.told_stale = row.answered_us, row.told_stale
        self.rows[place : place + 1] = parts
        self._keep(now_us)

    def _keep(self, now_us: int) -> None:
        """Something is asked at least every KEEP_US."""
        if not self.rows:
            self.rows.append(Row(Block(self.spec.probe, ()), self._line, now_us))
        cheapest = min(self.rows, key=lambda row: (row.period_us, row.cost_us))
        cheapest.period_us = min(cheapest.period_us, KEEP_US)

    def _blocks(self, wants: Iterable[Want]) -> tuple[Block, ...]:
        return coalesce(wants, self.spec.limits, self._line, holes=self._holes)

    def _smallest(self, block: Block) -> Block:
        """The one value of a block that is read most quickly, and whoever wants the same."""
        reads = [read_of(want.register) for want in block.wants]
        read = min(reads, key=lambda read: exchange_us(self._line, read))
        pairs = zip(block.wants, reads, strict=True)
        return Block(read, tuple(want for want, same in pairs if same == read))
