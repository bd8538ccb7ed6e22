"""What is put into a valid configuration with doors, and the lines that come of it.

Keyed by what the case is about; the line numbers are those of `config_doors.DOORS` as changed.
"""

from __future__ import annotations

BUS = "  corridor: {port: /dev/ttyRS485, baud: 19200}\n"
DEVICE = "  entrance: {bus: corridor, unit: 11, profile: door-unit}\n"
LOCK = "    lock: entrance/relay-1\n"
RULE = "  - {on: alarm.fire.raised, do: release, doors: all}\n"
URL = "write tcp://HOST (Modbus TCP) or rtu+tcp://HOST:PORT (a converter to RS-485)"
UNIT = "write 1 to 247, or 255 for the board itself on Modbus TCP"
ONE = "write port: /dev/ttyRS485, url: tcp://HOST or url: rtu+tcp://HOST:PORT"
SILENT = "a silent alarm is told to routes only: hang the rule on another event"
WIRE_IT = (
    "wire the exit button into the lock's supply (egress: hardwired) or into the unit "
    "(egress: unit)"
)

BUSES = {
    "port and url": ("baud: 19200", "url: tcp://10.0.0.7", [
        f"FILE:6: buses.corridor: needs exactly one of port and url: {ONE}"]),
    "neither port nor url": ("port: /dev/ttyRS485, ", "", [
        f"FILE:6: buses.corridor: needs exactly one of port and url: {ONE}"]),
    "port that is no path": ("/dev/ttyRS485", "ttyRS485", [
        ("FILE:6: buses.corridor.port: 'ttyRS485' is no such name: "
        "write the device's path: /dev/ttyRS485")]),
    "scheme of a bus": ("port: /dev/ttyRS485", "url: modbus://10.0.0.7", [
        f"FILE:6: buses.corridor.url: the scheme 'modbus' is not spoken here: {URL}"]),
    "converter without port": ("port: /dev/ttyRS485", "url: rtu+tcp://10.0.0.9", [
        ("FILE:6: buses.corridor.url: names no port: "
        "write the port the converter listens on: rtu+tcp://HOST:PORT")]),
    "bus url with a path": ("port: /dev/ttyRS485", "url: rtu+tcp://10.0.0.9:4001/1", [
        f"FILE:6: buses.corridor.url: has more than a host and a port: {URL}"]),
    "bus url without host": ("port: /dev/ttyRS485", "url: tcp://", [
        f"FILE:6: buses.corridor.url: names no host: {URL}"]),
    "bus url that is none": ("port: /dev/ttyRS485", "url: tcp://a:99999", [
        f"FILE:6: buses.corridor.url: is not a URL: {URL}"]),
    "baud": ("baud: 19200", "baud: 19201", [
        "FILE:6: buses.corridor.baud: 19201 is not known here: did you mean '19200'?"]),
    "parity": ("baud: 19200", "parity: odds", [
        "FILE:6: buses.corridor.parity: 'odds' is not known here: did you mean 'odd'?"]),
    "two buses, one port": (BUS, BUS + "  hall: {port: /dev/ttyRS485}\n", [
        ("FILE:7: buses.hall: is the same port as buses.corridor (line 6): "
        "put all units behind one port on one bus")]),
    "unknown bus": ("bus: corridor", "bus: coridor", [
        "FILE:8: devices.entrance.bus: there is no bus 'coridor': did you mean 'corridor'?"]),
    "no bus": ("bus: corridor, ", "", [
        "FILE:8: devices.entrance.bus: is missing: write `bus: corridor`"]),
    "unit 0": ("unit: 11", "unit: 0", [
        f"FILE:8: devices.entrance.unit: 0 is every unit at once (broadcast): {UNIT}"]),
    "unit 248": ("unit: 11", "unit: 248", [
        f"FILE:8: devices.entrance.unit: 248 is out of bounds: {UNIT}"]),
    "unit 011": ("unit: 11", "unit: 011", [
        "FILE:8: devices.entrance.unit: 011 is octal to some readers: write 11"]),
    "unit in words": ("unit: 11", "unit: eleven", [
        "FILE:8: devices.entrance.unit: is text: write a whole number"]),
    "unit 255 on a line": ("unit: 11", "unit: 255", [
        ("FILE:8: devices.entrance.unit: 255 is a board itself, which only Modbus TCP knows: "
        "write the unit's own address, 1 to 247")]),
    "unit twice": (DEVICE, DEVICE + DEVICE.replace("entrance", "back"), [
        ("FILE:9: devices.back.unit: 11 is used on corridor already by devices.entrance (line 8): "
        "give every unit of a bus an address of its own, in the unit itself too")]),
    "unknown profile": ("profile: door-unit", "profile: door-unti", [
        ("FILE:8: devices.entrance.profile: there is no profile 'door-unti': "
        "did you mean 'door-unit'?")]),
    "transport": ("port: /dev/ttyRS485", "url: tcp://10.0.0.7", [
        ("FILE:8: devices.entrance.bus: corridor speaks tcp, and door-unit does not: "
        "hang it on a bus that speaks rtu or rtu-over-tcp")]),
    "identity of a unit without": (DEVICE, DEVICE + DEVICE.replace("entrance", "yard")
        .replace("unit: 11", "unit: 12, identity: X").replace("door-unit", "plain-unit"), [
        ("FILE:9: devices.yard.identity: plain-unit has no register that says what it is: "
        "remove the line")]),
    "poll": ("profile: door-unit", "profile: door-unit, poll: 10ms", [
        "FILE:8: devices.entrance.poll: 10ms is out of bounds: write 20ms to 10s"]),
}  # fmt: skip

WIRES = {
    "unknown device": ("entrance/input-1", "entrence/input-1", [
        ("FILE:19: points.main-door.contact: there is no device 'entrence': "
        "did you mean 'entrance'?")]),
    "unknown input": ("entrance/input-1", "entrance/input-9", [
        ("FILE:19: points.main-door.contact: there is no input 'input-9' on entrance (door-unit): "
        "write input-0 … input-6")]),
    "unknown output": (LOCK, "    lock: entrance/relay-7\n", [
        ("FILE:21: points.main-door.lock: there is no output 'relay-7' on entrance (door-unit): "
        "write relay-1 … relay-6")]),
    "output for an input": ("entrance/input-1", "entrance/relay-2", [
        ("FILE:19: points.main-door.contact: 'relay-2' is an output of entrance (door-unit), "
        "and an input is wanted: write input-0 … input-6")]),
    "input for an output": (LOCK, "    lock: entrance/input-3\n", [
        ("FILE:21: points.main-door.lock: 'input-3' is an input of entrance (door-unit), "
        "and an output is wanted: write relay-1 … relay-6")]),
    "channel twice": ("entrance/input-2", "entrance/input-1", [
        ("FILE:20: points.main-door.request_to_exit: entrance/input-1 is used already by "
        "points.main-door.contact (line 19): give every contact and lamp a channel of its own")]),
    "lamp on a lock": ("lamp: gpio:22", "lamp: entrance/relay-1", [
        ("FILE:21: points.main-door.lock: entrance/relay-1 is used already by "
        "points.reception.lamp (line 13): give every contact and lamp a channel of its own")]),
    "siren on a lock": (RULE,
        "  - {on: alarm.panic.raised, do: sound, output: entrance/relay-1}\n", [
        ("FILE:44: reactions[0].output: entrance/relay-1 is used already by "
        "points.main-door.lock (line 21): give every contact and lamp a channel of its own")]),
    "sounder on the lock": (LOCK, LOCK + "    sounder: entrance/relay-1\n", [
        ("FILE:22: points.main-door.sounder: entrance/relay-1 is used already by "
        "points.main-door.lock (line 21): give every contact and lamp a channel of its own")]),
    "no address": ("entrance/input-1", "Entrance/input 1", [
        ("FILE:19: points.main-door.contact: 'Entrance/input 1' is no channel of a device: "
        "write DEVICE/CHANNEL, such as entrance/input-1")]),
    "number for a contact": ("contact: entrance/input-1", "contact: 5", [
        ("FILE:19: points.main-door.contact: is a number: "
        "write gpio:N or DEVICE/CHANNEL")]),
    "contact with two senses": ("request_to_exit: entrance/input-2",
        "bolt: {normally_open: entrance/input-2, normally_closed: entrance/input-3}", [
        ("FILE:20: points.main-door.bolt: needs exactly one of normally_open and normally_closed: "
        "write DEVICE/CHANNEL for a contact that closes when active")]),
    "unknown key of a contact": ("entrance/input-1", "{normaly_open: entrance/input-1}", [
        ("FILE:19: points.main-door.contact.normaly_open: unknown key: "
        "did you mean 'normally_open'?")]),
}  # fmt: skip

DOORS = {
    "input on a door": ("contact: entrance/input-1", "input: {normally_open: entrance/input-1}", [
        ("FILE:19: points.main-door.input: a door has no input: "
        "write contact: and the contact that is closed while the door is shut")]),
    "no contact": ("    contact: entrance/input-1\n", "", [
        "FILE:17: points.main-door.contact: is missing: write `contact: entrance/input-1`"]),
    "no input": ("    input: {normally_closed: gpio:5}\n", "", [
        ("FILE:14: points.fire-panel.input: is missing: write `input: "
        "{normally_open: gpio:17, normally_closed: gpio:27}`")]),
    "contact on another": ("    input: {normally_closed: gpio:5}\n",
        "    input: {normally_closed: gpio:5}\n    contact: gpio:6\n", [
        ("FILE:17: points.fire-panel.contact: belongs to a door, and this is kind fire: "
        "write it under input")]),
    "lock on another": ("lamp: gpio:22", "lock: gpio:22", [
        ("FILE:13: points.reception.lock: belongs to a door, and this is kind panic: "
        "remove it, or write kind: door")]),
    "no egress": ("    egress: hardwired\n    fire_release: hardwired\n", "", [
        ("FILE:17: points.main-door.egress: is missing, and nobody may be locked in: "
        "write handle, hardwired, unit or none, as the door truly is")]),
    "egress by software": ("egress: hardwired", "egress: software", [
        ("FILE:22: points.main-door.egress: 'software' is no way out: leaving never depends on the "
        "gateway: write handle, hardwired (the exit button cuts the lock's supply), "
        "unit (the exit button acts in the lock's unit), or none")]),
    "egress by the unit of a pin": (
        "    lock: entrance/relay-1\n    egress: hardwired", "    lock: gpio:6\n    egress: unit", [
        ("FILE:22: points.main-door.egress: the exit button hangs on another unit than the lock: "
        "only the gateway could join them: wire the button to the lock's own unit, or into the "
        "lock's supply (hardwired)"),
        ("FILE:22: points.main-door.egress: the lock hangs on a pin, and leaving never depends on "
        "the gateway: write hardwired, and wire the exit button into the lock's supply")]),
    "egress by a unit that may not": ("egress: hardwired", "egress: unit", [
        ("FILE:22: points.main-door.egress: entrance (door-unit) is told to let no input move an "
        "output (mode): write hardwired, and wire the exit button into the lock's supply")]),
    "no fire release": ("    fire_release: hardwired\n", "", [
        ("FILE:17: points.main-door.fire_release: is missing, and a fire must free a door with "
        "egress: hardwired: write hardwired (the fire panel cuts the lock's supply), "
        "or the fire point that releases it: fire-panel")]),
    "fire release by nobody": ("fire_release: hardwired", "fire_release: fire-pannel", [
        ("FILE:23: points.main-door.fire_release: there is no point 'fire-pannel': "
        "did you mean 'fire-panel'?")]),
    "fire release by a button": ("fire_release: hardwired", "fire_release: reception", [
        ("FILE:23: points.main-door.fire_release: reception is a panic point: "
        "one of fire-panel, hardwired")]),
    "fire release of no lock": (
        f"{LOCK}    egress: hardwired\n    fire_release: hardwired\n    held_after: 30s\n",
        "    egress: hardwired\n    fire_release: fire-panel\n", [
        ("FILE:22: points.main-door.fire_release: the gateway has no lock here to release: "
        "write hardwired (the fire panel cuts the lock's supply), or name the lock"),
        ("FILE:42: reactions[0].doors: no door people leave by has a lock: "
        "write lock: at a door, or remove the rule")]),
    "magnet and one side": (LOCK, LOCK + "    lock_type: magnet\n    fire_opens: exit\n", [
        ("FILE:23: points.main-door.fire_opens: a single magnet can only be both: "
        "it holds the door for both sides: write both, or remove the line")]),
    "magnet and handle": (
        f"{LOCK}    egress: hardwired\n", f"{LOCK}    lock_type: magnet\n    egress: handle\n", [
        ("FILE:23: points.main-door.egress: a handle does not open a magnet: write hardwired, "
        "with a switch at the handle that cuts the magnet's supply")]),
    "relocked by silence": ("fire_release: hardwired",
        "fire_release: fire-panel\n    on_silence: lock", [
        ("FILE:24: points.main-door.on_silence: a fire that burns the cable would lock again what "
        "it had released: write keep or release, or have the fire panel cut the lock's supply "
        "(fire_release: hardwired)")]),
    "silence the unit has not": (LOCK, LOCK + "    on_silence: release\n", [
        ("FILE:22: points.main-door.on_silence: release is not what door-unit can do with relay-1 "
        "when the gateway falls silent: it can keep it or switch it off: "
        "write on_silence: keep or lock")]),
    "silence of a pin": (LOCK, "    lock: gpio:6\n    on_silence: release\n", [
        ("FILE:22: points.main-door.on_silence: a pin cannot release anything by itself: "
        "write keep, or hang the lock on a unit that can")]),
    "warning after the fact": ("held_after: 30s", "held_after: 30s\n    warn_before: 30s", [
        ("FILE:25: points.main-door.warn_before: is not shorter than held_after (30s): "
        "write less, so that somebody can still close the door")]),
    "sounder of a silent door": (LOCK, LOCK + "    sounder: entrance/relay-2\n    silent: true\n", [
        ("FILE:22: points.main-door.sounder: a sounder would show a silent alarm on the premises: "
        "remove the sounder, or write silent: false")]),
}  # fmt: skip

RULES = {
    "exit by a rule": ("on: alarm.fire.raised", "on: access.exit", [
        f"FILE:44: reactions[0].on: leaving never depends on the gateway: {WIRE_IT}"]),
    "any access by a rule": ("on: alarm.fire.raised", "on: access.*", [
        f"FILE:44: reactions[0].on: leaving never depends on the gateway: {WIRE_IT}"]),
    "unknown kind of alarm": ("on: alarm.fire.raised", "on: alarm.fires.raised", [
        ("FILE:44: reactions[0].on: 'alarm.fires.raised' is no event a rule can hang on: "
        "did you mean 'alarm.fire.raised'?")]),
    "cleared": ("on: alarm.fire.raised", "on: fault.mains.cleared", [
        ("FILE:44: reactions[0].on: 'fault.mains.cleared' is no event a rule can hang on: "
        "did you mean 'fault.mains.raised'?")]),
    "nothing like an event": ("on: alarm.fire.raised", "on: " + "x" * 80, [
        (f"FILE:44: reactions[0].on: '{'x' * 60}' is no event a rule can hang on: "
        "write alarm.KIND.raised, alarm.KIND.unanswered or fault.KIND.raised")]),
    "deed": ("do: release", "do: open", [
        ("FILE:44: reactions[0].do: 'open' is not known here: "
        "one of release, lockdown, sound, light")]),
    "no deed": ("do: release, ", "", [
        "FILE:44: reactions[0].do: is missing: write `do: release`"]),
    "fire locks": ("do: release", "do: lockdown", [
        ("FILE:44: reactions[0].on: a fire frees doors and never locks one: "
        "write do: release")]),
    "no doors": (", doors: all", "", [
        "FILE:44: reactions[0].doors: is missing: write `doors: all`"]),
    "no doors at all": ("doors: all", "doors: []", [
        "FILE:44: reactions[0].doors: is empty: write all, or name doors"]),
    "unknown door": ("doors: all", "doors: [main-dor]", [
        ("FILE:44: reactions[0].doors[0]: there is no door 'main-dor': "
        "did you mean 'main-door'?")]),
    "door that is none": ("doors: all", "doors: [reception]", [
        "FILE:44: reactions[0].doors[0]: there is no door 'reception': one of main-door"]),
    "door as text": ("doors: all", "doors: main-door", [
        ("FILE:44: reactions[0].doors: 'main-door' is no list of doors: "
        "write all, or [main-door]")]),
    "door without a lock": (f"{LOCK}", "", [
        ("FILE:43: reactions[0].doors: no door people leave by has a lock: "
        "write lock: at a door, or remove the rule")]),
    "light without output": (RULE, "  - {on: alarm.fire.raised, do: light}\n", [
        "FILE:44: reactions[0].output: is missing: write `output: entrance/relay-3`"]),
    "doors of a light": (RULE,
        "  - {on: alarm.fire.raised, do: light, output: gpio:6, doors: all}\n", [
        ("FILE:44: reactions[0].doors: belongs to release and lockdown, not to light: "
        "remove it")]),
    "time of a release": ("doors: all", "doors: all, for: 60s", [
        "FILE:44: reactions[0].for: belongs to sound and light, not to release: remove it"]),
    "long siren": (RULE, "  - {on: alarm.fire.raised, do: sound, output: gpio:6, for: 31m}\n", [
        "FILE:44: reactions[0].for: 31m is out of bounds: write 1s to 30m"]),
    "siren for a hold-up": (RULE,
        "  - {on: alarm.hold-up.raised, do: sound, output: gpio:6}\n", [
        ("FILE:44: reactions[0].on: alarm.hold-up is silent, and would show on the premises: "
        f"{SILENT}")]),
    "light for unanswered duress": (RULE,
        "  - {on: alarm.duress.unanswered, do: light, output: gpio:6}\n", [
        ("FILE:44: reactions[0].on: alarm.duress is silent, and would show on the premises: "
        f"{SILENT}")]),
    "rule on a fault of the way": (RULE,
        "  - {on: fault.delivery.raised, do: light, output: gpio:6}\n", [
        ("FILE:44: reactions[0].on: an alarm on its way brings it about, a silent one too: "
        "no rule may show it: remove the rule; routes are told of it")]),
    "lockdown for too long": ("reactions:\n", "lockdown: {at_most: 25h}\nreactions:\n", [
        "FILE:43: lockdown.at_most: 25h is out of bounds: write 1m to 24h"]),
    "target": ("verbs: [resend]", "verbs: [resend], targets: [main-dor]", [
        ("FILE:38: routes.security.keys[0].targets[0]: there is no point 'main-dor': "
        "did you mean 'main-door'?")]),
}  # fmt: skip

REFUSALS = {**BUSES, **WIRES, **DOORS, **RULES}

HUSH = ("    lamp: gpio:22\n", "    silent: true\n")
BACK = (
    f"{LOCK}    egress: hardwired\n    fire_release: hardwired\n    held_after: 30s\n",
    (
        "    egress: handle\n  back:\n    kind: door\n    contact: entrance/input-3\n"
        "    egress: handle\n    lock: entrance/relay-2\n"
    ),
)
TWO_STEPS = {
    "named door without a lock": (
        [BACK, ("doors: all", "doors: [main-door, back]")],
        ["FILE:46: reactions[0].doors[0]: main-door has no lock: write lock: at points.main-door"],
    ),
    "light for a silent panic": (
        [
            HUSH,
            (RULE, "  - {on: alarm.panic.unanswered, do: light, output: gpio:6}\n"),
        ],
        [
            (
                "FILE:44: reactions[0].on: a silent alarm of points.reception (line 10) would show "
                f"on the premises: {SILENT}"
            )
        ],
    ),
    "lockdown for a silent panic": (
        [
            HUSH,
            ("on: alarm.fire.raised, do: release", "on: alarm.panic.raised, do: lockdown"),
        ],
        [
            (
                "FILE:44: reactions[0].on: a silent alarm of points.reception (line 10) would show "
                f"on the premises: {SILENT}"
            )
        ],
    ),
    "light for a stuck silent button": (
        [
            HUSH,
            (RULE, "  - {on: fault.stuck.raised, do: light, output: gpio:6}\n"),
        ],
        [
            (
                "FILE:44: reactions[0].on: a silent alarm of points.reception (line 10) would show "
                f"on the premises: {SILENT}"
            )
        ],
    ),
}
"""Refusals that take two changes."""

POLL = ", poll: 50ms}"
YARD = "  yard: {bus: corridor, unit: 12, profile: plain-unit}\n"

WARNINGS = {
    "button on a unit that counts nothing": (
        [(DEVICE, DEVICE + YARD), ("gpio:17,", "yard/di-1,")],
        ("FILE:13: points.reception.input.normally_open: di-1 of yard (plain-unit) counts nothing: "
        "a short press can begin and end between two polls: wire the button to a pin, or to a unit "
        "that counts presses")),
    "slow poll": (
        [("profile: door-unit", "profile: door-unit, poll: 2s"), ("gpio:5}", "entrance/input-3}")],
        ("FILE:8: devices.entrance.poll: an alarm on it waits up to 2s to be seen: "
        "write 1s or less")),
    "unverified profile": (
        [(DEVICE, DEVICE + YARD.replace("plain-unit", "rumour")), ("gpio:5}", "yard/di-1}")],
        ("FILE:9: devices.yard.profile: what is said of rumour is not verified: "
        "try it on a bench with the unit itself before it guards anybody")),
    "unverified facts": (
        [("profile: door-unit", "profile: half-known")],
        ("FILE:8: devices.entrance.profile: not everything said of half-known is verified: "
        "input-1.counter, input-2.counter: "
        "try it on a bench with the unit itself before it guards anybody")),
    "nothing ends the opening": (
        [(DEVICE, DEVICE + YARD), (LOCK, "    lock: yard/out-1\n")],
        ("FILE:22: points.main-door.lock: its openings are ended by the gateway: if that dies "
        "within one, the door stays open: drive the lock from a unit that times openings by "
        "itself")),
    "opening longer than the unit can time": (
        [(LOCK, LOCK + "    unlock: 2m\n")],
        ("FILE:21: points.main-door.lock: its openings are ended by the gateway: if that dies "
        "within one, the door stays open: drive the lock from a unit that times openings by "
        "itself")),
    "lock on a pin": (
        [(LOCK, "    lock: gpio:6\n")],
        ("FILE:21: points.main-door.lock: its openings are ended by the gateway: if that dies "
        "within one, the door stays open: drive the lock from a unit that times openings by "
        "itself")),
    "locked by silence": (
        [(LOCK, LOCK + "    on_silence: lock\n")],
        ("FILE:22: points.main-door.on_silence: a cut bus cable locks a door that stood released: "
        "write keep, unless the lock matters more here")),
    "released by silence": (
        [(LOCK, LOCK + "    lock_type: magnet\n    on_silence: release\n    unlock: 7s\n")],
        ("FILE:23: points.main-door.on_silence: whoever cuts the bus cable opens the door: "
        "write keep, unless leaving matters more than the lock here")),
    "never held": (
        [("held_after: 30s", "held_after: never")],
        ("FILE:24: points.main-door.held_after: a door that is left open is never reported: "
        "write 30s")),
    "warning nobody hears": (
        [("held_after: 30s", "held_after: 30s\n    warn_before: 5s")],
        ("FILE:25: points.main-door.warn_before: has no effect: nothing sounds: "
        "add sounder, or remove it")),
    "unlock without a lock": (
        [(LOCK, "    unlock: 5s\n"), (RULE, "  []\n")],
        ("FILE:21: points.main-door.unlock: has no effect: the gateway drives no lock here: "
        "remove the line")),
    "fire and a door nobody leaves by": (
        [("egress: hardwired", "egress: none"), ("doors: all", "doors: [main-door]")],
        ("FILE:23: points.main-door.fire_release: has no effect: nobody leaves by this door "
        "(egress: none): remove the line, or write how people get out")),
    "rule nothing sets off": (
        [("on: alarm.fire.raised", "on: alarm.medical.raised")],
        "FILE:44: reactions[0].on: no point raises alarm.medical: remove the rule"),
    "bus without units": (
        [(BUS, BUS + "  hall: {port: /dev/ttyUSB0}\n")],
        "FILE:7: buses.hall: no device hangs on it: describe its devices, or remove it"),
    "device nobody uses": (
        [(DEVICE, DEVICE + YARD)],
        "FILE:9: devices.yard: nothing uses it: connect a point to it, or remove it"),
    "speed of what has no line": (
        [("port: /dev/ttyRS485, baud: 19200", "url: tcp://10.0.0.7, baud: 19200"),
        ("door-unit", "plain-unit"), ("entrance/input-1", "entrance/di-1"),
        ("entrance/input-2", "entrance/di-2"), (LOCK, ""), (RULE, "  []\n")],
        "FILE:6: buses.corridor.baud: has no effect: Modbus TCP has no line: remove the line"),
    "slow neighbour": (
        [(DEVICE, DEVICE + YARD.replace("plain-unit", "slow-unit, poll: 4s")),
        ("egress: hardwired", "bolt: yard/di-1\n    egress: hardwired")],
        ("FILE:9: devices.yard.bus: may take 3000 ms to answer, and the others on corridor wait: "
        "give it a bus of its own")),
    "bus asked too often": (
        [(DEVICE, "".join(DEVICE.replace("entrance", name).replace("11", unit).replace("}", POLL)
            for name, unit in (("entrance", "11"), ("a", "12"), ("b", "13")))),
        ("egress: hardwired", "granted: a/input-1\n    denied: b/input-1\n    egress: hardwired")],
        # 28 ms, and 27 for each of the others, which have one counter less
        ("FILE:6: buses.corridor: the bus needs about 81 ms for one round, and 50 ms were asked: "
        "write a longer poll (100ms for all), a higher baud, or a second bus")),
    "unit that wants a rest": (
        [(DEVICE, DEVICE + YARD.replace("plain-unit", "resting")),
        ("egress: hardwired", "bolt: yard/di-1\n    egress: hardwired")],
        # one read of 21 characters, and 300 ms of silence after it
        ("FILE:9: devices.yard.poll: one round of its inputs takes about 322 ms, "
        "and 200 ms were asked: write 350ms or more")),
    "unit asked too often": (
        [("profile: door-unit", "profile: door-unit, poll: 20ms")],
        # at 19200 8N2 a character lasts 0.573 ms; 21 and 24 of them with the silences, 1 ms twice
        ("FILE:8: devices.entrance.poll: one round of its inputs takes about 28 ms, "
        "and 20 ms were asked: write 50ms or more")),
}  # fmt: skip
