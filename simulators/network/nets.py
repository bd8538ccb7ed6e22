"""Two network namespaces, a gateway's and a centre's, joined by as many cables as one likes.

What a ferry cannot show: interfaces, addresses, routes, and packets that vanish without a trace.
Needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN) and iproute2. Nothing of it outlives its processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

FAR = "10.77.0.1"
"""The centre's address: every cable leads to it, the first one by preference."""

_CLONE_NEWNET = 0x40000000
_NOBODY = "02:00:00:00:00:01"
"""A link address that nobody has: what is sent to it is on the cable and is taken by no one."""


class NoNetsError(RuntimeError):
    """This machine, or this user, may not make namespaces; says why."""


class Nets:
    """A context manager. Cables are named by the interface at the gateway's side."""

    def __init__(self, cables: Sequence[str]) -> None:
        """Nothing is made before it is entered."""
        self._cables = {name: f"10.77.{number}" for number, name in enumerate(cables, start=1)}
        self._holders: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Make all of it, in some 50 ms; NoNetsError when that is not permitted."""
        if os.geteuid() != 0 or not all(shutil.which(word) for word in ("ip", "unshare")):
            raise NoNetsError("needs root, unshare and iproute2")
        try:
            for side in ("gateway", "centre"):
                self._holders[side] = _held()
            self._wire()
        except (OSError, RuntimeError) as error:
            self._end()
            raise NoNetsError(f"namespaces are not permitted here: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the namespaces; the kernel takes their interfaces apart."""
        self._end()

    def _end(self) -> None:
        for holder in self._holders.values():
            with holder:
                holder.kill()

    def near(self, cable: str) -> str:
        """The gateway's address on that cable."""
        return f"{self._cables[cable]}.2"

    def lose(self, cable: str) -> None:
        """From now on every packet on that cable vanishes; both ends believe it to be well."""
        self._ip("gateway", f"neigh replace {self._far(cable)} lladdr {_NOBODY} dev {cable}")
        self._ip("centre", f"neigh replace {self.near(cable)} lladdr {_NOBODY} dev {cable}")

    def find(self, cable: str) -> None:
        """End of `lose`."""
        self._ip("gateway", f"neigh del {self._far(cable)} dev {cable}")
        self._ip("centre", f"neigh del {self.near(cable)} dev {cable}")

    @contextlib.contextmanager
    def inside(self, side: str) -> Iterator[None]:
        """This thread's new sockets and processes are on that side while it lasts."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self._holders[side].pid}/ns/net", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def _far(self, cable: str) -> str:
        return f"{self._cables[cable]}.1"

    def _wire(self) -> None:
        for side in self._holders:
            self._ip(side, "link set lo up")
        self._ip("centre", f"addr add {FAR}/32 dev lo")
        centre = self._holders["centre"].pid
        for metric, cable in enumerate(self._cables, start=1):
            self._ip("gateway", f"link add {cable} type veth peer name {cable} netns {centre}")
            for side, address in (("gateway", self.near(cable)), ("centre", self._far(cable))):
                self._ip(side, f"addr add {address}/24 dev {cable}")
                self._ip(side, f"link set {cable} up")
            route = f"route add {FAR} via {self._far(cable)} dev {cable} metric {metric}"
            self._ip("gateway", route)
        with self.inside("gateway"):  # loose, as systemd sets it: answers come back by any cable
            for cable in ("all", *self._cables):
                path = Path(f"/proc/sys/net/ipv4/conf/{cable}/rp_filter")
                with contextlib.suppress(OSError):
                    path.write_text("2", encoding="ascii")

    def _ip(self, side: str, words: str) -> None:
        with self.inside(side):
            done = subprocess.run(
                ["ip", *words.split()],  # noqa: S607 -- wherever this machine has it
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError(f"ip {words}: {done.stderr.strip()}")


def _held() -> subprocess.Popen[bytes]:
    """A process in a namespace of its own that ends with us: `cat` reads until we are gone."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"],  # noqa: S607 -- wherever this machine has it
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert holder.stdout is not None
    if not holder.stdout.readline():  # its first word comes from inside, or it ends without one
        holder.communicate()
        raise RuntimeError("unshare --net was refused")
    return holder


def _enter(descriptor: int) -> None:
    """setns(2) for the calling thread; Python has no word for it before 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
