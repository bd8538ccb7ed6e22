"""The kill campaign: what its account calls lost, what its evidence proves, and that it sees.

The account and the evidence are shown every wrong by hand; then the real gateway is killed, sound
and with each planted defect.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.kill.__main__ import main
from campaigns.kill.account import BOTH, CERTAIN_MS, Account, Life, Press
from campaigns.kill.evidence import Told, broken, forked, read, verdicts
from campaigns.kill.fingers import Fingers
from campaigns.kill.planted import DEFECTS
from campaigns.kill.school import KillSchool
from campaigns.words import BROKEN, HELD, STOPPED, Wrong
from gateway.core.jws import SigningKey
from gateway.core.message import Head, seal_message
from gateway.core.model import Event, Json, Stamp, Status, Stream, StreamKey
from gateway.keys import load_signing_key, new_key
from simulators.centre.core.core import CentreCore
from simulators.centre.store import CentreStore
from simulators.network.brokers import Mosquitto
from simulators.virtual.time import VirtualClock, run_virtual
from tests.processes import ROOT, school, wait_for
from tests.school import GATEWAY, RECEPTION, SCHOOL, SECURITY

POINT = RECEPTION.id
BEGUN = 10_000.0
KILLED = 20_000.0


# --- the account ------------------------------------------------------------------------------


def told(
    event: str,
    kind: str = "alarm.panic.raised",
    *,
    at_ms: float = BEGUN + 10,
    place: tuple[int, int] = (1, 2),
    subject: str = POINT,
    alarm: str | None = None,
    resumes: tuple[int, int] | None = None,
) -> Told:
    """A message as a centre has it."""
    return Told(
        stream="alarm",
        ledger="0" * 8,
        epoch=place[0],
        start=f"{place[0]:08x}",
        sequence=place[1],
        id=event,
        type=kind,
        subject=subject,
        alarm=alarm or event,
        at_ms=at_ms,
        previous=None,
        resumes=resumes,
        digest=event,
        data={},
    )


BEGAN = [
    told("start-1", "state.gateway.restarted", at_ms=0, place=(1, 1), subject=GATEWAY),
    told(
        "start-2",
        "state.gateway.restarted",
        at_ms=KILLED,
        place=(2, 1),
        subject=GATEWAY,
        resumes=(1, 9),
    ),
]


def lived(*, open_then: Sequence[str] = ("a",), logged_ms: float = BEGUN + 15) -> Account:
    """One press, raised as `a` in the log, then a kill, and a start that lists `open_then`."""
    account = Account()
    first = Life(0, live_ms=100, killed_ms=KILLED)
    second = Life(1, live_ms=KILLED + 1_000)
    account.lives += [first, second]
    for life, event, lists, at_ms in (
        (first, "start-1", (), 100.0),
        (second, "start-2", open_then, KILLED + 1_000),
    ):
        kind = "state.gateway.restarted"
        line = {"event": kind, "id": event, "subject": GATEWAY, "open": list(lists)}
        account.note(life, line, at_ms)
    if logged_ms < KILLED:
        account.note(first, {"event": "alarm.panic.raised", "id": "a", "subject": POINT}, logged_ms)
    account.presses.append(
        Press(POINT, 0, BEGUN, live=True, whole=True, over_ms=min(BEGUN + 300, KILLED))
    )
    return account


def judged(
    account: Account,
    *messages: Told,
    case: Sequence[Told] | None = None,
    began: Sequence[Told] = BEGAN,
) -> str:
    """The account's findings, the same messages at both centres or others at the case system."""
    security = [*began, *messages]
    both = security if case is None else [*began, *case]
    return " | ".join(account.judge(dict(zip(BOTH, (security, both), strict=True))))


def test_account_is_content_with_a_press_that_is_everywhere_once() -> None:
    account = lived()
    assert judged(account, told("a")) == ""
    assert account.counts["at both centres"] == account.counts["told"] == 1


def test_account_calls_lost_what_one_centre_has_not() -> None:
    account = lived()
    assert "lost: alarm.panic.raised" in judged(account, told("a"), case=[])
    assert account.counts["lost"] == 1


def test_account_calls_lost_what_only_the_log_and_the_next_start_know() -> None:
    assert "lost: alarm.panic.raised" in judged(lived())


def test_account_calls_lost_a_whole_press_that_became_nothing() -> None:
    account = lived(open_then=(), logged_ms=KILLED)
    assert "became nothing" in judged(account)


def test_account_lets_a_press_be_cut_off_only_just_before_the_kill() -> None:
    for before_ms, lost in ((CERTAIN_MS / 2, False), (CERTAIN_MS * 2, True)):
        account = lived(open_then=(), logged_ms=KILLED - before_ms)
        account.presses = [replace(account.presses[0], begun_ms=KILLED - before_ms - 15)]
        assert ("lost" in judged(account)) is lost
        assert account.counts["cut off"] == (not lost)


def test_account_believes_no_cut_off_that_the_next_start_remembers() -> None:
    assert "lost" in judged(lived(logged_ms=KILLED - CERTAIN_MS / 2))


def test_account_calls_doubled_two_alarms_of_one_press() -> None:
    account = lived(open_then=("a", "b"))
    again = told("b", place=(1, 3), at_ms=BEGUN + 200)
    assert "doubled: a press" in judged(account, told("a"), again)
    assert account.counts["doubled"] == 1


def on_a_unit(*presses: tuple[float, float]) -> Account:
    """Presses of a button on the bus, by when they began and were over."""
    account = lived(open_then=())
    account.presses = [
        Press(POINT, 0, begun_ms, live=True, counted=True, whole=True, over_ms=over_ms)
        for begun_ms, over_ms in presses
    ]
    return account


def test_account_gives_each_press_on_a_slow_unit_its_own_alarm() -> None:
    """The unit was asked after the second was made: that is one alarm each."""
    account = on_a_unit((BEGUN, BEGUN + 400), (BEGUN + 1_000, BEGUN + 1_400))
    ended = [
        told(word, "alarm.panic.cleared", place=(1, place), alarm=word, at_ms=BEGUN + 1_500)
        for word, place in (("a", 4), ("b", 5))
    ]
    first = told("a", at_ms=BEGUN + 1_100)
    account.lives[0].told["b"] = ("alarm.panic.raised", POINT, BEGUN + 1_300)
    found = judged(account, first, told("b", at_ms=BEGUN + 1_300, place=(1, 3)), *ended)
    assert found == ""
    assert [press.ids for press in account.presses] == [["a"], ["b"]]


def test_account_calls_doubled_two_alarms_of_one_press_on_a_unit() -> None:
    account = on_a_unit((BEGUN - 2_000, BEGUN - 1_600), (BEGUN, BEGUN + 400))
    before = told("w", at_ms=BEGUN - 1_900, place=(1, 2))
    twice = [
        told(word, at_ms=BEGUN + late_ms, place=(1, place))
        for word, late_ms, place in (("a", 50, 3), ("b", 202, 4))
    ]
    assert "doubled: a press" in judged(account, before, *twice)
    assert account.counts["doubled"] == 1


def test_account_takes_no_fault_at_a_button_for_an_alarm_of_its_press() -> None:
    account = lived()
    fault = told("f", "fault.wiring.raised", at_ms=BEGUN + 160, place=(1, 3))
    assert judged(account, told("a"), fault) == ""


def test_account_calls_doubled_an_alarm_that_nobody_pressed() -> None:
    nobody = told("b", place=(2, 2), at_ms=KILLED + 1_000)
    assert "nobody pressed" in judged(lived(), told("a"), nobody)


def test_account_of_a_button_held_over_a_kill_allows_one_alarm() -> None:
    account = lived()
    account.presses[0].held, account.presses[0].over_ms = True, KILLED + 5_000
    assert judged(account, told("a")) == ""
    account = lived()
    account.presses[0].held, account.presses[0].over_ms = True, KILLED + 5_000
    assert "doubled" in judged(account, told("a"), told("b", place=(2, 2), at_ms=KILLED + 900))


def test_account_sees_an_open_alarm_forgotten_and_an_ended_one_listed() -> None:
    assert "forgot {'a'}" in judged(lived(open_then=()), told("a"))
    ended = told("x", "alarm.panic.cleared", place=(1, 3), alarm="a", at_ms=BEGUN + 900)
    assert "listed {'a'}" in judged(lived(), told("a"), ended)
    assert judged(lived(open_then=()), told("a"), ended) == ""


def test_account_sees_a_later_press_under_an_earlier_number() -> None:
    account = lived(open_then=("a", "b"))
    account.presses.append(replace(account.presses[0], begun_ms=BEGUN + 1_000, ids=[]))
    account.presses[1].over_ms = BEGUN + 1_300
    later = told("b", at_ms=BEGUN + 1_010, place=(1, 2))
    assert "order" in judged(account, later, told("a", place=(1, 3)))


def test_account_counts_apart_what_went_ahead_of_a_late_disk() -> None:
    """Only where that life has said that its disk was late."""
    gone = [BEGAN[0], replace(BEGAN[1], resumes=(1, 1))]
    account = lived(open_then=())
    assert "ahead: security" in judged(account, told("a"), case=[], began=gone)
    account = lived(open_then=())
    line = {"event": "fault.storage.raised", "id": "late", "subject": "ledger", "why": "late"}
    account.note(account.lives[0], line, BEGUN)
    fault = told("late", "fault.storage.raised", subject="ledger", place=(1, 3))
    assert judged(account, told("a"), fault, case=[], began=gone) == ""
    assert account.counts["ahead"] == 1
    assert account.counts["lost"] == 0


# --- the evidence -----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A centre's database of six messages in two epochs, and the gateway's keys beside it."""
    new_key(tmp_path / "gateway.jwk", kid="gateway", seed=bytes(range(32)))
    signer = load_signing_key(tmp_path / "gateway.jwk")
    core = CentreCore("security", {GATEWAY: [signer.public]}, SigningKey("security", bytes(32)))
    rows, head = [], Head()
    for number in range(6):
        epoch = 1 + number // 3
        if number == 3:
            head = Head(0, head.previous, (1, 3))
        token, head = _message(number, epoch, head, signer)
        verdict = core.receive(GATEWAY, "security", "campus", token, 1_000 + number)
        assert verdict.row is not None
        rows.append(verdict.row)
    with closing(CentreStore(tmp_path / "security.db", "security")) as made:
        made.add(rows)
    return tmp_path / "security.db"


def _message(number: int, epoch: int, head: Head, signer: SigningKey) -> tuple[bytes, Head]:
    event = Event(
        f"00000000-0000-7000-8000-00000000000{number}",
        "alarm.panic.raised",
        POINT,
        Stamp(
            utc_ms=1_000 + number,
            synchronised=True,
            error_ms=1,
            boot="0" * 8,
            monotonic_ms=1_000 + number,
        ),
        f"00000000-0000-7000-8000-00000000000{number}",
        Status.ACTUAL,
        {"count": 1},
    )
    message, head = seal_message(
        event,
        premises=SCHOOL,
        route=SECURITY,
        point=RECEPTION,
        key=StreamKey("security", Stream.ALARM, "0" * 8, epoch, f"{epoch:08x}"),
        head=head,
        signer=signer,
    )
    return message.token, head


def evidence(store: Path) -> str:
    """Everything that is found wrong with a database."""
    jwk = store.parent / "gateway.pub.jwk"
    messages, wrong = read(store, jwk)
    found = [*wrong, *broken(messages), *verdicts(store, "security", GATEWAY, jwk)]
    return " | ".join(found + [f"forked {one.place}" for one in forked(messages)])


def change(store: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(store)) as db, db:
        db.execute(statement, values)


def test_evidence_of_whole_streams_holds(store: Path) -> None:
    assert evidence(store) == ""
    assert len(read(store, store.parent / "gateway.pub.jwk")[0]) == 6


@pytest.mark.parametrize("number", range(1, 6))
def test_evidence_misses_a_message_that_is_gone(store: Path, number: int) -> None:
    """Any but the very last, which only the gateway's own word covers."""
    change(store, "DELETE FROM message WHERE rowid = ?", number)
    assert "never came" in evidence(store)


def test_evidence_finds_a_flipped_bit(store: Path) -> None:
    with closing(sqlite3.connect(store)) as db:
        (token,) = db.execute("SELECT token FROM message WHERE rowid = 2").fetchone()
    flipped = bytearray(token)
    flipped[len(token) // 2] ^= 1
    change(store, "UPDATE message SET token = ? WHERE rowid = 2", bytes(flipped))
    assert "signature" in evidence(store)


def test_evidence_finds_what_a_later_start_knows_nothing_of(store: Path) -> None:
    """A fourth message of epoch 1, though epoch 2 goes on from its third."""
    jwk = store.parent / "gateway.jwk"
    with closing(CentreStore(store, "security")) as made:
        third = list(made.rows())[2]
        head = Head(3, third.digest)
        token, _ = _message(7, 1, head, load_signing_key(jwk))
        core = CentreCore("security", {GATEWAY: [load_signing_key(jwk).public]}, _NOBODY)
        row = core.receive(GATEWAY, "security", "campus", token, 2_000).row
        assert row is not None
        made.add([row])
    assert "forked (1, 4)" in evidence(store)


_NOBODY = SigningKey("nobody", bytes(32))


# --- the real thing ---------------------------------------------------------------------------


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder in which sockets can be: their paths are at most 107 bytes long."""
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        yield Path(folder)


def test_killed_gateway_loses_and_doubles_nothing(
    short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handful of kills; the campaign itself is run with more."""
    code = main(["N=6", "SEED=5", "JOBS=2", f"FOLDER={short_path}"])
    said = capsys.readouterr().out
    assert code == HELD, said
    assert "lost 0, doubled 0" in said
    assert not list(short_path.iterdir())


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_gateway_with_a_defect_is_caught(
    short_path: Path, capsys: pytest.CaptureFixture[str], defect: str
) -> None:
    """With the broker away in every life something is owed, and open, at every kill.

    The seed and the kept folder are printed.
    """
    code = main(["N=12", "SEED=5", "AWAY=100", f"FOLDER={short_path}", f"PLANT={defect}"])
    said = capsys.readouterr().out
    assert code == BROKEN, said
    assert "broken: school" in said
    assert "SEED=5" in said
    (kept,) = short_path.iterdir()
    assert f"kept: {kept}" in said


def test_stopped_campaign_tells_its_account_and_leaves_nothing_running(short_path: Path) -> None:
    words = ["campaigns.kill", "N=50", "SEED=5", "JOBS=1", f"FOLDER={short_path}"]
    campaign = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for("life", lambda: list(short_path.glob("*/*/gateway-0.err")), within_s=60)
        campaign.send_signal(signal.SIGINT)
        said, _ = campaign.communicate(timeout=60)
    finally:
        campaign.kill()
        campaign.wait()
    assert campaign.returncode == STOPPED
    assert "stopped: 0 of 50 kills" in said
    assert not list(short_path.iterdir())
    wait_for("empty house", lambda: not _running(str(short_path)))


def _running(text: str) -> list[str]:
    """The command lines of processes that name it."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes()
        except OSError:
            continue
        if text.encode() in words and int(line.parent.name) != os.getpid():
            found.append(words.decode(errors="replace"))
    return found


def test_campaign_asked_wrongly_says_what_it_takes() -> None:
    with pytest.raises(Wrong, match="forgetful, hasty, oblivious"):
        main(["PLANT=slow"])
    with pytest.raises(Wrong, match="at least 1"):
        main(["N=0"])


def test_button_held_in_over_a_kill_is_one_alarm(short_path: Path) -> None:
    """Held at the first start it is an alarm; at the next it is remembered and not raised again."""
    with school(short_path, Mosquitto) as there:
        run = ("simulators", "run", "--config", there.site.config, "--control", there.site.control)
        first = there.start("first", *run, "--held", "guard-post")
        raised = wait_for("alarm", lambda: first.log("alarm.panic.raised"), within_s=60)
        time_of_kill = time.monotonic()
        wait_for("disk", lambda: time.monotonic() > time_of_kill + CERTAIN_MS / 1_000)
        first.end(signal.SIGKILL)
        second = there.start("second", *run, "--held", "guard-post")
        (told_again,) = wait_for(
            "start", lambda: second.log("state.gateway.restarted"), within_s=60
        )
        there.press("director")
        wait_for("director", lambda: second.log("alarm.panic.raised", subject="director"))
        assert told_again["open"] == [raised[0]["id"]]
        assert not second.log("alarm.panic.raised", subject="guard-post")


def test_button_held_that_does_not_exist_is_named(short_path: Path) -> None:
    with school(short_path, Mosquitto) as there:
        run = ("simulators", "run", "--config", there.site.config, "--control", there.site.control)
        process = there.start("gateway", *run, "--held", "guard-pots")
        assert process.popen.wait(60) == 1
        assert "guard-pots" in process.err.read_text("utf-8")


# --- fingers ----------------------------------------------------------------------------------


class Recorded(KillSchool):
    """No gateway: what would have been pressed."""

    asked: list[str]

    async def ask(self, request: Mapping[str, Json]) -> Any:
        self.asked.append(str(request["press"]))
        return {"ok": True}


def test_gate_shut_again_at_once_lets_no_finger_through(tmp_path: Path) -> None:
    """A press after it would end unseen by the account: an alarm that nobody pressed."""

    async def scenario(clock: VirtualClock, _: random.Random) -> list[int]:
        school = Recorded(tmp_path)
        school.asked = []
        fingers = Fingers(school, Account(), ["gym"])
        fingers.life = Life(0)
        task = asyncio.create_task(fingers.run(random.Random(1)))
        counts = []
        for opened in (False, True):
            await clock.sleep(5)
            fingers.gate.set()
            if not opened:
                fingers.gate.clear()
            await clock.sleep(5)
            counts.append(len(school.asked))
        task.cancel()
        return counts

    none, some = run_virtual(scenario, seed=1)
    assert none == 0
    assert some > 1
