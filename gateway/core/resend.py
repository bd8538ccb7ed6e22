"""One resend: which numbers are to be read next, what of them is sent, what is gone. Pure.

Numbers and bytes are given to it a slice at a time; it holds no more than that, however much was
asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.model import Json, Message, Stream, StreamKey
from gateway.core.ranges import Ranges
from gateway.core.verbs import Target

GONE_RANGES_MAX = 200
"""Ranges in one `state.gone`: about 4 kB. More of them are told in further ones."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a centre wants once more: numbers of one epoch of one of its own route's streams."""

    command: str
    route: str
    stream: Stream
    ledger: str
    epoch: int
    first: int
    last: int


def numbers_of(target: Target) -> dict[str, Json]:
    """The numbers a resend's target names, with the members it has on the wire; else nothing."""
    if target.stream is None:
        return {}
    of: dict[str, Json] = {"stream": target.stream.value, "ledger": target.ledger}
    return {**of, "epoch": target.epoch, "from": target.first, "to": target.last}


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers of one stream, both ends in. key: None for an epoch nothing is held of."""

    key: StreamKey | None
    first: int
    last: int


@dataclass(slots=True)
class Sending:
    """How far a resend has come. spans: what is left to read, one for each start of the epoch.

    ready: read and not sent. earlier: where the route's stream goes on below, as the answer says.
    """

    asked: Asked
    spans: deque[Span]
    not_given: int = 0
    earlier: tuple[str, int, int] | None = None
    ready: deque[Message] = field(default_factory=deque)
    sent: int = 0
    gone: int = 0
    _missing: Ranges = field(default_factory=Ranges)
    _of: StreamKey | None = None

    @property
    def over(self) -> bool:
        """True when there is nothing more to read or to send."""
        return not self.spans and not self.ready

    def took(self, held: Sequence[Message], upto: int) -> dict[str, Json] | None:
        """What of the first span is held through `upto`; the `state.gone` that is due for it.

        Of what is missing one has to be told when the span ends, or when it has many ranges.
        """
        span = self.spans.popleft()
        self._of = span.key
        following = span.first
        for message in held:
            self._miss(following, message.sequence - 1)
            following = message.sequence + 1
        self._miss(following, upto)
        self.ready.extend(held)
        if upto < span.last:
            self.spans.appendleft(Span(span.key, upto + 1, span.last))
            return self.told_gone() if len(list(self._missing)) >= GONE_RANGES_MAX else None
        return self.told_gone()

    def _miss(self, first: int, last: int) -> None:
        if first <= last:
            self._missing.add(first, last)
            self.gone += last - first + 1

    def told_gone(self) -> dict[str, Json] | None:
        """The data of a `state.gone` for what is missing so far; None when nothing is."""
        missing, self._missing = self._missing, Ranges()
        if not missing:
            return None
        data: dict[str, Json] = {"command": self.asked.command, "stream": self.asked.stream.value}
        data |= {"ledger": self.asked.ledger, "epoch": self.asked.epoch}
        if self._of is not None:
            data["start"] = self._of.start
        data["ranges"] = [[first, last] for first, last in missing]
        return data

    def outcome(self) -> dict[str, Json]:
        """What the answer says of it: how many were sent, are gone, were never given."""
        data: dict[str, Json] = {"sent": self.sent, "gone": self.gone}
        if self.not_given:
            data["not_given"] = self.not_given
        if self.earlier is not None:
            ledger, epoch, last = self.earlier
            data["earlier"] = {"ledger": ledger, "epoch": epoch, "to": last}
        return data


def begun(
    asked: Asked,
    runs: Iterable[StreamKey],
    *,
    mine: StreamKey,
    head: int,
    earlier: tuple[str, int, int] | None,
) -> Sending:
    """A resend at its beginning.

    runs: the streams held of that epoch. mine: what the running start writes that stream to, and
    head the last number it has given there: what lies above is not gone, it never was.
    """
    if (asked.ledger, asked.epoch) != (mine.ledger, mine.epoch):
        future = asked.ledger == mine.ledger and asked.epoch > mine.epoch
        keys: list[StreamKey | None] = [*runs] or [None]
        spans = deque() if future else deque(Span(key, asked.first, asked.last) for key in keys)
        return Sending(asked, spans, asked.last - asked.first + 1 if future else 0, earlier)
    keys = [key for key in runs if key != mine]
    spans = deque(Span(key, asked.first, asked.last) for key in keys)
    last = min(asked.last, head)
    if asked.first <= last:
        spans.append(Span(mine, asked.first, last))
    return Sending(asked, spans, asked.last - max(last, asked.first - 1), earlier)
