"""A ferry carries TCP between a gateway and a broker, so that a path can break untold.

Runs on a thread of its own and knows nothing of what it carries. Each new connection goes through
to the broker; `stall` is the network swallowing everything, `cut` a reset. It counts payload, and
the segments that the near side's kernel counts, from which the bytes on the wire follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from simulators.network.brokers import HOST

_READ_MAX = 65_536
_STOP_WITHIN_S = 5.0

# struct tcp_info of linux/tcp.h: where these two u32 stand, out and in.
_SEGMENTS, _TCP_INFO_BYTES = 136, 144

TCP_IP_HEADERS = 52
"""IPv4 20, TCP 20, and its timestamps, which Linux asks for and everybody grants: 12."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What has passed on the near side, all connections together. up: from the gateway."""

    up_bytes: int = 0
    down_bytes: int = 0
    segments: int = 0

    @property
    def wire_bytes(self) -> int:
        """What a mobile operator counts: payload with the TCP and IP headers of every segment."""
        return self.up_bytes + self.down_bytes + self.segments * TCP_IP_HEADERS

    def since(self, earlier: Carried) -> Carried:
        """What has been added since `earlier`."""
        return Carried(
            self.up_bytes - earlier.up_bytes,
            self.down_bytes - earlier.down_bytes,
            self.segments - earlier.segments,
        )


class Ferry:
    """A context manager that listens at `port` while it is entered. Methods from any thread."""

    def __init__(self, to_port: int, *, to_host: str = HOST, host: str = HOST) -> None:
        """to_host, to_port: the broker. Nothing listens before it is entered."""
        self._to = (to_host, to_port)
        self._host = host
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._near: list[asyncio.StreamWriter] = []
        self._far: list[asyncio.StreamWriter] = []
        self._up = self._down = self._segments = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._listening: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="ferry", daemon=True)

    def __enter__(self) -> Self:
        """Listen; OSError when that is impossible."""
        self._thread.start()
        self.port = self._listening.result(_STOP_WITHIN_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Break every connection and stop listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_WITHIN_S)

    # --- faults -----------------------------------------------------------------------------

    def stall(self) -> None:
        """Nothing passes any more and nothing is closed; newcomers are taken and not answered."""
        self._do(self._flowing.clear)

    def resume(self) -> None:
        """End of `stall`: what was held goes on, as after retransmission."""
        self._do(self._flowing.set)

    def cut(self) -> None:
        """Break every connection now; new ones pass."""
        self._do(self._abort)

    def carried(self) -> Carried:
        """What has passed since it was entered."""
        found: Future[Carried] = Future()
        self._do(lambda: found.set_result(self._count()))
        return found.result(_STOP_WITHIN_S)

    def _do(self, deed: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(deed)

    # --- on the ferry's own thread ----------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(self._carry, self._host, 0)
        except OSError as error:
            self._listening.set_exception(error)
            return
        self._listening.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        self._abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self._near.append(near)
        try:
            with contextlib.suppress(OSError):
                await self._flowing.wait()
                await self._cross(reader, near)
        finally:
            self._near.remove(near)
            self._segments += _segments(near)
            near.close()
            self._tasks.remove(task)

    async def _cross(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection(*self._to)
        self._far.append(far)
        back = asyncio.create_task(self._pump(far_reader, near, up=False))
        try:
            await self._pump(reader, far, up=True)
            await back
        finally:
            back.cancel()
            self._far.remove(far)
            far.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_MAX):
                self._up += len(data) if up else 0
                self._down += 0 if up else len(data)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        await self._flowing.wait()
        writer.close()

    def _abort(self) -> None:
        for writer in (*self._near, *self._far):
            writer.transport.abort()

    def _count(self) -> Carried:
        segments = self._segments + sum(_segments(near) for near in self._near)
        return Carried(self._up, self._down, segments)


def _segments(near: asyncio.StreamWriter) -> int:
    """What the kernel says of one connection, both ways; 0 when it is gone already."""
    try:
        sock = near.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        out, back = struct.unpack_from("=II", info, _SEGMENTS)
    except (OSError, struct.error):
        return 0
    return int(out) + int(back)
