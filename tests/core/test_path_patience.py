"""The Path's two clocks: what neither a slow heartbeat nor a fickle broker may stretch or stop."""

from __future__ import annotations

from gateway.core.model import Fact
from gateway.core.paths import ECHO_WITHIN_US, GOOD_AGAIN_US, Path

S = 1_000_000
BEAT_US = 5 * S


def types(facts: list[Fact]) -> list[str]:
    return [fact.type.removeprefix("fault.path.") for fact in facts]


def test_path_that_beats_slower_than_the_minute_is_good_after_two_echoes_not_one() -> None:
    slow_us = 5 * GOOD_AGAIN_US
    path = Path("security", "lte", heartbeat_ms=slow_us // 1_000, now_us=0)
    path.up(0)
    path.beat(0)
    assert types(path.wake(ECHO_WITHIN_US)) == ["raised"]
    back_us = slow_us
    path.echo(path.beat(back_us), back_us)
    assert path.wake(back_us + 2 * GOOD_AGAIN_US) == []
    path.echo(path.beat(back_us + slow_us), back_us + slow_us)
    assert types(path.wake(back_us + slow_us)) == ["cleared"]


def test_path_whose_connections_die_before_a_heartbeat_is_a_fault_all_the_same() -> None:
    """Counted from the last answer: a broker that takes and drops connections stops no clock."""
    path = Path("security", "campus", heartbeat_ms=BEAT_US // 1_000, now_us=0)
    path.up(0)
    path.echo(path.beat(0), 0)
    path.down(S, "the connection was reset")
    for at_us in range(2 * S, 9 * S, S):
        path.up(at_us)
        assert path.wake(at_us) == []
        path.down(at_us + S // 2, "the connection was reset")
    assert types(path.wake(S + BEAT_US + ECHO_WITHIN_US)) == ["raised"]
