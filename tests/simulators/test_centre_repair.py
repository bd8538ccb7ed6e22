"""What a centre asks for once more: bounded, one thing at a time, and not for ever."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from itertools import count, pairwise
from typing import Any

import pytest

from gateway.core.jws import TokenType, open_token
from gateway.core.message import Head
from gateway.core.model import AlarmState, Json, Message, Stream
from simulators.centre.core.orders import Ordered
from simulators.centre.core.repair import AGAIN_MS, ASK_MAX, CAME_WITHIN_MS, PAUSE_MS
from simulators.centre.core.site import KEPT_DIGESTS
from simulators.centre.core.words import Finding, FindingKind, Outcome, Verdict
from simulators.centre.screen import Screen, json_line
from tests.simulators.desk import NOW_MS, Desk, alarms
from tools.vector_parts import (
    GATEWAY,
    KEYS,
    LEDGER,
    RECEPTION,
    ROUTE,
    STARTS,
    Gateway,
    event_id,
    heartbeat,
    raised,
)

BEAT_MS = 5_000


class Centre(Desk):
    """A desk that lives: heartbeats come, time goes on, what is due is asked for."""

    def __init__(self, head: int = 0, log: int = 0) -> None:
        super().__init__()
        self.at_ms = NOW_MS
        self.heads = {Stream.ALARM: head, Stream.LOG: log}
        self.open: tuple[str, ...] = ()
        self.asked: list[Ordered] = []
        self.found: list[Finding] = []
        self._beats = count(1)
        self._names = (f"c-{n}" for n in count(1))

    def beat(self, epoch: int = 6) -> None:
        """Five seconds later there is another heartbeat."""
        self.at_ms += BEAT_MS
        number = next(self._beats)
        token = heartbeat(
            number, heads=self.heads, epoch=epoch, start=STARTS[epoch], open=self.open
        )
        beat = self.core.beat(GATEWAY, ROUTE, "campus", token, self.at_ms)
        assert beat.why == ""
        self.found += beat.findings
        self.ask()

    def ask(self) -> None:
        self.asked += self.core.requests(self.at_ms, lambda: next(self._names))

    def until_asked(self, beats: int = 4) -> Ordered:
        """Beat on until the next question is put."""
        known = len(self.asked)
        for _ in range(beats):
            self.beat()
            if len(self.asked) > known:
                return self.asked[-1]
        raise AssertionError("nothing was asked")

    def target(self) -> dict[str, Any]:
        return dict(self.asked[-1].command.target)

    def brought(self, *messages: Message) -> list[Verdict]:
        """They come on the topic for what was asked for."""
        verdicts = [
            self.core.receive(GATEWAY, ROUTE, "campus", m.token, self.at_ms, resent=True)
            for m in messages
        ]
        self.commit(*verdicts)
        return verdicts

    def told(self, box: Gateway, phase: str, **data: Json) -> None:
        """An answer to the last question."""
        answer: dict[str, Json] = {"command": self.asked[-1].command.id, "verb": "resend", **data}
        kind = phase if phase.startswith("state.") else f"state.command.{phase}"
        message = box.seal(kind, GATEWAY, second=500 + next(self._beats), data=answer)
        self.take(message.token, at_ms=self.at_ms)

    def kinds(self) -> list[FindingKind]:
        return [finding.kind for finding in self.found]


def box_at(head: Mapping[Stream, int] | None = None) -> Gateway:
    """A box whose answers come behind everything that is missing."""
    box = Gateway(epoch=6, start=STARTS[6])
    for stream, number in (head or {Stream.ALARM: 10_000_000}).items():
        box.heads[stream] = Head(number, "0" * 64)
    return box


# --- what is asked ---


def test_gap_is_asked_for_when_it_does_not_fill_by_itself() -> None:
    centre = Centre(head=5)
    messages = alarms(Gateway(epoch=6, start=STARTS[6]), 5)
    for message in (messages[0], messages[4]):
        centre.take(message.token)
    centre.beat()
    assert centre.asked == []
    command = centre.until_asked().command
    _, payload = open_token(
        centre.asked[0].token, typ=TokenType.COMMAND, keys={"sec-2026": KEYS["security"].public}
    )
    assert payload["verb"] == command.verb == "resend"
    wanted = {"stream": "alarm", "ledger": LEDGER, "epoch": 6, "from": 2, "to": 4}
    assert payload["target"] == wanted


def test_nothing_is_asked_before_a_heartbeat_or_when_nothing_is_missing() -> None:
    centre = Centre(head=2)
    centre.ask()
    for message in alarms(Gateway(epoch=6, start=STARTS[6]), 2):
        centre.take(message.token)
    for _ in range(5):
        centre.beat()
    assert centre.asked == []
    assert centre.core.request_due() is None


def test_lost_store_is_asked_for_in_parts_alarms_first() -> None:
    centre = Centre(head=3, log=3 * ASK_MAX)
    centre.until_asked()
    assert (centre.target()["stream"], centre.target()["from"], centre.target()["to"]) == (
        *("alarm", 1, 3),
    )
    centre.brought(*alarms(Gateway(epoch=6, start=STARTS[6]), 3))
    centre.told(box_at(), "done")
    centre.until_asked()
    assert (centre.target()["stream"], centre.target()["to"]) == ("log", ASK_MAX)


def test_gaps_near_to_each_other_are_one_question_and_far_ones_are_not() -> None:
    centre = Centre(head=1_000)
    messages = alarms(Gateway(epoch=6, start=STARTS[6]), 1_000)
    lost = {3, 50, 900}
    for message in messages:
        if message.sequence not in lost:
            centre.take(message.token)
    centre.until_asked()
    assert (centre.target()["from"], centre.target()["to"]) == (3, 50)


def test_epoch_a_message_resumes_from_is_asked_for_by_name() -> None:
    """Its start is known to nobody here."""
    centre = Centre(head=1)
    seven = Gateway(epoch=7, start=STARTS[7], head=Head(0, "0" * 64, (6, 41)))
    centre.take(raised(seven, 20).token)
    for _ in range(4):
        centre.beat(epoch=7)
    assert centre.target() == {
        "stream": "alarm", "ledger": LEDGER, "epoch": 6, "from": 1, "to": 41,
    }  # fmt: skip


def test_what_the_gateway_holds_from_before_is_asked_for_next() -> None:
    centre = Centre(head=1)
    centre.until_asked()
    centre.brought(*alarms(Gateway(epoch=6, start=STARTS[6]), 1))
    earlier: dict[str, Json] = {"ledger": "01d1ed9e", "epoch": 3, "to": 7}
    centre.told(box_at(), "done", earlier=earlier)
    centre.until_asked()
    assert (centre.target()["ledger"], centre.target()["epoch"]) == ("01d1ed9e", 3)
    assert (centre.target()["from"], centre.target()["to"]) == (1, 7)


# --- patience ---


def test_nothing_more_is_asked_while_a_question_is_under_way() -> None:
    centre = Centre(head=3, log=40)
    centre.until_asked()
    centre.told(box_at(), "accepted")
    for _ in range(30):
        centre.beat()
    assert len(centre.asked) == 1


def test_question_nobody_answered_is_put_again_ever_later() -> None:
    centre = Centre(head=3)
    centre.until_asked()
    moments = [centre.at_ms]
    while len(moments) < 6:
        centre.beat()
        if len(centre.asked) > len(moments):
            moments.append(centre.at_ms)
    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert waits == sorted(waits)
    assert waits[-1] > 8 * AGAIN_MS[0]


def test_busy_gateway_is_left_alone_for_a_while() -> None:
    centre = Centre(head=3)
    centre.until_asked()
    centre.told(box_at(), "refused", why="busy: 4 resends wait on this route", accepts="it, later")
    centre.beat()
    assert len(centre.asked) == 1
    centre.until_asked()
    assert len(centre.asked) == 2


def test_key_without_the_right_is_said_once_and_asks_no_more() -> None:
    centre = Centre(head=3)
    centre.until_asked()
    centre.told(box_at(), "refused", why="this key may not ask for it", accepts="nothing")
    for _ in range(200):
        centre.beat()
    assert len(centre.asked) == 1
    assert centre.kinds().count(FindingKind.NOT_REPAIRED) == 1


def test_numbers_told_gone_are_asked_for_no_more() -> None:
    centre = Centre(head=4)
    centre.until_asked()
    gone: dict[str, Json] = {"stream": "alarm", "ledger": LEDGER, "epoch": 6, "start": STARTS[6]}
    centre.told(box_at(), "state.gone", **gone, ranges=[[1, 3]])
    centre.brought(alarms(Gateway(epoch=6, start=STARTS[6]), 4)[3])
    centre.told(box_at({Stream.ALARM: 10_000_001}), "done")
    for _ in range(10):
        centre.beat()
    assert len(centre.asked) == 1
    assert centre.kinds()[-2:] == [FindingKind.COMPLETE, FindingKind.REPAIRED]
    assert "but for 1-3" in next(f.text for f in centre.found if f.kind is FindingKind.COMPLETE)
    again = Centre(head=4)
    again.core.restore(centre.rows)
    for _ in range(10):
        again.beat()
    assert again.asked == []


def test_numbers_told_gone_are_no_gap_before_what_comes_after() -> None:
    centre = Centre(head=4)
    centre.until_asked()
    gone: dict[str, Json] = {"stream": "alarm", "ledger": LEDGER, "epoch": 6}
    centre.told(box_at(), "state.gone", **gone, ranges=[[1, 3]])
    verdict = centre.take(alarms(Gateway(epoch=6, start=STARTS[6]), 4)[3].token)
    assert (verdict.gap, verdict.marks) == ((), ())


def test_what_never_comes_though_it_was_sent_is_given_up_and_said() -> None:
    """A broker that lets the gateway publish everywhere but there."""
    centre = Centre(head=3)
    for n in range(3):
        centre.until_asked()
        centre.told(box_at({Stream.ALARM: 10_000_000 + n}), "done")
        centre.at_ms += CAME_WITHIN_MS + PAUSE_MS
        centre.ask()
    for _ in range(100):
        centre.beat()
    assert len(centre.asked) == 3
    assert centre.kinds().count(FindingKind.NOT_REPAIRED) == 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"stream": "alarm", "ledger": LEDGER, "epoch": 6, "ranges": "1-3"},
        {"stream": "alarm", "ledger": LEDGER, "epoch": 6, "ranges": [[3, 1], [0, 2], "x", [1]]},
        {"stream": "noise", "ledger": LEDGER, "epoch": 6, "ranges": [[1, 3]]},
        {"stream": "alarm", "ledger": 7, "epoch": "6", "ranges": [[1, 3]]},
        {"stream": "alarm", "ledger": LEDGER, "epoch": 6, "start": [], "ranges": [[1, 3]]},
    ],
)
def test_gone_that_makes_no_sense_changes_nothing(data: dict[str, Json]) -> None:
    centre = Centre(head=3)
    centre.take(box_at().seal("state.gone", GATEWAY, second=9, data=data).token)
    centre.until_asked()
    assert (centre.target()["from"], centre.target()["to"]) == (1, 3)


# --- history ---


def test_history_is_no_new_alarm_unless_it_is_open() -> None:
    centre = Centre(head=3)
    centre.open = (event_id(2),)
    for _ in range(30):
        centre.beat()
    over, still, _ = alarms(Gateway(epoch=6, start=STARTS[6]), 3)
    first, second = centre.brought(over, still)
    assert (first.history, first.late, first.row is not None) == (True, False, True)
    assert (second.history, second.late) == (False, True)
    assert [alarm.id for alarm in centre.core.alarms()] == [event_id(2)]


def test_history_stays_history_when_the_centre_starts_again() -> None:
    centre, again = Centre(head=1), Desk()
    centre.beat()
    centre.beat()
    centre.brought(*alarms(Gateway(epoch=6, start=STARTS[6]), 1))
    again.core.restore(centre.rows)
    assert again.core.alarms() == ()


def test_own_word_on_an_open_alarm_comes_back_with_it() -> None:
    centre = Centre(head=3)
    centre.open = (event_id(1),)
    centre.beat()
    box = Gateway(epoch=6, start=STARTS[6])
    messages = [raised(box, 1)]
    for second, route, state in ((2, "case", "dispatched"), (3, ROUTE, "acknowledged")):
        data: dict[str, Json] = {"route": route, "operator": 7, "at": "2026-12-01T12:00:03.000Z"}
        kind = f"state.alarm.{state}"
        messages.append(
            box.seal(
                kind, RECEPTION.id, second=second, alarm=event_id(1), point=RECEPTION, data=data
            )
        )
    centre.brought(*messages)
    (alarm,) = centre.core.alarms()
    assert (alarm.word.state, alarm.word.operator) == (AlarmState.ACKNOWLEDGED, 7)


def test_history_does_not_push_out_the_hashes_new_messages_are_held_against() -> None:
    centre = Centre()
    seven = Gateway(epoch=7, start=STARTS[7])
    centre.take(raised(seven, 1).token)
    centre.brought(*alarms(Gateway(epoch=6, start=STARTS[6]), KEPT_DIGESTS + 10, first=100))
    forged = Gateway(epoch=7, start=STARTS[7], head=Head(1, "0" * 64))
    verdict = centre.take(raised(forged, 2).token)
    assert [mark.value for mark in verdict.marks] == ["broken-chain"]


def test_history_is_verified_like_everything_else() -> None:
    centre = Centre(head=3)
    (message,) = alarms(Gateway(epoch=6, start=STARTS[6]), 1)
    bent = message.token[:-2] + b"AA"
    verdict = centre.core.receive(GATEWAY, ROUTE, "campus", bent, NOW_MS, resent=True)
    assert verdict.outcome is Outcome.REFUSED


def test_history_is_shown_in_a_quiet_line_and_copies_of_it_not_at_all() -> None:
    centre, paper = Centre(head=3), io.StringIO()
    centre.open = (event_id(2),)
    centre.beat()
    screen = Screen(paper)
    messages = alarms(Gateway(epoch=6, start=STARTS[6]), 2)
    for verdict in (*centre.brought(*messages), *centre.brought(*messages)):
        screen.verdict(verdict)
    quiet, loud = paper.getvalue().splitlines()[:2]
    assert quiet.startswith("history   2026-12-01 12:00:01  panic raised  reception")
    assert "*** ALARM #1 PANIC RAISED" in loud
    assert "copy" not in paper.getvalue()


def test_json_line_says_history_only_of_what_came_again() -> None:
    centre = Centre(head=3)
    centre.open = (event_id(2),)
    centre.beat()
    messages = alarms(Gateway(epoch=6, start=STARTS[6]), 3)
    brought = [json.loads(json_line(verdict)) for verdict in centre.brought(*messages[:2])]
    assert [line["history"] for line in brought] == [True, False]
    assert "history" not in json.loads(json_line(centre.take(messages[2].token)))
