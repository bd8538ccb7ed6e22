"""A school with two ways out: two brokers of different makes, a ferry on the gateway's way to one.

The centres go to the brokers straight, so what breaks is the gateway's own path and nothing else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from gateway.control import ask
from simulators.network.brokers import Broker, Mosquitto, Nats, free_port
from simulators.network.ferry import Ferry
from simulators.site import GATEWAY, SIMULATED, furnish
from tests.processes import Process, School, wait_for

STARTED_WITHIN_S = 90.0
CENTRES = ("security", "case", "deputy")

UPLINKS = """
uplinks:
  campus: {{url: "mqtts://127.0.0.1:{campus}", mqtt: "5", {tls}}}
  lte: {{url: "mqtts://127.0.0.1:{lte}", mqtt: 3.1.1, {tls}}}
"""
TLS = "ca: ca.pem, certificate: gateway.pem"
ROUTES = """
routes:
  security:
    via: [campus, lte]
    sends: [alarm, fault, test, state]
    answers: true
    acknowledge_within: 5s
    then: [deputy]
    keys: [{file: security.jwk}]
  deputy: {via: [lte], sends: [], answers: true, keys: [{file: deputy.jwk}]}
  case: {via: [campus, lte], sends: [alarm, fault, state], keys: [{file: case.jwk}]}
"""
REACTIONS = """
reactions:
  - {on: alarm.panic.unanswered, do: sound, output: entrance/relay-3, for: 2m}
"""


@dataclass
class TwoWays(School):
    """`broker` is the campus one. `seen` is the configuration as the centres have it."""

    seen: Path = field(default_factory=Path)
    lte: Broker | None = None

    def centre(self, route: str, *options: str | Path) -> Process:
        """As a School's; it listens once `open` has returned."""
        key = self.site.private_key_file(route)
        return self.start(
            f"centre-{route}",
            *("simulators", "centre", "--config", self.seen, "--route", route, "--key", key),
            *("--json", *options),
        )

    def open(self) -> Process:
        """Start the gateway beside the centres; returns it when all of them are connected."""
        centres = list(self.processes)
        gateway = self.start(
            "gateway",
            *("simulators", "run", "--config", self.site.config, "--control", self.site.control),
        )
        live = "live gateway"  # several programs start at once, and none of that is under test
        wait_for(live, lambda: gateway.log("state.gateway.restarted"), within_s=STARTED_WITHIN_S)
        wait_for(live, self.site.control.exists)
        via = re.findall(r"^  ([a-z]+):[^\[]*via: \[(.*?)\]", self.seen.read_text(), re.MULTILINE)
        for route, uplinks in via:
            ups = [f"uplink {uplink}: up" for uplink in uplinks.split(", ")]
            for centre in centres:
                if centre.name == f"centre-{route}":
                    up = partial(_said, centre, ups)
                    wait_for(f"{route} on {uplinks}", up, within_s=STARTED_WITHIN_S)
        wait_for("uplinks", lambda: len({line["uplink"] for line in gateway.log("uplink up")}) > 1)
        return gateway

    def siren(self) -> bool:
        """Whether the output of the local reaction is driven."""
        told: Any = self.ask({"status": True})
        return bool(told["units"]["entrance"]["outputs"]["relay-3"])

    def status(self) -> dict[str, Any]:
        """What `qorgan status` is told."""
        return next(ask(self.folder / "qorgan.sock", "status", True))

    def settled(self, *routes: str) -> None:
        """Wait until receipts cover the alarm streams of these routes."""

        def all_covered() -> bool:
            told = self.status()["routes"]
            return not any(told[route]["owed"]["alarm"] for route in routes)

        wait_for("everything settled", all_covered)


@contextlib.contextmanager
def two_ways(
    folder: Path,
    *,
    routes: str = ROUTES,
    changes: Mapping[str, str] | None = None,
    one_broker: bool = False,
) -> Iterator[tuple[TwoWays, Ferry]]:
    """The school, its brokers running, and the ferry before the campus broker.

    changes: texts of the configuration, and what stands there instead. one_broker: the second way
    leads to the campus broker too, by a ferry of its own.
    """
    ports = {"campus": free_port(), "lte": free_port()}
    site = furnish(folder, port=ports["campus"], centres=CENTRES)
    campus, lte = (
        kind(folder / name, site.pki, gateways=(GATEWAY,), centres=CENTRES, port=ports[name])
        for name, kind in (("campus", Mosquitto), ("lte", Nats))
    )
    head = SIMULATED.read_text(encoding="utf-8").split("uplinks:")[0]
    head = head.replace("/dev/tty", f"{folder}/tty")

    def written(name: str, campus_port: int, lte_port: int) -> Path:
        uplinks = UPLINKS.format(campus=campus_port, lte=lte_port, tls=TLS)
        text = head + uplinks + routes + REACTIONS
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = folder / name
        path.write_text(text, encoding="utf-8")
        return path

    with Ferry(ports["campus"]) as ferry, Ferry(ports["campus"]) as second, campus, lte:
        lte_port = second.port if one_broker else ports["lte"]
        written(site.config.name, ferry.port, lte_port)
        seen = written("seen.yaml", ports["campus"], lte_port)
        there = TwoWays(site, campus, seen=seen, lte=lte)
        try:
            yield there, ferry
        finally:
            there.end()


def _said(centre: Process, words: list[str]) -> bool:
    text = centre.err.read_text("utf-8")
    return all(word in text for word in words)


def unix(text: str) -> float:
    """Seconds of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


def told(centre: Process, kind: str, **data: object) -> list[dict[str, Any]]:
    """The lines of that type at a centre that were no copies, with that data."""
    return [
        line
        for line in centre.stdout()
        if line["type"] == f"org.qorgan.{kind}"
        and not line["copy"]
        and all(line["data"].get(name) == value for name, value in data.items())
    ]
