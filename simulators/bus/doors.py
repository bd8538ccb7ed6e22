"""A door with physics: a leaf, a lock, people on both sides, and the contacts that tell of them.

Owns one leaf and what moves it. The lock is free or not by its output, by the iron beside the
gateway (the handle, the exit button in the lock's supply, the fire panel) and by the controller's
own grant; what the gateway believes plays no part.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from random import Random

from gateway.clock import Clock, Timer
from gateway.core.hardware import FIRE_HARDWIRED, Door, DoorContact, Egress
from gateway.core.premises import Point
from simulators.building.playing import Playing
from simulators.bus.parts import Contact, Relay

PASS_MS = 3_000
"""How long a person lets a door stand open on the way through. Assumed."""
EXIT_MS = 3_000
"""How long an exit button in the lock's supply keeps the lock free after it is let go. Assumed."""
PRESS_MS = 400
"""How long an exit button is pressed, and a controller shows a flag. Assumed."""
_REBOUNDS = (0, 3)
_REBOUND_US = (5_000, 40_000)
"""A leaf that falls to jumps open again so often, for so long. Assumed."""


class DoorVerb(StrEnum):
    """What can be done to a door."""

    OPEN = "open"
    FORCE = "force"
    CLOSE = "close"
    HOLD = "hold"
    EXIT = "exit"
    BADGE = "badge"
    DENY = "deny"


class SimulatedDoor:
    """One door, closed at first.

    leaf: moves the point's own contacts, told True while open. contact, relay: the wire and the
    output at an address. fire: True while the fire panel is active. powered: True while the unit
    that drives the lock has power, and can free it at the exit button by itself.
    """

    def __init__(
        self,
        point: Point,
        *,
        leaf: Callable[[bool], None],
        contact: Callable[[str], Contact],
        relay: Callable[[str], Relay],
        fire: Callable[[], bool],
        powered: Callable[[], bool],
        clock: Clock,
        random: Random,
    ) -> None:
        """`point` is of kind door. Raises ValueError for an address that is nowhere."""
        assert point.door is not None
        self.id = point.id
        self.open_now = False
        self._door: Door = point.door
        self._leaf = leaf
        self._fire = fire
        self._powered = powered
        self._clock = clock
        self._random = random
        self._wires = {name: contact(one.address) for name, one in self._door.contacts.items()}
        for name, wire in self._wires.items():
            wire.rest(closed=self._door.contacts[name].closed_at_rest)
        self._relay = relay(self._door.lock) if self._door.lock else None
        if self._relay is not None:
            self._relay.watch(self.settle)
        self._free_until_us = 0
        self._moving: Playing | None = None
        self._closer: Timer | None = None
        self._held: Timer | None = None
        leaf(False)

    # --- what is so -------------------------------------------------------------------------

    @property
    def free(self) -> bool:
        """True while the lock lets the leaf move, whoever freed it."""
        return (
            self._freed_by_output()
            or self._clock.now_us() < self._free_until_us
            or (self._door.fire_release == FIRE_HARDWIRED and self._fire())
        )

    @property
    def can_leave(self) -> bool:
        """True when a person inside would get out now, by hand, button or a free lock."""
        return self.free or self._door.egress is Egress.HANDLE or self._button_frees()

    def told(self) -> dict[str, str]:
        """Leaf and lock in words."""
        return {
            "leaf": "open" if self.open_now else "closed",
            "lock": "free" if self.free else "locked",
        }

    def _button_frees(self) -> bool:
        """True where the exit button frees the lock, without the gateway."""
        by_unit = self._door.egress is Egress.UNIT and self._powered()
        return by_unit or self._door.egress is Egress.HARDWIRED

    def _freed_by_output(self) -> bool:
        """By the gateway's output; a door without one is free, unless a controller guards it."""
        if self._relay is None:
            return not (self._door.granted or self._door.denied)
        return self._relay.on is self._door.energised(released=True)

    # --- what people do ---------------------------------------------------------------------

    async def do(self, verb: str, *, for_ms: int = PASS_MS) -> bool:
        """Do what a word says; True when it worked. Raises ValueError for an unknown word."""
        if verb not in set(DoorVerb):
            raise ValueError(f"a door can {', '.join(DoorVerb)}, not {verb!r}")
        match DoorVerb(verb):
            case DoorVerb.OPEN:
                return await self.open(for_ms=for_ms)
            case DoorVerb.FORCE:
                return await self.force()
            case DoorVerb.CLOSE:
                return await self.close()
            case DoorVerb.HOLD:
                return await self.hold()
            case DoorVerb.EXIT:
                return await self.exit(for_ms=for_ms)
            case DoorVerb.BADGE | DoorVerb.DENY:
                return await self.badge(granted=verb == DoorVerb.BADGE)

    async def open(self, *, inside: bool = False, for_ms: int | None = PASS_MS) -> bool:
        """Try to open it; it falls to again by itself after `for_ms`, None leaves it open.

        inside: from the side people leave by, where a handle may be enough.
        """
        handle = inside and self._door.egress is Egress.HANDLE
        if not (self.open_now or self.free or handle):
            return False
        await self._swing(is_open=True)
        if for_ms is not None:
            self._closer = self._clock.call_at(
                self._clock.now_us() + for_ms * 1_000, self._fall_to, relaxed=True
            )
        return True

    async def hold(self) -> bool:
        """Open it and keep it open, until it is closed by hand."""
        return await self.open(inside=True, for_ms=None)

    async def force(self) -> bool:
        """Break it open; it stays so. A controller with an eye of its own says so."""
        await self._swing(is_open=True)
        self._flag("forced", on=True)
        return True

    async def close(self) -> bool:
        """Push it to."""
        await self._swing(is_open=False)
        return True

    async def exit(self, *, for_ms: int | None = PASS_MS) -> bool:
        """Press the exit button, if there is one, and leave; True when the person got out.

        A button in the lock's supply or on the unit frees the lock itself.
        """
        self._flag("request_to_exit", on=True)
        if self._button_frees():
            self._set_free((PRESS_MS + EXIT_MS) * 1_000)
        await self._clock.sleep(PRESS_MS / 1e3)
        self._flag("request_to_exit", on=False)
        return await self.open(inside=True, for_ms=for_ms)

    async def badge(self, *, granted: bool = True) -> bool:
        """Show the door's own controller a card; it says what it decides, and frees the lock."""
        flag = "granted" if granted else "denied"
        self._flag(flag, on=True)
        if granted:
            self._set_free(self._door.unlock_ms * 1_000)
        await self._clock.sleep(PRESS_MS / 1e3)
        self._flag(flag, on=False)
        return granted

    def settle(self) -> None:
        """Show by the bolt's contact whether the lock is free; told when anything of it changed."""
        self._flag("bolt", on=self.free)

    # --- how it moves -----------------------------------------------------------------------

    async def _swing(self, *, is_open: bool) -> None:
        playing = self._set_leaf(is_open=is_open)
        if playing is not None:
            await playing.done

    def _fall_to(self) -> None:
        self._closer = None
        self._set_leaf(is_open=False)

    def _set_leaf(self, *, is_open: bool) -> Playing | None:
        """Begin to move the leaf; None where it is so already."""
        if self._closer is not None:
            self._closer.cancel()
            self._closer = None
        if is_open is self.open_now:
            return None
        self.open_now = is_open
        if self._moving is not None:
            self._moving.stop()
        rebounds = self._random.randint(*_REBOUNDS)
        at_us, show = 0, is_open
        steps = [(0, partial(self._leaf, show))]
        for _ in range(0 if is_open else 2 * rebounds):
            at_us += self._random.randint(*_REBOUND_US)
            show = not show
            steps.append((at_us, partial(self._leaf, show)))
        self._watch_held(is_open=is_open)
        if not is_open:
            self._flag("forced", on=False)
        self._moving = Playing(self._clock, steps)
        return self._moving

    def _watch_held(self, *, is_open: bool) -> None:
        """A controller that watches for doors held open has its own clock."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
        if is_open and self._door.held is not None and self._door.held_after_ms is not None:
            due_us = self._clock.now_us() + self._door.held_after_ms * 1_000
            self._held = self._clock.call_at(due_us, partial(self._flag, "held", on=True))
        else:
            self._flag("held", on=False)

    def _set_free(self, for_us: int) -> None:
        self._free_until_us = max(self._free_until_us, self._clock.now_us() + for_us)
        self.settle()
        self._clock.call_at(self._free_until_us, self.settle, relaxed=True)

    def _flag(self, name: str, *, on: bool) -> None:
        """Show one of the door's other contacts; harmless where it has none of that name."""
        wired: DoorContact | None = self._door.contacts.get(name)
        if wired is not None:
            self._wires[name].wire(closed=wired.closed_at_rest is not on)
