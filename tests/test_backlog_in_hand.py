"""The queue to the disk while a batch is being written: what is in the disk's hand stays there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.record.backlog import Backlog, Outcome
from gateway.record.entry import Entry, LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from tests.disk_cases import Told, owed_messages
from tests.ledger_cases import BEGAN_UTC_MS, Numbers

QUEUE_MAX = 4


class Busy(Ledger):
    """A ledger to which something happens while it writes for the first time."""

    meanwhile: Callable[[], None] | None = None

    def append(self, entries: Sequence[Entry]) -> None:
        """As Ledger.append."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().append(entries)


def run_all(outcomes: list[Outcome]) -> None:
    """Deliver at once: the test is the loop."""
    for outcome in outcomes:
        outcome()


def test_full_queue_gives_up_nothing_that_is_being_written(tmp_path: Path) -> None:
    """More comes in than there is room for, while the oldest log entries are under the pen."""
    news = Told()
    ledger = Busy.open(
        str(tmp_path / "l.db"), start="0000000a", fresh_id="0e0e0e0e", boot="b", utc_ms=BEGAN_UTC_MS
    )
    numbers = Numbers(ledger.identity)

    async def scenario() -> tuple[list[asyncio.Future[None]], list[asyncio.Future[None]]]:
        backlog = Backlog(
            run_all, on_trouble=news.trouble, on_recovered=news.recovered, queue_max=QUEUE_MAX
        )
        first = [backlog.add(numbers.log()) for _ in range(QUEUE_MAX)]
        later: list[asyncio.Future[None]] = []
        ledger.meanwhile = lambda: later.extend(
            backlog.add(entry) for entry in (numbers.log(), numbers.alarm(), numbers.alarm())
        )
        while backlog.round(ledger):
            pass
        assert len(backlog) == 0
        assert backlog.dropped == 1
        return first, later

    first, later = asyncio.run(scenario())
    assert [future.exception() for future in first] == [None] * QUEUE_MAX
    given_up, *alarms = later
    error = given_up.exception()
    assert isinstance(error, LedgerError)
    assert error.reason is StorageTrouble.DROPPED
    assert [future.exception() for future in alarms] == [None, None]
    sequences = [
        message.sequence for message in owed_messages(ledger) if message.key.route == "security"
    ]
    assert sequences == [1, 2, *range(1, QUEUE_MAX + 1)]
    assert [dropped.count for dropped in ledger.dropped.take()] == [1, 1]
    assert news.words == []
    ledger.close()
