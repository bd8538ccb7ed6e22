"""What people said of an alarm: it opens, moves forward only, and reaches the gateway again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import AlarmState
from simulators.centre.core.core import KEPT_CLOSED
from simulators.centre.core.words import Mark
from tests.simulators.desk import NOW_MS, Desk, alarms, words
from tools.vector_parts import (
    GATEWAY,
    RECEPTION,
    ROUTE,
    STARTS,
    Gateway,
    event_id,
    heartbeat,
    raised,
)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def box() -> Gateway:
    return Gateway(epoch=6, start=STARTS[6])


# --- alarms and answers -----------------------------------------------------------------------


def test_alarm_opens_by_its_message_and_ends_when_it_clears(desk: Desk, box: Gateway) -> None:
    desk.take(raised(box, 1).token)
    (alarm,) = desk.core.alarms()
    assert (alarm.id, alarm.subject, alarm.place["room"]) == (
        event_id(1),
        "reception",
        "Қабылдау бөлмесі",
    )
    cleared = box.seal("alarm.panic.cleared", "reception", second=2, alarm=event_id(1))
    desk.take(cleared.token)
    assert desk.core.alarms() == ()


def test_alarm_known_only_by_its_repetition_is_open_too(desk: Desk, box: Gateway) -> None:
    raised(box, 1)
    again = box.seal(
        "alarm.panic.repeated", "reception", second=2, alarm=event_id(1), point=RECEPTION
    )
    verdict = desk.take(again.token)
    assert verdict.marks == (Mark.GAP,)
    assert [alarm.id for alarm in desk.core.alarms()] == [event_id(1)]


def test_alarm_whose_end_came_first_is_not_left_open(desk: Desk, box: Gateway) -> None:
    begun = raised(box, 1)
    cleared = box.seal("alarm.panic.cleared", "reception", second=2, alarm=event_id(1))
    desk.take(cleared.token)
    verdict = desk.take(begun.token)
    assert not verdict.copy
    assert desk.core.alarms() == ()


@given(st.lists(st.sampled_from(list(AlarmState)), max_size=8))
def test_answers_never_move_back(states: list[AlarmState]) -> None:
    desk = Desk()
    desk.take(raised(Gateway(epoch=6, start=STARTS[6]), 1).token)
    ranks = [AlarmState.RECEIVED.rank]
    for state in states:
        answer = desk.core.answer(event_id(1), state, 7, NOW_MS)
        assert (answer is not None) == (state.rank > ranks[-1])
        if answer is not None:
            (out,) = desk.core.answered(answer)
            assert words([out]) == [(event_id(1), state.value)]
            ranks.append(state.rank)


def test_answer_goes_out_on_every_uplink_that_was_heard(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    desk.take(message.token)
    desk.take(message.token, "lte")
    answer = desk.core.answer(event_id(1), AlarmState.ACKNOWLEDGED, 7, NOW_MS)
    assert answer is not None
    outs = desk.core.answered(answer)
    assert [out.uplink for out in outs] == ["campus", "lte"]
    assert {(w.operator, w.at) for out in outs for w in out.receipt.alarms} == {
        (7, "2026-12-01T12:01:00.000Z")
    }


def test_answer_names_the_start_that_is_alive(desk: Desk, box: Gateway) -> None:
    desk.take(raised(box, 1).token)
    token = heartbeat(1, epoch=7, start=STARTS[7])
    desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    answer = desk.core.answer(event_id(1), AlarmState.ACKNOWLEDGED, 7, NOW_MS)
    assert answer is not None
    (out,) = desk.core.answered(answer)
    assert (out.receipt.key.epoch, out.receipt.key.start) == (7, STARTS[7])


def test_copy_of_an_alarm_brings_its_present_word(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    assert words(desk.commit(desk.see(message.token))) == [(event_id(1), "received")]
    answer = desk.core.answer(event_id(1), AlarmState.DISPATCHED, 7, NOW_MS)
    assert answer is not None
    desk.core.answered(answer)
    assert words(desk.commit(desk.see(message.token))) == [(event_id(1), "dispatched")]


def test_heartbeat_that_lists_an_alarm_is_told_its_word_again(desk: Desk, box: Gateway) -> None:
    desk.take(raised(box, 1).token)
    answer = desk.core.answer(event_id(1), AlarmState.CLOSED, 7, NOW_MS)
    assert answer is not None
    desk.core.answered(answer)
    token = heartbeat(1, open=(event_id(1),))
    beat = desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    assert beat.receipt is not None
    assert words([beat.receipt]) == [(event_id(1), "closed")]


def test_closed_alarms_are_kept_within_bounds(desk: Desk, box: Gateway) -> None:
    count = KEPT_CLOSED + 5
    for message in alarms(box, count):
        desk.take(message.token)
        answer = desk.core.answer(message.event, AlarmState.CLOSED, 7, NOW_MS)
        assert answer is not None
        desk.core.answered(answer)
    with pytest.raises(KeyError):
        desk.core.answer(event_id(1), AlarmState.CLOSED, 7, NOW_MS)
    assert desk.core.answer(event_id(count), AlarmState.CLOSED, 7, NOW_MS) is None


def test_answer_on_an_unknown_alarm_is_a_key_error(desk: Desk) -> None:
    with pytest.raises(KeyError):
        desk.core.answer(event_id(1), AlarmState.CLOSED, 7, NOW_MS)
