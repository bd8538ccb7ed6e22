"""Which wire is used where: every pin and channel once, and each as what it is.

Owns the list of what a document connects. Knows neither YAML nor pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config.document import Document, Loc, mapping, pin_or_channel, spans, suggest
from gateway.config.files import Wrong
from gateway.config.findings import Findings
from gateway.core.hardware import channel_of, device_of
from gateway.core.premises import PERSON_OPERATED
from gateway.core.profile import Profile

CONTACTS = ("normally_open", "normally_closed")
DOOR_CONTACTS = ("request_to_exit", "bolt", "granted", "denied", "forced", "held", "tamper")
DOOR_KEYS = (
    *("contact", *DOOR_CONTACTS, "lock", "lock_type", "egress", "fire_release", "fire_opens"),
    *("on_silence", "unlock", "grant", "held_after", "warn_before", "sounder", "remote_unlock"),
)
"""The keys a point has only if its kind is door."""


@dataclass(frozen=True, slots=True)
class Use:
    """One wire of the document. shared: other rules may drive it too (a siren)."""

    loc: Loc
    address: str
    output: bool = False
    shared: bool = False
    kind: str = ""

    @property
    def pressed(self) -> bool:
        """True where a person operates it, so that a short press must not be lost."""
        return not self.output and self.kind in PERSON_OPERATED


@dataclass(slots=True)
class Fleet:
    """The devices of a document that can be relied on: their profiles, and what is used of them."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    uses: dict[str, list[Use]] = field(default_factory=dict)

    def profile_of(self, address: object) -> Profile | None:
        """The profile behind an address; None for a pin and for whatever is not known."""
        device = device_of(address) if isinstance(address, str) else None
        return self.profiles.get(device) if device else None

    def channels(self, device: str) -> tuple[str, ...]:
        """The channels of a device that are used, in the order of the document."""
        return tuple(dict.fromkeys(channel_of(use.address) for use in self.uses.get(device, ())))


def wires(document: Document) -> Iterator[Use]:
    """Everything the document connects, in its order; what is no address is left out."""
    for loc, point in document.entries("points"):
        for use in _of_point(loc, point):
            if _is_address(use.address):
                yield use
    rules = document.data.get("reactions")
    for n, rule in enumerate(rules if isinstance(rules, list) else ()):
        output = mapping(rule).get("output")
        if isinstance(output, str) and _is_address(output):
            yield Use(("reactions", n, "output"), output, output=True, shared=True)


def check_wiring(findings: Findings, fleet: Fleet) -> None:
    """Report wires that are used twice, or that no device has; note the others in the fleet."""
    devices = mapping(findings.document.data.get("devices"))
    used: dict[str, Use] = {}
    for use in wires(findings.document):
        first = used.setdefault(use.address, use)
        device = device_of(use.address)
        if first is not use and not (first.shared and use.shared):
            right = "channel" if device else "pin"
            findings.wrong(
                use.loc,
                f"{use.address} is used already by {findings.where(first.loc)}",
                f"give every contact and lamp a {right} of its own",
            )
        elif device is None:
            continue
        elif device not in devices:
            findings.wrong(use.loc, f"there is no device {device!r}", suggest(device, devices))
        elif device in fleet.profiles and _is_there(findings, use, fleet.profiles[device]):
            fleet.uses.setdefault(device, []).append(use)


def _of_point(loc: Loc, point: Mapping[str, Any]) -> Iterator[Use]:
    kind = str(point.get("kind"))
    for key in ("input", "contact", *DOOR_CONTACTS):
        written = point.get(key)
        if isinstance(written, str):
            yield Use((*loc, key), written, kind=kind)
        for name in CONTACTS:
            yield Use((*loc, key, name), str(mapping(written).get(name)), kind=kind)
    for key in ("lock", "sounder", "lamp"):
        yield Use((*loc, key), str(point.get(key)), output=True, kind=kind)


def _is_address(value: str) -> bool:
    try:
        return bool(pin_or_channel(value))
    except Wrong:
        return False


def _is_there(findings: Findings, use: Use, profile: Profile) -> bool:
    """True when the device has that channel, and as what it is used; else reports it."""
    inputs = [channel.name for channel in profile.inputs]
    outputs = [channel.name for channel in profile.outputs]
    here, there = (outputs, inputs) if use.output else (inputs, outputs)
    role, other = ("output", "input") if use.output else ("input", "output")
    device, channel = device_of(use.address), channel_of(use.address)
    if channel in here:
        return True
    right = f"write {spans(here)}" if here else f"use a unit that has {role}s"
    if channel in there:
        what = f"{channel!r} is an {other} of {device} ({profile.id}), and an {role} is wanted"
    else:
        what = f"there is no {role} {channel!r} on {device} ({profile.id})"
    findings.wrong(use.loc, what, right)
    return False
