"""The shape of a profile file, key by key: type, default, bounds and what it is for.

Owns the models, which are also the JSON Schema for editors. What takes two keys to see is
`profile_review.py`'s; how a family becomes channels is `unfold.py`'s.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config.document import matching, spelled_once, unique
from gateway.config.fields import Id, Section, Span, Text
from gateway.core.hardware import Parity, Transport
from gateway.core.profile import PulseKind, Table, When

WORD_MAX = 65_535
"""Addresses, and the value of one register, have 16 bits."""

ONCE = BeforeValidator(spelled_once)
Word = Annotated[int, Field(ge=0, le=WORD_MAX), ONCE]
Travels = Annotated[Transport, Field(strict=False)]
Family = Annotated[
    str,
    BeforeValidator(
        matching(
            r"(?=.{1,40}$)[a-z][a-z0-9*]*(-[a-z0-9*]+)*",
            "write a word such as input or relay; a star stands for the number of a group",
        )
    ),
]
Name = Annotated[
    str,
    BeforeValidator(matching(r"[a-z][a-z0-9_]{0,39}", "write a word of a-z, 0-9 and _")),
]
Flag = Annotated[
    str, BeforeValidator(matching(r"[a-z][a-z0-9]{0,30}", "write a word such as granted"))
]

_VERIFIED = "false: one community source, an excerpt or an assumption; check warns whoever uses it."


class RegisterSection(Section):
    """One place in the unit."""

    table: Table = Field(
        strict=False,
        description="coil (function 1), discrete (2), holding (3) or input (4).",
        examples=["holding"],
    )
    address: Word = Field(description="As on the wire, from 0.", examples=["104"])
    words: Annotated[int, Field(ge=1, le=4), ONCE] = Field(
        1, description="Registers it takes, 1 to 4."
    )
    low_word_first: bool = Field(False, description="Of several words the low one comes first.")
    bit: Annotated[int, Field(ge=0, le=63), ONCE] | None = Field(
        None, description="That bit of the value alone."
    )
    high_byte: bool = Field(False, description="The upper eight bits of the word alone.")
    verified: bool = Field(True, description=_VERIFIED)


class PlacesSection(Section):
    """Where the values of a whole family stand: from an address on, or one address each."""

    table: Table = Field(
        strict=False,
        description="coil (function 1), discrete (2), holding (3) or input (4).",
        examples=["discrete"],
    )
    address: Word | None = Field(None, description="Of the first channel, from 0.")
    step: Annotated[int, Field(ge=0, le=WORD_MAX), ONCE] | None = Field(
        None, description="From one channel to the next; else as many registers as one takes."
    )
    addresses: list[Word] | None = Field(
        None, min_length=1, description="One address for each channel, where no step leads to them."
    )
    mask: bool = Field(
        False, description="One value for all: the first channel is its bit 0, the next its bit 1."
    )
    words: Annotated[int, Field(ge=1, le=4), ONCE] = Field(
        1, description="Registers it takes, 1 to 4."
    )
    low_word_first: bool = Field(False, description="Of several words the low one comes first.")
    high_byte: bool = Field(False, description="The upper eight bits of the word alone.")
    verified: bool = Field(True, description=_VERIFIED)


class SilenceSection(Section):
    """What a register must hold for an output that shall keep, go on or go off in silence."""

    keep: Word | None = Field(None, description="For an output that shall stay as it is.")
    on: Word | None = Field(None, description="For an output that shall go on.")
    off: Word | None = Field(None, description="For an output that shall go off.")


class SettingSection(PlacesSection):
    """A register that must hold a value: read, written only if different, read back."""

    table: Table = Field(Table.HOLDING, strict=False, description="holding, or coil.")
    value: Word | None = Field(None, description="What it must hold.")
    when: Literal["always", "input-used", "person-operated", "output-used"] = Field(
        "always", description="Where it applies; person-operated: to an input that is a button."
    )
    in_silence: SilenceSection | None = Field(
        None,
        description="In the place of value and when: a value for each thing an output may be asked "
        "to do when the gateway falls silent. Always before_outputs.",
    )
    most: Word | None = Field(
        None, description="Anything up to it does as well, and is left alone."
    )
    before_outputs: bool = Field(
        False, description="No output of the unit moves before this reads back right."
    )
    blind: bool = Field(
        False, description="It cannot be read back: written at every start of the unit."
    )
    function: Literal[5, 6, 15, 16] | None = Field(
        None, description="Of the write; else 6 for a register and 5 for a coil."
    )

    @property
    def wanted(self) -> dict[When, int]:
        """What it must hold, by when that is so."""
        if self.in_silence is None:
            return {When(self.when): self.value or 0}
        said = self.in_silence
        pairs = ((When.SAFE_KEEP, said.keep), (When.SAFE_ON, said.on), (When.SAFE_OFF, said.off))
        return {when: value for when, value in pairs if value is not None}


class PulseSection(Section):
    """A timed output done inside the unit."""

    kind: PulseKind = Field(
        strict=False,
        description="timer: a mode and a time are written, then the output. "
        "flash: one function 5 whose value is the time.",
        examples=["timer"],
    )
    time: PlacesSection = Field(
        description="Where the time goes.", examples=["{table: holding, address: 1784}"]
    )
    unit: Annotated[str, Span("1ms", "60s")] = Field(
        description="What 1 lasts.", examples=["100ms"]
    )
    longest: Annotated[str, Span("100ms", "24h")] = Field(
        description="The longest it can do.", examples=["10m"]
    )
    mode: PlacesSection | None = Field(
        None, description="Of a timer: the register that chooses it."
    )
    mode_value: Word | None = Field(None, description="Of a timer: the mode of this pulse.")
    mode_off: Word = Field(0, description="Of a timer: the mode of none.")
    verified: bool = Field(True, description=_VERIFIED)


class FamilySection(Section):
    """Channels alike: `input` with count 8 is input-1 to input-8."""

    first: Annotated[int, Field(ge=0, le=1), ONCE] = Field(
        1, description="Number of the first, 0 or 1."
    )
    count: Annotated[int, Field(ge=1, le=1_000), ONCE] = Field(
        description="How many channels, 1 to 1000.", examples=["8"]
    )
    groups: Annotated[int, Field(ge=1, le=16), ONCE] = Field(
        1, description="So many such families: the star in the family's name is 1, 2, …"
    )
    group_step: Word = Field(0, description="From the addresses of one group to the next's.")
    settings: dict[Name, SettingSection] = Field(
        default={}, description="What must be written for these channels, in order."
    )
    verified: bool = Field(True, description=_VERIFIED)


class InputFamilySection(FamilySection):
    """Inputs alike: their levels, their counters, or both."""

    level: PlacesSection | None = Field(
        None, description="Closed where the value is not 0, or one of closed_codes."
    )
    inverted: bool = Field(False, description="0 means closed.")
    closed_codes: Annotated[list[Word], AfterValidator(unique)] = Field(
        default=[], description="The values that mean closed, where not simply all but 0."
    )
    unknown_codes: Annotated[list[Word], AfterValidator(unique)] = Field(
        default=[], description="The values that mean the unit itself cannot tell."
    )
    counter: PlacesSection | None = Field(
        None, description="Counts closings or edges; a press between two polls is not missed."
    )


class OutputFamilySection(FamilySection):
    """Outputs alike: where they are driven, and where their state is read back."""

    write: PlacesSection = Field(
        description="Where it is driven.", examples=["{table: coil, address: 0}"]
    )
    function: Literal[5, 6, 15, 16] | None = Field(
        None, description="Of the write; else 5 for a coil and 6 for a register."
    )
    on: Word = Field(1, description="What is written for on.")
    off: Word = Field(0, description="What is written for off.")
    state: PlacesSection | None = Field(None, description="Where its real state is read back.")
    pulse_on: PulseSection | None = Field(None, description="On by itself for a time.")
    pulse_off: PulseSection | None = Field(None, description="Off by itself for a time.")


class IdentitySection(Section):
    """Where a unit says what it is; the first answer is kept, so that a swapped unit shows."""

    table: Table = Field(strict=False, description="holding or input.", examples=["holding"])
    address: Word = Field(description="As on the wire, from 0.", examples=["200"])
    count: Annotated[int, Field(ge=1, le=125), ONCE] = Field(
        description="Registers, 1 to 125.", examples=["6"]
    )
    text: Literal["one", "two"] | None = Field(
        None, description="It is text: one character a register (in its low byte), or two."
    )
    expect: list[Word] = Field(default=[], description="The numbers it must say.")
    expect_text: Text | None = Field(None, description="The text it must say.")
    verified: bool = Field(True, description=_VERIFIED)


class SerialSection(Section):
    """How a unit leaves the factory; a key nobody tells is left out."""

    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] | None = Field(
        None, description="Bits per second."
    )
    parity: Parity | None = Field(None, strict=False, description="none, even or odd.")
    stop_bits: Literal[1, 2] | None = Field(None, description="1 or 2.")
    unit: Annotated[int, Field(ge=1, le=255), ONCE] | None = Field(
        None, description="Modbus address, 1 to 255."
    )


class TimingSection(Section):
    """What it asks of the master's timing, beside the line's own arithmetic."""

    answer: Annotated[str, Span("1ms", "10s")] = Field(
        "100ms", description="Longest before it begins to answer."
    )
    between: Annotated[str, Span("0ms", "5s")] = Field(
        "0ms", description="Silence between its answer and the next request to it."
    )
    settle: Annotated[str, Span("0ms", "10s")] = Field(
        "0ms", description="Silence after a setting was written."
    )
    frame: Annotated[str, Span("0ms", "1s")] = Field(
        "0ms", description="Silence that ends a frame, where longer than 3.5 characters."
    )


class LimitsSection(Section):
    """How much one read may ask for."""

    registers: Annotated[int, Field(ge=1, le=125), ONCE] = Field(
        125, description="Registers in one read, 1 to 125."
    )
    bits: Annotated[int, Field(ge=1, le=2_000), ONCE] = Field(
        2_000, description="Bits in one read, 1 to 2000."
    )
    hole_registers: Annotated[int, Field(ge=0, le=124), ONCE] = Field(
        0, description="Registers nobody wants that a read may cross."
    )
    hole_bits: Annotated[int, Field(ge=0, le=1_999), ONCE] = Field(
        0, description="Bits nobody wants that a read may cross."
    )


class EventLogSection(Section):
    """A log inside the unit, read oldest first and acknowledged by number."""

    unread: RegisterSection = Field(
        description="How many events wait.", examples=["{table: holding, address: 46162}"]
    )
    read: RegisterSection = Field(
        description="The oldest unread event.", examples=["{table: holding, address: 46264}"]
    )
    count: Annotated[int, Field(ge=1, le=125), ONCE] = Field(
        description="Registers of one event, 1 to 125.", examples=["14"]
    )
    acknowledge: RegisterSection = Field(
        description="Its number is written there.", examples=["{table: holding, address: 46163}"]
    )
    zone_field: Annotated[int, Field(ge=0, le=255), ONCE] = Field(
        description="Type number of the field that names the zone.", examples=["3"]
    )
    zones: Annotated[int, Field(ge=1, le=1_000), ONCE] = Field(
        description="Zones 1 to so many have a channel for every flag.", examples=["512"]
    )
    flags: dict[
        Flag, Annotated[list[Annotated[int, Field(ge=1, le=255), ONCE]], AfterValidator(unique)]
    ] = Field(
        min_length=1,
        description="Event codes of each flag; the flag is a press of the channel FLAG-ZONE.",
        examples=["{granted: [28]}"],
    )
    verified: bool = Field(True, description=_VERIFIED)


class ProfileFile(Section):
    """What the makers of a unit say of it. One file, one model."""

    id: Id = Field(description="The file's name without .yaml.", examples=["wb-mr6c"])
    like: Id | None = Field(
        None, description="Another profile: whatever this file leaves out stands as it is there."
    )
    vendor: Text = Field(description="Who makes it.", examples=["Wiren Board"])
    model: Text = Field(description="What it is called.", examples=["WB-MR6C"])
    source: Text = Field(description="Where the facts were read.", examples=["the maker's manual"])
    verified: bool = Field(
        description="Read in the maker's own words, recorded from a unit, or in two sources "
        "that agree; false: bench-test it first, and check warns.",
        examples=["false"],
    )
    transports: Annotated[list[Travels], AfterValidator(unique)] = Field(
        default=[Transport.RTU, Transport.RTU_OVER_TCP],
        min_length=1,
        description="rtu, rtu-over-tcp (behind a converter), tcp.",
    )
    serial: SerialSection = Field(SerialSection(), description="How it leaves the factory.")
    timing: TimingSection = Field(TimingSection(), description="How slow it is.")
    limits: LimitsSection = Field(LimitsSection(), description="How much it can be asked at once.")
    identity: IdentitySection | None = Field(None, description="Where it says what it is.")
    uptime: RegisterSection | None = Field(
        None, description="Seconds it has been running: shows a restart, when counters begin at 0."
    )
    settings: dict[Name, SettingSection] = Field(
        default={}, description="What must be written to the unit itself, in order."
    )
    inputs: dict[Family, InputFamilySection] = Field(
        default={}, description="Families of inputs, by the name their channels begin with."
    )
    outputs: dict[Family, OutputFamilySection] = Field(
        default={}, description="Families of outputs, by the name their channels begin with."
    )
    event_log: EventLogSection | None = Field(
        None, description="A log of events, acknowledged as it is read: nobody else may read it."
    )


ALWAYS_WRITTEN = ("id", "vendor", "model", "source", "verified")
"""Keys every profile has, unless it is `like` another."""


def schema() -> dict[str, Any]:
    """The JSON Schema of a profile; with `like`, only the id must stand in the file."""
    raw = ProfileFile.model_json_schema()
    raw["required"] = ["id"]
    raw["oneOf"] = [
        {"required": ["like"]},
        {"required": list(ALWAYS_WRITTEN), "not": {"required": ["like"]}},
    ]
    return raw
