"""What exceptions of every HTTP stack mean: the class of our error, `applied`, the advice, and what is chained."""

import inspect
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import anyio
import h11
import httpcore
import httpx
import httpx2
import pytest

from soapbatch.errors import (
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    SoapBatchError,
    UsageError,
)
from soapbatch.transport.error_mapping import host_of, parser_words, transport_error

URL = "http://user:hunter2@crm.example.com:8080/Remote/Services88/Batch.svc"

REQUEST = httpx.Request("POST", "http://h/")
SPECIAL: Mapping[str, Callable[[type[Any]], Exception]] = {
    "HTTPStatusError": lambda cls: cls("m", request=REQUEST, response=httpx.Response(500)),
    "StreamConsumed": lambda cls: cls(),
    "StreamClosed": lambda cls: cls(),
    "ResponseNotRead": lambda cls: cls(),
    "RequestNotRead": lambda cls: cls(),
}
LIBRARIES: list[Any] = [httpx, httpx2]
HTTPX_ERRORS = [
    cls
    for library in LIBRARIES
    for name in library.__all__
    if inspect.isclass(cls := getattr(library, name)) and issubclass(cls, Exception)
]


@pytest.mark.parametrize("is_sent", [False, True], ids=["unsent", "sent"])
@pytest.mark.parametrize("cls", HTTPX_ERRORS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_exception_of_httpx_is_mapped(cls: type[Exception], is_sent: bool) -> None:  # noqa: FBT001 - a case
    """Each exception class that httpx exports becomes one of ours, and never says "no" of what may have left."""
    make: Callable[[type[Any]], Exception] = SPECIAL.get(cls.__name__, lambda cls: cls("m"))
    error = make(cls)
    failure = transport_error(error, phase="sending", is_sent=is_sent, url=URL)
    unsent = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
    unsent |= {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError"}
    if is_sent and cls.__name__ == "RemoteProtocolError":
        assert type(failure) is ProtocolError
    else:
        assert isinstance(failure, (ConnectFailed, ConnectionLost, DeadlineExceeded, UsageError))
    assert failure.applied == ("unknown" if is_sent and cls.__name__ not in unsent else "no")
    assert isinstance(failure, DeadlineExceeded) == issubclass(cls, (httpx.TimeoutException, httpx2.TimeoutException))
    assert isinstance(failure, ConnectionLost) <= (failure.applied == "unknown")
    assert "hunter2" not in str(failure)


def behind(error: Exception, *causes: Exception) -> Exception:
    """Return `error` with a chain of causes."""
    link: BaseException = error
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return error


KEY: Any = aiohttp.client_reqrep.ConnectionKey("h", 80, False, True, None, None, None)  # noqa: FBT003 - aiohttp's own
INFO: Any = aiohttp.RequestInfo("http://h/", "POST", {})  # type: ignore[arg-type] # its str() needs no more
DNS = socket.gaierror(-2, "Name or service not known")
REFUSED = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("error", "is_sent", "expected", "applied", "says"),
    [
        pytest.param(httpx.PoolTimeout("m"), True, DeadlineExceeded, "no", "while queueing", id="pool"),
        pytest.param(httpx.ConnectTimeout("m"), True, DeadlineExceeded, "no", "while connecting", id="connect"),
        pytest.param(httpx.WriteTimeout("m"), True, DeadlineExceeded, "unknown", "while sending", id="write"),
        pytest.param(httpx.ReadTimeout("m"), True, DeadlineExceeded, "unknown", "while waiting", id="read"),
        pytest.param(behind(httpx.ConnectError("m"), DNS), False, ConnectFailed, "no", "name is not known", id="dns"),
        pytest.param(behind(httpx.ConnectError("m"), REFUSED), False, ConnectFailed, "no", "was refused", id="refused"),
        pytest.param(
            behind(httpx.ConnectError("m"), OSError("all failed"), ExceptionGroup("m", [OSError(), REFUSED])),
            False,
            ConnectFailed,
            "no",
            "was refused",
            id="refused-at-both-addresses",
        ),
        pytest.param(
            behind(httpx.ConnectError("m"), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")),
            False,
            ConnectFailed,
            "no",
            "check that this port speaks https; for one that does not, give a base URL that starts with http://",
            id="tls",
        ),
        pytest.param(
            behind(httpx.ConnectError("m"), ssl.SSLCertVerificationError(1, "m")),
            False,
            ConnectFailed,
            "no",
            "TLS failed",
            id="certificate-without-a-reason",
        ),
        pytest.param(
            behind(httpx.ConnectError("m"), socket.gaierror(socket.EAI_AGAIN, "m")),
            False,
            ConnectFailed,
            "no",
            "the name server did not answer",
            id="dns-silent",
        ),
        pytest.param(
            httpx.ProxyError("407 No"), True, ConnectFailed, "no", r"proxy did not connect \(407 No\)", id="407"
        ),
        pytest.param(
            behind(httpx.ConnectError("m"), OSError(101, "Network is unreachable")),
            False,
            ConnectFailed,
            "no",
            r"\(ConnectError: Network is unreachable\)",
            id="unreachable",
        ),
        pytest.param(httpx.LocalProtocolError("m"), False, UsageError, "no", "check the headers", id="bad-header"),
        pytest.param(
            RuntimeError("another loop"),
            False,
            UsageError,
            "no",
            r"used \(RuntimeError\).*another event loop",
            id="loop",
        ),
        pytest.param(RuntimeError("m"), True, ConnectionLost, "unknown", "RuntimeError", id="runtime-error-later"),
        pytest.param(OSError(5, "I/O"), True, ConnectionLost, "unknown", "OSError: I/O", id="os"),
        pytest.param(TimeoutError(110, "m"), False, DeadlineExceeded, "no", "while waiting", id="os-timeout"),
        pytest.param(ssl.SSLError(1, "m"), True, ConnectionLost, "unknown", "SSLError", id="ssl"),
        pytest.param(httpcore.ReadError("m"), True, ConnectionLost, "unknown", "ReadError", id="httpcore"),
        pytest.param(httpcore.ConnectError("m"), True, ConnectFailed, "no", "ConnectError", id="httpcore-connect"),
        pytest.param(
            h11.RemoteProtocolError("illegal header line: bytearray(b'words')"),
            True,
            ProtocolError,
            "unknown",
            r"the answer is not HTTP \(illegal header line\); check the port in the base URL",
            id="h11",
        ),
        pytest.param(
            httpx.RemoteProtocolError("multiple Transfer-Encoding headers"),
            True,
            ProtocolError,
            "unknown",
            r"not HTTP \(multiple Transfer-Encoding headers\)",
            id="malformed-head",
        ),
        pytest.param(
            httpx2.RemoteProtocolError("illegal request line"),
            True,
            ProtocolError,
            "unknown",
            "this port speaks TLS: give a base URL that starts with https://",
            id="tls-alert",
        ),
        pytest.param(
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            True,
            ConnectionLost,
            "unknown",
            r"RemoteProtocolError: Server disconnected without sending a response",
            id="disconnected",
        ),
        pytest.param(
            httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body (received 1 bytes)"
            ),
            True,
            ConnectionLost,
            "unknown",
            "peer closed connection without",
            id="cut",
        ),
        pytest.param(
            httpx.RemoteProtocolError("<StreamReset stream_id:1, error_code:2>"),
            True,
            ConnectionLost,
            "unknown",
            "StreamReset",
            id="http-2",
        ),
        pytest.param(
            httpx.RemoteProtocolError("illegal header line"),
            False,
            ConnectFailed,
            "no",
            "illegal header",
            id="unsent-head",
        ),
        pytest.param(
            aiohttp.ClientResponseError(INFO, (), status=400, message="Bad status line 'hunter2'"),
            True,
            ProtocolError,
            "unknown",
            r"not HTTP \(ClientResponseError\)",
            id="aiohttp-malformed-head",
        ),
        pytest.param(anyio.BrokenResourceError(), True, ConnectionLost, "unknown", "BrokenResource", id="anyio"),
        pytest.param(anyio.ClosedResourceError(), False, ConnectFailed, "no", "ClosedResource", id="anyio-unsent"),
        pytest.param(KeyError("m"), True, ConnectionLost, "unknown", "KeyError", id="a-bug-of-the-stack"),
        pytest.param(
            behind(httpx.ConnectTimeout("m"), aiohttp.ServerDisconnectedError()),
            True,
            ConnectionLost,
            "unknown",
            "ServerDisconnectedError",
            id="aiohttp-disconnected",
        ),
        pytest.param(
            behind(httpx.ConnectTimeout("m"), aiohttp.ClientConnectorError(KEY, REFUSED), REFUSED),
            True,
            ConnectFailed,
            "no",
            "was refused",
            id="aiohttp-refused",
        ),
        pytest.param(
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "m")),
            False,
            ConnectFailed,
            "no",
            "no connection",
            id="aiohttp-certificate",
        ),
        pytest.param(
            behind(httpx.TimeoutException("m"), aiohttp.ConnectionTimeoutError()),
            True,
            DeadlineExceeded,
            "no",
            "while connecting",
            id="aiohttp-connect-timeout",
        ),
        pytest.param(
            aiohttp.ClientHttpProxyError(INFO, (), status=407, message="hunter2"),
            True,
            ConnectFailed,
            "no",
            r"the proxy did not connect \(407\)",
            id="aiohttp-proxy-407",
        ),
        pytest.param(
            aiohttp.ClientProxyConnectionError(KEY, OSError(1, "hunter2")),
            True,
            ConnectFailed,
            "no",
            r"the proxy did not connect \(ClientProxyConnectionError\)",
            id="aiohttp-proxy",
        ),
    ],
)
def test_what_foreign_exceptions_mean(
    error: Exception,
    is_sent: bool,  # noqa: FBT001 - a case
    expected: type[SoapBatchError],
    applied: str,
    says: str,
) -> None:
    """Exceptions of every library below become the class, the `applied` and the advice that they should."""
    failure = transport_error(error, phase="waiting", is_sent=is_sent, url="http://h:1/")
    assert type(failure) is expected
    assert failure.applied == applied
    with pytest.raises(expected, match=says):
        raise failure


def test_our_own_errors_pass_unchanged() -> None:
    """An error of ours that comes up through the stack stays what it is."""
    error = ConnectFailed("m")
    assert transport_error(error, phase="", is_sent=True, url=URL) is error


def test_a_url_that_cannot_be_parsed_is_not_shown() -> None:
    """The message of an invalid URL does not repeat it, and nothing is chained that would."""
    failure = transport_error(httpx.InvalidURL("'hunter2'"), phase="", is_sent=False, url="http://u:hunter2@h:x/")
    assert "hunter2" not in str(failure)
    assert failure.__cause__ is None
    failure = transport_error(httpx.ReadError("m"), phase="", is_sent=False, url="http://u:hunter2@h:x/")
    assert "the service" in str(failure)


def test_causes_have_no_traceback() -> None:
    """What is chained has no frames, whose locals would hold the envelope; neither has what is chained to it."""

    def deep() -> None:
        try:
            raise REFUSED
        except OSError as error:
            raise httpx.ConnectError("m") from error

    with pytest.raises(httpx.ConnectError) as caught:
        deep()
    failure = transport_error(caught.value, phase="", is_sent=False, url=URL)
    assert failure.__cause__ is caught.value
    assert caught.value.__traceback__ is None
    assert REFUSED.__traceback__ is None


def test_exceptions_of_aiohttp_are_not_chained() -> None:
    """What aiohttp says shows headers and proxy passwords: only the system's error behind it is chained."""
    error = behind(httpx.ConnectTimeout("m"), aiohttp.ClientConnectorError(KEY, REFUSED), REFUSED)
    assert transport_error(error, phase="", is_sent=False, url=URL).__cause__ is REFUSED
    raw = transport_error(aiohttp.ClientPayloadError("m"), phase="", is_sent=True, url=URL)
    assert raw.__cause__ is None


def test_an_unreadable_body_is_a_broken_connection() -> None:
    """After a head that could be read, what the parser refuses is reported as a connection that broke while reading."""
    error = httpx.RemoteProtocolError("illegal chunk header: bytearray(b'hunter2')")
    failure = transport_error(error, phase="reading", is_sent=True, url=URL)
    assert type(failure) is ConnectionLost
    assert "(RemoteProtocolError: illegal chunk header)" in str(failure)


@pytest.mark.parametrize("phase", ["waiting", "reading"])
@pytest.mark.parametrize("kind", [httpx.RemoteProtocolError, httpx.ReadError])
def test_bytes_of_the_response_are_not_chained(kind: type[httpx.TransportError], phase: str) -> None:
    """What a parser quotes may repeat a secret: it is neither in the message nor behind the error."""
    error = behind(kind("m"), h11.RemoteProtocolError("illegal header line: bytearray(b'hunter2')"))
    failure = transport_error(error, phase=phase, is_sent=True, url=URL)
    assert failure.__cause__ is failure.__context__ is None
    for quoted in ("a: b'x'", 'a: b"x"', "a: bytearray(b'x')", "a (expected b'x')"):
        assert parser_words(h11.RemoteProtocolError(quoted)) == "a"


def test_what_the_caller_handles_is_not_looked_at() -> None:
    """The exception that is handled where a request is made is behind the error, and says nothing about it."""

    def fail() -> None:
        raise httpx.ConnectError("m")

    with pytest.raises(ConnectionRefusedError) as outer:
        raise ConnectionRefusedError(111, "the caller's")
    handled = outer.value
    with pytest.raises(httpx.ConnectError) as inner:
        fail()
    inner.value.__context__ = handled
    failure = transport_error(inner.value, phase="", is_sent=False, url=URL, handled=handled)
    assert "was refused" not in str(failure)
    assert handled.__traceback__ is not None
    assert failure.__cause__ is inner.value
    assert inner.value.__traceback__ is None


def test_the_host_of_a_url() -> None:
    """A URL that cannot be parsed, or encoded, is not shown."""
    assert host_of(URL) == "crm.example.com:8080"
    assert host_of("http://h:x/") == host_of("http://h/\ud800") == "the service"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://h/", "if this port speaks TLS, give a base URL that starts with https://"),
        ("HTTPS://h/", "if the server wants a client certificate, give one: transport="),
        ("ftp://h/", "before repeating it"),
    ],
)
def test_a_server_that_has_never_answered(url: str, advice: str) -> None:
    """What may be wrong is said until the first answer, and never afterwards."""
    for has_answered in (False, True):
        failure = transport_error(
            httpx.ReadError("m"), phase="waiting", is_sent=True, url=url, has_answered=has_answered
        )
        assert isinstance(failure, ConnectionLost)
        assert (advice in str(failure)) == (not has_answered or url[0] == "f")
