"""One emulated machine: built, booted, spoken with, and deprived of its power.

Owns the QEMU process and the three ways out of the machine: its console, the service's log, and
the port of the agent inside. Knows nothing of alarms.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from gateway.core.model import Json

HERE = Path(__file__).parent / "vm"
BOOT_WITHIN_S = 240.0
"""Some 20 s on an idle core; a machine that is shared may take ten times that."""

ANSWER_WITHIN_S = 90.0

_QUICK = ("-accel", "tcg,thread=multi", "-smp", "2")
_STEADY = (
    *("-accel", "tcg,thread=single", "-smp", "1", "-rtc", "clock=vm"),
    *("-icount", "shift=3,sleep=on,align=off"),  # 8 ns an instruction
)

_Found = TypeVar("_Found")


class Broken(Exception):  # noqa: N818 -- what did not come, not how
    """The machine or a process beside it did not do what it must; the text says what."""


def wait_for(
    what: str, question: Callable[[], _Found | None], *, within_s: float = ANSWER_WITHIN_S
) -> _Found:
    """The first answer that is true; Broken names what did not come."""
    deadline = time.monotonic() + within_s
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise Broken(f"within {within_s:.0f} s there was no {what}")
        time.sleep(0.01)
    return answer


def work_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the machine is built and kept: $QORGAN_VM, else in the user's cache."""
    given = environment.get("QORGAN_VM", "")
    cache = environment.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(given) if given else Path(cache) / "qorgan-vm"


def build(work: Path) -> None:
    """See that the machine in `work` is up to date; it says on standard error what it does."""
    work.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["/bin/bash", str(HERE / "build.sh"), str(work)], stdout=sys.stderr, check=False
    )
    if done.returncode:
        raise Broken(f"the machine could not be built in {work} (see above)")


def disk_of(folder: Path, image: Path) -> None:
    """An ext4 image of 8 MB that holds that folder, its owners and modes."""
    program = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise Broken("mkfs.ext4 is missing: sh tools/vm.sh")
    command = [program, "-q", "-F", "-d", str(folder), str(image), "8M"]
    subprocess.run(command, check=True, capture_output=True)


class Machine:
    """A machine that runs from `start` on until `cut`. Its files are `<name>.*` in `folder`."""

    def __init__(self, work: Path, folder: Path, name: str, *, steady: bool = False) -> None:
        """work: where it was built. folder: where it may write; its path must be short.

        steady: its clock counts its own instructions, so that on a busy host it is slow and not
        late; one core, and some three times the work.
        """
        self._steady = steady
        self._work = work
        self._folder = folder
        self._name = name
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._port: socket.socket | None = None
        self._heard = b""
        self._answers: dict[int, dict[str, Any]] = {}

    @property
    def log(self) -> Path:
        """What the service has logged since the boot, one line each."""
        return self._folder / f"{self._name}.log"

    @property
    def console(self) -> Path:
        """What the kernel and systemd have printed."""
        return self._folder / f"{self._name}.console"

    def start(self, disk: Path, site: Path, *, kernel: str = "") -> Self:
        """Switch it on, at once: `disk` is an NBD socket, `site` the image at /etc/qorgan."""
        program = shutil.which("qemu-system-x86_64")
        if program is None:
            raise Broken("qemu-system-x86_64 is missing: sh tools/vm.sh")
        said = f"console=ttyS0 root=/dev/vda rw panic=-1 mitigations=off quiet {kernel}"
        command = [
            *(program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            # software emulation alone: the same everywhere, and no device of the host is needed
            *("-cpu", "max", "-m", "512", *(_STEADY if self._steady else _QUICK)),
            *("-kernel", f"{self._work}/vmlinuz", "-initrd", f"{self._work}/initrd"),
            *("-append", said, "-serial", f"file:{self.console}"),
            *("-drive", f"file=nbd:unix:{disk},format=raw,if=virtio,cache=writeback"),
            *("-drive", f"file={site},format=raw,if=virtio,readonly=on"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
            *("-chardev", f"file,id=log,path={self.log}"),
            *("-device", "virtserialport,chardev=log,name=log"),
            *("-chardev", f"socket,id=rig,path={self._socket},server=on,wait=off"),
            *("-device", "virtserialport,chardev=rig,name=rig"),
        ]
        keeper = shutil.which("setpriv")
        if keeper is not None:  # whatever becomes of the campaign, no machine is left behind
            command = [keeper, "--pdeathsig", "KILL", *command]
        with (self._folder / f"{self._name}.qemu").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is the campaign's
            )
        return self

    @property
    def _socket(self) -> Path:
        return self._folder / f"{self._name}.rig"

    @property
    def running(self) -> bool:
        """True until the power is gone."""
        return self._process is not None and self._process.poll() is None

    def booted(self) -> Self:
        """Wait until the agent inside answers."""
        wait_for("port of the machine", self._connected, within_s=BOOT_WITHIN_S)
        wait_for(f"agent in the machine ({self.console})", self._up, within_s=BOOT_WITHIN_S)
        return self

    def _connected(self) -> bool:
        self._must_run()
        port = socket.socket(socket.AF_UNIX)
        try:
            port.connect(str(self._socket))
        except OSError:
            port.close()
            return False
        port.setblocking(False)
        self._port = port
        return True

    def _up(self) -> bool:
        self._hear()
        return 0 in self._answers

    def _must_run(self) -> None:
        if not self.running:
            told = (self._folder / f"{self._name}.qemu").read_text(encoding="utf-8")
            raise Broken(f"the machine is off: {told.strip() or self.console}")

    def ask(self, do: str, **what: Json) -> int:
        """Have the agent do something; the number `answer` takes. Does not wait."""
        assert self._port is not None
        number = next(self._numbers)
        line = json.dumps({"id": number, "do": do, **what}).encode() + b"\n"
        self._port.setblocking(True)
        try:
            self._port.sendall(line)
        except OSError as error:
            raise Broken(f"the machine does not listen: {error}") from error
        finally:
            self._port.setblocking(False)
        return number

    def answered(self, number: int) -> dict[str, Any] | None:
        """What came of it, None when nothing has come yet."""
        self._hear()
        return self._answers.get(number)

    def answer(self, number: int, *, within_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
        """Wait for what came of it; Broken when it could not be done."""

        def came() -> dict[str, Any] | None:
            self._must_run()
            return self.answered(number)

        found = wait_for("answer of the agent", came, within_s=within_s)
        if "error" in found:
            raise Broken(f"the agent: {found['error']}")
        return found

    def run(self, *words: str) -> dict[str, Any]:
        """A command inside, as root: code, out, err."""
        return self.answer(self.ask("run", words=list[Json](words)))

    def _hear(self) -> None:
        if self._port is None:
            return
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while got := self._port.recv(65_536):
                self._heard += got
        *whole, self._heard = self._heard.split(b"\n")
        for line in whole:
            answer = json.loads(line)
            self._answers[answer["id"]] = answer

    def lines(self) -> list[dict[str, Any]]:
        """The service's JSON lines that have come out whole, in order."""
        if not self.log.exists():
            return []
        whole = self.log.read_bytes().rpartition(b"\n")[0].splitlines()
        return [json.loads(line) for line in whole if line.startswith(b"{") and _is_whole(line)]

    def cut(self) -> None:
        """Take its power away (SIGKILL). Harmless when it is off."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._port is not None:
            self._hear()
            self._port.close()
            self._port = None
        self._socket.unlink(missing_ok=True)


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
