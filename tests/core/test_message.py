"""What goes on the wire: written one way, read strictly, whatever JSON somebody signs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.alarms import OPEN_MAX
from gateway.core.jws import (
    TOKEN_MAX_BYTES,
    SigningKey,
    TokenRefused,
    TokenType,
    digest,
    open_token,
    seal,
)
from gateway.core.message import (
    NEVER_REDACTED,
    Head,
    Heartbeat,
    heartbeat_payload,
    read_heartbeat,
    read_receipt,
    receipt_payload,
    redacted,
    rfc3339,
    seal_message,
    utc_ms_of,
    uuid7,
)
from gateway.core.model import (
    AlarmState,
    AlarmWord,
    Event,
    Json,
    Receipt,
    Stamp,
    Stream,
    StreamKey,
)
from tools.vector_parts import NOON_MS, PREMISES, RECEPTION, SECURITY

KEY = SigningKey("k" * 16, bytes(range(32)))
STREAM = StreamKey("security", Stream.ALARM, "1ed9e4a0", 6, "57a47006")
EVENT = Event(
    id="019af3a1-0000-7000-8000-000000000001",
    type="alarm.panic.raised",
    subject="reception",
    stamp=Stamp(NOON_MS, True, 4, "b0070001", 3_600_000),
    alarm="019af3a1-0000-7000-8000-000000000001",
    data={"also_open": []},
)

hex8 = st.text("0123456789abcdef", min_size=8, max_size=8)
numbers = st.integers(0, 2**53 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def batched_pairs(ends: list[int]) -> list[tuple[int, int]]:
    """Ascending ends two by two: ranges that do not touch."""
    return list(zip(ends[::2], ends[1::2], strict=False))


receipts = st.builds(
    Receipt,
    gateway=texts,
    key=st.builds(StreamKey, texts, st.sampled_from(Stream), hex8, st.integers(1, 2**53 - 1), hex8),
    through=numbers,
    also=st.lists(st.integers(1, 1000), max_size=6, unique=True).map(
        lambda ends: tuple(batched_pairs(sorted(ends)))
    ),
    beat=st.none() | numbers,
    alarms=st.lists(
        st.builds(
            AlarmWord,
            alarm=texts,
            state=st.sampled_from([s for s in AlarmState if s is not AlarmState.RAISED]),
            operator=st.none() | numbers,
            at=st.integers(0, 253_402_300_799_999).map(rfc3339),
        ),
        max_size=3,
    ).map(tuple),
)
lists_of_text = st.lists(texts, max_size=3).map(tuple)
heartbeats = st.builds(
    Heartbeat,
    number=st.integers(1, 2**53 - 1),
    ledger=hex8,
    epoch=st.integers(1, 2**53 - 1),
    start=hex8,
    boot=hex8,
    monotonic_ms=numbers,
    utc_ms=st.integers(0, 253_402_300_799_999),
    synchronised=st.booleans(),
    heads=st.fixed_dictionaries(dict.fromkeys(Stream, numbers)),
    open=lists_of_text,
    isolated=lists_of_text,
    modes=lists_of_text,
    open_more=numbers,
)
RECEIPT = receipt_payload(
    Receipt(
        "gw", STREAM, 3, ((5, 7),), 41, (AlarmWord("a", AlarmState.CLOSED, 7, rfc3339(NOON_MS)),)
    )
)
QUIET = Heartbeat(1, "1ed9e4a0", 6, "57a47006", "b0070001", 1, NOON_MS, True, {})
BEAT = heartbeat_payload(replace(QUIET, open=("a",), isolated=("b",), modes=("c",)))


def sealed(event: Event = EVENT, head: Head | None = None, **changes: Any) -> Mapping[str, Any]:
    fields: dict[str, Any] = {"premises": PREMISES, "route": SECURITY, "point": RECEPTION}
    message, _ = seal_message(
        event, **(fields | changes), key=STREAM, head=head or Head(), signer=KEY
    )
    return open_token(
        message.token, typ=TokenType.MESSAGE, keys={KEY.kid: KEY.public}
    )[1]  # fmt: skip


# --- messages ---------------------------------------------------------------------------------


def test_message_is_a_cloud_event_of_exactly_these_members() -> None:
    assert list(sealed()) == [
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "route",
        "stream", "ledger", "epoch", "start", "sequence", "data",
    ]  # fmt: skip


def test_message_names_its_predecessor_by_hash() -> None:
    first, head = seal_message(
        EVENT, premises=PREMISES, route=SECURITY, point=None, key=STREAM, head=Head(), signer=KEY
    )
    assert head == Head(1, digest(first.token))
    assert sealed(head=head)["previous"] == digest(first.token)
    assert sealed(head=head)["sequence"] == 2


def test_message_that_resumes_says_from_where_once() -> None:
    head = Head(0, "0" * 64, (6, 2))
    payload = sealed(head=head)
    assert (payload["resumesepoch"], payload["resumessequence"]) == (6, 2)
    _, after = seal_message(
        EVENT, premises=PREMISES, route=SECURITY, point=None, key=STREAM, head=head, signer=KEY
    )
    assert after.resumes is None


def test_message_is_the_same_bytes_for_the_same_input() -> None:
    def once() -> bytes:
        message, _ = seal_message(
            EVENT,
            premises=PREMISES,
            route=SECURITY,
            point=RECEPTION,
            key=STREAM,
            head=Head(),
            signer=KEY,
        )
        return message.token

    assert once() == once()


def test_message_carries_place_code_and_clock() -> None:
    data = sealed()["data"]
    assert data["place"]["room"] == "Қабылдау бөлмесі"
    assert data["contact_id"] == {"qualifier": 1, "code": "120", "partition": 1, "zone": 1}
    assert data["clock"] == {
        "synchronised": True,
        "error_ms": 4,
        "boot": "b0070001",
        "monotonic_ms": 3_600_000,
    }


def test_redaction_drops_what_a_route_may_not_see() -> None:
    route = replace(SECURITY, redact=("place.room", "point_kind"))
    data = sealed(route=route)["data"]
    assert "point_kind" not in data
    assert data["place"] == {"building": "A", "floor": "1"}


@given(st.lists(st.sampled_from([*sorted(NEVER_REDACTED), "clock.boot", "place", "x.y"])))
def test_redaction_never_takes_what_makes_a_message_readable(drop: list[str]) -> None:
    data: dict[str, Json] = {name: {"boot": 1} for name in [*NEVER_REDACTED, "place", "x"]}
    assert {name: redacted(data, drop)[name] for name in NEVER_REDACTED} == {
        name: {"boot": 1} for name in NEVER_REDACTED
    }


# --- receipts and heartbeats ------------------------------------------------------------------


@given(receipts)
def test_receipt_reads_back(receipt: Receipt) -> None:
    assert read_receipt(json.loads(json.dumps(receipt_payload(receipt)))) == receipt


@given(heartbeats)
def test_heartbeat_reads_back(beat: Heartbeat) -> None:
    assert read_heartbeat(json.loads(json.dumps(heartbeat_payload(beat)))) == beat


def test_heartbeat_leaves_out_what_is_empty() -> None:
    assert not {"open", "isolated", "modes", "open_more"} & heartbeat_payload(QUIET).keys()


def test_heartbeat_of_a_gateway_whose_alarms_nobody_closes_is_read_by_everybody() -> None:
    ids = tuple(uuid7(number, bytes(10)) for number in range(OPEN_MAX))
    heads = dict.fromkeys(Stream, 6)
    beat = replace(QUIET, heads=heads, open=ids, open_more=1_000_000)
    token = seal(TokenType.HEARTBEAT, heartbeat_payload(beat), KEY)
    assert len(token) < TOKEN_MAX_BYTES // 2
    assert read_heartbeat(json.loads(json.dumps(heartbeat_payload(beat)))) == beat


def test_heartbeat_with_nothing_open_is_at_most_450_bytes() -> None:
    """A year without a restart at 5 s, in the 500th epoch, under a kid of 16 characters."""
    worst = Heartbeat(
        number=6_307_200,
        ledger="ffffffff",
        epoch=500,
        start="ffffffff",
        boot="ffffffff",
        monotonic_ms=31_536_000_000,
        utc_ms=NOON_MS,
        synchronised=False,
        heads={Stream.ALARM: 2_000, Stream.LOG: 200_000},
    )
    assert len(seal(TokenType.HEARTBEAT, heartbeat_payload(worst), KEY)) <= 450


@pytest.mark.parametrize(
    ("read", "payload", "may_lack"),
    [
        (read_receipt, RECEIPT, {"also", "beat", "alarms"}),
        (read_heartbeat, BEAT, {"open", "isolated", "modes"}),
    ],
    ids=["receipt", "heartbeat"],
)
def test_readers_refuse_a_missing_or_an_unknown_member(
    read: Callable[[Mapping[str, Any]], object], payload: dict[str, Any], may_lack: set[str]
) -> None:
    with pytest.raises(TokenRefused, match="unknown members"):
        read({**payload, "more": 1})
    for name in payload:
        less = {key: value for key, value in payload.items() if key != name}
        if name in may_lack:
            assert read(less) is not None
        else:
            with pytest.raises(TokenRefused, match=name):
                read(less)


def other_type(value: Any) -> list[Any]:
    """Values of every JSON type but that of `value`."""
    samples: list[Any] = [None, True, 1.5, "x", [], {}]
    return [sample for sample in samples if type(sample) is not type(value)]


@pytest.mark.parametrize(
    ("read", "payload"),
    [(read_receipt, RECEIPT), (read_heartbeat, BEAT)],
    ids=["receipt", "heartbeat"],
)
def test_readers_refuse_a_member_of_another_type(
    read: Callable[[Mapping[str, Any]], object], payload: dict[str, Any]
) -> None:
    for name, value in payload.items():
        for odd in other_type(value):
            if name == "beat" and odd is None:
                continue
            with pytest.raises(TokenRefused, match=name):
                read({**payload, name: odd})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("through", -1),
        ("epoch", 0),
        ("ledger", "1ED9E4A0"),
        ("ledger", "1ed9e4a0\n"),
        ("stream", "alarms"),
        ("gateway", ""),
        ("also", [[0, 1]]),
        ("also", [[3, 2]]),
        ("also", [[1]]),
        ("also", [[1, 2, 3]]),
        ("also", [["1", 2]]),
        ("also", [[1, True]]),
        ("also", "12"),
        ("alarms", [{"alarm": "a", "state": "gone", "operator": 1, "at": ""}]),
        ("alarms", [{"alarm": "a", "state": "closed", "operator": "Айгүл", "at": ""}]),
        ("alarms", [{"alarm": "a", "state": "closed", "operator": 1, "at": "", "name": "x"}]),
        ("alarms", [1]),
    ],
)
def test_receipt_with_an_odd_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TokenRefused):
        read_receipt({**RECEIPT, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 0),
        ("monotonic_ms", -1),
        ("boot", "b007"),
        ("utc", "2026-12-01T12:00:00"),
        ("utc", "2026-12-01T12:00:00+05:00"),
        ("utc", "soonZ"),
        ("heads", {"alarm": 1, "log": -1}),
        ("heads", {"alarm": 1, "log": 1, "other": 1}),
        ("heads", [1, 2]),
        ("open", [1]),
        ("open", "abc"),
    ],
)
def test_heartbeat_with_an_odd_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TokenRefused):
        read_heartbeat({**BEAT, name: value})


@given(st.dictionaries(st.sampled_from([*RECEIPT, *BEAT, "more"]), any_json))
def test_readers_never_crash_on_any_json(payload: dict[str, Any]) -> None:
    for read, whole in ((read_receipt, RECEIPT), (read_heartbeat, BEAT)):
        for candidate in (payload, {**whole, **payload}):
            try:
                read(candidate)
            except TokenRefused as refusal:
                assert str(refusal)  # noqa: PT017 -- either outcome is right, a crash is not


# --- time and ids -----------------------------------------------------------------------------


@given(st.integers(0, 253_402_300_799_999))
def test_time_reads_back_to_the_millisecond(utc_ms: int) -> None:
    text = rfc3339(utc_ms)
    assert utc_ms_of(text) == utc_ms
    assert len(text) == len("2026-12-01T12:00:00.000Z")


def test_time_is_utc_with_milliseconds_and_z() -> None:
    assert rfc3339(NOON_MS) == "2026-12-01T12:00:00.000Z"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7_keeps_time_version_and_variant(utc_ms: int, entropy: bytes) -> None:
    text = uuid7(utc_ms, entropy)
    assert int(text.replace("-", "")[:12], 16) == utc_ms
    assert (text[14], text[19] in "89ab") == ("7", True)


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10))
def test_uuid7_sorts_by_time(utc_ms: int, entropy: bytes) -> None:
    assert uuid7(utc_ms, b"\xff" * 10) < uuid7(utc_ms + 1, entropy)
