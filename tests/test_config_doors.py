"""Configuration of buses, devices, doors and local rules: what is refused, and what is doubted."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.child import read_child, start_child
from gateway.config.load import run_check
from gateway.core.hardware import (
    Bus,
    Deed,
    Door,
    DoorContact,
    Egress,
    FireOpens,
    LockType,
    OnSilence,
    Parity,
    ReactionRule,
    Transport,
)
from gateway.core.plain import from_plain, to_plain
from gateway.core.premises import Input, PointKind, Premises
from tests.config_door_cases import DEVICE, LOCK, REFUSALS, RULE, TWO_STEPS, WARNINGS, YARD
from tests.config_doors import DOOR_UNIT, ROOMY, DoorSite


@pytest.fixture
def site(tmp_path: Path) -> DoorSite:
    return DoorSite(tmp_path)


def test_valid_doors_have_no_warning(site: DoorSite) -> None:
    assert site.warnings() == []


@pytest.mark.parametrize(("old", "new", "lines"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_names_line_key_fault_and_cure(
    site: DoorSite, old: str, new: str, lines: list[str]
) -> None:
    site.change(old, new)
    assert sorted(site.mistakes()) == sorted(lines)
    assert site.check().premises is None


@pytest.mark.parametrize(("changes", "lines"), TWO_STEPS.values(), ids=TWO_STEPS.keys())
def test_refusal_of_two_keys_together(
    site: DoorSite, changes: list[tuple[str, str]], lines: list[str]
) -> None:
    for old, new in changes:
        site.change(old, new)
    assert site.mistakes() == lines


@pytest.mark.parametrize(("changes", "line"), WARNINGS.values(), ids=WARNINGS.keys())
def test_doubtful_configuration_is_valid_with_a_warning(
    site: DoorSite, changes: list[tuple[str, str]], line: str
) -> None:
    for old, new in changes:
        site.change(old, new)
    assert line in site.warnings()
    assert site.check().premises is not None


# --- what a valid file becomes ---------------------------------------------------------------


def premises_of(site: DoorSite) -> Premises:
    result = site.check()
    assert result.mistakes == ()
    assert result.premises
    return result.premises


def door_of(site: DoorSite, name: str = "main-door") -> Door:
    door = premises_of(site).point(name).door
    assert door
    return door


def test_valid_file_becomes_buses_and_devices(site: DoorSite) -> None:
    premises = premises_of(site)
    (bus,) = premises.buses
    assert bus == Bus("corridor", Transport.RTU, port="/dev/ttyRS485", baud=19_200)
    (device,) = premises.devices
    assert (device.id, device.bus, device.unit, device.poll_ms) == ("entrance", "corridor", 11, 200)
    assert (device.profile.id, device.identity) == ("door-unit", None)


def test_valid_file_becomes_a_door(site: DoorSite) -> None:
    point = premises_of(site).point("main-door")
    assert point.kind is PointKind.DOOR
    assert point.input == Input(normally_closed="entrance/input-1")
    assert (point.stuck_after_ms, point.prove_within_ms, point.silent) == (None, None, False)
    assert point.door == Door(
        lock="entrance/relay-1",
        lock_type=LockType.STRIKE,
        request_to_exit=DoorContact("entrance/input-2"),
        egress=Egress.HARDWIRED,
        fire_release="hardwired",
        fire_opens=FireOpens.EXIT,
        on_silence=OnSilence.KEEP,
        unlock_ms=5_000,
        grant_ms=5_000,
        held_after_ms=30_000,
        warn_before_ms=10_000,
    )


def test_every_contact_of_a_door_keeps_how_it_rests(site: DoorSite) -> None:
    site.change("contact: entrance/input-1", "contact: {normally_open: entrance/input-1}")
    for n, name in enumerate(("bolt", "granted", "denied", "forced"), start=3):
        site.change(LOCK, f"{LOCK}    {name}: {{normally_closed: entrance/input-{n}}}\n")
    premises = premises_of(site)
    assert premises.point("main-door").input == Input(normally_open="entrance/input-1")
    contacts = door_of(site).contacts
    assert contacts["forced"] == DoorContact("entrance/input-6", closed_at_rest=True)
    assert [contact.closed_at_rest for contact in contacts.values()] == [
        False,
        True,
        True,
        True,
        True,
    ]


def test_a_magnet_is_freed_on_both_sides(site: DoorSite) -> None:
    site.change(LOCK, LOCK + "    lock_type: magnet\n")
    assert door_of(site).fire_opens is FireOpens.BOTH


@pytest.mark.parametrize(
    ("written", "held_ms", "warn_ms"),
    [
        ("held_after: 1m", 60_000, 10_000),
        ("held_after: 6s", 6_000, 3_000),
        ("held_after: never", None, 10_000),
        (
            "held_after: 1m\n    warn_before: 20s\n    sounder: entrance/relay-2",
            60_000,
            20_000,
        ),
    ],
)
def test_warning_comes_while_there_is_time(
    site: DoorSite, written: str, held_ms: int | None, warn_ms: int
) -> None:
    site.change("held_after: 30s", written)
    assert (door_of(site).held_after_ms, door_of(site).warn_before_ms) == (held_ms, warn_ms)


BUS_URLS = {
    "url: tcp://10.0.0.7": Bus("corridor", Transport.TCP, host="10.0.0.7"),
    'url: "tcp://[::1]:1502"': Bus("corridor", Transport.TCP, host="::1", tcp_port=1_502),
    "url: rtu+tcp://moxa:4001, baud: 38400, parity: even, stop_bits: 1, echo: false": Bus(
        "corridor",
        Transport.RTU_OVER_TCP,
        host="moxa",
        tcp_port=4_001,
        baud=38_400,
        parity=Parity.EVEN,
        stop_bits=1,
        echo=False,
    ),
}


@pytest.mark.parametrize(("written", "bus"), BUS_URLS.items(), ids=BUS_URLS.keys())
def test_a_bus_may_be_reached_by_network(site: DoorSite, written: str, bus: Bus) -> None:
    site.change("port: /dev/ttyRS485, baud: 19200", written)
    site.put("profiles/door-unit.yaml", DOOR_UNIT + "transports: [rtu-over-tcp, tcp]\n")
    assert premises_of(site).buses == (bus,)


def test_a_board_itself_is_unit_255_on_modbus_tcp(site: DoorSite) -> None:
    site.put("profiles/door-unit.yaml", DOOR_UNIT + "transports: [tcp]\n")
    site.change("port: /dev/ttyRS485, baud: 19200", "url: tcp://10.0.0.7")
    site.change("unit: 11", "unit: 255")
    assert premises_of(site).devices[0].unit == 255


def test_identity_and_poll_are_kept(site: DoorSite) -> None:
    site.change("unit: 11", "unit: 11, identity: WBMR6C, poll: 50ms")
    device = premises_of(site).devices[0]
    assert (device.identity, device.poll_ms) == ("WBMR6C", 50)


def test_all_doors_are_those_people_leave_by_and_for_a_lockdown_every_one(site: DoorSite) -> None:
    site.change(
        "uplinks:",
        "  store: {kind: door, contact: entrance/input-5, lock: entrance/relay-5, egress: none}\n"
        "  yard: {kind: door, contact: entrance/input-6, egress: handle}\nuplinks:",
    )
    site.change(RULE, RULE + "  - {on: alarm.panic.raised, do: lockdown, doors: all}\n")
    release, lockdown = premises_of(site).reactions
    assert release == ReactionRule("alarm.fire.raised", Deed.RELEASE, doors=("main-door",))
    assert lockdown == ReactionRule(
        "alarm.panic.raised", Deed.LOCKDOWN, doors=("main-door", "store")
    )


def test_two_rules_may_share_a_siren(site: DoorSite) -> None:
    for event in ("alarm.panic.unanswered", "fault.mains.raised"):
        rule = f"  - {{on: {event}, do: sound, output: entrance/relay-3, for: 2m}}\n"
        site.change(RULE, RULE + rule)
    assert [rule.output for rule in premises_of(site).reactions[1:]] == ["entrance/relay-3"] * 2
    assert premises_of(site).reactions[1].for_ms == 120_000


def test_a_silent_fire_still_frees_doors(site: DoorSite) -> None:
    site.change("kind: fire\n", "kind: fire\n    silent: true\n")
    assert site.warnings() == []


def test_a_hold_up_that_is_not_silent_may_sound(site: DoorSite) -> None:
    site.change(
        "uplinks:",
        "  desk:\n    kind: hold-up\n    silent: false\n"
        "    input: {normally_open: gpio:23, normally_closed: gpio:24}\nuplinks:",
    )
    site.change(RULE, RULE + "  - {on: alarm.hold-up.raised, do: sound, output: gpio:6}\n")
    assert premises_of(site).reactions[1].output == "gpio:6"


def test_a_lockdown_lasts_two_hours_unless_told(site: DoorSite) -> None:
    assert premises_of(site).lockdown_max_ms == 7_200_000
    site.change("reactions:\n", "lockdown: {at_most: 30m}\nreactions:\n")
    assert premises_of(site).lockdown_max_ms == 1_800_000


def test_targets_of_a_key_are_kept(site: DoorSite) -> None:
    site.change("verbs: [resend]", "verbs: [door.lock], targets: [main-door]")
    assert premises_of(site).routes[0].keys[0].targets == ("main-door",)


# --- profiles --------------------------------------------------------------------------------


def test_only_what_is_used_of_a_profile_is_handed_over(site: DoorSite) -> None:
    profile = premises_of(site).devices[0].profile
    assert [channel.name for channel in profile.inputs] == ["input-1", "input-2"]
    assert [channel.name for channel in profile.outputs] == ["relay-1"]


def test_a_profile_of_thousands_of_channels_weighs_little(site: DoorSite) -> None:
    site.change("profile: door-unit", "profile: bolid-s2000-pp")
    for old, new in (
        ("input-1", "intrusion-7"),
        ("input-2", "granted-8"),
        ("relay-1", "relay-255"),
    ):
        site.change(f"entrance/{old}", f"entrance/{new}")
    premises = premises_of(site)
    text = json.dumps(to_plain(premises))
    assert len(text) < 10_000
    assert from_plain(Premises, json.loads(text)) == premises


def test_a_wrong_profile_is_reported_once_at_its_own_lines(site: DoorSite) -> None:
    broken = DEVICE.replace("door-unit", "broken")
    site.change(DEVICE, broken + YARD.replace("plain-unit", "broken"))
    (line,) = site.mistakes()
    assert line.startswith("DIR/profiles/broken.yaml:")
    assert "inputs.input.count" in line


def test_digest_covers_the_profile(site: DoorSite) -> None:
    before = premises_of(site).digest
    site.put(
        "profiles/door-unit.yaml", DOOR_UNIT.replace("value: 10, most: 10", "value: 5, most: 5")
    )
    assert premises_of(site).digest != before


def test_digest_covers_rules_and_buses(site: DoorSite) -> None:
    digests = {premises_of(site).digest}
    for old, new in ((RULE, "  []\n"), ("baud: 19200", "baud: 9600"), ("unit: 11", "unit: 12")):
        site.change(old, new)
        digests.add(premises_of(site).digest)
    assert len(digests) == 4


def test_child_hands_over_doors(site: DoorSite) -> None:
    site.change("held_after: 30s", "held_after: never")
    result = read_child(start_child(site.file))
    assert result == site.check(os.environ)
    assert result.premises
    assert result.warnings


def test_check_counts_devices(site: DoorSite, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(str(site.file), as_json=False) == 0
    first = site.short(capsys.readouterr().out).splitlines()[0]
    assert first == "FILE is valid: 3 points, 2 uplinks, 2 routes, 1 device"


def test_twenty_doors_are_checked_in_a_moment(site: DoorSite) -> None:
    """Twenty doors on ten units: at most 1.5 s of the processor, imports apart."""
    devices = "".join(
        DEVICE.replace("entrance", f"unit-{n}").replace("11", f"{n + 20}") for n in range(1, 11)
    )
    doors = "".join(
        f"  door-{n}:\n    kind: door\n    contact: unit-{n // 2 + 1}/input-{n % 2 + 1}\n"
        f"    request_to_exit: unit-{n // 2 + 1}/input-{n % 2 + 3}\n"
        f"    lock: unit-{n // 2 + 1}/relay-{n % 2 + 1}\n"
        "    egress: hardwired\n    fire_release: fire-panel\n"
        for n in range(20)
    )
    site.change(DEVICE, DEVICE + devices)
    site.change("uplinks:\n", doors + "uplinks:\n")
    began_s = time.process_time()
    result = site.check()
    took_s = time.process_time() - began_s
    assert len(result.premises.points if result.premises else ()) == 23, result.mistakes
    assert took_s < 1.5


JUNK: list[Any] = [
    None,
    True,
    0,
    -1.5,
    "",
    "door",
    "gpio:5",
    "entrance/input-1",
    "all",
    "5s",
    "a" * 5000,
]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_in_any_place_is_judged_and_never_a_traceback(
    site: DoorSite, data: st.DataObject
) -> None:
    """Puts junk, also wrapped into a list or a mapping, in the place of any value of a file."""
    junk: Any = data.draw(st.sampled_from(JUNK))
    junk = data.draw(st.sampled_from([junk, [junk, [junk]], {"port": junk}, {"a": {"b": [junk]}}]))
    lines = ROOMY.splitlines()
    line = data.draw(st.sampled_from([n for n, text in enumerate(lines) if ": " in text]))
    place = data.draw(st.sampled_from([m.end() for m in re.finditer(r": |:$", lines[line])]))
    rest = re.sub(r"^[^,}]*", "", lines[line][place:])
    lines[line] = f"{lines[line][:place]} {json.dumps(junk)}{rest if '{' in lines[line] else ''}"
    site.write("\n".join(lines))
    result = site.check()
    assert (result.premises is None) is bool(result.mistakes)
    assert not [m for m in result.mistakes if "check itself failed" in m.what]
