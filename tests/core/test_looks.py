"""Buttons on a unit as a gateway sees them: by looks, whose levels and counts are never as old.

Waveforms go through a unit's filter and counter, and its Readings through the Monitor: whatever
falls between two looks, one press is told once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import Contact
from gateway.core.model import US_PER_MS, Count, Level, Reading
from gateway.core.monitor import Confirmed, Item, Monitor
from gateway.core.premises import Input, Point, PointKind
from simulators.building.waveforms import Shape, edges

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=400)
NORMAL, ACTIVE = Level.NORMAL, Level.ACTIVE
SECOND_US = 1_000_000
NO, NC = "hall/input-1", "hall/input-2"
WIRES = {Contact.NORMALLY_OPEN: NO, Contact.NORMALLY_CLOSED: NC}
POINTS = [
    Point("hall", PointKind.PANIC, wired, prove_within_ms=None)
    for wired in (Input(NO), Input(None, NC), Input(NO, NC))
]
Move = tuple[int, str, bool]
"""When a wire closes (True) or opens."""
Look = tuple[int, bool]
"""When a unit is asked, for its levels (True) or its counters."""


@dataclass
class Line:
    """A unit's two contacts as its own filter of 10 ms has them, and a gateway that looks.

    A look is one request for levels and one for counters, in either order; each may take long.
    """

    point: Point
    edges: list[Move]

    def seen(self, address: str, at_us: int) -> tuple[Level, int]:
        """Level and closings of an input as the unit has them at that moment."""
        rest = address == NC
        level, wire, since_us, closings = rest, rest, -SECOND_US, 0
        ends = [*self.edges, (at_us, address, wire)]
        for edge_us, wired, closed in ends:
            if wired != address:
                continue
            moment_us = min(edge_us, at_us)
            if wire is not level and moment_us - since_us >= 10 * US_PER_MS:
                level, closings = wire, closings + wire
            if edge_us >= at_us:
                break
            wire, since_us = closed, edge_us
        return (ACTIVE if level is not rest else NORMAL), closings

    def told(self, looks: Iterable[Look]) -> list[Confirmed]:
        """The presses that a monitor tells; it is told every change, and woken when it asks."""
        monitor, found = Monitor(self.point, proved_us=0), list[Item]()
        shown: dict[str, tuple[Level, int]] = {}
        for at_us, levels in looks:
            while (due_us := monitor.deadline()) is not None and due_us <= at_us:
                found += monitor.wake(due_us)
            for address in self.point.input.addresses:
                level, closings = self.seen(address, at_us)
                before = shown.get(address, (NORMAL, 0))
                now = (level, before[1]) if levels else (before[0], closings)
                if shown.get(address) != now:
                    shown[address] = now
                    reading = Reading(address, now[0], at_us, Count(now[1], 32, at_us // SECOND_US))
                    found += monitor.feed(reading)
        found += monitor.wake(at_us + 9 * SECOND_US)
        assert monitor.level is NORMAL
        return [item for item in found if isinstance(item, Confirmed) and item.level is ACTIVE]


def looked(poll_us: int, apart_us: int, until_us: int, dice: Random) -> list[Look]:
    """Looks for so long: levels, and `apart_us` later counters, or the other way round."""
    first, looks, at_us = dice.random() < 0.6, list[Look](), 0
    while at_us < until_us:
        late_us = dice.randint(0, dice.choice((1, 1, 160_000)))
        looks += [(at_us + late_us, first), (at_us + late_us + apart_us, not first)]
        at_us = max(at_us + poll_us, at_us + late_us + apart_us + 1_000)
    return looks


def pressed_at(
    moments_us: Iterable[int], shape: Shape, dice: Random
) -> list[tuple[int, str, bool]]:
    """The edges of presses that begin then."""
    made = []
    for moment_us in moments_us:
        played = edges(shape, press_ms=dice.randint(40, 500), random=dice, pair=True)
        made += [(moment_us + one.at_us, WIRES[one.contact], one.closed) for one in played]
    return made


@CAREFULLY
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([Shape.CLEAN, Shape.BOUNCE]),
    point=st.sampled_from(POINTS),
    poll_us=st.sampled_from([50_000, 200_000, 300_000]),
    apart_us=st.integers(5_000, 40_000),
)
def test_press_that_bounces_is_told_once_at_every_phase_of_the_looks(
    seed: int, shape: Shape, point: Point, poll_us: int, apart_us: int
) -> None:
    """By its counter or by its level, whichever is ahead: one press is told once, and never more.

    With each press a second after the last one was over: none is taken for the one before.
    """
    dice = Random(seed)
    begins, at_us = list[int](), 3 * SECOND_US
    for _ in range(4):
        begins.append(at_us + dice.randrange(poll_us))
        at_us = begins[-1] + SECOND_US + 600_000
    line = Line(point, pressed_at(begins, shape, dice))
    counted = max(line.seen(address, at_us + SECOND_US)[1] for address in point.input.addresses)
    told = line.told(looked(poll_us, apart_us, at_us + 3 * SECOND_US, dice))
    assert len(told) == counted
    assert counted == 4 or shape is Shape.BOUNCE


@CAREFULLY
@given(
    seed=st.integers(0, 10**6),
    point=st.sampled_from(POINTS),
    poll_us=st.sampled_from([50_000, 200_000]),
    rest_ms=st.integers(200, 1_500),
)
def test_presses_of_a_long_train_are_each_told(
    seed: int, point: Point, poll_us: int, rest_ms: int
) -> None:
    """As close to each other as presses on a wire are told apart: 200 ms of rest between two.

    What is told here is what an alarm is raised for while none is open: not one may be missed.
    """
    dice = Random(seed)
    moves, at_us = list[Move](), 3 * SECOND_US
    for _ in range(30):
        moves += pressed_at([at_us], Shape.CLEAN, dice)
        at_us = moves[-1][0] + 1 + (rest_ms + dice.randrange(100)) * US_PER_MS
    line = Line(point, sorted(moves))
    told = line.told(looked(poll_us, 25_000, at_us + 3 * SECOND_US, dice))
    assert len(told) == 30
