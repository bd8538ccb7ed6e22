"""What is changed of gpiozero's pins for lgpio, on pins that behave as a real gpiochip's did."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.pins import let_go, shielded


class Callback:
    """lgpio's handle of one watched line."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class BusyPin:
    """As gpiozero 2.0.1's pin for lgpio: it claims a line again that lgpio has not freed yet."""

    def __init__(self) -> None:
        self._callback: Callback | None = Callback()
        self.claims = 0

    @property
    def callback(self) -> Callback | None:
        return self._callback

    def remove_callback(self) -> None:
        """What `when_changed = None` comes to."""
        self._disable_event_detect()

    def _claim_input(self) -> None:
        self.claims += 1
        raise OSError("GPIO busy")

    def _disable_event_detect(self) -> None:
        if self._callback is not None:
            self._callback.cancel()
            self._callback = None
        self._claim_input()

    def close(self) -> None:
        self._claim_input()


STEPS: list[Callable[[BusyPin], None]] = [
    lambda pin: pin.remove_callback(),
    lambda pin: pin.close(),
]
"""What a clean stop does with each pin."""


def test_busy_line_is_what_the_library_trips_over() -> None:
    """The behaviour that is mended: seen on a gpiochip in two of nineteen pins of a clean stop."""
    for step in STEPS:
        with pytest.raises(OSError, match="GPIO busy"):
            step(BusyPin())


@pytest.mark.parametrize("step", STEPS)
def test_busy_line_is_given_back_without_a_word(step: Callable[[BusyPin], None]) -> None:
    """A pin that cannot be closed keeps neither the other pins nor the chip from closing."""
    step(shielded(let_go(BusyPin))())


def test_callback_is_cancelled_and_the_line_left_to_the_chip() -> None:
    pin = let_go(BusyPin)()
    callback = pin.callback
    pin.remove_callback()
    assert callback.cancelled
    assert pin.callback is None
    assert pin.claims == 0
    pin.remove_callback()  # twice, as `stop` and the interpreter's end may do
