"""The daemon while its UTC is set to anything: only what is written on an event may show it.

A life under virtual time is lived twice, once with a true clock and once with one that is set again
and again; the far ends keep true time. What the kernel vouches for is right, as it is in life.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.faults.account import TOGETHER_MS
from gateway.clock import UTC_MS_MAX
from gateway.core.hardware import Door
from gateway.core.model import US_PER_MS, AlarmState, Stamp
from gateway.core.premises import Input, Point, PointKind, Premises
from simulators.centre.core.reading import AgeBy
from simulators.centre.core.words import Verdict
from simulators.virtual.time import VirtualClock, run_virtual
from tests.obedience import asked, draft, entitled, phases, signed, slip
from tests.school import (
    CASE,
    FIRE,
    GATEWAY,
    GYM,
    RECEPTION,
    SCHOOL,
    SECURITY,
    US_PER_S,
    School,
    with_routes,
)

BEGIN_MS = 1_767_225_600_000
DAY_MS = 86_400_000
YEARS_MS = (0, 946_684_800_000, 2_147_483_648_000, 4_294_967_296_000, 9_214_646_400_000)
"""1970, 2000, 2038, 2106, 2262: where clocks without a battery begin, and where counters end."""
STEPS_MS = (-DAY_MS, -3_600_000, -1_000, -1, 1, 1_000, 61_000, 3_600_000, DAY_MS)
"""By a leap second, a time zone, a day: what people and bad servers set a clock by."""


class SetClock(VirtualClock):
    """The gateway's clock: its UTC can be set, and its machine can start anew."""

    booted_us = 0

    def true_ms(self) -> int:
        return BEGIN_MS + self.now_us() // US_PER_MS

    def set_to(self, utc_ms: int) -> None:
        """Somebody sets it; the kernel no longer vouches for it."""
        self.utc_offset_ms += utc_ms - self.utc_offset_ms - self.now_us() // US_PER_MS
        self.synchronised = False

    def set_right(self) -> None:
        """A time server does."""
        self.utc_offset_ms = BEGIN_MS
        self.synchronised = True

    def boot(self, boot: str) -> None:
        """The machine starts anew."""
        self._boot, self.booted_us = boot, self.now_us()

    def stamp(self, at_us: int) -> Stamp:
        stamp = super().stamp(at_us)
        monotonic_ms = max(0, at_us - self.booted_us) // US_PER_MS
        utc_ms = min(max(0, stamp.utc_ms), UTC_MS_MAX)
        return replace(stamp, utc_ms=utc_ms, monotonic_ms=monotonic_ms)


class TimeSchool(School):
    """A school whose far ends have true time, whatever the gateway believes."""

    clock: SetClock

    def now_ms(self) -> int:
        return self.clock.true_ms()

    def arrived_us(self, verdict: Verdict) -> int:
        return (verdict.at_ms - BEGIN_MS) * US_PER_MS

    async def reboot(self, boot: str, *, after_s: float = 5.0) -> None:
        """The machine loses power and starts again."""
        await self.kill()
        await self.clock.sleep(after_s)
        self.clock.boot(boot)


HELD = Point("side-door", PointKind.DOOR, Input(None, "gpio:16"), door=Door(held_after_ms=20_000))
DESK = replace(SECURITY, acknowledge_within_ms=15_000, then=("deputy",))
DEPUTY = replace(CASE, id="deputy", sends=())
PREMISES = replace(
    with_routes(DESK, CASE, DEPUTY), points=(RECEPTION, GYM, FIRE, HELD), reactions=()
)


def lived(
    folder: Path,
    scenario: Callable[[TimeSchool], Coroutine[Any, Any, None]],
    *,
    premises: Premises = PREMISES,
) -> TimeSchool:
    """A scenario in a fresh school, from which every desk may ask everything."""

    async def told(clock: SetClock, dice: random.Random) -> TimeSchool:
        ledger = str(folder / "ledger.db")
        school = TimeSchool(premises, clock=clock, dice=dice, ledger=ledger)
        school.premises = replace(
            school.premises, routes=tuple(map(entitled, school.premises.routes))
        )
        await scenario(school)
        if school.running:
            await school.stop()
        return school

    return run_virtual(told, seed=1, made=SetClock)


# --- any steps at all ---------------------------------------------------------------------------


async def eventful(school: TimeSchool) -> None:
    """Everything that has a deadline: receipts, people, doors, drills, paths; and a restart."""
    clock, desk = school.clock, school.centres["security"]
    await school.start()
    await clock.sleep(12)
    desk.command("drill.begin", {"kind": "fire", "for_ms": 60_000})
    await school.bench.door("side-door").hold()
    await clock.sleep(1)
    await school.bench.press("reception", "bounce", 300)  # received; nobody ever acknowledges
    desk.deaf = True
    await clock.sleep(1)
    await school.bench.press("gym", "clean", 300)  # overdue: fault.delivery
    await clock.sleep(9)
    desk.deaf = False
    await school.bench.press("fire-panel", "clean", 2_000)
    await school.stop()
    await clock.sleep(1)
    await school.start()
    await clock.sleep(3)
    school.broker.down()
    await school.bench.press("reception", "clean", 300)
    await clock.sleep(13)
    school.broker.up()  # the path was lost, and will be good in a minute
    await clock.sleep(5)
    for alarm in desk.core.alarms():
        desk.say(alarm.id, AlarmState.CLOSED)
    await clock.sleep(70)


LASTS_S = 118
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def told(school: TimeSchool) -> list[Any]:
    """Everything that happened and when, without dates: ids by their first appearance."""
    ids: dict[str, int] = {}

    def anonymous(value: Any) -> Any:
        return _UUID.sub(lambda found: f"#{ids.setdefault(found[0], len(ids))}", repr(value))

    story: list[Any] = [(line.at_us, line.what, anonymous(line.fields)) for line in school.diary]
    for route in school.centres:
        for verdict in school.heard(route):
            message = verdict.message
            assert message is not None
            data = {name: value for name, value in message.data.items() if name != "clock"}
            story.append(
                (
                    *(route, verdict.at_ms, message.key, message.sequence, message.type),
                    *(message.subject, message.clock.boot, message.clock.monotonic_ms),
                    *(verdict.age, verdict.late, verdict.marks, verdict.gap, anonymous(data)),
                )
            )
    for uplink in school.sent:
        if uplink.leaf == "heartbeat":
            beat = uplink.payload
            story.append((uplink.at_us, beat["number"], beat["monotonic_ms"], beat["heads"]))
    return story


settings_of_utc = st.one_of(
    st.just("right"),
    st.sampled_from(YEARS_MS),
    st.sampled_from(STEPS_MS).map(lambda step_ms: ("by", step_ms)),
    st.integers(0, UTC_MS_MAX - DAY_MS),
)


@pytest.fixture(scope="module")
def true_story(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return told(lived(tmp_path_factory.mktemp("true"), eventful))


def test_true_story_has_every_deadline_in_it(true_story: list[Any]) -> None:
    """Else the next test would compare less than it says."""
    happened = {line[1] for line in true_story}
    assert happened >= {
        *("alarm.panic.raised", "alarm.fire.raised", "alarm.door-held.raised", "state.mode.begun"),
        *("state.mode.ended", "fault.delivery.raised", "fault.delivery.cleared"),
        *("fault.path.raised", "fault.path.cleared", "state.alarm.closed", "alarm.panic.cleared"),
    }
    assert any(line[0] == "deputy" and line[4] == "alarm.panic.raised" for line in true_story)


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, LASTS_S * 1_000), settings_of_utc), max_size=6))
def test_no_steps_of_utc_change_what_happens_when(
    true_story: list[Any], steps: list[tuple[int, Any]]
) -> None:
    """Numbers, moments, deadlines, ages, faults: all as with a true clock; and none goes back."""

    async def stepped(school: TimeSchool) -> None:
        clock = school.clock

        def step(how: Any) -> None:
            if how == "right":
                clock.set_right()
            else:
                clock.set_to(clock.true_ms() + how[1] if isinstance(how, tuple) else how)

        for at_ms, how in steps:
            clock.call_at(at_ms * US_PER_MS, partial(step, how))
        await eventful(school)

    with tempfile.TemporaryDirectory() as folder:
        school = lived(Path(folder), stepped)
    assert told(school) == true_story
    for route in ("security", "case"):  # the deputy is told of old alarms late, as it should be
        for stream in ("alarm", "log"):
            moments = [
                (v.message.key.epoch, v.message.sequence, v.message.clock.monotonic_ms)
                for v in school.heard(route)
                if v.message is not None and v.message.key.stream == stream
            ]
            in_order = [monotonic_ms for _, _, monotonic_ms in sorted(moments)]
            assert all(later >= before - TOGETHER_MS for before, later in pairwise(in_order))


# --- a machine that starts anew, with its clock lost ----------------------------------------------


def ended(school: TimeSchool) -> list[tuple[int, str]]:
    """When which mode ended, in seconds of true time."""
    return [
        (line.at_us // US_PER_S, str(line.fields["mode"]))
        for line in school.lines("state.mode.ended")
    ]


MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "drill": ("drill.begin", {"kind": "fire", "for_ms": 600_000}),
    "isolation": ("isolate", {"point": "gym", "for_ms": 600_000}),
    "walk-test": ("walk-test", {"point": "gym", "for_ms": 120_000}),
}


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("lost", ["then", "now", "both"])
def test_mode_whose_time_left_nobody_can_tell_is_over(tmp_path: Path, mode: str, lost: str) -> None:
    """Reboot with a clock in 1970, before it or after it: rather too early than for ever."""

    async def scenario(school: TimeSchool) -> None:
        if lost in {"then", "both"}:
            school.clock.set_to(60_000)
        await school.start()
        await school.clock.sleep(12)
        await asked(school, *MODES[mode])
        await school.reboot("b0070001")
        if lost == "then":
            school.clock.set_right()
        else:
            school.clock.set_to(1_000)
        await school.start()
        await school.clock.sleep(2)
        assert school.gateway is not None
        assert school.gateway.modes() == school.gateway.isolated() == ()
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(2)

    school = lived(tmp_path, scenario)
    assert [name for _, name in ended(school)] == [mode]
    (press,) = school.heard("security", "alarm.panic.raised")
    assert press.message is not None
    assert press.message.data["status"] == "actual"


def test_drill_ends_at_its_own_time_over_a_reboot_with_a_true_clock(tmp_path: Path) -> None:
    async def scenario(school: TimeSchool) -> None:
        await school.start()
        await school.clock.sleep(12)
        await asked(school, *MODES["drill"])
        await school.reboot("b0070001", after_s=60)
        await school.start()
        await school.clock.sleep(600)

    ((at_s, name),) = ended(lived(tmp_path, scenario))
    assert (at_s, name) == (612, "drill")


def test_drill_is_never_longer_than_it_was_asked_for(tmp_path: Path) -> None:
    """UTC was a day ahead when it began, and vouched for; after a reboot it is right."""

    async def scenario(school: TimeSchool) -> None:
        school.clock.utc_offset_ms += DAY_MS
        await school.start()
        await school.clock.sleep(12)
        await asked(school, *MODES["drill"])
        await school.reboot("b0070001")
        school.clock.set_right()
        await school.start()
        await school.clock.sleep(700)

    ((at_s, _),) = ended(lived(tmp_path, scenario))
    assert at_s <= 13 + 5 + 600


@pytest.mark.parametrize(
    ("heard", "lost", "by", "late"),
    [
        pytest.param(True, True, AgeBy.MONOTONIC, False, id="the-boot-was-heard"),
        pytest.param(False, False, AgeBy.UTC, False, id="utc-was-right-throughout"),
        pytest.param(False, True, AgeBy.UNKNOWN, True, id="nothing-tells"),
    ],
)
def test_alarm_of_before_a_reboot_is_shown_with_the_age_that_can_be_known(
    tmp_path: Path, *, heard: bool, lost: bool, by: AgeBy, late: bool
) -> None:
    """Pressed with the broker away, power lost, back: never dropped, never younger than it is."""

    async def scenario(school: TimeSchool) -> None:
        if not heard:
            school.broker.down()
        await school.start()
        await school.clock.sleep(12)
        school.broker.down()
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        await school.reboot("b0070001")
        if lost:
            school.clock.set_to(1_000)
        school.broker.up()
        await school.start()
        await school.clock.sleep(5)

    (press,) = lived(tmp_path, scenario).heard("security", "alarm.panic.raised")
    assert press.age is not None
    assert (press.age.by, press.late) == (by, late)
    assert press.age.ms is None if by is AgeBy.UNKNOWN else 6_000 <= (press.age.ms or 0) <= 10_000


def test_command_from_before_a_reboot_is_refused_though_the_clock_began_anew(
    tmp_path: Path,
) -> None:
    """Its time is not yet over on the new boot's clock, which is lower."""

    async def scenario(school: TimeSchool) -> None:
        await school.start()
        await school.clock.sleep(60)
        token = signed(draft(school, *MODES["drill"]), school.keys["security"])
        await school.reboot("b0070001", after_s=1)
        school.clock.set_to(1_000)
        await school.start()
        await school.clock.sleep(12)
        slip(school, token)
        await school.clock.sleep(1)

    assert phases(lived(tmp_path, scenario)) == ["refused"]


# --- when points were proved --------------------------------------------------------------------


@pytest.mark.parametrize("first_ms", [60_000, 946_684_800_000])
def test_first_start_in_the_past_leaves_no_button_unproved_for_decades(
    tmp_path: Path, first_ms: int
) -> None:
    """Installed before the network was: the next start has true time, and thirty days to go."""

    async def scenario(school: TimeSchool) -> None:
        school.clock.set_to(first_ms)
        await school.start()
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(5)
        await school.reboot("b0070001")
        school.clock.set_right()
        await school.start()
        await school.clock.sleep(5)

    assert lived(tmp_path, scenario, premises=SCHOOL).lines("fault.wiring.raised") == []


@pytest.mark.parametrize("synchronised", [True, False])
def test_unproved_button_is_told_of_by_a_clock_that_can_be_believed(
    tmp_path: Path, *, synchronised: bool
) -> None:
    """Forty days switched off: known where UTC is vouched for, and nowhere else."""

    async def scenario(school: TimeSchool) -> None:
        await school.start()
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(5)
        await school.reboot("b0070001")
        school.clock.utc_offset_ms += 40 * DAY_MS
        school.clock.synchronised = synchronised
        await school.start()
        await school.clock.sleep(5)

    found = lived(tmp_path, scenario, premises=SCHOOL).lines("fault.wiring.raised", why="unproved")
    assert bool(found) is synchronised


# --- when UTC cannot be believed ------------------------------------------------------------------


def clock_faults(school: TimeSchool) -> list[tuple[str, Any, str]]:
    """Phase, reason and stream of every fault.clock the security centre heard."""
    return [
        (v.message.type.rpartition(".")[2], v.message.data.get("why"), v.message.key.stream.value)
        for v in school.heard("security", "fault.clock")
        if v.message is not None
    ]


def test_box_without_a_time_server_is_told_of_once_through_restarts(tmp_path: Path) -> None:
    """Half an hour in 1970, a kill, a reboot, hours more; then a time server is found."""

    async def scenario(school: TimeSchool) -> None:
        school.clock.set_to(1_000)
        await school.start()
        await school.clock.sleep(29 * 60)
        assert clock_faults(school) == []
        await school.clock.sleep(120)
        assert len(clock_faults(school)) == 1
        await school.kill()
        await school.start()
        await school.clock.sleep(40 * 60)
        await school.reboot("b0070001")
        school.clock.set_to(1_000)
        await school.start()
        await school.clock.sleep(40 * 60)
        assert len(clock_faults(school)) == 1
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(5)
        school.clock.set_right()
        await school.clock.sleep(15 * 60)

    school = lived(tmp_path, scenario)
    assert clock_faults(school) == [
        ("raised", "unsynchronised", "log"),
        ("cleared", "unsynchronised", "log"),
    ]
    assert len(school.heard("security", "alarm.panic.raised")) == 1


def test_jump_the_kernel_vouched_for_is_told_and_delays_nothing(tmp_path: Path) -> None:
    """By an hour, both times called right: within a minute it is known by how much."""

    async def scenario(school: TimeSchool) -> None:
        await school.start()
        await school.clock.sleep(90)
        school.clock.utc_offset_ms += 3_600_000
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(61)
        assert clock_faults(school) == [("raised", "stepped", "log")]
        await school.clock.sleep(11 * 60)

    school = lived(tmp_path, scenario)
    (raised, cleared) = school.lines("fault.clock.raised") + school.lines("fault.clock.cleared")
    assert raised.fields["by_ms"] == 3_600_000
    assert raised.fields["subject"] == GATEWAY
    assert cleared.at_us - raised.at_us >= 600 * US_PER_S
    (press,) = school.heard("security", "alarm.panic.raised")
    assert press.message is not None
    assert not press.late


def test_boot_whose_time_server_answers_late_raises_nothing(tmp_path: Path) -> None:
    async def scenario(school: TimeSchool) -> None:
        school.clock.set_to(1_000)
        await school.start()
        await school.clock.sleep(25 * 60)
        school.clock.set_right()
        await school.clock.sleep(15 * 60)
        await school.reboot("b0070001")
        school.clock.set_to(1_000)
        await school.start()
        await school.clock.sleep(25 * 60)

    assert clock_faults(lived(tmp_path, scenario)) == []
