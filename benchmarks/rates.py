"""How much of a line's own limit a master reaches, the silences kept: three masters in turns.

One line and three masters at each speed. They take short turns, again and again, so that whatever
else the machine does hits all three. A share is that of the middle cycle, from one request to the
next; cycles in which the line itself was late are left out, unless there are no others.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.stage import Program, Trouble, running, say
from benchmarks.table import Figure, at_least, at_most, told

GOALS = {9_600: 95.0, 19_200: 95.0, 115_200: 90.0}
"""Per cent of the limit, by baud."""

CHARACTERS = 8 + 3.5 + 9 + 3.5
"""A read of two registers, the silence that ends it, its answer, and the silence after that."""

BITS = 11
"""Of a character: 8N2, the factory setting of most units."""

ANSWER_US = 5_000
"""A unit thinks so long: the quickest that was measured of real units (4.5 to 6.9 ms)."""

WARM_UP_S = 0.2
"""Imports and page faults are nobody's poll rate."""

MASTERS = ("wire", "least", "bare")


@dataclass(slots=True)
class Turns:
    """What one master did at one speed. late_us: cycles in which the line itself was late."""

    cycles_us: list[int] = field(default_factory=list)
    late_us: list[int] = field(default_factory=list)
    asked: int = 0
    failed: int = 0
    glued: int = 0
    cpu_s: float = 0.0


def limit_us(baud: int, answer_us: int = ANSWER_US) -> float:
    """The least an exchange can take on the line."""
    return CHARACTERS * BITS * 1e6 / baud + answer_us


async def turn(
    slave: Program, master: Program, port: str, baud: int, seconds: float, *, lenient: bool
) -> Turns:
    """Let a master have the line for a while."""
    await slave.ask(f"lenient {int(lenient)}")
    said = await master.ask(f"go {port} {baud} {BITS} {seconds:g}")
    seen = json.loads(await slave.ask("report"))
    counted = json.loads(said)
    return Turns(
        seen["cycles_us"],
        seen["late_us"],
        counted["asked"],
        counted["failed"],
        seen["glued"],
        counted["cpu_s"],
    )


async def measure(turns: int, seconds: float) -> dict[tuple[int, str], Turns]:
    """All speeds, all masters, turn by turn."""
    found = {(baud, name): Turns() for baud in GOALS for name in MASTERS}
    async with AsyncExitStack() as stack:
        masters: dict[str, Program] = {}
        for name in MASTERS:
            command = ["-m", "benchmarks.masters", name]
            masters[name] = await stack.enter_async_context(running(name, command))
            await masters[name].ask()
        for baud in GOALS:
            command = ["-m", "benchmarks.slave", "--baud", str(baud), "--bits", str(BITS)]
            command += ["--answer-us", str(ANSWER_US)]
            async with running("slave", command) as slave:
                port = await slave.ask()
                for name in MASTERS:
                    await turn(slave, masters[name], port, baud, WARM_UP_S, lenient=True)
                for _ in range(turns):
                    for name in MASTERS:
                        had = await turn(
                            slave, masters[name], port, baud, seconds, lenient=name == "bare"
                        )
                        _add(found[baud, name], had)
            say(f"{baud} baud: {turns} turns of {seconds:g} s each")
    return found


def _add(to: Turns, had: Turns) -> None:
    to.cycles_us += had.cycles_us
    to.late_us += had.late_us
    to.asked += had.asked
    to.failed += had.failed
    to.glued += had.glued
    to.cpu_s += had.cpu_s


def figures(found: dict[tuple[int, str], Turns], goals: dict[int, float]) -> list[Figure]:
    """Shares of the limit beside the goal and beside the others."""
    rows: list[Figure] = []
    for baud, goal in goals.items():
        of = {name: found[baud, name] for name in MASTERS}
        for name, turns in of.items():
            if not turns.cycles_us and not turns.late_us:
                raise Trouble(f"{name} does not ask the unit at {baud} baud")
        limit = 100 * limit_us(baud)
        shares = {
            name: limit / median(turns.cycles_us or turns.late_us) for name, turns in of.items()
        }
        where = f"{baud} baud: "
        wire, bare, asked = of["wire"], of["bare"], of["wire"].asked
        late = sum(len(turns.late_us) for turns in of.values())
        cycles = late + sum(len(turns.cycles_us) for turns in of.values())
        ratio = shares["wire"] / shares["least"]
        rows += [
            at_least(f"{where}Qorgan, share of the line's limit", shares["wire"], goal, "%"),
            told(f"{where}least master that keeps silences", shares["least"], "%"),
            told(f"{where}bare pymodbus, keeps none", shares["bare"], "%"),
            told(f"{where}Qorgan / least master", ratio, "x"),
            at_most(f"{where}Qorgan's requests sent too soon", wire.glued, 0, of=asked),
            told(f"{where}bare pymodbus's requests sent too soon", bare.glued, of=bare.asked),
            at_most(f"{where}Qorgan's requests without an answer", wire.failed, 0, of=asked),
            told(f"{where}cycles in which the line was late", late, of=cycles),
            told(f"{where}Qorgan, CPU an exchange", 1e6 * wire.cpu_s / asked, "us"),
        ]
    return rows
