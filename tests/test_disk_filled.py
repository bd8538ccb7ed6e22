"""A real disk filled to the last byte under the real daemon, with a real broker and a real centre.

The disk is a small file system in a mount namespace of its own, which goes when the test does. What
virtual time shows better (every cause and moment of a failing disk) is in test_disk_daemon.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Stream
from gateway.record.ledger import Ledger
from simulators.network.brokers import Mosquitto
from tests.disk_cases import Filler, ledger_at, owed_messages
from tests.processes import ROOT, Process, School, school, wait_for

BUTTONS = ("guard-post", "duty-teacher", "director", "nurse", "accounts")
PRESS_MS = 60
STORM_MAX = 150
"""Far more alarms than the ledger can hold of pages that were its own before the disk was full."""
AFTER_FULL = 2 * len(BUTTONS)

TMPFS = 'mount -t tmpfs -o size=6m qorgan-test "$1"'
EXT4 = 'truncate -s 16m "$1.img" && mkfs.ext4 -q -F "$1.img" && mount -o loop "$1.img" "$1"'


class Disk:
    """A small file system that only programs started by `inside` see at `folder`."""

    def __init__(self, folder: Path, make: str) -> None:
        """Make it, or skip the test where this machine does not let us. make: a line of shell."""
        folder.mkdir()
        rooted = os.geteuid() == 0
        if not rooted and make == EXT4:
            pytest.skip("only root may mount ext4: in a user namespace the kernel refuses it")
        asked = ["unshare", "--mount", *(() if rooted else ("--user", "--map-root-user"))]
        hold = f"{make} && echo made && exec cat"  # cat holds it until nobody holds its input
        self._holder = subprocess.Popen(
            [*asked, "sh", "-c", hold, "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"made\n":
            why = self._holder.stderr.read().decode(errors="replace").strip()
            self.close()
            pytest.skip(f"no small file system can be made here: {why}")
        user = () if rooted else ("--user", "--preserve-credentials")
        self.inside = ("nsenter", f"--target={self._holder.pid}", "--mount", *user)
        self.folder = Path(f"/proc/{self._holder.pid}/root{folder.resolve()}")

    def is_full(self) -> bool:
        """True when not even root finds room for one more byte."""
        try:
            (self.folder / "one-byte").write_bytes(b"x")
        except OSError as error:
            return error.errno == errno.ENOSPC
        return False

    def close(self) -> None:
        """Let it go; with the last program inside it is gone."""
        self._holder.kill()
        self._holder.communicate()


class Site:
    """A school whose ledger lives on a disk of its own, and the security centre's desk."""

    def __init__(self, there: School, disk: Disk) -> None:
        self.there = there
        self.disk = disk
        text = there.site.config.read_text(encoding="utf-8")
        there.site.config.write_text(
            text.replace("path: ledger.db", "path: disk/ledger.db"), encoding="utf-8"
        )
        store = there.folder / "security.db"
        self.security = there.centre("security", "--answer", "acknowledge", "--db", store)
        self.daemon = self.start("gateway")

    def start(self, name: str) -> Process:
        """The real daemon, seeing the disk; returns when its inputs are live."""
        site = self.there.site
        out, err = (self.there.folder / f"{name}.{end}" for end in ("out", "err"))
        run = ("simulators", "run", "--config", site.config, "--control", site.control)
        with out.open("ab") as stdout, err.open("ab") as stderr:
            popen = subprocess.Popen(
                [*self.disk.inside, sys.executable, "-m", *map(str, run)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        process = Process(name, popen, out, err)
        self.there.processes.append(process)
        wait_for(
            f"live {name}",
            lambda: process.log("state.gateway.restarted") and site.control.exists(),
        )
        self.daemon = process
        return process

    def alarms(self, centre: Process) -> list[str]:
        """The ids of the alarms a centre took as new, in the order they came."""
        return [
            line["id"]
            for line in centre.stdout()
            if ".alarm." in line["type"] and line["type"].endswith(".raised") and not line["copy"]
        ]

    def storage(self, phase: str) -> list[dict[str, Any]]:
        """What the centre was told of the disk. That it is slow is this machine's business."""
        return [line for line in self.told(phase) if line["data"].get("why") != "late"]

    def told(self, phase: str) -> list[dict[str, Any]]:
        """The same, and that it is slow."""
        kind = f"org.qorgan.fault.storage.{phase}"
        return [
            line for line in self.security.stdout() if line["type"] == kind and not line["copy"]
        ]

    def press(self, point: str) -> str:
        """One alarm from the finger to the operator and back; its id."""
        before = len(self.alarms(self.security))
        self.there.press(point, ms=PRESS_MS)
        alarms = wait_for(
            f"alarm {before + 1}",
            lambda: a if len(a := self.alarms(self.security)) > before else None,
        )
        assert len(alarms) == before + 1
        wait_for("operator", lambda: self.told_of(alarms[-1]))
        return alarms[-1]

    def told_of(self, alarm: str) -> bool:
        """True when the centre has got back that its operator has answered."""
        return any(
            line["type"] == "org.qorgan.state.alarm.acknowledged" and line["data"]["alarm"] == alarm
            for line in self.security.stdout()
        )


@pytest.fixture(params=[TMPFS, EXT4], ids=["tmpfs", "ext4"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A running school on a small disk."""
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(school(tmp_path / "s", Mosquitto))
        disk = Disk(there.folder / "disk", request.param)
        stack.callback(disk.close)
        yield Site(there, disk)


def left_behind(site: Site, into: Path) -> Ledger:
    """The ledger as kill -9 left it, from a copy of its file and write-ahead log."""
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copyfile(site.disk.folder / name, into / name)
    return ledger_at(into / "ledger.db", start="f" * 8, fresh_id="f" * 8)


def test_disk_filled_in_an_alarm_storm_under_the_real_daemon(filled: Site, tmp_path: Path) -> None:
    """Every alarm is at the centre, one fault and one end; after a kill -9 all is as it was owed.

    The other centre is away all the time, so that something is owed.
    """
    site, filler = filled, Filler(filled.disk.folder)
    pressed = [site.press(point) for point in BUTTONS]
    filler.fill()
    assert site.disk.is_full()
    after_full = 0
    while after_full < AFTER_FULL and len(pressed) < STORM_MAX:
        pressed.append(site.press(BUTTONS[len(pressed) % len(BUTTONS)]))
        filler.fill()
        after_full += bool(site.storage("raised"))
    assert after_full == AFTER_FULL
    assert [line["data"]["why"] for line in site.storage("raised")] == ["full"]
    assert not site.storage("cleared")
    assert site.daemon.running

    filler.go()
    wait_for("end of the fault", lambda: site.storage("cleared"))
    pressed += [site.press(point) for point in BUTTONS]
    assert site.daemon.running
    assert site.alarms(site.security) == pressed
    assert not any(line["late"] or line["gap"] for line in site.security.stdout())
    site.daemon.end(signal.SIGKILL)

    ledger = left_behind(site, tmp_path)
    assert (ledger.durable, ledger.set_aside, ledger.lost) == (True, None, 0)
    raised = [event.id for event in ledger.open_alarms() if event.type.endswith(".raised")]
    assert raised == pressed
    owed = owed_messages(ledger)
    assert {m.alarm for m in owed if m.key.route == "security"} <= {pressed[-1]}
    (alarms,) = [
        ranges
        for key, ranges in ledger.owed().items()
        if (key.route, key.stream) == ("case", Stream.ALARM)
    ]
    assert [first for first, _ in alarms] == [1]
    assert [
        m.event for m in owed if m.key.route == "case" and m.type.endswith(".raised")
    ] == pressed
    ledger.close()

    again = site.start("gateway-again")
    case = site.there.centre("case")
    wait_for("what was owed", lambda: len(site.alarms(case)) >= len(pressed))
    assert sorted(site.alarms(case)) == sorted(pressed)  # in which order is delivery's business
    assert again.log("state.gateway.restarted")[0]["open"] == pressed
    assert site.alarms(site.security) == pressed
    late = len(site.told("raised")) - 1  # a disk that was slow between has ends of its own
    assert len(site.storage("raised")) == 1
    assert 1 <= len(site.told("cleared")) <= 1 + late
