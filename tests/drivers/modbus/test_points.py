"""A unit's points: what is news, and what is asked for next because of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Contact, Wire
from drivers.modbus.unit.points import Points
from gateway.core.counter import Presses
from gateway.core.model import Level, Reading
from gateway.core.profile import InputChannel, Profile, Register, Table

S = 1_000_000
LEVEL, COUNT, UPTIME = "level:unit/input-1", "count:unit/input-1", "uptime"


def counting() -> Points:
    """One input with a level and a counter on a unit that tells how long it runs."""
    channel = InputChannel(
        "input-1", level=Register(Table.DISCRETE, 0), counter=Register(Table.INPUT, 60, words=2)
    )
    profile = Profile(
        *("counting", "nobody", "eight inputs"),
        verified=False,
        source="",
        uptime=Register(Table.INPUT, 104, words=2),
        inputs=(channel,),
    )
    wire = Wire("unit/input-1", Contact.NORMALLY_OPEN, pressed=True)
    points = Points(profile, [wire], [], poll_us=S)
    points.take({LEVEL: 0}, 0)
    points.take({COUNT: 5}, 0)
    points.take({UPTIME: 100}, 0)
    return points


def test_level_that_changed_asks_for_its_counter_once() -> None:
    points = counting()
    points.take({LEVEL: 1}, S)
    assert points.uncounted == (COUNT,)
    points.take({COUNT: 6}, S)
    assert not points.uncounted


def test_level_that_changed_with_its_counter_asks_for_nothing() -> None:
    points = counting()
    points.take({LEVEL: 1, COUNT: 6}, S)
    assert not points.uncounted


def test_values_seen_before_are_no_news_and_later_ones_are() -> None:
    points = counting()
    assert points.take({LEVEL: 0}, S) == []
    assert [one.level for one in points.take({LEVEL: 1}, 2 * S)] == [Level.ACTIVE]
    assert [one.level for one in points.take({LEVEL: 0}, 3 * S)] == [Level.NORMAL]


def test_values_seen_before_a_silence_are_news_after_it() -> None:
    points = counting()
    assert [one.level for one in points.silent(S)] == [Level.UNKNOWN]
    points.take({LEVEL: 0}, 2 * S)
    points.take({COUNT: 5}, 2 * S)
    assert [one.level for one in points.take({UPTIME: 102}, 2 * S)] == [Level.NORMAL]


def test_counter_seen_before_a_restart_is_news_after_it() -> None:
    points = counting()
    points.restarted()
    points.take({COUNT: 5}, S)
    (reading,) = points.take({UPTIME: 1}, S)
    assert reading.count is not None
    assert reading.count.uptime_s == 1


# --- while nobody knows how long the unit runs ----------------------------------------------------


def new() -> Points:
    """The same unit before anything was read of it."""
    points = counting()
    points.silent(0)
    return points


def told(readings: list[Reading]) -> list[tuple[int, int | None]]:
    """Each Reading's counter and uptime."""
    return [(one.count.value, one.count.uptime_s) for one in readings if one.count is not None]


def test_press_during_the_wait_for_the_uptime_is_told_beside_where_it_began() -> None:
    points = new()
    points.take({LEVEL: 0, COUNT: 5}, S)
    assert points.needs_uptime
    points.take({COUNT: 7}, S + S // 2)
    assert told(points.take({UPTIME: 100}, 2 * S)) == [(5, 100), (7, 100)]


def test_count_from_before_a_restart_during_the_wait_is_no_beginning() -> None:
    points = new()
    points.take({LEVEL: 0, COUNT: 5}, S)
    points.take({COUNT: 6}, 5 * S)
    assert told(points.take({UPTIME: 1}, 5 * S)) == [(6, 1)]


def asks(points: Points) -> bool:
    """Whether it wants the uptime next."""
    return points.needs_uptime


def test_nothing_waits_any_longer_for_an_uptime_nobody_can_read() -> None:
    points = new()
    points.take({LEVEL: 0, COUNT: 5}, S)
    points.take({COUNT: 6}, 2 * S)
    assert told(points.lost([UPTIME], 4 * S)) == [(5, None), (6, None)]
    assert not points.needs_uptime
    assert told(points.take({COUNT: 7}, 5 * S)) == [(7, None)]
    assert points.take({COUNT: 7}, 6 * S) == []
    assert told(points.take({UPTIME: 100}, 7 * S)) == [(7, 100)]
    assert points.take({UPTIME: 110}, 17 * S) == []


def test_uptime_is_not_asked_for_while_the_level_is_missing_and_no_press_is_lost_by_that() -> None:
    points = new()
    points.take({COUNT: 5}, S)
    points.take({UPTIME: 100}, S)
    assert not asks(points)
    points.take({COUNT: 6}, 2 * S)
    points.take({LEVEL: 0}, 3 * S)
    assert asks(points)
    assert told(points.take({UPTIME: 102}, 3 * S)) == [(5, 102), (6, 102)]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["count", "level", "uptime", "stale"])),
        max_size=30,
    )
)
def test_every_press_since_the_first_look_is_counted_whenever_the_uptime_comes(
    looks: list[tuple[int, str]],
) -> None:
    """Presses before each look, and what it looks at; the unit runs on all the while."""
    points, presses = new(), Presses({}, starts_at_rest={"unit/input-1": True})
    count = heard = 0
    since: list[int] = []
    for second, (pressed, what) in enumerate([*looks, (0, "level"), (0, "count"), (0, "uptime")]):
        now_us = (second + 1) * S
        count += pressed
        if what == "stale":
            readings = points.lost([UPTIME], now_us)
        else:
            shows = {"count": (COUNT, count), "level": (LEVEL, 0), "uptime": (UPTIME, 100 + second)}
            since += [count] if what == "count" and not since else []
            readings = points.take(dict([shows[what]]), now_us)
        for reading in readings:
            heard += presses.feed(reading)[0].presses
    assert heard == count - since[0]
