"""What stands around the emulated machine: a broker, two centres, the folder at /etc/qorgan.

Everything listens on the host's loopback alone and is ended by its own handle.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from campaigns.power.machine import HERE, Broken, disk_of, wait_for
from gateway.core.model import Json
from simulators.centre.core.words import Stored
from simulators.centre.store import CentreStore
from simulators.network.brokers import Mosquitto, free_port
from simulators.site import CENTRES, GATEWAY, furnish

ROOT = Path(__file__).parents[2]
SYNC_WAIT_MS = 500
SENDS = {"security": ("alarm", "fault", "test", "state"), "case": ("alarm", "state")}
LINES = {
    "reception": (17, 27),
    "gym": (5, 6),
    "nurse": (20, 21),
    "accounts": (23, 24),
    "cabinet-1": (4, None),
    "cabinet-2": (9, None),
    "cabinet-3": (10, None),
    "cabinet-4": (11, None),
    "cabinet-5": (14, None),
    "cabinet-6": (15, None),
    "fire-panel": (None, 25),
}
"""The contacts of vm/premises.yaml a finger may move: normally open, normally closed."""

LAMPS = {"reception": 22, "gym": 13, "nurse": 16}
COUNTED = (*(f"cabinet-{number}" for number in range(1, 7)), "fire-panel")
"""Points that end with their input: every closing of one is an alarm of its own."""

_CLOSED = (27, 6, 21, 24, 25, 18)
"""Contacts that are closed at rest: the normally closed ones, and mains."""

_PRIVATE = ("gateway.jwk", "gateway.pem")
_PUBLIC = ("ca.pem", "security.jwk", "case.jwk")


def pressed(point: str, *, closed: bool) -> dict[str, Json]:
    """The contacts of a point, as the agent's `move` takes them: the button in, or out."""
    opens, closes = LINES[point]
    moved: dict[str, Json] = {} if opens is None else {str(opens): closed}
    return moved if closes is None else {**moved, str(closes): not closed}


class Centre:
    """`python -m simulators centre` of one route, with a store."""

    def __init__(self, folder: Path, route: str, *options: str) -> None:
        """Start it; it needs the broker only in the end."""
        self.route = route
        self.out, self._err = (folder / f"{route}.{end}" for end in ("out", "err"))
        self._store = folder / f"{route}.db"
        words = [
            *("simulators", "centre", "--config", str(folder / "premises.yaml")),
            *("--route", route, "--key", str(folder / f"{route}.key.jwk"), "--json"),
            *("--db", str(self._store), *options),
        ]
        with self.out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def lines(self) -> list[dict[str, Any]]:
        """Every message it has shown."""
        whole = self.out.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in whole]

    def listening(self) -> None:
        """Wait until it hears the broker."""

        def up() -> bool:
            told = self._err.read_text(encoding="utf-8")
            if self._process.poll() is not None:
                raise Broken(f"centre {self.route} ended: {told[-500:]}")
            return "uplink campus: up" in told

        wait_for(f"listening centre {self.route}", up)

    def end(self) -> None:
        """Stop it; harmless twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def rows(self) -> list[Stored]:
        """All it holds, once it has ended."""
        store = CentreStore(self._store, self.route)
        try:
            return list(store.rows())
        finally:
            store.close()


class Surroundings:
    """Broker, centres, and the two images a machine starts from. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Furnish a folder; start nothing yet."""
        port = free_port()
        self._site = furnish(folder / "site", port=port, mqtt="5", template=HERE / "premises.yaml")
        self.broker = Mosquitto(
            folder / "broker", self._site.pki, gateways=[GATEWAY], centres=CENTRES, port=port
        )
        self.centres: list[Centre] = []
        self.disk = folder / "site.img"
        self._furnish_machine(folder / "etc")

    def _furnish_machine(self, folder: Path) -> None:
        """What is at /etc/qorgan: the same configuration, the broker by the name it has there."""
        folder.mkdir()
        home = self._site.directory
        text = self._site.config.read_text(encoding="utf-8")
        (folder / "premises.yaml").write_text(
            text.replace("//127.0.0.1:", "//localhost:"), encoding="utf-8"
        )
        (folder / "closed").write_text("".join(f"{line}\n" for line in _CLOSED), encoding="utf-8")
        for name in (*_PRIVATE, *_PUBLIC):
            shutil.copyfile(home / name, folder / name)
        for path in folder.iterdir():
            path.chmod(0o600 if path.name in _PRIVATE else 0o644)
        folder.chmod(0o755)
        disk_of(folder, self.disk)

    def there(self, *, running: bool) -> None:
        """Have the broker run, or stopped: then it refuses."""
        if self.broker.running and not running:
            self.broker.stop()
        elif running and not self.broker.running:
            self.broker.start()

    def start(self, answers: Sequence[str] = ("--answer", "close")) -> None:
        """Broker and centres; the security service closes every alarm it sees."""
        self.broker.start()
        home = self._site.directory
        self.centres = [Centre(home, "security", *answers), Centre(home, "case")]
        for centre in self.centres:
            centre.listening()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for centre in self.centres:
            centre.end()
        self.broker.stop()
