"""What no single key can say: files that are not there, routes in circles, keys of strangers.

Works on the document as it was read, right or wrong in shape, so that one run reports these
mistakes beside those of the models; what has a wrong shape is stepped over here. Knows neither
YAML nor pydantic.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.config.buses import check_buses, check_rounds
from gateway.config.document import (
    Address,
    Loc,
    address,
    duration_ms,
    key_path,
    mapping,
    suggest,
    texts,
)
from gateway.config.doors import check_doors
from gateway.config.files import (
    Folders,
    Found,
    Jwk,
    Wrong,
    check_ca,
    check_certificate,
    check_password,
    is_directory,
    read_private_jwk,
    read_public_jwk,
)
from gateway.config.findings import Findings
from gateway.config.points import check_points
from gateway.config.rules import check_rules
from gateway.config.wiring import Fleet, check_wiring

_SLOW_HEARTBEAT_MS = 20_000
_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}")


def _interfaces() -> list[str]:
    """The network interfaces of this machine; empty where it does not tell."""
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


@dataclass(slots=True)
class Review(Findings):
    """One pass over a document; what is found of files, keys and devices is kept for `build`."""

    folders: Folders = field(kw_only=True)
    files: dict[Loc, Found] = field(default_factory=dict)
    jwks: dict[Loc, Jwk] = field(default_factory=dict)
    fleet: Fleet = field(default_factory=Fleet)
    interfaces: Callable[[], list[str]] = _interfaces

    def run(self) -> None:
        """Look at everything; never raises for what a document says."""
        self._gateway()
        self.fleet = check_buses(self, self.folders)
        check_wiring(self, self.fleet)
        check_points(self, self.fleet)
        check_doors(self, self.fleet)
        check_rules(self)
        check_rounds(self, self.fleet)
        self._uplinks()
        self._routes()

    def _file(self, loc: Loc, name: object, look: Callable[[Found], Jwk | None]) -> None:
        if not isinstance(name, str) or not name:
            return
        try:
            found = self.folders.find(name)
            jwk = look(found)
        except Wrong as wrong:
            self.wrong(loc, wrong.what, wrong.right)
            return
        self.files[loc] = found
        if jwk:
            self.jwks[loc] = jwk

    def _gateway(self) -> None:
        gateway = mapping(self.document.data.get("gateway"))
        self._file(("gateway", "key"), gateway.get("key"), read_private_jwk)
        name = mapping(gateway.get("ledger")).get("path", "ledger.db")
        if isinstance(name, str) and is_directory(self.folders.ledger(name)):
            self.wrong(("gateway", "ledger", "path"), "is a directory", "name a file in it")

    def _uplinks(self) -> None:
        seen: dict[tuple[str, int, object], Loc] = {}
        for loc, uplink in self.document.entries("uplinks"):
            self._uplink_files(loc, uplink)
            self._interface((*loc, "interface"), uplink.get("interface"))
            heartbeat = uplink.get("heartbeat")
            if isinstance(heartbeat, str) and _at_least(heartbeat, _SLOW_HEARTBEAT_MS):
                self.warn(
                    (*loc, "heartbeat"),
                    f"at {heartbeat} a dead path is noticed late",
                    "write 5s, unless traffic is paid by the megabyte",
                )
            broker = _broker(uplink.get("url"))
            if broker is None:
                continue
            self._tls(loc, uplink, broker)
            where = (broker.host, broker.port, str(uplink.get("interface")))
            first = seen.setdefault(where, loc)
            if first is not loc:
                self.wrong(
                    loc,
                    f"is the same connection as {key_path(first)} "
                    f"(line {self.document.line(first)})",
                    "give it another broker or another interface",
                )

    def _uplink_files(self, loc: Loc, uplink: dict[str, Any]) -> None:
        self._file((*loc, "ca"), uplink.get("ca"), check_ca)
        self._file((*loc, "certificate"), uplink.get("certificate"), check_certificate)
        password = mapping(uplink.get("password"))
        self._file((*loc, "password", "file"), password.get("file"), check_password)
        place = (*loc, "password", "credential")
        name = password.get("credential")
        if isinstance(name, str):
            try:
                found = self.folders.credential(name)
                check_password(found)
            except Wrong as wrong:
                self.wrong(place, wrong.what, wrong.right)
            else:
                self.files[place] = found
        if uplink.get("username") and uplink.get("certificate"):
            self.wrong(
                (*loc, "username"),
                "stands beside a certificate, and nats-server refuses the two together",
                "keep one of them; the certificate is the stronger",
            )
        if password and "username" not in uplink:
            self.wrong((*loc, "password"), "has no username", "add username, or remove it")

    def _interface(self, loc: Loc, name: object) -> None:
        """A card that is not here is no mistake: a modem may come later, a file be elsewhere."""
        if not isinstance(name, str) or not name:
            return
        if _ADDRESS.fullmatch(name):
            self.wrong(loc, f"{name} is an address", "write the card's name, such as wwan0")
            return
        here = self.interfaces()
        if here and name not in here:
            self.warn(
                loc,
                f"there is no network interface {name} here, and nothing leaves by another",
                f"plug it in, or write one of {', '.join(here)}",
            )

    def _tls(self, loc: Loc, uplink: dict[str, Any], broker: Address) -> None:
        if broker.tls and not uplink.get("ca"):
            self.wrong(
                (*loc, "ca"),
                "is missing, and mqtts needs to know whom to trust",
                "name the PEM of the authority that signed the broker's certificate "
                "(Debian's public ones: /etc/ssl/certs/ca-certificates.crt)",
            )
        if broker.tls:
            return
        for key in ("ca", "certificate"):
            if key in uplink:
                self.wrong(
                    (*loc, key),
                    "would do nothing: mqtt:// has no TLS",
                    "write mqtts:// in the url, or remove the line",
                )
        if not broker.loopback:
            self.warn(
                (*loc, "url"),
                "everybody on the way can read it: no TLS",
                "write mqtts:// and name a ca",
            )

    def _routes(self) -> None:
        routes = dict(self.document.entries("routes"))
        for loc, route in routes.items():
            self._known(loc, route, "via", "uplinks")
            self._known(loc, route, "then", "routes")
            self._keys(loc, route)
            self._answers(loc, route)
        self._circles({str(loc[1]): texts(route.get("then")) for loc, route in routes.items()})
        if routes and not any("alarm" in texts(r.get("sends")) for r in routes.values()):
            self.wrong(("routes",), "no route sends alarm", "add alarm to a route's sends")
        if routes and not any(route.get("answers") is True for route in routes.values()):
            self.warn(
                ("routes",),
                "no route answers: only a reset-key can end a panic alarm",
                "write answers: true on the route of those who respond",
            )
        owed = {name for route in routes.values() for name in texts(route.get("then"))}
        for loc, route in routes.items():
            if route.get("sends") == [] and loc[1] not in owed:
                self.warn(
                    (*loc, "sends"),
                    "is empty, and no route names this one in then: it is never owed anything",
                    "write what it sends",
                )

    def _known(self, loc: Loc, route: dict[str, Any], key: str, section: str) -> None:
        names = mapping(self.document.data.get(section))
        listed = route.get(key)
        for n, name in enumerate(listed if isinstance(listed, list) else []):
            place = (*loc, key, n)
            if name == loc[1] and key == "then":
                self.wrong(place, "is the route itself", "name another route")
            elif isinstance(name, str) and name not in names:
                self.wrong(place, f"there is no {section[:-1]} {name!r}", suggest(name, names))

    def _circles(self, then: dict[str, tuple[str, ...]]) -> None:
        done: set[str] = set()

        def follow(path: tuple[str, ...]) -> None:
            for name in then.get(path[-1], ()):
                if name in path[:-1]:
                    circle = (*path[path.index(name) :], name)
                    self.wrong(
                        ("routes", path[-1], "then"),
                        f"goes round in a circle: {' → '.join(circle)}",
                        "end the chain at its last route",
                    )
                elif name in then and name not in done and name != path[-1]:
                    follow((*path, name))
            done.add(path[-1])

        for name in then:
            if name not in done:
                follow((name,))

    def _keys(self, loc: Loc, route: dict[str, Any]) -> None:
        keys = route.get("keys", [])
        if keys == [] and route.get("receipts") != "puback":
            self.wrong(
                (*loc, "keys"),
                "nobody could sign a receipt for this route",
                "name the centre's public key: [{file: centre.jwk}]",
            )
        points = mapping(self.document.data.get("points"))
        seen: dict[str, Loc] = {}
        for n, key in enumerate(keys if isinstance(keys, list) else []):
            place = (*loc, "keys", n, "file")
            self._file(place, mapping(key).get("file"), read_public_jwk)
            for at, target in enumerate(texts(mapping(key).get("targets"))):
                if target not in points:
                    right = suggest(target, points)
                    what = f"there is no point {target!r}"
                    self.wrong((*loc, "keys", n, "targets", at), what, right)
            jwk = self.jwks.get(place)
            if jwk is None:
                continue
            first = seen.setdefault(jwk.kid, place)
            if first is not place:
                self.wrong(
                    place,
                    f"has the same kid {jwk.kid!r} as {key_path(first)}",
                    "give every key of a route a kid of its own",
                )
            own = self.jwks.get(("gateway", "key"))
            if own and own.x == jwk.x:
                self.wrong(
                    place,
                    "is the gateway's own key: it would sign its own receipts",
                    "name the centre's public key",
                )

    def _answers(self, loc: Loc, route: dict[str, Any]) -> None:
        if "acknowledge_within" in route and route.get("answers") is not True:
            self.wrong(
                (*loc, "acknowledge_within"),
                "nobody can acknowledge on a route without answers",
                "write answers: true, or remove the line",
            )
        if route.get("receipts") == "puback":
            self.warn(
                (*loc, "receipts"),
                "a broker's PUBACK is taken for delivery: nobody may have read the alarm",
                "write receipts: signed, with a consumer that signs",
            )


def _broker(url: object) -> Address | None:
    try:
        return address(url) if isinstance(url, str) else None
    except Wrong:
        return None


def _at_least(text: str, least_ms: int) -> bool:
    try:
        return duration_ms(text) >= least_ms
    except Wrong:
        return False
