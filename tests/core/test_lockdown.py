"""The lockdown as a mode, and what of local rules survives a restart."""

from __future__ import annotations

import pytest

from gateway.core.action import Outcome
from gateway.core.alarms import Alarm
from gateway.core.model import Fact, Json
from gateway.core.reactions.lockdown import RESTART_COSTS_MS
from gateway.core.reactions.locks import RETRY_US
from gateway.core.reactions.reactions import Reactions
from tests.reaction_site import (
    CLOSE,
    DOORS,
    MAX_MS,
    MINUTE,
    S,
    Site,
    actions,
    facts,
    moved,
    school,
    stamp,
    types,
    why,
)

# --- lockdown ------------------------------------------------------------------------------------


def test_lockdown_locks_every_lock_but_the_lone_magnet() -> None:
    deeds = Site().lockdown(until_us=MINUTE)
    assert moved(deeds) == dict.fromkeys(("main", "hall", "side", "office", "vault"), "locked")
    (begun,) = facts(deeds)
    assert (begun.type, begun.to) == ("state.mode.begun", ("*",))
    assert begun.data == {
        "mode": "lockdown",
        "by": "security/desk-1",
        "for_ms": 60_000,
        "doors": list(DOORS),
    }


def test_lockdown_ends_standing_releases() -> None:
    site = Site()
    site.done(site.release("office"))
    site.done(site.lockdown())
    assert site.engine.freed("office") is None


@pytest.mark.parametrize("command", ["unlock", "release"])
def test_lockdown_refuses_to_open_its_doors_only(command: str) -> None:
    site = Site()
    site.lockdown("office", "vault")
    assert why(getattr(site, command)("office")).accepts == ("lockdown.end",)
    assert actions(getattr(site, command)("main"))


def test_lockdown_lets_a_door_be_locked_once_more() -> None:
    site = Site()
    site.lockdown()
    assert moved(site.lock("office")) == {"office": "locked"}


def test_lockdown_ends_by_itself_and_moves_nothing() -> None:
    site = Site()
    site.done(site.lockdown(until_us=MINUTE))
    assert site.engine.deadline() == MINUTE
    (ended,) = site.engine.wake(MINUTE)
    assert isinstance(ended, Fact)
    assert (ended.type, ended.to, ended.at_us) == ("state.mode.ended", ("*",), MINUTE)
    assert ended.data == {"mode": "lockdown", "by": "time", "begun_by": "security/desk-1"}
    assert site.engine.lockdown is None
    assert actions(site.unlock("main", MINUTE))


def test_lockdown_never_lasts_longer_than_the_premises_allow() -> None:
    site = Site()
    site.lockdown(until_us=100 * 3_600 * S)
    assert site.engine.lockdown
    assert site.engine.lockdown.until_us == MAX_MS * 1_000


def test_lockdown_is_widened_and_prolonged_never_narrowed() -> None:
    site = Site()
    site.lockdown("office", until_us=MINUTE)
    assert set(moved(site.lockdown("main", until_us=30 * S))) == {"main"}
    assert site.engine.lockdown
    assert site.engine.lockdown.until_us == MINUTE
    assert site.engine.lockdown.doors == ("main", "office")


def test_lockdown_ended_by_command_moves_nothing() -> None:
    site = Site()
    site.lockdown()
    deeds = site.engine.lockdown_end(at_us=S, by="security/desk-2")
    assert types(deeds) == [("state.mode.ended", "lockdown")]
    assert actions(deeds) == []
    assert why(site.engine.lockdown_end(at_us=S, by="x")).accepts == ("lockdown.begin",)


def test_lockdown_ended_by_the_key_even_in_a_fire() -> None:
    site = Site()
    site.fire()
    site.lockdown()
    deeds = site.key()
    assert facts(deeds)[0].data["by"] == "reset-key"
    assert actions(deeds) == []


def test_lockdown_of_a_strange_door_is_refused_whole() -> None:
    site = Site()
    assert "attic" in why(site.lockdown("main", "attic")).why
    assert site.engine.lockdown is None


def test_lockdown_that_would_be_over_already_is_refused() -> None:
    assert "passed" in why(Site().lockdown(until_us=0)).why


def test_lockdown_by_an_alarm_needs_no_command() -> None:
    site = Site(CLOSE)
    deeds = site.raised("lockdown", "closing")
    assert moved(deeds)["office"] == "locked"
    assert facts(deeds)[0].data["by"] == "alarm.lockdown.raised"


def test_lockdown_lock_that_failed_is_asked_again_while_it_stands() -> None:
    site = Site()
    assert types(site.done(site.lockdown("office"), S, Outcome.FAILED)) == [
        ("state.door.failed", "office")
    ]
    again = site.engine.wake(S + RETRY_US)
    assert moved(again) == {"office": "locked"}
    assert site.done(again, 4 * S, Outcome.FAILED) == []
    assert moved(site.engine.unit_back("annex", at_us=5 * S)) == {"office": "locked"}
    site.engine.lockdown_end(at_us=6 * S, by="x")
    assert site.engine.wake(MINUTE) == []
    assert site.engine.unit_back("annex", at_us=MINUTE) == []


def test_lockdown_that_ended_before_its_lock_failed_asks_no_more() -> None:
    site = Site()
    deeds = site.lockdown("office")
    site.engine.lockdown_end(at_us=1, by="x")
    site.done(deeds, S, Outcome.FAILED)
    assert site.engine.deadline() is None


def test_fire_in_a_lockdown_frees() -> None:
    site = Site()
    site.done(site.lockdown())
    assert moved(site.fire()) == {"main": "free", "hall": "free"}
    assert site.engine.lockdown


def test_fire_release_that_fails_is_told_beside_the_lockdown_that_failed() -> None:
    site = Site()
    site.done(site.lockdown("main"), S, Outcome.FAILED)
    told = site.done(site.fire(2 * S), 2 * S, Outcome.FAILED)
    assert ("state.door.failed", "main") in types(told)


def test_lockdown_in_a_fire_leaves_free_what_fire_freed() -> None:
    site = Site()
    site.done(site.fire())
    assert set(moved(site.lockdown())) == {"side", "office", "vault"}


def test_lockdown_after_a_fire_leaves_free_what_nobody_reset() -> None:
    site = Site()
    site.done(site.fire())
    site.fire_over()
    assert "main" not in moved(site.lockdown())


# --- over a restart ------------------------------------------------------------------------------


def test_restart_drives_what_fire_freed_and_nothing_else() -> None:
    site = Site()
    site.done(site.release("office"))
    site.done(site.fire())
    site.fire_over()
    after = site.restarted()
    assert moved(after.deeds) == {"main": "free", "hall": "free"}
    assert after.engine.freed("office") == "command"
    assert why(after.lock("main")).accepts == ("reset-key",)


def test_restart_with_a_fire_open_frees_even_what_was_never_kept() -> None:
    engine = Reactions(school())
    deeds = engine.restore({}, [Alarm("f", "heat", "fire")], now_us=0, stamp=stamp(0))
    assert moved(deeds) == {"main": "free", "hall": "free"}


def test_restart_keeps_a_lockdown_and_its_end() -> None:
    site = Site()
    site.lockdown("office", until_us=MINUTE)
    after = site.restarted(20 * S, stamp(20_000), stamp(30_000))
    assert after.deeds == []
    assert after.engine.lockdown
    assert after.engine.lockdown.until_us == 30 * S
    assert why(after.unlock("office")).accepts == ("lockdown.end",)


def test_restart_after_the_end_of_a_lockdown_ends_it() -> None:
    site = Site()
    site.lockdown(until_us=MINUTE)
    after = site.restarted(0, stamp(0), stamp(60_000))
    assert types(after.deeds) == [("state.mode.ended", "lockdown")]
    assert after.engine.lockdown is None


def test_restart_of_the_machine_measures_a_lockdown_by_true_time() -> None:
    site = Site()
    site.lockdown(until_us=10 * MINUTE)
    then, now = stamp(5_000, utc_ms=1_000_000), stamp(9, boot="bbbbbbbb", utc_ms=1_240_000)
    after = site.restarted(0, then, now)
    assert after.engine.lockdown
    assert after.engine.lockdown.until_us == 6 * MINUTE


@pytest.mark.parametrize("utc_ms", [None, 900_000])
def test_restart_without_a_clock_to_trust_costs_a_lockdown_a_minute(utc_ms: int | None) -> None:
    site = Site()
    site.lockdown(until_us=10 * MINUTE)
    now = stamp(9, boot="bbbbbbbb", utc_ms=utc_ms)
    after = site.restarted(0, stamp(5_000, utc_ms=1_000_000), now)
    assert after.engine.lockdown
    assert after.engine.lockdown.until_us == 10 * MINUTE - RESTART_COSTS_MS * 1_000


def test_restart_again_and_again_without_a_clock_still_ends_a_lockdown() -> None:
    site = Site()
    site.lockdown()
    for number in range(MAX_MS // RESTART_COSTS_MS):
        assert site.engine.lockdown
        site = site.restarted(0, stamp(0, boot=f"{number:08x}"), stamp(0, boot=f"{number + 1:08x}"))
    assert site.engine.lockdown is None


def test_restart_in_a_lockdown_forgets_the_releases_it_had_ended() -> None:
    site = Site()
    site.done(site.release("office"))
    site.done(site.release("store"))
    site.lockdown()
    after = site.restarted()
    assert after.engine.freed("office") is None
    assert after.engine.freed("store") == "command"


@pytest.mark.parametrize(
    "kept",
    [
        {"free": 3, "lockdown": "no"},
        {"free": {"main": "sunshine", "attic": "fire", "hall": None}},
        {"free": []},
    ],
)
def test_restart_steps_over_what_it_cannot_read(kept: dict[str, Json]) -> None:
    engine = Reactions(school())
    assert engine.restore(kept, (), now_us=0, stamp=stamp(0)) == []
    assert engine.lockdown is None
    assert engine.freed("main") is None


def test_restart_keeps_a_lockdown_whose_end_it_cannot_read() -> None:
    engine = Reactions(school())
    engine.restore({"lockdown": {"left_ms": "soon"}}, (), now_us=0, stamp=stamp(0))
    assert engine.lockdown
    assert engine.lockdown.doors == tuple(DOORS)
    assert engine.lockdown.until_us == MAX_MS * 1_000 - RESTART_COSTS_MS * 1_000
