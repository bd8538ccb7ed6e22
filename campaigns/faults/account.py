"""What must have come of a day of one misfortune, told from outside: what is broken, in words.

From tokens at the brokers, verdicts of the centres, lines of the log, the ledger afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from campaigns.faults.school import PRESSED, FaultSchool
from gateway.core.jws import digest
from gateway.core.kinds import phase_of
from gateway.core.model import Stream, StreamKey
from gateway.core.standing import name_of
from gateway.record.ledger import Ledger
from simulators.centre.core.words import unsealed

TOGETHER_MS = 200
"""How far apart two things are that one look at the inputs and deadlines finds together."""

RELEASED_WITHIN_US = 50_000
"""An alarm waits for the disk at most this long (Premises.sync_wait_ms) …"""
JOURNEY_US = 10_000
"""… and a packet of the simulated broker takes 3 ms at most, a few of them in a row."""

_START, _LOST = "state.gateway.restarted", "lost"


def findings(school: FaultSchool) -> Iterator[str]:
    """Everything that must hold of any day, but for the time an alarm took."""
    yield from alarms(school)
    yield from whole(school)
    yield from sealed(school)
    yield from well(school)
    yield from recorded(school)


def alarms(school: FaultSchool) -> Iterator[str]:
    """Every press is one alarm on both routes, there is no other, and the daemon lived."""
    yield from school.crashed
    for route in school.centres:
        raised: dict[str, set[str]] = {}
        for message in school.heard(route, "alarm."):
            if message.type.endswith(".raised"):
                raised.setdefault(message.subject, set()).add(message.id)
        for point in PRESSED:
            count = len(raised.pop(point, ()))
            if count != 1:
                word = "lost" if count == 0 else "doubled"
                yield f"{word}: {count} alarms of {point} at {route}"
        for point in raised:
            yield f"false: an alarm of {point} at {route}"


def on_time(school: FaultSchool) -> Iterator[str]:
    """No alarm waited for anything longer than it may for the disk."""
    for route, centre in school.centres.items():
        for verdict in centre.new:
            message = verdict.message
            if message is None or not message.type.endswith(".raised"):
                continue
            if not message.type.startswith("alarm."):
                continue
            raised_us = message.clock.monotonic_ms * 1_000
            arrived_us = (verdict.at_ms - school.clock.utc_offset_ms) * 1_000
            if any(begin <= raised_us <= end for begin, end in school.down):
                continue
            if arrived_us - raised_us > RELEASED_WITHIN_US + JOURNEY_US:
                late_ms = (arrived_us - raised_us) // 1_000
                yield f"late: {message.subject} at {route} after {late_ms} ms"


def whole(school: FaultSchool) -> Iterator[str]:
    """No number is missing at a centre."""
    for route, centre in school.centres.items():
        numbers: dict[StreamKey, set[int]] = {}
        for verdict in centre.new:
            if verdict.message is not None:
                key = verdict.message.key
                numbers.setdefault(key, set()).add(verdict.message.sequence)
        for key, held in numbers.items():
            missing = set(range(1, max(held) + 1)) - held
            if missing:
                yield f"gap at {route}: {sorted(missing)} of {key.stream} {key.epoch}"


def well(school: FaultSchool) -> Iterator[str]:
    """Every fault is told once and its end once, in turn; none is left standing.

    What was broken over the restart is told once until it is mended, whatever else happens;
    once more after a start that has lost its record of it, and says so by not naming it.
    """
    told: dict[str, list[str]] = {}
    unmended: dict[str, list[str]] = {}
    for at_ms, what, phase in _faults(school):
        told.setdefault(what, []).append(phase)
        if school.mended_ms is None or at_ms < school.mended_ms:
            unmended.setdefault(what, []).append(phase)
    spoilt = "storage ledger" in told
    for what, said in told.items():
        ends = said[1::2]
        if set(said[::2]) != {"raised"} or len(ends) != len(said[::2]) or "raised" in ends:
            yield f"fault {what}: {', '.join(said)}"
        if _LOST in said and not spoilt:
            yield f"fault {what}: a start on a sound disk has forgotten it"
    for what in school.over_restart:
        if unmended.get(what) not in (["raised"], ["raised", _LOST, "raised"]):
            yield f"fault {what} stood over the restart: {unmended.get(what) or 'never told'}"


def _faults(school: FaultSchool) -> Iterator[tuple[int, str, str]]:
    """When, which fault, and its phase, in the order of the starts and of what they saw."""
    heard = [m for kind in ("fault.", _START) for m in school.heard("security", kind)]
    starts = {m.key.start: m.clock.monotonic_ms for m in heard if m.type == _START}
    standing: dict[str, str] = {}
    for message in sorted(
        heard,
        key=lambda m: (
            *(starts[m.key.start], m.type != _START),
            *(m.clock.monotonic_ms, m.sequence),
        ),
    ):
        at_ms, named = message.clock.monotonic_ms, message.data.get("faults", ())
        if message.type == _START:
            for what in [what for what, raised in standing.items() if raised not in named]:
                del standing[what]
                yield at_ms, what, _LOST
            continue
        what = name_of(message.type, message.subject, message.data)
        phase = phase_of(message.type)
        standing.pop(what, None)
        if phase == "raised":
            standing[what] = message.id
        yield at_ms, what, phase


def sealed(school: FaultSchool) -> Iterator[str]:
    """What passed the broker verifies as a chain: one token a number, each naming the last.

    Within a stream of one start, what happened later has the higher number; what one look
    at the deadlines finds may have happened in another order than it is told in.
    """
    for key, numbers in _sent(school).items():
        where = f"{key.route}/{key.stream} {key.epoch}"
        before, then_ms = (0, ""), 0
        for sequence, tokens in sorted(numbers.items()):
            if len(tokens) > 1:
                yield f"{len(tokens)} messages are {where}/{sequence}"
            token = min(tokens)
            payload = unsealed(token)
            if before[0] == sequence - 1 > 0 and payload["previous"] != before[1]:
                yield f"broken chain at {where}/{sequence}"
            happened_ms = payload["data"]["clock"]["monotonic_ms"]
            if happened_ms < then_ms - TOGETHER_MS:
                yield f"out of order: {where}/{sequence}"
            before, then_ms = (sequence, digest(token)), max(happened_ms, then_ms)


def _sent(school: FaultSchool) -> dict[StreamKey, dict[int, set[bytes]]]:
    """What passed the broker, by stream and number."""
    sent: dict[StreamKey, dict[int, set[bytes]]] = {}
    for token in school.tokens:
        m = unsealed(token)
        place = (m["route"], Stream(m["stream"]), m["ledger"], m["epoch"], m["start"])
        sent.setdefault(StreamKey(*place), {}).setdefault(m["sequence"], set()).add(token)
    return sent


def recorded(school: FaultSchool) -> Iterator[str]:
    """The ledger on disk owes nothing, and holds every message that was sent from it."""
    if not all(school.on_disk):
        yield "a stop left something off the disk"
    ledger = Ledger.open(
        school.premises.ledger.path, start="f" * 8, fresh_id="f" * 8, boot="f" * 8, utc_ms=0
    )
    try:
        if not ledger.durable or ledger.set_aside:
            yield f"the ledger is broken: {ledger.trouble or ledger.set_aside_why}"
            return
        for key, ranges in ledger.owed().items():
            yield f"still owed: {key.route}/{key.stream} {key.epoch}/{ranges}"
        for key, numbers in _sent(school).items():
            tokens = set[bytes]().union(*numbers.values())
            held = {message.token for message in ledger.read(key, 1, 1 << 31)}
            if tokens - held:
                yield f"not on disk: {len(tokens - held)} of {key.route}/{key.stream}"
    finally:
        ledger.close()
