"""A line behind a serial port of this machine that a real master opens: a pseudo-terminal.

Owns the terminal and the link by whose name it is found, which stays the same when the adapter is
pulled out and put back. Bytes and their time are the line's.
"""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from simulators.bus.line import Line

_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdecimal()
}
_SPEED = 5
"""Where tcgetattr tells the speed a port sends at."""
_TERMINALS = "/dev/pts"
"""Where a link left behind by a simulation points; links to real ports (udev's) are left alone."""
_PIECE = 4_096


class PtyLine:
    """A Line at `path`, a symbolic link to a terminal; an async context manager.

    Unplug and plug the Line: who has the port open gets an error, and the link goes and comes.
    """

    def __init__(self, line: Line, path: Path) -> None:
        self.line = line
        self.path = path
        self._ends: tuple[int, int] | None = None

    async def __aenter__(self) -> Self:
        """Make the port. Raises FileExistsError when `path` is not a simulation's own link."""
        ours = self.path.is_symlink() and self.path.readlink().is_relative_to(_TERMINALS)
        if (self.path.exists() or self.path.is_symlink()) and not ours:
            raise FileExistsError(f"{self.path} exists and is no simulation's: name another port")
        self.line.on_plug.append(self._plugged)
        self.line.hear = self._tell
        if self.line.plugged:
            self._plug()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the port away."""
        self.line.on_plug.remove(self._plugged)
        self.line.hear = None
        self._unplug()

    def _plugged(self, plugged: bool) -> None:  # noqa: FBT001 -- as on_plug tells it
        if plugged:
            self._plug()
        else:
            self._unplug()

    def _plug(self) -> None:
        near, far = os.openpty()
        # Our own hold on the far end keeps the port alive while no master has it open.
        tty.setraw(far)
        os.set_blocking(near, False)
        self._ends = near, far
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(far))
        asyncio.get_running_loop().add_reader(near, self._readable, near)

    def _unplug(self) -> None:
        if self._ends is None:
            return
        near, far = self._ends
        self._ends = None
        asyncio.get_running_loop().remove_reader(near)
        os.close(far)
        os.close(near)
        self.path.unlink(missing_ok=True)

    def _readable(self, near: int) -> None:
        with suppress(BlockingIOError):
            data = os.read(near, _PIECE)
            self.line.mistuned = _SPEEDS.get(termios.tcgetattr(near)[_SPEED]) != self.line.baud
            self.line.say(data)

    def _tell(self, data: bytes) -> None:
        """What the master does not fetch in time is lost, as in an adapter that runs over."""
        if self._ends is not None:
            with suppress(BlockingIOError):
                os.write(self._ends[0], data)
