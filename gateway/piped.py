"""Programs whose standard output is read by `head`: a reader who has had enough is no failure.

Owns what happens when nobody reads any more: the rest is let go, without a traceback.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import TextIO

READER_LEFT = 141
"""Exit code of what was broken off because nobody read it: 128 and SIGPIPE, as of shells' tools."""


def piped(main: Callable[[], int]) -> int:
    """Run a program's main; its exit code, or READER_LEFT when that came in between.

    A BrokenPipeError of anything but standard output comes out as it is.
    """
    code = READER_LEFT
    try:
        code = main()
    except BrokenPipeError:
        if not unread(sys.stdout):
            raise
    finally:
        _last_words()
    return code


def unread(stream: TextIO) -> bool:
    """True when the other end of the pipe that a stream writes to is closed."""
    watch = select.poll()
    watch.register(stream.fileno(), 0)
    return any(state & select.POLLERR for _, state in watch.poll(0))


def hush(stream: TextIO) -> None:
    """From now on let go of what is written there, and of what waits in its buffer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _last_words() -> None:
    """Python flushes once more when it ends, where nobody can catch what comes of it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        hush(sys.stdout)
