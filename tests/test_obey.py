"""Commands end to end under virtual time: obeyed, refused, told on the asking route, recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.commands import command_payload
from gateway.core.jws import TokenType, seal
from gateway.obey import KEPT
from gateway.record.ledger import Ledger
from tests.obedience import (
    DEPUTY,
    DOORS,
    STRANGER,
    UNLOCK,
    answers,
    asked,
    draft,
    obeying,
    phases,
    released,
    signed,
    slip,
)
from tests.school import LTE, School

LOCK = {"door": "main-door"}


# --- doors ---


def test_unlock_opens_the_door_for_its_time_and_is_told_done(tmp_path: Path) -> None:
    seen: list[bool] = []

    async def scenario(school: School) -> None:
        await asked(school, "door.unlock", {"door": "main-door", "for_ms": 5_000})
        seen.append(released(school, "main-door"))
        await school.clock.sleep(5)
        seen.append(released(school, "main-door"))

    school = obeying(tmp_path, scenario)
    assert seen == [True, False]
    assert phases(school) == ["accepted", "done"]
    _, done = answers(school)[-1]
    assert (done["outcome"], done["target"], done["by"]) == ("confirmed", ["main-door"], "security")


def test_door_opened_in_its_time_is_opened_with_leave(tmp_path: Path) -> None:
    """Who asked stands in the access event, and nobody forced anything."""

    async def scenario(school: School) -> None:
        await asked(school, "door.unlock", UNLOCK)
        await school.bench.door("main-door").open()
        await school.clock.sleep(10)

    school = obeying(tmp_path, scenario)
    (opened,) = school.lines("access.opened")
    assert opened.fields["by"] == "security/security"
    assert not school.lines("alarm.door-forced.raised")


def test_commands_on_one_door_are_done_in_the_order_they_came(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        for verb in ("door.unlock", "door.lock", "door.release", "door.lock", "door.release"):
            school.centres["security"].command(verb, LOCK)
        await school.clock.sleep(8)
        assert released(school, "main-door")

    school = obeying(tmp_path, scenario)
    said = answers(school)
    assert [data["verb"] for phase, data in said if phase == "done"] == [
        *("door.unlock", "door.lock", "door.release", "door.lock", "door.release"),
    ]


def test_lockdown_locks_names_what_it_cannot_lock_and_stands_in_heartbeats(
    tmp_path: Path,
) -> None:
    modes: list[tuple[str, ...]] = []

    async def scenario(school: School) -> None:
        await asked(school, "door.release", LOCK)
        await asked(school, "lockdown.begin", {}, then_s=6)
        modes.append(school.last_beat().modes)
        await asked(school, "door.unlock", UNLOCK)
        await asked(school, "lockdown.end", {}, then_s=6)
        modes.append(school.last_beat().modes)

    school = obeying(tmp_path, scenario)
    assert modes == [("lockdown",), ()]
    assert not released(school, "main-door")
    said = {data["verb"]: (phase, data) for phase, data in answers(school)}
    assert said["lockdown.begin"][1]["left"] == ["glass-door"]
    assert said["door.unlock"][0] == "refused"
    assert "lockdown" in said["door.unlock"][1]["why"]
    assert said["door.unlock"][1]["accepts"] == "lockdown.end"
    assert said["lockdown.end"][0] == "done"
    assert school.types("case", "state.mode.") == ["state.mode.begun", "state.mode.ended"]


def test_wire_that_takes_no_order_is_told_as_failed(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        school.pins.at("gpio:20").fail(failing=True)
        await asked(school, "door.unlock", UNLOCK, then_s=5)

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["accepted", "failed"]
    _, failed = answers(school)[-1]
    assert failed["failed"] == ["main-door"]
    assert "OSError" in failed["why"]


# --- what is refused ---


def forged(school: School) -> bytes:
    return signed(draft(school, "door.unlock", UNLOCK), STRANGER)


def unsigned(school: School) -> bytes:
    header, payload, _ = forged(school).split(b".")
    return header + b"." + payload + b"."


def another_type(school: School) -> bytes:
    payload = command_payload(draft(school, "door.unlock", UNLOCK))
    return seal(TokenType.RECEIPT, payload, school.keys["security"])


def of_another_route(school: School) -> bytes:
    return signed(draft(school, "door.unlock", UNLOCK), school.keys["case"])


@pytest.mark.parametrize(
    "token", [forged, unsigned, another_type, of_another_route], ids=lambda make: make.__name__
)
def test_command_of_a_stranger_moves_nothing_and_is_told(
    tmp_path: Path, token: Callable[[School], bytes]
) -> None:
    async def scenario(school: School) -> None:
        slip(school, token(school))
        await school.clock.sleep(5)
        assert not released(school, "main-door")

    school = obeying(tmp_path, scenario)
    ((phase, refused),) = answers(school)
    assert phase == "refused"
    assert refused["accepts"] == "a command signed under a key this route lists"
    assert "command" not in refused
    assert not school.lines("state.door.unlocked")


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"not_after_ms": 11_000}, "expired"),
    "too far ahead": ({"not_after_ms": 60_000}, "10 s ahead"),
    "another ledger": ({"ledger": "00000000"}, "another ledger"),
    "another boot": ({"boot": "00000000"}, "another boot"),
    "another gateway": ({"gateway": "school-13-main"}, "another gateway"),
    "no such door": ({"target": {"door": "side-door"}}, "no door"),
    "not from outside": ({"target": {"door": "back-door"}}, "outside the premises"),
    "no such verb": ({"verb": "door.explode"}, "no verb"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_command_that_may_not_pass_is_refused_in_words(tmp_path: Path, change: str) -> None:
    changes, why = CHANGES[change]

    async def scenario(school: School) -> None:
        slip(
            school, signed(draft(school, "door.unlock", UNLOCK, **changes), school.keys["security"])
        )
        await school.clock.sleep(1)
        assert not released(school, "main-door")

    school = obeying(tmp_path, scenario)
    ((phase, refused),) = answers(school)
    assert phase == "refused"
    assert why in refused["why"]
    assert refused["accepts"]
    assert refused["by"] == "security"


def test_desk_is_held_to_its_verbs_and_doors(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        for verb, door in (
            ("door.release", "main-door"),
            ("door.lock", "back-door"),
            ("door.lock", "main-door"),
        ):
            slip(school, signed(draft(school, verb, {"door": door}), DEPUTY))
            await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["refused", "refused", "accepted", "done"]
    assert {data["by"] for _, data in answers(school)} == {"deputy"}


def test_answer_goes_to_the_asking_route_whatever_it_is_sent_and_into_the_record(
    tmp_path: Path,
) -> None:
    """The quiet route's list is empty; it hears what it asked for, and nothing else."""

    async def scenario(school: School) -> None:
        await asked(school, "door.lock", LOCK, route="quiet")
        await asked(school, "door.lock", LOCK, route="quiet", verb="door.explode")

    school = obeying(tmp_path, scenario)
    assert phases(school, "quiet") == ["accepted", "done", "refused"]
    assert set(school.types("quiet")) <= {f"state.command.{phase}" for phase in phases(school)}
    assert len(school.lines("state.command.refused")) == 1


def test_retained_command_is_refused_when_it_is_found(tmp_path: Path) -> None:
    """The broker plays it to every newcomer: the gateway that connects again does not obey."""

    async def scenario(school: School) -> None:
        token = signed(draft(school, "door.release", LOCK), school.keys["security"])
        slip(school, token, retain=True)
        await school.clock.sleep(1)
        await asked(school, "door.lock", LOCK)
        school.broker.cut(school.premises.gateway)
        await school.clock.sleep(5)
        assert not released(school, "main-door")

    school = obeying(tmp_path, scenario)
    assert answers(school)[-1][1]["why"] == "it was retained at the broker"


# --- the same one again ---


def test_command_that_comes_again_is_answered_again_and_not_done_again(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        ordered = await asked(school, "door.release", LOCK)
        await asked(school, "door.lock", LOCK)
        for _ in range(20):
            slip(school, ordered.token)
        await school.clock.sleep(2)
        assert not released(school, "main-door")

    school = obeying(tmp_path, scenario)
    again = [(phase, data["verb"]) for phase, data in answers(school) if data.get("again")]
    assert again == [("accepted", "door.release"), ("done", "door.release")]


def test_command_over_two_uplinks_is_obeyed_once(tmp_path: Path) -> None:
    """As every centre sends it: the second copy is answered, and opens nothing."""
    both = replace(
        DOORS,
        uplinks=(*DOORS.uplinks, LTE),
        routes=tuple(replace(route, via=("campus", "lte")) for route in DOORS.routes),
    )

    async def scenario(school: School) -> None:
        await asked(school, "door.unlock", UNLOCK)

    school = obeying(tmp_path, scenario, premises=both)
    assert len(school.lines("state.door.unlocked")) == 1
    assert len(school.lines("state.command.done", again=None)) == 1


def test_counter_is_used_once(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        first = draft(school, "door.release", LOCK, id="one")
        for command in (first, replace(first, id="two")):
            slip(school, signed(command, school.keys["security"]))
        await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["accepted", "done", "refused"]
    assert "used before" in answers(school)[-1][1]["why"]


def test_centre_goes_on_above_the_counter_it_was_told(tmp_path: Path) -> None:
    """A desk whose clock was ahead once is not shut out."""

    async def scenario(school: School) -> None:
        ahead = 4_000_000_000_000
        await asked(school, "door.lock", LOCK, counter=ahead)
        await asked(school, "door.lock", LOCK)
        await asked(school, "door.lock", LOCK)

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["accepted", "done", "refused", "accepted", "done"]


# --- recorded, and played back ---


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_recorded_command_played_back_after_a_restart_is_refused(tmp_path: Path, end: str) -> None:
    """Seconds later, on the same boot, well within its expiry."""

    async def scenario(school: School) -> None:
        ordered = await asked(school, "door.release", LOCK, then_s=0.5)
        await asked(school, "door.lock", LOCK, then_s=0.5)
        await (school.stop() if end == "stop" else school.kill())
        await school.start()
        await school.clock.sleep(2)
        slip(school, ordered.token)
        await school.clock.sleep(2)
        assert not released(school, "main-door")

    school = obeying(tmp_path, scenario)
    phase, refused = answers(school)[-1]
    assert (phase, refused["verb"]) == ("refused", "door.release")
    assert "before this start" in refused["why"]


def test_recorded_command_played_to_a_replaced_box_is_refused(tmp_path: Path) -> None:
    """The same key, name and boot; another disk."""

    async def scenario(school: School) -> None:
        ordered = await asked(school, "door.release", LOCK, then_s=0.5)
        await asked(school, "door.lock", LOCK, then_s=0.5)
        await school.stop()
        spec = replace(school.premises.ledger, path=str(tmp_path / "another.db"))
        school.premises = replace(school.premises, ledger=spec)
        await school.start()
        await school.clock.sleep(2)
        slip(school, ordered.token)
        await school.clock.sleep(2)
        assert not released(school, "main-door")

    school = obeying(tmp_path, scenario)
    assert "another ledger" in answers(school)[-1][1]["why"]


def test_command_under_way_when_the_gateway_died_is_concluded_by_the_next_start(
    tmp_path: Path,
) -> None:
    """Whoever waits for an answer gets one, once; the record says what was under way."""
    under_way = {
        "command": "c-1",
        "verb": "door.release",
        "by": "security",
        "route": "security",
        "target": ["main-door"],
    }

    async def scenario(school: School) -> None:
        await school.stop()
        ledger = Ledger.open(
            school.premises.ledger.path, start="f" * 8, fresh_id="f" * 8, boot="f" * 8, utc_ms=0
        )
        ledger.keep({KEPT: json.dumps([under_way])})
        ledger.close()
        for _ in range(2):
            await school.start()
            await school.clock.sleep(5)
            await school.stop()
        await school.start()

    school = obeying(tmp_path, scenario)
    ((phase, failed),) = answers(school)
    assert phase == "failed"
    assert under_way.items() <= failed.items()
    assert "stopped before" in failed["why"]


# --- floods ---


def flooded(school: School, route: str = "security") -> list[dict[str, Any]]:
    return [data for phase, data in answers(school, route) if phase == "refused"]


def test_flood_of_unbelieved_commands_is_counted_and_does_not_fill_the_record(
    tmp_path: Path,
) -> None:
    sent = 600

    async def scenario(school: School) -> None:
        for n in range(sent):
            slip(school, signed(draft(school, "door.unlock", UNLOCK, id=f"x-{n}"), STRANGER))
            await school.clock.sleep(0.1)
        await school.clock.sleep(100)

    school = obeying(tmp_path, scenario)
    told = flooded(school)
    assert len(told) <= 5
    assert len(told) + sum(data.get("more", 1) - 1 for data in told) == sent


def test_year_of_recorded_commands_played_back_does_not_fill_the_record(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        for n in range(600):
            old = draft(school, "door.unlock", UNLOCK, id=f"old-{n}", boot="00000000")
            slip(school, signed(old, school.keys["security"]))
            await school.clock.sleep(0.05)
        await school.clock.sleep(30)

    school = obeying(tmp_path, scenario)
    assert 10 <= len(flooded(school)) <= 45


def test_alarm_is_on_time_in_a_flood_of_commands(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        school.finger("reception", "clean", 300, at_us=school.clock.now_us() + 1_000_000)
        for n in range(400):
            slip(school, signed(draft(school, "door.unlock", UNLOCK, id=f"x-{n}"), STRANGER))
            await school.clock.sleep(0.005)
        await school.clock.sleep(2)

    school = obeying(tmp_path, scenario)
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= 50_000


def test_desk_is_answered_while_a_stranger_floods_its_topic(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        for n in range(50):
            slip(school, signed(draft(school, "door.unlock", UNLOCK, id=f"x-{n}"), STRANGER))
        await asked(school, "door.release", {"door": "back-door"})
        await asked(school, "door.lock", LOCK, verb="door.explode")

    school = obeying(tmp_path, scenario)
    mine = [(phase, data["verb"]) for phase, data in answers(school) if data.get("verb")]
    assert mine == [
        ("accepted", "door.release"),
        ("done", "door.release"),
        ("refused", "door.explode"),
    ]


def test_noise_on_the_commands_topic_stops_nothing(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        for noise in (b"", b"\x00" * 100, b"a.b.c", b"." * 200_000, "ғ".encode() * 50):
            slip(school, noise)
        await school.clock.sleep(1)
        await asked(school, "door.release", LOCK)

    school = obeying(tmp_path, scenario)
    assert phases(school)[-1] == "done"
