"""P7 at every moment: nobody is locked in, fire frees what it must, and nothing relocks by itself.

Looks at the simulated iron only: leaves, locks and relays, never at what the gateway believes. It
also counts every move of every output, for what a silent alarm must not do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from campaigns.sim.spans import ADAPTER, GATEWAY, UNIT, Spans
from simulators.bus.doors import SimulatedDoor
from simulators.virtual.year_world import YearWorld

US_PER_S = 1_000_000
FREED_US = 3 * US_PER_S
"""From the fire panel's contact to a free lock, over a bus that is well."""
BACK_US = 15 * US_PER_S
"""The same after the unit, its bus or the gateway was away: set up first, then driven."""
CALM_S = 5
"""How often doors are looked at while nothing moves, beside every move of any output."""


class Doors:
    """Every door of the world. `broken` is told what a promise was broken by."""

    def __init__(self, world: YearWorld, spans: Spans, broken: Callable[[str], None]) -> None:
        self._doors: dict[str, SimulatedDoor] = dict(world.bench.doors)
        self._clock = world.clock
        self._spans = spans
        self._broken = broken
        self._fire_us: int | None = None
        self._freed: set[str] = set()
        self.moves: dict[str, int] = {}
        self.looks = self._seconds = 0
        for unit in world.plant.units.values():
            for name, output in unit.outputs.items():
                self._follow(f"{unit.id}/{name}", output.watch)
        for point in world.premises.points:
            if point.lamp is not None:
                self._follow(point.lamp, world.bench.relay(point.lamp).watch)

    def _follow(self, address: str, watch: Callable[[Callable[[], None]], None]) -> None:
        self.moves[address] = 0
        watch(partial(self._moved, address))

    def _moved(self, address: str) -> None:
        """Looked at when all that moves at this moment has moved: power goes from all at once."""
        self.moves[address] += 1
        self._clock.call_at(self._clock.now_us(), partial(self._look, moved=True))

    def fire(self) -> None:
        """The fire panel is active from now on, until `reset`."""
        if self._fire_us is None:
            self._fire_us = self._spans.now_us()

    def reset(self) -> None:
        """The reset key is turned now, and no fire panel is active."""
        self._fire_us = None
        self._freed.clear()

    def wake(self) -> None:
        """Look at every door: every second in a fire, else now and then."""
        self._seconds += 1
        if self._fire_us is not None or self._seconds % CALM_S == 0:
            self._look(moved=False)

    def _look(self, *, moved: bool) -> None:
        self.looks += 1
        for name, door in self._doors.items():
            if not door.can_leave:
                self._broken(f"P7: nobody can leave by {name}: {door.told()}")
        if self._fire_us is None:
            return
        now_us = self._spans.now_us()
        over = self._spans.over_us
        ways_us = max(over(UNIT), over(ADAPTER), over(GATEWAY))
        well = ways_us < now_us
        due_us = max(self._fire_us + FREED_US, ways_us + BACK_US if ways_us else 0)
        for name, door in self._doors.items():
            if door.free:
                self._freed.add(name)
            elif moved and well and name in self._freed and now_us > ways_us + BACK_US:
                self._broken(f"P7: {name} was freed by fire and locked again by itself")
            elif now_us > due_us:
                self._broken(
                    f"P7: {name} is locked {(now_us - self._fire_us) // 1_000} ms into a fire"
                )
