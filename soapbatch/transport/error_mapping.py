"""What an exception of the HTTP stack means: one of our errors, and whether the server may have acted.

`transport_error` knows the exceptions of httpx, httpcore, h11, anyio, aiohttp, ssl and the operating system; a test
walks httpx's and shows that none is unmapped.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from soapbatch.errors import Applied, ConnectFailed, ConnectionLost, DeadlineExceeded, SoapBatchError, UsageError
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


def transport_error(error: Exception, *, phase: str, is_sent: bool, url: str) -> SoapBatchError:
    """Return the one of our errors that says what `error`, raised by the HTTP stack, means; to be raised.

    Raise it outside of the `except` clause: then nothing but its cause refers to `error`. The cause has no
    traceback, since foreign frames hold the envelope; it is left out where its text may repeat a header or a URL.

    Args:
        error: what was raised. One of our own is returned as it is.
        phase: what the request was doing.
        is_sent: whether a byte of it may have left.
        url: where it went; messages show host and port of it.
    """
    if isinstance(error, SoapBatchError):
        return error
    chain = list(_chain(error))
    # httpx-aiohttp calls everything a ConnectTimeout, also what breaks after sending: aiohttp's own class decides.
    origin = next(filter(_is_aiohttp, chain), error)
    names = [cls.__name__ for cls in type(origin).__mro__]
    is_sent = is_sent and _UNSENT.isdisjoint(names)
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
    elif is_sent:
        failure = ConnectionLost(
            f"{where}: the connection broke while {phase} ({_describe(names[0], chain)}); "
            "unless the operation only reads, look whether it was applied before repeating it"
        )
    else:
        failure = ConnectFailed(f"{where}: {_connect_reason(chain, names)}")
    failure.__cause__ = None if misuse is not None else _without_tracebacks(error)
    return failure


def stale_response(url: str) -> ConnectionLost:
    """Return the error for an answer that belongs to an earlier request."""
    return ConnectionLost(
        f"{host_of(url)}: the server sent an earlier answer twice, so this one cannot be told from it; "
        "unless the operation only reads, look whether it was applied before repeating it"
    )


def host_of(url: str) -> str:
    """Return host and port of `url`, without user and password."""
    try:
        return httpx.URL(url).netloc.decode("ascii")
    except httpx.InvalidURL:
        return "the service"


def _describe(name: str, chain: list[BaseException]) -> str:
    """Return a short technical name of what broke: the class, and the system's words where there are any."""
    system = next((link for link in chain if isinstance(link, OSError) and link.strerror), None)
    return name if system is None else f"{name}: {system.strerror}"


def _connect_reason(chain: list[BaseException], names: list[str]) -> str:
    """Return why no connection came about, and what to do next."""
    for link in chain:
        match None if _is_aiohttp(link) else link:
            case ssl.SSLCertVerificationError(verify_message=str(reason)):
                return (
                    f"its certificate is not accepted: {reason.rstrip('.')}; check the host name in the base URL, "
                    "or give the CA that signed it: verify=ssl.create_default_context(cafile=...)"
                )
            case ssl.SSLError(strerror=reason):
                return f"TLS failed ({reason}); check that this port speaks https"
            case socket.gaierror():
                return "the host name is not known; check the base URL and the DNS of this machine"
            case ConnectionRefusedError():
                return "the connection was refused; check the port in the base URL and that the service runs"
            case _:
                pass
    if not {"ProxyError", "ClientHttpProxyError", "ClientProxyConnectionError"}.isdisjoint(names):
        said = next((str(getattr(link, "status", names[0])) for link in chain if _is_aiohttp(link)), str(chain[0]))
        return f"the proxy did not connect ({redact(said)}); check proxy=, HTTPS_PROXY and NO_PROXY"
    return f"no connection ({_describe(names[0], chain)}); check the network, the base URL and the proxy settings"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and everything behind it: causes, contexts, and members of groups."""
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        waiting += [behind for behind in (*members, link.__context__, link.__cause__) if behind is not None]


def _without_tracebacks(error: Exception) -> Exception | None:
    """Return what of `error` may be chained: without tracebacks, its own and those behind it.

    Nothing of aiohttp's, nor what repeats it: that shows headers, and the passwords of proxies. There it is the
    operating system's error behind it, or nothing.
    """
    chain = list(_chain(error))
    for link in chain:
        link.__traceback__ = None
    if not any(map(_is_aiohttp, chain)):
        return error
    return next((link for link in chain if isinstance(link, OSError) and not _is_aiohttp(link)), None)


def _is_aiohttp(error: BaseException) -> bool:
    """Tell whether aiohttp defines the class of `error`."""
    return type(error).__module__.startswith("aiohttp.")
