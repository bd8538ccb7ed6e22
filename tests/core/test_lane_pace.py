"""How a Lane learns what its uplink can bear: from the newest of what a receipt covers."""

from __future__ import annotations

from gateway.core.lane import QUEUED_US, WINDOW_LEAST, Lane
from gateway.core.model import Stream, StreamKey

LOG = StreamKey("security", Stream.LOG, "1ed9e700", 2, "5ta27000")
QUICK_US = 10_000


def quick() -> Lane:
    """A lane that knows how quick its uplink can be."""
    lane = Lane()
    lane.offer(LOG, 1, 0)
    lane.settle(LOG, [(1, 1)], QUICK_US)
    return lane


def test_receipt_that_took_long_only_for_the_oldest_it_covers_is_prompt() -> None:
    """A centre receipts in batches: what waited for the batch had no queue before it."""
    lane = quick()
    before = lane.window
    lane.offer(LOG, 2, 1_000_000)
    lane.offer(LOG, 3, 2_000_000)
    lane.settle(LOG, [(2, 3)], 2_000_000 + QUICK_US)
    assert lane.window == before + 2


def test_receipt_that_took_long_for_the_newest_too_shrinks_the_window() -> None:
    lane = quick()
    for number in range(2, 42):
        lane.offer(LOG, number, 0)
    lane.settle(LOG, [(2, 41)], QUICK_US)
    before = lane.window
    lane.offer(LOG, 42, 0)
    lane.offer(LOG, 43, 0)
    lane.settle(LOG, [(42, 43)], QUICK_US + QUEUED_US + 1)
    assert WINDOW_LEAST < lane.window == before - 1


def test_receipt_another_uplink_brought_teaches_nothing() -> None:
    lane = quick()
    before = lane.window
    lane.offer(LOG, 2, 0)
    lane.settle(LOG, [(2, 2)], None)
    assert lane.window == before
    assert not lane.offers(LOG, 2)
