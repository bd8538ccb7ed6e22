"""Opens the ledger behind a writer: on a thread of its own, or inline for virtual time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Limits, Place
from gateway.record.writer import QUEUE_MAX, InlineWriter, ThreadWriter, Writer

OPEN_WITHIN_S = 5.0
"""A disk that has not answered by then is left alone: presses are recorded in memory and sent."""


class ThreadedDisk:
    """The disk of a running gateway. `vfs` names an apsw VFS, for tests that break the disk."""

    def __init__(
        self,
        path: str,
        *,
        vfs: str | None = None,
        within_s: float = OPEN_WITHIN_S,
        limits: Limits | None = None,
    ) -> None:
        self._place = Place(path, vfs, limits or Limits())
        self._within_s = within_s

    async def open(
        self,
        *,
        start: str,
        fresh_id: str,
        boot: str,
        utc_ms: int,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
    ) -> tuple[Writer, Ledger]:
        """As `seams.Disk.open`."""
        begin = Begin(start, fresh_id, boot, utc_ms)
        silent = "the disk does not answer"
        writer = ThreadWriter(
            partial(Ledger.at, self._place, begin),
            memory_open=partial(Ledger.without, self._place, begin, trouble=silent),
            on_trouble=on_trouble,
            on_recovered=on_recovered,
        )
        return writer, await writer.start(within_s=self._within_s)


class InlineDisk:
    """The same ledger on the loop itself: no thread, so that a run replays from its seed."""

    def __init__(
        self,
        path: str,
        *,
        vfs: str | None = None,
        limits: Limits | None = None,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._place = Place(path, vfs, limits or Limits())
        self._queue_max = queue_max

    async def open(
        self,
        *,
        start: str,
        fresh_id: str,
        boot: str,
        utc_ms: int,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
    ) -> tuple[Writer, Ledger]:
        """As `seams.Disk.open`."""
        writer = InlineWriter(
            partial(Ledger.at, self._place, Begin(start, fresh_id, boot, utc_ms)),
            on_trouble=on_trouble,
            on_recovered=on_recovered,
            queue_max=self._queue_max,
        )
        return writer, await writer.start(within_s=0)
