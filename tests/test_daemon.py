"""The whole daemon under virtual time: from a finger on a button to a person who answers.

Disk: test_recorder. Receipts, uplinks, backlog: test_delivery. Lamps: test_lamps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.jws import TokenType, open_token
from gateway.core.model import AlarmState
from gateway.core.premises import Place, Premises, Route
from simulators.centre.core.words import Mark
from tests.school import (
    ALL,
    CASE,
    GATEWAY,
    SCHOOL,
    SECURITY,
    TWO_UPLINKS,
    US_PER_S,
    School,
    live,
    owed_after,
    with_routes,
)

SOON_US = 20_000
"""Confirmed, written, sent and received, when all is well."""


async def press(school: School, point: str, *, then_s: float = 1.0) -> str:
    """One clean press and a moment; the alarm's id."""
    await school.bench.press(point, "clean", 300)
    await school.clock.sleep(then_s)
    return school.alarm(point)


def subjects(school: School, route: str) -> list[str]:
    """The points whose alarms a centre was shown, in order."""
    return [
        verdict.message.subject
        for verdict in school.heard(route, "alarm.")
        if verdict.message is not None and verdict.message.type.endswith(".raised")
    ]


# --- one press ---


@pytest.mark.parametrize("shape", ["clean", "bounce", "chatter"])
@pytest.mark.parametrize("seed", range(5))
def test_press_is_one_alarm_on_every_route(tmp_path: Path, shape: str, seed: int) -> None:
    """However the contact behaves: one alarm, the same id everywhere, within a moment."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        await school.bench.press("reception", shape, 500)
        await school.clock.sleep(2)

    school = live(tmp_path, scenario, seed=seed)
    ids = set()
    for route in ("security", "case"):
        (alarm,) = school.heard(route, "alarm.panic.raised")
        assert alarm.message is not None
        ids.add(alarm.message.id)
        assert school.arrived_us(alarm) - school.raised_us("reception") <= SOON_US
    assert len(ids) == 1


@pytest.mark.parametrize("shape", ["glitch", "emi"])
def test_interference_is_no_alarm(tmp_path: Path, shape: str) -> None:
    """What motors and radios put on a wire raises nothing."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        await school.bench.press("reception", shape, 500)
        await school.clock.sleep(2)

    school = live(tmp_path, scenario)
    assert not school.heard("security", "alarm.")


def test_every_change_of_answer_reaches_every_holder(tmp_path: Path) -> None:
    """The case system's register has press, receipt, answers and end under one id, in order."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        alarm = await press(school, "reception")
        for state in (AlarmState.ACKNOWLEDGED, AlarmState.DISPATCHED, AlarmState.CLOSED):
            school.centres["security"].say(alarm, state)
            await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    story = [
        "alarm.panic.raised",
        "state.alarm.received",
        "state.alarm.acknowledged",
        "state.alarm.dispatched",
        "state.alarm.closed",
        "alarm.panic.cleared",
    ]
    for route in ("security", "case"):
        told = school.heard(route, alarm=school.alarm("reception"))
        assert [verdict.message.type for verdict in told if verdict.message] == story


def test_states_never_move_back(tmp_path: Path) -> None:
    """A receipt that still says `received` after `acknowledged` changes nothing."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        alarm = await press(school, "reception")
        before = school.keys["security"]
        school.centres["security"].say(alarm, AlarmState.ACKNOWLEDGED)
        await school.clock.sleep(1)
        for state in ("raised", "received", "acknowledged"):
            words = [{"alarm": alarm, "state": state, "operator": 1, "at": ""}]
            school.whisper(school.receipt(school.stream(), signer=before, alarms=words))
        await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    assert [v.message.type for v in school.heard("case", "state.alarm") if v.message] == [
        "state.alarm.received",
        "state.alarm.acknowledged",
    ]


# --- the broker is away ---


def test_daemon_starts_records_and_delivers_later(tmp_path: Path) -> None:
    """No broker at the start: nothing waits for it, and all comes in order when it is there."""

    async def scenario(school: School) -> None:
        school.broker.down()
        await school.start()
        for point in ("reception", "gym", "accounts"):
            await press(school, point, then_s=2.0)
        await school.bench.press("fire-panel", "clean", 2_000)
        assert len(school.lines("alarm.panic.raised")) == 2
        school.broker.up()
        await school.clock.sleep(3)

    school = live(tmp_path, scenario)
    for route in ("security", "case"):
        assert subjects(school, route) == ["reception", "gym", "accounts", "fire-panel"]
    assert not list(owed_after(school))


def test_first_owed_message_comes_within_a_second_of_the_brokers_return(tmp_path: Path) -> None:
    """However long it was away: with an alarm owed the gateway tries at least every half second."""

    async def scenario(school: School) -> None:
        school.broker.down()
        await school.start()
        await press(school, "reception", then_s=600.0)
        school.trace.add("up", {})
        school.broker.up()
        await school.clock.sleep(3)

    school = live(tmp_path, scenario)
    (up,) = school.lines("up")
    assert school.carried("alarm")[0].at_us - up.at_us <= US_PER_S


def test_press_hurries_a_link_that_had_nothing_urgent(tmp_path: Path) -> None:
    """In a long back-off with nothing owed but log: a press shortens it."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(5)
        school.broker.down()
        await school.clock.sleep(300)
        school.broker.up()
        school.trace.add("up", {})
        await press(school, "reception")

    premises = with_routes(replace(SECURITY, sends=("alarm", "state")))
    school = live(tmp_path, scenario, premises=premises)
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= US_PER_S


def test_absent_broker_is_a_fault_and_its_return_the_end(tmp_path: Path) -> None:
    """Raised after one heartbeat and its echo's time, cleared after a good minute; once each."""

    async def scenario(school: School) -> None:
        school.broker.down()
        await school.start()
        await school.clock.sleep(30)
        school.broker.up()
        school.trace.add("up", {})
        await school.clock.sleep(90)

    school = live(tmp_path, scenario)
    (up,) = school.lines("up")
    for route in ("security", "case"):
        (raised,) = school.lines("fault.path.raised", route=route)
        (cleared,) = school.lines("fault.path.cleared", route=route)
        assert raised.at_us <= 10 * US_PER_S
        assert 60 * US_PER_S <= cleared.at_us - up.at_us <= 65 * US_PER_S
    assert (
        school.types("security", "fault.path")
        == ["fault.path.raised"] * 2 + ["fault.path.cleared"] * 2
    )


def test_start_names_the_faults_that_still_stand(tmp_path: Path) -> None:
    """A centre ends all others: a clearing it never got leaves nothing standing for ever."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.broker.down()
        await school.clock.sleep(30)
        await school.stop()
        await school.start()
        school.broker.up()
        await school.clock.sleep(150)
        await school.stop()
        await school.start()
        await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    standing = [line.fields["id"] for line in school.lines("fault.path.raised")]
    assert len(standing) == 2
    _, second, third = school.lines("state.gateway.restarted")
    assert second.fields["faults"] == standing
    assert third.fields["faults"] == []


# --- nobody answers ---

PROMISING = replace(
    SECURITY, acknowledge_within_ms=30_000, then=("deputy", "principal"), via=("campus",)
)
DEPUTY = Route("deputy", ("lte",), ())
PRINCIPAL = Route("principal", ("lte",), ())
LADDER = replace(
    TWO_UPLINKS, routes=(PROMISING, replace(CASE, sends=ALL, via=("lte",)), DEPUTY, PRINCIPAL)
)


def test_deaf_centre_is_known_within_ten_seconds(tmp_path: Path) -> None:
    """It receives and says nothing: whoever is sent faults is told, over what still lives."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(22.5)
        school.centres["security"].deaf = True
        school.trace.add("deaf", {})
        await school.clock.sleep(15)

    school = live(tmp_path, scenario, premises=LADDER)
    (deaf,) = school.lines("deaf")
    (told,) = school.heard("case", "fault.path.raised", route="security", uplink="campus")
    assert school.arrived_us(told) - deaf.at_us <= 10 * US_PER_S
    assert not school.heard("deputy")


def test_alarm_without_a_receipt_calls_the_next_routes_one_by_one(tmp_path: Path) -> None:
    """fault.delivery at `receipt_within`; the deputy then, and then the principal."""

    async def scenario(school: School) -> None:
        for name in ("security", "deputy"):
            school.centres[name].deaf = True
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception", then_s=60.0)

    school = live(tmp_path, scenario, premises=LADDER)
    pressed_us = school.raised_us("reception")
    (fault,) = school.heard("case", "fault.delivery.raised", route="security")
    assert 5_000_000 <= school.arrived_us(fault) - pressed_us <= 5_000_000 + SOON_US
    (deputy,) = school.heard("deputy", "alarm.panic.raised")
    assert 5_000_000 <= school.arrived_us(deputy) - pressed_us <= 5_000_000 + SOON_US
    (principal,) = school.heard("principal", "alarm.panic.raised")
    assert 35_000_000 <= school.arrived_us(principal) - pressed_us <= 35_000_000 + SOON_US


def test_receipt_without_a_person_calls_the_next_route(tmp_path: Path) -> None:
    """The centre holds it and nobody has acknowledged in time: the deputy is owed it."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception", then_s=45.0)

    school = live(tmp_path, scenario, premises=LADDER)
    pressed_us = school.raised_us("reception")
    (fault,) = school.heard("case", "fault.delivery.raised", why="no-acknowledgement")
    (deputy,) = school.heard("deputy", "alarm.panic.raised")
    for told in (fault, deputy):
        assert 30_000_000 <= school.arrived_us(told) - pressed_us <= 30_000_000 + SOON_US
    assert not school.heard("principal")


@pytest.mark.parametrize("word", ["acknowledged", "dispatched", "closed"])
def test_answer_of_a_person_stops_the_ladder(tmp_path: Path, word: str) -> None:
    """Whatever a person has said first, no further route is called and the fault ends."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        # held in, so that `closed` alone does not end the alarm
        await school.bench.press("reception", "stuck", 300)
        await school.clock.sleep(32)
        alarm = school.alarm("reception")
        school.centres["security"].say(alarm, AlarmState(word))
        await school.clock.sleep(90)

    school = live(tmp_path, scenario, premises=LADDER)
    assert len(school.heard("deputy", "alarm.panic.raised")) == 1
    assert not school.heard("principal")
    assert len(school.heard("case", "fault.delivery.cleared", route="security")) == 1


def test_acknowledgement_in_time_calls_nobody(tmp_path: Path) -> None:
    """The good case: no fault, no deputy."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        alarm = await press(school, "reception", then_s=20.0)
        school.centres["security"].say(alarm, AlarmState.ACKNOWLEDGED)
        await school.clock.sleep(90)

    school = live(tmp_path, scenario, premises=LADDER)
    assert not school.heard("case", "fault.delivery")
    assert not school.heard("deputy")


def test_late_receipt_ends_the_delivery_fault(tmp_path: Path) -> None:
    """Raised when it was missed, cleared when it came; once each."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.centres["security"].deaf = True
        await press(school, "reception", then_s=8.0)
        assert len(school.lines("fault.delivery.raised", why="no-receipt")) == 1
        school.centres["security"].deaf = False
        await school.clock.sleep(8)
        assert len(school.lines("fault.delivery.cleared")) == 1

    live(tmp_path, scenario)


def test_receipt_does_not_pass_for_a_persons_answer(tmp_path: Path) -> None:
    """Nobody acknowledged: the receipt of a further press leaves that fault standing."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception", then_s=29.0)
        await press(school, "reception", then_s=5.0)
        assert len(school.lines("alarm.panic.repeated")) == 1
        await press(school, "reception", then_s=5.0)
        assert len(school.lines("fault.delivery.raised", why="no-acknowledgement")) == 1
        assert not school.lines("fault.delivery.cleared")

    live(tmp_path, scenario, premises=LADDER)


# --- restarts ---


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_button_held_over_a_restart_raises_nothing_new(tmp_path: Path, end: str) -> None:
    """The alarm is open already: the restart names it, and so does every heartbeat."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "stuck", 300)
        await school.clock.sleep(1)
        await (school.stop() if end == "stop" else school.kill())
        await school.start()
        await school.clock.sleep(5)
        assert school.last_beat().open == (school.alarm("reception"),)

    school = live(tmp_path, scenario)
    assert len(school.lines("alarm.panic.raised")) == 1
    (_, again) = school.heard("security", "state.gateway.restarted")
    assert again.message is not None
    assert again.message.data["open"] == [school.alarm("reception")]


def test_button_pressed_while_the_gateway_was_off_is_an_alarm(tmp_path: Path) -> None:
    """It is in when the daemon starts and nobody was told: told now."""

    async def scenario(school: School) -> None:
        await school.bench.press("reception", "stuck", 300)
        await school.start()
        await school.clock.sleep(2)

    school = live(tmp_path, scenario)
    assert subjects(school, "security") == ["reception"]


def test_unacknowledged_alarm_is_remembered_over_a_restart(tmp_path: Path) -> None:
    """Receipted, not acknowledged, killed: the promised time runs anew and the deputy is called."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception", then_s=10.0)
        await school.kill()
        await school.start()
        await school.clock.sleep(40)

    school = live(tmp_path, scenario, premises=LADDER)
    assert len(school.heard("deputy", "alarm.panic.raised")) == 1
    assert len(school.lines("fault.delivery.raised", why="no-acknowledgement")) == 1


def test_killed_gateway_offers_all_it_owed_the_same_bytes(tmp_path: Path) -> None:
    """Sent, unreceipted, killed: what the next start offers is what was offered before."""

    async def scenario(school: School) -> None:
        for centre in school.centres.values():
            centre.deaf = True
        await school.start()
        await school.clock.sleep(1)
        for point in ("reception", "gym", "accounts"):
            await press(school, point)
        before = {sent.token for sent in school.carried("alarm")}
        assert len(before) >= 3
        await school.kill()
        begun = len(school.sent)
        await school.start()
        await school.clock.sleep(3)  # nobody echoes: a backlog then waits two seconds
        after = {sent.token for sent in school.sent[begun:] if sent.leaf == "alarm"}
        assert before <= after
        for centre in school.centres.values():
            centre.deaf = False
        await school.clock.sleep(10)

    school = live(tmp_path, scenario)
    assert not list(owed_after(school))
    assert subjects(school, "security") == ["reception", "gym", "accounts"]


def test_kill_between_presses_with_the_broker_away_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    """Presses before and after the kill, broker back at the end: all arrive, in order, once."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.broker.down()
        await press(school, "reception")
        await press(school, "gym")
        await school.kill()
        await school.clock.sleep(3)
        await school.start()
        await press(school, "accounts")
        await school.bench.press("fire-panel", "clean", 1_500)
        school.broker.up()
        await school.clock.sleep(5)

    school = live(tmp_path, scenario)
    for route in ("security", "case"):
        assert subjects(school, route) == ["reception", "gym", "accounts", "fire-panel"]
        marks = [verdict.marks for verdict in school.heard(route)]
        assert not any(Mark.BROKEN_CHAIN in mark or Mark.FORK in mark for mark in marks)


def test_alarm_kept_back_for_over_a_minute_is_shown_late(tmp_path: Path) -> None:
    """Killed, the broker away for two minutes: the old alarm says LATE with its age, the new no."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.broker.down()
        await press(school, "reception")
        await school.kill()
        await school.start()
        await school.clock.sleep(120)
        await press(school, "gym")
        school.broker.up()
        await school.clock.sleep(5)

    school = live(tmp_path, scenario)
    old, new = school.heard("security", "alarm.panic.raised")
    assert (old.late, new.late) == (True, False)
    assert old.age is not None
    assert old.age.ms is not None
    assert 120_000 <= old.age.ms <= 125_000
    assert school.heard("case", "alarm.panic.raised")[0].late


def test_chain_goes_on_over_restarts(tmp_path: Path) -> None:
    """Each epoch's first message names the last that the ledger holds; the centre marks nothing."""

    async def scenario(school: School) -> None:
        for _ in range(3):
            await school.start()
            await school.clock.sleep(1)
            await press(school, "reception", then_s=31.0)
            await school.stop()

    school = live(tmp_path, scenario)
    heard = school.heard("security")
    assert {verdict.message.key.epoch for verdict in heard if verdict.message} == {1, 2, 3}
    assert {verdict.message.key.ledger for verdict in heard if verdict.message} == {
        heard[0].message.key.ledger if heard[0].message else ""
    }
    assert not any(verdict.marks for verdict in heard)


# --- inventory and routes ---


def test_inventory_is_told_when_the_configuration_changed(tmp_path: Path) -> None:
    """At the first start, and when a point came or went; a plain restart says nothing of it."""

    async def scenario(school: School) -> None:
        for _ in range(2):
            await school.start()
            await school.clock.sleep(1)
            await school.stop()
        points = tuple(
            replace(point, id="library", place=Place(room="Library"))
            if point.id == "gym"
            else point
            for point in school.premises.points
        )
        school.premises = replace(school.premises, points=points, digest="1" * 64)
        await school.start()
        await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    for route in ("security", "case"):
        first, second = school.heard(route, "state.inventory")
        assert first.message is not None
        assert second.message is not None
        assert first.message.data["removed"] == []
        assert first.message.data["configuration"] == "0" * 64
        assert second.message.data["added"] == ["library"]
        assert second.message.data["removed"] == ["gym"]
        assert second.message.data["points"]["library"]["place"] == {"room": "Library"}


def test_route_gets_what_its_list_names(tmp_path: Path) -> None:
    """No fault for a route that sends alarms only, no alarm for one that sends faults only."""
    alarms = Route("alarms", ("campus",), ("alarm",))
    faults = Route("faults", ("campus",), ("fault",))

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        alarm = await press(school, "reception")
        school.centres["security"].say(alarm, AlarmState.CLOSED)
        await school.bench.press("gym", "cut-nc", 300)
        await school.clock.sleep(2)

    school = live(tmp_path, scenario, premises=with_routes(SECURITY, alarms, faults))
    assert school.types("alarms") == [
        "alarm.panic.raised",
        "state.alarm.received",
        "state.alarm.closed",
        "alarm.panic.cleared",
        "alarm.panic.raised",
        "state.alarm.received",
    ]
    assert school.types("faults") == ["fault.wiring.raised"]


def test_route_that_holds_no_alarm_hears_nothing_of_its_states(tmp_path: Path) -> None:
    """It sends states, but not the states of what it was never told."""
    watcher = Route("watcher", ("campus",), ("state",))

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        alarm = await press(school, "reception")
        school.centres["security"].say(alarm, AlarmState.CLOSED)
        await school.clock.sleep(1)

    school = live(tmp_path, scenario, premises=with_routes(SECURITY, watcher))
    assert school.types("watcher") == ["state.gateway.restarted", "state.inventory"]


def test_deputy_sees_only_what_it_is_owed(tmp_path: Path) -> None:
    """One alarm of two was never acknowledged: it hears of that one, and then of all its life."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        answered = await press(school, "gym")
        school.centres["security"].say(answered, AlarmState.ACKNOWLEDGED)
        unanswered = await press(school, "reception", then_s=35.0)
        for alarm in (answered, unanswered):
            school.centres["security"].say(alarm, AlarmState.CLOSED)
        await school.clock.sleep(2)

    school = live(tmp_path, scenario, premises=LADDER)
    assert school.types("deputy") == [
        "alarm.panic.raised",
        "state.alarm.closed",
        "alarm.panic.cleared",
    ]
    assert subjects(school, "deputy") == ["reception"]


def test_redacted_members_never_leave(tmp_path: Path) -> None:
    """A route's list drops fields before sealing; the other route still has them."""
    blind = replace(CASE, redact=("place.room", "point_kind"))

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception")

    school = live(tmp_path, scenario, premises=with_routes(SECURITY, blind))
    (seen,) = school.heard("case", "alarm.panic.raised")
    (whole,) = school.heard("security", "alarm.panic.raised")
    assert seen.message is not None
    assert whole.message is not None
    assert seen.message.data["place"] == {"building": "A"}
    assert "point_kind" not in seen.message.data
    assert whole.message.data["place"] == {"building": "A", "room": "Reception"}


# --- trouble inside ---


def test_input_that_cannot_be_read_leaves_the_others_alone(tmp_path: Path) -> None:
    """A pin raises at every read: its point is a wiring fault, the others alarm on time."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.pins.at("gpio:5").fail(failing=True)
        await school.clock.sleep(1)
        await press(school, "reception")
        assert len(school.lines("fault.wiring.raised", subject="gym", why="unreadable")) == 1
        school.pins.at("gpio:5").fail(failing=False)
        await press(school, "gym", then_s=2.0)

    school = live(tmp_path, scenario)
    assert subjects(school, "security") == ["reception", "gym"]


def test_lamp_that_cannot_be_driven_delays_nothing(tmp_path: Path) -> None:
    """Every write to it raises: said once, and the alarm is there on time."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.pins.at("gpio:22").fail(failing=True)
        await press(school, "reception", then_s=5.0)
        assert len(school.lines("gpio.lamp.failed")) == 1
        school.pins.at("gpio:22").fail(failing=False)

    school = live(tmp_path, scenario)
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= SOON_US


def test_defect_in_an_uplink_is_not_silent(tmp_path: Path) -> None:
    """What no contract allows ends the daemon with the reason, after a clean stop of the rest."""

    async def scenario(school: School) -> None:
        del school.brokers["lte"]  # its connector now raises KeyError, which is no UplinkError
        await school.start()
        await school.clock.sleep(1)
        assert not school.running
        with pytest.raises(BaseExceptionGroup) as raised:
            await school.stop()
        assert raised.group_contains(KeyError, match="lte")
        assert school.lines("stopped", everything_on_disk=True)

    live(tmp_path, scenario, premises=TWO_UPLINKS)


def test_contact_that_chatters_for_minutes_delays_no_other_alarm(tmp_path: Path) -> None:
    """Hundreds of edges a second on one button: the next one's alarm is on time all the same."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        begun_us = school.clock.now_us()
        for burst in range(4):
            school.finger("gym", "chatter", 29_000, at_us=begun_us + burst * 30 * US_PER_S)
        for _ in range(10):
            await school.clock.sleep(11)
            await press(school, "reception", then_s=0.5)

    school = live(tmp_path, scenario)
    alarms = [
        verdict
        for verdict in school.heard("security", "alarm.panic")
        if verdict.message is not None and verdict.message.subject == "reception"
    ]
    assert len(alarms) == 10
    for verdict in alarms:
        assert verdict.message is not None
        pressed_us = verdict.message.clock.monotonic_ms * 1_000
        assert school.arrived_us(verdict) - pressed_us <= SOON_US
    told_of_gym = len(school.heard("security")) - len(alarms)
    assert told_of_gym <= 100


# --- the end ---


def test_clean_stop_says_goodbye_and_keeps_what_is_owed(tmp_path: Path) -> None:
    """Presence is withdrawn by the gateway itself; unreceipted alarms stand in the ledger."""

    async def scenario(school: School) -> None:
        for centre in school.centres.values():
            centre.deaf = True
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception")
        begun_us = school.clock.now_us()
        await school.stop()
        assert school.clock.now_us() - begun_us <= US_PER_S
        await school.clock.sleep(0.1)

    school = live(tmp_path, scenario)
    presence = [sent.token for sent in school.sent if sent.leaf == "presence"]
    assert presence[-1] == b'{"present":false}'
    assert b'"present":true' in presence[0]
    owed = {(key.route, key.stream.value) for key, _ in owed_after(school)}
    assert owed >= {("security", "alarm"), ("case", "alarm")}


def test_stop_is_not_held_by_a_network_that_swallows_everything(tmp_path: Path) -> None:
    """No answer to the goodbye: the stop takes a second or so, not a keepalive."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        for broker in school.brokers.values():
            broker.blackhole()
        begun_us = school.clock.now_us()
        await school.stop()
        assert school.clock.now_us() - begun_us <= 2 * US_PER_S

    live(tmp_path, scenario, premises=TWO_UPLINKS)


def _named(token: bytes, school: School) -> Mapping[str, Any]:
    keys = {"gateway": school.gateway_key}
    return open_token(token, typ=TokenType.MESSAGE, keys=keys)[1]


def test_everything_sent_is_signed_and_says_whose_it_is(tmp_path: Path) -> None:
    """Each byte on alarm and log topics opens under the gateway's key and names its route."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await press(school, "reception")
        await school.bench.press("gym", "cut-nc", 300)
        await school.clock.sleep(2)

    premises: Premises = replace(SCHOOL, routes=(SECURITY, CASE))
    school = live(tmp_path, scenario, premises=premises)
    tokens = [sent for sent in school.sent if sent.leaf in {"alarm", "log"}]
    assert len(tokens) > 8
    for sent in tokens:
        payload = _named(sent.token, school)
        assert (payload["route"], payload["stream"]) == (sent.route, sent.leaf)
        assert payload["source"] == f"/premises/school-12/gateways/{GATEWAY}"
