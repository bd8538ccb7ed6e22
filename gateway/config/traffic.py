"""What a configuration costs at rest: detection times and megabytes a month, for people.

Owns the sizes on the wire. Nothing here is a bound for the daemon: what it does follows from
`core/paths.py` and MQTT's keepalive, and `benchmarks/traffic.py` measures whether this is true.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.core.message import Heartbeat, heartbeat_payload, receipt_payload
from gateway.core.model import Json, Receipt, Stream, StreamKey
from gateway.core.paths import ECHO_WITHIN_US, STANDBY_US
from gateway.core.premises import Premises, Receipts, Route, UplinkSpec

MONTH_MS = 30 * 24 * 3_600_000

_KEEPALIVE_MS = 4_000
_LOST_AFTER_BEATS, _LOST_SLACK_MS = 3, 2_000

_HEADERS = 52
"""IPv4 20, TCP 20 and its timestamps 12, in every segment."""
_RECORD = 22
"""TLS 1.3 around each packet: 5 header, 1 type, 16 tag (RFC 8446, chapter 5.2)."""
_SIGNATURE = 86
_KID = "k" * 10

_BEAT_SEGMENTS = 5
"""Heartbeat, receipt and PUBACK; the first and the last are acknowledged by themselves."""
_PING_SEGMENTS = 3
_BARE_SEGMENTS = 3
"""A heartbeat that only the broker answers: it, its PUBACK, and the acknowledgement of that."""
_PUBACK = 4
_PING = 2


def facts(premises: Premises) -> tuple[str, ...]:
    """What the heartbeats of a configuration mean, a line for each route's uplink and each uplink.

    The gateway knows a deaf centre after one heartbeat and the 4 s its echo may take; the centre
    knows a lost gateway after three heartbeats and 2 s. A month is 30 days, a megabyte 10^6 bytes.
    """
    uplinks = {uplink.id: uplink for uplink in premises.uplinks}
    lines = [
        _detection(route, uplinks[name], first=n == 0)
        for route in premises.routes
        for n, name in enumerate(route.via)
    ]
    return (*lines, *(_monthly(premises, uplink) for uplink in premises.uplinks))


def at_rest(premises: Premises, uplink: UplinkSpec, over_ms: int) -> tuple[int, int]:
    """Bytes of heartbeats and of keepalive on that uplink in such a time, both ways together.

    Everything an operator counts, from the IP header on; no events, no new connections.
    """
    routes = [route for route in premises.routes if uplink.id in route.via]
    beats_ms = [beat_every_ms(uplink, first=route.via[0] == uplink.id) for route in routes]
    beats = sum(
        over_ms // beat_ms * _beat(premises, route, uplink)
        for route, beat_ms in zip(routes, beats_ms, strict=True)
    )
    quiet_ms = min(beats_ms, default=over_ms)
    pings = over_ms // quiet_ms * (-(-quiet_ms // _KEEPALIVE_MS) - 1)
    return beats, pings * (_PING_SEGMENTS * _HEADERS + 2 * (_PING + _record(uplink)))


def beat_every_ms(uplink: UplinkSpec, *, first: bool) -> int:
    """How often a route's heartbeat goes over `uplink`; as a standby at most once a minute."""
    return uplink.heartbeat_ms if first else max(uplink.heartbeat_ms, STANDBY_US // 1_000)


def _detection(route: Route, uplink: UplinkSpec, *, first: bool) -> str:
    beat_ms = beat_every_ms(uplink, first=first)
    role = "in use" if first else "standby"
    deaf = _seconds(beat_ms + ECHO_WITHIN_US // 1_000)
    lost = _seconds(_LOST_AFTER_BEATS * beat_ms + _LOST_SLACK_MS)
    return (
        f"route {route.id} over {uplink.id} ({role}, heartbeat {_seconds(beat_ms)}): "
        f"the gateway knows a deaf centre within {deaf}, "
        f"the centre a lost gateway within {lost}"
    )


def _monthly(premises: Premises, uplink: UplinkSpec) -> str:
    beats, pings = at_rest(premises, uplink, MONTH_MS)
    return (
        f"uplink {uplink.id}: about {(beats + pings) / 1e6:.0f} MB a month at rest "
        f"(heartbeats {beats / 1e6:.0f}, keepalive {pings / 1e6:.0f})"
    )


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms / 1_000:g} s"


# --- sizes in bytes -------------------------------------------------------------------------


def _beat(premises: Premises, route: Route, uplink: UplinkSpec) -> int:
    """One heartbeat and what answers it, on the wire."""
    base = f"qorgan/v1/{premises.gateway}/{route.id}"
    beat = _token(heartbeat_payload(_SAMPLE), _KID, "qorgan-heartbeat")
    if route.receipts is Receipts.PUBACK:
        up = _publish(f"{base}/heartbeat", beat, uplink, qos=1)
        return up + _PUBACK + 2 * _record(uplink) + _BARE_SEGMENTS * _HEADERS
    key = StreamKey(route.id, Stream.ALARM, _HEX, 10, _HEX)
    payload = receipt_payload(Receipt(premises.gateway, key, 10_000, beat=_SAMPLE.number))
    kid = route.keys[0].kid if route.keys else _KID
    receipt = _token(payload, kid, "qorgan-receipt")
    packets = (
        _publish(f"{base}/heartbeat", beat, uplink, qos=0),
        _publish(f"{base}/receipts", receipt, uplink, qos=1),
        _PUBACK,
    )
    return sum(packets) + 3 * _record(uplink) + _BEAT_SEGMENTS * _HEADERS


def _publish(topic: str, token: int, uplink: UplinkSpec, *, qos: int) -> int:
    """An MQTT PUBLISH: fixed header, topic, packet id, properties under MQTT 5, payload."""
    rest = 2 + len(topic) + 2 * qos + (uplink.mqtt == "5") + token
    return 1 + (1 if rest < 128 else 2) + rest


def _record(uplink: UplinkSpec) -> int:
    return _RECORD if uplink.tls else 0


def _token(payload: Mapping[str, Json], kid: str, typ: str) -> int:
    """A JWS compact token: header, payload and signature in base64url, two dots."""
    header = {"alg": "Ed25519", "kid": kid, "typ": typ}
    return sum(_base64(part) for part in (header, payload)) + _SIGNATURE + 2


def _base64(part: Mapping[str, Json]) -> int:
    return -(-len(json.dumps(part, separators=(",", ":")).encode()) * 4 // 3)


_HEX = "0" * 8
_SAMPLE = Heartbeat(
    number=100_000,
    ledger=_HEX,
    epoch=10,
    start=_HEX,
    boot=_HEX,
    monotonic_ms=1_000_000_000,
    utc_ms=1_800_000_000_000,
    synchronised=True,
    heads={Stream.ALARM: 1_000, Stream.LOG: 10_000},
)
"""A gateway's in its second week, with nothing open."""
