"""A backlog on a new connection: its first message at once, the rest when somebody listens."""

from __future__ import annotations

import pytest

from gateway.core.hold import HOLD_US, Hold
from gateway.core.lane import OFFER_AGAIN_US, WINDOW_LEAST, Ref
from gateway.core.model import Message, Receipt, Stream, StreamKey
from gateway.core.outbox import Outbox
from gateway.core.premises import Route

S = 1_000_000
ROUTE = Route("security", ("campus", "lte"), ("alarm",))
ALARM = StreamKey("security", Stream.ALARM, "1ed9e700", 2, "5ta27000")
LOG = StreamKey("security", Stream.LOG, "1ed9e700", 2, "5ta27000")


def owe(
    outbox: Outbox, where: StreamKey, *sequences: int, now_us: int = 0
) -> list[tuple[str, ...]]:
    """New messages, raised alarms where it is the alarm stream; the uplinks that carry each."""
    kind = "alarm.panic.raised" if where is ALARM else "access.granted"
    return [
        outbox.owe(Message(where, n, f"event-{n}", kind, f"event-{n}", b""), now_us)
        for n in sequences
    ]


def back(*sequences: int, log: int = 0, at_us: int = 0) -> Outbox:
    """An outbox that owes these alarms and so much log, on a connection made at that moment."""
    outbox = Outbox(ROUTE)
    owe(outbox, ALARM, *sequences)
    owe(outbox, LOG, *range(1, log + 1))
    outbox.up("campus", at_us)
    return outbox


def taken(outbox: Outbox, now_us: int, *, limit: int = 100) -> list[int]:
    """Numbers of alarms; entries of the log come as negative ones."""
    refs = outbox.take("campus", now_us, log=True, limit=limit)
    return [ref.sequence if ref.key is ALARM else -ref.sequence for ref in refs]


def receipt(outbox: Outbox, through: int, now_us: int, *, uplink: str = "campus") -> None:
    outbox.receipt(Receipt("gw", ALARM, through), uplink=uplink, now_us=now_us)


def acked(outbox: Outbox, sequence: int, now_us: int, *, nobody: bool) -> None:
    outbox.acked("campus", Ref(ALARM, sequence), now_us, nobody=nobody)


# --- until somebody listens -----------------------------------------------------------------------


def test_backlog_waits_behind_its_first_message() -> None:
    outbox = back(1, 2, 3, log=2)
    assert taken(outbox, 0) == [1]
    assert taken(outbox, HOLD_US - 1) == []
    assert outbox.offer_due("campus") == HOLD_US
    assert not outbox.all_offered("campus")


def test_only_alarm_that_is_owed_waits_for_nothing() -> None:
    assert taken(back(7), 0) == [7]


def test_log_waits_although_no_alarm_is_owed() -> None:
    outbox = back(log=2)
    assert taken(outbox, 0) == []
    outbox.heard("campus", 0)
    assert taken(outbox, 1) == [-1, -2]


def test_new_alarm_waits_for_nothing_while_the_backlog_does() -> None:
    outbox = back(1, 2)
    assert taken(outbox, 0) == [1]
    assert owe(outbox, ALARM, 3, 4, now_us=1) == [("campus",), ("campus",)]
    assert taken(outbox, 2) == []


def test_echo_lets_the_backlog_go_on_behind_what_was_heard() -> None:
    outbox = back(1, 2, 3, log=1, at_us=S)
    assert taken(outbox, S) == [1]
    outbox.heard("campus", 0)
    assert taken(outbox, S + 1) == [2, 3, -1]


def test_echo_after_missed_ones_lets_everything_begin_anew_in_order() -> None:
    outbox = back(1, 2)
    assert taken(outbox, 0) == [1]
    owe(outbox, ALARM, 3, now_us=S // 4)
    outbox.heard("campus", S // 2)
    assert taken(outbox, S // 2 + 1) == [1, 2, 3]


def test_offer_of_the_very_moment_of_a_heartbeat_begins_anew_too() -> None:
    """It may have gone before the heartbeat, and the centre may have come in between."""
    outbox = back(1, 2)
    assert taken(outbox, S // 2) == [1]
    outbox.heard("campus", S // 2)
    assert taken(outbox, S // 2 + 1) == [1, 2]


def test_receipt_for_the_first_lets_the_backlog_go() -> None:
    outbox = back(1, 2, 3)
    assert taken(outbox, 0) == [1]
    receipt(outbox, 1, 9)
    assert taken(outbox, 9) == [2, 3]


def test_receipt_for_a_later_one_alone_does_not() -> None:
    """The centre began to listen in between: it lacks the first."""
    outbox = back(1, 2, 3)
    assert taken(outbox, 0) == [1]
    owe(outbox, ALARM, 4, now_us=1)
    word = Receipt("gw", ALARM, 0, also=((4, 4),))
    outbox.receipt(word, uplink="campus", now_us=2)
    assert taken(outbox, 3) == []


def test_receipt_that_came_elsewhere_proves_nothing_here_but_brings_the_next_first() -> None:
    outbox = back(1, 2, 3)
    assert taken(outbox, 0) == [1]
    receipt(outbox, 1, 9, uplink="lte")
    assert taken(outbox, 9) == [2]
    assert taken(outbox, 10) == []


def test_first_waits_for_room_on_the_uplink() -> None:
    outbox = back(1, 2)
    assert taken(outbox, 0, limit=0) == []
    assert taken(outbox, 1) == [1]


# --- nobody says anything -------------------------------------------------------------------------


def test_backlog_goes_to_a_centre_that_never_echoes_when_the_wait_is_over() -> None:
    """From its beginning: what went before may have reached nobody."""
    outbox = back(1, 2, 3, log=1)
    assert taken(outbox, 0) == [1]
    acked(outbox, 1, 1, nobody=False)
    assert taken(outbox, HOLD_US) == [1]
    assert taken(outbox, HOLD_US + 1) == []
    acked(outbox, 1, HOLD_US + 2, nobody=False)
    assert taken(outbox, HOLD_US + 2) == [2, 3, -1]
    assert outbox.offer_due("campus") == HOLD_US + OFFER_AGAIN_US


def test_backlog_goes_although_the_broker_does_not_answer_either() -> None:
    """The disk may not have given the bytes it was to ask with."""
    outbox = back(1, 2, 3)
    assert taken(outbox, 0) == [1]
    assert taken(outbox, HOLD_US) == [1]
    assert outbox.offer_due("campus") == 2 * HOLD_US
    assert taken(outbox, 2 * HOLD_US) == [2, 3]


def test_log_goes_when_the_wait_is_over_where_no_alarm_is_owed() -> None:
    outbox = back(log=2)
    assert taken(outbox, 0) == []
    assert outbox.offer_due("campus") == HOLD_US
    assert taken(outbox, HOLD_US) == [-1, -2]


def test_wait_that_nobody_noticed_costs_a_new_alarm_no_second_copy() -> None:
    """Nothing was owed for a minute: it goes out once, and is repeated in its turn."""
    outbox = back()
    assert taken(outbox, 0) == []
    assert outbox.offer_due("campus") is None
    assert owe(outbox, ALARM, 1, now_us=60 * S) == [("campus",)]
    assert taken(outbox, 60 * S) == []
    assert outbox.offer_due("campus") == 60 * S + OFFER_AGAIN_US


# --- the broker knows that nobody subscribes ------------------------------------------------------


def test_backlog_waits_on_while_the_broker_knows_of_no_subscriber() -> None:
    """One message every two seconds, the first; all of it when that one is taken."""
    outbox = back(1, 2, 3)
    assert taken(outbox, 0) == [1]
    acked(outbox, 1, 1, nobody=True)
    assert taken(outbox, 1) == []
    for times in range(1, 20):
        at_us = outbox.offer_due("campus")
        assert at_us is not None
        assert at_us <= times * (HOLD_US + 1)
        assert taken(outbox, at_us) == [1]
        acked(outbox, 1, at_us + 1, nobody=True)
        assert taken(outbox, at_us + 1) == []
    at_us = outbox.offer_due("campus")
    assert at_us is not None
    assert taken(outbox, at_us) == [1]
    acked(outbox, 1, at_us + 1, nobody=False)
    assert taken(outbox, at_us + 1) == [2, 3]


def test_new_alarms_for_nobody_put_the_question_off_no_further() -> None:
    outbox = back(1)
    assert taken(outbox, 0) == [1]
    acked(outbox, 1, 1, nobody=True)
    for number in range(2, 12):
        owe(outbox, ALARM, number, now_us=number * S // 8)
        acked(outbox, number, number * S // 8 + 1, nobody=True)
        assert taken(outbox, number * S // 8 + 1) == []
    assert outbox.offer_due("campus") == HOLD_US
    assert taken(outbox, HOLD_US) == [1]


def test_alarm_the_broker_has_nobody_for_waits_for_whoever_comes_back() -> None:
    """The centre went away while the connection stood: then too all comes in order."""
    outbox = back()
    outbox.heard("campus", 0)
    for number in (1, 2):
        owe(outbox, ALARM, number, now_us=10 * S + number)
        acked(outbox, number, 10 * S + number + 1, nobody=True)
    assert taken(outbox, 10 * S + 9) == []
    outbox.heard("campus", 0)
    assert taken(outbox, 11 * S) == [1, 2]


def test_log_nobody_subscribes_to_holds_nothing_back() -> None:
    outbox = back(log=1)
    outbox.heard("campus", 0)
    assert taken(outbox, 1) == [-1]
    outbox.acked("campus", Ref(LOG, 1), 2, nobody=True)
    owe(outbox, LOG, 2)
    assert taken(outbox, 3) == [-2]


def test_word_of_the_broker_for_a_connection_that_is_gone_changes_nothing() -> None:
    outbox = back(1)
    outbox.down("campus")
    acked(outbox, 1, 1, nobody=True)
    assert outbox.offer_due("campus") is None


# --- what is repeated -----------------------------------------------------------------------------


def test_few_alarms_are_repeated_as_they_happened() -> None:
    """A centre that begins to listen just then hears them in order."""
    outbox = back(*range(1, WINDOW_LEAST + 1))
    outbox.heard("campus", 0)
    everything = list(range(1, WINDOW_LEAST + 1))
    for times in range(5):
        assert taken(outbox, times * OFFER_AGAIN_US) == everything


@pytest.mark.parametrize("end_us", [HOLD_US, 10 * HOLD_US])
def test_hold_that_has_ended_is_over(end_us: int) -> None:
    hold = Hold(0)
    hold.end()
    assert hold.run_out(end_us) is None
    assert not hold.holds
    assert not hold.asks
