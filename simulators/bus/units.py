"""A simulated unit: what a Profile says is there, and how a real one behaves behind it.

Owns one unit's inputs, outputs, registers, identity, restart and its watch over a silent master.
What its makers built beyond the Profile comes from `models.py`. It speaks PDUs; frames are a
line's business. Time comes from a Clock, dice are the simulation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from gateway.clock import Clock, Timer
from gateway.core.hardware import Device
from gateway.core.profile import InputChannel, OutputChannel, Profile, Register, Table
from simulators.bus.faults import (
    Fault,
    Flooding,
    Forgetful,
    Impostor,
    Late,
    Refusing,
    Silent,
    StuckOutputs,
    Unpowered,
)
from simulators.bus.makings import Makings
from simulators.bus.models import outfit
from simulators.bus.parts import Contact, InputPart, OutputPart
from simulators.bus.registers import (
    ILLEGAL_VALUE,
    Cell,
    ModbusError,
    Registers,
    refusal,
)

REBOOT_US = 1_500_000
"""How long a unit is deaf while it starts. Assumed: units answer again in one to two seconds."""

_VERSION = (120,)
"""What a unit says of itself in numbers where no source tells what that is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a unit says, so long after the request was over."""

    after_us: int
    pdu: bytes


class SimulatedUnit:
    """One unit with its wires. faults: what is wrong with it at the moment."""

    def __init__(self, device: Device, *, clock: Clock, random: Random) -> None:
        self.id = device.id
        self.unit = device.unit
        self.profile: Profile = device.profile
        self.clock = clock
        self.random = random
        self.faults: list[Fault] = []
        self.talk: Callable[[bytes], None] | None = None
        self.inputs = {one.name: InputPart(one.name, clock) for one in self.profile.inputs}
        self.outputs = {one.name: OutputPart(one.name, clock) for one in self.profile.outputs}
        self.registers = Registers(self.profile.limits)
        self.safe = False
        self.requests = 0
        self._boot_us = clock.now_us()
        self._heard_us = self._boot_us
        self._watch: Timer | None = None
        self._watch_s = 0
        self._show_inputs()
        for place, channels in _by_place(self.profile.outputs).items():
            self._show_outputs(place, channels)
        self._show_states()
        self._show_uptime()
        self._show_identity()
        self.makings: Makings = outfit(self)
        for output in self.outputs.values():
            output.stuck = partial(self._sticks, output.name)

    # --- wires ------------------------------------------------------------------------------

    def contact(self, channel: str) -> Contact:
        """The wire of an input, or what sets a flag of the unit's own event log.

        Raises ValueError that names what there is.
        """
        part = self.makings.flag(channel) or self.inputs.get(channel)
        if part is None:
            flags = ", ".join(self.makings.flags)
            raise ValueError(
                f"{self.id} has no input {channel!r}; there are "
                f"{', '.join(self.inputs) or 'none'}" + (f" and {flags}" if flags else "")
            )
        return part

    def output(self, channel: str) -> OutputPart:
        """An output. Raises ValueError that names what there is."""
        if channel not in self.outputs:
            there = ", ".join(self.outputs) or "none"
            raise ValueError(f"{self.id} has no output {channel!r}; there are {there}")
        return self.outputs[channel]

    # --- life -------------------------------------------------------------------------------

    @property
    def uptime_s(self) -> int:
        """Seconds since it started."""
        return max(0, self.clock.now_us() - self._boot_us) // 1_000_000

    def reboot(self, *, down_us: int = REBOOT_US) -> None:
        """Lose power for a moment: counters and uptime begin at 0, settings stay."""
        self._boot_us = self.clock.now_us() + down_us
        self.safe = False
        for part in self.inputs.values():
            part.restart()
        self.makings.restarted()
        for output in self.outputs.values():
            output.restart()

    def afflict(self, fault: Fault) -> None:
        """From now on this is wrong with it; one of each kind, the later one counts."""
        self.faults = [one for one in self.faults if type(one) is not type(fault)] + [fault]
        if isinstance(fault, Flooding):
            self._flood(fault)
        elif isinstance(fault, Unpowered):
            for output in self.outputs.values():
                output.lose_power()

    def heal(self) -> None:
        """Nothing is wrong with it any more; one that had no power starts."""
        starts = Unpowered() in self.faults
        self.faults = []
        if starts:
            self.reboot()

    def _flood(self, fault: Flooding) -> None:
        if fault in self.faults and self.talk is not None:
            if not self.deaf():
                self.talk(fault.data)
            self.clock.call_at(
                self.clock.now_us() + fault.every_us, partial(self._flood, fault), relaxed=True
            )

    def deaf(self) -> bool:
        """True while it is starting, or has a fault that makes it hear nothing."""
        if not self.faults:
            return self.clock.now_us() < self._boot_us
        return self.lifeless() or Silent() in self.faults

    def lifeless(self) -> bool:
        """True while it has no power, or is starting."""
        return self.clock.now_us() < self._boot_us or Unpowered() in self.faults

    # --- talk -------------------------------------------------------------------------------

    def hear(self, pdu: bytes, *, broadcast: bool = False) -> Answer | None:
        """Do what a request asks; the answer, None where none is said."""
        if self.deaf() or not pdu:
            return None
        self.requests += 1
        said = (self._refused(pdu) if self.faults else None) or self.registers.answer(pdu)
        self._heard()
        if broadcast or self.deaf() or (self.faults and self._forgets()):
            return None
        return Answer(self._answer_us(), said)

    def _refused(self, pdu: bytes) -> bytes | None:
        for fault in self.faults:
            if isinstance(fault, Refusing) and self.random.random() < fault.share:
                return refusal(pdu, fault.code)
        return None

    def _forgets(self) -> bool:
        shares = [fault.share for fault in self.faults if isinstance(fault, Forgetful)]
        return any(self.random.random() < share for share in shares)

    def _answer_us(self) -> int:
        answer_us = self.random.randint(*self.makings.answer_us)
        for fault in self.faults:
            if isinstance(fault, Late):
                answer_us += self.random.randint(fault.least_us, fault.most_us)
        return answer_us

    def _sticks(self, output: str) -> bool:
        if self.lifeless():
            return True
        stuck = [fault for fault in self.faults if isinstance(fault, StuckOutputs)]
        return any(not fault.outputs or output in fault.outputs for fault in stuck)

    # --- the watch over a silent master -------------------------------------------------------

    def _heard(self) -> None:
        self._heard_us = self.clock.now_us()
        self.safe = False
        if self._watch is None or self._watch_s != self.makings.poll_timeout_s():
            self._arm()

    def _arm(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._watch_s = self.makings.poll_timeout_s()
        if self._watch_s and self.outputs:
            due_us = self._heard_us + self._watch_s * 1_000_000
            self._watch = self.clock.call_at(due_us, self._watched, relaxed=True)

    def _watched(self) -> None:
        self._watch = None
        timeout_us = self.makings.poll_timeout_s() * 1_000_000
        if timeout_us and self.clock.now_us() - self._heard_us < timeout_us:
            self._arm()
            return
        if not timeout_us or self.lifeless():
            return
        self.safe = True
        for output in self.outputs.values():
            value = output.safe()
            if value is not None:
                output.drive(on=value)

    # --- registers from the profile ---------------------------------------------------------

    def _show_inputs(self) -> None:
        words: dict[tuple[Table, int], list[Callable[[], int]]] = {}
        coded: dict[Register, list[InputChannel]] = {}
        for channel in self.profile.inputs:
            part = self.inputs[channel.name]
            if channel.level is not None and channel.closed_codes:
                coded.setdefault(channel.level, []).append(channel)
            elif channel.level is not None:
                self._spread(words, channel.level, partial(_level_of, channel, part))
            if channel.counter is not None:
                self._spread(words, channel.counter, partial(_closings_of, part))
        for register, channels in coded.items():
            self._spread(words, register, partial(self._code, channels))
        for (table, address), reads in words.items():
            self.registers.show(table, address, _one_of(reads))

    def _code(self, channels: list[InputChannel]) -> int:
        """The most important state of what these channels share; the profile's order is its rank.

        24 and 109 are Orion's for armed and disarmed: what a zone shows while all is well.
        """
        parts = [(channel, self.inputs[channel.name]) for channel in channels]
        for channel, part in parts:
            if part.unreadable and channel.unknown_codes:
                return channel.unknown_codes[0]
        for channel, part in parts:
            if part.level:
                return channel.closed_codes[0]
        taken = {code for one in channels for code in (*one.closed_codes, *one.unknown_codes)}
        return next(code for code in (24, 109, 0, 255) if code not in taken)

    def _spread(
        self,
        words: dict[tuple[Table, int], list[Callable[[], int]]],
        register: Register,
        read: Callable[[], int],
    ) -> None:
        for index in range(register.words):
            place = register.table, register.address + index
            whole = register.table.bits and register.bit is None  # a bit is laid out as it is
            word = read if whole else partial(word_of, register, read, index)
            words.setdefault(place, []).append(word)

    def _show_outputs(self, place: tuple[Table, int], channels: list[OutputChannel]) -> None:
        """Where outputs are driven: a mask of several, or one of its own."""
        table, address = place
        if channels[0].write.bit is not None:
            cell = Cell(partial(self._mask, channels), partial(self._drive_mask, channels))
        else:
            output = self.outputs[channels[0].name]
            cell = Cell(
                partial(_output_value, channels[0], output), partial(_drive, channels[0], output)
            )
        self.registers.put(table, address, cell)

    def _show_states(self) -> None:
        """Where outputs are read back, if that is somewhere else."""
        words: dict[tuple[Table, int], list[Callable[[], int]]] = {}
        for channel in self.profile.outputs:
            state = channel.state
            if state is not None and not self.registers.has(state.table, state.address):
                self._spread(words, state, partial(_state_of, channel, self.outputs[channel.name]))
        for (table, address), reads in words.items():
            self.registers.show(table, address, _one_of(reads))

    def _mask(self, channels: list[OutputChannel]) -> int:
        bits = ((one.write.bit or 0, self.outputs[one.name].on) for one in channels)
        return sum(on << bit for bit, on in bits)

    def _drive_mask(self, channels: list[OutputChannel], value: int) -> None:
        for one in channels:
            self.outputs[one.name].command(bool(value >> (one.write.bit or 0) & 1))

    def _show_uptime(self) -> None:
        register = self.profile.uptime
        if register is not None:
            for index in range(register.words):
                read = partial(word_of, register, lambda: self.uptime_s, index)
                self.registers.show(register.table, register.address + index, read)

    def _show_identity(self) -> None:
        rule = self.profile.identity
        if rule is None:
            return
        for index in range(rule.count):
            read = partial(self._identity_word, index)
            self.registers.show(rule.register.table, rule.register.address + index, read)

    def _identity_word(self, index: int) -> int:
        rule = self.profile.identity
        assert rule is not None
        other = [fault for fault in self.faults if isinstance(fault, Impostor)]
        if not rule.text:
            numbers = rule.expect or _VERSION
            number = numbers[index] if index < len(numbers) else 0
            return number + 1 if other else number
        text = other[0].text if other else rule.expect_text
        text = text or self.profile.id.replace("-", "").upper()
        return text_words(text, rule.count, two=rule.text == "two")[index]


def text_words(text: str, count: int, *, two: bool = False) -> list[int]:
    """Characters as registers: one in the low byte of each, or two; zeros after the end."""
    data = text.encode("ascii", "replace").ljust(2 * count, b"\x00")
    if two:
        return [data[2 * one] << 8 | data[2 * one + 1] for one in range(count)]
    return list(data[:count])


def word_of(register: Register, read: Callable[[], int], index: int) -> int:
    """Word `index` of a value as its Register lays it out."""
    value = read()
    if register.bit is not None:
        value <<= register.bit
    if register.high_byte:
        value <<= 8
    place = index if register.low_word_first else register.words - 1 - index
    return value >> 16 * place & 0xFFFF


def _one_of(reads: list[Callable[[], int]]) -> Callable[[], int]:
    """What reads all of them; one alone is read as it is."""
    return reads[0] if len(reads) == 1 else partial(_together, reads)


def _together(reads: list[Callable[[], int]]) -> int:
    value = 0
    for read in reads:
        value |= read()
    return value


def _level_of(channel: InputChannel, part: InputPart) -> int:
    return int(part.level is not channel.inverted)


def _closings_of(part: InputPart) -> int:
    return part.closings


def _output_value(channel: OutputChannel, output: OutputPart) -> int:
    if channel.write.table is Table.COIL:
        return int(output.on)
    return channel.on if output.on else channel.off


def _state_of(channel: OutputChannel, output: OutputPart) -> int:
    single = channel.state is not None and (
        channel.state.bit is not None or channel.state.table.bits
    )
    return int(output.on) if single else _output_value(channel, output)


def _drive(channel: OutputChannel, output: OutputPart, value: int) -> None:
    if channel.write.table is Table.COIL:
        output.command(bool(value))
    elif value in {channel.on, channel.off}:
        output.command(value == channel.on)
    else:
        raise ModbusError(ILLEGAL_VALUE)


def _by_place(
    channels: tuple[OutputChannel, ...],
) -> dict[tuple[Table, int], list[OutputChannel]]:
    """Outputs by where they are written; several share a mask."""
    places: dict[tuple[Table, int], list[OutputChannel]] = {}
    for channel in channels:
        places.setdefault((channel.write.table, channel.write.address), []).append(channel)
    return places
