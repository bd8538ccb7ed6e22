"""What a scan asks, in which order, and what it makes of what it hears. Pure; only reads.

Owns addresses, speeds, the questions put to a unit that was found, and the news a scan tells. Who
sends them is `scan.py`; which model a unit is, is `recognise.py`'s to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from drivers.modbus.wire.request import Read
from gateway.core.hardware import Bus, Parity
from gateway.core.model import Json
from gateway.core.plain import from_plain, to_plain
from gateway.core.profile import Profile, Table

EVERY_UNIT = tuple(range(1, 248))
"""The addresses a unit on a line may have (MODBUS over Serial Line V1.02, 2.2)."""

BOARD = 255
"""What a board with a network socket calls itself (Messaging on TCP/IP V1.0b, 4.4.1.2)."""

PING = Read(Table.HOLDING, 0)
"""The cheapest read that a unit of any model answers, be it with an exception."""

ANSWER_MS = 30
"""How long a unit may think before it begins to answer: boards take 2 to 15 ms, a Bolid 7."""

NETWORK_ANSWER_MS = 500
"""The same behind a gateway, which waits for the unit in its turn."""

UNHEARD_CODES = frozenset({10, 11})
"""Exceptions by which a TCP gateway says that nobody answered it (V1.1b3, 7)."""

_MOST_ANSWER_MS = 10_000
_MOST_QUESTIONS = 64
_MOST_TRIES = 5
_STEADY_SHARE = 0.75
_NOISY_SHARE = 0.1
_FEWEST_HEAPS = 3


@dataclass(frozen=True, slots=True)
class Speed:
    """How characters go over a line."""

    baud: int
    parity: Parity = Parity.NONE
    stop_bits: int = 2

    def __str__(self) -> str:
        """As everybody writes it: `9600 8N2`."""
        return f"{self.baud} 8{self.parity.value[0].upper()}{self.stop_bits}"


_COMMON_BAUDS = (9_600, 19_200, 115_200, 38_400, 57_600, 4_800, 2_400, 1_200)
_COMMON_ENDS = ((Parity.NONE, 2), (Parity.EVEN, 1), (Parity.ODD, 1), (Parity.NONE, 1))
COMMON_SPEEDS = tuple(
    Speed(baud, parity, stop_bits) for baud in _COMMON_BAUDS for parity, stop_bits in _COMMON_ENDS
)
"""What units can be set to, likeliest first: all that a configuration may name but odd mixtures."""


def speed_of(bus: Bus) -> Speed:
    """The speed a bus is configured for."""
    return Speed(bus.baud, bus.parity, bus.stop_bits)


def factory_speeds(profiles: Iterable[Profile]) -> tuple[Speed, ...]:
    """How units leave the factory, the commonest first, the slower first among equals.

    A profile that knows its baud rate only adds nothing where another has told the rest.
    """
    told: Counter[Speed] = Counter()
    half: list[Speed] = []
    for profile in profiles:
        serial = profile.serial
        if serial.baud is None:
            continue
        parity = Parity(serial.parity) if serial.parity else Parity.NONE
        if serial.parity is None or serial.stop_bits is None:
            half.append(Speed(serial.baud, parity, serial.stop_bits or 1))
        else:
            told[Speed(serial.baud, parity, serial.stop_bits)] += 1
    known = {speed.baud for speed in told}
    told.update(speed for speed in half if speed.baud not in known)
    return tuple(sorted(told, key=lambda speed: (-told[speed], speed.baud, -speed.stop_bits)))


def in_turn(*speeds: Sequence[Speed]) -> tuple[Speed, ...]:
    """All of them in their order, each once."""
    return tuple(dict.fromkeys(speed for some in speeds for speed in some))


def units_of(text: str) -> tuple[int, ...]:
    """Addresses from `1-32,40`, in that order, each once. ValueError says what would be right."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{part.strip()!r} is no address: write 1-32 or 1,5,40-44")
        for unit in range(int(first), int(last if dash else first) + 1):
            if unit not in EVERY_UNIT and unit != BOARD:
                raise ValueError(f"{unit} is no unit's address: 1 to 247, and 255 on Modbus TCP")
            found[unit] = None
        if dash and int(last) < int(first):
            raise ValueError(f"{part.strip()!r} runs backwards: write {last}-{first}")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Question:
    """A read for every unit that was found; `then` only for those that answer it."""

    read: Read
    then: tuple[Read, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """One walk over addresses. answer_ms: how long a unit may think. Raises ValueError.

    tries: how often a silent address is asked, 1 to 5; a request may be lost on a bad line. It
    comes from a desk through the control socket as well, hence its bounds.
    """

    units: tuple[int, ...] = EVERY_UNIT
    answer_ms: int = ANSWER_MS
    questions: tuple[Question, ...] = ()
    tries: int = 1

    def __post_init__(self) -> None:
        wrong = [unit for unit in self.units if unit not in EVERY_UNIT and unit != BOARD]
        if wrong:
            raise ValueError(f"unit {wrong[0]}: addresses are 1 to 247, and 255 on Modbus TCP")
        if not 1 <= self.answer_ms <= _MOST_ANSWER_MS:
            raise ValueError(f"answer_ms {self.answer_ms}: 1 to {_MOST_ANSWER_MS}")
        if not 1 <= self.tries <= _MOST_TRIES:
            raise ValueError(f"tries {self.tries}: 1 to {_MOST_TRIES}")
        if len(self.questions) > _MOST_QUESTIONS:
            raise ValueError(f"{len(self.questions)} questions: at most {_MOST_QUESTIONS}")


# --- news -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Progress:
    """About to ask `unit`. done, total: addresses at all speeds. left_ms: about so long to go."""

    speed: str
    unit: int
    found: int
    done: int
    total: int
    left_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a unit said to a question: its words, or the exception `code`."""

    read: Read
    words: tuple[int, ...] = ()
    code: int = 0


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """Something answered at an address. speed: None on Modbus TCP. late: only when waited for."""

    unit: int
    speed: Speed | None
    answers: tuple[Answer, ...] = ()
    late: bool = False


class DoubtKind(StrEnum):
    """What may be wrong with a line."""

    TWINS = "twins"
    WRONG_SPEED = "wrong-speed"
    NOISE = "noise"
    FLOOD = "flood"
    LATE = "late"
    ANY_ADDRESS = "any-address"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What was noticed at a speed, in words. unit: 0 where it concerns no single one."""

    kind: DoubtKind
    speed: str
    text: str
    unit: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The port went away, or its owner stops: no more news."""

    why: str


News: TypeAlias = Progress | FoundUnit | Doubt | Ended

_NEWS: dict[str, type[News]] = {
    "progress": Progress,
    "unit": FoundUnit,
    "doubt": Doubt,
    "ended": Ended,
}
_NAMES = {kind: name for name, kind in _NEWS.items()}


def told(news: News) -> dict[str, Json]:
    """News as plain JSON, for a socket."""
    return {_NAMES[type(news)]: to_plain(news)}


def heard(answer: Mapping[str, Json]) -> News | None:
    """What `told` made of it; None for another answer. Raises ValueError where it does not fit."""
    for name, kind in _NEWS.items():
        if name in answer:
            return from_plain(kind, answer[name])
    return None


# --- what may be wrong with a line ----------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What came of one address. lengths: of the heaps of bytes that held no frame.

    foreign: frames from it that nobody had asked for.
    """

    asked: int = 0
    answered: int = 0
    damaged: int = 0
    foreign: int = 0
    lengths: list[int] = field(default_factory=list)

    @property
    def crowded(self) -> bool:
        """True where a good share of what came from here was damaged, or came twice."""
        return self.wrong >= 2 and 3 * self.wrong >= self.asked

    @property
    def wrong(self) -> int:
        """How often what came from here was damaged, or came unasked."""
        return self.damaged + self.foreign


def doubts_of(tallies: Mapping[int, Tally], *, speed: str) -> tuple[Doubt, ...]:
    """What the tallies of one walk say about its line, by unit."""
    crowded = [unit for unit, tally in tallies.items() if tally.crowded]
    fine = [u for u, tally in tallies.items() if tally.answered and not tally.crowded]
    lengths = [length for tally in tallies.values() for length in tally.lengths]
    if not any(tally.answered for tally in tallies.values()):
        return _never_right(crowded, lengths, speed)
    wrong = sum(tallies[unit].wrong for unit in fine)
    calm = _NOISY_SHARE * sum(tallies[unit].asked for unit in fine) >= wrong
    if crowded and calm and len(crowded) <= max(1, len(fine)):
        return tuple(_twins(unit, len(fine), speed) for unit in crowded)
    if crowded or sum(bool(tally.lengths) for tally in tallies.values()) >= _FEWEST_HEAPS:
        text = (
            "bytes come damaged at several addresses: look at termination, bias and the common "
            "wire, then scan again"
        )
        return (Doubt(DoubtKind.NOISE, speed, text),)
    return ()


def _never_right(crowded: Sequence[int], lengths: Sequence[int], speed: str) -> tuple[Doubt, ...]:
    """Nothing was ever right at this speed."""
    if len(crowded) == 1:
        return (_twins(crowded[0], 0, speed),)
    if len(lengths) < _FEWEST_HEAPS:
        return ()
    length, times = Counter(lengths).most_common(1)[0]
    if times >= _STEADY_SHARE * len(lengths):
        text = (
            f"bytes come, mostly {length} at a time, and never right: something talks at another "
            "baud rate or parity"
        )
        return (Doubt(DoubtKind.WRONG_SPEED, speed, text),)
    text = "bytes come and are never right: noise, A and B swapped, or another speed"
    return (Doubt(DoubtKind.NOISE, speed, text),)


def _twins(unit: int, fine: int, speed: str) -> Doubt:
    others = f" while {fine} others are fine" if fine > 1 else " while another is fine"
    text = (
        f"what comes from address {unit} is damaged or comes twice{others if fine else ''}: look "
        "for two units with this address; unplug one and give it another"
    )
    return Doubt(DoubtKind.TWINS, speed, text, unit)
