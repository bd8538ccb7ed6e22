"""The contract every driver keeps: readings in, actions out, no opinion.

A driver owns its hardware and its threads. It hands Readings over on the daemon's event loop,
stamped on the gateway's monotonic clock, with the contact's sense applied. It never debounces,
never decides, never raises into its caller once started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.model import Level, Reading


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
    """One input a driver must watch: its address (`gpio:17`) and how its contact rests."""

    address: str
    contact: Contact


class DriverError(Exception):
    """Hardware that could not be opened. Says what, and what a person can do about it."""


class Driver(Protocol):
    """What the daemon needs of field hardware."""

    def start(
        self,
        *,
        wires: Sequence[Wire],
        lamps: Sequence[str],
        on_reading: Callable[[Reading], None],
    ) -> None:
        """Open the inputs and lamps and begin to report on the running loop.

        The first level of every wire is reported before this returns. Raises DriverError.
        """

    def light(self, address: str, *, on: bool) -> None:
        """Drive a lamp. A lamp that cannot be driven is logged once, never raised."""

    def check(self) -> None:
        """Re-read every input and report those that differ from the last edge seen."""

    def stop(self) -> None:
        """Close the hardware, lamps off. Safe to call twice."""
