"""Opens one TCP or TLS connection to a broker, and says in plain words why it cannot.

What blocks (DNS, TCP, TLS, reading files) runs on a thread for each attempt; knows sockets and
certificates, nothing of MQTT or of trying again. Texts never carry a secret: only names, addresses
and paths from the configuration.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import utc_trust
from gateway.core.premises import UplinkSpec
from gateway.uplink.link import UplinkError

# X509_V_ERR_… and X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python names none of them.
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_NAME = frozenset({62, 64})
_NO_CHECK_TIME = 0x200000

_DATES = {
    _NOT_YET_VALID: "is not valid yet by this box's clock",
    _EXPIRED: "has expired by this box's clock, for which nobody vouches",
}

_STUCK_MAX = 4

_ALERTS = {
    "CERTIFICATE_REQUIRED": "set `certificate` of this uplink to the gateway's PEM file",
    "UNKNOWN_CA": "the broker does not know who issued our `certificate`: give it that authority",
    "CERTIFICATE_EXPIRED": "our `certificate` has expired: renew it",
    "BAD_CERTIFICATE": "the broker dislikes our `certificate`: was it made for this gateway?",
    "CERTIFICATE_UNKNOWN": "the broker dislikes our `certificate`: was it made for this gateway?",
    "PROTOCOL_VERSION": "the broker must offer TLS 1.2 or newer",
    "WRONG_VERSION_NUMBER": "this port does not speak TLS: check the port in `url`",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A connected socket with TCP_NODELAY, and the password to use on it.

    unchecked: what of the broker's certificate was not looked at, and why; "" when all of it was.
    """

    sock: socket.socket
    password: str | None
    unchecked: str = ""


class Dialler:
    """Dials without blocking the loop. A stuck name server holds up neither it nor the exit.

    The threads are daemons and nobody waits for them. At most four may be stuck for one uplink;
    then an attempt fails at once. A line that comes too late is closed.
    """

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._slots: dict[str, threading.BoundedSemaphore] = {}

    async def dial(self, spec: UplinkSpec, *, within_s: float) -> Line:
        """A Line; raises UplinkError. May be cancelled at any time."""
        slots = self._slots.setdefault(spec.id, threading.BoundedSemaphore(_STUCK_MAX))
        if not slots.acquire(blocking=False):
            raise UplinkError(
                f"{_STUCK_MAX} earlier attempts still wait for the name {spec.host}",
                "check the DNS server of this network",
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Line] = loop.create_future()

        def work() -> None:
            outcome = _outcome(spec, within_s)
            slots.release()
            try:
                loop.call_soon_threadsafe(_deliver, outcome, future)
            except RuntimeError:  # the loop has been closed meanwhile
                _discard(outcome)

        threading.Thread(target=work, name=f"dial-{spec.id}", daemon=True).start()
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                _discard(future.result())
            raise


def _outcome(spec: UplinkSpec, within_s: float) -> Line | UplinkError:
    try:
        secret, unchecked = password(spec), [""]
        sock = dial(spec, within_s=within_s, unchecked=unchecked.append)
        return Line(sock, secret, unchecked[-1])
    except UplinkError as error:
        return error
    except Exception as error:  # noqa: BLE001 - an attempt may fail, the uplink may not
        return UplinkError(f"cannot connect ({type(error).__name__})", "report this")


def _deliver(outcome: Line | UplinkError, future: asyncio.Future[Line]) -> None:
    if future.done():
        _discard(outcome)
    elif isinstance(outcome, Line):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


def _discard(outcome: Line | UplinkError) -> None:
    if isinstance(outcome, Line):
        outcome.sock.close()


def _synchronised() -> bool:
    return utc_trust()[0]


def dial(
    spec: UplinkSpec,
    *,
    within_s: float,
    synchronised: Callable[[], bool] = _synchronised,
    unchecked: Callable[[str], None] = lambda _why: None,
) -> socket.socket:
    """A connected socket (an `ssl.SSLSocket` under TLS), with TCP_NODELAY.

    Each address of the host gets a fair share of what is left of `within_s`; only the name lookup
    cannot be bounded. synchronised: may this machine's UTC judge what has expired? unchecked hears
    why the dates of the broker's certificate were not looked at, when they were not. Raises
    UplinkError.
    """
    deadline = time.monotonic() + within_s
    context = _context(spec) if spec.tls else None
    try:
        return _first(spec, context, deadline)
    except ssl.SSLCertVerificationError as error:
        if context is None or not _clock_may_be_wrong(error, synchronised):
            raise explained(error, spec) from error
        why = _DATES[error.verify_code]
    except (OSError, UnicodeError) as error:
        raise explained(error, spec) from error
    # A wrong clock must not stop an alarm, so only the dates are left unchecked.
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        sock = _first(spec, context, deadline)
    except OSError as error:
        raise explained(error, spec) from error
    unchecked(f"the certificate of {spec.host}:{spec.port} {why}")
    return sock


def _clock_may_be_wrong(
    error: ssl.SSLCertVerificationError, synchronised: Callable[[], bool]
) -> bool:
    """True where the dates are all that is wrong, and it may be ours that is.

    A certificate from the future shows a box without true time (no battery, no network time),
    whatever its kernel says. That one has expired is believed only where UTC is synchronised.
    """
    if error.verify_code == _EXPIRED:
        return not synchronised()
    return error.verify_code == _NOT_YET_VALID


def password(spec: UplinkSpec) -> str | None:
    """The first line of the uplink's password file, None without one; UplinkError if unreadable."""
    if spec.password_file is None:
        return None
    try:
        text = Path(spec.password_file).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UplinkError(
            f"cannot read the password file {spec.password_file} ({why})",
            "`password` must name a text file this service may read",
        ) from None
    return text.split("\n", 1)[0].rstrip("\r")


def _context(spec: UplinkSpec) -> ssl.SSLContext:
    """TLS 1.2 or newer, the broker always verified, our certificate offered when there is one."""
    try:
        context = ssl.create_default_context(cafile=spec.ca)
    except OSError as error:  # ssl.SSLError is one
        raise _unreadable("ca", spec.ca, error, "a PEM file of the broker's authority") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if spec.certificate is not None:
        try:
            # The empty password keeps OpenSSL from asking a terminal for one.
            context.load_cert_chain(spec.certificate, password="")
        except (OSError, ValueError) as error:
            content = "one PEM file with our chain and its unencrypted private key"
            raise _unreadable("certificate", spec.certificate, error, content) from error
    return context


def _unreadable(key: str, path: str | None, error: Exception, content: str) -> UplinkError:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UplinkError(f"cannot use the file {path} ({why})", f"`{key}` must name {content}")


def _first(spec: UplinkSpec, context: ssl.SSLContext | None, deadline: float) -> socket.socket:
    """The first address that answers; OSError of the last one that does not."""
    addresses = socket.getaddrinfo(spec.host, spec.port, type=socket.SOCK_STREAM)
    problem: OSError = TimeoutError()
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(left_s / (len(addresses) - tried))
            return _opened(plain, address, spec, context)
        except ssl.SSLCertVerificationError:
            plain.close()
            raise
        except OSError as error:
            plain.close()
            problem = error
    raise problem


def _opened(
    plain: socket.socket,
    address: tuple[str | int, ...] | tuple[int, bytes],
    spec: UplinkSpec,
    context: ssl.SSLContext | None,
) -> socket.socket:
    if spec.interface is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, spec.interface.encode())
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.connect(address)
    if context is None:
        return plain
    return context.wrap_socket(plain, server_hostname=spec.host)


def explained(error: OSError | UnicodeError, spec: UplinkSpec) -> UplinkError:
    """That error in words a person at the site can act on."""
    where = f"{spec.host}:{spec.port}"
    match error:
        case ssl.SSLCertVerificationError():
            return _untrusted(error, spec)
        case ssl.SSLEOFError() | ConnectionResetError() if spec.tls:
            reason = f"{where} ended the connection during the TLS handshake"
            hint = "does this port speak TLS? check scheme and port in `url`, and the broker's log"
        case ssl.SSLError():
            return hung_up(str(error), spec)
        case TimeoutError():
            return unanswered(spec)
        case socket.gaierror() | UnicodeError():
            reason = f"the name {spec.host} cannot be resolved"
            hint = "check the host in `url` and the DNS server of this network"
        case ConnectionRefusedError():
            reason = f"{where} refuses connections"
            hint = "is the broker running there, and is the port in `url` right?"
        case OSError(errno=errno.ENODEV) if spec.interface is not None:
            reason = f"there is no network interface {spec.interface}"
            hint = "is it plugged in and up? `interface` must be a name that `ip link` lists"
        case OSError(errno=errno.EPERM) if spec.interface is not None:
            reason = f"the network interface {spec.interface} may not be chosen ({error.strerror})"
            hint = "`interface` needs Linux 5.7 or newer, or CAP_NET_RAW for this service"
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
            reason = f"no route to {where}"
            hint = "check the cable, the address and the default route of this network"
        case _:
            return hung_up(error.strerror or type(error).__name__, spec)
    return UplinkError(reason, hint)


def unanswered(spec: UplinkSpec) -> UplinkError:
    """Nothing came back in time."""
    return UplinkError(
        f"{spec.host}:{spec.port} does not answer",
        "check the cable and the firewall, and whether the broker is overloaded or stopped",
    )


def hung_up(detail: str, spec: UplinkSpec) -> UplinkError:
    """The other side ended the connection before MQTT had begun; `detail` is what was seen of it.

    Under TLS 1.3 a broker objects to our certificate only after our side of the handshake is over.
    """
    where = f"{spec.host}:{spec.port}"
    for alert, hint in _ALERTS.items():
        if alert in detail:
            return UplinkError(f"TLS with {where} failed ({alert.replace('_', ' ').lower()})", hint)
    hint = "look into the broker's log"
    if spec.tls and spec.certificate is None:
        hint = "it may want a client certificate: set `certificate`, or look into the broker's log"
    elif not spec.tls:
        hint = "it may want TLS: write mqtts:// in `url`, or look into the broker's log"
    return UplinkError(f"{where} ended the connection ({detail or 'without a word'})", hint)


def _untrusted(error: ssl.SSLCertVerificationError, spec: UplinkSpec) -> UplinkError:
    reason = f"the certificate of {spec.host}:{spec.port} is not trusted ({error.verify_message})"
    if error.verify_code in _OTHER_NAME:
        return UplinkError(
            reason, "the host in `url` must be a name or address the certificate was made for"
        )
    if error.verify_code == _EXPIRED:
        return UplinkError(reason, "renew the broker's certificate, or set this box's clock right")
    return UplinkError(reason, "`ca` must name the authority that issued the broker's certificate")
