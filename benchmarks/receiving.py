"""A centre in a process of its own, asked by lines on standard input: a child of `drain`.

The simulated centre as `simulators centre` runs it, its store on disk and FULL-synced. It answers
when what is asked for has come, with CLOCK_MONOTONIC nanoseconds, and closes every panic alarm that
it has stored: the next press then raises a new one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.config.child import load
from gateway.core.model import AlarmState, Stream
from gateway.keys import load_signing_key, load_verify_key
from simulators.centre.client import CentreClient
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Mark, Outcome, Verdict
from simulators.centre.link import Access
from simulators.centre.store import CentreStore

PANIC = "alarm.panic."


@dataclass(slots=True)
class Counted:
    """What came, of what was owed before the start by stream.

    log_before_alarm: log that had come when the last owed alarm came. disorder: below a number of
    its stream that had come. broken: the chain did not fit.
    """

    new: int = 0
    copies: int = 0
    refused: int = 0
    alarms: int = 0
    log: int = 0
    log_before_alarm: int = 0
    disorder: int = 0
    broken: int = 0


class Attendant:
    """Counts what is verified, and tells when something awaited has come."""

    def __init__(self) -> None:
        """`client` is given before it runs."""
        self.client: CentreClient
        self.counted = Counted()
        self._last: dict[Stream, int] = {}
        self._awaited: dict[str, asyncio.Future[int]] = {}

    def moment(self, name: str) -> asyncio.Future[int]:
        """The nanosecond of the next (first) event of that name since `expect` was said of it."""
        return self._awaited.setdefault(name, asyncio.get_running_loop().create_future())

    def expect(self) -> None:
        """Forget the last press."""
        self._awaited.pop("raised", None)
        self._awaited.pop("cleared", None)
        self.moment("raised")
        self.moment("cleared")

    def happened(self, name: str) -> None:
        """Note the moment, unless it is known."""
        future = self.moment(name)
        if not future.done():
            future.set_result(time.monotonic_ns())

    def line(self, verdict: Verdict) -> None:
        """A message was verified."""
        message, counted = verdict.message, self.counted
        assert message is not None
        if message.type.startswith(PANIC):
            self.happened(message.type.rpartition(".")[2])
        if verdict.outcome is Outcome.COPY:
            counted.copies += 1
            return
        counted.new += 1
        if message.key.epoch == 1:  # owed from before
            self.happened("first")
            log = message.key.stream is Stream.LOG
            counted.log += log
            counted.alarms += not log
            if not log:
                counted.log_before_alarm = counted.log
            counted.disorder += message.sequence < self._last.get(message.key.stream, 0)
            self._last[message.key.stream] = message.sequence
        counted.broken += Mark.BROKEN_CHAIN in verdict.marks

    def stored(self, verdict: Verdict) -> None:
        """It is on disk: somebody answers a press at once."""
        row = verdict.row
        if row is not None and row.type == f"{PANIC}raised" and row.alarm is not None:
            self.client.say(row.alarm, AlarmState.CLOSED)

    def refused(self, why: str, gateway: str, uplink: str, at_ms: int) -> None:
        """Something was not believed."""
        print(why, gateway, uplink, at_ms, file=sys.stderr)
        self.counted.refused += 1

    def link(self, uplink: str, text: str) -> None:
        """A connection came or went."""
        del uplink
        if text == "up":
            self.happened("up")

    async def answer(self, line: str) -> str:
        """What a line asks for, once it is so."""
        match line:
            case "expect":
                self.expect()
                return "ok"
            case "report":
                return json.dumps(asdict(self.counted))
            case "up" | "first" | "raised" | "cleared":
                return str(await self.moment(line))
        return f"what is {line!r}?"


async def run(options: argparse.Namespace) -> int:
    """Until SIGTERM or the end of standard input."""
    premises = (await load(options.config)).premises
    if premises is None:
        return 3
    folder: Path = options.config.parent
    desk = Attendant()
    store = CentreStore(options.db, options.route)
    key = load_verify_key(folder / "gateway.pub.jwk")
    signer = load_signing_key(folder / f"{options.route}.key.jwk")
    core = CentreCore(options.route, {premises.gateway: [key]}, signer)
    desk.client = CentreClient(
        core,
        store,
        gateways=[premises.gateway],
        uplinks=premises.uplinks,
        access=Access(folder / f"{options.route}.pem"),
        on_line=desk.line,
        on_stored=desk.stored,
        on_refused=desk.refused,
        on_link=desk.link,
    )
    loop, leave = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    answering: set[asyncio.Task[None]] = set()

    async def say(line: str) -> None:
        print(await desk.answer(line), flush=True)

    def told() -> None:
        lines = os.read(sys.stdin.fileno(), 4_096).decode().splitlines()
        for line in lines:
            task = loop.create_task(say(line))
            answering.add(task)
            task.add_done_callback(answering.discard)
        if not lines:
            leave.set()

    loop.add_reader(sys.stdin, told)
    running = loop.create_task(desk.client.run())
    running.add_done_callback(lambda _: leave.set())
    print("ready", flush=True)
    await leave.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    store.close()
    return 0


def main() -> int:
    """`python -m benchmarks.receiving`: a child of `drain`, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiving", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--route", default="security")
    parser.add_argument("--db", type=Path, required=True)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
