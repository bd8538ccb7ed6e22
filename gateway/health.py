"""Tells systemd how the daemon is: ready, alive, stopping. Nothing to tell is no error.

READY goes out when the inputs are live, not when MQTT is: a school without network still wants its
presses recorded. The watchdog is fed from the loop that reads the inputs, so it proves that loop.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Protocol


class Health(Protocol):
    """Where the daemon reports to."""

    def ready(self, status: str) -> None:
        """Inputs are live."""

    def alive(self) -> None:
        """The loop that reads inputs and attends to deadlines has gone round."""

    def stopping(self) -> None:
        """A clean stop has begun."""


class Systemd:
    """sd_notify(3) over $NOTIFY_SOCKET; silent where there is none. Never blocks, never raises."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # a leading @ means the abstract namespace, whose names begin with a zero byte
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._unsaid = ""

    def ready(self, status: str) -> None:
        self._unsaid = f"READY=1\nSTATUS={status}\n"
        self.alive()

    def alive(self) -> None:
        if self._send(f"{self._unsaid}WATCHDOG=1"):
            self._unsaid = ""

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, text: str) -> bool:
        """Say it now or not at all: systemd may be busy, and this loop reads the inputs."""
        if not self._address:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto(text.encode(), self._address)
            except OSError:
                return False
        return True
