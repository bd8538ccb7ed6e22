"""From a unit's values to Readings: levels, counters, and what its outputs really are. Pure.

Owns what was last handed over of every input. It judges no press: a counter's value goes out as it
is, with the unit's uptime wherever a restart could be mistaken for presses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from drivers.base import Contact, Output, Wire, level_of
from drivers.modbus.plan.blocks import Want
from drivers.modbus.unit.moves import is_on
from gateway.core.hardware import channel_of
from gateway.core.model import US_PER_MS, Count, Level, Reading
from gateway.core.profile import InputChannel, OutputChannel, Profile, Register

UPTIME = "uptime"
"""The key of the want for a unit's uptime."""

UPTIME_EVERY_US = 10_000_000
"""How often a unit is asked how long it runs when nothing calls for it."""

STATE_EVERY_US = 1_000_000
"""How often an output's real state is read when nothing calls for it."""

_WORD_BITS = 16
_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(slots=True)
class _Item:
    """One input, or one output's state. waits: not handed over before the uptime is known."""

    address: str
    contact: Contact
    channel: InputChannel | None
    output: OutputChannel | None = None
    keys: tuple[str, ...] = ()
    refused: list[str] = field(default_factory=list)
    level: Level | None = None
    count: int | None = None
    handed: tuple[Level, int | None] | None = None
    fresh: bool = True
    waits: bool = False

    @property
    def width(self) -> int:
        """Bits of its counter."""
        assert self.channel is not None
        assert self.channel.counter is not None
        register = self.channel.counter
        return 8 if register.high_byte else register.words * _WORD_BITS

    @property
    def counts(self) -> bool:
        """True while it has a counter that can be read."""
        return any(key.startswith("count:") and key not in self.refused for key in self.keys)

    @property
    def shows(self) -> bool:
        """True while it has a level that can be read."""
        return any(not key.startswith("count:") and key not in self.refused for key in self.keys)


class Points:
    """One unit's inputs and output states.

    wires, outputs: those of this unit. poll_us: how often inputs are read.
    """

    def __init__(
        self, profile: Profile, wires: Sequence[Wire], outputs: Sequence[Output], *, poll_us: int
    ) -> None:
        """Raises KeyError that names a channel the profile does not have."""
        self._uptime = profile.uptime
        self._can_tell = profile.uptime is not None
        self._items: list[_Item] = []
        self._seen: dict[str, int] = {}
        self._same: dict[int, Mapping[str, int]] = {}  # known by what they are, not what they hold
        self._waiting = False
        self._uncounted: list[str] = []
        self._wants: list[Want] = []
        for wire in wires:
            channel = profile.input(channel_of(wire.address))
            self._add(_Item(wire.address, wire.contact, channel), poll_us)
        for output in outputs:
            made = profile.output(channel_of(output.address))
            item = _Item(output.address, Contact.NORMALLY_OPEN, None, output=made)
            self._add(item, max(poll_us, STATE_EVERY_US))
        if profile.uptime is not None:
            self._wants.append(Want(UPTIME, profile.uptime, UPTIME_EVERY_US, high=False))

    @property
    def wants(self) -> tuple[Want, ...]:
        """What must be read for all this."""
        return tuple(self._wants)

    @property
    def needs_uptime(self) -> bool:
        """True while a Reading waits for the unit's uptime: ask for it next."""
        return self._waiting

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Counters of inputs whose level has just changed: ask for them next, they tell presses."""
        return tuple(self._uncounted)

    def take(self, values: Mapping[str, int], at_us: int) -> list[Reading]:
        """What changed by these values, in the order of the wires.

        Values seen before, with nothing waiting, change nothing: nearly every poll ends there.
        """
        self._uncounted.clear()
        if id(values) in self._same:
            return []
        if self._seen.items() >= values.items():
            if isinstance(values, MappingProxyType):
                self._same[id(values)] = values
            return []
        uptime_s = values.get(UPTIME)
        readings: list[Reading] = []
        for item in self._items:
            touched = [key for key in item.keys if key in values]
            before = item.level
            for key in touched:
                self._absorb(item, key, values[key])
            if item.level is not before and before is not None:
                missing = [key for key in item.keys if key not in (*touched, *item.refused)]
                self._uncounted += [key for key in missing if key.startswith("count:")]
            if touched or (item.waits and uptime_s is not None):
                readings += self._changed(item, uptime_s, at_us)
        self._forget(but={**self._seen, **values})
        return readings

    def state(self, address: str, value: int, at_us: int) -> list[Reading]:
        """The state register of an output was read beside the polls."""
        return self.take({f"state:{address}": value}, at_us)

    def lost(self, keys: Iterable[str], at_us: int) -> list[Reading]:
        """Nobody could read these for a while: their inputs are unknown until they are read."""
        return self._unknown([i for i in self._items if any(key in i.keys for key in keys)], at_us)

    def refused(self, keys: Iterable[str], at_us: int) -> list[Reading]:
        """The unit does not have these: an input goes on with what is left of it, if anything."""
        keys, readings = list(keys), list[Reading]()
        if UPTIME in keys:
            self._can_tell = False
        for item in self._items:
            gone = [key for key in keys if key in item.keys]
            item.refused += [key for key in gone if key not in item.refused]
            if gone and not item.counts and not item.shows:
                readings += self._unknown([item], at_us)
            elif gone or item.waits:
                readings += self._changed(item, None, at_us)
        self._forget()
        return readings

    def silent(self, at_us: int) -> list[Reading]:
        """The unit fell silent: every input once UNKNOWN."""
        return self._unknown(self._items, at_us)

    def restarted(self) -> None:
        """The unit began anew: what it refused is asked for again, its counters began at 0.

        A counter is handed over even if it shows what it did before: it is another start's.
        """
        self._forget()
        self._can_tell = self._uptime is not None
        for item in self._items:
            item.refused.clear()
            if item.counts and not item.waits:
                item.count, item.handed, item.fresh = None, None, True

    # --- inside ---------------------------------------------------------------------------------

    def _forget(self, *, but: Mapping[str, int] = _NOTHING) -> None:
        """Look at every value anew, `but` these where no Reading waits."""
        self._waiting = any(item.waits for item in self._items)
        self._seen = {} if self._waiting else dict(but)
        self._same.clear()

    def _add(self, item: _Item, period_us: int) -> None:
        keys: list[str] = []

        def want(kind: str, register: Register | None, *, high: bool) -> None:
            if register is not None:
                keys.append(f"{kind}:{item.address}")
                self._wants.append(Want(keys[-1], register, period_us, high=high))

        if item.channel is not None:
            want("level", item.channel.level, high=True)
            want("count", item.channel.counter, high=True)
        if item.output is not None:
            want("state", item.output.state, high=False)
        item.keys = tuple(keys)
        if keys:
            self._items.append(item)

    def _absorb(self, item: _Item, key: str, value: int) -> None:
        if key.startswith("count:"):
            fell = item.count is not None and value < item.count
            item.waits = item.waits or fell or item.fresh
            item.count = value
        elif item.output is not None:
            item.level = Level.ACTIVE if is_on(item.output, value) else Level.NORMAL
        else:
            assert item.channel is not None
            item.level = _level(item.channel, item.contact, value)

    def _changed(self, item: _Item, uptime_s: int | None, at_us: int) -> list[Reading]:
        """Its Reading, when there is something new and nothing is missing from it."""
        item.waits = item.waits and uptime_s is None and self._can_tell and item.counts
        missing = (item.counts and item.count is None) or (item.shows and item.level is None)
        if missing or item.waits:
            return []
        level = (item.level if item.shows else None) or Level.NORMAL
        count = item.count if item.counts else None
        if item.handed == (level, count):
            return []
        item.handed, item.fresh = (level, count), False
        shown = None if count is None else Count(count, item.width, uptime_s)
        return [Reading(item.address, level, at_us, shown)]

    def _unknown(self, items: Iterable[_Item], at_us: int) -> list[Reading]:
        """UNKNOWN, once; when it is read again, everything of it is news."""
        readings = []
        for item in items:
            if item.handed != (Level.UNKNOWN, None):
                readings.append(Reading(item.address, Level.UNKNOWN, at_us))
            item.handed = (Level.UNKNOWN, None)
            item.level, item.count = None, None
            item.fresh, item.waits = True, False
        self._forget()
        return readings


def _level(channel: InputChannel, contact: Contact, value: int) -> Level:
    """The level a value shows, with the contact's sense; UNKNOWN where the unit says so."""
    if value in channel.unknown_codes:
        return Level.UNKNOWN
    if channel.closed_codes:
        return level_of(contact, closed=value in channel.closed_codes)
    return level_of(contact, closed=bool(value) is not channel.inverted)


def period_us(poll_ms: int) -> int:
    """A device's poll period in microseconds."""
    return poll_ms * US_PER_MS
