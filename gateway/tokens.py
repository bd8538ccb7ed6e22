"""The bytes of owed messages: the newest kept in memory, older ones read from the ledger.

A lane asks for what it is about to offer. A disk that fails or hangs holds up nothing: what it does
not give now is asked for again with the next offer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gateway.core.model import Message, StreamKey
from gateway.core.outbox import Ref
from gateway.record.entry import LedgerError
from gateway.record.writer import Writer
from gateway.seams import Seldom

RECENT_MAX = 1_000
"""Tokens kept in memory, about a megabyte: what is offered soon after it was sealed."""

READ_WITHIN_S = 1.0
"""A lane waits no longer for owed messages: a disk that hangs must not hold back what is new."""


class Tokens:
    """Finds the bytes that were signed, and says which are nowhere any more."""

    def __init__(self, writer: Writer, seldom: Seldom) -> None:
        self._writer = writer
        self._seldom = seldom
        self._recent: OrderedDict[Ref, bytes] = OrderedDict()

    def keep(self, ref: Ref, token: bytes) -> None:
        """Remember a message that was just sealed."""
        self._recent[ref] = token
        if len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    def forget(self, key: StreamKey, ranges: Iterable[tuple[int, int]]) -> None:
        """Let go of messages that are settled."""
        for first, last in ranges:
            for sequence in range(first, min(last, first + RECENT_MAX) + 1):
                self._recent.pop(Ref(key, sequence), None)

    async def fetch(self, refs: Sequence[Ref]) -> tuple[list[tuple[Ref, bytes]], list[Ref]]:
        """The bytes that could be had, in the order asked for; and those that exist nowhere.

        One read for each stretch of numbers. Nowhere are log entries that were given up with a
        full queue: neither memory, nor the queue, nor the ledger has them.
        """
        found = {ref: token for ref in refs if (token := self._recent.get(ref)) is not None}
        missing = [ref for ref in refs if ref not in found]
        gone: list[Ref] = []
        while missing:
            stretch = [missing.pop(0)]
            while missing and missing[0] == Ref(stretch[0].key, stretch[-1].sequence + 1):
                stretch.append(missing.pop(0))
            held, why = await self._read(stretch[0], stretch[-1])
            if why:
                self._seldom(f"owed messages {why}", {"first": stretch[0]})
                break
            found |= {Ref(message.key, message.sequence): message.token for message in held}
            gone += [ref for ref in stretch if ref not in found]
        if gone:
            self._seldom("owed messages are gone: the disk never had them", {"first": gone[0]})
        return [(ref, found[ref]) for ref in refs if ref in found], gone

    async def _read(self, first: Ref, last: Ref) -> tuple[list[Message], str]:
        read = self._writer.read(first.key, first.sequence, last.sequence)
        try:
            return await asyncio.wait_for(read, READ_WITHIN_S), ""
        except TimeoutError:
            return [], "could not be read: the disk does not answer"
        except LedgerError as error:
            return [], f"could not be read: {error}"
