"""Faults through restarts: what stood is no news, what healed is cleared, nothing told twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import Event, Fact, Json, Stamp
from gateway.core.premises import Premises, Route
from gateway.core.standing import PATIENCE_US, Standing, name_of, patience_of
from tests.school import CAMPUS, RECEPTION, SCHOOL, SECURITY

S = 1_000_000
STAMP = Stamp(1, synchronised=True, error_ms=1, boot="b", monotonic_ms=1)


def raised(kind: str, subject: str = "reception", **data: Json) -> Event:
    """The event a start finds in the ledger."""
    return Event(f"e-{kind}-{subject}", f"fault.{kind}.raised", subject, STAMP, data=data)


def fact(kind: str, phase: str, subject: str = "reception", at_us: int = S, **data: Json) -> Fact:
    return Fact(f"fault.{kind}.{phase}", subject, at_us, data=data)


def gate(*events: Event, premises: Premises = SCHOOL) -> Standing:
    return Standing(events, patience_of(premises), now_us=0)


LONG_MS = 10 * PATIENCE_US // 1_000


def waited_us(event: Event, premises: Premises = SCHOOL) -> int:
    """How long after the start a fault is waited for."""
    deadline_us = gate(event, premises=premises).deadline()
    assert deadline_us is not None
    return deadline_us


def types(facts: list[Fact]) -> list[str]:
    return [each.type for each in facts]


def test_standing_lets_pass_what_is_no_fault() -> None:
    facts = [Fact("alarm.panic.raised", "gym", S), Fact("state.inventory", "x", S)]
    assert gate(raised("path", "campus", route="case")).passed(facts) == facts


def test_standing_fault_found_again_is_not_news() -> None:
    standing = gate(raised("unit-silent", "entrance", why="no answer"))
    assert standing.passed([fact("unit-silent", "raised", "entrance", why="no answer")]) == []
    assert standing.deadline() is None
    assert types(standing.passed([fact("unit-silent", "cleared", "entrance")])) == [
        "fault.unit-silent.cleared"
    ]
    assert standing.names == ()


def test_standing_fault_that_nobody_finds_again_is_cleared_once() -> None:
    standing = gate(raised("unit-silent", "entrance", bus="corridor"))
    assert standing.wake(PATIENCE_US - 1) == []
    assert standing.deadline() == PATIENCE_US
    cleared = standing.passed(standing.wake(PATIENCE_US))
    assert types(cleared) == ["fault.unit-silent.cleared"]
    assert (cleared[0].subject, cleared[0].data) == ("entrance", {"unseen": True})
    assert standing.wake(2 * PATIENCE_US) == []
    assert standing.passed([fact("unit-silent", "cleared", "entrance")]) == []


def test_standing_fault_raised_after_it_was_cleared_is_news() -> None:
    standing = gate(raised("bus", "corridor"))
    standing.passed(standing.wake(PATIENCE_US))
    assert types(standing.passed([fact("bus", "raised", "corridor")])) == ["fault.bus.raised"]


def test_standing_wiring_that_contradicts_itself_otherwise_is_told_anew() -> None:
    standing = gate(raised("wiring", why="both-open"))
    told = standing.passed([fact("wiring", "raised", why="both-closed")])
    assert types(told) == ["fault.wiring.raised"]


def test_standing_storage_that_fails_otherwise_is_told_anew() -> None:
    """Full is one thing to do, read-only another; a unit is silent whatever the words for it."""
    standing = gate(raised("storage", "ledger", why="full"), raised("unit-silent", why="deaf"))
    assert standing.passed([fact("storage", "raised", "ledger", why="read-only")])
    assert not standing.passed([fact("unit-silent", "raised", why="no answer")])


def test_standing_path_that_is_down_for_another_reason_is_not_news() -> None:
    standing = gate(raised("path", "campus", route="case", why="no connection", silent_ms=9))
    again = fact("path", "raised", "campus", route="case", why="no answer", silent_ms=4)
    assert standing.passed([again]) == []


def test_standing_faults_of_two_routes_over_one_uplink_are_two() -> None:
    standing = gate(raised("path", "campus", route="case"))
    other = fact("path", "raised", "campus", route="security")
    assert standing.passed([other]) == [other]
    assert len(standing.names) == 2


def test_standing_path_that_has_healed_unseen_says_which_it_was() -> None:
    data: dict[str, Json] = {"route": "case", "uplink": "campus"}
    standing = gate(raised("path", "campus", **data, silent_ms=9))
    (cleared,) = standing.passed(standing.wake(PATIENCE_US))
    assert cleared.data == {**data, "unseen": True}


def test_standing_faults_of_a_door_are_told_apart_by_part_and_why() -> None:
    bolt = raised("stuck", "main-door", part="bolt", why="not-thrown")
    standing = gate(bolt)
    lock = fact("stuck", "raised", "main-door", part="lock", why="not-locked")
    assert standing.passed([lock]) == [lock]
    other = fact("stuck", "raised", "main-door", part="bolt", why="not-withdrawn")
    assert standing.passed([other]) == [other]
    cleared = standing.passed(standing.wake(PATIENCE_US))
    assert cleared[0].data == {"part": "bolt", "why": "not-thrown", "unseen": True}
    assert name_of(cleared[0].type, "main-door", cleared[0].data) == name_of(
        bolt.type, "main-door", bolt.data
    )


def test_standing_wiring_of_a_button_waits_for_a_press_and_for_nothing_less() -> None:
    """A cut wire looks healthy at rest: quiet proves nothing."""
    standing = gate(raised("wiring", why="both-open"))
    assert standing.deadline() is None
    assert standing.wake(10**15) == []
    ended = Fact("alarm.panic.cleared", "reception", S)
    assert standing.passed([ended]) == [ended]
    doubtful = Fact("alarm.panic.raised", "reception", S, data={"doubtful": True})
    assert standing.passed([doubtful]) == [doubtful]
    pressed = Fact("alarm.panic.raised", "reception", 2 * S)
    assert types(standing.passed([pressed])) == ["alarm.panic.raised", "fault.wiring.cleared"]
    assert types(standing.passed([pressed])) == ["alarm.panic.raised"]


def test_standing_press_elsewhere_proves_nothing_here() -> None:
    standing = gate(raised("wiring", why="both-open"))
    pressed = Fact("alarm.panic.raised", "gym", S)
    assert standing.passed([pressed]) == [pressed]


def test_standing_stuck_button_is_waited_for_as_long_as_it_takes_to_be_stuck_again() -> None:
    slow = replace(SCHOOL, points=(replace(RECEPTION, stuck_after_ms=LONG_MS),))
    assert waited_us(raised("stuck"), slow) > LONG_MS * 1_000


def test_standing_wiring_no_person_presses_is_waited_for_like_any_other_fault() -> None:
    assert waited_us(raised("wiring", "fire-panel", why="both-open")) == PATIENCE_US


@pytest.mark.parametrize(
    "route",
    [
        replace(SECURITY, receipt_within_ms=LONG_MS),
        replace(SECURITY, acknowledge_within_ms=LONG_MS),
    ],
    ids=("receipt", "acknowledgement"),
)
def test_standing_delivery_is_waited_for_as_long_as_its_route_has_time(route: Route) -> None:
    patient = replace(SCHOOL, routes=(route,))
    assert waited_us(raised("delivery", "security", route="security"), patient) > LONG_MS * 1_000


def test_standing_path_is_waited_for_as_long_as_its_heartbeats_are_apart() -> None:
    slow = replace(SCHOOL, uplinks=(replace(CAMPUS, heartbeat_ms=LONG_MS),))
    assert waited_us(raised("path", "campus", route="case"), slow) > 2 * LONG_MS * 1_000


def test_standing_fault_of_a_point_that_is_no_more_is_cleared() -> None:
    standing = gate(raised("chatter", "demolished-wing"))
    assert types(standing.passed(standing.wake(PATIENCE_US))) == ["fault.chatter.cleared"]


def test_standing_held_by_a_disk_that_is_back_stands_beside_the_others() -> None:
    standing = gate()
    standing.passed([fact("bus", "raised", "corridor")])
    standing.found([raised("bus", "corridor"), raised("clock", "gateway")])
    assert len(standing.names) == 2
    assert types(standing.passed([fact("clock", "cleared", "gateway")])) == ["fault.clock.cleared"]


KINDS = ("wiring", "path", "unit-silent")
STEP = st.tuples(st.sampled_from(KINDS), st.sampled_from(["raised", "cleared", "wake"]))


@settings(derandomize=True, deadline=None)
@given(before=st.sets(st.sampled_from(KINDS)), steps=st.lists(STEP, max_size=30))
def test_standing_never_clears_what_was_not_told(
    before: set[str], steps: list[tuple[str, str]]
) -> None:
    """Whatever components say: for a centre, clearing follows raising, always."""
    standing = gate(*(raised(kind, route="case") for kind in sorted(before)))
    told = {f"fault.{kind}" for kind in before}
    for number, (kind, what) in enumerate(steps):
        if what == "wake":
            news = standing.passed(standing.wake(number * PATIENCE_US))
        else:
            news = standing.passed([fact(kind, what, route="case")])
        for each in news:
            name, _, phase = each.type.rpartition(".")
            if phase == "cleared":
                assert name in told
                told.discard(name)
            else:
                told.add(name)
    assert len(told) == len(standing.names)
