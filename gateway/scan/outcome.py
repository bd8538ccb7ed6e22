"""What came of a scan, for people and programs: units, models, warnings, and YAML to paste.

Holds what a scan told and prints nothing. What it writes as YAML is a proposal for a configuration;
`qorgan check` judges it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.modbus.search.recognise import Guess, recognise
from drivers.modbus.search.sweep import BOARD, Doubt, Ended, FoundUnit, News, Speed, speed_of
from gateway.core.hardware import Bus, Device, Transport
from gateway.core.model import Json
from gateway.core.profile import Profile


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was found, and what it may be. device: as configured, None where it is not."""

    found: FoundUnit
    guess: Guess
    device: Device | None = None

    @property
    def told(self) -> str:
        """The guess in words: `looks like wb-mr6c: says WBMR6C, firmware 1.30.2, serial 4711`."""
        guess = self.guess
        if not guess.profiles:
            model = "unknown model"
        elif guess.sure:
            model = f"looks like {guess.profiles[0]}"
        else:
            model = f"could be {' or '.join(guess.profiles)}"
        says = [
            f"says {guess.says}" if guess.says else "",
            f"firmware {guess.firmware}" if guess.firmware else "",
            f"serial {guess.serial}" if guess.serial else "",
        ]
        more = ", ".join(part for part in says if part)
        return f"{model}: {more}" if more else model


class Scanned:
    """The outcome of one scan; `take` what it tells.

    bus: what was scanned, as configured or as named by hand. devices: configured on it. polled:
    what the daemon that holds it says of its own units, by device; those were not asked.
    """

    def __init__(
        self,
        bus: Bus,
        profiles: Sequence[Profile],
        *,
        devices: Sequence[Device] = (),
        polled: Mapping[str, Mapping[str, Any]] | None = None,
        whole: bool = True,
    ) -> None:
        """whole: every address is asked, so that a configured unit that is not found is away."""
        self.bus = bus
        self.complete = False
        self.ended = ""
        self.units: list[Unit] = []
        self.doubts: list[Doubt] = []
        self._profiles = [one for one in profiles if bus.transport.value in one.transports]
        self._devices = {device.unit: device for device in devices}
        self._polled = polled or {}
        self._whole = whole

    def take(self, news: News) -> None:
        """Note news; Progress is nobody's outcome."""
        if isinstance(news, FoundUnit):
            guess = recognise(news.answers, self._profiles)
            self.units.append(Unit(news, guess, self._devices.get(news.unit)))
        elif isinstance(news, Doubt):
            self.doubts.append(news)
        elif isinstance(news, Ended):
            self.ended = news.why

    # --- the line -------------------------------------------------------------------------------

    @property
    def speed(self) -> Speed:
        """What the bus should be set to: as it is where it has devices, else as most units are."""
        speeds = [unit.found.speed for unit in self.units if unit.found.speed is not None]
        if self._devices or self._polled or not speeds:
            return speed_of(self.bus)
        return Counter(speeds).most_common(1)[0][0]

    def astray(self, unit: Unit) -> bool:
        """True for a unit that is set to another speed than the bus."""
        return unit.found.speed is not None and not _alike(unit.found.speed, self.speed)

    # --- for people -----------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """Units, one a line, in the order of their addresses."""
        told = []
        for unit in sorted(self.units, key=lambda one: one.found.unit):
            speed = "" if unit.found.speed is None else f"  {unit.found.speed!s:<10}"
            name = f"  ({unit.device.id})" if unit.device else ""
            told.append(f"  unit {unit.found.unit:>3}{speed}  {unit.told}{name}")
        for name, one in self._polled.items():
            state = f"{one.get('profile')}, polled by the daemon: {one.get('state')}"
            told.append(f"  unit {one.get('unit'):>3}  {name}: {state}")
        return told

    def warnings(self) -> list[str]:
        """What somebody should look at, in words."""
        found = [f"{doubt.speed}: {doubt.text}" for doubt in self.doubts]
        for unit in self.units:
            where = f"unit {unit.found.unit}"
            if self.astray(unit):
                found.append(
                    f"{where} talks at {unit.found.speed}, the bus at {self.speed}: units that "
                    "share a line share a speed; change it with its maker's tool"
                )
            if unit.found.late:
                found.append(f"{where} answers late: give its profile a longer `timing: answer`")
            found += [f"{where}: {what}" for what in self._disagreements(unit)]
        counts = Counter(unit.found.unit for unit in self.units)
        found += [
            f"address {unit} is used at {times} speeds: give one of the units another address "
            "before they share a line"
            for unit, times in counts.items()
            if times > 1
        ]
        if BOARD in counts and len(counts) > 1:
            found.append("unit 255 is the board itself, which may answer at another address too")
        if self._whole and self.complete and not self._polled:
            found += [
                f"{device.id} (unit {unit}) did not answer"
                for unit, device in self._devices.items()
                if unit not in counts
            ]
        if self.ended:
            found.append(f"the scan ended early: {self.ended}")
        return found

    def _disagreements(self, unit: Unit) -> list[str]:
        """Where a configured unit is not what it is configured to be."""
        device, guess = unit.device, unit.guess
        if device is None or not guess.sure:
            return []
        if device.profile.id != guess.profiles[0]:
            return [f"{device.id} is configured as {device.profile.id}: {unit.told}"]
        if device.identity is not None and guess.identity != device.identity:
            return [f"{device.id} must say {device.identity}, and says {guess.identity}"]
        return []

    # --- YAML -----------------------------------------------------------------------------------

    def yaml(self) -> str:
        """Buses and devices to paste, without what is configured already; empty: nothing new.

        What cannot be used as it stands is there as a comment that says why.
        """
        new = [unit for unit in self.units if unit.device is None]
        if not new:
            return ""
        lines = ["buses:", f"  {self.bus.id}: {self._bus_yaml()}", "devices:"]
        names: set[str] = set()
        for unit in sorted(new, key=lambda one: (self.astray(one), one.found.unit)):
            lines += self._device_yaml(unit, names)
        return "\n".join(lines)

    def _bus_yaml(self) -> str:
        bus, speed = self.bus, self.speed
        if bus.transport is Transport.TCP:
            return f"{{url: {_url(bus)}}}"
        where = f"port: {bus.port}" if bus.transport is Transport.RTU else f"url: {_url(bus)}"
        line = f"baud: {speed.baud}, parity: {speed.parity.value}, stop_bits: {speed.stop_bits}"
        return f"{{{where}, {line}}}"

    def _device_yaml(self, unit: Unit, names: set[str]) -> list[str]:
        guess, number = unit.guess, unit.found.unit
        why = []
        if self.astray(unit):
            why.append(f"set it to {self.speed} first")
        if not guess.profiles:
            why.append("unknown model: write a profile, or try generic")
        profile = guess.profiles[0] if guess.profiles else "generic"
        name = f"{profile}-{number}" if guess.sure else f"unit-{number}"
        if name in names:
            why.append("give it another address first")
        hint = "" if guess.sure or not guess.profiles else f"  # {unit.told}"
        names.add(name)
        parts = [f"bus: {self.bus.id}", f"unit: {number}", f"profile: {profile}"]
        if guess.sure and guess.identity:
            parts.append(f"identity: {json.dumps(guess.identity)}")
        line = f"{name}: {{{', '.join(parts)}}}{hint}"
        return [f"  # {'; '.join(why)}", f"  # {line}"] if why else [f"  {line}"]

    # --- for programs ---------------------------------------------------------------------------

    def as_json(self) -> dict[str, Json]:
        """All of it as one object."""
        units: list[Json] = []
        for unit in sorted(self.units, key=lambda one: one.found.unit):
            guess, speed = unit.guess, unit.found.speed
            units.append(
                {
                    "unit": unit.found.unit,
                    "speed": None if speed is None else str(speed),
                    "device": None if unit.device is None else unit.device.id,
                    "profiles": list[Json](guess.profiles),
                    "sure": guess.sure,
                    "says": guess.says,
                    "identity": guess.identity,
                    "firmware": guess.firmware,
                    "serial": guess.serial,
                    "late": unit.found.late,
                }
            )
        return {
            "bus": self.bus.id,
            "where": where_of(self.bus),
            "complete": self.complete,
            "units": units,
            "polled": {name: dict(one) for name, one in self._polled.items()},
            "warnings": list[Json](self.warnings()),
            "yaml": self.yaml(),
        }


def where_of(bus: Bus) -> str:
    """Where a bus is: its port, or its address."""
    return bus.port if bus.transport is Transport.RTU else _url(bus)


def bus_name(where: str) -> str:
    """An id for a bus that was named by its port or host: `ttyusb0`, `10-0-0-7`."""
    name = re.sub(r"[^a-z0-9]+", "-", where.rpartition("/")[2].lower()).strip("-")
    return name[:32].strip("-") or "bus"


def _url(bus: Bus) -> str:
    scheme = "tcp" if bus.transport is Transport.TCP else "rtu+tcp"
    port = "" if (bus.transport, bus.tcp_port) == (Transport.TCP, 502) else f":{bus.tcp_port}"
    host = f"[{bus.host}]" if ":" in bus.host else bus.host
    return f"{scheme}://{host}{port}"


def _alike(one: Speed, other: Speed) -> bool:
    """True where units hear each other: stop bits are a pause, more of them harm nobody."""
    return (one.baud, one.parity) == (other.baud, other.parity)
