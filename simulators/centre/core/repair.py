"""What a centre asks its gateway for once more, and when it stops asking. Pure, driven by `core`.

One question at a time, in short ranges, with a pause between. A number that the gateway says is
gone is asked for no more; neither is one that does not come though it says that it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.message import Heartbeat
from gateway.core.model import Json, Stream
from simulators.centre.core.reading import NUMBER_MAX, OpenedMessage
from simulators.centre.core.run import Epoch
from simulators.centre.core.site import Site
from simulators.centre.core.spans import spans_of
from simulators.centre.core.words import FindingKind, Span, spans_text

ASK_MAX = 10_000
"""Numbers in one question: about a minute of a gateway's history, then there is room for others."""
NEAR = 100
"""Gaps so near to each other are asked for together: what lies between comes as copies."""
PAUSE_MS = 500
AGAIN_MS = (15_000, 600_000)
"""An unanswered question, or one the gateway is too busy for, is put again so much later: at least,
and after further ones at most, doubled each time."""
CAME_WITHIN_MS = 3_000
"""What was sent may be under way so long when the answer is here already."""
ANSWER_MAX_MS = 900_000
"""A question that was accepted is over by then: the gateway gives up after 600 s without moving."""
FRUITLESS_MAX = 3


@dataclass(slots=True)
class _Question:
    """What is asked for. done_ms: when the gateway said that all of it was sent."""

    name: str
    epoch: Epoch
    span: Span
    start: str
    asked_ms: int
    accepted: bool = False
    done_ms: int | None = None


class Repair:
    """One gateway's gaps."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._question: _Question | None = None
        self._not_before_ms = 0
        self._wait_ms = AGAIN_MS[0]
        self._fruitless: dict[Epoch, tuple[int, int]] = {}
        self._given_up: set[Epoch] = set()
        self._forbidden = False
        self._probed = ""
        self._working = False
        self._came = 0

    def came(self) -> None:
        """A message that was asked for is here."""
        self._came += 1

    # --- what to ask --------------------------------------------------------------------------

    def next(self, at_ms: int) -> dict[str, Json] | None:
        """The target of the resend to ask for now; None: nothing, or not now.

        Give the command that was made of it to `asked`.
        """
        last = self._site.life.last
        if last is None or self._forbidden or self._site.life.lost:
            return None
        self._look(last, at_ms)
        if self._question is not None or at_ms < self._not_before_ms:
            return None
        found = self._wanted(last, at_ms)
        if found is None:
            return None
        (stream, ledger, number), (first, to) = found
        of: dict[str, Json] = {"stream": stream.value, "ledger": ledger, "epoch": number}
        return {**of, "from": first, "to": to}

    def _wanted(self, last: Heartbeat, at_ms: int) -> tuple[Epoch, Span] | None:
        for epoch, spans in self._site.lacking(at_ms):
            if epoch not in self._given_up:
                return self._first_of_all(last) or (epoch, _one(spans))
        if self._working:
            self._working = False
            text = f"what this gateway still holds is here: {self._came} messages came again"
            self._site.find(FindingKind.REPAIRED, text)
        return None

    def _first_of_all(self, last: Heartbeat) -> tuple[Epoch, Span] | None:
        """Alarms before the log: where no alarm was ever heard of, the answer names the last."""
        if last.start == self._probed:
            return None
        self._probed = last.start
        heard = any(
            run.key.stream is Stream.ALARM and run.key.ledger == last.ledger and run.head
            for run in self._site.runs.values()
        )
        return None if heard else ((Stream.ALARM, last.ledger, last.epoch), (1, 1))

    def asked(self, name: str, target: Mapping[str, Any], at_ms: int) -> None:
        """A command of that id was made of a target of `next`."""
        assert self._site.life.last is not None
        if not self._working:
            self._working, self._came = True, 0
            text = "numbers are missing here: the gateway is asked for what it still holds"
            self._site.find(FindingKind.REPAIRING, text)
        epoch = Stream(target["stream"]), target["ledger"], target["epoch"]
        span = (target["from"], target["to"])
        start = self._site.life.last.start
        self._question = _Question(name, epoch, span, start, at_ms)

    def due_ms(self) -> int | None:
        """When `next` may have something to say, beside after every heartbeat; None: only then."""
        question = self._question
        if question is not None and question.done_ms is not None:
            return question.done_ms + CAME_WITHIN_MS
        return self._not_before_ms if self._working and question is None else None

    # --- what is answered ---------------------------------------------------------------------

    def heard(self, message: OpenedMessage, at_ms: int) -> None:
        """A message about a command, or about what is gone; those of others are passed over."""
        if message.type == "state.gone":
            self.gone(message.data)
        question = self._question
        if question is None or message.data.get("command") != question.name:
            return
        match message.type.rpartition(".")[2]:
            case "accepted":
                question.accepted = True
            case "done":
                question.done_ms = at_ms
                self._earlier(question, message.data.get("earlier"))
                self._conclude(question, at_ms)
            case "failed":
                self._later(at_ms)
            case "refused":
                self._refused(message.data, at_ms)

    def gone(self, data: Mapping[str, Any]) -> None:
        """What a `state.gone` says: those numbers are asked for no more."""
        epoch, start = _epoch(data), data.get("start", "")
        if epoch is not None and isinstance(start, str):
            self._site.gone(epoch, start, spans_of(data.get("ranges")))

    def _earlier(self, question: _Question, told: Any) -> None:
        """The gateway says what it holds from before the epoch that was asked for."""
        if not isinstance(told, Mapping):
            return
        epoch = _epoch({**told, "stream": question.epoch[0].value})
        head = told.get("to")
        if epoch is not None and type(head) is int and 1 <= head <= NUMBER_MAX:
            self._site.name(epoch, head, history=True)

    def _refused(self, data: Mapping[str, Any], at_ms: int) -> None:
        why = str(data.get("why", ""))
        if "may not ask" in why:
            self._forbidden = True
            text = "this centre's key may not ask for it: give it `resend` in the configuration"
            self._site.find(FindingKind.NOT_REPAIRED, text)
        self._later(at_ms)

    # --- what becomes of a question -----------------------------------------------------------

    def _look(self, last: Heartbeat, at_ms: int) -> None:
        question = self._question
        if question is None:
            return
        if question.done_ms is not None:
            self._conclude(question, at_ms)
            return
        patience_ms = ANSWER_MAX_MS if question.accepted else AGAIN_MS[0]
        if question.start != last.start or at_ms - question.asked_ms > patience_ms:
            self._later(at_ms)

    def _conclude(self, question: _Question, at_ms: int) -> None:
        """All was sent: go on when it has come, and give up what never does."""
        left = self._left(question)
        assert question.done_ms is not None
        if left and at_ms - question.done_ms < CAME_WITHIN_MS:
            return
        self._question = None
        self._not_before_ms = at_ms + PAUSE_MS
        self._wait_ms = AGAIN_MS[0]
        before, count = self._fruitless.pop(question.epoch, (0, 0))
        if not left:
            return
        count = count + 1 if left == before else 1
        self._fruitless[question.epoch] = left, count
        if count >= FRUITLESS_MAX:
            self._given_up.add(question.epoch)
            stream, _, number = question.epoch
            text = (
                f"{stream.value} stream, epoch {number}: {spans_text([question.span])} was sent, as"
                " the gateway says, and does not come: may it publish on the resend topic?"
            )
            self._site.find(FindingKind.NOT_REPAIRED, text)

    def _left(self, question: _Question) -> int:
        """How many of the numbers asked for are still missing."""
        first, to = question.span
        spans = dict(self._site.lacking(question.asked_ms)).get(question.epoch, ())
        return sum(max(0, min(b, to) - max(a, first) + 1) for a, b in spans)

    def _later(self, at_ms: int) -> None:
        self._question = None
        self._not_before_ms = at_ms + self._wait_ms
        self._wait_ms = min(2 * self._wait_ms, AGAIN_MS[1])


def _one(spans: tuple[Span, ...]) -> Span:
    """The first gap with those near to it, ASK_MAX numbers at most."""
    first, to = spans[0]
    for following, last in spans[1:]:
        if following - to > NEAR:
            break
        to = last
    return first, min(to, first + ASK_MAX - 1)


def _epoch(data: Mapping[str, Any]) -> Epoch | None:
    """Stream, ledger and epoch as a message names them; None when it names none."""
    stream, ledger, epoch = (data.get(name) for name in ("stream", "ledger", "epoch"))
    if not isinstance(ledger, str) or type(epoch) is not int:
        return None
    return next(((known, ledger, epoch) for known in Stream if known.value == stream), None)
