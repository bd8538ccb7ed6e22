"""How one action becomes requests: prepare, move, read back. Pure generators, one request a time.

They ask and are answered; they know neither the bus nor the clock, and what they may not do is
begin to move an output late: every request that moves is marked, and whoever drives the generator
answers it with None instead of sending it when its time is over. Toggles do not exist here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from drivers.modbus.plan.blocks import value_of
from drivers.modbus.wire.request import (
    Reply,
    ReplyKind,
    Request,
    WriteBit,
    WriteBits,
    WriteRegister,
    WriteRegisters,
)
from drivers.modbus.wire.values import BIT_OFF, BIT_ON, read_of, with_bit, write_of
from gateway.core.action import Action, Outcome
from gateway.core.model import US_PER_MS
from gateway.core.profile import OutputChannel, Pulse, PulseKind, Register

READ_BACK_US = 500_000
"""A state that is not as asked this long after the write is a mismatch (relays settle earlier)."""

LOOK_AGAIN_US = 50_000
"""Between two looks at a state that is not yet as asked."""

ASK_AGAIN_US = 100_000
"""Before a busy or silent unit is asked for the same again."""

_PERMANENT = frozenset({1, 2, 3})
_ACCEPTED_LATER = 5
_NOT_DONE = frozenset({6, 15})
"""Exceptions after which nothing has been done: busy, and Bolid's "data not ready"."""


class Way(StrEnum):
    """Who ends a timed action: nobody (PLAIN), the unit (TIMER, FLASH), or the driver (SOFT)."""

    PLAIN = "plain"
    TIMER = "timer"
    FLASH = "flash"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that wants to go out. moves: the output may move by it.

    make: builds it at the very moment, from what is then known of a shared mask; None: not enough.
    mask: where the mask stands that the answer tells, or that the write changes.
    """

    make: Callable[[], Request | None]
    moves: bool = False
    mask: Register | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to send before this many microseconds have passed."""

    for_us: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an Ask, and when. Also what ends a Pause.

    reply None: it was not sent, because its time is over, or (stale) the mask must be read again.
    """

    at_us: int
    reply: Reply | None = None
    stale: bool = False

    @property
    def whole(self) -> bool:
        """True when the unit answered it."""
        return self.reply is not None and self.reply.kind is ReplyKind.ANSWERED

    @property
    def refused(self) -> bool:
        """True when the unit does not have this, and will not tomorrow."""
        return self._exception in _PERMANENT

    @property
    def accepted(self) -> bool:
        """True when a write was echoed, or taken to be done (exception 5)."""
        return self.whole or self._exception == _ACCEPTED_LATER

    @property
    def not_done(self) -> bool:
        """True when the unit lives and has certainly done nothing yet."""
        return self._exception in _NOT_DONE

    @property
    def _exception(self) -> int:
        if self.reply is None or self.reply.kind is not ReplyKind.EXCEPTION:
            return 0
        return self.reply.code


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a script ended.

    again: nobody answered, and it may be tried again. moved: False when the output certainly has
    not been touched.
    """

    outcome: Outcome
    why: str = ""
    again: bool = False
    moved: bool = True


Script: TypeAlias = Generator[Ask | Pause, Answer, Verdict]
Masks: TypeAlias = dict[Register, int]
"""What each shared register of a unit was last known to hold; an unanswered write forgets it."""

_DONE = Verdict(Outcome.CONFIRMED)


def way_of(channel: OutputChannel, action: Action) -> tuple[Way, int]:
    """How an action is done, and the time in the unit's own steps (0 unless it times itself).

    Times are rounded up to a step; one that is too long for the unit is timed by the driver.
    """
    if action.for_ms is None:
        return Way.PLAIN, 0
    pulse = channel.pulse_on if action.on else channel.pulse_off
    if pulse is None:
        return Way.SOFT, 0
    steps = max(pulse.least, -(-action.for_ms // pulse.unit_ms))
    if steps > pulse.most:
        return Way.SOFT, 0
    return (Way.TIMER if pulse.kind is PulseKind.TIMER else Way.FLASH), steps


class Mover:
    """Writes the scripts of one output. masks: shared by every output of the unit.

    hurry: True while another action waits for this output, or the driver stops; then nothing is
    waited for, and nothing repeated.
    """

    def __init__(self, channel: OutputChannel, masks: Masks, hurry: Callable[[], bool]) -> None:
        self._channel = channel
        self._masks = masks
        self._hurry = hurry

    def script(self, action: Action, way: Way, steps: int) -> Script:
        """Everything an action takes, from the timer's registers to the last look."""
        pulse = self._channel.pulse_on if action.on else self._channel.pulse_off
        why = ""
        if way is Way.TIMER:
            assert pulse is not None
            why = yield from self._prepare_timer(pulse, steps)
        elif way is not Way.FLASH:
            why = yield from self._leave_timer()
        if why:
            return Verdict(Outcome.FAILED, why, moved=False)
        if way is Way.FLASH:
            assert pulse is not None
            flash = WriteBit(pulse.time.address, steps)
            return (yield from self._move(Ask(lambda: flash, moves=True), action, way))
        return (yield from self.plain(action, way))

    def plain(self, action: Action, way: Way = Way.PLAIN) -> Script:
        """The write and the look alone, as the end of a pulse needs them."""
        ask = yield from self._write(on=action.on)
        if isinstance(ask, str):
            return Verdict(Outcome.FAILED, ask, moved=False)
        return (yield from self._move(ask, action, way))

    # --- before the output moves ----------------------------------------------------------------

    def _prepare_timer(self, pulse: Pulse, steps: int) -> Generator[Ask | Pause, Answer, str]:
        if pulse.mode is not None:
            why = yield from self._hold(pulse.mode, pulse.mode_value)
            if why:
                return f"the timer's mode: {why}"
        why = yield from self._hold(pulse.time, steps)
        return f"the timer's time: {why}" if why else ""

    def _leave_timer(self) -> Generator[Ask | Pause, Answer, str]:
        """A timer left in its mode would end a maintained state: switch it off first.

        A unit that does not have the register has no timer that could.
        """
        told: list[Register] = []
        for pulse in (self._channel.pulse_on, self._channel.pulse_off):
            if pulse is None or pulse.mode is None or pulse.mode in told:
                continue
            told.append(pulse.mode)
            why = yield from self._hold(pulse.mode, pulse.mode_off, needed=False)
            if why:
                return f"the timer's mode: {why}"
        return ""

    def _hold(
        self, register: Register, value: int, *, needed: bool = True
    ) -> Generator[Ask | Pause, Answer, str]:
        """Read a register, write it only when it differs, read it again; why it failed, or "".

        Silence is waited out: nothing has moved yet, and the action's own expiry ends it.
        """
        read, write = read_of(register), write_of(register, value)
        written = 0
        while True:
            answer = yield Ask(lambda: read)
            if answer.whole:
                assert answer.reply is not None
                if value_of(register, read, answer.reply.values) == value:
                    return ""
                if written == 2:
                    return f"{register.table} {register.address} does not take {value}"
                written += 1
                answer = yield Ask(lambda: write)
                if answer.refused:
                    return f"{register.table} {register.address} refuses {value}"
            elif answer.refused:
                return f"the unit has no {register.table} {register.address}" if needed else ""
            if not answer.accepted:
                yield Pause(ASK_AGAIN_US)

    def _write(self, *, on: bool) -> Generator[Ask | Pause, Answer, Ask | str]:
        """The write itself; the mask it shares with other outputs is read first."""
        channel, register = self._channel, self._channel.write
        value = channel.on if on else channel.off
        if register.bit is None:
            request = _absolute(channel, value)
            return Ask(lambda: request, moves=True)
        whole, bit = _whole(register), register.bit
        answer = yield Ask(lambda: read_of(whole), mask=whole)
        while not answer.whole:
            if answer.refused:
                return f"the unit has no {whole.table} {whole.address}"
            yield Pause(ASK_AGAIN_US)
            answer = yield Ask(lambda: read_of(whole), mask=whole)

        def make() -> Request | None:
            known = self._masks.get(whole)
            if known is None:
                return None
            mask = with_bit(known, bit, value)
            if channel.function == 16:
                return WriteRegisters(whole.address, (mask,))
            return WriteRegister(whole.address, mask)

        return Ask(make, moves=True, mask=whole)

    # --- the move, and the look afterwards ------------------------------------------------------

    def _move(self, ask: Ask, action: Action, way: Way) -> Script:
        """Write, at most twice, then look. A timed move is repeated only when nobody answered."""
        absolute = way in (Way.PLAIN, Way.SOFT)
        verdict: Verdict | None = None
        for last in (False, True):
            answer = yield ask
            while answer.stale or answer.not_done:
                if answer.not_done:
                    yield Pause(ASK_AGAIN_US)
                ask = yield from self._afresh(ask, on=action.on)
                answer = yield ask
            if answer.reply is None:
                late = Verdict(Outcome.EXPIRED, "its time was over before it could be begun")
                return verdict or replace(late, moved=False)
            if answer.refused:
                return Verdict(Outcome.FAILED, _why(answer), moved=False)
            if answer.accepted:
                verdict = yield from self._look(action, way, answer.at_us)
                if verdict.outcome is not Outcome.MISMATCH or not absolute:
                    return verdict
            else:
                verdict = Verdict(Outcome.FAILED, _why(answer), again=way is Way.PLAIN)
            if last or self._hurry():
                break
            ask = yield from self._afresh(ask, on=action.on)
        assert verdict is not None
        if verdict.outcome is Outcome.FAILED:
            return (yield from self._unanswered(action, verdict))
        return verdict

    def _afresh(self, ask: Ask, *, on: bool) -> Generator[Ask | Pause, Answer, Ask]:
        """The same write; a shared mask is read again, for others may have moved in between."""
        if ask.mask is None:
            return ask
        fresh = yield from self._write(on=on)
        return ask if isinstance(fresh, str) else fresh

    def _unanswered(self, action: Action, verdict: Verdict) -> Script:
        """It was sent and may have been done: one look tells, if the unit speaks at all."""
        state = self._channel.state
        if state is None:
            return verdict
        request = read_of(state)
        answer = yield Ask(lambda: request)
        if not answer.whole:
            return verdict
        if self._shows(answer) is action.on:
            return _DONE
        return replace(verdict, why=f"{verdict.why}; its output is {_word(on=not action.on)}")

    def _look(self, action: Action, way: Way, wrote_us: int) -> Script:
        """Read the real state back until it is as asked, or too much time has passed."""
        state = self._channel.state
        if state is None:
            return Verdict(Outcome.ACCEPTED)
        request, seen = read_of(state), False
        over_us = wrote_us + READ_BACK_US
        ends_us = over_us if way is Way.PLAIN else wrote_us + (action.for_ms or 0) * US_PER_MS
        while True:
            answer = yield Ask(lambda: request)
            if answer.whole:
                if self._shows(answer) is action.on:
                    return _DONE
                seen = seen or answer.at_us <= ends_us
            elif answer.refused:
                return Verdict(Outcome.ACCEPTED, "its state cannot be read")
            if answer.at_us >= min(over_us, ends_us) or self._hurry():
                break
            yield Pause(LOOK_AGAIN_US)
        if not seen:
            return Verdict(Outcome.ACCEPTED, "its state could not be read in time")
        return Verdict(Outcome.MISMATCH, f"its output is {_word(on=not action.on)}")

    def _shows(self, answer: Answer) -> bool:
        assert self._channel.state is not None
        assert answer.reply is not None
        state = self._channel.state
        return is_on(self._channel, value_of(state, read_of(state), answer.reply.values))


def is_on(channel: OutputChannel, value: int) -> bool:
    """What a value of the state register says: as the channel's own on and off, else not zero."""
    if value in (channel.on, channel.off):
        return value == channel.on
    return value != 0


def _absolute(channel: OutputChannel, value: int) -> Request:
    address = channel.write.address
    match channel.function:
        case 5:
            return WriteBit(address, {0: BIT_OFF, 1: BIT_ON}.get(value, value))
        case 6:
            return WriteRegister(address, value)
        case 15:
            return WriteBits(address, (bool(value),))
        case _:
            return WriteRegisters(address, (value,))


def _whole(register: Register) -> Register:
    return Register(register.table, register.address)


def _why(answer: Answer) -> str:
    """Why a write cannot be called done."""
    assert answer.reply is not None
    match answer.reply.kind:
        case ReplyKind.EXCEPTION:
            return f"the unit refused it (exception {answer.reply.code})"
        case ReplyKind.SILENT:
            return "the unit did not answer"
        case _:
            return answer.reply.why or "the unit's answer was damaged"


def _word(*, on: bool) -> str:
    return "on" if on else "off"
