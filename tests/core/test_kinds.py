"""The table of kinds: every kind has its row, its stream and its code."""

from __future__ import annotations

import pytest

from gateway.core.kinds import (
    ALARM_STREAM_FAULTS,
    ALARMS,
    DOOR_ALARMS,
    FAULTS,
    class_of,
    contact_id_of,
    kind_of,
    phase_of,
    severity_of,
    stream_of,
)
from gateway.core.model import Severity, Stream
from gateway.core.premises import PERSON_OPERATED, ContactIdZone, Input, Point, PointKind


def point(kind: PointKind, *, silent: bool = False) -> Point:
    return Point("p", kind, Input(normally_open="gpio:1"), cid=ContactIdZone(2, 17), silent=silent)


def code(event_type: str, at: Point | None) -> object:
    contact_id = contact_id_of(event_type, at)
    return contact_id and contact_id["code"]


def test_kinds_have_a_row_for_every_alarm() -> None:
    others = {"fire", "tamper", "door-forced", "door-held"}
    assert set(ALARMS) == {kind.value for kind in PERSON_OPERATED} | others


def test_kinds_have_a_row_for_every_fault() -> None:
    assert set(FAULTS) == {
        "wiring",
        "chatter",
        "stuck",
        "unit-silent",
        "bus",
        "path",
        "delivery",
        "storage",
        "clock",
        "mains",
        "battery",
        "configuration",
    }


def test_kinds_of_points_are_alarms_or_faults_except_the_key_and_doors() -> None:
    left = {kind.value for kind in PointKind} - set(ALARMS) - set(FAULTS)
    assert left == {"reset-key", "door"}
    assert set(ALARMS) >= DOOR_ALARMS


@pytest.mark.parametrize("kind", [*sorted(kind.value for kind in PERSON_OPERATED), "fire"])
def test_alarm_of_a_person_or_fire_is_critical_whenever_it_is_told(kind: str) -> None:
    assert severity_of(f"alarm.{kind}.raised") is Severity.CRITICAL
    assert severity_of(f"alarm.{kind}.repeated") is Severity.CRITICAL
    assert severity_of(f"alarm.{kind}.cleared") is Severity.INFO


def test_severity_of_what_is_no_alarm_and_no_fault_is_info() -> None:
    assert severity_of("state.gateway.restarted") is Severity.INFO
    assert severity_of("test.walk.raised") is Severity.INFO
    assert severity_of("fault.mains.raised") is Severity.MAJOR


@pytest.mark.parametrize("kind", ALARMS)
def test_alarm_stream_carries_every_phase_of_every_alarm(kind: str) -> None:
    for phase in ("raised", "repeated", "cleared"):
        assert stream_of(f"alarm.{kind}.{phase}") is Stream.ALARM


@pytest.mark.parametrize("kind", FAULTS)
def test_alarm_stream_carries_the_faults_a_guard_must_know(kind: str) -> None:
    guard = ["wiring", "path", "delivery", "storage", "mains", "battery", "unit-silent"]
    assert set(guard) == ALARM_STREAM_FAULTS
    for phase in ("raised", "cleared"):
        expected = Stream.ALARM if kind in guard else Stream.LOG
        assert stream_of(f"fault.{kind}.{phase}") is expected


@pytest.mark.parametrize(
    ("event_type", "stream"),
    [
        ("test.walk.pressed", Stream.ALARM),
        ("state.alarm.received", Stream.ALARM),
        ("state.command.done", Stream.ALARM),
        ("state.command.refused", Stream.ALARM),
        ("state.mode.begun", Stream.ALARM),
        ("state.gone", Stream.ALARM),
        ("state.gateway.restarted", Stream.LOG),
        ("state.inventory", Stream.LOG),
        ("state.reset-key.turned", Stream.LOG),
        ("state.door.released", Stream.ALARM),
        ("access.granted", Stream.LOG),
        ("access.denied", Stream.LOG),
        ("access.opened", Stream.LOG),
        ("access.held-warning", Stream.LOG),
        ("access.forced", Stream.LOG),
        ("access.held", Stream.LOG),
    ],
)
def test_stream_of_everything_else(event_type: str, stream: Stream) -> None:
    assert stream_of(event_type) is stream


@pytest.mark.parametrize("kind", ALARMS)
def test_contact_id_of_an_alarm_has_partition_and_zone_of_its_point(kind: str) -> None:
    contact_id = contact_id_of(f"alarm.{kind}.raised", point(PointKind.FIRE))
    assert contact_id == {
        "qualifier": 1,
        "code": f"{ALARMS[kind].code:03d}",
        "partition": 2,
        "zone": 17,
    }


def test_contact_id_tells_new_cleared_and_still_present_apart() -> None:
    found = [
        contact_id_of(f"alarm.panic.{phase}", None) for phase in ("raised", "cleared", "repeated")
    ]
    assert [contact_id and contact_id["qualifier"] for contact_id in found] == [1, 3, 6]
    assert found[0] is not None
    assert (found[0]["partition"], found[0]["zone"]) == (0, 0)


def test_contact_id_of_a_lockdown_sends_somebody() -> None:
    assert code("alarm.lockdown.raised", point(PointKind.LOCKDOWN)) == "120"


@pytest.mark.parametrize("kind", [PointKind.PANIC, PointKind.LOCKDOWN, PointKind.HOLD_UP])
def test_contact_id_of_a_silent_button_is_a_silent_one_to_its_end(kind: PointKind) -> None:
    for phase in ("raised", "repeated", "cleared"):
        assert code(f"alarm.{kind}.{phase}", point(kind, silent=True)) == "122"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(PointKind.MEDICAL, "100"), (PointKind.DURESS, "121"), (PointKind.FIRE, "110")],
)
def test_contact_id_of_other_silent_points_stays_their_own(kind: PointKind, expected: str) -> None:
    assert code(f"alarm.{kind}.raised", point(kind, silent=True)) == expected


@pytest.mark.parametrize("fault", ["wiring", "chatter", "stuck"])
def test_contact_id_of_zone_trouble_knows_hold_up_from_panic(fault: str) -> None:
    assert code(f"fault.{fault}.raised", point(PointKind.HOLD_UP)) == "376"
    assert code(f"fault.{fault}.raised", point(PointKind.PANIC)) == "375"
    assert code(f"fault.{fault}.raised", None) == "375"


def test_contact_id_of_states_that_have_a_code() -> None:
    assert code("state.gateway.restarted", None) == "305"
    assert code("state.inventory", None) == "306"
    assert code("fault.path.cleared", None) == "350"


@pytest.mark.parametrize("fault", ["stuck", "wiring", "chatter"])
@pytest.mark.parametrize("phase", ["raised", "cleared"])
def test_contact_id_of_a_doors_fault_tells_exit_from_contact(fault: str, phase: str) -> None:
    door = point(PointKind.DOOR)
    found = [
        contact_id_of(f"fault.{fault}.{phase}", door, {"part": part})
        for part in ("request-to-exit", "contact", "bolt", "lock")
    ]
    assert [code and code["code"] for code in found] == ["428", "427", "427", "427"]
    assert code(f"fault.{fault}.{phase}", door) == "427"


def test_contact_id_of_what_hangs_on_a_bus() -> None:
    assert code("fault.unit-silent.raised", None) == "333"
    assert code("fault.bus.raised", None) == "331"


def test_contact_id_of_a_door() -> None:
    door = point(PointKind.DOOR)
    assert code("alarm.door-forced.raised", door) == "423"
    assert code("alarm.door-held.raised", door) == "426"
    assert contact_id_of("access.denied", door) == {
        "qualifier": 1,
        "code": "421",
        "partition": 2,
        "zone": 17,
    }


@pytest.mark.parametrize(
    "event_type",
    [
        "state.alarm.received",
        "test.walk.pressed",
        "state.gone",
        "access.granted",
        "access.opened",
        "access.held-warning",
    ],
)
def test_contact_id_is_absent_where_the_code_list_has_nothing(event_type: str) -> None:
    assert contact_id_of(event_type, None) is None


def test_types_are_read_in_their_parts() -> None:
    assert class_of("alarm.door-forced.raised") == "alarm"
    assert kind_of("alarm.door-forced.raised") == "door-forced"
    assert phase_of("alarm.door-forced.raised") == "raised"
    assert (class_of("state.inventory"), phase_of("state.inventory")) == ("state", "inventory")
