"""The daemon's side of the configuration: start the child that validates, read what it hands back.

Owns the child's life (start, time limit, a crash becomes a mistake) and the figures that follow
from a configuration. May not import pydantic or YAML: their weight and their faults stay in the
child, `python -m gateway.config FILE`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gateway.core.plain import from_plain
from gateway.core.premises import Premises, Route, UplinkSpec

CHILD_TIMEOUT_S = 20.0
"""A validation takes well under a second on a Pi; after this the child is taken for hung."""

ECHO_WITHIN_MS = 4_000
"""The centre's echo of a heartbeat is due in this time (the heartbeat's contract)."""

STANDBY_HEARTBEAT_MS = 60_000
"""How often an uplink that is not a route's first carries that route's heartbeat."""

_KEEPALIVE_MS = 4_000
_MONTH_MS = 30 * 24 * 3_600_000
# Upper bounds on the wire, in bytes: heartbeat JWS 450, signed receipt 500, and 200 each way for
# MQTT, TLS, TCP and IP. An MQTT ping and its answer carry nothing but that overhead, about 200.
_BEAT_BYTES = 450 + 200 + 500 + 200
_PING_BYTES = 200


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong (or doubtful) in a configuration: where, what, and what would be right.

    line counts from 1; 0 when there is no line (the file as a whole, the environment).
    """

    file: str
    line: int
    key: str
    what: str
    right: str

    def __str__(self) -> str:
        """`file:line: key: what is wrong: what would be right`, without the parts it lacks."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (where, self.key, self.what, self.right) if part)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of a check: the premises, or every mistake that stands in their way."""

    premises: Premises | None
    mistakes: tuple[Mistake, ...] = ()
    warnings: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class Child:
    """A validation under way; `read_child` ends it."""

    file: str
    process: subprocess.Popen[bytes]


def start_child(path: str | Path) -> Child:
    """Start validating `path`, so that it runs beside the caller's own imports.

    A file name that cannot be passed to a program (a NUL in it) raises ValueError.
    """
    process = subprocess.Popen(  # noqa: S603 — our own interpreter and our own module
        _command(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return Child(file=str(path), process=process)


def read_child(child: Child, *, timeout_s: float = CHILD_TIMEOUT_S) -> CheckResult:
    """Wait for a started child and take its result; blocks for at most `timeout_s` seconds.

    Never raises for what the child did: a hang, a crash or a garbled answer is a mistake in the
    result. The child is gone when this returns.
    """
    with child.process as process:
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return _hung(child.file, timeout_s)
        finally:
            process.kill()
    return _result(child.file, out, process.returncode)


async def load(path: str | Path, *, timeout_s: float = CHILD_TIMEOUT_S) -> CheckResult:
    """Validate `path` in a child without blocking the loop; otherwise as `read_child`.

    Cancelling it kills the child.
    """
    import asyncio  # noqa: PLC0415 -- `start_child` must not wait for it

    process = await asyncio.create_subprocess_exec(
        *_command(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        return _hung(str(path), timeout_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _result(str(path), out, process.returncode or 0)


def facts(premises: Premises) -> tuple[str, ...]:
    """What the heartbeats of a configuration mean, a line for each route's uplink and each uplink.

    The gateway knows a deaf centre after one heartbeat and the 4 s its echo may take; the centre
    knows a lost gateway after three heartbeats and 2 s. A month is 30 days, a megabyte 10^6 bytes.
    """
    uplinks = {uplink.id: uplink for uplink in premises.uplinks}
    lines = [
        _detection(route, uplinks[name], first=n == 0)
        for route in premises.routes
        for n, name in enumerate(route.via)
    ]
    lines += [_monthly(uplink, premises.routes) for uplink in premises.uplinks]
    return tuple(lines)


def beat_every_ms(uplink: UplinkSpec, *, first: bool) -> int:
    """How often a route's heartbeat goes over `uplink`; as a standby at most once a minute."""
    return uplink.heartbeat_ms if first else max(uplink.heartbeat_ms, STANDBY_HEARTBEAT_MS)


def _detection(route: Route, uplink: UplinkSpec, *, first: bool) -> str:
    beat_ms = beat_every_ms(uplink, first=first)
    role = "in use" if first else "standby"
    deaf = _seconds(beat_ms + ECHO_WITHIN_MS)
    lost = _seconds(3 * beat_ms + 2_000)
    return (
        f"route {route.id} over {uplink.id} ({role}, heartbeat {_seconds(beat_ms)}): "
        f"the gateway knows a deaf centre within {deaf}, "
        f"the centre a lost gateway within {lost}"
    )


def _monthly(uplink: UplinkSpec, routes: tuple[Route, ...]) -> str:
    beats = [
        beat_every_ms(uplink, first=route.via[0] == uplink.id)
        for route in routes
        if uplink.id in route.via
    ]
    quiet_ms = min(beats, default=_MONTH_MS)
    pings = (_MONTH_MS // quiet_ms) * (-(-quiet_ms // _KEEPALIVE_MS) - 1)
    beat_bytes = sum(_MONTH_MS // beat_ms for beat_ms in beats) * _BEAT_BYTES
    total_mb = (beat_bytes + pings * _PING_BYTES) / 1e6
    return (
        f"uplink {uplink.id}: about {total_mb:.0f} MB a month at rest "
        f"(heartbeats {beat_bytes / 1e6:.0f}, keepalive {pings * _PING_BYTES / 1e6:.0f})"
    )


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms / 1_000:g} s"


def _command(path: str | Path) -> list[str]:
    # -P: the directory the daemon happens to stand in must not shadow our modules.
    return [sys.executable, "-P", "-m", "gateway.config", str(path)]


def _hung(file: str, timeout_s: float) -> CheckResult:
    return _failure(file, f"the check of the configuration gave no answer in {timeout_s:g} s")


def _result(file: str, out: bytes, code: int) -> CheckResult:
    if code != 0:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return _failure(file, f"the check of the configuration {how}")
    try:
        return from_plain(CheckResult, json.loads(out))
    except ValueError:
        return _failure(file, "the check of the configuration gave an answer nobody understands")


def _failure(file: str, what: str) -> CheckResult:
    right = f"run `{Path(sys.executable).name} -m gateway.config {file}` by hand to see why"
    return CheckResult(None, (Mistake(file, 0, "", what, right),))
