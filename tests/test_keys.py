"""Key files: made whole or not at all, read only when nobody else can, and never quoted."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gateway.core.jws import SigningKey
from gateway.keys import KeyFileError, load_signing_key, load_verify_key, new_key

SEED = bytes(range(32))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_key_is_a_pair_and_the_private_half_is_the_owners(tmp_path: Path) -> None:
    """The private file is never readable by others, the public one may be given away."""
    public = new_key(tmp_path / "gateway.jwk", kid="school-12", seed=SEED)
    assert _mode(tmp_path / "gateway.jwk") == 0o600
    assert load_signing_key(tmp_path / "gateway.jwk").public.x == public.x
    given_away = json.loads((tmp_path / "gateway.pub.jwk").read_text(encoding="ascii"))
    assert "d" not in given_away
    assert given_away == public.as_jwk()


def test_public_half_reads_from_either_file(tmp_path: Path) -> None:
    """What a centre is given, and what the gateway has: the same key."""
    public = new_key(tmp_path / "gateway.jwk", kid="school-12", seed=SEED)
    for name in ("gateway.jwk", "gateway.pub.jwk"):
        found = load_verify_key(tmp_path / name)
        assert (found.kid, found.x) == (public.kid, public.x)


@pytest.mark.parametrize("there", ["gateway.jwk", "gateway.pub.jwk"])
def test_new_key_replaces_nothing_and_leaves_no_half(tmp_path: Path, there: str) -> None:
    """A key that is in use is not overwritten by a slip; the refusal says what to do."""
    (tmp_path / there).write_text("precious", encoding="ascii")
    with pytest.raises(KeyFileError, match="move it away"):
        new_key(tmp_path / "gateway.jwk", kid="school-12", seed=SEED)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text(encoding="ascii") == "precious"


@pytest.mark.parametrize("kid", ["", "seventeen-letters", "Мектеп"])
def test_new_key_refuses_a_kid_no_receiver_would_take(tmp_path: Path, kid: str) -> None:
    """Nothing is written then."""
    with pytest.raises(KeyFileError, match="--kid"):
        new_key(tmp_path / "gateway.jwk", kid=kid, seed=SEED)
    assert not list(tmp_path.iterdir())


def test_new_key_in_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(KeyFileError, match=r"gateway\.jwk: cannot be written: No such file"):
        new_key(tmp_path / "nowhere" / "gateway.jwk", kid="school-12", seed=SEED)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666])
def test_private_key_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    path = tmp_path / "gateway.jwk"
    new_key(path, kid="school-12", seed=SEED)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        load_signing_key(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_private_key_only_its_owner_can_read_is_taken(tmp_path: Path, mode: int) -> None:
    """systemd hands credentials over as 0400."""
    path = tmp_path / "gateway.jwk"
    new_key(path, kid="school-12", seed=SEED)
    path.chmod(mode)
    assert load_signing_key(path).kid == "school-12"


def _jwk(**change: object) -> str:
    return json.dumps(SigningKey("school-12", SEED).as_jwk() | change)


DAMAGED = {
    "empty": ("", "not JSON"),
    "a PEM": ("-----BEGIN PRIVATE KEY-----", "not JSON"),
    "a list": ("[]", "not a JWK"),
    "another kind": (_jwk(kty="RSA"), "kty must be OKP"),
    "another curve": (_jwk(crv="X25519"), "crv Ed25519"),
    "no kid": (_jwk(kid=None), "kid must be"),
    "no x": (_jwk(x=None), "x is missing"),
    "x too short": (_jwk(x="AAAA"), "x is not"),
    "a public key": (json.dumps(SigningKey("s", SEED).public.as_jwk()), "public key"),
    "d of another key": (_jwk(d=SigningKey("s", bytes(32)).as_jwk()["d"]), "do not belong"),
    "d that is no base64url": (_jwk(d="not base64url!"), "d is not base64url"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_key_file_is_named_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    """The file and the member; never a byte of the secret."""
    text, what = DAMAGED[name]
    path = tmp_path / "gateway.jwk"
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
    with pytest.raises(KeyFileError, match=what) as refused:
        load_signing_key(path)
    assert str(path) in str(refused.value)
    assert SigningKey("school-12", SEED).as_jwk()["d"] not in str(refused.value)


def test_bytes_that_are_no_text_are_no_key(tmp_path: Path) -> None:
    """A file of noise is refused like any other."""
    path = tmp_path / "gateway.jwk"
    path.write_bytes(bytes(range(128, 256)))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not JSON"):
        load_signing_key(path)


def test_missing_key_file_is_named(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(KeyFileError, match=r"gateway\.jwk: cannot be read: No such file"):
        load_signing_key(tmp_path / "gateway.jwk")
