"""One port and the exchanges on it: one in flight, silences kept, late answers never believed.

The one code path above the frame, for RTU, RTU over TCP and Modbus TCP. Decides when bytes may go
out, how long to listen and what to believe. Never retries: a read goes out again only to be proven
(`owed.py` says when), a write never. Whom to ask next is the poll plan's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from drivers.modbus.wire.frame import LONGEST_RTU, Ask, ask_of, values_of
from drivers.modbus.wire.framing import Framing, RtuFraming, TcpFraming
from drivers.modbus.wire.line import line_of
from drivers.modbus.wire.owed import Owed, Proof
from drivers.modbus.wire.port import Port, PortError
from drivers.modbus.wire.request import Reply, ReplyKind, Request
from gateway.core.hardware import Bus, Transport
from gateway.core.profile import Timing

if TYPE_CHECKING:
    from gateway.clock import Clock

LATE_MS = 5_000
"""How long after its request an answer is still expected to turn up. Assumed, not measured.

A converter on a bad network, or a unit that writes its flash, is late by seconds at the most.
"""

_FLOOD_FRAMES, _FLOOD_US = 2, 200_000
"""A line that is not quiet for so many of the longest frames and so much longer, never is."""

_HELD_S = 0.005
"""What a question costs that is not asked, so that a caller in a hurry does not spin."""

_HELD = (
    "it owes answers that cannot be told from fresh ones; it is left alone until they are too old"
)
NEVER_QUIET = "the line is never quiet; look for a unit or a second master that talks unasked"
"""Why a DAMAGED reply came to nothing where bytes never end; it stands at the reply's end."""

_TWO_ANSWERS = "two answers that differ; look for two units with one address"
_WRONG_ANSWER = "the answer is to another question than its number says"
_Failure: TypeAlias = tuple[ReplyKind, str]
_NEVER: _Failure = ReplyKind.DAMAGED, NEVER_QUIET


@dataclass(slots=True)
class Counts:
    """What happened on a port, or with one unit, since the Wire was made. Times in microseconds.

    requests: frames sent, `repeats` of them to prove an answer. crc_errors: heaps of bytes that
    held no whole frame. foreign: frames nobody asked for; late: those that a unit still owed.
    Latency is of one request, from its first byte sent to its answer whole.
    """

    requests: int = 0
    repeats: int = 0
    answered: int = 0
    exceptions: int = 0
    timeouts: int = 0
    damaged: int = 0
    crc_errors: int = 0
    foreign: int = 0
    late: int = 0
    junk_bytes: int = 0
    last_us: int = 0
    max_us: int = 0
    total_us: int = 0

    @property
    def mean_us(self) -> int:
        """Mean latency; 0 before the first answer."""
        count = self.answered + self.exceptions
        return self.total_us // count if count else 0

    def took(self, us: int) -> None:
        """One answer took so long."""
        self.last_us = us
        self.max_us = max(self.max_us, us)
        self.total_us += us


@dataclass(slots=True)
class Stats:
    """Counts of the port and of every unit that was asked, by its address."""

    port: Counts = field(default_factory=Counts)
    units: dict[int, Counts] = field(default_factory=dict)

    def of(self, unit: int) -> tuple[Counts, Counts]:
        """Both that count for a unit: the port's and its own."""
        counts = self.units.get(unit)
        if counts is None:
            counts = self.units[unit] = Counts()
        return self.port, counts


class Wire:
    """One bus: its port, opened and closed as often as need be, and the exchanges on it.

    A Wire lives as long as its bus; what units still owe is remembered over a re-opening.
    """

    def __init__(self, bus: Bus, port: Port, clock: Clock, *, late_ms: int = LATE_MS) -> None:
        """late_ms: how old an answer may be and still turn up. Raises ValueError (`line_of`)."""
        self.stats = Stats()
        self._bus = bus
        self._port = port
        self._clock = clock
        self._now = clock.now_us
        self._line = line_of(bus)
        numbered = bus.transport is Transport.TCP
        self._framing: Framing = TcpFraming() if numbered else RtuFraming(echo=bus.echo)
        self._owed = Owed(late_us=late_ms * 1_000)
        self._flood_us = self._line.wire_us(_FLOOD_FRAMES * LONGEST_RTU) + _FLOOD_US
        self._heard_us = 0
        self._free_us: dict[int, int] = {}
        self._known_silences: dict[int, tuple[int, int]] = {}
        self._known_spans: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._open = False
        self._busy = False

    @property
    def is_open(self) -> bool:
        """False before `open`, and after GONE or `close`."""
        return self._open

    async def open(self) -> None:
        """Open the port, with a silence before the first request. Raises PortError."""
        self.close()
        await self._port.open()
        self._open = True
        self._framing.opened()
        self._heard_us = self._clock.now_us()

    def close(self) -> None:
        """Close the port; harmless when it is closed."""
        self._open = False
        self._port.close()

    def free_at_us(self, unit: int) -> int:
        """From when a unit may be asked again without a wait for its own pause (`between_ms`)."""
        return self._free_us.get(unit, 0)

    async def exchange(self, unit: int, request: Request, *, timing: Timing) -> Reply:
        """Ask one unit one thing. Never raises for what the bus does; one at a time.

        A read may go out again when the unit still owes an answer that could be mistaken for this
        one; a write goes out exactly once. GONE closes the port: `open` again. Raises ValueError
        for a request that no frame can carry.
        """
        assert not self._busy, "one request in flight on a wire"
        ask = ask_of(unit, request)
        if not self._open:
            return Reply(ReplyKind.GONE, why=f"bus {self._bus.id}: the port is closed")
        self._busy = True
        try:
            return await self._prove(ask, timing)
        except PortError as error:
            self.close()
            return Reply(ReplyKind.GONE, why=str(error))
        finally:
            self._busy = False

    async def _prove(self, ask: Ask, timing: Timing) -> Reply:
        """Ask until an answer is proven fresh, or cannot be."""
        quiet = await self._fall_silent(ask, timing)
        began_us = self._now()
        if self._owed.held(ask, now_us=began_us):
            # Nothing was sent, so nothing is counted.
            await self._clock.sleep(_HELD_S)
            return Reply(ReplyKind.SILENT, why=self._blame(ask, _HELD), asked=False)
        numbered = self._framing.numbered
        proof = Proof(ask) if numbered else self._owed.proof(ask, now_us=began_us)
        failure: _Failure | None = None
        pdu: bytes | None = None
        whole = not numbered
        for turn in range(proof.readings):
            if turn > 0:
                quiet = await self._fall_silent(ask, timing)
            failure = await self._ask(ask, timing, proof, repeat=turn > 0) if quiet else _NEVER
            whole = whole and failure is None
            pdu = proof.proven
            if pdu is not None or proof.contradicted or (failure is not None and turn == 0):
                break
        else:
            if whole:
                self._owed.hold(ask, proof.doubts)
        if proof.doubts:
            self._owed.renewed(proof, now_us=self._now())
        if pdu is not None:
            return self._answered(ask, pdu, began_us)
        why = _TWO_ANSWERS if proof.contradicted else _WRONG_ANSWER if numbered else _HELD
        return self._failed(ask, failure or (ReplyKind.DAMAGED, why), began_us)

    async def _fall_silent(self, ask: Ask, timing: Timing) -> bool:
        """Wait until the line was silent and the unit had its pause; False: it never is.

        What comes in meanwhile answers nobody: it is looked at for debts it pays, and dropped.
        """
        silence_us, _ = self._silences(timing.frame_ms)
        bound_us = 0
        free_us = self._free_us.get(ask.unit, 0)
        ready_us = max(self._heard_us + silence_us, free_us)
        now_us = self._now()
        if now_us < ready_us:
            # What came by now is looked at after the wait: the line was not silent then.
            await self._clock.until(ready_us)
            now_us = self._now()
        while True:
            data = await self._port.read(now_us)
            now_us = self._now()
            if data:
                self._heard_us = now_us
                bound_us = bound_us or now_us + self._flood_us
                if now_us > bound_us:
                    return False
                self._framing.feed(data)
                self._strays(ask, quiet=False)
                ready_us = max(self._heard_us + silence_us, free_us)
            if now_us < ready_us:
                await self._clock.until(ready_us)
                now_us = self._now()
            elif not data:
                break
        self._strays(ask, quiet=not self._framing.numbered)
        return True

    async def _ask(
        self, ask: Ask, timing: Timing, proof: Proof, *, repeat: bool
    ) -> _Failure | None:
        """Send once and listen; what came in the right form goes to `proof`. Else what failed."""
        counts = self.stats.of(ask.unit)
        framing = self._framing
        frame = framing.begin(ask)
        sent_us = self._now()
        debt = self._owed.sent(ask, now_us=sent_us)
        for count in counts:
            count.requests += 1
            count.repeats += repeat
        self._port.write(frame)
        says_us, answers_us = self._spans(len(frame), framing.size(ask), timing)
        self._heard_us = sent_us + says_us
        try:
            pdus, quiet = await self._listen(timing, sent_us + answers_us)
        finally:
            ended_us = self._now()
            damaged = self._note_noise(ask)
            if framing.numbered:
                self._owed.paid(debt)
            self._free_us[ask.unit] = ended_us + timing.between_ms * 1_000
        self._owed.counted(ask.unit, lost=not pdus)
        if pdus:
            self._owed.paid(debt)
            for count in counts:
                count.took(ended_us - sent_us)
            for pdu in pdus:
                proof.add(pdu)
            for pdu in pdus[1:]:
                self._owed.stray(ask.unit, pdu, now_us=self._now())
            return None
        if self._framing.spoilt:
            self._owed.paid(debt)
        if not quiet:
            return _NEVER
        if self._framing.doubtful:
            return ReplyKind.DAMAGED, "our own bytes came back: an echo or the answer, nobody knows"
        return (ReplyKind.DAMAGED, "what came is damaged") if damaged else (ReplyKind.SILENT, "")

    async def _listen(self, timing: Timing, due_us: int) -> tuple[list[bytes], bool]:
        """The answers that came until `due_us`, as soon as there is one; False: no end of bytes."""
        framing, port = self._framing, self._port
        while True:
            until_us = due_us
            if framing.pending:
                _, quiet_us = self._silences(timing.frame_ms)
                hopeful_us = max(quiet_us, self._line.margin_us)
                until_us = self._heard_us + (hopeful_us if framing.hopeful else quiet_us)
            data = await port.read(until_us)
            now_us = self._now()
            if data:
                self._heard_us = max(now_us, self._heard_us)
                framing.feed(data)
                pdus = self._take(quiet=False)
                if pdus or now_us > due_us + self._flood_us:
                    return pdus, bool(pdus)
                continue
            if framing.pending:
                pdus = self._take(quiet=True)
                if pdus or framing.spoilt:
                    return pdus, True
            if now_us >= due_us:
                return [], True

    def _silences(self, frame_ms: int) -> tuple[int, int]:
        """What ends a frame, and what ends a damaged one, for units that need `frame_ms`."""
        known = self._known_silences.get(frame_ms)
        if known is None:
            known = self._line.silence_us(frame_ms), self._line.quiet_us(frame_ms)
            self._known_silences[frame_ms] = known
        return known

    def _spans(self, request: int, answer: int, timing: Timing) -> tuple[int, int]:
        """How long so many bytes take to say, and until when, from then on, the answer is whole."""
        key = request, answer, timing.answer_ms
        known = self._known_spans.get(key)
        if known is None:
            line = self._line
            answers_us = line.answer_us(request=request, answer=answer, timing=timing)
            known = self._known_spans[key] = line.wire_us(request), answers_us
        return known

    def _take(self, *, quiet: bool) -> list[bytes]:
        """The answers among what came; other frames pay debts or are foreign."""
        pdus: list[bytes] = []
        take = self._framing.take
        while self._framing.pending and (frame := take(quiet=quiet)) is not None:
            if frame.mine:
                pdus.append(frame.pdu)
            else:
                self._stray(frame.unit, frame.pdu)
        return pdus

    def _strays(self, ask: Ask, *, quiet: bool) -> None:
        """Frames that came when nothing was asked."""
        framing = self._framing
        while framing.pending and (frame := framing.take(quiet=quiet)) is not None:
            self._stray(frame.unit, frame.pdu)
        if framing.junk:
            self._note_noise(ask)

    def _stray(self, unit: int, pdu: bytes) -> None:
        late = self._framing.numbered or self._owed.stray(unit, pdu, now_us=self._now())
        known = self.stats.units.get(unit)
        for count in (self.stats.port, known):
            if count is not None:
                count.late += late
                count.foreign += not late

    def _note_noise(self, ask: Ask) -> int:
        """Move what the framing dropped into the counts; returns how many heaps it dropped."""
        framing = self._framing
        junk, damaged = framing.junk, framing.damaged
        if junk:
            for count in self.stats.of(ask.unit):
                count.junk_bytes += junk
                count.crc_errors += damaged
            framing.junk = framing.damaged = 0
        return damaged

    def _answered(self, ask: Ask, pdu: bytes, began_us: int) -> Reply:
        took_us = self._now() - began_us
        refused = ask.refused_by(pdu)
        for count in self.stats.of(ask.unit):
            if refused:
                count.exceptions += 1
            else:
                count.answered += 1
        if refused:
            return Reply(ReplyKind.EXCEPTION, code=pdu[1], took_us=took_us)
        return Reply(ReplyKind.ANSWERED, values=values_of(ask, pdu), took_us=took_us)

    def _failed(self, ask: Ask, failure: _Failure, began_us: int) -> Reply:
        kind, why = failure
        for count in self.stats.of(ask.unit):
            count.timeouts += kind is ReplyKind.SILENT
            count.damaged += kind is ReplyKind.DAMAGED
        why = self._blame(ask, why) if why else ""
        return Reply(kind, why=why, took_us=self._now() - began_us)

    def _blame(self, ask: Ask, why: str) -> str:
        return f"bus {self._bus.id}, unit {ask.unit}: {why}"


def refuse_uvloop(loop: asyncio.AbstractEventLoop) -> None:
    """Raise RuntimeError on uvloop: its timers round to milliseconds and keep no silence.

    Frames would then run into each other on the line, and units would miss requests.
    """
    if type(loop).__module__.partition(".")[0] == "uvloop":
        raise RuntimeError(
            "a serial bus cannot run on uvloop, which does not keep the silences between frames; "
            "start Qorgan on Python's own event loop (remove uvloop from its start)"
        )
