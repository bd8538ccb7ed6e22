"""What a recorder and a centre would say, drawn by dice: entries, chained tokens, receipts.

Tokens are bytes with five members between bars: event, route, hash of the token before, the place
an epoch's first resumes, padding. The ledger never looks into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from campaigns.cut.account import Account
from gateway.core.jws import digest
from gateway.core.kinds import stream_of
from gateway.core.message import Head
from gateway.core.model import Event, Json, Message, Stamp, Stream, StreamKey
from gateway.record.entry import Entry, Identity

ROUTES = ("security", "case")
POINTS = ("reception", "gym", "library", "canteen")


class Scribe:
    """Gives what the recorder gives, for one start: ids, numbers, times, chained tokens."""

    def __init__(
        self,
        identity: Identity,
        heads: Mapping[tuple[str, Stream], Head],
        dice: Random,
        *,
        utc_ms: int,
        boot: tuple[str, int] = ("b0070000", 0),
    ) -> None:
        """boot: the id of the machine's boot, and the UTC ms of it."""
        self._me = identity
        self._heads = dict(heads)
        self._dice = dice
        self._events = 0
        self._boot, self._booted_ms = boot
        self.utc_ms = utc_ms

    def event(self, kind: str, *, alarm: str | None = None, data: Mapping[str, Json]) -> Event:
        """Something happened; a raised alarm is its own."""
        self._events += 1
        self.utc_ms += self._dice.randrange(1, 5_000)
        event_id = f"{self._me.epoch}.{self._me.start}.{self._events}"
        if kind.startswith("alarm.") and kind.endswith(".raised"):
            alarm = event_id
        return Event(event_id, kind, self._dice.choice(POINTS), self.now(), alarm, data=data)

    def now(self) -> Stamp:
        """The gateway's time."""
        monotonic_ms = self.utc_ms - self._booted_ms
        return Stamp(
            self.utc_ms, synchronised=True, error_ms=12, boot=self._boot, monotonic_ms=monotonic_ms
        )

    def messages(
        self, event: Event, routes: tuple[str, ...], *, padding: int = 40
    ) -> list[Message]:
        """The next message of each of these routes' streams."""
        made = []
        for route in routes:
            stream = stream_of(event.type)
            head = self._heads.get((route, stream), Head())
            number = head.sequence + 1
            resumes = f"{head.resumes[0]}/{head.resumes[1]}" if head.resumes else ""
            text = f"{event.id}|{route}|{head.previous or ''}|{resumes}|"
            token = text.encode().ljust(padding, b"x")
            self._heads[route, stream] = Head(number, digest(token))
            key = StreamKey(route, stream, self._me.ledger, self._me.epoch, self._me.start)
            made.append(Message(key, number, event.id, event.type, event.alarm, token))
        return made

    def entry(self, kind: str, *, alarm: str | None = None, padding: int = 40) -> Entry:
        """An event with its messages, now and then with something to be kept beside it."""
        dice = self._dice
        data: dict[str, Json] = {"n": dice.randrange(1000)}
        if dice.random() < 0.1:
            data["doubtful"] = True
        event = self.event(kind, alarm=alarm, data=data)
        routes = ROUTES if dice.random() < 0.8 else ROUTES[:1]
        kept = {}
        if dice.random() < 0.4:
            kept = {f"counter {dice.choice(POINTS)}": str(dice.randrange(10_000))}
        return Entry(event, tuple(self.messages(event, routes, padding=padding)), kept)


def receipt(account: Account, dice: Random) -> tuple[StreamKey, list[tuple[int, int]]] | None:
    """What a centre's receipt might cover; now and then more than is owed. None: nothing is."""
    owed = account.owed_ranges()
    if not owed:
        return None
    key = dice.choice(sorted(owed, key=str))
    ranges = list(owed[key])
    first, last = dice.choice(ranges)
    fate = dice.random()
    if fate < 0.4:
        return key, [(1, dice.randint(first, last))]
    if fate < 0.8:
        return key, [(dice.randint(first, last), last + dice.randrange(3))]
    return key, ranges
