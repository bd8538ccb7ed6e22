"""Two brokers, several centres, one gateway, each a process: what breaks is noticed in time.

Real time and mutual TLS. What a clock can show better (a good minute, flapping, a day of outages)
is in test_supervision.
"""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

from gateway.core.premises import UplinkSpec
from simulators.centre.core.words import unsealed
from simulators.centre.link import Access, dialled
from simulators.network.brokers import HOST, Broker, Mosquitto, Rights
from simulators.site import GATEWAY
from tests.processes import WITHIN_S, Process, raised, wait_for
from tests.two_ways import TLS, TwoWays, told, two_ways, unix


def until_raised(centre: Process, count: int) -> None:
    """Wait for that many alarms at a centre."""
    wait_for(f"{count} alarms at {centre.name}", lambda: len(raised(centre)) >= count)


def lines_of(centre: Process, point: str) -> list[dict[str, Any]]:
    """Every line of that point's alarm, copies too, in the order they came."""
    kind = "org.qorgan.alarm.panic.raised"
    return [line for line in centre.stdout() if (line["subject"], line["type"]) == (point, kind)]


def twice(centre: Process) -> bool:
    """True when the first alarm has come over both uplinks."""
    return len(lines_of(centre, "director")) == 2


def fault_of_path(centre: Process, route: str) -> dict[str, Any]:
    """Wait for the fault of that route's path over the campus."""
    (fault,) = wait_for(
        f"fault.path of {route}",
        lambda: told(centre, "fault.path.raised", route=route, uplink="campus"),
    )
    return fault


def test_primary_blackholed_in_mid_alarm_costs_no_second_and_no_alarm(tmp_path: Path) -> None:
    """Nothing is closed, nobody is told: at both centres by the other path, once, copies apart."""
    with two_ways(tmp_path) as (school, ferry):
        security, case = (school.centre(name) for name in ("security", "case"))
        gateway = school.open()
        school.press("director")
        for centre in (security, case):
            wait_for("both copies", partial(twice, centre))
            first, second = lines_of(centre, "director")
            assert (first["copy"], second["copy"]) == (False, True)
            assert {first["uplink"], second["uplink"]} == {"campus", "lte"}
            assert first["id"] == second["id"]
        ferry.stall()
        began = time.time()
        school.press("guard-post")
        for centre in (security, case):
            until_raised(centre, 2)
            (alarm,) = [a for a in told(centre, "alarm.panic.raised") if a["subject"] != "director"]
            assert alarm["uplink"] == "lte"
            assert unix(alarm["received_at"]) - unix(alarm["time"]) <= 1.0

        for route in ("security", "case"):
            fault = fault_of_path(case, route)
            assert unix(fault["received_at"]) - began <= 10.0
            assert fault["uplink"] == "lte"
            assert fault["data"]["good"] == ["lte"]
            assert "answer" in fault["data"]["why"]
            assert 4_000 <= fault["data"]["silent_ms"] <= 10_000

        ferry.resume()
        school.press("nurse")  # ends a back-off that may have grown long
        wait_for("the first path", lambda: len(gateway.log("uplink up", uplink="campus")) == 2)
        school.settled("security", "case")
        for centre in (security, case):
            assert len(raised(centre)) == 3
            assert not lines_of(centre, "guard-post")[0]["copy"]
            assert all(line["copy"] for line in lines_of(centre, "guard-post")[1:])


def test_deaf_centre_is_a_fault_and_a_siren_and_settles_when_it_hears(tmp_path: Path) -> None:
    """Its process stands still while both brokers are well: told to those who can still hear."""
    with two_ways(tmp_path) as (school, _):
        security = school.centre("security", "--answer", "close")
        case, deputy = school.centre("case"), school.centre("deputy")
        school.open()
        security.popen.send_signal(signal.SIGSTOP)
        deaf = time.time()
        school.press("accounts")  # silent
        (late,) = wait_for("fault.delivery", lambda: told(case, "fault.delivery.raised"))
        assert (late["subject"], late["data"]["why"]) == ("security", "no-receipt")
        assert 5_000 <= late["data"]["waited_ms"] <= 6_000
        assert late["data"]["owed"] >= 1
        assert not school.siren(), "a silent alarm showed on the premises"
        school.press("guard-post")
        fault = fault_of_path(case, "security")
        assert unix(fault["received_at"]) - deaf <= 10.0
        assert fault["data"]["owed"] >= 1
        wait_for("the siren", school.siren)
        wait_for("the deputy", lambda: len(raised(deputy)) == 2)
        assert raised(case) == raised(deputy)

        security.popen.send_signal(signal.SIGCONT)
        school.settled("security", "case", "deputy")
        (cleared,) = wait_for("end of it", lambda: told(case, "fault.delivery.cleared"))
        assert cleared["data"]["alarms"] == 2
        assert cleared["data"]["lasted_ms"] > 0
        assert sorted(raised(security)) == sorted(raised(case))
        wait_for("silence", lambda: not school.siren())
        assert len(told(case, "fault.delivery.raised")) == 1


def test_receipts_without_an_operator_bring_the_second_route_in_time(tmp_path: Path) -> None:
    """Received at once, answered by nobody: at `acknowledge_within` the deputy holds the alarm."""
    with two_ways(tmp_path) as (school, _):
        school.centre("security")
        case, deputy = school.centre("case"), school.centre("deputy", "--answer", "acknowledge")
        gateway = school.open()
        school.press("guard-post")
        (alarm,) = wait_for("the deputy's alarm", lambda: told(deputy, "alarm.panic.raised"))
        (received,) = gateway.log("state.alarm.received")
        assert unix(received["timestamp"]) - unix(alarm["time"]) <= 1.0
        assert 5.0 <= unix(alarm["received_at"]) - unix(alarm["time"]) <= 6.0
        (fault,) = wait_for("fault.delivery", lambda: told(case, "fault.delivery.raised"))
        assert fault["data"]["why"] == "no-acknowledgement"
        assert 5_000 <= fault["data"]["waited_ms"] <= 6_000
        assert fault["data"]["alarm"] == alarm["id"]
        wait_for("the siren", school.siren)
        wait_for("end of the fault", lambda: told(case, "fault.delivery.cleared"))


def test_centre_that_is_gone_is_known_with_the_first_alarm_under_mqtt_5(tmp_path: Path) -> None:
    """No subscriber: the broker says so, and nobody waits for an echo."""
    with two_ways(tmp_path) as (school, _):
        security, case = (school.centre(name) for name in ("security", "case"))
        school.open()
        school.press("director")
        for centre in (security, case):
            until_raised(centre, 1)
        security.end(signal.SIGKILL)
        school.press("guard-post")
        fault = fault_of_path(case, "security")
        assert fault["data"]["why"] == "No matching subscribers"
        (alarm,) = [a for a in told(case, "alarm.panic.raised") if a["subject"] == "guard-post"]
        assert unix(fault["received_at"]) - unix(alarm["time"]) <= 1.0


# --- the centre's side ---

ONE_WAY = """
routes:
  security: {via: [campus], sends: [alarm, state], answers: true, keys: [{file: security.jwk}]}
"""


def may_send_alarms(broker: Broker, *, yes: bool) -> None:
    """Let the gateway's alarms through, or drop them: under MQTT 3.1.1 it is told all is well."""
    assert isinstance(broker, Mosquitto)
    was = broker.rights[GATEWAY]
    topics = tuple(topic for topic in was.publish if not topic.endswith("/alarm"))
    alarm = f"qorgan/v1/{GATEWAY}/+/alarm"
    broker.rights[GATEWAY] = Rights((*topics, alarm) if yes else topics, was.subscribe)
    broker.reload()


async def head_named(school: TwoWays, least: int) -> None:
    """Wait for a heartbeat that says the alarm stream has come as far as `least`."""
    spec = UplinkSpec("campus", HOST, school.broker.port, ca=str(school.site.pki.ca))
    topic = f"qorgan/v1/{GATEWAY}/security/heartbeat"
    async with asyncio.timeout(WITHIN_S):
        async with dialled(spec, Access(school.site.certificate("security"))) as client:
            await client.subscribe(topic)
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                if unsealed(message.payload)["heads"]["alarm"] >= least:
                    return


def said(centre: Process, words: str) -> float:
    """Wait until a centre has said that; when it was written, in seconds of UTC.

    By the file's own time, which a test that looks late does not change.
    """
    wait_for(words, lambda: words in centre.err.read_text("utf-8"))
    return centre.err.stat().st_mtime


def test_centre_misses_the_last_message_and_then_the_gateway(tmp_path: Path) -> None:
    """A broker swallows the last alarm, the heads betray it; the gateway dies and is lost in 20 s.

    The next start still owes it, and the centre says that nothing is missing any more.
    """
    mqtt_3 = {'mqtt: "5"': "mqtt: 3.1.1"}
    with two_ways(tmp_path, routes=ONE_WAY, changes=mqtt_3) as (school, _):
        security = school.centre("security", "--db", tmp_path / "security.db")
        gateway = school.open()
        school.press("director")
        wait_for("the answer to it", lambda: told(security, "state.alarm.received"))
        school.settled("security")
        through = max(line["sequence"] for line in security.stdout() if line["stream"] == "alarm")
        may_send_alarms(school.broker, yes=False)
        school.press("guard-post")
        asyncio.run(head_named(school, through + 1))
        named = time.time()
        gateway.end(signal.SIGKILL)
        assert said(security, f"alarm stream, epoch 1: missing {through + 1}") - named <= 12.0
        assert said(security, "gateway lost: ") - named <= 20.0
        assert raised(security) == [("director", "alarm.panic.raised")]

        may_send_alarms(school.broker, yes=True)
        school.gateway("gateway-again")
        said(security, "gateway found: ")
        said(security, "alarm stream, epoch 1 is complete")
        assert [point for point, _ in raised(security)] == ["director", "guard-post"]


def test_two_uplinks_to_one_broker_are_two_connections_and_two_paths(tmp_path: Path) -> None:
    """A campus address and a public one may be one broker: neither throws the other out."""
    mqtt_5 = {"mqtt: 3.1.1": 'mqtt: "5"'}
    soon = {TLS: f"{TLS}, heartbeat: 2s"}
    with two_ways(tmp_path, changes=mqtt_5 | soon, one_broker=True) as (school, ferry):
        security = school.centre("security")
        gateway = school.open()
        school.press("director")
        until_raised(security, 1)
        ferry.stall()
        school.press("guard-post")
        until_raised(security, 2)
        security_s = {"route": "security", "uplink": "campus"}  # nobody answers for the others
        (fault,) = wait_for("fault.path", lambda: gateway.log("fault.path.raised", **security_s))
        assert fault["good"] == ["lte"]
        assert len(raised(security)) == 2
        assert len(gateway.log("uplink up")) == 2
        assert "already connected" not in school.broker.log


def test_restart_of_both_brokers_raises_nothing_that_is_over_in_time(tmp_path: Path) -> None:
    """Both paths gone at once and back within a heartbeat: the alarm at once, and no fault."""
    with two_ways(tmp_path) as (school, _):
        security, case = (school.centre(name) for name in ("security", "case"))
        gateway = school.open()
        assert school.lte is not None
        for broker in (school.broker, school.lte):
            broker.kill()
            broker.start()
        school.press("guard-post")
        for centre in (security, case):
            until_raised(centre, 1)
        school.settled("security", "case")
        assert not gateway.log("fault.path.raised")
        assert len(raised(security)) == len(raised(case)) == 1
