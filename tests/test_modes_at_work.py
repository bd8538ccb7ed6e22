"""Drills, isolation and walk tests end to end: asked for, told, heard of, over by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Json
from tests.obedience import answers, asked, obeying, phases
from tests.school import School

MINUTE_MS = 60_000
FIRE_DRILL: dict[str, Json] = {"kind": "fire", "for_ms": MINUTE_MS}
LOCKDOWN_DRILL: dict[str, Json] = {"kind": "lockdown", "for_ms": MINUTE_MS}
GYM_OUT: dict[str, Json] = {"point": "gym", "for_ms": MINUTE_MS}
WALK: dict[str, Json] = {"point": "reception", "for_ms": MINUTE_MS}


def statuses(school: School, kind: str, route: str = "security") -> list[str]:
    """The status of every message of a type, in order."""
    return [
        str(verdict.message.data["status"])
        for verdict in school.heard(route, kind)
        if verdict.message is not None
    ]


def told(school: School, route: str = "security") -> list[dict[str, Any]]:
    """Every mode that began or ended, as a route was told."""
    return [
        {"phase": verdict.message.type.rpartition(".")[2], **verdict.message.data}
        for verdict in school.heard(route, "state.mode.")
        if verdict.message is not None
    ]


# --- drills ---


def test_fire_drill_makes_an_exercise_of_fire_and_leaves_panic_actual(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", FIRE_DRILL)
        await school.bench.press("fire-panel", "clean", 2_000)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    for route in ("security", "case"):
        assert statuses(school, "alarm.fire.", route) == ["exercise", "exercise"]
        assert set(statuses(school, "alarm.panic.", route)) == {"actual"}


def test_drill_is_told_to_every_route_with_who_asked_and_ends_by_itself(tmp_path: Path) -> None:
    beats: list[tuple[str, ...]] = []

    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", FIRE_DRILL, then_s=10)
        beats.append(school.last_beat().modes)
        await school.clock.sleep(60)
        beats.append(school.last_beat().modes)
        await school.bench.press("fire-panel", "clean", 2_000)
        await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    assert beats == [("drill:fire",), ()]
    assert statuses(school, "alarm.fire.") == ["actual", "actual"]
    for route in ("security", "case", "quiet"):
        begun, ended = told(school, route)
        assert (begun["phase"], begun["by"]) == ("begun", "security/security")
        assert (ended["phase"], ended["by"]) == ("ended", "time")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_drill_ends_at_its_time_through_restarts(tmp_path: Path, end: str) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", FIRE_DRILL)
        began_us = school.clock.now_us()
        for _ in range(3):
            await (school.stop() if end == "stop" else school.kill())
            await school.clock.sleep(4)
            await school.start()
            await school.clock.sleep(6)
            assert school.last_beat().modes == ("drill:fire",)
        await school.clock.sleep(60 - (school.clock.now_us() - began_us) / 1e6)
        await school.clock.sleep(6)
        assert school.last_beat().modes == ()
        await school.stop()
        await school.start()
        await school.clock.sleep(6)

    school = obeying(tmp_path, scenario)
    assert [mode["phase"] for mode in told(school)] == ["begun", "ended"]


def test_drill_whose_time_passed_while_the_gateway_was_off_is_told_as_ended_once(
    tmp_path: Path,
) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", FIRE_DRILL)
        await school.kill()
        await school.clock.sleep(90)
        for _ in range(2):
            await school.start()
            await school.clock.sleep(6)
            await school.stop()
        await school.start()

    school = obeying(tmp_path, scenario)
    assert [mode["phase"] for mode in told(school)] == ["begun", "ended"]


@pytest.mark.parametrize("end", ["command", "time", "restart"])
def test_real_fire_during_a_drill_is_raised_as_actual_when_the_drill_ends(
    tmp_path: Path, end: str
) -> None:
    """The contact still calls: an exercise would have been reset. Loud, and it names the first."""

    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", FIRE_DRILL)
        school.finger("fire-panel", "clean", 200_000, at_us=school.clock.now_us() + 1_000_000)
        await school.clock.sleep(20)
        assert statuses(school, "alarm.fire.raised") == ["exercise"]
        if end == "command":
            await asked(school, "drill.end", {"kind": "fire"}, then_s=6)
        elif end == "restart":
            await school.kill()
            await school.clock.sleep(60)
            await school.start()
            await school.clock.sleep(5)
        else:
            await school.clock.sleep(60)
        assert len(school.last_beat().open) == 2
        await school.clock.sleep(200)

    school = obeying(tmp_path, scenario)
    first, second = school.heard("security", "alarm.fire.raised")
    assert first.message is not None
    assert second.message is not None
    assert (first.message.data["status"], second.message.data["status"]) == ("exercise", "actual")
    assert second.message.data["again"] == first.message.id
    assert statuses(school, "alarm.fire.cleared") == ["exercise", "actual"]


def test_exercise_that_was_reset_in_time_is_not_raised_again(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", FIRE_DRILL)
        await school.bench.press("fire-panel", "clean", 2_000)
        await school.clock.sleep(1)
        await asked(school, "drill.end", {"kind": "fire"}, then_s=5)

    school = obeying(tmp_path, scenario)
    assert statuses(school, "alarm.fire.raised") == ["exercise"]


def test_press_after_a_lockdown_drill_is_no_repetition_of_the_exercise(tmp_path: Path) -> None:
    """Ten seconds after the last press: it would count as one press more of something unreal."""

    async def scenario(school: School) -> None:
        await asked(school, "drill.begin", LOCKDOWN_DRILL)
        await school.bench.press("office", "clean", 300)
        await school.clock.sleep(1)
        await asked(school, "drill.end", {"kind": "lockdown"}, then_s=5)
        await school.bench.press("office", "clean", 300)
        await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    assert statuses(school, "alarm.lockdown.raised") == ["exercise", "actual"]
    assert not statuses(school, "alarm.lockdown.repeated")


def test_drill_that_does_not_stand_cannot_be_ended(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "drill.end", {"kind": "fire"})
        await asked(school, "isolate", {"point": "gym", "for_ms": 0})
        await asked(school, "walk-test", {"point": "gym", "for_ms": 0})

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["refused"] * 3
    accepts = [data["accepts"] for _, data in answers(school)]
    assert accepts == ["drill.begin", "isolate", "walk-test"]


# --- isolation ---


def test_isolated_point_is_told_as_active_and_raises_nothing(tmp_path: Path) -> None:
    beats: list[tuple[str, ...]] = []

    async def scenario(school: School) -> None:
        await asked(school, "isolate", GYM_OUT, then_s=6)
        beats.append(school.last_beat().isolated)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(60)
        beats.append(school.last_beat().isolated)
        await school.bench.press("gym", "clean", 300)

    school = obeying(tmp_path, scenario)
    assert beats == [("gym",), ()]
    assert len(school.lines("state.isolated.active", subject="gym")) == 1
    assert len(school.heard("security", "alarm.panic.raised")) == 1
    assert phases(school) == ["accepted", "done"]


def test_isolated_button_still_held_when_its_time_is_over_alarms_then(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "isolate", GYM_OUT)
        school.finger("gym", "clean", 80_000, at_us=school.clock.now_us() + 1_000_000)
        await school.clock.sleep(70)

    school = obeying(tmp_path, scenario)
    assert statuses(school, "alarm.panic.raised") == ["actual"]


def test_isolation_lasts_its_time_through_a_restart(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "isolate", GYM_OUT)
        await school.kill()
        await school.start()
        await school.clock.sleep(10)
        assert school.last_beat().isolated == ("gym",)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(60)
        assert school.last_beat().isolated == ()

    school = obeying(tmp_path, scenario)
    assert not school.heard("security", "alarm.")
    assert [mode["phase"] for mode in told(school)] == ["begun", "ended"]


# --- walk test ---


def test_walk_test_takes_one_press_for_a_test_and_the_second_for_an_alarm(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "walk-test", WALK)
        for _ in range(2):
            await school.bench.press("reception", "clean", 300)
            await school.clock.sleep(2)

    school = obeying(tmp_path, scenario)
    assert statuses(school, "test.panic.pressed") == ["test"]
    assert statuses(school, "alarm.panic.raised") == ["actual"]


def test_walk_test_has_one_press_also_through_a_restart(tmp_path: Path) -> None:
    """Whoever presses after the restart is not taken for the tester."""

    async def scenario(school: School) -> None:
        await asked(school, "walk-test", WALK)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        await school.kill()
        await school.start()
        await school.clock.sleep(6)
        assert school.last_beat().modes == ("walk-test:reception",)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    assert statuses(school, "test.panic.pressed") == ["test"]
    assert statuses(school, "alarm.panic.raised") == ["actual"]


def test_walk_tested_button_held_over_three_seconds_is_meant(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "walk-test", WALK)
        await school.bench.press("reception", "clean", 5_000)
        await school.clock.sleep(1)

    school = obeying(tmp_path, scenario)
    assert statuses(school, "alarm.panic.raised") == ["actual"]


def test_walk_test_of_another_point_ends_the_first(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "walk-test", WALK)
        await asked(school, "walk-test", {"point": "gym", "for_ms": 5_000}, then_s=4)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(6)

    school = obeying(tmp_path, scenario)
    said = [(mode["phase"], mode["subject"]) for mode in told(school)]
    assert said == [
        ("begun", "reception"),
        ("ended", "reception"),
        ("begun", "gym"),
        ("ended", "gym"),
    ]
    assert statuses(school, "alarm.panic.raised") == ["actual"]
