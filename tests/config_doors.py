"""A site with a bus, units and doors; its profiles stand beside it, so that no shipped one counts.

`door-unit` can do everything, `plain-unit` next to nothing, `slow-unit` thinks for seconds.
"""

from __future__ import annotations

from pathlib import Path

from tests.config_site import TEXT, Site

DOOR_UNIT = """\
id: door-unit
vendor: Nobody
model: Door unit
source: made for tests
verified: true
timing: {answer: 10ms}
limits: {hole_bits: 8}
identity: {table: holding, address: 200, count: 6, text: one}
uptime: {table: input, address: 104, words: 2}
settings:
  watchdog: {table: holding, address: 8, value: 3, before_outputs: true}
inputs:
  input:
    first: 0
    count: 7
    level: {table: discrete, address: 0}
    counter: {table: input, address: 32}
    settings:
      mode: {table: holding, address: 9, value: 3, before_outputs: true}
      filter: {table: holding, address: 20, value: 10, most: 10, when: input-used}
outputs:
  relay:
    count: 6
    write: {table: coil, address: 0}
    state: {table: coil, address: 0}
    pulse_on:
      kind: timer
      time: {table: holding, address: 1784}
      unit: 100ms
      longest: 1m
      mode: {table: holding, address: 1760}
      mode_value: 3
    settings:
      safe: {table: holding, address: 938, in_silence: {keep: 0, off: 1}}
"""

PLAIN_UNIT = """\
id: plain-unit
vendor: Nobody
model: Plain unit
source: made for tests
verified: true
transports: [rtu, tcp]
inputs: {di: {count: 8, level: {table: discrete, address: 0}}}
outputs: {out: {count: 8, write: {table: coil, address: 0}}}
"""

OTHERS = {
    "slow-unit": PLAIN_UNIT.replace("plain-unit", "slow-unit") + "timing: {answer: 3s}\n",
    "resting": PLAIN_UNIT.replace("plain-unit", "resting") + "timing: {between: 300ms}\n",
    "rumour": PLAIN_UNIT.replace("plain-unit", "rumour").replace(
        "verified: true", "verified: false"
    ),
    "half-known": DOOR_UNIT.replace("door-unit", "half-known").replace(
        "    counter: {table: input, address: 32}",
        "    counter: {table: input, address: 32, verified: false}",
    ),
    "broken": DOOR_UNIT.replace("door-unit", "broken").replace("count: 7", "count: seven"),
}

# The line numbers in the tests are those of this text.
DOORS = (
    TEXT.replace(
        "points:\n",
        """\
buses:
  corridor: {port: /dev/ttyRS485, baud: 19200}
devices:
  entrance: {bus: corridor, unit: 11, profile: door-unit}
points:
""",
    ).replace(
        "uplinks:\n",
        """\
  main-door:
    kind: door
    contact: entrance/input-1
    request_to_exit: entrance/input-2
    lock: entrance/relay-1
    egress: hardwired
    fire_release: hardwired
    held_after: 30s
uplinks:
""",
    )
    + """\
reactions:
  - {on: alarm.fire.raised, do: release, doors: all}
"""
)


BACK_DOOR = """\
  back-door:
    kind: door
    contact: entrance/input-3
    egress: handle
    held_after: 1h
"""


# The same with one more door and rule, every mapping with room for one more line.
ROOMY = (
    DOORS.replace(
        "  entrance: {bus: corridor, unit: 11, profile: door-unit}\n",
        "  entrance:\n    bus: corridor\n    unit: 11\n    profile: door-unit\n",
    )
    .replace("    held_after: 30s\n", BACK_DOOR)
    .replace(
        "reactions:\n",
        "# here\nreactions:\n"
        "  - on: alarm.panic.raised\n    do: sound\n    output: entrance/relay-2\n",
    )
)


class DoorSite(Site):
    """A valid site with a door; tests break one thing of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "profiles").mkdir()
        for name, text in {"door-unit": DOOR_UNIT, "plain-unit": PLAIN_UNIT, **OTHERS}.items():
            self.put(f"profiles/{name}.yaml", text)
        self.write(DOORS)
