"""What the daemon answers over the control socket: how everything is, and what a command comes to.

A silent alarm shows nothing on the premises, so of its point neither the level is told here nor a
fault that a finger can cause.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from gateway.control import Handler
from gateway.core.model import Fact, Json, Stream
from gateway.core.premises import Premises
from gateway.delivery import Delivery
from gateway.hands import Hands
from gateway.obey import Obey
from gateway.points import Points
from gateway.record.entry import Identity
from gateway.scan.handler import Scanning
from gateway.seams import Seams

CONCLUDE_WITHIN_S = 20.0
"""A command reaches at most 10 s ahead, and is concluded 5 s after that; somewhat more."""

_SILENT = "-"
_NOT_BY_A_FINGER = frozenset({"wiring"})
"""Faults of a silent point that are told: who mends a wire must know. Stuck means it is pressed."""


class Desk:
    """The handlers of one daemon's control socket."""

    def __init__(
        self,
        premises: Premises,
        seams: Seams,
        *,
        identity: Identity,
        points: Points,
        hands: Hands,
        delivery: Delivery,
        obey: Obey,
        upkeep: Callable[[], Awaitable[Mapping[str, Json]]],
    ) -> None:
        """Take over who is to be asked; `upkeep` tells how ledger and clock are."""
        self._premises = premises
        self._seams = seams
        self._identity = identity
        self._points = points
        self._hands = hands
        self._delivery = delivery
        self._obey = obey
        self._upkeep = upkeep
        self._scanning = Scanning(premises, seams.driver, seams.log)

    @property
    def handlers(self) -> dict[str, Handler]:
        """By the name a request has."""
        return {"status": self.status, "command": self.command, "scan": self._scanning.scan}

    async def status(self, value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
        """One answer: points, doors, routes, buses, disk, and what a desk needs for a command."""
        del value
        kept_up = await self._upkeep()
        stamp, me = self._seams.clock.stamp(self._seams.clock.now_us()), self._identity
        yield {
            "premises": self._premises.id,
            "gateway": self._premises.gateway,
            "ledger": me.ledger,
            "epoch": me.epoch,
            "start": me.start,
            "boot": stamp.boot,
            "monotonic_ms": stamp.monotonic_ms,
            "synchronised": stamp.synchronised,
            "points": self._points_told(),
            "modes": list[Json](self._delivery.listener.modes()),
            "isolated": list[Json](self._delivery.listener.isolated()),
            "routes": self._routes_told(),
            "uplinks": {
                name: {
                    "connected": uplink.connected,
                    "why": uplink.why,
                    "unchecked": uplink.unchecked,
                }
                for name, uplink in self._delivery.uplinks.items()
            },
            "buses": dict(self._seams.driver.status()),
            **kept_up,
        }

    def _points_told(self) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for name, told in self._points.status().items():
            point = self._premises.point(name)
            about: dict[str, Json] = {"kind": point.kind.value, **told}
            if point.silent:
                about["level"] = _SILENT
                told_here = [fault for fault in told["faults"] if fault in _NOT_BY_A_FINGER]
                about["faults"] = list[Json](told_here)
            if point.door is not None:
                about["free"] = self._hands.reactions.freed(name)
            found[name] = about
        return found

    def _routes_told(self) -> dict[str, Json]:
        return {
            route.id: {
                "owed": {stream.value: self._owed(route.id, stream) for stream in Stream},
                "paths": {
                    uplink: self._delivery.paths.told(route.id, uplink) for uplink in route.via
                },
            }
            for route in self._premises.routes
        }

    def _owed(self, route: str, stream: Stream) -> int:
        return self._delivery.outboxes[route].count(stream)

    async def command(self, value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
        """Judge a signed command that was handed in on the premises; every answer as it comes."""
        token = value.get("token") if isinstance(value, dict) else None
        if not isinstance(token, str):
            text = 'a command is {"token": …}, signed under a key of the configuration'
            raise ValueError(text)  # noqa: TRY004 -- how a handler says that a request is wrong
        answers: asyncio.Queue[Fact] = asyncio.Queue()
        with self._obey.watched(answers.put_nowait):
            said = self._obey.here(token.encode())
            for fact in said:
                yield _told(fact)
            while said[-1:] and said[-1].type == "state.command.accepted":
                try:
                    async with asyncio.timeout(CONCLUDE_WITHIN_S):
                        fact = await answers.get()
                except TimeoutError:
                    raise ValueError("accepted, and nothing was heard of it since") from None
                if all(fact.data.get(name) == said[-1].data.get(name) for name in _WHICH):
                    yield _told(fact)
                    return


_WHICH = ("command", "by", "route")


def _told(fact: Fact) -> dict[str, Json]:
    return {"answer": fact.type.rpartition(".")[2], **fact.data}
