"""What the benchmarks' command lines share: the same options, the same exit codes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.command import add_goals, ended, parser
from benchmarks.stage import ROOT, Trouble
from gateway.uplink.link import UplinkError

NAMES = sorted(
    path.stem
    for path in Path(ROOT, "benchmarks").glob("*.py")
    if re.search(r"benchmarks\.command import|command\.ended", path.read_text(encoding="utf-8"))
)


def test_benchmarks_that_share_a_command_line_are_found() -> None:
    """The rows below are worth nothing without names."""
    assert {"bus", "drain", "latency", "traffic", "waveforms", "wear"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_says_how_it_is_asked(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for word in (f"python -m benchmarks.{name}", "--quick", "--json", "exit codes: 0 "):
        assert word in shown


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_that_is_asked_wrongly_ends_with_2(name: str) -> None:
    with pytest.raises(SystemExit) as left:
        importlib.import_module(f"benchmarks.{name}").main(["--quickly"])
    assert left.value.code == 2


def raising(error: BaseException) -> int:
    def measure() -> NoReturn:
        raise error

    return ended(measure)


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_is_what_the_table_gave(code: int) -> None:
    assert ended(lambda: code) == code


@pytest.mark.parametrize(
    "error",
    [
        Trouble("no broker"),
        UplinkError("no way", "ask the carrier"),
        OSError("no port"),
        KeyError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_measured_is_no_missed_goal(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == 2
    said = capsys.readouterr()
    assert not said.out
    assert f"{error}" in said.err


def test_interrupted_benchmark_ends_as_interrupted_programs_do() -> None:
    assert raising(KeyboardInterrupt()) == 130


def test_goal_is_an_option_that_shows_what_it_was() -> None:
    made = parser("drain", None, quick="soon")
    add_goals(made, {"first-ms": (1_000.0, "MS")})
    assert made.parse_args([]).goal_first_ms == 1_000.0
    assert made.parse_args(["--goal-first-ms", "7"]).goal_first_ms == 7.0
    assert "--goal-first-ms MS" in made.format_help()
    assert "1000" in made.format_help()
