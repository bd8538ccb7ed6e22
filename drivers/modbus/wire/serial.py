"""A serial port: opened by pyserial, then read and written by the event loop.

The only file that knows pyserial. It never waits for the port on the loop: opening is a thread's,
reading is epoll's. What goes wrong becomes a PortError that says what a person can do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import serial

from drivers.modbus.wire.inbox import MOST_BYTES, Inbox
from drivers.modbus.wire.port import PortBusy, PortError
from gateway.core.hardware import Bus, Parity

if TYPE_CHECKING:
    from gateway.clock import Clock

OPEN_S = 5.0
"""How long opening may take; some adapters block for seconds after they were plugged in."""

_PARITY = {
    Parity.NONE: serial.PARITY_NONE,
    Parity.EVEN: serial.PARITY_EVEN,
    Parity.ODD: serial.PARITY_ODD,
}
_SYSFS = Path("/sys/bus/usb-serial/devices")
_BY_ID = Path("/dev/serial/by-id")

_ADVICE = (
    (
        (errno.ENOENT, errno.ENODEV, errno.ENXIO),
        "is not there; plug the adapter in, or find its right name in /dev/serial/by-id",
    ),
    (
        (errno.EACCES, errno.EPERM),
        "may not be used; put this program's user into the group dialout",
    ),
    (
        (errno.EAGAIN, errno.EBUSY),
        "is in use by another program; stop that one, a line has one master",
    ),
    ((errno.ENOTTY, errno.EISDIR), "is no serial device; correct `port`"),
    ((errno.EIO,), "does not answer; unplug the adapter and plug it in again"),
)


class SerialPort:
    """One serial device. Opened exclusively: nobody else may talk on the line meanwhile."""

    def __init__(self, bus: Bus, clock: Clock, *, sysfs: Path = _SYSFS) -> None:
        """sysfs: where the kernel lists USB serial adapters, for their latency timers."""
        self._bus = bus
        self._clock = clock
        self._sysfs = sysfs
        self._serial: serial.Serial | None = None
        self._fd = -1
        self._asked = select.poll()
        self._inbox = Inbox(clock)

    async def open(self) -> None:
        self.close()
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, self._open)
        try:
            async with asyncio.timeout(OPEN_S):
                port = await asyncio.shield(opening)
        except TimeoutError:
            opening.add_done_callback(_let_go)
            raise PortError(
                f"{self._where}: does not open; unplug the adapter and plug it in again"
            ) from None
        except asyncio.CancelledError:
            opening.add_done_callback(_let_go)
            raise
        self._serial, self._fd = port, port.fileno()
        self._asked = select.poll()
        self._asked.register(self._fd, select.POLLIN)
        self._inbox = Inbox(self._clock)
        loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        if self._inbox.gone is not None or self._serial is None:
            raise self._inbox.gone or self._shut()
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise self._lost(error) from None
        if written < len(data):
            # The kernel's buffer holds 4 KiB and a frame at most 256: the line stands still.
            raise self._lost(OSError(errno.EAGAIN, "bytes do not leave"))

    async def read(self, until_us: int) -> bytes:
        if self._serial is None:
            raise self._shut()
        data = b""
        if self._clock.now_us() < until_us:
            data = await self._inbox.take(until_us)
        alive = self._serial is not None and self._inbox.gone is None
        # The loop may have been held up for longer than the bytes took to come. Asked first: this
        # is on the way of every request, and a read that finds nothing costs as much again.
        if not data and alive and self._asked.poll(0):
            self._readable()
        return data or self._inbox.fetch()

    def close(self) -> None:
        if self._serial is None:
            return
        # The reader first: epoll forgets a closed descriptor, the loop would not.
        self._deaf()
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()
        self._serial, self._fd = None, -1
        self._inbox.end(self._shut())

    def _readable(self) -> None:
        """Fetch what waits in the kernel, or the news that the port is gone."""
        try:
            data = os.read(self._fd, MOST_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._inbox.put(data)
        elif self._hung_up():
            self._lost(OSError(errno.EIO, "hung up"))

    def _hung_up(self) -> bool:
        """An empty read may mean either: nothing has come, or nothing ever will."""
        return any(state & (select.POLLHUP | select.POLLERR) for _, state in self._asked.poll(0))

    def _lost(self, error: OSError) -> PortError:
        """Remember that the port is gone, and stop the loop from asking it again and again."""
        gone = PortError(
            f"{self._where}: {error.strerror or error}; the adapter is unplugged or has failed"
        )
        self._inbox.end(gone)
        self._deaf()
        return gone

    def _deaf(self) -> None:
        # A port may be closed when its loop is not running any more.
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._fd)

    def _open(self) -> serial.Serial:
        """In a thread: open and configure. Raises PortError."""
        port = serial.Serial()
        try:
            port.port = self._bus.port
            port.baudrate = self._bus.baud
            port.parity = _PARITY[self._bus.parity]
            port.stopbits = self._bus.stop_bits
            port.timeout = 0
            port.exclusive = True
            _open_device(port)
        except termios.error as error:
            raise self._refused(OSError(*error.args)) from None
        except (OSError, ValueError) as error:
            raise self._refused(error) from None
        self._hasten()
        return port

    def _hasten(self) -> None:
        """Make an FTDI adapter hand bytes over after 1 ms, not 16; where it cannot, so be it."""
        with contextlib.suppress(OSError):
            name = Path(self._bus.port).resolve().name
            timer = self._sysfs / name / "latency_timer"
            if timer.exists() and timer.read_text(encoding="ascii").strip() != "1":
                timer.write_text("1", encoding="ascii")

    def _refused(self, error: OSError | ValueError) -> PortError:
        """Why the port could not be opened, and what to do."""
        number = error.errno if isinstance(error, OSError) else None
        for numbers, text in _ADVICE:
            if number in numbers:
                busy = errno.EBUSY in numbers
                return (PortBusy if busy else PortError)(f"{self._where}: {text}")
        return PortError(
            f"{self._where}: cannot be opened ({error}); check `port`, `baud`, `parity`"
        )

    def _shut(self) -> PortError:
        return PortError(f"{self._where}: is not open")

    @property
    def _where(self) -> str:
        return f"bus {self._bus.id}, port {self._bus.port}"


@dataclass(frozen=True, slots=True)
class SerialDevice:
    """A serial port of this machine. by_id: its name that stays when adapters are plugged anew."""

    path: str
    description: str
    by_id: str = ""


def serial_devices() -> tuple[SerialDevice, ...]:
    """The serial ports of this machine, in order; consoles without hardware behind them left out.

    It asks the kernel's list and opens none of them.
    """
    from serial.tools import list_ports  # noqa: PLC0415 -- only for people, never in the daemon

    return tuple(
        SerialDevice(one.device, one.description or "", by_id(one.device))
        for one in sorted(list_ports.comports())
    )


def by_id(path: str, *, folder: Path = _BY_ID) -> str:
    """The lasting name of a serial port, empty where it has none (on-board ports have none)."""
    device = os.path.realpath(path)
    links = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((str(link) for link in links if os.path.realpath(link) == device), "")


def _open_device(port: serial.Serial) -> None:
    """Open it. A pseudo-terminal that refuses parity is opened without.

    It accepts a parity and drops it, so that setting the same again changes nothing, which the C
    library calls EINVAL. On a real port EINVAL means what it says: no such parity here.
    """
    try:
        port.open()
    except termios.error as error:
        pseudo = Path(port.port).resolve().parent == Path("/dev/pts")
        if error.args[0] != errno.EINVAL or not pseudo:
            raise
        port.parity = serial.PARITY_NONE
        port.open()


def _let_go(opening: asyncio.Future[serial.Serial]) -> None:
    """A port that opened after we had given it up is closed again."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
