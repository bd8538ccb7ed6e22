"""A centre without network and disk, for tests that only care what it concludes."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.model import Message, Receipt, StreamKey
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Outgoing, Stored, Verdict
from tools.vector_parts import GATEWAY, KEYS, NOON_MS, ROUTE, Gateway, raised

NOW_MS = NOON_MS + 60_000


class Desk:
    """A core with a store that always works, and the uplink most tests use."""

    def __init__(self) -> None:
        self.core = CentreCore(ROUTE, {GATEWAY: [KEYS["gateway"].public]}, KEYS["security"])
        self.rows: list[Stored] = []

    def see(self, token: bytes, uplink: str = "campus", at_ms: int = NOW_MS) -> Verdict:
        return self.core.receive(GATEWAY, ROUTE, uplink, token, at_ms)

    def commit(self, *verdicts: Verdict) -> tuple[Outgoing, ...]:
        for verdict in verdicts:
            if verdict.row is not None:
                self.core.stored(verdict.row)
                self.rows.append(verdict.row)
        return self.core.receipts_for(verdicts)

    def take(self, token: bytes, uplink: str = "campus", at_ms: int = NOW_MS) -> Verdict:
        verdict = self.see(token, uplink, at_ms)
        self.commit(verdict)
        return verdict

    def receipt(self, key: StreamKey) -> Receipt:
        return self.core.receipt(GATEWAY, key, "campus").receipt


def alarms(box: Gateway, count: int, *, first: int = 1) -> list[Message]:
    return [raised(box, second) for second in range(first, first + count)]


def words(outgoing: Iterable[Outgoing]) -> list[tuple[str, str]]:
    return [(w.alarm, w.state.value) for out in outgoing for w in out.receipt.alarms]
