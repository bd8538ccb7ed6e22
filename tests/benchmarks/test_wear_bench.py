"""The card is worn little: the figures do not depend on the machine, so the goals are held here."""

from __future__ import annotations

import json

import pytest

from benchmarks import wear


def test_wear_of_a_quiet_school_stays_under_its_goals(capsys: pytest.CaptureFixture[str]) -> None:
    assert wear.main(["--days", "2", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    found = {figure["figure"]: figure["found"] for figure in whole["figures"]}
    assert found["entries a day"] == 147
    assert 1 < found["written a day in a quiet school"] < 10
    assert 100 < found["syncs a day"] < 600
    sealed, bare = (name for name in found if name.startswith("floor: "))
    assert 0 < found[sealed] < found[bare] < found["written a day in a quiet school"]
    year = found["written a day in a quiet school"] * 365 / 1_000
    assert found["a year like these days, extrapolated"] == pytest.approx(year)


def test_wear_floor_is_whole_blocks_with_a_sync_for_each_event() -> None:
    """A block that two events share is written for both, as a file system would."""
    day = wear.Day()
    for sizes in ((1_000,), (1_000, 1_000), (1_096,), (1,), (4_096,)):
        day.sealed([bytes(size) for size in sizes])
    assert day.sealed_bytes == 8_193
    assert day.floor_bytes == 4_096 * (1 + 1 + 1 + 1 + 2)


def test_wear_counts_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the days, about twice the bytes: the counter sees the file system's calls."""
    found = []
    for days in ("1", "2"):
        wear.main(["--days", days, "--json"])
        figures = json.loads(capsys.readouterr().out)["figures"]
        found.append(figures[0]["found"] * int(days))
    assert 1.7 < found[1] / found[0] < 2.3
