"""What a centre's database proves, read without the product: SQLite, JSON, SHA-256 and Ed25519.

Needs the file and the gateway's public key, nothing else. Beside it, the centre's own verdicts,
made again from the same tokens.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.core.jws import SigningKey
from gateway.keys import load_verify_key
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Mark, Outcome

Place = tuple[int, int]
"""(epoch, sequence) in one stream."""


@dataclass(frozen=True, slots=True)
class Told:
    """One message as a centre stored it. at_ms: UTC of the event, as it was signed."""

    stream: str
    ledger: str
    epoch: int
    start: str
    sequence: int
    id: str
    type: str
    subject: str
    alarm: str | None
    at_ms: float
    previous: str | None
    resumes: Place | None
    digest: str
    data: dict[str, Any]

    @property
    def place(self) -> Place:
        """Where in its stream it stands."""
        return (self.epoch, self.sequence)


class NotProved(Exception):  # noqa: N818 -- a finding on its way to the report
    """A token that the public key does not vouch for, or that is not what its row says."""


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_key(jwk: Path) -> Ed25519PublicKey:
    """The key of a public JWK file."""
    return Ed25519PublicKey.from_public_bytes(_bytes(json.loads(jwk.read_text("utf-8"))["x"]))


def proved(token: bytes, key: Ed25519PublicKey) -> Told:
    """A token's message, once its signature holds. Raises NotProved."""
    signed, _, signature = token.rpartition(b".")
    try:
        key.verify(_bytes(signature.decode()), signed)
    except InvalidSignature:
        raise NotProved("a signature does not hold") from None
    payload = json.loads(_bytes(signed.split(b".")[1].decode()))
    resumes = payload.get("resumesepoch")
    return Told(
        stream=payload["stream"],
        ledger=payload["ledger"],
        epoch=payload["epoch"],
        start=payload["start"],
        sequence=payload["sequence"],
        id=payload["id"],
        type=payload["type"].removeprefix("org.qorgan."),
        subject=payload["subject"],
        alarm=payload["data"].get("alarm"),
        at_ms=datetime.fromisoformat(payload["time"]).timestamp() * 1_000,
        previous=payload.get("previous"),
        resumes=None if resumes is None else (resumes, payload["resumessequence"]),
        digest=hashlib.sha256(token).hexdigest(),
        data=payload["data"],
    )


def read(store: Path, jwk: Path) -> tuple[list[Told], list[str]]:
    """Every message in a centre's database, and what is wrong with its signatures and rows."""
    key = public_key(jwk)
    told: list[Told] = []
    wrong: list[str] = []
    select = "SELECT token, sequence, epoch, digest, conflict FROM message ORDER BY rowid"
    with closing(sqlite3.connect(store)) as db:
        for token, sequence, epoch, digest, conflict in db.execute(select):
            try:
                one = proved(token, key)
            except NotProved as exc:
                wrong.append(f"chain: {epoch}/{sequence}: {exc}")
                continue
            if (one.sequence, one.epoch, one.digest) != (sequence, epoch, digest):
                wrong.append(f"chain: {epoch}/{sequence}: the row is not what was signed")
            if conflict:
                wrong.append(f"chain: {epoch}/{sequence} came with two different contents")
            told.append(one)
    return told, wrong


def broken(told: Sequence[Told]) -> Iterator[str]:
    """What is wrong with the numbers and hashes of one route's streams."""
    for stream in sorted({one.stream for one in told}):
        mine = sorted((one for one in told if one.stream == stream), key=lambda one: one.place)
        if len({one.ledger for one in mine}) > 1:
            yield f"chain: the {stream} stream comes from several ledgers"
        yield from _links(stream, mine)
    for event, times in Counter(one.id for one in told).items():
        if times > 1:
            yield f"doubled: event {event} came under {times} numbers"


def _links(stream: str, mine: Sequence[Told]) -> Iterator[str]:
    places: dict[Place, Told] = {}
    starts: dict[int, str] = {}
    before: Told | None = None
    for one in mine:
        name = f"{stream} {one.epoch}/{one.sequence}"
        if one.place in places:
            yield f"doubled: {name} came twice"
        if starts.setdefault(one.epoch, one.start) != one.start:
            yield f"chain: epoch {one.epoch} of {stream} was started twice"
        follows = (one.epoch, one.sequence - 1) if one.sequence > 1 else one.resumes
        found = places.get(follows) if follows is not None else None
        if follows is None:
            if before is not None:
                yield f"chain: {name} begins the chain anew"
        elif found is None:
            yield f"lost: {name} follows {stream} {follows[0]}/{follows[1]}, which never came"
        elif found.digest != one.previous:
            yield f"chain: {name} does not name the hash of the message before it"
        places[one.place] = before = one


def forked(told: Iterable[Told]) -> list[Told]:
    """Messages a later epoch knows nothing of: the gateway died with them sent and not stored."""
    streams: dict[str, list[Told]] = {}
    for one in sorted(told, key=lambda one: one.place):
        streams.setdefault(one.stream, []).append(one)
    gone = []
    for mine in streams.values():
        places = [one.place for one in mine]
        for at, first in enumerate(mine):
            if first.sequence == 1 and first.resumes is not None:
                gone += mine[bisect_right(places, first.resumes) : at]
    return gone


_FINE = frozenset({Mark.GAP, Mark.RESUMED})
"""A live alarm overtakes a backlog; and what a gateway lost is judged by `forked`."""


def verdicts(store: Path, route: str, gateway: str, jwk: Path) -> Iterator[str]:
    """What the centre's own rules find odd, from the tokens and the public key alone."""
    nobody = SigningKey("nobody", bytes(32))
    core = CentreCore(route, {gateway: [load_verify_key(jwk)]}, nobody)
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute("SELECT token, received_ms, uplink FROM message ORDER BY rowid")
        for token, received_ms, uplink in rows:
            verdict = core.receive(gateway, route, uplink, token, received_ms)
            odd = set(verdict.marks) - _FINE
            if verdict.outcome is not Outcome.NEW or odd:
                why = verdict.why or ", ".join(sorted(odd))
                yield f"chain: the centre's verdict on {route}: {verdict.outcome} {why}"
            if verdict.row is not None:
                core.stored(verdict.row)
