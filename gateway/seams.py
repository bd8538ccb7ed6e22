"""Everything the daemon takes from the outside, in one place: time, dice, disk, wires, pins, words.

The daemon is the same under systemd and in a simulation; only these differ. Nothing in it asks the
machine for the time or for a random number except through here, so a run replays from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drivers.base import Driver, Memory
from gateway.clock import Clock
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer
from gateway.uplink.link import Connector

Log = Callable[[str, Mapping[str, object]], None]
"""A line for the log: what happened, and its fields. Never a secret, a token or a card number."""


LOGGED_EVERY_US = 10_000_000
LOGGED_KINDS_MAX = 20


class Seldom:
    """A Log for what a stranger or a broken disk can cause without end.

    The same line is written once in 10 s, and at most 20 different ones in that time.
    """

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._told_us: dict[str, int] = {}

    def __call__(self, event: str, fields: Mapping[str, object]) -> None:
        """Write a warning, unless it has been written."""
        now_us, line = self._clock.now_us(), f"{event} {dict(fields)}"
        self._told_us = {
            told: at_us for told, at_us in self._told_us.items() if now_us - at_us < LOGGED_EVERY_US
        }
        if line not in self._told_us and len(self._told_us) < LOGGED_KINDS_MAX:
            self._told_us[line] = now_us
            self._log(event, {"level": "warning", **fields})


class Disk(Protocol):
    """Opens the ledger and starts its writer."""

    async def open(
        self,
        *,
        start: str,
        fresh_id: str,
        boot: str,
        utc_ms: int,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
    ) -> tuple[Writer, Ledger]:
        """A started Writer and its open ledger, in memory where the disk fails.

        Raises LedgerBusy when another daemon holds the file. The callbacks come on the loop, once
        when writing begins to fail and once when all that was kept is on disk again.
        """


@dataclass(frozen=True, slots=True)
class Seams:
    """The outside of one daemon.

    random: jitter and ids; `random.SystemRandom()` on a device, a seeded one in a simulation.
    memory: the one that `driver` was made with.
    """

    clock: Clock
    random: random.Random
    disk: Disk
    connector: Connector
    driver: Driver
    log: Log
    memory: Memory = field(default_factory=Memory)
