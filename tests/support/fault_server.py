"""A small HTTP server on a loopback socket that misbehaves to order, and counts what reached it.

    async with FaultServer(upstream) as server:
        server.plan.extend(["reset-after-request", "none"])    # for the next two requests
        ...
        assert server.times(action) == 1

The tables say what each fault does: SERVER to the server as a whole, BEFORE when a connection is accepted, DURING when
the head of a request was read, AFTER when all of it was read. Every name is in FAULTS.
"""

import asyncio
import contextlib
import datetime as dt
import gzip
import socket
import ssl
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

import attrs
import trustme

Answer = tuple[int, Mapping[str, str], bytes]
Upstream = Callable[[bytes, Mapping[str, str]], Awaitable[Answer]]

REASONS: Final = {200: "OK", 301: "Moved", 413: "Too Large", 500: "Internal Server Error"}


async def echo(body: bytes, headers: Mapping[str, str]) -> Answer:
    """Answer 200 with what was sent: an upstream for tests that need no better one."""
    return 200, {"Content-Type": headers.get("content-type", "text/plain")}, body


@attrs.define
class Seen:
    """A request that reached the server, in full or in part.

    Attributes:
        target: of the request line.
        headers: by lower-case name.
        body: as far as it was read.
        is_complete: whether all of it was.
        fault: what was done to it.
    """

    target: str
    headers: Mapping[str, str]
    fault: str = "none"
    body: bytes = b""
    is_complete: bool = False

    @property
    def action(self) -> str:
        """The SOAP action, of either version; "" if there is none."""
        if action := self.headers.get("soapaction"):
            return action.strip('"')
        _, _, action = self.headers.get("content-type", "").partition('action="')
        return action.partition('"')[0]


@attrs.define
class Exchange:
    """One request and the connection it came over; what a fault has to play with."""

    seen: Seen
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    upstream: Upstream

    async def answer(self) -> Answer:
        """Return what the upstream says."""
        return await self.upstream(self.seen.body, self.seen.headers)

    async def write(self, data: bytes) -> None:
        """Send `data` as it is."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with an RST."""
        reset(self.writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with an RST."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def formatted(
    status: int, headers: Mapping[str, str], body: bytes, *, protocol: str = "HTTP/1.1", length: int | None = None
) -> bytes:
    """Return an HTTP response; `length` is a Content-Length other than the true one."""
    lines = [f"{protocol} {status} {REASONS.get(status, 'Reason')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


# --- The tables: what a fault does; True means that the connection may serve another request ---------------------

Fault = Callable[[Exchange], Awaitable[bool]]


def _status(status: int, headers: Mapping[str, str], body: bytes = b"") -> Fault:
    """Return the fault that answers instead of the upstream."""

    async def fault(exchange: Exchange) -> bool:
        await exchange.write(formatted(status, headers, body))
        return True

    return fault


def _changed(change: Callable[[int, Mapping[str, str], bytes], bytes], *, keep: bool = True) -> Fault:
    """Return the fault that writes the upstream's answer in its own way, and keeps the connection or closes it."""

    async def fault(exchange: Exchange) -> bool:
        await exchange.write(change(*await exchange.answer()))
        return keep

    return fault


def _encoded(encoding: str, encode: Callable[[bytes], bytes]) -> Fault:
    """Return the fault that compresses the upstream's answer."""
    return _changed(
        lambda status, headers, body: formatted(status, {**headers, "Content-Encoding": encoding}, encode(body))
    )


def _raw_deflate(body: bytes) -> bytes:
    """Return `body` deflated without the zlib header, as IIS does it."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def _chunked(body: bytes) -> bytes:
    """Return `body` in the chunked transfer coding."""
    half = len(body) // 2
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part) + b"0\r\n\r\n"


async def _silence(exchange: Exchange) -> bool:
    """Never answer; end when the client does."""
    await exchange.reader.read()
    return False


async def _drip(exchange: Exchange) -> bool:
    """Send the head, and then a byte of the body at a time, slowly and without end."""
    await exchange.write(formatted(200, {"Content-Type": "text/xml"}, b"", length=1 << 20))
    gone = asyncio.ensure_future(exchange.reader.read())
    try:
        while not gone.done():
            await exchange.write(b" ")
            await asyncio.wait([gone], timeout=0.02)
    finally:
        gone.cancel()
    return False


async def _reset_fault(exchange: Exchange) -> bool:
    """Reset the connection."""
    exchange.reset()
    return False


async def _close_fault(_: Exchange) -> bool:
    """Close the connection in good order, without an answer."""
    return False


async def _part_then_reset(exchange: Exchange) -> bool:
    """Read some of the body, and reset the connection."""
    exchange.seen.body = await exchange.reader.read(64)
    exchange.reset()
    return False


async def _too_large(exchange: Exchange) -> bool:
    """Refuse by 413 before the body was read, and close."""
    await exchange.write(formatted(413, {"Connection": "close"}, b"too large"))
    return False


async def _twice(exchange: Exchange) -> bool:
    """Send the answer two times."""
    answer = formatted(*await exchange.answer())
    await exchange.write(answer + answer)
    return True


def _informed(status: int) -> Fault:
    """Return the fault that sends an informational response ahead of the answer."""
    return _changed(
        lambda *answer: f"HTTP/1.1 {status} Info\r\nLink: </x>\r\n\r\n".encode() + formatted(*answer),
    )


HTML: Final = b"<html><body><h1>Server Error</h1></body></html>"
SERVER: Final = frozenset({"refuse", "tls", "tls-wrong-name", "tls-expired", "tls-unknown-ca"})
BEFORE: Final = frozenset({"reset-before-request"})
DURING: Final[Mapping[str, Fault]] = {"reset-while-sending": _part_then_reset, "413": _too_large}
AFTER: Final[Mapping[str, Fault]] = {
    "none": _changed(formatted),
    "reset-after-request": _reset_fault,
    "close-after-request": _close_fault,
    "never-answer": _silence,
    "half-head": _changed(lambda *answer: formatted(*answer)[:20], keep=False),
    "half-body": _changed(lambda *answer: formatted(*answer)[: -max(1, len(answer[2]) // 2)], keep=False),
    "length-too-long": _changed(
        lambda status, headers, body: formatted(status, headers, body, length=len(body) + 10), keep=False
    ),
    "length-too-short": _changed(lambda status, headers, body: formatted(status, headers, body, length=len(body) // 2)),
    "chunked": _changed(lambda s, h, body: formatted(s, {**h, "Transfer-Encoding": "chunked"}, _chunked(body))),
    "chunked-garbage": _changed(
        lambda s, h, _: formatted(s, {**h, "Transfer-Encoding": "chunked"}, b"zz\r\nnot a chunk\r\n")
    ),
    "chunked-cut": _changed(
        lambda s, h, body: formatted(s, {**h, "Transfer-Encoding": "chunked"}, _chunked(body)[:-9]), keep=False
    ),
    "bad-head": _changed(lambda *answer: formatted(*answer).replace(b"\r\n", b"\r\nwords of some plugin\r\n", 1)),
    "not-http": _changed(lambda *_: b"SSH-2.0-OpenSSH_9.7\r\n", keep=False),
    "slow-drip": _drip,
    "100": _informed(100),
    "103": _informed(103),
    "301": _status(301, {"Location": "/elsewhere"}),
    "302": _status(302, {"Location": "/elsewhere"}),
    "303": _status(303, {"Location": "/elsewhere"}),
    "307": _status(307, {"Location": "/elsewhere"}),
    "308": _status(308, {"Location": "/elsewhere"}),
    "421": _status(421, {}),
    "429": _status(429, {"Retry-After": "7"}),
    "500": _status(500, {"Content-Type": "text/html"}, HTML),
    "502": _status(502, {"Content-Type": "text/html"}, HTML),
    "503": _status(503, {"Retry-After": "7"}),
    "close-keep-alive": _changed(formatted, keep=False),
    "connection-close": _changed(lambda s, h, body: formatted(s, {**h, "Connection": "close"}, body), keep=False),
    "http-1.0": _changed(lambda *answer: formatted(*answer, protocol="HTTP/1.0"), keep=False),
    "twice": _twice,
    "gzip": _encoded("gzip", gzip.compress),
    "gzip-cut": _encoded("gzip", lambda body: gzip.compress(body)[:-6]),
    "gzip-trailing": _encoded("gzip", lambda body: gzip.compress(body) + b"more"),
    "gzip-bomb": _encoded("gzip", lambda _: gzip.compress(bytes(8 << 20))),
    "deflate": _encoded("deflate", zlib.compress),
    "raw-deflate": _encoded("deflate", _raw_deflate),
    "brotli": _encoded("br", lambda body: b"\x8b" + body),
}
FAULTS: Final = (*sorted(SERVER), *sorted(BEFORE), *DURING, *AFTER)


class Authority:
    """A certificate authority of its own, and contexts for both ends of a TLS connection to this machine.

    Attributes:
        client: a context that trusts it.
        pem: its certificate.
    """

    def __init__(self) -> None:
        """Make the authority."""
        self._ca = trustme.CA()
        self.client = ssl.create_default_context()
        self._ca.configure_trust(self.client)
        self.pem = self._ca.cert_pem.bytes().decode("ascii")

    def server(self, fault: str) -> ssl.SSLContext:
        """Return what a server shows whose fault is `fault`."""
        issuer = trustme.CA() if fault == "tls-unknown-ca" else self._ca
        past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        names = ["elsewhere.example"] if fault == "tls-wrong-name" else ["127.0.0.1", "::1", "crm.example.com"]
        certificate = issuer.issue_cert(
            *names,
            not_after=past if fault == "tls-expired" else None,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


class FaultServer:
    """The server; see the module.

    Attributes:
        plan: the faults of the next requests; then `choose` decides.
        choose: called for each request that has no fault by plan; returns its name.
        seen: every request whose head arrived.
        writers: of every connection there ever was, to send something unasked.
        connections: how many are open.
        accepted: how many there ever were.
    """

    def __init__(
        self,
        upstream: Upstream = echo,
        *,
        fault: str = "none",
        authority: Authority | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """Serve `upstream`, with `fault` in every request that has none by plan; `authority` makes it TLS."""
        self._host = host
        self._upstream = upstream
        self._fault = fault
        self._authority = authority
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0
        self.plan: deque[str] = deque()
        self.choose: Callable[[], str] = lambda: "none" if fault in SERVER else fault
        self.seen: list[Seen] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.connections = 0
        self.accepted = 0

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._authority is None else 'https'}://{host}:{self._port}"

    def times(self, action: str) -> int:
        """Return how many requests of this SOAP action arrived, in full or in part."""
        return sum(seen.action == action for seen in self.seen)

    async def __aenter__(self) -> Self:
        """Start to listen, unless the fault is to refuse."""
        context = None if self._authority is None else self._authority.server(self._fault)
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]
        if self._fault == "refuse":
            self.refuse()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening, and end every connection."""
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # asyncio keeps a task of its own for a handshake, which ends when it sees that the client has gone.
        while any("_accept_connection2" in repr(task) for task in asyncio.all_tasks()):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)

    def refuse(self) -> None:
        """Refuse further connections; those that are open stay."""
        assert self._server is not None
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.writers.append(writer)
        self.connections += 1
        self.accepted += 1
        try:
            with contextlib.suppress(OSError, EOFError):
                if self._next(BEFORE):
                    reset(writer)
                else:
                    while await self._serve(reader, writer):
                        pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.connections -= 1
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; tell whether the connection may serve another."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        seen = Seen(lines[0].split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})
        seen.fault = self.plan.popleft() if self.plan else self.choose()
        self.seen.append(seen)
        exchange = Exchange(seen, reader, writer, self._upstream)
        if seen.fault in DURING:
            return await DURING[seen.fault](exchange)
        seen.body = await reader.readexactly(int(seen.headers.get("content-length", "0")))
        seen.is_complete = True
        return await AFTER[seen.fault](exchange)

    def _next(self, kinds: frozenset[str]) -> bool:
        """Tell whether the next fault is one of `kinds`, and if so, take it."""
        if self.plan:
            return self.plan[0] in kinds and bool(self.plan.popleft())
        return self.choose() in kinds


class ProxyServer:
    """A forward proxy, for http by absolute URLs and for https by CONNECT.

    Attributes:
        seen: the request lines.
        heads: the heads, whole.
        connections: how many are open.
    """

    def __init__(self, refusal: bytes = b"", *, connected: bytes = b"", authority: Authority | None = None) -> None:
        """Make a proxy; with `refusal`, it answers every CONNECT so; with `authority`, it speaks TLS itself.

        `connected`: what it answers to a CONNECT that it follows.
        """
        self._refusal = refusal
        self._connected = connected or b"HTTP/1.1 200 Connected\r\n\r\n"
        self._authority = authority
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen: list[str] = []
        self.heads: list[str] = []

    @property
    def host(self) -> str:
        """Host and port."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        """Start to listen."""
        context = None if self._authority is None else self._authority.server("none")
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and end every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: connect where its first request wants to go, and pass everything on."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        others: list[asyncio.StreamWriter] = []
        try:
            await self._serve(reader, writer, others)
        except (OSError, EOFError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            for end in (writer, *others):
                end.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, others: list[asyncio.StreamWriter]
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        self.seen.append(head.decode().partition("\r\n")[0])
        method, target, _ = self.seen[-1].split(" ")
        place = target if method == "CONNECT" else target.partition("://")[2].partition("/")[0]
        if method == "CONNECT" and self._refusal:
            writer.write(self._refusal)
            return
        there, other = await _open(place)
        others.append(other)
        if method == "CONNECT":
            writer.write(self._connected)
        else:
            other.write(head.replace(target.encode(), target.partition(place)[2].encode() or b"/", 1))
        await asyncio.gather(_pump(reader, other), _pump(there, writer))


class SocksServer(ProxyServer):
    """A SOCKS5 proxy (RFC 1928) that sends each reply a byte at a time, unless it misbehaves to order.

    Attributes:
        seen: where it was asked to connect.
        login: user and password that it was given.
    """

    def __init__(
        self,
        *,
        method: bytes = b"\0",
        status: bytes = b"\0",
        bound: bytes = b"\x03\x09localhost",
        answer: Mapping[str, bytes] | None = None,
    ) -> None:
        """Ask for the login `method` (2: a password), answer a login or a connection with `status`.

        `bound`: the kind of address and the address that the reply to a connection names.
        `answer`: replies of another kind, by step ("method", "login", "connect"); b"" closes the connection.
        """
        super().__init__()
        self._method = method
        self._status = status
        self._bound = bound
        self._answer = answer or {}
        self.login: tuple[bytes, bytes] | None = None

    async def _reply(self, writer: asyncio.StreamWriter, step: str, data: bytes) -> None:
        """Send a reply a byte at a time; or what was ordered instead, at once, and end the connection."""
        if step in self._answer:
            writer.write(self._answer[step])
            raise EOFError
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.001)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, others: list[asyncio.StreamWriter]
    ) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        await self._reply(writer, "method", b"\x05" + self._method)
        if self._method == b"\2":
            user = await reader.readexactly((await reader.readexactly(2))[1])
            self.login = user, await reader.readexactly((await reader.readexactly(1))[0])
            await self._reply(writer, "login", b"\x01" + self._status)
        *_, kind = await reader.readexactly(4)
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        raw = await reader.readexactly(size)
        host = {
            1: lambda: socket.inet_ntop(socket.AF_INET, raw),
            4: lambda: f"[{socket.inet_ntop(socket.AF_INET6, raw)}]",
        }
        place = f"{host.get(kind, raw.decode)()}:{int.from_bytes(await reader.readexactly(2), 'big')}"
        self.seen.append(place)
        reply = b"\x05" + self._status + b"\0" + self._bound + b"\0\0"
        if self._status != b"\0" or "connect" in self._answer:
            await self._reply(writer, "connect", reply)
            return
        there, other = await _open(place)
        others.append(other)
        await self._reply(writer, "connect", reply)
        await asyncio.gather(_pump(reader, other), _pump(there, writer))


async def _open(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `host:port`."""
    host, _, port = place.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until it ends."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
