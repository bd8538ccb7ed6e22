"""Real processes for the acceptance tests: a broker, a gateway, centres, and fingers that press.

Everything is started on free ports in a folder of its own and ended by its own handle. Waiting is
always for a condition, with a deadline; nothing sleeps and hopes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.core.model import Json
from simulators.building.control import ask
from simulators.network.brokers import HOST, Broker, Mosquitto, Nats, free_port
from simulators.site import CENTRES, GATEWAY, SIMULATED, Site, furnish

ROOT = Path(__file__).parent.parent
WITHIN_S = 60.0
"""Far longer than anything here takes, for a machine that is busy with other things."""

_Found = TypeVar("_Found")


def wait_for(
    what: str, question: Callable[[], _Found | None], *, within_s: float = WITHIN_S
) -> _Found:
    """The first answer that is true; AssertionError names what did not come."""
    deadline = time.monotonic() + within_s
    while not (answer := question()):
        assert time.monotonic() < deadline, f"within {within_s} s there was no {what}"
        time.sleep(0.002)
    return answer


@dataclass(slots=True)
class Process:
    """One running program; what it prints is in files, so that no pipe can fill up."""

    name: str
    popen: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def stdout(self) -> list[dict[str, Any]]:
        """The JSON lines it has printed whole."""
        return [json.loads(line) for line in _whole_lines(self.out)]

    def log(self, event: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The JSON lines of its log, of one event and with those fields."""
        lines = [json.loads(line) for line in _whole_lines(self.err) if line.startswith("{")]
        return [
            line
            for line in lines
            if event in {None, line["event"]}
            and all(line.get(name) == value for name, value in fields.items())
        ]

    def end(self, number: signal.Signals, *, within_s: float = WITHIN_S) -> int:
        """Send a signal and wait; the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(within_s)


def until_acquainted(centres: Sequence[Process]) -> None:
    """Wait until every centre has a message, and so a heartbeat, of the gateway.

    Only then does it know the gateway's clock, and how old is what comes after an outage.
    """

    def heard(centre: Process) -> bool:
        return any(line["type"].endswith("state.gateway.restarted") for line in centre.stdout())

    wait_for("first message", lambda: all(heard(centre) for centre in centres))


def _whole_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()


@dataclass
class School:
    """A furnished folder, its broker, and every process started in it."""

    site: Site
    broker: Broker
    processes: list[Process] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.site.directory

    def start(
        self, name: str, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> Process:
        """A module of ours in a process of its own, with its output in `<name>.out` and `.err`.

        environment: what it has beside that of the tests.
        """
        out, err = (self.folder / f"{name}.{end}" for end in ("out", "err"))
        with out.open("ab") as stdout, err.open("ab") as stderr:
            popen = subprocess.Popen(
                [sys.executable, "-m", *map(str, words)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            )
        self.processes.append(Process(name, popen, out, err))
        return self.processes[-1]

    def gateway(
        self,
        name: str = "gateway",
        *,
        through: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """The real daemon on simulated pins; returns when its inputs are live.

        through: a module that starts it, with that module's own words.
        """
        process = self.start(
            name,
            *(*through, "simulators", "run"),
            *("--config", self.site.config, "--control", self.site.control),
            environment=environment,
        )
        self._live(process)
        return process

    def _live(self, process: Process) -> None:
        def live() -> bool:
            assert process.running, process.err.read_text(encoding="utf-8")
            return bool(process.log("state.gateway.restarted")) and self.site.control.exists()

        wait_for(f"live {process.name}", live)

    def centre(self, route: str, *options: str | Path) -> Process:
        """The far end of a route, printing JSON; returns when it listens."""
        process = self.start(
            f"centre-{route}",
            *("simulators", "centre", "--config", self.site.config, "--route", route),
            *("--key", self.site.private_key_file(route), "--json", *options),
        )
        wait_for(
            f"listening {route}", lambda: "uplink campus: up" in process.err.read_text("utf-8")
        )
        return process

    def press(self, point: str, *, shape: str = "clean", ms: int = 300) -> None:
        """A finger, through the simulation's own socket; returns when it is off the button.

        It moves on the daemon's own loop: a shorter press a starved machine may not see at all.
        """
        answer = self.ask({"press": point, "shape": shape, "ms": ms})
        assert answer["ok"], answer

    def ask(self, request: Mapping[str, Json]) -> dict[str, Json]:
        """Any request of the simulation's socket."""
        return ask(self.site.control, request, answer_within_s=WITHIN_S)

    def end(self) -> None:
        """End whatever still runs, newest first."""
        for process in reversed(self.processes):
            if process.running:
                process.popen.kill()
                process.popen.wait()
        self.broker.stop()


@contextlib.contextmanager
def school(
    folder: Path,
    kind: type[Broker],
    *,
    rights: Sequence[str] = (GATEWAY,),
    template: Path = SIMULATED,
) -> Iterator[School]:
    """A furnished school with a running broker: MQTT 5 on mosquitto, 3.1.1 on nats, mutual TLS."""
    port = free_port()
    mqtt = "5" if kind is Mosquitto else "3.1.1"
    site = furnish(folder, port=port, mqtt=mqtt, template=template)
    broker = kind(folder / "broker", site.pki, gateways=rights, centres=CENTRES, port=port)
    there = School(site, broker.start())
    try:
        yield there
    finally:
        there.end()


KINDS: dict[str, type[Broker]] = {"mosquitto-5": Mosquitto, "nats-3.1.1": Nats}


def raised(process: Process) -> list[tuple[str, str]]:
    """Point and type of every alarm a centre printed that was not a copy, in order."""
    return [
        (line["subject"], line["type"].removeprefix("org.qorgan."))
        for line in process.stdout()
        if line["type"].startswith("org.qorgan.alarm.")
        and line["type"].endswith(".raised")
        and not line["copy"]
    ]


class Listener:
    """A bare MQTT 5 client under the security centre's certificate, with a session that stays.

    What is published for it while it is not connected waits at the broker. listens_s and heard_s:
    when it was let in last, and when the last message came (UTC as this machine has it).
    """

    def __init__(self, site: Site, broker: Broker, topic: str) -> None:
        """Subscribe, and leave again unless told to `listen`."""
        self.heard: list[bytes] = []
        self.listens_s = self.heard_s = 0.0
        self._broker = broker
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="listener", protocol=paho.MQTTv5
        )
        context = ssl.create_default_context(cafile=site.pki.ca)
        context.load_cert_chain(site.certificate("security"))
        self._client.tls_set_context(context)
        self._client.on_message = self._hear
        granted: list[object] = []
        self._client.on_subscribe = lambda *_: granted.append(True)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._connect()
        self._pump(lambda: granted)
        self._client.on_connect = self._let_in

    def _let_in(self, *_: object) -> None:
        self.listens_s = time.time()

    def _hear(self, _client: object, _user: object, message: paho.MQTTMessage) -> None:
        self.heard_s = time.time()
        self.heard.append(bytes(message.payload))

    def _connect(self) -> None:
        stays = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types it half
        stays.SessionExpiryInterval = 3600
        self._client.connect(HOST, self._broker.port, clean_start=False, properties=stays)

    def _pump(self, done: Callable[[], object]) -> None:
        def turn() -> object:
            self._client.loop(0.002)
            return done()

        wait_for("word from the broker", turn)

    def leave(self) -> None:
        """Disconnect; the session stays."""
        self._client.disconnect()
        self._pump(lambda: not self._client.is_connected())

    def listen(self) -> bytes:
        """Connect again and wait for the first message."""
        self._connect()
        self._pump(lambda: self.heard)
        return self.heard[0]


def retained(site: Site, broker: Broker, topic: str) -> bytes:
    """What a newcomer finds retained at the broker under a topic."""
    newcomer = Listener(site, broker, topic)
    newcomer.listen()
    newcomer.leave()
    return newcomer.heard[0]
