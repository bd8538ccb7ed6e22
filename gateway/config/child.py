"""The daemon's side of the configuration: start the child that validates, read what it hands back.

Owns the child's life (start, time limit, a crash becomes a mistake). May not import pydantic or
YAML: their weight and their faults stay in the child, `python -m gateway.config FILE`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gateway.core.plain import from_plain
from gateway.core.premises import Premises

CHILD_TIMEOUT_S = 20.0
"""A validation takes well under a second on a Pi; after this the child is taken for hung."""


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
        async with asyncio.timeout(timeout_s):
            out, _ = await process.communicate()
    except TimeoutError:
        return _hung(str(path), timeout_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _result(str(path), out, process.returncode or 0)


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
