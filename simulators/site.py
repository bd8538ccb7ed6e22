"""Furnishes a folder so that a simulated gateway can live in it: configuration, keys, certificates.

Everything in it is made for one run and proves nothing outside it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.core.jws import SigningKey, VerifyKey
from gateway.keys import load_signing_key, load_verify_key, new_key
from simulators.network.pki import Pki

SIMULATED = Path(__file__).parent.parent / "config" / "simulated.yaml"
GATEWAY = "school-12-main"
CENTRES = ("security", "case")


@dataclass(frozen=True, slots=True)
class Site:
    """A furnished folder. `config` names what `qorgan check` and both simulators take."""

    directory: Path
    config: Path
    pki: Pki

    @property
    def control(self) -> Path:
        """Where the simulated buttons listen."""
        return self.directory / "control"

    @property
    def gateway_key(self) -> VerifyKey:
        """The public half of the gateway's key."""
        return load_verify_key(self.directory / "gateway.pub.jwk")

    def private_key_file(self, centre: str) -> Path:
        """The private key of a centre, as `centre --key` takes it."""
        return self.directory / f"{centre}.key.jwk"

    def private_key(self, centre: str) -> SigningKey:
        """The private key of a centre."""
        return load_signing_key(self.private_key_file(centre))

    def certificate(self, centre: str) -> Path:
        """A centre's client certificate and key in one PEM."""
        return self.directory / f"{centre}.pem"


def furnish(
    directory: Path,
    *,
    port: int,
    mqtt: str = "3.1.1",
    centres: Sequence[str] = CENTRES,
    template: Path = SIMULATED,
) -> Site:
    """Write configuration, keys and certificates for a broker at 127.0.0.1:`port`.

    `mqtt` is the version every uplink of the template is told to speak.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = template.read_text(encoding="utf-8")
    text = re.sub(r"mqtts://127\.0\.0\.1:\d+", f"mqtts://127.0.0.1:{port}", text)
    text = text.replace("/dev/tty", f"{directory}/tty")
    text = re.sub(r"mqtt: [\d.]+", f'mqtt: "{mqtt}"', text)
    config = directory / "premises.yaml"
    config.write_text(text, encoding="utf-8")
    pki = Pki(directory, clients=(GATEWAY, *centres))
    (directory / f"{GATEWAY}.pem").rename(directory / "gateway.pem")
    new_key(directory / "gateway.jwk", kid="school-12", seed=secrets.token_bytes(32))
    for centre in centres:
        private = directory / f"{centre}.key.jwk"
        new_key(private, kid=centre, seed=secrets.token_bytes(32))
        private.with_suffix(".pub.jwk").rename(directory / f"{centre}.jwk")
    return Site(directory, config, pki)
