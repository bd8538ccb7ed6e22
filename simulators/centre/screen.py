"""What a person (or a program) sees of a centre: one JSON line a message, or a plain screen.

Turns verdicts and findings into text and key strokes into answers; it decides nothing. All text
that came over the wire is shown without control characters.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, TextIO

from gateway.core.message import TYPE_PREFIX, rfc3339
from gateway.core.model import AlarmState, Json
from gateway.piped import hush
from simulators.centre.core.reading import Age, OpenedMessage
from simulators.centre.core.words import Alarm, Finding, Outcome, Verdict
from simulators.centre.telling import plain, told
from simulators.centre.typed import HELP as WORDS

REFUSED_EVERY_MS = 10_000
"""Refused tokens are counted, and said at most this often for one reason."""
HELP = "a N acknowledge   d N dispatch   c N close   l list open alarms   ? this help   q quit"
_VERBS = {
    "a": AlarmState.ACKNOWLEDGED,
    "d": AlarmState.DISPATCHED,
    "c": AlarmState.CLOSED,
}

Answers = Callable[[str, AlarmState], bool]
"""Give an answer on an alarm; False when it would move the alarm back."""


def json_line(verdict: Verdict) -> str:
    """One line for a believed message, with the members the command line promises.

    One more, `history`, on what came because it was asked for: false for an alarm that is open.
    """
    message = verdict.message
    assert message is not None
    age_ms = verdict.age.ms if verdict.age is not None else None
    line: dict[str, Json] = {
        "received_at": rfc3339(verdict.at_ms),
        "uplink": verdict.uplink,
        "route": message.key.route,
        "stream": message.key.stream.value,
        "ledger": message.key.ledger,
        "epoch": message.key.epoch,
        "sequence": message.sequence,
        "id": message.id,
        "type": TYPE_PREFIX + message.type,
        "subject": message.subject,
        "status": message.data["status"],
        "time": message.time,
        "age_s": None if age_ms is None else age_ms / 1_000,
        "late": verdict.late,
        "copy": verdict.copy,
        "gap": [[first, last] for first, last in verdict.gap],
        "verified": True,
        "data": dict(message.data),
    }
    if verdict.resent:
        line["history"] = verdict.history
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def age_text(age: Age | None) -> str:
    """`LATE by 3 min 20 s`, or why nobody can tell."""
    if age is None or age.ms is None:
        return "LATE, age unknown: from before this boot, or no heartbeat heard yet"
    minutes, seconds = divmod(age.ms // 1_000, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(hours or minutes)
    return "LATE by " + " ".join([*parts, f"{seconds} s"])


def place_text(place: Mapping[str, Any]) -> str:
    """`building A, floor 1, room Reception`, of what is known."""
    known = ((name, place.get(name)) for name in ("building", "floor", "room", "zone"))
    return ", ".join(f"{name} {plain(value)}" for name, value in known if isinstance(value, str))


_LOUD = {
    "silent": "SILENT: do not call back",
    "doubtful": "DOUBTFUL: the button's wiring is damaged, it may be real",
}
_PLAIN = ("why", "route", "uplink", "operator")


def told_text(data: Mapping[str, Any]) -> str:
    """What a desk must know beyond kind and place: how to act on it, and what is wrong."""
    parts = [text for name, text in _LOUD.items() if data.get(name) is True]
    if data.get("during"):
        parts.append("DURING " + " and ".join(plain(str(kind)) for kind in data["during"]))
    if isinstance(data.get("count"), int) and data["count"] > 1:
        parts.append(f"pressed {data['count']} times")
    if data.get("again"):
        parts.append("AGAIN")
    parts += [f"{name} {plain(str(data[name]))}" for name in _PLAIN if name in data]
    return "; ".join(parts)


class Refusals:
    """Counts refused tokens and says so now and then, never what they contained."""

    def __init__(self) -> None:
        self.count = 0
        self._said_ms: dict[str, int] = {}

    def line(self, why: str, gateway: str, uplink: str, at_ms: int) -> str | None:
        """A line to show, None while the same reason was said a moment ago."""
        self.count += 1
        said_ms = self._said_ms.get(why)
        if said_ms is not None and at_ms - said_ms < REFUSED_EVERY_MS:
            return None
        self._said_ms[why] = at_ms
        return f"REFUSED on {uplink} for {plain(gateway)}: {why} ({self.count} refused so far)"


class Screen:
    """A plain scrolling screen: alarms in words, everything else in one short line each."""

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        zone: tzinfo = UTC,
        on_unread: Callable[[], None] | None = None,
    ) -> None:
        """`out`: where to write, standard output when None. zone: where its readers' clocks are.

        on_unread: called when nobody reads it any more; what is said from then on is let go.
        """
        self._out = out if out is not None else sys.stdout
        self._zone = zone
        self._on_unread = on_unread
        self._numbers: dict[str, int] = {}

    def say(self, text: str) -> None:
        """Write one line now."""
        try:
            print(text, file=self._out, flush=True)
        except BrokenPipeError:
            hush(self._out)
            if self._on_unread is not None:
                self._on_unread()

    def number_of(self, alarm: str) -> int:
        """The short number people call an alarm by on this screen, from 1."""
        return self._numbers.setdefault(alarm, len(self._numbers) + 1)

    def verdict(self, verdict: Verdict) -> None:
        """Show a believed message: loud when it is an alarm nobody has seen yet.

        Of history only alarms, in a line each: a year of it must not push the present off.
        """
        message = verdict.message
        quiet = verdict.history or (verdict.resent and verdict.copy)
        if message is None:
            return
        if quiet and verdict.outcome is not Outcome.CONFLICT:
            if message.type.startswith("alarm.") and not verdict.copy:
                self._history(message)
            return
        clock = self._clock(verdict.at_ms)
        where = place_text(message.data.get("place") or {})
        name = " ".join(message.type.split(".")[1:])
        number = f"{message.key.stream.value} {message.key.epoch}/{message.sequence}"
        if verdict.copy:
            self.say(f"{clock}  copy suppressed  {number} on {verdict.uplink}")
            return
        marks = "".join(f"  [{mark.value.upper()}]" for mark in verdict.marks)
        loud = message.type.startswith("alarm.") and not message.type.endswith(".cleared")
        more = told_text(message.data)
        if not loud:
            plainly = f"{message.type}  {plain(message.subject)}  {where}  {more}".rstrip()
            line = told(message.type, message.subject, message.data) or plainly
            self.say(f"{clock}  {line}{marks}")
        else:
            status = message.data["status"]
            meant = "" if status == "actual" else f" ({status})"
            called = f"#{self.number_of(message.alarm or message.id)}"
            title = f"{name.upper()}{meant}  {plain(message.subject)}  {where}  {more}".rstrip()
            self.say(f"{clock}  *** ALARM {called} {title}{marks}")
            if verdict.late:
                self.say(f"          {age_text(verdict.age)}; {_OPEN_NOW[verdict.open_now]}")
        if verdict.outcome is Outcome.CONFLICT:
            self.say(f"          CONFLICT: {verdict.why} ({number}): a copied card, or a forgery")
        for note in verdict.notes:
            self.say(f"          {note}")

    def _history(self, message: OpenedMessage) -> None:
        """A line about an alarm that was over when it came."""
        name = " ".join(message.type.split(".")[1:])
        where = place_text(message.data.get("place") or {})
        what = f"{self._since(message.time)}  {name}  {plain(message.subject)}  {where}"
        self.say(f"history   {what}".rstrip())

    def _clock(self, at_ms: int) -> str:
        """The time of day on its readers' clocks."""
        return datetime.fromtimestamp(at_ms / 1_000, self._zone).strftime("%H:%M:%S")

    def _since(self, time: str) -> str:
        """Date and time on its readers' clocks, of an RFC 3339 time that was believed."""
        at = datetime.fromisoformat(time)
        with contextlib.suppress(OverflowError):  # a box whose clock says 9999 is shown as it says
            at = at.astimezone(self._zone)
        return at.strftime("%Y-%m-%d %H:%M:%S")

    def finding(self, finding: Finding, at_ms: int) -> None:
        """Show something the centre noticed by itself, and when."""
        bang = "" if finding.kind.good else "!!! "
        kind = finding.kind.value.replace("-", " ")
        self.say(f"{self._clock(at_ms)}  {bang}{kind}: {finding.gateway}: {finding.text}")

    def link(self, uplink: str, text: str, at_ms: int) -> None:
        """Show what has become of the connection over an uplink."""
        self.say(f"{self._clock(at_ms)}  uplink {uplink}: {text}")

    def open_alarms(self, alarms: tuple[Alarm, ...]) -> None:
        """List what still needs someone."""
        if not alarms:
            self.say("no open alarms")
        for alarm in alarms:
            where = f"{plain(alarm.subject)}  {place_text(alarm.place)}".rstrip()
            kind = alarm.type.split(".")[1].upper()
            number, since = self.number_of(alarm.id), self._since(alarm.time)
            self.say(f"#{number} {kind}  {where}  since {since}  {alarm.word.state.value}")

    def key(self, line: str, alarms: tuple[Alarm, ...], answer: Answers) -> bool:
        """Obey one line typed by a person; False when they want to leave."""
        words = line.split()
        if words == ["q"]:
            return False
        if words in ([], ["l"]):
            self.open_alarms(alarms)
        elif len(words) == 2 and words[0] in _VERBS and words[1].isascii() and words[1].isdigit():
            state = _VERBS[words[0]]
            found = [alarm for alarm in alarms if self.number_of(alarm.id) == int(words[1])]
            if not found:
                self.say(f"no open alarm #{words[1]}; l lists them")
            elif answer(found[0].id, state):
                self.say(f"#{words[1]} {state.value}")
            else:
                self.say(f"#{words[1]} is {found[0].word.state.value} already")
        elif words[0] in {"?", "help"}:
            self.say("\n".join((HELP, *WORDS)))
        else:
            self.say(f"not understood: {plain(line.strip()[:80])}; ? lists what can be typed")
        return True


_OPEN_NOW = {
    True: "still open now",
    False: "closed now",
    None: "whether it is still open is not known yet",
}
