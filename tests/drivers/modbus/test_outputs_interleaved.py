"""One output under anything that can happen, in any order: every action answered, none late."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.unit.outputs import Gate
from gateway.core.action import Action, Urgency
from gateway.core.profile import OutputChannel, Table
from tests.drivers.modbus.output_scene import (
    BOLID,
    DUTY,
    LOCKED,
    OFF,
    ON,
    PLAIN,
    READY,
    SILENT,
    WAITING,
    WAVESHARE,
    WIREN,
    Scene,
    mask,
)

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=200)

EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("offer"),
            st.booleans(),
            st.sampled_from([None, 150, 700, 7_000_000]),
            st.sampled_from([0, 30, 400, 5_000]),
            st.sampled_from(list(Urgency)),
        ),
        st.tuples(st.just("steps"), st.integers(1, 8)),
        st.tuples(st.just("wait"), st.integers(1, 900)),
        st.tuples(st.just("gate"), st.sampled_from([READY, WAITING, SILENT, LOCKED])),
        st.tuples(st.just("deaf"), st.integers(1, 5)),
        st.tuples(st.just("stuck"), st.booleans()),
        st.tuples(st.just("cut")),
    ),
    max_size=25,
)


def live_through(scene: Scene, events: list[tuple[object, ...]]) -> list[Action]:
    """Everything that happens, then peace; the actions that were offered."""
    offered: list[Action] = []
    for event in events:
        match event:
            case ("offer", bool() as on, (None | int()) as for_ms, int() as within, Urgency() as u):
                name = f"a{len(offered)}"
                offered.append(scene.offer(name, on=on, for_ms=for_ms, within_ms=within, urgency=u))
            case ("steps", int() as count):
                for _ in range(count):
                    scene.step()
            case ("wait", int() as for_ms):
                scene.run(for_ms)
            case ("gate", Gate() as gate):
                scene.gate = gate
            case ("deaf", int() as count):
                scene.unit.deaf = count
            case ("stuck", bool() as stuck):
                scene.unit.stuck = stuck
            case _:
                scene.actuators[0].cut("unplugged", scene.now_us)
    scene.gate, scene.unit.deaf, scene.unit.stuck = READY, 0, False
    scene.run(8_000)
    return offered


CHANNELS = st.sampled_from([PLAIN, WIREN, WAVESHARE, DUTY, BOLID, mask(2)])


@CAREFULLY
@given(events=EVENTS, channel=CHANNELS)
def test_output_gives_exactly_one_result_an_action(
    events: list[tuple[object, ...]], channel: OutputChannel
) -> None:
    scene = Scene((channel,))
    offered = live_through(scene, events)
    assert sorted(one.action for one in scene.results) == sorted(one.id for one in offered)
    scene.actuators[0].stop(scene.now_us)
    scene.run(3_000)
    assert scene.actuators[0].idle


@CAREFULLY
@given(events=EVENTS)
def test_output_never_moves_after_the_expiry_of_all_that_asked_for_it(
    events: list[tuple[object, ...]],
) -> None:
    """Held outputs only: the end of a pulse has no expiry."""
    events = [(*e[:2], None, *e[3:]) if e[0] == "offer" else e for e in events]
    scene = Scene()
    offered = live_through(scene, events)
    for at_us, request in scene.sent:
        if request in (ON, OFF):
            wanted = [one for one in offered if one.on is (request == ON)]
            assert any(at_us <= one.not_after_us for one in wanted)


@CAREFULLY
@given(events=EVENTS)
def test_output_pulse_of_ours_never_lasts(events: list[tuple[object, ...]]) -> None:
    """Whatever happens to short pulses that turn it on: in the end it is off."""
    events = [("offer", True, 700, *e[3:]) if e[0] == "offer" else e for e in events]
    scene = Scene()
    live_through(scene, events)
    assert scene.unit.words.get((Table.COIL, 0), 0) == 0
