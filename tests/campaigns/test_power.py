"""Power cuts of a whole machine: the account is held against planted losses, doubles and forks."""

from __future__ import annotations

import importlib.util
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from campaigns.power.__main__ import main
from campaigns.power.account import Judgement, Life, Manner, Press, judge, promised, utc_ms
from campaigns.power.disk import Disk
from campaigns.power.machine import Broken, Machine, wait_for, work_folder
from campaigns.power.site import COUNTED, LINES, SENDS, pressed
from campaigns.power.story import finger, plan, told
from campaigns.words import Wrong
from gateway.core.jws import SigningKey, TokenType, digest, seal
from gateway.core.kinds import class_of, stream_of
from gateway.core.message import rfc3339, uuid7
from gateway.core.model import StreamKey
from simulators.centre.core.words import Stored

ROOT = Path(__file__).parents[2]
RIG = ROOT / "campaigns" / "power" / "vm" / "guest" / "usr" / "lib" / "qorgan-rig"
WAIT_MS = 500
SIGNER = SigningKey("school-12", bytes(32))
BEGAN_MS = 1_800_000_000_000


class Tale:
    """A gateway's lives as its log and its centres tell them; every test spoils one of its own."""

    def __init__(self) -> None:
        self.now_ms = BEGAN_MS
        self.lives: list[Life] = []
        self.rows: dict[str, list[Stored]] = {route: [] for route in SENDS}
        self.open: list[str] = []
        self._events = 0
        self._ledger = "1edfe700"

    def life(self, manner: Manner = Manner.AWAY, *, ledger: str | None = None) -> None:
        """Switch it on; it says what is open."""
        self._ledger = ledger or self._ledger
        self.now_ms += 20_000
        self.lives.append(Life(len(self.lives) + 1, manner, []))
        self.say("state.gateway.restarted", "school", open=list(self.open))

    def line(self, event: str, **fields: object) -> None:
        """A line of the log that is no event."""
        self.lives[-1].lines.append({"event": event, "timestamp": rfc3339(self.now_ms), **fields})

    def say(
        self,
        kind: str,
        subject: str,
        *,
        alarm: str | None = None,
        delay_ms: int = 20,
        seen: bool = True,
        kept: bool = True,
        **fields: object,
    ) -> str:
        """Something is confirmed: logged if seen, and at every centre that is owed it if kept."""
        self._events += 1
        name = uuid7(self.now_ms, self._events.to_bytes(10))
        if kind.startswith("alarm.") and kind.endswith(".raised"):
            alarm = name
        if seen:
            self.line(kind, id=name, subject=subject, **fields)
        if kept:
            for route in [r for r, classes in SENDS.items() if class_of(kind) in classes]:
                self._seal(route, kind, name, alarm, delay_ms)
        self.now_ms += 100
        return name

    def _seal(self, route: str, kind: str, name: str, alarm: str | None, delay_ms: int) -> None:
        stream, epoch = stream_of(kind), len(self.lives)
        mine = [row for row in self.rows[route] if row.key.stream is stream]
        before = mine[-1] if mine else None
        new = before is None or before.key.epoch != epoch or before.key.ledger != self._ledger
        resumes = (before.key.epoch, before.sequence) if new and before is not None else None
        token = seal(TokenType.MESSAGE, {"time": rfc3339(self.now_ms), "n": name}, SIGNER)
        self.rows[route].append(
            Stored(
                gateway="school",
                key=StreamKey(route, stream, self._ledger, epoch, f"{epoch:08x}"),
                sequence=1 if new or before is None else before.sequence + 1,
                event=name,
                type=kind,
                alarm=alarm,
                digest=digest(token),
                previous=before.digest if before is not None else None,
                resumes=resumes,
                conflict=False,
                received_ms=self.now_ms + delay_ms,
                uplink="campus",
                token=token,
            )
        )

    def press(self, point: str, *, alarms: int = 1, **how: Any) -> str:
        """A press of a counted point: raised, cleared; the id of the last alarm."""
        here = Press(point, self.now_ms, self.now_ms + 100, 0.0)
        self.lives[-1].presses.append(here)
        alarm = ""
        for _ in range(alarms):
            alarm = self.say("alarm.tamper.raised", point, **how)
            self.say("alarm.tamper.cleared", point, alarm=alarm, **how)
        return alarm

    def later(self, ms: int = 2_000) -> None:
        """Nothing happens, and the log is seen to go on."""
        self.now_ms += ms
        self.line("uplink down", why="for the test")

    def judged(self) -> Judgement:
        return judge(self.lives, self.rows, sends=SENDS, counted=COUNTED, wait_ms=WAIT_MS)

    def promised(self) -> set[str]:
        every = [row for rows in self.rows.values() for row in rows]
        return set(promised(self.lives, every, wait_ms=WAIT_MS))


@pytest.fixture
def tale() -> Tale:
    """Three lives with presses in each, nothing wrong."""
    told_here = Tale()
    for manner in Manner:
        told_here.life(manner)
        for point in ("cabinet-1", "cabinet-2", "cabinet-1"):
            told_here.press(point)
        told_here.later()
    return told_here


def findings(tale: Tale) -> list[str]:
    return [text.split(":")[0] for text in tale.judged().findings]


# --- lost and doubled ---------------------------------------------------------------------------


def test_sound_tale_is_held_and_counted(tale: Tale) -> None:
    made = tale.judged()
    assert made.findings == []
    assert made.losses == 0
    assert made.counts["alarms promised"] == 18
    assert made.counts["presses"] == 9
    assert made.counts["starts that named what is open"] == 3
    assert made.counts["chains resumed"] == 8  # two streams of two routes, twice


def test_every_single_promised_alarm_that_is_missing_is_found(tale: Tale) -> None:
    """Whichever is taken away, at whichever centre: it is named as lost."""
    for route, rows in tale.rows.items():
        for row in [row for row in rows if class_of(row.type) == "alarm"]:
            tale.rows[route] = [other for other in rows if other is not row]
            made = tale.judged()
            assert made.losses
            assert any(row.event in text and route in text for text in made.findings), row
        tale.rows[route] = rows


def test_alarm_on_the_way_to_the_disk_at_the_cut_is_no_promise(tale: Tale) -> None:
    tale.life()
    tale.later()
    tale.say("alarm.tamper.raised", "case", kept=False)
    made = tale.judged()
    assert made.findings == []
    assert made.counts["in flight at a cut, gone"] == 1


def test_alarm_is_promised_once_the_log_has_gone_on_past_the_wait(tale: Tale) -> None:
    tale.life()
    tale.lives[-1].lines[:0] = [{"event": "rig", "synchronous": "NORMAL"}]  # not the service's own
    late = tale.say("alarm.tamper.raised", "cabinet-3")
    tale.later(WAIT_MS)
    assert late not in tale.promised()
    tale.later(WAIT_MS)
    assert late in tale.promised()


def test_nothing_is_promised_while_the_disk_is_in_trouble(tale: Tale) -> None:
    """From the fault on, and for what was waiting as it was raised; again after its end."""
    tale.life()
    waiting = tale.say("alarm.tamper.raised", "cabinet-3")
    tale.now_ms += WAIT_MS - 100
    tale.say("fault.storage.raised", "ledger")
    during = tale.say("alarm.tamper.raised", "cabinet-4")
    tale.later()
    tale.say("fault.storage.cleared", "ledger")
    tale.later()
    after = tale.say("alarm.tamper.raised", "cabinet-5")
    tale.later()
    assert {waiting, during, after} & tale.promised() == {after}


def test_trouble_that_only_the_centre_was_told_of_counts_too(tale: Tale) -> None:
    """The log's last lines may be lost with the power; the fault itself is on its way."""
    tale.life()
    during = tale.say("alarm.tamper.raised", "cabinet-4")
    tale.say("fault.storage.raised", "ledger", seen=False)
    tale.later()
    assert during not in tale.promised()


def test_event_under_two_numbers_is_doubled(tale: Tale) -> None:
    last = tale.rows["case"][-1]
    again = replace(last, sequence=last.sequence + 1, previous=last.digest, digest="d" * 64)
    tale.rows["case"].append(again)
    assert findings(tale) == ["doubled"]


def test_other_bytes_under_a_number_are_found(tale: Tale) -> None:
    tale.rows["case"].append(replace(tale.rows["case"][-1], conflict=True, digest="d" * 64))
    assert findings(tale) == ["changed"]


# --- chains and forks ---------------------------------------------------------------------------


def test_hole_in_a_stream_is_lost_even_when_nobody_logged_it(tale: Tale) -> None:
    tale.life()
    tale.say("alarm.tamper.raised", "cabinet-3", seen=False)
    tale.say("alarm.tamper.raised", "cabinet-4", seen=False)
    rows = tale.rows["security"]
    del rows[-2]
    assert "lost" in findings(tale)


def test_broken_hash_is_found(tale: Tale) -> None:
    rows = tale.rows["security"]
    rows[-1] = replace(rows[-1], previous="e" * 64)
    assert findings(tale) == ["broken"]


def forked(tale: Tale, *, delay_ms: int) -> Tale:
    """The last alarm before a cut reached the centres and not the disk."""
    tale.life()
    for _ in range(3):
        tale.press("cabinet-1")
    tale.later()
    kept = {route: list(rows) for route, rows in tale.rows.items()}
    tale.say("alarm.tamper.raised", "case", delay_ms=delay_ms)
    ahead = {route: rows[-1] for route, rows in tale.rows.items()}
    tale.rows = kept
    tale.life()
    tale.say("alarm.tamper.raised", "case")
    tale.later()
    for route, row in ahead.items():
        tale.rows[route].append(row)
    return tale


def test_fork_ahead_of_a_late_disk_is_the_honest_limit(tale: Tale) -> None:
    made = forked(tale, delay_ms=WAIT_MS + 30).judged()
    assert made.findings == []
    assert made.counts["sent ahead of a late disk, kept by the centre alone"] == 2


def test_fork_of_what_came_from_the_disk_is_forgotten(tale: Tale) -> None:
    """Sent sooner than an alarm waits for the disk: it was synced, and the gateway has lost it."""
    made = forked(tale, delay_ms=30).judged()
    assert [text.split(":")[0] for text in made.findings] == ["forgotten", "forgotten"]
    assert made.losses == 2


def test_another_ledger_is_forgotten(tale: Tale) -> None:
    tale.life(ledger="0ddba115")
    tale.later()
    assert "forgotten" in findings(tale)


def test_ledger_that_had_to_be_replaced_is_found_though_nothing_is_missing(tale: Tale) -> None:
    """A late disk is an emulated machine's; a corrupt one is the cut's."""
    tale.life()
    tale.say("fault.storage.raised", "ledger", why="late")
    assert findings(tale) == []
    tale.say("fault.storage.raised", "ledger", why="corrupt")
    assert findings(tale) == ["damaged"]


# --- what is open -------------------------------------------------------------------------------


def test_open_alarm_must_be_named_at_every_start_until_its_end(tale: Tale) -> None:
    tale.life()
    alarm = tale.say("alarm.panic.raised", "reception")
    tale.later()
    tale.open = [alarm]
    tale.life()
    tale.later()
    assert findings(tale) == []
    tale.open = []
    tale.life()
    assert findings(tale) == ["forgotten"]


def test_ended_alarm_must_not_be_open_again(tale: Tale) -> None:
    tale.life()
    alarm = tale.press("cabinet-3")
    tale.later()
    tale.open = [alarm]
    tale.life()
    assert findings(tale) == ["forgotten"]


def test_alarm_that_ends_as_a_start_is_made_was_open_at_it(tale: Tale) -> None:
    """The start is logged a little after it was confirmed, and an input may be normal by then."""
    tale.life()
    alarm = tale.say("alarm.tamper.raised", "case")
    tale.later()
    tale.open = [alarm]
    tale.life()
    line = tale.lives[-1].lines[0]
    tale.lives[-1].lines[0] = {**line, "timestamp": rfc3339(tale.now_ms + 50)}
    tale.say("alarm.tamper.cleared", "case", alarm=alarm)
    tale.later()
    assert findings(tale) == []


# --- presses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alarms", "found"), [(0, ["missed"]), (1, []), (2, ["doubled"])])
def test_one_press_is_one_alarm(tale: Tale, alarms: int, found: list[str]) -> None:
    tale.life()
    tale.press("cabinet-3", alarms=alarms)
    tale.later()
    tale.press("cabinet-4")
    assert findings(tale) == found


def test_press_at_the_moment_of_the_cut_may_be_missing(tale: Tale) -> None:
    tale.life()
    tale.lives[-1].presses.append(Press("cabinet-3"))
    tale.press("cabinet-4", alarms=0)
    assert findings(tale) == []


# --- the story ----------------------------------------------------------------------------------


def test_plan_begins_with_an_outage_and_its_end_and_hangs_on_the_seed() -> None:
    first = plan(random.Random(7), 20)
    assert first == plan(random.Random(7), 20)
    assert first != plan(random.Random(8), 20)
    assert first[:2] == [Manner.AWAY, Manner.BACK]
    assert set(first) == set(Manner)
    assert plan(random.Random(7), 0) == []


def test_finger_moves_both_contacts_of_a_pair_at_once() -> None:
    assert pressed("reception", closed=True) == {"17": True, "27": False}
    assert pressed("fire-panel", closed=True) == {"25": False}
    assert finger("cabinet-1", 60) == [[{"4": True}, 60], [{"4": False}, 300]]


def test_press_without_a_report_is_only_begun() -> None:
    assert told(None, "gym") == Press("gym")
    assert told({"error": "no"}, "gym") == Press("gym")
    assert told({"moved": [[5, 1.5], [9, 5.5]]}, "gym") == Press("gym", 5, 9, 1.5)


def test_contacts_and_lamps_are_those_of_the_configuration() -> None:
    text = (ROOT / "campaigns" / "power" / "vm" / "premises.yaml").read_text(encoding="utf-8")
    for point, pair in LINES.items():
        assert f"  {point}: " in text or f"  {point}:\n" in text
        for line in pair:
            assert line is None or f"gpio:{line}" in text


# --- the disk -----------------------------------------------------------------------------------

SECTORS = 64
OLD, NEW = b"o" * 512, b"n" * 512


class Cable:
    """The machine's end of the disk: as much of NBD as a test needs."""

    def __init__(self, at: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(at))
        self._socket.settimeout(10)
        assert self._get(18)[:16] == b"NBDMAGICIHAVEOPT"
        self._socket.sendall(struct.pack(">I", 3))
        # an option it does not know is refused, and the handshake goes on
        self._socket.sendall(struct.pack(">8sII", b"IHAVEOPT", 8, 0))
        assert struct.unpack(">QIII", self._get(20))[2] >> 31
        self._socket.sendall(struct.pack(">8sII", b"IHAVEOPT", 1, 4) + b"disk")
        self.size, self.flags = struct.unpack(">QH", self._get(10))

    def _get(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            piece = self._socket.recv(length - len(got))
            assert piece
            got += piece
        return got

    def ask(
        self, kind: int, at: int = 0, data: bytes = b"", *, read: int = 0, fua: int = 0
    ) -> bytes:
        head = struct.pack(">IHHQQI", 0x25609513, fua, kind, 7, at, read or len(data))
        self._socket.sendall(head + data)
        magic, error, cookie = struct.unpack(">IIQ", self._get(16))
        assert (magic, cookie) == (0x67446698, 7)
        assert not error or kind == 9
        return self._get(read)

    def write(self, sector: int, data: bytes, *, fua: bool = False) -> None:
        self.ask(1, sector * 512, data, fua=int(fua))

    def flush(self) -> None:
        self.ask(3)

    def off(self) -> None:
        self._socket.close()


def after_a_cut(folder: Path, seed: int, act: Callable[[Cable], None]) -> tuple[bytes, int]:
    """The image, and how many sectors were lost, after something was done on a disk of OLD."""
    image = folder / f"{seed}.img"
    image.write_bytes(OLD * SECTORS)
    with Disk(image, folder / f"{seed}.nbd", random.Random(seed)) as disk:
        cable = Cable(disk.socket)
        assert cable.size == 512 * SECTORS
        act(cable)
        cable.off()
        lost = disk.cut()
        assert disk.cut() == 0  # what is left has been written for good
    return image.read_bytes(), lost


def test_disk_keeps_what_was_flushed_and_loses_of_the_rest_what_the_dice_say(
    tmp_path: Path,
) -> None:
    """All, nothing, or sector by sector; a flushed byte never."""

    def act(cable: Cable) -> None:
        cable.write(0, NEW * 16)
        cable.flush()
        cable.write(8, NEW * 40)
        assert cable.ask(0, 0, read=512 * 48) == NEW * 48

    shares = set()
    for seed in range(24):
        image, lost = after_a_cut(tmp_path, seed, act)
        assert image[: 512 * 16] == NEW * 16
        assert image[512 * 48 :] == OLD * 16
        kept = [image[n * 512 : (n + 1) * 512] for n in range(16, 48)]
        assert set(kept) <= {OLD, NEW}
        assert kept.count(OLD) <= lost
        shares.add("none" if NEW not in kept else "all" if OLD not in kept else "some")
    assert shares == {"none", "all", "some"}


def test_disk_never_loses_what_was_forced_through(tmp_path: Path) -> None:
    """A single forced write stays, also in the midst of a block that was not flushed."""

    def act(cable: Cable) -> None:
        cable.write(0, NEW * 8)
        cable.write(3, b"f" * 512, fua=True)
        cable.write(20, b"f" * 512, fua=True)

    for seed in range(12):
        image, _ = after_a_cut(tmp_path, seed, act)
        assert image[3 * 512 : 4 * 512] == b"f" * 512
        assert image[20 * 512 : 21 * 512] == b"f" * 512


def test_disk_serves_one_machine_after_another(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(OLD * SECTORS)
    with Disk(image, tmp_path / "nbd", random.Random(1)) as disk:
        for number in range(3):
            cable = Cable(disk.socket)
            cable.write(number, NEW)
            cable.flush()
            cable.ask(9)  # unknown requests are refused and end nothing
            cable.off()
            disk.cut()
        assert disk.flushes == 3
    assert image.read_bytes() == NEW * 3 + OLD * (SECTORS - 3)
    assert not (tmp_path / "nbd").exists()


# --- the rig ------------------------------------------------------------------------------------


def rig(name: str) -> ModuleType:
    """A file of the machine's own, as a module."""
    spec = importlib.util.spec_from_file_location(name, RIG / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_agent_pulls_the_lines_and_tells_when(tmp_path: Path) -> None:
    agent: Any = rig("agent")
    agent.LINES = tmp_path
    for line in (4, 17):
        (tmp_path / f"sim_gpio{line}").mkdir()
    answer: Mapping[str, Any] = agent.move([[{"4": True}, 1], [{"4": False, "17": True}, 0]])
    pulls = {line: (tmp_path / f"sim_gpio{line}" / "pull").read_text() for line in (4, 17)}
    assert pulls == {4: "pull-up", 17: "pull-down"}
    (first, began), (second, ended) = answer["moved"]
    assert first <= second
    assert ended - began >= 1.0


def test_unsafe_entry_loosens_the_ledger_and_the_product_does_not_know_it(tmp_path: Path) -> None:
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("unsafe", {str(RIG / "unsafe.py")!r})
unsafe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(unsafe)
from gateway.record.file import LedgerFile
def synchronous(name):
    file = LedgerFile.open({str(tmp_path)!r} + name, vfs=None)
    try:
        return file.one("PRAGMA synchronous")
    finally:
        file.close()
print(synchronous("/a"))
LedgerFile.open = unsafe._loosened("NORMAL")
print(synchronous("/b"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "1"], done.stderr
    product = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "drivers").rglob("*.py")]
    assert not any("RIG_SYNC" in path.read_text(encoding="utf-8") for path in product)


def test_machine_without_its_emulator_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Broken, match=r"sh tools/vm\.sh"):
        Machine(tmp_path, tmp_path, "life").start(tmp_path / "disk", tmp_path / "site")


def test_machine_that_goes_off_by_itself_is_named_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And switching it off again is harmless."""
    emulator = tmp_path / "qemu-system-x86_64"
    emulator.write_text("#!/bin/sh\necho no such disk >&2\nexit 1\n")
    emulator.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    machine = Machine(tmp_path, tmp_path, "life").start(tmp_path / "disk", tmp_path / "site")
    with pytest.raises(Broken, match="no such disk"):
        machine.booted()
    machine.cut()
    assert not machine.running


def test_machine_reads_only_whole_lines_of_the_log(tmp_path: Path) -> None:
    """A cut leaves half a line, and systemd writes lines that are none of ours."""
    machine = Machine(tmp_path, tmp_path, "life")
    assert machine.lines() == []
    machine.log.write_text('Starting qorgan.service\n{"event": "a"}\n{"event": "b"\n{"event": "c"')
    assert machine.lines() == [{"event": "a"}]


def test_waiting_names_what_did_not_come() -> None:
    with pytest.raises(Broken, match="no spring"):
        wait_for("spring", lambda: None, within_s=0.05)


def test_machine_is_built_outside_the_tree(tmp_path: Path) -> None:
    assert work_folder({"QORGAN_VM": str(tmp_path)}) == tmp_path
    assert work_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/qorgan-vm")
    assert not work_folder({}).is_relative_to(ROOT)


def test_command_refuses_what_it_does_not_know() -> None:
    with pytest.raises(Wrong, match="whole number"):
        main(["CUTS=many"])
    with pytest.raises(Wrong, match="not understood"):
        main(["SYNC=off"])
    with pytest.raises(Wrong, match="from 1"):
        main(["CUTS=0"])


def test_command_overwrites_no_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    with pytest.raises(Wrong, match=r"holds a run already|at most \d+ characters"):
        main([f"FOLDER={tmp_path}"])
    with pytest.raises(Wrong, match="at most 80 characters"):
        main([f"FOLDER=/tmp/{'x' * 80}"])


def test_command_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "campaigns.power", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "CUTS=20" in done.stdout
    assert utc_ms("2027-01-15T08:00:00.000Z") == BEGAN_MS


@pytest.mark.parametrize("script", ["tools/vm.sh", "campaigns/power/vm/build.sh"])
def test_scripts_are_sound_shell(script: str) -> None:
    shell = "bash" if script.endswith("build.sh") else "sh"
    subprocess.run([shell, "-n", str(ROOT / script)], check=True)
