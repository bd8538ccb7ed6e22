"""A disk that fails while history is sent again: alarms leave, the fault is told, the answer true.

Whatever the disk does, a resend goes on later or is refused by name; nobody is told that something
was sent, or is gone, that was neither.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Fact, Json
from gateway.record.disk import InlineDisk
from simulators.disk.faulty import Fault, FaultyDisk
from simulators.disk.late import LateDisk
from tests.obedience import answers, obeying, phases
from tests.school import School
from tests.test_disk_damage import leaves, spoil
from tests.test_resend import again, gone, target

MANY, HEAVY = 300, "x" * 4_000
"""Entries of nine kilobytes: three times what SQLite keeps in memory of a file."""

READS = frozenset({"read"})
GIVES_UP_S = 660


@dataclass
class Rig:
    """A school on a faulty disk that has lived once already, and holds much history."""

    school: School
    disk: FaultyDisk

    async def begin(self) -> None:
        """A life with much in the log, all of it signed for, and another start: nothing cached."""
        gateway, now_us = self.school.gateway, self.school.clock.now_us()
        assert gateway is not None
        gateway.tell(
            Fact("access.opened", "main-door", now_us, data={"text": HEAVY}, to=("security",))
            for _ in range(MANY)
        )
        await self.school.clock.sleep(20)
        await self.school.stop()
        await self.school.start()
        await self.school.clock.sleep(12)

    async def ask(self, first: int = 1, last: int = MANY, **changes: Json) -> None:
        """The desk wants the first life's log again, and it has begun to go out."""
        of = target(self.school, first, last, stream="log", epoch=1, **changes)
        self.school.centres["security"].command("resend", of)
        await self.school.clock.sleep(0.5)

    async def press(self, point: str = "gym") -> None:
        """An alarm, and what a guard may take for it."""
        before = len(self.alarms)
        await self.school.bench.press(point, "clean", 300)
        await self.school.clock.sleep(1)
        assert len(self.alarms) == before + 1, "no alarm came within a second of the press"

    @property
    def alarms(self) -> list[Any]:
        return self.school.heard("security", "alarm.panic.raised")


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    faulty = FaultyDisk()
    yield faulty
    faulty.close()


Scenario = Callable[[Rig], Coroutine[Any, Any, None]]


def told(tmp_path: Path, disk: FaultyDisk, scenario: Scenario) -> School:
    """Run it on a ledger whose file is on that disk; whole and running at the end."""

    async def lived(school: School) -> None:
        rig = Rig(school, disk)
        await rig.begin()
        await scenario(rig)
        assert school.running

    return obeying(tmp_path, lived, disk=lambda path, _: InlineDisk(path, vfs=disk.name))


def storage(school: School) -> list[str]:
    """Every fault.storage the security centre heard, in order."""
    return [kind.rpartition(".")[2] for kind in school.types("security", "fault.storage")]


def conclusion(school: School) -> tuple[str, dict[str, Any]]:
    return answers(school)[-1]


def sent_once(school: School, count: int) -> None:
    """Every number came again at least once, and the answer says how many are held."""
    numbers = {sent.payload["sequence"] for sent in again(school)}
    phase, data = conclusion(school)
    assert phase == "done"
    assert data["sent"] + data["gone"] == count
    assert len(numbers) == data["sent"]


def test_resend_waits_for_a_disk_that_cannot_be_read_and_goes_on(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    """A minute of I/O errors at every read: the alarm leaves meanwhile, then all the rest comes."""

    async def scenario(rig: Rig) -> None:
        await rig.ask()
        disk.fail(Fault.IO_ERROR, times=None)
        await rig.press()
        await rig.school.clock.sleep(60)
        assert phases(rig.school) == ["accepted"]
        disk.heal()
        await rig.school.clock.sleep(120)

    school = told(tmp_path, disk, scenario)
    sent_once(school, MANY)
    assert conclusion(school)[1]["gone"] == 0
    assert storage(school) == ["raised", "cleared"]


def test_resend_that_finds_only_reading_broken_is_told_as_a_fault(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask()
        disk.fail(Fault.IO_ERROR, times=None, operations=READS)
        await rig.school.clock.sleep(30)
        await rig.press()
        disk.heal()
        await rig.school.clock.sleep(150)

    school = told(tmp_path, disk, scenario)
    sent_once(school, MANY)
    assert storage(school) == ["raised", "cleared"]


def test_resend_goes_on_beside_a_disk_that_is_full(tmp_path: Path, disk: FaultyDisk) -> None:
    """What is held can be read: only what is new waits in memory."""

    async def scenario(rig: Rig) -> None:
        await rig.ask()
        disk.fail(Fault.FULL, times=None, operations=frozenset({"write"}))
        await rig.press()
        await rig.school.clock.sleep(30)
        assert phases(rig.school)[-1] == "done"
        disk.heal()
        await rig.school.clock.sleep(30)

    school = told(tmp_path, disk, scenario)
    sent_once(school, MANY)
    assert storage(school) == ["raised", "cleared"]


def test_resend_from_a_disk_that_stays_dead_is_refused_by_name_and_later_given(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    """After ten minutes the desk hears why and what went out; asked again, it gets the rest."""
    phase: dict[str, Any] = {}

    async def scenario(rig: Rig) -> None:
        await rig.ask()
        disk.fail(Fault.IO_ERROR, times=None)
        await rig.school.clock.sleep(GIVES_UP_S)
        await rig.press()
        said, data = conclusion(rig.school)
        phase.update(data, said=said, came=len(again(rig.school)))
        disk.heal()
        await rig.school.clock.sleep(60)
        await rig.ask()
        await rig.school.clock.sleep(60)

    school = told(tmp_path, disk, scenario)
    assert phase["said"] == "failed"
    assert "ledger" in phase["why"]
    assert 0 < phase["sent"] == phase["came"] < MANY
    assert phase["gone"] == 0
    assert gone(school) == []
    assert phases(school) == ["accepted", "failed", "accepted", "done"]
    assert conclusion(school)[1]["sent"] == MANY
    assert storage(school) == ["raised", "cleared"]


def test_resend_asked_of_a_disk_that_is_dead_is_taken_and_given_when_it_is_back(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    async def scenario(rig: Rig) -> None:
        disk.fail(Fault.IO_ERROR, times=None)
        await rig.press()
        await rig.school.clock.sleep(10)
        await rig.ask()
        await rig.press("reception")
        await rig.school.clock.sleep(60)
        assert again(rig.school) == []
        disk.heal()
        await rig.school.clock.sleep(120)

    school = told(tmp_path, disk, scenario)
    sent_once(school, MANY)
    assert len(school.heard("security", "alarm.panic.raised")) == 2


def test_resend_from_a_disk_that_hangs_for_a_while_goes_on(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    """Forty seconds in one read: everybody who asks the disk waits, no alarm does."""
    late: list[LateDisk] = []

    def made(path: str, clock: Any) -> LateDisk:
        late.append(LateDisk(path, clock=clock, vfs=disk.name))
        return late[-1]

    async def lived(school: School) -> None:
        rig = Rig(school, disk)
        await rig.begin()
        await rig.ask()
        late[-1].late(40)
        await rig.press()
        assert len(again(school)) < MANY
        await school.clock.sleep(150)

    school = obeying(tmp_path, lived, disk=made)
    sent_once(school, MANY)
    assert storage(school) == ["raised", "cleared"]


def test_resend_that_comes_upon_a_damaged_page_says_what_is_gone(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    """The file is set aside and replaced under way: what is no longer held is told as gone."""

    async def scenario(rig: Rig) -> None:
        path = Path(rig.school.premises.ledger.path)
        copy = tmp_path / "copy.db"  # the gateway keeps the file itself to itself
        shutil.copyfile(path, copy)
        pages = leaves(copy, "message")
        await rig.ask()
        for page in pages[len(pages) // 2 :]:
            spoil(path, page)
        await rig.school.clock.sleep(30)
        await rig.press()
        await rig.school.clock.sleep(120)

    school = told(tmp_path, disk, scenario)
    sent_once(school, MANY)
    data = conclusion(school)[1]
    assert data["gone"] > 0
    listed = [span for word in gone(school) for span in word["ranges"]]
    assert sum(last - first + 1 for first, last in listed) == data["gone"]
    assert storage(school)[0] == "raised"


@pytest.mark.parametrize("at", [1, 8, 60])
@pytest.mark.parametrize("fault", [Fault.IO_ERROR, Fault.CANNOT_OPEN])
def test_resend_survives_one_bad_call_wherever_it_falls(
    tmp_path: Path, disk: FaultyDisk, fault: Fault, at: int
) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask()
        disk.fail(fault, at=at)
        await rig.press()
        await rig.school.clock.sleep(90)

    school = told(tmp_path, disk, scenario)
    sent_once(school, MANY)
    assert conclusion(school)[1]["gone"] == 0
