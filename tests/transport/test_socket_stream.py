"""One connected socket: connecting, TLS, sending no more than is read, reading no more than is wanted."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from soapbatch.errors import ConnectFailed, ConnectionLost
from soapbatch.transport import ConnectionPool, SendState
from soapbatch.transport.socket_stream import SocketStream
from tests.support.fault_server import Authority, FaultServer, reset
from tests.support.transports import ask, until, using


class Peer:
    """A server that does nothing by itself.

    Attributes:
        port: where it listens.
        readers, writers: of each connection.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """Listen, with TLS if there is a `context`."""
        self._context = context
        self.readers: list[asyncio.StreamReader] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[SocketStream]:
        """Yield a stream that is connected to it; close both in the end."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.readers.append(reader)
            self.writers.append(writer)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        stream = SocketStream()
        async with server:
            try:
                await stream.connect("127.0.0.1", self.port)
                yield stream
            finally:
                await stream.aclose()
                await until(lambda: self.writers)
                for writer in self.writers:
                    writer.transport.abort()
                await asyncio.sleep(0)


async def all_of(stream: SocketStream, size: int) -> bytes:
    """Read until there are `size` bytes."""
    data = b""
    while len(data) < size:
        data += await stream.read()
    return data


async def test_bytes_go_both_ways() -> None:
    """What is sent arrives, and what arrives is read; a state takes note of how far it is."""
    peer = Peer()
    async with peer.listening() as stream:
        state = SendState()
        assert stream.is_at_rest()
        await stream.send(b"ping", state)
        assert (state.phase, state.sent) == ("waiting", True)
        await until(lambda: peer.writers)
        assert await peer.readers[0].readexactly(4) == b"ping"
        peer.writers[0].write(b"pong")
        assert await stream.read() == b"pong"
        peer.writers[0].close()
        assert await stream.read() == b""
        assert not stream.is_at_rest()


async def test_a_stream_that_never_connected_can_be_closed() -> None:
    """There is nothing to close then."""
    await SocketStream().aclose()


async def test_a_port_at_which_nobody_listens() -> None:
    """It is a ConnectError of httpx's, whose cause is the system's."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError) as caught:
            await SocketStream().connect("127.0.0.1", sock.getsockname()[1])
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_reset_is_an_error_after_what_came_before() -> None:
    """What arrived before a reset is read, then the reset is raised."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        peer.writers[0].write(b"abc")
        await until(lambda: not stream.is_at_rest())
        reset(peer.writers[0])
        await asyncio.sleep(0.01)
        assert await stream.read() == b"abc"
        with pytest.raises(httpx.ReadError):
            await stream.read()


# --- What arrives unasked ---------------------------------------------------------------------------------------


async def test_bytes_that_arrived_before_a_request() -> None:
    """Rule 1: they belong to no request. Nothing is sent."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        peer.writers[0].write(b"unasked")
        await until(lambda: not stream.is_at_rest())
        state = SendState()
        with pytest.raises(httpx.ConnectError, match="sent something unasked"):
            await stream.send(b"x", state)
        assert not state.sent


async def test_bytes_that_the_loop_has_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are noticed as well, but not before the first request: over TLS they may be session tickets."""
    peer = Peer()
    async with peer.listening() as stream:
        monkeypatch.setattr(stream, "is_readable", lambda: True)
        await stream.send(b"x")
        with pytest.raises(httpx.ConnectError, match="sent something unasked"):
            await stream.send(b"x")


async def test_a_connection_that_is_closed_before_a_request() -> None:
    """It is refused, and nothing counts as sent."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        peer.writers[0].close()
        await until(lambda: not stream.is_at_rest())
        state = SendState()
        with pytest.raises(httpx.ConnectError, match="the server closed it"):
            await stream.send(b"x", state)
        assert not state.sent


async def test_plain_bytes_before_tls_are_not_taken_for_an_answer(authority: Authority) -> None:
    """What somebody in between has put in front of the handshake is refused after it."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        peer.writers[0].write(b"HTTP/1.1 200 OK\r\n\r\n")
        await until(lambda: not stream.is_at_rest())
        upgrading = asyncio.create_task(peer.writers[0].start_tls(authority.server("none")))
        await stream.start_tls("127.0.0.1", authority.client)
        await upgrading
        with pytest.raises(httpx.ConnectError, match="sent something unasked"):
            await stream.send(b"x")


# --- Sending and reading by pieces ------------------------------------------------------------------------------


class Endless(asyncio.Transport):
    """A transport that takes everything at once.

    Attributes:
        events: sizes of what was written, and whatever else is noted.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.events: list[object] = []

    def write(self, data: Any) -> None:
        """Take note."""
        self.events.append(len(data))


async def test_others_get_their_turn_while_much_is_sent() -> None:
    """A large request to a server that reads as fast as it is sent does not keep the event loop."""
    stream, transport = SocketStream(), Endless()
    stream.connection_made(transport)

    async def count() -> None:
        for turn in "abc":
            transport.events.append(turn)
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await stream.send(bytes(600 * 1024))
    assert transport.events == [256 * 1024, "a", 256 * 1024, "b", 88 * 1024]
    await other


async def test_sending_waits_for_room_and_goes_on() -> None:
    """Nothing is sent while the network takes no more; the rest is sent once it does."""
    stream, transport = SocketStream(), Endless()
    stream.connection_made(transport)
    stream.pause_writing()
    sending = asyncio.create_task(stream.send(bytes(300 * 1024)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.events == [256 * 1024]
    stream.resume_writing()
    await sending
    assert transport.events == [256 * 1024, 44 * 1024]
    assert not stream._is_cut


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_what_has_not_left_is_known(is_secure: bool, authority: Authority) -> None:  # noqa: FBT001 - a column
    """A stream is not at rest while a part of a request is in any buffer, be it below TLS."""
    peer = Peer(authority.server("none") if is_secure else None)
    async with peer.listening() as stream:
        raw: Any = stream._layers[0]
        raw.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        if is_secure:
            await stream.start_tls("127.0.0.1", authority.client)
        await until(lambda: peer.writers)
        peer.writers[0].transport.pause_reading()  # type: ignore[attr-defined] # it is both
        peer.writers[0].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not raw.get_write_buffer_size():
            await stream.send(bytes(50_000))
        assert not stream._is_cut
        assert not stream.is_at_rest()


async def test_a_cancelled_request_is_known_to_be_cut() -> None:
    """A stream whose sending was cancelled is not at rest."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        peer.writers[0].transport.pause_reading()  # type: ignore[attr-defined] # it is both
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await stream.send(bytes(30_000_000))
        assert stream._is_cut
        assert not stream.is_at_rest()


async def test_sending_stops_when_the_connection_ends() -> None:
    """A server that goes in the middle of a request is no reason to wait."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        peer.writers[0].transport.pause_reading()  # type: ignore[attr-defined] # it is both
        sending = asyncio.create_task(stream.send(bytes(30_000_000)))
        await asyncio.sleep(0.01)
        reset(peer.writers[0])
        await sending
        with pytest.raises(httpx.ReadError):
            await stream.read()


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_no_more_is_received_than_is_read(is_secure: bool, authority: Authority) -> None:  # noqa: FBT001 - a column
    """What nobody reads stays in the kernel; all of it arrives once it is read."""
    peer = Peer(authority.server("none") if is_secure else None)
    async with peer.listening() as stream:
        if is_secure:
            await stream.start_tls("127.0.0.1", authority.client)
        await until(lambda: peer.writers)
        data = bytes(range(256)) * 40_000
        peer.writers[0].write(data)
        await asyncio.sleep(0.05)
        assert 256 * 1024 < stream._size < 1_000_000
        assert await all_of(stream, len(data)) == data
        assert stream._size == 0


# --- TLS --------------------------------------------------------------------------------------------------------


async def test_a_server_that_closes_during_the_handshake(authority: Authority) -> None:
    """A port that takes a connection and closes it is reported as a failure of TLS."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, using(ConnectionPool(verify=authority.client)) as pool:
        with pytest.raises(ConnectFailed, match=r"TLS failed \(closed during the handshake\); check that this port"):
            await ask(pool, url)


@pytest.mark.parametrize("when", ["before", "in", "after"])
async def test_a_connection_that_ends_around_the_handshake(
    when: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it ends, the handshake has failed, and nobody waits for it."""
    peer = Peer()
    async with peer.listening() as stream:
        await until(lambda: peer.writers)
        if when == "before":
            peer.writers[0].close()
            await until(lambda: not stream.is_at_rest())
        elif when == "in":
            asyncio.get_running_loop().call_later(0.01, peer.writers[0].close)
        else:
            # asyncio returns no transport when the connection was lost right after the handshake.
            monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", lambda *_, **__: asyncio.sleep(0))
        async with asyncio.timeout(5):
            with pytest.raises(httpx.ConnectError, match="closed during the handshake"):
                await stream.start_tls("127.0.0.1", authority.client)


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
    async with server, using(ConnectionPool(verify=verify)) as pool:
        with pytest.raises(ConnectionLost):
            await ask(pool, url)
    assert agreed == ["http/1.1"]


@pytest.mark.parametrize("host", ["crm.example.com", "crm.example.com."])
async def test_a_name_with_a_dot_at_its_end(host: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS takes such a name as it is; the name in the handshake and in the certificate has no dot (RFC 6066)."""
    resolved: list[str] = []
    names: list[str | None] = []

    async def resolve(host: str, port: int, **_: object) -> list[Any]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    server_context = authority.server("none")

    def note(_: object, name: str | None, __: object) -> None:
        names.append(name)

    server_context.sni_callback = note
    monkeypatch.setattr(authority, "server", lambda _: server_context)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with FaultServer(authority=authority) as server, using(ConnectionPool(verify=authority.client)) as pool:
        assert await ask(pool, server.url.replace("127.0.0.1", host)) == b"<envelope/>"
    assert (resolved, names) == ([host], ["crm.example.com"])


async def test_session_tickets_do_not_spoil_a_connection(authority: Authority) -> None:
    """A server of TLS 1.3 sends session tickets after the handshake: they are no answer, and the connection is kept."""
    async with FaultServer(authority=authority) as server, using(ConnectionPool(verify=authority.client)) as pool:
        for _ in range(5):
            assert await ask(pool, server.url) == b"<envelope/>"
            await asyncio.sleep(0.005)
    assert server.accepted == 1
