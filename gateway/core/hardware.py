"""Buses, the units on them, doors, and local rules, as the configuration says. Frozen data.

Addresses: `gpio:17` is a pin, `entrance/input-1` a channel of the device `entrance`. Times are
whole milliseconds. Nothing here knows a register; that is `profile.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.profile import Profile


class Transport(StrEnum):
    """How Modbus frames travel: MODBUS over Serial Line V1.02 (RTU), the same in TCP, or MBAP."""

    RTU = "rtu"
    RTU_OVER_TCP = "rtu-over-tcp"
    TCP = "tcp"


class Parity(StrEnum):
    """The parity bit of a character on the line."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


@dataclass(frozen=True, slots=True)
class Bus:
    """One port with units behind it; one task owns it.

    port: a serial device (RTU). host, tcp_port: a converter (RTU over TCP) or a unit or gateway
    (TCP). baud, parity and stop_bits also tell how slow the line behind an RTU converter is.
    echo: our own request comes back before the answer; None finds out by itself.
    """

    id: str
    transport: Transport
    port: str = ""
    host: str = ""
    tcp_port: int = 502
    baud: int = 9_600
    parity: Parity = Parity.NONE
    stop_bits: int = 2
    echo: bool | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One unit on a bus. unit: Modbus address, 1..247 (255 for a TCP board itself).

    poll_ms: how often its inputs are read. identity: what its identity registers must say; None
    takes what is seen first and remembers it, so that a swapped unit shows.
    """

    id: str
    bus: str
    unit: int
    profile: Profile
    poll_ms: int = 200
    identity: str | None = None


def device_of(address: str) -> str | None:
    """The device an address belongs to; None for a pin."""
    device, slash, _ = address.partition("/")
    return device if slash else None


def channel_of(address: str) -> str:
    """The channel of an address on a device: `input-1` of `entrance/input-1`."""
    return address.partition("/")[2]


class Egress(StrEnum):
    """How people get out, whatever the gateway does."""

    HANDLE = "handle"
    HARDWIRED = "hardwired"
    UNIT = "unit"
    NONE = "none"


class FireOpens(StrEnum):
    """Which side of a door fire frees by the gateway's hand, beside the hardware's."""

    EXIT = "exit"
    BOTH = "both"


class LockType(StrEnum):
    """STRIKE: energised releases (fail-secure). MAGNET: energised locks (fail-safe)."""

    STRIKE = "strike"
    MAGNET = "magnet"


class OnSilence(StrEnum):
    """What the unit does with a lock by itself when the gateway falls silent."""

    KEEP = "keep"
    LOCK = "lock"
    RELEASE = "release"


FIRE_HARDWIRED = "hardwired"
"""`fire_release` of a door whose lock supply the fire panel cuts itself."""


@dataclass(frozen=True, slots=True)
class DoorContact:
    """One more contact of a door: its address, and whether it is closed at rest."""

    address: str
    closed_at_rest: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """What makes a Point of kind door a door; its contact is the Point's own `input`.

    The contact is ACTIVE while the door stands open. request_to_exit: ACTIVE while somebody asks
    to leave (watched, never acted on). bolt: ACTIVE while the bolt is withdrawn. granted … tamper:
    the door controller's own flags, ACTIVE while (or counted when) it says so. lock: the output.
    fire_release: `hardwired`, the id of a fire point, or None where nothing is needed.

    unlock_ms: how long a timed opening lasts. grant_ms: how long after a grant, an exit or the end
    of a timed opening the door may still be opened. held_after_ms: open longer is door-held;
    None: never. warn_before_ms: the local warning comes so much earlier. sounder: its output.
    """

    lock: str | None = None
    lock_type: LockType = LockType.STRIKE
    request_to_exit: DoorContact | None = None
    bolt: DoorContact | None = None
    granted: DoorContact | None = None
    denied: DoorContact | None = None
    forced: DoorContact | None = None
    held: DoorContact | None = None
    tamper: DoorContact | None = None
    egress: Egress = Egress.HANDLE
    fire_release: str | None = None
    fire_opens: FireOpens = FireOpens.EXIT
    on_silence: OnSilence = OnSilence.KEEP
    unlock_ms: int = 5_000
    grant_ms: int = 5_000
    held_after_ms: int | None = 30_000
    warn_before_ms: int = 10_000
    sounder: str | None = None
    remote_unlock: bool = False

    @property
    def contacts(self) -> dict[str, DoorContact]:
        """The wired contacts beside the door's own, by name."""
        every = {
            "request_to_exit": self.request_to_exit,
            "bolt": self.bolt,
            "granted": self.granted,
            "denied": self.denied,
            "forced": self.forced,
            "held": self.held,
            "tamper": self.tamper,
        }
        return {name: contact for name, contact in every.items() if contact is not None}

    def energised(self, *, released: bool) -> bool:
        """What the lock's output must be for the door to be released, or locked."""
        return released is (self.lock_type is LockType.STRIKE)


class Deed(StrEnum):
    """What a local rule does."""

    RELEASE = "release"
    LOCKDOWN = "lockdown"
    SOUND = "sound"
    LIGHT = "light"


@dataclass(frozen=True, slots=True)
class ReactionRule:
    """A local rule: this event, that deed; no network in it.

    on: an event type such as `alarm.fire.raised`, or `alarm.<kind>.unanswered` for an alarm that
    no receipt, or no person, has answered in time. doors: what release and lockdown act on.
    output, for_ms: what sounds or lights, and for how long (1 s to 30 min).
    """

    on: str
    do: Deed
    doors: tuple[str, ...] = ()
    output: str | None = None
    for_ms: int = 60_000
