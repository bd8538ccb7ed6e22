"""Plain values and back: what crosses from the configuration's child to the daemon."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import AlarmState, AlarmWord, Fact, Json, Receipt, Stamp, Stream, StreamKey
from gateway.core.plain import from_plain, to_plain
from gateway.core.premises import Input, Line, Place, Point, PointKind, Premises

JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.from_type(Premises))
def test_premises_survives_the_way_through_json(premises: Premises) -> None:
    assert from_plain(Premises, json.loads(json.dumps(to_plain(premises)))) == premises


@given(st.from_type(Receipt))
def test_receipt_with_its_ranges_survives_the_way_through_json(receipt: Receipt) -> None:
    assert from_plain(Receipt, json.loads(json.dumps(to_plain(receipt)))) == receipt


@given(st.from_type(Stamp))
def test_stamp_survives_the_way_through_json(stamp: Stamp) -> None:
    assert from_plain(Stamp, json.loads(json.dumps(to_plain(stamp)))) == stamp


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_fact_keeps_whatever_json_it_carries(data: dict[str, Json]) -> None:
    fact = Fact(type="state.x.y", subject="s", at_us=1, data=data)
    assert from_plain(Fact, json.loads(json.dumps(to_plain(fact)))) == fact


def test_revived_enums_are_members_not_text() -> None:
    point = Point(id="p", kind=PointKind.FIRE, input=Input(normally_closed="gpio:5"))
    revived = from_plain(Point, to_plain(point))
    assert revived.kind is PointKind.FIRE
    assert revived.input.line is Line.SHORT


def test_a_field_left_out_takes_its_default() -> None:
    data = {"id": "p", "kind": "panic", "input": {"normally_open": "gpio:1"}}
    assert from_plain(Point, data) == Point(
        id="p", kind=PointKind.PANIC, input=Input(normally_open="gpio:1")
    )


@dataclass(frozen=True, slots=True)
class _Nested:
    names: tuple[str, ...] = ()
    table: dict[str, int] = field(default_factory=dict)


POINT: dict[str, Json] = {"id": "p", "kind": "panic", "input": {}}


@pytest.mark.parametrize(
    ("cls", "data", "text"),
    [
        (Place, 5, "value: wanted a mapping, found int"),
        (Premises, {"points": "all"}, "id: is missing"),
        (_Nested, {"names": "all"}, "names: wanted a list, found str"),
        (_Nested, {"table": [1]}, "table: wanted a mapping, found list"),
        (Place, {"room": 5}, "room: wanted text, found int"),
        (Place, {"attic": ""}, "attic: Place has no such field"),
        (Point, POINT | {"kind": "panik"}, "kind: 'panik' is not one of panic, hold-up, "),
        (Point, {"id": "p"}, "kind: is missing"),
        (Point, POINT | {"silent": 1}, "silent: wanted true or false, found int"),
        (Point, POINT | {"stuck_after_ms": True}, "stuck_after_ms: wanted a whole number"),
        (Point, POINT | {"input": {"line": None}}, "input.line: None is not one of short, long"),
        (
            Receipt,
            {"gateway": "g", "key": {}, "through": 1},
            "key.route: is missing",
        ),
    ],
)
def test_a_misfit_is_named_by_its_path(cls: type, data: Json, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        from_plain(cls, data)


def test_a_misfit_inside_a_list_is_named_by_its_index() -> None:
    key = StreamKey(route="r", stream=Stream.ALARM, ledger="0", epoch=1, start="0")
    word = AlarmWord(alarm="a", state=AlarmState.CLOSED)
    plain = to_plain(Receipt(gateway="g", key=key, through=1, also=((1, 2),), alarms=(word,)))
    assert isinstance(plain, dict)
    with pytest.raises(ValueError, match=r"^also\[0\]: wanted a list of 2, found list$"):
        from_plain(Receipt, plain | {"also": [[1, 2, 3]]})
    with pytest.raises(ValueError, match=r"^alarms\[0\]: wanted a mapping, found str$"):
        from_plain(Receipt, plain | {"alarms": ["a"]})


def test_what_has_no_plain_form_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"^a\[1\]: bytes has no plain form$"):
        to_plain({"a": [1, b"x"]})


@dataclass(frozen=True, slots=True)
class _Share:
    share: float


@dataclass(frozen=True, slots=True)
class _Ambiguous:
    either: int | Place


def test_a_whole_number_will_do_where_a_fraction_is_wanted() -> None:
    assert from_plain(_Share, {"share": 1}) == _Share(share=1.0)


def test_text_will_not_do_where_a_fraction_is_wanted() -> None:
    with pytest.raises(ValueError, match=r"^share: wanted a number, found str$"):
        from_plain(_Share, {"share": "1"})


def test_a_hint_with_two_readings_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ValueError, match=r"^either: the hint .* cannot be revived$"):
        from_plain(_Ambiguous, {"either": 1})


@dataclass(frozen=True, slots=True)
class _Bytes:
    token: bytes


def test_a_type_json_cannot_carry_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"^token: bytes cannot be revived$"):
        from_plain(_Bytes, {"token": "x"})
