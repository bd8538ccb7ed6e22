"""What a centre makes of messages: nothing lost, nothing doubled, nothing hidden."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jws import TokenType, digest, open_token
from gateway.core.message import Head, read_receipt
from gateway.core.model import AlarmState, Stream
from simulators.centre.core.core import ALSO_MAX, CentreCore
from simulators.centre.core.site import KEPT_DIGESTS
from simulators.centre.core.spans import Ranges
from simulators.centre.core.words import Mark, Outcome
from tests.simulators.desk import NOW_MS, Desk, alarms
from tools.vector_parts import (
    GATEWAY,
    KEYS,
    ROUTE,
    STARTS,
    Gateway,
    event_id,
    raised,
)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def box() -> Gateway:
    return Gateway(epoch=6, start=STARTS[6])


# --- new, copy, conflict, refused -------------------------------------------------------------


def test_message_is_new_once_and_a_copy_after(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    assert desk.take(message.token).outcome is Outcome.NEW
    again = desk.take(message.token, uplink="lte")
    assert (again.outcome, again.copy, again.row) == (Outcome.COPY, True, None)


def test_copy_that_comes_before_the_commit_is_a_copy(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    first, second = desk.see(message.token), desk.see(message.token, uplink="lte")
    assert (first.outcome, second.outcome) == (Outcome.NEW, Outcome.COPY)


def test_same_number_with_other_bytes_is_a_conflict_that_is_shown_and_kept(
    desk: Desk, box: Gateway
) -> None:
    genuine, other = raised(box, 1), raised(Gateway(epoch=6, start=STARTS[6]), 2)
    desk.take(genuine.token)
    verdict = desk.take(other.token)
    assert verdict.outcome is Outcome.CONFLICT
    assert not verdict.copy
    assert verdict.row is not None
    assert verdict.row.token == other.token
    assert verdict.why


def test_conflict_is_stored_once_only(desk: Desk, box: Gateway) -> None:
    genuine, other = raised(box, 1), raised(Gateway(epoch=6, start=STARTS[6]), 2)
    desk.take(genuine.token)
    desk.take(other.token)
    again = desk.take(other.token)
    assert (again.outcome, again.row) == (Outcome.CONFLICT, None)


def test_same_event_under_another_number_is_not_shown_twice(desk: Desk, box: Gateway) -> None:
    desk.take(raised(box, 1).token)
    again = desk.take(raised(box, 1).token)
    assert (again.outcome, again.copy) == (Outcome.NEW, True)
    assert again.row is not None


def test_copy_older_than_the_hashes_is_known_by_its_number(desk: Desk, box: Gateway) -> None:
    messages = alarms(box, KEPT_DIGESTS + 1)
    for message in messages:
        desk.take(message.token)
    assert desk.take(messages[0].token).outcome is Outcome.COPY


@pytest.mark.parametrize(
    ("gateway", "route", "says"),
    [("school-13-main", ROUTE, "no such gateway"), (GATEWAY, "case", "another route")],
)
def test_message_on_a_strange_topic_is_refused(
    desk: Desk, box: Gateway, gateway: str, route: str, says: str
) -> None:
    verdict = desk.core.receive(gateway, route, "campus", raised(box, 1).token, NOW_MS)
    assert verdict.outcome is Outcome.REFUSED
    assert says in verdict.why


def test_message_of_another_gateway_is_refused_under_its_own_right_key(box: Gateway) -> None:
    both = {GATEWAY: [KEYS["gateway"].public], "annex": [KEYS["other-gateway"].public]}
    core = CentreCore(ROUTE, both, KEYS["security"])
    token = raised(box, 1).token
    assert core.receive("annex", ROUTE, "campus", token, NOW_MS).outcome is Outcome.REFUSED


def test_refused_token_leaves_nothing_behind(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    bent = message.token[:-2] + b"AA"
    assert desk.see(bent).outcome is Outcome.REFUSED
    assert desk.receipt(message.key).through == 0
    assert desk.take(message.token).outcome is Outcome.NEW


# --- what receipts say ------------------------------------------------------------------------


def test_nothing_is_receipted_before_it_is_stored(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    verdict = desk.see(message.token)
    assert desk.receipt(message.key).through == 0
    desk.commit(verdict)
    assert desk.receipt(message.key).through == 1


def test_failed_commit_makes_a_message_unseen(desk: Desk, box: Gateway) -> None:
    first, second = alarms(box, 2)
    lost, kept = desk.see(first.token), desk.see(second.token)
    assert lost.row is not None
    desk.core.failed(lost.row)
    desk.commit(kept)
    again = desk.take(first.token)
    assert again.outcome is Outcome.NEW
    assert desk.receipt(first.key).through == 2


def test_receipt_is_signed_and_reads_back(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    (out,) = desk.commit(desk.see(message.token))
    keys = {KEYS["security"].kid: KEYS["security"].public}
    _, payload = open_token(out.token, typ=TokenType.RECEIPT, keys=keys)
    assert read_receipt(payload) == out.receipt
    assert out.topic == f"qorgan/v1/{GATEWAY}/{ROUTE}/receipts"


def test_batch_gets_one_receipt_for_each_stream_and_uplink(desk: Desk, box: Gateway) -> None:
    one, two = alarms(box, 2)
    log = box.seal("state.inventory", GATEWAY, second=9, stream=Stream.LOG)
    verdicts = [desk.see(m.token) for m in (one, two, log)] + [desk.see(one.token, "lte")]
    found = [(out.uplink, out.receipt.key.stream.value) for out in desk.commit(*verdicts)]
    assert found == [("campus", "alarm"), ("campus", "log"), ("lte", "alarm")]


def test_copy_is_answered_on_the_uplink_that_brought_it(desk: Desk, box: Gateway) -> None:
    (message,) = alarms(box, 1)
    desk.take(message.token)
    (out,) = desk.commit(desk.see(message.token, "lte"))
    assert (out.uplink, out.receipt.through) == ("lte", 1)


def test_receipt_with_many_gaps_still_covers_what_just_came(desk: Desk, box: Gateway) -> None:
    messages = alarms(box, 4 * ALSO_MAX)
    for message in messages[1::2]:
        desk.take(message.token)
    (out,) = desk.commit(desk.see(messages[-1].token))
    assert len(out.receipt.also) == ALSO_MAX
    assert (len(messages), len(messages)) in out.receipt.also
    assert list(out.receipt.also) == sorted(out.receipt.also)


def test_receipt_in_parts_when_it_would_name_too_many_alarms(desk: Desk, box: Gateway) -> None:
    verdicts = [desk.see(message.token) for message in alarms(box, 150)]
    outs = desk.commit(*verdicts)
    assert [len(out.receipt.alarms) for out in outs] == [100, 50]


@given(st.data())
def test_any_order_and_any_copies_are_covered_exactly(data: st.DataObject) -> None:
    box = Gateway(epoch=6, start=STARTS[6])
    messages = alarms(box, 8)
    arrivals = data.draw(st.lists(st.sampled_from(messages), max_size=20))
    desk = Desk()
    new = [m.sequence for m in arrivals if desk.take(m.token).outcome is Outcome.NEW]
    came = {message.sequence for message in arrivals}
    assert sorted(new) == sorted(came)
    receipt = desk.receipt(messages[0].key)
    also = {n for first, last in receipt.also for n in range(first, last + 1)}
    assert set(range(1, receipt.through + 1)) | also == came


@given(st.lists(st.integers(1, 30)), st.integers(0, 40))
def test_ranges_hold_what_was_added_and_nothing_else(numbers: list[int], upto: int) -> None:
    ranges = Ranges()
    for number in numbers:
        ranges.add(number)
    held = {n for first, last in ranges.spans for n in range(first, last + 1)}
    missing = {n for first, last in ranges.missing(upto) for n in range(first, last + 1)}
    assert held == set(numbers)
    assert missing == set(range(1, upto + 1)) - held
    spans = ranges.spans
    assert all(b[0] > a[1] + 1 for a, b in pairwise(spans))
    assert all((number in ranges) == (number in held) for number in range(1, 32))


# --- gaps, chain, forks: marked, never hidden -------------------------------------------------


def test_gap_is_marked_with_its_numbers_and_receipted(desk: Desk, box: Gateway) -> None:
    messages = alarms(box, 5)
    verdict = desk.take(messages[4].token)
    assert (verdict.outcome, verdict.marks, verdict.gap) == (Outcome.NEW, (Mark.GAP,), ((1, 4),))
    assert desk.receipt(messages[4].key).also == ((5, 5),)


def test_messages_of_one_batch_are_no_gap_to_each_other(desk: Desk, box: Gateway) -> None:
    verdicts = [desk.see(message.token) for message in alarms(box, 3)]
    assert [verdict.gap for verdict in verdicts] == [(), (), ()]


def test_broken_chain_is_marked_and_receipted(desk: Desk, box: Gateway) -> None:
    (first,) = alarms(box, 1)
    forged = Gateway(epoch=6, start=STARTS[6], head=Head(1, "0" * 64))
    second = raised(forged, 2)
    desk.take(first.token)
    verdict = desk.take(second.token)
    assert verdict.marks == (Mark.BROKEN_CHAIN,)
    assert desk.receipt(first.key).through == 2


def test_broken_chain_shows_when_the_predecessor_comes_last(desk: Desk, box: Gateway) -> None:
    (first,) = alarms(box, 1)
    second = raised(Gateway(epoch=6, start=STARTS[6], head=Head(1, "0" * 64)), 2)
    desk.take(second.token)
    assert desk.take(first.token).marks == (Mark.BROKEN_CHAIN,)


@pytest.mark.parametrize(
    "head",
    [Head(1, None), Head(0, "0" * 64), Head(0, None, (5, 1)), Head(0, "0" * 64, (6, 1))],
    ids=["second without previous", "first with previous", "resumes nothing", "resumes itself"],
)
def test_impossible_chain_is_marked(desk: Desk, head: Head) -> None:
    verdict = desk.take(raised(Gateway(epoch=6, start=STARTS[6], head=head), 1).token)
    assert Mark.BROKEN_CHAIN in verdict.marks


def test_epoch_that_resumes_below_what_is_held_says_what_the_gateway_lost(
    desk: Desk, box: Gateway
) -> None:
    six = alarms(box, 3)
    for message in six:
        desk.take(message.token)
    seven = Gateway(epoch=7, start=STARTS[7], head=Head(0, digest(six[1].token), (6, 2)))
    verdict = desk.take(raised(seven, 20).token)
    assert verdict.marks == (Mark.RESUMED,)
    assert "6/3" in verdict.notes[0]
    assert desk.receipt(six[0].key).through == 3


def test_lost_message_that_comes_after_the_epoch_resumed_is_kept_and_marked(
    desk: Desk, box: Gateway
) -> None:
    six = alarms(box, 3)
    seven = Gateway(epoch=7, start=STARTS[7], head=Head(0, digest(six[1].token), (6, 2)))
    for message in (*six[:2], raised(seven, 20)):
        desk.take(message.token)
    verdict = desk.take(six[2].token)
    assert (verdict.outcome, verdict.marks) == (Outcome.NEW, (Mark.RESUMED,))


def test_plain_restart_is_not_marked(desk: Desk, box: Gateway) -> None:
    six = alarms(box, 3)
    seven = Gateway(epoch=7, start=STARTS[7], head=Head(0, digest(six[2].token), (6, 3)))
    for message in six:
        desk.take(message.token)
    assert desk.take(raised(seven, 20).token).marks == ()


def test_epoch_with_two_starts_is_a_fork_and_both_are_accepted(desk: Desk, box: Gateway) -> None:
    copied = Gateway(epoch=6, start="c0b1ed00")
    desk.take(raised(box, 1).token)
    verdict = desk.take(raised(copied, 2).token)
    assert (verdict.outcome, verdict.marks) == (Outcome.NEW, (Mark.FORK,))
    assert verdict.row is not None
    assert desk.receipt(verdict.row.key).through == 1


# --- restoring --------------------------------------------------------------------------------


def test_restored_centre_says_and_knows_the_same(box: Gateway) -> None:
    before, after = Desk(), Desk()
    messages = alarms(box, 4)
    for message in (messages[0], messages[3], messages[1]):
        before.take(message.token)
    answer = before.core.answer(event_id(1), AlarmState.ACKNOWLEDGED, 7, NOW_MS)
    assert answer is not None
    before.core.answered(answer)
    after.core.restore(before.rows, [answer])
    assert after.receipt(messages[0].key) == before.receipt(messages[0].key)
    assert after.core.alarms() == before.core.alarms()
    assert [after.take(m.token).outcome.value for m in messages] == ["copy", "copy", "new", "copy"]
