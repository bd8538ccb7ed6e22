"""The waveform rig: the product passes it, what is commonly built does not."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from benchmarks.waveforms import FAMILIES, RULES, figures, main, readings, run, run_shard, shards

COUNT = 2_000


def missed_goals(rule: str) -> set[str]:
    tallies = list(run(shards(COUNT, 7, rule), processes=1))
    return {figure.figure for figure in figures(tallies) if not figure.held}


def test_rig_finds_nothing_wrong_with_the_product() -> None:
    assert missed_goals("qorgan") == set()


def test_rig_catches_a_rule_that_waits_for_ten_stable_milliseconds() -> None:
    assert missed_goals("stable-10ms") == {
        "presses >= 20 ms, missed",
        "presses >= 20 ms on a pair, missed",
        "presses with bounce to 157 ms, doubled",
        "long line: bursts <= 15 ms, alarmed",
    }


def test_rig_fails_the_run_when_a_goal_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--count", "500", "--rule", "stable-10ms", "--processes", "1", "--json"]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["held"] is False
    assert "wrong: presses >= 20 ms: shard 0" in told.err


def test_rig_passes_the_run_and_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "200", "--seed", "3", "--processes", "1"]) == 0
    table = capsys.readouterr().out
    assert "waveforms: 200" in table
    assert "0 of 50" in table


def test_rig_gives_the_same_tallies_on_one_core_and_on_two() -> None:
    work = shards(1_500, 11, "stable-10ms")
    alone = list(run(work, processes=1))
    together = sorted(run(work, processes=2), key=lambda tally: work.index(tally.shard))
    assert together == alone


def test_rig_draws_other_waveforms_from_another_seed() -> None:
    first, second = (run_shard(shards(1_000, seed, "stable-10ms")[0]) for seed in (1, 2))
    assert (first.none, first.example) != (second.none, second.example)


def test_rig_plays_about_as_many_as_asked_and_some_of_each_family() -> None:
    assert sum(shard.count for shard in shards(1_000_000, 1, "qorgan")) == 1_000_000
    assert {shard.family for shard in shards(1, 1, "qorgan")} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_waveforms_rise_and_keep_within_their_promise(name: str) -> None:
    family, random = FAMILIES[name], Random(5)
    for _ in range(300):
        drawn = family.draw(random)
        assert len(drawn) == len(family.point.input.addresses)
        for toggles in drawn:
            assert all(a < b for a, b in pairwise(toggles))
            assert len(toggles) % 2 == 0
            rises, widths = toggles[::2], [b - a for a, b in zip(*[iter(toggles)] * 2, strict=True)]
            if name.startswith("spikes"):
                assert max(widths) <= 3_000
                assert all(b - a >= 10_000 for a, b in pairwise(rises))
            elif name.startswith("presses"):
                assert toggles[-1] - toggles[0] >= 20_000
            elif "pulses" in name:
                assert toggles[-1] - toggles[0] >= 100_000
            else:
                assert all(at_us % 300_000 <= 15_000 for at_us in toggles)
        played = readings(family.point, drawn)
        assert [reading.at_us for reading in played] == sorted(r.at_us for r in played)


def test_every_rule_counts_a_plain_press_once() -> None:
    point = FAMILIES["presses >= 20 ms"].point
    for make in RULES.values():
        judge = make(point)
        pressed = sum(judge.feed(reading) for reading in readings(point, [[0, 100_000]]))
        assert pressed + judge.wake(10_000_000) == 1
