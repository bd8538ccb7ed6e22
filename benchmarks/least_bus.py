"""The least program with units on a line: what Qorgan's flips and idle cost are multiples of.

`publish` looks at one input as often as Qorgan does and publishes a change, unsigned, unstored.
`idle` asks eight units at the same pace and keeps the same connection alive. Both keep the
silences and check the CRC, and do nothing else. Shares no code with the product.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import tty
from pathlib import Path

from paho.mqtt.client import Client

from benchmarks.least import BEAT_BYTES, BEAT_EVERY_S, BEATS, NAME, connected, message
from benchmarks.slave import crc

ANSWER_BYTES = 6
"""Unit, function, count, eight inputs, CRC."""
ANSWER_WITHIN_S = 0.3


class Line:
    """A terminal on the running loop: one question at a time."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._line = os.open(options.line, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._line)
        self._silence_s = 3.5 * options.bits / options.baud
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._line, self._readable)
        self._heap = b""
        self._whole: asyncio.Future[None] | None = None
        self._free_s = 0.0

    def _readable(self) -> None:
        self._heap += os.read(self._line, 256)
        if len(self._heap) >= ANSWER_BYTES and self._whole is not None and not self._whole.done():
            self._whole.set_result(None)

    async def ask(self, request: bytes) -> int | None:
        """The first eight inputs of a unit as bits; None when it does not answer well."""
        rest_s = self._free_s - self._loop.time()
        if rest_s > 0:
            await asyncio.sleep(rest_s)
        self._heap, self._whole = b"", self._loop.create_future()
        os.write(self._line, request)
        timer = self._loop.call_later(ANSWER_WITHIN_S, self._whole.cancel)
        try:
            await self._whole
        except asyncio.CancelledError:
            return None
        finally:
            timer.cancel()
            self._free_s = self._loop.time() + self._silence_s
        good = crc(self._heap[:-2]) == self._heap[-2:]
        return self._heap[3] if good else None


def asking(unit: int) -> bytes:
    """A read of a unit's first eight discrete inputs."""
    body = bytes((unit, 2, 0, 0, 0, 8))
    return body + crc(body)


async def poll(client: Client, options: argparse.Namespace) -> None:
    """Ask all units once a period; a change of the first input is a message."""
    line, loop = Line(options), asyncio.get_running_loop()
    requests = [asking(unit) for unit in range(1, options.units + 1)]
    period_s, next_s, beat_s = options.poll_ms / 1e3, loop.time(), loop.time()
    shown: dict[int, int] = {}
    sequence, beat = 0, b"." * BEAT_BYTES
    topic = f"qorgan/v1/{NAME}/security/alarm"
    while True:
        for unit, request in enumerate(requests):
            bits = await line.ask(request)
            if bits is None or bits == shown.get(unit):
                continue
            if unit in shown and bits & 1:
                sequence += 1
                client.publish(topic, json.dumps(message(sequence)).encode(), qos=1)
            shown[unit] = bits
        if loop.time() >= beat_s:
            beat_s += BEAT_EVERY_S
            for _ in range(BEATS):
                client.publish(f"qorgan/v1/{NAME}/security/heartbeat", beat, qos=0)
        next_s += period_s
        await asyncio.sleep(max(0.0, next_s - loop.time()))


async def run(options: argparse.Namespace) -> None:
    """Until SIGTERM."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    client = await connected(options)
    polling = loop.create_task(poll(client, options))
    polling.add_done_callback(lambda _: stopping.set())
    print("ready", flush=True)
    await stopping.wait()
    polling.cancel()
    client.disconnect()
    await asyncio.gather(polling, return_exceptions=False)


def main() -> None:
    """`python -m benchmarks.least_bus`: a child of the benchmarks, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.least_bus", description=__doc__)
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="the broker's")
    parser.add_argument("--mqtt", choices=("5", "3.1.1"), default="5")
    parser.add_argument("--line", required=True, help="the terminal")
    parser.add_argument("--baud", type=int, required=True)
    parser.add_argument("--bits", type=int, default=11)
    parser.add_argument("--units", type=int, default=1)
    parser.add_argument("--poll-ms", type=int, default=50)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
