"""What the Outbox still waits for once a receipt has come or a person has answered."""

from __future__ import annotations

from gateway.core.model import Message, Receipt, Stream, StreamKey
from gateway.core.outbox import Outbox, Why
from gateway.core.premises import Route

S = 1_000_000
ALARM = StreamKey("security", Stream.ALARM, "1ed9e700", 2, "5ta27000")
ROUTE = Route(
    "security",
    ("campus",),
    ("alarm",),
    answers=True,
    receipt_within_ms=5_000,
    acknowledge_within_ms=60_000,
    then=("deputy", "head"),
)


def owing(at_us: int = 0) -> Outbox:
    """One raised alarm, owed since then."""
    outbox = Outbox(ROUTE)
    outbox.owe(Message(ALARM, 1, "event-1", "alarm.panic.raised", "alarm-1", b""), at_us)
    return outbox


def late(outbox: Outbox) -> list[str]:
    return list(outbox.overdue)


def test_overdue_alarm_says_since_when_it_has_waited() -> None:
    outbox = owing(3 * S)
    (first,) = outbox.wake(8 * S)
    assert (first.why, first.at_us, first.since_us) == (Why.NO_RECEIPT, 8 * S, 3 * S)
    outbox.receipt(Receipt("gw", ALARM, 1))
    (second,) = outbox.wake(100 * S)
    assert (second.why, second.since_us) == (Why.NO_ACKNOWLEDGEMENT, 3 * S)


def test_alarm_is_overdue_until_it_is_received_although_a_person_is_still_waited_for() -> None:
    outbox = owing()
    outbox.wake(5 * S)
    assert late(outbox) == ["alarm-1"]
    outbox.receipt(Receipt("gw", ALARM, 1))
    assert late(outbox) == []
    assert outbox.deadline() is not None


def test_overdue_alarm_a_person_has_answered_is_never_named_again() -> None:
    """It stays overdue: only the receipt is waited for, and nobody else is called."""
    outbox = owing()
    outbox.wake(5 * S)
    outbox.answered("alarm-1")
    assert outbox.deadline() is None
    assert outbox.wake(1_000 * S) == []
    assert late(outbox) == ["alarm-1"]
    outbox.receipt(Receipt("gw", ALARM, 1))
    assert (late(outbox), outbox.deadline()) == ([], None)
