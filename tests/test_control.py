"""The control socket: whatever a stranger sends, the daemon goes on, and a friend is answered."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.control import (
    CONNECTIONS_MAX,
    LINE_MAX_BYTES,
    Control,
    ControlError,
    NoDaemon,
    ask,
    listening,
    socket_of,
)
from gateway.core.model import Json
from tests.uplink_rigs import until

PATIENCE_S = 0.5
"""Enough for whoever means it, on a busy machine too."""

Said = list[dict[str, Any]]


async def twice(value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
    """Answers two times."""
    yield {"first": value}
    yield {"second": value}


async def wrong(value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
    """Refuses the request."""
    yield {"so": "far"}
    raise ValueError(f"not like that: {value}")


class Patient:
    """A handler that answers when it is let go, and knows how often it was left."""

    def __init__(self) -> None:
        self.asked = 0
        self.left = 0
        self.go = asyncio.Event()

    async def answer(self, value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
        del value
        self.asked += 1
        try:
            await self.go.wait()
            yield {"well": True}
        finally:
            self.left += 1


def served(
    path: Path, story: Callable[[Patient], Coroutine[Any, Any, None]], **more: Any
) -> Patient:
    """Run a story while a Control listens at `path`."""

    async def told() -> Patient:
        patient = Patient()
        handlers = {"twice": twice, "wrong": wrong, "wait": patient.answer, **more}
        async with Control(path, handlers, patience_s=PATIENCE_S):
            await story(patient)
        return patient

    return asyncio.run(told())


async def asked(path: Path, name: str, value: Json = None) -> Said:
    """What the command line would be told."""
    return await asyncio.to_thread(lambda: list(ask(path, name, value)))


async def sent(path: Path, data: bytes, *, end: bool = True) -> Said:
    """Bytes as they are, and every line that comes back."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    if end:
        writer.write_eof()
    lines = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return [json.loads(line) for line in lines.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


# --- friends ---


def test_request_is_answered_line_by_line(path: Path) -> None:
    async def story(_: Patient) -> None:
        assert await asked(path, "twice", [1, "ә"]) == [{"first": [1, "ә"]}, {"second": [1, "ә"]}]

    served(path, story)


def test_handler_that_refuses_says_why_after_what_it_had_said(path: Path) -> None:
    async def story(_: Patient) -> None:
        answers = ask(path, "wrong", 7)
        assert await asyncio.to_thread(next, answers) == {"so": "far"}
        with pytest.raises(ControlError, match="not like that: 7"):
            await asyncio.to_thread(next, answers)

    served(path, story)


@pytest.mark.parametrize(
    ("error", "why"),
    [(TimeoutError(), "TimeoutError"), (ConnectionResetError("the bus"), "the bus")],
)
def test_handler_that_fails_by_its_own_line_says_so(path: Path, error: OSError, why: str) -> None:
    """It is not taken for an asker who went away."""

    async def failing(_: Any) -> AsyncGenerator[Mapping[str, Json], None]:
        yield {"so": "far"}
        raise error

    async def story(_: Patient) -> None:
        with pytest.raises(ControlError, match=f"could not be done: {why}"):
            await asked(path, "failing")

    served(path, story, failing=failing)


def test_unknown_request_names_what_there_is(path: Path) -> None:
    async def story(_: Patient) -> None:
        with pytest.raises(ControlError, match="no 'press' here; there are twice, wrong, wait"):
            await asked(path, "press", "reception")

    served(path, story)


def test_answer_may_be_awaited_longer_than_a_request(path: Path) -> None:
    async def story(patient: Patient) -> None:
        waiting = asyncio.create_task(asked(path, "wait"))
        await until(lambda: patient.asked > 0)
        assert await asked(path, "twice", 1)
        patient.go.set()
        assert await waiting == [{"well": True}]

    served(path, story)


def test_mask_of_the_socket_is_nobody_elses(path: Path) -> None:
    """While it is being made nothing else runs: a file of the ledger would get its rights."""
    masks: set[int] = set()

    async def looking() -> None:
        while True:
            before = os.umask(0o077)
            os.umask(before)
            masks.add(before)
            await asyncio.sleep(0)

    async def story() -> None:
        look = asyncio.create_task(looking())
        await asyncio.sleep(0)
        async with Control(path, {}):
            await asyncio.sleep(0)
        look.cancel()

    asyncio.run(story())
    assert 0o117 not in masks


# --- strangers ---


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "not a line of JSON"),
        (b"\n", "not a line of JSON"),
        (b"\x00\xff\xfe\n", "not a line of JSON"),
        (b"[" * 60_000 + b"\n", "not a line of JSON"),
        (b'{"status"', "not a line of JSON"),
        (b"[]\n", "one member"),
        (b"{}\n", "one member"),
        (b'{"twice": 1, "wrong": 2}\n', "one member"),
        (b"7\n", "one member"),
        (b'{"' + b"x" * 5_000 + b'": 1}\n', "here; there are"),
        (b'{"__class__": 1}\n', "here; there are"),
        (b'{"twice": "' + b"x" * LINE_MAX_BYTES + b'"}\n', "at most 131072 bytes"),
        (b"9" * 10_000 + b"\n", "not a line of JSON"),
    ],
)
def test_hostile_request_gets_one_line_and_the_next_one_is_served(
    path: Path, data: bytes, error: str
) -> None:
    async def story(_: Patient) -> None:
        (answer,) = await sent(path, data)
        assert error in answer["error"]
        assert len(answer["error"]) < 200
        assert await asked(path, "twice", 1)

    served(path, story)


def test_request_that_is_whole_needs_no_line_end(path: Path) -> None:
    async def story(_: Patient) -> None:
        assert (await sent(path, b'{"twice": 1}'))[-1] == {"end": True}

    served(path, story)


def test_many_half_requests_keep_nobody_out_for_long(path: Path) -> None:
    """Whoever connects and says nothing is let go after a while."""

    async def story(_: Patient) -> None:
        silent = [await asyncio.open_unix_connection(path) for _ in range(CONNECTIONS_MAX)]
        (answer,) = await sent(path, b'{"twice": 1}\n')
        assert "too many at once" in answer["error"]
        for reader, _writer in silent:
            line = await asyncio.wait_for(reader.readline(), 10)
            assert b"no request came in time" in line
        assert await asked(path, "twice", 1)
        for _reader, writer in silent:
            writer.close()

    served(path, story)


def test_asker_who_goes_away_is_forgotten(path: Path) -> None:
    async def story(patient: Patient) -> None:
        for _ in range(3 * CONNECTIONS_MAX):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"twice": 1}\n')
            writer.close()
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"wait": 1}\n')
        await until(lambda: patient.asked > 0)
        writer.transport.abort()
        patient.go.set()
        await until(lambda: patient.left > 0)
        assert await asked(path, "twice", 1)

    served(path, story)


def test_asker_who_does_not_read_is_let_go(path: Path) -> None:
    """A megabyte for somebody who takes none of it: a while, and the place is free."""
    left = []

    async def endless(value: Any) -> AsyncGenerator[Mapping[str, Json], None]:
        try:
            while True:
                yield {"much": "x" * 100_000, "value": value}
        finally:
            left.append(value)

    async def story(_: Patient) -> None:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(os.fspath(path))
        deaf.sendall(b'{"endless": 1}\n')
        await until(lambda: bool(left))
        assert await asked(path, "twice", 1)
        deaf.close()

    served(path, story, endless=endless)


# --- the file ---


def mode_of(path: Path) -> int | None:
    """The rights of the socket there; None where there is none."""
    return stat.S_IMODE(path.stat().st_mode) if path.is_socket() else None


def test_socket_is_for_owner_and_group_only(path: Path) -> None:
    async def story(_: Patient) -> None:
        assert mode_of(path) == 0o660

    before = os.umask(0o022)
    try:
        served(path, story)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_socket_is_gone_after_the_end(path: Path) -> None:
    async def story(_: Patient) -> None:
        assert mode_of(path)

    served(path, story)
    assert not path.exists()


def test_socket_that_a_killed_daemon_left_is_replaced(path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(os.fspath(path))
    stale.close()
    with pytest.raises(NoDaemon, match="is `qorgan run` up"):
        list(ask(path, "twice", 1))

    async def story(_: Patient) -> None:
        assert await asked(path, "twice", 1)

    served(path, story)


@pytest.mark.parametrize("there", ["file", "folder", "long"])
def test_place_where_no_socket_can_be_is_logged_and_stops_nothing(
    tmp_path: Path, there: str
) -> None:
    path = tmp_path / ("control" if there != "long" else "x" * 200)
    if there == "file":
        path.write_text("mine", encoding="ascii")
    elif there == "folder":
        path.mkdir()
    log: list[tuple[str, Mapping[str, object]]] = []

    async def told() -> str:
        async with listening(path, {}, lambda event, fields: log.append((event, fields))):
            return "alarms go on"

    assert asyncio.run(told()) == "alarms go on"
    ((event, fields),) = log
    assert (event, fields["level"]) == ("control", "warning")
    assert "no `qorgan status`" in str(fields["why"])
    if there == "file":
        assert path.read_text(encoding="ascii") == "mine"


def test_socket_is_named_in_the_log(path: Path) -> None:
    log: list[Mapping[str, object]] = []

    async def told() -> None:
        async with listening(path, {"twice": twice}, lambda _, fields: log.append(fields)):
            assert mode_of(path)

    asyncio.run(told())
    assert log == [{"socket": str(path)}]


def test_socket_is_in_systemds_directory_else_beside_the_ledger(tmp_path: Path) -> None:
    runtime = {"RUNTIME_DIRECTORY": "/run/qorgan:/run/other"}
    assert socket_of(tmp_path, runtime) == Path("/run/qorgan/control")
    assert socket_of(tmp_path, {}) == tmp_path / "qorgan.sock"


# --- the command line's end ---


def test_nobody_there_is_told_apart(path: Path) -> None:
    with pytest.raises(NoDaemon, match="no daemon listens"):
        list(ask(path, "status", True))


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (b"", "went away before it had answered"),
        (b'{"well": true}\n', "went away before it had answered"),
        (b'{"well"', "cut off"),
        (b"\xff\n", "cut off"),
    ],
)
def test_daemon_that_dies_while_it_answers_is_told_as_such(
    path: Path, says: bytes, error: str
) -> None:
    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(says)
        await writer.drain()
        writer.close()

    async def told() -> None:
        async with await asyncio.start_unix_server(dying, path):
            with pytest.raises(ControlError, match=error):
                await asked(path, "status", True)

    asyncio.run(told())


def test_daemon_that_falls_silent_is_told_as_such(path: Path) -> None:
    async def story(patient: Patient) -> None:
        with pytest.raises(ControlError, match="has not answered for"):
            await asyncio.to_thread(lambda: list(ask(path, "wait", 1, within_s=0.2)))
        patient.go.set()

    served(path, story)
