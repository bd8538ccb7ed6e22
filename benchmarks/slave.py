"""A line with Modbus units behind a pseudo-terminal, paced to the microsecond: a child of `bus`.

One blocking loop in a process of its own, and no code of the product: a request takes its time on
the line, ends after 3.5 characters of silence, the unit thinks, its answer comes at the line's
pace. A request that begins sooner than 3.5 characters after the last byte is glued to what was
before it, lost, and counted: so a master that keeps no silence shows. Obeys lines on standard
input (see `Slave.obey`).
"""

from __future__ import annotations

import argparse
import ctypes
import heapq
import json
import os
import select
import struct
import sys
import time
import tty
from dataclasses import dataclass, field
from random import Random

SILENT_CHARACTERS = 3.5
HANDOVER_US = 1_000
"""How often an adapter hands over what came in: a full-speed USB frame. The last byte of a frame
is handed over when it is there."""
LATE_US = 150
"""A line that is so late itself says nothing of its master's pace: that cycle is told apart."""
SPUN_US = 150
"""So long before a moment sleeping ends and spinning begins."""
WATCHED_US = 300
"""So long after the end of the silence a request is looked for by spinning, and so long before."""
IDLE_MS = 10.0
"""How often flips are looked at while nobody asks for anything."""
_PR_SET_TIMERSLACK = 29
_CYCLE_MOST_US = 1_000_000
"""A longer pause between two requests is none of the master's polling."""


def now_us() -> int:
    """CLOCK_MONOTONIC."""
    return time.monotonic_ns() // 1_000


def wait_until(at_us: float) -> float:
    """Sleep, then spin; how late it has become (us)."""
    rest_us = at_us - now_us() - SPUN_US
    if rest_us > 0:
        time.sleep(rest_us / 1e6)
    while (late_us := now_us() - at_us) < 0:
        pass
    return late_us


def _crc_row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC = [_crc_row(byte) for byte in range(256)]


def crc(data: bytes) -> bytes:
    """The two bytes that end a frame (MODBUS over Serial Line V1.02, 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


@dataclass(slots=True)
class Unit:
    """Bits and registers; what was never set reads 0. dead: it neither hears nor speaks."""

    discretes: int = 0
    coils: int = 0
    registers: dict[tuple[int, int], int] = field(default_factory=dict)
    dead: bool = False

    def answer(self, pdu: bytes) -> bytes:
        """The answer to a request of function 1 to 6, 15 or 16; exception 1 to any other."""
        function = pdu[0]
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if function in {1, 2}:
            bits = (self.coils if function == 1 else self.discretes) >> address
            size = -(-count // 8)
            return bytes((function, size)) + (bits & (1 << count) - 1).to_bytes(size, "little")
        if function in {3, 4}:
            words = [self.registers.get((function, address + one), 0) for one in range(count)]
            return struct.pack(f">BB{count}H", function, 2 * count, *words)
        if function == 5:
            self.coils = self.coils & ~(1 << address) | bool(count) << address
        elif function == 6:
            self.registers[3, address] = count
        elif function == 16:
            for one, (word,) in enumerate(struct.iter_unpack(">H", pdu[6:])):
                self.registers[3, address + one] = word
        elif function == 15:
            mask = (1 << count) - 1 << address
            self.coils = self.coils & ~mask | int.from_bytes(pdu[6:], "little") << address & mask
        else:
            return bytes((function | 0x80, 1))
        return pdu[:5]

    def flip(self, place: int, *, counter: int | None) -> int:
        """Turn a discrete input over; with a counter at that input register, closings count."""
        self.discretes ^= 1 << place
        level = self.discretes >> place & 1
        if counter is not None and level:
            first = 4, counter + 2 * place
            second = 4, counter + 2 * place + 1
            value = (self.registers.get(first, 0) << 16 | self.registers.get(second, 0)) + 1
            self.registers[first], self.registers[second] = value >> 16, value & 0xFFFF
        return level


class Slave:
    """The line, its units and the terminal they are behind."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._character_us = options.bits * 1e6 / options.baud
        self._silence_us = SILENT_CHARACTERS * self._character_us
        self._answer_us: int = options.answer_us
        self._counter: int | None = options.counter
        self._units = {address: Unit() for address in range(1, options.units + 1)}
        for unit in self._units.values():
            unit.registers.update(REGISTERS)
        self._random = Random(options.seed)
        self._bad = 0.0
        self._lenient = False
        self._near, self._far = os.openpty()
        # Our own hold on the far end keeps the port alive while no master has it open.
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self._poll = select.poll()
        self._poll.register(self._near, select.POLLIN)
        self._poll.register(sys.stdin.fileno(), select.POLLIN)
        self._free_us = 0.0
        self._began_us = 0.0
        self._punctual = True
        self._flips: list[tuple[int, int, int]] = []
        self._pause_us = (0, 0)
        self._ordered: tuple[int, int, int, int] | None = None
        self._due: tuple[int, int, int] | None = None
        self._forget()
        # The kernel may end a sleep 50 us late by default (prctl(2)).
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)

    @property
    def port(self) -> str:
        """Where a master finds the line."""
        return os.ttyname(self._far)

    def _forget(self) -> None:
        self._requests = self._glued = self._damaged = 0
        self._cycles_us: list[int] = []
        self._late_us: list[int] = []
        self._flipped: list[tuple[int, int, int, int]] = []

    # --- what it is told --------------------------------------------------------------------

    def obey(self, line: str) -> str:
        """Do what a line says; the answer, empty when that is said later.

        `flip U I F PHASE` turns input I of unit U over so many microseconds after the next request
        of function F to that unit was looked at, and answers when. `flips LEAST MOST` lets every
        input of every unit flip by itself, so many ms after its last flip. `dead U...`: these units
        are dead from now on, all others live. `bad SHARE`: of all bytes either way, one bit turned.
        `lenient 1`: requests that begin too soon are counted and heard all the same, until
        `lenient 0`. `report`: counts since the last one, as JSON.
        """
        word, *rest = line.split()
        match word:
            case "flip":
                unit, place, function, phase_us = map(int, rest)
                self._ordered = unit, place, function, phase_us
                return ""
            case "flips":
                self._shuffle(*(int(one) * 1_000 for one in rest))
            case "dead":
                dead = {int(one) for one in rest}
                for address, each in self._units.items():
                    each.dead = address in dead
            case "bad":
                self._bad = float(rest[0])
            case "lenient":
                self._lenient = rest == ["1"]
            case "report":
                return self._told()
            case _:
                return f"what is {line!r}?"
        return str(now_us())

    def _shuffle(self, least_us: int, most_us: int) -> None:
        self._pause_us, begin_us = (least_us, most_us), now_us()
        self._flips = [
            (begin_us + self._random.randint(0, most_us), unit, place)
            for unit in self._units
            for place in range(INPUTS)
        ]
        heapq.heapify(self._flips)

    def _told(self) -> str:
        told = {
            "requests": self._requests,
            "glued": self._glued,
            "damaged": self._damaged,
            "late_us": self._late_us,
            "cycles_us": self._cycles_us,
            "flips": self._flipped,
        }
        self._forget()
        return json.dumps(told)

    # --- the line ---------------------------------------------------------------------------

    def run(self) -> None:
        """Until standard input ends."""
        print(self.port, flush=True)
        while True:
            data = self._request()
            if data is None:
                return
            began_us = now_us()
            self._take(data, began_us)

    def _request(self) -> bytes | None:
        """Wait for the first bytes of a request; None when standard input has ended."""
        while True:
            begin_us, end_us = self._free_us - WATCHED_US, self._free_us + WATCHED_US
            at_us = now_us()
            if begin_us <= at_us < end_us:
                found = self._poll.poll(0)
            else:
                timeout = IDLE_MS if at_us >= end_us else max(0.0, begin_us - at_us) / 1e3
                found = self._poll.poll(timeout)
            self._flip_until(now_us())
            for handle, _ in found:
                if handle == self._near:
                    return os.read(self._near, 4_096)
                lines = os.read(handle, 65_536).decode().splitlines()
                if not lines:
                    return None
                for line in lines:
                    answer = self.obey(line)
                    if answer:
                        print(answer, flush=True)

    def _take(self, data: bytes, began_us: int) -> None:
        glued = began_us < self._free_us
        over_us = began_us + len(data) * self._character_us + self._silence_us
        cycle_us = began_us - self._began_us
        self._began_us = began_us
        counts, self._punctual = self._punctual, True
        self._wait(over_us)
        if self._waiting():
            # More came before the silence was over: one frame that is none.
            data += self._drained()
            over_us = now_us() + self._silence_us
            glued = True
        self._free_us = over_us
        self._glued += glued
        if glued and not self._lenient:
            return
        data = self._worn(data)
        unit = self._units.get(data[0])
        if len(data) < 8 or crc(data[:-2]) != data[-2:]:
            self._damaged += 1
            return
        self._requests += 1
        if cycle_us < _CYCLE_MOST_US:
            (self._cycles_us if counts else self._late_us).append(round(cycle_us))
        if unit is None or unit.dead:
            return
        start_us = over_us + self._answer_us
        self._wait(start_us)
        self._flip_until(round(start_us))
        if self._ordered is not None and self._ordered[::2] == (data[0], data[1]):
            self._due = round(start_us) + self._ordered[3], *self._ordered[:2]
            self._ordered = None
        body = data[:1] + unit.answer(data[1:-2])
        self._say(self._worn(body + crc(body)), start_us)

    def _say(self, data: bytes, start_us: float) -> None:
        """Hand an answer over as an adapter does; the line is free 3.5 characters after it."""
        told, character_us = 0, self._character_us
        pieces = max(1, int(HANDOVER_US / character_us))
        while told < len(data):
            end = min(len(data), told + pieces)
            self._wait(start_us + end * character_us)
            os.write(self._near, data[told:end])
            told = end
        self._free_us = start_us + len(data) * character_us + self._silence_us
        if not self._lenient and self._waiting() and now_us() < self._free_us:
            self._drained()
            self._glued += 1

    def _wait(self, at_us: float) -> None:
        if wait_until(at_us) > LATE_US:
            self._punctual = False

    def _waiting(self) -> bool:
        return any(handle == self._near for handle, _ in self._poll.poll(0))

    def _drained(self) -> bytes:
        try:
            return os.read(self._near, 4_096)
        except BlockingIOError:
            return b""

    def _worn(self, data: bytes) -> bytes:
        if not self._bad:
            return data
        random = self._random
        return bytes(
            byte ^ (1 << random.randrange(8) if random.random() < self._bad else 0) for byte in data
        )

    def _flip_until(self, at_us: int) -> None:
        """Inputs that flipped by now did so at their own moment, however late it is looked at."""
        if self._due is not None and self._due[0] <= at_us:
            (due_us, address, place), self._due = self._due, None
            self._units[address].flip(place, counter=self._counter)
            print(due_us, flush=True)
        flips = self._flips
        while flips and flips[0][0] <= at_us:
            due_us, unit, place = flips[0]
            level = self._units[unit].flip(place, counter=self._counter)
            self._flipped.append((due_us, unit, place, level))
            pause_us = self._random.randint(*self._pause_us)
            heapq.heapreplace(flips, (due_us + pause_us, unit, place))


REGISTERS = {(4, 105): 100_000 & 0xFFFF, **{(3, 200 + n): ord(c) for n, c in enumerate("BENCH")}}
"""What a Wiren Board unit says of itself: how long it runs, and its model."""

INPUTS = 8
"""Inputs a unit has that flip by themselves."""


def main(arguments: list[str] | None = None) -> None:
    """`python -m benchmarks.slave`: a child of the benchmarks, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slave", description=__doc__)
    parser.add_argument("--baud", type=int, required=True)
    parser.add_argument("--bits", type=int, default=11, help="of a character; 11: 8N2")
    parser.add_argument("--units", type=int, default=1, help="addresses 1 to this")
    parser.add_argument("--answer-us", type=int, default=1_000, help="a unit thinks so long")
    parser.add_argument("--counter", type=int, help="input register of the first input's counter")
    parser.add_argument("--seed", type=int, default=1)
    Slave(parser.parse_args(arguments)).run()


if __name__ == "__main__":
    main()
