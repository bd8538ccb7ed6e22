"""Configuration: the keys, certificates and passwords it names, and where they are looked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.jws import encode
from tests.config_site import Site

KEY = "FILE:4: gateway.key"
CASE = "FILE:30: routes.case.keys[0].file"
ANEW = "make it anew: an Ed25519 JWK with a kid of 1 to 16 characters"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _unused_bits(x: str) -> str:
    """Another spelling of the same bytes: the last character carries bits nobody reads."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return x[:-1] + alphabet[alphabet.index(x[-1]) + 1]


GATEWAY_KEYS: dict[str, tuple[Callable[[Site], object], str]] = {
    "missing": (
        lambda site: (site.folder / "gateway.jwk").unlink(),
        "DIR/gateway.jwk does not exist: put the file there, or name another",
    ),
    "open to others": (
        lambda site: (site.folder / "gateway.jwk").chmod(0o640),
        "DIR/gateway.jwk can be read by others: chmod 600 DIR/gateway.jwk",
    ),
    "public": (
        lambda site: site.public("gateway", seed=1),
        (
            "DIR/gateway.jwk is a public key, it cannot sign: "
            "name the gateway's private JWK (the one with `d`)"
        ),
    ),
    "of two keys": (
        lambda site: site.put(
            "gateway.jwk", json.dumps(site.key("g", seed=1) | {"d": site.key("g", seed=2)["d"]})
        ),
        f"DIR/gateway.jwk is not a usable key (d and x do not belong together): {ANEW}",
    ),
    "a directory": (
        lambda site: site.change("key: gateway.jwk", "key: ."),
        "DIR is not a regular file: name a file",
    ),
    "not JSON": (
        lambda site: site.put("gateway.jwk", b"\xff{"),
        "DIR/gateway.jwk is not JSON: name a key in JWK form (RFC 7517)",
    ),
}


@pytest.mark.parametrize(("spoil", "line"), GATEWAY_KEYS.values(), ids=GATEWAY_KEYS.keys())
def test_gateway_key_is_private_and_only_its_owners(
    site: Site, spoil: Callable[[Site], object], line: str
) -> None:
    spoil(site)
    assert site.mistakes() == [f"{KEY}: {line}"]


CENTRE_KEYS: dict[str, tuple[Callable[[Site], object], str]] = {
    "private": (
        lambda site: site.private("case", seed=3),
        (
            "DIR/case.jwk: this is a private key: keep it at the centre "
            "and give the gateway only the public one (without `d`)"
        ),
    ),
    "of RSA": (
        lambda site: site.public("case", seed=3, kty="RSA", crv=None),
        f"DIR/case.jwk is not a usable key (kty must be OKP and crv Ed25519): {ANEW}",
    ),
    "a long kid": (
        lambda site: site.public("case", seed=3, kid="k" * 17),
        f"DIR/case.jwk is not a usable key (kid must be 1 to 16 ASCII characters): {ANEW}",
    ),
    "a short x": (
        lambda site: site.public("case", seed=3, x=encode(b"x" * 31)),
        (
            "DIR/case.jwk is not a usable key (x is not a 32-byte Ed25519 public key: "
            f"An Ed25519 public key is 32 bytes long): {ANEW}"
        ),
    ),
    "a second spelling": (
        lambda site: site.public("case", seed=3, x=_unused_bits(site.key("case", seed=3)["x"])),
        (
            "DIR/case.jwk is not a usable key (x is not a 32-byte Ed25519 public key: "
            f"base64url with unused bits or padding set): {ANEW}"
        ),
    ),
    "a set": (
        lambda site: site.put("case.jwk", '{"keys": []}'),
        "DIR/case.jwk is a set of keys: put one JWK into a file of its own",
    ),
    "a list": (
        lambda site: site.put("case.jwk", "[]"),
        "DIR/case.jwk is not a JWK: name a key in JWK form (RFC 7517)",
    ),
    "large": (
        lambda site: site.put("case.jwk", "x" * ((1 << 20) + 1)),
        "DIR/case.jwk is larger than 1 MiB: name the right file",
    ),
    "the gateway's own": (
        lambda site: site.public("case", seed=1),
        "is the gateway's own key: it would sign its own receipts: name the centre's public key",
    ),
}


@pytest.mark.parametrize(("spoil", "line"), CENTRE_KEYS.values(), ids=CENTRE_KEYS.keys())
def test_centre_key_is_public(site: Site, spoil: Callable[[Site], object], line: str) -> None:
    spoil(site)
    assert site.mistakes() == [f"{CASE}: {line}"]


def test_no_message_about_a_key_repeats_its_secret(site: Site) -> None:
    secret = site.key("gateway", seed=1)["d"]
    for members in ({"kty": "RSA"}, {"kid": ""}, {"x": 5}, {"d": secret + "="}):
        site.put("gateway.jwk", json.dumps(site.key("gateway", seed=1) | members))
        (line,) = site.mistakes()
        assert line.startswith(KEY)
        assert secret not in line


ONE_PEM = (
    "DIR/gateway.pem is not one PEM with a certificate chain and its private key: "
    "put the certificate, its chain and the unencrypted private key into one file"
)


def test_certificate_without_its_key_is_refused(site: Site) -> None:
    site.put("gateway.pem", (site.folder / "ca.pem").read_bytes())
    assert site.mistakes() == [f"FILE:17: uplinks.campus.certificate: {ONE_PEM}"]


def test_certificate_others_can_read_is_refused(site: Site) -> None:
    (site.folder / "gateway.pem").chmod(0o644)
    assert site.mistakes() == [
        (
            "FILE:17: uplinks.campus.certificate: DIR/gateway.pem can be read by others: "
            "chmod 600 DIR/gateway.pem"
        )
    ]


def test_ca_without_a_certificate_is_refused(site: Site) -> None:
    site.put("ca.pem", "")
    name = "name the PEM of the authority that signed the broker's certificate"
    assert site.mistakes() == [
        f"FILE:16: uplinks.campus.ca: DIR/ca.pem holds no certificate: {name}",
        f"FILE:20: uplinks.lte.ca: DIR/ca.pem holds no certificate: {name}",
    ]


@pytest.fixture
def with_password(site: Site) -> Site:
    site.change("    certificate: gateway.pem\n", "    username: me\n    password: {file: pw}\n")
    return site


def test_password_stays_in_its_file(with_password: Site) -> None:
    path = with_password.put("pw", "hunter2\n")
    result = with_password.check()
    assert result.premises
    assert result.premises.uplinks[0].password_file == str(path)
    assert "hunter2" not in repr(result)


def test_empty_password_file_is_refused(with_password: Site) -> None:
    with_password.put("pw", "\n")
    assert with_password.mistakes() == [
        (
            "FILE:18: uplinks.campus.password.file: DIR/pw is empty: "
            "write the password into it, and nothing else"
        )
    ]


def test_password_others_can_read_is_refused(with_password: Site) -> None:
    with_password.put("pw", "hunter2", mode=0o604)
    assert with_password.mistakes() == [
        "FILE:18: uplinks.campus.password.file: DIR/pw can be read by others: chmod 600 DIR/pw"
    ]


def test_credential_is_found_where_systemd_put_it(with_password: Site, tmp_path: Path) -> None:
    with_password.change("{file: pw}", "{credential: broker}")
    folder = tmp_path / "credentials"
    folder.mkdir()
    # systemd lets the service in by an access list: it shows as a right of the group.
    (folder / "broker").write_text("hunter2")
    (folder / "broker").chmod(0o440)
    result = with_password.check({"CREDENTIALS_DIRECTORY": str(folder)})
    assert result.premises
    assert result.premises.uplinks[0].password_file == str(folder / "broker")


def test_credentials_directory_goes_before_the_files_own(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (site.folder / "gateway.jwk").rename(folder / "gateway.jwk")
    result = site.check({"QORGAN_CREDENTIALS_DIRECTORY": str(folder)})
    assert result.premises
    assert result.premises.key_file == str(folder / "gateway.jwk")
    assert result.premises.uplinks[0].ca == str(site.folder / "ca.pem")


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({}, "DIR/ledger.db"),
        ({"STATE_DIRECTORY": "/var/lib/qorgan"}, "/var/lib/qorgan/ledger.db"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/ledger.db"),
        ({"STATE_DIRECTORY": "/a", "QORGAN_STATE_DIRECTORY": "/b"}, "/b/ledger.db"),
        ({"QORGAN_STATE_DIRECTORY": ""}, "DIR/ledger.db"),
    ],
)
def test_ledger_goes_to_the_state_directory(
    site: Site, environment: dict[str, str], path: str
) -> None:
    premises = site.check(environment).premises
    assert premises
    assert site.short(premises.ledger.path) == path


def test_names_no_disk_can_hold_are_mistakes(site: Site) -> None:
    long = "k" * 300
    site.change("key: gateway.jwk", f"key: {long}")
    site.change("points:\n", f"  ledger: {{path: {long}}}\npoints:\n")
    text = "is blank, too long or not printable: write 1 to 200 characters in one line"
    assert site.mistakes({"CREDENTIALS_DIRECTORY": str(site.folder)}) == [
        f"FILE:4: gateway.key: {text}",
        (
            f"FILE:4: gateway.key: DIR/{long} cannot be read (File name too long): "
            "let the gateway's user read it"
        ),
        f"FILE:5: gateway.ledger.path: {text}",
    ]


def test_ledger_that_is_a_directory_is_refused(site: Site) -> None:
    site.change("points:\n", "  ledger: {path: .}\npoints:\n")
    assert site.mistakes() == ["FILE:5: gateway.ledger.path: is a directory: name a file in it"]


def test_environment_moves_a_broker(site: Site) -> None:
    site.change("  campus:", "  main-campus:")
    site.change("via: [campus, lte]", "via: [main-campus, lte]")
    site.change("via: [campus]", "via: [main-campus]")
    premises = site.check({"QORGAN_UPLINKS__MAIN_CAMPUS__URL": "mqtts://[::1]:1"}).premises
    assert premises
    assert (premises.uplinks[0].host, premises.uplinks[0].port) == ("::1", 1)


ENVIRONMENTS = {
    "bad url": (
        {"QORGAN_UPLINKS__CAMPUS__URL": "http://x"},
        (
            "environment: QORGAN_UPLINKS__CAMPUS__URL: the scheme 'http' is not spoken here: "
            "write mqtts://HOST or mqtts://HOST:PORT"
        ),
    ),
    "no such uplink": (
        {"QORGAN_UPLINKS__KAMPUS__URL": "mqtts://x"},
        "environment: QORGAN_UPLINKS__KAMPUS__URL: there is no such uplink: did you mean 'campus'?",
    ),
    "no such setting": (
        {"QORGAN_UPLINKS__CAMPUS__CA": "x.pem"},
        (
            "environment: QORGAN_UPLINKS__CAMPUS__CA: is no setting of Qorgan: "
            "write QORGAN_UPLINKS__<ID>__URL=mqtts://…"
        ),
    ),
    "no id": (
        {"QORGAN_UPLINKS": "mqtts://x"},
        (
            "environment: QORGAN_UPLINKS: is not a variable of its own: "
            "write QORGAN_UPLINKS__<ID>__URL=mqtts://…"
        ),
    ),
}


@pytest.mark.parametrize(("environment", "line"), ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_wrong_environment_is_a_mistake(site: Site, environment: dict[str, str], line: str) -> None:
    assert site.mistakes(environment) == [line]
