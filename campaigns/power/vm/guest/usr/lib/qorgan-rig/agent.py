"""What the campaign has inside the machine: fingers on contacts, eyes on lamps, a hand on commands.

Takes one JSON object a line from the port `rig` and answers with one of the same `id`; sends the
service's log on the port `log` as it comes. Decides nothing. Runs as root, on Debian's own Python.
"""  # noqa: INP001 -- no package: it runs alone, inside the machine

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINES = Path("/run/lines")
PORTS = Path("/dev/virtio-ports")
LOOK_EVERY_S = 0.02


def move(steps: list[Any]) -> dict[str, Any]:
    """Close and open contacts: [[{line: closed}, ms until the next], …].

    Answers when each was moved, by both clocks: [[UTC ms, monotonic ms], …].
    """
    moved = []
    for contacts, wait_ms in steps:
        moved.append([time.time_ns() // 1_000_000, time.monotonic_ns() / 1e6])
        for line, closed in contacts.items():
            pull = "pull-down" if closed else "pull-up"
            (LINES / f"sim_gpio{line}" / "pull").write_text(pull, encoding="ascii")
        time.sleep(wait_ms / 1_000)
    return {"moved": moved}


def watch(lines: list[int], for_ms: int) -> dict[str, Any]:
    """What outputs show for so long: [[ms since the beginning, line, value], …], changes only."""
    began, seen, last = time.monotonic(), [], dict.fromkeys(lines, "")
    while (passed := time.monotonic() - began) * 1_000 < for_ms:
        for line in lines:
            value = (LINES / f"sim_gpio{line}" / "value").read_text(encoding="ascii").strip()
            if value != last[line]:
                last[line] = value
                seen.append([round(passed * 1_000), line, int(value)])
        time.sleep(LOOK_EVERY_S)
    return {"seen": seen}


def run(words: list[str], within_s: float = 60.0) -> dict[str, Any]:
    """A command's exit code and what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=within_s, check=False)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


DO: dict[str, Callable[..., dict[str, Any]]] = {"move": move, "watch": watch, "run": run}


class Agent:
    """The port, and a thread for each thing that is asked: presses do not wait for one another."""

    def __init__(self, port: Path) -> None:
        self._port = os.open(port, os.O_RDWR)  # once: a second opening would find it busy
        self._lock = threading.Lock()

    def say(self, answer: dict[str, Any]) -> None:
        with self._lock:
            left = json.dumps(answer).encode() + b"\n"
            while left:
                left = left[os.write(self._port, left) :]

    def serve(self) -> None:
        self.say({"id": 0, "up": True})
        waiting = b""
        while True:
            got = os.read(self._port, 4096)
            if not got:
                time.sleep(LOOK_EVERY_S)
                continue
            *whole, waiting = (waiting + got).split(b"\n")
            for line in whole:
                threading.Thread(target=self._do, args=(json.loads(line),), daemon=True).start()

    def _do(self, asked: dict[str, Any]) -> None:
        name, what = asked.pop("id"), asked.pop("do")
        try:
            answer = DO[what](**asked)
        except Exception as error:  # noqa: BLE001 -- the campaign shall read it, and go on
            answer = {"error": f"{type(error).__name__}: {error}"}
        self.say({"id": name, **answer})


def tell_log(port: Path) -> None:
    """The service's lines of this boot, from its first on, as they come."""
    words = ["journalctl", "--unit=qorgan", "--boot", "--follow", "--lines=all", "--output=cat"]
    with port.open("wb", buffering=0) as out:
        subprocess.run(words, stdout=out, check=False)


if __name__ == "__main__":
    threading.Thread(target=tell_log, args=(PORTS / "log",), daemon=True).start()
    Agent(PORTS / "rig").serve()
