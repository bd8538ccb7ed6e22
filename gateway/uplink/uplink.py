"""Keeps one MQTT link up: connect, hold, back off, again; and says so once each way.

Owns no message: what is owed stands in the ledger, and a publish while the link is down is answered
LOST. Waits only on the Clock it was given and draws only from the dice it was given, so that it
replays under virtual time. The words and the contract of a connection are `link.py`'s.
"""

from __future__ import annotations

import asyncio
import random as dice
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_base

from gateway.clock import Clock, Timer
from gateway.core.premises import UplinkSpec
from gateway.uplink.link import Ack, Connection, Connector, OnAck, OnMessage, UplinkError, Will

__all__ = [
    "Ack",
    "BackOff",
    "Connection",
    "Connector",
    "Log",
    "OnAck",
    "OnMessage",
    "Uplink",
    "UplinkError",
    "Will",
]

Log: TypeAlias = Callable[[str, Mapping[str, object]], None]

LEAST_S = 0.05
FIRST_S = 0.2
SPREAD_S = 1.0
"""The first attempt after a loss comes as late as this when no alarm is owed: a whole fleet may
have lost the same broker at the same moment, and each handshake costs it milliseconds."""

URGENT_S = 0.5
LONGEST_S = 30.0
_DOUBLINGS_MAX = 6  # 0.5 s doubled six times is past 30 s

STEADY_S = 10.0
"""A connection that held this long ends an outage; a shorter one counts as a failed attempt."""


_FLAPS_HINT = "it lets us in and hangs up: look at our rights there, and for our id used twice"
_RIGHTS_HINT = "give this gateway's user at the broker the right to publish its own topics"
_DATES_HINT = "let this box have a time server, and look at that certificate's dates at the broker"


class BackOff(wait_base):
    """How long to wait before the next attempt, with full jitter.

    While `urgent()` (an alarm is owed) at most 0.2 s after the first failure, then 0.5 s; else at
    most 1 s, doubling up to 30 s. Never under 0.05 s.
    """

    def __init__(self, random: dice.Random, urgent: Callable[[], bool]) -> None:
        """`random` gives the jitter; `urgent` is asked when a wait begins."""
        self._random = random
        self._urgent = urgent

    def __call__(self, retry_state: RetryCallState) -> float:
        return self.delay_s(retry_state.attempt_number)

    def delay_s(self, failures: int) -> float:
        """The wait after that many failures in a row, at least one."""
        if self._urgent():
            longest_s = FIRST_S if failures <= 1 else URGENT_S
        elif failures <= 1:
            longest_s = SPREAD_S
        else:
            longest_s = min(LONGEST_S, URGENT_S * 2 ** min(failures - 1, _DOUBLINGS_MAX))
        return self._random.uniform(LEAST_S, longest_s)


class Uplink:
    """The supervisor of one link. Run `run()` in a task of its own; `stop()` ends it politely.

    on_up comes after the retained birth was published; each on_up is followed by one on_down,
    unless the link ends by `stop()`. on_down also comes when the very first attempt fails. Answers
    to what was pending come before on_down. on_message may come just before on_up.
    """

    def __init__(
        self,
        spec: UplinkSpec,
        connector: Connector,
        *,
        client_id: str,
        will: Will,
        birth: Will,
        goodbye: Will,
        subscriptions: Sequence[str],
        clock: Clock,
        random: dice.Random,
        on_up: Callable[[Uplink], None],
        on_down: Callable[[Uplink, str], None],
        on_message: Callable[[Uplink, str, bytes, bool], None],
        urgent: Callable[[], bool],
        log: Log,
    ) -> None:
        """Nothing is opened before `run`. client_id: `[A-Za-z0-9_-]` (nats refuses a dot)."""
        self.spec = spec
        self.why = "not connected yet"
        self._connector = connector
        self._client_id = client_id
        self._will, self._birth, self._goodbye = will, birth, goodbye
        self._subscriptions = tuple(subscriptions)
        self._clock = clock
        self._random = random
        self._on_up, self._on_down, self._on_message = on_up, on_down, on_message
        self._urgent = urgent
        self._log = log
        self._connection: Connection | None = None
        self._down_told = False
        self._unsteady = False
        self._down_since_us = 0
        self._attempts = 0
        self._nap: asyncio.Future[None] | None = None
        self._nap_timer: Timer | None = None
        self._nap_ends_us = 0
        self._runner: asyncio.Task[object] | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def id(self) -> str:
        """The uplink's id in the configuration."""
        return self.spec.id

    @property
    def connected(self) -> bool:
        """True between on_up and on_down. When False, `why` says what is in the way."""
        return self._connection is not None and not self._connection.lost.done()

    @property
    def unchecked(self) -> str:
        """Of what the broker's certificate was let off, and why; "" for nothing."""
        return "" if self._connection is None else self._connection.unchecked

    @property
    def unacknowledged(self) -> int:
        """QoS 1 publishes in flight, 0 when not connected."""
        return 0 if self._connection is None else self._connection.unacknowledged

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        on_ack: OnAck | None = None,
    ) -> None:
        """As `Connection.publish`; Ack.LOST when not connected."""
        if self._connection is not None:
            self._connection.publish(topic, payload, qos=qos, retain=retain, on_ack=on_ack)
        elif on_ack is not None:
            asyncio.get_running_loop().call_soon(on_ack, Ack.LOST, "the uplink is down")

    def hurry(self) -> None:
        """An alarm is owed now: a running back-off ends within 0.5 s. Harmless at other times."""
        now_us = self._clock.now_us()
        if self._nap is None or self._nap_ends_us - now_us <= URGENT_S * 1e6:
            return
        self._wake_in(self._random.uniform(LEAST_S, URGENT_S))

    async def run(self) -> None:
        """Keep the link up until cancelled or stopped; no trouble of the network gets out."""
        if self._stopping.is_set() or self._runner is not None:
            return
        self._runner = asyncio.current_task()
        self._down_since_us = self._clock.now_us()
        back_off = BackOff(self._random, self._urgent)
        try:
            while True:
                await AsyncRetrying(
                    wait=back_off,
                    retry=retry_if_exception_type(UplinkError),
                    sleep=self._sleep,
                )(self._connect_and_hold)
                await self._sleep(back_off.delay_s(1))
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            if self._runner is not None:
                self._runner.uncancel()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Say goodbye and end `run`, within about 1 s; harmless when it does not run."""
        if not self._stopping.is_set():
            self._stopping.set()
            if self._runner is not None:
                self._runner.cancel()
        if self._runner is not None:
            await self._ended.wait()

    async def _connect_and_hold(self) -> None:
        """One connection from beginning to end; UplinkError when it failed or was short-lived."""
        self._attempts += 1
        try:
            connection = await self._connector.connect(
                self.spec,
                client_id=self._client_id,
                will=self._will,
                subscriptions=self._subscriptions,
                on_message=self._message,
            )
        except UplinkError as error:
            self._fell(error.reason, error.hint)
            raise
        up_us = self._clock.now_us()
        lost = connection.lost
        try:
            self._rise(connection)
            why = await asyncio.shield(lost)
        finally:
            self._connection = None
            await connection.close(None if lost.done() else self._goodbye)
        self._fell(why, "")
        if self._clock.now_us() - up_us < STEADY_S * 1e6:
            self._flaps(why)
            raise UplinkError(why, "it did not last")

    def _rise(self, connection: Connection) -> None:
        self._connection = connection
        after_s = (self._clock.now_us() - self._down_since_us) / 1e6
        fields = {"uplink": self.id, "after_s": round(after_s, 3), "attempts": self._attempts}
        if self._unsteady:
            steady_us = self._clock.now_us() + int(STEADY_S * 1e6)
            holds = partial(self._holds, connection, fields)
            self._clock.call_at(steady_us, holds, relaxed=True)
        else:
            self._said_up(connection, fields)
        self._down_told = False
        self._attempts = 0
        self.why = ""
        connection.publish(
            self._birth.topic, self._birth.payload, qos=1, retain=True, on_ack=self._born
        )
        self._on_up(self)

    def _flaps(self, why: str) -> None:
        """Said once: a broker that lets us in and throws us out does so several times a second."""
        self.why = f"{why}: {_FLAPS_HINT}"
        if not self._unsteady:
            self._unsteady = True
            self._log("uplink unsteady", {"uplink": self.id, "why": why, "hint": _FLAPS_HINT})

    def _holds(self, connection: Connection, fields: Mapping[str, object]) -> None:
        if self._connection is connection and not connection.lost.done():
            self._unsteady = False
            self._said_up(connection, fields)

    def _said_up(self, connection: Connection, fields: Mapping[str, object]) -> None:
        self._log("uplink up", fields)
        if connection.unchecked:
            warning = {"level": "warning", "uplink": self.id, "why": connection.unchecked}
            self._log("certificate dates unchecked", {**warning, "hint": _DATES_HINT})

    def _born(self, ack: Ack, why: str) -> None:
        if ack is Ack.REFUSED:
            refused = {"level": "warning", "uplink": self.id, "why": why}
            self._log("uplink presence refused", {**refused, "hint": _RIGHTS_HINT})

    def _fell(self, why: str, hint: str) -> None:
        self.why = f"{why}: {hint}" if hint else why
        if self._down_told:
            return
        self._down_told = True
        if not self._attempts:
            self._down_since_us = self._clock.now_us()
        if not self._unsteady:
            self._log("uplink down", {"uplink": self.id, "why": why, "hint": hint})
        self._on_down(self, self.why)

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - OnMessage's shape
        self._on_message(self, topic, payload, retained)

    async def _sleep(self, seconds: float) -> None:
        """A back-off that `hurry` can shorten."""
        self._nap = asyncio.get_running_loop().create_future()
        self._wake_in(seconds)
        try:
            await self._nap
        finally:
            self._nap = None
            if self._nap_timer is not None:
                self._nap_timer.cancel()

    def _wake_in(self, seconds: float) -> None:
        if self._nap_timer is not None:
            self._nap_timer.cancel()
        self._nap_ends_us = self._clock.now_us() + int(seconds * 1e6)
        self._nap_timer = self._clock.call_at(self._nap_ends_us, self._wake, relaxed=True)

    def _wake(self) -> None:
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)
