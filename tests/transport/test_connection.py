"""One HTTP/1.1 connection: what counts as an answer, to which request, and when the connection may serve another."""

import asyncio
import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from soapbatch import Client
from soapbatch.errors import ConnectFailed, ConnectionLost, ProtocolError, SoapBatchError, UsageError
from soapbatch.transport import ConnectionPool, Sender, SendState
from soapbatch.transport.connection import TlsContext, origin_of
from soapbatch.transport.socket_stream import SocketStream
from tests.support.fault_server import Authority, FaultServer
from tests.support.transports import TRANSPORTS, ask, body_of, send, until, using

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(*serves: Serve, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve the first connection by the first function, and so on; yield the URL."""
    turns = iter(serves)
    tasks: set[asyncio.Task[object]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError):
                await next(turns)(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=ssl_context)
    async with server:
        yield f"{'http' if ssl_context is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def answering(*answers: bytes, close: bool = False) -> Serve:
    """Return what answers each request of a connection in turn, and then waits, or closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"<envelope/>")
            writer.write(answer)
        if not close:
            await reader.read()

    return serve


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# --- Whose answer it is -----------------------------------------------------------------------------------------


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

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"two")
        writer.write(twice.replace(b"one", b"two"))

    async with serving(serve, then) as url, using(ConnectionPool()) as pool:
        assert await ask(pool, url, b"one") == b"one"
        assert await ask(pool, url, b"two") == b"two"


@pytest.mark.parametrize("pause", [0, 1, 2, 5])
async def test_surplus_bytes_that_come_later(pause: int) -> None:
    """Whenever the end of a too long answer arrives, it is not read as the beginning of the next one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"<envelope/>")
        writer.write(OK)
        for _ in range(pause):
            await asyncio.sleep(0)
        writer.write(OK)
        await reader.read()

    async with serving(serve, answering(OK)) as url, using(ConnectionPool()) as pool:
        assert await ask(pool, url) == b"ok"
        for _ in range(pause + 3):
            await asyncio.sleep(0)
        assert await ask(pool, url) == b"ok"


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_an_answer_before_the_request_has_left(is_secure: bool, authority: Authority) -> None:  # noqa: FBT001 - a column
    """Where a server answers a large request without reading it, the rest is not sent, and the next goes elsewhere."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # it is both
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(10)

    context = authority.server("none") if is_secure else None
    async with (
        serving(serve, serve, ssl_context=context) as url,
        using(ConnectionPool(verify=authority.client)) as pool,
    ):
        for number in range(1, 3):
            state = SendState()
            response = await send(pool, url, b"x" * 20_000_000, state)
            assert (response.status, state.phase, len(writers)) == (413, "reading", number)
            await body_of(response)
            assert pool._idle == []


async def test_a_large_request_and_a_large_answer(authority: Authority) -> None:
    """Megabytes arrive as they are, over TLS as well, whoever is slower."""
    body = bytes(range(256)) * 20_000
    for secure in (None, authority):
        async with FaultServer(authority=secure) as server, using(ConnectionPool(verify=authority.client)) as pool:
            assert await ask(pool, server.url, body) == body
            response = await send(pool, server.url, body)
            await asyncio.sleep(0.05)  # the answer must wait
            assert await body_of(response) == body
        assert server.accepted == 1


# --- What counts as an answer -----------------------------------------------------------------------------------


LINES = b"\n" * 60_000


@pytest.mark.parametrize(
    ("answer", "body", "is_kept"),
    [
        pytest.param(OK, b"ok", True, id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True, id="empty"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, id="no-content"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True, id="chunked"
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK, b"ok", True, id="informed"),
        pytest.param(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), b"ok", False, id="connection-close"),
        pytest.param(OK.replace(b"\r\n", b"\r\n" + b"X: y\r\n" * 990, 1), b"ok", True, id="many-lines"),
        pytest.param(OK.replace(b"\r\n", b"\r\nX: " + b"y" * 90_000 + b"\r\n", 1), b"ok", True, id="a-long-line"),
        pytest.param(OK.replace(b"2\r\n\r\nok", b"60000\r\n\r\n" + LINES), LINES, True, id="lines-in-the-body"),
        pytest.param(OK.replace(b"1.1", b"1.0"), b"ok", False, id="http-1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nok", b"ok", False, id="until-the-end"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nok", b"ok", False, id="http-1.0-until-the-end"),
        pytest.param(OK + b"surplus", b"ok", False, id="surplus"),
        pytest.param(OK.replace(b"\r\n", b"\n"), b"ok", True, id="bare-line-feeds"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", True, id="no-reason"),
    ],
)
async def test_what_an_answer_is(answer: bytes, body: bytes, is_kept: bool) -> None:  # noqa: FBT001 - a column
    """An answer is read to its end, however it is framed; the connection is kept if it may serve another request."""
    # Without a length, the end of the connection is the end of the answer.
    once = answering(answer, close=not is_kept)
    serves = [answering(answer, answer)] if is_kept else [once, once]
    async with serving(*serves) as url, using(ConnectionPool()) as pool:
        for _ in range(2):
            assert await ask(pool, url) == body
            assert len(pool._idle) == is_kept


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(OK.replace(b"\r\n", b"\r\nwords of some plugin\r\n", 1), "illegal header line", id="no-colon"),
        pytest.param(OK.replace(b"\r\n", b"\r\nServer : x\r\n", 1), "illegal header line", id="space-before-colon"),
        pytest.param(OK.replace(b"\r\n", b"\r\nContent-Length: 3\r\n", 1), "conflicting Content-Length", id="lengths"),
        pytest.param(
            OK.replace(b"\r\n", b"\r\nTransfer-Encoding: identity\r\n", 1),
            "Only Transfer-Encoding: chunked is supported",
            id="coding",
        ),
        pytest.param(
            OK.replace(b"\r\n", b"\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 1),
            "multiple Transfer-Encoding headers",
            id="codings",
        ),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", "illegal status line", id="no-status"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", "without a pending proposal", id="switched-unasked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "Receive buffer too long", id="endless"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X:\r\n" * 20_000 + b"\r\n", "too many header lines", id="many-lines"),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n" + b"X:\r\n" * 5000 + b"\r\n",
            "too many header lines",
            id="many-lines-behind-another",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.7\r\n", "illegal status line", id="banner"),
        pytest.param(b"\r\n" + OK, "illegal status line", id="blank-line-first"),
        pytest.param(b"H", None, id="beginning"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", None, id="half"),
    ],
)
async def test_a_head_that_is_not_http(answer: bytes, says: str | None) -> None:
    """A head that cannot be read is a ProtocolError in the parser's words, as soon as that is certain."""
    async with (
        serving(answering(answer, close=says is None), answering(OK)) as url,
        using(ConnectionPool()) as pool,
    ):
        with pytest.raises(SoapBatchError, match=says or "Server disconnected") as caught:
            await ask(pool, url)
        assert type(caught.value) is (ConnectionLost if says is None else ProtocolError)
        assert (caught.value.applied, caught.value.retryable) == ("unknown", says is None)
        assert "plugin" not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert (pool._in_use, pool._idle) == (0, [])
        assert await ask(pool, url) == b"ok"


@pytest.mark.parametrize(("length", "is_read"), [(100 * 1024, True), (100 * 1024 + 1, False)])
async def test_the_longest_head(length: int, is_read: bool) -> None:  # noqa: FBT001 - a case
    """As long as a head has no end, 100 KiB of it are held, and not a byte more."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: "
    head += b"x" * (length - len(head))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"<envelope/>")
        writer.write(head)
        await asyncio.sleep(0.1)
        writer.write(b"\r\n\r\nok")
        await reader.read()

    async with serving(serve) as url, using(ConnectionPool()) as pool:
        if is_read:
            assert await ask(pool, url) == b"ok"
        else:
            with pytest.raises(ProtocolError, match="Receive buffer too long"):
                await ask(pool, url)


async def test_a_later_head_that_is_not_http() -> None:
    """Each head is looked at from its first byte on, also of a connection that has served before."""
    async with serving(answering(OK, b"SSH-2.0-OpenSSH_9.7\r\n")) as url, using(ConnectionPool()) as pool:
        assert await ask(pool, url) == b"ok"
        with pytest.raises(ProtocolError, match="illegal status line"):
            await ask(pool, url)


async def test_a_head_that_comes_a_byte_at_a_time() -> None:
    """The beginning of an answer may be cut anywhere."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"<envelope/>")
        for at in range(len(OK)):
            writer.write(OK[at : at + 1])
            await asyncio.sleep(0.001)

    async with serving(serve) as url, using(ConnectionPool()) as pool:
        assert await ask(pool, url) == b"ok"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body", "least"),
    [
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + OK, b"ok", 5000, id="informational"),
        pytest.param(CHUNKED + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n", b"x" * 10_000, 300, id="tiny-chunks"),
        pytest.param(CHUNKED + b"5000\r\n" + b"x" * 20_480 + b"\r\n0\r\n\r\n", b"x" * 20_480, 1, id="one-chunk"),
    ],
)
async def test_other_tasks_run_while_an_answer_is_read(answer: bytes, body: bytes, least: int) -> None:
    """A server that sends thousands of small parts at once does not keep the event loop to itself."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with serving(answering(answer)) as url, using(ConnectionPool()) as pool:
        counting = asyncio.create_task(count())
        assert await ask(pool, url) == body
        counting.cancel()
    assert turns >= least


async def test_a_banner_that_comes_a_byte_at_a_time() -> None:
    """It is refused at the first byte that no answer has in this place, although the server keeps the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"<envelope/>")
        for byte in (b"H", b"T", b"X"):
            writer.write(byte)
            await asyncio.sleep(0.001)
        await reader.read()

    async with serving(serve) as url, using(ConnectionPool()) as pool, asyncio.timeout(5):
        with pytest.raises(ProtocolError, match="illegal status line"):
            await ask(pool, url)


async def test_a_server_that_switches_to_another_protocol() -> None:
    """A switch that a header asked for is refused: nobody here speaks another protocol."""
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    headers = [(b"Upgrade", b"websocket"), (b"Connection", b"upgrade")]
    async with serving(answering(switched)) as url, using(ConnectionPool()) as pool:
        with pytest.raises(ProtocolError, match="switches to another protocol"):
            await Sender(pool).send(url, headers, b"<envelope/>", SendState())


@pytest.mark.parametrize("name", ["pool", "client", "client of httpx2", "transport of httpx"])
async def test_plain_http_to_a_tls_port(name: str, authority: Authority) -> None:
    """A port that answers with an alert of TLS is named as that, with what to do."""
    alert = b"\x15\x03\x03\x00\x02\x02\x46"
    async with serving(answering(alert)) as url, using(TRANSPORTS[name](authority.client)) as transport:
        with pytest.raises(ProtocolError, match="speaks TLS: give a base URL that starts with https://"):
            await ask(transport, url)


@pytest.mark.parametrize("name", ["pool", "client", "client of httpx2", "transport of httpx"])
async def test_a_port_that_has_never_answered(name: str, authority: Authority) -> None:
    """A TLS port may close the connection without an alert: the error says what may be wrong, until an answer came."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"<envelope/>")
        writer.close()

    async with serving(close, answering(OK), close) as url, using(TRANSPORTS[name](authority.client)) as transport:
        sender = Sender(transport)
        with pytest.raises(ConnectionLost, match="if this port speaks TLS, give a base URL that starts with https://"):
            await sender.send(url, [], b"<envelope/>", SendState())
        response = await sender.send(url, [(b"Connection", b"close")], b"<envelope/>", SendState())
        assert await body_of(response) == b"ok"
        with pytest.raises(ConnectionLost) as caught:
            await sender.send(url, [], b"<envelope/>", SendState())
        assert "TLS" not in str(caught.value)


async def test_a_server_that_refuses_the_client_before_the_request_leaves(authority: Authority) -> None:
    """In TLS 1.3 its alert may be there when the request is to be sent: it is read, and nothing is sent."""
    context = authority.server("none")
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(5)
    refused = threading.Event()

    def serve() -> None:
        with listening.accept()[0] as plain, contextlib.suppress(ssl.SSLError):
            plain.settimeout(5)
            context.wrap_socket(plain, server_side=True).recv(1)  # closed with bytes unread, it resets the connection
        refused.set()

    serving_thread = threading.Thread(target=serve)
    serving_thread.start()
    stream = SocketStream()
    await stream.connect("127.0.0.1", listening.getsockname()[1])
    await stream.start_tls("127.0.0.1", authority.client)
    assert refused.wait(5)  # the event loop reads nothing meanwhile
    state = SendState()
    with pytest.raises(httpx.ConnectError) as caught:
        await stream.send(b"request", state)
    assert not state.sent
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert caught.value.__cause__.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    serving_thread.join()
    listening.close()


async def test_https_to_a_plain_port(authority: Authority) -> None:
    """A port that does not speak TLS is named as that, with what to do."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with serving(serve) as url, using(ConnectionPool(verify=authority.client)) as pool:
        with pytest.raises(ConnectFailed, match="check that this port speaks https") as caught:
            await ask(pool, url.replace("http", "https"))
    assert "give a base URL that starts with http://" in str(caught.value)
    assert caught.value.applied == "no"


# --- What is asked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://h:99999/", "http://xn--/", "http:///path"])
async def test_a_url_that_leads_nowhere_is_a_usage_error(url: str) -> None:
    """A URL without a host that could be, or without a port that could be, is the caller's mistake."""
    async with using(ConnectionPool()) as pool:
        with pytest.raises(UsageError, match="URL of the service"):
            await ask(pool, url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/", (b"http", b"h", 80)),
        ("https://H:443/x", (b"https", b"h", 443)),
        ("https://[::1]:65535/", (b"https", b"::1", 65535)),
        ("http://xn--bcher-kva.example/", (b"http", b"xn--bcher-kva.example", 80)),
        ("http://h:65536/", None),
        ("ftp://h/", None),
    ],
)
def test_the_origin_of_a_url(url: str, expected: object) -> None:
    """Requests to one scheme, host and port may share connections."""
    if expected is None:
        with pytest.raises((httpx.InvalidURL, httpx.UnsupportedProtocol)):
            origin_of(httpx.URL(url))
    else:
        assert origin_of(httpx.URL(url)) == expected


async def test_a_request_that_closes_its_connection() -> None:
    """A header of the request may say that the connection is closed, whatever the server makes of that."""
    async with serving(answering(OK), answering(OK)) as url, using(ConnectionPool()) as pool:
        for _ in range(2):
            response = await Sender(pool).send(url, [(b"Connection", b"close")], b"<envelope/>", SendState())
            assert await body_of(response) == b"ok"
            assert pool._idle == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("name", ["pool", "client", "transport of httpx"])
async def test_a_server_that_wants_a_client_certificate(
    name: str, version: ssl.TLSVersion, authority: Authority
) -> None:
    """The error says so. In TLS 1.3 the request may have left by then, but the server has not read it."""
    context = authority.server("none")
    context.verify_mode, context.minimum_version, context.maximum_version = ssl.CERT_REQUIRED, version, version
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(5)

    def serve() -> None:
        secure = context.wrap_socket(listening.accept()[0], server_side=True, do_handshake_on_connect=False)
        secure.settimeout(5)
        with contextlib.suppress(ssl.SSLError):
            secure.do_handshake()
        with socket.socket(fileno=secure.detach()) as plain:  # closed with bytes unread, it would reset the connection
            plain.settimeout(5)
            while plain.recv(1000):
                pass

    serving_thread = threading.Thread(target=serve)
    serving_thread.start()
    async with using(TRANSPORTS[name](authority.client)) as transport:
        with pytest.raises(ConnectFailed, match=r"wants? a client certificate; give one:") as caught:
            await ask(transport, f"https://127.0.0.1:{listening.getsockname()[1]}")
    assert caught.value.applied == "no"
    assert caught.value.retryable == (version is ssl.TLSVersion.TLSv1_2)
    await asyncio.to_thread(serving_thread.join)
    listening.close()


async def test_a_request_without_a_body_and_a_response_without_one() -> None:
    """Methods of somebody's httpx client are sent as they are."""
    async with (
        serving(answering_head(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")) as url,
        httpx.AsyncClient(transport=ConnectionPool()) as client,
    ):
        response = await client.head(url)
        assert (response.status_code, response.headers["content-length"], response.content) == (200, "1000", b"")


def answering_head(answer: bytes) -> Serve:
    """Return what answers a request that has no body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    return serve


async def test_the_response_of_a_closed_stream_stays_closed() -> None:
    """Nothing is read from a body that was closed: the connection may serve another request."""
    async with FaultServer(fault="slow-drip") as server, using(ConnectionPool()) as pool:
        response = await pool.handle_async_request(httpx.Request("POST", server.url, content=b"x"))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)
        assert await anext(pieces) == b" "
        await response.stream.aclose()
        with pytest.raises(httpx.StreamClosed):
            await anext(pieces)


# --- TLS contexts -----------------------------------------------------------------------------------------------


async def test_the_certificates_are_read_once_and_not_in_the_loop(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TLS context is made in a thread when the first https connection needs it, and shared."""
    made = []

    def make(**_: object) -> ssl.SSLContext:
        made.append(threading.current_thread())
        return authority.client

    monkeypatch.setattr(httpx, "create_ssl_context", make)
    async with FaultServer(authority=authority) as server, using(ConnectionPool()) as pool:
        assert made == []
        await asyncio.gather(*(ask(pool, server.url) for _ in range(5)))
        await ask(pool, server.url)
    assert len(made) == 1
    assert made[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("SSL_CERT_FILE", "the CA certificates cannot be read; check SSL_CERT_FILE and SSL_CERT_DIR$"),
        ("SSLKEYLOGFILE", "SSLKEYLOGFILE names a file that cannot be written"),
    ],
)
async def test_certificates_that_cannot_be_read(
    variable: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A setting that names no file is a UsageError, each time; a request that gave up meanwhile is no matter."""
    monkeypatch.setenv(variable, str(tmp_path / "missing" / "missing.pem"))
    async with using(ConnectionPool()) as pool:
        for _ in range(2):
            gone = asyncio.create_task(ask(pool, "https://127.0.0.1:9/"))
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(UsageError, match=message):
                await ask(pool, "https://127.0.0.1:9/")
            with pytest.raises(asyncio.CancelledError):
                await gone
        assert pool._in_use == 0


@pytest.mark.filterwarnings("ignore:verify=False:RuntimeWarning")
async def test_certificates_need_not_be_checked(authority: Authority) -> None:
    """verify=False accepts whatever the server shows: for tests."""
    async with (
        FaultServer(fault="tls-expired", authority=authority) as server,
        using(ConnectionPool(verify=False)) as pool,
    ):
        assert await ask(pool, server.url) == b"<envelope/>"


def test_accepting_every_certificate_warns_once() -> None:
    """A pool and a client that check no certificate warn once; the warning of a pool names the line that makes it."""
    for make in (lambda: ConnectionPool(verify=False), lambda: Client("https://h", verify=False)):
        with pytest.warns(RuntimeWarning, match="verify=False accepts forged certificates") as caught:
            make()
        assert len(caught) == 1
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(5):
            ConnectionPool(verify=False)
        ConnectionPool()
        ConnectionPool(verify=ssl.create_default_context())
    assert [warning.filename for warning in shown] == [__file__]


async def test_a_context_that_is_given_is_used() -> None:
    """Nothing is read or made for a context that is there."""
    context = ssl.create_default_context()
    assert await TlsContext(context, trust_env=True).get() is context


async def test_the_server_sees_what_is_idle_go() -> None:
    """A connection whose server has gone is not used again, and is closed at its next use."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        await ask(pool, server.url)
        server.writers[0].close()
        await until(lambda: server.connections == 0)
        await ask(pool, server.url)
        assert server.accepted == 2
