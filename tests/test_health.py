"""What systemd is told: over a real socket, and never at the price of the loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.health import Systemd
from tests.school import School, live


class Ear:
    """A datagram socket in systemd's place."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(2)

    def hears(self) -> str:
        """The next word."""
        return self._socket.recv(4096).decode()

    def drain(self) -> list[str]:
        """All that waits."""
        self._socket.setblocking(False)
        words = []
        try:
            while True:
                words.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            self._socket.settimeout(2)
            return words

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    listening = Ear(str(tmp_path / "notify"))
    yield listening
    listening.close()


def test_health_says_ready_alive_and_stopping(tmp_path: Path, ear: Ear) -> None:
    """sd_notify's words, each in a datagram of its own."""
    health = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    health.ready("9 points live")
    assert ear.hears().splitlines()[:2] == ["READY=1", "STATUS=9 points live"]
    health.alive()
    assert ear.hears() == "WATCHDOG=1"
    health.stopping()
    assert ear.hears().splitlines() == ["STOPPING=1", "STATUS=stopping"]


def test_health_reaches_the_abstract_namespace(tmp_path: Path) -> None:
    """An address that begins with @ is no file."""
    name = f"qorgan-{tmp_path.name}-{time.monotonic_ns()}"
    ear = Ear(f"\0{name}")
    Systemd({"NOTIFY_SOCKET": f"@{name}"}).alive()
    assert ear.hears() == "WATCHDOG=1"
    ear.close()


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here"])
def test_health_without_systemd_is_silent(address: str) -> None:
    """Nothing to tell is no error, and neither is nobody to tell it to."""
    health = Systemd({"NOTIFY_SOCKET": address} if address else {})
    health.ready("live")
    health.alive()
    health.stopping()


def test_health_does_not_wait_for_a_full_queue(tmp_path: Path, ear: Ear) -> None:
    """systemd is busy: the loop that reads the inputs goes on, and is heard again afterwards."""
    health = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})

    async def many() -> None:
        for _ in range(10_000):
            health.alive()

    asyncio.run(asyncio.wait_for(many(), 10))
    assert len(ear.drain()) < 10_000
    health.alive()
    assert ear.hears() == "WATCHDOG=1"


def test_ready_is_said_again_until_it_is_taken(tmp_path: Path) -> None:
    """A READY that met a deaf systemd goes out with the next sign of life, once."""
    health = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    health.ready("9 points live")
    ear = Ear(str(tmp_path / "notify"))
    health.alive()
    health.alive()
    assert "READY=1" in ear.hears()
    assert ear.hears() == "WATCHDOG=1"
    ear.close()


class Listening:
    """A Health that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def ready(self, status: str) -> None:
        self.told.append(f"ready: {status}")

    def alive(self) -> None:
        self.told.append("alive")

    def stopping(self) -> None:
        self.told.append("stopping")


def test_daemon_is_ready_without_a_network(tmp_path: Path) -> None:
    """Ready means that the inputs are live, whatever the broker does."""
    health = Listening()

    async def scenario(school: School) -> None:
        school.broker.down()
        await school.start()
        await school.clock.sleep(1)

    live(tmp_path, scenario, health=health)
    assert health.told[0] == "ready: 4 points live"
    assert health.told[-1] == "stopping"


def test_daemon_feeds_the_watchdog_every_two_seconds(tmp_path: Path) -> None:
    """From the loop that reads the inputs, so that it proves that loop; none after the stop."""
    health = Listening()

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(10)

    live(tmp_path, scenario, health=health)
    assert 5 <= health.told.count("alive") <= 6
    assert health.told.count("stopping") == 1
