"""Lets a far end be ended: SIGTERM and Ctrl-C ask it to leave, and a while later make it.

Owns those two signals and SIGALRM of the process. What leaving takes is the program's own business;
that it ends is not left to it: a name server, a disk or a reader of its output may stand still.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

LEAVE_WITHIN_S = 12.0
"""Longer than all that is waited for on the way out: a goodbye to a broker that stands still (3 s),
and an attempt to connect that is under way (5 s for TCP, then 4 s for TLS)."""

FORCED = 1
"""Exit code of a program that had to be ended."""


def ask_to_leave(leave: Callable[[], object], *, within_s: float = LEAVE_WITHIN_S) -> None:
    """From now on SIGTERM and SIGINT call `leave` on the running loop, once.

    A second one ends the process at once, as if it had never been caught; so does the end of
    `within_s`, with a line that says so and exit code 1.
    """
    loop = asyncio.get_running_loop()

    def told(_number: int, _frame: object) -> None:
        # not the loop's own handlers: they do not come to their turn while a write stands still
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, _force)
        signal.setitimer(signal.ITIMER_REAL, within_s)
        loop.call_soon_threadsafe(leave)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def _force(_number: int, _frame: object) -> None:
    os.write(2, b"ended by force: it was told to leave, and something it waits for stands still\n")
    os._exit(FORCED)
