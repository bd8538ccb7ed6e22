"""What a daemon does not use is not run at its start, and is all there when somebody asks."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gateway.deferred import UNUSED, defer

Write = Callable[[str, str], str]

DAEMON = "gateway.start, gateway.daemon, gateway.record.disk, gateway.log, gateway.uplink.mqtt"


def told(script: str, folder: Path) -> list[str]:
    """The list that a script prints as JSON, run by an interpreter of its own."""
    begin = "import json, sys\nfrom gateway.deferred import defer_unused\ndefer_unused()\n"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", begin + script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module that can be imported, and that nobody knows after the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # so that it goes afterwards
        del sys.modules[name]
        return name

    return write


def test_deferred_daemon_loads_no_module_it_does_not_use(tmp_path: Path) -> None:
    """With pins and buses; what only such a module needs is not loaded either."""
    found = told(
        "sys.modules['rich'] = None  # an extra for people, which would bring some of them\n"
        f"import {DAEMON}, drivers.modbus.driver, drivers.modbus.wire.ports\n"
        "from drivers.gpio import open_pins\n"
        "open_pins('mock').pin(4).input_with_pull('up')\n"
        "print(json.dumps([name for name, module in sys.modules.items() "
        "if not hasattr(module, '__getattr__')]))",
        tmp_path,
    )
    absent = {"colorzero", "decimal", "email.message", "gpiozero.boards", "http.client", "zipfile"}
    absent |= {"pymodbus.framer", "pymodbus.simulator"}
    assert sorted((set(UNUSED) | absent) & set(found)) == []
    assert {"gpiozero.pins.mock", "paho.mqtt.client", "pymodbus.pdu.bit_message"} <= set(found)


def test_deferred_libraries_are_whole_when_asked(tmp_path: Path) -> None:
    """A button, a smoothed value, an entry point, a web proxy and a Modbus client."""
    found = told(
        "from drivers.gpio import open_pins\n"
        "import drivers.modbus.driver, gateway.uplink.mqtt\n"
        "factory = open_pins('mock')\n"
        "import gpiozero, importlib.metadata, pymodbus, statistics, urllib.request\n"
        "button = gpiozero.Button(4, pin_factory=factory)\n"
        "factory.pin(4).drive_low()\n"
        "from pymodbus.client import ModbusTcpClient\n"
        "print(json.dumps([str(each) for each in (\n"
        "    button.is_pressed, gpiozero.mixins.median([3, 1, 2]), statistics.mean([2, 4]),\n"
        "    importlib.metadata.version('gpiozero') > '2', callable(urllib.request.getproxies),\n"
        "    pymodbus.FramerType.RTU, ModbusTcpClient.__name__,\n"
        ")]))",
        tmp_path,
    )
    assert found == ["True", "2", "3", "True", "True", "FramerType.RTU", "ModbusTcpClient"]


def test_deferred_pins_send_spi_over_any_of_them(tmp_path: Path) -> None:
    """gpiozero's own pins take devices from the deferred front, and find them when they call."""
    found = told(
        "from drivers.gpio import open_pins\n"
        "from gpiozero.devices import Device\n"
        "factory = Device.pin_factory = open_pins('mock')\n"
        "spi = factory.spi(clock_pin=4, mosi_pin=5, miso_pin=6, select_pin=7)\n"
        "print(json.dumps([type(spi._bus.clock).__name__, str(len(spi.transfer([1, 2])))]))",
        tmp_path,
    )
    assert found == ["OutputDevice", "2"]


@pytest.mark.skipif(importlib.util.find_spec("lgpio") is None, reason="no lgpio here")
def test_deferred_real_pins_are_loaded_as_the_mock_ones(tmp_path: Path) -> None:
    """lgpio's factory, as far as a machine without pins has it."""
    found = told(
        "from drivers.pins import import_lgpio\n"
        "import_lgpio()\n"
        "from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin\n"
        "print(json.dumps([LGPIOFactory.__name__, LGPIOPin.__name__,\n"
        "    str('gpiozero.boards' in sys.modules)]))",
        tmp_path,
    )
    assert found == ["LGPIOFactory", "LGPIOPin", "False"]


def test_deferred_module_runs_once_at_the_first_question(write: Write) -> None:
    """Not when it is imported; then it is as if it had been imported at once."""
    name = write("asked_once", "runs = [1]\ndef __getattr__(name):\n    return name.upper()\n")
    defer(name)
    module = importlib.import_module(name)
    assert "runs" not in vars(module)
    assert module.runs == [1]
    module.runs.append(2)
    assert importlib.import_module(name).runs == [1, 2]
    assert module.other == "OTHER"  # its own answer to what it lacks


def test_deferred_call_reaches_the_real_one(write: Write) -> None:
    """A function and a class taken by name stay unrun until they are called."""
    name = write("called", "class Two:\n    value = 2\ndef add(a, *, b):\n    return a + b\n")
    defer(name, "add", "Two")
    module = importlib.import_module(name)
    add, two = module.add, module.Two
    assert "add" not in vars(module)
    assert add(1, b=2) == 3
    assert two().value == 2
    assert module.add is not add  # whoever asks from now on gets the real one


def test_deferred_module_that_cannot_run_says_so_each_time(write: Write) -> None:
    """Nobody finds half of one."""
    name = write("broken", "first = 1\nraise OSError('the card is gone')\n")
    defer(name)
    module = importlib.import_module(name)
    for _ in range(2):
        with pytest.raises(OSError, match="the card is gone"):
            module.second  # noqa: B018 -- asking is the test


def test_deferred_module_lacks_what_the_real_one_lacks(write: Write) -> None:
    """Also what Python itself asks modules for, which runs nothing."""
    name = write("lacking", "there = True\n")
    defer(name)
    module = importlib.import_module(name)
    assert not hasattr(module, "__wrapped__")
    assert "there" not in vars(module)
    assert not hasattr(module, "missing")
    assert module.there


def test_deferred_leaves_alone_what_is_imported_or_is_not_there(write: Write) -> None:
    """Whoever imports it hears what is wrong, as without deferring."""
    name = write("imported", "value = 1\n")
    module = importlib.import_module(name)
    for each in (name, "no_such_module", "no_such_package.module"):
        defer(each)
    assert sys.modules[name] is module
    assert module.value == 1
    assert not {"no_such_module", "no_such_package"} & set(sys.modules)
