"""A disk that misbehaves on command: an apsw VFS that fails, delays, stalls, tears or forgets.

Every I/O call SQLite makes is counted, so a test can walk through all of them. Nothing here is
random.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import apsw

_serial = itertools.count(1)


class Fault(StrEnum):
    """What a failing call answers."""

    IO_ERROR = "io-error"
    FULL = "full"
    READ_ONLY = "read-only"
    CANNOT_OPEN = "cannot-open"


class Lie(StrEnum):
    """What a disk does that says all is well: nothing at all, or the first half of a write."""

    FORGET = "forget"
    TEAR = "tear"


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
    what: Fault | Lie
    first: int
    last: float
    operations: frozenset[str] | None


class FaultyDisk(apsw.VFS):
    """A VFS over the real file system; open a database with `vfs=disk.name`.

    It may be told anything at any time, from any thread. `sync_delay_s` and `delays_s` slow calls
    down without failing them. A write that fails has written its first half (a torn write; with
    FULL a short one). `struck` is called when a planned call comes, before it misbehaves.
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
        self.struck: Callable[[], None] = lambda: None
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

    def lie(self, lie: Lie, *, at: int = 1) -> None:
        """Only say that the `at`-th call from now on was done. Reads and opens are done."""
        first = self.count + at
        self._plan = _Plan(lie, first, first, None)

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

    def passing(self, operation: str, file: str) -> Lie | None:
        """Count a call, delay it and raise what was planned for it, or say how it is a lie."""
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
            return None
        if plan.operations is not None and operation not in plan.operations:
            return None
        self.struck()
        if isinstance(plan.what, Lie):
            return plan.what
        raise _ERRORS[plan.what](f"planned {plan.what} of {operation}, call {number}")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's name
        """Open through the plan."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self.passing("open", path)
        return FaultyFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 -- SQLite's signature
        """Delete through the plan."""
        if self.passing("delete", filename) is not Lie.FORGET:
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
        """Write through the plan; half of the bytes go in when it fails or is torn."""
        half = bytes(data)[: len(data) // 2]
        try:
            lie = self.disk.passing("write", self.path)
        except apsw.Error:
            super().xWrite(half, offset)
            raise
        if lie is None:
            super().xWrite(data, offset)
        elif lie is Lie.TEAR:
            super().xWrite(half, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 -- SQLite's name
        """Truncate through the plan."""
        if self.disk.passing("truncate", self.path) is not Lie.FORGET:
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
        """Sync through the plan."""
        if self.disk.passing("sync", self.path) is not Lie.FORGET:
            super().xSync(flags)

    def excepthook(self, *_: object) -> bool:
        """As FaultyDisk.excepthook."""
        return True
