"""The floor of a drain: a publisher of bytes that were sealed before, a consumer that commits them.

`publish` reads the same tokens from the same file and publishes them with QoS 1, as many in flight
as the broker takes; no settling, no receipts. `consume` commits what comes in batches with
`synchronous=FULL`; nothing is verified. Neither shares code with the product.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import paho.mqtt.client as mqtt

from benchmarks.least import connected

IN_FLIGHT = 100
BATCH = 500
COMMITS_APART_S = 0.02
TOPIC = "qorgan/v1/least/security/alarm"


def tokens(path: Path) -> Iterator[bytes]:
    """The sealed messages of a ledger, in order."""
    db = apsw.Connection(str(path))
    for (token,) in db.execute("SELECT token FROM message ORDER BY key"):
        yield token


class Publisher:
    """Keeps IN_FLIGHT publishes on the way."""

    def __init__(self, client: mqtt.Client, path: Path) -> None:
        self._client = client
        self._tokens = tokens(path)
        self._waiting = 0
        client.on_publish = self._published

    def _published(self, *_: object) -> None:
        self._waiting -= 1
        if self._waiting == IN_FLIGHT // 2:  # paho writes nothing from inside a callback
            asyncio.get_running_loop().call_soon(self.fill)

    def fill(self) -> None:
        """Publish what there is room for."""
        while self._waiting < IN_FLIGHT:
            token = next(self._tokens, None)
            if token is None:
                return
            self._client.publish(TOPIC, token, qos=1)
            self._waiting += 1


class Consumer:
    """Commits on the loop, a batch at a time, and says when it has them all."""

    def __init__(self, client: mqtt.Client, path: Path, count: int) -> None:
        self._db = apsw.Connection(str(path))
        for name, value in (("locking_mode", "EXCLUSIVE"), ("journal_mode", "WAL")):
            self._db.pragma(name, value)
        self._db.pragma("synchronous", "FULL")
        self._db.execute("CREATE TABLE message (number INTEGER PRIMARY KEY, token BLOB) STRICT")
        self._left = count
        self._came: list[tuple[bytes]] = []
        self._committing = False
        client.on_message = self._take
        client.subscribe(TOPIC, 1)

    def _take(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._came.append((bytes(message.payload),))
        if not self._committing:
            self._committing = True
            asyncio.get_running_loop().call_later(COMMITS_APART_S, self._commit)

    def _commit(self) -> None:
        batch, self._came = self._came[:BATCH], self._came[BATCH:]
        with self._db:
            self._db.executemany("INSERT INTO message (token) VALUES (?)", batch)
        self._left -= len(batch)
        if self._left <= 0:
            print(time.monotonic_ns(), flush=True)
        self._committing = bool(self._came)
        if self._came:
            asyncio.get_running_loop().call_later(COMMITS_APART_S, self._commit)


async def run(options: argparse.Namespace) -> None:
    """Until SIGTERM; `publish` begins with a line on standard input and says when that was."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    client = await connected(options, options.user, IN_FLIGHT)
    if options.mode == "publish":
        publisher = Publisher(client, options.ledger)

        def begin() -> None:
            if os.read(sys.stdin.fileno(), 64):
                print(time.monotonic_ns(), flush=True)
                publisher.fill()
            else:
                stopping.set()

        loop.add_reader(sys.stdin, begin)
    else:
        Consumer(client, options.ledger, options.count)
    print("ready", flush=True)
    await stopping.wait()
    client.disconnect()


def main() -> None:
    """`python -m benchmarks.least_drain publish|consume`: a child of `drain`, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.least_drain", description=__doc__)
    parser.add_argument("mode", choices=("publish", "consume"))
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mqtt", choices=("5", "3.1.1"), default="5")
    parser.add_argument("--user", required=True, help="whose certificate it shows")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--count", type=int, default=0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
