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
    """One input, or one output's state.

    waits: not handed over before the uptime is known. first: its counter and when, as it began to
    wait: what it counts from there on are presses. owes: handed over while nobody could read the
    uptime, so once more when somebody can.
    """

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
    first: tuple[int, int] | None = None
    owes: bool = False

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

    @property
    def missing(self) -> bool:
        """True while something of it has yet to be read."""
        return (self.counts and self.count is None) or (self.shows and self.level is None)


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
        self._stale = False
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
        return self._waiting and any(item.waits and not item.missing for item in self._items)

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
        self._stale = self._stale and uptime_s is None
        readings: list[Reading] = []
        for item in self._items:
            touched = [key for key in item.keys if key in values]
            before = item.level
            for key in touched:
                self._absorb(item, key, values[key], at_us)
            if item.level is not before and before is not None:
                missing = [key for key in item.keys if key not in (*touched, *item.refused)]
                self._uncounted += [key for key in missing if key.startswith("count:")]
            if touched or (uptime_s is not None and (item.waits or item.owes)):
                readings += self._changed(item, uptime_s, at_us)
        self._forget(but={**self._seen, **values})
        return readings

    def state(self, address: str, value: int, at_us: int) -> list[Reading]:
        """The state register of an output was read beside the polls."""
        return self.take({f"state:{address}": value}, at_us)

    def lost(self, keys: Iterable[str], at_us: int) -> list[Reading]:
        """Nobody could read these for a while: their inputs are unknown until they are read.

        What waits for the uptime waits no longer: late by that, and perhaps a restart taken for
        none, is better than a press nobody hears of.
        """
        keys = set(keys)
        readings = self._unknown([item for item in self._items if keys & {*item.keys}], at_us)
        if UPTIME in keys:
            self._stale = True
            for item in self._items:
                readings += self._changed(item, None, at_us) if item.waits else []
            self._forget()
        return readings

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
        self._stale = False
        return self._unknown(self._items, at_us)

    def restarted(self) -> None:
        """The unit began anew: what it refused is asked for again, its counters began at 0.

        A counter is handed over even if it shows what it did before: it is another start's.
        """
        self._forget()
        self._can_tell = self._uptime is not None
        self._stale = False
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

    def _absorb(self, item: _Item, key: str, value: int, at_us: int) -> None:
        if key.startswith("count:"):
            fell = item.count is not None and value < item.count
            if fell or (item.fresh and not item.waits):
                item.waits, item.first = True, (value, at_us)
            item.count = value
        elif item.output is not None:
            item.level = Level.ACTIVE if is_on(item.output, value) else Level.NORMAL
        else:
            assert item.channel is not None
            item.level = _level(item.channel, item.contact, value)

    def _changed(self, item: _Item, uptime_s: int | None, at_us: int) -> list[Reading]:
        """Its Reading, when there is something new and nothing is missing from it.

        Two after a wait in which it was pressed: where it began, and where it is now.
        """
        if item.missing:
            return []
        waited = item.waits
        item.waits = waited and uptime_s is None and self._can_tell and not self._stale
        item.waits = item.waits and item.counts
        if item.waits:
            return []
        level = (item.level if item.shows else None) or Level.NORMAL
        count = item.count if item.counts else None
        if item.handed == (level, count) and (uptime_s is None or not item.owes):
            return []
        told = [count]
        if waited and count is not None and (began := _began(item, uptime_s, at_us)) is not None:
            told.insert(0, began)
        item.handed, item.fresh, item.first = (level, count), False, None
        item.owes = self._stale and (waited or item.owes)  # nobody reads it while it is stale
        shown = [None if one is None else Count(one, item.width, uptime_s) for one in told]
        return [Reading(item.address, level, at_us, one) for one in shown]

    def _unknown(self, items: Iterable[_Item], at_us: int) -> list[Reading]:
        """UNKNOWN, once; when it is read again, everything of it is news."""
        readings = []
        for item in items:
            if item.handed != (Level.UNKNOWN, None):
                readings.append(Reading(item.address, Level.UNKNOWN, at_us))
            item.handed = (Level.UNKNOWN, None)
            item.level, item.count = None, None
            item.fresh, item.waits, item.first, item.owes = True, False, None, False
        self._forget()
        return readings


def _began(item: _Item, uptime_s: int | None, at_us: int) -> int | None:
    """What its counter showed as it began to wait, if it counted on from there since.

    None when it shows the same, or when its unit has started anew meanwhile: it began at 0 then.
    uptime_s is whole seconds, so up to one more has passed.
    """
    assert item.first is not None
    assert item.count is not None
    began, began_us = item.first
    anew = uptime_s is not None and (uptime_s + 1) * 1_000 * US_PER_MS < at_us - began_us
    return None if anew or item.count <= began else began


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
