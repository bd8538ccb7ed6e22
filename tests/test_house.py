"""The house rules as a test: who may import whom, how long a file may be, whether the map is true.

A new arrow fails here first. If it is a good one, the table below is where to say so.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "drivers", "simulators", "benchmarks", "campaigns", "tests", "tools")
PRODUCT = ("gateway", "drivers")

FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}

LIBRARIES = {
    # a library: the product's files that may know it
    "apsw": ("gateway/record/file.py",),
    "cryptography": ("gateway/core/jws.py",),
    "gpiozero": ("drivers/pins.py",),
    "lgpio": ("drivers/pins.py",),
    "paho": ("gateway/uplink/mqtt.py",),
    "pydantic_core": ("gateway/config/fields.py",),
    "pydantic": (
        *("gateway/config/fields.py", "gateway/config/iron.py", "gateway/config/load.py"),
        *("gateway/config/models.py", "gateway/config/profile/models.py"),
        "gateway/config/profile/profiles.py",
    ),
    "pydantic_settings": ("gateway/config/load.py",),
    "pymodbus": ("drivers/modbus/wire/frame.py",),
    "ruamel": ("gateway/config/load.py", "gateway/config/profile/profiles.py"),
    "serial": ("drivers/modbus/wire/serial.py",),
    "structlog": ("gateway/log.py",),
    "tenacity": ("gateway/uplink/uplink.py",),
}

PURE = {
    # what the core may take from the standard library: nothing that asks, waits, writes or rolls
    *("__future__", "base64", "binascii", "bisect", "collections", "dataclasses", "datetime"),
    *("enum", "functools", "hashlib", "itertools", "json", "math", "operator", "re", "types"),
    *("typing", "uuid"),
}

ARROWS = {
    # the product's files outside the core, and what of the product they know beside gateway.core;
    # a package's own files may know each other, which this table leaves to them
    "drivers/base.py": (),
    "drivers/fitted.py": (
        *("drivers.base", "drivers.gpio", "drivers.modbus", "drivers.pins", "drivers.together"),
        "gateway.clock",
    ),
    "drivers/gpio.py": ("drivers.base", "drivers.pins"),
    "drivers/modbus/*": ("drivers.base", "drivers.modbus", "gateway.clock"),
    "drivers/modbus/plan/*": ("drivers.modbus.plan", "drivers.modbus.wire"),
    "drivers/modbus/search/*": ("drivers.modbus", "gateway.clock"),
    "drivers/modbus/unit/*": (
        *("drivers.base", "drivers.modbus.plan", "drivers.modbus.unit", "drivers.modbus.wire"),
    ),
    "drivers/modbus/wire/*": ("drivers.modbus.wire", "gateway.clock"),
    "drivers/pins.py": ("drivers.base",),
    "drivers/together.py": ("drivers.base",),
    "gateway/__main__.py": (
        *("gateway.config", "gateway.keys", "gateway.local", "gateway.piped", "gateway.scan"),
        "gateway.start",
    ),
    "gateway/clock.py": (),
    "gateway/config/*": ("gateway.config",),
    "gateway/config/profile/*": ("gateway.config",),
    "gateway/control.py": (),
    "gateway/daemon.py": (
        *("drivers.base", "gateway.clock", "gateway.delivery", "gateway.desk", "gateway.hands"),
        *("gateway.health", "gateway.lamps", "gateway.obey", "gateway.points", "gateway.record"),
        *("gateway.recorder", "gateway.resend", "gateway.restart", "gateway.seams"),
        *("gateway.storage", "gateway.undelivered", "gateway.upkeep"),
    ),
    "gateway/deferred.py": (),
    "gateway/delivery.py": (
        *("gateway.clock", "gateway.record", "gateway.restart", "gateway.seams"),
        *("gateway.supervision", "gateway.tokens", "gateway.uplink"),
    ),
    "gateway/desk.py": (
        *("gateway.control", "gateway.delivery", "gateway.hands", "gateway.obey"),
        *("gateway.points", "gateway.record", "gateway.scan", "gateway.seams"),
    ),
    "gateway/hands.py": ("drivers.base", "gateway.clock", "gateway.points"),
    "gateway/health.py": (),
    "gateway/heed.py": ("gateway.clock", "gateway.seams"),
    "gateway/keys.py": (),
    "gateway/lamps.py": ("drivers.base",),
    "gateway/local.py": ("gateway.control", "gateway.keys"),
    "gateway/log.py": ("gateway.seams",),
    "gateway/obey.py": (
        *("gateway.clock", "gateway.hands", "gateway.heed", "gateway.points", "gateway.record"),
        "gateway.seams",
    ),
    "gateway/piped.py": (),
    "gateway/points.py": ("gateway.clock", "gateway.restart"),
    "gateway/record/*": ("gateway.record",),
    "gateway/recorder.py": ("gateway.clock", "gateway.record"),
    "gateway/resend.py": ("gateway.clock", "gateway.record", "gateway.uplink"),
    "gateway/restart.py": ("drivers.base", "gateway.record"),
    "gateway/scan/*": (
        *("drivers.base", "drivers.modbus", "gateway.clock", "gateway.config", "gateway.control"),
        *("gateway.scan", "gateway.seams"),
    ),
    "gateway/seams.py": ("drivers.base", "gateway.clock", "gateway.record", "gateway.uplink.link"),
    "gateway/start.py": (
        *("drivers.base", "drivers.fitted", "drivers.gpio", "gateway.clock"),
        *("gateway.config.child", "gateway.control", "gateway.daemon", "gateway.deferred"),
        *("gateway.health", "gateway.keys", "gateway.log", "gateway.record", "gateway.seams"),
        "gateway.uplink.mqtt",
    ),
    "gateway/storage.py": (),
    "gateway/supervision.py": ("gateway.clock", "gateway.record", "gateway.uplink"),
    "gateway/tokens.py": ("gateway.record", "gateway.seams"),
    "gateway/undelivered.py": (),
    "gateway/upkeep.py": ("gateway.clock", "gateway.record", "gateway.storage"),
    "gateway/uplink/*": ("gateway.uplink", "gateway.clock"),
}


def product_files() -> list[str]:
    return [name for name in FILES if name.startswith(PRODUCT)]


def imports(name: str) -> Iterator[str]:
    """Every module a file imports, at the top or inside a function."""
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("name", product_files())
def test_product_never_imports_the_far_ends(name: str) -> None:
    """simulators, tests and benchmarks may know the product; never the other way round."""
    assert not [module for module in imports(name) if module.split(".")[0] in PACKAGES[2:]]


@pytest.mark.parametrize("name", product_files())
def test_library_is_known_to_its_own_file_only(name: str) -> None:
    """One third-party library, one place."""
    for module in imports(name):
        library = module.split(".")[0]
        if library in sys.stdlib_module_names or library in PRODUCT:
            continue
        assert library in LIBRARIES, f"{name} imports {library}, which no row of the table allows"
        assert name in LIBRARIES[library], f"{name} imports {library}"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("gateway/core/")])
def test_core_stays_pure(name: str) -> None:
    """The core takes facts and gives facts: no I/O, clock, asyncio, logging or dice."""
    for module in imports(name):
        if module.split(".")[0] == "gateway":
            assert module.startswith("gateway.core"), f"{name} imports {module}"
        elif name not in LIBRARIES.get(module.split(".")[0], ()):
            assert module.split(".")[0] in PURE, f"{name} imports {module}"


def outside_core() -> list[str]:
    return [n for n in product_files() if not n.startswith("gateway/core/") and FILES[n].body]


@pytest.mark.parametrize("name", outside_core())
def test_arrow_is_in_the_table(name: str) -> None:
    """Arrows point inward; a new one between the outer rooms is a decision, made in this table."""
    row = name if name in ARROWS else f"{Path(name).parent}/*"
    assert row in ARROWS, f"{name} has no row in the table"
    for module in imports(name):
        if module.split(".")[0] in PRODUCT and not module.startswith("gateway.core"):
            known = any(module == room or module.startswith(f"{room}.") for room in ARROWS[row])
            assert known, f"{name} imports {module}"


def test_arrow_table_names_no_ghosts() -> None:
    """A row for a file that is gone would let its name come back unseen."""
    for row in ARROWS:
        assert list(ROOT.glob(row)), row


@pytest.mark.parametrize("name", product_files())
def test_order_never_comes_from_a_set(name: str) -> None:
    """asyncio.wait answers with sets of tasks; a replay from a seed could not follow it."""
    source = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"asyncio\.(wait|as_completed)\(", source)


@pytest.mark.parametrize("name", product_files())
def test_a_cancellation_is_never_forgotten(name: str) -> None:
    """Before Python 3.12 wait_for loses one that comes in the same turn as the answer."""
    assert "asyncio.wait_for(" not in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", product_files())
def test_time_and_dice_come_through_the_seams(name: str) -> None:
    """Only clock.py asks the machine for the time; only start.py and keys hold real dice.

    dial.py's thread and a person's command line live outside of what is replayed.
    """
    asking = (
        "gateway/clock.py",
        "gateway/local.py",
        "gateway/scan/command.py",
        "gateway/uplink/dial.py",
    )
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" and node.attr != "sleep":
                assert name in asking, f"{name}:{node.lineno} asks for the time"
            if node.value.id == "random" and node.attr not in {"Random", "SystemRandom"}:
                pytest.fail(f"{name}:{node.lineno} rolls global dice")


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("tests/")])
def test_file_is_read_in_one_sitting(name: str) -> None:
    """About 300 lines a file and a screen a function; these are the hard ends."""
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, f"{name}: {node.name} is too long"


@pytest.mark.parametrize("name", product_files())
def test_public_name_has_a_docstring(name: str) -> None:
    """Modules, classes and functions others call say what they promise.

    A method that keeps a Protocol's or a base's promise is documented there.
    """
    tree = FILES[name]
    if tree.body:
        assert ast.get_docstring(tree), f"{name} does not say what it owns"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            public = not node.name.startswith("_")
            assert not public or ast.get_docstring(node), f"{name}: {node.name}"


def test_privates_are_patched_nowhere() -> None:
    """Tests use the seams; monkeypatching a private name would tie them to today's inside."""
    for name in FILES:
        if name.startswith("tests/"):
            source = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"setattr\([^)]*[\"'.]_[a-z]", source), name
            assert "unittest.mock" not in source.replace('"unittest.mock"', ""), name


def test_readme_map_is_complete() -> None:
    """Every room stands in the README's map, every file there or in its room's own `__init__`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in product_files():
        path = Path(name)
        if path.name != "__init__.py":
            room = (ROOT / path.parent / "__init__.py").read_text(encoding="utf-8")
            found = re.search(rf"\b{re.escape(path.name)}\b", readme + room)
            assert found, f"{name} is not on the map"
            assert f"{path.parent.name}/" in readme, f"{path.parent} is not on the map"
    for room in (*PACKAGES, "config", "systemd", "docs"):
        assert f"{room}/" in readme, f"{room}/ is not on the map"


def test_locks_carry_hashes_and_no_address() -> None:
    """A lock pins by hash and names no index: it works behind any mirror."""
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text, lock.name
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins, lock.name
        assert text.count("--hash=sha256:") >= len(pins), lock.name
