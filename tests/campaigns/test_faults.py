"""Every single call to disk, broker and bus may go wrong once: a drawn sample of the campaign."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from campaigns.faults import account, broker, bus, disk
from campaigns.faults.__main__ import SWEEPS, Case, drawn, live, main
from campaigns.faults.broker import BrokerMisfortune
from campaigns.faults.bus import BusMisfortune
from campaigns.faults.disk import DiskMisfortune
from campaigns.faults.school import HUB, FaultSchool, bus_school
from gateway.core.jws import SigningKey, TokenType, seal
from simulators.centre.core.words import unsealed
from simulators.disk.faulty import FaultyDisk, Lie
from simulators.virtual.time import VirtualClock, run_virtual

SAMPLE = {"disk": 24, "broker": 18, "bus": 12}
"""Cases of each, some twenty seconds together."""


# --- the campaign -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sweep", list(SWEEPS))
def test_any_call_may_go_wrong_and_no_alarm_is_lost_or_doubled(sweep: str, seed: int) -> None:
    cases, well = drawn(sweep, SAMPLE[sweep] // 2, seed)
    assert well == []
    assert len(cases) == SAMPLE[sweep] // 2
    assert {str(case): findings for case in cases if (findings := live(case).findings)} == {}


@pytest.mark.parametrize(
    ("sweep", "kinds"),
    [("disk", DiskMisfortune), ("broker", BrokerMisfortune), ("bus", BusMisfortune)],
)
def test_every_call_of_the_day_is_in_the_sweep(sweep: str, kinds: type[DiskMisfortune]) -> None:
    """From the first to the last, and every way it can go wrong."""
    calls = live(Case(sweep, None)).calls
    cases = SWEEPS[sweep].cases(calls)
    assert len(calls) > 100
    assert {number for _, number in cases} == set(range(1, len(calls) + 1))
    assert {what for what, _ in cases} == {str(kind) for kind in kinds}


def test_day_is_the_same_every_time(tmp_path: Path) -> None:
    """Else the n-th call of one run would not be the n-th of the next."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (disk.day("io-error", 150, tmp_path / name) for name in "ab")
    assert first == second
    assert first.raised["storage"] == 1


def test_refused_message_is_seen_and_made_good(tmp_path: Path) -> None:
    """The sweep is no idle round: a case leaves its mark in what the desk is told."""
    calls = live(Case("broker", None)).calls
    alarm = calls.index("alarm") + 1
    told = broker.day("silence", alarm, tmp_path)
    assert told.findings == []
    assert told.raised["delivery"] + told.raised["path"] >= 1


def test_unit_too_busy_for_any_of_its_first_questions_loses_no_press(tmp_path: Path) -> None:
    """One of them asks how long it runs, which its first Readings wait for."""
    for number in range(1, 31):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert (number, bus.day("busy", number, folder).findings) == (number, [])


def test_unit_that_never_tells_how_long_it_runs_loses_no_press(tmp_path: Path) -> None:
    hub = next(device for device in bus_school().devices if device.id == HUB)
    assert hub.profile.uptime is not None
    lived = bus.stubborn_day(hub.unit, hub.profile.uptime.address, tmp_path)
    assert lived.findings == []
    assert len(lived.calls) > 100


def test_misfortune_in_the_last_moment_is_told_by_the_next_start(tmp_path: Path) -> None:
    """Else its fault is raised and never cleared: nobody lived to see the port again."""
    last = len(live(Case("bus", None)).calls)
    lived = bus.day("gone-at-write", last, tmp_path)
    assert (lived.findings, lived.raised["bus"]) == ([], 1)


def test_pulled_adapter_is_told_and_put_back(tmp_path: Path) -> None:
    told = bus.day("gone-at-write", 60, tmp_path)
    assert told.findings == []


@pytest.mark.parametrize("sweep", list(SWEEPS))
def test_sample_is_spread_over_the_ways_and_over_the_day(sweep: str) -> None:
    """And drawn by its seed: a smoke run looks everywhere, another seed elsewhere."""
    cases, _ = drawn(sweep, 60, 1)
    every, _ = drawn(sweep, 0, 1)
    ways = Counter(case.what for case in cases)
    assert set(ways) == {case.what for case in every}
    assert max(ways.values()) - min(ways.values()) <= 1
    day = max(case.number for case in every)
    assert {case.number * 4 // (day + 1) for case in cases} == {0, 1, 2, 3}
    assert cases == drawn(sweep, 60, 1)[0] != drawn(sweep, 60, 2)[0]
    assert len(set(cases)) == 60


def school_of(tmp_path: Path, kind: type[FaultSchool]) -> FaultSchool:
    """A day on which nothing goes wrong but what that school does itself."""

    async def lived(clock: VirtualClock, dice: random.Random) -> FaultSchool:
        school = kind(clock=clock, dice=dice, folder=tmp_path)
        await school.day()
        return school

    return run_virtual(lived, seed=1)


class Unmended(FaultSchool):
    """Nobody mends what was broken when the gateway was restarted, nor presses that button."""

    async def mended(self) -> None:
        self.broken.clear()


def test_sweep_sees_a_fault_that_never_ends(tmp_path: Path) -> None:
    school = school_of(tmp_path, Unmended)
    assert "fault wiring staff-room: raised" in list(account.well(school))
    assert "lost: 0 alarms of staff-room at case" in list(account.alarms(school))


def test_fault_over_the_restart_is_told_once_and_ends_once(tmp_path: Path) -> None:
    school = school_of(tmp_path, FaultSchool)
    told = [message.type for message in school.heard("security", "fault.")]
    epochs = [message.key.epoch for message in school.heard("security", "fault.")]
    assert told == ["fault.wiring.raised", "fault.wiring.cleared"]
    assert epochs == [1, 2]


def test_sweep_sees_a_number_given_twice_a_broken_chain_and_a_wrong_order(tmp_path: Path) -> None:
    school = school_of(tmp_path, FaultSchool)
    assert list(account.sealed(school)) == []
    stranger = SigningKey("stranger", bytes(32))
    payloads = [unsealed(token) for token in sorted(school.tokens)]
    alarms = [one for one in payloads if (one["route"], one["stream"]) == ("case", "alarm")]
    last = max((one for one in alarms if one["epoch"] == 1), key=lambda one: int(one["sequence"]))
    school.tokens.add(seal(TokenType.MESSAGE, {**last, "subject": "gym-2"}, stranger))
    clock = {**last["data"]["clock"], "monotonic_ms": 1}
    after = {"sequence": last["sequence"] + 1, "data": {**last["data"], "clock": clock}}
    school.tokens.add(seal(TokenType.MESSAGE, {**last, **after}, stranger))
    where = f"case/alarm 1/{last['sequence']}"
    beyond = f"case/alarm 1/{last['sequence'] + 1}"
    found = list(account.sealed(school))
    assert f"2 messages are {where}" in found
    assert f"broken chain at {beyond}" in found
    assert f"out of order: {beyond}" in found


class Deaf(FaultSchool):
    """A school whose broker takes every alarm for the case system and hands out none."""

    async def ask(self) -> None:
        self.broker.accept_and_forget("qorgan/v1/+/case/alarm")


def test_sweep_sees_an_alarm_that_never_came(tmp_path: Path) -> None:
    async def lost(clock: VirtualClock, dice: random.Random) -> Iterator[str]:
        school = Deaf(clock=clock, dice=dice, folder=tmp_path)
        await school.day()
        assert school.raised()["delivery"] >= 1
        return iter([*account.alarms(school), *account.recorded(school)])

    findings = list(run_virtual(lost, seed=1))
    assert "lost: 0 alarms of gym at case" in findings
    assert any(finding.startswith("still owed: case/alarm") for finding in findings)
    assert not any("reception" in finding for finding in findings)


# --- its command line -------------------------------------------------------------------------


def test_single_case_is_replayed_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ONLY=disk/io-error/100", "JOBS=1"]) == 0
    text = capsys.readouterr().out
    assert "disk: 1 cases, 0 broken" in text
    assert text.endswith("held\n")


@pytest.mark.parametrize("argument", ["WHAT=moon", "ONLY=disk/17", "N=x", "disk"])
def test_wrong_asking_ends_with_2_and_says_what_is_right(argument: str) -> None:
    wrong = subprocess.run(
        [sys.executable, "-m", "campaigns.faults", argument],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert "python -m campaigns.faults [WHAT=all]" in wrong.stderr


# --- the disk that lies -----------------------------------------------------------------------


@pytest.mark.parametrize(("lie", "kept"), [(Lie.FORGET, b"old!old!"), (Lie.TEAR, b"new!old!")])
def test_disk_that_lies_says_well_and_writes_less(tmp_path: Path, lie: Lie, kept: bytes) -> None:
    disk = FaultyDisk()
    path = tmp_path / "file"
    flags = [apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_MAIN_DB, 0]
    file = disk.xOpen(str(path), flags)
    file.xWrite(b"old!old!", 0)
    struck = []
    disk.struck = lambda: struck.append(disk.count)
    disk.lie(lie)
    file.xWrite(b"new!new!", 0)
    file.xClose()
    disk.close()
    assert path.read_bytes() == kept
    assert struck == [3]
