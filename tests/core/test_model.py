"""The words as types: what little they can be asked."""

from __future__ import annotations

import pytest

from gateway.core.model import (
    AlarmState,
)
from gateway.core.premises import (
    PERSON_OPERATED,
    Input,
    LedgerSpec,
    Place,
    Point,
    PointKind,
    Premises,
    Route,
)

HALL = Point("hall", PointKind.PANIC, Input(normally_closed="gpio:5"))
SCHOOL = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway="school-12-main",
    key_file="/gateway.jwk",
    ledger=LedgerSpec("/ledger.db"),
    points=(HALL, Point("smoke", PointKind.FIRE, Input(normally_open="gpio:6"))),
    uplinks=(),
    routes=(Route("case", (), ()), Route("security", (), ())),
)


def test_premises_find_a_point_and_a_route_by_their_ids() -> None:
    assert SCHOOL.point("smoke").kind is PointKind.FIRE
    assert SCHOOL.route("security") is SCHOOL.routes[1]


@pytest.mark.parametrize("find", [SCHOOL.point, SCHOOL.route])
def test_premises_name_what_they_do_not_have(find: object) -> None:
    assert callable(find)
    with pytest.raises(KeyError, match="attic"):
        find("attic")


def test_premises_source_names_premises_and_gateway() -> None:
    assert SCHOOL.source == "/premises/school-12/gateways/school-12-main"


def test_place_tells_only_what_is_known() -> None:
    assert Place(building="A", room="Reception").as_json() == {"building": "A", "room": "Reception"}
    assert Place().as_json() == {}


def test_input_names_its_contacts_normally_open_first() -> None:
    both = Input(normally_closed="gpio:27", normally_open="gpio:17")
    assert (both.pair, both.addresses) == (True, ("gpio:17", "gpio:27"))
    assert (HALL.input.pair, HALL.input.addresses) == (False, ("gpio:5",))


@pytest.mark.parametrize("kind", PointKind)
def test_point_is_person_operated_by_its_kind(kind: PointKind) -> None:
    point = Point("p", kind, Input(normally_open="gpio:1"))
    assert point.person_operated is (kind in PERSON_OPERATED)


def test_alarm_states_have_one_order() -> None:
    words = ["raised", "received", "acknowledged", "dispatched", "closed"]
    assert [(AlarmState(word).rank) for word in words] == [0, 1, 2, 3, 4]
