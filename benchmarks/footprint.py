"""What the daemon weighs, what it costs while nothing happens, and how soon it is live.

    python -m benchmarks.footprint [--quick] [--json] [--seconds S] [--real-time]

`qorgan run --pins mock` in a process of its own on the simulated building, connected over mutual
TLS and answered by a centre. Idle CPU is a multiple of the least program that keeps such a
connection and looks at as many pins, both over the same seconds. benchmarks/README.md says how.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import add_goals, add_real_time, ended, parser
from benchmarks.desk import Desk
from benchmarks.stage import (
    ROOT,
    SCHEDULING,
    Program,
    Stage,
    Trouble,
    percentile,
    real_time,
    running,
    say,
    set_up,
)
from benchmarks.table import Figure, at_most, show, told
from gateway.piped import piped
from simulators.site import CENTRES

RSS_GOAL_MB = 50.0
ANONYMOUS_GOAL_MB = 30.0
IDLE_GOAL = 1.5
START_GOAL_MS = 1_000.0

SECONDS, SECONDS_QUICK = 60.0, 8.0
STARTS, STARTS_QUICK = 20, 4
WARM_UP = 1
"""Starts that are not counted: the first one compiles byte code and fills the page cache."""

SETTLED_S = 2.0
"""After the first heartbeats of every route, before memory is read."""
LIVE_WITHIN_S = 20.0
KIB_PER_MB = 1_000_000 / 1_024
IMPORTS_SHOWN = 15
WITHOUT_EXTRAS = """import sys
sys.modules["rich"] = None
from gateway.__main__ import main
sys.exit(main())"""
"""`qorgan` as on a device. rich is an extra for people that a device does not carry; where it can
be found, structlog loads it, which is 4 MB that no device would see."""
PINS = ROOT / "benchmarks" / "pins.yaml"
"""The school without its buses, which are `benchmarks.bus`'s to measure."""
LOADING = """import sys
sys.modules["rich"] = None
from gateway.deferred import defer_unused
defer_unused()
import gateway.start, gateway.daemon, gateway.record.disk, gateway.log, gateway.uplink.mqtt
import drivers.gpio, gpiozero.pins.mock"""
"""What a device loads, and in which way (`gateway/start.py`)."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A process's memory in MB of 10^6 bytes. anonymous: what nobody could ever share."""

    resident: float
    anonymous: float

    @classmethod
    def of(cls, pid: int) -> Weight:
        """Read it from /proc; OSError when the process is gone."""
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        kib = {name: int(number) for name, number in re.findall(r"(\w+): +(\d+) kB", rollup)}
        return cls(kib["Rss"] / KIB_PER_MB, kib["Pss_Anon"] / KIB_PER_MB)


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process, by its own CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process in the ABI


class Notified:
    """A $NOTIFY_SOCKET, and when READY=1 came in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self._reader: asyncio.Task[None] | None = None

    def listen(self) -> asyncio.Future[float]:
        """Resolves with the monotonic seconds of READY; goes on reading, as systemd does."""
        loop = asyncio.get_running_loop()
        live: asyncio.Future[float] = loop.create_future()

        async def read() -> None:
            while True:
                text = await loop.sock_recv(self._socket, 4_096)
                if text.startswith(b"READY=1") and not live.done():
                    live.set_result(time.monotonic())

        self._reader = loop.create_task(read())
        return live

    def close(self) -> None:
        """Stop listening."""
        if self._reader is not None:
            self._reader.cancel()
        self._socket.close()
        self.path.unlink()


@contextlib.asynccontextmanager
async def started(stage: Stage) -> AsyncIterator[tuple[Program, float]]:
    """A live daemon, and the milliseconds from starting the process to READY."""
    notified = Notified(stage.directory / "notify")
    live = notified.listen()
    arguments = ["-c", WITHOUT_EXTRAS, "run", str(stage.site.config), "--pins", "mock"]
    environment = {"NOTIFY_SOCKET": str(notified.path)}
    began = time.monotonic()
    try:
        async with running("qorgan", arguments, environment) as daemon:
            try:
                async with asyncio.timeout(LIVE_WITHIN_S):
                    ready = await live
            except TimeoutError:
                raise Trouble(f"the daemon does not go live: {daemon.last_words}") from None
            yield daemon, (ready - began) * 1e3
    finally:
        notified.close()


async def starts(stage: Stage, count: int) -> list[float]:
    """Milliseconds of every counted start."""
    found = []
    for number in range(-WARM_UP, count):
        async with started(stage) as (_, start_ms):
            if number >= 0:
                found.append(start_ms)
    say(f"{count} starts")
    return found


async def heartbeats(desks: Sequence[Desk]) -> None:
    """Wait until every route is alive."""
    try:
        async with asyncio.timeout(LIVE_WITHIN_S):
            for desk in desks:
                await desk.heard.wait()
    except TimeoutError:
        raise Trouble("the daemon sends no heartbeat") from None


async def at_rest(stage: Stage, seconds: float) -> tuple[Weight, Weight, float, float]:
    """Weights of daemon and least program, then their CPU as per mille of one core, idle."""
    opened = [Desk(stage, route, lambda *_: None) for route in CENTRES]
    try:
        for desk in opened:
            await desk.open()
        async with started(stage) as (daemon, _):
            await heartbeats(opened)
            await asyncio.sleep(SETTLED_S)
            weight = Weight.of(daemon.pid)
            async with running("least", stage.least("idle")) as least:
                await least.ask()
                await asyncio.sleep(SETTLED_S)
                say(f"idle for {seconds:g} s")
                before, began = (cpu_ns(daemon.pid), cpu_ns(least.pid)), time.monotonic()
                await asyncio.sleep(seconds)
                after, lasted_s = (cpu_ns(daemon.pid), cpu_ns(least.pid)), time.monotonic() - began
                mine, other = (
                    (end - begin) / 1e6 / lasted_s for begin, end in zip(before, after, strict=True)
                )
                return weight, Weight.of(least.pid), mine, other
    finally:
        for desk in opened:
            await desk.close()


def imports() -> str:
    """The modules a device loads that take longest to import by themselves, as a table."""
    command = [sys.executable, "-X", "importtime", "-c", LOADING]
    told_by = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    found = re.findall(r"import time: +(\d+) \| +(\d+) \| +(\S+)", told_by)
    rows = sorted(((int(own), int(whole), name) for own, whole, name in found), reverse=True)
    lines = [f"{own:8,} {whole:9,}  {name}" for own, whole, name in rows[:IMPORTS_SHOWN]]
    return "\n".join(["imports, us by itself and with what it imports:", *lines])


def figures(
    options: argparse.Namespace,
    begun: Sequence[float],
    rest: tuple[Weight, Weight, float, float],
) -> list[Figure]:
    """The table."""
    weight, least, mine, other = rest
    return [
        at_most("RSS", weight.resident, options.goal_rss_mb, "MB"),
        at_most("Pss_Anon", weight.anonymous, options.goal_anonymous_mb, "MB"),
        told("RSS of the least program", least.resident, "MB"),
        told("Pss_Anon of the least program", least.anonymous, "MB"),
        told("idle CPU", mine / 10, "% of a core"),
        told("idle CPU of the least program", other / 10, "% of a core"),
        at_most("idle CPU / least program's", mine / other, options.goal_idle, "x"),
        told("process start to inputs live, p50", percentile(begun, 50), "ms"),
        at_most("process start to inputs live, worst", max(begun), options.goal_start_ms, "ms"),
    ]


async def measure(options: argparse.Namespace) -> int:
    """Start, weigh, wait and print; the exit code."""
    seconds = options.seconds or (SECONDS_QUICK if options.quick else SECONDS)
    count = options.starts or (STARTS_QUICK if options.quick else STARTS)
    if options.real_time:
        real_time()
    with set_up(template=PINS.read_text(encoding="utf-8")) as stage:
        begun = await starts(stage, count)
        rows = figures(options, begun, await at_rest(stage, seconds))
        context = {
            "daemon": "qorgan run --pins mock, config/simulated.yaml, two routes, one uplink",
            "broker": stage.words,
            "starts": count,
            "starts not counted before": WARM_UP,
            "idle seconds": seconds,
            "scheduling": SCHEDULING[options.real_time],
        }
    code = show("Footprint", rows, as_json=options.json, context=context)
    if any(row.held is False and row.unit in {"MB", "ms"} for row in rows):
        say(imports())
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("footprint", __doc__, quick="few starts, few seconds: under 30 s")
    made.add_argument("--seconds", type=float, help=f"idle time (default {SECONDS:g})")
    made.add_argument("--starts", type=int, help=f"starts counted (default {STARTS})")
    add_real_time(made)
    add_goals(
        made,
        {
            "rss-mb": (RSS_GOAL_MB, "MB"),
            "anonymous-mb": (ANONYMOUS_GOAL_MB, "MB"),
            "idle": (IDLE_GOAL, "X"),
            "start-ms": (START_GOAL_MS, "MS"),
        },
    )
    options = made.parse_args(arguments)
    return ended(lambda: asyncio.run(measure(options)))


if __name__ == "__main__":
    sys.exit(piped(main))
