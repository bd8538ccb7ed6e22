"""What the ledger needs of the daemon: losses reported, age counted, a returned disk taken over."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from gateway.core.model import Fact, Stream
from gateway.record.disk import InlineDisk
from gateway.record.ledger import Found, Ledger
from gateway.record.room import Limits
from gateway.record.writer import InlineWriter
from gateway.storage import DiskNews
from gateway.upkeep import MS_PER_DAY, REPORT_EVERY_US, RETAIN_EVERY_US, Upkeep
from simulators.disk.faulty import Fault, FaultyDisk
from simulators.virtual.time import VirtualClock, run_virtual
from tests.ledger_cases import BEGAN_UTC_MS, Numbers, open_ledger
from tests.school import SCHOOL

LIMITS = Limits(max_bytes=512 << 10, free_share=0.0, least_bytes=0)
KEEP_DAYS = 30


class Rig:
    """An Upkeep over a real writer in a small room; what it said."""

    def __init__(self, clock: VirtualClock, writer: InlineWriter, ledger: Ledger) -> None:
        self.clock = clock
        self.writer = writer
        self.numbers = Numbers(ledger.identity, token_bytes=900)
        self.facts: list[Fact] = []
        self.taken: list[Found] = []
        school = replace(SCHOOL, ledger=replace(SCHOOL.ledger, keep_days=KEEP_DAYS))
        self.upkeep = Upkeep(school, clock, writer, tell=self._tell, take_over=self.taken.append)

    def _tell(self, facts: Iterable[Fact]) -> None:
        self.facts += facts

    def said(self, kind: str) -> list[Fact]:
        return [fact for fact in self.facts if fact.type.startswith(kind)]

    async def wake(self) -> None:
        """As the daemon does, when it is due; and the loop goes round."""
        self.upkeep.wake(self.clock.now_us())
        await self.clock.sleep(0.01)


def run(
    path: Path,
    scenario: Callable[[Rig], Awaitable[None]],
    *,
    queue_max: int = 10_000,
    vfs: str | None = None,
) -> Rig:
    async def told(clock: VirtualClock, dice: random.Random) -> Rig:
        del dice
        disk = InlineDisk(str(path), vfs=vfs, limits=LIMITS, queue_max=queue_max)
        news = DiskNews()
        writer, ledger = await disk.open(
            start="0000000a",
            fresh_id="0e0e0e0e",
            boot="b0070000",
            utc_ms=BEGAN_UTC_MS,
            on_trouble=news.trouble,
            on_recovered=news.recovered,
        )
        assert isinstance(writer, InlineWriter)
        rig = Rig(clock, writer, ledger)
        news.on_trouble, news.on_recovered = rig.upkeep.trouble, rig.upkeep.recovered
        await scenario(rig)
        await writer.stop(within_s=1)
        return rig

    return run_virtual(told, seed=1)


def test_upkeep_reports_what_was_dropped_of_the_log_by_stream_with_count_and_span(
    tmp_path: Path,
) -> None:
    """No room and nothing settled: of each route's log so many, from here to there."""

    async def scenario(rig: Rig) -> None:
        for _ in range(600):
            await rig.writer.append(rig.numbers.log())
        await rig.clock.sleep(REPORT_EVERY_US / 1e6)
        await rig.wake()
        await rig.clock.sleep(REPORT_EVERY_US / 1e6)
        await rig.wake()

    rig = run(tmp_path / "l.db", scenario)
    told = rig.said("state.log.dropped")
    assert [fact.subject for fact in told] == ["security", "case"]
    assert [fact.to for fact in told] == [("security",), ("case",)]
    ledger = open_ledger(tmp_path / "l.db", start="0000000b")
    for fact in told:
        key = rig.numbers.key(fact.subject, "access.door.granted")
        owed = ledger.owed()[key]
        count = fact.data["count"]
        assert isinstance(count, int)
        assert count > 100
        assert fact.data == {
            "ledger": "0e0e0e0e",
            "epoch": 1,
            "from": 1,
            "to": count,
            "count": count,
        }
        assert owed == [(count + 1, 600)]
    ledger.close()


def test_upkeep_reports_what_a_full_queue_gave_up(tmp_path: Path) -> None:
    """The disk refuses and memory is full: told while the trouble stands, and no alarm among it."""
    disk = FaultyDisk()

    async def scenario(rig: Rig) -> None:
        await rig.writer.append(rig.numbers.alarm())
        disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
        for _ in range(30):
            rig.writer.append(rig.numbers.log(routes=("case",)))
            rig.writer.append(rig.numbers.alarm(routes=("case",)))
        await rig.clock.sleep(REPORT_EVERY_US / 1e6)
        await rig.wake()
        assert len(rig.said("fault.storage.raised")) == 1
        disk.heal()
        await rig.clock.sleep(5)

    rig = run(tmp_path / "l.db", scenario, queue_max=40, vfs=disk.name)
    disk.close()
    (told,) = rig.said("state.log.dropped")
    assert (told.subject, told.data["from"], told.data["to"], told.data["count"]) == (
        *("case", 1, 20),
        20,
    )
    assert len(rig.said("fault.storage.cleared")) == 1
    ledger = open_ledger(tmp_path / "l.db", start="0000000b")
    assert len(ledger.open_alarms()) == 31
    ledger.close()


def test_upkeep_says_nothing_when_nothing_was_dropped(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.writer.append(rig.numbers.log())
        for _ in range(5):
            await rig.clock.sleep(REPORT_EVERY_US / 1e6)
            await rig.wake()

    assert run(tmp_path / "l.db", scenario).facts == []


def test_upkeep_has_old_entries_leave_as_long_as_the_configuration_says(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.wake()
        key = rig.numbers.key("case", "access.door.granted")
        for _ in range(3):
            await rig.writer.append(rig.numbers.log(routes=("case",)))
        rig.writer.settle(key, [(1, 3)], 1)
        for day in range(KEEP_DAYS + 3):
            for _ in range(24):
                await rig.clock.sleep(RETAIN_EVERY_US / 1e6)
                await rig.wake()
            held = await rig.writer.call(lambda ledger: len(ledger.read(key, 1, 9)))
            assert held == 3 if day < KEEP_DAYS - 1 else held in {1, 3}
        assert held == 1
        assert rig.clock.now_us() > KEEP_DAYS * MS_PER_DAY * 1_000

    run(tmp_path / "l.db", scenario)


def test_upkeep_takes_over_what_a_disk_held_that_is_back_and_clears_the_fault(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    old = open_ledger(folder / "l.db")
    old.append([Numbers(old.identity, prefix="old").alarm()])
    old.close()
    folder.rename(tmp_path / "away")

    async def scenario(rig: Rig) -> None:
        rig.facts += rig.upkeep.begin(trouble="no disk", set_aside=None, lost=0)
        await rig.writer.append(rig.numbers.alarm())
        (tmp_path / "away").rename(folder)
        await rig.clock.sleep(10)

    rig = run(folder / "l.db", scenario)
    assert [fact.type for fact in rig.facts] == ["fault.storage.raised", "fault.storage.cleared"]
    (found,) = rig.taken
    assert [event.id for event in found.open_events] == ["old-1-1"]
    assert {key.stream for key in found.owed} == {Stream.ALARM}


def test_upkeep_tells_what_a_replaced_disk_took_with_it(tmp_path: Path) -> None:
    """Not readable any more when the new one was found: a loss of unknown size is said as that."""
    disk = FaultyDisk()
    path = tmp_path / "l.db"

    async def scenario(rig: Rig) -> None:
        await rig.writer.append(rig.numbers.alarm())
        disk.fail(Fault.IO_ERROR, times=None)
        rig.writer.append(rig.numbers.alarm())
        await rig.clock.sleep(40)
        path.rename(tmp_path / "taken.db")
        disk.heal()
        await rig.clock.sleep(10)
        await rig.wake()
        await rig.clock.sleep(61)
        await rig.wake()

    rig = run(path, scenario, vfs=disk.name)
    disk.close()
    assert [(fact.type.rpartition(".")[2], fact.data.get("why")) for fact in rig.facts] == [
        ("raised", "io-error"),
        ("raised", "replaced"),
        ("cleared", None),
    ]
    assert rig.facts[1].data["lost"] is None
    ledger = open_ledger(path, start="0000000b")
    assert len(ledger.open_alarms()) == 1  # what the daemon still had in memory
    ledger.close()
