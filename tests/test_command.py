"""The `qorgan` command as people run it: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.__main__ import Exit, main, parser
from simulators.site import Site, furnish

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A valid configuration with its keys and certificates."""
    return furnish(tmp_path_factory.mktemp("site"), port=8883, mqtt="5")


def qorgan(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


MISTAKES = {
    "kind: hold-up": "kind: holdup",
    "sync_wait: 50ms": "sync_wait: 50",
    "gpio:22": "gpio:99",
    "via: [campus]\n    sends: [alarm, state, access]": (
        "via: [campu]\n    sends: [alarm, state, access]"
    ),
    "timezone: Asia/Almaty": "timezone: Asia/Almata",
}


def test_check_prints_every_mistake_at_once(site: Site) -> None:
    """Five mistakes are five lines `file:line: key: what: what would be right`, and exit 3."""
    text = site.config.read_text(encoding="utf-8")
    for right, wrong in MISTAKES.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    bad = site.directory / "five.yaml"
    bad.write_text(text, encoding="utf-8")
    checked = qorgan("check", bad)
    lines = checked.stdout.splitlines()
    assert checked.returncode == Exit.CONFIGURATION
    assert len(lines) == 5
    for line in lines:
        number = int(line.removeprefix(f"{bad}:").partition(":")[0])
        key = line.split(": ")[1]
        assert key.split(".")[-1].split("[")[0] in text.splitlines()[number - 1]
    assert checked.stderr == f"{len(lines)} mistakes in {bad}\n"


def test_check_of_a_good_file_says_what_follows_from_it(site: Site) -> None:
    """Exit 0, detection times and megabytes a month."""
    checked = qorgan("check", site.config)
    assert checked.returncode == Exit.WELL
    assert "12 points, 1 uplink, 2 routes, 3 devices" in checked.stdout
    assert "deaf centre within 9 s" in checked.stdout
    assert "MB a month" in checked.stdout


def test_check_as_json_is_one_object(site: Site) -> None:
    """For programs: the same in one piece, and the same exit code."""
    checked = qorgan("check", "--json", site.config)
    assert checked.returncode == Exit.WELL
    assert json.loads(checked.stdout)["mistakes"] == []


@pytest.mark.parametrize("command", [["check"], ["run", "--pins", "mock"]])
def test_configuration_that_is_not_there_is_one_line(command: list[str], tmp_path: Path) -> None:
    """Exit 3 and what to start from; no traceback."""
    found = qorgan(*command, tmp_path / "premises.yaml")
    assert found.returncode == Exit.CONFIGURATION
    assert "premises.yaml: does not exist" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_run_on_a_bad_configuration_starts_nothing(site: Site) -> None:
    """No half-started gateway: every mistake on standard error, exit 3, no ledger."""
    bad = site.directory / "bad.yaml"
    text = site.config.read_text(encoding="utf-8")
    bad.write_text(text.replace("kind: fire", "kind: fyre"), encoding="utf-8")
    ran = qorgan("run", "--pins", "mock", bad)
    assert ran.returncode == Exit.CONFIGURATION
    assert "points.fire-panel.kind" in ran.stderr
    assert not (site.directory / "ledger.db").exists()


def test_run_without_hardware_says_what_to_do(site: Site) -> None:
    """Never a silent fall-back to simulated pins: exit 1, and where to look."""
    if Path("/dev/gpiochip0").exists():
        pytest.skip("this machine has pins")
    ran = qorgan("run", site.config)
    assert ran.returncode == Exit.FINDINGS
    assert "gpiochip" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_run_refuses_a_key_that_others_can_read(tmp_path: Path) -> None:
    """Exit 3, and the command that mends it."""
    site = furnish(tmp_path, port=8883)
    key = tmp_path / "gateway.jwk"
    key.chmod(0o640)
    ran = qorgan("run", "--pins", "mock", site.config)
    assert ran.returncode == Exit.CONFIGURATION
    assert f"chmod 600 {key}" in ran.stderr


def test_schema_is_json_that_names_every_section() -> None:
    """For editors that check while one types."""
    shown = qorgan("schema")
    assert shown.returncode == Exit.WELL
    sections = json.loads(shown.stdout)["properties"]
    assert {"premises", "gateway", "points", "uplinks", "routes"} <= set(sections)


def test_keys_new_makes_a_pair_and_shows_only_the_public_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The private key is on the disk, readable by its owner, and nowhere else."""
    path = tmp_path / "gateway.jwk"
    assert main(["keys", "new", str(path)]) == Exit.WELL
    shown = capsys.readouterr()
    secret = json.loads(path.read_text(encoding="ascii"))["d"]
    assert secret not in shown.out + shown.err
    assert "kid:         gateway" in shown.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_new_and_show_agree_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `new --json` prints is what `show --json` reads back, from either file."""
    path = tmp_path / "gateway.jwk"
    main(["keys", "new", "--json", "--kid", "school-12", str(path)])
    made = json.loads(capsys.readouterr().out)
    for file in (path, path.with_suffix(".pub.jwk")):
        assert main(["keys", "show", "--json", str(file)]) == Exit.WELL
        assert json.loads(capsys.readouterr().out) == made
    assert made["kid"] == "school-12"
    assert "d" not in made


@pytest.mark.parametrize("args", [["new", "there.jwk"], ["show", "nowhere.jwk"]])
def test_keys_that_cannot_be_made_or_read_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    """Exit 1, on standard error, with the file's name."""
    (tmp_path / "there.jwk").write_text("{}", encoding="ascii")
    assert main(["keys", args[0], str(tmp_path / args[1])]) == Exit.FINDINGS
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert args[1] in shown.err


@pytest.mark.parametrize("args", [[], ["fly"], ["run"], ["keys"], ["run", "--pins", "usb", "x"]])
def test_wrong_usage_is_exit_two(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """argparse says what is known."""
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(args)
    assert ended.value.code == Exit.USAGE
    assert "usage: qorgan" in capsys.readouterr().err


def test_command_is_installed_under_its_name() -> None:
    """`qorgan` beside the interpreter is this command."""
    program = Path(sys.executable).with_name("qorgan")
    found = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert "exit codes: 0 well" in found.stdout


def test_help_loads_neither_mqtt_nor_yaml() -> None:
    """A device that only asks for help pays for nothing else."""
    code = (
        "import sys; from gateway.__main__ import parser; parser().format_help();"
        "print([m for m in ('paho','apsw','gpiozero','pydantic','ruamel') if m in sys.modules])"
    )
    environment = {"PYTHONPATH": str(ROOT), **os.environ}
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert found.stdout.strip() == "[]"
