"""fault.delivery: one a route, from the first alarm nobody answered to the last that was."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.model import Fact
from gateway.core.outbox import Overdue, Why
from gateway.core.premises import Route
from gateway.undelivered import Undelivered

S = 1_000_000
PLAIN = Route("case", ("campus",), ("alarm",))
ANSWERED = Route("security", ("campus",), ("alarm",), answers=True, acknowledge_within_ms=60_000)


def overdue(alarm: str, at_s: int, *, since_s: int = 0, received: bool = False) -> Overdue:
    """Nobody has received it, or nobody has acknowledged it, by then."""
    why = Why.NO_ACKNOWLEDGEMENT if received else Why.NO_RECEIPT
    return Overdue(alarm, why, at_s * S, 0, since_s * S)


def types(facts: list[Fact]) -> list[str]:
    return [fact.type.removeprefix("fault.delivery.") for fact in facts]


def test_fault_says_which_alarm_waits_since_when_and_what_else_is_owed() -> None:
    (raised,) = Undelivered().overdue(PLAIN, overdue("a", 7, since_s=2), owed=3)
    assert (raised.type, raised.subject, raised.at_us) == ("fault.delivery.raised", "case", 7 * S)
    assert raised.data == {
        "route": "case",
        "alarm": "a",
        "why": "no-receipt",
        "waited_ms": 5_000,
        "owed": 3,
    }


def test_fault_ends_with_its_last_alarm_and_says_how_long_and_how_many() -> None:
    """An alarm that is overdue at every step counts once."""
    news = Undelivered()
    assert types(news.overdue(PLAIN, overdue("a", 5), owed=1)) == ["raised"]
    assert news.overdue(PLAIN, overdue("b", 6), owed=2) == []
    assert news.overdue(PLAIN, overdue("a", 8), owed=2) == []
    assert news.received(PLAIN, "a", 10 * S, unanswered=True) == []
    (cleared,) = news.received(PLAIN, "b", 12 * S, unanswered=True)
    assert (cleared.type, cleared.at_us) == ("fault.delivery.cleared", 12 * S)
    assert cleared.data == {"route": "case", "lasted_ms": 7_000, "alarms": 2}
    assert news.received(PLAIN, "b", 13 * S, unanswered=True) == []


def test_faults_of_two_routes_are_two() -> None:
    news = Undelivered()
    other = replace(PLAIN, id="deputy")
    assert types(news.overdue(PLAIN, overdue("a", 5), owed=1)) == ["raised"]
    assert types(news.overdue(other, overdue("a", 5), owed=1)) == ["raised"]
    assert types(news.received(other, "a", 6 * S, unanswered=True)) == ["cleared"]
    assert types(news.received(PLAIN, "a", 7 * S, unanswered=True)) == ["cleared"]


def test_receipt_does_not_end_what_waits_for_a_person() -> None:
    news = Undelivered()
    news.overdue(ANSWERED, overdue("a", 61, received=True), owed=0)
    for unanswered in (True, False):
        assert news.received(ANSWERED, "a", 62 * S, unanswered=unanswered) == []
    assert types(news.answered(ANSWERED, "a", 63 * S)) == ["cleared"]


def test_receipt_in_a_persons_time_ends_what_waited_for_it() -> None:
    news = Undelivered()
    news.overdue(ANSWERED, overdue("a", 5), owed=1)
    assert types(news.received(ANSWERED, "a", 60 * S - 1, unanswered=True)) == ["cleared"]


def test_receipt_beyond_a_persons_time_leaves_the_person_to_be_waited_for() -> None:
    news = Undelivered()
    news.overdue(ANSWERED, overdue("a", 5), owed=1)
    assert news.received(ANSWERED, "a", 60 * S, unanswered=True) == []
    assert types(news.answered(ANSWERED, "a", 70 * S)) == ["cleared"]


def test_receipt_beyond_a_persons_time_is_enough_once_somebody_has_answered() -> None:
    """Another route's operator was quicker than this one's network."""
    news = Undelivered()
    news.overdue(ANSWERED, overdue("a", 5), owed=1)
    assert types(news.received(ANSWERED, "a", 90 * S, unanswered=False)) == ["cleared"]


def test_answer_does_not_end_what_waits_for_a_receipt() -> None:
    news = Undelivered()
    news.overdue(ANSWERED, overdue("a", 5), owed=1)
    assert news.answered(ANSWERED, "a", 6 * S) == []
    assert types(news.received(ANSWERED, "a", 7 * S, unanswered=False)) == ["cleared"]


def test_alarm_that_was_received_since_waits_for_a_person_and_no_receipt() -> None:
    """What it is overdue for last is what must come."""
    news = Undelivered()
    news.overdue(ANSWERED, overdue("a", 5), owed=1)
    assert news.overdue(ANSWERED, overdue("a", 61, received=True), owed=0) == []
    assert news.received(ANSWERED, "a", 62 * S, unanswered=True) == []
    assert types(news.answered(ANSWERED, "a", 63 * S)) == ["cleared"]


def test_word_of_an_alarm_that_is_not_overdue_is_no_news() -> None:
    news = Undelivered()
    assert news.received(PLAIN, "a", S, unanswered=True) == []
    assert news.answered(PLAIN, "a", S) == []
    news.overdue(PLAIN, overdue("a", 5), owed=1)
    assert news.received(PLAIN, "b", 6 * S, unanswered=True) == []
    assert news.answered(PLAIN, "b", 6 * S) == []
