"""The bytes of owed messages: where they are found, and what happens when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.lane import Ref
from gateway.core.model import Message, Stream, StreamKey
from gateway.record.entry import Entry, LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from gateway.seams import Seldom
from gateway.tokens import AHEAD, AHEAD_MAX, RECENT_MAX, Tokens
from simulators.virtual.time import VirtualClock, VirtualLoop

KEY = StreamKey("security", Stream.LOG, "1ed9e4a0", 1, "57a47006")
T = TypeVar("T")


class Disk:
    """A Writer that holds some numbers, fails, or never answers."""

    backlog = 0
    dropped = 0

    def __init__(
        self,
        held: range,
        *,
        error: LedgerError | None = None,
        hangs: bool = False,
        waiting: range = range(0),
    ) -> None:
        self._held = held
        self._error = error
        self._hangs = hangs
        self._waiting = waiting
        self.reads: list[tuple[int, int]] = []
        self._hanging: list[tuple[asyncio.Future[list[Message]], list[Message]]] = []

    def read(self, key: StreamKey, first: int, last: int) -> asyncio.Future[list[Message]]:
        self.reads.append((first, last))
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        if first in self._waiting and last in self._waiting:
            waits = range(first, last + 1)
            future.set_result(
                [Message(key, n, f"e{n}", "state.x", None, b"waits%d" % n) for n in waits]
            )
            return future
        if self._error is not None:
            future.set_exception(self._error)
            return future
        numbers = [number for number in range(first, last + 1) if number in self._held]
        found = [Message(key, n, f"e{n}", "state.x", None, b"disk%d" % n) for n in numbers]
        if self._hangs:
            self._hanging.append((future, found))
        else:
            future.set_result(found)
        return future

    def holds(self, held: range) -> None:
        """From now on."""
        self._held = held

    def answer_one(self, which: int) -> bool:
        """One of the reads that hang is answered; False when none does."""
        if self._hanging:
            future, found = self._hanging.pop(which % len(self._hanging))
            future.set_result(found)
        return bool(self._hanging)

    def answer(self) -> None:
        """It hangs no more."""
        self._hangs = False
        for future, found in self._hanging:
            future.set_result(found)

    def append(self, entry: Entry) -> asyncio.Future[None]:
        raise AssertionError(entry)

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        raise AssertionError(key, ranges, utc_ms)

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        raise AssertionError(fn)

    async def stop(self, *, within_s: float) -> bool:
        raise AssertionError(within_s)


def refs(*numbers: int) -> list[Ref]:
    return [Ref(KEY, number) for number in numbers]


def fetch(
    disk: Disk, wanted: list[Ref], kept: Mapping[int, bytes] | None = None
) -> tuple[list[tuple[int, bytes]], list[int], list[str]]:
    """What came of one fetch: numbers with bytes, numbers that are gone, and what was logged."""
    loop, said = VirtualLoop(), list[str]()
    clock = VirtualClock(loop, boot="b0070001")
    tokens = Tokens(disk, Seldom(lambda line, _: said.append(line), clock))
    for number, token in (kept or {}).items():
        tokens.keep(Ref(KEY, number), token)
    try:
        found, gone = loop.run_until_complete(tokens.fetch(wanted))
    finally:
        loop.close()
    return [(ref.sequence, token) for ref, token in found], [ref.sequence for ref in gone], said


def test_tokens_come_from_memory_first_and_in_the_order_asked_for() -> None:
    disk = Disk(range(1, 10))
    found, gone, said = fetch(disk, refs(4, 1, 2, 7), {2: b"memory2"})
    assert found == [(4, b"disk4"), (1, b"disk1"), (2, b"memory2"), (7, b"disk7")]
    assert (gone, said) == ([], [])


def test_tokens_are_read_in_stretches_and_the_next_one_while_these_go_out() -> None:
    """A thousand owed messages, six at a time: eight reads, and only the first is waited for."""
    loop = VirtualLoop()
    disk = Disk(range(1, 1_001))
    tokens = Tokens(disk, Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))

    async def drain() -> list[bytes]:
        found = []
        for number in range(1, 1_001, 6):
            wanted = refs(*range(number, min(number + 6, 1_001)))
            got, gone = await tokens.fetch(wanted)
            assert not gone
            found += [token for _, token in got]
            tokens.forget(KEY, [(number, number + 5)])
        return found

    try:
        assert loop.run_until_complete(drain()) == [b"disk%d" % n for n in range(1, 1_001)]
    finally:
        loop.close()
    assert disk.reads == [(first, first + AHEAD - 1) for first in range(1, 1_001, AHEAD)]


def test_tokens_ask_a_disk_that_hangs_once_and_not_again_and_again() -> None:
    """What it answers late is there for the next offer."""
    disk = Disk(range(1, 100), hangs=True)
    loop = VirtualLoop()
    tokens = Tokens(disk, Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))

    async def offers() -> list[int]:
        for _ in range(5):
            assert await tokens.fetch(refs(1, 2, 3)) == ([], [])
        disk.answer()
        found, _ = await tokens.fetch(refs(1, 2, 3))
        return [ref.sequence for ref, _ in found]

    try:
        assert loop.run_until_complete(offers()) == [1, 2, 3]
    finally:
        loop.close()
    assert disk.reads == [(1, AHEAD)]


def test_tokens_read_ahead_are_bounded() -> None:
    """A lane that crawls, streams without end: no more than so many are kept."""
    loop = VirtualLoop()
    disk = Disk(range(1, 100_000))
    tokens = Tokens(disk, Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))

    async def jumps() -> None:
        for number in range(1, 90_000, 1_000):
            await tokens.fetch(refs(number))

    try:
        loop.run_until_complete(jumps())
        assert tokens.held <= AHEAD_MAX
    finally:
        loop.close()


def test_tokens_that_are_nowhere_are_named_so_that_nobody_offers_them_for_ever() -> None:
    found, gone, said = fetch(Disk(range(1, 3)), refs(1, 2, 3, 4))
    assert [number for number, _ in found] == [1, 2]
    assert gone == [3, 4]
    assert said == ["owed messages are gone: the disk never had them"]


def test_tokens_on_a_failing_disk_are_not_gone() -> None:
    """Trouble says nothing of what exists: they come up again with the next offer."""
    error = LedgerError(StorageTrouble.IO_ERROR, "the disk gave an I/O error")
    found, gone, said = fetch(Disk(range(0), error=error), refs(1, 2), {2: b"memory2"})
    assert (found, gone) == ([(2, b"memory2")], [])
    assert said == ["owed messages could not be read: the disk gave an I/O error"]


def test_tokens_are_not_waited_for_when_the_disk_hangs() -> None:
    found, gone, said = fetch(Disk(range(0), hangs=True), refs(1, 5))
    assert (found, gone) == ([], [])
    assert said == ["owed messages could not be read: the disk does not answer"]


def test_tokens_in_memory_are_bounded_and_forgotten_when_settled() -> None:
    loop = VirtualLoop()
    tokens = Tokens(Disk(range(0)), Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))
    for number in range(1, RECENT_MAX + 3):
        tokens.keep(Ref(KEY, number), b"t")
    tokens.forget(KEY, [(10, 20)])

    async def held() -> list[int]:
        found, _ = await tokens.fetch(refs(1, 2, 3, 15, RECENT_MAX + 2))
        return [ref.sequence for ref, _ in found]

    try:
        assert loop.run_until_complete(held()) == [3, RECENT_MAX + 2]
    finally:
        loop.close()


def test_tokens_two_lanes_read_at_once_are_gone_for_neither() -> None:
    """Two uplinks drain one stream at two places: a read of one does not undo the other's."""
    disk = Disk(range(1, 2_001), hangs=True)
    loop = VirtualLoop()
    tokens = Tokens(disk, Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))

    async def lanes() -> list[tuple[list[tuple[Ref, bytes]], list[Ref]]]:
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(tokens.fetch(refs(at, at + 1))) for at in (1, 1_001)]
            tasks.create_task(_answered(disk, reads=2))
        return [task.result() for task in both]

    try:
        for (found, gone), at in zip(loop.run_until_complete(lanes()), (1, 1_001), strict=True):
            assert [ref.sequence for ref, _ in found] == [at, at + 1]
            assert gone == []
    finally:
        loop.close()


async def _answered(disk: Disk, *, reads: int) -> None:
    while len(disk.reads) < reads:  # noqa: ASYNC110 -- virtual time, and the lanes read at once
        await asyncio.sleep(0.001)
    disk.answer()


def test_tokens_a_read_from_before_they_were_sealed_does_not_make_them_gone() -> None:
    """What was read while a message was not there yet says nothing of it; a new look does."""
    disk = Disk(range(1, 11), hangs=True)
    loop = VirtualLoop()
    tokens = Tokens(disk, Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))

    async def offers() -> tuple[list[tuple[Ref, bytes]], list[Ref]]:
        assert await tokens.fetch(refs(1)) == ([], [])
        disk.holds(range(1, 21))
        lane = asyncio.get_running_loop().create_task(tokens.fetch(refs(15)))
        await _answered(disk, reads=1)
        return await lane

    try:
        found, gone = loop.run_until_complete(offers())
        assert ([ref.sequence for ref, _ in found], gone) == ([15], [])
    finally:
        loop.close()


def test_tokens_that_wait_for_a_failing_disk_go_out_and_the_others_are_not_gone() -> None:
    """A stretch of which the disk gives nothing still has what never came there."""
    error = LedgerError(StorageTrouble.IO_ERROR, "the disk gave an I/O error")
    found, gone, said = fetch(Disk(range(0), error=error, waiting=range(3, 9)), refs(3, 4))
    assert (found, gone) == ([(3, b"waits3"), (4, b"waits4")], [])
    assert said == []


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=6), st.lists(st.integers(0, 5), max_size=12)
)
def test_tokens_that_are_held_are_never_gone(lanes: list[int], answers: list[int]) -> None:
    """However many lanes ask, wherever, and in whatever order the disk answers."""
    disk, loop = Disk(range(1, 401), hangs=True), VirtualLoop()
    tokens = Tokens(disk, Seldom(lambda *_: None, VirtualClock(loop, boot="b0070001")))

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(tokens.fetch(refs(at, at + 1, at + 2))) for at in lanes]
            for which in answers:
                await asyncio.sleep(0.01)
                disk.answer_one(which)
            await asyncio.sleep(0.01)
            disk.answer()
        for task in asked:
            found, gone = task.result()
            assert all(ref.sequence > 400 for ref in gone)
            assert all(ref.sequence <= 400 for ref, _ in found)

    try:
        loop.run_until_complete(story())
    finally:
        loop.close()
