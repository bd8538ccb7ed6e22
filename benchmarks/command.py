"""What every benchmark's command line takes, and what its exit code means.

0: every goal was held; 1: one was missed; 2: it could not be measured; 130: Ctrl-C. Goals are
options, so that a test can move them. What is measured is the benchmark's own business.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping

from benchmarks.stage import REAL_TIME_HELP, Trouble, say
from gateway.piped import unread
from gateway.uplink.link import UplinkError

HELD, MISSED, NOT_MEASURED, STOPPED = 0, 1, 2, 130


def parser(name: str, text: str | None, *, quick: str) -> argparse.ArgumentParser:
    """--help, --quick and --json of a benchmark. text: its module's docstring; quick: how quick."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 every goal held, 1 one missed, 2 not measured, 130 interrupted",
    )
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return made


def add_real_time(to: argparse.ArgumentParser) -> None:
    """--real-time."""
    to.add_argument("--real-time", action="store_true", help=REAL_TIME_HELP)


def add_goals(to: argparse.ArgumentParser, goals: Mapping[str, tuple[float | None, str]]) -> None:
    """An option `--goal-NAME` for each name: its default and its unit."""
    for name, (goal, unit) in goals.items():
        shown = "" if goal is None else f" than {goal:g}"
        to.add_argument(
            f"--goal-{name}", type=float, default=goal, metavar=unit, help=f"another goal{shown}"
        )


def ended(measure: Callable[[], int]) -> int:
    """Measure and print; the exit code, also when it could not be measured.

    BrokenPipeError when whoever read the table has left: that is `piped`'s.
    """
    try:
        return measure()
    except (Trouble, UplinkError, OSError) as error:
        if isinstance(error, BrokenPipeError) and unread(sys.stdout):
            raise
        say(f"not measured: {error}")
    except KeyboardInterrupt:
        say("interrupted")
        return STOPPED
    except Exception:  # noqa: BLE001 -- a defect must not pass for a missed goal, which is 1 as well
        say(f"not measured: {traceback.format_exc()}")
    return NOT_MEASURED
