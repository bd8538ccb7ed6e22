"""Which of a profile's settings a unit needs for what it is used for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.base import Output, Wire
from gateway.core.hardware import OnSilence, channel_of
from gateway.core.profile import Profile, Setting, When


def settings_for(
    profile: Profile, wires: Sequence[Wire], outputs: Sequence[Output]
) -> tuple[Setting, ...]:
    """The settings that apply to a unit used like this, those before outputs first."""
    chosen = [setting for setting in profile.settings if _applies(setting, wires, outputs)]
    return tuple(sorted(chosen, key=lambda setting: not setting.before_outputs))


def _applies(setting: Setting, wires: Sequence[Wire], outputs: Sequence[Output]) -> bool:
    mine = setting.channel
    wired = [wire for wire in wires if mine in (None, channel_of(wire.address))]
    driven = [output for output in outputs if mine in (None, channel_of(output.address))]
    match setting.when:
        case When.ALWAYS:
            return True
        case When.INPUT_USED:
            return bool(wired)
        case When.PERSON_OPERATED:
            return any(wire.pressed for wire in wired)
        case When.OUTPUT_USED:
            return bool(driven)
        case _:
            return any(safe_state(output) is setting.when for output in driven)


def safe_state(output: Output) -> When:
    """What the unit itself is to do with an output when the gateway falls silent."""
    if output.on_silence is OnSilence.KEEP:
        return When.SAFE_KEEP
    locks = output.on_silence is OnSilence.LOCK
    return When.SAFE_ON if locks is output.energised_locks else When.SAFE_OFF


def name_of(setting: Setting) -> str:
    """A setting's name, with its channel where it has one."""
    return setting.name if setting.channel is None else f"{setting.name} of {setting.channel}"
