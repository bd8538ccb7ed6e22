"""Lines that somebody types or a program writes, as they come, on the loop and without a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

LINE_MAX_BYTES = 4_096
"""A longer line is nobody's typing: what there is of it is let go."""


class Keyboard:
    """Reads lines from a file descriptor until its end; `stop` ends it earlier."""

    def __init__(self, descriptor: int, on_line: Callable[[str], None]) -> None:
        """Begin to read, on the running loop. A plain file is read to its end at once."""
        self._descriptor = descriptor
        self._on_line = on_line
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self.open = True
        try:
            self._loop.add_reader(descriptor, self._ready)
        except PermissionError:  # epoll takes no plain file and no /dev/null: they never wait
            while self.open:
                self._ready()

    def stop(self) -> None:
        """Read no more."""
        if self.open:
            self.open = False
            self._loop.remove_reader(self._descriptor)

    def _ready(self) -> None:
        try:
            found = os.read(self._descriptor, LINE_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a terminal that hung up
            found = b""
        if not found:
            self.stop()
            if self._rest:
                self._on_line(self._rest.decode(errors="replace"))
            return
        *lines, rest = (self._rest + found).split(b"\n")
        self._rest = rest if len(rest) <= LINE_MAX_BYTES else b""
        for line in lines:
            if self.open:
                self._on_line(line.decode(errors="replace"))
