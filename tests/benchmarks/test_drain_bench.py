"""The drain's benchmark runs whole, tells the truth in its exit code and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks import drain
from benchmarks.outage import Times
from benchmarks.stage import ROOT, Trouble

EASY = ("--goal-first-ms", "1e6", "--goal-growth-mb", "1e6", "--goal-live-ms", "1e6")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the benchmark puts its site, its broker and its ledgers."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.mark.timeout(400)
def test_drain_is_told_whole_and_a_missed_goal_is_its_exit_code(folder: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.drain", "--quick", "--json", "--messages", "300"]
    done = subprocess.run(
        [*command, "--owed", "300", "--goal-rate", "1e9", *EASY],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    found = {row["figure"]: row for row in told["figures"]}
    missed = [name for name, row in found.items() if row["held"] is False]
    assert missed == ["settled by signed receipts"]
    assert found["settled by signed receipts"]["found"] > 0
    assert found["log that came before an owed alarm"]["found"] == 0
    assert not list(folder.iterdir())


def test_drain_ends_with_2_when_it_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_broker(*_: object, **__: object) -> NoReturn:
        raise Trouble("no broker could be started")

    monkeypatch.setattr(drain, "set_up", no_broker)
    assert drain.main(["--quick"]) == 2
    assert "no broker" in capsys.readouterr().err


def test_rate_is_from_the_first_message_to_the_last_settled_one() -> None:
    times = Times(3_000, first_ns=10**9, settled_ns=3 * 10**9, settled=3_000)
    assert times.rate == 1_500
