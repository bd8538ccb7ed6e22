"""A process of ours on a disk that stands still: nothing it syncs ever returns, and nothing fails.

`python -m tests.stuck_disk MODULE …` runs a module of ours so: from its beginning with STUCK=always
in its environment, else from SIGUSR1 on.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

import apsw

STUCK = "STUCK"


class StandingStill(apsw.VFS):
    """The machine's own disk, whose syncs return as long as `flowing` is set."""

    def __init__(self) -> None:
        """Take the place of SQLite's default, for what knows no other."""
        self.flowing = threading.Event()
        self.flowing.set()
        super().__init__("standing-still", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's name
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: StandingStill, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
        self._disk.flowing.wait()
        super().xSync(flags)


if __name__ == "__main__":
    disk = StandingStill()
    if os.environ.get(STUCK) == "always":
        disk.flowing.clear()
    signal.signal(signal.SIGUSR1, lambda *_: disk.flowing.clear())
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
