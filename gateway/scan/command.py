"""`qorgan scan`: lists ports, finds the units on a bus, and says what they are. It never writes.

Opens the port itself, or asks the daemon that holds it over the control socket. Progress goes to
standard error, what was found to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from drivers.modbus.search.recognise import questions_of
from drivers.modbus.search.scan import scan
from drivers.modbus.search.sweep import (
    ANSWER_MS,
    BOARD,
    COMMON_SPEEDS,
    EVERY_UNIT,
    NETWORK_ANSWER_MS,
    News,
    Speed,
    Sweep,
    factory_speeds,
    heard,
    in_turn,
    speed_of,
    units_of,
)
from drivers.modbus.wire.port import PortBusy, PortError
from drivers.modbus.wire.ports import open_port
from drivers.modbus.wire.serial import by_id, serial_devices
from gateway.clock import SystemClock
from gateway.config.document import bus_address, duration_ms
from gateway.config.files import Folders, Wrong
from gateway.config.load import check
from gateway.config.profile.profiles import load_profile, shipped
from gateway.control import DEFAULT_SOCKET, ControlError, NoDaemon, ask, socket_of
from gateway.core.hardware import Bus, Parity, Transport
from gateway.core.model import Json
from gateway.core.plain import from_plain, to_plain
from gateway.core.premises import Premises
from gateway.core.profile import Profile
from gateway.scan.outcome import Scanned, bus_name, where_of
from gateway.scan.progress import Show

WELL, NOTHING, USAGE, CONFIGURATION, NO_DAEMON = 0, 1, 2, 3, 4

SILENCE_S = 60.0
"""The longest silence of a daemon that scans: a busy bus lends one exchange a second."""


class _Sorry(Exception):  # noqa: N818 -- what is said to a person, with the exit code
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Site:
    """What is known before anything is asked. own_socket: the person has named one."""

    premises: Premises | None
    profiles: tuple[Profile, ...]
    sockets: tuple[Path, ...]
    own_socket: bool

    @property
    def buses(self) -> tuple[Bus, ...]:
        return self.premises.buses if self.premises else ()


def run_scan(options: argparse.Namespace) -> int:
    """`qorgan scan`: 0 something found, 1 nothing, 2 usage, 3 configuration, 4 no daemon."""
    try:
        site = _site(options)
        if options.target is None:
            return _list(site, as_json=options.json)
        bus, named = _target(options.target, site)
        sweep = _sweep(options, bus, site.profiles)
        scanned = _through_daemon(options, bus, sweep, site, named=named)
        if scanned is None:
            scanned = _alone(options, bus, sweep, site)
    except _Sorry as sorry:
        sys.stderr.write(f"qorgan scan: {sorry}\n")
        return sorry.code
    except KeyboardInterrupt:
        sys.stderr.write("qorgan scan: stopped before anything was asked\n")
        return NOTHING
    return _tell(scanned, as_json=options.json)


# --- what is asked for ------------------------------------------------------------------------


def _site(options: argparse.Namespace) -> _Site:
    premises, beside = None, Path()
    if options.config is not None:
        beside = options.config.absolute().parent
        result = check(options.config, environment=os.environ)
        premises = result.premises
        if premises is None:
            mistakes = "\n".join(str(mistake) for mistake in result.mistakes)
            raise _Sorry(f"the configuration has mistakes\n{mistakes}", CONFIGURATION)
    if options.socket is not None:
        sockets = [options.socket]
    else:
        sockets = [socket_of(Path(premises.ledger.path).parent, {})] if premises else []
        sockets.append(DEFAULT_SOCKET)
    return _Site(premises, _profiles(beside), tuple(sockets), options.socket is not None)


def _profiles(beside: Path) -> tuple[Profile, ...]:
    """The shipped profiles and those beside the configuration; one with mistakes is left out."""
    own = [path.stem for path in sorted((beside / "profiles").glob("*.yaml"))]
    found = []
    for name in dict.fromkeys([*own, *shipped()]):
        profile = load_profile(name, Folders(beside=beside))
        if isinstance(profile, Profile):
            found.append(profile)
        else:
            sys.stderr.write(f"qorgan scan: profile {name} is left out: {profile[0]}\n")
    return tuple(found)


def _target(text: str, site: _Site) -> tuple[Bus, bool]:
    """The bus that is meant, and whether by its name alone, so that only the daemon knows it."""
    for bus in site.buses:
        if text in {bus.id, where_of(bus)}:
            return bus, False
    if "://" in text:
        try:
            at = bus_address(text)
        except Wrong as wrong:
            raise _Sorry(f"{text} {wrong.what}: {wrong.right}", USAGE) from None
        return Bus(bus_name(at.host), at.transport, host=at.host, tcp_port=at.port), False
    if "/" in text:
        port = by_id(text) or text
        return Bus(bus_name(text), Transport.RTU, port=port), False
    if site.premises is not None:
        there = ", ".join(bus.id for bus in site.buses) or "none"
        raise _Sorry(f"no bus {text!r} in the configuration; there are: {there}", USAGE)
    return Bus(text, Transport.RTU), True


def _sweep(options: argparse.Namespace, bus: Bus, profiles: Sequence[Profile]) -> Sweep:
    networked = bus.transport is Transport.TCP
    try:
        units = (*EVERY_UNIT, BOARD) if networked else EVERY_UNIT
        if options.units is not None:
            units = units_of(options.units)
        if BOARD in units and not networked:
            raise _Sorry("unit 255 is a board on Modbus TCP: on a line, 1 to 247", USAGE)
        answer_ms = NETWORK_ANSWER_MS if networked else ANSWER_MS
        if options.answer is not None:
            answer_ms = duration_ms(options.answer)
        fit = [one for one in profiles if bus.transport.value in one.transports]
        tries = 2 if options.thorough else 1
        return Sweep(units, answer_ms, questions_of(fit), tries)
    except Wrong as wrong:
        raise _Sorry(f"--answer {wrong.what}: {wrong.right}", USAGE) from None
    except ValueError as error:
        raise _Sorry(str(error), USAGE) from None


def _speeds(options: argparse.Namespace, bus: Bus, site: _Site) -> tuple[Speed, ...]:
    """Factory settings first, then the bus's own and those asked for, then all that is common."""
    if options.baud is None and (options.parity or options.stop_bits or options.only):
        raise _Sorry("--parity, --stop-bits and --only go with --baud", USAGE)
    parity = Parity(options.parity or "none")
    asked = [Speed(baud, parity, options.stop_bits or 2) for baud in options.baud or ()]
    configured = [speed_of(bus)] if bus in site.buses else []
    if bus.transport is Transport.TCP:
        return (speed_of(bus),)
    if bus.transport is Transport.RTU_OVER_TCP:
        # Only its converter knows how fast the line is; here it only tells how long to wait.
        return (asked[0] if asked else speed_of(bus),)
    if options.only:
        return in_turn(asked)
    rest = COMMON_SPEEDS if options.thorough else ()
    return in_turn(factory_speeds(site.profiles), configured, asked, rest)


# --- the two ways ------------------------------------------------------------------------------


def _through_daemon(
    options: argparse.Namespace, bus: Bus, sweep: Sweep, site: _Site, *, named: bool
) -> Scanned | None:
    """Let the daemon that holds the bus scan it; None where none does."""
    for socket in site.sockets:
        try:
            answers = ask(socket, "scan", _request(options, bus, sweep, named), within_s=SILENCE_S)
            first = next(answers, {})
        except NoDaemon as error:
            if site.own_socket:
                raise _Sorry(str(error), NO_DAEMON) from None
            continue
        except ControlError as error:
            _unasked(options, bus, site, error)
            continue
        if first.get("bus") is not None:
            return _walked(options, first, answers, site)
        if named:
            there = ", ".join(first.get("buses", [])) or "none"
            raise _Sorry(f"the daemon has no bus {bus.id!r}; there are: {there}", USAGE)
    if named:
        raise _Sorry(
            f"{bus.id!r} is no port: name a port (/dev/ttyUSB0), an address (tcp://HOST), or a bus "
            "with --config; without a configuration only a running daemon knows its buses",
            NO_DAEMON,
        )
    return None


def _request(
    options: argparse.Namespace,
    bus: Bus,
    sweep: Sweep,
    named: bool,  # noqa: FBT001 -- as above
) -> dict[str, Json]:
    where: dict[str, Json] = {"host": bus.host, "tcp_port": bus.tcp_port}
    if named:
        where = {"bus": bus.id}
    elif bus.transport is Transport.RTU:
        where = {"port": bus.port}
    return {"where": where, "sweep": to_plain(sweep), "force": bool(options.force)}


def _unasked(options: argparse.Namespace, bus: Bus, site: _Site, error: ControlError) -> None:
    """A daemon is there and does not answer us; a serial port's lock will still tell."""
    if site.own_socket:
        raise _Sorry(str(error), NOTHING) from None
    if bus.transport is not Transport.RTU and not options.force:
        raise _Sorry(
            f"{error}; it may hold this bus, and nothing else would tell: ask as a user of its "
            "group, or use --force",
            NOTHING,
        ) from None


def _walked(
    options: argparse.Namespace,
    first: dict[str, Any],
    answers: Iterator[dict[str, Any]],
    site: _Site,
) -> Scanned:
    """What the daemon finds on its bus."""
    bus = from_plain(Bus, first["bus"])
    scanned = Scanned(bus, site.profiles, polled=first.get("units", {}))
    speed = "" if bus.transport is Transport.TCP else f" and at its speed, {speed_of(bus)}"
    sys.stderr.write(f"bus {bus.id}: through the daemon, between its polls{speed}\n")
    if options.baud is not None or options.thorough:
        sys.stderr.write("other speeds can be tried when the daemon is stopped\n")
    with _show(options) as show:
        try:
            for answer in answers:
                news = heard(answer)
                if news is not None:
                    scanned.take(news)
                    show(news)
            scanned.complete = not scanned.ended
        except ControlError as error:
            if not scanned.units:
                raise _Sorry(str(error), NOTHING) from None
            scanned.ended = str(error)
        except KeyboardInterrupt:
            scanned.ended = "stopped by hand"
        finally:
            if isinstance(answers, Generator):
                answers.close()  # hangs up, at which the daemon ends the scan
    return scanned


def _alone(options: argparse.Namespace, bus: Bus, sweep: Sweep, site: _Site) -> Scanned:
    """Open the port and look for oneself."""
    speeds = _speeds(options, bus, site)
    devices = [one for one in (site.premises.devices if site.premises else ()) if one.bus == bus.id]
    whole = set(EVERY_UNIT) <= set(sweep.units)
    scanned = Scanned(bus, site.profiles, devices=devices, whole=whole)
    told = "" if bus.transport is Transport.TCP else f" at {', '.join(map(str, speeds))}"
    sys.stderr.write(f"{where_of(bus)}: {len(sweep.units)} addresses{told}\n")
    with _show(options) as show:

        def take(news: News) -> None:
            scanned.take(news)
            show(news)

        try:
            asyncio.run(_look(bus, sweep, speeds, take))
            scanned.complete = not scanned.ended
        except PortBusy as error:
            advice = "if it is a Qorgan gateway, name its control socket with --socket"
            raise _Sorry(f"{error}; {advice}", NO_DAEMON) from None
        except PortError as error:
            if not scanned.units:
                raise _Sorry(str(error), NOTHING) from None
            scanned.ended = str(error)
        except KeyboardInterrupt:
            scanned.ended = "stopped by hand"
    return scanned


async def _look(
    bus: Bus, sweep: Sweep, speeds: Sequence[Speed], take: Callable[[News], None]
) -> None:
    clock = SystemClock()
    walk = scan(bus, sweep, speeds, opener=partial(open_port, clock=clock), clock=clock)
    async with aclosing(walk) as news:
        async for one in news:
            take(one)


# --- what a person sees ----------------------------------------------------------------------


def _show(options: argparse.Namespace) -> Show:
    drawn = sys.stderr.isatty() and not options.json
    return Show(sys.stderr, drawn=drawn, now_s=time.monotonic)


def _tell(scanned: Scanned, *, as_json: bool) -> int:
    """Print the outcome."""
    code = WELL if scanned.units else NOTHING
    if as_json:
        _say(json.dumps(scanned.as_json()))
        return code
    lines, warnings, yaml = scanned.lines(), scanned.warnings(), scanned.yaml()
    where = where_of(scanned.bus)
    _say(f"on {where}:" if scanned.units else f"nothing{' new' if lines else ''} found on {where}")
    for line in lines:
        _say(line)
    for warning in warnings:
        _say(f"! {warning}")
    if yaml:
        _say(f"\nto paste into the configuration, then `qorgan check`:\n\n{yaml}")
    return code


def _list(site: _Site, *, as_json: bool) -> int:
    """The ports of this machine, and the buses of the configuration."""
    devices = serial_devices()
    buses = {bus.id: where_of(bus) for bus in site.buses}
    if as_json:
        _say(json.dumps({"ports": [to_plain(port) for port in devices], "buses": buses}))
        return WELL if devices or buses else NOTHING
    for device in devices:
        name = f"  {device.by_id}" if device.by_id else ""
        _say(f"{device.path}  {device.description}{name}")
    if not devices:
        _say("no serial port on this machine; plug the adapter in (the kernel's log names it)")
    for bus in site.buses:
        speed = "" if bus.transport is Transport.TCP else f", {speed_of(bus)}"
        count = sum(one.bus == bus.id for one in site.premises.devices) if site.premises else 0
        _say(f"bus {bus.id}: {where_of(bus)}{speed}, devices: {count}")
    return WELL if devices or buses else NOTHING


def _say(line: str) -> None:
    # A terminal need not speak UTF-8.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
