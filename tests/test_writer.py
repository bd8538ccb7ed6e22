"""The writer: never blocks the loop, loses nothing it was given, tells trouble once each way."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.core.model import Message
from gateway.record.entry import Entry, Identity, LedgerBusy, LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Place
from gateway.record.writer import InlineWriter, ThreadWriter, Writer
from simulators.disk.faulty import Fault, FaultyDisk
from tests.ledger_cases import Numbers, open_ledger

WITHIN_S = 20.0
"""Far more than any wait here takes; only a defect reaches it."""


class Told:
    """What the daemon was told of the disk."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def trouble(self, reason: str, text: str) -> None:
        assert text
        self.words.append(reason)

    def recovered(self) -> None:
        self.words.append("recovered")


class Bench:
    """A started writer on a disk that can be told to misbehave."""

    def __init__(self, writer: Writer, ledger: Ledger, disk: FaultyDisk, path: Path) -> None:
        self.writer = writer
        self.numbers = Numbers(ledger.identity)
        self.disk = disk
        self.path = path
        self.told = Told()

    def held(self) -> set[Message]:
        """What a next start finds; the writer must have been stopped."""
        ledger = open_ledger(self.path, start="0000000b")
        found = {
            message
            for key, ranges in ledger.owed().items()
            for first, last in ranges
            for message in ledger.read(key, first, last)
        }
        ledger.close()
        return found


async def until(condition: Callable[[], bool]) -> None:
    """Go round the loop until something is so; fails after a deadline instead of hanging."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 -- what is waited for happens on a thread or a disk
            await asyncio.sleep(0.001)


def no_memory() -> Ledger:
    raise AssertionError("the disk did answer")


@asynccontextmanager
async def bench(
    path: Path, kind: type[ThreadWriter | InlineWriter], *, queue_max: int = 10_000
) -> AsyncIterator[Bench]:
    disk, told = FaultyDisk(), Told()

    def opener() -> Ledger:
        return open_ledger(path, vfs=disk.name)

    writer: ThreadWriter | InlineWriter
    if kind is ThreadWriter:
        writer = ThreadWriter(
            opener,
            memory_open=no_memory,
            on_trouble=told.trouble,
            on_recovered=told.recovered,
            retry_ms=20,
            queue_max=queue_max,
        )
    else:
        writer = InlineWriter(
            opener,
            on_trouble=told.trouble,
            on_recovered=told.recovered,
            retry_ms=20,
            queue_max=queue_max,
        )
    made = Bench(writer, await writer.start(within_s=WITHIN_S), disk, path)
    made.told = told
    try:
        yield made
    finally:
        disk.heal()
        await writer.stop(within_s=WITHIN_S)
        disk.close()


BOTH = pytest.mark.parametrize("kind", [ThreadWriter, InlineWriter])
Kind = type[ThreadWriter | InlineWriter]


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(main())


# --- the contract, for both -------------------------------------------------------------------


@BOTH
def test_append_resolves_when_the_entry_is_on_disk(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            entry = b.numbers.alarm()
            await b.writer.append(entry)
            assert b.writer.backlog == 0
            assert await b.writer.call(lambda ledger: ledger.holders()) == {
                entry.event.id: ["security", "case"]
            }

    run(scenario())


@BOTH
def test_settlement_and_call_come_after_what_was_before_them(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            for _ in range(600):
                b.writer.append(b.numbers.alarm(routes=("case",)))
            key = b.numbers.key("case", "alarm.panic.raised")
            b.writer.settle(key, [(1, 400)], 1)
            b.writer.settle(key, [(401, 599)], 2)
            owed = await b.writer.call(lambda ledger: ledger.owed())
            assert owed == {key: [(600, 600)]}

    run(scenario())


@BOTH
def test_exception_of_a_call_belongs_to_the_caller(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            with pytest.raises(ZeroDivisionError):
                await b.writer.call(lambda ledger: 1 // len(ledger.owed()))
            await b.writer.append(b.numbers.alarm())
            assert b.told.words == []

    run(scenario())


@BOTH
def test_failed_append_is_kept_and_tried_again(tmp_path: Path, kind: Kind) -> None:
    """Told once each way; futures resolve only when the entries are really in, in order."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            entries = [b.numbers.alarm(routes=("case",)) for _ in range(5)]
            futures = [b.writer.append(entry) for entry in entries]
            await until(lambda: b.told.words == ["full"])
            attempts = b.disk.count
            await until(lambda: b.disk.count > attempts + 10)  # it goes on trying by itself
            assert not any(future.done() for future in futures)
            assert b.writer.backlog == 5
            b.disk.heal()
            await asyncio.gather(*futures)
            await until(lambda: b.told.words == ["full", "recovered"])
            key = b.numbers.key("case", "alarm.panic.raised")
            assert await b.writer.read(key, 1, 9) == [entry.messages[0] for entry in entries]

    run(scenario())


@BOTH
def test_next_append_tries_the_kept_ones_too(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            b.disk.fail(Fault.IO_ERROR, times=None)
            kept = b.writer.append(b.numbers.alarm())
            await until(lambda: b.told.words == ["io-error"])
            b.disk.heal()
            await b.writer.append(b.numbers.alarm())
            assert kept.done()
            await until(lambda: b.told.words == ["io-error", "recovered"])

    run(scenario())


@BOTH
def test_settlement_in_trouble_is_kept_and_merged(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            key = b.numbers.key("case", "alarm.panic.raised")
            await b.writer.append(b.numbers.alarm(routes=("case",)))
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            second = b.writer.append(b.numbers.alarm(routes=("case",)))
            await until(lambda: b.told.words == ["full"])
            b.writer.settle(key, [(1, 1)], 1)
            b.writer.settle(key, [(2, 2)], 2)
            assert list((await b.writer.call(lambda ledger: ledger.owed())).values()) == [[(1, 1)]]
            b.disk.heal()
            await second
            await until(lambda: b.told.words[-1] == "recovered")
            assert await b.writer.call(lambda ledger: ledger.owed()) == {}

    run(scenario())


@BOTH
def test_failed_settlement_alone_is_trouble_and_tried_again(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            await b.writer.append(b.numbers.alarm(routes=("case",)))
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            b.writer.settle(b.numbers.key("case", "alarm.panic.raised"), [(1, 1)], 1)
            await until(lambda: b.told.words == ["full"])
            b.disk.heal()
            await until(lambda: b.told.words == ["full", "recovered"])
            assert await b.writer.call(lambda ledger: ledger.owed()) == {}

    run(scenario())


@BOTH
def test_what_could_not_be_kept_is_kept_when_the_disk_is_well(tmp_path: Path, kind: Kind) -> None:
    """A lockdown that began on a full disk: nobody asks twice, and the newest value counts."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            for values in ({"modes": "old", "reactions": "1"}, {"modes": "new"}):
                with pytest.raises(LedgerError):
                    await b.writer.call(partial(Ledger.keep, values=values))
            await until(lambda: b.told.words == ["full"])
            b.disk.heal()
            await until(lambda: b.told.words == ["full", "recovered"])
        ledger = open_ledger(b.path, start="0000000b")
        assert ledger.kept() == {"modes": "new", "reactions": "1"}
        ledger.close()

    run(scenario())


@BOTH
def test_message_that_waits_for_the_disk_can_be_read(tmp_path: Path, kind: Kind) -> None:
    """A full disk must not keep an owed message from being offered again."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            entries = [b.numbers.alarm(routes=("case",)) for _ in range(3)]
            await b.writer.append(entries[0])
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            for entry in entries[1:]:
                b.writer.append(entry)
            messages = [entry.messages[0] for entry in entries]
            assert await b.writer.read(messages[0].key, 1, 3) == messages
            assert await b.writer.read(messages[0].key, 2, 3) == messages[1:]
            b.disk.fail(Fault.IO_ERROR, times=None)
            assert await b.writer.read(messages[0].key, 3, 3) == messages[2:]

    run(scenario())


@BOTH
def test_message_a_failing_disk_keeps_to_itself_is_not_left_out(tmp_path: Path, kind: Kind) -> None:
    """Part of a range is no answer: who asks would take what is missing for gone."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            entries = [b.numbers.alarm(routes=("case",)) for _ in range(300)]
            await asyncio.gather(*map(b.writer.append, entries[:299]))
            await b.writer.call(lambda ledger: ledger.give_way())  # and nothing is cached any more
            b.disk.fail(Fault.IO_ERROR, times=None)
            b.writer.append(entries[299])
            key = entries[0].messages[0].key
            with pytest.raises(LedgerError):
                await b.writer.read(key, 1, 300)
            b.disk.heal()

    run(scenario())


@BOTH
def test_impossible_entry_fails_alone(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            good = [b.writer.append(b.numbers.alarm()) for _ in range(3)]
            event = b.numbers.event(data={"what": b"bytes"})  # type: ignore[dict-item]  # the mistake under test
            bad = b.writer.append(b.numbers.entry(event))
            good += [b.writer.append(b.numbers.alarm()) for _ in range(3)]
            b.disk.heal()
            await asyncio.gather(*good)
            with pytest.raises(LedgerError) as caught:
                await bad
            assert caught.value.reason is StorageTrouble.REFUSED

    run(scenario())


@BOTH
def test_full_queue_drops_the_oldest_log_entries_only(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind, queue_max=6) as b:
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            alarms = [b.writer.append(b.numbers.alarm()) for _ in range(3)]
            await until(lambda: b.told.words == ["full"])
            logs = [b.writer.append(b.numbers.log()) for _ in range(4)]
            alarms += [b.writer.append(b.numbers.alarm()) for _ in range(2)]
            await until(lambda: b.writer.dropped == 3)
            for log in logs[:3]:
                with pytest.raises(LedgerError) as caught:
                    await log
                assert caught.value.reason is StorageTrouble.DROPPED
            alarms += [b.writer.append(b.numbers.alarm()) for _ in range(9)]
            with pytest.raises(LedgerError):
                await logs[3]
            assert b.writer.backlog == len(alarms) == 14
            b.disk.heal()
            await asyncio.gather(*alarms)
            assert b.writer.dropped == 4

    run(scenario())


@BOTH
def test_full_queue_keeps_an_alarm_that_no_route_is_owed(tmp_path: Path, kind: Kind) -> None:
    """The next start must know that it is open, and raise nothing for the button still held."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind, queue_max=2) as b:
            b.disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
            nobodys = b.numbers.alarm(routes=())
            kept = b.writer.append(nobodys)
            await until(lambda: b.told.words == ["full"])
            for _ in range(6):
                b.writer.append(b.numbers.log())
            b.disk.heal()
            await kept
            assert [e.id for e in await b.writer.call(Ledger.open_alarms)] == [nobodys.event.id]

    run(scenario())


@BOTH
def test_stop_writes_what_is_left(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            entries = [b.numbers.alarm() for _ in range(700)]
            for entry in entries:
                b.writer.append(entry)
            assert await b.writer.stop(within_s=WITHIN_S)
            assert b.held() == {message for entry in entries for message in entry.messages}

    run(scenario())


@BOTH
def test_stop_says_when_something_did_not_reach_the_disk(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", kind) as b:
            b.disk.fail(Fault.IO_ERROR, times=None)
            lost = b.writer.append(b.numbers.alarm())
            assert not await b.writer.stop(within_s=WITHIN_S)
            for late in (lost, b.writer.append(b.numbers.alarm())):
                with pytest.raises(LedgerError) as caught:
                    await late
                assert caught.value.reason is StorageTrouble.STOPPED

    run(scenario())


@BOTH
def test_second_daemon_does_not_start(tmp_path: Path, kind: Kind) -> None:
    async def scenario() -> None:
        first = open_ledger(tmp_path / "l.db")
        with pytest.raises(LedgerBusy):
            async with bench(tmp_path / "l.db", kind):
                pass
        first.close()

    run(scenario())


@BOTH
@pytest.mark.parametrize("fault", [Fault.IO_ERROR, Fault.FULL])
def test_every_failing_call_delays_but_loses_nothing(
    tmp_path: Path, kind: Kind, fault: Fault
) -> None:
    """For every n: the n-th I/O call fails; every future resolves and all of it is there."""

    async def one(path: Path, n: int) -> bool:
        async with bench(path, kind) as b:
            b.disk.fail(fault, at=n)
            before = b.disk.count
            entries = []
            for _ in range(3):
                entries.append(b.numbers.alarm())
                await b.writer.append(entries[-1])
            reached = b.disk.count >= before + n
            assert await b.writer.stop(within_s=WITHIN_S)
            b.disk.heal()
            assert b.held() == {m for entry in entries for m in entry.messages}, n
            return reached

    async def scenario() -> None:
        n = 1
        while await one(tmp_path / f"{n}.db", n):
            n += 1
        assert n > 10

    run(scenario())


# --- the thread -------------------------------------------------------------------------------


def test_stalled_sync_does_not_block_the_loop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", ThreadWriter) as b:
            with b.disk.syncs_held():
                future = b.writer.append(b.numbers.alarm())
                await until(b.disk.stalled.is_set)
                for _ in range(100):
                    b.writer.append(b.numbers.log())
                    b.writer.settle(b.numbers.key("case", "alarm.panic.raised"), [(1, 1)], 1)
                    await asyncio.sleep(0)
                assert not future.done()
                assert b.writer.backlog == 101
            await future
            await until(lambda: b.writer.backlog == 0)
            assert b.told.words == []

    run(scenario())


def test_what_queues_during_a_sync_is_written_with_one(tmp_path: Path) -> None:
    """Group commit: a slow disk makes the groups larger, not the queue longer."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", ThreadWriter) as b:
            b.disk.calls = []
            with b.disk.syncs_held():
                futures = [b.writer.append(b.numbers.alarm())]
                await until(b.disk.stalled.is_set)
                futures += [b.writer.append(b.numbers.alarm()) for _ in range(50)]
            await asyncio.gather(*futures)
            syncs = [call for call in b.disk.calls if call.operation == "sync"]
            assert len(syncs) <= 4

    run(scenario())


class Stumbling(Ledger):
    """A ledger with a defect where the writer does not expect one."""

    stumbles = 3

    @property
    def damaged(self) -> bool:
        if self.stumbles:
            self.stumbles -= 1
            raise RuntimeError("can't start new thread")
        return False


def test_defect_does_not_end_the_only_thread_that_writes(tmp_path: Path) -> None:
    """It is told as trouble, and what was handed in is written by the same thread."""
    told = Told()
    begin = Begin("0000000a", "1ed9e700", "b0070000", 0)

    async def scenario() -> None:
        writer = ThreadWriter(
            lambda: Stumbling.without(Place(str(tmp_path / "l.db")), begin, trouble="no disk"),
            memory_open=no_memory,
            on_trouble=told.trouble,
            on_recovered=told.recovered,
            retry_ms=20,
        )
        ledger = await writer.start(within_s=WITHIN_S)
        assert isinstance(ledger, Stumbling)
        numbers = Numbers(ledger.identity)
        async with asyncio.timeout(WITHIN_S):
            await writer.append(numbers.alarm())
        assert ledger.stumbles == 0
        assert told.words == ["other"]
        assert await writer.stop(within_s=WITHIN_S)

    run(scenario())


def test_queue_that_is_full_for_days_keeps_none_of_what_it_gave_up(tmp_path: Path) -> None:
    """A sync that hangs and a log that goes on: what was dropped is counted, not remembered."""

    async def scenario() -> None:
        async with bench(tmp_path / "l.db", ThreadWriter, queue_max=8) as b:
            with b.disk.syncs_held():
                written = b.writer.append(b.numbers.alarm())
                await until(b.disk.stalled.is_set)
                tracemalloc.start()
                big = Numbers(Identity("1ed9e700", 1, "0000000a"), prefix="b", token_bytes=4_000)
                for _ in range(2_000):
                    b.writer.append(big.log())
                await asyncio.sleep(0)
                held_bytes, _ = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            assert held_bytes < 4_000_000  # of 16 MB
            await written
            dropped = await b.writer.call(lambda ledger: ledger.dropped.take())
            assert sum(each.count for each in dropped) == 2 * b.writer.dropped >= 2 * 1_900

    run(scenario())


def test_stop_does_not_wait_for_a_stuck_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", ThreadWriter) as b:
            with b.disk.syncs_held():
                future = b.writer.append(b.numbers.alarm())
                await until(b.disk.stalled.is_set)
                began_s = time.monotonic()
                assert not await b.writer.stop(within_s=0.05)
                assert time.monotonic() - began_s < 5
                with pytest.raises(LedgerError):
                    await future

    run(scenario())


def test_disk_that_hangs_while_opening_gives_a_ledger_in_memory(tmp_path: Path) -> None:
    """The late ledger is closed again when the disk comes back: nobody else may be kept out."""

    async def scenario() -> None:
        disk, told, path = FaultyDisk(), Told(), tmp_path / "l.db"
        memory = Ledger.in_memory(
            start="0000000a", fresh_id="1ed9e700", boot="b0070000", utc_ms=1, trouble="no answer"
        )
        writer = ThreadWriter(
            lambda: open_ledger(path, vfs=disk.name),
            memory_open=lambda: memory,
            on_trouble=told.trouble,
            on_recovered=told.recovered,
        )
        with disk.syncs_held():
            ledger = await writer.start(within_s=0.05)
            assert ledger is memory
            await writer.append(Numbers(ledger.identity).alarm())
            late = [thread for thread in threading.enumerate() if thread.name == "ledger"]
            assert len(late) == 2
        assert await writer.stop(within_s=WITHIN_S)
        for thread in late:
            thread.join(WITHIN_S)
            assert not thread.is_alive()
        ledger = open_ledger(path)
        assert (ledger.durable, ledger.identity.epoch) == (True, 2)
        ledger.close()
        disk.close()

    run(scenario())


def test_stuck_sync_does_not_hold_the_exit(tmp_path: Path) -> None:
    """A real process whose disk never answers again ends when it is told to."""
    child = subprocess.run(
        [sys.executable, __file__, "stuck", str(tmp_path / "l.db")],
        timeout=30,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (child.returncode, child.stdout) == (0, "stuck\n"), child.stderr


def test_outcomes_arrive_on_the_loop_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path / "l.db", ThreadWriter) as b:
            seen: list[int] = []
            future = b.writer.append(b.numbers.alarm())
            future.add_done_callback(lambda _: seen.append(threading.get_ident()))
            await future
            on = await b.writer.call(lambda _: threading.get_ident())
            assert seen == [threading.get_ident()]
            assert on != seen[0]

    run(scenario())


def test_kill_at_any_moment_loses_no_acknowledged_entry(tmp_path: Path) -> None:
    """kill -9 of a real process in the middle of its appends, ten times on the same file."""
    dice, path, acknowledged = random.Random(7), tmp_path / "l.db", set[str]()
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, __file__, "append", str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        wanted = dice.randrange(1, 400)
        for count, line in enumerate(child.stdout, start=1):
            if line.endswith("\n"):
                acknowledged.add(line.strip())
            if count == wanted:
                child.kill()
        child.stdout.close()
        child.wait()
    ledger = open_ledger(path)
    assert ledger.identity.epoch == 11
    held = [
        message
        for key, ranges in ledger.owed().items()
        for first, last in ranges
        for message in ledger.read(key, first, last)
    ]
    assert acknowledged <= {message.event for message in held}
    assert len({(m.key, m.sequence) for m in held}) == len(held)
    ledger.close()


# --- the child processes of the tests above -----------------------------------------------------


async def child_append(path: Path) -> None:
    """Append for ever and print the id of every entry once it is acknowledged."""
    told = Told()
    writer = ThreadWriter(
        lambda: open_ledger(path),
        memory_open=no_memory,
        on_trouble=told.trouble,
        on_recovered=told.recovered,
    )
    numbers = Numbers((await writer.start(within_s=WITHIN_S)).identity)

    async def one(entry: Entry) -> None:
        await writer.append(entry)
        print(entry.event.id, flush=True)  # noqa: T201 -- the word the parent holds us to

    while True:
        await asyncio.gather(*(one(numbers.alarm()) for _ in range(3)))


async def child_stuck(path: Path) -> None:
    """Append on a disk whose sync never returns, then end."""
    disk, told = FaultyDisk(), Told()
    writer = ThreadWriter(
        lambda: open_ledger(path, vfs=disk.name),
        memory_open=no_memory,
        on_trouble=told.trouble,
        on_recovered=told.recovered,
    )
    numbers = Numbers((await writer.start(within_s=WITHIN_S)).identity)
    disk.hold_syncs()
    writer.append(numbers.alarm())
    await until(disk.stalled.is_set)
    await writer.stop(within_s=0.01)
    print("stuck", flush=True)  # noqa: T201 -- the word the parent waits for


if __name__ == "__main__":
    CHILDREN = {"append": child_append, "stuck": child_stuck}
    asyncio.run(CHILDREN[sys.argv[1]](Path(sys.argv[2])))
