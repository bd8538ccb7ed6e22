"""One broker, two interfaces: each uplink leaves by its own, and one cable may go dead unnoticed.

In network namespaces with veth cables: real addresses, routes and lost packets. Needs root.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.network.brokers import Mosquitto, free_port
from simulators.network.nets import FAR, Nets, NoNetsError
from simulators.site import SIMULATED, furnish
from tests.processes import raised, wait_for
from tests.two_ways import TwoWays, unix

CABLES = ("campus0", "lte0")
PREMISES = """
uplinks:
  campus: {{url: "mqtt://{far}:{port}", interface: campus0}}
  lte: {{url: "mqtt://{far}:{port}", interface: lte0}}
routes:
  security:
    via: [campus, lte]
    sends: [alarm, fault, test, state]
    answers: true
    keys: [{{file: security.jwk}}]
"""


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


@pytest.fixture
def school(tmp_path: Path, nets: Nets) -> Iterator[TwoWays]:
    """A gateway at one end of both cables, the broker and the centre at the other."""
    port = free_port()
    site = furnish(tmp_path, port=port)
    head = SIMULATED.read_text(encoding="utf-8").split("uplinks:")[0]
    head = head.replace("/dev/tty", f"{tmp_path}/tty")
    site.config.write_text(head + PREMISES.format(far=FAR, port=port), encoding="utf-8")
    with nets.inside("centre"):
        broker = Mosquitto(tmp_path / "broker", None, port=port, host=FAR).start()
        there = TwoWays(site, broker, seen=site.config)
        there.centre("security")
    try:
        with nets.inside("gateway"):
            there.open()
        yield there
    finally:
        there.end()


def test_uplinks_leave_by_their_own_interfaces_and_outlive_each_other(
    school: TwoWays, nets: Nets
) -> None:
    """A dead cable is noticed by its own heartbeats only; the alarm is there by the other."""
    (security, gateway) = school.processes
    came = re.findall(r"New client connected from ([\d.]+):\d+ as \S+_(\w+) ", school.broker.log)
    assert {uplink: address for address, uplink in came} == {
        "campus": nets.near("campus0"),
        "lte": nets.near("lte0"),
    }
    assert len(came) == 2, "the connections throw each other out"

    nets.lose("campus0")
    began = time.time()
    school.press("guard-post")
    wait_for("the alarm", lambda: raised(security))
    (alarm, *copies) = [line for line in security.stdout() if line["type"].endswith("panic.raised")]
    assert unix(alarm["received_at"]) - unix(alarm["time"]) <= 1.0
    assert all(line["copy"] for line in copies)
    (fault,) = wait_for("fault.path", lambda: gateway.log("fault.path.raised"))
    assert (fault["uplink"], fault["good"]) == ("campus", ["lte"])
    assert unix(fault["timestamp"]) - began <= 10.0

    nets.find("campus0")
    school.press("director")  # ends a back-off, if TCP has not outlasted it all
    wait_for(
        "an answer on it",
        lambda: school.status()["routes"]["security"]["paths"]["campus"] == "answers again",
    )
    assert not gateway.log("fault.path.raised", uplink="lte")
