"""What libraries import and the daemon does not use: run when it is asked for, not at the start.

Owns the list of such modules. An import of one finds it unrun; the first thing asked of it runs
it, as the import would have. So nothing is left out and nothing replaced, and a wrong entry costs
memory, never a function. Only a daemon that starts defers; tests and simulations see the
libraries as they are.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

UNUSED: dict[str, tuple[str, ...]] = {
    # gpiozero's front is what people program with: boards, buzzers, colours. Its pins are enough,
    # and they take from it what sends SPI over any pins, named pin libraries and smoothed values.
    "gpiozero": (),
    "gpiozero.input_devices": ("InputDevice",),
    "gpiozero.output_devices": ("OutputDevice",),
    "importlib.metadata": ("entry_points",),
    "statistics": ("median",),
    # pymodbus's front is clients and servers, its PDUs' front all functions there are; each PDU
    # names what a server keeps, in annotations.
    "pymodbus": (),
    "pymodbus.pdu": (),
    "pymodbus.datastore": ("ModbusServerContext",),
    # paho asks it for web proxies, for a connection that it opens by itself.
    "urllib.request": (),
}
"""Modules, and of each what others take from it by name when they are imported. It must be called
only, or not used at all: what is subclassed, raised or compared cannot stand here."""


def defer_unused() -> None:
    """Defer all of `UNUSED`; to be called before the libraries are imported.

    With buses it spares 4.8 MB of RSS and 4.5 MB of Pss_Anon (measured, CPython 3.11 on x86-64).
    """
    for name, called in UNUSED.items():
        defer(name, *called)


def defer(name: str, *called: str) -> None:
    """Let the module `name` wait until something is asked of it.

    called: functions and classes that may be taken from it without running it; each runs it when
    it is called. Does nothing for a module that has been imported or is not there; imports its
    package, so a package is deferred before its modules. What goes wrong when it runs is raised
    at whoever asks. Not for modules that several threads may ask first at the same time.
    """
    package, _, leaf = name.rpartition(".")
    try:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
    except ModuleNotFoundError:  # its package is not there
        return
    if spec is None or spec.loader is None:
        return
    module = _unrun(spec, called)
    sys.modules[name] = module
    if package:
        setattr(sys.modules[package], leaf, module)


def _unrun(spec: ModuleSpec, called: tuple[str, ...]) -> ModuleType:
    """An empty module that runs itself; what is asked of it comes in by `__getattr__` (PEP 562)."""
    module = importlib.util.module_from_spec(spec)

    def run() -> None:
        if "__getattr__" not in vars(module):
            return  # it has run
        del vars(module)["__getattr__"]  # while it runs, what it lacks is missing
        try:
            assert spec.loader is not None
            spec.loader.exec_module(module)
        except BaseException:
            vars(module)["__getattr__"] = ask
            raise

    def ask(name: str) -> object:
        if name in called:
            return _standing_in(module, name, run)
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)  # imports look for such, and mean nothing by it
        run()
        found: object = getattr(module, name)
        return found

    vars(module)["__getattr__"] = ask
    return module


def _standing_in(module: ModuleType, name: str, run: Callable[[], None]) -> Callable[..., object]:
    """Calls the real one, which is there only after `run`."""

    def call(*arguments: object, **named: object) -> object:
        run()
        real: Callable[..., object] = getattr(module, name)
        return real(*arguments, **named)

    return call
