"""What goes wrong with a unit and with a line, as values named by what they do.

A unit carries a list of faults, a line carries one LineTrouble. Dice are the simulation's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Silent:
    """It hears nothing and says nothing, as with its bus wires cut; it goes on by itself."""


@dataclass(frozen=True, slots=True)
class Unpowered:
    """Its supply is gone: silent, every relay falls off; well again, it starts anew."""


@dataclass(frozen=True, slots=True)
class Late:
    """Every answer comes so much later than the unit's own time, whatever else is said by then."""

    least_us: int
    most_us: int


@dataclass(frozen=True, slots=True)
class Refusing:
    """It answers with this exception: 6 busy, 4 failure … share: of the requests, 0 to 1."""

    code: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Forgetful:
    """So large a share of its answers never leaves it."""

    share: float


@dataclass(frozen=True, slots=True)
class Spoiling:
    """So large a share of its answers has one bit turned."""

    share: float


@dataclass(frozen=True, slots=True)
class Clipped:
    """The first byte of every answer is lost: the line's direction was switched back too late."""


@dataclass(frozen=True, slots=True)
class Padded:
    """Bytes that are no frame before and after every answer."""

    before: bytes = b"\x00"
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class Flooding:
    """It talks without being asked, every so often."""

    every_us: int
    data: bytes = bytes(range(0x50, 0x58))


@dataclass(frozen=True, slots=True)
class Impostor:
    """It says it is another model."""

    text: str = "OTHER"


@dataclass(frozen=True, slots=True)
class StuckOutputs:
    """Writes are acknowledged and no relay moves. outputs: those that stick, empty is all."""

    outputs: tuple[str, ...] = ()


Fault: TypeAlias = (
    Silent
    | Unpowered
    | Late
    | Refusing
    | Forgetful
    | Spoiling
    | Clipped
    | Padded
    | Flooding
    | Impostor
    | StuckOutputs
)


@dataclass(slots=True)
class LineTrouble:
    """What a line does to what is said on it.

    bit_error: chance that a byte has one bit turned. lost: chance that a byte is gone. noise:
    chance that a burst of 1 to 8 bytes of nothing goes before a piece of talk. echo: the adapter
    hears what it says itself.
    """

    bit_error: float = 0.0
    lost: float = 0.0
    noise: float = 0.0
    echo: bool = False

    @property
    def quiet(self) -> bool:
        """True when bytes come through as they were sent."""
        return not (self.bit_error or self.lost or self.noise)


def spoiled(faults: list[Fault], frame: bytes, random: Random) -> bytes:
    """A unit's frame as it leaves the unit with these faults."""
    for fault in faults:
        match fault:
            case Spoiling(share) if random.random() < share:
                frame = turned(frame, random.randrange(len(frame)), random)
            case Clipped():
                frame = frame[1:]
            case Padded(before, after):
                frame = before + frame + after
            case _:
                pass
    return frame


def turned(data: bytes, at: int, random: Random) -> bytes:
    """The same with one bit of the byte `at` turned."""
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def worn(trouble: LineTrouble, data: bytes, random: Random) -> bytes:
    """What arrives of `data` at the other ends of a line with this trouble."""
    if trouble.quiet:
        return data
    heard = bytearray()
    if random.random() < trouble.noise:
        heard += random.randbytes(random.randint(1, 8))
    for byte in data:
        if random.random() < trouble.lost:
            continue
        flip = 1 << random.randrange(8) if random.random() < trouble.bit_error else 0
        heard.append(byte ^ flip)
    return bytes(heard)
