"""Map an exception of the HTTP stack to an error of ours, which says whether the server may have acted.

`transport_error` knows the exceptions of httpx, httpcore, h11, anyio, aiohttp, ssl and the operating system; a test
walks httpx's and shows that none is unmapped.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from soapbatch.errors import (
    Applied,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    SoapBatchError,
    UsageError,
)
from soapbatch.model import redact

# By the name of the class or of its nearest base. The names are httpx's and httpcore's, which agree, then
# aiohttp's, which need not be installed, then Python's. "" stands for the phase in which the request was.
_TIMEOUTS: Final = {
    "PoolTimeout": "queueing",
    "ConnectTimeout": "connecting",
    "WriteTimeout": "sending",
    "ReadTimeout": "",
    "TimeoutException": "",
    "ConnectionTimeoutError": "connecting",
    "ServerTimeoutError": "",
    "TimeoutError": "",
}
_MISUSES: Final = {
    "UnsupportedProtocol": "the URL of the service is not http or https; give a base URL that starts with https://",
    "InvalidURL": "the URL of the service is not a valid one; check the base URL",
    "NonHttpUrlClientError": "the URL of the service is not http or https; give a base URL that starts with https://",
    "LocalProtocolError": "the request is not valid HTTP; check the headers that were added to it",
}
# These prove that nothing was sent, or nothing whole, even where the transport cannot be watched.
_UNSENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
    | {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError"}
    | {"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError", "NonHttpUrlClientError"}
)


TLS_ANSWER: Final = "it is TLS"
"""What `httpx.RemoteProtocolError` says when the answer to plain HTTP is TLS."""

# How messages of httpcore, h11 and h2 begin when the connection ended before the response did.
_BROKEN_OFF: Final = ("Server disconnected", "peer ", "<")
# In TLS 1.3 the client may send before the server has looked for a certificate; the server reads none of it.
_CERTIFICATE_REQUIRED: Final = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
_GIVE_ONE: Final = "give one: transport=ConnectionPool(verify=context) with context.load_cert_chain(...)"
# What may be wrong, by the scheme of the URL, where a server ends the connection and has never answered.
_NEVER_ANSWERED: Final = {
    "http": "; if this port speaks TLS, give a base URL that starts with https://",
    "https": f"; if the server wants a client certificate, {_GIVE_ONE}",
}
_QUOTED: Final = re.compile(r"(?::| \(expected)? *b(?:ytearray\(b)?['\"]", re.ASCII)


def transport_error(
    error: Exception,
    *,
    phase: str,
    is_sent: bool,
    url: str,
    has_answered: bool = True,
    handled: BaseException | None = None,
) -> SoapBatchError:
    """Return the error of ours for `error`, which the HTTP stack has raised.

    Raise it outside of the `except` clause: then nothing but its cause refers to `error`. The cause has no
    traceback, since foreign frames hold the envelope; it is left out where its text may repeat a header or a URL.

    Args:
        error: what was raised. One of our own is returned as it is.
        phase: what the request was doing.
        is_sent: whether a byte of it may have left.
        url: where it went; messages show host and port of it.
        has_answered: whether there has been a response from that host and port before.
        handled: the exception that the caller was handling when it sent the request. Python makes it the context of
            `error`, but it says nothing about the request, and keeps its traceback.
    """
    if isinstance(error, SoapBatchError):
        return error
    chain = list(_chain(error, handled))
    # httpx-aiohttp calls everything a ConnectTimeout, also what breaks after sending: aiohttp's own class decides.
    origin = next(filter(_is_aiohttp, chain), error)
    names = [cls.__name__ for cls in type(origin).__mro__]
    wants_certificate = any(_tls_alert(link) == _CERTIFICATE_REQUIRED for link in chain)
    is_sent = is_sent and _UNSENT.isdisjoint(names) and not wants_certificate
    misuse = next((_MISUSES[name] for name in names if name in _MISUSES), None)
    is_python = isinstance(origin, (RuntimeError, TypeError, ValueError)) and not isinstance(origin, OSError)
    if misuse is None and is_python and not is_sent:
        misuse = f"the HTTP client could not be used ({names[0]}); is it closed, or from another event loop?"
    timeout = next((_TIMEOUTS[name] for name in names if name in _TIMEOUTS), None)
    where = host_of(url)
    applied: Applied = "unknown" if is_sent else "no"
    failure: SoapBatchError
    if misuse is not None:
        failure = UsageError(misuse, applied=applied)
    elif timeout is not None:
        failure = DeadlineExceeded(
            f"{where}: a timeout of the HTTP client ran out while {timeout or phase}; "
            "give that client a longer one, or none and the call a `timeout`",
            phase=timeout or phase,
            applied=applied,
        )
    elif is_sent and phase != "reading" and _is_not_http(origin, names):
        failure = ProtocolError(f"{where}: the answer is not HTTP ({parser_words(origin)}); {_not_http_advice(origin)}")
    elif is_sent:
        failure = ConnectionLost(
            f"{where}: the connection broke while {phase} ({_describe(origin, names, chain)}); "
            "unless the operation only reads, look whether it was applied before repeating it"
            + ("" if has_answered else _NEVER_ANSWERED.get(url.partition(":")[0].lower(), ""))
        )
    else:
        reason = _connect_reason(origin, names, chain)
        failure = ConnectFailed(f"{where}: {reason}", retryable=not wants_certificate)
    failure.__cause__ = _without_tracebacks(error, chain)
    if misuse is not None:
        failure.__cause__ = None
    return failure


def stale_response(url: str) -> ConnectionLost:
    """Return the error for bytes that were left on a connection by an earlier request."""
    return ConnectionLost(
        f"{host_of(url)}: the connection still held a part of an earlier answer, so this one was not read; "
        "unless the operation only reads, look whether it was applied before repeating it"
    )


def host_of(url: str) -> str:
    """Return host and port of `url`, without user and password."""
    try:
        return httpx.URL(url).netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return "the service"


def parser_words(error: BaseException) -> str:
    """Return the message of an HTTP parser, without the bytes that it quotes: they may hold a secret."""
    if _is_aiohttp(error):  # its messages quote headers
        return type(error).__name__
    return _QUOTED.split(str(error))[0]


def _is_not_http(error: BaseException, names: list[str]) -> bool:
    if "RemoteProtocolError" in names:
        return not str(error).startswith(_BROKEN_OFF)
    return "ClientResponseError" in names  # aiohttp's


def _not_http_advice(error: BaseException) -> str:
    """Return what to do about an answer that is not HTTP."""
    # h11 says "illegal request line" where the first byte is a control character, as that of a TLS record is.
    if str(error) in {TLS_ANSWER, "illegal request line"}:
        return "this port speaks TLS: give a base URL that starts with https://"
    return "check the port in the base URL, and look at what stands between here and the service"


def _describe(error: BaseException, names: list[str], chain: list[BaseException]) -> str:
    """Return a short technical name of what broke: the class, and the words of the system or the parser, if any."""
    system = next((link for link in chain if isinstance(link, OSError) and link.strerror), None)
    words = parser_words(error) if "RemoteProtocolError" in names else system and system.strerror
    return f"{names[0]}: {words}" if words else names[0]


def _connect_reason(error: BaseException, names: list[str], chain: list[BaseException]) -> str:
    """Return why no connection came about, and what to do next."""
    if not {"ProxyError", "ClientHttpProxyError", "ClientProxyConnectionError"}.isdisjoint(names):
        status = getattr(error, "status", names[0])
        said = str(status) if _is_aiohttp(error) else str(error)
        if any(isinstance(link, ConnectionRefusedError) for link in chain):
            said = "connection refused"
        return f"the proxy did not connect ({redact(said)}); check proxy=, HTTPS_PROXY and NO_PROXY"
    for link in chain:
        match None if _is_aiohttp(link) else link:
            case ssl.SSLError() as failed:
                return _tls_reason(failed)
            case socket.gaierror(errno=number):
                is_silent = number == socket.EAI_AGAIN
                reason = "the name server did not answer" if is_silent else "the host name is not known"
                return f"{reason}; check the base URL and the DNS of this machine"
            case ConnectionRefusedError():
                return "the connection was refused; check the port in the base URL and that the service runs"
            case _:
                pass
    described = _describe(error, names, chain)
    return f"no connection ({described}); check the network, the base URL and the proxy settings"


def _tls_alert(error: BaseException) -> str:
    """Return OpenSSL's name of a TLS failure; "" where there is none."""
    # Only an SSLError that OpenSSL has made has this attribute.
    return (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""


def _tls_reason(error: ssl.SSLError) -> str:
    """Return why TLS did not come about, and what to do next."""
    if refusal := getattr(error, "verify_message", ""):
        return (
            f"its certificate is not accepted: {refusal.rstrip('.')}; check the host name in the base URL, "
            "or give the CA that signed it: transport=ConnectionPool(verify=ssl.create_default_context(cafile=...))"
        )
    alert = _tls_alert(error)
    if alert in {_CERTIFICATE_REQUIRED, "SSLV3_ALERT_HANDSHAKE_FAILURE"}:
        may_want = "wants" if alert == _CERTIFICATE_REQUIRED else "refused the TLS handshake and may want"
        return f"the server {may_want} a client certificate; {_GIVE_ONE}"
    return (
        f"TLS failed ({error.strerror}); check that this port speaks https; "
        "for one that does not, give a base URL that starts with http://"
    )


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield `error`, its causes and contexts, and the members of groups, but not `handled` and what is behind that."""
    waiting, seen = [error], {id(handled)}
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        waiting += [behind for behind in (*members, link.__context__, link.__cause__) if behind is not None]


def _without_tracebacks(error: Exception, chain: list[BaseException]) -> Exception | None:
    """Remove the tracebacks of `chain`, and return the exception that may be the cause of our error, or None.

    That is `error`, unless its text quotes bytes of the response, or comes from aiohttp: aiohttp shows headers and the
    passwords of proxies. In place of aiohttp's exception, the error of the operating system behind it is returned.
    """
    for link in chain:
        link.__traceback__ = None
    if any(type(link).__name__ == "RemoteProtocolError" for link in chain):
        return None
    if not any(map(_is_aiohttp, chain)):
        return error
    return next((link for link in chain if isinstance(link, OSError) and not _is_aiohttp(link)), None)


def _is_aiohttp(error: BaseException) -> bool:
    """Return whether aiohttp defines the class of `error`."""
    return type(error).__module__.startswith("aiohttp.")
