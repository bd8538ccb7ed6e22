"""A unit's points: what is news, and what is asked for next because of it."""

from __future__ import annotations

from drivers.base import Contact, Wire
from drivers.modbus.unit.points import Points
from gateway.core.model import Level
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
