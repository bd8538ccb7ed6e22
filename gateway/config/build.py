"""A configuration file that passed every check, as Premises.

Owns the translation from keys and units to the core's types. Checks nothing: whatever could be
wrong has been reported before this runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from gateway.config.buses import bus_of
from gateway.config.cross import Review
from gateway.config.document import DOORS_ALL, address, duration_ms
from gateway.config.doors import GRANT, HELD_AFTER, UNLOCK, warn_before_ms
from gateway.config.fields import ContactSection, InputSection
from gateway.config.iron import DeviceSection, PointSection, ReactionSection
from gateway.config.models import File, RouteSection, UplinkSection
from gateway.config.points import SILENT_KINDS
from gateway.config.profile.profiles import narrowed
from gateway.config.rules import all_doors
from gateway.core.hardware import (
    Bus,
    Device,
    Door,
    DoorContact,
    Egress,
    FireOpens,
    LockType,
    OnSilence,
    ReactionRule,
)
from gateway.core.plain import to_plain
from gateway.core.premises import (
    PERSON_OPERATED,
    ContactIdZone,
    Input,
    LedgerSpec,
    Place,
    Point,
    PointKind,
    Premises,
    Route,
    RouteKey,
    UplinkSpec,
)

_DAY_MS = 86_400_000
_PROVE_WITHIN = "30d"
_SOUNDS_FOR = "60s"


def build(file: File, review: Review) -> Premises:
    """The Premises of a file without mistakes; paths and keys come from its review."""
    gateway = file.gateway
    premises = Premises(
        id=file.premises.id,
        name=file.premises.name,
        timezone=file.premises.timezone,
        gateway=gateway.id,
        key_file=str(review.files["gateway", "key"].path),
        ledger=LedgerSpec(
            path=str(review.folders.ledger(gateway.ledger.path)),
            keep_days=duration_ms(gateway.ledger.keep) // _DAY_MS,
        ),
        points=tuple(_point(name, section) for name, section in file.points.items()),
        uplinks=tuple(_uplink(name, section, review) for name, section in file.uplinks.items()),
        routes=tuple(_route(name, section, review) for name, section in file.routes.items()),
        sync_wait_ms=duration_ms(gateway.sync_wait),
        buses=tuple(_bus(name, review) for name in file.buses),
        devices=tuple(_device(name, section, review) for name, section in file.devices.items()),
        reactions=tuple(_reaction(section, review) for section in file.reactions),
        lockdown_max_ms=duration_ms(file.lockdown.at_most),
    )
    return replace(premises, digest=digest(premises))


def digest(premises: Premises) -> str:
    """SHA-256 (64 hex digits) of the plain JSON of `premises` without its digest."""
    plain = to_plain(replace(premises, digest=""))
    assert isinstance(plain, dict)
    del plain["digest"]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _point(name: str, section: PointSection) -> Point:
    person_operated = section.kind in PERSON_OPERATED
    prove_within = section.prove_within or (_PROVE_WITHIN if person_operated else "never")
    can_stick = person_operated and not section.mechanical_latch
    contacts = section.contact if section.kind is PointKind.DOOR else section.input
    assert contacts is not None
    return Point(
        id=name,
        kind=section.kind,
        input=_input(contacts),
        place=Place(**section.place.model_dump()),
        cid=ContactIdZone(**section.cid.model_dump()),
        lamp=section.lamp,
        silent=section.kind in SILENT_KINDS if section.silent is None else section.silent,
        mechanical_latch=section.mechanical_latch,
        wiring_doubt=section.wiring_doubt,
        stuck_after_ms=_bounded_ms(section.stuck_after) if can_stick else None,
        prove_within_ms=_bounded_ms(prove_within),
        door=_door(section) if section.kind is PointKind.DOOR else None,
    )


def _input(section: InputSection) -> Input:
    return Input(
        normally_open=section.normally_open,
        normally_closed=section.normally_closed,
        line=section.line,
    )


def _door(section: PointSection) -> Door:
    lock_type = section.lock_type or LockType.STRIKE
    # a magnet holds for both sides: what frees one frees the other
    both = lock_type is LockType.MAGNET
    held_after_ms = _bounded_ms(section.held_after or HELD_AFTER)
    return Door(
        lock=section.lock,
        lock_type=lock_type,
        request_to_exit=_contact(section.request_to_exit),
        bolt=_contact(section.bolt),
        granted=_contact(section.granted),
        denied=_contact(section.denied),
        forced=_contact(section.forced),
        held=_contact(section.held),
        tamper=_contact(section.tamper),
        egress=section.egress or Egress.HANDLE,
        fire_release=section.fire_release,
        fire_opens=section.fire_opens or (FireOpens.BOTH if both else FireOpens.EXIT),
        on_silence=section.on_silence or OnSilence.KEEP,
        unlock_ms=duration_ms(section.unlock or UNLOCK),
        grant_ms=duration_ms(section.grant or GRANT),
        held_after_ms=held_after_ms,
        warn_before_ms=warn_before_ms(held_after_ms, section.warn_before),
        sounder=section.sounder,
        remote_unlock=section.remote_unlock or False,
    )


def _contact(section: ContactSection | None) -> DoorContact | None:
    if section is None:
        return None
    if section.normally_closed is not None:
        return DoorContact(section.normally_closed, closed_at_rest=True)
    assert section.normally_open is not None
    return DoorContact(section.normally_open)


def _bus(name: str, review: Review) -> Bus:
    bus = bus_of(name, review.document.data["buses"][name])
    assert bus is not None
    return bus


def _device(name: str, section: DeviceSection, review: Review) -> Device:
    return Device(
        id=name,
        bus=section.bus,
        unit=int(section.unit),
        profile=narrowed(review.fleet.profiles[name], review.fleet.channels(name)),
        poll_ms=duration_ms(section.poll),
        identity=section.identity,
    )


def _reaction(section: ReactionSection, review: Review) -> ReactionRule:
    named = tuple(section.doors or ())
    return ReactionRule(
        on=section.on,
        do=section.do,
        doors=all_doors(review, section.do) if named == (DOORS_ALL,) else named,
        output=section.output,
        for_ms=duration_ms(section.for_ or _SOUNDS_FOR),
    )


def _uplink(name: str, section: UplinkSection, review: Review) -> UplinkSpec:
    def path(*key: str) -> str | None:
        found = review.files.get(("uplinks", name, *key))
        return str(found.path) if found else None

    broker = address(section.url)
    return UplinkSpec(
        id=name,
        host=broker.host,
        port=broker.port,
        tls=broker.tls,
        mqtt=section.mqtt,
        ca=path("ca"),
        certificate=path("certificate"),
        username=section.username,
        password_file=path("password", "file") or path("password", "credential"),
        interface=section.interface,
        heartbeat_ms=duration_ms(section.heartbeat),
    )


def _route(name: str, section: RouteSection, review: Review) -> Route:
    keys = []
    for n, key in enumerate(section.keys):
        jwk = review.jwks["routes", name, "keys", n, "file"]
        verbs, targets = tuple(key.verbs), tuple(key.targets)
        keys.append(RouteKey(kid=jwk.kid, x=jwk.x, verbs=verbs, targets=targets))
    acknowledge_within = section.acknowledge_within
    return Route(
        id=name,
        via=tuple(section.via),
        sends=tuple(section.sends),
        keys=tuple(keys),
        redact=tuple(section.redact),
        receipt_within_ms=duration_ms(section.receipt_within),
        answers=section.answers,
        acknowledge_within_ms=duration_ms(acknowledge_within) if acknowledge_within else None,
        then=tuple(section.then),
        receipts=section.receipts,
    )


def _bounded_ms(text: str) -> int | None:
    return None if text == "never" else duration_ms(text)
