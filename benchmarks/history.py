"""How long history takes to come back to a centre that has lost its store: real processes.

The gateway's ledger is filled with settled messages beforehand; the centre begins with nothing. The
rate is the gateway's own bound, so the goal is to reach it, not to pass it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import ended, parser
from benchmarks.owing import fill
from benchmarks.stage import ROOT, Stage, Trouble, set_up
from benchmarks.table import Figure, at_least, at_most, show, told
from gateway.config.child import load
from gateway.piped import piped
from gateway.record.ledger import Ledger
from gateway.resend import BURST, BURST_EVERY_US

RATE = BURST * 1_000_000 / BURST_EVERY_US
ROUTE = "security"
COUNT, COUNT_QUICK = 10_000, 1_000
BEGIN_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05


def settled(stage: Stage, count: int) -> Path:
    """A ledger with so many messages, all of them receipted long ago."""
    premises = asyncio.run(load(stage.site.config)).premises
    if premises is None:
        raise Trouble("the furnished configuration does not load")
    path = Path(premises.ledger.path)
    fill(path, premises, premises.route(ROUTE), count)
    ledger = Ledger.open(str(path), start="5e771ed0", fresh_id="0" * 8, boot="0" * 8, utc_ms=0)
    for key, ranges in ledger.owed().items():
        ledger.settle(key, ranges, utc_ms=0)
    ledger.close()
    return path


def resident_mb(pid: int) -> float:
    """VmHWM of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in text.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1_024


def moment_of(words: str, path: Path, within_s: float, process: subprocess.Popen[bytes]) -> float:
    """When those words of a process were first seen in a file, on the monotonic clock.

    To 50 ms, which is as often as it is looked for. Trouble when the process ends without them.
    """
    ends_s = time.monotonic() + within_s
    while words not in path.read_text(encoding="utf-8"):
        if time.monotonic() > ends_s:
            raise Trouble(f"{words!r} did not come within {within_s:.0f} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise Trouble(f"ended with {process.wait(LOOK_EVERY_S)} before {words!r}")
    return time.monotonic()


def measured(stage: Stage, count: int) -> list[Figure]:
    """Run both ends and read the centre's lines."""
    settled(stage, count)
    site, out, err = stage.site, stage.directory / "centre.out", stage.directory / "centre.err"
    simulators, config = [sys.executable, "-m", "simulators"], str(site.config)
    run = [*simulators, "run", "--config", config, "--control", str(site.control)]
    listen = [*simulators, "centre", "--config", config, "--route", ROUTE, "--json"]
    listen += ["--key", str(site.private_key_file(ROUTE)), "--db", str(stage.directory / "c.db")]
    with (
        (stage.directory / "gateway.err").open("wb") as log,
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        subprocess.Popen(run, cwd=ROOT, stdout=log, stderr=log) as gateway,
        subprocess.Popen(listen, cwd=ROOT, stdout=stdout, stderr=stderr) as centre,
    ):
        try:
            began_s = moment_of("repairing: ", err, BEGIN_WITHIN_S, centre)
            within_s = BEGIN_WITHIN_S + 3 * count / RATE
            took_s = moment_of("repaired: ", err, within_s, centre) - began_s
            peak_mb = resident_mb(gateway.pid)
        finally:
            for process in (centre, gateway):
                process.terminate()
                process.wait()
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines() if "history" in line]
    numbers = {(line["stream"], line["epoch"], line["sequence"]) for line in lines}
    past = [line for line in lines if line["epoch"] == 1]
    streams = [line["stream"] for line in past]
    return [
        at_most("messages that did not come", count - len(past), 0, of=count),
        at_most("messages that came twice", len(lines) - len(numbers), 0, of=len(lines)),
        at_most("alarms behind the log", int(streams != sorted(streams)), 0),
        at_least("rate", len(lines) / took_s, RATE / 2, "msg/s"),
        at_most("rate, upper bound", len(lines) / took_s, RATE, "msg/s"),
        told("time until all was back", took_s, "s"),
        told("gateway's largest RSS", peak_mb, "MB"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("history", __doc__, quick=f"{COUNT_QUICK:,} messages instead of {COUNT:,}")
    made.add_argument("--count", type=int, help=f"messages in the ledger (default {COUNT})")
    options = made.parse_args(arguments)
    return ended(lambda: bench(options))


def bench(options: argparse.Namespace) -> int:
    """Measure and print; 0 when every goal is held, 1 when one is missed."""
    count = options.count or (COUNT_QUICK if options.quick else COUNT)
    with set_up() as stage:
        figures = measured(stage, count)
        context = {"messages": count, "broker": stage.words}
    return show("History", figures, as_json=options.json, context=context)


if __name__ == "__main__":
    sys.exit(piped(main))
