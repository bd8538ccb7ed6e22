"""The daemon's side of a scan: which bus is meant, whether it may be walked over now, and the walk.

The driver walks, between its own polls and with reads alone. A bus that carries locks is in service
while the daemon runs: it is walked over only when whoever asks says so.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from drivers.base import Driver, Searcher
from gateway.core.hardware import Bus, Transport, device_of
from gateway.core.model import Json
from gateway.core.plain import to_plain
from gateway.core.premises import Premises
from gateway.seams import Log


class Scanning:
    """The handler `scan` of a daemon's control socket."""

    def __init__(self, premises: Premises, driver: Driver, log: Log) -> None:
        self._premises = premises
        self._driver = driver
        self._log = log

    async def scan(self, value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
        """First the bus that is meant, `{"bus": null}` where it is none of ours; then news.

        value: `where` is {"bus": id}, {"port": path} or {"host": …, "tcp_port": …}; `sweep` what to
        ask; `force` true for a bus whose doors are in service. Raises ValueError.
        """
        where = value.get("where") if isinstance(value, dict) else None
        bus = self._bus(where) if isinstance(where, dict) else None
        if bus is None:
            yield {"bus": None, "buses": [bus.id for bus in self._premises.buses]}
            return
        doors, status = self._doors(bus), self._driver.status().get(bus.id, {})
        units = status.get("units", {}) if isinstance(status, dict) else {}
        yield {"bus": to_plain(bus), "doors": list[Json](doors), "units": units}
        if doors and value.get("force") is not True:
            raise ValueError(
                f"bus {bus.id} has doors in service ({', '.join(doors)}): scan it when they are "
                "not, or with --force"
            )
        assert isinstance(self._driver, Searcher), "a driver without buses has none in its premises"
        self._log("scan", {"bus": bus.id, "doors": list(doors)})
        sweep = value.get("sweep", {})
        async with aclosing(self._driver.search(bus.id, sweep)) as news:
            async for one in news:
                yield one

    def _bus(self, where: Mapping[str, Json]) -> Bus | None:
        """The bus by its id, or the one with this port or address."""
        for bus in self._premises.buses:
            if bus.transport is Transport.RTU:
                port = where.get("port")
                same = isinstance(port, str) and _same_port(bus.port, port)
            else:
                same = (bus.host, bus.tcp_port) == (where.get("host"), where.get("tcp_port"))
            if same or bus.id == where.get("bus"):
                return bus
        return None

    def _doors(self, bus: Bus) -> list[str]:
        """Doors whose lock hangs on this bus."""
        on_it = {device.id for device in self._premises.devices if device.bus == bus.id}
        return [
            point.id
            for point in self._premises.points
            if point.door is not None
            and point.door.lock is not None
            and device_of(point.door.lock) in on_it
        ]


def _same_port(one: str, other: str) -> bool:
    """True for two names of one device: /dev/serial/by-id/… and /dev/ttyUSB0."""
    return os.path.realpath(one) == os.path.realpath(other)
