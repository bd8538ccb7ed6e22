"""The Outbox: nothing owed is dropped but by a receipt, and everything is offered in its turn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.lane import FIRST_AGAIN, LOOK_AGAIN_US, OFFER_AGAIN_US, WINDOW_LEAST, Ref
from gateway.core.model import AlarmState, AlarmWord, Message, Receipt, Stream, StreamKey
from gateway.core.outbox import LONG, Outbox, Overdue, Why
from gateway.core.premises import Route

S = 1_000_000
ROUTE = Route("security", ("campus", "lte"), ("alarm",))
ANSWERED = replace(
    ROUTE, answers=True, acknowledge_within_ms=60_000, then=("deputy", "head", "police")
)


def key(stream: Stream = Stream.ALARM, epoch: int = 2, start: str = "5ta27000") -> StreamKey:
    return StreamKey("security", stream, "1ed9e700", epoch, start)


ALARM, LOG = key(), key(Stream.LOG)


def message(where: StreamKey, sequence: int, kind: str = "fault.path.raised") -> Message:
    alarm = f"alarm-{sequence}" if kind.startswith("alarm.") else None
    return Message(where, sequence, f"event-{sequence}", kind, alarm, b"")


def raised(sequence: int) -> Message:
    return message(ALARM, sequence, "alarm.panic.raised")


def receipt(
    where: StreamKey, through: int = 0, *also: tuple[int, int], alarms: tuple[str, ...] = ()
) -> Receipt:
    words = tuple(AlarmWord(alarm, AlarmState.RECEIVED) for alarm in alarms)
    return Receipt("gw", where, through, also=also, alarms=words)


def owing(outbox: Outbox, where: StreamKey, last: int) -> Outbox:
    for sequence in range(1, last + 1):
        outbox.owe(message(where, sequence), 0)
    return outbox


def listened(outbox: Outbox, uplink: str) -> None:
    """A new connection on which somebody listens from the beginning."""
    outbox.up(uplink, 0)
    outbox.heard(uplink, 0)


def taken(
    outbox: Outbox, uplink: str, now_us: int, *, log: bool = True, limit: int = 10_000
) -> list[int]:
    return [ref.sequence for ref in outbox.take(uplink, now_us, log=log, limit=limit)]


# --- what no disk has any more -----------------------------------------------------------------


def test_alarm_that_is_gone_is_received_only_by_a_receipt_that_covers_it() -> None:
    outbox = Outbox(ROUTE)
    outbox.owe(raised(1), 0)
    outbox.owe(raised(2), 0)
    outbox.gone(Ref(ALARM, 1))
    assert not outbox.owes(Ref(ALARM, 1))
    assert outbox.receipt(receipt(ALARM, 0, (2, 2)))[1] == ["alarm-2"]
    assert outbox.receipt(receipt(ALARM, 2, alarms=("other",)))[1] == ["alarm-1"]


def test_alarm_that_is_gone_is_told_as_not_received() -> None:
    outbox = Outbox(ROUTE)
    outbox.owe(raised(1), 0)
    outbox.gone(Ref(ALARM, 1))
    assert [overdue.why for overdue in outbox.wake(ROUTE.receipt_within_ms * 1_000)] == [
        Why.NO_RECEIPT
    ]


# --- offering ------------------------------------------------------------------------------------


def test_outbox_offers_a_new_alarm_at_once_on_every_connected_uplink() -> None:
    outbox = Outbox(ROUTE)
    assert outbox.owe(message(ALARM, 1), 0) == ()
    listened(outbox, "campus")
    listened(outbox, "lte")
    assert outbox.owe(message(ALARM, 2), 0) == ("campus", "lte")
    assert taken(outbox, "campus", 0) == [1]
    outbox.down("campus")
    assert outbox.owe(message(ALARM, 3), 0) == ("lte",)


def test_outbox_offers_a_new_alarm_although_the_window_is_full() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 1_000)
    listened(outbox, "campus")
    assert len(taken(outbox, "campus", 0)) == WINDOW_LEAST
    assert outbox.owe(message(ALARM, 1_001), 0) == ("campus",)


def test_outbox_offers_the_log_only_where_it_is_told_to() -> None:
    outbox = owing(Outbox(ROUTE), LOG, 3)
    listened(outbox, "campus")
    listened(outbox, "lte")
    assert outbox.owe(message(LOG, 4), 0) == ()
    assert taken(outbox, "lte", 0, log=False) == []
    assert taken(outbox, "campus", 0) == [1, 2, 3, 4]


def test_outbox_offers_oldest_epoch_first_then_by_number_and_alarms_before_the_log() -> None:
    outbox = Outbox(ROUTE)
    outbox.owe(message(ALARM, 1), 0)
    past = {key(stream, epoch): [(3, 4), (8, 8)] for epoch in (1, 0) for stream in Stream}
    outbox.restore(past, [], 0)
    listened(outbox, "campus")
    refs = outbox.take("campus", 0, log=True, limit=100)
    order = [(ref.key.stream, ref.key.epoch, ref.sequence) for ref in refs]
    numbers = (3, 4, 8)
    assert order == [
        *((Stream.ALARM, epoch, number) for epoch in (0, 1) for number in numbers),
        (Stream.ALARM, 2, 1),
        *((Stream.LOG, epoch, number) for epoch in (0, 1) for number in numbers),
    ]


def test_outbox_offers_everything_again_on_a_new_connection() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 3)
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0) == [1, 2, 3]
    outbox.receipt(receipt(ALARM, 1))
    outbox.down("campus")
    listened(outbox, "campus")
    assert taken(outbox, "campus", 1) == [2, 3]


def test_outbox_offers_again_after_five_seconds_and_not_before() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 2)
    assert outbox.offer_due("campus") is None
    listened(outbox, "campus")
    assert outbox.offer_due("campus") is None
    assert taken(outbox, "campus", 0) == [1, 2]
    assert outbox.offer_due("campus") == OFFER_AGAIN_US
    assert taken(outbox, "campus", OFFER_AGAIN_US - 1) == []
    outbox.receipt(receipt(ALARM, 1))
    assert taken(outbox, "campus", OFFER_AGAIN_US) == [2]
    assert outbox.offer_due("campus") == 2 * OFFER_AGAIN_US
    outbox.receipt(receipt(ALARM, 2))
    assert outbox.offer_due("campus") is None


def test_outbox_keeps_to_the_limit_and_goes_on_where_it_stopped() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 5)
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0, limit=0) == []
    assert taken(outbox, "campus", 0, limit=2) == [1, 2]
    assert taken(outbox, "campus", 0, limit=9) == [3, 4, 5]


def test_outbox_takes_nothing_for_an_uplink_that_is_down() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 1)
    assert taken(outbox, "campus", 0) == []
    outbox.down("campus")


@pytest.mark.parametrize("limited", [True, False])
def test_outbox_makes_nobody_spin_over_what_cannot_be_taken(limited: bool) -> None:  # noqa: FBT001 -- a table's column
    """No room on the uplink, or the log goes elsewhere: it is due again a second later."""
    outbox = owing(Outbox(ROUTE), LOG, 1)
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0) == [1]
    for now_us in (OFFER_AGAIN_US, OFFER_AGAIN_US + LOOK_AGAIN_US):
        assert outbox.offer_due("campus") == now_us
        assert taken(outbox, "campus", now_us, log=limited, limit=0 if limited else 9) == []
    assert taken(outbox, "campus", OFFER_AGAIN_US + LOOK_AGAIN_US) == [1]
    assert outbox.offer_due("campus") == 2 * OFFER_AGAIN_US + LOOK_AGAIN_US


def test_outbox_repeats_alarms_although_an_older_offer_of_the_log_waits() -> None:
    outbox = owing(Outbox(ROUTE), LOG, 1)
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0) == [1]
    outbox.owe(message(ALARM, 7), 1)
    assert taken(outbox, "campus", OFFER_AGAIN_US + 1, log=False) == [7]


def test_outbox_repeats_the_newest_alarms_to_a_deaf_centre_and_ever_as_many() -> None:
    """However many are raised meanwhile: each goes out once at once, few go out again."""
    outbox = Outbox(ROUTE)
    listened(outbox, "campus")
    for sequence in range(1, 1_001):
        assert outbox.owe(raised(sequence), sequence) == ("campus",)
    for times in range(1, 200):
        repeated = taken(outbox, "campus", times * 6 * S)
        assert len(repeated) == WINDOW_LEAST
        assert set(range(1_001 - FIRST_AGAIN, 1_001)) <= set(repeated)


def test_outbox_offers_everything_although_nothing_is_ever_receipted() -> None:
    """Nothing owed is forgotten over what is repeated."""
    outbox = Outbox(ROUTE)
    listened(outbox, "campus")
    for sequence in range(1, 501):
        outbox.owe(raised(sequence), 0)
    outbox.down("campus")
    listened(outbox, "campus")
    for stream in Stream:
        outbox.restore({key(stream, 1): [(1, 500)]}, [], 0)
    offered = [
        ref
        for times in range(200)
        for ref in outbox.take("campus", times * 6 * S, log=True, limit=10_000)
    ]
    assert {ref.sequence for ref in offered if ref.key == ALARM} == set(range(1, 501))
    assert {ref.sequence for ref in offered if ref.key == key(epoch=1)} == set(range(1, 501))


def test_outbox_settles_what_stands_behind_messages_a_centre_will_not_take() -> None:
    """A thousand wait behind two hundred that are never receipted: they pass."""
    outbox = owing(Outbox(ROUTE), ALARM, 1_200)
    listened(outbox, "campus")
    for now_us in range(0, 1_200 * S, S):
        for sequence in taken(outbox, "campus", now_us, limit=18):
            if sequence > 200:
                outbox.receipt(receipt(ALARM, 0, (sequence, sequence)))
    assert outbox.count(Stream.ALARM) == 200


def test_outbox_brings_raised_alarms_before_a_long_backlog_of_their_stream() -> None:
    """Somebody still waits for the last press of the outage; its history can wait."""
    outbox = owing(Outbox(ROUTE), ALARM, 1_000)
    for sequence in (1_001, 1_002):
        outbox.owe(raised(sequence), 0)
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0, limit=4) == [1_001, 1_002, 1, 2]
    outbox.receipt(receipt(ALARM, 0, (1_001, 1_001)))
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0, limit=3) == [1_002, 1, 2]


def test_outbox_brings_what_fits_a_window_in_order() -> None:
    """Forty presses of an outage, and what became of them, read as they happened."""
    outbox = owing(Outbox(ROUTE), ALARM, LONG - 40)
    for sequence in range(LONG - 39, LONG + 1):
        outbox.owe(raised(sequence), 0)
    listened(outbox, "campus")
    offered: list[int] = []
    while len(offered) < LONG:
        more = taken(outbox, "campus", 0)
        outbox.receipt(receipt(ALARM, more[-1]), uplink="campus", now_us=0)
        offered += more
    assert offered == list(range(1, LONG + 1))


def test_outbox_offers_more_at_once_while_receipts_are_prompt_and_less_when_they_queue() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 20_000)
    listened(outbox, "campus")
    now_us, sizes = 0, []
    for took_ms in (5, 5, 5, 5, 200, 200, 200, 200):
        offered = taken(outbox, "campus", now_us)
        sizes.append(len(offered))
        now_us += took_ms * 1_000
        receipted = receipt(ALARM, offered[-1])
        outbox.receipt(receipted, uplink="campus", now_us=now_us)
    assert sizes == [32, 64, 128, 256, 400, 200, 100, 50]


def test_outbox_offers_a_log_entry_that_was_written_after_a_later_one() -> None:
    outbox = Outbox(ROUTE)
    listened(outbox, "campus")
    outbox.owe(message(LOG, 2), 0)
    assert taken(outbox, "campus", 0) == [2]
    outbox.owe(message(LOG, 1), 0)
    assert taken(outbox, "campus", 0) == [1]


def test_outbox_offers_at_once_what_was_offered_before_anybody_listened() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 2)
    listened(outbox, "campus")
    assert taken(outbox, "campus", 0, limit=1) == [1]
    assert taken(outbox, "campus", S) == [2]
    outbox.heard("campus", S - 1)
    outbox.heard("lte", S - 1)
    assert taken(outbox, "campus", S) == [1]
    assert outbox.offer_due("campus") == S + OFFER_AGAIN_US


# --- settling ------------------------------------------------------------------------------------


def test_receipt_settles_the_prefix_and_the_ranges_beyond_a_gap() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 10)
    struck, _ = outbox.receipt(receipt(ALARM, 2, (5, 6), (9, 9)))
    assert struck == [(1, 2), (5, 6), (9, 9)]
    assert outbox.count(Stream.ALARM) == 5
    assert not outbox.owes(Ref(ALARM, 5))
    assert outbox.owes(Ref(ALARM, 7))
    assert outbox.receipt(receipt(ALARM, 2)) == ([], [])


def test_receipt_settles_only_its_own_epoch_and_start() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 1)
    for other in (key(epoch=1), key(start="07he6000"), LOG):
        assert outbox.receipt(receipt(other, 9)) == ([], [])
    assert outbox.owes(Ref(ALARM, 1))


def test_receipt_for_numbers_never_issued_settles_nothing_later() -> None:
    outbox = owing(Outbox(ROUTE), ALARM, 1)
    assert outbox.receipt(receipt(ALARM, 1_000)) == ([(1, 1)], [])
    outbox.owe(message(ALARM, 2), 0)
    assert outbox.owes(Ref(ALARM, 2))


def test_outbox_is_urgent_while_an_alarm_is_owed() -> None:
    outbox = owing(Outbox(ROUTE), LOG, 1)
    urgent = [outbox.urgent]
    outbox.owe(message(ALARM, 1), 0)
    urgent.append(outbox.urgent)
    outbox.receipt(receipt(ALARM, 1))
    assert [*urgent, outbox.urgent] == [False, True, False]


# --- overdue -------------------------------------------------------------------------------------


def test_alarm_without_a_receipt_in_time_is_overdue_once() -> None:
    outbox = Outbox(ROUTE)
    outbox.owe(raised(1), 0)
    assert outbox.deadline() == 5 * S
    assert outbox.wake(5 * S - 1) == []
    assert outbox.wake(5 * S) == [Overdue("alarm-1", Why.NO_RECEIPT, 5 * S, 0)]
    assert outbox.overdue == ("alarm-1",)
    assert outbox.deadline() is None
    assert outbox.wake(99 * S) == []


@pytest.mark.parametrize(
    "word",
    [receipt(ALARM, 1), receipt(ALARM, 0, (1, 1)), receipt(LOG, 0, alarms=("alarm-1",))],
    ids=["through", "also", "named"],
)
def test_alarm_is_received_when_covered_or_named(word: Receipt) -> None:
    outbox = Outbox(ROUTE)
    outbox.owe(raised(1), 0)
    assert outbox.receipt(word)[1] == ["alarm-1"]
    assert outbox.deadline() is None
    assert outbox.receipt(word)[1] == []


def test_alarm_that_waits_for_a_person_is_told_as_received_once() -> None:
    outbox = Outbox(ANSWERED)
    outbox.owe(raised(1), 0)
    received = [outbox.receipt(receipt(ALARM, 1, alarms=("alarm-1",)))[1] for _ in range(3)]
    assert received == [["alarm-1"], [], []]


def test_alarm_received_late_is_overdue_no_more() -> None:
    outbox = Outbox(ROUTE)
    outbox.owe(raised(1), 0)
    outbox.owe(raised(2), 0)
    outbox.wake(5 * S)
    assert outbox.receipt(receipt(ALARM, 0, (2, 2)))[1] == ["alarm-2"]
    assert outbox.overdue == ("alarm-1",)


def test_alarm_nobody_acknowledges_calls_one_route_after_another() -> None:
    outbox = Outbox(ANSWERED)
    outbox.owe(raised(1), 0)
    outbox.receipt(receipt(ALARM, 1))
    found = []
    while (due_us := outbox.deadline()) is not None:
        assert outbox.wake(due_us - 1) == []
        found += outbox.wake(due_us)
    assert found == [
        Overdue("alarm-1", Why.NO_ACKNOWLEDGEMENT, (60 + 60 * step) * S, step) for step in range(3)
    ]
    assert outbox.overdue == ()


def test_alarm_nobody_receives_calls_one_route_after_another_too() -> None:
    outbox = Outbox(ANSWERED)
    outbox.owe(raised(1), 0)
    found = [item for now in (5, 65, 125, 999) for item in outbox.wake(now * S)]
    assert [(item.why, item.at_us, item.step) for item in found] == [
        (Why.NO_RECEIPT, 5 * S, 0),
        (Why.NO_RECEIPT, 65 * S, 1),
        (Why.NO_RECEIPT, 125 * S, 2),
    ]


def test_alarm_received_between_two_calls_still_waits_for_a_person() -> None:
    outbox = Outbox(ANSWERED)
    outbox.owe(raised(1), 0)
    outbox.wake(5 * S)
    outbox.receipt(receipt(ALARM, 1))
    assert outbox.deadline() == 65 * S
    assert outbox.wake(65 * S) == [Overdue("alarm-1", Why.NO_ACKNOWLEDGEMENT, 65 * S, 1)]


def test_alarm_received_after_every_route_was_called_is_still_told_as_unacknowledged() -> None:
    outbox = Outbox(replace(ANSWERED, then=("deputy",)))
    outbox.owe(raised(1), 0)
    outbox.wake(5 * S)
    assert outbox.deadline() is None
    outbox.receipt(receipt(ALARM, 1))
    assert outbox.wake(60 * S) == [Overdue("alarm-1", Why.NO_ACKNOWLEDGEMENT, 60 * S, 1)]


def test_alarm_a_person_answered_calls_nobody_else() -> None:
    outbox = Outbox(ANSWERED)
    outbox.owe(raised(1), 0)
    outbox.receipt(receipt(ALARM, 1))
    outbox.answered("alarm-1")
    outbox.answered("never")
    assert outbox.deadline() is None


def test_alarm_a_person_answered_is_told_where_no_receipt_has_come_and_calls_nobody() -> None:
    outbox = Outbox(replace(ANSWERED, then=("deputy",)))
    outbox.owe(raised(1), 0)
    outbox.answered("alarm-1")
    assert outbox.wake(5 * S) == [Overdue("alarm-1", Why.NO_RECEIPT, 5 * S, 1)]
    assert outbox.deadline() is None
    outbox.receipt(receipt(ALARM, 1))
    assert outbox.wake(600 * S) == []
    assert outbox.overdue == ()


def test_only_raised_alarms_are_waited_for() -> None:
    outbox = Outbox(ROUTE)
    for sequence, kind in enumerate(
        ["alarm.panic.repeated", "state.alarm.closed", "fault.a.raised"]
    ):
        outbox.owe(message(ALARM, sequence + 1, kind), 0)
    assert outbox.deadline() is None


def test_restored_outbox_waits_for_receipts_and_people_anew() -> None:
    outbox = Outbox(ANSWERED)
    outbox.restore({ALARM: [(1, 1)]}, [raised(1)], 7 * S, unacknowledged=["alarm-0", "alarm-1"])
    assert outbox.wake(12 * S) == [Overdue("alarm-1", Why.NO_RECEIPT, 12 * S, 0)]
    assert outbox.receipt(receipt(ALARM, 0, alarms=("alarm-0",))) == ([], [])
    assert outbox.wake(67 * S) == [Overdue("alarm-0", Why.NO_ACKNOWLEDGEMENT, 67 * S, 0)]


def test_restored_outbox_waits_for_no_person_where_none_was_promised() -> None:
    outbox = Outbox(ROUTE)
    outbox.restore({}, [], 0, unacknowledged=["alarm-0"])
    assert outbox.deadline() is None


# --- all of it at once, against a plain model ----------------------------------------------------

UPLINKS = st.sampled_from(["campus", "lte"])
STREAMS = st.sampled_from(Stream)


@dataclass
class Link:
    """What the model knows of one connection."""

    offered: dict[Ref, int] = field(default_factory=dict)
    seen: set[Ref] = field(default_factory=set)


class Delivering(RuleBasedStateMachine):
    """Owed is a set; an offer is an entry in a dict. Everything else must follow from that."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(ROUTE)
        self.now_us = 0
        self.owed: set[Ref] = {Ref(key(stream, 1), n) for stream in Stream for n in (2, 3, 7)}
        self.outbox.restore({key(stream, 1): [(2, 3), (7, 7)] for stream in Stream}, [], 0)
        self.links: dict[str, Link] = {}
        self.last = dict.fromkeys(Stream, 0)
        self.waits: dict[str, int] = {}
        self.raised: set[Ref] = set()

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.9, 5.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_us += int(seconds * S)

    @rule(stream=STREAMS, count=st.sampled_from([1, 1, 1, 150, 500]))
    def owe(self, stream: Stream, count: int) -> None:
        for _ in range(count):
            self.last[stream] += 1
            kind = (
                "alarm.panic.raised" if stream is Stream.ALARM and count == 1 else "fault.x.raised"
            )
            fresh = message(key(stream), self.last[stream], kind)
            ref = Ref(fresh.key, fresh.sequence)
            at_once = self.outbox.owe(fresh, self.now_us)
            assert at_once == (tuple(self.links) if stream is Stream.ALARM else ())
            for uplink in at_once:
                self.links[uplink].offered[ref] = self.now_us
            self.owed.add(ref)
            if fresh.alarm is not None:
                self.raised.add(ref)
                self.waits[fresh.alarm] = self.now_us + 5 * S

    @rule(uplink=UPLINKS)
    def up(self, uplink: str) -> None:
        self.links.pop(uplink, None)
        self.outbox.down(uplink)
        listened(self.outbox, uplink)
        self.links[uplink] = Link()

    @rule(uplink=UPLINKS)
    def down(self, uplink: str) -> None:
        self.outbox.down(uplink)
        self.links.pop(uplink, None)

    @rule(uplink=UPLINKS, log=st.booleans(), limit=st.sampled_from([0, 1, 3, 100, 10_000]))
    def take(self, uplink: str, log: bool, limit: int) -> None:  # noqa: FBT001 -- a rule's argument
        refs = self.outbox.take(uplink, self.now_us, log=log, limit=limit)
        link = self.links.get(uplink)
        if link is None:
            assert refs == []
            return
        assert len(refs) == len(set(refs)) <= limit
        before = dict(link.offered)
        for ref in refs:
            assert ref in self.owed
            assert log or ref.key.stream is Stream.ALARM
            assert before.get(ref, -OFFER_AGAIN_US) + OFFER_AGAIN_US <= self.now_us
            link.offered[ref] = self.now_us
        fresh = [ref for ref in refs if ref not in before and ref not in self.raised]
        in_turn = [(ref.key.stream is Stream.LOG, ref.key.epoch, ref.sequence) for ref in fresh]
        assert in_turn == sorted(in_turn)
        now = [r for r, at_us in link.offered.items() if at_us + OFFER_AGAIN_US > self.now_us]
        for stream in Stream:
            ahead = [ref for ref in now if stream is Stream.LOG or ref.key.stream is stream]
            mine = {ref for ref in refs if ref.key.stream is stream}
            assert not mine or len(ahead) <= WINDOW_LEAST
            if len(refs) < limit and (log or stream is Stream.ALARM):
                owed = {ref for ref in self.owed if ref.key.stream is stream}
                assert owed <= set(now) or len(ahead) >= WINDOW_LEAST
        due_us = self.outbox.offer_due(uplink)
        assert due_us is None or due_us > self.now_us

    @rule(
        epoch=st.sampled_from([1, 2, 3]),
        stream=STREAMS,
        through=st.sampled_from([0, 1, 2, 5, 200, 10_000]),
        also=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), max_size=3),
    )
    def receipt(
        self, epoch: int, stream: Stream, through: int, also: list[tuple[int, int]]
    ) -> None:
        where = key(stream, epoch)
        spans = [(1, through), *((first, first + more) for first, more in also)]
        covered = {
            ref
            for ref in self.owed
            if ref.key == where and any(a <= ref.sequence <= b for a, b in spans)
        }
        struck, _ = self.outbox.receipt(receipt(where, through, *spans[1:]))
        assert {Ref(where, n) for a, b in struck for n in range(a, b + 1)} == covered
        assert sum(b - a + 1 for a, b in struck) == len(covered)
        self.owed -= covered
        for link in self.links.values():
            for ref in covered:
                link.offered.pop(ref, None)
        if covered or self.waits:
            held = {f"alarm-{ref.sequence}" for ref in self.owed if ref.key == ALARM}
            self.waits = {alarm: due for alarm, due in self.waits.items() if alarm in held}

    @rule()
    def wake(self) -> None:
        late = {alarm for alarm, due_us in self.waits.items() if due_us <= self.now_us}
        assert {item.alarm for item in self.outbox.wake(self.now_us)} == late
        for alarm in late:
            del self.waits[alarm]

    @invariant()
    def owes_exactly_what_no_receipt_covered(self) -> None:
        for stream in Stream:
            owed = {ref for ref in self.owed if ref.key.stream is stream}
            assert self.outbox.count(stream) == len(owed)
        assert all(self.outbox.owes(ref) for ref in self.owed)
        assert self.outbox.urgent is any(ref.key.stream is Stream.ALARM for ref in self.owed)

    @invariant()
    def wakes_in_time_for_every_alarm(self) -> None:
        assert self.outbox.deadline() == min(self.waits.values(), default=None)

    @precondition(lambda self: bool(self.owed))
    @rule()
    def a_new_connection_is_offered_everything_from_the_start(self) -> None:
        self.up("campus")
        refs = self.outbox.take("campus", self.now_us, log=True, limit=10_000)
        link = self.links["campus"]
        link.offered = dict.fromkeys(refs, self.now_us)

        def in_order(stream: Stream) -> list[Ref]:
            owed = (ref for ref in self.owed if ref.key.stream is stream)
            return sorted(owed, key=lambda ref: (ref.key.epoch, ref.sequence))

        alarms, log = in_order(Stream.ALARM), in_order(Stream.LOG)
        if len(alarms) > LONG:  # what people wait for does not wait for history
            alarms = list(dict.fromkeys([*sorted(self.raised & self.owed), *alarms]))
        assert refs == [*alarms, *log][:WINDOW_LEAST]
        assert all(
            (a.key.stream, b.key.stream) != (Stream.LOG, Stream.ALARM) for a, b in pairwise(refs)
        )


TestDelivering = Delivering.TestCase
TestDelivering.settings = settings(
    derandomize=True, deadline=None, max_examples=50, stateful_step_count=40
)
