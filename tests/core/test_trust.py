"""Which receipts are believed, and which part of an old one still is."""

from __future__ import annotations

import pytest

from gateway.core.jws import SigningKey, TokenRefused, TokenType, seal
from gateway.core.message import receipt_payload
from gateway.core.model import AlarmState, AlarmWord, Receipt, Stream, StreamKey
from gateway.core.premises import Route, RouteKey
from gateway.core.trust import Trust

GATEWAY = "school-12-main"
CENTRE, CASE = SigningKey("security", bytes([1]) * 32), SigningKey("case", bytes([2]) * 32)
NOW = StreamKey("security", Stream.ALARM, "1ed9e700", 6, "0000000f")
BEFORE = StreamKey("security", Stream.ALARM, "1ed9e700", 5, "0000000e")
WORD = AlarmWord("a1", AlarmState.ACKNOWLEDGED, 7, "2026-09-01T08:00:00Z")


def trust() -> Trust:
    routes = [
        Route(key.kid, ("campus",), (), keys=(RouteKey(key.kid, key.public.x),))
        for key in (CENTRE, CASE)
    ]
    return Trust(routes, gateway=GATEWAY, ledger="1ed9e700", epoch=6, start="0000000f")


def receipt(key: StreamKey, *, beat: int | None = None) -> Receipt:
    return Receipt(GATEWAY, key, 3, beat=beat, alarms=(WORD,))


def sealed(receipt: Receipt, signer: SigningKey = CENTRE) -> bytes:
    return seal(TokenType.RECEIPT, receipt_payload(receipt), signer)


def test_trust_believes_the_echo_of_this_start() -> None:
    assert trust().receipt("security", sealed(receipt(NOW, beat=4))) == receipt(NOW, beat=4)


def test_trust_takes_no_receipt_of_an_earlier_start_for_an_echo() -> None:
    """Heartbeats count from 1 at every start: a recording would make a deaf centre look alive."""
    assert trust().receipt("security", sealed(receipt(BEFORE, beat=4))) == receipt(BEFORE)


def test_trust_believes_what_an_earlier_start_is_still_owed() -> None:
    assert trust().receipt("security", sealed(receipt(BEFORE))) == receipt(BEFORE)


def test_trust_takes_a_replaced_ledger_only_while_something_of_it_is_owed() -> None:
    old = StreamKey("security", Stream.ALARM, "01d00000", 9, "0000000a")
    mine = trust()
    with pytest.raises(TokenRefused, match="another ledger"):
        mine.receipt("security", sealed(receipt(old, beat=4)))
    mine.elders.add(old.ledger)
    assert mine.receipt("security", sealed(receipt(old, beat=4))) == receipt(old)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (StreamKey("security", Stream.ALARM, "1ed9e700", 7, "0000000f"), "not begun"),
        (StreamKey("security", Stream.ALARM, "1ed9e700", 6, "0000000e"), "cloned"),
        (StreamKey("case", Stream.ALARM, "1ed9e700", 6, "0000000f"), "another route"),
    ],
)
def test_trust_refuses_numbers_nobody_here_has_given(key: StreamKey, why: str) -> None:
    with pytest.raises(TokenRefused, match=why):
        trust().receipt("security", sealed(receipt(key)))


def test_trust_refuses_another_routes_key() -> None:
    with pytest.raises(TokenRefused, match="not believed here"):
        trust().receipt("security", sealed(receipt(NOW), CASE))
