"""A broker's certificate under a clock that may be wrong: dates give way, identity never does."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.premises import UplinkSpec
from gateway.uplink.dial import dial
from gateway.uplink.link import UplinkError
from simulators.network.pki import Pki

EXPIRED, NOT_YET = dt.timedelta(days=40), dt.timedelta(days=-10)
WITHIN_S = 5.0


@contextlib.contextmanager
def door(issued: Pki, *, host: str = "127.0.0.1") -> Iterator[UplinkSpec]:
    """A TLS server with that certificate; the uplink that leads there trusts its authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.server_certificate, issued.server_key)
    with socket.create_server((host, 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):  # until the door is taken away
                while True:
                    plain, _ = server.accept()
                    plain.settimeout(WITHIN_S)
                    with plain, contextlib.suppress(OSError):
                        context.wrap_socket(plain, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield UplinkSpec("x", host, server.getsockname()[1], ca=str(issued.ca))
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def let_in(spec: UplinkSpec, *, synchronised: bool) -> bool:
    """Does a gateway whose kernel says so trust that door? Raises UplinkError where it does not."""
    with dial(spec, within_s=WITHIN_S, synchronised=lambda: synchronised) as sock:
        return isinstance(sock, ssl.SSLSocket)


@pytest.mark.parametrize(
    ("age", "synchronised"),
    [
        pytest.param(NOT_YET, True, id="from-the-future-whatever-the-kernel-says"),
        pytest.param(NOT_YET, False, id="from-the-future"),
        pytest.param(EXPIRED, False, id="expired-by-a-clock-nobody-vouches-for"),
    ],
)
def test_dates_stop_no_alarm_where_the_clock_may_be_wrong(
    tmp_path: Path, *, age: dt.timedelta, synchronised: bool
) -> None:
    with door(Pki(tmp_path, age=age)) as spec:
        assert let_in(spec, synchronised=synchronised)


@pytest.mark.parametrize(
    ("age", "why"),
    [
        pytest.param(NOT_YET, "is not valid yet by this box's clock", id="from-the-future"),
        pytest.param(EXPIRED, "has expired by this box's clock", id="expired"),
        pytest.param(dt.timedelta(0), None, id="valid"),
    ],
)
def test_connection_says_what_of_the_certificate_it_did_not_look_at(
    tmp_path: Path, age: dt.timedelta, why: str | None
) -> None:
    heard: list[str] = []
    with door(Pki(tmp_path, age=age)) as spec:
        dial(spec, within_s=WITHIN_S, synchronised=lambda: False, unchecked=heard.append).close()
        where = f"the certificate of {spec.host}:{spec.port} "
    assert [line.startswith(where) for line in heard] == [True] * len(heard)
    assert [why in line for line in heard if why] == [True] * (why is not None)
    assert len(heard) == (why is not None)


def test_expired_certificate_is_refused_under_a_clock_that_is_right(tmp_path: Path) -> None:
    with (
        door(Pki(tmp_path, age=EXPIRED)) as spec,
        pytest.raises(UplinkError, match="renew the broker's certificate"),
    ):
        let_in(spec, synchronised=True)


@pytest.mark.parametrize("age", [NOT_YET, EXPIRED])
@pytest.mark.parametrize("synchronised", [True, False])
def test_wrong_clock_opens_no_door_to_another_authority(
    tmp_path: Path, *, age: dt.timedelta, synchronised: bool
) -> None:
    ours = Pki(tmp_path / "ours")
    with door(Pki(tmp_path / "stranger", age=age)) as theirs:
        spec = UplinkSpec("x", theirs.host, theirs.port, ca=str(ours.ca))
        with pytest.raises(UplinkError, match="must name the authority"):
            let_in(spec, synchronised=synchronised)


@pytest.mark.parametrize("age", [NOT_YET, EXPIRED])
def test_wrong_clock_opens_no_door_of_another_name(tmp_path: Path, age: dt.timedelta) -> None:
    """The certificate is for 127.0.0.1 and localhost."""
    with (
        door(Pki(tmp_path, age=age), host="127.0.0.2") as spec,
        pytest.raises(UplinkError, match="made for"),
    ):
        let_in(spec, synchronised=False)
