"""Signs of life and age: a gateway gone is said, an old alarm is recognisably old."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jws import TokenType, digest, seal
from gateway.core.message import Head
from gateway.core.model import Stream, StreamKey
from simulators.centre.core.core import CentreCore
from simulators.centre.core.reading import LATE_AFTER_MS, AgeBy, MessageClock, age_of, tied
from simulators.centre.core.site import MISSING_AFTER_MS
from simulators.centre.core.words import FindingKind
from simulators.centre.screen import json_line
from tests.simulators.desk import NOW_MS, Desk, alarms
from tools.vector_parts import (
    BOOT,
    CASHIER,
    GATEWAY,
    KEYS,
    LEDGER,
    NOON_MS,
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


# --- heartbeats -------------------------------------------------------------------------------


def beats(core: CentreCore, token: bytes, at_ms: int, uplink: str = "campus") -> list[FindingKind]:
    beat = core.beat(GATEWAY, ROUTE, uplink, token, at_ms)
    assert beat.why == ""
    return [finding.kind for finding in beat.findings]


def test_heartbeat_is_echoed_on_its_own_uplink(desk: Desk) -> None:
    beat = desk.core.beat(GATEWAY, ROUTE, "lte", heartbeat(41), NOW_MS)
    assert beat.receipt is not None
    receipt = beat.receipt.receipt
    assert (beat.receipt.uplink, receipt.beat, receipt.through) == ("lte", 41, 0)
    assert receipt.key == StreamKey(ROUTE, Stream.ALARM, LEDGER, 6, STARTS[6])


@pytest.mark.parametrize("number", [40, 41])
def test_heartbeat_repeated_is_refused_and_not_echoed(desk: Desk, number: int) -> None:
    beats(desk.core, heartbeat(41), NOW_MS)
    beat = desk.core.beat(GATEWAY, ROUTE, "campus", heartbeat(number), NOW_MS)
    assert "not new" in beat.why
    assert beat.receipt is None


def test_heartbeat_recorded_on_one_uplink_is_no_sign_of_life_on_another(desk: Desk) -> None:
    for number in range(1, 11):
        beats(desk.core, heartbeat(number), NOW_MS + number * 5_000)
    replay_ms = NOW_MS + 10 * 5_000 + 60_000
    beat = desk.core.beat(GATEWAY, ROUTE, "lte", heartbeat(9), replay_ms)
    assert "no sign of life" in beat.why
    assert beat.receipt is None


def test_gateway_is_lost_after_seventeen_seconds_and_said_once(desk: Desk) -> None:
    beats(desk.core, heartbeat(1, heads={}), NOW_MS)
    assert desk.core.deadline() == NOW_MS + 17_000
    assert desk.core.wake(NOW_MS + 16_999) == ()
    assert [f.kind for f in desk.core.wake(NOW_MS + 17_000)] == [FindingKind.LOST]
    assert desk.core.wake(NOW_MS + 99_000) == ()
    assert desk.core.deadline() is None


def test_gateway_heard_again_is_found(desk: Desk) -> None:
    beats(desk.core, heartbeat(1), NOW_MS)
    desk.core.wake(NOW_MS + 17_000)
    late = heartbeat(9, monotonic_ms=3_605_000 + 20_000)
    assert FindingKind.FOUND in beats(desk.core, late, NOW_MS + 20_000)


def test_gateway_never_heard_is_lost_too(desk: Desk) -> None:
    desk.core.watch(NOW_MS)
    assert [f.kind for f in desk.core.wake(NOW_MS + 17_000)] == [FindingKind.LOST]


def test_gateway_on_a_slow_uplink_only_is_not_lost_between_its_heartbeats() -> None:
    keys = {GATEWAY: [KEYS["gateway"].public]}
    slow = {"campus": 5_000, "lte": 60_000}
    core = CentreCore(ROUTE, keys, KEYS["security"], intervals_ms=slow)
    beats(core, heartbeat(1, monotonic_ms=1_000, heads={}), NOW_MS)
    assert [f.kind for f in core.wake(NOW_MS + 17_000)] == [FindingKind.LOST]
    beats(core, heartbeat(1, monotonic_ms=31_000, heads={}), NOW_MS + 30_000, "lte")
    assert core.wake(NOW_MS + 30_000 + 181_999) == ()
    assert core.deadline() == NOW_MS + 30_000 + 182_000


def test_standby_uplink_does_not_make_a_lost_gateway_slower_to_see() -> None:
    keys = {GATEWAY: [KEYS["gateway"].public]}
    slow = {"campus": 5_000, "lte": 60_000}
    core = CentreCore(ROUTE, keys, KEYS["security"], intervals_ms=slow)
    beats(core, heartbeat(1, monotonic_ms=1_000, heads={}), NOW_MS, "lte")
    beats(core, heartbeat(1, monotonic_ms=2_000, heads={}), NOW_MS + 1_000)
    assert core.deadline() == NOW_MS + 18_000


def test_heads_reveal_a_lost_last_message(desk: Desk, box: Gateway) -> None:
    messages = alarms(box, 3)
    for message in messages[:2]:
        desk.take(message.token)
    heads = {Stream.ALARM: 3, Stream.LOG: 0}
    assert beats(desk.core, heartbeat(1, heads=heads), NOW_MS) == []
    assert desk.core.deadline() == NOW_MS + MISSING_AFTER_MS
    (finding,) = desk.core.wake(NOW_MS + MISSING_AFTER_MS)
    assert (finding.kind, finding.spans) == (FindingKind.MISSING, ((3, 3),))
    desk.take(messages[2].token)
    found = [f.kind for f in desk.core.wake(NOW_MS + MISSING_AFTER_MS + 1)]
    assert found == [FindingKind.COMPLETE]


def test_backlog_that_is_still_coming_in_is_not_called_missing(desk: Desk, box: Gateway) -> None:
    messages = alarms(box, 3)
    beats(desk.core, heartbeat(1, heads={Stream.ALARM: 3}), NOW_MS)
    for step, message in enumerate(messages, start=1):
        desk.take(message.token)
        assert desk.core.wake(NOW_MS + step * (MISSING_AFTER_MS - 5_000)) == ()


def test_epoch_that_resumes_names_the_last_of_the_one_before(desk: Desk, box: Gateway) -> None:
    six = alarms(box, 3)
    seven = Gateway(epoch=7, start=STARTS[7], head=Head(0, digest(six[2].token), (6, 3)))
    desk.take(six[0].token)
    desk.take(raised(seven, 20).token)
    desk.core.wake(NOW_MS)
    (finding,) = desk.core.wake(NOW_MS + MISSING_AFTER_MS)
    assert (finding.key, finding.spans) == (six[0].key, ((2, 3),))


def test_heartbeat_of_a_second_start_in_one_epoch_is_a_fork_said_once(desk: Desk) -> None:
    beats(desk.core, heartbeat(1), NOW_MS)
    assert FindingKind.FORK in beats(desk.core, heartbeat(1, start="c0b1ed00"), NOW_MS)
    assert FindingKind.FORK not in beats(desk.core, heartbeat(2, start="c0b1ed00"), NOW_MS)


@pytest.mark.parametrize(
    "token",
    [
        heartbeat(1)[:-2] + b"AA",
        raised(Gateway(epoch=6, start=STARTS[6]), 1).token,
        heartbeat(2**53, utc_ms=NOON_MS, monotonic_ms=1),
        seal(TokenType.HEARTBEAT, {}, KEYS["gateway"]),
        b"",
    ],
    ids=["signature", "a message", "number beyond JSON", "empty", "nothing"],
)
def test_heartbeat_that_is_none_is_refused(desk: Desk, token: bytes) -> None:
    beat = desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    assert beat.why
    assert (beat.receipt, beat.findings) == (None, ())


# --- age --------------------------------------------------------------------------------------


CLOCK = MessageClock(BOOT, 100_000, NOON_MS, synchronised=True)


def test_age_by_monotonic_needs_no_true_time() -> None:
    tie = tied(None, monotonic_ms=100_000, at_ms=NOW_MS)
    age = age_of(
        replace(CLOCK, monotonic_ms=70_000, utc_ms=0, synchronised=False),
        tie=tie,
        synchronised=False,
        at_ms=NOW_MS,
    )
    assert (age.ms, age.by, age.late) == (30_000, AgeBy.MONOTONIC, False)


def test_age_by_utc_needs_both_ends_synchronised() -> None:
    message = replace(CLOCK, boot="b0070000")
    good = age_of(message, tie=None, synchronised=True, at_ms=NOON_MS + 61_000)
    assert (good.ms, good.by, good.late) == (61_000, AgeBy.UTC, True)
    for unsure, last in ((message, False), (replace(message, synchronised=False), True)):
        age = age_of(unsure, tie=None, synchronised=last, at_ms=NOON_MS)
        assert (age.ms, age.by, age.late) == (None, AgeBy.UNKNOWN, True)


@pytest.mark.parametrize("age_ms", [LATE_AFTER_MS, LATE_AFTER_MS + 1])
def test_age_is_late_over_a_minute(age_ms: int) -> None:
    tie = tied(None, monotonic_ms=200_000, at_ms=NOW_MS)
    message = replace(CLOCK, monotonic_ms=200_000 - age_ms)
    late = age_of(message, tie=tie, synchronised=True, at_ms=NOW_MS).late
    assert late == (age_ms > LATE_AFTER_MS)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 30_000)), min_size=1))
def test_age_is_short_by_the_quickest_heartbeat_only(beats: Sequence[tuple[int, int]]) -> None:
    """However long the others were under way, and with the clocks' allowance at most."""
    tie, arrived_ms, monotonic_ms, least_ms = None, 0, 0, 30_000
    for pause_ms, delay_ms in beats:
        monotonic_ms += pause_ms
        arrived_ms = max(arrived_ms, NOON_MS + monotonic_ms + delay_ms)
        least_ms = min(least_ms, arrived_ms - NOON_MS - monotonic_ms)
        tie = tied(tie, monotonic_ms=monotonic_ms, at_ms=arrived_ms)
    true_ms = arrived_ms - NOON_MS
    clock = replace(CLOCK, monotonic_ms=0)
    age = age_of(clock, tie=tie, synchronised=True, at_ms=arrived_ms)
    assert age.ms is not None
    allowance_ms = true_ms * 200 // 1_000_000 + 1
    assert true_ms - least_ms - allowance_ms <= age.ms <= true_ms - least_ms


def test_late_alarm_is_shown_with_its_age_and_whether_it_is_open(desk: Desk, box: Gateway) -> None:
    old, other = raised(box, 1), raised(box, 2, CASHIER)
    token = heartbeat(1, monotonic_ms=3_600_000 + 200_000, open=(event_id(1),))
    desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    first, second = desk.take(old.token), desk.take(other.token)
    assert (first.late, first.open_now) == (True, True)
    assert (second.late, second.open_now) == (True, False)
    assert first.age is not None
    assert first.age.ms == 199_000
    assert json.loads(json_line(first))["age_s"] == 199.0


def test_alarm_is_not_called_closed_by_a_heartbeat_that_does_not_name_all(
    desk: Desk, box: Gateway
) -> None:
    token = heartbeat(1, monotonic_ms=3_600_000 + 200_000, open=(event_id(1),), open_more=1)
    desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    named, unnamed = raised(box, 1), raised(box, 2, CASHIER)
    assert desk.take(named.token).open_now is True
    assert desk.take(unnamed.token).open_now is None


def test_alarm_younger_than_the_last_heartbeat_is_not_called_closed(
    desk: Desk, box: Gateway
) -> None:
    token = heartbeat(1, monotonic_ms=3_600_000)
    desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    verdict = desk.take(raised(box, 1).token, at_ms=NOW_MS + 1_000)
    assert (verdict.late, verdict.open_now) == (False, None)


def test_alarm_before_any_heartbeat_counts_as_late(desk: Desk, box: Gateway) -> None:
    verdict = desk.take(raised(box, 1).token)
    assert verdict.late
    assert verdict.age is not None
    assert verdict.age.by is AgeBy.UNKNOWN


def test_json_line_has_exactly_the_promised_members(desk: Desk, box: Gateway) -> None:
    line = json.loads(json_line(desk.take(raised(box, 1).token)))
    assert list(line) == [
        "received_at", "uplink", "route", "stream", "ledger", "epoch", "sequence", "id", "type",
        "subject", "status", "time", "age_s", "late", "copy", "gap", "verified", "data",
    ]  # fmt: skip
    assert line["verified"] is True
    assert line["type"] == "org.qorgan.alarm.panic.raised"
