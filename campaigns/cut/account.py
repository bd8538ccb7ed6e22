"""What a ledger must hold, kept beside it in plain Python: dicts and sets, no SQL and no disk.

An Account is told what was acknowledged, and compares itself with what a ledger shows. It knows the
ledger's promises and none of its code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.jws import digest
from gateway.core.kinds import class_of, phase_of
from gateway.core.model import Event, Message, Stream, StreamKey
from gateway.core.ranges import Ranges
from gateway.core.standing import name_of
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger

_LISTS = (
    *("open_alarms", "open_faults", "owed_alarms", "holders"),
    *("kept", "proved", "inventory", "heads"),
)

SEQUENCE_MAX = 0xFFFF_FFFF
INVENTORY = "state.inventory"

Number = tuple[StreamKey, int]
Course = tuple[str, Stream]
"""A route's stream, through all starts."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything a ledger can be asked, at one moment."""

    messages: Mapping[Number, Message]
    owed: frozenset[Number]
    open_alarms: Sequence[Event]
    open_faults: Sequence[Event]
    owed_alarms: Sequence[Message]
    holders: Mapping[str, list[str]]
    kept: Mapping[str, str]
    proved: Mapping[str, int]
    inventory: Event | None
    heads: Mapping[Course, tuple[int, int, str]]


class Account:
    """What was acknowledged. `copy` gives the other half of a doubt.

    native: the id of the ledger's own file, whose streams have heads; None while it is not known.
    """

    def __init__(self) -> None:
        self.native: str | None = None
        self.events: dict[str, Event] = {}
        self.messages: dict[Number, Message] = {}
        self.numbers: dict[str, list[Number]] = {}
        self.owed: set[Number] = set()
        self.open: set[str] = set()
        self.faults: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.proved: dict[str, int] = {}

    def copy(self) -> Account:
        """One that can go another way."""
        other = Account()
        other.native = self.native
        other.events = dict(self.events)
        other.messages = dict(self.messages)
        other.numbers = {event: list(numbers) for event, numbers in self.numbers.items()}
        other.owed = set(self.owed)
        other.open = set(self.open)
        other.faults = dict(self.faults)
        other.kept = dict(self.kept)
        other.proved = dict(self.proved)
        return other

    # --- what happens -------------------------------------------------------------------------

    def append(self, entries: Iterable[Entry]) -> None:
        """Entries were recorded; what is there already is left alone."""
        for entry in entries:
            event = entry.event
            if event.id not in self.events:
                self.events[event.id] = event
                self.numbers[event.id] = []
                self._conclude(event)
            for message in entry.messages:
                number = (message.key, message.sequence)
                if number not in self.numbers[event.id]:
                    self.numbers[event.id].append(number)
                    self.messages[number] = message
                    self.owed.add(number)
            self.kept |= entry.kept

    def _conclude(self, event: Event) -> None:
        group, phase = class_of(event.type), phase_of(event.type)
        if event.alarm is not None and group == "alarm" and phase == "raised":
            self.open.add(event.alarm)
        elif event.alarm is not None and group == "alarm" and phase == "cleared":
            self.open.discard(event.alarm)
        elif group == "fault" and phase == "raised":
            self.faults[name_of(event.type, event.subject, event.data)] = event.id
        elif group == "fault":
            self.faults.pop(name_of(event.type, event.subject, event.data), None)
        pressed = group == "test" or (group == "alarm" and phase in {"raised", "repeated"})
        if pressed and event.data.get("doubtful") is not True:
            self.proved[event.subject] = event.stamp.utc_ms

    def settle(self, key: StreamKey, ranges: Iterable[tuple[int, int]]) -> int:
        """Ranges of numbers were settled; how many of them were owed."""
        gone = {
            (key, number)
            for first, last in ranges
            for number in range(first, last + 1)
            if (key, number) in self.owed
        }
        self.owed -= gone
        return len(gone)

    def keep(self, values: Mapping[str, str]) -> None:
        """Values were kept."""
        self.kept |= values

    def prune(self, before_utc_ms: int) -> int:
        """Everything stamped before that, if it may leave, has left; how many events that was."""
        events = self.events
        gone = {name for name in self.prunable() if events[name].stamp.utc_ms < before_utc_ms}
        self.leave(gone)
        return len(gone)

    def prunable(self) -> set[str]:
        """What may leave: nothing owed or open, no stream's newest message, not the last event."""
        return self._leaving_but(self.owed)

    def droppable(self) -> set[str]:
        """Those, and what only the log is owed: they leave where there is no room."""
        return self._leaving_but({n for n in self.owed if n[0].stream is not Stream.LOG})

    def _leaving_but(self, owed: set[Number]) -> set[str]:
        heads, needed = set(self._newest().values()), self._needed()
        needed.update([*self.events][-1:])  # its number would be given again, and with it its age
        return {
            event.id
            for event in self.events.values()
            if event.id not in needed
            and not heads.intersection(self.numbers[event.id])
            and not owed.intersection(self.numbers[event.id])
        }

    def _needed(self) -> set[str]:
        """The events that stay whatever is owed: open alarms, standing faults, the inventory."""
        last = self._inventory()
        inventory = [] if last is None else [last.id]
        opened = (event.id for event in self.events.values() if event.alarm in self.open)
        return {*opened, *self.faults.values(), *inventory}

    def leave(self, events: Iterable[str]) -> None:
        """These events are gone with their messages."""
        for event in events:
            del self.events[event]
            for number in self.numbers.pop(event):
                del self.messages[number]
                self.owed.discard(number)

    def brought(self, into: Account, *, settled: bool) -> Account:
        """What `into` holds when all of this one, or all but the settled, was brought to it.

        Of its own ledger's this one knows better what is owed and open.
        """
        both = into.copy()
        if into.native == self.native:
            both.owed.clear()
            both.open.clear()
            both.faults.clear()
        needed = self._needed()
        for event in self.events.values():
            numbers = self.numbers[event.id]
            if settled or event.id in needed or self.owed.intersection(numbers):
                both.events.setdefault(event.id, event)
                held = both.numbers.setdefault(event.id, [])
                held += [number for number in numbers if number not in held]
                both.messages |= {number: self.messages[number] for number in numbers}
        both.owed |= self.owed
        both.open |= self.open
        both.faults |= self.faults
        both.kept |= self.kept
        both.proved |= self.proved
        return both

    # --- what must be seen --------------------------------------------------------------------

    def streams(self) -> set[StreamKey]:
        """Every stream it holds a message of."""
        return {key for key, _ in self.messages}

    def owed_ranges(self) -> dict[StreamKey, Ranges]:
        """What is owed, by stream."""
        ranges: dict[StreamKey, Ranges] = {}
        for key, number in self.owed:
            ranges.setdefault(key, Ranges()).add(number, number)
        return ranges

    def sight(self) -> Sight:
        """What a ledger must show."""
        alarms = [event for event in self.events.values() if event.alarm in self.open]
        return Sight(
            messages=self.messages,
            owed=frozenset(self.owed),
            open_alarms=[e for e in alarms if e.type.startswith(("alarm.", "state.alarm."))],
            open_faults=[e for e in self.events.values() if e.id in self.faults.values()],
            owed_alarms=[
                self.messages[number]
                for event in alarms
                if event.type.startswith("alarm.") and event.type.endswith(".raised")
                for number in self.numbers[event.id]
                if number in self.owed
            ],
            holders=self._holders(alarms),
            kept=self.kept,
            proved=self.proved,
            inventory=self._inventory(),
            heads={
                place: (key.epoch, number, digest(self.messages[key, number].token))
                for place, (key, number) in self._newest().items()
            },
        )

    def _holders(self, alarms: Iterable[Event]) -> dict[str, list[str]]:
        holders: dict[str, list[str]] = {}
        for event in alarms:
            routes = holders.setdefault(event.alarm or "", [])
            for key, _ in self.numbers[event.id]:
                if key.route not in routes:
                    routes.append(key.route)
        return holders

    def _newest(self) -> dict[Course, Number]:
        newest: dict[Course, Number] = {}
        own = (n for n in self.messages if self.native in {None, n[0].ledger})
        for number in sorted(own, key=lambda number: (number[0].epoch, number[1])):
            newest[number[0].route, number[0].stream] = number
        return newest

    def _inventory(self) -> Event | None:
        told = [event for event in self.events.values() if event.type == INVENTORY]
        return told[-1] if told else None


def look(ledger: Ledger, keys: Iterable[StreamKey]) -> Sight:
    """Ask a ledger everything. keys: the streams that are, or might be, in it."""
    owed = ledger.owed()
    return Sight(
        messages={
            (key, message.sequence): message
            for key in dict.fromkeys((*keys, *owed))
            for message in ledger.read(key, 1, SEQUENCE_MAX)
        },
        owed=frozenset(
            (key, number)
            for key, ranges in owed.items()
            for first, last in ranges
            for number in range(first, last + 1)
        ),
        open_alarms=ledger.open_alarms(),
        open_faults=ledger.open_faults(),
        owed_alarms=ledger.owed_alarms(),
        holders=ledger.holders(),
        kept=ledger.kept(),
        proved=ledger.last_proved(),
        inventory=ledger.last_inventory(),
        heads={
            place: (*(head.resumes or (0, 0)), head.previous or "")
            for place, head in ledger.heads().items()
        },
    )


def differences(must: Sight, seen: Sight) -> list[str]:
    """What a ledger shows and must not, or does not show and must; empty when it is well."""
    found = [
        f"lost: {_named(n)}, {m.type}" for n, m in must.messages.items() if n not in seen.messages
    ]
    found += [
        f"unknown: {_named(n)}, {m.type}"
        for n, m in seen.messages.items()
        if n not in must.messages
    ]
    found += [
        f"changed: {_named(n)}"
        for n, message in must.messages.items()
        if seen.messages.get(n, message) != message
    ]
    found += [f"owed and forgotten: {_named(number)}" for number in _sorted(must.owed - seen.owed)]
    found += [f"settled and owed again: {_named(n)}" for n in _sorted(seen.owed - must.owed)]
    for what in _LISTS:
        wanted, shown = getattr(must, what), getattr(seen, what)
        if wanted != shown:
            found.append(f"{what.replace('_', ' ')}: {_short(shown)} instead of {_short(wanted)}")
    return found


def broken_chain(messages: Mapping[Number, Message]) -> Iterator[str]:
    """Messages that do not name the one before them, as far as that one is held.

    The tokens are those of `scribe.Scribe`: their third member is `previous`, their fourth the
    place an epoch's first resumes.
    """
    places = {
        (key.ledger, key.route, key.stream, key.epoch, at): m for (key, at), m in messages.items()
    }
    for (key, number), message in messages.items():
        _, _, previous, resumes, _ = message.token.split(b"|", 4)
        epoch, at = key.epoch, number - 1
        if resumes:
            epoch, at = (int(part) for part in resumes.split(b"/"))
        before = places.get((key.ledger, key.route, key.stream, epoch, at))
        if before is not None and digest(before.token).encode() != previous:
            yield f"chain: {_named((key, number))} does not name {epoch}/{at}"


def _named(number: Number) -> str:
    key, sequence = number
    return f"{key.route}/{key.stream} {key.epoch}/{sequence}"


def _sorted(numbers: Iterable[Number]) -> list[Number]:
    return sorted(numbers, key=_named)


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 200 else f"{text[:200]}…"
