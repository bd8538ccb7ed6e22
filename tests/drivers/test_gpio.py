"""The GPIO driver: the contract over simulated pins, and the traps of the pin libraries."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, cast

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPin

from drivers.base import DriverError, Output, Wire
from drivers.gpio import GpioDriver, open_pins
from drivers.pins import PinFactory, pin_number, shielded
from gateway.core.action import Action, Outcome, Result
from gateway.core.model import Json, Level, Reading
from simulators.building.hardware import SimulatedPins
from tests.drivers.contract import NC, NO, DriverContract, Rig, ear, now_us, until

ROOT = Path(__file__).parents[2]


class Reports:
    """What the driver told, and a list of it for a Rig."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fields: list[Mapping[str, Json]] = []

    def __call__(self, event: str, fields: Mapping[str, Json]) -> None:
        self.events.append(event)
        self.fields.append(fields)


def driver_on(
    pins: SimulatedPins, reports: Reports, clock: Callable[[], int] = now_us
) -> GpioDriver:
    return GpioDriver(factory=cast("PinFactory", pins), now_us=clock, report=reports)


class TestGpioDriver(DriverContract):
    """GpioDriver over SimulatedPins."""

    def rig(self) -> Rig:
        pins = SimulatedPins(now_us)
        pins.at("gpio:27").wire(closed=True)
        reports = Reports()
        return Rig(
            driver=driver_on(pins, reports),
            open_address="gpio:17",
            closed_address="gpio:27",
            lamp_address="gpio:22",
            bad_address="entrance/input-1",
            set_closed=lambda address, closed: pins.at(address).wire(closed=closed),
            set_closed_unseen=lambda address, closed: pins.at(address).wire(
                closed=closed, seen=False
            ),
            set_failing=lambda address, failing: pins.at(address).fail(failing=failing),
            lit=lambda address: pins.at(address).function == "output" and pins.at(address).state,
            reports=reports.events,
        )


class Scene:
    """A started driver with one normally-open contact on gpio:17 and one on gpio:18."""

    def __init__(self, clock: Callable[[], int] = now_us) -> None:
        self.pins = SimulatedPins(now_us)
        self.reports = Reports()
        self.readings: list[Reading] = []
        self.driver = driver_on(self.pins, self.reports, clock)

    async def __aenter__(self) -> Self:
        self.driver.start(
            wires=[Wire("gpio:17", NO), Wire("gpio:18", NO)],
            outputs=[],
            ear=ear(self.readings.append),
        )
        self.readings.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.stop()

    def wire(self, number: int, *, closed: bool) -> None:
        self.pins.at(f"gpio:{number}").wire(closed=closed)

    def levels(self, number: int) -> list[Level]:
        return [r.level for r in self.readings if r.input == f"gpio:{number}"]


def test_gpio_callbacks_outlive_a_garbage_collection() -> None:
    """gpiozero keeps only a weak reference to a pin's callback."""

    async def run() -> None:
        async with Scene() as scene:
            gc.collect()
            scene.wire(17, closed=True)
            await until(lambda: scene.levels(17) == [Level.ACTIVE])

    asyncio.run(run())


def test_gpio_survives_a_callback_that_fails_on_the_pin_thread() -> None:
    """An exception there would end lgpio's only thread; the simulated chip goes deaf like it."""
    broken: list[bool] = []

    def clock() -> int:
        if broken:
            raise RuntimeError("no time")
        return now_us()

    async def run() -> None:
        async with Scene(clock) as scene:
            broken.append(True)
            for closed in (True, False, True):
                scene.wire(17, closed=closed)
            broken.clear()
            assert not scene.pins.deaf
            scene.wire(18, closed=True)
            await until(lambda: scene.levels(18) == [Level.ACTIVE])
            assert scene.levels(17) == []
            scene.driver.check()
            scene.driver.check()
            assert scene.levels(17) == [Level.ACTIVE]
            assert scene.reports.events == ["gpio.edge.lost", "gpio.edge.missed"]

    asyncio.run(run())


def test_gpio_simulated_chip_does_go_deaf_when_a_callback_raises() -> None:
    """Otherwise the test above could not fail."""
    pins = SimulatedPins(now_us)
    pin = pins.at("gpio:17")
    pin.input_with_pull("up")

    def raises(ticks: float, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        raise RuntimeError(ticks, state)

    pin.when_changed = raises
    pin.wire(closed=True)
    pin.wire(closed=False)
    pin.wire(closed=True)
    assert pins.deaf


class SkewedPins(SimulatedPins):
    """Edges stamped some microseconds away from now."""

    skew_us = 0

    def ticks(self) -> float:
        return (now_us() + self.skew_us) / 1e6


@pytest.mark.parametrize(
    ("skew_us", "late_us"),
    [(-4_000, 4_000), (-900_000, 900_000), (-1_700_000_000_000_000, 0), (500, 0)],
    ids=["kernel's stamp", "a late thread", "wall time", "from the future"],
)
def test_gpio_takes_the_kernels_stamp_only_on_our_clock(skew_us: int, late_us: int) -> None:
    async def run() -> None:
        pins = SkewedPins(now_us)
        pins.skew_us = skew_us
        readings: list[Reading] = []
        driver = driver_on(pins, Reports(), lambda: max(now_us(), 0))
        driver.start(wires=[Wire("gpio:17", NO)], outputs=[], ear=ear(readings.append))
        started_us = readings[0].at_us
        before_us = now_us()
        pins.at("gpio:17").wire(closed=True)
        after_us = now_us()
        await until(lambda: len(readings) == 2)
        # A stamp older than the reading before it is moved up to that one.
        low_us, high_us = (max(started_us, at - late_us) for at in (before_us, after_us))
        assert low_us <= readings[1].at_us <= high_us
        await driver.stop()

    asyncio.run(run())


def test_gpio_chattering_contact_is_bounded_and_delays_no_other() -> None:
    async def run() -> None:
        async with Scene() as scene:
            for index in range(50_001):
                scene.wire(17, closed=index % 2 == 0)
            scene.wire(18, closed=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert scene.levels(18) == [Level.ACTIVE]
            assert len(scene.levels(17)) < 1_000
            assert scene.levels(17)[-1] is Level.ACTIVE
            assert scene.reports.events == ["gpio.edge.missed"]

    asyncio.run(run())


def test_gpio_two_threads_moving_wires_leave_the_true_levels() -> None:
    async def run() -> None:
        async with Scene() as scene:

            def storm(number: int) -> None:
                for index in range(501):
                    scene.wire(number, closed=index % 2 == 0)

            movers = [threading.Thread(target=storm, args=(number,)) for number in (17, 18)]
            for mover in movers:
                mover.start()
            await until(lambda: not any(mover.is_alive() for mover in movers))
            scene.driver.check()
            for number in (17, 18):
                stamps = [r.at_us for r in scene.readings if r.input == f"gpio:{number}"]
                assert scene.levels(number)[-1] is Level.ACTIVE
                assert stamps == sorted(stamps)

    asyncio.run(run())


def test_gpio_input_unreadable_at_start_is_unknown_and_shown_later() -> None:
    async def run() -> None:
        pins = SimulatedPins(now_us)
        reports = Reports()
        readings: list[Reading] = []
        driver = driver_on(pins, reports)
        pins.at("gpio:17").fail(failing=True)
        driver.start(wires=[Wire("gpio:17", NO)], outputs=[], ear=ear(readings.append))
        pins.at("gpio:17").fail(failing=False)
        driver.check()
        assert [r.level for r in readings] == [Level.UNKNOWN, Level.NORMAL]
        assert reports.events == ["gpio.input.unreadable", "gpio.input.readable"]
        await driver.stop()

    asyncio.run(run())


def test_gpio_input_readable_again_shows_its_level_though_nothing_moved() -> None:
    async def run() -> None:
        async with Scene() as scene:
            for failing in (True, True, False, False):
                scene.pins.at("gpio:17").fail(failing=failing)
                scene.driver.check()
            assert scene.levels(17) == [Level.UNKNOWN, Level.NORMAL]
            assert scene.levels(18) == []
            assert scene.reports.events == ["gpio.input.unreadable", "gpio.input.readable"]

    asyncio.run(run())


def test_gpio_refuses_one_pin_for_two_things_and_gives_the_others_back() -> None:
    async def run() -> None:
        pins = SimulatedPins(now_us)
        driver = driver_on(pins, Reports())
        with pytest.raises(DriverError, match="gpio:17: this pin is used twice"):
            driver.start(wires=[Wire("gpio:17", NO)], outputs=[Output("gpio:17")], ear=ear(print))
        assert pins.at("gpio:17").function == "input"

    asyncio.run(run())


def test_gpio_says_which_pin_the_board_does_not_have() -> None:
    async def run() -> None:
        driver = driver_on(SimulatedPins(now_us), Reports())
        with pytest.raises(DriverError, match="gpio:99: the pin cannot be had"):
            driver.start(wires=[Wire("gpio:99", NC)], outputs=[], ear=ear(print))

    asyncio.run(run())


def test_gpio_driver_starts_only_once() -> None:
    async def run() -> None:
        async with Scene() as scene:
            with pytest.raises(DriverError, match="make a new one"):
                scene.driver.start(wires=[], outputs=[], ear=ear(print))

    asyncio.run(run())


def test_gpio_unknown_lamp_is_reported_once_and_not_raised() -> None:
    async def run() -> None:
        async with Scene() as scene:
            scene.driver.light("gpio:5", on=True)
            scene.driver.light("gpio:5", on=False)
            assert scene.reports.events == ["gpio.lamp.failed"]

    asyncio.run(run())


def test_gpio_a_second_driver_finds_the_wires_as_they_are() -> None:
    """A restart of the gateway with the button still held."""

    async def run() -> None:
        async with Scene() as scene:
            scene.wire(17, closed=True)
        readings: list[Reading] = []
        again = driver_on(scene.pins, Reports())
        again.start(wires=[Wire("gpio:17", NO)], outputs=[], ear=ear(readings.append))
        assert [r.level for r in readings] == [Level.ACTIVE]
        await again.stop()

    asyncio.run(run())


def test_gpio_says_nothing_more_once_its_consumer_has_stopped_it() -> None:
    async def run() -> None:
        async with Scene() as scene:
            readings: list[Reading] = []

            def consumer(reading: Reading) -> None:
                readings.append(reading)
                if reading.level is Level.ACTIVE:
                    driver.close()

            driver = driver_on(scene.pins, Reports())
            driver.start(wires=[Wire("gpio:23", NO)], outputs=[], ear=ear(consumer))
            for closed in (True, False, True):
                scene.wire(23, closed=closed)
            await until(lambda: len(readings) >= 2)
            assert [r.level for r in readings] == [Level.NORMAL, Level.ACTIVE]

    asyncio.run(run())


class StubbornPins(SimulatedPins):
    """A factory that does not close."""

    def close(self) -> None:
        raise OSError("stuck")


def test_gpio_darkens_lamps_and_lets_go_of_inputs_even_when_the_chip_does_not_close() -> None:
    async def run() -> None:
        pins = StubbornPins(now_us)
        reports = Reports()
        driver = driver_on(pins, reports)
        driver.start(
            wires=[Wire("gpio:17", NO)], outputs=[Output("gpio:22")], ear=ear(lambda _: None)
        )
        driver.light("gpio:22", on=True)
        await driver.stop()
        assert not pins.at("gpio:22").state
        assert pins.at("gpio:17").when_changed is None
        assert reports.events == ["gpio.close.failed"]

    asyncio.run(run())


@pytest.mark.parametrize("address", ["gpio:", "gpio:x", "gpio:-1", "gpio:１", "GPIO17", "gpio:117"])
def test_gpio_address_that_is_none_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(DriverError, match=r"write gpio:N, e\.g\. gpio:17"):
        pin_number(address)


# --- opening the pins -----------------------------------------------------------------------


@pytest.mark.skipif(any(Path("/dev").glob("gpiochip*")), reason="this machine has GPIO lines")
def test_gpio_open_pins_never_falls_back_and_says_what_to_check() -> None:
    with pytest.raises(DriverError, match=r"no /dev/gpiochip.*make demo"):
        open_pins("lgpio")
    assert Device.pin_factory is None


def test_gpio_open_pins_mock_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_MOCK_PIN_CLASS", "mockpwmpin")
    factory = open_pins("mock")
    assert type(factory.pin(17)) is MockPin
    factory.close()
    assert Device.pin_factory is None


def test_gpio_open_pins_knows_no_other_library() -> None:
    with pytest.raises(DriverError, match="pigpio: no such pin library"):
        open_pins("pigpio")  # type: ignore[arg-type]  # what a wrong argument gets


def run_python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"LG_WD", "RUNTIME_DIRECTORY"}}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


IMPORT = "import os; from drivers.pins import import_lgpio; import_lgpio(); print(os.getcwd())"


@pytest.mark.skipif(importlib.util.find_spec("lgpio") is None, reason="no lgpio here")
def test_gpio_lgpio_import_leaves_the_working_directory_alone(tmp_path: Path) -> None:
    """lgpio makes a FIFO at import, and LG_WD moves the process as well."""
    here, runtime = tmp_path / "here", tmp_path / "runtime"
    here.mkdir()
    runtime.mkdir()
    done = run_python(IMPORT, here, RUNTIME_DIRECTORY=f"{runtime}:/elsewhere")
    assert done.stdout.strip() == str(here), done.stderr
    assert list(here.iterdir()) == []
    assert [path.name[:8] for path in runtime.iterdir()] == [".lgd-nfy"]


@pytest.mark.skipif(importlib.util.find_spec("lgpio") is None, reason="no lgpio here")
def test_gpio_lgpio_import_without_a_runtime_directory_cleans_up(tmp_path: Path) -> None:
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    done = run_python(IMPORT, here, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert list(here.iterdir()) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec("lgpio") is None, reason="no lgpio here")
def test_gpio_lgpio_import_says_where_it_could_not_write(tmp_path: Path) -> None:
    done = run_python(IMPORT, tmp_path, LG_WD="/nonexistent")
    assert "DriverError: lgpio: cannot make its FIFO in /nonexistent" in done.stderr


def test_gpio_empty_lgpio_module_is_named_with_its_cure(tmp_path: Path) -> None:
    """Without a wheel an installer takes version 0.0.0.2, which is empty."""
    (tmp_path / "lgpio.py").write_text("")
    done = run_python(IMPORT, tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}", LG_WD=str(tmp_path))
    assert "python3-lgpio" in done.stderr


def test_gpio_shield_keeps_a_failing_callback_from_the_pin_thread() -> None:
    """gpiozero calls a weak reference that may have become None since it looked."""
    factory = MockFactory(pin_class=shielded(MockPin))
    pin = factory.pin(17)
    seen: list[bool] = []

    def first_raises(_ticks: float, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        seen.append(state)
        if len(seen) == 1:
            raise TypeError("'NoneType' object is not callable")

    pin.when_changed = first_raises
    pin.drive_high()
    pin.drive_low()
    assert seen == [True, False]


class Acting:
    """A started driver with a strike on gpio:23 and a magnet on gpio:24, and what came of actions.

    The driver's clock stands at `now_us`, so that an expiry is a matter of arithmetic.
    """

    def __init__(self) -> None:
        self.pins = SimulatedPins(now_us)
        self.now_us = 1_000_000
        self.results: list[Result] = []
        self.driver = driver_on(self.pins, Reports(), lambda: self.now_us)

    async def __aenter__(self) -> Self:
        self.driver.start(
            wires=[],
            outputs=[Output("gpio:23"), Output("gpio:24", energised_locks=True)],
            ear=ear(print, self.results.append),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.stop()

    def lit(self, number: int) -> bool:
        return bool(self.pins.at(f"gpio:{number}").state)

    async def act(self, number: int, *, on: bool, for_ms: int | None = None) -> Outcome:
        action = Action(
            id=str(len(self.results)),
            output=f"gpio:{number}",
            on=on,
            for_ms=for_ms,
            not_after_us=1_000_000,
        )
        before = len(self.results)
        self.driver.act(action)
        assert len(self.results) == before  # never from within
        await until(lambda: len(self.results) > before)
        assert self.results[-1].action == action.id
        return self.results[-1].outcome


def test_gpio_locks_start_locked() -> None:
    async def run() -> None:
        async with Acting() as scene:
            assert (scene.lit(23), scene.lit(24)) == (False, True)

    asyncio.run(run())


def test_gpio_action_is_read_back() -> None:
    async def run() -> None:
        async with Acting() as scene:
            assert await scene.act(23, on=True) is Outcome.CONFIRMED
            assert scene.lit(23)

    asyncio.run(run())


def test_gpio_pulse_ends_by_itself() -> None:
    async def run() -> None:
        async with Acting() as scene:
            assert await scene.act(24, on=False, for_ms=20) is Outcome.CONFIRMED
            assert not scene.lit(24)
            await until(lambda: scene.lit(24))

    asyncio.run(run())


def test_gpio_later_action_takes_over_a_pulse() -> None:
    async def run() -> None:
        async with Acting() as scene:
            await scene.act(23, on=True, for_ms=5)
            await scene.act(23, on=True)
            await scene.act(24, on=False, for_ms=10)
            await until(lambda: scene.lit(24))
            assert scene.lit(23)

    asyncio.run(run())


def test_gpio_action_past_its_expiry_moves_nothing() -> None:
    async def run() -> None:
        async with Acting() as scene:
            scene.now_us += 1
            assert await scene.act(23, on=True) is Outcome.EXPIRED
            assert not scene.lit(23)

    asyncio.run(run())


def test_gpio_output_that_cannot_be_driven_fails_in_words() -> None:
    async def run() -> None:
        async with Acting() as scene:
            scene.pins.at("gpio:23").fail(failing=True)
            assert await scene.act(23, on=True) is Outcome.FAILED
            assert "does not answer" in scene.results[-1].why
            assert await scene.act(25, on=True) is Outcome.FAILED

    asyncio.run(run())
