"""The contract every driver keeps: readings in, actions out, no opinion.

A driver owns its hardware and its threads. It hands Readings over on the daemon's event loop,
stamped on the gateway's monotonic clock, with the contact's sense applied. It never debounces,
never decides, never raises into its caller once started.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from gateway.core.action import Action, Result
from gateway.core.hardware import OnSilence
from gateway.core.model import Condition, Json, Level, Reading


class Contact(StrEnum):
    """How a contact rests. The driver turns open and closed into NORMAL and ACTIVE with it."""

    NORMALLY_OPEN = "normally-open"
    NORMALLY_CLOSED = "normally-closed"


def level_of(contact: Contact, *, closed: bool) -> Level:
    """The level a contact shows: ACTIVE when it is not as it rests."""
    resting_closed = contact is Contact.NORMALLY_CLOSED
    return Level.NORMAL if closed is resting_closed else Level.ACTIVE


@dataclass(frozen=True, slots=True)
class Wire:
    """One input a driver must watch: its address and how its contact rests.

    pressed: a person operates it, so a short press must not be lost, and a unit that carries it
    is looked for at least every 2 s when it falls silent.
    """

    address: str
    contact: Contact
    pressed: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One output a driver must be able to drive: a lock, a siren, a lamp.

    on_silence: what a unit does with it by itself when the gateway falls silent. energised_locks:
    which of on and off that is, for a lock (False: on releases it, and is what sounds or lights).
    """

    address: str
    on_silence: OnSilence = OnSilence.LOCK
    energised_locks: bool = False


@dataclass(frozen=True, slots=True)
class Ear:
    """Whom a driver tells, on the daemon's event loop."""

    reading: Callable[[Reading], None]
    condition: Callable[[Condition], None]
    result: Callable[[Result], None]


class Memory:
    """What drivers ask to be remembered over a restart; the daemon fills it and keeps what is new.

    identities: what each device's unit said it is, when that was first seen.
    """

    def __init__(self) -> None:
        self.identities: dict[str, str] = {}
        self.keep: Callable[[str, str], None] = lambda _device, _identity: None

    def remember(self, device: str, identity: str) -> None:
        """A device's unit was seen for the first time, and this is what it is."""
        self.identities[device] = identity
        self.keep(device, identity)


class DriverError(Exception):
    """Hardware that could not be opened. Says what, and what a person can do about it."""


class Driver(Protocol):
    """What the daemon needs of field hardware."""

    def start(self, *, wires: Sequence[Wire], outputs: Sequence[Output], ear: Ear) -> None:
        """Open inputs and outputs and begin to report on the running loop.

        No output moves by it: a lamp starts dark, a lock stays as it is. Pins report their first
        level before this returns, units on a bus as soon as they have answered. Raises DriverError.
        """

    def light(self, address: str, *, on: bool) -> None:
        """Drive a lamp. A lamp that cannot be driven is logged once, never raised."""

    def act(self, action: Action) -> None:
        """Drive an output; exactly one Result comes back through `Ear.result`, never from within.

        A later action on the same output takes the place of an earlier one.
        """

    def check(self) -> None:
        """Re-read every input and report those that differ from the last edge seen."""

    def status(self) -> Mapping[str, Json]:
        """How every bus and its units are, for people; empty where there is no bus."""

    async def stop(self) -> None:
        """End pulses of ours, close the hardware, lamps off. Within 2 s; safe to call twice."""


@runtime_checkable
class Searcher(Protocol):
    """What a driver with buses can do beside `Driver`."""

    def search(self, bus: str, sweep: Mapping[str, Json]) -> AsyncGenerator[dict[str, Json], None]:
        """Look for units on a bus between its own polls, with reads alone; news as plain JSON.

        sweep: what to ask, as plain JSON. Units of the configuration are not asked. Raises
        KeyError for an unknown bus, ValueError for a sweep that is none.
        """
