"""One resend, step by step: what is read, what is told gone, what the answer says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Message, Stream, StreamKey
from gateway.core.resend import GONE_RANGES_MAX, Asked, Sending, begun

MINE = StreamKey("security", Stream.LOG, "1ed9e700", 6, "57a40006")
ELDER = StreamKey("security", Stream.LOG, "1ed9e700", 5, "57a40005")
TWIN = StreamKey("security", Stream.LOG, "1ed9e700", 5, "c0b1ed05")


def asked(first: int, last: int, epoch: int = 6) -> Asked:
    return Asked("c-1", "security", Stream.LOG, "1ed9e700", epoch, first, last)


def message(key: StreamKey, sequence: int) -> Message:
    return Message(key, sequence, "event", "access.opened", None, b"token")


def of_mine(first: int, last: int, head: int) -> Sending:
    return begun(asked(first, last), [MINE], mine=MINE, head=head, earlier=None)


def spans(sending: Sending) -> list[tuple[StreamKey | None, int, int]]:
    return [(span.key, span.first, span.last) for span in sending.spans]


def test_what_was_never_given_is_neither_read_nor_gone() -> None:
    sending = of_mine(3, 1_000_000, head=10)
    assert spans(sending) == [(MINE, 3, 10)]
    assert sending.not_given == 999_990
    beyond = of_mine(11, 20, head=10)
    assert beyond.over
    assert beyond.outcome() == {"sent": 0, "gone": 0, "not_given": 10}


def test_epoch_that_has_not_begun_was_never_given() -> None:
    sending = begun(asked(1, 9, epoch=7), [], mine=MINE, head=10, earlier=None)
    assert (sending.over, sending.not_given) == (True, 9)


def test_epoch_of_another_ledger_may_have_been_given_however_late_it_is() -> None:
    """A disk that was swapped counts anew: its numbers are gone, and not of the future."""
    other = Asked("c-1", "security", Stream.LOG, "0ed9e70f", 7, 1, 9)
    sending = begun(other, [], mine=MINE, head=10, earlier=None)
    assert (spans(sending), sending.not_given) == ([(None, 1, 9)], 0)


def test_every_start_of_an_epoch_is_gone_through() -> None:
    """A disk swapped for a copy holds two of them."""
    sending = begun(asked(1, 4, epoch=5), [ELDER, TWIN], mine=MINE, head=10, earlier=None)
    assert spans(sending) == [(ELDER, 1, 4), (TWIN, 1, 4)]
    told = sending.took([message(ELDER, 2)], 4)
    assert told is not None
    assert (told["start"], told["ranges"]) == (ELDER.start, [[1, 1], [3, 4]])
    assert sending.took([message(TWIN, n) for n in range(1, 5)], 4) is None


def test_epoch_nothing_is_held_of_is_gone_without_a_start() -> None:
    sending = begun(asked(1, 4, epoch=5), [], mine=MINE, head=10, earlier=("1ed9e700", 4, 7))
    told = sending.took([], 4)
    assert told is not None
    assert "start" not in told
    assert sending.outcome()["earlier"] == {"ledger": "1ed9e700", "epoch": 4, "to": 7}


def test_gap_over_two_slices_is_told_as_one() -> None:
    sending = of_mine(1, 100, head=100)
    assert sending.took([message(MINE, 1)], 50) is None
    told = sending.took([message(MINE, 100)], 100)
    assert told is not None
    assert told["ranges"] == [[2, 99]]


def test_many_ranges_are_told_in_parts() -> None:
    last = 4 * GONE_RANGES_MAX
    sending = of_mine(1, 2 * last, head=2 * last)
    held = [message(MINE, number) for number in range(2, last + 1, 2)]
    told = sending.took(held, last)
    assert told is not None
    assert isinstance(told["ranges"], list)
    assert len(told["ranges"]) >= GONE_RANGES_MAX
    rest = sending.took([], 2 * last)
    assert rest is not None
    assert rest["ranges"] == [[last + 1, 2 * last]]


@given(st.sets(st.integers(1, 60)), st.integers(1, 8))
def test_every_number_is_sent_or_gone(held: set[int], most: int) -> None:
    """However the ledger is cut into slices."""
    sending = of_mine(1, 60, head=60)
    gone: list[tuple[int, int]] = []
    came: list[int] = []
    while sending.spans:
        span = sending.spans[0]
        found = sorted(number for number in held if number >= span.first)[:most]
        upto = found[-1] if len(found) == most else span.last
        told = sending.took([message(MINE, number) for number in found], upto)
        if told is not None:
            assert isinstance(told["ranges"], list)
            gone += [(item[0], item[1]) for item in told["ranges"] if isinstance(item, list)]  # type: ignore[misc]  # JSON: numbers, as `took` writes them
        came += [message.sequence for message in sending.ready]
        sending.ready.clear()
    assert sorted(held) == came
    missing = {number for first, last in gone for number in range(first, last + 1)}
    assert missing == set(range(1, 61)) - held
    assert sending.gone == len(missing)
