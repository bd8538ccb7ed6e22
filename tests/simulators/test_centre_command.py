"""`python -m simulators centre`: its lines, its screen, its keys, its exit codes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.clock import UTC_MS_MAX
from gateway.core.jws import TokenType, open_token
from gateway.core.model import AlarmState, Json, Message
from gateway.core.premises import UplinkSpec
from gateway.keys import load_signing_key
from simulators.centre.command import add_arguments, run_centre
from simulators.centre.core.reading import Age, AgeBy
from simulators.centre.core.words import Finding, FindingKind, Mark
from simulators.centre.link import Access, dialled
from simulators.centre.screen import HELP, REFUSED_EVERY_MS, Refusals, Screen, age_text
from simulators.centre.telling import plain
from simulators.network.brokers import HOST, Mosquitto, free_port
from simulators.site import Site, furnish
from tests.processes import WITHIN_S
from tests.simulators.desk import NOW_MS, Desk
from tools.vector_parts import (
    CASHIER,
    GATEWAY,
    KEYS,
    NOON_MS,
    RECEPTION,
    ROUTE,
    STARTS,
    Gateway,
    event_id,
    heartbeat,
    raised,
)

ROOT = Path(__file__).parent.parent.parent
PRESS = f"qorgan/v1/{GATEWAY}/{ROUTE}/alarm"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return furnish(tmp_path_factory.mktemp("site"), port=free_port(), mqtt="5")


def options(site: Site, *more: str, route: str = ROUTE, key: str = ROUTE) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    where = ["--config", str(site.config), "--route", route]
    return parser.parse_args([*where, "--key", str(site.private_key_file(key)), *more])


def press(site: Site, second: int) -> Message:
    signer = load_signing_key(site.directory / "gateway.jwk")
    box = Gateway(epoch=6, start=STARTS[6])
    return box.seal(
        "alarm.panic.raised",
        RECEPTION.id,
        second=second,
        alarm=event_id(second),
        point=RECEPTION,
        signer=signer,
    )


@contextlib.asynccontextmanager
async def command(
    site: Site, *more: str, stdin: int = asyncio.subprocess.DEVNULL
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process, which is asked to stop at the end and must end well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators", "centre", "--config", str(site.config)),
        *("--route", ROUTE, "--key", str(site.private_key_file(ROUTE)), *more),
        cwd=ROOT,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), WITHIN_S)


async def line_with(
    stream: asyncio.StreamReader | None, words: str, *, within_s: float = WITHIN_S
) -> str:
    """The first line that holds these words."""
    assert stream is not None
    while True:
        line = (await asyncio.wait_for(stream.readline(), within_s)).decode()
        assert line, f"the command ended without saying {words!r}"
        if words in line:
            return line


async def publish(site: Site, port: int, *messages: Message) -> None:
    spec = UplinkSpec(id="campus", host=HOST, port=port, ca=str(site.pki.ca))
    async with dialled(spec, Access(site.pki.client(GATEWAY))) as client:
        for message in messages:
            await client.publish(PRESS, message.token, qos=1)


def port_of(site: Site) -> int:
    text = site.config.read_text(encoding="utf-8")
    return int(text.partition(f"mqtts://{HOST}:")[2][:5])


def broker(site: Site, folder: Path) -> Mosquitto:
    return Mosquitto(folder, site.pki, gateways=(GATEWAY,), centres=(ROUTE,), port=port_of(site))


def test_command_prints_one_json_line_a_message_and_ends_well(site: Site, tmp_path: Path) -> None:
    async def story() -> None:
        async with command(site, "--json", "--db", str(tmp_path / "centre.db")) as process:
            await line_with(process.stderr, "up")
            await publish(site, port_of(site), press(site, 1))
            line = json.loads(await line_with(process.stdout, "panic"))
            assert (line["subject"], line["sequence"], line["copy"]) == ("reception", 1, False)
        assert process.returncode == 0

    with broker(site, tmp_path / "broker"):
        asyncio.run(story())


def test_command_shows_the_alarm_and_what_was_open_after_a_restart(
    site: Site, tmp_path: Path
) -> None:
    async def story() -> None:
        store = ("--db", str(tmp_path / "centre.db"))
        async with command(site, *store) as process:
            await line_with(process.stdout, "up")
            await publish(site, port_of(site), press(site, 1))
            assert "Қабылдау бөлмесі" in await line_with(process.stdout, "*** ALARM #1 PANIC")
        async with command(site, *store) as process:
            assert "received" in await line_with(process.stdout, "#1 PANIC")

    with broker(site, tmp_path / "broker"):
        asyncio.run(story())


def test_command_with_an_unknown_route_names_the_known_ones(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.run(run_centre(options(site, route="guard"))) == 2
    assert "security, case" in capsys.readouterr().err


@pytest.mark.parametrize("more", [("--repeat", "0"), ("--slow", "-1")])
def test_command_refuses_impossible_manners(site: Site, more: tuple[str, str]) -> None:
    assert asyncio.run(run_centre(options(site, *more))) == 2


def test_command_without_its_key_says_which_file(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.run(run_centre(options(site, key="guard"))) == 3
    assert "guard.key.jwk" in capsys.readouterr().err


def test_command_given_a_public_key_says_what_is_needed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = options(site)
    chosen.key = site.directory / f"{ROUTE}.jwk"
    assert asyncio.run(run_centre(chosen)) == 3
    assert "private one is needed" in capsys.readouterr().err


def test_command_with_a_bad_configuration_prints_its_mistakes(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = options(site)
    chosen.config = tmp_path / "premises.yaml"
    chosen.config.write_text("premises: {}\n", encoding="utf-8")
    assert asyncio.run(run_centre(chosen)) == 3
    assert "premises.yaml" in capsys.readouterr().err


def test_command_sends_what_was_typed_once_it_has_heard_the_gateway(
    site: Site, tmp_path: Path
) -> None:
    """What lacks something is told at once; the end of the input ends nothing."""
    public = tmp_path / "gateway.jwk"
    public.write_text(json.dumps(KEYS["gateway"].public.as_jwk()), encoding="utf-8")

    async def story() -> None:
        async with command(
            site, "--gateway-key", str(public), stdin=asyncio.subprocess.PIPE
        ) as process:
            await line_with(process.stdout, "up")
            assert process.stdin is not None
            process.stdin.write(b"acknowledge reception\nlockdown.end\nlockdown.end now\n")
            assert "no open alarm reception" in await line_with(process.stdout, "no open")
            assert "takes no name" in await line_with(process.stdout, "takes")
            spec = UplinkSpec(id="campus", host=HOST, port=port_of(site), ca=str(site.pki.ca))
            async with dialled(spec, Access(site.pki.client(GATEWAY))) as client:
                topic = f"qorgan/v1/{GATEWAY}/{ROUTE}"
                await client.subscribe(f"{topic}/commands", qos=1)
                await client.publish(f"{topic}/heartbeat", heartbeat(1), qos=0)
                message = await asyncio.wait_for(anext(aiter(client.messages)), WITHIN_S)
                assert isinstance(message.payload, bytes)
                keys = {key.kid: key for key in [site.private_key(ROUTE).public]}
                _, payload = open_token(message.payload, typ=TokenType.COMMAND, keys=keys)
                assert (payload["verb"], payload["target"]) == ("lockdown.end", {})
                assert not message.retain
            assert "lockdown.end" in await line_with(process.stdout, "asked")
            process.stdin.close()
            await publish(site, port_of(site), raised(Gateway(epoch=6, start=STARTS[6]), 1))
            await line_with(process.stdout, "*** ALARM #1 PANIC")

    with broker(site, tmp_path / "broker"):
        asyncio.run(story())


def test_command_asks_for_what_it_lacks_unless_told_not_to(site: Site, tmp_path: Path) -> None:
    """By itself: nobody types anything."""
    public = tmp_path / "gateway.jwk"
    public.write_text(json.dumps(KEYS["gateway"].public.as_jwk()), encoding="utf-8")

    async def asked(*more: str) -> list[str]:
        verbs: list[str] = []
        async with command(site, "--gateway-key", str(public), *more) as process:
            await line_with(process.stdout, "up")
            spec = UplinkSpec(id="campus", host=HOST, port=port_of(site), ca=str(site.pki.ca))
            async with dialled(spec, Access(site.pki.client(GATEWAY))) as client:
                topic = f"qorgan/v1/{GATEWAY}/{ROUTE}"
                await client.subscribe(f"{topic}/commands", qos=1)
                await client.publish(f"{topic}/heartbeat", heartbeat(1), qos=0)
                missing = "!!! missing: school-12-main: alarm stream"
                await line_with(process.stdout, missing)
                await client.publish(f"{topic}/heartbeat", heartbeat(4), qos=0)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1 if more else WITHIN_S):
                        async for message in client.messages:
                            assert isinstance(message.payload, bytes)
                            keys = {key.kid: key for key in [site.private_key(ROUTE).public]}
                            _, payload = open_token(
                                message.payload, typ=TokenType.COMMAND, keys=keys
                            )
                            verbs.append(f"{payload['verb']} {payload['target']['stream']}")
                            break
                process.send_signal(signal.SIGINT)
                await process.wait()
        return verbs

    with broker(site, tmp_path / "broker"):
        assert asyncio.run(asked()) == ["resend alarm"]
        assert asyncio.run(asked("--no-resend")) == []


def test_command_whose_key_may_not_ask_says_what_to_do(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = site.config.parent
    config = folder / "without.yaml"
    text = site.config.read_text(encoding="utf-8")
    config.write_text(text.replace("          - resend\n", ""), encoding="utf-8")
    chosen = options(site)
    chosen.config, chosen.db = config, tmp_path / "none" / "centre.db"
    assert asyncio.run(run_centre(chosen)) == 3  # there is no such folder: it goes no further
    assert "has no verb `resend`" in capsys.readouterr().err


# --- the screen -------------------------------------------------------------------------------


class Paper(Screen):
    """A screen whose text can be read back."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self.paper = io.StringIO()
        super().__init__(self.paper, zone=zone)

    @property
    def text(self) -> str:
        return self.paper.getvalue()


def test_screen_shows_an_alarm_with_place_marks_and_age() -> None:
    desk, paper = Desk(), Paper()
    box = Gateway(epoch=6, start=STARTS[6])
    raised(box, 1)
    paper.verdict(desk.take(raised(box, 2, CASHIER).token))
    assert "*** ALARM #1 HOLD-UP RAISED  cashier" in paper.text
    assert "building Б, floor 2, room Касса, кабинет № 204" in paper.text
    assert f"[{Mark.GAP.value.upper()}]" in paper.text
    assert "LATE, age unknown" in paper.text


def test_screen_says_late_by_how_much_and_that_it_is_open() -> None:
    desk, paper = Desk(), Paper()
    token = heartbeat(1, monotonic_ms=3_600_000 + 200_000, open=(event_id(1),))
    desk.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    paper.verdict(desk.take(raised(Gateway(epoch=6, start=STARTS[6]), 1).token))
    assert "LATE by 3 min 19 s; still open now" in paper.text


def test_screen_suppresses_copies_and_shows_conflicts() -> None:
    desk, paper = Desk(), Paper()
    genuine = raised(Gateway(epoch=6, start=STARTS[6]), 1).token
    for token in (genuine, genuine, raised(Gateway(epoch=6, start=STARTS[6]), 2).token):
        paper.verdict(desk.take(token))
    lines = paper.text.splitlines()
    assert sum("*** ALARM" in line for line in lines) == 2
    assert sum("copy suppressed" in line for line in lines) == 1
    assert "CONFLICT" in paper.text


def test_screen_lets_no_control_character_through() -> None:
    assert plain("a\x1b[2Jb\nc\u202e") == "a\ufffd[2Jb\ufffdc\ufffd"


def test_screen_obeys_the_keyboard() -> None:
    desk, paper = Desk(), Paper()
    desk.take(raised(Gateway(epoch=6, start=STARTS[6]), 1).token)
    said: list[tuple[str, AlarmState]] = []

    def answer(alarm: str, state: AlarmState) -> bool:
        said.append((alarm, state))
        return len(said) == 1

    for line in ("l", "a 1", "d 1", "c 9", "a x", "?", "rm -rf", "", "a ٣"):
        assert paper.key(line, desk.core.alarms(), answer)
    assert not paper.key("q", (), answer)
    assert said == [(event_id(1), AlarmState.ACKNOWLEDGED), (event_id(1), AlarmState.DISPATCHED)]
    assert "#1 acknowledged" in paper.text
    assert "no open alarm #9" in paper.text
    assert paper.text.count(HELP) == 1
    assert paper.text.count("not understood") == 3
    assert "not understood: rm -rf; ? lists" in paper.text


def test_screen_tells_answers_modes_and_doors_in_words() -> None:
    desk, paper, box = Desk(), Paper(), Gateway(epoch=6, start=STARTS[6])
    refused: dict[str, Json] = {"verb": "door.lock", "why": "it expired", "accepts": "another"}
    begun: dict[str, Json] = {"mode": "drill", "subject": "fire", "for_ms": 60_000, "by": "a/b"}
    messages: list[tuple[str, dict[str, Json]]] = [
        ("state.command.refused", refused),
        ("state.mode.begun", begun),
        ("access.opened", {"by": "exit"}),
    ]
    for second, (kind, data) in enumerate(messages):
        paper.verdict(desk.take(box.seal(kind, "main-door", second=second, data=data).token))
    lines = [line.partition("  ")[2] for line in paper.text.splitlines()]
    assert lines == [
        "REFUSED: door.lock: it expired; would be accepted: another",
        "MODE BEGUN: drill fire  for 1 min  by a/b",
        "access.opened  main-door  by exit",
    ]


def test_screen_shows_findings_loudly_unless_they_are_good() -> None:
    paper = Paper()
    paper.finding(Finding(FindingKind.LOST, GATEWAY, "silent for 17 s on every uplink"), NOW_MS)
    paper.finding(Finding(FindingKind.FOUND, GATEWAY, "heard again on lte"), NOW_MS + 5_000)
    assert paper.text.splitlines() == [
        f"12:01:00  !!! gateway lost: {GATEWAY}: silent for 17 s on every uplink",
        f"12:01:05  gateway found: {GATEWAY}: heard again on lte",
    ]


def test_screen_tells_the_time_of_its_readers() -> None:
    """Nobody in Almaty is to reckon from UTC, neither for what comes nor for what is open."""
    desk, paper = Desk(), Paper(ZoneInfo("Asia/Almaty"))
    paper.verdict(desk.take(raised(Gateway(epoch=6, start=STARTS[6]), 1).token))
    paper.open_alarms(desk.core.alarms())
    paper.link("campus", "up", NOW_MS)
    raised_line, *_, open_line, link_line = paper.text.splitlines()
    assert raised_line.startswith("17:01:00  *** ALARM #1")
    assert "since 2026-12-01 17:00:01  received" in open_line
    assert link_line == "17:01:00  uplink campus: up"


def test_screen_shows_a_box_whose_clock_stands_at_the_end_of_time() -> None:
    """Year 9999 and no hour later: east of Greenwich there is no such date any more."""
    desk, paper = Desk(), Paper(ZoneInfo("Asia/Almaty"))
    last_s = (UTC_MS_MAX - NOON_MS) // 1_000
    desk.take(raised(Gateway(epoch=6, start=STARTS[6]), last_s).token)
    paper.open_alarms(desk.core.alarms())
    assert "since 9999-12-31 23:59:59" in paper.text


def test_refusals_are_counted_and_said_now_and_then() -> None:
    refusals = Refusals()
    said = [refusals.line("bad form", GATEWAY, "campus", NOW_MS + ms) for ms in (0, 1, 2)]
    later = refusals.line("bad form", GATEWAY, "campus", NOW_MS + REFUSED_EVERY_MS)
    assert [line is None for line in said] == [False, True, True]
    assert later is not None
    assert "4 refused so far" in later


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [(61_000, "LATE by 1 min 1 s"), (3_600_000, "LATE by 1 h 0 min 0 s"), (9_000, "LATE by 9 s")],
)
def test_age_is_told_in_words(age_ms: int, text: str) -> None:
    assert age_text(Age(age_ms, AgeBy.MONOTONIC)) == text
