"""What is put into a valid profile in the place of what, and the lines that come of it.

Keyed by what the case is about; the line numbers are those of `TEXT` as changed.
"""

from __future__ import annotations

TEXT = """\
id: unit
vendor: Somebody
model: A unit
source: its manual
verified: true
serial: {baud: 9600}
limits: {registers: 16}
identity: {table: holding, address: 200, count: 6, text: one}
settings:
  poll_timeout_s: {address: 8, value: 10, before_outputs: true}
inputs:
  input:
    first: 0
    count: 4
    level: {table: discrete, addresses: [7, 0, 1, 2]}
    counter: {table: input, address: 32}
    settings:
      mode: {address: 9, value: 3}
outputs:
  relay:
    count: 2
    write: {table: coil, address: 0}
    pulse_on: {kind: flash, unit: 100ms, longest: 1m, time: {table: coil, address: 512}}
    settings:
      safe: {address: 938, in_silence: {keep: 0, on: 1}}
"""

NUMBERS = "keep it in one of the two"
PAIR = "level: {table: discrete, addresses: [7, 0, 1, 2]}"
MODE = "mode: {address: 9, value: 3}"
FLASH = "{kind: flash, unit: 100ms, longest: 1m, time: {table: coil, address: 512}}"
TIMER = "{kind: timer, unit: 100ms, longest: 1m, time: {table: holding, address: 512}"
ONE = "write address: N, or addresses: [N, …] with one for each channel"
UPTIME = "uptime: {table: input, address: 1, bit: 16}\n"
LOG = """\
event_log:
  unread: {table: holding, address: 100}
  read: {table: holding, address: 110}
  count: 14
  acknowledge: {table: holding, address: 101}
  zone_field: 3
  zones: 3
  flags: {granted: [28], denied: [26, 29]}
"""
WIDE = "count: 17\n    level: {table: input, address: 0, mask: true}"
ZONES = "level: {table: holding, address: 4000, high_byte: true}\n    closed_codes: [37, 40]"

REFUSALS = {
    "unknown key": ("vendor: Somebody", "vendr: Somebody", [
        "FILE:1: vendor: is missing: write `vendor: Wiren Board`",
        "FILE:2: vendr: unknown key: did you mean 'vendor'?"]),
    "unknown key of a family": ("    count: 4", "    count: 4\n    inverse: true", [
        "FILE:15: inputs.input.inverse: unknown key: did you mean 'inverted'?"]),
    "id is not the file's": ("id: unit", "id: other", [
        "FILE:1: id: other is not the file's name: write id: unit, or rename the file"]),
    "id shape": ("id: unit", "id: Unit_1", [
        "FILE:1: id: 'Unit_1' is no such name: write a-z, 0-9 and -, at most 63, not - first"]),
    "no source": ("source: its manual\n", "", [
        "FILE:1: source: is missing: write `source: the maker's manual`"]),
    "verified": ("verified: true", "verified: yes", [
        "FILE:5: verified: 'yes' is neither true nor false in YAML 1.2: write true"]),
    "baud": ("baud: 9600", "baud: 9601", [
        "FILE:6: serial.baud: 9601 is not known here: did you mean '9600'?"]),
    "transport": ("verified: true", "verified: true\ntransports: [serial]", [
        "FILE:6: transports[0]: 'serial' is not known here: one of rtu, rtu-over-tcp, tcp"]),
    "duration": ("verified: true", "verified: true\ntiming: {answer: 100}", [
        ("FILE:6: timing.answer: 100 has no unit: write 100s if seconds are meant "
        "(units: ms, s, m, h, d, y)")]),
    "table": ("table: discrete", "table: discreet", [
        ("FILE:15: inputs.input.level.table: 'discreet' is not known here: "
        "did you mean 'discrete'?")]),
    "family name": ("  input:\n", "  Input_1:\n", [
        ("FILE:12: inputs.Input_1: 'Input_1' is no such name: write a word such as input or relay; "
        "a star stands for the number of a group")]),
    "address out of range": ("address: 32}", "address: 70000}", [
        "FILE:16: inputs.input.counter.address: 70000 is out of bounds: write 0 to 65535"]),
    "last address out of range": ("address: 32}", "address: 65534}", [
        ("FILE:16: inputs.input.counter.address: the last one is at 65537: "
        "mend address, step or count")]),
    "octal": ("address: 32}", "address: 032}", [
        "FILE:16: inputs.input.counter.address: 032 is octal to some readers: write 32"]),
    "addresses of others": ("[7, 0, 1, 2]", "[7, 0, 1]", [
        ("FILE:15: inputs.input.level.addresses: 3 addresses for 4 channels: "
        "write one for each channel")]),
    "address twice in a list": ("[7, 0, 1, 2]", "[7, 0, 1, 0]", [
        "FILE:15: inputs.input.level.addresses[3]: 0 stands twice: name each once"]),
    "address and addresses": ("addresses: [7", "address: 7, addresses: [7", [
        f"FILE:15: inputs.input.level: needs exactly one of address and addresses: {ONE}"]),
    "no address": ("table: input, address: 32", "table: input", [
        f"FILE:16: inputs.input.counter: needs exactly one of address and addresses: {ONE}"]),
    "step beside addresses": ("addresses: [7", "step: 2, addresses: [7", [
        "FILE:15: inputs.input.level.step: has no effect beside addresses: remove it"]),
    "words of a bit": ("{table: discrete,", "{table: discrete, words: 2,", [
        "FILE:15: inputs.input.level.words: a discrete is one bit: it has no words: remove it"]),
    "mask of bits": (PAIR, "level: {table: discrete, address: 0, mask: true}", [
        "FILE:15: inputs.input.level.mask: a discrete is one bit already: remove it"]),
    "mask too narrow": ("count: 4\n    " + PAIR, WIDE, [
        ("FILE:15: inputs.input.level.mask: 17 bits do not fit: "
        "write words: 2, or a smaller count")]),
    "order of one word": ("address: 32}", "address: 32, low_word_first: true}", [
        "FILE:16: inputs.input.counter.low_word_first: one word has no order: write words: 2"]),
    "overlapping values": ("address: 32}", "address: 32, words: 2, step: 1}", [
        "FILE:16: inputs.input.counter.step: the values overlap: write step: 2"]),
    "counter among bits": ("{table: input, address: 32}", "{table: coil, address: 32}", [
        ("FILE:16: inputs.input.counter.table: coil cannot be used here: one of holding, input")]),
    "counter on the level": (PAIR, "level: {table: input, address: 32}", [
        ("FILE:16: inputs.input.counter: input-0 stands where input-0 stands: "
        "give every channel a place of its own")]),
    "relay on an input": (PAIR, "level: {table: coil, address: 1}", [
        ("FILE:22: outputs.relay.write: relay-2 stands where input-0 stands: "
        "give every channel a place of its own")]),
    "neither level nor counter": (PAIR + "\n    counter: {table: input, address: 32}\n", "\n", [
        ("FILE:12: inputs.input: has neither level nor counter: "
        "write level: {table: discrete, address: N}")]),
    "unknown codes alone": (PAIR, ZONES.replace("closed", "unknown"), [
        "FILE:16: inputs.input.unknown_codes: stands without closed_codes: write closed_codes"]),
    "code of two meanings": (PAIR, ZONES + "\n    unknown_codes: [250, 40]", [
        f"FILE:17: inputs.input.unknown_codes[1]: 40 means closed as well: {NUMBERS}"]),
    "code of a bit": (PAIR, PAIR + "\n    closed_codes: [2]", [
        "FILE:16: inputs.input.closed_codes: a bit is 0 or 1: remove it"]),
    "star without groups": ("  input:\n", "  slot*-input:\n", [
        ("FILE:12: inputs.slot*-input: the name's star and groups do not fit together: "
        "write slot*-input with groups: 4, or neither star nor groups")]),
    "groups without step": ("  input:\n", "  slot*-input:\n    groups: 2\n", [
        ("FILE:12: inputs.slot*-input.group_step: groups and group_step go together: "
        "write both or none")]),
    "same channels twice": ("  relay:\n", "  input:\n", [
        "FILE:20: outputs.input: there is another input-1: give the family a name of its own"]),
    "function does not fit": ("    write:", "    function: 6\n    write:", [
        "FILE:22: outputs.relay.function: 6 does not write a coil: write 5 or 15"]),
    "written input table": ("write: {table: coil", "write: {table: discrete", [
        ("FILE:22: outputs.relay.write.table: discrete cannot be used here: "
        "one of coil, holding")]),
    "on is off": ("    count: 2\n", "    count: 2\n    off: 1\n", [
        "FILE:20: outputs.relay.on: is the same as off: write what each of the two is"]),
    "on of a coil": ("    count: 2\n", "    count: 2\n    on: 1000\n", [
        "FILE:22: outputs.relay.on: 1000 is no value of one bit: write 0 or 1"]),
    "no write": ("    write: {table: coil, address: 0}\n", "", [
        "FILE:20: outputs.relay.write: is missing: write `write: {table: coil, address: 0}`"]),
    "timer without mode": (FLASH, TIMER + "}", [
        ("FILE:23: outputs.relay.pulse_on: a timer needs mode and mode_value: "
        "write mode: {table: holding, address: N} and mode_value: N")]),
    "timer's mode is off": (FLASH, TIMER + ", mode: {table: holding, address: 9}, mode_value: 0}", [
        ("FILE:23: outputs.relay.pulse_on.mode_value: is the same as mode_off: "
        "write the pulse's mode")]),
    "flash with a mode": (FLASH, FLASH.replace("unit:", "mode_off: 1, unit:"), [
        "FILE:23: outputs.relay.pulse_on.mode_off: a flash has no mode: remove it"]),
    "flash too long": ("longest: 1m", "longest: 2h", [
        ("FILE:23: outputs.relay.pulse_on.longest: 2h is 72000 times 100ms: "
        "write 1 to 32767 times the unit")]),
    "setting without value": ("address: 8, value: 10,", "address: 8,", [
        ("FILE:10: settings.poll_timeout_s: needs exactly one of value and in_silence: "
        "write value: N")]),
    "setting that says when": ("keep: 0, on: 1}", "keep: 0, on: 1}, when: output-used", [
        "FILE:25: outputs.relay.settings.safe.when: is said by in_silence already: remove it"]),
    "setting of another kind": (MODE, MODE.replace("}", ", when: output-used}"), [
        ("FILE:18: inputs.input.settings.mode.when: output-used cannot be said here: "
        "one of always, input-used, person-operated")]),
    "unit with a when": ("value: 10,", "value: 10, when: input-used,", [
        "FILE:10: settings.poll_timeout_s.when: input-used cannot be said here: one of always"]),
    "most below value": (MODE, MODE.replace("}", ", most: 2}"), [
        ("FILE:18: inputs.input.settings.mode.most: is less than the value itself: "
        "write value: N, and most: N or more")]),
    "blind before outputs": ("before_outputs: true", "before_outputs: true, blind: true", [
        ("FILE:10: settings.poll_timeout_s.blind: outputs cannot wait for what cannot be read "
        "back: remove it, or before_outputs")]),
    "settings at odds": (MODE, "mode: {address: 8, step: 0, value: 3}", [
        ("FILE:18: inputs.input.settings.mode: holding 8 cannot hold both 10 and 3: "
        "keep one of the two settings")]),
    "silence at odds": ("{address: 938, in_silence: {keep: 0, on: 1}}",
        "{address: 938, step: 0, in_silence: {keep: 0, on: 1}}", [
        ("FILE:25: outputs.relay.settings.safe: holding 938 cannot hold both 0 and 1: "
        "keep one of the two settings")]),
    "setting read only": (MODE, MODE.replace("{", "{table: input, "), [
        ("FILE:18: inputs.input.settings.mode.table: input cannot be used here: "
        "one of coil, holding")]),
    "identity too long": ("registers: 16", "registers: 5", [
        ("FILE:8: identity.count: 6 registers are more than one read may ask for: "
        "write at most 5, or mend limits.registers")]),
    "identity of two kinds": ("text: one", "text: one, expect: [1, 2, 3, 4, 5, 6]", [
        "FILE:8: identity.expect: the identity is text: write expect_text"]),
    "identity expects too few": (", text: one", ", expect: [36]", [
        "FILE:8: identity.expect: 1 numbers for 6 registers: write one for each register"]),
    "identity expects too much": ("text: one", "text: one, expect_text: WB-MR6C", [
        "FILE:8: identity.expect_text: only 6 characters fit: mend count"]),
    "identity in bits": ("{table: holding, address: 200", "{table: coil, address: 200", [
        "FILE:8: identity.table: coil cannot be used here: one of holding, input"]),
    "uptime of a missing bit": ("identity:", UPTIME + "identity:", [
        "FILE:8: uptime.bit: the value has no such bit: write 0 to 15, or more words"]),
    "hole as long as a read": ("registers: 16", "registers: 16, hole_registers: 16", [
        "FILE:7: limits.hole_registers: is as long as a whole read: write less than registers"]),
    "event code twice": ("inputs:\n", LOG.replace("26, 29", "26, 28") + "inputs:\n", [
        "FILE:18: event_log.flags.denied[1]: 28 sets granted already: name each code once"]),
    "like nobody": ("id: unit", "id: unit\nlike: wb-mr6", [
        "FILE:2: like: there is no profile 'wb-mr6': did you mean 'wb-mr6c'?"]),
    "no channel": (TEXT[TEXT.index("inputs:") :], "", [
        "FILE:1: inputs: there is no channel at all: describe inputs or outputs",
        ("FILE:10: settings.poll_timeout_s.before_outputs: the unit has no output: remove it")]),
    "empty": (TEXT, "", ["FILE: is empty: start from config/profiles/generic.yaml"]),
    "a list": (TEXT, "- 1\n", [
        "FILE: is not a mapping at its top: start with a key such as `id:`"]),
    "no value": ("model: A unit", "model:", [
        "FILE:3: model: has no value: write one, or remove the key"]),
    "twice the same key": ("model: A unit", "model: A unit\nmodel: Another", [
        "FILE:4: model: stands here twice (first in line 3): keep one of the two"]),
}  # fmt: skip
