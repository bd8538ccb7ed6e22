"""Fills a ledger with messages that one route is owed: what is left of a long outage.

Through the ledger's own writing half, sealed and chained as the recorder does it, in large batches.
A tenth is of the alarm stream: fire alarms that were raised and cleared while nobody heard it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.config.child import load
from gateway.core.jws import SigningKey
from gateway.core.kinds import stream_of
from gateway.core.message import Head, seal_message, uuid7
from gateway.core.model import Event, Json, Stamp, Stream, StreamKey
from gateway.core.premises import Premises, Route
from gateway.keys import load_signing_key
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger

BATCH = 1_000
"""Entries in one transaction."""

ALARM_EVERY = 20
"""One event in so many raises an alarm and one clears it; the others are of the log."""

SEED = 1
DOOR = "main-door"
FIRE = "fire-panel"


class Past:
    """Events as a school tells them, a second apart, with the messages sealed for one route."""

    def __init__(self, premises: Premises, route: Route, signer: SigningKey) -> None:
        """The ledger is opened by `fill`."""
        self._premises = premises
        self._route = route
        self._signer = signer
        self._dice = random.Random(SEED)
        self._heads: dict[Stream, Head] = {}
        self._utc_ms = time.time_ns() // 1_000_000
        self._alarm: str | None = None

    def entries(self, ledger: Ledger, count: int) -> Iterator[Entry]:
        """So many events, each with one message."""
        points = {point.id: point for point in self._premises.points}
        me = ledger.identity
        for number in range(count):
            event = self._event(number, count)
            stream = stream_of(event.type)
            message, self._heads[stream] = seal_message(
                event,
                premises=self._premises,
                route=self._route,
                point=points.get(event.subject),
                key=StreamKey(self._route.id, stream, me.ledger, me.epoch, me.start),
                head=self._heads.get(stream, Head()),
                signer=self._signer,
            )
            yield Entry(event, (message,))

    def _event(self, number: int, count: int) -> Event:
        utc_ms = self._utc_ms - (count - number) * 1_000
        name, place = uuid7(utc_ms, self._dice.randbytes(10)), number % ALARM_EVERY
        kind, subject, alarm = "access.granted", DOOR, None
        data: dict[str, Json] = {"by": "card", "credential": f"{number % 997:08x}"}
        if place == 0 and number + 1 < count:
            kind, subject, alarm, data = "alarm.fire.raised", FIRE, name, {}
            self._alarm = name
        elif place == 1 and self._alarm is not None:
            kind, subject, alarm, data = "alarm.fire.cleared", FIRE, self._alarm, {}
        stamp = Stamp(utc_ms, True, 3, "0b0070ff", number * 1_000)
        return Event(name, kind, subject, stamp, alarm=alarm, data=data)


def fill(path: Path, premises: Premises, route: Route, count: int) -> int:
    """Make the ledger at `path` owe `route` that many messages; how many of them are alarms."""
    signer = load_signing_key(Path(premises.key_file))
    now_ms = time.time_ns() // 1_000_000
    ledger = Ledger.open(
        str(path), start="0ddba115", fresh_id="b0a710ad", boot="0b0070ff", utc_ms=now_ms
    )
    alarms, batch = 0, list[Entry]()
    for entry in Past(premises, route, signer).entries(ledger, count):
        alarms += entry.messages[0].key.stream is Stream.ALARM
        batch.append(entry)
        if len(batch) == BATCH:
            ledger.append(batch)
            ledger.tidy(idle=False)
            batch.clear()
    if batch:
        ledger.append(batch)
    ledger.close()
    return alarms


async def run(options: argparse.Namespace) -> int:
    """Fill and say how many alarms there are among them."""
    premises = (await load(options.config)).premises
    if premises is None:
        return 3
    route = premises.route(options.route)
    print(fill(options.ledger, premises, route, options.count), flush=True)
    return 0


def main() -> int:
    """`python -m benchmarks.owing`: a child of `drain`, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.owing", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--route", default="security")
    parser.add_argument("--count", type=int, required=True)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
