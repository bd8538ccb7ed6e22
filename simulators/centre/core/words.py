"""The words of a centre as types: verdicts, findings, what is stored, what is sent back.

Frozen data only; `core` gives and takes it, `store` keeps two of them.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from gateway.core.jws import decode
from gateway.core.message import Heartbeat
from gateway.core.model import AlarmState, AlarmWord, Receipt, StreamKey
from simulators.centre.core.reading import Age, OpenedMessage

SHOWN_MAX = 20

Span = tuple[int, int]
"""A range of numbers, first and last, both in it."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Outcome(StrEnum):
    """What a token turned out to be. CONFLICT: a number already held, with other bytes."""

    NEW = "new"
    COPY = "copy"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Mark(StrEnum):
    """What is odd about a believed message. None of these hides it or withholds its receipt.

    GAP: numbers before it are missing. BROKEN_CHAIN: `previous` is not its predecessor's hash.
    RESUMED: the gateway lost later messages than the one it resumed from, and this centre keeps
    them. FORK: one epoch of one ledger with two starts, as a copied card makes.
    """

    GAP = "gap"
    BROKEN_CHAIN = "broken-chain"
    RESUMED = "resumed"
    FORK = "fork"


@dataclass(frozen=True, slots=True)
class Stored:
    """One row the centre must hold durably before a receipt covers it. `token` is the evidence.

    over: it came because it was asked for once more, and its alarm was not open any more.
    """

    gateway: str
    key: StreamKey
    sequence: int
    event: str
    type: str
    alarm: str | None
    digest: str
    previous: str | None
    resumes: tuple[int, int] | None
    conflict: bool
    received_ms: int
    uplink: str
    token: bytes
    over: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one token. Refused: `why` and nothing else.

    gap: the numbers missing before it, its own stream's. open_now: what the last heartbeat says of
    its alarm, None when it says nothing yet. known_event: its event came before under any number.
    resent: it came because this centre asked for it once more.
    """

    outcome: Outcome
    gateway: str
    uplink: str
    at_ms: int
    why: str = ""
    message: OpenedMessage | None = None
    row: Stored | None = None
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    gap: tuple[Span, ...] = ()
    age: Age | None = None
    open_now: bool | None = None
    known_event: bool = False
    resent: bool = False

    @property
    def history(self) -> bool:
        """True when it is part of the record and nothing to act on; never for an open alarm."""
        alarm = self.message is not None and self.message.type.startswith("alarm.")
        return self.resent and not (alarm and self.open_now is not False)

    @property
    def copy(self) -> bool:
        """True when nobody needs to be shown it again."""
        return self.outcome is Outcome.COPY or self.known_event

    @property
    def late(self) -> bool:
        """True for an alarm that is over a minute old, or of unknown age, and no history."""
        alarm = self.message is not None and self.message.type.startswith("alarm.")
        return alarm and self.age is not None and self.age.late and not self.history


class FindingKind(StrEnum):
    """What a centre notices without being told.

    FORK: one epoch has two starts; what that was is said as CLONED (both run) or RESTORED (an old
    copy of the ledger was put back). NEW_LEDGER: its disk was lost. IN_MEMORY: it runs without one.
    REPAIRING, REPAIRED, NOT_REPAIRED: what is missing here is asked for, came, did not come.
    """

    LOST = "gateway-lost"
    FOUND = "gateway-found"
    FORK = "fork"
    CLONED = "cloned"
    RESTORED = "restored"
    NEW_LEDGER = "new-ledger"
    IN_MEMORY = "in-memory"
    MISSING = "missing"
    COMPLETE = "complete"
    REPAIRING = "repairing"
    REPAIRED = "repaired"
    NOT_REPAIRED = "not-repaired"
    STORE = "store"

    @property
    def good(self) -> bool:
        """True for what nobody need do anything about."""
        return self in {
            FindingKind.FOUND,
            FindingKind.COMPLETE,
            FindingKind.REPAIRING,
            FindingKind.REPAIRED,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed about one gateway; `text` is for people."""

    kind: FindingKind
    gateway: str
    text: str
    key: StreamKey | None = None
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed Receipt and where it goes: `uplink` names the connection, `topic` the rest."""

    uplink: str
    receipt: Receipt
    token: bytes

    @property
    def topic(self) -> str:
        """The gateway's receipts topic of this route."""
        return f"qorgan/v1/{self.receipt.gateway}/{self.receipt.key.route}/receipts"


@dataclass(frozen=True, slots=True)
class Beat:
    """What became of a heartbeat: refused with `why`, or read, with an echo to send."""

    gateway: str
    uplink: str
    why: str = ""
    heartbeat: Heartbeat | None = None
    receipt: Outgoing | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person at a desk said of an alarm; durable before it is sent. `at` is RFC 3339."""

    alarm: str
    state: AlarmState
    operator: int
    at: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm this centre holds, with the strongest word said of it and whether it has cleared."""

    id: str
    gateway: str
    key: StreamKey
    type: str
    subject: str
    status: str
    place: Mapping[str, Any]
    time: str
    word: AlarmWord
    cleared: bool = False

    @property
    def over(self) -> bool:
        """True when it needs nobody any more."""
        return self.cleared or self.word.state is AlarmState.CLOSED


def unsealed(token: bytes) -> dict[str, Any]:
    """The payload of a token that was verified before, when it was stored."""
    payload: dict[str, Any] = json.loads(decode(token.split(b".")[1].decode("ascii")))
    return payload


def spans_text(spans: Iterable[Span]) -> str:
    """`1-3, 7`: ranges as people read them, the first SHOWN_MAX of them."""
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    more = len(texts) - SHOWN_MAX
    return ", ".join(texts[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def remember(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Keep a value as the newest of at most `most`."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
