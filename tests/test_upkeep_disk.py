"""Upkeep asks the disk one thing at a time, and what the disk does not answer disturbs nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from gateway.core.model import Fact
from gateway.record.entry import LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Place
from gateway.record.writer import InlineWriter
from gateway.upkeep import REPORT_EVERY_US, Upkeep
from simulators.virtual.time import VirtualClock, run_virtual
from tests.disk_cases import Told
from tests.ledger_cases import BEGAN_UTC_MS
from tests.school import SCHOOL


class Silent(InlineWriter):
    """A writer that is asked, and answers when the test says so; `asked` is what waits."""

    asked: list[asyncio.Future[Any]]

    def call(self, fn: Callable[[Ledger], Any]) -> asyncio.Future[Any]:
        """As Writer.call."""
        del fn
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]


class Rig:
    """An Upkeep over a silent disk; what it said, and what went wrong on the loop."""

    def __init__(self, clock: VirtualClock, writer: Silent) -> None:
        self.clock = clock
        self.writer = writer
        self.facts: list[Fact] = []
        self.unhandled: list[object] = []
        self.upkeep = Upkeep(
            SCHOOL, clock, writer, tell=self._tell, take_over=self.unhandled.append
        )

    def _tell(self, facts: Iterable[Fact]) -> None:
        self.facts += facts

    def storage(self) -> list[str]:
        """What was said of the disk."""
        return [fact.type for fact in self.facts if fact.type.startswith("fault.storage.")]

    async def periods(self, count: int = 1) -> int:
        """So many times the report is due; how many answers the disk owes by now."""
        for _ in range(count):
            await self.clock.sleep(REPORT_EVERY_US / 1e6)
            self.upkeep.wake(self.clock.now_us())
        return sum(not each.done() for each in self.writer.asked)


def run(path: Path, scenario: Callable[[Rig], Awaitable[None]]) -> Rig:
    """Play it over a ledger at a path."""

    async def played(clock: VirtualClock, _dice: random.Random) -> Rig:
        news, begin = Told(), Begin("0000000a", "0e0e0e0e", "b0070000", BEGAN_UTC_MS)
        opening = partial(Ledger.at, Place(str(path)), begin)
        writer = Silent(opening, on_trouble=news.trouble, on_recovered=news.recovered)
        writer.asked = []
        await writer.start(within_s=0)
        rig = Rig(clock, writer)
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: rig.unhandled.append(context)
        )
        rig.upkeep.wake(clock.now_us())
        for due in writer.asked:  # what a start asks for is not what is counted here
            due.set_result(None)
        await scenario(rig)
        await writer.stop(within_s=1)
        return rig

    return run_virtual(played, seed=1)


def test_disk_that_hangs_is_asked_once_for_what_it_dropped(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        assert await rig.periods(5) == 1

    assert run(tmp_path / "l.db", scenario).unhandled == []


def test_disk_that_has_answered_is_asked_again_next_time(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(3):
            assert await rig.periods() == 1
            rig.writer.asked[-1].set_result([])
            await asyncio.sleep(0)

    assert run(tmp_path / "l.db", scenario).unhandled == []


def test_question_that_fails_is_nobodys_crash_and_is_put_again(tmp_path: Path) -> None:
    """What is wrong with the disk is the writer's to tell."""

    async def scenario(rig: Rig) -> None:
        for failed in (True, False):
            assert await rig.periods() == 1
            if failed:
                error = LedgerError(StorageTrouble.IO_ERROR, "the disk gave an I/O error")
                rig.writer.asked[-1].set_exception(error)
            else:
                rig.writer.asked[-1].cancel()
            await asyncio.sleep(0)
        assert await rig.periods() == 1

    rig = run(tmp_path / "l.db", scenario)
    assert rig.unhandled == []
    assert rig.storage() == []


def test_start_on_a_good_disk_says_that_nothing_stands(tmp_path: Path) -> None:
    """A fault from before that nobody sees again must not stand for ever."""

    async def scenario(rig: Rig) -> None:
        rig.facts += rig.upkeep.begin(trouble=None, set_aside=None, lost=0)

    assert run(tmp_path / "l.db", scenario).storage() == ["fault.storage.cleared"]


def test_start_without_a_disk_or_beside_a_corrupt_one_says_so(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.facts += rig.upkeep.begin(trouble="no such device", set_aside=None, lost=0)
        rig.facts += rig.upkeep.begin(trouble=None, set_aside="ledger.db.corrupt-1", lost=2)

    rig = run(tmp_path / "l.db", scenario)
    assert rig.storage() == 2 * ["fault.storage.raised"]
    found = [fact.data for fact in rig.facts if fact.type == "fault.storage.raised"]
    assert found[0] == {"why": "memory", "text": "no such device"}
    assert found[1] == {"why": "corrupt", "set_aside": "ledger.db.corrupt-1", "lost": 2}
