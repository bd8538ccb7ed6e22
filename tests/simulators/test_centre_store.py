"""A centre's disk: it gives back what it was given, and says when it cannot be used."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.message import Head
from gateway.core.model import AlarmState
from simulators.centre.store import CentreStore, StoreRefused
from tests.simulators.desk import NOW_MS, Desk, alarms
from tools.vector_parts import GATEWAY, ROUTE, STARTS, Gateway, event_id


def test_store_gives_back_what_it_was_given(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("store") / "centre.db"
    desk = Desk()
    box = Gateway(epoch=7, start=STARTS[7], head=Head(0, "0" * 64, (6, 2)))
    for message in (*alarms(box, 2), box.seal("state.gone", GATEWAY, second=9)):
        desk.take(message.token)
    desk.rows[0] = replace(desk.rows[0], over=True)
    answer = desk.core.answer(event_id(1), AlarmState.CLOSED, 7, NOW_MS)
    assert answer is not None
    store = CentreStore(path, ROUTE)
    store.add(desk.rows, [answer])
    store.add(desk.rows, [answer])
    store.close()
    again = CentreStore(path, ROUTE)
    assert list(again.rows()) == desk.rows
    assert list(again.answers()) == [answer]
    again.close()


def test_store_from_before_messages_came_again_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "centre.db"
    desk = Desk()
    desk.take(alarms(Gateway(epoch=6, start=STARTS[6]), 1)[0].token)
    store = CentreStore(path, ROUTE)
    store.add(desk.rows)
    store.close()
    with sqlite3.connect(path) as plain:
        plain.execute("ALTER TABLE message DROP COLUMN over")
    plain.close()
    again = CentreStore(path, ROUTE)
    assert list(again.rows()) == desk.rows
    again.close()


def test_store_of_another_route_is_refused(tmp_path: Path) -> None:
    CentreStore(tmp_path / "centre.db", "case").close()
    with pytest.raises(StoreRefused, match="route case's"):
        CentreStore(tmp_path / "centre.db", ROUTE)


def test_store_that_another_centre_uses_is_refused(tmp_path: Path) -> None:
    first = CentreStore(tmp_path / "centre.db", ROUTE)
    with pytest.raises(StoreRefused, match="used by no other"):
        CentreStore(tmp_path / "centre.db", ROUTE)
    first.close()


@pytest.mark.parametrize("content", [b"not a database" * 100, None], ids=["rubbish", "no folder"])
def test_store_that_cannot_be_used_says_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "centre.db" if content else tmp_path / "none" / "centre.db"
    if content:
        path.write_bytes(content)
    with pytest.raises(StoreRefused, match=r"centre\.db"):
        CentreStore(path, ROUTE)
