"""The gateway with a defect in what it does with its disk, so that the campaign can be seen to see.

    python -m campaigns.kill.planted DEFECT --config F --control S [--held POINT …]

forgetful: a start forgets what is owed. oblivious: a start forgets which alarms are open. hasty:
an entry counts as written at once and is written 150 ms later.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.core.model import Message, StreamKey
from gateway.record.disk import ThreadedDisk
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer
from gateway.restart import Held
from gateway.seams import Disk
from simulators.run import run

T = TypeVar("T")

HASTE_S = 0.15


class Passing:
    """A Writer that passes everything on. What differs is in those that derive from it."""

    def __init__(self, inner: Writer) -> None:
        self.inner = inner

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """As Writer.append."""
        return self.inner.append(entry)

    def settle(self, key: StreamKey, ranges: list[tuple[int, int]], utc_ms: int) -> None:
        """As Writer.settle."""
        self.inner.settle(key, ranges, utc_ms)

    def read(self, key: StreamKey, first: int, last: int) -> asyncio.Future[list[Message]]:
        """As Writer.read."""
        return self.inner.read(key, first, last)

    def call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        """As Writer.call."""
        return self.inner.call(lambda ledger: cast("T", self.seen(fn(ledger))))

    def seen(self, found: Any) -> Any:
        """What a question to the ledger brings."""
        return found

    async def stop(self, *, within_s: float) -> bool:
        """As Writer.stop."""
        return await self.inner.stop(within_s=within_s)

    @property
    def backlog(self) -> int:
        """As Writer.backlog."""
        return self.inner.backlog

    @property
    def dropped(self) -> int:
        """As Writer.dropped."""
        return self.inner.dropped


class Forgetful(Passing):
    """A start owes nothing."""

    def seen(self, found: Any) -> Any:
        """Without debts."""
        return replace(found, owed={}, owed_alarms=[]) if isinstance(found, Held) else found


class Oblivious(Passing):
    """A start knows of no open alarm."""

    def seen(self, found: Any) -> Any:
        """Without open alarms."""
        return replace(found, open_events=[]) if isinstance(found, Held) else found


class Hasty(Passing):
    """Says that it is written, and writes it a moment later."""

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """Done before it is done."""
        loop = asyncio.get_running_loop()
        loop.call_later(HASTE_S, self._write, entry)
        done: asyncio.Future[None] = loop.create_future()
        done.set_result(None)
        return done

    def _write(self, entry: Entry) -> None:
        self.inner.append(entry).add_done_callback(lambda future: future.exception())


DEFECTS: dict[str, type[Passing]] = {
    "forgetful": Forgetful,
    "hasty": Hasty,
    "oblivious": Oblivious,
}


class Planted(ThreadedDisk):
    """The real disk behind a writer with a defect."""

    def __init__(self, path: str, *, defect: type[Passing]) -> None:
        super().__init__(path)
        self._defect = defect

    async def open(self, **how: Any) -> tuple[Writer, Ledger]:
        """As `seams.Disk.open`."""
        writer, ledger = await super().open(**how)
        return self._defect(writer), ledger


def planted(defect: type[Passing]) -> Callable[[str], Disk]:
    """Makes the disk of each start."""
    return partial(Planted, defect=defect)


def main() -> int:
    """Run the daemon with that defect; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m campaigns.kill.planted", description=__doc__)
    parser.add_argument("defect", choices=sorted(DEFECTS))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--control", type=Path, required=True)
    parser.add_argument("--held", action="append", default=[])
    told = parser.parse_args()
    disk = planted(DEFECTS[told.defect])
    return asyncio.run(run(told.config, told.control, held=told.held, disk=disk))


if __name__ == "__main__":
    sys.exit(main())
