"""One output of a unit: which action it is doing, which waits, and which pulse of ours must end.

Pure: requests out, replies in, one at a time; `moves.py` writes the scripts it runs. It owns the
expiry: no request that begins to move the output is handed out after the action's own. Every
action gets exactly one Result, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drivers.modbus.unit.moves import Answer, Ask, Masks, Mover, Pause, Script, Verdict, Way, way_of
from drivers.modbus.wire.request import (
    Read,
    Reply,
    ReplyKind,
    Request,
    WriteRegister,
    WriteRegisters,
)
from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.model import US_PER_MS
from gateway.core.profile import OutputChannel

END_AGAIN_US = 200_000
"""Before the end of a pulse nobody answered is sent again."""

END_REFUSED_US = 1_000_000
"""The same when the unit answered, and its output did not follow."""

_AGAIN_US = {Urgency.LIFE: 200_000, Urgency.COMFORT: 1_000_000}
"""Before an action nobody answered is begun anew, until its expiry: to free a door as long as it
may help, and a lamp, which does no harm. Anybody else is told at once that it failed."""

_NEVER_US = 2**62
_STOPPING = "the gateway stops"


@dataclass(frozen=True, slots=True)
class Gate:
    """What a unit lets through. speaks: it answers. ready: its outputs may move. locked: why not.

    Neither ready nor locked: it is being set up, or silent, and actions wait.
    """

    speaks: bool
    ready: bool = False
    locked: str = ""


@dataclass(slots=True)
class _Job:
    """A script under way. begun: a request that moves the output has been handed out.

    former: the end of an older pulse, which it took over when it began.
    """

    action: Action
    way: Way
    script: Script
    pending: Ask | Pause | None = None
    resume_us: int = 0
    begun: bool = False
    why: str = ""
    sent: Request | None = None
    former: _End | None = None


@dataclass(slots=True)
class _End:
    """A pulse of ours: what the output goes back to, and when."""

    on: bool
    at_us: int
    told: bool = False


class Actuator:
    """One output. `offer` it actions, hand out what it `ask`s, let it `take` the reply.

    tell: called with each Result. report: told once when the end of a pulse does not come through
    (`modbus.pulse.stuck`), and once when it has (`modbus.pulse.ended`).
    """

    def __init__(
        self,
        address: str,
        channel: OutputChannel,
        masks: Masks,
        *,
        tell: Callable[[Result], None],
        report: Callable[[str, dict[str, str]], None],
    ) -> None:
        self.address = address
        self.channel = channel
        self._masks = masks
        self._tell = tell
        self._report = report
        self._mover = Mover(channel, masks, lambda: self._next is not None or self._stopping)
        self._ender = Mover(channel, masks, lambda: False)
        self._job: _Job | None = None
        self._next: Action | None = None
        self._end: _End | None = None
        self._end_job: _Job | None = None
        self._asked: _Job | None = None
        self._stopping = False

    # --- what is wanted -------------------------------------------------------------------------

    def offer(self, action: Action, now_us: int) -> None:
        """Take an action on; one that has not begun is replaced by it."""
        if self._job is None:
            self._job = self._new_job(action, now_us)
        elif not self._job.begun:
            self._conclude_replaced(self._job.action, now_us)
            self._job = self._new_job(action, now_us)
        else:
            if self._next is not None:
                self._conclude_replaced(self._next, now_us)
            self._next = action
            self._job.resume_us = now_us

    def sweep(self, now_us: int, gate: Gate) -> None:
        """Answer what waits and is too late, or not to be done at all."""
        for action in self._waiting():
            if now_us > action.not_after_us:
                why = "the unit is silent" if not gate.speaks else "its turn did not come in time"
                job = self._job
                known = job.why if job is not None and job.action is action else ""
                self._drop(action, Outcome.EXPIRED, known or why, now_us)
            elif gate.locked:
                self._drop(action, Outcome.LOCKED, gate.locked, now_us)
        if self._end is not None and gate.locked and self._end.at_us <= now_us:
            self._stuck(self._end, gate.locked)

    def urgency(self, now_us: int, gate: Gate) -> Urgency | None:
        """How urgent the request is that could go out now; None: there is none."""
        chosen = self._choose(now_us, gate)
        return None if chosen is None else chosen.action.urgency

    def deadline(self, gate: Gate) -> int | None:
        """When `sweep` or `urgency` will next have something to say; None: never by itself."""
        moments = [action.not_after_us + 1 for action in self._waiting()]
        job = self._job
        if job is not None and (job.begun or gate.ready):
            moments.append(job.resume_us)
        if self._end is not None and gate.ready:
            moments.append(self._end_job.resume_us if self._end_job else self._end.at_us)
        return min(moments, default=None)

    @property
    def awaited(self) -> bool:
        """True while an action waits that somebody will miss soon; a lamp is none."""
        return any(action.urgency is not Urgency.COMFORT for action in self._waiting())

    @property
    def pulsing(self) -> bool:
        """True while a pulse of ours must still be ended."""
        return self._end is not None

    @property
    def idle(self) -> bool:
        """True when nothing is being done and nothing waits."""
        return self._job is None and self._end is None

    # --- requests and replies -------------------------------------------------------------------

    def ask(self, now_us: int, gate: Gate) -> Request | None:
        """The next request, to be sent now; None when there turned out to be none."""
        while (job := self._choose(now_us, gate)) is not None:
            ask = job.pending
            if not isinstance(ask, Ask) or (ask.moves and now_us > job.action.not_after_us):
                self._resume(job, Answer(now_us))
            elif (request := ask.make()) is None:
                self._resume(job, Answer(now_us, stale=True))
            else:
                if ask.moves:
                    self._begin(job, now_us)
                job.sent, self._asked = request, job
                return request
        return None

    @property
    def not_after_us(self) -> int | None:
        """Until when what `ask` gave last may begin to leave; None: nothing moves by it."""
        job = self._asked
        if job is None or not isinstance(job.pending, Ask) or not job.pending.moves:
            return None
        return job.action.not_after_us

    def take(self, reply: Reply | None, now_us: int) -> None:
        """What came of the request that `ask` gave last; None: it was too late to send it."""
        job, self._asked = self._asked, None
        assert job is not None
        ask = job.pending
        assert isinstance(ask, Ask)
        if reply is None:
            self._resume(job, Answer(now_us))
            return
        if ask.mask is not None:
            self._remember(ask, job.sent, reply)
        answer = Answer(now_us, reply)
        if ask.moves and answer.accepted and self._end is not None and job is self._job:
            self._end.at_us = self._ends_us(job, now_us)
        self._resume(job, answer)

    def cut(self, why: str, now_us: int) -> None:
        """The port is gone: what has begun is over, and nobody knows how; what waits goes on."""
        self._asked = self._end_job = None
        job = self._job
        if job is None:
            return
        if job.begun:
            again = job.way is Way.PLAIN
            self._conclude(job, Verdict(Outcome.FAILED, why, again=again), now_us)
        else:
            self._job = self._new_job(job.action, now_us)

    # --- the end --------------------------------------------------------------------------------

    def stop(self, now_us: int) -> None:
        """End pulses at once, begin nothing more."""
        self._stopping = True
        for action in self._waiting():
            self._drop(action, Outcome.FAILED, _STOPPING, now_us)
        if self._end is not None:
            self._end.at_us = min(self._end.at_us, now_us)

    def give_up(self, now_us: int) -> None:
        """Answer whatever has not been answered, end or no end."""
        self.stop(now_us)
        if self._job is not None:
            self._drop(self._job.action, Outcome.FAILED, _STOPPING, now_us)
        self._end = self._end_job = None

    # --- inside ---------------------------------------------------------------------------------

    def _waiting(self) -> list[Action]:
        """Actions that have not begun."""
        waiting = [] if self._job is None or self._job.begun else [self._job.action]
        return waiting if self._next is None else [*waiting, self._next]

    def _choose(self, now_us: int, gate: Gate) -> _Job | None:
        """The job whose turn it is: the end of a pulse, or a more urgent action."""
        job = self._job
        if job is not None and (now_us < job.resume_us or not (job.begun or gate.ready)):
            job = None
        if self._end is None or not gate.ready:
            return job
        if self._end_job is None and self._end.at_us <= now_us:
            self._end_job = self._new_end(self._end, now_us)
        end = self._end_job
        if end is None or now_us < end.resume_us:
            return job
        return end if job is None or end.action.urgency <= job.action.urgency else job

    def _new_job(self, action: Action, now_us: int) -> _Job:
        way, steps = way_of(self.channel, action)
        return _Job(action, way, self._mover.script(action, way, steps), resume_us=now_us)

    def _new_end(self, end: _End, now_us: int) -> _Job:
        action = Action(
            id="",
            output=self.address,
            on=end.on,
            not_after_us=_NEVER_US,
            urgency=Urgency.PULSE_END,
        )
        return _Job(action, Way.PLAIN, self._ender.plain(action), resume_us=now_us)

    def _begin(self, job: _Job, now_us: int) -> None:
        """The output moves: an older pulse's end is taken over, a new one's is set."""
        if job is not self._job:
            return
        if not job.begun:
            job.begun = True
            job.former, self._end, self._end_job = self._end, None, None
        if job.way is Way.SOFT and self._end is None:
            self._end = _End(not job.action.on, self._ends_us(job, now_us))

    def _ends_us(self, job: _Job, now_us: int) -> int:
        """When a pulse that began now must end; at once when the driver stops."""
        return now_us if self._stopping else now_us + (job.action.for_ms or 0) * US_PER_MS

    def _resume(self, job: _Job, answer: Answer) -> None:
        """Let a script go on until it wants something, or has ended."""
        try:
            if job.pending is None:
                job.pending = next(job.script)
            else:
                job.pending = job.script.send(answer)
        except StopIteration as over:
            verdict: Verdict = over.value
            if job is self._job:
                self._conclude(job, verdict, answer.at_us)
            else:
                self._ended(verdict, answer.at_us)
            return
        pause = isinstance(job.pending, Pause) and not (job.begun and self._next is not None)
        job.resume_us = answer.at_us + (job.pending.for_us if pause else 0)  # type: ignore[union-attr]  # a Pause, as just seen

    def _conclude(self, job: _Job, verdict: Verdict, now_us: int) -> None:
        action = job.action
        self._hand_back(job, verdict, now_us)
        again_us = _AGAIN_US.get(action.urgency)
        if verdict.again and again_us is not None and self._next is None and not self._stopping:
            self._job = self._new_job(action, now_us + again_us)
            self._job.why = verdict.why
            return
        self._drop(action, verdict.outcome, verdict.why, now_us)

    def _hand_back(self, job: _Job, verdict: Verdict, now_us: int) -> None:
        """What did not come about leaves the pulse before it as it was, with its end.

        But for what saves lives: a door that could not be freed is not locked for it.
        """
        if not verdict.moved:
            self._end = None if job.begun else self._end
        failed = verdict.outcome in (Outcome.FAILED, Outcome.EXPIRED)
        if failed and self._end is None and job.action.urgency is not Urgency.LIFE:
            self._end, self._end_job = job.former, None
            if self._end is not None and self._stopping:
                self._end.at_us = now_us

    def _ended(self, verdict: Verdict, now_us: int) -> None:
        """The end of a pulse was tried: once more, until it has come through."""
        assert self._end is not None
        if verdict.outcome.done:
            if self._end.told:
                self._report("modbus.pulse.ended", {"output": self.address})
            self._end = self._end_job = None
            return
        self._stuck(self._end, verdict.why)
        again_us = END_AGAIN_US if verdict.again else END_REFUSED_US
        self._end_job = self._new_end(self._end, now_us + again_us)

    def _stuck(self, end: _End, why: str) -> None:
        """Told once: an output stays as a pulse has left it."""
        if not end.told:
            end.told = True
            self._report("modbus.pulse.stuck", {"output": self.address, "why": why})

    def _drop(self, action: Action, outcome: Outcome, why: str, now_us: int) -> None:
        """An action's one Result; the one that waited behind it comes up."""
        if action is self._next:
            self._next = None
        elif self._job is not None and action is self._job.action:
            self._job.script.close()
            self._job = None
            if self._next is not None:
                self._job, self._next = self._new_job(self._next, now_us), None
        self._tell(Result(action.id, outcome, now_us, "" if outcome.done else why))

    def _conclude_replaced(self, action: Action, now_us: int) -> None:
        why = "a later action on the same output came first"
        self._tell(Result(action.id, Outcome.REPLACED, now_us, why))

    def _remember(self, ask: Ask, sent: Request | None, reply: Reply) -> None:
        """What a shared mask holds now, or that nobody knows."""
        assert ask.mask is not None
        if reply.kind is not ReplyKind.ANSWERED:
            self._masks.pop(ask.mask, None)
        elif isinstance(sent, Read):
            self._masks[ask.mask] = reply.values[0]
        elif isinstance(sent, WriteRegister):
            self._masks[ask.mask] = sent.value
        elif isinstance(sent, WriteRegisters):
            self._masks[ask.mask] = sent.values[0]
