"""What is said of the disk: one standing fault, whatever fails and in whatever order."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import Fact
from gateway.storage import LATE_GOOD_AGAIN_US, Storage

S = 1_000_000


def said(facts: list[Fact]) -> list[tuple[str, object]]:
    assert all(fact.subject == "ledger" for fact in facts)
    return [(fact.type.removeprefix("fault.storage."), fact.data.get("why")) for fact in facts]


def test_storage_that_fails_is_told_once_and_cleared_once() -> None:
    storage = Storage()
    facts = storage.failed(S, "full", "no space left")
    assert said(facts) == [("raised", "full")]
    assert facts[0].data["text"] == "no space left"
    assert storage.failed(2 * S, "full", "no space left") == []
    assert storage.late(3 * S) == []
    assert storage.deadline() is None
    assert storage.wake(10**12) == []
    assert said(storage.recovered(4 * S)) == [("cleared", None)]
    assert storage.recovered(5 * S) == []


def test_storage_that_was_late_is_good_after_a_minute_without_being_late() -> None:
    storage = Storage()
    assert storage.deadline() is None
    assert said(storage.late(0)) == [("raised", "late")]
    assert storage.late(30 * S) == []
    assert storage.deadline() == 30 * S + LATE_GOOD_AGAIN_US
    assert storage.wake(30 * S + LATE_GOOD_AGAIN_US - 1) == []
    facts = storage.wake(500 * S)
    assert said(facts) == [("cleared", None)]
    assert facts[0].at_us == 30 * S + LATE_GOOD_AGAIN_US
    assert storage.wake(900 * S) == []


def test_storage_that_was_late_and_then_fails_is_told_again_and_stays() -> None:
    storage = Storage()
    storage.late(0)
    assert said(storage.failed(S, "broken", "I/O error")) == [("raised", "broken")]
    assert storage.wake(10**12) == []
    assert said(storage.recovered(2 * S)) == [("cleared", None)]


def test_storage_set_aside_at_the_start_is_told_and_passes() -> None:
    storage = Storage()
    facts = storage.set_aside(0, "ledger.db.corrupt")
    assert said(facts) == [("raised", "corrupt")]
    assert facts[0].data["set_aside"] == "ledger.db.corrupt"
    assert said(storage.wake(LATE_GOOD_AGAIN_US)) == [("cleared", None)]


def test_storage_set_aside_does_not_end_a_fault_that_stands() -> None:
    storage = Storage()
    storage.failed(0, "memory", "no ledger")
    assert said(storage.set_aside(0, "ledger.db.corrupt")) == [("raised", "corrupt")]
    assert storage.wake(10**12) == []
    assert said(storage.recovered(S)) == [("cleared", None)]


def test_storage_that_comes_and_goes_is_one_fault_until_it_has_been_well_for_a_minute() -> None:
    """A card that fails every other second is told twice, and cleared at last, not hundreds."""
    storage = Storage()
    facts: list[Fact] = []
    for second in range(0, 600, 2):
        facts += storage.failed(second * S, "io-error", "the disk gave an I/O error")
        facts += storage.recovered((second + 1) * S)
        facts += storage.wake((second + 1) * S)
    assert said(facts) == [("raised", "io-error"), ("cleared", None), ("raised", "io-error")]
    storage.late(620 * S)
    assert storage.deadline() == 620 * S + LATE_GOOD_AGAIN_US
    assert said(storage.wake(800 * S)) == [("cleared", None)]
    assert said(storage.failed(900 * S, "full", "the disk is full")) == [("raised", "full")]
    assert said(storage.recovered(901 * S)) == [("cleared", None)]


@settings(derandomize=True, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 90)), max_size=40))
def test_storage_always_clears_what_it_raised_and_nothing_else(
    steps: list[tuple[int, int]],
) -> None:
    storage, now_us, standing = Storage(), 0, False
    acts: list[Callable[[int], list[Fact]]] = [
        storage.late,
        storage.recovered,
        storage.wake,
        lambda now_us: storage.failed(now_us, "full", ""),
        lambda now_us: storage.set_aside(now_us, "old"),
    ]
    for act, seconds in steps:
        now_us += seconds * S
        for fact in acts[act](now_us):
            raised = fact.type.endswith("raised")
            assert raised or standing
            standing = raised
    storage.wake(now_us + 1_000 * S)
    storage.recovered(now_us + 1_000 * S)
    assert storage.recovered(now_us + 1_000 * S) == []
