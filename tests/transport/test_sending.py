"""The port: the decoded body, the mapping of foreign exceptions, and the adapter for a handed-in httpx client."""

import asyncio
import gzip
import inspect
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
import anyio
import h11
import httpcore
import httpx
import pytest
from hypothesis import given, strategies as st

from soapbatch.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    LimitExceeded,
    SoapBatchError,
    UnreadableResponse,
    UsageError,
)
from soapbatch.model.limits import KIB, MIB, Limits
from soapbatch.transport.error_mapping import transport_error
from soapbatch.transport.sending import (
    Body,
    ClientTransport,
    HttpReply,
    HttpRequest,
    Progress,
    Trace,
    decoded,
    finished,
    httpx_headers,
)
from tests.support.fault_server import FaultServer

URL = "http://user:hunter2@crm.example.com:8080/Remote/Services88/Batch.svc"


def a_request(url: str, body: bytes = b"<envelope/>", **headers: str) -> HttpRequest:
    """Return a request to `url`."""
    return HttpRequest(url=url, headers={"Content-Type": "text/xml", "SOAPAction": '"act"', **headers}, body=body)


async def body_of(reply: HttpReply) -> bytes:
    """Read the decoded body of `reply`, and close it."""
    try:
        async with aclosing(decoded(reply, Limits())) as pieces:
            return b"".join([piece async for piece in pieces])
    finally:
        await reply.aclose()


# --- Values -----------------------------------------------------------------------------------------------------


def test_a_request_shows_no_secret() -> None:
    """The repr of a request holds neither its body nor the values of its headers."""
    request = HttpRequest(url="https://h/", headers={"Authorization": "Basic c2VjcmV0"}, body=b"<Ticket>7T:x</Ticket>")
    assert repr(request) == "HttpRequest(url='https://h/', headers=['Authorization'], body=***)"


def test_progress_says_what_may_have_been_applied() -> None:
    """Nothing was applied until a byte may have left."""
    progress = Progress()
    assert (progress.phase, progress.applied) == ("queueing", "no")
    progress.sent = True
    assert progress.applied == "unknown"


@pytest.mark.parametrize(
    ("given_headers", "expected"),
    [
        pytest.param({}, {"Accept-Encoding": "gzip"}, id="added"),
        pytest.param({"accept-encoding": "identity"}, {"accept-encoding": "identity"}, id="the-caller-knows-better"),
    ],
)
def test_gzip_is_asked_for(given_headers: dict[str, str], expected: dict[str, str]) -> None:
    """A request asks for gzip unless it says what else it wants."""
    assert httpx_headers(HttpRequest(url="http://h/", headers=given_headers, body=b"")) == expected


# --- The body, decoded ------------------------------------------------------------------------------------------


class Canned:
    """A reply that is there already."""

    def __init__(self, chunks: list[bytes], encoding: str | None = None) -> None:
        """Give out `chunks`, said to be in `encoding`."""
        self.status = 200
        self.headers: Mapping[str, str] = {} if encoding is None else {"content-encoding": encoding}
        self._chunks = chunks
        self.taken = 0

    async def _generate(self) -> AsyncGenerator[bytes, None]:
        for chunk in self._chunks:
            self.taken += 1
            yield chunk

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the chunks."""
        return self._generate()

    async def aclose(self) -> None:
        """Do nothing."""


async def all_of(reply: Canned, limits: Limits | None = None) -> list[bytes]:
    """Return the decoded pieces of `reply`."""
    async with aclosing(decoded(reply, limits or Limits())) as pieces:
        return [piece async for piece in pieces]


def raw_deflate(data: bytes) -> bytes:
    """Return `data` deflated without the zlib header."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


ENCODINGS: list[Any] = [
    pytest.param(None, bytes, id="absent"),
    pytest.param("identity", bytes, id="identity"),
    pytest.param("gzip", gzip.compress, id="gzip"),
    pytest.param(" GZip ", gzip.compress, id="gzip-spelt-oddly"),
    pytest.param("x-gzip", gzip.compress, id="x-gzip"),
    pytest.param("deflate", zlib.compress, id="deflate"),
    pytest.param("deflate", raw_deflate, id="raw-deflate"),
]


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS)
@given(data=st.binary(max_size=300), size=st.integers(1, 300), times=st.sampled_from([1, 1000]))
async def test_every_encoding_is_decoded_however_it_arrives(
    encoding: str | None, encode: Callable[[bytes], bytes], data: bytes, size: int, times: int
) -> None:
    """A body comes out as it went in, in pieces of at most 64 KiB, however it was cut on its way."""
    whole = encode(data * times)
    pieces = await all_of(Canned([whole[at : at + size] for at in range(0, len(whole), size)], encoding))
    assert b"".join(pieces) == data * times
    assert all(len(piece) <= 64 * KIB for piece in pieces)


async def test_a_large_chunk_is_cut() -> None:
    """A chunk of any size, as a transport without a socket may give, comes in pieces of at most 64 KiB."""
    pieces = await all_of(Canned([bytes(100 * KIB), bytes(64 * KIB)]))
    assert [len(piece) for piece in pieces] == [64 * KIB, 36 * KIB, 64 * KIB]


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
async def test_an_empty_body_is_empty_in_every_encoding(encoding: str | None) -> None:
    """An answer without a body needs no compression header."""
    assert await all_of(Canned([], encoding)) == []


@pytest.mark.parametrize(
    ("encoding", "chunks", "what"),
    [
        pytest.param("gzip", [gzip.compress(b"<xml/>")[:-1]], "cut short", id="cut"),
        pytest.param("gzip", [b"\x1f"], "cut short", id="one-byte"),
        pytest.param("deflate", [b"x", b"\x9c"], "cut short", id="only-the-header"),
        pytest.param("gzip", [gzip.compress(b"<xml/>"), b"more"], "followed by something else", id="trailing"),
        pytest.param("gzip", [gzip.compress(b"<xml/>") + b"more"], "followed by something else", id="trailing-at-once"),
        pytest.param("gzip", [b"<xml/>"], "broken", id="not-compressed"),
        pytest.param("deflate", [b"\xff\xff"], "broken", id="not-deflated"),
        pytest.param("br", [b"<xml/>"], "not an encoding that is read", id="unknown"),
        pytest.param("gzip, br", [b"<xml/>"], "not an encoding that is read", id="two"),
    ],
)
async def test_what_cannot_be_decompressed_is_unreadable(encoding: str, chunks: list[bytes], what: str) -> None:
    """Broken, cut or unknown compression is an UnreadableResponse that says which."""
    with pytest.raises(UnreadableResponse, match=what) as caught:
        await all_of(Canned(chunks, encoding))
    assert caught.value.status == 200


async def test_errors_show_no_part_of_the_answer() -> None:
    """No frame of ours that an error passes through holds what was decoded before it."""
    chunks = [gzip.compress(b"hunter2" * 10)[:-1]]
    with pytest.raises(UnreadableResponse) as caught:
        await all_of(Canned(chunks, "gzip"))
    frames = [
        entry.frame
        for entry in caught.traceback
        if str(entry.path).endswith(("/decoding.py", "soapbatch/transport.py"))
    ]
    assert frames
    assert not [frame for frame in frames if "hunter2" in repr(frame.f_locals)]


async def test_a_bomb_ends_long_before_it_costs_memory() -> None:
    """A gigabyte of zeros in a megabyte ends at the ratio, after little of it was inflated."""
    zeros = zlib.compressobj(9)
    bomb = [zeros.compress(bytes(MIB)) for _ in range(64)]
    reply = Canned([b"".join(bomb)], "deflate")
    inflated = 0
    pieces = decoded(reply, Limits())
    with pytest.raises(LimitExceeded) as caught:  # noqa: PT012 - how much came before it is the point
        async for piece in pieces:
            inflated += len(piece)
    assert (caught.value.limit, caught.value.status) == ("expansion", 200)
    assert inflated <= 2 * MIB


async def test_a_small_answer_may_compress_well() -> None:
    """The ratio is not looked at below 1 MiB: many nil elements compress better than the limit allows."""
    data = b"<a:FileName i:nil='true'/>" * 30_000
    assert len(data) / len(gzip.compress(data)) > Limits().expansion
    assert b"".join(await all_of(Canned([gzip.compress(data)], "gzip"))) == data


async def test_a_limit_of_ones_own_holds() -> None:
    """Limits(expansion=...) decides what is too much."""
    data = bytes(range(256)) * 8 * KIB
    reply = Canned([gzip.compress(data)], "gzip")
    assert b"".join(await all_of(reply, Limits(expansion=1000))) == data
    with pytest.raises(LimitExceeded):
        await all_of(reply, Limits(expansion=10))


# --- Errors -----------------------------------------------------------------------------------------------------

REQUEST = httpx.Request("POST", "http://h/")
SPECIAL: Mapping[str, Callable[[type[Any]], Exception]] = {
    "HTTPStatusError": lambda cls: cls("m", request=REQUEST, response=httpx.Response(500)),
    "StreamConsumed": lambda cls: cls(),
    "StreamClosed": lambda cls: cls(),
    "ResponseNotRead": lambda cls: cls(),
    "RequestNotRead": lambda cls: cls(),
}
HTTPX_ERRORS = [
    cls for name in httpx.__all__ if inspect.isclass(cls := getattr(httpx, name)) and issubclass(cls, Exception)
]


@pytest.mark.parametrize("is_sent", [False, True], ids=["unsent", "sent"])
@pytest.mark.parametrize("cls", HTTPX_ERRORS, ids=lambda cls: cls.__name__)
def test_every_exception_of_httpx_is_mapped(cls: type[Exception], is_sent: bool) -> None:  # noqa: FBT001 - a case
    """Each exception class that httpx exports becomes one of ours, and never says "no" of what may have left."""
    make: Callable[[type[Any]], Exception] = SPECIAL.get(cls.__name__, lambda cls: cls("m"))
    error = make(cls)
    failure = transport_error(error, phase="sending", is_sent=is_sent, url=URL)
    unsent = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
    unsent |= {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError"}
    assert isinstance(failure, (ConnectFailed, ConnectionLost, DeadlineExceeded, UsageError))
    assert failure.applied == ("unknown" if is_sent and cls.__name__ not in unsent else "no")
    assert isinstance(failure, DeadlineExceeded) == issubclass(cls, httpx.TimeoutException)
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
            "speaks https",
            id="tls",
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
        pytest.param(RuntimeError("another loop"), False, UsageError, "no", "another event loop", id="loop"),
        pytest.param(RuntimeError("m"), True, ConnectionLost, "unknown", "RuntimeError", id="runtime-error-later"),
        pytest.param(OSError(5, "I/O"), True, ConnectionLost, "unknown", "OSError: I/O", id="os"),
        pytest.param(TimeoutError(110, "m"), False, DeadlineExceeded, "no", "while waiting", id="os-timeout"),
        pytest.param(ssl.SSLError(1, "m"), True, ConnectionLost, "unknown", "SSLError", id="ssl"),
        pytest.param(httpcore.ReadError("m"), True, ConnectionLost, "unknown", "ReadError", id="httpcore"),
        pytest.param(httpcore.ConnectError("m"), True, ConnectFailed, "no", "ConnectError", id="httpcore-connect"),
        pytest.param(h11.RemoteProtocolError("m"), True, ConnectionLost, "unknown", "RemoteProtocol", id="h11"),
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


# --- Closing ----------------------------------------------------------------------------------------------------


async def test_closing_is_finished_before_a_cancellation_goes_on() -> None:
    """A caller that is cancelled while it closes, even twice, is cancelled when that is done."""
    gate, done = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append("closed")

    task = asyncio.create_task(finished(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["closed"]


@pytest.mark.parametrize("error", [OSError("m"), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_what_goes_wrong_while_closing_is_not_raised(error: BaseException) -> None:
    """Closing is done either way; an error in it concerns nobody."""

    async def work() -> None:
        raise error

    await finished(work())


# --- The steps of a request -------------------------------------------------------------------------------------


async def test_a_connect_through_a_proxy_is_not_the_request() -> None:
    """Only what goes ahead to the proxy was sent: the request itself cannot have been applied."""
    progress = Progress()
    trace = Trace(progress)
    await trace("connection.connect_tcp.started", {})
    await trace("connection.connect_tcp.complete", {"return_value": object()})
    await trace("http11.send_request_headers.started", {"request": httpcore.Request("CONNECT", "http://h/")})
    await trace("http11.receive_response_headers.started", {})
    assert (progress.phase, progress.sent) == ("connecting", False)
    await trace("http11.send_request_headers.started", {"request": httpcore.Request("POST", "http://h/")})
    assert (progress.phase, progress.sent) == ("sending", True)
    await trace("connection.connect_tcp.started", {})
    assert progress.sent
    await trace("http11.send_request_body.started", {})
    assert trace.is_used


async def test_http2_may_answer_at_once() -> None:
    """Over HTTP/2 another request may have read this one's answer already: that is not a stale one."""
    trace = Trace(Progress())
    await trace("http2.receive_response_headers.started", {})
    await trace("http2.receive_response_headers.complete", {})
    assert not trace.is_stale


# --- A handed-in client -----------------------------------------------------------------------------------------


async def test_a_handed_in_client_keeps_its_ways() -> None:
    """Its headers, cookies and hooks hold; ours win; it stays open."""
    hooked = []

    async def hook(request: httpx.Request) -> None:
        hooked.append(request.url)

    async with (
        FaultServer() as server,
        httpx.AsyncClient(
            headers={"X-Gateway": "key", "Content-Type": "wrong"}, event_hooks={"request": [hook]}
        ) as client,
    ):
        transport = ClientTransport(client)
        progress = Progress()
        reply = await transport.send(a_request(server.url + "/x"), progress)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/xml")
        assert await body_of(reply) == b"<envelope/>"
        await reply.aclose()
        await transport.aclose()
        assert not client.is_closed
    headers = server.seen[0].headers
    assert (headers["x-gateway"], headers["content-type"], headers["accept-encoding"]) == ("key", "text/xml", "gzip")
    assert len(hooked) == 1
    assert (progress.phase, progress.sent) == ("reading", True)


async def test_a_closed_client_is_refused() -> None:
    """A client that its owner closed cannot be used, and the error says whose it is."""
    client = httpx.AsyncClient()
    await client.aclose()
    with pytest.raises(ClientClosed, match="handed in is closed"):
        await ClientTransport(client).send(a_request("http://h/"), Progress())


async def test_a_transport_that_reports_nothing_may_have_sent() -> None:
    """In front of an ASGI app there are no steps to see: from the start the request may have been applied."""

    async def failing(_: object, __: object, ___: object) -> None:
        raise KeyError

    progress = Progress()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(failing)) as client:
        with pytest.raises(ConnectionLost, match="KeyError") as caught:
            await ClientTransport(client).send(a_request("http://h/"), progress)
    assert (caught.value.applied, progress.phase) == ("unknown", "waiting")


async def test_a_body_that_a_hook_has_read_is_not_lost() -> None:
    """When httpx has decoded a body for a hook of the owner, that is given out as it is."""
    async with (
        FaultServer(fault="gzip") as server,
        httpx.AsyncClient(event_hooks={"response": [httpx.Response.aread]}) as client,
    ):
        reply = await ClientTransport(client).send(a_request(server.url), Progress())
        assert "content-encoding" not in reply.headers
        assert await body_of(reply) == b"<envelope/>"


async def test_an_error_of_a_hook_becomes_ours() -> None:
    """A hook that raises httpx's own error does not make it escape."""

    async def hook(response: httpx.Response) -> None:
        response.raise_for_status()

    async with (
        FaultServer(fault="503") as server,
        httpx.AsyncClient(event_hooks={"response": [hook]}) as client,
    ):
        with pytest.raises(ConnectionLost, match="HTTPStatusError"):
            await ClientTransport(client).send(a_request(server.url), Progress())


async def test_it_is_known_when_a_client_has_not_sent() -> None:
    """Once a host was seen to report its steps, waiting for a connection of the pool is known to be unsent."""
    limits = httpx.Limits(max_connections=1)
    async with FaultServer() as server, httpx.AsyncClient(limits=limits, timeout=None) as client:  # noqa: S113 - a test
        transport = ClientTransport(client)
        reply = await transport.send(a_request(server.url), Progress())
        progress = Progress()
        waiting = asyncio.create_task(transport.send(a_request(server.url), progress))
        await asyncio.sleep(0)
        assert (progress.phase, progress.applied) == ("queueing", "no")
        await body_of(reply)
        await body_of(await waiting)


async def test_leaving_a_body_unread_closes_its_connection() -> None:
    """A reply that is closed before its end takes its connection with it; the next request has another."""
    async with FaultServer(fault="slow-drip") as server, httpx.AsyncClient() as client:
        transport = ClientTransport(client)
        reply = await transport.send(a_request(server.url), Progress())
        assert await anext(reply.chunks()) == b" "
        await reply.aclose()
        server.choose = lambda: "none"
        assert await body_of(await transport.send(a_request(server.url), Progress())) == b"<envelope/>"
    assert server.accepted == 2


async def test_an_answer_to_an_earlier_request_is_not_taken() -> None:
    """When a server answers twice, the second answer is not given to the next request."""
    async with FaultServer() as server, httpx.AsyncClient() as client:
        transport = ClientTransport(client)
        server.plan.append("twice")
        assert await body_of(await transport.send(a_request(server.url, b"one"), Progress())) == b"one"
        with pytest.raises(ConnectionLost, match="earlier answer") as caught:
            await transport.send(a_request(server.url, b"two"), Progress())
        assert caught.value.applied == "unknown"
        assert await body_of(await transport.send(a_request(server.url, b"three"), Progress())) == b"three"


async def test_a_body_is_an_iterator() -> None:
    """The body of a response is read once, and knows whether it came to its end."""
    body = Body(httpx.ByteStream(b"abc"), Progress(), URL)
    assert aiter(body) is body
    assert [chunk async for chunk in body] == [b"abc"]
    assert body.is_complete
    await body.unwind()
