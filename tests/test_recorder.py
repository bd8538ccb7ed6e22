"""The daemon and its disk: an alarm waits 50 ms for it at most, and trouble is said once.

Slow disks are made under virtual time from the real writer; broken ones with a VFS that fails.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from drivers.gpio import GpioDriver
from gateway.clock import SystemClock, Timer
from gateway.core.jws import SigningKey
from gateway.core.model import Message, StreamKey
from gateway.core.premises import LedgerSpec, Premises
from gateway.daemon import Gateway
from gateway.health import Systemd
from gateway.record.disk import InlineDisk, ThreadedDisk
from gateway.record.entry import Entry, LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer
from gateway.seams import Seams
from simulators.building.hardware import SimulatedPins
from simulators.disk.faulty import Fault, FaultyDisk
from simulators.network.wire import WireBroker
from simulators.virtual.time import VirtualClock
from tests.school import SCHOOL, School, live, owed_after
from tests.uplink_rigs import until

T = TypeVar("T")
WRITES = frozenset({"write", "sync"})
JOURNEY_US = 10_000
"""More than a packet of the simulated broker takes one way (3 ms), and a few of them in a row."""


class SlowDisk:
    """An InlineDisk that may take its time: everything asked of it comes `delay_s` later.

    unreadable: messages that are on it cannot be read back.
    """

    def __init__(self, path: str, clock: VirtualClock) -> None:
        self._inner = InlineDisk(path)
        self.clock = clock
        self.delay_s = 0.0
        self.unreadable = False

    async def open(self, **begin: Any) -> tuple[Writer, Ledger]:
        writer, ledger = await self._inner.open(**begin)
        return SlowWriter(writer, self), ledger


class SlowWriter:
    """The Writer contract over another writer, with everything done later, in order."""

    def __init__(self, inner: Writer, disk: SlowDisk) -> None:
        self._inner = inner
        self._disk = disk
        self._waiting: deque[Callable[[], None]] = deque()
        self._entries: list[Entry] = []
        self._last_us = 0
        self._timers: list[Timer] = []

    def _later(self, step: Callable[[], None]) -> None:
        now_us = self._disk.clock.now_us()
        if not self._disk.delay_s and not self._waiting:
            step()
            return
        self._last_us = max(self._last_us, now_us + round(self._disk.delay_s * 1e6))
        self._waiting.append(step)
        self._timers.append(self._disk.clock.call_at(self._last_us, self._next))

    def _next(self) -> None:
        self._waiting.popleft()()

    def _forward(self, ask: Callable[[], asyncio.Future[T]]) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(inner: asyncio.Future[T]) -> None:
            if answer.done():
                return
            if (error := inner.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(inner.result())

        self._later(lambda: ask().add_done_callback(done))
        return answer

    def append(self, entry: Entry) -> asyncio.Future[None]:
        self._entries.append(entry)
        written = self._forward(lambda: self._inner.append(entry))
        written.add_done_callback(lambda _: self._entries.remove(entry))
        return written

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        self._later(lambda: self._inner.settle(key, ranges, utc_ms))

    def read(self, key: StreamKey, first: int, last: int) -> asyncio.Future[list[Message]]:
        held = {
            message.sequence: message
            for entry in self._entries
            for message in entry.messages
            if message.key == key and first <= message.sequence <= last
        }
        if len(held) == last - first + 1:
            at_once: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
            at_once.set_result([held[number] for number in sorted(held)])
            return at_once
        if self._disk.unreadable:
            return self.call(_torn)
        return self._forward(lambda: self._inner.read(key, first, last))

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        return self._forward(lambda: self._inner.call(fn))

    async def stop(self, *, within_s: float) -> bool:
        limit_us = self._disk.clock.now_us() + round(within_s * 1e6)
        while self._waiting and self._disk.clock.now_us() < limit_us:
            await self._disk.clock.sleep(0.01)
        whole = not self._waiting
        for timer in self._timers:
            timer.cancel()
        return await self._inner.stop(within_s=within_s) and whole

    @property
    def backlog(self) -> int:
        return self._inner.backlog + len(self._entries)

    @property
    def dropped(self) -> int:
        return self._inner.dropped


def _torn(_: Ledger) -> list[Message]:
    raise LedgerError(StorageTrouble.IO_ERROR, "messages could not be read: disk I/O error")


class Shelf:
    """Keeps hold of the disks a school was given, so that a scenario can slow them down."""

    def __init__(self) -> None:
        self.disks: list[SlowDisk] = []

    def __call__(self, path: str, clock: VirtualClock) -> SlowDisk:
        self.disks.append(SlowDisk(path, clock))
        return self.disks[-1]


def storage_faults(school: School, phase: str) -> int:
    """How often a centre was told of the disk."""
    return len(school.heard("security", f"fault.storage.{phase}"))


@pytest.mark.parametrize("delay_s", [0.5, 30.0])
def test_alarm_waits_for_the_disk_no_longer_than_sync_wait(tmp_path: Path, delay_s: float) -> None:
    """Confirmed, not yet on disk after 50 ms, gone out: at both centres."""
    shelf = Shelf()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        shelf.disks[0].delay_s = delay_s
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(2)
        shelf.disks[0].delay_s = 0.0

    school = live(tmp_path, scenario, disk=shelf)
    for route in ("security", "case"):
        (alarm,) = school.heard(route, "alarm.panic.raised")
        waited_us = school.arrived_us(alarm) - school.raised_us("reception")
        assert 45_000 <= waited_us <= 50_000 + JOURNEY_US


def test_alarm_does_not_wait_when_the_disk_is_well(tmp_path: Path) -> None:
    """The other half: 50 ms are a limit, not a delay."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= JOURNEY_US


def test_late_disk_is_one_fault_and_one_end(tmp_path: Path) -> None:
    """Every sync of half a minute is late: told once; well for a minute: cleared once."""
    shelf = Shelf()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        shelf.disks[0].delay_s = 0.5
        for point in ("reception", "gym", "accounts"):
            await school.bench.press(point, "clean", 300)
            await school.clock.sleep(10)
        shelf.disks[0].delay_s = 0.0
        assert storage_faults(school, "raised") == 1
        await school.clock.sleep(45)
        assert storage_faults(school, "cleared") == 0
        await school.clock.sleep(20)

    school = live(tmp_path, scenario, disk=shelf)
    assert (storage_faults(school, "raised"), storage_faults(school, "cleared")) == (1, 1)
    assert not list(owed_after(school))


def test_late_entry_is_in_the_ledger_in_the_end(tmp_path: Path) -> None:
    """Sent ahead of the disk, it is written all the same: after a restart the alarm is open."""
    shelf = Shelf()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        shelf.disks[0].delay_s = 1.0
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(5)
        await school.stop()
        await school.start()
        await school.clock.sleep(1)

    school = live(tmp_path, scenario, disk=shelf)
    restarted = school.lines("state.gateway.restarted")[-1]
    assert restarted.fields["open"] == [school.alarm("reception")]


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.IO_ERROR, Fault.READ_ONLY])
def test_disk_that_refuses_costs_no_alarm(tmp_path: Path, fault: Fault) -> None:
    """Full, broken or read-only: presses arrive on time, one fault, one end, nothing lost."""
    faulty = FaultyDisk()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        faulty.fail(fault, times=None, operations=WRITES)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(5)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(5)
        assert storage_faults(school, "cleared") == 0
        faulty.heal()
        await school.clock.sleep(5)
        await school.stop()
        await school.start()
        await school.clock.sleep(1)

    school = live(tmp_path, scenario, disk=lambda path, _: InlineDisk(path, vfs=faulty.name))
    faulty.close()
    for point in ("reception", "gym"):
        (alarm,) = [
            verdict
            for verdict in school.heard("security", "alarm.panic.raised")
            if verdict.message is not None and verdict.message.subject == point
        ]
        raised_ms = alarm.message.clock.monotonic_ms if alarm.message is not None else 0
        assert school.arrived_us(alarm) - raised_ms * 1_000 <= 50_000 + JOURNEY_US
    assert (storage_faults(school, "raised"), storage_faults(school, "cleared")) == (1, 1)
    assert len(school.lines("state.gateway.restarted")[-1].fields["open"]) == 2
    assert not list(owed_after(school))


def test_ledger_that_cannot_be_opened_is_kept_in_memory(tmp_path: Path) -> None:
    """The path is a folder: the gateway starts, says so, and alarms are sent and receipted."""
    (tmp_path / "ledger.db").mkdir()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(70)

    school = live(tmp_path, scenario)
    assert len(school.heard("security", "fault.storage.raised", why="memory")) == 1
    assert storage_faults(school, "cleared") == 0
    assert len(school.heard("security", "alarm.panic.raised")) == 1
    assert len(school.lines("state.alarm.received")) == 1
    assert len(school.carried("alarm", route="case")) == len(school.heard("case", "")) - 2


def test_corrupt_ledger_is_set_aside_and_told(tmp_path: Path) -> None:
    """Never a reason not to start: the old file is kept, a new ledger begins, one fault says so."""
    (tmp_path / "ledger.db").write_bytes(b"this was a ledger once" * 500)

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(70)

    school = live(tmp_path, scenario)
    (told,) = school.heard("security", "fault.storage.raised", why="corrupt")
    assert told.message is not None
    assert Path(told.message.data["set_aside"]).read_bytes().startswith(b"this was a ledger")
    assert (storage_faults(school, "raised"), storage_faults(school, "cleared")) == (1, 1)
    assert len(school.heard("security", "alarm.panic.raised")) == 1


def test_owed_message_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    """A disk that fails while owed messages are read: new alarms pass, the old come later."""
    shelf = Shelf()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.broker.down()
        await school.bench.press("reception", "clean", 300)
        await school.stop()
        await school.start()
        shelf.disks[-1].unreadable = True
        school.broker.up()
        await school.clock.sleep(30)
        assert school.running
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(1)
        assert [s.payload["subject"] for s in school.carried("alarm", route="case")][:1] == ["gym"]
        complaints = [line for line in school.diary if "could not be read" in line.what]
        assert 1 <= len(complaints) <= 20
        shelf.disks[-1].unreadable = False
        await school.clock.sleep(15)

    school = live(tmp_path, scenario, disk=shelf)
    assert len(school.heard("case", "alarm.panic.raised")) == 2
    assert not list(owed_after(school))


def test_alarm_is_offered_again_while_the_log_waits_for_the_disk(tmp_path: Path) -> None:
    """The disk hangs over old log entries: an alarm nobody receipted still goes out every 5 s."""
    shelf = Shelf()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.broker.down()
        for _ in range(3):  # each start leaves a log entry behind that only the disk holds
            await school.stop()
            await school.start()
        shelf.disks[-1].delay_s = 60.0
        for centre in school.centres.values():
            centre.deaf = True
        school.broker.up()
        await school.clock.sleep(2)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(21)

    school = live(tmp_path, scenario, disk=shelf)
    alarm = school.alarm("gym")
    copies = [s for s in school.carried("alarm") if s.payload["id"] == alarm]
    assert len(copies) >= 4


def test_stuck_disk_does_not_hold_the_stop(tmp_path: Path) -> None:
    """Real threads and a sync that never returns: the stop is over within three seconds."""
    faulty = FaultyDisk()
    premises: Premises = SCHOOL

    async def scenario() -> float:
        clock, dice = SystemClock(), random.Random(1)
        said: list[tuple[str, Any]] = []
        pins = SimulatedPins(clock.now_us)
        seams = Seams(
            clock=clock,
            random=dice,
            disk=ThreadedDisk(str(tmp_path / "ledger.db"), vfs=faulty.name),
            connector=WireBroker(clock=clock, random=dice),
            driver=GpioDriver(
                factory=pins, now_us=clock.now_us, report=lambda *line: said.append(line)
            ),
            log=lambda *line: said.append(line),
        )
        told = Premises(
            **{name: getattr(premises, name) for name in premises.__slots__}
            | {"ledger": LedgerSpec(str(tmp_path / "ledger.db")), "routes": ()}
        )
        stopping = asyncio.Event()
        gateway = await Gateway.open(told, seams, signer=SigningKey("gateway", bytes(32)))
        with faulty.syncs_held():
            running = asyncio.create_task(gateway.run(stopping=stopping, health=Systemd({})))
            await until(faulty.stalled.is_set)
            begun = time.monotonic()
            stopping.set()
            await running
            took_s = time.monotonic() - begun
        assert said[-1] == ("stopped", {"everything_on_disk": False})
        return took_s

    assert asyncio.run(scenario()) <= 3.0
