"""What is put into a valid configuration in the place of what, and the lines that come of it.

Keyed by what the case is about; the line numbers are those of `config_site.TEXT` as changed.
"""

from __future__ import annotations

from tests.config_site import TEXT

PINS = "write gpio:0 to gpio:27"
ID = "write a-z, 0-9 and -, at most 63, not - first"
UNITS = "(units: ms, s, m, h, d, y)"
URL = "write mqtts://HOST or mqtts://HOST:PORT"
PASSWORD = "    username: school-12-main\n    password: "

REFUSALS = {
    "unknown key": ("name: School", "nam: School", [
        "FILE:1: premises.nam: unknown key: did you mean 'name'?",
        "FILE:1: premises.name: is missing: write `name: School No. 12`",
    ]),
    "missing key": ("  key: gateway.jwk\n", "", [
        "FILE:2: gateway.key: is missing: write `key: gateway.jwk`"]),
    "gateway id": ("school-12-main", "School.12", [
        "FILE:3: gateway.id: 'School.12' is no such name: write a-z, 0-9 and -, at most 63"]),
    "point id": ("  fire-panel:", "  Fire_Panel:", [
        f"FILE:10: points.Fire_Panel: 'Fire_Panel' is no such name: {ID}"]),
    "time zone": ("Asia/Almaty", "Asia/Almati", [
        "FILE:1: premises.timezone: unknown time zone 'Asia/Almati': did you mean 'Asia/Almaty'?"]),
    "bare duration": ("key: gateway.jwk", "key: gateway.jwk\n  sync_wait: 50", [
        f"FILE:5: gateway.sync_wait: 50 has no unit: write 50s if seconds are meant {UNITS}"]),
    "not a duration": ("answers: true", "receipt_within: 5 s", [
        ("FILE:25: routes.security.receipt_within: '5 s' is not a duration: "
        f"write a whole number and its unit {UNITS}")]),
    "duration bounds": ("answers: true", "receipt_within: 3m", [
        "FILE:25: routes.security.receipt_within: 3m is out of bounds: write 1s to 2m"]),
    "kind": ("kind: panic", "kind: holdup", [
        "FILE:7: points.reception.kind: unknown kind 'holdup': did you mean 'hold-up'?"]),
    "reactions that are no list": ("points:\n", "reactions: {}\npoints:\n", [
        "FILE:5: reactions: is a mapping: write a list, such as [a, b]"]),
    "buses that are no mapping": ("points:\n", "buses: []\npoints:\n", [
        "FILE:5: buses: is a list: write a mapping of names to settings"]),
    "pin out of range": ("gpio:5", "gpio:28", [
        (f"FILE:12: points.fire-panel.input.normally_closed: 'gpio:28' is no pin: {PINS} "
        "(BCM number, not the header's)")]),
    "no pin at all": ("gpio:5", "5a", [
        (f"FILE:12: points.fire-panel.input.normally_closed: '5a' is no pin: {PINS} "
        "(BCM number, not the header's), or DEVICE/CHANNEL")]),
    "channel of no device": ("gpio:5", "entrance/input-1", [
        ("FILE:12: points.fire-panel.input.normally_closed: there is no device 'entrance': "
        "there is none yet")]),
    "pin twice": ("gpio:5", "gpio:22", [
        ("FILE:12: points.fire-panel.input.normally_closed: gpio:22 is used already by "
        "points.reception.lamp (line 9): give every contact and lamp a pin of its own")]),
    "no contact": ("{normally_closed: gpio:5}", "{line: long}", [
        ("FILE:12: points.fire-panel.input: has no contact: "
        "write normally_open: gpio:N, normally_closed, or both")]),
    "silent lamp": ("kind: panic", "kind: duress", [
        ("FILE:9: points.reception.lamp: a lamp would show a silent alarm on the premises: "
        "remove the lamp, or write silent: false")]),
    "word for true": ("    lamp", "    silent: no\n    lamp", [
        ("FILE:9: points.reception.silent: 'no' is neither true nor false in YAML 1.2: "
        "write false")]),
    "enumeration": ("    lamp", "    wiring_doubt: fualt\n    lamp", [
        "FILE:9: points.reception.wiring_doubt: 'fualt' is not known here: did you mean 'fault'?"]),
    "octal": ("    lamp", "    cid: {zone: 010}\n    lamp", [
        "FILE:9: points.reception.cid.zone: 010 is octal to some readers: write 10"]),
    "number bounds": ("    lamp", "    cid: {partition: 100}\n    lamp", [
        "FILE:9: points.reception.cid.partition: 100 is out of bounds: write 0 to 99"]),
    "no value": ("lamp: gpio:22", "lamp:", [
        "FILE:9: points.reception.lamp: has no value: write one, or remove the key"]),
    "list for text": ("lamp: gpio:22", "lamp: [gpio:22]", [
        "FILE:9: points.reception.lamp: is a list: write text"]),
    "text for mapping": ("{normally_closed: gpio:5}", "gpio:5", [
        "FILE:12: points.fire-panel.input: is text: write a mapping of keys to values"]),
    "space": ("normally_closed: gpio:5", "normally_closed:gpio:5", [
        ("FILE:12: points.fire-panel.input.normally_closed:gpio:5: "
        "a space is missing after the colon: write `normally_closed: gpio:5`")]),
    "scheme": ("mqtts://broker.example", "http://broker.example", [
        f"FILE:15: uplinks.campus.url: the scheme 'http' is not spoken here: {URL}"]),
    "url with password": ("mqtts://broker.example", "mqtts://me:hunter2@broker.example", [
        ("FILE:15: uplinks.campus.url: has a user name in the URL: "
        "use the keys username and password")]),
    "url port": ("mqtts://broker.example", "mqtts://broker.example:88833", [
        f"FILE:15: uplinks.campus.url: is not a URL: {URL}"]),
    "no scheme": ("mqtts://broker.example", "broker.example:8883", [
        f"FILE:15: uplinks.campus.url: has no mqtts:// in front: {URL}"]),
    "port 0": ("mqtts://broker.example", "mqtts://broker.example:0", [
        f"FILE:15: uplinks.campus.url: names port 0, which nobody listens at: {URL}"]),
    "url path": ("mqtts://broker.example", "mqtts://broker.example/mqtt", [
        f"FILE:15: uplinks.campus.url: has something after the host and port: {URL}"]),
    "url host": ("mqtts://broker.example", "mqtts://", [
        f"FILE:15: uplinks.campus.url: names no host: {URL}"]),
    "mqtt version": ("    certificate", "    mqtt: 3.1\n    certificate", [
        "FILE:17: uplinks.campus.mqtt: '3.1' is not known here: did you mean '3.1.1'?"]),
    "mqtt 4": ("    certificate", "    mqtt: 4\n    certificate", [
        "FILE:17: uplinks.campus.mqtt: '4' is not known here: one of 5, 3.1.1"]),
    "interface is an address": ("    certificate", "    interface: 10.0.0.5\n    certificate", [
        ("FILE:17: uplinks.campus.interface: 10.0.0.5 is an address: "
        "write the card's name, such as wwan0")]),
    "interface too long": ("    certificate", "    interface: enx00e04c680001ab\n    certificate", [
        ("FILE:17: uplinks.campus.interface: 'enx00e04c680001ab' is no such name: "
        "write a network card's name, such as wwan0, at most 15 characters")]),
    "no ca": ("    ca: ca.pem\n    certificate", "    certificate", [
        ("FILE:14: uplinks.campus.ca: is missing, and mqtts needs to know whom to trust: name the "
        "PEM of the authority that signed the broker's certificate (Debian's public ones: "
        "/etc/ssl/certs/ca-certificates.crt)")]),
    "ca without tls": ("mqtts://backup", "mqtt://backup", [
        ("FILE:20: uplinks.lte.ca: would do nothing: mqtt:// has no TLS: "
        "write mqtts:// in the url, or remove the line")]),
    "username": ("    certificate", "    username: me\n    certificate", [
        ("FILE:17: uplinks.campus.username: stands beside a certificate, and nats-server refuses "
        "the two together: keep one of them; the certificate is the stronger")]),
    "password": ("    certificate: gateway.pem\n", f"{PASSWORD}hunter2\n", [
        ("FILE:18: uplinks.campus.password: a password never stands in this file: "
        "write {credential: NAME} or {file: PATH}")]),
    "password twice": ("    certificate: gateway.pem\n", f"{PASSWORD}{{}}\n", [
        ("FILE:18: uplinks.campus.password: needs exactly one of credential and file: "
        "write {credential: NAME}")]),
    "no credentials": ("    certificate: gateway.pem\n", f"{PASSWORD}{{credential: pw}}\n", [
        ("FILE:18: uplinks.campus.password.credential: there is no credentials directory here: "
        "run under systemd with LoadCredential=, or set QORGAN_CREDENTIALS_DIRECTORY")]),
    "password without name": (
        "    certificate: gateway.pem\n", "    password: {file: gateway.pem}\n", [
        "FILE:17: uplinks.campus.password: has no username: add username, or remove it"]),
    "same uplink": ("mqtts://backup.example:8884", "mqtts://broker.example:8883", [
        ("FILE:18: uplinks.lte: is the same connection as uplinks.campus (line 14): "
        "give it another broker or another interface")]),
    "unknown uplink": ("via: [campus]", "via: [kampus]", [
        "FILE:28: routes.case.via[0]: there is no uplink 'kampus': did you mean 'campus'?"]),
    "empty via": ("via: [campus]", "via: []", [
        "FILE:28: routes.case.via: is empty: name at least one"]),
    "via twice": ("via: [campus]", "via: [campus, campus]", [
        "FILE:28: routes.case.via: campus stands twice: name each once"]),
    "unknown then": ("via: [campus]", "via: [campus]\n    then: [deputy]", [
        "FILE:29: routes.case.then[0]: there is no route 'deputy': one of security, case"]),
    "then itself": ("via: [campus]", "via: [campus]\n    then: [case]", [
        "FILE:29: routes.case.then[0]: is the route itself: name another route"]),
    "sends": ("sends: [alarm]", "sends: [alarm, faults]", [
        "FILE:29: routes.case.sends[1]: 'faults' is not known here: did you mean 'fault'?"]),
    "sends log": ("sends: [alarm]", "sends: [alarm, log]", [
        ("FILE:29: routes.case.sends[1]: log is a stream, not a class of events: "
        "one of alarm, fault, access, state, test")]),
    "sends alarm": (("sends: [alarm, fault, test, state]\n    answers: true\n    keys: [{file: "
        "security.jwk, verbs: [resend]}]\n  case:\n    via: [campus]\n    sends: [alarm]"),
        ("sends: [fault]\n    answers: true\n    keys: [{file: security.jwk}]\n  case:\n"
        "    via: [campus]\n    sends: [state]"),
        ["FILE:21: routes: no route sends alarm: add alarm to a route's sends"]),
    "redact": ("sends: [alarm]", "sends: [alarm]\n    redact: [credential, 5]", [
        "FILE:30: routes.case.redact[1]: is a number: write text"]),
    "no keys": ("    keys: [{file: case.jwk}]\n", "", [
        ("FILE:27: routes.case.keys: nobody could sign a receipt for this route: "
        "name the centre's public key: [{file: centre.jwk}]")]),
    "verb": ("verbs: [resend]", "verbs: [re-send]", [
        ("FILE:26: routes.security.keys[0].verbs[0]: 're-send' is not known here: "
        "did you mean 'resend'?")]),
    "answers": ("sends: [alarm]", "sends: [alarm]\n    acknowledge_within: 60s", [
        ("FILE:30: routes.case.acknowledge_within: nobody can acknowledge on a route without "
        "answers: write answers: true, or remove the line")]),
    "same kid": ("[{file: case.jwk}]", "[{file: case.jwk}, {file: ./case.jwk}]", [
        ("FILE:30: routes.case.keys[1].file: has the same kid 'case' as "
        "routes.case.keys[0].file: give every key of a route a kid of its own")]),
}  # fmt: skip

YAML = {
    "duplicate": ("points:\n", "points: {}\npoints:\n", [
        "FILE:6: points: stands here twice (first in line 5): keep one of the two",
        "FILE:5: points: there is no point at all: describe at least one"]),
    "tab": ("  id: school-12-main", "\tid: school-12-main", [
        ("FILE:3: is not YAML (found character '\\t' that cannot start any token): "
        "indent with spaces: YAML allows no tab there")]),
    "bracket": ("gpio:5}", "gpio:5", [
        ("FILE:13: is not YAML (expected ',' or '}', but got ':'): "
        "close the bracket, and put a comma between two entries")]),
    "second document": ("points:\n", "---\npoints:\n", [
        ("FILE:5: is not YAML (but found another document): "
        "one file holds one document: remove the `---`")]),
    "other version": (TEXT, "%YAML 1.1\n---\n" + TEXT, [
        "FILE:1: asks for another YAML than 1.2: remove the %YAML line"]),
    "tag": ("gateway.jwk", "!secret gateway.jwk", [
        "FILE:4: gateway.key: has the tag '!secret': write the value without a tag",
        "FILE:4: gateway.key: has no value: write one, or remove the key"]),
    "merge key": ("    kind: fire\n", "    kind: fire\n    <<: {lamp: gpio:6}\n", [
        "FILE:12: points.fire-panel.<<: merge keys are not part of YAML 1.2: write the keys out"]),
    "key that is a list": ("    kind: fire\n", "    ? [kind]\n    : fire\n", [
        "FILE:11: has a key that is no text: write `key: value`"]),
    "no number at all": ("8884\n", "8884\n    heartbeat: fast\n", [
        ("FILE:20: uplinks.lte.heartbeat: 'fast' is not a duration: "
        f"write a whole number and its unit {UNITS}")]),
    "endless alias": ("points:\n", "points: &a {b: *a}\nmore:\n", [
        "FILE:5: is too deep or too large: does an alias hold itself?"]),
    "deep": (TEXT, "[" * 3000, ["FILE: is nested too deeply: write it flatter"]),
    "empty": (TEXT, "# nothing yet\n", ["FILE: is empty: start from config/premises.yaml"]),
    "list": (TEXT, "- a\n", [
        "FILE: is not a mapping at its top: start with a key such as `premises:`"]),
    "large": (TEXT, "#" * 300_000, ["FILE: is larger than 256 KiB: is this the right file?"]),
}  # fmt: skip

WARNINGS = {
    "puback": ("    keys: [{file: case.jwk}]", "    receipts: puback",
        ("FILE:30: routes.case.receipts: a broker's PUBACK is taken for delivery: nobody may have "
        "read the alarm: write receipts: signed, with a consumer that signs")),
    "no tls": ("mqtts://backup.example:8884\n    ca: ca.pem", "mqtt://backup.example",
        ("FILE:19: uplinks.lte.url: everybody on the way can read it: no TLS: "
        "write mqtts:// and name a ca")),
    "single contact": ("{normally_open: gpio:17, normally_closed: gpio:27}",
        "{normally_open: gpio:17}",
        ("FILE:8: points.reception.input: a single contact: a cut or shorted wire can pass for a "
        "quiet button: wire both contacts of the button")),
    "never proved": ("    lamp", "    prove_within: never\n    lamp",
        ("FILE:9: points.reception.prove_within: nobody is reminded to walk-test this point: "
        "write 30d")),
    "nobody answers": ("    answers: true\n", "",
        ("FILE:21: routes: no route answers: only a reset-key can end a panic alarm: "
        "write answers: true on the route of those who respond")),
    "slow heartbeat": ("8884\n", "8884\n    heartbeat: 20s\n",
        ("FILE:20: uplinks.lte.heartbeat: at 20s a dead path is noticed late: "
        "write 5s, unless traffic is paid by the megabyte")),
    "no effect": ("kind: fire\n", "kind: fire\n    stuck_after: 10s\n",
        "FILE:12: points.fire-panel.stuck_after: has no effect on kind fire: remove the line"),
    "latch": ("    lamp", "    mechanical_latch: true\n    stuck_after: 10s\n    lamp",
        ("FILE:10: points.reception.stuck_after: has no effect beside mechanical_latch: true: "
        "remove the line")),
    "dark lamp": ("kind: fire\n", "kind: mains\n    lamp: gpio:6\n",
        "FILE:12: points.fire-panel.lamp: never lights: mains raises no alarm: remove the lamp"),
    "never owed": ("sends: [alarm]\n", "sends: []\n",
        ("FILE:29: routes.case.sends: is empty, and no route names this one in then: "
        "it is never owed anything: write what it sends")),
}  # fmt: skip
