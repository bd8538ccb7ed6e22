"""The local socket that the command line talks to. No press and no reading can come in through it.

One request a connection: a line of JSON with one member, the handler's name. Answers are lines of
JSON; the last one has `end` or `error`. The socket's file rights say who may connect.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from gateway.core.model import Json

LINE_MAX_BYTES = 131_072
REQUEST_WITHIN_S = 5.0
CONNECTIONS_MAX = 8

Handler: TypeAlias = Callable[[Any], AsyncGenerator[Mapping[str, Json], None]]
"""Takes the request's value and gives answers, one by one. ValueError: the request was wrong."""


class ControlError(Exception):
    """No daemon, or none that answers. Says what, and what a person can do about it."""


class NoDaemon(ControlError):  # noqa: N818 -- names a state of the machine, and has an exit code
    """Nobody listens at the socket."""


class _Gone(Exception):  # noqa: N818 -- no error of anybody's, and never leaves this file
    """Whoever asked has gone away, or does not listen, which is their right."""


def _bind(door: socket.socket, path: Path) -> None:
    """Make the socket's file, for the owner and the group; nobody can connect before that.

    No await in between: the file mode's mask is the whole process's, and the ledger has a thread.
    """
    before = os.umask(0o117)
    try:
        door.bind(os.fspath(path))
    finally:
        os.umask(before)


class Control:
    """The daemon's end; an async context manager."""

    def __init__(
        self, path: Path, handlers: Mapping[str, Handler], *, patience_s: float = REQUEST_WITHIN_S
    ) -> None:
        """Listen at `path` once entered. A socket that a former daemon left there is replaced.

        patience_s: how long a request may take to come, and an answer to be taken.
        """
        self._patience_s = patience_s
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._served = 0

    async def __aenter__(self) -> Self:
        """Raises OSError where the socket cannot be made."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_socket():
            self._path.unlink()
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind(door, self._path)
            self._server = await asyncio.start_unix_server(
                self._serve, sock=door, limit=LINE_MAX_BYTES
            )
        except BaseException:
            door.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        with suppress(OSError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Whatever a stranger sends, the daemon goes on."""
        self._served += 1
        try:
            if self._served > CONNECTIONS_MAX:
                await self._say(writer, {"error": "too many at once: try again"})
                await self._heard_out(reader)
                return
            await self._answer(reader, writer)
        except _Gone:
            pass  # there is nobody left to tell, and nothing of ours is wrong
        finally:
            self._served -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name, value = _request(await self._line(reader))
            async with aclosing(self._handler(name)(value)) as answers:
                async for answer in answers:
                    await self._say(writer, answer)
            await self._say(writer, {"end": True})
        except ValueError as error:
            await self._say(writer, {"error": str(error)})
        except OSError as error:
            # a handler's own: a bus that hangs up, a disk that does not answer
            why = error.strerror or str(error) or type(error).__name__
            await self._say(writer, {"error": f"it could not be done: {why}"})

    def _handler(self, name: str) -> Handler:
        handler = self._handlers.get(name)
        if handler is None:
            raise ValueError(f"no {name[:40]!r} here; there are {', '.join(self._handlers)}")
        return handler

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._patience_s):
                return await reader.readline()
        except TimeoutError:
            raise ValueError("no request came in time") from None
        except ConnectionError:
            raise _Gone from None
        except ValueError:
            raise ValueError(f"a request is one line of at most {LINE_MAX_BYTES} bytes") from None

    async def _heard_out(self, reader: asyncio.StreamReader) -> None:
        """Take the request off the socket: closed with it unread, the answer would be lost too."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(min(1.0, self._patience_s)):
                await reader.read(LINE_MAX_BYTES)

    async def _say(self, writer: asyncio.StreamWriter, answer: Mapping[str, Json]) -> None:
        """Write one answer; _Gone for somebody who asks and does not read."""
        writer.write(json.dumps(answer).encode() + b"\n")
        try:
            async with asyncio.timeout(self._patience_s):
                await writer.drain()
        except (ConnectionError, TimeoutError):
            raise _Gone from None


def _request(line: bytes) -> tuple[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the request is not a line of JSON") from None
    if not isinstance(request, dict) or len(request) != 1:
        raise ValueError('a request has one member, such as {"status": true}')
    return next(iter(request.items()))


@asynccontextmanager
async def listening(
    path: Path, handlers: Mapping[str, Handler], log: Callable[[str, Mapping[str, object]], None]
) -> AsyncIterator[None]:
    """Listen until left. Where no socket can be made it is logged: alarms do not need one."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(Control(path, handlers))
            log("control", {"socket": str(path)})
        except OSError as error:
            why = f"no `qorgan status` or `command` here: {error.strerror or error}"
            log("control", {"level": "warning", "socket": str(path), "why": why})
        yield


# --- the command line's end -----------------------------------------------------------------------


def ask(path: Path, name: str, value: Json, *, within_s: float = 5.0) -> Iterator[dict[str, Any]]:
    """Ask the daemon, and give its answers one by one until it has said all.

    within_s: the longest silence between two answers. Raises NoDaemon where nobody listens, and
    ControlError when it refuses or falls silent.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(within_s)
        try:
            line.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoDaemon(
                f"no daemon listens at {path}: is `qorgan run` up? --socket names another place"
            ) from None
        except OSError as error:
            raise ControlError(f"{path} cannot be reached: {error.strerror}") from error
        try:
            line.sendall(json.dumps({name: value}).encode() + b"\n")
            with line.makefile("rb") as lines:
                for text in lines:
                    answer = json.loads(text)
                    if "error" in answer:
                        raise ControlError(str(answer["error"]))
                    if "end" in answer:
                        return
                    yield answer
        except TimeoutError:
            raise ControlError(f"the daemon has not answered for {within_s:.0f} s") from None
        except (OSError, ValueError) as error:
            raise ControlError(f"the daemon's answer was cut off: {error}") from error
    raise ControlError("the daemon went away before it had answered")


def socket_of(state: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where a daemon listens: in systemd's runtime directory, else beside its ledger."""
    runtime = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime) / "control" if runtime else state / "qorgan.sock"


DEFAULT_SOCKET = Path("/run/qorgan/control")
"""Where the systemd unit has it."""
