"""The ferry: what is carried arrives and is counted; what is held is held, and nobody is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from simulators.network.brokers import HOST
from simulators.network.ferry import TCP_IP_HEADERS, Carried, Ferry
from tests.processes import wait_for


@pytest.fixture
def shouter() -> Iterator[int]:
    """The port of a server that says everything back, twice."""

    def serve(line: socket.socket) -> None:
        with line:
            while data := line.recv(65_536):
                line.sendall(data * 2)

    def accept() -> None:
        while not stopping.is_set():
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    stopping = threading.Event()
    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        stopping.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def whole(line: socket.socket, count: int) -> bytes:
    """Exactly so many bytes."""
    found = b""
    while len(found) < count:
        found += line.recv(count - len(found))
    return found


def test_ferry_carries_and_counts_what_the_kernel_counts(shouter: int) -> None:
    with Ferry(shouter) as ferry, socket.create_connection((HOST, ferry.port), 5) as line:
        line.sendall(b"x" * 1_000)
        assert whole(line, 2_000) == b"x" * 2_000
        wait_for("the count", lambda: ferry.carried().down_bytes == 2_000)
        carried = ferry.carried()
        assert carried.up_bytes == 1_000
        assert 4 <= carried.segments <= 12
        assert carried.wire_bytes == 3_000 + carried.segments * TCP_IP_HEADERS
        assert ferry.carried().since(carried).up_bytes == 0


def test_ferry_goes_on_counting_over_connections(shouter: int) -> None:
    with Ferry(shouter) as ferry:
        for _ in range(3):
            with socket.create_connection((HOST, ferry.port), 5) as line:
                line.sendall(b"x" * 100)
                whole(line, 200)
        wait_for("the count", lambda: ferry.carried().up_bytes == 300)
    assert Carried(1, 2, 3).since(Carried(1, 1, 1)) == Carried(0, 1, 2)


def test_stalled_ferry_holds_everything_and_closes_nothing(shouter: int) -> None:
    with Ferry(shouter) as ferry, socket.create_connection((HOST, ferry.port), 5) as line:
        line.sendall(b"a")
        assert whole(line, 2) == b"aa"
        ferry.stall()
        ferry.carried()  # it has stalled when it answers this
        line.sendall(b"b")
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(1)
        with socket.create_connection((HOST, ferry.port), 5) as newcomer:
            newcomer.sendall(b"c")
            newcomer.settimeout(0.3)
            with pytest.raises(TimeoutError):
                newcomer.recv(1)
            ferry.resume()
            newcomer.settimeout(5)
            assert whole(newcomer, 2) == b"cc"
        line.settimeout(5)
        assert whole(line, 2) == b"bb"


def test_cut_ferry_breaks_what_there_is_and_lets_newcomers_pass(shouter: int) -> None:
    with Ferry(shouter) as ferry:
        with socket.create_connection((HOST, ferry.port), 5) as line:
            line.sendall(b"a")
            whole(line, 2)
            ferry.cut()
            assert line.recv(1) == b""
        with socket.create_connection((HOST, ferry.port), 5) as line:
            line.sendall(b"b")
            assert whole(line, 2) == b"bb"
