"""What `soapbatch doctor` checks of the way to a server: name, TCP, TLS, proxy, clock. Nothing here logs in."""

import asyncio
import contextlib
import os
import socket
import ssl
import statistics
import urllib.request
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata
from platform import python_version
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from soapbatch.auth import is_loopback
from soapbatch.cli.output import short_time
from soapbatch.errors import SoapBatchError
from soapbatch.transport import ConnectionPool, TlsContext, environment_proxy

Status: TypeAlias = Literal["ok", "warn", "fail", "skip"]

PORTS: Final = {"http": 80, "https": 443}
DAYS_LEFT: Final = 30
"""Days before the end of a certificate from which on the doctor warns."""
SKEW_WARN: Final = 60.0
"""Seconds between two clocks from which on the doctor warns."""
SKEW_FAIL: Final = 300.0
"""Seconds between two clocks that SuperOffice Online does not tolerate in the signature of a system user."""
SLOW: Final = 1.0
"""Seconds of a round trip from which on the doctor warns."""
_PACKAGES: Final = (
    "soapbatch",
    "httpx",
    "h11",
    "lxml",
    "attrs",
    "rich",
    "argcomplete",
    "keyring",
    "cryptography",
    "PyJWT",
)
_NEEDED: Final = frozenset({"soapbatch", "httpx", "h11", "lxml", "attrs"})


@attrs.frozen
class Check:
    """The result of one check.

    Attributes:
        name: of the check.
        status: "ok", "warn", "fail", or "skip": an earlier failure, or the settings, leave nothing to check.
        detail: what was found.
        advice: what to do; "" where nothing is to be done.
        facts: figures for programs.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""
    facts: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Target:
    """Where the connections of the client go.

    Attributes:
        url: the base URL.
        scheme: of the URL.
        host: of the server.
        port: of the server.
        proxy: URL of the proxy, without its password, or None.
        proxy_host: host and port of the proxy, or None.
    """

    url: str
    scheme: str
    host: str
    port: int
    proxy: str | None = None
    proxy_host: tuple[str, int] | None = None

    @property
    def first_hop(self) -> tuple[str, int]:
        """Host and port that the client connects to: the proxy's or the server's."""
        return self.proxy_host or (self.host, self.port)


class RecordingPool(ConnectionPool):
    """A pool that several clients share, and that keeps the header Date of the last response, and when it came.

    Attributes:
        date: of the server; None: it sent none that can be read.
        received_at: by the clock of this machine.
    """

    date: datetime | None = None
    received_at: datetime | None = None

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request; see `ConnectionPool`."""
        response = await super().handle_async_request(request)
        with contextlib.suppress(ValueError, TypeError):
            self.date = parsedate_to_datetime(response.headers.get("date"))
            self.received_at = datetime.now(UTC)
        return response

    async def aclose(self) -> None:
        """Leave the connections open: a client that ends is not the last one."""

    async def end(self) -> None:
        """Close the connections."""
        await super().aclose()


def find_target(url: str) -> tuple[Target, Check]:
    """Return where connections go, and the check of the proxy that is in effect."""
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    target = Target(url, parts.scheme, parts.hostname or "", port)
    try:
        proxy = environment_proxy(target.scheme, target.host, target.port)
    except SoapBatchError as error:
        return target, Check("proxy", "fail", str(error), f"correct {_proxy_variable(target.scheme)}")
    proxies = urllib.request.getproxies()
    if proxy is None:
        named = proxies.get(target.scheme) or proxies.get("all")
        why = f"NO_PROXY exempts {target.host} from {_proxy_variable(target.scheme)}" if named else "none is set"
        return target, Check("proxy", "ok", f"no proxy: {why}")
    host = proxy.url.host, proxy.url.port or PORTS.get(proxy.url.scheme, 1080)
    shown = f"{proxy.url.scheme}://{host[0]}:{host[1]}"
    detail = f"{shown}, because {_proxy_variable(target.scheme)} is set"
    return attrs.evolve(target, proxy=shown, proxy_host=host), Check("proxy", "ok", detail, facts={"proxy": shown})


def _proxy_variable(scheme: str) -> str:
    """Return the variable that names the proxy; else where the operating system keeps its settings."""
    names = [f"{scheme}_proxy", "all_proxy"]
    found = [variable for name in names for variable in (name, name.upper()) if os.environ.get(variable)]
    return found[0] if found else "the proxy settings of this machine"


async def check_name(target: Target, seconds: float) -> Check:
    """Resolve the name of the first host on the way."""
    host, port = target.first_hop
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:  # TimeoutError is one
        reason = error.strerror or "no answer"
        return Check(
            "name", "fail", f"{host} is not known: {reason}", "check the host in the URL, and the DNS of this machine"
        )
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Check("name", "ok", f"{host} is {', '.join(addresses)}", facts={"addresses": addresses})


async def check_tcp(target: Target, seconds: float) -> Check:
    """Open a connection to the first host on the way, and close it."""
    host, port = target.first_hop
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        reason = error.strerror or f"no answer within {seconds:g} s"
        return Check("tcp", "fail", f"{host}:{port}: {reason}", "check the port, firewalls, and that the server runs")
    milliseconds = (loop.time() - began) * 1000
    await _close(writer)
    return Check("tcp", "ok", f"{host}:{port} in {milliseconds:.0f} ms", facts={"milliseconds": round(milliseconds, 1)})


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def check_tls(target: Target, seconds: float) -> Check:
    """Make a TLS connection with the same certificates as the client, and look at the server's."""
    if target.scheme == "http":
        if is_loopback(target.host):
            return Check("tls", "ok", "not used: the server is this machine")
        return Check("tls", "warn", "plain http: everybody on the way can read the tickets", "use https")
    if target.proxy is not None:
        return Check("tls", "skip", "the connection goes through the proxy; the address shows whether it works")
    try:
        context = await TlsContext(verify=True, trust_env=True).get()
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                target.host, target.port, ssl=context, server_hostname=target.host
            )
    except ssl.SSLCertVerificationError as error:
        return Check("tls", "fail", f"the certificate is not accepted: {error.verify_message.rstrip('.')}", _TLS_ADVICE)
    except (OSError, SoapBatchError) as error:
        return Check("tls", "fail", f"no TLS: {error}", "check that this port speaks https")
    certificate: Any = writer.get_extra_info("peercert")
    version: Any = writer.get_extra_info("ssl_object").version()
    await _close(writer)
    return judge_certificate(certificate, version, target.host, datetime.now(UTC))


_TLS_ADVICE: Final = "check the host name in the URL; for a CA of your own: SSL_CERT_FILE=/path/to/ca.pem"


def judge_certificate(certificate: Any, tls_version: str, host: str, now: datetime) -> Check:
    """Return what a certificate says that was accepted: issuer, names and days left."""
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    days = (ends - now).days
    issuer = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    by = issuer.get("organizationName") or issuer.get("commonName") or "an unnamed CA"
    names = [name for _, name in certificate.get("subjectAltName", ())]
    detail = f"{tls_version}, {host}, issued by {by}, {days} days left"
    facts = {"issuer": by, "days_left": days, "names": names, "version": tls_version}
    if days < DAYS_LEFT:
        return Check("tls", "warn", detail, "have the certificate renewed", facts)
    return Check("tls", "ok", detail, facts=facts)


def check_clock(pool: RecordingPool) -> Check:
    """Compare the clock of this machine with the header Date of the last response."""
    if pool.date is None or pool.received_at is None:
        return Check("clock", "warn", "the server sends no date to compare with", "compare the clocks by hand")
    date = pool.date if pool.date.tzinfo else pool.date.replace(tzinfo=UTC)
    skew = (pool.received_at - date).total_seconds()
    detail = f"this machine is {short_time(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the server"
    facts = {"skew_seconds": round(skew)}
    advice = "set the clock of this machine (NTP), or that of the server"
    if abs(skew) > SKEW_FAIL:
        return Check("clock", "fail", detail, advice, facts)
    if abs(skew) > SKEW_WARN:
        return Check("clock", "warn", detail, advice, facts)
    return Check("clock", "ok", detail, facts=facts)


def check_round_trips(seconds: Sequence[float]) -> Check:
    """Judge the times of some calls."""
    middle = statistics.median(seconds)
    detail = (
        f"{len(seconds)} calls: {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f} ms, median {middle * 1000:.0f}"
    )
    facts = {"median_milliseconds": round(middle * 1000, 1)}
    if middle > SLOW:
        return Check("round trips", "warn", detail, "look at the network, the proxy and the load of the server", facts)
    return Check("round trips", "ok", detail, facts=facts)


def check_installed() -> Check:
    """List the versions of what is installed."""
    versions = dict(_versions())
    missing = sorted(_NEEDED - versions.keys())
    detail = ", ".join(f"{name} {version}" for name, version in [("Python", python_version()), *versions.items()])
    if missing:
        return Check(
            "installed", "fail", f"{', '.join(missing)} is missing: {detail}", "pip install soapbatch", dict(versions)
        )
    return Check("installed", "ok", detail, facts=dict(versions))


def _versions() -> Generator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)
