"""Looks for units on a line: address after address, speed after speed, with reads alone.

Runs over a Wire of its own, or over one that is lent by the owner of a bus (`lent.py`), then only
between that owner's polls. What to ask and what to make of it is `sweep.py`'s. It cannot write: all
it is given are Reads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from drivers.modbus.search.sweep import (
    PING,
    UNHEARD_CODES,
    Answer,
    Doubt,
    DoubtKind,
    Ended,
    FoundUnit,
    News,
    Progress,
    Speed,
    Sweep,
    Tally,
    doubts_of,
    speed_of,
)
from drivers.modbus.wire.line import Line, line_of
from drivers.modbus.wire.port import Opener
from drivers.modbus.wire.request import Read, Reply, ReplyKind
from drivers.modbus.wire.wire import NEVER_QUIET, Counts, Stats, Wire
from gateway.core.hardware import Bus, Transport
from gateway.core.profile import Timing

if TYPE_CHECKING:
    from gateway.clock import Clock

BETWEEN_S = 0.1
"""Between two requests to one unit: what the slowest known model asks for (WB-MRM2-mini)."""

FRAME_MS = 8
"""The silence that ends a frame, as the maker of the Wiren Board units keeps it with them."""

KNOWN_MS, LATE_MS = 300, 1_500
"""How long a unit that was found, or was seen to be late, may think about a question."""

LENT_MS = 100
"""The longest a unit is waited for on a bus that is lent: so long do its owner's polls wait."""

_TRIES = 4
"""How often a damaged answer is asked for: 1 % of bytes bad leave one in 2000 addresses unclear."""

_LOUD = 3
"""So many exchanges in a row on a line that is never quiet end the walk at this speed."""

_SELDOM_USED = 200
_PING_BYTES, _PONG_BYTES = 8, 7


class Lines(Protocol):
    """What is asked: a Wire, or a Lent."""

    @property
    def stats(self) -> Stats:
        """What happened on it, by unit."""

    async def exchange(self, unit: int, request: Read, *, timing: Timing) -> Reply:
        """Ask one unit one thing."""


def silent_us(line: Line, answer_ms: int) -> int:
    """What one question to an address where nobody is costs on a line of one's own."""
    timing = Timing(answer_ms=answer_ms, frame_ms=FRAME_MS)
    return line.answer_us(request=_PING_BYTES, answer=_PONG_BYTES, timing=timing)


def _address_us(bus: Bus, sweep: Sweep) -> int:
    return sweep.tries * silent_us(line_of(bus), sweep.answer_ms)


async def scan(
    bus: Bus, sweep: Sweep, speeds: Sequence[Speed], *, opener: Opener, clock: Clock
) -> AsyncGenerator[News, None]:
    """Walk over all addresses at each of these speeds, on a port of one's own.

    speeds: one of them means nothing on Modbus TCP; behind a converter, only what it is set to. An
    address that has answered, or where two did, is asked again at other baud rates only. Raises
    PortError when the port cannot be opened; one that goes away later is the last news.
    """
    taken: dict[int, set[int]] = {}
    found = 0
    costs = [_address_us(_at(bus, speed), sweep) for speed in speeds]
    before = 0
    total = len(speeds) * len(sweep.units)
    for number, speed in enumerate(speeds):
        tuned = _at(bus, speed)
        wire = Wire(tuned, opener(tuned), clock)
        await wire.open()
        walk = Walk(
            wire,
            sweep,
            clock=clock,
            speed=None if bus.transport is Transport.TCP else speed,
            cost_us=costs[number],
            skip=taken.get(speed.baud, ()),
            done=before,
            total=total,
            later_us=sum(costs[number + 1 :]) * len(sweep.units),
            found=found,
        )
        try:
            async with aclosing(walk.news()) as news:
                async for one in news:
                    found += isinstance(one, FoundUnit)
                    if isinstance(one, FoundUnit | Doubt):
                        taken.setdefault(speed.baud, set()).add(one.unit)
                    yield one
        finally:
            wire.close()
        if walk.gone:
            return
        before += len(sweep.units)


async def scan_lent(
    bus: Bus, lent: Lines, sweep: Sweep, *, clock: Clock, skip: Collection[int]
) -> AsyncGenerator[News, None]:
    """The same over a bus somebody else owns, at its own speed. skip: units he polls himself.

    His polls wait for one exchange at the most, so none is long: who answers late is told of, and
    not waited for.
    """
    sweep = replace(sweep, answer_ms=min(sweep.answer_ms, LENT_MS))
    walk = Walk(
        lent,
        sweep,
        clock=clock,
        speed=None if bus.transport is Transport.TCP else speed_of(bus),
        cost_us=_address_us(bus, sweep),
        skip=skip,
        total=len(sweep.units),
        patient=False,
    )
    async with aclosing(walk.news()) as news:
        async for one in news:
            yield one


def _at(bus: Bus, speed: Speed) -> Bus:
    return replace(bus, baud=speed.baud, parity=speed.parity, stop_bits=speed.stop_bits)


class Walk:
    """One walk over the addresses of an open line. gone: why it ended early, empty while not.

    speed: None on Modbus TCP. cost_us: what a silent address is expected to cost. done, total,
    found, later_us: where this walk stands among several, for Progress. patient: wait long for
    whom it pays to wait for.
    """

    def __init__(
        self,
        line: Lines,
        sweep: Sweep,
        *,
        clock: Clock,
        speed: Speed | None,
        cost_us: int,
        total: int,
        skip: Collection[int] = (),
        done: int = 0,
        found: int = 0,
        later_us: int = 0,
        patient: bool = True,
    ) -> None:
        self.gone = ""
        self._line = line
        self._sweep = sweep
        self._clock = clock
        self._speed = speed
        self._name = "Modbus TCP" if speed is None else str(speed)
        self._cost_us = float(cost_us)
        self._total = total
        self._units = [unit for unit in sweep.units if unit not in skip]
        self._done = done + len(sweep.units) - len(self._units)
        self._found = found
        self._later_us = later_us
        self._tallies: dict[int, Tally] = {}
        self._known = {unit: replace(counts) for unit, counts in line.stats.units.items()}
        self._loud = 0
        self._patient = patient
        self._known_ms = KNOWN_MS if patient else LENT_MS

    async def news(self) -> AsyncGenerator[News, None]:
        """Find them all; the doubts about the line come last."""
        if self._speed is None and await self._any_address():
            text = "every address is answered: one board, whatever unit it is asked as"
            yield Doubt(DoubtKind.ANY_ADDRESS, self._name, text)
            del self._units[1:]
        silent: list[int] = []
        for number, unit in enumerate(self._units):
            yield self._progress(unit, len(self._units) - number)
            began_us = self._clock.now_us()
            found = await self._look(unit, self._sweep.answer_ms)
            if found is not None:
                yield found
            elif not self._over:
                silent.append(unit)
                self._cost_us += (self._clock.now_us() - began_us - self._cost_us) / 16
            self._done += 1
            if self._over:
                break
        async for one in self._latecomers(silent):
            yield one
        for doubt in self._doubts():
            yield doubt
        if self.gone:
            yield Ended(self.gone)

    async def _latecomers(self, silent: Sequence[int]) -> AsyncGenerator[News, None]:
        """Ask those again that answered when they were not waited for any more."""
        for unit in self._late(silent):
            if not self._patient:
                text = "answers too late to be asked here: scan when the daemon is stopped"
                yield Doubt(DoubtKind.LATE, self._name, f"unit {unit} {text}", unit)
                continue
            yield self._progress(unit, 1)
            found = await self._look(unit, LATE_MS)
            if found is not None:
                yield replace(found, late=True)

    async def _any_address(self) -> bool:
        """True for a board that does not look at the unit's address. Seldom used ones tell."""
        probes = [unit for unit in self._units if _SELDOM_USED <= unit < 248][-3:]
        answers = [await self._heard_at(unit) for unit in probes]
        return len(probes) == 3 and all(answers)

    async def _heard_at(self, unit: int) -> bool:
        return _lives(await self._ask(unit, PING, self._sweep.answer_ms))

    async def _look(self, unit: int, answer_ms: int) -> FoundUnit | None:
        """Who is there, and what it says of itself; None where nobody answers."""
        for _ in range(self._sweep.tries):
            reply = await self._ask(unit, PING, answer_ms)
            if reply.kind is not ReplyKind.SILENT:
                break
        for _ in range(_TRIES - 1):
            if reply.kind is not ReplyKind.DAMAGED or self._over or self._loud:
                break
            reply = await self._again(unit, PING, max(answer_ms, self._known_ms))
        if not _lives(reply):
            return None
        self._found += 1
        answers: list[Answer] = []
        for question in self._sweep.questions:
            answer = await self._inquire(unit, question.read, answers)
            if answer is not None and answer.words:
                for read in question.then:
                    await self._inquire(unit, read, answers)
        return FoundUnit(unit, self._speed, tuple(answers))

    async def _inquire(self, unit: int, read: Read, answers: list[Answer]) -> Answer | None:
        """Put one question, again where its answer is damaged or got lost."""
        silences = 0
        for _ in range(_TRIES + self._sweep.tries):
            if self._over:
                break
            reply = await self._again(unit, read, self._known_ms)
            if _lives(reply):
                answers.append(Answer(read, reply.values, reply.code))
                return answers[-1]
            silences += reply.kind is ReplyKind.SILENT
            if silences >= self._sweep.tries:
                break
        return None

    async def _again(self, unit: int, read: Read, answer_ms: int) -> Reply:
        # The pause is waited out here: within the exchange it would hold up a bus that is lent.
        await self._clock.sleep(BETWEEN_S)
        return await self._ask(unit, read, answer_ms)

    async def _ask(self, unit: int, read: Read, answer_ms: int) -> Reply:
        tally = self._tallies.setdefault(unit, Tally())
        before = replace(self._counts(unit))
        timing = Timing(answer_ms=answer_ms, frame_ms=FRAME_MS)
        reply = await self._line.exchange(unit, read, timing=timing)
        after = self._counts(unit)
        tally.asked += 1
        tally.answered += _lives(reply)
        tally.damaged += reply.kind is ReplyKind.DAMAGED
        heaps = after.crc_errors - before.crc_errors
        if heaps:
            tally.lengths.append((after.junk_bytes - before.junk_bytes) // heaps)
        self._loud = self._loud + 1 if reply.why.endswith(NEVER_QUIET) else 0
        if reply.kind is ReplyKind.GONE:
            self.gone = reply.why or "the port is gone"
        return reply

    def _counts(self, unit: int) -> Counts:
        return self._line.stats.units.get(unit, Counts())

    def _since(self, unit: int) -> tuple[int, int]:
        """Foreign and late frames of a unit since this walk began."""
        now, before = self._counts(unit), self._known.get(unit, Counts())
        return now.foreign - before.foreign, now.late - before.late

    @property
    def _over(self) -> bool:
        return bool(self.gone) or self._loud >= _LOUD

    def _late(self, silent: Sequence[int]) -> list[int]:
        """Who answered when it was not waited for any more."""
        return [] if self._over else [unit for unit in silent if self._since(unit)[1] > 0]

    def _doubts(self) -> Sequence[Doubt]:
        if self._loud >= _LOUD:
            return (Doubt(DoubtKind.FLOOD, self._name, NEVER_QUIET),)
        if self._speed is None:
            return ()  # a network damages nothing, and has one unit behind an address
        for unit, tally in self._tallies.items():
            tally.foreign = self._since(unit)[0]
        return doubts_of(self._tallies, speed=self._name)

    def _progress(self, unit: int, left: int) -> Progress:
        return Progress(
            speed=self._name,
            unit=unit,
            found=self._found,
            done=self._done,
            total=self._total,
            left_ms=round((left * self._cost_us + self._later_us) / 1_000),
        )


def _lives(reply: Reply) -> bool:
    """True when a unit has answered; a gateway that found nobody is no answer."""
    if reply.kind is ReplyKind.EXCEPTION:
        return reply.code not in UNHEARD_CODES
    return reply.kind is ReplyKind.ANSWERED
