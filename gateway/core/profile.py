"""What the makers of a unit say of it, as data: registers, times, and what must be written first.

A Profile comes from `config/profiles/<id>.yaml`. It says where things are and never what they mean
to a school. `verified` False: one community source, or an excerpt, was all that could be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Table(StrEnum):
    """The four tables of the Modbus application protocol (V1.1b3, §4.4)."""

    COIL = "coil"
    DISCRETE = "discrete"
    HOLDING = "holding"
    INPUT = "input"

    @property
    def bits(self) -> bool:
        """True for the tables of single bits."""
        return self in (Table.COIL, Table.DISCRETE)


@dataclass(frozen=True, slots=True)
class Register:
    """Where one value stands. address: as on the wire, from 0. words: registers it takes, 1..4.

    bit: that bit of the value alone (masks). high_byte: the upper eight bits of a word alone.
    """

    table: Table
    address: int
    words: int = 1
    low_word_first: bool = False
    bit: int | None = None
    high_byte: bool = False


@dataclass(frozen=True, slots=True)
class InputChannel:
    """One input: its level, its counter, or both.

    level: closed where the value is not 0; with `closed_codes`, closed where the value is one of
    them, unreadable where it is one of `unknown_codes`, open otherwise. inverted: 1 means open.
    counter: counts closings (or edges), wraps at its width, starts at 0 when the unit starts.
    Neither: the channel is a flag of the unit's event log.
    """

    name: str
    level: Register | None = None
    inverted: bool = False
    closed_codes: tuple[int, ...] = ()
    unknown_codes: tuple[int, ...] = ()
    counter: Register | None = None


class When(StrEnum):
    """When a Setting applies.

    To every unit; to an input that is used, or that a person presses; to an output that is used; or
    to an output by what it is to do when the gateway falls silent: keep, go on, go off.
    """

    ALWAYS = "always"
    INPUT_USED = "input-used"
    PERSON_OPERATED = "person-operated"
    OUTPUT_USED = "output-used"
    SAFE_KEEP = "safe-keep"
    SAFE_ON = "safe-on"
    SAFE_OFF = "safe-off"


@dataclass(frozen=True, slots=True)
class Setting:
    """A register that must hold `value`: read, written only if different, read back.

    channel: the input or output it belongs to, None for the unit. most: anything up to it does as
    well (a filter already shorter is left alone). function: of the write, 6 or 16. Settings are
    written in their order; several may name one register with one value, which is written once.

    before_outputs: no output of the unit moves until this one reads back right. blind: cannot be
    read back; written at every start of the unit.
    """

    name: str
    register: Register
    value: int
    when: When = When.ALWAYS
    channel: str | None = None
    most: int | None = None
    before_outputs: bool = False
    blind: bool = False
    function: int = 6


class PulseKind(StrEnum):
    """How a unit times an output by itself.

    TIMER: a mode and a time register are written, then the output (Wiren Board). FLASH: one FC05
    whose value is the time (Waveshare).
    """

    TIMER = "timer"
    FLASH = "flash"


@dataclass(frozen=True, slots=True)
class Pulse:
    """A timed output done inside the unit. unit_ms: what 1 in the time register lasts.

    mode: the register that chooses it, with `mode_value` for this pulse and `mode_off` for none.
    time: where the time goes (TIMER), or the FC05 address (FLASH).
    """

    kind: PulseKind
    time: Register
    unit_ms: int
    least: int
    most: int
    mode: Register | None = None
    mode_value: int = 0
    mode_off: int = 0


@dataclass(frozen=True, slots=True)
class OutputChannel:
    """One output. write: where it is driven, `on` and `off` what is written there.

    function: of the write, 5, 6, 15 or 16. state: where the real state is read back (non-zero, or
    `on`, is on); None: it cannot be. mask: the register holds all outputs, this one is its `bit`.
    pulse_on: on by itself for a time; pulse_off: off for a time.
    """

    name: str
    write: Register
    function: int
    on: int = 1
    off: int = 0
    state: Register | None = None
    pulse_on: Pulse | None = None
    pulse_off: Pulse | None = None


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """Where a unit says what it is. count: registers.

    text: empty for numbers; `one` character a register, in its low byte; `two`, high byte first.
    expect: what it must say; empty where no source tells it. The first answer is then kept.
    """

    register: Register
    count: int
    text: str = ""
    expect: tuple[int, ...] = ()
    expect_text: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one read may ask for, and how far apart two things may be to share it."""

    registers: int = 125
    bits: int = 2_000
    hole_registers: int = 0
    hole_bits: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """What a unit asks of the master's timing, beside the line's own arithmetic.

    answer_ms: the longest it takes before it begins to answer. between_ms: silence it needs between
    its answer and the next request to it. settle_ms: the same after a setting was written.
    frame_ms: the silence that ends a frame, where it is longer than 3.5 characters.
    """

    answer_ms: int = 100
    between_ms: int = 0
    settle_ms: int = 0
    frame_ms: int = 0


@dataclass(frozen=True, slots=True)
class SerialDefaults:
    """How a unit leaves the factory; `scan` tries this first. None: no source tells it."""

    baud: int | None = None
    parity: str | None = None
    stop_bits: int | None = None
    unit: int | None = None


@dataclass(frozen=True, slots=True)
class EventLog:
    """A log inside the unit that is read oldest first and acknowledged by number (Bolid).

    read: the oldest unread event, `count` registers. acknowledge: its number is written there.
    codes: pairs of an event code and the flag it sets (`granted`, `denied` …); the flag becomes a
    press of the channel `<flag>-<zone>`. zone_field: the type number of the field with the zone.
    """

    unread: Register
    read: Register
    count: int
    acknowledge: Register
    zone_field: int
    codes: tuple[tuple[int, str], ...] = ()

    def flag(self, code: int) -> str | None:
        """The flag an event code sets; None for a code that says nothing here."""
        return dict(self.codes).get(code)


@dataclass(frozen=True, slots=True)
class Profile:
    """One model of unit."""

    id: str
    vendor: str
    model: str
    verified: bool
    source: str
    transports: tuple[str, ...] = ("rtu", "rtu-over-tcp")
    serial: SerialDefaults = SerialDefaults()
    timing: Timing = Timing()
    limits: Limits = Limits()
    identity: IdentityRule | None = None
    uptime: Register | None = None
    inputs: tuple[InputChannel, ...] = ()
    outputs: tuple[OutputChannel, ...] = ()
    settings: tuple[Setting, ...] = ()
    event_log: EventLog | None = None
    unverified: tuple[str, ...] = ()

    def input(self, name: str) -> InputChannel:
        """The input of that name; KeyError names an unknown one."""
        for channel in self.inputs:
            if channel.name == name:
                return channel
        raise KeyError(name)

    def output(self, name: str) -> OutputChannel:
        """The output of that name; KeyError names an unknown one."""
        for channel in self.outputs:
            if channel.name == name:
                return channel
        raise KeyError(name)
