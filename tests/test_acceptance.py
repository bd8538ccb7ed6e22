"""From wire to guard with real processes, real brokers, mutual TLS, real kills.

What only real processes show: exit codes, signals, kill -9, broker restarts, rights, two daemons on
one ledger. Everything that a clock or a seed can show better is in test_daemon.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.record.entry import Identity
from gateway.record.ledger import Ledger
from simulators.centre.core.words import unsealed
from simulators.network.brokers import Mosquitto, Nats
from simulators.network.pki import Pki
from simulators.site import CENTRES, GATEWAY
from tests.processes import (
    KINDS,
    ROOT,
    WITHIN_S,
    Listener,
    Process,
    School,
    raised,
    retained,
    school,
    until_acquainted,
    wait_for,
)

PRESENCE = f"qorgan/v1/{GATEWAY}/presence"
MEMBERS = [
    *("received_at", "uplink", "route", "stream", "ledger", "epoch", "sequence", "id", "type"),
    *("subject", "status", "time", "age_s", "late", "copy", "gap", "verified", "data"),
]
"""What `centre --json` prints of each message, in this order."""


@pytest.fixture(params=sorted(KINDS))
def any_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[School]:
    """A school on each kind of broker."""
    with school(tmp_path, KINDS[request.param]) as there:
        yield there


@pytest.fixture
def campus(tmp_path: Path) -> Iterator[School]:
    """A school on mosquitto."""
    with school(tmp_path, Mosquitto) as there:
        yield there


def until_raised(process: Process, count: int) -> list[tuple[str, str]]:
    """Wait for that many alarms at a centre."""
    wait_for(f"{count} alarms at {process.name}", lambda: len(raised(process)) >= count)
    return raised(process)


# --- every press, both routes ---


def test_press_command_is_one_alarm_on_both_routes(any_broker: School) -> None:
    """run, press and centre as separate commands: clean, bouncing, damaged presses, once each."""
    centres = [any_broker.centre(route) for route in CENTRES]
    any_broker.gateway()
    presses = [
        ("guard-post", "clean", "alarm.panic.raised"),
        ("director", "bounce", "alarm.panic.raised"),
        ("nurse", "chatter", "alarm.medical.raised"),
        ("accounts", "cut-nc-press", "alarm.hold-up.raised"),
    ]
    for point, shape, _ in presses:
        pressed = subprocess.run(
            [
                *(sys.executable, "-m", "simulators", "press", point, "--shape", shape),
                *("--ms", "200", "--control", str(any_broker.site.control)),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert pressed.returncode == 0, pressed.stderr
    expected = [(point, kind) for point, _, kind in presses]
    ids = []
    for centre in centres:
        assert until_raised(centre, len(presses)) == expected
        lines = centre.stdout()
        assert all(list(line) == MEMBERS for line in lines)
        assert all(line["verified"] is True for line in lines)
        assert not any(line["copy"] or line["gap"] or line["late"] for line in lines)
        ids.append([line["id"] for line in lines if line["type"].endswith(".raised")][:4])
    doubtful = [line for line in centres[0].stdout() if line["data"].get("doubtful")]
    assert [line["subject"] for line in doubtful] == ["accounts"]


def test_line_of_the_centre_is_what_the_design_promises(campus: School) -> None:
    """Each member of one alarm's line has its promised form."""
    security = campus.centre("security")
    campus.gateway()
    campus.press("guard-post")
    until_raised(security, 1)
    (line,) = [
        line for line in security.stdout() if line["type"] == "org.qorgan.alarm.panic.raised"
    ]
    instant = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(instant, line["received_at"])
    assert re.fullmatch(instant, line["time"])
    assert (line["uplink"], line["route"], line["stream"]) == ("campus", "security", "alarm")
    assert re.fullmatch(r"[0-9a-f]{8}", line["ledger"])
    assert line["epoch"] == 1
    assert line["sequence"] >= 1
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", line["id"])
    assert (line["subject"], line["status"]) == ("guard-post", "actual")
    assert 0 <= line["age_s"] < 5
    assert (line["late"], line["copy"], line["gap"], line["verified"]) == (False, False, [], True)
    assert line["data"]["alarm"] == line["id"]
    assert line["data"]["severity"] == "critical"
    assert line["data"]["contact_id"] == {
        "qualifier": 1,
        "code": "120",
        "partition": 1,
        "zone": 1,
    }
    assert line["data"]["place"] == {"building": "A", "floor": "1", "room": "Guard post"}
    assert set(line["data"]["clock"]) == {"synchronised", "error_ms", "boot", "monotonic_ms"}


def test_lamp_and_log_follow_the_desk(campus: School) -> None:
    """A desk that answers by itself: received, acknowledged, closed, cleared, in the log."""
    campus.centre("security", "--answer", "close")
    campus.centre("case")
    gateway = campus.gateway()
    campus.press("guard-post")
    wait_for("end of the alarm", lambda: gateway.log("alarm.panic.cleared"))
    story = [line["event"] for line in gateway.log() if line.get("subject") == "guard-post"]
    assert story == [
        "alarm.panic.raised",
        "state.alarm.received",
        "state.alarm.acknowledged",
        "state.alarm.closed",
        "alarm.panic.cleared",
    ]


# --- kill -9, broker away ---


def test_kill_with_the_broker_away_loses_and_doubles_nothing(any_broker: School) -> None:
    """Presses before the kill, after it, broker still away: all arrive, in order, once, soon."""
    centres = [any_broker.centre(route, "--db", any_broker.folder / route) for route in CENTRES]
    gateway = any_broker.gateway()
    until_acquainted(centres)
    any_broker.broker.kill()
    points = ["guard-post", "director", "nurse", "accounts", "duty-teacher"]
    for point in points[:2]:
        any_broker.press(point)
    gateway.end(signal.SIGKILL)
    again = any_broker.gateway("gateway-again")
    for point in points[2:4]:
        any_broker.press(point)
    again.end(signal.SIGKILL)
    last = any_broker.gateway("gateway-last")
    any_broker.press(points[4])
    (told,) = last.log("state.gateway.restarted")
    assert len(told["open"]) == 4
    any_broker.broker.start()
    answering = time.time()
    (up,) = wait_for("return", lambda: last.log("uplink up"))
    for centre in centres:
        assert [point for point, _ in until_raised(centre, 5)] == points
        lines = [line for line in centre.stdout() if not line["copy"]]
        assert len({line["id"] for line in lines}) == len(lines)
        alarms = [line for line in lines if ".raised" in line["type"] and ".alarm." in line["type"]]
        assert all(line["age_s"] > 0 for line in alarms)
    assert _unix(up["timestamp"]) - answering <= 1.0


def test_first_owed_message_is_there_within_a_second_of_the_return(campus: School) -> None:
    """From the broker's first answer to the alarm in a subscriber's hands."""
    subscriber = Listener(campus.site, campus.broker, f"qorgan/v1/{GATEWAY}/security/alarm")
    subscriber.leave()
    gateway = campus.gateway()
    wait_for("uplink", lambda: gateway.log("uplink up"))
    campus.broker.stop()
    campus.press("guard-post")
    # away for so long that a back-off nobody hurries would have grown past a second
    wait_for("fault.path", lambda: gateway.log("fault.path.raised"))
    campus.broker.start()
    answering_s = time.time()
    token = subscriber.listen()
    assert subscriber.heard_s - max(answering_s, subscriber.listens_s) <= 1.0
    assert _unix(gateway.log("uplink up")[-1]["timestamp"]) - answering_s <= 1.0
    assert unsealed(token)["subject"] == "guard-post"


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_kill_with_the_broker_there_delivers_what_was_not_receipted(campus: School) -> None:
    """Nobody listened, the gateway died: the next one offers it, and both centres get it once."""
    gateway = campus.gateway()
    wait_for("uplink", lambda: gateway.log("uplink up"))
    campus.press("guard-post")
    campus.press("director")
    gateway.end(signal.SIGKILL)
    centres = [campus.centre(route) for route in CENTRES]
    campus.gateway("gateway-again")
    for centre in centres:
        assert [point for point, _ in until_raised(centre, 2)] == ["guard-post", "director"]


# --- signals and two runs ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_a_clean_stop(campus: School, number: signal.Signals) -> None:
    """Exit 0 within three seconds, everything on disk, goodbye retained at the broker."""
    gateway = campus.gateway()
    wait_for("uplink", lambda: gateway.log("uplink up"))
    campus.press("guard-post")
    told_s = time.time()
    assert gateway.end(number) == 0
    (last,) = gateway.log("stopped", everything_on_disk=True)
    assert _unix(last["timestamp"]) - told_s <= 3.0
    presence = retained(campus.site, campus.broker, PRESENCE)
    assert json.loads(presence) == {"present": False}
    assert not campus.site.control.exists()


def test_signal_stops_a_gateway_that_never_had_a_broker(campus: School) -> None:
    """Nothing to say goodbye to holds up nothing."""
    campus.broker.stop()
    gateway = campus.gateway()
    wait_for("refusal", lambda: gateway.log("uplink down"))
    told_s = time.time()
    assert gateway.end(signal.SIGTERM) == 0
    (last,) = gateway.log("stopped")
    assert _unix(last["timestamp"]) - told_s <= 3.0


def test_qorgan_run_goes_live_and_stops_like_the_simulation(campus: School) -> None:
    """The command of a real gateway, on pins without hardware: it says so, connects and stops."""
    gateway = campus.start("qorgan", "gateway", "run", campus.site.config, "--pins", "mock")
    wait_for("uplink", lambda: gateway.log("uplink up"))
    assert gateway.log("no hardware: pins are simulated", level="warning")
    assert gateway.end(signal.SIGTERM) == 0
    assert gateway.log("stopped", everything_on_disk=True)


def test_second_run_goes_on_with_the_ledger(campus: School) -> None:
    """Epoch 2 of the same ledger, the chain resumed, and the centre finds nothing broken."""
    security = campus.centre("security", "--db", campus.folder / "security.db")
    campus.gateway()
    campus.press("guard-post")
    until_raised(security, 1)
    campus.processes[-1].end(signal.SIGTERM)
    campus.gateway("gateway-again")
    campus.press("director")
    until_raised(security, 2)
    lines = security.stdout()
    assert len({line["ledger"] for line in lines}) == 1
    assert {line["epoch"] for line in lines} == {1, 2}
    assert not any(line["gap"] for line in lines)
    said = security.err.read_text("utf-8").lower()
    assert not any(word in said for word in ("broken", "fork", "missing", "conflict"))


def test_second_daemon_on_the_same_ledger_is_refused(campus: School) -> None:
    """One clear line and exit 1; the first goes on as if nothing had been."""
    security = campus.centre("security")
    first = campus.gateway()
    second = campus.start(
        "second",
        *("simulators", "run", "--config", campus.site.config),
        *("--control", campus.folder / "control-2"),
    )
    assert second.popen.wait(WITHIN_S) == 1
    (line,) = second.err.read_text("utf-8").splitlines()
    assert "ledger" in line
    assert "Traceback" not in line
    assert first.running
    campus.press("guard-post")
    until_raised(security, 1)


def test_ledger_of_a_killed_gateway_is_whole(campus: School) -> None:
    """What kill -9 left behind opens at once, with the alarms it was owed and their order."""
    campus.broker.stop()
    gateway = campus.gateway()
    for point in ("guard-post", "director"):
        campus.press(point)
    gateway.end(signal.SIGKILL)
    ledger = Ledger.open(
        str(campus.folder / "ledger.db"), start="f" * 8, fresh_id="f" * 8, boot="f" * 8, utc_ms=0
    )
    try:
        assert ledger.set_aside is None
        assert ledger.trouble is None
        assert ledger.identity == Identity(ledger.identity.ledger, 2, "f" * 8)
        assert [event.subject for event in ledger.open_alarms()] == ["guard-post", "director"]
        owed = [m.key.route for m in ledger.owed_alarms()]
        assert sorted(owed) == ["case", "case", "security", "security"]
    finally:
        ledger.close()


# --- a broker that refuses ---


def _refusal(gateway: Process) -> dict[str, Any]:
    (line,) = wait_for("refusal", lambda: gateway.log("uplink down"))
    return line


def test_broker_of_another_authority_is_named_as_such(campus: School) -> None:
    """The broker shows a certificate we do not trust: the log says which file to look at."""
    stranger = Pki(campus.folder / "stranger", clients=(GATEWAY,))
    (campus.folder / "ca.pem").write_bytes(stranger.ca.read_bytes())
    gateway = campus.gateway()
    line = _refusal(gateway)
    assert "certificate" in line["why"]
    assert "ca" in line["hint"]
    campus.press("guard-post")
    wait_for("alarm in the log", lambda: gateway.log("alarm.panic.raised"))
    assert gateway.running


def test_broker_that_dislikes_our_certificate_is_named_as_such(any_broker: School) -> None:
    """Ours was made by somebody else: the log says where to look, the gateway goes on recording."""
    stranger = Pki(any_broker.folder / "stranger", clients=(GATEWAY,))
    pem = any_broker.folder / "gateway.pem"
    pem.write_bytes(stranger.client(GATEWAY).read_bytes())
    gateway = any_broker.gateway()
    line = _refusal(gateway)
    assert line["why"]
    assert "certificate" in line["hint"]
    any_broker.press("guard-post")
    wait_for("alarm in the log", lambda: gateway.log("alarm.panic.raised"))
    assert gateway.running


def test_mosquitto_that_grants_us_nothing_is_a_fault_that_says_so(tmp_path: Path) -> None:
    """No rights for this gateway in the broker's list: refused publishes are told, not lost."""
    with school(tmp_path, Mosquitto, rights=("another-gateway",)) as there:
        gateway = there.gateway()
        there.press("guard-post")
        wait_for("fault.path", lambda: gateway.log("fault.path.raised"))
        wait_for("reason", lambda: gateway.log(why="Not authorized"))
        assert gateway.running


def test_nats_that_does_not_know_us_says_what_to_do(tmp_path: Path) -> None:
    """No such user there: the log's hint names the rights, and the gateway keeps running."""
    with school(tmp_path, Nats, rights=("another-gateway",)) as there:
        gateway = there.gateway()
        line = _refusal(gateway)
        assert line["hint"]
        there.press("guard-post")
        wait_for("alarm in the log", lambda: gateway.log("alarm.panic.raised"))
        assert gateway.running
