"""`python -m simulators centre`: a security service, or a case system, on a terminal or in a pipe.

Options, files, signals and what is typed. The work is done by `client` (network and disk) and
`core` (what tokens mean).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.config.child import load
from gateway.core.jws import KeyRefused, SigningKey, VerifyKey, signing_key, verify_key
from gateway.core.premises import Premises, UplinkSpec
from gateway.core.verbs import Verb
from gateway.piped import READER_LEFT
from simulators.centre.client import AutoAnswer, CentreClient, Manner, steady_utc_ms
from simulators.centre.core.core import CentreCore
from simulators.centre.core.orders import NotHeard
from simulators.centre.core.reading import OpenedMessage
from simulators.centre.core.words import Finding, Verdict
from simulators.centre.keyboard import Keyboard
from simulators.centre.link import Access
from simulators.centre.screen import Refusals, Screen, json_line
from simulators.centre.store import CentreStore, StoreRefused
from simulators.centre.typed import Asked, Spoken, Unread, understood
from simulators.leaving import ask_to_leave

__all__ = ["Access", "AutoAnswer", "CentreClient", "Manner", "add_arguments", "run_centre"]

USAGE, CONFIGURATION = 2, 3
CONCLUDED_WITHIN_S = 7.0
"""A gateway concludes a command so soon after its expiry; then nobody has heard it, or will."""


class _Unusable(Exception):  # noqa: N818 -- a way out to the exit code, said in its text
    def __init__(self, text: str, code: int = CONFIGURATION) -> None:
        super().__init__(text)
        self.code = code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m simulators centre`."""
    parser.description = "The far end of one route: receives, verifies, stores, receipts, answers."
    parser.add_argument("--config", required=True, type=Path, help="the gateway's premises.yaml")
    parser.add_argument("--route", required=True, help="which of its routes this centre serves")
    parser.add_argument("--key", required=True, type=Path, help="this centre's private key (JWK)")
    parser.add_argument(
        "--gateway-key", type=Path, help="the gateway's public key (JWK); default: from its own"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON a message")
    parser.add_argument("--db", type=Path, help="store file; default: in memory only")
    parser.add_argument("--uplink", help="listen on this uplink only")
    parser.add_argument(
        "--certificate", type=Path, help="client PEM; default: ROUTE.pem beside the configuration"
    )
    parser.add_argument("--user", help="user name at the brokers, where they want one")
    parser.add_argument("--password-file", type=Path, help="file with that user's password")
    parser.add_argument(
        "--answer",
        choices=[answer.value for answer in AutoAnswer],
        default=AutoAnswer.NONE.value,
        help="what the desk does by itself with a new alarm",
    )
    parser.add_argument("--deaf", action="store_true", help="receive, but answer nothing")
    parser.add_argument("--slow", type=int, default=0, metavar="MS", help="answer that much later")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="say all N times")
    parser.add_argument(
        "--no-resend", action="store_true", help="do not ask the gateway for what is missing here"
    )


async def run_centre(options: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM; the exit code.

    0 ended as told, 2 usage, 3 configuration, 141 nobody reads what it shows any more.
    """
    try:
        if options.slow < 0 or options.repeat < 1:
            raise _Unusable("--slow is 0 ms or more, --repeat is 1 or more", USAGE)  # noqa: TRY301 -- one way out
        premises = await _premises(options.config)
        core = _core(premises, options)
        store = CentreStore(options.db, options.route)
    except (_Unusable, StoreRefused, KeyRefused) as exc:
        print(exc, file=sys.stderr)
        return exc.code if isinstance(exc, _Unusable) else CONFIGURATION
    with contextlib.closing(store):
        core.restore(store.rows(), store.answers())
        if options.db is None:
            print("kept in memory only: --db FILE keeps it", file=sys.stderr)
        desk = _Desk(options, premises, core, store)
        await _until_told(desk)
    return desk.code


async def _premises(path: Path) -> Premises:
    result = await load(path)
    if result.premises is None:
        raise _Unusable("\n".join(str(mistake) for mistake in result.mistakes))
    return result.premises


def _core(premises: Premises, options: argparse.Namespace) -> CentreCore:
    try:
        route = premises.route(options.route)
    except KeyError:
        names = ", ".join(known.id for known in premises.routes)
        raise _Unusable(f"no route {options.route} in this configuration: {names}", USAGE) from None
    signer = _private(options.key)
    mine = [key for key in route.keys if (key.kid, key.x) == (signer.kid, signer.public.x)]
    if not mine:
        text = f"the gateway will not believe {options.key}: route {route.id} does not list it"
        print(text, file=sys.stderr)
    elif not options.no_resend and Verb.RESEND not in mine[0].verbs:
        options.no_resend = True
        text = f"what is missing is not asked for: {options.key} has no verb `resend` there"
        print(text, file=sys.stderr)
    intervals_ms = {spec.id: spec.heartbeat_ms for spec in premises.uplinks if spec.id in route.via}
    keys = {premises.gateway: [_gateway_key(premises, options.gateway_key)]}
    return CentreCore(route.id, keys, signer, intervals_ms=intervals_ms)


def _jwk(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise _Unusable(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise _Unusable(f"{path}: not a JWK: not JSON") from exc
    if not isinstance(found, dict):
        raise _Unusable(f"{path}: not a JWK: not an object")
    return found


def _private(path: Path) -> SigningKey:
    try:
        return signing_key(_jwk(path))
    except KeyRefused as exc:
        raise _Unusable(f"{path}: {exc}") from exc


def _gateway_key(premises: Premises, public: Path | None) -> VerifyKey:
    """From a public JWK; else from the gateway's own file, of which only the public part is used.

    A real centre is given the public key by hand; the second way is for simulations on one machine.
    """
    path = public if public is not None else Path(premises.key_file)
    try:
        return verify_key(_jwk(path))
    except KeyRefused as exc:
        raise _Unusable(f"{path}: {exc}") from exc


def _uplinks(premises: Premises, options: argparse.Namespace) -> Sequence[UplinkSpec]:
    via = premises.route(options.route).via
    found = [spec for spec in premises.uplinks if spec.id in via]
    return [spec for spec in found if options.uplink in {None, spec.id}]


class _Desk:
    """Screen, keyboard and client of one run."""

    def __init__(
        self,
        options: argparse.Namespace,
        premises: Premises,
        core: CentreCore,
        store: CentreStore,
    ) -> None:
        beside = options.config.parent / f"{options.route}.pem"
        certificate = options.certificate or (beside if beside.exists() else None)
        zone = ZoneInfo(premises.timezone)
        out = sys.stderr if options.json else sys.stdout
        self._screen = Screen(out, zone=zone, on_unread=self._not_read)
        self._screen.say(f"route {options.route} of {premises.gateway}; times of {zone.key}")
        self._lines = Screen(sys.stdout, on_unread=self._not_read) if options.json else None
        self._refusals = Refusals()
        self._now_ms = steady_utc_ms()
        self._to_ask: asyncio.Queue[Asked] = asyncio.Queue()
        self._unanswered: dict[str, str] = {}
        self.leave = asyncio.Event()
        self.code = 0
        self.client = CentreClient(
            core,
            store,
            gateways=[premises.gateway],
            uplinks=_uplinks(premises, options),
            access=Access(certificate, options.user, options.password_file),
            manner=Manner(AutoAnswer(options.answer), options.deaf, options.slow, options.repeat),
            resend=not options.no_resend,
            on_line=self._line,
            on_finding=self._finding,
            on_refused=self._refused,
            on_link=lambda uplink, text: self._screen.link(uplink, text, self._now_ms()),
            now_ms=self._now_ms,
        )
        if core.alarms():
            self._screen.open_alarms(core.alarms())

    def _line(self, verdict: Verdict) -> None:
        message = verdict.message
        if message is not None and _answered(message):
            self._unanswered.pop(str(message.data.get("command")), None)
        if self._lines is not None:
            self._lines.say(json_line(verdict))
        else:
            self._screen.verdict(verdict)

    def _not_read(self) -> None:
        """Whoever read what is shown has gone, and so does the desk."""
        self.code = READER_LEFT
        self.leave.set()

    def _finding(self, finding: Finding) -> None:
        self._screen.finding(finding, self._now_ms())

    def _refused(self, why: str, gateway: str, uplink: str, at_ms: int) -> None:
        line = self._refusals.line(why, gateway, uplink, at_ms)
        if line is not None:
            self._screen.say(line)

    def typed(self, line: str) -> None:
        """Obey one line that somebody typed, or a program wrote."""
        alarms = self.client.core.alarms()
        try:
            meant = understood(line, alarms, self._screen.number_of)
        except Unread as why:
            self._screen.say(str(why))
            return
        match meant:
            case Asked():
                self._to_ask.put_nowait(meant)
            case Spoken():
                self._speak(meant)
            case None:
                if not self._screen.key(line, alarms, self.client.say):
                    self.leave.set()

    def _speak(self, spoken: Spoken) -> None:
        for alarm in spoken.alarms:
            said = self.client.say(alarm, spoken.state, spoken.operator)
            already = "" if said else " already, or more"
            self._screen.say(f"#{self._screen.number_of(alarm)} {spoken.state.value}{already}")

    async def ask_for_ever(self) -> None:
        """Send the commands that were typed, in order, once there is a gateway to ask."""
        loop = asyncio.get_running_loop()
        while True:
            asked = await self._to_ask.get()
            await self.client.reachable()
            try:
                ordered = self.client.command(asked.verb, asked.target)
            except NotHeard as why:
                self._screen.say(f"not asked: {asked.said}: {why}")
                continue
            self._screen.say(f"asked: {asked.said}")
            name = ordered.command.id
            self._unanswered[name] = asked.said
            wait_s = asked.verb.reach_ms / 1_000 + CONCLUDED_WITHIN_S
            loop.call_later(wait_s, self._not_answered, name)

    def _not_answered(self, name: str) -> None:
        said = self._unanswered.pop(name, None)
        if said is not None:
            self._screen.say(f"!!! nothing was heard of {said}: it is over now, done or not")


def _answered(message: OpenedMessage) -> bool:
    """True for the last answer to a command; history may be under way for hours when accepted."""
    group, _, phase = message.type.rpartition(".")
    last = phase in {"done", "failed", "refused"} or message.data.get("verb") == Verb.RESEND
    return group == "state.command" and last


async def _until_told(desk: _Desk) -> None:
    """Run until a signal, or `q` among what is typed; the end of the input is no reason to leave.

    A task that ends by itself ends the run, and what it raised comes out here.
    """
    ask_to_leave(desk.leave.set)
    running = [
        asyncio.create_task(desk.client.run(), name="centre"),
        asyncio.create_task(desk.ask_for_ever(), name="ask"),
    ]
    for task in running:
        task.add_done_callback(lambda _: desk.leave.set())
    keyboard = Keyboard(descriptor, desk.typed) if (descriptor := _input()) is not None else None
    try:
        await desk.leave.wait()
    finally:
        if keyboard is not None:
            keyboard.stop()
        for task in running:
            task.cancel()
        for task in running:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _input() -> int | None:
    """The descriptor of standard input; None where there is none, as under a test or a service."""
    try:
        return sys.stdin.fileno() if sys.stdin is not None else None
    except (OSError, ValueError):
        return None
