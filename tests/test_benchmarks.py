"""The timed benchmarks run, tell the truth in their exit codes and leave nothing behind.

What they find depends on the machine, so the goals here are far too easy or impossible.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks import footprint, latency
from benchmarks.stage import ROOT, Trouble, percentile, running

LATENCY = ("latency", "--quick", "--pairs", "1", "--json")
FOOTPRINT = ("footprint", "--quick", "--starts", "1", "--seconds", "1", "--json")
EASY = {
    "latency": ("--goal-ratio", "1e6", "--goal-added-ms", "1e6"),
    "footprint": (
        *("--goal-rss-mb", "1e6", "--goal-anonymous-mb", "1e6"),
        *("--goal-idle", "1e6", "--goal-start-ms", "1e6"),
    ),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the benchmark puts its site, its broker and its ledgers; short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def bench(name: str, *options: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=100)
    return process.returncode, json.loads(out) if out else {}, err


@pytest.mark.parametrize("command", [LATENCY, FOOTPRINT], ids=lambda command: command[0])
def test_benchmark_ends_well_when_every_goal_is_held(
    command: tuple[str, ...], folder: Path
) -> None:
    code, told, err = outcome(bench(*command, *EASY[command[0]], folder=folder))
    assert (code, told.get("held")) == (0, True), err
    assert all(figure["found"] > 0 for figure in told["figures"] if "added" not in figure["figure"])
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("command", "goal"),
    [(LATENCY, ("--goal-ratio", "0")), (FOOTPRINT, ("--goal-rss-mb", "1"))],
    ids=("latency", "footprint"),
)
def test_benchmark_ends_with_1_when_a_goal_is_missed(
    command: tuple[str, ...], goal: tuple[str, ...], folder: Path
) -> None:
    code, told, err = outcome(bench(*command, *EASY[command[0]], *goal, folder=folder))
    assert (code, told.get("held")) == (1, False), err
    missed = [figure["figure"] for figure in told["figures"] if figure["held"] is False]
    assert missed
    assert all("least" in name or name == "RSS" for name in missed)


@pytest.mark.parametrize("name", ["latency", "footprint"])
def test_benchmark_ends_with_2_when_it_cannot_be_measured(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_broker(*_: object, **__: object) -> NoReturn:
        raise Trouble("no broker could be started")

    module = {"latency": latency, "footprint": footprint}[name]
    monkeypatch.setattr(module, "set_up", no_broker)
    assert module.main(["--quick"]) == 2
    assert "no broker" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["latency", "footprint"])
def test_benchmark_cleans_up_when_interrupted(name: str, folder: Path) -> None:
    process = bench(name, "--quick", folder=folder)
    assert process.stderr is not None
    process.stderr.readline()  # its first word of progress: broker and children are there
    process.send_signal(signal.SIGINT)
    code, _, err = outcome(process)
    assert code == 130, err
    assert "Traceback" not in err
    assert not list(folder.iterdir())


def test_program_that_ends_is_told_with_its_last_words() -> None:
    async def scene() -> None:
        command = ["-c", "import sys; sys.exit('out of paper')"]
        async with running("printer", command) as program:
            await program.ask()

    with pytest.raises(Trouble, match=r"printer.*out of paper"):
        asyncio.run(scene())


def test_percentile_is_one_of_the_values_and_the_worst_of_few() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, p) for p in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert percentile(values[:12], 99) == 12.0


def test_ratio_is_of_the_same_percentile_of_both() -> None:
    samples = latency.Samples(qorgan=[2.0, 3.0, 9.0], other=[1.0, 2.0, 3.0])
    found = {row.figure: (row.found, row.held) for row in latency.ratios(samples, "here", 2.0)}
    assert found["ledger here: Qorgan / least, p50"] == (1.5, True)
    assert found["ledger here: Qorgan / least, p99"] == (3.0, False)


def test_stall_is_told_by_what_it_adds() -> None:
    samples = latency.Samples(qorgan=[52.0, 70.0], other=[2.0, 3.0])
    found = {row.figure: (row.found, row.held) for row in latency.added(samples, 60.0)}
    assert found["added by the stall, p50"] == (50.0, True)
    assert found["added by the stall, p99"] == (67.0, False)
