"""What wires can do to a command: answer, refuse, give way to a later one, or say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.action import Outcome
from gateway.core.commands import Command
from gateway.core.jws import SigningKey
from gateway.core.reactions.reactions import Refused
from gateway.heed import BURST, ORDERS_BURST, QUIET_US, REFILL_US
from gateway.obey import KEPT, UNDER_WAY_MAX
from tests.obedience import STRANGER, UNLOCK, signed
from tests.obey_rig import ME, Rig, on_wires

LOCK = {"door": "main-door"}
BACK = {"door": "back-door"}


def test_command_is_done_when_its_wire_was_read_back() -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.ask("door.unlock", UNLOCK) == ["accepted"]
        rig.answer(0, Outcome.CONFIRMED)

    assert on_wires(scenario).told()[-1][1]["outcome"] == "confirmed"


def test_command_carries_its_own_expiry_to_the_wire() -> None:
    """A door never opens late."""

    async def scenario(rig: Rig) -> None:
        rig.ask("door.unlock", UNLOCK, not_after_ms=rig.clock.now_us() // 1_000 + 700)
        assert rig.wires.asked[0].not_after_us == rig.clock.now_us() + 700_000

    on_wires(scenario)


def test_command_whose_wires_never_answer_is_told_as_failed() -> None:
    """Five seconds after its expiry nothing more is to be expected."""

    async def scenario(rig: Rig) -> None:
        rig.ask("door.unlock", UNLOCK, not_after_ms=rig.clock.now_us() // 1_000 + 2_000)
        await rig.clock.sleep(6.9)
        assert rig.phases() == ["accepted"]
        await rig.clock.sleep(0.2)
        assert rig.phases() == ["accepted", "failed"]
        rig.answer(0, Outcome.CONFIRMED)

    rig = on_wires(scenario)
    assert rig.phases() == ["accepted", "failed"]
    assert "not answered" in rig.told()[-1][1]["why"]


def test_command_that_gave_way_to_a_later_one_is_told_as_failed() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ask("door.unlock", UNLOCK)
        rig.ask("door.lock", LOCK)
        rig.answer(0, Outcome.REPLACED, "a later action on this output came first")
        rig.answer(1, Outcome.CONFIRMED)

    rig = on_wires(scenario)
    assert [(phase, data["verb"]) for phase, data in rig.told()[2:]] == [
        ("failed", "door.unlock"),
        ("done", "door.lock"),
    ]
    assert "later action" in rig.told()[2][1]["why"]


def test_answers_of_two_commands_are_not_mixed_up_whatever_their_order() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ask("door.unlock", UNLOCK)
        rig.ask("door.release", BACK)
        rig.answer(1, Outcome.FAILED, "the unit is silent")
        rig.answer(0, Outcome.CONFIRMED)

    said = on_wires(scenario).told()[2:]
    assert [(phase, data["target"]) for phase, data in said] == [
        ("failed", ["back-door"]),
        ("done", ["main-door"]),
    ]


def test_lockdown_names_the_doors_that_failed() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ask("lockdown.begin", {})
        rig.answer(0, Outcome.CONFIRMED)
        assert rig.phases() == ["accepted"]
        rig.answer(1, Outcome.FAILED, "the unit is silent")

    phase, data = on_wires(scenario).told()[-1]
    assert (phase, data["failed"], data["left"]) == ("failed", ["back-door"], ["glass-door"])
    assert data["why"] == "back-door: the unit is silent"


@pytest.mark.parametrize("second", [Outcome.ACCEPTED, Outcome.CONFIRMED])
def test_lockdown_is_as_sure_as_its_least_sure_door(second: Outcome) -> None:
    async def scenario(rig: Rig) -> None:
        rig.ask("lockdown.begin", {})
        rig.answer(0, Outcome.CONFIRMED)
        rig.answer(1, second)

    assert on_wires(scenario).told()[-1][1]["outcome"] == second.value


def test_command_over_doors_without_a_lock_is_done_at_once_and_says_so() -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.ask("lockdown.begin", {"doors": ["glass-door"]}) == ["accepted", "done"]

    assert on_wires(scenario).told()[-1][1]["left"] == ["glass-door"]


def history(rig: Rig) -> list[str]:
    """Ask for two numbers; what is answered at once."""
    target: dict[str, Any] = {"stream": "alarm", "ledger": "1ed9e700", "epoch": 1}
    return rig.ask("resend", {**target, "from": 1, "to": 2})


def test_resend_is_answered_when_all_has_gone() -> None:
    """It is remembered meanwhile: a start that finds it there concludes it."""

    async def scenario(rig: Rig) -> None:
        assert history(rig) == ["accepted"]
        (kept,) = json.loads(rig.kept[KEPT])
        assert (kept["verb"], kept["asked"]["to"]) == ("resend", 2)
        rig.resends[0]({"sent": 2, "gone": 0}, "")
        assert json.loads(rig.kept[KEPT]) == []

    phase, done = on_wires(scenario).told()[-1]
    assert (phase, done["sent"], done["asked"]["from"]) == ("done", 2, 1)


def test_resend_that_ends_early_says_why_and_how_far_it_came() -> None:
    async def scenario(rig: Rig) -> None:
        history(rig)
        rig.resends[0]({"sent": 1, "gone": 0}, "the disk does not answer")

    phase, failed = on_wires(scenario).told()[-1]
    assert (phase, failed["sent"], failed["why"]) == ("failed", 1, "the disk does not answer")


def test_resend_there_is_no_room_for_is_refused() -> None:
    async def scenario(rig: Rig) -> None:
        rig.busy = Refused("busy: 4 resends wait on this route", ("it, later",))
        assert history(rig) == ["refused"]

    _, refused = on_wires(scenario).told()[-1]
    assert (refused["why"].split(":")[0], refused["accepts"]) == ("busy", "it, later")


def test_resend_under_way_holds_up_no_door_and_tells_nothing_after_the_stop() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(UNDER_WAY_MAX):
            history(rig)
        assert rig.ask("door.lock", {"door": "main-door"}) == ["accepted"]
        rig.obey.stop()
        told = len(rig.told())
        rig.resends[0]({"sent": 2, "gone": 0}, "")
        assert len(rig.told()) == told

    on_wires(scenario)


def test_whoever_watches_is_told_every_conclusion_until_it_leaves() -> None:
    seen: list[str] = []

    async def scenario(rig: Rig) -> None:
        with rig.obey.watched(lambda fact: seen.append(fact.type)):
            rig.ask("door.unlock", UNLOCK)
            assert seen == []
            rig.answer(0, Outcome.FAILED, "silent")
            rig.ask("drill.begin", {"kind": "fire", "for_ms": 60_000})
        rig.ask("drill.end", {"kind": "fire"})

    on_wires(scenario)
    assert seen == ["state.command.failed", "state.command.done"]


def test_commands_under_way_are_bounded() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(UNDER_WAY_MAX):
            assert rig.ask("door.lock", LOCK) == ["accepted"]
        assert rig.ask("door.lock", LOCK) == ["refused"]
        rig.answer(0, Outcome.CONFIRMED)
        assert rig.ask("door.lock", LOCK) == ["accepted"]

    on_wires(scenario)


def test_what_is_under_way_is_kept_with_the_acceptance_and_let_go_with_the_end() -> None:
    kept: list[list[Any]] = []

    async def scenario(rig: Rig) -> None:
        rig.ask("door.unlock", UNLOCK)
        kept.append(json.loads(rig.kept[KEPT]))
        rig.answer(0, Outcome.CONFIRMED)
        kept.append(json.loads(rig.kept[KEPT]))

    on_wires(scenario)
    assert [[told["command"] for told in orders] for orders in kept] == [["c-1"], []]


@pytest.mark.parametrize("kept", ["", "{", "7", '["x", 7]', "null"])
def test_what_was_kept_and_cannot_be_read_stops_no_start(kept: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.obey.restore({KEPT: kept, "modes": kept}, ())

    assert on_wires(scenario).facts == []


def test_nothing_is_told_after_the_stop() -> None:
    async def scenario(rig: Rig) -> None:
        rig.ask("door.unlock", UNLOCK)
        for _ in range(3):
            rig.obey.heard("security", b"noise")
        before = len(rig.facts)
        rig.obey.stop()
        await rig.clock.sleep(3600)
        assert rig.ask("door.lock", BACK) == []
        assert rig.obey.here(b"noise") == []
        assert len(rig.facts) == before
        assert len(rig.wires.asked) == 1

    on_wires(scenario)


# --- how often a stranger is heeded ---


def test_unbelieved_commands_are_told_once_and_then_in_ever_longer_sums() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(24 * 3600):
            rig.obey.heard("security", b"noise")
            await rig.clock.sleep(1)

    rig = on_wires(scenario)
    assert len(rig.facts) <= 160
    waits = [b.at_us - a.at_us for a, b in zip(rig.facts, rig.facts[1:], strict=False)]
    assert waits[:3] == [QUIET_US, 2 * QUIET_US, 4 * QUIET_US]


def test_last_of_a_flood_is_told_though_nothing_comes_after_it() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(3):
            rig.obey.heard("security", b"noise")
        await rig.clock.sleep(60)

    rig = on_wires(scenario)
    assert [data.get("more") for _, data in rig.told()] == [None, 2]


def test_stranger_on_one_route_does_not_silence_another() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(100):
            rig.obey.heard("security", b"noise")
        rig.obey.heard("case", b"noise")

    rig = on_wires(scenario)
    assert [fact.to for fact in rig.facts] == [("security",), ("case",)]


def test_command_played_back_is_refused_each_time_for_a_while_then_counted() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(4 * BURST):
            rig.ask("door.lock", LOCK, boot="00000000")
        await rig.clock.sleep(2 * REFILL_US / 1e6)
        assert rig.ask("door.lock", LOCK, boot="00000000") == ["refused"]

    told = on_wires(scenario).told()
    assert len(told) <= BURST + 4
    assert sum("more" in data for _, data in told) >= 1


def test_known_commands_that_come_again_and_again_are_answered_within_measure() -> None:
    async def scenario(rig: Rig) -> None:
        tokens = [rig.command("door.explode", LOCK) for _ in range(BURST)]
        for _ in range(100):
            for token in tokens:
                rig.obey.heard("security", token)
            await rig.clock.sleep(6)

    rig = on_wires(scenario)
    assert len(rig.facts) <= 2 * BURST + 600_000_000 // REFILL_US


def test_stranger_is_remembered_by_nothing_that_grows() -> None:
    """Whatever is sent: a bounded number of lines and of facts."""

    async def scenario(rig: Rig) -> None:
        for n in range(5_000):
            rig.obey.heard("security", b"noise %d" % n)

    rig = on_wires(scenario)
    assert (len(rig.facts), len(rig.log)) == (1, 1)


def test_key_that_asks_without_end_is_refused_and_fills_no_record() -> None:
    """Whoever has stolen a key may ask for what it may, as often as a desk would, and no more."""

    async def scenario(rig: Rig) -> None:
        for n in range(2_000):
            kind, verb = ("drill.begin", "drill.end")[n % 2], {"kind": "fire"}
            rig.ask(kind, verb | ({"for_ms": 60_000} if n % 2 == 0 else {}))

    rig = on_wires(scenario)
    assert rig.phases().count("accepted") == ORDERS_BURST
    assert len(rig.facts) < 4 * ORDERS_BURST
    assert "too short a time" in rig.told()[-1][1]["why"]


def test_key_that_asks_twice_a_second_is_obeyed_for_ever() -> None:
    async def scenario(rig: Rig) -> None:
        for n in range(600):
            kind, verb = ("drill.begin", "drill.end")[n % 2], {"kind": "fire"}
            rig.ask(kind, verb | ({"for_ms": 60_000} if n % 2 == 0 else {}))
            await rig.clock.sleep(0.5)

    rig = on_wires(scenario)
    assert set(rig.phases()) == {"accepted", "done"}


def test_key_that_asks_without_end_stops_nobody_on_the_premises() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(ORDERS_BURST + 1):
            rig.ask("drill.begin", {"kind": "fire", "for_ms": 60_000})
        rig.obey.here(rig.command("door.unlock", BACK))

    assert on_wires(scenario).phases()[-1] == "accepted"


def test_orders_under_way_are_forgotten_only_as_they_are_concluded() -> None:
    """A power cut between two conclusions: the next start still has the other to tell."""
    orders = [{"command": f"c-{n}", "verb": "door.lock", "route": "security"} for n in range(3)]

    async def scenario(rig: Rig) -> None:
        rig.obey.restore({KEPT: json.dumps(orders)}, [])

    told = [
        ([fact.data["command"] for fact in facts], [o["command"] for o in json.loads(kept[KEPT])])
        for facts, kept in on_wires(scenario).recorded
    ]
    assert told == [(["c-0"], ["c-1", "c-2"]), (["c-1"], ["c-2"]), (["c-2"], [])]


# --- on the premises ---


def test_token_handed_in_on_the_premises_finds_its_route() -> None:
    async def scenario(rig: Rig) -> None:
        rig.obey.here(rig.command("door.unlock", BACK))
        rig.answer(0, Outcome.CONFIRMED)

    said = on_wires(scenario).told()
    assert [(phase, data["route"], data["local"]) for phase, data in said] == [
        ("accepted", "security", True),
        ("done", "security", True),
    ]


def test_token_under_no_routes_key_is_refused_and_recorded() -> None:
    async def scenario(rig: Rig) -> None:
        for key in (STRANGER, SigningKey("deputy", bytes(32))):
            rig.obey.here(signed_by(rig, key))

    rig = on_wires(scenario)
    ((phase, data),) = rig.told()
    assert (phase, data["local"]) == ("refused", True)
    assert rig.facts[0].to == ()
    assert not rig.wires.asked


def signed_by(rig: Rig, key: SigningKey) -> bytes:
    """A command that is right in everything but its key."""
    boot, now_ms = rig.clock.stamp(0).boot, rig.clock.now_us() // 1_000
    me = ("c", rig.premises.gateway, ME.ledger, boot)
    command = Command(*me, now_ms + 5_000, "door.lock", LOCK, 1)
    return signed(command, key)
