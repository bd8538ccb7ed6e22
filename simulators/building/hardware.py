"""The building's buttons, doors and lamps on simulated iron: what the daemon's drivers run on.

Owns two things. `SimulatedPins` is a gpiozero factory that behaves as a real chip does where
gpiozero's mock does not. `Bench` is the wiring of one Premises on such pins and on the units of
its buses, with doors, fingers to press, pliers to cut, and a way to repair. Time comes from a
Clock, dice are seeded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin

from drivers.base import Contact
from drivers.pins import pin_number
from gateway.clock import Clock
from gateway.core.hardware import device_of
from gateway.core.premises import Point, PointKind, Premises
from simulators.building.playing import Playing
from simulators.building.waveforms import NC, NO, Edge, Shape, edges, rests_closed
from simulators.bus.doors import SimulatedDoor
from simulators.bus.parts import Contact as Wired
from simulators.bus.parts import Relay
from simulators.bus.plant import Plant

_PI_3B = "a02082"


class SimulatedPin(MockPin):  # type: ignore[misc]  # gpiozero ships no types
    """One pin with a wire on it that is closed to ground or open.

    Differs from gpiozero's mock as a chip does: the wire outlives the program that used the pin,
    a pull changes what is read only while the wire is open, and neither a pull nor asking for
    edges makes an edge. Edges of all pins are told one after another, whoever moves the wires.
    """

    _state: bool
    _pull: str
    _function: str

    def __init__(self, factory: SimulatedPins, info: Any) -> None:
        super().__init__(factory, info)
        self._wire_closed = False
        self._failing = False
        self._watching: list[Callable[[], None]] = []

    @property
    def wire_closed(self) -> bool:
        """True while the wire is closed to ground."""
        return self._wire_closed

    def wire(self, *, closed: bool, seen: bool = True) -> None:
        """Close the wire to ground or open it; from any thread.

        seen False: the level changes and the edge is lost, as when the kernel's queue is full.
        """
        with self.factory.one_at_a_time:
            self._wire_closed = closed
            if self._settle() and seen:
                self._tell()

    def rest(self, *, closed: bool) -> None:
        """How the wire is before anybody listens."""
        self.wire(closed=closed)

    @property
    def on(self) -> bool:
        """True while it is driven as an output."""
        return self._function == "output" and self._state

    def watch(self, told: Callable[[], None]) -> None:
        """Call `told` whenever it is driven otherwise."""
        self._watching.append(told)

    def fail(self, *, failing: bool) -> None:
        """Make every read and write of this pin raise OSError, until told otherwise."""
        self._failing = failing

    def _settle(self) -> bool:
        """Read the wire against the pull; True when the level is another than before."""
        if self._function != "input":
            return False
        before = self._state
        pulled = {"up": True, "down": False}.get(self._pull, before)
        self._state = False if self._wire_closed else pulled
        return before != self._state

    def _tell(self) -> None:
        """Call whoever asked for edges, as lgpio's thread does: an exception is its last act."""
        rising = "rising" if self._state else "falling"
        reference = self._when_changed
        handler = None if reference is None else reference()
        if handler is None or self._edges not in {"both", rising} or self.factory.deaf:
            return
        try:
            handler(self.factory.ticks(), self._state)
        except Exception:  # noqa: BLE001 - whatever it is, it ends the thread
            self.factory.deaf = True

    def close(self) -> None:
        """Give the pin back: an input that tells nobody, without a pull of our making."""
        super().close()
        self._pull = self.info.pull or "floating"

    # gpiozero's override points, called by the properties of its Pin.

    def _get_state(self) -> bool:
        if self._failing:
            self._maybe_fail()
        return self._state

    def _set_state(self, value: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        self._maybe_fail()
        super()._set_state(value)

    state = property(_get_state, _set_state)  # as gpiozero's, with one call less

    def _change_state(self, value: bool) -> bool:  # noqa: FBT001 - gpiozero's signature
        """Only outputs come here. The mock's endless record of states is not kept."""
        changed = self._state != value
        self._state = value
        if changed:
            self._driven()
        return changed

    def _set_function(self, value: str) -> None:
        before = self.on
        super()._set_function(value)
        if value == "output":
            self._state = False
        if before is not self.on:
            self._driven()

    def _driven(self) -> None:
        for told in self._watching:
            told()

    def _set_pull(self, value: str) -> None:
        if self.info.pull and value != self.info.pull:
            super()._set_pull(value)  # raises PinFixedPull
        self._pull = value
        self._settle()

    def _maybe_fail(self) -> None:
        if self._failing:
            raise OSError(f"{self!r} does not answer (simulated)")


class SimulatedPins(MockFactory):  # type: ignore[misc]  # gpiozero ships no types
    """A gpiozero factory whose edges are stamped by `now_us` and whose wires stay after `close`.

    deaf: True once a callback has raised; from then on no edge of any pin is told, as with lgpio.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        """now_us: monotonic microseconds, the gateway's own clock or a simulated one."""
        super().__init__(revision=_PI_3B, pin_class=SimulatedPin)
        self._now_us = now_us
        self._by_address: dict[str, SimulatedPin] = {}
        self.one_at_a_time = threading.RLock()
        self.deaf = False

    def ticks(self) -> float:
        """Seconds on the same clock as `now_us`, which is what lgpio's stamps are."""
        return self._now_us() / 1e6

    def at(self, address: str) -> SimulatedPin:
        """The pin of an address such as `gpio:17`; raises DriverError or PinInvalidPin."""
        pin = self._by_address.get(address)
        if pin is None:
            pin = self._by_address[address] = self.pin(pin_number(address))
        return pin

    def close(self) -> None:
        """Give the pins back as inputs without a pull; their wires stay as they are."""
        for pin in self.pins.values():
            pin.close()
        self.deaf = False


class Bench:
    """The building's buttons, doors and lamps, wired to simulated pins and units and at rest.

    random decides bounce and travel times, so one seed presses the same way twice. Damage lasts
    until `repair`. Points may be pressed at the same time; presses of one point wait in turn.
    pins, plant: the iron itself, on the board and on the buses. doors: by the id of their point.
    """

    def __init__(
        self,
        premises: Premises,
        pins: SimulatedPins,
        *,
        clock: Clock,
        random: Random,
        plant: Plant | None = None,
    ) -> None:
        """plant: None makes one of what the premises have on buses."""
        self.pins = pins
        self._clock = clock
        self._random = random
        if plant is None:
            seed = random.random() if premises.buses else 0
            plant = Plant(premises, clock=clock, random=Random(seed))
        self.plant = plant
        self._points = {point.id: point for point in premises.points}
        self._forced: dict[str, dict[Contact, bool]] = {name: {} for name in self._points}
        self._held: dict[str, bool] = dict.fromkeys(self._points, False)
        self._turns = {name: asyncio.Lock() for name in self._points}
        self._fire_wires = [
            (self.contact(address), rests_closed(contact), contact, self._forced[point.id])
            for point in premises.points
            if point.kind is PointKind.FIRE
            for contact, address in _wired(point)
        ]
        self.doors: dict[str, SimulatedDoor] = {}
        for point in self._points.values():
            for contact, address in _wired(point):
                self.contact(address).rest(closed=rests_closed(contact))
        for point in self._points.values():
            if point.door is not None:
                self.doors[point.id] = self._hang(point)

    def _hang(self, point: Point) -> SimulatedDoor:
        return SimulatedDoor(
            point,
            leaf=partial(self._leaf, point),
            contact=self.contact,
            relay=self.relay,
            fire=lambda: self.fire,
            powered=partial(self._powered, point),
            clock=self._clock,
            random=Random(self._random.random()),
        )

    def _powered(self, point: Point) -> bool:
        """True while the unit of a door's lock has power; a pin always has."""
        device = device_of(point.door.lock) if point.door and point.door.lock else None
        return device is None or not self.plant.unit(device).lifeless()

    def contact(self, address: str) -> Wired:
        """The wire at an address, of a pin or of a unit. Raises ValueError, DriverError."""
        if device_of(address) is None:
            pin: Wired = self.pins.at(address)
            return pin
        return self.plant.contact(address)

    def relay(self, address: str) -> Relay:
        """The output at an address, of a pin or of a unit. Raises ValueError, DriverError."""
        if device_of(address) is None:
            pin: Relay = self.pins.at(address)
            return pin
        return self.plant.output(address)

    def door(self, name: str) -> SimulatedDoor:
        """The door of that id. Raises ValueError that names what there is."""
        if name not in self.doors:
            raise ValueError(f"no door {name!r}; there are {', '.join(self.doors) or 'none'}")
        return self.doors[name]

    @property
    def fire(self) -> bool:
        """True while a fire panel's own relay is not as it rests; a damaged wire is no fire."""
        return any(
            wired.wire_closed is not at_rest
            for wired, at_rest, contact, forced in self._fire_wires
            if contact not in forced
        )

    @property
    def points(self) -> tuple[str, ...]:
        """The ids of all points, in the order of the configuration."""
        return tuple(self._points)

    async def press(self, point_id: str, shape: str = Shape.CLEAN, ms: int = 300) -> Shape:
        """Let `shape` happen to a point; returns once its last edge is played.

        ms: how long it is held, 20 or more (shapes that are no press ignore it). Raises
        ValueError that names what exists, for an unknown point or shape, a shape the point's
        wiring cannot have, and a button that is already held in.
        """
        point = self._point(point_id)
        chosen = _shape(shape)
        if point.door is not None and (chosen.pressed or not chosen.forced):
            raise ValueError(f"{point_id} is a door: open it, force it, or damage its wires only")
        async with self._turns[point_id]:
            if self._held[point_id] and (chosen.pressed or not chosen.forced):
                raise ValueError(f"{point_id} is held in (stuck): repair it first")
            played = edges(
                chosen,
                press_ms=ms,
                random=self._random,
                pair=point.input.pair,
                lone=NO if point.input.normally_open else NC,
            )
            self._forced[point_id].update(chosen.forced)
            self._held[point_id] = self._held[point_id] or chosen is Shape.STUCK
            for contact, closed in chosen.forced.items():
                self._wire(point, contact, closed=closed)
            await self._play(point, played)
        return chosen

    def repair(self, point_id: str) -> None:
        """Mend every wire of a point and let go of its button.

        Raises ValueError for an unknown point, and while a press of it is being played.
        """
        point = self._point(point_id)
        if self._turns[point_id].locked():
            raise ValueError(f"{point_id} is being pressed: repair it when that is over")
        self._forced[point_id].clear()
        self._held[point_id] = False
        self._rest(point)

    def damage(self, point_id: str) -> tuple[str, ...]:
        """What is wrong with a point, in words; empty when it is sound. Raises ValueError."""
        self._point(point_id)
        found = [
            f"{contact} {'shorted' if closed else 'cut'}"
            for contact, closed in sorted(self._forced[point_id].items())
        ]
        return (*found, *(["held in"] if self._held[point_id] else []))

    def lamp(self, address: str) -> bool:
        """True while the lamp at that address is lit. Raises ValueError when there is none."""
        lamps = [point.lamp for point in self._points.values() if point.lamp]
        if address not in lamps:
            raise ValueError(f"no lamp at {address}; there are {', '.join(lamps) or 'none'}")
        return self.relay(address).on

    def lamps(self) -> dict[str, bool]:
        """Every point that has a lamp, and whether it is lit."""
        return {p.id: self.lamp(p.lamp) for p in self._points.values() if p.lamp}

    def _point(self, point_id: str) -> Point:
        point = self._points.get(point_id)
        if point is None:
            raise ValueError(f"no point {point_id!r}; there are {', '.join(self._points)}")
        return point

    async def _play(self, point: Point, played: Sequence[Edge]) -> None:
        """Play a waveform on the contacts whose wires are sound."""
        forced = self._forced[point.id]
        steps = [
            (edge.at_us, partial(self._wire, point, edge.contact, closed=edge.closed))
            for edge in played
            if edge.contact not in forced
        ]
        try:
            await Playing(self._clock, steps).done
        except asyncio.CancelledError:
            self._held[point.id] = False
            self._rest(point)
            raise

    def _rest(self, point: Point) -> None:
        """Let go of the button; damaged wires stay as they are, an open door stays open."""
        door = self.doors.get(point.id)
        if door is not None:
            self._leaf(point, door.open_now)
            return
        for contact in (NO, NC):
            if contact not in self._forced[point.id]:
                self._wire(point, contact, closed=rests_closed(contact))

    def _leaf(self, point: Point, is_open: bool) -> None:  # noqa: FBT001 -- as a door tells it
        for contact in (NO, NC):
            if contact not in self._forced[point.id]:
                self._wire(point, contact, closed=rests_closed(contact) is not is_open)

    def _wire(self, point: Point, contact: Contact, *, closed: bool) -> None:
        wired = point.input
        address = wired.normally_open if contact is NO else wired.normally_closed
        if address is not None:
            self.contact(address).wire(closed=closed)
        if point.kind is PointKind.FIRE:
            for door in self.doors.values():
                door.settle()


def _wired(point: Point) -> list[tuple[Contact, str]]:
    """The contacts of a point that are wired, with their addresses."""
    both = ((NO, point.input.normally_open), (NC, point.input.normally_closed))
    return [(contact, address) for contact, address in both if address is not None]


def _shape(name: str) -> Shape:
    try:
        return Shape(name)
    except ValueError:
        raise ValueError(f"no shape {name!r}; there are {', '.join(Shape)}") from None
