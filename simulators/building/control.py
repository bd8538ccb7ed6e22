"""The simulated building's own control socket: press a button, open a door, pull an adapter.

Owns one unix socket, mode 0600: one JSON object a line in, one a line out. It belongs to the
simulators only; the product's control socket is another one, and no press comes in through that.

Requests: {"press": POINT, "shape": …, "ms": …}, {"repair": POINT}, {"points": true},
{"lamps": true}, {"door": NAME, "do": …, "ms": …}, {"unit": NAME, "do": …, "ms": …},
{"bus": NAME, "do": …}, {"status": true}. Answers: {"ok": true, …} or {"ok": false, "error": …}.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.core.model import Json
from simulators.building.hardware import Bench
from simulators.building.waveforms import DAMAGE_TO_PRESS_US, Shape
from simulators.bus.doors import PASS_MS

_LINE_LIMIT = 4_096
_CONNECT_S = 2.0
_ANSWER_S = 10.0
"""How long a client waits beyond the length of the press it asked for."""
MS_LIMIT = 600_000
"""The longest press taken: ten minutes, past any `stuck_after` in use."""


_LATE_MS = 500
"""How late a late unit is, unless told."""


class ControlError(Exception):
    """The control socket cannot be opened, or nobody listens at it. Says what to do."""


class RequestError(ValueError):
    """A line that is no request of this socket. Says what would be one."""


class Control:
    """Serves one Bench at a socket path; an async context manager."""

    def __init__(self, path: Path, bench: Bench) -> None:
        self._path = path
        self._bench = bench
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Listen; raises ControlError when another simulation does, or the path is no socket."""
        listener = _listen(self._path)
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=_LINE_LIMIT
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up on every client and remove the socket, if it is still ours."""
        assert self._server is not None
        self._server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await self._server.wait_closed()
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.append(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return  # the client hung up, or the simulation ends: nobody is left to be told
        finally:
            self._clients.remove(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                answer: dict[str, Json] = _refusal(f"a request is at most {_LINE_LIMIT} bytes")
                writer.write(_line(answer))
                await writer.drain()
                return
            if not line:
                return
            try:
                answer = {"ok": True, **await self._obey(_parse(line))}
            except ValueError as error:
                answer = _refusal(str(error))
            writer.write(_line(answer))
            await writer.drain()

    async def _obey(self, request: Mapping[str, Json]) -> dict[str, Json]:
        """Do what one request asks; raises ValueError that says what would be right."""
        answer: dict[str, Json]
        match request:
            case {"press": str(point), **rest}:
                answer = await self._press(point, rest)
            case {"repair": str(point), **rest} if not rest:
                self._bench.repair(point)
                answer = {"repair": point}
            case {"points": True, **rest} if not rest:
                answer = {"points": {p: list(self._bench.damage(p)) for p in self._bench.points}}
            case {"lamps": True, **rest} if not rest:
                answer = {"lamps": dict(self._bench.lamps())}
            case {"door": str(name), "do": str(verb), **rest}:
                answer = await self._door(name, verb, rest)
            case {"unit": str(name), "do": str(verb), **rest}:
                ms = _ms(rest, default=_LATE_MS, least=1)
                _nothing_else(rest, "unit knows do and ms")
                self._bench.plant.afflict(name, verb, ms=ms)
                answer = {"unit": name, "do": verb}
            case {"bus": str(name), "do": str(verb), **rest} if not rest:
                self._bench.plant.trouble(name, verb)
                answer = {"bus": name, "do": verb}
            case {"status": True, **rest} if not rest:
                answer = self._status()
            case _:
                raise RequestError(
                    'a request is {"press": POINT}, {"repair": POINT}, {"points": true}, '
                    '{"lamps": true}, {"door": NAME, "do": WORD}, {"unit": NAME, "do": WORD}, '
                    '{"bus": NAME, "do": WORD} or {"status": true}'
                )
        return answer

    async def _press(self, point: str, rest: dict[str, Json]) -> dict[str, Json]:
        shape = rest.pop("shape", Shape.CLEAN)
        if not isinstance(shape, str):
            raise RequestError(f"shape must be text, one of {', '.join(Shape)}")
        ms = _ms(rest, default=300, least=20)
        _nothing_else(rest, "press knows shape and ms")
        played = await self._bench.press(point, shape, ms)
        return {"press": point, "shape": str(played), "ms": ms}

    async def _door(self, name: str, verb: str, rest: dict[str, Json]) -> dict[str, Json]:
        """worked: False where the lock, or the want of a handle, kept the leaf shut."""
        ms = _ms(rest, default=PASS_MS, least=20)
        _nothing_else(rest, "door knows do and ms")
        door = self._bench.door(name)
        worked = await door.do(verb, for_ms=ms)
        return {"door": name, "do": verb, "worked": worked, **door.told()}

    def _status(self) -> dict[str, Json]:
        doors = self._bench.doors
        return {
            "points": {p: list(self._bench.damage(p)) for p in self._bench.points},
            "lamps": dict(self._bench.lamps()),
            "doors": {name: dict(door.told()) for name, door in doors.items()},
            **self._bench.plant.told(),
        }


def ask(path: Path, request: Mapping[str, Json], *, answer_within_s: float) -> dict[str, Json]:
    """Send one request and wait for its answer. Raises ControlError when nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_S)
        try:
            client.connect(os.fspath(path))
            client.settimeout(answer_within_s)
            client.sendall(_line(request))
            with client.makefile("rb") as stream:
                line = stream.readline()
        except OSError as error:
            raise ControlError(
                f"no simulation answers at {path} ({error.strerror or error}); "
                "start one: python -m simulators run --config FILE --control SOCKET"
            ) from error
    if not line:
        raise ControlError(f"the simulation at {path} ended before it answered")
    return _parse(line)


def press(point: str, *, control: Path, shape: str = Shape.CLEAN, ms: int = 300) -> int:
    """The `press` command: press a point of the simulation at `control` and say so.

    Returns the exit code: 0 pressed, 2 no such point or shape, 4 no simulation listens.
    """
    request: dict[str, Json] = {"press": point, "shape": shape, "ms": ms}
    try:
        answer = ask(control, request, answer_within_s=_patience_s(ms))
    except ControlError as error:
        print(error, file=sys.stderr)
        return 4
    if answer.get("ok") is not True:
        print(f"not pressed: {answer.get('error')}", file=sys.stderr)
        return 2
    print(f"{point}: {answer.get('shape')}, {ms} ms")
    return 0


def tell(kind: str, name: str, verb: str, *, control: Path, ms: int | None = None) -> int:
    """The `door`, `unit` and `bus` commands: let something happen to one, and say what came of it.

    Returns the exit code: 0 done, 1 the door did not move, 2 no such thing, 4 nobody listens.
    """
    request: dict[str, Json] = {kind: name, "do": verb}
    if ms is not None:
        request["ms"] = ms
    try:
        answer = ask(control, request, answer_within_s=_ANSWER_S)
    except ControlError as error:
        print(error, file=sys.stderr)
        return 4
    if answer.get("ok") is not True:
        print(f"not done: {answer.get('error')}", file=sys.stderr)
        return 2
    worked = answer.get("worked", True)
    tail = f" ({answer['leaf']}, {answer['lock']})" if "leaf" in answer else ""
    print(f"{name}: {verb}{'' if worked else ': it did not move'}{tail}")
    return 0 if worked else 1


def _ms(rest: dict[str, Json], *, default: int, least: int) -> int:
    """Take `ms` out of a request's fields."""
    ms = rest.pop("ms", default)
    if not isinstance(ms, int) or isinstance(ms, bool) or not least <= ms <= MS_LIMIT:
        raise RequestError(f"ms must be a whole number from {least} to {MS_LIMIT}")
    return ms


def _nothing_else(rest: Mapping[str, Json], knows: str) -> None:
    if rest:
        raise RequestError(f"{knows}, not {', '.join(rest)}")


def _patience_s(ms: int) -> float:
    return max(0, ms) / 1e3 + 2 * DAMAGE_TO_PRESS_US / 1e6 + _ANSWER_S


def _listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600; one left behind by a dead simulation is replaced."""
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ControlError(f"{path} exists and is no socket: name another path")
        if _answered(path):
            raise ControlError(f"another simulation listens at {path}: stop it or name another")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode has to be right from the first moment; chmod after bind would leave a gap.
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise ControlError(
            f"cannot listen at {path} ({error.strerror or error}); the folder must exist and the "
            "path be shorter than 108 bytes"
        ) from error
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


def _answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_S)
        return probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED


def _line(value: Mapping[str, Json]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Json]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RequestError(f"not a JSON object on one line ({error})") from None
    if not isinstance(value, dict):
        raise RequestError("not a JSON object on one line")
    return value


def _refusal(why: str) -> dict[str, Json]:
    return {"ok": False, "error": why}
