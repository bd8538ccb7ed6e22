"""What a ledger writes to its card: bytes and syncs a day in a quiet school, and for each alarm.

    python -m benchmarks.wear [--quick] [--json] [--days N] [--seed S]

The real recorder, writer and ledger, on a VFS that counts what SQLite hands to the disk, under
virtual time: no broker, because heartbeats are not recorded. benchmarks/README.md says what a day
holds and why the goal is what it is.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw

from benchmarks.command import ended, parser
from benchmarks.stage import Trouble
from benchmarks.table import Figure, at_most, show, told
from gateway.core.jws import SigningKey
from gateway.core.model import Fact, Message, StreamKey
from gateway.core.premises import Input, LedgerSpec, Place, Point, PointKind, Premises, Route
from gateway.piped import piped
from gateway.record.disk import InlineDisk
from gateway.record.writer import IDLE_S, Writer
from gateway.recorder import Recorder
from simulators.virtual.time import VirtualClock, run_virtual

DAY_GOAL_MB = 10.0
ALARM_GOAL_KB = 500.0
SYNCS_GOAL = 600
FLOOR_GOAL = 8.0
DAYS, DAYS_QUICK = 30, 3

ACCESS_AN_HOUR = 6
DOORS = 3
KEEP_MS = 730 * 86_400_000
ANSWER_S = 0.02
"""A centre's receipt comes so long after the message, each route's by itself."""
OPERATOR_S = 20.0

BLOCK_BYTES = 4_096
"""What a file system writes at least: the floor appends sealed messages to a file in such blocks,
with a sync for each event, and keeps nothing else."""

_serial = itertools.count(1)


class CountingDisk(apsw.VFS):
    """The machine's own VFS, counting what is written and synced."""

    def __init__(self) -> None:
        self.name = f"counting-{next(_serial)}"
        self.bytes: Counter[str] = Counter()
        self.syncs = 0
        super().__init__(self.name, "", exclude={"xCurrentTime", "xCurrentTimeInt64"})

    @property
    def total(self) -> int:
        """Bytes written to all files so far."""
        return self.bytes.total()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's name
        return CountingFile(self, name, flags)


class CountingFile(apsw.VFSFile):
    """One open file of a CountingDisk."""

    def __init__(
        self, disk: CountingDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._kind = "wal" if path.endswith("-wal") else "file"
        super().__init__("", name, flags)

    def xWrite(self, data: bytes | memoryview, offset: int) -> None:  # noqa: N802 -- SQLite's name
        self._disk.bytes[self._kind] += len(data)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
        self._disk.syncs += 1
        super().xSync(flags)


def school() -> Premises:
    """Three buttons and three doors; the case system is told who came through them."""
    place = Place(building="A", floor="1", room="Reception")
    buttons = [
        Point(f"button-{n}", PointKind.PANIC, Input(f"gpio:{n}", f"gpio:{n + 10}"), place)
        for n in range(3)
    ]
    doors = [Point(f"door-{n}", PointKind.DOOR, Input(f"gpio:{n + 20}"), place) for n in range(3)]
    return Premises(
        id="school-12",
        name="School No. 12",
        timezone="Asia/Almaty",
        gateway="school-12-main",
        key_file="",
        ledger=LedgerSpec(""),
        points=(*buttons, *doors),
        uplinks=(),
        routes=(
            Route("security", ("campus",), ("alarm", "fault", "test", "state"), answers=True),
            Route("case", ("campus",), ("alarm", "state", "access")),
        ),
        digest="0" * 64,
    )


@dataclass(slots=True)
class Day:
    """What was recorded: events, and the bytes that were sealed for them."""

    events: int = 0
    sealed_bytes: int = 0
    floor_bytes: int = 0

    def sealed(self, tokens: Sequence[bytes]) -> None:
        """One event's messages; the floor is told what a bare file would be given for them."""
        begins, added = self.sealed_bytes, sum(len(token) for token in tokens)
        self.sealed_bytes += added
        blocks = (begins + added - 1) // BLOCK_BYTES - begins // BLOCK_BYTES + 1
        self.floor_bytes += blocks * BLOCK_BYTES


class Site:
    """The recorder over a real writer, and centres that answer everything at once."""

    def __init__(self, clock: VirtualClock, dice: random.Random) -> None:
        self.clock = clock
        self.dice = dice
        self.seen = Day()
        self.writer: Writer
        self._recorder: Recorder

    async def open(self, path: Path, disk: CountingDisk) -> None:
        """Start, as a daemon does."""
        stamp = self.clock.stamp(self.clock.now_us())
        self.writer, ledger = await InlineDisk(str(path), vfs=disk.name).open(
            start=self.dice.randbytes(4).hex(),
            fresh_id=self.dice.randbytes(4).hex(),
            boot=stamp.boot,
            utc_ms=stamp.utc_ms,
            on_trouble=_trouble,
            on_recovered=lambda: None,
        )
        self._recorder = Recorder(
            school(),
            identity=ledger.identity,
            heads=ledger.heads(),
            holders=ledger.holders(),
            signer=SigningKey("gateway", bytes(32)),
            writer=self.writer,
            clock=self.clock,
            random=self.dice,
            release=self._release,
            late=lambda: None,
        )

    def _release(self, messages: Sequence[Message]) -> None:
        if messages:
            self.seen.sealed([message.token for message in messages])
        for nth, message in enumerate(messages, start=1):
            at_us = self.clock.now_us() + round(nth * ANSWER_S * 1e6)
            self.clock.call_at(at_us, partial(self._settle, message.key, message.sequence))

    def _settle(self, key: StreamKey, sequence: int) -> None:
        utc_ms = self.clock.stamp(self.clock.now_us()).utc_ms
        self.writer.settle(key, [(sequence, sequence)], utc_ms)

    async def tell(self, kind: str, subject: str, *, alarm: str | None = None) -> str:
        """Record one fact, wait for its receipts and for a quiet second; its id."""
        fact = Fact(kind, subject, self.clock.now_us(), alarm=alarm)
        if kind.startswith("alarm.") and kind.endswith(".raised"):
            name = self._recorder.new_id(fact.at_us)
            fact = Fact(kind, subject, fact.at_us, alarm=name, id=name)
        (event,) = self._recorder.record([fact])
        self.seen.events += 1
        await self.clock.sleep(3 * ANSWER_S)
        await self.quiet()
        return event.id

    async def quiet(self) -> None:
        """A second in which nothing happens: the thread's housekeeping."""
        await self.clock.sleep(IDLE_S)
        await self.writer.call(lambda ledger: ledger.tidy(idle=True))

    async def hour(self) -> None:
        """A quiet one: some people come through some doors."""
        stamp = self.clock.stamp(self.clock.now_us())
        await self.writer.call(lambda ledger: ledger.retain(stamp, keep_ms=KEEP_MS))
        begun_us = self.clock.now_us()
        for _ in range(ACCESS_AN_HOUR):
            await self.clock.sleep(self.dice.uniform(60, 500))
            await self.tell("access.granted", f"door-{self.dice.randrange(DOORS)}")
        await self.clock.sleep(max(0.0, 3_600 - (self.clock.now_us() - begun_us) / 1e6))

    async def alarm(self) -> None:
        """A press, received, acknowledged, closed and cleared."""
        alarm = await self.tell("alarm.panic.raised", "button-0")
        await self.tell("state.alarm.received", "button-0", alarm=alarm)
        await self.clock.sleep(OPERATOR_S)
        for state in ("acknowledged", "closed"):
            await self.tell(f"state.alarm.{state}", "button-0", alarm=alarm)
        await self.tell("alarm.panic.cleared", "button-0", alarm=alarm)


def _trouble(why: str, text: str) -> None:
    raise Trouble(f"the disk under test is in trouble: {why}, {text}")


async def measure(clock: VirtualClock, dice: random.Random, *, days: int) -> list[Figure]:
    """Live for so many days, then raise alarms; the table."""
    disk, site, kernel = CountingDisk(), Site(clock, dice), kernel_bytes()
    with tempfile.TemporaryDirectory(prefix="qorgan-wear-") as folder:
        path = Path(folder) / "ledger.db"
        await site.open(path, disk)
        for _ in range(days):
            await site.tell("fault.path.raised", "campus")
            await site.tell("fault.path.cleared", "campus")
            await site.tell("test.panic.passed", "button-1")
            for _ in range(24):
                await site.hour()
        quiet, syncs, seen, kinds = disk.total, disk.syncs, site.seen, Counter(disk.bytes)
        kernel = kernel_bytes() - kernel
        site.seen = Day()
        for _ in range(days):
            await site.alarm()
        alarms, alarm_syncs = disk.total - quiet, disk.syncs - syncs
        size = path.stat().st_size
        await site.writer.stop(within_s=1)
    await asyncio.sleep(0)
    disk.unregister()
    return [
        at_most("written a day in a quiet school", quiet / days / 1e6, DAY_GOAL_MB, "MB"),
        told("  of it to the write-ahead log", kinds["wal"] / days / 1e6, "MB"),
        told("  of it to the file", kinds["file"] / days / 1e6, "MB"),
        told("  the kernel's count of it (0: a disk in memory)", kernel / days / 1e6, "MB"),
        told("floor: the sealed messages alone", seen.sealed_bytes / days / 1e6, "MB"),
        told("floor: appended to a bare file, synced", seen.floor_bytes / days / 1e6, "MB"),
        at_most("written / bare file", quiet / seen.floor_bytes, FLOOR_GOAL, "x"),
        told("written / sealed messages", quiet / seen.sealed_bytes, "x"),
        told("a year like these days, extrapolated", quiet / days * 365 / 1e9, "GB"),
        told("entries a day", seen.events / days),
        at_most("syncs a day", syncs / days, SYNCS_GOAL),
        told("written for each entry", quiet / seen.events / 1e3, "kB"),
        at_most("written for an alarm's whole life", alarms / days / 1e3, ALARM_GOAL_KB, "kB"),
        told("written / bare file, alarms", alarms / site.seen.floor_bytes, "x"),
        told("syncs for an alarm's whole life", alarm_syncs / days),
        told("the file after these days", size / 1e6, "MB"),
    ]


def kernel_bytes() -> int:
    """What Linux says this process has sent to disks so far (proc(5), `io`), pages of files."""
    told_by = Path("/proc/self/io").read_text(encoding="ascii")
    found = re.search(r"^write_bytes: (\d+)$", told_by, re.MULTILINE)
    return int(found[1]) if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("wear", __doc__, quick=f"{DAYS_QUICK} days instead of {DAYS}: under 10 s")
    made.add_argument("--days", type=int, help=f"simulated days (default {DAYS})")
    made.add_argument("--seed", type=int, default=1, help="other visitors (default 1)")
    options = made.parse_args(arguments)
    return ended(lambda: bench(options))


def bench(options: argparse.Namespace) -> int:
    """Measure and print; 0 when every goal is held, 1 when one is missed."""
    days = options.days or (DAYS_QUICK if options.quick else DAYS)
    figures = run_virtual(lambda clock, dice: measure(clock, dice, days=days), seed=options.seed)
    context: dict[str, str | int | float | bool] = {
        "a day": f"{ACCESS_AN_HOUR} access events an hour, a fault and its end, a walk test",
        "an alarm": "raised, received, acknowledged, closed, cleared, on two routes",
        "days": f"{days}, simulated; nothing else is written to the card: the log is journald's",
        "seed": options.seed,
    }
    return show("Wear of the card", figures, as_json=options.json, context=context)


if __name__ == "__main__":
    sys.exit(piped(main))
