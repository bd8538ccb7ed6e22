"""A centre on the network: every uplink of its route at once, one disk, signed receipts back.

The far ends' only MQTT (aiomqtt). Owns connections, the order commit-then-receipt, and the faults
a far end can have: deaf, slow, repeating. What a token means is `core`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import aiomqtt

from gateway.core.model import AlarmState, Json
from gateway.core.premises import UplinkSpec
from simulators.centre.core.core import CentreCore
from simulators.centre.core.orders import NotHeard, Ordered
from simulators.centre.core.words import (
    Answer,
    Finding,
    FindingKind,
    Outcome,
    Outgoing,
    Stored,
    Verdict,
)
from simulators.centre.link import Access, arrived, dialled, listen
from simulators.centre.manner import AutoAnswer, Manner
from simulators.centre.store import CentreStore

__all__ = ["AutoAnswer", "CentreClient", "Manner", "steady_utc_ms"]

BATCH_MAX = 500
"""Messages in one commit: a drain is bound by syncs, and memory by this."""
COMMITS_APART_S = 0.02
"""Under load messages share a commit and a receipt; an alarm of now waits for no company."""
OUTGOING_MAX = 1_000
"""What overflows is dropped: without a receipt the gateway offers it again."""
BACK_OFF_S = (0.1, 0.5)
STORE_RETRY_S = 0.5
ASK_AGAIN_MS = 200
OPERATOR = 1


def steady_utc_ms() -> Callable[[], int]:
    """A clock for `at_ms`: UTC as it is now, and from then on by the monotonic clock alone."""
    base_ns = time.time_ns() - time.monotonic_ns()
    return lambda: (base_ns + time.monotonic_ns()) // 1_000_000


def _ignore(*_: object) -> None:
    """The callback of somebody who does not want to know."""


class CentreClient:
    """Runs a CentreCore over MQTT. Everything happens on the loop that `run` runs on."""

    def __init__(
        self,
        core: CentreCore,
        store: CentreStore,
        *,
        gateways: Sequence[str],
        uplinks: Sequence[UplinkSpec],
        access: Access | None = None,
        manner: Manner | None = None,
        resend: bool = False,
        on_line: Callable[[Verdict], None] = _ignore,
        on_stored: Callable[[Verdict], None] = _ignore,
        on_finding: Callable[[Finding], None] = _ignore,
        on_refused: Callable[[str, str, str, int], None] = _ignore,
        on_link: Callable[[str, str], None] = _ignore,
        on_presence: Callable[[str, str, bool], None] = _ignore,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        """`core` has been restored from `store`. resend: ask for what is missing.

        on_line: a believed message, at once. on_stored: the same, once it is on disk. on_refused:
        why, gateway, uplink, at_ms. on_link: an uplink's name, and what became of its connection.
        on_presence: gateway, uplink, and whether its broker thinks it is there: unsigned, a hint.
        """
        self.core = core
        self._store = store
        self._gateways = tuple(gateways)
        self._uplinks = tuple(uplinks)
        self._access = access if access is not None else Access()
        self._manner = manner if manner is not None else Manner()
        self._deaf = self._manner.deaf
        self._resend = resend
        self._on_line = on_line
        self._on_stored = on_stored
        self._on_finding = on_finding
        self._on_refused = on_refused
        self._on_link = on_link
        self._on_presence = on_presence
        self._now_ms = now_ms if now_ms is not None else steady_utc_ms()
        self._links: dict[str, asyncio.Queue[tuple[str, bytes]]] = {}
        self._link_said: dict[str, str] = {}
        self._verdicts: list[Verdict] = []
        self._answers: list[Answer] = []
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._beaten = asyncio.Event()
        self._ready = asyncio.Event()

    # --- what a desk does -----------------------------------------------------------------

    def acknowledge(self, alarm: str, operator: int = OPERATOR) -> bool:
        """Somebody has seen it. False when that was said before; KeyError: no such alarm here."""
        return self.say(alarm, AlarmState.ACKNOWLEDGED, operator)

    def dispatch(self, alarm: str, operator: int = OPERATOR) -> bool:
        """Somebody is on the way; else as `acknowledge`."""
        return self.say(alarm, AlarmState.DISPATCHED, operator)

    def close(self, alarm: str, operator: int = OPERATOR) -> bool:
        """It is over; else as `acknowledge`."""
        return self.say(alarm, AlarmState.CLOSED, operator)

    def say(self, alarm: str, state: AlarmState, operator: int = OPERATOR) -> bool:
        """Any answer on an alarm; else as `acknowledge`."""
        answer = self.core.answer(alarm, state, operator, self._now_ms())
        if answer is None:
            return False
        self._answers.append(answer)
        self._work.set()
        self._hurry.set()
        return True

    def command(
        self, verb: str, target: Mapping[str, Json], *, gateway: str | None = None
    ) -> Ordered:
        """Ask a gateway (None: the only one) for something, on every uplink that is up.

        The answers come as messages. Raises NotHeard while there is nobody to ask.
        """
        name = gateway if gateway is not None else self._gateways[0]
        if not self._links:
            raise NotHeard(f"{name} cannot be reached: no uplink is up")
        orders, at_ms = self.core.orders, self._now_ms()
        ordered = orders.sealed(
            orders.draft(name, verb, target, name=str(uuid.uuid4()), at_ms=at_ms)
        )
        self._ask(ordered)
        return ordered

    def _ask(self, ordered: Ordered) -> None:
        for uplink in self._links:
            self._say(uplink, ordered.topic, ordered.token)

    def _ask_for_missing(self) -> None:
        """Put the questions that are due, once they can be heard."""
        if self._resend and self._links and not self._deaf:
            for ordered in self.core.requests(self._now_ms(), lambda: str(uuid.uuid4())):
                self._ask(ordered)

    async def reachable(self) -> None:
        """Return once the first heartbeat has come: from then on something can be asked."""
        await self._ready.wait()

    def deaf(self, deaf: bool) -> None:  # noqa: FBT001 -- it reads as a sentence where it is called
        """Stop answering anything at all, or begin again; it goes on receiving and storing."""
        self._deaf = deaf

    @property
    def connected(self) -> tuple[str, ...]:
        """The uplinks it listens on now."""
        return tuple(self._links)

    # --- running --------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen, store and answer until cancelled."""
        self.core.watch(self._now_ms())
        with ThreadPoolExecutor(1, thread_name_prefix="centre-store") as disk:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commit_for_ever(disk), name="commit")
                tasks.create_task(self._wake_for_ever(), name="wake")
                for spec in self._uplinks:
                    tasks.create_task(self._listen_for_ever(spec), name=f"uplink {spec.id}")

    async def _listen_for_ever(self, spec: UplinkSpec) -> None:
        back_off_s, most_s = BACK_OFF_S
        wait_s = back_off_s
        while True:
            try:
                async with dialled(spec, self._access, alarms_first=True) as client:
                    wait_s = back_off_s
                    await self._serve(spec, client)
            except (aiomqtt.MqttError, OSError) as exc:
                self._link(spec.id, f"down: {exc}")
            _stop_if_told()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, most_s)

    def _link(self, uplink: str, text: str) -> None:
        """Say a change of an uplink's health once each way."""
        if self._link_said.get(uplink) != text:
            self._link_said[uplink] = text
            self._on_link(uplink, text)

    async def _serve(self, spec: UplinkSpec, client: aiomqtt.Client) -> None:
        """Receive and answer on one connection until it ends."""
        queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(OUTGOING_MAX)
        await listen(client, self._gateways, self.core.route)
        _stop_if_told()
        self._links[spec.id] = queue
        self._link(spec.id, "up")
        lost = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish_for_ever(client, queue), name=f"out {spec.id}")
                async for message in arrived(client):
                    self._take(spec.id, message)
        except* aiomqtt.MqttError as group:
            lost = str(group.exceptions[0])
        finally:
            self._links.pop(spec.id, None)
        if lost:  # raised here and not above, where it would come out wrapped in a group
            raise aiomqtt.MqttError(lost)

    async def _publish_for_ever(
        self, client: aiomqtt.Client, queue: asyncio.Queue[tuple[str, bytes]]
    ) -> None:
        while True:
            topic, token = await queue.get()
            for _ in range(self._manner.repeat):
                await client.publish(topic, token, qos=1, retain=False)
                _stop_if_told()

    # --- in -------------------------------------------------------------------------------

    def _take(self, uplink: str, message: aiomqtt.Message) -> None:
        """Judge one message at once; what must be stored waits for the next commit."""
        at_ms = self._now_ms()
        parts = message.topic.value.split("/")
        token = message.payload
        if len(parts) == 4 and isinstance(token, bytes):
            self._on_presence(parts[2], uplink, b'"present":true' in token)
            return
        if len(parts) != 5 or not isinstance(token, bytes):
            self._on_refused("no bytes on a topic of ours", "-", uplink, at_ms)
            return
        _, _, gateway, route, leaf = parts
        if leaf == "heartbeat":
            self._take_beat(uplink, gateway, route, token, at_ms, retained=bool(message.retain))
            return
        resent = leaf == "resend"
        verdict = self.core.receive(gateway, route, uplink, token, at_ms, resent=resent)
        if verdict.outcome is Outcome.REFUSED:
            self._on_refused(verdict.why, gateway, uplink, at_ms)
            return
        self._on_line(verdict)
        self._verdicts.append(verdict)
        self._work.set()
        if verdict.message is not None and verdict.message.alarm and not verdict.late:
            self._hurry.set()

    def _take_beat(
        self, uplink: str, gateway: str, route: str, token: bytes, at_ms: int, *, retained: bool
    ) -> None:
        if retained:
            self._on_refused("a retained heartbeat proves nothing", gateway, uplink, at_ms)
            return
        beat = self.core.beat(gateway, route, uplink, token, at_ms)
        if beat.why:
            self._on_refused(beat.why, gateway, uplink, at_ms)
        for finding in beat.findings:
            self._on_finding(finding)
        if beat.receipt is not None:
            self._send(beat.receipt)
            self._ready.set()
        self._beaten.set()

    # --- commit, then answer --------------------------------------------------------------

    async def _commit_for_ever(self, disk: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            self._work.clear()
            while self._verdicts or self._answers:
                self._hurry.clear()
                batch, self._verdicts = self._verdicts[:BATCH_MAX], self._verdicts[BATCH_MAX:]
                answers, self._answers = self._answers, []
                rows = [verdict.row for verdict in batch if verdict.row is not None]
                try:
                    if rows or answers:
                        await loop.run_in_executor(disk, self._store.add, rows, answers)
                except sqlite3.Error as exc:
                    self._not_stored(rows, answers, exc)
                    await asyncio.sleep(STORE_RETRY_S)
                else:
                    self._settle(batch, rows, answers)
                    # never wait_for: it may forget a cancellation, as _stop_if_told tells
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(COMMITS_APART_S):
                            await self._hurry.wait()

    def _not_stored(
        self, rows: Sequence[Stored], answers: Sequence[Answer], exc: sqlite3.Error
    ) -> None:
        """Nothing of it is receipted: messages come again by themselves, answers are kept."""
        for row in rows:
            self.core.failed(row)
        self._answers[:0] = answers
        text = f"the store takes nothing, so nothing is receipted: {exc}"
        self._on_finding(Finding(FindingKind.STORE, "-", text))

    def _settle(
        self, batch: Sequence[Verdict], rows: Sequence[Stored], answers: Sequence[Answer]
    ) -> None:
        for row in rows:
            self.core.stored(row)
        for verdict in batch:
            if verdict.row is not None:
                self._on_stored(verdict)
        for outgoing in self.core.receipts_for(batch):
            self._send(outgoing)
        for answer in answers:
            for outgoing in self.core.answered(answer):
                self._send(outgoing)
        self._answer_by_itself(rows, answers)
        self._beaten.set()

    def _answer_by_itself(self, rows: Sequence[Stored], answers: Sequence[Answer]) -> None:
        """The simulated desk: acknowledge what was just stored, close what was acknowledged."""
        if self._manner.answer is AutoAnswer.NONE:
            return
        for row in rows:
            new = row.type.startswith("alarm.") and row.type.endswith(".raised") and not row.over
            if new and row.alarm:
                self.acknowledge(row.alarm)
        for answer in answers:
            if self._manner.answer is AutoAnswer.CLOSE and answer.state is not AlarmState.CLOSED:
                self.close(answer.alarm)

    def _send(self, outgoing: Outgoing) -> None:
        if not self._deaf:
            self._say(outgoing.uplink, outgoing.topic, outgoing.token)

    def _say(self, uplink: str, topic: str, token: bytes) -> None:
        """Publish on one uplink, in this centre's manner."""
        if self._manner.slow_ms:
            loop = asyncio.get_running_loop()
            loop.call_later(self._manner.slow_ms / 1_000, self._queue, uplink, topic, token)
        else:
            self._queue(uplink, topic, token)

    def _queue(self, uplink: str, topic: str, token: bytes) -> None:
        queue = self._links.get(uplink)
        if queue is not None:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait((topic, token))

    # --- silence --------------------------------------------------------------------------

    async def _wake_for_ever(self) -> None:
        """Notice what did not come. Whatever comes may move the next moment to look."""
        while True:
            moments = [self.core.deadline()]
            asking_ms = self.core.request_due() if self._resend else None
            if asking_ms is not None:  # one that cannot be put now is not to be tried without end
                moments.append(max(asking_ms, self._now_ms() + ASK_AGAIN_MS))
            deadline_ms = min((ms for ms in moments if ms is not None), default=None)
            wait_s = None if deadline_ms is None else (deadline_ms - self._now_ms()) / 1_000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._beaten.wait()
            self._beaten.clear()
            self._ask_for_missing()
            for finding in self.core.wake(self._now_ms()):
                self._on_finding(finding)


def _stop_if_told() -> None:
    """Be cancelled after all.

    aiomqtt waits by asyncio.wait_for, which in Python 3.11 forgets a
    cancellation that meets the answer; and its goodbye may time out over one.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
