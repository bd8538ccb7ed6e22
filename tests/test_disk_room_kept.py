"""What a ledger without room never gives up, however much log is pressed into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.model import Stream
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger
from gateway.record.room import Limits
from tests.disk_cases import KEEP_MS, Machine, ledger_at, tidied
from tests.ledger_cases import Numbers

SMALL = Limits(max_bytes=512 << 10, free_share=0.0, least_bytes=0)
FLOOD = 1_500
"""Far more than there is room for."""


class Pressed:
    """A ledger in a small room that is told more and more of the log."""

    def __init__(self, path: Path) -> None:
        self.ledger: Ledger = ledger_at(path, limits=SMALL)
        self.numbers = Numbers(self.ledger.identity, token_bytes=900)
        self.log = self.numbers.key("case", "access.door.granted")

    def flood(self, count: int = FLOOD) -> int:
        """So many more log entries for one route; how much of the log is given up by then."""
        for _ in range(count // 50):
            self.ledger.append([self.numbers.log(routes=("case",)) for _ in range(50)])
            self.ledger.tidy(idle=True)
        tidied(self.ledger)
        return self.ledger.dropped.count


@pytest.fixture
def pressed(tmp_path: Path) -> Iterator[Pressed]:
    pressed = Pressed(tmp_path / "ledger.db")
    yield pressed
    pressed.ledger.close()


def test_room_alarm_that_is_over_stays_while_it_is_owed(pressed: Pressed) -> None:
    """Cleared before anybody heard of it: nothing but the debt keeps it."""
    raised = pressed.numbers.alarm(routes=("security",))
    over = pressed.numbers.event("alarm.panic.cleared", alarm=raised.event.alarm)
    cleared = pressed.numbers.entry(over, routes=("security",))
    pressed.ledger.append([raised, cleared, pressed.numbers.alarm(routes=("security",))])
    assert pressed.flood() > 0
    key = pressed.numbers.key("security", "alarm.panic.raised")
    assert pressed.ledger.owed()[key] == [(1, 3)]
    assert [message.sequence for message in pressed.ledger.read(key, 1, 3)] == [1, 2, 3]


def test_room_newest_of_a_stream_stays_although_it_is_log_that_is_owed(pressed: Pressed) -> None:
    """The next of that stream names its hash."""
    pressed.ledger.append([pressed.numbers.log(routes=("security",))])
    assert pressed.flood() > 0
    head = pressed.ledger.heads()["security", Stream.LOG]
    assert head.resumes == (1, 1)


def test_room_last_inventory_stays_whatever_its_age(pressed: Pressed) -> None:
    machine = Machine()
    for digest in ("first", "last"):
        data = {"configuration": digest}
        told = pressed.numbers.event("state.inventory", data=data)
        pressed.ledger.append([Entry(told, ())])
    pressed.ledger.retain(machine.now, keep_ms=KEEP_MS)
    machine.pass_days(300)
    pressed.flood(50)
    pressed.ledger.retain(machine.now, keep_ms=KEEP_MS)
    tidied(pressed.ledger)
    told_last = pressed.ledger.last_inventory()
    assert told_last is not None
    assert told_last.data == {"configuration": "last"}


def test_room_settled_leave_before_the_log_once_a_centre_has_answered(pressed: Pressed) -> None:
    given_up = pressed.flood()
    assert given_up > 0
    pressed.ledger.settle(pressed.log, [(1, FLOOD)], utc_ms=1)
    assert pressed.flood(150) == given_up
    assert pressed.ledger.owed() == {pressed.log: [(FLOOD + 1, FLOOD + 150)]}
    assert pressed.flood() > given_up  # where nothing settled is left it begins again
