"""What a centre does with tokens: one class to embed in a monitoring service, or to port.

No MQTT, no screen, no clock, no disk: bytes and the time go in, verdicts and signed receipts come
out. `at_ms` is always the receiver's UTC in milliseconds by a clock that never steps. In order:

1. `CentreCore(route, gateways, signer)`, `restore(rows, answers)` from the store, `watch(at_ms)`.
2. A token on `…/alarm`, `…/log` or `…/resend`: `receive` at once. Show the verdict at once: a gap
   or a broken chain is marked in it, and never a reason to wait.
3. Commit `verdict.row` where there is one (many in one transaction is well), synced to disk.
   ONLY THEN `stored(row)`; when the commit failed, `failed(row)`: the gateway offers it again.
4. `receipts_for(verdicts)` of that batch, copies included, and publish what it gives (QoS 1, not
   retained). A receipt before the commit would be a lie; after `stored` it cannot be one.
5. A token on `…/heartbeat`: `beat`; publish its receipt on the same uplink within 4 s, whether or
   not a commit is under way. Show its findings.
6. At `deadline()` call `wake(at_ms)` and show its findings: a gateway lost, numbers missing.
7. A person answers: `answer`, commit the Answer, `answered(answer)`, publish. It is repeated with
   every heartbeat that still lists the alarm as open, until the gateway has heard it.
8. A person asks for something: `orders` makes a command; publish it on every uplink (QoS 1, not
   retained). Its answers come as messages `state.command.…`.
9. Whenever something came, and at `request_due()`: publish what `requests` asks for in the same
   way. What is missing comes on `…/resend`: `receive(…, resent=True)`. Such a verdict is
   `history`, to be kept and not shouted, unless its alarm is open still.

Bounded: per gateway the spans of numbers held, KEPT_DIGESTS hashes and KEPT_EVENTS ids a stream,
and the alarms that are open; a copy older than the hashes is still known by its number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from gateway.core.jws import SigningKey, TokenRefused, TokenType, VerifyKey, seal
from gateway.core.message import TYPE_PREFIX, receipt_payload, rfc3339
from gateway.core.model import AlarmState, AlarmWord, Receipt, Stream, StreamKey
from gateway.core.verbs import Verb
from simulators.centre.core.judging import judged
from simulators.centre.core.orders import Ordered, Orders
from simulators.centre.core.reading import open_heartbeat, open_message
from simulators.centre.core.repair import Repair
from simulators.centre.core.site import Site
from simulators.centre.core.words import (
    Alarm,
    Answer,
    Beat,
    Finding,
    FindingKind,
    Outcome,
    Outgoing,
    Stored,
    Verdict,
    remember,
    unsealed,
)

_SAID = frozenset({"acknowledged", "dispatched", "closed"})
KEPT_CLOSED = 1_000
ALSO_MAX = 64
WORDS_MAX = 100
"""Ranges and words in one receipt: about 14 kB together, well under the token limit."""


class CentreCore:
    """One route's centre: what it holds of every gateway, and what it may say of it."""

    def __init__(
        self,
        route: str,
        gateways: Mapping[str, Sequence[VerifyKey]],
        signer: SigningKey,
        *,
        intervals_ms: Mapping[str, int] | None = None,
    ) -> None:
        """`gateways`: the keys believed for each gateway id. `signer`: this centre's own key.

        intervals_ms: heartbeat interval by uplink name, 5,000 where it is not named.
        """
        self.route = route
        self.orders = Orders(route, signer)
        self._signer = signer
        self._sites = {
            gateway: Site(gateway, {key.kid: key for key in keys}, intervals_ms or {})
            for gateway, keys in gateways.items()
        }
        self._repairs = {gateway: Repair(site) for gateway, site in self._sites.items()}
        self._alarms: dict[str, Alarm] = {}
        self._over: OrderedDict[str, None] = OrderedDict()
        self._cleared_first: OrderedDict[str, None] = OrderedDict()

    # --- messages -------------------------------------------------------------------------

    def receive(
        self,
        gateway: str,
        route: str,
        uplink: str,
        token: bytes,
        at_ms: int,
        *,
        resent: bool = False,
    ) -> Verdict:
        """Judge a token that came for `gateway` and `route` (both from the topic) over `uplink`.

        resent: it came on `…/resend`. A verdict with a `row` asks for a commit. Never raises for
        what a token holds.
        """
        try:
            site = self._site(gateway, route)
            message = open_message(token, gateway=gateway, route=route, keys=site.keys)
        except TokenRefused as exc:
            return Verdict(Outcome.REFUSED, gateway, uplink, at_ms, why=str(exc))
        site.uplinks[uplink] = None
        if message.type == "state.command.refused":
            self.orders.refused(message.data)
        self._repairs[gateway].heard(message, at_ms)
        verdict = judged(site, message, token, uplink=uplink, at_ms=at_ms, resent=resent)
        if resent and verdict.outcome is Outcome.NEW:
            self._repairs[gateway].came()
        return verdict

    def _site(self, gateway: str, route: str) -> Site:
        site = self._sites.get(gateway)
        if site is None:
            raise TokenRefused("no such gateway is known here")
        if route != self.route:
            raise TokenRefused("sent to another route's topic")
        return site

    def stored(self, row: Stored) -> None:
        """The row is durably on disk: from now on receipts cover it."""
        self._sites[row.gateway].hold(row)
        if row.type.startswith("alarm.") and row.alarm is not None:
            self._note_alarm(row, row.alarm)
        elif row.type.startswith("state.alarm.") and row.alarm in self._alarms:
            self._own_word(row, row.alarm)

    def failed(self, row: Stored) -> None:
        """The row could not be stored: it counts as never received, so it will be offered again."""
        self._sites[row.gateway].drop(row)

    def restore(self, rows: Iterable[Stored], answers: Iterable[Answer] = ()) -> None:
        """Rebuild from the store, both in the order they were stored, before anything is received.

        Rows of gateways that are no longer configured are passed over.
        """
        for row in rows:
            site = self._sites.get(row.gateway)
            if site is not None:
                site.first_sight(row.event)
                site.forked(row.key.ledger, row.key.epoch, row.key.start)
                site.origin.stored(row)
                site.take(row)
                self.stored(row)
                if row.type == "state.gone":
                    self._repairs[row.gateway].gone(unsealed(row.token)["data"])
        for answer in answers:
            if answer.alarm in self._alarms:
                self._say(answer)

    # --- alarms and answers ---------------------------------------------------------------

    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that still need someone, oldest first."""
        return tuple(alarm for alarm in self._alarms.values() if not alarm.over)

    def answer(self, alarm: str, state: AlarmState, operator: int, at_ms: int) -> Answer | None:
        """What a person says of an alarm, to be committed and then given to `answered`.

        None when it would move the alarm back or leave it where it is. KeyError: no such alarm.
        """
        if state.rank <= self._alarms[alarm].word.state.rank:
            return None
        return Answer(alarm, state, operator, rfc3339(at_ms))

    def answered(self, answer: Answer) -> tuple[Outgoing, ...]:
        """The answer is durable: the receipts that say so, one for every uplink seen in use."""
        alarm = self._say(answer)
        site = self._sites[alarm.gateway]
        last = site.life.last
        key = alarm.key
        if last is not None:
            key = StreamKey(self.route, Stream.ALARM, last.ledger, last.epoch, last.start)
        return tuple(
            self.receipt(alarm.gateway, key, uplink, words=(alarm.word,)) for uplink in site.uplinks
        )

    def _say(self, answer: Answer) -> Alarm:
        alarm = self._alarms[answer.alarm]
        if answer.state.rank > alarm.word.state.rank:
            word = AlarmWord(alarm.id, answer.state, answer.operator, answer.at)
            alarm = self._put(replace(alarm, word=word))
        return alarm

    def _put(self, alarm: Alarm) -> Alarm:
        """Keep an alarm; of those that are over the KEPT_CLOSED latest."""
        self._alarms[alarm.id] = alarm
        if alarm.over:
            self._over[alarm.id] = None
            self._over.move_to_end(alarm.id)
        while len(self._over) > KEPT_CLOSED:
            del self._alarms[self._over.popitem(last=False)[0]]
        return alarm

    def _note_alarm(self, row: Stored, name: str) -> None:
        known = self._alarms.get(name)
        if row.type.endswith(".cleared"):
            if known is not None:
                self._put(replace(known, cleared=True))
            else:  # its raising message is behind a gap
                remember(self._cleared_first, name, None, KEPT_CLOSED)
        elif known is None:
            payload = unsealed(row.token)
            place = payload["data"].get("place")
            alarm = Alarm(
                id=name,
                gateway=row.gateway,
                key=row.key,
                type=payload["type"].removeprefix(TYPE_PREFIX),
                subject=payload["subject"],
                status=payload["data"]["status"],
                place=place if isinstance(place, dict) else {},
                time=payload["time"],
                word=AlarmWord(name, AlarmState.RECEIVED, None, rfc3339(row.received_ms)),
                cleared=row.over or name in self._cleared_first,
            )
            self._put(alarm)

    def _own_word(self, row: Stored, name: str) -> None:
        """What this route's own people said once: the gateway remembers it where we have not."""
        data = unsealed(row.token)["data"]
        state, operator = row.type.rpartition(".")[2], data.get("operator")
        if data.get("route") == self.route and state in _SAID and type(operator) is int:
            at = data.get("at")
            said = at if isinstance(at, str) else rfc3339(row.received_ms)
            self._say(Answer(name, AlarmState(state), operator, said))

    # --- receipts -------------------------------------------------------------------------

    def receipts_for(self, verdicts: Iterable[Verdict]) -> tuple[Outgoing, ...]:
        """One receipt for each stream and uplink of a batch whose rows have been stored.

        Copies belong in the batch: the gateway sends them because a receipt was lost, so each is
        answered on the uplink that brought it, with the present word on its alarm.
        """
        batches: dict[tuple[str, StreamKey, str], tuple[list[int], dict[str, None]]] = {}
        for verdict in verdicts:
            message = verdict.message
            if message is not None:
                batch = (verdict.gateway, message.key, verdict.uplink)
                numbers, alarms = batches.setdefault(batch, ([], {}))
                numbers.append(message.sequence)
                if message.alarm in self._alarms and message.type.startswith("alarm."):
                    alarms[message.alarm] = None
        return tuple(
            outgoing
            for (gateway, key, uplink), (numbers, alarms) in batches.items()
            for outgoing in self._in_parts(gateway, key, uplink, numbers, list(alarms))
        )

    def _in_parts(
        self, gateway: str, key: StreamKey, uplink: str, numbers: list[int], alarms: list[str]
    ) -> Iterable[Outgoing]:
        for first in range(0, max(1, len(alarms)), WORDS_MAX):
            words = tuple(self._alarms[name].word for name in alarms[first : first + WORDS_MAX])
            yield self.receipt(gateway, key, uplink, numbers=numbers, words=words)

    def receipt(
        self,
        gateway: str,
        key: StreamKey,
        uplink: str,
        *,
        numbers: Sequence[int] = (),
        beat: int | None = None,
        words: tuple[AlarmWord, ...] = (),
    ) -> Outgoing:
        """A signed receipt for what is on disk of one run; `numbers` are those it must cover.

        Behind many gaps it names at most ALSO_MAX ranges, those with `numbers` first; the rest
        is covered when it is offered again.
        """
        held = self._sites[gateway].run(key).held
        beyond = list(held.beyond)
        if len(beyond) > ALSO_MAX:
            wanted = [s for s in beyond if any(s[0] <= number <= s[1] for number in numbers)]
            beyond = sorted(dict.fromkeys([*wanted, *beyond][:ALSO_MAX]))
        receipt = Receipt(
            gateway=gateway,
            key=key,
            through=held.through,
            also=tuple(beyond),
            beat=beat,
            alarms=words,
        )
        token = seal(TokenType.RECEIPT, receipt_payload(receipt), self._signer)
        return Outgoing(uplink, receipt, token)

    # --- signs of life --------------------------------------------------------------------

    def beat(self, gateway: str, route: str, uplink: str, token: bytes, at_ms: int) -> Beat:
        """Judge a heartbeat that came over `uplink`; its `receipt` is the echo to send back.

        The echo repeats what people have answered on alarms the heartbeat still lists as open.
        """
        try:
            site = self._site(gateway, route)
            beat = open_heartbeat(token, keys=site.keys)
        except TokenRefused as exc:
            return Beat(gateway, uplink, why=str(exc))
        why, findings = site.life.beat(beat, uplink, at_ms)
        if why:
            return Beat(gateway, uplink, why=why, heartbeat=beat)
        site.uplinks[uplink] = None
        if site.life.last is beat:
            self.orders.heard(gateway, beat, at_ms)
        if site.forked(beat.ledger, beat.epoch, beat.start):
            text = f"epoch {beat.epoch} was started twice: a copied card, or an old one put back?"
            findings.append(Finding(FindingKind.FORK, gateway, text))
        for stream, head in beat.heads.items():
            key = StreamKey(self.route, stream, beat.ledger, beat.epoch, beat.start)
            site.name_head(key, head)
        site.origin.beat(beat, site.life.sent_ms(beat, at_ms), at_ms)
        findings += site.findings(at_ms)
        key = StreamKey(self.route, Stream.ALARM, beat.ledger, beat.epoch, beat.start)
        words = [self._alarms[name].word for name in beat.open if name in self._alarms]
        spoken = tuple(word for word in words if word.state is not AlarmState.RECEIVED)
        echo = self.receipt(gateway, key, uplink, beat=beat.number, words=spoken[:WORDS_MAX])
        return Beat(gateway, uplink, heartbeat=beat, receipt=echo, findings=tuple(findings))

    def watch(self, at_ms: int) -> None:
        """The centre listens from now on: a gateway that never speaks is lost too."""
        for site in self._sites.values():
            site.life.watch(at_ms)

    def deadline(self) -> int | None:
        """When `wake` may have something to say, in the time of `at_ms`; None: nothing pending."""
        moments = []
        for site in self._sites.values():
            moments.append(None if site.life.lost else site.life.lost_at_ms)
            moments += [site.doubt_deadline(), site.origin.deadline()]
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, at_ms: int) -> tuple[Finding, ...]:
        """What silence says at `at_ms`: gateways lost, numbers that never came."""
        found: list[Finding] = []
        for site in self._sites.values():
            found += site.life.wake(at_ms)
            found += site.findings(at_ms)
        return tuple(found)

    # --- what is missing here -------------------------------------------------------------

    def requests(self, at_ms: int, new_id: Callable[[], str]) -> tuple[Ordered, ...]:
        """Resend commands to publish now, on every uplink of their gateway: one at a time each.

        new_id: ids never used before. A centre that never calls this asks for nothing.
        """
        ordered = []
        for gateway, repair in self._repairs.items():
            target = repair.next(at_ms) if self.orders.knows(gateway) else None
            if target is not None:
                name = new_id()
                draft = self.orders.draft(gateway, Verb.RESEND, target, name=name, at_ms=at_ms)
                ordered.append(self.orders.sealed(draft))
                repair.asked(name, target, at_ms)
        return tuple(ordered)

    def request_due(self) -> int | None:
        """When `requests` may have something to ask, beside after every heartbeat and batch."""
        due = (repair.due_ms() for repair in self._repairs.values())
        return min((moment for moment in due if moment is not None), default=None)
