"""The commands that speak with a running daemon: `qorgan status` and `qorgan command`.

Asks over the control socket and prints what comes. A command is signed here, under a key that a
route lists, and judged by the daemon like one from far away.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.control import ControlError, NoDaemon, ask
from gateway.core.commands import Command, command_payload
from gateway.core.jws import SigningKey, TokenType, seal
from gateway.core.model import Json
from gateway.core.verbs import Verb, target_of
from gateway.keys import KeyFileError, load_signing_key

WELL, FINDINGS, USAGE, NO_DAEMON = 0, 1, 2, 4
WAIT_S = 22.0
"""A little longer than the daemon waits for its wires."""


def run_status(socket: Path, *, as_json: bool) -> int:
    """`qorgan status`: 0 all well, 1 something is not, 4 no daemon."""
    try:
        status = next(ask(socket, "status", True))
    except NoDaemon as error:
        return _sorry("status", error, NO_DAEMON)
    except ControlError as error:
        return _sorry("status", error, FINDINGS)
    findings = findings_of(status)
    if as_json:
        print(json.dumps({**status, "findings": findings}))
    else:
        print("\n".join(shown(status)))
        for finding in findings:
            print(f"! {finding}")
    return FINDINGS if findings else WELL


def findings_of(status: Mapping[str, Any]) -> list[str]:
    """What in a status is not as it should be, in words."""
    found = [
        f"{name}: {fault}" for name, point in status["points"].items() for fault in point["faults"]
    ]
    for name, route in status["routes"].items():
        if "good" not in route["paths"].values():
            found.append(f"route {name}: nobody answers ({_joined(route['paths'])})")
    for name, bus in status["buses"].items():
        if not bus["open"]:
            found.append(f"bus {name}: the port is not open")
        for unit, told in bus["units"].items():
            if told["state"] != "answers":
                found.append(f"unit {unit} on {name}: {told['state']}")
            elif told["outputs"] == "locked":
                found.append(f"unit {unit} on {name}: outputs locked: {told['locked_because']}")
            found += [f"unit {unit} on {name}: given up: {what}" for what in told["given_up"]]
    return found + _uplinks_wrong(status) + _ledger_wrong(status) + _clock_wrong(status)


def _uplinks_wrong(status: Mapping[str, Any]) -> list[str]:
    found = []
    for name, uplink in status["uplinks"].items():
        if not uplink["connected"]:
            found.append(f"uplink {name}: {uplink['why']}")
        elif uplink["unchecked"]:
            found.append(f"uplink {name}: dates unchecked: {uplink['unchecked']}")
    return found


def _ledger_wrong(status: Mapping[str, Any]) -> list[str]:
    ledger = status["ledger_file"]
    found = []
    if not ledger["answers"]:
        found.append(f"ledger: {ledger['fault'] or 'the disk does not answer'}")
    elif not ledger["on_disk"]:
        found.append(f"ledger: in memory, gone without power: {ledger['trouble']}")
    elif ledger["fault"]:
        found.append(f"ledger: {ledger['fault']}")
    if ledger["unwritten"] and found:
        found.append(f"ledger: {ledger['unwritten']} entries wait for the disk: do not cut power")
    if ledger.get("dropped"):
        found.append(f"ledger: {ledger['dropped']} log entries given up since the start")
    return found


def _clock_wrong(status: Mapping[str, Any]) -> list[str]:
    match status["clock"]["fault"]:
        case None:
            return []
        case "stepped":
            return ["clock: UTC jumped while it counted as synchronised: look at its time server"]
        case _:
            return ["clock: no time service vouches for UTC: see `timedatectl timesync-status`"]


def shown(status: Mapping[str, Any]) -> list[str]:
    """A status as a person reads it."""
    which = f"start {status['start']}, epoch {status['epoch']} of ledger {status['ledger']}"
    lines = [f"{status['gateway']} at {status['premises']}: {which}"]
    width = max((len(name) for name in status["points"]), default=0)
    for name, point in status["points"].items():
        free = f"  stands free ({point['free']})" if point.get("free") else ""
        faults = f"  fault: {', '.join(point['faults'])}" if point["faults"] else ""
        lines.append(f"  {name:<{width}}  {point['kind']:<9} {point['level']}{free}{faults}")
    if status["modes"] or status["isolated"]:
        lines.append(f"  modes: {', '.join(status['modes']) or 'none'}")
        lines.append(f"  isolated: {', '.join(status['isolated']) or 'none'}")
    for name, route in status["routes"].items():
        owed = f"owed {route['owed']['alarm']} alarm, {route['owed']['log']} log"
        lines.append(f"  route {name}: {_joined(route['paths'])}; {owed}")
    lines += [f"  {_ledger_shown(status['ledger_file'])}", f"  {_clock_shown(status['clock'])}"]
    for name, bus in status["buses"].items():
        state = "open" if bus["open"] else "not open"
        lines.append(f"  bus {name}: {state}, {_rates(bus)}")
        for unit, told in bus["units"].items():
            about = f"{told['profile']} at {told['unit']}: {told['state']}"
            lines.append(f"    {unit}: {about}, outputs {told['outputs']}, {_rates(told)}")
    return lines


def _ledger_shown(ledger: Mapping[str, Any]) -> str:
    """Where the record is, how large, since when."""
    if not ledger["answers"]:
        return "ledger: the disk does not answer"
    if not ledger["on_disk"]:
        return f"ledger: in memory, belongs at {ledger['path']}"
    size = "size unknown"
    if ledger["bytes"] is not None:
        size = f"{_size(ledger['bytes'])} of at most {_size(ledger['max_bytes'])}"
        size += f", {_size(ledger['free_bytes'])} free on its disk"
    since, oldest = "", ledger["oldest"]
    if oldest is not None:
        doubt = "" if oldest["synchronised"] else ", by a clock nobody vouched for"
        since = f"; holds entries since {oldest['utc'][:10]}{doubt}"
    return f"ledger: {ledger['path']}, {size}{since}"


def _clock_shown(clock: Mapping[str, Any]) -> str:
    if clock["synchronised"]:
        return f"clock: {clock['utc']}, synchronised to {clock['error_ms']} ms"
    for_min = (clock["unsynchronised_ms"] or 0) // 60_000
    return f"clock: {clock['utc']}, not synchronised{f' for {for_min} min' if for_min else ''}"


def _size(count: int) -> str:
    """Bytes as people read them, by thousands."""
    for step, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"


def _rates(told: Mapping[str, Any]) -> str:
    """The numbers that show how well a bus or unit is heard."""
    wrong = f"{told['timeouts']} timeouts, {told['crc_errors']} CRC errors"
    mean_ms = told["latency_us"] / 1_000
    return f"{told['requests']} requests, {wrong}, {told['retries']} retries, {mean_ms:.1f} ms"


def _joined(pairs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs.items())


def run_command(
    socket: Path,
    verb: str,
    *,
    name: str | None,
    for_ms: int | None,
    key: Path,
    as_json: bool,
) -> int:
    """`qorgan command`: 0 done, 1 refused or failed, 2 usage, 4 no daemon."""
    try:
        signer = load_signing_key(key)
        target = target_of(Verb(verb), name, for_ms)
    except (KeyFileError, ValueError) as error:
        return _sorry("command", error, USAGE)
    try:
        answers = _handed_in(socket, signer, verb, target)
        last = next(answers)
        above = last.get("counter_above")
        if isinstance(above, int):  # this machine's clock was ahead of what it is now
            answers = _handed_in(socket, signer, verb, target, above=above)
            last = next(answers)
        _print(last, as_json=as_json)
        for last in answers:
            _print(last, as_json=as_json)
    except NoDaemon as error:
        return _sorry("command", error, NO_DAEMON)
    except ControlError as error:
        return _sorry("command", error, FINDINGS)
    return WELL if last.get("answer") == "done" else FINDINGS


def _handed_in(
    socket: Path, signer: SigningKey, verb: str, target: Mapping[str, Json], *, above: int = 0
) -> Iterator[dict[str, Any]]:
    """Sign a command for the running daemon and hand it in; its answers, the first at least."""
    status = next(ask(socket, "status", True))
    token = signed(signer, status, verb=verb, target=target, above=above)
    answers = ask(socket, "command", {"token": token.decode()}, within_s=WAIT_S)
    try:
        yield next(answers)
    except StopIteration:
        raise ControlError("the daemon has not answered") from None
    yield from answers


def signed(
    signer: SigningKey,
    status: Mapping[str, Any],
    *,
    verb: str,
    target: Mapping[str, Json],
    above: int = 0,
) -> bytes:
    """A command for the daemon that gave `status`, valid for as long as its verb allows.

    The counter is this machine's UTC in ms: it rises from one call to the next, and a key that is
    used here should be used nowhere else. above: it must be greater than this.
    """
    command = Command(
        id=str(uuid.uuid4()),
        gateway=status["gateway"],
        ledger=status["ledger"],
        boot=status["boot"],
        not_after_ms=status["monotonic_ms"] + Verb(verb).reach_ms,
        verb=verb,
        target=target,
        counter=max(time.time_ns() // 1_000_000, above + 1),
    )
    return seal(TokenType.COMMAND, command_payload(command), signer)


def _print(answer: Mapping[str, Any], *, as_json: bool) -> None:
    print(json.dumps(answer) if as_json else shown_answer(answer), flush=True)


def shown_answer(answer: Mapping[str, Any]) -> str:
    """One answer to a command as a person reads it."""
    about = f"{answer.get('verb', 'command')} {', '.join(answer.get('target', []))}".strip()
    left = f"; not locked by it: {', '.join(answer['left'])}" if answer.get("left") else ""
    match answer["answer"]:
        case "refused":
            return f"refused: {about}: {answer['why']}\n  would be accepted: {answer['accepts']}"
        case "failed":
            return f"failed: {about}: {answer['why']}{left}"
        case "done" if "outcome" in answer:
            return f"done: {about} ({answer['outcome']}){left}"
        case said:
            return f"{said}: {about}{left}"


def _sorry(command: str, error: Exception, code: int) -> int:
    print(f"qorgan {command}: {error}", file=sys.stderr)
    return code
