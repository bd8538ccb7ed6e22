"""What every timed benchmark stands on: a real broker, a furnished site, programs of their own.

Owns temporary folders and child processes, and ends both however the run ends. Measures nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.core.jws import VerifyKey
from gateway.core.premises import UplinkSpec
from gateway.keys import new_key
from simulators.network.brokers import HOST, Broker, Mosquitto, Nats, free_port
from simulators.site import GATEWAY, SIMULATED, Site, furnish

LEAST = "least"
"""The least program's user at the broker, in the place of a gateway's id in its topics."""

ANSWER_WITHIN_S = 20.0
ANSWER_BYTES_MAX = 1 << 24
"""A line a child writes: minutes of events are some hundred kilobytes."""
END_WITHIN_S = 5.0
LAST_WORDS_BYTES = 1_500
REAL_TIME_PRIORITY = 10
REAL_TIME_HELP = "run every process of it before the machine's others (needs root)"
SCHEDULING = {False: "as any program", True: "real time (SCHED_RR), every process of it alike"}
ROOT = Path(__file__).parent.parent


class Trouble(Exception):  # noqa: N818 -- what stopped the measuring, not an error in a program
    """The benchmark could not be run; says why. No figure was measured: exit code 2."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A broker that answers, a furnished site, and the least program's key and certificate."""

    directory: Path
    broker: Broker
    site: Site
    mqtt: str
    least_key: VerifyKey

    @property
    def keys(self) -> Mapping[str, VerifyKey]:
        """The key each sender's tokens must verify under, by its place in the topic."""
        return {GATEWAY: self.site.gateway_key, LEAST: self.least_key}

    @property
    def words(self) -> str:
        """The broker and how it is reached, for the table."""
        return f"{type(self.broker).__name__}, MQTT {self.mqtt}, mutual TLS, loopback"

    def uplink(self, user: str) -> UplinkSpec:
        """How `user` reaches the broker."""
        certificate = str(self.site.pki.client(user))
        return UplinkSpec(
            "campus", HOST, self.broker.port, True, self.mqtt, str(self.site.pki.ca), certificate
        )

    def least(self, mode: str, *arguments: str) -> list[str]:
        """The least program's command line: `press` with a ledger's path, or `idle`."""
        folder = str(self.site.directory)
        options = ["--site", folder, "--port", str(self.broker.port), "--mqtt", self.mqtt]
        return ["-m", "benchmarks.least", mode, *options, *arguments]


@contextlib.contextmanager
def set_up(parent: Path | None = None, *, template: str | None = None) -> Iterator[Stage]:
    """Mosquitto with mTLS and MQTT 5, or nats-server with 3.1.1 where that is not installed.

    template: a configuration in the place of the simulated school's.

    parent: where its folder is made, by default where temporary files are. Mosquitto saves what it
    holds every second and stands still meanwhile, so times are measured with that in memory.
    """
    with tempfile.TemporaryDirectory(prefix="qorgan-bench-", dir=parent) as name:
        directory, port, source = Path(name), free_port(), SIMULATED
        if template is not None:
            source = directory / "template.yaml"
            source.write_text(template, encoding="utf-8")
        for kind, mqtt in ((Mosquitto, "5"), (Nats, "3.1.1")):
            site = furnish(directory / "site", port=port, mqtt=mqtt, template=source)
            users = [GATEWAY, LEAST]
            broker = kind(directory / "broker", site.pki, gateways=users, port=port)
            try:
                broker.start()
            except RuntimeError as error:
                print(f"{error}", file=sys.stderr)
                continue
            key = new_key(site.directory / f"{LEAST}.jwk", kid=LEAST, seed=secrets.token_bytes(32))
            site.pki.client(LEAST)
            try:
                yield Stage(directory, broker, site, mqtt, key)
            finally:
                broker.stop()
            return
        raise Trouble("no broker could be started")


class Program:
    """A child of its own session that is spoken to in lines: Ctrl-C reaches it only through us."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, words: int) -> None:
        """Use `running`; `words` is the descriptor of the file its standard error goes to."""
        self._name = name
        self._process = process
        self._words = words

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, line: str = "", *, within_s: float = ANSWER_WITHIN_S) -> str:
        """Send a line (none when empty) and return the next line it writes; Trouble if it ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if line:
                self._process.stdin.write(line.encode() + b"\n")
            async with asyncio.timeout(within_s):
                answer = await self._process.stdout.readline()
        except (OSError, TimeoutError):
            answer = b""
        if not answer:
            raise Trouble(f"{self._name} does not answer {line!r}: {self.last_words}")
        return answer.decode().strip()

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        kept = os.pread(self._words, LAST_WORDS_BYTES, self._size_before_last_words())
        return kept.decode(errors="replace")

    def _size_before_last_words(self) -> int:
        return max(0, os.fstat(self._words).st_size - LAST_WORDS_BYTES)

    async def end(self) -> None:
        """Ask it to end, kill it after 5 s."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_WITHIN_S):
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(
    name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Our interpreter with these arguments, from the project's root; ended with the block.

    Its log goes to memory: on a device it goes to journald's socket, and a log file would wait for
    the very disk that the ledger syncs.
    """
    words = os.memfd_create(f"{name}.err")
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=words,
            limit=ANSWER_BYTES_MAX,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        program = Program(name, process, words)
        try:
            yield program
        finally:
            await program.end()
    finally:
        os.close(words)


def real_time() -> None:
    """Let this process and all it starts run before ordinary ones; Trouble without the right.

    For a machine that does other things meanwhile: the broker, Qorgan, the least program and the
    desks are then scheduled as if they had it to themselves, all by the same rule.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME_PRIORITY))
    except PermissionError:
        raise Trouble("--real-time needs root (CAP_SYS_NICE)") from None


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: always one of the values, the worst one when there are few."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
