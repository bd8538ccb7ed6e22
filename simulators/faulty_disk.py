"""A disk that misbehaves on command: an apsw VFS that fails, delays, stalls, tears or forgets.

Every I/O call SQLite makes is counted, so a test can walk through all of them. Nothing here is
random by itself; who wants dice brings a seeded one.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import apsw

SECTOR_BYTES = 512
"""What a disk writes whole or not at all; a power cut tears writes only between sectors."""

_serial = itertools.count(1)


class Fault(StrEnum):
    """What a failing call answers."""

    IO_ERROR = "io-error"
    FULL = "full"
    READ_ONLY = "read-only"
    CANNOT_OPEN = "cannot-open"


_ERRORS: dict[Fault, type[apsw.Error]] = {
    Fault.IO_ERROR: apsw.IOError,
    Fault.FULL: apsw.FullError,
    Fault.READ_ONLY: apsw.ReadOnlyError,
    Fault.CANNOT_OPEN: apsw.CantOpenError,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One I/O call: its number from 1, what it was and on which file."""

    number: int
    operation: str
    file: str


@dataclass(slots=True)
class _Plan:
    fault: Fault
    first: int
    last: float
    operations: frozenset[str] | None


class FaultyDisk(apsw.VFS):
    """A VFS over the real file system; open a database with `vfs=disk.name`.

    It may be told anything at any time, from any thread. `sync_delay_s` and `delays_s` slow calls
    down without failing them. A write that fails has written its first half (a torn write).
    """

    def __init__(self, *, record: bool = False) -> None:
        """`record` keeps every Call in `calls`."""
        self.name = f"faulty-{next(_serial)}"
        self.count = 0
        self.calls: list[Call] | None = [] if record else None
        self.sync_delay_s = 0.0
        self.delays_s: dict[int, float] = {}
        self.stalled = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._plan: _Plan | None = None
        super().__init__(self.name, "", exclude={"xCurrentTime", "xCurrentTimeInt64"})

    # --- what a test says ---------------------------------------------------------------------

    def fail(
        self,
        fault: Fault,
        *,
        at: int = 1,
        times: int | None = 1,
        operations: frozenset[str] | None = None,
    ) -> None:
        """Fail the `at`-th call from now on and `times` in all (None: until `heal`).

        `operations` (open, read, write, truncate, sync, delete) limits what fails, not what counts.
        """
        first = self.count + at
        last = float("inf") if times is None else first + times - 1
        self._plan = _Plan(fault, first, last, operations)

    def heal(self) -> None:
        """Work again."""
        self._plan = None

    def hold_syncs(self) -> None:
        """Let no sync return until `release_syncs`; `stalled` is set while one is being held."""
        self._flowing.clear()

    def release_syncs(self) -> None:
        """Let held syncs go on."""
        self._flowing.set()

    @contextmanager
    def syncs_held(self) -> Iterator[None]:
        """Hold syncs inside this block."""
        self.hold_syncs()
        try:
            yield
        finally:
            self.release_syncs()

    def close(self) -> None:
        """Take the VFS out of SQLite's list; open databases must be closed before."""
        self.unregister()

    # --- what SQLite asks ---------------------------------------------------------------------

    def passing(self, operation: str, file: str) -> None:
        """Count a call, delay it and raise what was planned for it."""
        self.count += 1
        number = self.count
        if self.calls is not None:
            self.calls.append(Call(number, operation, Path(file).name))
        delay_s = self.delays_s.get(number, 0.0)
        if operation == "sync":
            delay_s += self.sync_delay_s
            if not self._flowing.is_set():
                self.stalled.set()
                self._flowing.wait()
                self.stalled.clear()
        if delay_s:
            time.sleep(delay_s)
        plan = self._plan
        if plan is None or not plan.first <= number <= plan.last:
            return
        if plan.operations is None or operation in plan.operations:
            raise _ERRORS[plan.fault](f"planned {plan.fault} of {operation}, call {number}")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's name
        """Open through the plan."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self.passing("open", path)
        return self.file(path, name, flags)

    def file(
        self, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """The file object of an open; a subclass may bring its own."""
        return FaultyFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 -- SQLite's signature
        """Delete through the plan."""
        self.passing("delete", filename)
        super().xDelete(filename, syncdir)

    def excepthook(self, *_: object) -> bool:
        """The exception also reaches whoever ran the statement: no second report."""
        return True


class FaultyFile(apsw.VFSFile):
    """One open file of a FaultyDisk."""

    def __init__(
        self,
        disk: FaultyDisk,
        path: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self.disk = disk
        self.path = path
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 -- SQLite's name
        """Read through the plan."""
        self.disk.passing("read", self.path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes | memoryview, offset: int) -> None:  # noqa: N802 -- SQLite's name
        """Write through the plan; half of the bytes go in when it fails."""
        try:
            self.disk.passing("write", self.path)
        except apsw.Error:
            super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 -- SQLite's name
        """Truncate through the plan."""
        self.disk.passing("truncate", self.path)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
        """Sync through the plan."""
        self.disk.passing("sync", self.path)
        super().xSync(flags)

    def excepthook(self, *_: object) -> bool:
        """As FaultyDisk.excepthook."""
        return True


class ForgetfulDisk(FaultyDisk):
    """A disk whose power can be cut: what was not synced is then there, gone, or there in part.

    `cut_power` makes every later call fail; `leave` writes to a folder what a machine would find
    there at its next start.
    """

    def __init__(self) -> None:
        self._synced: dict[str, bytearray] = {}
        self._unsynced: dict[str, list[tuple[int, bytes | None]]] = {}
        super().__init__()

    def cut_power(self, *, at: int = 1) -> None:
        """From the `at`-th call on nothing reaches the disk any more."""
        self.fail(Fault.IO_ERROR, at=at, times=None)

    def leave(self, folder: Path, dice: random.Random) -> None:
        """Write every file as a cut leaves it: each unsynced write kept, lost or torn by dice."""
        for path, synced in self._synced.items():
            image = bytearray(synced)
            for offset, data in self._unsynced[path]:
                fate = dice.random()
                if data is None:
                    if fate < 0.5:
                        del image[offset:]
                    continue
                sectors = -(-len(data) // SECTOR_BYTES)
                kept = sectors if fate < 0.4 else 0 if fate < 0.8 else dice.randrange(sectors)
                _put(image, data[: kept * SECTOR_BYTES], offset)
            (folder / Path(path).name).write_bytes(image)

    def file(
        self, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """A file that remembers what was synced."""
        if path not in self._synced:
            there = Path(path)
            self._synced[path] = bytearray(there.read_bytes() if there.exists() else b"")
            self._unsynced[path] = []
        return _ForgetfulFile(self, path, name, flags)

    def wrote(self, path: str, offset: int, data: bytes | None) -> None:
        """Note a write, or with None a truncation, that no sync has covered yet."""
        self._unsynced[path].append((offset, data))

    def synced(self, path: str) -> None:
        """All noted writes of a file are safe now."""
        image = self._synced[path]
        for offset, data in self._unsynced[path]:
            if data is None:
                del image[offset:]
            else:
                _put(image, data, offset)
        self._unsynced[path].clear()

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 -- SQLite's signature
        """A deletion counts at once: SQLite syncs the folder where it matters."""
        super().xDelete(filename, syncdir)
        self._synced.pop(filename, None)
        self._unsynced.pop(filename, None)


class _ForgetfulFile(FaultyFile):
    disk: ForgetfulDisk

    def xWrite(self, data: bytes | memoryview, offset: int) -> None:  # noqa: N802 -- SQLite's name
        super().xWrite(data, offset)
        self.disk.wrote(self.path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 -- SQLite's name
        super().xTruncate(newsize)
        self.disk.wrote(self.path, newsize, None)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
        super().xSync(flags)
        self.disk.synced(self.path)


def _put(image: bytearray, data: bytes, offset: int) -> None:
    if data and len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data
