"""One envelope through any transport of httpx: faults, headers, bodies, clients that somebody hands in, closing."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import httpx2
import pytest

from soapbatch.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    LimitExceeded,
    ProtocolError,
    SoapBatchError,
    UnreadableResponse,
    UsageError,
)
from soapbatch.transport import ClientTransport, ConnectionPool, Sender, SendState, merged_headers
from tests.support.fault_server import FAULTS, Answer, Authority, FaultServer
from tests.support.transports import TRANSPORTS, ask, body_of, send, until, using

URL = "http://user:hunter2@crm.example.com:8080/Remote/Services88/Batch.svc"

# --- Faults -----------------------------------------------------------------------------------------------------

BODY = b"<envelope>" + b"x" * 2000 + b"</envelope>"
Outcome = tuple[type[SoapBatchError] | None, str]
LOST: Outcome = (ConnectionLost, "unknown")
FAILED: Outcome = (ConnectFailed, "no")
ANSWERED: Outcome = (None, "")
UNREADABLE: Outcome = (UnreadableResponse, "unknown")
NOT_HTTP: Outcome = (ProtocolError, "unknown")
# What a request comes to, by fault; everything that is not here is answered.
OUTCOMES: Mapping[str, Outcome] = {
    "refuse": FAILED,
    "tls-wrong-name": FAILED,
    "tls-expired": FAILED,
    "tls-unknown-ca": FAILED,
    "reset-before-request": LOST,
    "reset-while-sending": LOST,
    "reset-after-request": LOST,
    "close-after-request": LOST,
    "half-head": LOST,
    "half-body": LOST,
    "length-too-long": LOST,
    "chunked-garbage": LOST,
    "chunked-cut": LOST,
    "not-http": LOST,
    "bad-head": NOT_HTTP,
    "gzip-cut": UNREADABLE,
    "gzip-trailing": UNREADABLE,
    "gzip-bomb": (LimitExceeded, "unknown"),
    "brotli": UNREADABLE,
}
# The pool says at once that a banner is not HTTP, where httpcore waits for an empty line until the connection ends.
OUTCOMES_BY_TRANSPORT: Mapping[tuple[str, str], Outcome] = {
    ("not-http", "pool"): NOT_HTTP,
    ("not-http", "pool in a client"): NOT_HTTP,
    ("not-http", "client of aiohttp"): NOT_HTTP,
    # aiohttp reads the head and the first chunk at once.
    ("chunked-garbage", "client of aiohttp"): NOT_HTTP,
}
# Without an end of their own: the caller's deadline ends them.
ENDLESS = {"never-answer", "slow-drip"}
# aiohttp's parser reads on behind the answer, and refuses it for what is there.
BY_PARSER = {("length-too-short", "client of aiohttp")}
# The server closes the connection, so that the next request needs another: it is waited for that it has.
CLOSING = {"close-keep-alive", "connection-close", "http-1.0"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_every_fault_is_one_of_our_errors_and_is_sent_once(name: str, fault: str, authority: Authority) -> None:
    """A fault is the error that the table says, the server saw the request at most once, and the next one works."""
    secure = authority if fault.startswith("tls") else None
    async with (
        FaultServer(fault=fault, authority=secure) as server,
        using(TRANSPORTS[name](authority.client)) as transport,
    ):
        expected, applied = OUTCOMES_BY_TRANSPORT.get((fault, name), OUTCOMES.get(fault, ANSWERED))
        state = SendState()
        if fault in ENDLESS:
            call = asyncio.create_task(ask(transport, server.url, BODY, state))
            await until(lambda: state.phase == ("reading" if fault == "slow-drip" else "waiting"))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert state.applied == "unknown"
        elif (fault, name) in BY_PARSER:
            with contextlib.suppress(ProtocolError):
                assert await ask(transport, server.url, BODY) == BODY[: len(BODY) // 2]
        elif expected is None:
            await ask(transport, server.url, BODY, state)
            assert state.phase == "reading"
        else:
            with pytest.raises(SoapBatchError) as caught:
                await ask(transport, server.url, BODY, state)
            assert (type(caught.value), caught.value.applied) == (expected, applied)
        assert server.times("act") <= 1
        if expected is not ConnectFailed:
            server.choose = lambda: "none"
            await until(lambda: all(writer.is_closing() for writer in server.writers) or fault not in CLOSING)
            await recovered(transport, server, fault)


async def recovered(transport: httpx.AsyncBaseTransport, server: FaultServer, fault: str) -> None:
    """Fail unless the next request is answered; one may be spoilt where the server has sent too much."""
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        answer = await ask(transport, server.url, b"next")
    except ConnectionLost:
        assert fault in {"twice", "length-too-short"}
        assert not isinstance(transport, ConnectionPool)
        answer = await ask(transport, server.url, b"next")
    assert answer == b"next"


# --- URLs and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ftp://h/", "http://h:port/", "/relative", "http://h/\ud800"])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_a_bad_url_is_a_usage_error(name: str, url: str) -> None:
    """A URL that HTTP cannot be sent to is the caller's mistake."""
    async with using(TRANSPORTS[name](ssl.create_default_context())) as transport:
        with pytest.raises(UsageError, match="URL of the service"):
            await ask(transport, url)


@pytest.mark.parametrize("name", [name for name in TRANSPORTS if "aiohttp" not in name])
async def test_a_bad_header_is_a_usage_error_that_does_not_repeat_it(name: str) -> None:
    """A header value that HTTP cannot carry is refused, is in no text, and the next request works."""
    async with FaultServer() as server, using(TRANSPORTS[name](ssl.create_default_context())) as transport:
        with pytest.raises(UsageError, match="check the headers") as caught:
            await Sender(transport).send(server.url, [(b"Authorization", b"Basic hunter2\r\n\r\n")], b"x", SendState())
        assert caught.value.applied == "no"
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert await ask(transport, server.url) == b"<envelope/>"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "extra",
    [{}, {"HOST": "elsewhere", "content-length": "1000", "Transfer-Encoding": "gzip"}],
    ids=["added", "brought"],
)
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_what_http_needs_is_in_the_headers_once(name: str, extra: dict[str, str]) -> None:
    """Host and Content-Length are added; a Host that is brought holds, how long the body is does not."""
    async with FaultServer() as server, using(TRANSPORTS[name](ssl.create_default_context())) as transport:
        headers = merged_headers({}, extra)
        assert await body_of(await Sender(transport).send(server.url, headers, b"x", SendState())) == b"x"
    [seen] = server.seen
    host = extra.get("HOST", server.url.removeprefix("http://"))
    assert (seen.headers["host"], seen.headers["content-length"]) == (host, "1")
    assert "transfer-encoding" not in seen.headers


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param({}, {"SOAPAction": "act", "Accept-Encoding": "gzip"}, id="gzip-is-asked-for"),
        pytest.param(
            {"accept-encoding": "identity"},
            {"SOAPAction": "act", "accept-encoding": "identity"},
            id="the-caller-knows-better",
        ),
        pytest.param({"soapaction": "other"}, {"SOAPAction": "act", "Accept-Encoding": "gzip"}, id="ours-win"),
        pytest.param(
            {"X-A": "", "x-b": 'a\t"b" c'},
            {"SOAPAction": "act", "X-A": "", "x-b": 'a\t"b" c', "Accept-Encoding": "gzip"},
            id="added",
        ),
    ],
)
def test_headers_are_merged(extra: dict[str, str], expected: dict[str, str]) -> None:
    """Each header stands once, in whatever case it is written."""
    assert merged_headers({"SOAPAction": "act"}, extra) == [(k.encode(), v.encode()) for k, v in expected.items()]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        pytest.param({"X-User": "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}se"}, "the header 'X-User'", id="latin"),
        pytest.param({"X-User": "\N{HORIZONTAL ELLIPSIS}"}, "the header 'X-User'", id="unicode"),
        pytest.param({"X-User": 5}, "the header 'X-User'", id="number"),
        pytest.param({"X-User": None}, "the header 'X-User'", id="none"),
        pytest.param({"X-User": b"x"}, "the header 'X-User'", id="bytes"),
        pytest.param({"X-User": "a\r\nX-Other: b"}, "the header 'X-User' .* line breaks", id="line-break"),
        pytest.param({"X-User": "a\x00"}, "the header 'X-User' .* control characters", id="nul"),
        pytest.param({"X-User": "a "}, "the header 'X-User' .* a space at either end", id="space"),
        pytest.param({"X User": "a"}, "cannot be named 'X User'", id="name-with-a-space"),
        pytest.param({"": "a"}, "cannot be named ''", id="no-name"),
        pytest.param({b"X": "a"}, "cannot be named b'X'", id="name-of-bytes"),
        pytest.param(None, "are a mapping of names to values, not NoneType", id="nothing"),
        pytest.param([("X-User", "1")], "are a mapping of names to values, not list", id="pairs"),
    ],
)
def test_headers_that_cannot_be_sent(extra: Any, says: str) -> None:
    """What a hook returns and HTTP cannot carry is a UsageError that names the header and not its value."""
    with pytest.raises(UsageError, match=says) as caught:
        merged_headers({}, extra)
    assert "X-Other" not in str(caught.value)


@pytest.mark.parametrize("name", ["pool", "client", "transport of httpx"])
async def test_headers_of_the_same_name_are_one(name: str) -> None:
    """The headers of an answer stand under their names in any case, repeated ones joined."""

    async def upstream(_: bytes, __: Mapping[str, str]) -> Answer:
        return 200, {"X-Twice": "1", "x-twice": "2", "X-Once": "\N{LATIN SMALL LETTER AE}"}, b""

    async with FaultServer(upstream) as server, using(TRANSPORTS[name](ssl.create_default_context())) as transport:
        response = await send(transport, server.url)
        assert response.headers["x-twice"] == response.headers["X-TWICE"] == "1, 2"
        assert response.headers["x-once"] == "\u00c3\u00a6"  # sent as UTF-8, read as HTTP says
        await response.aclose()


# --- Transports without a socket --------------------------------------------------------------------------------


async def test_a_mock_transport() -> None:
    """A handler of httpx's MockTransport sees the request, and its response is the answer."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, headers={"X-A": "1"}, content=request.content * 2)

    state = SendState()
    response = await send(httpx.MockTransport(handler), "http://h:1/path?q", b"abc", state)
    assert (response.status, response.headers["x-a"], await body_of(response)) == (202, "1", b"abcabc")
    assert (state.phase, state.sent) == ("reading", True)
    [request] = seen
    assert (request.method, str(request.url), request.headers["host"]) == ("POST", "http://h:1/path?q", "h:1")
    assert request.headers["content-length"] == "3"


async def test_an_asgi_transport() -> None:
    """An ASGI application answers in process."""

    async def app(scope: Any, receive: Any, send_message: Any) -> None:
        body = (await receive())["body"]
        headers = [(b"x-path", scope["path"].encode())]
        await send_message({"type": "http.response.start", "status": 200, "headers": headers})
        await send_message({"type": "http.response.body", "body": body})

    response = await send(httpx.ASGITransport(app), "http://h/path", b"abc")
    assert (response.headers["x-path"], await body_of(response)) == ("/path", b"abc")


async def test_a_transport_that_reports_nothing_may_have_sent() -> None:
    """In front of an ASGI app there are no steps to see: from the start the request may have been applied."""

    async def failing(_: object, __: object, ___: object) -> None:
        raise KeyError

    for transport in (
        httpx.ASGITransport(failing),
        ClientTransport(httpx.AsyncClient(transport=httpx.ASGITransport(failing))),
    ):
        state = SendState()
        with pytest.raises(ConnectionLost, match="KeyError") as caught:
            await send(transport, "http://h/", b"x", state)
        assert (caught.value.applied, state.phase) == ("unknown", "waiting")


async def test_an_abandoned_generator_is_closed() -> None:
    """The body of a foreign transport may be a generator: it is closed with the response, before its stream."""
    events: list[str] = []

    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                yield b"first"
                yield b"second"
            finally:
                events.append("generator")

        async def aclose(self) -> None:
            events.append("stream")
            raise OSError("m")

    response = await send(httpx.MockTransport(lambda _: httpx.Response(200, stream=Stream())), "http://h/")
    assert await response.read() == b"first"
    await response.aclose()
    await response.aclose()
    assert events == ["generator", "stream"]


async def test_closing_is_finished_before_a_cancellation_goes_on() -> None:
    """A caller that is cancelled while it closes a response, even twice, is cancelled when that is done."""
    gate, done = asyncio.Event(), []

    class Stream(httpx.ByteStream):
        async def aclose(self) -> None:
            await gate.wait()
            done.append("closed")

    response = await send(httpx.MockTransport(lambda _: httpx.Response(200, stream=Stream(b""))), "http://h/")
    task = asyncio.create_task(response.aclose())
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["closed"]


async def test_closing_a_sender_closes_its_transport() -> None:
    """The transport goes with the sender."""
    pool = ConnectionPool()
    await Sender(pool).aclose()
    with pytest.raises(ClientClosed):
        await ask(pool, "http://127.0.0.1:1/")


# --- A handed-in client -----------------------------------------------------------------------------------------

CLIENTS: dict[str, Callable[..., Any]] = {"httpx": httpx.AsyncClient, "httpx2": httpx2.AsyncClient}


@pytest.mark.parametrize("library", CLIENTS)
async def test_a_handed_in_client_keeps_its_ways(library: str) -> None:
    """Its headers, cookies and hooks hold; ours win; redirects are not followed; it stays open."""
    hooked = []

    async def hook(request: Any) -> None:
        hooked.append(request.url)

    async with (
        FaultServer() as server,
        CLIENTS[library](
            headers={"X-Gateway": "key", "Content-Type": "wrong"},
            cookies={"sticky": "1"},
            event_hooks={"request": [hook]},
            follow_redirects=True,
        ) as client,
    ):
        transport = ClientTransport(client)
        state = SendState()
        response = await send(transport, server.url + "/x", b"<envelope/>", state)
        assert (response.status, response.headers["content-type"]) == (200, "text/xml")
        assert await body_of(response) == b"<envelope/>"
        server.plan.append("307")
        response = await send(transport, server.url)
        assert response.status == 307
        await response.aclose()
        await transport.aclose()
        assert not client.is_closed
    headers = server.seen[0].headers
    assert (headers["x-gateway"], headers["content-type"], headers["accept-encoding"]) == ("key", "text/xml", "gzip")
    assert headers["cookie"] == "sticky=1"
    assert len(hooked) == len(server.seen) == 2
    assert (state.phase, state.sent) == ("reading", True)


@pytest.mark.parametrize("library", CLIENTS)
async def test_a_closed_client_is_refused(library: str) -> None:
    """A client that its owner closed cannot be used, and the error says whose it is."""
    client = CLIENTS[library]()
    await client.aclose()
    with pytest.raises(ClientClosed, match="handed in is closed"):
        await send(ClientTransport(client), "http://h/")


@pytest.mark.parametrize("library", CLIENTS)
async def test_a_body_that_a_hook_has_read_is_not_lost(library: str) -> None:
    """When the client has decoded a body for a hook of its owner, that is given out as it is."""

    async def hook(response: Any) -> None:
        await response.aread()

    async with FaultServer(fault="gzip") as server, CLIENTS[library](event_hooks={"response": [hook]}) as client:
        response = await send(ClientTransport(client), server.url)
        assert "content-encoding" not in response.headers
        assert await body_of(response) == b"<envelope/>"


@pytest.mark.parametrize("library", CLIENTS)
async def test_a_body_that_a_hook_has_read_in_part(library: str) -> None:
    """When a hook of the client's owner has taken the body away, its connection is closed: nothing stays behind."""

    async def hook(response: Any) -> None:
        hooked.append(response)
        chunks = response.aiter_raw()
        await anext(chunks)
        await chunks.aclose()

    hooked: list[Any] = []
    async with FaultServer(fault="slow-drip") as server, CLIENTS[library](event_hooks={"response": [hook]}) as client:
        with pytest.raises(ConnectionLost, match="ResponseNotRead"):
            await send(ClientTransport(client), server.url)
        assert hooked[0].is_closed
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("library", CLIENTS)
async def test_an_error_of_a_hook_for_the_status_gives_the_response(library: str) -> None:
    """A hook that raises the client's own error for a status does not hide the status."""

    async def hook(response: Any) -> None:
        response.raise_for_status()

    async with FaultServer(fault="503") as server, CLIENTS[library](event_hooks={"response": [hook]}) as client:
        response = await Sender(ClientTransport(client)).send(f"{server.url}/x", [], b"", SendState())
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
        assert await response.read() == b""
        await response.aclose()


@pytest.mark.parametrize("library", CLIENTS)
async def test_any_other_error_of_a_hook_becomes_ours(library: str) -> None:
    """A hook that raises another of the client's own errors does not make it escape."""

    async def hook(_: Any) -> None:
        raise (httpx if library == "httpx" else httpx2).ReadError("no")

    async with FaultServer() as server, CLIENTS[library](event_hooks={"response": [hook]}) as client:
        with pytest.raises(ConnectionLost, match="ReadError"):
            await send(ClientTransport(client), server.url)


@pytest.mark.parametrize("library", CLIENTS)
async def test_it_is_known_when_a_client_has_not_sent(library: str) -> None:
    """Once a host was seen to report its steps, waiting for a connection of the client's pool is known to be unsent."""
    limits = (httpx if library == "httpx" else httpx2).Limits(max_connections=1)
    async with FaultServer() as server, CLIENTS[library](limits=limits, timeout=None) as client:
        sender = Sender(ClientTransport(client))
        response = await sender.send(server.url, [], b"x", SendState())
        state = SendState()
        waiting = asyncio.create_task(sender.send(server.url, [], b"x", state))
        await asyncio.sleep(0)
        assert (state.phase, state.applied) == ("queueing", "no")
        await body_of(response)
        await body_of(await waiting)


@pytest.mark.parametrize("name", [name for name in TRANSPORTS if "pool" not in name])
async def test_leaving_a_body_unread_closes_its_connection(name: str) -> None:
    """A response that is closed before its end takes its connection with it; the next request has another."""
    async with (
        FaultServer(fault="slow-drip") as server,
        using(TRANSPORTS[name](ssl.create_default_context())) as transport,
    ):
        response = await send(transport, server.url)
        assert await response.read() == b" "
        await response.aclose()
        server.choose = lambda: "none"
        assert await ask(transport, server.url) == b"<envelope/>"
    assert server.accepted == 2


class Answered(httpx.AsyncBaseTransport):
    """Reports, as httpcore does, a request over a used connection whose answer was there before the request left."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        """Give `answer` to each request."""
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Report the request without a turn of the event loop, and give the answer."""
        report = request.extensions["trace"]
        await report("http11.send_request_headers.started", {"request": request})
        await report("http11.receive_response_headers.started", {"request": request})
        if isinstance(self._answer, Exception):
            raise self._answer
        await report("http11.receive_response_headers.complete", {})
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(200, content=b"<one/>"), id="a whole answer"),
        pytest.param(httpx.RemoteProtocolError("illegal status line"), id="the rest of an answer"),
    ],
)
async def test_an_answer_that_came_before_its_request(answer: httpx.Response | Exception) -> None:
    """What a used connection still holds answers an earlier request: this one's answer is not known."""
    with pytest.raises(ConnectionLost, match="earlier answer") as caught:
        await ask(Answered(answer), "http://127.0.0.1:9", b"two")
    assert caught.value.applied == "unknown"


@pytest.mark.parametrize("name", ["client", "client of httpx2", "transport of httpx"])
async def test_an_answer_to_an_earlier_request_is_not_taken(name: str) -> None:
    """When a server answers twice, the second answer is not given to the next request.

    A transport that sees it come in time sends the next request over another connection.
    """
    async with FaultServer() as server, using(TRANSPORTS[name](ssl.create_default_context())) as transport:
        server.plan.append("twice")
        assert await ask(transport, server.url, b"one") == b"one"
        try:
            assert await ask(transport, server.url, b"two") == b"two"
        except ConnectionLost as error:
            assert "earlier answer" in str(error)  # noqa: PT017 - the other outcome
            assert error.applied == "unknown"  # noqa: PT017 - likewise
        assert await ask(transport, server.url, b"three") == b"three"


# --- What an error refers to ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_what_the_caller_handles_keeps_its_traceback(name: str, authority: Authority) -> None:
    """A request that fails inside of an `except` block takes nothing from the exception that is handled there."""
    async with (
        FaultServer(fault="refuse") as closed,
        FaultServer(fault="half-body") as broken,
        using(TRANSPORTS[name](authority.client)) as transport,
    ):
        for url, expected in ((closed.url, ConnectFailed), (broken.url, ConnectionLost)):
            handled = None
            try:
                raise KeyError("the caller's")  # noqa: TRY301 - it is about what is handled
            except KeyError as error:
                handled = error
                with pytest.raises(expected):
                    await ask(transport, url)
            assert handled.__traceback__ is not None


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_no_frame_of_the_error_holds_the_envelope(name: str, authority: Authority) -> None:
    """Tracebacks may show locals: neither those of the error nor of its causes hold what was sent."""
    async with (
        FaultServer(fault="reset-after-request") as server,
        using(TRANSPORTS[name](authority.client)) as transport,
    ):
        with pytest.raises(ConnectionLost) as caught:
            await Sender(transport).send(server.url, [(b"X-Secret", b"hunter2")], b"<hunter2/>", SendState())
    frames = [entry.frame for entry in caught.traceback if "soapbatch/transport" in str(entry.path)]
    assert frames
    assert not [frame for frame in frames if "hunter2" in repr(frame.f_locals)]
    link: BaseException | None = caught.value.__cause__
    while link is not None:
        assert link.__traceback__ is None
        link = link.__cause__ or link.__context__
