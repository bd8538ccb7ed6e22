"""The whole daemon on disks that are full, missing, swapped or back: no alarm waits, none is lost.

Under virtual time on real files; full disks are real file systems.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.model import AlarmState
from gateway.record.disk import InlineDisk
from simulators.disk.faulty import Fault, FaultyDisk
from tests.disk_cases import Filler, ledger_at, owed_messages, small_disk
from tests.school import School, live, owed_after

JOURNEY_US = 10_000
"""More than a packet of the simulated broker takes one way (3 ms), and a few of them in a row."""

POINTS = ("reception", "gym", "accounts")


def storage_faults(school: School, phase: str) -> int:
    """How often a centre was told of the disk."""
    return len(school.heard("security", f"fault.storage.{phase}"))


async def storm(school: School, rounds: int, *, apart_s: float = 31.0) -> None:
    """Every button, again and again, far enough apart that each press is an alarm of its own."""
    for _ in range(rounds):
        for point in POINTS:
            await school.bench.press(point, "clean", 300)
        await school.clock.sleep(apart_s)


def raised(school: School) -> list[str]:
    """The ids of all alarms raised, as the gateway logged them."""
    return [
        str(line.fields["id"])
        for line in school.diary
        if line.what.endswith(".raised") and line.what.startswith("alarm.")
    ]


def at_centre(school: School, route: str = "security") -> list[str]:
    """The ids of the alarms a centre took as new."""
    return [
        v.message.id
        for v in school.heard(route, "alarm.")
        if v.message is not None and v.message.type.endswith(".raised")
    ]


def latest_us(school: School) -> int:
    """How long the slowest alarm took from its confirmation to the centre."""
    took = []
    for verdict in school.heard("security", "alarm."):
        assert verdict.message is not None
        took.append(school.arrived_us(verdict) - verdict.message.clock.monotonic_ms * 1_000)
    return max(took)


# --- full ---------------------------------------------------------------------------------------


def test_disk_filled_to_the_last_byte_in_a_storm_costs_no_alarm(tmp_path: Path) -> None:
    """Every alarm at both centres in time, one fault, one end, and all of it on disk afterwards."""
    with small_disk(tmp_path / "disk", kib=8_192) as folder:
        filler, path = Filler(folder), folder / "ledger.db"

        async def scenario(school: School) -> None:
            await school.start()
            await school.clock.sleep(1)
            await storm(school, 3)
            filler.fill()
            await storm(school, 30)
            assert storage_faults(school, "raised") == 1
            assert storage_faults(school, "cleared") == 0
            assert school.running
            filler.go()
            await school.clock.sleep(5)
            assert storage_faults(school, "cleared") == 1
            await storm(school, 1)
            await school.stop()

        school = live(tmp_path, scenario, disk=lambda *_: InlineDisk(str(path)))
        told = raised(school)
        assert len(told) == 34 * 3
        for route in ("security", "case"):
            assert at_centre(school, route) == told
        assert latest_us(school) <= 50_000 + JOURNEY_US
        ledger = ledger_at(path, start="0000000f")
        assert ledger.durable
        assert [e.id for e in ledger.open_alarms() if e.type.endswith(".raised")] == told
        assert ledger.owed() == {}
        ledger.close()


def test_disk_full_at_the_start_is_taken_when_there_is_room(tmp_path: Path) -> None:
    """It begins in memory and says so; with the first free bytes all of it is on disk, once."""
    with small_disk(tmp_path / "disk", kib=1_024) as folder:
        filler, path = Filler(folder), folder / "ledger.db"
        filler.fill()

        async def scenario(school: School) -> None:
            await school.start()
            await school.clock.sleep(1)
            await storm(school, 2)
            assert len(school.heard("security", "fault.storage.raised", why="memory")) == 1
            filler.go()
            await school.clock.sleep(10)
            assert storage_faults(school, "cleared") == 1
            await storm(school, 1)
            await school.stop()
            await school.start()
            await school.clock.sleep(1)

        school = live(tmp_path, scenario, disk=lambda *_: InlineDisk(str(path)))
        told = raised(school)
        assert at_centre(school) == told
        assert school.lines("state.gateway.restarted")[-1].fields["open"] == told
        assert (storage_faults(school, "raised"), storage_faults(school, "cleared")) == (1, 1)


# --- missing, swapped, back ---------------------------------------------------------------------


def test_disk_that_comes_back_brings_what_it_was_owing(tmp_path: Path) -> None:
    """An alarm of yesterday nobody received, on a disk that was missing at the start: delivered."""
    folder = tmp_path / "disk"
    folder.mkdir()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.broker.down()
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        await school.stop()
        folder.rename(tmp_path / "unplugged")
        school.broker.up()
        await school.start()
        await school.clock.sleep(3)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(1)
        assert len(at_centre(school)) == 1
        (tmp_path / "unplugged").rename(folder)
        await school.clock.sleep(15)
        assert len(at_centre(school)) == 2
        assert len(school.last_beat().open) == 2
        assert storage_faults(school, "cleared") == 1
        await school.stop()
        await school.start()
        await school.clock.sleep(1)

    school = live(tmp_path, scenario, disk=lambda *_: InlineDisk(str(folder / "ledger.db")))
    assert sorted(at_centre(school)) == sorted(raised(school))
    assert sorted(at_centre(school, "case")) == sorted(raised(school))
    assert set(school.lines("state.gateway.restarted")[-1].fields["open"]) == set(raised(school))
    ledger = ledger_at(folder / "ledger.db", start="0000000f")
    assert ledger.owed() == {}
    ledger.close()


def test_disk_that_was_away_is_settled_after_the_next_start_too(tmp_path: Path) -> None:
    """Owed under the ledger that was in memory: its receipts are believed by the next start."""
    folder = tmp_path / "disk"

    async def scenario(school: School) -> None:
        for centre in school.centres.values():
            centre.deaf = True
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        folder.mkdir()
        await school.clock.sleep(15)
        await school.stop()
        ledger = ledger_at(folder / "ledger.db", start="0000000e")
        assert len(owed_messages(ledger)) > 2
        ledger.close()
        for centre in school.centres.values():
            centre.deaf = False
        await school.start()
        await school.clock.sleep(20)

    school = live(tmp_path, scenario, disk=lambda *_: InlineDisk(str(folder / "ledger.db")))
    ledger = ledger_at(folder / "ledger.db", start="0000000f")
    assert ledger.owed() == {}
    ledger.close()
    assert len(at_centre(school)) == 1


def test_disk_swapped_for_an_empty_one_while_running(tmp_path: Path) -> None:
    """One fault, one end; the next start is of a new ledger, and says so by its first message."""
    folder = tmp_path / "disk"
    folder.mkdir()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await storm(school, 1)
        folder.rename(tmp_path / "taken")
        folder.mkdir()
        await storm(school, 1)
        await school.clock.sleep(10)
        assert (storage_faults(school, "raised"), storage_faults(school, "cleared")) == (1, 1)
        await school.stop()
        await school.start()
        await school.clock.sleep(10)

    school = live(tmp_path, scenario, disk=lambda *_: InlineDisk(str(folder / "ledger.db")))
    told = raised(school)
    assert at_centre(school) == told
    assert len(told) == 6
    assert school.lines("state.gateway.restarted")[-1].fields["open"] == told
    ledgers = [sent.payload["ledger"] for sent in school.carried("log", route="case")]
    assert len(set(ledgers)) == 2
    last = school.carried("log", route="case")[-1].payload
    assert (last["epoch"], last["sequence"]) >= (1, 1)
    assert latest_us(school) <= 50_000 + JOURNEY_US


def test_disk_swapped_between_starts_is_a_new_ledger(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        await school.stop()
        (tmp_path / "ledger.db").unlink()
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    first, second = (v.message for v in school.heard("security", "alarm.panic.raised"))
    assert first is not None
    assert second is not None
    assert first.key.ledger != second.key.ledger
    assert (second.key.epoch, second.sequence) == (1, 1)
    assert not list(owed_after(school))


# --- faults through restarts --------------------------------------------------------------------


def test_fault_that_healed_while_the_gateway_was_off_is_cleared_once(tmp_path: Path) -> None:
    """A deaf centre is told of at the other; both are well at the next start."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.centres["case"].deaf = True
        await school.clock.sleep(15)
        assert len(school.heard("security", "fault.path.raised", route="case")) == 1
        await school.kill()
        school.centres["case"].deaf = False
        await school.start()
        await school.clock.sleep(300)

    school = live(tmp_path, scenario)
    assert len(school.heard("security", "fault.path.raised", route="case")) == 1
    (cleared,) = school.heard("security", "fault.path.cleared", route="case")
    assert cleared.message is not None
    assert cleared.message.data["unseen"] is True


def test_fault_that_still_stands_after_a_restart_is_no_news(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        school.centres["case"].deaf = True
        await school.clock.sleep(15)
        for _ in range(3):
            await school.kill()
            await school.start()
            await school.clock.sleep(200)
        assert not school.heard("security", "fault.path.cleared", route="case")
        school.centres["case"].deaf = False
        await school.clock.sleep(120)

    school = live(tmp_path, scenario)
    assert len(school.heard("security", "fault.path.raised", route="case")) == 1
    assert len(school.heard("security", "fault.path.cleared", route="case")) == 1


def test_storage_fault_that_died_with_its_process_is_cleared_by_a_start_on_a_good_disk(
    tmp_path: Path,
) -> None:
    """Raised as late, killed, and well again: the centre does not see it stand for ever."""
    faulty = FaultyDisk()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        faulty.fail(Fault.FULL, times=3, operations=frozenset({"write"}))
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(0.2)
        faulty.heal()
        await school.clock.sleep(0.7)
        await school.kill()
        await school.start()
        await school.clock.sleep(2)

    school = live(tmp_path, scenario, disk=lambda path, _: InlineDisk(path, vfs=faulty.name))
    faulty.close()
    assert storage_faults(school, "raised") == storage_faults(school, "cleared")


# --- the clock ----------------------------------------------------------------------------------


@pytest.mark.parametrize("utc_ms", [0, 4_080_000_000_000])
def test_clock_of_another_age_empties_no_ledger(tmp_path: Path, utc_ms: int) -> None:
    """A start in 1970 or 2099, hours long, and the alarm of before is still there to be asked."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await storm(school, 2)
        for alarm in raised(school):
            school.centres["security"].say(alarm, AlarmState.CLOSED)
        await school.clock.sleep(5)
        await school.stop()
        school.clock.utc_offset_ms += utc_ms - school.now_ms()
        await school.start()
        await school.clock.sleep(4 * 3_600)
        await school.stop()

    school = live(tmp_path, scenario)
    ledger = ledger_at(tmp_path / "ledger.db", start="0000000f")
    key = school.heard("security", "alarm.")[0].message
    assert key is not None
    assert ledger.read(key.key, 1, 1)
    ledger.close()
