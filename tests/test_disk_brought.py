"""What one ledger file holds comes into another: the small answers too, and within bounds."""

from __future__ import annotations

from pathlib import Path

import apsw

from gateway.record.carry import ONE_BY_ONE_MAX
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Place
from tests.disk_cases import ledger_at, owed_messages
from tests.ledger_cases import BEGAN_UTC_MS, Numbers

ALARMS = 3


def test_brought_from_memory_is_also_when_each_point_was_proved(tmp_path: Path) -> None:
    """Else every button would be asked to be walked to again after a disk was away."""
    begin = Begin("0000000a", "0e0e0e0e", "b0070000", BEGAN_UTC_MS)
    ledger = Ledger.without(Place(str(tmp_path / "l.db")), begin, trouble="no such device")
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.entry(numbers.event("test.panic.passed", subject="gym"))])
    proved = ledger.last_proved()
    assert set(proved) == {"gym"}
    ledger.move_to(ledger.reopen())
    assert ledger.durable
    assert ledger.last_proved() == proved
    ledger.close()


def test_brought_from_a_damaged_file_is_what_a_start_has_time_for(tmp_path: Path) -> None:
    """A range of what is owed that says two thousand million, and three messages are there."""
    path = tmp_path / "l.db"
    ledger = ledger_at(path)
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.alarm(routes=("security",)) for _ in range(ALARMS)])
    ledger.close()
    db = apsw.Connection(str(path))
    db.execute("UPDATE owed SET last = first + (1 << 31)")
    db.close()
    after = ledger_at(path, start="0000000b")
    assert after.set_aside is not None
    assert [message.sequence for message in owed_messages(after)] == [1, 2, 3]
    assert after.lost == ONE_BY_ONE_MAX - ALARMS
    after.close()
