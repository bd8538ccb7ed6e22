"""The bytes of owed messages: the newest kept in memory, older ones read from the ledger.

A lane asks for what it is about to offer. A disk that fails or hangs holds up nothing: what it does
not give now is asked for again with the next offer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.core.lane import Ref
from gateway.core.model import Message, StreamKey
from gateway.record.entry import LedgerError
from gateway.record.writer import Writer
from gateway.seams import Seldom

RECENT_MAX = 1_000
"""Tokens kept in memory, about a megabyte: what is offered soon after it was sealed."""

AHEAD = 128
"""Messages read at once, asked for or not: what is owed is owed in stretches, and every read is a
hop to the disk's thread, behind whatever is being synced there."""

AHEAD_MAX = 8 * AHEAD
"""Messages kept that were read, about a megabyte: two routes, two streams, this stretch and the
next."""

READ_WITHIN_S = 1.0
"""A lane waits no longer for owed messages: a disk that hangs must not hold back what is new."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Numbers of a stream, both ends in, that are being read."""

    key: StreamKey
    first: int
    last: int
    read: asyncio.Future[list[Message]]


class Tokens:
    """Finds the bytes that were signed, and says which are nowhere any more."""

    def __init__(self, writer: Writer, seldom: Seldom) -> None:
        self._writer = writer
        self._seldom = seldom
        self._recent: OrderedDict[Ref, bytes] = OrderedDict()
        self._ahead: OrderedDict[Ref, bytes] = OrderedDict()
        self._coming: dict[StreamKey, _Stretch] = {}
        self._read_to: dict[StreamKey, int] = {}

    @property
    def held(self) -> int:
        """How many tokens are in memory."""
        return len(self._recent) + len(self._ahead)

    def keep(self, ref: Ref, token: bytes) -> None:
        """Remember a message that was just sealed."""
        self._recent[ref] = token
        if len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    def forget(self, key: StreamKey, ranges: Iterable[tuple[int, int]]) -> None:
        """Let go of messages that are settled."""
        for first, last in ranges:
            for sequence in range(first, min(last, first + RECENT_MAX) + 1):
                ref = Ref(key, sequence)
                self._recent.pop(ref, None)
                self._ahead.pop(ref, None)

    async def fetch(self, refs: Sequence[Ref]) -> tuple[list[tuple[Ref, bytes]], list[Ref]]:
        """The bytes that could be had, in the order asked for; and those that exist nowhere.

        One read for each stretch of numbers, and the next stretch while these go out. Nowhere are
        log entries that were given up with a full queue: neither memory, nor the queue, nor the
        ledger has them. Only a read that was begun for a message, and went well, says so of it.
        """
        found: dict[Ref, bytes] = {}
        gone: list[Ref] = []
        why = ""
        for ref in refs:
            token = self._at_hand(ref)
            if token is None and not why:
                why = await self._have_read(ref)
                token = self._at_hand(ref)
                if why:
                    self._seldom(f"owed messages {why}", {"first": ref})
                elif token is None:
                    gone.append(ref)
            if token is not None:
                found[ref] = token
        if gone:
            self._seldom("owed messages are gone: the disk never had them", {"first": gone[0]})
        elif found and not why:
            self._look_ahead(refs[-1])
        return [(ref, found[ref]) for ref in refs if ref in found], gone

    def _at_hand(self, ref: Ref) -> bytes | None:
        token = self._recent.get(ref)
        return self._ahead.get(ref) if token is None else token

    async def _have_read(self, ref: Ref) -> str:
        """Wait until the stretch a message is in has been read; why it could not be, or ""."""
        stretch = self._coming.get(ref.key)
        if stretch is not None and stretch.first <= ref.sequence <= stretch.last:
            why = await self._has_come(stretch, ref)
            if why or self._at_hand(ref) is not None:
                return why
            # that read may be older than the message: ask once more before it is called gone
        return await self._has_come(self._begin(ref.key, ref.sequence), ref)

    async def _has_come(self, stretch: _Stretch, ref: Ref) -> str:
        try:
            async with asyncio.timeout(READ_WITHIN_S):  # wait_for may forget a cancellation
                messages = await asyncio.shield(stretch.read)
        except TimeoutError:
            return "could not be read: the disk does not answer"
        except LedgerError as error:
            return "" if self._waits(ref) else f"could not be read: {error}"
        self._came(stretch)
        self._put(messages)  # also where another lane has begun a stretch elsewhere meanwhile
        return ""

    def _waits(self, ref: Ref) -> bool:
        """True when a message alone can be had without the disk: it waits to be written."""
        read = self._writer.read(ref.key, ref.sequence, ref.sequence)
        if not read.done() or read.cancelled() or read.exception() is not None:
            return False
        self._put(read.result())
        return self._at_hand(ref) is not None

    def _look_ahead(self, ref: Ref) -> None:
        """Have the next stretch read while this one goes out; not beyond a stretch with holes."""
        to = self._read_to.get(ref.key, 0)
        if ref.key not in self._coming and ref.sequence <= to < ref.sequence + AHEAD // 2:
            self._begin(ref.key, to + 1)

    def _begin(self, key: StreamKey, first: int) -> _Stretch:
        last = first + AHEAD - 1
        stretch = _Stretch(key, first, last, self._writer.read(key, first, last))
        self._coming[key] = stretch
        stretch.read.add_done_callback(lambda _: self._came(stretch))
        return stretch

    def _came(self, stretch: _Stretch) -> None:
        """Keep what was read, once."""
        if self._coming.get(stretch.key) is not stretch:
            return
        del self._coming[stretch.key]
        self._read_to.pop(stretch.key, None)
        if stretch.read.cancelled() or stretch.read.exception() is not None:
            return
        messages = stretch.read.result()
        self._put(messages)
        if len(messages) == AHEAD:
            self._read_to[stretch.key] = stretch.last

    def _put(self, messages: Iterable[Message]) -> None:
        for message in messages:
            ref = Ref(message.key, message.sequence)
            self._ahead[ref] = message.token
            self._ahead.move_to_end(ref)
        while len(self._ahead) > AHEAD_MAX:
            self._ahead.popitem(last=False)
