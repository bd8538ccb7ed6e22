"""Faults that stand are in the ledger as long as they do, through starts, pruning and new disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.record.entry import LedgerError
from simulators.disk.faulty import Fault, FaultyDisk
from tests.disk_cases import ledger_at, tidied
from tests.ledger_cases import Numbers, open_ledger


def test_standing_faults_come_back_exactly_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    events = [
        numbers.event("fault.path.raised", subject="campus", data={"route": "case"}),
        numbers.event("fault.path.raised", subject="campus", data={"route": "security"}),
        numbers.event("fault.storage.raised", subject="ledger", data={"why": "late"}),
        numbers.event("fault.stuck.raised", subject="door", data={"part": "bolt", "why": "held"}),
        numbers.event("fault.path.cleared", subject="campus", data={"route": "case", "ms": 5}),
        numbers.event("fault.storage.cleared", subject="ledger"),
        numbers.event("fault.wiring.cleared", subject="never-raised"),
    ]
    for event in events:
        ledger.append([numbers.entry(event)])
    ledger.close()
    ledger = open_ledger(path, start="0000000b")
    assert ledger.open_faults() == [events[1], events[3]]
    ledger.close()


def test_standing_fault_told_anew_stands_as_it_was_told_last(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    numbers = Numbers(ledger.identity)
    told = [
        numbers.event("fault.wiring.raised", data={"why": why}) for why in ("both-open", "unproved")
    ]
    ledger.append([numbers.entry(event) for event in told])
    assert ledger.open_faults() == [told[1]]
    ledger.close()


def test_standing_fault_is_recorded_with_its_event_or_not_at_all(tmp_path: Path) -> None:
    disk = FaultyDisk()
    ledger = open_ledger(tmp_path / "ledger.db", vfs=disk.name)
    numbers = Numbers(ledger.identity)
    entry = numbers.entry(numbers.event("fault.bus.raised", subject="corridor"))
    disk.fail(Fault.IO_ERROR, times=None)
    with pytest.raises(LedgerError):
        ledger.append([entry])
    disk.heal()
    assert ledger.open_faults() == []
    ledger.append([entry])
    ledger.append([entry])
    assert ledger.open_faults() == [entry.event]
    ledger.close()
    disk.close()


def test_standing_fault_never_leaves_and_a_cleared_one_does(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    numbers = Numbers(ledger.identity)
    raised = numbers.event("fault.bus.raised", subject="corridor")
    others = [numbers.entry(numbers.event("access.x"), routes=()) for _ in range(3)]
    ledger.append([numbers.entry(raised, routes=()), *others[:2]])  # the newest stays
    assert ledger.prune(before_utc_ms=1 << 60, limit=100) == 1
    assert ledger.open_faults() == [raised]
    cleared = numbers.event("fault.bus.cleared", subject="corridor")
    ledger.append([numbers.entry(cleared, routes=()), others[2]])
    assert ledger.prune(before_utc_ms=1 << 60, limit=100) == 3
    tidied(ledger)
    ledger.close()


def test_standing_faults_move_with_the_ledger_to_a_disk_that_is_back(tmp_path: Path) -> None:
    """Those of memory and those the disk held stand side by side; a clearing ends either."""
    folder = tmp_path / "disk"
    folder.mkdir()
    old = ledger_at(folder / "ledger.db")
    numbers = Numbers(old.identity, prefix="old")
    before = numbers.event("fault.bus.raised", subject="corridor")
    late = numbers.event("fault.storage.raised", subject="ledger")
    old.append([numbers.entry(before), numbers.entry(late)])
    old.close()
    folder.rename(tmp_path / "away")
    ledger = ledger_at(folder / "ledger.db", start="0000000b", fresh_id="0e0e0e0e")
    numbers = Numbers(ledger.identity, prefix="memory")
    memory = numbers.event("fault.storage.raised", subject="ledger", data={"why": "memory"})
    ledger.append([numbers.entry(memory)])
    (tmp_path / "away").rename(folder)
    assert ledger.give_way()
    ledger.move_to(ledger.reopen())
    found = ledger.take_found()
    assert found is not None
    assert list(found.open_faults) == [before, late]
    assert ledger.open_faults() == [before, memory]
    ledger.append([numbers.entry(numbers.event("fault.storage.cleared", subject="ledger"))])
    ledger.close()
    again = open_ledger(folder / "ledger.db", start="0000000c")
    assert again.open_faults() == [before]
    again.close()
