"""Opens the pins of this machine: the one place that knows gpiozero and lgpio.

Owns the choice of pin library, made by name and never by trying one after another: a gateway
that falls back to another library, or to mock pins, would run deaf and look well.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from drivers.base import DriverError

_PI_3B = "a02082"


class Pin(Protocol):
    """What is used of a gpiozero pin. It keeps `when_changed` by a weak reference only."""

    bounce: float | None
    edges: str
    state: bool
    when_changed: Callable[[float, bool], None] | None

    def input_with_pull(self, pull: str) -> None:
        """Make it an input with its pull resistor `up`, `down` or `floating`."""

    def output_with_state(self, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        """Make it an output that shows `state`."""


class PinFactory(Protocol):
    """What is used of a gpiozero factory."""

    def pin(self, name: int) -> Pin:
        """The pin of that GPIO number; raises gpiozero.PinInvalidPin."""

    def close(self) -> None:
        """Give every pin back."""


def pin_number(address: str) -> int:
    """The GPIO number in `gpio:17`, as the Broadcom chip counts; raises DriverError."""
    scheme, _, digits = address.partition(":")
    if scheme != "gpio" or not (digits.isascii() and digits.isdigit()) or len(digits) > 2:
        raise DriverError(f"{address}: not a pin of this driver; write gpio:N, e.g. gpio:17")
    return int(digits)


def open_pins(name: Literal["lgpio", "mock"]) -> PinFactory:
    """The pins of the library of that name: the machine's own (lgpio) or memory (mock).

    Raises DriverError, with what a person can do about it, when it cannot be had.
    """
    if name == "lgpio":
        return _open_lgpio()
    if name == "mock":
        mock = importlib.import_module("gpiozero.pins.mock")
        # Both named, because gpiozero would otherwise take them from the environment.
        factory: PinFactory = mock.MockFactory(revision=_PI_3B, pin_class=mock.MockPin)
        return factory
    raise DriverError(f"{name}: no such pin library; there is lgpio (a Raspberry Pi) and mock")


def _open_lgpio() -> PinFactory:
    chips = sorted(Path("/dev").glob("gpiochip*"))
    if not chips:
        raise DriverError(
            "lgpio: this machine has no /dev/gpiochip*; on a Raspberry Pi check that its kernel "
            "is the one it came with, in a container pass the device in, and without any "
            "hardware run the simulated building (make demo)"
        )
    closed = [chip.name for chip in chips if not os.access(chip, os.R_OK | os.W_OK)]
    if len(closed) == len(chips):
        raise DriverError(
            f"lgpio: {', '.join(closed)} may not be opened by this user; put it into the group "
            "gpio (usermod -aG gpio USER, or SupplementaryGroups=gpio in the unit)"
        )
    import_lgpio()
    library = importlib.import_module("gpiozero.pins.lgpio")
    try:
        factory = library.LGPIOFactory()
    except Exception as error:
        raise DriverError(
            f"lgpio: the pins cannot be opened ({type(error).__name__}: {error}); is this a "
            "Raspberry Pi, is the user in the group gpio, and is no other gateway running?"
        ) from error
    factory.pin_class = shielded(let_go(library.LGPIOPin))
    opened: PinFactory = factory
    return opened


def import_lgpio() -> ModuleType:
    """The lgpio module, imported without leaving anything in the working directory.

    At import lgpio makes a FIFO `.lgd-nfy…`, by default in the working directory, which a
    service cannot write; LG_WD moves it, and moves the whole process there too, so the working
    directory is put back. Raises DriverError.
    """
    directory = os.environ.get("LG_WD") or _fifo_directory()
    os.environ["LG_WD"] = directory
    here = Path.cwd()
    try:
        module = importlib.import_module("lgpio")
    except ImportError as error:
        raise DriverError(_GET_LGPIO) from error
    except OSError as error:
        raise DriverError(
            f"lgpio: cannot make its FIFO in {directory} ({error}); let the service write there, "
            "or set LG_WD (RuntimeDirectory= in the unit) to a directory it may write"
        ) from error
    finally:
        os.chdir(here)
    # Version 0.0.0.2, which an installer without a matching wheel takes, is an empty module.
    if not hasattr(module, "gpiochip_open"):
        raise DriverError(_GET_LGPIO)
    return module


_GET_LGPIO = (
    "lgpio: the library is missing or empty; install the extra qorgan[hardware], "
    "or on Python 3.13 Debian's package python3-lgpio"
)


def _fifo_directory() -> str:
    """Where systemd lets the service write, else a directory that goes with the process."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return given
    import shutil  # noqa: PLC0415 -- with all it can unpack; a service has its directory
    import tempfile  # noqa: PLC0415 -- as above

    made = tempfile.mkdtemp(prefix="qorgan-lgpio-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def shielded(pin_class: Any) -> Any:
    """`pin_class` with the way into its callback guarded.

    lgpio tells all pins on one thread and an exception ends that thread: every input would be
    deaf. GpioDriver's own callback never raises, but gpiozero's step before it does when an edge
    and the removal of the callback meet (it calls a weak reference that has just become None).
    An edge that fails here is dropped; if it mattered, the next `check` misses it and says so.
    """

    def call_when_changed(self: Any, *edge: Any) -> None:
        with contextlib.suppress(Exception):
            pin_class._call_when_changed(self, *edge)  # noqa: SLF001 - gpiozero's override point

    return type("ShieldedPin", (pin_class,), {"_call_when_changed": call_when_changed})


def let_go(pin_class: Any) -> Any:
    """`pin_class` (gpiozero's for lgpio), which no longer claims a watched line to let go of it.

    lgpio frees the line of a watched pin on a thread of its own, and gpiozero claims it as a plain
    input at once, when the callback is removed and when the pin is closed: on a real gpiochip that
    finds the line busy now and then, so that a clean stop reports pins it could not give back.
    Without the callback the edges go nowhere, and the chip's closing gives every line back.
    """

    def disable_event_detect(self: Any) -> None:
        if self._callback is not None:
            self._callback.cancel()
            self._callback = None

    def close(self: Any) -> None:
        with contextlib.suppress(Exception):
            pin_class.close(self)

    steps = {"_disable_event_detect": disable_event_detect, "close": close}
    return type("YieldingPin", (pin_class,), steps)
