"""The contract of a port: bytes out, bytes in, and the moment it is gone. No frames here.

`serial.py` and `tcp.py` keep it on a machine, the simulated bus keeps it under virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from gateway.core.hardware import Bus


class PortError(Exception):
    """The port is not there, or no longer. Says what, and what a person can do about it."""


class PortBusy(PortError):  # noqa: N818 -- names a state of the machine, and is acted on
    """Another program has it open."""


class Port(Protocol):
    """One port that is opened, used by one task, and closed; then opened again, if need be."""

    async def open(self) -> None:
        """Open it without holding up the loop. Raises PortError."""

    def write(self, data: bytes) -> None:
        """Send these bytes as one piece; they begin to leave now. Raises PortError."""

    async def read(self, until_us: int) -> bytes:
        """What has come in: at least one byte, or nothing when `until_us` has passed.

        Returns at once when bytes are waiting. Raises PortError when the port is gone.
        """

    def close(self) -> None:
        """Close it; harmless when it is closed."""


Opener: TypeAlias = Callable[[Bus], Port]
"""Makes the port of a bus, not yet open."""
