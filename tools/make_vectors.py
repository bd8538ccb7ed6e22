"""Writes tests/vectors: what a receiver in any language must accept, refuse and answer.

Everything follows from fixed seeds, so a second run changes nothing (`--check` fails when it
would). The gateway behind them is `vector_parts`, the tampered ones are `vector_refusals`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.core.jws import TokenType, digest, seal
from gateway.core.message import Head, receipt_payload
from gateway.core.model import AlarmState, AlarmWord, Json, Receipt, Stream, StreamKey
from simulators.centre.core.reading import MessageClock, Tie, age_of, tied
from tools.vector_commands import judged
from tools.vector_parts import (
    BOOT,
    CASHIER,
    GATEWAY,
    KEYS,
    LEDGER,
    NOON_MS,
    RECEPTION,
    ROUTE,
    STARTS,
    WARNING,
    Gateway,
    entry,
    event_id,
    heartbeat,
    raised,
)
from tools.vector_refusals import refused

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors"


# --- what must be accepted --------------------------------------------------------------------


def keys() -> dict[str, Any]:
    use = {
        "gateway": f"signs messages and heartbeats of {GATEWAY}",
        "other-gateway": "another gateway's key under the same kid: must not be believed here",
        "security": f"signs receipts of route {ROUTE}",
        "case": "signs receipts of route case; a stranger to route security",
        "desk": "signs commands",
    }
    return {
        "warning": WARNING,
        "keys": [
            {"name": name, "use": use[name], "jwk": key.as_jwk(), "public": key.public.as_jwk()}
            for name, key in KEYS.items()
        ],
    }


def messages() -> list[dict[str, Any]]:
    box = Gateway(epoch=6, start=STARTS[6])
    log = box.seal(
        "state.inventory",
        GATEWAY,
        second=0,
        stream=Stream.LOG,
        data={"points": 2, "configuration": "9f" * 32},
    )
    first = raised(box, 1)
    silent = raised(box, 2, CASHIER)
    again = box.seal(
        "alarm.panic.repeated",
        RECEPTION.id,
        second=3,
        alarm=event_id(1),
        point=RECEPTION,
        data={"count": 2, "also_open": [event_id(2)]},
    )
    fault = box.seal(
        "fault.path.raised", "campus", second=4, data={"route": ROUTE, "why": "no echo for 10 s"}
    )
    cleared = box.seal(
        "alarm.panic.cleared", RECEPTION.id, second=5, alarm=event_id(1), point=RECEPTION
    )
    gone = box.seal(
        "state.gone",
        GATEWAY,
        second=6,
        data={
            "command": event_id(60),
            "stream": "alarm",
            "ledger": LEDGER,
            "epoch": 5,
            "start": "57a47005",
            "ranges": [[1, 40], [43, 43]],
        },
    )
    return [
        entry("inventory", "the log stream's very first: no previous", log.token),
        entry("panic-raised", "the alarm stream's very first; Kazakh room name", first.token),
        entry("hold-up-raised", "a silent point; Cyrillic building name", silent.token),
        entry("panic-repeated", "pressed again while open: same alarm, count", again.token),
        entry("path-fault", "no place and no point kind: it is about an uplink", fault.token),
        entry("panic-cleared", "ends the alarm of panic-raised", cleared.token),
        entry("gone", "asked for once more, and no longer held: a gap of its own", gone.token),
    ]


def receipts() -> list[dict[str, Any]]:
    key = StreamKey(ROUTE, Stream.ALARM, LEDGER, 6, STARTS[6])
    states = (AlarmState.RECEIVED, AlarmState.ACKNOWLEDGED, AlarmState.DISPATCHED)
    words = tuple(
        AlarmWord(
            event_id(1), state, None if rank == 0 else 7, f"2026-12-01T12:00:0{rank + 2}.000Z"
        )
        for rank, state in enumerate(states)
    )
    found = {
        "through": ("1..3 are on disk", Receipt(GATEWAY, key, 3)),
        "echo": ("the echo of heartbeat 41", Receipt(GATEWAY, key, 3, beat=41)),
        "also": ("4 is missing; 5 and 7..9 are held", Receipt(GATEWAY, key, 3, ((5, 5), (7, 9)))),
        "nothing": ("holds nothing of this run yet", Receipt(GATEWAY, key, 0, beat=1)),
        "words": ("what became of an alarm", Receipt(GATEWAY, key, 1, alarms=words)),
    }
    return [
        entry(name, note, seal(TokenType.RECEIPT, receipt_payload(receipt), KEYS["security"]))
        for name, (note, receipt) in found.items()
    ]


def heartbeats() -> list[dict[str, Any]]:
    return [
        entry("quiet", "nothing open: at most 450 bytes", heartbeat(41)),
        entry("open", "one alarm is open", heartbeat(42, open=(event_id(1),))),
        entry("unsynchronised", "its UTC must not be used", heartbeat(43, synchronised=False)),
        entry(
            "everything",
            "open, isolated and modes",
            heartbeat(44, open=(event_id(1),), isolated=("cashier",), modes=("drill:fire",)),
        ),
    ]


def commands() -> list[dict[str, Any]]:
    payload: dict[str, Json] = {
        "id": event_id(60),
        "gateway": GATEWAY,
        "ledger": LEDGER,
        "boot": BOOT,
        "not_after_ms": 3_670_000,
        "verb": "resend",
        "target": {"stream": "alarm", "ledger": LEDGER, "epoch": 6, "from": 2, "to": 3},
        "counter": 1,
    }
    token = seal(TokenType.COMMAND, payload, KEYS["desk"])
    return [entry("resend", "asks for alarm messages 2..3 of epoch 6 once more", token)]


# --- the chain over a crash -------------------------------------------------------------------


def chain() -> dict[str, Any]:
    six = Gateway(epoch=6, start=STARTS[6])
    sealed = [raised(six, second) for second in (11, 12, 13)]
    resumed = Head(0, digest(sealed[1].token), (6, 2))
    seven = Gateway(epoch=7, start=STARTS[7], head=resumed)
    resuming = raised(seven, 20)
    later = raised(seven, 21)
    lost = raised(seven, 22)
    after = raised(seven, 23)

    def step(
        token: bytes, outcome: str, marks: Sequence[str], through: int, **more: Any
    ) -> dict[str, Any]:
        found = {"token": token.decode(), "outcome": outcome, "marks": list(marks)}
        return found | {"gap": more.get("gap", []), "receipt": _covered(through, more.get("also"))}

    return {
        "note": "Epoch 6 sealed 1 to 3; 3 went out ahead of a stalled disk, then the process died.",
        "gateway": GATEWAY,
        "route": ROUTE,
        "steps": [
            step(sealed[0].token, "new", [], 1),
            step(sealed[2].token, "new", ["gap"], 1, gap=[[2, 2]], also=[[3, 3]]),
            step(sealed[0].token, "copy", [], 1, also=[[3, 3]]),
            step(sealed[1].token, "new", [], 3),
            step(resuming.token, "new", ["resumed"], 1),
            step(later.token, "new", [], 2),
            step(after.token, "new", ["gap"], 2, gap=[[3, 3]], also=[[4, 4]]),
            step(lost.token, "new", [], 4),
            step(sealed[2].token, "copy", [], 3),
        ],
    }


def _covered(through: int, also: Any) -> dict[str, Any]:
    return {"through": through, "also": also or []}


# --- age --------------------------------------------------------------------------------------


def ages() -> list[dict[str, Any]]:
    """Heartbeats heard (boot, monotonic_ms, synchronised, at_ms), then a message at `at_ms`."""
    at = NOON_MS
    ours, before = "b0070001", "b0070000"
    live = [[ours, 1_000_000, True, at - 10_000], [ours, 1_005_000, True, at - 5_000]]
    unsure = [[ours, 1_000_000, False, at - 10_000]]
    slow = [[ours, 1_000_000, True, at - 10_000], [ours, 1_005_000, True, at + 25_000]]
    fortnight = 14 * 86_400_000
    drifted = [
        [ours, 1_000_000, False, at - fortnight],
        [ours, 1_000_000 + fortnight - 69_000, False, at],
    ]
    cases: list[tuple[str, Sequence[Sequence[Any]], MessageClock, int]] = [
        ("fresh", live, MessageClock(ours, 1_009_900, at, True), at),
        ("a minute is not late", live, MessageClock(ours, 950_000, at, True), at),
        ("over a minute is late", live, MessageClock(ours, 949_000, at, True), at),
        ("false utc, same boot: monotonic", live, MessageClock(ours, 1_009_000, 0, False), at),
        (
            "stalled link looks no younger",
            slow,
            MessageClock(ours, 1_006_000, at, True),
            at + 25_000,
        ),
        ("from the future: age 0", live, MessageClock(ours, 2_000_000, at, True), at),
        ("earlier boot, both utc good", live, MessageClock(before, 5_000, at - 90_000, True), at),
        ("earlier boot, utc then bad", live, MessageClock(before, 5_000, at - 90_000, False), at),
        ("earlier boot, utc now bad", unsure, MessageClock(before, 5_000, at - 90_000, True), at),
        ("no heartbeat heard yet", [], MessageClock(ours, 1_009_900, at, True), at),
        (
            "clocks parting for a fortnight",
            drifted,
            MessageClock(ours, fortnight + 931_000, at, False),
            at,
        ),
        (
            "earlier boot that was heard itself",
            [[before, 500_000, False, at - 300_000], *live],
            MessageClock(before, 600_000, 0, False),
            at,
        ),
    ]
    return [age_case(*case) for case in cases]


def age_case(
    name: str, beats: Sequence[Sequence[Any]], clock: MessageClock, at_ms: int
) -> dict[str, Any]:
    ties: dict[str, Tie] = {}
    for boot, monotonic_ms, _, arrived_ms in beats:
        ties[boot] = tied(ties.get(boot), monotonic_ms=monotonic_ms, at_ms=arrived_ms)
    last = bool(beats[-1][2]) if beats else False
    age = age_of(clock, tie=ties.get(clock.boot), synchronised=last, at_ms=at_ms)
    fields = ("boot", "monotonic_ms", "synchronised", "at_ms")
    return {
        "name": name,
        "heartbeats": [dict(zip(fields, beat, strict=True)) for beat in beats],
        "message": {
            "boot": clock.boot,
            "monotonic_ms": clock.monotonic_ms,
            "utc_ms": clock.utc_ms,
            "synchronised": clock.synchronised,
        },
        "at_ms": at_ms,
        "age_ms": age.ms,
        "by": age.by.value,
        "late": age.late,
    }


# --- writing ----------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """The text of every vector file by its name."""
    content: dict[str, Any] = {
        "keys.json": keys(),
        "messages.json": messages(),
        "receipts.json": receipts(),
        "heartbeats.json": heartbeats(),
        "commands.json": commands(),
        "judged.json": judged(),
        "chain.json": chain(),
        "refused.json": refused(),
        "age.json": ages(),
    }
    return {
        name: json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        for name, value in content.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    check = parser.parse_args().check
    stale = []
    for name, text in files().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        print("differ from what tools/make_vectors.py makes: " + ", ".join(stale), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
