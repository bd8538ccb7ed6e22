"""The only MQTT: one connection driven through paho's event-loop hooks.

Keeps the contract of `link.py` over the network. Stores nothing and tries nothing twice: a fresh
client and a clean session for each connection, and whatever was pending when it ended is LOST.
Paho itself runs on the event loop only; the one thing that blocks, dialling, is `dial.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.core.premises import UplinkSpec
from gateway.uplink.dial import Dialler, Line, hung_up, unanswered
from gateway.uplink.link import (
    CLOSE_WITHIN_S,
    CONNECT_WITHIN_S,
    GOODBYE_WITHIN_S,
    KEEPALIVE_S,
    Ack,
    Connection,
    OnAck,
    OnMessage,
    UplinkError,
    Will,
    not_heard,
    refused,
)

_WINDOW = 100
"""QoS 1 publishes in flight. Paho's 20 held a drain with receipts to a third of what 100 gives."""

_MISC_EVERY_S = 1.0
_READS_AT_A_TIME = 64
_NO_SUBSCRIBERS = 0x10
_GRANTED_QOS_1 = 1


class _Client(mqtt.Client):
    """Paho's client on a socket that is connected already.

    2.2.0 has no public way to hand one over, nor to choose a network interface (`bind_address` does
    not force the way out), so this overrides one private method; the contract suite guards it.
    """

    ready: socket.socket

    def _create_socket(self) -> mqtt.SocketLike:
        return self.ready


class _PahoConnection:
    """One paho client on one socket, driven by the running loop; dead once `lost` is resolved."""

    def __init__(
        self,
        spec: UplinkSpec,
        line: Line,
        *,
        client_id: str,
        will: Will,
        on_message: OnMessage,
    ) -> None:
        self._spec = spec
        self._sock = line.sock
        self._unchecked = line.unchecked
        self._descriptor = line.sock.fileno()
        self._open = False
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._acks: dict[int, OnAck | None] = {}
        self._waiting: deque[tuple[str, bytes, bool, OnAck | None]] = deque()
        self._window = _WINDOW
        self._on_message = on_message
        self._last_words = ""
        self._misc: asyncio.TimerHandle | None = None
        self._client = self._new_client(client_id)
        self._client.max_inflight_messages_set(_WINDOW)
        self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        if spec.username is not None:
            self._client.username_pw_set(spec.username, line.password)

    def _new_client(self, client_id: str) -> _Client:
        five = self._spec.mqtt == "5"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if five else True,
            protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        client.ready = self._sock
        client.on_socket_open = self._socket_opened
        client.on_socket_close = self._socket_closed
        client.on_socket_register_write = self._write_wanted
        client.on_socket_unregister_write = self._write_done
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_message = self._arrived
        client.on_disconnect = self._disconnected
        client.on_log = self._said
        return client

    # --- the contract -----------------------------------------------------------------------

    @property
    def lost(self) -> asyncio.Future[str]:
        return self._lost

    @property
    def unchecked(self) -> str:
        return self._unchecked

    @property
    def unacknowledged(self) -> int:
        return len(self._acks) + len(self._waiting)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        on_ack: OnAck | None = None,
    ) -> None:
        if qos and (self._waiting or len(self._acks) >= self._window) and not self._lost.done():
            self._waiting.append((topic, payload, retain, on_ack))
        else:
            self._send(topic, payload, qos=qos, retain=retain, on_ack=on_ack)

    def _send(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, on_ack: OnAck | None
    ) -> None:
        ack, why = Ack.ACCEPTED, ""
        if self._lost.done():
            ack, why = Ack.LOST, self._lost.result()
        else:
            try:
                info = self._client.publish(topic, payload, qos, retain)
            except ValueError as error:  # not a topic, or too long
                ack, why = Ack.LOST, f"cannot be sent: {error}"
            else:
                if info.rc != mqtt.MQTT_ERR_SUCCESS:
                    ack, why = Ack.LOST, mqtt.error_string(info.rc)
                elif qos:
                    self._acks[info.mid] = on_ack
                    return
        if on_ack is not None:
            self._loop.call_soon(on_ack, ack, why)

    def _send_waiting(self) -> None:
        while self._waiting and len(self._acks) < self._window and not self._lost.done():
            topic, payload, retain, on_ack = self._waiting.popleft()
            self._send(topic, payload, qos=1, retain=retain, on_ack=on_ack)

    async def close(self, goodbye: Will | None) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    if goodbye is not None and not self._lost.done():
                        await self._say(goodbye)
                    if not self._lost.done():
                        self._client.disconnect()
                        await asyncio.shield(self._lost)
        finally:
            self.abandon("closed")

    async def _say(self, goodbye: Will) -> None:
        taken: asyncio.Future[None] = self._loop.create_future()

        def answered(_ack: Ack, _why: str) -> None:
            if not taken.done():
                taken.set_result(None)

        self.publish(goodbye.topic, goodbye.payload, qos=1, retain=True, on_ack=answered)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                await taken

    # --- beginning and end ------------------------------------------------------------------

    async def establish(self, subscriptions: Sequence[str]) -> None:
        """CONNECT and SUBSCRIBE; UplinkError when refused. The caller bounds the time."""
        self._client.connect(self._spec.host, self._spec.port, KEEPALIVE_S)
        (code,) = await self._answer
        if code.is_failure:
            raise refused(self._spec, code.value, str(code))
        if not subscriptions:
            return
        self._answer = self._loop.create_future()
        self._client.subscribe([(topic, 1) for topic in subscriptions])
        granted = await self._answer
        missing = [
            topic
            for topic, code in zip(subscriptions, granted, strict=True)
            if code.value != _GRANTED_QOS_1
        ]
        if missing:
            raise not_heard(self._spec, missing)

    def abandon(self, why: str) -> None:
        """Drop the socket without a word (the broker then sends the will); harmless when gone."""
        if self._lost.done():
            return
        self._unwatch()
        self._sock.close()
        self._gone(why)

    def _gone(self, why: str) -> None:
        """The one place where a connection ends: answer what is pending, then tell the waiter."""
        if self._lost.done():
            return
        if self._misc is not None:
            self._misc.cancel()
        pending = [*self._acks.values(), *(on_ack for *_, on_ack in self._waiting)]
        self._acks.clear()
        self._waiting.clear()
        for on_ack in pending:
            if on_ack is not None:
                self._loop.call_soon(on_ack, Ack.LOST, why)
        self._lost.set_result(why)
        if not self._answer.done():
            self._answer.set_exception(hung_up(self._last_words, self._spec))
            self._answer.exception()  # seen: an attempt given up meanwhile does not await it

    # --- the loop's side --------------------------------------------------------------------

    def _socket_opened(self, *_: object) -> None:
        self._open = True
        self._loop.add_reader(self._descriptor, self._readable)
        self._misc = self._loop.call_later(_MISC_EVERY_S, self._tick)

    def _socket_closed(self, *_: object) -> None:
        self._unwatch()

    def _unwatch(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)

    def _readable(self) -> None:
        """Read until TLS holds no decrypted bytes back: epoll knows nothing of those."""
        for _ in range(_READS_AT_A_TIME):
            if not self._stepped(self._client.loop_read):
                return
            if not (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
                return
        self._loop.call_soon(self._readable)

    def _write_wanted(self, *_: object) -> None:
        self._loop.call_soon(self._write)  # most packets fit at once: no need to ask epoll first

    def _write(self) -> None:
        # What a broker says before it hangs up must be read first: once a write has failed, paho
        # closes the socket and its last words are lost.
        self._readable()
        if self._stepped(self._client.loop_write) and self._client.want_write():
            self._loop.add_writer(self._descriptor, self._write)

    def _write_done(self, *_: object) -> None:
        if self._open:
            self._loop.remove_writer(self._descriptor)

    def _tick(self) -> None:
        self._misc = self._loop.call_later(_MISC_EVERY_S, self._tick)
        self._stepped(self._client.loop_misc)

    def _stepped(self, step: Callable[[], object]) -> bool:
        """Let paho do one step; True when the connection is still open afterwards."""
        if self._open:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - paho lets struct and index errors out
                self.abandon(f"the broker sent what is not MQTT ({type(error).__name__})")
        return self._open

    # --- paho's side ------------------------------------------------------------------------

    def _connected(
        self,
        _client: object,
        _userdata: object,
        _flags: object,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        # Paho does not look at Receive Maximum; going over it is a protocol error (MQTT 5, 4.9).
        self._window = min(_WINDOW, getattr(properties, "ReceiveMaximum", _WINDOW))
        self._take([code])

    def _subscribed(
        self, _client: object, _userdata: object, _mid: int, codes: list[ReasonCode], _: object
    ) -> None:
        self._take(codes)

    def _take(self, codes: list[ReasonCode]) -> None:
        if not self._answer.done():
            self._answer.set_result(codes)

    def _published(
        self,
        _client: object,
        _userdata: object,
        mid: int,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        on_ack = self._acks.pop(mid, None)
        if self._waiting:
            self._loop.call_soon(self._send_waiting)
        if on_ack is None:
            return
        if code.is_failure:
            ack, why = Ack.REFUSED, getattr(properties, "ReasonString", "") or str(code)
        elif code.value == _NO_SUBSCRIBERS:
            ack, why = Ack.NOBODY, str(code)
        else:
            ack, why = Ack.ACCEPTED, ""
        self._loop.call_soon(on_ack, ack, why)

    def _arrived(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        self._loop.call_soon(self._on_message, message.topic, payload, message.retain)

    def _disconnected(
        self,
        _client: object,
        _userdata: object,
        flags: mqtt.DisconnectFlags,
        code: ReasonCode,
        _properties: object,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._gone(f"the broker ended it: {code}")
        elif str(code) == "Keep alive timeout":
            self._gone("no answer from the broker within the keepalive")
        else:
            self._gone(self._last_words or "the broker closed the connection")

    def _said(self, _client: object, _userdata: object, level: int, text: str) -> None:
        if level == mqtt.MQTT_LOG_ERR and "EOF occurred" not in text:
            self._last_words = text.rpartition(": ")[2] if "SSL" not in text else text


class PahoConnector:
    """Connects over the network, with TCP or TLS, as MQTT 5 or 3.1.1, as each spec says."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._dialler = Dialler()

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        """Keep the promise of `Connector.connect`."""
        line: Line | None = None
        connection: _PahoConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                line = await self._dialler.dial(spec, within_s=CONNECT_WITHIN_S)
                connection = _PahoConnection(
                    spec, line, client_id=client_id, will=will, on_message=on_message
                )
                await connection.establish(subscriptions)
        except BaseException as error:
            if connection is not None:
                connection.abandon("given up")
            elif line is not None:
                line.sock.close()
            if isinstance(error, TimeoutError):
                raise unanswered(spec) from None
            if isinstance(error, UplinkError) or not isinstance(error, Exception):
                raise
            # what one link stumbles over (paho lets OSError and ValueError out) ends no other
            raise UplinkError(f"cannot connect ({type(error).__name__})", "report this") from error
        return connection
