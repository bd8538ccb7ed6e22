"""Shows how far a scan is: a line that is drawn anew on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TextIO

from drivers.modbus.search.sweep import News, Progress

DRAWN_EVERY_S, PLAIN_EVERY_S = 0.1, 5.0

_CLEAR = "\r\x1b[K"


class Show:
    """Where a scan stands; call it with its news. A context manager: the line is gone at the end.

    out: where to. drawn: it is a terminal. now_s: seconds that only rise.
    """

    def __init__(self, out: TextIO, *, drawn: bool, now_s: Callable[[], float]) -> None:
        self._out = out
        self._drawn = drawn
        self._now_s = now_s
        self._next_s = now_s() + (0.0 if drawn else PLAIN_EVERY_S)

    def __enter__(self) -> Self:
        """Nothing is shown yet."""
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._put(_CLEAR)

    def __call__(self, news: News) -> None:
        """Show it, if it is Progress and time to."""
        now_s = self._now_s()
        if not isinstance(news, Progress) or now_s < self._next_s:
            return
        self._next_s = now_s + (DRAWN_EVERY_S if self._drawn else PLAIN_EVERY_S)
        found = f"{news.found} found" if news.found else "none found yet"
        share = f"{news.done} of {news.total}"
        line = f"{news.speed}, unit {news.unit}: {share}, {found}, {_left(news.left_ms)} left"
        self._put(f"{_CLEAR}{line}" if self._drawn else f"{line}\n")

    def _put(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _left(left_ms: int) -> str:
    seconds = -(-left_ms // 1_000)
    return f"{seconds} s" if seconds < 120 else f"{-(-seconds // 60)} min"
