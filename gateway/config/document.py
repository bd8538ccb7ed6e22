"""A configuration as it was read, and how its words are read: durations, pins, addresses.

Owns the document (plain values with the line of every key) and the parsers of single values.
Knows neither YAML nor pydantic, and judges nothing that takes two keys to see.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from gateway.config.child import Mistake
from gateway.config.files import Wrong
from gateway.core.hardware import Transport

Loc: TypeAlias = tuple[str | int, ...]

UNITS_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "y": 365 * 86_400_000,
}
"""Units of a duration, in milliseconds; a year is 365 days."""

GPIO_LAST = 27
"""The 40-pin header carries BCM numbers 0 to 27."""

TEXT_MAX = 200
"""Longest text of one value, in characters."""

DOORS_ALL = "*"
"""What `doors: all` of a local rule is read as; no door can be named so."""

UNIT_MAX = 247
"""Highest Modbus address of a unit (MODBUS over Serial Line V1.02, 2.2)."""

UNIT_ITSELF = 255
"""Address of the board itself on Modbus TCP (Messaging Implementation Guide V1.0b, 4.4.1.2)."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}  # IANA
_MODBUS_PORT = 502  # IANA


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is."""

    host: str
    port: int
    tls: bool

    @property
    def loopback(self) -> bool:
        """True when nothing leaves this machine."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class BusAddress:
    """Where a Modbus TCP unit, or a converter to a serial line, is."""

    transport: Transport
    host: str
    port: int


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as `50ms`, `5s`, `12h`, `2y`; Wrong for anything else."""
    found = re.fullmatch(r"([0-9]{1,9})(ms|[smhdy])", text)
    if found:
        return int(found[1]) * UNITS_MS[found[2]]
    units = "(units: ms, s, m, h, d, y)"
    if re.fullmatch(r"[0-9]{1,9}", text):
        raise Wrong(f"{text} has no unit", f"write {text}s if seconds are meant {units}")
    raise Wrong(f"{text!r} is not a duration", f"write a whole number and its unit {units}")


def pin_or_channel(text: str) -> str:
    """The address `gpio:N` or `DEVICE/CHANNEL` in its one spelling; Wrong for anything else."""
    device, slash, channel = text.partition("/")
    if slash:
        if all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", part) for part in (device, channel)):
            return text
        raise Wrong(
            f"{text!r} is no channel of a device", "write DEVICE/CHANNEL, such as entrance/input-1"
        )
    found = re.fullmatch(r"gpio:(0|[1-9][0-9]?)", text)
    if found and int(found[1]) <= GPIO_LAST:
        return text
    pins = f"write gpio:0 to gpio:{GPIO_LAST} (BCM number, not the header's)"
    raise Wrong(f"{text!r} is no pin", pins if "gpio" in text else f"{pins}, or DEVICE/CHANNEL")


def bus_address(text: str) -> BusAddress:
    """Where a bus's URL leads: `tcp://HOST[:502]` or `rtu+tcp://HOST:PORT`; Wrong for others."""
    right = "write tcp://HOST (Modbus TCP) or rtu+tcp://HOST:PORT (a converter to RS-485)"
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise Wrong("is not a URL", right) from None
    transports = {"tcp": Transport.TCP, "rtu+tcp": Transport.RTU_OVER_TCP}
    if url.scheme not in transports:
        raise Wrong(f"the scheme {url.scheme!r} is not spoken here", right)
    if not host or not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", host) or port == 0:
        raise Wrong("names no host", right)
    if "@" in url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise Wrong("has more than a host and a port", right)
    transport = transports[url.scheme]
    if port is None and transport is Transport.RTU_OVER_TCP:
        raise Wrong("names no port", "write the port the converter listens on: rtu+tcp://HOST:PORT")
    return BusAddress(transport, host, port or _MODBUS_PORT)


def unit_number(value: object) -> object:
    """`value`, or Wrong for a number no unit can have."""
    number = spelled_once(value)
    if isinstance(number, int) and not isinstance(number, bool):
        right = f"write 1 to {UNIT_MAX}, or {UNIT_ITSELF} for the board itself on Modbus TCP"
        if number == 0:
            raise Wrong("0 is every unit at once (broadcast)", right)
        if not 1 <= number <= UNIT_MAX and number != UNIT_ITSELF:
            raise Wrong(f"{int(number)} is out of bounds", right)
    return number


def address(text: str) -> Address:
    """The broker a URL names, with the scheme's port if it has none; Wrong for anything else.

    Nothing of the URL is repeated in a message: people write passwords into URLs.
    """
    right = "write mqtts://HOST or mqtts://HOST:PORT"
    if "://" not in text:
        raise Wrong("has no mqtts:// in front", right)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise Wrong("is not a URL", right) from None
    if url.scheme not in _PORTS:
        raise Wrong(f"the scheme {url.scheme!r} is not spoken here", right)
    if "@" in url.netloc:
        raise Wrong("has a user name in the URL", "use the keys username and password")
    if not host or not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", host):
        raise Wrong("names no host", right)
    if port == 0:
        raise Wrong("names port 0, which nobody listens at", right)
    if url.path.strip("/") or url.query or url.fragment:
        raise Wrong("has something after the host and port", right)
    return Address(host=host, port=port or _PORTS[url.scheme], tls=url.scheme == "mqtts")


def text(value: object) -> str:
    """Text as written; YAML's numbers (`floor: 1`, `mqtt: 5`) keep their spelling. Raises Wrong."""
    written = getattr(value, "raw", value)
    if not isinstance(written, str):
        raise Wrong(f"is {kind_of(value)}", "write text")
    if not written.strip() or len(written) > TEXT_MAX or not written.isprintable():
        right = f"write 1 to {TEXT_MAX} characters in one line"
        raise Wrong("is blank, too long or not printable", right)
    return written


def within(low: str, high: str, *, never: bool = False) -> Callable[[object], str]:
    """A check that a value is a duration from `low` to `high`, or `never` where that is allowed."""

    def check(value: object) -> str:
        written = text(value)
        if never and written == "never":
            return written
        if not duration_ms(low) <= duration_ms(written) <= duration_ms(high):
            either = " or never" if never else ""
            raise Wrong(f"{written} is out of bounds", f"write {low} to {high}{either}")
        return written

    return check


def matching(pattern: str, right: str) -> Callable[[object], str]:
    """A check that a value is text of that pattern; `right` says so in words."""

    def check(value: object) -> str:
        written = text(value)
        if not re.fullmatch(pattern, written):
            raise Wrong(f"{written!r} is no such name", right)
        return written

    return check


def parsing(parse: Callable[[str], object]) -> Callable[[object], str]:
    """A check that a value is text which `parse` takes without raising Wrong."""

    def check(value: object) -> str:
        written = text(value)
        parse(written)
        return written

    return check


def time_zone(name: str) -> None:
    """Raise Wrong unless the machine's time zone database has that name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        known = available_timezones()
        right = "write one of the IANA database, such as Asia/Almaty"
        close = difflib.get_close_matches(name, sorted(known), n=1)
        if close:
            right = f"did you mean {close[0]!r}?"
        elif not known:
            right = "install the time zone database (Debian: tzdata)"
        raise Wrong(f"unknown time zone {name!r}", right) from None


def spelled_once(value: object) -> object:
    """`value`, or Wrong for a number with a leading zero: octal to YAML 1.1, decimal to 1.2."""
    raw = getattr(value, "raw", "")
    if re.fullmatch(r"[-+]?0[0-9]+", raw):
        raise Wrong(f"{raw} is octal to some readers", f"write {int(raw)}")
    return value


def unique(items: list[str]) -> list[str]:
    """`items`, or Wrong where one of them stands twice."""
    for n, item in enumerate(items):
        if item in items[:n]:
            raise Wrong(f"{item} stands twice", "name each once")
    return items


def spans(names: Iterable[str]) -> str:
    """`input-0 … input-6, key`: names in their order, numbered ones as runs."""
    runs: list[list[str]] = []
    for name in names:
        stem, _, number = name.rpartition("-")
        last, _, before = runs[-1][-1].rpartition("-") if runs else ("", "", "")
        follows = stem == last and number.isdecimal() and before.isdecimal()
        if follows and int(number) == int(before) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    whole = [f"{run[0]} … {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]
    return ", ".join(whole)


def kind_of(value: object) -> str:
    """`a list`: what sort of value was found, without repeating it."""
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'campus'?`, or what there is to choose from."""
    words = list(dict.fromkeys(str(name) for name in known))
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"one of {', '.join(words)}" if words else "there is none yet"


@dataclass(slots=True)
class Document:
    """A file as read: plain values, the line of every key and item, and what was overridden."""

    file: str
    data: dict[str, Any]
    lines: dict[Loc, int]
    overridden: dict[Loc, str] = field(default_factory=dict)

    def line(self, loc: Loc) -> int:
        """The line of a key; of what should hold it, where the key is missing."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def mistake(self, loc: Loc, what: str, right: str) -> Mistake:
        """A mistake at that key, or at the environment variable that took its place."""
        if loc in self.overridden:
            return Mistake("environment", 0, self.overridden[loc], what, right)
        return Mistake(self.file, self.line(loc), key_path(loc), what, right)

    def entries(self, section: str) -> Iterator[tuple[Loc, dict[str, Any]]]:
        """The mappings of a section, each with its place; whatever is no mapping is left out."""
        for name, value in mapping(self.data.get(section)).items():
            if isinstance(value, dict):
                yield (section, name), value


def key_path(loc: Loc) -> str:
    """`routes.security.keys[0].file`."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a mapping, else an empty one: a wrong shape is the models' to report."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> tuple[str, ...]:
    """The texts in a list; nothing for anything else."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def milliseconds(value: object, default: str) -> int | None:
    """A duration's milliseconds, `default` where there is none; None for `never` or no duration."""
    written = value if isinstance(value, str) else default
    try:
        return duration_ms(written)
    except Wrong:
        return None
