"""Is one unit there? Live, doubtful after a failure, silent; and when it is worth another try.

Pure. A dead unit costs a whole time-out each time it is asked, so doubt is tried sparingly and
silence probed ever more seldom; any sign of life resets everything at once.
"""

from __future__ import annotations

from math import ceil, log

SILENT_AFTER_US = 3_000_000
"""No answer for so long, after at least SILENT_FAILURES tries, is silence.

On a clean line a unit is known to be dead 3 to 5 s after its last answer: the tries are made at
0.05, 1, 2 and 3 s after the first failure.
"""

SILENT_FAILURES = 2

SURELY_US = 6_000_000
"""No answer for so long is silence on the noisiest line: 2 s are left of the 8 that are promised.

On a noisy line more failures in a row are wanted before that, so many that noise alone brings them
about once in MISTAKEN tries.
"""

MISTAKEN = 1e8
FAILURES_MOST = 12

AGAIN_US = 50_000
"""After a first failure: a single lost frame is far likelier than a dead unit."""

DOUBT_US = 1_000_000
"""Between later tries: with time-outs of 0.1 s, doubt takes a tenth of the wire for 3 s."""

NOISY_DOUBT_US = 500_000
"""The same on a noisy line, where more of them are wanted."""

NOISE_MEMORY = 256
"""The share of failures that were only noise is a mean over about so many requests."""

HELD_AGAIN_US = 200_000
"""After a question that was held back, which costs the wire nothing."""

DAMAGED_BEFORE_DOUBT = 4
"""Damaged answers in a row before the unit is tried sparingly: two polls, each with its retry."""

PROBE_STEP_US = 500_000
"""The pause before a probe of a silent unit grows by this much each time."""

PROBE_MOST_US = 10_000_000
"""Longest pause between two probes of a unit that carries nothing a person presses."""

PROBE_PRESSED_US = 1_800_000
"""The same where a person presses something: 2 s, less what whoever holds the wire may take."""


HURRIED_US = 500_000
"""The same while somebody waits for the unit's outputs, which is 10 s at a time at most."""


class Noise:
    """What share of a port's requests fail though the unit lives: known once it has answered."""

    __slots__ = ("_share",)

    def __init__(self) -> None:
        self._share = 0.0

    def answered(self, failures: int) -> None:
        """A living unit answered, after so many failures in a row."""
        if not failures:
            self._share -= self._share / NOISE_MEMORY
            return
        for failed in (*[1.0] * min(failures, FAILURES_MOST), 0.0):
            self._share += (failed - self._share) / NOISE_MEMORY

    @property
    def wanted(self) -> int:
        """How many failures in a row make silence likelier than noise."""
        if self._share < 1 / NOISE_MEMORY:
            return SILENT_FAILURES
        return min(ceil(-log(MISTAKEN) / log(self._share)), FAILURES_MOST)


class Vigil:
    """One unit's signs of life.

    heard_us: its last answer, None before the first. tried_us: when the last try that failed began.
    next_us: it is not asked before, while it is not `live`.
    """

    __slots__ = (
        "_damaged",
        "_doubtful",
        "_pressed",
        "_probes",
        "_since_us",
        "failures",
        "heard_us",
        "next_us",
        "silent",
        "tried_us",
    )

    def __init__(self, *, pressed: bool, now_us: int) -> None:
        """pressed: it carries something a person operates. Until it fails it counts as live."""
        self._pressed = pressed
        self._since_us = now_us
        self._doubtful = False
        self._damaged = 0
        self._probes = 0
        self.heard_us: int | None = None
        self.failures = 0
        self.silent = False
        self.next_us = self.tried_us = now_us

    @property
    def live(self) -> bool:
        """True while it is polled as planned."""
        return not self.silent and not self._doubtful

    @property
    def probes(self) -> int:
        """Probes since it fell silent."""
        return self._probes

    def answered(self, now_us: int) -> bool:
        """Any valid answer, a refusal too. True when it had been silent."""
        was_silent = self.silent
        self.heard_us = self._since_us = now_us
        self.silent = self._doubtful = False
        self.failures = self._damaged = self._probes = 0
        return was_silent

    def failed(self, began_us: int, now_us: int, *, damaged: bool, wanted: int) -> bool:
        """No answer, or a damaged one, to what was sent at `began_us`. True: it is silent now.

        wanted: failures in a row that make silence likelier than noise.
        """
        self.failures += 1
        self.tried_us = began_us
        self._damaged = self._damaged + 1 if damaged else 0
        if self.silent:
            self._probes += 1
            self._rest(began_us, now_us)
            return False
        noisy = wanted > 2 * SILENT_FAILURES
        sure = self.failures >= wanted
        silent_us = self._since_us + (SILENT_AFTER_US if sure or not noisy else SURELY_US)
        if now_us >= silent_us and self.failures >= SILENT_FAILURES:
            self.silent = True
            self._rest(began_us, now_us)
            return True
        if not damaged or self._damaged >= DAMAGED_BEFORE_DOUBT:
            first = not self._doubtful
            self._doubtful = True
            again_us = now_us + AGAIN_US
            pause_us = NOISY_DOUBT_US if noisy else DOUBT_US
            self.next_us = again_us if first else now_us + pause_us
            if now_us < silent_us < self.next_us:
                self.next_us = max(silent_us, again_us)
        return False

    def held(self, began_us: int, now_us: int) -> bool:
        """It was not asked: answers it owes could be mistaken. True: it is silent now.

        What was not asked says nothing of the unit, until it has been without an answer for so long
        that what it owes is out of date: then a try that failed before is all that is needed.
        """
        if self.silent:
            return self.failed(began_us, now_us, damaged=False, wanted=SILENT_FAILURES)
        if self.failures and now_us >= self._since_us + SURELY_US:
            self.silent = True
            self._rest(began_us, now_us)
            return True
        self.next_us = max(self.next_us, now_us + HELD_AGAIN_US)
        return False

    def gone(self, now_us: int) -> None:
        """The port was away: no time before now counts against the unit, and it is tried now."""
        self._since_us = self.next_us = now_us
        self._doubtful = False
        self.failures = self._damaged = self._probes = 0

    def urge(self) -> None:
        """Somebody has reason to think it lives: try it at once."""
        self.next_us = min(self.next_us, self._since_us)
        self._probes = 0

    def hurry(self) -> None:
        """Somebody waits for it: the next probe is soon."""
        self.next_us = min(self.next_us, self.tried_us + HURRIED_US)

    def _rest(self, began_us: int, now_us: int) -> None:
        """From begin to begin; and at least as long a pause as the probe itself took."""
        most_us = PROBE_PRESSED_US if self._pressed else PROBE_MOST_US
        pause_us = min((self._probes + 1) * PROBE_STEP_US, most_us)
        self.next_us = max(began_us + pause_us, 2 * now_us - began_us)
