"""A line with one master and units on it: bytes take their time, and who talks over whom is heard.

Half duplex: everything said is heard by everybody else. A frame is over after 3.5 characters of
silence, so a request sent sooner is glued to what was said before it, and lost. Runs on a Clock,
in real time behind a port of this machine and in virtual time behind `wire_port.py`.
Characters and silences: MODBUS over Serial Line V1.02, 2.5.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random

from gateway.clock import Clock, Timer
from gateway.core.hardware import Parity
from simulators.bus.faults import LineTrouble, spoiled, worn
from simulators.bus.frames import rtu, rtu_parts
from simulators.bus.units import Answer, SimulatedUnit

HANDOVER_US = 1_000
"""How often an adapter hands over what it has heard: a full-speed USB frame is 1 ms."""
_GAP_CHARACTERS = 3.5
_GAP_TOLERANCE = 0.97
"""Units are no stop watches: silence this share of 3.5 characters long ends a frame for them."""

_framed, _parts = lru_cache(maxsize=1_024)(rtu), lru_cache(maxsize=1_024)(rtu_parts)
"""Polls and their answers are nearly all alike."""


class _Sending:
    """Something being said: by whom (None the master), from when, and what is heard of it."""

    __slots__ = ("end_us", "heard", "start_us", "talker", "told", "us_per_byte")

    def __init__(
        self, talker: SimulatedUnit | None, start_us: int, heard: bytearray, us_per_byte: float
    ) -> None:
        self.talker = talker
        self.start_us = start_us
        self.heard = heard
        self.us_per_byte = us_per_byte
        self.told = 0
        self.end_us = start_us + round(len(heard) * us_per_byte)

    def byte_end_us(self, index: int) -> int:
        """When the byte at `index` has arrived."""
        return self.start_us + round((index + 1) * self.us_per_byte)

    def garble(self, from_us: int, to_us: int, random: Random) -> None:
        """Spoil the bytes on the line between two moments."""
        for index in range(len(self.heard)):
            if self.byte_end_us(index) > from_us and self.byte_end_us(index - 1) < to_us:
                self.heard[index] ^= random.randint(1, 255)


@dataclass(slots=True)
class _Coming:
    """An answer that nothing is in the way of: until it is whole, nobody need look at it."""

    unit: SimulatedUnit
    answer: Answer
    frame: bytes
    start_us: int
    end_us: int
    arrives: Timer


class Line:
    """One line. trouble: what it does to bytes. mistuned: the master is set to another speed.

    hear: where the master's adapter puts what comes in; None while nobody has the port open.
    frames, spoiled_frames: how many were over, and how many of those were none.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        baud: int = 9_600,
        parity: Parity = Parity.NONE,
        stop_bits: int = 2,
        handover_us: int = HANDOVER_US,
    ) -> None:
        self.baud = baud
        self.us_per_byte = (9 + (parity is not Parity.NONE) + stop_bits) * 1e6 / baud
        self.gap_us = int(_GAP_CHARACTERS * self.us_per_byte * _GAP_TOLERANCE)
        self.units: list[SimulatedUnit] = []
        self.trouble = LineTrouble()
        self.mistuned = False
        self.plugged = True
        self.on_plug: list[Callable[[bool], None]] = []
        self.hear: Callable[[bytes], None] | None = None
        self.frames = 0
        self.spoiled_frames = 0
        self.collisions = 0
        self._clock = clock
        self._random = random
        self._handover_us = handover_us
        self._air: list[_Sending] = []
        self._alone: _Sending | None = None
        self._coming: _Coming | None = None
        self._frame = bytearray()
        self._talkers: list[SimulatedUnit | None] = []
        self._frame_end_us = 0
        self._over: Timer | None = None
        self._rest_until_us: dict[str, int] = {}

    def add(self, unit: SimulatedUnit) -> None:
        """Hang a unit on the line."""
        self.units.append(unit)
        unit.talk = partial(self._begin, unit)

    def say(self, data: bytes) -> None:
        """The master begins to say this, now, or when what it is saying is over."""
        if not self.plugged or not data:
            return
        self._begin(None, self._random.randbytes(len(data)) if self.mistuned else data)

    def unplug(self) -> None:
        """Pull the master's adapter out; harmless when it is out."""
        self._set_plugged(plugged=False)

    def plug(self) -> None:
        """Put it back in, under the same name."""
        self._set_plugged(plugged=True)

    def _set_plugged(self, *, plugged: bool) -> None:
        if plugged is not self.plugged:
            self.plugged = plugged
            for told in list(self.on_plug):
                told(plugged)

    # --- bytes ------------------------------------------------------------------------------

    def _begin(
        self, talker: SimulatedUnit | None, data: bytes, *, at_us: int | None = None
    ) -> None:
        """at_us: when it was to begin, where this program may be late to do so; None is now."""
        begin_us = self._clock.now_us() if at_us is None else at_us
        self._unfold()
        self._break_silence(begin_us)
        quiet = self.trouble.quiet
        heard = bytearray(data if quiet else worn(self.trouble, data, self._random))
        if not heard:
            return
        start_us = begin_us
        if self._air:
            start_us = max([begin_us, *(one.end_us for one in self._air if one.talker is talker)])
        sending = _Sending(talker, start_us, heard, self.us_per_byte)
        if not self._air and not self._is_master_told(sending):
            self._alone = sending
            self._over = self._clock.call_at(sending.end_us + self.gap_us, self._end_alone)
            return
        for other in self._air:
            if other.end_us > start_us and other.start_us < sending.end_us:
                self.collisions += 1
                other.garble(start_us, sending.end_us, self._random)
                sending.garble(other.start_us, other.end_us, self._random)
        self._air.append(sending)
        self._carry_on(sending)

    def _end_alone(self) -> None:
        """What nobody but units heard, and nobody talked over, is over."""
        sending, self._alone = self._alone, None
        assert sending is not None
        if self._frame or self._talkers:
            self._said(sending)
            self._end_frame()
            return
        self._over = None
        self._frame_end_us = max(self._frame_end_us, sending.end_us)
        self._understand(bytes(sending.heard), [sending.talker])

    def _unfold(self) -> None:
        """Somebody begins while a frame of one talker is not over: from here on each byte counts.

        Until then such a frame needs one moment, its end; a simulation lives through millions.
        """
        if self._coming is not None:
            self._unfold_coming(self._coming)
        sending, self._alone = self._alone, None
        if sending is None:
            return
        if self._over is not None:
            self._over.cancel()
            self._over = None
        if self._clock.now_us() < sending.end_us:
            self._air.append(sending)
            self._carry_on(sending)
        else:
            self._said(sending)
            self._over = self._clock.call_at(self._frame_end_us + self.gap_us, self._end_frame)

    def _said(self, sending: _Sending) -> None:
        """It is part of the frame that is on the line."""
        self._frame += sending.heard
        self._talkers.append(sending.talker)
        self._frame_end_us = max(self._frame_end_us, sending.end_us)

    def _carry_on(self, sending: _Sending) -> None:
        """Wait for the next moment at which something of it is handed over, or it is over."""
        at_us = sending.end_us
        soon = self._clock.now_us() + self._handover_us < at_us
        if soon and self._is_master_told(sending):
            next_us = max(
                self._clock.now_us() + self._handover_us, sending.byte_end_us(sending.told)
            )
            at_us = min(at_us, next_us)
        last = at_us == sending.end_us
        self._clock.call_at(at_us, partial(self._arrive, sending), relaxed=not last)

    def _is_master_told(self, sending: _Sending) -> bool:
        return sending.talker is not None or self.trouble.echo

    def _arrive(self, sending: _Sending) -> None:
        now_us = self._clock.now_us()
        if self._is_master_told(sending):
            told = sending.told
            if now_us >= sending.end_us:
                sending.told = len(sending.heard)
            while sending.told < len(sending.heard) and sending.byte_end_us(sending.told) <= now_us:
                sending.told += 1
            self._tell_master(bytes(sending.heard[told : sending.told]))
        if now_us < sending.end_us:
            self._carry_on(sending)
            return
        self._air.remove(sending)
        self._said(sending)
        if not self._air and self._has_hearers():
            self._over = self._clock.call_at(self._frame_end_us + self.gap_us, self._end_frame)

    def _has_hearers(self) -> bool:
        """True when a unit might take for a request what is on the line; else its end can wait."""
        return any(
            talker is None
            or any(one.unit == talker.unit for one in self.units if one is not talker)
            for talker in self._talkers
        )

    def _tell_master(self, data: bytes) -> None:
        if self.plugged and self.hear is not None and data:
            self.hear(self._random.randbytes(len(data)) if self.mistuned else data)

    # --- frames -----------------------------------------------------------------------------

    def _break_silence(self, now_us: int) -> None:
        """Somebody begins: the frame before is over if it was quiet for long enough, else glued."""
        if self._over is not None:
            self._over.cancel()
            self._over = None
        if self._frame and not self._air and now_us >= self._frame_end_us + self.gap_us:
            self._end_frame()

    def _end_frame(self) -> None:
        self._over = None
        frame, talkers = bytes(self._frame), self._talkers
        self._frame, self._talkers = bytearray(), []
        self._understand(frame, talkers)

    def _understand(self, frame: bytes, talkers: list[SimulatedUnit | None]) -> None:
        """Everything after it is timed from its own end, however late this program gets there."""
        self.frames += 1
        over_us = self._frame_end_us + self.gap_us
        began_us = self._frame_end_us - round(len(frame) * self.us_per_byte)
        parts = _parts(frame)
        if parts is None:
            self.spoiled_frames += 1
            return
        address, pdu = parts
        for unit in self.units:
            if unit in talkers or (address != unit.unit and address):
                continue
            if self._rest_until_us and began_us < self._rest_until_us.get(unit.id, 0):
                continue
            answer = unit.hear(pdu, broadcast=address == 0)
            if answer is None:
                continue
            at_us = over_us + answer.after_us
            if not self._comes_whole(unit, answer, at_us):
                self._clock.call_at(at_us, partial(self._answer, unit, answer, at_us))

    def _comes_whole(self, unit: SimulatedUnit, answer: Answer, at_us: int) -> bool:
        """True when an answer is on its way that needs one moment, its end.

        Nothing is wrong with line or unit, and the adapter hands over whole frames.
        """
        if len(self.units) > 1 or unit.faults or unit.profile.timing.between_ms:
            return False
        frame = _framed(unit.unit, answer.pdu)
        took_us = round(len(frame) * self.us_per_byte)
        if took_us > self._handover_us or self._air or not self.trouble.quiet:
            return False
        timer = self._clock.call_at(at_us + took_us, self._come)
        self._coming = _Coming(unit, answer, frame, at_us, at_us + took_us, timer)
        return True

    def _come(self) -> None:
        coming, self._coming = self._coming, None
        assert coming is not None
        if coming.unit.faults or not self.trouble.quiet:
            self._answer(coming.unit, coming.answer, coming.start_us)
        elif not coming.unit.deaf():
            self._frame_end_us = coming.end_us
            self._tell_master(coming.frame)

    def _unfold_coming(self, coming: _Coming) -> None:
        """Somebody begins while an answer is on its way: from here on each byte counts."""
        self._coming = None
        coming.arrives.cancel()
        answer = partial(self._answer, coming.unit, coming.answer, coming.start_us)
        self._clock.call_at(max(coming.start_us, self._clock.now_us()), answer)

    def _answer(self, unit: SimulatedUnit, answer: Answer, at_us: int) -> None:
        if unit.deaf():
            return
        frame = spoiled(unit.faults, _framed(unit.unit, answer.pdu), self._random)
        if frame:
            self._begin(unit, frame, at_us=at_us)
        quiet_us = unit.profile.timing.between_ms * 1_000
        if quiet_us:
            said_us = round(len(frame) * self.us_per_byte)
            self._rest_until_us[unit.id] = at_us + said_us + quiet_us
