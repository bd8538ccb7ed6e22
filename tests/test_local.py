"""`qorgan status` and `qorgan command`: what they print, their exit codes, and a real daemon."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import Exit, main
from gateway.core.jws import SigningKey, TokenType, open_token
from gateway.local import findings_of, shown, shown_answer, signed
from simulators.network.brokers import Mosquitto
from tests.processes import ROOT, School, school, wait_for

PINS_ONLY = """
premises: {id: school-12, name: School No. 12, timezone: Asia/Almaty}
gateway: {id: school-12-main, key: gateway.jwk, ledger: {path: ledger.db}}
points:
  reception: {kind: panic, input: {normally_open: gpio:17, normally_closed: gpio:27}}
  accounts: {kind: hold-up, input: {normally_open: gpio:23, normally_closed: gpio:24}}
  main-door: {kind: door, contact: gpio:16, lock: gpio:20, egress: handle}
uplinks:
  campus: {url: "mqtts://127.0.0.1:PORT", ca: ca.pem, certificate: gateway.pem}
routes:
  security:
    via: [campus]
    sends: [alarm, fault, test, state, access]
    answers: true
    keys: [{file: security.jwk, verbs: [door.unlock, door.lock, drill.begin, lockdown.begin]}]
  case: {via: [campus], sends: [alarm], keys: [{file: case.jwk}]}
"""


@pytest.fixture
def campus(tmp_path: Path) -> Iterator[School]:
    """A small school on pins alone, with a running broker."""
    with school(tmp_path, Mosquitto) as there:
        text = PINS_ONLY.replace("PORT", str(there.broker.port))
        there.site.config.write_text(text, encoding="utf-8")
        yield there


def qorgan(there: School, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, told where that school's daemon listens."""
    where = ("--socket", str(there.folder / "qorgan.sock"))
    return subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, args), *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def desk(there: School, *args: str, key: str = "security") -> subprocess.CompletedProcess[str]:
    return qorgan(there, "command", *args, "--key", there.site.private_key_file(key))


# --- a real daemon ---


def test_command_on_the_premises_is_obeyed_refused_and_recorded(campus: School) -> None:
    campus.gateway()
    done = desk(campus, "door.unlock", "main-door", "--for", "2s")
    assert (done.returncode, done.stderr) == (Exit.WELL, "")
    assert done.stdout.splitlines() == [
        "accepted: door.unlock main-door",
        "done: door.unlock main-door (confirmed)",
    ]
    refused = desk(campus, "door.release", "main-door")
    assert refused.returncode == Exit.FINDINGS
    assert "refused: door.release: this key may not ask for it" in refused.stdout
    assert "would be accepted: from this key: door.unlock, door.lock" in refused.stdout
    nobody = desk(campus, "door.lock", "main-door", "--json", key="case")
    assert nobody.returncode == Exit.FINDINGS
    (answer,) = map(json.loads, nobody.stdout.splitlines())
    assert (answer["answer"], answer["route"]) == ("refused", "case")
    gateway = campus.processes[-1]
    kinds = [line["event"] for line in gateway.log() if line["event"].startswith("state.command")]
    assert kinds == [f"state.command.{kind}" for kind in ("accepted", "done", *["refused"] * 2)]
    assert {line["local"] for line in gateway.log("state.command.refused")} == {True}


def test_status_tells_levels_and_nothing_of_a_silent_alarm(campus: School) -> None:
    campus.gateway()

    def status() -> dict[str, Any]:
        found = qorgan(campus, "status", "--json")
        told: dict[str, Any] = json.loads(found.stdout)
        assert found.returncode == (Exit.FINDINGS if told["findings"] else Exit.WELL)
        return told

    wait_for("rest", lambda: status()["points"]["reception"]["level"] == "normal")
    before = status()
    campus.ask({"press": "accounts", "shape": "stuck", "ms": 300})
    campus.ask({"press": "reception", "shape": "stuck", "ms": 300})
    wait_for("alarm", lambda: campus.processes[-1].log("alarm.panic.raised"))
    after = status()
    assert after["points"]["reception"]["level"] == "active"
    assert after["points"]["accounts"] == before["points"]["accounts"]
    assert after["points"]["accounts"]["level"] == "-"
    shown_to_people = qorgan(campus, "status")
    assert "reception" in shown_to_people.stdout
    assert "route security: campus" in shown_to_people.stdout


def test_command_after_the_daemon_has_ended_is_exit_four(campus: School) -> None:
    assert campus.gateway().end(signal.SIGTERM) == 0
    assert not (campus.folder / "qorgan.sock").exists()
    for asked in (desk(campus, "lockdown.begin"), qorgan(campus, "status")):
        assert asked.returncode == Exit.NO_DAEMON
        assert "is `qorgan run` up" in asked.stderr


def test_centre_that_is_typed_at_moves_the_door_of_a_real_daemon(campus: School) -> None:
    """Lines through a pipe, answers as messages; the end of the input ends nothing."""
    text = campus.site.config.read_text(encoding="utf-8")
    text = text.replace("egress: handle}", "egress: handle, remote_unlock: true}")
    campus.site.config.write_text(text, encoding="utf-8")
    gateway = campus.gateway()
    with (campus.folder / "typed.out").open("wb") as out:
        centre = subprocess.Popen(
            [
                *(sys.executable, "-m", "simulators", "centre", "--config", campus.site.config),
                *("--route", "security", "--key", campus.site.private_key_file("security")),
                "--json",
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        assert centre.stdin is not None
        centre.stdin.write(b"door.unlock main-door 2s\nfly away\nisolate reception 1h\n")
        centre.stdin.close()
        wait_for("refusal", lambda: gateway.log("state.command.refused", verb="isolate"))
        wait_for("done", lambda: gateway.log("state.command.done"))
        (done,) = gateway.log("state.command.done")
        assert (done["verb"], done["outcome"]) == ("door.unlock", "confirmed")

        def printed() -> str:
            return (campus.folder / "typed.out").read_text(encoding="utf-8")

        wait_for("printed refusal", lambda: "this key may not ask for it" in printed())
        assert "not understood: fly away" in printed()
        wait_for("printed done", lambda: "org.qorgan.state.command.done" in printed())
        assert centre.poll() is None
    finally:
        centre.send_signal(signal.SIGTERM)
        assert centre.wait(10) == 0


# --- usage ---


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["fly"], "no verb 'fly'"),
        (["door.unlock"], "needs a name"),
        (["door.lock", "main-door", "--for", "5s"], "takes no time"),
        (["door.unlock", "main-door", "--for", "5"], "has no unit"),
        (["drill.begin", "fire"], "needs a time"),
        (["resend"], "by a centre"),
    ],
)
def test_command_that_cannot_be_made_is_exit_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    key = tmp_path / "desk.jwk"
    main(["keys", "new", str(key)])
    capsys.readouterr()
    where = ["--socket", str(tmp_path / "none"), "--key", str(key)]
    assert main(["command", *args, *where]) == Exit.USAGE
    assert says in capsys.readouterr().err


def test_command_without_its_key_is_exit_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--socket", str(tmp_path / "none"), "--key", str(tmp_path / "desk.jwk")]
    assert main(["command", "lockdown.begin", *where]) == Exit.USAGE
    assert "desk.jwk" in capsys.readouterr().err


def test_no_daemon_is_exit_four(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", str(tmp_path / "none")]) == Exit.NO_DAEMON
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_profile_schema_is_json_that_names_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--profile"]) == Exit.WELL
    schema = json.loads(capsys.readouterr().out)
    assert {"vendor", "model"} <= set(schema["properties"])
    assert main(["schema"]) == Exit.WELL
    assert "points" in json.loads(capsys.readouterr().out)["properties"]


# --- what is shown ---

STATUS: dict[str, Any] = {
    "premises": "school-12",
    "gateway": "school-12-main",
    "ledger": "1ed9e700",
    "epoch": 7,
    "start": "57a40000",
    "boot": "b0070000",
    "monotonic_ms": 100_000,
    "synchronised": True,
    "points": {
        "reception": {"kind": "panic", "level": "normal", "faults": []},
        "accounts": {"kind": "hold-up", "level": "-", "faults": []},
        "main-door": {"kind": "door", "level": "active", "faults": ["stuck"], "free": "fire"},
    },
    "modes": ["drill:fire"],
    "isolated": ["gym"],
    "routes": {
        "security": {"owed": {"alarm": 0, "log": 2}, "paths": {"campus": "good"}},
        "case": {"owed": {"alarm": 3, "log": 0}, "paths": {"campus": "not connected"}},
    },
    "uplinks": {"campus": {"connected": True, "why": "", "unchecked": ""}},
    "ledger_file": {
        "answers": True,
        "path": "/var/lib/qorgan/ledger.db",
        "on_disk": True,
        "trouble": None,
        "bytes": 3_210_000,
        "max_bytes": 1_073_741_824,
        "free_bytes": 12_000_000_000,
        "oldest": {"utc": "2026-01-03T12:04:05.678Z", "synchronised": True},
        "dropped": 0,
        "unwritten": 0,
        "fault": None,
    },
    "clock": {
        "utc": "2026-02-03T04:05:06.789Z",
        "synchronised": True,
        "error_ms": 12,
        "unsynchronised_ms": None,
        "fault": None,
    },
    "buses": {
        "corridor": {
            "open": True,
            "requests": 9,
            "timeouts": 1,
            "crc_errors": 2,
            "retries": 3,
            "latency_us": 12_340,
            "units": {
                "entrance": {
                    "profile": "wb-mr6c",
                    "unit": 11,
                    "state": "answers",
                    "outputs": "locked",
                    "locked_because": "another model",
                    "given_up": ["setting x"],
                    "requests": 9,
                    "timeouts": 1,
                    "crc_errors": 2,
                    "retries": 3,
                    "latency_us": 12_340,
                }
            },
        }
    },
}


def test_status_names_what_is_not_as_it_should_be() -> None:
    assert findings_of(STATUS) == [
        "main-door: stuck",
        "route case: nobody answers (campus not connected)",
        "unit entrance on corridor: outputs locked: another model",
        "unit entrance on corridor: given up: setting x",
    ]


def test_status_is_read_by_people() -> None:
    lines = "\n".join(shown(STATUS))
    assert "school-12-main at school-12: start 57a40000, epoch 7 of ledger 1ed9e700" in lines
    assert "accounts   hold-up   -" in lines
    assert "stands free (fire)  fault: stuck" in lines
    assert "modes: drill:fire" in lines
    assert "isolated: gym" in lines
    assert "route case: campus not connected; owed 3 alarm, 0 log" in lines


def test_status_shows_where_the_record_is_and_what_time_it_is() -> None:
    lines = shown(STATUS)
    assert (
        "  ledger: /var/lib/qorgan/ledger.db, 3.2 MB of at most 1.1 GB, 12.0 GB free on its disk;"
        " holds entries since 2026-01-03" in lines
    )
    assert "  clock: 2026-02-03T04:05:06.789Z, synchronised to 12 ms" in lines


WELL = {**STATUS, "points": {}, "routes": {}, "buses": {}}


def changed(part: str, **changes: Any) -> dict[str, Any]:
    """A status of a gateway that is well, with one part otherwise."""
    return {**WELL, part: {**STATUS[part], **changes}}


OLDEST_1970 = {"utc": "1970-01-01T00:00:30.000Z", "synchronised": False}
FULL = "the entries could not be recorded: the disk is full"


@pytest.mark.parametrize(
    ("status", "line", "findings"),
    [
        pytest.param(
            changed("ledger_file", fault=FULL, unwritten=7, bytes=None),
            "ledger: /var/lib/qorgan/ledger.db, size unknown; holds entries since 2026-01-03",
            [f"ledger: {FULL}", "ledger: 7 entries wait for the disk: do not cut power"],
            id="full",
        ),
        pytest.param(
            changed("ledger_file", on_disk=False, trouble="the disk is read-only", fault="x"),
            "ledger: in memory, belongs at /var/lib/qorgan/ledger.db",
            ["ledger: in memory, gone without power: the disk is read-only"],
            id="in-memory",
        ),
        pytest.param(
            {
                **WELL,
                "ledger_file": {"answers": False, "unwritten": 3, "fault": None},
            },
            "ledger: the disk does not answer",
            [
                "ledger: the disk does not answer",
                "ledger: 3 entries wait for the disk: do not cut power",
            ],
            id="hanging",
        ),
        pytest.param(
            changed("ledger_file", oldest=OLDEST_1970, dropped=40),
            "holds entries since 1970-01-01, by a clock nobody vouched for",
            ["ledger: 40 log entries given up since the start"],
            id="dropped",
        ),
        pytest.param(
            changed("clock", synchronised=False, unsynchronised_ms=2_000_000, fault="x"),
            "clock: 2026-02-03T04:05:06.789Z, not synchronised for 33 min",
            ["clock: no time service vouches for UTC: see `timedatectl timesync-status`"],
            id="no-time-server",
        ),
        pytest.param(
            changed("clock", synchronised=False, unsynchronised_ms=2_000),
            "clock: 2026-02-03T04:05:06.789Z, not synchronised",
            [],
            id="just-started",
        ),
        pytest.param(
            changed("clock", fault="stepped"),
            "synchronised to 12 ms",
            ["clock: UTC jumped while it counted as synchronised: look at its time server"],
            id="a-jump",
        ),
        pytest.param(
            {
                **WELL,
                "uplinks": {
                    "campus": {"connected": False, "why": "no route: look", "unchecked": ""},
                    "lte": {"connected": True, "why": "", "unchecked": "it has expired"},
                },
            },
            "clock: ",
            ["uplink campus: no route: look", "uplink lte: dates unchecked: it has expired"],
            id="uplinks",
        ),
    ],
)
def test_status_says_what_is_wrong_with_disk_clock_and_uplinks(
    status: dict[str, Any], line: str, findings: list[str]
) -> None:
    assert any(line in one for one in shown(status))
    assert findings_of(status) == findings


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            {"answer": "done", "verb": "lockdown.begin", "outcome": "accepted", "left": ["a", "b"]},
            "done: lockdown.begin (accepted); not locked by it: a, b",
        ),
        (
            {"answer": "failed", "verb": "door.lock", "target": ["a"], "why": "silent"},
            "failed: door.lock a: silent",
        ),
        (
            {"answer": "refused", "why": "unknown", "accepts": "another"},
            "refused: command: unknown\n  would be accepted: another",
        ),
        ({"answer": "done", "verb": "drill.end"}, "done: drill.end"),
    ],
)
def test_answer_is_read_by_people(answer: dict[str, Any], line: str) -> None:
    assert shown_answer(answer) == line


def test_command_is_signed_for_the_daemon_that_was_asked() -> None:
    key = SigningKey("desk-1", bytes(32))
    token = signed(key, STATUS, verb="door.lock", target={"door": "a"}, above=2**52)
    keys = {key.kid: key.public}
    _, payload = open_token(token, typ=TokenType.COMMAND, keys=keys)
    assert (payload["ledger"], payload["boot"]) == ("1ed9e700", "b0070000")
    assert payload["not_after_ms"] == 100_000 + 10_000
    assert payload["counter"] == 2**52 + 1
