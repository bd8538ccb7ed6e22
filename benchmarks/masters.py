"""Masters that ask one unit for two registers as fast as the line lets them: children of `bus`.

`wire` is the product's own serial port and wire. `least` is the least program that keeps the
silences: blocking, no event loop, nothing checked but the CRC. `bare` is pymodbus alone, which
keeps none. Each opens the port at `go SECONDS`, closes it, and says what it counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import sys
import time
import tty
from collections.abc import Callable

UNIT, ADDRESS, COUNT = 1, 0, 2
ANSWER_BYTES = 5 + 2 * COUNT
ANSWER_WITHIN_S = 0.3

Counted = tuple[int, int]
"""Requests, and how many of those had no good answer."""


def least(port: str, baud: int, bits: int, seconds: float) -> Counted:
    """Write, poll, read, sleep through the silence; in one thread that does nothing else."""
    from benchmarks.slave import crc  # noqa: PLC0415 -- not a library: each master loads its own

    silence_s = 3.5 * bits / baud
    body = bytes((UNIT, 3, 0, ADDRESS, 0, COUNT))
    request = body + crc(body)
    line = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(line)
    poll = select.poll()
    poll.register(line, select.POLLIN)
    asked = failed = 0
    end_s = time.monotonic() + seconds
    time.sleep(silence_s)
    while time.monotonic() < end_s:
        os.write(line, request)
        asked += 1
        answer, within_s = b"", time.monotonic() + ANSWER_WITHIN_S
        while len(answer) < ANSWER_BYTES and time.monotonic() < within_s:
            if poll.poll(50):
                answer += os.read(line, 64)
        quiet_s = time.monotonic() + silence_s
        failed += len(answer) != ANSWER_BYTES or crc(answer[:-2]) != answer[-2:]
        rest_s = quiet_s - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)
    os.close(line)
    return asked, failed


async def wire(port: str, baud: int, bits: int, seconds: float) -> Counted:
    """The product: SerialPort and Wire, one exchange after the other."""
    from drivers.modbus.wire.ports import open_port  # noqa: PLC0415 -- each master loads its own
    from drivers.modbus.wire.request import Read, ReplyKind  # noqa: PLC0415 -- as above
    from drivers.modbus.wire.wire import Wire  # noqa: PLC0415 -- as above
    from gateway.clock import SystemClock  # noqa: PLC0415 -- as above
    from gateway.core.hardware import Bus, Transport  # noqa: PLC0415 -- as above
    from gateway.core.profile import Table, Timing  # noqa: PLC0415 -- as above

    clock = SystemClock()
    bus = Bus("bench", Transport.RTU, port=port, baud=baud, stop_bits=bits - 9)
    owned = Wire(bus, open_port(bus, clock), clock)
    await owned.open()
    asked = failed = 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        reply = await owned.exchange(UNIT, Read(Table.HOLDING, ADDRESS, COUNT), timing=Timing())
        asked += 1
        failed += reply.kind is not ReplyKind.ANSWERED
    owned.close()
    return asked, failed


async def bare(port: str, baud: int, bits: int, seconds: float) -> Counted:
    """pymodbus's own client, one read after the other."""
    from pymodbus.client import AsyncModbusSerialClient  # noqa: PLC0415 -- as above
    from pymodbus.exceptions import ModbusException  # noqa: PLC0415 -- as above

    client = AsyncModbusSerialClient(
        port, baudrate=baud, stopbits=bits - 9, timeout=ANSWER_WITHIN_S, retries=0
    )
    await client.connect()
    asked = failed = 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        asked += 1
        try:
            reply = await client.read_holding_registers(ADDRESS, count=COUNT, device_id=UNIT)
            failed += reply.isError()
        except ModbusException:
            failed += 1
            client.close()
            await client.connect()
    client.close()
    return asked, failed


MASTERS: dict[str, Callable[[str, int, int, float], Counted]] = {
    "wire": lambda *how: asyncio.run(wire(*how)),
    "least": least,
    "bare": lambda *how: asyncio.run(bare(*how)),
}


def main() -> None:
    """`python -m benchmarks.masters wire|least|bare`: a child of the benchmarks, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.masters", description=__doc__)
    parser.add_argument("master", choices=MASTERS)
    chosen = parser.parse_args()
    print("ready", flush=True)
    for line in sys.stdin:
        _, port, baud, bits, seconds = line.split()
        cpu_s = time.process_time()
        asked, failed = MASTERS[chosen.master](port, int(baud), int(bits), float(seconds))
        cpu_s = time.process_time() - cpu_s
        print(json.dumps({"asked": asked, "failed": failed, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
