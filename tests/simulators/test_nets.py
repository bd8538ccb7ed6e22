"""Cables between two namespaces: what is lost is lost both ways, on that cable, and nobody is told.

Needs root; skipped with the reason where namespaces are not permitted.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Self

import pytest

from simulators.network.nets import Nets, NoNetsError
from tests.processes import WITHIN_S

CABLES = ("first", "second")
SILENT_S = 0.3
"""How long nothing comes before it is taken for lost: a packet takes microseconds."""


@pytest.fixture
def nets() -> Iterator[Nets]:
    """Two cables, or a skip that says why there are none."""
    try:
        made = Nets(CABLES).__enter__()
    except NoNetsError as error:
        pytest.skip(str(error))
    try:
        yield made
    finally:
        made.__exit__(None, None, None)


class Ends:
    """A UDP socket at each end of one cable."""

    def __init__(self, nets: Nets, cable: str) -> None:
        self.far_address = nets.near(cable).removesuffix(".2") + ".1"
        with nets.inside("gateway"):
            self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.near.bind((nets.near(cable), 0))
        with nets.inside("centre"):
            self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.far.bind((self.far_address, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.near.close()
        self.far.close()

    def passes(self, *, up: bool) -> bool:
        """Send one datagram (up: from the gateway) and see whether it comes."""
        here, there = (self.near, self.far) if up else (self.far, self.near)
        here.sendto(b"a word", there.getsockname())
        there.settimeout(SILENT_S)
        try:
            return there.recv(16) == b"a word"
        except TimeoutError:
            return False

    def comes(self, *, up: bool) -> None:
        """Send one datagram and wait for it, however busy the machine is."""
        here, there = (self.near, self.far) if up else (self.far, self.near)
        here.sendto(b"a word", there.getsockname())
        there.settimeout(WITHIN_S)
        assert there.recv(16) == b"a word"


def test_lost_cable_carries_nothing_either_way_and_the_other_does(nets: Nets) -> None:
    with Ends(nets, "first") as first, Ends(nets, "second") as second:
        for ends in (first, second):
            for up in (True, False):
                ends.comes(up=up)
        nets.lose("first")
        assert not first.passes(up=True)
        assert not first.passes(up=False)
        second.comes(up=True)
        second.comes(up=False)


def test_lost_cable_found_again_carries_as_before(nets: Nets) -> None:
    with Ends(nets, "first") as first:
        first.comes(up=True)
        nets.lose("first")
        assert not first.passes(up=True)
        nets.find("first")
        first.comes(up=True)
        first.comes(up=False)


def test_nobody_is_told_of_a_lost_cable(nets: Nets) -> None:
    """Sending goes on without an error, and a connection stays open: as with a dead radio link."""
    with Ends(nets, "first") as first:
        with nets.inside("centre"):
            server = socket.create_server((first.far_address, 0))
        with nets.inside("gateway"):
            line = socket.create_connection(server.getsockname(), WITHIN_S)
        there, _ = server.accept()
        with server, line, there:
            nets.lose("first")
            line.sendall(b"a word")
            there.settimeout(SILENT_S)
            with pytest.raises(TimeoutError):
                there.recv(16)
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            nets.find("first")
            there.settimeout(WITHIN_S)
            assert there.recv(16) == b"a word"  # TCP sends it again
