"""What people are told of paths: once, with the right durations, and enough to act on.

The whole daemon under virtual time, with outages of every shape a real network has.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import US_PER_MS, AlarmState
from tests.school import (
    ALL,
    CASE,
    GATEWAY,
    SECURITY,
    TWO_UPLINKS,
    US_PER_S,
    Line,
    School,
    live,
    with_routes,
)

BOTH = ("campus", "lte")
TOLD = with_routes(
    replace(SECURITY, via=BOTH), replace(CASE, via=BOTH, sends=ALL), premises=TWO_UPLINKS
)


def paths(school: School, phase: str, **data: object) -> list[Line]:
    """What was told of paths: `raised` or `cleared`, with that data."""
    return school.lines(f"fault.path.{phase}", **data)


def only(lines: list[Line]) -> Line:
    """The one line there is."""
    assert len(lines) == 1, lines
    return lines[0]


def marked(school: School, what: str) -> None:
    """Note this moment in the diary."""
    school.trace.add(what, {})


def at_us(school: School, what: str) -> int:
    """When that was."""
    return only(school.lines(what)).at_us


def about_ms(found: Any, expected_ms: int, *, within_ms: int = 5_100) -> bool:
    """A duration that is right to a heartbeat."""
    return isinstance(found, int) and expected_ms <= found <= expected_ms + within_ms


# --- one path of two ---


@pytest.mark.parametrize("manner", ["blackhole", "half-open", "nobody answers"])
def test_path_that_fails_is_told_once_with_what_is_left(tmp_path: Path, manner: str) -> None:
    """Within 10 s to whoever is sent faults, over what lives; cleared once, a good minute later."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        broker = school.brokers["campus"]
        marked(school, "broken")
        match manner:
            case "blackhole":
                broker.blackhole()
            case "half-open":
                broker.stall(GATEWAY)
            case _:
                broker.accept_and_forget("qorgan/v1/+/+/heartbeat")
                broker.accept_and_forget("qorgan/v1/+/+/receipts")
        await school.clock.sleep(5)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(25)
        marked(school, "mended")
        broker.up()
        broker.behave()
        await school.clock.sleep(180)

    school = live(tmp_path, scenario, premises=TOLD)
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= US_PER_S
    for route in ("security", "case"):
        raised = only(paths(school, "raised", route=route, uplink="campus"))
        cleared = only(paths(school, "cleared", route=route, uplink="campus"))
        assert raised.at_us - at_us(school, "broken") <= 10 * US_PER_S
        assert raised.fields["good"] == ["lte"]
        assert raised.fields["why"]
        assert len(school.heard("case", "fault.path.raised", route=route)) == 1
        # half-open mends by itself: the keepalive gives it up and a new connection is let in
        mended_us = raised.at_us if manner == "half-open" else at_us(school, "mended")
        assert 60 * US_PER_S <= cleared.at_us - mended_us <= 100 * US_PER_S
        assert cleared.fields["good"] == ["campus", "lte"]
        lasted_ms = (cleared.at_us - raised.at_us) // US_PER_MS
        assert about_ms(cleared.fields["lasted_ms"], lasted_ms - 100)
        assert about_ms(raised.fields["silent_ms"], 5_000)
        silent_ms = lasted_ms + raised.fields["silent_ms"] - 60_000
        assert about_ms(cleared.fields["silent_ms"], silent_ms - 100, within_ms=200)
    assert not paths(school, "raised", uplink="lte")


def test_standby_that_fails_is_known_in_its_minute_while_the_other_is_good(tmp_path: Path) -> None:
    """Connected and nobody answers on it: told within 64 s, and nothing else changes."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(75)
        marked(school, "deaf")
        school.brokers["lte"].accept_and_forget("qorgan/v1/+/+/receipts")
        await school.clock.sleep(70)
        begun = len(school.carried("heartbeat", uplink="campus"))
        await school.clock.sleep(11)
        assert len(school.carried("heartbeat", uplink="campus")) - begun in {2, 3}

    school = live(tmp_path, scenario, premises=TOLD)
    for route in ("security", "case"):
        raised = only(paths(school, "raised", route=route))
        assert raised.fields["uplink"] == "lte"
        assert raised.fields["good"] == ["campus"]
        assert raised.at_us - at_us(school, "deaf") <= 64 * US_PER_S


# --- flapping ---


def test_link_that_breaks_and_mends_all_the_time_is_one_fault(tmp_path: Path) -> None:
    """Twelve seconds of nothing and three of something, for five minutes: raised once, and once
    cleared."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        for _ in range(20):
            school.brokers["campus"].blackhole()
            await school.clock.sleep(12)
            school.brokers["campus"].up()
            await school.clock.sleep(3)
        marked(school, "steady")
        await school.clock.sleep(180)

    school = live(tmp_path, scenario, premises=TOLD)
    for route in ("security", "case"):
        only(paths(school, "raised", route=route))
        cleared = only(paths(school, "cleared", route=route))
        assert cleared.at_us - at_us(school, "steady") <= 130 * US_PER_S
        assert cleared.fields["lasted_ms"] >= 340_000
    assert not paths(school, "raised", uplink="lte")


@pytest.mark.parametrize("every_s", [1, 3])
def test_link_that_is_cut_all_the_time_is_one_fault(tmp_path: Path, every_s: int) -> None:
    """Connections that do not last are tried ever less often: nobody answers, and it is told."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        for _ in range(180 // every_s):
            school.brokers["campus"].cut(GATEWAY)
            await school.clock.sleep(every_s)
        marked(school, "steady")
        await school.clock.sleep(240)

    school = live(tmp_path, scenario, premises=TOLD)
    for route in ("security", "case"):
        only(paths(school, "raised", route=route))
        cleared = only(paths(school, "cleared", route=route))
        assert cleared.at_us - at_us(school, "steady") >= 30 * US_PER_S
    assert not paths(school, "raised", uplink="lte")
    assert len(school.lines("uplink unsteady", uplink="campus")) == 1


def test_link_that_is_back_each_time_within_a_heartbeat_is_no_fault(tmp_path: Path) -> None:
    """Nobody was out of reach for longer than is promised."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        for _ in range(20):
            school.brokers["campus"].cut(GATEWAY)
            await school.clock.sleep(11)

    school = live(tmp_path, scenario, premises=TOLD)
    assert not paths(school, "raised")
    assert len(school.lines("uplink up", uplink="campus")) == 21


# --- nothing left ---


def test_both_paths_dead_and_one_back_is_told_once_each_and_the_alarm_first(tmp_path: Path) -> None:
    """Four faults of four paths, each with how long, none twice; what lives is named as it is."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        marked(school, "dead")
        for broker in school.brokers.values():
            broker.blackhole()
        await school.clock.sleep(2)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(58)
        marked(school, "one back")
        school.brokers["lte"].up()
        await school.clock.sleep(120)
        marked(school, "both back")
        school.brokers["campus"].up()
        await school.clock.sleep(180)

    school = live(tmp_path, scenario, premises=TOLD)
    dead_us, one_us, both_us = (at_us(school, what) for what in ("dead", "one back", "both back"))
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert alarm.uplink == "lte"
    assert school.arrived_us(alarm) - one_us <= 4 * US_PER_S
    assert alarm.late is False
    for route in ("security", "case"):
        for uplink, back_us, good in (("lte", one_us, ["lte"]), ("campus", both_us, list(BOTH))):
            raised = only(paths(school, "raised", route=route, uplink=uplink))
            assert raised.at_us - dead_us <= 64 * US_PER_S
            cleared = only(paths(school, "cleared", route=route, uplink=uplink))
            assert 60 * US_PER_S <= cleared.at_us - back_us <= 100 * US_PER_S
            assert cleared.fields["good"] == good
            silent_ms = (back_us - dead_us) // US_PER_MS
            assert about_ms(cleared.fields["silent_ms"], silent_ms, within_ms=70_000)
        first = paths(school, "raised", route=route)[-1]
        assert first.fields["good"] == []
        assert first.fields["owed"] >= 1
        told = school.heard("case", "fault.path.raised", route=route)
        assert len(told) == 2
        assert all(school.arrived_us(one) >= one_us for one in told)
    kinds = school.types("case")
    assert kinds.index("alarm.panic.raised") < kinds.index("fault.path.raised")


def test_long_outage_is_told_with_its_whole_length(tmp_path: Path) -> None:
    """Twenty minutes without a broker: two lines a path, not hundreds."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        for broker in school.brokers.values():
            broker.down()
        await school.clock.sleep(1_200)
        for broker in school.brokers.values():
            broker.up()
        await school.clock.sleep(180)

    school = live(tmp_path, scenario, premises=TOLD)
    for route in ("security", "case"):
        for uplink in BOTH:
            only(paths(school, "raised", route=route, uplink=uplink))
            cleared = only(paths(school, "cleared", route=route, uplink=uplink))
            assert about_ms(cleared.fields["silent_ms"], 1_200_000, within_ms=100_000)
    assert len(school.lines("uplink down")) == len(BOTH)


# --- what waits ---


def test_fault_of_a_path_says_how_much_waits(tmp_path: Path) -> None:
    """The centre is deaf and two alarms wait: whoever reads of it knows that they wait."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(21)
        school.centres["security"].deaf = True
        await school.bench.press("reception", "clean", 300)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(9)

    school = live(tmp_path, scenario, premises=TOLD)
    (fault,) = school.heard("case", "fault.path.raised", route="security", uplink="campus")
    assert fault.message is not None
    assert fault.message.data["owed"] == 3  # and the fault.delivery of the first
    assert fault.message.data["why"] == "no answer to the heartbeat"


def test_fault_of_delivery_says_how_long_and_ends_with_how_many(tmp_path: Path) -> None:
    """Three alarms unanswered in time: one fault, and its end counts them."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.centres["security"].deaf = True
        for point in ("reception", "gym", "accounts"):
            await school.bench.press(point, "clean", 300)
            await school.clock.sleep(2)
        await school.clock.sleep(20)
        school.centres["security"].deaf = False
        await school.clock.sleep(30)

    school = live(tmp_path, scenario, premises=TOLD)
    raised = only(school.lines("fault.delivery.raised"))
    cleared = only(school.lines("fault.delivery.cleared"))
    assert about_ms(raised.fields["waited_ms"], 5_000, within_ms=10)
    assert raised.fields["owed"] == 3
    assert cleared.fields["alarms"] == 3
    lasted_ms = (cleared.at_us - raised.at_us) // US_PER_MS
    assert about_ms(cleared.fields["lasted_ms"], lasted_ms - 20, within_ms=40)


def test_receipt_that_comes_after_the_persons_time_leaves_the_fault_standing(
    tmp_path: Path,
) -> None:
    """Received at last and nobody has acknowledged for longer than promised: still one fault."""
    promising = replace(SECURITY, via=BOTH, acknowledge_within_ms=10_000)
    case = replace(CASE, via=BOTH, sends=ALL)

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.centres["security"].deaf = True
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(20)
        school.centres["security"].deaf = False
        await school.clock.sleep(20)
        assert len(school.lines("state.alarm.received")) == 1
        assert not school.lines("fault.delivery.cleared")
        school.centres["security"].say(school.alarm("reception"), AlarmState.ACKNOWLEDGED)
        await school.clock.sleep(1)

    school = live(tmp_path, scenario, premises=with_routes(promising, case, premises=TWO_UPLINKS))
    only(school.lines("fault.delivery.raised", route="security"))
    only(school.lines("fault.delivery.cleared", route="security"))
