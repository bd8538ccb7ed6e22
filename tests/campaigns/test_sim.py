"""The told year: it replays, it tells what it found, and its auditor sees what is wrong."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from campaigns.sim.__main__ import main, read
from campaigns.sim.spans import GATEWAY, UNIT, centre, uplink
from campaigns.sim.story import answered, fire, press, pressed, silent, sleepy, tend
from campaigns.sim.told import NotAtRest, Told
from campaigns.sim.weather import lost_on_the_way, unplugged
from campaigns.sim.year import Outcome, Part, tell
from campaigns.words import BROKEN, HELD, USAGE, Wrong
from simulators.bus.doors import SimulatedDoor
from simulators.centre.core.reading import Age, AgeBy
from simulators.centre.core.words import Beat, Finding, FindingKind, Mark, Verdict
from simulators.centre.core.words import Outcome as CentreOutcome
from simulators.virtual.year_clock import BEGIN_UTC_MS, YearClock
from simulators.virtual.year_loop import YearLoop
from simulators.virtual.year_school import (
    CAMPUS,
    CORRIDOR,
    FIRE,
    LTE,
    MAIN_DOOR,
    RESET_KEY,
    SECURITY,
    YARD_DOOR,
)

HERE = Path(__file__).parents[2]
US_PER_S = 1_000_000


def run(
    tmp_path: Path, scenario: Callable[[Told], Coroutine[None, None, None]], *, seed: int = 1
) -> Told:
    """Tell one stretch by hand; the story as it ended, with what it found."""
    loop, dice = YearLoop(), random.Random(seed)
    clock = YearClock(loop, boot="00000001")

    async def live() -> Told:
        told = Told(clock, dice, tmp_path)
        told.tend = tend
        try:
            await told.start()
            await clock.sleep(45)
            await scenario(told)
            await told.world.stop()
        except asyncio.CancelledError:
            assert told.finding is not None
        finally:
            told.world.close()
        return told

    try:
        return loop.run_until_complete(live())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait_for(_gathered(left), None))
        loop.close()


async def _gathered(tasks: set[asyncio.Task[object]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def found(told: Told) -> str:
    """What it found; empty when nothing is broken."""
    return told.finding or ""


# --- it replays -----------------------------------------------------------------------------------


def campaign(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The campaign in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "campaigns.sim", *arguments],
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_campaign_tells_the_same_year_in_a_fresh_process() -> None:
    """Another hash seed, another number of processes, another folder: the same to the last byte."""
    whole = campaign("HOURS=1", "SEED=3", "JOBS=2", PYTHONHASHSEED="1")
    again = campaign("HOURS=1", "SEED=3", "PART=0", "JOBS=1", PYTHONHASHSEED="2")
    assert whole.returncode == again.returncode == HELD, whole.stdout + again.stdout
    digests = re.findall(r"sha256 ([0-9a-f]{64})", whole.stdout)
    assert len(digests) == 3
    assert digests[0] == re.findall(r"sha256 ([0-9a-f]{64})", again.stdout)[0]
    assert whole.stdout.endswith("held\n")


def test_another_seed_is_another_year() -> None:
    one, other = (tell(Part(seed, 0, 1, 0.05)) for seed in (1, 2))
    assert one.digest != other.digest


def test_year_is_crossed_whole_and_hours_are_counted_apart() -> None:
    """Jumps make the calendar; no simulated hour is jumped."""
    outcome = tell(Part(1, 0, 1, 0.3))
    assert not outcome.finding
    assert outcome.simulated_us >= 0.3 * 3_600 * US_PER_S
    days = (outcome.jumped_ms + outcome.simulated_us / 1_000) / 86_400_000
    assert 364.9 < days < 365.1


# --- its command line -----------------------------------------------------------------------------


def test_command_line_takes_both_forms() -> None:
    assert read(["--hours", "3", "--seed=7"]) == read(["HOURS=3", "SEED=7"])


@pytest.mark.parametrize(
    "arguments", [["HOURS=0"], ["HOURS=ten"], ["PART=2"], ["--hours"], ["--days", "3"], ["3"]]
)
def test_command_line_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(Wrong):
        read(arguments)


def test_wrong_command_line_ends_with_2_and_the_usage() -> None:
    ended = campaign("HOURS=many")
    assert ended.returncode == USAGE
    assert "python -m campaigns.sim" in ended.stderr


def test_ctrl_c_says_where_it_was() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "campaigns.sim", "HOURS=400", "JOBS=2"],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stderr is not None
        while "simulated hours" not in running.stderr.readline():
            pass
        os.killpg(running.pid, signal.SIGINT)
        said, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert re.search(r"stopped after \d+ s: part 0 at \d+\.\d h, part 1 at", said)


def test_broken_part_names_seed_moment_trace_and_replay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(part: Part, _progress: object) -> Outcome:
        return Outcome(part, digest="0" * 64, finding="P1: gone", at="noon", last=("line",))

    monkeypatch.setattr("campaigns.sim.__main__.tell", broken)
    assert main(["HOURS=4", "SEED=9", "PART=1", "JOBS=1"]) == BROKEN
    said = capsys.readouterr().out
    assert "broken: seed 9, part 1, noon\n  P1: gone" in said
    assert "python -m campaigns.sim HOURS=4 SEED=9 PART=1 JOBS=1" in said
    assert said.endswith("broken\n")


# --- the loop and the clock -----------------------------------------------------------------------


def test_loop_keeps_moments_and_the_order_of_asking() -> None:
    loop, seen = YearLoop(), list[tuple[int, str]]()
    clock = YearClock(loop, boot="1" * 8)

    def note(name: str) -> None:
        seen.append((clock.now_us(), name))

    async def live() -> None:
        for at_us, name in ((300, "c"), (200, "a"), (200, "b")):
            clock.call_at(at_us, partial(note, name))
        clock.call_at(250, partial(note, "never")).cancel()
        await clock.sleep(1)

    loop.run_until_complete(live())
    loop.close()
    assert seen == [(200, "a"), (200, "b"), (300, "c")]


def test_loop_that_waits_for_nothing_says_so() -> None:
    loop = YearLoop()
    with pytest.raises(RuntimeError, match="can never come"):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_jump_moves_calendars_and_no_timer() -> None:
    loop = YearLoop()
    clock = YearClock(loop, boot="1" * 8)
    before = clock.stamp(0)
    clock.jump(86_400_000)
    after = clock.stamp(0)
    assert clock.now_us() == 0
    assert after.utc_ms - before.utc_ms == after.monotonic_ms - before.monotonic_ms == 86_400_000
    assert clock.happened_ms(after.boot, after.monotonic_ms) == BEGIN_UTC_MS + 86_400_000
    loop.close()


# --- the auditor sees -----------------------------------------------------------------------------


def test_calm_press_breaks_nothing(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await press(told)
        await told.rest()

    told = run(tmp_path, story)
    assert found(told) == ""
    assert told.audit.counts.alarms == 1


def test_press_nobody_made_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await told.world.bench.press("gym", "clean", 300)
        await told.clock.sleep(5)

    assert found(run(tmp_path, story)).startswith("P2: alarm.panic.raised at gym")


def test_press_that_is_not_confirmed_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        told.audit.cause("gym", "panic", within_us=250_000)
        await told.clock.sleep(5)

    assert found(run(tmp_path, story)) == "P1: panic at gym was not confirmed in time"


def test_press_told_twice_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        cause = await pressed(told, "gym", ms=300)
        await told.clock.sleep(2)
        await told.world.bench.press("gym", "clean", 300)
        await answered(told, cause, after_s=1)

    assert found(run(tmp_path, story)) == "P2: gym was pressed 1 times and told 2"


def test_message_a_broker_swallows_is_found(tmp_path: Path) -> None:
    """The broker acknowledges and delivers nothing; nobody has said that it is in trouble."""

    async def story(told: Told) -> None:
        for broker in told.world.brokers.values():
            broker.accept_and_forget("qorgan/v1/+/+/alarm")
        await pressed(told, "gym", ms=300)
        await told.clock.sleep(5)

    assert found(run(tmp_path, story)).startswith("P3: alarm.panic.raised of gym")


def test_event_that_comes_under_two_numbers_is_found(tmp_path: Path) -> None:
    """A gateway that gave one event two numbers: told by the verdict on its second."""

    async def story(told: Told) -> None:
        verdicts: list[Verdict] = []
        told.on_verdict = verdicts.append
        await pressed(told, "gym", ms=300)
        await told.clock.sleep(2)
        told.audit.heard(SECURITY, replace(verdicts[-1], known_event=True))

    assert "came to security under two numbers" in found(run(tmp_path, story))


def test_clock_that_lies_is_found(tmp_path: Path) -> None:
    """It is a minute off and says that it is synchronised; the auditor knows of no such clock."""

    async def story(told: Told) -> None:
        told.clock.error_ms = 60_000
        await pressed(told, "gym", ms=300)
        await told.clock.sleep(2)

    assert found(run(tmp_path, story)).startswith("P8: alarm.panic.raised at ")


def test_clock_that_steps_in_the_millisecond_of_a_press_is_no_lie(tmp_path: Path) -> None:
    """A clean press of a pair is confirmed 11.976 ms after the finger; then the clock steps."""
    stepped_ms, said_ms = list[int](), list[int]()

    async def story(told: Told) -> None:
        def step() -> None:
            told.world.set_clock(65_000, synchronised=False)
            told.audit.clocks.clock_set()
            stepped_ms.append(told.clock.stamp(told.clock.now_us()).monotonic_ms)

        def heard(verdict: Verdict) -> None:
            if verdict.message is not None and verdict.message.type.endswith(".raised"):
                said_ms.append(verdict.message.clock.monotonic_ms)

        told.on_verdict = heard
        begins_us = told.clock.now_us() // 1_000 * 1_000 + 1_000
        told.clock.call_at(begins_us + 11_985, step)
        await told.clock.until(begins_us)
        cause = await pressed(told, "accounts", ms=300)
        await answered(told, cause, after_s=1)

    assert found(run(tmp_path, story)) == ""
    assert stepped_ms == said_ms[:1]


def test_alarm_of_an_outage_is_late_and_in_order(tmp_path: Path) -> None:
    """Both ways are gone for two minutes; what was pressed meanwhile is there soon after, LATE."""

    async def story(told: Told) -> None:
        async with told.trouble(uplink(CAMPUS), uplink(LTE)):
            for broker in told.world.brokers.values():
                broker.blackhole()
            cause = await pressed(told, "gym", ms=300)
            await told.clock.sleep(120)
            assert not cause.arrived_us
            for broker in told.world.brokers.values():
                broker.up()
        await answered(told, cause, after_s=1)
        await told.rest()

    told = run(tmp_path, story)
    assert found(told) == ""
    assert told.audit.clocks.late >= 2


def test_outage_nobody_was_told_of_is_found_as_a_fault_without_a_cause(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        told.world.brokers[CAMPUS].down()
        await told.clock.sleep(30)

    assert found(run(tmp_path, story)).startswith("P4: fault.path of campus")


def test_fault_that_is_not_raised_is_found(tmp_path: Path) -> None:
    """The story believes the unit to be dead, and it is not."""

    async def story(told: Told) -> None:
        async with told.trouble(UNIT):
            told.faults.demand(UNIT, (("unit-silent", "entrance", "", ""), 8 * US_PER_S))
            await told.clock.sleep(20)

    assert "fault.unit-silent of entrance" in found(run(tmp_path, story))


def test_gateway_that_ends_by_itself_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await told.world.stop()
        await told.clock.sleep(5)

    assert found(run(tmp_path, story)) == "P9: the gateway has ended by itself"


def test_lost_gateway_must_be_noticed(tmp_path: Path) -> None:
    """A centre that does not look is found; so every centre of the year has to look."""

    async def story(told: Told) -> None:
        told.world.centres[SECURITY].watching = False
        await told.gone(told.world.kill, for_s=40)

    assert "security has not noticed" in found(run(tmp_path, story))


def test_door_that_is_locked_in_a_fire_is_found(tmp_path: Path) -> None:
    """The relay sticks: the gateway asks in vain."""

    async def story(told: Told) -> None:
        told.world.plant.afflict("entrance", "stuck")
        await fire(told)

    assert found(run(tmp_path, story)).startswith(f"P7: {MAIN_DOOR} is locked")


def test_door_that_locks_again_by_itself_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        told.doors.fire()
        told.audit.cause(FIRE, "fire", within_us=250_000)
        burning = asyncio.get_running_loop().create_task(
            told.world.bench.press(FIRE, "clean", 60_000)
        )
        await told.clock.sleep(20)
        told.world.plant.output("entrance/relay-1").drive(on=False)
        await told.clock.sleep(1)
        await burning

    assert "locked again by itself" in found(run(tmp_path, story))


def test_fire_frees_both_doors_and_the_key_locks_them(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await fire(told)
        await told.rest()
        assert not told.world.bench.door(MAIN_DOOR).free
        assert not told.world.bench.door(YARD_DOOR).free

    assert found(run(tmp_path, story)) == ""


@pytest.mark.parametrize("seed", range(4))
def test_power_cut_on_a_late_disk_is_forgiven_and_nothing_else(tmp_path: Path, seed: int) -> None:
    async def story(told: Told) -> None:
        await lost_on_the_way(told)
        await told.rest()

    assert found(run(tmp_path, story, seed=seed)) == ""


# --- a jump, only from rest -----------------------------------------------------------------------


def test_rest_waits_for_what_stands_and_says_so(tmp_path: Path) -> None:
    """A point is out of service for hours: it never comes to rest, and nothing is jumped."""

    async def story(told: Told) -> None:
        assert await told.ordered("isolate", "isolation:gym", point="gym", for_ms=36_000_000)
        await told.rest()

    said = found(run(tmp_path, story))
    assert said == "P1: it never came to rest: isolation:gym"


async def _alarm_open(told: Told) -> None:
    await pressed(told, "gym", ms=300)
    await told.clock.sleep(3)


async def _press_not_confirmed(told: Told) -> None:
    told.audit.cause("gym", "panic", within_us=US_PER_S)


async def _message_owed(told: Told) -> None:
    """The log is on its way: no broker has delivered it yet."""
    told.world.brokers[CAMPUS].latency_ms = (400.0, 400.0)
    await told.world.bench.door(YARD_DOOR).exit(for_ms=500)


async def _mode_stands(told: Told) -> None:
    assert await told.ordered("isolate", "isolation:gym", point="gym", for_ms=60_000)


async def _fault_stands(told: Told) -> None:
    told.spans.begin(UNIT)
    told.world.plant.afflict("entrance", "silent")
    await told.clock.sleep(12)
    told.world.plant.afflict("entrance", "well")
    told.spans.end(UNIT)


async def _input_active(told: Told) -> None:
    """The key is still turned: it makes no alarm, and it is not at rest."""
    asyncio.get_running_loop().create_task(told.world.bench.press(RESET_KEY, "clean", 5_000))
    await told.clock.sleep(1)


async def _output_on(told: Told) -> None:
    told.world.plant.output("entrance/relay-4").drive(on=True)


async def _trouble_lasts(told: Told) -> None:
    told.spans.begin(uplink(LTE))


async def _gateway_away(told: Told) -> None:
    told.spans.begin(GATEWAY)
    await told.world.stop()


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (_alarm_open, "the end of panic at gym"),
        (_press_not_confirmed, "panic at gym"),
        (_message_owed, "access.exit to security"),
        (_mode_stands, "isolation:gym"),
        (_fault_stands, "unit-silent entrance"),
        (_input_active, "reset-key is active"),
        (_output_on, "entrance/relay-4 is not at rest"),
        (_trouble_lasts, "uplink/lte"),
        (_gateway_away, "gateway"),
    ],
)
def test_jump_is_refused_while_anything_is_owed_open_or_pending(
    tmp_path: Path, before: Callable[[Told], Coroutine[None, None, None]], why: str
) -> None:
    refused: list[str] = []

    async def story(told: Told) -> None:
        await told.rest()
        jumped_ms = told.clock.jumped_ms
        await before(told)
        try:
            await told.jump(3_600_000)
        except NotAtRest as exc:
            refused.append(str(exc))
        assert told.clock.jumped_ms == jumped_ms
        told.broken("the end")
        await told.clock.sleep(1)

    run(tmp_path, story)
    assert len(refused) == 1
    assert why in refused[0]


def test_jump_from_rest_is_taken(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await press(told)
        await told.rest()
        await told.jump(86_400_000)
        await told.clock.sleep(30)
        await press(told)
        await told.rest()

    told = run(tmp_path, story)
    assert found(told) == ""
    assert told.clock.jumped_ms == 86_400_000
    assert told.audit.counts.alarms == 2


# --- what no gateway has ever told, doctored to see that it would be found ------------------------


def doctored(tmp_path: Path, change: Callable[[Verdict], Verdict], *, late: bool = False) -> str:
    """What is found when a centre hears the last message of a press once more, changed."""

    async def story(told: Told) -> None:
        verdicts: list[Verdict] = []
        told.on_verdict = verdicts.append
        brokers = told.world.brokers.values()
        async with told.trouble(uplink(CAMPUS), uplink(LTE)):
            for broker in brokers:
                broker.blackhole()
            await pressed(told, "gym", ms=300)
            await told.clock.sleep(120 if late else 1)
            for broker in brokers:
                broker.up()
        await told.clock.sleep(15)
        raised = [v for v in verdicts if v.message and v.message.type == "alarm.panic.raised"]
        told.audit.heard(SECURITY, change(raised[0]))

    return found(run(tmp_path, story))


def message_with(verdict: Verdict, **changes: Any) -> Verdict:
    assert verdict.message is not None
    return replace(verdict, message=replace(verdict.message, **changes))


def clock_with(verdict: Verdict, **changes: Any) -> Verdict:
    assert verdict.message is not None
    return message_with(verdict, clock=replace(verdict.message.clock, **changes))


def data_with(verdict: Verdict, **changes: Any) -> Verdict:
    assert verdict.message is not None
    return message_with(verdict, data={**verdict.message.data, **changes})


def _earlier(verdict: Verdict) -> Verdict:
    """The same moment, under a number that came half a minute before it."""
    assert verdict.message is not None
    moved = message_with(verdict, sequence=verdict.message.sequence + 1)
    assert moved.message is not None
    clock, ms = moved.message.clock, 30_000
    return clock_with(moved, monotonic_ms=clock.monotonic_ms - ms, utc_ms=clock.utc_ms - ms)


DOCTORED: dict[str, tuple[Callable[[Verdict], Verdict], str]] = {
    "a conflict": (
        lambda v: replace(v, outcome=CentreOutcome.CONFLICT),
        "P5: security got a message",
    ),
    "a broken chain": (lambda v: replace(v, marks=(Mark.BROKEN_CHAIN,)), "P5: alarm.panic.raised"),
    "another boot": (lambda v: clock_with(v, boot="ffffffff"), "is of a boot that never was"),
    "a clock that lies": (lambda v: clock_with(v, synchronised=False), "P8: alarm.panic.raised"),
    "another order": (_earlier, "P8: alarm.panic.raised has number"),
    "an age that is wrong": (lambda v: replace(v, age=Age(50_000, AgeBy.UTC)), " ms old, not 50"),
    "an exercise": (lambda v: data_with(v, status="exercise"), "is exercise, not actual"),
    "an alarm nobody raised": (
        lambda v: data_with(message_with(v, type="alarm.panic.cleared"), alarm="0" * 32),
        "P1: alarm.panic.cleared at gym of an alarm nobody raised",
    ),
    "a count too high": (
        lambda v: data_with(message_with(v, type="alarm.panic.repeated"), count=7),
        "P2: gym was pressed 1 times and told 7",
    ),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_doctored_message_is_found(tmp_path: Path, name: str) -> None:
    change, why = DOCTORED[name]
    assert why in doctored(tmp_path, change)


def test_old_alarm_that_is_not_called_late_is_found(tmp_path: Path) -> None:
    """Of unknown age it would be LATE; of a known one that is too low by seconds it is a lie."""
    said = doctored(tmp_path, lambda v: replace(v, age=Age(59_000, AgeBy.MONOTONIC)), late=True)
    assert said.startswith("P8: alarm.panic.raised at security is 13")


def test_press_that_is_not_counted_is_found(tmp_path: Path) -> None:
    """Two presses, and the gateway tells of one."""

    async def story(told: Told) -> None:
        cause = await pressed(told, "gym", ms=300)
        cause.tellings = 2
        await answered(told, cause, after_s=1)
        await told.rest()

    assert found(run(tmp_path, story)) == "P1: gym was pressed 2 times, 1 are told"


@pytest.mark.parametrize("seed", range(6))
def test_press_before_the_bus_is_open_again_need_not_be_counted(tmp_path: Path, seed: int) -> None:
    """Of three, the first may be seen by nobody: the adapter is there, and not looked for yet."""

    async def story(told: Told) -> None:
        weather = asyncio.get_running_loop().create_task(unplugged(told))
        corridor = told.world.plant.buses[CORRIDOR]
        assert await told.until(lambda: not corridor.plugged, within_s=2)
        assert await told.until(lambda: corridor.plugged, within_s=60)
        await told.clock.sleep(0.5)
        cause = await pressed(told, "nurse", ms=710)
        for _ in range(2):
            await told.clock.sleep(2.2)
            cause.tellings += 1
            told.audit.pressed_again["nurse"] = told.clock.now_us()
            await told.world.bench.press("nurse", "clean", 800)
        await answered(told, cause, after_s=1)
        await weather
        await told.rest()

    assert found(run(tmp_path, story, seed=seed)) == ""


def test_message_that_never_comes_after_an_outage_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        brokers = told.world.brokers.values()
        async with told.trouble(uplink(CAMPUS), uplink(LTE)):
            for broker in brokers:
                broker.blackhole()
            await pressed(told, "gym", ms=300)
            await told.clock.sleep(20)
            for broker in brokers:
                broker.up()
                broker.accept_and_forget("qorgan/v1/+/+/alarm")
        await told.clock.sleep(30)

    said = found(run(tmp_path, story))
    assert said.startswith("P1: alarm.panic.raised of gym")
    assert said.endswith("(since the path is back)")


def test_stream_that_is_not_whole_at_rest_is_found(tmp_path: Path) -> None:
    """One message was seen, and the centre's own receipt does not cover it."""

    async def story(told: Told) -> None:
        verdicts: list[Verdict] = []
        told.on_verdict = verdicts.append
        await told.world.bench.door(YARD_DOOR).exit(for_ms=500)
        await told.rest()
        last = verdicts[-1]
        assert last.message is not None
        number = last.message.sequence + 2
        told.audit.heard(SECURITY, message_with(last, sequence=number, id="0" * 32))
        await told.rest()

    assert "stream of epoch 1 has gaps" in found(run(tmp_path, story))


@pytest.mark.parametrize(
    ("phases", "why"),
    [
        (["cleared"], "was cleared and had not been raised"),
        (["raised", "raised"], "was raised while it stood"),
    ],
)
def test_fault_told_out_of_turn_is_found(tmp_path: Path, phases: list[str], why: str) -> None:
    async def story(told: Told) -> None:
        await told.clock.sleep(400)
        told.spans.begin(uplink(CAMPUS))
        data = {"subject": "campus", "route": SECURITY, "uplink": "campus"}
        for phase in phases:
            told.faults.told("path", phase, data, at_us=told.clock.now_us())
        await told.clock.sleep(1)

    assert found(run(tmp_path, story)).endswith(why)


def test_fault_whose_end_was_lost_with_the_disk_stands_again_and_is_proved_once_more(
    tmp_path: Path,
) -> None:
    seen: list[object] = []

    async def story(told: Told) -> None:
        faults, data = told.faults, {"subject": "accounts", "why": "unproved"}
        told.faults.unproved = lambda _point: True
        for phase, event in (("raised", "1"), ("cleared", "2")):
            faults.told("wiring", phase, data, at_us=told.clock.now_us(), event=event)
        seen.append(faults.to_prove())
        faults.restarted(["1"])
        seen.append(faults.to_prove())
        seen.append(faults.all_clear())

    run(tmp_path, story)
    assert seen == [[], ["accounts"], "wiring accounts"]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (FindingKind.LOST, "P4: security lost a gateway that was there: by hand"),
        (FindingKind.FORK, "P5: security sees a fork: by hand"),
    ],
)
def test_what_a_centre_finds_without_a_cause_is_found(
    tmp_path: Path, kind: FindingKind, why: str
) -> None:
    async def story(told: Told) -> None:
        await told.clock.sleep(400)
        told.found(SECURITY, Finding(kind, "school-12-main", "by hand"))
        await told.clock.sleep(1)

    assert found(run(tmp_path, story)) == why


def test_heartbeat_that_is_refused_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        told.beaten(SECURITY, Beat("school-12-main", CAMPUS, why="its signature is not that key's"))
        await told.clock.sleep(1)

    assert found(run(tmp_path, story)).startswith("P5: security refused a heartbeat")


def test_deaf_centre_that_is_not_told_is_found(tmp_path: Path) -> None:
    """The story believes the security service to be deaf, and it is not: no fault comes in 10 s."""

    async def story(told: Told) -> None:
        async with told.trouble(centre(SECURITY)):
            told.faults.demand_paths(CAMPUS, centre(SECURITY), (SECURITY,))
            await told.clock.sleep(20)

    said = found(run(tmp_path, story))
    assert said.startswith("P4: fault.path of campus security campus was not raised within 10 s")


def test_alarm_nobody_answers_and_the_deputy_does_not_get_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        told.world.brokers[LTE].accept_and_forget("qorgan/v1/+/deputy/alarm")
        await sleepy(told)

    assert "and deputy does not have it" in found(run(tmp_path, story))


def test_mode_that_does_not_end_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        assert await told.ordered("lockdown.begin", "lockdown", for_ms=60_000)
        await told.over("lockdown", within_s=5)

    assert found(run(tmp_path, story)) == "P10: lockdown did not end by itself"


def test_silent_alarm_that_moves_an_output_is_found(tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        siren = told.world.plant.output("entrance/relay-4")
        at_us = told.clock.now_us() + 35 * US_PER_S
        told.clock.call_at(at_us, partial(siren.drive, on=True))
        await silent(told)

    assert found(run(tmp_path, story)) == "P11: a silent alarm moved entrance/relay-4"


def test_door_nobody_can_leave_by_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit button's wire is cut: only what a locked door says to a person inside is changed."""

    async def story(told: Told) -> None:
        monkeypatch.setattr(SimulatedDoor, "can_leave", property(lambda door: door.free))
        await told.clock.sleep(10)

    assert found(run(tmp_path, story)).startswith(f"P7: nobody can leave by {MAIN_DOOR}")


# --- what it has found ----------------------------------------------------------------------------


def test_repetition_is_told_in_its_second(tmp_path: Path) -> None:
    """A press that is held back waits for its pace, not for whatever else wakes the daemon."""

    async def story(told: Told) -> None:
        await told.clock.sleep(0.1)
        at_s: list[float] = []

        def repeated(verdict: Verdict) -> None:
            if verdict.message is not None and verdict.message.type.endswith("repeated"):
                at_s.append(told.clock.now_us() / 1e6)

        told.on_verdict = repeated
        began_s = told.clock.now_us() / 1e6
        cause = await pressed(told, "gym", ms=100)
        cause.tellings += 1
        await told.clock.sleep(0.3)
        await told.world.bench.press("gym", "clean", 100)
        await answered(told, cause, after_s=5)
        assert len(at_s) == 2
        assert at_s[0] - began_s < 1.2

    assert found(run(tmp_path, story)) == ""
