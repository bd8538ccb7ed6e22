"""The Path: silence is noticed in time, and a path is good again only after a minute of echoes."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import Fact
from gateway.core.paths import (
    ECHO_WITHIN_US,
    GOOD_AGAIN_US,
    PROBE_FOR_US,
    PROBE_US,
    STANDBY_US,
    Path,
)

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=100)
S = 1_000_000
BEAT_US = 5 * S


class Link:
    """Keeps a Path's deadlines; the centre echoes while `answers`, 20 ms later."""

    def __init__(self, *, heartbeat_ms: int = 5_000, in_use: bool = True) -> None:
        self.path = Path("security", "campus", heartbeat_ms=heartbeat_ms, now_us=0)
        self.path.in_use = in_use
        self.now_us = 0
        self.answers = True
        self.beats: list[int] = []
        self.facts: list[Fact] = []
        self._echoes: list[tuple[int, int]] = []

    def up(self) -> None:
        self.path.up(self.now_us)

    def down(self) -> None:
        self.path.down(self.now_us, "the broker is gone")
        self._echoes.clear()

    def run(self, seconds: float) -> None:
        end_us = self.now_us + int(seconds * S)
        while (due_us := self._next_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            self._happen()
        self.now_us = end_us
        self._happen()

    def _next_us(self) -> int | None:
        moments = [self.path.beat_due(), self.path.deadline()]
        moments += [at_us for at_us, _ in self._echoes[:1]]
        return min((at_us for at_us in moments if at_us is not None), default=None)

    def _happen(self) -> None:
        beat_us = self.path.beat_due()
        if beat_us is not None and beat_us <= self.now_us:
            self.beats.append(self.now_us)
            number = self.path.beat(self.now_us)
            if self.answers:
                self._echoes.append((self.now_us + 20_000, number))
        while self._echoes and self._echoes[0][0] <= self.now_us:
            self.path.echo(self._echoes.pop(0)[1], self.now_us)
        self.facts += self.path.wake(self.now_us)

    @property
    def told(self) -> list[tuple[str, float]]:
        return [(fact.type.removeprefix("fault.path."), fact.at_us / S) for fact in self.facts]


def test_path_begins_every_connection_with_a_heartbeat() -> None:
    link = Link()
    assert link.path.beat_due() is None
    link.run(1)
    for _ in range(3):
        link.up()
        assert link.path.beat_due() == link.now_us
        link.run(2)
        link.down()
        assert link.path.beat_due() is None
    assert link.beats == [S, 3 * S, 5 * S]


def test_path_stands_by_until_it_is_taken_into_use() -> None:
    assert not Path("security", "campus", heartbeat_ms=5_000, now_us=0).in_use


def test_path_in_use_beats_every_five_seconds_and_is_good() -> None:
    link = Link()
    link.up()
    link.run(3_600)
    assert link.beats == list(range(0, 3_600 * S + 1, BEAT_US))
    assert link.told == []
    assert link.path.good


def test_path_standing_by_beats_once_a_minute() -> None:
    link = Link(in_use=False)
    link.up()
    link.run(600)
    assert link.beats == list(range(0, 600 * S + 1, STANDBY_US))
    assert link.told == []


def test_path_standing_by_keeps_its_own_pace_when_that_is_slower() -> None:
    link = Link(in_use=False, heartbeat_ms=120_000)
    link.up()
    link.run(600)
    assert link.beats == list(range(0, 600 * S + 1, 120 * S))


def test_path_taken_into_use_is_asked_at_once_and_is_no_fault() -> None:
    link = Link(in_use=False)
    link.up()
    link.run(50)
    link.path.in_use = True
    assert link.path.wake(link.now_us) == []
    link.run(10)
    assert link.beats[1:] == [50 * S, 55 * S, 60 * S]
    assert link.told == []


@CAREFULLY
@given(deaf_after=st.integers(0, 30_000))
def test_path_knows_a_deaf_centre_within_ten_seconds(deaf_after: int) -> None:
    link = Link()
    link.up()
    link.run(deaf_after / 1_000)
    link.answers = False
    link.run(30)
    assert len(link.told) == 1
    known_us = link.facts[0].at_us - deaf_after * 1_000
    assert 0 < known_us <= 10 * S
    assert link.path.connected
    assert not link.path.good


def test_path_fault_names_route_and_uplink_and_what_is_wrong() -> None:
    link = Link()
    link.up()
    link.run(1)
    link.answers = False
    link.run(20)
    fact = link.facts[0]
    assert (fact.type, fact.subject) == ("fault.path.raised", "campus")
    assert fact.data == {
        "route": "security",
        "uplink": "campus",
        "why": "no answer to the heartbeat",
        "silent_ms": 8_980,
    }


def test_path_that_never_connects_is_a_fault_that_says_so() -> None:
    link = Link()
    link.run(60)
    assert link.told == [("raised", 9)]
    assert link.facts[0].data["why"] == "no connection"
    assert link.facts[0].data["silent_ms"] == 9_000


def test_path_that_loses_its_connection_is_a_fault_with_the_reason() -> None:
    link = Link()
    link.up()
    link.run(12)
    link.down()
    link.run(60)
    assert link.told == [("raised", 21)]
    assert link.facts[0].data["why"] == "the broker is gone"


def test_path_that_is_back_in_time_is_no_fault() -> None:
    link = Link()
    link.up()
    link.run(12)
    for _ in range(20):
        link.down()
        link.run(8)
        link.up()
        link.run(4)
    assert link.told == []


@CAREFULLY
@given(
    rounds=st.lists(
        st.tuples(st.integers(1, 3_900), st.integers(1, 8_000)), min_size=10, max_size=40
    )
)
def test_path_is_a_fault_although_connections_come_and_go(rounds: list[tuple[int, int]]) -> None:
    """A broker that takes the connection and throws it away hides nothing: nobody has answered."""
    link = Link()
    link.answers = False
    for up_ms, down_ms in rounds:
        link.up()
        link.run(up_ms / 1_000)
        link.down()
        link.run(down_ms / 1_000)
    link.run(9)
    assert [phase for phase, _ in link.told] == ["raised"]
    assert link.facts[0].at_us <= 9 * S


def test_path_is_good_again_only_after_a_minute_of_echoes() -> None:
    link = Link()
    link.run(20)
    link.up()
    link.run(60)
    assert link.told == [("raised", 9)]
    link.run(0.5)
    assert link.told == [("raised", 9), ("cleared", 80.02)]
    assert link.facts[1].data == {
        "route": "security",
        "uplink": "campus",
        "lasted_ms": 71_020,  # the fault
        "silent_ms": 20_020,  # the silence
    }
    assert link.path.good


def test_path_says_how_long_nobody_was_heard_over_all_of_an_unsteady_outage() -> None:
    """From the last echo before the fault to the first of the good minute."""
    link = Link()
    link.up()
    link.run(11)  # heard at 10.02
    link.down()
    link.run(19)
    link.up()
    link.run(30)
    link.down()
    link.run(10)
    link.up()  # at 70
    link.run(61)
    assert link.told == [("raised", 20), ("cleared", 130.02)]
    assert link.facts[0].data["silent_ms"] == 9_980
    assert link.facts[1].data["silent_ms"] == 60_000
    assert link.facts[1].data["lasted_ms"] == 110_020


def test_path_with_a_slow_heartbeat_needs_a_second_echo_too() -> None:
    """The answer to the heartbeat of the sixtieth second is waited for, and may fail to come."""
    link = Link(heartbeat_ms=60_000)
    link.run(70)
    link.up()
    link.run(1)
    link.answers = False
    link.run(63.5)
    assert link.told == [("raised", 64)]
    link.answers = True
    link.run(200)
    assert [phase for phase, _ in link.told] == ["raised", "cleared"]
    assert link.facts[1].at_us >= 190 * S


def test_path_tells_why_there_is_no_connection_now() -> None:
    """What ended the last connection may be over, and something else in the way."""
    link = Link()
    link.up()
    link.run(11)
    link.down()
    link.path.still_down("the name cannot be resolved")
    link.run(20)
    assert link.facts[0].data["why"] == "the name cannot be resolved"


def test_path_that_is_connected_keeps_what_the_heartbeat_found() -> None:
    link = Link()
    link.up()
    link.answers = False
    link.path.still_down("")
    link.run(20)
    assert link.facts[0].data["why"] == "no answer to the heartbeat"


def test_echo_of_another_path_of_the_route_changes_nothing() -> None:
    """Two uplinks lead to one broker, so each hears the echoes of both."""
    numbers = count(1)
    campus, lte = (
        Path("security", name, heartbeat_ms=5_000, now_us=0, numbers=numbers)
        for name in ("campus", "lte")
    )
    for path in (campus, lte):
        path.up(0)
    first, second, third = campus.beat(0), lte.beat(0), campus.beat(S)
    assert len({first, second, third}) == 3
    campus.echo(second, S)
    lte.echo(third, S)
    for path in (campus, lte):
        assert path.deadline() == ECHO_WITHIN_US
    campus.echo(third, 2 * S)
    lte.echo(second, 2 * S)
    for path in (campus, lte):
        assert path.deadline() is None


@pytest.mark.parametrize("breaks", ["down", "deaf", "refused"])
def test_path_counts_its_minute_anew_after_every_break(breaks: str) -> None:
    link = Link()
    link.run(20)
    link.up()
    link.run(50)
    match breaks:
        case "down":
            link.down()
            link.run(1)
            link.up()
        case "deaf":
            link.answers = False
            link.run(9)
            link.answers = True
        case _:
            assert link.path.refused("Not authorized", link.now_us, nobody=False) == []
    again_us = link.now_us
    link.run(130)
    assert [phase for phase, _ in link.told] == ["raised", "cleared"]
    assert link.facts[1].at_us >= again_us + GOOD_AGAIN_US


def test_path_at_fault_is_asked_at_the_full_pace_even_as_a_standby() -> None:
    link = Link(in_use=False)
    link.run(20)
    link.up()
    link.run(30)
    assert link.beats == [at * S for at in (20, 25, 30, 35, 40, 45, 50)]


def test_echo_of_a_heartbeat_long_answered_proves_nothing() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.in_use = True
    path.up(0)
    old = path.beat(0)
    path.echo(old, S)
    path.beat(BEAT_US)
    for number in (old, 0, 99):
        path.echo(number, 6 * S)
    assert [fact.at_us for fact in path.wake(20 * S)] == [BEAT_US + ECHO_WITHIN_US]
    assert path.faulty


def test_echo_that_nobody_waits_for_changes_nothing() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.echo(1, S)
    assert [fact.at_us for fact in path.wake(20 * S)] == [9 * S]


def test_echo_that_comes_too_late_starts_the_minute_and_does_not_end_it() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    path.refused("Not authorized", 0, nobody=False)
    path.echo(path.beat(S), 2 * S)
    path.echo(path.beat(50 * S), 58 * S)
    assert path.wake(62 * S) == []
    assert path.deadline() == 58 * S + GOOD_AGAIN_US


def test_echo_in_time_keeps_the_minute_running() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    path.refused("Not authorized", 0, nobody=False)
    path.echo(path.beat(S), 2 * S)
    path.echo(path.beat(50 * S), 51 * S)
    assert [fact.type for fact in path.wake(62 * S)] == ["fault.path.cleared"]


def test_refused_publish_is_a_fault_at_once_and_once() -> None:
    link = Link()
    link.up()
    link.run(1)
    facts = link.path.refused("Not authorized", link.now_us, nobody=False)
    assert [(fact.type, fact.at_us, fact.data["why"]) for fact in facts] == [
        ("fault.path.raised", S, "Not authorized")
    ]
    assert link.path.refused("Not authorized", link.now_us, nobody=False) == []


def test_path_beats_that_overlap_are_answered_by_the_newest_echo() -> None:
    path = Path("security", "campus", heartbeat_ms=1_000, now_us=0)
    path.up(0)
    path.beat(0)
    newest = path.beat(S)
    path.echo(newest, 2 * S)
    assert path.deadline() is None


# --- a new connection on which nobody has answered yet -------------------------------------------


def test_path_probes_a_new_connection_until_somebody_answers() -> None:
    link = Link()
    link.answers = False
    link.up()
    link.run(1.6)
    link.answers = True
    link.run(10)
    assert link.beats == [0, S // 2, S, 3 * S // 2, 2 * S, 7 * S]


def test_path_probes_for_half_a_minute_and_no_longer() -> None:
    link = Link(in_use=False)
    link.answers = False
    link.up()
    link.run(60)
    probed = list(range(0, PROBE_FOR_US + 1, PROBE_US))
    assert link.beats == [*probed, *(at * S for at in (35, 40, 45, 50, 55, 60))]
    assert link.told == [("raised", 4)]


def test_path_probes_no_faster_than_it_beats() -> None:
    link = Link(heartbeat_ms=200)
    link.answers = False
    link.up()
    link.run(1)
    assert link.beats == [0, 200_000, 400_000, 600_000, 800_000, S]


def test_echo_after_missed_ones_says_until_when_nobody_may_have_listened() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    for at_us in (0, S // 2):
        path.beat(at_us)
    assert path.echo(path.beat(S), S + 9) == S
    assert path.echo(path.beat(6 * S), 6 * S + 9) == S


def test_echo_of_the_first_heartbeat_says_that_nothing_was_missed() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    first = path.beat(0)
    path.beat(S // 2)
    assert path.echo(first, S) == 0


def test_echo_after_an_outage_counts_no_heartbeat_of_the_old_connection_as_missed() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    path.beat(0)
    path.down(S, "the broker is gone")
    path.up(2 * S)
    assert path.echo(path.beat(2 * S), 3 * S) == 0


def test_path_remembers_few_of_many_unanswered_heartbeats() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    for number in range(1_000):
        path.beat(number * S)
    assert path.echo(2, 1_000 * S) is None


def test_refused_for_want_of_a_subscriber_waits_for_the_heartbeat_on_a_new_connection() -> None:
    """Gateway and centre come back in any order."""
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    path.beat(0)
    assert path.refused("nobody subscribes", ECHO_WITHIN_US - 1, nobody=True) == []
    assert not path.faulty
    assert [fact.at_us for fact in path.wake(ECHO_WITHIN_US)] == [ECHO_WITHIN_US]


def test_refused_for_want_of_a_subscriber_is_a_fault_once_the_centre_was_there() -> None:
    path = Path("security", "campus", heartbeat_ms=5_000, now_us=0)
    path.up(0)
    path.echo(path.beat(0), 1)
    assert len(path.refused("nobody subscribes", S, nobody=True)) == 1
