"""Which Receipts are believed: a route's own, under its own keys, about this very gateway. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.core.jws import TokenRefused, TokenType, VerifyKey, open_token
from gateway.core.message import read_receipt
from gateway.core.model import Receipt
from gateway.core.premises import Route


class Trust:
    """What one start of one gateway believes."""

    def __init__(
        self, routes: Iterable[Route], *, gateway: str, ledger: str, epoch: int, start: str
    ) -> None:
        self._keys = {
            route.id: {key.kid: VerifyKey(key.kid, key.x) for key in route.keys} for route in routes
        }
        self._gateway = gateway
        self._ledger = ledger
        self._epoch = epoch
        self._start = start
        self.elders: set[str] = set()
        """Other ledgers of this gateway, replaced since, of which something is still owed."""

    def receipt(self, route: str, token: bytes) -> Receipt:
        """A Receipt that may settle what `route` is owed; TokenRefused says why it may not."""
        _, payload = open_token(token, typ=TokenType.RECEIPT, keys=self._keys[route])
        receipt = read_receipt(payload)
        if receipt.gateway != self._gateway:
            raise TokenRefused("it is for another gateway")
        if receipt.key.route != route:
            raise TokenRefused("it is for another route")
        if receipt.key.ledger in self.elders - {self._ledger}:
            return replace(receipt, beat=None)  # their heartbeats are over
        if receipt.key.ledger != self._ledger:
            raise TokenRefused("it is for another ledger: this gateway's was replaced since")
        if receipt.key.epoch > self._epoch:
            raise TokenRefused("it is for an epoch that has not begun")
        if receipt.key.epoch == self._epoch and receipt.key.start != self._start:
            raise TokenRefused("it is for another start of this epoch: was the card cloned?")
        if receipt.key.epoch < self._epoch:
            return replace(receipt, beat=None)  # so are those of starts before: numbers begin anew
        return receipt
