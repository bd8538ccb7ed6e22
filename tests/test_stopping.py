"""The gateway stops when it is told to, and soon, whatever its broker and its disk do."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from gateway.clock import SystemClock
from gateway.core.lane import Ref
from gateway.core.model import Message, Stream, StreamKey
from gateway.record.disk import OPEN_WITHIN_S
from gateway.record.writer import Writer
from gateway.seams import Seldom
from gateway.tokens import Tokens
from simulators.network.brokers import Mosquitto
from tests.processes import Process, School, raised, school, wait_for
from tests.stuck_disk import STUCK
from tests.two_ways import two_ways, unix

PATIENCE_S = 10.0
"""TimeoutStopSec of the systemd unit: from then on a gateway is killed."""

NUMBERS = (signal.SIGTERM, signal.SIGINT)
STANDS_STILL = ("tests.stuck_disk",)


@pytest.fixture
def campus(tmp_path: Path) -> Iterator[School]:
    with school(tmp_path, Mosquitto) as there:
        yield there


def real(there: School, through: Sequence[str] = (), *, stuck: str = "later") -> Process:
    """`qorgan run` on pins without hardware."""
    words: tuple[str | Path, ...] = (
        *through,
        "gateway",
        "run",
        there.site.config,
        "--pins",
        "mock",
    )
    return there.start("qorgan", *words, environment={STUCK: stuck})


def stops(gateway: Process, number: signal.Signals) -> bool:
    """Tell it to stop: exit code 0 within systemd's patience; whether all was on disk.

    By its own word, which a test that comes late does not change.
    """
    told_s = time.time()
    assert gateway.end(number) == 0
    (last,) = gateway.log("stopped")
    assert unix(last["timestamp"]) - told_s <= PATIENCE_S
    assert "Traceback" not in gateway.err.read_text("utf-8")
    return bool(last["everything_on_disk"])


def catches(gateway: Process, number: signal.Signals) -> bool:
    """True once it has a handler of its own for that signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{gateway.popen.pid}/status").read_text(encoding="ascii")
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)


# --- its broker -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_gateway_stops_with_a_broker_that_stands_still(
    campus: School, number: signal.Signals
) -> None:
    """Connected, with an alarm it cannot deliver: no goodbye is heard, and it goes all the same."""
    gateway = campus.gateway()
    wait_for("uplink", lambda: gateway.log("uplink up"))
    campus.broker.pause()
    campus.press("guard-post")
    assert stops(gateway, number)


@pytest.mark.parametrize("number", NUMBERS)
def test_qorgan_run_stops_while_it_tries_to_reach_a_broker_that_stands_still(
    campus: School, number: signal.Signals
) -> None:
    campus.broker.pause()
    gateway = real(campus)
    wait_for("an attempt that failed", lambda: gateway.log("uplink down"))
    assert stops(gateway, number)


def test_gateway_stops_with_both_its_brokers_standing_still(tmp_path: Path) -> None:
    """The goodbyes do not add up beyond systemd's patience."""
    with two_ways(tmp_path) as (there, _):
        there.centre("security")
        gateway = there.open()
        assert there.lte is not None
        for broker in (there.broker, there.lte):
            broker.pause()
        there.press("guard-post")
        assert stops(gateway, signal.SIGTERM)


def test_gateway_stops_in_the_middle_of_what_it_owes(campus: School) -> None:
    """Pressed again and again, with a centre that answers each: whatever it was about to do."""
    security = campus.centre("security", "--answer", "close")
    gateway = campus.gateway()
    for point in ("guard-post", "director", "nurse"):
        campus.press(point)
    wait_for("the first", lambda: raised(security))
    assert stops(gateway, signal.SIGTERM)


# --- its disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_gateway_stops_with_a_disk_that_stands_still(
    campus: School, number: signal.Signals
) -> None:
    """What could not be written is said in its last line: everything_on_disk false."""
    security = campus.centre("security")
    gateway = campus.gateway(through=STANDS_STILL)
    wait_for("uplink", lambda: gateway.log("uplink up"))
    gateway.popen.send_signal(signal.SIGUSR1)
    campus.press("guard-post")
    wait_for("the alarm ahead of the disk", lambda: raised(security))
    assert not stops(gateway, number)


@pytest.mark.parametrize("number", NUMBERS)
def test_qorgan_run_stops_though_its_ledger_never_opened(
    campus: School, number: signal.Signals
) -> None:
    gateway = real(campus, STANDS_STILL, stuck="always")
    wait_for("uplink", lambda: gateway.log("uplink up"))
    assert gateway.log("fault.storage.raised")
    stops(gateway, number)


def test_qorgan_run_told_to_stop_while_its_ledger_opens_stops(campus: School) -> None:
    """As long as a disk is waited for at the start, and then at once."""
    gateway = real(campus, STANDS_STILL, stuck="always")
    wait_for("a handler", lambda: catches(gateway, signal.SIGTERM))
    assert not gateway.log("state.gateway.restarted")
    assert OPEN_WITHIN_S < PATIENCE_S
    stops(gateway, signal.SIGTERM)


# --- its own loops ----------------------------------------------------------------------------


class Slow:
    """Of a Writer what Tokens asks: one read, answered when the test says so."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()

    def read(self, *_: object) -> asyncio.Future[list[Message]]:
        return self.answer


@pytest.mark.parametrize("answered_first", [True, False])
def test_lane_told_to_end_as_its_read_comes_ends(answered_first: bool) -> None:  # noqa: FBT001 -- a parameter
    """One that went on with what it was given would never be told again."""

    async def story() -> None:
        slow = Slow()
        tokens = Tokens(cast("Writer", slow), Seldom(lambda *_: None, SystemClock()))
        key = StreamKey("security", Stream.LOG, "1ed9e4a0", 1, "57a47006")
        lane = asyncio.create_task(tokens.fetch([Ref(key, 1)]))
        await asyncio.sleep(0)  # it has asked, and waits
        if answered_first:
            slow.answer.set_result([])
        lane.cancel()
        if not answered_first:
            slow.answer.set_result([])
        with pytest.raises(asyncio.CancelledError):
            await lane

    asyncio.run(story())
