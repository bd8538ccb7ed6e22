"""History on demand, end to end under virtual time: the same bytes, after all that is owed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import AlarmState, Fact, Json, Stream
from gateway.record.entry import Identity
from gateway.record.ledger import Ledger
from gateway.resend import BURST, BURST_EVERY_US, QUEUE_MAX
from simulators.centre.core.core import CentreCore
from simulators.network.brokers import Mosquitto
from tests.obedience import DOORS, answers, asked, obeying, phases
from tests.processes import Process, raised, wait_for
from tests.processes import school as school_with_broker
from tests.school import GATEWAY, School, Sent

_ACKNOWLEDGED, _CLOSED = AlarmState.ACKNOWLEDGED, AlarmState.CLOSED
FRESH = ("f" * 8, "f" * 8, "f" * 8)


def target(school: School, first: int, last: int, **changes: Json) -> dict[str, Json]:
    """Numbers of the alarm stream of the running start, with any member changed."""
    beat = school.last_beat()
    of: dict[str, Json] = {"stream": "alarm", "ledger": beat.ledger, "epoch": beat.epoch}
    return of | {"from": first, "to": last} | changes


def logged(school: School, count: int) -> None:
    """So many entries in the security route's log."""
    assert school.gateway is not None
    now_us = school.clock.now_us()
    school.gateway.tell(
        Fact("access.opened", "main-door", now_us, data={"n": n}, to=("security",))
        for n in range(count)
    )


def again(school: School, route: str = "security") -> list[Sent]:
    return school.carried("resend", route=route)


def head(school: School, stream: Stream = Stream.ALARM) -> int:
    return school.last_beat().heads[stream]


def done(school: School, route: str = "security") -> dict[str, Any]:
    """The last answer, which must be good."""
    phase, data = answers(school, route)[-1]
    assert phase == "done", data
    return data


def own(school: School, route: str = "security") -> list[tuple[str, dict[str, Any]]]:
    """What a route was answered to what it asked itself."""
    return [(phase, data) for phase, data in answers(school, route) if data["route"] == route]


def gone(school: School, route: str = "security") -> list[dict[str, Any]]:
    return [dict(v.message.data) for v in school.heard(route, "state.gone") if v.message]


# --- the same bytes ---


def test_resend_brings_the_very_bytes_in_order(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        for point in ("reception", "gym"):
            await school.bench.press(point, "clean", 300)
        await school.clock.sleep(6)
        await asked(school, "resend", target(school, 1, head(school)))

    school = obeying(tmp_path, scenario)
    first = {sent.payload["sequence"]: sent.token for sent in reversed(school.carried("alarm"))}
    came = again(school)
    assert [sent.payload["sequence"] for sent in came] == list(range(1, len(came) + 1))
    assert len(came) == 4
    assert all(sent.token == first[sent.payload["sequence"]] for sent in came)
    answer = done(school)
    assert (answer["sent"], answer["gone"]) == (len(came), 0)
    assert answer["asked"]["to"] == len(came)


def test_resend_gives_a_route_its_own_stream_and_nobody_elses(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(6)
        await asked(school, "resend", target(school, 1, 3), route="case")

    school = obeying(tmp_path, scenario)
    assert {sent.payload["route"] for sent in again(school, "case")} == {"case"}
    assert again(school) == []
    assert done(school, "case")["sent"] == 3


def test_numbers_not_given_yet_are_not_called_gone(tmp_path: Path) -> None:
    """A million asked for, three there: neither a list of them nor an untruth."""

    async def scenario(school: School) -> None:
        await asked(school, "resend", target(school, 1, 1_000_000))
        await asked(school, "resend", target(school, 1, 9, epoch=7))

    school = obeying(tmp_path, scenario)
    first, second = (data for phase, data in answers(school) if phase == "done")
    assert (first["gone"], second["gone"], second["sent"]) == (0, 0, 0)
    assert first["sent"] + first["not_given"] == 1_000_000
    assert second["not_given"] == 9
    assert gone(school) == []


# --- what is no longer held ---


def pruned(school: School) -> Identity:
    """Let everything that may leave the ledger of a stopped school leave it."""
    start, fresh, boot = FRESH
    path = school.premises.ledger.path
    ledger = Ledger.open(path, start=start, fresh_id=fresh, boot=boot, utc_ms=0)
    while ledger.prune(before_utc_ms=1 << 60, limit=100):
        pass
    identity = ledger.identity
    ledger.close()
    return identity


def test_numbers_no_longer_held_come_back_as_a_signed_word(tmp_path: Path) -> None:
    """Whoever verifies the record knows that the gap is the gateway's own."""

    async def scenario(school: School) -> None:
        logged(school, 40)
        await school.clock.sleep(6)
        start = school.last_beat().start
        assert head(school, Stream.LOG) >= 40
        await school.stop()
        pruned(school)
        await school.start()
        await school.clock.sleep(12)
        elder: dict[str, Json] = {"stream": "log", "epoch": 1}
        await asked(school, "resend", target(school, 1, head_of_log, **elder))
        assert gone(school)[0]["start"] == start

    head_of_log = 40
    school = obeying(tmp_path, scenario)
    (told,) = gone(school)
    assert (told["stream"], told["epoch"]) == ("log", 1)
    answer = done(school)
    (inventory,) = again(school)  # what the centres were last told is supervised never leaves
    kept = inventory.payload["sequence"]
    assert told["ranges"] == [[1, kept - 1], [kept + 1, 40]]
    assert (answer["gone"], answer["sent"]) == (39, 1)


def test_epoch_nobody_holds_is_gone_whole_and_costs_nothing(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await asked(school, "resend", target(school, 1, 2**53 - 1, ledger="0badf00d"))

    school = obeying(tmp_path, scenario)
    (told,) = gone(school)
    assert told["ranges"] == [[1, 2**53 - 1]]
    assert "start" not in told
    assert done(school)["sent"] == 0


def test_answer_says_what_is_held_from_before(tmp_path: Path) -> None:
    """From epoch to epoch a centre that knows nothing any more finds all there is."""

    async def scenario(school: School) -> None:
        for _ in range(2):
            await school.stop()
            await school.start()
            await school.clock.sleep(12)
        last = head(school, Stream.LOG)
        for epoch in (3, 2, 1):
            await asked(school, "resend", target(school, 1, last, stream="log", epoch=epoch))
            if epoch > 1:
                earlier = done(school)["earlier"]
                last = earlier["to"]
                assert earlier == {
                    "ledger": school.last_beat().ledger,
                    "epoch": epoch - 1,
                    "to": last,
                }

    school = obeying(tmp_path, scenario)
    assert "earlier" not in done(school)
    epochs = [sent.payload["epoch"] for sent in again(school)]
    assert sorted(set(epochs)) == [1, 2, 3]


# --- its place ---


def test_history_is_bounded_in_rate(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 400)
        await school.clock.sleep(20)
        await asked(school, "resend", target(school, 1, 400, stream="log"), then_s=6)

    school = obeying(tmp_path, scenario)
    times = [sent.at_us for sent in again(school)]
    assert len(times) == 400
    per_s = BURST * 1_000_000 // BURST_EVERY_US
    for at, since_us in enumerate(times):
        within = sum(since_us <= us < since_us + 1_000_000 for us in times[at:])
        assert within <= per_s + 2 * BURST


def test_alarm_is_on_time_while_history_goes_out(tmp_path: Path) -> None:
    """Never late because of something else: pressed again and again during a long resend."""

    async def scenario(school: School) -> None:
        logged(school, 600)
        await school.clock.sleep(20)
        school.centres["security"].command("resend", target(school, 1, 600, stream="log"))
        for n in range(3):
            at_us = school.clock.now_us() + 500_000 + n * 700_000
            school.finger("gym" if n % 2 else "reception", "clean", 100, at_us=at_us)
        await school.clock.sleep(8)

    school = obeying(tmp_path, scenario)
    history = [sent.at_us for sent in again(school)]
    raised = school.heard("security", "alarm.panic.raised")
    assert len(raised) == 2
    for verdict in raised:
        assert verdict.message is not None
        arrived_us = school.arrived_us(verdict)
        assert history[0] < arrived_us < history[-1]
        assert arrived_us - verdict.message.clock.monotonic_ms * 1_000 <= 10_000
    assert done(school)["sent"] == 600


def test_what_is_owed_goes_before_history(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 300)
        await school.clock.sleep(20)
        logged(school, 500)
        school.centres["security"].command("resend", target(school, 1, 300, stream="log"))
        await school.clock.sleep(20)

    school = obeying(tmp_path, scenario)
    owed = [sent.at_us for sent in school.carried("log") if sent.payload["sequence"] > 310]
    assert len(owed) >= 450
    assert min(sent.at_us for sent in again(school)) >= max(owed)


def test_alarm_stream_goes_before_the_log_whatever_was_asked_first(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 300)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(20)
        ask = school.centres["security"].command
        ask("resend", target(school, 1, 300, stream="log"))
        await school.clock.sleep(0.3)
        ask("resend", target(school, 1, head(school)))
        await school.clock.sleep(6)

    school = obeying(tmp_path, scenario)
    streams = [sent.payload["stream"] for sent in again(school)]
    last_alarm = len(streams) - 1 - streams[::-1].index("alarm")
    assert streams[0] == "log"
    assert "log" in streams[last_alarm:]
    assert [data["asked"]["stream"] for phase, data in answers(school) if phase == "done"] == [
        "alarm",
        "log",
    ]


def test_more_than_a_few_at_once_are_refused_as_busy(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 200)
        await school.clock.sleep(20)
        for _ in range(QUEUE_MAX + 2):
            school.centres["security"].command("resend", target(school, 1, 50, stream="log"))
        school.centres["case"].command("resend", target(school, 1, 2))
        await school.clock.sleep(10)

    school = obeying(tmp_path, scenario)
    assert [phase for phase, _ in own(school)].count("done") == QUEUE_MAX
    refused = [data for phase, data in own(school) if phase == "refused"]
    assert len(refused) == 2
    assert all(data["why"].startswith("busy") for data in refused)
    assert [phase for phase, _ in own(school, "case")] == ["accepted", "done"]


# --- when it is interrupted ---


def test_resend_goes_on_after_the_uplink_was_down(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 300)
        await school.clock.sleep(20)
        school.centres["security"].command("resend", target(school, 1, 300, stream="log"))
        await school.clock.sleep(0.5)
        school.broker.down()
        await school.clock.sleep(30)
        school.broker.up()
        await school.clock.sleep(40)

    school = obeying(tmp_path, scenario)
    assert {sent.payload["sequence"] for sent in again(school)} == set(range(1, 301))
    assert done(school)["sent"] == 300


def test_resend_nobody_listens_to_ends_with_an_honest_answer(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 100)
        await school.clock.sleep(20)
        school.broker.refuse("qorgan/v1/+/security/resend")
        await asked(school, "resend", target(school, 1, 100, stream="log"), then_s=3)

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["accepted", "failed"]
    _, failed = answers(school)[-1]
    assert failed["sent"] == 0
    assert "refuses" in failed["why"]


def test_resend_that_cannot_move_is_given_up_and_told(tmp_path: Path) -> None:
    """Its centre receives, and signs for nothing: what is owed goes before, for ever."""

    async def scenario(school: School) -> None:
        logged(school, 100)
        await school.clock.sleep(20)
        school.centres["security"].deaf = True
        logged(school, 1_000)
        await school.clock.sleep(1)
        school.centres["security"].command("resend", target(school, 1, 50, stream="log"))
        await school.clock.sleep(700)
        school.centres["security"].deaf = False
        await school.clock.sleep(30)

    school = obeying(tmp_path, scenario)
    assert phases(school) == ["accepted", "failed"]
    assert "owed" in answers(school)[-1][1]["why"]
    assert again(school) == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_resend_under_way_at_a_restart_is_concluded_by_the_next_start(
    tmp_path: Path, end: str
) -> None:
    async def scenario(school: School) -> None:
        logged(school, 400)
        await school.clock.sleep(20)
        school.centres["security"].command("resend", target(school, 1, 400, stream="log"))
        await school.clock.sleep(0.6)
        await (school.stop() if end == "stop" else school.kill())
        for _ in range(2):
            await school.start()
            await school.clock.sleep(10)
            await school.stop()

    school = obeying(tmp_path, scenario)
    assert 0 < len(again(school)) < 400
    assert phases(school) == ["accepted", "failed"]
    _, failed = answers(school)[-1]
    assert "ask again" in failed["why"]
    assert failed["asked"]["stream"] == "log"


def test_receipt_for_what_came_again_settles_what_was_owed(tmp_path: Path) -> None:
    """The plain topic leads nowhere for a while; history arrives, and is signed for."""

    async def scenario(school: School) -> None:
        school.broker.accept_and_forget("qorgan/v1/+/security/alarm")
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(4)
        assert school.gateway is not None
        first, last = 1, 50
        school.centres["security"].command("resend", target(school, first, last))
        await school.clock.sleep(3)

    school = obeying(tmp_path, scenario)
    assert school.lines("state.alarm.received")
    assert [v.resent for v in school.heard("security", "alarm.panic.raised")] == [True]


# --- a centre that has lost everything ---


def wiped(school: School, route: str = "security") -> None:
    """The centre's database is lost; it begins anew and asks for what it lacks."""
    centre = school.centres[route]
    centre.core = CentreCore(route, {GATEWAY: [school.gateway_key]}, school.keys[route])
    centre.new.clear()
    centre.found.clear()
    centre.repairs = True


def test_centre_that_lost_its_database_gets_everything_back(tmp_path: Path) -> None:
    """Over three epochs, alarms before the log, old ones as history and the open one as open."""
    before: set[bytes] = set()

    async def scenario(school: School) -> None:
        security = school.centres["security"]
        await school.bench.press("gym", "clean", 300)
        await school.clock.sleep(5)
        security.say(school.alarm("gym"), _CLOSED)
        logged(school, 30)
        await school.clock.sleep(10)
        await school.stop()
        await school.start()
        await school.clock.sleep(10)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(5)
        security.say(school.alarm("reception"), _ACKNOWLEDGED)
        await school.clock.sleep(5)
        await school.kill()
        await school.start()
        await school.clock.sleep(12)
        before.update(
            sent.token
            for sent in school.sent
            if sent.leaf in {"alarm", "log"} and sent.route == "security"
        )
        await school.clock.sleep(60)
        wiped(school)
        await school.clock.sleep(120)

    school = obeying(tmp_path, scenario)
    core = school.centres["security"].core
    came = {verdict.row.token for verdict in school.centres["security"].new if verdict.row}
    assert before <= came
    streams = [sent.payload["stream"] for sent in again(school)]
    assert streams == sorted(streams)
    raised = {
        v.message.subject: (v.history, v.late, v.open_now)
        for v in school.heard("security", "alarm.panic.raised")
        if v.message
    }
    assert raised == {"gym": (True, False, False), "reception": (False, True, True)}
    (alarm,) = core.alarms()
    assert (alarm.subject, alarm.word.state) == ("reception", _ACKNOWLEDGED)
    kinds = [finding.kind.value for finding in school.centres["security"].found]
    assert kinds[-1] == "repaired"
    assert "not-repaired" not in kinds


def test_centre_asks_one_thing_at_a_time_and_not_for_what_is_gone(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        logged(school, 60)
        await school.clock.sleep(10)
        await school.stop()
        pruned(school)
        await school.start()
        await school.clock.sleep(12)
        wiped(school)
        await school.clock.sleep(400)

    school = obeying(tmp_path, scenario)
    told = [phase for phase in phases(school) if phase != "refused"]
    assert told == ["accepted", "done"] * (len(told) // 2)
    assert len(told) <= 2 * 6
    assert gone(school)
    assert school.centres["security"].found[-1].kind.value == "repaired"


def test_centre_without_the_right_asks_once_and_says_what_to_do(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        route = school.premises.routes[0]
        keys = tuple(replace(key, verbs=("door.lock",)) for key in route.keys)
        routes = (replace(route, keys=keys), *school.premises.routes[1:])
        await school.stop()
        school.premises = replace(school.premises, routes=routes)
        await school.start()
        await school.clock.sleep(70)
        wiped(school)
        await school.clock.sleep(200)

    school = obeying(tmp_path, scenario, premises=DOORS)
    assert phases(school) == ["refused"]
    last = school.centres["security"].found[-1]
    assert (last.kind.value, "resend" in last.text) == ("not-repaired", True)


# --- real processes ---


def history(centre: Process) -> list[dict[str, Any]]:
    """What a centre was brought again, line by line."""
    return [line for line in centre.stdout() if "history" in line]


def test_deleted_store_of_a_real_centre_is_filled_again(tmp_path: Path) -> None:
    """Over mosquitto: alarms first, the old one as history, the open one as open, nothing twice."""
    with school_with_broker(tmp_path, Mosquitto) as there:
        store = tmp_path / "centre.db"
        before = there.centre("security", "--db", store)
        gateway = there.gateway()
        for point in ("guard-post", "director"):
            there.press(point)
        wait_for("two alarms", lambda: len(raised(before)) == 2)
        assert before.end(signal.SIGTERM) == 0
        closing = there.centre("security", "--db", store, "--answer", "close", "--no-resend")
        there.press("nurse")
        wait_for("an end", lambda: gateway.log("alarm.medical.cleared", subject="nurse"))
        told = {line["id"]: line["subject"] for line in closing.stdout()}
        wait_for("a held end", lambda: "state.alarm.closed" in closing.out.read_text("utf-8"))
        assert closing.end(signal.SIGTERM) == 0
        assert told
        for path in tmp_path.glob("centre.db*"):
            path.unlink()
        after = there.centre("security", "--db", store)
        said = wait_for(
            "repaired store",
            lambda: "repaired: " in after.err.read_text("utf-8"),
            within_s=60,
        )
        assert said
        came = history(after)
        assert [line["stream"] for line in came] == sorted(line["stream"] for line in came)
        assert {line["subject"]: line["history"] for line in came if _raising(line)} == {
            "guard-post": False,
            "director": False,
            "nurse": True,
        }
        numbers = [(line["stream"], line["epoch"], line["sequence"]) for line in came]
        assert len(set(numbers)) == len(numbers)
        assert not any(line["late"] for line in came if line["history"])
        assert sum(map(_raising, came)) == 3


def _raising(line: dict[str, Any]) -> bool:
    return bool(line["type"].startswith("org.qorgan.alarm.") and line["type"].endswith(".raised"))
