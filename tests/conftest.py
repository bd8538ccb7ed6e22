"""Fixtures every test may want: certificates and real brokers on loopback."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from simulators.network.brokers import Mosquitto, Nats
from simulators.network.pki import Pki

# The same examples every time: a red run must be red again. HYPOTHESIS_PROFILE=hunt looks for more.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("hunt", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A runner in the background of a shell ignores SIGINT, and whatever it starts inherits that: then
# nothing here would end at Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GATEWAY = "gw-1"
CENTRES = ("security", "case")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """An authority with certificates for one gateway, two centres and a stranger."""
    return Pki(tmp_path_factory.mktemp("pki"), clients=(GATEWAY, *CENTRES, "stranger"))


@pytest.fixture
def mosquitto(tmp_path: Path, pki: Pki) -> Iterator[Mosquitto]:
    """A running mosquitto that demands client certificates."""
    directory = tmp_path / "mosquitto"
    with Mosquitto(directory, pki, gateways=(GATEWAY,), centres=CENTRES) as broker:
        yield broker


@pytest.fixture
def nats(tmp_path: Path, pki: Pki) -> Iterator[Nats]:
    """A running nats-server that demands client certificates."""
    with Nats(tmp_path / "nats", pki, gateways=(GATEWAY,), centres=CENTRES) as broker:
        yield broker
