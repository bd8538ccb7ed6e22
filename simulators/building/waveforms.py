"""What a button's contacts do over time: presses, bounce, interference, cut and shorted wires.

Pure: seeded dice in, edges out. Two families: `edges` for one named Shape on a point's contacts
(the simulated building plays these), and `pulse`, `spikes`, `emi_burst`, bare lists of moments
made fast enough for a million of them. Knows nothing of pins, drivers or time.

Figures of bounce: Jack Ganssle, "A Guide to Debouncing": over 18 types of switch the mean was
1.6 ms, the longest of an ordinary one 6.2 ms, and one bad switch bounced for 157 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from drivers.base import Contact

BOUNCE_MEAN_US = 1_600
BOUNCE_ORDINARY_US = 6_200
BOUNCE_WORST_US = 157_000
SPIKE_US = 3_000
"""The longest single spike that must not alarm, and below, the least quiet between two."""
SPIKE_GAP_US = 10_000
TRAVEL_US = (1_000, 5_000)
"""Time a change-over switch touches neither contact on its way (break before make). Assumed:
snap-action switches are quoted at a few milliseconds; no measurement was at hand."""
DAMAGE_TO_PRESS_US = 500_000
"""How long damage lies before the press of a `…-press` shape: well past the 200 ms after which a
disagreeing pair is a fault, so that the press meets a fault already known."""
EFT_BURST_US = 15_000
"""IEC 61000-4-4 (fast transients, what a switched motor puts on a cable): bursts of 15 ms, and
below, every 300 ms, of pulses at 5 kHz."""
EFT_PERIOD_US = 300_000
EFT_PULSE_PERIOD_US = 200

_STEADY_US = 8_000  # what is left between the two bounces of a press, however short the press
_SHORTEST_US = 20  # the shortest opening or closing made; a GPIO line sees less, but not reliably
_BOUNCE_STEP_US = 5_000  # the longest single opening within a long bounce
_BAD_SWITCHES = 0.2  # share of bad switches among those drawn: far too many, to meet them

NO = Contact.NORMALLY_OPEN
NC = Contact.NORMALLY_CLOSED


class Shape(StrEnum):
    """Named things that happen to a button. Damage comes alone and, as `…-press`, then pressed."""

    CLEAN = "clean"
    BOUNCE = "bounce"
    CHATTER = "chatter"
    GLITCH = "glitch"
    EMI = "emi"
    STUCK = "stuck"
    CUT_NO = "cut-no"
    CUT_NO_PRESS = "cut-no-press"
    CUT_NC = "cut-nc"
    CUT_NC_PRESS = "cut-nc-press"
    CUT_COMMON = "cut-common"
    CUT_COMMON_PRESS = "cut-common-press"
    SHORT_NO = "short-no"
    SHORT_NO_PRESS = "short-no-press"
    SHORT_NC = "short-nc"
    SHORT_NC_PRESS = "short-nc-press"

    @property
    def pressed(self) -> bool:
        """True when a person presses the button in it."""
        return self in _PRESSES or self.value.endswith("-press")

    @property
    def forced(self) -> Mapping[Contact, bool]:
        """What damaged wires read from now on, whatever the button does: True is closed."""
        return _FORCED.get(self.value.removesuffix("-press"), {})


_PRESSES = frozenset({Shape.CLEAN, Shape.BOUNCE, Shape.CHATTER, Shape.STUCK})
_FORCED: dict[str, Mapping[Contact, bool]] = {
    "cut-no": {NO: False},
    "cut-nc": {NC: False},
    "cut-common": {NO: False, NC: False},
    "short-no": {NO: True},
    "short-nc": {NC: True},
}


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """From `at_us` on this contact reads closed, or open."""

    at_us: int
    contact: Contact
    closed: bool


def rests_closed(contact: Contact) -> bool:
    """What a sound contact reads while nobody presses."""
    return contact is NC


def edges(
    shape: Shape,
    *,
    press_ms: int,
    random: Random,
    pair: bool,
    lone: Contact = NO,
) -> tuple[Edge, ...]:
    """What the inputs of one sound, resting button see when `shape` happens to it.

    press_ms: from the first touch to the last of a press, 20 or more (for emi: how long it goes
    on). pair: both contacts are wired; else only `lone`. Moments count from 0 and rise strictly;
    each edge changes what its contact read before. Raises ValueError.
    """
    if press_ms < 20:
        raise ValueError(f"press_ms is {press_ms}: a press here takes at least 20 ms")
    wired = (NO, NC) if pair else (lone,)
    if shape.forced and shape.forced.keys().isdisjoint(wired):
        raise ValueError(f"{shape}: this button has only its {lone} contact wired")
    press_us = press_ms * 1_000
    made: list[Edge] = []
    if shape is Shape.GLITCH:
        made = as_edges(spikes(1, SPIKE_US, SPIKE_GAP_US, random), random.choice(wired))
    elif shape is Shape.EMI:
        made = _interference(press_us, wired, random)
    elif shape.pressed:
        made = _press(shape, press_us, wired, random)
    if shape.forced:
        damage = [Edge(0, contact, closed) for contact, closed in shape.forced.items()]
        late = (Edge(e.at_us + DAMAGE_TO_PRESS_US, e.contact, e.closed) for e in made)
        made = damage + [edge for edge in late if edge.contact not in shape.forced]
    return _strict(edge for edge in made if edge.contact in wired)


def _press(shape: Shape, press_us: int, wired: tuple[Contact, ...], random: Random) -> list[Edge]:
    """A person's press: normally-closed opens first and closes last (break before make)."""
    made: list[Edge] = []
    both = len(wired) == 2
    there_us, back_us = (random.randint(*TRAVEL_US) if both else 0 for _ in range(2))
    for contact in wired:
        start_us = there_us if contact is NO else 0
        width_us = press_us if contact is NO else there_us + press_us + back_us
        chatters = shape is Shape.CHATTER and contact is wired[0]
        toggles = _chatter(width_us, random) if chatters else _contact(shape, width_us, random)
        made += as_edges([start_us + at for at in toggles], contact)
    return made


def _contact(shape: Shape, width_us: int, random: Random) -> list[int]:
    """One contact's moments over a press of `width_us`."""
    if shape is Shape.BOUNCE:
        room_us = (width_us - _STEADY_US) // 2
        return pulse(width_us, min(_bounce_us(random), room_us), random)
    return [0] if shape is Shape.STUCK else [0, width_us]


def _bounce_us(random: Random) -> int:
    """How long a switch drawn from the published ones bounces."""
    if random.random() < _BAD_SWITCHES:
        return random.randint(BOUNCE_ORDINARY_US, BOUNCE_WORST_US)
    return min(BOUNCE_ORDINARY_US, int(random.expovariate(1 / BOUNCE_MEAN_US)))


def _chatter(width_us: int, random: Random) -> list[int]:
    """A contact that never settles: closed 2 to 4 ms, open 1 to 3 ms, over and over.

    So it is closed at least 40 % of any 20 ms and never longer than 4 ms at a time.
    """
    toggles: list[int] = []
    at_us = 0
    while at_us < width_us - 4_000:
        opens_us = at_us + random.randint(2_000, 4_000)
        toggles += (at_us, opens_us)
        at_us = opens_us + random.randint(1_000, 3_000)
    return toggles


def _interference(length_us: int, wired: tuple[Contact, ...], random: Random) -> list[Edge]:
    """Spikes on the wires of one cable, now on one, now on the other, never dense."""
    count = 2 + length_us // (2 * SPIKE_GAP_US)
    toggles = spikes(count, SPIKE_US, SPIKE_GAP_US, random)
    made: list[Edge] = []
    for rise, fall in zip(toggles[::2], toggles[1::2], strict=True):
        made += as_edges([rise, fall], random.choice(wired))
    return made


def _strict(made: Iterable[Edge]) -> tuple[Edge, ...]:
    """In order of time, at least a microsecond apart, without edges that change nothing."""
    reads = {NO: False, NC: True}
    ordered: list[Edge] = []
    for edge in sorted(made):
        if reads[edge.contact] is edge.closed:
            continue
        reads[edge.contact] = edge.closed
        at_us = max(edge.at_us, ordered[-1].at_us + 1) if ordered else edge.at_us
        ordered.append(Edge(at_us, edge.contact, edge.closed))
    return tuple(ordered)


# --- bare moments, for properties and the benchmark -----------------------------------------
# A list of rising microseconds: the contact leaves its rest at the first, returns at the second …


def as_edges(toggles: Iterable[int], contact: Contact) -> list[Edge]:
    """Moments as Edges of a contact that rests until the first of them."""
    closed = rests_closed(contact)
    made = []
    for at_us in toggles:
        closed = not closed
        made.append(Edge(at_us, contact, closed))
    return made


def pulse(width_us: int, bounce_us: int, random: Random) -> list[int]:
    """One press of `width_us` from first touch to last, bouncing up to `bounce_us` at both ends.

    The bounces lie within the width. Raises ValueError when they do not fit into it.
    """
    if not 0 <= 2 * bounce_us < width_us:
        raise ValueError(f"two bounces of {bounce_us} us do not fit into {width_us} us")
    toggles = [0]
    if bounce_us:
        toggles += _bounce(bounce_us, random)
        toggles += [width_us - at for at in reversed(_bounce(bounce_us, random))]
    toggles.append(width_us)
    return toggles


def _bounce(bounce_us: int, random: Random) -> list[int]:
    """Openings after a first touch at 0: an even number of moments, the last ≤ `bounce_us`.

    Half of them go on for as long as they may, because that is where a rule breaks.
    """
    dice = random.random
    step_us = min(_BOUNCE_STEP_US, bounce_us // 3)
    end_us = bounce_us * min(1.0, 2 * dice())
    toggles: list[int] = []
    at_us = 0
    while True:
        opens_us = at_us + _SHORTEST_US + int(step_us * dice())
        at_us = opens_us + _SHORTEST_US + int(step_us * dice())
        if at_us > end_us:
            return toggles
        toggles += (opens_us, at_us)


def spikes(count: int, width_us: int, gap_us: int, random: Random) -> list[int]:
    """`count` spikes of at most `width_us`, with at least `gap_us` of rest between two.

    Half of the widths and of the gaps are exactly at their limit, because that is where a rule
    breaks.
    """
    dice = random.random
    toggles: list[int] = []
    at_us = 0
    for _ in range(count):
        draw = dice()
        end_us = at_us + (width_us if draw < 0.5 else 1 + int((width_us - 1) * (2 * draw - 1)))
        toggles += (at_us, end_us)
        draw = dice()
        at_us = end_us + (gap_us if draw < 0.5 else int(gap_us * (2 * draw)))
    return toggles


def emi_burst(
    random: Random,
    *,
    bursts: int = 1,
    burst_us: int = EFT_BURST_US,
    period_us: int = EFT_PERIOD_US,
) -> list[int]:
    """Bursts of interference on a long line, each up to `burst_us`, one every `period_us`.

    Half of them are pulses at 5 kHz, lit for a random share of each period; the other half are
    one solid closure of the whole burst, what an input with a slow filter makes of it.
    """
    dice = random.random
    toggles: list[int] = []
    for start_us in range(0, bursts * period_us, period_us):
        if dice() < 0.5:
            toggles += (start_us, start_us + burst_us)
            continue
        for at_us in range(start_us, start_us + burst_us - 179, EFT_PULSE_PERIOD_US):
            toggles += (at_us, at_us + 20 + int(160 * dice()))
    return toggles
