"""A site whose points all hang on one line, and the daemon of it: for `flips.py` and `idle.py`.

The configuration is the simulated school's with its points replaced; the rest is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from benchmarks.stage import Program, Stage, running
from simulators.site import SIMULATED

BAUD, BITS, POLL_MS = 115_200, 11, 50
"""Eight units at 50 ms need a fast line: an exchange takes 2.1 ms beside what the unit thinks."""
ANSWER_US = 2_000
"""A unit thinks so long: eight of them are asked in 33 of 50 ms."""
LINK = "ttyBENCH"
COUNTER = 60
"""Where a WB-MCM8 counts closings."""


def template(units: int, profile: str) -> str:
    """A configuration with a panic button at the first input of each unit."""
    text = SIMULATED.read_text(encoding="utf-8")
    head, _, rest = text.partition("\nbuses:")
    _, _, tail = rest.partition("\nuplinks:")
    tail, _, _ = tail.partition("\nreactions:")
    numbers = range(1, units + 1)
    line = f"{{port: /dev/{LINK}, baud: {BAUD}, parity: none, stop_bits: {BITS - 9}}}"
    lines = [head, "buses:", f"  line: {line}", "devices:"]
    lines += [
        f"  unit-{n}: {{bus: line, unit: {n}, profile: {profile}, poll: {POLL_MS}ms}}"
        for n in numbers
    ]
    lines.append("points:")
    for n in numbers:
        lines += [f"  button-{n}:", "    kind: panic"]
        lines += [f"    input: {{normally_open: unit-{n}/input-1}}"]
        lines += [f"    place: {{building: A, floor: 1, room: Room {n}}}"]
    return "\n".join([*lines, f"uplinks:{tail}", ""])


@contextlib.asynccontextmanager
async def line(units: int) -> AsyncIterator[tuple[Program, str]]:
    """A slave with so many units, and the name of its terminal."""
    command = ["-m", "benchmarks.slave", "--baud", str(BAUD), "--bits", str(BITS)]
    command += ["--units", str(units), "--answer-us", str(ANSWER_US), "--counter", str(COUNTER)]
    async with running("slave", command) as slave:
        yield slave, await slave.ask()


def plug(stage: Stage, port: str) -> None:
    """Let the daemon of a stage find its line there."""
    link = stage.site.directory / LINK
    link.unlink(missing_ok=True)
    link.symlink_to(port)


def least(stage: Stage, port: str, units: int) -> list[str]:
    """The command line of the least program on a line."""
    command = ["-m", "benchmarks.least_bus", "--site", str(stage.site.directory)]
    command += ["--port", str(stage.broker.port), "--mqtt", stage.mqtt, "--line", port]
    return [*command, "--baud", str(BAUD), "--bits", str(BITS), "--units", str(units)]
