"""The table of a benchmark: what it shows, and when it fails a run."""

from __future__ import annotations

import json

import pytest

from benchmarks.table import Figure, at_least, at_most, show, told

MIXED = [
    at_most("presses missed", 0, 0, of=250_000),
    at_least("poll rate", 96.24, 95, "%"),
    told("machine's own time", 1.5, "ms"),
]


def test_table_holds_when_every_goal_is_held(capsys: pytest.CaptureFixture[str]) -> None:
    assert show("Bench", MIXED, as_json=False, context={"seed": 1}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Bench",
        "  seed: 1",
        "",
        "figure                     found  goal     held",
        "------------------  ------------  -------  ----",
        "presses missed      0 of 250,000  <= 0     yes",
        "poll rate                96.24 %  >= 95 %  yes",
        "machine's own time        1.5 ms  -        -",
    ]


@pytest.mark.parametrize("missed", [at_most("late", 3, 2, "ms"), at_least("rate", 94.9, 95, "%")])
def test_table_fails_the_run_when_one_goal_is_missed(
    missed: Figure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show("Bench", [*MIXED, missed], as_json=False) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in shown if line.startswith(missed.figure)] == ["NO"]
    assert shown[-1] == f"missed: {missed.figure}: {missed.shown}, not {missed.goal}"


def test_table_as_json_carries_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert show("Bench", MIXED, as_json=True, context={"seed": 1}) == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["title"], whole["context"], whole["held"]) == ("Bench", {"seed": 1}, True)
    assert whole["figures"][0] == {
        "figure": "presses missed",
        "found": 0,
        "unit": "",
        "goal": "<= 0",
        "held": True,
        "of": 250_000,
    }
    assert whole["figures"][2]["held"] is None
