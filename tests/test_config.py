"""Configuration: what is refused, in which words, and on which line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.load import check, run_check
from tests.config_cases import REFUSALS, URL, WARNINGS, YAML
from tests.config_site import TEXT, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(("old", "new", "lines"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_names_line_key_fault_and_cure(
    site: Site, old: str, new: str, lines: list[str]
) -> None:
    site.change(old, new)
    assert sorted(site.mistakes()) == lines
    assert site.check().premises is None


def test_five_mistakes_print_five_lines(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("Asia/Almaty", "Asia/Astana")
    site.change("kind: panic", "kind: panick")
    site.change("gpio:5", "gpio:22")
    site.change("via: [campus]", "via: [wifi]")
    site.change("{file: case.jwk}", "{file: lost.jwk}")
    assert run_check(str(site.file), as_json=False) == 3
    printed = capsys.readouterr()
    lines = site.short(printed.out).splitlines()
    assert [line.split(":")[:3] for line in lines] == [
        ["FILE", "1", " premises.timezone"],
        ["FILE", "7", " points.reception.kind"],
        ["FILE", "12", " points.fire-panel.input.normally_closed"],
        ["FILE", "28", " routes.case.via[0]"],
        ["FILE", "30", " routes.case.keys[0].file"],
    ]
    assert site.short(printed.err) == "5 mistakes in FILE\n"


def test_circle_of_routes_is_reported_once(site: Site) -> None:
    site.change("    answers: true", "    answers: true\n    then: [case]")
    site.change("    sends: [alarm]\n", "    sends: [alarm]\n    then: [security]\n")
    assert site.mistakes() == [
        (
            "FILE:31: routes.case.then: goes round in a circle: security → case → security: "
            "end the chain at its last route"
        )
    ]


def test_many_routes_that_all_name_each_other_are_judged_at_once(site: Site) -> None:
    """The search for circles is linear, whatever somebody generates."""
    names = [f"r{n}" for n in range(60)]
    for name in names:
        then = ", ".join(other for other in names if other != name)
        route = f"{{via: [campus], sends: [], then: [{then}], keys: [{{file: case.jwk}}]}}"
        site.write(site.file.read_text(encoding="utf-8") + f"  {name}: {route}\n")
    assert len(site.mistakes()) > 1


def test_a_password_is_never_repeated(site: Site) -> None:
    site.change("mqtts://broker.example", "mqtts://me:hunter2@broker.example/hunter2?hunter2")
    site.change("mqtts://backup.example:8884", "hunter2://backup.example")
    site.change("    ca: ca.pem\nroutes", "    ca: ca.pem\n    password: hunter2\nroutes")
    lines = site.mistakes({"QORGAN_UPLINKS__CAMPUS__URL": "mqtts://me:hunter2@other.example"})
    assert [line for line in lines if "hunter2" in line] == [
        f"FILE:19: uplinks.lte.url: the scheme 'hunter2' is not spoken here: {URL}"
    ]


@pytest.mark.parametrize(("old", "new", "lines"), YAML.values(), ids=YAML.keys())
def test_yaml_trouble_is_explained(site: Site, old: str, new: str, lines: list[str]) -> None:
    site.change(old, new)
    assert set(lines) <= set(site.mistakes())
    assert site.check().premises is None


def test_binary_file_is_refused_with_its_line(site: Site) -> None:
    site.put("premises.yaml", b"a: 1\nb: \xff\n")
    assert site.mistakes() == ["FILE:2: is not UTF-8 text: save the file as UTF-8"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/nonexistent.yaml", "does not exist: start from config/premises.yaml"),
        ("/dev/zero", "is not a regular file: name a YAML file"),
        ("/", "is not a regular file: name a YAML file"),
        ("/a\0b", "cannot be read (not a file name): let the gateway's user read it"),
    ],
)
def test_a_path_that_is_no_file_is_a_mistake(path: str, what: str) -> None:
    assert [str(m) for m in check(path, environment={}).mistakes] == [f"{path}: {what}"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=80) | st.text("ab:-[]{}#&*!|>'\"%@`,? \n\t0", max_size=60).map(str.encode)
)
def test_garbage_is_a_mistake_and_never_a_traceback(tmp_path: Path, garbage: bytes) -> None:
    file = tmp_path / "garbage.yaml"
    file.write_bytes(garbage)
    result = check(file, environment={})
    assert result.premises is None
    assert result.mistakes
    assert not [m for m in result.mistakes if "check itself failed" in m.what]


WORDS = ["premises", "gateway", "points", "uplinks", "routes", "kind", "input", "url", "via",
         "then", "keys", "file", "sends", "ledger", "password", "place", "cid", "a"]  # fmt: skip
SCALARS = st.sampled_from([None, True, 5, 1.5, "panic", "gpio:5", "5s", "mqtts://h", "a", ""])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.sampled_from(WORDS),
        st.recursive(
            SCALARS,
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner)
            ),
            max_leaves=12,
        ),
        min_size=1,
    )
)
def test_wrong_shapes_are_mistakes_and_never_a_traceback(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    file = tmp_path / "shape.yaml"
    file.write_text(json.dumps(data), encoding="utf-8")  # JSON is YAML 1.2
    result = check(file, environment={})
    assert result.mistakes
    assert not [m for m in result.mistakes if "check itself failed" in m.what]


JUNK = [
    None,
    True,
    5,
    -1.5,
    "",
    " ",
    "panic",
    "gpio:5",
    "5s",
    "never",
    "mqtts://h",
    "\0",
    "k" * 5000,
]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_in_any_place_is_judged_and_never_a_traceback(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Puts junk, also wrapped into a list or a mapping, in the place of any value of a file."""
    junk: Any = data.draw(st.sampled_from(JUNK))
    junk = data.draw(st.sampled_from([junk, [junk, junk], {"file": junk}, {"a": {"b": [junk]}}]))
    file = tmp_path / "junk.yaml"
    lines = TEXT.splitlines()
    line = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.sampled_from([m.end() for m in re.finditer(r": |:$", lines[line])]))
    lines[line] = f"{lines[line][:place]} {json.dumps(junk)}"
    if data.draw(st.booleans()):
        lines[line] += "}" * lines[line][:place].count("{")
    file.write_text("\n".join(lines), encoding="utf-8")
    result = check(file, environment={})
    assert result.mistakes
    assert not [m for m in result.mistakes if "check itself failed" in m.what]


@pytest.mark.parametrize(("old", "new", "line"), WARNINGS.values(), ids=WARNINGS.keys())
def test_doubtful_configuration_is_valid_with_a_warning(
    site: Site, old: str, new: str, line: str
) -> None:
    site.change(old, new)
    assert site.warnings() == [line]
    assert site.check().premises is not None


def test_valid_site_has_no_warning(site: Site) -> None:
    assert site.warnings() == []


def test_interface_that_is_not_here_is_valid_with_a_warning(site: Site) -> None:
    """A modem may be plugged in later, and a file be checked on another machine."""
    site.change("    ca: ca.pem\nroutes", "    ca: ca.pem\n    interface: nonesuch0\nroutes")
    (line,) = site.warnings()
    what = "there is no network interface nonesuch0 here, and nothing leaves by another"
    assert f"uplinks.lte.interface: {what}: plug it in, or write one of " in line
    assert "lo" in line
    site.change("interface: nonesuch0", "interface: lo")
    assert site.warnings() == []


def test_loopback_without_tls_is_no_cause_for_a_warning(site: Site) -> None:
    site.change("mqtts://backup.example:8884\n    ca: ca.pem", "mqtt://127.0.0.1")
    assert site.warnings() == []
