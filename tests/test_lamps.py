"""Lamps at buttons: what the person who pressed may know, and nothing that must not show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.core.model import AlarmState
from tests.school import SCHOOL, School, live

SAMPLE_MS = 10
DARK, STEADY = "dark", "steady"


async def rhythm(school: School, address: str, *, seconds: float = 2.0) -> list[tuple[bool, int]]:
    """What an eye sees at a lamp for a while: lit or dark, and for how many milliseconds each."""
    seen: list[tuple[bool, int]] = []
    for _ in range(round(seconds * 1_000 / SAMPLE_MS)):
        lit = school.bench.lamp(address)
        if seen and seen[-1][0] is lit:
            seen[-1] = (lit, seen[-1][1] + SAMPLE_MS)
        else:
            seen.append((lit, SAMPLE_MS))
        await school.clock.sleep(SAMPLE_MS / 1_000)
    return seen


def whole(seen: list[tuple[bool, int]]) -> set[tuple[bool, int]]:
    """The parts of a rhythm that were seen from beginning to end."""
    return set(seen[1:-1])


LAMP = "gpio:22"


def test_lamp_tells_the_life_of_an_alarm(tmp_path: Path) -> None:
    """Even blink while it is sent, double flash once received, steady once answered, then dark."""

    async def scenario(school: School) -> None:
        security = school.centres["security"]
        school.broker.down()
        await school.start()
        await school.clock.sleep(1)
        assert await rhythm(school, LAMP) == [(False, 2_000)]
        await school.bench.press("reception", "clean", 300)
        assert whole(await rhythm(school, LAMP)) == {(True, 200), (False, 200)}
        school.broker.up()
        await school.clock.sleep(2)
        assert whole(await rhythm(school, LAMP)) == {(True, 100), (False, 150), (False, 650)}
        security.say(school.alarm("reception"), AlarmState.ACKNOWLEDGED)
        await school.clock.sleep(1)
        assert await rhythm(school, LAMP) == [(True, 2_000)]
        security.say(school.alarm("reception"), AlarmState.CLOSED)
        await school.clock.sleep(1)
        assert await rhythm(school, LAMP) == [(False, 2_000)]

    live(tmp_path, scenario)


def test_lamp_answers_the_press_at_once(tmp_path: Path) -> None:
    """Whoever presses sees that it was felt, within a moment of its confirmation."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        pressed_us = school.clock.now_us()
        school.clock.call_at(
            pressed_us + 30_000, lambda: school.trace.add("seen", dict(school.bench.lamps()))
        )
        await school.bench.press("reception", "clean", 300)

    school = live(tmp_path, scenario)
    assert school.lines("seen")[0].fields == {"reception": True, "gym": False}


def test_lamp_shows_the_newest_alarm_again_after_a_restart(tmp_path: Path) -> None:
    """The alarm is still open and answered: the light is steady as before."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        school.centres["security"].say(school.alarm("reception"), AlarmState.ACKNOWLEDGED)
        await school.clock.sleep(1)
        await school.kill()
        await school.start()
        await school.clock.sleep(1)
        assert await rhythm(school, LAMP) == [(True, 2_000)]

    live(tmp_path, scenario)


def test_lamp_never_shows_a_fault(tmp_path: Path) -> None:
    """A cut wire, a stuck disk of news, a dead broker: who cut it learns nothing from the lamp."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("gym", "cut-no", 300)
        school.broker.down()
        faults_before = len(school.diary)
        seen = await rhythm(school, LAMP, seconds=30)
        seen += await rhythm(school, "gpio:13", seconds=5)
        assert {lit for lit, _ in seen} == {False}
        assert any("fault.path.raised" in line.what for line in school.diary[faults_before:])

    live(tmp_path, scenario)


def test_lamp_is_dark_after_the_stop(tmp_path: Path) -> None:
    """A lamp that nobody drives any more must not go on promising help."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        await school.stop()
        assert not any(school.bench.lamps().values())

    live(tmp_path, scenario)


# --- silence on the premises --------------------------------------------------------------------

SILENT_LAMP = replace(
    SCHOOL,
    points=tuple(
        replace(point, lamp="gpio:12") if point.id == "accounts" else point
        for point in SCHOOL.points
    ),
)
"""`check` refuses a lamp at a silent point; the daemon leaves it dark all the same."""

presses = st.lists(
    st.tuples(
        st.integers(0, 4_000),
        st.sampled_from(["clean", "bounce", "chatter", "cut-nc-press", "cut-common-press"]),
        st.integers(20, 1_500),
    ),
    min_size=1,
    max_size=3,
)


def _seen_on_the_premises(
    tmp_path: Path, silent: list[tuple[int, str, int]], *, loud_ms: int
) -> list[tuple[int, dict[str, bool]]]:
    """Every change of any output over six seconds, with a loud press among the silent ones."""
    seen: list[tuple[int, dict[str, bool]]] = []

    async def scenario(school: School) -> None:
        school.broker.latency_ms = (1.0, 1.0)  # else a silent press would move the others' dice
        await school.start()
        await school.clock.sleep(1)

        def look() -> None:
            lamps = {name: school.bench.lamp(name) for name in ("gpio:22", "gpio:13", "gpio:12")}
            if not seen or seen[-1][1] != lamps:
                seen.append((school.clock.now_us(), lamps))
            school.clock.call_at(school.clock.now_us() + 10_000, look)

        look()
        begun_us = school.clock.now_us()
        for after_ms, shape, held_ms in silent:
            school.finger("accounts", shape, held_ms, at_us=begun_us + after_ms * 1_000)
        school.finger("reception", "clean", 300, at_us=begun_us + loud_ms * 1_000)
        await school.clock.sleep(4)
        school.centres["security"].say(school.alarm("reception"), AlarmState.ACKNOWLEDGED)
        await school.clock.sleep(2)
        assert bool(school.lines("alarm.hold-up.raised")) is bool(silent)

    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    live(folder, scenario, premises=SILENT_LAMP)
    return seen


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(silent=presses, loud_ms=st.integers(0, 2_000))
def test_silent_press_shows_nothing_on_the_premises(
    tmp_path: Path, silent: list[tuple[int, str, int]], loud_ms: int
) -> None:
    """Every local output is the same, at the same moments, as if nobody had pressed."""
    with_it = _seen_on_the_premises(tmp_path, silent, loud_ms=loud_ms)
    without = _seen_on_the_premises(tmp_path, [], loud_ms=loud_ms)
    assert with_it == without
    assert len(without) > 5
