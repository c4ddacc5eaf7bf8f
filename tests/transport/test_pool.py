"""The transports over real loopback sockets: faults, order, keep-alive, cancellation at every await, proxies, TLS."""

import asyncio
import contextlib
import functools
import itertools
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import pytest
from soapbatch.aiohttp import aiohttp_transport

from soapbatch.errors import ClientClosed, ConnectFailed, ConnectionLost, LimitExceeded, UnreadableResponse, UsageError
from soapbatch.model.limits import Limits
from soapbatch.transport.pool import ConnectionPool
from soapbatch.transport.sending import ClientTransport, HttpReply, HttpRequest, Progress, Transport, decoded
from tests.support.fault_server import FAULTS, Answer, Authority, FaultServer, ProxyServer, echo

T = TypeVar("T")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of whoever runs the tests out of the environment."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A certificate authority for the module."""
    return Authority()


Make = Callable[[ssl.SSLContext], Transport]
TRANSPORTS: list[Any] = [
    pytest.param(lambda verify: ConnectionPool(verify=verify), id="lanes"),
    pytest.param(lambda verify: aiohttp_transport(verify=verify), id="aiohttp"),
    pytest.param(lambda verify: Owning(verify=verify), id="client"),
]


class Owning(ClientTransport):
    """A ClientTransport whose client is closed with it, to stand in a row with the others."""

    def __init__(self, *, verify: ssl.SSLContext) -> None:
        """Make the client."""
        self._owned = httpx.AsyncClient(verify=verify, timeout=None)  # noqa: S113 - the tests have one
        super().__init__(self._owned)

    async def aclose(self) -> None:
        """Close the client."""
        await self._owned.aclose()


@asynccontextmanager
async def using(transport: T) -> AsyncIterator[T]:
    """Close `transport` in the end."""
    try:
        yield transport
    finally:
        await transport.aclose()  # type: ignore[attr-defined] # lanes and other transports


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds; fail if it never does."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it looks at knows nothing of events
            await asyncio.sleep(0.001)


async def read(reply: HttpReply) -> bytes:
    """Read the decoded body of `reply`, and close it."""
    try:
        async with aclosing(decoded(reply, Limits())) as pieces:
            return b"".join([piece async for piece in pieces])
    finally:
        await reply.aclose()


async def ask(transport: Transport, url: str, body: bytes = b"<envelope/>", progress: Progress | None = None) -> bytes:
    """Send `body` and return the body of the answer."""
    request = HttpRequest(url=url, headers={"Content-Type": "text/xml", "SOAPAction": '"act"'}, body=body)
    return await read(await transport.send(request, progress or Progress()))


async def start(transport: Transport, url: str) -> HttpReply:
    """Send a request and return the reply, unread."""
    return await transport.send(HttpRequest(url=url, headers={}, body=b"x"), Progress())


# --- Faults -----------------------------------------------------------------------------------------------------

BODY = b"<envelope>" + b"x" * 2000 + b"</envelope>"
LOST = (ConnectionLost, "unknown")
FAILED = (ConnectFailed, "no")
ANSWERED = (None, "")
UNREADABLE = (UnreadableResponse, "unknown")
# What a request comes to, by fault; everything that is not here is answered.
OUTCOMES: Mapping[str, tuple[type[Exception] | None, str]] = {
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
    "gzip-cut": UNREADABLE,
    "gzip-trailing": UNREADABLE,
    "gzip-bomb": (LimitExceeded, "unknown"),
    "brotli": UNREADABLE,
}
# Without an end of their own: the caller's deadline ends them.
ENDLESS = {"never-answer", "slow-drip"}
# aiohttp's parser reads on behind the answer, and refuses it for what is there.
BY_PARSER = {"length-too-short"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("make", TRANSPORTS)
async def test_every_fault_is_one_of_our_errors_and_is_sent_once(make: Make, fault: str, authority: Authority) -> None:
    """A fault is the error that the table says, the server saw the request at most once, and the next one works."""
    secure = authority if fault.startswith("tls") else None
    async with FaultServer(fault=fault, authority=secure) as server, using(make(authority.client)) as transport:
        expected, applied = OUTCOMES.get(fault, ANSWERED)
        progress = Progress()
        if fault in ENDLESS:
            call = asyncio.create_task(ask(transport, server.url, BODY, progress))
            await until(lambda: progress.phase == ("reading" if fault == "slow-drip" else "waiting"))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert progress.applied == "unknown"
        elif fault in BY_PARSER:
            with contextlib.suppress(ConnectionLost):
                assert await ask(transport, server.url, BODY) == BODY[: len(BODY) // 2]
        elif expected is None:
            await ask(transport, server.url, BODY, progress)
            assert progress.phase == "reading"
        else:
            with pytest.raises(expected) as caught:
                await ask(transport, server.url, BODY, progress)
            assert caught.value.applied == applied  # type: ignore[attr-defined] # ours
        assert server.times("act") <= 1
        if expected is not ConnectFailed:
            server.choose = lambda: "none"
            await until(lambda: all(writer.is_closing() for writer in server.writers) or fault not in CLOSING)
            await recovered(transport, server, fault)


# The server closes the connection, so that the next request needs another: it is waited for that it has.
CLOSING = {"close-keep-alive", "connection-close", "http-1.0"}


async def recovered(transport: Transport, server: FaultServer, fault: str) -> None:
    """Fail unless the next request is answered; one may be spoilt where the server has sent too much."""
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        answer = await ask(transport, server.url, b"next")
    except ConnectionLost:
        assert fault in {"twice", "length-too-short"}
        answer = await ask(transport, server.url, b"next")
    assert answer == b"next"


async def test_a_stale_second_answer_is_noticed_however_late_it_comes() -> None:
    """A second answer that comes while the lane is idle is found when it is to be used: it is closed, not read."""
    async with FaultServer() as server, using(ConnectionPool()) as transport:
        assert await ask(transport, server.url, b"one") == b"one"
        server.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        await asyncio.sleep(0)
        assert await ask(transport, server.url, b"two") == b"two"
    assert server.accepted == 2


@pytest.mark.parametrize("size", [1, 10, 30, 38])
async def test_an_answer_that_comes_twice_and_in_parts(size: int) -> None:
    """An answer whose duplicate has only begun to come when the next request is sent is not taken for that one's."""
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"one")
        writer.write(twice + twice[:size])
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"two")
            writer.write(twice[size:])
        writer.close()

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"two")
        writer.write(twice.replace(b"one", b"two"))
        writer.close()

    turns = iter([serve, then])

    async def serve_in_turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(turns)(reader, writer)

    server = await asyncio.start_server(serve_in_turn, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, using(ConnectionPool()) as transport:
        assert await ask(transport, url, b"one") == b"one"
        assert await ask(transport, url, b"two") == b"two"


async def test_what_comes_just_before_a_request_is_sent() -> None:
    """A connection over which something comes when it was found to be usable is not sent to."""
    async with FaultServer() as server, using(ConnectionPool()) as transport:
        assert await ask(transport, server.url, b"one") == b"one"
        connection: Any = transport._idle[0].connection
        connection.is_usable = lambda: True
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: connection._wire.get_extra_info("is_readable"))
        progress = Progress()
        with pytest.raises(ConnectFailed, match="closed it, or said something unasked") as caught:
            await ask(transport, server.url, b"two", progress)
        assert (caught.value.applied, progress.sent, caught.value.retryable) == ("no", False, True)
    assert [seen.body for seen in server.seen] == [b"one"]


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_an_answer_before_the_request_has_left(is_secure: bool, authority: Authority) -> None:  # noqa: FBT001 - a column
    """Where a server answers a large request without reading it, the rest is not sent, and the next goes elsewhere."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # it is both
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server("none") if is_secure else None)
    url = f"{'https' if is_secure else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, using(ConnectionPool(verify=authority.client)) as transport:
        for number in range(1, 3):
            progress = Progress()
            reply = await transport.send(HttpRequest(url=url, headers={}, body=b"x" * 20_000_000), progress)
            assert (reply.status, progress.phase, len(writers)) == (413, "reading", number)
            await read(reply)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_large_request_and_a_large_answer(authority: Authority) -> None:
    """Megabytes arrive as they are, over TLS as well, whoever is slower."""
    body = bytes(range(256)) * 20_000
    for secure in (None, authority):
        async with FaultServer(authority=secure) as server, using(ConnectionPool(verify=authority.client)) as transport:
            assert await ask(transport, server.url, body) == body
            reply = await transport.send(HttpRequest(url=server.url, headers={}, body=body), Progress())
            await asyncio.sleep(0.05)  # the answer must wait
            assert await read(reply) == body
        assert server.accepted == 1


async def test_aiohttp_gives_no_stale_answer() -> None:
    """With aiohttp, which reads what comes while idle, a second answer is not taken for the next request's."""
    async with FaultServer() as server, using(aiohttp_transport()) as transport:
        assert await ask(transport, server.url, b"one") == b"one"
        server.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        await asyncio.sleep(0.001)
        with pytest.raises(ConnectionLost, match="earlier answer"):
            await ask(transport, server.url, b"two")
        assert await ask(transport, server.url, b"three") == b"three"


async def test_a_connection_that_the_server_has_closed_is_replaced_unnoticed() -> None:
    """Between two requests the server may close: the next goes over a new connection, once, and never gets lost."""
    async with FaultServer(fault="close-keep-alive") as server, using(ConnectionPool()) as transport:
        for number in range(50):
            body = b"%d" % number
            assert await ask(transport, server.url, body) == body
            await until(lambda: server.connections == 0)
    assert [seen.body for seen in server.seen] == [b"%d" % number for number in range(50)]


# --- Order ------------------------------------------------------------------------------------------------------


async def test_idle_lanes_are_taken_last_in_first_out() -> None:
    """The lane that was given back last serves the next request; the others stay idle."""
    async with FaultServer() as server, using(ConnectionPool()) as transport:
        replies = [await start(transport, server.url) for _ in range(3)]
        for reply in replies:
            await read(reply)
        for _ in range(5):
            await ask(transport, server.url)
        assert server.accepted == 3
        server.writers[2].close()
        await until(lambda: server.connections == 2)
        await ask(transport, server.url)
        assert server.accepted == 4


async def test_waiters_are_served_first_in_first_out() -> None:
    """Who waits longest for a lane gets the next one, also when the lane that is freed had to be closed."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=2)) as transport:
        held = [await start(transport, server.url) for _ in range(2)]
        order: list[int] = []

        async def call(number: int) -> None:
            reply = await start(transport, server.url)
            order.append(number)
            await (reply.aclose() if number % 2 else read(reply))

        calls = [asyncio.create_task(call(number)) for number in range(10)]
        await asyncio.sleep(0)
        assert order == []
        await held[0].aclose()
        await until(lambda: len(order) == 10)
        await asyncio.gather(*calls)
        await held[1].aclose()
    assert order == list(range(10))


async def test_no_more_connections_are_open_than_allowed() -> None:
    """However many call at once, no more than max_connections are ever open; and everybody is served."""
    most = 0

    async def upstream(body: bytes, headers: Mapping[str, str]) -> Answer:
        nonlocal most
        most = max(most, server.connections)
        return await echo(body, headers)

    async with FaultServer(upstream) as server, using(ConnectionPool(max_connections=4)) as transport:
        answers = await asyncio.gather(*(ask(transport, server.url, b"%d" % number) for number in range(100)))
    assert answers == [b"%d" % number for number in range(100)]
    assert (most, server.accepted) == (4, 4)


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """A request that is cancelled while it waits was never sent, and leaves nothing in the queue."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as transport:
        held = await start(transport, server.url)
        progress = Progress()
        waiting = asyncio.create_task(ask(transport, server.url, b"never", progress))
        await until(lambda: len(transport._waiters) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (progress.phase, progress.applied) == ("queueing", "no")
        assert not transport._waiters
        await read(held)
        assert await ask(transport, server.url) == b"<envelope/>"
    assert [seen.body for seen in server.seen] == [b"x", b"<envelope/>"]


def cancel_when_served(transport: ConnectionPool, task: asyncio.Task[bytes], *, before: bool = False) -> None:
    """Cancel `task`, once, right after, or right before, somebody who waits is handed a lane."""
    pass_on = transport._pass_on

    def and_cancel(lane: Any) -> None:
        is_due = not task.cancelling()
        if is_due and before:
            task.cancel()
        pass_on(lane)
        if is_due and not before:
            task.cancel()

    transport._pass_on = and_cancel  # type: ignore[method-assign] # that is the point


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("is_clean", [True, False], ids=["a-lane", "the-right-to-open-one"])
async def test_a_cancelled_waiter_passes_on_what_it_was_handed(is_clean: bool, before: bool) -> None:  # noqa: FBT001 - cases
    """A waiter that is cancelled in the moment in which it is served, or is to be, leaves its lane to the next."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as transport:
        held = await start(transport, server.url)
        first, second = (asyncio.create_task(ask(transport, server.url, body)) for body in (b"first", b"second"))
        await until(lambda: len(transport._waiters) == 2)
        if is_clean:
            _ = [chunk async for chunk in held.chunks()]
        cancel_when_served(transport, first, before=before)
        await held.aclose()
        assert await second == b"second"
        with pytest.raises(asyncio.CancelledError):
            await first
    assert [seen.body for seen in server.seen] == [b"x", b"second"]


async def test_lanes_lead_to_one_origin() -> None:
    """A lane is never used for another host or port: it makes room for one that leads there."""
    async with (
        FaultServer() as one,
        FaultServer() as two,
        using(ConnectionPool(max_connections=1)) as transport,
    ):
        assert await ask(transport, one.url, b"1") == b"1"
        assert await ask(transport, two.url, b"2") == b"2"
        await until(lambda: one.connections == 0)
        held = await start(transport, one.url)
        waiting = asyncio.create_task(ask(transport, two.url, b"3"))
        await until(lambda: len(transport._waiters) == 1)
        await read(held)
        assert await waiting == b"3"
        await until(lambda: one.connections == 0)
    assert (len(one.seen), len(two.seen)) == (2, 2)


async def test_the_lane_to_the_same_origin_is_found_among_others() -> None:
    """Among idle lanes to several hosts, the one that leads where the request goes is used."""
    async with FaultServer() as one, FaultServer() as two, using(ConnectionPool()) as transport:
        for server in (one, two, one, two, one):
            assert await ask(transport, server.url) == b"<envelope/>"
    assert (one.accepted, two.accepted) == (1, 1)


# --- Keeping alive, and closing ---------------------------------------------------------------------------------


async def test_an_idle_lane_is_closed_after_its_time() -> None:
    """An idle connection is closed after keep_alive seconds, and nothing waits any more then."""
    async with FaultServer() as server, using(ConnectionPool(keep_alive=0.0)) as transport:
        await ask(transport, server.url)
        await until(lambda: server.connections == 0)
        assert (transport._idle, transport._timer) == ([], None)
        assert await ask(transport, server.url) == b"<envelope/>"
    assert server.accepted == 2


async def test_lanes_are_closed_one_by_one() -> None:
    """Of two idle lanes only the one whose time has come is closed; there is one timer for both."""
    async with FaultServer() as server, using(ConnectionPool(keep_alive=1000.0)) as transport:
        for reply in [await start(transport, server.url) for _ in range(2)]:
            await read(reply)
        transport._idle[0].idle_since -= 1000.0
        transport._expire()
        await until(lambda: server.connections == 1)
        assert len(transport._idle) == 1
        assert transport._timer is not None


async def test_closing_ends_what_waits_and_lets_what_runs_finish() -> None:
    """Closing closes idle lanes, refuses who waits and who comes, and a lane in use when its reply is closed."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=2)) as transport:
        in_use = [await start(transport, server.url) for _ in range(2)]
        waiting = [asyncio.create_task(ask(transport, server.url)) for _ in range(2)]
        await until(lambda: len(transport._waiters) == 2)
        waiting[0].cancel()
        await transport.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        with pytest.raises(ClientClosed):
            await waiting[1]
        with pytest.raises(ClientClosed):
            await ask(transport, server.url)
        assert await read(in_use[0]) == b"x"
        await in_use[1].aclose()
        await in_use[1].aclose()
        await until(lambda: server.connections == 0)
        await transport.aclose()
        assert (transport._in_use, transport._idle, len(transport._waiters)) == (0, [], 0)


async def test_a_waiter_that_is_cancelled_while_all_is_closed() -> None:
    """A waiter that is cancelled after closing has answered it ends as cancelled, and leaves nothing."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as transport:
        held = await start(transport, server.url)
        waiting = asyncio.create_task(ask(transport, server.url))
        await until(lambda: len(transport._waiters) == 1)
        closing = asyncio.create_task(transport.aclose())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await closing
        await held.aclose()
        assert transport._in_use == 0


async def test_a_lane_that_is_handed_on_after_closing_is_closed() -> None:
    """A lane that was handed to a waiter that is cancelled while all is closed does not stay open."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as transport:
        held = await start(transport, server.url)
        waiting = asyncio.create_task(ask(transport, server.url))
        await until(lambda: len(transport._waiters) == 1)
        _ = [chunk async for chunk in held.chunks()]
        cancel_when_served(transport, waiting)
        await held.aclose()
        await transport.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await transport.aclose()
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("make", [ConnectionPool, aiohttp_transport])
async def test_closing_what_was_never_used(make: Callable[[], Transport]) -> None:
    """A transport that was never used needs nothing to be closed, and is closed then."""
    transport = make()
    await transport.aclose()
    with pytest.raises(ClientClosed):
        await ask(transport, "http://127.0.0.1:1/")


@pytest.mark.parametrize("make", [ConnectionPool, aiohttp_transport])
async def test_another_loop_is_refused(make: Callable[[], Transport]) -> None:
    """A transport belongs to the loop of its first request; another is told so."""
    async with FaultServer() as server, using(make()) as transport:
        await ask(transport, server.url)

        def elsewhere() -> None:
            with pytest.raises(UsageError, match="another event loop"):
                asyncio.run(ask(transport, server.url))

        await asyncio.to_thread(elsewhere)
        assert await ask(transport, server.url) == b"<envelope/>"


def test_settings_are_checked() -> None:
    """What cannot work is refused before anything is sent, without repeating a password."""
    with pytest.raises(UsageError, match="max_connections"):
        ConnectionPool(max_connections=0)
    for proxy in ("ftp://user:hunter2@h", "http://user:hunter2@h:port"):
        with pytest.raises(UsageError, match="proxy=") as caught:
            ConnectionPool(proxy=proxy)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("url", ["http://h:99999/", "http://xn--/", "http:///path"])
async def test_a_url_that_leads_nowhere_is_a_usage_error(url: str) -> None:
    """A URL without a host that could be, or without a port that could be, is the caller's mistake."""
    async with using(ConnectionPool()) as transport:
        with pytest.raises(UsageError, match="URL of the service"):
            await ask(transport, url)


async def test_a_name_that_no_host_has() -> None:
    """A host name that breaks the rules for names is as good as one that is not known."""
    async with using(ConnectionPool()) as transport:
        with pytest.raises(ConnectFailed, match="host name is not known"):
            await ask(transport, f"http://{'x' * 64}.example/")


@pytest.mark.parametrize("url", ["ftp://h/", "http://h:port/", "/relative"])
@pytest.mark.parametrize("make", TRANSPORTS)
async def test_a_bad_url_is_a_usage_error(make: Make, url: str) -> None:
    """A URL that HTTP cannot be sent to is the caller's mistake."""
    async with using(make(ssl.create_default_context())) as transport:
        with pytest.raises(UsageError, match="URL of the service"):
            await ask(transport, url)


@pytest.mark.parametrize("make", TRANSPORTS)
async def test_a_bad_header_is_a_usage_error_that_does_not_repeat_it(make: Make) -> None:
    """A header value that HTTP cannot carry is refused, is in no text, and the next request works."""
    async with FaultServer() as server, using(make(ssl.create_default_context())) as transport:
        request = HttpRequest(url=server.url, headers={"Authorization": "Basic hunter2\r\n\r\n"}, body=b"x")
        with pytest.raises(UsageError) as caught:
            await transport.send(request, Progress())
        assert caught.value.applied == "no"
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert await ask(transport, server.url) == b"<envelope/>"
    assert len(server.seen) == 1


@pytest.mark.parametrize("headers", [{}, {"HOST": "elsewhere", "content-length": "1"}], ids=["added", "brought"])
async def test_what_http_needs_is_in_the_headers_once(headers: dict[str, str]) -> None:
    """Host and Content-Length are added, unless the request brings them."""
    async with FaultServer() as server, using(ConnectionPool()) as transport:
        assert (
            await read(await transport.send(HttpRequest(url=server.url, headers=headers, body=b"x"), Progress()))
            == b"x"
        )
    [seen] = server.seen
    host = headers.get("HOST", server.url.removeprefix("http://"))
    assert (seen.headers["host"], seen.headers["content-length"]) == (host, "1")


async def test_headers_of_the_same_name_are_one() -> None:
    """The headers of an answer stand under their lower-case names, repeated ones joined."""

    async def upstream(_: bytes, __: Mapping[str, str]) -> Answer:
        return 200, {"X-Twice": "1", "x-twice": "2", "X-Once": "\N{LATIN SMALL LETTER AE}"}, b""

    async with FaultServer(upstream) as server, using(ConnectionPool()) as transport:
        reply = await start(transport, server.url)
        assert (reply.headers["x-twice"], reply.headers["x-once"]) == (
            "1, 2",
            "\u00c3\u00a6",
        )  # sent as UTF-8, read as HTTP says
        await reply.aclose()


async def test_aiohttp_is_opened_once_and_not_after_closing() -> None:
    """Requests that come while the certificates are read share what is opened then; after closing nothing is."""
    async with FaultServer() as server:
        async with using(aiohttp_transport()) as transport:
            assert await asyncio.gather(*(ask(transport, server.url) for _ in range(2))) == [b"<envelope/>"] * 2
        transport = aiohttp_transport()
        late = asyncio.create_task(ask(transport, server.url))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(ClientClosed):
            await late


def test_aiohttp_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says what to install."""
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(UsageError, match=r'pip install "soapbatch\[aiohttp\]"'):
        aiohttp_transport()


# --- Proxies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ConnectionPool, aiohttp_transport])
@pytest.mark.parametrize("way", ["argument", "environment", "bypassed", "not-trusted"])
async def test_proxies_hold_as_they_do_for_httpx(
    way: str, make: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy is used by argument or by environment, unless NO_PROXY or trust_env=False say otherwise."""
    async with ProxyServer() as proxy, FaultServer() as server:
        url = f"http://user:hunter2@{proxy.host}"
        if way != "argument":
            monkeypatch.setenv("HTTP_PROXY", url)
        if way == "bypassed":
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        by_way: dict[str, dict[str, Any]] = {"argument": {"proxy": url}, "not-trusted": {"trust_env": False}}
        options = by_way.get(way, {})
        async with using(make(**options)) as transport:
            for body in (b"one", b"two"):
                assert await ask(transport, server.url + "/path", body) == body
    if way in {"argument", "environment"}:
        assert proxy.seen[0] == f"POST {server.url}/path HTTP/1.1"
        assert "proxy-authorization: basic" in proxy.heads[0].lower()
    else:
        assert proxy.seen == []
    assert [seen.body for seen in server.seen] == [b"one", b"two"]


@pytest.mark.parametrize("make", [ConnectionPool, aiohttp_transport])
async def test_https_goes_through_a_tunnel(make: Callable[..., Transport], authority: Authority) -> None:
    """Behind a proxy, https is a tunnel to the server, whose certificate is checked; the proxy sees no request."""
    async with ProxyServer() as proxy, FaultServer(authority=authority) as server:
        async with using(make(proxy=f"http://{proxy.host}", verify=authority.client)) as transport:
            for body in (b"one", b"two"):
                assert await ask(transport, server.url, body) == body
        assert proxy.seen == [f"CONNECT {server.url.removeprefix('https://')} HTTP/1.1"]


async def test_a_stale_answer_through_a_proxy() -> None:
    """An answer that a proxy passes on twice is not taken for the next request's."""
    async with (
        ProxyServer() as proxy,
        FaultServer(fault="twice") as server,
        using(ConnectionPool(proxy=f"http://{proxy.host}")) as transport,
    ):
        assert await ask(transport, server.url, b"one") == b"one"
        with pytest.raises(ConnectionLost, match="earlier answer"):
            await ask(transport, server.url, b"two")
        server.choose = lambda: "none"
        assert await ask(transport, server.url, b"three") == b"three"


@pytest.mark.parametrize("make", [ConnectionPool, aiohttp_transport])
async def test_a_proxy_that_refuses_has_sent_nothing(make: Callable[..., Transport]) -> None:
    """A proxy that wants a password is named in the error; nothing was sent."""
    progress = Progress()
    async with (
        ProxyServer(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as proxy,
        using(make(proxy=f"http://user:hunter2@{proxy.host}", verify=False)) as transport,
    ):
        with pytest.raises(ConnectFailed, match=r"proxy did not connect.*407") as caught:
            await ask(transport, "https://127.0.0.1:9/", progress=progress)
    assert (caught.value.applied, progress.sent) == ("no", False)
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


async def test_a_proxy_setting_that_cannot_be_used_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of an unknown kind in the environment is told as such, and nothing stays behind."""
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:70")
    async with using(ConnectionPool()) as transport:
        with pytest.raises(UsageError, match="ALL_PROXY"):
            await ask(transport, "http://127.0.0.1:9/")
        assert transport._in_use == 0


# --- TLS --------------------------------------------------------------------------------------------------------


async def test_a_plain_server_behind_https_is_told(authority: Authority) -> None:
    """A port that does not speak TLS is named as that."""

    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, using(ConnectionPool(verify=authority.client)) as transport:
        with pytest.raises(ConnectFailed, match="check that this port speaks https") as caught:
            await ask(transport, url)
        assert caught.value.applied == "no"


async def test_a_server_that_closes_during_the_handshake(authority: Authority) -> None:
    """A port that takes a connection and closes it is told as a failure of TLS."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, using(ConnectionPool(verify=authority.client)) as transport:
        with pytest.raises(ConnectFailed, match=r"TLS failed \(closed during the handshake\); check that this port"):
            await ask(transport, url)


async def test_http_1_is_agreed_on_whatever_the_context_offers(authority: Authority) -> None:
    """A TLS context that offers HTTP/2 as well is made to offer HTTP/1.1, which is spoken."""
    agreed: list[str | None] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agreed.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.close()

    context = authority.server("none")
    context.set_alpn_protocols(["h2", "http/1.1"])
    verify = Authority().client
    verify.load_verify_locations(cadata=authority.pem)
    verify.set_alpn_protocols(["h2", "http/1.1"])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, using(ConnectionPool(verify=verify)) as transport:
        with pytest.raises(ConnectionLost):
            await ask(transport, url)
    assert agreed == ["http/1.1"]


async def test_the_certificates_are_read_once_and_not_in_the_loop(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TLS context is made in a thread when the first https lane needs it, and shared."""
    made = []

    def make(**_: object) -> ssl.SSLContext:
        made.append(threading.current_thread())
        return authority.client

    monkeypatch.setattr(httpx, "create_ssl_context", make)
    async with FaultServer(authority=authority) as server, using(ConnectionPool()) as transport:
        assert made == []
        await asyncio.gather(*(ask(transport, server.url) for _ in range(5)))
        await ask(transport, server.url)
    assert len(made) == 1
    assert made[0] is not threading.main_thread()


async def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_FILE that names no file is a UsageError, each time; a request that gave up meanwhile is no matter."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    async with using(ConnectionPool()) as transport:
        for _ in range(2):
            gone = asyncio.create_task(ask(transport, "https://127.0.0.1:9/"))
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(UsageError, match="SSL_CERT_FILE"):
                await ask(transport, "https://127.0.0.1:9/")
            with pytest.raises(asyncio.CancelledError):
                await gone
        assert transport._in_use == 0


async def test_certificates_need_not_be_checked(authority: Authority) -> None:
    """verify=False accepts whatever the server shows: for tests."""
    async with (
        FaultServer(fault="tls-expired", authority=authority) as server,
        using(ConnectionPool(verify=False)) as transport,
    ):
        assert await ask(transport, server.url) == b"<envelope/>"


# --- Cancellation -----------------------------------------------------------------------------------------------


class Steps(Generic[T]):
    """Awaits something, counts where it is suspended, and cancels the task at chosen places.

    Attributes:
        count: how often it was suspended.
    """

    def __init__(self, work: Awaitable[T], cancel_at: set[int]) -> None:
        """Cancel at each suspension whose number, from 1, is in `cancel_at`."""
        self._work = work
        self._cancel_at = cancel_at
        self.count = 0

    def __await__(self) -> Generator[Any, None, T]:
        """Await the work."""
        task = asyncio.current_task()
        assert task is not None
        steps: Any = self._work.__await__()
        step = functools.partial(steps.send, None)
        while True:
            try:
                waited = step()
            except StopIteration as end:
                result: T = end.value
                return result
            self.count += 1
            if self.count in self._cancel_at:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - passed on
                step = functools.partial(steps.throw, error)
            else:
                step = functools.partial(steps.send, None)


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc to count sockets")
    count = 0
    for entry in folder.iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


PROBES = itertools.count()
CANCELLED = b"cancelled"
# How often all awaits are gone through: some 2,000 cancellations in all. Handshakes take their time.
ROUNDS = {("http", "fresh"): 25, ("http", "kept"): 25, ("https", "fresh"): 3, ("https", "kept"): 12}


async def sweep(transport: Transport, url: str, *, times: int, refresh: Callable[[], Awaitable[None]]) -> int:
    """Cancel an exchange at its first await, at its second, ... until it is too late; return how often it was.

    Each cancellation comes `times` times: the second and third meet the clean-up of the first. After each, another
    request is answered.
    """
    for at in range(1, 1000):
        await refresh()
        steps = Steps(ask(transport, url, CANCELLED), set(range(at, at + times)))

        async def run(steps: Steps[bytes] = steps) -> bytes:
            return await steps

        task = asyncio.create_task(run())
        await asyncio.wait([task])
        if not task.cancelled():
            assert task.result() == CANCELLED
            if steps.count < at:
                return at - 1
        probe = b"%d" % next(PROBES)
        async with asyncio.timeout(20):
            assert await ask(transport, url, probe) == probe
    raise AssertionError


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("state", ["fresh", "kept"])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda verify: ConnectionPool(verify=verify, max_connections=1), id="lanes"),
        pytest.param(lambda verify: aiohttp_transport(verify=verify, max_connections=2), id="aiohttp"),
    ],
)
async def test_cancelling_at_any_await_leaves_nothing(
    make: Make, state: str, scheme: str, times: int, authority: Authority
) -> None:
    """A request that is cancelled at any of its awaits leaves no socket, task, lane or waiter, and the next works."""
    before, tasks = open_sockets(), asyncio.all_tasks()
    async with FaultServer(authority=authority if scheme == "https" else None) as server:
        listening, serving = open_sockets(), asyncio.all_tasks()
        total = 0
        transport = make(authority.client)

        async def refresh() -> None:
            nonlocal transport
            if state == "fresh":
                await transport.aclose()
                transport = make(authority.client)

        for _ in range(ROUNDS[scheme, state]):
            total += await sweep(Current(lambda: transport), server.url, times=times, refresh=refresh)
        if isinstance(transport, ConnectionPool):
            assert (transport._in_use, len(transport._waiters), len(transport._idle)) == (0, 0, 1)
        await transport.aclose()
        await until(lambda: server.connections == 0 and open_sockets() <= listening)
        await until(lambda: asyncio.all_tasks() <= serving)
        probes = [seen.body for seen in server.seen if seen.is_complete and seen.body != CANCELLED]
        assert len(probes) == len(set(probes)) >= total > 0
    await until(lambda: open_sockets() <= before and asyncio.all_tasks() <= tasks)


class Current:
    """The transport of the moment."""

    def __init__(self, get: Callable[[], Transport]) -> None:
        """Send through what `get` returns."""
        self._get = get

    async def send(self, request: HttpRequest, progress: Progress) -> HttpReply:
        """Send."""
        return await self._get().send(request, progress)

    async def aclose(self) -> None:
        """Close."""
        await self._get().aclose()


async def test_many_cancelled_among_many_spoil_nothing() -> None:
    """Of hundreds of requests on a few lanes every third is cancelled somewhere; all others are answered, once."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=4)) as transport:

        async def call(number: int) -> bytes:
            return await Steps(ask(transport, server.url, b"%d" % number), {number % 40} if number % 3 == 0 else set())

        results = await asyncio.gather(*(call(number) for number in range(600)), return_exceptions=True)
        assert transport._in_use == len(transport._waiters) == 0
        assert len(transport._idle) <= 4
    for number, result in enumerate(results):
        assert result == b"%d" % number or (number % 3 == 0 and isinstance(result, asyncio.CancelledError))
    bodies = [seen.body for seen in server.seen if seen.is_complete]
    assert len(bodies) == len(set(bodies))


async def test_leaving_a_body_at_its_beginning_leaves_nothing() -> None:
    """A reply that is closed when only some of its body was read frees its lane and closes its connection."""
    async with FaultServer(fault="slow-drip") as server, using(ConnectionPool(max_connections=1)) as transport:
        for _ in range(20):
            reply = await start(transport, server.url)
            assert await anext(reply.chunks()) == b" "
            await reply.aclose()
        await until(lambda: server.connections == 0)
        assert (transport._in_use, transport._idle) == (0, [])
