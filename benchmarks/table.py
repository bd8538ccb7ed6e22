"""How a benchmark tells its result: a table of figure, goal and whether the goal was held.

Every benchmark makes `Figure`s and ends with `show(...)`: the exit code is 1 as soon as one goal is
missed, and what was missed is said again below. With `--json` the same is one JSON object.

    figures = [at_most("presses missed", 0, 0, of=250_000), at_least("poll rate", 96.2, 95, "%")]
    return show("Waveforms", figures, as_json=False, context={"seed": 1})
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    figure: what was measured. found: the number, in `unit`. goal: what it had to be, in words.
    held: whether it was; None where a number is only told and has no goal. of: how many cases it
    was counted in, None where it is not a count.
    """

    figure: str
    found: float
    unit: str = ""
    goal: str = ""
    held: bool | None = None
    of: int | None = None

    @property
    def shown(self) -> str:
        """The number as a person reads it: `0 of 250,000`, `96.2 %`."""
        number = f"{self.found:,}" if isinstance(self.found, int) else f"{self.found:,.4g}"
        among = "" if self.of is None else f" of {self.of:,}"
        return f"{number}{' ' if self.unit else ''}{self.unit}{among}"


def at_most(
    figure: str, found: float, goal: float, unit: str = "", *, of: int | None = None
) -> Figure:
    """A figure that must not be above `goal` (both in `unit`)."""
    return Figure(figure, found, unit, f"<= {goal:,} {unit}".rstrip(), found <= goal, of)


def at_least(
    figure: str, found: float, goal: float, unit: str = "", *, of: int | None = None
) -> Figure:
    """A figure that must not be below `goal` (both in `unit`)."""
    return Figure(figure, found, unit, f">= {goal:,} {unit}".rstrip(), found >= goal, of)


def told(figure: str, found: float, unit: str = "", *, of: int | None = None) -> Figure:
    """A figure without a goal, for context; it never fails a run."""
    return Figure(figure, found, unit, of=of)


def show(
    title: str,
    figures: Sequence[Figure],
    *,
    as_json: bool,
    context: Mapping[str, str | int | float | bool] | None = None,
) -> int:
    """Print the figures and give the exit code: 0 when every goal was held, else 1.

    context: what the run depended on (seed, count, machine …); printed with the table and kept in
    the JSON object `{title, context, figures, held}`.
    """
    held = all(figure.held is not False for figure in figures)
    if as_json:
        whole = {
            "title": title,
            "context": dict(context or {}),
            "figures": [asdict(figure) for figure in figures],
            "held": held,
        }
        print(json.dumps(whole, ensure_ascii=False))
    else:
        print("\n".join(_lines(title, figures, context or {})))
    return 0 if held else 1


def _lines(
    title: str, figures: Sequence[Figure], context: Mapping[str, str | int | float | bool]
) -> list[str]:
    rows = [("figure", "found", "goal", "held")]
    words = {True: "yes", False: "NO", None: "-"}
    rows += [(f.figure, f.shown, f.goal or "-", words[f.held]) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [title, *(f"  {name}: {value}" for name, value in context.items()), ""]
    for number, (figure, found, goal, held) in enumerate(rows):
        cells = (figure.ljust(widths[0]), found.rjust(widths[1]), goal.ljust(widths[2]), held)
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    missed = [figure for figure in figures if figure.held is False]
    if missed:
        lines += ["", *(f"missed: {f.figure}: {f.shown}, not {f.goal}" for f in missed)]
    return lines
