"""A configuration file that passed every check, as Premises.

Owns the translation from keys and units to the core's types. Checks nothing: whatever could be
wrong has been reported before this runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from gateway.config.cross import SILENT_KINDS, Review
from gateway.config.document import address, duration_ms
from gateway.config.models import File, PointSection, RouteSection, UplinkSection
from gateway.core.model import (
    PERSON_OPERATED,
    ContactIdZone,
    Input,
    LedgerSpec,
    Place,
    Point,
    Premises,
    Route,
    RouteKey,
    UplinkSpec,
)
from gateway.core.plain import to_plain

_DAY_MS = 86_400_000
_PROVE_WITHIN = "30d"


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
    return Point(
        id=name,
        kind=section.kind,
        input=Input(
            normally_open=section.input.normally_open,
            normally_closed=section.input.normally_closed,
            line=section.input.line,
        ),
        place=Place(**section.place.model_dump()),
        cid=ContactIdZone(**section.cid.model_dump()),
        lamp=section.lamp,
        silent=section.kind in SILENT_KINDS if section.silent is None else section.silent,
        mechanical_latch=section.mechanical_latch,
        wiring_doubt=section.wiring_doubt,
        stuck_after_ms=_bounded_ms(section.stuck_after) if can_stick else None,
        prove_within_ms=_bounded_ms(prove_within),
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
        keys.append(RouteKey(kid=jwk.kid, x=jwk.x, verbs=tuple(key.verbs)))
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
