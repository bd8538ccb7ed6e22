"""Doors on a bus, end to end under virtual time: the table, commands, timed openings, life safety.

What a lock did is read from the simulated relay, what was told from the centres.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.hardware import (
    Deed,
    Device,
    Door,
    DoorContact,
    Egress,
    FireOpens,
    OnSilence,
    ReactionRule,
)
from gateway.core.premises import Input, Point, PointKind
from gateway.core.profile import Table
from simulators.bus.registers import Cell
from simulators.bus.shipped import profile
from tests.bus_schools import (
    CASHIER,
    HUB,
    LIBRARY,
    MAIN,
    MAIN_DOOR,
    RESET_KEY,
    Campus,
    campus,
    live_on,
    with_door,
)
from tests.school import FIRE

LOCK, SOUNDER = "entrance/relay-1", "entrance/relay-2"
FORCED, HELD = "alarm.door-forced", "alarm.door-held"


def told(there: Campus, kind: str = "access.") -> list[tuple[str, Any]]:
    """What the desk heard of the main door: type, and by whom it was opened."""
    return [
        (verdict.message.type, verdict.message.data.get("by"))
        for verdict in there.heard("security", kind)
        if verdict.message is not None and verdict.message.subject == "main-door"
    ]


def alarms(there: Campus) -> list[str]:
    """The alarms of the main door, raised and cleared, in order."""
    return [what for what, _ in told(there, "alarm.")]


# --- the table, with a leaf that swings ---


def test_forced_door_is_an_alarm_that_ends_when_it_is_shut(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        await there.bench.door("main-door").force()
        await there.until("alarm", lambda: alarms(there), within_s=1)
        await there.wait(3)
        await there.bench.door("main-door").close()
        await there.wait(2)

    there = live_on(tmp_path, scenario)
    assert alarms(there) == [f"{FORCED}.raised", f"{FORCED}.cleared"]
    assert told(there, "access.opened") == [("access.opened", "nobody")]


def test_door_opened_by_command_is_no_alarm_and_says_who(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.command("door.unlock", door="main-door")
        await there.until("free lock", lambda: there.relay(LOCK), within_s=2)
        assert await there.bench.door("main-door").open(for_ms=2_000)
        await there.wait(10)
        assert not there.relay(LOCK)

    there = live_on(tmp_path, scenario)
    assert told(there) == [("access.opened", "security/security"), ("access.closed", None)]
    assert not alarms(there)
    assert [answer for answer, _ in there.answers()] == ["accepted", "done"]


def test_exit_is_one_opening_and_the_second_is_forced(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        door = there.bench.door("main-door")
        await there.start()
        await there.wait(5)
        assert await door.exit(for_ms=1_000)
        await there.wait(2.5)
        assert not alarms(there)
        await door.force()
        await there.wait(1)
        await door.close()
        await there.wait(2)

    there = live_on(tmp_path, scenario)
    assert [by for what, by in told(there, "access.opened")] == ["exit", "nobody"]
    assert alarms(there) == [f"{FORCED}.raised", f"{FORCED}.cleared"]


@pytest.mark.parametrize("shut_after_s", [8.0, 15.0])
def test_door_held_warns_by_its_sounder_and_alarms_only_when_nobody_heeds_it(
    tmp_path: Path, shut_after_s: float
) -> None:
    """Held after 10 s, the sounder 4 s before; shut in time there is no alarm, and silence."""

    async def scenario(there: Campus) -> None:
        door = there.bench.door("main-door")
        await there.start()
        await there.wait(5)
        await door.exit(for_ms=None)
        opened_us = there.clock.now_us()
        await there.until("sounder", lambda: there.relay(SOUNDER), within_s=8)
        assert 5.5 < (there.clock.now_us() - opened_us) / 1e6 < 7
        await there.wait(shut_after_s - (there.clock.now_us() - opened_us) / 1e6)
        await door.close()
        await there.wait(2)
        assert not there.relay(SOUNDER)

    there = live_on(tmp_path, scenario)
    held = [f"{HELD}.raised", f"{HELD}.cleared"]
    assert alarms(there) == (held if shut_after_s > 10 else [])
    assert len(there.heard("security", "access.held-warning")) == 1


def test_under_fire_release_forced_and_held_are_only_logged(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        door = there.bench.door("main-door")
        await there.start()
        await there.wait(5)
        there.finger("fire-panel", "clean", 60_000, at_us=there.clock.now_us())
        await there.until("free lock", lambda: there.relay(LOCK), within_s=2)
        await there.wait(1)
        await door.hold()
        await there.wait(30)
        await door.close()
        await there.wait(2)

    there = live_on(tmp_path, scenario)
    assert not alarms(there)
    assert ("access.held", None) in told(there)
    assert told(there, "access.opened") == [("access.opened", "free")]


@pytest.mark.parametrize(("open_meanwhile", "unseen"), [(False, 0), (True, 1)])
def test_door_of_a_unit_that_was_silent_is_not_forced_on_its_return(
    tmp_path: Path, *, open_meanwhile: bool, unseen: int
) -> None:
    """What nobody saw is never made up: an open door is told, marked unseen, and is no alarm."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.plant.afflict("entrance", "silent")
        await there.wait(15)
        if open_meanwhile:
            await there.bench.door("main-door").force()
        there.plant.afflict("entrance", "well")
        await there.wait(8)
        assert not there.lines("fault.stuck.raised")

    there = live_on(tmp_path, scenario)
    assert not alarms(there)
    assert len(there.heard("security", "access.opened", unseen=True)) == unseen
    assert there.types("security", "fault.") == [
        "fault.unit-silent.raised",
        "fault.unit-silent.cleared",
    ]


def test_lock_that_sticks_released_is_a_fault(tmp_path: Path) -> None:
    """The relay does not fall off at the end of a timed opening: lock and gateway disagree."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.command("door.unlock", door="main-door")
        await there.until("free lock", lambda: there.relay("box/relay-1"), within_s=2)
        there.plant.afflict("box", "stuck")
        await there.wait(30)

    there = live_on(tmp_path, scenario, premises=_timed(*SOFTWARE["an unknown unit"]))
    (fault,) = there.heard("security", "fault.stuck.raised")
    assert fault.message is not None
    assert (fault.message.data["part"], fault.message.data["why"]) == ("lock", "not-locked")


def test_lock_whose_relay_does_not_follow_is_told_as_failed(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.plant.afflict("entrance", "stuck")
        there.command("door.unlock", door="main-door")
        await there.wait(5)

    there = live_on(tmp_path, scenario)
    assert [answer for answer, _ in there.answers()] == ["accepted", "failed"]
    assert there.heard("security", "state.door.failed")


# --- commands and time ---


@pytest.mark.parametrize("known_silent", [True, False])
def test_opening_whose_unit_is_back_after_the_expiry_moves_nothing_and_is_told(
    tmp_path: Path, *, known_silent: bool
) -> None:
    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(10)
        there.plant.afflict("entrance", "silent")
        await there.wait(10 if known_silent else 0)
        there.command("door.unlock", door="main-door", within_ms=3_000)
        await there.wait(3.1)
        there.plant.afflict("entrance", "well")
        await there.wait(30)

    there = live_on(tmp_path, scenario)
    assert there.moves()[LOCK] == 0
    (_, _), (answer, data) = there.answers()
    assert answer == "failed"
    assert data["why"]
    assert there.heard("security", "state.door.failed", outcome="expired")
    assert not there.heard("security", "state.door.unlocked")


@pytest.mark.parametrize("silent_s", [0.0, 10.0, 120.0])
@pytest.mark.parametrize("back_after_s", [1.0, 5.0, 8.0])
def test_opening_whose_unit_is_back_before_the_expiry_opens_within_it(
    tmp_path: Path, silent_s: float, back_after_s: float
) -> None:
    """However long it was silent: whoever waits for a door makes its unit looked for."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.plant.afflict("entrance", "silent")
        await there.wait(silent_s)
        there.command("door.unlock", door="main-door", within_ms=10_000)
        await there.wait(back_after_s)
        there.plant.afflict("entrance", "well")
        await there.until("free lock", lambda: there.relay(LOCK), within_s=9.9 - back_after_s)
        await there.wait(15)
        assert not there.relay(LOCK)

    there = live_on(tmp_path, scenario)
    assert [answer for answer, _ in there.answers()] == ["accepted", "done"]


def test_no_output_moves_after_its_expiry_whatever_the_line_does(tmp_path: Path) -> None:
    """Many openings of one second on a line that drops half; the relay moves in time or never."""
    late: list[float] = []

    async def scenario(there: Campus) -> None:
        expiry_us = 0

        def moved() -> None:
            if there.relay(LOCK) and there.clock.now_us() > expiry_us:
                late.append((there.clock.now_us() - expiry_us) / 1e6)

        there.plant.output(LOCK).watch(moved)
        await there.start()
        await there.wait(10)
        for round_ in range(21):
            there.plant.afflict("entrance", ("forgetful", "late", "noise")[round_ % 3], ms=300)
            expiry_us = there.clock.now_us() + 1_000_000 + 1_000
            there.command("door.unlock", door="main-door", for_ms=1_000, within_ms=1_000)
            await there.wait(3)
            there.plant.afflict("entrance", "well")
            await there.wait(8)

    there = live_on(tmp_path, scenario)
    assert not late
    assert there.moves()[LOCK] >= 4
    endings = [answer for answer, _ in there.answers() if answer in {"done", "failed"}]
    assert len(endings) == 21


@pytest.mark.parametrize("how", ["kill", "stop", "replaced"])
def test_recorded_command_played_back_to_a_later_start_is_refused(tmp_path: Path, how: str) -> None:
    """The very bytes that opened a door, again, within their own time."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        recorded = there.token("door.unlock", {"door": "main-door", "for_ms": 1_000})
        there.send(recorded)
        await there.until("free lock", lambda: there.relay(LOCK), within_s=2)
        await there.wait(1.5)
        moves = there.moves()
        if how == "stop":
            await there.stop()
        else:
            await there.kill()
        if how == "replaced":
            spec = replace(there.premises.ledger, path=str(tmp_path / "new.db"))
            there.premises = replace(there.premises, ledger=spec)
        await there.start()
        await there.wait(2)
        there.send(recorded)
        await there.wait(5)
        assert there.moves() == moves

    there = live_on(tmp_path, scenario)
    answer, data = there.answers()[-1]
    assert answer == "refused"
    assert data["accepts"]
    assert [name for name, _ in there.answers()].count("done") == 1


def test_command_that_comes_twice_opens_once(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        recorded = there.token("door.unlock", {"door": "main-door", "for_ms": 1_000})
        for _ in range(3):
            there.send(recorded)
            await there.wait(3)

    there = live_on(tmp_path, scenario)
    assert there.moves()[LOCK] == 2


# --- timed openings and a gateway that dies ---

TIMED = {
    "timer in a Wiren Board": (profile("wb-mr6c"), "input-1", "relay-1"),
    "flash of a Waveshare": (profile("waveshare-relay-d"), "input-1", "relay-1"),
}
SOFTWARE = {
    "an Owen": (profile("owen-mu110-16r"), "relay-1"),
    "an unknown unit": (profile("generic"), "relay-1"),
    "an old Wiren Board": (profile("wb-mr6c-legacy"), "relay-1"),
}


def _timed(unit: Any, lock: str) -> Any:
    device = Device("box", "corridor", 20, unit)
    door = replace(MAIN_DOOR, lock=f"box/{lock}", sounder=None, request_to_exit=None)
    point = Point("main-door", PointKind.DOOR, Input(None, "hub/input-7"), door=door)
    return campus(point, FIRE, RESET_KEY, devices=(device, HUB))


@pytest.mark.parametrize("unit", sorted(TIMED))
def test_timed_opening_ends_in_the_unit_though_the_gateway_is_killed(
    tmp_path: Path, unit: str
) -> None:
    found, _, lock = TIMED[unit]

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.command("door.unlock", door="main-door", for_ms=5_000)
        await there.until("free lock", lambda: there.relay(f"box/{lock}"), within_s=2)
        await there.wait(1)
        await there.kill()
        took_s = 1 + await there.until(
            "locked lock", lambda: not there.relay(f"box/{lock}"), within_s=8
        )
        assert took_s == pytest.approx(5, abs=0.3)

    live_on(tmp_path, scenario, premises=_timed(found, lock))


@pytest.mark.parametrize("down_s", [0.0, 60.0])
@pytest.mark.parametrize("unit", sorted(SOFTWARE))
def test_software_pulse_cut_off_by_a_kill_is_ended_at_the_next_start(
    tmp_path: Path, unit: str, down_s: float
) -> None:
    """A unit that cannot time itself would stay released for ever."""
    found, lock = SOFTWARE[unit]

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.command("door.unlock", door="main-door", for_ms=5_000)
        await there.until("free lock", lambda: there.relay(f"box/{lock}"), within_s=2)
        await there.wait(1)
        await there.kill()
        await there.wait(down_s)
        await there.start()
        within_s = 5 if down_s == 0 else 2
        await there.until("locked lock", lambda: not there.relay(f"box/{lock}"), within_s=within_s)
        moves = there.moves()
        await there.wait(20)
        assert there.moves() == moves

    live_on(tmp_path, scenario, premises=_timed(found, lock))


@pytest.mark.parametrize("unit", sorted(SOFTWARE))
def test_software_pulse_ends_by_itself_and_at_a_clean_stop(tmp_path: Path, unit: str) -> None:
    found, lock = SOFTWARE[unit]

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.command("door.unlock", door="main-door", for_ms=3_000)
        await there.until("free lock", lambda: there.relay(f"box/{lock}"), within_s=2)
        took_s = await there.until(
            "locked lock", lambda: not there.relay(f"box/{lock}"), within_s=5
        )
        assert took_s == pytest.approx(3, abs=0.3)
        there.command("door.unlock", door="main-door", for_ms=30_000)
        await there.until("free lock", lambda: there.relay(f"box/{lock}"), within_s=2)
        await there.stop()
        assert not there.relay(f"box/{lock}")

    live_on(tmp_path, scenario, premises=_timed(found, lock))


# --- before an output moves ---

WATCHDOG, SAFE_VALUE, SAFE_BEHAVIOUR = (
    (Table.HOLDING, 8),
    (Table.HOLDING, 930),
    (Table.HOLDING, 938),
)
LOCKS_IN_SILENCE = campus(with_door(MAIN, on_silence=OnSilence.LOCK), LIBRARY, FIRE, RESET_KEY)


def test_safe_state_is_written_before_any_output_moves(tmp_path: Path) -> None:
    """Asked for at the first moment; what stood in the unit when its relay first moved."""
    stood: list[dict[tuple[Table, int], int]] = []

    async def scenario(there: Campus) -> None:
        unit = there.unit("entrance")
        unit.registers.kept |= {WATCHDOG: 60, SAFE_VALUE: 1, SAFE_BEHAVIOUR: 0}
        there.plant.output(LOCK).watch(lambda: stood.append(dict(unit.registers.kept)))
        there.finger("fire-panel", "clean", 30_000, at_us=1_000)
        await there.start()
        await there.until("free lock", lambda: there.relay(LOCK), within_s=5)

    live_on(tmp_path, scenario, premises=LOCKS_IN_SILENCE)
    assert [stood[0][register] for register in (WATCHDOG, SAFE_VALUE, SAFE_BEHAVIOUR)] == [10, 0, 1]
    inputs = range(9, 17)
    modes = {stood[0][Table.HOLDING, address] for address in inputs if address in (9, 10)}
    assert modes == {3}, "an input of the unit could still drive the relay by itself"


@pytest.mark.parametrize("how", ["refuses", "forgets"])
def test_unit_whose_safe_state_cannot_be_set_keeps_its_outputs_locked(
    tmp_path: Path, how: str
) -> None:
    async def scenario(there: Campus) -> None:
        registers = there.unit("entrance").registers
        if how == "refuses":
            registers.keep(*SAFE_BEHAVIOUR, 0, most=0)
        else:
            registers.put(*SAFE_BEHAVIOUR, Cell(lambda: 0, lambda _value: None))
        await there.start()
        await there.wait(5)
        there.command("door.unlock", door="main-door")
        await there.wait(3)
        await there.bench.door("main-door").force()
        await there.wait(3)

    there = live_on(tmp_path, scenario, premises=LOCKS_IN_SILENCE)
    assert there.moves()[LOCK] == 0
    (fault,) = there.heard("security", "fault.configuration.raised")
    assert fault.message is not None
    assert fault.message.data["outputs_locked"] is True
    answer, data = there.answers()[-1]
    assert answer == "failed"
    assert "safe_behaviour" in data["why"]
    assert alarms(there) == [f"{FORCED}.raised"], "inputs are read all the same"


def test_unit_locks_by_itself_when_the_gateway_is_gone(tmp_path: Path) -> None:
    """The promise behind `on_silence: lock`: a release ends in the unit 10 s after a kill."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.command("door.release", door="main-door")
        await there.until("free lock", lambda: there.relay(LOCK), within_s=2)
        await there.wait(20)
        assert there.relay(LOCK)
        await there.kill()
        await there.until("locked lock", lambda: not there.relay(LOCK), within_s=11)

    live_on(tmp_path, scenario, premises=LOCKS_IN_SILENCE)


@pytest.mark.parametrize("how", ["while the gateway was down", "while it ran"])
def test_other_model_on_the_address_locks_outputs_and_is_told(tmp_path: Path, how: str) -> None:
    """Its first identity is remembered; inputs are read, and the right unit makes all well."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(10)
        if how == "while it ran":
            there.plant.afflict("entrance", "silent")
            await there.wait(8)
            there.plant.afflict("entrance", "well")
            there.plant.afflict("entrance", "impostor")
        else:
            await there.kill()
            there.plant.afflict("entrance", "impostor")
            await there.start()
        await there.wait(11)
        there.command("door.unlock", door="main-door")
        await there.wait(3)
        assert there.moves()[LOCK] == 0
        assert there.answers()[-1][0] == "failed"
        (fault,) = there.heard("security", "fault.configuration.raised")
        assert fault.message is not None
        assert fault.message.data["found"] == "OTHER"
        await there.bench.door("main-door").force()
        await there.wait(2)
        assert alarms(there) == [f"{FORCED}.raised"]
        there.plant.afflict("entrance", "well")
        there.plant.afflict("entrance", "reboot")
        await there.until(
            "end of the fault",
            lambda: there.heard("security", "fault.configuration.cleared"),
            within_s=70,
        )
        there.command("door.unlock", door="main-door")
        await there.until("free lock", lambda: there.relay(LOCK), within_s=2)

    live_on(tmp_path, scenario)


# --- life safety and silence ---

LOCKDOWN_BUTTON = Point("lockdown", PointKind.LOCKDOWN, Input("hub/input-4"))
GYM = Point(
    "gym-door",
    PointKind.DOOR,
    Input(None, "entrance/input-3"),
    door=Door(lock="entrance/relay-3", egress=Egress.HANDLE, fire_opens=FireOpens.BOTH),
)
WHOLE = campus(
    MAIN,
    GYM,
    LIBRARY,
    CASHIER,
    FIRE,
    RESET_KEY,
    LOCKDOWN_BUTTON,
    reactions=(
        ReactionRule("alarm.fire.raised", Deed.RELEASE, doors=("main-door", "gym-door")),
        ReactionRule("alarm.lockdown.raised", Deed.LOCKDOWN),
        ReactionRule("alarm.panic.raised", Deed.SOUND, output="entrance/relay-5", for_ms=3_000),
        ReactionRule("alarm.panic.unanswered", Deed.SOUND, output="entrance/relay-6", for_ms=3_000),
        ReactionRule("fault.unit-silent.raised", Deed.LIGHT, output="gpio:22", for_ms=3_000),
    ),
)
BOTH_LOCKS = (LOCK, "entrance/relay-3")


def test_fire_in_a_lockdown_frees_and_nothing_relocks_but_the_key(tmp_path: Path) -> None:
    """Not the end of the fire, not a restart, not the unit's own restart, not a command."""

    async def scenario(there: Campus) -> None:
        def free() -> bool:
            return all(there.relay(lock) for lock in BOTH_LOCKS)

        await there.start()
        await there.wait(10)
        there.command("lockdown.begin")
        await there.wait(2)
        there.finger("fire-panel", "clean", 10_000, at_us=there.clock.now_us())
        await there.until("free locks", free, within_s=2)
        await there.wait(12)
        assert there.heard("security", "alarm.fire.cleared")
        assert free()
        there.command("door.lock", door="main-door")
        await there.wait(2)
        assert there.answers()[-1][0] == "refused"
        await there.kill()
        await there.wait(5)
        await there.start()
        await there.wait(12)
        assert free()
        there.plant.afflict("entrance", "reboot")
        await there.wait(10)
        assert free(), "a unit that restarted is told again what fire freed"
        there.command("lockdown.end")
        await there.wait(2)
        assert free()
        await there.bench.press("reset-key", "clean", 400)
        await there.until("locks", lambda: not any(map(there.relay, BOTH_LOCKS)), within_s=3)

    there = live_on(tmp_path, scenario, premises=WHOLE)
    (fire,) = there.heard("security", "alarm.fire.raised")
    assert fire.message is not None
    assert fire.message.data["during"] == ["lockdown"]


def test_fire_while_the_unit_is_silent_frees_as_soon_as_it_is_back(tmp_path: Path) -> None:
    """Whenever that is: what frees a door is asked for until it is so."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.plant.afflict("entrance", "silent")
        await there.wait(8)
        there.finger("fire-panel", "clean", 120_000, at_us=there.clock.now_us())
        await there.wait(60)
        there.plant.afflict("entrance", "well")
        free_s = await there.until("free lock", lambda: there.relay(LOCK), within_s=5)
        assert free_s < 3

    live_on(tmp_path, scenario, premises=WHOLE)


def test_lockdown_by_button_locks_with_every_path_dead_and_ends_at_the_key(tmp_path: Path) -> None:
    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(10)
        there.command("door.release", door="gym-door")
        await there.until("free lock", lambda: there.relay("entrance/relay-3"), within_s=2)
        there.broker.down()
        await there.bench.press("lockdown", "clean", 50)
        await there.until("lock", lambda: not there.relay("entrance/relay-3"), within_s=3)
        assert there.lines("state.mode.begun", subject="lockdown")
        await there.bench.press("reset-key", "clean", 400)
        await there.wait(2)
        assert there.lines("state.mode.ended", subject="lockdown", by="reset-key")
        assert not there.relay("entrance/relay-3")

    live_on(tmp_path, scenario, premises=WHOLE)


def test_panic_sounds_and_silent_hold_up_moves_no_output(tmp_path: Path) -> None:
    """Every relay of the plant and every lamp, with one silent press and with none."""

    async def scenario(there: Campus) -> None:
        await there.start()
        await there.wait(5)
        there.centres["security"].deaf = there.centres["case"].deaf = True
        before = there.moves()
        await there.bench.press("cashier", "clean", 3_000)
        await there.wait(120)
        assert there.heard("security", "alarm.hold-up.raised")
        assert there.moves() == before
        assert not there.relay(LOCK)
        await there.bench.press("library", "clean", 300)
        await there.wait(10)
        sirens = ("entrance/relay-5", "entrance/relay-6")
        assert [there.moves()[siren] - before[siren] for siren in sirens] == [2, 2]

    live_on(tmp_path, scenario, premises=WHOLE)


# --- a door whose own controller says whom it lets in ---

ORION = Device("orion", "corridor", 13, profile("bolid-s2000-pp"))
LAB = Point(
    "main-door",
    PointKind.DOOR,
    Input(None, "hub/input-8"),
    door=Door(
        granted=DoorContact("orion/granted-5"),
        denied=DoorContact("orion/denied-5"),
        forced=DoorContact("orion/forced-5"),
        egress=Egress.NONE,
        held_after_ms=None,
    ),
)


def test_controllers_own_word_grants_one_opening_and_tells_of_the_rest(tmp_path: Path) -> None:
    """A card is granted, the door opens; one is denied; then it is forced: one alarm, not two."""

    async def scenario(there: Campus) -> None:
        door = there.bench.door("main-door")
        await there.start()
        await there.wait(8)
        await door.badge()
        assert await door.open(for_ms=1_500)
        await there.wait(6)
        await door.badge(granted=False)
        await there.wait(3)
        assert not alarms(there)
        await door.force()
        await there.wait(5)
        await door.close()
        await there.wait(5)

    there = live_on(tmp_path, scenario, premises=campus(LAB, devices=(ORION, HUB)))
    assert [what for what, _ in told(there)] == [
        "access.granted",
        "access.opened",
        "access.closed",
        "access.denied",
        "access.opened",
        "access.closed",
    ]
    assert [by for what, by in told(there, "access.opened")] == ["grant", "nobody"]
    assert alarms(there) == [f"{FORCED}.raised", f"{FORCED}.cleared"]
