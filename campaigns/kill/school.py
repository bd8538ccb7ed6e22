"""A school of real processes for the kill campaign: broker, two centres, and the gateway.

Owns the processes, their files and the simulated building's socket. It kills and starts what it is
told to and hands on what they print; what that means is judged elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway.control import ControlError
from gateway.control import ask as ask_daemon
from gateway.core.model import Json
from simulators.network.brokers import Mosquitto, free_port
from simulators.site import CENTRES, GATEWAY, SIMULATED, furnish

ROOT = Path(__file__).parents[2]
LOOK_S = 0.002
"""How often a file is looked into while something in it is waited for."""
START_WITHIN_S = 60.0
"""A start takes a second or two; this is for a machine that is busy with much else."""

SLOW_MS = {"security": 200, "case": 40}
"""What a centre says comes that much later: so there are receipts on their way, alarms open."""

DESKS = {f"desk-{pin}": f"gpio:{pin}" for pin in (8, 9, 10, 11, 14, 15)}
"""More buttons than the demo's school has, of one contact each, so that most are at rest."""
PAIRS = ("guard-post", "duty-teacher", "director", "accounts", "nurse")
BUTTONS = (*DESKS, *PAIRS)
"""Every button on the gateway's own pins; accounts is silent."""
COUNTED = "library"
"""A button on the bus: its unit counts presses, and is asked five times a second."""


def utc_ms() -> float:
    """UTC in milliseconds: every process of a school runs on this one machine's clock."""
    return time.time_ns() / 1e6


def template() -> str:
    """The demo's school with more buttons."""
    extra = "".join(
        f"  {name}:\n    kind: panic\n    input: {{normally_open: {pin}}}\n"
        for name, pin in DESKS.items()
    )
    return SIMULATED.read_text(encoding="utf-8").replace("points:\n", f"points:\n{extra}", 1)


class Tail:
    """A growing file of lines; each whole line is given once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def lines(self) -> list[str]:
        """What has been added since the last look."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        if not newline:
            return []
        self._at += len(whole) + 1
        return whole.decode("utf-8", errors="replace").split("\n")


@dataclass(frozen=True, slots=True)
class Program:
    """One running program and the ends of what it prints."""

    popen: subprocess.Popen[bytes]
    out: Tail
    err: Tail

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end. Harmless when it has ended."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        self.popen.wait(START_WITHIN_S)


class KillSchool:
    """One furnished folder and everything that runs in it; `close` ends it all."""

    def __init__(self, folder: Path, *, plant: str = "") -> None:
        """plant: a defect of `planted` that the gateway is run with; empty for none."""
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "template.yaml"
        source.write_text(template(), encoding="utf-8")
        port = free_port()
        self.folder = folder
        self.site = furnish(folder, port=port, mqtt="5", template=source)
        self.broker = Mosquitto(
            folder / "broker", self.site.pki, gateways=(GATEWAY,), centres=CENTRES, port=port
        )
        self.gateway: Program | None = None
        self._plant = plant
        self._centres: dict[str, Program] = {}
        self._out = {route: Tail(folder / f"{route}.out") for route in CENTRES}
        self._err = {route: Tail(folder / f"{route}.err") for route in CENTRES}

    def _run(self, name: str, words: Sequence[str | Path]) -> Program:
        out, err = (self.folder / f"{name}.{end}" for end in ("out", "err"))
        with out.open("ab") as stdout, err.open("ab") as stderr:
            popen = subprocess.Popen(
                [sys.executable, "-m", *map(str, words)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a Ctrl-C at the terminal is for the campaign alone
            )
        return Program(popen, Tail(out), Tail(err))

    # --- the gateway --------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True while the gateway's process lives."""
        return self.gateway is not None and self.gateway.popen.poll() is None

    def start(self, number: int, *, held: Sequence[str] = ()) -> Program:
        """Start the gateway, its log in a file of this life's own."""
        self.site.control.unlink(missing_ok=True)  # a killed one leaves its socket behind
        words: list[str | Path] = ["simulators", "run"]
        if self._plant:
            words = ["campaigns.kill.planted", self._plant]
        words += ["--config", self.site.config, "--control", self.site.control]
        for point in held:
            words += ["--held", point]
        self.gateway = self._run(f"gateway-{number}", words)
        return self.gateway

    def kill(self) -> float:
        """Kill -9; the moment just before it."""
        assert self.gateway is not None
        at_ms = utc_ms()
        self.gateway.end(signal.SIGKILL)
        return at_ms

    async def ask(self, request: Mapping[str, Json]) -> dict[str, Any] | None:
        """Ask the simulated building for something; None when the process died before it answered.

        Raises OSError where nothing listens.
        """
        reader, writer = await asyncio.open_unix_connection(self.site.control)
        try:
            writer.write(json.dumps(dict(request)).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        except OSError:
            return None
        finally:
            writer.close()
        found: dict[str, Any] | None = json.loads(line) if line else None
        return found

    async def owed(self) -> int | None:
        """How many messages the gateway says it owes, of both routes; None: it does not answer."""
        question = partial(ask_daemon, self.folder / "qorgan.sock", "status", True)
        try:
            status = await asyncio.to_thread(lambda: next(question()))
        except (ControlError, OSError, StopIteration):
            return None
        return sum(sum(route["owed"].values()) for route in status["routes"].values())

    # --- the far ends -------------------------------------------------------------------------

    async def open(self) -> None:
        """Start broker and centres."""
        await asyncio.to_thread(self.broker.start)
        await asyncio.gather(*(self.start_centre(route) for route in CENTRES))

    async def start_centre(self, route: str) -> None:
        """Start a centre on its store; returns when it listens, or when there is no broker."""
        self._centres[route] = centre = self._run(
            route,
            [
                *("simulators", "centre", "--config", self.site.config, "--route", route),
                *("--key", self.site.private_key_file(route), "--json", "--answer", "close"),
                *("--db", self.store(route), "--slow", str(SLOW_MS[route])),
            ],
        )
        await until(lambda: _is_said(centre.err, "uplink campus"))

    def kill_centre(self, route: str) -> None:
        """Kill -9 a centre."""
        self._centres[route].end(signal.SIGKILL)

    def store(self, route: str) -> Path:
        """Where a centre keeps what it was told. Nobody else may read it while the centre runs."""
        return self.folder / f"{route}.db"

    def heard(self, route: str) -> list[dict[str, Any]]:
        """The lines a centre has printed since the last look."""
        return [json.loads(line) for line in self._out[route].lines()]

    def remarks(self, route: str) -> list[str]:
        """What a centre has remarked on its standard error since the last look."""
        return self._err[route].lines()

    def close(self, *, number: signal.Signals = signal.SIGKILL) -> None:
        """End everything, the gateway first."""
        if self.gateway is not None:
            self.gateway.end(number)
        for centre in self._centres.values():
            centre.end(number)
        self.broker.stop()


def _is_said(tail: Tail, text: str) -> bool:
    return any(text in line for line in tail.lines())


async def until(question: Any, *, within_s: float = START_WITHIN_S) -> bool:
    """Wait until it answers with something true; False when it did not in that time."""
    deadline = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True
