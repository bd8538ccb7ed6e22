"""What every campaign reads and prints: KEY=VALUE, progress, Ctrl-C, its exit code."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from gateway.piped import piped

Work = TypeVar("Work")
Result = TypeVar("Result")

HELD, BROKEN, USAGE, STOPPED = 0, 1, 2, 130
"""Exit codes: every promise held, one broken, asked wrongly, Ctrl-C."""

TELL_EVERY_S = 10.0


class Wrong(Exception):  # noqa: N818 -- the asking is wrong, not the campaign
    """The command line makes no sense; the text says what would."""


def asked(arguments: Sequence[str], known: Mapping[str, int | str]) -> dict[str, int | str]:
    """KEY=VALUE pairs over their defaults; a number where the default is one. Raises Wrong.

    An empty value is the default: `make` passes on what it was not given.
    """
    chosen = dict(known)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in known:
            options = " ".join(f"{name}={default}" for name, default in known.items())
            raise Wrong(f"{argument!r} is not understood; it takes {options}")
        if value and isinstance(known[key], int):
            if not value.replace("_", "").isdecimal():
                raise Wrong(f"{key} is a whole number from 0, not {value!r}")
            chosen[key] = int(value)
        elif value:
            chosen[key] = value
    return chosen


class Progress:
    """Says now and then on standard error how far it is."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._began = self._told = time.monotonic()
        self.done = 0
        self.found = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def add(self, done: int, *, found: int = 0) -> None:
        """So much more has been done, and so many findings made."""
        self.done += done
        self.found += found
        if time.monotonic() - self._told >= TELL_EVERY_S:
            self._told = time.monotonic()
            print(f"  {self}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        rate = self.done / max(self.seconds, 1e-3)
        left_s = (self._total - self.done) / max(rate, 1e-3)
        return (
            f"{self.done:,} of {self._total:,} {self._what}, {self.found} findings,"
            f" {rate:,.0f} a second, {left_s:,.0f} s left"
        )


@contextmanager
def at_work(
    jobs: int,
) -> Iterator[Callable[[Callable[[Work], Result], list[Work]], Iterator[Result]]]:
    """A map over processes that keeps the order of the work; with one job it happens in this one.

    Ctrl-C is the parent's: workers are ended with it.
    """
    if jobs <= 1:
        yield map
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the workers inherit it
    try:
        pool = multiprocessing.Pool(jobs)
    finally:
        signal.signal(signal.SIGINT, heard)
    try:
        yield pool.imap
        pool.close()
    finally:
        pool.terminate()
        pool.join()


def command(run: Callable[[Sequence[str]], int], usage: str) -> int:
    """Run a campaign's main with the command line; its exit code.

    141 when whoever read its standard output left before its end.
    """
    return piped(lambda: _command(run, usage))


def _command(run: Callable[[Sequence[str]], int], usage: str) -> int:
    arguments = sys.argv[1:]
    if {"-h", "--help", "help"} & set(arguments):
        print(usage)
        return HELD
    try:
        return run(arguments)
    except Wrong as exc:
        print(f"{exc}\n\n{usage}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("stopped before it began")
        return STOPPED
