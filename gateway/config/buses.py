"""Buses and the units on them: what is refused, and what a person should know before wiring.

Owns loading the profiles a document names. Knows neither YAML nor pydantic.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from gateway.config.document import (
    UNIT_ITSELF,
    Loc,
    bus_address,
    duration_ms,
    mapping,
    milliseconds,
    suggest,
)
from gateway.config.files import Folders, Wrong
from gateway.config.findings import Findings
from gateway.config.profile.profiles import doubts, load_profile
from gateway.config.rounds import reads, round_ms
from gateway.config.wiring import Fleet
from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.premises import PointKind
from gateway.core.profile import Profile

POLL = "200ms"
"""How often a device's inputs are read unless configured."""

_SLOW_POLL_MS = 1_000
_SLOW_ANSWER_MS = 1_000
_LINE_KEYS = ("baud", "parity", "stop_bits", "echo")
_ALARMLESS = frozenset({PointKind.MAINS, PointKind.BATTERY, PointKind.RESET_KEY, PointKind.DOOR})


def bus_of(name: str, bus: dict[str, Any]) -> Bus | None:
    """The Bus a section describes; None where it is not whole."""
    port, url = bus.get("port"), bus.get("url")
    baud, stop_bits = bus.get("baud", 9_600), bus.get("stop_bits", 2)
    parity = next((p for p in Parity if p.value == bus.get("parity", Parity.NONE)), None)
    if not isinstance(baud, int) or baud < 1 or not isinstance(stop_bits, int) or parity is None:
        return None
    echo = bus.get("echo")
    line = partial(Bus, name, baud=int(baud), parity=parity, stop_bits=int(stop_bits), echo=echo)
    if isinstance(port, str) is isinstance(url, str):
        return None
    if isinstance(port, str):
        return line(Transport.RTU, port=port)
    try:
        to = bus_address(str(url))
    except Wrong:
        return None
    return line(to.transport, host=to.host, tcp_port=to.port)


def check_buses(findings: Findings, folders: Folders) -> Fleet:
    """Report what is wrong with buses and devices; the devices whose profile could be read."""
    buses = _buses(findings)
    devices = dict(findings.document.entries("devices"))
    fleet = Fleet()
    seen: dict[tuple[str, object], Loc] = {}
    known: dict[str, Profile | None] = {}
    for loc, device in devices.items():
        bus_name, unit = device.get("bus"), device.get("unit")
        if isinstance(bus_name, str) and bus_name not in mapping(
            findings.document.data.get("buses")
        ):
            right = suggest(bus_name, mapping(findings.document.data.get("buses")))
            findings.wrong((*loc, "bus"), f"there is no bus {bus_name!r}", right)
        elif isinstance(bus_name, str) and isinstance(unit, int):
            first = seen.setdefault((bus_name, int(unit)), loc)
            if first is not loc:
                findings.wrong(
                    (*loc, "unit"),
                    f"{unit} is used on {bus_name} already by {findings.where(first)}",
                    "give every unit of a bus an address of its own, in the unit itself too",
                )
        bus = buses.get(str(bus_name))
        if bus is not None and unit == UNIT_ITSELF and bus.transport is not Transport.TCP:
            findings.wrong(
                (*loc, "unit"),
                f"{UNIT_ITSELF} is a board itself, which only Modbus TCP knows",
                "write the unit's own address, 1 to 247",
            )
        profile = _profile(findings, loc, device, folders, known)
        if profile is not None:
            fleet.profiles[str(loc[1])] = profile
            _fits(findings, loc, device, bus, profile)
    return fleet


def check_rounds(findings: Findings, fleet: Fleet) -> None:
    """Warn of what the devices in use cannot do in time, and of what nobody has verified."""
    devices = dict(findings.document.entries("devices"))
    for loc, device in devices.items():
        _worth_knowing(findings, loc, device, fleet)
    for loc, section in findings.document.entries("buses"):
        here = {
            str(at[1]): device
            for at, device in devices.items()
            if device.get("bus") == loc[1] and str(at[1]) in fleet.profiles
        }
        bus = bus_of(str(loc[1]), section)
        if bus is not None and here:
            _slow_neighbours(findings, here, fleet)
            _round(findings, loc, bus, here, fleet)
        elif not any(device.get("bus") == loc[1] for device in devices.values()):
            findings.warn(loc, "no device hangs on it", "describe its devices, or remove it")


def _buses(findings: Findings) -> dict[str, Bus]:
    found: dict[str, Bus] = {}
    seen: dict[object, Loc] = {}
    for loc, section in findings.document.entries("buses"):
        bus = bus_of(str(loc[1]), section)
        if bus is None:
            continue
        found[str(loc[1])] = bus
        first = seen.setdefault((bus.port, bus.host, bus.tcp_port), loc)
        if first is not loc:
            findings.wrong(
                loc,
                f"is the same port as {findings.where(first)}",
                "put all units behind one port on one bus",
            )
        for key in _LINE_KEYS:
            if bus.transport is Transport.TCP and key in section:
                findings.warn(
                    (*loc, key), "has no effect: Modbus TCP has no line", "remove the line"
                )
    return found


def _profile(
    findings: Findings,
    loc: Loc,
    device: dict[str, Any],
    folders: Folders,
    known: dict[str, Profile | None],
) -> Profile | None:
    """The device's profile; what is wrong with a profile's file is reported once."""
    name = device.get("profile")
    if not isinstance(name, str) or not name:
        return None
    if name not in known:
        try:
            found = load_profile(name, folders)
        except Wrong as wrong:
            findings.wrong((*loc, "profile"), wrong.what, wrong.right)
            return None
        if isinstance(found, tuple):
            findings.mistakes.extend(found)
        known[name] = None if isinstance(found, tuple) else found
    return known[name]


def _fits(
    findings: Findings, loc: Loc, device: dict[str, Any], bus: Bus | None, profile: Profile
) -> None:
    if bus is not None and bus.transport.value not in profile.transports:
        findings.wrong(
            (*loc, "bus"),
            f"{bus.id} speaks {bus.transport.value}, and {profile.id} does not",
            f"hang it on a bus that speaks {' or '.join(profile.transports)}",
        )
    if "identity" in device and profile.identity is None:
        findings.wrong(
            (*loc, "identity"),
            f"{profile.id} has no register that says what it is",
            "remove the line",
        )


def _worth_knowing(findings: Findings, loc: Loc, device: dict[str, Any], fleet: Fleet) -> None:
    name = str(loc[1])
    profile = fleet.profiles.get(name)
    if profile is None:
        return
    uses = fleet.uses.get(name, [])
    if not uses:
        findings.warn(loc, "nothing uses it", "connect a point to it, or remove it")
        return
    unsure = doubts(profile, fleet.channels(name))
    if unsure:
        what = f"not everything said of {profile.id} is verified: {', '.join(unsure)}"
        findings.warn(
            (*loc, "profile"),
            what if profile.verified else f"what is said of {profile.id} is not verified",
            "try it on a bench with the unit itself before it guards anybody",
        )
    poll_ms = milliseconds(device.get("poll"), POLL)
    alarming = [u for u in uses if not u.output and u.kind not in _ALARMLESS]
    if poll_ms is not None and poll_ms > _SLOW_POLL_MS and alarming:
        findings.warn(
            (*loc, "poll"),
            f"an alarm on it waits up to {device.get('poll')} to be seen",
            "write 1s or less",
        )


def _slow_neighbours(findings: Findings, here: dict[str, dict[str, Any]], fleet: Fleet) -> None:
    """A unit that thinks for seconds holds up every other one on its bus."""
    for name in here if len(here) > 1 else ():
        answer_ms = fleet.profiles[name].timing.answer_ms
        if answer_ms > _SLOW_ANSWER_MS:
            findings.warn(
                ("devices", name, "bus"),
                f"may take {answer_ms} ms to answer, and the others on {here[name]['bus']} wait",
                "give it a bus of its own",
            )


def _round(
    findings: Findings, loc: Loc, bus: Bus, here: dict[str, dict[str, Any]], fleet: Fleet
) -> None:
    """Warn where the bus, or a unit alone, cannot be read as often as was asked."""
    total_ms, share, least_ms = 0.0, 0.0, 0
    for name, device in here.items():
        profile, channels = fleet.profiles[name], fleet.channels(name)
        poll_ms = milliseconds(device.get("poll"), POLL) or duration_ms(POLL)
        needs_ms = round_ms(bus, profile, channels)
        if not needs_ms:
            continue
        alone_ms = needs_ms + len(reads(profile, channels)) * profile.timing.between_ms
        if alone_ms > poll_ms:
            findings.warn(
                ("devices", name, "poll"),
                f"one round of its inputs takes about {alone_ms:.0f} ms, "
                f"and {poll_ms} ms were asked",
                f"write {_rounded(alone_ms)}ms or more",
            )
        total_ms += needs_ms
        share += needs_ms / poll_ms
        least_ms = min(least_ms or poll_ms, poll_ms)
    if share > 1 and len(here) > 1:
        findings.warn(
            loc,
            f"the bus needs about {total_ms:.0f} ms for one round, and {least_ms} ms were asked",
            f"write a longer poll ({_rounded(total_ms)}ms for all), a higher baud, or a second bus",
        )


def _rounded(duration: float) -> int:
    """Up to the next 50 ms."""
    return -(-int(duration + 1) // 50) * 50
