"""A centre ends when it is told to, and soon, whatever its broker does and whoever reads it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway.keys import load_signing_key
from gateway.piped import READER_LEFT
from simulators.centre.client import CentreClient
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Answer, Outgoing
from simulators.centre.store import CentreStore
from simulators.leaving import FORCED, LEAVE_WITHIN_S
from simulators.network.brokers import HOST, Mosquitto
from tests.processes import ROOT, School, school, wait_for
from tools.vector_parts import GATEWAY, KEYS, ROUTE, STARTS, Gateway, event_id, raised

ENDS_WITHIN_S = LEAVE_WITHIN_S + 20.0
"""For a busy machine. That it was not ended by force is told by its exit code."""


# --- a cancellation that meets an answer ------------------------------------------------------


class Core(CentreCore):
    """Says when an answer has been settled: in the same turn the client waits for company."""

    def __init__(self) -> None:
        super().__init__(ROUTE, {GATEWAY: [KEYS["gateway"].public]}, KEYS["security"])
        self.settled = asyncio.Event()

    def answered(self, answer: Answer) -> tuple[Outgoing, ...]:
        self.settled.set()
        return super().answered(answer)


@pytest.mark.parametrize("turns", range(4))
def test_centre_told_to_end_as_somebody_answers_ends(turns: int) -> None:
    """In whatever order the two come within a few turns of the loop; nothing is left waiting."""

    async def story() -> None:
        core = Core()
        verdict = core.receive(GATEWAY, ROUTE, "campus", raised(box, 1).token, 1)
        assert verdict.row is not None
        core.stored(verdict.row)
        with contextlib.closing(CentreStore(None, ROUTE)) as store:
            client = CentreClient(core, store, gateways=[GATEWAY], uplinks=())
            running = asyncio.create_task(client.run())
            client.acknowledge(event_id(1))
            await core.settled.wait()
            running.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            client.dispatch(event_id(1))
            ended, _ = await asyncio.wait([running], timeout=ENDS_WITHIN_S)
            assert ended, "it goes on as if nobody had told it to end"
            assert running.cancelled()

    box = Gateway(epoch=6, start=STARTS[6])
    asyncio.run(story())


# --- brokers ----------------------------------------------------------------------------------


def gone(there: School) -> None:
    there.broker.kill()


def stalled(there: School) -> None:
    there.broker.pause()


@contextlib.contextmanager
def flood(there: School) -> Iterator[None]:
    """The same alarms again and again, as fast as they can be brought to the broker."""
    signer = load_signing_key(there.folder / "gateway.jwk")
    box = Gateway(epoch=6, start=STARTS[6])
    tokens = [
        box.seal("alarm.panic.raised", "director", second=n, alarm=event_id(n), signer=signer).token
        for n in range(1, 101)
    ]
    context = ssl.create_default_context(cafile=there.site.pki.ca)
    context.load_cert_chain(there.site.pki.client(GATEWAY))
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="flood", protocol=paho.MQTTv5)
    client.tls_set_context(context)
    client.connect(HOST, there.broker.port)
    enough = threading.Event()

    def pour() -> None:
        while not enough.is_set():
            for token in tokens:
                client.publish(f"qorgan/v1/{GATEWAY}/{ROUTE}/alarm", token, qos=0)
                client.loop(0)

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        yield
    finally:
        enough.set()
        pouring.join()
        client.disconnect()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[School]:
    with school(tmp_path, Mosquitto) as furnished:
        yield furnished


NUMBERS = (signal.SIGTERM, signal.SIGINT)
MISFORTUNES: Mapping[str, Callable[[School], None]] = {
    "well": lambda _: None,
    "gone": gone,
    "stalled": stalled,
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_centre_ends_whatever_has_become_of_its_broker(
    there: School, number: signal.Signals, misfortune: str
) -> None:
    centre = there.centre(ROUTE)
    MISFORTUNES[misfortune](there)
    assert centre.end(number, within_s=ENDS_WITHIN_S) == 0
    assert "Traceback" not in centre.err.read_text("utf-8")


def test_centre_ends_while_it_tries_to_reach_a_broker_that_stands_still(there: School) -> None:
    """Taken by the kernel, answered by nobody: the thread that shakes hands is not waited out."""
    centre = there.centre(ROUTE)
    there.broker.pause()
    wait_for("a lost connection", lambda: "campus: down" in centre.err.read_text("utf-8"))
    assert centre.end(signal.SIGTERM, within_s=ENDS_WITHIN_S) == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_centre_ends_in_the_middle_of_a_flood(there: School, number: signal.Signals) -> None:
    centre = there.centre(ROUTE, "--answer", "close", "--db", there.folder / "centre.db")
    with flood(there):
        wait_for("the flood", lambda: len(centre.stdout()) > 300)
        assert centre.end(number, within_s=ENDS_WITHIN_S) == 0
    assert "Traceback" not in centre.err.read_text("utf-8")


# --- what is not its broker's -----------------------------------------------------------------


def piped_centre(there: School) -> subprocess.Popen[bytes]:
    """A centre whose lines go into a pipe that nobody reads yet, listening."""
    err = there.folder / "piped.err"
    with err.open("wb") as stderr:
        centre = subprocess.Popen(
            [
                *(sys.executable, "-m", "simulators", "centre", "--config", there.site.config),
                *("--route", ROUTE, "--key", there.site.private_key_file(ROUTE), "--json"),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    wait_for("listening", lambda: "uplink campus: up" in err.read_text("utf-8"))
    return centre


def test_centre_whose_reader_stands_still_is_ended_by_force(there: School) -> None:
    """A full pipe holds up the whole program: the signal ends it all the same, and says so."""
    centre = piped_centre(there)
    assert centre.stdout is not None
    with centre, flood(there):
        wait_for("a write that stands still", lambda: "pipe_write" in _state(centre.pid))
        centre.send_signal(signal.SIGTERM)
        assert centre.wait(ENDS_WITHIN_S) == FORCED
    assert "ended by force" in (there.folder / "piped.err").read_text("utf-8")


def test_centre_told_twice_ends_at_once(there: School) -> None:
    centre = piped_centre(there)
    with centre, flood(there):
        wait_for("a write that stands still", lambda: "pipe_write" in _state(centre.pid))
        centre.send_signal(signal.SIGTERM)
        wait_for("the signal to be heard", lambda: not _caught(centre.pid, signal.SIGTERM))
        centre.send_signal(signal.SIGTERM)
        assert centre.wait(ENDS_WITHIN_S) == -signal.SIGTERM


def test_centre_whose_reader_has_gone_leaves_without_a_traceback(there: School) -> None:
    """As under `| head -1`."""
    centre = piped_centre(there)
    assert centre.stdout is not None
    with centre, flood(there):
        assert centre.stdout.readline().startswith(b"{")
        centre.stdout.close()
        assert centre.wait(ENDS_WITHIN_S) == READER_LEFT
    said = (there.folder / "piped.err").read_text("utf-8")
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def _state(pid: int) -> str:
    """Which call of the kernel a process waits in (proc(5), wchan)."""
    return Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")


def _caught(pid: int, number: signal.Signals) -> bool:
    """True while a process has a handler of its own for that signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)
