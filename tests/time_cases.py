"""Boxes whose clock is wrong: libfaketime moves their UTC, and nothing else, of real processes.

`python -m tests.time_cases MODULE …` runs a module of ours where the kernel will not say how far
UTC can be trusted, as in a container: a machine that runs these tests may well be synchronised.
"""

from __future__ import annotations

import ctypes
import os
import platform
import runpy
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_CLOCK_CALLS = {"x86_64": (159, 305), "aarch64": (171, 266)}
"""adjtimex and clock_adjtime, of which glibc makes the first (since 2.31)."""


ON_PINS = """
premises: {id: school-12, name: School No. 12, timezone: Asia/Almaty}
gateway: {id: school-12-main, key: gateway.jwk, ledger: {path: ledger.db}, sync_wait: 50ms}
points:
  guard-post: {kind: panic, input: {normally_open: gpio:17, normally_closed: gpio:27}}
  director: {kind: panic, input: {normally_open: gpio:19, normally_closed: gpio:26}}
  nurse: {kind: medical, input: {normally_open: gpio:20, normally_closed: gpio:21}}
  accounts: {kind: hold-up, input: {normally_open: gpio:23, normally_closed: gpio:24}}
  side-door: {kind: door, contact: gpio:5, lock: gpio:6, egress: handle, fire_opens: both, \
held_after: 5s}
uplinks:
  campus: {url: mqtts://127.0.0.1:8883, mqtt: 3.1.1, ca: ca.pem, certificate: gateway.pem}
routes:
  security: {via: [campus], sends: [alarm, fault, test, state], answers: true, \
keys: [{file: security.jwk}]}
  case: {via: [campus], sends: [alarm, state], keys: [{file: case.jwk}]}
"""
"""A school without buses: absolute sleeps, which keep a line's silences, are beyond libfaketime."""


# --- a kernel that does not tell ----------------------------------------------------------------


def forbid_asking() -> None:
    """From now on adjtimex fails with EPERM in this process and its children (seccomp(2))."""

    def step(code: int, value: int, *, forward: int = 0) -> bytes:
        return struct.pack("HBBI", code, forward, 0, value)

    calls = _CLOCK_CALLS[platform.machine()]
    steps = [step(_LOAD, 0)]  # the number of the call
    steps += [step(_JUMP_IF_EQUAL, call, forward=len(calls) - at) for at, call in enumerate(calls)]
    steps += [step(_RETURN, _ALLOW), step(_RETURN, _EPERM)]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    held = ctypes.create_string_buffer(program, len(program))
    libc, nothing = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    for option, first, second in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), nothing),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(held)),
    ):
        if libc.prctl(option, first, second, nothing, nothing) != 0:
            raise OSError(ctypes.get_errno(), "no seccomp filter can be set here")


# --- a clock that is wrong ----------------------------------------------------------------------


@cache
def libfaketime() -> str:
    """The library's path; skips the test where it is not (Debian's package `faketime`)."""
    found = [Path(os.environ.get("LIBFAKETIME", ""))]
    found += sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    for path in found:
        if path.is_file():
            return str(path)
    pytest.skip("libfaketime is not installed: apt-get install faketime")


class WrongClock:
    """UTC as the processes with this `environment` see it; monotonic time stays the machine's."""

    def __init__(self, folder: Path) -> None:
        self._library = libfaketime()
        self._file = folder / "utc"
        self.right()

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "NO_FAKE_STAT": "1",
        }

    def step_to(self, utc_s: int) -> None:
        """Set it; it goes on from there."""
        self._step(utc_s - int(time.time()))

    def step_by(self, seconds: int) -> None:
        """Set it so far from the right time."""
        self._step(seconds)

    def right(self) -> None:
        """Set it right."""
        self._step(0)

    def _step(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._file)  # never half written: it is read at every look at the clock


# --- a machine that has slept -------------------------------------------------------------------


@cache
def boottime_ahead(seconds: int) -> tuple[str, ...]:
    """A command's beginning under which CLOCK_BOOTTIME is ahead, as after a sleep; or a skip."""
    program = shutil.which("unshare")
    words = (program or "unshare", "--time", "--boottime", str(seconds), "--fork")
    if program is None or subprocess.run([*words, "true"], check=False).returncode != 0:
        pytest.skip("no time namespace can be made here")
    return words


if __name__ == "__main__":
    forbid_asking()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
